"""Scenarios by hand: what a user types becomes a batch of one scenario, without a density, or is added to a batch."""

from collections.abc import Sequence
from dataclasses import replace

from scenariogen.errors import Problems, ScenarioError
from scenariogen.incidents.capacity import is_inner, published_capacity_left, reachable, unreachable
from scenariogen.incidents.priors import PHASE_CONCENTRATION
from scenariogen.incidents.records import KINDS, Incident, IncidentKind
from scenariogen.network import Edge, RoadNetwork
from scenariogen.randomness import sumo_seed
from scenariogen.scenarios.drivers import USUAL_DRIVERS, Drivers
from scenariogen.scenarios.effects import Effect, Rubbernecking, effect_problems
from scenariogen.scenarios.opposite import opposite_place
from scenariogen.scenarios.records import Condition, LanesReopen, Scenario, ScenarioBatch, scenario_problems
from scenariogen.window import StudyWindow


def one_incident(
    network: RoadNetwork,
    window: StudyWindow,
    *,
    edge: str,
    start_s: float,
    duration_s: float,
    lanes: Sequence[int] = (),
    kind: IncidentKind | str = IncidentKind.CRASH,
    capacity_left: float | None = None,
    position_m: float | None = None,
    opposite_capacity: float | None = None,
    drivers: Drivers = USUAL_DRIVERS,
    lanes_reopen: LanesReopen = LanesReopen.AT_ONCE,
    seed: int = 0,
    project_hash: str = "",
    network_name: str = "",
) -> ScenarioBatch:
    """A batch of one scenario with one incident.

    ``lanes``          blocked SUMO lane indices; empty: on the shoulder
    ``duration_s``     split into detection, response and clearance by their mean shares
    ``capacity_left``  None: what is usual for the lanes, see :func:`usual_capacity_left`
    ``position_m``     None: the middle of the edge
    ``opposite_capacity``  share of capacity left on the opposite carriageway, where drivers look for as long as it
                       stands; None: nobody there slows down
    ``drivers``        what drivers know of it and do
    ``lanes_reopen``   how several blocked lanes open again

    Raises ``ScenarioError`` that lists everything that cannot happen on this network or within this window.
    """
    problems = Problems("this incident cannot happen")
    if str(kind) not in [each.value for each in KINDS]:
        problems.add(f"kind is {str(kind)!r}, expected one of {', '.join(KINDS)}")
    if edge not in network.edges:
        problems.add(network.unknown_edge(edge))
    problems.raise_as(ScenarioError)
    place = network.edges[edge]
    blocked = tuple(sorted(set(lanes)))
    share = usual_capacity_left(place, blocked) if capacity_left is None else capacity_left
    phases = [duration_s * part / sum(PHASE_CONCENTRATION) for part in PHASE_CONCENTRATION]
    made = Incident(
        edge=edge,
        start_s=start_s,
        position_m=place.length_m / 2 if position_m is None else position_m,
        kind=IncidentKind(kind),
        lanes=blocked,
        capacity_left=share,
        detection_s=phases[0],
        response_s=phases[1],
        clearance_s=phases[2],
    )
    scenario = replace(_empty(window, seed), incidents=(made,), drivers=drivers, lanes_reopen=lanes_reopen)
    faults = scenario_problems(scenario, network, window)
    fits = not faults
    if opposite_capacity is not None:
        try:
            effect = looking_across(network, made, opposite_capacity)
            found = effect_problems([effect], network, begin_s=window.begin_s)
            faults += [text.replace("effect 0 (rubbernecking)", "on the opposite carriageway") for text in found]
            scenario = replace(scenario, effects=(effect,))
        except ScenarioError as error:
            faults += error.problems
    if fits:
        inner = is_inner(place.driving_lanes, blocked)
        found = unreachable(place.road_class, len(place.driving_lanes), len(blocked), share, inner=inner)
        faults += [found] if found else []
    problems.extend(fault.removeprefix("scenario 0, incident 0: ").removeprefix("scenario 0: ") for fault in faults)
    problems.raise_as(ScenarioError)
    return _batch(scenario, network, window, project_hash=project_hash, network_name=network_name)


def no_incident(
    network: RoadNetwork, window: StudyWindow, *, seed: int = 0, project_hash: str = "", network_name: str = ""
) -> ScenarioBatch:
    """A batch of one scenario in which nothing happens yet."""
    return _batch(_empty(window, seed), network, window, project_hash=project_hash, network_name=network_name)


def with_effect(batch: ScenarioBatch, effect: Effect, network: RoadNetwork, index: int | None = None) -> ScenarioBatch:
    """The batch with one more effect: in the scenario of that index, or in all where there is none.

    Raises ``ScenarioError`` that lists everything that cannot happen on this network or within the batch's window.
    """
    problems = Problems(f"this {effect.kind} cannot happen")
    if fault := batch.made_elsewhere(network):
        problems.add(f"the scenarios were {fault}: name the project that they were made for")
    window = batch.window
    faults = effect_problems([effect], network, begin_s=window.begin_s, end_s=window.end_s)
    problems.extend(fault.removeprefix(f"effect 0 ({effect.kind}): ") for fault in faults)
    numbers = [scenario.index for scenario in batch.scenarios]
    if index is not None and index not in numbers:
        problems.add(f"there is no scenario {index}; indices run from {min(numbers)} to {max(numbers)}")
    problems.raise_as(ScenarioError)
    return replace(
        batch,
        scenarios=tuple(
            replace(scenario, effects=(*scenario.effects, effect)) if index in (None, scenario.index) else scenario
            for scenario in batch.scenarios
        ),
    )


def looking_across(network: RoadNetwork, incident: Incident, capacity_left: float) -> Rubbernecking:
    """Drivers on the opposite carriageway who look at an incident while it stands.

    Raises ``ScenarioError`` where its edge has no opposite carriageway.
    """
    place = opposite_place(network, incident.edge, incident.position_m)
    return Rubbernecking(
        start_s=incident.start_s,
        duration_s=incident.duration_s,
        edge=place.edge,
        position_m=place.position_m,
        capacity_left=capacity_left,
    )


def _empty(window: StudyWindow, seed: int) -> Scenario:
    return Scenario(index=0, seed=sumo_seed(seed, "by hand"), condition=Condition())


def _batch(
    scenario: Scenario, network: RoadNetwork, window: StudyWindow, *, project_hash: str, network_name: str
) -> ScenarioBatch:
    return ScenarioBatch(
        project_hash=project_hash,
        network_hash=network.sha256,
        network_name=network_name,
        window=window,
        scenarios=(scenario,),
    )


def usual_capacity_left(edge: Edge, blocked: Sequence[int]) -> float:
    """The published share (FHWA-HOP-13-042 table 40) where it can be brought about, otherwise the nearest that can.

    Where the table has no entry: 0 with two or more lanes all blocked, and the middle of what can be brought about
    on a single lane. The table is for motorways; on streets its use is our assumption.
    """
    driving = edge.driving_lanes
    count, obstructed = len(driving), len([lane for lane in blocked if lane in driving])
    if not count or obstructed == count >= 2:
        return 0.0
    low, high = reachable(edge.road_class, count, obstructed, inner=is_inner(driving, tuple(blocked)))
    published = published_capacity_left(count, obstructed)
    if published is None:
        return round((low + high) / 2, 3)
    return min(max(published, low), high)
