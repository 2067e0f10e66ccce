"""On-ramps of a network: where a road joins a motorway that carries on, and where its vehicles wait for a meter."""

from dataclasses import dataclass, field

from scenariogen.network import Edge, RoadClass, RoadNetwork
from scenariogen.simulation.roadside import Loop

SPACE_M = 7.5
"""Road that a standing vehicle takes."""
BEFORE_END_M = 10.0
"""Loops of a merge lie this far before the end of the acceleration lane; without one, this far after the nose."""
LONGEST_MERGE_M = 1000.0
LONGEST_STORAGE_M = 1500.0


@dataclass(frozen=True, kw_only=True)
class OnRamp:
    """One on-ramp.

    ``edge``     the edge at whose end vehicles are metered
    ``joins``    the motorway edge that it leads to, directly or through the rest of the ramp
    ``signal``   the traffic light at the end of ``edge`` that controls nothing else; empty where there is none
    ``storage``  edges before the stop line, ``edge`` first, upstream as far as the ramp has no fork
    ``lanes``    the lanes of ``edge`` that passenger cars may use
    ``loops``    where occupancy downstream of the merge is measured
    ``upstream`` ``edge`` of the ramps upstream on the same motorway, the nearest first
    """

    edge: str
    joins: str
    signal: str
    storage: tuple[str, ...]
    storage_m: float
    lanes: tuple[str, ...]
    loops: tuple[Loop, ...] = field(repr=False)
    upstream: tuple[str, ...] = ()

    @property
    def storage_vehicles(self) -> int:
        """Vehicles that fit before the stop line."""
        return int(self.storage_m / SPACE_M)


def on_ramps(network: RoadNetwork) -> dict[str, OnRamp]:
    """All on-ramps by ``edge``, in the network's order."""
    from dataclasses import replace

    found = {ramp.edge: ramp for edge in network.edges.values() if (ramp := _on_ramp(network, edge)) is not None}
    joined: dict[str, list[str]] = {}
    for ramp in found.values():
        joined.setdefault(ramp.joins, []).append(ramp.edge)
    return {ramp.edge: replace(ramp, upstream=_upstream(network, ramp, joined)) for ramp in found.values()}


def _on_ramp(network: RoadNetwork, last: Edge) -> OnRamp | None:
    """The on-ramp whose last edge this is; None where it is none."""
    if last.road_class is RoadClass.MOTORWAY or not last.driving_lanes:
        return None
    for name in last.successors:
        joins = network.edges[name]
        others = [network.edges[before] for before in joins.predecessors if before != last.id]
        if joins.road_class is RoadClass.MOTORWAY and any(e.road_class is RoadClass.MOTORWAY for e in others):
            break
    else:
        return None
    metered, signal = _stop_line(network, last)
    storage = _ramp_upstream(network, metered)
    return OnRamp(
        edge=metered.id,
        joins=joins.id,
        signal=signal,
        storage=tuple(edge.id for edge in storage),
        storage_m=sum(edge.length_m * len(edge.driving_lanes) for edge in storage),
        lanes=tuple(metered.lanes[index].id for index in metered.driving_lanes),
        loops=_merge_loops(network, joins),
    )


def _stop_line(network: RoadNetwork, last: Edge) -> tuple[Edge, str]:
    """The edge with a signal of its own on the ramp, and that signal; otherwise the ramp's last edge."""
    for edge in _ramp_upstream(network, last):
        lanes = {lane.id for lane in edge.lanes}
        for signal, controlled in network.signals.items():
            if controlled and set(controlled) <= lanes:
                return edge, signal
    return last, ""


def _ramp_upstream(network: RoadNetwork, edge: Edge) -> list[Edge]:
    """The edge and those before it, as long as only one leads there, which leads nowhere else."""
    found, metres = [edge], edge.length_m
    while len(found[-1].predecessors) == 1 and metres < LONGEST_STORAGE_M:
        before = network.edges[found[-1].predecessors[0]]
        if len(before.successors) != 1 or before.road_class is RoadClass.MOTORWAY or before in found:
            break
        found.append(before)
        metres += before.length_m
    return found


def _merge_loops(network: RoadNetwork, joins: Edge) -> tuple[Loop, ...]:
    """Loops on the lanes that carry on, at the end of the acceleration lane, where a queue begins to form.

    The acceleration lane lasts until an edge with fewer lanes follows. Without one the loops lie a little downstream of
    the nose.
    """
    edge, metres, seen = joins, joins.length_m, {joins.id}
    while metres < LONGEST_MERGE_M:
        after = [
            network.edges[name] for name in edge.successors if network.edges[name].road_class is RoadClass.MOTORWAY
        ]
        if len(after) != 1 or after[0].id in seen:
            break
        if len(after[0].driving_lanes) < len(edge.driving_lanes):
            going_on = [i for i in edge.driving_lanes if network.lane_links.get(edge.lanes[i].id)]
            return tuple(Loop(lane=edge.lanes[i].id, position_m=-BEFORE_END_M) for i in going_on)
        edge = after[0]
        seen.add(edge.id)
        metres += edge.length_m
    return tuple(Loop(lane=joins.lanes[i].id, position_m=BEFORE_END_M) for i in joins.driving_lanes)


def _upstream(network: RoadNetwork, ramp: OnRamp, joined: dict[str, list[str]]) -> tuple[str, ...]:
    """Ramps that join the motorway upstream of where this one does, by distance."""
    found: list[str] = []
    front, seen = [ramp.joins], {ramp.joins}
    while front:
        here = front.pop(0)
        found += [other for other in joined.get(here, ()) if other != ramp.edge]
        for before in network.edges[here].predecessors:
            if before not in seen and network.edges[before].road_class is RoadClass.MOTORWAY:
                seen.add(before)
                front.append(before)
    return tuple(found)
