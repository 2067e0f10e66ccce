"""What may happen in a scenario besides incidents, as records: asked for, checked, stored.

Each kind is one class here, registered by its ``kind``, and one file under ``injection/effects`` that makes it happen.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar

from scenariogen.errors import ScenarioError
from scenariogen.incidents.capacity import unreachable
from scenariogen.network import RoadNetwork

VEHICLE_CLASSES = frozenset(
    (
        *("private", "emergency", "authority", "army", "vip", "pedestrian", "passenger", "hov", "taxi", "bus", "coach"),
        *("delivery", "truck", "trailer", "motorcycle", "moped", "bicycle", "evehicle", "tram", "rail_urban", "rail"),
        *("rail_electric", "rail_fast", "ship", "container", "cable_car", "subway", "aircraft", "wheelchair"),
        *("scooter", "drone", "custom1", "custom2"),
    )
)
"""SUMO's abstract vehicle classes (1.28)."""
_LARGEST_FACTOR = 10.0


class WeatherKind(StrEnum):
    """Kinds of weather with published factors; ``ICE`` has none and is our assumption."""

    RAIN = "rain"
    HEAVY_RAIN = "heavy_rain"
    LIGHT_SNOW = "light_snow"
    HEAVY_SNOW = "heavy_snow"
    SEVERE_COLD = "severe_cold"
    LOW_VISIBILITY = "low_visibility"
    VERY_LOW_VISIBILITY = "very_low_visibility"
    MINIMAL_VISIBILITY = "minimal_visibility"
    ICE = "ice"


class FailureMode(StrEnum):
    """What a failed signal shows."""

    OFF = "off"
    """Dark: the junction's own right of way holds."""
    FLASHING = "flashing"
    """Flashing yellow on all approaches: everybody approaches ready to yield."""


class OutageMode(StrEnum):
    """What a failed detector tells."""

    NO_DATA = "no_data"
    LAST_VALUE = "last_value"


@dataclass(frozen=True, kw_only=True)
class Effect(ABC):
    """Something that holds from ``start_s`` for ``duration_s`` seconds of simulation time."""

    kind: ClassVar[str]
    start_s: float
    duration_s: float

    def __post_init__(self) -> None:
        for name in (each.name for each in fields(self) if each.type in (float, "float")):
            object.__setattr__(self, name, float(getattr(self, name)))
        for name in (each.name for each in fields(self) if str(each.type).startswith("tuple")):
            object.__setattr__(self, name, tuple(_tupled(each) for each in getattr(self, name)))

    @property
    def end_s(self) -> float:
        """Simulation second at which it ends."""
        return self.start_s + self.duration_s

    def problems(self, network: RoadNetwork) -> list[str]:
        """Every reason why this cannot happen on that network, in words."""
        found = []
        if not math.isfinite(self.start_s):
            found.append(f"start_s is {self.start_s}, expected a finite number")
        if not 0 < self.duration_s < math.inf:
            found.append(f"duration_s is {self.duration_s:g}, expected a finite number above 0")
        return [*found, *self._problems(network)]

    @abstractmethod
    def _problems(self, network: RoadNetwork) -> list[str]:
        """The same for what this kind has of its own."""

    def to_plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {"effect": self.kind} | {name: _listed(value) for name, value in asdict(self).items()}

    def __str__(self) -> str:
        return f"{self.kind} at {self.start_s:g} s for {self.duration_s:g} s"


@dataclass(frozen=True, kw_only=True)
class SpeedLimit(Effect):
    """A lower speed limit.

    ``limit_mps``    highest speed allowed; lanes that allow less already are left as they are
    ``edges``        all their lanes
    ``lanes``        single lanes, by SUMO's ids
    ``warnings``     (metres upstream, limit in m/s) steps before it: lanes that end within that distance get that limit
    """

    kind: ClassVar[str] = "speed_limit"
    limit_mps: float
    edges: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()
    warnings: tuple[tuple[float, float], ...] = ()

    def _problems(self, network: RoadNetwork) -> list[str]:
        found = _place_problems(network, self.edges, self.lanes)
        if not 0 < self.limit_mps < math.inf:
            found.append(f"limit_mps is {self.limit_mps:g}, expected a speed above 0")
        for step in self.warnings:
            if len(step) != 2:
                found.append(f"a warning is {list(step)}, expected [metres upstream, limit in m/s]")
            elif not (0 < step[0] < math.inf and self.limit_mps <= step[1] < math.inf):
                found.append(
                    f"the warning {step[0]:g} m upstream has a limit of {step[1]:g} m/s; expected a distance above 0 "
                    f"and a limit of at least limit_mps ({self.limit_mps:g})"
                )
        return found


@dataclass(frozen=True, kw_only=True)
class Closure(Effect):
    """Lanes or whole edges that nobody of the named classes may enter; who is there may leave.

    ``edges``    closed at their entrances: who departs on them may still do so
    ``lanes``    single lanes, by SUMO's ids
    ``classes``  SUMO's vehicle classes; empty: all
    """

    kind: ClassVar[str] = "closure"
    edges: tuple[str, ...] = ()
    lanes: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    def _problems(self, network: RoadNetwork) -> list[str]:
        found = _place_problems(network, self.edges, self.lanes)
        return found + [
            f"vehicle class {name!r} is unknown, expected one of {', '.join(sorted(VEHICLE_CLASSES))}"
            for name in self.classes
            if name not in VEHICLE_CLASSES
        ]


@dataclass(frozen=True, kw_only=True)
class Weather(Effect):
    """Weather over the whole network: lower speeds, larger headways."""

    kind: ClassVar[str] = "weather"
    weather: WeatherKind | str

    def _problems(self, network: RoadNetwork) -> list[str]:
        return _enum_problems("weather", self.weather, WeatherKind)


@dataclass(frozen=True, kw_only=True)
class SignalFailure(Effect):
    """A traffic signal that has failed and obeys nobody until it is repaired."""

    kind: ClassVar[str] = "signal_failure"
    signal: str
    mode: FailureMode | str = FailureMode.OFF

    def _problems(self, network: RoadNetwork) -> list[str]:
        found = _enum_problems("mode", self.mode, FailureMode)
        if self.signal not in network.signals:
            found.append(_unknown("signal", self.signal, network.signals, network))
        return found


@dataclass(frozen=True, kw_only=True)
class DemandSurge(Effect):
    """More departures than the demand has.

    ``factor``   departures of the entries are multiplied by it; at least 1
    ``entries``  edges on which vehicles depart; empty: all
    """

    kind: ClassVar[str] = "demand_surge"
    factor: float
    entries: tuple[str, ...] = ()

    def _problems(self, network: RoadNetwork) -> list[str]:
        found = [network.unknown_edge(edge) for edge in self.entries if edge not in network.edges]
        if not 1 <= self.factor <= _LARGEST_FACTOR:
            found.append(f"factor is {self.factor:g}, expected 1 to {_LARGEST_FACTOR:g}")
        return found


@dataclass(frozen=True, kw_only=True)
class DetectorOutage(Effect):
    """Lane detectors of the control room that tell nothing, or their last value over and over.

    ``lanes``  by SUMO's ids; empty: all that have a detector
    """

    kind: ClassVar[str] = "detector_outage"
    lanes: tuple[str, ...] = ()
    mode: OutageMode | str = OutageMode.NO_DATA

    def _problems(self, network: RoadNetwork) -> list[str]:
        found = _enum_problems("mode", self.mode, OutageMode)
        return found + [fault for lane in self.lanes if (fault := _lane_problem(network, lane))]


@dataclass(frozen=True, kw_only=True)
class Rubbernecking(Effect):
    """Drivers who slow down to look at something beside their carriageway: an incident on the opposite one.

    ``edge``           where they drive; :func:`scenariogen.scenarios.opposite.opposite_place` finds it for an incident
    ``position_m``     where they look, metres from the start of that edge
    ``capacity_left``  share of the undisturbed saturation discharge that is left there, with no lane blocked
    """

    kind: ClassVar[str] = "rubbernecking"
    edge: str
    position_m: float
    capacity_left: float

    def _problems(self, network: RoadNetwork) -> list[str]:
        if self.edge not in network.edges:
            return [network.unknown_edge(self.edge)]
        edge = network.edges[self.edge]
        if not edge.driving_lanes:
            return [f"edge {edge.id!r} has no lane for cars, so nobody there slows down"]
        found = []
        if not 0 <= self.position_m <= edge.length_m:
            found.append(f"position_m is {self.position_m:g} on edge {edge.id!r} of {edge.length_m:.1f} m")
        if not 0 < self.capacity_left <= 1:
            found.append(f"capacity_left is {self.capacity_left:g}, expected a share above 0 and up to 1")
        elif fault := unreachable(edge.road_class, len(edge.driving_lanes), 0, self.capacity_left):
            found.append(fault)
        return found


EFFECTS: dict[str, type[Effect]] = {each.kind: each for each in Effect.__subclasses__()}
"""Every kind of effect by the word that a file uses."""


def effect_from_plain(plain: dict[str, Any]) -> Effect:
    """The record that :meth:`Effect.to_plain` came from, or a ``ScenarioError``."""
    values = dict(plain)
    kind = values.pop("effect", None)
    if kind not in EFFECTS:
        raise ScenarioError(f"effect is {kind!r}, expected one of {', '.join(EFFECTS)}")
    known = {each.name for each in fields(EFFECTS[kind])}
    if strange := sorted(set(values) - known):
        raise ScenarioError(f"{kind} has no {', '.join(strange)}; it has {', '.join(sorted(known))}")
    try:
        return EFFECTS[kind](**values)
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"{kind} cannot be read: {error}") from error


def effect_problems(
    effects: Iterable[Effect], network: RoadNetwork, *, begin_s: float, end_s: float | None = None
) -> list[str]:
    """What is wrong with each effect on that network and between those seconds, each line naming it."""
    found = []
    for number, effect in enumerate(effects):
        faults = effect.problems(network)
        if effect.start_s < begin_s - 1e-6:
            faults.append(f"it starts at {effect.start_s:g} s, the simulation is or begins at {begin_s:g} s")
        if end_s is not None and effect.start_s >= end_s:
            faults.append(f"it starts at {effect.start_s:g} s, the simulation ends at {end_s:g} s")
        found += [f"effect {number} ({effect.kind}): {fault}" for fault in faults]
    return found


def _place_problems(network: RoadNetwork, edges: tuple[str, ...], lanes: tuple[str, ...]) -> list[str]:
    found = [network.unknown_edge(edge) for edge in edges if edge not in network.edges]
    found += [fault for lane in lanes if (fault := _lane_problem(network, lane))]
    if not edges and not lanes:
        found.append("it names neither edges nor lanes")
    return found


def _lane_problem(network: RoadNetwork, lane: str) -> str | None:
    edge = lane.rpartition("_")[0]
    if edge not in network.edges:
        return f"lane {lane!r}: {network.unknown_edge(edge)}"
    known = [each.id for each in network.edges[edge].lanes]
    return None if lane in known else f"lane {lane!r} is not on edge {edge!r}, which has {', '.join(known)}"


def _enum_problems(name: str, value: str, kind: type[StrEnum]) -> list[str]:
    known = [each.value for each in kind]
    return [] if value in known else [f"{name} is {str(value)!r}, expected one of {', '.join(known)}"]


def _unknown(what: str, name: str, known: Iterable[str], network: RoadNetwork) -> str:
    import difflib

    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    hint = f"; near it: {', '.join(near)}" if near else f"; it has {', '.join(list(known)[:5]) or 'none'}"
    return f"{what} {name!r} is not in {network.path.name}{hint}"


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _listed(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_listed(each) for each in value]
    return str(value) if isinstance(value, StrEnum) else value
