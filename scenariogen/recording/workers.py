"""Work in parallel processes, results in order. A simulator that crashes takes its process down, not the recording."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from scenariogen.processes import end_with

Task = TypeVar("Task")
Result = TypeVar("Result")

SINGLE_THREADED = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)
"""Each worker computes in one thread: parallelism is in the number of workers."""


class Workers:
    """``jobs`` processes for as long as a ``with`` block lasts; they start when there is work."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._pool: Any = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end(kill=kind is not None)

    def in_order(
        self, work: Callable[[Task], Result], tasks: Sequence[Task], *, when_lost: Callable[[Task, str], Result]
    ) -> Iterator[Result]:
        """``work(task)`` for each task, in the tasks' order, as the results come in.

        At most ``2 · jobs`` tasks are under way or waiting to be taken. When a process dies, the tasks that were
        under way begin anew, the foremost alone; if its process dies again, ``when_lost(task, why)`` is its result.
        What ``work`` raises is raised here.
        """
        from joblib.externals.loky import BrokenProcessPool

        waiting = deque(tasks)
        under_way: deque[tuple[Task, Future]] = deque()
        while waiting or under_way:
            self._pool = self._pool or _pool(self.jobs)
            try:
                while waiting and len(under_way) < 2 * self.jobs:
                    under_way.append((waiting[0], self._pool.submit(work, waiting[0])))
                    waiting.popleft()
                result = under_way[0][1].result()
                under_way.popleft()
            except BrokenProcessPool:
                self._end(kill=True)
                waiting.extendleft(reversed([task for task, _ in under_way]))
                under_way.clear()
                result = _alone(work, waiting.popleft(), when_lost)
            yield result

    def _end(self, *, kill: bool) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            pool.shutdown(wait=True, kill_workers=kill)


def _alone(work: Callable[[Task], Result], task: Task, when_lost: Callable[[Task, str], Result]) -> Result:
    from joblib.externals.loky import BrokenProcessPool

    pool = _pool(1)
    try:
        return pool.submit(work, task).result()
    except BrokenProcessPool as error:
        return when_lost(task, f"the process died while it simulated{_exit_code(error)}")
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _exit_code(error: Exception) -> str:
    """The exit code out of the pool's message."""
    code = str(error).partition("exit codes of the workers are")[2].strip(" {}\n").splitlines()
    return f" ({code[0].strip(' {}')})" if code else ""


def _pool(workers: int):
    from joblib.externals.loky import ProcessPoolExecutor

    return ProcessPoolExecutor(max_workers=workers, initializer=_serve, initargs=(os.getpid(),), env=SINGLE_THREADED)


def _serve(parent: int) -> None:
    """In a worker: Ctrl-C reaches every process of the terminal, but the parent decides what it means; and a worker
    whose parent was killed ends too, which it would not find out by itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(parent)
