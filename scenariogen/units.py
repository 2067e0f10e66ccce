"""Conversions to SI, and the few ways in which people write times and durations.

Inside scenariogen everything is metres, seconds and metres per second; only readers, the command line and
reports convert.
"""

import re
from datetime import UTC, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from scenariogen.errors import DataError

MPS_PER_KMH = 1 / 3.6
MPS_PER_MPH = 0.44704
METRES_PER_FOOT = 0.3048
METRES_PER_MILE = 1609.344
SECONDS_PER_DAY = 86_400.0

_DURATION = re.compile(r"^\s*(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>s|sec|min|m|h)?\s*$", re.IGNORECASE)
_CLOCK = re.compile(r"^\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}(?:\.\d+)?))?\s*$")
_SPEED = re.compile(r"^\s*(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>km/h|kmh|mph|m/s)\s*$", re.IGNORECASE)
_DISTANCE = re.compile(r"^\s*(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>m|km)\s*$", re.IGNORECASE)
_MPS_PER = {"km/h": MPS_PER_KMH, "kmh": MPS_PER_KMH, "mph": MPS_PER_MPH, "m/s": 1.0}
_SECONDS_PER = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}


def parse_duration_s(text: str) -> float:
    """Seconds in ``"35min"``, ``"90s"`` or ``"1.5h"``; a bare number other than 0 has no unit and is refused.

    >>> parse_duration_s("35min")
    2100.0
    """
    match = _DURATION.match(text)
    if match is None or (match["unit"] is None and float(match["value"])):
        raise ValueError(f"got the duration {text!r}, expected a number with s, min or h, for example 35min")
    return _in_seconds(match)


def parse_time_s(text: str) -> float:
    """Simulation seconds in ``"07:40"`` (after midnight), ``"600s"``, ``"10min"`` or, as SUMO writes them, ``"600"``.

    >>> parse_time_s("07:40"), parse_time_s("600")
    (27600.0, 600.0)
    """
    if ":" in text:
        return parse_clock_s(text)
    match = _DURATION.match(text)
    if match is None:
        raise ValueError(f"got {text!r}, expected a clock time such as 07:40 or simulation seconds such as 600s")
    return _in_seconds(match)


def _in_seconds(match: re.Match[str]) -> float:
    return float(match["value"]) * _SECONDS_PER[(match["unit"] or "s").lower()]


def parse_clock_s(text: str) -> float:
    """Seconds after midnight in ``"07:40"`` or ``"07:40:30"``.

    >>> parse_clock_s("07:40")
    27600.0
    """
    match = _CLOCK.match(text)
    if match is None or int(match["hour"]) > 47 or int(match["minute"]) > 59:
        raise ValueError(f"got the time {text!r}, expected a clock time such as 07:40 or 07:40:30")
    return int(match["hour"]) * 3600.0 + int(match["minute"]) * 60.0 + float(match["second"] or 0.0)


def parse_speed_mps(text: str) -> float:
    """Metres per second in ``"50km/h"``, ``"30mph"`` or ``"8.3m/s"``; a bare number has no unit and is refused.

    >>> parse_speed_mps("36 km/h")
    10.0
    """
    match = _SPEED.match(text)
    if match is None:
        raise ValueError(f"got the speed {text!r}, expected a number with km/h, mph or m/s, for example 50km/h")
    return float(match["value"]) * _MPS_PER[match["unit"].lower()]


def parse_distance_m(text: str) -> float:
    """Metres in ``"300m"`` or ``"1.2km"``.

    >>> parse_distance_m("1.5km")
    1500.0
    """
    match = _DISTANCE.match(text)
    if match is None:
        raise ValueError(f"got the distance {text!r}, expected a number with m or km, for example 300m")
    return float(match["value"]) * (1000.0 if match["unit"].lower() == "km" else 1.0)


def clock_text(seconds: float) -> str:
    """Seconds after midnight as ``hh:mm``, or ``hh:mm:ss`` where seconds are left over.

    >>> clock_text(27600), clock_text(27601)
    ('07:40', '07:40:01')
    """
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours:02d}:{minutes:02d}" + (f":{left:02d}" if left else "")


def duration_text(seconds: float) -> str:
    """A duration for people.

    >>> duration_text(45), duration_text(2100), duration_text(7200)
    ('45 s', '35 min', '2 h')
    """
    if seconds < 120:
        return f"{seconds:g} s" if seconds == round(seconds) else f"{seconds:.1f} s"
    minutes = seconds / 60
    if minutes < 120:
        return f"{minutes:.0f} min" if abs(minutes - round(minutes)) < 0.05 else f"{minutes:.1f} min"
    return f"{minutes / 60:.3g} h"


@lru_cache(maxsize=64)
def zone_of(name: str) -> tzinfo:
    """A time zone by its name. Raises ``DataError`` for a name that none has."""
    try:
        return ZoneInfo(name) if name else UTC
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise DataError(f"the time zone {name!r} is unknown, expected a name such as Europe/London or UTC") from None
