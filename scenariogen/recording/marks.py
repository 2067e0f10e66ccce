"""What a true incident is like, given its edge, kind and start.

Close to the published distributions (:mod:`scenariogen.incidents.priors`), and different from them on purpose, so
that a fit has something to learn:

* **lanes**: crashes block a lane 1.8 times as often as published, obstructions 1.3 times, breakdowns 0.7 times; each
  further blocked lane is 1.3 times as likely as published; all of several lanes are closed as rarely as assumed there.
  Blocked lanes are adjacent, the rightmost most likely (each group of lanes 1.5 times as likely as the next one).
  On a single lane traffic can pass unless it is closed fully, which happens in 3 % of the cases that block it.
* **capacity left**: within what can be brought about on the cross-section; crashes leave less of that range
  (Beta(2, 4)) than other kinds (Beta(4, 2)); shoulder incidents leave 0.75 to 0.95 after crashes, else 0.90 to 1.
* **duration**: lognormal as published by blocked lanes, the median longer by a factor (crashes 1.25, breakdowns 0.9,
  obstructions 1), the logarithm's standard deviation 1.2 times as large: the published one has too light a tail.
* **phases**: the duration is shared out by Dirichlet(1.5, 3, 5.5), so the road is known to be blocked sooner.
* **position**: half the incidents uniform on the edge, three in ten near its end, two in ten near its start, where
  distances from the junction fall off exponentially with 40 m.
"""

from functools import cache

import numpy as np

from scenariogen.incidents import capacity
from scenariogen.incidents.priors import PASSABLE_CAPACITY, blocked_shares, duration_parameters
from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.network import Edge

BLOCKING: dict[IncidentKind, float] = {
    IncidentKind.CRASH: 1.8,
    IncidentKind.BREAKDOWN: 0.7,
    IncidentKind.OBSTRUCTION: 1.3,
}
FURTHER_LANE = 1.3
RIGHT_LANE = 1.5
SINGLE_LANE_CLOSURE = 0.03
CAPACITY_BETA: dict[IncidentKind, tuple[float, float]] = {
    IncidentKind.CRASH: (2.0, 4.0),
    IncidentKind.BREAKDOWN: (4.0, 2.0),
    IncidentKind.OBSTRUCTION: (4.0, 2.0),
}
SHOULDER_CAPACITY: dict[IncidentKind, tuple[float, float]] = {
    IncidentKind.CRASH: (0.75, 0.95),
    IncidentKind.BREAKDOWN: (0.90, 1.0),
    IncidentKind.OBSTRUCTION: (0.90, 1.0),
}
DURATION_FACTOR: dict[IncidentKind, float] = {
    IncidentKind.CRASH: 1.25,
    IncidentKind.BREAKDOWN: 0.9,
    IncidentKind.OBSTRUCTION: 1.0,
}
DURATION_SPREAD = 1.2
PHASES: tuple[float, float, float] = (1.5, 3.0, 5.5)
NEAR_END, NEAR_START = 0.3, 0.2
NEAR_M = 40.0


@cache
def lane_count_shares(lanes: int, kind: IncidentKind) -> tuple[float, ...]:
    """True shares of incidents that block 0, 1, ... ``lanes`` driving lanes."""
    published = np.array(blocked_shares(lanes))
    closed = float(published[lanes]) if lanes > 1 else 0.0
    partly = published[1:lanes] if lanes > 1 else published[1:]
    tilted = partly * FURTHER_LANE ** np.arange(len(partly))
    blocking = min(0.9, float(partly.sum()) * BLOCKING[kind]) * tilted / tilted.sum()
    shares = [float(share) for share in blocking] + ([closed] if lanes > 1 else [])
    return (1 - sum(shares), *shares)


def blocking_share(lanes: int, kind: IncidentKind) -> float:
    """True share of incidents that block a lane, on a cross-section of ``lanes`` driving lanes."""
    return 1 - lane_count_shares(lanes, kind)[0]


def draw_incident(random: np.random.Generator, edge: Edge, kind: IncidentKind, start_s: float) -> Incident:
    """One true incident on an edge that has lanes for cars."""
    lanes = _lanes(random, edge, kind)
    blocked = len(lanes)
    mean, spread = duration_parameters(blocked)
    minutes = DURATION_FACTOR[kind] * np.exp(mean + DURATION_SPREAD * spread * random.standard_normal())
    detection_s, response_s, clearance_s = 60 * minutes * random.dirichlet(PHASES)
    return Incident(
        edge=edge.id,
        start_s=start_s,
        position_m=_position_m(random, edge.length_m),
        kind=kind,
        lanes=lanes,
        capacity_left=_capacity_left(random, edge, kind, lanes),
        detection_s=detection_s,
        response_s=response_s,
        clearance_s=clearance_s,
    )


def _lanes(random: np.random.Generator, edge: Edge, kind: IncidentKind) -> tuple[int, ...]:
    driving = edge.driving_lanes
    blocked = int(random.choice(len(driving) + 1, p=lane_count_shares(len(driving), kind)))
    groups: list[tuple[int, ...]] = []
    while not groups and blocked:  # lanes that are not for cars may lie between: then fewer are adjacent
        windows = [driving[first : first + blocked] for first in range(len(driving) - blocked + 1)]
        groups = [group for group in windows if group[-1] - group[0] == blocked - 1]
        blocked -= 0 if groups else 1
    if not groups:
        return ()
    weights = RIGHT_LANE ** -np.arange(len(groups), dtype=float)
    return groups[int(random.choice(len(groups), p=weights / weights.sum()))]


def _capacity_left(random: np.random.Generator, edge: Edge, kind: IncidentKind, lanes: tuple[int, ...]) -> float:
    count, blocked = len(edge.driving_lanes), len(lanes)
    low, high = capacity.reachable(edge.road_class, count, blocked, inner=capacity.is_inner(edge.driving_lanes, lanes))
    if not blocked:
        least, most = SHOULDER_CAPACITY[kind]
        low, high = max(low, least), min(high, most)
        return float(low + max(0.0, high - low) * random.random())
    if count == 1:
        if random.random() < SINGLE_LANE_CLOSURE:
            return 0.0
        low, high = max(low, PASSABLE_CAPACITY[0]), min(high, PASSABLE_CAPACITY[1])
    return float(low + max(0.0, high - low) * random.beta(*CAPACITY_BETA[kind]))


def _position_m(random: np.random.Generator, length_m: float) -> float:
    where = random.random()
    if where >= NEAR_END + NEAR_START:
        return float(length_m * random.random())
    # An exponential distance cut at the edge's length, by its inverse CDF.
    distance_m = -NEAR_M * np.log1p(-random.random() * -np.expm1(-length_m / NEAR_M))
    from_start_m = length_m - distance_m if where < NEAR_END else distance_m
    return float(min(max(from_start_m, 0.0), length_m))
