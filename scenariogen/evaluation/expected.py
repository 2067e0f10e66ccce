"""Which runs a results folder is to hold: their keys as one array, in the order scenario, policy, replica."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scenariogen.evaluation.manifest import Manifest
from scenariogen.evaluation.policy import PolicyReference
from scenariogen.evaluation.records import run_key, scenario_content
from scenariogen.evaluation.run_table import Keys, RunTable, StoredRuns
from scenariogen.scenarios.records import Scenario, ScenarioBatch


@dataclass(frozen=True, kw_only=True, eq=False)
class ExpectedRuns:
    """The runs of a batch under a manifest.

    ``index``     (batch,) of each scenario
    ``policies``  names
    ``replicas``  simulator seeds per scenario
    ``keys``      (batch · policy · replica,)
    """

    index: NDArray[np.int64] = field(repr=False)
    policies: tuple[str, ...]
    replicas: int
    keys: Keys = field(repr=False)

    def __len__(self) -> int:
        return len(self.keys)

    def runs_of(self, table: RunTable) -> StoredRuns:
        """Those that a table has."""
        return self.select(table, table.newest(self.keys))

    def select(self, table: RunTable, rows: NDArray[np.int64]) -> StoredRuns:
        """Those whose row (run,) in the table is not negative."""
        places = np.flatnonzero(rows >= 0)
        each = len(self.policies) * self.replicas
        return StoredRuns(
            table,
            rows[places],
            scenario=self.index[places // each],
            policy=places // self.replicas % len(self.policies),
            replica=places % self.replicas,
            policies=self.policies,
        )


def expected_runs(batch: ScenarioBatch, manifest: Manifest) -> ExpectedRuns:
    """The keys of all runs, in one pass over the scenarios."""
    size = len(batch) * len(manifest.policies) * manifest.replicas
    return ExpectedRuns(
        index=batch.columns.index,
        policies=tuple(each.name for each in manifest.policies),
        replicas=manifest.replicas,
        keys=np.fromiter((key.encode() for *_, key in expected_keys(batch, manifest)), dtype="S64", count=size),
    )


def expected_keys(batch: ScenarioBatch, manifest: Manifest) -> Iterator[tuple[Scenario, PolicyReference, int, str]]:
    """(scenario, policy, replica, key) of every run that a folder is to hold, in order."""
    for scenario in batch.scenarios:
        content = scenario_content(scenario)
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
                        usual_traffic=manifest.usual_traffic if policy.reads_incidents else "",
                        emissions=manifest.emissions,
                        content=content,
                    ),
                )
