"""The likeliest edges behind a sequence of noisy points: a hidden Markov model, decoded for many tracks at once.

States of a point are the edges near it. With σ the noise of a coordinate, d the distance from the point to the nearest
lane of the edge, α the angle between the direction of movement and that of the lane, s its standard deviation, the
log-density of the point given the edge is −d²/2σ² − min(α²/s², c)/2. From one point to the next it is −|r − l|/β, where
l is the straight line between the points and r the way by road between their places on the two edges.

After P. Newson and J. Krumm, "Hidden Markov Map Matching Through Noise and Sparseness" (ACM SIGSPATIAL GIS 2009), which
has the distance terms. The angle is ours: it tells opposite carriageways and diverging ramps apart where two points
do not. s² = 2σ²/m² + :data:`LANE_ANGLE_RAD`² + (m / :data:`CHORD_M`)², m the metres moved; β grows with σ and l, since
the way by road across a bend or a junction departs from the straight line in proportion to it.
"""

from dataclasses import dataclass

import numpy as np

from scenariogen.mapgeometry import LaneIndex
from scenariogen.trajectories.mapmatch_routes import RouteLengths, RouteTable

CANDIDATES = 8
"""So many nearest edges of a point are considered."""
REACH_SIGMAS = 4.0
LEAST_REACH_M = 25.0
"""Edges whose nearest lane is within four σ of a point, and at least this, are considered."""
LANE_ANGLE_RAD = 0.3
"""How far the direction of movement departs from the lane without noise: lane changes, bends, chords."""
CHORD_M = 200.0
"""The chord between points so far apart departs from the lane by a radian: there may be a turn in between."""
ANGLE_CAP = 16.0
"""The angle term never outweighs four standard deviations: one wild point must not turn a track around."""
BACKWARD_SIGMAS = 6.0
"""A track may fall back on its edge by so much noise: standing vehicles jitter, measured breaks fall from 45 to 2 %."""
BREAK_COST = 30.0
"""Where every way is less likely than e to the minus this, or there is none, the track breaks and begins anew."""
DETOUR = 2.0
DETOUR_M = 200.0
"""A way by road is looked for up to so many times the straight line, and so much more."""


@dataclass(frozen=True, kw_only=True)
class Points:
    """Points of many tracks, sorted by track and time. ``track`` numbers them from 0 without a hole."""

    track: np.ndarray
    x_m: np.ndarray
    y_m: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """Row at which each track begins, and one more that ends the last."""
        count = int(self.track[-1]) + 1 if len(self.track) else 0
        return np.searchsorted(self.track, np.arange(count + 1))


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """The likeliest edge of each point. ``point`` are the points that have an edge near, ``edge`` its number,
    ``is_break`` that no way by road that is anything like the movement leads there from the point before."""

    point: np.ndarray
    edge: np.ndarray
    is_break: np.ndarray


def reach_m(sigma_m: float) -> float:
    """How far from a point edges are considered (m)."""
    return max(LEAST_REACH_M, REACH_SIGMAS * sigma_m)


def decode(points: Points, index: LaneIndex, routes: RouteLengths, *, sigma_m: float) -> Decoded:
    """The likeliest edges of all tracks, ``sigma_m`` the noise of a coordinate (m)."""
    near = index.near(points.x_m, points.y_m, reach_m=reach_m(sigma_m), most=CANDIDATES)
    kept = np.unique(near.point)
    if not len(kept):
        nothing = np.empty(0, np.int64)
        return Decoded(point=nothing, edge=nothing, is_break=np.empty(0, bool))
    row = np.searchsorted(kept, near.point)
    column = np.arange(len(row)) - np.searchsorted(row, row)
    shape = (len(kept), CANDIDATES)
    edge, position = np.full(shape, -1, np.int64), np.zeros(shape)
    seen = np.full(shape, -np.inf)
    edge[row, column], position[row, column] = near.edge, near.places.position_m
    _, track = np.unique(points.track[kept], return_inverse=True)
    here = Points(track=track, x_m=points.x_m[kept], y_m=points.y_m[kept])
    angle = _angle_cost(here, row, index.direction(near.places.lane, near.places.position_m), sigma_m)
    seen[row, column] = -0.5 * (near.places.distance_m / sigma_m) ** 2 - 0.5 * angle
    line_m = np.r_[0.0, np.hypot(np.diff(here.x_m), np.diff(here.y_m))]
    line_m[here.starts[:-1]] = 0.0
    table = routes.table(np.unique(near.edge), DETOUR * float(line_m.max()) + DETOUR_M)
    steps = _Steps(edge=edge, position=position, line_m=line_m, table=table, lengths_m=routes.lengths_m, sigma=sigma_m)
    state, is_break = _viterbi(here.starts, seen, steps)
    return Decoded(point=kept, edge=edge[np.arange(len(kept)), state], is_break=is_break)


def _angle_cost(
    points: Points, row: np.ndarray, direction: tuple[np.ndarray, np.ndarray], sigma_m: float
) -> np.ndarray:
    """min(α²/s², c) of each candidate; α between its lane and the chord from the point before to the one after."""
    number = np.arange(len(points.track))
    starts = points.starts
    before = np.maximum(number - 1, starts[points.track])
    after = np.minimum(number + 1, starts[points.track + 1] - 1)
    dx, dy = points.x_m[after] - points.x_m[before], points.y_m[after] - points.y_m[before]
    moved = np.hypot(dx, dy)
    cosine = (dx[row] * direction[0] + dy[row] * direction[1]) / np.maximum(moved[row], 1e-9)
    alpha = np.where(moved[row] > 0, np.arccos(np.clip(cosine, -1.0, 1.0)), 0.0)
    variance = 2 * (sigma_m / np.maximum(moved, 1e-9)) ** 2 + LANE_ANGLE_RAD**2 + (moved / CHORD_M) ** 2
    return np.minimum(alpha**2 / variance[row], ANGLE_CAP)


@dataclass(frozen=True, kw_only=True)
class _Steps:
    """What a step between two points needs: candidates (points, candidates), the lines and the ways."""

    edge: np.ndarray
    position: np.ndarray
    line_m: np.ndarray
    table: RouteTable
    lengths_m: np.ndarray
    sigma: float

    def log_density(self, before: np.ndarray, after: np.ndarray) -> np.ndarray:
        """(step, candidate before, candidate after)."""
        start, end = self.edge[before][:, :, None], self.edge[after][:, None, :]
        low, high = self.position[before][:, :, None], self.position[after][:, None, :]
        forward = high - low
        way = self.table.between(start, end) + self.lengths_m[start] - low + high
        same = np.where(forward >= -BACKWARD_SIGMAS * self.sigma, forward, np.inf)
        way = np.where(start == end, same, way)
        line = self.line_m[after][:, None, None]
        beta = 1.0 + 0.5 * self.sigma + 0.05 * line
        cost = np.where(way > DETOUR * line + DETOUR_M, BREAK_COST, np.abs(way - line) / beta)
        return np.where((start < 0) | (end < 0), -np.inf, -np.minimum(cost, BREAK_COST))


def _viterbi(starts: np.ndarray, seen: np.ndarray, steps: _Steps) -> tuple[np.ndarray, np.ndarray]:
    """The likeliest candidate of each point, and where a track breaks. All tracks go step by step side by side."""
    lengths = np.diff(starts)
    by_length = np.argsort(-lengths, kind="stable")
    first, lengths = starts[:-1][by_length], lengths[by_length]
    came_from = np.full(seen.shape, -1, np.int8)
    is_cut = np.zeros(seen.shape, bool)
    state = np.zeros(len(seen), np.int64)
    score = seen[first]
    state[first] = score.argmax(axis=1)
    for step in range(1, int(lengths[0])):
        active = int(np.searchsorted(-lengths, -step))
        here = first[:active] + step
        density = steps.log_density(here - 1, here)
        reached = score[:active, :, None] + density
        origin = reached.argmax(axis=1)[:, None, :]
        score = np.take_along_axis(reached, origin, axis=1)[:, 0] + seen[here]
        is_cut[here] = np.take_along_axis(density, origin, axis=1)[:, 0] <= -BREAK_COST
        came_from[here] = origin[:, 0]
        state[here] = score.argmax(axis=1)
    is_break = np.zeros(len(seen), bool)
    for step in range(int(lengths[0]) - 1, 0, -1):
        here = first[: int(np.searchsorted(-lengths, -step))] + step
        is_break[here] = is_cut[here, state[here]]
        state[here - 1] = came_from[here, state[here]]
    return state, is_break
