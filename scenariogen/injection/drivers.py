"""Drivers who stand behind an incident and look for another way.

A stated share of drivers, the same ones in every run of a scenario, turn to another route after standing for a
stated time. They know the roads at their usual speeds and nothing of other incidents; each tries at most once for
an incident and changes its route at most twice in all. The route is SUMO's own search for that vehicle, so that it
respects what the vehicle may drive on; the travel time that keeps the search off the blocked edge is written for
that vehicle only, and taken back at once.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from scenariogen.injection.connection import Link
from scenariogen.network import RoadNetwork
from scenariogen.randomness import child_seed
from scenariogen.scenarios.records import Drivers

LOOK_EVERY_S = 10.0
STANDING_MPS = 5 / 3.6
"""Slower than this counts as standing: a queue creeps."""
DETOUR_WORTH_S = 1800.0
"""Our assumption: a way round is taken where it is shorter than waiting for half an hour, the usual duration."""
_MOST_REROUTES = 2
_MOST_EDGES = 40
_REACH_M = 3000.0
_ROOM_PER_LANE_M = 40.0
"""Closer to the end of its edge than this for each lane to cross, a vehicle cannot reach another lane's exit."""


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """An incident as drivers meet it."""

    number: int
    edge: str


class QueuedDrivers:
    """Watches the queues behind incidents and re-routes those who have stood long enough."""

    def __init__(self, link: Link, network: RoadNetwork, drivers: Drivers, seed: int) -> None:
        self._link = link
        self._network = network
        self._drivers = drivers
        self._seed = seed
        self._stood_s: dict[tuple[int, str], float] = {}
        self._tried: set[tuple[int, str]] = set()
        self._drawn: dict[str, bool] = {}
        self._reroutes: Counter[str] = Counter()
        self._looked_s = float("-inf")
        self.rerouted: Counter[int] = Counter()

    @property
    def is_on(self) -> bool:
        return self._drivers.reroute_share > 0

    def due_s(self) -> float:
        """When to look again."""
        return self._looked_s + LOOK_EVERY_S

    def update(self, now_s: float, obstacles: Iterable[Obstacle], own: frozenset[str]) -> None:
        """Count how long drivers stand, and let those turn away whose time has come."""
        if not self.is_on or now_s < self.due_s() - 1e-9:
            return
        passed_s = min(now_s - self._looked_s, LOOK_EVERY_S)
        self._looked_s = now_s
        stood: dict[tuple[int, str], float] = {}
        for obstacle in obstacles:
            for vehicle in self._standing(obstacle, own):
                key = obstacle.number, vehicle
                stood[key] = self._stood_s.get(key, 0.0) + passed_s
                if stood[key] >= self._drivers.reroute_after_s:
                    self._tried.add(key)
                    if self._turn_away(vehicle, obstacle.edge):
                        self._reroutes[vehicle] += 1
                        self.rerouted[obstacle.number] += 1
        self._stood_s = stood

    def looks_for_another_way(self, vehicle: str) -> bool:
        """Whether a driver is of the share that re-routes: a matter of the scenario's seed and the vehicle's id."""
        drawn = self._drawn.get(vehicle)
        if drawn is None:
            drawn = child_seed(self._seed, "reroute", vehicle) / 2.0**63 < self._drivers.reroute_share
            self._drawn[vehicle] = drawn
        return drawn

    def _standing(self, obstacle: Obstacle, own: frozenset[str]) -> list[str]:
        """Vehicles in the queue before the blocked edge that may turn away and still have to pass it."""
        found = []
        for edge in self._queue_edges(obstacle.edge):
            for vehicle in self._link.edge.getLastStepVehicleIDs(edge):
                if (
                    vehicle not in own
                    and (obstacle.number, vehicle) not in self._tried
                    and self._reroutes[vehicle] < _MOST_REROUTES
                    and self.looks_for_another_way(vehicle)
                    and self._link.vehicle.getSpeed(vehicle) < STANDING_MPS
                    and obstacle.edge in self._way_ahead(vehicle)
                ):
                    found.append(vehicle)
        return found

    def _queue_edges(self, blocked: str) -> list[str]:
        """Edges before the blocked one, as far back as vehicles stand. On the blocked edge nobody can turn away."""
        found: list[str] = []
        front = [(blocked, 0.0)]
        seen = {blocked}
        while front and len(found) < _MOST_EDGES:
            here, distance = front.pop(0)
            for before in self._network.edges[here].predecessors:
                if before in seen or distance > _REACH_M:
                    continue
                seen.add(before)
                if self._link.edge.getLastStepHaltingNumber(before):
                    found.append(before)
                    front.append((before, distance + self._network.edges[before].length_m))
        return found

    def _way_ahead(self, vehicle: str) -> tuple[str, ...]:
        """The rest of a vehicle's route, from the edge it is on."""
        return tuple(self._link.vehicle.getRoute(vehicle))[max(0, self._link.vehicle.getRouteIndex(vehicle)) :]

    def _turn_away(self, vehicle: str, blocked: str) -> bool:
        """Give a vehicle a route without the blocked edge, if there is one that it can take from where it stands."""
        ask = self._link.vehicle
        if ask.getStops(vehicle, 1):  # a bus, a delivery: the stops decide
            return False
        before = self._way_ahead(vehicle)
        known = ask.getAdaptedTraveltime(vehicle, self._link.time_s(), blocked)
        ask.setAdaptedTraveltime(vehicle, blocked, DETOUR_WORTH_S)
        refusal = self._link.attempt(ask.rerouteTraveltime, vehicle, False)[1]
        ask.setAdaptedTraveltime(vehicle, blocked)
        if known > 0:  # somebody else's, negative where there was none
            ask.setAdaptedTraveltime(vehicle, blocked, known)
        after = self._way_ahead(vehicle)
        if after == before:
            return False
        if refusal or blocked in after or not self._can_begin(vehicle, after):
            self._link.attempt(ask.setRoute, vehicle, list(before))
            return False
        return True

    def _can_begin(self, vehicle: str, way: tuple[str, ...]) -> bool:
        """Whether the vehicle's lane, or one that it can still cross to, leads where the new route goes."""
        if len(way) < 2 or way[0] not in self._network.edges:
            return False
        lanes = self._network.edges[way[0]].lanes
        links = self._network.lane_links
        leading = [lane.index for lane in lanes if any(to.rpartition("_")[0] == way[1] for to in links[lane.id])]
        if not leading:
            return False
        here = self._link.vehicle.getLaneIndex(vehicle)
        crossing = min(abs(here - lane) for lane in leading)
        left_m = lanes[0].length_m - self._link.vehicle.getLanePosition(vehicle)
        return left_m >= crossing * _ROOM_PER_LANE_M
