"""Drivers whom a control room advises to take another way, and who follow or do not.

Whoever drives on one of an advice's points while it holds is told. Whether a driver follows is drawn from the run's
seed, the edges and the vehicle, so that advice that is given again finds the same drivers willing. Who follows takes
another way where SUMO's search finds one that costs less than the usual travel time of the edges plus the delay that
was announced for them (:mod:`scenariogen.injection.detours`: nobody goes round in circles, buses keep their way, and
what drivers know of incidents by other means still holds). In a junction, or too close to it to change lanes, a driver
tries again at the next looks, three times in all.
"""

from collections.abc import Callable, Iterable, Mapping

from scenariogen.errors import PolicyError, Problems
from scenariogen.injection.connection import Link
from scenariogen.injection.detours import Answer, Detours, Obstacle
from scenariogen.network import RoadNetwork
from scenariogen.randomness import child_seed
from scenariogen.simulation.routeadvice import DELAY_S, UPSTREAM_M, Advice, RouteAdvice

LOOK_EVERY_S = 5.0
SOURCE = "advice"
_MOST_TRIES = 3


class DriverAdvice(RouteAdvice):
    """The advice of one run: ``update`` after every step.

    ``detours``  keeps account of who has changed routes, shared with those who learn of incidents by themselves
    ``own``      our own vehicles, which drive nowhere
    """

    def __init__(
        self,
        link: Link,
        network: RoadNetwork,
        detours: Detours,
        *,
        seed: int,
        own: Callable[[], frozenset[str]] = frozenset,
    ) -> None:
        self._link, self._network, self._detours = link, network, detours
        self._seed, self._own = seed, own
        self._given: dict[int, Advice] = {}
        self._told: dict[int, set[str]] = {}
        self._tries: dict[tuple[int, str], int] = {}
        self._count = 0
        self._looked_s = float("-inf")
        self._now_s = link.time_s()
        self.turned = 0
        """Drivers' changes of route on account of advice."""

    @property
    def in_force(self) -> Mapping[int, Advice]:
        return dict(self._given)

    def avoid(
        self,
        edges: str | Iterable[str],
        share: float,
        *,
        delay_s: float = DELAY_S,
        upstream_m: float = UPSTREAM_M,
        at: Iterable[str] = (),
    ) -> int:
        wanted = (edges,) if isinstance(edges, str) else tuple(dict.fromkeys(edges))
        points = tuple(at)
        self._check(wanted, points, share, delay_s, upstream_m)
        told_on = points or [near for edge in wanted for near, _ in self._network.upstream(edge, upstream_m)]
        self._count += 1
        self._given[self._count] = Advice(
            edges=wanted,
            share=float(share),
            delay_s=float(delay_s),
            points=frozenset(told_on) - set(wanted),
            since_s=self._now_s,
        )
        self._told[self._count] = set()
        return self._count

    def withdraw(self, number: int) -> None:
        if self._given.pop(number, None) is None:
            return
        del self._told[number]
        self._tries = {key: tries for key, tries in self._tries.items() if key[0] != number}
        self._detours.incident_is_over(-number)

    def update(self, now_s: float) -> None:
        """Tell those who are on a point now, and let those who follow look for another way."""
        self._now_s = now_s
        if not self._given or now_s < self._looked_s + LOOK_EVERY_S - 1e-9:
            return
        self._looked_s = now_s
        own = self._own()
        for number, advice in self._given.items():
            for edge in sorted(advice.points):
                for vehicle in self._link.edge.getLastStepVehicleIDs(edge):
                    if vehicle not in own:
                        self._tell(number, advice, vehicle)
        for (number, vehicle), tries in list(self._tries.items()):
            if self._look(number, self._given[number], vehicle) is Answer.NOT_HERE and tries + 1 < _MOST_TRIES:
                self._tries[number, vehicle] = tries + 1
            else:
                del self._tries[number, vehicle]

    def _tell(self, number: int, advice: Advice, vehicle: str) -> None:
        if vehicle in self._told[number]:
            return
        self._told[number].add(vehicle)
        if child_seed(self._seed, SOURCE, *advice.edges, vehicle) / 2.0**63 < advice.share:
            self._tries[number, vehicle] = 0

    def _look(self, number: int, advice: Advice, vehicle: str) -> Answer:
        road, gone = self._link.attempt(self._link.vehicle.getRoadID, vehicle)
        if gone or not self._detours.may_turn(vehicle):
            return Answer.STAYS
        ahead = [edge for edge in self._detours.way_ahead(vehicle)[1:] if edge in advice.edges]
        if not ahead:
            return Answer.STAYS
        if road not in self._network.edges:  # inside a junction
            return Answer.NOT_HERE
        times_s = {edge: self._free_s(edge) + advice.delay_s for edge in advice.edges}
        # Incidents have the numbers from 0 on, in the account of who turned away from what.
        answer = self._detours.turn_away(vehicle, Obstacle(number=-number, edge=ahead[0]), SOURCE, times_s)
        self.turned += answer is Answer.TURNED
        return answer

    def _free_s(self, edge: str) -> float:
        place = self._network.edges[edge]
        return place.length_m / max(lane.speed_mps for lane in place.lanes)

    def _check(
        self, edges: tuple[str, ...], points: tuple[str, ...], share: float, delay_s: float, upstream_m: float
    ) -> None:
        problems = Problems("advice to drivers")
        if not edges:
            problems.add("no edge is named, expected at least one to avoid")
        for edge in (*edges, *points):
            if edge not in self._network.edges:
                problems.add(self._network.unknown_edge(edge))
        if not 0 <= share <= 1:
            problems.add(f"share is {share}, expected 0 to 1")
        for name, value in (("delay_s", delay_s), ("upstream_m", upstream_m)):
            if not 0 < value < float("inf"):
                problems.add(f"{name} is {value}, expected more than 0")
        problems.raise_as(PolicyError)
