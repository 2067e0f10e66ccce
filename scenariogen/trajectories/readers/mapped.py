"""Any table with one row per vehicle and time, through a column mapping: no code for a set of unknown columns.

``--map time=t:s --map vehicle=id --map x=x:m --map y=y:m --map speed=v:km/h``. Times are numbers with a unit, frame
counts (``frame:1/25s``), or ISO 8601 text; text is split by date into recordings and becomes the seconds after
midnight (of UTC where it carries an offset).
"""

from collections.abc import Iterator, Mapping
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


_DATE = r"^\s*\d{4}-\d{2}-\d{2}"


class MappedReader(TrajectoryReader):
    """A table of any columns, by a mapping."""

    name = "csv"
    title = "a table, read by a column mapping"

    def recognises(self, head: FileHead) -> bool:
        return False  # what the columns mean has to be said

    def tables(self, head: FileHead, book: AccountBook, options: ReadOptions) -> Iterator["pa.Table"]:
        mapping = options.mapping
        self._check(head, mapping)
        for name, source in mapping.items():
            unit = source.unit or ("as SI" if DIMENSIONS[name] else "")
            book.units[FIELDS[name][0]] = f"{source.column} {f'in {unit}' if source.unit else unit}".strip()
        for block in tables.text_blocks(head, book, [source.column for source in mapping.values()]):
            yield _table(block, mapping, book)

    def _check(self, head: FileHead, mapping: Mapping[str, Source]) -> None:
        problems = Problems(f"{head.path} as a table")
        if head.made is not Made.TEXT:
            problems.add(f"it is {head.made.value}, expected text with one row a line")
            problems.raise_as(DataError)
        if not mapping:
            problems.add(f"no column is mapped; it has {', '.join(head.header[:30])}. Give --map FIELD=COLUMN:UNIT")
        for name in ("time", "vehicle"):
            if mapping and name not in mapping:
                problems.add(f"no column is mapped to {name}")
        if mapping and not any(all(name in mapping for name in place) for place in PLACES_BY_FIELDS):
            problems.add("no place is mapped: give x and y, lon and lat, road_position, or edge, lane and position")
        problems.extend(missing_columns(mapping, head.header))
        problems.raise_as(DataError)


def _table(block: "pa.Table", mapping: Mapping[str, Source], book: AccountBook) -> "pa.Table":
    import pyarrow as pa

    made: dict[str, pa.Array] = {}
    for name, source in mapping.items():
        column, dimension = FIELDS[name]
        if name == "time":
            made.update(_times(block, source, book))
        elif dimension is not None:
            values = tables.numbers(block, source.column, book, factor=source.factor)
            made[column] = values.cast(columns.arrow_type(column))
        elif column in (columns.LANE, columns.ROAD_LANE):
            made[column] = tables.small_integers(tables.numbers(block, source.column, book))
        else:
            made[column] = tables.words(block[source.column])
    if "road_position" in mapping and "road" not in mapping:
        made[columns.ROAD] = pa.array([ONLY_ROAD], pa.string()).dictionary_encode().take(pa.array([0] * len(block)))
    if columns.RECORDING in made and "dates" in made:
        made[columns.RECORDING] = tables.words(_joined(made[columns.RECORDING], made.pop("dates")))
    elif "dates" in made:
        made[columns.RECORDING] = tables.words(made.pop("dates"))
    return pa.table(made)


def _times(block: "pa.Table", source: Source, book: AccountBook) -> dict[str, "pa.Array"]:
    """``time_s`` and, where times are dates, the dates."""
    import pandas as pd
    import pyarrow as pa

    text = block[source.column].combine_chunks()
    if source.unit:
        return {columns.TIME: tables.numbers(block, source.column, book, factor=source.factor)}
    if not _holds_dates(text):
        return {columns.TIME: tables.numbers(block, source.column, book)}
    stamps = pd.to_datetime(pd.Series(text.to_pandas()), format="ISO8601", utc=True, errors="coerce")
    wrong = int((stamps.isna() & ~pd.Series(text.is_null().to_pandas())).sum())
    if wrong:
        book.note(f"hold a time in {source.column} that is neither a number nor ISO 8601: taken as empty", rows=wrong)
    seconds = (stamps - stamps.dt.normalize()).dt.total_seconds()
    return {
        columns.TIME: pa.array(seconds, pa.float64(), from_pandas=True),
        "dates": pa.array(stamps.dt.strftime("%Y-%m-%d"), pa.string(), from_pandas=True),
    }


def _holds_dates(text: "pa.Array") -> bool:
    """True where the first cells that hold anything look like ``2024-05-01`` at their beginning."""
    pc = tables.compute()
    first = pc.drop_null(text).slice(0, 100)
    return len(first) > 0 and bool(pc.all(pc.match_substring_regex(first, _DATE)).as_py())


def _joined(names: "pa.Array", dates: "pa.Array") -> "pa.Array":
    import pyarrow as pa

    pc = tables.compute()
    return pc.binary_join_element_wise(names.cast(pa.string()), dates, " ")
