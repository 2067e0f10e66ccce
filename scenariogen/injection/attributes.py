"""What effects may write: one adapter for each attribute, the same over TraCI and libsumo."""

from collections.abc import Collection
from typing import Any

from scenariogen.injection.connection import Link
from scenariogen.injection.values import Attribute, Ledger

ONLINE = "online"
"""SUMO's name of the programme under which a signal shows what somebody sets directly."""
WITHOUT_SIGNAL = "Oosw"
"""What a link may show without its signal: has the right of way, yields, stops, stops as everybody does."""
STATIC = 0
"""Type of a fixed-time programme in SUMO's lists."""


class LaneSpeed(Attribute):
    """Speed limit of a lane (m/s). A claim is the highest speed allowed."""

    name = "lane speed"

    def read(self, link: Link, thing: str) -> float:
        return link.lane.getMaxSpeed(thing)

    def write(self, link: Link, thing: str, value: float) -> None:
        link.lane.setMaxSpeed(thing, value)

    def strictest(self, base: float, claims: Collection[float]) -> float:
        return min(base, *claims)


class LedgerLaneSpeeds:
    """Lane speeds as a control room's signs read and write them: below the claims of effects."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def usual(self, lane: str) -> float:
        """The lane's speed (m/s) without the effects."""
        return self._ledger.base(LANE_SPEED, lane)

    def write(self, lane: str, speed_mps: float) -> None:
        """Make it the lane's speed, with the effects on top of it in the same moment."""
        self._ledger.rebase(LANE_SPEED, lane, speed_mps)


class LanePermissions(Attribute):
    """Vehicle classes that may use a lane, as SUMO lists them. A claim is the set of classes that may not."""

    name = "lane permissions"

    def read(self, link: Link, thing: str) -> tuple[str, ...]:
        return tuple(link.lane.getAllowed(thing))

    def write(self, link: Link, thing: str, value: tuple[str, ...]) -> None:
        if value:
            link.lane.setAllowed(thing, list(value))
        else:
            link.lane.setDisallowed(thing, ["all"])

    def strictest(self, base: tuple[str, ...], claims: Collection[frozenset[str]]) -> tuple[str, ...]:
        denied = frozenset().union(*claims)
        return tuple(name for name in base if name not in denied)


class TypeTau(Attribute):
    """Desired headway of a vehicle type (s), private types of single vehicles included. A claim is the least."""

    name = "type tau"
    may_vanish = True

    def read(self, link: Link, thing: str) -> float:
        return link.vehicle_type.getTau(thing)

    def write(self, link: Link, thing: str, value: float) -> None:
        link.vehicle_type.setTau(thing, value)

    def strictest(self, base: float, claims: Collection[float]) -> float:
        return max(base, *claims)


class ProgrammeStates(Attribute):
    """The states of all phases of a fixed-time signal programme; the object is (signal, programme).

    Only what is shown is rewritten. The programme's clock runs on, so that the phase afterwards is that of an
    undisturbed clock, remaining duration included; ``setPhase`` and ``setPhaseDuration`` by somebody else go on to
    work on that clock. A claim is one state that all phases show.
    """

    name = "programme states"

    def read(self, link: Link, thing: tuple[str, str]) -> tuple[str, ...]:
        return tuple(phase.state for phase in programme(link, *thing).phases)

    def write(self, link: Link, thing: tuple[str, str], value: tuple[str, ...]) -> None:
        logic = programme(link, *thing)
        for phase, state in zip(logic.phases, value, strict=True):
            phase.state = state
        link.traffic_light.setProgramLogic(thing[0], logic)

    def strictest(self, base: tuple[str, ...], claims: Collection[str]) -> tuple[str, ...]:
        return (least_permissive(claims),) * len(base)


class SignalDisplay(Attribute):
    """What a signal shows that is not under a fixed-time programme: (programme, state where it is set directly).

    Released to a programme of another kind (actuated, NEMA), the signal goes on where that programme's own logic,
    which ran on in the background, has got to; its spent duration is counted anew.
    """

    name = "signal display"

    def read(self, link: Link, thing: str) -> tuple[str, str | None]:
        name = link.traffic_light.getProgram(thing)
        return name, link.traffic_light.getRedYellowGreenState(thing) if name == ONLINE else None

    def write(self, link: Link, thing: str, value: tuple[str, str | None]) -> None:
        name, state = value
        if state is not None:
            link.traffic_light.setRedYellowGreenState(thing, state)
        else:
            link.traffic_light.setProgram(thing, name)

    def strictest(self, base: tuple[str, str | None], claims: Collection[str]) -> tuple[str, str | None]:
        return ONLINE, least_permissive(claims)


def programme(link: Link, signal: str, name: str) -> Any:
    """One programme of a signal, with its phases, as a copy that may be changed and set."""
    return next(logic for logic in link.traffic_light.getAllProgramLogics(signal) if logic.programID == name)


def least_permissive(states: Collection[str]) -> str:
    """For each link the strictest of several letters: right of way, yield, stop, all-way stop."""
    return "".join(max(letters, key=WITHOUT_SIGNAL.index) for letters in zip(*states, strict=True))


LANE_SPEED = LaneSpeed()
LANE_PERMISSIONS = LanePermissions()
TYPE_TAU = TypeTau()
PROGRAMME_STATES = ProgrammeStates()
SIGNAL_DISPLAY = SignalDisplay()
