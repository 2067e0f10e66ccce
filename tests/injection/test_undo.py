"""Afterwards nothing is left of us, however it ends."""

import random

import pytest

from scenariogen.injection import inject
from scenariogen.injection.attach import Injection
from tests.injection import roads

pytestmark = pytest.mark.sumo
BACKENDS = ("libsumo", "traci")


def lane_attributes(sumo) -> dict:
    lane = sumo.lane
    return {
        name: (
            tuple(lane.getAllowed(name)),
            tuple(lane.getDisallowed(name)),
            lane.getMaxSpeed(name),
            lane.getLength(name),
        )
        for name in lane.getIDList()
    }


VEHICLE_GETTERS = ("getTypeID", "getMaxSpeed", "getTau", "getMinGap", "getAccel", "getDecel", "getImperfection",
                   "getSpeedMode", "getLaneChangeMode", "getLength", "getVehicleClass", "getRoutingMode")  # fmt: skip


def vehicle_attributes(sumo, vehicle: str) -> tuple:
    return tuple(getattr(sumo.vehicle, name)(vehicle) for name in (*VEHICLE_GETTERS, "getSpeedFactor"))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", ["to the end", "early", "exception", "listener removed"])
def test_every_attribute_is_what_it_was(start, road, tmp_path, backend, how):
    network = road(3)
    sumo = start(backend, network, roads.flows(tmp_path, lanes=3, per_lane_veh_h=700))
    rng = random.Random(3)
    incidents = []
    for n in range(6):
        lanes = rng.choice([(), (0,), (2,), (0, 1)])
        share = 0.9 if not lanes else 0.2 if len(lanes) == 2 else 0.5
        incidents.append(
            roads.incident(
                start_s=60 + 15 * n, duration_s=80, lanes=lanes, position_m=rng.uniform(50, 450), capacity_left=share
            )
        )
    before_lanes, before_types = lane_attributes(sumo), sumo.vehicletype.getIDList()
    departed, own = {}, set()
    until = 300 if how == "to the end" else 110
    try:
        with Injection(sumo, roads.scenario(*incidents), network=network, passing_speed=lambda i, e: 6.0) as injection:
            while sumo.simulation.getTime() < until:
                sumo.simulationStep()
                own |= injection.own_vehicles
                departed |= {
                    v: vehicle_attributes(sumo, v) for v in sumo.simulation.getDepartedIDList() if v not in own
                }
            if how == "exception":
                raise ZeroDivisionError
            if how == "listener removed":
                manager = sumo._stepManager if backend == "libsumo" else sumo
                manager.removeStepListener(next(iter(manager._stepListeners)))
                assert not injection.own_present
    except ZeroDivisionError:
        assert how == "exception"
    reports = injection.report()
    assert sum(report.realised for report in reports) >= 4
    assert all(report.is_over for report in reports)
    assert all("before its" in report.reason for report in reports if report.end_s != report.asked.end_s)
    sumo.simulationStep()
    left = set(sumo.vehicle.getIDList())
    assert left and not left & own and not set(sumo.vehicle.getLoadedIDList()) & own
    assert {v: vehicle_attributes(sumo, v) for v in left & set(departed)} == {
        v: departed[v] for v in left & set(departed)
    }
    assert lane_attributes(sumo) == before_lanes
    assert sumo.vehicletype.getIDList() == before_types
    assert sumo.poi.getIDList() == ()


def test_a_run_without_incidents_is_the_run_without_us(start, road, tmp_path):
    network, finals = road(3), []
    routes = roads.flows(tmp_path, lanes=3, per_lane_veh_h=1200)
    for with_us in (False, True):
        sumo = start("libsumo", network, routes)
        if with_us:
            with inject(sumo, roads.scenario(roads.incident(start_s=500, capacity_left=0.5)), network=network):
                roads.run_until(sumo, 200)
        else:
            roads.run_until(sumo, 200)
        finals.append({v: sumo.vehicle.getPosition(v) for v in sumo.vehicle.getIDList()})
        sumo.close()
    assert finals[0] == finals[1] and len(finals[0]) > 50
