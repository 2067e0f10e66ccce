"""The traps of step listeners, each of which lost incidents somewhere."""

import subprocess
import sys

import pytest

from scenariogen.errors import ConnectionLostError, SimulationError
from scenariogen.injection import inject
from scenariogen.injection.listener import Clock
from tests.injection import roads

pytestmark = pytest.mark.sumo
BACKENDS = ("libsumo", "traci")


def test_the_clock_follows_the_arguments_of_simulation_step():
    clock = Clock(100.0, 0.5)
    clock.advance(0)
    assert clock.now_s == 100.5
    clock.advance(110)
    assert clock.now_s == 110
    clock.advance(110.2)  # SUMO steps until the target is reached or passed
    assert clock.now_s == 110.5
    clock.advance(5)  # a target in the past is no step
    assert clock.now_s == 110.5


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [(), ("--step-length", "0.5"), ("--begin", "40"), ("--step-length", "0.1")])
def test_one_long_step_loses_no_incident(start, road, backend, options):
    """``simulationStep(3600)`` calls a listener once, at the end."""
    network = road(2)
    sumo = start(backend, network, None, *options)
    incidents = [roads.incident(start_s=50 + 300 * n, duration_s=100, capacity_left=0.3) for n in range(3)]
    with inject(sumo, roads.scenario(*incidents), network=network) as injection:
        sumo.simulationStep(1000.0)
        assert sumo.simulation.getTime() == 1000
    for report in injection.report():
        assert (report.start_s, report.end_s) == (report.asked.start_s, report.asked.end_s), report


@pytest.mark.parametrize("backend", BACKENDS)
def test_steps_of_ten_seconds(start, road, backend):
    network = road(2)
    sumo = start(backend, network)
    with inject(
        sumo, roads.scenario(roads.incident(start_s=33, duration_s=44, capacity_left=0.3)), network=network
    ) as on:
        for target in range(10, 121, 10):
            sumo.simulationStep(target)
            assert sumo.simulation.getTime() == target
    (report,) = on.report()
    assert (report.start_s, report.end_s) == (33, 77)


def test_a_step_that_we_could_not_split_is_reported(start, road):
    """Somebody who kept the original function steps over an incident without our noticing in time."""
    network = road(2)
    sumo = start("libsumo", network)
    original = sumo.simulationStep
    with inject(sumo, roads.scenario(roads.incident(start_s=30, capacity_left=0.3)), network=network) as injection:
        original(70)
        original()
    (report,) = injection.report()
    assert not report.realised and "stepped past its start" in report.reason


@pytest.mark.parametrize("backend", BACKENDS)
def test_incidents_that_start_with_the_simulation(start, road, backend):
    network = road(2)
    sumo = start(backend, network, None, "--begin", "3600")
    asked = roads.incident(start_s=3600, duration_s=20, capacity_left=0.3)
    with inject(sumo, roads.scenario(asked), network=network) as injection:
        roads.run_until(sumo, 3630)
    (report,) = injection.report()
    assert (report.start_s, report.end_s) == (3600, 3620)


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_runs_in_one_process_do_not_meet(start, road, backend):
    """A libsumo listener outlives ``close`` and would run in the next simulation of the process."""
    network = road(2)
    asked = roads.scenario(roads.incident(start_s=10, duration_s=500, capacity_left=0.3))
    first = start(backend, network)
    with inject(first, asked, network=network) as injection:
        roads.run_until(first, 20)
        first.close()
    (report,) = injection.report()
    assert report.realised and report.reason == "the simulation was closed before its end"
    second = start(backend, network)
    for _ in range(30):
        second.simulationStep()
    assert second.vehicle.getIDList() == ()
    with inject(second, roads.scenario(roads.incident(start_s=40, capacity_left=0.3)), network=network) as again:
        roads.run_until(second, 50)
        assert len(again.own_present) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_afterwards_the_connection_is_as_it_was(start, road, backend):
    sumo = start(backend, road(2))
    names = ("simulationStep", "close", "load")
    before = [getattr(sumo, name) for name in names]
    with inject(sumo, roads.scenario(roads.incident(start_s=10, capacity_left=0.3)), network=road(2)):
        assert sumo.simulationStep is not before[0]
        sumo.simulationStep()
    assert [getattr(sumo, name) for name in names] == before
    if backend == "libsumo":
        assert not sumo._stepManager._stepListeners
    else:
        assert not sumo._stepListeners and not {"simulationStep", "close", "load"} & set(vars(sumo))


def test_the_traci_module_itself_can_be_given(start, road):
    import traci

    connection = start("traci", road(2))
    with inject(traci, roads.scenario(roads.incident(start_s=5, capacity_left=0.3)), network=road(2)) as injection:
        for _ in range(10):
            traci.simulationStep()
        assert connection.vehicle.getIDList() == ("incident.0.0",)
    assert connection.vehicle.getIDList() == ()
    assert injection.report()[0].realised


def test_other_listeners_are_still_called_and_kept(start, road):
    import libsumo

    class Theirs(libsumo.StepListener):
        calls = 0

        def step(self, t=0):
            self.calls += 1
            return True

    sumo = start("libsumo", road(2))
    theirs = Theirs()
    number = sumo.addStepListener(theirs)
    with inject(sumo, roads.scenario(roads.incident(start_s=5, capacity_left=0.3)), network=road(2)):
        for _ in range(10):
            sumo.simulationStep()
    sumo.simulationStep()
    assert theirs.calls == 11
    sumo.removeStepListener(number)


def test_a_sumo_that_dies_is_a_clean_end(start, road):
    sumo = start("traci", road(2))
    with (
        pytest.raises((ConnectionLostError, Exception)) as caught,
        inject(
            sumo, roads.scenario(roads.incident(start_s=5, duration_s=900, capacity_left=0.3)), network=road(2)
        ) as on,
    ):
        roads.run_until(sumo, 10)
        sumo._process.kill()
        sumo._process.wait()
        roads.run_until(sumo, 20)
    assert type(caught.value).__name__ in (
        "FatalTraCIError",
        "ConnectionLostError",
        "ConnectionResetError",
        "BrokenPipeError",
    )
    (report,) = on.report()
    assert report.realised and report.end_s is not None and "before its end" in report.reason
    assert on.own_present == frozenset()


def test_no_call_crosses_the_socket_without_a_due_event(start, road):
    """Over TraCI every call costs: with nothing due, a step is one message, as without us."""
    sumo = start("traci", road(2))
    sent = []
    original = sumo._sendExact
    with inject(sumo, roads.scenario(roads.incident(start_s=50, capacity_left=0.3)), network=road(2)):
        sumo._sendExact = lambda: (sent.append(1), original())[1]
        for _ in range(45):
            sumo.simulationStep()
        del sumo._sendExact
    assert len(sent) == 45


@pytest.mark.parametrize("counts", [False, True])
def test_over_traci_a_step_without_a_due_event_sends_nothing_but_the_step(start, road, monkeypatch, counts):
    """With counters SUMO's totals are read once a minute, and nothing in between."""
    network = road(2)
    sumo = start("traci", network)
    later = roads.scenario(roads.incident(start_s=500, duration_s=20, capacity_left=0.3))
    with inject(sumo, later, network=network, counts=counts) as injection:
        sent = []
        send = sumo._sendExact
        monkeypatch.setattr(sumo, "_sendExact", lambda: (sent.append(1), send())[1])
        by_step = []
        for _ in range(300):
            before = len(sent)
            sumo.simulationStep()
            by_step.append(len(sent) - before)
        looks = [second for second, messages in enumerate(by_step, start=1) if messages > 1]
        assert looks == ([60, 120, 180, 240, 300] if counts else [])
        assert (injection.health is not None) == counts
        roads.run_until(sumo, 510)
        assert len(sent) > 520  # the counter sees what an incident asks


@pytest.mark.parametrize("backend", BACKENDS)
def test_counters_know_traffic_and_our_own_vehicles(start, road, tmp_path, backend):
    network = road(2)
    sumo = start(backend, network, roads.flows(tmp_path, lanes=2, per_lane_veh_h=900))
    asked = roads.scenario(roads.incident(start_s=50, duration_s=200, capacity_left=0.3))
    with inject(sumo, asked, network=network) as injection:
        roads.run_until(sumo, 200)
        standing = injection.health
        roads.run_until(sumo, 300)
    assert (standing.time_s, standing.own_inserted, standing.own_running) == (180, 1, 1)
    health = injection.health
    assert (health.time_s, health.own_inserted, health.own_running) == (300, 1, 0)
    assert health.broken == "" and health.looks >= 6
    assert health.inserted > 100 and health.running == sumo.vehicle.getIDCount()


@pytest.mark.parametrize("thing", [None, 3, "traci", object()])
def test_what_is_no_connection_is_refused(thing, road):
    with pytest.raises(SimulationError, match="expected the libsumo module, the traci module"):
        inject(thing, roads.scenario(), network=road(2)).__enter__()


def test_a_connection_that_is_not_open_is_refused(road):
    import libsumo
    import traci

    with pytest.raises(SimulationError, match=r"traci.start"):
        inject(traci, roads.scenario(), network=road(2)).__enter__()
    with pytest.raises(SimulationError, match=r"libsumo.start"):
        inject(libsumo, roads.scenario(), network=road(2)).__enter__()


def test_entering_twice_is_refused(start, road):
    sumo = start("libsumo", road(2))
    injection = inject(sumo, roads.scenario(roads.incident(start_s=5, capacity_left=0.3)), network=road(2))
    with injection:
        pass
    with pytest.raises(SimulationError, match="entered before"):
        injection.__enter__()


def test_importing_the_injection_imports_neither_libsumo_nor_torch():
    code = "import sys, scenariogen.injection; print([m for m in ('libsumo', 'torch', 'traci') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
