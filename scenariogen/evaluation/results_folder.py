"""Writes a results folder so that a kill at any moment, or a full disk, loses at most the runs in flight."""

import errno
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scenariogen.errors import ResultsError
from scenariogen.evaluation.manifest import MANIFEST, Manifest, read_manifest, refuse_mixing
from scenariogen.evaluation.records import RunResult
from scenariogen.evaluation.run_table import ROWS, RunTable, to_arrow, write_runs
from scenariogen.evaluation.store import (
    DIAGNOSTICS,
    ESTIMATES,
    JOURNAL,
    LOCK,
    PARTS,
    RUNS,
    SCENARIOS,
    WORK,
    open_table,
    part_files,
    read_journal,
    told_where_full,
    write_atomically,
)
from scenariogen.scenarios.records import ScenarioBatch

if TYPE_CHECKING:
    import pyarrow as pa

FOLD_AFTER = 2_000
"""Lines of the journal that are folded into a Parquet file of their own."""


class ResultsFolder:
    """Writes a results folder. Use inside ``with folder.locked():``."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lines: int | None = None
        """Of the journal; None until it is looked at."""

    @contextmanager
    def locked(self) -> Iterator["ResultsFolder"]:
        """Keep other writers out; the lock goes with the process, however that ends."""
        import fcntl

        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock = (self.path / LOCK).open("w")
        except OSError as error:
            raise ResultsError(f"the results folder {self.path} cannot be written: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ResultsError(
                    f"another evaluation is writing to {self.path}: wait for it, or choose another folder"
                ) from error
            yield self

    def begin(self, manifest: Manifest, batch: ScenarioBatch) -> None:
        """Start or resume: refuse a folder of another project or batch, then write manifest and scenarios."""
        from scenariogen.scenarios.files import write_batch

        is_another = False
        if (self.path / MANIFEST).exists():
            before = read_manifest(self.path)
            refuse_mixing(before, manifest, self.path)
            is_another = before != manifest
        else:
            strangers = sorted(each.name for each in self.path.iterdir() if each.name not in (LOCK, f".{MANIFEST}"))
            if strangers:
                raise ResultsError(
                    f"{self.path} is not a results folder and not empty (it holds {', '.join(strangers[:4])}): "
                    "choose a new folder"
                )
        with self._writing():
            if is_another:  # its answers are about other policies or versions: a report must not head with them
                for name in (ESTIMATES, DIAGNOSTICS):
                    (self.path / name).unlink(missing_ok=True)
            write_atomically(self.path / MANIFEST, manifest.to_json())  # first: it says that the rest is ours
            self._clean_up()
            (self.path / WORK).mkdir()
            if not (self.path / SCENARIOS).exists():
                write_batch(batch, self.path / SCENARIOS)

    def _clean_up(self) -> None:
        """Remove what an evaluation left that was killed."""
        _cut_torn_line(self.path / JOURNAL)
        shutil.rmtree(self.path / WORK, ignore_errors=True)
        for place, pattern in ((self.path, ".*.parquet"), (self.path / PARTS, ".*.parquet")):
            for staged in place.glob(pattern):
                staged.unlink(missing_ok=True)

    def append(self, result: RunResult) -> None:
        """Add one run to the journal; when this returns it survives a power cut.

        Raises ``ResultsError`` where the disk is full, and leaves the folder as it was.
        """
        line = (result.to_json() + "\n").encode()
        with self._writing(), (self.path / JOURNAL).open("ab", buffering=0) as journal:
            before = journal.tell()
            try:
                if journal.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path / JOURNAL))
                os.fsync(journal.fileno())
            except OSError:
                os.ftruncate(journal.fileno(), before)  # half a line would spoil the next one
                raise
        self._lines = self._count_lines() if self._lines is None else self._lines + 1
        if self._lines >= FOLD_AFTER:
            self.fold()

    def _count_lines(self) -> int:
        with (self.path / JOURNAL).open("rb") as journal:
            return sum(1 for _ in journal)

    def fold(self) -> None:
        """Move the journal's runs into a file under ``parts/``, so that no reader has to hold them."""
        runs = read_journal(self.path / JOURNAL)
        if runs:
            parts = part_files(self.path)
            number = 1 + (int(parts[-1].stem.rpartition("-")[2]) if parts else 0)
            with self._writing():
                (self.path / PARTS).mkdir(exist_ok=True)
                self._write_table([to_arrow(runs)], self.path / PARTS / f"runs-{number:06d}.parquet")
        (self.path / JOURNAL).unlink(missing_ok=True)
        self._lines = 0

    def table(self) -> RunTable:
        """Every run ever recorded here."""
        return open_table(self.path)

    def compact(self) -> None:
        """Fold everything into ``runs.parquet``, ordered; the newest run of each kind replaces older versions."""
        self.fold()
        parts = part_files(self.path)
        if not parts and (self.path / RUNS).exists():
            return
        table = self.table()
        rows = _ordered(table, [each.name for each in read_manifest(self.path).policies])
        chunks = (table.take(rows[first : first + ROWS]) for first in range(0, len(rows), ROWS))
        with self._writing():
            self._write_table(chunks, self.path / RUNS)
        for part in parts:  # the oldest first: what a kill leaves is newer than what is gone, as its place says
            part.unlink(missing_ok=True)
        shutil.rmtree(self.path / PARTS, ignore_errors=True)

    def _write_table(self, tables: Iterable["pa.Table"], path: Path) -> None:
        staged = path.with_name(f".{path.name}")
        try:
            write_runs(tables, staged)
            _sync(staged)
            staged.replace(path)
        finally:
            staged.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with told_where_full(self.path):
            yield

    def clear_work(self) -> None:
        """Remove the folders of runs in use."""
        shutil.rmtree(self.path / WORK, ignore_errors=True)


def _ordered(table: RunTable, policies: Sequence[str]) -> NDArray[np.int64]:
    """(run,) rows in the order scenario, policy, replica; of several for the same the newest."""
    import pandas as pd

    order = {name: place for place, name in enumerate(policies)}
    frame = pd.DataFrame({name: table.column(name).to_numpy() for name in ("scenario", "replica")})
    names = pd.Categorical(table.column("policy").to_numpy())
    frame["name"] = names.codes
    ranks = [order.get(name, len(order)) for name in names.categories]
    frame["rank"] = np.array(ranks, np.int64)[names.codes] if ranks else np.zeros(len(frame), np.int64)
    newest = frame.drop_duplicates(["scenario", "name", "replica"], keep="last")
    return newest.sort_values(["scenario", "rank", "name", "replica"], kind="stable").index.to_numpy()


def _cut_torn_line(path: Path) -> None:
    """Drop what a kill left of the last line, so that the next one begins on its own."""
    if not path.exists():
        return
    with path.open("r+b") as stream:
        content = stream.read()
        stream.truncate(content.rfind(b"\n") + 1)


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
