"""The days that scripts/benchmark_detection looks at: simulated with known incidents, and what was true of them."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from in_venv import ROOT

from scenariogen.incidents import capacity
from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.network import RoadNetwork
from scenariogen.randomness import child_seed
from scenariogen.trajectories.records import Trajectories

PERIOD_S = 2.0
DECISIVE_S = 600.0
"""Demand must exceed the remaining capacity for so long."""
LEAST_COUNTED_S = 120.0
FIRST_BLOCKER = 700_000
"""Numbers from here on name the vehicles that block the road; detection never looks at names."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One network: how long it runs, when incidents may start, and how many days of them."""

    name: str
    sumocfg: str
    net: str
    end_s: float
    starts_s: tuple[float, float]
    days: int
    incidents: int
    scale: float = 1.0
    locked: bool = False
    """Only a day without incidents, of a network that locks up by itself: the hardest for false alarms."""


def cases() -> Iterator[Case]:
    """The networks at hand."""
    import importlib.util

    found = importlib.util.find_spec("sumo_rl")
    if found is not None and found.submodule_search_locations:
        resco = Path(found.submodule_search_locations[0]) / "nets" / "RESCO" / "cologne8"
        yield Case(
            name="cologne8",
            sumocfg=str(resco / "cologne8.sumocfg"),
            net=str(resco / "cologne8.net.xml"),
            end_s=31_000,
            starts_s=(25_800, 28_000),
            days=4,
            incidents=4,
            scale=1.5,
        )
    corridor = ROOT / "sumo_networks" / "corridor"
    if (corridor / "corridor.sumocfg").is_file():
        yield Case(
            name="corridor",
            sumocfg=str(corridor / "corridor.sumocfg"),
            net=str(corridor / "corridor.net.xml"),
            end_s=29_400,
            starts_s=(25_200, 27_000),
            days=2,
            incidents=3,
        )
    shared = ROOT.parent / "shared" / "data" / "networks"
    if shared.is_dir():
        yield Case(
            name="i210",
            sumocfg=str(shared / "i210" / "config_file.sumocfg"),
            net=str(shared / "i210" / "test.net.xml"),
            end_s=4_500,
            starts_s=(600, 2_700),
            days=4,
            incidents=3,
            scale=1.4,
        )
        yield Case(
            name="bologna_acosta",
            sumocfg=str(shared / "bologna_acosta" / "run.sumocfg"),
            net=str(shared / "bologna_acosta" / "acosta_buslanes.net.xml"),
            end_s=4_500,
            starts_s=(600, 2_700),
            days=4,
            incidents=3,
        )
        yield Case(
            name="chicago_locked",
            sumocfg=str(shared / "chicago_roosevelt" / "roosevelt.sumocfg"),
            net=str(shared / "chicago_roosevelt" / "roosevelt.net.xml"),
            end_s=1_500,
            starts_s=(0, 0),
            days=0,
            incidents=0,
            locked=True,
        )


def draw_incidents(case: Case, network: RoadNetwork, free: pd.DataFrame, day: int) -> list[Incident]:
    """Random incidents on busy edges, a few minutes to half an hour long."""
    rng = np.random.default_rng(child_seed(2024, case.name, day))
    used = free.groupby("edge", observed=True)["vehicle"].nunique()
    edges = [edge for edge in network.drivable if used.get(edge, 0) > 0 and network.edges[edge].length_m >= 30]
    weight = np.array([used[edge] / len(network.edges[edge].driving_lanes) for edge in edges], dtype=float) ** 2
    chosen = rng.choice(len(edges), size=min(case.incidents, len(edges)), replace=False, p=weight / weight.sum())
    return [_draw(rng, case, network, edges[number]) for number in chosen]


def _draw(rng: np.random.Generator, case: Case, network: RoadNetwork, edge_id: str) -> Incident:
    edge = network.edges[edge_id]
    driving = edge.driving_lanes
    count = int(rng.choice([0, 1, 2, 3], p=[0.15, 0.5, 0.25, 0.1]))
    count = min(count, len(driving))
    first = int(rng.integers(0, len(driving) - count + 1))
    lanes = driving[first : first + count]
    low, high = capacity.reachable(
        edge.road_class, len(driving), count, inner=capacity.is_inner(driving, lanes) if count else False
    )
    share = float(rng.uniform(low, high))
    if count == len(driving) == 1:
        share = 0.0 if rng.random() < 0.4 else float(rng.uniform(low, 0.7))
    if not count:
        share = float(rng.uniform(max(low, 0.75), high))
    duration_s = float(np.clip(rng.lognormal(np.log(1200), 0.3), 660, 2_400))
    return Incident(
        edge=edge_id,
        start_s=float(np.round(rng.uniform(*case.starts_s))),
        # Where a road begins, vehicles enter it some metres from its start, beyond what stands before that.
        position_m=float(rng.uniform(2 if edge.predecessors else 20, edge.length_m - 2)),
        kind=rng.choice([kind.value for kind in IncidentKind]),
        lanes=lanes,
        capacity_left=share,
        detection_s=duration_s / 3,
        response_s=duration_s / 3,
        clearance_s=duration_s / 3,
    )


def simulate(case: Case, seed: int, out: Path, incidents: list[Incident]) -> list[dict]:
    """One recorded day in a process of its own; what became of its incidents."""
    import libsumo

    from scenariogen.injection import Injection
    from scenariogen.scenarios.records import Drivers, Scenario

    log = ["--no-step-log", "--no-warnings", "--time-to-teleport", "-1", "--collision.action", "warn"]
    # Nothing may be written beside the project's files: a prefix relative to the configuration leads out of them.
    prefix = Path(tempfile.mkdtemp(dir=out.parent))
    relative = Path(*[".."] * len(Path(case.sumocfg).parent.parts[1:]), *prefix.parts[1:])
    record = ["--fcd-output", out.name, "--device.fcd.period", str(PERIOD_S), "--output-prefix", f"{relative}/"]
    libsumo.start(["sumo", "-c", case.sumocfg, "--seed", str(seed), "--scale", str(case.scale), *log, *record])
    try:
        # Nobody takes another way, so that the day without incidents shows the demand of the one with them.
        scenario = Scenario(index=0, seed=seed, incidents=tuple(incidents), drivers=Drivers(reroute_share=0.0))
        numbers = {}
        injection = Injection(
            libsumo,
            scenario,
            network=case.net,
            blocker_id=lambda incident, vehicle: numbers.setdefault(
                (incident, vehicle), f"{FIRST_BLOCKER + len(numbers)}"
            ),
        )
        with injection:
            while libsumo.simulation.getTime() < case.end_s and libsumo.simulation.getMinExpectedNumber() > 0:
                libsumo.simulationStep()
            end_s = libsumo.simulation.getTime()
            reports = injection.report()
    finally:
        libsumo.close()
    (prefix / out.name).rename(out)
    return [
        {
            "edge": report.asked.edge,
            "kind": str(report.asked.kind),
            "lanes": list(report.asked.lanes),
            "capacity_asked": report.asked.capacity_left,
            "realised": report.realised,
            "start_s": report.start_s,
            "end_s": report.end_s if report.end_s is not None else end_s,
            "censored": report.end_s is None or report.end_s >= end_s - 1,
            "position_m": report.position_m,
        }
        for report in reports
    ]


def reference_veh_h(network: RoadNetwork, edge_id: str) -> float:
    """Undisturbed discharge of an edge's cross-section from the measured table, between its speed limits."""
    edge = network.edges[edge_id]
    lanes = len(edge.driving_lanes)
    most = min(lanes, capacity.MOST_LANES_MEASURED)
    rows = [row for row in capacity.table()["rows"] if row["blocked"] == 0 and row["lanes"] == most]
    rows.sort(key=lambda row: row["limit_mps"])
    free = np.interp(edge.speed_mps, [row["limit_mps"] for row in rows], [row["free_veh_h"] for row in rows])
    return float(free) * lanes / most


def crossings_s(rows: pd.DataFrame, edge_id: str, position_m: float) -> np.ndarray:
    """Seconds at which vehicles were first seen past a place, or left its edge before it."""
    here = rows[rows["edge"] == edge_id]
    moving = here.groupby("vehicle", observed=True)["position_m"].agg(["min", "max"])
    moving = moving[moving["max"] - moving["min"] > 1]
    here = here[here["vehicle"].isin(moving.index)]
    past = here[here["position_m"] >= position_m].groupby("vehicle", observed=True)["time_s"].min()
    left = here.groupby("vehicle", observed=True)["time_s"].max() + PERIOD_S
    last_s = float(rows["time_s"].max())
    left = left[~left.index.isin(past.index) & (left <= last_s)]
    return np.sort(np.concatenate([past.to_numpy(), left.to_numpy()]))


def count_capacity(rows: pd.DataFrame, truth: dict, network: RoadNetwork) -> tuple[float, float]:
    """Share of capacity that was left, counted while a slow, dense queue stood upstream and none just past the spot;
    and for how long that was (s)."""
    edge = network.edges[truth["edge"]]
    low, high = max(0.0, truth["position_m"] - 110), truth["position_m"] - 10
    if high - low < 15:
        return float("nan"), 0.0
    here = rows[(rows["edge"] == truth["edge"]) & rows["lane"].isin(edge.driving_lanes)]
    here = here[(here["time_s"] >= truth["start_s"] + 60) & (here["time_s"] <= truth["end_s"] - 10)]
    behind = here[here["position_m"].between(low, high)]
    grid = np.arange(truth["start_s"] + 60, truth["end_s"] - 10, 20.0)
    if len(grid) < 2:
        return float("nan"), 0.0
    slot = np.digitize(behind["time_s"], grid) - 1
    samples = 20.0 / PERIOD_S
    vehicles = np.bincount(slot, minlength=len(grid)) / samples
    speed = np.bincount(slot, weights=behind["speed_mps"], minlength=len(grid)) / np.maximum(vehicles * samples, 1)
    spacing_m = (high - low) * len(edge.driving_lanes) / np.maximum(vehicles, 1e-9)
    queued = (speed < 0.5 * edge.speed_mps) & (spacing_m < 9.0 + 2.2 * speed)
    past = here[here["position_m"].between(truth["position_m"] + 2, truth["position_m"] + 25) & (here["speed_mps"] < 1)]
    spilled = np.bincount(np.digitize(past["time_s"], grid) - 1, minlength=len(grid)) / samples > 0.3
    good = queued & ~spilled
    passed = np.bincount(
        np.digitize(crossings_s(rows, truth["edge"], truth["position_m"] + 1), np.r_[grid, grid[-1] + 20]),
        minlength=len(grid) + 2,
    )[1 : len(grid) + 1]
    seconds = float(good.sum() * 20)
    if seconds < LEAST_COUNTED_S:
        return float("nan"), seconds
    return float(passed[good].sum() / seconds * 3600 / reference_veh_h(network, truth["edge"])), seconds


def is_decisive(free: pd.DataFrame, truth: dict, network: RoadNetwork) -> bool:
    """Blocks a lane, and demand exceeded what was left for ten minutes of its time."""
    if not truth["lanes"] or not truth["realised"]:
        return False
    left = truth["capacity_counted"] if np.isfinite(truth["capacity_counted"]) else truth["capacity_asked"]
    left_veh_h = left * reference_veh_h(network, truth["edge"])
    times = crossings_s(free, truth["edge"], min(truth["position_m"] + 1, network.edges[truth["edge"]].length_m))
    minutes = np.arange(truth["start_s"], truth["end_s"], 60.0)
    demand = np.array([((times >= t - 120) & (times < t + 180)).sum() * 12 for t in minutes])
    return float((demand > left_veh_h).sum() * 60) >= DECISIVE_S


def add_truth(case: Case, network: RoadNetwork, opened: Trajectories, truths: list[dict], free: pd.DataFrame) -> None:
    """What was really left of the capacity, and which incidents are decisive."""
    rows = opened.query("SELECT vehicle, edge, lane, time_s, position_m, speed_mps FROM trajectories")
    for truth in truths:
        truth["network"] = case.name
        truth["capacity_counted"], truth["counted_s"] = (
            count_capacity(rows, truth, network) if truth["realised"] else (float("nan"), 0.0)
        )
        truth["decisive"] = is_decisive(free, truth, network)
