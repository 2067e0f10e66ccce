"""CVAE and GAN of sets of points: every part moves along, and what is drawn has the law of its moved copies."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from scenariogen.errors import DensityError
from scenariogen.randomness import normal, uniform
from scenariogen.sampling.contract import draw, exact_log_prob
from scenariogen.sampling.cvae import CVAEDistribution, bound_loss
from scenariogen.sampling.gan import GANSettings, fit_gan
from scenariogen.sampling.rigid import (
    Motions,
    centred_normal_log_prob,
    from_points,
    mirrored,
    random_motions,
    to_points,
)
from scenariogen.sampling.symmetric_generators import (
    AveragedDiscriminator,
    equivariant_cvae,
    equivariant_gan,
    latent_width,
)
from scenariogen.sampling.training import fit

SHAPES = [(4, 2), (5, 3)]
BATCH = 6
LATENT = 2
CONTEXT = normal(9, torch.arange(BATCH), 2)
every_shape = pytest.mark.parametrize(("points", "dim"), SHAPES)
both = pytest.mark.parametrize("reflections", [False, True])


def shaken(module: Any, *, size: float = 0.1) -> Any:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return module.requires_grad_(False)


def cvae(points: int, dim: int, **options) -> Any:
    return shaken(equivariant_cvae(points, dim, 2, latent=LATENT, hidden=16, scale=1.3, samples=8, **options))


def latents(points: int, dim: int, *, seed: int = 1) -> Tensor:
    return normal(seed, torch.arange(BATCH), latent_width(points, dim, LATENT))


def moved_latents(z: Tensor, motions: Motions, basis: Tensor, dim: int) -> Tensor:
    """The latent points turned and renamed, the numbers of each point renamed with them."""
    points = basis.shape[0]
    free = (points - 1) * dim
    own = motions.relabel(z[:, free:].reshape(len(z), points, LATENT))
    return torch.cat([from_points(motions.turn(to_points(z[:, :free], basis)), basis), own.flatten(1)], dim=1)


def motions(points: int, dim: int, reflections: bool) -> Motions:
    return random_motions(4, BATCH, points=points, dim=dim, reflections=reflections, shift=3.0)


@every_shape
@both
def test_every_density_in_the_cvae_moves_along(points: int, dim: int, reflections: bool):
    made, move = cvae(points, dim, reflections=reflections), motions(points, dim, reflections)
    z = latents(points, dim)
    mean = made.decoder(torch.cat([z, CONTEXT], dim=1)).mean
    x = mean + 0.3 * to_points(normal(5, torch.arange(BATCH), (points - 1) * dim), made.decoder.mean.basis)
    moved_z, moved_x = moved_latents(z, move, made.decoder.mean.basis, dim), move(x)
    torch.testing.assert_close(
        made.decoder(torch.cat([moved_z, CONTEXT], dim=1)).mean, move.turn(mean), atol=1e-10, rtol=1e-10
    )

    def parts(x: Tensor, z: Tensor) -> list[Tensor]:
        given_x, given_z = torch.cat([x.flatten(1), CONTEXT], dim=1), torch.cat([z, CONTEXT], dim=1)
        return [
            made.prior(CONTEXT).log_prob(z),
            made.decoder(given_z).log_prob(x),
            made.encoder(given_x).log_prob(z),
        ]

    for plain, moved in zip(parts(x, z), parts(moved_x, moved_z), strict=True):
        torch.testing.assert_close(moved, plain, atol=1e-9, rtol=1e-10)
    # What encoder and decoder do is not nothing.
    still = torch.cat([to_points(z[:, : (points - 1) * dim], made.decoder.mean.basis).flatten(1), CONTEXT], dim=1)
    assert float((mean.flatten(1) - 1.3 * still[:, : points * dim]).abs().max()) > 1e-2


@every_shape
def test_mirror_images_differ_in_the_cvae_only_where_reflections_are_off(points: int, dim: int):
    for reflections in (False, True):
        made = cvae(points, dim, reflections=reflections)
        basis, z = made.decoder.mean.basis, latents(points, dim)
        free = (points - 1) * dim
        image = torch.cat([from_points(mirrored(to_points(z[:, :free], basis)), basis), z[:, free:]], dim=1)
        first, second = (made.decoder(torch.cat([each, CONTEXT], dim=1)).mean for each in (z, image))
        gap = float((mirrored(first) - second).abs().max())
        assert gap < 1e-10 if reflections else gap > 1e-4


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf])
@pytest.mark.parametrize("build", [equivariant_cvae, equivariant_gan])
def test_scales_are_positive(build, scale: float):
    with pytest.raises(DensityError, match=r"got a scale of .*, expected a positive number"):
        build(3, 2, scale=scale)


def test_the_bound_meets_the_closed_form_where_there_is_one():
    # At its start the decoder is x = scale · z + width · noise, so x is centred normal with the sum of the variances.
    made: Any = equivariant_cvae(3, 2, latent=1, hidden=8, scale=0.8, samples=1000)
    given = made(torch.zeros(5, 0, dtype=torch.float64))
    with torch.no_grad():
        made.decoder.log_scale.fill_(math.log(0.6))
        x = given.sample(uniform(3, torch.arange(5), given.noise_columns))
        assert isinstance(given, CVAEDistribution) and not given.log_prob_is_exact
        bound = given.log_prob(x)
        # Each L_K is the log of a mean of 1000 weights: its error comes from their spread over seeds.
        again = []
        for seed in range(1, 13):
            made.seed = seed
            again.append(made(torch.zeros(5, 0, dtype=torch.float64)).log_prob(x))
    error = torch.stack(again).std(0)
    exact = centred_normal_log_prob(x, math.hypot(0.8, 0.6))
    assert ((bound - exact).abs() < 4.5 * error + error**2).all() and float(error.max()) < 0.5
    with pytest.raises(DensityError, match="not the exact log-density"):
        exact_log_prob(given, x)


def triangles(batch: int) -> Tensor:
    corners = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.5, 1.2]], dtype=torch.float64)
    noisy = corners + 0.1 * normal(11, torch.arange(batch), 6).reshape(batch, 3, 2)
    return random_motions(11, batch, points=3, dim=2)(noisy)


def longest_sides(x: Tensor) -> Tensor:
    return torch.cdist(x, x).amax((1, 2))


def test_the_cvae_learns_triangles():
    data, held = triangles(600), triangles(800)[600:]
    made = equivariant_cvae(3, 2, hidden=16, rounds=1, scale=0.7, samples=16)

    def score() -> float:
        with torch.no_grad():
            return float(made(held.new_zeros((len(held), 0))).log_prob(held).mean())

    before = score()
    fit(made, bound_loss(), data, seed=1, steps=100, batch=128, learning_rate=1e-2, held_out=0.0)
    assert score() > before + 0.5


def test_the_gan_learns_how_long_sides_are():
    data = triangles(600)
    made = equivariant_gan(3, 2, hidden=16, rounds=1, scale=0.4)

    def gap() -> float:
        return abs(float(longest_sides(draw(made, n=500, seed=3).x).mean() - longest_sides(data).mean()))

    before = gap()
    settings = GANSettings(batch=64, learning_rate=1e-2, decay=0.9)
    fit_gan(made, data, seed=1, steps=100, settings=settings)
    assert before > 0.5 and gap() < 0.5 * before
    with pytest.raises(DensityError, match="a GAN has no density"):
        made(data.new_zeros((1, 0))).log_prob(data[:1])


@every_shape
@both
def test_the_generator_of_the_gan_moves_along(points: int, dim: int, reflections: bool):
    made = shaken(equivariant_gan(points, dim, 2, latent=LATENT, hidden=16, reflections=reflections))
    move, z = motions(points, dim, reflections), latents(points, dim)
    x = made.generator(torch.cat([z, CONTEXT], dim=1))
    moved = moved_latents(z, move, made.generator.basis, dim)
    torch.testing.assert_close(made.generator(torch.cat([moved, CONTEXT], dim=1)), move.turn(x), atol=1e-10, rtol=1e-10)
    assert float(x.mean(1).abs().max()) < 1e-13


@every_shape
@both
def test_the_averaged_discriminator_sees_neither_motions_nor_names(points: int, dim: int, reflections: bool):
    network = shaken(AveragedDiscriminator(points, dim, 2, reflections=reflections, hidden=16), size=0.5)
    x = normal(6, torch.arange(BATCH), points * dim).reshape(BATCH, points, dim)
    move = motions(points, dim, reflections)

    def score(x: Tensor) -> Tensor:
        return network(torch.cat([x.flatten(1), CONTEXT], dim=1))

    torch.testing.assert_close(score(move(x)), score(x), atol=1e-10, rtol=1e-9)
    assert float(score(x).std()) > 1e-4
    gap = float((score(mirrored(x)) - score(x)).abs().max())
    assert gap < 1e-10 if reflections else gap > 1e-5


@every_shape
def test_frames_are_orthonormal_and_right_handed(points: int, dim: int):
    network = AveragedDiscriminator(points, dim)
    x = normal(6, torch.arange(BATCH), points * dim).reshape(BATCH, points, dim)
    x = x - x.mean(1, keepdim=True)
    seen, weight = network.framed(x)
    assert seen.shape[1] == weight.shape[1] == (points if dim == 2 else points * (points - 1))
    torch.testing.assert_close(
        seen.square().sum((2, 3)), x.square().sum((1, 2))[:, None].expand_as(weight), rtol=1e-3, atol=0
    )
    before, after = torch.linalg.det(x[:, :dim]), torch.linalg.det(seen[:, :, :dim])
    torch.testing.assert_close(after, before[:, None].expand_as(after), rtol=1e-3, atol=1e-6)


@every_shape
def test_the_discriminators_slope_and_its_slope_are_finite_where_points_meet(points: int, dim: int):
    network = shaken(AveragedDiscriminator(points, dim, hidden=8)).requires_grad_(True)
    for x in (torch.zeros(1, points, dim), torch.arange(points).reshape(1, points, 1).expand(1, points, dim)):
        row = x.to(torch.float64).flatten(1).requires_grad_()
        slope = torch.autograd.grad(network(row).sum(), row, create_graph=True)[0]
        slope.square().sum().backward()
        found = [slope.detach(), *(each.grad for each in network.parameters() if each.grad is not None)]
        assert all(torch.isfinite(each).all() for each in found)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", [equivariant_cvae, equivariant_gan])
def test_a_draw_is_the_same_to_the_last_bit_in_a_request_of_any_size(make, dtype: torch.dtype):
    made = shaken(make(4, 2, hidden=8, dtype=dtype))
    everything, few = draw(made, n=100, seed=7, block=64), draw(made, n=17, seed=7, block=64)
    assert everything.x.shape == (100, 4, 2) and everything.x.dtype == dtype and not everything.log_prob_is_exact
    assert torch.equal(few.x, everything.x[:17])


def test_bad_input_says_what_was_got_and_expected():
    for make in (equivariant_cvae, equivariant_gan):
        with pytest.raises(DensityError, match=r"1 points, expected at least 2(.|\n)*4 dimensions"):
            make(1, 4)
    made: Any = equivariant_gan(3, 2)
    with pytest.raises(DensityError, match="rows of 3 latent numbers and context, expected 7"):
        made.generator(torch.zeros(1, 3, dtype=torch.float64))
    with pytest.raises(DensityError, match="rows of 3 numbers, expected 6"):
        made.discriminator(torch.zeros(1, 3, dtype=torch.float64))
    data = torch.zeros(1, 4, 2, dtype=torch.float64)
    with pytest.raises(DensityError, match=r"shape \(1, 4, 2\), expected"):
        equivariant_cvae(3, 2)(data[:, 0, :0]).log_prob(data)
