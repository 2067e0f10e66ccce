"""CommonRoad scenarios (XML, 2018b and 2020a): the trajectories of their dynamic obstacles.

After M. Althoff, M. Koschi, S. Manzinger, *CommonRoad: Composable benchmarks for motion planning on roads* (2017), and
the format's documentation. Time is ``timeStepSize`` times the step; positions are the centre of the obstacle, not its
front, in metres from the scenario's own origin. A value is given as one number or as an interval, a position as a point
or as a shape: the middle is taken and counted. Static obstacles and pedestrians are left out; of the lanelets only the
number is read.
"""

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, ParseError

from scenariogen.accounts import AccountBook
from scenariogen.errors import DataError
from scenariogen.heads import FileHead, Made, open_bytes
from scenariogen.trajectories import columns
from scenariogen.trajectories.readers import tables
from scenariogen.trajectories.readers.contract import CHUNK_ROWS, ReadOptions, TrajectoryReader

if TYPE_CHECKING:
    import pyarrow as pa

ROOT = "commonRoad"
OBSTACLES = ("dynamicObstacle", "obstacle")
"""2018b called them obstacles, with a role."""
PEDESTRIAN = "pedestrian"


class CommonRoadReader(TrajectoryReader):
    """CommonRoad XML."""

    name = "commonroad"
    title = "a CommonRoad scenario"

    def recognises(self, head: FileHead) -> bool:
        return head.made is Made.XML and f"<{ROOT}" in head.text

    def tables(self, head: FileHead, book: AccountBook, options: ReadOptions) -> Iterator["pa.Table"]:
        from defusedxml.common import DefusedXmlException
        from defusedxml.ElementTree import iterparse

        book.units |= {
            columns.TIME: "steps of timeStepSize (s)",
            columns.SPEED: "velocity in m/s",
            columns.VEHICLE: "id of the obstacle",
            columns.CLASS: "type",
            columns.ACCELERATION: "acceleration in m/s2",
            columns.LENGTH: "length of the rectangle in m",
            columns.WIDTH: "width of the rectangle in m",
            columns.X: "centre of the vehicle in m, the scenario's own origin",
            columns.Y: "centre of the vehicle in m, the scenario's own origin",
        }
        rows: list[tuple] = []
        try:
            with open_bytes(head.path) as stream:
                step_s, root, lanelets, depth = float("nan"), None, 0, 0
                for event, element in iterparse(stream, events=("start", "end")):
                    depth += 1 if event == "start" else -1
                    if root is None:
                        root, step_s = element, _begin(element, head, book)
                    elif event == "end" and depth == 1:
                        if element.tag in OBSTACLES and element.findtext("role", "dynamic").strip() == "dynamic":
                            rows += _states(element, step_s, book)
                        lanelets += element.tag == "lanelet"
                        root.clear()
                    if len(rows) >= CHUNK_ROWS:
                        yield _table(rows)
                        rows = []
                book.facts["lanelets"] = str(lanelets)
        except (EOFError, zlib.error):
            raise DataError(f"{head.path} {tables.CUT_OFF}") from None
        except (ParseError, DefusedXmlException, OSError, UnicodeError, LookupError, ValueError) as error:
            said = str(error) or type(error).__name__
            raise DataError(f"{head.path} cannot be read as CommonRoad XML: {said}") from error
        if rows:
            yield _table(rows)


def _begin(root: Element, head: FileHead, book: AccountBook) -> float:
    """The time step in seconds."""
    if root.tag != ROOT:
        raise DataError(f"{head.path} begins with <{root.tag}>, expected <{ROOT}>")
    text = root.get("timeStepSize", "")
    step_s = _number(text)
    if not step_s > 0:
        raise DataError(f"{head.path}: timeStepSize is {text!r}, expected a positive number of seconds")
    book.facts["benchmark"] = root.get("benchmarkID", "")
    book.facts["version"] = root.get("commonRoadVersion", "")
    return step_s


def _states(obstacle: Element, step_s: float, book: AccountBook) -> list[tuple]:
    """(vehicle, class, length, width, time, x, y, speed, acceleration) for the initial state and the trajectory."""
    vehicle = obstacle.get("id", "")
    kind = (obstacle.findtext("type") or "").strip()
    states = [*obstacle.findall("initialState"), *obstacle.findall("trajectory/state")]
    book.rows += len(states)
    if kind == PEDESTRIAN:
        book.drop("of pedestrians", len(states))
        return []
    box = obstacle.find("shape/rectangle")
    long_m = _number(box.findtext("length", "")) if box is not None else float("nan")
    wide_m = _number(box.findtext("width", "")) if box is not None else float("nan")
    found = []
    for state in states:
        place = _place(state, book)
        if place is None:
            book.drop("without a point or a shape as position", example=f"obstacle {vehicle}")
            continue
        found.append(
            (
                vehicle,
                kind,
                long_m,
                wide_m,
                _value(state, "time", book) * step_s,
                _number(place.findtext("x", "")),
                _number(place.findtext("y", "")),
                _value(state, "velocity", book),
                _value(state, "acceleration", book),
            )
        )
    if len(states) < 2:
        book.note("obstacles without a trajectory (a set or a probability distribution instead)", example=vehicle)
    return found


def _place(state: Element, book: AccountBook) -> Element | None:
    """The element that holds the position's ``x`` and ``y``."""
    point = state.find("position/point")
    if point is not None:
        return point
    for shape in ("rectangle", "circle"):
        centre = state.find(f"position/{shape}/center")
        if centre is not None:
            book.note("give the position as a shape, of which the centre is taken", rows=1)
            return centre
    return None


def _value(state: Element, name: str, book: AccountBook) -> float:
    """A number, the middle of an interval, or nan."""
    element = state.find(name)
    if element is None:
        return float("nan")
    if (exact := element.findtext("exact")) is not None:
        return _number(exact)
    low, high = element.findtext("intervalStart"), element.findtext("intervalEnd")
    if low is None or high is None:
        return float("nan")
    book.note(f"give {name} as an interval, of which the middle is taken", rows=1)
    return (_number(low) + _number(high)) / 2


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _table(rows: list[tuple]) -> "pa.Table":
    import pyarrow as pa

    vehicle, kind, long_m, wide_m, time_s, x, y, speed, acceleration = zip(*rows, strict=True)

    return pa.table(
        {
            columns.TIME: tables.double(time_s),
            columns.VEHICLE: tables.words(pa.array(vehicle, pa.string())),
            columns.X: tables.double(x),
            columns.Y: tables.double(y),
            columns.SPEED: tables.single(speed),
            columns.ACCELERATION: tables.single(acceleration),
            columns.LENGTH: tables.single(long_m),
            columns.WIDTH: tables.single(wide_m),
            columns.CLASS: tables.words(pa.array(kind, pa.string())),
        }
    )
