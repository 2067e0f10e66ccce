"""Projection onto smooth manifolds: known nearest points, violations at rounding error, implicit gradients."""

import pytest
import torch
from torch import nn

from scenariogen.errors import DensityError
from scenariogen.randomness import normal
from scenariogen.sampling.contract import draw
from scenariogen.sampling.normal import isotropic
from scenariogen.sampling.projection import LinearSet, Projected
from scenariogen.sampling.smooth_projection import SmoothSet

F64 = torch.float64
LENGTHS = torch.tensor([1.0, 2.5, 0.3], dtype=F64)


def sphere(x: torch.Tensor) -> torch.Tensor:
    return (x * x).sum()[None] - 4


def ellipse(x: torch.Tensor) -> torch.Tensor:
    return (x[0] ** 2 / 9 + x[1] ** 2)[None] - 1


def chain(x: torch.Tensor) -> torch.Tensor:
    """Four points of the plane at fixed distances."""
    return x.reshape(4, 2).diff(dim=0).square().sum(-1) - LENGTHS**2


def test_the_nearest_point_of_a_sphere_is_the_scaled_one():
    x0 = 2 * normal(1, torch.arange(1000), 3)
    x = SmoothSet(sphere, 3)(x0)
    torch.testing.assert_close(x, 2 * x0 / torch.linalg.vector_norm(x0, dim=-1, keepdim=True), atol=1e-13, rtol=0)


def test_a_chain_keeps_its_distances_to_rounding_error():
    set_ = SmoothSet(chain, 8)
    for spread, rows in ((1.5, 500), (30.0, 100)):
        x0 = spread * normal(1, torch.arange(rows), 8)
        x = set_(x0)
        distances = x.reshape(-1, 4, 2).diff(dim=1).square().sum(-1).sqrt()
        assert float((distances - LENGTHS).abs().max()) <= 1e-14 * max(1.0, float(x.abs().max()))
        assert float(set_.violation(x).max()) <= 1e-14
        # Forces along the links only, equal and opposite at their two ends: the multipliers, which cannot turn the
        # whole. The centre of mass does not move.
        torch.testing.assert_close(x.reshape(-1, 4, 2).mean(1), x0.reshape(-1, 4, 2).mean(1), atol=1e-9, rtol=0)


def test_the_nearest_point_of_an_ellipse_is_that_of_a_fine_grid():
    """A few starts near the long axis have two local solutions and may find the farther one."""
    x0 = 3 * normal(1, torch.arange(1000), 2)
    x = SmoothSet(ellipse, 2)(x0)
    angle = torch.linspace(0, 2 * torch.pi, 20_001, dtype=F64)
    grid = torch.stack([3 * angle.cos(), angle.sin()], -1)
    best = torch.cdist(x0, grid).amin(-1)
    excess = torch.linalg.vector_norm(x - x0, dim=-1) - best
    assert float((excess > 1e-4).double().mean()) <= 0.005
    assert float(excess.min()) >= -3 * torch.pi / 20_000  # half a step of the grid
    # Of every one: x₀ − x is normal to the ellipse.
    gradient = torch.stack([2 * x[:, 0] / 9, 2 * x[:, 1]], -1)
    away = x0 - x
    cross = away[:, 0] * gradient[:, 1] - away[:, 1] * gradient[:, 0]
    assert float((cross / (1 + torch.linalg.vector_norm(away, dim=-1))).abs().max()) <= 1e-7


def test_a_linear_constraint_gives_the_linear_projection():
    A, b = normal(4, torch.arange(2), 5), torch.tensor([1.0, -2.0], dtype=F64)
    x0 = 10 * normal(5, torch.arange(50), 5)
    x = SmoothSet(lambda x: A @ x - b, 5)(x0)
    torch.testing.assert_close(x, LinearSet(A=A, b=b)(x0), atol=1e-12, rtol=0)


@pytest.mark.parametrize(("constraint", "dim", "rows"), [(sphere, 3, 3), (ellipse, 2, 3), (chain, 8, 1)])
def test_gradients_are_those_of_finite_differences(constraint, dim, rows):
    x0 = (1.5 * normal(2, torch.arange(rows), dim)).requires_grad_()
    assert torch.autograd.gradcheck(SmoothSet(constraint, dim), (x0,), eps=1e-6, atol=1e-6)


class Radius(nn.Module):
    """A sphere whose radius is a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.radius = nn.Parameter(torch.tensor(2.0, dtype=F64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * x).sum()[None] - self.radius**2


def test_gradients_reach_the_parameters_of_the_constraint():
    set_ = SmoothSet(Radius(), 3)
    x0 = normal(2, torch.arange(10), 3)
    set_(x0)[:, 0].sum().backward()
    expected = (x0[:, 0] / torch.linalg.vector_norm(x0, dim=-1)).sum()  # x = r x₀/|x₀|
    (radius,) = set_.parameters()
    assert radius.grad is not None
    assert float(radius.grad) == pytest.approx(float(expected), abs=1e-12)


def test_rows_do_not_influence_each_other():
    set_ = SmoothSet(chain, 8)
    x0 = 2 * normal(1, torch.arange(256), 8)
    other = 10 * normal(9, torch.arange(256), 8)
    other[0] = x0[0]
    assert torch.equal(set_(other)[0], set_(x0)[0])


def test_a_projected_density_draws_chains_the_same_wherever_they_stand_in_a_block():
    density = Projected(isotropic(8, 1.0), SmoothSet(chain, 8))
    drawn = draw(density, n=200, seed=3, block=128)
    assert drawn.log_prob is None
    assert float(density.projection.violation(drawn.x).max()) <= 1e-14
    for first in (1, 3):
        assert torch.equal(draw(density, n=40, seed=3, first=first, block=128).x, drawn.x[first : first + 40])


def test_an_odd_number_of_coordinates_does_not_change_the_last_bits_either():
    weights = torch.tensor([4.0, 3.0, 2.0, 1.0, 0.5], dtype=F64)
    set_ = SmoothSet(lambda x: (weights * x * x).sum()[None] - 1, 5)
    x0 = normal(3, torch.arange(200), 5)
    together = set_(x0)
    for first in (1, 3):
        assert torch.equal(set_(torch.roll(x0, -first, 0)), torch.roll(together, -first, 0))


def test_where_there_is_no_nearest_point_it_says_so():
    with pytest.raises(DensityError, match=r"1 of 2 rows have no projection, the first is row 1, \[0\.0, 0\.0, 0\.0\]"):
        SmoothSet(sphere, 3)(torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], dtype=F64))
    with pytest.raises(DensityError, match="3 of 3 rows have no projection"):
        SmoothSet(lambda x: (x * x).sum()[None] + 1, 2)(normal(1, torch.arange(3), 2))
    with pytest.raises(DensityError, match=r"gave shape \(\) for a point of 3 numbers"):
        SmoothSet(lambda x: (x * x).sum(), 3)
    with pytest.raises(DensityError, match=r"got points of shape \(1, 2\), expected \(batch, 3\)"):
        SmoothSet(sphere, 3)(torch.zeros(1, 2, dtype=F64))
    with pytest.raises(DensityError, match="got bounds b"):
        SmoothSet(sphere, 3)(torch.ones(1, 3, dtype=F64), b=torch.zeros(1, dtype=F64))
