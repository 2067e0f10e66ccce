"""Scenarios under kinds of day and a pattern of demand: what they carry, files, and weights between two tables."""

import json
from dataclasses import replace

import numpy as np
import pytest

from scenariogen.errors import ModelError, ScenarioError
from scenariogen.model.checkpoint import DESCRIPTION, load_model, save_model
from scenariogen.model.condition import ConditionTable, DayKind
from scenariogen.model.demand_density import StudentFactors
from scenariogen.model.demand_pattern import DemandPattern
from scenariogen.network import file_sha256
from scenariogen.scenarios.files import json_schema, read_batch, write_batch
from scenariogen.scenarios.records import Condition, Scenario
from scenariogen.scenarios.reweight import condition_weights, frequency_weights
from scenariogen.scenarios.synthesize import synthesize
from tests.model.small import small_model, two_edges

N = 4000


def density(spread: float, rain: float) -> StudentFactors:
    return StudentFactors(
        location=np.array([[0.0, 0.0], [rain, 0.1]]),
        spread=np.array([[spread, 0.6], [spread, 0.6]]),
        degrees=np.array([8.0, 8.0]),
    )


def table(spread: float = 0.15, rain: float = -0.2, share: float = 0.3, **others) -> ConditionTable:
    pattern = DemandPattern(
        entries=("first", "*"),
        shares=np.array([0.8, 0.2]),
        loadings=np.array([[1.0, 0.1], [1.0, -0.4]]),
        density=density(spread, rain),
        rest_spread=0.05,
    )
    kinds = (DayKind(share=1 - share), DayKind(weather="rain", share=share))
    return ConditionTable(shares=kinds, demand=pattern, **others)


@pytest.fixture(scope="module")
def model():
    return replace(small_model(), condition=table(0.25, -0.1, 0.5, day_shape=5.0))


@pytest.fixture(scope="module")
def batch(model):
    return synthesize(model, n=N, frequencies=[0.5, 2.0], seed=5)


def test_scenarios_carry_kind_factors_and_the_scale_of_each_entry(model, batch):
    rain = np.array([scenario.condition.weather == "rain" for scenario in batch.scenarios])
    assert rain.mean() == pytest.approx(0.5, abs=4 * 0.5 / N**0.5)
    pattern = model.condition.demand
    for scenario in batch.scenarios[:50]:
        held = scenario.condition
        assert [entry for entry, _ in held.entry_scales] == ["first", "*"]
        assert held.demand_scale == pytest.approx(pattern.network_scale(np.array([held.demand_factors]))[0])
        own = np.log([scale for _, scale in held.entry_scales]) - pattern.loadings @ held.demand_factors
        assert np.abs(own).max() < 0.3 and np.abs(own).max() > 0
        number = model.condition.kind_number(held.day_type, held.weather)
        direct = model.log_prob(
            scenario.incidents,
            scale=held.demand_scale,
            day=held.day_multiplier,
            kind=number,
            factors=held.demand_factors,
            rest=tuple(own),
        )
        assert scenario.density is not None
        assert scenario.density.log_model == pytest.approx(direct, abs=1e-9)


def test_weights_average_one_in_each_stratum(batch):
    for frequency in (0.5, 1.0, 2.0):
        weights = frequency_weights(batch, frequency)
        for rows in (weights.is_free, ~weights.is_free):
            w = np.exp(weights.log_w[rows])
            assert w.mean() == pytest.approx(1, abs=4 * w.std() / len(w) ** 0.5)
            for control in weights.controls[rows].T:
                mean = (w * control).mean()
                assert mean == pytest.approx(0, abs=4 * (w * control).std() / len(w) ** 0.5)


def test_a_scenario_is_the_same_in_any_request(model, batch):
    again = synthesize(model, n=3, frequencies=[0.5, 2.0], seed=5, first=17)
    assert again.scenarios == batch.scenarios[17:20]


@pytest.mark.parametrize("given", ["", "lanes_blocked>=1"])
def test_weights_between_two_tables_average_one_and_give_the_targets_days(model, given):
    target = table(0.15, -0.2, 0.3, day_shape=8.0)
    drawn = synthesize(model, n=N, frequencies=[1.0], given=given, seed=6)
    log_w = condition_weights(drawn, 1.0, drawn=model.condition, target=target)
    free = np.array([scenario.is_incident_free for scenario in drawn.scenarios])
    direct = synthesize(replace(model, condition=target), n=N, frequencies=[1.0], given=given, seed=7)
    for rows in [~free] + ([free] if free.any() else []):
        w = np.exp(log_w[rows])
        assert w.mean() == pytest.approx(1, abs=4 * w.std() / len(w) ** 0.5)
        mine = np.array([scenario.condition.demand_scale for scenario in drawn.scenarios])[rows]
        other = [s.condition.demand_scale for s in direct.scenarios if s.is_incident_free == free[rows][0]]
        same = np.exp(frequency_weights(direct, 1.0).log_w)[
            [s.is_incident_free == free[rows][0] for s in direct.scenarios]
        ]
        error = np.hypot((w * mine).std() / len(w) ** 0.5, (same * other).std() / len(other) ** 0.5)
        assert (w * mine).mean() == pytest.approx((same * other).mean(), abs=4 * error)


def test_tables_that_cannot_be_weighed_into_each_other_are_refused(model, batch):
    snow = ConditionTable(shares=(DayKind(share=0.5), DayKind(weather="snow", share=0.5)))
    with pytest.raises(ModelError) as caught:
        condition_weights(batch, 1.0, drawn=model.condition, target=snow)
    for part in ("pattern of demand", "day multiplier is fixed", "weekday and snow were never drawn"):
        assert part in str(caught.value)


@pytest.mark.parametrize("suffix", [".json", ".parquet"])
def test_files_keep_factors_and_entry_scales(batch, tmp_path, suffix):
    small = replace(batch, scenarios=batch.scenarios[:5])
    again = read_batch(write_batch(small, tmp_path / f"x{suffix}"))
    assert again.scenarios == small.scenarios


def test_a_file_without_them_is_as_it_was(tmp_path):
    small = synthesize(small_model(), n=2, seed=1)
    condition = json.loads(write_batch(small, tmp_path / "x.json").read_text())["scenarios"][0]["condition"]
    assert set(condition) == {"clock_s", "day_type", "weather", "demand_scale", "day_multiplier"}
    assert read_batch(write_batch(small, tmp_path / "x.parquet")).scenarios == small.scenarios


def test_faults_of_entry_scales_are_listed(batch):
    held = Condition(entry_scales=(("nowhere", 1.0), ("first", -2.0), ("first", 1.0)))
    broken = replace(batch, scenarios=(Scenario(index=0, seed=1, condition=held),))
    with pytest.raises(ScenarioError) as caught:
        broken.check(two_edges())
    for part in ("nowhere", "is -2", "two scales"):
        assert part in str(caught.value)
    properties = json_schema()["properties"]["scenarios"]["items"]["properties"]["condition"]
    assert "entry_scales" not in properties["required"]


def test_a_models_folder_keeps_the_table_and_takes_an_edited_one(tmp_path, model):
    """Also one from before there were kinds of day and patterns."""
    network = replace(model.network, path=tmp_path / "x.net.xml", sha256="")
    network.path.write_text("<net/>")
    network = replace(network, sha256=file_sha256(network.path))
    folder = save_model(replace(model, network=network), tmp_path / "model")
    assert load_model(folder, network).condition.plain() == model.condition.plain()
    plain = json.loads((folder / DESCRIPTION).read_text())
    plain["condition"]["shares"][1]["share"] = 0.2
    plain["condition"]["shares"][0]["share"] = 0.8
    (folder / DESCRIPTION).write_text(json.dumps(plain))
    assert [kind.share for kind in load_model(folder, network).condition.kinds] == [0.8, 0.2]
    plain["condition"] = {
        "clock_s": 0.0, "day_type": "weekday", "weather": "dry", "demand_scale_sigma": 0.2, "day_shape": None
    }  # fmt: skip
    (folder / DESCRIPTION).write_text(json.dumps(plain))
    assert load_model(folder, network).condition == ConditionTable(demand_scale_sigma=0.2)


@pytest.mark.parametrize("shape", [0.4, 5.0, 171.0, 200.0, 5000.0])
def test_days_of_any_shape_have_nodes(shape):
    """A shape of 172 or more, which a fit proposes for counts that are nearly Poisson, once gave weights of nan."""
    _, days, weights = ConditionTable(day_shape=shape).quadrature()
    mean = weights @ days
    assert weights.sum() == pytest.approx(1.0) and mean == pytest.approx(1.0)
    assert weights @ (days - mean) ** 2 == pytest.approx(1 / shape)
