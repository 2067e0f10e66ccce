"""Vehicles that stand, and those among them that have no reason to.

A driver stands at a light, at a crossing, behind somebody who stands, or before a lane change that the neighbours
do not allow. Whoever stands for minutes in mid-block with a free road ahead is out of order. That is looked for
here: the heads of standing queues, at places where queues have no reason to begin.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.passing import passings
from scenariogen.network import RoadNetwork
from scenariogen.trajectories.tracks import Tracks

SAME_SPOT_M = 12.0
"""Stops within this distance of each other count as one stopping place."""
STOPPED_TIMES, QUEUED_TIMES = 5.0, 2.0
"""Standing so many times longer than others at a spot is another matter; the latter where those stood in queues."""
CREEP_M = 1.0
"""A standing vehicle may creep so far between two samples."""
NEXT_LANE_S = 120.0
"""Who waited for another lane goes over to it within this time of moving off ..."""
BESIDE_M, FREE_LANE_S = 20.0, 15.0
"""... and did not wait for it where it was free over so many metres to either side, for so long at a time: twice the
gap of 5 to 8 s that a driver needs who starts from a stand."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stands:
    """Every time that a vehicle stood still; one number per stand in each array.

    ``first_row, last_row``  rows of the tracks between which it stood
    ``begin_s, end_s``       half a sampling period before the first and after the last of them
    ``drives_on``            it was seen moving afterwards
    """

    vehicle: np.ndarray
    edge: np.ndarray
    lane: np.ndarray
    position_m: np.ndarray
    begin_s: np.ndarray
    end_s: np.ndarray
    first_row: np.ndarray
    last_row: np.ndarray
    drives_on: np.ndarray

    def __len__(self) -> int:
        return len(self.vehicle)

    @cached_property
    def duration_s(self) -> np.ndarray:
        return self.end_s - self.begin_s

    def on_edge(self, edge: int) -> slice:
        """The stands on one edge, or on one way through a junction."""
        low, high = np.searchsorted(self.edge, [edge, edge + 1])
        return slice(int(low), int(high))


def find_stands(tracks: Tracks, settings: DetectSettings) -> Stands:
    """All stands of a day, sorted by edge."""
    still = tracks.speed_mps < settings.standing_mps
    same_place = tracks.follows.copy()
    for column in (tracks.edge, tracks.lane):
        same_place[1:] &= column[1:] == column[:-1]
    same_place[1:] &= np.abs(np.diff(tracks.position_m)) < CREEP_M
    goes_on = same_place.copy()
    goes_on[1:] &= still[1:] & still[:-1]
    first = np.flatnonzero(still & ~goes_on)
    ends = still.copy()
    ends[:-1] &= ~goes_on[1:]
    last = np.flatnonzero(ends)
    order = np.argsort(tracks.edge[first], kind="stable")
    first, last = first[order], last[order]
    half_s = tracks.period_s / 2
    return Stands(
        vehicle=tracks.vehicle[first],
        edge=tracks.edge[first],
        lane=tracks.lane[first],
        position_m=tracks.position_m[last].astype(float),
        begin_s=np.maximum(tracks.time_s[first] - half_s, tracks.begin_s),
        end_s=np.minimum(tracks.time_s[last] + half_s, tracks.end_s),
        first_row=first,
        last_row=last,
        drives_on=~tracks.is_last[last],
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Ends:
    """What the end of each edge is; one number per edge in each array.

    ``length_m``  length of the edge
    ``signal``    it ends at a signal
    ``line``      it ends at a signal or where another road comes in: drivers stop at the line
    ``waits``     drivers may have to wait near its end: a line, or lanes that part or end
    """

    length_m: np.ndarray
    signal: np.ndarray
    line: np.ndarray
    waits: np.ndarray

    @classmethod
    def of(cls, network: RoadNetwork) -> "Ends":
        """The ends of a network's edges."""
        edges = list(network.edges.values())
        incoming = Counter(edge.to_junction for edge in edges)
        signal = np.array([edge.signalised for edge in edges], dtype=bool)
        line = signal | np.array([incoming[edge.to_junction] > 1 for edge in edges], dtype=bool)
        parts = np.array([_lanes_part(network, edge.id) for edge in edges], dtype=bool)
        return cls(length_m=np.array([edge.length_m for edge in edges]), signal=signal, line=line, waits=line | parts)

    def is_near(self, edge: int, position_m: float, settings: DetectSettings) -> bool:
        """At a place where drivers also wait for lights, gaps and lanes."""
        return bool(self.waits[edge]) and self.length_m[edge] - position_m < settings.near_end_m

    def is_at_line(self, edge: int, position_m: float, settings: DetectSettings) -> bool:
        """Where the first one in a queue at the line stands, or who waits for a lane at the very end of his own."""
        reach_m = settings.stop_line_m if self.line[edge] else settings.lane_end_m
        return bool(self.waits[edge]) and self.length_m[edge] - position_m < reach_m


def _lanes_part(network: RoadNetwork, edge_id: str) -> bool:
    """The driving lanes do not all lead to the same edges."""
    edge = network.edges[edge_id]
    targets = {
        frozenset(link.rpartition("_")[0] for link in network.lane_links.get(lane.id, ()))
        for lane in edge.lanes
        if lane.drives
    }
    return len(targets) > 1


def heads_of_queues(
    tracks: Tracks, network: RoadNetwork, stands: Stands, ends: Ends, settings: DetectSettings
) -> np.ndarray:
    """Numbers of the stands that have no reason to be, in order of edge and time.

    Ruled out: queues that stand behind somebody, stops at places where vehicles stop regularly, and everything that a
    signal cycle explains, which near the end of an edge takes longer than elsewhere.
    """
    drives = [set(edge.driving_lanes) for edge in network.edges.values()]
    long = np.flatnonzero((stands.edge >= 0) & (stands.duration_s >= settings.least_standing_s))
    found = []
    for number in long[np.lexsort((stands.begin_s[long], stands.edge[long]))]:
        edge = int(stands.edge[number])
        near_end = ends.is_near(edge, float(stands.position_m[number]), settings)
        least_s = settings.least_standing_near_end_s if near_end else settings.least_standing_s
        if int(stands.lane[number]) not in drives[edge] or stands.duration_s[number] < least_s:
            continue
        if free_ahead_s(tracks, network, stands, number, settings) < least_s:
            continue
        if is_regular_stop(tracks, network, stands, int(number), settings):
            continue
        found.append(number)
    return np.array(found, dtype=np.int64)


def free_ahead_s(tracks: Tracks, network: RoadNetwork, stands: Stands, number: int, settings: DetectSettings) -> float:
    """Seconds of a stand during which nobody stood within ``clear_road_m`` ahead on the lane and what it leads to."""
    edge = int(stands.edge[number])
    edge_id = network.edge_ids[edge]
    lane, position_m = int(stands.lane[number]), float(stands.position_m[number])
    reach_m = position_m + settings.clear_road_m
    beyond_m = reach_m - network.edges[edge_id].length_m
    ahead = [_standing_between(stands, edge, lane, position_m + 0.1, reach_m)]
    if beyond_m > 0:
        ahead += _standing_beyond(tracks, network, stands, f"{edge_id}_{lane}", beyond_m)
    numbers = np.concatenate(ahead)
    begin_s, end_s = float(stands.begin_s[number]), float(stands.end_s[number])
    return end_s - begin_s - covered_s(stands.begin_s[numbers], stands.end_s[numbers], begin_s, end_s)


def _standing_beyond(
    tracks: Tracks, network: RoadNetwork, stands: Stands, lane: str, beyond_m: float
) -> list[np.ndarray]:
    """Who stands within ``beyond_m`` of the end of a lane on what it leads to, also past edges shorter than that."""
    found, front, seen = [], [(lane, beyond_m)], {lane}
    while front:
        here, left_m = front.pop()
        edge = here.rpartition("_")[0]
        for way in tracks.leads_inside(network.edge_index[edge]):
            found.append(np.arange(len(stands))[stands.on_edge(int(way))])
        for link in network.lane_links.get(here, ()):
            after, _, after_lane = link.rpartition("_")
            if after not in network.edge_index or link in seen:
                continue
            seen.add(link)
            found.append(_standing_between(stands, network.edge_index[after], int(after_lane), 0.0, left_m))
            rest_m = left_m - network.edges[after].length_m
            if rest_m > 0:
                front.append((link, rest_m))
    return found


def _standing_between(stands: Stands, edge: int, lane: int, low_m: float, high_m: float) -> np.ndarray:
    part = stands.on_edge(edge)
    position_m = stands.position_m[part]
    inside = (stands.lane[part] == lane) & (position_m > low_m) & (position_m <= high_m)
    return np.flatnonzero(inside) + part.start


def covered_s(begins_s: np.ndarray, ends_s: np.ndarray, from_s: float, to_s: float) -> float:
    """Length of the union of intervals within one interval.

    >>> covered_s(np.array([0.0, 3.0, 9.0]), np.array([4.0, 5.0, 20.0]), 1.0, 10.0)
    5.0
    """
    begins_s, ends_s = np.clip(begins_s, from_s, to_s), np.clip(ends_s, from_s, to_s)
    order = np.argsort(begins_s)
    total, reached = 0.0, from_s
    for begin_s, end_s in zip(begins_s[order], ends_s[order], strict=True):
        total += max(0.0, end_s - max(begin_s, reached))
        reached = max(reached, end_s)
    return float(total)


def is_regular_stop(
    tracks: Tracks, network: RoadNetwork, stands: Stands, number: int, settings: DetectSettings
) -> bool:
    """Others stopped at the same spot too, at other times and for about as long: a bus stop, a taxi rank.

    Those who stood there in a queue say less of the spot than those with a free road ahead, unless who stands there
    does so to the end of the recording, as in a network that locks up.
    """
    lasts = float(stands.end_s[number]) >= tracks.end_s - tracks.period_s
    queued_times = STOPPED_TIMES if lasts else QUEUED_TIMES
    others = _others_there(stands, number)
    others = others[stands.duration_s[others] >= settings.stop_s]
    free = [free_ahead_s(tracks, network, stands, int(other), settings) >= settings.stop_s for other in others]
    for these, times in ((others, queued_times), (others[np.array(free, dtype=bool)], STOPPED_TIMES)):
        if len(np.unique(stands.vehicle[these])) >= settings.regular_stops:
            usual_s = float(np.median(stands.duration_s[these]))
            if float(stands.duration_s[number]) < times * usual_s:
                return True
    return False


def waited_for_lane(tracks: Tracks, stands: Stands, number: int, ends: Ends, settings: DetectSettings) -> bool:
    """The vehicle drove on along another lane, which had left it no gap: that is what it waited for.

    Before the line itself it may have waited for its exit as well: there, a gap beside it proves nothing.
    """
    row, edge = int(stands.last_row[number]), int(stands.edge[number])
    rows = np.arange(row + 1, min(row + 1 + round(NEXT_LANE_S / tracks.period_s), len(tracks.edge)))
    rows = rows[(tracks.vehicle[rows] == tracks.vehicle[row]) & (tracks.edge[rows] == edge)]
    taken = tracks.lane[rows][tracks.lane[rows] != tracks.lane[row]]
    if not len(taken):
        return False
    at_line = ends.is_at_line(edge, float(stands.position_m[number]), settings)
    return at_line or _longest_gap_s(tracks, stands, number, int(taken[0])) < FREE_LANE_S


def _longest_gap_s(tracks: Tracks, stands: Stands, number: int, lane: int) -> float:
    """The longest time during a stand in which nobody stood or drove beside it on another lane of its edge."""
    edge, at_m = int(stands.edge[number]), float(stands.position_m[number])
    rows = tracks.on_edge(edge)
    beside = rows[(tracks.lane[rows] == lane) & (np.abs(tracks.position_m[rows] - at_m) < BESIDE_M)]
    past = passings(tracks, edge, at_m)
    past = past.where((past.lane == lane) | (past.lane_after == lane))
    begin_s, end_s = float(stands.begin_s[number]), float(stands.end_s[number])
    seen_s = np.sort(np.clip(np.r_[begin_s, tracks.time_s[beside], past.time_s, end_s], begin_s, end_s))
    return float(np.diff(seen_s).max())


def longest_wait_s(stands: Stands, number: int, *, least: int) -> float:
    """The longest time that others stood at the same spot before or after; infinite where fewer than ``least`` did."""
    others = _others_there(stands, number)
    return float(stands.duration_s[others].max()) if len(others) >= least else np.inf


def _others_there(stands: Stands, number: int) -> np.ndarray:
    """Stands of other vehicles within :data:`SAME_SPOT_M`, wholly before or after this one."""
    at_m = float(stands.position_m[number])
    others = _standing_between(
        stands, int(stands.edge[number]), int(stands.lane[number]), at_m - SAME_SPOT_M, at_m + SAME_SPOT_M
    )
    apart = (stands.end_s[others] < stands.begin_s[number]) | (stands.begin_s[others] > stands.end_s[number])
    return others[(stands.vehicle[others] != stands.vehicle[number]) & apart]
