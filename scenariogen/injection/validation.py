"""What is checked before anything happens: the scenario against the network and the simulation it is to happen in."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from scenariogen.errors import Problems, ScenarioError
from scenariogen.incidents import capacity
from scenariogen.incidents.records import Incident
from scenariogen.injection.asked import network_problems
from scenariogen.injection.connection import Link
from scenariogen.injection.effects.closure import closure_problems
from scenariogen.injection.effects.demand_surge import PREFIX as SURGE_PREFIX
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.drivers import driver_problems
from scenariogen.scenarios.effects import Closure, DemandSurge, effect_problems
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.options import parse_time_s
from scenariogen.simulation.xmlfiles import children
from scenariogen.units import clock_text

_SHORTEST_HEADWAY_S = 1.0
_WITH_OUR_VEHICLES = (
    "tripinfo-output", "vehroute-output", "statistic-output", "summary-output", "fcd-output", "netstate-dump",
)  # fmt: skip
_TELEPORTS = {"time-to-teleport": 0.0, "time-to-teleport.highways": 0.0, "time-to-teleport.disconnected": -1.0}
"""Options after whose seconds SUMO moves a waiting vehicle ahead, each with the largest number that means never."""


def check_scenario(scenario: Scenario, network: RoadNetwork, link: Link, *, with_capacity: bool = True) -> None:
    """Raise a ``ScenarioError`` that lists every reason why a scenario cannot happen in this simulation."""
    problems = Problems(f"scenario {scenario.index} cannot be injected")
    now_s = link.time_s()
    end_s = float(link.simulation.getEndTime())
    problems.extend(network_problems(network, link, [incident.edge for incident in scenario.incidents]))
    running = set(link.edge.getIDList()) if scenario.incidents else set()
    for number, incident in enumerate(scenario.incidents):
        faults = incident.problems(network)
        if incident.edge in network.edges and incident.edge not in running:
            faults.append(f"edge {incident.edge!r} is in {network.path.name} but not in the running simulation")
        if incident.start_s < now_s - 1e-6:
            faults.append(
                f"it starts at {clock_text(incident.start_s)} ({incident.start_s:g} s), in the past: the simulation "
                f"is at {clock_text(now_s)} ({now_s:g} s)"
            )
        if 0 <= end_s <= incident.start_s:
            faults.append(f"it starts at {incident.start_s:g} s, the simulation ends at {end_s:g} s")
        if with_capacity and not faults and (fault := capacity_problem(incident, network)):
            faults.append(fault)
        problems.extend(f"incident {number}: {fault}" for fault in faults)
    effects = scenario.effects
    faults = effect_problems(effects, network, begin_s=now_s, end_s=end_s if end_s >= 0 else None)
    if not faults:
        faults = closure_problems([effect for effect in effects if isinstance(effect, Closure)], network, link)
    problems.extend(faults)
    problems.extend(driver_problems(scenario.drivers, network))
    if signs := set(scenario.drivers.sign_edges) & set(network.edges):
        absent = sorted(signs - set(link.edge.getIDList()))
        problems.extend(f"sign_edges: edge {edge!r} is not in the running simulation" for edge in absent)
    if (scenario.incidents or effects) and link.option("mesosim") == "true":
        problems.add("the simulation is mesoscopic, where lanes cannot be blocked or closed: run it without --mesosim")
    problems.raise_as(ScenarioError)


def capacity_problem(incident: Incident, network: RoadNetwork) -> str | None:
    """Why the asked capacity cannot be brought about on that cross-section, with the range that can; else None."""
    edge = network.edges[incident.edge]
    return capacity.unreachable(
        edge.road_class,
        len(edge.driving_lanes),
        len(incident.lanes),
        incident.capacity_left,
        inner=capacity.is_inner(edge.driving_lanes, incident.lanes),
    )


def option_warnings(link: Link) -> list[str]:
    """Options of the running simulation under which incidents do not play out as they should."""
    found = []
    for name, never_s in _TELEPORTS.items():
        if (teleport_s := parse_time_s(link.option(name))) > never_s:
            found.append(
                f"{name} is {teleport_s:g} s: SUMO takes vehicles that wait that long out of the queue behind an "
                f"incident; start it with --{name} -1"
            )
    if (delay_s := parse_time_s(link.option("max-depart-delay"))) >= 0:
        found.append(
            f"max-depart-delay is {delay_s:g} s: SUMO drops vehicles that a queue keeps from entering for that long, "
            "with the time they would have lost; start it with --max-depart-delay -1"
        )
    if link.step_s > _SHORTEST_HEADWAY_S:
        found.append(
            f"step-length is {link.step_s:g} s: drivers whose headway (tau) is shorter than a step, as SUMO's default "
            f"of {_SHORTEST_HEADWAY_S:g} s, run into any queue; give vehicle types a tau of at least {link.step_s:g}"
        )
    action = link.option("collision.action")
    if action in ("teleport", "remove"):
        found.append(
            f"collision.action is {action}: vehicles that collide in a queue would vanish from it; start SUMO with "
            "--collision.action warn"
        )
    return found


def output_warnings(scenario: Scenario, link: Link, blocker_id: Callable[[int, int], str]) -> list[str]:
    """Outputs of the running simulation in which vehicles of ours stand among the others."""
    written = [name for name in _WITH_OUR_VEHICLES if link.option(name)]
    ours = [f"vehicles that stand for incidents ({blocker_id(0, 0)} and so on)"] if scenario.incidents else []
    if any(isinstance(effect, DemandSurge) for effect in scenario.effects):
        ours.append(f"those that a surge adds ({SURGE_PREFIX}*)")
    if not written or not ours:
        return []
    return [
        f"{', '.join(written)}: SUMO writes and counts there {' and '.join(ours)} as well; leave them out by their "
        "ids, see own_vehicles and surge_vehicles of the injection"
    ]


@lru_cache(maxsize=4)
def _beside_an_opposite(path: Path, sha256: str) -> frozenset[str | None]:
    """Lanes whose drivers may overtake through the opposite one; ``sha256`` tells versions of a file apart."""
    del sha256
    return frozenset(
        lane.get("id")
        for _, element in children(path)
        if element.tag == "edge"
        for lane in element
        if lane.find("neigh") is not None
    )


def closure_warnings(incidents: Sequence[Incident], network: RoadNetwork) -> list[str]:
    """Closures that drivers pass all the same, through the opposite lane of a network that was built for it."""
    closed = {
        number: network.edges[incident.edge] for number, incident in enumerate(incidents) if incident.capacity_left <= 0
    }
    if not closed:
        return []
    beside = _beside_an_opposite(network.path, network.sha256)
    inner = {number: edge.lanes[edge.driving_lanes[-1]].id for number, edge in closed.items()}
    return [
        f"incident {number}: the network lets drivers overtake through the lane opposite to {lane}, so "
        "they pass the closure there; close the other direction too, or build the network without --opposites.guess"
        for number, lane in inner.items()
        if lane in beside
    ]
