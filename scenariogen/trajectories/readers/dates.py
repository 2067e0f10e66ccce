"""Times with a date: rows are split by date into recordings and get the seconds after midnight.

Such times are ISO 8601 text (``2024-05-01T08:04:00Z``, ``20240501T080400-0700``, ``2024/05/01 08:04:00``), timestamps
of Parquet, and numbers so large that they count from 1970. One zone tells where midnight is: the one that is asked for,
else the offset of the first time that has one, else UTC. Text without an offset is on the clock of that zone.
"""

import re
from dataclasses import dataclass
from datetime import UTC, timedelta, timezone, tzinfo
from typing import TYPE_CHECKING

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.trajectories.readers import tables
from scenariogen.units import zone_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

EPOCH_S = (1e8, 1e10)
"""Numbers of seconds between these count from 1970 (1973 to 2286): nobody is recorded for three years."""
FIRST_ROWS = 100
FORMS = "2024-05-01T08:04:00Z, 2024-05-01 08:04:00.5, 20240501T080400+0200"
_DATE = r"^\s*(\d{4}[-/]\d{2}[-/]\d{2}|\d{8}[T ]\d{2})"
_OFFSET = re.compile(r"[T ]\d{1,2}[\d:.,]*\s*(?:(?P<utc>[Zz])|(?P<sign>[-+])(?P<hours>\d{2}):?(?P<minutes>\d{2})?)\s*$")


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """How the times of a file are split.

    ``zone``     where midnight is
    ``written``  what they are, in words
    """

    zone: tzinfo
    written: str

    @property
    def words(self) -> str:
        return f"{self.written}: seconds after midnight of its date ({zone_name(self.zone)})"


def zone_name(zone: tzinfo) -> str:
    return getattr(zone, "key", None) or str(zone)


def calendar_of(times: "pa.Array", column: str, time_zone: str, numbers_s: "pa.Array | None") -> Calendar | None:
    """The calendar of the first times of a file, None where they are numbers that count from anywhere else.

    ``numbers_s``  the same in seconds, where they are numbers

    Raises ``DataError`` for columns of dates or durations alone.
    """
    import pyarrow as pa

    pc = tables.compute()
    asked = zone_of(time_zone) if time_zone else None
    if numbers_s is not None:
        middle = pc.approximate_median(numbers_s).as_py()
        is_epoch = middle is not None and EPOCH_S[0] <= middle < EPOCH_S[1]
        return Calendar(zone=asked or UTC, written="Unix time") if is_epoch else None
    if pa.types.is_timestamp(times.type):
        said = times.type.tz or ""
        return Calendar(zone=asked or offset_of(f"T00:00{said}") or zone_of(said), written="timestamps")
    if pa.types.is_temporal(times.type):
        raise DataError(f"the column {column} is of the type {times.type}, expected timestamps, text or numbers")
    offset = next((found for text in pc.unique(times).to_pylist() if (found := offset_of(text or ""))), None)
    return Calendar(zone=asked or offset or UTC, written="ISO 8601")


def are_dates(times: "pa.Array") -> bool:
    """True for timestamps, and for text of which most of the first cells begin with a date."""
    import pyarrow as pa

    if pa.types.is_temporal(times.type):
        return True
    if not (pa.types.is_string(times.type) or pa.types.is_large_string(times.type)):
        return False
    pc = tables.compute()
    first = pc.drop_null(times).slice(0, FIRST_ROWS)
    return 2 * (pc.sum(pc.match_substring_regex(first, _DATE)).as_py() or 0) > len(first)


def offset_of(text: str) -> tzinfo | None:
    """The offset at the end of an ISO 8601 time.

    >>> str(offset_of("2024-05-01T17:01:00-07:00")), offset_of("2024-05-01T17:01:00")
    ('UTC-07:00', None)
    """
    found = _OFFSET.search(text)
    if found is None:
        return None
    if found["utc"]:
        return UTC
    size = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"] or 0))
    return timezone(-size if found["sign"] == "-" else size) if size < timedelta(hours=24) else None


def split_numbers(seconds: "pa.Array", calendar: Calendar) -> tuple["pa.Array", "pa.Array"]:
    """Seconds after midnight, and the dates, of Unix times in seconds."""
    import pandas as pd

    stamps = pd.to_datetime(seconds.to_pandas(), unit="s", utc=True, errors="coerce")
    return _split(stamps.dt.tz_convert(calendar.zone))


def split_dates(times: "pa.Array", calendar: Calendar, column: str, book: AccountBook) -> tuple["pa.Array", "pa.Array"]:
    """The same of text or timestamps; what cannot be read is empty and counted."""
    import pandas as pd
    import pyarrow as pa

    if pa.types.is_timestamp(times.type):
        stamps = pd.Series(times.to_pandas())
        return _split(stamps.dt.tz_convert(calendar.zone) if times.type.tz else stamps)
    coded = times.cast(pa.string()).dictionary_encode()  # each time is read once, however many vehicles there are
    texts = pd.Series(coded.dictionary.to_pylist(), dtype=object)
    stamps = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
    has_offset = texts.map(lambda text: offset_of(text) is not None).to_numpy(dtype=bool)
    there, here = _split(stamps.dt.tz_convert(calendar.zone)), _split(stamps)
    pc = tables.compute()
    seconds, dates = (pc.if_else(pa.array(has_offset), *both) for both in zip(there, here, strict=True))
    wrong = pc.and_(times.is_valid(), pc.is_null(seconds.take(coded.indices)))
    count = pc.sum(wrong).as_py() or 0
    if count:
        example = repr(times.filter(wrong)[0].as_py())
        book.note(f"hold something else than an ISO 8601 time in {column}: taken as empty", rows=count, example=example)
    return seconds.take(coded.indices), dates.take(coded.indices)


def check_some(times: "pa.Array", seconds: "pa.Array", column: str) -> None:
    """Raises ``DataError`` where not one of the first times can be read."""
    if len(times) > times.null_count and seconds.null_count == len(seconds):
        example = times.drop_null()[0].as_py()
        raise DataError(
            f"the column {column} holds no time that can be read, such as {example!r}; expected ISO 8601 ({FORMS}), or "
            f"numbers with their unit (--map time={column}:ms)"
        )


def _split(stamps: "pd.Series") -> tuple["pa.Array", "pa.Array"]:
    import pyarrow as pa

    seconds = (stamps - stamps.dt.normalize()).dt.total_seconds().round(6)
    return (
        pa.array(seconds, pa.float64(), from_pandas=True),
        pa.array(stamps.dt.strftime("%Y-%m-%d"), pa.string(), from_pandas=True),
    )
