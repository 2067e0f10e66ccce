"""Who knows of the incidents that stand: drivers in the queue, drivers who are told, the control room.

Nothing is known before an incident is detected, save by those who stand behind it. What the control room knows lies on
its board until the queue behind the incident has gone.
"""

from collections.abc import Iterable

from scenariogen.incidents.phases import expected_remaining_s
from scenariogen.injection.connection import Link
from scenariogen.injection.detours import Detours
from scenariogen.injection.drivers import QueuedDrivers
from scenariogen.injection.notices import ToldDrivers
from scenariogen.injection.occurrence import Occurrence, Phase
from scenariogen.injection.records import RealisedIncident
from scenariogen.injection.recovery import Recovery
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.contract import KnownIncident
from scenariogen.simulation.incidentboard import IncidentBoard


class Awareness:
    """What drivers and the control room know of the incidents of one injection, and what drivers do about it.

    ``board``  the control room's; None where nobody looks at one
    """

    def __init__(
        self, link: Link, network: RoadNetwork, scenario: Scenario, *, board: IncidentBoard | None = None
    ) -> None:
        self.detours = Detours(link, network)
        self._detours = self.detours
        self._told = ToldDrivers(link, network, scenario.drivers, scenario.seed, self._detours)
        self._queued = QueuedDrivers(
            link,
            network,
            scenario.drivers,
            scenario.seed,
            detours=self._detours,
            times_known=self._told.times_known,
        )
        self._recovery = Recovery(link, network)
        self._board = board
        self._shown: dict[int, KnownIncident] = {}
        self._standing: dict[int, Occurrence] = {}
        self._clear: dict[int, Occurrence] = {}
        self._seen: Iterable[Occurrence] = ()
        self._look_s = float("-inf")

    @property
    def due_s(self) -> float:
        """When to look again although no incident stands; at once where one was standing at the last look."""
        return float("-inf") if self._standing else min(self._recovery.due_s, self._told.due_s)

    def update(self, now_s: float, occurrences: Iterable[Occurrence], own: frozenset[str]) -> None:
        """What follows from the incidents as they are now. ``own`` are our vehicles, which know nothing.

        The same list of them again, with nothing due by itself, takes no time.
        """
        if occurrences is self._seen and now_s < self._look_s - 1e-9:
            return
        self._seen = occurrences
        standing = {each.number: each for each in occurrences if each.phase is Phase.STANDING}
        for number, occurrence in self._standing.items():
            if number not in standing:
                self._is_over(occurrence, now_s, own)
        self._standing = standing
        obstacles = [each.obstacle() for each in standing.values()]
        self._told.update(now_s, obstacles, own)
        if obstacles:
            self._queued.update(now_s, obstacles, own)
        self._recovery.update(now_s, own)
        self._tell_control_room(now_s)
        self._look_s = self._next_look_s()

    def _next_look_s(self) -> float:
        """When something is due again as long as the same incidents stand."""
        if self._told.is_on:  # nobody may pass a sign unseen
            return float("-inf")
        times_s = [self._recovery.due_s, self._told.due_s]
        times_s += [self._queued.due_s()] if self._queued.is_on and self._standing else []
        if self._board is not None:
            times_s += [each.next_phase_s for each in self._standing.values()]
            times_s += [shown.expected_end_s for shown in self._shown.values()]
            times_s += [float("-inf")] if self._clear else []
        return min(times_s)

    def report(self, occurrence: Occurrence) -> RealisedIncident:
        """An incident as asked and as it happened, so far."""
        number = occurrence.number
        by = {source: count for (of, source), count in sorted(self._detours.rerouted.items()) if of == number}
        return occurrence.report(
            rerouted_by=by,
            returned=self._detours.returned[number],
            recovered_s=self._recovery.recovered_s.get(number),
        )

    def end(self) -> None:
        """The simulation is left or gone: nobody is told anything any more."""
        self._told.forget()
        self._recovery.forget()
        self._standing.clear()
        self._clear.clear()
        self._shown.clear()
        if self._board is not None:
            self._board.clear()

    def _is_over(self, occurrence: Occurrence, now_s: float, own: frozenset[str]) -> None:
        self._told.incident_is_over(occurrence.number, now_s)
        self._detours.incident_is_over(occurrence.number)
        self._recovery.begin(occurrence.number, occurrence.incident.edge, occurrence.stands_at_m, now_s, own)
        self._clear[occurrence.number] = occurrence

    def _tell_control_room(self, now_s: float) -> None:
        if self._board is None:
            return
        for number, occurrence in [*self._standing.items(), *self._clear.items()]:
            if occurrence.detected_s is None:
                continue
            if number in self._clear and number not in self._recovery:
                self._board.withdraw(number)
                self._shown.pop(number, None)
                continue
            shown = self._shown.get(number)
            if shown is None or shown.phase is not occurrence.progress or self._is_stale(shown, occurrence, now_s):
                self._shown[number] = _known(occurrence, occurrence.detected_s, now_s)
                self._board.show(self._shown[number])
        self._clear = {number: each for number, each in self._clear.items() if number in self._recovery}

    def _is_stale(self, shown: KnownIncident, occurrence: Occurrence, now_s: float) -> bool:
        """It stands longer than was expected, or on fewer lanes than were told."""
        standing = occurrence.number in self._standing
        return shown.lanes != occurrence.lanes_now or (standing and now_s >= shown.expected_end_s)


def _known(occurrence: Occurrence, detected_s: float, now_s: float) -> KnownIncident:
    asked = occurrence.incident
    remaining_s = expected_remaining_s(len(asked.lanes), detected_s=detected_s, now_s=now_s)
    return KnownIncident(
        number=occurrence.number,
        kind=str(asked.kind),
        edge=asked.edge,
        position_m=occurrence.stands_at_m,
        lanes=occurrence.lanes_now,
        since_s=detected_s,
        phase=occurrence.progress,
        expected_end_s=now_s + remaining_s if occurrence.ended_s is None else occurrence.ended_s,
    )
