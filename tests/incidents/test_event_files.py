"""Conversion of incident records: what is dropped and why, bad files, real files, words about lanes."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenariogen.errors import DataError
from scenariogen.heads import read_head
from scenariogen.incidents.event_files import convert_events, event_account, read_events
from scenariogen.incidents.event_formats import find_event_reader
from scenariogen.incidents.events import EventKind, schema
from scenariogen.incidents.lane_words import certain, lanes_from_code, lanes_from_words, some
from scenariogen.incidents.readers.contract import EventOptions
from scenariogen.incidents.readers.geometry import from_polyline, from_wkb, from_wkt, middle, to_wkb
from scenariogen.incidents.vocabulary import kind_of_words
from tests.incidents.event_samples import LOG_ROW, SAMPLES, convert_text, feed, log511, work_zone
from tests.support import shared_data


def other(row_id: str, row: str = LOG_ROW) -> str:
    return row_id + row[1:]


def test_every_dropped_row_is_counted_with_its_reason(tmp_path: Path):
    rows, account = convert_text(
        tmp_path,
        log511(
            LOG_ROW,
            LOG_ROW,
            other("2", LOG_ROW.replace("1709280000", "2200-01-01")),
            other("3", LOG_ROW.replace("33.4,-112.0", "-112.0,33.4")),
            other("4", LOG_ROW.replace("1709280000", "soon")),
            other("", LOG_ROW),
            other("6", LOG_ROW) + ",one cell more",
            other("7", LOG_ROW.replace("33.4,-112.0", "0.0,0.0")),
            other("8", LOG_ROW.replace("4.0", "2.0").replace("2 Left", "3 Left")),
        ),
    )
    assert [(row["record_id"], row["lon_deg"], row["lanes_total"]) for row in rows] == [
        ("1", -112.0, 4), ("7", None, 4), ("8", -112.0, None),
    ]  # fmt: skip
    assert account.dropped == {
        "15 cells where the header has 14": 1,
        "with a start in the year 2200, which stands for no time": 1,
        "with longitude and latitude swapped": 1,
        "without a start that can be read": 1,
        "without an id": 1,
        "that repeat another exactly": 1,
    }
    assert account.rows == 9 == account.kept + sum(account.dropped.values())
    assert event_account(tmp_path / "incidents.parquet") == account


def test_the_account_shows_which_word_became_which_kind(tmp_path: Path):
    _, account = convert_text(tmp_path, log511(LOG_ROW, other("2", LOG_ROW.replace("crashRlane", "silverAlert"))))
    assert account.facts[EventKind.CRASH] == "1 from crashRlane 1"
    assert account.facts[EventKind.OTHER] == "1 from silverAlert 1"
    assert "assumption" in account.derived["lanes_closed"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty"),
        (feed(work_zone())[:-40].encode(), "cut off or broken"),
        (gzip.compress(feed(work_zone()).encode())[:-30], "cut off"),
        (SAMPLES["datex2"][:-60].encode(), "broken or was cut off"),
        (feed().encode(), "holds no incident"),
        (log511().encode(), "holds no incident"),
        (log511(LOG_ROW.replace(",", ";")).encode(), "1 cells where the header has 14"),
        (b"a,b\n1,2\n", "none of the formats"),
        (log511(LOG_ROW, '2,"never closed').encode(), "cannot be read as a table"),
    ],
)
def test_a_bad_file_is_one_data_error_and_nothing_is_written(text: bytes, words: str, tmp_path: Path):
    with pytest.raises(DataError, match=words):
        convert_text(tmp_path, text)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_earlier_result_survives_a_failed_conversion(tmp_path: Path):
    rows, _ = convert_text(tmp_path, SAMPLES["wzdx"])
    with pytest.raises(DataError):
        convert_text(tmp_path, SAMPLES["wzdx"][:-40])
    assert read_events(tmp_path / "incidents.parquet").to_pylist() == rows


def test_a_folder_an_unknown_format_and_another_parquet_file_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="folder"):
        read_head(tmp_path)
    path = tmp_path / "file"
    path.write_text(SAMPLES["wzdx"], encoding="utf-8")
    with pytest.raises(DataError, match="--format waze: unknown, expected one of wzdx, datex2"):
        find_event_reader(read_head(path), format="waze")
    pq.write_table(pa.table({"kind": [1]}), tmp_path / "other.parquet")
    with pytest.raises(DataError, match=r"is another table \(kind, \.\.\.\): expected incident records"):
        read_events(tmp_path / "other.parquet")
    nearly = schema().empty_table().drop_columns(["record_id", "kind"]).append_column("kind", pa.array([], pa.int64()))
    pq.write_table(nearly, tmp_path / "nearly.parquet")
    with pytest.raises(DataError) as caught:
        read_events(tmp_path / "nearly.parquet")
    assert "the column record_id is missing" in str(caught.value)
    assert "the column kind is int64, expected string" in str(caught.value)


def test_an_unknown_time_zone_is_a_data_error(tmp_path: Path):
    with pytest.raises(DataError, match="'Mars/Base' is unknown"):
        convert_text(tmp_path, SAMPLES["log511"], time_zone="Mars/Base")


@pytest.mark.parametrize(
    ("text", "closed", "side"),
    [
        ("2 Left Lanes Closed", certain(2), "left"),
        ("Right lane blocked", certain(1), "right"),
        ("Lanes Closed", some(least=2), ""),
        ("All Ramps Closed", certain(0), ""),
        ("1 Left HOV Lane Closed", certain(1), "left"),
        ("two right lanes closed", certain(2), "right"),
        ("No Data", None, ""),
        ("expect delays", None, ""),
        ("2 right lanes of 3 lanes blocked", certain(2), "right"),
        ("right lane of 3 lanes closed", certain(1), "right"),
        ("1 of 3 lanes closed", certain(1), ""),
        ("Two lanes are closed out of four", certain(2), ""),
        ("1 lane closed - 2 lanes open", certain(1), ""),
        ("Exit 7 to exit 9 right lane closed", certain(1), "right"),
        ("I-95 2 right lanes blocked", certain(2), "right"),
        ("Left lane blocked. All other lanes open", certain(1), "left"),
        ("right lane closed, left lane open", certain(1), "right"),
        ("Right and center lane blocked", certain(2), ""),
        ("both left lanes closed", certain(2), "left"),
        ("LNS 1-2 OF 4", certain(2), ""),
        ("Lanes 1, 2 and 3 closed", certain(3), ""),
        ("lane 2 blocked", certain(1), ""),
        ("RT LN BLKD", certain(1), "right"),
        ("all left lanes closed", some(least=2), "left"),
        ("All lanes are open", certain(0), ""),
        ("No lanes blocked", certain(0), ""),
        ("Right lane", None, ""),
        ("Double lane closed", certain(2), ""),
        ("lanes 1 and 2 open, lane 3 blocked", certain(1), ""),
        ("Lane 3 open, lanes 1-2 closed", certain(2), ""),
        ("Out of 4 lanes 2 closed", certain(2), ""),
        ("west of the 5 left lanes blocked", certain(5), "left"),
    ],
)
def test_words_about_lanes(text: str, closed: tuple[float, ...] | None, side: str):
    lanes = lanes_from_words(text)
    assert (lanes.closed, lanes.side, lanes.full_closure) == (closed, side, False)


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("fallenTree", EventKind.OBSTRUCTION),
        ("street light out", EventKind.OTHER),  # holds "tree"
        ("train station event", EventKind.OTHER),  # holds "rain"
        ("heavy rain", EventKind.WEATHER),
        ("AccidentIncident", EventKind.OTHER),  # one or the other
        ("vehicleOnFire", EventKind.BREAKDOWN),
        ("planned_work", EventKind.PLANNED_WORK),
        ("RoadClosed", EventKind.CLOSURE),
        ("crash with debris", EventKind.CRASH),
    ],
)
def test_kinds_of_words(word: str, kind: EventKind):
    assert kind_of_words(word) == kind


@pytest.mark.parametrize(
    ("text", "closed"),
    [
        ("All northbound lanes closed", None),
        ("All lanes of traffic are blocked", None),
        ("Both lanes closed", certain(2)),
        ("3 of 3 lanes closed", certain(3)),
    ],
)
def test_words_for_a_road_without_a_lane_left(text: str, closed: tuple[float, ...] | None):
    lanes = lanes_from_words(text)
    assert lanes.full_closure and lanes.closed == closed


def test_a_column_of_closed_lanes_need_not_say_closed():
    assert [lanes_from_words(text, all_is_closed=True).closed for text in ("Right lane", "2 Lanes", "Lanes 1-3")] == [
        certain(1), certain(2), certain(3),
    ]  # fmt: skip
    assert lanes_from_words("all lanes", all_is_closed=True).full_closure
    for text in ("All Lanes Open", "No lane closures", "No Lane Restrictions", "No lanes impacted"):
        assert lanes_from_words(text, all_is_closed=True).closed == certain(0)
    for text in ("All lanes reopened", "All lanes shifted", "Lanes narrowed", "Left lane must exit", "Lane shift"):
        assert lanes_from_words(text, all_is_closed=True).closed is None


def test_all_lanes_are_as_many_as_there_are():
    assert lanes_from_words("All lanes closed").closed is None
    assert lanes_from_words("All lanes closed", total=3).closed == certain(3)
    assert lanes_from_words("All lanes closed").full_closure
    assert lanes_from_code("CrashLshoulder").shoulder_only
    assert lanes_from_code("crashMultilanes", total=4).closed == some(least=2, total=4)


@given(least=st.integers(1, 3), total=st.none() | st.integers(1, 12))
def test_some_lanes_is_a_distribution_that_falls(least: int, total: int | None):
    closed = some(least=least, total=total)
    assert sum(closed) == pytest.approx(1.0)
    assert all(weight == 0 for weight in closed[:least])
    assert all(later < before for before, later in zip(closed[least:], closed[least + 1 :], strict=False))
    if total is not None and total > least:
        assert len(closed) == total  # never all of them


@given(text=st.text(max_size=40))
def test_any_words_give_a_distribution_or_nothing(text: str):
    for lanes in (lanes_from_words(text), lanes_from_code(text)):
        assert lanes.closed is None or sum(lanes.closed) == pytest.approx(1.0)
    assert kind_of_words(text) in EventKind


@given(
    points=st.lists(st.tuples(st.floats(-180, 180), st.floats(-90, 90)), min_size=1, max_size=6, unique=True).map(tuple)
)
def test_geometry_round_trip_and_middle(points: tuple[tuple[float, float], ...]):
    assert from_wkb(to_wkb(points)) == points
    lon, lat = middle(points)
    assert min(x for x, _ in points) - 1e-9 <= lon <= max(x for x, _ in points) + 1e-9
    assert min(y for _, y in points) - 1e-9 <= lat <= max(y for _, y in points) + 1e-9


def test_geometry_agrees_with_shapely():
    import shapely

    line = from_wkt("LINESTRING Z (11.5 48.1 3, 11.6 48.2 4)")
    assert shapely.from_wkb(to_wkb(line)).equals(shapely.LineString(line))
    assert from_wkb(shapely.to_wkb(shapely.Point(1, 2), byte_order=0)) == ((1.0, 2.0),)
    assert from_polyline("_p~iF~ps|U_ulLnnqC_mqNvxq`@") == ((-120.2, 38.5), (-120.95, 40.7), (-126.453, 43.252))


@pytest.mark.data
@pytest.mark.parametrize(
    ("parts", "kept", "dropped"),
    [
        (("az511", "az511_incidents_to_2025-08-20.csv.gz"), 8648, 1),
        (("az511", "i10_broadway_events.csv"), 445, 0),
        (("wzdx", "ca_wzdx_feed.json.gz"), 411, 775),
    ],
)
def test_real_files_keep_what_their_readme_counts(parts: tuple[str, ...], kept: int, dropped: int, tmp_path: Path):
    head = read_head(shared_data("incidents", *parts))
    account = convert_events(head, find_event_reader(head), tmp_path / "x.parquet", options=EventOptions())
    assert (account.kept, sum(account.dropped.values())) == (kept, dropped)
    assert not account.problems
    assert read_events(tmp_path / "x.parquet").num_rows == kept


@pytest.mark.data
def test_real_messages_are_one_incident_each_and_device_feeds_are_refused(tmp_path: Path):
    messages = sorted(shared_data("incidents", "datex2_finland").glob("*.xml"))
    kinds = []
    for path in messages:
        head = read_head(path)
        convert_events(head, find_event_reader(head), tmp_path / "x.parquet", options=EventOptions())
        kinds += read_events(tmp_path / "x.parquet")["kind"].to_pylist()
    assert sorted(kinds) == sorted(["crash"] * 5 + ["obstruction", "planned_work", "other"])
    feeds = sorted(shared_data("incidents", "wzdx").glob("spec42_*.geojson"))
    refused = []
    for path in feeds:
        head = read_head(path)
        try:
            convert_events(head, find_event_reader(head), tmp_path / "x.parquet", options=EventOptions())
        except DataError as error:
            refused.append(str(error))
    assert len(feeds) == 11
    assert [("device feed" in words) for words in refused] == [True, True]
