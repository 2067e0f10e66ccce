"""How far a batch is: a small record for every finished run, and a bar for terminals."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from scenariogen.evaluation.records import RunResult


@dataclass(frozen=True, kw_only=True)
class Progress:
    """State of a batch after a run.

    ``done``      runs that are recorded, those of an earlier evaluation included
    ``total``     runs of the batch
    ``resumed``   of ``done``, how many were there before
    ``failed``    of ``done``, how many gave no delay
    ``locked_up`` of ``done``, how many locked up
    ``latest``    the run that just ended; None at the beginning
    """

    done: int
    total: int
    resumed: int = 0
    failed: int = 0
    locked_up: int = 0
    latest: RunResult | None = None


Report = Callable[[Progress], None]


class Tally:
    """Counts runs and reports after each."""

    def __init__(self, total: int, before: Sequence[RunResult], report: Report | None) -> None:
        self._total, self._resumed, self._report = total, len(before), report
        self._done = len(before)
        self._seen = Counter(failed=0, locked_up=0)
        for run in before:
            self._count(run)
        self._tell(None)

    def add(self, run: RunResult, times: int = 1) -> None:
        """One more run ended, which answers for ``times`` of the batch."""
        self._done += times
        self._count(run)
        self._tell(run)

    def _count(self, run: RunResult) -> None:
        self._seen["failed"] += run.failed
        self._seen["locked_up"] += run.locked_up

    def _tell(self, latest: RunResult | None) -> None:
        if self._report is not None:
            self._report(
                Progress(
                    done=self._done,
                    total=self._total,
                    resumed=self._resumed,
                    failed=self._seen["failed"],
                    locked_up=self._seen["locked_up"],
                    latest=latest,
                )
            )


@contextmanager
def progress_bar(title: str = "runs") -> Iterator[Report]:
    """A bar on standard error: ``with progress_bar() as report: evaluate(..., progress=report)``."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, note="")

        def report(state: Progress) -> None:
            notes = [
                f"{count} {word}"
                for count, word in (
                    (state.resumed, "resumed"),
                    (state.failed, "failed"),
                    (state.locked_up, "locked up"),
                )
                if count
            ]
            bar.update(task, completed=state.done, total=state.total, note=", ".join(notes))

        yield report
