"""Who passes a point of the road, when, on which lane and how fast."""

from dataclasses import dataclass

import numpy as np

from scenariogen.trajectories.tracks import Tracks

SLOWEST_MPS = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Passings:
    """Passings of one cross-section in order of time.

    ``lane``       lane before it, ``lane_after`` lane after it; −1 where the sample lies on another edge
    ``speed_mps``  distance over time between the two samples around it, or the speed of the one on this edge
    """

    time_s: np.ndarray
    vehicle: np.ndarray
    lane: np.ndarray
    lane_after: np.ndarray
    speed_mps: np.ndarray

    def between(self, begin_s: float, end_s: float) -> "Passings":
        """Those within a span of time."""
        return self.where((self.time_s >= begin_s) & (self.time_s <= end_s))

    def where(self, mask: np.ndarray) -> "Passings":
        """Those that a mask picks."""
        return Passings(
            time_s=self.time_s[mask],
            vehicle=self.vehicle[mask],
            lane=self.lane[mask],
            lane_after=self.lane_after[mask],
            speed_mps=self.speed_mps[mask],
        )

    def __len__(self) -> int:
        return len(self.time_s)


def passings(tracks: Tracks, edge: int, position_m: float) -> Passings:
    """Everybody who crossed ``position_m`` on an edge, the crossing placed between the samples around it.

    A vehicle that starts or ends its way on the edge counts where it was seen on both sides.
    """
    rows = tracks.on_edge(edge)
    parts = []
    after = rows[rows + 1 < len(tracks.edge)]
    joined = tracks.follows[after + 1]
    after = after[joined]
    stays = tracks.edge[after + 1] == edge
    here, there = tracks.position_m[after], tracks.position_m[after + 1]
    crossed = after[stays & (here < position_m) & (there >= position_m)]
    if len(crossed):
        way = (tracks.position_m[crossed + 1] - tracks.position_m[crossed]).astype(float)
        span = tracks.time_s[crossed + 1] - tracks.time_s[crossed]
        share = (position_m - tracks.position_m[crossed]) / np.maximum(way, 1e-6)
        parts.append(
            _part(
                tracks,
                crossed,
                tracks.time_s[crossed] + share * span,
                way / span,
                tracks.lane[crossed],
                tracks.lane[crossed + 1],
            )
        )
    left = after[~stays & (here < position_m)]
    if len(left):
        speed = np.maximum(tracks.speed_mps[left].astype(float), SLOWEST_MPS)
        time_s = tracks.time_s[left] + (position_m - tracks.position_m[left]) / speed
        time_s = np.minimum(time_s, tracks.time_s[left + 1])
        parts.append(_part(tracks, left, time_s, speed, tracks.lane[left], np.full(len(left), -1)))
    entered = rows[tracks.follows[rows] & (tracks.position_m[rows] >= position_m)]
    entered = entered[tracks.edge[entered - 1] != edge]
    if len(entered):
        speed = np.maximum(tracks.speed_mps[entered].astype(float), SLOWEST_MPS)
        time_s = tracks.time_s[entered] - (tracks.position_m[entered] - position_m) / speed
        time_s = np.maximum(time_s, tracks.time_s[entered - 1])
        parts.append(_part(tracks, entered, time_s, speed, np.full(len(entered), -1), tracks.lane[entered]))
    if not parts:
        empty = np.empty(0)
        return Passings(
            time_s=empty,
            vehicle=empty.astype(int),
            lane=empty.astype(int),
            lane_after=empty.astype(int),
            speed_mps=empty,
        )
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    time_s, vehicle, speed, lane, lane_after = (column[order] for column in columns)
    return Passings(time_s=time_s, vehicle=vehicle, lane=lane, lane_after=lane_after, speed_mps=speed)


def _part(tracks: Tracks, rows: np.ndarray, time_s, speed, lane, lane_after) -> tuple[np.ndarray, ...]:
    return time_s, tracks.vehicle[rows], speed, lane, lane_after
