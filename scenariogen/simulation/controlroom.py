"""What a policy sees of a SUMO run: signals, virtual detectors, speed signs, ramp meters, and detected incidents."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from scenariogen.errors import PolicyError, SimulationError
from scenariogen.simulation.contract import ControlRoom, KnownIncident, RampMeter, Signal
from scenariogen.simulation.detectors import SumoDetectors
from scenariogen.simulation.incidentboard import IncidentBoard
from scenariogen.simulation.launch import SUMO_ERRORS
from scenariogen.simulation.meters import SumoMeters
from scenariogen.simulation.outages import FallibleDetectors
from scenariogen.simulation.programmes import ONLINE, PREFIX, kinds_of, run_programme
from scenariogen.simulation.signalling import ProgrammeKind
from scenariogen.simulation.speedsigns import SumoSpeedSigns
from scenariogen.simulation.stations import lanes_of

if TYPE_CHECKING:
    from scenariogen.simulation.sumo import SumoRun


TIMETABLES_EVERY_S = 10.0


class SumoSignal(Signal):
    """One traffic light over TraCI or libsumo."""

    def __init__(self, signal_id: str, connection: Any) -> None:
        self.id = signal_id
        self._lights = connection.trafficlight
        groups = [tuple((link[0], link[1]) for link in group) for group in self._lights.getControlledLinks(signal_id)]
        unused = len(self._lights.getRedYellowGreenState(signal_id)) - len(groups)  # characters after the last link's
        self.links = (*groups, *((),) * unused)
        self._running_kind: ProgrammeKind | None = None
        self._read_own()

    def _read_own(self) -> None:
        self._own = self._programme()
        phases = self._own.getPhases() if self._own is not None else ()
        self.phases = tuple((phase.state, float(phase.duration)) for phase in phases)
        self._own_programme = self._lights.getProgram(self.id)

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
        self._running_kind = None
        self._lights.setRedYellowGreenState(self.id, state)

    @property
    def programme_kinds(self) -> tuple[ProgrammeKind, ...]:
        return kinds_of(self._own)

    def run_programme(self, kind: ProgrammeKind) -> None:
        if kind not in self.programme_kinds:
            super().run_programme(kind)
        run_programme(self._lights, self.id, self._own, kind)
        self._running_kind = kind

    def follow_timetable(self) -> None:
        """A project's ``WAUT`` switches to others of its programmes by the time of day: those are the own ones from
        then on, and are run by the logic that was asked for where they can be."""
        if self._running_kind is None:
            return
        running = self._lights.getProgram(self.id)
        if running in (self._own_programme, ONLINE) or running.startswith(PREFIX):
            return
        self._read_own()
        if self._running_kind in self.programme_kinds:
            run_programme(self._lights, self.id, self._own, self._running_kind)

    def release(self) -> None:
        self._running_kind = None
        self._lights.setProgram(self.id, self._own_programme)


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

    def follow_timetables(self) -> None:
        """Of all signals that run a programme for a policy."""
        for signal in (self._signals or {}).values():
            signal.follow_timetable()

    def __getitem__(self, key: str) -> Signal:
        return self._all()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class SumoControlRoom(ControlRoom):
    """The control room of a :class:`~scenariogen.simulation.sumo.SumoRun`."""

    detectors: FallibleDetectors
    speed_signs: SumoSpeedSigns
    meters: Mapping[str, RampMeter]

    def __init__(self, run: "SumoRun", detectors: SumoDetectors) -> None:
        self._run = run
        self.step_length_s = run.step_length_s
        self.signals = self._signals = SumoSignals(run.connection)
        self.detectors = FallibleDetectors(detectors, stations=lanes_of(run.request.stations))
        self.detectors.fail("out of order", detectors.broken(), last_value=False)
        self.incident_board = IncidentBoard()
        self.speed_signs = SumoSpeedSigns(run.connection, run.project.network)
        self.meters = self._meters = SumoMeters(run, lag_s=detectors.lag_s)
        self._record = detectors.record
        self._timetables_due_s = float("-inf")

    @property
    def time_s(self) -> float:
        return self._run.time_s

    @property
    def known_incidents(self) -> tuple[KnownIncident, ...]:
        return self.incident_board.known

    def after_step(self, time_s: float) -> None:
        """Read detectors, look for switches of plans, and work the meters; called by the run after every step."""
        self._record(time_s)
        if time_s >= self._timetables_due_s:
            self._timetables_due_s = time_s + TIMETABLES_EVERY_S
            self._signals.follow_timetables()
        if self._meters.in_use:
            self._meters.after_step(time_s)

    def give_back(self) -> None:
        """Switch signs and meters off, so that limits, programmes and vehicles are as they would be without them."""
        try:
            try:
                self._meters.clear_all()
            finally:
                self.speed_signs.clear_all()
        except Exception as error:
            if type(error).__name__ not in SUMO_ERRORS:
                raise
            raise SimulationError(f"what the policy switched on could not be switched off: {error}") from error
