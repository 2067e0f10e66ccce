"""Closed roads that only vehicles held at them tell: they stand far longer than anybody stands there on other days.

A closed road releases nobody, so where few vehicles were recorded hardly anything is seen of it: some vehicles stand
until it opens, and nobody passes ahead of them though on other days some do. Who stands behind another one in its
queue came to stand after that one, and drives on after it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.incidents.closure_place import Front, Place, place_of
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.passing import passings
from scenariogen.incidents.standing import CREEP_M, Stands, find_stands

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork
    from scenariogen.trajectories.tracks import Tracks

LONGER = 2.0
"""Held is who stands so many times longer than anybody on the same edge on other days."""
AHEAD_M = 600.0
"""Who stands so far behind another one who is held waits for that one."""
AFTER_S = 30.0
"""So much earlier than the one ahead may somebody come to stand or drive on, on another lane."""
SLOWEST_WAVE_MPS = 2.5
"""The queue starts moving from the front to the back at this speed or faster."""
LEAST_STAND_S = 60.0
"""Who stood for so long when the road opened was held as well, though not for long."""
FREED_M, FREED_S = 100.0, 60.0
"""When a road opens the foremost drives on freely: so far within so many seconds, a red light included. In a city that
has locked up he only comes to the end of the next queue."""
SETTLING_S = 30.0


@dataclass(frozen=True, kw_only=True)
class Closure:
    """A closed road.

    ``before_s``  last passing before it
    ``held``      number of vehicles seen standing before it
    ``missing``   passings that are usual during that time
    ``queue``     edges on which those stood
    ``ahead``     edges on which they drove afterwards
    ``is_queue``  they only came to the end of another queue when they moved, or people passed all that lies ahead: one
                  more queue of a city that has locked up, standing at ``position_m``
    """

    edge: int
    position_m: float
    position_se_m: float
    before_s: float
    begin_s: float
    end_s: float
    is_open: bool
    held: int
    missing: float
    queue: frozenset[int]
    ahead: frozenset[int]
    is_queue: bool


@dataclass(frozen=True, kw_only=True)
class Way:
    """Where a vehicle drove on to: edges with the metres from its stand to their starts (the first one: below 0)."""

    edges: tuple[int, ...]
    starts_m: tuple[float, ...]

    def distance_m(self, edge: int, position_m: float) -> float:
        """Metres to a place ahead on the way; infinite where it does not lead there."""
        if edge not in self.edges:
            return np.inf
        gone_m = self.starts_m[self.edges.index(edge)] + position_m
        return gone_m if gone_m > 0 else np.inf


def find_closures(
    tracks: "Tracks", usual: "list[Tracks]", network: "RoadNetwork", settings: DetectSettings, *, share: float
) -> list[Closure]:
    """Closed roads of one day and queues like those before them, those with most vehicles held first; none without
    another day."""
    if not usual:
        return []
    stands = find_stands(tracks, settings)
    longest_s = np.zeros(len(network.edge_ids))
    for day in usual:
        others = find_stands(day, settings)
        inside = others.edge >= 0
        np.maximum.at(longest_s, others.edge[inside], others.duration_s[inside])
    drives = np.array([bool(edge.driving_lanes) for edge in network.edges.values()])
    held = np.flatnonzero((stands.edge >= 0) & (stands.duration_s >= settings.least_field_s))
    held = held[drives[stands.edge[held]]]
    held = held[stands.duration_s[held] > LONGER * longest_s[stands.edge[held]]]
    ways = {int(number): _way(tracks, stands, int(number), network) for number in held}
    found = []
    for heads, all_held in _groups(stands, ways):
        first_s = float(stands.begin_s[all_held].min())
        end_s = max(float(stands.end_s[number]) for number in heads)
        span = (first_s + SETTLING_S, end_s - SETTLING_S)
        fronts = [_front(tracks, stands, number, ways[number]) for number in heads]
        place = place_of(fronts, span, tracks, usual, network, settings, share=share)
        is_freed = any(_is_freed(tracks, stands, number) for number in heads)
        is_queue = place is None or not is_freed
        here = Place(edge=fronts[0].edge, position_m=fronts[0].position_m, position_se_m=0.0, missing=0.0)
        found.append(_closure(place or here, tracks, stands, (first_s, end_s), all_held, is_queue=is_queue))
    return sorted(found, key=lambda one: -one.held)


def _way(tracks: "Tracks", stands: Stands, number: int, network: "RoadNetwork") -> Way:
    """The way a vehicle drove on, as far as that was seen."""
    lengths_m = [edge.length_m for edge in network.edges.values()]
    edges, starts_m = [int(stands.edge[number])], [-float(stands.position_m[number])]
    row = int(stands.last_row[number]) + 1
    while row < len(tracks.edge) and tracks.follows[row] and starts_m[-1] + lengths_m[edges[-1]] < AHEAD_M:
        after = int(tracks.edge[row])
        row += 1
        if after < 0 or after == edges[-1]:
            continue
        if after in edges:
            break
        starts_m.append(starts_m[-1] + lengths_m[edges[-1]])
        edges.append(after)
    return Way(edges=tuple(edges), starts_m=tuple(starts_m))


def _groups(stands: Stands, ways: dict[int, Way]) -> list[tuple[list[int], list[int]]]:
    """Held vehicles that wait for the same thing: the foremost ones (side by side, or before one road on different
    ones), and all of them."""
    behind: dict[int, list[int]] = {number: [] for number in ways}
    for number, way in ways.items():
        for other in ways:
            if other != number and _waits_for(stands, number, other, way):
                behind[other].append(number)
    waits = {number for numbers in behind.values() for number in numbers}
    groups: list[tuple[list[int], list[int]]] = []
    for number in sorted(set(ways) - waits, key=lambda number: float(stands.begin_s[number])):
        for heads, all_held in groups:
            if _together(stands, heads[0], number) and set(ways[heads[0]].edges[:2]) & set(ways[number].edges[:2]):
                heads.append(number)
                all_held += [number, *(other for other in behind[number] if other not in all_held)]
                break
        else:
            groups.append(([number], [number, *behind[number]]))
    return groups


def _waits_for(stands: Stands, number: int, other: int, way: Way) -> bool:
    """Came to stand behind another one after it did, and drove on as soon as the queue between them had."""
    gap_m = way.distance_m(int(stands.edge[other]), float(stands.position_m[other]))
    later_s = float(stands.end_s[number] - stands.end_s[other])
    return (
        gap_m <= AHEAD_M
        and stands.begin_s[number] > stands.begin_s[other] - AFTER_S
        and -AFTER_S <= later_s <= AFTER_S + gap_m / SLOWEST_WAVE_MPS
    )


def _together(stands: Stands, one: int, other: int) -> bool:
    begin_s = max(stands.begin_s[one], stands.begin_s[other])
    end_s = min(stands.end_s[one], stands.end_s[other])
    return bool(end_s - begin_s > 0.5 * min(stands.duration_s[one], stands.duration_s[other]))


def _is_freed(tracks: "Tracks", stands: Stands, number: int) -> bool:
    """Drove on freely after standing, as far as that was recorded; or the recording ended before."""
    row = int(stands.last_row[number])
    if stands.end_s[number] >= tracks.end_s - tracks.period_s:
        return True
    rows = np.arange(row + 1, min(row + 1 + round(FREED_S / tracks.period_s), len(tracks.edge)))
    rows = rows[tracks.vehicle[rows] == tracks.vehicle[row]]
    way_m = float(tracks.speed_mps[rows].sum()) * tracks.period_s
    is_gone = bool(len(rows)) and bool(tracks.is_last[rows[-1]])
    return way_m >= FREED_M or is_gone or bool(tracks.is_last[row])


def _front(tracks: "Tracks", stands: Stands, head: int, way: Way) -> Front:
    """The foremost vehicle on the way of a held one that stood until the road opened, however shortly."""
    farthest_m, best = 0.0, head
    for edge in way.edges:
        part = stands.on_edge(edge)
        for number in range(part.start, part.stop):
            gap_m = way.distance_m(edge, float(stands.position_m[number]))
            sooner_s = float(stands.end_s[head] - stands.end_s[number])
            if (
                np.isfinite(gap_m)
                and farthest_m < gap_m <= AHEAD_M
                and stands.duration_s[number] >= LEAST_STAND_S
                and 0.0 <= sooner_s <= AFTER_S / 2 + gap_m / SLOWEST_WAVE_MPS
                and not _is_passed(tracks, stands, number, float(stands.begin_s[head]))
            ):
                farthest_m, best = gap_m, number
    edge = int(stands.edge[best])
    return Front(
        edge=edge,
        position_m=float(stands.position_m[best]),
        begin_s=float(stands.begin_s[best]),
        ahead=way.edges[way.edges.index(edge) + 1 :],
        stays=not bool(stands.drives_on[best]),
    )


def _is_passed(tracks: "Tracks", stands: Stands, number: int, since_s: float) -> bool:
    """Whether anybody passed where a vehicle stands, from shortly after a time until shortly before it drove on."""
    past = passings(tracks, int(stands.edge[number]), float(stands.position_m[number]) + CREEP_M)
    return len(past.between(since_s + SETTLING_S, float(stands.end_s[number]) - SETTLING_S)) > 0


def _closure(
    place: Place, tracks: "Tracks", stands: Stands, span_s: tuple[float, float], held: list[int], *, is_queue: bool
) -> Closure:
    times = passings(tracks, place.edge, place.position_m).time_s
    before = times[times <= span_s[0] + SETTLING_S]
    return Closure(
        edge=place.edge,
        position_m=place.position_m,
        position_se_m=place.position_se_m,
        before_s=min(float(before[-1]) if len(before) else tracks.begin_s, span_s[0]),
        begin_s=span_s[0],
        end_s=span_s[1],
        is_open=span_s[1] >= tracks.end_s - tracks.period_s,
        held=len(held),
        missing=place.missing,
        queue=frozenset(int(edge) for edge in stands.edge[held]),
        is_queue=is_queue,
        ahead=frozenset().union(*(_driven(tracks, int(stands.last_row[number])) for number in held)),
    )


def _driven(tracks: "Tracks", row: int) -> frozenset[int]:
    """Edges on which a vehicle drove after a sample."""
    rows = np.arange(row + 1, int(np.searchsorted(tracks.vehicle, tracks.vehicle[row], side="right")))
    return frozenset(int(edge) for edge in np.unique(tracks.edge[rows]) if edge >= 0)
