"""Sets: scores and densities that no reordering changes, against brute force, autograd and the mass."""

import math
from itertools import permutations

import pytest
import torch
from torch import Tensor, nn

from scenariogen.errors import DensityError
from scenariogen.randomness import normal
from scenariogen.sampling.contract import draw
from scenariogen.sampling.sets import DeepSets, SetFlow, SetLayers
from scenariogen.sampling.training import fit, negative_log_likelihood

NONE = torch.zeros(1, 0, dtype=torch.float64)


def shaken(module: nn.Module, *, size: float = 0.3) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return module


def flow(points: int = 3, dim: int = 2, context_width: int = 0, *, size: float = 0.3, **options) -> SetFlow:
    made = SetFlow(points, dim, context_width, hidden=8, bins=6, **options)
    shaken(made, size=size)
    return made


def members(points: int, dim: int, *, batch: int = 5, seed: int = 1) -> Tensor:
    return normal(seed, torch.arange(batch), points * dim).reshape(batch, points, dim)


def test_a_score_of_sets_does_not_see_their_order():
    score, x = shaken(DeepSets(3, 2)), members(5, 3)
    for order in ([4, 3, 2, 1, 0], [1, 2, 0, 4, 3]):
        torch.testing.assert_close(score(x[:, order]), score(x), atol=1e-12, rtol=0)
    assert float((score(x[:1]) - score(x[1:2])).detach().abs().max()) > 1e-3


def test_a_score_sees_the_members_that_are_there_and_how_many():
    score, x = shaken(DeepSets(3, 1)), members(5, 3)
    present = torch.arange(5) < torch.tensor([[5], [3], [1], [0], [2]])
    filled = torch.where(present[..., None], x, torch.full_like(x, math.nan))
    together = score(filled, present)
    for row, size in enumerate(present.sum(1).tolist()):
        if size:
            torch.testing.assert_close(together[row], score(x[row : row + 1, :size])[0], atol=1e-12, rtol=0)
    twice = torch.cat([x, x], dim=1)  # the same mean, another size
    assert float((score(twice) - score(x)).detach().abs().max()) > 1e-3


def test_layers_on_sets_are_reordered_with_their_members_and_see_the_others():
    layers, x = shaken(SetLayers(2, 3)), members(4, 2)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(layers(x[:, order]), layers(x)[:, order], atol=1e-12, rtol=0)
    other = torch.cat([x[:, :3], x[:, 3:] + 1], dim=1)
    assert float((layers(other) - layers(x))[:, :3].detach().abs().max()) > 1e-3


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_the_density_of_a_set_does_not_see_the_order(dim: int):
    given, x = flow(3, dim)(NONE), members(3, dim)
    with torch.no_grad():
        plain = given.log_prob(x)
        for order in permutations(range(3)):
            torch.testing.assert_close(given.log_prob(x[:, list(order)]), plain, atol=1e-11, rtol=0)
            z = given.latent(x).reshape(-1, 3, dim)[:, list(order)].flatten(1)
            torch.testing.assert_close(given.push(z)[0], x[:, list(order)], atol=1e-9, rtol=0)


def test_members_of_a_set_depend_on_each_other():
    given, x = flow()(NONE), members(3, 2)
    moved = torch.cat([x[:, :2], x[:, 2:] + 0.5], dim=1)
    with torch.no_grad():
        z, other = (given.latent(each).reshape(-1, 3, 2)[:, :2] for each in (x, moved))
    assert float((z - other).abs().max()) > 1e-3


@pytest.mark.parametrize("dim", [2, 3, 4])
def test_every_number_moves(dim: int):
    made = flow(2, dim)
    still = [set(made._still(number)) for number in range(4)]
    assert still[0] | still[1] == set(range(dim)) and not still[0] & still[1]
    assert still[2] | still[3] == set(range(dim)) and (dim == 2 or still[2] not in (still[0], still[1]))


def test_log_density_is_the_base_density_less_autograds_log_determinant():
    given = flow(3, 3)(NONE)
    z = normal(5, torch.arange(1), 9)
    x, log_prob = (each.detach() for each in given.push(z))
    jacobian = torch.autograd.functional.jacobian(lambda each: given.push(each)[0].flatten(), z).reshape(9, 9)
    base = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum()
    assert float(log_prob) == pytest.approx(float(base - torch.linalg.slogdet(jacobian)[1]), abs=1e-9)
    assert float(given.log_prob(x).detach()) == pytest.approx(float(log_prob), abs=1e-9)


def test_the_density_of_one_member_integrates_to_one():
    side = torch.linspace(-7, 7, 601, dtype=torch.float64)
    x = torch.cartesian_prod(side, side)[:, None]
    with torch.no_grad():
        mass = flow(1, 2, size=0.15)(NONE).log_prob(x).exp().sum() * (side[1] - side[0]) ** 2
    assert float(mass) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_draw_is_the_same_to_the_last_bit_in_a_request_of_any_size(dtype: torch.dtype):
    density, context = flow(context_width=2, dtype=dtype), normal(1, torch.arange(150), 2).to(dtype)
    everything = draw(density, context, seed=7, block=64)
    assert everything.x.shape == (150, 3, 2) and everything.x.dtype == dtype and everything.log_prob is not None
    few = draw(density, context[:17], seed=7, block=64)
    assert few.log_prob is not None and torch.equal(few.log_prob, everything.log_prob[:17])
    assert torch.equal(few.x, everything.x[:17])


def test_a_flow_of_sets_learns_how_members_depend_on_each_other():
    # Each member's second number follows the mean of all first numbers.
    noise = members(3, 2, batch=2500, seed=3)
    mean, spread = noise[..., :1].mean(1, keepdim=True), 0.3
    sets = torch.cat([noise[..., :1], mean + spread * noise[..., 1:]], dim=-1)
    made = SetFlow(3, 2, hidden=16, transforms=2, bins=6)
    fit(made, negative_log_likelihood, sets[:2000], seed=1, steps=150, learning_rate=1e-2, held_out=0.0)
    held = noise[2000:]
    truth = torch.distributions.Normal(0.0, 1.0).log_prob(held).sum((1, 2)).mean() - 3 * math.log(spread)
    with torch.no_grad():
        gap = float(truth - made(NONE).log_prob(sets[2000:]).mean())
    # Members that see their own first number alone are short by 3/2 log(1 + (2/9)/spread²) at best.
    assert gap < 0.25 < 1.5 * math.log1p(2 / 9 / spread**2)


def test_bad_input_says_what_was_got_and_expected():
    with pytest.raises(DensityError, match=r"members of 1 numbers, expected at least 2(.|\n)*points is 0"):
        SetFlow(0, 1)
    with pytest.raises(DensityError, match=r"sets of shape \(5, 4, 2\), expected \(batch, 3, 2\)"):
        flow()(NONE).log_prob(members(4, 2))
    with pytest.raises(DensityError, match="the sets holds 30 values"):
        flow()(NONE).log_prob(members(3, 2) * math.nan)
    with pytest.raises(DensityError, match="members of 2 numbers, expected 3"):
        DeepSets(3, 1)(members(3, 2))
    with pytest.raises(DensityError, match="members of 3 numbers, expected 2"):
        SetLayers(2, 1)(members(3, 3))
    with pytest.raises(DensityError, match=r"context of shape \(1, 0\), expected \(batch, 2\)"):
        flow(context_width=2)(NONE)
