"""The levelXdata family: highD on motorways; inD, rounD, exiD and uniD elsewhere.

After R. Krajewski and others, *The highD Dataset* (2018), J. Bock and others, *The inD Dataset* (2020), and the format
descriptions that come with the data. A recording is three files, ``NN_tracks.csv``, ``NN_tracksMeta.csv`` and
``NN_recordingMeta.csv``; the first is given, the others are looked for beside it. The frame rate stands in the last
one only. Metres and metres per second throughout.

highD: ``x, y`` is the upper left corner of a vehicle's box in an image whose y grows downwards, ``width`` its length
and ``height`` its width; carriageway 1 drives towards smaller x. The front is ``x`` there and ``x + width`` on
carriageway 2. The others: ``xCenter, yCenter`` and ``heading`` in degrees (east 0, counter-clockwise); the front is
half a length ahead.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made, open_text, read_head
from scenariogen.trajectories import columns
from scenariogen.trajectories.readers import tables
from scenariogen.trajectories.readers.contract import ReadOptions, TrajectoryReader

if TYPE_CHECKING:
    import pyarrow as pa

MOTORWAY = ("frame", "id", "x", "y", "width", "height", "xVelocity", "yVelocity")
ELSEWHERE = ("trackId", "frame", "xCenter", "yCenter", "heading", "xVelocity", "yVelocity")
_TRACKS = re.compile(r"^(?P<stem>.*?)_?tracks(?P<end>\.csv(\.gz)?)$", re.IGNORECASE)


class HighdReader(TrajectoryReader):
    """``NN_tracks.csv`` with what stands beside it."""

    name = "highd"
    title = "levelXdata trajectories (highD, inD, rounD, exiD)"

    def recognises(self, head: FileHead) -> bool:
        names = set(head.header)
        return head.made is Made.TEXT and (set(MOTORWAY) <= names or set(ELSEWHERE) <= names)

    def tables(self, head: FileHead, book: AccountBook, options: ReadOptions) -> Iterator["pa.Table"]:
        if not self.recognises(head):
            raise DataError(
                f"{head.path} has neither highD's columns ({', '.join(MOTORWAY)}) nor inD's ({', '.join(ELSEWHERE)})"
            )
        recording, vehicles = _beside(head, book)
        rate = _frame_rate(head, recording)
        is_motorway = set(MOTORWAY) <= set(head.header)
        _write_facts(book, recording, rate, is_motorway=is_motorway)
        names = list(MOTORWAY if is_motorway else ELSEWHERE)
        extra = ["xAcceleration", "yAcceleration", "laneId"] if is_motorway else [
            "lonVelocity", "lonAcceleration", "length", "width",
        ]  # fmt: skip
        names += [name for name in extra if name in head.header]
        make = _motorway if is_motorway else _elsewhere
        for block in tables.text_blocks(head, book, names):
            yield make(block, rate, vehicles, book)


def _beside(head: FileHead, book: AccountBook) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The recording's own line, and a line per vehicle by id; empty where the files are not there."""
    match = _TRACKS.match(head.path.name)
    recording: dict[str, str] = {}
    vehicles: dict[str, dict[str, str]] = {}
    if match is None:
        book.note("is not called NN_tracks.csv, so that the files that belong to it cannot be found beside it")
        return recording, vehicles
    for what in ("recordingMeta", "tracksMeta"):
        separator = "_" if match["stem"] else ""
        found = [
            path
            for end in (match["end"], ".csv", ".csv.gz")
            if (path := head.path.with_name(f"{match['stem']}{separator}{what}{end}")).is_file()
        ]
        if not found:
            book.note(f"{match['stem']}{separator}{what}.csv is not beside it")
        elif what == "recordingMeta":
            recording = next(iter(_rows(found[0])), {})
        else:
            vehicles = {row.get("trackId", row.get("id", "")): row for row in _rows(found[0])}
    return recording, vehicles


def _rows(path: Path) -> list[dict[str, str]]:
    head = read_head(path)
    with open_text(head) as stream:
        return [
            {(name or "").strip(): (value or "").strip() for name, value in row.items() if isinstance(value, str)}
            for row in csv.DictReader(stream, delimiter=head.delimiter)
        ]


def _frame_rate(head: FileHead, recording: Mapping[str, str]) -> float:
    text = recording.get("frameRate", "")
    try:
        rate = float(text)
    except ValueError:
        rate = float("nan")
    if not 0 < rate < 1000:
        said = f"frameRate is {text!r} there" if text else "there is none beside it"
        raise DataError(
            f"{head.path}: the frame rate stands in the recordingMeta file, and {said}. Put NN_recordingMeta.csv "
            "beside NN_tracks.csv, or give the columns yourself: --map time=frame:1/25s --map vehicle=... "
        )
    return rate


def _write_facts(book: AccountBook, recording: Mapping[str, str], rate: float, *, is_motorway: bool) -> None:
    book.facts["frame rate"] = f"{rate:g} a second (recordingMeta)"
    for name in ("locationId", "weekDay", "month", "startTime", "speedLimit", "xUtmOrigin", "yUtmOrigin"):
        if recording.get(name):
            book.facts[name] = recording[name]
    book.units |= {
        columns.TIME: f"frame / {rate:g} s",
        columns.SPEED: "xVelocity, yVelocity in m/s",
        columns.X: "front of the vehicle in m, y turned upwards" if is_motorway else "front of the vehicle in m",
    }
    if is_motorway:
        book.units[columns.ROAD_POSITION] = "x in m, turned round on carriageway 1"


def _motorway(
    block: "pa.Table", rate: float, vehicles: Mapping[str, Mapping[str, str]], book: AccountBook
) -> "pa.Table":
    import numpy as np
    import pyarrow as pa

    def read(name: str) -> np.ndarray:
        return tables.numbers(block, name, book).to_numpy(zero_copy_only=False)

    x, y, long_m, wide_m, speed = (read(name) for name in ("x", "y", "width", "height", "xVelocity"))
    identity = tables.whole_numbers_as_words(tables.numbers(block, "id", book))
    names = identity.dictionary.to_pylist()
    side = np.array([_side(vehicles.get(name, {})) for name in names], dtype=float)[
        identity.indices.fill_null(0).to_numpy(zero_copy_only=False)
    ]
    side = np.where(side == 0, np.sign(speed), side)  # without tracksMeta the way it moves tells
    front = np.where(side < 0, x, x + long_m)
    made: dict[str, pa.Array] = {
        columns.TIME: pa.array(read("frame") / rate),
        columns.VEHICLE: identity,
        columns.SPEED: _single(speed * side),
        columns.ROAD: pa.DictionaryArray.from_arrays(
            pa.array(np.where(side < 0, 0, 1).astype(np.int32)), pa.array(["carriageway 1", "carriageway 2"])
        ),
        columns.ROAD_POSITION: pa.array(front * side),
        columns.X: pa.array(front),
        columns.Y: pa.array(-(y + wide_m / 2)),
        columns.LENGTH: _single(long_m),
        columns.WIDTH: _single(wide_m),
        columns.CLASS: _classes(identity, vehicles),
    }
    if "xAcceleration" in block.column_names:
        made[columns.ACCELERATION] = _single(read("xAcceleration") * side)
    if "laneId" in block.column_names:
        made[columns.ROAD_LANE] = tables.small_integers(tables.numbers(block, "laneId", book))
    return pa.table(made)


def _side(vehicle: Mapping[str, str]) -> float:
    """-1 on carriageway 1, 1 on carriageway 2, 0 where it is not said."""
    return {"1": -1.0, "2": 1.0}.get(vehicle.get("drivingDirection", ""), 0.0)


def _elsewhere(
    block: "pa.Table", rate: float, vehicles: Mapping[str, Mapping[str, str]], book: AccountBook
) -> "pa.Table":
    import numpy as np
    import pyarrow as pa

    has = set(block.column_names)

    def read(name: str) -> np.ndarray:
        return tables.numbers(block, name, book).to_numpy(zero_copy_only=False)

    identity = tables.whole_numbers_as_words(tables.numbers(block, "trackId", book))
    heading = np.radians(read("heading"))
    long_m = read("length") if "length" in has else np.zeros(len(block))
    made: dict[str, pa.Array] = {
        columns.TIME: pa.array(read("frame") / rate),
        columns.VEHICLE: identity,
        columns.SPEED: _single(read("lonVelocity") if "lonVelocity" in has else
                               np.hypot(read("xVelocity"), read("yVelocity"))),
        columns.X: pa.array(read("xCenter") + np.nan_to_num(long_m) / 2 * np.cos(heading)),
        columns.Y: pa.array(read("yCenter") + np.nan_to_num(long_m) / 2 * np.sin(heading)),
        columns.CLASS: _classes(identity, vehicles),
    }  # fmt: skip
    for name, column in (("length", columns.LENGTH), ("width", columns.WIDTH)):
        if name in has:
            made[column] = _single(read(name))
    if "lonAcceleration" in has:
        made[columns.ACCELERATION] = _single(read("lonAcceleration"))
    return pa.table(made)


def _single(values) -> "pa.Array":
    import pyarrow as pa

    return pa.array(values, pa.float32(), from_pandas=True)


def _classes(identity: "pa.DictionaryArray", vehicles: Mapping[str, Mapping[str, str]]) -> "pa.Array":
    import pyarrow as pa

    words = [vehicles.get(name, {}).get("class", "").casefold() for name in identity.dictionary.to_pylist()]
    return tables.words(pa.array(words, pa.string()).take(identity.indices))
