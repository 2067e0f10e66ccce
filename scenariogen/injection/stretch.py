"""The stretch of reduced speed past an incident: vehicles slowed one by one, by their speed factors.

Blocking vehicles alone take away less capacity than an incident does; what is missing comes from the speed at which
people drive past. SUMO's speed limits hold for whole lanes, and a limit on a long edge costs traffic that does not
queue at all a minute per vehicle; so each vehicle within the stretch gets a speed factor of its own, which leaves no
private vehicle type behind, and has its own back when it leaves.

Only the slowest point decides about capacity. The stretch is therefore slow over a short core (three seconds of
driving), and before it vehicles slow down along the profile v(d)² = v² + 2·a·d at a = 4 m/s²; measured, this keeps
the delay of traffic that does not queue below 15 s a vehicle where 230 m at the same speed cost 28 to 93 s.
"""

import math
from dataclasses import dataclass
from functools import cached_property

from scenariogen.injection.connection import Link, Point

UPSTREAM_M = 200.0
DOWNSTREAM_M = 30.0
"""The stretch never reaches farther than this from the front of the blockage."""
CORE_S = 3.0
CORE_LEAST_M = 10.0
CORE_MOST_M = 60.0
APPROACH_DECEL_MPS2 = 4.0
_LIMITS_EVERY_S = 10.0
_COMPARE_EVERY_S = 5.0
"""How often all factors in force are compared with what we wrote."""
_SAME = 1e-9
_CLOSE = 0.02
"""A factor this close to the right one is left as it is."""
_FAST_DRIVERS = 1.3
"""Drivers who exceed the limit by up to this factor are caught where they would begin to slow down."""
_GONE_S = 3600.0
_NO_LIMIT = float("inf")
_LEAST_LIMIT_MPS = 0.1
"""A lane may be closed by a limit of 0: then nobody moves, and no factor of theirs matters."""
_ASIDE_M = 30.0
"""Over TraCI vehicles are watched around the anchor this far beyond the reach, since lanes lie beside it."""
_WORTH_SLEEPING_S = 2.0
_MOST_ASLEEP = 5000
_LONGEST_UNSEEN_S = 3.0
"""A stretch that nobody can reach before is not looked at for this long at most: vehicles also appear on lanes."""


def stretch_settings() -> dict[str, float]:
    """How the stretch is driven: a capacity table measured with another one does not hold."""
    return {
        "core_s": CORE_S,
        "core_least_m": CORE_LEAST_M,
        "core_most_m": CORE_MOST_M,
        "approach_decel_mps2": APPROACH_DECEL_MPS2,
        "upstream_m": UPSTREAM_M,
        "downstream_m": DOWNSTREAM_M,
    }


@dataclass(frozen=True, kw_only=True)
class SpeedProfile:
    """Speed (m/s) in the core, and how it is approached."""

    speed_mps: float

    @cached_property
    def core_m(self) -> tuple[float, float]:
        """Metres upstream and downstream of the front of the blockage that are driven at ``speed_mps``."""
        length = min(max(CORE_S * self.speed_mps, CORE_LEAST_M), CORE_MOST_M)
        downstream = min(DOWNSTREAM_M, length / 2)
        return length - downstream, downstream

    def reach_m(self, limit_mps: float) -> float:
        """Metres upstream at which a vehicle at the limit begins to slow down."""
        braking = (limit_mps**2 - self.speed_mps**2) / (2 * APPROACH_DECEL_MPS2)
        return min(UPSTREAM_M, self.core_m[0] + max(0.0, braking))

    def at(self, before_m: float) -> float:
        """Highest speed ``before_m`` metres upstream of the front of the blockage (negative: past it)."""
        approach_m = before_m - self.core_m[0]
        if approach_m <= 0:
            return self.speed_mps
        return math.sqrt(self.speed_mps**2 + 2 * APPROACH_DECEL_MPS2 * approach_m)


class _Zone:
    """One stretch: the lanes it lies on, each with the metres from its start to the front of the blockage."""

    def __init__(self, anchor: str, lanes: dict[str, float], profile: SpeedProfile, limit_mps: float) -> None:
        self.anchor = anchor
        self.lanes = lanes
        self.profile = profile
        self.nearest_m = -profile.core_m[1]
        self.reach_m = profile.reach_m(limit_mps * _FAST_DRIVERS)
        self.limits_mps: dict[str, float] = {}
        self.limits_due_s = float("-inf")
        self.look_due_s = float("-inf")
        self.unreached_s = 0.0
        """For so long nobody can be inside who is on none of the lanes now."""
        self._fastest_mps = 0.0
        self._entered_m = min((start_m for start_m in lanes.values() if start_m >= self.reach_m), default=self.reach_m)
        self.asleep: dict[str, float] = {}  # vehicle -> second before which it cannot be here

    def read_limits(self, link: Link, now_s: float) -> None:
        """Every now and then, as a policy may change them."""
        self.limits_due_s = now_s + _LIMITS_EVERY_S
        self.limits_mps = {lane: max(float(link.lane.getMaxSpeed(lane)), _LEAST_LIMIT_MPS) for lane in self.lanes}
        self._fastest_mps = _FAST_DRIVERS * max(self.limits_mps.values(), default=0.0)
        self.unreached_s = min((self._entered_m - self.reach_m) / self._fastest_mps, _LONGEST_UNSEEN_S)

    def asleep_until_s(self, vehicle: str, before_m: float, now_s: float) -> float:
        """A vehicle outside the stretch is not looked at before it can be inside: when that is."""
        until_s = now_s + (_GONE_S if before_m <= 0 else (before_m - self.reach_m) / self._fastest_mps)
        if until_s - now_s >= _WORTH_SLEEPING_S:
            if len(self.asleep) > _MOST_ASLEEP:
                self.asleep.clear()
            self.asleep[vehicle] = until_s
        return until_s


@dataclass(slots=True)
class _Held:
    """A vehicle within a stretch: the speed factor that others gave it last, and the one that we wrote."""

    base: float
    ours: float


class SlowStretches:
    """All stretches of one injection. Where they overlap the slowest wins, and others' own writing is kept."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._zones: dict[int | str, _Zone] = {}
        self._held: dict[str, _Held] = {}
        self._usual: dict[str, float] = {}  # of vehicles that left: what others had given them
        self._compared_s = float("-inf")

    def __bool__(self) -> bool:
        """True while there is something to do."""
        return bool(self._zones or self._held)

    def add(
        self,
        owner: int | str,
        *,
        anchor: str,
        at: Point,
        lanes: dict[str, float],
        profile: SpeedProfile,
        limit_mps: float,
    ) -> None:
        """A stretch around ``at``, named ``anchor``; ``lanes`` as ``LaneMap.upstream`` gives them.

        ``owner``  the number of an incident, or the name of an effect
        """
        self._zones[owner] = _Zone(anchor, lanes, profile, limit_mps)
        self._link.watch(anchor, at, self._zones[owner].reach_m + _ASIDE_M)

    def remove(self, owner: int | str) -> None:
        """End one stretch; vehicles that no other stretch holds get their factor back at the next update."""
        zone = self._zones.pop(owner, None)
        if zone is not None:
            self._link.unwatch(zone.anchor)

    def update(self, now_s: float, own: frozenset[str]) -> None:
        """Slow down who is in a stretch, give back who left."""
        allowed: dict[str, float] = {}  # vehicle -> highest speed factor
        known: dict[str, float] = {}  # vehicle -> factor in force, where it came with the step
        if self._link.direct:
            self._look(now_s, own, allowed)
        else:
            self._receive(now_s, own, allowed, known)
        compare = now_s >= self._compared_s + _COMPARE_EVERY_S
        if compare:
            self._compared_s = now_s
        all_held, read = self._held, self._link.vehicle.getSpeedFactor
        for vehicle, highest in allowed.items():
            held = all_held.get(vehicle)
            if held is not None and not compare:
                wanted = highest if highest < held.base else held.base
                if -_CLOSE * held.ours <= wanted - held.ours <= _CLOSE * held.ours:
                    continue  # most of a queue, most of the time
            factor = known.get(vehicle)
            if factor is None:
                factor = read(vehicle)
            if held is None:
                held = all_held[vehicle] = _Held(factor, factor)
            elif abs(factor - held.ours) > _SAME:
                held.base = factor  # somebody else wrote meanwhile
            held.ours = highest if highest < held.base else held.base
            if abs(held.ours - factor) > _SAME:
                self._write(vehicle, held.ours)
        if len(all_held) > len(allowed):
            self._release(sorted(all_held.keys() - allowed.keys()))

    def release_all(self) -> None:
        """End every stretch now."""
        for owner in list(self._zones):
            self.remove(owner)
        self._release(list(self._held))

    def take_back_loaded(self, rounding: float) -> None:
        """A saved state was loaded: factors in it may be ours, rounded, also of vehicles that had left since."""
        usual = self._usual | {vehicle: held.base for vehicle, held in self._held.items()}
        self._held.clear()
        for vehicle, factor in self._link.speed_factors(usual.keys() & set(self._link.vehicle.getIDList())):
            if factor < usual[vehicle] - rounding:
                self._write(vehicle, usual[vehicle])

    def forget(self) -> None:
        """The simulation is gone."""
        self._zones.clear()
        self._held.clear()

    def _look(self, now_s: float, own: frozenset[str], allowed: dict[str, float]) -> None:
        """Ask for the vehicles of each zone, those excepted that cannot be inside yet, and note when to ask again.

        This is done every step and for every lane: names are looked up once, and nothing is called that need not be.
        """
        on_lane, position_m = self._link.lane.getLastStepVehicleIDs, self._link.vehicle.getLanePosition
        for zone in self._zones.values():
            if now_s < zone.look_due_s:
                continue
            if now_s >= zone.limits_due_s:
                zone.read_limits(self._link, now_s)
            nearest_m, reach_m, asleep = zone.nearest_m, zone.reach_m, zone.asleep
            sleeps_until_s, speed_at = asleep.get, zone.profile.at
            due_s = now_s + zone.unreached_s
            for lane, front_m in zone.lanes.items():
                for vehicle in on_lane(lane):
                    until_s = sleeps_until_s(vehicle, now_s)
                    if until_s <= now_s:
                        if vehicle in own:
                            asleep[vehicle] = _NO_LIMIT
                            continue
                        before_m = front_m - position_m(vehicle)
                        if nearest_m <= before_m <= reach_m:
                            highest = speed_at(before_m) / zone.limits_mps[lane]
                            if highest < allowed.get(vehicle, _NO_LIMIT):
                                allowed[vehicle] = highest
                        else:
                            until_s = zone.asleep_until_s(vehicle, before_m, now_s)
                    if until_s < due_s:
                        due_s = until_s
            zone.look_due_s = due_s

    def _receive(self, now_s: float, own: frozenset[str], allowed: dict[str, float], known: dict[str, float]) -> None:
        """Take the vehicles of each zone as they came with the step."""
        for zone in self._zones.values():
            if now_s >= zone.limits_due_s:
                zone.read_limits(self._link, now_s)
            for vehicle, lane, position_m, factor in self._link.near(zone.anchor, zone.lanes):
                before_m = zone.lanes[lane] - position_m
                if zone.nearest_m <= before_m <= zone.reach_m and vehicle not in own:
                    highest = zone.profile.at(before_m) / zone.limits_mps[lane]
                    if highest < allowed.get(vehicle, _NO_LIMIT):
                        allowed[vehicle] = highest
                    known[vehicle] = factor

    def _release(self, vehicles: list[str]) -> None:
        """Give vehicles their factors back, unless they are gone or somebody else has written one since."""
        left = {vehicle: self._held.pop(vehicle) for vehicle in vehicles}
        self._usual |= {vehicle: held.base for vehicle, held in left.items()}
        changed = {vehicle: held for vehicle, held in left.items() if held.ours != held.base}
        if not changed:
            return
        for vehicle, factor in self._link.speed_factors(changed):
            held = changed[vehicle]
            if abs(factor - held.ours) <= _SAME:
                self._write(vehicle, held.base)

    def _write(self, vehicle: str, factor: float) -> None:
        """Somebody else's listener may have removed the vehicle in this very step: then there is nothing to slow."""
        self._link.attempt(self._link.vehicle.setSpeedFactor, vehicle, factor)
