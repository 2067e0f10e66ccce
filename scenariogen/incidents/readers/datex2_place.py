"""Where a DATEX II record is: coordinates where it has some, road and direction, or its Alert-C code.

After EN 16157-2 (location referencing): a GML line lists latitude before longitude; OpenLR and point locations hold
``latitude`` and ``longitude``; Alert-C (ISO 14819-3) names a point of a numbered table, of which only the code is kept.
"""

from collections.abc import Iterable, Iterator
from xml.etree.ElementTree import Element

from scenariogen.incidents.events import Points
from scenariogen.incidents.readers.values import direction_of, number_of

DIRECTIONS = (
    "directionAtPoint", "directionOnLinearSection", "applicableForTrafficDirection", "directionBound",
    "tpegDirection",
)  # fmt: skip
LONGEST_ROAD_NAME = 60


def local(element: Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def inside(element: Element, name: str) -> Iterator[Element]:
    """The children of that name."""
    return (each for each in element if local(each) == name)


def first_text(element: Element, name: str) -> str:
    """The text of the first element of that name at any depth; empty where there is none."""
    for each in element.iter():
        if local(each) == name and each.text and each.text.strip():
            return each.text.strip()
    return ""


def first_texts(element: Element) -> dict[str, str]:
    """Name to text of the first element of each name at any depth, in one pass; those without text are left out."""
    found: dict[str, str] = {}
    for each in element.iter():
        text = each.text.strip() if each.text else ""
        if text:
            found.setdefault(local(each), text)
    return found


def points(elements: Iterable[Element]) -> Points:
    """Longitudes and latitudes of the first record that has some: a line before a point."""
    for element in elements:
        for find in (_gml_line, _openlr, _between, _point):
            found = find(element)
            if found:
                return found
    return ()


def _gml_line(element: Element) -> Points:
    for line in (each for each in element.iter() if local(each) == "gmlLineString"):
        width = 3 if line.get("srsDimension") == "3" else 2
        numbers = [number_of(part) for part in first_text(line, "posList").split()]
        flat = [number for number in numbers if number is not None]
        if len(flat) == len(numbers) and flat and len(flat) % width == 0:
            return _without_repeats((flat[at + 1], flat[at]) for at in range(0, len(flat), width))
    return ()


def _openlr(element: Element) -> Points:
    found = [_coordinates(each) for each in element.iter() if local(each) in ("openlrCoordinate", "openlrCoordinates")]
    return _without_repeats(point for point in found if point is not None)


def _between(element: Element) -> Points:
    """From the upstream to the downstream end of a TPEG location, which lists the downstream one first."""
    for line in (each for each in element.iter() if local(each) == "tpegLinearLocation"):
        ends = [_point(end) for name in ("from", "to") for end in inside(line, name)]
        if len(ends) == 2 and all(ends):
            return _without_repeats((*ends[0], *ends[1]))
    return ()


def _point(element: Element) -> Points:
    for name in ("pointCoordinates", "coordinatesForDisplay", "locationForDisplay"):
        for each in element.iter():
            point = _coordinates(each) if local(each) == name else None
            if point is not None:
                return (point,)
    return ()


def _coordinates(element: Element) -> tuple[float, float] | None:
    lon, lat = (number_of(first_text(element, name)) for name in ("longitude", "latitude"))
    return (lon, lat) if lon is not None and lat is not None else None


def _without_repeats(values: Iterable[tuple[float, float]]) -> Points:
    found: list[tuple[float, float]] = []
    for value in values:
        if not found or value != found[-1]:
            found.append(value)
    return tuple(found)


def road(elements: Iterable[Element]) -> str:
    """Number of the road, else its name, else the Alert-C code of its first point."""
    elements = list(elements)
    for name in ("roadNumber", "roadName"):
        for element in elements:
            text = _name(element, name)
            if text and len(text) <= LONGEST_ROAD_NAME:
                return text
    return next((code for element in elements if (code := _alert_c(element))), "")


def _name(element: Element, name: str) -> str:
    """Plain text, or the first language of a text in several."""
    return first_text(element, name) or next(
        (first_text(each, "value") for each in element.iter() if local(each) == name), ""
    )


def _alert_c(element: Element) -> str:
    country, table, place = (
        first_text(element, name)
        for name in ("alertCLocationCountryCode", "alertCLocationTableNumber", "specificLocation")
    )
    return f"alert-c {country}.{table}.{place}" if place else ""


def direction(elements: Iterable[Element]) -> str:
    """``N``, ``E``, ``S`` or ``W`` where a record names a compass direction."""
    for element in elements:
        texts = first_texts(element)
        for name in DIRECTIONS:
            found = direction_of(texts.get(name))
            if found:
                return found
    return ""
