"""Drivers who stand behind an incident and look for another way."""

import math

import pytest

from scenariogen.injection import inject
from scenariogen.injection.connection import Link
from scenariogen.injection.drivers import QueuedDrivers
from scenariogen.scenarios.records import Drivers
from tests.injection import roads

pytestmark = pytest.mark.sumo
BACKENDS = ("libsumo", "traci")


def closure(share: float, *, seed: int = 1, after_s: float = 30.0):
    asked = roads.incident(edge="direct", start_s=60, duration_s=800, lanes=(0,), position_m=200, capacity_left=0.0)
    return roads.scenario(asked, seed=seed, reroute_share=share, reroute_after_s=after_s)


def run(start, diamond, tmp_path, backend, scenario, until=900):
    routes = roads.flows(tmp_path, lanes=2, per_lane_veh_h=200, edges="in direct out", end=500)
    sumo = start(backend, diamond, routes)
    turned = set()
    with inject(sumo, scenario, network=diamond) as injection:
        while sumo.simulation.getTime() < until:
            sumo.simulationStep()
            turned |= set(sumo.edge.getLastStepVehicleIDs("around"))
    return injection, turned


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_stated_drivers_turn_away_once_and_the_same_ones_every_time(start, diamond, tmp_path, backend):
    injection, turned = run(start, diamond, tmp_path, backend, closure(1.0))
    (report,) = injection.report()
    assert report.realised
    assert report.rerouted == len(turned) > 10


def test_nobody_turns_away_where_the_share_is_zero(start, diamond, tmp_path):
    injection, turned = run(start, diamond, tmp_path, "libsumo", closure(0.0))
    assert injection.report()[0].rerouted == 0 and not turned


def test_nobody_turns_away_before_having_stood_for_a_while(start, diamond, tmp_path):
    injection, turned = run(start, diamond, tmp_path, "libsumo", closure(1.0, after_s=2000.0))
    assert injection.report()[0].rerouted == 0 and not turned


def test_only_drawn_drivers_turn_away(start, diamond, tmp_path):
    scenario = closure(0.4, seed=7)
    _, turned = run(start, diamond, tmp_path, "libsumo", scenario)
    sumo = start("libsumo", diamond)
    drawn = QueuedDrivers(Link(sumo), diamond, scenario.drivers, scenario.seed)
    assert turned and all(drawn.looks_for_another_way(vehicle) for vehicle in turned)
    other = QueuedDrivers(Link(sumo), diamond, scenario.drivers, 8)
    assert any(not other.looks_for_another_way(vehicle) for vehicle in turned)


def test_the_share_is_the_share(start, diamond):
    sumo = start("libsumo", diamond)
    drivers = QueuedDrivers(Link(sumo), diamond, Drivers(reroute_share=0.3), seed=3)
    n = 20_000
    share = sum(drivers.looks_for_another_way(f"vehicle.{i}") for i in range(n)) / n
    assert abs(share - 0.3) < 4 * math.sqrt(0.3 * 0.7 / n)


def test_the_way_round_leaves_no_trace_and_stops_are_kept(start, diamond, tmp_path):
    routes = roads.flows(tmp_path, lanes=2, per_lane_veh_h=400, edges="in direct out", end=300)
    sumo = start("libsumo", diamond, routes)
    sumo.route.add("line", ["in", "direct", "out"])
    with inject(sumo, closure(1.0), network=diamond) as injection:
        roads.run_until(sumo, 70)
        sumo.vehicle.add("bus", "line")
        sumo.vehicle.setStop("bus", "out", 100, 0, 20)
        roads.run_until(sumo, 400)
        assert sumo.vehicle.getRoute("bus") == ("in", "direct", "out")
        rerouted = [v for v in sumo.vehicle.getIDList() if "around" in sumo.vehicle.getRoute(v)]
        assert rerouted
        for vehicle in rerouted:
            assert sumo.vehicle.getAdaptedTraveltime(vehicle, 400, "direct") < 0  # none
            assert sumo.vehicle.isRouteValid(vehicle)
    assert injection.report()[0].rerouted >= len(rerouted)


def test_where_there_is_no_other_way_routes_stay_as_they_were(start, road, tmp_path):
    network = road(1, roads.STREET_MPS)
    sumo = start("libsumo", network, roads.flows(tmp_path, lanes=1, per_lane_veh_h=500))
    asked = roads.incident(edge="middle", start_s=30, duration_s=400, position_m=20, capacity_left=0.0)
    with inject(sumo, roads.scenario(asked, reroute_share=1.0, reroute_after_s=20), network=network) as injection:
        roads.run_until(sumo, 300)
        everybody = set(sumo.vehicle.getIDList()) - injection.own_vehicles
        assert {sumo.vehicle.getRoute(v) for v in everybody} == {("before", "middle", "after")}
    assert injection.report()[0].rerouted == 0
