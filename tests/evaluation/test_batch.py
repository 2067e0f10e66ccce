"""Many runs in worker processes: nothing is lost when one of them dies, and the culprit is found."""

import dataclasses
import signal

import pytest

from scenariogen.evaluation.batch import run_tasks
from scenariogen.simulation.contract import EndReason
from tests.evaluation.runners import Paper, Threads, result, tasks


@pytest.fixture
def marks(tmp_path):
    folder = tmp_path / "marks"
    folder.mkdir()
    return folder


def made(todo, runner, marks, jobs):
    found = []
    run_tasks(todo, runner, jobs=jobs, marks=marks, record=found.append)
    assert not list(marks.iterdir())
    return {run.scenario: dataclasses.replace(run, attempts=1) for run in found}  # a bystander was begun twice


def test_the_numbers_do_not_depend_on_how_many_work_or_in_which_order(marks, tmp_path):
    todo = tasks(9, tmp_path)
    alone = made(todo, Paper(), marks, 1)
    together = made(todo[::-1], Paper(wait_s=0.01), marks, 3)
    assert alone == together == {task.scenario.index: result(task) for task in todo}


@pytest.mark.parametrize(
    ("by_signal", "said"), [(0, "EXIT(3)"), (signal.SIGSEGV, "SIGSEGV"), (signal.SIGKILL, "SIGKILL")]
)
def test_a_process_that_dies_loses_its_own_run_only(marks, tmp_path, by_signal, said):
    found = made(tasks(8, tmp_path), Paper(wait_s=0.05, dies_on=(3,), by_signal=by_signal), marks, 2)
    assert len(found) == 8
    assert found[3].end_reason is EndReason.SIMULATOR_DIED and found[3].system_delay_veh_h is None
    assert said in found[3].error
    assert all(found[i] == result(tasks(8, tmp_path)[i]) for i in range(8) if i != 3)


def test_a_bystander_is_tried_again_alone_and_gives_its_result(marks, tmp_path):
    """Scenario 2 takes its worker down once, for instance by memory that the neighbour had taken."""
    notes = tmp_path / "notes"
    notes.mkdir()
    found = made(tasks(5, tmp_path), Paper(wait_s=0.1, dies_once_on=(2,), notes=notes), marks, 2)
    assert all(run.end_reason is EndReason.HORIZON for run in found.values())
    assert len((notes / "2").read_text().split()) == 2


def test_several_culprits_are_each_found(marks, tmp_path):
    found = made(tasks(7, tmp_path), Paper(wait_s=0.02, dies_on=(0, 1, 6)), marks, 2)
    died = {number for number, run in found.items() if run.end_reason is EndReason.SIMULATOR_DIED}
    assert died == {0, 1, 6} and len(found) == 7


def test_a_fault_of_ours_stops_the_batch_and_keeps_what_was_made(marks, tmp_path):
    found = []
    with pytest.raises(RuntimeError, match="scenario 4"):
        run_tasks(tasks(40, tmp_path), Paper(wait_s=0.05, raises_on=(4,)), jobs=1, marks=marks, record=found.append)
    assert {run.scenario for run in found} >= {0, 1, 2, 3} and len(found) < 40


def test_workers_use_one_thread_leave_interrupts_alone_and_import_nothing_heavy(marks, tmp_path):
    found = made(tasks(1, tmp_path), Threads(), marks, 1)
    assert found[0].error == "1 [] True"


def test_nothing_to_do_is_done_at_once(marks):
    assert made([], Paper(), marks, 4) == {}
