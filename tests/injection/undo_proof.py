"""Random overlapping effects and incidents, ended in random ways, against a twin run that nothing happens in.

Both runs have the same seed and the same *script*: somebody else who now and then writes speeds, permissions, type
headways, phases and states, so that what has to come back is not only what was there at the beginning. At the same
second the disturbed run, with everything ended, is compared with the twin:

lanes     allowed and disallowed classes, as lists, and speed, of every lane, internal ones included
types     the ids of all types, and every parameter below of those that vehicles have at that second in the twin
vehicles  type id, speed factor and modes of each vehicle of the project in the disturbed run, with what it had in the
          twin when it departed there; the parameters of its type as well, where it is still under way in the twin
signals   programme in force, phase, next switch, state shown, and all programmes with all their phases

Not compared: where vehicles are and how fast they drive (they met with incidents); SUMO's count of seconds spent in the
running phase; its list of routes, where one entry for each blocked edge, and for each edge that a surge begins on,
remains; and a programme ``online``, which remains in the list of a signal that is not under a fixed-time programme
(none here) after it failed.
"""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scenariogen.injection.attach import Injection
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.records import Scenario
from tests.injection.undo_draws import draw_scenario, within

SUMO = ("--no-step-log", "--no-warnings", "--no-duration-log", "--xml-validation", "never", "--time-to-teleport", "-1",
        "--collision.action", "warn", "--ignore-route-errors", "true", "--seed", "7")  # fmt: skip
ENDINGS = ("by itself", "exception", "listener removed", "finish")
OWN_GETTERS = ("getTypeID", "getSpeedFactor", "getSpeedMode", "getLaneChangeMode", "getRoutingMode")
TYPE_GETTERS = ("getTau", "getSpeedFactor", "getSpeedDeviation", "getMaxSpeed", "getLength", "getMinGap", "getAccel",
                "getDecel", "getEmergencyDecel", "getApparentDecel", "getImperfection", "getVehicleClass", "getWidth",
                "getMinGapLat", "getMaxSpeedLat", "getLateralAlignment", "getActionStepLength", "getScale", "getMass",
                "getColor", "getShapeClass", "getEmissionClass", "getImpatience", "getBoardingDuration")  # fmt: skip
VEHICLE_GETTERS = (*OWN_GETTERS, "getTau", "getMaxSpeed", "getMinGap", "getLength", "getVehicleClass",
                   "getImperfection", "getAccel", "getDecel")  # fmt: skip


@dataclass(kw_only=True)
class Tally:
    """What was made to happen on one network, what was compared, and what differed."""

    network: str
    runs: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    realised: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    compared: Counter[str] = field(default_factory=Counter)
    differing: list[str] = field(default_factory=list)


class EndedError(Exception):
    """Ends a run by an exception."""


def started(sumocfg: Path, backend: str) -> Any:
    """A simulation on ``libsumo`` or ``traci``."""
    if backend == "libsumo":
        import libsumo

        libsumo.start(["sumo", "-c", str(sumocfg), *SUMO])
        return libsumo
    import traci
    from sumo import SUMO_HOME

    traci.start([str(Path(SUMO_HOME) / "bin" / "sumo"), "-c", str(sumocfg), *SUMO], label="undo proof")
    return traci.getConnection("undo proof")


@dataclass(frozen=True)
class Script:
    """What somebody else writes, at which second after the beginning: the same in both runs."""

    seed: int
    length_s: int

    def write(self, sumo: Any, passed_s: int, network: RoadNetwork) -> None:
        """The writing due at one second. It goes by what is in the network, never by what SUMO holds."""
        rng = random.Random(f"{self.seed} {passed_s}")
        if passed_s >= self.length_s or rng.random() > 0.25:
            return
        edge = network.edges[rng.choice(network.drivable)]
        lane = rng.choice(edge.lanes)
        match rng.choice(("speed", "permissions", "tau", "phase", "state", "programme")):
            case "speed":
                sumo.lane.setMaxSpeed(lane.id, lane.speed_mps * rng.uniform(0.6, 1.2))
            case "permissions" if len(edge.lanes) > 1:
                kept = ["passenger", "truck", "delivery", "bus", "emergency", "custom1"]
                sumo.lane.setAllowed(lane.id, rng.sample(kept[:4], 4) + kept[4:])
            case "tau":
                sumo.vehicletype.setTau("DEFAULT_VEHTYPE", rng.uniform(0.9, 1.5))
            case "phase" | "state" | "programme" as what if network.signals:
                self._signal(sumo, rng, rng.choice(sorted(network.signals)), what)

    @staticmethod
    def _signal(sumo: Any, rng: random.Random, signal: str, what: str) -> None:
        light = sumo.trafficlight
        if what == "state":
            length = len(light.getRedYellowGreenState(signal))
            light.setRedYellowGreenState(signal, "".join(rng.choice("rGgy") for _ in range(length)))
        elif what == "programme" or light.getProgram(signal) != "0":
            light.setProgram(signal, "0")
        else:
            phases = next(len(p.phases) for p in light.getAllProgramLogics(signal) if p.programID == "0")
            light.setPhase(signal, rng.randrange(phases))
            light.setPhaseDuration(signal, float(rng.randint(3, 40)))


def snapshot(sumo: Any, types: Collection[str] | None = None) -> dict[str, dict]:
    """All that is compared, vehicles aside, by what it is of. Only ``types`` are asked for more than their names: SUMO
    answers for a distribution of types by one of its members, drawn at random."""
    lane, kind, light = sumo.lane, sumo.vehicletype, sumo.trafficlight
    known = kind.getIDList()
    asked = set(known if types is None else types)
    return {
        "lanes": {i: (lane.getAllowed(i), lane.getDisallowed(i), lane.getMaxSpeed(i)) for i in lane.getIDList()},
        "types": {i: tuple(getattr(kind, name)(i) for name in TYPE_GETTERS) if i in asked else () for i in known},
        "signals": {i: (*_signal_now(light, i), _programmes(light, i)) for i in light.getIDList()},
    }


def _signal_now(light: Any, signal: str) -> tuple:
    return (
        light.getProgram(signal),
        light.getPhase(signal),
        light.getNextSwitch(signal),
        light.getPhaseDuration(signal),
        light.getRedYellowGreenState(signal),
    )


def _programmes(light: Any, signal: str) -> tuple:
    return tuple(
        (p.programID, p.type, tuple((q.state, q.duration, q.minDur, q.maxDur, tuple(q.next), q.name) for q in p.phases))
        for p in light.getAllProgramLogics(signal)
    )


def types_in_use(sumo: Any) -> set[str]:
    """Names of the types that vehicles have, and of those that every simulation has."""
    found = {sumo.vehicle.getTypeID(vehicle) for vehicle in sumo.vehicle.getIDList()}
    return found | {name for name in sumo.vehicletype.getIDList() if name.startswith("DEFAULT_")}


def vehicle_now(sumo: Any, vehicle: str, getters: tuple[str, ...] = VEHICLE_GETTERS) -> tuple:
    return tuple(getattr(sumo.vehicle, name)(vehicle) for name in getters)


@dataclass(kw_only=True)
class Twin:
    """The run that nothing happens in: snapshots when disturbed runs end, vehicles as they departed."""

    snapshots: dict[int, dict[str, dict]]
    types: dict[int, set[str]]
    present: dict[int, dict[str, tuple]]
    departed: dict[str, tuple]


def run_twin(sumo: Any, network: RoadNetwork, script: Script, at_s: tuple[int, ...]) -> Twin:
    begin = sumo.simulation.getTime()
    twin = Twin(snapshots={}, types={}, present={}, departed={})
    for passed in range(max(at_s) + 1):
        if passed in at_s:
            twin.types[passed] = types_in_use(sumo)
            twin.snapshots[passed] = snapshot(sumo, twin.types[passed])
            twin.present[passed] = {vehicle: vehicle_now(sumo, vehicle) for vehicle in sumo.vehicle.getIDList()}
        script.write(sumo, passed, network)
        while sumo.simulation.getTime() < begin + passed + 1:
            sumo.simulationStep()
            departed = sumo.simulation.getDepartedIDList()
            twin.departed |= {vehicle: vehicle_now(sumo, vehicle, OWN_GETTERS) for vehicle in departed}
    sumo.close()
    return twin


def run_disturbed(
    sumo: Any, network: RoadNetwork, script: Script, twin: Twin, scenario: Scenario, *, at_s: int, ending: str
) -> Iterator[tuple[str, Any]]:
    """One run with everything in it, ended at ``at_s`` in one of four ways; yields what happened and what differs."""
    begin = sumo.simulation.getTime()
    injection = Injection(sumo, scenario, network=network, passing_speed=lambda incident, edge: 5.0)
    try:
        with injection:
            for passed in range(at_s):
                script.write(sumo, passed, network)
                while sumo.simulation.getTime() < begin + passed + 1:
                    sumo.simulationStep()
            if ending == "exception":
                raise EndedError
            if ending == "listener removed":
                manager = getattr(sumo, "_stepManager", sumo)
                manager.removeStepListener(next(iter(manager._stepListeners)))
            elif ending == "finish":
                injection.finish()
    except EndedError:
        pass
    for report in injection.report():
        yield "incident", report
    for report in injection.effects_report():
        yield report.asked.kind, report
    mine = injection.own_vehicles | injection.surge_vehicles
    now, was = snapshot(sumo, twin.types[at_s]), twin.snapshots[at_s]
    for name in was:
        yield "compared", (name, len(was[name]))
        for thing in sorted({*was[name], *now[name]}, key=str):
            if was[name].get(thing) != now[name].get(thing):
                if name == "types" and thing.rpartition("@")[2] in mine:
                    continue  # a private type of ours goes with the vehicle, which SUMO deletes in its next step
                yield "differing", f"{name} {thing}: {_difference(was[name].get(thing), now[name].get(thing))}"
    left = [vehicle for vehicle in sumo.vehicle.getIDList() if vehicle not in mine]
    both = [vehicle for vehicle in left if vehicle in twin.departed]
    yield "compared", ("vehicles", len(both))
    for vehicle in both:
        with_type = vehicle in twin.present[at_s]  # otherwise it has arrived in the twin
        expected = twin.present[at_s][vehicle] if with_type else twin.departed[vehicle]
        found = vehicle_now(sumo, vehicle, VEHICLE_GETTERS if with_type else OWN_GETTERS)
        if found != expected:
            yield "differing", f"vehicle {vehicle}: {_difference(expected, found)}"
    ours_left = set(sumo.vehicle.getIDList()) & injection.own_vehicles
    yield from (("differing", f"vehicle {vehicle} of ours is still there") for vehicle in sorted(ours_left))
    sumo.simulationStep()
    for kind in sumo.vehicletype.getIDList():
        if kind.rpartition("@")[2] in injection.own_vehicles:
            yield "differing", f"type {kind} of ours is still there"
    sumo.close()


def _difference(was: tuple | None, now: tuple | None) -> str:
    if was is None or now is None:
        return "is new" if was is None else "is gone"
    return "; ".join(f"{a} became {b}" for a, b in zip(was, now, strict=True) if a != b)


def prove(
    name: str,
    sumocfg: Path,
    network: RoadNetwork,
    *,
    things: int,
    each: int = 60,
    seed: int = 1,
    span_s: int = 300,
    backend: str = "libsumo",
    say: Callable[[str], None] = lambda line: None,
) -> Tally:
    """Runs of ``each`` things, until ``things`` were asked for, each of ``span_s`` seconds at most; all compared."""
    tally = Tally(network=name)
    at_s = tuple(sorted({span_s // 2, span_s * 3 // 4, span_s}))
    script = Script(seed, span_s)
    sumo = started(sumocfg, backend)
    begin_s = sumo.simulation.getTime()
    twin = run_twin(sumo, network, script, at_s)
    while sum(tally.asked.values()) < things:
        rng = random.Random(f"{seed} {name} {tally.runs}")
        ending = ENDINGS[tally.runs % len(ENDINGS)]
        at = span_s if ending == "by itself" else rng.choice(at_s)
        scenario = draw_scenario(network, rng, begin_s=begin_s, within_s=span_s - 10, things=each)
        if ending == "by itself":
            scenario = within(scenario, begin_s + span_s - 1)
        sumo = started(sumocfg, backend)
        for what, value in run_disturbed(sumo, network, script, twin, scenario, at_s=at, ending=ending):
            if what == "compared":
                tally.compared[value[0]] += value[1]
            elif what == "differing":
                tally.differing.append(f"{name}, run {tally.runs}, {ending}: {value}")
            else:
                tally.asked[what] += 1
                tally.realised[what] += value.realised
        tally.runs += 1
        tally.endings[ending] += 1
        say(f"{name}: {sum(tally.asked.values())} of {things}, {len(tally.differing)} differing")
    return tally
