"""NGSIM: headers of all releases, feet, reused ids, re-extractions, arterials."""

from pathlib import Path

import pytest

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import read_head
from scenariogen.trajectories.readers.contract import ReadOptions
from scenariogen.trajectories.readers.ngsim import NgsimReader
from scenariogen.trajectories.readers.ngsim_text import NgsimTextReader
from tests.support import shared_data

OF_18 = (
    "Vehicle_ID,Frame_ID,Total_Frames,Global_Time,Local_X,Local_Y,Global_X,Global_Y,v_Length,v_Width,v_Class,v_Vel,"
    "v_Acc,Lane_ID,Preceding,Following,Space_Hdwy,Time_Hdwy"
)
OF_25 = (
    "vehicle_id,frame_id,total_frames,global_time,local_x,local_y,global_x,global_y,v_length,v_width,v_class,v_vel,"
    "v_acc,lane_id,o_zone,d_zone,int_id,section_id,direction,movement,preceding,following,space_headway,time_headway,"
    "location"
)


def row_of_18(vehicle: int, frame: int, *, local_y: object = 0.0, speed: object = 50.0, clock: object = None) -> str:
    clock = 1_118_846_980_200 + 100 * frame if clock is None else clock
    return f"{vehicle},{frame},99,{clock},16.5,{local_y},6451137.6,1873344.9,15,6.5,2,{speed},1.5,2,0,0,0,9999.99"


def row_of_25(vehicle: int, frame: int, *, local_y: float, direction: object, location: str = "peachtree") -> str:
    return (
        f"{vehicle}.0,{frame},99,{1_163_018_600 + 100 * frame},-5,{local_y},2230502.9,1375532.9,15,6.5,3,20,0.5,11,0,0,"
        f"0,0,{direction},1,0,0,0,9999.99,{location}"
    )


def write(folder: Path, *lines: str, name: str = "cars.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def sample(folder: Path) -> Path:
    """Two vehicles of six frames, at 50 ft/s."""
    rows = [row_of_18(car, frame, local_y=100 * car + 5.0 * frame) for car in (1, 2) for frame in range(1, 7)]
    return write(folder, OF_18, *rows, name="ngsim.csv")


def text_sample(folder: Path) -> Path:
    """The same without a header, parted by blanks."""
    rows = [row_of_18(car, frame, local_y=100 * car + 5.0 * frame) for car in (1, 2) for frame in range(1, 7)]
    return write(
        folder, *("  " + row.replace(",", "   ").replace("   2   ", " \t2 ") for row in rows), name="ngsim.txt"
    )


def read(path: Path, book: AccountBook | None = None) -> dict[str, list]:
    book = book or AccountBook(file="x", format="ngsim", title="", subject="vehicles")
    found: dict[str, list] = {}
    reader = NgsimTextReader() if path.suffix == ".txt" else NgsimReader()
    for table in reader.tables(read_head(path), book, ReadOptions()):
        for name, values in table.to_pydict().items():
            found.setdefault(name, []).extend(values)
    return found


def book() -> AccountBook:
    return AccountBook(file="x", format="ngsim", title="", subject="vehicles")


def test_feet_become_metres_and_frames_tenths_of_a_second(tmp_path: Path):
    rows = read(sample(tmp_path))
    assert rows["time_s"][:6] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert rows["vehicle"][::6] == ["1", "2"]
    assert rows["road_m"][0] == pytest.approx(105 * 0.3048)
    assert rows["speed_mps"][0] == pytest.approx(50 * 0.3048)
    assert rows["accel_mps2"][0] == pytest.approx(1.5 * 0.3048)
    assert rows["length_m"][0] == pytest.approx(15 * 0.3048)
    assert rows["vehicle_class"][0] == "car"
    assert rows["road_lane"][0] == 2
    assert rows["x_m"][0] == pytest.approx(6451137.6 * 1200 / 3937, abs=0.01)


@pytest.mark.parametrize("change", [str.upper, str.lower, lambda text: text.replace("Space_Hdwy", "Space_Headway")])
def test_the_header_s_spelling_does_not_matter(tmp_path: Path, change):
    path = write(tmp_path, change(OF_18), row_of_18(1, 1))
    assert NgsimReader().recognises(read_head(path))
    assert read(path)["vehicle"] == ["1"]


def test_a_subset_of_the_columns_is_enough(tmp_path: Path):
    path = write(tmp_path, "Frame_ID,Vehicle_ID,Local_Y,v_Vel", "1,7,100,30", "2,7,103,30")
    rows = read(path)
    assert set(rows) == {"time_s", "vehicle", "speed_mps", "road", "road_m"}


def test_columns_of_zeros_are_not_there_and_named(tmp_path: Path):
    zeros = ["0"] * 18
    lines = []
    for frame in range(1, 5):
        cells = zeros.copy()
        cells[0], cells[1], cells[5], cells[11] = "7", str(frame), str(100 + 3 * frame), "30"
        lines.append(",".join(cells))
    account = book()
    rows = read(write(tmp_path, OF_18, *lines), account)
    assert set(rows) == {"time_s", "vehicle", "speed_mps", "road", "road_m"}
    assert "v_Length" in account.findings[0].text
    assert "Global_Time" in account.findings[0].text


def test_speeds_of_zero_are_true_where_nothing_moves(tmp_path: Path):
    rows = read(write(tmp_path, OF_18, *(row_of_18(1, frame, local_y=50, speed=0) for frame in range(1, 5))))
    assert rows["speed_mps"] == [0.0] * 4


def test_speeds_of_zero_are_not_there_where_vehicles_move(tmp_path: Path):
    rows = read(write(tmp_path, OF_18, *(row_of_18(1, frame, local_y=50 + frame, speed=0) for frame in range(1, 5))))
    assert "speed_mps" not in rows


@pytest.mark.parametrize("drives_off_mps", [10.0, 0.0])
def test_a_file_may_begin_with_a_vehicle_that_waits(tmp_path: Path, drives_off_mps: float):
    """Its position creeps by a millimetre a frame, which is no movement; the rest of the file tells whether it has
    speeds."""
    feet = 1 / 0.3048
    rows = [row_of_18(1, frame, local_y=frame * 0.001 * feet, speed="0.00") for frame in range(1, 1500)]
    speed = drives_off_mps * feet
    rows += [row_of_18(1, 1500 + frame, local_y=(1.5 + frame) * feet, speed=speed) for frame in range(20)]
    path, account = write(tmp_path, OF_18, *rows), book()
    assert not read_head(path).is_whole
    found = read(path, account)
    account.raise_problems("x")
    if drives_off_mps:
        assert found["speed_mps"] == pytest.approx([0.0] * 1499 + [10.0] * 20)
    else:
        assert "speed_mps" not in found and account.findings[0].text.startswith("columns v_Vel hold 0 only")


def test_accelerations_that_begin_with_zeros_at_a_steady_speed_are_true(tmp_path: Path):
    rows = [row_of_18(1, frame, local_y=5 * frame).replace(",1.5,", ",0.0,") for frame in range(1, 1500)]
    found = read(write(tmp_path, OF_18, *rows, row_of_18(1, 1500, local_y=7500)))
    assert found["accel_mps2"] == pytest.approx([0.0] * 1499 + [1.5 * 0.3048])


def test_a_column_that_begins_with_zeros_and_fills_later_is_a_problem(tmp_path: Path):
    rows = [row_of_18(1, frame, local_y=frame, clock=0) for frame in range(1, 1500)]
    account = book()
    read(write(tmp_path, OF_18, *rows, row_of_18(1, 1500, local_y=1500, clock=77)), account)
    with pytest.raises(DataError, match="Global_Time, which is 0 in the beginning"):
        account.raise_problems("x")


def test_reused_ids_are_told_apart_by_the_clock(tmp_path: Path):
    rows = read(write(tmp_path, OF_18, row_of_18(1, 10, clock=6000), row_of_18(1, 10, clock=16_000)))
    assert rows["recording"] == ["5000", "15000"]


def test_a_rounded_clock_is_refused(tmp_path: Path):
    rows = [row_of_18(1, frame, local_y=frame, clock="1.11885E+12") for frame in range(1, 200)]
    with pytest.raises(DataError, match=r"Global_Time - 100 \* Frame_ID takes more than 64 values"):
        read(write(tmp_path, OF_18, *rows))


def test_arterials_run_in_the_direction_of_travel(tmp_path: Path):
    lines = [row_of_25(1, 1, local_y=100.0, direction=code) for code in (2, 4, 0, "")]
    rows = read(write(tmp_path, OF_25, *lines))
    assert rows["road"] == ["peachtree NB", "peachtree SB", "peachtree", "peachtree"]
    assert rows["road_m"] == pytest.approx([30.48, -30.48, 30.48, 30.48])
    assert rows["recording"][0] == "peachtree 1163018600"


def test_locations_are_recordings_of_their_own(tmp_path: Path):
    lines = [row_of_25(1, 1, local_y=1.0, direction=2, location=place) for place in ("us-101", "i-80")]
    assert [name.split()[0] for name in read(write(tmp_path, OF_25, *lines))["recording"]] == ["us-101", "i-80"]


def test_thousands_in_quotes_are_read(tmp_path: Path):
    path = write(tmp_path, OF_18, row_of_18(1, 1, local_y='"1,163.5"'), row_of_18(1, 2, local_y='"1,163,018.6"'))
    assert read(path)["road_m"] == pytest.approx([1163.5 * 0.3048, 1163018.6 * 0.3048])


def test_thousands_without_quotes_are_ragged_rows_and_named(tmp_path: Path):
    account = book()
    rows = read(write(tmp_path, OF_18, row_of_18(1, 1), row_of_18(1, 2, local_y="1,163.5")), account)
    assert len(rows["vehicle"]) == 1
    assert account.dropped == {"rows with another number of cells than the header": 1}
    assert account.findings[0].examples == ("line 3: 19 instead of 18",)
    assert account.rows == 2


def test_words_in_numbers_are_counted(tmp_path: Path):
    account = book()
    rows = read(write(tmp_path, OF_18, row_of_18(1, 1, speed="fast"), row_of_18(1, 2, speed="inf")), account)
    assert rows["speed_mps"] == [None, None]
    assert [(each.rows, each.text) for each in account.findings] == [
        (2, "hold something else than a number in v_Vel: taken as empty")
    ]


def test_a_missing_column_is_named(tmp_path: Path):
    with pytest.raises(DataError, match="lacks frame_id"):
        read(write(tmp_path, "Vehicle_ID,Local_Y,v_Vel", "1,2,3"))


@pytest.mark.data
def test_peachtree_is_two_recordings():
    rows = read(shared_data("trajectories", "ngsim_peachtree_raw", "NGSIM_peachtree_subset_motive.csv"))
    counts = {name: rows["recording"].count(name) for name in set(rows["recording"])}
    assert counts == {"peachtree 1163018600": 4017, "peachtree 1163030300": 983}
    assert len(set(zip(rows["recording"], rows["vehicle"], strict=True))) == 165


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "expected"),
    [("i80_coifman_li_2017.csv.gz", (215_244, 2283)), ("i80_coifman_ngsim_header_first120s.csv", (23_246, 282))],
)
def test_the_re_extraction_has_no_clock_and_no_plane(name: str, expected: tuple[int, int]):
    rows = read(shared_data("trajectories", "coifman_i80", name))
    assert (len(rows["vehicle"]), len(set(rows["vehicle"]))) == expected
    assert "recording" not in rows
    assert "x_m" not in rows


def test_a_text_without_a_header_reads_like_the_table_with_one(tmp_path: Path):
    account = book()
    assert read(text_sample(tmp_path), account) == read(sample(tmp_path))
    assert "NGSIM's order is taken" in " ".join(finding.text for finding in account.findings)


def test_a_row_of_a_text_that_lacks_a_cell_is_counted_with_its_line(tmp_path: Path):
    path = text_sample(tmp_path)
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[3] = lines[3].rsplit(maxsplit=1)[0]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    account = book()
    assert len(read(path, account)["time_s"]) == 11
    assert sum(account.dropped.values()) == 1
    assert "line 4: 17 instead of 18" in str(account.__dict__)


@pytest.mark.parametrize("cells", ["1 2 3", "a " * 18, "1 1 99 12 " + "0 " * 14])
def test_other_texts_are_not_taken_for_it(tmp_path: Path, cells: str):
    path = write(tmp_path, cells, cells, name="x.txt")
    assert not NgsimTextReader().recognises(read_head(path))
    with pytest.raises(DataError):
        read(write(tmp_path, "one", "two", name="y.txt"))
