"""Flows by entry and day: how many vehicles came into the network where, on each recorded day.

The entry of a vehicle is the first edge that it is seen on. Vehicles that are already there in a day's first second
came in before, nobody knows where, and are left out. Entries that few vehicles use are counted together as
:data:`OTHERS`, since a handful of vehicles a day says nothing about its spread.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scenariogen.errors import DataError, Problems
from scenariogen.trajectories.columns import Place
from scenariogen.trajectories.records import Trajectories

if TYPE_CHECKING:
    import pandas as pd

OTHERS = "*"
"""Stands for all entries that are not named; no SUMO edge may be called so."""
LEAST_PER_DAY = 20.0
MOST_ENTRIES = 48
COUNT_COLUMNS = ("day", "edge", "time_s", "vehicles")

_FIRSTS = """
WITH seen AS (
    SELECT day, vehicle, CAST(edge AS VARCHAR) AS edge, time_s FROM trajectories WHERE edge NOT LIKE ':%'
), limits AS (
    SELECT day, min(time_s) AS begin_s FROM trajectories GROUP BY day
), firsts AS (
    SELECT day, vehicle, arg_min(edge, time_s) AS entry, min(time_s) AS entered_s FROM seen GROUP BY day, vehicle
), used AS (
    SELECT f.* FROM firsts f JOIN limits USING (day)
    WHERE entered_s > begin_s AND entered_s >= {begin_s} AND entered_s < {end_s} AND day IN ({days})
)
"""
_BY_ENTRY = """
SELECT day, entry, CAST(floor((entered_s - {begin_s}) / {cell_s}) AS INTEGER) AS cell, count(*) AS vehicles
FROM used GROUP BY ALL ORDER BY ALL
"""
_WAYS = """
SELECT day, entry, edge, count(DISTINCT vehicle) AS vehicles
FROM used JOIN (SELECT DISTINCT day, vehicle, edge FROM seen) USING (day, vehicle) GROUP BY ALL ORDER BY ALL
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class EntryFlows:
    """Vehicles that entered, over days that were recorded over the same span.

    ``days``          recorded days, ascending
    ``entries``       edge ids; :data:`OTHERS` last where entries were pooled
    ``cell_edges_s``  borders of the time cells, simulation seconds; ``cell`` + 1 numbers
    ``counts``        vehicles, of shape (day, entry, cell)
    ``edges``         edges that vehicles were seen on
    ``ways``          vehicles by day, entry and edge used, of shape (day, entry, edge); for counts without
                      trajectories each entry is its own only edge
    """

    days: tuple[int, ...]
    entries: tuple[str, ...]
    cell_edges_s: np.ndarray = field(repr=False)
    counts: np.ndarray = field(repr=False)
    edges: tuple[str, ...] = field(repr=False)
    ways: np.ndarray = field(repr=False)

    def __post_init__(self) -> None:
        shape = (len(self.days), len(self.entries), len(self.cell_edges_s) - 1)
        if self.counts.shape != shape:
            raise ValueError(f"counts is of shape {self.counts.shape}, expected {shape}")
        if self.ways.shape != (*shape[:2], len(self.edges)):
            raise ValueError(f"ways is of shape {self.ways.shape}, expected {(*shape[:2], len(self.edges))}")

    @property
    def by_day(self) -> np.ndarray:
        """Vehicles by day and entry, shape (day, entry)."""
        return self.counts.sum(-1)

    @property
    def by_edge(self) -> np.ndarray:
        """Vehicles by day and edge used, shape (day, edge)."""
        return self.ways.sum(1)

    def of_days(self, rows: Sequence[int] | np.ndarray) -> "EntryFlows":
        """The same for some of the days, given by their places in ``days``."""
        chosen = np.asarray(rows, dtype=int)
        return EntryFlows(
            days=tuple(self.days[row] for row in chosen),
            entries=self.entries,
            cell_edges_s=self.cell_edges_s,
            counts=self.counts[chosen],
            edges=self.edges,
            ways=self.ways[chosen],
        )

    def pooled(self, *, least_per_day: float = LEAST_PER_DAY, most: int = MOST_ENTRIES) -> "EntryFlows":
        """The ``most`` largest entries with at least ``least_per_day`` vehicles on a mean day; the rest together."""
        mean = self.by_day.mean(0)
        order = np.argsort(-mean, kind="stable")[:most]
        kept = [int(j) for j in order if mean[j] >= least_per_day and self.entries[j] != OTHERS]
        rest = [j for j in range(len(self.entries)) if j not in set(kept)]
        if not rest:
            kept = list(range(len(self.entries)))
        groups = [[j] for j in kept] + ([rest] if rest else [])
        return EntryFlows(
            days=self.days,
            entries=tuple(self.entries[j] for j in kept) + ((OTHERS,) if rest else ()),
            cell_edges_s=self.cell_edges_s,
            counts=np.stack([self.counts[:, group].sum(1) for group in groups], axis=1),
            edges=self.edges,
            ways=np.stack([self.ways[:, group].sum(1) for group in groups], axis=1),
        )

    def __repr__(self) -> str:
        return (
            f"EntryFlows({self.counts.sum():,.0f} vehicles, {len(self.entries)} entries, {len(self.days)} days, "
            f"{len(self.cell_edges_s) - 1} cells)"
        )


def entry_flows(
    trajectories: Trajectories,
    *,
    cell_s: float = 900.0,
    from_s: float | None = None,
    until_s: float | None = None,
    without: Sequence[int] = (),
) -> EntryFlows:
    """Count vehicles by entry, day and cell over the span that all days were recorded for.

    ``from_s``, ``until_s``  a part of that span, simulation seconds
    ``without``              days that do not count, such as those on which the network locked up

    Raises ``DataError`` where the rows do not say on which edge vehicles are, or where the days share no span.
    """
    trajectories.require(Place.EDGE)
    spans = [span for span in trajectories.spans if span.day not in set(without)]
    if not spans:
        raise DataError(f"{trajectories.path} holds no day to count: all are left out")
    begin_s = max([span.begin_s for span in spans] + ([] if from_s is None else [from_s]))
    end_s = min([span.end_s for span in spans] + ([] if until_s is None else [until_s]))
    if not (cell_s > 0 and end_s > begin_s):
        raise DataError(
            f"the days of {trajectories.path} share the span from {begin_s:g} to {end_s:g} s, in cells of {cell_s:g} "
            "s: expected an end after its beginning and cells longer than 0"
        )
    part: dict[str, Any] = {"begin_s": begin_s, "end_s": end_s, "cell_s": cell_s}
    days = tuple(span.day for span in spans)
    part["days"] = ", ".join(map(str, days))
    counted = trajectories.query((_FIRSTS + _BY_ENTRY).format(**part))
    ways = trajectories.query((_FIRSTS + _WAYS).format(**part))
    return _flows(counted, ways, days, _borders(begin_s=begin_s, end_s=end_s, cell_s=cell_s))


def _borders(*, begin_s: float, end_s: float, cell_s: float) -> np.ndarray:
    cells = int(np.ceil((end_s - begin_s) / cell_s - 1e-9))
    borders = begin_s + cell_s * np.arange(cells + 1)
    borders[-1] = end_s
    return borders


def _flows(
    counted: "pd.DataFrame", ways: "pd.DataFrame | None", days: tuple[int, ...], borders: np.ndarray
) -> EntryFlows:
    entries = tuple(sorted(counted["entry"].unique()))
    if not entries:
        raise DataError("no vehicle entered the network in the span that all days share")
    counts = np.zeros((len(days), len(entries), len(borders) - 1))
    np.add.at(
        counts,
        (_places(counted["day"], days), _places(counted["entry"], entries), counted["cell"].to_numpy(dtype=int)),
        counted["vehicles"].to_numpy(dtype=float),
    )
    edges = entries if ways is None else tuple(sorted(ways["edge"].unique()))
    used = np.zeros((len(days), len(entries), len(edges)))
    if ways is None:
        same = np.arange(len(entries))
        used[:, same, same] = counts.sum(-1)
    else:
        where = (_places(ways["day"], days), _places(ways["entry"], entries), _places(ways["edge"], edges))
        np.add.at(used, where, ways["vehicles"].to_numpy(dtype=float))
    return EntryFlows(days=days, entries=entries, cell_edges_s=borders, counts=counts, edges=edges, ways=used)


def _places(values: Iterable[Any], names: tuple) -> np.ndarray:
    place = {name: number for number, name in enumerate(names)}
    return np.array([place[value] for value in values], dtype=int)


def read_entry_counts(path: str | Path) -> EntryFlows:
    """Counts of a table (CSV or Parquet) with one row per day, entry edge and time cell.

    Columns ``day`` (number), ``edge``, ``time_s`` (begin of the cell, simulation seconds) and ``vehicles``. Cells
    that have no row hold no vehicle. Raises ``DataError`` that lists every problem.
    """
    table = _read_table(Path(path))
    problems = Problems(f"{path} is no table of counts by entry and day")
    for name in [name for name in COUNT_COLUMNS if name not in table]:
        problems.add(f"the column {name} is missing; there are {', '.join(map(str, table.columns))}")
    problems.raise_as(DataError)
    for name in ("day", "time_s", "vehicles"):
        numbers = _numbers(table[name])
        for row in np.flatnonzero(~np.isfinite(numbers))[:5]:
            problems.add(f"row {row + 1}: {name} is {table[name].iloc[row]!r}, expected a number")
        if name == "vehicles" and (numbers < 0).any():
            problems.add(f"{int((numbers < 0).sum())} rows count fewer than 0 vehicles")
        if name == "day" and (numbers % 1 != 0).any() and np.isfinite(numbers).all():
            problems.add("some days are no whole numbers")
    problems.raise_as(DataError)
    begins = np.unique(_numbers(table["time_s"]))
    cell_s = float(np.diff(begins).min()) if len(begins) > 1 else 3600.0
    counted = table.assign(
        day=_numbers(table["day"]).astype(int),
        entry=table["edge"].astype(str),
        cell=np.floor((_numbers(table["time_s"]) - begins[0]) / cell_s + 1e-9).astype(int),
        vehicles=_numbers(table["vehicles"]),
    )
    days = tuple(sorted({int(day) for day in counted["day"]}))
    return _flows(counted, None, days, _borders(begin_s=begins[0], end_s=begins[-1] + cell_s, cell_s=cell_s))


def _numbers(column: Any) -> np.ndarray:
    import pandas as pd

    return np.asarray(pd.to_numeric(column, errors="coerce"), dtype=float)


def _read_table(path: Path) -> "pd.DataFrame":
    import pandas as pd

    if not path.is_file():
        raise DataError(f"{path} does not exist: give a CSV or Parquet table")
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error
