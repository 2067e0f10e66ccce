"""Travel times of a vehicle that is alone on the road, at the limits of the network file.

Between two changes of limit a vehicle accelerates, cruises and brakes at the constant rates of its type; turns
are driven at the limit of the lanes inside the junction. This is the reference that delay is counted from, so
signals, other vehicles, speed zones and detours are all delay.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from scenariogen.simulation.xmlfiles import children

MINOR_LINK_PENALTY_S = 1.5
"""What SUMO's router adds for a turn that must give way (its default ``weights.minor-penalty``)."""
_NOT_FOR_CARS = frozenset({"pedestrian", "bicycle", "tram", "rail", "rail_urban", "rail_electric", "rail_fast",
                           "subway", "cable_car", "ship", "container", "drone", "aircraft"})  # fmt: skip
_TREES_KEPT = 512
_FREE_MARGIN = 1.3
"""Where a type's maximum speed exceeds the limits by this factor, only the driver's wish counts."""
_UNKNOWN_LIMIT_MPS = 13.89


@dataclass(frozen=True)
class VehicleType:
    """What decides a vehicle's speed when nothing is in its way.

    ``sigma`` is the dawdling of SUMO's default car-following model (0 for models without): it takes
    ``sigma * accel * step / 2`` off the speed on average (Krauß, *Microscopic modeling of traffic flow*, 1998).
    """

    max_speed_mps: float = 55.56
    accel_mps2: float = 2.6
    decel_mps2: float = 4.5
    sigma: float = 0.5
    step_s: float = 1.0
    length_m: float = 5.0

    def speed_mps(self, limit_mps: float, speed_factor: float) -> float:
        """Mean speed on a free stretch of road."""
        dawdling = self.sigma * self.accel_mps2 * self.step_s / 2
        return max(min(limit_mps * speed_factor, self.max_speed_mps) - dawdling, 0.5)


@dataclass(frozen=True)
class Halt:
    """A planned stop: at ``position_m`` of ``edge``, for ``duration_s`` and at least until ``until_s``."""

    edge: str
    position_m: float
    duration_s: float = 0.0
    until_s: float = -math.inf


@dataclass(frozen=True)
class _Turn:
    length_m: float
    speed_mps: float
    penalty_s: float
    for_cars: bool

    @property
    def time_s(self) -> float:
        return self.length_m / self.speed_mps


class FreeFlow:
    """Edges and turns of one network file, and the times over them.

    Constructed from the file; paths and times are kept, so that asking again costs a look-up.
    """

    def __init__(self, net_file: Path) -> None:
        self.length_m: dict[str, float] = {}
        self.speed_mps: dict[str, float] = {}
        self.turns: dict[tuple[str, str], _Turn] = {}
        self._read(net_file)
        self._index = {edge: number for number, edge in enumerate(self.length_m)}
        self._graphs: dict[bool, Any] = {}
        self._trees: dict[tuple[str, bool], Any] = {}
        self._paths: dict[tuple[str, str], tuple[str, ...] | None] = {}
        self._times: dict[tuple, tuple[float, bool]] = {}

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_graphs": {}, "_trees": {}, "_times": {}}

    def _read(self, net_file: Path) -> None:
        inner: dict[str, tuple[float, float]] = {}
        links: list[dict[str, str]] = []
        onward: dict[str, str] = {}
        cars: dict[str, bool] = {}
        for _, element in children(net_file):
            if element.tag == "connection":
                if element.get("from", "").startswith(":"):
                    onward[f"{element.get('from')}_{element.get('fromLane')}"] = element.get("via", "")
                else:
                    links.append(dict(element.attrib))
            elif element.tag == "edge":
                lanes = element.findall("lane")
                if element.get("id", "").startswith(":"):
                    inner |= {x.get("id", ""): (float(x.get("length", 0)), float(x.get("speed", 0))) for x in lanes}
                elif lanes:
                    self._add_edge(element.get("id", ""), lanes, cars)
        for link in links:
            self._add_turn(link, inner, onward, cars)

    def _add_edge(self, edge: str, lanes: Iterable, cars: dict[str, bool]) -> None:
        speeds = {}
        for lane in lanes:
            drives = cars[lane.get("id", "")] = _allowed(lane, "passenger")
            if drives or set(lane.get("allow", "").split()) - _NOT_FOR_CARS:
                speeds[lane.get("id")] = float(lane.get("speed", 0))
            self.length_m[edge] = float(lane.get("length", 0))
        every = speeds.values() or [float(lane.get("speed", 0)) for lane in lanes]
        self.speed_mps[edge] = max(*every, 0.1)

    def _add_turn(self, link: dict[str, str], inner, onward, cars) -> None:
        key = (link.get("from", ""), link.get("to", ""))
        if key[0] not in self.length_m or key[1] not in self.length_m:
            return
        length, speed, via = 0.0, math.inf, link.get("via", "")
        while via in inner:
            length, speed, via = length + inner[via][0], min(speed, inner[via][1]), onward.get(via, "")
        gives_way = not link.get("state", "M").isupper() and "tl" not in link
        turn = _Turn(
            length,
            max(speed, 0.1),
            MINOR_LINK_PENALTY_S if gives_way else 0.0,
            _allowed(link, "passenger")
            and cars.get(f"{key[0]}_{link.get('fromLane')}", True)
            and cars.get(f"{key[1]}_{link.get('toLane')}", True),
        )
        before = self.turns.get(key)
        if before is None or (turn.for_cars, -turn.time_s) > (before.for_cars, -before.time_s):
            self.turns[key] = turn

    def path(self, waypoints: Sequence[str]) -> tuple[str, ...] | None:
        """Edges of the fastest way over all waypoints; None where one is unknown or there is no way."""
        if not waypoints or any(edge not in self._index for edge in waypoints):
            return None
        edges = [waypoints[0]]
        for before, after in pairwise(waypoints):
            if before == after:
                continue
            if (before, after) in self.turns:
                edges.append(after)
                continue
            leg = self._leg(before, after)
            if leg is None:
                return None
            edges += leg[1:]
        return tuple(edges)

    def _leg(self, start: str, end: str) -> tuple[str, ...] | None:
        if (start, end) not in self._paths:
            by_car = self._traced(start, end, for_cars=True)
            self._paths[start, end] = by_car or self._traced(start, end, for_cars=False)
        return self._paths[start, end]

    def _traced(self, start: str, end: str, *, for_cars: bool) -> tuple[str, ...] | None:
        before = self._tree(start, for_cars)
        names = tuple(self._index)
        at, root, found = self._index[end], self._index[start], [end]
        while at != root:
            at = int(before[at])
            if at < 0:
                return None
            found.append(names[at])
        return tuple(reversed(found))

    def _tree(self, start: str, for_cars: bool):
        """Predecessor of every edge on the fastest way from ``start`` (Dijkstra over edges as nodes)."""
        from scipy.sparse.csgraph import dijkstra

        if (start, for_cars) not in self._trees:
            if len(self._trees) >= _TREES_KEPT:
                self._trees.clear()
            _, before = dijkstra(self._graph(for_cars), indices=self._index[start], return_predecessors=True)
            self._trees[start, for_cars] = before
        return self._trees[start, for_cars]

    def _graph(self, for_cars: bool):
        import numpy as np
        from scipy.sparse import csr_array

        if for_cars not in self._graphs:
            links = [(pair, turn) for pair, turn in self.turns.items() if turn.for_cars or not for_cars]
            cost = [
                turn.time_s + turn.penalty_s + max(self.length_m[pair[1]] / self.speed_mps[pair[1]], 1e-6)
                for pair, turn in links
            ]
            rows = np.array([self._index[pair[0]] for pair, _ in links], dtype=int)
            columns = np.array([self._index[pair[1]] for pair, _ in links], dtype=int)
            size = len(self._index)
            self._graphs[for_cars] = csr_array((np.array(cost, dtype=float), (rows, columns)), shape=(size, size))
        return self._graphs[for_cars]

    def knows(self, edges: Sequence[str]) -> bool:
        """True where every edge is in the network and each leads to the next."""
        return all(edge in self._index for edge in edges) and all(pair in self.turns for pair in pairwise(edges))

    def time_s(
        self, edges: tuple[str, ...], kind: VehicleType, *, speed_factor: float = 1.0, flying_start: bool = True
    ) -> float:
        """Seconds from the vehicle's length into the first edge to the end of the last.

        Kept per route and type: the driver's factor on the limits divides the time, which is exact while
        cruising, except where the vehicle's own maximum speed binds.
        """
        key = (edges, kind, flying_start)
        known = self._times.get(key)
        if known is None:
            fastest = max(self.speed_mps.get(edge, 0.0) for edge in edges)
            free = kind.max_speed_mps >= _FREE_MARGIN * fastest
            known = self._times[key] = (self._drive(edges, kind, 1.0, flying_start, (), 0.0), free)
        if known[1]:
            return known[0] / speed_factor
        key = (edges, kind, flying_start, round(speed_factor, 2))
        if key not in self._times:
            self._times[key] = (self._drive(edges, kind, key[3], flying_start, (), 0.0), False)
        return self._times[key][0]

    def time_with_halts_s(
        self,
        edges: tuple[str, ...],
        kind: VehicleType,
        *,
        halts: tuple[Halt, ...],
        due_s: float,
        speed_factor: float = 1.0,
        flying_start: bool = True,
    ) -> float:
        """As :meth:`time_s` with planned halts, for a vehicle that sets out at simulation second ``due_s``."""
        return self._drive(edges, kind, speed_factor, flying_start, halts, due_s)

    def _drive(self, edges, kind: VehicleType, factor: float, flying_start: bool, halts, due_s: float) -> float:
        total = 0.0
        for number, (pieces, halt) in enumerate(self._legs(edges, kind, factor, halts)):
            start = math.inf if flying_start and number == 0 else 0.0
            total += profile_time_s(pieces, kind, start_mps=start, end_mps=math.inf if halt is None else 0.0)
            if halt is not None:
                total = max(total + halt.duration_s, halt.until_s - due_s)
        return total

    def _legs(self, edges: tuple[str, ...], kind: VehicleType, factor: float, halts: tuple[Halt, ...]):
        """The journey cut at its halts: (length, speed) pieces, and the halt at their end or None."""
        legs, pieces, waiting = [], [], list(halts)
        for number, edge in enumerate(edges):
            turn = self.turns.get((edges[number - 1], edge)) if number else None
            if turn is not None and turn.length_m > 0:
                pieces.append((turn.length_m, kind.speed_mps(turn.speed_mps, factor)))
            length = self.length_m.get(edge, 0.0)
            speed = kind.speed_mps(self.speed_mps.get(edge, _UNKNOWN_LIMIT_MPS), factor)
            done = min(kind.length_m, length) if number == 0 else 0.0
            while waiting and waiting[0].edge == edge and waiting[0].position_m >= done:
                halt = waiting.pop(0)
                pieces.append((max(min(halt.position_m, length) - done, 0.0), speed))
                legs.append((pieces, halt))
                pieces, done = [], min(halt.position_m, length)
            pieces.append((length - done, speed))
        return [*legs, (pieces, None)]


def _allowed(element: Any, name: str) -> bool:
    """Whether ``allow`` and ``disallow`` of a lane or connection let a vehicle class pass."""
    allowed, denied = (set(element.get(key, "").split()) for key in ("allow", "disallow"))
    return bool(allowed & {name, "all"}) if allowed else not denied & {name, "all"}


def profile_time_s(
    pieces: Sequence[tuple[float, float]], kind: VehicleType, *, start_mps: float = math.inf, end_mps: float = math.inf
) -> float:
    """Time over consecutive (length, highest speed) pieces with bounded acceleration and deceleration.

    A forward pass bounds the speed at each border by what acceleration reaches, a backward pass by what
    braking allows; within a piece the vehicle accelerates to a peak, cruises and brakes.
    """
    pieces = [piece for piece in pieces if piece[0] > 0]
    if not pieces:
        return 0.0
    gain, loss = kind.accel_mps2, kind.decel_mps2
    border = [min(start_mps, pieces[0][1])]
    for number, (length, cap) in enumerate(pieces):
        following = pieces[number + 1][1] if number + 1 < len(pieces) else end_mps
        border.append(min(cap, following, math.sqrt(border[-1] ** 2 + 2 * gain * length)))
    for number in range(len(pieces) - 1, -1, -1):
        border[number] = min(border[number], math.sqrt(border[number + 1] ** 2 + 2 * loss * pieces[number][0]))
    total = 0.0
    for (length, cap), before, after in zip(pieces, border, border[1:], strict=False):
        peak = min(cap, math.sqrt((2 * gain * loss * length + loss * before**2 + gain * after**2) / (gain + loss)))
        peak = max(peak, before, after)
        cruise = length - (peak**2 - before**2) / (2 * gain) - (peak**2 - after**2) / (2 * loss)
        total += (peak - before) / gain + (peak - after) / loss + max(cruise, 0.0) / max(peak, 1e-3)
    return total
