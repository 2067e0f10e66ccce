"""Measures the capacity table on the rig, and checks it by asking for shares and measuring what comes."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from scenariogen.incidents import capacity
from scenariogen.injection import stretch
from scenariogen.injection.rig import LEVEL_S, NOMINAL_LIMIT_MPS, SETTLE_S, Rig, summarise
from scenariogen.network import RoadClass

SPEEDS_MPS: dict[RoadClass, tuple[float, ...]] = {
    RoadClass.MOTORWAY: (3.0, 4.0, 5.0, 6.0, 7.0, 8.5, 10.0, 12.0, 15.0, 19.0, 24.0),
    RoadClass.RAMP: (2.5, 3.5, 4.5, 5.5, 7.0, 8.5, 10.0, 12.5, 15.0, 18.0),
    RoadClass.STREET: (1.5, 2.0, 2.5, 3.2, 4.0, 5.0, 6.0, 7.5, 9.0, 11.0),
}
"""Stretch speeds measured, besides none at all. The lowest is where the delay stays below 15 s a vehicle."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One share asked for and what was measured, as shares of the free discharge."""

    road_class: RoadClass
    lanes: int
    blocked: int
    inner: bool
    asked: float
    measured: float
    standard_error: float

    @property
    def is_close(self) -> bool:
        """Within 0.03 or 10 % of what was asked, whichever is larger."""
        return abs(self.measured - self.asked) <= max(0.03, 0.1 * self.asked)


def cross_sections(most_lanes: int = capacity.MOST_LANES_MEASURED) -> Iterator[tuple[int, int, bool]]:
    """(lanes, blocked, inner) of every row of the table: adjacent lanes from one side, or open lanes on both."""
    for lanes in range(1, most_lanes + 1):
        for blocked in range(max(1, lanes)):
            yield lanes, blocked, False
            if blocked and blocked <= lanes - 2:
                yield lanes, blocked, True


def blocked_lanes(blocked: int, inner: bool) -> tuple[int, ...]:
    """Lane indices: from the right, or beginning with the second lane."""
    return tuple(range(inner, blocked + inner))


def calibrate(
    *,
    seeds: Iterable[int],
    road_classes: Iterable[RoadClass] = tuple(RoadClass),
    jobs: int = 1,
    say: Callable[[str], None] = print,
) -> dict:
    """Measure everything and return the table as it is written to ``capacity_table.json``.

    One road after the other, ``jobs`` of them at a time, each in a process of its own. ``say`` is given a line a row.
    """
    from joblib import Parallel, delayed
    from sumolib import __version__ as sumo_version

    seeds = tuple(seeds)
    roads = [(kind, lanes) for kind in road_classes for lanes in range(1, capacity.MOST_LANES_MEASURED + 1)]
    rows = []
    for found in Parallel(n_jobs=jobs, return_as="generator")(delayed(_rows)(*road, seeds) for road in roads):
        rows += found  # type: ignore[operator]
        for row in found:  # type: ignore[union-attr]
            say(_line(row))
    return {
        "sumo_version": sumo_version,
        "vehicles": "default passenger car (Krauss, tau 1 s, sigma 0.5), step length 1 s, default lane changing",
        "settings": {
            "core_s": stretch.CORE_S,
            "core_least_m": stretch.CORE_LEAST_M,
            "core_most_m": stretch.CORE_MOST_M,
            "approach_decel_mps2": stretch.APPROACH_DECEL_MPS2,
            "upstream_m": stretch.UPSTREAM_M,
            "downstream_m": stretch.DOWNSTREAM_M,
            "level_s": LEVEL_S,
            "settle_s": SETTLE_S,
            "seeds": list(seeds),
        },
        "rows": rows,
    }


def _rows(road_class: RoadClass, lanes: int, seeds: tuple[int, ...]) -> list[dict]:
    """All rows of one road."""
    speeds = (*SPEEDS_MPS[road_class], math.inf)
    with Rig(lanes, NOMINAL_LIMIT_MPS[road_class]) as rig:
        free = summarise([rig.free_discharge(seed=seed) for seed in range(1, 4 * len(seeds) + 1)])
        return [
            _row(rig, road_class, blocked, inner, speeds, seeds, free)
            for count, blocked, inner in cross_sections()
            if count == lanes
        ]


def _row(rig: Rig, road_class: RoadClass, blocked: int, inner: bool, speeds, seeds, free) -> dict:
    runs = [rig.discharge(blocked_lanes(blocked, inner), speeds, seed=seed) for seed in seeds]
    levels = [summarise(minutes) for minutes in zip(*runs, strict=True)]
    shares = [level.veh_h / free.veh_h for level in levels]
    errors = [
        share * math.hypot(level.standard_error / level.veh_h, free.standard_error / free.veh_h)
        for share, level in zip(shares, levels, strict=True)
    ]
    if not blocked:
        shares[-1] = 1.0  # by definition: nothing blocked and nobody slowed
    return {
        "road_class": str(road_class),
        "limit_mps": round(rig.limit_mps, 4),
        "lanes": rig.lanes,
        "blocked": blocked,
        "inner": inner,
        "free_veh_h": round(free.veh_h, 1),
        "speeds_mps": [round(min(speed, rig.limit_mps), 4) for speed in speeds],
        "share": [round(share, 4) for share in shares],
        "standard_error": [round(error, 4) for error in errors],
    }


def _line(row: dict) -> str:
    where = f"{row['blocked']} of {row['lanes']}{' inner' if row['inner'] else ''}"
    shares = " ".join(f"{speed:.1f}:{share:.2f}" for speed, share in zip(row["speeds_mps"], row["share"], strict=True))
    return f"{row['road_class']:8s} {where:12s} free {row['free_veh_h']:6.0f} veh/h  {shares}"


def verify(
    *,
    seeds: Iterable[int],
    road_class: RoadClass = RoadClass.MOTORWAY,
    limit_mps: float | None = None,
    lanes: Iterable[int] = (2, 3, 4),
    most_blocked: int = 2,
    points: int = 4,
) -> Iterator[Check]:
    """Ask for shares spread over the reachable range and measure them, with seeds the table was not made with."""
    seeds, limit = tuple(seeds), limit_mps or NOMINAL_LIMIT_MPS[road_class]
    wanted = set(lanes)
    for count in sorted(wanted):
        with Rig(count, limit) as rig:
            free = summarise([rig.free_discharge(seed=seed) for seed in seeds])
            for _, blocked, inner in (row for row in cross_sections(max(wanted)) if row[0] == count):
                if blocked > most_blocked:
                    continue
                low, high = capacity.reachable(road_class, count, blocked, inner=inner)
                asked = np.linspace(low, high, points)
                speeds = [
                    capacity.stretch_speed_mps(road_class, count, blocked, share, limit, inner=inner) for share in asked
                ]
                runs = [rig.discharge(blocked_lanes(blocked, inner), speeds, seed=seed) for seed in seeds]
                for share, minutes in zip(asked, zip(*runs, strict=True), strict=True):
                    level = summarise(minutes)
                    yield Check(
                        road_class=road_class,
                        lanes=count,
                        blocked=blocked,
                        inner=inner,
                        asked=float(share),
                        measured=level.veh_h / free.veh_h,
                        standard_error=level.standard_error / free.veh_h,
                    )
