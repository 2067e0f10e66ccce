"""Which runs of an evaluation are still to be made, and the task of each."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from scenariogen.evaluation.expected import ExpectedRuns, expected_keys
from scenariogen.evaluation.kept import is_recorded
from scenariogen.evaluation.manifest import Manifest
from scenariogen.evaluation.pending import Task
from scenariogen.evaluation.progress import Report
from scenariogen.evaluation.records import QUARANTINED, digest, replica_seed, scenario_content
from scenariogen.evaluation.results_folder import ResultsFolder
from scenariogen.evaluation.store import KEPT, WORK
from scenariogen.scenarios.records import ScenarioBatch

if TYPE_CHECKING:
    from distributed import Client


@dataclass(frozen=True, kw_only=True)
class HowToRun:
    """What does not change a run's numbers.

    ``keep``, ``record``  scenarios whose run folders stay, and whose trajectories are kept there besides
    ``client``            a cluster's, or None: ``jobs`` processes here
    """

    jobs: int = 1
    keep: frozenset[int] = frozenset()
    record: frozenset[int] = frozenset()
    retry_quarantined: bool = False
    time_limit_s: float | None = None
    client: "Client | None" = None
    progress: Report | None = None


class Wanted:
    """The runs that a folder does not hold, those that are to be tried again, and those to be recorded anew.

    ``before``  the runs that stay as they are
    ``times``   for how many of the batch a run answers, by its key, where that is not one
    ``count``   runs to make
    """

    def __init__(self, folder: ResultsFolder, batch: ScenarioBatch, expected: ExpectedRuns, how: HowToRun) -> None:
        self._folder, self._batch, self._how = folder, batch, how
        table = folder.table()
        rows = table.newest(expected.keys)
        again, poisoned = self._unrecorded(expected), np.zeros(len(expected), bool)
        if len(table):
            reasons = np.array(table.column("end_reason").to_pylist(), dtype=object).astype(str)
            of_rows = np.isin(reasons, [each.name for each in QUARANTINED])
            poisoned = (rows >= 0) & of_rows[np.maximum(rows, 0)]
        again = again | poisoned if how.retry_quarantined else again & ~poisoned
        rows[again] = -1
        self.before = expected.select(table, rows)
        missing = np.flatnonzero(rows < 0)
        _, first, times = np.unique(expected.keys[missing], return_index=True, return_counts=True)
        self._todo = np.zeros(len(expected), bool)
        self._todo[missing[first]] = True
        several = times > 1
        self.times = {
            bytes(expected.keys[missing[place]]).decode(): int(number)
            for place, number in zip(first[several], times[several], strict=True)
        }
        self.count = len(first)

    def _unrecorded(self, expected: ExpectedRuns) -> NDArray[np.bool_]:
        """(run,) those whose trajectories are asked for and not there, or there in part, or another run's."""
        each = len(expected.policies) * expected.replicas
        found = np.repeat(np.isin(expected.index, sorted(self._how.record)), each)
        for place in np.flatnonzero(found):
            policy = expected.policies[place // expected.replicas % len(expected.policies)]
            name = _name(int(expected.index[place // each]), policy, int(place % expected.replicas))
            found[place] = not is_recorded(self._folder.path / KEPT / name, expected.keys[place].decode())
        return found

    def tasks(self, manifest: Manifest) -> Iterator[Task]:
        """Each task when it is asked for, in the batch's order."""
        made_with = {
            "sumo_version": manifest.sumo_version,
            "scenariogen_version": manifest.scenariogen_version,
            "batch_hash": manifest.batch_hash,
            "project_hash": manifest.project_hash,
            "network_hash": manifest.network_hash,
            "simulator": manifest.simulator,
            "capacity_table": manifest.capacity_table,
        }
        hashed = (-1, "")
        for place, (scenario, policy, replica, key) in enumerate(expected_keys(self._batch, manifest)):
            if not self._todo[place]:
                continue
            if hashed[0] != scenario.index:
                hashed = scenario.index, digest(scenario_content(scenario))
            record = scenario.index in self._how.record
            kept = record or scenario.index in self._how.keep
            yield Task(
                key=key,
                scenario=scenario,
                policy=policy,
                replica=replica,
                seed=replica_seed(scenario, replica),
                folder=self._run_folder(_name(scenario.index, policy.name, replica), kept),
                keep=kept,
                record=record,
                emissions=manifest.emissions,
                made_with={**made_with, "scenario_sha256": hashed[1]},
            )

    def _run_folder(self, name: str, kept: bool):
        return (self._folder.path / (KEPT if kept else WORK) / name).absolute()


def _name(index: int, policy: str, replica: int) -> str:
    return f"{index:05d}-{policy}-{replica}"
