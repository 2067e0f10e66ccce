"""From the coordinates of a recording to those of the network, and whether the two can belong together."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scenariogen.errors import DataError
from scenariogen.mapgeometry import Projection, network_box
from scenariogen.network import RoadNetwork
from scenariogen.trajectories import columns
from scenariogen.trajectories.columns import PLACES, Place

LEAST_SHARE_INSIDE = 0.5
"""Plane coordinates without a stated origin are taken for the network's own where so many rows lie in its box."""
BOX_MARGIN_M = 50.0

Transform = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, kw_only=True)
class Coordinates:
    """How rows get network coordinates: from which columns, by which function, said in which words."""

    place: Place
    transform: Transform
    words: str

    def of(self, table: Any) -> tuple[np.ndarray, np.ndarray]:
        """x, y (m) in the network of each row of an Arrow table or batch."""
        first, second = (table.column(name).to_numpy(zero_copy_only=False) for name in PLACES[self.place])
        return self.transform(np.asarray(first, float), np.asarray(second, float))


def coordinates(
    names: Collection[str], network: RoadNetwork, *, origin: tuple[float, float] | None, file: Path
) -> Coordinates:
    """Degrees where the table and the network have them and no origin is given, else the plane.

    Raises ``DataError`` where a table with these columns has no coordinates that fit, ``ProjectError`` where it has
    degrees alone and the network no projection.
    """
    places = columns.places(names)
    if Place.WGS84 in places and origin is None and (network.projection or Place.PLANE not in places):
        projection = Projection(network)
        return Coordinates(
            place=Place.WGS84, transform=projection.to_network, words=f"WGS 84 through {network.projection}"
        )
    if Place.PLANE in places:
        x, y = origin or (0.0, 0.0)
        words = f"plane, shifted by {x:g},{y:g} m" if origin else "plane, taken for the network's own"
        return Coordinates(place=Place.PLANE, transform=lambda a, b: (a + x, b + y), words=words)
    has = ", ".join(places) or "nothing"
    if Place.WGS84 in places:
        raise DataError(f"{file} has degrees, which need no origin; leave --origin out")
    raise DataError(
        f"{file} says where vehicles are by {has}; matching to a network needs x_m and y_m, or lon_deg and lat_deg"
        + ("; attach a road to edges by name: --chain EDGE,EDGE,..." if Place.ROAD in places else "")
    )


def check_overlap(
    tables: Iterator[Any], way: Coordinates, network: RoadNetwork, *, origin: tuple[float, float] | None, file: Path
) -> None:
    """Raise ``DataError`` where the recording lies elsewhere than the network, with what would bring it there."""
    box = network_box(network)
    low, high = np.array(box[:2]) - BOX_MARGIN_M, np.array(box[2:]) + BOX_MARGIN_M
    rows, inside, projected = 0, 0, 0
    least, most = np.full(2, np.inf), np.full(2, -np.inf)
    shift = np.array(network.offset)
    for table in tables:
        points = np.stack(way.of(table), axis=1)
        points = points[np.isfinite(points).all(axis=1)]
        if not len(points):
            continue
        rows += len(points)
        inside += int(((points >= low) & (points <= high)).all(axis=1).sum())
        projected += int(((points + shift >= low) & (points + shift <= high)).all(axis=1).sum())
        least, most = np.minimum(least, points.min(axis=0)), np.maximum(most, points.max(axis=0))
    unknown_origin = way.place is Place.PLANE and origin is None
    if inside and (not unknown_origin or inside >= LEAST_SHARE_INSIDE * rows):
        return
    where = f"x {least[0]:.0f} to {most[0]:.0f}, y {least[1]:.0f} to {most[1]:.0f}"
    there = f"x {box[0]:.0f} to {box[2]:.0f}, y {box[1]:.0f} to {box[3]:.0f}"
    fault = f"{file}: {inside:,} of {rows:,} rows lie within {network.path.name} (rows {where}; network {there})"
    if way.place is Place.WGS84:
        raise DataError(f"{fault}; expected a recording of the same place: take another network, or check lon and lat")
    if unknown_origin and projected >= LEAST_SHARE_INSIDE * rows and shift.any():
        hint = f"they are projected coordinates without the network's offset: give --origin {shift[0]:g},{shift[1]:g}"
    else:
        hint = "give --origin X,Y, the network coordinates (m) of the recording's point 0,0"
    raise DataError(f"{fault}; {hint}")
