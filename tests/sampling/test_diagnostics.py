"""Effective sample size and Pareto shapes against known answers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenariogen.errors import DensityError
from scenariogen.sampling.diagnostics import (
    diagnose,
    effective_sample_size,
    k_hat_words,
    log_abs,
    pareto_k_hat,
    pareto_threshold,
)


def test_equal_weights_count_fully_whatever_their_size():
    assert effective_sample_size(np.full(50, 900.0)) == pytest.approx(50)
    assert effective_sample_size(np.full(50, -900.0)) == pytest.approx(50)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_weights_that_are_no_numbers_have_no_effective_size(wrong):
    """They counted as no draws at all."""
    with pytest.raises(DensityError, match="1 of 3 log weights are nan"):
        effective_sample_size([0.0, wrong, 0.0])


def test_one_dominating_weight_leaves_one_run():
    log_w = np.zeros(100)
    log_w[7] = 60.0
    assert effective_sample_size(log_w) == pytest.approx(1.0)


def test_effective_size_over_a_tail_set_counts_only_that_set():
    log_w = np.log([1.0, 1.0, 3.0, 10.0])
    assert effective_sample_size(log_w, [True, False, True, False]) == pytest.approx((1 + 3) ** 2 / (1 + 9))
    assert effective_sample_size(log_w, [False] * 4) == 0.0


def test_weights_that_are_all_zero_count_nothing():
    assert effective_sample_size([-math.inf, -math.inf]) == 0.0
    assert effective_sample_size([]) == 0.0


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=40), st.floats(-500, 500))
def test_effective_size_lies_between_one_and_n_and_ignores_a_common_factor(log_w, shift):
    ess = effective_sample_size(log_w)
    assert 1 - 1e-9 <= ess <= len(log_w) + 1e-9
    assert effective_sample_size(np.array(log_w) + shift) == pytest.approx(ess, rel=1e-6)


@pytest.mark.parametrize("shape", [0.3, 0.6, 0.9])
def test_shape_of_exact_pareto_weights_is_found(shape):
    """If U is uniform, U^(−k) has Pareto shape k; the fit's own standard error is about (1 + k)/√M, M = 3√S."""
    generator = np.random.default_rng(4)
    draws, repeats = 4000, 40
    found = [pareto_k_hat(shape * generator.standard_exponential(draws)) for _ in range(repeats)]
    tail = 3 * math.sqrt(draws)
    tolerance = 4 * (1 + shape) / math.sqrt(tail * repeats) + 10 * abs(shape - 0.5) / (tail + 10)  # shrinkage to 0.5
    assert np.mean(found) == pytest.approx(shape, abs=tolerance)


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.8])
def test_shape_agrees_with_the_librarys_own_and_ignores_scale(shape):
    """What is refused is refused before the fit; what is fitted is arviz-stats' figure to the last bit."""
    from arviz_stats.base.array import array_stats

    log_w = shape * np.random.default_rng(8).standard_exponential(1000)
    assert pareto_k_hat(log_w) == float(array_stats.psislw(-log_w)[1])
    assert pareto_k_hat(log_w + 300) == pytest.approx(pareto_k_hat(log_w), abs=1e-6)


def test_shape_of_normals_of_another_scale_comes_near_its_limit():
    """Weights of N(0, 1) over N(0, s²) have shape 1 − s² in the limit; it is reached slowly, and from below."""
    generator = np.random.default_rng(5)
    for scale in (0.5, 0.7, 0.9):
        x = scale * generator.standard_normal((20, 20_000))
        found = np.mean([pareto_k_hat(0.5 * (1 / scale**2 - 1) * each**2) for each in x])
        assert 1 - scale**2 - 0.2 < found < 1 - scale**2 + 0.05


def test_both_shapes_are_said_in_words():
    assert "of w not enough to tell" in diagnose(np.zeros(300), np.ones(300)).words
    assert k_hat_words(0.6666) == "0.67"


def test_bounded_weights_have_a_shape_far_below_the_threshold():
    k_hat = pareto_k_hat(np.log(np.random.default_rng(1).random(400) + 0.5))
    assert k_hat is not None and k_hat < 0 < pareto_threshold(400)


@pytest.mark.parametrize(
    "log_values",
    [
        np.random.default_rng(2).standard_normal(49),  # a tail of 9
        np.log(np.random.default_rng(2).integers(1, 6, 1000)),  # five different values
        np.full(300, -np.inf),
        np.where(np.arange(300) < 290, -np.inf, np.arange(300.0) / 300),  # a tail mostly of zeros
    ],
    ids=["few draws", "few values", "all zero", "tail of zeros"],
)
def test_too_little_variety_is_not_enough_to_tell(log_values):
    assert pareto_k_hat(log_values) is None


def test_a_gap_between_clusters_of_weights_is_no_heavy_tail():
    """Weights that depend on a count lie in clusters. Where the tail began at a gap the fit saw a shape of 1.8, and a
    batch whose largest weight was 4 was refused at some multipliers."""
    generator = np.random.default_rng(2)
    clusters = [(382, 2.0, 0.02), (30, 2.28, 0.005), (38, 3.3, 0.15)]  # number, place, spread of the logarithm
    log_w = np.concatenate([np.log(at) + spread * generator.standard_normal(n) for n, at, spread in clusters])
    from arviz_stats.base.array import array_stats

    assert array_stats.psislw(-log_w)[1] > 0.7
    assert pareto_k_hat(log_w) is None


def test_threshold_follows_the_number_of_draws():
    assert pareto_threshold(100) == pytest.approx(0.5)
    assert pareto_threshold(10**6) == 0.7
    assert pareto_threshold(5) == -math.inf


def test_diagnose_separates_weights_from_weights_times_values():
    """Equal weights are harmless; a heavy-tailed value is not."""
    generator = np.random.default_rng(6)
    values = np.exp(1.5 * generator.standard_exponential(500))  # shape 1.5: not even a mean
    heavy = diagnose(np.zeros(500), values, tail=values > np.quantile(values, 0.9))
    assert heavy.ess == pytest.approx(500) and heavy.ess_tail == pytest.approx(50)
    assert heavy.k_hat is None and heavy.k_hat_values is not None
    assert heavy.worst_k_hat == heavy.k_hat_values > heavy.threshold and not heavy.is_trustworthy
    calm = diagnose(np.zeros(500), generator.random(500))
    assert calm.is_trustworthy and calm.ess_tail is None


def test_log_of_zero_is_minus_infinity_without_a_warning(recwarn):
    assert log_abs([0.0, -math.e]).tolist() == [-math.inf, 1.0]
    assert not recwarn.list
