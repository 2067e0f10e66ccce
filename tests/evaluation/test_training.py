"""Training under incidents: same seed, same scenarios; Gymnasium's own checker; what a learned policy will see."""

import gc
import warnings
from dataclasses import replace
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from scenariogen import find_network, open_project
from scenariogen.errors import FrequencyError, ScenarioError
from scenariogen.evaluation.training import Episodes, IncidentEnv, sumo_rl_environment
from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.injection.records import InjectionWarning
from scenariogen.scenarios.records import Condition, Scenario, ScenarioBatch
from scenariogen.simulation.study import study_window
from tests.model.small import small_model

pytestmark = pytest.mark.filterwarnings("ignore::scenariogen.injection.records.InjectionWarning")


@pytest.fixture(scope="module")
def project():
    return open_project(find_network("cologne1"))


def batch_of(project, *scenarios):
    network = project.network()
    return ScenarioBatch(
        project_hash=project.hash,
        network_hash=network.sha256,
        network_name="cologne1",
        window=study_window(project),
        scenarios=tuple(replace(each, index=number) for number, each in enumerate(scenarios)),
    )


@pytest.fixture(scope="module")
def batch(project):
    """Eight scenarios with one incident each, thirty seconds into the run and later."""
    edge = max(project.network().edges.values(), key=lambda each: each.length_m)

    def incident(number):
        return Incident(
            edge=edge.id, start_s=project.begin_s + 30 + 5 * number, position_m=edge.length_m / 2,
            kind=IncidentKind.CRASH, lanes=(0,), capacity_left=0.3 if len(edge.driving_lanes) > 1 else 0.2,
            detection_s=10.0, response_s=20.0, clearance_s=60.0,
        )  # fmt: skip

    return batch_of(
        project,
        *(
            Scenario(index=n, seed=n, incidents=(incident(n),), condition=Condition(demand_scale=1 + n / 10))
            for n in range(8)
        ),
    )


@pytest.fixture
def env(project, batch):
    made = IncidentEnv(lambda: sumo_rl_environment(project, num_seconds=120), batch, network=project.network())
    yield made
    made.close()


class Grey(gymnasium.Env):
    """An environment without SUMO: what is drawn can be looked at without a simulation."""

    observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)
    sumo = None


def drawn(source, seed, n=12, **options):
    episodes = Episodes(source, seed=seed, **options)
    return [episodes(number).index for number in range(n)]


def test_the_same_seed_gives_the_same_scenarios_and_another_one_others(batch):
    assert drawn(batch, 1) == drawn(batch, 1)
    assert drawn(batch, 1) != drawn(batch, 2)
    assert Episodes(batch, seed=1)(7) == Episodes(batch, seed=1)(7), "an episode does not depend on those before it"
    assert set(drawn(batch, 1, 200)) == set(range(8))


def test_what_cannot_be_drawn_from_is_refused(batch):
    with pytest.raises(ScenarioError, match="no scenario"):
        Episodes(replace(batch, scenarios=()))
    with pytest.raises(ScenarioError, match="no density"):
        Episodes(batch, frequency=1.0)
    with pytest.raises(ScenarioError, match="no scenario"):
        IncidentEnv(Grey(), replace(batch, scenarios=()))


def test_a_batch_is_drawn_from_in_the_shares_of_a_frequency():
    from scenariogen.scenarios.synthesize import synthesize

    batch = synthesize(small_model(), n=400, frequencies=(0.2, 1.0), seed=3)
    for frequency in (0.2, 1.0):
        indices = drawn(batch, 1, 1000, frequency=frequency)
        free = np.mean([batch.scenarios[index].is_incident_free for index in indices])
        expected = np.mean([np.exp(-frequency * sum(each.density.expected)) for each in batch.scenarios])
        assert free == pytest.approx(expected, abs=0.06)
    with pytest.raises(FrequencyError):
        Episodes(batch, frequency=3.0)


def test_a_model_draws_a_new_scenario_for_every_episode():
    episodes = Episodes(small_model(), seed=1)
    first, second = episodes(1), episodes(2)
    assert first != second and first == Episodes(small_model(), seed=1)(1)


@pytest.mark.sumo
def test_every_reset_makes_the_drawn_scenario_happen(env, batch):
    seen = []
    for seed in (5, None, 5, None):
        observation, info = env.reset(seed=seed)
        assert env.observation_space.contains(observation)
        seen.append(info["scenario"])
        assert info["incidents"] == 1 and env.scenario == batch.scenarios[info["scenario"]]
        truncated = False
        while not truncated:
            _, _, _, truncated, _ = env.step(0)
        assert env.injection.current.report()[0].realised
    assert seen[:2] == seen[2:] and seen[:2] == drawn(batch, 5, 2)
    scale = env.unwrapped.additional_sumo_cmd.split("--scale ")[1]
    assert float(scale) == pytest.approx(env.scenario.condition.demand_scale)


@pytest.mark.sumo
def test_it_may_be_closed_twice_and_a_reset_afterwards_makes_incidents_happen_again(env):
    """The second ``close`` raised, and after the first, episodes had no incident though ``info`` told of one."""
    env.reset(seed=5)
    env.close()
    env.close()
    assert "reset" not in vars(env.unwrapped)
    _, info = env.reset(seed=5)
    assert info["incidents"] == 1
    truncated = False
    while not truncated:
        _, _, _, truncated, _ = env.step(0)
    assert env.injection.current.report()[0].realised and len(env.injection.reports) == 2


@pytest.mark.sumo
def test_environments_side_by_side_do_not_share_the_simulators_seeds(env, monkeypatch):
    """Seeds 1 and 2, as for workers of one training, had the same seeds of SUMO one episode apart."""
    used = []
    monkeypatch.setattr(env.unwrapped, "_start_simulation", lambda: used.append(env.unwrapped.sumo_seed))
    for seed in (1, None, None, 2, None, None):
        with pytest.raises(AttributeError):  # there is no simulation to observe
            env.reset(seed=seed)
    assert len(set(used)) == 6


@pytest.mark.sumo
def test_gymnasiums_own_checker_passes(env):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_env(env, skip_render_check=True)
    expected = ("different from the unwrapped", "assigned a `spec`")  # it is a wrapper, and registered nowhere
    texts = [str(each.message) for each in said if "gymnasium" in str(each.filename)]
    assert [text for text in texts if not any(each in text for each in expected)] == []


@pytest.mark.sumo
def test_the_observation_in_training_is_the_one_of_the_policy(project, batch, tmp_path):
    """The same traffic, fixed at the first green: the observations of both, every five seconds."""
    from scenariogen.evaluation.agents import AgentSettings
    from scenariogen.evaluation.approaches import approach_lanes, detector_lanes
    from scenariogen.evaluation.learned import Junction
    from scenariogen.evaluation.policy_room import PolicyRoom
    from scenariogen.simulation.contract import RunRequest
    from scenariogen.simulation.sumo import SumoSimulator

    ours, theirs = [], []
    with_us = sumo_rl_environment(project, num_seconds=200, sumo_seed=1)
    observation, _ = with_us.reset(seed=1)
    for _ in range(20):
        theirs.append(observation)
        observation, *_ = with_us.step(0)
    with_us.close()
    network = project.network()
    approaches = approach_lanes(network)
    request = RunRequest(
        window=study_window(project), seed=1, folder=tmp_path, detector_lanes=detector_lanes(network, approaches)
    )

    def act(observation):
        ours.append(observation)
        return 0

    with SumoSimulator(project, project_outputs=False).open(request) as run:
        room = PolicyRoom(run.control_room, ("detectors", "signals"), approaches)
        (signal,) = room.signals.values()
        junction = Junction(signal, room.detectors, run.time_s, act, AgentSettings())
        for _ in range(100):
            junction.step(run.time_s)
            run.step()
    greens = len(junction.greens)
    counted = [np.delete(np.array(each[:20]), greens, axis=1) for each in (ours, theirs)]
    assert counted[0].shape == counted[1].shape and counted[0][:, greens:].max() > 0
    assert np.abs(counted[0] - counted[1]).max() <= 1 / 8 + 1e-6, "one vehicle of the eight that fit"
    assert np.mean(counted[0] != counted[1]) < 0.03


def test_a_scale_that_is_not_followed_is_said_once(batch):
    env = IncidentEnv(Grey(), batch)
    with pytest.warns(InjectionWarning, match="scale of demand is not followed"):
        env._tell_sumo(batch.scenarios[3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env._tell_sumo(batch.scenarios[4])
        env._tell_sumo(batch.scenarios[0])


@pytest.mark.sumo
def test_episodes_have_the_demand_that_an_evaluation_plays(project, batch):
    """The window of a short demand is longer than the demand, which is played again."""
    assert study_window(project).demand_copies > 1
    inner = sumo_rl_environment(project, num_seconds=60, additional_sumo_cmd="--no-step-log --scale 1.5")
    copies = Path(inner._route.split(",")[-1])
    assert "demand-copies" in copies.name and copies.stat().st_size > 1000
    env = IncidentEnv(lambda: inner, batch, network=project.network())
    env._tell_sumo(batch.scenarios[2])
    assert inner.additional_sumo_cmd == "--no-step-log --scale 1.800000"
    env.close()
    del env, inner
    gc.collect()
    assert not copies.exists()


@pytest.mark.sumo
def test_several_signals_need_several_agents():
    with pytest.raises(ScenarioError, match="3 signals"):
        sumo_rl_environment(open_project(find_network("cologne3")))
