"""Values as agencies write them: times in several ways, numbers with ``.0``, words that mean nothing."""

import math
import re
from datetime import UTC, datetime, tzinfo
from typing import Any

NOTHING = frozenset({"", "none", "null", "nan", "na", "n/a", "no data", "undefined", "unknown", "-", "-1"})
"""Cells, in small letters, that say nothing."""
TRUE_WORDS = frozenset({"1", "1.0", "true", "t", "yes", "y"})
FALSE_WORDS = frozenset({"0", "0.0", "false", "f", "no", "n"})
MILLISECONDS_FROM = 1e11
"""Epoch numbers from here on are milliseconds: as seconds they would lie beyond the year 5000."""
_CLOCK = r"(?:[ T,]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d*)?)?)?$"
_SLASHED = re.compile(r"^(\d{1,2})/(\d{1,2})/(\d{4})" + _CLOCK)
_DOTTED = re.compile(r"^(\d{1,2})\.(\d{1,2})\.(\d{4})" + _CLOCK)
_HALF_DAY = re.compile(r"\s*([ap])\.?m\.?$", re.I)
_UTC_WORD = re.compile(r"\s+(utc|gmt|z)$", re.I)
_RUN_TOGETHER = {12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
_COMPASS = (("north", "N"), ("east", "E"), ("south", "S"), ("west", "W"))
_COMPASS_CODES = {"n": "N", "nb": "N", "e": "E", "eb": "E", "s": "S", "sb": "S", "w": "W", "wb": "W"}


def text_of(value: Any) -> str:
    """A value as a word without blanks around it; what says nothing is empty.

    >>> text_of(" I-10 "), text_of("None"), text_of(None)
    ('I-10', '', '')
    """
    if value is None or isinstance(value, dict | list | tuple | bool):
        return ""
    text = str(value).strip()
    return "" if text.lower() in NOTHING else text


def number_of(value: Any) -> float | None:
    """A finite number, or None where there is none."""
    if isinstance(value, bool) or value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def count_of(value: Any, *, most: int = 30) -> int | None:
    """A whole number from 1 to ``most``, also written as ``4.0``; None for anything else."""
    number = number_of(value)
    return int(number) if number is not None and number == int(number) and 1 <= number <= most else None


def truth_of(value: Any) -> bool | None:
    """True, False, or None where neither is said."""
    word = str(value).strip().lower()
    return True if word in TRUE_WORDS else False if word in FALSE_WORDS else None


def direction_of(value: Any) -> str:
    """``N``, ``E``, ``S`` or ``W`` for a word such as ``northbound``, ``East`` or ``SB``; empty for anything else.

    >>> direction_of("Westbound"), direction_of("NB"), direction_of("both"), direction_of("north and south")
    ('W', 'N', '', '')
    """
    word = text_of(value).lower()
    if len({letter for begin, letter in _COMPASS if re.search(rf"\b{begin}", word)}) > 1:
        return ""
    for begin, letter in _COMPASS:
        if word.startswith(begin) and not any(word.startswith(begin + other) for other, _ in _COMPASS):
            return letter
    return _COMPASS_CODES.get(word, "")


def time_of(value: Any, zone: tzinfo = UTC, *, day_first: bool = False) -> datetime | None:
    """A time with a zone: from ISO 8601, ``YYYY-MM-DD HH:MM:SS``, ``MM/DD/YYYY HH:MM``, ``DD.MM.YYYY HH:MM``,
    ``YYYYMMDDHHMM`` or epoch seconds; hours may count to twelve, with AM or PM.

    Text without an offset is in ``zone``, unless UTC or GMT stands behind it. ``day_first`` reads 01/02/2020 as the
    first of February. Epoch numbers from :data:`MILLISECONDS_FROM` on are milliseconds. None where nothing or no time
    stands there.

    >>> time_of("1749783600.0").isoformat()
    '2025-06-13T03:00:00+00:00'
    """
    text = text_of(value)
    if not text:
        return None
    number = number_of(text)
    try:
        if text.isdigit() and len(text) in _RUN_TOGETHER and text[:2] in ("19", "20"):
            found = datetime.strptime(text, _RUN_TOGETHER[len(text)])
        elif number is not None and not (len(text) == 8 and text.isdigit()):
            return datetime.fromtimestamp(number / 1000 if abs(number) >= MILLISECONDS_FROM else number, tz=UTC)
        else:
            if _UTC_WORD.search(text):
                text, zone = _UTC_WORD.sub("", text), UTC
            found = _calendar(text, day_first=day_first)
        return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _calendar(text: str, *, day_first: bool) -> datetime:
    half = _HALF_DAY.search(text)
    if half is not None:
        text = text[: half.start()]
    slashed, dotted = _SLASHED.match(text), _DOTTED.match(text)
    parts = slashed or dotted
    if parts is None:
        found = datetime.fromisoformat(text)
    else:
        first, second, year, hour, minute, seconds = (int(part or 0) for part in parts.groups())
        month, day = (second, first) if day_first or dotted else (first, second)
        found = datetime(year, month, day, hour, minute, seconds)
    if half is None:
        return found
    if not 1 <= found.hour <= 12:
        raise ValueError(f"got the hour {found.hour} with AM or PM, expected 1 to 12")
    is_late = half[1].lower() == "p"
    return found.replace(hour=found.hour % 12 + (12 if is_late else 0))


def mapping_of(value: Any) -> dict[str, Any]:
    """The value where it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def list_of(value: Any) -> list[Any]:
    """The value where it is a JSON list, else an empty one."""
    return value if isinstance(value, list) else []
