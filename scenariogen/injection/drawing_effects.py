"""What is drawn of an effect besides incidents: parts of lanes in its colour, and what its label says.

An effect is drawn for as long as the scenario asks for it; whether it held is in the injection's report. What has no
place of its own (weather, a surge everywhere) is a label alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from scenariogen.injection.effects.places import lanes_of
from scenariogen.injection.lanes import LaneMap
from scenariogen.injection.passing_speed import limit_mps, looked_at
from scenariogen.injection.plain_elements import slowed_speed_mps
from scenariogen.injection.stretch import SpeedProfile
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.effects import (
    Closure,
    DemandSurge,
    DetectorOutage,
    Effect,
    Rubbernecking,
    SignalFailure,
    SpeedLimit,
    Weather,
)
from scenariogen.units import MPS_PER_KMH, clock_text

LIMIT_COLOUR = (40, 110, 220, 130)
CLOSED_COLOUR = (120, 40, 140, 190)
DARK_COLOUR = (60, 60, 60, 220)
SURGE_COLOUR = (40, 150, 70, 130)
SLOWED_COLOUR = (255, 170, 0, 130)
_SIGNAL_M = 12.0
"""How much of each lane before a failed signal is drawn."""
Colour = tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class LanePart:
    """A part of a lane in a colour."""

    lane: str
    from_m: float
    to_m: float
    colour: Colour


def effect_parts(effect: Effect, network: RoadNetwork, lanes: LaneMap) -> Iterator[LanePart]:
    """The parts of lanes that an effect is about; none where it is about the whole network."""
    match effect:
        case SpeedLimit():
            yield from _whole(lanes_of(network, effect.edges, effect.lanes), lanes, LIMIT_COLOUR)
        case Closure():
            yield from _whole(lanes_of(network, effect.edges, effect.lanes), lanes, CLOSED_COLOUR)
        case DemandSurge():
            yield from _whole(lanes_of(network, effect.entries, ()), lanes, SURGE_COLOUR)
        case DetectorOutage():
            yield from _whole(effect.lanes, lanes, DARK_COLOUR)
        case SignalFailure():
            for lane in network.signals[effect.signal]:
                end_m = lanes.length_m(lane)
                yield LanePart(lane=lane, from_m=end_m - _SIGNAL_M, to_m=end_m, colour=DARK_COLOUR)
        case Rubbernecking():
            yield from _slowed(effect, network, lanes)
        case _:
            return


def _whole(names: tuple[str, ...] | list[str], lanes: LaneMap, colour: Colour) -> Iterator[LanePart]:
    for lane in names:
        yield LanePart(lane=lane, from_m=0.0, to_m=lanes.length_m(lane), colour=colour)


def _slowed(effect: Rubbernecking, network: RoadNetwork, lanes: LaneMap) -> Iterator[LanePart]:
    edge = network.edges[effect.edge]
    speed = slowed_speed_mps(looked_at(effect), edge)
    if speed is None:
        return
    profile = SpeedProfile(speed_mps=speed)
    upstream_m, downstream_m = profile.reach_m(limit_mps(edge)), profile.core_m[1]
    around = lanes.around(edge, effect.position_m, upstream_m=upstream_m, downstream_m=downstream_m)
    for lane, front_m in around.items():
        yield LanePart(lane=lane, from_m=front_m - upstream_m, to_m=front_m + downstream_m, colour=SLOWED_COLOUR)


def effect_text(effect: Effect) -> str:
    """What the label says, in characters that every font of the window has."""
    return f"{_what(effect)}, {clock_text(effect.start_s)} to {clock_text(effect.end_s)}"


def _what(effect: Effect) -> str:
    match effect:
        case SpeedLimit():
            return f"limit {effect.limit_mps / MPS_PER_KMH:.0f} km/h"
        case Closure():
            return f"closed for {', '.join(effect.classes) or 'all'}"
        case Weather():
            return str(effect.weather).replace("_", " ")
        case SignalFailure():
            return f"signal {effect.signal} {effect.mode}"
        case DemandSurge():
            return f"demand x {effect.factor:g}"
        case DetectorOutage():
            return f"detectors: {str(effect.mode).replace('_', ' ')}"
        case Rubbernecking():
            return f"drivers look, capacity left {effect.capacity_left:.2f}"
        case _:
            return effect.kind
