"""A screen for ``sumo-gui`` where there is none: Xvfb, a display in memory, for as long as a run lasts."""

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from scenariogen.errors import SimulationError

XVFB = "Xvfb"
SCREEN = "1600x1200x24"
STARTS_WITHIN_S = 20.0
CLOSES_WITHIN_S = 10.0


def has_display() -> bool:
    """Whether a window could be opened. Only X11 is told by the environment; other systems always have one."""
    return not sys.platform.startswith("linux") or bool(os.environ.get("DISPLAY"))


def require_xvfb() -> str:
    """Where Xvfb is, or a ``SimulationError`` that says how to get it."""
    binary = shutil.which(XVFB)
    if binary is None:
        raise SimulationError(
            "there is no display (DISPLAY is not set) and no Xvfb to stand in for one: install it "
            "(apt-get install xvfb), or run where windows can be shown"
        )
    return binary


@contextmanager
def hidden_display() -> Iterator[None]:
    """A display that nobody sees, in force for processes started within. Needs Xvfb, or raises ``SimulationError``."""
    binary = require_xvfb()
    reader, writer = os.pipe()
    command = [binary, "-displayfd", str(writer), "-screen", "0", SCREEN, "-nolisten", "tcp"]
    process = subprocess.Popen(command, pass_fds=[writer], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    before = os.environ.get("DISPLAY")
    try:
        os.close(writer)
        os.environ["DISPLAY"] = f":{_number(reader)}"
        yield
    finally:
        os.close(reader)
        if before is None:
            os.environ.pop("DISPLAY", None)
        else:
            os.environ["DISPLAY"] = before
        process.terminate()
        try:
            process.wait(CLOSES_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _number(reader: int) -> int:
    """The number of the display, which Xvfb chooses and writes once it can be used."""
    text = b""
    while not text.endswith(b"\n"):
        ready, _, _ = select.select([reader], [], [], STARTS_WITHIN_S)
        part = os.read(reader, 32) if ready else b""
        if not part:
            raise SimulationError(f"Xvfb did not open a display within {STARTS_WITHIN_S:g} s")
        text += part
    return int(text)
