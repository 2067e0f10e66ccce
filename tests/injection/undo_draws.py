"""Random incidents and effects that overlap in place and time."""

import random
from dataclasses import replace
from typing import Any

from scenariogen.incidents.records import KINDS, Incident
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.effects import (
    Closure,
    DemandSurge,
    Effect,
    FailureMode,
    Rubbernecking,
    SignalFailure,
    SpeedLimit,
    Weather,
    WeatherKind,
)
from scenariogen.scenarios.records import Drivers, LanesReopen, Scenario

EFFECT_KINDS = ("speed_limit", "closure", "weather", "signal_failure", "demand_surge", "rubbernecking")


def draw_scenario(network: RoadNetwork, rng: random.Random, *, begin_s: float, within_s: int, things: int) -> Scenario:
    """``things`` incidents and effects of all kinds that start within a span and often overlap in place and time."""
    places = rng.sample(network.drivable, min(len(network.drivable), max(4, things // 6)))
    incidents, effects = [], []
    for _ in range(things):
        start = begin_s + rng.randint(1, max(2, int(within_s * 0.7)))
        length = float(rng.randint(5, max(6, within_s // 3)))
        kind = rng.choice(("incident", "incident", *EFFECT_KINDS))
        if kind == "incident":
            incidents.append(_incident(network, rng, rng.choice(places), start, length))
        else:
            effects.append(_effect(network, rng, kind, places, start, length))
    seed = rng.randrange(10**6)
    return Scenario(
        index=0,
        seed=seed,
        incidents=tuple(incidents),
        effects=tuple(effects),
        drivers=Drivers(reroute_share=0.0),
        lanes_reopen=LanesReopen.ONE_BY_ONE if seed % 2 else LanesReopen.AT_ONCE,
    )


def _incident(network: RoadNetwork, rng: random.Random, edge: str, start_s: float, length_s: float) -> Incident:
    driving = network.edges[edge].driving_lanes
    count = rng.randint(0, len(driving))
    first = rng.randint(0, len(driving) - count)
    lanes = driving[first : first + count]
    closed = count == len(driving) >= 2
    return Incident(
        edge=edge,
        start_s=start_s,
        position_m=rng.uniform(0, network.edges[edge].length_m),
        kind=rng.choice(KINDS),
        lanes=lanes,
        capacity_left=0.0 if closed else 0.5,
        detection_s=0.2 * length_s,
        response_s=0.3 * length_s,
        clearance_s=0.5 * length_s,
    )


def _effect(
    network: RoadNetwork, rng: random.Random, kind: str, places: list[str], start_s: float, length_s: float
) -> Effect:
    when: dict[str, Any] = {"start_s": start_s, "duration_s": length_s}
    edges = tuple(rng.sample(places, rng.randint(1, 2)))
    lane = rng.choice(network.edges[edges[0]].lanes).id
    if kind == "signal_failure" and network.signals:
        return SignalFailure(**when, signal=rng.choice(sorted(network.signals)), mode=rng.choice(list(FailureMode)))
    if kind == "closure":
        classes = rng.choice([(), ("truck", "bus"), ("passenger",)])
        whole = rng.random() < 0.5
        return Closure(**when, classes=classes, edges=edges if whole else (), lanes=() if whole else (lane,))
    if kind == "weather":
        return Weather(**when, weather=rng.choice(list(WeatherKind)))
    if kind == "demand_surge":
        return DemandSurge(**when, factor=rng.uniform(1, 2), entries=edges if rng.random() < 0.5 else ())
    if kind == "rubbernecking":
        position_m = rng.uniform(0, network.edges[edges[0]].length_m)
        return Rubbernecking(**when, edge=edges[0], position_m=position_m, capacity_left=rng.uniform(0.45, 1.0))
    limit = rng.uniform(3, 15)
    return SpeedLimit(**when, limit_mps=limit, edges=edges, lanes=(lane,), warnings=((150.0, limit + 3),))


def within(scenario: Scenario, end_s: float) -> Scenario:
    """The scenario with everything over by ``end_s``."""
    return replace(
        scenario,
        incidents=tuple(replace(i, detection_s=min(i.detection_s, end_s - i.start_s)) for i in scenario.incidents),
        effects=tuple(replace(e, duration_s=min(e.duration_s, end_s - e.start_s)) for e in scenario.effects),
    )
