"""Log weights: exact densities only, mixtures of proposals fixed beforehand only, and E_q[p/q] = 1."""

import math

import numpy as np
import pytest
import torch

from scenariogen.errors import DensityError
from scenariogen.sampling.atoms import AtomicSpline
from scenariogen.sampling.categorical import CategoricalChain
from scenariogen.sampling.contract import Distribution, draw
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.spline import ConditionalSpline
from scenariogen.sampling.weights import exact_log_weights, log_weights, mixture_log_prob, mixture_log_weights


class Normal(Distribution):
    """N(centre, scale²) in each of ``noise_columns`` coordinates."""

    def __init__(self, centre=0.0, scale=1.0, *, exact=True):
        self.centre, self.scale, self.noise_columns, self.log_prob_is_exact = centre, scale, 2, exact

    def sample(self, noise):
        return self.centre + self.scale * torch.special.ndtri(noise)

    def log_prob(self, x):
        z = (x - self.centre) / self.scale
        return (-0.5 * z**2 - math.log(self.scale) - 0.5 * math.log(2 * math.pi)).sum(-1)


def test_log_weights_are_differences_and_keep_what_lies_outside_the_target():
    w = log_weights(torch.tensor([-1.0, -np.inf, 900.0]), np.array([-2.0, -1.0, 0.0]))
    assert w.tolist() == [1.0, -np.inf, 900.0] and w.dtype == np.float64


@pytest.mark.parametrize(
    ("target", "proposal", "said"),
    [
        ([0.0, math.nan], [0.0, 0.0], "1 log-densities of the target are nan or infinite, expected numbers or −inf"),
        ([0.0, math.inf], [0.0, 0.0], "1 log-densities of the target"),
        ([0.0, 0.0], [0.0, -math.inf], "1 log-densities of the proposal are nan or infinite, expected finite numbers"),
        ([-math.inf, -math.inf], [0.0, 0.0], "all 2 weights are 0"),
        ([0.0, 0.0], [0.0], r"shapes \(2,\) and \(1,\), expected one shape \(batch,\)"),
        ([[0.0]], [[0.0]], "expected one shape"),
    ],
)
def test_what_is_no_weight_is_refused(target, proposal, said):
    with pytest.raises(DensityError, match=said):
        log_weights(target, proposal)


def test_all_faults_are_said_at_once():
    with pytest.raises(DensityError) as caught:
        log_weights([math.nan, math.inf], [math.inf, 0.0])
    assert len(caught.value.problems) == 2


def test_a_density_that_is_not_exact_gives_no_weight():
    x = torch.zeros(3, 2, dtype=torch.float64)
    assert exact_log_weights(Normal(0.5), Normal(), x).tolist() == pytest.approx([-0.25] * 3)
    for target, proposal in ((Normal(exact=False), Normal()), (Normal(), Normal(exact=False))):
        with pytest.raises(DensityError, match=r"Normal\.log_prob is not the exact log-density"):
            exact_log_weights(target, proposal, x)


def test_densities_with_respect_to_different_measures_give_no_weight():
    """An atom's mass was divided by a density, and a mean weight of a third came out."""
    c = torch.zeros(4, 0, dtype=torch.float64)
    atoms, spline, chain = AtomicSpline([0.0, 1.0])(c), ConditionalSpline()(c), CategoricalChain([2])(c)
    x = torch.full((4, 1), 0.5, dtype=torch.float64)
    for target in (atoms, atoms.given(0.0, 0.9), spline.given_value(0.5), chain.given(torch.tensor([True, True]))):
        with pytest.raises(DensityError, match=r"different measures.*counting.*Lebesgue"):
            exact_log_weights(target, spline, x)
    assert exact_log_weights(spline.given(0.25, 0.75), spline, x).tolist() == pytest.approx([math.log(2)] * 4)
    assert exact_log_weights(atoms.given(0.5, 1.0), atoms, x).tolist() == pytest.approx([math.log(2)] * 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_mean_weight_of_a_flow_is_one(dtype):
    """E_q[p/q] = 1 within 3 computed standard errors, q a flow away from its start, p a narrower normal."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        flow = CouplingFlow(2, hidden=(16,), dtype=dtype)
        with torch.no_grad():
            for parameter in flow.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
    draws = draw(flow, n=20_000, seed=5)
    with torch.no_grad():
        given = flow(torch.zeros((len(draws), 0), dtype=dtype))
        log_w = exact_log_weights(Normal(0.2, 0.6), given, draws.x)
    w = np.exp(log_w)
    assert w.mean() == pytest.approx(1.0, abs=3 * float(w.std()) / math.sqrt(len(w)))
    assert w.std() > 0.3  # the densities do differ


def pooled(seed, counts=(300, 100, 600), centres=(-1.0, 0.0, 2.0)):
    """Draws of three normals, log-densities of all under each, and under the target N(0.5, 1)."""
    generator = np.random.default_rng(seed)
    x = np.concatenate([c + generator.standard_normal(n) for n, c in zip(counts, centres, strict=True)])

    def log_normal(centre):
        return -0.5 * (x - centre) ** 2 - 0.5 * math.log(2 * math.pi)

    return x, log_normal(0.5), np.stack([log_normal(c) for c in centres]), counts


def test_pooled_weights_of_fixed_proposals_are_those_of_their_mixture_and_unbiased():
    found = []
    for seed in range(400):
        x, target, proposals, counts = pooled(seed, counts=(6, 2, 12))
        w = np.exp(mixture_log_weights(target, proposals, counts, fixed_beforehand=True))
        shares = np.array(counts) / 20
        np.testing.assert_allclose(w, np.exp(target) / (shares @ np.exp(proposals)))
        found.append((w * x**2).mean())
    assert np.mean(found) == pytest.approx(1.25, abs=4 * float(np.std(found)) / 20)


def test_proposals_learnt_from_earlier_draws_are_not_pooled():
    _, target, proposals, counts = pooled(0)
    with pytest.raises(DensityError, match=r"not unbiased: estimate with scenariogen\.sampling\.rounds"):
        mixture_log_weights(target, proposals, counts, fixed_beforehand=False)


def test_a_proposal_without_draws_has_no_part_and_bad_mixtures_are_said():
    _, _, proposals, _ = pooled(0)
    with_idle = np.concatenate([proposals, np.full((1, 1000), 700.0)])
    np.testing.assert_allclose(
        mixture_log_prob(with_idle, [300, 100, 600, 0]), mixture_log_prob(proposals, [300, 100, 600])
    )
    for logs, counts, said in (
        (proposals, [300, 100], "for 2 proposals"),
        (proposals, [0, 0, 0], "at least one draw"),
        (proposals, [300, 100, 601], "the proposals gave 1001"),
        (np.full((1, 4), np.nan), [4], "4 log-densities of the proposals are nan"),
    ):
        with pytest.raises(DensityError, match=said):
            mixture_log_prob(logs, counts)
