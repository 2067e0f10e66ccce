"""When a network counts as locked up, and when it does not."""

import pytest

from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.dummy import DummyEdge, DummyProject, DummySimulator
from scenariogen.simulation.health import HealthWatch
from scenariogen.simulation.project import open_project
from scenariogen.simulation.study import study_window
from scenariogen.simulation.sumo import SumoSimulator
from tests.simulation.small import PLAIN, small_project, vehicle, window
from tests.support import resco

CHAIN = DummyProject(edges=(DummyEdge(id="a"), DummyEdge(id="b")), vehicles_per_hour=900)


def watch_dummy(tmp_path, *blocks, project=CHAIN, end_s=3600.0):
    request = RunRequest(window=window(end_s), seed=1, folder=tmp_path)
    with DummySimulator(project).open(request) as run:
        for edge, start_s, stop_s, left in blocks:
            run.block(edge, start_s=start_s, end_s=stop_s, capacity_left=left)
        watch = HealthWatch(run)
        while run.time_s < end_s:
            run.step()
            watch.update()
        return watch.health()


def test_flowing_traffic_is_not_locked_up(tmp_path):
    health = watch_dummy(tmp_path)
    assert not health.locked_up
    assert health.backlog_most == health.backlog_at_end == 0


def test_a_full_closure_locks_up_and_the_time_is_said(tmp_path):
    health = watch_dummy(tmp_path, ("b", 600, 3600, 0.0), project=DummyProject(edges=CHAIN.edges, room=60))
    assert health.locked_up
    # 60 vehicles at 900 an hour fill the network within 4 min; from then on for ten minutes nobody moves
    assert 600 <= health.locked_up_since_s <= 600 + 240 + 120
    assert health.backlog_at_end == health.backlog_most > 500


def test_a_shorter_closure_does_not(tmp_path):
    project = DummyProject(edges=CHAIN.edges, room=60)
    assert not watch_dummy(tmp_path, ("b", 600, 1300, 0.0), project=project).locked_up


def test_crawling_is_not_standing(tmp_path):
    project = DummyProject(edges=CHAIN.edges, room=60)
    assert not watch_dummy(tmp_path, ("b", 600, 3600, 0.05), project=project).locked_up


def test_a_few_vehicles_are_a_queue_not_a_network(tmp_path):
    project = DummyProject(edges=CHAIN.edges, vehicles_per_hour=900, room=15)
    assert not watch_dummy(tmp_path, ("b", 600, 3600, 0.0), project=project).locked_up


@pytest.mark.sumo
@pytest.mark.parametrize("backend", ["libsumo", "traci"])
def test_a_sumo_network_that_locks_up(tmp_path, backend):
    stop = '<stop lane="bc_0" endPos="400" duration="9000"/>'
    routes = PLAIN + vehicle("stands", 0, inner=stop) + "".join(vehicle(f"v{i}", 1 + 3 * i) for i in range(150))
    project = small_project(tmp_path / "p", routes)
    with SumoSimulator(project, backend=backend).open(
        RunRequest(window=window(2000), seed=1, folder=tmp_path / "run")
    ) as run:
        watch = HealthWatch(run)
        while run.time_s < 2000 and not watch.locked_up_since_s:
            run.step()
            watch.update()
        health = watch.health()
    # the queue fills the 900 m behind the stopped vehicle (some 120 vehicles, one every 3 s) and stands
    assert 360 <= health.locked_up_since_s <= 660
    assert health.backlog_at_end > 10
    assert health.teleports == 0


@pytest.mark.sumo
def test_a_queue_on_one_road_is_no_lock_up_while_others_drive(tmp_path):
    stop = '<stop lane="bc_0" endPos="400" duration="9000"/>'
    others = '<flow id="others" type="plain" begin="0" end="2000" period="2" from="bu" to="cd"/>'
    queue = vehicle("stands", 0, inner=stop) + "".join(vehicle(f"v{i}", 1 + i) for i in range(25))
    routes = PLAIN + others + queue
    project = small_project(tmp_path / "p", routes)
    with SumoSimulator(project).open(RunRequest(window=window(2000), seed=1, folder=tmp_path / "run")) as run:
        watch = HealthWatch(run)
        while run.time_s < 2000:
            run.step()
            watch.update()
        assert run.running() > 26
        health = watch.health()
    assert not health.locked_up


@pytest.mark.sumo
@pytest.mark.slow
def test_a_motorway_interchange_that_locks_up_by_itself(tmp_path):
    from scenariogen.simulation.catalog import find_network

    project = open_project(find_network("a10kw"))
    whole = study_window(project)
    with SumoSimulator(project).open(RunRequest(window=whole, seed=1, folder=tmp_path)) as run:
        watch = HealthWatch(run)
        while run.time_s < whole.end_s and not watch.locked_up_since_s:
            run.step()
            watch.update()
    assert watch.locked_up_since_s is not None


@pytest.mark.sumo
def test_watching_a_real_network(tmp_path):
    project = open_project(resco("cologne1"))
    whole = study_window(project, horizon_s=600)
    with SumoSimulator(project).open(RunRequest(window=whole, seed=1, folder=tmp_path)) as run:
        watch = HealthWatch(run)
        while run.time_s < whole.end_s:
            run.step()
            watch.update()
        health = watch.health()
    assert (health.locked_up, health.teleports, health.collisions) == (False, 0, 0)
