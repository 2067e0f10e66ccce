"""SUMO behind the contract: its own words, one simulation per process, detectors that count what is there."""

import os

import pytest

from scenariogen.errors import ConnectionLostError, SimulationError
from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.sumo import SumoSimulator
from tests.simulation.small import PLAIN, cross, small_project, vehicle, window

pytestmark = pytest.mark.sumo
BACKENDS = pytest.mark.parametrize("backend", ["libsumo", "traci"])


def request(tmp_path, end_s=600.0, **others):
    return RunRequest(**({"window": window(end_s), "seed": 1, "folder": tmp_path / "run"} | others))


@pytest.fixture
def line_project(tmp_path):
    return small_project(tmp_path / "p", PLAIN + vehicle("v", 0))


@BACKENDS
@pytest.mark.parametrize(
    ("routes", "others", "said"),
    [
        (vehicle("v", 0), {}, "The vehicle type 'plain' for vehicle 'v' is not known."),
        (PLAIN + vehicle("v", 0, "ab xx"), {}, "edge 'xx' within the route for vehicle 'v' is not known"),
        (PLAIN + vehicle("v", 0), {"options": '<no-such value="1"/>'}, "No option with the name 'no-such' exists."),
        (
            PLAIN + vehicle("v", 0),
            {"additional": '<e1Detector id="d" lane="zz_0" pos="1" file="o.xml"/>'},
            "The lane with the id 'zz_0' is not known",
        ),
    ],
)
def test_sumos_own_words_arrive_when_it_refuses(tmp_path, capfd, backend, routes, others, said):
    project = small_project(tmp_path / "p", routes, **others)
    with pytest.raises(SimulationError) as caught:
        SumoSimulator(project, backend=backend).open(request(tmp_path))
    assert said in str(caught.value)
    assert caught.value.title == "SUMO refused to start"
    assert "Error" not in capfd.readouterr().err  # said once, by us
    with SumoSimulator(small_project(tmp_path / "q", PLAIN + vehicle("v", 0)), backend=backend).open(
        request(tmp_path, folder=tmp_path / "next")
    ) as run:
        run.step()


@BACKENDS
def test_sumos_own_words_arrive_when_it_dies(tmp_path, backend):
    # SUMO reads ahead 200 s and one vehicle
    project = small_project(tmp_path / "p", PLAIN + vehicle("v", 0) + vehicle("u", 250) + vehicle("w", 600, "ab xx"))
    with SumoSimulator(project, backend=backend).open(request(tmp_path)) as run:
        with pytest.raises(SimulationError, match="edge 'xx' within the route for vehicle 'w' is not known") as caught:
            while run.time_s < 600:
                run.step()
        assert "SUMO died at second" in str(caught.value)
    run.close()


def test_a_killed_sumo_is_a_lost_connection(tmp_path, line_project):
    with SumoSimulator(line_project, backend="traci").open(request(tmp_path)) as run:
        run.step()
        run._process.kill()
        run._process.wait()
        with pytest.raises(ConnectionLostError):
            run.step()


def test_libsumo_holds_one_simulation(tmp_path, line_project):
    simulator = SumoSimulator(line_project)
    with simulator.open(request(tmp_path)) as run:
        with pytest.raises(SimulationError, match="already open in this process"):
            simulator.open(request(tmp_path, folder=tmp_path / "second"))
        run.step()
        assert run.time_s == 1


def test_traci_holds_as_many_as_asked(tmp_path, line_project):
    simulator = SumoSimulator(line_project, backend="traci")
    with (
        simulator.open(request(tmp_path)) as one,
        simulator.open(request(tmp_path, folder=tmp_path / "second")) as two,
    ):
        one.step()
        two.step()
        two.step()
        assert (one.time_s, two.time_s) == (1, 2)
        assert one.connection.simulation.getTime() == 1


@BACKENDS
def test_a_listener_does_not_outlive_its_run(tmp_path, line_project, backend):
    import traci

    class Counter(traci.StepListener):
        steps = 0

        def step(self, t=0):
            Counter.steps += 1
            return True

    simulator = SumoSimulator(line_project, backend=backend)
    for name, expected in (("one", 3), ("two", 3)):
        with simulator.open(request(tmp_path, folder=tmp_path / name)) as run:
            if name == "one":
                run.connection.addStepListener(Counter())
            for _ in range(3):
                run.step()
        assert Counter.steps == expected


@BACKENDS
def test_a_listeners_own_error_is_not_the_simulators(tmp_path, line_project, backend):
    import traci

    class Faulty(traci.StepListener):
        def step(self, t=0):
            raise KeyError("mine")

    with SumoSimulator(line_project, backend=backend).open(request(tmp_path)) as run:
        run.connection.addStepListener(Faulty())
        with pytest.raises(KeyError, match="mine"):
            run.step()


@pytest.mark.parametrize("step_s", [0.1, 0.5, 1.0, 2.0])
def test_time_is_sumos_own(tmp_path, step_s):
    project = small_project(tmp_path / "p", PLAIN + vehicle("v", 0), options=f'<step-length value="{step_s}"/>')
    with SumoSimulator(project).open(request(tmp_path)) as run:
        for _ in range(37):
            run.step()
            assert run.time_s == run.connection.simulation.getTime()


def test_seed_and_demand_scale_reach_sumo(tmp_path):
    flow = '<flow id="f" begin="0" end="300" period="exp(0.3)" from="ab" to="cd"/>'
    project = small_project(tmp_path / "p", flow, options='<scale value="2"/><seed value="5"/>')
    simulator, departed = SumoSimulator(project), {}
    for name, seed, scale in (("a", 1, 1.0), ("b", 2, 1.0), ("half", 1, 0.5), ("again", 1, 1.0)):
        whole = request(tmp_path, folder=tmp_path / name, seed=seed, demand_scale=scale)
        with simulator.open(whole) as run:
            while run.time_s < 300:
                run.step()
            departed[name] = int(run.connection.simulation.getParameter("", "stats.vehicles.loaded"))
    assert departed["a"] == departed["again"] != departed["b"]
    assert 120 < departed["a"] < 250  # twice 90
    assert departed["half"] == pytest.approx(departed["a"] / 2, rel=0.2)


def test_nothing_is_teleported_or_dropped(tmp_path):
    # a full road: one vehicle stands on bc for good, the others queue behind it and before the entry
    stop = '<stop lane="bc_0" endPos="400" duration="9000"/>'
    routes = PLAIN + vehicle("stands", 0, inner=stop) + "".join(vehicle(f"v{i}", 1 + i) for i in range(200))
    options = '<time-to-teleport value="60"/><max-depart-delay value="30"/>'
    project = small_project(tmp_path / "p", routes, options=options)
    with SumoSimulator(project).open(request(tmp_path, 1500)) as run:
        while run.time_s < 1500:
            run.step()
        counters = run.counters()
        assert counters.teleports == counters.left == 0
        assert counters.running + counters.waiting == 201
        assert counters.waiting > 20


def test_detectors_count_the_vehicles_that_are_there(tmp_path):
    flows = (
        PLAIN + '<flow id="we" type="plain" begin="0" end="300" period="2" from="in[0]#1" to="short"/>'
        '<flow id="sn" type="plain" begin="0" end="300" period="5" from="sm" to="mn"/>'
    )
    project = small_project(tmp_path / "p", flows, net=cross())
    lanes = ("in[0]#1_0", "in[0]#1_1", "sm_0", "short_0")  # odd characters, and a lane shorter than the detector
    lengths = {lane.id: lane.length_m for edge in project.network().edges.values() for lane in edge.lanes}
    assert lengths["short_0"] < 60
    with SumoSimulator(project).open(request(tmp_path, 300, detector_lanes=lanes)) as run:
        history: list[dict[str, int]] = []
        while run.time_s < 300:
            run.step()
            read = run.connection.vehicle
            where = [(read.getLaneID(v), read.getLanePosition(v), read.getLength(v)) for v in read.getIDList()]
            history.append(
                {lane: sum(here == lane and front > lengths[lane] - 60 for here, front, _ in where) for lane in lanes}
            )
            if len(history) > 10:
                then = history[-11]
                # a vehicle whose front has passed the lane's end still counts while its tail is there
                for lane in lanes:
                    assert 0 <= run.control_room.detectors.count(lane) - then[lane] <= 1, lane
    assert max(each["in[0]#1_1"] for each in history) >= 5
    assert max(each["short_0"] for each in history) >= 1


def test_messages_go_to_the_folder_and_not_to_the_console(tmp_path, capfd):
    routes = PLAIN + vehicle("late", 50) + vehicle("unsorted", 20)
    with SumoSimulator(small_project(tmp_path / "p", routes)).open(request(tmp_path)) as run:
        while run.time_s < 60:
            run.step()
    assert "sorted by departure" in (tmp_path / "run" / "messages.txt").read_text()
    assert capfd.readouterr().err == ""


def test_the_runs_configuration_runs_again_on_its_own(tmp_path):
    import subprocess

    from scenariogen.simulation.launch import sumo_home

    project = small_project(tmp_path / "p", PLAIN + vehicle("v", 0))
    with SumoSimulator(project).open(request(tmp_path, outputs={"tripinfo-output": "trips.xml"})) as run:
        while run.time_s < 600:
            run.step()
    trips = tmp_path / "run" / "trips.xml"
    first = [line for line in trips.read_text().splitlines() if "<tripinfo " in line]
    subprocess.run([sumo_home() / "bin" / "sumo", "-c", tmp_path / "run" / "run.sumocfg"], check=True)
    assert [line for line in trips.read_text().splitlines() if "<tripinfo " in line] == first != []


def test_sumo_home_is_not_asked_of_the_user(tmp_path, line_project, monkeypatch):
    monkeypatch.delenv("SUMO_HOME", raising=False)
    assert "SUMO_HOME" not in os.environ
    with SumoSimulator(line_project, backend="traci").open(request(tmp_path)) as run:
        run.step()


def test_a_window_needs_a_display(tmp_path, line_project, monkeypatch):
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(SimulationError, match="unable to open display"):
        SumoSimulator(line_project, backend="traci-gui").open(request(tmp_path))


def test_a_folder_that_sumo_cannot_write_to_is_refused(tmp_path, line_project):
    for name in ("a,b", "a:b"):
        with pytest.raises(SimulationError, match="comma or a colon"):
            SumoSimulator(line_project).open(request(tmp_path, folder=tmp_path / name))
