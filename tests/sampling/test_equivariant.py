"""Networks on points under random motions, relabellings and mirror images."""

import math

import pytest
import torch
from torch import Tensor, nn

from scenariogen.errors import DensityError
from scenariogen.randomness import normal
from scenariogen.sampling.equivariant import EquivariantNetwork, InvariantNetwork, determinant
from scenariogen.sampling.rigid import mirrored, random_motions

SHAPES = [(4, 2), (5, 3), (13, 3)]
every_shape = pytest.mark.parametrize(("points", "dim"), SHAPES)
both = pytest.mark.parametrize("reflections", [False, True])


def shaken(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return module


def cloud(points: int, dim: int, *, batch: int = 6, seed: int = 2) -> Tensor:
    return normal(seed, torch.arange(batch), points * dim).reshape(batch, points, dim)


def invariant(dim: int, **options) -> nn.Module:
    return shaken(InvariantNetwork(dim, 3, hidden=16, features=2, **options)).requires_grad_(False)


def equivariant(dim: int, **options) -> nn.Module:
    return shaken(EquivariantNetwork(dim, 2, 3, hidden=16, features=2, **options)).requires_grad_(False)


@every_shape
@both
def test_an_invariant_network_does_not_see_motions_and_names(points: int, dim: int, reflections: bool):
    network, x, features = invariant(dim, reflections=reflections), cloud(points, dim), cloud(points, 2, seed=3)
    motions = random_motions(4, len(x), points=points, dim=dim, reflections=reflections, shift=3.0)
    plain = network(x, features)
    torch.testing.assert_close(network(motions(x), motions.relabel(features)), plain, atol=1e-10, rtol=1e-10)
    assert float(plain.std(0).min()) > 1e-3  # it does see something
    assert float((network(1.1 * x, features) - plain).abs().min()) > 1e-6


@every_shape
@both
def test_an_equivariant_networks_vectors_move_along(points: int, dim: int, reflections: bool):
    network, x, features = equivariant(dim, reflections=reflections), cloud(points, dim), cloud(points, 2, seed=3)
    motions = random_motions(4, len(x), points=points, dim=dim, reflections=reflections, shift=3.0)
    vectors, scalars = network(x, features)
    moved, same = network(motions(x), motions.relabel(features))
    for number in range(2):
        torch.testing.assert_close(moved[:, :, number], motions.turn(vectors[:, :, number]), atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(same, motions.relabel(scalars), atol=1e-10, rtol=1e-10)
    assert float(vectors.norm(dim=-1).mean()) > 1e-2 and float(scalars.std(0).min()) > 1e-3


@every_shape
def test_mirror_images_are_told_apart_only_where_reflections_are_off(points: int, dim: int):
    x, features = cloud(points, dim), cloud(points, 2, seed=3)
    for make in (invariant, equivariant):
        for reflections in (False, True):
            network = make(dim, reflections=reflections)
            out, image = network(x, features), network(mirrored(x), features)
            if make is equivariant:
                out, image = mirrored(out[0]), image[0]
            gap = float((out - image).abs().max())
            assert gap < 1e-10 if reflections else gap > 1e-4


@pytest.mark.parametrize("dim", [2, 3])
def test_signed_volume_is_a_function_that_only_reflections_off_can_learn(dim: int):
    # dim + 1 points span a simplex; its signed volume is odd in a mirror, and so is any function of its sign.
    x = cloud(dim + 1, dim, batch=400)
    # Odd under permutations too: the points get their number as a feature, which makes a set of named points.
    names = torch.eye(dim + 1, dtype=torch.float64).expand(400, -1, -1)
    target = torch.tanh(determinant((x[:, 1:] - x[:, :1]).transpose(1, 2)))[:, None]
    left = {}
    for reflections in (False, True):
        network = InvariantNetwork(dim, features=dim + 1, reflections=reflections, hidden=16, rounds=1, seed=1)
        optimiser = torch.optim.Adam(network.parameters(), lr=3e-2)
        for _ in range(60 if dim == 2 else 120):
            optimiser.zero_grad()
            loss = (network(x, names) - target).square().mean() / target.var()
            loss.backward()
            optimiser.step()
        left[reflections] = float(loss.detach())
    assert left[False] < 0.3 and left[True] > 0.8


def test_the_number_of_points_is_free_and_far_points_change_little():
    network = shaken(InvariantNetwork(2, hidden=8)).requires_grad_(False)
    assert network(cloud(3, 2)).shape == network(cloud(9, 2)).shape == (6, 1)
    assert torch.isfinite(network(torch.zeros(1, 4, 2, dtype=torch.float64))).all()


def test_gradients_are_finite_where_points_meet():
    x = torch.zeros(1, 4, 3, dtype=torch.float64, requires_grad=True)
    shaken(InvariantNetwork(3, hidden=8))(x).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all()


def test_single_precision_and_seeds():
    x = cloud(4, 2)
    network = InvariantNetwork(2, hidden=8, dtype=torch.float32, seed=5)
    assert network(x.float()).dtype == torch.float32
    again, other = InvariantNetwork(2, hidden=8, dtype=torch.float32, seed=5), InvariantNetwork(2, hidden=8, seed=6)
    assert torch.equal(network(x.float()), again(x.float()))
    assert float((other(x) - network(x.float())).detach().abs().max()) > 1e-3


def test_bad_input_says_what_was_got_and_expected():
    with pytest.raises(
        DensityError, match=r"4 dimensions, expected 2 or 3(.|\n)*3 vectors a point, expected at least 4"
    ):
        InvariantNetwork(4, vectors=3)
    with pytest.raises(DensityError, match=r"1 kernels up to 5\.0"):
        EquivariantNetwork(2, kernels=1)
    network = InvariantNetwork(2, features=1)
    with pytest.raises(DensityError, match=r"expected \(batch, point, 2\)(.|\n)*got 0 features a point, expected 1"):
        network(cloud(4, 3))
    with pytest.raises(DensityError, match="the features holds 8 values"):
        network(cloud(4, 2, batch=2), torch.full((2, 4, 1), math.nan, dtype=torch.float64))
    with pytest.raises(DensityError, match="the points holds 16 values"):
        network(cloud(4, 2, batch=2) * math.inf, torch.zeros(2, 4, 1, dtype=torch.float64))
