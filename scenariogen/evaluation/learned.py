"""A learned policy: a network trained in ``sumo_rl`` that chooses each signal's next green.

Observation and action are those of ``sumo_rl.SumoEnvironment`` (Alegre, *SUMO-RL*, 2019), so that agents trained there
can be used: which of the green states shows (one-hot), whether it may be left, then for each incoming lane its density
and its queue, both as shares of what fits; the action is the number of the next green state. What differs, since a
control room has detectors and not the simulator:

- Density is the detector's count over the last metres of the approach, not over the whole lane, and a lag old.
- Nobody measures who stands: the vehicles on a lane that has no green count as its queue, those on others do not.
- Between two greens come the programme's own yellow and clearance, not ``sumo_rl``'s yellow of two seconds, and the
  time that a green must last is counted after them.

:class:`scenariogen.evaluation.training.ControlRoomObservation` gives the same observation during training.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from scenariogen.errors import PolicyError
from scenariogen.evaluation.agents import AgentSettings, read_agent
from scenariogen.evaluation.sb3_files import unpickled
from scenariogen.simulation.contract import GREEN, ControlRoom, DetectorBank, Policy, SafeSwitch, Signal

METRES_PER_VEHICLE = 7.5
"""SUMO's default vehicle, 5 m, and the gap of 2.5 m that it keeps when it stands."""
WITH_PICKLE = "learned-with-pickle"


class LearnedPolicy(Policy):
    """Every signal that the agent's network fits is controlled by it; the others keep their own programme."""

    needs_detectors = True
    reads = ("detectors", "signals")

    def __init__(self, path: Path, *, with_pickle: bool = False) -> None:
        self.name = path.stem
        self.path = path
        if with_pickle:
            self.act, self.inputs, self.actions = unpickled(path)
            self.settings = AgentSettings()
        else:
            agent = read_agent(path)
            self.act, self.inputs, self.actions = agent.act, agent.inputs, agent.actions
            self.settings = agent.settings

    def start(self, run: ControlRoom) -> None:
        """Take over the signals that fit. Raises ``PolicyError`` where none does, with the sizes."""
        wanted = self.settings.signals or tuple(run.signals)
        missing = [name for name in wanted if name not in run.signals]
        if missing:
            raise PolicyError(f"{self.path.name} was trained on the signals {missing}, which the network does not have")
        sizes = {name: observation_size(run.signals[name]) for name in wanted}
        fitting = [name for name, size in sizes.items() if size == (self.inputs, self.actions)]
        if not fitting or (self.settings.signals and len(fitting) < len(wanted)):
            found = ", ".join(f"{name}: {size[0]} and {size[1]}" for name, size in list(sizes.items())[:8])
            raise PolicyError(
                f"{self.path.name} takes {self.inputs} numbers and has {self.actions} actions, the signals have {found}"
            )
        self.junctions = [
            Junction(run.signals[name], run.detectors, run.time_s, self.act, self.settings) for name in fitting
        ]

    def step(self, run: ControlRoom, time_s: float) -> None:
        """Let every signal go on with its change or choose its next green."""
        for junction in self.junctions:
            junction.step(time_s)


class Junction:
    """One signal under an agent."""

    def __init__(
        self,
        signal: Signal,
        detectors: DetectorBank,
        time_s: float,
        act: Callable[[np.ndarray], int],
        settings: AgentSettings,
    ) -> None:
        self.signal, self.detectors, self.act, self.settings = signal, detectors, act, settings
        self.greens, self.lanes = choices(signal.phases), incoming_lanes(signal)
        self.watched = frozenset(detectors.lanes)
        self.switch = SafeSwitch(signal, time_s)
        self.chosen = self.greens.index(signal.state) if signal.state in self.greens else 0
        self.changed_s, self.decide_at_s = time_s, time_s

    def step(self, time_s: float) -> None:
        """Advance to ``time_s``."""
        if self.switch.is_changing(time_s) or time_s < self.decide_at_s - 1e-9:
            return
        may_leave = time_s - self.changed_s >= self.settings.min_green_s + self._change_s - 1e-9
        action = self.act(self.observation(may_leave))
        if may_leave and action != self.chosen:
            self.chosen, self.changed_s = action, time_s
            self.switch.start(self.greens[action], time_s)
        elif self.switch.green is None:  # the programme's own state shows
            self.switch.start(self.greens[self.chosen], time_s)
        self.decide_at_s = time_s + self.settings.delta_time_s

    @property
    def _change_s(self) -> float:
        return self.switch.yellow_s + self.switch.clearance_s

    def observation(self, may_leave: bool) -> Float[np.ndarray, " feature"]:
        """What the agent sees now."""
        counts = {lane: self.detectors.count(lane) if lane in self.watched else 0 for lane in self.lanes}
        green = lanes_with_green(self.signal.state, self.signal.links)
        one_hot = [float(number == self.chosen) for number in range(len(self.greens))]
        return observation(one_hot, may_leave, self.lanes, counts, green, self.detectors.length_m)


def observation(
    phase: Sequence[float],
    may_leave: bool,
    lanes: Sequence[str],
    counts: Mapping[str, int],
    green: frozenset[str],
    length_m: float,
) -> Float[np.ndarray, " feature"]:
    """(phase, may leave, density by lane, queue by lane), each from 0 to 1; ``counts`` over ``length_m`` metres."""
    fits = max(length_m / METRES_PER_VEHICLE, 1.0)
    density = [min(1.0, counts[lane] / fits) for lane in lanes]
    queue = [0.0 if lane in green else share for lane, share in zip(lanes, density, strict=True)]
    return np.array([*phase, float(may_leave), *density, *queue], dtype=np.float32)


def observation_size(signal: Signal) -> tuple[int, int]:
    """(length of the observation, number of actions) of a signal."""
    actions = len(choices(signal.phases))
    return actions + 1 + 2 * len(incoming_lanes(signal)), actions


def choices(phases: Sequence[tuple[str, float]]) -> tuple[str, ...]:
    """The green states in ``sumo_rl``'s order: phases without yellow in which somebody has green."""
    return tuple(state for state, _ in phases if "y" not in state and set(state) - set("rs"))


def incoming_lanes(signal: Signal) -> tuple[str, ...]:
    """Lanes that the signal controls, in the order of its links."""
    return tuple(dict.fromkeys(before for link in signal.links for before, _ in link))


def lanes_with_green(state: str, links: Sequence[Sequence[tuple[str, ...]]]) -> frozenset[str]:
    """Lanes from which some link is green; each link begins with its from lane."""
    pairs = zip(state, links, strict=False)
    return frozenset(before for symbol, link in pairs if symbol in GREEN for before, *_ in link)
