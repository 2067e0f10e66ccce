"""Departures scaled by entry: each vehicle dropped, kept or doubled by its entry's own factor, flows by their rate.

SUMO's ``--scale`` brings the whole demand to the network's scale; what an entry is asked beyond that, its deviation
d = scale of the entry / scale of the network, is done here, in copies of the demand that only one run reads. A vehicle
departs ⌊d⌋ times and once more with probability d − ⌊d⌋; that draw depends on the run's seed and the vehicle's id
alone, so policies meet the same traffic and a larger scale only adds to it. A thinned Poisson stream stays one.

Not scaled by entry are public transport, vehicles that wait for a passenger or that a person's ride names, and those
that start in a zone or at a junction, whose first edge only SUMO knows: they follow the network's scale, as persons do.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element, tostring
from xml.sax.saxutils import quoteattr

from scenariogen.errors import SimulationError
from scenariogen.randomness import child_seed
from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.demand import FLOW_TAGS, PERSON_TAGS, VEHICLE_TAGS
from scenariogen.simulation.options import parse_time_s
from scenariogen.simulation.project import SumoProject
from scenariogen.simulation.references import input_references
from scenariogen.simulation.repeat import SUFFIX as COPY
from scenariogen.simulation.xmlfiles import children, has_sign, root_tag
from scenariogen.trajectories.entries import OTHERS

SUFFIX = "+"
"""Between an id and the number of the vehicle that was added for it."""
SAME = 1e-9
_DEMAND = re.compile(rb"<(?:vehicle|trip|flow)[\s>]")


def deviations(request: RunRequest) -> dict[str, float]:
    """What each entry is asked beyond the network's scale; empty where no entry is asked anything."""
    found = {entry: scale / request.demand_scale for entry, scale in request.entry_scales.items()}
    wrong = [f"the scale of entry {entry} is {d:g}" for entry, d in found.items() if not 0 <= d < math.inf]
    if wrong:
        raise SimulationError(*wrong, title="demand can only be scaled by finite factors from 0 on")
    return found if any(abs(d - 1) > SAME for d in found.values()) else {}


@dataclass
class DemandIndex:
    """What the definitions in a project's files say about entries; read once.

    ``routes``    first edge of each named route and route distribution; None where its members differ
    ``awaited``   ids of vehicles that a ride of a person or container names
    """

    routes: dict[str, str | None] = field(default_factory=dict)
    awaited: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, project: SumoProject) -> "DemandIndex":
        """Read all route and additional files."""
        index, distributions = cls(), []
        for path in (*project.additional_files, *project.route_files):
            for _, element in children(path):
                if element.tag == "route" and element.get("id"):
                    index.routes[element.get("id", "")] = _first(element.get("edges"))
                elif element.tag == "routeDistribution" and element.get("id"):
                    distributions.append(deepcopy(element))
                elif element.tag in PERSON_TAGS:
                    for ride in element.iter():
                        index.awaited.update((ride.get("lines") or "").split())
        for element in distributions:
            for route in element.iter("route"):
                if route.get("id"):
                    index.routes[route.get("id", "")] = _first(route.get("edges"))
            index.routes[element.get("id", "")] = index.common(element)
        return index

    def common(self, distribution: Element) -> str | None:
        """The entry of a distribution's routes, where they share it."""
        named = (distribution.get("routes") or "").split()
        inner = [_first(route.get("edges")) or self.routes.get(route.get("refId", "")) for route in distribution]
        found = {*inner, *(self.routes.get(name) for name in named)}
        return found.pop() if len(found) == 1 else None

    def entry(self, element: Element) -> tuple[str | None, str]:
        """The first edge of a vehicle, trip or flow, or None and why it cannot be scaled by entry."""
        identity = element.get("id", "")
        if element.get("line"):
            return None, "public transport"
        if element.get("depart") in ("triggered", "containerTriggered", "split"):
            return None, "waiting for a passenger"
        if identity in self.awaited or identity.rpartition(COPY)[0] in self.awaited:
            return None, "named by a person's ride"
        found = self._first_edge(element)
        return (found, "") if found else (None, "starting in a zone, at a junction or on one of several edges")

    def _first_edge(self, element: Element) -> str | None:
        inner = element.find("route")
        if inner is not None:
            return _first(inner.get("edges"))
        distribution = element.find("routeDistribution")
        if distribution is not None:
            return self.common(distribution)
        name = element.get("route")
        if name:
            return self.routes.get(name) if name in self.routes else self.routes.get(name.rpartition(COPY)[0])
        return element.get("from")


def _first(edges: str | None) -> str | None:
    return edges.split()[0] if edges and edges.split() else None


def has_departures(path: Path) -> bool:
    """Whether a file, or one that it includes, may define vehicles; a quick look."""
    return any(has_sign(each, _DEMAND) for each in (path, *input_references(path)) if each.is_file())


def write_scaled(path: Path, target: Path, asked: Mapping[str, float], index: DemandIndex, seed: int) -> Path:
    """Copy a route or additional file, what it includes inside it, with the departures of each entry scaled.

    ``asked`` are the entries' deviations (:func:`deviations`), ``seed`` is the run's. Raises ``SimulationError``
    where an added vehicle would take an id that the file has.
    """
    tag = root_tag(path)
    taken: set[str] = set()
    added: set[str] = set()
    with target.open("w", encoding="utf-8") as stream:
        stream.write(f"<{tag}>\n")
        for _, element in children(path):
            if element.tag == "include":
                continue  # what it includes follows in its place
            if element.tag not in (*VEHICLE_TAGS, *FLOW_TAGS):
                stream.write(_text(element))
                continue
            taken.add(element.get("id", ""))
            for number, each in enumerate(_scaled(element, asked, index, seed)):
                if number:
                    added.add(each.get("id", ""))
                stream.write(_text(each))
        stream.write(f"</{tag}>\n")
    clash = sorted(taken & added)
    if clash:
        raise SimulationError(
            f"{path.name} has vehicles called {', '.join(map(quoteattr, clash[:3]))}, ids that vehicles added for a "
            f"larger demand take: rename them without {SUFFIX!r} and a number at the end"
        )
    return target


def _scaled(element: Element, asked: Mapping[str, float], index: DemandIndex, seed: int) -> Iterator[Element]:
    entry, _ = index.entry(element)
    factor = 1.0 if entry is None else asked.get(entry, asked.get(OTHERS, 1.0))
    if abs(factor - 1) <= SAME:
        yield element
        return
    share = (child_seed(seed, "departures", element.get("id", "")) + 0.5) * 2.0**-63
    if element.tag in FLOW_TAGS:
        yield from scaled_flow(element, factor, share)
        return
    for number in range(_whole(factor, share)):
        yield element if number == 0 else _renamed(element, number)


def _whole(value: float, share: float) -> int:
    """``value`` rounded up with probability of its fraction, down otherwise."""
    return math.floor(value) + (share < value - math.floor(value))


def _renamed(element: Element, number: int) -> Element:
    other = deepcopy(element)
    other.set("id", f"{element.get('id')}{SUFFIX}{number}")
    return other


def scaled_flow(element: Element, factor: float, share: float) -> Iterator[Element]:
    """A flow with its rate and its number multiplied; none where nothing is left, several where one is too few."""
    if factor == 0:
        return
    if element.get("number"):
        number = _whole(float(element.get("number", "")) * factor, share)
        if number == 0:
            return
        element.set("number", str(number))
    for name in ("vehsPerHour", "perHour"):
        if element.get(name):
            element.set(name, repr(float(element.get(name, "")) * factor))
    period = element.get("period")
    if period:
        law, bracket, rest = period.partition("(")
        if bracket:
            element.set("period", f"{law}({float(rest.rstrip(')')) * factor!r})")
        else:
            element.set("period", repr(parse_time_s(period) / factor))
    probability = float(element.get("probability") or 0) * factor
    parts = max(1, math.ceil(probability - SAME))
    if probability:
        element.set("probability", repr(min(probability / parts, 1.0)))
    for number in range(parts):
        yield element if number == 0 else _renamed(element, number)


def _text(element: Element) -> str:
    element.tail = "\n"
    return tostring(element, encoding="unicode")


@dataclass(frozen=True, kw_only=True)
class ScalingAccount:
    """How much of a project's demand follows entries.

    ``by_entry``   vehicles and flows by the entry that they follow, ``*`` for entries that are not named
    ``unscaled``   vehicles and flows that follow the network's scale, by the reason
    ``persons``    persons, containers and flows of them, which are not scaled by entry either
    """

    by_entry: Mapping[str, int]
    unscaled: Mapping[str, int]
    persons: int = 0

    @property
    def words(self) -> tuple[str, ...]:
        """Lines for people."""
        named = sum(number for entry, number in self.by_entry.items() if entry != OTHERS)
        lines = [
            f"{named:,} vehicles and flows follow the scale of their own entry, {self.by_entry.get(OTHERS, 0):,} that "
            "of the other entries"
        ]
        lines += [f"{number:,} keep the network's scale: {why}" for why, number in sorted(self.unscaled.items())]
        if self.persons:
            lines.append(f"{self.persons:,} persons, containers and flows of them keep the network's scale")
        return tuple(lines)


def scaling_account(project: SumoProject, entries: tuple[str, ...]) -> ScalingAccount:
    """What of a project's demand the scales of ``entries`` reach."""
    index = DemandIndex.of(project)
    followed: Counter[str] = Counter()
    unscaled: Counter[str] = Counter()
    for path in (*project.additional_files, *project.route_files):
        for _, element in children(path):
            if element.tag in (*VEHICLE_TAGS, *FLOW_TAGS):
                entry, why = index.entry(element)
                if entry is None:
                    unscaled[why] += 1
                else:
                    followed[entry if entry in entries else OTHERS] += 1
    return ScalingAccount(by_entry=followed, unscaled=unscaled, persons=project.demand.persons)
