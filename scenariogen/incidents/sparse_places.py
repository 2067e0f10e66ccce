"""How far apart two places of a road network lie along the road."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork

SHORT_M = 60.0
"""Edges of this length in all may lie between two that follow each other: pieces of a junction, or of its approach."""


def gap_along_m(network: "RoadNetwork", edge: str, position_m: float, other: str, other_m: float) -> float:
    """Metres of road between two places on one edge or on two that follow each other, at most some short ones between
    them; infinite elsewhere."""
    if edge == other:
        return abs(position_m - other_m)
    here_m, there_m = (network.edges[name].length_m for name in (edge, other))
    onward_m = here_m - position_m + _between_m(network, edge, other, SHORT_M) + other_m
    return min(onward_m, there_m - other_m + _between_m(network, other, edge, SHORT_M) + position_m)


def _between_m(network: "RoadNetwork", edge: str, ahead: str, most_m: float) -> float:
    """Metres of the edges between two that follow each other; infinite where that is more than ``most_m``."""
    following = network.edges[edge].successors
    if ahead in following:
        return 0.0
    lengths = {name: network.edges[name].length_m for name in following if name in network.edges}
    return min(
        (
            length_m + _between_m(network, name, ahead, most_m - length_m)
            for name, length_m in lengths.items()
            if 0 < length_m <= most_m
        ),
        default=float("inf"),
    )
