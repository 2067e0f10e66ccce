"""Discrete draws against their closed forms."""

import numpy as np
import pytest
import torch
from scipy import stats

from scenariogen.randomness import child_seed, normal, uniform
from scenariogen.sampling.discrete import draw_category, draw_poisson, log1mexp


@pytest.mark.parametrize("mean", [0.01, 0.7, 4.0, 40.0])
@pytest.mark.parametrize("truncated", [False, True])
def test_poisson_counts_follow_the_closed_form(mean, truncated):
    noise = uniform(child_seed(1, "poisson", str(mean)), torch.arange(20_000), 1)[:, 0]
    counts = draw_poisson(noise, torch.full_like(noise, mean), at_least_one=truncated).numpy()
    values = np.arange(int(counts.max()) + 1)
    probability = stats.poisson.pmf(values, mean)
    if truncated:
        probability[0] = 0.0
        probability /= -np.expm1(-mean)
    seen = np.bincount(counts, minlength=len(values)) / len(counts)
    error = np.sqrt(probability * (1 - probability) / len(counts))
    assert (np.abs(seen - probability) <= 4.5 * error + 1e-12).all()


def test_a_truncated_count_without_any_mean_is_refused():
    with pytest.raises(ValueError, match="positive mean"):
        draw_poisson(torch.tensor([0.5]), torch.tensor([0.0]), at_least_one=True)


def test_categories_of_weight_zero_are_never_drawn_and_others_as_often_as_they_weigh():
    noise = uniform(2, torch.arange(50_000), 1)[:, 0]
    weights = torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0], dtype=torch.float64)
    drawn = draw_category(noise, weights)
    assert set(drawn.tolist()) == {1, 3}
    share = float((drawn == 3).double().mean())
    assert abs(share - 0.75) < 4.5 * (0.75 * 0.25 / 50_000) ** 0.5
    assert int(draw_category(torch.tensor([1 - 1e-16], dtype=torch.float64), weights)[0]) == 3


@pytest.mark.parametrize("weights", [[0.0, 0.0], [1.0, float("nan")], [1.0, -1.0]])
def test_weights_that_are_no_weights_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        draw_category(torch.tensor([0.5]), torch.tensor(weights))


def test_log1mexp_is_accurate_at_both_ends():
    x = torch.tensor([1e-18, 1e-3, 0.6931, 5.0, 60.0], dtype=torch.float64)
    assert torch.allclose(log1mexp(x), torch.log(-torch.expm1(-x)), atol=1e-15)


def test_noise_depends_on_seed_row_and_column_only():
    every = uniform(7, torch.arange(100), 6)
    assert torch.equal(uniform(7, torch.tensor([42]), range(2, 4)), every[42:43, 2:4])
    assert not torch.equal(uniform(8, torch.arange(100), 6), every)
    assert float(every.min()) > 0 and float(every.max()) < 1


def test_noise_is_uniform_normal_and_uncorrelated():
    noise = uniform(3, torch.arange(40_000), 3).numpy()
    for column in range(3):
        assert stats.kstest(noise[:, column], "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(noise.T)[np.triu_indices(3, 1)]).max() < 4.5 / 200
    assert stats.kstest(normal(3, torch.arange(40_000), 1)[:, 0].numpy(), "norm").pvalue > 1e-3
