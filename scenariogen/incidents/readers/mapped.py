"""Any CSV with one row per incident, through a column mapping: no code for a table of unknown columns.

``--map record_id=id --map kind=type --map start=begin --map duration=minutes:min --map lon=x --map lat=y``. Times are
epoch seconds or text as :func:`scenariogen.incidents.readers.values.time_of` reads it; text without an offset is in
the time zone of the options, UTC where none is given. ``lanes_closed`` is a number, or words about lanes.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError, Problems
from scenariogen.heads import FileHead, Made
from scenariogen.incidents.events import EndIs, Event
from scenariogen.incidents.lane_words import MOST_LANES, SOME_LANES_SAID, Lanes, all_lanes, certain, lanes_from_words
from scenariogen.incidents.readers.cells import Cells, cells_of
from scenariogen.incidents.readers.contract import EventOptions, EventReader
from scenariogen.incidents.readers.rows import table_rows
from scenariogen.incidents.readers.values import count_of, direction_of, number_of, text_of, truth_of
from scenariogen.incidents.vocabulary import ALWAYS_PLANNED, kind_of_words
from scenariogen.mapping import Source, missing_columns
from scenariogen.units import zone_of

EVENT_DIMENSIONS: dict[str, str | None] = {
    "record_id": None,
    "kind": None,
    "start": None,
    "end": None,
    "duration": "time",
    "lanes_closed": None,
    "lanes_total": None,
    "full_closure": None,
    "lon": "angle",
    "lat": "angle",
    "road": None,
    "direction": None,
    "milepost": None,
}
"""Fields of a mapping, with the dimension of their unit where they have one."""
LONGEST_DURATION_S = 1e9


class MappedEventReader(EventReader):
    """A table of any columns, by a mapping."""

    name = "csv"
    title = "a table, read by a column mapping"

    def recognises(self, head: FileHead) -> bool:
        return False  # what the columns mean has to be said

    def events(self, head: FileHead, book: AccountBook, options: EventOptions) -> Iterator[Event]:
        mapping = options.mapping
        _check(head, mapping)
        zone = zone_of(options.time_zone)
        for name, source in mapping.items():
            unit = f" in {source.unit}" if source.unit else ", in SI units" if EVENT_DIMENSIONS[name] else ""
            book.units[name] = f"{source.column}{unit}"
        book.units["start"] += f", in {options.time_zone or 'UTC (assumed)'} where a time has no offset"
        if "lanes_closed" in mapping:
            book.derived["lanes_closed"] = SOME_LANES_SAID
        if "record_id" not in mapping:
            book.derived["record_id"] = "number of the row, since no column is mapped to it"
        columns = {name: source.column.strip().casefold() for name, source in mapping.items()}
        times = [columns[name] for name in ("start", "end") if name in columns]
        read = _Row(mapping=mapping, cells=cells_of(partial(table_rows, head), times, book, zone))
        for number, row in enumerate(table_rows(head, book), start=1):
            yield _event({name: row.get(column, "") for name, column in columns.items()}, read, f"row {number}")


@dataclass(frozen=True, kw_only=True)
class _Row:
    """How the fields of a row are read."""

    mapping: Mapping[str, Source]
    cells: Cells

    def time(self, row: Mapping[str, str], name: str) -> datetime | None:
        return self.cells.time(row.get(name), self.mapping[name].column) if name in self.mapping else None

    def scaled(self, row: Mapping[str, str], name: str) -> float | None:
        """A number in SI units."""
        if name not in self.mapping:
            return None
        number = self.cells.number(row.get(name), self.mapping[name].column)
        return None if number is None else number * self.mapping[name].factor


def _check(head: FileHead, mapping: Mapping[str, Source]) -> None:
    problems = Problems(f"{head.path} as a table of incidents")
    if head.made is not Made.TEXT:
        problems.add(f"it is {head.made.value}, expected text with one row a line")
        problems.raise_as(DataError)
    if not mapping:
        problems.add(f"no column is mapped; it has {', '.join(head.header[:30])}. Give --map FIELD=COLUMN:UNIT")
    strangers = sorted(set(mapping) - set(EVENT_DIMENSIONS))
    if strangers:
        problems.add(f"unknown fields {', '.join(strangers)}, expected {', '.join(EVENT_DIMENSIONS)}")
    if mapping and "start" not in mapping:
        problems.add("no column is mapped to start")
    if mapping and not ({"lon", "lat"} <= set(mapping) or "road" in mapping):
        problems.add("no place is mapped: give lon and lat, or road (with milepost)")
    for one, other in (("lon", "lat"), ("lat", "lon")):
        if one in mapping and other not in mapping:
            problems.add(f"{one} is mapped and {other} is not")
    if "end" in mapping and "duration" in mapping:
        problems.add("both end and duration are mapped; one says it all")
    problems.extend(missing_columns(mapping, head.header))
    problems.raise_as(DataError)


def _event(cells: Mapping[str, str], read: _Row, row_id: str) -> Event:
    kind_text = text_of(cells.get("kind"))
    kind = kind_of_words(kind_text)
    start = read.time(cells, "start")
    end = _end(cells, read, start)
    total = count_of(cells.get("lanes_total"))
    lanes = _lanes(cells, total)
    lon, lat = (read.scaled(cells, name) for name in ("lon", "lat"))
    return Event(
        record_id=text_of(cells["record_id"]) if "record_id" in cells else row_id,
        kind=kind,
        kind_text=kind_text,
        is_planned=kind in ALWAYS_PLANNED,
        start=start,
        end=end,
        end_is=EndIs.UNKNOWN if end is None else EndIs.PLANNED if kind in ALWAYS_PLANNED else EndIs.OBSERVED,
        lanes_total=total,
        lanes_closed=lanes.closed,
        lanes_side=lanes.side,
        shoulder_only=lanes.shoulder_only,
        full_closure=lanes.full_closure,
        points=((lon, lat),) if lon is not None and lat is not None else (),
        road=text_of(cells.get("road")),
        direction=direction_of(cells.get("direction")),
        milepost=read.scaled(cells, "milepost"),
    )


def _end(cells: Mapping[str, str], read: _Row, start: datetime | None) -> datetime | None:
    duration_s = read.scaled(cells, "duration")
    if duration_s is None:
        return read.time(cells, "end")
    if start is None or abs(duration_s) > LONGEST_DURATION_S:
        return None
    try:
        return start + timedelta(seconds=duration_s)
    except OverflowError:
        return None


def _lanes(cells: Mapping[str, str], total: int | None) -> Lanes:
    if truth_of(cells.get("full_closure")):
        return all_lanes(total)
    number = number_of(cells.get("lanes_closed"))
    if number is None:
        return lanes_from_words(text_of(cells.get("lanes_closed")), total=total)
    if number != int(number) or not 0 <= number <= MOST_LANES:
        return Lanes()
    return Lanes(closed=certain(int(number)), full_closure=total is not None and number == total)
