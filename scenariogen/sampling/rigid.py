"""Sets of points up to rigid motions: the centre-of-mass-free subspace, its normal density, rotations, mirror images.

A density that does not change under translations cannot be normalised on all of ℝⁿᴰ. It can on the subspace of
configurations x ∈ ℝⁿˣᴰ with Σᵢ xᵢ = 0, of dimension (n − 1)D. With B ∈ ℝⁿˣ⁽ⁿ⁻¹⁾ orthonormal and Bᵀ1 = 0,

    x = B z,    z = Bᵀ x,    |x| = |z|,

so that Lebesgue measure of z is Lebesgue measure on the subspace, whichever B is taken, and z standard normal gives

    log p(x) = −½ |x − x̄|² − ½ (n − 1) D log 2π,

which rotations, mirror images and permutations leave as it is (Köhler, Klein & Noé, *Equivariant flows: exact
likelihood generative learning for symmetric densities*, 2020). Every density here centres what it is given first: it
is a density of configurations up to translation.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from scenariogen.errors import DensityError, Problems
from scenariogen.randomness import child_seed, normal, uniform
from scenariogen.sampling.contract import ConditionalDensity, Distribution, check_context, check_finite


def check_shape(points: int, dim: int) -> None:
    """``DensityError`` unless there are at least 2 points in 2 or 3 dimensions."""
    problems = Problems("a set of points")
    if points < 2:
        problems.add(f"got {points} points, expected at least 2")
    if dim not in (2, 3):
        problems.add(f"got points in {dim} dimensions, expected 2 or 3")
    problems.raise_as(DensityError)


def check_scale(scale: float) -> None:
    """``DensityError`` unless ``scale`` is a positive number."""
    if not (math.isfinite(scale) and scale > 0):
        raise DensityError(f"got a scale of {scale}, expected a positive number")


def check_points(x: Tensor, points: int, dim: int) -> None:
    """``DensityError`` unless ``x`` has shape (batch, points, dim) and is finite."""
    if x.dim() != 3 or x.shape[1:] != (points, dim):
        raise DensityError(f"got points of shape {tuple(x.shape)}, expected (batch, {points}, {dim})")
    check_finite(x, "the points")


def subspace_basis(points: int, *, dtype: torch.dtype = torch.float64) -> Float[Tensor, "point reduced"]:
    """B of shape (points, points − 1): orthonormal columns that each sum to 0 (Helmert's matrix).

    Column k compares point k with the mean of those before it.
    """
    k = torch.arange(1, points, dtype=dtype)
    i = torch.arange(points, dtype=dtype)[:, None]
    column = torch.where(i < k, torch.ones_like(k), torch.where(i == k, -k, torch.zeros_like(k)))
    return column / torch.sqrt(k * (k + 1))


def centred(x: Float[Tensor, "*batch point dim"]) -> Float[Tensor, "*batch point dim"]:
    """x less its centre of mass."""
    return x - x.mean(-2, keepdim=True)


def to_points(
    z: Float[Tensor, "batch reduced"], basis: Float[Tensor, "point less"]
) -> Float[Tensor, "batch point dim"]:
    """x = B z: from (points − 1)·dim coordinates in a row to centred points."""
    reduced = z.reshape(len(z), basis.shape[1], z.shape[1] // basis.shape[1])
    # Sums, not products of matrices: see .layers. Centred once more, since the basis sums to 0 up to rounding only.
    return centred((basis[..., None] * reduced[:, None]).sum(2))


def from_points(
    x: Float[Tensor, "batch point dim"], basis: Float[Tensor, "point less"]
) -> Float[Tensor, "batch reduced"]:
    """z = Bᵀ x: the coordinates of the configuration up to translation, (points − 1)·dim in a row."""
    return (basis.T[..., None] * x[:, None]).sum(2).flatten(1)


def centred_normal_log_prob(x: Float[Tensor, "batch point dim"], scale: float = 1.0) -> Float[Tensor, " batch"]:
    """log-density of centred normal points of standard deviation ``scale``, on the subspace; x is centred first."""
    free = (x.shape[1] - 1) * x.shape[2]
    return -0.5 * (centred(x) / scale).square().sum((1, 2)) - free * (0.5 * math.log(2 * math.pi) + math.log(scale))


CENTRED = "Lebesgue on the centre-of-mass-free subspace"
"""The measure that densities of centred points refer to."""


class CentredNormalDistribution(Distribution):
    """x = scale · B z with z standard normal."""

    def __init__(self, basis: Tensor, dim: int, scale: float) -> None:
        self.basis, self.dim, self.scale = basis, dim, scale
        self.noise_columns = basis.shape[1] * dim

    def sample(self, noise: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch point dim"]:
        return self.scale * to_points(torch.special.ndtri(noise), self.basis)

    def log_prob(self, x: Float[Tensor, "batch point dim"]) -> Float[Tensor, " batch"]:
        check_points(x, self.basis.shape[0], self.dim)
        return centred_normal_log_prob(x, self.scale)


class CentredNormal(ConditionalDensity):
    """Normal points whose centre of mass is at 0: the density that rigid motions and permutations leave as it is.

    Draws have shape (batch, points, dim). ``DensityError`` where there are fewer than 2 points, other than 2 or 3
    dimensions, or a scale that is not positive.
    """

    basis: Tensor

    def __init__(self, points: int, dim: int, *, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        check_shape(points, dim)
        check_scale(scale)
        self.points, self.dim, self.scale = points, dim, scale
        self.measure = CENTRED
        self.register_buffer("basis", subspace_basis(points, dtype=dtype))

    def forward(self, context: Float[Tensor, "batch context"]) -> CentredNormalDistribution:
        check_context(context, self.context_width)
        return CentredNormalDistribution(self.basis, self.dim, self.scale)


def mirrored(x: Float[Tensor, "*batch point dim"]) -> Float[Tensor, "*batch point dim"]:
    """The mirror image: the first coordinate changes its sign."""
    return torch.cat([-x[..., :1], x[..., 1:]], dim=-1)


def rotations(noise: Float[Tensor, "batch columns"], dim: int) -> Float[Tensor, "batch dim dim2"]:
    """Rotations drawn evenly over the group, from uniform noise: 1 column in the plane, 3 in space.

    In space a unit quaternion is drawn evenly from the sphere (Shoemake, *Uniform random rotations*, 1992).
    """
    columns = 1 if dim == 2 else 3
    if dim not in (2, 3) or noise.shape[1] != columns:
        raise DensityError(f"got {noise.shape[1]} columns of noise for dim = {dim}: expected 1 for 2, 3 for 3")
    turn = 2 * math.pi * noise
    if dim == 2:
        cos, sin = turn[:, 0].cos(), turn[:, 0].sin()
        return torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    low, high = (1 - noise[:, 0]).sqrt(), noise[:, 0].sqrt()
    x, y = low * turn[:, 1].sin(), low * turn[:, 1].cos()
    z, w = high * turn[:, 2].sin(), high * turn[:, 2].cos()
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


@dataclass(frozen=True, eq=False)
class Motions:
    """One rigid motion and one relabelling per row: x ↦ (x Rᵀ + shift)[order].

    ``rotation`` (batch, dim, dim), with determinant −1 where the motion mirrors; ``shift`` (batch, dim); ``order``
    (batch, points), the old index of each new point.
    """

    rotation: Float[Tensor, "batch dim dim2"]
    shift: Float[Tensor, "batch dim"]
    order: Int[Tensor, "batch point"]

    def __len__(self) -> int:
        return len(self.rotation)

    def __call__(self, x: Float[Tensor, "batch point dim"]) -> Float[Tensor, "batch point dim"]:
        return self.turn(x) + self.shift[:, None]

    def turn(self, x: Float[Tensor, "batch point dim"]) -> Float[Tensor, "batch point dim"]:
        """Without the shift: what happens to directions, velocities and forces."""
        return self.relabel(x @ self.rotation.transpose(1, 2))

    def relabel(self, rows: Float[Tensor, "batch point width"]) -> Float[Tensor, "batch point width"]:
        """Only the relabelling: what happens to each point's own invariant numbers."""
        return rows.gather(1, self.order[..., None].expand_as(rows))


def random_motions(
    seed: int,
    batch: int,
    *,
    points: int,
    dim: int,
    reflections: bool = False,
    shift: float = 1.0,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float64,
) -> Motions:
    """Rotations and permutations drawn evenly, normal shifts of size ``shift``: for augmentation and tests.

    With ``reflections`` each motion is a mirror image with probability ½. Row k depends on the seed and k alone.
    """
    rows = torch.arange(batch, device=device)
    rotation = rotations(uniform(child_seed(seed, "rotation"), rows, 1 if dim == 2 else 3), dim)
    if reflections:
        mirror = uniform(child_seed(seed, "mirror"), rows, 1)[..., None] < 0.5
        rotation = torch.where(mirror, mirrored(rotation), rotation)
    return Motions(
        rotation.to(dtype),
        (shift * normal(child_seed(seed, "shift"), rows, dim)).to(dtype),
        uniform(child_seed(seed, "order"), rows, points).argsort(1),
    )


def aligned(
    x: Float[Tensor, "batch point dim"],
    onto: Float[Tensor, "batch point dim"],
    *,
    reflections: bool = False,
    rounds: int = 2,
) -> Float[Tensor, "batch point dim"]:
    """Centred ``x`` relabelled and turned, in turns, to lie near centred ``onto``; a mirror image only where allowed.

    The relabelling is the best one for the turn so far (linear assignment), the turn the best one for the relabelling
    (Kabsch, *A solution for the best rotation to relate two sets of vectors*, 1976). No gradient goes through either.
    """
    with torch.no_grad():
        moved, target = centred(x), centred(onto)
        for _ in range(rounds):
            cost = torch.cdist(target, moved).square().cpu().numpy()
            order = torch.stack([torch.as_tensor(linear_sum_assignment(each)[1]) for each in cost]).to(x.device)
            moved = moved.gather(1, order[..., None].expand_as(moved))
            left, _, right = torch.linalg.svd(target.transpose(1, 2) @ moved)
            if not reflections:
                sign = torch.linalg.det(left @ right).sign()
                left = torch.cat([left[..., :-1], left[..., -1:] * sign[:, None, None]], dim=-1)
            moved = moved @ (left @ right).transpose(1, 2)
        return moved
