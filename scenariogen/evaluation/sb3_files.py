"""Networks out of Stable-Baselines3's ``.zip`` files, which hold pickled objects: what can be had without them.

The weights lie in ``policy.pth``, which ``torch`` reads with ``weights_only=True``, and the name of the activation
stands in ``data`` as text. Policies that are more than a chain of linear layers need the pickled rest; that runs
whatever code the file's author put there, so it happens only where it is asked for by name.
"""

import io
import json
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scenariogen.errors import PolicyError

Layers = tuple[tuple[np.ndarray, np.ndarray], ...]
_BODY = re.compile(r"(mlp_extractor\.policy_net|q_net\.q_net)\.(\d+)\.weight")


class PickleWarning(UserWarning):
    """A file is unpickled, which runs the code in it."""


def layers_of_zip(path: Path) -> tuple[Layers, str]:
    """(weight, bias) of each layer and the name of the activation; nothing is unpickled."""
    import pickle

    import torch

    try:
        with zipfile.ZipFile(path) as archive:
            data = json.loads(archive.read("data"))
            state = torch.load(io.BytesIO(archive.read("policy.pth")), map_location="cpu", weights_only=True)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile, pickle.UnpicklingError, RuntimeError) as error:
        raise PolicyError(f"{path} is no agent of Stable-Baselines3: {type(error).__name__}: {error}") from error
    layers = layers_of_state(state, path)
    words = re.findall(r"\w+", str(data.get("policy_kwargs", {}).get("activation_fn", "")))
    default = "relu" if any(name.startswith("q_net.") for name in state) else "tanh"
    return layers, words[-1].lower() if words else default


def layers_of_state(state: Mapping[str, Any], source: Path | str) -> Layers:
    """The layers from observation to action in a policy's state; raises ``PolicyError`` where it is no such chain."""
    body = sorted((match for name in state if (match := _BODY.fullmatch(name))), key=lambda match: int(match[2]))
    names = [match.string.removesuffix(".weight") for match in body]
    names += ["action_net"] if "action_net.weight" in state else []
    strange = [name for name in state if name.split(".")[0].endswith("features_extractor")]
    if not names or strange or ("action_net.weight" not in state and not names[-1].startswith("q_net.")):
        found = ", ".join(strange[:3] or list(state)[:3])
        raise PolicyError(
            f"{source} holds a policy that is no chain of linear layers ({found}, ...): train it with MlpPolicy, or "
            f"name it as learned-with-pickle:{source} where you trust whoever made it"
        )
    return tuple(tuple(state[f"{name}.{part}"].cpu().numpy() for part in ("weight", "bias")) for name in names)  # type: ignore[misc]


def unpickled(path: Path) -> tuple[Callable[[np.ndarray], int], int, int]:
    """(observation to action, length of the observation, number of actions) of any policy with discrete actions.

    Runs the code in the file, and says so by a :class:`PickleWarning`. Needs ``stable-baselines3``.
    """
    warnings.warn(
        f"{path} is unpickled, which runs whatever code is in it: go on only where you trust whoever made it",
        PickleWarning,
        stacklevel=3,
    )
    try:
        from stable_baselines3.common.save_util import load_from_zip_file
    except ImportError as error:
        raise PolicyError(f"{path} needs stable-baselines3: pip install 'scenariogen[train]'") from error
    data, parameters, _ = load_from_zip_file(path, device="cpu")
    if data is None or not hasattr(data["action_space"], "n"):
        raise PolicyError(f"{path} has no discrete actions, one for each green state, as sumo_rl's signals have")
    policy = data["policy_class"](
        data["observation_space"], data["action_space"], lambda _: 0.0, **data.get("policy_kwargs", {})
    )
    policy.load_state_dict(parameters["policy"])
    policy.set_training_mode(False)

    def act(observation: np.ndarray) -> int:
        return int(policy.predict(observation.astype(np.float32), deterministic=True)[0])

    return act, int(np.prod(data["observation_space"].shape)), int(data["action_space"].n)
