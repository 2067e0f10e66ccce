"""How long the queue behind each incident of a run is, minute by minute.

A vehicle is in the queue of an incident where it stands, slower than 5 km/h, upstream of the spot, and has still to
pass it. The queue is followed from the incident's edge back, edge by edge, for as far as somebody stands, as
:mod:`.recovery` does, within the same limits. Who waits at a red light on the way is counted as well: near signals
compare with the minutes before the incident. Nothing is written to the simulation, so the run is the one it would be.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from scenariogen.errors import SimulationError
from scenariogen.injection.connection import Link
from scenariogen.injection.recovery import MOST_EDGES, REACH_M, STANDING_MPS
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.contract import Run, RunRequest, Simulator
from scenariogen.written import written_whole

LOOK_EVERY_S = 60.0
BEFORE_S = 300.0
"""Looking begins so long before an incident, for what stands there anyway."""
_OWN = re.compile(r"incident\.\d+\.\d+")
"""Vehicles that stand for incidents, as :func:`scenariogen.injection.attach.default_blocker_id` names them."""


@dataclass(frozen=True, kw_only=True)
class QueueMoment:
    """The queue of one incident at one moment.

    ``time_s``, ``clock``    simulation second, and the time of day then
    ``incident``             its number in the scenario; ``kind`` and ``edge`` are its own
    ``phase``                ``before``, ``standing`` or ``over``, as the scenario asks for it
    ``standing_veh``         vehicles in the queue
    ``reach_m``              from the spot back to the last of them along the road; 0 where there is none
    ``waiting_to_enter_veh`` vehicles that are due and cannot enter, in the whole network
    """

    time_s: float
    clock: str
    incident: int
    kind: str
    edge: str
    phase: str
    standing_veh: int
    reach_m: float
    waiting_to_enter_veh: int


class QueueLog:
    """Looks at the queues of a scenario's incidents once a minute; :meth:`look` is called after every step."""

    def __init__(self, link: Link, network: RoadNetwork, scenario: Scenario) -> None:
        self._link, self._network, self._scenario = link, network, scenario
        self._due_s = float("-inf")
        self.moments: list[QueueMoment] = []
        self.is_written = False

    def look(self, run: Run) -> None:
        """Take in a step, where a minute has passed."""
        now_s = run.time_s
        if now_s < self._due_s - 1e-9:
            return
        self._due_s = (now_s // LOOK_EVERY_S + 1) * LOOK_EVERY_S
        for number, incident in enumerate(self._scenario.incidents):
            if now_s < incident.start_s - BEFORE_S:
                continue
            standing, reach_m = self._queue(incident.edge, incident.position_m)
            phase = "before" if now_s < incident.start_s else "standing" if now_s < incident.end_s else "over"
            self.moments.append(
                QueueMoment(
                    time_s=round(now_s, 3),
                    clock=self._scenario.condition.clock_at(now_s),
                    incident=number,
                    kind=str(incident.kind),
                    edge=incident.edge,
                    phase=phase,
                    standing_veh=standing,
                    reach_m=round(reach_m, 1),
                    waiting_to_enter_veh=run.waiting(),
                )
            )

    def _queue(self, edge: str, position_m: float) -> tuple[int, float]:
        """How many stand, and how far back the last of them is."""
        front, seen = [(edge, position_m)], set[str]()
        standing, reach_m = 0, 0.0
        while front and len(seen) < MOST_EDGES:
            here, end_m = front.pop(0)  # end_m: metres from the edge's end, or the spot on it, back from the spot
            if here in seen or (here != edge and end_m > REACH_M):
                continue
            seen.add(here)
            stop_m = position_m if here == edge else self._network.edges[here].length_m
            backs = self._standing(here, edge, stop_m)
            offset_m = 0.0 if here == edge else end_m
            standing += len(backs)
            reach_m = max([reach_m, *(offset_m + back for back in backs)])
            if here == edge or backs:
                front += [(before, offset_m + stop_m) for before in self._network.edges[here].predecessors]
        return standing, reach_m

    def _standing(self, here: str, edge: str, stop_m: float) -> list[float]:
        """Metres from ``stop_m`` on an edge back to each vehicle that stands there and has still to pass."""
        ask = self._link.vehicle
        backs = []
        for vehicle in self._link.edge.getLastStepVehicleIDs(here):
            if _OWN.fullmatch(vehicle) or ask.getSpeed(vehicle) >= STANDING_MPS:
                continue
            back_m = stop_m - float(ask.getLanePosition(vehicle))
            if here == edge:
                if back_m > 0:
                    backs.append(back_m)
            elif edge in tuple(ask.getRoute(vehicle))[max(0, ask.getRouteIndex(vehicle)) :]:
                backs.append(max(back_m, 0.0))
        return backs


class QueueSimulator(Simulator):
    """Another simulator, whose runs also write the queues of a scenario's incidents to a table when they are closed.

    ``out``  the ``.csv`` with the columns of :class:`QueueMoment`
    """

    def __init__(self, simulator: Simulator, scenario: Scenario, network: RoadNetwork, out: Path) -> None:
        self.name = simulator.name
        self._simulator, self._scenario, self._network, self._out = simulator, scenario, network, out

    def open(self, request: RunRequest) -> Run:
        run = self._simulator.open(request)
        if run.connection is None:
            run.close()
            raise SimulationError(f"{self.name} has no vehicles on roads whose queue could be counted: use SUMO")
        log = QueueLog(Link(run.connection), self._network, self._scenario)
        step, close = run.step, run.close

        def stepped() -> None:
            step()
            log.look(run)

        def closed() -> None:
            close()
            if not log.is_written:
                log.is_written = True
                write_queues(log.moments, self._out)

        run.step, run.close = stepped, closed  # type: ignore[method-assign]
        return run


def write_queues(moments: Sequence[QueueMoment], out: Path) -> None:
    """Write the table, whole or not at all."""
    import csv

    with written_whole(out) as partial, partial.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, [each.name for each in fields(QueueMoment)])
        table.writeheader()
        table.writerows(asdict(each) for each in moments)


def read_queues(path: Path) -> list[QueueMoment]:
    """The table that :func:`write_queues` wrote."""
    import csv

    numbers = {"time_s": float, "incident": int, "standing_veh": int, "reach_m": float, "waiting_to_enter_veh": int}
    with path.open(newline="", encoding="utf-8") as stream:
        return [
            QueueMoment(**{name: numbers.get(name, str)(value) for name, value in row.items()})
            for row in csv.DictReader(stream)
        ]
