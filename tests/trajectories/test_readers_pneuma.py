"""pNEUMA: ragged rows of repeated samples."""

import gzip
from pathlib import Path

import pytest

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import read_head
from scenariogen.trajectories.readers import pneuma
from scenariogen.trajectories.readers.contract import ReadOptions
from scenariogen.trajectories.readers.pneuma import PneumaReader

HEADER = "track_id; type; traveled_d; avg_speed; lat; lon; speed; lon_acc; lat_acc; time"


def line(vehicle: int, samples: int, *, kind: str = "Car", lat: float = 37.98, lon: float = 23.73) -> str:
    cells = [str(vehicle), f" {kind}", " 48.85", " 9.77"]
    for number in range(samples):
        cells += [f" {lat + 1e-6 * number:.6f}", f" {lon:.6f}", " 36.0", " -0.25", " 0.01", f" {0.04 * number:.2f}"]
    return ";".join(cells) + "; "


def write(folder: Path, *lines: str) -> Path:
    path = folder / "pneuma.csv"
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return path


def sample(folder: Path) -> Path:
    return write(folder, line(1, 5), line(2, 3, kind="Medium Vehicle"))


def book() -> AccountBook:
    return AccountBook(file="x", format="pneuma", title="", subject="vehicles")


def read(path: Path, account: AccountBook | None = None) -> dict[str, list]:
    found: dict[str, list] = {}
    for table in PneumaReader().tables(read_head(path), account or book(), ReadOptions()):
        for name, values in table.to_pydict().items():
            found.setdefault(name, []).extend(values)
    return found


def test_each_sample_is_a_row_in_si_units(tmp_path: Path):
    rows = read(sample(tmp_path))
    assert rows["vehicle"] == ["1"] * 5 + ["2"] * 3
    assert rows["vehicle_class"][::5] == ["Car", "Medium Vehicle"]
    assert rows["time_s"][:5] == pytest.approx([0, 0.04, 0.08, 0.12, 0.16])
    assert rows["speed_mps"][0] == pytest.approx(10)
    assert rows["accel_mps2"][0] == pytest.approx(-0.25)
    assert (rows["lat_deg"][1], rows["lon_deg"][1]) == pytest.approx((37.980001, 23.73))


def test_cut_samples_and_empty_lines_are_counted(tmp_path: Path):
    account = book()
    rows = read(write(tmp_path, line(1, 2) + "37.9; 23.7;", "3; Car; 1; 2;", line(4, 1)), account)
    assert rows["vehicle"] == ["1", "1", "4"]
    assert account.dropped == {
        "samples cut off at the end of a line": 1,
        "lines without a vehicle and at least one sample": 1,
    }
    assert account.rows == 5
    assert [finding.examples for finding in account.findings] == [("line 2",), ("line 3",)]


def test_a_word_empties_its_cell_alone(tmp_path: Path):
    account = book()
    rows = read(write(tmp_path, line(1, 3).replace("37.980001", "north")), account)
    assert rows["lat_deg"][1] is None
    assert rows["lat_deg"][2] == pytest.approx(37.980002)
    assert account.findings[0].rows == 1


def test_swapped_latitude_and_longitude_are_a_problem(tmp_path: Path):
    account = book()
    read(write(tmp_path, line(1, 3, lat=23.73, lon=37.98)), account)
    with pytest.raises(DataError, match="3 rows have latitude and longitude swapped"):
        account.raise_problems("x")


def test_many_vehicles_come_in_several_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pneuma, "CHUNK_ROWS", 10)
    path = write(tmp_path, *(line(vehicle, 4) for vehicle in range(1, 11)))
    tables = list(PneumaReader().tables(read_head(path), book(), ReadOptions()))
    assert [len(table) for table in tables] == [12, 12, 12, 4]


def test_a_line_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pneuma, "LONGEST_LINE", 200)
    with pytest.raises(DataError, match="line 2 is longer than 200"):
        read(write(tmp_path, line(1, 10)))


def test_a_cut_gzip_file_is_named(tmp_path: Path):
    whole = gzip.compress(write(tmp_path, *(line(vehicle, 500) for vehicle in range(1, 60))).read_bytes())
    path = tmp_path / "cut.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cut off"):
        read(path)
