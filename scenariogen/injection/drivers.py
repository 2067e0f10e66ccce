"""Drivers who stand behind an incident and look for another way.

A stated share of drivers, the same ones in every run of a scenario, turn to another route after standing for a
stated time. They know the roads at their usual speeds and nothing of other incidents but those that they turned away
from or were told of; each tries at most once for an incident. How a route is changed, and how often,
:mod:`scenariogen.injection.detours` says; who is told without standing, :mod:`scenariogen.injection.notices`.
"""

from collections.abc import Callable, Iterable

from scenariogen.injection.connection import Link
from scenariogen.injection.detours import Detours, Obstacle
from scenariogen.injection.recovery import MOST_EDGES, REACH_M, STANDING_MPS
from scenariogen.network import RoadNetwork
from scenariogen.randomness import child_seed
from scenariogen.scenarios.drivers import Drivers

LOOK_EVERY_S = 10.0
DETOUR_WORTH_S = 1800.0
"""Our assumption: who only sees the queue takes a way round where it is shorter than waiting for half an hour, the
usual duration."""
QUEUE = "queue"


class QueuedDrivers:
    """Watches the queues behind incidents and re-routes those who have stood long enough.

    ``times_known``  gives the travel times, by edge, that a vehicle reckons with on account of what it was told
    """

    def __init__(
        self,
        link: Link,
        network: RoadNetwork,
        drivers: Drivers,
        seed: int,
        *,
        detours: Detours | None = None,
        times_known: Callable[[str, float], dict[str, float]] = lambda vehicle, now_s: {},
    ) -> None:
        self._link = link
        self._network = network
        self._drivers = drivers
        self._seed = seed
        self._detours = detours or Detours(link, network)
        self._times_known = times_known
        self._stood_s: dict[tuple[int, str], float] = {}
        self._tried: set[tuple[int, str]] = set()
        self._drawn: dict[str, bool] = {}
        self._looked_s = float("-inf")

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
                    times_s = {**self._times_known(vehicle, now_s), obstacle.edge: DETOUR_WORTH_S}
                    self._detours.turn_away(vehicle, obstacle, QUEUE, times_s)
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
                    and self._detours.may_turn(vehicle)
                    and self.looks_for_another_way(vehicle)
                    and self._link.vehicle.getSpeed(vehicle) < STANDING_MPS
                    and obstacle.edge in self._detours.way_ahead(vehicle)
                ):
                    found.append(vehicle)
        return found

    def _queue_edges(self, blocked: str) -> list[str]:
        """Edges before the blocked one, as far back as vehicles stand. On the blocked edge nobody can turn away."""
        found: list[str] = []
        front = [(blocked, 0.0)]
        seen = {blocked}
        while front and len(found) < MOST_EDGES:
            here, distance = front.pop(0)
            for before in self._network.edges[here].predecessors:
                if before in seen or distance > REACH_M:
                    continue
                seen.add(before)
                if self._link.edge.getLastStepHaltingNumber(before):
                    found.append(before)
                    front.append((before, distance + self._network.edges[before].length_m))
        return found
