"""What scripts/benchmark_capacity measures of one road: shares asked and found, and the delay of who passes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scenariogen.incidents.capacity_tables import CapacityTable, cross_sections, shipped_tables
from scenariogen.injection.calibration import MOST_BLOCKED_BRISK, MOST_DELAY_S, Check, blocked_lanes, verify
from scenariogen.injection.calibration_cache import table_traffic
from scenariogen.injection.rig import NOMINAL_LIMIT_MPS, Rig
from scenariogen.injection.signal_rig import StopLineLoss, stop_line_losses
from scenariogen.network import RoadClass


@dataclass(frozen=True, kw_only=True)
class Delay:
    """Seconds that a vehicle loses at half of the capacity that is left; ``standard_error`` between seeds."""

    road_class: RoadClass
    lanes: int
    blocked: int
    inner: bool
    asked: float
    speed_mps: float
    flow_veh_h: float
    delay_s: float
    standard_error: float

    @property
    def is_short(self) -> bool:
        return self.delay_s < MOST_DELAY_S


def check_road(
    table_number: int, road_class: RoadClass, lanes: int, most_blocked: int, points: int, seeds: Sequence[int]
) -> tuple[str, list[Check], list[Delay]]:
    """Shares and delays of every cross-section of one road, with the traffic that a shipped table was measured with."""
    table = shipped_tables()[table_number]
    traffic = table_traffic(table)
    checks = list(
        verify(
            seeds=seeds,
            road_class=road_class,
            lanes=[lanes],
            most_blocked=most_blocked,
            points=points,
            table=table,
            traffic=traffic,
        )
    )
    with Rig(lanes, NOMINAL_LIMIT_MPS[road_class], traffic) as rig:
        delays = [
            _delay(rig, table, road_class, blocked, inner, part, seeds)
            for _, blocked, inner in cross_sections([lanes])
            if blocked <= min(most_blocked, MOST_BLOCKED_BRISK)
            for part in (0.0, 0.5)
        ]
    return table.name, checks, delays


def _delay(
    rig: Rig, table: CapacityTable, road_class: RoadClass, blocked: int, inner: bool, part: float, seeds: Sequence[int]
) -> Delay:
    """At the slowest stretch of a cross-section (``part`` 0), or in the middle of its range."""
    low, high = table.reachable(road_class, rig.lanes, blocked, inner=inner)
    asked = low + part * (high - low)
    speed = table.stretch_speed_mps(road_class, rig.lanes, blocked, asked, rig.limit_mps, inner=inner)
    free_veh_h = table.curve(road_class, rig.lanes, 0).free_veh_h
    flow = asked * free_veh_h / 2
    closed = blocked_lanes(rig.lanes, blocked, "inner" if inner else "right")
    found = [rig.delay_s(closed, speed, flow, seed=seed) for seed in seeds]
    return Delay(
        road_class=road_class,
        lanes=rig.lanes,
        blocked=blocked,
        inner=inner,
        asked=asked,
        speed_mps=speed,
        flow_veh_h=flow,
        delay_s=float(np.mean(found)),
        standard_error=float(np.std(found, ddof=1) / np.sqrt(len(found))),
    )


def check_signals(lanes: int, seeds: Sequence[int]) -> list[StopLineLoss]:
    """What is left at a stop line."""
    return stop_line_losses(seeds=seeds, lanes=[lanes])
