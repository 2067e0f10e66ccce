"""The levelXdata family: corners and centres, carriageways, the files beside the tracks."""

import gzip
import math
from pathlib import Path

import pytest

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import read_head
from scenariogen.trajectories.readers.contract import ReadOptions
from scenariogen.trajectories.readers.highd import HighdReader

HIGHD = "frame,id,x,y,width,height,xVelocity,yVelocity,xAcceleration,yAcceleration,laneId"
IND = "recordingId,trackId,frame,trackLifetime,xCenter,yCenter,heading,width,length,xVelocity,yVelocity,lonVelocity"


def write(folder: Path, tracks: str, *, meta: str = "", recording: str = "id,frameRate\n1,25\n") -> Path:
    folder.mkdir(exist_ok=True)
    if recording:
        (folder / "01_recordingMeta.csv").write_text(recording, encoding="utf-8")
    if meta:
        (folder / "01_tracksMeta.csv").write_text(meta, encoding="utf-8")
    path = folder / "01_tracks.csv"
    path.write_text(tracks, encoding="utf-8")
    return path


def sample(folder: Path) -> Path:
    """A car to the left and a truck to the right, five frames each."""
    rows = [
        *(f"{frame},1,{300 - 1.2 * frame},10,4,2,-30,0,-0.5,0,2" for frame in range(1, 6)),
        *(f"{frame},2,{100 + 0.8 * frame},20,12,2.5,20,0,0.25,0,5" for frame in range(1, 6)),
    ]
    meta = "id,width,height,class,drivingDirection\n1,4,2,Car,1\n2,12,2.5,Truck,2\n"
    return write(folder / "highd", "\n".join([HIGHD, *rows]) + "\n", meta=meta)


def ind_sample(folder: Path) -> Path:
    rows = [
        "7,0,0,0,10,20,90,1.8,4,0,5,5",
        "7,0,1,1,10,20.2,90,1.8,4,0,5,5",
        "7,1,0,0,3,4,0,0,0,1,0,1",
        "7,1,1,1,3.04,4,0,0,0,1,0,1",
    ]
    meta = "recordingId,trackId,class\n7,0,car\n7,1,pedestrian\n"
    return write(
        folder / "ind",
        "\n".join([IND, *rows]) + "\n",
        meta=meta,
        recording="recordingId,locationId,frameRate,xUtmOrigin,yUtmOrigin\n7,1,25,500000,5600000\n",
    )


def book() -> AccountBook:
    return AccountBook(file="x", format="highd", title="", subject="vehicles")


def read(path: Path, account: AccountBook | None = None) -> dict[str, list]:
    found: dict[str, list] = {}
    for table in HighdReader().tables(read_head(path), account or book(), ReadOptions()):
        for name, values in table.to_pydict().items():
            found.setdefault(name, []).extend(values)
    return found


def test_highd_gives_the_front_in_the_direction_of_travel(tmp_path: Path):
    rows = read(sample(tmp_path))
    assert rows["time_s"][0] == pytest.approx(0.04)
    assert rows["road"][::5] == ["carriageway 1", "carriageway 2"]
    assert rows["x_m"][::5] == pytest.approx([300 - 1.2, 100.8 + 12])
    assert rows["y_m"][::5] == pytest.approx([-11, -21.25])
    assert rows["speed_mps"][::5] == pytest.approx([30, 20])
    assert rows["accel_mps2"][::5] == pytest.approx([0.5, 0.25])
    assert rows["length_m"][::5] == [4, 12]
    assert rows["width_m"][::5] == [2, 2.5]
    assert rows["vehicle_class"][::5] == ["car", "truck"]
    moved = [rows["road_m"][number + 1] - rows["road_m"][number] for number in (0, 5)]
    assert moved == pytest.approx([30 / 25, 20 / 25])


def test_without_tracks_meta_the_velocity_tells_the_side_and_it_is_said(tmp_path: Path):
    path = write(tmp_path, f"{HIGHD}\n1,1,300,10,4,2,-30,0,0,0,2\n1,2,50,10,4,2,0,0,0,0,2\n")
    account = book()
    rows = read(path, account)
    assert rows["road"] == ["carriageway 1", None]
    assert rows["road_m"] == [-300, None]
    assert rows["speed_mps"] == [30, 0]
    texts = [finding.text for finding in account.findings]
    assert any("01_tracksMeta.csv is not beside it" in text for text in texts)
    assert any("nothing says on which carriageway" in text for text in texts)


def test_ind_gives_the_front_half_a_length_ahead_and_leaves_out_pedestrians(tmp_path: Path):
    account = book()
    rows = read(ind_sample(tmp_path), account)
    assert rows["vehicle"] == ["0", "0"]
    assert rows["x_m"] == pytest.approx([10, 10])
    assert rows["y_m"] == pytest.approx([22, 22.2])
    assert rows["recording"] == ["7", "7"]
    assert account.dropped == {"of pedestrians": 2}
    assert account.rows == 4
    assert account.facts["xUtmOrigin"] == "500000"


def test_without_lon_velocity_the_speed_is_that_of_the_components(tmp_path: Path):
    header = "trackId,frame,xCenter,yCenter,heading,xVelocity,yVelocity"
    rows = read(write(tmp_path, f"{header}\n1,1,0,0,45,3,4\n"))
    assert rows["speed_mps"] == [5]
    assert rows["x_m"] == [0]  # no length: the centre stays


@pytest.mark.parametrize(
    ("recording", "said"),
    [
        ("", "01_recordingMeta.csv is not beside it"),
        ("id,frameRate\n1,fast\n", "frameRate is 'fast'"),
        ("id,frameRate\n1,0\n", "frameRate is '0'"),
        ("id\n1\n", "frameRate is ''"),
    ],
)
def test_the_frame_rate_is_asked_for(tmp_path: Path, recording: str, said: str):
    path = write(tmp_path, f"{HIGHD}\n1,1,300,10,4,2,-30,0,0,0,2\n", recording=recording)
    with pytest.raises(DataError, match=said) as caught:
        read(path)
    assert "--map time=frame:1/25s" in str(caught.value)


def test_a_file_of_another_name_cannot_have_files_beside_it(tmp_path: Path):
    path = sample(tmp_path).rename(tmp_path / "other.csv")
    with pytest.raises(DataError, match=r"Call them NN_tracks\.csv"):
        read(path)


def test_gzipped_siblings_are_found(tmp_path: Path):
    path = sample(tmp_path)
    for name in ("01_tracks", "01_tracksMeta", "01_recordingMeta"):
        plain = path.with_name(f"{name}.csv")
        plain.with_name(f"{name}.csv.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    assert len(read(path.with_name("01_tracks.csv.gz"))["vehicle"]) == 10


def test_rows_of_another_recording_are_a_problem(tmp_path: Path):
    path = ind_sample(tmp_path)
    with path.open("a") as stream:
        stream.write("8,0,1,1,10,20.2,90,1.8,4,0,5,5\n")
    account = book()
    read(path, account)
    with pytest.raises(DataError, match="1 rows belong to another recording"):
        account.raise_problems("x")


def test_rows_without_an_id_stand_nowhere_else(tmp_path: Path):
    rows = read(write(tmp_path, f"{HIGHD}\n1,,300,10,4,2,-30,0,0,0,2\n"))
    assert rows["vehicle"] == [None]
    assert math.isclose(rows["x_m"][0], 300)
