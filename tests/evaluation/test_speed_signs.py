"""Speed signs of a control room: in force, together with a scenario's own limits, and gone afterwards."""

import statistics

import pytest

from scenariogen.errors import PolicyError
from scenariogen.evaluation.injecting import injected
from scenariogen.scenarios.effects import SpeedLimit
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.dummy import DummySimulator
from scenariogen.simulation.sumo import SumoSimulator
from tests.simulation.motorway import motorway_project
from tests.simulation.small import window

USUAL_MPS = 30.56


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return motorway_project(
        tmp_path_factory.mktemp("signs"), signal=True, through_veh_h=1500, ramp_veh_h=0, end_s=300.0
    )


def opened(project, folder, backend="libsumo"):
    return SumoSimulator(project, backend=backend).open(RunRequest(window=window(300.0), seed=1, folder=folder))


def drive(run, until_s):
    while run.time_s < until_s:
        run.step()


def limits(run, edge="m2"):
    return {run.connection.lane.getMaxSpeed(f"{edge}_{n}") for n in range(3)}


@pytest.mark.sumo
@pytest.mark.parametrize("backend", ["libsumo", "traci"])
def test_traffic_drives_at_the_limit_until_the_sign_is_off(project, tmp_path, backend):
    with opened(project, tmp_path, backend) as run:
        room = run.control_room
        signs = room.speed_signs
        with room:
            drive(run, 60)
            signs.show("m3", 15.0)
            assert dict(signs.shown) == {"m3": 15.0} and signs.limit_mps("m3") == 15.0
            drive(run, 200)
            vehicles = run.connection.edge.getLastStepVehicleIDs("m3")
            far = [v for v in vehicles if run.connection.vehicle.getLanePosition(v) > 300]
            speeds_mps = [run.connection.vehicle.getSpeed(vehicle) for vehicle in far]
            assert len(far) > 5 and statistics.fmean(speeds_mps) == pytest.approx(15.0, rel=0.1)
            signs.show("m1", 20.0)
            signs.clear("m3")
            signs.clear("m3")
            assert limits(run, "m3") == {USUAL_MPS} and limits(run, "m1") == {20.0}
        assert limits(run, "m1") == {USUAL_MPS} and dict(signs.shown) == {}


@pytest.mark.sumo
def test_a_sign_never_raises_a_limit(project, tmp_path):
    with opened(project, tmp_path) as run:
        run.control_room.speed_signs.show("m2", 99.0)
        assert limits(run) == {USUAL_MPS}


@pytest.mark.sumo
def test_the_strictest_of_sign_and_scenario_is_in_force_at_every_moment(project, tmp_path):
    """The sign is set, changed and cleared while the scenario's limit stands; no step sees a laxer limit than due."""
    effect = SpeedLimit(start_s=50, duration_s=100, edges=("m2",), limit_mps=18.0)
    plan = {20: 25.0, 60: 12.0, 70: 22.0, 80: 18.0, 90: None, 100: 16.0, 120: 20.0}
    with opened(project, tmp_path) as run:
        room = run.control_room
        scenario = Scenario(index=0, seed=1, effects=(effect,))
        with injected(run, scenario, project.network()), room:
            shown = None
            while run.time_s < 200:
                run.step()
                if run.time_s in plan:
                    shown = plan[run.time_s]
                    room.speed_signs.show("m2", shown) if shown else room.speed_signs.clear("m2")
                due = min(shown or USUAL_MPS, 18.0 if 50 <= run.time_s < 150 else USUAL_MPS)
                if run.time_s not in (50.0, 150.0):
                    assert limits(run) == {due}, run.time_s
        assert limits(run) == {USUAL_MPS}


@pytest.mark.sumo
def test_a_sign_switched_on_under_a_scenarios_limit_comes_off_with_nothing_left(project, tmp_path):
    effect = SpeedLimit(start_s=5, duration_s=40, edges=("m2",), limit_mps=10.0)
    with opened(project, tmp_path) as run:
        signs = run.control_room.speed_signs
        with injected(run, Scenario(index=0, seed=1, effects=(effect,)), project.network()):
            drive(run, 20)
            signs.show("m2", 15.0)
            drive(run, 60)
            assert limits(run) == {15.0}
            signs.clear("m2")
            assert limits(run) == {USUAL_MPS}


@pytest.mark.sumo
def test_after_an_error_everything_is_off(project, tmp_path):
    with opened(project, tmp_path) as run:
        with pytest.raises(ZeroDivisionError), run.control_room as room:
            room.speed_signs.show("m1", 10.0)
            room.meters["ramp"].set_rate(300.0)
            drive(run, 10)
            raise ZeroDivisionError
        assert limits(run, "m1") == {USUAL_MPS}
        assert run.control_room.meters["ramp"].rate_veh_h is None


@pytest.mark.sumo
def test_edges_say_what_a_policy_must_know_and_mistakes_are_its_own(project, tmp_path):
    with opened(project, tmp_path) as run:
        signs = run.control_room.speed_signs
        assert {edge.edge for edge in signs.edges.values() if edge.on_motorway} == {"m1", "m2", "m3"}
        assert signs.edges["m2"].upstream == ("m1",) and signs.edges["m2"].usual_mps == USUAL_MPS
        assert len(signs.edges["m2"].loops) == 4 and "elsewhere" not in signs.edges
        for limit in (0.0, -1.0, float("nan")):
            with pytest.raises(PolicyError, match="m/s"):
                signs.show("m1", limit)
        for call in (lambda: signs.show("m9", 10.0), lambda: signs.clear("m9"), lambda: signs.limit_mps("m9")):
            with pytest.raises(PolicyError, match="m9"):
                call()


def test_the_dummy_has_no_signs_and_says_so(tmp_path):
    with DummySimulator().open(RunRequest(window=window(60.0), seed=1, folder=tmp_path)) as run:
        assert dict(run.control_room.meters) == {} and dict(run.control_room.speed_signs.shown) == {}
        with pytest.raises(PolicyError, match="no speed signs"):
            run.control_room.speed_signs.show("a", 10.0)
