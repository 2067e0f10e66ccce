"""Directions that a score depends on, learnt from its values alone.

A kernel ridge regression f̂ of the score is fitted, the mean outer product of its gradients

    M = Σ_i ω_i ∇f̂(z_i) ∇f̂(z_i)ᵀ

becomes the metric of the next fit's kernel, and so on: with each round distances count what matters and forget what
does not. The eigenvectors of M, largest first, are the directions. The norm ‖z‖ is a further input with a scale of its
own, so that what depends on the radius alone adds no direction. (Radhakrishnan, Beaglehole, Pandit & Belkin, *Mechanism
for feature learning in neural networks and backpropagation-free machine learning models*, 2024; the mean outer product
is that of Samarov, *Exploring regression structure using nonparametric functional estimation*, 1993, and of
Constantine, *Active subspaces*, 2015.)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

ROUNDS = 4
RIDGE = 1e-3
"""Added to the diagonal of the kernel matrix, whose own diagonal is 1."""
FLOOR = 1e-3
"""Share of the metric that is the same in all directions, so that none is lost for good."""
EXPLAINED = 1e-6
"""Where a linear function of z, ‖z‖ and ‖z‖² leaves less than this share of the values, no kernel is fitted."""


@dataclass(frozen=True, eq=False)
class ActiveSubspace:
    """``directions`` (dim, dim), orthonormal columns, most important first; ``strength`` (dim,), the mean squared slope
    along each; ``metric`` (dim, dim), for the next fit to start from."""

    directions: Float[Tensor, "dim dim"]
    strength: Float[Tensor, " dim"]
    metric: Float[Tensor, "dim dim"]


def active_subspace(
    z: Float[Tensor, "batch dim"],
    values: Float[Tensor, " batch"],
    weights: Float[Tensor, " batch"],
    *,
    metric: Float[Tensor, "dim dim"] | None = None,
    rounds: int = ROUNDS,
) -> ActiveSubspace:
    """The active subspace of ``values`` as a function of ``z``.

    ``weights``  (batch,) positive, at most 1: how much each value counts
    ``metric``   of an earlier fit, to start from; None: the identity
    """
    dim = z.shape[1]
    eye = torch.eye(dim, dtype=z.dtype, device=z.device)
    radius = z.norm(dim=1, keepdim=True)
    level, rest = _trend(z, radius, values, weights)
    share = weights / weights.sum()
    product = torch.outer(level, level)
    metric = eye / dim if metric is None else metric
    explained = float((share * rest**2).sum().sqrt()) <= EXPLAINED * float((share * values**2).sum().sqrt())
    far = (radius - radius.T) ** 2
    far = far / (2 * far.mean()).clamp_min(1e-300)
    for _ in range(0 if explained else rounds):
        square = _squared_distances(z, metric)
        scale = square.mean()
        kernel = torch.exp(-square / scale - far)
        factor = torch.linalg.cholesky(kernel + torch.diag(RIDGE / weights))
        pull = kernel * torch.cholesky_solve(rest[:, None], factor)[:, 0]
        # ∇f̂(z_j) = b − (2/scale) M Σ_i α_i κ(z_j, z_i) (z_j − z_i), ‖z‖ held
        gradient = level - (2 / scale) * (pull.sum(1, keepdim=True) * z - pull @ z) @ metric
        product = gradient.T @ (share[:, None] * gradient)
        metric = (1 - FLOOR) * product / product.trace().clamp_min(1e-300) + FLOOR / dim * eye
    strength, directions = torch.linalg.eigh(product)
    return ActiveSubspace(directions.flip(1), strength.flip(0).clamp_min(0.0), metric)


def _trend(z: Tensor, radius: Tensor, values: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes in z of the weighted linear fit in (1, z, ‖z‖, ‖z‖²), and what it leaves."""
    inputs = torch.cat([torch.ones_like(radius), z, radius, radius**2], dim=1)
    scaled = weights.sqrt()[:, None] * inputs
    size = scaled.norm(dim=0).clamp_min(1e-300)
    scaled = scaled / size
    gram = scaled.T @ scaled + 1e-10 * torch.eye(len(size), dtype=z.dtype, device=z.device)
    slopes = torch.linalg.solve(gram, scaled.T @ (weights.sqrt() * values)) / size
    return slopes[1 : 1 + z.shape[1]], values - inputs @ slopes


def _squared_distances(z: Tensor, metric: Tensor) -> Tensor:
    """(batch, batch) (z_i − z_j)ᵀ M (z_i − z_j)."""
    moved = z @ metric
    own = (moved * z).sum(1)
    return (own[:, None] + own[None, :] - 2 * moved @ z.T).clamp_min(0.0)
