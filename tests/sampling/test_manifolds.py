"""Reparametrisations: volumes against autograd, densities that integrate to one, constraints met to the last digits."""

import math
from typing import Any

import pytest
import torch

from scenariogen.errors import DensityError
from scenariogen.randomness import normal, uniform
from scenariogen.sampling.chains import Chain, Sphere
from scenariogen.sampling.manifolds import Box, Manifold, Ordered, Simplex
from scenariogen.sampling.product import Product

INF = math.inf
F64 = torch.float64


def tensor(*values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=F64)


MANIFOLDS: dict[str, Manifold] = {
    "box": Box(tensor(-2.0, 0.0, -INF, -INF), tensor(3.0, INF, 1.0, INF)),
    "ordered": Ordered(4),
    "ordered from a bound": Ordered(3, lower=2.0),
    "ordered up to a bound": Ordered(3, upper=-1.0),
    "ordered in an interval": Ordered(3, lower=-1.0, upper=4.0),
    "simplex": Simplex(tensor(0.5, 0.0, 1.0, 2.0), total=10.0),
    "circle": Sphere(2),
    "sphere": Sphere(3),
    "sphere in six dimensions": Sphere(6),
    "chain in the plane": Chain(tensor(1.0, 2.5, 0.3)),
    "window, gaps and direction": Product(
        [Box(tensor(0.0), tensor(3600.0)), Simplex(tensor(2.0, 2.0, 2.0), total=50.0), Sphere(3)]
    ),
    "chain in space": Chain(tensor(1.0, 2.5), space=3, start=tensor(1.0, -2.0, 0.5)),
}


def chart(manifold: Manifold, x: torch.Tensor) -> torch.Tensor:
    """Coordinates in which the manifold's measure is that of a surface in Euclidean space."""
    if isinstance(manifold, Simplex):
        return x[:, :-1].flatten()
    if isinstance(manifold, Chain):
        links = x.diff(dim=1).flatten()
        return torch.cat([x[0, 0], links]) if manifold.free_start else links
    if isinstance(manifold, Product):
        parts = [chart(manifold.part(at), each) for at, each in enumerate(x.split(manifold.dims, -1))]
        return torch.cat(parts)
    return x.flatten()


def violation(manifold: Manifold, x: torch.Tensor) -> float:
    """The largest relative violation of an equality, by the definition of the set."""
    if isinstance(manifold, Simplex):
        return float((x.sum(-1) / manifold.total - 1).abs().max())
    if isinstance(manifold, Sphere):
        return float((x.square().sum(-1).sqrt() - 1).abs().max())
    if isinstance(manifold, Chain):
        return float((x.diff(dim=1).square().sum(-1).sqrt() / manifold.lengths - 1).abs().max())
    if isinstance(manifold, Product):
        return max(violation(manifold.part(at), each) for at, each in enumerate(x.split(manifold.dims, -1)))
    return 0.0


@pytest.mark.parametrize("name", MANIFOLDS)
def test_the_change_of_volume_is_autograds(name):
    manifold = MANIFOLDS[name]
    for y in normal(3, torch.arange(5), manifold.latent_dim).split(1):
        jacobian = torch.func.jacrev(lambda z: chart(manifold, manifold(z)[0]))(y)[:, 0]
        gram = 0.5 * torch.linalg.slogdet(jacobian.T @ jacobian)[1]
        assert float(manifold(y)[1]) == pytest.approx(float(gram), abs=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("name", MANIFOLDS)
def test_a_point_maps_back_to_where_it_came_from(name, dtype):
    manifold = MANIFOLDS[name]
    y = normal(5, torch.arange(1000), manifold.latent_dim).to(dtype)
    x, log_slope = manifold(y)
    assert x.dtype == log_slope.dtype == dtype and tuple(x.shape[1:]) == manifold.shape
    assert manifold.contains(x).all()
    torch.testing.assert_close(manifold.inverse(x), y, atol=1e-9 if dtype == F64 else 2e-2, rtol=0)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_constraints_are_met_to_rounding_error_by_draws_from_any_noise(name):
    manifold = MANIFOLDS[name]
    u = uniform(7, torch.arange(10_000), manifold.latent_dim)
    u[:2000] = u[:2000] ** 40  # down to 1e-150
    u[2000:3000] = 1 - u[2000:3000] * 1e-13
    y = torch.special.ndtri(u.clamp(1e-300, 1 - 2**-53))
    y[3000:3500] = 300 * torch.sign(y[3000:3500])  # far beyond what any noise gives
    x, log_slope = manifold(y)
    assert torch.isfinite(x).all() and torch.isfinite(log_slope).all()
    assert manifold.contains(x).all()
    # The free start of a chain is as long as the noise; distances are then differences of larger numbers.
    size = float(x.abs().max()) if isinstance(manifold, Chain) else 1.0
    assert violation(manifold, x) <= 1e-14 * max(1.0, size)
    if isinstance(manifold, Ordered):
        assert (x.diff(dim=-1) > 0).all() and (x > manifold.lower).all() and (x < manifold.upper).all()
    if isinstance(manifold, Box):
        assert (x > manifold.lower).all() and (x < manifold.upper).all()
    if isinstance(manifold, Simplex):
        assert (x > manifold.minimum).all()


@pytest.mark.parametrize(
    ("name", "outside"),
    [
        ("box", [[3.0, 1.0, 0.0, 0.0], [0.0, -1e-9, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 0.0, INF]]),
        ("ordered", [[1.0, 2.0, 2.0, 3.0], [1.0, 3.0, 2.0, 4.0]]),
        ("ordered from a bound", [[2.0, 3.0, 4.0], [1.0, 3.0, 4.0]]),
        ("ordered up to a bound", [[-3.0, -2.0, -1.0], [-3.0, -2.0, 1.0]]),
        ("ordered in an interval", [[-1.5, 0.0, 1.0], [0.0, 1.0, 4.5], [1.0, 0.0, 2.0]]),
        ("simplex", [[1.0, 1.0, 2.0, 5.9], [0.4, 1.0, 2.0, 6.6], [0.5, 1.0, 2.0, 6.5]]),
        ("circle", [[1.0, 1e-3], [0.0, 1.0], [0.0, 0.0]]),
        (
            "window, gaps and direction",
            [[9.0, 10, 20, 20.1, 0, 1, 0], [9.0, 10, 20, 20, 0, 1, 1], [-9.0, 10, 20, 20, 0, 1, 0]],
        ),
        (
            "chain in the plane",
            [[[0.0, 0.0], [1.0, 0.0], [3.5, 0.0], [3.5, -0.31]], [[0.0, 0.0], [0.0, 1.0], [2.5, 1.0], [2.8, 1.0]]],
        ),
        ("chain in space", [[[1.0, -2.0, 0.6], [1.0, -2.0, -0.4], [1.0, -2.0, -2.9]]]),
    ],
)
def test_points_outside_are_not_contained(name, outside):
    manifold = MANIFOLDS[name]
    points = torch.tensor(outside, dtype=F64)
    assert not manifold.contains(points).any()
    assert not manifold.contains(torch.full_like(points, math.nan)).any()


def test_points_inside_are_contained():
    points = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [3.5, 0.0], [3.5, -0.3]]], dtype=F64)
    assert MANIFOLDS["chain in the plane"].contains(points).all()
    product = tensor([9.0, 10.0, 20.0, 20.0, 0.0, 1.0, 0.0])
    assert MANIFOLDS["window, gaps and direction"].contains(product).all()


def test_values_too_close_for_their_sum_stay_in_order():
    x, _ = Ordered(4, lower=0.0, upper=1.0)(tensor(30.0, -30.0, -300.0, -700.0)[None])
    assert (x.diff(dim=-1) > 0).all() and float(x[0, -1]) < 1
    x, _ = Ordered(3)(tensor(1e6, -300.0, -300.0)[None])
    assert (x.diff(dim=-1) > 0).all()


def test_bounds_may_differ_from_row_to_row():
    totals = tensor(5.0, 50.0)
    x, log_slope = Simplex(tensor(1.0, 1.0), total=totals)(tensor([0.3], [0.3]))
    torch.testing.assert_close(x.sum(-1), totals)
    assert float(log_slope[1] - log_slope[0]) == pytest.approx(math.log(48 / 3), abs=1e-12)
    x, _ = Box(tensor([0.0], [10.0]), tensor([1.0], [12.0]))(tensor([0.0], [0.0]))
    torch.testing.assert_close(x, tensor([0.5], [11.0]))
    x, _ = Ordered(2, lower=tensor(0.0, 100.0), upper=tensor(3.0, 160.0))(torch.zeros(2, 2, dtype=F64))
    torch.testing.assert_close(x, tensor([1.0, 2.0], [120.0, 140.0]))


def test_a_standard_normal_spreads_over_the_sphere_and_not_around_one_pole():
    """On average as far north as south would be zero; the stereographic scale keeps it near that in any dimension."""
    for dim in (3, 10, 40):
        x, _ = Sphere(dim)(normal(1, torch.arange(20_000), dim - 1))
        assert abs(float(x[:, -1].mean())) < 0.2


def test_chains_far_from_the_origin_hold_in_single_precision():
    chain = Chain(tensor(5, 5, 0.5), start=tensor(1e4, 1e4))
    x = chain(normal(1, torch.arange(500), chain.latent_dim).float())[0]
    assert chain.contains(x).all()
    stretched = torch.cat([x[:, :1], x[:, 1:] + 0.02 * (x[:, 1:2] - x[:, :1])], 1)
    assert not chain.contains(stretched).any()


def test_bounds_that_are_one_number_in_the_precision_of_the_draws_are_refused():
    y = torch.zeros(2, 1)
    with pytest.raises(DensityError, match=r"fewer than 1 numbers of torch.float32 lie between lower 1700000000"):
        Box(tensor(1.7e9), tensor(1.7e9 + 60))(y)
    with pytest.raises(DensityError, match=r"fewer than 1 numbers of torch.float32 lie between lower 1700000000"):
        Ordered(1, lower=1.7e9, upper=1.7e9 + 60)(y)
    between = Ordered(3, lower=1.7e9, upper=1.7e9 + 512)  # 128 apart in single precision: three between, no fourth
    assert between.contains(between(torch.zeros(1, 3))[0]).all()
    with pytest.raises(DensityError, match=r"fewer than 4 numbers of torch.float32"):
        Ordered(4, lower=1.7e9, upper=1.7e9 + 512)(torch.zeros(1, 4))
    with pytest.raises(DensityError, match=r"nothing is free in torch.float32 beside minimums that sum to 2e\+09"):
        Simplex(tensor(1e9, 1e9), total=2e9 + 60)(y)
    assert Box(tensor(1.7e9), tensor(1.7e9 + 60))(y.double())[0].min() > 1.7e9


def test_points_that_cannot_be_told_from_the_pole_are_outside():
    sphere = Sphere(3)
    assert not sphere.contains(torch.tensor([[1e-30, 0.0, 1.0]])).any()
    assert sphere.contains(torch.tensor([[1e-15, 0.0, 1.0]])).all()
    assert torch.isfinite(sphere.inverse(torch.tensor([[1e-15, 0.0, 1.0]]))).all()


def test_bounds_of_two_shapes_are_one_box():
    assert Box(tensor(0.0), tensor(1.0, 2.0, 3.0)).shape == (3,)
    with pytest.raises(DensityError, match="coordinate 1: got lower 0 and upper -2"):
        Box(tensor(0.0, 0.0), tensor([1.0, -2.0], [1.0, 2.0]))
    box = Box(tensor(0.0, 0.0), tensor([1.0, 2.0], [3.0, 4.0]))
    torch.testing.assert_close(box(torch.zeros(2, 2, dtype=F64))[0], tensor([0.5, 1.0], [1.5, 2.0]))
    with pytest.raises(DensityError, match=r"got bounds of shapes \(2,\) and \(3,\)"):
        Box(tensor(0.0, 0.0), tensor(1.0, 2.0, 3.0))
    with pytest.raises(DensityError, match=r"got bounds of shape \(1, 1, 2\), expected \(dim,\) or \(batch, dim\)"):
        Box(tensor(0.0, 0.0), tensor([[1.0, 2.0]]))


def test_gradients_are_finite_at_and_around_the_centre():
    for name, manifold in MANIFOLDS.items():
        y = torch.cat([torch.zeros(1, manifold.latent_dim, dtype=F64), 500 * torch.eye(manifold.latent_dim).to(F64)])
        y.requires_grad_()
        x, log_slope = manifold(y if name != "box" else y.clamp(-100, 100))
        if name == "box":
            (x[0].sum() + log_slope[0]).backward()
        else:
            (x[0].sum() + log_slope.sum()).backward()
        assert y.grad is not None and torch.isfinite(y.grad).all(), name
    y = tensor([800.0, 0.0, 0.0, -800.0]).requires_grad_()  # exp(800) is not a number, and not used
    MANIFOLDS["box"](y)[0].sum().backward()
    assert y.grad is not None and torch.isfinite(y.grad).all()
    y = torch.zeros(1, 4, dtype=F64, requires_grad=True)
    MANIFOLDS["box"](y)[0].sum().backward()
    torch.testing.assert_close(y.grad, tensor([5 / 4, 1.0, -1.0, 1.0]))


def test_sets_that_are_none_say_every_fault():
    with pytest.raises(DensityError) as error:
        Box(tensor(0.0, 2.0, math.nan), tensor(0.0, 3.0, 1.0))
    assert len(error.value.problems) == 2 and "coordinate 0: got lower 0 and upper 0" in str(error.value)
    with pytest.raises(DensityError, match="got 0 values"):
        Ordered(0)
    with pytest.raises(DensityError, match=r"lower 2\.0 and upper 1\.0"):
        Ordered(2, lower=2.0, upper=1.0)
    with pytest.raises(DensityError, match="nothing is free"):
        Simplex(tensor(3.0, 4.0), total=7.0)
    with pytest.raises(DensityError, match="1 minimums are nan"):
        Simplex(tensor(3.0, math.nan), total=7.0)
    with pytest.raises(DensityError, match="expected at least 2"):
        Sphere(1)
    with pytest.raises(DensityError, match=r"shapes \[\(2, 2\)\], expected at least one part"):
        Product([Chain(tensor(1.0))])
    with pytest.raises(DensityError) as error:
        Chain(tensor(1.0, -1.0), start=tensor(0.0, 0.0, 0.0))
    assert len(error.value.problems) == 2
    with pytest.raises(DensityError, match=r"shape \(batch, 3\), got \(5, 2\)"):
        Simplex(tensor(0.0, 0.0, 0.0, 0.0), total=1.0)(torch.zeros(5, 2, dtype=F64))
