"""SUMO behind the contract: libsumo in this process, or TraCI to a process of its own, with or without a window.

All calls are positional, since libsumo and TraCI name their arguments differently. libsumo holds one simulation
per process; opening a second is refused.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from scenariogen.errors import ConnectionLostError, SimulationError
from scenariogen.simulation.contract import Counters, Departure, Run, RunRequest, Simulator
from scenariogen.simulation.controlroom import SumoControlRoom
from scenariogen.simulation.fleet import Fleet
from scenariogen.simulation.project import SumoProject
from scenariogen.simulation.staging import CONSOLE, Staging, messages

CONNECT_WITHIN_S = 60.0
CLOSE_WITHIN_S = 20.0
GUI_DELAY_MS = "50"


class Backend(StrEnum):
    """How to speak to SUMO."""

    LIBSUMO = "libsumo"
    TRACI = "traci"
    TRACI_GUI = "traci-gui"


class SumoSimulator(Simulator):
    """Opens runs of a project.

    ``work_folder``      where prepared demand is kept for all runs (None: in each run's folder)
    ``project_outputs``  False: the outputs that the project itself asks for are not written
    """

    def __init__(
        self,
        project: SumoProject,
        *,
        backend: Backend | str = Backend.LIBSUMO,
        work_folder: Path | None = None,
        project_outputs: bool = True,
    ) -> None:
        self.project = project
        self.backend = Backend(backend)
        self.name = str(self.backend)
        self._staging = Staging(project, work_folder, project_outputs)

    def open(self, request: RunRequest) -> "SumoRun":
        """Start SUMO with the request's folder as its only place to write."""
        gui = self.backend is Backend.TRACI_GUI
        configuration = self._staging.write(request, gui=gui)
        if self.backend is Backend.LIBSUMO:
            connection, process = _start_libsumo(configuration), None
        else:
            connection, process = _start_traci(configuration, gui)
        run = SumoRun(self.project, request, connection, process)
        try:
            run.prepare()
        except Exception:
            run.close()
            raise
        return run


class SumoRun(Run):
    """One SUMO simulation in progress."""

    def __init__(
        self, project: SumoProject, request: RunRequest, connection: Any, process: subprocess.Popen | None
    ) -> None:
        self.project = project
        self.request = request
        self.step_length_s = project.step_length_s
        self.connection = connection
        self.by_socket = process is not None
        self._process = process
        self._steps = 0
        self._time_s = request.window.begin_s
        self._open = True

    def prepare(self) -> None:
        """Read what a run needs before its first step."""
        self.control_room = SumoControlRoom(self)
        self._record = self.control_room.detectors.record
        self._simulation = self.connection.simulation
        self._fleet = Fleet(
            self.connection,
            self.project.free_flow(),
            begin_s=self.request.window.begin_s,
            step_length_s=self.step_length_s,
            flying_start=self.project.demand.flying_start,
        )
        if self.by_socket:
            from traci.constants import VAR_ARRIVED_VEHICLES_IDS, VAR_LOADED_VEHICLES_IDS

            self._events = (VAR_LOADED_VEHICLES_IDS, VAR_ARRIVED_VEHICLES_IDS)
            self._simulation.subscribe(self._events)
        else:  # called every step: one frame less each
            self.loaded_ids = self._simulation.getLoadedIDList
            self.arrived_ids = self._simulation.getArrivedIDList

    @property
    def time_s(self) -> float:
        """Simulation second, counted here: SUMO's time has whole milliseconds, and asking over a socket costs."""
        return self._time_s

    def step(self) -> None:
        if not self._open:
            raise ConnectionLostError("the simulation is closed")
        try:
            self.connection.simulationStep()
        except Exception as error:
            if type(error).__name__ not in ("TraCIException", "FatalTraCIError"):
                raise  # a listener's own fault
            raise self._died(error) from error
        self._steps += 1
        self._time_s = round(self.request.window.begin_s + self._steps * self.step_length_s, 3)
        self._record(self._time_s)

    def _died(self, error: Exception) -> SimulationError:
        said = messages(self.request.folder)
        text = str(error).strip()
        if not said or text.split("\n")[0] not in "\n".join(said):
            said.append(text or type(error).__name__)
        kind = ConnectionLostError if "closed by SUMO" in text or "Not connected" in text else SimulationError
        return kind(*said, title=f"SUMO died at second {self.time_s:g}")

    def running(self) -> int:
        return self.connection.vehicle.getIDCount()

    def waiting(self) -> int:
        return len(self._simulation.getPendingVehicles())

    def running_ids(self) -> tuple[str, ...]:
        return self.connection.vehicle.getIDList()

    def waiting_ids(self) -> tuple[str, ...]:
        return self._simulation.getPendingVehicles()

    def reached_destination(self, vehicle: str) -> bool:
        read = self.connection.vehicle
        return read.getRouteIndex(vehicle) >= len(read.getRoute(vehicle)) - 1

    def departure(self, vehicle: str) -> Departure | None:
        try:
            return self._fleet.departure(vehicle, self.time_s)
        except Exception as error:
            if type(error).__name__ != "TraCIException":
                raise
            return None

    def counters(self) -> Counters:
        def total(name: str) -> int:
            return int(float(self._simulation.getParameter("", f"stats.{name}")))

        running = total("vehicles.running")
        return Counters(
            running=running,
            waiting=total("vehicles.waiting"),
            left=total("vehicles.inserted") - running,
            teleports=total("teleports.total"),
            collisions=total("safety.collisions"),
            emergency_stops=total("safety.emergencyStops"),
            emergency_brakings=total("safety.emergencyBraking"),
        )

    def driven_m(self) -> dict[str, float]:
        read = self.connection.vehicle.getDistance
        return {vehicle: read(vehicle) for vehicle in self.running_ids()}

    def loaded_ids(self) -> tuple[str, ...]:
        if self.by_socket and self._steps:
            return self._simulation.getSubscriptionResults()[self._events[0]]
        return self._simulation.getLoadedIDList()

    def arrived_ids(self) -> tuple[str, ...]:
        if self.by_socket and self._steps:
            return self._simulation.getSubscriptionResults()[self._events[1]]
        return self._simulation.getArrivedIDList()

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._process is None:
            _close_libsumo(self.connection)
        else:
            _close_traci(self.connection, self._process)


def sumo_home() -> Path:
    """SUMO's folder: the installed ``eclipse-sumo`` package, or ``SUMO_HOME``."""
    spec = find_spec("sumo")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0])
    if "SUMO_HOME" in os.environ:
        return Path(os.environ["SUMO_HOME"])
    raise SimulationError("SUMO is not installed: pip install eclipse-sumo, or set SUMO_HOME")


def _start_libsumo(configuration: Path) -> Any:
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
    except libsumo.TraCIException as error:
        _close_libsumo(libsumo)
        raise _refused(folder, error) from error
    return libsumo


def _close_libsumo(connection: Any) -> None:
    _drop_listeners(connection)
    with suppress(connection.TraCIException):  # a simulation that died is closed already
        connection.close()


def _drop_listeners(connection: Any) -> None:
    """Listeners outlive ``close`` in libsumo and would run in the process's next simulation."""
    manager = getattr(connection, "_stepManager", None)
    for listener in list(getattr(manager, "_stepListeners", ())):
        connection.removeStepListener(listener)


def _refused(folder: Path, error: Exception | None) -> SimulationError:
    said = messages(folder)
    text = str(error or "").strip().replace("\n", " ")
    if text and text not in ("Process Error", "Could not parse commandline options.") and text not in "".join(said):
        said.append(text)
    return SimulationError(*(said or ["it gave no reason"]), title="SUMO refused to start")


@contextmanager
def _console_in(path: Path) -> Iterator[None]:
    """What SUMO's library prints while it starts goes into a file: some errors appear nowhere else."""
    import sys

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


def _start_traci(configuration: Path, gui: bool) -> tuple[Any, subprocess.Popen]:
    import traci
    from sumolib.miscutils import getFreeSocketPort

    home, folder = sumo_home(), configuration.parent
    binary = home / "bin" / ("sumo-gui" if gui else "sumo")
    if not binary.is_file():
        raise SimulationError(f"{binary} does not exist: pip install eclipse-sumo")
    port = getFreeSocketPort()
    command = [str(binary), "-c", str(configuration), "--remote-port", str(port)]
    if gui:
        command += ["--delay", GUI_DELAY_MS]
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


def _close_traci(connection: Any, process: subprocess.Popen) -> None:
    from traci.exceptions import FatalTraCIError, TraCIException

    with suppress(TraCIException, FatalTraCIError, OSError, AttributeError):  # the other end may be gone
        connection.close(False)
    try:
        process.wait(CLOSE_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
