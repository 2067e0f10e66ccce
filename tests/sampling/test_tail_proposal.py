"""The split latent, the annealing and the mixture proposal against closed forms and quadrature."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import chi, kstest, norm

from scenariogen.randomness import normal, uniform
from scenariogen.sampling.latent_split import LatentSplit, complement_radius
from scenariogen.sampling.tail_proposal import COMPONENTS, SHARES, GaussianMixture, TailProposal, fit_proposal
from scenariogen.sampling.tail_smc import tail_particles
from tests.sampling.rare_problems import random_frame

LIKE = torch.zeros((), dtype=torch.float64)


def two_bumps(n: int = 4000) -> torch.Tensor:
    """Draws (n, 1) of 0.3 N(−4, 0.2²) + 0.7 N(5, 0.5²)."""
    left = uniform(1, torch.arange(n), 1) < 0.3
    noise = normal(2, torch.arange(n), 1)
    return torch.where(left, -4 + 0.2 * noise, 5 + 0.5 * noise)


@pytest.mark.parametrize("degrees", [1, 2, 19, 1000])
def test_the_radius_is_that_of_a_chi_variable(degrees):
    v = torch.linspace(-6, 9, 1777, dtype=torch.float64)
    exact = np.where(v < 0, chi.ppf(norm.cdf(v), degrees), chi.isf(norm.sf(v), degrees))
    assert np.abs(complement_radius(v, degrees).numpy() - exact).max() < 1e-10


@pytest.mark.parametrize("k", [0, 2, 4, 5])
def test_a_standard_normal_is_put_together_from_its_coordinates(k):
    dim, n = 5, 20_000
    split = LatentSplit(random_frame(dim, k, 3) if k else torch.zeros(dim, 0, dtype=torch.float64))
    assert split.width == min(k + 1, dim)
    u = normal(4, torch.arange(n), split.width)
    z = split.compose(u, normal(5, torch.arange(n), dim))
    torch.testing.assert_close(split.see(z), split.see_reduced(u), rtol=1e-9, atol=1e-9)
    # Fixed seeds: each of the 8 tests of normality would fail once in 10,000 seeds.
    for direction in (torch.eye(dim, dtype=torch.float64)[0], random_frame(dim, 1, 8)[:, 0]):
        assert kstest((z @ direction).numpy(), "norm").pvalue > 1e-4
    assert kstest(z.norm(dim=1).numpy(), chi(dim).cdf).pvalue > 1e-4
    covariance = z.T @ z / n
    assert (covariance - torch.eye(dim)).abs().max() < 5 * math.sqrt(2 / n)


def test_a_split_that_is_pushed_out_stays_exact():
    """E over a shifted law of u, times the ratio of the densities of u, is the expectation under the prior of z."""
    n, split = 40_000, LatentSplit(random_frame(6, 1, 3))
    shift = torch.tensor([1.0, 0.7], dtype=torch.float64)
    u = normal(4, torch.arange(n), 2) + shift
    z = split.compose(u, normal(5, torch.arange(n), 6))
    w = torch.exp(-(u @ shift) + 0.5 * shift @ shift)
    terms = w * (z**4).sum(1)
    assert abs(float(terms.mean()) - 18.0) < 4 * float(terms.std()) / math.sqrt(n)  # 6 E[z⁴] = 18


def test_particles_follow_the_tail_they_are_sent_to():
    """Beyond 4 to the right and beyond 4.3 to the left: the shares and means of two truncated normals."""

    def margin(u: torch.Tensor) -> torch.Tensor:
        return torch.maximum(u[:, 0] - 4.0, -u[:, 0] - 4.3) / 0.001

    n = 2000
    u = tail_particles(margin, width=2, n=n, seed=7, like=LIKE)
    right = u[:, 0] > 0
    share = norm.sf(4.0) / (norm.sf(4.0) + norm.sf(4.3))
    # Moves and resampling leave the particles dependent: counted as one in 30.
    assert abs(float(right.double().mean()) - share) < 4 * math.sqrt(share * (1 - share) / (n / 30))
    beyond = norm.pdf(4.0) / norm.sf(4.0)
    assert abs(float(u[right, 0].mean()) - beyond) < 4 * 0.23 / math.sqrt(n / 30)
    assert abs(float(u[:, 1].mean())) < 4 / math.sqrt(n / 30) and 0.7 < float(u[:, 1].std()) < 1.3
    assert float(margin(u).amin()) > -10  # all beyond their border, as nearly as the error says


def test_the_density_of_the_proposal_integrates_to_one():
    proposal = fit_proposal(two_bumps(), seed=3)
    u = torch.linspace(-16, 16, 64_001, dtype=torch.float64)[:, None]
    q = norm.pdf(u[:, 0].numpy()) / proposal.log_weight(u).exp().numpy()
    assert np.trapezoid(q, dx=32 / 64_000) == pytest.approx(1.0, abs=1e-9)


def test_draws_follow_the_density_of_the_proposal():
    proposal = fit_proposal(two_bumps(), seed=3)
    grid = torch.linspace(-16, 16, 64_001, dtype=torch.float64)[:, None]
    q = norm.pdf(grid[:, 0].numpy()) / proposal.log_weight(grid).exp().numpy()
    cumulative = np.cumsum(q) * 32 / 64_000
    drawn = proposal.sample(11, torch.arange(20_000))[:, 0].numpy()
    assert kstest(drawn, lambda x: np.interp(x, grid[:, 0].numpy(), cumulative)).pvalue > 1e-4


def test_no_weight_exceeds_the_inverse_of_the_priors_share():
    proposal = fit_proposal(two_bumps(), seed=3)
    u = torch.linspace(-12, 12, 2001, dtype=torch.float64)[:, None]
    assert float(proposal.log_weight(u).exp().amax()) <= 1 / SHARES[-1] + 1e-9
    w = proposal.log_weight(proposal.sample(5, torch.arange(50_000))).exp()
    assert abs(float(w.mean()) - 1) < 4 * float(w.std()) / math.sqrt(50_000)


def test_the_mixture_finds_both_bumps():
    """Its log-likelihood on fresh draws is nearly that of the density they come from; one bump is 0.5 below."""
    mixture = fit_proposal(two_bumps(), seed=3).mixture
    fresh = two_bumps(12_000)[6000:]
    density = 0.3 * norm.pdf(fresh, -4, 0.2) + 0.7 * norm.pdf(fresh, 5, 0.5)
    gap = torch.as_tensor(np.log(density))[:, 0] - mixture.log_prob(fresh)
    assert abs(float(gap.mean())) < 0.02 and len(mixture.log_share) in COMPONENTS[1:]


def test_a_mixture_in_the_plane_agrees_with_its_components():
    factor = torch.tensor([[[1.0, 0.0], [0.5, 2.0]], [[0.3, 0.0], [-0.2, 0.4]]], dtype=torch.float64)
    mean = torch.tensor([[0.0, 1.0], [3.0, -1.0]], dtype=torch.float64)
    mixture = GaussianMixture(torch.tensor([0.25, 0.75], dtype=torch.float64).log(), mean, factor)
    u = normal(1, torch.arange(50), 2)
    each = [
        torch.distributions.MultivariateNormal(m, scale_tril=2 * f).log_prob(u).exp()
        for m, f in zip(mean, factor, strict=True)
    ]
    torch.testing.assert_close(mixture.log_prob(u, widen=2.0), (0.25 * each[0] + 0.75 * each[1]).log())


def test_a_draw_is_the_same_to_the_last_bit_in_a_request_of_any_size():
    proposal = TailProposal(fit_proposal(two_bumps(), seed=3).mixture)
    everything = proposal.sample(5, torch.arange(1000))
    assert torch.equal(proposal.sample(5, torch.arange(100, 117)), everything[100:117])
