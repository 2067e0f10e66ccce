"""The days that scripts/benchmark_detection looks at: simulated with known incidents, and what was true of them."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from detection_cases import Case

from scenariogen.incidents import capacity
from scenariogen.incidents.records import Incident
from scenariogen.network import RoadNetwork
from scenariogen.trajectories.records import Trajectories

PERIOD_S = 2.0
DECISIVE_S = 600.0
"""Demand must exceed the remaining capacity for so long."""
LEAST_COUNTED_S = 120.0
FIRST_BLOCKER = 700_000
"""Numbers from here on name the vehicles that block the road; detection never looks at names."""


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
