"""Work in parallel processes, results in order. A simulator that crashes takes its process down, not the recording."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from scenariogen.processes import how_it_died, worker_pool

Task = TypeVar("Task")
Result = TypeVar("Result")


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
            self._pool = self._pool or worker_pool(self.jobs)
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

    pool = worker_pool(1)
    try:
        return pool.submit(work, task).result()
    except BrokenProcessPool as error:
        return when_lost(task, how_it_died(error))
    finally:
        pool.shutdown(wait=True, kill_workers=True)
