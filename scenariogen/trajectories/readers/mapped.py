"""Any table with one row per vehicle and time, through a column mapping: no code for a set of unknown columns.

``--map time=t:s --map vehicle=id --map x=x:m --map y=y:m --map speed=v:km/h``. Times are numbers with a unit, frame
counts (``frame:1/25s``), or ISO 8601 text; text is split by date into recordings and becomes the seconds after
midnight (of UTC where it carries an offset). Text tables and Parquet.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError, Problems
from scenariogen.heads import FileHead, Made
from scenariogen.mapping import Source, missing_columns
from scenariogen.trajectories import columns
from scenariogen.trajectories.readers import tables
from scenariogen.trajectories.readers.contract import ReadOptions, TrajectoryReader

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
CLOCK_FIRST_ROWS = 100
PARQUET_ROWS = 100_000
_DATE = r"^\s*\d{4}-\d{2}-\d{2}"


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
        are_dates: bool | None = None
        for block in _blocks(head, book, wanted):
            if are_dates is None:
                are_dates = _are_dates(block, mapping["time"])
                if are_dates:
                    book.units[columns.TIME] = f"{mapping['time'].column}, ISO 8601: seconds after midnight of its date"
                    book.units.setdefault(columns.RECORDING, f"the date in {mapping['time'].column}")
            yield _table(block, mapping, book, are_dates=are_dates)


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


def _table(block: "pa.Table", mapping: Mapping[str, Source], book: AccountBook, *, are_dates: bool) -> "pa.Table":
    import pyarrow as pa

    pc = tables.compute()
    made: dict[str, pa.Array] = {}
    dates: pa.Array | None = None
    for name, source in mapping.items():
        column, dimension = FIELDS[name]
        if name == "time" and are_dates:
            made[column], dates = _split_dates(tables.one_array(block[source.column]), source.column, book)
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


def _are_dates(block: "pa.Table", source: Source) -> bool:
    """True where times are timestamps, or where most of the first cells begin like ``2024-05-01``."""
    import pyarrow as pa

    pc = tables.compute()
    column = tables.one_array(block[source.column])
    if pa.types.is_temporal(column.type):
        return True
    if source.unit or not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return False
    first = pc.drop_null(column).slice(0, CLOCK_FIRST_ROWS)
    like = pc.sum(pc.match_substring_regex(first, _DATE)).as_py() or 0
    return 2 * like > len(first)


def _split_dates(times: "pa.Array", column: str, book: AccountBook) -> tuple["pa.Array", "pa.Array"]:
    """Seconds after midnight, and the dates."""
    import pandas as pd
    import pyarrow as pa

    if pa.types.is_temporal(times.type) and not pa.types.is_timestamp(times.type):
        raise DataError(f"the column {column} is of the type {times.type}, expected timestamps, text or numbers")
    stamps = pd.to_datetime(pd.Series(times.to_pandas()), format="ISO8601", utc=True, errors="coerce")
    wrong = int(stamps.isna().sum()) - times.null_count
    if wrong:
        book.note(f"hold something else than an ISO 8601 time in {column}: taken as empty", rows=wrong)
    seconds = (stamps - stamps.dt.normalize()).dt.total_seconds()
    return (
        pa.array(seconds, pa.float64(), from_pandas=True),
        pa.array(stamps.dt.strftime("%Y-%m-%d"), pa.string(), from_pandas=True),
    )
