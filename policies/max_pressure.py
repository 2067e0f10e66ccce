"""Max pressure: each signal serves the movements that most vehicles press into and fewest hold up behind.

Varaiya, *Max pressure control of a network of signalized intersections*, Transportation Research Part C 36, 2013.
The pressure of a green state is Σ over its green incoming lanes of s · (vehicles on the lane − mean vehicles on
the lanes it leads to), with s the saturation flow as a share of an unopposed lane's. The signal shows the state
with the highest pressure.

What differs from the paper, and why:

- Queues are counts of the detectors over the last metres of incoming and outgoing lanes, a lag old. They saturate
  where a queue outgrows the detector. Turning shares are unknown: the lanes that a lane leads to count equally.
- Switching costs time, which the paper leaves out: a green lasts at least ``MIN_GREEN_S``, is reconsidered every
  ``DECIDE_EVERY_S``, and is left only for a pressure that is higher by ``ADVANTAGE`` vehicles.
- Max pressure alone may starve a lonely vehicle, and sees neither pedestrians nor lanes without a detector. A link
  that has been red for ``MAX_RED_S`` is served next, the longest wait first, unless its detectors are empty.
- A permissive green (``g``) counts half: it has to yield.

The states are the distinct green states of the signal's own programme, so movements that its designer kept apart
stay apart. Between two of them each link that loses its green shows yellow for as long as the programme's own
longest yellow, then red for its own clearance. A signal with fewer than two green states keeps its own programme.

A blocked approach keeps its count high although nothing moves, so it goes on attracting green: max pressure has no
way to see an incident. The others get through when they press harder, or after ``MAX_RED_S``.
"""

from scenariogen.simulation.contract import (
    GREEN,
    ControlRoom,
    DetectorBank,
    Policy,
    Signal,
    change_intervals,
    green_states,
    transition,
)

MIN_GREEN_S = 10.0
DECIDE_EVERY_S = 5.0
MAX_RED_S = 90.0
ADVANTAGE = 1.0


class MaxPressure(Policy):
    """One independent controller per signal."""

    name = "max_pressure"
    reads = ("detectors", "signals")
    needs_detectors = True

    def start(self, run: ControlRoom) -> None:
        """Read each signal's own programme and take over those with at least two green states."""
        junctions = (Junction(signal, run.detectors, run.time_s) for signal in run.signals.values())
        self.junctions = [junction for junction in junctions if len(junction.greens) >= 2]

    def step(self, run: ControlRoom, time_s: float) -> None:
        """Let every signal go on with its transition, or choose its next state."""
        for junction in self.junctions:
            junction.step(time_s)


class Junction:
    """The controller of one signal."""

    def __init__(self, signal: Signal, detectors: DetectorBank, time_s: float) -> None:
        self.signal, self.detectors = signal, detectors
        self.seen = frozenset(detectors.lanes)
        self.greens = green_states(signal.phases)
        self.served = {state: self._lanes_served(state) for state in self.greens}
        self.lanes = sorted(
            {lane for served in self.served.values() for before, *_, after, _ in served for lane in (before, *after)}
        )
        self.yellow_s, self.clearance_s = change_intervals(signal.phases)
        self.green: str | None = None  # None until the first choice: the programme's own state is showing
        self.next_green = ""
        self.changes: list[tuple[float, str]] = []  # second from which a state shows, in order
        self.decide_at_s = time_s
        self.last_green_s = {i: time_s for state in self.greens for i, symbol in enumerate(state) if symbol in GREEN}

    def step(self, time_s: float) -> None:
        """Advance to ``time_s``."""
        if self.changes:
            self._advance(time_s)
        elif time_s >= self.decide_at_s - 1e-9:
            self.decide_at_s = time_s + DECIDE_EVERY_S
            for link, symbol in enumerate(self.green or ""):
                if symbol in GREEN:
                    self.last_green_s[link] = time_s
            chosen = self._choose(time_s)
            if chosen != self.green:
                self.next_green = chosen
                self.changes = transition(
                    self.signal.state, chosen, time_s, yellow_s=self.yellow_s, clearance_s=self.clearance_s
                )
                self._advance(time_s)

    def pressure(self, state: str, counts: dict[str, int]) -> float:
        """Vehicles, weighted by saturation flow, that press through a state's green links; ``counts`` by lane."""
        total = 0.0
        for lane, share, outgoing, lanes_out in self.served[state]:
            held = sum([counts[after] for after in outgoing])
            total += share * (counts[lane] - held / lanes_out)
        return total

    def _lanes_served(self, state: str) -> tuple[tuple[str, float, tuple[str, ...], int], ...]:
        """For each watched lane with green: lane, flow share, watched lanes that it leads to, number of all of them."""
        share: dict[str, float] = {}
        outgoing: dict[str, list[str]] = {}
        for symbol, link in zip(state, self.signal.links, strict=False):
            if symbol in GREEN:
                for before, after in link:
                    share[before] = max(share.get(before, 0.0), 1.0 if symbol == "G" else 0.5)
                    outgoing.setdefault(before, []).append(after)
        return tuple(
            (lane, part, tuple(after for after in outgoing[lane] if after in self.seen), len(outgoing[lane]))
            for lane, part in share.items()
            if lane in self.seen
        )

    def _choose(self, time_s: float) -> str:
        overdue = self._overdue_link(time_s)
        options = [s for s in self.greens if overdue is None or s[overdue] in GREEN]
        counts = {lane: self.detectors.count(lane) for lane in self.lanes}  # once each, though in several states
        pressure = {state: self.pressure(state, counts) for state in options}
        most = max(pressure.values())
        best = min([state for state in options if pressure[state] == most], key=self._newest_green_s)
        if overdue is None and self.green is not None and pressure[best] < pressure[self.green] + ADVANTAGE:
            return self.green
        return best

    def _overdue_link(self, time_s: float) -> int | None:
        waits = [
            (time_s - since_s, -link)
            for link, since_s in self.last_green_s.items()
            if time_s - since_s >= MAX_RED_S and self._may_have_demand(link)
        ]
        return -max(waits)[1] if waits else None

    def _may_have_demand(self, link: int) -> bool:
        lanes = {before for before, _ in self.signal.links[link]}
        return any(lane not in self.seen or self.detectors.count(lane) > 0 for lane in lanes)

    def _newest_green_s(self, state: str) -> float:
        return max(self.last_green_s[link] for link, symbol in enumerate(state) if symbol in GREEN)

    def _advance(self, time_s: float) -> None:
        while self.changes and self.changes[0][0] <= time_s + 1e-9:
            self.signal.set_state(self.changes.pop(0)[1])
        if not self.changes:
            self.green, self.decide_at_s = self.next_green, time_s + MIN_GREEN_S
