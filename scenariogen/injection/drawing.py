"""A scenario as shapes on the map of ``sumo-gui``: blocked lanes red, the slowed stretch amber, a label beside them.

Shapes of an incident appear when its vehicles are on the road, where they stand, and go when it ends; those of other
effects (:mod:`scenariogen.injection.drawing_effects`) at their times. Drawing changes nothing that traffic sees.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from scenariogen.incidents.records import Incident
from scenariogen.injection.attach import default_blocker_id
from scenariogen.injection.connection import Link, Point
from scenariogen.injection.drawing_effects import SLOWED_COLOUR, LanePart, effect_parts, effect_text
from scenariogen.injection.lanes import LaneMap
from scenariogen.injection.plain_elements import slowed_speed_mps
from scenariogen.injection.stretch import SpeedProfile
from scenariogen.network import Edge, RoadNetwork
from scenariogen.scenarios.effects import Effect
from scenariogen.units import clock_text

BLOCKED_COLOUR = (214, 30, 30, 255)
LABEL_COLOUR = (20, 20, 20, 255)
BLOCKED_LAYER, SLOWED_LAYER, LABEL_LAYER = 20, 10, 100
BLOCKED_BEHIND_M, BLOCKED_AHEAD_M = 12.0, 4.0
"""How far a blocked lane is drawn red before and behind the front of its vehicle."""
LABEL_PARAMETER = "label"
LABEL_BESIDE_M = 14.0
_LABEL_BELOW_M = 22.0
"""Labels without a place of their own stand one below the other."""
_MOST_VEHICLES = 8
_STANDS_WITHIN_S = 5.0
_PREFIX = "scenariogen.drawn."


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What stands of an incident or effect: where it is (the front of its first vehicle), ids of shapes and label.

    ``blocked``  lane index → id of the shape of that blocked lane, for lanes that may open one by one
    """

    number: int
    since_s: float
    at: Point
    polygons: tuple[str, ...]
    label: str
    blocked: dict[int, str] = field(default_factory=dict)


class Drawing:
    """Keeps the shapes of a scenario's incidents and effects; ``update`` after every step."""

    def __init__(
        self, link: Link, network: RoadNetwork, incidents: Sequence[Incident], effects: Sequence[Effect] = ()
    ) -> None:
        self._link = link
        self._network = network
        self._lanes = LaneMap(link, network)
        self._waiting = dict(enumerate(incidents))
        self._incidents = tuple(incidents)
        self.standing: dict[int, Drawn] = {}
        self._effects = tuple(effects)
        self._effects_to_come = dict(enumerate(effects))
        self.standing_effects: dict[int, Drawn] = {}

    def update(self, now_s: float) -> None:
        """Draw what has begun to stand, wipe what is over."""
        for number, incident in list(self._waiting.items()):
            if now_s < incident.start_s:
                continue
            fronts = self._fronts(number)
            if fronts:
                self.standing[number] = self._draw(number, incident, fronts, now_s)
            if fronts or now_s > incident.start_s + _STANDS_WITHIN_S:
                del self._waiting[number]
        for number in [number for number in self.standing if now_s >= self._incidents[number].end_s]:
            self._wipe(self.standing.pop(number))
        for number, drawn in self.standing.items():
            if len(drawn.blocked) > 1:
                self._wipe_reopened(drawn, self._fronts(number))
        for number in [n for n, each in self._effects_to_come.items() if now_s >= each.start_s]:
            effect = self._effects_to_come.pop(number)
            if now_s < effect.end_s:
                self.standing_effects[number] = self._draw_effect(number, effect, now_s)
        for number in [number for number in self.standing_effects if now_s >= self._effects[number].end_s]:
            self._wipe(self.standing_effects.pop(number))

    def _fronts(self, number: int) -> dict[int, float]:
        """Lane index → front of the vehicle of ours that stands there, metres from the start of the edge."""
        fronts: dict[int, float] = {}
        ask = self._link.vehicle
        for place in range(_MOST_VEHICLES):
            vehicle = default_blocker_id(number, place)
            position, refusal = self._link.attempt(ask.getLanePosition, vehicle)
            if refusal or position < 0:
                continue  # those of a lane that is open again are gone
            # A vehicle parked beside the road is on no lane: it is drawn on the one that it left.
            lane = int(ask.getLaneIndex(vehicle)) if ask.getLaneID(vehicle) else -1
            fronts.setdefault(lane, float(position))
        return fronts

    def _draw(self, number: int, incident: Incident, fronts: dict[int, float], now_s: float) -> Drawn:
        edge = self._network.edges[incident.edge]
        parked = set(fronts) == {-1}
        kerb = edge.driving_lanes[0]
        at_m = next(iter(fronts.values()))
        blocked = {kerb: at_m} if parked else {lane: front for lane, front in fronts.items() if lane >= 0}
        names: list[str] = []
        shapes: dict[int, str] = {}
        for lane, front in blocked.items():
            for name in self._part(
                f"{_PREFIX}{number}.blocked.{lane}", edge.lanes[lane].id, front - BLOCKED_BEHIND_M,
                front + BLOCKED_AHEAD_M, BLOCKED_COLOUR, BLOCKED_LAYER,
            ):  # fmt: skip
                names.append(name)
                shapes[lane] = name
        names += self._slowed(number, incident, edge, at_m)
        first = next(iter(blocked))
        at = self._lanes.point(edge.id, first, at_m)
        label = f"{_PREFIX}{number}.label"
        text = label_text(number, incident, edge, parked=parked)
        poi = self._link.handle.poi
        poi.add(label, *self._beside(edge, at_m), LABEL_COLOUR, "incident", LABEL_LAYER)
        poi.setParameter(label, LABEL_PARAMETER, text)
        return Drawn(number=number, since_s=now_s, at=at, polygons=tuple(names), label=label, blocked=shapes)

    def _wipe_reopened(self, drawn: Drawn, fronts: dict[int, float]) -> None:
        """Lanes that none of its vehicles stands on any more are no longer red."""
        for lane in drawn.blocked.keys() - fronts.keys():
            self._link.attempt(self._link.handle.polygon.remove, drawn.blocked.pop(lane), 0)

    def _draw_effect(self, number: int, effect: Effect, now_s: float) -> Drawn:
        names: list[str] = []
        first: LanePart | None = None
        for place, part in enumerate(effect_parts(effect, self._network, self._lanes)):
            name = f"{_PREFIX}effect.{number}.{place}"
            drawn = self._part(name, part.lane, part.from_m, part.to_m, part.colour, SLOWED_LAYER)
            if drawn and not part.lane.startswith(":"):
                first = first or part
            names += drawn
        if first is None:
            at = beside = self._without_place(number)
        else:
            edge = self._network.edges[first.lane.rpartition("_")[0]]
            middle_m = (max(first.from_m, 0.0) + min(first.to_m, edge.length_m)) / 2
            at = self._lanes.point(edge.id, int(first.lane.rpartition("_")[2]), middle_m)
            beside = self._beside(edge, middle_m)
        label = f"{_PREFIX}effect.{number}.label"
        self._link.handle.poi.add(label, *beside, LABEL_COLOUR, "effect", LABEL_LAYER)
        self._link.handle.poi.setParameter(label, LABEL_PARAMETER, effect_text(effect))
        return Drawn(number=number, since_s=now_s, at=at, polygons=tuple(names), label=label)

    def _without_place(self, number: int) -> Point:
        """Below the first incident of the scenario, or the middle of the network."""
        if self._incidents:
            first = self._incidents[0]
            edge = self._network.edges[first.edge]
            x, y = self._lanes.point(edge.id, edge.driving_lanes[0], first.position_m)
        else:
            (low_x, low_y), (high_x, high_y) = self._link.simulation.getNetBoundary()
            x, y = (low_x + high_x) / 2, (low_y + high_y) / 2
        return float(x), float(y) - _LABEL_BELOW_M * (number + 1)

    def _slowed(self, number: int, incident: Incident, edge: Edge, at_m: float) -> list[str]:
        speed = slowed_speed_mps(incident, edge)
        if speed is None:
            return []
        profile = SpeedProfile(speed_mps=speed)
        upstream_m = profile.reach_m(max(lane.speed_mps for lane in edge.lanes if lane.drives))
        downstream_m = profile.core_m[1]
        lanes = self._lanes.around(edge, at_m, upstream_m=upstream_m, downstream_m=downstream_m)
        names: list[str] = []
        for lane, front in lanes.items():
            names += self._part(
                f"{_PREFIX}{number}.slowed.{lane}", lane, front - upstream_m, front + downstream_m, SLOWED_COLOUR,
                SLOWED_LAYER,
            )  # fmt: skip
        return names

    def _part(
        self, name: str, lane: str, from_m: float, to_m: float, colour: tuple[int, int, int, int], layer: int
    ) -> list[str]:
        """Draw a part of a lane; nothing where it is empty."""
        length = self._lanes.length_m(lane)
        from_m, to_m = max(from_m, 0.0), min(to_m, length)
        if to_m - from_m < 0.1:
            return []
        line = [(float(x), float(y)) for x, y in self._link.lane.getShape(lane)]
        scale = line_length_m(line) / length  # a lane may be longer than it is drawn
        outline = strip(part_of_line(line, from_m * scale, to_m * scale), float(self._link.lane.getWidth(lane)))
        self._link.handle.polygon.add(name, outline, colour, True, "incident", layer)
        return [name]

    def _beside(self, edge: Edge, at_m: float) -> Point:
        """A place for the label, beside the leftmost lane (the rightmost where one drives on the left)."""
        lane = edge.lanes[-1]
        x, y = self._lanes.point(edge.id, lane.index, at_m)
        before_x, before_y = self._lanes.point(edge.id, lane.index, max(at_m - 1.0, 0.0))
        along = math.atan2(y - before_y, x - before_x)
        side = along - math.pi / 2 if self._network.left_hand else along + math.pi / 2
        return x + LABEL_BESIDE_M * math.cos(side), y + LABEL_BESIDE_M * math.sin(side)

    def _wipe(self, drawn: Drawn) -> None:
        for name in drawn.polygons:
            self._link.attempt(self._link.handle.polygon.remove, name, 0)
        self._link.attempt(self._link.handle.poi.remove, drawn.label, LABEL_LAYER)


def label_text(number: int, incident: Incident, edge: Edge, *, parked: bool) -> str:
    """What the label says, in characters that every font of the window has."""
    if parked:
        where = "at the side"
    else:
        lanes = ", ".join(map(str, incident.lanes))
        where = f"lane {lanes} of {len(edge.driving_lanes)}" if len(incident.lanes) == 1 else f"lanes {lanes}"
    times = f"{clock_text(incident.start_s)} to {clock_text(incident.end_s)}"
    return f"{incident.kind}, {where}, {times}, capacity left {incident.capacity_left:.2f}"


def line_length_m(line: Sequence[Point]) -> float:
    """Length of a polyline."""
    return sum(math.dist(one, other) for one, other in pairwise(line))


def part_of_line(line: Sequence[Point], from_m: float, to_m: float) -> list[Point]:
    """The polyline between two distances from its start.

    >>> part_of_line([(0, 0), (10, 0), (10, 10)], 5, 15)
    [(5.0, 0.0), (10, 0), (10.0, 5.0)]
    """
    found: list[Point] = []
    along = 0.0
    for one, other in pairwise(line):
        length = math.dist(one, other)
        low, high = max(from_m - along, 0.0), min(to_m - along, length)
        if length > 0 and low < high:
            cuts = [one if low == 0.0 else _between(one, other, low / length)]
            cuts.append(other if high == length else _between(one, other, high / length))
            found += [cut for cut in cuts if not found or cut != found[-1]]
        along += length
    return found


def _between(one: Point, other: Point, share: float) -> Point:
    return one[0] + share * (other[0] - one[0]), one[1] + share * (other[1] - one[1])


def strip(line: Sequence[Point], width_m: float) -> list[Point]:
    """The outline of a band of that width along a polyline of at least two points.

    >>> strip([(0.0, 0.0), (10.0, 0.0)], 2.0)
    [(0.0, 1.0), (10.0, 1.0), (10.0, -1.0), (0.0, -1.0)]
    """
    left: list[Point] = []
    right: list[Point] = []
    for place, (x, y) in enumerate(line):
        before, after = line[max(place - 1, 0)], line[min(place + 1, len(line) - 1)]
        length = math.dist(before, after) or 1.0
        across = -(after[1] - before[1]) / length * width_m / 2, (after[0] - before[0]) / length * width_m / 2
        left.append((x + across[0], y + across[1]))
        right.append((x - across[0], y - across[1]))
    return left + right[::-1]
