"""STATS19: injury collisions of Great Britain, the collision table as CSV.

After *STATS20: instructions for the completion of road accident reports* (Department for Transport, 2011) and the
department's open data guide: days as dd/mm/yyyy, times as HH:MM, both local; speed limits in miles per hour; -1 for
what is missing. The tables hold neither duration nor lanes: those columns stay empty.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo

from scenariogen.accounts import AccountBook
from scenariogen.heads import FileHead, Made
from scenariogen.incidents.events import Event, EventKind
from scenariogen.incidents.readers.contract import Bounds, EventOptions, EventReader
from scenariogen.incidents.readers.rows import table_rows
from scenariogen.incidents.readers.values import count_of, number_of, text_of, time_of
from scenariogen.units import MPS_PER_MPH, zone_of

IDS = ("collision_index", "accident_index")
SEVERITIES = ("collision_severity", "accident_severity")
MARKS = frozenset({"date", "time", "longitude", "latitude", "speed_limit"})
ROAD_CLASS = ("first_road_class", "1st_road_class")
ROAD_NUMBER = ("first_road_number", "1st_road_number")
"""Names of the columns today and in tables from before they were renamed."""
ZONE = "Europe/London"
SEVERITY_WORDS = {1: "fatal", 2: "serious", 3: "slight"}
ROAD_CLASSES = {1: "M", 2: "A", 3: "A", 4: "B", 5: "C"}
"""Code of a road class to the letter before its number: motorway, A(M), A, B, C; 6 is unclassified."""
MOTORWAY_STANDARD = 2
FASTEST_LIMIT_MPH = 70


class Stats19Reader(EventReader):
    """The STATS19 collision table."""

    name = "stats19"
    title = "the STATS19 collision table"
    bounds = Bounds(west=-9.5, south=49.0, east=2.5, north=61.5)
    time_zone = ZONE

    def recognises(self, head: FileHead) -> bool:
        names = {name.casefold() for name in head.header}
        return (
            head.made is Made.TEXT
            and names >= MARKS
            and all(any(name in names for name in either) for either in (IDS, ROAD_CLASS, ROAD_NUMBER))
        )

    def events(self, head: FileHead, book: AccountBook, options: EventOptions) -> Iterator[Event]:
        zone = zone_of(options.time_zone or ZONE)
        book.units |= {
            "start": f"date and time, local ({options.time_zone or ZONE})",
            "lon_deg, lat_deg": "longitude, latitude in degrees (WGS 84)",
            "speed_limit_mps": "speed_limit in miles per hour",
        }
        book.facts["not there"] = "durations and lanes: the table has none"
        for row in table_rows(head, book):
            event = _event(row, zone, book)
            if event is not None:
                yield event


def _event(row: Mapping[str, str], zone: tzinfo, book: AccountBook) -> Event | None:
    clock = text_of(row.get("time"))
    if not clock:
        book.drop("without a time of day")
        return None
    lon, lat = number_of(row.get("longitude")), number_of(row.get("latitude"))
    severity = count_of(_first(row, SEVERITIES))
    limit_mph = number_of(row.get("speed_limit"))
    has_limit = limit_mph is not None and 0 < limit_mph <= FASTEST_LIMIT_MPH
    return Event(
        record_id=text_of(_first(row, IDS)),
        kind=EventKind.CRASH,
        kind_text=f"{SEVERITY_WORDS[severity]} collision" if severity in SEVERITY_WORDS else "collision",
        start=time_of(f"{text_of(row.get('date'))} {clock}", zone, day_first=True),
        points=((lon, lat),) if lon is not None and lat is not None else (),
        road=_road(row),
        speed_limit_mps=limit_mph * MPS_PER_MPH if has_limit and limit_mph is not None else None,
    )


def _first(row: Mapping[str, str], names: Sequence[str]) -> str | None:
    return next((row[name] for name in names if name in row), None)


def _road(row: Mapping[str, str]) -> str:
    kind = count_of(_first(row, ROAD_CLASS))
    number = count_of(_first(row, ROAD_NUMBER), most=9999)
    if kind not in ROAD_CLASSES or number is None:
        return ""
    return f"{ROAD_CLASSES[kind]}{number}" + ("(M)" if kind == MOTORWAY_STANDARD else "")
