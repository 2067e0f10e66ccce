"""Measures a capacity table on the rig, and checks it by asking for shares and measuring what comes."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from scenariogen.incidents.capacity_tables import (
    MOST_LANES_MEASURED,
    CapacityTable,
    Section,
    cross_sections,
    shipped_table,
)
from scenariogen.injection.calibration_cache import installed_sumo
from scenariogen.injection.rig import LEVEL_S, NOMINAL_LIMIT_MPS, SETTLE_S, Discharge, Rig, summarise
from scenariogen.injection.stretch import stretch_settings
from scenariogen.injection.vehicle_mix import DEFAULT_TRAFFIC, Traffic
from scenariogen.network import RoadClass, RoadNetwork

SPEEDS_MPS: dict[RoadClass, tuple[float, ...]] = {
    RoadClass.MOTORWAY: (3.0, 4.0, 5.0, 6.0, 7.0, 8.5, 10.0, 12.0, 15.0, 19.0, 24.0),
    RoadClass.RAMP: (2.5, 3.5, 4.5, 5.5, 7.0, 8.5, 10.0, 12.5, 15.0, 18.0),
    RoadClass.STREET: (1.5, 2.0, 2.5, 3.2, 4.0, 5.0, 6.0, 7.5, 9.0, 11.0),
}
"""Stretch speeds measured, besides none at all; of those the slowest that delay too much are left out of the table."""
MOST_DELAY_S = 15.0
"""Traffic of half the capacity left loses less than this, with up to :data:`MOST_BLOCKED_BRISK` lanes blocked."""
MOST_BLOCKED_BRISK = 2
"""Beyond, merging into the last lane alone may cost more, whatever the speed past the blockage."""
_DELAY_MARGIN_S = 0.5
SIDES = ("right", "left", "inner")
FREE_RUNS_PER_SEED = 4
"""Every share of a road is divided by its free discharge, so that is measured longer."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One share asked for and what was measured, as shares of the free discharge.

    ``side``        the blocked lanes begin at the right, at the left, or with the second lane (inner)
    ``speed_mps``   of the stretch that the table gave
    ``measured``    with ``standard_error`` between minutes, that of the free discharge included
    """

    road_class: RoadClass
    lanes: int
    blocked: int
    side: str
    asked: float
    speed_mps: float
    measured: float
    standard_error: float

    @property
    def is_close(self) -> bool:
        """Within 0.03 or 10 % of what was asked, whichever is larger."""
        return abs(self.measured - self.asked) <= max(0.03, 0.1 * self.asked)


def blocked_lanes(lanes: int, blocked: int, side: str) -> tuple[int, ...]:
    """Lane indices: from the right, from the left, or beginning with the second lane.

    >>> blocked_lanes(4, 2, "right"), blocked_lanes(4, 2, "left"), blocked_lanes(4, 2, "inner")
    ((0, 1), (2, 3), (1, 2))
    """
    first = {"right": 0, "left": lanes - blocked, "inner": 1}[side]
    return tuple(range(first, first + blocked))


def all_roads(road_classes: Iterable[RoadClass] = tuple(RoadClass)) -> tuple[tuple[RoadClass, int], ...]:
    """(road class, lanes) of a whole table."""
    return tuple((kind, lanes) for kind in road_classes for lanes in range(1, MOST_LANES_MEASURED + 1))


def roads_of(network: RoadNetwork) -> tuple[tuple[RoadClass, int], ...]:
    """(road class, lanes) that a network has; more lanes than a table holds count as its most."""
    found = {
        (edge.road_class, min(len(edge.driving_lanes), MOST_LANES_MEASURED))
        for edge in network.edges.values()
        if edge.driving_lanes
    }
    return tuple(sorted(found))


def calibrate(
    *,
    seeds: Iterable[int],
    roads: Sequence[tuple[RoadClass, int]] = all_roads(),
    traffic: Traffic = DEFAULT_TRAFFIC,
    jobs: int = 1,
    say: Callable[[str], None] | None = None,
    progress: Progress | None = None,
) -> dict:
    """Measure every cross-section of some roads and return the table as it is written to a file.

    One road after the other, ``jobs`` of them at a time, each in a process of its own, since libsumo holds one
    simulation per process and the caller's may be running. ``say`` is given a line a row, ``progress`` (done, total)
    in cross-sections.
    """
    seeds = tuple(seeds)
    total, rows = len(cross_sections([lanes for _, lanes in roads])), []
    if progress:
        progress(0, total)
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        waiting = [pool.submit(_rows, kind, lanes, seeds, traffic) for kind, lanes in roads]
        for done in as_completed(waiting):
            rows += done.result()
            if say:
                for row in done.result():
                    say(line_of(row))
            if progress:
                progress(len(rows), total)
    order = {road: number for number, road in enumerate((str(kind), lanes) for kind, lanes in roads)}
    rows.sort(key=lambda row: (order[row["road_class"], row["lanes"]], row["blocked"], row["inner"]))
    return {
        "sumo_version": installed_sumo(),
        "vehicles": str(traffic),
        "traffic": traffic.as_record(),
        "settings": settings(seeds),
        "rows": rows,
    }


def settings(seeds: Iterable[int]) -> dict:
    """What else decides about a table: how the stretch is driven, and how long was measured."""
    return stretch_settings() | {"level_s": LEVEL_S, "settle_s": SETTLE_S, "seeds": list(seeds)}


def measure_section(
    rig: Rig, section: Section, *, seeds: Sequence[int], speeds: Sequence[float], free: Discharge
) -> dict:
    """One row: shares left at a range of speeds, the last of them infinite (no stretch).

    Lanes blocked from the right and from the left count half each: where nobody is slowed much, what the two leave lies
    up to 12 % apart (2 of 4 lanes of a motorway: 0.41 and 0.36).
    """
    road_class, lanes, blocked, inner = section
    sides = ("inner",) if inner else ("right", "left") if blocked else ("right",)
    runs = [rig.discharge(blocked_lanes(lanes, blocked, side), speeds, seed=seed) for side in sides for seed in seeds]
    levels = [summarise(minutes) for minutes in zip(*runs, strict=True)]
    shares = [level.veh_h / free.veh_h for level in levels]
    errors = [_error(level, free) for level in levels]
    if not blocked:
        shares[-1] = 1.0  # by definition: nothing blocked and nobody slowed
    row = {
        "road_class": road_class,
        "limit_mps": round(rig.limit_mps, 4),
        "lanes": lanes,
        "blocked": blocked,
        "inner": inner,
        "free_veh_h": round(free.veh_h, 1),
        "speeds_mps": [round(min(speed, rig.limit_mps), 4) for speed in speeds],
        "share": [round(share, 4) for share in shares],
        "standard_error": [round(error, 4) for error in errors],
    }
    return without_long_delays(rig, row, seeds=seeds)


def without_long_delays(rig: Rig, row: dict, *, seeds: Sequence[int]) -> dict:
    """A row without the slowest levels at which traffic of half the capacity left loses 15 s or more a vehicle.

    With lanes open on both sides of the blocked ones, traffic does not divide itself evenly, and at walking speed one
    side may queue long before the other is full. Where the blockage alone, nobody slowed, costs that much already (weak
    models merge badly), it is what the stretch adds that counts.
    """
    if row["blocked"] > MOST_BLOCKED_BRISK:
        return row
    closed = blocked_lanes(row["lanes"], row["blocked"], "inner" if row["inner"] else "right")

    def delay_s(level: int) -> float:
        flow_veh_h = row["share"][level] * row["free_veh_h"] / 2
        return float(np.mean([rig.delay_s(closed, row["speeds_mps"][level], flow_veh_h, seed=seed) for seed in seeds]))

    most_s = MOST_DELAY_S - _DELAY_MARGIN_S
    unslowed_s = delay_s(-1)
    if unslowed_s >= most_s:
        most_s += unslowed_s  # drivers who hardly manage to merge: then that much on top of it
    first = next(level for level in range(len(row["share"])) if delay_s(level) < most_s)
    return row | {name: row[name][first:] for name in ("speeds_mps", "share", "standard_error")}


def _rows(road_class: RoadClass, lanes: int, seeds: tuple[int, ...], traffic: Traffic) -> list[dict]:
    """All rows of one road."""
    speeds = (*SPEEDS_MPS[road_class], math.inf)
    with Rig(lanes, NOMINAL_LIMIT_MPS[road_class], traffic) as rig:
        free = summarise([rig.free_discharge(seed=seed) for seed in range(1, FREE_RUNS_PER_SEED * len(seeds) + 1)])
        return [
            measure_section(rig, (str(road_class), *section), seeds=seeds, speeds=speeds, free=free)
            for section in cross_sections([lanes])
        ]


def _error(level: Discharge, free: Discharge) -> float:
    """Standard error of the ratio of two discharges measured apart, to first order."""
    share = level.veh_h / free.veh_h
    return share * math.hypot(level.standard_error / max(level.veh_h, 1.0), free.standard_error / free.veh_h)


def line_of(row: dict) -> str:
    """A row of a table for people."""
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
    sides: Sequence[str] = SIDES,
    table: CapacityTable | None = None,
    traffic: Traffic = DEFAULT_TRAFFIC,
) -> Iterator[Check]:
    """Ask for shares spread over the reachable range and measure them, with seeds the table was not made with."""
    seeds, limit = tuple(seeds), limit_mps or NOMINAL_LIMIT_MPS[road_class]
    table = table or shipped_table()
    for count in sorted(set(lanes)):
        with Rig(count, limit, traffic) as rig:
            free = summarise([rig.free_discharge(seed=seed + n) for seed in seeds for n in (0, 100, 200)])
            for _, blocked, inner in cross_sections([count]):
                if blocked > most_blocked:
                    continue
                low, high = table.reachable(road_class, count, blocked, inner=inner)
                asked = np.linspace(low, high, points)
                speeds = [
                    table.stretch_speed_mps(road_class, count, blocked, share, limit, inner=inner) for share in asked
                ]
                for side in (
                    ("inner",) if inner else [each for each in sides if each in ("right", "left")[: 1 + (blocked > 0)]]
                ):
                    closed = blocked_lanes(count, blocked, side)
                    runs = [rig.discharge(closed, speeds, seed=seed) for seed in seeds]
                    for share, speed, minutes in zip(asked, speeds, zip(*runs, strict=True), strict=True):
                        level = summarise(minutes)
                        yield Check(
                            road_class=road_class,
                            lanes=count,
                            blocked=blocked,
                            side=side,
                            asked=float(share),
                            speed_mps=speed,
                            measured=level.veh_h / free.veh_h,
                            standard_error=_error(level, free),
                        )
