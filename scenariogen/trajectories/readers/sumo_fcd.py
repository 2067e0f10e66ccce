"""SUMO's floating-car output (``--fcd-output``) as Parquet, XML, CSV, also gzipped, to our own columns.

SUMO's names: https://sumo.dlr.de/docs/Simulation/Output/FCDOutput.html. The edge is taken from the lane id
(``<edge>_<index>``), since vehicles on lanes have no ``vehicle_edge``; who has one is none
(:mod:`scenariogen.trajectories.readers.fcd_persons`). Rows come sorted by time. With ``--fcd-output.attributes`` a file
may lack lanes or the positions along them and hold coordinates alone, or lack speeds, which are then derived; what
other options change about the values stands in :mod:`scenariogen.trajectories.readers.fcd_values`.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made, open_bytes
from scenariogen.trajectories import columns
from scenariogen.trajectories.readers.contract import ReadOptions, TrajectoryReader
from scenariogen.trajectories.readers.fcd_names import (
    EDGE,
    ID,
    LANE,
    NEEDED,
    OPTIONAL,
    POSITION,
    RECORDED,
    SOURCES,
    SPEED,
    TIME,
    check_names,
    split_lanes,
    unique_words,
)
from scenariogen.trajectories.readers.fcd_persons import NO_LANE, refuse_mesoscopic, vehicles_only
from scenariogen.trajectories.readers.fcd_values import in_degrees, is_empty, is_number, is_wide, seconds_of
from scenariogen.trajectories.readers.fcd_xml import line_views, readable, xml_rows

if TYPE_CHECKING:
    import pyarrow as pa


class SumoFcdReader(TrajectoryReader):
    """SUMO's own trajectories."""

    name = "sumo-fcd"
    title = "SUMO floating-car data"

    def recognises(self, head: FileHead) -> bool:
        if head.made is Made.XML:
            return "<fcd-export" in head.text
        if head.made is Made.PARQUET:
            return TIME in parquet_names(head.path)
        return head.made is Made.TEXT and TIME in head.header

    def tables(self, head: FileHead, book: AccountBook, options: ReadOptions) -> Iterator["pa.Table"]:
        book.units |= {
            columns.TIME: "simulation seconds (SUMO)",
            columns.VEHICLE: "id (SUMO)",
            columns.EDGE: "lane without its index (SUMO)",
            columns.LANE: "index at the end of lane, counted from the right (SUMO)",
            columns.POSITION: "pos in m from the start of the lane (SUMO)",
            columns.SPEED: "speed in m/s (SUMO)",
            columns.X: "x in m, network coordinates (SUMO)",
            columns.Y: "y in m, network coordinates (SUMO)",
            columns.ACCELERATION: "acceleration in m/s2 (SUMO)",
            columns.CLASS: "type (SUMO)",
        }
        found: set[str] = set()
        kept = 0
        for table in in_degrees(_chunks(head, 0, tuple(OPTIONAL), book)):
            kept += table.num_rows
            found |= set(table.column_names)
            yield table
        if not kept and NO_LANE in book.dropped:
            refuse_mesoscopic(head.path, only_persons=True)
        if columns.LON in found:
            how = "in degrees (WGS 84): vehicles move as many degrees as their speeds say (SUMO's --fcd-output.geo)"
            book.units |= {columns.LON: f"x {how}", columns.LAT: f"y {how}"}
        for name in set(book.units) - found:
            book.units.pop(name)


def _chunks(head: FileHead, day: int, extra: Sequence[str], book: AccountBook) -> Iterator["pa.Table"]:
    read = {Made.PARQUET: parquet_chunks, Made.XML: xml_chunks, Made.TEXT: csv_chunks}.get(head.made)
    if read is None:
        raise DataError(f"{head.path} is {head.made.value}, which SUMO does not write trajectories as")
    return read(head, day, extra, book)


def normalise_fcd(source: Path, day: int) -> "pa.Table":
    """One day of SUMO's Parquet output as a table with the schema of :func:`columns.schema`.

    Append the tables of several days to one file with ``pyarrow.parquet.ParquetWriter``; no more than one day
    is then in memory. Raises ``DataError`` for a file that is truncated or lacks columns.
    """
    import pyarrow as pa

    lacking = [name for name in NEEDED if name not in (names := parquet_names(source))]
    if lacking:
        raise DataError(f"{source} lacks {', '.join(lacking)}; it has {', '.join(names[:12])}")
    chunks = [_as_recorded(table) for table in _parquet_tables(source, day, RECORDED)]
    return pa.concat_tables(chunks).unify_dictionaries() if chunks else columns.schema().empty_table()


def _as_recorded(table: "pa.Table") -> "pa.Table":
    """The columns of a recording; null coordinates where SUMO wrote none."""
    import pyarrow as pa

    for name in RECORDED:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), pa.float32()))
    # A coordinate in double precision has more digits than a recording keeps.
    return table.select(columns.COLUMNS).cast(columns.schema(), safe=False)


def parquet_names(source: Path) -> list[str]:
    """The column names of a Parquet file. Raises ``DataError`` where it was cut off."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(source).names
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(
            f"{source} is a Parquet file that was cut off or damaged ({error}); SUMO writes the file's end when it "
            "closes, so let the run end, or copy it again"
        ) from error


def is_plain(head: FileHead, names: Sequence[str]) -> bool:
    """True for Parquet that can be used where it lies: lanes, positions and speeds, times and coordinates as numbers of
    seconds and metres. Raises ``DataError`` where columns are missing or the file is damaged."""
    import pyarrow.parquet as pq

    check_names(head.path, names)
    if not set(NEEDED) <= set(names):
        return False
    x, y = (OPTIONAL[name][0] for name in (columns.X, columns.Y))
    with pq.ParquetFile(head.path) as file:
        if not is_number(file.schema_arrow.field(TIME).type) or is_empty(file.metadata, LANE):
            return False
        if not {x, y} <= set(names) or not file.num_row_groups or is_wide(file.metadata, x, 180.0):
            return True
    return not any(
        columns.LON in table.column_names for table in islice(in_degrees(parquet_chunks(head, 0, RECORDED)), 1)
    )


def _wanted(names: Sequence[str], extra: Sequence[str]) -> list[str]:
    """The columns to read: edges only where no lane tells persons from vehicles."""
    wanted = (*NEEDED, *(OPTIONAL[name][0] for name in extra), *(() if LANE in names else (EDGE,)))
    return [name for name in wanted if name in names]


def parquet_chunks(
    head: FileHead, day: int, extra: Sequence[str], book: AccountBook | None = None
) -> Iterator["pa.Table"]:
    """A Parquet file, row group by row group."""
    return _parquet_tables(head.path, day, extra, book)


def _parquet_tables(
    source: Path, day: int, extra: Sequence[str], book: AccountBook | None = None
) -> Iterator["pa.Table"]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = parquet_names(source)
    check_names(source, names)
    wanted = _wanted(names, extra)
    try:
        with pq.ParquetFile(source) as file:
            for group in range(file.num_row_groups):
                yield _normalise(file.read_row_group(group, columns=wanted), day, source, book)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{source} cannot be read as Parquet ({error}); record it again, or copy it again") from error


def csv_chunks(head: FileHead, day: int, extra: Sequence[str], book: AccountBook | None = None) -> Iterator["pa.Table"]:
    """A CSV file as SUMO writes it, also gzipped, in blocks. The separator is that of the first line.

    Blocks of whole lines are parsed in parallel, since no cell of SUMO's holds a line break, and one ahead of what is
    asked for.
    """
    import pyarrow as pa
    from pyarrow import csv

    check_names(head.path, list(head.header))
    wanted = _wanted(head.header, extra)
    words = [ID, LANE, EDGE, OPTIONAL[columns.CLASS][0]]
    if _has_clock_times(head):
        words.append(TIME)
    types = {name: pa.string() if name in words else pa.float64() for name in wanted}
    options = {
        "read_options": csv.ReadOptions(block_size=1 << 21, column_names=list(head.header)),
        "parse_options": csv.ParseOptions(delimiter=head.delimiter),
        "convert_options": csv.ConvertOptions(
            include_columns=list(types), column_types=types, strings_can_be_null=True
        ),
    }
    try:
        with readable(head), open_bytes(head.path) as stream:
            stream.readline()
            blocks = (block for block in line_views(stream) if len(block) > 2 or bytes(block).strip())
            for table in _one_ahead(csv.read_csv(pa.BufferReader(pa.py_buffer(block)), **options) for block in blocks):
                yield _normalise(table, day, head.path, book)
    except pa.ArrowInvalid as error:
        raise DataError(f"{head.path} cannot be read as SUMO's CSV: {error}") from error


def _has_clock_times(head: FileHead) -> bool:
    """True where the first row of a CSV file has a time with colons."""
    lines = head.text.splitlines()
    cells = lines[1].split(head.delimiter) if len(lines) > 1 else []
    column = list(head.header).index(TIME)
    return column < len(cells) and ":" in cells[column]


def _one_ahead(tables: "Iterator[pa.Table]") -> "Iterator[pa.Table]":
    """The same tables; while one is worked on, the next is made in another thread."""
    with ThreadPoolExecutor(1) as pool:
        following = pool.submit(next, tables, None)
        while (table := following.result()) is not None:
            following = pool.submit(next, tables, None)
            yield table


def xml_chunks(head: FileHead, day: int, extra: Sequence[str], book: AccountBook | None = None) -> Iterator["pa.Table"]:
    """An XML file, also gzipped, in blocks."""
    import pyarrow as pa

    asked = (*SOURCES, "edge", *(OPTIONAL[name][1] for name in extra))
    names = {TIME: "time", **{theirs: ours for ours, theirs in SOURCES.items()}}
    names |= {OPTIONAL[name][0]: OPTIONAL[name][1] for name in extra}
    words = (TIME, ID, LANE, OPTIONAL[columns.CLASS][0])
    has: set[str] = set()
    try:
        for rows in xml_rows(head, asked):
            # What the first vehicles have, all must have.
            has = has or {theirs for theirs, attribute in names.items() if rows[attribute].null_count < len(rows)}
            if LANE not in has and rows["edge"].null_count < len(rows):
                refuse_mesoscopic(head.path)
            check_names(head.path, sorted(has))
            lacking = [name for name, theirs in SOURCES.items() if theirs in has and rows[name].null_count]
            if lacking:
                raise DataError(f"{head.path}: a <vehicle> lacks {lacking[0]!r}, which those before it have")
            table = {
                theirs: rows[attribute] if theirs in words else rows[attribute].cast(pa.float64())
                for theirs, attribute in names.items()
                if theirs in has
            }
            yield _normalise(pa.table(table), day, head.path, book)
    except pa.ArrowInvalid as error:
        raise DataError(f"{head.path} cannot be read as SUMO's FCD XML: {error}") from error


def _normalise(table: "pa.Table", day: int, source: Path, book: AccountBook | None) -> "pa.Table":
    import numpy as np
    import pyarrow as pa

    vehicles = table[ID]
    if vehicles.null_count:
        table = table.filter(vehicles.is_valid())
    table = vehicles_only(table, book)
    made = {
        columns.DAY: pa.array(np.full(table.num_rows, day, dtype=np.int32)),
        columns.TIME: seconds_of(table[TIME], source),
        columns.VEHICLE: _one_array(table[ID]).dictionary_encode(),
    }
    if {LANE, POSITION} <= set(table.column_names):
        lanes = _one_array(table[LANE]).dictionary_encode()
        names, numbers = split_lanes(lanes.dictionary.to_pylist(), source)
        edges, codes = unique_words(names)
        made |= {
            columns.EDGE: pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()).take(lanes.indices), edges),
            columns.LANE: pa.array(numbers, pa.int16()).take(lanes.indices),
            columns.POSITION: table[POSITION].cast(pa.float32()),
        }
    if SPEED in table.column_names:
        made[columns.SPEED] = table[SPEED].cast(pa.float32())
    for ours, (theirs, _) in OPTIONAL.items():
        if theirs in table.column_names:
            column = table[theirs]
            is_word = ours == columns.CLASS
            made[ours] = _one_array(column).dictionary_encode() if is_word else column.cast(columns.arrow_type(ours))
    return pa.table(made)


def _one_array(column: "pa.ChunkedArray") -> "pa.Array":
    """A column of strings in one piece, whatever it was stored as."""
    import pyarrow as pa

    return pa.concat_arrays([chunk.cast(pa.string()) for chunk in column.chunks] or [pa.array([], pa.string())])
