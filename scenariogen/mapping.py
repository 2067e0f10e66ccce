"""A column mapping: which column of a foreign table holds what, and in which unit (``--map speed=v_Vel:ft/s``)."""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scenariogen.errors import DataError, Problems
from scenariogen.units import METRES_PER_FOOT, METRES_PER_MILE, MPS_PER_KMH, MPS_PER_MPH, SECONDS_PER_DAY

UNITS: dict[str, dict[str, float]] = {
    "length": {
        "m": 1.0, "km": 1000.0, "cm": 0.01, "mm": 0.001, "ft": METRES_PER_FOOT, "in": METRES_PER_FOOT / 12,
        "mi": METRES_PER_MILE, "yd": 3 * METRES_PER_FOOT,
    },
    "speed": {"m/s": 1.0, "km/h": MPS_PER_KMH, "mph": MPS_PER_MPH, "ft/s": METRES_PER_FOOT},
    "acceleration": {"m/s2": 1.0, "ft/s2": METRES_PER_FOOT, "g": 9.80665, "km/h/s": MPS_PER_KMH},
    "time": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": SECONDS_PER_DAY},
    "angle": {"deg": 1.0, "rad": 57.29577951308232},
    "share": {"1": 1.0, "%": 0.01},
}  # fmt: skip
"""Dimension to unit name to factor to SI (degrees for angles). A frame count is a time: ``1/10s`` is 0.1 s each."""

ALIASES = {"kmh": "km/h", "kph": "km/h", "mps": "m/s", "fps": "ft/s", "m/s^2": "m/s2", "ft/s^2": "ft/s2", "mi/h": "mph"}
_FRACTION = re.compile(r"^1/(?P<parts>\d+(?:\.\d+)?)(?P<unit>[a-z]+)$")


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where one field comes from: the column's name, its unit as written, and the factor to SI."""

    column: str
    unit: str = ""
    factor: float = 1.0


def unit_factor(unit: str, dimension: str) -> float:
    """Factor from ``unit`` to SI. Raises ``ValueError`` that names the units of that dimension.

    >>> unit_factor("ft/s", "speed"), unit_factor("1/25s", "time")
    (0.3048, 0.04)
    """
    name = ALIASES.get(unit.lower(), unit.lower())
    known = UNITS[dimension]
    if name in known:
        return known[name]
    match = _FRACTION.match(name)
    if match is not None and match["unit"] in known and float(match["parts"]) > 0:
        return known[match["unit"]] / float(match["parts"])
    raise ValueError(f"got the unit {unit!r}, expected one of {', '.join(known)} for a {dimension}")


def parse_mapping(texts: Iterable[str], dimensions: Mapping[str, str | None]) -> dict[str, Source]:
    """Mapping entries ``field=column`` or ``field=column:unit``, each field once.

    ``dimensions`` holds the fields that may be given, each with the dimension of its unit, or None where it has no
    unit. A column's name may itself hold ``=`` and ``:``; the field ends at the first ``=``, and what follows the
    last ``:`` is a unit where it is one. Raises ``DataError`` that lists every problem.

    >>> parse_mapping(["speed=v_Vel:ft/s"], {"speed": "speed"})["speed"]
    Source(column='v_Vel', unit='ft/s', factor=0.3048)
    """
    problems = Problems("column mapping")
    found: dict[str, Source] = {}
    for text in texts:
        name, sign, rest = text.partition("=")
        name = name.strip()
        if not sign or not rest.strip():
            problems.add(f"{text!r} is not FIELD=COLUMN or FIELD=COLUMN:UNIT, for example speed=v_Vel:ft/s")
        elif name not in dimensions:
            problems.add(f"{text!r}: the field {name!r} is unknown{_near(name, dimensions)}")
        elif name in found:
            problems.add(f"{text!r}: {name} was given before, as {found[name].column!r}")
        else:
            try:
                found[name] = _source(rest.strip(), dimensions[name])
            except ValueError as error:
                problems.add(f"{text!r}: {error}")
    problems.raise_as(DataError)
    return found


def _source(rest: str, dimension: str | None) -> Source:
    column, colon, unit = rest.rpartition(":")
    if not colon:
        return Source(column=rest)
    if dimension is None:
        return Source(column=rest)  # the colon is part of the column's name
    return Source(column=column, unit=unit, factor=unit_factor(unit, dimension))


def _near(name: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else f"; expected one of {', '.join(names)}"


def missing_columns(mapping: Mapping[str, Source], header: Sequence[str]) -> list[str]:
    """One line for each mapped column that a table does not have, with the nearest name it has."""
    lines = []
    for name, source in mapping.items():
        if source.column in header:
            continue
        close = difflib.get_close_matches(source.column, header, n=2, cutoff=0.5)
        hint = f"; near it: {', '.join(close)}" if close else f"; it has {', '.join(header[:12])}"
        lines.append(f"{name} is mapped to the column {source.column!r}, which is not there{hint}")
    return lines
