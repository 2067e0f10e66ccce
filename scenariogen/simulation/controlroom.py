"""What a policy sees of a SUMO run: signals, virtual lane detectors, and incidents once they are detected."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from scenariogen.errors import PolicyError
from scenariogen.simulation.contract import ControlRoom, DetectorBank, KnownIncident, Signal
from scenariogen.simulation.incidentboard import IncidentBoard
from scenariogen.simulation.outages import FallibleDetectors
from scenariogen.simulation.programmes import kinds_of, run_programme
from scenariogen.simulation.signalling import ProgrammeKind
from scenariogen.simulation.staging import DETECTOR_LENGTH_M, detector_id

if TYPE_CHECKING:
    from scenariogen.simulation.sumo import SumoRun

DETECTOR_LAG_S = 10.0
READING_EVERY_S = 1.0
"""Detectors are read at most this often, however short the steps."""


class SumoSignal(Signal):
    """One traffic light over TraCI or libsumo."""

    def __init__(self, signal_id: str, connection: Any) -> None:
        self.id = signal_id
        self._lights = connection.trafficlight
        self.links = tuple(
            tuple((link[0], link[1]) for link in group) for group in self._lights.getControlledLinks(signal_id)
        )
        self._own = self._programme()
        phases = self._own.getPhases() if self._own is not None else ()
        self.phases = tuple((phase.state, float(phase.duration)) for phase in phases)

    def _programme(self) -> Any:
        name = self._lights.getProgram(self.id)
        logics = self._lights.getAllProgramLogics(self.id)
        return next((logic for logic in logics if logic.programID == name), None)

    @property
    def state(self) -> str:
        return self._lights.getRedYellowGreenState(self.id)

    def set_state(self, state: str) -> None:
        if len(state) != len(self.links):
            raise PolicyError(
                f"signal {self.id!r} was given the state {state!r} of {len(state)} characters, expected one for each "
                f"of its {len(self.links)} links"
            )
        self._lights.setRedYellowGreenState(self.id, state)

    @property
    def programme_kinds(self) -> tuple[ProgrammeKind, ...]:
        return kinds_of(self._own)

    def run_programme(self, kind: ProgrammeKind) -> None:
        if kind not in self.programme_kinds:
            super().run_programme(kind)
        run_programme(self._lights, self.id, self._own, kind)


class SumoSignals(Mapping[str, Signal]):
    """All signals by id. Read on first use, all at once, so that each knows its programme before any control."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._signals: dict[str, SumoSignal] | None = None

    def _all(self) -> dict[str, SumoSignal]:
        if self._signals is None:
            ids = self._connection.trafficlight.getIDList()
            self._signals = {name: SumoSignal(name, self._connection) for name in ids}
        return self._signals

    def __getitem__(self, key: str) -> Signal:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class SumoDetectors(DetectorBank):
    """Lane-area detectors over the last metres of each lane (the whole lane where it is shorter).

    Read once a second while the run has any; the readings of the lag are kept in a ring. Over TraCI they come
    with the step's answer (subscription), in libsumo one call each.
    """

    def __init__(self, run: "SumoRun", lanes: tuple[str, ...], *, lag_s: float = DETECTOR_LAG_S) -> None:
        self.lanes = lanes
        self.length_m = DETECTOR_LENGTH_M
        self.lag_s = lag_s
        self._run = run
        self._ids = [detector_id(number) for number in range(len(lanes))]
        self._index = {lane: number for number, lane in enumerate(lanes)}
        self._readings: deque[tuple[float, list[int]]] = deque()
        self._area = run.connection.lanearea
        self._by_subscription = run.by_socket
        if self._by_subscription:
            from traci.constants import LAST_STEP_VEHICLE_NUMBER

            self._variable = LAST_STEP_VEHICLE_NUMBER
            for name in self._ids:
                self._area.subscribe(name, [self._variable])

    def record(self, time_s: float) -> None:
        """Take a reading; called by the run after every step."""
        if not self._ids or (self._readings and time_s - self._readings[-1][0] < READING_EVERY_S - 1e-6):
            return
        if self._by_subscription:
            answers = self._area.getAllSubscriptionResults()
            counts = [answers[name][self._variable] for name in self._ids]
        else:
            read = self._area.getLastStepVehicleNumber
            counts = [read(name) for name in self._ids]
        self._readings.append((time_s, counts))
        while len(self._readings) > 1 and self._readings[1][0] <= time_s - self.lag_s + 1e-6:
            self._readings.popleft()

    def count(self, lane: str) -> int:
        number = self._index.get(lane)
        if number is None:
            raise PolicyError(f"lane {lane!r} has no detector; {len(self.lanes)} lanes have one")
        if not self._readings or self._readings[0][0] > self._run.time_s - self.lag_s + 1e-6:
            return 0
        return self._readings[0][1][number]


class SumoControlRoom(ControlRoom):
    """The control room of a :class:`~scenariogen.simulation.sumo.SumoRun`."""

    detectors: FallibleDetectors

    def __init__(self, run: "SumoRun", detectors: SumoDetectors) -> None:
        self._run = run
        self.step_length_s = run.step_length_s
        self.signals = SumoSignals(run.connection)
        self.detectors = FallibleDetectors(detectors)
        self.incident_board = IncidentBoard()

    @property
    def time_s(self) -> float:
        return self._run.time_s

    @property
    def known_incidents(self) -> tuple[KnownIncident, ...]:
        return self.incident_board.known
