"""Trajectories with coordinates get edges: the same table with ``edge``, ``lane`` and ``position_m``, and how well it
went.

Rows are sorted by vehicle on disk, matched some hundred thousand at a time (whole vehicles together), and sorted by
time again on disk, so that memory does not grow with the file; it grows with the longest single track.

Rows that are on no edge are left out and counted. Inside a junction ``edge`` is a colon and the junction's id, ``lane``
and ``position_m`` are 0. Lanes are the nearest ones that cars may use: a bus on a bus lane is put beside it.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scenariogen.accounts import AccountBook, FileAccount
from scenariogen.database import connected, quoted
from scenariogen.errors import DataError
from scenariogen.mapgeometry import LaneIndex
from scenariogen.network import RoadNetwork
from scenariogen.trajectories import columns
from scenariogen.trajectories.mapmatch_noise import estimate_noise_m
from scenariogen.trajectories.mapmatch_place import Coordinates, check_overlap, coordinates
from scenariogen.trajectories.mapmatch_routes import RouteLengths
from scenariogen.trajectories.mapmatch_tracks import Matched, match_tracks
from scenariogen.trajectories.mapmatch_viterbi import Points, reach_m
from scenariogen.written import written_whole

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

GROUP_ROWS = 200_000
"""About so many rows are matched together."""
LEAST_SHARE_MATCHED = 0.1
"""Where fewer rows lie near an edge, recording and network do not belong together."""
DISTANCE_BIN_M = 0.05
GUESSED_LANE_M = 1.0
"""With this median distance from the middle of the nearest lane, about a third of a lane, the lane is a guess."""
_ADDED = (columns.EDGE, columns.LANE, columns.POSITION)


@dataclass(frozen=True, kw_only=True)
class MatchQuality:
    """How well a recording lies on a network.

    ``rows``                rows read, ``matched`` of them lie on an edge or inside a junction
    ``without_coordinates`` of the rows
    ``inside_junctions``    of the matched rows
    ``median_m, high_m``    median and 95 % of the distance from the middle of the lane, outside junctions (to 5 cm)
    ``vehicles``            vehicles with a matched row, ``connected`` of them with one unbroken way by road
    ``breaks``              places at which no way by road led on
    ``noise_m``             noise of a coordinate that was reckoned with, ``noise_is_estimated`` from the distances
    """

    rows: int
    without_coordinates: int
    matched: int
    inside_junctions: int
    median_m: float
    high_m: float
    vehicles: int
    connected: int
    breaks: int
    noise_m: float
    noise_is_estimated: bool

    @property
    def share_matched(self) -> float:
        return self.matched / self.rows if self.rows else 0.0

    @property
    def share_connected(self) -> float:
        return self.connected / self.vehicles if self.vehicles else 0.0


@dataclass(kw_only=True)
class _Tally:
    """Counts over the groups."""

    reach: float
    rows: int = 0
    matched: int = 0
    inside: int = 0
    vehicles: int = 0
    connected: int = 0
    breaks: int = 0
    bins: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.bins = np.zeros(int(self.reach / DISTANCE_BIN_M) + 2, np.int64)

    def add(self, points: Points, found: Matched) -> None:
        on = found.edge >= 0
        seen = np.bincount(points.track[on], minlength=len(found.breaks)) > 0
        self.rows += len(on)
        self.matched += int(on.sum())
        self.inside += int((found.junction >= 0).sum())
        self.vehicles += int(seen.sum())
        self.connected += int((seen & (found.breaks == 0)).sum())
        self.breaks += int(found.breaks.sum())
        on &= found.junction < 0
        self.bins += np.bincount((found.distance_m[on] / DISTANCE_BIN_M).astype(int), minlength=len(self.bins))

    def quantile_m(self, share: float) -> float:
        """Upper end of the bin that holds this quantile of the distances; NaN without any."""
        total = int(self.bins.sum())
        if not total:
            return float("nan")
        return float((np.searchsorted(np.cumsum(self.bins), share * total) + 1) * DISTANCE_BIN_M)


def match(
    source: Path,
    target: Path,
    network: RoadNetwork,
    *,
    noise_m: float | None = None,
    origin: tuple[float, float] | None = None,
) -> tuple[MatchQuality, FileAccount]:
    """Put a table of trajectories (Parquet, see :mod:`~scenariogen.trajectories.columns`) on a network.

    ``noise_m``  standard deviation of a coordinate (m); estimated where it is not given
    ``origin``   network coordinates (m) of the recording's plane point 0, 0

    Raises ``DataError`` where the table has no coordinates, lies elsewhere than the network, or hardly any row is near
    an edge; ``ProjectError`` for degrees on a network without a projection. ``target`` is written only on success.
    """
    import pyarrow.parquet as pq

    if noise_m is not None and not 0 < noise_m < np.inf:
        raise DataError(f"the noise is {noise_m} m, expected a number above 0, such as 5")
    names = pq.read_schema(source).names
    way = coordinates(names, network, origin=origin, file=source)
    book = AccountBook(file=source.name, format="match", title=f"matched to {network.path.name}", subject="vehicles")
    replaced = [name for name in _ADDED if name in names]
    if replaced:
        book.note(f"the table's own {', '.join(replaced)} were replaced")
    kept_names = [name for name in columns.ALL if name in names and name not in _ADDED]
    with tempfile.TemporaryDirectory(prefix="scenariogen-", dir=target.parent) as folder, connected(Path(folder)) as db:
        by_vehicle, raw = Path(folder) / "by_vehicle.parquet", Path(folder) / "matched.parquet"
        wanted = ", ".join(kept_names)
        _copy(db, f"SELECT {wanted} FROM {_table(source)} ORDER BY day, vehicle, time_s", by_vehicle)
        check_overlap(_batches(by_vehicle, columns.PLACES[way.place]), way, network, origin=origin, file=source)
        quality = _match_groups(by_vehicle, raw, network, way, noise_m, source)
        order = ", ".join(name for name in columns.ALL if name in {*kept_names, *_ADDED})
        with written_whole(target) as partial:
            _copy(db, f"SELECT {order} FROM {_table(raw)} ORDER BY day, time_s, vehicle", partial)
            account = _account(db, partial, book, quality, way, network)
    return quality, account


def _table(path: Path) -> str:
    return f"read_parquet({quoted(path)})"


def _copy(db: "duckdb.DuckDBPyConnection", query: str, path: Path) -> None:
    db.execute(f"COPY ({query}) TO {quoted(path)} (FORMAT parquet, COMPRESSION zstd)")


def _batches(path: Path, names: tuple[str, ...] | None = None) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=GROUP_ROWS, columns=list(names) if names else None)


def _groups(path: Path) -> Iterator[tuple["pa.Table", np.ndarray]]:
    """Tables of whole vehicles, about :data:`GROUP_ROWS` each, with the number of the track of each row."""
    import pyarrow as pa

    rest: pa.Table | None = None
    for batch in _batches(path):
        fresh = pa.Table.from_batches([batch])
        table = fresh if rest is None else pa.concat_tables([rest, fresh])
        begins = _begins(table)
        last = int(begins[-1])
        if table.num_rows < GROUP_ROWS or last == 0:
            rest = table
            continue
        yield table.slice(0, last), _numbers(begins[:-1], last)
        rest = table.slice(last)
    if rest is not None and rest.num_rows:
        yield rest, _numbers(_begins(rest), rest.num_rows)


def _begins(table: "pa.Table") -> np.ndarray:
    """Rows at which another vehicle begins."""
    from scenariogen.trajectories.readers.tables import compute

    pc, changed = compute(), np.zeros(table.num_rows, bool)
    changed[0] = True
    for name in (columns.DAY, columns.VEHICLE):
        column = table.column(name).combine_chunks()
        changed[1:] |= pc.not_equal(column.slice(1), column.slice(0, len(column) - 1)).to_numpy(zero_copy_only=False)
    return np.flatnonzero(changed)


def _numbers(begins: np.ndarray, rows: int) -> np.ndarray:
    return np.repeat(np.arange(len(begins)), np.diff(np.r_[begins, rows]))


def _match_groups(
    by_vehicle: Path, raw: Path, network: RoadNetwork, way: Coordinates, noise_m: float | None, source: Path
) -> MatchQuality:
    """Match all groups into ``raw``. Raises ``DataError`` where hardly any row is near an edge."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    index, routes = LaneIndex(network), RouteLengths(network)
    names = [f":{edge.to_junction}" for edge in network.edges.values()]
    sigma_m, tally, writer, lacking = noise_m or 0.0, None, None, 0
    try:
        for table, track in _groups(by_vehicle):
            x, y = way.of(table)
            finite = np.isfinite(x) & np.isfinite(y)
            if not finite.all():
                lacking += int((~finite).sum())
                table, x, y = table.filter(pa.array(finite)), x[finite], y[finite]
                track = np.unique(track[finite], return_inverse=True)[1]
            if not len(x):
                continue
            points = Points(track=track, x_m=x, y_m=y)
            if tally is None:
                sigma_m = noise_m or estimate_noise_m(points, index, routes)
                tally = _Tally(reach=reach_m(sigma_m))
            found = match_tracks(points, index, routes, sigma_m=sigma_m)
            tally.add(points, found)
            matched = _with_edges(table, found, network.edge_ids, names)
            writer = writer or pq.ParquetWriter(raw, matched.schema)
            writer.write_table(matched)
    finally:
        if writer is not None:
            writer.close()
    if tally is None or tally.matched < LEAST_SHARE_MATCHED * tally.rows or not tally.matched:
        matched, rows = (tally.matched, tally.rows) if tally else (0, 0)
        raise DataError(
            f"{source}: {matched:,} of {rows:,} rows lie within {reach_m(sigma_m):.0f} m of an edge of "
            f"{network.path.name}, expected at least {LEAST_SHARE_MATCHED:.0%}; the coordinates belong elsewhere: "
            "check --origin, the projection or the network"
        )
    return MatchQuality(
        rows=tally.rows + lacking,
        without_coordinates=lacking,
        matched=tally.matched,
        inside_junctions=tally.inside,
        median_m=tally.quantile_m(0.5),
        high_m=tally.quantile_m(0.95),
        vehicles=tally.vehicles,
        connected=tally.connected,
        breaks=tally.breaks,
        noise_m=sigma_m,
        noise_is_estimated=noise_m is None,
    )


def _with_edges(table: "pa.Table", found: Matched, edge_ids: tuple[str, ...], junctions: list[str]) -> "pa.Table":
    """The rows on an edge, with edge, lane and position."""
    import pyarrow as pa

    on = found.edge >= 0
    number = np.where(found.junction >= 0, found.junction + len(edge_ids), found.edge)[on]
    inside = (found.junction >= 0)[on]
    words = pa.array([*edge_ids, *junctions], pa.string())
    edge = pa.DictionaryArray.from_arrays(pa.array(number, pa.int32()), words)
    table = table.filter(pa.array(on))
    table = table.append_column(columns.EDGE, edge)
    lane = np.where(inside, 0, found.lane[on])
    table = table.append_column(columns.LANE, pa.array(lane, columns.arrow_type(columns.LANE)))
    return table.append_column(
        columns.POSITION, pa.array(found.position_m[on].astype(np.float32), columns.arrow_type(columns.POSITION))
    )


def _account(
    db: "duckdb.DuckDBPyConnection",
    result: Path,
    book: AccountBook,
    quality: MatchQuality,
    way: Coordinates,
    network: RoadNetwork,
) -> FileAccount:
    reach = reach_m(quality.noise_m)
    book.drop("without coordinates", quality.without_coordinates)
    far = quality.rows - quality.without_coordinates - quality.matched
    book.drop(f"farther than {reach:.0f} m from every edge that cars may use", far)
    book.facts |= {
        "network": f"{network.path.name}, {len(network.edges):,} edges",
        "coordinates": way.words,
        "noise": f"{quality.noise_m:.1f} m, {'estimated' if quality.noise_is_estimated else 'as given'}",
        "matched": f"{quality.share_matched:.1%} of rows, {quality.inside_junctions:,} of them inside junctions",
        "distance": f"median {quality.median_m:.2f} m, 95 % within {quality.high_m:.2f} m of the middle of a lane",
        "routes": f"{quality.share_connected:.1%} of vehicles with a connected way, {quality.breaks:,} breaks",
    }
    book.derived[columns.EDGE] = "hidden Markov model over edges near the rows"
    book.derived[columns.LANE] = "nearest lane that cars may use"
    book.derived[columns.POSITION] = "foot of the row on that lane, in its length"
    if quality.median_m > GUESSED_LANE_M:
        book.note(f"lanes are a guess: half the rows lie more than {quality.median_m:.1f} m from a lane's middle")
    begin_s, end_s = db.execute(f"SELECT min(time_s), max(time_s) FROM {_table(result)}").fetchone() or (0.0, 0.0)
    return book.close(
        kept=quality.matched,
        subjects=quality.vehicles,
        span=(f"{begin_s:.2f} s", f"{end_s:.2f} s"),
        rows=quality.rows,
    )
