"""What an incident leaves of a road's capacity: the published shares, and what SUMO can be made to do.

*Capacity left* is the share of the undisturbed saturation discharge of the cross-section at the incident.

Two sources stand side by side. :func:`published_capacity_left` is the table that agencies use (FHWA-HOP-13-042,
*Guidance on the Level of Effort Required to Conduct Traffic Analysis Using Microsimulation* series, table 40,
after the Highway Capacity Manual 2010, exhibit 10-17). ``capacity_table.json`` is measured: stopped vehicles on a
straight saturated road in SUMO, with the stretch of reduced speed that the injection drives past them, for a range
of speeds (``scripts/calibrate_capacity`` writes it). Blocked lanes alone take away less than the published table
says; the slower the stretch, the less is left. :func:`reachable` says what can be had, and
:func:`stretch_speed_mps` which speed gives it.

Assumptions, for what the table does not hold:

* a road class stands for the speed limit it was measured at (motorway 110 km/h, ramp 80, street 50); at another
  limit a given speed past the blockage discharges the same number of vehicles, and the share is taken of that
  limit's own free discharge (interpolated between the measured ones; below them, that of the speed itself);
* beyond five lanes the lanes added on the open side behave like lanes with nothing blocked, and blocked lanes
  beyond the fourth take nothing more from the lanes that stay open;
* which lanes are blocked matters in one respect: whether traffic can pass on both sides (``inner``), since it then
  merges into both neighbours and disturbs both.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

from scenariogen.errors import ScenarioError
from scenariogen.network import RoadClass

TABLE_FILE = "capacity_table.json"
MOST_LANES_MEASURED = 5
NEGLIGIBLE_SHARE = 1e-4
"""A share this little below what the blockers alone leave needs no stretch: it is far below the table's own error."""

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


@dataclass(frozen=True, kw_only=True)
class CapacityCurve:
    """Discharge past a blockage at a range of stretch speeds, ascending; the last one is the road's limit.

    ``speeds_mps``   speed in the stretch; the last entry means that no stretch was driven
    ``veh_h``        discharge, made monotone (pool-adjacent-violators over the measured shares)
    ``free_veh_h``   discharge of the same road without an incident
    """

    speeds_mps: np.ndarray
    veh_h: np.ndarray
    free_veh_h: float


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
    _check_counts(lanes, blocked, inner)
    if blocked == lanes >= 2:
        return 0.0, 0.0
    curve = _curve(str(RoadClass(road_class)), lanes, blocked, inner)
    low, high = curve.veh_h[0] / curve.free_veh_h, min(1.0, curve.veh_h[-1] / curve.free_veh_h)
    return float(low), float(high) if blocked and lanes > 1 else 1.0


def stretch_speed_mps(
    road_class: RoadClass, lanes: int, blocked: int, capacity_left: float, limit_mps: float, *, inner: bool = False
) -> float:
    """Speed (m/s) past the blockage at which the asked share of capacity is left; the limit where none is needed.

    Arguments as :func:`reachable`, which gives the range of ``capacity_left``; ``limit_mps`` is the speed limit of
    the open lanes. Raises ``ScenarioError`` outside the range (0.005 is allowed for rounding).
    """
    problem = unreachable(road_class, lanes, blocked, capacity_left, inner=inner)
    if problem:
        raise ScenarioError(problem)
    if blocked == lanes >= 2:
        return limit_mps
    curve = _curve(str(RoadClass(road_class)), lanes, blocked, inner)
    asked_veh_h = capacity_left * _free_veh_h(lanes, limit_mps)
    if asked_veh_h >= curve.veh_h[-1] * (1 - NEGLIGIBLE_SHARE):
        return limit_mps
    # Pooled levels discharge the same; the fastest of them is taken, since it delays the least.
    last = np.append(np.diff(curve.veh_h) > 0, True)
    speed = float(np.interp(asked_veh_h, curve.veh_h[last], curve.speeds_mps[last]))
    return min(speed, limit_mps)


def unreachable(
    road_class: RoadClass, lanes: int, blocked: int, capacity_left: float, *, inner: bool = False
) -> str | None:
    """One line that says why a share cannot be reached, with the range that can; None where it can be."""
    low, high = reachable(road_class, lanes, blocked, inner=inner)
    if low - 0.005 <= capacity_left <= high + 0.005 or (lanes == blocked == 1 and capacity_left == 0):
        return None
    where = " (inner lanes)" if inner else ""
    return (
        f"capacity_left {capacity_left:.3g} is out of reach with {blocked} of {lanes} {RoadClass(road_class)} lanes "
        f"blocked{where}: between {low:.2f} and {high:.2f} can be brought about"
    )


def _check_counts(lanes: int, blocked: int, inner: bool) -> None:
    if lanes < 1 or not 0 <= blocked <= lanes:
        raise ScenarioError(f"{blocked} of {lanes} lanes blocked: expected 0 to the number of lanes, at least 1 lane")
    if inner and not 1 <= blocked <= lanes - 2:
        raise ScenarioError(f"{blocked} of {lanes} lanes cannot be blocked with lanes open on both sides")


@cache
def table() -> dict:
    """The measured table as ``scripts/calibrate_capacity`` wrote it: SUMO version, settings, rows."""
    return json.loads(files("scenariogen.incidents").joinpath(TABLE_FILE).read_text(encoding="utf-8"))


@cache
def _curve(road_class: str, lanes: int, blocked: int, inner: bool) -> CapacityCurve:
    """The curve of any cross-section, from the measured ones (see the assumptions at the top)."""
    if lanes == blocked == 1:
        blocked = 0  # parked at the side of a single lane, and so measured
    if lanes <= MOST_LANES_MEASURED:
        return _measured(road_class, lanes, blocked, inner)
    base_blocked = min(blocked, MOST_LANES_MEASURED - (2 if inner else 1))
    base = _measured(road_class, MOST_LANES_MEASURED, base_blocked, inner)
    clear = _measured(road_class, MOST_LANES_MEASURED, 0, False)
    added = (lanes - blocked) - (MOST_LANES_MEASURED - base_blocked)
    lane_veh_h = np.interp(base.speeds_mps, clear.speeds_mps, clear.veh_h) / MOST_LANES_MEASURED
    return CapacityCurve(
        speeds_mps=base.speeds_mps,
        veh_h=base.veh_h + added * lane_veh_h,
        free_veh_h=base.free_veh_h * lanes / MOST_LANES_MEASURED,
    )


def _measured(road_class: str, lanes: int, blocked: int, inner: bool) -> CapacityCurve:
    for row in table()["rows"]:
        if (row["road_class"], row["lanes"], row["blocked"], row["inner"]) == (road_class, lanes, blocked, inner):
            share = isotonic(np.array(row["share"]), np.array(row["standard_error"]))
            if not blocked:
                share = np.minimum(share, 1.0)
            return CapacityCurve(
                speeds_mps=np.array(row["speeds_mps"]), veh_h=share * row["free_veh_h"], free_veh_h=row["free_veh_h"]
            )
    raise KeyError(f"{TABLE_FILE} has no row for {road_class}, {lanes} lanes, {blocked} blocked, inner {inner}")


@cache
def _free_veh_h(lanes: int, limit_mps: float) -> float:
    """Free discharge at a speed limit: between the measured limits, and below them that of the speed itself."""
    measured = min(lanes, MOST_LANES_MEASURED)
    classes = {row["limit_mps"]: row["road_class"] for row in table()["rows"]}
    curves = [_measured(classes[limit], measured, 0, False) for limit in sorted(classes)]
    slowest = curves[0]
    if limit_mps < slowest.speeds_mps[-1]:
        veh_h = float(np.interp(limit_mps, slowest.speeds_mps, slowest.veh_h))
    else:
        veh_h = float(np.interp(limit_mps, sorted(classes), [curve.free_veh_h for curve in curves]))
    return veh_h * max(1.0, lanes / MOST_LANES_MEASURED)


def isotonic(values: np.ndarray, standard_errors: np.ndarray) -> np.ndarray:
    """Least-squares non-decreasing fit, weights 1 / standard error² (pool-adjacent-violators; Barlow et al., 1972).

    >>> isotonic(np.array([1.0, 3.0, 2.0, 4.0]), np.ones(4)).tolist()
    [1.0, 2.5, 2.5, 4.0]
    """
    blocks: list[list[float]] = []  # mean, weight, count
    for value, error in zip(values, standard_errors, strict=True):
        blocks.append([float(value), 1.0 / max(float(error), 1e-6) ** 2, 1.0])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, weight, count = blocks.pop()
            before = blocks[-1]
            total = before[1] + weight
            blocks[-1] = [(before[0] * before[1] + mean * weight) / total, total, before[2] + count]
    return np.concatenate([np.full(int(count), mean) for mean, _, count in blocks])
