"""Other routes: which driver takes which way round, and who must not go back into what they know to be blocked.

The route is SUMO's own search for that vehicle, so that it respects what the vehicle may drive on, at the usual speeds
of the roads. The travel times that tell the search of incidents are written for that vehicle only, and taken back at
once. Each vehicle changes its route at most twice in all; whoever has turned away from an incident never gets a route
over its edge again while it stands. Vehicles with stops ahead, and those whose route ends on the blocked edge, keep
their route.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from scenariogen.injection.connection import Link
from scenariogen.network import RoadNetwork

MOST_REROUTES = 2
_ROOM_PER_LANE_M = 40.0
"""Closer to the end of its edge than this for each lane to cross, a vehicle cannot reach another lane's exit."""


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """An incident that stands, as drivers meet it or hear of it.

    ``detected_s``   simulation second from which it is known to the control room; None: it is not
    ``blocked``      lanes blocked when it began
    ``told_share``   share of the capacity left that goes with what is told: usual for the lanes blocked now
    """

    number: int
    edge: str
    detected_s: float | None = None
    blocked: int = 0
    told_share: float = 0.0


class Answer(Enum):
    """What became of a driver's look for another route."""

    TURNED = "another route"
    STAYS = "no other route is worth it"
    NOT_HERE = "another route begins on a lane that it cannot reach from where it is"


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One vehicle's change of route on account of one incident."""

    number: int
    vehicle: str
    source: str
    old: tuple[str, ...]
    new: tuple[str, ...]


class Detours:
    """Changes routes and keeps account of it."""

    def __init__(self, link: Link, network: RoadNetwork) -> None:
        self._link = link
        self._network = network
        self._reroutes: Counter[str] = Counter()
        self._turns: dict[tuple[int, str], Turn] = {}
        self._avoids: dict[str, dict[int, str]] = {}
        self.rerouted: Counter[tuple[int, str]] = Counter()
        """Changes of route by incident and source."""
        self.returned: Counter[int] = Counter()

    def may_turn(self, vehicle: str) -> bool:
        """Whether it has not changed its route too often already."""
        return self._reroutes[vehicle] < MOST_REROUTES

    def turns(self, number: int) -> list[Turn]:
        """Who turned away from an incident, in the order in which they did."""
        return [turn for (of, _), turn in self._turns.items() if of == number]

    def incident_is_over(self, number: int) -> None:
        """Its edge need not be avoided any more."""
        for avoided in self._avoids.values():
            avoided.pop(number, None)
        self._avoids = {vehicle: avoided for vehicle, avoided in self._avoids.items() if avoided}

    def way_ahead(self, vehicle: str) -> tuple[str, ...]:
        """The rest of a vehicle's route, from the edge it is on."""
        return tuple(self._link.vehicle.getRoute(vehicle))[max(0, self._link.vehicle.getRouteIndex(vehicle)) :]

    def turn_away(self, vehicle: str, obstacle: Obstacle, source: str, times_s: Mapping[str, float]) -> Answer:
        """Give a vehicle a route without the blocked edge, if there is one that it can take from where it is.

        ``times_s``  by edge, the travel time that the driver reckons with: that of the blocked one, and others known
        """
        ask = self._link.vehicle
        if ask.getStops(vehicle, 1):  # a bus, a delivery: the stops decide
            return Answer.STAYS
        before = self.way_ahead(vehicle)
        if before[-1] == obstacle.edge:
            return Answer.STAYS
        refusal = self._search(vehicle, times_s)
        after = self.way_ahead(vehicle)
        if after == before:
            return Answer.STAYS
        avoided = {obstacle.edge, *self._avoids.get(vehicle, {}).values()}
        worth_it = not refusal and not avoided.intersection(after)
        if worth_it and self._can_begin(vehicle, after):
            self._reroutes[vehicle] += 1
            self.rerouted[obstacle.number, source] += 1
            self._avoids.setdefault(vehicle, {})[obstacle.number] = obstacle.edge
            self._turns[obstacle.number, vehicle] = Turn(
                number=obstacle.number, vehicle=vehicle, source=source, old=before, new=after
            )
            return Answer.TURNED
        self._link.attempt(ask.setRoute, vehicle, list(before))
        return Answer.NOT_HERE if worth_it else Answer.STAYS

    def go_back(self, turn: Turn, edge: str) -> Answer:
        """Give a vehicle its old route again, where it has not left it yet and follows the new one still.

        ``edge``  where the incident stood
        """
        ask, vehicle = self._link.vehicle, turn.vehicle
        route, refusal = self._link.attempt(ask.getRoute, vehicle)
        if refusal or not self.may_turn(vehicle) or ask.getStops(vehicle, 1):
            return Answer.STAYS
        ahead = tuple(route)[max(0, ask.getRouteIndex(vehicle)) :]
        if ahead != turn.new[-len(ahead) :] or ahead[0] not in turn.old:
            return Answer.STAYS
        old = turn.old[turn.old.index(ahead[0]) :]
        if edge not in old[1:] or set(self._avoids.get(vehicle, {}).values()).intersection(old):
            return Answer.STAYS
        if ask.getRoadID(vehicle) != ahead[0] or not self._can_begin(vehicle, old):
            return Answer.NOT_HERE
        if self._link.attempt(ask.setRoute, vehicle, list(old))[1]:
            return Answer.STAYS
        self._reroutes[vehicle] += 1
        self.returned[turn.number] += 1
        return Answer.TURNED

    def _search(self, vehicle: str, times_s: Mapping[str, float]) -> str:
        """SUMO's search with those travel times; what others wrote for the vehicle is as before afterwards."""
        ask, now_s = self._link.vehicle, self._link.time_s()
        theirs = {edge: ask.getAdaptedTraveltime(vehicle, now_s, edge) for edge in times_s}
        for edge, time_s in times_s.items():
            ask.setAdaptedTraveltime(vehicle, edge, time_s)
        refusal = self._link.attempt(ask.rerouteTraveltime, vehicle, False)[1]
        for edge, time_s in theirs.items():
            ask.setAdaptedTraveltime(vehicle, edge)
            if time_s > 0:  # negative where there was none
                ask.setAdaptedTraveltime(vehicle, edge, time_s)
        return refusal

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
