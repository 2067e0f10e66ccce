"""Every vehicle of a run is accounted for, whatever becomes of it."""

from dataclasses import replace

import pytest

from scenariogen.injection import inject
from scenariogen.scenarios.byhand import one_incident
from scenariogen.simulation.balance import MassBalance, mass_balance
from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.dummy import DummyEdge, DummyProject, DummySimulator
from scenariogen.simulation.health import HealthWatch
from scenariogen.simulation.measures import DelayMeter
from scenariogen.simulation.project import open_project
from scenariogen.simulation.study import study_window
from scenariogen.simulation.sumo import SumoSimulator
from tests.simulation.small import PLAIN, small_project, vehicle, window
from tests.support import resco

WHOLE = MassBalance(
    time_s=60.0, loaded=20, inserted=12, waiting=3, not_due=4, discarded=1, running=5, arrived=4, removed=2, seen=20,
    entered=12, own_inserted=2, own_running=1,
)  # fmt: skip


def test_an_account_that_adds_up_has_no_gap():
    assert WHOLE.gaps() == ()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("waiting", "loaded 20 is not inserted"),
        ("discarded", "loaded 20 is not inserted"),
        ("running", "inserted 12 is not arrived"),
        ("removed", "inserted 12 is not arrived"),
        ("seen", "step by step"),
        ("entered", "step by step"),
    ],
)
def test_a_vehicle_more_or_less_is_told(name, said):
    for change in (-1, 1):
        told = replace(WHOLE, **{name: getattr(WHOLE, name) + change}).gaps()
        assert any(said in text and text.startswith("second 60") for text in told)


def test_own_vehicles_cannot_be_more_than_entered():
    assert replace(WHOLE, own_inserted=13, own_running=12, running=5).gaps()


def watched(project, folder, *, end_s, backend="libsumo", each=None, own=None):
    """A run with its account: the last balance right after a step, and the watch's health."""
    request = RunRequest(window=window(end_s), seed=1, folder=folder)
    with SumoSimulator(project, backend=backend).open(request) as run:
        meter = DelayMeter(run)
        watch = HealthWatch(run, meter=meter)
        while run.time_s < end_s:
            run.step()
            meter.update()
            watch.update()
            balance = mass_balance(run, meter)
            if each:
                each(run)
        return balance, watch.health()


BACKENDS = pytest.mark.parametrize("backend", ["libsumo", "traci"])


@pytest.mark.sumo
@BACKENDS
def test_arrived_running_waiting_and_not_yet_due(tmp_path, backend):
    routes = PLAIN + "".join(vehicle(f"v{n}", depart) for n, depart in enumerate([0, 0, 100, 290, 290, 290, 400]))
    balance, health = watched(small_project(tmp_path / "p", routes), tmp_path / "run", end_s=292, backend=backend)
    assert (balance.loaded, balance.arrived, balance.running, balance.waiting, balance.not_due) == (7, 3, 1, 2, 1)
    assert (balance.discarded, balance.removed, balance.gaps()) == (0, 0, ())
    assert health.balance_checks == 4 and health.balance_broken == ""


@pytest.mark.sumo
@BACKENDS
def test_who_is_dropped_before_entering_is_discarded(tmp_path, backend):
    routes = PLAIN + "".join(vehicle(f"v{n}", 0) for n in range(12))

    def each(run):
        if run.time_s == 5:
            for name in run.waiting_ids()[-3:]:
                run.connection.vehicle.remove(name, 3)

    balance, health = watched(
        small_project(tmp_path / "p", routes), tmp_path / "run", end_s=60, backend=backend, each=each
    )
    assert (balance.loaded, balance.inserted, balance.discarded, balance.waiting) == (12, 9, 3, 0)
    assert balance.gaps() == () and health.balance.discarded == 3 and health.balance_broken == ""


@pytest.mark.sumo
@BACKENDS
def test_who_is_removed_by_somebody_has_not_arrived(tmp_path, backend):
    routes = PLAIN + "".join(vehicle(f"v{n}", 10 * n) for n in range(6))

    def each(run):
        if run.time_s == 50:
            for name in ("v1", "v3"):
                run.connection.vehicle.remove(name, 3)

    balance, health = watched(
        small_project(tmp_path / "p", routes), tmp_path / "run", end_s=180, backend=backend, each=each
    )
    assert (balance.arrived, balance.removed, balance.running) == (4, 2, 0)
    assert balance.gaps() == () and health.balance_broken == ""


@pytest.mark.sumo
@BACKENDS
def test_who_is_added_by_somebody_is_accounted_for_while_waiting_too(tmp_path, backend):
    routes = PLAIN + "".join(vehicle(f"v{n}", 0) for n in range(12))
    gaps = []

    def each(run):
        if run.time_s == 3:
            run.connection.route.add("whole", ["ab", "bc", "cd"])
            for number in range(4):
                run.connection.vehicle.add(f"extra{number}", "whole", "plain")
        gaps.extend(mass_balance_of(run))

    request = RunRequest(window=window(40), seed=1, folder=tmp_path / "run")
    project = small_project(tmp_path / "p", routes)
    with SumoSimulator(project, backend=backend).open(request) as run:
        meter = DelayMeter(run)

        def mass_balance_of(run):
            return mass_balance(run, meter).gaps() if run.time_s != 3 else ()  # right after a step only

        while run.time_s < 40:
            run.step()
            meter.update()
            each(run)
        last = mass_balance(run, meter)
    assert gaps == [] and (last.loaded, last.inserted) == (16, 16)


@pytest.mark.sumo
@BACKENDS
def test_incidents_on_a_real_network_have_an_account_of_their_own(tmp_path, backend):
    project = open_project(resco("cologne1"))
    whole = study_window(project)
    network = project.network()
    edge = max((e for e in network.edges.values() if len(e.driving_lanes) >= 2), key=lambda e: e.length_m)
    start_s = whole.count_from_s + 60
    batch = one_incident(network, whole, edge=edge.id, start_s=start_s, duration_s=400, lanes=(edge.driving_lanes[0],))
    assert batch.scenarios[0].condition.clock_s == 0.0, "its start is a time of day: SUMO's second 0 is midnight"
    request = RunRequest(window=whole, seed=1, folder=tmp_path / "run")
    (tmp_path / "run").mkdir()
    with SumoSimulator(project, backend=backend, project_outputs=False).open(request) as run:
        meter = DelayMeter(run)
        with inject(run.connection, batch.scenarios[0], network=network) as injection:
            watch = HealthWatch(run, meter=meter, own=lambda: (injection.own_vehicles, injection.own_present))
            standing = None
            while run.time_s < start_s + 800:
                run.step()
                meter.update()
                watch.update()
                if run.time_s == start_s + 200:
                    standing = mass_balance(
                        run, meter, own_ever=injection.own_vehicles, own_present=injection.own_present
                    )
            health = watch.health()
    assert standing.own_running == standing.own_inserted == 2
    assert health.balance.own_running == 0 and health.balance.own_inserted == 2
    assert health.balance.arrived > 100 and health.balance.removed == 0
    assert health.balance_checks >= 14 and health.balance_broken == ""


def test_the_dummy_keeps_its_account(tmp_path):
    project = DummyProject(edges=(DummyEdge(id="a"), DummyEdge(id="b")), vehicles_per_hour=900, room=20)
    with DummySimulator(project).open(RunRequest(window=window(1200), seed=1, folder=tmp_path)) as run:
        run.block("b", start_s=300, end_s=900, capacity_left=0.0)
        meter = DelayMeter(run)
        watch = HealthWatch(run, meter=meter)
        while run.time_s < 1200:
            run.step()
            meter.update()
            watch.update()
        health = watch.health()
    assert health.balance.waiting == 0 or health.balance.running == 20
    assert health.balance_checks == 20 and health.balance_broken == ""
    assert health.stuck_share_most == 1.0


def test_a_broken_account_is_trouble_for_the_estimates():
    from scenariogen.evaluation.records import RunResult
    from scenariogen.simulation.contract import EndReason

    run = RunResult(
        key="k", scenario=0, policy="p", replica=0, seed=1, end_reason=EndReason.HORIZON, system_delay_veh_h=1.0
    )
    broken = replace(run, balance_broken="second 60: loaded 3 is not ...")
    assert (run.trouble, run.valid_delay_veh_h) == ("", 1.0)
    assert (broken.trouble, broken.valid_delay_veh_h) == ("vehicles not accounted for", None)
