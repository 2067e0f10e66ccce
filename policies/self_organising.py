"""Self-organising: a red light counts those who wait for it, and turns green once it has counted enough.

Gershenson, *Self-organizing traffic lights*, Complex Systems 16, 2005, the variant that keeps platoons together
(``sotl-platoon``). Each state of a signal integrates over time the number of vehicles that approach it or wait at its
red; above ``THRESHOLD_VEH_S`` it asks for green. It gets it when the present green has lasted ``MIN_GREEN_S``, unless
fewer than ``PLATOON`` vehicles are about to pass, whom a red would cut off; a platoon of that many or more may be cut.

What differs from the paper, and why:

- Signals have more than two states: the one with the highest count among those that ask is served.
- Vehicles are counted by the detectors over the last metres of each lane, a lag old. The paper tells vehicles that
  approach from those right before the line; one detector a lane sees both alike.
- A lane without a detector, or whose detector has no data, counts as one vehicle that waits.
- Few vehicles on a green do not defer a change for ever: from ``MAX_RED_S`` on, who waits is served.

The states, yellow and clearance are as in ``max_pressure``. A queue behind an incident asks for green like any other.
"""

from scenariogen.simulation.contract import (
    GREEN,
    ControlRoom,
    DetectorBank,
    Policy,
    SafeSwitch,
    Signal,
    green_states,
)

THRESHOLD_VEH_S = 60.0
"""Vehicle-seconds. Our choice: one vehicle waits a minute at most on an empty crossing, six for ten seconds."""
MIN_GREEN_S = 10.0
PLATOON = 3
MAX_RED_S = 90.0


class SelfOrganising(Policy):
    """One independent controller per signal."""

    name = "self_organising"
    needs_detectors = True
    reads = ("detectors", "signals")

    def start(self, run: ControlRoom) -> None:
        """Take over the signals with at least two green states."""
        junctions = (Junction(signal, run.detectors, run.time_s) for signal in run.signals.values())
        self.junctions = [junction for junction in junctions if len(junction.states) >= 2]

    def step(self, run: ControlRoom, time_s: float) -> None:
        """Count, and let every signal go on with its change or choose its next state."""
        for junction in self.junctions:
            junction.step(time_s, run.step_length_s)


class Junction:
    """The controller of one signal."""

    def __init__(self, signal: Signal, detectors: DetectorBank, time_s: float) -> None:
        self.signal, self.detectors = signal, detectors
        self.watched = frozenset(detectors.lanes)
        self.states = green_states(signal.phases)
        self.asked_veh_s = dict.fromkeys(self.states, 0.0)
        self.red_since_s = dict.fromkeys(self.states, time_s)
        self.switch = SafeSwitch(signal, time_s)
        if signal.state in self.states:
            self.switch.green = signal.state

    def step(self, time_s: float, seconds: float) -> None:
        """Advance by ``seconds`` to ``time_s``."""
        shown = self.signal.state
        for state in self.states:
            red = self._lanes(state, red_in=shown)
            if not red:
                self.asked_veh_s[state], self.red_since_s[state] = 0.0, time_s
            self.asked_veh_s[state] += sum(map(self.vehicles, red)) * seconds
        if self.switch.is_changing(time_s):
            return
        if self.switch.green is None:
            self._serve(max(self.asked_veh_s, key=lambda state: self.asked_veh_s[state]), time_s)
        elif time_s - self.switch.green_at_s >= MIN_GREEN_S - 1e-9:
            self._consider(time_s, sum(map(self.vehicles, self._lanes(shown))))

    def vehicles(self, lane: str) -> int:
        """Vehicles on a lane, one where nobody knows."""
        if lane not in self.watched or not self.detectors.has_data(lane):
            return 1
        return self.detectors.count(lane)

    def _consider(self, time_s: float, passing: int) -> None:
        asking = [state for state, asked in self.asked_veh_s.items() if asked >= THRESHOLD_VEH_S]
        overdue = [state for state in asking if time_s - self.red_since_s[state] >= MAX_RED_S]
        if overdue:
            self._serve(min(overdue, key=lambda state: self.red_since_s[state]), time_s)
        elif asking and not 0 < passing < PLATOON:
            self._serve(max(asking, key=lambda state: self.asked_veh_s[state]), time_s)

    def _serve(self, state: str, time_s: float) -> None:
        self.asked_veh_s[state] = 0.0
        if state != self.switch.green:
            self.switch.start(state, time_s)

    def _lanes(self, state: str, *, red_in: str = "") -> tuple[str, ...]:
        """Lanes from which some link is green in ``state``, and not green in ``red_in`` where that is given."""
        links = self.signal.links
        wanted = (i for i, symbol in enumerate(state) if symbol in GREEN and not (red_in and red_in[i] in GREEN))
        return tuple(dict.fromkeys(before for i in wanted for before, _ in links[i]))
