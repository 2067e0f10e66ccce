"""Lanes that nobody uses for a while past a place up to which they are in use: something stands there, seen or not.

At every few metres of every lane the times at which vehicles pass are listed. A long pause is unusual where traffic
beside it and the usual split between lanes leave hardly a chance for it: with ``M`` vehicles on the other lanes and a
usual share ``s``, a lane on which nothing happened would be passed by ``M s / (1 − s)`` on average. Downstream of the
place the lane fills again; upstream vehicles leave it. In a queue that spills back vehicles stand on the lane, which
counts as use.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.incidents.detect_settings import DetectSettings

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork
    from scenariogen.trajectories.tracks import Tracks

STEP_M = 20.0
LEAST_EXPECTED = 12.0
"""So many vehicles must be missing on the lane: a chance of one in 160,000 for each place."""
LEAST_BESIDE = 5.0
"""So many must have passed on other lanes meanwhile: where nobody passes, the road is closed or the day has ended."""
AROUND_M = 5.0
"""A vehicle uses the lane so far before and behind where it was seen: about its own length."""
LEAST_PAUSE_S = 60.0
STRAY_S = 45.0
STRAY_SHARE = 0.05
"""Pauses that single vehicles part, in use for at most so long and fewer than this share of what is expected, are one:
at the place itself some drivers cut back in early."""
UPSTREAM_STEPS = 6
"""The lane, or one that leads into it, must be in use within so many places upstream ..."""
UPSTREAM_USE = 0.15
"""... by at least this share of what is usual there."""
TOGETHER_S = 240.0
TOGETHER_M = 80.0


@dataclass(frozen=True, kw_only=True)
class LaneGap:
    """A lane without vehicles. ``expected``: vehicles that are missing; ``is_open``: until the recording ended;
    ``is_first``: at the start of a road, so that nothing is known of the lane before it."""

    edge: int
    lanes: tuple[int, ...]
    position_m: float
    begin_s: float
    end_s: float
    is_open: bool
    expected: float
    is_first: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Uses:
    """Seconds at which lanes are in use at places along one edge: ``times[place][lane]``, ascending."""

    places_m: np.ndarray
    times: list[list[np.ndarray]]


def lane_uses(tracks: "Tracks", network: "RoadNetwork", edge: int) -> Uses:
    """When vehicles pass, or stand at, each place of an edge, lane by lane; in the order of its driving lanes."""
    item = network.edges[network.edge_ids[edge]]
    count = max(1, int(item.length_m // STEP_M))
    places_m = (np.arange(count) + 0.5) * item.length_m / count
    rows = tracks.on_edge(edge)
    here = tracks.position_m[rows].astype(float)
    before = np.where(tracks.follows[rows], here - _moved_m(tracks, rows), here)
    # A vehicle is at a place when it passed it since its last sample, or is near it.
    first = np.searchsorted(places_m, np.minimum(before, here - AROUND_M), side="left")
    last = np.searchsorted(places_m, here + AROUND_M, side="right")
    many = np.maximum(last - first, 0)
    total = int(many.sum())
    place = np.repeat(first, many) + np.arange(total) - np.repeat(np.cumsum(many) - many, many)
    lane, time_s = np.repeat(tracks.lane[rows], many), np.repeat(tracks.time_s[rows], many)
    order = np.lexsort((time_s, lane, place))
    place, lane, time_s = place[order], lane[order], time_s[order]
    key = place * 64 + lane
    times = []
    for number in range(count):
        bounds = [np.searchsorted(key, [number * 64 + index, number * 64 + index + 1]) for index in item.driving_lanes]
        times.append([time_s[low:high] for low, high in bounds])
    return Uses(places_m=places_m, times=times)


def _moved_m(tracks: "Tracks", rows: np.ndarray) -> np.ndarray:
    """Metres since the sample before; on another edge, from the start of this one."""
    same = tracks.edge[rows - 1] == tracks.edge[rows]
    return np.where(same, tracks.position_m[rows] - tracks.position_m[rows - 1], tracks.position_m[rows]).astype(float)


class Days:
    """Uses of every edge on the day that is looked at and on the others, found when they are asked for."""

    def __init__(self, tracks: "Tracks", usual: "list[Tracks]", network: "RoadNetwork") -> None:
        self.tracks, self.usual, self.network = tracks, usual, network
        self._kept: dict[int, list[Uses]] = {}

    def of(self, edge: int) -> list[Uses]:
        """The day itself first."""
        if edge not in self._kept:
            self._kept[edge] = [lane_uses(day, self.network, edge) for day in (self.tracks, *self.usual)]
        return self._kept[edge]


def find_lane_gaps(
    tracks: "Tracks", usual: "list[Tracks]", network: "RoadNetwork", settings: DetectSettings
) -> list[LaneGap]:
    """Lanes that went unused on one day and are in use at that time on all the others; none without another day."""
    found: list[LaneGap] = []
    days = Days(tracks, usual, network)
    for number, name in enumerate(network.edge_ids):
        lanes = len(network.edges[name].driving_lanes)
        if not lanes or not usual:
            continue
        if lanes >= 2:
            found += _grouped([gap for lane in range(lanes) for gap in _gaps_of_lane(days, number, lane, settings)])
        found += _gaps_of_road(days, number, settings)
    return found


def _gaps_of_road(days: Days, edge: int, settings: DetectSettings) -> list[LaneGap]:
    """Places that nobody passes on any lane: the road is closed there, or downstream or upstream of it."""
    own, *others = days.of(edge)
    found = []
    for place, at_m in enumerate(own.places_m):
        uses = np.sort(np.concatenate(own.times[place]))
        for begin_s, end_s in _pauses(np.r_[days.tracks.begin_s, uses, days.tracks.end_s]):
            counts = sorted(sum(_count(times, begin_s, end_s) for times in day.times[place]) for day in others)
            expected = float(counts[(len(counts) - 1) // 2])
            strays = _count(uses, begin_s, end_s)
            if end_s - begin_s < settings.least_field_s or expected < LEAST_EXPECTED:
                continue
            if strays > STRAY_SHARE * expected:
                continue
            found.append(
                LaneGap(
                    edge=edge,
                    lanes=days.network.edges[days.network.edge_ids[edge]].driving_lanes,
                    position_m=float(at_m),
                    begin_s=begin_s,
                    end_s=end_s,
                    is_open=end_s >= days.tracks.end_s,
                    expected=expected,
                    is_first=False,
                )
            )
    return found


def _gaps_of_lane(days: Days, edge: int, lane: int, settings: DetectSettings) -> list[LaneGap]:
    own, *others = days.of(edge)
    index = days.network.edges[days.network.edge_ids[edge]].driving_lanes[lane]
    found = []
    for place, at_m in enumerate(own.places_m):
        times = np.r_[days.tracks.begin_s, own.times[place][lane], days.tracks.end_s]
        for begin_s, end_s in _pauses(times):
            if end_s - begin_s < settings.least_field_s:
                continue
            expected = _expected(own, others, place, lane, begin_s, end_s)
            strays = _count(own.times[place][lane], begin_s, end_s)
            if expected < LEAST_EXPECTED or strays > STRAY_SHARE * expected:
                continue
            used = _used_upstream(days, edge, place, lane, begin_s, end_s)
            if used is False:
                continue
            found.append(
                LaneGap(
                    edge=edge,
                    lanes=(index,),
                    position_m=float(at_m),
                    begin_s=begin_s,
                    end_s=end_s,
                    is_open=end_s >= days.tracks.end_s,
                    expected=expected,
                    is_first=used is None,
                )
            )
    return found


def _pauses(times_s: np.ndarray) -> list[tuple[float, float]]:
    """Long pauses between uses, those as one that only a stray vehicle parts."""
    found: list[tuple[float, float]] = []
    for number in np.flatnonzero(np.diff(times_s) >= LEAST_PAUSE_S):
        begin_s, end_s = float(times_s[number]), float(times_s[number + 1])
        if found and begin_s - found[-1][1] <= STRAY_S:
            found[-1] = (found[-1][0], end_s)
        else:
            found.append((begin_s, end_s))
    return found


def _expected(own: Uses, others: list[Uses], place: int, lane: int, begin_s: float, end_s: float) -> float:
    """Uses of the lane that the traffic beside it lets expect, by the middle one of the other days."""
    beside = sum(_count(times, begin_s, end_s) for index, times in enumerate(own.times[place]) if index != lane)
    if beside < LEAST_BESIDE:
        return 0.0
    expected = []
    for day in others:
        counts = [_count(times, begin_s, end_s) for times in day.times[place]]
        rest = sum(counts) - counts[lane]
        expected.append(min(counts[lane], beside * counts[lane] / max(rest, 1.0)))
    return float(sorted(expected)[(len(expected) - 1) // 2])


def _used_upstream(days: Days, edge: int, place: int, lane: int, begin_s: float, end_s: float) -> bool | None:
    """Shortly before the place the lane is in use; None where the road begins, so that it cannot be said."""
    ways = [(edge, number, lane) for number in range(max(0, place - UPSTREAM_STEPS), place)]
    if place < UPSTREAM_STEPS:
        before = _places_before(days, edge, lane, UPSTREAM_STEPS - place)
        if not before and not place:
            return None
        ways += before
    for number, at, index in ways:
        own, *others = days.of(number)
        usual = min(_count(day.times[at][index], begin_s, end_s) for day in others)
        if usual and _count(own.times[at][index], begin_s, end_s) >= UPSTREAM_USE * usual:
            return True
    return False


def _places_before(days: Days, edge: int, lane: int, count: int) -> list[tuple[int, int, int]]:
    """The last places of the lanes that lead into a lane: edge, place, and lane among the driving ones."""
    network = days.network
    here = network.edges[network.edge_ids[edge]]
    target = f"{here.id}_{here.driving_lanes[lane]}"
    found = []
    for name in here.predecessors:
        before = network.edges[name]
        for index, number in enumerate(before.driving_lanes):
            if target in network.lane_links.get(f"{name}_{number}", ()):
                size = len(days.of(network.edge_index[name])[0].places_m)
                found += [(network.edge_index[name], at, index) for at in range(max(0, size - count), size)]
    return found


def _count(times: np.ndarray, begin_s: float, end_s: float) -> int:
    low, high = np.searchsorted(times, [begin_s + 1e-6, end_s - 1e-6])
    return int(high - low)


def _grouped(gaps: list[LaneGap]) -> list[LaneGap]:
    """Gaps of neighbouring places and lanes at the same time as one: the first place, all lanes."""
    left = sorted(gaps, key=lambda gap: -gap.expected)
    groups = []
    while left:
        group = [left.pop(0)]
        grown = True
        while grown:
            near = [gap for gap in left if any(_together(gap, one) for one in group)]
            group += near
            left = [gap for gap in left if gap not in near]
            grown = bool(near)
        groups.append(_as_one(group))
    return groups


def _together(one: LaneGap, other: LaneGap) -> bool:
    return (
        abs(one.begin_s - other.begin_s) <= TOGETHER_S
        and abs(one.position_m - other.position_m) <= TOGETHER_M
        and abs(one.lanes[0] - other.lanes[0]) <= 1
    )


def _as_one(group: list[LaneGap]) -> LaneGap:
    strongest = group[0]
    longest_s = max(gap.end_s - gap.begin_s for gap in group)
    firm = [gap for gap in group if gap.end_s - gap.begin_s >= 0.7 * longest_s]
    first_m = min(gap.position_m for gap in firm)
    near = [gap for gap in firm if gap.position_m <= first_m + 2 * STEP_M]
    lanes = sorted({gap.lanes[0] for gap in near})
    return LaneGap(
        edge=strongest.edge,
        lanes=tuple(range(lanes[0], lanes[-1] + 1)),
        position_m=first_m,
        begin_s=float(np.median([gap.begin_s for gap in near])),
        end_s=float(np.median([gap.end_s for gap in near])),
        is_open=all(gap.is_open for gap in near),
        expected=sum(gap.expected for gap in near) / max(1, len(near)),
        is_first=all(gap.is_first for gap in near),
    )
