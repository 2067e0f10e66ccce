"""Tables of unknown columns, by a mapping."""

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
    assert account.findings[0].rows == 1


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
