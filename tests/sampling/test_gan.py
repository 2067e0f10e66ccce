"""The GAN learns a conditional law, trains by pure steps, and has no density."""

import math
from typing import cast

import pytest
import torch
from torch import nn

from scenariogen.errors import DensityError
from scenariogen.randomness import child_seed, normal, uniform
from scenariogen.sampling.contract import draw, exact_log_prob
from scenariogen.sampling.gan import GAN, GANSettings, fit_gan, gan_step, initial_state
from scenariogen.sampling.training import seeded

SETTINGS = GANSettings(batch=128)


def contexts(seed: int, rows: int) -> torch.Tensor:
    return 2 * uniform(seed, torch.arange(rows), 1) - 1


def law(seed: int, context: torch.Tensor) -> torch.Tensor:
    """Two bumps round (1, c) and (−1, −c) with probabilities 0.7 and 0.3."""
    rows = torch.arange(len(context))
    side = torch.where(uniform(seed, rows, 1) < 0.3, -1.0, 1.0)
    return torch.cat([side, side * context], dim=1) + 0.25 * normal(seed + 1, rows, 2)


def energy_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """Unbiased estimate of 2 E|X − Y| − E|X − X′| − E|Y − Y′|."""
    n, m = len(a), len(b)
    within = torch.cdist(a, a).sum() / (n * (n - 1)) + torch.cdist(b, b).sum() / (m * (m - 1))
    return float(2 * torch.cdist(a, b).mean() - within)


def weights(module: nn.Module) -> torch.Tensor:
    return torch.cat([each.detach().flatten() for each in module.parameters()])


def test_training_learns_a_conditional_law_with_both_its_modes():
    context = contexts(3, 3000)
    model = seeded(lambda: GAN(2, 2, 1, hidden=32), seed=1)
    truth_context, given = contexts(30, 1000), contexts(31, 1000)
    truth = torch.cat([law(50, truth_context), truth_context], dim=1)

    def distance(x: torch.Tensor) -> float:
        return energy_distance(torch.cat([x, given], dim=1), truth)

    before = distance(draw(model, given, seed=8).x)
    training = fit_gan(model, law(5, context), context, seed=2, steps=600, settings=SETTINGS)
    drawn = draw(model, given, seed=8)
    assert drawn.log_prob is None and "no log-density" in repr(drawn)
    # What draws of the law itself measure, and what ignoring the context or missing the smaller mode costs.
    fresh = [distance(law(60 + 2 * number, given)) for number in range(6)]
    noise = math.sqrt(sum(value**2 for value in fresh) / len(fresh))
    ignoring = distance(law(52, contexts(32, 1000)))
    missing = distance(torch.cat([torch.ones_like(given), given], dim=1) + 0.25 * normal(54, torch.arange(1000), 2))
    assert distance(drawn.x) < 0.1 * min(before, ignoring, missing) + 3 * noise
    assert training.history[-1].step == 600
    # Nobody can tell: the discriminator's loss comes near 2 log 2, the generator's near log 2. Were the smaller mode
    # missed, the best discriminator would be log p/q = log 0.7 at the larger one and ∞ at the smaller: a tenth of what
    # that changes in the losses is allowed.
    told = 0.7 * math.log(1 + 1 / 0.7) + math.log(1 + 0.7)
    fooled = math.log(1 + 1 / 0.7)
    late = torch.tensor([[each.discriminator_loss, each.generator_loss] for each in training.history[-20:]])
    unable = torch.tensor([2 * math.log(2), math.log(2)])
    allowed = 0.1 * (torch.tensor([told, fooled]) - unable).abs() + 4 * late.std(0) / math.sqrt(20)
    assert ((late.mean(0) - unable).abs() < allowed).all()


def test_a_step_is_a_function_of_seed_and_state_and_leaves_the_model_as_it_is():
    context = contexts(3, 200)
    data = (law(5, context), context)
    model = seeded(lambda: GAN(2, 2, 1, hidden=8), seed=1)
    before = weights(model)
    start = initial_state(model)
    (one, first), (two, second) = gan_step(model, start, data, seed=4), gan_step(model, start, data, seed=4)
    (other, _) = gan_step(model, start, data, seed=5)
    assert first == second and first.step == one.step == 1 and start.step == 0
    for name in one.generator:
        assert torch.equal(one.generator[name], two.generator[name])
        mixed = start.generator[name] / 11 + one.generator[name] * 10 / 11
        assert torch.allclose(one.average[name], mixed, atol=1e-12)
    assert any(not torch.equal(one.generator[name], other.generator[name]) for name in one.generator)
    assert torch.equal(before, weights(model))


def test_training_in_two_parts_is_training_at_once():
    context = contexts(3, 200)
    data = (law(5, context), context)
    at_once, parted = (seeded(lambda: GAN(2, 2, 1, hidden=8), seed=1) for _ in range(2))
    before = weights(at_once)
    fit_gan(at_once, *data, seed=2, steps=9, settings=SETTINGS)
    assert not torch.equal(weights(at_once), before)
    half = fit_gan(parted, *data, seed=2, steps=4, settings=SETTINGS)
    fit_gan(parted, *data, seed=2, steps=5, settings=SETTINGS, state=half.state)
    assert torch.equal(weights(at_once), weights(parted))


def test_adam_and_the_losses_agree_with_torchs_own():
    context = contexts(3, 300)
    x = law(5, context)
    model = seeded(lambda: GAN(2, 2, 1, hidden=8), seed=1)
    with torch.no_grad():
        for each in model.discriminator.parameters():
            each.add_(0.3)
    settings = GANSettings(batch=300, penalty=2.0, betas=(0.3, 0.9), learning_rate=0.01)
    twin = seeded(lambda: GAN(2, 2, 1, hidden=8), seed=1)
    twin.load_state_dict(model.state_dict())
    optimiser = torch.optim.Adam(twin.discriminator.parameters(), lr=0.01, betas=(0.3, 0.9))
    state = initial_state(model)
    for _ in range(3):
        # The same rows and noise as the step takes.
        seed, rows = child_seed(4, "gan", state.step), torch.arange(300)
        chosen = (uniform(child_seed(seed, "rows"), rows, 1)[:, 0] * 300).to(torch.int64)
        real, given = x[chosen].requires_grad_(), context[chosen]
        for (_, each), value in zip(twin.generator.named_parameters(), state.generator.values(), strict=True):
            each.data.copy_(value)
        z = normal(child_seed(seed, "discriminator"), rows, 2)
        fake = twin.generator(torch.cat([z, given], dim=1)).detach()
        score = twin.discriminator(torch.cat([real, given], dim=1))
        slope = torch.autograd.grad(score.sum(), real, create_graph=True)[0]
        told = -torch.log(torch.sigmoid(score)).mean()
        told = told - torch.log(1 - torch.sigmoid(twin.discriminator(torch.cat([fake, given], dim=1)))).mean()
        penalty = 2.0 / 2 * (slope.norm(dim=1) ** 2).mean()
        optimiser.zero_grad()
        (told + penalty).backward()
        optimiser.step()
        state, info = gan_step(model, state, (x, context), seed=4, settings=settings)
        assert info.discriminator_loss == pytest.approx(float(told.detach()), abs=1e-10)
        assert info.penalty == pytest.approx(float(penalty.detach()), abs=1e-10)
        for each, value in zip(twin.discriminator.parameters(), state.discriminator.values(), strict=True):
            assert torch.allclose(each.detach(), value, atol=1e-9)


def test_there_is_no_density():
    given = GAN(2, 2)(torch.zeros(3, 0, dtype=torch.float64))
    with pytest.raises(DensityError, match=r"a GAN has no density.*CouplingFlow"):
        given.log_prob(torch.zeros(3, 2, dtype=torch.float64))
    with pytest.raises(DensityError, match="not the exact log-density"):
        exact_log_prob(given, torch.zeros(3, 2, dtype=torch.float64))
    x, nothing = given.sample_and_log_prob(uniform(1, torch.arange(3), 2))
    assert x.shape == (3, 2) and nothing is None


def test_draws_of_ones_own_generator_in_single_precision_and_for_sets_of_points():
    class Points(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Linear(4, 6)
            self.idle = nn.Parameter(torch.ones(2))  # enters nothing: training leaves it alone

        def forward(self, row: torch.Tensor) -> torch.Tensor:
            return self.network(row).reshape(-1, 3, 2)

    model = seeded(lambda: GAN(6, 3, 1, generator=Points(), dtype=torch.float32), seed=1)
    context = contexts(1, 1100).float()
    drawn = draw(model, context, seed=3)
    assert drawn.x.shape == (1100, 3, 2) and drawn.x.dtype == torch.float32
    assert torch.equal(draw(model, context[:17], seed=3).x, drawn.x[:17])
    training = fit_gan(model, drawn.x + 1, context, seed=1, steps=2)
    assert torch.equal(cast(Points, model.generator).idle, torch.ones(2))
    assert training.state.generator["network.weight"].dtype == torch.float32


def test_bad_requests_say_what_was_got_and_expected():
    with pytest.raises(DensityError) as caught:
        GAN(3, 2, generator=nn.Linear(2, 2), discriminator=nn.Linear(3, 2))
    assert "gave shape (1, 2) for one row, expected 3 numbers" in str(caught.value)
    assert "gave shape (1, 2) for one row, expected (1, 1)" in str(caught.value)
    with pytest.raises(DensityError) as caught:
        GANSettings(batch=0, learning_rate=math.nan, decay=1.0, betas=(0.5, -0.1))
    for part in ("batch is 0", "learning_rate is nan", "decay is 1.0", "betas is -0.1"):
        assert part in str(caught.value)
    model, x = GAN(2, 2, 1), torch.zeros(5, 2, dtype=torch.float64)
    with pytest.raises(DensityError) as caught:
        fit_gan(model, x[:, :1], torch.zeros(4, 1, dtype=torch.float64), seed=1, steps=0)
    for part in ("5 rows and 4 contexts", "shape (5, 1), expected rows of 2", "steps is 0"):
        assert part in str(caught.value)
    with pytest.raises(DensityError, match=r"shape \(5, 0\), expected \(batch, 1\)"):
        fit_gan(model, x, seed=1)
    with pytest.raises(DensityError, match="the data holds 1 values"):
        fit_gan(GAN(2, 2), torch.where(torch.arange(10).reshape(5, 2) == 3, math.inf, x), seed=1)
    with torch.no_grad():
        next(model.discriminator.parameters()).fill_(math.nan)
    with pytest.raises(DensityError, match="the discriminator's loss of step 1 is nan"):
        fit_gan(model, x, x[:, :1], seed=1)
