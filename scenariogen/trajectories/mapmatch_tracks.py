"""Every row of some tracks onto an edge: thin to points that tell something, decode those, place all rows on the way.

Rows nearer together than the noise say little about direction and cost time, so the edges are decided at points two σ
apart (as Newson and Krumm do); the rows between two such points fall on the nearest edge of the way between them.
"""

from dataclasses import dataclass

import numpy as np

from scenariogen.mapgeometry import LaneIndex
from scenariogen.trajectories.mapmatch_routes import RouteLengths
from scenariogen.trajectories.mapmatch_viterbi import Decoded, Points, decode, reach_m

LEAST_SPACING_M = 5.0
SPACING_SIGMAS = 2.0
INSIDE_JUNCTION_M = 1.0
INSIDE_JUNCTION_SIGMAS = 0.5
"""A row that lies beyond the end of its edge by half a σ, and at least a metre, is inside the junction there."""


@dataclass(frozen=True, kw_only=True)
class Matched:
    """One entry per row of the tracks.

    ``edge``         number of the edge, -1 where the row lies on none
    ``lane``         index of the nearest driving lane
    ``position_m``   metres from its start; 0 inside a junction
    ``distance_m``   to the middle of that lane
    ``junction``     -1, or the number of the edge whose *end* junction the row is inside of
    ``breaks``       per track, how often no way by road led on
    """

    edge: np.ndarray
    lane: np.ndarray
    position_m: np.ndarray
    distance_m: np.ndarray
    junction: np.ndarray
    breaks: np.ndarray


def match_tracks(points: Points, index: LaneIndex, routes: RouteLengths, *, sigma_m: float) -> Matched:
    """Edges, lanes and positions of all rows, ``sigma_m`` the noise of a coordinate (m)."""
    chosen = far_apart(points, max(LEAST_SPACING_M, SPACING_SIGMAS * sigma_m))
    thinned = Points(track=points.track[chosen], x_m=points.x_m[chosen], y_m=points.y_m[chosen])
    decoded = decode(thinned, index, routes, sigma_m=sigma_m)
    tracks = len(points.starts) - 1
    breaks = np.bincount(thinned.track[decoded.point[decoded.is_break]], minlength=tracks)
    return _place_rows(points, chosen, decoded, index, routes, breaks, sigma_m)


def far_apart(points: Points, spacing_m: float) -> np.ndarray:
    """Rows at least ``spacing_m`` from the one chosen before in their track; the first and the last row always."""
    starts = points.starts
    lengths = np.diff(starts)
    by_length = np.argsort(-lengths, kind="stable")
    first, lengths = starts[:-1][by_length], lengths[by_length]
    chosen = np.zeros(len(points.track), bool)
    chosen[first] = True
    chosen[first + lengths - 1] = True
    last_x, last_y = points.x_m[first], points.y_m[first]
    for step in range(1, int(lengths[0]) if len(lengths) else 0):
        active = int(np.searchsorted(-lengths, -step))
        here = first[:active] + step
        x, y = points.x_m[here], points.y_m[here]
        far = (x - last_x[:active]) ** 2 + (y - last_y[:active]) ** 2 >= spacing_m**2
        chosen[here[far]] = True
        last_x[:active], last_y[:active] = np.where(far, x, last_x[:active]), np.where(far, y, last_y[:active])
    return np.flatnonzero(chosen)


def _place_rows(
    points: Points,
    chosen: np.ndarray,
    decoded: Decoded,
    index: LaneIndex,
    routes: RouteLengths,
    breaks: np.ndarray,
    sigma_m: float,
) -> Matched:
    count = len(points.track)
    matched = Matched(
        edge=np.full(count, -1, np.int64),
        lane=np.zeros(count, np.int64),
        position_m=np.zeros(count),
        distance_m=np.full(count, np.inf),
        junction=np.full(count, -1, np.int64),
        breaks=breaks,
    )
    if not len(decoded.point):
        return matched
    at = chosen[decoded.point]
    way, order, row = _ways(points, at, decoded, routes)
    row, way, order = _expand(row, way, order)
    places = index.place_on_edges(points.x_m[row], points.y_m[row], way)
    near = places.distance_m <= reach_m(sigma_m)
    row, way, order = row[near], way[near], order[near]
    lane, position, distance = places.lane[near], places.position_m[near], places.distance_m[near]
    best = np.lexsort((order, distance, row))
    best = best[np.r_[True, np.diff(row[best]) != 0]] if len(best) else best
    row = row[best]
    matched.edge[row] = way[best]
    matched.lane[row] = index.lanes[lane[best], 1]
    matched.position_m[row] = position[best]
    matched.distance_m[row] = distance[best]
    _mark_junctions(matched, row, lane[best], index, max(INSIDE_JUNCTION_M, INSIDE_JUNCTION_SIGMAS * sigma_m))
    return matched


def _ways(
    points: Points, at: np.ndarray, decoded: Decoded, routes: RouteLengths
) -> tuple[list[tuple[int, ...]], np.ndarray, np.ndarray]:
    """The different ways between decided rows ``at``; for each row of a track that has any, which way it is on."""
    track = points.track[at]
    rows = np.flatnonzero(np.isin(points.track, track))
    after = np.searchsorted(at, rows, side="right")
    before = after - 1
    # A row before the first or after the last decided row of its track is on that row's edge.
    no_before = (before < 0) | (track[np.maximum(before, 0)] != points.track[rows])
    before = np.where(no_before, after, before)
    no_after = (after >= len(at)) | (track[np.minimum(after, len(at) - 1)] != points.track[rows])
    after = np.where(no_after | (at[before] == rows), before, after)
    size = len(routes.lengths_m)
    keys, which = np.unique(decoded.edge[before] * size + decoded.edge[after], return_inverse=True)
    ways = []
    for key in keys.tolist():
        start, end = divmod(key, size)
        ways.append(routes.path(start, end) or (start, end))
    return ways, which, rows


def _expand(
    row: np.ndarray, ways: list[tuple[int, ...]], which: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One entry per row and edge of its way: row, edge, place of the edge on the way."""
    lengths = np.array([len(way) for way in ways])
    flat = np.array([edge for way in ways for edge in way], dtype=np.int64)
    first = np.cumsum(lengths) - lengths
    count = lengths[which]
    order = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(row, count), flat[np.repeat(first[which], count) + order], order


def _mark_junctions(matched: Matched, row: np.ndarray, lane: np.ndarray, index: LaneIndex, least_m: float) -> None:
    """Rows beyond an end of their edge are inside the junction there, if it leads on; they get the edge before it."""
    position, length = matched.position_m[row], index.lengths_m[lane]
    beyond = matched.distance_m[row] > least_m
    edges = list(index.network.edges.values())
    past_end = beyond & (position >= length - 1e-6)
    before_start = beyond & (position <= 1e-6)
    numbers = index.network.edge_index
    leads_on = np.array([bool(edge.successors) for edge in edges])
    came_from = np.array([numbers[edge.predecessors[0]] if edge.predecessors else -1 for edge in edges])
    edge = matched.edge[row]
    inside = np.where(past_end & leads_on[edge], edge, np.where(before_start, came_from[edge], -1))
    matched.junction[row] = inside
    matched.position_m[row] = np.where(inside >= 0, 0.0, position)
