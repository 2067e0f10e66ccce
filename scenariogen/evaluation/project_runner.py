"""Makes the runs of a SUMO project in a worker process, each in a fork of its own and within its time."""

import gc
import importlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scenariogen.errors import ProjectError
from scenariogen.evaluation.pending import Task
from scenariogen.evaluation.records import RunResult
from scenariogen.evaluation.run_one import run_task
from scenariogen.network import RoadNetwork
from scenariogen.simulation.contract import EndReason, Simulator
from scenariogen.simulation.isolation import ProcessDiedError, TookTooLongError, in_own_process
from scenariogen.window import StudyWindow

if TYPE_CHECKING:
    from scenariogen.evaluation.usual_traffic import UsualTraffic
    from scenariogen.simulation.project import SumoProject


@dataclass(frozen=True, kw_only=True)
class ProjectRunner:
    """Makes runs of a SUMO project from a worker process, which reads the project once, each in a fork of its own.

    ``simulator``    ``libsumo`` or ``traci``
    ``work_folder``  where demand that is prepared once is kept for all runs
    ``usual``        file of what is usual at measuring stations; without one, policies learn of reported incidents
    """

    sumocfg: Path
    project_hash: str
    window: StudyWindow
    simulator: str
    work_folder: Path
    usual: Path | None = None

    def __call__(self, task: Task) -> RunResult:
        opened = self._opened()
        try:
            return in_own_process(_run, task, *opened, self.window, limit_s=task.limit_s)
        except TookTooLongError as error:
            return task.failed(EndReason.TIME_LIMIT, str(error))
        except ProcessDiedError as error:
            return task.failed(EndReason.SIMULATOR_DIED, str(error))
        finally:
            if not task.keep:
                shutil.rmtree(task.folder, ignore_errors=True)

    def problem(self) -> str:
        """Why the project cannot be run on this machine, or an empty string."""
        from scenariogen.simulation.project import open_project

        try:
            found = open_project(self.sumocfg).hash
        except ProjectError as error:
            return f"the project must lie there by the same path as here: {error}"
        if found != self.project_hash:
            return f"{self.sumocfg} has hash {found[:12]} there, expected {self.project_hash[:12]}"
        return ""

    def _opened(self) -> "Opened":
        if self not in _OPENED:
            from scenariogen.evaluation.usual_traffic import read_usual
            from scenariogen.simulation.project import open_project
            from scenariogen.simulation.sumo import SumoSimulator

            project = open_project(self.sumocfg)
            if project.hash != self.project_hash:
                raise ProjectError(
                    f"{self.sumocfg} changed while it was evaluated: leave the project alone, then run the same "
                    "command again with a new folder"
                )
            self.work_folder.mkdir(parents=True, exist_ok=True)  # on another machine of a cluster nobody made it
            _prepare(project, self.simulator)
            _OPENED.clear()  # one project per worker is enough
            _OPENED[self] = (
                SumoSimulator(project, backend=self.simulator, work_folder=self.work_folder, project_outputs=False),
                project.network(),
                None if self.usual is None else read_usual(self.usual, project.network()),
            )
            gc.collect()
            gc.freeze()  # a fork then need not go through all of this before its run
        return _OPENED[self]


OF_EVERY_RUN = (
    "scenariogen.injection",
    "scenariogen.injection.advice",
    "scenariogen.simulation.dummy",
    "scenariogen.simulation.health",
)
"""Modules that a run imports when it begins."""


def _prepare(project: "SumoProject", simulator: str) -> None:
    """Import and read here, once, what every run needs: what a fork imports and reads is lost with it."""
    from scenariogen.injection.passing_speed import project_table
    from scenariogen.simulation.study import warm_up_s

    for module in (*OF_EVERY_RUN, "libsumo" if simulator == "libsumo" else "traci"):
        importlib.import_module(module)
    warm_up_s(project)  # finds the ways of vehicles whose demand has only their ends
    project_table(project)  # reads who drives, and the capacity tables


def _run(
    task: Task, simulator: Simulator, network: RoadNetwork, usual: "UsualTraffic | None", window: StudyWindow
) -> RunResult:
    return run_task(task, simulator, network, window=window, usual=usual)


Opened = tuple[Simulator, RoadNetwork, "UsualTraffic | None"]
_OPENED: dict[ProjectRunner, Opened] = {}
"""What this worker process has read. StudyWindow and paths are hashable, so the runner is its own key."""
