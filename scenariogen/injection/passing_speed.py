"""The speed past an incident at which the asked share of capacity is left, for the traffic of the running simulation.

:func:`passing_speeds` is what an injection calls once, when it begins. Nothing is replaced silently: which table is
looked up stands in ``table``, and whatever the injection cannot promise is a line of ``warnings``.
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scenariogen.errors import ProjectError
from scenariogen.incidents import capacity
from scenariogen.incidents.capacity_tables import CapacityTable, shipped_table
from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.injection.calibration_cache import find_table
from scenariogen.injection.connection import Link
from scenariogen.injection.vehicle_mix import DEFAULT_TRAFFIC, Traffic
from scenariogen.injection.vehicle_mix_reading import project_traffic, running_traffic
from scenariogen.network import Edge, RoadNetwork
from scenariogen.scenarios.effects import Effect, Rubbernecking

if TYPE_CHECKING:
    from scenariogen.simulation.project import SumoProject

_DIFFERENCES_TOLD = 3


@dataclass(frozen=True, kw_only=True)
class PassingSpeeds:
    """Called with an incident and its edge, gives the speed (m/s) past it; the limit where no stretch is needed.

    ``table``     what speeds are looked up in
    ``warnings``  what to tell the user: why another traffic's table is used, which shares cannot be had
    """

    table: CapacityTable
    warnings: tuple[str, ...] = ()

    def __call__(self, incident: Incident, edge: Edge) -> float:
        inner = capacity.is_inner(edge.driving_lanes, incident.lanes)
        lanes, blocked = len(edge.driving_lanes), len(incident.lanes)
        table = self.table if self.table.holds(edge.road_class, lanes, blocked, inner=inner) else shipped_table()
        share = _nearest(table, incident, edge)
        return table.stretch_speed_mps(edge.road_class, lanes, blocked, share, limit_mps(edge), inner=inner)


def passing_speeds(
    link: Link,
    network: RoadNetwork,
    incidents: Iterable[Incident],
    *,
    effects: Iterable[Effect] = (),
    sumocfg: str = "",
) -> PassingSpeeds:
    """The table that holds for a running simulation, with warnings about what it does not.

    ``effects``  those of the scenario: some of them ask for a share of capacity as incidents do
    ``sumocfg``  the project to name in a warning; by default the file that the simulation was started with

    The traffic is read from the files that the simulation was started with. Where it differs materially from that of
    every table at hand, the shipped one is used and a warning names the differences and what to type.
    """
    asked = [(f"incident {number}", incident) for number, incident in enumerate(incidents)]
    asked += [
        (f"effect {number} ({effect.kind})", looked_at(effect))
        for number, effect in enumerate(effects)
        if isinstance(effect, Rubbernecking)
    ]
    try:
        traffic = running_traffic(link)
    except ProjectError as error:
        return _checked(shipped_table(), network, asked, (_unknown(str(error)),))
    table = find_table(traffic)
    if table is not None:
        return _checked(table, network, asked, ())
    return _checked(
        shipped_table(),
        network,
        asked,
        (difference_warning(traffic, sumocfg or link.option("configuration-file")),),
    )


def project_capacity(project: "SumoProject") -> tuple[str, str]:
    """The table that a project's injections will look speeds up in, and the warning they will give (or none)."""
    traffic = project_traffic(project)
    table = find_table(traffic)
    if table is not None:
        return table.name, ""
    return shipped_table().name, difference_warning(traffic, str(project.sumocfg))


def project_table(project: "SumoProject") -> CapacityTable | None:
    """The table of a project's own traffic; None where that is SUMO's default car, where none was measured, or where
    its vehicles cannot be read: injections then warn."""
    try:
        table = find_table(project_traffic(project))
    except ProjectError:
        return None
    return None if table is shipped_table() else table


def difference_warning(traffic: Traffic, sumocfg: str = "") -> str:
    """That a traffic has no table of its own, why it needs one, and how to measure it."""
    found = traffic.differences(DEFAULT_TRAFFIC)
    more = f" and {len(found) - _DIFFERENCES_TOLD} more" if len(found) > _DIFFERENCES_TOLD else ""
    return (
        "shares of capacity are those of SUMO's default car at steps of 1 s, and this traffic differs from it: "
        f"{'; '.join(found[:_DIFFERENCES_TOLD])}{more}. Measure it once: "
        f"scenariogen calibrate --sumocfg {shlex.quote(sumocfg) if sumocfg else 'FILE'}"
    )


def _unknown(why: str) -> str:
    return (
        "shares of capacity are those of SUMO's default car at steps of 1 s; whether this traffic differs from it is "
        f"not known: {why}"
    )


def _checked(
    table: CapacityTable, network: RoadNetwork, asked: Iterable[tuple[str, Incident]], warnings: tuple[str, ...]
) -> PassingSpeeds:
    found = list(warnings)
    for name, incident in asked:
        edge = network.edges.get(incident.edge)
        if edge is None or incident.capacity_left <= 0 or table is shipped_table():
            continue  # the shipped table's range was checked with the scenario
        lanes, blocked = len(edge.driving_lanes), len(incident.lanes)
        inner = capacity.is_inner(edge.driving_lanes, incident.lanes)
        if not table.holds(edge.road_class, lanes, blocked, inner=inner):
            found.append(
                f"{name}: {table.name} holds no {edge.road_class} of {lanes} lanes, so the shipped table "
                "is used there; run scenariogen calibrate for this project"
            )
        elif out_of_reach := table.unreachable(edge.road_class, lanes, blocked, incident.capacity_left, inner=inner):
            nearest = _nearest(table, incident, edge)
            found.append(f"{name}: {out_of_reach} with this traffic; {nearest:.3g} will be left")
    return PassingSpeeds(table=table, warnings=tuple(found))


def _nearest(table: CapacityTable, incident: Incident, edge: Edge) -> float:
    """The asked share, or the end of the reachable range that is nearest to it."""
    inner = capacity.is_inner(edge.driving_lanes, incident.lanes)
    low, high = table.reachable(edge.road_class, len(edge.driving_lanes), len(incident.lanes), inner=inner)
    return incident.capacity_left if table is shipped_table() else min(max(incident.capacity_left, low), high)


def limit_mps(edge: Edge) -> float:
    """Highest speed limit of an edge's lanes for cars."""
    return max(lane.speed_mps for lane in edge.lanes if lane.drives)


def asks_for_capacity(effects: Iterable[Effect]) -> bool:
    """Whether some effect needs a speed from a capacity table."""
    return any(isinstance(effect, Rubbernecking) for effect in effects)


def looked_at(effect: Rubbernecking) -> Incident:
    """What drivers look at, as an incident that blocks no lane of the edge where they drive."""
    return Incident(
        edge=effect.edge,
        start_s=effect.start_s,
        position_m=effect.position_m,
        kind=IncidentKind.CRASH,
        lanes=(),
        capacity_left=effect.capacity_left,
        detection_s=effect.duration_s,
        response_s=0.0,
        clearance_s=0.0,
    )
