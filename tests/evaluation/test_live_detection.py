"""Incidents found while a run goes on: a made-up motorway, its usual days, and what a policy learns when."""

import dataclasses
import json

import numpy as np
import pytest

from scenariogen.errors import ResultsError, SimulationError
from scenariogen.evaluation import evaluate, load_results, run_scenario
from scenariogen.evaluation.equipment import IncidentSource
from scenariogen.evaluation.stationing import main_road, stationing
from scenariogen.evaluation.usual_traffic import ensure_usual, read_usual, record_usual, usual_recipe
from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.network import RoadClass
from scenariogen.scenarios.effects import DetectorOutage, OutageMode
from scenariogen.scenarios.records import Condition, Scenario, ScenarioBatch
from scenariogen.simulation.contract import DetectorOptions, EndReason, RunRequest
from scenariogen.simulation.dummy import DummySimulator
from scenariogen.simulation.project import open_project
from scenariogen.simulation.stations import Station, StationReader
from scenariogen.window import StudyWindow
from tests.evaluation.paper_project import paper_network
from tests.simulation.small import PLAIN, _network, small_project, window, write_project

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning")
WINDOW = StudyWindow(begin_s=0, count_from_s=300, incidents_until_s=1000, end_s=1500, demand_end_s=1500)
START_S = 500.0
FOUND_WITHIN_S = 420.0
WATCHES = """
from scenariogen.simulation.contract import DetectorOptions, Policy

class Watches(Policy):
    name = "watches"
    reads = ("incidents",)
    detector_options = DetectorOptions({options})
    def start(self, run):
        self.seen = []
    def step(self, run, time_s):
        self.seen += [[time_s, each.edge, each.since_s, each.expected_end_s] for each in run.known_incidents]
    def finish(self, run):
        import json
        with open({path!r}, "w") as file:
            json.dump(self.seen, file)
"""


@pytest.fixture(scope="module")
def motorway(tmp_path_factory):
    """Five edges of 700 m with two lanes, at two thirds of their capacity."""
    nodes = "".join(f'<node id="n{i}" x="{i * 700}" y="0"/>' for i in range(6))
    edges = "".join(f'<edge id="e{i}" from="n{i}" to="n{i + 1}" numLanes="2" speed="30.56"/>' for i in range(5))
    net = _network(f"<nodes>{nodes}</nodes>", f"<edges>{edges}</edges>")
    demand = (
        '<vType id="car"/><route id="r" edges="e0 e1 e2 e3 e4"/><flow id="f" type="car" begin="0" end="1500" '
        'vehsPerHour="2400" route="r" departLane="free" departSpeed="max"/>'
    )
    return open_project(write_project(tmp_path_factory.mktemp("motorway"), demand, net=net))


def incident(**changes):
    values = {
        "edge": "e3", "start_s": START_S, "position_m": 350.0, "kind": IncidentKind.CRASH, "lanes": (0,),
        "capacity_left": 0.35, "detection_s": 0.0, "response_s": 300.0, "clearance_s": 500.0,
    }  # fmt: skip
    return Incident(**(values | changes))


def batch_of(project, *scenarios):
    return ScenarioBatch(
        project_hash=project.hash, network_hash=project.network().sha256, network_name="motorway", window=WINDOW,
        scenarios=scenarios,
    )  # fmt: skip


@pytest.fixture(scope="module")
def batch(motorway):
    return batch_of(motorway, Scenario(index=0, seed=70), Scenario(index=1, seed=71, incidents=(incident(),)))


@pytest.fixture(scope="module")
def usual(motorway, batch, tmp_path_factory):
    folder = tmp_path_factory.mktemp("usual")
    return record_usual(motorway, batch, folder / "usual.npz", work_folder=folder)


@pytest.fixture
def watched(motorway, tmp_path):
    """One run under a policy that notes what it is told; the result and the notes."""

    def run(scenario, usual, options=""):
        notes, policy = tmp_path / "seen.json", tmp_path / "watches.py"
        policy.write_text(WATCHES.format(path=str(notes), options=options))
        result = run_scenario(
            motorway,
            scenario,
            policy,
            window=WINDOW,
            folder=tmp_path / "run",
            simulator="traci",
            keep=False,
            usual=usual,
        )
        assert result.end_reason is EndReason.HORIZON, result.error
        return result, json.loads(notes.read_text())

    return run


@pytest.mark.sumo
def test_a_blocking_incident_is_found_within_minutes_near_where_it_stands_and_given_up_after_it(watched, batch, usual):
    result, seen = watched(batch.scenarios[1], usual)
    (found,) = json.loads(result.found_incidents)
    assert START_S + 60 < found["found_s"] < START_S + FOUND_WITHIN_S
    assert found["edge"] in ("e2", "e3")
    assert seen[0][0] == found["found_s"] and {each[2] for each in seen} == {found["found_s"]}
    (happened,) = json.loads(result.incidents)
    ends_s = {each[3] for each in seen}
    assert len(ends_s) > 1 and happened["happened"]["end_s"] not in ends_s, "expected, not the scenario's own end"


@pytest.mark.sumo
def test_nothing_is_known_before_it_is_found_although_it_was_reported_at_once(watched, batch, usual):
    reported, told = watched(batch.scenarios[1], None)
    assert told[0][0] == pytest.approx(START_S, abs=2.0) and reported.found_incidents == "[]"
    _, seen = watched(batch.scenarios[1], usual)
    assert seen[0][0] > told[0][0] + 60


@pytest.mark.sumo
@pytest.mark.parametrize("seed", [1, 2])
def test_without_an_incident_none_is_found(watched, usual, seed):
    result, seen = watched(Scenario(index=0, seed=seed), usual)
    assert seen == [] and result.found_incidents == "[]"


@pytest.mark.sumo
@pytest.mark.parametrize("mode", list(OutageMode))
def test_what_stations_that_are_out_do_not_tell_is_not_found(watched, batch, usual, mode):
    dark = DetectorOutage(start_s=START_S - 200, duration_s=WINDOW.end_s - START_S + 200, mode=mode)
    hidden = dataclasses.replace(batch.scenarios[1], effects=(dark,))
    result, seen = watched(hidden, usual)
    (outage,) = json.loads(result.effects)
    assert outage["realised"] and outage["counts"]["detectors"] == 10, "five stations of two lanes"
    assert seen == [] and result.found_incidents == "[]"
    brief = dataclasses.replace(batch.scenarios[1], effects=(dataclasses.replace(dark, duration_s=500.0),))
    _, later = watched(brief, usual)
    assert later[0][0] > START_S + 300, "found once the stations speak again"


@pytest.mark.sumo
@pytest.mark.parametrize("lanes", [("e3_0",), ("e2_0", "e2_1"), ("e4_1",), ("e1_0", "e3_1", "e4_0")])
@pytest.mark.parametrize("start_s", [START_S - 100, START_S + 200])
def test_a_station_that_is_out_leaves_the_others_to_tell(watched, batch, usual, lanes, start_s):
    dark = DetectorOutage(start_s=start_s, duration_s=600.0, lanes=lanes)
    result, seen = watched(dataclasses.replace(batch.scenarios[1], effects=(dark,)), usual)
    (outage,) = json.loads(result.effects)
    assert outage["counts"]["detectors"] == len(lanes) and result.error == ""
    assert seen and {each[1] for each in seen} <= {"e1", "e2", "e3"}


@pytest.mark.sumo
def test_the_options_of_detectors_hold_for_stations(watched, batch, usual):
    scenario = batch.scenarios[1]
    at_once, usually, late = (watched(scenario, usual, f"lag_s={lag_s}")[1][0][0] for lag_s in ("0.0", "10.0", "100.0"))
    assert usually == at_once + 10 and late >= at_once + 100
    assert watched(scenario, usual, "outage_share=1.0")[1] == []
    erring = watched(scenario, usual, "error=0.1")[1]
    assert erring and at_once <= erring[0][0] <= usually + 180


@pytest.mark.sumo
def test_an_evaluation_detects_by_default_keeps_what_is_usual_and_does_not_mix_it_with_reports(
    motorway, batch, tmp_path
):
    policy = tmp_path / "watches.py"
    policy.write_text(WATCHES.format(path=str(tmp_path / "seen.json"), options=""))
    one = dataclasses.replace(batch, scenarios=batch.scenarios[1:])
    out = tmp_path / "out"
    first = evaluate(motorway, one, [policy, "no_control"], out=out)
    found = {run.policy: json.loads(run.found_incidents) for run in first.results.runs}
    assert first.made == 2 and len(found["watches"]) == 1 and found["no_control"] == []
    kept = (out / "usual.npz").read_bytes()
    again = evaluate(motorway, one, [policy, "no_control"], out=out)
    assert again.made == 0 and (out / "usual.npz").read_bytes() == kept
    told = evaluate(motorway, one, [policy, "no_control"], out=out, incidents_known=IncidentSource.REPORTED)
    assert told.made == 1, "only the policy that reads incidents runs again"
    assert all(run.found_incidents == "[]" for run in load_results(out).runs)


@pytest.mark.sumo
def test_the_usual_days_are_the_same_each_time_and_have_the_batchs_demand(motorway, batch, usual, tmp_path):
    again = record_usual(motorway, batch, tmp_path / "usual.npz", work_folder=tmp_path, jobs=2)
    assert np.array_equal(again.traffic.flow_veh_h, usual.traffic.flow_veh_h)
    assert 4.0 < usual.vehicle_m < 5.5 and usual.days == 5
    flow = usual.traffic.flow_veh_h[:, 0, 5:20].mean()
    assert flow == pytest.approx(2400, rel=0.05)
    more = batch_of(motorway, Scenario(index=0, seed=70, condition=Condition(demand_scale=1.2)))
    assert usual_recipe(motorway, more) != usual.recipe
    kept = ensure_usual(motorway, batch, tmp_path / "usual.npz", work_folder=tmp_path / "nowhere")
    assert kept.recipe == usual.recipe


@pytest.mark.sumo
def test_stations_count_what_passes_and_see_who_stands(tmp_path):
    demand = PLAIN + '<flow id="f" type="plain" begin="0" end="600" period="6" from="ab" to="cd"/>'
    project = small_project(tmp_path / "project", demand)
    stations = (Station(lanes=("bc_0",), position_m=250.0),)
    from scenariogen.simulation.sumo import SumoSimulator

    request = RunRequest(window=window(300.0), seed=1, folder=tmp_path / "run", stations=stations)
    with SumoSimulator(project, backend="traci").open(request) as run:
        reader, found = StationReader(run, stations), []
        with pytest.raises(SimulationError, match="2 stations are to be read"):
            StationReader(run, stations * 2)
        while run.time_s < 290:
            run.step()
            measures = reader.update()
            found += [] if measures is None else [measures]
    assert [each.end_s for each in found] == [60.0, 120.0, 180.0, 240.0]
    assert [float(each.vehicles[0]) for each in found[2:]] == [10.0, 10.0]
    assert found[3].passing_mps[0] == pytest.approx(13.89, abs=0.2)
    assert found[3].covered[0] * 60 == pytest.approx(10 * 5.0 / 13.89, rel=0.1)


@pytest.mark.sumo
def test_stations_are_late_wrong_silent_or_repeat_themselves(tmp_path):
    demand = PLAIN + '<flow id="f" type="plain" begin="0" end="600" period="6" from="ab" to="cd"/>'
    project = small_project(tmp_path / "project", demand)
    stations = (Station(lanes=("bc_0",), position_m=250.0), Station(lanes=("ab_0",), position_m=100.0))
    from scenariogen.simulation.sumo import SumoSimulator

    request = RunRequest(window=window(500.0), seed=1, folder=tmp_path / "run", stations=stations)
    with SumoSimulator(project, backend="traci").open(request) as run:
        bank = run.control_room.detectors
        right = StationReader(run, stations)
        late = StationReader(run, stations, options=DetectorOptions(lag_s=90.0))
        wrong = StationReader(run, stations, options=DetectorOptions(lag_s=0.0, error=0.2))
        fails = StationReader(run, stations, detectors=bank)
        told = {right: [], late: [], wrong: [], fails: []}
        while run.time_s < 490:
            run.step()
            for reader, found in told.items():
                found += [] if (measures := reader.update()) is None else [(run.time_s, measures)]
            if run.time_s == 130:
                assert bank.fail("stuck", ["bc_0", "elsewhere"], last_value=True) == ["bc_0"]
            if run.time_s == 190:
                bank.fail("dead", ["bc_0"], last_value=False)
            if run.time_s == 310:
                bank.repair("dead")
            if run.time_s == 370:
                bank.repair("stuck")
    assert [time_s for time_s, _ in told[late]] == [each.end_s + 90 for _, each in told[late]] == [*range(150, 500, 60)]
    first, last = (np.array([each.covered for _, each in told[reader]]) for reader in (right, fails))
    assert np.array_equal(first[:, 1], last[:, 1]), "the other station works"
    assert last[2, 0] == first[1, 0] != first[2, 0], "what it said last"
    assert np.isnan(last[3:5, 0]).all() and last[5, 0] == first[1, 0], "silent, then stuck again"
    assert np.array_equal(last[6:, 0], first[6:, 0])
    ratio = (
        np.array([each.vehicles for _, each in told[wrong]])[2:]
        / np.array([each.vehicles for _, each in told[right]])[2:]
    )
    assert 0.05 < ratio.std() < 0.4 and len(set(ratio.ravel())) == ratio.size


def test_the_dummy_has_no_stations(tmp_path):
    request = RunRequest(window=window(100.0), seed=1, folder=tmp_path / "run")
    with DummySimulator().open(request) as run, pytest.raises(SimulationError, match="a run of SUMO"):
        StationReader(run, [Station(lanes=("a_0",), position_m=10.0)])


def test_main_roads_have_a_station_every_half_kilometre(motorway):
    where = stationing(motorway.network())
    assert [each.position_m for each in where.stations] == [350.0] * 5 and len(where.cells) == 5
    edge = motorway.network().edges["e0"]
    assert main_road(edge) and not main_road(dataclasses.replace(edge, length_m=90.0))
    street = dataclasses.replace(edge, road_class=RoadClass.STREET, speed_mps=8.3, lanes=edge.lanes[:1])
    assert not main_road(street) and main_road(dataclasses.replace(street, road_class=RoadClass.RAMP))


def test_a_network_without_main_roads_and_files_that_are_not_usual_traffic_are_refused(motorway, batch, tmp_path):
    class Village:
        name, hash = "village", "v" * 64

        def network(self):
            network = paper_network()
            slow = {name: dataclasses.replace(edge, speed_mps=8.0) for name, edge in network.edges.items()}
            return dataclasses.replace(network, edges=slow)

    with pytest.raises(ResultsError, match="--incidents-known reported"):
        usual_recipe(Village(), batch)
    broken = tmp_path / "usual.npz"
    broken.write_bytes(b"no")
    with pytest.raises(ResultsError, match="remove it"):
        read_usual(broken, motorway.network())
    np.savez(broken, flow_veh_h=np.zeros((1, 2, 3)), density_veh_m=np.zeros((1, 2, 3)), vehicle_m=5.0, recipe="")
    with pytest.raises(ResultsError, match="expected \\(days, 5 stations"):
        read_usual(broken, motorway.network())
