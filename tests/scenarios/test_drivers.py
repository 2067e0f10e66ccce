"""What drivers are told, and how lanes reopen, in scenario files and in the keys of results."""

import dataclasses
import json

import jsonschema
import pytest

from scenariogen.errors import ScenarioError
from scenariogen.evaluation.records import batch_hash, scenario_content
from scenariogen.scenarios.drivers import Drivers, driver_problems, drivers_from_plain
from scenariogen.scenarios.files import json_schema, read_batch, write_batch
from scenariogen.scenarios.records import LanesReopen, scenario_problems
from scenariogen.scenarios.synthesize import synthesize
from tests.model.small import small_model

TOLD = Drivers(
    reroute_share=0.2,
    sign_edges=("a", "b"),
    sign_delay_s=30.0,
    sign_compliance=0.4,
    radio_share=0.1,
    navigation_share=0.25,
    navigation_compliance=0.7,
    return_share=0.5,
)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def plain_batch(model):
    return synthesize(model, n=12, frequencies=[0.5, 2.0], seed=3, network_name="two")


@pytest.fixture(scope="module")
def batch(plain_batch):
    """Scenario 0 is told and reopens lane by lane, 1 only the one, 2 only the other, the rest neither."""
    first = [{"drivers": TOLD, "lanes_reopen": LanesReopen.ONE_BY_ONE}, {"drivers": TOLD}]
    changes = [*first, {"lanes_reopen": LanesReopen.ONE_BY_ONE}]
    scenarios = [dataclasses.replace(s, **c) for s, c in zip(plain_batch.scenarios, changes, strict=False)]
    return dataclasses.replace(plain_batch, scenarios=(*scenarios, *plain_batch.scenarios[3:]))


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_what_is_written_is_read(batch, tmp_path, suffix):
    again = read_batch(write_batch(batch, tmp_path / f"s{suffix}"))
    assert again == batch and batch_hash(again) == batch_hash(batch)
    assert again.scenarios[0].drivers.sign_edges == ("a", "b")
    assert [scenario.lanes_reopen for scenario in again.scenarios[:4]] == [
        LanesReopen.ONE_BY_ONE,
        LanesReopen.AT_ONCE,
        LanesReopen.ONE_BY_ONE,
        LanesReopen.AT_ONCE,
    ]


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
@pytest.mark.parametrize("version", [1, 2])
def test_files_from_before_are_read(plain_batch, tmp_path, suffix, version):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = write_batch(plain_batch, tmp_path / f"s{suffix}")
    older = {"schema": f"scenariogen-scenarios/{version}"}
    if suffix == ".json":
        document = json.loads(path.read_text())
        assert all(set(s["drivers"]) == {"reroute_share", "reroute_after_s"} for s in document["scenarios"])
        assert all("lanes_reopen" not in scenario for scenario in document["scenarios"])
        path.write_text(json.dumps(document | older))
    else:
        table = pq.read_table(path).drop_columns(["lanes_reopen"])
        names = ("reroute_share", "reroute_after_s")
        two = pa.array([{name: row[name] for name in names} for row in table["drivers"].to_pylist()])
        table = table.set_column(table.column_names.index("drivers"), "drivers", two)
        header = json.loads(table.schema.metadata[b"scenariogen"]) | older
        pq.write_table(table.replace_schema_metadata({b"scenariogen": json.dumps(header).encode()}), path)
    assert read_batch(path) == plain_batch


def test_they_are_in_the_key_of_results_and_their_absence_changes_no_key(batch, plain_batch):
    plain = plain_batch.scenarios[0]
    assert scenario_content(plain)["drivers"] == {"reroute_share": 0.3, "reroute_after_s": 120.0}
    assert "lanes_reopen" not in scenario_content(plain)
    contents = [
        json.dumps(scenario_content(dataclasses.replace(plain, **change)), default=str)
        for change in (
            {},
            {"drivers": TOLD},
            {"drivers": dataclasses.replace(TOLD, return_share=0.4)},
            {"drivers": dataclasses.replace(plain.drivers, radio_delay_s=10.0)},
            {"lanes_reopen": LanesReopen.ONE_BY_ONE},
        )
    ]
    assert len(set(contents)) == len(contents)
    assert batch_hash(batch) != batch_hash(plain_batch)


def test_the_plain_form_comes_back():
    for drivers in (Drivers(), TOLD, Drivers(reroute_share=0.0), Drivers(radio_share=1.0)):
        assert drivers_from_plain(json.loads(json.dumps(drivers.to_plain()))) == drivers
    assert drivers_from_plain({"reroute_share": 0.1, "reroute_after_s": 5.0, "sign_edges": None}).sign_edges == ()


def test_every_field_is_in_the_schema_and_in_the_columns():
    from scenariogen.scenarios.columns import parquet_schema

    names = {each.name for each in dataclasses.fields(Drivers)}
    schema = json_schema()["properties"]["scenarios"]["items"]["properties"]["drivers"]
    assert set(schema["properties"]) == names
    drivers = parquet_schema().field("drivers").type
    assert {drivers.field(number).name for number in range(drivers.num_fields)} == names
    jsonschema.Draft202012Validator(schema).validate(TOLD.to_plain())


def test_all_faults_of_a_file_are_listed(batch, tmp_path):
    path = write_batch(batch, tmp_path / "s.json")
    document = json.loads(path.read_text())
    document["scenarios"][0]["drivers"] |= {"radio_share": 1.5, "sign_delay_s": -1, "colour": "red"}
    document["scenarios"][0]["lanes_reopen"] = "slowly"
    path.write_text(json.dumps(document))
    with pytest.raises(ScenarioError) as caught:
        read_batch(path)
    assert len(caught.value.problems) == 4
    assert any("lanes_reopen" in problem and "slowly" in problem for problem in caught.value.problems)


def test_all_faults_on_a_network_are_listed(model, batch):
    network, window = model.network, batch.window
    wrong = dataclasses.replace(TOLD, sign_edges=("nowhere", network.edge_ids[0]), navigation_share=-0.5)
    found = scenario_problems(dataclasses.replace(batch.scenarios[0], drivers=wrong), network, window)
    told = [problem for problem in found if "nowhere" in problem or "navigation_share" in problem]
    assert len(told) == len(found) == 2 and all(problem.startswith("scenario 0: ") for problem in found)
    assert list(driver_problems(Drivers(), network)) == []
