"""What stands at the road for a control room: signals, detectors, speed signs, ramp meters.

Policies import these names from ``scenariogen.simulation.contract``.
"""

import math
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from scenariogen.errors import PolicyError, Problems
from scenariogen.randomness import child_seed
from scenariogen.simulation.signalling import ProgrammeKind

NAN = float("nan")


class LoopSite(StrEnum):
    """Places of loops that a policy may ask for by kind, without knowing the network."""

    MERGES = "on every motorway lane, where the acceleration lane of an on-ramp ends"
    MOTORWAY = "on every lane of every motorway edge, in its middle"


@dataclass(frozen=True, kw_only=True)
class Loop:
    """An induction loop: the lane, and metres from the lane's start (negative: from its end). One for each lane."""

    lane: str
    position_m: float


class LoopReading(NamedTuple):
    """What a loop measured over one interval; nan without data.

    ``flow_veh_h``   vehicles that passed, as an hourly rate
    ``occupancy``    share of the time (0 to 1) in which a vehicle stood over the loop
    ``speed_mps``    mean speed of the vehicles; nan where none passed
    ``end_s``        simulation second at which the interval ended; nan before the first
    """

    flow_veh_h: float = NAN
    occupancy: float = NAN
    speed_mps: float = NAN
    end_s: float = NAN


class Signal(ABC):
    """One traffic light as a policy may see and set it."""

    id: str
    links: tuple[tuple[tuple[str, str], ...], ...]
    """For each position of the state string, the (from lane, to lane) pairs that it controls."""
    phases: tuple[tuple[str, float], ...]
    """State string and duration (s) of each phase of the programme in force when the run began."""

    @property
    @abstractmethod
    def state(self) -> str:
        """State string in force."""

    @abstractmethod
    def set_state(self, state: str) -> None:
        """Put a state string in force until the next call."""

    def release(self) -> None:
        """Let the programme that was in force when the run began go on, from where its clock is."""
        raise PolicyError(f"signal {self.id!r} cannot be given back to its own programme here")

    @property
    def programme_kinds(self) -> tuple[ProgrammeKind, ...]:
        """Logics by which the simulator can run the signal's own phases; none for rail signals and dual rings."""
        return ()

    def run_programme(self, kind: ProgrammeKind) -> None:
        """Hand the phases of the signal's own programme to the simulator's logic of that kind, from the one showing on.

        Raises ``PolicyError`` where :attr:`programme_kinds` lacks ``kind``, or where none of the phases shows.
        """
        raise PolicyError(f"signal {self.id!r} cannot run a {kind} programme; it can: {list(self.programme_kinds)}")


class DetectorBank(ABC):
    """Lane counts, and what loops report at the end of each interval; as old as the lag says.

    ``lanes`` have counts, ``loops`` are the lanes with a loop.
    """

    lanes: tuple[str, ...]
    length_m: float
    lag_s: float
    loops: tuple[str, ...] = ()
    interval_s: float = 30.0

    @abstractmethod
    def count(self, lane: str) -> int:
        """Vehicles on the last ``length_m`` of ``lane``, ``lag_s`` ago (0 before the first reading or without data)."""

    def reading(self, lane: str) -> LoopReading:
        """The last interval of the lane's loop that is at least ``lag_s`` old; nan before the first or without data."""
        raise PolicyError(f"lane {lane!r} has no loop; {len(self.loops)} lanes have one")

    def flow_veh_h(self, lane: str) -> float:
        """Vehicles that passed the loop in the last interval, as an hourly rate; nan without data."""
        return self.reading(lane).flow_veh_h

    def occupancy(self, lane: str) -> float:
        """Share of the last interval (0 to 1) in which a vehicle stood over the loop; nan without data."""
        return self.reading(lane).occupancy

    def speed_mps(self, lane: str) -> float:
        """Mean speed of the vehicles that passed the loop in the last interval; nan without data or vehicles."""
        return self.reading(lane).speed_mps

    def has_data(self, lane: str) -> bool:
        """False while the lane's detector is known to be out of order."""
        return True


@dataclass(frozen=True, kw_only=True)
class DetectorOptions:
    """How good a control room's detectors are.

    ``lag_s``         readings reach the control room this late
    ``interval_s``    loops report at the end of every interval
    ``error``         standard deviation of the relative error of each reading (0: none), drawn by the run's seed
    ``outage_share``  probability that a detector gives no data all run long (0: none), drawn by the run's seed
    """

    lag_s: float = 10.0
    interval_s: float = 30.0
    error: float = 0.0
    outage_share: float = 0.0

    def __post_init__(self) -> None:
        problems = Problems("detector options")
        if not (math.isfinite(self.lag_s) and self.lag_s >= 0):
            problems.add(f"lag_s is {self.lag_s}, expected 0 or more seconds")
        if not (math.isfinite(self.interval_s) and self.interval_s > 0):
            problems.add(f"interval_s is {self.interval_s}, expected more than 0 seconds")
        if not (math.isfinite(self.error) and self.error >= 0):
            problems.add(f"error is {self.error}, expected 0 or a relative standard deviation such as 0.05")
        if not 0 <= self.outage_share <= 1:
            problems.add(f"outage_share is {self.outage_share}, expected a share from 0 to 1")
        problems.raise_as(PolicyError)

    def factor(self, seed: int, *what: str) -> float:
        """1 plus a normal relative error, never below 0; the same for the same seed of a run, detector and time."""
        if not self.error:
            return 1.0
        return max(0.0, 1.0 + self.error * random.Random(child_seed(seed, "detector", *what)).gauss(0.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class SignedEdge:
    """An edge as speed control sees it.

    ``loops``      its driving lanes, which carry loops where the policy asked for :attr:`LoopSite.MOTORWAY`
    ``usual_mps``  speed limit without speed control
    ``upstream``   edges of the same kind of road that lead into it
    """

    edge: str
    length_m: float
    usual_mps: float
    on_motorway: bool
    loops: tuple[str, ...]
    upstream: tuple[str, ...]


class SpeedSigns(ABC):
    """Variable speed limits, one sign for each edge."""

    edges: Mapping[str, SignedEdge]

    @property
    @abstractmethod
    def shown(self) -> Mapping[str, float]:
        """Limit (m/s) by edge, of the edges that a sign is switched on for."""

    @abstractmethod
    def show(self, edge: str, limit_mps: float) -> None:
        """Switch the edge's sign on. In force is the strictest of the edge's own limit, the sign, and a scenario's."""

    @abstractmethod
    def clear(self, edge: str) -> None:
        """Switch the edge's sign off. Safe to call twice."""

    @abstractmethod
    def limit_mps(self, edge: str) -> float:
        """The limit in force on the edge's first driving lane."""


class NoSpeedSigns(SpeedSigns):
    """Where a simulator has none: every use says so."""

    edges: Mapping[str, SignedEdge] = {}
    _text = "this simulator has no speed signs; run the policy on SUMO"

    @property
    def shown(self) -> Mapping[str, float]:
        return {}

    def show(self, edge: str, limit_mps: float) -> None:
        raise PolicyError(self._text)

    def clear(self, edge: str) -> None:
        raise PolicyError(self._text)

    def limit_mps(self, edge: str) -> float:
        raise PolicyError(self._text)


class RampMeter(ABC):
    """One ramp meter: it lets a set number of vehicles an hour pass from the on-ramp towards the motorway.

    ``edge``         the edge at whose end the stop line is
    ``merge_lanes``  motorway lanes where the ramp's acceleration lane ends; they carry loops where the policy asked for
                     :attr:`LoopSite.MERGES`
    ``upstream``     meters (by edge) at the ramps upstream on the same motorway, the nearest first
    ``storage``      vehicles that fit on the ramp before the stop line, at 7.5 m each
    """

    edge: str
    merge_lanes: tuple[str, ...]
    upstream: tuple[str, ...]
    storage: int

    @property
    @abstractmethod
    def rate_veh_h(self) -> float | None:
        """Vehicles an hour that it lets pass; None while it is off and everybody may pass."""

    @abstractmethod
    def set_rate(self, rate_veh_h: float) -> None:
        """Switch it on, or change its rate."""

    @abstractmethod
    def clear(self) -> None:
        """Switch it off. Safe to call twice."""

    @property
    @abstractmethod
    def queue(self) -> int:
        """Vehicles on the ramp before the stop line, moving or not, as old as the detectors' lag."""

    @property
    @abstractmethod
    def passed(self) -> int:
        """Vehicles that passed the stop line, metered or not, since the policy first looked at the meters."""


def checked_rate(edge: str, rate_veh_h: float) -> float:
    """The rate, or a ``PolicyError`` where no meter can show it."""
    if not (math.isfinite(rate_veh_h) and rate_veh_h > 0):
        raise PolicyError(f"the meter on {edge!r} was given {rate_veh_h} veh/h, expected a number above 0")
    return float(rate_veh_h)


def checked_limit(edge: str, limit_mps: float) -> float:
    """The limit, or a ``PolicyError`` where no sign can show it."""
    if not (math.isfinite(limit_mps) and limit_mps > 0):
        raise PolicyError(f"the sign on {edge!r} was given {limit_mps} m/s, expected a number above 0")
    return float(limit_mps)
