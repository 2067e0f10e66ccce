"""Intervals on their own: the bootstrap against brute force, limits of probabilities, room for one more draw."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from scenariogen.errors import DensityError
from scenariogen.sampling.intervals import (
    BOOTSTRAP_SEED,
    bootstrap_t,
    difference_interval,
    largest_unseen,
    probability_interval,
    probability_limits,
    resamples,
    studentised_limits,
)


def test_levels_that_are_no_probability_are_refused():
    with pytest.raises(DensityError, match="got the level 95, expected a number between 0 and 1"):
        largest_unseen([1.0], [300], level=95.0)
    with pytest.raises(DensityError, match=r"got the level 1\.5"):
        probability_interval(0.1, 0.01, 0.1, level=1.5)


def test_the_bootstraps_limits_are_those_of_resamples_worked_out_one_by_one():
    generator = np.random.default_rng(1)
    strata, scales = [generator.standard_exponential((20, 1)), generator.random((15, 1))], [0.7, 0.3]
    low, high = bootstrap_t(strata, scales, replicates=99)
    centre = sum(a * x.mean() for a, x in zip(scales, strata, strict=True))
    variance = sum(a**2 * x.var(ddof=1) / len(x) for a, x in zip(scales, strata, strict=True))
    t = []
    for r in range(99):
        picks = []
        for number, x in enumerate(strata):
            counts = next(iter(resamples(len(x), 99, BOOTSTRAP_SEED + number)))[1][r].astype(int)
            picks.append(np.repeat(x[:, 0], counts))
        mean = sum(a * x.mean() for a, x in zip(scales, picks, strict=True))
        spread = sum(a**2 * x.var(ddof=1) / len(x) for a, x in zip(scales, picks, strict=True))
        t.append((mean - centre) / math.sqrt(spread))
    up = max(a * (x.max() - x.mean()) / len(x) for a, x in zip(scales, strata, strict=True))
    down = max(a * (x.mean() - x.min()) / len(x) for a, x in zip(scales, strata, strict=True))
    expected_low = centre - np.quantile(t, 0.975, method="higher") * math.sqrt(variance + down**2)
    expected_high = centre - np.quantile(t, 0.025, method="lower") * math.sqrt(variance + up**2)
    assert (low[0], high[0]) == (pytest.approx(expected_low), pytest.approx(expected_high))


def test_resamples_come_in_chunks_with_the_draws_number_each():
    for n, replicates in ((5, 7), (3000, 4000)):
        rows = []
        for part, counts in resamples(n, replicates, 3):
            assert (counts.sum(axis=1) == n).all()
            rows += list(range(replicates))[part]
        assert rows == list(range(replicates))


def test_room_for_one_more_draw_widens_the_long_side_and_vanishes_with_many_draws():
    def widening(n):
        values = np.random.default_rng(2).standard_exponential((n, 1)) ** 1.5
        mean, error = values.mean(), values.std(ddof=1) / math.sqrt(n)
        (_, high), step = bootstrap_t([values], [1.0]), (values.max() - mean) / n
        return (high[0] - mean) / error, math.hypot(error, step) / error

    few, many = widening(50), widening(20_000)
    assert few[0] > 2.0 and few[1] > 1.05
    assert many[0] == pytest.approx(1.96, abs=0.15) and many[1] < 1.01


def test_limits_are_infinite_without_variation_and_on_undecided_sides():
    zero, one = np.zeros(1), np.ones(1)
    shift, spread = np.array([[-1.0], [1.0], [0.5], [-0.5]]), np.zeros((4, 1))
    low, high = studentised_limits(np.array([3.0]), one, (shift, spread), steps=(zero, zero), level=0.5)
    assert (low[0], high[0]) == (-math.inf, math.inf)
    for variance in (zero, 1e-26 * one):
        low, high = studentised_limits(np.array([3.0]), variance, (0 * shift, spread), steps=(zero, zero), level=0.5)
        assert (low[0], high[0]) == (-math.inf, math.inf)


@given(st.integers(0, 60), st.integers(2, 60))
def test_equal_weights_give_clopper_and_pearson(events, draws):
    events = min(events, draws)
    p = events / draws
    low, high = probability_interval(p, p * (1 - p) / draws, 1 / draws)
    assert low == pytest.approx(beta.ppf(0.025, events, draws - events + 1) if events else 0.0, abs=1e-9)
    assert high == pytest.approx(beta.ppf(0.975, events + 1, draws - events) if events < draws else 1.0, abs=1e-9)


def test_many_probabilities_at_once_have_the_same_limits():
    p = np.linspace(0, 1, 41)
    low, high = probability_limits(p, p * (1 - p) / 30, 1 / 20)
    for i, each in enumerate(p):
        assert (low[i], high[i]) == probability_interval(float(each), float(each * (1 - each) / 30), 1 / 20)
    assert (np.diff(low) >= 0).all() and (np.diff(high) >= 0).all()


def test_a_difference_that_is_no_probability_has_no_bound_of_one():
    a, b = (10.0, 7.0, 15.0), (2.0, 1.0, 4.0)
    with pytest.raises(DensityError, match="the difference 8 lies beyond its bound 1"):
        difference_interval(a, b)
    low, high = difference_interval(a, b, bound=math.inf)
    assert (low, high) == (pytest.approx(8 - math.hypot(3, 2)), pytest.approx(8 + math.hypot(5, 1)))
    assert difference_interval(b, a, bound=math.inf) == (pytest.approx(-high), pytest.approx(-low))
    together = difference_interval(a, b, 0.9, bound=math.inf)
    assert low < together[0] < 8 < together[1] < high
