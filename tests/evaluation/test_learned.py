"""Learned policies: files without code, what is refused, the key of their results, and what they do to a signal."""

import zipfile
from itertools import pairwise

import numpy as np
import pytest
import torch

from scenariogen.errors import PolicyError, ResultsError
from scenariogen.evaluation.agents import Agent, AgentSettings, read_agent, save_agent
from scenariogen.evaluation.learned import LearnedPolicy, choices, observation
from scenariogen.evaluation.policy import load_policy, resolve_policy
from scenariogen.evaluation.sb3_files import PickleWarning
from tests.policies.room import crossing, drive
from tests.policies.test_max_pressure import conflict_free, yellow_lengths

INPUTS = 2 + 1 + 2 * 2
"""Of the crossing: two greens, may leave, density and queue of two lanes."""


def longest_queue(**settings):
    """Serves N where its density is the higher one, else E."""
    weight = np.zeros((2, INPUTS))
    weight[0, 3], weight[1, 4] = 1.0, 1.0
    return Agent(layers=((weight, np.zeros(2)),), activation="relu", settings=AgentSettings(**settings))


def always(action):
    return Agent(layers=((np.zeros((2, INPUTS)), np.eye(2)[action]),), activation="relu")


@pytest.mark.parametrize("activation", [torch.nn.ReLU, torch.nn.Tanh])
def test_a_torch_module_survives_its_file(tmp_path, activation):
    torch.manual_seed(1)
    module = torch.nn.Sequential(
        torch.nn.Linear(7, 16), activation(), torch.nn.Linear(16, 8, bias=False), activation(), torch.nn.Linear(8, 3)
    )
    settings = AgentSettings(delta_time_s=10, min_green_s=7, signals=("J",))
    file = save_agent(module, tmp_path / "agent.safetensors", settings)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    (tmp_path / "beside").touch()
    assert file.stat().st_mode == (tmp_path / "beside").stat().st_mode
    agent = read_agent(file)
    assert (agent.inputs, agent.actions, agent.settings) == (7, 3, settings)
    for row in torch.rand(50, 7):
        assert agent.act(row.numpy()) == int(module(row).argmax())


@pytest.mark.parametrize("name", ["PPO", "A2C", "DQN"])
def test_agents_of_stable_baselines3_decide_alike_read_from_the_zip_and_saved_without_code(tmp_path, name):
    sb3 = pytest.importorskip("stable_baselines3")
    import gymnasium

    options = {"policy_kwargs": {"net_arch": [8], "activation_fn": torch.nn.ReLU}} if name == "PPO" else {}
    model = getattr(sb3, name)("MlpPolicy", gymnasium.make("CartPole-v1"), seed=1, device="cpu", **options)
    model.save(tmp_path / "agent.zip")
    from_zip = read_agent(tmp_path / "agent.zip")
    saved = read_agent(save_agent(model, tmp_path / "agent.safetensors"))
    with pytest.warns(PickleWarning, match="whatever code is in it"):
        unpickled = LearnedPolicy(tmp_path / "agent.zip", with_pickle=True)
    for row in np.random.default_rng(1).normal(size=(50, 4)).astype(np.float32):
        expected = int(model.predict(row, deterministic=True)[0])
        assert [from_zip.act(row), saved.act(row), unpickled.act(row)] == [expected] * 3


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_reading_a_zip_runs_no_code_in_it(tmp_path):
    """A pickle that would write a file when it is loaded is refused instead."""
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    with zipfile.ZipFile(tmp_path / "agent.zip", "w") as archive:
        archive.writestr("data", "{}")
        archive.writestr("policy.pth", pickle.dumps(Bomb()))
    with pytest.raises(PolicyError, match="is no agent of Stable-Baselines3"):
        read_agent(tmp_path / "agent.zip")
    assert not (tmp_path / "written").exists()


def test_a_network_that_is_no_chain_names_the_way_out(tmp_path):
    state = {"features_extractor.cnn.0.weight": torch.zeros(1), "action_net.weight": torch.zeros(2, 2)}
    torch.save(state, tmp_path / "policy.pth")
    with zipfile.ZipFile(tmp_path / "agent.zip", "w") as archive:
        archive.writestr("data", "{}")
        archive.write(tmp_path / "policy.pth", "policy.pth")
    with pytest.raises(PolicyError, match=r"learned-with-pickle:.*agent\.zip"):
        read_agent(tmp_path / "agent.zip")


@pytest.mark.parametrize(
    ("module", "fault"),
    [
        (torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU()), "none after the last"),
        (torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ELU(), torch.nn.Linear(2, 2)), "'elu' is unknown"),
        (torch.nn.Linear(2, 2), "neither a torch.nn.Sequential"),
    ],
)
def test_other_modules_are_refused(tmp_path, module, fault):
    with pytest.raises(PolicyError, match=fault):
        save_agent(module, tmp_path / "agent.safetensors")


def test_faults_of_a_network_are_listed_together():
    layers = ((np.zeros((3, 2)), np.zeros(3)), (np.full((2, 4), np.nan), np.zeros(2)))
    with pytest.raises(PolicyError) as caught:
        Agent(layers=layers, activation="selu")
    assert len(caught.value.problems) == 3


def test_files_that_are_no_agents_are_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    (tmp_path / "agent.pt").write_bytes(b"no")
    (tmp_path / "broken.zip").write_bytes(b"no")
    for name in ("other.safetensors", "broken.safetensors", "agent.pt", "broken.zip"):
        with pytest.raises(PolicyError, match="is no agent"):
            resolve_policy(f"learned:{tmp_path / name}")
    with pytest.raises(PolicyError, match="does not exist"):
        resolve_policy(f"learned:{tmp_path / 'absent.zip'}")


def test_results_are_keyed_by_the_agents_file(tmp_path):
    path = tmp_path / "mine.safetensors"
    save_agent(always(0), path)
    first = resolve_policy(f"learned:{path}")
    assert (first.name, first.spec) == ("mine", f"learned:{path}")
    assert resolve_policy(f"learned:{path}") == first
    save_agent(always(1), path)
    assert resolve_policy(f"learned:{path}").sha256 != first.sha256
    assert isinstance(resolve_policy(f"learned:{path}").create(), LearnedPolicy)
    with pytest.raises(ResultsError, match="has changed since the evaluation began"):
        first.create()


def run_agent(tmp_path, agent, seconds=3600, **room):
    save_agent(agent, tmp_path / "agent.safetensors")
    room, signal = crossing(**room)
    result = drive(room, signal, load_policy(f"learned:{tmp_path / 'agent.safetensors'}"), seconds)
    return result, signal


def test_it_serves_the_longer_queue_with_the_programmes_own_yellow(tmp_path):
    (green, served, _), signal = run_agent(tmp_path, longest_queue(), inflow_vps={"N": 0.3, "E": 0.05})
    history = [(0.0, "Gr"), *signal.history]
    assert green["N"] > 1.3 * green["E"] > 0
    assert served["N"] == pytest.approx(0.3 * 3600, rel=0.05) and served["E"] == pytest.approx(0.05 * 3600, rel=0.1)
    assert set(yellow_lengths(history)) == {3.0} and conflict_free(history, signal.phases)


def test_a_green_lasts_at_least_as_long_as_in_training(tmp_path):
    _, signal = run_agent(tmp_path, longest_queue(min_green_s=20), inflow_vps={"N": 0.3, "E": 0.25})
    began = [(when, state) for when, state in signal.history if "G" in state or "y" in state]
    lasted = [b - a for (a, state), (b, _) in pairwise(began) if "G" in state]
    assert len(lasted) > 10 and min(lasted[1:]) >= 20


def test_an_agent_that_fits_no_signal_says_the_sizes(tmp_path):
    agent = Agent(layers=((np.zeros((4, 9)), np.zeros(4)),), activation="relu")
    with pytest.raises(PolicyError, match="takes 9 numbers and has 4 actions, the signals have J: 7 and 2"):
        run_agent(tmp_path, agent)
    with pytest.raises(PolicyError, match="does not have"):
        run_agent(tmp_path, longest_queue(signals=("K",)))


def test_the_observation_on_paper():
    seen = observation([1.0, 0.0], True, ("N", "E"), {"N": 4, "E": 20}, frozenset({"N"}), 60.0)
    assert seen.tolist() == [1, 0, 1, 0.5, 1, 0, 1]


def test_choices_are_numbered_as_sumo_rl_numbers_them():
    phases = (("Gr", 2.0), ("yr", 3.0), ("rr", 2.0), ("rs", 9.0), ("rg", 30.0), ("Gr", 4.0))
    assert choices(phases) == ("Gr", "rg", "Gr")
