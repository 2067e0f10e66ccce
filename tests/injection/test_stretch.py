"""The reduced-speed stretch: what it asks of drivers, what it leaves behind, what it costs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenariogen.injection.attach import Injection
from scenariogen.injection.connection import Link
from scenariogen.injection.lanes import LaneMap
from scenariogen.injection.rig import Rig
from scenariogen.injection.stretch import DOWNSTREAM_M, UPSTREAM_M, SpeedProfile
from tests.injection import roads
from tests.injection.places import Ground

BACKENDS = ("libsumo", "traci")


@given(speed=st.floats(0.5, 30), limit=st.floats(5, 40))
def test_the_profile_is_slowest_in_its_core_and_stays_within_its_reach(speed, limit):
    profile = SpeedProfile(speed_mps=speed)
    upstream, downstream = profile.core_m
    assert profile.at(0.0) == profile.at(upstream) == profile.at(-downstream) == speed
    assert downstream <= DOWNSTREAM_M and upstream <= UPSTREAM_M
    assert profile.at(UPSTREAM_M) >= speed
    reach = profile.reach_m(limit)
    assert reach <= UPSTREAM_M
    if upstream < reach < UPSTREAM_M:
        assert math.isclose(profile.at(reach), limit, rel_tol=1e-9)


@pytest.mark.sumo
@pytest.mark.parametrize("backend", BACKENDS)
def test_speed_factors_come_back_and_what_others_wrote_is_kept(start, road, tmp_path, backend):
    network = road(2)
    sumo = start(backend, network, roads.flows(tmp_path, lanes=2, per_lane_veh_h=900))
    asked = roads.incident(start_s=60, duration_s=120, capacity_left=0.3, position_m=400)
    chosen, written = {}, {}
    with Injection(sumo, roads.scenario(asked), network=network, passing_speed=lambda i, e: 7.0) as injection:
        while sumo.simulation.getTime() < 220:
            sumo.simulationStep()
            for vehicle in sumo.simulation.getDepartedIDList():
                if vehicle not in injection.own_vehicles:
                    chosen[vehicle] = sumo.vehicle.getSpeedFactor(vehicle)
            if sumo.simulation.getTime() == 150:
                near = [v for v in sumo.lane.getLastStepVehicleIDs("middle_1") if v not in injection.own_present]
                slow = [v for v in near if 380 < sumo.vehicle.getLanePosition(v) < 405]
                assert slow and all(sumo.vehicle.getSpeed(v) < 9 for v in slow)
                written = {near[0]: 0.05, near[-1]: 0.8}  # a policy writes while we hold the vehicle
                for vehicle, factor in written.items():
                    sumo.vehicle.setSpeedFactor(vehicle, factor)
    expected = chosen | written
    alive = list(sumo.vehicle.getIDList())
    assert len(alive) > 20 and set(written) & set(alive)
    assert {v: sumo.vehicle.getSpeedFactor(v) for v in alive} == {v: expected[v] for v in alive}
    assert not [name for name in sumo.vehicletype.getIDList() if "@" in name]


@pytest.mark.sumo
def test_only_traffic_on_the_way_past_the_incident_is_slowed(start, diamond, tmp_path):
    """A stretch that begins on the edge before, at a fork: vehicles on the other branch are left alone."""
    sumo = start("libsumo", diamond, roads.flows(tmp_path, lanes=2, per_lane_veh_h=300, edges="in around back out"))
    asked = roads.incident(edge="direct", start_s=60, duration_s=200, lanes=(0,), position_m=12, capacity_left=0.5)
    with Injection(sumo, roads.scenario(asked), network=diamond, passing_speed=lambda i, e: 3.0):
        while sumo.simulation.getTime() < 240:
            sumo.simulationStep()
            for vehicle in sumo.edge.getLastStepVehicleIDs("around"):
                assert sumo.vehicle.getSpeedFactor(vehicle) > 0.5


@pytest.mark.sumo
@pytest.mark.slow
@pytest.mark.parametrize(("blocked", "speed"), [((), 3.0), ((0,), 3.0), ((0, 1), 3.0), ((0,), 8.0), ((1,), 5.0)])
def test_at_half_the_remaining_capacity_a_vehicle_loses_less_than_fifteen_seconds(blocked, speed):
    """230 m driven at the same speed cost 28 to 93 s."""
    with Rig(3, roads.MOTORWAY_MPS) as rig:
        (minutes,) = rig.discharge(blocked, [speed], seed=5)
        remaining_veh_h = minutes.mean() * 60
        assert 0 < rig.delay_s(blocked, speed, remaining_veh_h / 2, seed=5) < 15


@pytest.mark.sumo
def test_round_a_roundabout_the_edge_of_an_incident_does_not_lie_behind_itself(start, tmp_path):
    ring = ";".join(f"{a}{b} {a} {b} {lanes} 8" for a, b, lanes in (("s", "e", 2), ("e", "n", 1), ("n", "s", 2)))
    ways = "in S s 2 8;out e E 1 8"
    network = Ground(nodes="s 0 0;e 30 0;n 15 -25;S 0 100;E 130 0", edges=f"{ring};{ways}", ways=(), wall=()).build(
        tmp_path / "ring"
    )
    lanes = LaneMap(Link(start("libsumo", network)), network)
    around = lanes.around(network.edges["se"], 5.0, upstream_m=200.0, downstream_m=10.0)
    assert {lane: metres for lane, metres in around.items() if lane.startswith("se_")} == {"se_0": 5.0, "se_1": 5.0}
    assert around["ns_0"] > 5.0 and around["in_0"] > 5.0


@pytest.mark.sumo
def test_on_a_short_ring_the_nearer_side_of_a_lane_counts(start, tmp_path):
    ring = ";".join(f"{a}{b} {a} {b} 1 8" for a, b in ("se", "en", "nw", "ws"))
    nodes = "s 0 -7;e 7 0;n 0 7;w -7 0;S 0 -60;E 60 0;N 0 60;W -60 0"
    arms = ";".join(f"{a}{b} {a} {b} 1 8" for a, b in ("Ss", "eE", "Nn", "wW"))
    network = Ground(nodes=nodes, edges=f"{ring};{arms}", ways=(), wall=()).build(tmp_path / "ring")
    lanes = LaneMap(Link(start("libsumo", network)), network)
    around = lanes.around(network.edges["se"], 1.0, upstream_m=60.0, downstream_m=30.0)
    assert 0 < around["ws_0"] < around["nw_0"] and around["en_0"] < 0


@pytest.mark.sumo
def test_a_turn_that_waits_in_the_junction_has_two_internal_lanes(start, tmp_path):
    network = Ground(
        nodes="c 0 0;w -200 0;e 200 0;s 0 -200;n 0 200",
        edges=";".join(f"{a}{b} {a} {b} 1 13.89" for x in "wesn" for a, b in ((x, "c"), ("c", x))),
        ways=(),
        wall=(),
    ).build(tmp_path / "crossing")
    sumo = start("libsumo", network)
    lanes = LaneMap(Link(sumo), network)
    found = lanes.upstream("cn_0", 5.0, 150.0)
    inside = [lane for lane in sumo.lane.getIDList() if lane.startswith(":c")]
    leading = [lane for lane in inside if any(link[0] == "cn_0" for link in sumo.lane.getLinks(lane))]
    last = [lane for lane in leading if not sumo.lane.getLinks(lane)[0][4]]
    assert len(leading) > len(last) >= 3  # some wait on one internal lane and go on along another
    assert all(found[lane] == 5.0 + sumo.lane.getLength(lane) for lane in last)
    for lane in leading:
        via = sumo.lane.getLinks(lane)[0][4]
        assert found[lane] == pytest.approx(sumo.lane.getLength(lane) + (found[via] if via else 5.0))
    longest = max(found[lane] for lane in leading)
    assert longest < max(found[f"{x}c_0"] for x in "wes") - 190
    after = lanes.downstream("wc_0", lanes.length_m("wc_0") - 5.0, 30.0)
    assert all(
        after[each] == pytest.approx(after[lane] - lanes.length_m(lane))
        for lane in inside
        if lane in after
        for each in [sumo.lane.getLinks(lane)[0][4]]
        if each
    )


@pytest.mark.sumo
@pytest.mark.parametrize("shut", [("middle_0", "middle_1"), ("middle_1",)])
def test_a_road_that_is_shut_by_a_limit_of_nothing_is_no_fault(start, road, tmp_path, shut):
    network = road(2)
    sumo = start("libsumo", network, roads.flows(tmp_path, lanes=2, per_lane_veh_h=900))
    asked = roads.incident(start_s=30, duration_s=60, capacity_left=0.3, position_m=400)
    with Injection(sumo, roads.scenario(asked), network=network, passing_speed=lambda i, e: 7.0) as injection:
        roads.run_until(sumo, 45)
        for lane in shut:
            sumo.lane.setMaxSpeed(lane, 0.0)
        roads.run_until(sumo, 120)
    assert injection.report()[0].realised
