"""Tables of unknown columns, by a mapping."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import read_head
from scenariogen.mapping import parse_mapping
from scenariogen.trajectories.readers.contract import ReadOptions
from scenariogen.trajectories.readers.mapped import DIMENSIONS, MappedReader
from tests.support import shared_data

MAPPING = ("time=t:s", "vehicle=car", "x=east:ft", "y=north:ft", "speed=v:km/h")
LINES = ("t,car,east,north,v", "0,a,100,0,36", "1,a,132.8,0,36", "0,b,0,50,72", "1,b,65.6,50,72")


def write(folder: Path, *lines: str) -> Path:
    path = folder / "table.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def sample(folder: Path) -> Path:
    return write(folder, *LINES)


def options(*texts: str) -> ReadOptions:
    return ReadOptions(mapping=parse_mapping(texts or MAPPING, DIMENSIONS))


def book() -> AccountBook:
    return AccountBook(file="x", format="csv", title="", subject="vehicles")


def read(path: Path, *texts: str, account: AccountBook | None = None) -> dict[str, list]:
    found: dict[str, list] = {}
    for table in MappedReader().tables(read_head(path), account or book(), options(*texts)):
        for name, values in table.to_pydict().items():
            found.setdefault(name, []).extend(values)
    return found


def test_units_are_converted_and_said(tmp_path: Path):
    account = book()
    rows = read(sample(tmp_path), account=account)
    assert rows["x_m"][:2] == pytest.approx([30.48, 132.8 * 0.3048])
    assert rows["speed_mps"] == pytest.approx([10, 10, 20, 20])
    assert account.units["speed_mps"] == "v in km/h"


def test_a_unit_that_is_not_said_is_called_an_assumption(tmp_path: Path):
    account = book()
    read(sample(tmp_path), "time=t", "vehicle=car", "x=east", "y=north", account=account)
    assert account.units["x_m"] == "east, assumed in m"


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_other_delimiters(tmp_path: Path, delimiter: str):
    path = write(tmp_path, *(line.replace(",", delimiter) for line in LINES))
    assert read(path)["vehicle"] == ["a", "a", "b", "b"]


def test_two_hundred_columns(tmp_path: Path):
    header = [f"c{number}" for number in range(195)] + LINES[0].split(",")
    path = write(tmp_path, ",".join(header), *(",".join(["0"] * 195 + line.split(",")) for line in LINES[1:]))
    assert read(path)["time_s"] == [0, 1, 0, 1]


def test_frame_counts(tmp_path: Path):
    assert read(sample(tmp_path), "time=t:1/25s", "vehicle=car", "x=east", "y=north")["time_s"][1] == 0.04


def test_dates_become_recordings_and_seconds(tmp_path: Path):
    account = book()
    path = write(
        tmp_path, "when,id,s,where", "2024-05-01T07:00:00.5Z,1,5,A1", "2024-05-02 02:00:00+02:00,1,6,A1", "soon,1,7,A1"
    )
    rows = read(path, "time=when", "vehicle=id", "road_position=s:km", "road=where", account=account)
    assert rows["time_s"] == [25_200.5, 0, None]
    assert rows["recording"] == ["2024-05-01", "2024-05-02", None]
    assert rows["road_m"] == [5000, 6000, 7000]
    assert (account.findings[0].rows, account.findings[0].examples) == (1, ("'soon'",))
    assert account.units["time_s"] == "when, ISO 8601: seconds after midnight of its date (UTC)"


def days(path: Path, *more: str, time_zone: str = "") -> tuple[list, list]:
    """Recording and seconds of each row of a table with the columns when, id, s."""
    mapping = parse_mapping(("time=when", "vehicle=id", "road_position=s", *more)[bool(more) :], DIMENSIONS)
    asked = ReadOptions(mapping=mapping, time_zone=time_zone)
    (table,) = MappedReader().tables(read_head(path), book(), asked)
    return table["recording"].to_pylist(), table["time_s"].to_pylist()


def test_times_since_1970_are_split_by_date_as_text_is(tmp_path: Path):
    """They became one day of three, which began 54 years in; the zone that is asked for tells the date."""
    begin = int(datetime(2024, 5, 1, 23, 30, tzinfo=UTC).timestamp() * 1000)
    path = write(tmp_path, "when,id,s", *(f"{begin + hour * 3_600_000 + 250},1,5" for hour in (0, 1, 25)))
    assert days(path, "time=when:ms") == (["2024-05-01", "2024-05-02", "2024-05-03"], [84_600.25, 1800.25, 1800.25])
    recordings, seconds = days(path, "time=when:ms", time_zone="America/Denver")
    assert recordings == ["2024-05-01", "2024-05-01", "2024-05-02"]
    assert seconds == [17.5 * 3600 + 0.25, 18.5 * 3600 + 0.25, 18.5 * 3600 + 0.25]


def test_an_evening_with_an_offset_is_one_day(tmp_path: Path):
    """Seven hours west of Greenwich, the evening peak was cut in two at midnight of UTC."""
    path = write(tmp_path, "when,id,s", "2024-05-01T16:59:00-07:00,1,5", "2024-05-01T17:01:00-07:00,1,6")
    assert days(path) == (["2024-05-01"] * 2, [61_140, 61_260])
    assert days(path, time_zone="UTC") == (["2024-05-01", "2024-05-02"], [86_340, 60])


@pytest.mark.parametrize(
    ("text", "time_s"),
    [
        ("20240501T080400Z", 29_040),
        ("20240501T080400-0700", 29_040),
        ("2024/05/01 08:04:00", 29_040),
        ("2024-05-01 08:04", 29_040),
        ("2024-05-01", 0),
        ("2024-05-01T8:04:00+02:00", 29_040),
    ],
)
def test_forms_of_iso_8601(tmp_path: Path, text: str, time_s: float):
    assert days(write(tmp_path, "when,id,s", f"{text},1,5")) == (["2024-05-01"], [time_s])


@pytest.mark.parametrize("text", ["05/01/2024 08:04:00", "08:04:00", "2024-13-45T08:00:00"])
def test_times_that_cannot_be_read_are_shown_with_those_that_can(tmp_path: Path, text: str):
    """It was said that all rows were without a time."""
    path = write(tmp_path, "when,id,s", f"{text},1,5", f"{text},2,5")
    with pytest.raises(DataError, match=rf"such as '{text}'; expected ISO 8601 \(2024-05-01T08:04:00Z, .*when:ms"):
        days(path)


def test_a_zone_is_asked_for_times_with_a_date_only(tmp_path: Path):
    with pytest.raises(DataError, match="the times in t have no date"):
        list(MappedReader().tables(read_head(sample(tmp_path)), book(), replace(options(), time_zone="UTC")))
    with pytest.raises(DataError, match="the time zone 'Mars' is unknown"):
        days(write(tmp_path, "when,id,s", "2024-05-01T08:04:00,1,5"), time_zone="Mars")


def test_a_recording_column_and_dates_are_joined(tmp_path: Path):
    path = write(tmp_path, "when,id,s,run", "2024-05-01T07:00:00Z,1,5,x")
    rows = read(path, "time=when", "vehicle=id", "road_position=s", "recording=run")
    assert rows["recording"] == ["x 2024-05-01"]
    assert rows["road"] == ["road"]


def test_parquet_with_timestamps_and_numbers(tmp_path: Path):
    begin = datetime(2024, 5, 1, 7, tzinfo=UTC)
    path = tmp_path / "t.parquet"
    pq.write_table(
        pa.table(
            {
                "when": [begin, begin + timedelta(milliseconds=200)],
                "id": [7.0, 7.0],
                "edge": pa.array(["e", "e"]).dictionary_encode(),
                "lane": [0, 1],
                "pos": [1.5, None],
                "other": [[1], [2]],
            }
        ),
        path,
    )
    rows = read(path, "time=when", "vehicle=id", "edge=edge", "lane=lane", "position=pos:m")
    assert rows["time_s"] == [25_200, 25_200.2]
    assert rows["vehicle"] == ["7", "7"]
    assert (rows["edge"], rows["lane"], rows["position_m"]) == (["e", "e"], [0, 1], [1.5, None])


def test_a_column_of_lists_is_no_number(tmp_path: Path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"t": [0.0], "id": ["a"], "x": [[1.0]], "y": [0.0]}), path)
    with pytest.raises(DataError, match="column x is of the type list"):
        read(path, "time=t", "vehicle=id", "x=x", "y=y")


def test_every_fault_of_a_mapping_is_listed_at_once(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        read(sample(tmp_path), "x=east", "speed=velocity:m/s", "lane=car")
    text = str(caught.value)
    for said in (
        "no column is mapped to time", "no column is mapped to vehicle", "no place is mapped", "x without y",
        "lane without edge, position", "'velocity', which is not there",
    ):  # fmt: skip
        assert said in text


def test_without_a_mapping_the_columns_are_listed(tmp_path: Path):
    with pytest.raises(DataError, match="it has t, car, east, north, v"):
        list(MappedReader().tables(read_head(sample(tmp_path)), book(), ReadOptions()))


def test_a_mapped_column_that_stands_there_twice_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="car stand in the header more than once"):
        read(write(tmp_path, "t,car,east,north,v,car", "0,a,1,2,3,b"))


def test_a_header_alone_is_no_table(tmp_path: Path):
    with pytest.raises(DataError, match="a header and no row"):
        read(write(tmp_path, LINES[0]))


@pytest.mark.data
def test_eleven_scenes_through_a_mapping():
    path = shared_data("trajectories", "ngsim_us101_half_A", "us101_half_A.csv.gz")
    rows = read(
        path, "recording=scene", "vehicle=vehicle_id", "time=t:s", "x=x:m", "y=y:m", "speed=speed:m/s", "class=type"
    )
    assert len(rows["vehicle"]) == 26_643
    assert len(set(zip(rows["recording"], rows["vehicle"], strict=True))) == 388


@pytest.mark.parametrize("cells", [("0,040", "12,500"), ("0,04", "12,5")])
def test_decimal_commas_are_refused(tmp_path: Path, cells: tuple[str, str]):
    path = write(tmp_path, "t;id;x;y", f"{cells[0]};a;{cells[1]};1,250")
    with pytest.raises(DataError, match=f"the column t has decimal commas, as in {cells[0]}"):
        read(path, "time=t", "vehicle=id", "x=x", "y=y")
