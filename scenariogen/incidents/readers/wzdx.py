"""Work Zone Data Exchange: feeds (GeoJSON) of versions 2.0 to 4.2, and their flattened CSV exports.

After *Work Zone Data Exchange Specification* (U.S. Department of Transportation, versions 2.0, 2020, to 4.2, 2023).
Before 4.0 the properties of a road event are flat, from 4.0 on some stand in ``core_details``; the header is called
``road_event_feed_info`` or ``feed_info``, whatever the version. Detours are other roads to take, not closures; device
feeds hold no road event.

``vehicle_impact`` is often all that is said about lanes; see :mod:`scenariogen.incidents.readers.wzdx_event`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import tzinfo
from typing import Any

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made
from scenariogen.incidents.events import Event, Points
from scenariogen.incidents.lane_words import SOME_LANES_SAID
from scenariogen.incidents.readers.contract import EventOptions, EventReader
from scenariogen.incidents.readers.geometry import from_geojson, from_text
from scenariogen.incidents.readers.rows import json_items, table_rows
from scenariogen.incidents.readers.values import list_of, mapping_of, number_of, text_of, time_of
from scenariogen.incidents.readers.wzdx_event import IMPACTS_SAID, FeedInfo, road_event
from scenariogen.units import zone_of

HEADERS = ("feed_info", "road_event_feed_info")
_JSON_MARKS = ('"road_event_feed_info"', '"core_details"', '"vehicle_impact"', '"road_event_id"')
CSV_MARKS = ("vehicle_impact", "start_date", "end_date")
GEOMETRY_COLUMNS = ("geometry", "the_geom", "geom", "linestring", "multipoint", "wkt", "shape")
END_COLUMNS = (
    ("beginning_longitude", "beginning_latitude"),
    ("longitude", "latitude"),
    ("ending_longitude", "ending_latitude"),
)
"""Columns of the two ends of an event, or of one point, where an export has no geometry."""
DEVICE_FEED = (
    "is a WZDx device feed: it holds devices (arrow boards, cameras, ...) and no road event; expected a work zone feed"
)


class WzdxReader(EventReader):
    """A WZDx work zone feed or its CSV export."""

    name = "wzdx"
    title = "a work zone feed (WZDx)"

    def recognises(self, head: FileHead) -> bool:
        if head.made is Made.JSON:
            is_feed = '"feed_info"' in head.text and '"features"' in head.text
            return is_feed or any(mark in head.text for mark in _JSON_MARKS)
        return head.made is Made.TEXT and _flat_names(head.header).keys() >= set(CSV_MARKS)

    def events(self, head: FileHead, book: AccountBook, options: EventOptions) -> Iterator[Event]:
        book.units |= {
            "start": f"start_date, ISO 8601 ({options.time_zone or 'UTC'} where no offset is given)",
            "lon_deg, lat_deg": "geometry in degrees (WGS 84)",
            "milepost": "as the source counts it (miles in the United States)",
        }
        book.derived["lanes_closed"] = (
            f"lanes where they are listed and agree with vehicle_impact, else that. {IMPACTS_SAID}; {SOME_LANES_SAID}"
        )
        zone = zone_of(options.time_zone)
        yield from _from_csv(head, book, zone) if head.made is Made.TEXT else _from_json(head, book, zone)


def _from_json(head: FileHead, book: AccountBook, zone: tzinfo) -> Iterator[Event]:
    info = _feed_info(head, book, zone)
    devices = 0
    for feature in json_items(head, "features.item"):
        book.rows += 1
        properties = mapping_of(mapping_of(feature).get("properties"))
        if not properties:
            book.drop("no GeoJSON feature with properties")
        elif "device_type" in mapping_of(properties.get("core_details")):
            devices += 1
            book.drop("a device, not a road event")
        else:
            event = road_event(properties, _points(feature, book), text_of(feature.get("id")), info, book)
            if event is not None:
                yield event
    if devices and devices == book.rows:
        raise DataError(f"{head.path} {DEVICE_FEED}")


def _feed_info(head: FileHead, book: AccountBook, zone: tzinfo) -> FeedInfo:
    """Version and time of the feed, wherever in the file its header stands."""
    for name in HEADERS:
        for value in json_items(head, name):
            info = mapping_of(value)
            version = text_of(info.get("version"))
            book.facts["version"] = f"WZDx {version or 'without a version'}, header {name}"
            return FeedInfo(version=version, updated=time_of(info.get("update_date"), zone), zone=zone)
    book.note("the feed has no header, so its version and time are unknown")
    return FeedInfo(zone=zone)


def _points(feature: Mapping[str, Any], book: AccountBook) -> Points:
    geometry = mapping_of(feature.get("geometry"))
    if not geometry:
        return ()
    try:
        points = from_geojson(geometry)
    except ValueError as error:
        book.note(f"have {error}: taken as empty", rows=1)
        return ()
    if geometry.get("type") == "MultiPoint" and len(points) > 1:
        book.note("have a MultiPoint for a place: joined by straight lines", rows=1)
    return points


def _flat_names(header: tuple[str, ...]) -> dict[str, str]:
    """Last part of each column's name to the name as rows have it: ``core_details.direction`` is ``direction``."""
    found: dict[str, str] = {}
    for name in header:
        plain = name.strip().casefold()
        for mark in ("core_details.", "core_details_", "coredetails_", "properties."):
            before, found_mark, rest = plain.partition(mark)
            plain = rest if found_mark and (not before or before.endswith(".")) else plain
        found.setdefault(plain, name.strip().casefold())
    return found


def _from_csv(head: FileHead, book: AccountBook, zone: tzinfo) -> Iterator[Event]:
    names = _flat_names(head.header)
    book.facts["version"] = "a CSV export, which does not say its version"
    geometry = next((names[name] for name in GEOMETRY_COLUMNS if name in names), "")
    ends = [pair for pair in END_COLUMNS if set(pair) <= set(names)]
    if not geometry and ends:
        book.units["lon_deg, lat_deg"] = f"{', '.join(name for pair in ends for name in pair)} in degrees (WGS 84)"
    elif not geometry:
        book.note("the export has no column with a geometry")
    for row in table_rows(head, book):
        properties = {name: _cell(row[column]) for name, column in names.items()}
        points: Points = ()
        if not geometry:
            points = _ends(row, [(names[lon], names[lat]) for lon, lat in ends])
        elif text_of(row.get(geometry)):
            shape = _cell(row[geometry])
            try:
                points = from_geojson(shape) if isinstance(shape, dict) else from_text(row[geometry])
            except json.JSONDecodeError:
                book.note("have a geometry that is no JSON: taken as empty", rows=1)
            except ValueError as error:
                book.note(f"have {error}: taken as empty", rows=1)
        identifier = text_of(properties.get("road_event_id")) or text_of(properties.get("id"))
        event = road_event(properties, points, identifier, FeedInfo(zone=zone), book)
        if event is not None:
            yield event


def _ends(row: Mapping[str, str], ends: Sequence[tuple[str, str]]) -> Points:
    """The ends of an event that have both coordinates, each once."""
    degrees = [(number_of(row.get(lon)), number_of(row.get(lat))) for lon, lat in ends]
    return tuple(dict.fromkeys((lon, lat) for lon, lat in degrees if lon is not None and lat is not None))


def _cell(text: str) -> Any:
    """A cell as what it holds: a JSON list or object, else the text. Python's quotation marks are read too."""
    bare = text.strip()
    if not bare.startswith(("[", "{")):
        return text
    for candidate in (bare, bare.replace("'", '"')):
        try:
            value = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        return value if mapping_of(value) or list_of(value) else ""
    return text
