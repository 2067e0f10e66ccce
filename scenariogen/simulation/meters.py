"""Ramp meters of a SUMO run. All of them keep one account of whom they let pass, by the clock.

A vehicle may pass once its time has come; the next one's comes 3600/rate seconds later. Up to :data:`STARTING_S` that a
vehicle passes late, since it starts from rest, are no loss to those behind it; one that passes without leave, since it
could no longer brake, is counted as if it had it. So the rate is met while a queue stands, and no credit gathers while
nobody comes.
"""

from abc import abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from scenariogen.errors import PolicyError
from scenariogen.simulation.contract import RampMeter
from scenariogen.simulation.launch import SUMO_ERRORS
from scenariogen.simulation.onramps import OnRamp, on_ramps
from scenariogen.simulation.roadside import checked_rate

if TYPE_CHECKING:
    from scenariogen.simulation.sumo import SumoRun

STARTING_S = 6.0
QUEUE_EVERY_S = 1.0
GREEN, RED = "G", "r"


_FAST_DRIVERS = 1.5
"""Nobody exceeds the limit by more than this factor."""


class SumoMeter(RampMeter):
    """What signal and stop line have in common: the clock, the queue, the count."""

    def __init__(self, run: "SumoRun", ramp: OnRamp, *, lag_s: float) -> None:
        self.edge, self.upstream, self.storage = ramp.edge, ramp.upstream, ramp.storage_vehicles
        self.merge_lanes = tuple(loop.lane for loop in ramp.loops)
        self._run, self._ramp, self._lag_s = run, ramp, lag_s
        self._rate: float | None = None
        self._due_s = float("-inf")
        self._passed = 0
        self._queues: deque[tuple[float, int]] = deque()
        self._here: set[str] = set()
        edges = run.project.network().edges
        fastest_mps = _FAST_DRIVERS * max(edges[name].speed_mps for name in (ramp.edge, *ramp.storage))
        self._may_be_jumped = edges[ramp.edge].length_m < fastest_mps * run.step_length_s
        self._coming: set[str] = set()
        """Who was seen on the edges before the last one, and is not known to have come onto it."""

    @property
    def rate_veh_h(self) -> float | None:
        return self._rate

    def set_rate(self, rate_veh_h: float) -> None:
        rate = checked_rate(self.edge, rate_veh_h)
        if self._rate is None:
            self._due_s = self._run.time_s
        else:  # who waits has waited a share of his turn already
            self._due_s = min(self._due_s, self._run.time_s + 3600.0 / rate)
        self._rate = rate

    def clear(self) -> None:
        if self._rate is not None:
            self._rate = None
            self._open()

    @property
    def queue(self) -> int:
        last_s = self._run.time_s - self._lag_s + 1e-6
        return self._queues[0][1] if self._queues and self._queues[0][0] <= last_s else 0

    @property
    def passed(self) -> int:
        return self._passed

    def after_step(self, time_s: float) -> None:
        """Count the queue once a second; let pass whose time has come."""
        if not self._queues or time_s - self._queues[-1][0] >= QUEUE_EVERY_S - 1e-6:
            read = self._run.connection.edge.getLastStepVehicleNumber
            self._queues.append((time_s, sum(read(edge) for edge in self._ramp.storage)))
            while len(self._queues) > 1 and self._queues[1][0] <= time_s - self._lag_s + 1e-6:
                self._queues.popleft()
        lanes = self._vehicles()
        here = {vehicle for lane in lanes for vehicle in lane}
        gone = self._here - here
        if self._may_be_jumped:
            gone |= self._jumped(here)
        self._here = here
        self._passed += len(gone)
        if self._rate is not None:
            self._work(time_s, lanes, gone)

    def _jumped(self, here: set[str]) -> set[str]:
        """Who has passed a last edge that is shorter than a step without being seen on it."""
        read = self._run.connection.edge.getLastStepVehicleIDs
        behind = {vehicle for edge in self._ramp.storage[1:] for vehicle in read(edge)}
        self._coming = (self._coming | behind) - here
        away = self._coming - behind
        past = {vehicle for vehicle in away if self._is_past(vehicle)}
        self._coming -= past
        return past

    def _is_past(self, vehicle: str) -> bool:
        ask = self._run.connection.vehicle
        try:
            place = ask.getRouteIndex(vehicle)
            return self._ramp.edge in ask.getRoute(vehicle)[: place + 1]
        except Exception as error:
            if type(error).__name__ not in SUMO_ERRORS or type(error).__name__ == "FatalTraCIError":
                raise
            self._coming.discard(vehicle)  # removed
            return False

    def _may_pass(self, time_s: float) -> bool:
        return time_s >= self._due_s - 1e-6

    def _let_pass(self, time_s: float) -> None:
        """One vehicle has had its turn."""
        headway_s = 3600.0 / (self._rate or 3600.0)
        self._due_s = max(self._due_s, time_s - min(STARTING_S, headway_s)) + headway_s

    def _vehicles(self) -> list[list[str]]:
        """Ids on each lane before the stop line, the one nearest to it first."""
        read = self._run.connection.lane.getLastStepVehicleIDs
        return [list(read(lane))[::-1] for lane in self._ramp.lanes]

    @abstractmethod
    def _work(self, time_s: float, lanes: list[list[str]], gone: set[str]) -> None:
        """Let pass whose time has come. ``lanes`` as of :meth:`_vehicles`, ``gone`` have passed in the last step."""

    @abstractmethod
    def _open(self) -> None:
        """Let everybody pass again."""


class SignalMeter(SumoMeter):
    """A ramp with a signal of its own: green until a vehicle has passed, then red until the next one's time."""

    def __init__(self, run: "SumoRun", ramp: OnRamp, *, lag_s: float) -> None:
        super().__init__(run, ramp, lag_s=lag_s)
        self._lights = run.connection.trafficlight
        self._programme = ""
        self._links = 0
        self._shown = ""

    def set_rate(self, rate_veh_h: float) -> None:
        if self.rate_veh_h is None:
            checked_rate(self.edge, rate_veh_h)
            self._programme = self._lights.getProgram(self._ramp.signal)
            self._links = len(self._lights.getRedYellowGreenState(self._ramp.signal))
            self._shown = ""
        super().set_rate(rate_veh_h)

    def _work(self, time_s: float, lanes: list[list[str]], gone: set[str]) -> None:
        for _ in gone:
            self._let_pass(time_s)
        wanted = GREEN if self._may_pass(time_s) else RED
        if wanted != self._shown:
            self._lights.setRedYellowGreenState(self._ramp.signal, wanted * self._links)
            self._shown = wanted

    def _open(self) -> None:
        self._lights.setProgram(self._ramp.signal, self._programme)


class SumoMeters(Mapping[str, RampMeter]):
    """All meters by edge. The network is searched for on-ramps on first use; from then on they are worked."""

    def __init__(self, run: "SumoRun", *, lag_s: float) -> None:
        self._run, self._lag_s = run, lag_s
        self._meters: dict[str, SumoMeter] | None = None
        self.in_use = False

    def after_step(self, time_s: float) -> None:
        """Work all meters; called after every step while :attr:`in_use`."""
        for meter in (self._meters or {}).values():
            meter.after_step(time_s)

    def clear_all(self) -> None:
        """Every meter is off."""
        for meter in (self._meters or {}).values():
            meter.clear()

    def _all(self) -> dict[str, SumoMeter]:
        if self._meters is None:
            from scenariogen.simulation.stopline import StopLineMeter

            ramps = on_ramps(self._run.project.network())
            self._meters = {
                edge: (SignalMeter if ramp.signal else StopLineMeter)(self._run, ramp, lag_s=self._lag_s)
                for edge, ramp in ramps.items()
            }
            self.in_use = bool(self._meters)
        return self._meters

    def __getitem__(self, key: str) -> RampMeter:
        meters = self._all()
        if key not in meters:
            raise PolicyError(
                f"no on-ramp ends at edge {key!r}; there are {len(meters)}: {', '.join(list(meters)[:8])}"
            )
        return meters[key]

    def __contains__(self, key: object) -> bool:
        return key in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())
