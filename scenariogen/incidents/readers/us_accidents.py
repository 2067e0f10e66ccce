"""US-Accidents: crashes of the contiguous United States, 2016 to 2023, as one CSV.

After S. Moosavi, M. H. Samavatian, S. Parthasarathy, R. Ramnath, *A Countrywide Traffic Accident Dataset* (2019): times
are local, with the zone's name in ``Timezone``; start and end are two points on the road; ``End_Time`` is when the
effect on traffic was over by the service that reported it, not when a crew cleared the road. Of the description, which
is free text and never kept, only phrases about closed lanes are read that stand between full stops, dashes and "due to"
("Right lane blocked due to accident on ..."): elsewhere numbers are those of roads and exits.
"""

import re
from collections.abc import Iterator, Mapping

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made
from scenariogen.incidents.events import EndIs, Event, EventKind, Points
from scenariogen.incidents.lane_words import NOTHING_SAID, SOME_LANES_SAID, Lanes, all_lanes, lanes_from_words
from scenariogen.incidents.readers.contract import Bounds, EventOptions, EventReader
from scenariogen.incidents.readers.rows import table_rows
from scenariogen.incidents.readers.values import number_of, text_of, time_of
from scenariogen.units import zone_of

_PHRASE_ENDS = re.compile(r"[.;,]\s|[.;,]$|\s-\s|\bdue to\b|\bbecause of\b", re.I)
_LANES = re.compile(
    r"(?:(?:the|all|no|\d|one|two|three|four|five|left|right|center|centre|middle|hov|hand|and|outside|inside)\s+)*"
    r"lanes?\s+(?:is\s+|are\s+)?(?:blocked|closed)",
    re.I,
)
_CLOSED = re.compile(
    r"(?:the\s+)?(?:road|roadway|highway|freeway)(?:\s+is)?\s+closed|closed\s+(?:between|at|from)\b.*", re.I
)
MARKS = frozenset({"id", "severity", "start_time", "end_time", "start_lat", "start_lng"})


class UsAccidentsReader(EventReader):
    """The US-Accidents CSV."""

    name = "us-accidents"
    title = "the US-Accidents table"
    bounds = Bounds(west=-180.0, south=15.0, east=-60.0, north=72.0)

    def recognises(self, head: FileHead) -> bool:
        return head.made is Made.TEXT and {name.casefold() for name in head.header} >= MARKS

    def events(self, head: FileHead, book: AccountBook, options: EventOptions) -> Iterator[Event]:
        zone_of(options.time_zone)
        book.units |= {
            "start": "Start_Time, local time of the row's Timezone",
            "lon_deg, lat_deg": "Start_Lng, Start_Lat and End_Lng, End_Lat in degrees (WGS 84)",
        }
        book.derived["lanes_closed"] = f"phrases about closed lanes in Description; {SOME_LANES_SAID}"
        book.derived["end"] = "End_Time: when the effect on traffic was over, as the service saw it"
        for row in table_rows(head, book):
            event = _event(row, book, options.time_zone)
            if event is not None:
                yield event


def _event(row: Mapping[str, str], book: AccountBook, other_zone: str) -> Event | None:
    name = text_of(row.get("timezone")) or other_zone
    if not name:
        book.drop("without a time zone; name one with --time-zone")
        return None
    try:
        zone = zone_of(name)
    except DataError:
        book.drop("with a time zone that does not exist")
        return None
    end = time_of(row.get("end_time"), zone)
    lanes = lanes_described(text_of(row.get("description")))
    return Event(
        record_id=text_of(row.get("id")),
        kind=EventKind.CRASH,
        kind_text=_severity(row),
        start=time_of(row.get("start_time"), zone),
        end=end,
        end_is=EndIs.OBSERVED if end is not None else EndIs.UNKNOWN,
        points=_points(row),
        road=text_of(row.get("street")),
        lanes_closed=lanes.closed,
        lanes_side=lanes.side,
        full_closure=lanes.full_closure,
    )


def lanes_described(text: str) -> Lanes:
    """What a description says of closed lanes.

    >>> lanes_described("Right lane blocked due to accident on I-70 at Exit 41 OH-235.").side
    'right'
    >>> lanes_described("Accident on 4 Mile Rd at Exit 3.").closed is None
    True
    """
    for phrase in (part.strip() for part in _PHRASE_ENDS.split(text)):
        if _CLOSED.fullmatch(phrase):
            return all_lanes(None)
        if _LANES.fullmatch(phrase):
            return lanes_from_words(phrase)
    return NOTHING_SAID


def _severity(row: Mapping[str, str]) -> str:
    severity = number_of(row.get("severity"))
    return "accident" if severity is None else f"accident of severity {severity:g}"


def _points(row: Mapping[str, str]) -> Points:
    found: list[tuple[float, float]] = []
    for lon_name, lat_name in (("start_lng", "start_lat"), ("end_lng", "end_lat")):
        lon, lat = number_of(row.get(lon_name)), number_of(row.get(lat_name))
        if lon is not None and lat is not None and (lon, lat) not in found:
            found.append((lon, lat))
    return tuple(found)
