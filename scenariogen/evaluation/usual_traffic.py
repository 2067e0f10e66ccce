"""What stations usually measure: a few runs of the same project without incidents, as the days that a control room has
seen before.

Each day has the demand of one of the batch's own conditions, so that days differ as those of the batch do, and a seed
of its own that no run of the batch has. Everything follows from the batch and the project.
"""

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.errors import ResultsError
from scenariogen.evaluation.records import digest
from scenariogen.evaluation.stationing import (
    LEAST_EDGE_M,
    Stationing,
    Traffic,
    empty_cells,
    fill,
    stationing,
    traffic_of,
    vehicle_length_m,
)
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.from_fields_cells import Cells
from scenariogen.randomness import child_seed, sumo_seed
from scenariogen.simulation.contract import RunRequest, Simulator
from scenariogen.simulation.isolation import in_own_process
from scenariogen.simulation.stations import INTERVAL_S, Measures, StationReader

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork
    from scenariogen.scenarios.records import ScenarioBatch
    from scenariogen.simulation.project import SumoProject
    from scenariogen.window import StudyWindow

DAYS = 5
"""With fewer, a queue that stands on every second day is not told from an incident."""
LIVE_SETTINGS = DetectSettings(least_field_s=180.0, least_confidence=0.6)
"""Looking back, a drop must last five minutes to count; whoever has to act decides after three."""


@dataclass(frozen=True, kw_only=True, eq=False)
class UsualTraffic:
    """What stations measure on usual days.

    ``vehicle_m``  mean length of a vehicle, by which density follows from the time that loops are covered
    ``recipe``     :func:`usual_recipe` of what it was made of
    """

    where: Stationing = field(repr=False)
    traffic: Traffic = field(repr=False)
    vehicle_m: float
    recipe: str = ""

    @property
    def days(self) -> int:
        return self.traffic.flow_veh_h.shape[0]

    @property
    def intervals(self) -> int:
        return self.traffic.flow_veh_h.shape[2]


@dataclass(frozen=True, kw_only=True, eq=False)
class UsualDays:
    """The scenarios whose conditions usual days have, and the file in which what stations measured is kept."""

    batch: "ScenarioBatch" = field(repr=False)
    path: Path


def with_today(network: "RoadNetwork", usual: UsualTraffic, window: "StudyWindow") -> Cells:
    """Cells of the usual days and of one more, of which nothing is known yet."""
    intervals = math.ceil((window.end_s - window.begin_s) / INTERVAL_S)
    cells = empty_cells(network, days=usual.days + 1, intervals=intervals, begin_s=window.begin_s)
    fill(cells, usual.where, usual.traffic)
    return cells


def day_requests(batch: "ScenarioBatch", where: Stationing, folder: Path, *, days: int = DAYS) -> list[RunRequest]:
    """One run without incidents for each usual day; their folders lie under ``folder``."""
    key = [child_seed(each.seed, "usual day", each.index) for each in batch.scenarios]
    order = sorted(range(len(key)), key=lambda number: key[number])
    requests = []
    for day in range(days):
        scenario = batch.scenarios[order[day % len(order)]]
        requests.append(
            RunRequest(
                window=batch.window,
                seed=sumo_seed(scenario.seed, "usual day", day),
                folder=folder / f"usual-{day}",
                demand_scale=scenario.condition.demand_scale,
                entry_scales=dict(scenario.condition.entry_scales),
                stations=where.stations,
            )
        )
    return requests


def record_day(simulator: Simulator, where: Stationing, request: RunRequest) -> list[Measures]:
    """What the stations measure in one run."""
    with simulator.open(request) as run:
        reader, found = StationReader(run, where.stations), []
        end_s = request.window.end_s - run.step_length_s * 1e-3
        while run.time_s < end_s:
            run.step()
            measures = reader.update()
            if measures is not None:
                found.append(measures)
    return found


def usual_traffic(network: "RoadNetwork", days: list[list[Measures]], *, recipe: str = "") -> UsualTraffic:
    """From the measures of some days; those that are longer than the shortest are cut."""
    shortest = min(map(len, days))
    days = [day[:shortest] for day in days]
    length_m = vehicle_length_m(days)
    traffic = traffic_of(days, length_m)
    return UsualTraffic(where=stationing(network), traffic=traffic, vehicle_m=length_m, recipe=recipe)


def usual_recipe(project: "SumoProject", batch: "ScenarioBatch", *, days: int = DAYS) -> str:
    """Hash of what the usual days of a batch are made of, and of how incidents are found with them."""
    where = stationing(project.network())
    if not where.stations:
        raise ResultsError(
            f"{project.name} has no main road of {LEAST_EDGE_M:g} m, so no station could find an incident: choose "
            "incidents that are reported (--incidents-known reported)"
        )
    requests = day_requests(batch, where, Path(), days=days)
    return digest(
        {
            "project": project.hash,
            "days": [[each.seed, each.demand_scale, dict(each.entry_scales)] for each in requests],
            "stations": [[*each.lanes, each.position_m] for each in where.stations],
            "settings": asdict(LIVE_SETTINGS),
        }
    )


def ensure_usual(
    project: "SumoProject", batch: "ScenarioBatch", path: Path, *, work_folder: Path, jobs: int = 1
) -> UsualTraffic:
    """The usual traffic of a batch from ``path``, or recorded anew where it is not there or of another recipe."""
    if path.is_file():
        kept = read_usual(path, project.network())
        if kept.recipe == usual_recipe(project, batch):
            return kept
    return record_usual(project, batch, path, work_folder=work_folder, jobs=jobs)


def record_usual(
    project: "SumoProject",
    batch: "ScenarioBatch",
    path: Path,
    *,
    work_folder: Path,
    jobs: int = 1,
    days: int = DAYS,
    progress: Callable[[int, int], None] | None = None,
) -> UsualTraffic:
    """Simulate the usual days, each in a process of its own, and keep what they gave in ``path``."""
    from joblib import Parallel, delayed

    recipe = usual_recipe(project, batch, days=days)
    where = stationing(project.network())
    project.free_flow()  # read here, once, since what a fork reads is lost with it
    requests = day_requests(batch, where, work_folder, days=days)
    tasks = [delayed(_day)(project, where, each, work_folder) for each in requests]
    found = []
    for day in Parallel(n_jobs=min(jobs, len(tasks)), return_as="generator")(tasks):
        found.append(day)
        if progress is not None:
            progress(len(found), len(tasks))
    usual = usual_traffic(project.network(), found, recipe=recipe)
    write_usual(usual, path)
    return usual


def _day(project: "SumoProject", where: Stationing, request: RunRequest, work_folder: Path) -> list[Measures]:
    from scenariogen.simulation.sumo import SumoSimulator

    simulator = SumoSimulator(project, work_folder=work_folder, project_outputs=False)
    try:
        return in_own_process(partial(record_day, simulator, where, request))
    finally:
        shutil.rmtree(request.folder, ignore_errors=True)


def write_usual(usual: UsualTraffic, path: Path) -> None:
    """Keep it as an ``.npz`` of its arrays."""
    from scenariogen.written import written_whole

    with written_whole(path) as partial_path, partial_path.open("wb") as stream:
        np.savez(
            stream,
            flow_veh_h=usual.traffic.flow_veh_h,
            density_veh_m=usual.traffic.density_veh_m,
            vehicle_m=np.array(usual.vehicle_m),
            recipe=np.array(usual.recipe),
        )


def read_usual(path: Path, network: "RoadNetwork") -> UsualTraffic:
    """What :func:`write_usual` kept, or a ``ResultsError``."""
    try:
        with np.load(BytesIO(path.read_bytes()), allow_pickle=False) as file:
            flow, density, length = file["flow_veh_h"], file["density_veh_m"], float(file["vehicle_m"])
            recipe = str(file["recipe"])
    except (OSError, ValueError, KeyError) as error:
        raise ResultsError(f"{path} cannot be read as usual traffic ({error}): remove it, it is made anew") from error
    where = stationing(network)
    if flow.ndim != 3 or flow.shape != density.shape or flow.shape[1] != len(where.stations):
        raise ResultsError(
            f"{path} holds arrays of shape {flow.shape}, expected (days, {len(where.stations)} stations, intervals): "
            "remove it, it is made anew"
        )
    traffic = Traffic(flow_veh_h=flow, density_veh_m=density)
    return UsualTraffic(where=where, traffic=traffic, vehicle_m=length, recipe=recipe)
