"""A Dask cluster gives what local workers give, to the last digit, also when its processes die."""

import dataclasses
import os
import sys

import pytest

from scenariogen.errors import ProjectError, SimulationError
from scenariogen.evaluation import evaluate
from scenariogen.evaluation.cluster import check_workers, connected, lacking_here, run_on_cluster
from scenariogen.evaluation.outpost import run_in_outpost
from scenariogen.evaluation.policy import resolve_policy
from scenariogen.evaluation.project_runner import ProjectRunner
from scenariogen.simulation.contract import EndReason
from tests.evaluation.paper_project import WINDOW, PaperProject, PaperRunner, paper_batch, write_policy
from tests.evaluation.runners import Paper, Threads, result, tasks

pytest.importorskip("distributed", reason="dask.distributed is not installed: clusters are not tried")


@pytest.fixture(scope="module")
def client():
    with connected("local", jobs=2) as client:
        yield client


def numbers(results):
    return [dataclasses.replace(run, cpu_s=0.0, wall_s=0.0, attempts=1) for run in results.runs]


def test_the_same_numbers_as_here(tmp_path, client):
    policies = [write_policy(tmp_path, "calm"), write_policy(tmp_path, "green")]
    options = {"runner": PaperRunner(), "simulator": "dummy", "frequencies": None}
    here = evaluate(PaperProject(), paper_batch(8), policies, out=tmp_path / "a", jobs=2, **options)
    address = client.scheduler.address
    there = evaluate(PaperProject(), paper_batch(8), policies, out=tmp_path / "b", cluster=address, **options)
    assert numbers(here.results) == numbers(there.results)
    assert (tmp_path / "a" / "estimates.json").read_bytes() == (tmp_path / "b" / "estimates.json").read_bytes()


def test_a_run_that_takes_its_process_down_is_tried_again_and_told(tmp_path, client):
    found = []
    todo = tasks(6, tmp_path)
    run_on_cluster(todo, Paper(dies_on=(3,), by_signal=11), client=client, record=found.append)
    by_scenario = {run.scenario: run for run in found}
    assert len(found) == 6 and all(by_scenario[i] == result(todo[i]) for i in range(6) if i != 3)
    assert by_scenario[3].end_reason is EndReason.SIMULATOR_DIED and by_scenario[3].attempts == 2
    assert "SIGSEGV" in by_scenario[3].error


def test_a_worker_that_is_killed_loses_no_run(tmp_path, client):
    found = []

    def record(run):
        if not found:
            os.kill(next(iter(client.run(os.getpid).values())), 9)
        found.append(run)

    todo = tasks(12, tmp_path)
    run_on_cluster(todo, Paper(wait_s=0.1), client=client, record=record)
    assert sorted(found, key=lambda run: run.scenario) == [result(task) for task in todo]


def test_a_fault_of_ours_stops_the_batch(tmp_path, client):
    with pytest.raises(RuntimeError, match="scenario 2"):
        run_on_cluster(tasks(5, tmp_path), Paper(raises_on=(2,)), client=client, record=lambda run: None)


def test_runs_have_the_environment_of_local_workers(tmp_path):
    assert run_in_outpost(Threads(), tasks(1, tmp_path)[0]).error == "1 [] True"


def test_what_a_machine_lacks_is_listed_at_once(tmp_path, client):
    policy = resolve_policy(write_policy(tmp_path, "calm"))
    gone = dataclasses.replace(policy, spec=str(tmp_path / "gone.py"))
    changed = dataclasses.replace(policy, sha256="0" * 64)
    runner = ProjectRunner(
        sumocfg=tmp_path / "gone.sumocfg", project_hash="p" * 64, window=WINDOW, simulator="libsumo",
        work_folder=tmp_path,
    )  # fmt: skip
    found = lacking_here(runner, [policy, gone, changed], {"scenariogen": "99"})
    assert len(found) == 4, found
    assert "expected 99" in found[0] and "gone.py" in found[1] and "another content" in found[2]
    assert "by the same path" in found[3]
    with pytest.raises(SimulationError, match="the workers of the cluster cannot make these runs") as caught:
        check_workers(client, runner, [gone], {})
    assert len(caught.value.problems) == 2 * len(client.scheduler_info(n_workers=-1)["workers"])
    with pytest.raises(ProjectError):
        run_in_outpost(runner, tasks(1, tmp_path)[0])


def test_a_cluster_that_is_not_there_says_so(monkeypatch):
    from scenariogen.evaluation import cluster

    monkeypatch.setattr(cluster, "PATIENCE_S", 2.0)
    for address in ("tcp://127.0.0.1:9", "nonsense://x"):
        with pytest.raises(SimulationError, match="no cluster answers"), connected(address, jobs=1):
            pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SimulationError, match=r"pip install 'scenariogen\[cluster\]'"), connected("local", jobs=1):
        pass
