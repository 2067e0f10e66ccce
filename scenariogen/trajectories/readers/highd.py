"""The levelXdata family: highD on motorways; inD, rounD, exiD and uniD elsewhere.

After R. Krajewski and others, *The highD Dataset* (2018), J. Bock and others, *The inD Dataset* (2020), and the format
descriptions that come with the data. A recording is three files, ``NN_tracks.csv``, ``NN_tracksMeta.csv`` and
``NN_recordingMeta.csv``; the first is given, the others are looked for beside it. The frame rate stands in the last
one only. Metres and metres per second throughout.

highD: ``x, y`` is the upper left corner of a vehicle's box in an image whose y grows downwards, ``width`` its length
and ``height`` its width; carriageway 1 (``drivingDirection`` of tracksMeta) drives towards smaller x. The front is
``x`` there and ``x + width`` on carriageway 2. Without tracksMeta the sign of ``xVelocity`` tells the carriageway.

The others: ``xCenter, yCenter`` and ``heading`` in degrees (east 0, counter-clockwise); the front is half a length
ahead. Pedestrians, as tracksMeta calls them, are left out.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made, open_text, read_head
from scenariogen.trajectories import columns
from scenariogen.trajectories.readers import tables
from scenariogen.trajectories.readers.contract import ReadOptions, TrajectoryReader

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import pyarrow as pa

MOTORWAY = ("frame", "id", "x", "y", "width", "height", "xVelocity")
ELSEWHERE = ("trackId", "frame", "xCenter", "yCenter", "heading", "xVelocity", "yVelocity")
MOTORWAY_OPTIONAL = ("xAcceleration", "laneId")
ELSEWHERE_OPTIONAL = ("recordingId", "lonVelocity", "lonAcceleration", "length", "width")
CARRIAGEWAYS = {"1": -1.0, "2": 1.0}
"""``drivingDirection`` to the sign of x in which vehicles drive."""
FACTS = ("locationId", "weekDay", "month", "startTime", "speedLimit", "latLocation", "lonLocation", "xUtmOrigin",
         "yUtmOrigin")  # fmt: skip
_TRACKS = re.compile(r"^(?P<stem>.*?)_?tracks(?P<end>\.csv(\.gz)?)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class _Beside:
    """What stands in the files beside the tracks: the recording's line, and a line per vehicle by its id."""

    rate: float
    recording: Mapping[str, str] = field(default_factory=dict)
    vehicles: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


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
        beside = _beside(head, book)
        is_motorway = set(MOTORWAY) <= set(head.header)
        wanted = (*MOTORWAY, *MOTORWAY_OPTIONAL) if is_motorway else (*ELSEWHERE, *ELSEWHERE_OPTIONAL)
        names = [name for name in wanted if name in head.header]
        _write_facts(book, beside, names, is_motorway=is_motorway)
        make = _motorway if is_motorway else _elsewhere
        for block in tables.text_blocks(head, book, names):
            yield make({name: tables.numbers(block, name, book) for name in names}, beside, book)


def _beside(head: FileHead, book: AccountBook) -> _Beside:
    """The other two files of the recording. Raises ``DataError`` where the frame rate cannot be found."""
    match = _TRACKS.match(head.path.name)
    if match is None:
        raise DataError(
            f"{head.path}: the frame rate stands in the recordingMeta file, which cannot be found beside a file "
            "of this name. Call them NN_tracks.csv and NN_recordingMeta.csv, or give the columns yourself: --map "
            "time=frame:1/25s --map vehicle=..."
        )
    names = {what: f"{match['stem']}{'_' if match['stem'] else ''}{what}" for what in ("recordingMeta", "tracksMeta")}
    found = {what: _sibling(head, name, match["end"]) for what, name in names.items()}
    path = found["recordingMeta"]
    recording = next(iter(_rows(path)), {}) if path is not None else {}
    if found["tracksMeta"] is None:
        book.note(f"{names['tracksMeta']}.csv is not beside it: nothing says classes and driving directions")
    vehicles = _rows(found["tracksMeta"]) if found["tracksMeta"] is not None else []
    return _Beside(
        rate=_frame_rate(head, path.name if path else "", recording, expected=names["recordingMeta"]),
        recording=recording,
        vehicles={row.get("trackId", row.get("id", "")): row for row in vehicles},
    )


def _sibling(head: FileHead, name: str, end: str) -> "Path | None":
    paths = (head.path.with_name(name + suffix) for suffix in (end, ".csv", ".csv.gz"))
    return next((path for path in paths if path.is_file()), None)


def _rows(path: "Path") -> list[dict[str, str]]:
    head = read_head(path)
    try:
        with open_text(head) as stream:
            return [
                {(name or "").strip(): value.strip() for name, value in row.items() if isinstance(value, str)}
                for row in csv.DictReader(stream, delimiter=head.delimiter)
            ]
    except (csv.Error, OSError, EOFError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error


def _frame_rate(head: FileHead, found: str, recording: Mapping[str, str], *, expected: str) -> float:
    text = recording.get("frameRate", "")
    try:
        rate = float(text)
    except ValueError:
        rate = float("nan")
    if not 0 < rate < 1000:
        said = f"in {found} frameRate is {text!r}, expected a positive number" if found else (
            f"{expected}.csv is not beside it"
        )  # fmt: skip
        raise DataError(
            f"{head.path}: the frame rate stands in the recordingMeta file, and {said}. Put that file beside "
            f"{head.path.name}, or give the columns yourself: --map time=frame:1/25s --map vehicle=..."
        )
    return rate


def _write_facts(book: AccountBook, beside: _Beside, names: list[str], *, is_motorway: bool) -> None:
    book.facts["frame rate"] = f"{beside.rate:g} a second (recordingMeta)"
    book.facts |= {name: beside.recording[name] for name in FACTS if beside.recording.get(name)}
    book.units |= {
        columns.TIME: f"frame, {beside.rate:g} a second",
        columns.VEHICLE: "id" if is_motorway else "trackId",
        columns.CLASS: "class of tracksMeta",
        columns.SPEED: "xVelocity, yVelocity in m/s",
        columns.X: "front of the vehicle in m",
        columns.Y: "front of the vehicle in m",
    }
    if is_motorway:
        book.units |= {
            columns.SPEED: "xVelocity in m/s, along the road",
            columns.Y: "middle of the vehicle in m, turned upwards",
            columns.ROAD: "drivingDirection of tracksMeta" if beside.vehicles else "the sign of xVelocity",
            columns.ROAD_POSITION: "x of the front in m, turned round on carriageway 1",
            columns.LENGTH: "width of the box in m",
            columns.WIDTH: "height of the box in m",
        }
    said = {
        "laneId": (columns.ROAD_LANE, "laneId, counted from the top of the image"),
        "xAcceleration": (columns.ACCELERATION, "xAcceleration in m/s2, along the road"),
        "lonVelocity": (columns.SPEED, "lonVelocity in m/s, along the vehicle"),
        "lonAcceleration": (columns.ACCELERATION, "lonAcceleration in m/s2, along the vehicle"),
        "recordingId": (columns.RECORDING, "recordingId"),
    }
    if not is_motorway:
        said |= {"length": (columns.LENGTH, "length in m"), "width": (columns.WIDTH, "width in m")}
    book.units |= dict(said[name] for name in names if name in said)


def _motorway(block: Mapping[str, "pa.Array"], beside: _Beside, book: AccountBook) -> "pa.Table":
    import numpy as np
    import pyarrow as pa

    x, y, long_m, wide_m, speed = (_floats(block[name]) for name in ("x", "y", "width", "height", "xVelocity"))
    identity = tables.whole_numbers_as_words(block["id"])
    side = _of_vehicles(identity, [_side(beside, name) for name in _names(identity)])
    side = np.where(np.isnan(side), np.sign(speed), side)  # where nothing says it, the way it moves does
    unknown = ~(np.abs(side) == 1)
    if unknown.any():
        book.note("stand still, and nothing says on which carriageway: without a road", rows=int(unknown.sum()))
    front = np.where(side < 0, x, np.where(side > 0, x + long_m, x + long_m / 2))
    along = np.where(unknown, np.nan, front * side)
    made: dict[str, pa.Array] = {
        columns.TIME: tables.double(_floats(block["frame"]) / beside.rate),
        columns.VEHICLE: identity,
        columns.SPEED: tables.single(np.where(unknown, np.abs(speed), speed * side)),
        columns.ROAD: pa.DictionaryArray.from_arrays(
            pa.array((side > 0).astype(np.int32), mask=unknown), pa.array(["carriageway 1", "carriageway 2"])
        ),
        columns.ROAD_POSITION: tables.double(along),
        columns.X: tables.double(front),
        columns.Y: tables.double(-(y + wide_m / 2)),
        columns.LENGTH: tables.single(long_m),
        columns.WIDTH: tables.single(wide_m),
        columns.CLASS: _classes(identity, beside),
    }
    if "xAcceleration" in block:
        made[columns.ACCELERATION] = tables.single(
            np.where(unknown, np.nan, _floats(block["xAcceleration"]) * side)
        )  # fmt: skip
    if "laneId" in block:
        made[columns.ROAD_LANE] = tables.small_integers(block["laneId"])
    return pa.table(made)


def _side(beside: _Beside, vehicle: str) -> float:
    """-1 on carriageway 1, 1 on carriageway 2, nan where it is not said."""
    text = beside.vehicles.get(vehicle, {}).get("drivingDirection", "")
    return CARRIAGEWAYS.get(text.removesuffix(".0"), float("nan"))


def _elsewhere(block: Mapping[str, "pa.Array"], beside: _Beside, book: AccountBook) -> "pa.Table":
    import numpy as np
    import pyarrow as pa

    identity = tables.whole_numbers_as_words(block["trackId"])
    heading = np.radians(_floats(block["heading"]))
    half_m = np.nan_to_num(_floats(block["length"])) / 2 if "length" in block else np.zeros(len(heading))
    if "lonVelocity" in block:
        speed = _floats(block["lonVelocity"])
    else:
        speed = np.hypot(_floats(block["xVelocity"]), _floats(block["yVelocity"]))
    made: dict[str, pa.Array] = {
        columns.TIME: tables.double(_floats(block["frame"]) / beside.rate),
        columns.VEHICLE: identity,
        columns.SPEED: tables.single(speed),
        columns.X: tables.double(_floats(block["xCenter"]) + half_m * np.cos(heading)),
        columns.Y: tables.double(_floats(block["yCenter"]) + half_m * np.sin(heading)),
        columns.CLASS: _classes(identity, beside),
    }
    for name, column in (("length", columns.LENGTH), ("width", columns.WIDTH)):
        if name in block:
            values = _floats(block[name])
            made[column] = tables.single(np.where(values > 0, values, np.nan))
    if "lonAcceleration" in block:
        made[columns.ACCELERATION] = tables.single(_floats(block["lonAcceleration"]))
    if "recordingId" in block:
        made[columns.RECORDING] = tables.whole_numbers_as_words(block["recordingId"])
        _check_recording(made[columns.RECORDING], beside, book)
    return _without_pedestrians(pa.table(made), book)


def _check_recording(recordings: "pa.Array", beside: _Beside, book: AccountBook) -> None:
    """The files beside a table belong to one recording; rows of another would get its rate and its classes."""
    own = beside.recording.get("recordingId", "").removesuffix(".0")
    pc = tables.compute()
    others = pc.sum(pc.not_equal(recordings.cast("string"), own)).as_py() or 0
    if own and others:
        book.problem(f"belong to another recording than recordingMeta's {own}: give one recording a file", rows=others)


def _without_pedestrians(table: "pa.Table", book: AccountBook) -> "pa.Table":
    pc = tables.compute()
    walk = pc.fill_null(pc.equal(table[columns.CLASS].cast("string"), "pedestrian"), False)
    book.drop("of pedestrians", pc.sum(walk).as_py() or 0)
    return table.filter(pc.invert(walk))


def _floats(values: "pa.Array") -> "np.ndarray":
    """As NumPy, nan where null."""
    return values.to_numpy(zero_copy_only=False)


def _names(identity: "pa.DictionaryArray") -> list[str]:
    return identity.dictionary.to_pylist()


def _of_vehicles(identity: "pa.DictionaryArray", values: list[float]) -> "np.ndarray":
    """A value per vehicle spread over its rows; nan for rows without a vehicle."""
    import numpy as np

    index = identity.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
    return np.array([*values, np.nan])[index]


def _classes(identity: "pa.DictionaryArray", beside: _Beside) -> "pa.Array":
    import pyarrow as pa

    names = [beside.vehicles.get(name, {}).get("class", "").casefold() for name in _names(identity)]
    return tables.words(pa.array(names, pa.string()).take(identity.indices))
