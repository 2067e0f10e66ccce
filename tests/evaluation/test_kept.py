"""Recordings in run folders that stay: half a file, or another run's, is none; a full disk is told, SUMO does not."""

import shutil
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scenariogen.errors import ResultsError
from scenariogen.evaluation.evaluate import evaluate
from scenariogen.evaluation.kept import TRAJECTORIES
from scenariogen.evaluation.pending import Task
from scenariogen.evaluation.policy import resolve_policy
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.contract import EndReason
from tests.evaluation.paper_project import PaperProject, PaperRunner, paper_batch, write_policy

FOLDER = Path("kept") / "00003-calm-0"
Usage = namedtuple("Usage", "total used free")


@dataclass(frozen=True)
class Records:
    """Makes a run of the dummy simulator, and beside it the file that SUMO would write; ``cut`` off, as on a full disk.

    ``crashes_on``  scenarios whose process is said to have died
    """

    cut: bool = False
    crashes_on: tuple[int, ...] = ()

    def __call__(self, task: Task):
        if task.record:
            task.folder.mkdir(parents=True, exist_ok=True)
            write(task.folder / TRAJECTORIES, cut=self.cut)
        if task.scenario.index in self.crashes_on:
            return task.failed(EndReason.SIMULATOR_DIED, "it died")
        return PaperRunner()(task)


def write(path: Path, *, cut: bool = False) -> None:
    pq.write_table(pa.table({"vehicle_id": ["a", "b"]}), path)
    if cut:
        path.write_bytes(path.read_bytes()[:-10])


@pytest.fixture
def go(tmp_path):
    def call(runner, *, record=(3,), policy="calm", **options):
        policies = [write_policy(tmp_path, policy)]
        return evaluate(
            PaperProject(), paper_batch(5), policies, out=tmp_path / "out", runner=runner, record=record,
            simulator="dummy", **options,
        )  # fmt: skip

    return call


def test_half_a_file_that_a_kill_left_is_recorded_anew(go, tmp_path):
    """It was taken for a recording, since a file of that name was there."""
    assert go(Records(), record=()).made == 5
    (tmp_path / "out" / FOLDER).mkdir(parents=True)
    write(tmp_path / "out" / FOLDER / TRAJECTORIES, cut=True)
    assert go(Records()).made == 1
    assert pq.read_table(tmp_path / "out" / FOLDER / TRAJECTORIES).num_rows == 2
    assert go(Records()).made == 0


def test_a_recording_of_a_policy_that_was_changed_since_is_none(go, tmp_path):
    go(Records())
    note = (tmp_path / "out" / FOLDER / "recorded.txt").read_text()
    path = write_policy(tmp_path, "calm")
    Path(path).write_text(Path(path).read_text() + "\n# changed\n")
    policies = [path]
    again = evaluate(
        PaperProject(), paper_batch(5), policies, out=tmp_path / "out", runner=Records(), simulator="dummy"
    )
    assert again.made == 5
    recorded = evaluate(
        PaperProject(), paper_batch(5), policies, out=tmp_path / "out", runner=Records(), record=[3], simulator="dummy"
    )
    assert recorded.made == 1 and (tmp_path / "out" / FOLDER / "recorded.txt").read_text() != note


def test_a_run_in_quarantine_is_left_alone_though_it_is_to_be_recorded(go):
    assert go(Records(crashes_on=(3,))).made == 5
    assert go(Records()).made == 0
    assert go(Records(), retry_quarantined=True).made == 1


def test_a_full_disk_is_told_though_sumo_says_nothing_of_it(tmp_path, monkeypatch):
    scenario = Scenario(index=3, seed=3)
    task = Task(
        key="k", scenario=scenario, policy=resolve_policy(write_policy(tmp_path, "calm")), replica=0, seed=3,
        folder=tmp_path / "run", keep=True, record=True,
    )  # fmt: skip
    assert Records()(task).end_reason is EndReason.HORIZON
    found = Records(cut=True)(task)
    assert found.end_reason is EndReason.SIMULATOR_DIED and "trajectories.parquet unfinished" in found.error
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 100, 0))
    with pytest.raises(ResultsError, match=r"no room for .*trajectories\.parquet"):
        Records(cut=True)(task)
