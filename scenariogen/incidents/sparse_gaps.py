"""Unused lanes as incidents: those past which traffic is free and before which it is slower than on other days.

A lane may go unused since those who take it were stopped farther upstream, or stand in gridlock. What blocks a lane
slows everybody before it, and nobody beyond it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.discharge import REFERENCE_ERROR
from scenariogen.incidents.lane_gaps import STEP_M, LaneGap
from scenariogen.incidents.passing import passings
from scenariogen.incidents.records import IncidentKind
from scenariogen.incidents.saturation import saturation_veh_h
from scenariogen.incidents.sparse_places import gap_along_m
from scenariogen.incidents.standing import Ends

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork
    from scenariogen.trajectories.tracks import Tracks

NEAR_M = 100.0
"""Speeds are taken over this length before the place, and over as much beyond it ..."""
BEYOND_M = 20.0
"""... from here on."""
SLOWED = 0.5
"""Traffic before the place is slower than this share of what is usual ..."""
FASTER, FREE_MPS = 1.4, 3.0
"""... and beyond it faster than before it by this factor, and than this speed."""
CLOSED_REACH_M = 200.0
STANDS_MPS, STARVED = 1.0, 0.3
"""Before a closed road traffic stands, and beyond it less than this share of what is usual is left."""
LEAST_SAMPLES = 40
"""Fewer samples on a stretch make no mean speed."""
SETTLING_S = 60.0
SAME_M = 120.0
CLEAR_ENOUGH = 0.4
ALL_SEEN = 0.5
"""At a share of this or more, an incident that leaves some lanes open shows as a lane without vehicles."""
ALONE = 20.0
"""Where few vehicles were seen and flow alone did not tell the incident, so many must be missing on the lane."""
LEAST_UNUSED = 10.0
"""A lane that so many vehicles would have used and nobody did is blocked, free beyond the place or not ..."""
UNUSED_M = 50.0
"""... and the place of a release so near, for half of its time or more, is the same."""
IN_QUEUE = 25.0
"""... and so many where traffic beyond the place is slower than usual: in the queue of another incident."""
AT_SIGNAL = 25.0
"""Near a signal who turns which way decides which lane is used; where so many are missing that does not explain it."""
PAUSE_S = 300.0
"""In use for so long at most between two times without use, a lane was blocked all the time."""
CLEARLY_UNUSED = 100.0
"""In the queue of another incident so many must be missing on a lane ..."""
USED_M, USED_SHARE = 50.0, 0.5
"""... which on so long a stretch before the place, and beyond it, is in use for so much of the time ..."""
MOVING_MPS = 0.3
"""... by vehicles that move: between those that stand there is always room that nobody uses."""


def gap_rows(
    gaps: list[LaneGap],
    tracks: "Tracks",
    usual: "list[Tracks]",
    network: "RoadNetwork",
    settings: DetectSettings,
    *,
    share: float,
) -> list[dict[str, Any]]:
    """Incidents of one day by lanes that went unused, strongest first, each once."""
    kept: list[dict[str, Any]] = []
    ends = Ends.of(network)
    for gap in sorted(gaps, key=lambda gap: -gap.expected):
        is_closed = len(gap.lanes) == len(network.edges[network.edge_ids[gap.edge]].driving_lanes)
        at_signal = ends.signal[gap.edge] and ends.is_near(gap.edge, gap.position_m, settings)
        if not is_closed and at_signal and gap.expected < AT_SIGNAL:
            continue
        if is_closed and not _is_closed_head(gap, tracks, usual, network, ends):
            continue
        clear = at_signal or (share < ALL_SEEN and gap.expected < IN_QUEUE)
        if not (
            is_closed
            or any(_is_head(part, tracks, usual, network, clear=clear) for part in _parts(gap))
            or (share >= ALL_SEEN and not at_signal and _is_left_in_queue(gap, tracks))
        ):
            continue
        row = _row(gap, tracks, network, settings, share)
        same = [number for number, other in enumerate(kept) if same_queue_head(row, other, network)]
        if not same:
            kept.append(row)
        elif len(same) == 1 and _is_before(row, kept[same[0]], network):
            kept[same[0]] = row
    once: list[dict[str, Any]] = []
    for row in (_whole(row, gaps, network) for row in kept):
        if not any(same_queue_head(row, other, network) for other in once):
            once.append(row)
    return once


def _whole(row: dict[str, Any], gaps: list[LaneGap], network: "RoadNetwork") -> dict[str, Any]:
    """The row over all the time that its lane lay unused: drivers who cut in part one pause from the next, and as long
    as the queue of another incident reaches past the place, nobody is faster beyond it. A closed road drains, and that
    nobody comes on any lane tells nothing of one."""
    lanes_there = len(network.edges[row["edge"]].driving_lanes)
    if len(row["lanes"]) == lanes_there:
        return row
    here = [
        gap
        for gap in gaps
        if gap.expected >= IN_QUEUE
        and len(gap.lanes) < lanes_there
        and network.edge_ids[gap.edge] == row["edge"]
        and abs(gap.position_m - row["position_m"]) <= UNUSED_M
    ]
    begin_s, end_s, lanes = row["start_s"], row["start_s"] + row["duration_s"], set(row["lanes"])
    while joins := [
        gap
        for gap in here
        if lanes & set(gap.lanes)
        and gap.begin_s <= end_s + PAUSE_S
        and gap.end_s >= begin_s - PAUSE_S
        and (gap.begin_s < begin_s or gap.end_s > end_s)
    ]:
        begin_s, end_s = min(begin_s, joins[0].begin_s), max(end_s, joins[0].end_s)
        lanes |= set(joins[0].lanes)
    is_open = row["duration_is_censored"] or any(gap.is_open and gap.end_s >= end_s for gap in here)
    span = {"start_s": begin_s, "duration_s": end_s - begin_s, "duration_is_censored": is_open}
    return {**row, **span, **_lanes(lanes)}


def _lanes(lanes: Iterable[int]) -> dict[str, Any]:
    """Lanes that are blocked, and what that is called."""
    blocked = sorted(lanes)
    return {"lanes": blocked, "kind": str(IncidentKind.CRASH if len(blocked) >= 2 else IncidentKind.BREAKDOWN)}


def _is_before(row: dict[str, Any], other: dict[str, Any], network: "RoadNetwork") -> bool:
    """On the edge before, and not much less clear: past the place the lane stays unused for a while."""
    leads = other["edge"] in network.edges[row["edge"]].successors and row["edge"] != other["edge"]
    return leads and row["expected"] > CLEAR_ENOUGH * other["expected"]


def same_queue_head(row: dict[str, Any], other: dict[str, Any], network: "RoadNetwork") -> bool:
    """Two rows at one place of the road, for most of the time of the shorter one."""
    begin_s = max(row["start_s"], other["start_s"])
    end_s = min(row["start_s"] + row["duration_s"], other["start_s"] + other["duration_s"])
    if end_s - begin_s < 0.5 * min(row["duration_s"], other["duration_s"]):
        return False
    return gap_along_m(network, row["edge"], row["position_m"], other["edge"], other["position_m"]) <= SAME_M


def _parts(gap: LaneGap) -> Iterator[LaneGap]:
    """The gap, and each half of a clear one: another queue may have reached past the place for part of the time."""
    yield gap
    if gap.expected >= 2 * IN_QUEUE:
        middle_s = (gap.begin_s + gap.end_s) / 2
        yield replace(gap, end_s=middle_s)
        yield replace(gap, begin_s=middle_s)


def _is_head(gap: LaneGap, tracks: "Tracks", usual: "list[Tracks]", network: "RoadNetwork", *, clear: bool) -> bool:
    """Traffic is slower than usual before the place and faster beyond it; ``clear``: even as fast as usual."""
    span = (gap.begin_s + SETTLING_S, gap.end_s)
    behind_m = (gap.position_m - NEAR_M, gap.position_m)
    beyond_m = (gap.position_m + BEYOND_M, gap.position_m + BEYOND_M + NEAR_M)
    before, beyond = (stretch_speeds(tracks, network, gap.edge, *part, span) for part in (behind_m, beyond_m))
    normal_before, normal_beyond = (
        np.concatenate([stretch_speeds(day, network, gap.edge, *part, span) for day in usual])
        for part in (behind_m, beyond_m)
    )
    if min(len(before), len(normal_before), len(normal_beyond)) < LEAST_SAMPLES or not len(beyond):
        return False
    if before.mean() > SLOWED * normal_before.mean():
        return False
    least_mps = max(FASTER * before.mean(), FREE_MPS)
    return bool(beyond.mean() > max(least_mps, SLOWED * normal_beyond.mean() if clear or gap.is_first else 0.0))


def _is_left_in_queue(gap: LaneGap, tracks: "Tracks") -> bool:
    """In a queue that moves, drivers leave the lane before the place and take it again beyond."""
    if gap.expected < CLEARLY_UNUSED:
        return False
    begin_s = gap.begin_s + SETTLING_S
    rows = tracks.on_edge(gap.edge)
    rows = rows[np.isin(tracks.lane[rows], gap.lanes)]
    rows = rows[(tracks.time_s[rows] >= begin_s) & (tracks.time_s[rows] <= gap.end_s)]
    ahead_m = tracks.position_m[rows] - gap.position_m
    for part in (rows[(ahead_m < 0) & (ahead_m >= -USED_M)], rows[(ahead_m > 0) & (ahead_m <= USED_M)]):
        used_s = len(np.unique(tracks.time_s[part])) * tracks.period_s
        if used_s < USED_SHARE * (gap.end_s - begin_s) or tracks.speed_mps[part].mean() < MOVING_MPS:
            return False
    return True


def _is_closed_head(gap: LaneGap, tracks: "Tracks", usual: "list[Tracks]", network: "RoadNetwork", ends: Ends) -> bool:
    """A queue stands on the edge before the place, and beyond it hardly anybody is left.

    A queue that stands at the end of an edge waits for the junction; so the place is not taken across one.
    """
    span = (gap.begin_s + SETTLING_S, gap.end_s)
    behind_m = (max(0.0, gap.position_m - NEAR_M), gap.position_m)
    length_m = network.edges[network.edge_ids[gap.edge]].length_m
    reach_m = gap.position_m + CLOSED_REACH_M
    beyond_m = (gap.position_m, min(reach_m, length_m) if ends.line[gap.edge] else reach_m)
    before, beyond = (stretch_speeds(tracks, network, gap.edge, *part, span) for part in (behind_m, beyond_m))
    normal_before, normal_beyond = (
        np.concatenate([stretch_speeds(day, network, gap.edge, *part, span) for day in usual])
        for part in (behind_m, beyond_m)
    )
    if ends.waits[gap.edge] and length_m - gap.position_m < STEP_M:
        return False
    if len(before) < LEAST_SAMPLES or not len(normal_before):
        return False
    if before.mean() > STANDS_MPS or before.mean() > SLOWED * normal_before.mean():
        return False
    return len(beyond) < STARVED * len(normal_beyond) / len(usual) and len(beyond) < STARVED * len(before)


def stretch_speeds(
    tracks: "Tracks", network: "RoadNetwork", edge: int, low_m: float, high_m: float, span: tuple[float, float]
) -> np.ndarray:
    """Speeds of the samples on a stretch, which may reach into the edges before and after; on those before, of whoever
    was seen to come onto the edge: others may stand there for another reason."""
    here = network.edges[network.edge_ids[edge]]
    parts = [(edge, low_m, high_m, False)]
    if low_m < 0:
        for name in here.predecessors:
            length_m = network.edges[name].length_m
            parts.append((network.edge_index[name], length_m + low_m, length_m + 1.0, True))
    if high_m > here.length_m:
        parts += [(network.edge_index[name], 0.0, high_m - here.length_m, False) for name in here.successors]
    speeds = []
    for number, from_m, to_m, is_before in parts:
        rows = tracks.on_edge(number)
        inside = (tracks.position_m[rows] >= from_m) & (tracks.position_m[rows] < to_m)
        inside &= (tracks.time_s[rows] >= span[0]) & (tracks.time_s[rows] <= span[1])
        if is_before:
            inside &= tracks.next_edge[rows] == edge
        speeds.append(tracks.speed_mps[rows[inside]].astype(float))
    return np.concatenate(speeds)


def _row(
    gap: LaneGap, tracks: "Tracks", network: "RoadNetwork", settings: DetectSettings, share: float
) -> dict[str, Any]:
    edge = network.edges[network.edge_ids[gap.edge]]
    begin_s = min(gap.begin_s + SETTLING_S, (gap.begin_s + gap.end_s) / 2)
    seconds = max(gap.end_s - begin_s, tracks.period_s)
    passed = len(passings(tracks, gap.edge, gap.position_m).between(begin_s, gap.end_s))
    reference = len(edge.driving_lanes) * saturation_veh_h(edge.speed_mps, settings)
    left = passed / share / seconds * 3600 / reference
    # A queue's discharge is more regular than chance (a third of a Poisson count's error); which of it was seen is not.
    count_error = max(1.0, np.sqrt(passed) * np.sqrt(1.0 - share + share / 9)) / share / seconds * 3600 / reference
    return {
        "day": tracks.day,
        "edge": edge.id,
        "start_s": gap.begin_s,
        "position_m": gap.position_m,
        **_lanes(gap.lanes),
        "duration_s": gap.end_s - gap.begin_s,
        "duration_is_censored": gap.is_open,
        "capacity_left": min(1.0, left),
        "capacity_left_se": float(np.hypot(count_error, left * REFERENCE_ERROR)),
        "capacity_left_is_lower_bound": False,
        "confidence": 1.0 - 0.5 ** (gap.expected / ALONE + 1.0),
        "expected": gap.expected,
    }


def since_unused(row: dict[str, Any], gaps: list[LaneGap], network: "RoadNetwork") -> dict[str, Any]:
    """A place of release with the time since when a lane lay unused there: as long as a queue reaches past the place,
    nobody is released there."""
    end_s = row["start_s"] + row["duration_s"]
    place = (row["edge"], row["position_m"])
    here = [
        gap
        for gap in gaps
        if gap.expected >= LEAST_UNUSED
        and min(gap.end_s, end_s) - max(gap.begin_s, row["start_s"]) >= row["duration_s"] / 2
        and gap_along_m(network, *place, network.edge_ids[gap.edge], gap.position_m) <= UNUSED_M
    ]
    if not here:
        return row
    # A lane may have lain unused before for another reason; what blocks several does so at once.
    most = max(gap.expected for gap in here)
    since_s: dict[int, float] = {}
    for gap in here:
        for lane in gap.lanes if gap.expected > most / 2 else ():
            begin_s = gap.begin_s + (gap.end_s - gap.begin_s) / gap.expected / 2
            since_s[lane] = min(begin_s, since_s.get(lane, begin_s))
    start_s = min(row["start_s"], max(since_s.values()))
    return {**row, "start_s": start_s, "duration_s": end_s - start_s}
