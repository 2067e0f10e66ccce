"""I-24 MOTION: trajectories of all vehicles on four miles of motorway, JSON documents, one per vehicle.

After D. Gloudemans and others, *I-24 MOTION: An instrument for freeway traffic science* (2023), and the project's own
data documentation: an array of documents (or one document a line) with ``timestamp`` (Unix seconds), ``x_position``
(feet along the road, of the middle of the vehicle's back), ``y_position`` (feet across it), ``direction`` (1 eastbound,
-1 westbound), ``length``, ``width`` (feet) and ``coarse_vehicle_class``. Positions grow eastwards, so westbound they
are turned round; the front is a length ahead of the back. There is no speed: it is derived. ``y_position`` is not read,
since the lanes' borders are not in the file. Each document is read on its own, so that memory does not grow with the
file.
"""

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made, open_json
from scenariogen.trajectories import columns
from scenariogen.trajectories.readers import tables
from scenariogen.trajectories.readers.contract import CHUNK_ROWS, ReadOptions, TrajectoryReader
from scenariogen.units import METRES_PER_FOOT, SECONDS_PER_DAY

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

DIRECTIONS = {1: "EB", -1: "WB"}
CLASSES = {0: "sedan", 1: "midsize", 2: "van", 3: "pickup", 4: "semi", 5: "truck", 6: "motorcycle"}
LATEST_S = 4e9
"""Unix seconds of the year 2096: later ones are milliseconds."""
_LIST = re.compile(r'"(timestamp|x_position)"\s*:\s*\[')
"""One list may be longer than the head, so that the names behind it are out of sight."""


@dataclass(frozen=True, kw_only=True)
class _Track:
    """One vehicle: arrays (sample,) of Unix seconds and of metres along the road, and what is said once."""

    vehicle: str
    road: str
    kind: str
    length_m: float
    width_m: float
    time_s: "np.ndarray"
    front_m: "np.ndarray"


class I24Reader(TrajectoryReader):
    """I-24 MOTION's JSON."""

    name = "i24"
    title = "I-24 MOTION trajectories"

    def recognises(self, head: FileHead) -> bool:
        return head.made is Made.JSON and _LIST.search(head.text) is not None

    def tables(self, head: FileHead, book: AccountBook, options: ReadOptions) -> Iterator["pa.Table"]:
        book.units |= {
            columns.TIME: "timestamp in Unix seconds (I-24 MOTION), from midnight UTC of the first document",
            columns.VEHICLE: "_id",
            columns.ROAD: "direction, 1 eastbound, -1 westbound (I-24 MOTION)",
            columns.ROAD_POSITION: "x_position in ft plus the length: the front, turned round westbound (I-24 MOTION)",
            columns.LENGTH: "length in ft (I-24 MOTION)",
            columns.WIDTH: "width in ft (I-24 MOTION)",
            columns.CLASS: "coarse_vehicle_class by its number (I-24 MOTION)",
        }
        midnight_s: float | None = None
        tracks: list[_Track] = []
        rows = 0
        for number, document in enumerate(_documents(head), start=1):
            track = _track(document, f"document {number}", book)
            if track is None:
                continue
            if midnight_s is None:
                midnight_s = _midnight_s(track, head, book)
            tracks.append(track)
            rows += len(track.time_s)
            if rows >= CHUNK_ROWS:
                yield _table(tracks, midnight_s)
                tracks, rows = [], 0
        if tracks and midnight_s is not None:
            yield _table(tracks, midnight_s)


def _documents(head: FileHead) -> Iterator[Any]:
    """The documents of an array, or one after the other."""
    import ijson

    is_array = head.text.lstrip().startswith("[")
    try:
        with open_json(head) as stream:
            yield from ijson.items(stream, "item" if is_array else "", use_float=True, multiple_values=not is_array)
    except ijson.JSONError as error:
        said = str(error).strip() or type(error).__name__
        raise DataError(f"{head.path} is no whole JSON file: {said.splitlines()[0]}") from error
    except (EOFError, zlib.error):
        raise DataError(f"{head.path} {tables.CUT_OFF}") from None
    except (OSError, UnicodeError, ValueError) as error:
        raise DataError(f"{head.path} cannot be read: {error}") from error


def _midnight_s(track: _Track, head: FileHead, book: AccountBook) -> float:
    """Midnight (UTC) before the first document's first sample, in Unix seconds."""
    first_s = float(track.time_s[0])
    if not 0 <= first_s < LATEST_S:
        raise DataError(
            f"{head.path}: the first timestamp is {first_s:g}, expected Unix seconds (about 1.7e9); milliseconds?"
        )
    midnight_s = first_s - first_s % SECONDS_PER_DAY
    book.facts["first day"] = datetime.fromtimestamp(midnight_s, UTC).strftime("%Y-%m-%d (UTC)")
    return midnight_s


def _track(document: object, where: str, book: AccountBook) -> _Track | None:
    """One vehicle's samples, or None where the document cannot be used, which is counted."""
    import numpy as np

    def leave_out(why: str, rows: int = 1) -> None:
        book.rows += rows
        book.drop(why, rows, example=where)

    if not isinstance(document, Mapping):
        return leave_out("something else than a document of a vehicle")
    time_s, back_ft = _numbers(document.get("timestamp")), _numbers(document.get("x_position"))
    if time_s is None or back_ft is None:
        return leave_out("documents without lists of numbers as timestamp and x_position")
    if len(time_s) != len(back_ft):
        return leave_out("samples of documents whose lists differ in length", max(len(time_s), len(back_ft)))
    direction = _integer(document.get("direction"))
    if direction not in DIRECTIONS:
        return leave_out("samples of documents whose direction is neither 1 nor -1", len(time_s))
    whole = np.isfinite(time_s) & np.isfinite(back_ft)
    if not whole.all():
        leave_out("samples without a time or a position", int((~whole).sum()))
    if not whole.any():
        return None
    book.rows += int(whole.sum())
    length_m = _one(document.get("length")) * METRES_PER_FOOT
    if not length_m > 0:
        length_m = float("nan")
        book.note("documents without a length: their back is taken as their front", example=where)
    return _Track(
        vehicle=_identity(document, where),
        road=DIRECTIONS[direction],
        kind=CLASSES.get(_integer(document.get("coarse_vehicle_class")), ""),
        length_m=length_m,
        width_m=_one(document.get("width")) * METRES_PER_FOOT,
        time_s=time_s[whole],
        front_m=back_ft[whole] * METRES_PER_FOOT * direction + np.nan_to_num(length_m),
    )


def _numbers(values: object) -> "np.ndarray | None":
    """A list of numbers as an array, null as nan; None for anything else or nothing."""
    import numpy as np

    if not isinstance(values, list) or not values:
        return None
    if not all(value is None or (isinstance(value, int | float) and not isinstance(value, bool)) for value in values):
        return None
    try:
        return np.array(values, dtype=float)
    except OverflowError:
        return None


def _integer(value: object) -> int:
    """A whole number, or -9 where it is none."""
    return int(value) if isinstance(value, int | float) and value in (-1, 0, 1, 2, 3, 4, 5, 6) else -9


def _identity(document: Mapping[str, Any], where: str) -> str:
    identity = document.get("_id", document.get("ID", where))
    return str(identity.get("$oid", identity)) if isinstance(identity, Mapping) else str(identity)


def _one(value: object) -> float:
    """A number, or the median of a list of them; nan where there is none."""
    import numpy as np

    numbers = _numbers(value if isinstance(value, list) else [value])
    return float("nan") if numbers is None or not np.isfinite(numbers).any() else float(np.nanmedian(numbers))


def _table(tracks: list[_Track], midnight_s: float) -> "pa.Table":
    import numpy as np
    import pyarrow as pa

    sizes = [len(track.time_s) for track in tracks]
    index = pa.array(np.repeat(np.arange(len(tracks), dtype=np.int32), sizes))

    def words(values: list[str]) -> "pa.Array":
        """One word a track, spread over its samples."""
        return tables.words(pa.array(values, pa.string())).take(index)

    def numbers(values: list[float]) -> "pa.Array":
        return tables.single(np.repeat(values, sizes))

    return pa.table(
        {
            columns.TIME: tables.double(np.concatenate([track.time_s for track in tracks]) - midnight_s),
            columns.VEHICLE: words([track.vehicle for track in tracks]),
            columns.ROAD: words([track.road for track in tracks]),
            columns.ROAD_POSITION: tables.double(np.concatenate([track.front_m for track in tracks])),
            columns.LENGTH: numbers([track.length_m for track in tracks]),
            columns.WIDTH: numbers([track.width_m for track in tracks]),
            columns.CLASS: words([track.kind for track in tracks]),
        }
    )
