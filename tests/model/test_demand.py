"""Demand factors: recovery of a known factor model, what few days may not teach, densities against quadrature."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from scenariogen.errors import ModelError
from scenariogen.model.condition import ConditionTable, DayKind, table_from_plain
from scenariogen.model.demand_density import FactorDensity, FlowFactors, StudentFactors, flow_module
from scenariogen.model.demand_fit import fit_demand
from scenariogen.model.demand_pattern import DemandPattern
from scenariogen.model.gauss_rule import gauss_rule
from tests.model.demand_days import known_days

DRAWS = 60_000
KINDS = (DayKind(share=0.7), DayKind(weather="rain", share=0.2), DayKind(day_type="weekend", share=0.1))


def student(factors: int = 2, *, kinds: int = 3) -> StudentFactors:
    random = np.random.default_rng(3)
    return StudentFactors(
        location=0.2 * random.standard_normal((kinds, factors)),
        spread=0.1 + 0.1 * random.random((kinds, factors)),
        degrees=np.array([9.0, np.inf, 6.0][:factors]),
    )


def flow(factors: int) -> FlowFactors:
    """A flow away from the identity."""
    module = flow_module(factors, 3, seed=1)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        for each in module.parameters():
            each += 0.15 * torch.randn_like(each)
    return FlowFactors(module=module, features=np.eye(3), centre=np.full(factors, 0.05), scale=np.full(factors, 0.15))


def pattern(density: FactorDensity, *, rest_spread: float = 0.0) -> DemandPattern:
    more = np.random.default_rng(4).standard_normal((4, density.factors - 1))
    return DemandPattern(
        entries=("first", "second", "third", "*"),
        shares=np.array([0.4, 0.3, 0.2, 0.1]),
        loadings=np.concatenate([np.ones((4, 1)), 0.5 * more], axis=1),
        density=density,
        rest_spread=rest_spread,
    )


def table(density: FactorDensity, **options) -> ConditionTable:
    return ConditionTable(shares=KINDS, demand=pattern(density, **options))


def draws(given: ConditionTable, seed: int = 5):
    generator = torch.Generator().manual_seed(seed)
    return given.draw(torch.rand((DRAWS, given.noise_columns), dtype=torch.float64, generator=generator))


# What is learned


def test_two_factors_are_found_with_their_loadings():
    known = known_days(40, second=0.2)
    found = fit_demand(known.flows)
    assert found.pattern is not None and found.pattern.factors == 2
    order = [known.flows.entries.index(entry) for entry in found.pattern.entries]
    true = known.loadings[order, 1] - found.pattern.shares @ known.loadings[order, 1]
    assert abs(np.corrcoef(true, found.pattern.loadings[:, 1])[0, 1]) > 0.97
    size = found.pattern.loadings[:, 1] * found.pattern.density.spread[0, 1]  # type: ignore[attr-defined]
    assert np.std(size) / np.std(true) == pytest.approx(known.factors[:, 1].std(), rel=0.25)


def test_one_common_scale_is_all_that_is_found_where_there_is_no_more():
    found = fit_demand(known_days(30, common=0.25).flows)
    assert found.pattern is not None and found.pattern.factors == 1
    assert found.pattern.density.spread[0, 0] == pytest.approx(0.25, rel=0.3)  # type: ignore[attr-defined]
    assert found.pattern.rest_spread < 0.03


def test_a_spread_that_no_factor_carries_is_not_taken_for_factors():
    found = fit_demand(known_days(30, common=0.25, psi=0.1**2).flows)
    assert found.pattern is not None and found.pattern.factors == 1
    assert found.pattern.rest_spread == pytest.approx(0.1, rel=0.25)


def test_too_few_days_leave_the_declared_table_and_say_so():
    found = fit_demand(known_days(4).flows)
    assert found.pattern is None
    assert "4 recorded days cannot show" in str(found) and "the declared table stays" in str(found)


def test_six_days_are_never_given_more_than_one_factor():
    for seed in range(3):
        found = fit_demand(known_days(6, common=0.3, second=0.3, seed=seed).flows)
        assert found.pattern is None or found.pattern.factors == 1


def test_days_as_the_declared_table_has_them_do_not_replace_it_by_much():
    """Whether the table stays or goes, nothing far from it may be learned from days that it describes."""
    for seed in range(4):
        found = fit_demand(known_days(12, common=0.1, seed=seed).flows)
        if found.pattern is not None:
            assert found.pattern.factors == 1
            assert 0.05 < found.pattern.density.spread[0, 0] < 0.2  # type: ignore[attr-defined]


def test_rain_moves_the_common_factor_and_unseen_snow_only_widens_it():
    kinds = (DayKind(share=0.6), DayKind(weather="rain", share=0.3), DayKind(weather="snow", share=0.1))
    kind = np.arange(30) % 2
    known = known_days(30, common=0.08, effect=-0.3 * kind)
    found = fit_demand(known.flows, kinds, kind)
    assert found.pattern is not None
    density = found.pattern.density
    assert isinstance(density, StudentFactors)
    dry, rain, snow = density.location[:, 0]
    assert rain - dry == pytest.approx(-0.3, abs=0.08)
    assert abs(snow - dry) < 0.05
    assert density.spread[2, 0] > 1.5 * density.spread[0, 0]


def test_scale_one_is_the_mean_day_of_the_day_type_that_is_asked_for():
    kinds = (DayKind(share=5 / 7), DayKind(day_type="weekend", share=2 / 7))
    kind = (np.arange(28) % 7 >= 5).astype(int)
    known = known_days(28, common=0.05, effect=-0.5 * kind)
    found = fit_demand(known.flows, kinds, kind, reference="weekday")
    assert found.pattern is not None and isinstance(found.pattern.density, StudentFactors)
    assert found.pattern.density.location[0, 0] == pytest.approx(0.0, abs=0.05)
    assert found.pattern.density.location[1, 0] == pytest.approx(-0.5, abs=0.1)


def test_kinds_of_day_that_do_not_belong_to_the_days_are_refused():
    with pytest.raises(ModelError, match="kinds of day"):
        fit_demand(known_days(6).flows, KINDS, [0, 1, 2, 3, 0, 0])


# Densities and the table that holds them


@pytest.mark.parametrize("density", [student(1), student(2), student(3), flow(1), flow(2)])
def test_the_density_of_factors_integrates_to_one(density):
    """Monte Carlo over a wide normal proposal, since a rule made from the density would prove nothing."""
    generator = torch.Generator().manual_seed(1)
    x = 0.6 * torch.randn((200_000, density.factors), dtype=torch.float64, generator=generator)
    log_q = -0.5 * (x / 0.6) ** 2 - math.log(0.6 * math.sqrt(2 * math.pi))
    for kind in range(3):
        weight = torch.exp(density.log_prob(x, torch.full((len(x),), kind)) - log_q.sum(-1)).numpy()
        assert weight.mean() == pytest.approx(1, abs=4 * weight.std() / math.sqrt(len(x)))


@pytest.mark.parametrize("density", [student(1), student(3), flow(1), flow(2)])
def test_the_rule_over_conditions_agrees_with_draws(density):
    given = replace(table(density), day_shape=4.0)
    drawn = draws(given)
    scales, days, weights = given.quadrature()
    assert weights.sum() == pytest.approx(1, abs=1e-9) and (weights >= 0).all()
    for mean in (0.01, 0.7, 5.0):
        seen = torch.exp(-mean * drawn.scale * drawn.day).numpy()
        assert weights @ np.exp(-mean * scales * days) == pytest.approx(
            seen.mean(), abs=4 * seen.std() / math.sqrt(DRAWS)
        )


def test_condensed_nodes_are_as_good_as_all_of_them():
    density = student(3)
    nodes, weight = density.rule(0)
    scale = pattern(density).network_scale(nodes)
    x, w = gauss_rule(np.log(scale), weight, 40)
    assert len(x) == 40
    for power in (-3.0, 1.0, 4.0):
        assert w @ np.exp(power * x) == pytest.approx(weight @ scale**power, rel=1e-12)


@pytest.mark.parametrize("density", [student(2), flow(2)])
def test_weights_between_two_tables_average_one(density):
    given = table(density, rest_spread=0.1)
    wider = StudentFactors(location=np.zeros((3, 2)), spread=np.full((3, 2), 0.4), degrees=np.full(2, 12.0))
    source = ConditionTable(
        shares=tuple(replace(kind, share=1 / 3) for kind in KINDS), demand=pattern(wider, rest_spread=0.15)
    )
    drawn = draws(source)
    weight = torch.exp(given.log_prob_of(drawn) - source.log_prob_of(drawn)).numpy()
    assert weight.mean() == pytest.approx(1, abs=4 * weight.std() / math.sqrt(DRAWS))
    rain = (drawn.kind == 1).numpy()
    assert np.mean(weight * rain) == pytest.approx(0.2, abs=4 * float(np.std(weight * rain)) / math.sqrt(DRAWS))


def test_entry_scales_have_the_networks_as_their_mean():
    given = pattern(student(2))
    factors = np.random.default_rng(0).standard_normal((50, 2))
    assert given.entry_scales(factors) @ given.shares == pytest.approx(given.network_scale(factors))
    own = given.draw_rest(torch.rand(50, given.rests))
    assert own.shape == (50, 0)


def test_an_entrys_own_deviation_has_mean_one():
    given = pattern(student(1), rest_spread=0.3)
    noise = torch.rand((DRAWS, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    own = torch.exp(given.draw_rest(noise)).numpy()
    assert own.mean(0) == pytest.approx(1, abs=4 * own.std() / math.sqrt(DRAWS))


@pytest.mark.parametrize("density", [student(2), flow(1)])
def test_a_table_read_back_is_the_table(density):
    given = table(density, rest_spread=0.1)
    again = table_from_plain(given.plain(), given.tensors())
    drawn = draws(given)
    assert torch.equal(given.log_prob_of(drawn), again.log_prob_of(drawn))
    assert again.plain() == given.plain()


def test_a_table_without_days_and_pattern_is_written_as_ever():
    assert ConditionTable().plain() == {
        "clock_s": 0.0,
        "day_type": "weekday",
        "weather": "dry",
        "demand_scale_sigma": 0.1,
        "day_shape": None,
    }


def test_every_fault_of_an_edited_table_is_listed():
    plain = ConditionTable().plain() | {
        "shares": [{"day_type": "holiday", "weather": "hail", "share": 0.5}, {"share": -1.0}]
    }
    with pytest.raises(ModelError) as caught:
        table_from_plain(plain, {})
    for part in ("holiday", "hail", "-1.0", "sum to"):
        assert part in str(caught.value)
    with pytest.raises(ModelError, match="holds sigma"):
        table_from_plain(ConditionTable().plain() | {"sigma": 1}, {})
