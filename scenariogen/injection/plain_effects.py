"""What SUMO can have of a scenario's effects without us: lower speeds as signs, failed signals as a second programme.

A failed signal gets a programme of one phase that shows what it shows live, and a ``WAUT`` that switches to it and
back; a fixed-time programme is then in the phase of an undisturbed clock (tested). Closures, weather and detector
outages are not written: a lane closure ends plain SUMO where that lane alone carries a connection, vehicle types cannot
change while it runs, and detectors are only looked at by a policy.
"""

from collections.abc import Iterator, Sequence
from xml.sax.saxutils import quoteattr

from scenariogen.injection.effects.places import lanes_of
from scenariogen.injection.effects.signal_failure import failed_state
from scenariogen.injection.passing_speed import looked_at
from scenariogen.injection.plain_elements import next_step_s, slowed_speed_mps
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.effects import (
    Closure,
    DetectorOutage,
    Effect,
    FailureMode,
    Rubbernecking,
    SignalFailure,
    SpeedLimit,
    Weather,
)
from scenariogen.simulation.project import SumoProject
from scenariogen.simulation.xmlfiles import children

PREFIX = "scenariogen.failed."
_STATIC = "static"
_LEFT_OUT = {
    Closure: "lanes are not closed, since that ends plain SUMO where a lane alone carries a connection",
    Weather: "weather is left out, since vehicle types cannot change while SUMO runs",
    DetectorOutage: "detectors are read by a policy alone",
}
Claim = tuple[float, float, float]
"""From, until, and the limit in m/s."""


def limit_claims(
    effects: Sequence[Effect], network: RoadNetwork, *, begin_s: float, step_s: float
) -> dict[str, list[Claim]]:
    """Claims on the speed of lanes: speed limits with warning steps, without internal lanes, and rubbernecking."""
    claims: dict[str, list[Claim]] = {}
    for effect in effects:
        if isinstance(effect, SpeedLimit):
            limits = _limits_mps(effect, network)
        elif isinstance(effect, Rubbernecking):
            limits = _slowed_mps(effect, network)
        else:
            continue
        span = next_step_s(effect.start_s, begin_s, step_s), next_step_s(effect.end_s, begin_s, step_s)
        for lane, limit_mps in limits.items():
            if limit_mps < _speed_mps(network, lane):
                claims.setdefault(lane, []).append((*span, limit_mps))
    return claims


def _limits_mps(effect: SpeedLimit, network: RoadNetwork) -> dict[str, float]:
    """Limit by lane."""
    limits = dict.fromkeys(lanes_of(network, effect.edges, effect.lanes), effect.limit_mps)
    for distance_m, limit_mps in effect.warnings:
        for lane in _upstream(network, [name for name in limits if limits[name] == effect.limit_mps], distance_m):
            limits[lane] = min(limit_mps, limits.get(lane, limit_mps))
    return limits


def _slowed_mps(effect: Rubbernecking, network: RoadNetwork) -> dict[str, float]:
    """Speed by lane for cars of the edge; nothing where nobody has to slow down."""
    edge = network.edges[effect.edge]
    speed = slowed_speed_mps(looked_at(effect), edge)
    return {} if speed is None else {lane.id: speed for lane in edge.lanes if lane.drives}


def _speed_mps(network: RoadNetwork, lane: str) -> float:
    edge = network.edges[lane.rpartition("_")[0]]
    return next(each.speed_mps for each in edge.lanes if each.id == lane)


def _upstream(network: RoadNetwork, lanes: Sequence[str], distance_m: float) -> set[str]:
    """Lanes that end within a distance before the start of ``lanes``."""
    found: set[str] = set()
    front = [(lane, distance_m) for lane in lanes]
    best: dict[str, float] = {}
    while front:
        here, left_m = front.pop()
        if left_m <= best.get(here, 0.0):
            continue
        best[here] = left_m
        for before, after in network.lane_links.items():
            if here in after:
                found.add(before)
                edge = network.edges.get(before.rpartition("_")[0])
                if edge is not None:
                    front.append((before, left_m - edge.length_m))
    return found - set(lanes)


def signal_elements(effects: Sequence[Effect], project: SumoProject, *, begin_s: float, step_s: float) -> Iterator[str]:
    """A failed programme for each failure, and the switches of each signal; of overlapping ones the last holds."""
    network = project.network()
    failures: dict[str, list[tuple[int, SignalFailure]]] = {}
    for number, effect in enumerate(effects):
        if isinstance(effect, SignalFailure):
            failures.setdefault(effect.signal, []).append((number, effect))
    programmes = _programmes(project) if failures else {}
    for signal, found in failures.items():
        if signal not in programmes:
            continue
        own, _, links = programmes[signal]
        for number, effect in found:
            state = failed_state(network, links, signal, FailureMode(effect.mode))
            yield (
                f'<tlLogic id={quoteattr(signal)} type="{_STATIC}" programID="{PREFIX}{number}" offset="0">'
                f'<phase duration="86400" state="{state}"/></tlLogic>'
            )
        name = quoteattr(f"scenariogen.waut.{signal}")
        yield f'<WAUT id={name} refTime="0" startProg={quoteattr(own)}>'
        spans = [
            (next_step_s(e.start_s, begin_s, step_s), next_step_s(e.end_s, begin_s, step_s), number)
            for number, e in found
        ]
        for second, now in _switches(spans):
            target = own if now is None else f"{PREFIX}{now}"
            yield f'    <wautSwitch time="{second:.3f}" to={quoteattr(target)}/>'
        yield "</WAUT>"
        yield f"<wautJunction wautID={name} junctionID={quoteattr(signal)}/>"


def _switches(spans: Sequence[tuple[float, float, int]]) -> Iterator[tuple[float, int | None]]:
    """(second, number of the failure from then on, or None for the signal's own programme)."""
    before: int | None = None
    for second in sorted({time for start, end, _ in spans for time in (start, end)}):
        now = max((number for start, end, number in spans if start <= second < end), default=None)
        if now != before:
            yield second, now
        before = now


def _programmes(project: SumoProject) -> dict[str, tuple[str, str, int]]:
    """Id, type and number of links of the programme that each signal begins with: the one that SUMO loads last."""
    found: dict[str, tuple[str, str, int]] = {}
    for path in (project.net_file, *project.additional_files):
        for _, element in children(path):
            phase = element.find("phase") if element.tag == "tlLogic" else None
            if phase is not None:
                kind = element.get("type", _STATIC)
                found[element.get("id", "")] = element.get("programID", "0"), kind, len(phase.get("state", ""))
    return found


def effect_limits(effects: Sequence[Effect], project: SumoProject) -> Iterator[str]:
    """What the files do not have of each effect, in words."""
    programmes = _programmes(project) if any(isinstance(each, SignalFailure) for each in effects) else {}
    for number, effect in enumerate(effects):
        where = f"effect {number} ({effect.kind})"
        if type(effect) in _LEFT_OUT:
            yield f"{where}: {_LEFT_OUT[type(effect)]}"
        elif isinstance(effect, SpeedLimit):
            yield f"{where}: lanes inside junctions keep their limits"
        elif isinstance(effect, Rubbernecking):
            yield (
                f"{where}: everybody is slow on the whole of {effect.edge}, not vehicles one by one where they look; "
                "the capacity left is not measured"
            )
        elif isinstance(effect, SignalFailure) and effect.signal not in programmes:
            yield f"{where}: signal {effect.signal} has no programme with phases, which alone can be switched"
        elif isinstance(effect, SignalFailure) and programmes[effect.signal][1] != _STATIC:
            yield f"{where}: a signal that reacts to traffic begins anew after the repair"
