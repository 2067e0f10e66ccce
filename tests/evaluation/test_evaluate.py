"""The whole evaluation over the dummy simulator: resumed after a kill, the same numbers with any number of workers."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from scenariogen.errors import FrequencyError, PolicyError, ProjectError, ResultsError, ScenarioError
from scenariogen.evaluation import evaluate, load_results, progress_bar, re_estimate, read_estimates
from scenariogen.evaluation.outcomes import EMITTED
from scenariogen.evaluation.project_runner import ProjectRunner
from scenariogen.evaluation.store import JOURNAL, RUNS
from scenariogen.evaluation.versions import installed
from scenariogen.simulation.contract import EndReason
from tests.evaluation.paper_project import WINDOW, PaperProject, PaperRunner, paper_batch, paper_incident, write_policy
from tests.evaluation.synthetic import counted_batch
from tests.support import ROOT


def numbers(results):
    """Everything of the runs but how long they took."""
    return [dataclasses.replace(run, cpu_s=0.0, wall_s=0.0, attempts=1) for run in results.runs]


@pytest.fixture
def policies(tmp_path):
    return [write_policy(tmp_path, name) for name in ("calm", "green")]


def go(out, policies, *, batch=None, **options):
    options = {"jobs": 1, "runner": PaperRunner(), "simulator": "dummy"} | options
    return evaluate(PaperProject(), paper_batch(6) if batch is None else batch, policies, out=out, **options)


def test_every_scenario_meets_every_policy_with_the_same_seed(tmp_path, policies):
    seen = []
    done = go(tmp_path / "out", policies, progress=seen.append)
    runs = done.results.runs
    assert [(r.scenario, r.policy) for r in runs] == [(i, p) for i in range(6) for p in ("calm", "green")]
    assert all(a.seed == b.seed and a.due == b.due for a, b in zip(runs[::2], runs[1::2], strict=True))
    assert done.made == 12 and done.results.missing == 0 and done.folder == tmp_path / "out"
    assert [state.done for state in seen] == list(range(13)) and seen[-1].total == 12 and seen[-1].failed == 0
    assert sorted(path.name for path in done.folder.iterdir()) == [
        ".lock", "diagnostics.json", "estimates.json", "results.json", RUNS, "scenarios.parquet",
    ]  # fmt: skip
    assert read_estimates(done.folder) == list(done.estimates) and len(done.estimates) == 15


def test_the_numbers_are_the_same_with_any_number_of_workers_and_in_any_order(tmp_path, policies):
    batch = paper_batch(6)
    backwards = dataclasses.replace(batch, scenarios=batch.scenarios[::-1])
    alone = go(tmp_path / "a", policies, batch=batch, jobs=1)
    together = go(tmp_path / "b", policies, batch=batch, jobs=3)
    turned = go(tmp_path / "c", policies, batch=backwards, jobs=2)
    assert numbers(alone.results) == numbers(together.results)
    of_its_own = [
        dataclasses.replace(run, batch_hash=alone.results.manifest.batch_hash) for run in numbers(turned.results)
    ]
    assert sorted(of_its_own, key=lambda r: r.key) == sorted(numbers(alone.results), key=lambda r: r.key)
    assert alone.estimates == together.estimates


def test_several_simulator_seeds_are_shared_by_the_policies(tmp_path, policies):
    done = go(tmp_path / "out", policies, batch=paper_batch(2), replicas=3)
    seeds = {(r.scenario, r.replica): r.seed for r in done.results.runs}
    assert len(done.results.runs) == 12 and len(set(seeds.values())) == 6
    assert all(r.seed == seeds[r.scenario, r.replica] for r in done.results.runs)


def test_run_folders_are_removed_unless_asked_for(tmp_path, policies):
    done = go(tmp_path / "out", policies[:1], keep=[1])
    assert [path.name for path in (done.folder / "kept").iterdir()] == ["00001-calm-0"]
    assert not (done.folder / ".work").exists()


def test_a_finished_folder_is_not_run_again_and_a_new_policy_is_added(tmp_path, policies):
    first = go(tmp_path / "out", policies[:1])
    again = go(tmp_path / "out", policies[:1])
    assert again.made == 0 and numbers(again.results) == numbers(first.results)
    seen = []
    more = go(tmp_path / "out", policies, progress=seen.append)
    assert more.made == 6 and seen[0].resumed == 6 and len(more.results.runs) == 12


class Emitting(PaperRunner):
    """Emits where it is asked to."""

    def __call__(self, task):
        found = super().__call__(dataclasses.replace(task, emissions=False))
        return (
            dataclasses.replace(found, co2_kg=1.0 + task.seed % 7, nox_kg=0.1, pmx_kg=0.0) if task.emissions else found
        )


def test_emissions_are_measured_where_asked_for_and_from_then_on(tmp_path, policies):
    def run(**options):
        return go(tmp_path / "out", policies[:1], runner=Emitting(), replicas=2, **options)

    without, asked, again = run(), run(emissions=True), run()
    assert not {each.estimand for each in without.estimates} & set(EMITTED.values())
    assert asked.made == without.made == 12
    assert set(EMITTED.values()) <= {each.estimand for each in asked.estimates}
    (plain,) = (d.plain for e, d in zip(asked.estimates, asked.details, strict=True) if e.estimand == EMITTED["co2_kg"])
    assert plain == pytest.approx(np.mean([each.co2_kg for each in asked.results.runs]))
    assert again.made == 0 and again.estimates == asked.estimates


def test_a_changed_policy_file_is_run_again(tmp_path, policies):
    before = go(tmp_path / "out", policies[:1])
    policies[0].write_text(policies[0].read_text() + "\n# changed\n")
    after = go(tmp_path / "out", policies[:1])
    assert after.made == 6 and {r.key for r in after.results.runs}.isdisjoint(r.key for r in before.results.runs)
    assert len(after.results.runs) == 6


CHILD = """
import signal
import sys
from pathlib import Path
from scenariogen.evaluation import evaluate
from tests.evaluation.paper_project import PaperProject, PaperRunner, paper_batch
folder = Path(sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit it ignored
evaluate(PaperProject(), paper_batch(12), [folder / "calm.py", folder / "green.py"], out=folder / "killed", jobs=2,
         runner=PaperRunner(slow_s=0.15), simulator="dummy")
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_killed_in_the_middle_and_resumed_gives_identical_numbers(tmp_path, policies, how):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, env=os.environ | {"PYTHONPATH": _python_path()},
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    journal = tmp_path / "killed" / JOURNAL
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and (not journal.exists() or journal.read_bytes().count(b"\n") < 5):
        assert child.poll() is None, child.communicate()[1]
        time.sleep(0.01)
    child.send_signal(how)
    child.communicate(timeout=30)
    assert child.returncode != 0
    with journal.open("ab") as stream:
        stream.write(b'{"key": "torn')  # what a power cut may leave
    kept = load_results(tmp_path / "killed")
    assert 5 <= len(kept.runs) < 24 and kept.missing == 24 - len(kept.runs)
    seen = []
    resumed = go(tmp_path / "killed", policies, batch=paper_batch(12), progress=seen.append)
    assert seen[0].resumed == len(kept.runs) and resumed.made == kept.missing
    whole = go(tmp_path / "whole", policies, batch=paper_batch(12))
    assert numbers(resumed.results) == numbers(whole.results)
    assert resumed.estimates == whole.estimates


def _python_path():
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_workers_go_away_when_the_parent_is_killed(tmp_path, policies):
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, env=os.environ | {"PYTHONPATH": _python_path()},
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    journal = tmp_path / "killed" / JOURNAL
    give_up = time.monotonic() + 60
    while time.monotonic() < give_up and not journal.exists():
        time.sleep(0.01)
    workers = _children(child.pid)
    assert workers
    child.kill()
    child.wait()
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up and any(_is_alive(pid) for pid in workers):
        time.sleep(0.05)
    assert not [pid for pid in workers if _is_alive(pid)]


def _children(pid):
    found = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(each) for each in found.read_text().split()] if found.exists() else []


def _is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("bad", "reason"), [("raises", EndReason.POLICY_RAISED), ("dies", EndReason.SIMULATOR_DIED)], ids=["raises", "dies"]
)
def test_a_policy_that_fails_is_told_and_the_other_runs_are_kept(tmp_path, policies, bad, reason):
    done = go(tmp_path / "out", [policies[0], write_policy(tmp_path, bad)], batch=paper_batch(3))
    of = {name: [r for r in done.results.runs if r.policy == name] for name in ("calm", bad)}
    assert all(r.end_reason is EndReason.HORIZON for r in of["calm"])
    assert all(r.end_reason is reason and r.error for r in of[bad])
    words = {EndReason.POLICY_RAISED: "policy raised", EndReason.SIMULATOR_DIED: "simulator died"}
    verdicts = [e.verdict for e in done.estimates if e.policy == bad]
    assert all(verdict.startswith("refused: runs with 100%") and words[reason] in verdict for verdict in verdicts)
    if bad == "dies":
        assert "EXIT(9)" in of[bad][0].error


def test_other_results_are_not_mixed_in(tmp_path, policies):
    go(tmp_path / "out", policies[:1])
    with pytest.raises(ResultsError, match="another batch"):
        go(tmp_path / "out", policies[:1], batch=paper_batch(6, seed=3))
    with pytest.raises(ResultsError, match="of project paper"):
        batch = dataclasses.replace(paper_batch(6), project_hash="q" * 64)
        evaluate(PaperProject(hash="q" * 64), batch, policies[:1], out=tmp_path / "out", runner=PaperRunner())


def test_what_cannot_be_evaluated_is_said_before_the_first_run(tmp_path, policies):
    batch = paper_batch(3)
    wrong = dataclasses.replace(
        batch, project_hash="q" * 64, scenarios=(batch.scenarios[0], dataclasses.replace(batch.scenarios[1], index=0))
    )
    with pytest.raises(ScenarioError) as caught:
        go(tmp_path / "out", policies, batch=wrong, jobs=0, frequencies=[1.0])
    assert len(caught.value.problems) == 4, caught.value
    with pytest.raises(ScenarioError, match="the batch is empty"):
        go(tmp_path / "out", policies, batch=dataclasses.replace(batch, scenarios=()))
    strange = dataclasses.replace(batch.scenarios[1], incidents=(paper_incident(edge="elsewhere"),))
    with pytest.raises(ScenarioError, match="edge 'elsewhere' is not in paper"):
        go(tmp_path / "out", policies, batch=dataclasses.replace(batch, scenarios=(strange,)))
    with pytest.raises(PolicyError, match=r"nowhere\.py does not exist"):
        go(tmp_path / "out", [tmp_path / "nowhere.py"])
    assert not (tmp_path / "out").exists()


def test_a_project_that_changes_under_way_stops_the_batch(tmp_path, policies):
    cfg = tmp_path / "gone.sumocfg"
    runner = ProjectRunner(
        sumocfg=cfg, project_hash="p" * 64, window=WINDOW, simulator="libsumo", work_folder=tmp_path / "work"
    )
    with pytest.raises(ProjectError, match="does not exist"):
        go(tmp_path / "out", policies, runner=runner)
    assert go(tmp_path / "out", policies).made == 12


def drawn(tmp_path, policies, **options):
    """A drawn batch whose scenarios fit the paper network."""
    batch = counted_batch(12)
    fitting = tuple(
        dataclasses.replace(
            s,
            incidents=tuple(dataclasses.replace(i, edge="b", start_s=500 + 9.0 * k) for k, i in enumerate(s.incidents)),
        )
        for s in batch.scenarios
    )
    batch = dataclasses.replace(batch, scenarios=fitting, window=WINDOW)
    return go(tmp_path / "out", policies, batch=batch, **options)


def test_another_frequency_needs_no_run(tmp_path, policies):
    done = drawn(tmp_path, policies, frequencies=[1.0, 2.0])
    assert {e.frequency for e in done.estimates} == {1.0, 2.0} and len(done.estimates) == 42
    more = re_estimate(done.folder, frequencies=[0.7, 40.0], threshold_veh_h=3.0)
    assert {e.frequency for e in more} == {0.7, 40.0} and read_estimates(done.folder) == list(more)
    outside = [e for e in more if e.frequency == 40.0]
    assert all(e.is_refused and "40" in e.verdict for e in outside)
    assert "P(delay>3 veh h)" in {e.estimand for e in more}


def test_only_frequencies_outside_the_range_are_an_error_before_the_first_run(tmp_path, policies):
    with pytest.raises(FrequencyError, match="40"):
        drawn(tmp_path, policies, frequencies=[40.0])
    assert not (tmp_path / "out").exists()


def test_a_killed_evaluation_can_be_estimated_from_what_is_there(tmp_path, policies):
    done = drawn(tmp_path, policies)
    (done.folder / RUNS).unlink()
    with pytest.raises(ResultsError, match="holds no finished run"):
        re_estimate(done.folder)


def test_manifest_names_what_was_used(tmp_path, policies):
    done = go(tmp_path / "out", policies[:1], batch=paper_batch(2))
    content = json.loads((done.folder / "results.json").read_text())
    assert content["policies"][0]["spec"] == str(policies[0]) and content["sumocfg"] == "/nowhere/paper.sumocfg"
    assert content["scenariogen_version"] == installed("scenariogen") and installed("no-such-package") == "unknown"


def test_the_bar_shows_what_happened(tmp_path, policies, capsys):
    with progress_bar("runs") as report:
        go(tmp_path / "out", [policies[0], write_policy(tmp_path, "raises")], batch=paper_batch(2), progress=report)
    shown = capsys.readouterr().err
    assert "runs" in shown and "4/4" in shown and "2 failed" in shown
