"""What a policy declares is what it is handed, and nothing else."""

import pytest

from scenariogen.errors import PolicyError
from scenariogen.evaluation.policy import load_policy, resolve_policy
from scenariogen.evaluation.policy_room import PolicyRoom, loops_for
from scenariogen.evaluation.run_one import run_scenario
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.contract import PARTS, ControlRoom, EndReason, Loop, LoopSite, Policy
from tests.policies.room import crossing
from tests.simulation.motorway import motorway_project
from tests.simulation.small import window


class Reads(Policy):
    def step(self, run: ControlRoom, time_s: float) -> None:
        pass


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_not_declared_is_refused_and_the_message_says_what_to_write(part):
    room, _ = crossing()
    others = tuple(name for name in PARTS if name != part)
    seen = PolicyRoom(room, others)
    with pytest.raises(PolicyError, match=rf'reads = \(.*"{part}"'):
        getattr(seen, PARTS[part])
    for name in others:
        assert getattr(seen, PARTS[name]) is getattr(room, PARTS[name])
    assert seen.time_s == room.time_s and seen.step_length_s == room.step_length_s


def test_every_policy_that_comes_along_declares_parts_that_exist():
    for name in ("no_control", "max_pressure", "alinea", "hero", "speed_limits"):
        assert set(load_policy(name).reads) <= set(PARTS), name
    assert load_policy("no_control").reads == ()


HEAD = "from scenariogen.simulation.contract import *\nfrom scenariogen.simulation.contract import Policy\n"


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("reads = ('scenario', 'signals')", "scenario"),
        ("reads = 'signals'", "expected a tuple"),
        ("reads = ('signals',)\n    needs_detectors = True", 'does not name "detectors"'),
        ("reads = ()\n    def loops(self, network): return ()", 'does not name "detectors"'),
    ],
)
def test_a_wrong_declaration_is_refused_when_the_policy_is_loaded(tmp_path, body, text):
    path = tmp_path / "mine.py"
    path.write_text(f"{HEAD}class Mine(Policy):\n    {body}\n    def step(self, run, time_s): pass\n")
    with pytest.raises(PolicyError, match=text):
        resolve_policy(path)


@pytest.mark.sumo
def test_a_run_ends_where_a_policy_uses_what_it_did_not_declare(tmp_path):
    path = tmp_path / "peeks.py"
    path.write_text(
        f"{HEAD}class Peeks(Policy):\n    reads = ('signals',)\n"
        "    def step(self, run, time_s):\n        run.meters['ramp'].set_rate(300)\n"
    )
    project = motorway_project(tmp_path / "p", signal=True, through_veh_h=100, ramp_veh_h=100, end_s=30.0)
    result = run_scenario(project, Scenario(index=0, seed=1), path, window=window(30.0), folder=tmp_path / "run")
    assert result.end_reason == EndReason.POLICY_RAISED
    assert "run.meters" in result.error and 'reads = ("signals", "meters")' in result.error


def test_loops_are_laid_where_a_policy_asks_and_its_own_come_first(tmp_path):
    network = motorway_project(tmp_path, signal=True, through_veh_h=1, ramp_veh_h=1).network()

    class Wants(Reads):
        needs_loops = (LoopSite.MOTORWAY, LoopSite.MERGES)

        def loops(self, network):
            return (Loop(lane="m2_2", position_m=7.0), Loop(lane="slip_0", position_m=-5.0))

    assert loops_for(Reads(), network) == ()
    by_lane = {loop.lane: loop.position_m for loop in loops_for(Wants(), network)}
    assert len(by_lane) == len(loops_for(Wants(), network)) == 3 + 4 + 3 + 1
    assert (by_lane["m2_2"], by_lane["m2_1"], by_lane["slip_0"]) == (7.0, -10.0, -5.0)
    assert by_lane["m1_0"] == pytest.approx(network.edges["m1"].length_m / 2)
