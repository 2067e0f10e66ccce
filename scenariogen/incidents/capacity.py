"""What an incident leaves of a road's capacity: the published shares, and what SUMO can be made to do.

*Capacity left* is the share of the undisturbed saturation discharge of the cross-section at the incident.

Two sources stand side by side. :func:`published_capacity_left` is the table that agencies use (FHWA-HOP-13-042,
*Guidance on the Level of Effort Required to Conduct Traffic Analysis Using Microsimulation* series, table 40,
after the Highway Capacity Manual 2010, exhibit 10-17). ``capacity_table.json`` is measured: stopped vehicles on a
straight saturated road in SUMO, with the stretch of reduced speed that the injection drives past them, for a range
of speeds (``scripts/calibrate_capacity`` writes it). Blocked lanes alone take away less than the published table
says; the slower the stretch, the less is left. :func:`reachable` says what can be had, and
:func:`stretch_speed_mps` which speed gives it, both for the traffic that the table was measured with; tables of other
traffic, and the assumptions behind all of them, are in :mod:`scenariogen.incidents.capacity_tables`.
"""

from collections.abc import Sequence

from scenariogen.incidents.capacity_tables import MOST_LANES_MEASURED, TABLE_FILE, isotonic, shipped_table
from scenariogen.network import RoadClass

__all__ = [
    "MOST_LANES_MEASURED",
    "PUBLISHED_LANES",
    "TABLE_FILE",
    "is_inner",
    "isotonic",
    "published_capacity_left",
    "reachable",
    "stretch_speed_mps",
    "table",
    "unreachable",
]

PUBLISHED_LANES = range(2, 9)
_PUBLISHED_BLOCKED: dict[int, tuple[float, ...]] = {
    2: (0.35, 0.0),
    3: (0.49, 0.17, 0.0),
    4: (0.58, 0.25, 0.13),
    5: (0.65, 0.40, 0.20, 0.10),
    6: (0.71, 0.50, 0.26, 0.17),
    7: (0.75, 0.57, 0.36, 0.27),
    8: (0.78, 0.63, 0.41, 0.33),
}
_PUBLISHED_DISABLEMENT = {2: 0.95, 3: 0.99, 4: 0.99, 5: 0.99, 6: 0.99, 7: 0.99, 8: 0.99}
_PUBLISHED_ACCIDENT = {2: 0.81, 3: 0.83, 4: 0.85, 5: 0.87, 6: 0.89, 7: 0.91, 8: 0.93}


def published_capacity_left(lanes: int, blocked: int, *, crash: bool = True) -> float | None:
    """Share of a motorway direction's capacity left, FHWA-HOP-13-042 table 40; None where the table has no entry.

    ``blocked`` 0 is an incident on the shoulder: an accident, or with ``crash=False`` a disabled vehicle.

    >>> published_capacity_left(3, 1), published_capacity_left(3, 0), published_capacity_left(2, 3)
    (0.49, 0.83, None)
    """
    if blocked == 0:
        return (_PUBLISHED_ACCIDENT if crash else _PUBLISHED_DISABLEMENT).get(lanes)
    row = _PUBLISHED_BLOCKED.get(lanes, ())
    return row[blocked - 1] if 1 <= blocked <= len(row) else None


def is_inner(driving_lanes: Sequence[int], blocked: Sequence[int]) -> bool:
    """True where lanes stay open on both sides of the blocked ones.

    >>> is_inner((0, 1, 2), (1,)), is_inner((0, 1, 2), (0, 1)), is_inner((0, 1, 2), ())
    (True, False, False)
    """
    return bool(blocked) and min(driving_lanes) < min(blocked) and max(blocked) < max(driving_lanes)


def reachable(road_class: RoadClass, lanes: int, blocked: int, *, inner: bool = False) -> tuple[float, float]:
    """Lowest and highest capacity left that the injection can bring about: the support of ``capacity_left``.

    ``lanes``    driving lanes of the cross-section
    ``blocked``  how many of them are blocked; 0 is an incident on the shoulder
    ``inner``    lanes stay open on both sides of the blocked ones (see :func:`is_inner`)

    The upper end is what the blocking vehicles alone leave. All of two or more lanes blocked leaves exactly 0. The
    one lane of a single-lane road blocked means that traffic squeezes past, slower at most than on a free road; a
    full closure (0) is then possible besides.
    """
    return shipped_table().reachable(road_class, lanes, blocked, inner=inner)


def stretch_speed_mps(
    road_class: RoadClass, lanes: int, blocked: int, capacity_left: float, limit_mps: float, *, inner: bool = False
) -> float:
    """Speed (m/s) past the blockage at which the asked share of capacity is left; the limit where none is needed.

    Arguments as :func:`reachable`, which gives the range of ``capacity_left``; ``limit_mps`` is the speed limit of
    the open lanes. Raises ``ScenarioError`` outside the range (0.005 is allowed for rounding).
    """
    return shipped_table().stretch_speed_mps(road_class, lanes, blocked, capacity_left, limit_mps, inner=inner)


def unreachable(
    road_class: RoadClass, lanes: int, blocked: int, capacity_left: float, *, inner: bool = False
) -> str | None:
    """One line that says why a share cannot be reached, with the range that can; None where it can be."""
    return shipped_table().unreachable(road_class, lanes, blocked, capacity_left, inner=inner)


def table() -> dict:
    """The shipped table as ``scripts/calibrate_capacity`` wrote it: SUMO version, settings, rows."""
    return dict(shipped_table().content)
