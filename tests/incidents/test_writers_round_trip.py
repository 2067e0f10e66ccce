"""Incidents written as DATEX II, WZDx and GeoParquet are read back with what each format can hold."""

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenariogen.errors import DataError
from scenariogen.incidents.event_files import read_events
from scenariogen.incidents.events import EndIs, Event, EventKind, event_table, schema
from scenariogen.incidents.lane_words import ALTERNATING, certain, known_count, some
from scenariogen.incidents.readers.geometry import from_wkb
from scenariogen.incidents.writers.datex2 import write_datex2
from scenariogen.incidents.writers.geoparquet import write_geoparquet
from scenariogen.incidents.writers.wzdx import write_wzdx
from tests.incidents.event_samples import convert_text
from tests.support import shared_data

NOW = datetime(2024, 6, 1, tzinfo=UTC)
LATER = datetime(2030, 1, 1, tzinfo=UTC)
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
WORDS = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"]), min_size=1, max_size=20).filter(
    lambda word: word.lower() not in {"none", "null", "nan", "na", "n/a", "undefined", "unknown", "-", "-1"}
)
TIMES = st.datetimes(datetime(2001, 1, 1), datetime(2023, 1, 1), timezones=st.just(UTC))
POINTS = st.lists(
    st.tuples(st.floats(1, 179, allow_subnormal=False), st.floats(1, 89, allow_subnormal=False)),
    min_size=1,
    max_size=5,
    unique=True,
).map(tuple)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """A record that passes the sieve."""
    start = draw(TIMES)
    end_is = draw(st.sampled_from(list(EndIs)))
    # Seen ends lie before the publication, planned ends after it: that is how the formats tell them apart.
    last = start + timedelta(seconds=draw(st.integers(1, 10**6)))
    end = {EndIs.UNKNOWN: None, EndIs.PLANNED: LATER}.get(end_is, last)
    total = draw(st.none() | st.integers(1, 6))
    count = draw(st.none() | st.integers(0, total if total is not None else 4))
    is_full = total is not None and count == total
    kind = draw(st.sampled_from(list(EventKind)))
    return Event(
        record_id=draw(WORDS),
        kind=kind,
        start=start,
        end=end,
        end_is=end_is,
        lanes_total=total,
        lanes_closed=None if count is None else certain(count),
        lanes_side=draw(st.sampled_from(["left", "right", ""])) if count and not is_full else "",
        full_closure=is_full,
        points=draw(POINTS),
        road=draw(WORDS),
        direction=draw(st.sampled_from(["N", "E", "S", "W", ""])),
        milepost=draw(st.none() | st.floats(0, 500)),
        speed_limit_mps=draw(st.none() | st.floats(1, 40)),
    )


def table_of(*found: Event) -> pa.Table:
    return event_table(list(found), source="test").select(schema().names)


def _unique(found: list[Event]) -> dict[str, Event]:
    return {each.record_id: each for each in found}


@FEW
@given(found=st.lists(events(), min_size=1, max_size=4))
def test_datex2_gives_back_what_it_holds(tmp_path: Path, found: list[Event]):
    by_id = _unique([each for each in found if each.kind is not EventKind.CLOSURE or each.lanes_closed])
    if not by_id:
        return
    target = tmp_path / "out.xml"
    written = write_datex2(table_of(*by_id.values()), target, publisher="test", country="de", published=NOW)
    assert (written.rows, written.refused) == (len(by_id), {})
    rows, account = convert_text(tmp_path, target.read_bytes())
    assert account.format == "datex2"
    assert {row["record_id"] for row in rows} == set(by_id)
    for row in rows:
        event = by_id[row["record_id"]]
        closes = event.full_closure or (known_count(event.lanes_closed) or 0) > 0
        assert row["kind"] == (EventKind.CLOSURE if event.kind is EventKind.OTHER and closes else event.kind)
        assert row["start"] == event.start
        assert from_wkb(row["geometry"]) == event.points
        assert row["road"] == event.road
        assert row["lanes_total"] == event.lanes_total
        assert row["full_closure"] == event.full_closure
        assert (row["lanes_closed"] and tuple(row["lanes_closed"])) == event.lanes_closed
        assert row["lanes_side"] == event.lanes_side
        if event.end_is in (EndIs.OBSERVED, EndIs.PLANNED):
            assert (row["end"], row["end_is"]) == (event.end, event.end_is)
        else:
            assert (row["end"], row["end_is"]) == (NOW, EndIs.LAST_UPDATE)  # open when it was published


@FEW
@given(found=st.lists(events(), min_size=1, max_size=4))
def test_wzdx_gives_back_what_it_holds_and_refuses_the_rest(tmp_path: Path, found: list[Event]):
    by_id = _unique(found)
    kinds = (EventKind.PLANNED_WORK, EventKind.CLOSURE)
    fits = {
        key: event
        for key, event in by_id.items()
        if event.kind in kinds and event.end_is in (EndIs.OBSERVED, EndIs.PLANNED)
    }
    target = tmp_path / "out.json"
    target.unlink(missing_ok=True)
    if not fits:
        with pytest.raises(DataError, match="no incident can be given as a WZDx work zone"):
            write_wzdx(table_of(*by_id.values()), target, publisher="test", updated=NOW)
        assert not target.exists()
        return
    written = write_wzdx(table_of(*by_id.values()), target, publisher="test", updated=NOW)
    assert written.rows == len(fits)
    assert written.rows + sum(written.refused.values()) == len(by_id)
    rows, account = convert_text(tmp_path, target.read_bytes())
    assert account.format == "wzdx"
    assert {row["record_id"] for row in rows} == set(fits)
    for row in rows:
        event = fits[row["record_id"]]
        assert (row["start"], row["end"], row["end_is"]) == (event.start, event.end, event.end_is)
        assert from_wkb(row["geometry"]) == event.points
        assert (row["road"], row["direction"], row["milepost"]) == (event.road, event.direction, event.milepost)
        assert row["full_closure"] == event.full_closure
        if event.speed_limit_mps is not None:
            assert math.isclose(row["speed_limit_mps"], event.speed_limit_mps, rel_tol=1e-12)
        if event.lanes_total is not None and event.lanes_closed and event.lanes_side:
            assert row["lanes_total"] == event.lanes_total
            assert tuple(row["lanes_closed"]) == event.lanes_closed
        elif event.lanes_closed and known_count(event.lanes_closed) == 0:
            assert known_count(row["lanes_closed"]) == 0


@FEW
@given(found=st.lists(events(), min_size=1, max_size=4))
def test_geoparquet_gives_back_every_column(tmp_path: Path, found: list[Event]):
    table = table_of(*_unique(found).values())
    target = tmp_path / "out.parquet"
    assert write_geoparquet(table.to_batches(), target) == table.num_rows
    assert read_events(target).equals(table)
    geo = json.loads(pq.read_metadata(target).metadata[b"geo"])
    points = [point for data in table["geometry"].to_pylist() for point in from_wkb(data)]
    assert geo["version"] == "1.1.0"
    assert geo["columns"][geo["primary_column"]]["bbox"] == [
        min(lon for lon, _ in points), min(lat for _, lat in points),
        max(lon for lon, _ in points), max(lat for _, lat in points),
    ]  # fmt: skip


def _event(**changes: Any) -> Event:
    base = {
        "record_id": "a", "kind": EventKind.PLANNED_WORK, "start": datetime(2020, 1, 1, tzinfo=UTC),
        "end": LATER, "end_is": EndIs.PLANNED, "points": ((10.0, 50.0),), "road": "A 1",
    }  # fmt: skip
    return Event(**{**base, **changes})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kind": EventKind.CRASH}, "crash: the format knows planned work and closures only"),
        ({"end": None, "end_is": EndIs.UNKNOWN}, "no end"),
        ({"points": ()}, "no coordinates"),
        ({"road": ""}, "no name of a road"),
        ({"road": "A\x001"}, "control characters"),
    ],
)
def test_wzdx_says_why_a_row_is_left_out(changes: dict[str, Any], why: str, tmp_path: Path):
    table = table_of(_event(), _event(**{"record_id": "b", **changes}))
    written = write_wzdx(table, tmp_path / "out.json", publisher="test", updated=NOW)
    assert written.rows == 1
    assert [(why in said, count) for said, count in written.refused.items()] == [(True, 1)]
    assert any(why in line for line in written.lines())


def test_datex2_leaves_out_what_has_no_place_and_writes_no_empty_file(tmp_path: Path):
    target = tmp_path / "out.xml"
    with pytest.raises(DataError, match="neither coordinates nor a road"):
        write_datex2(table_of(_event(points=(), road="")), target, publisher="t", country="de", published=NOW)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("closed", [some(), ALTERNATING])
@pytest.mark.parametrize("format", ["datex2", "wzdx"])
def test_uncertain_lanes_come_back_as_the_same_distribution(closed: tuple[float, ...], format: str, tmp_path: Path):
    table = table_of(_event(lanes_closed=closed))
    target = tmp_path / "out"
    if format == "datex2":
        write_datex2(table, target, publisher="test", country="de", published=NOW)
    else:
        write_wzdx(table, target, publisher="test", updated=NOW)
    rows, _ = convert_text(tmp_path, target.read_bytes())
    assert rows[0]["lanes_closed"] == pytest.approx(list(closed))


def _of_every_kind() -> pa.Table:
    found = []
    for number, kind in enumerate(EventKind):
        found += [
            _event(record_id=f"{number}-line", kind=kind, points=((10.0, 50.0), (10.1, 50.0)), lanes_closed=some()),
            _event(record_id=f"{number}-full", kind=kind, full_closure=True, direction="N", speed_limit_mps=20.0),
            _event(record_id=f"{number}-some", kind=kind, lanes_total=3, lanes_closed=certain(2), lanes_side="left"),
            _event(record_id=f"{number}-side", kind=kind, lanes_closed=certain(0), shoulder_only=True, milepost=3.5),
            _event(record_id=f"{number}-open", kind=kind, end=None, end_is=EndIs.UNKNOWN, lanes_closed=ALTERNATING),
            _event(record_id=f"{number}-word", kind=kind, points=(), lanes_closed=certain(1), lanes_side="right"),
        ]
    return table_of(*found)


@pytest.mark.data
def test_datex2_is_valid_by_its_schema(tmp_path: Path):
    etree = pytest.importorskip("lxml.etree", reason="lxml is not installed: schema test skipped")
    folder = shared_data("incidents", "schemas", "datex2-3.5")
    target = tmp_path / "out.xml"
    written = write_datex2(_of_every_kind(), target, publisher="test", country="de", published=NOW)
    assert written.rows == 6 * len(EventKind)
    rules = etree.XMLSchema(etree.parse(str(folder / "DATEXII_3_D2Payload.xsd")))
    document = etree.parse(str(target))
    rules.assertValid(document)
    record = document.find(".//{*}situationRecord")
    record.remove(record.find("{*}probabilityOfOccurrence"))
    assert not rules.validate(document)  # the schema does look at records


@pytest.mark.data
def test_wzdx_is_valid_by_its_schema(tmp_path: Path):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed: schema test skipped")
    referencing = pytest.importorskip("referencing", reason="referencing is not installed: schema test skipped")
    folder = shared_data("incidents", "schemas", "wzdx-4.2")
    schemas = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    named = [(each["$id"], referencing.Resource.from_contents(each)) for each in schemas]
    point = {"type": "array", "items": {"type": "number"}, "minItems": 2}
    for name, least in (("LineString", 2), ("MultiPoint", 1)):
        # The feed's schema refers to GeoJSON's by address; this says the same of the two types it needs.
        body = {
            "$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "required": ["type", "coordinates"],
            "properties": {
                "type": {"const": name}, "coordinates": {"type": "array", "items": point, "minItems": least},
            },
        }  # fmt: skip
        named.append((f"https://geojson.org/schema/{name}.json", referencing.Resource.from_contents(body)))
    registry = referencing.Registry().with_resources(named)
    feed_rules = next(each for each in schemas if each["$id"].endswith("WorkZoneFeed.json"))
    validator = jsonschema.Draft7Validator(feed_rules, registry=registry)
    target = tmp_path / "out.json"
    written = write_wzdx(_of_every_kind(), target, publisher="test", updated=NOW)
    assert written.rows == 2 * 4
    value = json.loads(target.read_text(encoding="utf-8"))
    assert [error.message for error in validator.iter_errors(value)] == []
    del value["features"][0]["properties"]["vehicle_impact"]
    assert list(validator.iter_errors(value))  # the schema does look at features
