"""Event logs of American 511 services, as CSV or JSON, in the columns of the 511 developer interfaces.

After the events resource of those interfaces (*AZ511 Developer Resources*, Arizona Department of Transportation):
``ID``, ``EventType``, ``EventSubType``, ``StartDate``, ``PlannedEndDate``, ``LastUpdated``, ``LanesAffected``,
``Latitude``, ``Longitude``, ``EncodedPolyline``, ... in any order and case. Times are epoch seconds or text; text
without an offset is taken as UTC.

Such a log has no clearance time. A planned end is an end as planned. Without one, the last update is the last time at
which the event was known to be open: a lower bound, so the duration is censored.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made, open_json
from scenariogen.incidents.events import EndIs, Event, EventKind, Points
from scenariogen.incidents.lane_words import (
    NOTHING_SAID,
    SOME_LANES_SAID,
    Lanes,
    all_lanes,
    lanes_from_code,
    lanes_from_words,
)
from scenariogen.incidents.readers.cells import Cells, cells_of
from scenariogen.incidents.readers.contract import EventOptions, EventReader
from scenariogen.incidents.readers.geometry import from_polyline
from scenariogen.incidents.readers.rows import json_items, readable, small_letters, table_rows
from scenariogen.incidents.readers.values import count_of, direction_of, text_of, truth_of
from scenariogen.incidents.vocabulary import kind_of_words
from scenariogen.units import SECONDS_PER_DAY, zone_of

MARKS = ("startdate", "lastupdated", "eventsubtype", "eventtype", "lanesaffected", "isfullclosure", "directionoftravel")
MARKS_NEEDED = 4
_TIMES = ("startdate", "plannedenddate", "lastupdated")
_PLANNED_TYPES = ("roadwork", "closures", "specialevents", "construction")
MOST_DAYS = 3650.0


class Log511Reader(EventReader):
    """A 511-style event log."""

    name = "log511"
    title = "an event log of a 511 service"

    def recognises(self, head: FileHead) -> bool:
        if head.made is Made.TEXT:
            names = {name.casefold() for name in head.header}
        elif head.made is Made.JSON:
            text = head.text.casefold()
            names = {name for name in (*MARKS, "id") if f'"{name}"' in text}
        else:
            return False
        return {"id", "startdate"} <= names and sum(mark in names for mark in MARKS) >= MARKS_NEEDED

    def events(self, head: FileHead, book: AccountBook, options: EventOptions) -> Iterator[Event]:
        zone = zone_of(options.time_zone)
        zone_words = options.time_zone or "UTC (assumed where no offset is given)"
        book.units |= {
            "start": f"StartDate, epoch seconds or text in {zone_words}",
            "lon_deg, lat_deg": "Longitude, Latitude or EncodedPolyline in degrees (WGS 84)",
        }
        book.derived["end"] = "PlannedEndDate (planned) or else LastUpdated (still open then: a lower bound)"
        book.derived["lanes_closed"] = f"words of LanesAffected, else EventSubType; {SOME_LANES_SAID}"
        cells = cells_of(partial(_rows, head), _TIMES, book, zone)
        for row in _rows(head, book):
            yield _event(row, cells)


def _rows(head: FileHead, book: AccountBook) -> Iterator[Mapping[str, Any]]:
    return _json_rows(head, book) if head.made is Made.JSON else table_rows(head, book)


def _json_rows(head: FileHead, book: AccountBook) -> Iterator[dict[str, Any]]:
    """Objects of the list that holds the events, wherever it stands."""
    for item in json_items(head, _place_of_events(head)):
        book.rows += 1
        if isinstance(item, dict):
            yield small_letters(item)
        else:
            book.drop("no JSON object")


def _place_of_events(head: FileHead) -> str:
    import ijson

    with readable(head), open_json(head) as stream:
        for place, step, name in ijson.parse(stream):
            parts = place.split(".")
            if step == "map_key" and str(name).casefold() == "startdate" and "item" in parts:
                return ".".join(parts[: parts.index("item") + 1])  # schedules within an event have starts too
    raise DataError(f"{head.path} holds no list of events, expected a list of objects, each with a StartDate")


def _event(row: Mapping[str, Any], cells: Cells) -> Event:
    kind_text = text_of(row.get("eventsubtype")) or text_of(row.get("eventtype"))
    broad = text_of(row.get("eventtype")).lower()
    # In a closure or roadwork the subtype says which lanes, the type says what it is.
    by_type = {"roadwork": EventKind.PLANNED_WORK, "closures": EventKind.CLOSURE}.get(broad)
    kind = by_type or kind_of_words(text_of(row.get("eventsubtype")), broad)
    start = cells.time(row.get("startdate"), "StartDate")
    updated = cells.time(row.get("lastupdated"), "LastUpdated")
    end, end_is = _end(row, start, updated, cells)
    total = _lane_count(row, cells.book)
    lanes = _lanes(row, kind_text, total)
    return Event(
        record_id=text_of(row.get("id")),
        kind=kind,
        kind_text=kind_text,
        is_planned=kind is EventKind.PLANNED_WORK or broad in _PLANNED_TYPES,
        start=start,
        end=end,
        end_is=end_is,
        updated=updated,
        lanes_total=total,
        lanes_closed=lanes.closed,
        lanes_side=lanes.side,
        shoulder_only=lanes.shoulder_only,
        full_closure=lanes.full_closure,
        points=_points(row, cells),
        road=text_of(row.get("roadwayname")),
        direction=direction_of(row.get("directionoftravel")),
    )


def _end(
    row: Mapping[str, Any], start: datetime | None, updated: datetime | None, cells: Cells
) -> tuple[datetime | None, EndIs]:
    planned = cells.time(row.get("plannedenddate"), "PlannedEndDate")
    if planned is not None and planned.year > 2100:
        cells.book.note(
            f"have a planned end in the year {planned.year}, which stands for no end: taken as empty", rows=1
        )
        planned = None
    if planned is not None:
        return planned, EndIs.PLANNED
    hours = cells.number(row.get("duration_hours"), "duration_hours")
    if hours is not None and start is not None and abs(hours) * 3600.0 < MOST_DAYS * SECONDS_PER_DAY:
        return start + timedelta(hours=hours), EndIs.PLANNED
    if updated is None or _was_told_ahead(row, start, updated):
        return None, EndIs.UNKNOWN
    return updated, EndIs.LAST_UPDATE


def _was_told_ahead(row: Mapping[str, Any], start: datetime | None, updated: datetime) -> bool:
    """Works that are announced: what was said before they begin tells nothing of their end."""
    return start is not None and updated < start and text_of(row.get("eventtype")).lower() in _PLANNED_TYPES


def _lane_count(row: Mapping[str, Any], book: AccountBook) -> int | None:
    count = count_of(row.get("lanecount"))
    if count == 1:
        book.note("have a LaneCount of 1, which these logs write where they know nothing: taken as empty", rows=1)
        return None
    return count


def _lanes(row: Mapping[str, Any], kind_text: str, total: int | None) -> Lanes:
    if truth_of(row.get("isfullclosure")):
        return all_lanes(total)
    lanes = lanes_from_words(text_of(row.get("lanesaffected")), total=total, all_is_closed=True)
    return lanes if lanes != NOTHING_SAID else lanes_from_code(kind_text, total=total)


def _points(row: Mapping[str, Any], cells: Cells) -> Points:
    code = text_of(row.get("encodedpolyline"))
    if code:
        try:
            return from_polyline(code)
        except ValueError:
            cells.book.note("have an EncodedPolyline that cannot be decoded: its first point is taken", rows=1)
    lon, lat = cells.number(row.get("longitude"), "Longitude"), cells.number(row.get("latitude"), "Latitude")
    return ((lon, lat),) if lon is not None and lat is not None else ()
