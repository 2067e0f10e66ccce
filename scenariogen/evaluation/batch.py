"""Many runs in parallel processes, so that no run can take another down.

Every run is made in a worker process, also with one job. When a worker dies, the runs that were under way in any
worker are suspects; each is tried again alone in a process of its own. The one that dies there too is recorded as
such, the others give their results.
"""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path

from scenariogen.errors import SimulationError
from scenariogen.evaluation.policy import PolicyReference
from scenariogen.evaluation.records import RunResult
from scenariogen.processes import end_with
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.contract import EndReason

WORKER_ENVIRONMENT = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
) | {"PYTHONHASHSEED": "0"}
"""Each worker is one thread, parallelism is in their number; and sets are walked in the same order in each."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run to make. ``folder`` is its own, deleted afterwards unless ``keep``."""

    key: str
    scenario: Scenario
    policy: PolicyReference
    replica: int
    seed: int
    folder: Path
    keep: bool = False
    sumo_version: str = ""
    scenariogen_version: str = ""

    def failed(self, reason: EndReason, error: str) -> RunResult:
        """The result of a run that gave none."""
        return RunResult(**self.identity(), end_reason=reason, error=error)

    def identity(self) -> dict:
        """The fields of a :class:`RunResult` that are known beforehand."""
        return {
            "key": self.key,
            "scenario": self.scenario.index,
            "policy": self.policy.name,
            "replica": self.replica,
            "seed": self.seed,
            "incidents_asked": len(self.scenario.incidents),
            "policy_sha256": self.policy.sha256,
            "sumo_version": self.sumo_version,
            "scenariogen_version": self.scenariogen_version,
        }


Runner = Callable[[Task], RunResult]
"""Makes one run. It must be picklable; what it raises stops the batch, so a run's own faults belong in its result."""


def run_tasks(
    tasks: Iterable[Task], runner: Runner, *, jobs: int, marks: Path, record: Callable[[RunResult], None]
) -> None:
    """Make all runs, calling ``record`` in this process for each as it ends, in no particular order.

    ``marks`` is an empty folder that survives a worker's death: each worker notes there what it is running.
    Raises what a runner raises, after the runs that were finished have been recorded.
    """
    queue = deque(tasks)
    barren = 0
    while queue:
        lost = _drain(queue, runner, jobs, marks, record)
        suspects = [task for task in lost if _mark(marks, task).exists()]
        queue.extendleft(reversed([task for task in lost if task not in suspects]))
        for task in suspects:
            _mark(marks, task).unlink()
            _run_alone(task, runner, marks, record)
        barren = barren + 1 if lost and not suspects else 0
        if barren == 3:
            raise SimulationError(
                "worker processes die before they begin a run; expected at least one to start: look for missing "
                "memory (dmesg) or try --jobs 1"
            )


def _drain(
    queue: deque[Task], runner: Runner, jobs: int, marks: Path, record: Callable[[RunResult], None]
) -> list[Task]:
    """Run until the queue is empty, or until a worker dies: then the tasks whose results were lost."""
    from joblib.externals.loky import BrokenProcessPool

    pool = _pool(min(jobs, len(queue)))
    running: dict[Future, Task] = {}
    lost: list[Task] = []
    finished = False
    try:
        while (queue and not lost) or running:
            while queue and not lost and len(running) < 2 * jobs:
                try:
                    running[pool.submit(_marked, runner, queue[0], marks)] = queue[0]
                except BrokenProcessPool:
                    lost.append(queue[0])
                queue.popleft()
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                try:
                    record(future.result())
                except BrokenProcessPool:
                    lost.append(task)
        finished = not lost
        return lost
    finally:
        pool.shutdown(wait=True, kill_workers=not finished)


def _run_alone(task: Task, runner: Runner, marks: Path, record: Callable[[RunResult], None]) -> None:
    from joblib.externals.loky import BrokenProcessPool

    pool = _pool(1)
    try:
        record(pool.submit(_marked, runner, task, marks).result())
    except BrokenProcessPool as error:
        _mark(marks, task).unlink(missing_ok=True)
        record(task.failed(EndReason.SIMULATOR_DIED, _how_it_died(error)))
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _pool(workers: int):
    from joblib.externals.loky import ProcessPoolExecutor

    return ProcessPoolExecutor(
        max_workers=workers, initializer=_settle_in, initargs=(os.getpid(),), env=WORKER_ENVIRONMENT
    )


def _settle_in(parent: int) -> None:
    """A worker leaves Ctrl-C, which reaches every process of a terminal, to its parent, and does not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)


def _marked(runner: Runner, task: Task, marks: Path) -> RunResult:
    mark = _mark(marks, task)
    mark.touch()
    try:
        return runner(task)
    finally:
        mark.unlink(missing_ok=True)


def _mark(marks: Path, task: Task) -> Path:
    return marks / task.key


def _how_it_died(error: Exception) -> str:
    """The exit code out of the pool's message, in words."""
    text = str(error)
    code = text.partition("exit codes of the workers are")[2].strip(" {}\n").splitlines()
    return f"the process died while it simulated ({code[0].strip(' {}') if code else type(error).__name__})"


def unique(tasks: Sequence[Task]) -> list[Task]:
    """The tasks without those that another one answers as well."""
    return list({task.key: task for task in tasks}.values())
