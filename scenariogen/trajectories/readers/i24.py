"""I-24 MOTION: trajectories of all vehicles on four miles of motorway, JSON documents, one per vehicle.

After D. Gloudemans and others, *I-24 MOTION: An instrument for freeway traffic science* (2023), and the project's data
tutorial: an array of documents (or one document a line) with ``timestamp`` (Unix seconds), ``x_position`` (feet along
the road), ``y_position`` (feet across it), ``direction`` (1 eastbound, -1 westbound), ``length``, ``width`` (feet) and
``coarse_vehicle_class``. Positions grow eastwards, so westbound they are turned round. There is no speed: it is
derived. Each document is read on its own, so that memory does not grow with the file.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made, open_bytes
from scenariogen.trajectories import columns
from scenariogen.trajectories.readers.contract import CHUNK_ROWS, ReadOptions, TrajectoryReader
from scenariogen.units import METRES_PER_FOOT, SECONDS_PER_DAY

if TYPE_CHECKING:
    import pyarrow as pa

MARKS = ('"x_position"', '"y_position"', '"timestamp"')
DIRECTIONS = {1: "EB", -1: "WB"}
CLASSES = {0: "sedan", 1: "midsize", 2: "van", 3: "pickup", 4: "semi", 5: "truck", 6: "motorcycle"}
_LISTS = ("timestamp", "x_position", "y_position")


class I24Reader(TrajectoryReader):
    """I-24 MOTION's JSON."""

    name = "i24"
    title = "I-24 MOTION trajectories"

    def recognises(self, head: FileHead) -> bool:
        return head.made is Made.JSON and all(mark in head.text for mark in MARKS[:1]) and "_position" in head.text

    def tables(self, head: FileHead, book: AccountBook, options: ReadOptions) -> Iterator["pa.Table"]:
        book.units |= {
            columns.TIME: "timestamp in Unix seconds (I-24 MOTION), from midnight UTC of the first document",
            columns.ROAD_POSITION: "x_position in ft, turned round westbound (I-24 MOTION)",
            columns.LENGTH: "length in ft (I-24 MOTION)",
            columns.WIDTH: "width in ft (I-24 MOTION)",
        }
        midnight_s: float | None = None
        tracks: list[dict[str, Any]] = []
        rows = 0
        for number, document in enumerate(_documents(head)):
            track = _track(document, f"document {number}", book)
            if track is None:
                continue
            if midnight_s is None:
                first_s = float(track["time"][0])
                midnight_s = first_s - first_s % SECONDS_PER_DAY
                book.facts["first day"] = datetime.fromtimestamp(midnight_s, UTC).strftime("%Y-%m-%d (UTC)")
            track["time"] = track["time"] - midnight_s
            tracks.append(track)
            rows += len(track["time"])
            if rows >= CHUNK_ROWS:
                yield _table(tracks)
                tracks, rows = [], 0
        if tracks:
            yield _table(tracks)


def _documents(head: FileHead) -> Iterator[Mapping[str, Any]]:
    """The documents of an array, or one after the other."""
    import ijson

    is_array = head.text.lstrip().startswith("[")
    try:
        with open_bytes(head.path) as stream:
            yield from ijson.items(stream, "item" if is_array else "", use_float=True, multiple_values=not is_array)
    except ijson.JSONError as error:
        raise DataError(f"{head.path} is no whole JSON file: {str(error).splitlines()[0]}") from error
    except EOFError:
        raise DataError(f"{head.path} is a gzip file that was cut off: copy it again") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{head.path} cannot be read: {error}") from error


def _track(document: object, where: str, book: AccountBook) -> dict[str, Any] | None:
    """One vehicle's samples, or None where the document cannot be used, which is counted."""
    import numpy as np

    if not isinstance(document, Mapping):
        book.drop("not a document", example=where)
        return None
    lists = {name: document.get(name) for name in _LISTS if name in document}
    if {"timestamp", "x_position"} - set(lists):
        book.drop("documents without timestamp or x_position", example=where)
        return None
    try:
        arrays = {name: np.array(values, dtype=float) for name, values in lists.items()}
    except (TypeError, ValueError):
        book.drop("documents with something else than numbers in their lists", example=where)
        return None
    if len({array.shape for array in arrays.values()}) != 1 or arrays["timestamp"].ndim != 1:
        book.drop("documents whose lists differ in length", example=where)
        return None
    if not len(arrays["timestamp"]):
        book.drop("documents without a sample", example=where)
        return None
    direction = document.get("direction")
    if direction not in DIRECTIONS:
        book.drop("documents whose direction is neither 1 nor -1", example=where)
        return None
    book.rows += len(arrays["timestamp"])
    return {
        "vehicle": _identity(document, where),
        "direction": direction,
        "time": arrays["timestamp"],
        "along": arrays["x_position"] * METRES_PER_FOOT * direction,
        "class": CLASSES.get(document.get("coarse_vehicle_class", -1), ""),
        "length": _one(document.get("length")) * METRES_PER_FOOT,
        "width": _one(document.get("width")) * METRES_PER_FOOT,
    }


def _identity(document: Mapping[str, Any], where: str) -> str:
    identity = document.get("_id", document.get("ID", where))
    return str(identity.get("$oid", identity)) if isinstance(identity, Mapping) else str(identity)


def _one(value: object) -> float:
    """A number, or the median of a list of them; nan where there is none."""
    import numpy as np

    try:
        numbers = np.atleast_1d(np.array(value, dtype=float))
    except (TypeError, ValueError):
        return float("nan")
    return float(np.nanmedian(numbers)) if np.isfinite(numbers).any() else float("nan")


def _table(tracks: list[dict[str, Any]]) -> "pa.Table":
    import numpy as np
    import pyarrow as pa

    sizes = [len(track["time"]) for track in tracks]
    index = pa.array(np.repeat(np.arange(len(tracks), dtype=np.int32), sizes))

    def words(values: list[str]) -> "pa.Array":
        """One word a track, spread over its samples."""
        dictionary = pa.array(values, pa.string()).dictionary_encode()
        return dictionary.take(index)

    def numbers(name: str) -> "pa.Array":
        return pa.array(np.repeat([track[name] for track in tracks], sizes), pa.float32(), from_pandas=True)

    return pa.table(
        {
            columns.TIME: np.concatenate([track["time"] for track in tracks]),
            columns.VEHICLE: words([track["vehicle"] for track in tracks]),
            columns.ROAD: words([DIRECTIONS[track["direction"]] for track in tracks]),
            columns.ROAD_POSITION: np.concatenate([track["along"] for track in tracks]),
            columns.LENGTH: numbers("length"),
            columns.WIDTH: numbers("width"),
            columns.CLASS: words([track["class"] for track in tracks]),
        }
    )
