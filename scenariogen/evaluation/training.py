"""Training under incidents: an environment that draws a scenario at every reset and makes it happen.

::

    env = IncidentEnv(sumo_rl_environment(project), batch)
    model = stable_baselines3.DQN("MlpPolicy", env, seed=1).learn(20_000)
    save_agent(model, "agent.safetensors")

The environment inside stays as it is. An environment of several agents has no Gymnasium interface:
``scenariogen.inject(env, Episodes(batch, seed=1))`` does the same there.
"""

import os
import re
import secrets
import tempfile
import warnings
import weakref
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from jaxtyping import Float

from scenariogen.errors import Problems, ScenarioError
from scenariogen.evaluation.approaches import approach_lanes
from scenariogen.evaluation.learned import lanes_with_green, observation
from scenariogen.injection.environment import EnvironmentInjection, innermost, sumo_of
from scenariogen.injection.records import InjectionWarning
from scenariogen.network import read_network
from scenariogen.randomness import sumo_seed
from scenariogen.scenarios.effects import Closure
from scenariogen.scenarios.records import Scenario, ScenarioBatch
from scenariogen.simulation.roadside import DetectorOptions
from scenariogen.simulation.staging import DETECTOR_LENGTH_M

if TYPE_CHECKING:
    from scenariogen.model.scenario_model import ScenarioModel
    from scenariogen.simulation.project import SumoProject

_SCALE = re.compile(r"--scale[ =](\S+)")
LAG_S = DetectorOptions().lag_s
NOTHING = Scenario(index=-1, seed=0)
"""The scenario of an episode that others started."""


class Episodes:
    """The scenario of an episode, a function of ``seed`` and the episode's number from 0 alone.

    ``source``     a batch, of which one scenario is drawn, or a model, which draws a new one
    ``frequency``  multiplier of the published frequencies. Of a batch: its scenarios come in the shares that they have
                   at this frequency; None: each equally often, so that incidents are as frequent as in the batch. A
                   model leaves one episode in four without incident and draws the others at this frequency (None: 1).

    Raises ``ScenarioError`` for an empty batch or one without density, ``FrequencyError`` outside its range.
    """

    def __init__(
        self, source: "ScenarioBatch | ScenarioModel", *, seed: int = 0, frequency: float | None = None
    ) -> None:
        self.source, self.seed, self.frequency = source, seed, frequency
        self._shares: np.ndarray | None = None
        if isinstance(source, ScenarioBatch):
            if not len(source):
                raise ScenarioError("the batch holds no scenario to train on")
            if frequency is not None:
                self._shares = _shares_at(source, frequency)

    def __call__(self, episode: int) -> Scenario:
        if isinstance(self.source, ScenarioBatch):
            generator = np.random.default_rng([self.seed, episode])
            return self.source.scenarios[int(generator.choice(len(self.source), p=self._shares))]
        from scenariogen.scenarios.synthesize import synthesize

        frequencies = (1.0 if self.frequency is None else self.frequency,)
        (scenario,) = synthesize(self.source, n=1, first=episode, seed=self.seed, frequencies=frequencies).scenarios
        return scenario


class IncidentEnv(gymnasium.Wrapper):
    """A Gymnasium environment around SUMO in which a drawn scenario happens in every episode.

    ``env``        the environment, or a function that makes one; it holds its SUMO connection in ``sumo`` as
                   ``sumo_rl.SumoEnvironment`` does, or where ``connection_of`` says
    ``scenarios``  as ``source`` in :class:`Episodes`, with ``frequency``
    ``options``    what else :func:`scenariogen.inject` takes, for example ``network``

    ``reset(seed=s)`` begins a sequence of scenarios that is the same for the same ``s``; resets without a seed go on in
    it, each with a simulator seed of its own. ``info`` tells ``scenario`` and ``incidents`` of an episode, the
    observation does not. ``injection.reports`` holds what became of each incident. The scenario's scale of demand
    is passed to SUMO where the environment takes ``additional_sumo_cmd``, as ``sumo_rl`` does; elsewhere, and for
    scales of single entries, a warning says that it is not followed.
    """

    def __init__(
        self,
        env: gymnasium.Env | Callable[[], gymnasium.Env],
        scenarios: "ScenarioBatch | ScenarioModel",
        *,
        frequency: float | None = None,
        connection_of: Callable[[Any], Any] = sumo_of,
        **options: Any,
    ) -> None:
        super().__init__(env if isinstance(env, gymnasium.Env) else env())
        self._source, self._frequency = scenarios, frequency
        self._episodes = Episodes(scenarios, seed=secrets.randbits(31), frequency=frequency)
        self._episode = -1
        self.scenario = NOTHING
        self._inner = innermost(self.env, connection_of)
        self._command = getattr(self._inner, "additional_sumo_cmd", None) or ""
        self._said: set[str] = set()
        self.injection = EnvironmentInjection(self.env, lambda _: self.scenario, connection_of=connection_of, **options)
        self.injection.__enter__()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Draw the next scenario and start an episode in which it happens."""
        if seed is not None:
            self._episodes = Episodes(self._source, seed=seed, frequency=self._frequency)
            self._episode = -1
        if not self.injection.is_on:  # it was closed
            self.injection.__enter__()
        self._episode += 1
        self.scenario = self._episodes(self._episode)
        self._tell_sumo(self.scenario)
        inner_seed = sumo_seed(self._episodes.seed, "episode", self._episode)
        observation, info = super().reset(seed=inner_seed, options=options)
        return observation, {**info, "scenario": self.scenario.index, "incidents": len(self.scenario.incidents)}

    def close(self) -> None:
        """Undo what stands and end the simulation. May be called twice; a reset begins anew."""
        try:
            self.injection.__exit__(None, None, None)
        finally:
            self.scenario = NOTHING
            super().close()

    def _tell_sumo(self, scenario: Scenario) -> None:
        condition = scenario.condition
        if condition.entry_scales:
            self._warn("scales of single entries are not followed in this environment")
        if not hasattr(self._inner, "additional_sumo_cmd"):
            if condition.demand_scale != 1.0:
                self._warn("the scenarios' scale of demand is not followed: the environment has no additional_sumo_cmd")
            return
        own = _SCALE.search(self._command)
        scale = condition.demand_scale * (float(own[1]) if own else 1.0)
        words = [_SCALE.sub("", self._command).strip(), f"--scale {scale:.6f}"]
        if any(isinstance(effect, Closure) for effect in scenario.effects):
            words.append("--ignore-route-errors true")
        self._inner.additional_sumo_cmd = " ".join(words).strip()

    def _warn(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            warnings.warn(text, InjectionWarning, stacklevel=4)


class ControlRoomObservation:
    """What :class:`scenariogen.evaluation.learned.LearnedPolicy` will see, as an ``observation_class`` of ``sumo_rl``.

    Vehicles are counted over the same metres of the same lanes as the control room's detectors do, as long ago as
    their lag; before that every count is 0.
    """

    def __init__(self, signal: Any) -> None:
        self.signal = signal
        self._readings: deque[tuple[float, dict[str, int]]] = deque()

    def __call__(self) -> Float[np.ndarray, " feature"]:
        signal, now_s = self.signal, self.signal.sumo.simulation.getTime()
        self._readings.append((now_s, self._counts()))
        while len(self._readings) > 1 and self._readings[1][0] <= now_s - LAG_S + 1e-6:
            self._readings.popleft()
        is_old = self._readings[0][0] <= now_s - LAG_S + 1e-6
        counts = self._readings[0][1] if is_old else dict.fromkeys(signal.lanes, 0)
        lights = signal.sumo.trafficlight
        green = lanes_with_green(
            lights.getRedYellowGreenState(signal.id),
            lights.getControlledLinks(
                signal.id,
            ),
        )
        phase = [float(number == signal.green_phase) for number in range(signal.num_green_phases)]
        may_leave = signal.time_since_last_phase_change >= signal.min_green + signal.yellow_time
        return observation(phase, may_leave, signal.lanes, counts, green, DETECTOR_LENGTH_M)

    def observation_space(self) -> gymnasium.spaces.Box:
        """From 0 to 1 each."""
        size = self.signal.num_green_phases + 1 + 2 * len(self.signal.lanes)
        return gymnasium.spaces.Box(0.0, 1.0, (size,), np.float32)

    def _counts(self) -> dict[str, int]:
        watched = _watched(Path(self.signal.env._net))
        return {lane: sum(self._on(*each) for each in watched.get(lane, ())) for lane in self.signal.lanes}

    def _on(self, lane: str, begin_m: float) -> int:
        sumo = self.signal.sumo
        return sum(sumo.vehicle.getLanePosition(name) >= begin_m for name in sumo.lane.getLastStepVehicleIDs(lane))


@lru_cache(maxsize=4)
def _watched(net_file: Path) -> dict[str, list[tuple[str, float]]]:
    """For each lane that leads to a signal: the lanes of its approach and where their detectors begin, in metres."""
    network = read_network(net_file)
    begin_m = {lane.id: lane.length_m - DETECTOR_LENGTH_M for edge in network.edges.values() for lane in edge.lanes}
    return {lane: [(each, begin_m[each]) for each in reach] for lane, reach in approach_lanes(network).items()}


def sumo_rl_environment(project: "SumoProject", **options: Any) -> Any:
    """``sumo_rl``'s environment for the one signal of a project, with the observation of a control room.

    It begins with the project's study window and lasts until its end, with the demand that an evaluation plays: copies
    of a short one, and the project's own scale. ``options`` are those of ``sumo_rl.SumoEnvironment``, which win. Raises
    ``ScenarioError`` where steps do not last a second, and for several signals with one agent: ``sumo_rl`` would hold
    all but the first at their first green.
    """
    import sumo

    os.environ.setdefault("SUMO_HOME", str(sumo.SUMO_HOME))  # without it, sumo_rl cannot be imported
    import sumo_rl

    from scenariogen.simulation.repeat import write_copies
    from scenariogen.simulation.study import study_window

    problems = Problems(f"{project.name} cannot be an environment of sumo_rl")
    signals = len(project.network().signals)
    if signals != 1 and options.get("single_agent", True):
        problems.add(f"it has {signals} signals, one agent needs exactly one; give single_agent=False for several")
    if project.step_length_s != 1.0:
        problems.add(f"its steps last {project.step_length_s:g} s, sumo_rl counts each as a second")
    problems.raise_as(ScenarioError)
    window = study_window(project)
    folder = tempfile.TemporaryDirectory(prefix="scenariogen-")
    copies = write_copies(project, window, Path(folder.name))
    routes = ",".join(map(str, (*project.inputs.get("route-files", ()), *([copies] if copies else []))))
    more = ",".join(map(str, project.inputs.get("additional-files", ())))
    scale = float(project.options.get("scale", "1"))
    settings: dict[str, Any] = {
        "net_file": str(project.net_file),
        "route_file": routes,
        "begin_time": int(window.begin_s),
        "num_seconds": int(window.end_s - window.begin_s),
        "single_agent": True,
        "observation_class": ControlRoomObservation,
        "sumo_warnings": False,
        "additional_sumo_cmd": "--no-step-log --collision.action warn"
        + (f" -a {more}" if more else "")
        + (f" --scale {scale:.6f}" if scale != 1.0 else ""),
        "add_per_agent_info": False,
        "add_system_info": False,
    }
    made = sumo_rl.SumoEnvironment(**(settings | options))
    weakref.finalize(made, folder.cleanup)
    return made


def _shares_at(batch: ScenarioBatch, frequency: float) -> np.ndarray:
    """Probability of each scenario of a batch at one frequency; (batch,), their sum is 1."""
    from scenariogen.scenarios.reweight import frequency_weights

    found = frequency_weights(batch, frequency)
    weight, free = np.exp(found.log_w), found.is_free
    missing = "without" if found.probability_free > 0 and not free.any() else "with" if free.all() else ""
    if missing:
        raise ScenarioError(f"the batch holds no scenario {missing} incidents: draw more than {len(batch)}")
    shares = np.where(free, found.probability_free, 1.0 - found.probability_free) * weight
    shares[free] /= max(weight[free].sum(), 1e-300)
    shares[~free] /= weight[~free].sum()
    return shares / shares.sum()
