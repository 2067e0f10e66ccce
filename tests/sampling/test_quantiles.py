"""Quantiles and CVaR under the target: definitions, brute force, clusters of seeds, differences, and bad input."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from scenariogen.errors import DensityError
from scenariogen.sampling.exceedance import Exceedance, cvar_limits, quantile_limits
from scenariogen.sampling.importance import Stratum, estimate_probability
from scenariogen.sampling.quantiles import (
    estimate_cvar,
    estimate_cvar_difference,
    estimate_quantile,
    estimate_quantile_difference,
)
from tests.sampling.coverage_problems import tolerance


def one(values, log_w=None, probability=1.0):
    values = np.asarray(values, dtype=float)
    return Stratum(probability=probability, log_w=np.zeros(len(values)) if log_w is None else log_w, values=values)


def strata(seed=0):
    """Two strata with uneven weights."""
    generator = np.random.default_rng(seed)
    x = generator.standard_normal(300) + (generator.random(300) < 0.5)
    return [
        one(generator.standard_exponential(60), probability=0.6),
        one(np.exp(x), log_w=-np.log(0.5 + 0.5 * np.exp(x - 0.5)), probability=0.4),
    ]


def exceeds(parts, y):
    return sum(s.probability * float(np.mean(s.w * (s.values > y))) for s in parts)


# ------------------------------------------------------------------------------------------------- definitions


@pytest.mark.parametrize("at", [0.5, 0.9, 0.97])
def test_the_quantile_is_the_smallest_value_exceeded_with_at_most_the_rest(at):
    parts = strata()
    found = estimate_quantile(parts, at=at)
    everything = np.sort(np.concatenate([s.values for s in parts]))
    brute = next(y for y in everything if exceeds(parts, y) <= 1 - at)
    assert found.value == brute == found.plain
    assert found.low <= found.value <= found.high and found.at == at


def test_cvar_is_the_mean_of_the_worst_share_with_atoms_divided():
    values = np.array([0.0] * 6 + [1.0] * 3 + [7.0])
    assert estimate_cvar([one(values)], at=0.75).value == pytest.approx((7 + 1.5) / 2.5)
    assert estimate_cvar([one(values)], at=0.9).value == pytest.approx(7.0)
    assert estimate_quantile([one(values)], at=0.75).value == 1.0


def test_cvar_is_the_least_value_of_the_function_it_minimises():
    parts = strata(3)
    grid = np.unique(np.concatenate([s.values for s in parts]))
    tau = 0.1
    least = min(
        c + sum(s.probability * float(np.mean(s.w * np.maximum(s.values - c, 0))) for s in parts) / tau for c in grid
    )
    assert estimate_cvar(parts, at=1 - tau).value == pytest.approx(least)


def test_a_common_factor_and_level_pass_through_and_self_normalised_weights_ignore_their_mean():
    parts = strata(1)
    moved = [s.replace_values(3 * s.values + 100) for s in parts]
    for estimate in (estimate_quantile, estimate_cvar):
        a, b = estimate(parts, at=0.9), estimate(moved, at=0.9)
        for name in ("value", "low", "high", "self_normalised"):
            assert getattr(b, name) == pytest.approx(3 * getattr(a, name) + 100)
        heavier = [one(s.values, log_w=s.log_w + 0.4, probability=s.probability) for s in parts]
        assert estimate(heavier, at=0.9).self_normalised == pytest.approx(a.self_normalised)
        assert estimate(heavier, at=0.9).value > a.value


@pytest.mark.parametrize("n", [60, 90, 120, 150, 180, 400])
def test_the_quantiles_limits_are_where_the_mid_p_limits_of_the_exceedance_cross(n):
    from scipy.stats import beta

    values = np.random.default_rng(4).standard_normal(n)
    found = estimate_quantile([one(values)], at=0.9)
    ordered = np.sort(values)[::-1]
    p, step = np.arange(n) / n, 0.5 / n  # larger ones; half a draw

    def upper(p):
        mean = (p + step) / (1 + step)
        events = (p + step) ** 2 / (p / n + step**2)
        return beta.ppf(0.975, events, events * (1 - mean) / mean)

    high, low = upper(p), 1 - upper(1 - p)
    assert found.low == ordered[np.flatnonzero(low <= 0.1)[-1]]
    assert found.high == (ordered[np.argmax(high > 0.1) - 1] if high[0] <= 0.1 else math.inf)
    inside = [y for y in ordered if estimate_probability([one(values > y)]).low <= 0.1]
    assert found.low >= inside[-1]  # no wider than Clopper and Pearson's


def test_too_few_beyond_the_quantile_leave_it_unbounded():
    found = estimate_quantile([one(np.arange(30.0))], at=0.95)
    assert found.high == math.inf and math.isnan(found.standard_error) and math.isfinite(found.low)
    low = estimate_quantile([one(np.arange(10.0))], at=0.02)
    assert low.low == -math.inf
    light = estimate_quantile([one(np.arange(10.0), log_w=np.full(10, -4.0))], at=0.5)
    assert math.isnan(light.value)
    assert math.isnan(estimate_cvar([one(np.arange(10.0), log_w=np.full(10, -4.0))], at=0.5).value)


def test_an_atom_holds_the_quantile_and_its_lower_limit():
    found = estimate_quantile([one([0.0] * 970 + list(range(1, 31)))], at=0.95)
    assert (found.value, found.low) == (0.0, 0.0) and found.high <= 30
    assert found.ess_tail == pytest.approx(1000)  # all lie at or beyond it


# -------------------------------------------------------------------------------------------- bootstrap, brute force


def test_the_bootstraps_statistics_are_those_of_each_resample_worked_out_by_hand(monkeypatch):
    """Every resample's CVaR and error computed anew from its own draws give the same limits."""
    from scenariogen.sampling import exceedance, intervals

    monkeypatch.setattr(exceedance, "REPLICATES", 199)
    parts = strata(5)
    tau = 0.1
    found = estimate_cvar(parts, at=1 - tau)
    counts = [
        next(iter(intervals.resamples(len(s), 199, intervals.BOOTSTRAP_SEED + i)))[1] for i, s in enumerate(parts)
    ]

    def by_hand(multiplicity):
        picked = [np.repeat(np.arange(len(s)), m.astype(int)) for s, m in zip(parts, multiplicity, strict=True)]
        again = [
            one(s.values[i], log_w=s.log_w[i], probability=s.probability) for s, i in zip(parts, picked, strict=True)
        ]
        ys = np.sort(np.concatenate([s.values for s in again]))
        q = next(y for y in ys if exceeds(again, y) <= tau)
        terms = [s.w * np.maximum(s.values - q, 0) / tau for s in again]
        value = q + sum(s.probability * t.mean() for s, t in zip(again, terms, strict=True))
        return value, sum(s.probability**2 * t.var(ddof=1) / len(t) for s, t in zip(again, terms, strict=True)), terms

    value, variance, terms = by_hand([np.ones(len(s)) for s in parts])
    again = [by_hand([c[r] for c in counts])[:2] for r in range(199)]
    t = np.array([(v - value) / math.sqrt(spread) for v, spread in again])
    step = max(s.probability * t.max() / len(s) for s, t in zip(parts, terms, strict=True))
    assert found.value == pytest.approx(value) and found.standard_error == pytest.approx(math.sqrt(variance))
    assert found.low == pytest.approx(value - np.quantile(t, 0.975, method="higher") * math.sqrt(variance))
    assert found.high == pytest.approx(
        value - np.quantile(t, 0.025, method="lower") * math.hypot(found.standard_error, step)
    )


# ------------------------------------------------------------------------------------------------ clusters of seeds


def test_copies_of_a_seed_change_nothing():
    parts = strata(6)
    copies = [np.repeat(s.values[:, None], 3, axis=1) for s in parts]
    for estimate in (estimate_quantile, estimate_cvar):
        single, copied = estimate(parts, at=0.9), estimate(parts, copies, at=0.9)
        for name in ("value", "low", "high", "standard_error", "ess_tail", "self_normalised"):
            assert getattr(copied, name) == pytest.approx(getattr(single, name))


def test_a_missing_seed_is_left_out_and_the_others_stand_for_its_scenario():
    values = np.array([[1.0, 1.0], [5.0, np.nan], [3.0, 9.0], [2.0, 2.0]])
    tail = Exceedance.of([one(np.zeros(4))], [values])
    assert tail.values.tolist() == [9.0, 5.0, 3.0, 2.0, 2.0, 1.0, 1.0]
    assert tail.mass.tolist() == pytest.approx([0.125, 0.25, 0.125, 0.125, 0.125, 0.125, 0.125])
    assert estimate_quantile([one(np.zeros(4))], [values], at=0.7).value == 5.0
    assert tail.ess(5.0) == pytest.approx((0.125 + 0.25) ** 2 / (0.125**2 + 0.25**2))


def test_seeds_of_a_scenario_are_one_cluster_whose_share_in_the_tail_varies():
    """Variance of an exceedance with two seeds, by hand."""
    generator = np.random.default_rng(9)
    base = generator.standard_normal(500)
    values = base[:, None] + 0.5 * generator.standard_normal((500, 2))
    found = estimate_quantile([one(base)], [values], at=0.8)
    share = (values > found.low).mean(axis=1)
    assert share.mean() - 0.2 == pytest.approx(1.96 * share.std() / math.sqrt(500), rel=0.15)
    independent = estimate_quantile([one(np.zeros(1000))], [values.ravel()], at=0.8)
    assert found.high - found.low > 1.1 * (independent.high - independent.low)


# -------------------------------------------------------------------------------------------------- differences


def policies(generator, n):
    """Two lognormals that go together: log Y₁ ~ N(0, 1), log Y₂ ~ N(0, 0.9), and their differences in closed form."""
    x = generator.standard_normal(n) + 1.5 * (generator.random(n) < 0.8)
    y = np.exp(0.9 * x + 0.3 * generator.standard_normal(n))
    return [one(np.zeros(n), log_w=-np.log(0.2 + 0.8 * np.exp(1.5 * x - 1.125)))], [np.exp(x)], [y]


def truth_of_differences(at):
    z, spread = norm.ppf(at), math.sqrt(0.9)

    def cvar(s):
        return math.exp(s * s / 2) * norm.cdf(s - z) / (1 - at)

    return math.exp(z) - math.exp(spread * z), cvar(1.0) - cvar(spread)


@pytest.mark.parametrize("repeats", [60, pytest.param(1000, marks=pytest.mark.slow)])
def test_paired_differences_cover_and_are_surer_than_apart(repeats):
    """400 draws. MOVER's limits are conservative here, so only a lower bound for the quantile."""
    hits, widths, quantile_widths = np.zeros(2), [], []
    truths = truth_of_differences(0.95)
    for repeat in range(repeats):
        parts, first, second = policies(np.random.default_rng([11, repeat]), 400)
        quantile = estimate_quantile_difference(parts, first, second, at=0.95)
        cvar = estimate_cvar_difference(parts, first, second, at=0.95)
        hits += np.array([e.low <= truth <= e.high for e, truth in zip((quantile, cvar), truths, strict=True)])
        if repeat < 10:
            apart = [estimate_cvar(parts, side, at=0.95) for side in (first, second)]
            widths.append((cvar.standard_error, math.hypot(*(each.standard_error for each in apart))))
            sides = [estimate_quantile(parts, side, at=0.95) for side in (first, second)]
            quantile_widths.append((quantile.standard_error, math.hypot(*(each.standard_error for each in sides))))
    assert hits[0] / repeats >= 0.95 - tolerance(repeats)
    assert hits[1] / repeats == pytest.approx(0.95, abs=tolerance(repeats))
    paired, unpaired = np.array(widths).T
    assert (paired < 0.7 * unpaired).all()
    paired, unpaired = np.array(quantile_widths).T
    assert (paired < 0.95 * unpaired).all()


def test_a_policy_does_not_differ_from_itself_and_pairs_need_a_seed_in_common():
    parts, first, _ = policies(np.random.default_rng(2), 300)
    same = estimate_cvar_difference(parts, first, first)
    assert (same.value, same.low, same.high) == (0, -math.inf, math.inf)  # which says nothing of what was not drawn
    assert estimate_quantile_difference(parts, first, first).value == 0
    two = [np.stack([first[0], first[0]], axis=1)]
    two[0][7] = [np.nan, 1.0]
    other = [two[0].copy()]
    other[0][7] = [1.0, np.nan]
    with pytest.raises(DensityError, match="no seed that both"):
        estimate_cvar_difference(parts, two, other)


def test_a_missing_seed_takes_its_partner_out():
    generator = np.random.default_rng(3)
    values = generator.standard_exponential((200, 2))
    holes, baseline = values.copy(), values + 1.0
    holes[::3, 1] = np.nan
    found = estimate_cvar_difference([one(np.zeros(200))], [holes], [baseline], at=0.9)
    assert found.value == pytest.approx(-1.0)


# ------------------------------------------------------------------------------------------------------ bad input


def test_what_cannot_be_answered_is_said_all_at_once():
    with pytest.raises(DensityError) as caught:
        estimate_quantile([one([1.0, 2.0])], [np.array([[1.0], [math.inf]]), np.zeros(2)], at=1.0)
    assert len(caught.value.problems) == 3
    assert "got a quantile at 1.0, expected a level between 0 and 1" in str(caught.value)
    with pytest.raises(DensityError, match=r"got values \(3, 1\) in stratum 0, expected \(2, seeds\)"):
        estimate_cvar([one([1.0, 2.0])], [np.zeros(3)])
    with pytest.raises(DensityError, match="a scenario without any value"):
        estimate_cvar([one([1.0, 2.0])], [np.array([1.0, np.nan])])
    with pytest.raises(DensityError, match=r"strata without draws: \[1\]"):
        estimate_cvar([one([1.0, 2.0], probability=0.5), one([], probability=0.5)])
    single = estimate_cvar([one([1.0])])
    assert (single.low, single.high) == (-math.inf, math.inf)


def test_many_equal_draws_have_the_limits_of_the_binomial():
    """A stratum of probability 0 changes nothing, and memory does not depend on the draws below the tail."""
    values = np.random.default_rng(1).random(20_000)
    with_empty = [one(values), one([], probability=0.0)]
    tail = Exceedance.of([one(values)], [values[:, None]])
    assert quantile_limits(tail, 0.01) == (
        (found := estimate_quantile(with_empty, at=0.99)).low,
        found.high,
    )
    assert found.standard_error == pytest.approx(math.sqrt(0.01 * 0.99 / 20_000), rel=0.15)
    value, error, _ = cvar_limits([tail], 0.01)
    assert value == pytest.approx(0.995, abs=4 * error)
