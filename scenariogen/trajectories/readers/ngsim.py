"""NGSIM vehicle trajectories: the 18-column files of one site, and the 25-column table of all of them.

Columns and units after US DOT, *Next Generation Simulation (NGSIM) Vehicle Trajectories and Supporting Data* (2016):
feet, feet per second, frames of 0.1 s, ``Global_Time`` in milliseconds. Names differ in case and spelling between
releases (``v_length``, ``v_Length``; ``Space_Hdwy``, ``Space_Headway``).

What is known to go wrong with these files, and what is done here:

* vehicle ids are used again. ``Global_Time - 100 * Frame_ID`` is the same throughout one recording and differs between
  two; with the location it tells them apart. Time is the frame number alone, since ``Global_Time`` is in seconds in
  some files and in milliseconds in others.
* a re-extraction keeps the header and leaves what it did not extract at 0: a column that is 0 in the whole first
  64 KiB is taken as not there, and said. A length, a width, a class and a lane of 0 are empty anyway. Speeds and
  accelerations of 0 may be true: where nobody moves against them, the whole file tells whether they are there.
* positions along an arterial grow northwards or eastwards whichever way a vehicle drives: where ``Direction`` says
  south or west, the road's position runs the other way. ``Direction`` 1 to 4 is east, north, west, south; motorways
  have 0 or nothing there, and grow in the direction of travel.
* lanes count from the left, and turn bays have numbers of their own.
* some exports part thousands by commas (``"1,163,018.6"``): read as what they mean where they are quoted.
"""

import csv
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made
from scenariogen.trajectories import columns
from scenariogen.trajectories.readers import tables
from scenariogen.trajectories.readers.contract import ReadOptions, TrajectoryReader
from scenariogen.units import METRES_PER_FOOT

if TYPE_CHECKING:
    import pyarrow as pa

FRAME_S = 0.1
METRES_PER_SURVEY_FOOT = 1200 / 3937
"""The foot of the state plane coordinate systems (NAD 83); over their length it differs from the foot by metres."""
MILLISECONDS_PER_FRAME = 100.0
MOST_RECORDINGS = 64
"""A file with more different clocks has a clock that cannot tell recordings apart."""
NEEDED = ("vehicle_id", "frame_id", "local_y")
VALUES = (
    "global_time", "local_x", "global_x", "global_y", "v_length", "v_width", "v_class", "v_vel", "v_acc", "lane_id",
)  # fmt: skip
"""Columns that re-extractions leave at 0."""
MOTION = ("v_vel", "v_acc")
MOVING_MPS = 0.5
"""Who stands creeps by millimetres, as tracked; on average over the head of a file nobody who stands is so fast."""
PLACES = ("location", "direction")
ZEROS = ("0", "0.0", "0.00", "0.000", "0.0000")
CLASSES = {1: "motorcycle", 2: "car", 3: "truck"}
DIRECTIONS = {1: "EB", 2: "NB", 3: "WB", 4: "SB"}
AGAINST = (3, 4)
"""Directions in which the position along the road runs against ``Local_Y``."""
IN_FEET: dict[str, tuple[str, str]] = {
    columns.SPEED: ("v_vel", "ft/s"),
    columns.ACCELERATION: ("v_acc", "ft/s2"),
    columns.LENGTH: ("v_length", "ft"),
    columns.WIDTH: ("v_width", "ft"),
}
ONLY_ROAD = "road"
"""Name of the road in files without ``Location``."""


class NgsimReader(TrajectoryReader):
    """NGSIM tables with a header."""

    name = "ngsim"
    title = "NGSIM vehicle trajectories"

    def recognises(self, head: FileHead) -> bool:
        names = set(tables.columns_by_name(head.header))
        return head.made is Made.TEXT and set(NEEDED) <= names and bool({"v_vel", "lane_id"} & names)

    def tables(self, head: FileHead, book: AccountBook, options: ReadOptions) -> Iterator["pa.Table"]:
        names = tables.columns_by_name(head.header)
        lacking = [name for name in NEEDED if name not in names]
        if lacking:
            raise DataError(
                f"{head.path} lacks {', '.join(lacking)}, which NGSIM files have; it has {', '.join(head.header[:20])}"
            )
        there = {name: names[name] for name in (*NEEDED, *VALUES, *PLACES) if name in names}
        empty = self._empty_columns(head, there)
        used = {name: column for name, column in there.items() if name not in empty}
        if empty:
            book.note(f"columns {', '.join(there[name] for name in empty)} hold 0 only and are taken as not there")
        _write_units(used, book)
        recordings: set[str] = set()
        for block in self._blocks(head, book, list(there.values())):
            for name in empty:
                _check_empty(block, there[name], book)
            table = _table(block, used, book)
            if columns.RECORDING in table.column_names:
                recordings |= set(table[columns.RECORDING].unique().to_pylist())
            if len(recordings) > MOST_RECORDINGS:
                raise DataError(_too_many_clocks(head, used))
            yield table

    def _blocks(self, head: FileHead, book: AccountBook, names: list[str]) -> Iterator["pa.Table"]:
        return tables.text_blocks(head, book, names)

    def _empty_columns(self, head: FileHead, there: Mapping[str, str]) -> list[str]:
        """Columns that are 0 in every row of the head, as a re-extraction leaves them.

        Speeds and accelerations of 0 are true where nobody moves, or where any other is found farther on.
        """
        cells = _cells(head, there)
        empty = [name for name in VALUES if cells.get(name) and set(cells[name]) <= {"", *ZEROS}]
        doubtful = [name for name in MOTION if name in empty]
        moving = bool(doubtful) and _is_moving(cells)
        if not doubtful or (moving and "v_vel" in empty):
            return empty
        if head.is_whole:
            return [name for name in empty if moving or name not in doubtful]
        return [name for name in empty if name not in doubtful or not self._is_filled(head, there[name])]

    def _is_filled(self, head: FileHead, column: str) -> bool:
        unread = AccountBook(file=head.path.name, format=self.name, title=self.title, subject="vehicles")
        return any(_filled(block, column) for block in self._blocks(head, unread, [column]))


def _cells(head: FileHead, there: Mapping[str, str]) -> dict[str, list[str]]:
    rows = [row for row in csv.reader(head.lines[1:], delimiter=head.delimiter) if len(row) == len(head.header)]
    return {name: [row[head.header.index(column)].strip() for row in rows] for name, column in there.items()}


def _is_moving(cells: Mapping[str, list[str]]) -> bool:
    """Some vehicle covers a distance that nobody covers who stands."""
    tracks: dict[str, list[tuple[float, float]]] = {}
    for vehicle, frame, at in zip(*(cells[name] for name in NEEDED), strict=True):
        with suppress(ValueError):  # what is no number says nothing here, and is counted later
            sample = float(frame.replace(",", "")) * FRAME_S, float(at.replace(",", "")) * METRES_PER_FOOT
            tracks.setdefault(vehicle, []).append(sample)
    for track in tracks.values():
        times_s, at_m = zip(*track, strict=True)
        if max(at_m) - min(at_m) > MOVING_MPS * (max(times_s) - min(times_s)) > 0:
            return True
    return False


def _check_empty(block: "pa.Table", column: str, book: AccountBook) -> None:
    """A column that was taken as not there must stay empty to the end."""
    count = _filled(block, column)
    if count:
        book.problem(f"hold a value in {column}, which is 0 in the beginning of the file: split the file", rows=count)


def _filled(block: "pa.Table", column: str) -> int:
    """How many cells hold another value than 0."""
    import pyarrow as pa

    pc = tables.compute()
    filled = pc.and_(block[column].is_valid(), pc.invert(pc.is_in(block[column], value_set=pa.array(ZEROS))))
    return pc.sum(filled).as_py() or 0


def _too_many_clocks(head: FileHead, used: Mapping[str, str]) -> str:
    clock, frame = used.get("global_time", ""), used["frame_id"]
    return (
        f"{head.path}: {clock} - 100 * {frame} takes more than {MOST_RECORDINGS} values, expected one per recording. "
        "The clock jumps, or a spreadsheet has rounded it. Remove that column, or read the file by a mapping (--map "
        f"time={frame}:1/10s --map vehicle={used['vehicle_id']} --map road_position={used['local_y']}:ft ...)"
    )


def _write_units(used: Mapping[str, str], book: AccountBook) -> None:
    book.units[columns.TIME] = f"{used['frame_id']} x {FRAME_S:g} s (NGSIM; {FRAME_S:g} s is assumed)"
    book.units[columns.VEHICLE] = used["vehicle_id"]
    book.units[columns.ROAD] = " and ".join(used[name] for name in PLACES if name in used) or "one road"
    book.units[columns.ROAD_POSITION] = f"{used['local_y']} in ft, front of the vehicle (NGSIM)"
    for column, (name, unit) in IN_FEET.items():
        if name in used:
            book.units[column] = f"{used[name]} in {unit} (NGSIM)"
    plane = _plane(used)
    if plane is not None:
        geographic = plane[0] == "global_x"
        where = "US survey ft, state plane" if geographic else "ft, the recording's own origin, x to the right"
        for column, name in zip((columns.X, columns.Y), plane, strict=True):
            book.units[column] = f"{used[name]} in {where} (NGSIM)"
    if "lane_id" in used:
        book.units[columns.ROAD_LANE] = f"{used['lane_id']}, counted from the left (NGSIM)"
    if "v_class" in used:
        book.units[columns.CLASS] = f"{used['v_class']}, 1 motorcycle, 2 car, 3 truck (NGSIM)"
    told = [used[name] for name in ("location", "global_time") if name in used]
    if told:
        book.units[columns.RECORDING] = " and ".join(told)


def _plane(used: Mapping[str, str]) -> tuple[str, str] | None:
    """The columns of plane coordinates, the geographical ones first."""
    if {"global_x", "global_y"} <= set(used):
        return "global_x", "global_y"
    return ("local_x", "local_y") if "local_x" in used else None


def _table(block: "pa.Table", used: Mapping[str, str], book: AccountBook) -> "pa.Table":
    import pyarrow as pa

    pc = tables.compute()
    numbers = {
        name: tables.numbers(block, column, book) for name, column in used.items() if name != "location"
    }  # each column once, so that its faults are counted once

    def in_metres(name: str) -> "pa.Array":
        return pc.multiply(numbers[name], METRES_PER_FOOT)

    made: dict[str, pa.Array] = {
        columns.TIME: pc.divide(numbers["frame_id"], 1 / FRAME_S),  # 0.3, where a product gives 0.30000000000000004
        columns.VEHICLE: tables.whole_numbers_as_words(numbers["vehicle_id"]),
    }
    for column, (name, _) in IN_FEET.items():
        if name in used:
            values = in_metres(name)
            if column in (columns.LENGTH, columns.WIDTH):
                values = pc.if_else(pc.greater(values, 0.0), values, pa.scalar(None, pa.float64()))
            made[column] = tables.single(values)
    plane = _plane(used)
    if plane is not None:
        foot_m = METRES_PER_SURVEY_FOOT if plane[0] == "global_x" else METRES_PER_FOOT
        made[columns.X], made[columns.Y] = (pc.multiply(numbers[name], foot_m) for name in plane)
    if "lane_id" in used:
        made[columns.ROAD_LANE] = tables.small_integers(numbers["lane_id"])
    if "v_class" in used:
        made[columns.CLASS] = tables.words_by_number(numbers["v_class"], CLASSES)
    made[columns.ROAD], made[columns.ROAD_POSITION] = _road(block, used, in_metres("local_y"), numbers.get("direction"))
    recording = _recording(block, used, numbers)
    if recording is not None:
        made[columns.RECORDING] = recording
    return pa.table(made)


def _road(
    block: "pa.Table", used: Mapping[str, str], position_m: "pa.Array", direction: "pa.Array | None"
) -> tuple["pa.Array", "pa.Array"]:
    """Name of the road with its direction, and metres along it in the direction of travel."""
    import pyarrow as pa

    pc = tables.compute()
    if "location" in used:
        place = pc.fill_null(tables.words(block[used["location"]]).cast(pa.string()), ONLY_ROAD)
    else:
        place = tables.same_word(ONLY_ROAD, len(position_m)).cast(pa.string())
    if direction is None:
        return tables.words(place), position_m
    compass = tables.words_by_number(direction, DIRECTIONS).cast(pa.string())
    against = pc.fill_null(pc.is_in(direction, value_set=pa.array([float(each) for each in AGAINST])), False)
    name = pc.if_else(pc.is_valid(compass), pc.binary_join_element_wise(place, compass, " "), place)
    return tables.words(name), pc.if_else(against, pc.negate(position_m), position_m)


def _recording(block: "pa.Table", used: Mapping[str, str], numbers: Mapping[str, "pa.Array"]) -> "pa.Array | None":
    """What tells recordings apart: the location, and the clock's offset from the frame numbers."""
    pc = tables.compute()
    parts = []
    if "location" in used:
        parts.append(tables.words(block[used["location"]]).cast("string"))
    if "global_time" in used:
        offset = pc.subtract(numbers["global_time"], pc.multiply(numbers["frame_id"], MILLISECONDS_PER_FRAME))
        parts.append(tables.whole_numbers_as_words(pc.round(offset)).cast("string"))
    if not parts:
        return None
    return tables.words(pc.binary_join_element_wise(*parts, " ") if len(parts) > 1 else parts[0])
