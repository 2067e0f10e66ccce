"""Virtual detectors of a SUMO run: counts over the last metres of lanes, and loops that report by interval.

Both are as late as the lag says; both may be given a relative error, drawn from (the run's seed, detector, time) alone,
so that what is read when does not change what is read.
"""

import math
import random
from collections import deque
from typing import TYPE_CHECKING

from scenariogen.errors import PolicyError
from scenariogen.randomness import child_seed
from scenariogen.simulation.contract import DetectorBank, DetectorOptions, LoopReading
from scenariogen.simulation.staging import DETECTOR_LENGTH_M, detector_id, loop_id
from scenariogen.simulation.stations import lanes_of

if TYPE_CHECKING:
    from scenariogen.simulation.sumo import SumoRun

READING_EVERY_S = 1.0
"""Counts are read at most this often, however short the steps."""


class SumoDetectors(DetectorBank):
    """Lane-area detectors over the last metres of each lane (the whole lane where it is shorter), and loops.

    Counts are read once a second while the run has any; the readings of the lag are kept in a ring. Over TraCI they
    come with the step's answer (subscription), in libsumo one call each.
    """

    def __init__(self, run: "SumoRun", lanes: tuple[str, ...], *, options: DetectorOptions | None = None) -> None:
        self.options = options or DetectorOptions()
        self.lanes = lanes
        self.length_m = DETECTOR_LENGTH_M
        self.lag_s = self.options.lag_s
        self._run = run
        self._ids = [detector_id(number) for number in range(len(lanes))]
        self._index = {lane: number for number, lane in enumerate(lanes)}
        self._readings: deque[tuple[float, list[int]]] = deque()
        self._newest: tuple[float, list[int]] | None = None
        """The newest reading that has reached the control room."""
        self._due_s = -math.inf
        self._area = run.connection.lanearea
        self._by_subscription = run.by_socket
        self._loops = LoopReadings(run, self.options)
        self.loops, self.interval_s = self._loops.lanes, self.options.interval_s
        if self._by_subscription:
            from traci.constants import LAST_STEP_VEHICLE_NUMBER

            self._variable = LAST_STEP_VEHICLE_NUMBER
            for name in self._ids:
                self._area.subscribe(name, [self._variable])

    def record(self, time_s: float) -> None:
        """Take a reading; called by the run after every step."""
        if self.loops:
            self._loops.record(time_s)
        if not self._ids:
            return
        if time_s >= self._due_s - 1e-6:
            self._readings.append((time_s, self._counts()))
            self._due_s = time_s + READING_EVERY_S
        while self._readings and self._readings[0][0] <= time_s - self.lag_s + 1e-6:
            self._newest = self._readings.popleft()

    def _counts(self) -> list[int]:
        if self._by_subscription:
            answers = self._area.getAllSubscriptionResults()
            return [answers[name][self._variable] for name in self._ids]
        read = self._area.getLastStepVehicleNumber
        return [read(name) for name in self._ids]

    def count(self, lane: str) -> int:
        number = self._index.get(lane)
        if number is None:
            raise PolicyError(f"lane {lane!r} has no detector; {len(self.lanes)} lanes have one")
        if self._newest is None:
            return 0
        time_s, counts = self._newest
        counted = counts[number]
        if not self.options.error or not counted:
            return counted
        return round(counted * self.options.factor(self._run.request.seed, "count", lane, f"{time_s:.3f}"))

    def reading(self, lane: str) -> LoopReading:
        return self._loops.reading(lane)

    def broken(self) -> tuple[str, ...]:
        """Lanes whose detectors, those of stations too, give no data in this run, by the options' share."""
        share, seed = self.options.outage_share, self._run.request.seed
        if not share:
            return ()
        lanes = dict.fromkeys([*self.lanes, *self.loops, *lanes_of(self._run.request.stations)])
        return tuple(lane for lane in lanes if random.Random(child_seed(seed, "outage", lane)).random() < share)


class LoopReadings:
    """What the run's loops measured in the last interval that has reached the control room."""

    def __init__(self, run: "SumoRun", options: DetectorOptions) -> None:
        self.lanes = tuple(loop.lane for loop in run.request.loops)
        self._ids = [loop_id(number) for number in range(len(self.lanes))]
        self._index = {lane: number for number, lane in enumerate(self.lanes)}
        self._run, self._options = run, options
        self._loops = run.connection.inductionloop
        self._begin_s = run.request.window.begin_s
        self._next = 1
        self._readings: deque[tuple[float, list[LoopReading]]] = deque()

    def record(self, time_s: float) -> None:
        """Read the loops once their interval is over: SUMO keeps the last whole interval until the next one ends."""
        end_s = self._begin_s + self._next * self._options.interval_s
        if time_s < end_s + self._run.step_length_s - 1e-6:  # SUMO closes an interval at the beginning of a step
            return
        self._readings.append((end_s, [self._read(number, end_s) for number in range(len(self.lanes))]))
        self._next += 1
        while len(self._readings) > 1 and self._readings[1][0] <= time_s - self._options.lag_s + 1e-6:
            self._readings.popleft()

    def reading(self, lane: str) -> LoopReading:
        """The newest reading that is at least as old as the lag; nan in all fields before there is one."""
        number = self._index.get(lane)
        if number is None:
            raise PolicyError(f"lane {lane!r} has no loop; {len(self.lanes)} lanes have one")
        last_s = self._run.time_s - self._options.lag_s + 1e-6
        found = LoopReading()
        for end_s, readings in self._readings:
            if end_s > last_s:
                break
            found = readings[number]
        return found

    def _read(self, number: int, end_s: float) -> LoopReading:
        name, options = self._ids[number], self._options
        vehicles = self._loops.getLastIntervalVehicleNumber(name)
        flow_veh_h = vehicles * 3600.0 / options.interval_s
        occupancy = self._loops.getLastIntervalOccupancy(name) / 100.0
        speed_mps = self._loops.getLastIntervalMeanSpeed(name)
        if speed_mps < 0:
            speed_mps = float("nan")
        if options.error:
            seed, lane, when = self._run.request.seed, self.lanes[number], f"{end_s:.3f}"
            flow_veh_h *= options.factor(seed, "flow", lane, when)
            occupancy *= options.factor(seed, "occupancy", lane, when)
            speed_mps *= options.factor(seed, "speed", lane, when)
        return LoopReading(flow_veh_h, min(occupancy, 1.0), speed_mps, end_s)
