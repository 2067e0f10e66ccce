"""What a simulator, a run and a policy are to each other.

A :class:`Simulator` opens; a :class:`Run` is one run. Constructors only store; everything that a run takes is
given back in ``close``. A :class:`Policy` is handed the run's :class:`ControlRoom` and nothing else: what a
control room sees (detectors, signals), never the scenario.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from scenariogen.incidents.phases import IncidentPhase
from scenariogen.network import RoadNetwork as RoadNetwork
from scenariogen.simulation.roadside import (
    DetectorBank as DetectorBank,
)
from scenariogen.simulation.roadside import (
    DetectorOptions as DetectorOptions,
)
from scenariogen.simulation.roadside import (
    Loop as Loop,
)
from scenariogen.simulation.roadside import (
    LoopReading as LoopReading,
)
from scenariogen.simulation.roadside import (
    LoopSite as LoopSite,
)
from scenariogen.simulation.roadside import (
    NoSpeedSigns as NoSpeedSigns,
)
from scenariogen.simulation.roadside import (
    RampMeter as RampMeter,
)
from scenariogen.simulation.roadside import (
    Signal as Signal,
)
from scenariogen.simulation.roadside import (
    SignedEdge as SignedEdge,
)
from scenariogen.simulation.roadside import (
    SpeedSigns as SpeedSigns,
)
from scenariogen.simulation.routeadvice import Advice as Advice
from scenariogen.simulation.routeadvice import NoAdvice as NoAdvice
from scenariogen.simulation.routeadvice import RouteAdvice as RouteAdvice
from scenariogen.simulation.signalling import GREEN as GREEN
from scenariogen.simulation.signalling import YELLOW as YELLOW
from scenariogen.simulation.signalling import ProgrammeKind as ProgrammeKind
from scenariogen.simulation.signalling import SafeSwitch as SafeSwitch
from scenariogen.simulation.signalling import change_intervals as change_intervals
from scenariogen.simulation.signalling import green_states as green_states
from scenariogen.simulation.signalling import transition as transition
from scenariogen.simulation.stations import Station
from scenariogen.trajectories.entries import OTHERS
from scenariogen.window import StudyWindow

USUAL_DETECTORS = DetectorOptions()


class EndReason(StrEnum):
    """Why a run ended. The text is for people."""

    HORIZON = "reached the end of the study window"
    LOCKED_UP = "the network locked up; counted to the end of the study window"
    SIMULATOR_DIED = "the simulator died"
    POLICY_RAISED = "the policy raised an error"
    INJECTION_FAILED = "the scenario could not be injected"
    TIME_LIMIT = "it took longer than the time limit"


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """All that decides a run.

    ``folder``        the run's own folder; every output, the project's own included, goes there
    ``demand_scale``  factor on the project's demand
    ``entry_scales``  factors on the demand of single entry edges, ``*`` for those not named (without it they follow
                      ``demand_scale``); empty: all follow ``demand_scale``
    ``outputs``       SUMO options that write, e.g. ``{"fcd-output": "fcd.parquet"}``, relative to ``folder``
    ``detector_lanes``  lanes that get a virtual detector over their last metres
    ``loops``         induction loops that report by interval, at most one for each lane
    ``detector_options``  lag, interval, error and outages of all detectors
    ``stations``      measuring stations, whose loops are read once a minute
    ``edge_data_period_s``  0, or the period at which traffic by edge is written to ``edgedata.xml``
    ``emissions``     write what vehicles emit, by edge, for :mod:`scenariogen.simulation.emissions`
    ``options``       further SUMO options, which win over the project's
    ``keep``          the folder stays: what is otherwise shared by all runs for a time lies in it, too
    """

    window: StudyWindow
    seed: int
    folder: Path
    demand_scale: float = 1.0
    entry_scales: Mapping[str, float] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    detector_lanes: tuple[str, ...] = ()
    loops: tuple[Loop, ...] = ()
    detector_options: DetectorOptions = USUAL_DETECTORS
    stations: tuple[Station, ...] = ()
    edge_data_period_s: float = 0.0
    emissions: bool = False
    options: Mapping[str, str] = field(default_factory=dict)
    keep: bool = False


def scale_of_entry(request: RunRequest, entry: str) -> float:
    """The factor on the demand of one entry edge."""
    return request.entry_scales.get(entry, request.entry_scales.get(OTHERS, request.demand_scale))


@dataclass(frozen=True, kw_only=True)
class KnownIncident:
    """An incident as a control room knows it, which is from its detection until the queue behind it has gone.

    ``number``          names it for as long as it is known
    ``position_m``      front of the blockage, metres from the start of the edge
    ``lanes``           SUMO lane indices that are blocked now; empty: on the shoulder, or the road is clear, or nobody
                        knows (``lanes_known``)
    ``since_s``         simulation second at which it became known, not of the beginning
    ``expected_end_s``  when the road is expected to be clear, by published durations and not by the scenario's own end
                        (:func:`scenariogen.incidents.phases.expected_remaining_s`); once it is clear, when it was
    """

    number: int
    kind: str
    edge: str
    position_m: float
    lanes: tuple[int, ...]
    since_s: float
    phase: IncidentPhase
    expected_end_s: float
    lanes_known: bool = True


PARTS: dict[str, str] = {
    "detectors": "detectors",
    "signals": "signals",
    "incidents": "known_incidents",
    "speed_signs": "speed_signs",
    "meters": "meters",
    "advice": "advice",
}
"""Parts of a control room that a policy declares in ``reads``, each with its attribute of :class:`ControlRoom`."""


class ControlRoom(ABC):
    """The part of a run that a policy sees."""

    step_length_s: float
    signals: Mapping[str, Signal]
    detectors: DetectorBank
    speed_signs: SpeedSigns = NoSpeedSigns()
    meters: Mapping[str, RampMeter] = {}
    """Ramp meters by the edge at whose end they stand; empty where the network has no on-ramp."""
    advice: RouteAdvice = NoAdvice()
    network: RoadNetwork | None = None
    """The road map; None where the simulator has none."""

    @property
    @abstractmethod
    def time_s(self) -> float:
        """Simulation second."""

    @property
    def known_incidents(self) -> tuple[KnownIncident, ...]:
        """Incidents that were detected; none where nobody reports any."""
        return ()

    def give_back(self) -> None:  # noqa: B027 - a room may have nothing that outlasts its policy
        """Switch off what a policy switched on. Safe to call twice; a ``with`` block does it."""

    def __enter__(self) -> "ControlRoom":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            self.give_back()
        except Exception as second:
            if error is None:
                raise
            error.add_note(f"the control room could not be given back: {type(second).__name__}: {second}")


class Policy(ABC):
    """A control policy. ``start`` once, ``step`` after every simulation step, ``finish`` once, always."""

    name: str = ""
    reads: tuple[str, ...] = ("detectors", "signals", "incidents")
    """The parts of the control room that it uses, out of :data:`PARTS`. Using another one is an error."""
    needs_detectors: bool = False
    """True: every lane that leads to a signal gets a (virtual) detector."""
    needs_loops: tuple[LoopSite, ...] = ()
    """Kinds of places that get (virtual) induction loops."""
    detector_options: DetectorOptions = USUAL_DETECTORS
    """Lag, interval, error and outages of the detectors it works with."""

    def loops(self, network: RoadNetwork) -> tuple[Loop, ...]:
        """Further induction loops that it needs; where several are asked for on a lane, the first holds."""
        return ()

    def start(self, run: ControlRoom) -> None:  # noqa: B027 - a policy may have nothing to prepare
        """Called when the simulation stands at its first second."""

    @abstractmethod
    def step(self, run: ControlRoom, time_s: float) -> None:
        """Called after every simulation step."""

    def finish(self, run: ControlRoom) -> None:  # noqa: B027 - a policy may have nothing to finish
        """Called once at the end, also after an error."""


@dataclass(frozen=True)
class Departure:
    """What the demand asks for one vehicle.

    ``due_s``        first step at or after the departure asked for; nan: not known before it departs
    ``free_flow_s``  time alone on its original route, planned stops included; nan: not known before it departs
    ``vehicle_class``  SUMO's, such as ``passenger`` or ``bus``
    """

    due_s: float
    free_flow_s: float
    has_departed: bool
    vehicle_class: str = "passenger"


@dataclass(frozen=True, kw_only=True)
class Counters:
    """Totals of a run so far: ``left`` counts vehicles that arrived or were removed, ``loaded`` all, due or not."""

    running: int
    waiting: int
    left: int
    loaded: int = 0
    teleports: int = 0
    collisions: int = 0
    emergency_stops: int = 0
    emergency_brakings: int = 0


class Run(ABC):
    """One simulation in progress. A context manager: ``with simulator.open(request) as run``."""

    request: RunRequest
    step_length_s: float
    connection: Any
    """What speaks to SUMO: the libsumo module or a TraCI connection; None for the dummy."""
    control_room: ControlRoom

    @property
    @abstractmethod
    def time_s(self) -> float:
        """Simulation second."""

    @abstractmethod
    def step(self) -> None:
        """Advance by one step, or raise ``SimulationError``."""

    @abstractmethod
    def running(self) -> int:
        """Vehicles in the network, ours included."""

    @abstractmethod
    def waiting(self) -> int:
        """Vehicles that are due but not inserted, ours included."""

    @abstractmethod
    def loaded_ids(self) -> tuple[str, ...]:
        """Vehicles that became known since the step before, due or not yet due."""

    @abstractmethod
    def is_known(self, vehicle: str) -> bool:
        """False for a vehicle that is gone, or was dropped before it could enter."""

    @abstractmethod
    def departed_ids(self) -> tuple[str, ...]:
        """Vehicles that entered the network in the last step."""

    @abstractmethod
    def arrived_ids(self) -> tuple[str, ...]:
        """Vehicles that left in the last step, at their destination or removed on the way."""

    @abstractmethod
    def running_ids(self) -> tuple[str, ...]:
        """Ids of the vehicles that :meth:`running` counts."""

    @abstractmethod
    def waiting_ids(self) -> tuple[str, ...]:
        """Ids of the vehicles that :meth:`waiting` counts."""

    @abstractmethod
    def reached_destination(self, vehicle: str) -> bool:
        """Whether a vehicle that left in the last step was at the end of its route."""

    @abstractmethod
    def departure(self, vehicle: str) -> Departure | None:
        """What the demand asked for a vehicle; None where the simulation no longer knows it."""

    @abstractmethod
    def counters(self) -> Counters:
        """Totals since the run began."""

    @abstractmethod
    def driven_m(self) -> dict[str, float]:
        """Metres that each running vehicle has driven."""

    @abstractmethod
    def close(self) -> None:
        """End the simulation and give back everything. Safe to call twice."""

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Simulator(ABC):
    """Opens runs of one project."""

    name: str

    @abstractmethod
    def open(self, request: RunRequest) -> Run:
        """Start a run, or raise ``SimulationError`` or ``ProjectError`` with SUMO's own words."""
