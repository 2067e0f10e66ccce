"""System delay against closed forms and against SUMO's own bookkeeping."""

from itertools import pairwise
from xml.etree.ElementTree import parse

import pytest

from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.measures import DelayMeter
from scenariogen.simulation.project import open_project
from scenariogen.simulation.study import study_window
from scenariogen.simulation.sumo import SumoSimulator
from tests.simulation.small import PLAIN, small_project, vehicle, window
from tests.support import resco

pytestmark = pytest.mark.sumo
ALONE_S = 1495 / 13.89
"""The three edges in a row, less the vehicle's length, at the limit."""


def measure(project, folder, *, end_s=600.0, count_from_s=0.0, before=None, each=None, **request):
    """Run a project with a meter; ``before(connection)`` once, ``each(run)`` after every step."""
    whole = request.pop("window", window(end_s, count_from_s=count_from_s))
    with SumoSimulator(project).open(RunRequest(window=whole, seed=1, folder=folder, **request)) as run:
        meter = DelayMeter(run)
        if before:
            before(run.connection)
        while run.time_s < whole.end_s:
            run.step()
            if each:
                each(run)
            meter.update()
        return meter.result()


def test_a_vehicle_alone_has_no_delay(tmp_path):
    result = measure(small_project(tmp_path / "p", PLAIN + vehicle("v", 0)), tmp_path / "run")
    assert result.free_flow_veh_h * 3600 == pytest.approx(ALONE_S, abs=0.5)
    assert result.delay_veh_h * 3600 == pytest.approx(0, abs=1.0)  # SUMO moves in whole seconds
    assert (result.due, result.arrived, result.inserted, result.discarded) == (1, 1, 1, 0)


def test_ordinary_drivers_alone_have_next_to_none(tmp_path):
    # default drivers dawdle and wish for different speeds; far apart, only rounding is left on average
    routes = "".join(f'<vehicle id="v{i}" depart="{150 * i}"><route edges="ab bc cd"/></vehicle>' for i in range(30))
    result = measure(small_project(tmp_path / "p", routes), tmp_path / "run", end_s=4800)
    assert result.arrived == 30
    assert abs(result.delay_veh_h) < 0.02 * result.free_flow_veh_h


@pytest.mark.parametrize("step_s", [1.0, 0.5, 0.1])
def test_departures_between_steps_and_other_step_lengths(tmp_path, step_s):
    options = f'<step-length value="{step_s}"/>'
    routes = PLAIN + vehicle("v", 0.73) + vehicle("w", 200.05)
    result = measure(small_project(tmp_path / "p", routes, options=options), tmp_path / "run")
    assert result.time_veh_h * 3600 == pytest.approx(2 * ALONE_S, abs=2.0)
    assert result.delay_veh_h * 3600 == pytest.approx(0, abs=2.0)


def test_a_lower_limit_shows_up_in_full(tmp_path):
    project = small_project(tmp_path / "p", PLAIN + vehicle("v", 0))
    result = measure(
        project,
        tmp_path / "run",
        before=lambda connection: connection.lane.setMaxSpeed("bc_0", 3.0),
        outputs={"tripinfo-output": "trips.xml"},
    )
    slower_s = 500 / 3.0 - 500 / 13.89
    assert result.delay_veh_h * 3600 == pytest.approx(slower_s, rel=0.05)
    trip = next(parse(tmp_path / "run" / "trips.xml").iter("tripinfo"))
    assert float(trip.get("timeLoss", "")) < 0.2 * slower_s  # SUMO's own figure hides it


def test_a_detour_shows_up_in_full(tmp_path):
    project = small_project(tmp_path / "p", PLAIN + vehicle("v", 0))
    around = ["ab", "bu", "ud", "dc", "cd"]
    result = measure(
        project, tmp_path / "run", each=lambda run: run.time_s == 5 and run.connection.vehicle.setRoute("v", around)
    )
    free_flow = project.free_flow()

    def length_m(route):
        turns = sum(free_flow.turns[pair].length_m for pair in pairwise(route))
        return sum(free_flow.length_m[edge] for edge in route) + turns

    longer_s = (length_m(around) - length_m(["ab", "bc", "cd"])) / 13.89
    assert longer_s > 4
    # the corners of the detour are driven slower than the straight road, so the delay is at least its length
    assert longer_s - 1 < result.delay_veh_h * 3600 < longer_s + 25
    assert result.free_flow_veh_h * 3600 == pytest.approx(ALONE_S, abs=0.5)


def test_trips_are_measured_against_their_original_way(tmp_path):
    trip = '<trip id="t" type="plain" depart="{}" from="ab" to="cd"/>'
    free = measure(small_project(tmp_path / "a", PLAIN + trip.format(30)), tmp_path / "free")
    assert free.free_flow_veh_h * 3600 == pytest.approx(ALONE_S, abs=0.5)
    # with the straight road slowed down before it departs, the trip takes the detour: that is delay
    slow = measure(
        small_project(tmp_path / "b", PLAIN + trip.format(30)),
        tmp_path / "slow",
        before=lambda connection: connection.edge.setMaxSpeed("bc", 0.5),
    )
    assert slow.arrived == 1
    assert slow.free_flow_veh_h == pytest.approx(free.free_flow_veh_h)
    assert slow.delay_veh_h * 3600 > 10


def test_planned_stops_are_no_delay(tmp_path):
    stops = '<stop lane="ab_0" endPos="250" duration="40"/><stop lane="cd_0" endPos="250" duration="5" until="300"/>'
    result = measure(small_project(tmp_path / "p", PLAIN + vehicle("bus", 0, inner=stops)), tmp_path / "run")
    assert result.free_flow_veh_h * 3600 > 300
    assert result.delay_veh_h * 3600 == pytest.approx(0, abs=4.0)


def test_vehicles_that_cannot_enter_count_until_the_end(tmp_path):
    closed = "".join(vehicle(f"v{i}", 100) for i in range(5))
    result = measure(
        small_project(tmp_path / "p", PLAIN + closed),
        tmp_path / "run",
        count_from_s=200.0,
        each=lambda run: run.time_s == 1 and _park_at_the_entry(run.connection),
    )
    assert result.waiting_at_end == 5
    assert result.inserted == 1
    # five vehicles wait and the wall stands for the 400 s that are counted; free flow ends at 208 s
    assert result.time_veh_h * 3600 == pytest.approx(6 * 400, abs=1)
    assert result.delay_veh_h * 3600 == pytest.approx(6 * 400 - 5 * (100 + ALONE_S - 200), abs=10)


def _park_at_the_entry(connection) -> None:
    connection.route.add("short", ["ab"])
    connection.vehicle.add("wall", "short", "plain", "now", "0", "0", "0")
    connection.vehicle.setSpeed("wall", 0.0)


def test_removed_vehicles_count_until_the_end_and_are_reported(tmp_path):
    project = small_project(tmp_path / "p", PLAIN + vehicle("v", 0) + vehicle("w", 20))
    result = measure(
        project, tmp_path / "run", each=lambda run: run.time_s == 50 and run.connection.vehicle.remove("v")
    )
    assert (result.arrived, result.discarded, result.running_at_end, result.waiting_at_end) == (1, 1, 0, 0)
    assert result.time_veh_h * 3600 == pytest.approx(600 + ALONE_S, abs=2)


def test_what_the_project_itself_takes_off_the_road_counts_as_dropped(tmp_path):
    vanish = '<vaporizer id="bc" begin="0" end="600"/>'
    project = small_project(tmp_path / "p", PLAIN + vehicle("v", 0), additional=vanish)
    result = measure(project, tmp_path / "run")
    assert (result.due, result.arrived, result.discarded) == (1, 0, 1)
    assert result.time_veh_h * 3600 == pytest.approx(600)


def test_a_vehicle_that_waits_for_a_passenger_is_due_when_it_sets_out(tmp_path):
    routes = (
        PLAIN
        + vehicle("first", 0)
        + '<vehicle id="cab" type="plain" depart="triggered"><route edges="ab bc cd"/></vehicle>'
        + '<person id="p" depart="200"><ride from="ab" to="cd" lines="cab"/></person>'
    )
    result = measure(small_project(tmp_path / "p", routes), tmp_path / "run")
    assert (result.due, result.arrived) == (2, 2)
    assert result.time_veh_h * 3600 == pytest.approx(2 * ALONE_S, abs=4)


def test_each_contribution_is_cut_to_the_window(tmp_path):
    project = small_project(tmp_path / "p", PLAIN + vehicle("before", 0) + vehicle("across", 550))
    result = measure(project, tmp_path / "run", count_from_s=60.0)
    assert result.time_veh_h * 3600 == pytest.approx((ALONE_S - 60) + 50, abs=1.5)
    assert result.delay_veh_h * 3600 == pytest.approx(0, abs=1.5)
    assert (result.due, result.running_at_end) == (2, 1)


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.7])
def test_agreement_with_sumo_on_a_real_network(tmp_path, scale):
    project = open_project(resco("cologne1"))
    whole = study_window(project, horizon_s=1200)
    result = measure(
        project,
        tmp_path / "run",
        window=whole,
        demand_scale=scale,
        outputs={"summary-output": "summary.xml", "tripinfo-output": "trips.xml"},
        options={"tripinfo-output.write-unfinished": "true", "tripinfo-output.write-undeparted": "true"},
    )
    steps = [
        step for step in parse(tmp_path / "run" / "summary.xml").iter("step")
        if whole.count_from_s <= float(step.get("time", "")) < whole.end_s
    ]  # fmt: skip
    integral = sum(int(step.get("running", "")) + int(step.get("waiting", "")) for step in steps)
    assert result.time_veh_h * 3600 == pytest.approx(integral)
    trips = list(parse(tmp_path / "run" / "trips.xml").iter("tripinfo"))
    assert result.arrived == sum(float(trip.get("arrival", "")) >= 0 for trip in trips)
    assert result.running_at_end == int(steps[-1].get("running", ""))
    assert result.waiting_at_end == int(steps[-1].get("waiting", ""))
    assert 0 < result.free_flow_veh_h < result.time_veh_h


def test_vehicles_before_the_begin_are_not_counted(tmp_path):
    project = open_project(resco("cologne3"))  # its demand sets out half an hour before its begin
    whole = study_window(project, horizon_s=300)
    result = measure(project, tmp_path / "run", window=whole)
    assert result.due == pytest.approx(project.demand.vehicles(whole.begin_s, whole.end_s - 1))


def test_classes_of_vehicles_share_the_delay_and_add_up(tmp_path):
    """A bus and a car held up for 60 s each, another car not: the delay is the bus's and the first car's."""
    types = '<vType id="plain" vClass="passenger" sigma="0" speedDev="0"/><vType id="bus" vClass="bus" sigma="0"/>'
    ways = "".join(
        f'<vehicle id="{name}" type="{kind}" depart="{depart}"><route edges="ab bc cd"/></vehicle>'
        for name, kind, depart in (("b", "bus", 0), ("c", "plain", 100), ("d", "plain", 300))
    )

    def hold(run):
        for name in ("b", "c"):
            if name in run.running_ids():
                at_s = 10 if name == "b" else 110
                if run.time_s == at_s:
                    run.connection.vehicle.slowDown(name, 0.0, 0.0)
                    run.connection.vehicle.setSpeed(name, 0.0)
                if run.time_s == at_s + 60:
                    run.connection.vehicle.setSpeed(name, -1)

    result = measure(small_project(tmp_path / "p", types + ways), tmp_path / "run", each=hold)
    assert set(result.delay_by_class) == {"bus", "passenger"}
    assert sum(result.delay_by_class.values()) == pytest.approx(result.delay_veh_h)
    for name in ("bus", "passenger"):
        assert result.delay_by_class[name] * 3600 == pytest.approx(60, abs=15)
