"""Runs tell their delay by vehicle class, and those of versions that did not are read as well."""

import dataclasses
import json

import pyarrow.parquet as pq
import pytest

from scenariogen.evaluation.records import RunResult
from scenariogen.evaluation.store import RUNS, load_results
from tests.evaluation import synthetic
from tests.evaluation.paper_project import paper_incident
from tests.evaluation.test_run_one import one
from tests.report.folders import drawn_batch, results_folder


def test_the_classes_of_a_run_add_up_to_its_delay(tmp_path):
    found = one(tmp_path, incidents=(paper_incident(200.0),))
    told = json.loads(found.delay_by_class)
    assert set(told) == {"passenger"} and sum(told.values()) == pytest.approx(found.system_delay_veh_h, abs=1e-5)
    assert RunResult.from_mapping(json.loads(found.to_json())) == found


def test_a_folder_without_the_column_is_read(tmp_path):
    batch = drawn_batch(12)
    told = json.dumps({"bus": 1.0})
    folder = results_folder(
        tmp_path / "r", batch, {"a": synthetic.delays(batch)},
        change=lambda run: dataclasses.replace(run, delay_by_class=told),
    )  # fmt: skip
    assert {run.delay_by_class for run in load_results(folder).runs} == {told}
    table = pq.read_table(folder / RUNS)
    pq.write_table(table.drop_columns(["delay_by_class"]), folder / RUNS)
    assert {run.delay_by_class for run in load_results(folder).runs} == {"{}"}
