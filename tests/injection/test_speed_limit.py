"""A lower speed limit: driven at, warned of upstream, gone afterwards."""

import pytest

from scenariogen.injection import inject
from scenariogen.scenarios.effects import SpeedLimit
from tests.injection import roads

pytestmark = pytest.mark.sumo
BACKENDS = ("libsumo", "traci")


@pytest.mark.parametrize("backend", BACKENDS)
def test_traffic_drives_at_the_limit_and_the_limit_goes(start, road, tmp_path, backend):
    sumo = start(backend, road(2), roads.flows(tmp_path, lanes=2, per_lane_veh_h=500))
    before = {lane: sumo.lane.getMaxSpeed(lane) for lane in sumo.lane.getIDList()}
    limit = SpeedLimit(start_s=30, duration_s=170, edges=("middle",), limit_mps=10.0, warnings=((100.0, 20.0),))
    with inject(sumo, roads.scenario(effects=(limit,)), network=road(2)) as injection:
        roads.run_until(sumo, 180)
        in_force = {lane: sumo.lane.getMaxSpeed(lane) for lane in before}
        assert {in_force[f"middle_{n}"] for n in range(2)} == {10.0}
        assert {in_force[f"before_{n}"] for n in range(2)} == {20.0}
        assert in_force["after_0"] == before["after_0"]
        vehicles = sumo.edge.getLastStepVehicleIDs("middle")
        assert vehicles and all(
            sumo.vehicle.getSpeed(v) <= 10.0 * sumo.vehicle.getSpeedFactor(v) + 1e-6
            for v in vehicles
            if sumo.vehicle.getLanePosition(v) > 60
        )
        roads.run_until(sumo, 205)
        assert {lane: sumo.lane.getMaxSpeed(lane) for lane in before} == before
    (report,) = injection.effects_report()
    assert (report.start_s, report.end_s) == (30, 200)


def test_the_nearest_warning_is_the_strictest_and_limits_never_rise(start, road):
    sumo = start("libsumo", road(2))
    usual = sumo.lane.getMaxSpeed("middle_0")
    effects = (
        SpeedLimit(start_s=5, duration_s=50, lanes=("after_0",), limit_mps=8, warnings=((50, 12), (2000, 16))),
        SpeedLimit(start_s=5, duration_s=50, edges=("middle",), limit_mps=99),
    )
    with inject(sumo, roads.scenario(effects=effects), network=road(2)):
        roads.run_until(sumo, 10)
        speed = sumo.lane.getMaxSpeed
        assert (speed("after_0"), speed("middle_0"), speed("before_0")) == (8, 12, 16)
        assert speed("after_1") == speed("middle_1") == usual


def test_a_policys_limit_that_is_lower_stays_in_force(start, road):
    sumo = start("libsumo", road(2))
    limit = SpeedLimit(start_s=5, duration_s=50, edges=("middle",), limit_mps=10)
    with inject(sumo, roads.scenario(effects=(limit,)), network=road(2)):
        roads.run_until(sumo, 10)
        sumo.lane.setMaxSpeed("middle_0", 6.0)
        sumo.lane.setMaxSpeed("middle_1", 25.0)
        roads.run_until(sumo, 20)
        assert [sumo.lane.getMaxSpeed(f"middle_{n}") for n in range(2)] == [6.0, 10.0]
    assert [sumo.lane.getMaxSpeed(f"middle_{n}") for n in range(2)] == [6.0, 25.0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_long_step_loses_no_effect(start, road, backend):
    sumo = start(backend, road(2))
    limits = tuple(SpeedLimit(start_s=33 + 50 * n, duration_s=20, edges=("middle",), limit_mps=10) for n in range(3))
    with inject(sumo, roads.scenario(effects=limits), network=road(2)) as injection:
        sumo.simulationStep(1000.0)
    assert [(r.start_s, r.end_s) for r in injection.effects_report()] == [(33, 53), (83, 103), (133, 153)]
