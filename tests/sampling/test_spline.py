"""The one-dimensional spline: its CDF is the integral of its density, and draws follow it."""

import numpy as np
import pytest
import torch
from scipy import stats

from scenariogen.randomness import uniform
from scenariogen.sampling.spline import ConditionalUnitSpline, UnitSpline


@pytest.fixture
def spline() -> UnitSpline:
    generator = torch.Generator().manual_seed(4)
    return UnitSpline(2 * torch.randn(3, 23, generator=generator, dtype=torch.float64), 8)


def test_density_integrates_to_one_and_its_integral_is_the_cdf(spline):
    x = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    density = torch.exp(spline.log_prob(x[:, None].expand(-1, 3)))
    integral = torch.cumulative_trapezoid(density, x, dim=0)
    assert torch.allclose(integral[-1], torch.ones(3, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(integral, spline.cdf(x[1:, None].expand(-1, 3)), atol=1e-5)


def test_log_density_is_the_logarithm_of_autograds_slope(spline):
    x = torch.rand(3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(spline.cdf(x).sum(), x)
    assert torch.allclose(slope.log(), spline.log_prob(x), atol=1e-9)


def test_inverse_undoes_the_cdf(spline):
    p = torch.linspace(1e-6, 1 - 1e-6, 999, dtype=torch.float64)[:, None].expand(-1, 3)
    assert torch.allclose(spline.cdf(spline.icdf(p)), p, atol=1e-10)


def test_outside_the_interval_there_is_no_density(spline):
    assert torch.isneginf(spline.log_prob(torch.tensor([-0.1, 1.1, 2.0], dtype=torch.float64))).all()


def test_truncated_draws_follow_the_truncated_distribution(spline):
    low, high = (torch.tensor(end, dtype=torch.float64) for end in (0.2, 0.6))
    noise = uniform(1, torch.arange(4000), 3)
    drawn = spline.sample_between(noise, low, high)
    assert drawn.min() >= 0.2 and drawn.max() <= 0.6
    p_low, p_high = spline.cdf(low.expand(3)), spline.cdf(high.expand(3))
    place = ((spline.cdf(drawn) - p_low) / (p_high - p_low)).numpy()
    for column in range(3):
        assert stats.kstest(place[:, column], "uniform").pvalue > 1e-3


def test_starts_uniform_and_a_row_does_not_depend_on_the_size_of_the_request():
    torch.manual_seed(0)
    density = ConditionalUnitSpline(5)
    context = torch.randn(3000, 5, dtype=torch.float64)
    x = torch.rand(3000, dtype=torch.float64)
    assert torch.allclose(density(context).log_prob(x), torch.zeros(3000, dtype=torch.float64), atol=1e-12)
    torch.nn.init.normal_(density.network[-1].weight)
    whole, part = density.in_blocks(context), density.in_blocks(context[1500:1502])
    assert np.array_equal(whole.cdf(x)[1500:1502].detach(), part.cdf(x[1500:1502]).detach())
