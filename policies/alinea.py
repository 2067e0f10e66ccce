"""ALINEA: each ramp meter holds the occupancy just downstream of its merge at the critical value.

Papageorgiou, Hadj-Salem and Blosseville, *ALINEA: a local feedback control law for on-ramp metering*, Transportation
Research Record 1320, 1991. Every interval k

    r(k) = r(k-1) + K_R · (ô − o(k-1)),    R_MIN ≤ r ≤ R_MAX

with r the rate (veh/h), o the occupancy downstream of the merge (%), ô the critical occupancy, at which the motorway
carries most, and K_R = 70 veh/h for each percent, as in the paper.

What is added, and why:

- Queue override, after Smaragdis and Papageorgiou, *Series of new local ramp metering strategies*, Transportation
  Research Record 1856, 2003: a rate never below r_w = d − (ŵ − w)/T lets the ramp's queue w grow to ŵ at most, with d
  the flow that arrives on the ramp.
- A meter is switched on at ``ON_SHARE`` of the critical occupancy, at the rate at which vehicles arrive, and off below
  ``OFF_SHARE`` of it once the rate has come up to what arrives.
- Occupancy is the mean over the lanes that give data. While none does, the rate stays.

The critical occupancy belongs to the road. ``CRITICAL_PERCENT`` is that of the project's corridor, read off its flow
against occupancy 10 m before the end of the acceleration lane; change it in a copy of this file for another road.
"""

import math

from scenariogen.simulation.contract import ControlRoom, LoopSite, Policy, RampMeter

CRITICAL_PERCENT = 13.0
GAIN_VEH_H = 70.0
R_MIN_VEH_H, R_MAX_VEH_H = 240.0, 1200.0
ON_SHARE, OFF_SHARE = 0.85, 0.70
DECIDE_EVERY_S = 60.0
FULL_SHARE = 0.9
"""Share of the ramp's storage that the queue may take."""
SMOOTHING = 0.3
"""Weight of the newest minute in the flow that arrives on the ramp."""


class Alinea(Policy):
    """Local ramp metering by feedback, one meter at a time."""

    name = "alinea"
    reads = ("detectors", "meters")
    needs_loops = (LoopSite.MERGES,)

    def start(self, run: ControlRoom) -> None:
        self.ramps = [Ramp(meter) for meter in run.meters.values()]
        self.interval_s = run.detectors.interval_s
        self.read_s = run.time_s + self.interval_s
        self.decide_s = run.time_s + DECIDE_EVERY_S

    def step(self, run: ControlRoom, time_s: float) -> None:
        if time_s >= self.read_s:
            self.read_s += self.interval_s
            for ramp in self.ramps:
                ramp.look(run)
        if time_s >= self.decide_s:
            self.decide_s += DECIDE_EVERY_S
            for ramp in self.ramps:
                ramp.decide()

    def finish(self, run: ControlRoom) -> None:
        for ramp in self.ramps:
            ramp.meter.clear()


class Ramp:
    """The law for one meter."""

    def __init__(self, meter: RampMeter) -> None:
        self.meter = meter
        self.queue, self.passed = meter.queue, meter.passed
        self.arriving_veh_h: float | None = None
        self.seen_percent: list[float] = []

    def look(self, run: ControlRoom) -> None:
        """Once an interval of the loops: mean occupancy over the lanes whose loops give data."""
        found = [100.0 * run.detectors.occupancy(lane) for lane in self.meter.merge_lanes]
        known = [percent for percent in found if not math.isnan(percent)]
        if known:
            self.seen_percent.append(sum(known) / len(known))

    def decide(self) -> None:
        """Switch the meter on or off, or change its rate."""
        arriving = self.count_arrivals()
        if not self.seen_percent:
            return
        percent = sum(self.seen_percent) / len(self.seen_percent)
        self.seen_percent.clear()
        rate = self.meter.rate_veh_h
        if rate is None:
            if percent >= ON_SHARE * CRITICAL_PERCENT:
                self.meter.set_rate(within_limits(arriving))
        elif percent < OFF_SHARE * CRITICAL_PERCENT and rate >= within_limits(arriving):
            self.meter.clear()
        else:
            wanted = rate + GAIN_VEH_H * (CRITICAL_PERCENT - percent)
            room_left = FULL_SHARE * self.meter.storage - self.queue
            self.meter.set_rate(within_limits(max(wanted, arriving - room_left * 3600.0 / DECIDE_EVERY_S)))

    def count_arrivals(self) -> float:
        """Vehicles an hour that come onto the ramp: those that passed and those by which the queue grew, smoothed."""
        queue, passed = self.meter.queue, self.meter.passed
        came_veh_h = max(passed - self.passed + queue - self.queue, 0) * 3600.0 / DECIDE_EVERY_S
        before = came_veh_h if self.arriving_veh_h is None else self.arriving_veh_h
        self.arriving_veh_h = before + SMOOTHING * (came_veh_h - before)
        self.queue, self.passed = queue, passed
        return self.arriving_veh_h


def within_limits(rate_veh_h: float) -> float:
    """The rate, no lower and no higher than a meter shows."""
    return min(max(rate_veh_h, R_MIN_VEH_H), R_MAX_VEH_H)
