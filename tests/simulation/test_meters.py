"""Ramp meters: what they let pass, with a signal of their own and without, and that nothing of them is left."""

import pytest

from scenariogen.errors import PolicyError
from scenariogen.network import read_network
from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.onramps import on_ramps
from scenariogen.simulation.sumo import SumoSimulator
from tests.simulation.motorway import CAR, STEPS, flow, motorway, motorway_project
from tests.simulation.small import cross, small_project, window

pytestmark = pytest.mark.sumo
KINDS = {True: "ramp", False: "slip"}
"""With a signal the stop line is at its edge's end; without one, at the end of the ramp."""


@pytest.fixture(scope="module", params=[True, False], ids=["signal", "stop line"])
def crowded(request, tmp_path_factory):
    """A project whose ramp carries more than any rate asked here, and the edge of its meter."""
    folder = tmp_path_factory.mktemp("crowded")
    project = motorway_project(folder, signal=request.param, through_veh_h=1500, ramp_veh_h=1400, end_s=900.0)
    return project, KINDS[request.param]


def opened(project, tmp_path, backend="libsumo"):
    return SumoSimulator(project, backend=backend).open(RunRequest(window=window(900.0), seed=1, folder=tmp_path / "r"))


def drive(run, until_s, each=lambda: None):
    while run.time_s < until_s:
        run.step()
        each()


@pytest.mark.parametrize("rate", [300.0, 600.0, 900.0])
def test_the_rate_is_met_within_five_percent_while_a_queue_stands(crowded, tmp_path, rate):
    project, edge = crowded
    with opened(project, tmp_path) as run:
        meter = run.control_room.meters[edge]
        drive(run, 60)
        meter.set_rate(rate)
        drive(run, 260)
        assert meter.queue > 5
        before = meter.passed
        drive(run, 860)
        assert (meter.passed - before) * 6 == pytest.approx(rate, rel=0.05)
        assert meter.queue > 5
        counters = run.counters()
        assert (counters.teleports, counters.collisions, counters.emergency_stops) == (0, 0, 0)


def test_a_short_slip_road_is_metered_too(tmp_path):
    """Vehicles need more metres to brake than its last edge has: they are told on the edge before it."""
    project = motorway_project(
        tmp_path / "p", signal=False, through_veh_h=1000, ramp_veh_h=1200, end_s=500.0, slip_m=70.0
    )
    with opened(project, tmp_path) as run:
        meter = run.control_room.meters["slip"]
        assert project.network().edges["slip"].length_m < 90
        meter.set_rate(500.0)
        drive(run, 140)
        before = meter.passed
        drive(run, 500)
        assert (meter.passed - before) * 10 == pytest.approx(500, rel=0.05)
        assert run.counters().emergency_stops == 0


def test_vehicles_that_jump_a_stub_of_a_slip_road_are_counted(tmp_path):
    """Maps cut the last metres off: at 22 m/s few vehicles are ever seen on an edge of five metres."""
    routes = CAR + flow("ramp", "ramp slip m2 m3", 800, 500.0).replace('departSpeed="last"', 'departSpeed="max"')
    net = motorway(signal=False, slip_m=8.0)
    project = small_project(tmp_path / "p", routes, net=net, options=STEPS.format(end_s=500))
    assert project.network().edges["slip"].length_m < 22.22 / 2
    with opened(project, tmp_path) as run:
        meter = run.control_room.meters["slip"]
        drive(run, 100)
        before = meter.passed
        drive(run, 400)
        assert (meter.passed - before) * 12 == pytest.approx(800, rel=0.05)


def test_a_stop_after_the_ramp_does_not_let_pass(tmp_path):
    flows = flow("ramp", "ramp slip m2 m3", 800, 600.0).replace(
        '<route edges="ramp slip m2 m3"/>',
        '<route edges="ramp slip m2 m3"><stop lane="m3_0" endPos="500" duration="5" parking="true"/></route>',
    )
    project = small_project(tmp_path / "p", CAR + flows, net=motorway(signal=False), options=STEPS.format(end_s=600))
    with opened(project, tmp_path) as run:
        meter = run.control_room.meters["slip"]
        meter.set_rate(400.0)
        drive(run, 200)
        before = meter.passed
        drive(run, 560)
        assert (meter.passed - before) * 10 == pytest.approx(400, rel=0.05)
        assert run.control_room.meters["slip"].queue > 5


def test_over_a_socket_it_lets_pass_the_same(crowded, tmp_path):
    project, edge = crowded
    passed = []
    for backend in ("libsumo", "traci"):
        with opened(project, tmp_path / backend, backend) as run:
            meter = run.control_room.meters[edge]
            meter.set_rate(500.0)
            drive(run, 240)
            passed.append((meter.passed, meter.queue, run.running()))
    assert passed[0] == passed[1]


def test_the_queue_is_as_old_as_the_lag(crowded, tmp_path):
    project, edge = crowded
    with opened(project, tmp_path) as run:
        meter = run.control_room.meters[edge]
        meter.set_rate(240.0)
        seen, here = {}, {}
        storage = ("slip", "ramp") if edge == "slip" else ("ramp",)

        def look():
            seen[run.time_s] = meter.queue
            here[run.time_s] = sum(map(run.connection.edge.getLastStepVehicleNumber, storage))

        drive(run, 100, look)
        # counted once a second from the first step of half a second on
        assert [seen[time_s + 10.5] for time_s in range(10, 90)] == [here[time_s + 0.5] for time_s in range(10, 90)]
        assert len(set(seen.values())) > 3


def test_switched_off_nothing_is_left(crowded, tmp_path):
    project, edge = crowded
    with opened(project, tmp_path) as run:
        room, link = run.control_room, run.connection
        programmes = {name: link.trafficlight.getProgram(name) for name in link.trafficlight.getIDList()}
        with room:
            meter = room.meters[edge]
            meter.set_rate(240.0)
            drive(run, 200)
            held = meter.queue
            assert meter.rate_veh_h == 240.0 and held > 5
        assert meter.rate_veh_h is None
        room.give_back()
        assert {name: link.trafficlight.getProgram(name) for name in programmes} == programmes
        assert not any(link.vehicle.getStops(vehicle) for vehicle in link.vehicle.getIDList())
        before = meter.passed
        drive(run, 320)
        assert (meter.passed - before) * 30 > 900, "the queue drives off"


def test_a_vehicle_with_a_stop_of_its_own_on_the_ramp_is_left_alone(tmp_path):
    project = motorway_project(tmp_path / "p", signal=False, through_veh_h=0, ramp_veh_h=60, end_s=300.0)
    with opened(project, tmp_path) as run:
        meter = run.control_room.meters["slip"]
        meter.set_rate(60.0)
        drive(run, 1)
        (vehicle,) = run.running_ids()
        run.connection.vehicle.setStop(vehicle, "slip", 100.0, 0, 60.0)
        drive(run, 40)
        assert len(run.connection.vehicle.getStops(vehicle)) == 1
        meter.clear()
        assert len(run.connection.vehicle.getStops(vehicle)) == 1


def test_nobody_waits_where_fewer_come_than_may_pass(tmp_path):
    times = []
    for rate in (None, 900.0):
        project = motorway_project(tmp_path / f"p{rate}", signal=False, through_veh_h=0, ramp_veh_h=200, end_s=300.0)
        with opened(project, tmp_path / f"r{rate}") as run:
            if rate:
                run.control_room.meters["slip"].set_rate(rate)
            drive(run, 300)
            times.append(run.counters().left)
    assert times[0] == times[1] > 5


def test_wrong_rates_and_wrong_edges_are_the_policys_fault(crowded, tmp_path):
    project, edge = crowded
    with opened(project, tmp_path) as run:
        for rate in (0.0, -5.0, float("nan"), float("inf")):
            with pytest.raises(PolicyError, match="veh/h"):
                run.control_room.meters[edge].set_rate(rate)
        with pytest.raises(PolicyError, match="no on-ramp ends at edge 'm1'"):
            run.control_room.meters["m1"]


def test_on_ramps_are_found_with_their_storage_and_loops(tmp_path):
    for signal, edge in KINDS.items():
        path = tmp_path / f"{edge}.net.xml"
        path.write_text(motorway(signal=signal))
        (ramp,) = on_ramps(read_network(path)).values()
        assert (ramp.edge, ramp.joins, bool(ramp.signal)) == (edge, "m2", signal)
        assert ramp.storage == (("ramp",) if signal else ("slip", "ramp"))
        assert {loop.lane for loop in ramp.loops} == {"m2_1", "m2_2", "m2_3"}, "not the acceleration lane"
        assert ramp.storage_vehicles == int(ramp.storage_m / 7.5) > 40
    path.write_text(cross())
    assert on_ramps(read_network(path)) == {}


def test_the_corridor_has_two_and_knows_which_is_upstream():
    import scenariogen

    ramps = on_ramps(scenariogen.open_project(scenariogen.find_network("corridor")).network())
    assert {edge: (ramp.signal, ramp.upstream) for edge, ramp in ramps.items()} == {
        "on1_a": ("meter1", ()),
        "on2_a": ("meter2", ("on1_a",)),
    }
