"""What each reader of incident records makes of its own format's peculiarities."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from scenariogen.errors import DataError
from scenariogen.incidents.events import EndIs, EventKind
from scenariogen.incidents.lane_words import ALTERNATING, certain, some
from scenariogen.units import MPS_PER_KMH, MPS_PER_MPH
from tests.incidents.event_samples import (
    CLOSED,
    LOG511_HEADER,
    LOG_ROW,
    STATS19,
    TABLE,
    TABLE_MAPPING,
    US_ACCIDENTS,
    accident,
    convert_text,
    datex2,
    feed,
    log511,
    one,
    work_zone,
)


def lane(order: int, status: str, type: str = "general") -> dict[str, Any]:
    return {"order": order, "status": status, "type": type}


@pytest.mark.parametrize(
    ("impact", "closed", "side", "full"),
    [
        ("all-lanes-closed", None, "", True),
        ("some-lanes-closed", some(), "", False),
        ("some-lanes-closed-merge-left", some(), "right", False),
        ("some-lanes-closed-merge-right", some(), "left", False),
        ("all-lanes-open-shift-left", certain(0), "", False),
        ("flagging", ALTERNATING, "", False),
        ("unknown", None, "", False),
    ],
)
def test_vehicle_impact_alone_says_something_about_lanes(
    impact: str, closed: tuple[float, ...] | None, side: str, full: bool, tmp_path: Path
):
    row = one(tmp_path, feed(work_zone(vehicle_impact=impact)))
    assert row["lanes_closed"] == (None if closed is None else pytest.approx(list(closed)))
    assert (row["lanes_side"], row["full_closure"]) == (side, full)


@pytest.mark.parametrize(
    ("lanes", "closed", "total", "side", "shoulder"),
    [
        ([lane(1, "closed"), lane(2, "open"), lane(3, "open")], certain(1), 3, "left", False),
        ([lane(3, "closed"), lane(2, "closed"), lane(1, "open")], certain(2), 3, "right", False),
        ([lane(1, "open"), lane(2, "closed"), lane(3, "open")], certain(1), 3, "centre", False),
        ([lane(1, "open"), lane(2, "closed", "shoulder")], certain(0), 1, "", True),
        ([lane(1, "closed", "shoulder"), lane(2, "open"), lane(3, "closed", "exit-lane")], certain(0), 1, "", True),
    ],
)
def test_listed_lanes_go_before_the_impact(
    lanes: list[dict[str, Any]], closed: tuple[float, ...], total: int, side: str, shoulder: bool, tmp_path: Path
):
    row = one(tmp_path, feed(work_zone(lanes=lanes)))
    assert (tuple(row["lanes_closed"]), row["lanes_total"]) == (closed, total)
    assert (row["lanes_side"], row["shoulder_only"]) == (side, shoulder)


def test_a_flat_feed_of_an_old_version_is_read(tmp_path: Path):
    feature = work_zone(
        road_name="US 1", direction="southbound", total_num_lanes=2, reduced_speed_limit=45, beginning_milepost=3.5
    )
    del feature["properties"]["core_details"]
    rows, account = convert_text(tmp_path, feed(feature, header="road_event_feed_info", version="2.0"))
    row = rows[0]
    assert (row["road"], row["direction"], row["lanes_total"], row["milepost"]) == ("US 1", "S", 2, 3.5)
    assert tuple(row["lanes_closed"]) == certain(1)  # some of two is one
    assert row["speed_limit_mps"] == pytest.approx(45 * MPS_PER_MPH)
    assert account.facts["version"] == "WZDx 2.0, header road_event_feed_info"


def test_detours_and_cancelled_zones_are_dropped_with_the_reason(tmp_path: Path):
    detour = work_zone("d", core_details={"event_type": "detour"})
    rows, account = convert_text(tmp_path, feed(work_zone("a"), detour, work_zone("c", event_status="cancelled")))
    assert [row["record_id"] for row in rows] == ["a"]
    assert account.dropped == {"a detour: another road to take, not a closure": 1, "cancelled": 1}


def test_a_device_feed_is_refused_with_words(tmp_path: Path):
    device = {"type": "Feature", "id": "x", "properties": {"core_details": {"device_type": "camera"}}, "geometry": None}
    with pytest.raises(DataError, match="device feed"):
        convert_text(tmp_path, feed(device))


@pytest.mark.parametrize(
    ("changes", "end_is"),
    [
        ({}, EndIs.PLANNED),
        ({"is_end_date_verified": True}, EndIs.PLANNED),  # verified, but not yet past
        ({"is_end_date_verified": True, "end_date": "2024-03-01T09:00:00Z"}, EndIs.OBSERVED),
        ({"end_date": "2024-03-01T09:00:00Z"}, EndIs.PLANNED),
    ],
)
def test_a_work_zone_end_is_seen_only_where_verified_and_past(changes: dict[str, Any], end_is: EndIs, tmp_path: Path):
    assert one(tmp_path, feed(work_zone(**changes)))["end_is"] == end_is


@pytest.mark.parametrize(
    "geometry",
    [
        "LINESTRING (-122.0 38.0, -122.02 38.0)",
        '{"type": "LineString", "coordinates": [[-122.0, 38.0], [-122.02, 38.0]]}',
    ],
)
def test_a_csv_export_says_the_same_as_the_feed(geometry: str, tmp_path: Path):
    quoted = geometry.replace('"', '""')
    export = (
        "road_event_id,core_details.road_names,core_details_direction,start_date,end_date,vehicle_impact,geometry\n"
        f'a,"[""I-5""]",northbound,2024-03-01T08:00:00Z,2024-03-01T16:00:00Z,some-lanes-closed,"{quoted}"\n'
    )
    from_feed, from_export = one(tmp_path, feed(work_zone())), one(tmp_path, export)
    assert {**from_feed, "status": ""} == from_export  # an export has no header with the time of the feed
    assert from_export["lon_deg"] == pytest.approx(-122.01)


def test_a_csv_export_may_have_the_two_ends_in_columns_of_degrees(tmp_path: Path):
    header = "road_event_id,core_details.road_names,core_details_direction,start_date,end_date,vehicle_impact"
    export = (
        f"{header},beginning_latitude,beginning_longitude,ending_latitude,ending_longitude\n"
        'a,"[""I-5""]",northbound,2024-03-01T08:00:00Z,2024-03-01T16:00:00Z,some-lanes-closed,38.0,-122.0,38.0,-122.02\n'
    )
    from_feed = one(tmp_path, feed(work_zone()))
    assert {**from_feed, "status": ""} == one(tmp_path, export)
    row = one(tmp_path, export.replace(",38.0,-122.02\n", ",,\n"))
    assert (row["lon_deg"], row["lat_deg"]) == (-122.0, 38.0)


def test_records_of_one_situation_are_one_incident(tmp_path: Path):
    row = one(tmp_path, datex2(accident()))
    assert (row["kind"], row["kind_text"]) == (EventKind.CRASH, "Accident accident")
    assert row["lanes_closed"] == pytest.approx(list(some()))
    assert (row["lon_deg"], row["lat_deg"]) == (24.9, 60.2)
    assert row["start"] == datetime(2024, 3, 1, 8, 0, tzinfo=UTC)
    # No end: still open when the message was published, one hour later.
    assert (row["end_is"], row["duration_s"], row["duration_is_censored"]) == (EndIs.LAST_UPDATE, 3600.0, True)
    assert row["status"] == "active"


@pytest.mark.parametrize(
    ("end", "end_is", "status"),
    [
        ("2024-03-01T09:45:00+01:00", EndIs.OBSERVED, "ended"),
        ("2024-03-01T11:00:00+01:00", EndIs.PLANNED, "active"),
    ],
)
def test_an_end_before_the_publication_was_seen(end: str, end_is: EndIs, status: str, tmp_path: Path):
    row = one(tmp_path, datex2(accident(end=end)))
    assert (row["end_is"], row["status"], row["duration_is_censored"]) == (end_is, status, False)


def test_the_later_version_of_a_situation_counts_and_tests_do_not(tmp_path: Path):
    later = accident("s1", end="2024-03-01T09:45:00+01:00").replace("09:20:00", "09:50:00")
    rows, account = convert_text(tmp_path, datex2(later, accident("s1"), accident("s2", status="test")))
    assert [(row["record_id"], row["end_is"]) for row in rows] == [("s1", EndIs.OBSERVED)]
    assert account.dropped == {
        "an exercise or a test, not a real situation": 1,
        "that a later record with the same id replaces": 1,
    }


@pytest.mark.parametrize(
    ("closing", "closed", "total", "side", "full"),
    [
        ("<impact><numberOfLanesRestricted>2</numberOfLanesRestricted></impact>", certain(2), None, "", False),
        (
            "<impact><numberOfLanesRestricted>1</numberOfLanesRestricted><numberOfOperationalLanes>2"
            "</numberOfOperationalLanes></impact><affected><lane>leftLane</lane></affected>",
            certain(1), 3, "left", False,
        ),
        (CLOSED.replace("laneClosures", "roadClosed"), None, None, "", True),
        ("<affected><lane>hardShoulder</lane></affected>", certain(0), None, "", False),
    ],
)  # fmt: skip
def test_lanes_of_a_situation(
    closing: str, closed: tuple[float, ...] | None, total: int | None, side: str, full: bool, tmp_path: Path
):
    row = one(tmp_path, datex2(accident(closing=closing)))
    assert (row["lanes_closed"] and tuple(row["lanes_closed"])) == closed
    assert (row["lanes_total"], row["lanes_side"], row["full_closure"]) == (total, side, full)


@pytest.mark.parametrize(
    "attack",
    [
        '<!DOCTYPE a [<!ENTITY x "boom"><!ENTITY y "&x;&x;&x;">]>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
    ],
)
def test_entities_are_refused(attack: str, tmp_path: Path):
    text = datex2(accident()).replace("<d2LogicalModel", attack + "<d2LogicalModel", 1)
    with pytest.raises(DataError, match="entities"):
        convert_text(tmp_path, text)


def test_another_publication_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="holds MeasuredDataPublication, expected a SituationPublication"):
        convert_text(tmp_path, datex2().replace("SituationPublication", "MeasuredDataPublication"))


def test_an_event_log_in_json_says_the_same_as_in_csv(tmp_path: Path):
    names = LOG511_HEADER.split(",")
    item = dict(zip(reversed(names), reversed(LOG_ROW.split(",")), strict=True))
    from_csv = one(tmp_path, log511(LOG_ROW))
    assert one(tmp_path, json.dumps([item])) == from_csv
    assert one(tmp_path, json.dumps({"events": [item]})) == from_csv
    assert one(tmp_path, log511(LOG_ROW).replace(LOG511_HEADER, LOG511_HEADER.upper())) == from_csv


def test_an_event_log_row(tmp_path: Path):
    row = one(tmp_path, log511(LOG_ROW))
    assert (row["kind"], row["kind_text"], row["direction"]) == (EventKind.CRASH, "crashRlane", "E")
    assert (tuple(row["lanes_closed"]), row["lanes_side"], row["lanes_total"]) == (certain(2), "left", 4)
    assert row["start"] == datetime(2024, 3, 1, 8, 0, tzinfo=UTC)
    assert (row["duration_s"], row["end_is"], row["duration_is_censored"]) == (3600.0, EndIs.LAST_UPDATE, True)


@pytest.mark.parametrize("time", ["1709280000", "1709280000.0", "1709280000000", "2024-03-01 08:00:00",
                                  "2024-03-01T08:00:00Z", "2024-03-01T09:00:00+01:00"])  # fmt: skip
def test_times_of_event_logs(time: str, tmp_path: Path):
    row = one(tmp_path, log511(LOG_ROW.replace("1709280000", time, 1)))
    assert row["start"] == datetime(2024, 3, 1, 8, 0, tzinfo=UTC)


def test_planned_ends_sentinels_and_negative_durations_of_event_logs(tmp_path: Path):
    planned = LOG_ROW.replace("1,acc", "2,acc", 1).replace("1709283600.0,,", "1709283600.0,1709290800,")
    sentinel = LOG_ROW.replace("1,acc", "3,acc", 1).replace("1709283600.0,,", "1709283600.0,35659335599,")
    negative = LOG_ROW.replace("1,acc", "4,acc", 1).replace("1709283600.0", "1709270000")
    rows, account = convert_text(tmp_path, log511(planned, sentinel, negative))
    assert {row["record_id"]: (row["end_is"], row["duration_s"]) for row in rows} == {
        "2": (EndIs.PLANNED, 10_800.0), "3": (EndIs.LAST_UPDATE, 3600.0),
    }  # fmt: skip
    assert account.dropped == {"with a negative duration: the last update lies before the start": 1}
    assert any("3099" in finding.text for finding in account.findings)


def test_polylines_and_quoted_line_breaks_of_event_logs(tmp_path: Path):
    row = LOG_ROW.replace(",None,", ',"_p~iF~ps|U_ulLnnqC_mqNvxq`@",').replace("I-10", '"block of\ntext"')
    found, account = convert_text(tmp_path, log511(row))
    assert found[0]["road"] == ""
    assert any("block of text" in finding.text for finding in account.findings)
    assert 38.5 < found[0]["lat_deg"] < 43.252


def test_us_accidents_are_in_the_zone_of_the_row(tmp_path: Path):
    row = one(tmp_path, US_ACCIDENTS)
    assert row["start"] == datetime(2019, 7, 1, 12, 0, tzinfo=UTC)
    assert (row["duration_s"], row["end_is"], row["lanes_closed"]) == (2700.0, EndIs.OBSERVED, None)
    with pytest.raises(DataError, match="1 without a time zone"):
        convert_text(tmp_path, US_ACCIDENTS.replace("US/Eastern", ""))


@pytest.mark.parametrize(
    ("text", "closed", "side", "full"),
    [
        ("Right lane blocked due to accident on I-70 Eastbound at Exit 41 OH-235.", [0.0, 1.0], "right", False),
        ("Two lanes blocked due to accident on I-75 Northbound at Exit 3.", [0.0, 0.0, 1.0], "", False),
        ("At I-71/Exit 7 - Accident. Left lane closed.", [0.0, 1.0], "left", False),
        ("Left and center lanes blocked. Accident.", [0.0, 0.0, 1.0], "", False),
        ("Closed between CR-1 and CR-2 - Road closed due to accident.", None, "", True),
        ("Road closed due to accident. Use 2 Lane Rd.", None, "", True),
        ("Accident on 4 Mile Rd at Exit 3 right lane drop.", None, "", False),
        ("Lanes blocked on exit ramp due to accident on I-5 at Exit 4.", None, "", False),
    ],
)
def test_descriptions_tell_of_lanes_in_phrases_of_their_own(tmp_path: Path, text, closed, side, full):
    row = one(tmp_path, US_ACCIDENTS.replace(",text,", f',"{text}",'))
    assert row["lanes_closed"] == (None if closed is None else pytest.approx(closed))
    assert (row["lanes_side"], row["full_closure"]) == (side, full)
    assert "Exit" not in str(row)  # free text is never kept


def test_stats19_days_come_first_and_clocks_are_british(tmp_path: Path):
    row = one(tmp_path, STATS19)
    assert row["start"] == datetime(2023, 7, 1, 7, 30, tzinfo=UTC)  # summer time
    assert (row["road"], row["kind_text"]) == ("A40", "serious collision")
    assert row["speed_limit_mps"] == pytest.approx(30 * MPS_PER_MPH)
    assert (row["end_is"], row["duration_s"], row["lanes_closed"]) == (EndIs.UNKNOWN, None, None)
    with pytest.raises(DataError, match="longitude and latitude swapped"):
        convert_text(tmp_path, STATS19.replace("-0.12,51.5", "51.5,-0.12"))


def test_a_mapped_table(tmp_path: Path):
    row = one(tmp_path, TABLE, mapping=TABLE_MAPPING, time_zone="Europe/Berlin")
    assert (row["record_id"], row["kind"]) == ("k1", EventKind.CRASH)
    assert row["start"] == datetime(2024, 3, 1, 7, 0, tzinfo=UTC)
    assert (row["duration_s"], tuple(row["lanes_closed"]), row["lanes_total"]) == (2700.0, certain(1), 3)
    assert (row["lon_deg"], row["lat_deg"]) == (11.5, 48.1)


def test_a_mapping_with_faults_lists_them_all(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        convert_text(tmp_path, TABLE, mapping=("kind=wat", "lon=x", "end=begin", "duration=minutes:min"))
    text = str(caught.value)
    for fault in ("no column is mapped to start", "lon is mapped and lat is not", "both end and duration", "'wat'"):
        assert fault in text


def test_a_temporary_limit_of_datex2_is_in_km_h(tmp_path: Path):
    text = datex2(accident(closing="<temporarySpeedLimit>60</temporarySpeedLimit>"))
    assert one(tmp_path, text)["speed_limit_mps"] == pytest.approx(60 * MPS_PER_KMH)
