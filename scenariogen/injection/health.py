"""Counters of somebody else's running simulation, read from SUMO's own totals once a simulated minute.

Nothing is asked for in between, so that a simulation of an hour costs sixty looks. Whether every single vehicle is
accounted for, :mod:`scenariogen.simulation.balance` tells of runs of our own; here the totals have to agree with each
other: nobody is inserted that was not loaded, and what was loaded, inserted or has left never becomes less.
"""

from dataclasses import dataclass, replace
from typing import Any

from scenariogen.injection.connection import Link
from scenariogen.simulation.options import parse_time_s

LOOK_EVERY_S = 60.0
STATISTICS = {
    "loaded": "vehicles.loaded",
    "inserted": "vehicles.inserted",
    "running": "vehicles.running",
    "waiting": "vehicles.waiting",
    "teleports": "teleports.total",
    "collisions": "safety.collisions",
    "emergency_stops": "safety.emergencyStops",
    "emergency_brakings": "safety.emergencyBraking",
}
"""Our names to SUMO's of its totals (``simulation.getParameter("", "stats...")``)."""
GROWING = ("loaded", "inserted", "left", "teleports", "collisions", "emergency_stops", "emergency_brakings")


@dataclass(frozen=True, kw_only=True)
class AttachedHealth:
    """SUMO's totals since the simulation began; the last look, and what stood out over all of them.

    ``expected``      SUMO's ``getMinExpectedNumber``: persons, and vehicles that run, wait or are not yet due, without
                      those that wait for a person, as idle taxis do; so it may be less than those that run
    ``discarded``     vehicles that went without ever entering: SUMO dropped them (``max-depart-delay``, a broken route)
                      or they are what a ``scale`` below 1 leaves out; None where arrived vehicles are kept
                      (``keep-after-arrival``) and cannot be told from them
    ``own_inserted``, ``own_running``  vehicles that stand for incidents, which the totals include
    ``waiting_most``  most vehicles that were due and could not enter
    ``looks``         how often the totals were read
    ``broken``        what did not agree first; empty where everything did
    """

    time_s: float
    loaded: int
    inserted: int
    running: int
    waiting: int
    expected: int
    teleports: int
    collisions: int
    emergency_stops: int
    emergency_brakings: int
    discarded: int | None = None
    own_inserted: int = 0
    own_running: int = 0
    waiting_most: int = 0
    looks: int = 0
    broken: str = ""

    @property
    def left(self) -> int:
        """Vehicles that arrived or were removed, our own included."""
        return self.inserted - self.running

    def gaps(self, before: "AttachedHealth | None" = None) -> tuple[str, ...]:
        """What does not agree, in words: with each other, and with the look before."""
        found = []
        if self.loaded < self.inserted + self.waiting:
            found.append(f"loaded {self.loaded} is less than inserted {self.inserted} + waiting {self.waiting}")
        if self.inserted < self.running:
            found.append(f"inserted {self.inserted} is less than running {self.running}")
        if self.discarded is not None and not 0 <= self.discarded <= self.loaded - self.inserted - self.waiting:
            found.append(
                f"discarded {self.discarded} is not what loaded {self.loaded} - inserted {self.inserted} - waiting "
                f"{self.waiting} leaves room for"
            )
        if not self.own_running <= self.own_inserted <= self.inserted:
            found.append(f"{self.own_running} of {self.own_inserted} own vehicles run, of {self.inserted} inserted")
        for name in GROWING if before is not None else ():
            if getattr(self, name) < getattr(before, name):
                found.append(f"{name} went back from {getattr(before, name)} to {getattr(self, name)}")
        return tuple(f"second {self.time_s:g}: {text}" for text in found)


class HealthLog:
    """Looks at a running simulation when :meth:`look` is called, which is to be at :attr:`due_s`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._last: AttachedHealth | None = None
        self._keeps_arrived = parse_time_s(link.option("keep-after-arrival")) > 0
        self.due_s = float("-inf")

    def look(self, now_s: float, *, own_inserted: int = 0, own_running: int = 0) -> AttachedHealth:
        """Read the totals now."""
        ask, before = self._link.simulation, self._last
        totals: dict[str, Any] = {
            name: int(float(ask.getParameter("", f"stats.{theirs}"))) for name, theirs in STATISTICS.items()
        }
        seen = AttachedHealth(
            time_s=now_s,
            expected=int(ask.getMinExpectedNumber()),
            discarded=None if self._keeps_arrived else self._discarded(**totals),
            own_inserted=own_inserted,
            own_running=own_running,
            **totals,
        )
        broken = before.broken if before is not None else ""
        self._last = replace(
            seen,
            waiting_most=max(seen.waiting, before.waiting_most if before is not None else 0),
            looks=1 + (before.looks if before is not None else 0),
            broken=broken or "; ".join(seen.gaps(before)),
        )
        self.due_s = now_s + LOOK_EVERY_S
        return self._last

    def _discarded(self, *, loaded: int, inserted: int, running: int, **_: int) -> int:
        """Of all vehicles that SUMO no longer has, those that never entered."""
        gone = loaded - len(self._link.vehicle.getLoadedIDList())
        return gone - (inserted - running)

    @property
    def last(self) -> AttachedHealth | None:
        """The last look."""
        return self._last
