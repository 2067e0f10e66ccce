"""Many runs in parallel processes, so that no run can take another down.

Every run is made in a worker process, also with one job. When a worker dies, the runs that were under way in any
worker are suspects; each is tried again alone in a process of its own. The one that dies there too is recorded as
such, the others give their results.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from pathlib import Path

from scenariogen.errors import SimulationError
from scenariogen.evaluation.pending import ATTEMPTS, Pending, Task, TimeLimit
from scenariogen.evaluation.records import RunResult
from scenariogen.processes import ONE_THREAD, how_it_died, worker_pool
from scenariogen.simulation.contract import EndReason

WORKER_ENVIRONMENT = dict(ONE_THREAD) | {"PYTHONHASHSEED": "0"}
"""Each worker is one thread, parallelism is in their number; and sets are walked in the same order in each."""

Runner = Callable[[Task], RunResult]
"""Makes one run. It must be picklable; what it raises stops the batch, so a run's own faults belong in its result."""


def run_tasks(
    tasks: Iterable[Task],
    runner: Runner,
    *,
    jobs: int,
    marks: Path,
    record: Callable[[RunResult], None],
    limit: TimeLimit | None = None,
) -> None:
    """Make all runs, calling ``record`` in this process for each as it ends, in no particular order.

    Tasks are read as they are needed. ``marks`` is an empty folder that survives a worker's death: each worker notes
    there what it is running. Without ``limit`` a run may take for ever.
    Raises what a runner raises, after the runs that were finished have been recorded.
    """
    pending = Pending(tasks, record, limit)
    barren = 0
    while pending:
        lost = _drain(pending, runner, jobs, marks)
        suspects = [task for task in lost if _mark(marks, task).exists()]
        pending.put_back(task for task in lost if task not in suspects)
        for task in suspects:
            _mark(marks, task).unlink()
            _run_alone(replace(task, attempt=ATTEMPTS), pending, runner, marks)
        barren = barren + 1 if lost and not suspects else 0
        if barren == 3:
            raise SimulationError(
                "worker processes die before they begin a run; expected at least one to start: look for missing "
                "memory (dmesg) or try --jobs 1"
            )


def _drain(pending: Pending, runner: Runner, jobs: int, marks: Path) -> list[Task]:
    """Run until nothing is pending, or until a worker dies: then the tasks whose results were lost."""
    from joblib.externals.loky import BrokenProcessPool

    pool = worker_pool(pending.count(jobs), env=WORKER_ENVIRONMENT)
    running: dict[Future, Task] = {}
    lost: list[Task] = []
    finished = False
    try:
        while (pending and not lost) or running:
            while not lost and len(running) < 2 * jobs and pending:
                task = pending.pop()
                try:
                    running[pool.submit(_marked, runner, task, marks)] = task
                except BrokenProcessPool:
                    lost.append(task)
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                try:
                    run = future.result()
                except BrokenProcessPool:
                    lost.append(task)
                else:
                    pending.ended(task, run)
        finished = not lost
        return lost
    finally:
        pool.shutdown(wait=True, kill_workers=not finished)


def _run_alone(task: Task, pending: Pending, runner: Runner, marks: Path) -> None:
    from joblib.externals.loky import BrokenProcessPool

    pool = worker_pool(1, env=WORKER_ENVIRONMENT)
    try:
        pending.ended(task, pool.submit(_marked, runner, task, marks).result())
    except BrokenProcessPool as error:
        _mark(marks, task).unlink(missing_ok=True)
        pending.ended(task, task.failed(EndReason.SIMULATOR_DIED, how_it_died(error)))
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _marked(runner: Runner, task: Task, marks: Path) -> RunResult:
    mark = _mark(marks, task)
    mark.touch()
    try:
        return runner(task)
    finally:
        mark.unlink(missing_ok=True)


def _mark(marks: Path, task: Task) -> Path:
    return marks / task.key
