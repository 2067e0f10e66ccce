"""Places of release and closed roads as incidents: where, when, with what capacity left, on which lanes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scenariogen.incidents.closures import Closure
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.discharge import REFERENCE_ERROR
from scenariogen.incidents.from_fields_measure import blocked_lanes
from scenariogen.incidents.passing import passings
from scenariogen.incidents.records import IncidentKind
from scenariogen.incidents.release_scan import LEAST_SHARE, REACH_M, ReleasePlace
from scenariogen.incidents.releases import SLOW
from scenariogen.incidents.saturation import saturation_veh_h
from scenariogen.incidents.sparse_gaps import stretch_speeds

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork
    from scenariogen.trajectories.tracks import Tracks

STARTING_MPS2 = 1.4
"""Drivers gather speed so fast past the place that held them up; it lies as far before the release as that takes."""
PLACE_ERROR = 0.25
"""Standard error of that way, relative to it."""
LEAST_ERROR_M = 5.0
QUEUE_M = (100.0, 40.0)
"""Between so many metres before the place a queue is looked for; nearer, people slow down without one."""
QUEUED = 0.5
"""There, the mean speed in a queue is below this share of the limit."""
LEAST_SAMPLES = 10
LEAST_LEFT = 0.1
"""What leaves a lane open leaves more capacity than this. So few are no queue's discharge: the few who come at all are
held up by what keeps the others away."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Share of capacity left, with its standard error."""

    capacity_left: float
    capacity_left_se: float
    is_lower_bound: bool


def release_row(
    place: ReleasePlace, tracks: "Tracks", network: "RoadNetwork", settings: DetectSettings, *, share: float
) -> dict[str, Any] | None:
    """One place of release as an incident; none where people left a queue by turning off, or
    hardly anybody came."""
    number, position_m, error_m = _origin(place, network)
    if position_m < 0:
        before = _before(place, number, tracks, network)
        if before is None:
            return None
        number = before
        position_m = max(0.0, position_m + network.edges[network.edge_ids[number]].length_m)
    edge = network.edges[network.edge_ids[number]]
    if not edge.predecessors and position_m <= error_m:  # where vehicles enter, they are slow for another reason
        return None
    # Between the last who passed freely and the first released, but where nobody passed for long, it was for another
    # reason.
    headway_s = (place.end_s - place.begin_s) / max(place.passed - 1, 1)
    start_s = place.begin_s - min((place.begin_s - place.before_s) / 2, headway_s)
    end_s = place.end_s + min((place.after_s - place.end_s) / 2, headway_s)
    span = (place.begin_s, place.end_s)
    left, error = _capacity(place.passed - 1, place.end_s - place.begin_s, edge, settings, share)
    if left < LEAST_LEFT:
        return None
    speeds = stretch_speeds(tracks, network, number, position_m - QUEUE_M[0], position_m - QUEUE_M[1], span)
    is_queued = len(speeds) >= LEAST_SAMPLES and float(speeds.mean()) < QUEUED * edge.speed_mps
    chances = blocked_lanes(edge, Counted(capacity_left=left, capacity_left_se=error, is_lower_bound=not is_queued))
    if len(edge.driving_lanes) == 1:
        # Where people squeeze past so slowly, no more of them could follow each other.
        places_m = np.linspace(position_m, min(position_m + REACH_M, edge.length_m - 0.1), 4)
        slow_mps = _slowest_mps(tracks, number, places_m, span, free_mps=edge.speed_mps)
        share_left = saturation_veh_h(slow_mps, settings) / saturation_veh_h(edge.speed_mps, settings)
        chances = {1: 1.0} if share_left < settings.squeezed_share else chances
    count = max(chances, key=lambda each: chances[each])
    return {
        **_row(edge.id, position_m, error_m, start_s, end_s, tracks, count, edge.driving_lanes[:count]),
        "duration_is_censored": place.after_s >= tracks.end_s,
        "capacity_left": left,
        "capacity_left_se": error,
        "capacity_left_is_lower_bound": not is_queued,
        "lanes_blocked": chances,
        "more": place.passed / max(place.expected, 1.0),
    }


def _slowest_mps(
    tracks: "Tracks", edge: int, places_m: np.ndarray, span_s: tuple[float, float], *, free_mps: float
) -> float:
    """Median speed of those who pass at the slowest of some places; ``free_mps`` where nobody does."""
    speeds = [passings(tracks, edge, float(at_m)).between(*span_s).speed_mps for at_m in places_m]
    return float(min((np.median(each) for each in speeds if len(each)), default=free_mps))


def closure_row(
    closure: Closure, tracks: "Tracks", network: "RoadNetwork", settings: DetectSettings, *, share: float
) -> dict[str, Any]:
    """One closed road as an incident."""
    edge = network.edges[network.edge_ids[closure.edge]]
    start_s = (max(closure.before_s, closure.begin_s - LONGEST_WAIT_S) + closure.begin_s) / 2
    _, error = _capacity(0, closure.end_s - closure.begin_s, edge, settings, share)
    lanes = edge.driving_lanes
    return {
        **_row(edge.id, closure.position_m, closure.position_se_m, start_s, closure.end_s, tracks, len(lanes), lanes),
        "duration_is_censored": closure.is_open,
        "capacity_left": 0.0,
        "capacity_left_se": error,
        "capacity_left_is_lower_bound": False,
        "lanes_blocked": {len(lanes): 1.0},
        "held": closure.held,
        "is_queue": closure.is_queue,
        "queue": {network.edge_ids[each] for each in closure.queue},
        "ahead": {network.edge_ids[each] for each in closure.ahead},
    }


LONGEST_WAIT_S = 600.0
"""The last passing before a closed road, on a road where few were seen, does not tell more than that of its start."""


def _row(
    edge: str,
    position_m: float,
    error_m: float,
    start_s: float,
    end_s: float,
    tracks: "Tracks",
    count: int,
    lanes: tuple[int, ...],
) -> dict[str, Any]:
    return {
        "day": tracks.day,
        "edge": edge,
        "start_s": start_s,
        "position_m": position_m,
        "kind": str(IncidentKind.CRASH if count >= 2 else IncidentKind.BREAKDOWN),
        "lanes": list(lanes),
        "duration_s": max(end_s - start_s, tracks.period_s),
        "confidence": 0.9,
        "position_se_m": error_m,
        "phases": [],
    }


def _origin(place: ReleasePlace, network: "RoadNetwork") -> tuple[int, float, float]:
    """Edge, position and its standard error of what held people up; below 0: on an edge before."""
    limit_mps = network.edges[network.edge_ids[place.edge]].speed_mps
    way_m = (SLOW * limit_mps) ** 2 / (2 * STARTING_MPS2)
    return place.edge, place.position_m - way_m, max(LEAST_ERROR_M, PLACE_ERROR * way_m)


def _before(place: ReleasePlace, number: int, tracks: "Tracks", network: "RoadNetwork") -> int | None:
    """The edge from which most of those released came; none where most of those who leave it take another one."""
    rows = tracks.on_edge(number)
    inside = (tracks.time_s[rows] >= place.begin_s) & (tracks.time_s[rows] <= place.end_s)
    came = np.unique(tracks.vehicle[rows[inside]])
    counts = {}
    for name in network.edges[network.edge_ids[number]].predecessors:
        other = network.edge_index[name]
        past = passings(tracks, other, network.edges[name].length_m - 0.1).between(place.begin_s - 60.0, place.end_s)
        mine = int(np.isin(past.vehicle, came).sum())
        counts[other] = (mine, len(past))
    best = max(counts, key=lambda other: counts[other][0], default=None)
    if best is None:  # a road that begins here: vehicles enter it
        return None
    mine, total = counts[best]
    return best if mine and mine >= LEAST_SHARE * total else None


def _capacity(passed: int, seconds: float, edge, settings: DetectSettings, share: float) -> tuple[float, float]:
    """Share of capacity that was left, and its standard error."""
    reference = len(edge.driving_lanes) * saturation_veh_h(edge.speed_mps, settings)
    hours = max(seconds, 1.0) / 3600
    left = passed / share / hours / reference
    # A queue's discharge is more regular than chance (a third of a Poisson count's error); which of it was seen is not.
    count_error = max(1.0, np.sqrt(passed) * np.sqrt(1.0 - share + share / 9)) / share / hours / reference
    return float(min(1.0, left)), float(np.hypot(count_error, left * REFERENCE_ERROR))
