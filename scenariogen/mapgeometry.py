"""Where things are on a network: degrees to network coordinates and back, and the lanes near a point.

A SUMO network keeps the projection it was made with and the shift that was added afterwards (netOffset): network
coordinates are projected coordinates plus that shift, in metres. Facts about the format: SUMO User Documentation,
"Geo-Coordinates" (German Aerospace Center).

Positions are metres along a lane as SUMO counts them: a lane's length may differ from that of its shape, so metres
along the shape are stretched by their ratio.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from scenariogen.errors import ProjectError
from scenariogen.network import RoadNetwork

if TYPE_CHECKING:
    from shapely import STRtree

TANGENT_M = 2.0
"""The direction of a lane at a place is that of the chord from so far before to so far after it."""


class Projection:
    """WGS 84 degrees to coordinates of one network (m) and back, by its projection and its offset.

    Raises ``ProjectError`` where the network has no projection.
    """

    def __init__(self, network: RoadNetwork) -> None:
        if not network.projection:
            raise ProjectError(
                f"{network.path.name} has no projection (projParameter is '!'), so degrees have no place on it; give "
                "plane coordinates, or build the network with netconvert --proj.utm from data that has degrees"
            )
        from pyproj import Transformer
        from pyproj.exceptions import ProjError

        try:
            self._there = Transformer.from_crs("EPSG:4326", network.projection, always_xy=True)
        except ProjError as error:
            raise ProjectError(f"{network.path.name}: projection {network.projection!r} is unknown: {error}") from error
        self._offset = network.offset

    def to_network(self, lon_deg: Any, lat_deg: Any) -> tuple[np.ndarray, np.ndarray]:
        """Network coordinates x, y (m) of degrees, arrays of one shape; infinite where the projection has no answer."""
        x, y = self._there.transform(np.asarray(lon_deg, float), np.asarray(lat_deg, float))
        return np.asarray(x) + self._offset[0], np.asarray(y) + self._offset[1]

    def to_degrees(self, x_m: Any, y_m: Any) -> tuple[np.ndarray, np.ndarray]:
        """Longitude and latitude (degrees) of network coordinates (m), arrays of one shape."""
        x, y = np.asarray(x_m, float) - self._offset[0], np.asarray(y_m, float) - self._offset[1]
        lon, lat = self._there.transform(x, y, direction="INVERSE")
        return np.asarray(lon), np.asarray(lat)


def network_box(network: RoadNetwork) -> tuple[float, float, float, float]:
    """Least x and y, greatest x and y (m) of the shapes of all lanes."""
    points = np.array([p for edge in network.edges.values() for lane in edge.lanes for p in lane.shape])
    (low_x, low_y), (high_x, high_y) = points.min(axis=0), points.max(axis=0)
    return float(low_x), float(low_y), float(high_x), float(high_y)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where points fall on lanes, one entry per pair of point and lane.

    ``lane``         row in :attr:`LaneIndex.lanes`
    ``distance_m``   from the point to the middle of the lane
    ``position_m``   metres from the start of the lane, between 0 and its length
    """

    lane: np.ndarray
    distance_m: np.ndarray
    position_m: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Near:
    """Edges near points, one entry per pair, by point and then by distance.

    ``point``     row in the points asked for
    ``edge``      place on the ``edge`` axis of the network
    ``places``    where the point falls on the nearest lane of that edge
    """

    point: np.ndarray
    edge: np.ndarray
    places: Places


@dataclass(frozen=True)
class LaneIndex:
    """The driving lanes of a network by place. ``lanes`` holds (edge index, lane index) per row."""

    network: RoadNetwork = field(repr=False)

    @cached_property
    def lanes(self) -> np.ndarray:
        return np.array(
            [(number, lane) for number, edge in enumerate(self.network.edges.values()) for lane in edge.driving_lanes],
            dtype=np.int64,
        ).reshape(-1, 2)

    @cached_property
    def lines(self) -> np.ndarray:
        """The shapes of the lanes as shapely lines."""
        import shapely

        edges = list(self.network.edges.values())
        shapes = [_at_least_two(edges[edge].lanes[lane].shape) for edge, lane in self.lanes]
        return np.array([shapely.LineString(shape) for shape in shapes], dtype=object)

    @cached_property
    def stretch(self) -> np.ndarray:
        """Length of each lane over the length of its shape."""
        import shapely

        edges = list(self.network.edges.values())
        lengths = np.array([edges[edge].lanes[lane].length_m for edge, lane in self.lanes])
        return lengths / np.maximum(shapely.length(self.lines), 1e-9)

    @cached_property
    def lengths_m(self) -> np.ndarray:
        import shapely

        return shapely.length(self.lines) * self.stretch

    @cached_property
    def first_lane(self) -> np.ndarray:
        """Row of the first driving lane of each edge, and one more: edge e owns rows [e] to [e+1]."""
        return np.searchsorted(self.lanes[:, 0], np.arange(len(self.network.edges) + 1))

    @cached_property
    def tree(self) -> "STRtree":
        import shapely

        return shapely.STRtree(self.lines)

    def place(self, x_m: np.ndarray, y_m: np.ndarray, lane: np.ndarray) -> Places:
        """Where point i falls on lane ``lane[i]`` (rows of :attr:`lanes`), arrays of one length."""
        import shapely

        points, lines = shapely.points(x_m, y_m), self.lines[lane]
        return Places(
            lane=lane,
            distance_m=shapely.distance(lines, points),
            position_m=shapely.line_locate_point(lines, points) * self.stretch[lane],
        )

    def place_on_edges(self, x_m: np.ndarray, y_m: np.ndarray, edge: np.ndarray) -> Places:
        """Where point i falls on the nearest driving lane of edge ``edge[i]``, which must have one."""
        first, count = self.first_lane[edge], np.diff(self.first_lane)[edge]
        owner = np.repeat(np.arange(len(edge)), count)
        lane = np.repeat(first, count) + np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
        all_places = self.place(x_m[owner], y_m[owner], lane)
        best = _first_of_each(owner, all_places.distance_m)
        return _take(all_places, best)

    def near(self, x_m: np.ndarray, y_m: np.ndarray, *, reach_m: float, most: int) -> Near:
        """At most ``most`` nearest edges of each point within ``reach_m`` of the middle of one of their lanes.

        Points that are not finite are near nothing.
        """
        import shapely

        finite = np.flatnonzero(np.isfinite(x_m) & np.isfinite(y_m))
        row, lane = self.tree.query(shapely.points(x_m[finite], y_m[finite]), predicate="dwithin", distance=reach_m)
        point = finite[row]
        places = self.place(x_m[point], y_m[point], lane)
        edge = self.lanes[lane, 0]
        best = _first_of_each(point * len(self.network.edges) + edge, places.distance_m)
        point, edge, places = point[best], edge[best], _take(places, best)
        order = np.lexsort((places.distance_m, point))
        point, edge, places = point[order], edge[order], _take(places, order)
        rank = np.arange(len(point)) - np.searchsorted(point, point)
        keep = rank < most
        return Near(point=point[keep], edge=edge[keep], places=_take(places, keep))

    def direction(self, lane: np.ndarray, position_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Unit vector (x, y) of the direction of travel on lanes (rows of :attr:`lanes`) at positions (m)."""
        import shapely

        lines, along = self.lines[lane], position_m / self.stretch[lane]
        length = shapely.length(lines)
        low = shapely.line_interpolate_point(lines, np.maximum(along - TANGENT_M, 0.0))
        high = shapely.line_interpolate_point(lines, np.minimum(along + TANGENT_M, length))
        dx, dy = shapely.get_x(high) - shapely.get_x(low), shapely.get_y(high) - shapely.get_y(low)
        norm = np.maximum(np.hypot(dx, dy), 1e-9)
        return dx / norm, dy / norm

    def __repr__(self) -> str:
        return f"LaneIndex({self.network.path.name}: {len(self.lanes)} driving lanes)"


def _at_least_two(shape: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    return shape if len(shape) > 1 else (*shape, *shape)


def _first_of_each(group: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Rows of the least value in each group, groups ascending."""
    order = np.lexsort((value, group))
    return order[np.r_[True, np.diff(group[order]) != 0]] if len(order) else order


def _take(places: Places, rows: np.ndarray) -> Places:
    return Places(lane=places.lane[rows], distance_m=places.distance_m[rows], position_m=places.position_m[rows])
