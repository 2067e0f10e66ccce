"""Rare events of a standard normal vector whose probability is known in closed form or by quadrature.

Each problem gives a score z (batch, dim) → (batch,) that is above ``threshold`` with probability ``probability``.
Directions and planes are drawn anew for each ``seed``, so that no coordinate is special.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.stats import chi2, norm
from torch import Tensor

from scenariogen.randomness import normal

TARGET = 1e-6


@dataclass(frozen=True, kw_only=True)
class RareProblem:
    """``score`` is above ``threshold`` with ``probability``."""

    name: str
    dim: int
    score: Callable[[Tensor], Tensor]
    threshold: float
    probability: float


def random_frame(dim: int, columns: int, seed: int) -> Tensor:
    """Orthonormal columns in a random direction, (dim, columns)."""
    gaussian = normal(seed, torch.arange(dim), columns)
    return torch.linalg.qr(gaussian)[0]


def half_space(dim: int, seed: int, *, probability: float = TARGET) -> RareProblem:
    """a·z above its quantile, a of length 1 in a random direction."""
    a = random_frame(dim, 1, seed)[:, 0]
    return RareProblem(
        name="half-space", dim=dim, score=lambda z: z @ a.to(z), threshold=float(norm.isf(probability)),
        probability=probability,
    )  # fmt: skip


def two_half_spaces(dim: int, seed: int, *, share: float = 0.7, probability: float = TARGET) -> RareProblem:
    """a·z far out on either side; the positive side has ``share`` of the probability."""
    a = random_frame(dim, 1, seed)[:, 0]
    right, left = float(norm.isf(share * probability)), float(norm.isf((1 - share) * probability))

    def score(z: Tensor) -> Tensor:
        along = z @ a.to(z)
        return torch.maximum(along - right, -along - left)

    return RareProblem(
        name=f"two half-spaces {share:.0%}", dim=dim, score=score, threshold=0.0, probability=probability
    )


def shell(dim: int, seed: int = 0, *, probability: float = TARGET) -> RareProblem:
    """‖z‖ above its quantile."""
    return RareProblem(
        name="shell", dim=dim, score=lambda z: z.norm(dim=1), threshold=math.sqrt(float(chi2.isf(probability, dim))),
        probability=probability,
    )  # fmt: skip


def thin_shell(dim: int, seed: int = 0, *, probability: float = TARGET) -> RareProblem:
    """r₁ < ‖z‖ < r₂, where half of the probability beyond r₁ lies beyond r₂."""
    inner = math.sqrt(float(chi2.isf(2 * probability, dim)))
    outer = math.sqrt(float(chi2.isf(probability, dim)))

    def score(z: Tensor) -> Tensor:
        radius = z.norm(dim=1)
        return torch.minimum(radius - inner, outer - radius)

    return RareProblem(name="thin shell", dim=dim, score=score, threshold=0.0, probability=probability)


# Each branch: direction in degrees, distance beyond the common one, curvature of its border at its nearest point
# (positive: the border bends away from the origin, negative: towards it).
_BRANCHES = ((15.0, 0.0, 0.06), (115.0, 0.15, -0.08), (235.0, 0.3, 0.12))


def _branch_scores(first, second, beta: float):
    """Score of each curved branch at plane coordinates (first, second); above 0 beyond its border."""
    for degrees, extra, curvature in _BRANCHES:
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        along, across = c * first + s * second, -s * first + c * second
        yield along - curvature * across**2 - beta - extra


@cache
def _series_probability(beta: float) -> float:
    """P(any branch beyond its border) by quadrature over angle and radius in the plane."""
    angle = (np.arange(720) + 0.5) * (2 * math.pi / 720)
    radius = np.linspace(0.0, 12.0, 1501)
    first, second = radius[:, None] * np.cos(angle), radius[:, None] * np.sin(angle)
    beyond = np.max(np.stack([np.asarray(each) for each in _branch_scores(first, second, beta)]), axis=0)
    total = 0.0
    for column in beyond.T:  # every sign change along a ray, placed by linear interpolation between knots
        sign = column > 0
        change = np.flatnonzero(sign[1:] != sign[:-1])
        at = radius[change] + (radius[1] - radius[0]) * column[change] / (column[change] - column[change + 1])
        tails = np.exp(-0.5 * at**2)  # P(R > at)
        total += float(np.sum(np.where(sign[change + 1], tails, -tails))) + float(sign[0])
    return total / len(angle)


@cache
def _series_beta(probability: float) -> float:
    root = brentq(lambda beta: math.log(_series_probability(beta) / probability), 2.0, 7.0, xtol=1e-10)
    return float(root)  # pyright: ignore[reportArgumentType]


def curved_series(dim: int, seed: int, *, probability: float = TARGET) -> RareProblem:
    """The union of three curved branches in a random plane."""
    plane = random_frame(dim, 2, seed)
    beta = _series_beta(probability)

    def score(z: Tensor) -> Tensor:
        at = z @ plane.to(z)
        return torch.stack(list(_branch_scores(at[:, 0], at[:, 1], beta))).amax(0)

    return RareProblem(name="curved series", dim=dim, score=score, threshold=0.0, probability=_series_probability(beta))


PROBLEMS: dict[str, Callable[[int, int], RareProblem]] = {
    "half-space": half_space,
    "two half-spaces": two_half_spaces,
    "shell": shell,
    "curved series": curved_series,
}
