"""Small handmade records in every format, and a short way to convert them."""

import json
from pathlib import Path
from typing import Any

from scenariogen.accounts import FileAccount
from scenariogen.heads import read_head
from scenariogen.incidents.event_files import convert_events, read_events
from scenariogen.incidents.event_formats import find_event_reader
from scenariogen.incidents.readers.contract import EventOptions
from scenariogen.incidents.readers.mapped import EVENT_DIMENSIONS
from scenariogen.mapping import parse_mapping


def work_zone(identifier: str = "a", **changes: Any) -> dict[str, Any]:
    """A WZDx 4.2 feature; ``changes`` replace properties."""
    core = {"event_type": "work-zone", "data_source_id": "1", "road_names": ["I-5"], "direction": "northbound"}
    core |= changes.pop("core_details", {})
    properties = {
        "core_details": core,
        "start_date": "2024-03-01T08:00:00Z",
        "end_date": "2024-03-01T16:00:00Z",
        "vehicle_impact": "some-lanes-closed",
        **changes,
    }
    geometry = {"type": "LineString", "coordinates": [[-122.0, 38.0], [-122.02, 38.0]]}
    return {"type": "Feature", "id": identifier, "properties": properties, "geometry": geometry}


def feed(*features: Any, header: str = "feed_info", version: str = "4.2") -> str:
    """A work zone feed."""
    info = {"version": version, "update_date": "2024-03-01T12:00:00Z", "publisher": "Test", "data_sources": []}
    return json.dumps({header: info, "type": "FeatureCollection", "features": list(features)})


DATEX2 = """<?xml version="1.0" encoding="UTF-8"?>
<d2LogicalModel xmlns="http://datex2.eu/schema/2/2_0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 modelBaseVersion="2"><exchange/><payloadPublication lang="en" xsi:type="SituationPublication">
<publicationTime>2024-03-01T10:00:00+01:00</publicationTime>{situations}</payloadPublication></d2LogicalModel>"""
ACCIDENT = """<situation id="{id}" version="1"><headerInformation><informationStatus>{status}</informationStatus>
</headerInformation><situationRecord id="{id}-1" version="1" xsi:type="Accident">
<situationRecordCreationTime>2024-03-01T09:00:00+01:00</situationRecordCreationTime>
<situationRecordVersionTime>2024-03-01T09:20:00+01:00</situationRecordVersionTime><validity>
<validityStatus>active</validityStatus><validityTimeSpecification>
<overallStartTime>2024-03-01T09:00:00+01:00</overallStartTime>{end}</validityTimeSpecification></validity>
<groupOfLocations xsi:type="Point"><pointByCoordinates><pointCoordinates><latitude>60.2</latitude>
<longitude>24.9</longitude></pointCoordinates></pointByCoordinates></groupOfLocations>
<accidentType>accident</accidentType></situationRecord>
<situationRecord id="{id}-2" version="1" xsi:type="RoadOrCarriagewayOrLaneManagement">
<situationRecordVersionTime>2024-03-01T09:20:00+01:00</situationRecordVersionTime><validity>
<validityStatus>active</validityStatus><validityTimeSpecification>
<overallStartTime>2024-03-01T09:05:00+01:00</overallStartTime>{end}</validityTimeSpecification></validity>
<groupOfLocations xsi:type="Point"/>{closing}</situationRecord></situation>"""
CLOSED = "<roadOrCarriagewayOrLaneManagementType>laneClosures</roadOrCarriagewayOrLaneManagementType>"


def accident(identifier: str = "s1", *, status: str = "real", end: str = "", closing: str = CLOSED) -> str:
    """A DATEX II version 2 situation of an accident and a lane closure."""
    words = f"<overallEndTime>{end}</overallEndTime>" if end else ""
    return ACCIDENT.format(id=identifier, status=status, end=words, closing=closing)


def datex2(*situations: str) -> str:
    """A version 2 message."""
    return DATEX2.format(situations="".join(situations))


LOG511_HEADER = (
    "ID,EventType,EventSubType,StartDate,LastUpdated,PlannedEndDate,LanesAffected,IsFullClosure,Latitude,Longitude,"
    "RoadwayName,DirectionOfTravel,EncodedPolyline,LaneCount"
)


def log511(*rows: str) -> str:
    """A 511 event log."""
    return "\n".join([LOG511_HEADER, *rows]) + "\n"


LOG_ROW = (
    "1,accidentsAndIncidents,crashRlane,1709280000,1709283600.0,,2 Left Lanes Closed,0,33.4,-112.0,I-10,east,None,4.0"
)
US_ACCIDENTS = (
    "ID,Source,Severity,Start_Time,End_Time,Start_Lat,Start_Lng,End_Lat,End_Lng,Distance(mi),Description,Street,Timezone\n"
    "A-1,Source2,3,2019-07-01 08:00:00,2019-07-01 08:45:00,39.86,-84.05,,,0.01,text,I-70 E,US/Eastern\n"
)
STATS19 = (
    "collision_index,longitude,latitude,collision_severity,date,time,first_road_class,first_road_number,speed_limit\n"
    "2023010001,-0.12,51.5,2,01/07/2023,08:30,3,40,30\n"
)
TABLE = "key;what;begin;minutes;shut;of;x;y\nk1;Unfall crash;2024-03-01 08:00:00;45;1;3;11.5;48.1\n"
TABLE_MAPPING = (
    "record_id=key", "kind=what", "start=begin", "duration=minutes:min", "lanes_closed=shut", "lanes_total=of",
    "lon=x", "lat=y",
)  # fmt: skip
SAMPLES: dict[str, str] = {
    "wzdx": feed(work_zone("a"), work_zone("b", vehicle_impact="all-lanes-closed")),
    "datex2": datex2(accident("s1"), accident("s2", end="2024-03-01T09:45:00+01:00")),
    "log511": log511(LOG_ROW),
    "us-accidents": US_ACCIDENTS,
    "stats19": STATS19,
    "csv": TABLE,
}
"""One valid file for every registered format."""


def convert_text(
    folder: Path, text: str | bytes, *, name: str = "file", mapping: tuple[str, ...] = (), time_zone: str = ""
) -> tuple[list[dict[str, Any]], FileAccount]:
    """Rows and account of a file with that text. Raises what conversion raises."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    head = read_head(path)
    reader = find_event_reader(head, is_mapped=bool(mapping))
    options = EventOptions(mapping=parse_mapping(mapping, EVENT_DIMENSIONS), time_zone=time_zone)
    target = folder / "incidents.parquet"
    account = convert_events(head, reader, target, options=options)
    return read_events(target).to_pylist(), account


def one(folder: Path, text: str | bytes, **options: Any) -> dict[str, Any]:
    """The only row of a file with that text."""
    rows, _ = convert_text(folder, text, **options)
    assert len(rows) == 1
    return rows[0]
