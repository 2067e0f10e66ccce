"""I-24 MOTION: JSON documents, feet, positions of the back, both directions."""

import json
from pathlib import Path
from typing import Any

import pytest

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import read_head
from scenariogen.trajectories.readers import i24
from scenariogen.trajectories.readers.contract import ReadOptions
from scenariogen.trajectories.readers.i24 import I24Reader

MIDNIGHT_S = 1_669_075_200  # 2022-11-22, UTC


def document(name: str = "a", *, direction: object = 1, samples: int = 4, **other: Any) -> dict[str, Any]:
    return {
        "_id": {"$oid": name},
        "timestamp": [MIDNIGHT_S + 43_200 + 0.04 * number for number in range(samples)],
        "x_position": [320_000 + 4.0 * number * (1 if direction == 1 else -1) for number in range(samples)],
        "y_position": [18.0] * samples,
        "length": 15.0,
        "width": 6.0,
        "height": 5.0,
        "direction": direction,
        "coarse_vehicle_class": 0,
    } | other


def write(folder: Path, *documents: object, one_a_line: bool = False) -> Path:
    path = folder / "i24.json"
    text = "\n".join(json.dumps(each) for each in documents) if one_a_line else json.dumps(documents)
    path.write_text(text, encoding="utf-8")
    return path


def sample(folder: Path) -> Path:
    return write(folder, document("a"), document("b", direction=-1))


def book() -> AccountBook:
    return AccountBook(file="x", format="i24", title="", subject="vehicles")


def read(path: Path, account: AccountBook | None = None) -> dict[str, list]:
    found: dict[str, list] = {}
    for table in I24Reader().tables(read_head(path), account or book(), ReadOptions()):
        for name, values in table.to_pydict().items():
            found.setdefault(name, []).extend(values)
    return found


@pytest.mark.parametrize("one_a_line", [False, True])
def test_positions_are_the_front_and_grow_in_both_directions(tmp_path: Path, one_a_line: bool):
    rows = read(write(tmp_path, document("a"), document("b", direction=-1), one_a_line=one_a_line))
    assert rows["vehicle"] == ["a"] * 4 + ["b"] * 4
    assert rows["road"][::4] == ["EB", "WB"]
    assert rows["road_m"][0] == pytest.approx((320_000 + 15) * 0.3048)
    assert rows["road_m"][4] == pytest.approx((-320_000 + 15) * 0.3048)
    for first in (0, 4):
        assert rows["road_m"][first + 1] - rows["road_m"][first] == pytest.approx(4 * 0.3048)
    assert rows["time_s"][0] == pytest.approx(43_200)
    assert rows["length_m"][0] == pytest.approx(15 * 0.3048)
    assert rows["vehicle_class"][0] == "sedan"
    assert "speed_mps" not in rows


def test_lists_of_sizes_give_their_median(tmp_path: Path):
    rows = read(write(tmp_path, document(length=[14.0, 15.0, 40.0])))
    assert rows["length_m"][0] == pytest.approx(15 * 0.3048)


@pytest.mark.parametrize(
    ("wrong", "why", "count"),
    [
        (["a list"], "something else than a document of a vehicle", 1),
        ({"timestamp": [1.0]}, "documents without lists of numbers as timestamp and x_position", 1),
        (document(x_position=["a"] * 4), "documents without lists of numbers as timestamp and x_position", 1),
        (document(x_position=[1.0]), "samples of documents whose lists differ in length", 4),
        (document(direction=[1]), "samples of documents whose direction is neither 1 nor -1", 4),
        (document(direction=0), "samples of documents whose direction is neither 1 nor -1", 4),
        (document(x_position=[1.0, None, 2.0, 3.0]), "samples without a time or a position", 1),
    ],
)
def test_what_cannot_be_used_is_counted_and_the_rest_kept(tmp_path: Path, wrong: object, why: str, count: int):
    account = book()
    rows = read(write(tmp_path, wrong, document("good")), account)
    assert set(rows["vehicle"]) - {"a"} == {"good"}
    assert account.dropped == {why: count}
    assert account.rows == len(rows["vehicle"]) + count


def test_a_class_of_another_type_is_no_class(tmp_path: Path):
    assert read(write(tmp_path, document(coarse_vehicle_class=["x"])))["vehicle_class"] == [None] * 4


def test_milliseconds_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="milliseconds"):
        read(write(tmp_path, document(timestamp=[1.669e12, 1.67e12, 1.68e12, 1.69e12])))


def test_a_list_longer_than_the_head_hides_no_format(tmp_path: Path):
    path = write(tmp_path, document(samples=6000))
    head = read_head(path)
    assert "x_position" not in head.text
    assert I24Reader().recognises(head)


def test_documents_come_in_tables_of_bounded_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(i24, "CHUNK_ROWS", 8)
    path = write(tmp_path, *(document(str(number)) for number in range(5)))
    assert [len(table) for table in I24Reader().tables(read_head(path), book(), ReadOptions())] == [8, 8, 4]


def test_a_cut_file_is_an_error(tmp_path: Path):
    path = sample(tmp_path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="no whole JSON"):
        read(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_other_encodings_are_read(tmp_path: Path, encoding: str):
    plain = write(tmp_path, document())
    expected = read(plain)
    plain.write_bytes(plain.read_text(encoding="utf-8").encode(encoding))
    assert read(plain) == expected
