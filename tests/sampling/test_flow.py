"""The coupling flow against closed forms, and draws that do not depend on how many are asked for."""

import math

import pytest
import torch

from scenariogen.errors import DensityError
from scenariogen.randomness import normal, uniform
from scenariogen.sampling.contract import Distribution, Draws, draw, draw_blocks, exact_log_prob
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.weights import exact_log_weights

CONTEXT = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3)


def flow(dim: int = 2, context_width: int = 3, dtype: torch.dtype = torch.float64) -> CouplingFlow:
    """A flow away from the identity."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = CouplingFlow(dim, context_width, hidden=(16, 16), dtype=dtype)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return made


def test_density_integrates_to_one():
    side = torch.linspace(-7, 7, 701, dtype=torch.float64)
    x = torch.cartesian_prod(side, side)
    context = CONTEXT[:1].expand(len(x), -1)
    with torch.no_grad():
        mass = torch.exp(flow()(context).log_prob(x)).sum() * (side[1] - side[0]) ** 2
    assert float(mass) == pytest.approx(1.0, abs=2e-3)


def test_log_density_is_the_base_density_less_autograds_log_determinant():
    distribution = flow(3)(CONTEXT[:1])
    z = normal(5, torch.arange(1), 3)
    x, log_prob = (each.detach() for each in distribution.push(z))
    jacobian = torch.autograd.functional.jacobian(lambda each: distribution.push(each)[0].flatten(), z).reshape(3, 3)
    base = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum()
    assert float(log_prob) == pytest.approx(float(base - torch.linalg.slogdet(jacobian)[1]), abs=1e-9)
    assert float(distribution.log_prob(x).detach()) == pytest.approx(float(log_prob), abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_draw_is_the_same_to_the_last_bit_in_a_request_of_any_size(dtype):
    density, context = flow(dtype=dtype), uniform(1, torch.arange(2500), 3).to(dtype)
    everything = draw(density, context, seed=7)
    assert everything.x.dtype == dtype and everything.log_prob_is_exact
    few = draw(density, context[:17], seed=7)
    assert torch.equal(few.x, everything.x[:17]) and torch.equal(few.log_prob, everything.log_prob[:17])
    later = draw(density, context[1500:1600], seed=7, first=1500)
    assert torch.equal(later.x, everything.x[1500:1600])
    assert [len(part) for part in draw_blocks(density, context, seed=7)] == [1024, 1024, 452]


def test_bad_requests_say_what_was_got_and_expected():
    density = flow()
    with pytest.raises(DensityError, match=r"shape \(2, 2\), expected \(batch, 3\)"):
        density(CONTEXT[:, :2])
    with pytest.raises(DensityError, match=r"shape \(2, 2\), expected \(batch, 3\)"):
        draw(density, CONTEXT[:, :2], seed=1)
    with pytest.raises(DensityError, match="the context holds 1 values that are nan or infinite"):
        density(torch.tensor([[0.0, float("nan"), 1.0]], dtype=torch.float64))
    with pytest.raises(DensityError, match="0 draws, expected at least 1"):
        draw(density, n=0, seed=1)
    with pytest.raises(DensityError, match="give one"):
        draw(density, CONTEXT, n=5, seed=1)
    with pytest.raises(DensityError, match="at least 2 numbers, got 1"):
        CouplingFlow(1)
    with pytest.raises(DensityError, match=r"for torch.float32 from a density in torch.float64.*to\(torch.float32\)"):
        draw(density, CONTEXT, seed=1, dtype=torch.float32)


def test_data_that_no_shift_and_scale_can_be_taken_from_are_refused():
    """One row gave a scale of nan, and another width was stretched over all coordinates."""
    density = flow(3)
    for shape in ((1, 3), (10, 1), (10, 4)):
        with pytest.raises(DensityError, match=r"expected at least 2 rows of 3 numbers"):
            density.standardise(torch.randn(shape, dtype=torch.float64))
    with pytest.raises(DensityError, match=r"coordinates \[1\] do not vary"):
        density.standardise(normal(1, torch.arange(10), 3) * torch.tensor([1.0, 0.0, 1.0]))
    assert torch.equal(density.scale, torch.ones(3, dtype=torch.float64))


def test_where_neither_density_is_a_number_there_is_no_weight():
    """Both were −1.8e308 in place of −∞, and the weight 1."""
    x = torch.tensor([[1e200, 0.0], [math.nan, 0.0]], dtype=torch.float64)
    one, other = flow(), CouplingFlow(2, 3)
    assert torch.isneginf(one(CONTEXT).log_prob(x)).all()
    with pytest.raises(DensityError, match="2 log-densities of the proposal are nan or infinite"):
        exact_log_weights(one(CONTEXT), other(CONTEXT), x)


def test_a_density_that_is_not_exact_is_refused_in_weights():
    class Bound(Distribution):
        log_prob_is_exact = False

        def sample(self, noise):
            return noise

        def log_prob(self, x):
            return torch.zeros(len(x))

    with pytest.raises(DensityError, match=r"Bound\.log_prob is not the exact log-density"):
        exact_log_prob(Bound(), torch.zeros(2, 1))
    given = flow()(CONTEXT)
    assert exact_log_prob(given, torch.zeros(2, 2, dtype=torch.float64)).shape == (2,)
    assert "inexact" in repr(Draws(torch.zeros(2, 1), torch.zeros(2), False))
