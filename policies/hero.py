"""HERO: ALINEA at every on-ramp, and ramps upstream hold back vehicles while the ramp at the bottleneck fills up.

Papamichail and Papageorgiou, *Traffic-responsive linked ramp-metering control*, IEEE Transactions on Intelligent
Transportation Systems 9(1), 2008. Each meter runs ALINEA with a queue override (see ``alinea.py``, with the sources and
what is added to them). On top of that:

- A ramp becomes a *master* once its own meter is on, the occupancy at its merge is near critical and its queue fills
  more than ``MASTER_ON`` of its storage.
- The next ramp upstream becomes its *slave*, and one more whenever the queues of the group fill more than ``MASTER_ON``
  of their joint storage. A slave's rate is lowered so far that its queue grows towards the share of storage that the
  whole group uses, by

      r_s = d_s − (share · w_s,max − w_s) / T

  with d_s the flow arriving on it, w_s its queue, w_s,max its storage and T the time between decisions; the lower of
  this and its own ALINEA rate is shown, its own queue override above both.
- The group is given up when the master's queue falls below ``MASTER_OFF`` of its storage, or its meter is off.

What differs: the paper estimates queues by a Kalman filter from loops; here the meter counts them.
"""

import math

from scenariogen.simulation.contract import ControlRoom, LoopSite, Policy, RampMeter

CRITICAL_PERCENT = 13.0
GAIN_VEH_H = 70.0
R_MIN_VEH_H, R_MAX_VEH_H = 240.0, 1200.0
ON_SHARE, OFF_SHARE = 0.85, 0.70
DECIDE_EVERY_S = 60.0
MASTER_ON, MASTER_OFF = 0.3, 0.15
"""Shares of its storage at which a ramp becomes a master and ceases to be one."""
FULL_SHARE = 0.9
"""Share of the ramp's storage that the queue may take."""
SMOOTHING = 0.3
"""Weight of the newest minute in the flow that arrives on the ramp."""


class Hero(Policy):
    """ALINEA with ramps upstream as further storage."""

    name = "hero"
    reads = ("detectors", "meters")
    needs_loops = (LoopSite.MERGES,)

    def start(self, run: ControlRoom) -> None:
        self.by_edge = {meter.edge: Ramp(meter) for meter in run.meters.values()}
        self.ramps = list(self.by_edge.values())
        self.groups: dict[str, list[str]] = {}
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
            self.form_groups()
            for master, slaves in self.groups.items():
                self.spread(self.by_edge[master], [self.by_edge[edge] for edge in slaves])

    def finish(self, run: ControlRoom) -> None:
        for ramp in self.ramps:
            ramp.meter.clear()

    def form_groups(self) -> None:
        """Masters and their slaves by edge. A ramp is in one group, that of the master nearest downstream of it."""
        taken = {edge for slaves in self.groups.values() for edge in slaves}
        for ramp in self.ramps:
            edge, slaves = ramp.meter.edge, self.groups.get(ramp.meter.edge)
            if slaves is not None and (ramp.meter.rate_veh_h is None or ramp.filled < MASTER_OFF):
                del self.groups[edge]
            elif slaves is None and edge not in taken and ramp.is_bottleneck and ramp.filled > MASTER_ON:
                self.groups[edge] = []
        for master, slaves in self.groups.items():
            taken = {edge for others in self.groups.values() for edge in others} | set(self.groups)
            free = [edge for edge in self.by_edge[master].meter.upstream if edge not in taken]
            if free and self.share([self.by_edge[edge] for edge in (master, *slaves)]) > MASTER_ON:
                slaves.append(free[0])

    def share(self, ramps: "list[Ramp]") -> float:
        """Share of the joint storage that the queues take."""
        return sum(ramp.queue for ramp in ramps) / max(sum(ramp.meter.storage for ramp in ramps), 1)

    def spread(self, master: "Ramp", slaves: "list[Ramp]") -> None:
        """Bring the slaves' queues towards the share of the whole group."""
        share = self.share([master, *slaves])
        for slave in slaves:
            missing = share * slave.meter.storage - slave.queue
            slave.hold(slave.arriving() - missing * 3600.0 / DECIDE_EVERY_S)


class Ramp:
    """The law for one meter."""

    def __init__(self, meter: RampMeter) -> None:
        self.meter = meter
        self.queue, self.passed = meter.queue, meter.passed
        self.arriving_veh_h: float | None = None
        self.seen_percent: list[float] = []
        self.is_bottleneck = False

    def look(self, run: ControlRoom) -> None:
        """Once an interval of the loops: mean occupancy over the lanes whose loops give data."""
        found = [100.0 * run.detectors.occupancy(lane) for lane in self.meter.merge_lanes]
        known = [percent for percent in found if not math.isnan(percent)]
        if known:
            self.seen_percent.append(sum(known) / len(known))

    @property
    def filled(self) -> float:
        """Share of the storage that the queue takes."""
        return self.queue / max(self.meter.storage, 1)

    def arriving(self) -> float:
        """Vehicles an hour that come onto the ramp."""
        return self.arriving_veh_h or 0.0

    def hold(self, rate_veh_h: float) -> None:
        """A lower rate than its own, for another ramp's sake, unless the own queue grows too long."""
        own = self.meter.rate_veh_h
        wanted = rate_veh_h if own is None else min(rate_veh_h, own)
        self.meter.set_rate(within_limits(max(wanted, self.least_veh_h())))

    def least_veh_h(self) -> float:
        """The rate at which the queue reaches the longest one allowed by the next decision."""
        room_left = FULL_SHARE * self.meter.storage - self.queue
        return self.arriving() - room_left * 3600.0 / DECIDE_EVERY_S

    def decide(self) -> None:
        """Switch the meter on or off, or change its rate."""
        arriving = self.count_arrivals()
        if not self.seen_percent:
            return
        percent = sum(self.seen_percent) / len(self.seen_percent)
        self.is_bottleneck = percent >= ON_SHARE * CRITICAL_PERCENT
        self.seen_percent.clear()
        rate = self.meter.rate_veh_h
        if rate is None:
            if percent >= ON_SHARE * CRITICAL_PERCENT:
                self.meter.set_rate(within_limits(arriving))
        elif percent < OFF_SHARE * CRITICAL_PERCENT and rate >= within_limits(arriving):
            self.meter.clear()
        else:
            wanted = rate + GAIN_VEH_H * (CRITICAL_PERCENT - percent)
            self.meter.set_rate(within_limits(max(wanted, self.least_veh_h())))

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
