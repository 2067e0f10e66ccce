"""Weighted means and probabilities: exact identities, and measured coverage on problems with known answers."""

import math

import numpy as np
import pytest
from scipy.stats import beta, poisson

from scenariogen.errors import DensityError
from scenariogen.sampling.importance import (
    Stratum,
    cluster_means,
    control_terms,
    estimate_mean,
    estimate_probability,
    estimate_probability_difference,
)
from scenariogen.sampling.intervals import bootstrap_t, difference_interval, probability_interval
from scenariogen.sampling.quantiles import estimate_cvar, estimate_quantile

REPEATS = 2000
BINOMIAL_ERROR = 4 * math.sqrt(0.95 * 0.05 / REPEATS)  # four standard errors of a coverage of 0.95: 0.0195


def one(values, log_w=None, probability=1.0):
    values = np.asarray(values, dtype=float)
    log_w = np.zeros(len(values)) if log_w is None else np.asarray(log_w)
    return Stratum(probability=probability, log_w=log_w, values=values)


def coverage(low, high, truth):
    return float(np.mean((low <= truth) & (truth <= high)))


# ---------------------------------------------------------------------------------------------- identities


def test_equal_weights_give_the_sample_mean_and_its_standard_error():
    values = np.array([3.0, 5.0, 10.0, 4.0, 8.0])
    found = estimate_mean([one(values)])
    assert found.value == found.plain == found.self_normalised == pytest.approx(6.0)
    assert found.standard_error == pytest.approx(values.std(ddof=1) / math.sqrt(5))
    assert found.low < 6 < found.high and found.draws == 5 and found.ess == pytest.approx(5)


def test_strata_combine_by_their_known_probabilities():
    free, hit = np.array([10.0, 12.0, 11.0]), np.array([30.0, 50.0])
    found = estimate_mean([one(free, probability=0.9), one(hit, probability=0.1)])
    assert found.value == pytest.approx(0.9 * 11 + 0.1 * 40)
    assert found.standard_error == pytest.approx(math.sqrt(0.81 * free.var(ddof=1) / 3 + 0.01 * hit.var(ddof=1) / 2))


def test_a_stratum_of_probability_zero_may_be_empty():
    found = estimate_mean([one([], probability=0.0), one([1.0, 3.0], probability=1.0)])
    assert found.value == pytest.approx(2.0)


def test_an_empty_stratum_that_matters_gives_no_value():
    found = estimate_mean([one([], probability=0.4), one([1.0, 3.0], probability=0.6)])
    assert math.isnan(found.value) and (found.low, found.high) == (-math.inf, math.inf)
    assert estimate_probability([one([], probability=0.4), one([1.0], probability=0.6)]).high == 1.0


def test_the_same_data_give_the_same_interval_to_the_last_bit():
    values = np.random.default_rng(0).exponential(size=80)
    first, second = (estimate_mean([one(values)]) for _ in range(2))
    assert (first.low, first.high) == (second.low, second.high)


def test_runs_of_one_scenario_are_averaged_first():
    values = np.array([[1.0, 3.0], [5.0, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(cluster_means(values), [2.0, 5.0, np.nan])


def test_cluster_standard_error_does_not_shrink_with_copies_of_a_seed():
    values = np.random.default_rng(1).exponential(size=60)
    single = estimate_mean([one(cluster_means(values[:, None]))])
    copied = estimate_mean([one(cluster_means(np.repeat(values[:, None], 10, axis=1)))])
    assert copied.standard_error == pytest.approx(single.standard_error)


def test_a_weight_that_is_no_number_is_refused():
    with pytest.raises(DensityError, match="nan or"):
        one([1.0, 2.0], log_w=np.array([0.0, math.nan]))
    with pytest.raises(DensityError, match="one shape"):
        one([1.0, 2.0], log_w=np.zeros(3))
    with pytest.raises(DensityError, match="expected 0 to 1"):
        one([1.0], probability=1.5)


@pytest.mark.parametrize(
    "estimate", [estimate_mean, estimate_probability, estimate_quantile, estimate_cvar, estimate_probability_difference]
)
def test_strata_that_are_more_than_everything_are_refused(estimate):
    """Two batches of one stratum, each with its whole probability, gave twice the answer."""
    values = (np.arange(20) % 2).astype(float)
    both = [one(values), one(values)]
    rest = [[values, values]] if estimate is estimate_probability_difference else []
    with pytest.raises(DensityError, match="of 2 strata sum to 2, expected at most 1"):
        estimate(both, *rest)


@pytest.mark.parametrize("estimate", [estimate_mean, estimate_probability, estimate_quantile, estimate_cvar])
@pytest.mark.parametrize("level", [0.0, 1.0, 95.0, math.nan])
def test_a_level_that_is_no_probability_is_refused(estimate, level):
    """At level 95 a probability had limits that were nan."""
    with pytest.raises(DensityError, match=f"got the level {level:g}, expected a number between 0 and 1"):
        estimate([one((np.arange(20) % 2).astype(float))], level=level)


def test_numbers_that_are_none_are_refused_all_at_once():
    with pytest.raises(DensityError) as caught:
        Stratum(
            probability=-0.1,
            log_w=np.zeros(3),
            values=np.array([1.0, math.nan, math.inf]),
            controls=np.full((3, 1), math.nan),
        )
    assert len(caught.value.problems) == 3 and "values hold 2 numbers that are nan or infinite" in str(caught.value)


def test_weights_that_are_all_zero_give_zero_and_no_crash():
    found = estimate_mean([one([1.0, 2.0, 3.0], log_w=np.full(3, -np.inf))])
    assert found.plain == 0 and math.isnan(found.self_normalised) and found.ess == 0


def test_no_coefficient_is_taken_from_weights_that_miss_the_target():
    """A proposal on a rare event alone: the weights average 0.002, and the plain form is the quiet one."""
    generator = np.random.default_rng(4)
    x = 3 + 0.6 * generator.standard_normal((60, 500))
    w = 0.6 * np.exp(-0.5 * x**2 + 0.5 * ((x - 3) / 0.6) ** 2)
    values = (x > 3).astype(float)
    record, plain = control_terms(w, values).mean(axis=0), (w * values).mean(axis=0)
    assert np.sqrt(np.mean((record - 0.0013499) ** 2)) < 1.5 * np.sqrt(np.mean((plain - 0.0013499) ** 2))


def test_weights_that_do_not_average_one_are_told():
    generator = np.random.default_rng(3)
    w = generator.uniform(0.5, 1.5, 400)
    assert one(w, log_w=np.log(w)).weight_gap < 4
    assert one(w, log_w=np.log(1.2 * w)).weight_gap > 8
    assert one([1.0, 2.0]).weight_gap == 0 and one([1.0, 2.0], log_w=np.full(2, 0.3)).weight_gap == math.inf


# ---------------------------------------------------------------------------------------- unbiasedness


def tilted_normal(generator, shape):
    """Target N(0, 1), proposal 0.2 p + 0.8 N(1, 1); E_p[3 + exp(x/2)] = 3 + exp(1/8)."""
    x = generator.standard_normal(shape) + (generator.random(shape) < 0.8)
    return -np.log(0.2 + 0.8 * np.exp(x - 0.5)), 3 + np.exp(0.5 * x)


def test_the_estimate_of_record_is_unbiased_and_quieter_than_the_plain_one():
    log_w, values = tilted_normal(np.random.default_rng(8), (12, 40_000))  # 12 draws: where a bias would show
    w = np.exp(log_w)
    record = control_terms(w, values).mean(axis=0)
    plain = (w * values).mean(axis=0)
    own = (w * values).sum(axis=0) / w.sum(axis=0)
    truth = 3 + math.exp(0.125)

    def bias_in_errors(estimates):
        return abs(estimates.mean() - truth) / (estimates.std() / math.sqrt(estimates.size))

    assert bias_in_errors(record) < 4 and bias_in_errors(plain) < 4
    assert bias_in_errors(own) > 8  # the self-normalised form is not, and the test can see it
    assert record.std() < 0.8 * plain.std()


def test_controls_of_known_mean_leave_the_estimate_unbiased_and_make_it_quieter():
    """h = exp(x/2) + y with known target means of x and x² − 1: only y's noise is left, and that of the bend."""
    generator = np.random.default_rng(17)
    found, without = [], []
    for _ in range(3000):
        x = generator.standard_normal(40) + (generator.random(40) < 0.5)
        log_w = -np.log(0.5 + 0.5 * np.exp(x - 0.5))
        values = 3 + np.exp(0.5 * x) + 0.05 * generator.standard_normal(40)
        controls = np.stack([x, x**2 - 1], axis=1)
        stratum = Stratum(probability=1.0, log_w=log_w, values=values, controls=controls)
        found.append(stratum.terms().mean())
        without.append(stratum.without_controls().terms().mean())
    truth = 3 + math.exp(0.125)
    assert abs(np.mean(found) - truth) < 4 * np.std(found) / math.sqrt(len(found))
    assert np.std(found) < 0.5 * np.std(without)


def test_controls_are_used_one_for_every_five_draws_and_idle_ones_do_no_harm():
    generator = np.random.default_rng(5)
    w, values = np.ones(10), generator.standard_normal(10)
    idle = np.zeros((10, 3))
    np.testing.assert_allclose(control_terms(w, values, idle), values)
    third = np.concatenate([idle, values[:, None]], axis=1)  # would explain everything, but comes too late
    np.testing.assert_allclose(control_terms(w, values, third), values)
    with pytest.raises(DensityError, match="controls need a shape"):
        Stratum(probability=1.0, log_w=np.zeros(10), values=values, controls=idle[:4])


def test_below_ten_draws_the_control_is_off():
    w, values = np.array([0.5, 1.5, 1.0]), np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(control_terms(w, values), w * values)


# --------------------------------------------------------------------------------------------- coverage of means


def zero_truncated(generator, mean):
    u = generator.random(mean.shape)
    return poisson.ppf(np.exp(-mean) + u * -np.expm1(-mean), mean).astype(int)


def counted_problem(generator, *, free, hit, target, repeats=REPEATS, cost=3.0):
    """Incident counts from a mixture of frequencies reweighted to ``target``; lognormal costs on a lognormal day.

    The mean is known: day + target · cost · exp(s²/2), with relative sd of the whole about 1.
    """
    grid, alpha = np.array([0.5, 1.0, 2.0, 5.0]), 0.25
    drawn = grid[generator.integers(0, 4, (hit, repeats))]
    count = zero_truncated(generator, drawn)

    def log_density(mean):
        return count * np.log(mean) - np.log(np.expm1(mean))

    log_q = np.logaddexp.reduce([math.log(alpha) + log_density(g) for g in grid], axis=0)
    values = 10 * np.exp(0.15 * generator.standard_normal((hit, repeats)))
    for k in range(count.max()):
        values += (count > k) * cost * np.exp(0.88 * generator.standard_normal((hit, repeats)))
    calm = 10 * np.exp(0.15 * generator.standard_normal((free, repeats)))
    truth = 10 * math.exp(0.15**2 / 2) + target * cost * math.exp(0.88**2 / 2)
    return calm, log_density(target) - log_q, values, truth


@pytest.mark.parametrize("target", [0.5, 1.0, 2.0])
def test_coverage_of_a_reweighted_stratified_mean(target):
    calm, log_w, values, truth = counted_problem(np.random.default_rng(21), free=33, hit=167, target=target)
    p_free = math.exp(-target)
    low, high = bootstrap_t([calm, control_terms(np.exp(log_w), values)], [p_free, 1 - p_free])
    assert 0.93 <= coverage(low, high, truth) <= 0.95 + BINOMIAL_ERROR


def test_coverage_of_a_skewed_mean_where_the_textbook_interval_falls_short():
    generator = np.random.default_rng(22)
    values = np.exp(1.2 * generator.standard_normal((100, REPEATS)))
    truth = math.exp(0.72)
    low, high = bootstrap_t([values], [1.0])
    textbook = 1.984 * values.std(axis=0, ddof=1) / 10
    mean = values.mean(axis=0)
    assert coverage(low, high, truth) >= 0.93
    assert coverage(mean - textbook, mean + textbook, truth) < 0.92


def test_coverage_of_a_mean_with_an_atom_at_zero():
    generator = np.random.default_rng(23)
    values = (generator.random((100, REPEATS)) < 0.2) * np.exp(0.88 * generator.standard_normal((100, REPEATS)))
    low, high = bootstrap_t([values], [1.0])
    assert 0.93 <= coverage(low, high, 0.2 * math.exp(0.88**2 / 2)) <= 0.95 + BINOMIAL_ERROR


def test_a_side_that_cannot_be_bounded_is_infinite():
    """Two different values among forty: one resample in eight shows none of them."""
    low, high = bootstrap_t([np.array([[0.0]] * 38 + [[5.0]] * 2)], [1.0])
    assert high[0] == math.inf and math.isfinite(low[0])


@pytest.mark.parametrize("value", [7.0, 0.1, 1 / 3, 0.0, -2.5e8])
def test_constant_values_bound_nothing(value):
    low, high = bootstrap_t([np.full((20, 1), value)], [1.0])
    assert (low[0], high[0]) == (-math.inf, math.inf)
    weighted = estimate_mean([one(np.full(60, value), log_w=np.tile([-0.4, 0.3], 30))])
    assert value == 0 or weighted.value == pytest.approx(value)
    assert (weighted.low, weighted.high) == (-math.inf, math.inf)


def test_a_probability_takes_probabilities():
    with pytest.raises(DensityError, match="2 of 3 values lie outside 0 to 1 \\(smallest -1, largest 5\\)"):
        estimate_probability([one([-1.0, 0.5, 5.0])])
    with pytest.raises(DensityError, match="1 of 6 values lie outside 0 to 1"):
        estimate_probability_difference([one([0.0, 0.5, 1.0])], [np.array([0.0, 2.0, 1.0])])


def test_the_interval_moves_with_the_level_and_a_large_common_level_costs_nothing():
    values = np.random.default_rng(5).exponential(size=(60, 1))
    low, high = bootstrap_t([values], [1.0])
    wide = bootstrap_t([values], [1.0], level=0.99)
    assert wide[0][0] < low[0] < high[0] < wide[1][0]
    shifted = bootstrap_t([values + 1e8], [1.0])
    assert shifted[1][0] - 1e8 == pytest.approx(high[0], abs=1e-6)


# ------------------------------------------------------------------------------------ probabilities


@pytest.mark.parametrize(("events", "draws"), [(0, 30), (1, 30), (7, 50), (25, 50), (49, 50), (50, 50)])
def test_equal_weights_give_clopper_and_pearson_exactly(events, draws):
    values = np.arange(draws) < events
    found = estimate_probability([one(values)])
    low = beta.ppf(0.025, events, draws - events + 1) if events else 0.0
    high = beta.ppf(0.975, events + 1, draws - events) if events < draws else 1.0
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-12), pytest.approx(high, abs=1e-12))
    assert found.ess_tail == pytest.approx(events)


def test_no_event_seen_leaves_room_that_grows_with_the_largest_weight():
    log_w = np.log(np.r_[np.full(90, 0.5), np.full(10, 5.5)])
    equal = estimate_probability([one(np.zeros(100))])
    weighted = estimate_probability([one(np.zeros(100), log_w=log_w)])
    assert equal.value == weighted.value == 0 and 0 < equal.high < weighted.high
    assert weighted.high == pytest.approx(1 - 0.025 ** (5.5 / 100))


@pytest.mark.parametrize(("target", "threshold"), [(0.5, 25.0), (2.0, 15.0), (2.0, 60.0)])
def test_coverage_of_a_reweighted_probability_is_at_least_nominal(target, threshold):
    """An answer with atoms, so a lower bound only. The truth from two million direct draws."""
    generator = np.random.default_rng(24)
    repeats = 500
    calm, log_w, values, _ = counted_problem(generator, free=33, hit=167, target=target, repeats=repeats)
    count = generator.poisson(target, 2_000_000)
    direct = 10 * np.exp(0.15 * generator.standard_normal(count.size))
    for k in range(count.max()):
        direct += (count > k) * 3 * np.exp(0.88 * generator.standard_normal(count.size))
    truth = float((direct > threshold).mean())
    p_free = math.exp(-target)
    found = [
        estimate_probability(
            [
                one(calm[:, r] > threshold, probability=p_free),
                one(values[:, r] > threshold, log_w=log_w[:, r], probability=1 - p_free),
            ]
        )
        for r in range(repeats)
    ]
    low, high = np.array([e.low for e in found]), np.array([e.high for e in found])
    assert coverage(low, high, truth) >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / repeats)
    assert np.mean([e.value for e in found]) == pytest.approx(
        truth, abs=4 * np.std([e.value for e in found]) / math.sqrt(repeats) + 4 * math.sqrt(truth / 2e6)
    )


def test_a_difference_of_probabilities_keeps_its_width_when_no_pair_disagrees():
    same = np.arange(50) < 5
    found = estimate_probability_difference([one(same)], [same.astype(float)])
    assert found.value == 0 and found.low < -0.05 and found.high > 0.05


def test_coverage_of_a_paired_difference_of_probabilities():
    generator = np.random.default_rng(25)
    repeats, draws = 500, 100
    u = generator.random((draws, repeats))
    first, second = u < 0.2, (u > 0.15) & (u < 0.22)  # 0.15 only first, 0.02 only second
    found = [estimate_probability_difference([one(first[:, r])], [second[:, r].astype(float)]) for r in range(repeats)]
    low, high = np.array([e.low for e in found]), np.array([e.high for e in found])
    assert coverage(low, high, 0.13) >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / repeats)
    assert np.median(high - low) < 0.2


def test_mover_reduces_to_the_single_interval_when_the_other_side_is_certain():
    assert difference_interval((0.3, 0.2, 0.45), (0.0, 0.0, 0.0)) == pytest.approx((0.2, 0.45))


def test_probability_limits_are_ordered_and_inside_the_unit_interval():
    for p in np.linspace(0, 1, 21):
        low, high = probability_interval(float(p), p * (1 - p) / 40, 1 / 25)
        assert 0 <= low <= p <= high <= 1
