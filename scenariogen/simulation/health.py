"""Is the simulation still a simulation of traffic? Lock-ups, lost vehicles, and the counters that say so."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from scenariogen.simulation.balance import MassBalance, mass_balance
from scenariogen.simulation.contract import Run
from scenariogen.simulation.measures import DelayMeter

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
    ``stuck_share_most``    largest share of the vehicles in the network that moved less than 10 m in a minute
    ``balance``             where all vehicles are at the end; None where nobody kept the account
    ``balance_checks``      how often it was looked at whether the account adds up
    ``balance_broken``      what did not add up the first time that something did not; empty where everything did
    """

    locked_up_since_s: float | None
    backlog_most: int
    backlog_at_end: int
    teleports: int
    collisions: int
    emergency_stops: int
    emergency_brakings: int
    stuck_share_most: float = 0.0
    balance: MassBalance | None = None
    balance_checks: int = 0
    balance_broken: str = ""

    @property
    def locked_up(self) -> bool:
        return self.locked_up_since_s is not None


class HealthWatch:
    """Watches a run: make it before the first step, ``update`` after every step.

    ``meter``  keeps the account of vehicles, updated before this; without it the account is not looked at
    ``own``    gives the ids of our own vehicles, ever and now in the network

    A look once a minute costs eight counters and one distance for each vehicle.
    """

    def __init__(
        self,
        run: Run,
        *,
        meter: DelayMeter | None = None,
        own: Callable[[], tuple[frozenset[str], frozenset[str]]] = lambda: (frozenset(), frozenset()),
    ) -> None:
        self._run = run
        self._meter = meter
        self._own = own
        self._balance_checks = 0
        self._balance_broken = ""
        self._stuck_share_most = 0.0
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
        balance = self._balance(tell_discarded=False)
        if balance is not None:
            self._balance_checks += 1
            self._balance_broken = self._balance_broken or "; ".join(balance.gaps())
        if self.locked_up_since_s is not None:
            return
        now_s, snapshots = self._run.time_s, self._snapshots
        driven_m = self._run.driven_m()
        if snapshots:
            self._stuck_share_most = max(self._stuck_share_most, _stuck_share(snapshots[-1][1], driven_m))
        if snapshots and now_s - snapshots[0][0] >= STANDSTILL_S - 1e-6:
            since_s, before_m = snapshots.popleft()
            if _stands_still(before_m, driven_m):
                self.locked_up_since_s = since_s
                snapshots.clear()
                return
        snapshots.append((now_s, driven_m))

    def _balance(self, *, tell_discarded: bool) -> MassBalance | None:
        if self._meter is None:
            return None
        ever, present = self._own()
        return mass_balance(self._run, self._meter, own_ever=ever, own_present=present, tell_discarded=tell_discarded)

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
            stuck_share_most=self._stuck_share_most,
            balance=self._balance(tell_discarded=True),
            balance_checks=self._balance_checks,
            balance_broken=self._balance_broken,
        )


def _stuck_share(before_m: dict[str, float], now_m: dict[str, float]) -> float:
    """Share of the vehicles that were there before and still are, and moved less than ten metres; 0 for a few."""
    stayed = [vehicle for vehicle in before_m if vehicle in now_m]
    if len(before_m) < LEAST_VEHICLES:
        return 0.0
    return sum(now_m[vehicle] - before_m[vehicle] < MOVED_M for vehicle in stayed) / len(before_m)


def _stands_still(before_m: dict[str, float], now_m: dict[str, float]) -> bool:
    if len(before_m) < LEAST_VEHICLES:
        return False
    stayed = [vehicle for vehicle in before_m if vehicle in now_m]
    moved = sum(now_m[vehicle] - before_m[vehicle] >= MOVED_M for vehicle in stayed)
    return len(stayed) >= STAYED_SHARE * len(before_m) and moved < MOVED_SHARE * len(stayed)
