"""Runs that crash or hang: ended, tried once more, listed with their reason, and never left out of an estimate."""

import importlib
import json
import math
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from scenariogen.errors import ResultsError
from scenariogen.evaluation.evaluate import evaluate
from scenariogen.evaluation.pending import FIRST_LIMIT_S, LEAST_LIMIT_S, Pending, Task, TimeLimit
from scenariogen.evaluation.store import QUARANTINE, load_results
from scenariogen.simulation.contract import EndReason
from scenariogen.simulation.isolation import ProcessDiedError, TookTooLongError, in_own_process
from tests.evaluation.paper_project import PaperProject, paper_batch, write_policy
from tests.evaluation.runners import result, tasks


@dataclass(frozen=True)
class Poisoned:
    """Hangs in some scenarios and crashes in others, as a project's runner does, while a file is there."""

    hangs: tuple[int, ...] = ()
    crashes: tuple[int, ...] = ()
    only_while: Path | None = None
    once: Path | None = None

    def __call__(self, task: Task):
        bad = self.only_while is None or self.only_while.exists()
        if self.once is not None:
            bad = bad and task.attempt == 1
        try:
            if bad and task.scenario.index in self.hangs:
                in_own_process(time.sleep, 60.0, limit_s=task.limit_s)
            if bad and task.scenario.index in self.crashes:
                in_own_process(os._exit, 7)
        except TookTooLongError as error:
            return task.failed(EndReason.TIME_LIMIT, str(error))
        except ProcessDiedError as error:
            return task.failed(EndReason.SIMULATOR_DIED, str(error))
        return replace(result(task), system_delay_veh_h=(task.seed * 2654435761 % 1000) / 7.0)


@pytest.fixture
def policies(tmp_path):
    return [write_policy(tmp_path, "calm")]


def go(out, policies, runner, n=50, **options):
    options = {"jobs": 2, "simulator": "dummy", "time_limit_s": 0.4, "replicas": 5} | options
    return evaluate(PaperProject(), paper_batch(n), policies, out=out, runner=runner, **options)


def test_what_hangs_and_what_crashes_is_quarantined_and_widens_the_interval(tmp_path, policies):
    there = tmp_path / "poison"
    there.touch()
    runner = Poisoned(hangs=(1,), crashes=(5,), only_while=there)
    poisoned = go(tmp_path / "a", policies, runner)
    listed = json.loads((tmp_path / "a" / QUARANTINE).read_text())
    assert {(each["scenario"], each["reason"]) for each in listed} == {
        (1, "it took longer than the time limit"), (5, "the simulator died"),
    }  # fmt: skip
    assert len(listed) == 10 and all(each["attempts"] == 2 and each["error"] for each in listed)
    sound = go(tmp_path / "b", policies, Poisoned())
    mean, other = poisoned.estimates[0], sound.estimates[0]
    assert poisoned.details[0].trouble == pytest.approx(2 / 50)
    assert poisoned.details[0].trouble_reasons == {"simulator died": 5, "took too long": 5}
    assert not other.is_refused and (mean.is_refused or mean.high - mean.low > other.high - other.low)

    again = go(tmp_path / "a", policies, runner)
    assert again.made == 0, "the same command leaves them alone"
    there.unlink()
    tried = go(tmp_path / "a", policies, runner, retry_quarantined=True)
    assert tried.made == 10 and not (tmp_path / "a" / QUARANTINE).exists()
    assert [replace(run, attempts=1) for run in tried.results.runs] == list(sound.results.runs)
    assert tried.estimates == sound.estimates


def test_what_works_the_second_time_is_a_result(tmp_path, policies):
    done = go(tmp_path / "a", policies, Poisoned(crashes=(2,), once=tmp_path), n=4, replicas=1)
    assert not any(run.failed for run in done.results.runs)
    assert [run.attempts for run in done.results.runs] == [1, 1, 2, 1]


def test_a_fork_that_hangs_is_killed_with_what_it_started(tmp_path):
    note = tmp_path / "pid"

    def hang():
        import subprocess

        note.write_text(str(subprocess.Popen(["sleep", "60"]).pid))
        while True:
            time.sleep(1)

    began = time.monotonic()
    with pytest.raises(TookTooLongError, match="longer than 5 s"):
        in_own_process(hang, limit_s=5.0)
    assert time.monotonic() - began < 30
    stat = Path(f"/proc/{note.read_text()}/stat")
    for _ in range(100):
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.05)
    else:
        pytest.fail("what it started is still running")


def test_an_answer_in_time_comes_whole():
    assert in_own_process(bytes, 3_000_000, limit_s=60.0) == bytes(3_000_000)


def test_the_limit_follows_the_runs_that_finished(tmp_path):
    limit = TimeLimit()
    runs = [replace(result(task), wall_s=10.0 + task.scenario.index) for task in tasks(5, tmp_path)]
    for run in runs[:4]:
        limit.add(run)
        limit.add(tasks(1, tmp_path)[0].failed(EndReason.TIME_LIMIT, "slow"))
    assert limit.limit_s == FIRST_LIMIT_S
    limit.add(runs[4])
    assert limit.limit_s == 20 * 12.0
    quick = TimeLimit()
    for run in runs:
        quick.add(replace(run, wall_s=0.1))
    assert quick.limit_s == LEAST_LIMIT_S and TimeLimit(3.0).limit_s == 3.0


def test_tasks_are_read_when_they_are_needed(tmp_path):
    read = []

    def lazily():
        for task in tasks(100, tmp_path):
            read.append(task)
            yield task

    recorded = []
    pending = Pending(lazily(), recorded.append)
    assert pending.count(3) == 3 and len(read) == 3
    first = pending.pop()
    assert math.isinf(first.limit_s) and len(read) == 3
    pending.ended(first, first.failed(EndReason.SIMULATOR_DIED, "x"))
    assert not recorded and pending.pop() == replace(first, attempt=2)
    pending.ended(replace(first, attempt=2), first.failed(EndReason.SIMULATOR_DIED, "x"))
    assert len(recorded) == 1
    second = pending.pop()
    pending.ended(second, second.failed(EndReason.POLICY_RAISED, "a policy raises again"))
    assert len(recorded) == 2


# ------------------------------------------------------------------------------------------------ a full disk


@dataclass(frozen=True)
class Full:
    """The disk of the worker is full in one scenario."""

    where: int

    def __call__(self, task: Task):
        from scenariogen.evaluation.run_one import run_task
        from tests.evaluation.paper_project import WINDOW, paper_network

        if task.scenario.index == self.where:

            class Simulator:
                def open(self, request):
                    raise OSError(28, "No space left on device", str(request.folder))

            return run_task(task, Simulator(), paper_network(), window=WINDOW)  # pyright: ignore[reportArgumentType]
        return result(task)


def test_a_full_disk_in_a_worker_stops_with_a_message_and_can_be_resumed(tmp_path, policies):
    with pytest.raises(ResultsError, match=r"no room for .*No space left.*free some space, then run the same command"):
        go(tmp_path / "a", policies, Full(5), n=8, jobs=1, replicas=1)
    kept = load_results(tmp_path / "a")
    assert 0 < len(kept.runs) < 8 and not any(run.failed for run in kept.runs)
    done = go(tmp_path / "a", policies, Full(-1), n=8, replicas=1)
    assert done.made == 8 - len(kept.runs) and done.results.missing == 0


def test_a_full_disk_under_the_results_leaves_nothing_half_written(tmp_path, policies, monkeypatch):
    real, calls = os.fsync, []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) > 6:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ResultsError, match="no room for"):
        go(tmp_path / "a", policies, Poisoned(), n=12, replicas=1)
    monkeypatch.undo()
    assert (tmp_path / "a" / "journal.jsonl").read_bytes().endswith(b"\n")
    kept = load_results(tmp_path / "a")
    done = go(tmp_path / "a", policies, Poisoned(), n=12, replicas=1)
    assert 0 < done.made == 12 - len(kept.runs) and done.results.missing == 0
    whole = go(tmp_path / "b", policies, Poisoned(), n=12, replicas=1)
    assert done.estimates == whole.estimates


@pytest.mark.parametrize("after", range(1, 9))
def test_a_full_disk_at_any_write_is_mended_by_the_same_command(tmp_path, policies, monkeypatch, after):
    """Whole files too: table, estimates and quarantine are written after the last run."""
    go(tmp_path / "a", policies, Poisoned(), n=3, replicas=1)
    before = sorted(path.name for path in (tmp_path / "a").iterdir())
    (tmp_path / "a" / "runs.parquet").unlink()
    real, calls = os.fsync, []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == after:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ResultsError, match="no room for"):
        go(tmp_path / "a", policies, Poisoned(), n=3, replicas=1)
    monkeypatch.undo()
    assert not [path for path in (tmp_path / "a").iterdir() if path.name.startswith((".runs", ".estim", ".diag"))]
    done = go(tmp_path / "a", policies, Poisoned(), n=3, replicas=1)
    assert done.results.missing == 0 and sorted(path.name for path in (tmp_path / "a").iterdir()) == before


def test_a_full_disk_under_the_usual_days_is_told_too(tmp_path, monkeypatch):
    """They are simulated before the first run, and their error came out as it was, with its traceback."""
    module = importlib.import_module("scenariogen.evaluation.evaluate")  # the package has the function by that name

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "usual_recipe", lambda *args: "recipe")
    monkeypatch.setattr(module, "ensure_usual", full)
    with pytest.raises(ResultsError, match=r"no room for .*free some space, then run the same command"):
        evaluate(PaperProject(), paper_batch(3), ["rerouting_advice"], out=tmp_path / "a", simulator="dummy")
    assert not (tmp_path / "a" / ".work").exists()
