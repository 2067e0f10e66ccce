"""``inject``: a scenario happens in somebody's running simulation, for as long as a ``with`` block lasts.

::

    with scenariogen.inject(traci, scenario):
        while traci.simulation.getMinExpectedNumber():
            traci.simulationStep()
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from scenariogen.errors import ConnectionLostError, SimulationError
from scenariogen.incidents.records import Incident
from scenariogen.injection.asked import network_asked, scenario_asked
from scenariogen.injection.attributes import LedgerLaneSpeeds
from scenariogen.injection.awareness import Awareness
from scenariogen.injection.blockers import Blockers
from scenariogen.injection.connection import Link
from scenariogen.injection.detours import Detours
from scenariogen.injection.effects import Effects, Scene
from scenariogen.injection.health import AttachedHealth, HealthLog
from scenariogen.injection.lanes import LaneMap
from scenariogen.injection.listener import Clock, Interception, add_listener
from scenariogen.injection.occurrence import Occurrence, Phase, Place, passing_speed_mps
from scenariogen.injection.passing_speed import asks_for_capacity, passing_speeds
from scenariogen.injection.records import InjectionWarning, RealisedEffect, RealisedIncident
from scenariogen.injection.saved_states import take_back_loaded, warn_of_saving
from scenariogen.injection.stretch import SlowStretches
from scenariogen.injection.validation import check_scenario, closure_warnings, option_warnings, output_warnings
from scenariogen.injection.values import Ledger
from scenariogen.network import Edge, RoadNetwork
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.incidentboard import IncidentBoard
from scenariogen.simulation.outages import FallibleDetectors

POLL_S = 1.0
"""While an incident stands, vehicles around it are looked at once a second (or once a step, where steps are longer)."""
_SYNC_S = 60.0
"""Under libsumo our own clock is compared with the simulation's this often; over TraCI that would cost a message."""


def default_blocker_id(incident: int, vehicle: int) -> str:
    """The id of the ``vehicle``-th vehicle that stands for the ``incident``-th incident."""
    return f"incident.{incident}.{vehicle}"


def inject(
    connection: Any,
    scenario: Scenario | str | Path,
    *,
    network: RoadNetwork | str | Path | None = None,
    blocker_id: Callable[[int, int], str] = default_blocker_id,
    counts: bool = True,
) -> "Injection":
    """Make a scenario happen in a running simulation.

    ``connection``  the ``libsumo`` module, the ``traci`` module, or a connection from ``traci.getConnection``
    ``scenario``    a scenario, or the path of a scenario file (JSON)
    ``network``     the network or its file; by default the one that the simulation was started with
    ``blocker_id``  names our vehicles: called with the incident's number and the vehicle's
    ``counts``      read SUMO's totals once a simulated minute, for :attr:`Injection.health`

    A context manager. Entering it raises a ``ScenarioError`` that lists all that cannot happen here; leaving it, also
    by an exception, undoes all that still stands. :meth:`Injection.report` says what became of each incident.
    """
    return Injection(connection, scenario, network=network, blocker_id=blocker_id, counts=counts)


class Injection:
    """A scenario that happens in a running simulation. Made by :func:`inject`.

    ``index`` says which scenario of a file with several.
    ``passing_speed`` replaces the measured capacity table, which calibration has to do before there is one: it gives
    the speed (m/s) in the stretch past an incident, and no share of capacity is then checked or promised.
    ``detectors`` are those that a policy reads, for outages to reach; ``board`` is where its control room learns of
    incidents.
    ``capacity_table`` names the table that speeds were looked up in; empty where none was needed.
    ``counts`` False: SUMO's totals are not read once a minute, and there is no :attr:`health`.
    ``sumocfg`` is the project's file, where the simulation was started from another one that stands in for it.
    """

    def __init__(
        self,
        connection: Any,
        scenario: Scenario | str | Path,
        *,
        index: int | None = None,
        network: RoadNetwork | str | Path | None = None,
        blocker_id: Callable[[int, int], str] = default_blocker_id,
        passing_speed: Callable[[Incident, Edge], float] | None = None,
        detectors: FallibleDetectors | None = None,
        board: IncidentBoard | None = None,
        counts: bool = True,
        sumocfg: str = "",
    ) -> None:
        self._passing_speed = passing_speed
        self._sumocfg = sumocfg
        self._counts = counts
        self._was_loaded = False
        self._health: HealthLog | None = None
        self._detectors = detectors
        self._board = board
        self._connection = connection
        self._scenario = scenario
        self._index = index
        self._network = network
        self._blocker_id = blocker_id
        self._was_entered = False
        self._is_on = False
        self._in_step = False
        self._listener: int | None = None
        self._occurrences: tuple[Occurrence, ...] = ()
        self._standing: list[Occurrence] = []
        self._occurrences_due_s = float("-inf")
        self._phases_due_s = float("-inf")
        self._effects: Effects | None = None
        self.warnings: tuple[str, ...] = ()
        self.capacity_table = ""

    def __enter__(self) -> "Injection":
        if self._was_entered:
            raise SimulationError("this injection was entered before: call inject(...) again for another run")
        link = self._link = Link(self._connection)
        network = network_asked(self._network, link)
        scenario = scenario_asked(self._scenario, network, self._index)
        check_scenario(scenario, network, link, with_capacity=self._passing_speed is None)
        self._was_entered = True
        passing_speed = self._passing_speed
        if scenario.incidents or scenario.effects:
            self.warnings = (*option_warnings(link), *closure_warnings(scenario.incidents, network))
            if not self._sumocfg:  # a run of ours reads its outputs itself
                self.warnings += tuple(output_warnings(scenario, link, self._blocker_id))
            if passing_speed is None and (scenario.incidents or asks_for_capacity(scenario.effects)):
                passing_speed = passing_speeds(
                    link, network, scenario.incidents, effects=scenario.effects, sumocfg=self._sumocfg
                )
                self.warnings += passing_speed.warnings
                self.capacity_table = passing_speed.table.name
            for text in self.warnings:
                warnings.warn(text, InjectionWarning, stacklevel=2)
        lanes = LaneMap(link, network)
        self._blockers = Blockers(link, lanes)
        self._stretches = SlowStretches(link)
        self._awareness = Awareness(link, network, scenario, board=self._board)
        place = Place(
            network=network,
            lanes=lanes,
            blockers=self._blockers,
            stretches=self._stretches,
            blocker_id=self._blocker_id,
            passing_speed_mps=passing_speed or passing_speed_mps,
            step_s=link.step_s,
        )
        self._occurrences = tuple(
            Occurrence(number, incident, place, lanes_reopen=scenario.lanes_reopen)
            for number, incident in enumerate(scenario.incidents)
        )
        self._ledger = Ledger(link)
        scene = Scene(
            link=link,
            network=network,
            lanes=lanes,
            ledger=self._ledger,
            stretches=self._stretches,
            passing_speed_mps=place.passing_speed_mps,
            seed=scenario.seed,
            own=lambda: self.own_vehicles,
            detectors=self._detectors,
        )
        self._effects = Effects(scenario, scene)
        self._health = HealthLog(link) if self._counts else None
        self._clock = Clock(link.time_s(), link.step_s)
        self._interception = Interception(
            link,
            self._clock,
            next_due=lambda: self._due_s,
            before_end=lambda why: self.finish(f"{why} before its end"),
            before_step=self._effects.before_step,
            before_save=lambda: warn_of_saving(link, self._stretches, self._ledger, self._blockers),
            after_load=self._state_was_loaded,
        )
        self._due_s = self._clock.now_s
        self._is_on = True
        try:
            self._listener = add_listener(link, self._on_step, self._on_removed)
            self._work()
        except BaseException:
            self.finish("an error ended the injection")
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended = "an error ended the simulation" if error is not None else "the simulation was left"
        self.finish(f"{ended} before its end")

    def report(self) -> tuple[RealisedIncident, ...]:
        """Each incident of the scenario as asked and as it happened, so far."""
        return tuple(self._awareness.report(occurrence) for occurrence in self._occurrences)

    def effects_report(self) -> tuple[RealisedEffect, ...]:
        """Each effect of the scenario as asked and as it happened, so far."""
        return self._effects.report() if self._effects else ()

    @property
    def health(self) -> AttachedHealth | None:
        """SUMO's totals as of the last whole minute since we came, or of the end; None where nobody reads them."""
        return self._health.last if self._health else None

    @property
    def lane_speeds(self) -> LedgerLaneSpeeds:
        """How somebody else's speed signs read and write lane speeds, so that effects stay on top of them."""
        return LedgerLaneSpeeds(self._ledger)

    @property
    def own_vehicles(self) -> frozenset[str]:
        """Ids of all vehicles that we put into the simulation so far, to leave them out of what is counted."""
        return self._blockers.ever if self._occurrences else frozenset()

    @property
    def detours(self) -> Detours:
        """The account of who has changed routes, for others who change drivers' routes to keep as well."""
        return self._awareness.detours

    @property
    def surge_vehicles(self) -> frozenset[str]:
        """Ids of all vehicles that surges of demand added so far: an account of their own, beside ``own_vehicles``."""
        return self._effects.added if self._effects else frozenset()

    @property
    def own_present(self) -> frozenset[str]:
        """Ids of our vehicles that are in the simulation now."""
        return self._blockers.present if self._occurrences else frozenset()

    def finish(self, reason: str = "the injection was ended before its end") -> None:
        """Undo what still stands and let go of the simulation. Safe to call twice; ``with`` does it."""
        if not self._is_on:
            return
        self._is_on = False
        self._interception.undo()
        self._awareness.end()
        gone = not self._link.is_open()
        try:
            if not gone:
                self._undo(reason)
        except Exception as error:
            if not self._link.is_lost(error):
                raise
            gone = True
        finally:
            if gone:
                self._let_go(reason)
            self._remove_listener()

    def _state_was_loaded(self) -> None:
        self._was_loaded = True
        self.finish("a saved state was loaded before its end")

    def _undo(self, reason: str) -> None:
        now_s = self._link.time_s()
        if self._was_loaded or now_s < self._clock.now_s - self._link.step_s * 1.5:
            take_back_loaded(self._link, self._stretches, self._ledger, self._blockers)
        self._look(now_s)
        if self._effects:
            self._effects.end(now_s, reason)
        self._stretches.release_all()
        for occurrence in self._occurrences:
            occurrence.end(now_s, reason if occurrence.phase is Phase.STANDING else _never(reason))

    def _let_go(self, reason: str) -> None:
        """The simulation is gone: nothing can be undone, and nothing has to be."""
        self._stretches.forget()
        self._blockers.forget()
        if self._effects:
            self._effects.forget(self._clock.now_s, reason)
        for occurrence in self._occurrences:
            why = reason if occurrence.phase is Phase.STANDING else _never(reason)
            occurrence.end(self._clock.now_s, why, simulation_is_gone=True)

    def _remove_listener(self) -> None:
        """Unless SUMO did so already, or is going through its listeners right now (then the next step does it)."""
        if self._listener is not None and not self._in_step:
            listener, self._listener = self._listener, None
            self._link.handle.removeStepListener(listener)

    def _on_removed(self) -> None:
        """SUMO dropped the listener: somebody removed it, or the connection is closing."""
        self._listener = None
        self.finish("its listener was removed before its end")

    def _on_step(self, target_s: float) -> bool:
        if not self._is_on:
            return False
        clock = self._clock
        clock.advance(target_s)
        if clock.now_s >= self._due_s - 1e-6:
            self._in_step = True
            try:
                self._work()
            except Exception as error:
                if self._link.is_lost(error):
                    raise ConnectionLostError(f"the simulation was lost during the injection: {error}") from error
                raise
            finally:
                self._in_step = False
        return self._is_on

    def _work(self) -> None:
        """Do what is due, and note when to come again."""
        now_s = self._link.time_s()
        if now_s < self._clock.now_s - self._link.step_s * 1.5:
            self.finish("the simulation was loaded anew before its end")
            return
        self._clock.now_s = now_s
        if now_s >= self._occurrences_due_s - 1e-6:
            for occurrence in self._occurrences:
                if now_s >= occurrence.due_s - 1e-6:
                    occurrence.update(now_s)
            self._standing = [each for each in self._occurrences if each.phase is Phase.STANDING]
            self._phases_due_s = now_s
            self._occurrences_due_s = min((each.due_s for each in self._occurrences), default=float("inf"))
        due_s, standing = self._occurrences_due_s, self._standing
        if now_s >= self._phases_due_s:
            for occurrence in standing:
                occurrence.advance(now_s)
            self._phases_due_s = min((each.next_phase_s for each in standing), default=float("inf"))
        if self._effects:
            self._effects.update(now_s)
        own = self._blockers.ever  # TraCI's lists are as old as the step, and some of ours may just have gone
        if self._stretches:
            self._stretches.update(now_s, own)
        if standing or now_s >= self._awareness.due_s - 1e-9:
            self._awareness.update(now_s, standing, own)
        if self._effects:
            due_s = min(due_s, self._effects.due_s)
        if self._health:
            if now_s >= self._health.due_s - 1e-6:
                self._look(now_s)
            due_s = min(due_s, self._health.due_s)
        if standing or self._stretches:
            due_s = min(due_s, now_s + POLL_S)
        else:
            due_s = min(due_s, self._awareness.due_s)
            if self._link.direct and due_s < float("inf"):
                due_s = min(due_s, now_s + _SYNC_S)
        self._due_s = max(due_s, now_s + self._link.step_s)

    def _look(self, now_s: float) -> None:
        if self._health:
            self._health.look(now_s, own_inserted=len(self.own_vehicles), own_running=len(self.own_present))


def _never(reason: str) -> str:
    return reason.replace("before its end", "before its start")
