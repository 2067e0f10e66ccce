"""System delay, the performance measure of record.

Over a counting window [t0, t0 + H] the delay is

    sum over vehicles v of  |[due_v, exit_v] ∩ [t0, t0 + H]| - |[due_v, due_v + f_v] ∩ [t0, t0 + H]|

where ``due_v`` is the moment at which the demand wants to depart, ``exit_v`` the arrival (the end of the window for
whoever has not arrived), and ``f_v`` the free-flow time on the original route at the limits of the network file,
planned stops included. The first sum is the integral of vehicles running plus vehicles waiting to enter. A
vehicle that was dropped or removed before its destination counts as waiting until the end.

SUMO's own ``timeLoss`` is measured against the limit and the route in force, so it does not see speed zones or
detours; this does.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from scenariogen.simulation.contract import Run

SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class SystemDelay:
    """What a run cost, over ``[count_from_s, end_s]``.

    ``delay_veh_h``      ``time_veh_h - free_flow_veh_h``, vehicle-hours
    ``time_veh_h``       vehicles running plus vehicles waiting to enter, integrated
    ``free_flow_veh_h``  what the same demand would need alone on the road
    ``due``              vehicles whose departure was due by the end of the window, warm-up included
    ``arrived``          of those, how many reached their destination
    ``discarded``        of those, how many were dropped or removed on the way; they count until the end
    ``running_at_end``, ``waiting_at_end``  in the network, and waiting to enter, at the end
    ``delay_by_class``   the same vehicle-hours of delay by SUMO's vehicle class; they add up to ``delay_veh_h``
    """

    delay_veh_h: float
    time_veh_h: float
    free_flow_veh_h: float
    due: int
    arrived: int
    discarded: int
    running_at_end: int
    waiting_at_end: int
    delay_by_class: Mapping[str, float] = field(default_factory=dict)

    @property
    def inserted(self) -> int:
        """Vehicles that entered the network."""
        return self.due - self.waiting_at_end


class DelayMeter:
    """Measures system delay while a run goes on: make it before the first step, ``update`` after every step.

    Two calls a step and seven for each vehicle that is loaded; the rest happens in :meth:`result`.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._due_s: dict[str, float] = {}
        self._free_flow_s: dict[str, float] = {}
        self._exit_s: dict[str, float] = {}
        self._class: dict[str, str] = {}
        self._excluded: set[str] = set()
        self._just_loaded: list[str] = []
        self._unknown: set[str] = set()
        self.seen: set[str] = set()
        """Every vehicle that was loaded or entered, those that are left out of the delay as well."""
        self.entered: set[str] = set()
        """Every vehicle that entered the network."""
        self.left: dict[str, bool] = {}
        """Every vehicle that is gone after it had entered, and whether it reached its destination."""
        self.not_left: set[str] = set()
        """Those of ``seen`` that are not in ``left``: who asks every minute need not go through all."""
        self.reached = 0
        """Of ``left``, how many reached their destination."""
        self._load(run.loaded_ids())

    def update(self) -> None:
        """Take in the last step."""
        run = self._run
        departed = run.departed_ids()
        if departed:
            self.entered.update(departed)
            self._see(departed)
        arrived = run.arrived_ids()
        if arrived:
            self._leave(arrived)
        if self._just_loaded:
            self._find_triggered()
        if self._unknown:
            self._ask_again()
        loaded = run.loaded_ids()
        if loaded:
            self._load(loaded)

    def exclude(self, *vehicles: str) -> None:
        """Leave vehicles out, such as those that stand in for an incident; before or after they appear."""
        self._excluded.update(vehicles)

    def _see(self, vehicles: tuple[str, ...]) -> None:
        self.seen.update(vehicles)
        self.not_left.update(vehicle for vehicle in vehicles if vehicle not in self.left)

    def _leave(self, vehicles: tuple[str, ...]) -> None:
        now_s = self._run.time_s - self._run.step_length_s
        self.not_left.difference_update(vehicles)
        for vehicle in vehicles:
            reached = self._run.reached_destination(vehicle)
            self.reached += reached - self.left.get(vehicle, False)
            self.left[vehicle] = reached
            if reached and vehicle in self._due_s:
                self._exit_s[vehicle] = now_s

    def _load(self, vehicles: tuple[str, ...]) -> None:
        self._see(vehicles)
        for vehicle in vehicles:
            departure = None
            if vehicle not in self._due_s and vehicle not in self._excluded:
                departure = self._run.departure(vehicle)
            if departure is None:
                continue
            self._due_s[vehicle], self._free_flow_s[vehicle] = departure.due_s, departure.free_flow_s
            self._class[vehicle] = departure.vehicle_class
            if math.isnan(departure.free_flow_s):
                self._unknown.add(vehicle)
            elif departure.due_s <= self._run.time_s and not departure.has_departed:
                self._just_loaded.append(vehicle)

    def _find_triggered(self) -> None:
        """What seemed due when it was loaded, yet neither enters nor waits, waits for a passenger: not yet due."""
        present = {*self._run.waiting_ids(), *self._run.running_ids(), *self._exit_s}
        for vehicle in self._just_loaded:
            if vehicle not in present:
                self._due_s[vehicle] = math.nan
                self._unknown.add(vehicle)
        self._just_loaded = []

    def _ask_again(self) -> None:
        """Vehicles whose departure or route is only known once they depart (zones, passengers)."""
        for vehicle in tuple(self._unknown):
            if self._due_s[vehicle] > self._run.time_s:
                continue
            departure = self._run.departure(vehicle)
            if departure is None:
                self._unknown.discard(vehicle)
            elif departure.has_departed:
                self._unknown.discard(vehicle)
                self._due_s[vehicle] = departure.due_s
                self._free_flow_s[vehicle] = departure.free_flow_s

    def result(self) -> SystemDelay:
        """The delay so far; at the end of the window, of the run. Call it before the run is closed."""
        run, window = self._run, self._run.request.window
        end_s = min(run.time_s, window.end_s)
        ids = [v for v, due in self._due_s.items() if due < end_s and v not in self._excluded]
        due = np.array([self._due_s[v] for v in ids])
        # a vehicle whose route never became known has no free-flow time: all its waiting is delay
        free_flow = np.nan_to_num(np.array([self._free_flow_s[v] for v in ids]), nan=0.0)
        left = np.array([self._exit_s.get(v, math.inf) for v in ids])
        start = np.maximum(due, window.count_from_s)
        times = np.maximum(np.minimum(left, end_s) - start, 0.0)
        frees = np.maximum(np.minimum(due + free_flow, end_s) - start, 0.0)
        time_s, free_s = times.sum(), frees.sum()
        classes = np.array([self._class[v] for v in ids], dtype=object)
        waiting, running = set(run.waiting_ids()), set(run.running_ids())
        arrived = int((left <= end_s).sum())
        running_at_end = sum(v in running for v in ids)
        waiting_at_end = sum(v in waiting for v in ids)
        return SystemDelay(
            delay_veh_h=float(time_s - free_s) / SECONDS_PER_HOUR,
            time_veh_h=float(time_s) / SECONDS_PER_HOUR,
            free_flow_veh_h=float(free_s) / SECONDS_PER_HOUR,
            due=len(ids),
            arrived=arrived,
            discarded=len(ids) - arrived - running_at_end - waiting_at_end,
            running_at_end=running_at_end,
            waiting_at_end=waiting_at_end,
            delay_by_class={
                name: float((times - frees)[classes == name].sum()) / SECONDS_PER_HOUR for name in sorted(set(classes))
            },
        )
