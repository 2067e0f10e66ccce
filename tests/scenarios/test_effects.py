"""Effects as records: checked all at once, and the same whatever file they went through."""

import dataclasses
import json

import jsonschema
import pytest

from scenariogen.errors import ScenarioError
from scenariogen.evaluation.records import batch_hash, scenario_content
from scenariogen.scenarios.effects import (
    EFFECTS,
    Closure,
    DemandSurge,
    DetectorOutage,
    FailureMode,
    OutageMode,
    Rubbernecking,
    SignalFailure,
    SpeedLimit,
    Weather,
    WeatherKind,
    effect_from_plain,
    effect_problems,
)
from scenariogen.scenarios.files import json_schema, read_batch, write_batch
from scenariogen.scenarios.synthesize import synthesize
from tests.model.small import small_model

ALL = (
    SpeedLimit(start_s=60, duration_s=30, limit_mps=8, edges=("a",), lanes=("b_0",), warnings=((100, 12), (300, 20))),
    Closure(start_s=60.5, duration_s=30, edges=("a",), classes=("truck", "bus")),
    Closure(start_s=60, duration_s=30, lanes=("a_0", "a_1")),
    Weather(start_s=0, duration_s=3600, weather=WeatherKind.HEAVY_SNOW),
    SignalFailure(start_s=1, duration_s=2, signal="x", mode=FailureMode.FLASHING),
    DemandSurge(start_s=1, duration_s=2, factor=1.5, entries=("a",)),
    DetectorOutage(start_s=1, duration_s=2, lanes=("a_0",), mode=OutageMode.LAST_VALUE),
    Rubbernecking(start_s=1, duration_s=2, edge="a", position_m=20.5, capacity_left=0.873),
)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def batch(model):
    plain = synthesize(model, n=8, frequencies=[0.5, 2.0], seed=3, network_name="two")
    first, *rest = plain.scenarios
    return dataclasses.replace(plain, scenarios=(dataclasses.replace(first, effects=ALL), *rest))


def test_every_kind_is_tried_here():
    assert {type(effect) for effect in ALL} == set(EFFECTS.values())


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_what_is_written_is_read(batch, tmp_path, suffix):
    again = read_batch(write_batch(batch, tmp_path / f"s{suffix}"))
    assert again == batch and again.scenarios[0].effects == ALL and again.scenarios[1].effects == ()
    assert batch_hash(again) == batch_hash(batch)


@pytest.mark.parametrize("effect", ALL, ids=lambda e: e.kind)
def test_the_plain_form_comes_back_and_meets_the_schema(effect):
    plain = json.loads(json.dumps(effect.to_plain()))
    assert effect_from_plain(plain) == effect and hash(effect_from_plain(plain)) == hash(effect)
    schema = json_schema()["properties"]["scenarios"]["items"]["properties"]["effects"]
    jsonschema.Draft202012Validator(schema).validate([plain])
    for name in plain:
        broken = {key: value for key, value in plain.items() if key != name} | {f"{name}_x": 1}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema).validate([broken])


@pytest.mark.parametrize("suffix", [".parquet", ".json"])
def test_files_of_version_1_are_read(batch, tmp_path, suffix):
    import pyarrow.parquet as pq

    without = dataclasses.replace(
        batch, scenarios=tuple(dataclasses.replace(scenario, effects=()) for scenario in batch.scenarios)
    )
    path = write_batch(without, tmp_path / f"s{suffix}")
    if suffix == ".json":
        document = json.loads(path.read_text())
        assert all("effects" not in scenario for scenario in document["scenarios"])
        path.write_text(json.dumps(document | {"schema": "scenariogen-scenarios/1"}))
    else:
        table = pq.read_table(path).drop_columns(["effects"])
        header = json.loads(table.schema.metadata[b"scenariogen"]) | {"schema": "scenariogen-scenarios/1"}
        pq.write_table(table.replace_schema_metadata({b"scenariogen": json.dumps(header).encode()}), path)
    assert read_batch(path) == without


@pytest.mark.parametrize(
    "fault", [{"limit_mps": -3}, {"limit_mps": "fast"}, {"effect": "flood"}, {"colour": "red"}, {"warnings": [[1]]}]
)
def test_a_damaged_effect_is_told_with_its_place(batch, tmp_path, fault):
    path = write_batch(batch, tmp_path / "s.json")
    document = json.loads(path.read_text())
    document["scenarios"][0]["effects"][0] |= fault
    path.write_text(json.dumps(document))
    with pytest.raises(ScenarioError) as caught:
        read_batch(path)
    assert any("scenarios.0.effects.0" in problem for problem in caught.value.problems)
    with pytest.raises(ScenarioError):
        effect_from_plain({"effect": "flood"})


def test_effects_are_in_the_key_of_results_and_their_absence_changes_no_key(batch):
    scenario = batch.scenarios[0]
    content = [scenario_content(dataclasses.replace(scenario, effects=ALL[:n])) for n in range(len(ALL) + 1)]
    assert "effects" not in content[0] and len({json.dumps(c, default=str) for c in content}) == len(content)
    rain, snow = (Weather(start_s=0, duration_s=9, weather=kind) for kind in ("rain", "light_snow"))
    assert scenario_content(dataclasses.replace(scenario, effects=(rain,))) != scenario_content(
        dataclasses.replace(scenario, effects=(snow,))
    )


def test_all_problems_are_listed_at_once(model):
    network = model.network
    effects = (
        SpeedLimit(start_s=-5, duration_s=0, limit_mps=0, edges=("nowhere",), warnings=((0, 5),)),
        Closure(start_s=1e6, duration_s=5, lanes=("nowhere_0", f"{network.edge_ids[0]}_99"), classes=("horse",)),
        Closure(start_s=5, duration_s=5),
        Weather(start_s=5, duration_s=5, weather="hail"),
        SignalFailure(start_s=5, duration_s=float("inf"), signal="none", mode="broken"),
        DemandSurge(start_s=5, duration_s=5, factor=0.5, entries=("nowhere",)),
        DetectorOutage(start_s=5, duration_s=5, lanes=("x_0",), mode="shy"),
        Rubbernecking(start_s=5, duration_s=5, edge="nowhere", position_m=-1, capacity_left=0.1),
        Rubbernecking(start_s=5, duration_s=5, edge=network.edge_ids[0], position_m=1e5, capacity_left=0.1),
        Rubbernecking(start_s=5, duration_s=5, edge=network.edge_ids[0], position_m=1, capacity_left=1.2),
    )
    found = effect_problems(effects, network, begin_s=0, end_s=3600)
    by_effect = [[text for text in found if text.startswith(f"effect {n} ")] for n in range(len(effects))]
    assert [len(faults) for faults in by_effect] == [5, 4, 1, 1, 3, 2, 2, 1, 2, 1]
    assert any("between" in text and "can be brought about" in text for text in found)
