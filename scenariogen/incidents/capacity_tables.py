"""A measured capacity table: what is left past a blockage at a range of speeds, and the speed for a share asked.

A table holds for one traffic (vehicle mix, step length, car-following model) and one SUMO version. The shipped one
(``capacity_table.json``) is for SUMO's default car at steps of one second; others are measured on the same rig and
kept in the user's cache (:mod:`scenariogen.injection.calibration_cache`).

Assumptions, for what a table does not hold:

* a road class stands for the speed limit it was measured at (motorway 110 km/h, ramp 80, street 50); at another
  limit a given speed past the blockage discharges the same number of vehicles, and the share is taken of that
  limit's own free discharge (interpolated between the measured ones; below them, that of the speed itself);
* beyond five lanes the lanes added on the open side behave like lanes with nothing blocked, and blocked lanes
  beyond the fourth take nothing more from the lanes that stay open;
* which lanes are blocked matters in one respect: whether traffic can pass on both sides (``inner``), since it then
  merges into both neighbours and disturbs both.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from scenariogen.errors import ScenarioError
from scenariogen.network import RoadClass

TABLE_FILE = "capacity_table.json"
MOST_LANES_MEASURED = 5
NEGLIGIBLE_SHARE = 0.01
"""A share this little below what is left without a stretch needs none: the table's own standard error is as large,
and the curve is so flat there that a difference of 0.003 would slow everybody from 30 to 19 m/s."""
ROUNDING = 0.005
"""A share this little outside the range is taken for its end."""

Section = tuple[str, int, int, bool]
"""Road class, driving lanes, how many of them are blocked, and whether lanes stay open on both sides of those."""


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


class CapacityTable:
    """A table as calibration wrote it. Immutable; curves are worked out once each.

    ``name``     what it is called in reports
    ``content``  SUMO version, traffic, settings and ``rows``: one per cross-section
    """

    def __init__(self, name: str, content: Mapping[str, Any]) -> None:
        self.name = name
        self.content = content
        self.sumo_version: str = content["sumo_version"]
        self.rows: tuple[dict, ...] = tuple(content["rows"])
        self._rows: dict[Section, dict] = {section_of(row): row for row in self.rows}
        self._curves: dict[Section, CapacityCurve] = {}

    def __repr__(self) -> str:
        return f"CapacityTable({self.name}: {len(self.rows)} cross-sections, SUMO {self.sumo_version})"

    @property
    def sections(self) -> tuple[Section, ...]:
        """The cross-sections measured."""
        return tuple(self._rows)

    def holds(self, road_class: RoadClass, lanes: int, blocked: int, *, inner: bool = False) -> bool:
        """Whether the cross-section was measured, or follows from what was."""
        if blocked == lanes >= 2:
            return True
        needed = measured_sections(str(RoadClass(road_class)), lanes, blocked, inner)
        return all(section in self._rows for section in needed)

    def reachable(self, road_class: RoadClass, lanes: int, blocked: int, *, inner: bool = False) -> tuple[float, float]:
        """See :func:`scenariogen.incidents.capacity.reachable`, which asks the shipped table."""
        check_counts(lanes, blocked, inner)
        if blocked == lanes >= 2:
            return 0.0, 0.0
        curve = self.curve(road_class, lanes, blocked, inner=inner)
        low, high = curve.veh_h[0] / curve.free_veh_h, min(1.0, curve.veh_h[-1] / curve.free_veh_h)
        return float(low), float(high) if blocked and lanes > 1 else 1.0

    def stretch_speed_mps(
        self,
        road_class: RoadClass,
        lanes: int,
        blocked: int,
        capacity_left: float,
        limit_mps: float,
        *,
        inner: bool = False,
    ) -> float:
        """See :func:`scenariogen.incidents.capacity.stretch_speed_mps`, which asks the shipped table."""
        problem = self.unreachable(road_class, lanes, blocked, capacity_left, inner=inner)
        if problem:
            raise ScenarioError(problem)
        if blocked == lanes >= 2:
            return limit_mps
        curve = self.curve(road_class, lanes, blocked, inner=inner)
        free_veh_h = self._free_veh_h(lanes, limit_mps)
        asked_veh_h = capacity_left * free_veh_h
        unslowed_veh_h = min(float(curve.veh_h[-1]), free_veh_h)  # at a lower limit less passes even undisturbed
        if asked_veh_h >= unslowed_veh_h - (NEGLIGIBLE_SHARE + 1e-9) * free_veh_h:
            return limit_mps
        # Pooled levels discharge the same; the fastest of them is taken, since it delays the least.
        last = np.append(np.diff(curve.veh_h) > 0, True)
        speed = float(np.interp(asked_veh_h, curve.veh_h[last], curve.speeds_mps[last]))
        return min(speed, limit_mps)

    def unreachable(
        self, road_class: RoadClass, lanes: int, blocked: int, capacity_left: float, *, inner: bool = False
    ) -> str | None:
        """One line that says why a share cannot be reached, with the range that can; None where it can be."""
        low, high = self.reachable(road_class, lanes, blocked, inner=inner)
        if low - ROUNDING <= capacity_left <= high + ROUNDING or (lanes == blocked == 1 and capacity_left == 0):
            return None
        where = " (inner lanes)" if inner else ""
        return (
            f"capacity_left {capacity_left:.3g} is out of reach with {blocked} of {lanes} {RoadClass(road_class)} "
            f"lanes blocked{where}: between {low:.2f} and {high:.2f} can be brought about"
        )

    def curve(self, road_class: RoadClass, lanes: int, blocked: int, *, inner: bool = False) -> CapacityCurve:
        """The curve of any cross-section, from the measured ones (see the assumptions at the top)."""
        section = (str(RoadClass(road_class)), lanes, blocked, inner)
        if section not in self._curves:
            self._curves[section] = self._make_curve(*section)
        return self._curves[section]

    def _make_curve(self, road_class: str, lanes: int, blocked: int, inner: bool) -> CapacityCurve:
        base_section, *clear_section = measured_sections(road_class, lanes, blocked, inner)
        base = self._measured(base_section)
        if not clear_section:
            return base
        clear = self._measured(clear_section[0])
        _, base_lanes, base_blocked, _ = base_section
        added = (lanes - blocked) - (base_lanes - base_blocked)
        lane_veh_h = np.interp(base.speeds_mps, clear.speeds_mps, clear.veh_h) / base_lanes
        return CapacityCurve(
            speeds_mps=base.speeds_mps,
            veh_h=base.veh_h + added * lane_veh_h,
            free_veh_h=base.free_veh_h * lanes / base_lanes,
        )

    def _measured(self, section: Section) -> CapacityCurve:
        if section not in self._rows:
            road_class, lanes, blocked, inner = section
            raise KeyError(f"{self.name} has no row for {road_class}, {lanes} lanes, {blocked} blocked, inner {inner}")
        row = self._rows[section]
        share = isotonic(np.array(row["share"]), np.array(row["standard_error"]))
        if not row["blocked"]:
            share = np.minimum(share, 1.0)
        return CapacityCurve(
            speeds_mps=np.array(row["speeds_mps"]), veh_h=share * row["free_veh_h"], free_veh_h=row["free_veh_h"]
        )

    def _free_veh_h(self, lanes: int, limit_mps: float) -> float:
        """Free discharge at a speed limit: between the measured limits, and below them that of the speed itself."""
        measured = min(lanes, MOST_LANES_MEASURED)
        sections = [s for s in self._rows if (s[1], s[2]) == (measured, 0)]
        curves = sorted((self._measured(s) for s in sections), key=lambda curve: float(curve.speeds_mps[-1]))
        slowest = curves[0]
        if limit_mps < slowest.speeds_mps[-1]:
            veh_h = float(np.interp(limit_mps, slowest.speeds_mps, slowest.veh_h))
        else:
            limits = [float(curve.speeds_mps[-1]) for curve in curves]
            veh_h = float(np.interp(limit_mps, limits, [curve.free_veh_h for curve in curves]))
        return veh_h * max(1.0, lanes / MOST_LANES_MEASURED)


def section_of(row: Mapping[str, Any]) -> Section:
    """The cross-section that a row was measured at."""
    return str(row["road_class"]), int(row["lanes"]), int(row["blocked"]), bool(row["inner"])


def measured_sections(road_class: str, lanes: int, blocked: int, inner: bool) -> tuple[Section, ...]:
    """What has to be measured to know a cross-section: its own row, or beyond five lanes the two it is made from.

    >>> measured_sections("motorway", 7, 5, False)
    (('motorway', 5, 4, False), ('motorway', 5, 0, False))
    """
    if lanes == blocked == 1:
        blocked = 0  # parked at the side of a single lane, and so measured
    if lanes <= MOST_LANES_MEASURED:
        return ((road_class, lanes, blocked, inner),)
    most = MOST_LANES_MEASURED - (2 if inner else 1)
    return (
        (road_class, MOST_LANES_MEASURED, min(blocked, most), inner),
        (road_class, MOST_LANES_MEASURED, 0, False),
    )


def check_counts(lanes: int, blocked: int, inner: bool) -> None:
    """Raise a ``ScenarioError`` where such a cross-section cannot be."""
    if lanes < 1 or not 0 <= blocked <= lanes:
        raise ScenarioError(f"{blocked} of {lanes} lanes blocked: expected 0 to the number of lanes, at least 1 lane")
    if inner and not 1 <= blocked <= lanes - 2:
        raise ScenarioError(f"{blocked} of {lanes} lanes cannot be blocked with lanes open on both sides")


def cross_sections(lane_counts: Iterable[int] = range(1, MOST_LANES_MEASURED + 1)) -> tuple[tuple[int, int, bool], ...]:
    """(lanes, blocked, inner) of every row of a table: adjacent lanes from one side, or open lanes on both."""
    return tuple(
        (lanes, blocked, inner)
        for lanes in lane_counts
        for blocked in range(max(1, lanes))
        for inner in ((False, True) if blocked and blocked <= lanes - 2 else (False,))
    )


@cache
def shipped_table() -> CapacityTable:
    """The table of SUMO's default car at steps of one second, as ``scripts/calibrate_capacity`` wrote it."""
    content = json.loads(files("scenariogen.incidents").joinpath(TABLE_FILE).read_text(encoding="utf-8"))
    return CapacityTable("the shipped table (SUMO's default car, steps of 1 s)", content)


@cache
def shipped_tables() -> tuple[CapacityTable, ...]:
    """All tables that come with the package, that of the default car first: ``capacity_table_NAME.json`` the others."""
    folder = files("scenariogen.incidents")
    stem = TABLE_FILE.removesuffix(".json")
    names = sorted(each.name for each in folder.iterdir() if each.name.startswith(f"{stem}_"))
    others = [json.loads(folder.joinpath(name).read_text(encoding="utf-8")) for name in names]
    return (shipped_table(), *(CapacityTable(f"the shipped table of {each['title']}", each) for each in others))


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
