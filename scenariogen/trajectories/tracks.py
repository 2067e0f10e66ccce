"""One day of trajectories in memory, vehicle after vehicle, ready to be searched edge by edge."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.errors import DataError
from scenariogen.trajectories import columns
from scenariogen.trajectories.records import Trajectories

if TYPE_CHECKING:
    import pyarrow as pa

    from scenariogen.network import RoadNetwork

NOT_SEEN = np.iinfo(np.int32).min
"""No edge, and no way through a junction either."""
LONGEST_GAP_PERIODS = 3.0
"""Two samples of a vehicle further apart than this many periods are not joined."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tracks:
    """The rows of one day, sorted by vehicle and then by time; all arrays have one number per row.

    ``vehicle``     a number per vehicle, nothing more is known of it
    ``edge``        index on the network's ``edge`` axis; −1 − j inside junction j of ``junctions``
    ``period_s``    seconds between two samples
    ``begin_s, end_s``  first and last sampled second of the day
    """

    day: int
    period_s: float
    begin_s: float
    end_s: float
    vehicle: np.ndarray
    time_s: np.ndarray
    edge: np.ndarray
    lane: np.ndarray
    position_m: np.ndarray
    speed_mps: np.ndarray
    internals: tuple[str, ...]

    @property
    def is_first(self) -> np.ndarray:
        """True at the first row of each vehicle."""
        return np.r_[True, self.vehicle[1:] != self.vehicle[:-1]]

    @property
    def is_last(self) -> np.ndarray:
        """True at the last row of each vehicle."""
        return np.r_[self.vehicle[1:] != self.vehicle[:-1], True]

    @cached_property
    def follows(self) -> np.ndarray:
        """True where a row continues the one before it: same vehicle, no gap in time."""
        gap_s = LONGEST_GAP_PERIODS * self.period_s + 1e-6
        joined = (self.vehicle[1:] == self.vehicle[:-1]) & (np.diff(self.time_s) <= gap_s)
        return np.r_[False, joined]

    @cached_property
    def next_edge(self) -> np.ndarray:
        """The edge that the vehicle of each row was seen on next, past junctions; ``NOT_SEEN`` where it was on none."""
        begins = np.flatnonzero(self.is_first | np.r_[True, self.edge[1:] != self.edge[:-1]])
        edge, vehicle = self.edge[begins], self.vehicle[begins]
        on_road = np.flatnonzero(edge >= 0)
        number = np.searchsorted(on_road, np.arange(len(begins)), side="right")
        following = on_road[np.minimum(number, len(on_road) - 1)] if len(on_road) else np.zeros(len(begins), dtype=int)
        is_seen = (number < len(on_road)) & (vehicle[following] == vehicle)
        return np.repeat(np.where(is_seen, edge[following], NOT_SEEN), np.diff(np.r_[begins, len(self.edge)]))

    @cached_property
    def _by_edge(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.edge, kind="stable")
        return order, self.edge[order]

    def on_edge(self, edge: int) -> np.ndarray:
        """Row numbers on one edge (or on one way through a junction), sorted by vehicle and time."""
        order, edges = self._by_edge
        low, high = np.searchsorted(edges, [edge, edge + 1])
        return order[low:high]

    def leads_inside(self, edge: int) -> np.ndarray:
        """Numbers (below 0) of the ways through junctions that vehicles took from an edge on that day."""
        rows = self.on_edge(edge)
        rows = rows[rows + 1 < len(self.edge)]
        rows = rows[self.follows[rows + 1]]
        return np.unique(self.edge[rows + 1][self.edge[rows + 1] < 0])


def load_day(trajectories: Trajectories, network: "RoadNetwork", day: int) -> Tracks:
    """One day as :class:`Tracks`. Memory is that of one day, however many are recorded.

    Raises ``DataError`` where an edge is not in the network.
    """
    table = trajectories.day_table(day)
    vehicle = _codes(table[columns.VEHICLE])[0]
    edge, names = _codes(table[columns.EDGE])
    unknown = [name for name in names if not name.startswith(":") and name not in network.edge_index]
    if unknown:
        raise DataError(
            f"{trajectories.path}: {len(unknown)} edges are unknown, the first: {network.unknown_edge(unknown[0])}"
        )
    internals = tuple(name for name in names if name.startswith(":"))
    number = {name: -1 - index for index, name in enumerate(internals)}
    mapped = np.array([number[name] if name in number else network.edge_index[name] for name in names], dtype=np.int32)
    time_s = table[columns.TIME].to_numpy()
    order = np.argsort(vehicle, kind="stable")  # rows come sorted by time
    return Tracks(
        day=day,
        period_s=trajectories.period_s,
        begin_s=float(time_s.min()),
        end_s=float(time_s.max()),
        vehicle=vehicle[order],
        time_s=time_s[order],
        edge=mapped[edge[order]],
        lane=table[columns.LANE].to_numpy()[order],
        position_m=table[columns.POSITION].to_numpy()[order],
        speed_mps=table[columns.SPEED].to_numpy()[order],
        internals=internals,
    )


def _codes(column: "pa.ChunkedArray") -> tuple[np.ndarray, list[str]]:
    """Codes and words of a text column, whether or not the file holds it as a dictionary."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    array = column.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # no row at all
        return np.empty(0, dtype=np.int32), []
    return array.indices.to_numpy(), array.dictionary.to_pylist()
