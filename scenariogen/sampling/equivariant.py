"""Networks on sets of points that rigid motions and permutations leave as they are, or move along.

Each point i has a state hᵢ that does not turn and a few vectors V_ia that do. In each round, with r_ij = xᵢ − xⱼ and
kernels e of the distance,

    m_ij = silu(A hᵢ + B hⱼ + C e(|r_ij|)),    V_ia ← V_ia + Σⱼ (P m_ij)_a r_ij / (1 + |r_ij|),
    hᵢ ← hᵢ + f(hᵢ, Σⱼ m_ij, V_ia · V_ib, χ_i),

with sums over j divided by √(n − 1). It sees distances, angles between sums of pair vectors, and nothing that depends
on where the points lie, how they are turned, or which is the first (Satorras, Hoogeboom & Welling, *E(n) equivariant
graph neural networks*, 2021; Schütt, Unke & Gastegger, *Equivariant message passing for the prediction of tensorial
properties and molecular spectra*, 2021). χ_i are the pseudo-scalars, which change their sign in a mirror: V_ia × V_ib
in the plane, det(V_ia, V_ib, V_ic) in space. They are left out where mirror images must be alike
(``reflections=True``); without them no network of this kind tells left from right.
"""

from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling.contract import check_finite
from scenariogen.sampling.layers import Linear, perceptron
from scenariogen.sampling.training import seeded

SOFTENING = 0.05
"""Distances are √(|r|² + SOFTENING²), so that the networks are smooth where two points meet."""

PUSH = 3.0
"""Factor on the first weights of the vectors."""


class Rounds(nn.Module):
    """States and vectors of every point after ``rounds`` rounds of messages between all pairs.

    ``features``  numbers that describe a point and do not turn with it, beside its position
    ``hidden``    width of states and messages
    ``vectors``   vectors of each point
    ``kernels``   Gaussians of the distance between 0 and ``reach``
    """

    centres: Tensor

    def __init__(
        self,
        dim: int,
        *,
        features: int,
        reflections: bool,
        hidden: int,
        rounds: int,
        vectors: int,
        kernels: int,
        reach: float,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        problems = Problems("a network on points")
        if dim not in (2, 3):
            problems.add(f"got points in {dim} dimensions, expected 2 or 3")
        if not reflections and vectors < dim:
            problems.add(f"got {vectors} vectors a point, expected at least {dim} to tell mirror images apart")
        if kernels < 2 or not reach > 0:
            problems.add(f"got {kernels} kernels up to {reach}, expected at least 2 and a positive reach")
        problems.raise_as(DensityError)
        self.dim, self.features, self.reflections, self.vectors = dim, features, reflections, vectors
        self.width = reach / (kernels - 1)
        self.register_buffer("centres", torch.linspace(0.0, reach, kernels, dtype=dtype))
        self.inner = [(a, b) for a in range(vectors) for b in range(a, vectors)]
        self.chiral = [] if reflections else list(combinations(range(vectors), dim))

        def linear(inputs: int, outputs: int, *, bias: bool = True) -> Linear:
            return Linear(inputs, outputs, bias=bias, dtype=dtype)

        seen = 2 * hidden + len(self.inner) + len(self.chiral)
        self.enter = linear(features, hidden) if features else None
        self.start = nn.Parameter(torch.randn(hidden, dtype=dtype))
        self.own = nn.ModuleList(linear(hidden, hidden) for _ in range(rounds))
        self.other = nn.ModuleList(linear(hidden, hidden, bias=False) for _ in range(rounds))
        self.distance = nn.ModuleList(linear(kernels, hidden, bias=False) for _ in range(rounds))
        self.push = nn.ModuleList(linear(hidden, vectors, bias=False) for _ in range(rounds))
        with torch.no_grad():  # vectors that start nearly parallel span next to nothing, and chirality is learnt late
            for layer in self.push.parameters():
                layer.mul_(PUSH)
        self.update = nn.ModuleList(
            nn.Sequential(linear(seen, hidden), nn.SiLU(), linear(hidden, hidden)) for _ in range(rounds)
        )

    def forward(
        self, x: Float[Tensor, "batch point dim"], features: Float[Tensor, "batch point feature"] | None
    ) -> tuple[Float[Tensor, "batch point hidden"], Float[Tensor, "batch point dim vector"]]:
        """States (batch, point, hidden) and vectors (batch, point, dim, vector)."""
        self.check(x, features)
        difference = x[:, :, None] - x[:, None]
        distance = (difference.square().sum(-1, keepdim=True) + SOFTENING**2).sqrt()
        kernels = torch.exp(-0.5 * ((distance - self.centres) / self.width).square())
        direction = (difference / (1 + distance)).transpose(2, 3)  # (batch, point, dim, other point)
        others = (1 - torch.eye(x.shape[1], dtype=x.dtype, device=x.device))[..., None]
        size = max(1, x.shape[1] - 1) ** -0.5
        state = self.start.expand(*x.shape[:2], -1)
        if self.enter is not None and features is not None:
            state = state + self.enter(features)
        vectors = x.new_zeros((*x.shape, self.vectors))
        rounds = zip(self.own, self.other, self.distance, self.push, self.update, strict=True)
        for own, other, near, push, update in rounds:
            message = nn.functional.silu(own(state)[:, :, None] + other(state)[:, None] + near(kernels))
            vectors = vectors + size * (direction[..., None] * push(message)[:, :, None]).sum(3)
            heard = size * (others * message).sum(2)
            state = state + update(torch.cat([state, heard, self._scalars(vectors)], dim=-1))
        return state, vectors

    def _scalars(self, vectors: Tensor) -> Tensor:
        """What of a point's vectors does not turn: inner products, and pseudo-scalars where mirror images differ."""
        products = torch.stack([(vectors[..., a] * vectors[..., b]).sum(-1) for a, b in self.inner], dim=-1)
        if not self.chiral:
            return products
        picked = torch.stack([vectors[..., list(each)] for each in self.chiral], dim=2)
        return torch.cat([products, determinant(picked)], dim=-1)

    def check(self, x: Tensor, features: Tensor | None) -> None:
        """``DensityError`` for points in other dimensions, other features, or numbers that are not finite."""
        problems = Problems("a network on points")
        if x.dim() != 3 or x.shape[2] != self.dim:
            problems.add(f"got points of shape {tuple(x.shape)}, expected (batch, point, {self.dim})")
        got = 0 if features is None else features.shape[-1]
        if got != self.features:
            problems.add(f"got {got} features a point, expected {self.features}")
        problems.raise_as(DensityError)
        check_finite(x, "the points")
        if features is not None:
            check_finite(features, "the features")


def determinant(columns: Float[Tensor, "*batch dim dim2"]) -> Float[Tensor, "*batch"]:
    """The signed area or volume that 2 or 3 vectors span, (…) from (…, dim, dim)."""
    if columns.shape[-1] == 2:
        return columns[..., 0, 0] * columns[..., 1, 1] - columns[..., 0, 1] * columns[..., 1, 0]
    a, b, c = columns.unbind(-1)
    return (a * torch.linalg.cross(b, c)).sum(-1)


class InvariantNetwork(nn.Module):
    """``outputs`` numbers of a set of points: Σᵢ g(hᵢ), as they would be if the points were moved, turned or renamed.

    ``reflections``  off, mirror images may differ; on, they cannot
    ``features``     numbers of each point that do not turn with it, given beside the positions

    The read-out is a sum over the points, as energies are, and the number of points is free. ``DensityError`` for other
    dimensions than 2 and 3 and numbers that are not finite.
    """

    def __init__(
        self,
        dim: int,
        outputs: int = 1,
        *,
        features: int = 0,
        reflections: bool = False,
        hidden: int = 32,
        rounds: int = 2,
        vectors: int = 4,
        kernels: int = 16,
        reach: float = 5.0,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.rounds, self.leave = seeded(
            lambda: nn.ModuleList(
                [
                    Rounds(
                        dim,
                        features=features,
                        reflections=reflections,
                        hidden=hidden,
                        rounds=rounds,
                        vectors=vectors,
                        kernels=kernels,
                        reach=reach,
                        dtype=dtype,
                    ),
                    perceptron(hidden, outputs, hidden=hidden, layers=1, zero=False, dtype=dtype),
                ]
            ),
            seed=seed,
        )

    def forward(
        self,
        x: Float[Tensor, "batch point dim"],
        features: Float[Tensor, "batch point feature"] | None = None,
    ) -> Float[Tensor, "batch outputs"]:
        """(batch, outputs)."""
        state, _ = self.rounds(x, features)
        return self.leave(state).sum(1)


class EquivariantNetwork(nn.Module):
    """``vectors_out`` vectors of each point that move along with the points, and ``scalars_out`` numbers that do not.

    A vector is Σ_a s_a(hᵢ) D_ia, D_ia the vectors of point i and, where mirror images may differ, those turned by 90°
    (plane) or their cross products (space). The scalars s_a of the vectors start at zero.
    """

    def __init__(
        self,
        dim: int,
        vectors_out: int = 1,
        scalars_out: int = 0,
        *,
        features: int = 0,
        reflections: bool = False,
        hidden: int = 32,
        rounds: int = 2,
        vectors: int = 4,
        kernels: int = 16,
        reach: float = 5.0,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.vectors_out, self.scalars_out = vectors_out, scalars_out
        self.turned = [] if reflections else list(combinations(range(vectors), dim - 1))
        directions = vectors + len(self.turned)
        self.rounds, self.leave = seeded(
            lambda: nn.ModuleList(
                [
                    Rounds(
                        dim,
                        features=features,
                        reflections=reflections,
                        hidden=hidden,
                        rounds=rounds,
                        vectors=vectors,
                        kernels=kernels,
                        reach=reach,
                        dtype=dtype,
                    ),
                    perceptron(hidden, vectors_out * directions + scalars_out, hidden=hidden, layers=1, dtype=dtype),
                ]
            ),
            seed=seed,
        )

    def forward(
        self,
        x: Float[Tensor, "batch point dim"],
        features: Float[Tensor, "batch point feature"] | None = None,
    ) -> tuple[Float[Tensor, "batch point vector dim"], Float[Tensor, "batch point scalar"]]:
        """Vectors (batch, point, vectors_out, dim) and scalars (batch, point, scalars_out)."""
        state, vectors = self.rounds(x, features)
        directions = torch.cat([vectors, *self._chiral(vectors)], dim=-1)  # (batch, point, dim, direction)
        out = self.leave(state)
        weight, scalars = out[..., : out.shape[-1] - self.scalars_out], out[..., out.shape[-1] - self.scalars_out :]
        weight = weight.unflatten(-1, (self.vectors_out, directions.shape[-1]))
        return (weight[..., None, :] * directions[:, :, None]).sum(-1), scalars

    def _chiral(self, vectors: Tensor) -> list[Tensor]:
        """Directions that a mirror image turns the other way."""
        if not self.turned:
            return []
        if vectors.shape[2] == 2:
            return [torch.stack([-vectors[:, :, 1], vectors[:, :, 0]], dim=2)]
        first, second = zip(*self.turned, strict=True)
        return [torch.linalg.cross(vectors[..., list(first)], vectors[..., list(second)], dim=2)]
