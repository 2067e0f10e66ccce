"""On a real network: both shipped policies on cologne1, over libsumo, with an incident."""

import dataclasses
import gc
import hashlib
import json
import sys

import pytest

from scenariogen.errors import ScenarioError
from scenariogen.evaluation import evaluate, project_runner, run_scenario
from scenariogen.evaluation.pending import Task
from scenariogen.evaluation.policy import resolve_policy
from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.scenarios.records import Scenario, ScenarioBatch
from scenariogen.simulation.contract import EndReason
from scenariogen.simulation.isolation import in_own_process
from scenariogen.simulation.project import open_project
from scenariogen.simulation.study import study_window
from tests.support import copy_project, resco

pytestmark = pytest.mark.sumo


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return open_project(copy_project(resco("cologne1"), tmp_path_factory.mktemp("project")))


@pytest.fixture(scope="module")
def batch(project):
    """Two scenarios on half an hour: without incident, and with one on the busiest approach of the signal."""
    window = study_window(project, horizon_s=1500.0)
    network = project.network()
    lane = max((lane for lanes in network.signals.values() for lane in lanes), key=lambda lane: _uses(project, lane))
    edge = network.edges[lane.rpartition("_")[0]]
    incident = Incident(
        edge=edge.id,
        start_s=window.count_from_s + 60.0,
        position_m=max(edge.length_m - 40.0, 5.0),
        kind=IncidentKind.CRASH,
        lanes=edge.driving_lanes,
        capacity_left=0.0,
        detection_s=120.0,
        response_s=240.0,
        clearance_s=240.0,
    )
    scenarios = (Scenario(index=0, seed=11), Scenario(index=1, seed=11, incidents=(incident,)))
    return ScenarioBatch(
        project_hash=project.hash,
        network_hash=network.sha256,
        network_name=project.name,
        window=window,
        scenarios=scenarios,
    )


def _uses(project, lane):
    """How many of the demand's routes pass the lane's edge."""
    edge = lane.rpartition("_")[0]
    return sum(edge in journey.edges for journey in project.demand.journeys)


def _content(folder):
    return {
        path.relative_to(folder): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def done(project, batch, tmp_path_factory):
    before = _content(project.sumocfg.parent)
    found = evaluate(
        project, batch, ["no_control", "max_pressure"], out=tmp_path_factory.mktemp("results") / "out", jobs=2, keep=[1]
    )
    assert _content(project.sumocfg.parent) == before, "the project's folder is as it was"
    return found


def runs(done):
    return {(run.scenario, run.policy): run for run in done.results.runs}


def test_every_run_reaches_the_end_and_its_vehicles_add_up(done):
    for run in runs(done).values():
        assert run.end_reason is EndReason.HORIZON, run.error
        assert run.due == run.arrived + run.running_at_end + run.waiting_at_end + run.discarded
        assert run.system_delay_veh_h == pytest.approx(run.time_veh_h - run.free_flow_veh_h)
        assert run.system_delay_veh_h > 0 and run.teleports == 0 and run.cpu_s > 0


def test_the_incident_stands_as_asked_and_costs_delay(done):
    found = runs(done)
    for policy in ("no_control", "max_pressure"):
        hit = found[1, policy]
        assert (hit.incidents_due, hit.incidents_realised) == (1, 1), hit.incidents
        (record,) = json.loads(hit.incidents)
        assert record["happened"]["start_s"] == pytest.approx(record["asked"]["start_s"], abs=2.0)
        assert record["happened"]["end_s"] == pytest.approx(record["asked"]["end_s"], abs=2.0)
        assert hit.system_delay_veh_h > found[0, policy].system_delay_veh_h + 1.0


def test_max_pressure_beats_the_fixed_programme_without_incidents(done):
    found = runs(done)
    assert found[0, "max_pressure"].system_delay_veh_h < 0.8 * found[0, "no_control"].system_delay_veh_h


def _imported_by_a_run(task, *opened):
    """Modules that a run imports, and what became of it."""
    before = set(sys.modules)
    result = project_runner._run(task, *opened)
    return sorted(set(sys.modules) - before), result


def test_what_a_run_imports_is_there_before_its_fork(project, batch, tmp_path):
    runner = project_runner.ProjectRunner(
        sumocfg=project.sumocfg, project_hash=project.hash, window=batch.window, simulator="libsumo",
        work_folder=tmp_path / "work",
    )  # fmt: skip
    task = Task(
        key="one", scenario=batch.scenarios[1], policy=resolve_policy("no_control"), replica=0, seed=11,
        folder=tmp_path / "run",
    )  # fmt: skip
    try:
        modules, result = in_own_process(_imported_by_a_run, task, *runner._opened(), batch.window)
    finally:
        project_runner._OPENED.clear()
        gc.unfreeze()
    assert modules == [] and result.end_reason is EndReason.HORIZON and result.incidents_realised == 1


def test_run_folders_are_gone_but_those_asked_for(done):
    kept = sorted(path.name for path in (done.folder / "kept").iterdir())
    assert kept == ["00001-max_pressure-0", "00001-no_control-0"]
    assert not (done.folder / ".work").exists()


def test_one_worker_and_the_other_engine_give_the_same_numbers(project, batch, done, tmp_path):
    one = dataclasses.replace(batch, scenarios=batch.scenarios[1:])
    alone = evaluate(project, one, ["max_pressure"], out=tmp_path / "alone", jobs=1)
    by_socket = evaluate(project, one, ["max_pressure"], out=tmp_path / "traci", jobs=1, simulator="traci")
    expected = runs(done)[1, "max_pressure"]
    for found in (alone, by_socket):
        (run,) = found.results.runs
        assert run.system_delay_veh_h == expected.system_delay_veh_h
        assert (run.arrived, run.rerouted, run.incidents) == (expected.arrived, expected.rerouted, expected.incidents)


def test_sumo_killed_in_the_middle_is_one_failed_run(project, batch, tmp_path):
    """The policy kills the process that SUMO lives in, as a crash inside libsumo would."""
    (tmp_path / "crashes.py").write_text(
        "import os, signal\n"
        "from scenariogen.simulation.contract import Policy\n"
        "class Crashes(Policy):\n"
        "    name = 'crashes'\n"
        "    def step(self, run, time_s):\n"
        f"        if time_s > {batch.window.count_from_s}:\n"
        "            os.kill(os.getpid(), signal.SIGSEGV)\n"
    )
    one = dataclasses.replace(batch, scenarios=batch.scenarios[:1])
    found = evaluate(project, one, ["no_control", tmp_path / "crashes.py"], out=tmp_path / "out", jobs=2)
    ends = {run.policy: run for run in found.results.runs}
    assert ends["no_control"].end_reason is EndReason.HORIZON
    assert ends["crashes"].end_reason is EndReason.SIMULATOR_DIED and "SIGSEGV" in ends["crashes"].error


def test_a_single_run_by_hand_gives_the_batchs_numbers_and_keeps_its_folder(project, batch, done, tmp_path):
    """Over TraCI, so that this process stays free for a libsumo simulation of another test."""
    found = run_scenario(
        project, batch.scenarios[1], "no_control", window=batch.window, folder=tmp_path / "run", simulator="traci"
    )
    assert found.system_delay_veh_h == runs(done)[1, "no_control"].system_delay_veh_h
    assert (tmp_path / "run" / "run.sumocfg").is_file()


def test_trajectories_that_are_recorded_leave_the_numbers_alone(project, batch, tmp_path):
    """First without, then recorded: the run is made again, with the same numbers."""
    one = dataclasses.replace(batch, scenarios=batch.scenarios[1:])
    plain = evaluate(project, one, ["no_control"], out=tmp_path / "out")
    recorded = evaluate(project, one, ["no_control"], out=tmp_path / "out", record=[1])
    assert recorded.made == 1
    before, after = (dataclasses.replace(each.results.runs[0], cpu_s=0.0, wall_s=0.0) for each in (plain, recorded))
    assert before == after
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "out" / "kept" / "00001-no_control-0" / "trajectories.parquet")
    assert len(set(table.column("vehicle_id").to_pylist())) >= after.arrived
    assert evaluate(project, one, ["no_control"], out=tmp_path / "out", record=[1]).made == 0
    with pytest.raises(ScenarioError, match=r"scenarios \[7\] are to be kept and are not in the batch"):
        evaluate(project, one, ["no_control"], out=tmp_path / "out", record=[7])
