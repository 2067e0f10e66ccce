"""The results folder: what it keeps, what it refuses, and what a kill leaves behind."""

import dataclasses
import json
import os
from dataclasses import fields

import pytest

from scenariogen.errors import ResultsError
from scenariogen.evaluation.expected import expected_keys
from scenariogen.evaluation.manifest import Manifest, read_manifest
from scenariogen.evaluation.policy import PolicyReference
from scenariogen.evaluation.records import RunResult, batch_hash, run_key, scenario_content, window_content
from scenariogen.evaluation.results_folder import ResultsFolder
from scenariogen.evaluation.run_table import runs_schema
from scenariogen.evaluation.store import (
    DIAGNOSTICS,
    ESTIMATES,
    JOURNAL,
    RUNS,
    load_results,
    read_rows,
    write_atomically,
)
from scenariogen.simulation.contract import EndReason
from tests.evaluation.synthetic import WINDOW, counted_batch, hand_batch, incident, run

POLICIES = tuple(PolicyReference(name=name, spec=f"/{name}.py", sha256=name * 64) for name in ("a", "b"))


def manifest_for(batch, **changes):
    values = {
        "project_hash": batch.project_hash,
        "project_name": "paper",
        "sumocfg": "/somewhere/paper.sumocfg",
        "network_hash": batch.network_hash,
        "batch_hash": batch_hash(batch),
        "window": window_content(batch.window),
        "policies": POLICIES,
        "replicas": 1,
        "simulator": "dummy",
        "sumo_version": "1",
        "scenariogen_version": "2",
    }
    return Manifest(**(values | changes))


def all_runs(batch, manifest):
    return [
        dataclasses.replace(run(s, p.name, 10.0 / 3.0 + s.index, replica=r), key=key, policy_sha256=p.sha256)
        for s, p, r, key in expected_keys(batch, manifest)
    ]


@pytest.fixture
def batch():
    return counted_batch(6)


@pytest.fixture
def folder(tmp_path, batch):
    folder = ResultsFolder(tmp_path / "results")
    with folder.locked():
        folder.begin(manifest_for(batch), batch)
    return folder


def test_runs_come_back_as_they_were_from_journal_and_from_table(folder, batch):
    made = all_runs(batch, manifest_for(batch))
    for each in reversed(made):
        folder.append(each)
    assert load_results(folder.path).runs == tuple(made)
    folder.compact()
    assert not (folder.path / JOURNAL).exists() and (folder.path / RUNS).exists()
    found = load_results(folder.path)
    assert found.runs == tuple(made) and found.missing == 0 and found.policies == ("a", "b")
    assert found.batch == batch
    assert found.runs_frame()["system_delay_veh_h"].tolist() == [each.system_delay_veh_h for each in made]


def test_a_failed_run_and_a_lock_up_survive_the_table(folder, batch):
    scenario = batch.scenarios[1]
    failed = run(
        scenario, "a", 0.0, end_reason=EndReason.POLICY_RAISED, error="a: boom\n(line 3)", system_delay_veh_h=None
    )
    locked = run(scenario, "b", 812.5, end_reason=EndReason.LOCKED_UP, locked_up=True, locked_up_at_s=1234.5)
    for each in (failed, locked):
        folder.append(each)
    folder.compact()
    assert set(read_rows(folder.path).values()) == {failed, locked}


def test_the_tables_columns_are_the_records_fields():
    assert runs_schema().names == [each.name for each in fields(RunResult)]
    kinds = [str(runs_schema().field(name).type) for name in ("locked_up_at_s", "due", "locked_up", "end_reason")]
    assert kinds == ["double", "int64", "bool", "string"]


def test_a_torn_last_line_loses_that_run_only(folder, batch):
    made = all_runs(batch, manifest_for(batch))
    for each in made[:3]:
        folder.append(each)
    journal = folder.path / JOURNAL
    whole = journal.read_bytes()
    for cut in range(len(whole.rsplit(b"\n", 2)[0]) + 1, len(whole)):  # killed anywhere within the third line
        journal.write_bytes(whole[:cut])
        assert tuple(read_rows(folder.path).values()) == tuple(made[:2])
    assert load_results(folder.path).runs == tuple(made[:2])
    with folder.locked():
        folder.begin(manifest_for(batch), batch)
    folder.append(made[2])
    assert load_results(folder.path).runs == tuple(made[:3])


def test_damage_inside_the_journal_is_told_with_its_line(folder, batch):
    for each in all_runs(batch, manifest_for(batch))[:2]:
        folder.append(each)
    journal = folder.path / JOURNAL
    first, second, _ = journal.read_text().split("\n")
    journal.write_text(f"{first}\n{second[:30]}\nnull\n{second}\n")
    with pytest.raises(ResultsError, match=r"line 2: .*\n.*line 3"):
        load_results(folder.path)


def test_a_broken_table_is_told(folder):
    (folder.path / RUNS).write_bytes(b"not parquet")
    with pytest.raises(ResultsError, match=r"runs\.parquet cannot be read"):
        load_results(folder.path)


def test_another_project_batch_window_or_simulator_is_refused_with_all_reasons(folder, batch):
    other = hand_batch()
    wrong = manifest_for(
        other,
        project_hash="x" * 64,
        window=window_content(dataclasses.replace(WINDOW, end_s=9000)),
        simulator="libsumo",
    )
    with folder.locked(), pytest.raises(ResultsError) as caught:
        folder.begin(wrong, other)
    assert len(caught.value.problems) == 4 and "choose a new folder" in str(caught.value)
    assert read_manifest(folder.path) == manifest_for(batch)


def test_another_policy_may_be_added_and_a_changed_one_is_run_again(folder, batch):
    made = all_runs(batch, manifest_for(batch))
    for each in made:
        folder.append(each)
    folder.compact()
    for name in (ESTIMATES, DIAGNOSTICS):
        (folder.path / name).write_text("[]")
    with folder.locked():
        folder.begin(manifest_for(batch), batch)
    assert (folder.path / ESTIMATES).exists(), "the same evaluation goes on"
    changed = (
        POLICIES[0],
        dataclasses.replace(POLICIES[1], sha256="c" * 64),
        dataclasses.replace(POLICIES[1], name="d"),
    )
    with folder.locked():
        folder.begin(manifest_for(batch, policies=changed), batch)
    assert not (folder.path / ESTIMATES).exists() and not (folder.path / DIAGNOSTICS).exists()
    found = load_results(folder.path)
    assert {each.policy for each in found.runs} == {"a", "d"}, "d has the content that b had, so its runs are there"
    assert found.missing == len(batch)


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path, batch):
    (tmp_path / "thesis.tex").write_text("...")
    folder = ResultsFolder(tmp_path)
    with (
        folder.locked(),
        pytest.raises(ResultsError, match=r"not a results folder and not empty \(it holds thesis.tex\)"),
    ):
        folder.begin(manifest_for(batch), batch)


def test_two_writers_do_not_share_a_folder(folder):
    second = ResultsFolder(folder.path)
    with folder.locked(), pytest.raises(ResultsError, match="another evaluation is writing"), second.locked():
        pass
    with folder.locked():
        pass


def test_what_is_no_results_folder_says_so(tmp_path):
    with pytest.raises(ResultsError, match="nowhere does not exist"):
        load_results(tmp_path / "nowhere")
    with pytest.raises(ResultsError, match="is not a results folder"):
        load_results(tmp_path)
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(ResultsError, match="is not a manifest"):
        load_results(tmp_path)
    (tmp_path / "results.json").write_text('{"schema": 99}')
    with pytest.raises(ResultsError, match="schema 99, this version reads 1"):
        load_results(tmp_path)


def test_scenarios_that_were_changed_are_noticed(folder, tmp_path, batch):
    from scenariogen.scenarios.files import write_batch

    changed = dataclasses.replace(batch, scenarios=batch.scenarios[:-1])
    write_batch(changed, folder.path / "scenarios.parquet")
    with pytest.raises(ResultsError, match="was changed since the evaluation"):
        load_results(folder.path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_says_so(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ResultsError, match="cannot be written"), ResultsFolder(tmp_path / "x").locked():
        pass


def test_a_file_is_replaced_whole(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("old")
    write_atomically(path, "new")
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]


# --------------------------------------------------------------------------------------------------- keys


def key(scenario, **changes):
    values = {
        "replica": 0,
        "policy_sha256": "a",
        "project_hash": "p",
        "window": WINDOW,
        "sumo_version": "1",
        "scenariogen_version": "1",
        "simulator": "libsumo",
    }
    return run_key(scenario, **(values | changes))


def test_everything_that_decides_a_run_is_in_its_key(batch):
    scenario = batch.scenarios[1]
    moved = dataclasses.replace(scenario.incidents[0], start_s=401.0)
    others = [
        key(scenario, replica=1),
        key(scenario, policy_sha256="b"),
        key(scenario, project_hash="q"),
        key(scenario, window=dataclasses.replace(WINDOW, end_s=3000)),
        key(scenario, sumo_version="2"),
        key(scenario, scenariogen_version="2"),
        key(scenario, simulator="traci"),
        key(dataclasses.replace(scenario, seed=4)),
        key(dataclasses.replace(scenario, incidents=(moved, *scenario.incidents[1:]))),
        key(dataclasses.replace(scenario, condition=dataclasses.replace(scenario.condition, demand_scale=1.1))),
        key(dataclasses.replace(scenario, drivers=dataclasses.replace(scenario.drivers, reroute_share=0.1))),
    ]
    assert len({key(scenario), *others}) == len(others) + 1


def test_what_does_not_decide_a_run_is_not(batch):
    scenario = batch.scenarios[1]
    assert key(scenario) == key(dataclasses.replace(scenario, index=77, density=None))
    assert key(scenario) == key(scenario, window=dataclasses.replace(WINDOW, remarks=("said",)))


def test_content_from_other_number_types_hashes_alike(batch):
    import numpy as np

    plain = batch.scenarios[1]
    other = dataclasses.replace(
        plain, condition=dataclasses.replace(plain.condition, demand_scale=np.float64(1.0)), incidents=plain.incidents
    )
    assert key(plain) == key(other)
    assert json.loads(json.dumps(scenario_content(plain), default=str))["incidents"][0]["edge"] == incident().edge


def test_a_run_without_a_delay_must_say_why():
    with pytest.raises(ValueError, match="needs a delay"):
        RunResult(key="k", scenario=0, policy="a", replica=0, seed=1, end_reason=EndReason.HORIZON)
    with pytest.raises(ValueError, match="has no delay"):
        RunResult(
            key="k",
            scenario=0,
            policy="a",
            replica=0,
            seed=1,
            end_reason=EndReason.SIMULATOR_DIED,
            system_delay_veh_h=1.0,
        )
