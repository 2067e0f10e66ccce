"""Starting SUMO and ending it, so that its own words arrive when it refuses and nothing of it stays behind."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scenariogen.errors import SimulationError
from scenariogen.simulation.staging import CONSOLE, messages

SUMO_ERRORS = frozenset({"TraCIException", "FatalTraCIError"})
"""Names of what libsumo and TraCI raise; the classes differ, and importing them here would load both."""
CONNECT_WITHIN_S = 60.0
CLOSE_WITHIN_S = 20.0
GUI_DELAY_MS = "50"


def sumo_home() -> Path:
    """SUMO's folder: the installed ``eclipse-sumo`` package, or ``SUMO_HOME``."""
    spec = find_spec("sumo")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0])
    if "SUMO_HOME" in os.environ:
        return Path(os.environ["SUMO_HOME"])
    raise SimulationError("SUMO is not installed: pip install eclipse-sumo, or set SUMO_HOME")


def start_libsumo(configuration: Path) -> Any:
    """libsumo with the simulation loaded. Raises ``SimulationError`` with SUMO's words."""
    import libsumo

    if libsumo.isLoaded():
        raise SimulationError(
            "a libsumo simulation is already open in this process, which can hold one: close it first, or use "
            "the backend traci"
        )
    _drop_listeners(libsumo)
    folder = configuration.parent
    try:
        with _console_in(folder / CONSOLE):
            libsumo.start(["sumo", "-c", str(configuration)])
    except Exception as error:
        close_libsumo(libsumo)
        if type(error).__name__ not in SUMO_ERRORS:
            raise
        raise _refused(folder, error) from error
    return libsumo


def close_libsumo(connection: Any) -> None:
    """End this process's simulation, also one that died."""
    _drop_listeners(connection)
    if connection.isLoaded():
        connection.close()


def _drop_listeners(connection: Any) -> None:
    """Listeners outlive ``close`` in libsumo and would run in the process's next simulation."""
    manager = getattr(connection, "_stepManager", None)
    for listener in list(getattr(manager, "_stepListeners", ())):
        connection.removeStepListener(listener)


def _refused(folder: Path, error: Exception | None) -> SimulationError:
    said = messages(folder)
    text = " ".join(str(error or "").split())
    if text and text not in ("Process Error", "Could not parse commandline options.") and text not in "".join(said):
        said.append(text)
    return SimulationError(*(said or ["it gave no reason"]), title="SUMO refused to start")


@contextmanager
def _console_in(path: Path) -> Iterator[None]:
    """What SUMO's library prints while it starts goes into a file: some errors appear nowhere else."""
    sys.stderr.flush()
    kept = os.dup(2)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        os.dup2(target, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(target)


def start_traci(configuration: Path, gui: bool, *, delay_ms: str = GUI_DELAY_MS) -> tuple[Any, subprocess.Popen]:
    """A process of SUMO and a TraCI connection to it; ``delay_ms`` is how long a window rests between two steps.

    Raises ``SimulationError`` with SUMO's words.
    """
    import traci
    from sumolib.miscutils import getFreeSocketPort

    home, folder = sumo_home(), configuration.parent
    binary = home / "bin" / ("sumo-gui" if gui else "sumo")
    if not binary.is_file():
        raise SimulationError(f"{binary} does not exist: pip install eclipse-sumo")
    port = int(str(getFreeSocketPort()))
    command = [str(binary), "-c", str(configuration), "--remote-port", str(port)]
    if gui:
        command += ["--delay", delay_ms]
    with (folder / CONSOLE).open("wb") as console:
        process = subprocess.Popen(
            command, stdout=console, stderr=console, cwd=folder, env=os.environ | {"SUMO_HOME": str(home)}
        )
    give_up = time.monotonic() + CONNECT_WITHIN_S
    while time.monotonic() < give_up:
        try:
            connection = traci.connect(port, 0, "localhost", process)
            connection.getVersion()  # the answer comes once everything is loaded
            return connection, process
        except (traci.TraCIException, traci.FatalTraCIError, OSError):
            if process.poll() is not None:
                raise _refused(folder, None) from None
            time.sleep(0.02)
    process.kill()
    process.wait()
    raise SimulationError(f"SUMO did not answer within {CONNECT_WITHIN_S:g} s", title="SUMO refused to start")


def close_traci(connection: Any, process: subprocess.Popen) -> None:
    """End the connection and the process, also where one is gone."""
    from traci.exceptions import FatalTraCIError, TraCIException

    with suppress(TraCIException, FatalTraCIError, OSError, AttributeError):  # the other end may be gone
        connection.close(False)
    try:
        process.wait(CLOSE_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
