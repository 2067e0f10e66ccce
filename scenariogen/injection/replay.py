"""One scenario watched in ``sumo-gui``, its incidents drawn, and a picture of it taken while one stands.

Without a display the window opens on one in memory (Xvfb) where a picture is wanted; to watch, there must be one.
"""

import shutil
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from scenariogen.errors import SimulationError
from scenariogen.injection.connection import Link
from scenariogen.injection.drawing import Drawing, Drawn
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.display import has_display, hidden_display, require_xvfb
from scenariogen.simulation.launch import GUI_DELAY_MS, start_traci
from scenariogen.simulation.project import SumoProject
from scenariogen.simulation.sumo import Backend, SumoRun, SumoSimulator
from scenariogen.written import written_whole

VIEW = "View #0"
SETTINGS = "gui-settings.xml"
PICTURE = "screenshot.png"
PICTURE_SIZE = (1200, 800)
WINDOW_SIZE = (1500, 1100)
"""What lies outside the window, or behind its bars, is missing in a picture; by itself it opens as it was left."""
PICTURE_AFTER_S = 300.0
"""The picture is taken so long after an incident began to stand, or at two thirds of its time: with its queue."""
_SHARE_OF_TIME = 2 / 3
_SPAN_M = 420.0
_VIEW_SETTINGS = """<viewsettings>
    <scheme name="scenariogen">
        <opengl antialiase="1" dither="0"/>
        <background backgroundColor="245,245,240" showGrid="0"/>
        <vehicles vehicleMode="8" vehicleQuality="2" vehicle_minSize="2" vehicle_exaggeration="1.3"/>
        <pois poi_minSize="0" poi_exaggeration="1" poi_constantSize="0" poiText_show="1" poiText_size="70"
              poiText_color="20,20,20" poiText_bgColor="255,255,255" poiText_constantSize="1" poiTextParam="label"/>
        <legend showSizeLegend="1"/>
    </scheme>
</viewsettings>
"""
"""Vehicles are coloured by speed, red where they stand; the label is the parameter ``label`` of its point."""


def require_display(screenshot: Path | None) -> None:
    """Raise a ``SimulationError`` where there is nothing to open a window on."""
    if has_display():
        return
    if screenshot is None:
        raise SimulationError(
            "there is no display to show a window on (DISPLAY is not set): run where there is one, or ask for a "
            "picture with --screenshot FILE"
        )
    require_xvfb()


class ReplaySimulator(SumoSimulator):
    """Opens runs in a window, with the scenario's incidents drawn.

    ``screenshot``  a ``.png`` to write while the first incident stands (without any, the first effect); without a
                    display needed for anything to be seen, so that ``open`` raises a ``SimulationError`` where there
                    is neither
    """

    def __init__(self, project: SumoProject, scenario: Scenario, *, screenshot: Path | None = None) -> None:
        super().__init__(project, backend=Backend.TRACI_GUI, project_outputs=False)
        self.scenario = scenario
        self.screenshot = screenshot
        self._run: ReplayRun | None = None

    @property
    def picture_of(self) -> int | None:
        """Number of the incident, or of the effect, that the picture shows; None where none was taken."""
        return None if self._run is None else self._run.picture_of

    def open(self, request: RunRequest) -> "ReplayRun":
        folder = request.folder.absolute()
        folder.mkdir(parents=True, exist_ok=True)
        settings = folder / SETTINGS
        settings.write_text(_VIEW_SETTINGS, encoding="utf-8")
        options = {"gui-settings-file": str(settings)}
        if self.screenshot is not None:
            options |= {"window-size": ",".join(map(str, WINDOW_SIZE)), "window-pos": "0,0"}
        asked = replace(request, options=dict(request.options) | options)
        with ExitStack() as stack:
            require_display(self.screenshot)
            watched = has_display()
            if not watched:
                stack.enter_context(hidden_display())
            configuration = self._staging.write(asked, gui=True)
            connection, process = start_traci(configuration, True, delay_ms=GUI_DELAY_MS if watched else "0")
            run = self._run = ReplayRun(self.project, asked, connection, process)
            run.until_closed = stack.pop_all()
        try:
            run.prepare()
            run.draw(self.scenario, self.project.network(), self.screenshot)
        except Exception:
            run.close()
            raise
        return run


class ReplayRun(SumoRun):
    """A run in a window. ``picture_of`` is the number of the incident or effect that the picture shows, once taken."""

    def __init__(self, project: SumoProject, request: RunRequest, connection: Any, process: Any) -> None:
        super().__init__(project, request, connection, process)
        self.until_closed = ExitStack()
        self.picture_of: int | None = None
        self._screenshot: Path | None = None
        self._asked_for: int | None = None

    def draw(self, scenario: Scenario, network: RoadNetwork, screenshot: Path | None) -> None:
        """Draw a scenario's incidents and effects from now on."""
        self._scenario = scenario
        self._drawing = Drawing(Link(self.connection), network, scenario.incidents, scenario.effects)
        self._screenshot = screenshot

    def step(self) -> None:
        super().step()
        self._drawing.update(self.time_s)
        if self._screenshot is None or self.picture_of is not None:
            return
        if self._asked_for is not None:
            self._keep(self._screenshot, self._asked_for)
            return
        shown, asked = (
            (self._drawing.standing, self._scenario.incidents)
            if self._scenario.incidents
            else (self._drawing.standing_effects, self._scenario.effects)
        )
        for drawn in shown.values():
            lasts_s = asked[drawn.number].end_s - drawn.since_s
            if self.time_s >= drawn.since_s + min(PICTURE_AFTER_S, _SHARE_OF_TIME * lasts_s):
                self._ask(drawn)
                return

    def close(self) -> None:
        super().close()
        self.until_closed.close()

    def _ask(self, drawn: Drawn) -> None:
        """SUMO takes the picture at the end of the next step."""
        gui, (x, y) = self.connection.gui, drawn.at
        half, width, height = _SPAN_M / 2, *PICTURE_SIZE
        gui.setBoundary(VIEW, x - half, y - half * height / width, x + half, y + half * height / width)
        gui.screenshot(VIEW, str(self.request.folder.absolute() / PICTURE), width, height)
        self._asked_for = drawn.number

    def _keep(self, target: Path, number: int) -> None:
        taken = self.request.folder.absolute() / PICTURE
        if not taken.is_file():
            raise SimulationError(f"sumo-gui took no picture at second {self.time_s:g}")
        with written_whole(target) as partial:
            shutil.copyfile(taken, partial)
        self.picture_of = number
