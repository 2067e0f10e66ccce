"""What ``check`` finds out about a project, and what it refuses."""

from dataclasses import replace
from xml.etree.ElementTree import parse

import numpy as np
import pytest

from scenariogen.errors import ProjectError
from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.inspect import check_project
from scenariogen.simulation.project import open_project
from scenariogen.simulation.study import study_window
from scenariogen.simulation.sumo import SumoSimulator
from scenariogen.simulation.traffic import (
    cells,
    edge_green_share,
    edge_vehicle_km,
    green_shares,
    peak_flow_veh_h,
    read_vehicle_km,
)
from tests.simulation.small import PLAIN, cross, fingerprint, small_project, vehicle, window
from tests.support import copy_project, resco

pytestmark = pytest.mark.sumo


def test_a_sound_project(tmp_path):
    path = copy_project(resco("cologne1"), tmp_path)
    before = fingerprint(path.parent)
    project = open_project(path)
    done = []
    whole = study_window(project, horizon_s=900)
    report = check_project(project, window=whole, seeds=2, progress=lambda *counts: done.append(counts))
    assert fingerprint(path.parent) == before
    assert done == [(1, 2), (2, 2)]
    assert report.locked_up == report.warnings == ()
    report.require_sound()
    assert len({run.seed for run in report.runs}) == 2
    assert all(run.until_s is None and run.delay.delay_veh_h > 0 for run in report.runs)
    assert report.vehicles_in_window == pytest.approx(project.demand.vehicles(whole.begin_s, whole.end_s), rel=0.01)
    assert report.edges == tuple(sorted(report.edges, key=lambda edge: -edge.load))
    assert {"time-to-teleport", "begin"} <= {each.option for each in report.overrides}
    again = check_project(project, window=whole, seeds=2, jobs=2)
    assert [run.delay for run in again.runs] == [run.delay for run in report.runs]
    assert again.total_vehicle_km == report.total_vehicle_km


def test_a_project_that_locks_up_by_itself_is_refused_unless_allowed(tmp_path):
    stop = '<stop lane="bc_0" endPos="400" duration="9000"/>'
    routes = PLAIN + vehicle("stands", 0, inner=stop) + "".join(vehicle(f"v{i}", 1 + 3 * i) for i in range(900))
    report = check_project(small_project(tmp_path / "p", routes), window=window(2700, count_from_s=300), seeds=2)
    assert len(report.locked_up) == 2
    assert all(run.until_s is not None and run.until_s < 2700 for run in report.runs)
    assert "locks up by itself in 2 of 2 runs" in report.warnings[0]
    assert any("still wait to enter" in warning for warning in report.warnings)
    with pytest.raises(ProjectError, match=r"small locks up by itself.*pass --allow-lock-up"):
        report.require_sound()
    report.require_sound(allow_lock_up=True)


def test_a_project_whose_demand_does_not_fit_is_refused_too(tmp_path):
    # twice what one lane takes: it flows, but half of the vehicles never get in
    flow = '<flow id="{}" type="plain" begin="0" end="900" period="1" from="ab" to="cd"/>'
    project = small_project(tmp_path, PLAIN + flow.format("f") + flow.format("g"))
    report = check_project(project, window=window(900, count_from_s=300), seeds=1)
    assert report.locked_up == ()
    assert report.overloaded and 0.3 < report.waiting_share < 0.9
    with pytest.raises(ProjectError, match=r"small jams by itself.*of its vehicles never get in"):
        report.require_sound()
    report.require_sound(allow_lock_up=True)


def test_at_least_one_seed(tmp_path):
    project = small_project(tmp_path, PLAIN + vehicle("v", 0))
    with pytest.raises(ProjectError, match="seeds is 0"):
        check_project(project, seeds=0)


def test_vehicle_kilometres_are_the_routes_lengths(tmp_path):
    routes = PLAIN + '<flow id="f" type="plain" begin="0" end="1500" period="10" from="ab" to="cd"/>'
    project = small_project(tmp_path / "p", routes)
    whole = window(1750, count_from_s=300)
    found = edge_vehicle_km(project, whole, seed=1, folder=tmp_path / "run")
    assert set(found) == {"ab", "bc", "cd"}
    assert cells(whole) == 6
    assert all(row.shape == (6,) for row in found.values())
    length_km = {edge: project.network().edges[edge].length_m / 1000 for edge in found}
    for edge, row in found.items():
        assert row.sum() == pytest.approx(150 * length_km[edge])
    # a vehicle every ten seconds is 360 an hour
    flows = peak_flow_veh_h(project.network(), found)
    assert flows["bc"] == pytest.approx(360, rel=0.05)


def test_vehicle_kilometres_agree_with_sumos_trips(tmp_path):
    project = open_project(resco("cologne1"))
    whole = study_window(project, horizon_s=600)
    request = RunRequest(
        window=whole,
        seed=1,
        folder=tmp_path,
        edge_data_period_s=300.0,
        outputs={"tripinfo-output": "trips.xml"},
        options={"tripinfo-output.write-unfinished": "true"},
    )
    with SumoSimulator(project).open(request) as run:
        while run.time_s < whole.end_s:
            run.step()
    driven = sum(float(trip.get("routeLength", "")) for trip in parse(tmp_path / "trips.xml").iter("tripinfo")) / 1000
    on_edges = sum(row.sum() for row in read_vehicle_km(tmp_path, project.network(), whole).values())
    assert 0.7 * driven < on_edges < driven  # the rest is driven inside junctions


def test_green_shares_are_those_of_the_programme(tmp_path):
    project = small_project(tmp_path / "p", PLAIN + vehicle("v", 0, "in[0]#1 out"), net=cross())
    with SumoSimulator(project).open(RunRequest(window=window(60), seed=1, folder=tmp_path / "run")) as run:
        shares = green_shares(run.control_room.signals)
        (light,) = run.control_room.signals.values()
    cycle_s = sum(duration for _, duration in light.phases)
    position = next(i for i, pairs in enumerate(light.links) if pairs[0][0] == "sm_0")
    green_s = sum(duration for state, duration in light.phases if state[position] in "Gg")
    assert shares["sm_0"] == pytest.approx(green_s / cycle_s)
    assert 0.2 < shares["sm_0"] < 0.8
    edges = project.network().edges
    assert edge_green_share(edges["sm"], shares) == shares["sm_0"]
    assert edge_green_share(edges["mn"], shares) == 1


def test_where_one_blocked_lane_matters(tmp_path):
    # 900 veh/h on two lanes of a street before a signal, then on two open ones: one blocked lane leaves the other
    flow = '<flow id="f" type="plain" begin="0" end="900" period="4" from="in[0]#1" to="out" departLane="best"/>'
    project = small_project(tmp_path / "p", PLAIN + flow, net=cross())
    report = check_project(project, window=window(900, count_from_s=300), seeds=1)
    found = {edge.edge: edge for edge in report.edges}
    assert found["out"].lanes == 2
    assert found["out"].capacity_left_veh_h == pytest.approx(1800)
    assert found["in[0]#1"].capacity_left_veh_h < found["out"].capacity_left_veh_h
    assert [edge.edge for edge in report.edges_that_matter] == ["in[0]#1"]
    assert any("1,800 veh/h" in line for line in report.assumptions)


def test_a_closed_edge_has_an_infinite_load():
    from scenariogen.simulation.inspect import EdgeReserve

    shut = EdgeReserve(edge="e", lanes=2, flow_veh_h=10, capacity_veh_h=0, capacity_left_veh_h=0)
    assert shut.load == np.inf
    assert replace(shut, capacity_left_veh_h=5).load == 2
