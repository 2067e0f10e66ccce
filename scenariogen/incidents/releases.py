"""Where single vehicles are released: they crawl up to a place and drive freely from there on.

A release is where a vehicle that was slower than ``SLOW`` of the limit last was so before it drove faster than
``FAST`` of it. In a queue behind an incident, and where people squeeze past one, nearly everybody is released at one
place for as long as it lasts. At a signal people are released where they stood in its queue, on every day; a
stop-and-go wave releases them ever farther upstream.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork
    from scenariogen.trajectories.tracks import Tracks

SLOW, FAST = 0.45, 0.6
"""Shares of the limit: between them, a vehicle is neither slow nor released. People pass what leaves 0.7 of a single
lane at 0.4 of the limit of a street."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Releases:
    """Every release of a day, sorted by edge; one number per release in each array.

    ``position_m``  on the edge; at its end where the vehicle was released inside the junction after it
    ``time_s``      second of the last sample at which it was slow
    """

    vehicle: np.ndarray
    edge: np.ndarray
    position_m: np.ndarray
    time_s: np.ndarray

    def on_edge(self, edge: int) -> slice:
        """The releases on one edge."""
        low, high = np.searchsorted(self.edge, [edge, edge + 1])
        return slice(int(low), int(high))


def find_releases(tracks: "Tracks", network: "RoadNetwork") -> Releases:
    """All releases of one day."""
    edges = list(network.edges.values())
    limits = np.array([edge.speed_mps for edge in edges])
    lengths_m = np.array([edge.length_m for edge in edges])
    rows = np.arange(len(tracks.edge))
    # Inside a junction the road before it goes on.
    road = tracks.edge[_latest(rows, (tracks.edge >= 0) | ~tracks.follows)]
    limit = np.where(road >= 0, limits[np.maximum(road, 0)], np.inf)
    is_slow, is_fast = tracks.speed_mps < SLOW * limit, tracks.speed_mps > FAST * limit
    # Each row in the state of the latest one that had any: slow, fast, or not known yet.
    latest = _latest(rows, is_slow | is_fast | ~tracks.follows)
    released = np.flatnonzero(tracks.follows[1:] & is_fast[latest[1:]] & is_slow[latest[:-1]]) + 1
    last = latest[released - 1]
    last = last[road[last] >= 0]
    after = last + 1
    stays = tracks.edge[after] == tracks.edge[last]
    way_m = np.where(stays, tracks.position_m[after] - tracks.position_m[last], 0.0)
    gain = np.maximum(tracks.speed_mps[after] - tracks.speed_mps[last], 1e-3)
    share = np.clip((SLOW * limit[last] - tracks.speed_mps[last]) / gain, 0.0, 1.0)
    position_m = np.where(
        tracks.edge[last] >= 0, tracks.position_m[last] + share * way_m, lengths_m[np.maximum(road[last], 0)]
    )
    order = np.argsort(road[last], kind="stable")
    return Releases(
        vehicle=tracks.vehicle[last][order],
        edge=road[last][order],
        position_m=position_m[order].astype(float),
        time_s=tracks.time_s[last][order].astype(float),
    )


def _latest(rows: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """For each row the number of the latest one, itself included, at which a mask holds; the first one counts."""
    return np.maximum.accumulate(np.where(mask, rows, 0))
