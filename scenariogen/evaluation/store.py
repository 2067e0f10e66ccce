"""A results folder: what was run, in which batch, and every run's outcome, safe against being killed.

::

    results/
      results.json        manifest: project, batch, window, policies, versions
      scenarios.parquet   the batch, so that estimates and reports need nothing else
      journal.jsonl       one line per finished run, flushed to the disk; gone once it is folded into the table
      runs.parquet        all runs, ordered
      estimates.json, diagnostics.json
      kept/               run folders that were asked for
      .work/              run folders in use, removed after each run

Two writers cannot share a folder, and a folder holds one project, one window and one batch.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from scenariogen.errors import Problems, ResultsError
from scenariogen.evaluation.manifest import MANIFEST, Manifest, read_manifest, refuse_mixing
from scenariogen.evaluation.policy import PolicyReference
from scenariogen.evaluation.records import RunResult, batch_hash, run_key
from scenariogen.scenarios.records import Scenario, ScenarioBatch

JOURNAL, RUNS, SCENARIOS = "journal.jsonl", "runs.parquet", "scenarios.parquet"
WORK, KEPT, LOCK = ".work", "kept", ".lock"

_ARROW = {
    "key": "string", "scenario": "int64", "policy": "string", "replica": "int64", "seed": "int64",
    "end_reason": "string", "system_delay_veh_h": "double", "time_veh_h": "double", "free_flow_veh_h": "double",
    "due": "int64", "arrived": "int64", "discarded": "int64", "running_at_end": "int64", "waiting_at_end": "int64",
    "locked_up": "bool", "locked_up_at_s": "double", "error": "string", "incidents_asked": "int64",
    "incidents_due": "int64", "incidents_realised": "int64", "incidents": "string",
    "effects_due": "int64", "effects_realised": "int64", "effects": "string",
    "delay_by_class": "string", "rerouted": "int64",
    "teleports": "int64", "collisions": "int64", "emergency_stops": "int64",
    "backlog_most": "int64", "stuck_share_most": "double", "balance_checks": "int64", "balance_broken": "string",
    "cpu_s": "double", "wall_s": "double",
    "policy_sha256": "string", "sumo_version": "string", "scenariogen_version": "string",
}  # fmt: skip
"""Columns of ``runs.parquet``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """Everything in a results folder. ``runs`` are in the order scenario, policy, replica."""

    folder: Path
    manifest: Manifest
    batch: ScenarioBatch
    runs: tuple[RunResult, ...] = field(repr=False)

    @property
    def policies(self) -> tuple[str, ...]:
        """Names, the baseline first."""
        return tuple(reference.name for reference in self.manifest.policies)

    @property
    def missing(self) -> int:
        """Runs that are still to be made."""
        return len(self.batch) * len(self.policies) * self.manifest.replicas - len(self.runs)

    def table(self):
        """The runs as a ``pandas.DataFrame``."""
        import pandas as pd

        return pd.DataFrame([asdict(run) | {"end_reason": run.end_reason.name} for run in self.runs])


class ResultsFolder:
    """Writes a results folder. Use inside ``with folder.locked():``."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

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

        if (self.path / MANIFEST).exists():
            refuse_mixing(read_manifest(self.path), manifest, self.path)
        else:
            strangers = sorted(each.name for each in self.path.iterdir() if each.name != LOCK)
            if strangers:
                raise ResultsError(
                    f"{self.path} is not a results folder and not empty (it holds {', '.join(strangers[:4])}): "
                    "choose a new folder"
                )
        _cut_torn_line(self.path / JOURNAL)
        shutil.rmtree(self.path / WORK, ignore_errors=True)  # left over by an evaluation that was killed
        (self.path / WORK).mkdir()
        if not (self.path / SCENARIOS).exists():
            write_batch(batch, self.path / SCENARIOS)
        write_atomically(self.path / MANIFEST, manifest.to_json())

    def append(self, result: RunResult) -> None:
        """Add one run to the journal; when this returns it survives a power cut."""
        with (self.path / JOURNAL).open("a", encoding="utf-8") as journal:
            journal.write(result.to_json() + "\n")
            journal.flush()
            os.fsync(journal.fileno())

    def rows(self) -> dict[str, RunResult]:
        """Every run ever recorded here, by key."""
        return read_rows(self.path)

    def compact(self) -> None:
        """Fold the journal into ``runs.parquet``, ordered; the newest run of each kind replaces older versions."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        newest = {(run.scenario, run.policy, run.replica): run for run in self.rows().values()}
        order = {name: i for i, name in enumerate(r.name for r in read_manifest(self.path).policies)}
        runs = sorted(newest.values(), key=lambda r: (r.scenario, order.get(r.policy, len(order)), r.policy, r.replica))
        columns = [asdict(run) | {"end_reason": run.end_reason.name} for run in runs]
        types = {"string": pa.string(), "int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_()}
        table = pa.Table.from_pylist(columns, schema=pa.schema([(name, types[kind]) for name, kind in _ARROW.items()]))
        staged = self.path / f".{RUNS}"
        pq.write_table(table, staged)
        _sync(staged)
        staged.replace(self.path / RUNS)
        (self.path / JOURNAL).unlink(missing_ok=True)

    def clear_work(self) -> None:
        """Remove the folders of runs in use."""
        shutil.rmtree(self.path / WORK, ignore_errors=True)


def load_results(path: str | Path) -> Results:
    """Read a results folder, also one whose evaluation was killed. Raises ``ResultsError``."""
    from scenariogen.scenarios.files import read_batch

    folder = Path(path)
    manifest = read_manifest(folder)
    if not (folder / SCENARIOS).is_file():
        raise ResultsError(f"{folder / SCENARIOS} is missing: evaluate again into a new folder")
    batch = read_batch(folder / SCENARIOS)
    if batch_hash(batch) != manifest.batch_hash:
        raise ResultsError(f"{folder / SCENARIOS} was changed since the evaluation: evaluate again into a new folder")
    rows = read_rows(folder)
    runs = tuple(
        replace(rows[key], scenario=scenario.index, policy=policy.name, replica=replica)
        for scenario, policy, replica, key in expected_keys(batch, manifest)
        if key in rows
    )
    return Results(folder=folder, manifest=manifest, batch=batch, runs=runs)


def expected_keys(batch: ScenarioBatch, manifest: Manifest) -> Iterator[tuple[Scenario, PolicyReference, int, str]]:
    """(scenario, policy, replica, key) of every run that a folder is to hold, in order."""
    for scenario in batch.scenarios:
        for policy in manifest.policies:
            for replica in range(manifest.replicas):
                yield (
                    scenario,
                    policy,
                    replica,
                    run_key(
                        scenario,
                        replica=replica,
                        policy_sha256=policy.sha256,
                        project_hash=manifest.project_hash,
                        window=batch.window,
                        sumo_version=manifest.sumo_version,
                        scenariogen_version=manifest.scenariogen_version,
                        simulator=manifest.simulator,
                        capacity_table=manifest.capacity_table,
                    ),
                )


def read_rows(folder: Path) -> dict[str, RunResult]:
    """All runs of a folder by key: the table's, then the journal's. A torn last line is left out."""
    rows: dict[str, RunResult] = {}
    if (folder / RUNS).exists():
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(folder / RUNS).to_pylist()
            rows = {row["key"]: RunResult.from_mapping(row) for row in table}
        except (pa.ArrowException, ValueError, KeyError, OSError) as error:
            raise ResultsError(f"{folder / RUNS} cannot be read ({error}): evaluate again into a new folder") from error
    if (folder / JOURNAL).exists():
        rows |= _read_journal(folder / JOURNAL)
    return rows


def _read_journal(path: Path) -> dict[str, RunResult]:
    rows, problems = {}, Problems(f"{path} is damaged")
    *lines, torn = path.read_bytes().split(b"\n")
    del torn  # empty, or a run in flight when the evaluation was killed: it will be made again
    for number, line in enumerate(lines, start=1):
        try:
            run = RunResult.from_mapping(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            problems.add(f"line {number}: {error}; delete the line, its run will be made again")
            continue
        rows[run.key] = run
    problems.raise_as(ResultsError)
    return rows


def _cut_torn_line(path: Path) -> None:
    """Drop what a kill left of the last line, so that the next one begins on its own."""
    if not path.exists():
        return
    with path.open("r+b") as stream:
        content = stream.read()
        stream.truncate(content.rfind(b"\n") + 1)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file's content: a reader, or a kill at any moment, sees the old one or the new one."""
    staged = path.with_name(f".{path.name}")
    with staged.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    staged.replace(path)


def _sync(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
