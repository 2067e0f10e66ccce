"""pNEUMA: drone recordings of Athens, one ragged row per vehicle.

After E. Barmpounakis, N. Geroliminis, *On the new era of urban traffic monitoring with massive drone data: The pNEUMA
large-scale field experiment* (2020), and the data's own description: semicolons; ``track_id; type; traveled_d;
avg_speed`` once, then ``lat; lon; speed; lon_acc; lat_acc; time`` again and again, 25 times a second; degrees, km/h,
m/s², seconds from the start of the recording. The header names the first ten columns only. ``lon_acc`` is along the
vehicle, ``lat_acc`` across it.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made, open_text
from scenariogen.trajectories import columns
from scenariogen.trajectories.readers.contract import CHUNK_ROWS, ReadOptions, TrajectoryReader
from scenariogen.units import MPS_PER_KMH

if TYPE_CHECKING:
    import pyarrow as pa

ONCE = ("track_id", "type", "traveled_d", "avg_speed")
AGAIN = ("lat", "lon", "speed", "lon_acc", "lat_acc", "time")
LONGEST_LINE = 64 << 20
"""Characters; a vehicle seen for an hour at 25 Hz needs about 6 million."""


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
        }
        tracks: list[tuple[str, str, object]] = []
        rows = 0
        for number, line in _lines(head):
            track = _track(line, number, book)
            if track is None:
                continue
            tracks.append(track)
            rows += len(track[2])  # type: ignore[arg-type]
            if rows >= CHUNK_ROWS:
                yield _table(tracks)
                tracks, rows = [], 0
        if tracks:
            yield _table(tracks)


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
    except EOFError:
        raise DataError(f"{head.path} is a gzip file that was cut off: copy it again") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{head.path} cannot be read: {error}") from error


def _track(line: str, number: int, book: AccountBook):
    """Vehicle, type and an array (sample, 6); None where the line cannot be used, which is counted."""
    import numpy as np

    cells = line.rstrip().rstrip(";").split(";")
    samples, left = divmod(len(cells) - len(ONCE), len(AGAIN))
    where = f"line {number}"
    vehicle = cells[0].strip()
    if samples < 1 or not vehicle:
        book.drop("lines without a vehicle and at least one sample", example=where)
        return None
    if left:
        book.drop("cells after the last whole sample of a line", left, example=where)
    body = cells[len(ONCE) : len(ONCE) + samples * len(AGAIN)]
    try:
        values = np.array(body, dtype=float)
    except ValueError:
        values = np.array([_number(cell) for cell in body])
        book.note("words where numbers belong: taken as empty", rows=int(np.isnan(values).sum()), example=where)
    book.rows += samples
    return vehicle, cells[1].strip(), values.reshape(samples, len(AGAIN))


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _table(tracks: list) -> "pa.Table":
    import numpy as np
    import pyarrow as pa

    values = np.concatenate([track[2] for track in tracks])
    index = np.repeat(np.arange(len(tracks), dtype=np.int32), [len(track[2]) for track in tracks])
    kinds = sorted({track[1] for track in tracks})
    kind = np.array([kinds.index(track[1]) for track in tracks], dtype=np.int32)[index]
    vehicles = pa.array([track[0] for track in tracks], pa.string())
    named = dict(zip(AGAIN, values.T, strict=True))
    return pa.table(
        {
            columns.TIME: named["time"],
            columns.VEHICLE: pa.DictionaryArray.from_arrays(pa.array(index), vehicles),
            columns.LON: named["lon"],
            columns.LAT: named["lat"],
            columns.SPEED: pa.array(named["speed"] * MPS_PER_KMH, pa.float32(), from_pandas=True),
            columns.ACCELERATION: pa.array(named["lon_acc"], pa.float32(), from_pandas=True),
            columns.CLASS: pa.DictionaryArray.from_arrays(pa.array(kind), pa.array(kinds, pa.string())),
        }
    )
