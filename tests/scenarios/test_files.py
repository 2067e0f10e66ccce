"""Scenario files: both forms say the same, and a damaged file lists every fault."""

import json

import jsonschema
import pytest

from scenariogen.errors import ScenarioError
from scenariogen.scenarios.files import json_schema, read_batch, read_scenario, write_batch
from scenariogen.scenarios.synthesize import synthesize
from tests.model.small import small_model


@pytest.fixture(scope="module")
def batch():
    return synthesize(small_model(), n=30, frequencies=[0.5, 2.0], seed=3, network_name="two")


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_what_is_written_is_read(batch, tmp_path, suffix):
    path = write_batch(batch, tmp_path / f"scenarios{suffix}")
    assert read_batch(path) == batch
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_json_meets_its_schema(batch, tmp_path):
    document = json.loads(write_batch(batch, tmp_path / "s.json").read_text())
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(document, json_schema())


def test_every_fault_is_listed(batch, tmp_path):
    path = write_batch(batch, tmp_path / "s.json")
    document = json.loads(path.read_text())
    row = next(s for s in document["scenarios"] if s["incidents"])
    row["incidents"][0]["capacity_left"] = 1.5
    row["incidents"][0]["kind"] = "flood"
    row["seed"] = "seven"
    del document["window"]["end_s"]
    path.write_text(json.dumps(document))
    with pytest.raises(ScenarioError) as caught:
        read_batch(path)
    assert len(caught.value.problems) == 4


def test_a_fault_inside_an_alternative_is_told_with_its_own_place(batch, tmp_path):
    """The design may be null; a fault in it once printed the whole design, thousands of numbers, as one problem."""
    path = write_batch(batch, tmp_path / "s.json")
    document = json.loads(path.read_text())
    del document["design"]["nodes"][2]["weight"]
    document["design"]["free_every"] = "four"
    path.write_text(json.dumps(document))
    with pytest.raises(ScenarioError) as caught:
        read_batch(path)
    assert len(caught.value.problems) == 2
    assert any("design.nodes.2" in problem and "'weight'" in problem for problem in caught.value.problems)
    assert all(len(problem) < 200 for problem in caught.value.problems)


@pytest.mark.parametrize("content", [b"", b"[1]", b"{", b"\x00\xff"])
@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_other_files_are_refused(tmp_path, content, suffix):
    path = tmp_path / f"s{suffix}"
    path.write_bytes(content)
    with pytest.raises(ScenarioError):
        read_batch(path)


def test_missing_files_and_wrong_suffixes_are_refused(batch, tmp_path):
    with pytest.raises(ScenarioError, match="does not exist"):
        read_batch(tmp_path / "none.json")
    with pytest.raises(ScenarioError, match="ends in"):
        write_batch(batch, tmp_path / "s.csv")


def test_one_scenario_is_found_by_its_index(batch, tmp_path):
    path = write_batch(batch, tmp_path / "s.parquet")
    assert read_scenario(path, 17) == batch.scenarios[17]
    with pytest.raises(ScenarioError, match="no scenario 99"):
        read_scenario(path, 99)
    with pytest.raises(ScenarioError, match="say which"):
        read_scenario(path)
