"""A simulator without SUMO: point queues on a chain of edges, deterministic, for tests of everything around it.

Vehicles drive edge after edge in free-flow time and leave an edge through a bottleneck that discharges a fixed
number a second. An edge may be blocked for a while, with a share of its capacity left, and its signal may hold it
back; so the delay of a run depends on scenario, seed, demand scale and policy, as with SUMO, in milliseconds.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from scenariogen.errors import ConnectionLostError, PolicyError, SimulationError
from scenariogen.randomness import child_seed
from scenariogen.simulation.contract import (
    ControlRoom,
    Counters,
    Departure,
    DetectorBank,
    Run,
    RunRequest,
    Signal,
    Simulator,
    scale_of_entry,
)

GREEN, RED = "G", "r"


@dataclass(frozen=True, kw_only=True)
class DummyEdge:
    """One edge of the chain. With ``signal``, it discharges only while its signal shows green."""

    id: str
    travel_s: int = 30
    capacity_per_s: float = 0.5
    signal: bool = False


@dataclass(frozen=True, kw_only=True)
class DummyProject:
    """What the dummy simulates: a chain of edges and an arrival rate at its head."""

    edges: tuple[DummyEdge, ...] = (DummyEdge(id="a", signal=True), DummyEdge(id="b"))
    vehicles_per_hour: float = 900.0
    green_s: int = 40
    cycle_s: int = 60
    room: int = 400
    """Vehicles that fit in the network; more wait outside."""


class DummySimulator(Simulator):
    """Opens runs of the dummy."""

    name = "dummy"

    def __init__(self, project: DummyProject = DummyProject()) -> None:
        self.project = project

    def open(self, request: RunRequest) -> "DummyRun":
        unknown = sorted(set(request.detector_lanes) - {f"{edge.id}_0" for edge in self.project.edges})
        if unknown:
            raise SimulationError(f"lanes {unknown[:5]} are asked to carry detectors but are not in the network")
        if request.loops:
            raise SimulationError(f"the dummy simulator has no loops, and {len(request.loops)} are asked for; run SUMO")
        request.folder.mkdir(parents=True, exist_ok=True)
        return DummyRun(self.project, request)


@dataclass
class _Queue:
    """Vehicles on one edge: those driving, by the time at which they reach its end, and the queue there."""

    edge: DummyEdge
    driving: deque[tuple[float, str]] = field(default_factory=deque)
    queue: deque[str] = field(default_factory=deque)
    credit: float = 0.0
    blocked: list[tuple[float, float, float]] = field(default_factory=list)


class DummySignal(Signal):
    """Green and red in turn, until a policy sets it."""

    def __init__(self, run: "DummyRun", edge: DummyEdge) -> None:
        self.id = edge.id
        self.links = (((f"{edge.id}_0", f"{edge.id}_out"),),)
        project = run.project
        self.phases = ((GREEN, float(project.green_s)), (RED, float(project.cycle_s - project.green_s)))
        self._run = run
        self._set = ""

    @property
    def state(self) -> str:
        if self._set:
            return self._set
        project = self._run.project
        second = (self._run.time_s - self._run.request.window.begin_s) % project.cycle_s
        return GREEN if second < project.green_s else RED

    def set_state(self, state: str) -> None:
        if len(state) != len(self.links):
            raise PolicyError(f"signal {self.id!r} was given the state {state!r}, expected one character")
        self._set = state

    def release(self) -> None:
        self._set = ""


class DummyDetectors(DetectorBank):
    """Queues at the ends of the edges, as they were ``lag_s`` ago."""

    length_m = 60.0
    lag_s = 10.0

    def __init__(self, run: "DummyRun") -> None:
        self.lanes = run.request.detector_lanes
        self._run = run
        self._readings: deque[tuple[float, dict[str, int]]] = deque()

    def record(self, time_s: float, counts: dict[str, int]) -> None:
        """Take a reading."""
        self._readings.append((time_s, counts))
        while len(self._readings) > 1 and self._readings[1][0] <= time_s - self.lag_s:
            self._readings.popleft()

    def count(self, lane: str) -> int:
        if lane not in self.lanes:
            raise PolicyError(f"lane {lane!r} has no detector; {len(self.lanes)} lanes have one")
        if not self._readings or self._readings[0][0] > self._run.time_s - self.lag_s:
            return 0
        return self._readings[0][1].get(lane, 0)


class DummyControlRoom(ControlRoom):
    """The control room of a :class:`DummyRun`."""

    signals: Mapping[str, Signal]

    def __init__(self, run: "DummyRun", detectors: DummyDetectors) -> None:
        self.step_length_s = run.step_length_s
        self.signals = {edge.id: DummySignal(run, edge) for edge in run.project.edges if edge.signal}
        self.detectors = detectors
        self._run = run

    @property
    def time_s(self) -> float:
        return self._run.time_s


class DummyRun(Run):
    """One run of the chain. :meth:`block` stands in for the injection of an incident."""

    def __init__(self, project: DummyProject, request: RunRequest) -> None:
        self.project = project
        self.request = request
        self.step_length_s = 1.0
        self.connection = None
        self._time_s = request.window.begin_s
        self._queues = [_Queue(edge) for edge in project.edges]
        self._outside: deque[str] = deque()
        self._due_s: dict[str, float] = {}
        self._loaded: tuple[str, ...] = ()
        self._arrived: tuple[str, ...] = ()
        self._departed: tuple[str, ...] = ()
        self._left = 0
        self._inside = 0
        self._open = True
        # the seed shifts the demand by up to half a headway and changes its level by up to 5 %
        share = (child_seed(request.seed, "dummy") % 10_001) / 10_000
        scale = scale_of_entry(request, project.edges[0].id)
        self._per_step = project.vehicles_per_hour * scale * (0.95 + 0.1 * share) / 3600
        self._owed = share / 2
        self._detectors = DummyDetectors(self)
        self.control_room = DummyControlRoom(self, self._detectors)

    def block(self, edge: str, *, start_s: float, end_s: float, capacity_left: float) -> None:
        """Leave an edge a share of its capacity between two times."""
        for queue in self._queues:
            if queue.edge.id == edge:
                queue.blocked.append((start_s, end_s, capacity_left))
                return
        raise SimulationError(f"edge {edge!r} is not in the network")

    @property
    def time_s(self) -> float:
        return self._time_s

    def step(self) -> None:
        if not self._open:
            raise ConnectionLostError("the simulation is closed")
        arrived: list[str] = []
        for number in reversed(range(len(self._queues))):
            for vehicle in self._discharge(self._queues[number]):
                if number + 1 < len(self._queues):
                    self._enter(self._queues[number + 1], vehicle)
                else:
                    arrived.append(vehicle)
        self._arrived = tuple(arrived)
        self._left += len(arrived)
        self._inside -= len(arrived)
        self._depart()
        self._time_s += self.step_length_s
        self._detectors.record(self._time_s, {f"{q.edge.id}_0": len(q.queue) for q in self._queues})

    def _discharge(self, queue: _Queue) -> list[str]:
        while queue.driving and queue.driving[0][0] <= self._time_s:
            queue.queue.append(queue.driving.popleft()[1])
        edge = queue.edge
        shares = [left for start, end, left in queue.blocked if start <= self._time_s < end]
        green = not edge.signal or self.control_room.signals[edge.id].state.upper() == GREEN
        queue.credit += edge.capacity_per_s * min(shares, default=1.0) * green
        gone = [queue.queue.popleft() for _ in range(min(math.floor(queue.credit + 1e-9), len(queue.queue)))]
        queue.credit = min(queue.credit - len(gone), 1.0)  # unused green is lost
        return gone

    def _depart(self) -> None:
        self._owed += self._per_step
        loaded = []
        while self._owed >= 1:
            self._owed -= 1
            vehicle = f"v{len(self._due_s)}"
            self._due_s[vehicle] = self._time_s
            self._outside.append(vehicle)
            loaded.append(vehicle)
        self._loaded = tuple(loaded)
        room = min(len(self._outside), self.project.room - self._inside)
        self._departed = tuple(self._outside.popleft() for _ in range(room))
        for vehicle in self._departed:
            self._enter(self._queues[0], vehicle)
        self._inside += len(self._departed)

    def _enter(self, queue: _Queue, vehicle: str) -> None:
        queue.driving.append((self._time_s + queue.edge.travel_s, vehicle))

    def running(self) -> int:
        return self._inside

    def waiting(self) -> int:
        return len(self._outside)

    def loaded_ids(self) -> tuple[str, ...]:
        return self._loaded

    def is_known(self, vehicle: str) -> bool:
        return vehicle in self._outside or vehicle in self.running_ids()

    def departed_ids(self) -> tuple[str, ...]:
        return self._departed

    def arrived_ids(self) -> tuple[str, ...]:
        return self._arrived

    def running_ids(self) -> tuple[str, ...]:
        return tuple(v for q in self._queues for v in (*q.queue, *(vehicle for _, vehicle in q.driving)))

    def waiting_ids(self) -> tuple[str, ...]:
        return tuple(self._outside)

    def reached_destination(self, vehicle: str) -> bool:
        return vehicle in self._arrived

    def departure(self, vehicle: str) -> Departure | None:
        if vehicle not in self._due_s:
            return None
        alone_s = float(sum(queue.edge.travel_s for queue in self._queues))
        return Departure(self._due_s[vehicle], alone_s, vehicle not in self._outside)

    def counters(self) -> Counters:
        return Counters(running=self.running(), waiting=self.waiting(), left=self._left, loaded=len(self._due_s))

    def driven_m(self) -> dict[str, float]:
        """Ten metres for each second driven; vehicles in a queue stand where they stood."""
        driven: dict[str, float] = {}
        before_s = 0.0
        for queue in self._queues:
            driven |= dict.fromkeys(queue.queue, 10.0 * (before_s + queue.edge.travel_s))
            driven |= {
                vehicle: 10.0 * (before_s + queue.edge.travel_s - max(end_s - self._time_s, 0.0))
                for end_s, vehicle in queue.driving
            }
            before_s += queue.edge.travel_s
        return driven

    def close(self) -> None:
        self._open = False
