"""Lanes that an effect is about."""

from collections.abc import Iterable

from scenariogen.injection.lanes import LaneMap
from scenariogen.network import RoadNetwork


def lanes_of(network: RoadNetwork, edges: Iterable[str], lanes: Iterable[str]) -> list[str]:
    """All lanes of the edges and the single lanes, each once, in order."""
    named = [lane.id for edge in edges for lane in network.edges[edge].lanes]
    return list(dict.fromkeys([*named, *lanes]))


def entrances(network: RoadNetwork, lanes: LaneMap, targets: Iterable[str]) -> tuple[list[str], list[str]]:
    """Internal lanes that lead onto ``targets``, and those targets that something leads to without an internal lane."""
    wanted = set(targets)
    internal: dict[str, None] = {}
    direct: dict[str, None] = {}
    for before, after in network.lane_links.items():
        if wanted.isdisjoint(after):
            continue
        for target, between in lanes.leads_to(before):
            if target in wanted:
                (internal if between else direct)[between[0][0] if between else target] = None
    return list(internal), list(direct)
