"""Discrete draws against their closed forms."""

import numpy as np
import pytest
import torch
from scipy import stats

from scenariogen.errors import ConditionError, DensityError
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


@pytest.mark.parametrize("mean", [1e-12, 1e-3, 0.7, 30.0, 600.0, 700.5, 1e4, 1e6])
@pytest.mark.parametrize("truncated", [False, True])
def test_a_count_is_the_quantile_of_its_noise(mean, truncated):
    noise = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    noise = torch.cat([noise, torch.tensor([2.0**-53, 1e-9, 1 - 1e-9], dtype=torch.float64)])
    counts = draw_poisson(noise, torch.full_like(noise, mean), at_least_one=truncated).numpy()
    u = noise.numpy()
    if truncated and mean < 100:  # by the upper tail, since e^(−mean) is 1 to rounding where the mean is small
        above = stats.poisson.sf(np.arange(1, 200), mean) / -np.expm1(-mean)
        assert (counts == 1 + (above > 1 - u[:, None]).sum(1)).all()
    else:
        assert (counts == stats.poisson.ppf(u, mean)).all()


def test_a_noise_within_rounding_of_one_stays_in_the_tail():
    """Summed probabilities may end a little below 1: the count once ran on to 1943 where P(N > 927) is 1e-16."""
    noise = torch.tensor([1 - 2.0**-53], dtype=torch.float64)
    for mean in (3.0, 300.0, 700.0, 1e4):
        count = int(draw_poisson(noise, torch.full_like(noise, mean))[0])
        assert 1e-18 < stats.poisson.sf(count - 1, mean) < 1e-14


def test_small_and_large_means_do_not_depend_on_each_other():
    noise = uniform(4, torch.arange(300), 1)[:, 0]
    mean = torch.tensor([0.5, 900.0, 3.0]).double().repeat(100)
    together = draw_poisson(noise, mean)
    for row in range(3):
        assert torch.equal(together[row::3], draw_poisson(noise[row::3], mean[row::3]))


def test_a_truncated_count_without_any_mean_is_refused():
    with pytest.raises(ConditionError, match="positive mean"):
        draw_poisson(torch.tensor([0.5]), torch.tensor([0.0]), at_least_one=True)


@pytest.mark.parametrize("mean", [-1.0, float("nan"), float("inf"), 2e9])
def test_means_that_are_no_means_are_refused(mean):
    with pytest.raises(DensityError, match="must lie in 0 to 1e\\+09, got"):
        draw_poisson(torch.tensor([0.5, 0.5]), torch.tensor([1.0, mean]))


def test_categories_of_weight_zero_are_never_drawn_and_others_as_often_as_they_weigh():
    noise = uniform(2, torch.arange(50_000), 1)[:, 0]
    weights = torch.tensor([0.0, 1.0, 0.0, 3.0, 0.0], dtype=torch.float64)
    drawn = draw_category(noise, weights)
    assert set(drawn.tolist()) == {1, 3}
    share = float((drawn == 3).double().mean())
    assert abs(share - 0.75) < 4.5 * (0.75 * 0.25 / 50_000) ** 0.5
    assert int(draw_category(torch.tensor([1 - 1e-16], dtype=torch.float64), weights)[0]) == 3
    smallest = torch.tensor([0.0, 5e-324, 0.0], dtype=torch.float64)  # 0.9 times it rounds to the whole of it
    assert int(draw_category(torch.tensor([0.9], dtype=torch.float64), smallest)[0]) == 1


def test_each_row_has_weights_of_its_own():
    weights = torch.tensor([[0.0, 1.0, 3.0], [2.0, 0.0, 2.0]]).double().repeat(10_000, 1)
    drawn = draw_category(uniform(6, torch.arange(20_000), 1)[:, 0], weights)
    for row, share in ((0, 0.75), (1, 0.5)):
        seen = float((drawn[row::2] == 2).double().mean())
        assert abs(seen - share) < 4.5 * (share * (1 - share) / 10_000) ** 0.5
        assert not (drawn[row::2] == row).any()


@pytest.mark.parametrize("weights", [[1.0, float("nan")], [1.0, -1.0], [1.0, float("inf")]])
def test_weights_that_are_no_weights_are_refused(weights):
    with pytest.raises(DensityError, match="weights"):
        draw_category(torch.tensor([0.5]), torch.tensor(weights))


def test_weights_that_are_all_zero_are_a_condition_of_probability_zero():
    with pytest.raises(ConditionError, match="probability zero"):
        draw_category(torch.tensor([0.5, 0.5]), torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


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
