"""When the queue behind an incident has gone, after the road is clear.

The queue is those who stand, slower than 5 km/h, and have still to pass the spot. It is followed edge by edge: when
the road becomes clear, from the spot upstream for as far as vehicles stand; then, every ten seconds, as far as somebody
stood at the look before, and over the edges before those. The first look that finds nobody is the time of recovery, so
it is late by up to ten seconds. Who stands at a red light before the spot is not told from the queue:
near signals the time may be later than the last of the queue by as much as signals take to find everybody moving.

Limits: edges that begin more than 3 km upstream, more than 40 edges, or two hours.
"""

from dataclasses import dataclass, field

from scenariogen.injection.connection import Link
from scenariogen.network import RoadNetwork

LOOK_EVERY_S = 10.0
STANDING_MPS = 5 / 3.6
"""Slower than this counts as standing: a queue creeps."""
MOST_EDGES = 40
REACH_M = 3000.0
GIVEN_UP_S = 7200.0


@dataclass(kw_only=True)
class _Watch:
    edge: str
    position_m: float
    clear_s: float
    edges: dict[str, float] = field(default_factory=dict)  # edge -> metres from its end to the incident's edge


class Recovery:
    """Watches the queues of incidents that are over."""

    def __init__(self, link: Link, network: RoadNetwork) -> None:
        self._link = link
        self._network = network
        self._watched: dict[int, _Watch] = {}
        self._looked_s = float("-inf")
        self.recovered_s: dict[int, float] = {}

    def __contains__(self, number: int) -> bool:
        """True while the queue of that incident is watched."""
        return number in self._watched

    @property
    def due_s(self) -> float:
        """When to look again; never while nothing is watched."""
        return self._looked_s + LOOK_EVERY_S if self._watched else float("inf")

    def begin(self, number: int, edge: str, position_m: float, now_s: float, own: frozenset[str]) -> None:
        """The road is clear at a spot; a first look follows at once."""
        watch = _Watch(edge=edge, position_m=position_m, clear_s=now_s)
        front = [(edge, 0.0)]
        while front and len(watch.edges) < MOST_EDGES:
            here, away_m = front.pop(0)
            if here in watch.edges or away_m > REACH_M:
                continue
            watch.edges[here] = away_m
            if here == edge or self._somebody_stands(here, watch, own):
                length_m = 0.0 if here == edge else self._network.edges[here].length_m
                front += [(before, away_m + length_m) for before in self._network.edges[here].predecessors]
        self._watched[number] = watch
        self._looked_s = float("-inf")

    def update(self, now_s: float, own: frozenset[str]) -> None:
        """Look where it is time. ``own`` are our vehicles, which are passed over."""
        if now_s < self.due_s - 1e-9:
            return
        self._looked_s = now_s
        for number, watch in list(self._watched.items()):
            standing = {edge: away for edge, away in watch.edges.items() if self._somebody_stands(edge, watch, own)}
            if not standing:
                self.recovered_s[number] = now_s
            if not standing or now_s > watch.clear_s + GIVEN_UP_S:
                del self._watched[number]
                continue
            farthest_m = max(standing.values())
            between = {edge: away for edge, away in watch.edges.items() if away <= farthest_m}  # they may stop again
            watch.edges = between | self._before(standing, watch)

    def forget(self) -> None:
        """The simulation is left or gone."""
        self._watched.clear()

    def _before(self, standing: dict[str, float], watch: _Watch) -> dict[str, float]:
        found: dict[str, float] = {}
        for edge, away_m in standing.items():
            begins_m = away_m + (0.0 if edge == watch.edge else self._network.edges[edge].length_m)
            for before in self._network.edges[edge].predecessors:
                if before not in standing and begins_m <= REACH_M and len(standing) + len(found) < MOST_EDGES:
                    found[before] = begins_m
        return found

    def _somebody_stands(self, edge: str, watch: _Watch, own: frozenset[str]) -> bool:
        ask = self._link.vehicle
        for vehicle in self._link.edge.getLastStepVehicleIDs(edge):
            if vehicle in own:
                continue
            speed_mps, gone = self._link.attempt(ask.getSpeed, vehicle)  # somebody may have removed it in this step
            if gone or speed_mps >= STANDING_MPS:
                continue
            if edge == watch.edge:
                if ask.getLanePosition(vehicle) < watch.position_m:
                    return True
            elif watch.edge in tuple(ask.getRoute(vehicle))[max(0, ask.getRouteIndex(vehicle)) :]:
                return True
        return False
