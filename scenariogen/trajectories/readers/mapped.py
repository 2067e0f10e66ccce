"""Any table with one row per vehicle and time, through a column mapping: no code for a set of unknown columns.

``--map time=t:s --map vehicle=id --map x=x:m --map y=y:m --map speed=v:km/h``. Times are numbers with a unit, frame
counts (``frame:1/25s``), or ISO 8601 text; what has a date is split by it into recordings
(:mod:`scenariogen.trajectories.readers.dates`). Text tables and Parquet.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError, Problems
from scenariogen.heads import FileHead, Made
from scenariogen.mapping import Source, missing_columns
from scenariogen.trajectories import columns
from scenariogen.trajectories.readers import tables
from scenariogen.trajectories.readers.contract import ReadOptions, TrajectoryReader
from scenariogen.trajectories.readers.dates import (
    Calendar,
    are_dates,
    calendar_of,
    check_some,
    split_dates,
    split_numbers,
)

if TYPE_CHECKING:
    import pyarrow as pa

FIELDS: dict[str, tuple[str, str | None]] = {
    "recording": (columns.RECORDING, None),
    "time": (columns.TIME, "time"),
    "vehicle": (columns.VEHICLE, None),
    "speed": (columns.SPEED, "speed"),
    "accel": (columns.ACCELERATION, "acceleration"),
    "x": (columns.X, "length"),
    "y": (columns.Y, "length"),
    "lon": (columns.LON, "angle"),
    "lat": (columns.LAT, "angle"),
    "road": (columns.ROAD, None),
    "road_position": (columns.ROAD_POSITION, "length"),
    "road_lane": (columns.ROAD_LANE, None),
    "edge": (columns.EDGE, None),
    "lane": (columns.LANE, None),
    "position": (columns.POSITION, "length"),
    "length": (columns.LENGTH, "length"),
    "width": (columns.WIDTH, "length"),
    "class": (columns.CLASS, None),
}
"""Field of a mapping to the column it fills and the dimension of its unit."""
DIMENSIONS: dict[str, str | None] = {name: dimension for name, (_, dimension) in FIELDS.items()}
ONLY_ROAD = "road"
"""Name of the road where positions along one are mapped and no name for it."""
PLACES_BY_FIELDS = (("edge", "lane", "position"), ("road_position",), ("x", "y"), ("lon", "lat"))
SI_UNITS = {"time": "s", "speed": "m/s", "acceleration": "m/s2", "length": "m", "angle": "degrees"}
PARQUET_ROWS = 100_000


class MappedReader(TrajectoryReader):
    """A table of any columns, by a mapping."""

    name = "csv"
    title = "a table, read by a column mapping"

    def recognises(self, head: FileHead) -> bool:
        return False  # what the columns mean has to be said

    def tables(self, head: FileHead, book: AccountBook, options: ReadOptions) -> Iterator["pa.Table"]:
        mapping = options.mapping
        _check(head, mapping)
        for name, source in mapping.items():
            book.units[FIELDS[name][0]] = _said(name, source)
        if "road_position" in mapping and "road" not in mapping:
            book.units[columns.ROAD] = "one road"
        wanted = list(dict.fromkeys(source.column for source in mapping.values()))
        clock: _Clock | None = None
        for block in _blocks(head, book, wanted):
            if clock is None:
                clock = _clock(block, mapping["time"], options.time_zone, book)
            yield _table(block, mapping, book, clock)


def _said(name: str, source: Source) -> str:
    dimension = DIMENSIONS[name]
    if dimension is None:
        return source.column
    return f"{source.column} in {source.unit}" if source.unit else f"{source.column}, assumed in {SI_UNITS[dimension]}"


def _header(head: FileHead) -> Sequence[str]:
    if head.made is not Made.PARQUET:
        return head.header
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(head.path).names
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{head.path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


def _check(head: FileHead, mapping: Mapping[str, Source]) -> None:
    """Raises ``DataError`` with everything that the mapping lacks."""
    problems = Problems(f"{head.path} as a table")
    if head.made not in (Made.TEXT, Made.PARQUET):
        problems.add(f"it is {head.made.value}, expected Parquet, or text with one row a line")
        problems.raise_as(DataError)
    header = _header(head)
    if not mapping:
        problems.add(f"no column is mapped; it has {', '.join(header[:30])}. Give --map FIELD=COLUMN:UNIT")
        problems.raise_as(DataError)
    unknown = [name for name in mapping if name not in FIELDS]
    if unknown:
        problems.add(f"the fields {', '.join(unknown)} are unknown, expected some of {', '.join(FIELDS)}")
    problems.extend(f"no column is mapped to {name}" for name in ("time", "vehicle") if name not in mapping)
    if not any(all(name in mapping for name in place) for place in PLACES_BY_FIELDS):
        problems.add("no place is mapped: give x and y, lon and lat, road_position, or edge, lane and position")
    for place in PLACES_BY_FIELDS:
        half = [name for name in place if name in mapping]
        if half and len(half) < len(place):
            problems.add(f"{', '.join(half)} without {', '.join(name for name in place if name not in half)}")
    problems.extend(missing_columns(mapping, header))
    problems.raise_as(DataError)


def _blocks(head: FileHead, book: AccountBook, names: Sequence[str]) -> Iterator["pa.Table"]:
    if head.made is Made.TEXT:
        yield from tables.text_blocks(head, book, names)
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(head.path) as file:
            for batch in file.iter_batches(PARQUET_ROWS, columns=list(names), use_threads=False):
                book.rows += batch.num_rows
                yield pa.Table.from_batches([batch])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{head.path} cannot be read as Parquet: {str(error).splitlines()[0]}") from error


@dataclass(frozen=True, kw_only=True)
class _Clock:
    """How a column of times is read: as text or timestamps with dates, or as numbers; with the calendar of dates."""

    source: Source
    is_text: bool
    calendar: Calendar | None

    def read(self, block: "pa.Table", book: AccountBook) -> tuple["pa.Array", "pa.Array | None"]:
        """Seconds, after midnight where there are dates, and those."""
        column = self.source.column
        if self.is_text and self.calendar is not None:
            return split_dates(tables.one_array(block[column]), self.calendar, column, book)
        seconds = tables.numbers(block, column, book, factor=self.source.factor)
        return (seconds, None) if self.calendar is None else split_numbers(seconds, self.calendar)


def _clock(block: "pa.Table", source: Source, time_zone: str, book: AccountBook) -> _Clock:
    """The clock of a file, by its first rows. Raises ``DataError`` where no time among them can be read."""
    times = tables.one_array(block[source.column])
    is_text = not source.unit and are_dates(times)
    unread = AccountBook(file=book.file, format=book.format, title=book.title, subject=book.subject)
    numbers_s = None if is_text else tables.numbers(block, source.column, unread, factor=source.factor)
    calendar = calendar_of(times, source.column, time_zone, numbers_s)
    clock = _Clock(source=source, is_text=is_text, calendar=calendar)
    check_some(times, clock.read(block, unread)[0], source.column)
    if calendar is not None:
        book.units[columns.TIME] = f"{source.column}, {calendar.words}"
        book.units.setdefault(columns.RECORDING, f"the date in {source.column}")
    elif time_zone:
        raise DataError(
            f"--time-zone {time_zone}: the times in {source.column} have no date, so no zone tells their day"
        )
    return clock


def _table(block: "pa.Table", mapping: Mapping[str, Source], book: AccountBook, clock: _Clock) -> "pa.Table":
    import pyarrow as pa

    pc = tables.compute()
    made: dict[str, pa.Array] = {}
    dates: pa.Array | None = None
    for name, source in mapping.items():
        column, dimension = FIELDS[name]
        if name == "time":
            made[column], dates = clock.read(block, book)
        elif dimension is not None:
            values = tables.numbers(block, source.column, book, factor=source.factor)
            made[column] = tables.single(values) if columns.arrow_type(column) == pa.float32() else values
        elif column in (columns.LANE, columns.ROAD_LANE):
            made[column] = tables.small_integers(tables.numbers(block, source.column, book))
        else:
            made[column] = tables.words(block[source.column])
    if "road_position" in mapping and "road" not in mapping:
        made[columns.ROAD] = tables.same_word(ONLY_ROAD, len(block))
    if dates is not None:
        named = made.get(columns.RECORDING)
        joined = dates if named is None else pc.binary_join_element_wise(named.cast(pa.string()), dates, " ")
        made[columns.RECORDING] = tables.words(joined)
    return pa.table(made)
