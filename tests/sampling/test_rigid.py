"""The centre-of-mass-free subspace, its normal density, and rigid motions drawn evenly."""

import math

import pytest
import torch

from scenariogen.errors import DensityError
from scenariogen.randomness import normal, uniform
from scenariogen.sampling.contract import draw
from scenariogen.sampling.rigid import (
    CentredNormal,
    aligned,
    centred,
    from_points,
    mirrored,
    random_motions,
    rotations,
    subspace_basis,
    to_points,
)

SHAPES = [(2, 2), (4, 2), (4, 3), (13, 3)]
NONE = torch.zeros(1, 0, dtype=torch.float64)


def points(number: int, dim: int, *, batch: int = 5, seed: int = 1) -> torch.Tensor:
    return normal(seed, torch.arange(batch), number * dim).reshape(batch, number, dim)


@pytest.mark.parametrize(("number", "dim"), SHAPES)
def test_the_basis_is_orthonormal_and_spans_the_centred_points(number: int, dim: int):
    basis = subspace_basis(number)
    torch.testing.assert_close(basis.T @ basis, torch.eye(number - 1, dtype=torch.float64), atol=1e-14, rtol=0)
    assert float(basis.sum(0).abs().max()) < 1e-14
    z = normal(2, torch.arange(5), (number - 1) * dim)
    x = to_points(z, basis)
    torch.testing.assert_close(from_points(x, basis), z, atol=1e-13, rtol=0)
    torch.testing.assert_close(x.square().sum((1, 2)), z.square().sum(1), atol=1e-12, rtol=0)
    torch.testing.assert_close(to_points(from_points(points(number, dim), basis), basis), centred(points(number, dim)))


@pytest.mark.parametrize(("number", "dim"), SHAPES)
def test_the_normal_density_is_that_of_the_reduced_coordinates(number: int, dim: int):
    density = CentredNormal(number, dim, scale=1.7)
    x = points(number, dim)
    z = from_points(x, density.basis)
    scale = torch.tensor(1.7, dtype=torch.float64)
    expected = torch.distributions.Normal(torch.zeros_like(scale), scale).log_prob(z).sum(1)
    torch.testing.assert_close(density(NONE).log_prob(x), expected, atol=1e-11, rtol=0)


def test_two_points_in_the_plane_hold_all_the_mass():
    # Two centred points are (r, −r)/√2 with r in the plane: the subspace is parametrised by r at unit volume.
    side = torch.linspace(-8, 8, 401, dtype=torch.float64)
    r = torch.cartesian_prod(side, side) / math.sqrt(2)
    mass = CentredNormal(2, 2)(NONE).log_prob(torch.stack([r, -r], 1)).exp().sum() * (side[1] - side[0]) ** 2
    assert float(mass) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(("number", "dim"), SHAPES)
def test_motions_and_mirror_images_change_nothing(number: int, dim: int):
    given, x = CentredNormal(number, dim)(NONE), points(number, dim)
    motions = random_motions(3, 5, points=number, dim=dim, reflections=True)
    for moved in (motions(x), mirrored(x), x + 5.0):
        torch.testing.assert_close(given.log_prob(moved), given.log_prob(x), atol=1e-10, rtol=0)


def test_draws_are_centred_and_spread_as_asked():
    drawn = draw(CentredNormal(3, 2, scale=2.0), n=4000, seed=4).x
    assert drawn.shape == (4000, 3, 2) and float(drawn.mean(1).abs().max()) < 1e-14
    # E|x|² = scale² (n − 1) D = 16, with variance scale⁴ · 2 (n − 1) D = 128.
    assert float(drawn.square().sum((1, 2)).mean()) == pytest.approx(16.0, abs=4 * math.sqrt(128 / 4000))


@pytest.mark.parametrize("dim", [2, 3])
def test_rotations_are_proper_and_evenly_spread(dim: int):
    count = 4000
    drawn = rotations(uniform(5, torch.arange(count), 1 if dim == 2 else 3), dim)
    product = drawn @ drawn.transpose(1, 2)
    torch.testing.assert_close(product, torch.eye(dim, dtype=torch.float64).expand_as(product), atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.linalg.det(drawn), torch.ones(count, dtype=torch.float64), atol=1e-12, rtol=0)
    # Under the even measure entries have mean 0 and mean square 1/dim, the trace mean square 2 (plane) or 1 (space).
    assert float(drawn.mean(0).abs().max()) < 4 / math.sqrt(dim * count)
    square = drawn.square()
    spread = square.std(0) / math.sqrt(count)
    assert ((square.mean(0) - 1 / dim).abs() < 4 * spread).all()
    trace = drawn.diagonal(dim1=1, dim2=2).sum(1).square()
    assert float(trace.mean()) == pytest.approx(2.0 if dim == 2 else 1.0, abs=4 * float(trace.std()) / math.sqrt(count))


def test_motions_keep_distances_and_mirror_only_when_asked():
    x = points(5, 3, batch=200)
    proper = random_motions(6, 200, points=5, dim=3)
    assert (torch.linalg.det(proper.rotation) > 0).all()
    either = random_motions(6, 200, points=5, dim=3, reflections=True)
    mirrors = int((torch.linalg.det(either.rotation) < 0).sum())
    assert abs(mirrors - 100) < 4 * math.sqrt(50)
    for motions in (proper, either):
        before, after = torch.pdist(x[0]).sort().values, torch.pdist(motions(x)[0]).sort().values
        torch.testing.assert_close(before, after, atol=1e-12, rtol=0)
        torch.testing.assert_close(centred(motions(x)), motions.turn(centred(x)), atol=1e-12, rtol=0)
    assert torch.equal(random_motions(6, 10, points=5, dim=3).shift, proper.shift[:10])


@pytest.mark.parametrize("dim", [2, 3])
def test_alignment_undoes_a_turn_and_a_small_relabelling(dim: int):
    x = centred(points(6, dim))
    small = rotations(0.02 * torch.ones(5, 1 if dim == 2 else 3, dtype=torch.float64), dim)
    turned = (x @ small.transpose(1, 2))[:, torch.tensor([1, 0, 2, 3, 5, 4])]
    if dim == 3:  # the quaternion of constant small noise is no small turn: only the relabelling is undone
        turned = x[:, torch.tensor([1, 0, 2, 3, 5, 4])]
    torch.testing.assert_close(aligned(turned, x), x, atol=1e-10, rtol=0)


def test_alignment_mirrors_only_when_asked():
    # The first two coordinates nearly in a line and far apart: no relabelling pays, the image is the best match.
    x = centred(torch.tensor([[[0.0, 0.0], [4.0, 0.3], [9.0, 0.0]]], dtype=torch.float64))
    image = x * torch.tensor([1.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(aligned(image, x, reflections=True), x, atol=1e-10, rtol=0)
    assert float((aligned(image, x) - x).abs().max()) > 0.05
    sides = torch.linalg.det(aligned(image, x)[:, 1:] - aligned(image, x)[:, :1])
    assert float(sides) == pytest.approx(float(torch.linalg.det(image[:, 1:] - image[:, :1])), abs=1e-10)


def test_bad_shapes_say_what_was_got_and_expected():
    with pytest.raises(DensityError, match=r"got 1 points, expected at least 2(.|\n)*got points in 4 dimensions"):
        CentredNormal(1, 4)
    with pytest.raises(DensityError, match=r"scale of -1\.0"):
        CentredNormal(3, 2, scale=-1.0)
    with pytest.raises(DensityError, match=r"shape \(5, 4, 2\), expected \(batch, 3, 2\)"):
        CentredNormal(3, 2)(NONE).log_prob(points(4, 2))
    with pytest.raises(DensityError, match="the points holds 1 values"):
        CentredNormal(3, 2)(NONE).log_prob(
            points(3, 2)
            .index_fill(0, torch.tensor([0]), 0.0)
            .index_put((torch.tensor(0), torch.tensor(0), torch.tensor(0)), torch.tensor(math.nan, dtype=torch.float64))
        )
    with pytest.raises(DensityError, match="2 columns of noise for dim = 3"):
        rotations(torch.full((1, 2), 0.5), 3)
