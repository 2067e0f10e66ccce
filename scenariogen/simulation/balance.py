"""Where every vehicle of a run is: nothing may get lost between the demand and the counters.

At any moment

    loaded   = inserted + waiting to enter + not yet due + discarded
    inserted = arrived + running + removed + own vehicles that left

SUMO's own totals stand on the left and in *inserted*, *waiting* and *running*; who was loaded, who entered, who arrived
or was removed on the way, and who was discarded before it could enter is told here from the events of every step. SUMO
loads its demand some minutes ahead, so *not yet due* is rarely nought. Vehicles that stand for an incident are in the
totals of SUMO, and their going has a term of its own: they neither arrive nor are they removed from the traffic.
"""

from dataclasses import dataclass

from scenariogen.simulation.contract import Run
from scenariogen.simulation.measures import DelayMeter


@dataclass(frozen=True, kw_only=True)
class MassBalance:
    """All vehicles at one moment. ``own_``: those that we put on the road, which ``arrived`` and ``removed`` leave out.

    ``loaded``, ``inserted``, ``waiting``, ``running``  SUMO's totals
    ``entered``   vehicles that were seen to enter, ``seen`` to be loaded
    """

    time_s: float
    loaded: int
    inserted: int
    waiting: int
    not_due: int
    discarded: int
    running: int
    arrived: int
    removed: int
    seen: int
    entered: int
    own_inserted: int = 0
    own_running: int = 0

    def gaps(self) -> tuple[str, ...]:
        """What does not add up, in words; empty where everything does."""
        found = []
        entered = self.inserted + self.waiting + self.not_due + self.discarded
        if self.loaded != entered:
            found.append(
                f"loaded {self.loaded} is not inserted {self.inserted} + waiting {self.waiting} + not yet due "
                f"{self.not_due} + discarded {self.discarded} = {entered}"
            )
        own_left = self.own_inserted - self.own_running
        left = self.arrived + self.running + self.removed + own_left
        if self.inserted != left:
            found.append(
                f"inserted {self.inserted} is not arrived {self.arrived} + running {self.running} + removed "
                f"{self.removed} + own vehicles that left {own_left} = {left}"
            )
        if (self.loaded, self.inserted) != (self.seen, self.entered):
            found.append(
                f"loaded {self.loaded} and inserted {self.inserted} are not the {self.seen} and {self.entered} that "
                "were seen step by step"
            )
        if not self.own_running <= self.own_inserted <= self.inserted:
            found.append(f"{self.own_running} of {self.own_inserted} own vehicles run, of {self.inserted} inserted")
        return tuple(f"second {self.time_s:g}: {text}" for text in found)


def mass_balance(
    run: Run,
    meter: DelayMeter,
    *,
    own_ever: frozenset[str] = frozenset(),
    own_present: frozenset[str] = frozenset(),
    tell_discarded: bool = True,
) -> MassBalance:
    """The account of a run right after a step. ``meter`` has seen every step from the first on.

    ``tell_discarded``  False: who was discarded counts as not yet due, which spares one question for each of them;
                        the sums are the same
    """
    counters = run.counters()
    running, waiting = set(run.running_ids()), set(run.waiting_ids())
    # What is added between two steps is in no event of TraCI's: our own vehicles, and those of others.
    added = own_ever | running
    unseen = (added | waiting) - meter.seen
    removed = not_due = discarded = 0
    for vehicle in meter.not_left - added - waiting:
        if vehicle in meter.entered:  # one that is still there is being moved ahead, and counts as running
            removed += not run.is_known(vehicle)
        elif tell_discarded and not run.is_known(vehicle):
            discarded += 1
        else:
            not_due += 1
    own_left = [meter.left[vehicle] for vehicle in own_ever if vehicle in meter.left]
    arrived = meter.reached - sum(own_left)
    return MassBalance(
        time_s=run.time_s,
        loaded=counters.loaded,
        inserted=counters.running + counters.left,
        waiting=counters.waiting,
        not_due=not_due,
        discarded=discarded,
        running=counters.running,
        arrived=arrived,
        removed=removed + len(meter.left) - len(own_left) - arrived,
        seen=len(meter.seen) + len(unseen),
        entered=len(meter.entered) + len(added - meter.entered),
        own_inserted=len(own_ever),
        own_running=len(own_present),
    )
