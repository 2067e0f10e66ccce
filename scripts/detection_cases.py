"""The networks that scripts/benchmark_detection looks at, and the incidents that it draws for them."""

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


def draw_incidents(case: Case, network: RoadNetwork, free: pd.DataFrame, day: int, seed: int) -> list[Incident]:
    """Random incidents on busy edges, a few minutes to half an hour long."""
    rng = np.random.default_rng(child_seed(2024 + seed, case.name, day))
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
