"""Very many scenarios: they stay in their files, and what is read is what was written."""

import dataclasses
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scenariogen.errors import ScenarioError
from scenariogen.evaluation import results_folder
from scenariogen.evaluation.evaluate import evaluate
from scenariogen.evaluation.records import batch_hash, digest
from scenariogen.evaluation.run_table import RunTable, to_arrow, write_runs
from scenariogen.evaluation.store import PARTS, load_results
from scenariogen.scenarios import stored
from scenariogen.scenarios.files import open_batch, read_batch, write_batch
from scenariogen.simulation.contract import EndReason
from tests.evaluation.paper_project import PaperProject, paper_batch, write_policy
from tests.evaluation.runners import Paper, result, tasks
from tests.evaluation.synthetic import counted_batch
from tests.support import ROOT


@pytest.mark.parametrize("batch", [paper_batch(25), counted_batch(25)], ids=["by hand", "drawn"])
def test_scenarios_that_stay_in_their_file_are_the_same(tmp_path, monkeypatch, batch):
    monkeypatch.setattr(stored, "CHUNK", 4)
    path = write_batch(batch, tmp_path / "s.parquet")
    opened = open_batch(path)
    assert opened == batch == read_batch(path)
    assert opened.scenarios[7] == batch.scenarios[7] and opened.scenarios[-1] == batch.scenarios[-1]
    assert opened.scenarios[3:20:5] == batch.scenarios[3:20:5] and len(opened) == 25
    assert batch_hash(opened) == batch_hash(batch)
    assert opened.columns.index.tolist() == [each.index for each in batch.scenarios]
    with pytest.raises(IndexError):
        opened.scenarios[25]


def test_the_hash_of_a_batch_is_that_of_its_whole_content():
    """It is put together piece by piece; folders of earlier versions were hashed in one."""
    from scenariogen.evaluation.records import _scenario_plain, window_content

    batch = counted_batch(5)
    content = {
        each.name: getattr(batch, each.name)
        for each in dataclasses.fields(batch)
        if each.name not in ("window", "scenarios")
    }
    content["design"] = dataclasses.asdict(batch.design)
    for newer in (
        "rates",
        "road_classes",
        "durations",
    ):  # earlier versions had none, nor has this batch
        assert not content["design"].pop(newer)
    content |= {"window": window_content(batch.window), "scenarios": [_scenario_plain(s) for s in batch.scenarios]}
    assert batch_hash(batch) == digest(content)
    assert not any("log_durations" in plain["density"] for plain in content["scenarios"])


def test_faults_deep_in_a_file_are_told_with_their_row(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "CHUNK", 4)
    batch = paper_batch(10)
    wrong = replace(batch.scenarios[9], seed=-5)
    twice = replace(batch.scenarios[8], index=3)
    write_batch(replace(batch, scenarios=(*batch.scenarios[:9], wrong)), tmp_path / "s.parquet")
    with pytest.raises(ScenarioError, match=r"scenarios\.9\.seed"):
        open_batch(tmp_path / "s.parquet")
    write_batch(replace(batch, scenarios=(*batch.scenarios[:8], twice)), tmp_path / "t.parquet")
    with pytest.raises(ScenarioError, match="indices stand there twice"):
        open_batch(tmp_path / "t.parquet")


def test_rows_come_in_any_order_from_any_file_and_the_newest_of_a_key_wins(tmp_path):
    made = [result(task) for task in tasks(30, tmp_path)]
    write_runs([to_arrow(made[:7]), to_arrow(made[7:12])], tmp_path / "a.parquet")
    write_runs([to_arrow(made[12:20])], tmp_path / "b.parquet")
    newer = replace(made[3], wall_s=9.0)
    table = RunTable([tmp_path / "a.parquet", tmp_path / "b.parquet"], [newer, *made[20:]])
    assert len(table) == 31
    order = np.array([29, 3, 0, 15, 30, 3, 20])
    rows = [made[28], made[3], made[0], made[15], made[29], made[3], newer]
    assert [row["key"] for row in table.take(order).to_pylist()] == [run.key for run in rows]
    wanted = np.array([b"key0003", b"key0019", b"key0099", b"a"], "S64")
    assert table.newest(wanted).tolist() == [20, 19, -1, -1]


def test_a_table_of_a_version_with_fewer_columns_is_read(tmp_path):
    made = [result(task) for task in tasks(3, tmp_path)]
    import pyarrow.parquet as pq

    pq.write_table(to_arrow(made).drop_columns(["scenario_sha256", "attempts", "key"][:2]), tmp_path / "a.parquet")
    from scenariogen.evaluation.records import RunResult

    rows = RunTable([tmp_path / "a.parquet"]).take(np.arange(3)).to_pylist()
    assert [RunResult.from_mapping(row) for row in rows] == made


def test_a_journal_that_was_folded_gives_the_same_results(tmp_path, monkeypatch):
    policies = [write_policy(tmp_path, "calm"), write_policy(tmp_path, "green")]
    options = {"jobs": 2, "runner": Paper(), "simulator": "dummy"}
    whole = evaluate(PaperProject(), paper_batch(20), policies, out=tmp_path / "a", **options)
    monkeypatch.setattr(results_folder, "FOLD_AFTER", 7)
    folded = []
    real = results_folder.ResultsFolder.fold

    def fold(self):
        real(self)
        folded.append(len(list((self.path / PARTS).glob("*.parquet"))))

    monkeypatch.setattr(results_folder.ResultsFolder, "fold", fold)
    path = write_batch(paper_batch(20), tmp_path / "s.parquet")
    parts = evaluate(PaperProject(), open_batch(path), policies, out=tmp_path / "b", **options)
    assert folded[:5] == [1, 2, 3, 4, 5] and not (tmp_path / "b" / PARTS).exists()
    assert parts.results.runs == whole.results.runs and parts.estimates == whole.estimates
    assert load_results(tmp_path / "b").runs == whole.results.runs


def test_a_kill_between_part_and_journal_loses_nothing_and_counts_nothing_twice(tmp_path):
    policies = [write_policy(tmp_path, "calm")]
    options = {"jobs": 1, "runner": Paper(), "simulator": "dummy"}
    done = evaluate(PaperProject(), paper_batch(6), policies, out=tmp_path / "a", **options)
    folder = done.folder
    (folder / PARTS).mkdir()
    write_runs([to_arrow(done.results.runs[:4])], folder / PARTS / "runs-000001.parquet")
    (folder / PARTS / ".runs-000002.parquet").write_bytes(b"half")
    (folder / "journal.jsonl").write_text("".join(run.to_json() + "\n" for run in done.results.runs[2:5]))
    assert load_results(folder).runs == done.results.runs
    again = evaluate(PaperProject(), paper_batch(6), policies, out=folder, **options)
    assert again.made == 0 and again.results.runs == done.results.runs and again.estimates == done.estimates
    assert not (folder / PARTS).exists()


def test_a_kill_while_parts_are_removed_brings_no_older_run_back(tmp_path, monkeypatch):
    """They went in any order: an older part that was left hid the newer run in the table."""
    policies = [write_policy(tmp_path, "calm")]
    options = {"jobs": 1, "runner": Paper(), "simulator": "dummy"}
    done = evaluate(PaperProject(), paper_batch(6), policies, out=tmp_path / "a", **options)
    (done.folder / PARTS).mkdir()
    died = {"end_reason": EndReason.SIMULATOR_DIED, "system_delay_veh_h": None}
    for number, changes in ((1, died), (2, {})):
        rows = [replace(run, **changes) for run in done.results.runs]
        write_runs([to_arrow(rows)], done.folder / PARTS / f"runs-{number:06d}.parquet")
    real = Path.unlink

    def unlink(self, missing_ok=False):
        if self.name == "runs-000002.parquet":
            raise KeyboardInterrupt
        real(self, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    with pytest.raises(KeyboardInterrupt):
        evaluate(PaperProject(), paper_batch(6), policies, out=done.folder, **options)
    assert [part.name for part in (done.folder / PARTS).iterdir()] == ["runs-000002.parquet"]
    assert load_results(done.folder).runs == done.results.runs


GROWTH = """
import resource, sys
from pathlib import Path
from scenariogen.evaluation import evaluate
from scenariogen.scenarios.files import open_batch
from tests.evaluation.paper_project import PaperProject
from tests.evaluation.runners import Paper
from scenariogen.evaluation import evaluate as whole, results_folder
import scenariogen.evaluation.evaluate as module
folder = Path(sys.argv[1])
def at_once(tasks, runner, *, jobs, marks, record, limit=None):
    for task in tasks:
        record(runner(task))
module.run_tasks = at_once
results_folder.os.fsync = lambda descriptor: None
for number in sys.argv[2:]:
    done = whole(PaperProject(), open_batch(folder / f"{number}.parquet"), [folder / "calm.py"],
                 out=folder / f"out{number}", runner=Paper(), simulator="dummy")
    assert len(done.results.runs) == int(number) and not done.results.missing
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_scenarios(tmp_path):
    """As objects, the 5,000 further scenarios and their runs take about 40 MiB (reckoned from 148 MiB for 18,000)."""
    write_policy(tmp_path, "calm")
    sizes = (1_500, 6_500)
    for size in sizes:
        write_batch(paper_batch(size), tmp_path / f"{size}.parquet")
    said = subprocess.run(
        [sys.executable, "-c", GROWTH, str(tmp_path), *map(str, sizes)], cwd=ROOT, capture_output=True, text=True,
        check=True,
    ).stdout  # fmt: skip
    first, second = map(float, said.split()[-2:])
    assert second - first < 15.0, f"{first:.0f} MiB with {sizes[0]} scenarios, {second:.0f} MiB with {sizes[1]}"
