"""Trained agents in a file without code: weights and one line of JSON in a ``safetensors`` file.

An agent is a chain of linear layers with one activation between them; its action is the position of the largest output
(the greedy action of a value network, the likeliest of a policy network). That covers the networks that
Stable-Baselines3 trains under ``MlpPolicy`` with PPO, A2C and DQN, and any ``torch.nn.Sequential`` of linear layers.
Its numbers are computed here in double precision without ``torch``, so that worker processes need not load it and
every one of them decides alike.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from scenariogen.errors import PolicyError, Problems
from scenariogen.evaluation.sb3_files import layers_of_state, layers_of_zip
from scenariogen.written import written_whole

SCHEMA = 1
HEADER = "scenariogen-agent"
ACTIVATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0.0),
    "tanh": np.tanh,
}


@dataclass(frozen=True, kw_only=True)
class AgentSettings:
    """How often an agent acts, as ``sumo_rl.SumoEnvironment`` calls it, and which signals it was trained on.

    ``delta_time_s``  seconds between two actions
    ``min_green_s``   a green that is younger is not left
    ``signals``       ids of the signals that it controls; empty: all that its inputs and outputs fit
    """

    delta_time_s: float = 5.0
    min_green_s: float = 5.0
    signals: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.delta_time_s > 0 and self.min_green_s >= 0):
            raise ValueError(
                f"got delta_time_s {self.delta_time_s} and min_green_s {self.min_green_s}, expected more than 0 and "
                "at least 0"
            )


@dataclass(frozen=True, kw_only=True)
class Agent:
    """A trained network. ``layers`` holds (weight (output, input), bias (output,)) in order."""

    layers: tuple[tuple[np.ndarray, np.ndarray], ...] = field(repr=False)
    activation: str
    settings: AgentSettings = AgentSettings()

    def __post_init__(self) -> None:
        problems = Problems("an agent's network")
        if self.activation not in ACTIVATIONS:
            problems.add(f"activation {self.activation!r} is unknown, expected one of {sorted(ACTIVATIONS)}")
        if not self.layers:
            problems.add("it has no layers")
        width = self.layers[0][0].shape[1] if self.layers else 0
        for number, (weight, bias) in enumerate(self.layers):
            if weight.ndim != 2 or weight.shape[1] != width or bias.shape != (weight.shape[0],):
                problems.add(f"layer {number} has weight {weight.shape} and bias {bias.shape} after {width} numbers")
            if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
                problems.add(f"layer {number} holds numbers that are not finite")
            width = weight.shape[0]
        problems.raise_as(PolicyError)

    @property
    def inputs(self) -> int:
        """Length of the observation."""
        return self.layers[0][0].shape[1]

    @property
    def actions(self) -> int:
        """Number of actions."""
        return self.layers[-1][0].shape[0]

    def act(self, observation: Float[np.ndarray, " feature"]) -> int:
        """The action for one observation."""
        values = observation.astype(np.float64)
        for number, (weight, bias) in enumerate(self.layers):
            values = weight @ values + bias
            if number < len(self.layers) - 1:
                values = ACTIVATIONS[self.activation](values)
        return int(values.argmax())


def save_agent(model: Any, path: str | Path, settings: AgentSettings | None = None) -> Path:
    """Write an agent without code.

    ``model`` is an :class:`Agent`, a ``torch.nn.Sequential`` of linear layers and one activation, or a
    Stable-Baselines3 model with an ``MlpPolicy``. Raises ``PolicyError`` where it is something else.
    """
    from safetensors.numpy import save_file

    agent = model if isinstance(model, Agent) else _agent_of(model, settings or AgentSettings())
    path = Path(path)
    if path.suffix != ".safetensors":
        raise PolicyError(f"an agent is written to a .safetensors file, got {path.name}")
    kept = settings or agent.settings
    header = {
        "schema": SCHEMA,
        "activation": agent.activation,
        "delta_time_s": kept.delta_time_s,
        "min_green_s": kept.min_green_s,
        "signals": list(kept.signals),
    }
    tensors = {}
    for number, (weight, bias) in enumerate(agent.layers):
        tensors[f"{number}.weight"] = np.ascontiguousarray(weight)
        tensors[f"{number}.bias"] = np.ascontiguousarray(bias)
    with written_whole(path) as partial:
        save_file(tensors, partial, metadata={HEADER: json.dumps(header)})
    return path


def read_agent(path: Path) -> Agent:
    """An agent from ``.safetensors``, or from a Stable-Baselines3 ``.zip`` of which nothing is unpickled.

    Raises ``PolicyError``. A ``.zip`` does not say how often the agent acts: it gets ``sumo_rl``'s defaults.
    """
    if path.suffix == ".zip":
        layers, activation = layers_of_zip(path)
        return Agent(layers=layers, activation=activation)
    if path.suffix != ".safetensors":
        raise PolicyError(f"{path} is no agent: expected a .safetensors file or a Stable-Baselines3 .zip")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {})[HEADER])
            names = set(file.keys())
            numbers = range(len(names) // 2)
            layers = tuple((file.get_tensor(f"{n}.weight"), file.get_tensor(f"{n}.bias")) for n in numbers)
        if header.pop("schema") != SCHEMA:
            raise PolicyError(f"{path} was written by another version; this one reads schema {SCHEMA}")
        activation, signals = header.pop("activation"), tuple(header.pop("signals"))
        return Agent(layers=layers, activation=activation, settings=AgentSettings(**header, signals=signals))
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise PolicyError(f"{path} is no agent written by save_agent: {type(error).__name__}: {error}") from error


def _agent_of(model: Any, settings: AgentSettings) -> Agent:
    from torch import nn

    if isinstance(model, nn.Sequential):
        linear = [layer for layer in model if isinstance(layer, nn.Linear)]
        between = {type(layer).__name__.lower() for layer in model if not isinstance(layer, nn.Linear)}
        in_turn = all(isinstance(layer, nn.Linear) is not bool(n % 2) for n, layer in enumerate(model))
        if len(between) > 1 or not in_turn or len(model) % 2 == 0:
            raise PolicyError("expected linear layers with the same activation between any two, none after the last")
        layers = [(layer.weight.detach().cpu().numpy(), _bias(layer)) for layer in linear]
        return Agent(layers=tuple(layers), activation=next(iter(between), "relu"), settings=settings)
    policy = getattr(model, "policy", None)
    if policy is None:
        raise PolicyError(f"{type(model).__name__} is neither a torch.nn.Sequential nor a Stable-Baselines3 model")
    activation = getattr(policy, "activation_fn", None) or policy.net_args["activation_fn"]
    layers = layers_of_state(policy.state_dict(), type(model).__name__)
    return Agent(layers=layers, activation=activation.__name__.lower(), settings=settings)


def _bias(layer: Any) -> np.ndarray:
    return np.zeros(layer.out_features) if layer.bias is None else layer.bias.detach().cpu().numpy()
