"""Injection into reinforcement-learning environments, which start a simulation anew with every reset."""

import importlib.util
import os
from dataclasses import replace
from pathlib import Path

import pytest

from scenariogen.errors import SimulationError
from scenariogen.injection.environment import EnvironmentInjection
from scenariogen.network import read_network
from scenariogen.scenarios.effects import SpeedLimit
from tests.injection import roads


class Rough:
    """The least that an environment is: a connection in ``sumo``, which it opens anew with every reset."""

    def __init__(self, open_simulation):
        self.sumo = None
        self.episodes = 0
        self._open = open_simulation

    def reset(self, seed=None):
        if self.sumo is not None:
            self.sumo.close()
        self.episodes += 1
        self.sumo = self._open()
        return "first observation", {"seed": seed}

    def step(self, action):
        for _ in range(5):
            self.sumo.simulationStep()
        return self.sumo.simulation.getTime(), 0.0, False, False, {}


class Wrapper:
    def __init__(self, env):
        self.env = env

    def reset(self, **options):
        return self.env.reset(**options)

    def step(self, action):
        return self.env.step(action)


@pytest.mark.sumo
@pytest.mark.parametrize("backend", ["libsumo", "traci"])
def test_every_reset_begins_the_scenario_anew(start, road, backend):
    network = road(2)
    rough = Rough(lambda: start(backend, network))
    env = Wrapper(Wrapper(rough))
    asked = roads.scenario(roads.incident(start_s=20, duration_s=30, capacity_left=0.3))
    with EnvironmentInjection(env, asked, network=network) as injection:
        for steps in (12, 6, 1):
            assert env.reset(seed=7) == ("first observation", {"seed": 7})
            for _ in range(steps):
                env.step(0)
            standing = len(injection.current.own_present)
            assert standing == (1 if steps == 6 else 0)
    whole, cut, none = (reports[0] for reports in injection.reports)
    assert (whole.start_s, whole.end_s, whole.reason) == (20, 50, "")
    assert (cut.realised and "reset" in cut.reason) or "closed" in cut.reason
    assert not none.realised
    assert "reset" not in vars(rough)
    env.reset()
    env.step(0)  # after the block nothing is injected any more
    assert len(injection.reports) == 3
    rough.sumo.close()


@pytest.mark.sumo
def test_a_running_episode_is_joined_and_scenarios_may_follow_each_other(start, road):
    network = road(2)
    env = Rough(lambda: start("libsumo", network))
    env.reset()
    env.step(0)
    drawn = []

    def scenario(episode):
        drawn.append(episode)
        return roads.scenario(roads.incident(start_s=20 + 10 * episode, duration_s=10, capacity_left=0.3))

    with EnvironmentInjection(env, scenario, network=network) as injection:
        for _ in range(2):
            for _ in range(12):
                env.step(0)
            env.reset()
    assert drawn == [0, 1, 2]
    assert [reports[0].start_s for reports in injection.reports[:2]] == [20, 30]
    env.sumo.close()


@pytest.mark.sumo
def test_effects_are_reported_by_episode(start, road):
    network = road(2)
    env = Rough(lambda: start("libsumo", network))
    slow = SpeedLimit(start_s=10, duration_s=20, edges=("middle",), limit_mps=5.0)
    scenario = replace(roads.scenario(), effects=(slow,))
    with EnvironmentInjection(env, scenario, network=network) as injection:
        for _ in range(2):
            env.reset()
            for _ in range(8):
                env.step(0)
    assert [len(reports) for reports in injection.effects_reports] == [1, 1]
    assert all(reports[0].realised and reports[0].end_s == 30 for reports in injection.effects_reports)
    env.sumo.close()


@pytest.mark.sumo
def test_an_error_in_a_scenario_leaves_the_environment_as_it_was(start, road):
    network = road(2)
    env = Rough(lambda: start("libsumo", network))
    env.reset()
    with (
        pytest.raises(Exception, match="nowhere"),
        EnvironmentInjection(env, roads.scenario(roads.incident(edge="nowhere")), network=network),
    ):
        pass
    assert "reset" not in vars(env)
    env.sumo.close()


@pytest.mark.sumo
def test_inject_takes_an_environment_as_well(start, road):
    import scenariogen

    network = road(2)
    env = Rough(lambda: start("libsumo", network))
    asked = roads.scenario(roads.incident(start_s=10, duration_s=10, capacity_left=0.3))
    with scenariogen.inject(env, asked, network=network) as injection:
        env.reset()
        for _ in range(6):
            env.step(0)
    assert isinstance(injection, EnvironmentInjection)
    assert injection.reports[0][0].realised
    env.sumo.close()


def test_an_environment_without_a_connection_is_refused():
    class Other:
        def reset(self):
            return None

        def step(self, action):
            return None

    with pytest.raises(SimulationError, match="connection_of"):
        EnvironmentInjection(Other(), roads.scenario())


@pytest.mark.sumo
def test_sumo_rls_own_environment_unchanged(monkeypatch):
    """Two episodes with fixed times and one with actions, each with the same incident."""
    import sumo

    monkeypatch.setenv("SUMO_HOME", str(sumo.SUMO_HOME))
    monkeypatch.setenv("PATH", f"{Path(sumo.SUMO_HOME) / 'bin'}{os.pathsep}{os.environ['PATH']}")
    import gymnasium
    import sumo_rl

    nets = Path(importlib.util.find_spec("sumo_rl").submodule_search_locations[0]) / "nets" / "single-intersection"
    env = sumo_rl.SumoEnvironment(
        net_file=str(nets / "single-intersection.net.xml"),
        route_file=str(nets / "single-intersection.rou.xml"),
        single_agent=True,
        num_seconds=300,
        time_to_teleport=-1,
        additional_sumo_cmd="--no-step-log --collision.action warn",
        sumo_warnings=False,
    )
    network = read_network(nets / "single-intersection.net.xml")
    edge = next(edge for edge in network.edges.values() if edge.signalised and len(edge.driving_lanes) >= 2)
    asked = roads.incident(
        start_s=60, duration_s=120, edge=edge.id, position_m=edge.length_m / 2, lanes=(0,), capacity_left=0.3
    )
    with EnvironmentInjection(gymnasium.wrappers.Autoreset(env), roads.scenario(asked)) as injection:
        for fixed in (True, True, False):
            env.fixed_ts = fixed
            observation, _ = env.reset()
            assert env.observation_space.contains(observation)
            truncated = False
            while not truncated:
                _, _, _, truncated, info = env.step(env.action_space.sample())
            assert info["step"] >= 300
    env.close()
    assert len(injection.reports) == 3
    for (report,) in injection.reports:
        assert (report.realised, report.start_s, report.end_s) == (True, 60, 180), report
