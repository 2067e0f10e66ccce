"""Where on a lane full of traffic a standing vehicle can appear without hitting anybody. No SUMO in here.

SUMO's own insertion waits for a gap, for minutes on a busy road. Here the nearest spot to the asked one is taken at
which the vehicle behind can still brake and keeps its standing distance, so that no collision is ever reported
(SUMO calls it one when the distance kept behind a vehicle falls below ``minGap``). Between vehicles that stand
bumper to bumper nothing but a very short obstacle fits; for SUMO a vehicle of any length closes its lane.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

LENGTHS_M = (5.0, 2.0, 0.5, 0.0005)
"""Lengths to try. The last one fits into the standing distance of a queue (which exceeds ``minGap`` by 1 mm)."""
_LENGTH_COST_M = (0.0, 20.0, 60.0, 80.0)
"""How much farther away a spot may be to save one step in length."""
_HARD_BRAKING_COST_M = 40.0
_HARD_BRAKING_COST_S = 3.5
"""The same to spare the vehicle behind an emergency braking: that much, or what it drives in that time. At motorway
speeds others change lanes into the gap behind it while it brakes."""


@dataclass(frozen=True, kw_only=True)
class OnLane:
    """One vehicle, in metres from the start of the lane; a front beyond either end of it is allowed.

    ``reaction_s``  longest time until it begins to brake, the step in which it does included
    ``accel_mps2``  how it may speed up until then
    """

    id: str
    front_m: float
    length_m: float
    speed_mps: float
    min_gap_m: float
    decel_mps2: float
    emergency_decel_mps2: float
    reaction_s: float = 0.0
    accel_mps2: float = 0.0

    @property
    def back_m(self) -> float:
        return self.front_m - self.length_m


@dataclass(frozen=True, kw_only=True)
class Spot:
    """Room for a vehicle with its front at ``position_m``; ``hard``: the one behind must brake hard."""

    position_m: float
    length_m: float
    hard: bool


def braking_distance_m(speed_mps: float, decel_mps2: float, step_s: float) -> float:
    """Distance from a speed to a standstill when the speed falls by ``decel · step`` in every step (Euler update).

    >>> braking_distance_m(10.0, 4.0, 1.0)
    8.0
    """
    distance, speed = 0.0, speed_mps
    while speed > 0:
        speed -= decel_mps2 * step_s
        distance += max(0.0, speed) * step_s
    return distance


def find_spot(
    traffic: Sequence[OnLane], *, lane_length_m: float, asked_m: float, search_m: float, step_s: float
) -> Spot | None:
    """The best spot on a lane, or None where there is none within ``search_m`` of the asked position."""
    fronts = sorted(traffic, key=lambda vehicle: vehicle.front_m)
    best, best_cost = None, float("inf")
    for hard in (False, True):
        # Vehicles may overlap (one that changes lanes is on two), so all those behind and ahead count.
        rears = [_closest_rear_m(vehicle, hard=hard, step_s=step_s) for vehicle in fronts]
        if hard:
            rears = [max(rear, behind) for rear, behind in zip(rears, _closest_behind_m(fronts, step_s), strict=True)]
        lowest = [0.0, *accumulate(rears, max)]
        backs = [vehicle.back_m for vehicle in reversed(fronts)]
        highest = [lane_length_m, *accumulate((min(back, lane_length_m) for back in backs), min)][::-1]
        speeds = [0.0, *(vehicle.speed_mps for vehicle in fronts)]  # of the one right behind
        for rear, front, speed_mps in zip(lowest, highest, speeds, strict=True):
            braking_cost = max(_HARD_BRAKING_COST_M, _HARD_BRAKING_COST_S * speed_mps) if hard else 0.0
            for length_m, length_cost in zip(LENGTHS_M, _LENGTH_COST_M, strict=True):
                nearest = max(rear, min(0.1, lane_length_m / 10)) + length_m
                if nearest > front + 5e-4:  # SUMO itself allows 1 mm
                    continue
                position = min(max(asked_m, nearest), max(nearest, front), lane_length_m)
                shift = abs(position - asked_m)
                cost = shift + length_cost + braking_cost
                if shift <= search_m and cost < best_cost:
                    best, best_cost = Spot(position_m=position, length_m=length_m, hard=hard), cost
    return best


def _closest_behind_m(fronts: Sequence[OnLane], step_s: float) -> list[float]:
    """The same for all who drive behind each vehicle: whoever follows one that brakes hard sees it a step later.

    The first one stops at its standing distance from the rear, each of the others at theirs from the one before. Who
    brakes no harder than usual is followed safely, so that this is asked only of hard braking.
    """
    found: list[float] = []
    needed = float("-inf")
    for vehicle in fronts:
        needed += vehicle.length_m + vehicle.min_gap_m
        found.append(needed)
        if vehicle.speed_mps > 0:
            late_m = vehicle.speed_mps * step_s
            needed = max(needed, _closest_rear_m(vehicle, hard=True, step_s=step_s) + late_m)
    return found


def _closest_rear_m(follower: OnLane, *, hard: bool, step_s: float) -> float:
    """How close behind a standing vehicle's rear the follower needs its front bumper not to come to harm."""
    decel = follower.emergency_decel_mps2 if hard else follower.decel_mps2
    wait_s = max(0.0, follower.reaction_s - step_s)
    # A vehicle about to stand may creep on by less than it brakes, and one that stands was told to: nothing is added.
    speed_mps = follower.speed_mps + (follower.accel_mps2 * wait_s if follower.speed_mps > 0 else 0.0)
    return follower.front_m + follower.min_gap_m + speed_mps * wait_s + braking_distance_m(speed_mps, decel, step_s)
