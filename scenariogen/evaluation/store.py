"""A results folder as it is read: runs one after another, or as tables of pandas.

::

    results/
      results.json        manifest: project, batch, window, policies, versions
      usual.npz           what measuring stations usually say, where a policy learns of incidents from them
      scenarios.parquet   the batch, so that estimates and reports need nothing else
      journal.jsonl       one line per finished run, flushed to the disk; gone once it is folded into a table
      parts/              what the journal was folded into while runs go on
      runs.parquet        all runs, ordered
      estimates.json, diagnostics.json
      quarantine.json     runs that crashed or took too long each time they were tried
      growth.json         looks and stages of an evaluation that grew
      kept/               run folders that were asked for
      .work/              run folders in use, removed after each run

Two writers cannot share a folder, and a folder holds one project, one window and one batch. Runs and scenarios are
read from their files some at a time, so that their number is no matter of memory.
"""

import errno
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.errors import Problems, ResultsError
from scenariogen.evaluation.expected import ExpectedRuns, expected_runs
from scenariogen.evaluation.growth import Growth, read_growth
from scenariogen.evaluation.manifest import Manifest, read_manifest
from scenariogen.evaluation.records import RunResult, batch_hash
from scenariogen.evaluation.run_table import RunTable
from scenariogen.scenarios.records import ScenarioBatch

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.evaluation.strata import Stages

JOURNAL, RUNS, SCENARIOS, PARTS = "journal.jsonl", "runs.parquet", "scenarios.parquet", "parts"
USUAL = "usual.npz"
ESTIMATES, DIAGNOSTICS = "estimates.json", "diagnostics.json"
WORK, KEPT, LOCK, QUARANTINE = ".work", "kept", ".lock", "quarantine.json"
FULL = (errno.ENOSPC, errno.EDQUOT)
OPEN_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """Everything in a results folder. ``runs`` are in the order scenario, policy, replica, and stay in their file.

    ``growth``  looks and stages where it grew (:func:`scenariogen.evaluation.sequential.evaluate_until`)
    """

    folder: Path
    manifest: Manifest
    batch: ScenarioBatch
    runs: Sequence[RunResult] = field(repr=False)
    growth: Growth | None = None

    @property
    def stages(self) -> "Stages":
        """For estimates; None where all runs are one stage."""
        return None if self.growth is None else self.growth.stages(self.batch.columns.index)

    def level(self, together: float) -> float:
        """Of an interval that is to hold at a level wherever the evaluation stopped."""
        return together if self.growth is None else self.growth.level(together)

    @property
    def policies(self) -> tuple[str, ...]:
        """Names, the baseline first."""
        return tuple(reference.name for reference in self.manifest.policies)

    @property
    def missing(self) -> int:
        """Runs that are still to be made."""
        return len(self.batch) * len(self.policies) * self.manifest.replicas - len(self.runs)

    @property
    def quarantined(self) -> Iterator[RunResult]:
        """Runs that crashed or took too long each time; estimates count them as troubled."""
        return (run for run in self.runs if run.is_quarantined)

    def runs_frame(self) -> "pd.DataFrame":
        """One row for each run, with the columns of ``runs.parquet``."""
        from scenariogen.evaluation.frames import runs_frame

        return runs_frame(self.runs)

    def scenarios_frame(self) -> "pd.DataFrame":
        """One row for each scenario: its condition, how many incidents it has, and its density where it was drawn."""
        from scenariogen.evaluation.frames import scenarios_frame

        return scenarios_frame(self.batch)

    def incidents_frame(self) -> "pd.DataFrame":
        """One row for each incident of each run: what was asked, what happened, and when."""
        from scenariogen.evaluation.frames import incidents_frame

        return incidents_frame(self.runs)

    def estimates_frame(self) -> "pd.DataFrame":
        """One row for each estimate of ``estimates.json``."""
        from scenariogen.evaluation.frames import estimates_frame

        return estimates_frame(self.folder)


def load_results(path: str | Path) -> Results:
    """Read a results folder, also one whose evaluation was killed. Raises ``ResultsError``."""
    from scenariogen.scenarios.files import open_batch

    folder = Path(path)
    manifest = read_manifest(folder)
    if not (folder / SCENARIOS).is_file():
        raise ResultsError(f"{folder / SCENARIOS} is missing: evaluate again into a new folder")
    batch = open_batch(folder / SCENARIOS, trusted=True)
    if batch_hash(batch) != manifest.batch_hash:
        raise ResultsError(f"{folder / SCENARIOS} was changed since the evaluation: evaluate again into a new folder")
    return results_of(folder, manifest, batch, expected_runs(batch, manifest))


def results_of(folder: Path, manifest: Manifest, batch: ScenarioBatch, expected: ExpectedRuns) -> Results:
    """The results of a folder whose batch and keys are known."""
    runs = expected.runs_of(open_table(folder))
    return Results(folder=folder, manifest=manifest, batch=batch, runs=runs, growth=read_growth(folder))


def open_table(folder: Path) -> RunTable:
    """All runs of a folder: the table's, those of parts, then the journal's. A torn last line is left out."""
    import pyarrow as pa

    try:
        for attempt in range(OPEN_ATTEMPTS):
            journal = read_journal(folder / JOURNAL)  # first: what is folded meanwhile is then there twice, not lost
            files = [file for file in (folder / RUNS, *part_files(folder)) if file.exists()]
            try:
                return RunTable(files, journal)
            except FileNotFoundError:  # an evaluation that is going on has folded it
                if attempt == OPEN_ATTEMPTS - 1:
                    raise
    except (pa.ArrowException, ValueError, KeyError, OSError) as error:
        raise ResultsError(f"{folder / RUNS} cannot be read ({error}): evaluate again into a new folder") from error
    raise AssertionError("the loop returns or raises")


def part_files(folder: Path) -> list[Path]:
    """Parquet files that the journal was folded into, the oldest first."""
    return sorted((folder / PARTS).glob("runs-*.parquet"))


def read_rows(folder: Path) -> dict[str, RunResult]:
    """All runs of a folder by key, in memory."""
    table = open_table(folder)
    rows = table.take(np.arange(len(table))).to_pylist()
    return {row["key"]: RunResult.from_mapping(row) for row in rows}


def read_journal(path: Path) -> list[RunResult]:
    """The runs of a journal; none where there is no such file."""
    if not path.exists():
        return []
    rows, problems = [], Problems(f"{path} is damaged")
    *lines, torn = path.read_bytes().split(b"\n")
    del torn  # empty, or a run in flight when the evaluation was killed: it will be made again
    for number, line in enumerate(lines, start=1):
        try:
            rows.append(RunResult.from_mapping(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            problems.add(f"line {number}: {error}; delete the line, its run will be made again")
    problems.raise_as(ResultsError)
    return rows


@contextmanager
def told_where_full(path: Path) -> Iterator[None]:
    """Turn the error of a full disk into a ``ResultsError`` that says how to go on."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise full_disk(path, error) from error
        raise


def is_full(error: BaseException) -> bool:
    """True for the error of a disk, or of an allowance on it, that is full."""
    return isinstance(error, OSError) and error.errno in FULL


def full_disk(path: Path, error: OSError) -> ResultsError:
    """What to tell about a disk that is full."""
    return ResultsError(
        f"no room for {error.filename or path} ({error.strerror}): what was finished is kept; free some space, then "
        "run the same command again"
    )


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's content: a reader, or a kill at any moment, sees the old one or the new one."""
    staged = path.with_name(f".{path.name}")
    with told_where_full(path.parent):
        try:
            with staged.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            staged.replace(path)
        finally:
            staged.unlink(missing_ok=True)
