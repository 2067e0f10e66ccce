"""What holds of every registered reader of incident records, and of whatever is added."""

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenariogen.errors import DataError
from scenariogen.heads import read_head
from scenariogen.incidents.event_files import event_account
from scenariogen.incidents.event_formats import event_readers
from scenariogen.incidents.events import DIRECTIONS, SIDES, EndIs, EventKind
from scenariogen.incidents.files import find_any_reader
from scenariogen.trajectories.formats import readers
from tests.contracts.test_readers import SAMPLES as MOVEMENT
from tests.incidents.event_samples import SAMPLES, TABLE_MAPPING, convert_text, feed, work_zone

NAMES = tuple(event_readers())
FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
JUNK = (b'"', b"null", b"{", b"]", b"-1", b"1e400", b"NaN", b"2200-01-01", b"<", b"&", b",,", b"\n")


def _mapping(name: str) -> tuple[str, ...]:
    return TABLE_MAPPING if name == "csv" else ()


def test_every_reader_has_a_sample():
    assert set(SAMPLES) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_is_recognised_by_its_own_reader_alone(name: str, tmp_path: Path):
    path = tmp_path / "without-a-suffix"
    path.write_text(SAMPLES[name], encoding="utf-8")
    head = read_head(path)
    claimed = [each for each, reader in event_readers().items() if reader.recognises(head)]
    assert claimed == ([] if name == "csv" else [name])


@pytest.mark.parametrize("name", NAMES)
def test_no_reader_of_trajectories_recognises_a_sample(name: str, tmp_path: Path):
    path = tmp_path / "records"
    path.write_text(SAMPLES[name], encoding="utf-8")
    head = read_head(path)
    assert [reader.name for reader in readers().values() if reader.recognises(head)] == []
    if name != "csv":
        assert find_any_reader(head).name == name


@pytest.mark.parametrize("name", list(MOVEMENT))
def test_no_reader_of_incident_records_recognises_trajectories(name: str, tmp_path: Path):
    reader, write = MOVEMENT[name]
    head = read_head(write(tmp_path))
    assert [each.name for each in event_readers().values() if each.recognises(head)] == []
    if reader != "csv":
        assert find_any_reader(head).name == reader


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("is_gzip", [False, True])
def test_rows_follow_the_definition_of_the_table(name: str, is_gzip: bool, tmp_path: Path):
    data = SAMPLES[name].encode()
    rows, account = convert_text(tmp_path, gzip.compress(data) if is_gzip else data, mapping=_mapping(name))
    assert rows
    assert account.kept == account.subjects == len(rows)
    assert account.rows == len(rows) + sum(account.dropped.values())
    assert event_account(tmp_path / "incidents.parquet") == account
    assert [row["start"] for row in rows] == sorted(row["start"] for row in rows)
    for row in rows:
        assert row["source"] == name
        assert row["kind"] in list(EventKind)
        assert row["end_is"] in list(EndIs)
        assert row["lanes_side"] in SIDES
        assert row["direction"] in DIRECTIONS
        assert (row["end"] is None) == (row["end_is"] == EndIs.UNKNOWN) == (row["duration_s"] is None)
        assert row["duration_is_censored"] == (row["end_is"] in (EndIs.UNKNOWN, EndIs.LAST_UPDATE))
        if row["duration_s"] is not None:
            assert row["duration_s"] == (row["end"] - row["start"]).total_seconds() >= 0
        if row["lanes_closed"] is not None:
            assert sum(row["lanes_closed"]) == pytest.approx(1.0)
        assert (row["geometry"] is None) == (row["lon_deg"] is None)
        assert row["edge"] is None
        assert row["position_m"] is None


@pytest.mark.parametrize("name", NAMES)
def test_the_same_file_twice_gives_the_same_rows(name: str, tmp_path: Path):
    once, _ = convert_text(tmp_path, SAMPLES[name], mapping=_mapping(name))
    again, _ = convert_text(tmp_path, SAMPLES[name], mapping=_mapping(name))
    assert once == again


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(data=st.data())
def test_a_mangled_file_gives_rows_or_a_data_error(name: str, tmp_path: Path, data: st.DataObject):
    sample = bytearray(SAMPLES[name].encode())
    for _ in range(data.draw(st.integers(1, 4), label="cuts")):
        at = data.draw(st.integers(0, len(sample)), label="at")
        length = data.draw(st.integers(0, 30), label="length")
        junk = data.draw(
            st.one_of(
                st.binary(max_size=6),
                st.sampled_from(
                    [b'"', b"null", b"{", b"]", b"-1", b"1e400", b"NaN", b"2200-01-01", b"<", b"&", b",,", b"\n"]
                ),
            ),
            label="junk",
        )
        sample[at : at + length] = junk
    _only_rows_or_data_error(tmp_path, bytes(sample), _mapping(name))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
PROPERTIES = ("core_details", "start_date", "end_date", "vehicle_impact", "lanes", "event_status", "ending_milepost",
              "reduced_speed_limit", "total_num_lanes", "end_date_accuracy", "road_names", "direction")  # fmt: skip


@FEW
@given(changes=st.dictionaries(st.sampled_from(PROPERTIES), JSON, max_size=4), geometry=JSON, identifier=JSON)
def test_a_feed_of_any_types_gives_rows_or_a_data_error(
    tmp_path: Path, changes: dict, geometry: object, identifier: object
):
    feature = work_zone("a")
    feature["properties"] |= changes
    strange = {**work_zone("b"), "id": identifier, "geometry": {"type": "LineString", "coordinates": geometry}}
    _only_rows_or_data_error(tmp_path, feed(feature, strange, geometry).encode(), ())


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(cut=st.floats(0.05, 0.95))
def test_a_gzip_file_cut_off_is_a_data_error(name: str, tmp_path: Path, cut: float):
    data = gzip.compress(SAMPLES[name].encode())
    with pytest.raises(DataError):
        convert_text(tmp_path, data[: max(3, int(cut * len(data)))], mapping=_mapping(name))


def _only_rows_or_data_error(folder: Path, data: bytes, mapping: tuple[str, ...]) -> None:
    for left in folder.glob("incidents.parquet*"):
        left.unlink()
    try:
        rows, _ = convert_text(folder, data, mapping=mapping)
    except DataError as error:
        assert str(error)
        assert sorted(path.name for path in folder.iterdir()) == ["file"]
    else:
        assert rows
