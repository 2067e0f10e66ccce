"""Vehicles stand where and when they should, in any traffic, on both backends."""

import random

import pytest

from scenariogen.incidents.capacity import is_inner, reachable
from scenariogen.incidents.records import IncidentKind
from scenariogen.injection import inject
from scenariogen.injection.attach import Injection
from scenariogen.injection.placement import stand_abreast
from scenariogen.network import read_network
from tests.injection import roads
from tests.support import copy_project, resco, shared_data

pytestmark = pytest.mark.sumo
BACKENDS = ("libsumo", "traci")


def test_it_stands_at_its_time_and_place_lasts_as_asked_and_is_gone(start, road, tmp_path):
    network = road(3)
    sumo = start("libsumo", network, roads.flows(tmp_path, lanes=3, per_lane_veh_h=60))
    asked = roads.incident(start_s=100, duration_s=60, lanes=(1, 2), position_m=400, capacity_left=0.2)
    standing = []
    with inject(sumo, roads.scenario(asked), network=network) as injection:
        while sumo.simulation.getTime() < 200:
            sumo.simulationStep()
            here = [v for v in sumo.vehicle.getIDList() if v in injection.own_vehicles]
            standing.append((sumo.simulation.getTime(), len(here)))
            for vehicle in here:
                assert sumo.vehicle.getSpeed(vehicle) == 0
                assert sumo.vehicle.getRoadID(vehicle) == "middle"
    times = [time for time, count in standing if count == 2]
    assert times == [float(t) for t in range(100, 160)]
    assert {count for _, count in standing} == {0, 2}
    (report,) = injection.report()
    assert report.realised and report.reason == ""
    assert (report.start_s, report.end_s, report.lanes) == (100, 160, (1, 2))
    assert abs(report.position_m - 400) <= 20
    assert injection.own_vehicles == set(report.vehicles) == {"incident.0.0", "incident.0.1"}
    assert injection.own_present == frozenset()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("traffic", ["free", "dense", "saturated", "queued"])
def test_it_stands_within_two_seconds_and_hurts_nobody(start, road, tmp_path, backend, traffic):
    """``add`` alone waits 10 to 89 s on a saturated motorway; inserted without checks, SUMO teleports real vehicles."""
    per_lane = {"free": 400, "dense": 1500, "saturated": 2700, "queued": 2700}[traffic]
    rng = random.Random(traffic)
    lanes, limit = rng.choice([(3, roads.MOTORWAY_MPS), (2, roads.STREET_MPS)])
    network = road(lanes, limit)
    routes = roads.flows(tmp_path, lanes=lanes, per_lane_veh_h=per_lane)
    # The default collision.action teleports: a collision would take a real vehicle away.
    sumo = start(backend, network, routes, "--max-depart-delay", "20", "--time-to-teleport", "-1", stable=False)
    if traffic == "queued":
        roads.stand_still(sumo, edge="after", lanes=lanes, position_m=20)
    incidents = [
        roads.incident(
            start_s=200 + 40 * n,
            duration_s=30,
            lanes=lanes_blocked,
            position_m=rng.uniform(60, 450),
            capacity_left=0.0 if len(lanes_blocked) == lanes else 0.2,
            kind=kind,
        )
        for n, (lanes_blocked, kind) in enumerate(
            [
                ((0,), IncidentKind.CRASH),
                (tuple(range(lanes)), IncidentKind.BREAKDOWN),
                ((lanes - 1,), IncidentKind.CRASH),
            ]
        )
    ]
    hurt = []
    with (
        pytest.warns(UserWarning, match="collision.action"),
        Injection(sumo, roads.scenario(*incidents), network=network, passing_speed=lambda i, e: 8.0) as injection,
    ):
        while sumo.simulation.getTime() < 330:
            sumo.simulationStep()
            hurt += [c.collider for c in sumo.simulation.getCollisions()] + list(
                sumo.simulation.getStartingTeleportIDList()
            )
    for report in injection.report():
        assert report.realised, report
        assert 0 <= report.start_s - report.asked.start_s <= 2
        assert report.end_s == report.asked.end_s
        assert abs(report.position_m - report.asked.position_m) <= 100
        assert report.lanes == report.asked.lanes
    assert hurt == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_on_a_real_network_every_incident_stands(start, backend):
    config = resco("cologne8")
    sumo = start(backend, config.with_name("cologne8.net.xml"), config.with_name("cologne8.rou.xml"), "-b", "25200")
    network = read_network(config.with_name("cologne8.net.xml"))
    rng = random.Random(8)
    edges = [network.edges[edge] for edge in network.drivable]
    incidents = []
    for n in range(40):
        edge = rng.choice(edges)
        lane = rng.choice(edge.driving_lanes)
        alone = len(edge.driving_lanes) == 1
        incidents.append(
            roads.incident(
                edge=edge.id,
                start_s=25300 + 12 * n,
                duration_s=100,
                lanes=(lane,),
                position_m=rng.uniform(0, edge.length_m),
                capacity_left=0.0 if alone and n % 2 else 0.35,
            )
        )
    with Injection(sumo, roads.scenario(*incidents), network=network, passing_speed=lambda i, e: 5.0) as injection:
        roads.run_until(sumo, 25300 + 12 * 40 + 101)
    for report in injection.report():
        assert report.realised, report
        assert report.start_s - report.asked.start_s <= 2
        assert report.end_s == report.asked.end_s


@pytest.mark.data
@pytest.mark.parametrize("project", ["i210/config_file.sumocfg", "bologna_acosta/run.sumocfg"])
def test_on_networks_that_nobody_prepared_every_incident_stands(start, tmp_path, project):
    """Long motorway lanes, and a city with bus lanes and actuated signals."""
    config = copy_project(shared_data("networks", *project.split("/")), tmp_path)
    sumo = start("libsumo", None, None, "-c", str(config))
    roads.run_until(sumo, sumo.simulation.getTime() + 400)
    network = read_network(sumo.simulation.getOption("net-file"))
    rng = random.Random(5)
    busy = [network.edges[edge] for edge in network.drivable if sumo.edge.getLastStepVehicleNumber(edge)]
    begin_s, incidents = sumo.simulation.getTime() + 1, []
    for n in range(12):
        edge = rng.choice(busy)
        blocked = rng.randint(0, min(2, len(edge.driving_lanes)))
        first = rng.randint(0, len(edge.driving_lanes) - blocked)
        lanes = edge.driving_lanes[first : first + blocked]
        low, high = reachable(
            edge.road_class, len(edge.driving_lanes), blocked, inner=is_inner(edge.driving_lanes, lanes)
        )
        incidents.append(
            roads.incident(
                edge=edge.id,
                start_s=begin_s + 5 * n,
                duration_s=50,
                lanes=lanes,
                position_m=rng.uniform(0, edge.length_m),
                capacity_left=rng.uniform(low, high),
                kind=rng.choice(list(IncidentKind)),
            )
        )
    hurt = 0
    with inject(sumo, roads.scenario(*incidents), network=network) as injection:
        while sumo.simulation.getTime() < begin_s + 120:
            sumo.simulationStep()
            hurt += sum(
                vehicle in injection.own_vehicles
                for c in sumo.simulation.getCollisions()
                for vehicle in (c.collider, c.victim)
            )
    assert hurt == 0
    for report in injection.report():
        assert report.realised and report.start_s - report.asked.start_s <= 2, report
        assert report.end_s == report.asked.end_s


def test_a_crash_on_one_lane_is_two_vehicles_one_behind_the_other(start, road):
    sumo = start("libsumo", road(2))
    asked = roads.incident(start_s=10, kind=IncidentKind.CRASH, capacity_left=0.35)
    with inject(sumo, roads.scenario(asked), network=road(2)) as injection:
        roads.run_until(sumo, 20)
        positions = sorted(sumo.vehicle.getLanePosition(v) for v in injection.own_present)
        assert {sumo.vehicle.getLaneID(v) for v in injection.own_present} == {"middle_0"}
    assert positions == [pytest.approx(244), pytest.approx(250)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_at_the_side_of_the_road_no_lane_is_blocked(start, road, tmp_path, backend):
    """On the shoulder, and where traffic squeezes past on a single lane."""
    network = road(1, roads.STREET_MPS)
    sumo = start(backend, network, roads.flows(tmp_path, lanes=1, per_lane_veh_h=600))
    shoulder = roads.incident(start_s=60, duration_s=50, lanes=(), capacity_left=0.8)
    squeeze = roads.incident(start_s=150, duration_s=100, lanes=(0,), capacity_left=0.6)
    with Injection(
        sumo, roads.scenario(shoulder, squeeze), network=network, passing_speed=lambda i, e: 6.0
    ) as injection:
        roads.run_until(sumo, 100)
        assert [sumo.vehicle.getLaneID(v) for v in injection.own_present] == [""]  # beside the lane
        roads.run_until(sumo, 160)
        passed = set(sumo.edge.getLastStepVehicleIDs("after"))
        roads.run_until(sumo, 240)
        assert injection.own_present
        assert set(sumo.edge.getLastStepVehicleIDs("after")) - passed - injection.own_vehicles
        roads.run_until(sumo, 260)
    first, second = injection.report()
    assert first.realised and second.realised and first.lanes == second.lanes == ()
    assert second.end_s == 250


def test_where_there_is_no_room_it_is_not_realised_with_the_reason(start, road):
    network = road(1)
    sumo = start("libsumo", network)
    sumo.route.add("long", ["before", "middle"])
    sumo.vehicle.add("train", "long")
    sumo.vehicle.setLength("train", 600)
    sumo.vehicle.moveTo("train", "middle_0", 499)
    sumo.vehicle.setStop("train", "middle", 499, 0, 1e6)
    with inject(sumo, roads.scenario(roads.incident(start_s=5, capacity_left=0)), network=network) as injection:
        roads.run_until(sumo, 30)
        assert sumo.vehicle.getIDList() == ("train",)
        assert not sumo.simulation.getPendingVehicles()
    (report,) = injection.report()
    assert not report.realised and "no spot within 100 m on lane 0" in report.reason
    assert report.start_s is None and "not realised" in str(report)


def test_overlapping_incidents_on_one_edge_stand_beside_each_other(start, road, tmp_path):
    network = road(3)
    sumo = start("libsumo", network, roads.flows(tmp_path, lanes=3, per_lane_veh_h=800))
    first = roads.incident(start_s=100, duration_s=100, lanes=(0,), capacity_left=0.5)
    second = roads.incident(start_s=130, duration_s=30, lanes=(0, 1), capacity_left=0.2)
    with inject(sumo, roads.scenario(first, second), network=network) as injection:
        roads.run_until(sumo, 150)
        assert len(injection.own_present) == 3
        roads.run_until(sumo, 180)
        assert len(injection.own_present) == 1
        roads.run_until(sumo, 210)
        assert not injection.own_present
    assert [r.end_s for r in injection.report()] == [200, 160]


@pytest.mark.parametrize("backend", BACKENDS)
def test_somebody_who_removes_our_vehicle_is_noticed(start, road, backend):
    sumo = start(backend, road(2))
    with inject(sumo, roads.scenario(roads.incident(start_s=10, capacity_left=0.3)), network=road(2)) as injection:
        roads.run_until(sumo, 20)
        sumo.vehicle.remove("incident.0.0")
        roads.run_until(sumo, 40)
        (report,) = injection.report()
    assert report.end_s <= 31 and "removed by somebody else" in report.reason


def test_blockers_carry_the_ids_they_are_given(start, road):
    sumo = start("libsumo", road(2))
    asked = roads.scenario(roads.incident(start_s=3, capacity_left=0.3))
    with inject(sumo, asked, network=road(2), blocker_id=lambda n, k: f"car_{1000 + 10 * n + k}") as injection:
        roads.run_until(sumo, 5)
        assert sumo.vehicle.getIDList() == ("car_1000",)
        assert injection.own_present == {"car_1000"}


def test_a_road_that_is_closed_lets_nobody_through(start, road, tmp_path):
    """Each lane once had a spot of its own up to 100 m from the others', and traffic wove past between them."""
    sumo = start("libsumo", road(3), roads.flows(tmp_path, lanes=3, per_lane_veh_h=900), "--step-length", "0.2")
    closed = [
        roads.incident(start_s=begin_s, duration_s=60, lanes=(0, 1, 2), capacity_left=0, kind=IncidentKind.BREAKDOWN)
        for begin_s in (100, 250, 400)
    ]
    with inject(sumo, roads.scenario(*closed), network=road(3)) as injection:
        for asked in closed:
            roads.run_until(sumo, asked.start_s + 15)
            ours = [v for v in sumo.vehicle.getIDList() if v in injection.own_vehicles]
            places = [(sumo.vehicle.getLanePosition(v), sumo.vehicle.getLength(v)) for v in ours]
            assert sorted(sumo.vehicle.getLaneID(v) for v in ours) == ["middle_0", "middle_1", "middle_2"]
            assert stand_abreast(places)
            rear = min(front - length for front, length in places)
            behind = {v for v in sumo.edge.getLastStepVehicleIDs("middle") if sumo.vehicle.getLanePosition(v) <= rear}
            roads.run_until(sumo, asked.start_s + 58)
            still = {v for v in behind if v in sumo.edge.getLastStepVehicleIDs("middle")}
            assert behind and still == behind
        roads.run_until(sumo, 462)
    for report in injection.report():
        assert report.realised and report.start_s - report.asked.start_s <= 2
        assert report.end_s == pytest.approx(report.asked.end_s, abs=0.2)
        assert len(report.vehicles) == 3 or "stood apart, and traffic could pass" in report.reason


def test_vehicles_that_stand_apart_are_told_and_move_up_when_there_is_room(start, road):
    """On each lane somebody stands in the way for a while."""
    network = road(2)
    sumo = start("libsumo", network)
    sumo.route.add("long", ["middle"])
    sumo.vehicle.add("train", "long")
    sumo.vehicle.setLength("train", 170)
    sumo.vehicle.moveTo("train", "middle_0", 300)
    sumo.vehicle.setStop("train", "middle", 300, 0, 1e6)
    sumo.vehicle.add("wall", "long")
    sumo.vehicle.setLength("wall", 290)
    sumo.vehicle.moveTo("wall", "middle_1", 499)
    sumo.vehicle.setStop("wall", "middle", 499, 1, 1e6)
    asked = roads.incident(start_s=10, duration_s=60, lanes=(0, 1), capacity_left=0)
    with inject(sumo, roads.scenario(asked), network=network) as injection:
        roads.run_until(sumo, 20)
        (report,) = injection.report()
        assert report.realised and report.start_s == 12
        assert "its vehicles stand apart, on lane 0 at" in report.reason
        sumo.vehicle.remove("train")
        sumo.vehicle.remove("wall")
        roads.run_until(sumo, 24)
        (report,) = injection.report()
        positions = [sumo.vehicle.getLanePosition(v) for v in injection.own_present]
    assert max(positions) - min(positions) <= 1.5
    assert report.position_m == pytest.approx(sum(positions) / 2)
    assert "until 00:00:21 its vehicles stood apart" in report.reason


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("made_by", ["an option", "the default type"])
def test_where_every_car_is_a_taxi_ours_still_block_their_lanes(start, road, tmp_path, backend, made_by):
    """SUMO parks a taxi that idles, which blocks nothing."""
    options, routes = ("--device.taxi.probability", "1"), None
    if made_by == "the default type":
        options, routes = (), tmp_path / "types.rou.xml"
        parameter = '<param key="has.taxi.device" value="true"/>'
        routes.write_text(f'<routes><vType id="DEFAULT_VEHTYPE" vClass="passenger">{parameter}</vType></routes>')
    sumo = start(backend, road(2), routes, *options)
    with inject(sumo, roads.scenario(roads.incident(start_s=3, capacity_left=0.3)), network=road(2)) as injection:
        roads.run_until(sumo, 15)
        assert [(sumo.vehicle.getLaneID(v), sumo.vehicle.getStopState(v)) for v in injection.own_present] == [
            ("middle_0", 1)
        ]


def test_somebody_who_parks_our_vehicle_is_noticed(start, road):
    sumo = start("libsumo", road(2))
    with inject(sumo, roads.scenario(roads.incident(start_s=10, capacity_left=0.3)), network=road(2)) as injection:
        roads.run_until(sumo, 20)
        at_m = sumo.vehicle.getLanePosition("incident.0.0")
        sumo.vehicle.resume("incident.0.0")
        sumo.vehicle.setStop("incident.0.0", "middle", at_m, 0, 1e6, 1)
        roads.run_until(sumo, 40)
        (report,) = injection.report()
    assert report.end_s <= 31 and "parked" in report.reason
