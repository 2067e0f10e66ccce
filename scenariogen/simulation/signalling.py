"""How a signal gets safely from one state to another: green states of a programme, yellow and clearance between them.

A state is SUMO's text with one letter for each link: ``G`` green, ``g`` green that yields, ``y`` yellow, ``u`` red
and yellow, ``r`` red, ``s`` stop.
"""

from enum import StrEnum
from typing import Protocol


class ProgrammeKind(StrEnum):
    """Logics by which a simulator runs the phases of a programme.

    ``STATIC``       each phase lasts as long as it says
    ``ACTUATED``     a green is prolonged while vehicles follow each other closely
    ``DELAY_BASED``  a green is prolonged while vehicles that have lost time approach
    """

    STATIC = "static"
    ACTUATED = "actuated"
    DELAY_BASED = "delay_based"


class Settable(Protocol):
    """What :class:`SafeSwitch` needs of a signal."""

    phases: tuple[tuple[str, float], ...]

    @property
    def state(self) -> str: ...

    def set_state(self, state: str) -> None: ...


class SafeSwitch:
    """Brings a signal from one green state to the next by way of yellow and clearance.

    ``green``       state that shows since the last change was completed; None before the first
    ``green_at_s``  second at which that was
    """

    def __init__(self, signal: Settable, time_s: float) -> None:
        self.signal = signal
        self.yellow_s, self.clearance_s = change_intervals(signal.phases)
        self.green: str | None = None
        self.green_at_s = time_s
        self._changes: list[tuple[float, str]] = []

    def start(self, target: str, time_s: float) -> None:
        """Begin the change to ``target``, at once complete where no link loses its green."""
        self._changes = transition(
            self.signal.state, target, time_s, yellow_s=self.yellow_s, clearance_s=self.clearance_s
        )
        self.is_changing(time_s)

    def is_changing(self, time_s: float) -> bool:
        """Go on to ``time_s``; False once the state asked for shows."""
        while self._changes and self._changes[0][0] <= time_s + 1e-9:
            state = self._changes.pop(0)[1]
            self.signal.set_state(state)
            if not self._changes:
                self.green, self.green_at_s = state, time_s
        return bool(self._changes)


SHORTEST_GREEN_S = 5.0
"""A state that the programme shows more briefly is a transition, unless it alone serves some link."""
DEFAULT_YELLOW_S = 4.0
"""Where the programme has no yellow. 1 s + v/(2 · 3.05 m/s²) reaches 4 s at 66 km/h (ITE, *Traffic engineering
handbook*, change interval)."""
LONGEST_CLEARANCE_S = 6.0
GREEN = "Gg"
YELLOW = "yY"


def green_states(phases: tuple[tuple[str, float], ...]) -> tuple[str, ...]:
    """Distinct states of a programme that may be held: some green, no yellow, not a mere transition.

    Every link that the programme ever gives green to is green in one of them: where only a state with yellows
    serves it, that state is taken with its yellows turned red.
    """
    held: dict[str, float] = {}
    for state, duration_s in phases:
        if _served(state) and not any(symbol in YELLOW + "u" for symbol in state):
            held[state] = max(held.get(state, 0.0), duration_s)
    kept = [state for state, duration_s in held.items() if duration_s >= SHORTEST_GREEN_S]
    spare = sorted((state for state in held if state not in kept), key=lambda state: -held[state])
    cleared = ("".join("r" if symbol in YELLOW + "u" else symbol for symbol in state) for state, _ in phases)
    for state in (*spare, *cleared):
        if _served(state) - set().union(*map(_served, kept)):
            kept.append(state)
    return tuple(dict.fromkeys(kept))


def _served(state: str) -> set[int]:
    return {index for index, symbol in enumerate(state) if symbol in GREEN}


def change_intervals(phases: tuple[tuple[str, float], ...]) -> tuple[float, float]:
    """(yellow, all-red clearance after it) in seconds, the longest that the programme itself uses."""
    yellow = [duration_s for state, duration_s in phases if any(symbol in YELLOW for symbol in state)]
    clearance = [
        phases[(i + 1) % len(phases)][1]
        for i, (state, _) in enumerate(phases)
        if any(symbol in YELLOW for symbol in state) and set(phases[(i + 1) % len(phases)][0]) <= set("rs")
    ]
    return (max(yellow) if yellow else DEFAULT_YELLOW_S), min(max(clearance, default=0.0), LONGEST_CLEARANCE_S)


def transition(now: str, target: str, time_s: float, *, yellow_s: float, clearance_s: float) -> list[tuple[float, str]]:
    """States from ``now`` to ``target`` as (second from which it shows, state), the last being ``target``.

    A link that loses its green, or shows yellow already, is yellow, then red; one that keeps it stays green but
    yields while others clear; one that gains it stays red until the end.
    """
    change, clear, losing = [], [], False
    for before, after in zip(now, target, strict=True):
        if before in GREEN and after in GREEN:
            change.append("G" if before == after == "G" else "g")
            clear.append(change[-1])
        elif before in GREEN or before in YELLOW:
            losing = True
            change.append("y")
            clear.append("r")
        else:
            kept = after if after not in GREEN else "r"
            change.append(kept)
            clear.append(kept)
    if not losing:
        return [(time_s, target)]
    states = [(time_s, "".join(change))]
    if clearance_s > 0:
        states.append((time_s + yellow_s, "".join(clear)))
    return [*states, (time_s + yellow_s + clearance_s, target)]
