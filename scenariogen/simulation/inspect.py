"""Looking at a project before anything is built on it: several runs without incidents, and what they say."""

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from scenariogen.errors import ProjectError
from scenariogen.incidents.capacity import published_capacity_left
from scenariogen.network import Edge, RoadClass, RoadNetwork
from scenariogen.randomness import sumo_seed
from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.health import HealthWatch, RunHealth
from scenariogen.simulation.isolation import in_own_process
from scenariogen.simulation.measures import DelayMeter, SystemDelay
from scenariogen.simulation.overrides import Override, overrides
from scenariogen.simulation.project import SumoProject
from scenariogen.simulation.study import study_window
from scenariogen.simulation.sumo import SumoSimulator
from scenariogen.simulation.traffic import CELL_S, edge_green_share, green_shares, peak_flow_veh_h, read_vehicle_km
from scenariogen.units import clock_text
from scenariogen.window import StudyWindow

SATURATION_VEH_H = 1800.0
"""Vehicles an hour and lane that a lane discharges while nothing holds it back."""
ONE_LANE_LEFT = 0.5
"""Capacity left where a one-lane road is obstructed and traffic squeezes past."""
OVERLOADED_SHARE = 0.2
"""Share of the vehicles still waiting to enter at the end that makes a network jammed, whatever still moves in it."""
ASSUMPTIONS = (
    f"a lane discharges {SATURATION_VEH_H:,.0f} veh/h, before a signal that times its share of green",
    "one blocked lane leaves the share of FHWA-HOP-13-042 table 40 on motorways and ramps, the other lanes on streets",
    f"one-lane roads stay passable at {ONE_LANE_LEFT:.0%} of their capacity",
    "flows are the busiest 5 minutes after the warm-up, averaged over the seeds",
)


@dataclass(frozen=True, kw_only=True)
class SeedReport:
    """One run without incidents. ``until_s``: it was stopped there, since the network had locked up."""

    seed: int
    delay: SystemDelay
    health: RunHealth
    until_s: float | None


@dataclass(frozen=True, kw_only=True)
class EdgeReserve:
    """What one blocked lane would mean on an edge, vehicles an hour. ``load`` above 1: a queue grows."""

    edge: str
    lanes: int
    flow_veh_h: float
    capacity_veh_h: float
    capacity_left_veh_h: float

    @property
    def load(self) -> float:
        return self.flow_veh_h / self.capacity_left_veh_h if self.capacity_left_veh_h > 0 else math.inf


@dataclass(frozen=True, kw_only=True, eq=False)
class ProjectReport:
    """What ``check`` found.

    ``vehicle_km``  by edge id, shape ``(cell,)``, cells of ``cell_s`` from ``window.begin_s``, mean over the seeds
    ``edges``       every edge with traffic, by load with one lane blocked, highest first
    """

    name: str
    project_hash: str
    window: StudyWindow
    network: RoadNetwork
    demand: str
    vehicles_in_window: float
    runs: tuple[SeedReport, ...]
    vehicle_km: dict[str, np.ndarray] = field(repr=False)
    edges: tuple[EdgeReserve, ...] = field(repr=False)
    overrides: tuple[Override, ...] = field(repr=False)
    cell_s: float = CELL_S
    assumptions: tuple[str, ...] = ASSUMPTIONS

    @property
    def locked_up(self) -> tuple[SeedReport, ...]:
        """The runs that locked up without any incident."""
        return tuple(run for run in self.runs if run.health.locked_up)

    @property
    def waiting_share(self) -> float:
        """Share of the vehicles that still wait to enter at the end, mean over the runs."""
        return float(np.mean([run.delay.waiting_at_end / max(run.delay.due, 1) for run in self.runs]))

    @property
    def overloaded(self) -> bool:
        """The network does not take the demand: so many never get in that delay is mostly their waiting."""
        return self.waiting_share > OVERLOADED_SHARE

    @property
    def edges_that_matter(self) -> tuple[EdgeReserve, ...]:
        """Edges where one blocked lane leaves less than the traffic that is there."""
        return tuple(edge for edge in self.edges if edge.load > 1)

    @property
    def total_vehicle_km(self) -> float:
        """Vehicle-kilometres of a run, warm-up included, mean over the seeds."""
        return float(sum(row.sum() for row in self.vehicle_km.values()))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What makes results of this project hard to read, in words."""
        found = []
        if self.locked_up:
            when = ", ".join(clock_text(run.health.locked_up_since_s or 0.0) for run in self.locked_up)
            found.append(f"it locks up by itself in {len(self.locked_up)} of {len(self.runs)} runs (from {when})")
        if self.overloaded:
            found.append(
                f"{self.waiting_share:.0%} of the vehicles still wait to enter at the end: the demand is more than the "
                "network takes, and delay is mostly this backlog"
            )
        discarded = sum(run.delay.discarded for run in self.runs)
        if discarded:
            found.append(
                f"{discarded} vehicles were dropped or removed on the way; they count as waiting until the end"
            )
        collisions = sum(run.health.collisions for run in self.runs)
        if collisions:
            found.append(f"{collisions} collisions happen without any incident")
        return tuple(found)

    def require_sound(self, *, allow_lock_up: bool = False) -> None:
        """Raise a ``ProjectError`` for a project that locks up or jams by itself, unless that is allowed."""
        if allow_lock_up or not (self.locked_up or self.overloaded):
            return
        if self.locked_up:
            seeds = ", ".join(
                f"seed {run.seed} from {clock_text(run.health.locked_up_since_s or 0.0)}" for run in self.locked_up
            )
            what = (
                f"locks up by itself, without any incident, in {len(self.locked_up)} of {len(self.runs)} runs ({seeds})"
            )
        else:
            what = f"jams by itself, without any incident: {self.waiting_share:.0%} of its vehicles never get in"
        raise ProjectError(
            f"{self.name} {what}; teleporting is off. Comparing policies on it says little. Lower its demand, mend the "
            "spot that jams, or pass --allow-lock-up to go on regardless"
        )


def check_project(
    project: SumoProject,
    *,
    window: StudyWindow | None = None,
    seeds: int = 3,
    seed: int = 0,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> ProjectReport:
    """Run the project without incidents on ``seeds`` seeds and report.

    A run that locks up is stopped once that is certain. ``progress(done, total)`` is called after each run. All
    files are written to a temporary folder, which is removed.
    """
    if seeds < 1:
        raise ProjectError(f"seeds is {seeds}, expected at least 1")
    window = window or study_window(project)
    network = project.network()
    folder = Path(tempfile.mkdtemp(prefix="scenariogen-check-"))
    try:
        numbers = [sumo_seed(seed, "check", number) for number in range(seeds)]
        found = []
        for outcome in _outcomes(project, window, numbers, folder, jobs):
            found.append(outcome)
            if progress is not None:
                progress(len(found), seeds)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    vehicle_km = _mean([kilometres for _, kilometres, _ in found])
    return ProjectReport(
        name=project.name,
        project_hash=project.hash,
        window=window,
        network=network,
        demand=str(project.demand),
        vehicles_in_window=float(np.mean([report.delay.due for report, _, _ in found])),
        runs=tuple(report for report, _, _ in found),
        vehicle_km=vehicle_km,
        edges=_reserves(network, vehicle_km, window, found[0][2]),
        overrides=tuple(overrides(project)),
    )


_Outcome = tuple[SeedReport, dict[str, np.ndarray], dict[str, float]]


def _outcomes(
    project: SumoProject, window: StudyWindow, seeds: list[int], folder: Path, jobs: int
) -> Iterator[_Outcome]:
    project.network()  # read once, before the processes part
    project.free_flow()
    if jobs == 1:
        for seed in seeds:
            yield _one_run(project, window, seed, folder)
        return
    from joblib import Parallel, delayed

    tasks = (delayed(_one_run)(project, window, seed, folder) for seed in seeds)
    results: Iterator[Any] = Parallel(n_jobs=min(jobs, len(seeds)), return_as="generator")(tasks)  # type: ignore[assignment]
    yield from results


def _one_run(project: SumoProject, window: StudyWindow, seed: int, folder: Path) -> _Outcome:
    """One run in a process of its own, so that it is the same whatever ran before."""
    return in_own_process(_watched_run, project, window, seed, folder)


def _watched_run(project: SumoProject, window: StudyWindow, seed: int, folder: Path) -> _Outcome:
    simulator = SumoSimulator(project, work_folder=folder, project_outputs=False)
    own = folder / str(seed)
    request = RunRequest(window=window, seed=seed, folder=own, edge_data_period_s=CELL_S)
    with simulator.open(request) as run:
        green = green_shares(run.control_room.signals)
        meter = DelayMeter(run)
        watch = HealthWatch(run, meter=meter)
        while run.time_s < window.end_s and watch.locked_up_since_s is None:
            run.step()
            meter.update()
            watch.update()
        until_s = run.time_s if run.time_s < window.end_s else None
        report = SeedReport(seed=seed, delay=meter.result(), health=watch.health(), until_s=until_s)
    return report, read_vehicle_km(own, project.network(), window), green


def _mean(found: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    edges = sorted({edge for each in found for edge in each})
    return {edge: sum(each.get(edge, np.zeros(1)) for each in found) / len(found) for edge in edges}  # type: ignore[misc]


def _share_left(edge: Edge) -> float:
    """Share of capacity that one blocked lane leaves."""
    lanes = len(edge.driving_lanes)
    if lanes == 1:
        return ONE_LANE_LEFT
    published = None if edge.road_class is RoadClass.STREET else published_capacity_left(lanes, 1)
    return (lanes - 1) / lanes if published is None else published


def _reserves(
    network: RoadNetwork, vehicle_km: dict[str, np.ndarray], window: StudyWindow, green: dict[str, float]
) -> tuple[EdgeReserve, ...]:
    skip = math.ceil((window.count_from_s - window.begin_s) / CELL_S)
    found = []
    for edge_id, flow in peak_flow_veh_h(network, vehicle_km, skip=skip).items():
        edge = network.edges[edge_id]
        lanes = len(edge.driving_lanes)
        if not lanes:
            continue
        capacity = lanes * SATURATION_VEH_H * edge_green_share(edge, green)
        share = _share_left(edge)
        found.append(
            EdgeReserve(
                edge=edge_id,
                lanes=lanes,
                flow_veh_h=flow,
                capacity_veh_h=capacity,
                capacity_left_veh_h=capacity * share,
            )
        )
    return tuple(sorted(found, key=lambda reserve: -reserve.load))
