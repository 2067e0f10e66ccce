"""The runs that are still to be made: read as they are needed, tried again once, and given up after that.

A run that crashes the simulator or takes too long is tried a second time; where that fails as well it is recorded so,
and is in quarantine: the same command leaves it alone, and estimates count it among the troubled ones.
"""

import statistics
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

from scenariogen.evaluation.policy import PolicyReference
from scenariogen.evaluation.records import RunResult
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.contract import EndReason

ATTEMPTS = 2
FIRST_LIMIT_S = 3_600.0
"""Time limit of a run until :data:`LEAST_FINISHED` have finished."""
LEAST_FINISHED = 5
MEDIANS = 20.0
"""After that a run may take so many times the median of those that finished last, and at least this long:"""
LEAST_LIMIT_S = 60.0
_LAST = 501


@dataclass(frozen=True, kw_only=True)
class Task:
    """One run to make. ``folder`` is its own, deleted afterwards unless ``keep``.

    ``record``     keep the trajectories of all vehicles in the folder
    ``emissions``  measure what vehicles emit
    ``limit_s``    wall seconds after which it is ended
    ``attempt``    1, or 2 where it is tried again
    ``made_with``  the fields of its result that say what it was made with
    """

    key: str
    scenario: Scenario
    policy: PolicyReference
    replica: int
    seed: int
    folder: Path
    keep: bool = False
    record: bool = False
    emissions: bool = False
    limit_s: float = float("inf")
    attempt: int = 1
    made_with: dict[str, str] = field(default_factory=dict, repr=False)

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
            "attempts": self.attempt,
            "policy_sha256": self.policy.sha256,
            **self.made_with,
        }


class TimeLimit:
    """How long a run may take: ``fixed_s``, or 20 times the median of the runs that finished, at least a minute.

    Until five have finished it is an hour.

    >>> TimeLimit(30.0).limit_s, TimeLimit().limit_s
    (30.0, 3600.0)
    """

    def __init__(self, fixed_s: float | None = None) -> None:
        self._fixed_s = fixed_s
        self._wall_s: deque[float] = deque(maxlen=_LAST)

    def add(self, run: RunResult) -> None:
        """Learn from a run that ended."""
        if not run.failed:
            self._wall_s.append(run.wall_s)

    @property
    def limit_s(self) -> float:
        """For a run that begins now."""
        if self._fixed_s is not None:
            return self._fixed_s
        if len(self._wall_s) < LEAST_FINISHED:
            return FIRST_LIMIT_S
        return max(LEAST_LIMIT_S, MEDIANS * statistics.median(self._wall_s))


class Pending:
    """Tasks in their order, each read when it is asked for; what is to be tried again comes first."""

    def __init__(
        self, tasks: Iterable[Task], record: Callable[[RunResult], None], limit: TimeLimit | None = None
    ) -> None:
        self._ahead, self._first = iter(tasks), deque[Task]()
        self._record, self._limit = record, limit

    def count(self, most: int) -> int:
        """How many are left, as far as ``most``."""
        self._first.extend(islice(self._ahead, max(0, most - len(self._first))))
        return min(most, len(self._first))

    def __bool__(self) -> bool:
        return self.count(1) > 0

    def pop(self) -> Task:
        """The next task, with the time limit that holds now."""
        self.count(1)
        task = self._first.popleft()
        return task if self._limit is None else replace(task, limit_s=self._limit.limit_s)

    def put_back(self, tasks: Iterable[Task]) -> None:
        """Tasks that were not begun, or were lost by another's fault: they come next."""
        self._first.extendleft(reversed(list(tasks)))

    def ended(self, task: Task, run: RunResult) -> None:
        """Record a run that ended, or have it tried again."""
        if self._limit is not None:
            self._limit.add(run)
        if run.is_quarantined and task.attempt < ATTEMPTS:
            self.put_back([replace(task, attempt=task.attempt + 1)])
        else:
            self._record(run)
