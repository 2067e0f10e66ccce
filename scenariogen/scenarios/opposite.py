"""The other carriageway beside a place on the road: the edge that leads the other way, and where on it.

Found by geometry alone: ids such as ``-12`` for the other direction are a habit of some networks, and two edges between
the same junctions may lie far apart. The lanes next to the middle of the road are compared. The distances and the angle
below are our assumption.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from scenariogen.errors import ScenarioError
from scenariogen.network import Edge, Lane, RoadNetwork

PUBLISHED_CAPACITY_LEFT = 0.873
"""12.7 % of the capacity lost on average, where there is an effect at all, which was at about one accident in ten.

J. Masinick and H. Teng, *An Analysis on the Impact of Rubbernecking on Urban Freeway Traffic*, University of Virginia,
2004, as others quote it. The report's abstract, which is what we could read, says that likelihood, delay and loss of
capacity in the opposite direction were estimated, on urban freeways, without these two numbers.
"""
WITHIN_M = 60.0
"""Farthest from lane to lane across the middle of the road."""
MOST_TURN_DEG = 30.0
"""How far the two directions may be from opposite."""
_ON_THE_WRONG_SIDE_M = 1.0
"""Lanes drawn on the same line lie on no side."""

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class OppositePlace:
    """A place on the opposite carriageway, ``distance_m`` across the middle of the road."""

    edge: str
    position_m: float
    distance_m: float


def opposite_place(network: RoadNetwork, edge_id: str, position_m: float) -> OppositePlace:
    """Where drivers of the other direction pass a place ``position_m`` along an edge.

    The nearest edge of the same road class that leads the other way, on the side where oncoming traffic is, at most
    ``WITHIN_M`` away. Raises ``ScenarioError`` where the edge is not in the network or has none.
    """
    if edge_id not in network.edges:
        raise ScenarioError(network.unknown_edge(edge_id))
    edge = network.edges[edge_id]
    at, along = _at(_inner_lane(edge), position_m)
    side = -1.0 if network.left_hand else 1.0
    found: OppositePlace | None = None
    for other in network.edges.values():
        if other.id == edge_id or other.road_class is not edge.road_class or not other.driving_lanes:
            continue
        for place, point, direction in _near(other, _inner_lane(other), at):
            turned = abs(math.remainder(direction - along - math.pi, 2 * math.pi))
            across_m = math.cos(along) * (point[1] - at[1]) - math.sin(along) * (point[0] - at[0])
            if math.degrees(turned) > MOST_TURN_DEG or across_m * side < -_ON_THE_WRONG_SIDE_M:
                continue
            if found is None or place.distance_m < found.distance_m:
                found = place
    if found is None:
        raise ScenarioError(
            f"edge {edge_id!r} has no opposite carriageway: no {edge.road_class} within {WITHIN_M:g} m on its "
            f"{'right' if network.left_hand else 'left'} leads the other way at {position_m:.0f} m"
        )
    return found


def _inner_lane(edge: Edge) -> Lane:
    """The lane for cars next to the middle of the road; any lane where there is none for cars."""
    return edge.lanes[edge.driving_lanes[-1] if edge.driving_lanes else -1]


def _at(lane: Lane, position_m: float) -> tuple[Point, float]:
    """Network coordinates of a position on a lane, and the direction there in radians."""
    left_m = position_m * _drawn_m(lane) / lane.length_m
    for (ax, ay), (bx, by) in pairwise(lane.shape):
        length = math.dist((ax, ay), (bx, by))
        if length > 0 and (left_m <= length or (bx, by) == lane.shape[-1]):
            share = min(left_m / length, 1.0)
            return (ax + share * (bx - ax), ay + share * (by - ay)), math.atan2(by - ay, bx - ax)
        left_m -= length
    return lane.shape[0], 0.0


def _near(edge: Edge, lane: Lane, at: Point) -> list[tuple[OppositePlace, Point, float]]:
    """The nearest point of each segment of a lane within reach, with the segment's direction in radians."""
    found = []
    scale = lane.length_m / (_drawn_m(lane) or 1.0)  # a lane may be longer than it is drawn
    before_m = 0.0
    for (ax, ay), (bx, by) in pairwise(lane.shape):
        length = math.dist((ax, ay), (bx, by))
        if length > 0:
            share = ((at[0] - ax) * (bx - ax) + (at[1] - ay) * (by - ay)) / length**2
            share = min(max(share, 0.0), 1.0)
            point = ax + share * (bx - ax), ay + share * (by - ay)
            distance = math.dist(point, at)
            if distance <= WITHIN_M:
                position = min((before_m + share * length) * scale, edge.length_m)
                place = OppositePlace(edge=edge.id, position_m=position, distance_m=distance)
                found.append((place, point, math.atan2(by - ay, bx - ax)))
        before_m += length
    return found


def _drawn_m(lane: Lane) -> float:
    return sum(math.dist(one, other) for one, other in pairwise(lane.shape))
