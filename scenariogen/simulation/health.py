"""Is the simulation still a simulation of traffic? Lock-ups and the counters that say so."""

from collections import deque
from dataclasses import dataclass

from scenariogen.simulation.contract import Run

CHECK_EVERY_S = 60.0
STANDSTILL_S = 600.0
MOVED_M = 10.0
MOVED_SHARE = 0.01
STAYED_SHARE = 0.5
"""Of the vehicles that the network held, at least this share must be stuck: less is a queue on one road."""
LEAST_VEHICLES = 20
"""Fewer vehicles than this are a queue, not a network."""


@dataclass(frozen=True, kw_only=True)
class RunHealth:
    """Counters of one run.

    ``locked_up_since_s``   simulation second from which, for 10 min, fewer than 1 % of the vehicles in the network
                            moved 10 m, not counting those that left by roads still open, as long as these are
                            the smaller half; None where that never happened
    ``backlog_most``        most vehicles that were due but could not enter, looked at once a minute
    ``backlog_at_end``      the same at the end
    """

    locked_up_since_s: float | None
    backlog_most: int
    backlog_at_end: int
    teleports: int
    collisions: int
    emergency_stops: int
    emergency_brakings: int

    @property
    def locked_up(self) -> bool:
        return self.locked_up_since_s is not None


class HealthWatch:
    """Watches a run: make it before the first step, ``update`` after every step.

    A look once a minute costs seven counters and one distance for each vehicle.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._next_s = run.time_s + CHECK_EVERY_S
        self._snapshots: deque[tuple[float, dict[str, float]]] = deque()
        self._backlog_most = 0
        self.locked_up_since_s: float | None = None

    def update(self) -> None:
        """Take in the last step."""
        if self._run.time_s >= self._next_s:
            self._next_s += CHECK_EVERY_S
            self._look()

    def _look(self) -> None:
        counters = self._run.counters()
        self._backlog_most = max(self._backlog_most, counters.waiting)
        if self.locked_up_since_s is not None:
            return
        now_s, snapshots = self._run.time_s, self._snapshots
        driven_m = self._run.driven_m()
        if snapshots and now_s - snapshots[0][0] >= STANDSTILL_S - 1e-6:
            since_s, before_m = snapshots.popleft()
            if _stands_still(before_m, driven_m):
                self.locked_up_since_s = since_s
                snapshots.clear()
                return
        snapshots.append((now_s, driven_m))

    def health(self) -> RunHealth:
        """The counters so far. Call it before the run is closed."""
        counters = self._run.counters()
        return RunHealth(
            locked_up_since_s=self.locked_up_since_s,
            backlog_most=max(self._backlog_most, counters.waiting),
            backlog_at_end=counters.waiting,
            teleports=counters.teleports,
            collisions=counters.collisions,
            emergency_stops=counters.emergency_stops,
            emergency_brakings=counters.emergency_brakings,
        )


def _stands_still(before_m: dict[str, float], now_m: dict[str, float]) -> bool:
    if len(before_m) < LEAST_VEHICLES:
        return False
    stayed = [vehicle for vehicle in before_m if vehicle in now_m]
    moved = sum(now_m[vehicle] - before_m[vehicle] >= MOVED_M for vehicle in stayed)
    return len(stayed) >= STAYED_SHARE * len(before_m) and moved < MOVED_SHARE * len(stayed)
