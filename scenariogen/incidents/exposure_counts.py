"""Exposure from traffic counts: vehicles counted on an edge, times its length.

A file is a table with the columns edge, begin, end, count (others by ``--map``), or SUMO's edge data as XML
(``<interval begin end><edge id sampledSeconds speed .../>``), where vehicle-kilometres are sampled seconds times speed,
or entered vehicles times length without them. Intervals are cut at the borders of the time cells, counts spread evenly.

Edges that nobody counted, and times without a count, are estimated: vehicle-kilometres per lane-kilometre of counted
edges of their road class in that cell. How far those differ gives the standard error.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scenariogen.errors import DataError, Problems
from scenariogen.incidents.exposure import Exposure, time_cells
from scenariogen.mapping import Source, missing_columns, parse_mapping
from scenariogen.network import RoadClass
from scenariogen.window import StudyWindow

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork

COUNT_DIMENSIONS: dict[str, str | None] = {"edge": None, "begin": "time", "end": "time", "count": None, "day": None}
"""Fields of a table of counts, with the dimension of their unit; ``day`` tells several days apart."""


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """``vehicle_km`` and the ``covered`` share of each cell by counts, both (edge, cell), a mean of ``days`` days."""

    vehicle_km: np.ndarray
    covered: np.ndarray
    per_day_km: np.ndarray


def exposure_from_counts(
    file: Path,
    network: "RoadNetwork",
    window: StudyWindow,
    *,
    mapping: Iterable[str] = (),
    cell_s: float = 300.0,
    counted_only: bool = False,
) -> Exposure:
    """Vehicle-kilometres of a mean day from counts.

    ``counted_only``  refuse driving edges without counts instead of estimating them

    Raises ``DataError`` that lists every problem.
    """
    table = _read(file, tuple(mapping))
    table = _checked(table, file, network)
    borders = time_cells(window, cell_s)
    cells = _in_cells(table, network, borders)
    drivable = np.array([bool(edge.driving_lanes) for edge in network.edges.values()])
    missing = drivable[:, None] & (cells.covered <= 0)
    if not (cells.covered[drivable] > 0).any():
        raise DataError(
            f"{file.name} has no count on a driving edge between second {borders[0]:g} and {borders[-1]:g}, in which "
            f"incidents may start; its counts are of {table['begin'].min():g} to {table['end'].max():g}"
        )
    uncounted = tuple(np.array(network.edge_ids, dtype=object)[missing.any(axis=1)])
    if counted_only and uncounted:
        raise DataError(
            f"{len(uncounted)} of {int(drivable.sum())} driving edges lack counts in some of the time, the first: "
            f"{', '.join(map(str, uncounted[:3]))}; without --counted-only they are estimated"
        )
    kilometres, error, remarks = _filled(cells, missing, network, borders)
    days = tuple(sorted({int(day) for day in table["day"]}))
    return Exposure(
        edge_ids=network.edge_ids,
        cell_edges_s=borders,
        vehicle_km=kilometres,
        standard_error=error,
        days=days,
        day_totals_km=cells.per_day_km,
        source="counts",
        estimated=tuple(str(edge) for edge in uncounted),
        total_error_km=_total_error(error, missing, network),
        remarks=remarks,
    )


def _read(file: Path, mapping: tuple[str, ...]) -> pd.DataFrame:
    """Columns edge, begin, end, day and count or vehicle_km."""
    if not file.is_file():
        raise DataError(f"the counts {file} do not exist")
    name = file.name.removesuffix(".gz")
    if name.endswith(".xml"):
        if mapping:
            raise DataError("a column mapping is for tables; SUMO's edge data has names of its own")
        return _edge_data(file)
    try:
        table = pd.read_parquet(file) if name.endswith(".parquet") else pd.read_csv(file, dtype=str)
    except (ValueError, OSError) as error:
        raise DataError(f"{file} cannot be read as counts ({error}): expected CSV, Parquet or XML") from error
    sources = {name: Source(column=name) for name in COUNT_DIMENSIONS if name in table.columns}
    sources |= parse_mapping(mapping, COUNT_DIMENSIONS)
    problems = Problems(f"{file}")
    problems.extend(missing_columns(sources, [str(column) for column in table.columns]))
    for field in ("edge", "begin", "end", "count"):
        if field not in sources:
            has = ", ".join(map(str, table.columns[:12]))
            problems.add(f"the column {field} is missing; it has {has}: --map {field}=COLUMN says which it is")
    problems.raise_as(DataError)
    found = {field: table[source.column] for field, source in sources.items()}
    for field in ("begin", "end", "count"):
        found[field] = np.asarray(pd.to_numeric(found[field], errors="coerce"), dtype=float) * sources[field].factor
    if "day" not in found:
        found["day"] = np.zeros(len(table), dtype=int)
    else:
        found["day"] = pd.factorize(found["day"], sort=True)[0]
    return pd.DataFrame(found)


def _edge_data(file: Path) -> pd.DataFrame:
    """SUMO's edge data. Raises ``DataError`` where the file is none."""
    import gzip

    from defusedxml.ElementTree import ParseError, iterparse

    rows, begin, end = [], np.nan, np.nan
    try:
        with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as stream:
            for event, element in iterparse(stream, events=("start", "end")):
                if element.tag == "interval" and event == "start":
                    begin, end = float(element.get("begin", "nan")), float(element.get("end", "nan"))
                elif element.tag == "edge" and event == "end":
                    seconds, speed = element.get("sampledSeconds"), element.get("speed")
                    driven = float(seconds) * float(speed or 0) / 1000 if seconds is not None else np.nan
                    rows.append((element.get("id", ""), begin, end, driven, float(element.get("entered", "nan")), 0))
                    element.clear()
    except (ParseError, ValueError, OSError) as error:
        raise DataError(f"{file} cannot be read as SUMO's edge data: {error}") from error
    if not rows:
        raise DataError(f"{file} holds no edge in an interval: expected SUMO's edge data")
    return pd.DataFrame(rows, columns=["edge", "begin", "end", "vehicle_km", "count", "day"])


def _checked(table: pd.DataFrame, file: Path, network: "RoadNetwork") -> pd.DataFrame:
    """Rows on edges of the network, with vehicle-kilometres; ``DataError`` with every problem."""
    problems = Problems(f"{file}")
    table = table.assign(edge=table["edge"].astype(str))
    known = np.isin(table["edge"].to_numpy(dtype=object), list(network.edges))
    inner = table["edge"].str.startswith(":").to_numpy(dtype=bool)
    strangers = sorted(set(table["edge"].to_numpy()[~known & ~inner]))
    if strangers:
        problems.add(f"{len(strangers)} edges are not in {network.path.name}, the first: {', '.join(strangers[:3])}")
    table = table.loc[known].reset_index(drop=True)
    length = np.array([network.edges[edge].length_m / 1000 for edge in table["edge"]])
    kilometres = table["count"].to_numpy(dtype=float) * length
    if "vehicle_km" in table:
        sampled = table["vehicle_km"].to_numpy(dtype=float)
        kilometres = np.where(np.isfinite(sampled), sampled, kilometres)
    begin, end = table["begin"].to_numpy(dtype=float), table["end"].to_numpy(dtype=float)
    for wrong, words in (
        (~(end > begin), "do not end after they begin"),
        (~np.isfinite(kilometres), "have no number of vehicles"),
        (kilometres < 0, "have a negative number of vehicles"),
    ):
        if wrong.any():
            problems.add(f"{int(wrong.sum())} rows {words}, the first is row {int(np.argmax(wrong))}")
    order = np.lexsort((begin, table["edge"].to_numpy(dtype=str), table["day"].to_numpy()))
    same = (table["edge"].to_numpy()[order][1:] == table["edge"].to_numpy()[order][:-1]) & (
        table["day"].to_numpy()[order][1:] == table["day"].to_numpy()[order][:-1]
    )
    overlap = same & (begin[order][1:] < end[order][:-1] - 1e-6)
    if overlap.any():
        problems.add(
            f"{int(overlap.sum())} intervals overlap another of the same edge and day, so traffic would count twice; "
            "counts of single lanes have to be added up first"
        )
    problems.raise_as(DataError)
    return table.assign(vehicle_km=kilometres)


def _in_cells(table: pd.DataFrame, network: "RoadNetwork", borders: np.ndarray) -> _Cells:
    """Spread intervals over the cells and take the mean over days that have counts there."""
    begin, end = (table[name].to_numpy(dtype=float)[:, None] for name in ("begin", "end"))
    overlap = np.clip(np.minimum(end, borders[1:]) - np.maximum(begin, borders[:-1]), 0, None)
    edge = np.array([network.edge_index[name] for name in table["edge"]], dtype=int)
    day = table["day"].to_numpy(dtype=int)
    shape = (int(day.max(initial=0)) + 1, len(network.edge_ids), len(borders) - 1)
    driven, covered = np.zeros(shape), np.zeros(shape)
    np.add.at(driven, (day, edge), table["vehicle_km"].to_numpy(dtype=float)[:, None] * overlap / (end - begin))
    np.add.at(covered, (day, edge), overlap / np.diff(borders))
    total = covered.sum(0)
    mean = np.divide(driven.sum(0), total, out=np.zeros(shape[1:]), where=total > 0)
    return _Cells(vehicle_km=mean, covered=total, per_day_km=driven.sum(axis=(1, 2)))


def _filled(
    cells: _Cells, missing: np.ndarray, network: "RoadNetwork", borders: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Vehicle-kilometres with the missing ones estimated, their standard errors (edge, cell), and remarks."""
    size = np.array([len(edge.driving_lanes) * edge.length_m / 1000 for edge in network.edges.values()])[:, None]
    road_class = np.array([edge.road_class for edge in network.edges.values()], dtype=object)
    counted = (cells.covered > 0) & (size > 0)
    kilometres, error = np.where(counted, cells.vehicle_km, 0.0), np.zeros_like(cells.vehicle_km)
    remarks = []
    for each in RoadClass:
        gap = missing & (road_class == each)[:, None]
        if not gap.any():
            continue
        own = counted & (road_class == each)[:, None]
        like = own if own.any() else counted
        density, spread = _density(kilometres, size, like)
        kilometres = np.where(gap, density * size, kilometres)
        error = np.where(gap, spread * size, error)
        edges = int(gap.any(axis=1).sum())
        whose = f"counted {each.value}s" if own.any() else "all counted edges, as no edge of its class has counts"
        relative = float(np.nansum(np.where(gap, error, 0)) / max(np.nansum(np.where(gap, kilometres, 0)), 1e-12))
        remarks.append(
            f"{edges} {each.value} edges lack counts in some of the time: estimated from {whose} "
            f"(+/- {100 * relative:.0f} % for one edge)"
        )
    return kilometres, error, tuple(remarks)


def _density(kilometres: np.ndarray, size: np.ndarray, like: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per cell, vehicle-kilometres per lane-kilometre of counted edges, and how far one edge lies from it, (cell,).

    Cells without any count take the mean over the others. One counted edge tells nothing of the spread: then it is the
    density itself.
    """
    weight = np.where(like, size, 0.0)
    total = weight.sum(0)
    level = np.where(like, kilometres, 0.0)
    mean = np.divide(level.sum(0), total, out=np.full(total.shape, np.nan), where=total > 0)
    ratio = np.divide(level, size, out=np.zeros_like(level), where=size > 0)
    square = np.divide((weight * (ratio - mean) ** 2).sum(0), total, out=np.full(total.shape, np.nan), where=total > 0)
    number = like.sum(0)
    spread = np.where(number > 1, np.sqrt(square * number / np.maximum(number - 1, 1)), mean)
    return np.where(np.isnan(mean), np.nanmean(mean), mean), np.where(np.isnan(spread), np.nanmean(spread), spread)


def _total_error(error: np.ndarray, missing: np.ndarray, network: "RoadNetwork") -> float:
    """Standard error of the total: edges independent, cells of one edge fully dependent, and the mean of the counted
    edges, which all estimates of a class share, as uncertain as their number allows."""
    by_edge = np.where(missing, error, 0.0).sum(axis=1)
    road_class = np.array([edge.road_class for edge in network.edges.values()], dtype=object)
    drives = np.array([bool(edge.driving_lanes) for edge in network.edges.values()])
    variance = 0.0
    for each in RoadClass:
        members = road_class == each
        counted = max(int((members & drives & ~missing.any(axis=1)).sum()), 1)
        variance += float((by_edge[members] ** 2).sum()) + float(by_edge[members].sum()) ** 2 / counted
    return float(np.sqrt(variance))
