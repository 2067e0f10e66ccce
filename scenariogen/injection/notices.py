"""Drivers who are told of an incident: by signs that they pass, by radio, by their navigation.

Nothing is said before the incident is detected, nor after the road is clear. Whether a driver hears a source at all,
and whether somebody who knows would change routes on its word, is drawn once for each vehicle and source from the
scenario's seed and the vehicle's id, whatever is looked at first. Who was told once knows it from then on.

Whoever would change routes takes another one where it costs less than waiting: the search of
:mod:`scenariogen.injection.detours` reckons with the usual travel time of the blocked edge plus the delay expected
there (:func:`expected_delay_s`), for every incident that the driver knows of. Where the vehicle is in a junction, or
too close to it to change lanes, it tries again at the next looks, three times in all.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from scenariogen.errors import ScenarioError
from scenariogen.incidents.capacity import PUBLISHED_LANES, published_capacity_left
from scenariogen.incidents.phases import expected_remaining_s
from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.injection.connection import Link
from scenariogen.injection.detours import Answer, Detours, Obstacle, Turn
from scenariogen.network import Edge, RoadNetwork
from scenariogen.randomness import child_seed
from scenariogen.scenarios.byhand import usual_capacity_left
from scenariogen.scenarios.drivers import FAST_DRIVERS, SIGN_LOOK_S, Drivers

LOOK_EVERY_S = 10.0
SIGN, RADIO, NAVIGATION = "sign", "radio", "navigation"
_MOST_TRIES = 3


@dataclass(frozen=True, kw_only=True)
class Source:
    """One way of being told. ``share`` of the drivers hear it ``delay_s`` after the detection; at signs, who passes."""

    name: str
    share: float
    delay_s: float
    compliance: float

    @property
    def is_on(self) -> bool:
        return self.share > 0 and self.compliance > 0


def sources(drivers: Drivers) -> tuple[Source, ...]:
    """Those by which a scenario's drivers are told at all."""
    found = (
        Source(
            name=SIGN,
            share=1.0 if drivers.sign_edges else 0.0,
            delay_s=drivers.sign_delay_s,
            compliance=drivers.sign_compliance,
        ),
        Source(
            name=RADIO,
            share=drivers.radio_share,
            delay_s=drivers.radio_delay_s,
            compliance=drivers.radio_compliance,
        ),
        Source(
            name=NAVIGATION,
            share=drivers.navigation_share,
            delay_s=drivers.navigation_delay_s,
            compliance=drivers.navigation_compliance,
        ),
    )
    return tuple(source for source in found if source.is_on)


def expected_delay_s(obstacle: Obstacle, *, now_s: float, reach_s: float) -> float:
    """Seconds that somebody who gets to an incident in ``reach_s`` expects to lose there, from what is told of it.

    What is expected to remain of it then (published durations, never its own), times the share of the capacity that is
    usually lost. That is the wait of the last to come in a queue that forms while as much comes as the road carries;
    with less demand the wait is shorter. Our assumption: people are told no more than "so many lanes, so long".
    """
    if obstacle.detected_s is None:
        return 0.0
    remaining_s = expected_remaining_s(obstacle.blocked, detected_s=obstacle.detected_s, now_s=now_s)
    return max(0.0, remaining_s - reach_s) * (1.0 - obstacle.told_share)


def told_capacity_left(incident: Incident, edge: Edge) -> float:
    """Share of the capacity that people reckon with who are told of an incident, with its lanes as they are now.

    A closure is told as one. Otherwise it is what is usual for so many lanes, see
    :func:`scenariogen.scenarios.byhand.usual_capacity_left`; on the shoulder the published share of the kind
    (FHWA-HOP-13-042 table 40), that of two lanes on a single lane too, our assumption.
    """
    if incident.capacity_left <= 0:
        return 0.0
    if incident.lanes:
        return usual_capacity_left(edge, incident.lanes)
    lanes = min(max(len(edge.driving_lanes), PUBLISHED_LANES[0]), PUBLISHED_LANES[-1])
    share = published_capacity_left(lanes, 0, crash=incident.kind is IncidentKind.CRASH)
    if share is None:
        raise ScenarioError(f"no share is published for an incident on the shoulder of {lanes} lanes")
    return share


class ToldDrivers:
    """Tells drivers of the incidents that stand and are detected, and re-routes those who would and can."""

    def __init__(self, link: Link, network: RoadNetwork, drivers: Drivers, seed: int, detours: Detours) -> None:
        self._link = link
        self._network = network
        self._drivers = drivers
        self._seed = seed
        self._detours = detours
        self._sources = sources(drivers)
        self._standing: dict[int, Obstacle] = {}
        self._knows: dict[str, set[int]] = {}
        self._asked: dict[int, set[tuple[str, str]]] = {}  # incident -> (source, vehicle) that are settled
        self._pending: dict[tuple[int, str], tuple[str, int]] = {}  # (incident, vehicle) -> source, tries so far
        self._returns: list[tuple[float, Turn, str]] = []
        self._looked_s = float("-inf")
        self._sign_due_s = dict.fromkeys(drivers.sign_edges, float("-inf"))

    @property
    def is_on(self) -> bool:
        return bool(self._sources)

    @property
    def due_s(self) -> float:
        """When to look again although no incident stands: somebody may still hear that the road is clear."""
        first_s = min((due_s for due_s, _, _ in self._returns), default=float("inf"))
        return max(first_s, self._looked_s + LOOK_EVERY_S)

    def knows(self, vehicle: str, number: int) -> bool:
        """Whether a driver was told of an incident."""
        return number in self._knows.get(vehicle, ())

    def hears(self, source: Source, vehicle: str) -> bool:
        """Whether the source reaches the vehicle, if it speaks."""
        return self._drawn(source.name, vehicle, source.share)

    def complies(self, source: Source, vehicle: str) -> bool:
        """Whether the driver would change routes on the word of that source."""
        return self._drawn(f"{source.name} compliance", vehicle, source.compliance)

    def goes_back(self, vehicle: str) -> bool:
        """Whether the driver would take the old route again, once told that the road is clear."""
        return self._drawn("return", vehicle, self._drivers.return_share)

    def times_known(self, vehicle: str, now_s: float) -> dict[str, float]:
        """The travel times (s), by edge, of the incidents that a vehicle knows of and that stand."""
        numbers = [n for n in sorted(self._knows.get(vehicle, ())) if n in self._standing]
        if not numbers:
            return {}
        way = self._detours.way_ahead(vehicle)
        times_s: dict[str, float] = {}
        for obstacle in (self._standing[number] for number in numbers):
            time_s = self._time_s(obstacle, way, now_s)
            times_s[obstacle.edge] = max(time_s, times_s.get(obstacle.edge, 0.0))
        return times_s

    def update(self, now_s: float, obstacles: Iterable[Obstacle], own: frozenset[str]) -> None:
        """Look where it is time: at signs as often as nobody can pass one unseen, at everything else every 10 s."""
        if not self.is_on:
            return
        self._standing = {each.number: each for each in obstacles}
        speaking = [(o, s) for o in self._standing.values() for s in self._sources if _speaks(s, o, now_s)]
        coarse = now_s >= self._looked_s + LOOK_EVERY_S - 1e-9
        self._pass_signs(now_s, [pair for pair in speaking if pair[1].name == SIGN], own)
        if not coarse:
            return
        self._looked_s = now_s
        self._broadcast([pair for pair in speaking if pair[1].name != SIGN], own)
        self._try_pending(now_s)
        self._try_returns(now_s)

    def incident_is_over(self, number: int, now_s: float) -> None:
        """The road is clear: nobody else is told of it, and some hear so after a while."""
        obstacle = self._standing.pop(number, None)
        self._asked.pop(number, None)
        self._pending = {key: tried for key, tried in self._pending.items() if key[0] != number}
        if obstacle is None or not self._drivers.return_share:
            return
        delays_s = {source.name: source.delay_s for source in self._sources if source.name != SIGN}
        for turn in self._detours.turns(number):
            if turn.source in delays_s and self.goes_back(turn.vehicle):
                self._returns.append((now_s + delays_s[turn.source], turn, obstacle.edge))

    def forget(self) -> None:
        """The simulation is left or gone."""
        self._returns.clear()
        self._pending.clear()

    def _pass_signs(self, now_s: float, speaking: list[tuple[Obstacle, Source]], own: frozenset[str]) -> None:
        if not speaking:
            return
        for edge, due_s in self._sign_due_s.items():
            if now_s < due_s - 1e-9:
                continue
            self._sign_due_s[edge] = now_s + self._sign_every_s(edge)
            for vehicle in self._link.edge.getLastStepVehicleIDs(edge):
                for obstacle, source in speaking:
                    if vehicle not in own:
                        self._tell(obstacle, source, vehicle)
        self._try_pending(now_s, only_new=True)

    def _sign_every_s(self, edge: str) -> float:
        """Half the time in which a fast driver passes the edge, so that everybody is seen on it; one to ten seconds."""
        place = self._network.edges[edge]
        fastest_mps = FAST_DRIVERS * max(lane.speed_mps for lane in place.lanes)
        return min(max(SIGN_LOOK_S, place.length_m / fastest_mps / 2), LOOK_EVERY_S)

    def _broadcast(self, speaking: list[tuple[Obstacle, Source]], own: frozenset[str]) -> None:
        if not speaking:
            return
        here = [vehicle for vehicle in self._link.vehicle.getIDList() if vehicle not in own]
        for obstacle, source in speaking:
            for vehicle in here:
                self._tell(obstacle, source, vehicle)

    def _tell(self, obstacle: Obstacle, source: Source, vehicle: str) -> None:
        """A vehicle is told once by each source, if it hears it; where it would change routes it will look for one."""
        settled = self._asked.setdefault(obstacle.number, set())
        if (source.name, vehicle) in settled:
            return
        settled.add((source.name, vehicle))
        if not self.hears(source, vehicle):
            return
        self._knows.setdefault(vehicle, set()).add(obstacle.number)
        key = obstacle.number, vehicle
        if key not in self._pending and self.complies(source, vehicle):
            self._pending[key] = source.name, 0

    def _try_pending(self, now_s: float, *, only_new: bool = False) -> None:
        """Those who would change routes look for one; ``only_new``: only those who have not looked yet."""
        for (number, vehicle), (source, tries) in list(self._pending.items()):
            if only_new and tries:
                continue
            answer = self._look_for_another_way(self._standing[number], source, vehicle, now_s)
            if answer is Answer.NOT_HERE and tries + 1 < _MOST_TRIES:
                self._pending[number, vehicle] = source, tries + 1
            else:
                del self._pending[number, vehicle]

    def _look_for_another_way(self, obstacle: Obstacle, source: str, vehicle: str, now_s: float) -> Answer:
        road, gone = self._link.attempt(self._link.vehicle.getRoadID, vehicle)
        if gone or not self._detours.may_turn(vehicle):
            return Answer.STAYS
        if obstacle.edge not in self._detours.way_ahead(vehicle)[1:]:
            return Answer.STAYS
        if road not in self._network.edges:  # inside a junction
            return Answer.NOT_HERE
        return self._detours.turn_away(vehicle, obstacle, source, self.times_known(vehicle, now_s))

    def _try_returns(self, now_s: float) -> None:
        waiting = []
        for due_s, turn, edge in self._returns:
            if due_s > now_s + 1e-9:
                waiting.append((due_s, turn, edge))
            elif self._detours.go_back(turn, edge) is Answer.NOT_HERE:
                waiting.append((now_s + LOOK_EVERY_S, turn, edge))  # it is answered once its edge is left
        self._returns = waiting

    def _time_s(self, obstacle: Obstacle, way: tuple[str, ...], now_s: float) -> float:
        """Travel time of an incident's edge, as reckoned by somebody with that way ahead."""
        before = way[: way.index(obstacle.edge)] if obstacle.edge in way else ()
        reach_s = sum(self._free_s(edge) for edge in before)
        return self._free_s(obstacle.edge) + expected_delay_s(obstacle, now_s=now_s, reach_s=reach_s)

    def _free_s(self, edge: str) -> float:
        place = self._network.edges.get(edge)
        return place.length_m / max(lane.speed_mps for lane in place.lanes) if place else 0.0

    def _drawn(self, purpose: str, vehicle: str, share: float) -> bool:
        return child_seed(self._seed, purpose, vehicle) / 2.0**63 < share


def _speaks(source: Source, obstacle: Obstacle, now_s: float) -> bool:
    return obstacle.detected_s is not None and now_s >= obstacle.detected_s + source.delay_s - 1e-9
