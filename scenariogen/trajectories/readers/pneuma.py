"""pNEUMA: drone recordings of Athens, one ragged row per vehicle.

After E. Barmpounakis, N. Geroliminis, *On the new era of urban traffic monitoring with massive drone data: The pNEUMA
large-scale field experiment* (2020), and the data's own description: semicolons; ``track_id; type; traveled_d;
avg_speed`` once, then ``lat; lon; speed; lon_acc; lat_acc; time`` again and again, 25 times a second; degrees, km/h,
m/s², seconds from the start of the recording. The header names the first ten columns only. ``lon_acc`` is along the
vehicle, ``lat_acc`` across it.
"""

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made, open_text
from scenariogen.trajectories import columns
from scenariogen.trajectories.readers import tables
from scenariogen.trajectories.readers.contract import CHUNK_ROWS, ReadOptions, TrajectoryReader
from scenariogen.units import MPS_PER_KMH

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

ONCE = ("track_id", "type", "traveled_d", "avg_speed")
AGAIN = ("lat", "lon", "speed", "lon_acc", "lat_acc", "time")
LONGEST_LINE = 64 << 20
"""Characters; a vehicle seen for an hour at 25 Hz needs about 6 million."""
ATHENS = (37.97, 23.73)
"""Latitude and longitude, degrees: where the recordings were made, which shows that the two were swapped."""
ATHENS_SPAN_DEG = 1.0


class PneumaReader(TrajectoryReader):
    """pNEUMA's text files."""

    name = "pneuma"
    title = "pNEUMA drone trajectories"

    def recognises(self, head: FileHead) -> bool:
        return head.made is Made.TEXT and head.header[:10] == (*ONCE, *AGAIN)

    def tables(self, head: FileHead, book: AccountBook, options: ReadOptions) -> Iterator["pa.Table"]:
        if not self.recognises(head):
            raise DataError(f"{head.path} does not begin with the header {'; '.join((*ONCE, *AGAIN))}")
        book.units |= {
            columns.TIME: "time in s from the start of the recording (pNEUMA)",
            columns.SPEED: "speed in km/h (pNEUMA)",
            columns.ACCELERATION: "lon_acc in m/s2 (pNEUMA)",
            columns.LON: "lon in degrees, WGS 84 (pNEUMA)",
            columns.LAT: "lat in degrees, WGS 84 (pNEUMA)",
            columns.VEHICLE: "track_id",
            columns.CLASS: "type",
        }
        tracks: list[tuple[str, str, np.ndarray]] = []
        rows = 0
        for number, line in _lines(head):
            track = _track(line, number, book)
            if track is None:
                continue
            tracks.append(track)
            rows += len(track[2])
            if rows >= CHUNK_ROWS:
                yield _table(tracks, book)
                tracks, rows = [], 0
        if tracks:
            yield _table(tracks, book)


def _lines(head: FileHead) -> Iterator[tuple[int, str]]:
    """Lines after the header, numbered from 2, none longer than :data:`LONGEST_LINE`."""
    try:
        with open_text(head) as stream:
            stream.readline()
            number = 1
            while line := stream.readline(LONGEST_LINE):
                number += 1
                if len(line) == LONGEST_LINE:
                    raise DataError(f"{head.path}: line {number} is longer than {LONGEST_LINE:,} characters")
                if line.strip():
                    yield number, line
    except (EOFError, zlib.error):
        raise DataError(f"{head.path} {tables.CUT_OFF}") from None
    except (OSError, UnicodeError) as error:
        raise DataError(f"{head.path} cannot be read: {error}") from error


def _track(line: str, number: int, book: AccountBook) -> "tuple[str, str, np.ndarray] | None":
    """Vehicle, type and an array (sample, 6); None where the line cannot be used, which is counted."""
    import numpy as np
    import pyarrow as pa

    cells = line.rstrip().rstrip(";").split(";")
    samples, left = divmod(len(cells) - len(ONCE), len(AGAIN))
    where = f"line {number}"
    vehicle = cells[0].strip()
    if samples < 1 or not vehicle:
        book.rows += 1
        book.drop("lines without a vehicle and at least one sample", example=where)
        return None
    book.rows += samples
    if left:
        book.rows += 1
        book.drop("samples cut off at the end of a line", example=where)
    body = cells[len(ONCE) : len(ONCE) + samples * len(AGAIN)]
    try:
        trimmed = tables.compute().utf8_trim_whitespace(pa.array(body, pa.string()))
        values = trimmed.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        values = np.array([_number(cell) for cell in body])
        wrong = int(np.isnan(values).reshape(samples, len(AGAIN)).any(axis=1).sum())
        if wrong:
            book.note("hold a word where a number belongs: taken as empty", rows=wrong, example=where)
    return vehicle, cells[1].strip(), values.reshape(samples, len(AGAIN))


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _table(tracks: "list[tuple[str, str, np.ndarray]]", book: AccountBook) -> "pa.Table":
    import numpy as np
    import pyarrow as pa

    values = np.concatenate([track[2] for track in tracks])
    index = pa.array(np.repeat(np.arange(len(tracks), dtype=np.int32), [len(track[2]) for track in tracks]))
    named = dict(zip(AGAIN, values.T, strict=True))
    _check_places(named["lat"], named["lon"], book)
    return pa.table(
        {
            columns.TIME: tables.double(named["time"]),
            columns.VEHICLE: pa.array([track[0] for track in tracks], pa.string()).dictionary_encode().take(index),
            columns.LON: tables.double(named["lon"]),
            columns.LAT: tables.double(named["lat"]),
            columns.SPEED: tables.single(named["speed"] * MPS_PER_KMH),
            columns.ACCELERATION: tables.single(named["lon_acc"]),
            columns.CLASS: tables.words(pa.array([track[1] for track in tracks], pa.string())).take(index),
        }
    )


def _check_places(lat: "np.ndarray", lon: "np.ndarray", book: AccountBook) -> None:
    """Latitude and longitude may be swapped: then the vehicles drive where Athens would be in the wrong order."""
    import numpy as np

    swapped = (np.abs(lon - ATHENS[0]) < ATHENS_SPAN_DEG) & (np.abs(lat - ATHENS[1]) < ATHENS_SPAN_DEG)
    if swapped.any():
        book.problem(
            "have latitude and longitude swapped: they are in Athens the other way round", rows=int(swapped.sum())
        )
