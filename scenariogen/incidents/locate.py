"""Incident records from elsewhere get an edge and a position, and how far to trust them.

A record with coordinates is put on the likeliest of the edges near it. With d the metres from the edge of the road, Δ
the angle between the lane and the record's direction, and S the likeness of the names, an edge scores

    score = exp(−d² / 2·20²) · (1 + cos Δ)/2 · (0.2 + 0.8 S)

and ``location_confidence`` = score · score / (score + score of the best rival). The direction is that of the record's
line at its middle; without a line it is the compass letter, and then up to 45° of Δ cost nothing, since a road signed
"north" seldom runs due north. A line that runs against the letter by more than a right angle halves the score. Without
any direction the second factor is 0.5, without one of the two names the third is 0.7. Rivals are edges other than those
that lead into the best one or out of it: which of two pieces of the same road it is matters little.

A record without coordinates, or with coordinates that lead nowhere, is put between the mileposts of its road and
direction that the user has given: straight interpolation along the way between them, confidence 0.95 / (1 + L / 2000 m)
with L the distance between the two posts, halved where the direction is not said and the road has two.

The factors are our convention, chosen so that two equal candidates get at most 0.5; they are no fitted probabilities.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np

from scenariogen.accounts import AccountBook, FileAccount
from scenariogen.errors import DataError, Problems
from scenariogen.heads import open_bytes
from scenariogen.incidents.located_facts import LocationMethod, tell_places
from scenariogen.mapgeometry import LaneIndex, Projection
from scenariogen.network import RoadNetwork
from scenariogen.trajectories.mapmatch_routes import RouteLengths

if TYPE_CHECKING:
    import pandas as pd

REACH_M = 100.0
"""Edges farther from a record are not considered."""
CANDIDATES = 24
DISTANCE_SCALE_M = 20.0
CHORD_M = 25.0
"""The direction of a line at its middle is that of the chord from so far before to so far after."""
COMPASS_SLACK_RAD = math.radians(45)
LEAST_SCORE = 0.05
"""Where no edge scores this much, none of those near runs that way or bears that name."""
POST_CONFIDENCE = 0.95
POST_SCALE_M = 2000.0
COMPASS: dict[str, tuple[float, float]] = {"N": (0.0, 1.0), "E": (1.0, 0.0), "S": (0.0, -1.0), "W": (-1.0, 0.0)}
EVENT_PLACE = ("lon_deg", "lat_deg", "geometry", "road", "direction", "milepost")
POST_COLUMNS = ("road", "direction", "milepost", "edge", "position_m")
_SAME = {
    "st": "street", "str": "street", "ave": "avenue", "av": "avenue", "rd": "road", "blvd": "boulevard",
    "hwy": "highway", "dr": "drive", "ln": "lane", "pkwy": "parkway", "fwy": "freeway", "expy": "expressway",
    "interstate": "i", "ih": "i", "rte": "route", "rt": "route",
}  # fmt: skip
_DIRECTION_WORDS = {
    "n", "e", "s", "w", "nb", "eb", "sb", "wb", "north", "east", "south", "west", "northbound", "eastbound",
    "southbound", "westbound",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Location:
    """One record's place: edge, metres from its start, confidence between 0 and 1, and how it was found."""

    edge: str
    position_m: float
    confidence: float
    method: LocationMethod


def locate(
    events: "pd.DataFrame",
    network: RoadNetwork,
    *,
    names: Mapping[str, str] | None = None,
    mileposts: "pd.DataFrame | None" = None,
    file: str = "events",
) -> tuple["pd.DataFrame", FileAccount]:
    """The records that lie on the network, with ``edge``, ``position_m``, ``location_confidence`` and
    ``location_method``; and the account of it, the others counted by the reason.

    ``events``     table as in :mod:`scenariogen.incidents.events`: lon_deg, lat_deg, geometry (WKB), road, direction,
                   milepost
    ``names``      edge id to road name; read from the network file where it is not given
    ``mileposts``  columns road, direction, milepost, edge, position_m: where posts stand
    ``file``       name of the source in the account

    Raises ``ProjectError`` where records have coordinates alone and the network no projection, ``DataError`` that
    lists every problem of the mileposts.
    """
    missing = [
        name for name in ("lon_deg", "lat_deg", "geometry", "road", "direction", "milepost") if name not in events
    ]
    if missing:
        raise DataError(f"{file} lacks the columns {', '.join(missing)}; expected a converted table of incidents")
    names = edge_names(network) if names is None else names
    posts = _Posts(mileposts, network) if mileposts is not None else None
    book = AccountBook(file=file, format="locate", title=f"located on {network.path.name}", subject="incidents")
    cells = zip(*(events[name] for name in EVENT_PLACE), strict=True)
    rows = [dict(zip(EVENT_PLACE, row, strict=True)) for row in cells]
    centres = [_middle(row["geometry"], row["lon_deg"], row["lat_deg"]) for row in rows]
    by_place = _by_place(rows, centres, network, names)
    found: list[Location | None] = []
    for number, row in enumerate(rows):
        place = by_place[number]
        if isinstance(place, str) and posts is not None:
            at = posts.find(_text(row["road"]), _text(row["direction"]), _number(row["milepost"]))
            place = at if isinstance(at, Location) or place == "without coordinates" else place
        found.append(place if isinstance(place, Location) else None)
        if isinstance(place, str):
            book.drop(place)
    kept = np.array([each is not None for each in found], bool)
    places = [each for each in found if each is not None]
    result = events[kept].assign(
        edge=[each.edge for each in places],
        position_m=np.array([each.position_m for each in places], float),
        location_confidence=np.array([each.confidence for each in places], float),
        location_method=[str(each.method) for each in places],
    )
    tell_places(book, result, network, names)
    return result, book.close(kept=len(places), subjects=len(places), rows=len(events))


def edge_names(network: RoadNetwork) -> dict[str, str]:
    """Edge id to the ``name`` attribute of the network file, where an edge has one. Raises ``DataError`` where the
    file is not XML that can be read."""
    from xml.etree.ElementTree import ParseError

    from defusedxml.common import DefusedXmlException
    from defusedxml.ElementTree import iterparse

    found: dict[str, str] = {}
    try:
        with open_bytes(network.path) as stream:
            for _, element in iterparse(stream, events=("end",)):
                if element.tag == "edge":
                    name = element.get("name", "").strip()
                    if name and element.get("id") in network.edges:
                        found[element.get("id")] = name
                    element.clear()
    except (OSError, ParseError, DefusedXmlException) as error:
        raise DataError(f"road names cannot be read from {network.path}: {error}") from error
    return found


def name_likeness(one: str, other: str) -> float:
    """Likeness of two road names between 0 and 1. Abbreviations and directions do not count; different numbers do.

    >>> name_likeness("I-10 WB", "Interstate 10"), name_likeness("I-10", "I-17")
    (1.0, 0.0)
    """
    first, second = _words(one), _words(other)
    numbers = [{word for word in words if word.isdigit()} for words in (first, second)]
    if numbers[0] and numbers[1] and not numbers[0] & numbers[1]:
        return 0.0
    texts = " ".join(sorted(first)), " ".join(sorted(second))
    # The matcher depends on the order of its arguments; a likeness must not.
    return max(SequenceMatcher(None, a, b).ratio() for a, b in (texts, texts[::-1]))


def _words(name: str) -> list[str]:
    parts: list[str] = re.findall(r"[^\W\d_]+|\d+", name.lower())
    words: list[str] = [_SAME.get(part, part) for part in parts]
    return [word for word in words if word not in _DIRECTION_WORDS] or words


def _text(value: Any) -> str:
    """A word of a table; nothing where the cell is null, which pandas may hold as NaN."""
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


@dataclass(frozen=True, kw_only=True)
class _Centre:
    """The middle of a record and, where it has a line, the ends of the chord there (degrees)."""

    lon: float
    lat: float
    chord: tuple[tuple[float, float], tuple[float, float]] | None = None


def _middle(geometry: Any, lon: Any, lat: Any) -> _Centre | None:
    import shapely

    if isinstance(geometry, bytes) and geometry:
        shape = shapely.from_wkb(geometry, on_invalid="ignore")
        if isinstance(shape, shapely.LineString) and shape.length > 0:
            half = shape.length / 2
            # Degrees of longitude are shorter than those of latitude: near enough for the length of a chord.
            step = min(half, CHORD_M / 111_000)
            middle, *ends = (shape.interpolate(half + shift) for shift in (0.0, -step, step))
            return _Centre(lon=middle.x, lat=middle.y, chord=((ends[0].x, ends[0].y), (ends[1].x, ends[1].y)))
        if isinstance(shape, shapely.Point) and not shape.is_empty:
            return _Centre(lon=shape.x, lat=shape.y)
    lon, lat = _number(lon), _number(lat)
    return _Centre(lon=lon, lat=lat) if math.isfinite(lon) and math.isfinite(lat) else None


def _by_place(
    rows: list[dict], centres: list[_Centre | None], network: RoadNetwork, names: Mapping[str, str]
) -> list[Location | str]:
    """For each record its location by coordinates, or why it has none."""
    result: list[Location | str] = ["without coordinates"] * len(centres)
    numbers = [number for number, centre in enumerate(centres) if centre is not None]
    if not numbers:
        return result
    known = [centre for centre in centres if centre is not None]
    projection, index = Projection(network), LaneIndex(network)
    x, y = projection.to_network([each.lon for each in known], [each.lat for each in known])
    near = index.near(x, y, reach_m=REACH_M, most=CANDIDATES)
    lane_x, lane_y = index.direction(near.places.lane, near.places.position_m)
    bounds = np.searchsorted(near.point, np.arange(len(known) + 1))
    edges = list(network.edges.values())
    for at, number in enumerate(numbers):
        part = slice(bounds[at], bounds[at + 1])
        if part.start == part.stop:
            result[number] = f"farther than {REACH_M:.0f} m from every edge"
            continue
        road, direction = _text(rows[number]["road"]), _text(rows[number]["direction"])
        heading, is_line = _heading(known[at], direction, projection)
        scores: dict[int, tuple[float, float]] = {}
        for each in range(part.start, part.stop):
            edge = edges[near.edge[each]]
            lane = edge.lanes[index.lanes[near.places.lane[each], 1]]
            beyond_m = max(0.0, near.places.distance_m[each] - lane.width_m / 2)
            score = math.exp(-0.5 * (beyond_m / DISTANCE_SCALE_M) ** 2)
            score *= _agreement((lane_x[each], lane_y[each]), heading, direction, is_line=is_line)
            score *= _name_factor(road, names.get(edge.id, ""))
            scores[int(near.edge[each])] = (score, float(near.places.position_m[each]))
        result[number] = _best(scores, network, LocationMethod.POLYLINE if is_line else LocationMethod.POINT)
    return result


def _heading(centre: _Centre, direction: str, projection: Projection) -> tuple[tuple[float, float] | None, bool]:
    """Unit vector of travel in network coordinates, and whether it is a line's."""
    if centre.chord is not None:
        (x0, x1), (y0, y1) = projection.to_network(*zip(*centre.chord, strict=True))
        length = math.hypot(x1 - x0, y1 - y0)
        if length > 0:
            return ((x1 - x0) / length, (y1 - y0) / length), True
    return COMPASS.get(direction), False


def _agreement(
    lane: tuple[float, float], heading: tuple[float, float] | None, direction: str, *, is_line: bool
) -> float:
    if heading is None:
        return 0.5
    angle = math.acos(min(1.0, max(-1.0, lane[0] * heading[0] + lane[1] * heading[1])))
    if not is_line:
        angle = max(0.0, angle - COMPASS_SLACK_RAD)
    factor = (1 + math.cos(angle)) / 2
    letter = COMPASS.get(direction)
    against = is_line and letter is not None and heading[0] * letter[0] + heading[1] * letter[1] < 0
    return factor / 2 if against else factor


def _name_factor(road: str, name: str) -> float:
    return 0.7 if not road or not name else 0.2 + 0.8 * name_likeness(road, name)


def _best(scores: dict[int, tuple[float, float]], network: RoadNetwork, method: LocationMethod) -> Location | str:
    ids = network.edge_ids
    best = max(scores, key=lambda number: scores[number][0])
    score, position_m = scores[best]
    if score < LEAST_SCORE:
        return "near edges that run another way or bear another name"
    edge = network.edges[ids[best]]
    same_road = {edge.id, *edge.successors, *edge.predecessors} - {edge.opposite}
    rival = max((value for number, (value, _) in scores.items() if ids[number] not in same_road), default=0.0)
    return Location(edge=edge.id, position_m=position_m, confidence=score * score / (score + rival), method=method)


class _Posts:
    """The user's mileposts, checked, by road and direction."""

    def __init__(self, table: "pd.DataFrame", network: RoadNetwork) -> None:
        problems = Problems("the table of mileposts")
        missing = [name for name in POST_COLUMNS if name not in table]
        if missing:
            raise DataError(f"the table of mileposts lacks {', '.join(missing)}; expected {', '.join(POST_COLUMNS)}")
        self._network, self._routes = network, RouteLengths(network)
        self._posts: dict[tuple[tuple[str, ...], str], list[tuple[float, str, float]]] = {}
        for line, row in enumerate(table[list(POST_COLUMNS)].itertuples(index=False), start=1):
            road, direction, post, edge, at = row
            edge, post_number, at_m = str(edge), _number(post), _number(at)
            if edge not in network.edges:
                problems.add(f"row {line}: {network.unknown_edge(edge)}")
            elif not 0 <= at_m <= network.edges[edge].length_m:
                length = network.edges[edge].length_m
                problems.add(f"row {line}: position_m is {at!r}, expected 0 to {length:.1f}, the length of {edge}")
            if not math.isfinite(post_number):
                problems.add(f"row {line}: milepost is {post!r}, expected a number")
            if direction not in (*COMPASS, ""):
                problems.add(f"row {line}: direction is {direction!r}, expected N, E, S, W or nothing")
            self._posts.setdefault((_key(str(road)), str(direction)), []).append((post_number, edge, at_m))
        problems.raise_as(DataError)
        for posts in self._posts.values():
            posts.sort()

    def find(self, road: str, direction: str, milepost: float) -> Location | str:
        """Where a milepost lies, or why that is not known."""
        if not road or not math.isfinite(milepost):
            return "without coordinates and without a milepost"
        ways = [way for (name, way) in self._posts if name == _key(road) and (not direction or way in (direction, ""))]
        if not ways:
            return "on a road or direction without mileposts in the table"
        posts = self._posts[_key(road), ways[0]]
        after = next((number for number, post in enumerate(posts) if post[0] >= milepost), None)
        if after is None or (after == 0 and posts[0][0] > milepost):
            return "beyond the mileposts of the table"
        certainty = POST_CONFIDENCE * (0.5 if len(ways) > 1 else 1.0)
        number, edge, at_m = posts[after]
        if number == milepost:
            return Location(edge=edge, position_m=at_m, confidence=certainty, method=LocationMethod.MILEPOST)
        low = posts[after - 1]
        share = (milepost - low[0]) / (number - low[0])
        # Mileposts grow with the direction of travel on one carriageway and shrink on the other.
        walks = [
            walk for walk in (self._walk(low, posts[after], share), self._walk(posts[after], low, 1 - share)) if walk
        ]
        if not walks:
            return "between mileposts that no way connects"
        length_m, edge, at_m = min(walks)
        return Location(
            edge=edge,
            position_m=at_m,
            confidence=certainty / (1 + length_m / POST_SCALE_M),
            method=LocationMethod.MILEPOST,
        )

    def _walk(
        self, start: tuple[float, str, float], end: tuple[float, str, float], share: float
    ) -> tuple[float, str, float] | None:
        """Metres from one post to the next along the road, and the edge and position at a share of them."""
        index = self._network.edge_index
        way = self._routes.path(index[start[1]], index[end[1]])
        if way is None or (len(way) == 1 and end[2] < start[2]):
            return None
        names = [self._network.edge_ids[number] for number in way]
        lengths = [self._network.edges[name].length_m for name in names]
        total = end[2] - start[2] + sum(lengths[:-1])
        left = start[2] + share * total
        for name, length_m in zip(names, lengths, strict=True):
            if left <= length_m:
                return total, name, left
            left -= length_m
        return total, names[-1], end[2]


def _key(road: str) -> tuple[str, ...]:
    return tuple(sorted(_words(road)))
