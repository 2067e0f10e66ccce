"""Places as they come: GeoJSON, well-known text, encoded polylines, and well-known binary for the table.

Well-known text and binary after *OpenGIS Simple Features Access, Part 1* (Open Geospatial Consortium, 2011); GeoJSON
after RFC 7946 (2016); the polyline code after *Encoded Polyline Algorithm Format* (Google Maps documentation). Points
are longitude and latitude in degrees; heights are left out.
"""

import json
import math
import re
import struct
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from scenariogen.incidents.events import Points

POINT, LINE = 1, 2
_LITTLE_ENDIAN = 1
_WKT = re.compile(
    r"^\s*(?:SRID=\d+;)?\s*(POINT|LINESTRING|MULTIPOINT|MULTILINESTRING)\s*(?:Z|M|ZM)?\s*\((.*)\)\s*$", re.I | re.S
)
POLYLINE_STEPS_PER_DEGREE = 1e5


def to_wkb(points: Points) -> bytes:
    """A Point for one point, a LineString for several."""
    if len(points) == 1:
        return struct.pack("<BI2d", _LITTLE_ENDIAN, POINT, *points[0])
    flat = [value for point in points for value in point]
    return struct.pack(f"<BII{len(flat)}d", _LITTLE_ENDIAN, LINE, len(points), *flat)


def from_wkb(data: bytes) -> Points:
    """The points of a Point or a LineString. Raises ``ValueError`` for anything else."""
    try:
        order = "<" if data[0] == _LITTLE_ENDIAN else ">"
        (kind,) = struct.unpack_from(order + "I", data, 1)
        if kind == POINT:
            return (struct.unpack_from(order + "2d", data, 5),)
        if kind == LINE:
            (count,) = struct.unpack_from(order + "I", data, 5)
            if len(data) == 9 + 16 * count:
                flat = struct.unpack_from(f"{order}{2 * count}d", data, 9)
                return tuple(zip(flat[::2], flat[1::2], strict=True))
    except (struct.error, IndexError) as error:
        raise ValueError("geometry is no whole well-known binary") from error
    raise ValueError(f"geometry is of kind {kind}, expected a Point (1) or a LineString (2)")


def middle(points: Points) -> tuple[float, float]:
    """The point half way along, degrees of longitude shortened by the cosine of the latitude.

    >>> middle(((0.0, 0.0), (2.0, 0.0), (4.0, 0.0)))
    (2.0, 0.0)
    """
    if len(points) == 1:
        return points[0]
    shrink = math.cos(math.radians(points[0][1]))
    lengths = [math.hypot((b[0] - a[0]) * shrink, b[1] - a[1]) for a, b in pairwise(points)]
    rest = sum(lengths) / 2
    for (a, b), length in zip(pairwise(points), lengths, strict=True):
        if length > 0 and rest <= length:
            share = rest / length
            return (a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1]))
        rest -= length
    return points[-1]


def from_geojson(geometry: Any) -> Points:
    """The points of a GeoJSON geometry; several lines are joined in their order. Raises ``ValueError``."""
    if not isinstance(geometry, dict):
        raise ValueError("no geometry")
    kind, values = geometry.get("type"), geometry.get("coordinates")
    if kind == "Point":
        return _points([values])
    if kind in ("LineString", "MultiPoint"):
        return _points(values)
    if kind == "MultiLineString" and isinstance(values, list):
        return _points([point for line in values if isinstance(line, list) for point in line])
    raise ValueError("a geometry that is no point or line")


def from_wkt(text: str) -> Points:
    """The points of well-known text: point, line, or several of them. Raises ``ValueError``.

    >>> from_wkt("LINESTRING (11.5 48.1, 11.6 48.2)")
    ((11.5, 48.1), (11.6, 48.2))
    """
    match = _WKT.match(text)
    if match is None:
        raise ValueError("a geometry that is no point or line")
    parts = match[2].replace("(", " ").replace(")", " ").split(",")
    return _points([part.split() for part in parts])


def from_text(text: str) -> Points:
    """The points of a cell that holds GeoJSON or well-known text. Raises ``ValueError``."""
    if text.lstrip().startswith("{"):
        try:
            return from_geojson(json.loads(text))
        except RecursionError:
            raise ValueError("a geometry that is no point or line") from None
    return from_wkt(text)


def from_polyline(code: str) -> Points:
    """The points of an encoded polyline. Raises ``ValueError`` where it breaks off or is none.

    >>> from_polyline("_p~iF~ps|U_ulLnnqC_mqNvxq`@")[0]
    (-120.2, 38.5)
    """
    numbers: list[int] = []
    value = shift = 0
    for sign in code.strip():
        part = ord(sign) - 63
        if not 0 <= part < 64 or shift > 30:
            raise ValueError("a polyline code with a sign that it cannot have")
        value |= (part & 0x1F) << shift
        shift += 5
        if part < 0x20:
            numbers.append(~(value >> 1) if value & 1 else value >> 1)
            value = shift = 0
    if shift or len(numbers) % 2 or not numbers:
        raise ValueError("a polyline code that breaks off")
    points, lat, lon = [], 0, 0
    for step_lat, step_lon in zip(numbers[::2], numbers[1::2], strict=True):
        lat, lon = lat + step_lat, lon + step_lon
        points.append((lon / POLYLINE_STEPS_PER_DEGREE, lat / POLYLINE_STEPS_PER_DEGREE))
    return tuple(points)


def _points(values: Any) -> Points:
    """Pairs of finite numbers, points that repeat the one before left out. Raises ``ValueError``."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        raise ValueError("a geometry without points")
    found: list[tuple[float, float]] = []
    for value in values:
        try:
            point = (float(value[0]), float(value[1]))
        except (TypeError, ValueError, IndexError, KeyError, OverflowError):
            raise ValueError("a geometry whose coordinates are no numbers") from None
        if not all(map(math.isfinite, point)):
            raise ValueError("a geometry whose coordinates are no numbers")
        if not found or point != found[-1]:
            found.append(point)
    if not found:
        raise ValueError("a geometry without points")
    return tuple(found)
