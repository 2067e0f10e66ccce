"""What a project's demand is: how many vehicles depart when, read from its files without simulating.

Vehicles, trips and flows count wherever SUMO reads them, in route files as in additional files. A flow is a
stream of vehicles at a constant rate between two times.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from scenariogen.errors import ProjectError
from scenariogen.simulation.options import parse_time_s
from scenariogen.simulation.xmlfiles import children

VEHICLE_TAGS = ("vehicle", "trip")
FLOW_TAGS = ("flow",)
PERSON_TAGS = ("person", "personFlow", "container", "containerFlow")
SAMPLE_SIZE = 2000
"""Journeys kept for free-flow times: at least half of this where there are as many, evenly spaced."""


@dataclass(frozen=True)
class Journey:
    """Where one departure goes: ``edges`` of its route, or waypoints of a trip that SUMO routes itself."""

    edges: tuple[str, ...]
    is_route: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Demand:
    """The departures of a project.

    ``begin_s``, ``end_s``, ``count``  one entry per vehicle, trip or flow; a single vehicle begins and ends at its
                                       departure; a flow without an end has ``inf`` in ``end_s`` and ``count``
    ``rate_per_s``                     vehicles per second while the entry lasts; 0 for single vehicles
    ``persons``                        persons, containers and flows of them (carried along, not counted)
    ``triggered``                      vehicles that wait for a passenger, with no departure of their own
    ``calibrators``                    calibrators that add and remove vehicles as SUMO runs (not counted)
    ``out_of_order``                   entries of route files that SUMO drops since they are not sorted by time
    ``flying_start``                   most vehicles enter at speed (SUMO's default), not from standstill
    ``journeys``                       a sample, evenly spaced in file order
    """

    begin_s: np.ndarray = field(repr=False)
    end_s: np.ndarray = field(repr=False)
    count: np.ndarray = field(repr=False)
    rate_per_s: np.ndarray = field(repr=False)
    persons: int = 0
    triggered: int = 0
    calibrators: int = 0
    out_of_order: int = 0
    flying_start: bool = True
    journeys: tuple[Journey, ...] = field(default=(), repr=False)

    @property
    def is_empty(self) -> bool:
        return len(self.begin_s) == 0 and self.triggered == 0

    @property
    def is_endless(self) -> bool:
        """True where some flow has no end."""
        return bool(np.isinf(self.end_s).any())

    def vehicles(self, from_s: float = -np.inf, until_s: float = np.inf) -> float:
        """Vehicles (expected number) that depart in ``[from_s, until_s]``."""
        single = self.rate_per_s == 0
        number = float(self.count[single & (self.begin_s >= from_s) & (self.begin_s <= until_s)].sum())
        flow = ~single
        shared = np.minimum(self.end_s[flow], until_s) - np.maximum(self.begin_s[flow], from_s)
        return number + float((np.maximum(shared, 0.0) * self.rate_per_s[flow]).sum())

    def first_s(self, from_s: float = -np.inf) -> float:
        """First departure at or after ``from_s``; ``inf`` where there is none."""
        lasting = self.end_s >= from_s
        return float(np.maximum(self.begin_s[lasting], from_s).min()) if lasting.any() else float("inf")

    def last_s(self) -> float:
        """Last departure; flows without an end are left out (``-inf`` where nothing else is there)."""
        finite = self.end_s[np.isfinite(self.end_s)]
        return float(finite.max()) if len(finite) else float("-inf")

    def __str__(self) -> str:
        vehicles = self.vehicles()
        number = "endless flows" if np.isinf(vehicles) else f"{vehicles:,.0f} vehicles"
        return f"{number}, departing from second {self.first_s():g} to {self.last_s():g}"


class FileOrder:
    """SUMO's rule for route files: an entry earlier than the one before it is dropped, whatever it is.

    Public transport (entries with a ``line``) is dropped by the rule but does not set the time for others. In
    additional files there is no such rule.
    """

    def __init__(self, *, is_route_file: bool) -> None:
        self._applies = is_route_file
        self._last_s = -np.inf

    def drops(self, element: Element, time_s: float) -> bool:
        """Whether SUMO drops this entry; to be asked once for each, in file order."""
        if self._applies and time_s < self._last_s:
            return True
        if not element.get("line"):
            self._last_s = max(self._last_s, time_s)
        return False


class _Reader:
    """Collects entries while the files stream by."""

    def __init__(self, default_begin_s: float) -> None:
        self.default_begin_s = default_begin_s
        self.rows: list[tuple[float, float, float, float]] = []
        self.journeys: list[Journey] = []
        self.stride = 1
        self.seen = 0
        self.persons = self.triggered = self.calibrators = self.out_of_order = 0
        self.standing_starts = 0.0
        self.routes: dict[str, tuple[str, ...]] = {}
        self.problems: list[str] = []

    def read(self, path: Path, is_route_file: bool) -> None:
        order = FileOrder(is_route_file=is_route_file)
        for source, element in children(path):
            if element.tag == "route" and element.get("id"):
                self.routes[element.get("id", "")] = tuple(element.get("edges", "").split())
            elif element.tag in (*VEHICLE_TAGS, *FLOW_TAGS, *PERSON_TAGS):
                self._entry(element, source, order)
            elif element.tag == "calibrator":
                self.calibrators += _calibrates_flow(element)

    def _entry(self, element: Element, source: Path, order: FileOrder) -> None:
        has_begin = element.get("depart") is None and element.tag not in VEHICLE_TAGS
        if has_begin and not element.get("begin"):
            time_s = self.default_begin_s
        else:
            time_s = self._time(element, "begin" if has_begin else "depart", source)
        if time_s is None:
            return
        if order.drops(element, time_s):
            self.out_of_order += 1
        elif element.tag in VEHICLE_TAGS:
            self._add(element, time_s, time_s, 1.0, 0.0)
        elif element.tag in FLOW_TAGS:
            self._flow(element, source, time_s)
        else:
            self.persons += 1

    def _time(self, element: Element, name: str, source: Path) -> float | None:
        text = element.get(name)
        if text in ("triggered", "containerTriggered", "split"):
            self.triggered += element.tag in VEHICLE_TAGS
            return None
        if text == "begin":
            return self.default_begin_s
        try:
            return parse_time_s(text or "")
        except ValueError:
            if len(self.problems) < 5:
                self.problems.append(
                    f"{source.name}: {element.tag} {element.get('id')!r} has {name}={text!r}, expected seconds"
                )
            return None

    def _flow(self, element: Element, source: Path, begin_s: float) -> None:
        end_s = self._time(element, "end", source) if element.get("end") else np.inf
        if end_s is None:
            return
        try:
            rate, count = _flow_rate(element, end_s - begin_s)
        except ValueError:
            self.problems.append(
                f"{source.name}: flow {element.get('id')!r} says no number, period, vehsPerHour or probability"
            )
            return
        if count is not None and np.isinf(end_s) and rate > 0:
            end_s = begin_s + count / rate
        self._add(element, begin_s, end_s, rate * (end_s - begin_s) if count is None else count, rate)

    def _add(self, element: Element, begin_s: float, end_s: float, count: float, rate: float) -> None:
        self.rows.append((begin_s, end_s, count, rate))
        if (element.get("departSpeed") or "avg")[0].isdigit():
            self.standing_starts += 1 if np.isinf(count) else count
        if self.seen % self.stride == 0:
            self.journeys.append(_journey(element, self.routes))
            if len(self.journeys) > SAMPLE_SIZE:
                self.journeys = self.journeys[::2]
                self.stride *= 2
        self.seen += 1


def _calibrates_flow(calibrator: Element) -> bool:
    """Whether it changes how many vehicles there are, not their speed alone; its flows may stand in another file."""
    return bool(calibrator.get("file")) or any(flow.get("vehsPerHour") for flow in calibrator.iter("flow"))


def _flow_rate(element: Element, span_s: float) -> tuple[float, float | None]:
    """Vehicles per second and, where the flow says it, their number."""
    number = element.get("number")
    rate = None
    for name in ("vehsPerHour", "perHour"):
        if element.get(name):
            rate = float(element.get(name, "")) / 3600
    period = element.get("period")
    if period:
        law = period.split("(")
        rate = float(law[1].rstrip(")")) if law[0] == "exp" and len(law) == 2 else 1 / parse_time_s(period)
    if element.get("probability"):
        rate = float(element.get("probability", ""))
    if number is None and rate is None:
        raise ValueError("no rate")
    if number is not None:
        count = float(number)
        return (count / span_s if rate is None and span_s > 0 else rate or 0.0), count
    return rate or 0.0, None


def _journey(element: Element, routes: dict[str, tuple[str, ...]]) -> Journey:
    inner = element.find("route")
    if inner is not None and inner.get("edges"):
        return Journey(tuple(inner.get("edges", "").split()), True)
    named = element.get("route")
    if named:
        return Journey(routes.get(named, ()), True)
    stops = [stop.get("edge") or (stop.get("lane") or "").rpartition("_")[0] for stop in element.findall("stop")]
    ends = (element.get("from") or "", *(element.get("via") or "").split(), *stops, element.get("to") or "")
    return Journey(tuple(edge for edge in ends if edge), False)


def read_demand(
    route_files: Iterable[Path], additional_files: Iterable[Path], *, begin_s: float, on_problem: Callable[[str], None]
) -> Demand:
    """Summarise the demand; every fault is handed to ``on_problem`` and reading goes on with the next file.

    ``begin_s`` is the project's begin, at which flows without one start.
    """
    reader = _Reader(begin_s)
    for path, is_route_file in [*((p, False) for p in additional_files), *((p, True) for p in route_files)]:
        try:
            reader.read(path, is_route_file)
        except ProjectError as error:
            on_problem(str(error))
    for problem in reader.problems:
        on_problem(problem)
    table = np.array(reader.rows, dtype=float).reshape(-1, 4)
    finite = np.where(np.isfinite(table[:, 2]), table[:, 2], 1.0)
    return Demand(
        begin_s=table[:, 0],
        end_s=table[:, 1],
        count=table[:, 2],
        rate_per_s=table[:, 3],
        persons=reader.persons,
        triggered=reader.triggered,
        calibrators=reader.calibrators,
        out_of_order=reader.out_of_order,
        flying_start=bool(reader.standing_starts <= finite.sum() / 2),
        journeys=tuple(reader.journeys),
    )
