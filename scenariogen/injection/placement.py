"""Where on a lane full of traffic a standing vehicle can appear without hitting anybody. No SUMO in here.

SUMO's own insertion waits for a gap, for minutes on a busy road. Here the nearest spot to the asked one is taken at
which the vehicle behind can still brake and keeps its standing distance, so that no collision is ever reported
(SUMO calls it one when the distance kept behind a vehicle falls below ``minGap``). Between vehicles that stand
bumper to bumper nothing but a very short obstacle fits; for SUMO a vehicle of any length closes its lane.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

LENGTHS_M = (5.0, 2.0, 0.5, 0.0005)
"""Lengths to try. The last one fits into the standing distance of a queue (which exceeds ``minGap`` by 1 mm)."""
_LENGTH_COST_M = (0.0, 20.0, 60.0, 80.0)
"""How much farther away a spot may be to save one step in length."""
_HARD_BRAKING_COST_M = 40.0
_HARD_BRAKING_COST_S = 3.5
"""The same to spare the vehicle behind an emergency braking: that much, or what it drives in that time. At motorway
speeds others change lanes into the gap behind it while it brakes."""
_ASIDE_COST = 1.5
"""What a metre costs by which one of several vehicles stands out of line: a little more than one by which all of them
stand elsewhere, and much less than an emergency braking. At 2,800 veh/h on three lanes a quarter of closures then begin
apart, and have closed up 3 or 4 s after their time; at five times the cost three times as many vehicles brake hard, and
in 2 of 43 closures one ran into another."""
_NOBODY_FITS_M = 2.0
"""Between one vehicle's front and the rear of another on the next lane: less than anybody with the distance kept."""


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
    return find_spots([traffic], lane_lengths_m=[lane_length_m], asked_m=asked_m, search_m=search_m, step_s=step_s)[0]


def find_spots(
    traffic: Sequence[Sequence[OnLane]],
    *,
    lane_lengths_m: Sequence[float],
    asked_m: float,
    search_m: float,
    step_s: float,
) -> tuple[Spot | None, ...]:
    """One spot on each lane, side by side where there is room for that and as little apart as there is elsewhere.

    None for a lane that has none within ``search_m`` of the asked position.
    """
    lanes = [
        [
            part
            for room in _rooms(here, length_m, step_s)
            if (part := room.within(asked_m - search_m, asked_m + search_m))
        ]
        for here, length_m in zip(traffic, lane_lengths_m, strict=True)
    ]
    usable = [rooms for rooms in lanes if rooms]
    ends = {end for rooms in usable for room in rooms for end in (room.low_m, room.high_m)}
    best_m, best_cost = asked_m, float("inf")
    for at_m in sorted({asked_m, *ends}, key=lambda end: abs(end - asked_m)):
        cost = abs(at_m - asked_m)
        if cost >= best_cost:
            break
        cost += sum(min(room.cost_at(at_m) for room in rooms) for rooms in usable)
        if cost < best_cost:
            best_m, best_cost = at_m, cost
    return tuple(min(rooms, key=lambda room: room.cost_at(best_m)).spot(best_m) if rooms else None for rooms in lanes)


def stand_abreast(places: Iterable[tuple[float, float]]) -> bool:
    """Whether nobody can drive past one of them and then aside before another; (front, length) of each, metres."""
    places = tuple(places)
    foremost_rear_m = max((front - length for front, length in places), default=0.0)
    return foremost_rear_m - min((front for front, _ in places), default=0.0) < _NOBODY_FITS_M


@dataclass(frozen=True, kw_only=True, slots=True)
class _Room:
    """Positions of a front between which a vehicle of one length finds room, and what it costs to take it."""

    low_m: float
    high_m: float
    length_m: float
    hard: bool
    cost_m: float

    def within(self, low_m: float, high_m: float) -> "_Room | None":
        """The part of it between two positions."""
        low_m, high_m = max(self.low_m, low_m), min(self.high_m, high_m)
        return replace(self, low_m=low_m, high_m=high_m) if low_m <= high_m else None

    def cost_at(self, at_m: float) -> float:
        """For a vehicle that should stand beside others at ``at_m``."""
        return self.cost_m + _ASIDE_COST * max(self.low_m - at_m, at_m - self.high_m, 0.0)

    def spot(self, at_m: float) -> Spot:
        position = min(max(at_m, self.low_m), self.high_m)
        return Spot(position_m=position, length_m=self.length_m, hard=self.hard)


def _rooms(traffic: Sequence[OnLane], lane_length_m: float, step_s: float) -> list[_Room]:
    """All the room between the vehicles of one lane."""
    fronts = sorted(traffic, key=lambda vehicle: vehicle.front_m)
    found = []
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
                found.append(
                    _Room(
                        low_m=min(nearest, lane_length_m),
                        high_m=min(max(nearest, front), lane_length_m),
                        length_m=length_m,
                        hard=hard,
                        cost_m=length_cost + braking_cost,
                    )
                )
    return found


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
