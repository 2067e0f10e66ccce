"""Files as agencies write them although their format says otherwise, and what is told of cells that cannot be read."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scenariogen.errors import DataError
from scenariogen.incidents.events import EndIs, EventKind
from scenariogen.incidents.lane_words import ALTERNATING, certain
from scenariogen.incidents.readers.values import time_of
from tests.incidents.event_samples import (
    LOG511_HEADER,
    LOG_ROW,
    STATS19,
    accident,
    convert_text,
    datex2,
    feed,
    log511,
    one,
    work_zone,
)

MAPPING = ("record_id=id", "kind=type", "start=begin", "end=over", "lon=x", "lat=y")


def table(*spans: tuple[str, str]) -> str:
    rows = (f"{number},crash,{begin},{over},-1.5,52.4" for number, (begin, over) in enumerate(spans))
    return "\n".join(["id,type,begin,over,x,y", *rows]) + "\n"


@pytest.mark.parametrize(
    ("text", "hour"),
    [
        ("02/03/2024 08:00:00 PM", 20),
        ("2/3/2024 12:05 am", 0),
        ("2024-02-03 08:00:00 UTC", 8),
        ("202402030800", 8),
        ("20240203080000", 8),
        ("03.02.2024 08:00", 8),
    ],
)
def test_times_as_agencies_write_them(text: str, hour: int):
    found = time_of(text)
    assert found is not None and (found.date(), found.hour) == (datetime(2024, 2, 3).date(), hour)


@pytest.mark.parametrize("text", ["2024-02-03 13:00 PM", "03/14/24", "31.02.2024", "PM", "123456789012345678"])
def test_what_is_no_time_is_none(text: str):
    assert time_of(text) is None


def test_dates_with_slashes_are_read_as_one_of_them_tells(tmp_path: Path):
    rows, account = convert_text(
        tmp_path, table(("03/02/2024 08:00", "03/02/2024 09:00"), ("14/02/2024 08:00", "")), mapping=MAPPING
    )
    assert [(row["start"].month, row["start"].day) for row in rows] == [(2, 3), (2, 14)]
    assert any("day first, as 14/02/2024 in begin tells" in line for line in account.lines())
    rows, account = convert_text(tmp_path, table(("03/02/2024 08:00", "03/02/2024 09:00")), mapping=MAPPING)
    assert (rows[0]["start"].month, rows[0]["start"].day) == (3, 2)
    assert any("none of them tells which comes first" in line for line in account.lines())
    day_first = log511(LOG_ROW.replace("1709280000", "25/03/2024 08:00").replace("1709283600.0", "25/03/2024 09:00"))
    assert one(tmp_path, day_first)["start"] == datetime(2024, 3, 25, 8, tzinfo=UTC)


def test_cells_that_cannot_be_read_are_counted_with_an_example(tmp_path: Path):
    spans = (("2024-02-03 08:00", "2/3/24 9:30"), ("2024-02-03 08:00", "09:30"), ("2024-02-03 08:00", ""))
    rows, account = convert_text(tmp_path, table(*spans), mapping=MAPPING)
    assert [row["end_is"] for row in rows] == [EndIs.UNKNOWN] * 3
    (line,) = [line for line in account.lines() if "something else than a time in over" in line]
    assert "2 rows" in line and "2/3/24 9:30" in line
    minutes = table(("2024-02-03 08:00", "45,5")).replace("45,5", '"45,5"')
    mapping = tuple(each.replace("end=over", "duration=over:min") for each in MAPPING)
    _, account = convert_text(tmp_path, minutes, mapping=mapping)
    assert any("something else than a number in over" in line and "45,5" in line for line in account.lines())


@pytest.mark.parametrize(
    ("text", "zone", "utc_hour"),
    [
        (feed(work_zone(start_date="2024-03-01T08:00:00", end_date="2024-03-01T16:00:00")), "America/Phoenix", 15),
        (datex2(accident()).replace("+01:00", ""), "Europe/Amsterdam", None),
    ],
)
def test_times_without_an_offset_are_in_the_zone_that_was_named(tmp_path: Path, text: str, zone: str, utc_hour):
    without = one(tmp_path, text)["start"]
    row, account = convert_text(tmp_path, text, time_zone=zone)
    assert row[0]["start"].hour == (utc_hour if utc_hour is not None else (without.hour - 1) % 24)
    assert any(line.startswith("column") and zone in line for line in account.lines())


def lanes(*statuses: str, kinds: tuple[str, ...] = (), **more: Any) -> list[dict[str, Any]]:
    kinds = kinds or ("general",) * len(statuses)
    return [
        {"order": n, "type": kind, "status": status, **more}
        for n, (status, kind) in enumerate(zip(statuses, kinds, strict=True), 1)
    ]


@pytest.mark.parametrize(
    ("changes", "closed", "side", "full"),
    [
        ({"vehicle_impact": "alternating-one-way", "lanes": lanes("alternating-flow")}, ALTERNATING, "", False),
        ({"vehicle_impact": "some-lanes-closed-merge-left", "lanes": lanes("open", "open", "merge-left")},
         certain(1), "right", False),
        ({"vehicle_impact": "all-lanes-closed", "lanes": lanes("", "")}, None, "", True),
        ({"vehicle_impact": "all-lanes-closed", "total_num_lanes": 2, "lanes": lanes("", "")}, certain(2), "", True),
        ({"vehicle_impact": "some-lanes-closed", "lanes": lanes("closed")}, certain(1), "", False),
        ({"vehicle_impact": "all-lanes-open", "lanes": lanes("open", "closed", kinds=("lane", "right-exit-ramp"))},
         certain(0), "", False),
        ({"vehicle_impact": "some-lanes-closed", "lanes": lanes("closed", "open", "open", lane_edge_reference="right")},
         certain(1), "right", False),
        ({"vehicle_impact": "all-lanes-closed", "total_num_lanes": 3, "lanes": lanes("closed", kinds=("all",))},
         certain(3), "", True),
    ],
)  # fmt: skip
def test_listed_lanes_and_the_impact_are_read_together(tmp_path: Path, changes, closed, side, full):
    rows, account = convert_text(tmp_path, feed(work_zone(**changes)))
    (row,) = rows
    assert changes["vehicle_impact"] != "alternating-one-way" or "contradict" not in " ".join(account.lines())
    assert row["lanes_closed"] == (None if closed is None else pytest.approx(list(closed)))
    assert (row["lanes_side"], row["full_closure"]) == (side, full)


def record(kind: str, *parts: str) -> str:
    """One situation record of version 3 in a situation of its own."""
    return (
        f'<sit:situationRecord id="r" version="1" xsi:type="sit:{kind}">'
        "<sit:situationRecordVersionTime>2024-03-01T09:00:00Z</sit:situationRecordVersionTime>"
        "<sit:validity><com:validityStatus>active</com:validityStatus><com:validityTimeSpecification>"
        "<com:overallStartTime>2024-03-01T08:00:00Z</com:overallStartTime></com:validityTimeSpecification></sit:validity>"
        f"{''.join(parts)}</sit:situationRecord>"
    )


def cause(kind: str, detail: str = "") -> str:
    more = f"<sit:detailedCauseType>{detail}</sit:detailedCauseType>" if detail else ""
    return f"<sit:cause><sit:causeType>{kind}</sit:causeType>{more}</sit:cause>"


def management(kind: str) -> str:
    return f"<sit:roadOrCarriagewayOrLaneManagementType>{kind}</sit:roadOrCarriagewayOrLaneManagementType>"


def version_3(*records: str, space: str = "http://datex2.eu/schema/3") -> str:
    spaces = " ".join(
        f'xmlns:{short}="{space}/{name}"'
        for short, name in (
            ("d2", "d2Payload"),
            ("com", "common"),
            ("sit", "situation"),
            ("loc", "locationReferencing"),
        )
    )
    return (
        f'<d2:payload {spaces} xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:type="sit:SituationPublication">'
        "<com:publicationTime>2024-03-01T10:00:00Z</com:publicationTime>"
        f'<sit:situation id="s">{"".join(records)}</sit:situation></d2:payload>'
    )


CLOSED = management("roadClosed")
VEHICLE = "<sit:vehicleObstructionType>brokenDownVehicle</sit:vehicleObstructionType>"
WORKS = "<sit:roadMaintenanceType>roadworks</sit:roadMaintenanceType>"
_WHOM = "forVehiclesWithCharacteristicsOf"
LORRIES = f"<sit:{_WHOM}><com:vehicleType>lorry</com:vehicleType></sit:{_WHOM}>"


@pytest.mark.parametrize(
    ("records", "kind", "full"),
    [
        ([record("GenericSituationRecord", cause("accident"))], EventKind.CRASH, False),
        ([record("GenericSituationRecord", cause("vehicleObstruction", VEHICLE))], EventKind.BREAKDOWN, False),
        ([record("RoadOrCarriagewayOrLaneManagement", cause("accident"), management("laneClosures"))],
         EventKind.CRASH, False),
        ([record("RoadOrCarriagewayOrLaneManagement", cause("roadMaintenance", WORKS), CLOSED)],
         EventKind.PLANNED_WORK, True),
        ([record("RoadOrCarriagewayOrLaneManagement", CLOSED)], EventKind.CLOSURE, True),
        ([record("RoadOrCarriagewayOrLaneManagement", LORRIES, CLOSED), record("Accident")], EventKind.CRASH, False),
    ],
)  # fmt: skip
def test_a_record_of_datex2_may_say_its_kind_by_its_cause(tmp_path: Path, records, kind, full):
    row = one(tmp_path, version_3(*records))
    assert (row["kind"], row["full_closure"]) == (kind, full)


def test_a_profile_with_a_namespace_of_its_own_is_datex2(tmp_path: Path):
    rows, account = convert_text(tmp_path, version_3(record("Accident"), space="http://levelC/schema/3"))
    assert rows[0]["kind"] == EventKind.CRASH and "DATEX II version 3" in account.facts["version"]


def test_an_end_that_nobody_dates_is_unknown(tmp_path: Path):
    over = "<com:lifeCycleManagement><com:end>true</com:end></com:lifeCycleManagement>"
    text = version_3(record("Accident", over))
    for name in ("publicationTime", "situationRecordVersionTime"):
        start, end = text.index(f":{name}>"), text.index(f":{name}>", text.index(f":{name}>") + 5)
        text = text[: text.rindex("<", 0, start)] + text[end + len(name) + 2 :]
    row = one(tmp_path, text)
    assert (row["end"], row["end_is"], row["status"]) == (None, EndIs.UNKNOWN, "ended")


def test_a_line_between_two_points_leads_from_the_upstream_one(tmp_path: Path):
    def end(name: str, lat: float) -> str:
        place = f"<loc:latitude>{lat}</loc:latitude><loc:longitude>4.9</loc:longitude>"
        return f"<loc:{name}><loc:pointCoordinates>{place}</loc:pointCoordinates></loc:{name}>"

    line = f"<loc:tpegLinearLocation>{end('to', 52.2)}{end('from', 52.1)}</loc:tpegLinearLocation>"
    rows, _ = convert_text(tmp_path, version_3(record("Accident", line)))
    reversed_rows, _ = convert_text(tmp_path, version_3(record("Accident", line.replace("52.1", "52.3"))))
    assert rows[0]["geometry"] != reversed_rows[0]["geometry"]


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1", "utf-8-sig"])
def test_json_in_other_encodings_is_read(tmp_path: Path, encoding: str):
    text = json.dumps(json.loads(feed(work_zone("a"))), ensure_ascii=False).replace('"I-10"', '"Übergang"')
    text = text if "Übergang" in text else text.replace('"road_names": [', '"road_names": ["Übergang", ')
    assert "Übergang" in one(tmp_path, text.encode(encoding))["road"]


def test_json_with_what_it_may_not_hold_is_refused_with_the_parsers_reason(tmp_path: Path):
    with pytest.raises(DataError, match="NaN"):
        convert_text(tmp_path, feed(work_zone("a")).replace('"features": [', '"features": [NaN, '))


def test_events_are_found_wherever_their_list_stands(tmp_path: Path):
    event = dict(zip(LOG511_HEADER.split(","), LOG_ROW.split(","), strict=True))
    planned = {"RecurrenceSchedules": [{"StartDate": "2024-01-01"}], **event}
    for place in ({"meta": [{"x": 1}], "events": [event]}, {"d": {"results": [event]}}, [event], [planned]):
        assert one(tmp_path, json.dumps(place))["record_id"] == "1"


def test_what_was_announced_before_it_began_has_no_known_end(tmp_path: Path):
    works = LOG_ROW.replace("accidentsAndIncidents,crashRlane", "roadwork,laneClosed")
    found = one(tmp_path, log511(works.replace("1709283600.0", "1709270000")))
    assert (found["kind"], found["end_is"]) == (EventKind.PLANNED_WORK, EndIs.UNKNOWN)


def test_stats19_with_its_older_names_is_read(tmp_path: Path):
    old = STATS19.replace("first_road_", "1st_Road_").replace("collision_", "Accident_")
    assert one(tmp_path, old) == one(tmp_path, STATS19)


def test_geometry_in_pythons_quotation_marks_is_read(tmp_path: Path):
    shape = "{'type': 'LineString', 'coordinates': [[-112.0, 33.4], [-112.1, 33.4]]}"
    text = (
        "road_event_id,start_date,end_date,vehicle_impact,geometry\n"
        f'a,2024-03-01T08:00:00Z,2024-03-01T16:00:00Z,all-lanes-open,"{shape}"\n'
        "b,2024-03-01T08:00:00Z,2024-03-01T16:00:00Z,all-lanes-open,{broken\n"
    )
    rows, account = convert_text(tmp_path, text)
    assert [row["geometry"] is not None for row in rows] == [True, False]
    assert any("a geometry that is no JSON" in line for line in account.lines())
