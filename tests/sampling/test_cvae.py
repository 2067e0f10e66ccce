"""The CVAE's bound against the closed form of a linear decoder, its draws, and its refusal where exactness counts."""

import math

import pytest
import torch
from torch import nn

from scenariogen.errors import DensityError
from scenariogen.randomness import normal, uniform
from scenariogen.sampling.atoms import AtomicSpline
from scenariogen.sampling.contract import ConditionalDensity, Distribution, draw, exact_log_prob
from scenariogen.sampling.cvae import CVAE, bound_loss
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.gan import GAN
from scenariogen.sampling.normal import ConditionalNormal, StandardNormal, standard_normal_log_prob
from scenariogen.sampling.training import fit, seeded

# x = W z + a c + b + σ ε with orthogonal columns in W: the posterior of z is normal with independent coordinates.
W = torch.tensor([[1.0, 0.0], [0.0, 1.5], [0.5, 0.0]], dtype=torch.float64)
A = torch.tensor([[0.7], [-0.4], [0.2]], dtype=torch.float64)
B = torch.tensor([0.3, -1.0, 0.5], dtype=torch.float64)
SPREAD = 0.6
POSTERIOR_VARIANCE = 1 / (1 + (W**2).sum(0) / SPREAD**2)


def linear_normal(weight: torch.Tensor, bias: torch.Tensor, spread: torch.Tensor) -> ConditionalNormal:
    """N(weight · context + bias, spread²)."""
    network = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    made = ConditionalNormal(weight.shape[0], weight.shape[1], network=network, shared_scale=True)
    with torch.no_grad():
        network.weight.copy_(weight)
        network.bias.copy_(bias)
        assert made.log_scale is not None
        made.log_scale.copy_(7 * torch.atanh(spread.log() / 7))  # undoes the bound on the scale
    return made


def linear_cvae(*, shift: float = 0.0, wider: float = 1.0, samples: int = 64, seed: int = 0) -> CVAE:
    """The linear model; its encoder is the posterior moved by ``shift`` and ``wider`` by a factor."""
    decoder = linear_normal(torch.cat([W, A], dim=1), B, torch.full((3,), SPREAD, dtype=torch.float64))
    gain = POSTERIOR_VARIANCE[:, None] * W.T / SPREAD**2
    bias = -gain @ B + shift
    encoder = linear_normal(torch.cat([gain, -gain @ A], dim=1), bias, wider * POSTERIOR_VARIANCE.sqrt())
    return CVAE(3, 2, 1, encoder=encoder, decoder=decoder, samples=samples, seed=seed)


def log_density(x: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    covariance = W @ W.T + SPREAD**2 * torch.eye(3, dtype=torch.float64)
    return torch.distributions.MultivariateNormal(context @ A.T + B, covariance).log_prob(x)


def points(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    z = normal(11, torch.arange(rows), 4)
    return 1.5 * z[:, :3], z[:, 3:]


def test_with_the_posterior_as_encoder_one_sample_gives_the_log_density_itself():
    x, context = points(50)
    given = linear_cvae()(context)
    expected = log_density(x, context)
    assert torch.allclose(given.elbo(x, uniform(1, torch.arange(50), 2)), expected, atol=1e-9)
    assert torch.allclose(given.log_prob(x), expected, atol=1e-9)


def test_the_bound_lies_below_the_log_density_rises_with_its_samples_and_approaches_it():
    rows, shift, wider = 16_000, 0.3, 1.4
    x, context = (each[:1].expand(rows, -1) for each in points(1))  # the same row again and again, with other noise
    given, truth = linear_cvae(shift=shift, wider=wider)(context), float(log_density(x[:1], context[:1]))
    gaps = {}
    for samples in (1, 4, 16, 64):
        noise = uniform(samples, torch.arange(rows), 2 * samples)
        with torch.no_grad():
            bound = given.importance_bound(x, noise, samples=samples)
        gaps[samples] = (truth - float(bound.mean()), float(bound.std()) / math.sqrt(rows))
    # K = 1: the gap is D(q‖posterior).
    s, t = POSTERIOR_VARIANCE, wider**2 * POSTERIOR_VARIANCE
    divergence = float((0.5 * (t / s - 1 - (t / s).log()) + shift**2 / (2 * s)).sum())
    assert gaps[1][0] == pytest.approx(divergence, abs=3.5 * gaps[1][1])
    for few, more in ((1, 4), (4, 16), (16, 64)):
        assert gaps[few][0] - gaps[more][0] > 3.5 * math.hypot(gaps[few][1], gaps[more][1])
    # Many samples: half the variance of the weights over K, plus terms of order K⁻², bounded here by a quarter of it.
    second_moment = float((t / (s * (2 * t - s)).sqrt() * torch.exp(shift**2 / (2 * t - s))).prod())
    leading = (second_moment - 1) / (2 * 64)
    assert gaps[64][0] == pytest.approx(leading, abs=3.5 * gaps[64][1] + 0.25 * leading)
    assert gaps[64][0] > 3.5 * gaps[64][1]  # below still


def test_samples_in_portions_give_the_same_bound():
    x, context = points(40)
    given = linear_cvae(shift=0.3)(context)
    noise = uniform(5, torch.arange(40), 2 * 500)
    whole = given.importance_bound(x, noise, samples=500)  # 40 · 500 rows: two portions
    each = torch.stack([given.elbo(x, noise[:, 2 * k : 2 * k + 2]) for k in range(500)])
    assert torch.allclose(whole, torch.logsumexp(each, dim=0) - math.log(500), atol=1e-10)


def test_log_prob_has_fixed_noise_of_its_own_seed_and_a_row_depends_on_no_other():
    x, context = points(30)
    model = linear_cvae(shift=0.3, samples=8)
    first = model(context).log_prob(x)
    noise = uniform(0, torch.arange(8), 2).reshape(1, -1).expand(30, -1)
    assert torch.equal(first, model(context).importance_bound(x, noise, samples=8))
    other = x.clone()
    other[1:] += 1.0
    assert torch.equal(first[:1], model(context).log_prob(other)[:1])
    assert not torch.equal(first, linear_cvae(shift=0.3, samples=8, seed=1)(context).log_prob(x))


def test_draws_are_the_decoders_and_are_the_same_in_a_request_of_any_size():
    model, (_, context) = linear_cvae(), points(1500)
    drawn = draw(model, context, seed=3)
    u = uniform(3, torch.arange(1500), 5)
    z = torch.special.ndtri(u)
    assert torch.allclose(drawn.x, z[:, :2] @ W.T + context @ A.T + B + SPREAD * z[:, 2:], atol=1e-12)
    assert not drawn.log_prob_is_exact and drawn.log_prob is not None
    few = draw(model, context[:17], seed=3)
    assert torch.equal(few.x, drawn.x[:17]) and few.log_prob is not None
    assert torch.equal(few.log_prob, drawn.log_prob[:17])


def test_the_bound_is_refused_in_weights():
    x, context = points(4)
    with pytest.raises(DensityError, match=r"CVAEDistribution\.log_prob is not the exact log-density"):
        exact_log_prob(linear_cvae()(context), x)


@pytest.mark.parametrize("samples", [1, 4])
def test_training_finds_the_factor_that_correlates_the_coordinates(samples):
    rows, spread = 3000, 0.4
    z, context = normal(21, torch.arange(rows), 4), normal(22, torch.arange(rows), 1)
    x = z[:, :1] + context @ A.T + spread * z[:, 1:]
    model = seeded(lambda: CVAE(3, 1, 1, hidden=16, layers=1), seed=4)
    fit(model, bound_loss(samples), (x[:2000], context[:2000]), seed=5, steps=300, batch=128, learning_rate=2e-2)
    fresh, given = x[2000:], context[2000:]
    covariance = torch.ones(3, 3, dtype=torch.float64) + spread**2 * torch.eye(3, dtype=torch.float64)
    truth = torch.distributions.MultivariateNormal(given @ A.T, covariance).log_prob(fresh)
    with torch.no_grad():
        lost = truth - model(given).log_prob(fresh)
    independent_loses = 0.5 * float(covariance.diagonal().log().sum() - torch.logdet(covariance))
    error = float(lost.std()) / math.sqrt(len(lost))
    assert -3 * error < float(lost.mean()) < 0.03 * independent_loses + 3 * error


class Triangle(Distribution):
    """Three points of the plane round a centre, with independent normal noise."""

    noise_columns = 6

    def __init__(self, centre: torch.Tensor) -> None:
        self.mean = centre[:, None, :] + torch.tensor([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]], dtype=centre.dtype)

    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        return self.mean + 0.1 * torch.special.ndtri(noise).reshape(-1, 3, 2)

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        return standard_normal_log_prob(((x - self.mean) / 0.1).flatten(1)) - 6 * math.log(0.1)


class Triangles(ConditionalDensity):
    context_width = 2

    def forward(self, context: torch.Tensor) -> Triangle:
        return Triangle(context)


def test_parts_of_ones_own_a_flow_as_encoder_and_prior_and_sets_of_points():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = CVAE(
            6, 2, prior=CouplingFlow(2, hidden=(8,)), encoder=CouplingFlow(2, 6, hidden=(8,)), decoder=Triangles()
        )
    assert model.shape == (3, 2)
    drawn = draw(model, n=5, seed=1)
    assert drawn.x.shape == (5, 3, 2)
    loss = -model(drawn.x.new_zeros((5, 0))).elbo(drawn.x, uniform(2, torch.arange(5), 2)).mean()
    loss.backward()
    assert all(each.grad is not None for each in model.encoder.parameters())


def test_single_precision_gives_half_the_digits_of_double_precision():
    single, double = (linear_cvae(shift=0.3).to(dtype) for dtype in (torch.float32, torch.float64))
    _, context = points(500)
    drawn, exact = draw(single, context, seed=1), draw(double, context, seed=1)
    assert drawn.x.dtype == torch.float32 and drawn.log_prob is not None and drawn.log_prob.dtype == torch.float32
    close = torch.finfo(torch.float32).eps ** 0.5
    assert torch.allclose(drawn.x.double(), exact.x, rtol=close, atol=close)
    log_prob = double(context).log_prob(drawn.x.double())
    assert torch.allclose(drawn.log_prob.double(), log_prob, rtol=close, atol=close)


def test_a_cvae_is_with_respect_to_its_decoders_measure():
    made = CVAE(1, 1, decoder=AtomicSpline([0.0, 1.0], 1))
    assert made.measure == AtomicSpline([0.0, 1.0]).measure
    assert made(torch.zeros(2, 0, dtype=torch.float64)).measure == made.measure
    with pytest.raises(DensityError, match=r"prior.*counting on \[0.0\].*encoder.*Lebesgue.*expected one measure"):
        CVAE(2, 1, prior=AtomicSpline([0.0]))


def test_parts_that_give_no_bound_are_refused():
    """A GAN as encoder was accepted, and its missing log-density a TypeError at the first bound."""
    with pytest.raises(DensityError) as caught:
        CVAE(2, 1, prior=GAN(1, 2), encoder=GAN(1, 1, 2))
    assert len(caught.value.problems) == 2 and "the encoder GANDistribution has no log-density" in str(caught.value)
    with pytest.raises(DensityError, match="encoder CVAEDistribution is not exact, expected an exact log-density"):
        CVAE(2, 1, encoder=CVAE(1, 1, 2))


def test_parts_that_do_not_fit_are_listed_at_once():
    with pytest.raises(DensityError) as caught:
        CVAE(3, 2, 1, prior=StandardNormal(2, 0), encoder=ConditionalNormal(2, 3), samples=0)
    for part in ("samples is 0", "prior takes a context of 0 numbers, expected 1", "encoder takes a context of 3"):
        assert part in str(caught.value)
    with pytest.raises(DensityError) as caught:
        CVAE(3, 2, encoder=ConditionalNormal(1, 3), decoder=Triangles())
    for part in ("encoder draws shape (batch, 1), expected 2", "decoder draws shape (batch, 3, 2), expected 3"):
        assert part in str(caught.value)
    with pytest.raises(DensityError, match=r"network of a ConditionalNormal gave shape \(2, 3\), expected \(2, 4\)"):
        ConditionalNormal(2, 1, network=nn.Linear(1, 3, dtype=torch.float64))(torch.zeros(2, 1, dtype=torch.float64))


def test_bad_values_are_errors():
    x, context = points(4)
    given = linear_cvae()(context)
    with pytest.raises(DensityError, match=r"shape \(4, 2\), expected \(4, 3\)"):
        given.log_prob(x[:, :2])
    with pytest.raises(DensityError, match=r"noise of shape \(4, 2\) for 3 samples"):
        given.importance_bound(x, uniform(1, torch.arange(4), 2), samples=3)
    with pytest.raises(DensityError, match="the draws holds 1 values"):
        given.log_prob(torch.where(torch.arange(12).reshape(4, 3) == 5, torch.nan, x))
    broken = linear_cvae()
    with torch.no_grad():
        next(broken.decoder.parameters()).fill_(torch.nan)
    with pytest.raises(DensityError, match="256 of 256 importance weights of a CVAE are nan"):
        broken(context).log_prob(x)
    assert given.log_prob(x)[:0].shape == linear_cvae()(context[:0]).log_prob(x[:0]).shape
