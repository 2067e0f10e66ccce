"""How far apart two places of a road network lie along the road."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork


def gap_along_m(network: "RoadNetwork", edge: str, position_m: float, other: str, other_m: float) -> float:
    """Metres of road between two places on one edge or on two that follow each other; infinite elsewhere."""
    if edge == other:
        return abs(position_m - other_m)
    here, there = network.edges[edge], network.edges[other]
    gaps = []
    if other in here.successors:
        gaps.append(here.length_m - position_m + other_m)
    if edge in there.successors:
        gaps.append(there.length_m - other_m + position_m)
    return min(gaps, default=float("inf"))
