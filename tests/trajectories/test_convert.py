"""Conversion: what is dropped and why, what is derived, what is impossible, and that nothing half-written stays."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scenariogen.accounts import AccountBook, FileAccount
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, read_head
from scenariogen.trajectories import columns
from scenariogen.trajectories.columns import Motion, Place
from scenariogen.trajectories.convert import convert
from scenariogen.trajectories.motion import distance_sql
from scenariogen.trajectories.readers.contract import ReadOptions, TrajectoryReader


class Given(TrajectoryReader):
    """Gives the tables that a test made."""

    name = "given"
    title = "tables of a test"

    def __init__(self, *parts: dict[str, list]) -> None:
        self.parts = parts

    def recognises(self, head: FileHead) -> bool:
        return False

    def tables(self, head: FileHead, book: AccountBook, options: ReadOptions) -> Iterator[pa.Table]:
        for part in self.parts:
            book.rows += len(part[columns.TIME])
            yield pa.table({name: pa.array(part[name], columns.arrow_type(name)) for name in part})


def run(folder: Path, *parts: dict[str, list]) -> tuple[FileAccount, dict[str, list]]:
    source = folder / "source.csv"
    source.write_text("a,b\n1,2\n", encoding="utf-8")
    target = folder / "result.parquet"
    account = convert(read_head(source), Given(*parts), target, options=ReadOptions())
    table = pq.read_table(target)
    assert len(table) == account.kept
    assert account.rows == account.kept + sum(account.dropped.values())
    assert sorted(path.name for path in folder.iterdir()) == ["result.parquet", "source.csv"]
    return account, table.to_pydict()


def track(
    times_s: Sequence[float | None], places_m: Sequence[float], *, vehicle: str = "a", **other: list
) -> dict[str, list]:
    return {
        columns.TIME: list(times_s), columns.VEHICLE: [vehicle] * len(times_s), columns.X: list(places_m),
        columns.Y: [0.0] * len(times_s),
    } | other  # fmt: skip


def joined(*parts: dict[str, list]) -> dict[str, list]:
    return {name: [value for part in parts for value in part[name]] for name in parts[0]}


def test_rows_are_sorted_and_typed_and_days_numbered_by_name(tmp_path: Path):
    late = track([1.0, 0.0], [1.0, 0.0], recording=["b", "b"])
    early = track([0.0, 1.0], [5.0, 6.0], recording=["a", "a"])
    account, rows = run(tmp_path, late, early)
    assert list(zip(rows["day"], rows["time_s"], rows["x_m"], strict=True)) == [
        (0, 0.0, 5.0), (0, 1.0, 6.0), (1, 0.0, 0.0), (1, 1.0, 1.0),
    ]  # fmt: skip
    assert account.facts["recordings"] == "a, b"
    assert account.subjects == 2
    schema = pq.read_schema(tmp_path / "result.parquet")
    assert schema.field("time_s").type == pa.float64()
    assert schema.field("speed_mps").type == pa.float32()
    assert schema.field("day").type == pa.int32()
    assert [name for name in columns.ALL if name in schema.names] == schema.names


def test_speed_is_the_central_difference_and_acceleration_that_of_speed(tmp_path: Path):
    times = np.arange(0, 2.01, 0.1)
    account, rows = run(tmp_path, track(list(times), list(3 * times + times**2)))
    assert rows["speed_mps"][1:-1] == pytest.approx(3 + 2 * times[1:-1], abs=1e-5)
    assert rows["speed_mps"][0] == pytest.approx(3.1, abs=1e-5)  # one-sided at the end
    assert rows["accel_mps2"][2:-2] == pytest.approx([2.0] * (len(times) - 4), abs=1e-4)
    assert all(rows["speed_is_derived"])
    assert all(rows["accel_is_derived"])
    assert set(account.derived) == {"speed_mps", "accel_mps2"}
    assert not any(rows["motion_flags"])


def test_speeds_of_the_source_stay_and_gaps_in_them_are_filled(tmp_path: Path):
    times = [0.0, 1.0, 2.0, 3.0]
    _, rows = run(tmp_path, track(times, [0.0, 10.0, 20.0, 30.0], speed_mps=[9.0, None, 9.0, 9.0]))
    assert rows["speed_mps"] == [9, 10, 9, 9]
    assert rows["speed_is_derived"] == [False, True, False, False]


def test_nothing_is_derived_across_a_hole(tmp_path: Path):
    times = [0.0, 0.1, 0.2, 9.0, 9.1, 9.2]
    account, rows = run(tmp_path, track(times, [0.0, 1.0, 2.0, 500.0, 502.0, 504.0]))
    assert rows["speed_mps"] == pytest.approx([10, 10, 10, 20, 20, 20])
    assert rows["accel_mps2"] == pytest.approx([0] * 6, abs=1e-4)
    assert any(finding.text == "follow a hole in their track" and finding.rows == 1 for finding in account.findings)


def test_a_lone_sample_has_no_speed_and_is_kept(tmp_path: Path):
    _, rows = run(tmp_path, joined(track([0.0, 1.0], [0.0, 1.0]), track([0.5], [7.0], vehicle="lone")))
    assert rows["speed_mps"][rows["vehicle"].index("lone")] is None
    assert not rows["speed_is_derived"][rows["vehicle"].index("lone")]


def test_the_road_comes_before_the_plane_and_the_plane_fills_in(tmp_path: Path):
    part = track(
        [0.0, 1.0, 2.0, 3.0], [0.0, 7.0, 14.0, 21.0], road=["r", "r", None, None], road_m=[0.0, 5.0, None, None]
    )
    _, rows = run(tmp_path, part)
    assert rows["speed_mps"] == pytest.approx([5, 6, 7, 7])


def test_degrees_give_metres(tmp_path: Path):
    lat = [50.0, 50.0, 50.0]
    lon = [8.0, 8.0001, 8.0002]
    _, rows = run(tmp_path, {"time_s": [0.0, 1.0, 2.0], "vehicle": ["a"] * 3, "lon_deg": lon, "lat_deg": lat})
    expected = 6_371_008.8 * np.radians(1e-4) * np.cos(np.radians(50.0))
    assert rows["speed_mps"] == pytest.approx([expected] * 3, rel=1e-6)


@pytest.mark.parametrize(
    ("change", "flag"),
    [
        ({"speed_mps": [10.0, 95.0, 10.0, 10.0]}, Motion.TOO_FAST),
        ({"speed_mps": [10.0, -3.0, 10.0, 10.0]}, Motion.TOO_FAST),
        ({"accel_mps2": [0.0, -12.0, 0.0, 0.0]}, Motion.TOO_HARSH),
        ({"road_m": [0.0, 400.0, 410.0, 420.0]}, Motion.JUMP),
        ({"road_m": [0.0, -3.0, 7.0, 17.0]}, Motion.BACKWARD),
    ],
)
def test_impossible_motion_is_marked_and_counted_never_changed(tmp_path: Path, change: dict[str, list], flag: Motion):
    part = {
        "time_s": [0.0, 1.0, 2.0, 3.0], "vehicle": ["a"] * 4, "road": ["r"] * 4, "road_m": [0.0, 10.0, 20.0, 30.0],
        "speed_mps": [10.0] * 4, "accel_mps2": [0.0] * 4,
    } | change  # fmt: skip
    account, rows = run(tmp_path, part)
    assert Motion(rows["motion_flags"][1]) & flag
    name, values = next(iter(change.items()))
    assert rows[name] == values
    assert any(finding.rows >= 1 and "vehicle a at" in finding.examples[0] for finding in account.findings)


def test_a_row_is_dropped_once_with_the_first_reason(tmp_path: Path):
    bad = {
        "time_s": [None, float("inf"), 5.0, 6.0, 7.0],
        "vehicle": ["a", None, "", "a", "a"],
        "x_m": [None, 1.0, 1.0, None, float("nan")],
        "y_m": [1.0] * 5,
    }
    account, _ = run(tmp_path, joined(track([0.0, 1.0], [0.0, 1.0]), bad))
    assert account.dropped == {"without a time": 2, "without a vehicle": 1, "without a place": 2}


def test_a_time_that_no_clock_shows_is_dropped_and_counted(tmp_path: Path):
    """One such row made the median step infinite where a vehicle had few samples."""
    account, rows = run(tmp_path, track([-1e308, 0.0, 1.0, 1e300], [0.0, 0.0, 1.0, 2.0]))
    assert account.dropped == {"at a time that no clock shows": 2}
    assert rows["time_s"] == [0.0, 1.0]


def test_rows_without_a_recording_are_dropped(tmp_path: Path):
    account, rows = run(tmp_path, track([0.0, 1.0, 2.0], [0.0, 1.0, 2.0], recording=["x", "x", None]))
    assert account.dropped == {"without a recording": 1}
    assert rows["day"] == [0, 0]


def test_projected_coordinates_are_no_degrees(tmp_path: Path):
    part = {"time_s": [0.0, 1.0], "vehicle": ["a"] * 2, "lon_deg": [4e5, 4e5], "lat_deg": [5e6, 5e6]}
    with pytest.raises(DataError, match=r"2 outside the degrees of the earth \(swapped, in another unit, or projected"):
        run(tmp_path, part)


def test_repeated_rows_are_dropped_with_an_account(tmp_path: Path):
    once = track([0.0, 1.0, 2.0], [0.0, 1.0, 2.0])
    account, rows = run(tmp_path, once, once, once)
    assert account.dropped == {"repeat another row exactly": 6}
    assert rows["x_m"] == [0, 1, 2]


def test_a_few_contradictions_are_left_out_altogether(tmp_path: Path):
    times = [float(number) for number in range(400)]
    whole = track(times, times)
    account, rows = run(tmp_path, whole, track([7.0], [300.0]))
    assert account.dropped == {"contradict another row of the same vehicle and time": 2}
    assert 7.0 not in rows["time_s"]
    assert any("vehicle a at 7 s of recording 0" in finding.examples for finding in account.findings)


def test_mixed_recordings_are_a_problem(tmp_path: Path):
    times = [float(number) for number in range(40)]
    with pytest.raises(DataError, match="80 rows put a vehicle at several places at once"):
        run(tmp_path, track(times, times), track(times, [5.0 + time for time in times]))


def test_positions_in_feet_beside_speeds_in_metres_are_noticed(tmp_path: Path):
    times = [0.1 * number for number in range(200)]
    account, _ = run(tmp_path, track(times, [32.8 * time for time in times], speed_mps=[10.0] * 200))
    assert any("cover 3.28 times the distance" in finding.text for finding in account.findings)


def test_agreeing_positions_and_speeds_raise_no_remark(tmp_path: Path):
    times = [0.1 * number for number in range(200)]
    account, _ = run(tmp_path, track(times, [10 * time for time in times], speed_mps=[10.0] * 200))
    assert account.findings == ()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((), "no row that can be used"),
        ((track([None], [1.0]),), "left out: 1 without a time"),
        ((track([0.0], [1.0]),), "no vehicle has two samples"),
    ],
)
def test_what_cannot_be_used_leaves_nothing_behind(tmp_path: Path, parts: tuple, said: str):
    with pytest.raises(DataError, match=said):
        run(tmp_path, *parts)
    assert [path.name for path in tmp_path.iterdir()] == ["source.csv"]


def test_an_older_result_stays_where_the_new_one_fails(tmp_path: Path):
    run(tmp_path, track([0.0, 1.0], [0.0, 1.0]))
    before = (tmp_path / "result.parquet").read_bytes()
    with pytest.raises(DataError):
        run(tmp_path, track([0.0], [1.0]))
    assert (tmp_path / "result.parquet").read_bytes() == before


def test_the_file_itself_is_no_target(tmp_path: Path):
    source = tmp_path / "source.csv"
    source.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="give the result another name"):
        convert(read_head(source), Given(), source, options=ReadOptions())
    assert source.read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize("place", list(Place))
def test_every_place_has_a_distance(place: Place):
    for ahead in (False, True):
        assert "OVER w" in distance_sql([place], ahead=ahead)
