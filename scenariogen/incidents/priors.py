"""Published rates, severities and durations, and our own assumptions where nothing is published.

Sources: **HCM** is the *Highway Capacity Manual*, 7th edition (2022), chapter 25, the scenario generator's national
defaults; **FHWA** is FHWA-HOP-13-042. What carries neither name is our assumption and is marked so; ``fit`` updates
all of it by what was seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from scenariogen.incidents.records import KINDS, IncidentKind
from scenariogen.network import RoadClass, RoadNetwork
from scenariogen.units import METRES_PER_MILE

KM_PER_MILE = METRES_PER_MILE / 1000

RATE_PER_KM: dict[RoadClass, float] = {
    RoadClass.MOTORWAY: 800e-8 / KM_PER_MILE,  # HCM: crash rate x 4.9 incidents per crash, about 800 per 1e8 veh-mi
    RoadClass.RAMP: 800e-8 / KM_PER_MILE,  # assumption: as the motorway
    RoadClass.STREET: 800e-8 / KM_PER_MILE,  # assumption: as the motorway, with a wide Gamma below
}
"""Incidents of any kind, shoulder ones included, per vehicle-kilometre."""

RATE_SHAPE: dict[RoadClass, float] = {RoadClass.MOTORWAY: 8.0, RoadClass.RAMP: 2.0, RoadClass.STREET: 0.5}
"""Shape a of the Gamma(a, a) prior on the multiplier of a kind and road class; its relative sd is a^-1/2."""

INCIDENTS_PER_CRASH = 4.9  # HCM
KIND_SHARES: dict[IncidentKind, float] = {
    IncidentKind.CRASH: 1 / INCIDENTS_PER_CRASH,
    IncidentKind.BREAKDOWN: 0.60,  # assumption: of the rest, three quarters are disabled vehicles
    IncidentKind.OBSTRUCTION: 1 - 1 / INCIDENTS_PER_CRASH - 0.60,
}

SEVERITY: tuple[float, ...] = (0.754, 0.196, 0.031, 0.019)
"""HCM: shares of incidents on the shoulder and with 1, 2, 3 lanes blocked (4 or more: 0)."""

SINGLE_LANE_BLOCKING = 0.246
"""Assumption for single-lane edges: as many incidents obstruct the lane as obstruct any lane elsewhere."""
SINGLE_LANE_CLOSURE = 0.05
"""Assumption: share of those that close it fully; the others can be passed."""

FULL_CLOSURE_SHARE = 0.004
"""Assumption: share of incidents that close all of two or more lanes; the published generator never closes a road."""

SHOULDER_UNNOTICED = 0.30
"""Assumption: share of shoulder incidents that take no capacity at all."""

PASSABLE_CAPACITY: tuple[float, float] = (0.20, 0.80)
"""Assumption: range of the capacity left where traffic squeezes past on a single lane."""

DURATION_LOG_MINUTES: tuple[tuple[float, float], ...] = (
    (3.436, 0.424),  # shoulder
    (3.470, 0.384),  # one lane
    (3.949, 0.255),  # two lanes
    (4.169, 0.315),  # three lanes and more
)
"""HCM: mean and standard deviation of the logarithm of the duration in minutes, by lanes blocked."""

PHASE_CONCENTRATION: tuple[float, float, float] = (2.0, 3.0, 5.0)
"""Assumption: the shares of detection, response and clearance in a duration are Dirichlet with these parameters
(means 20, 30 and 50 %)."""

PRIOR_WEIGHT_INCIDENTS = 40.0
"""How many recorded incidents the published severities and durations are worth when local records update them."""


@dataclass(frozen=True, kw_only=True)
class ExpectedIncidents:
    """Expected incidents per run at the published rates."""

    total: float
    lane_blocking: float


def blocked_shares(lanes: int) -> tuple[float, ...]:
    """Shares of incidents with 0, 1, ... ``lanes`` driving lanes blocked (HCM severities).

    More lanes than ``lanes - 1`` count as ``lanes - 1``, since the published generator never closes a road; full
    closures get :data:`FULL_CLOSURE_SHARE`, taken from the shoulder's share. A single-lane edge has its own, assumed
    shares.

    >>> [round(share, 3) for share in blocked_shares(2)]
    [0.75, 0.246, 0.004]
    """
    if lanes == 1:
        return (1 - SINGLE_LANE_BLOCKING, SINGLE_LANE_BLOCKING)
    shares = [0.0] * (lanes + 1)
    for blocked, share in enumerate(SEVERITY):
        shares[min(blocked, lanes - 1)] += share
    shares[0] -= FULL_CLOSURE_SHARE
    shares[lanes] += FULL_CLOSURE_SHARE
    return tuple(shares)


def duration_parameters(blocked: int) -> tuple[float, float]:
    """Mean and standard deviation of log(minutes) for a number of blocked lanes."""
    return DURATION_LOG_MINUTES[min(blocked, len(DURATION_LOG_MINUTES) - 1)]


def expected_incidents(network: RoadNetwork, vehicle_km: Mapping[str, float]) -> ExpectedIncidents:
    """Expected incidents for the vehicle-kilometres of one run, by edge, at the published rates."""
    total = blocking = 0.0
    for edge_id, kilometres in vehicle_km.items():
        edge = network.edges.get(edge_id)
        if edge is None or not edge.driving_lanes:
            continue
        rate = RATE_PER_KM[edge.road_class] * kilometres
        total += rate
        blocking += rate * (1 - blocked_shares(len(edge.driving_lanes))[0])
    return ExpectedIncidents(total=total, lane_blocking=blocking)


def kind_shares() -> tuple[float, ...]:
    """Shares of the kinds in the order of ``KINDS``; they sum to 1."""
    return tuple(KIND_SHARES[kind] for kind in KINDS)
