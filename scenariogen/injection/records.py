"""What was asked of an incident and what became of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scenariogen.incidents.records import Incident
from scenariogen.scenarios.effects import Effect
from scenariogen.units import clock_text, duration_text


@dataclass(frozen=True, kw_only=True)
class RealisedIncident:
    """One incident of a scenario, as asked and as it happened.

    ``number``             place in the scenario's incidents, from 0
    ``asked``              the incident as the scenario says
    ``realised``           it stood in time; False: nothing of it happened, ``reason`` says why
    ``reason``             empty where all went as asked; otherwise what differed, in words
    ``start_s``, ``end_s`` simulation seconds between which it stood (``end_s`` None while it stands)
    ``lanes``              lanes that were blocked
    ``position_m``         front of the blockage, metres from the start of the edge; the mean over blocked lanes
    ``stretch_speed_mps``  speed past it in the reduced-speed stretch; None where none was needed
    ``rerouted``           changes of route on its account, returns not counted
    ``rerouted_by``        the same by what they knew it from: ``queue``, ``sign``, ``radio``, ``navigation``
    ``returned``           drivers who took their old route again once they were told that the road was clear
    ``vehicles``           ids of our vehicles that stood there
    ``detected_s``, ``responded_s``  when it became known, and when responders were there (simulation seconds; None
                           where it did not come to that)
    ``reopened``           (lane, simulation second) of lanes that opened before its end, in time
    ``recovered_s``        when the queue behind it had gone: no vehicle slower than 5 km/h that had to pass the spot;
                           None where the run ended first (see :mod:`scenariogen.injection.recovery`)
    """

    number: int
    asked: Incident
    realised: bool
    reason: str = ""
    start_s: float | None = None
    end_s: float | None = None
    lanes: tuple[int, ...] = ()
    position_m: float | None = None
    stretch_speed_mps: float | None = None
    rerouted: int = 0
    rerouted_by: Mapping[str, int] = field(default_factory=dict)
    returned: int = 0
    vehicles: tuple[str, ...] = ()
    detected_s: float | None = None
    responded_s: float | None = None
    reopened: tuple[tuple[int, float], ...] = ()
    recovered_s: float | None = None

    @property
    def is_over(self) -> bool:
        """True once nothing more will happen."""
        return not self.realised or self.end_s is not None

    def __str__(self) -> str:
        where = f"incident {self.number}: {self.asked.kind} on {self.asked.edge}"
        if not self.realised or self.start_s is None:
            return f"{where}: not realised, {self.reason}"
        until = "still standing" if self.end_s is None else f"for {duration_text(self.end_s - self.start_s)}"
        lanes = f"lanes {list(self.lanes)}" if self.lanes else "no lane blocked"
        note = f" ({self.reason})" if self.reason else ""
        return f"{where} at {self.position_m:.0f} m, {lanes}, from {clock_text(self.start_s)} {until}{note}"


@dataclass(frozen=True, kw_only=True)
class RealisedEffect:
    """One effect of a scenario, as asked and as it happened.

    ``number``             place in the scenario's effects, from 0
    ``asked``              the effect as the scenario says
    ``realised``           it held; False: nothing of it happened, ``reason`` says why
    ``reason``             empty where all went as asked; otherwise what is worth knowing, in words
    ``start_s``, ``end_s`` simulation seconds between which it held (``end_s`` None while it does)
    ``counts``             what it did, in numbers, by name
    """

    number: int
    asked: Effect
    realised: bool
    reason: str = ""
    start_s: float | None = None
    end_s: float | None = None
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """True once nothing more will happen."""
        return not self.realised or self.end_s is not None

    def __str__(self) -> str:
        what = f"effect {self.number}: {self.asked.kind}"
        if not self.realised or self.start_s is None:
            return f"{what}: not realised, {self.reason}"
        until = "still on" if self.end_s is None else f"for {duration_text(self.end_s - self.start_s)}"
        told = [f"{name} {count}" for name, count in self.counts.items()] + ([self.reason] if self.reason else [])
        note = f" ({'; '.join(told)})" if told else ""
        return f"{what} from {clock_text(self.start_s)} {until}{note}"


class InjectionWarning(UserWarning):
    """An option of somebody else's simulation under which incidents do not play out as they should."""
