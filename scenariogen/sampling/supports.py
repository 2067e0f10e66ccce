"""Where a number may lie, and how it is carried to [0, 1].

A support has a base distribution with CDF B: uniform on an interval, exponential on a half-line, logistic on the real
line. x = B⁻¹(u) carries a density f on [0, 1] to p(x) = f(B(x)) B′(x). The maps are exact and keep both u and 1 − u to
full precision, so that nothing is lost in tails.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from scenariogen.errors import DensityError


class Unit(NamedTuple):
    """Points of [0, 1] by their distances from both ends: ``below`` is u and ``above`` is 1 − u, exact at both."""

    below: Tensor
    above: Tensor


class Support(ABC):
    """A part of the real line and the CDF B of its base distribution."""

    @abstractmethod
    def contains(self, x: Tensor) -> Tensor:
        """Whether each point lies in the support."""

    @abstractmethod
    def unit(self, x: Tensor) -> Unit:
        """B(x) and 1 − B(x); 0 and 1 beyond the ends."""

    @abstractmethod
    def point(self, u: Unit) -> Tensor:
        """B⁻¹(u)."""

    @abstractmethod
    def log_slope(self, x: Tensor) -> Tensor:
        """log B′(x) inside the support."""


@dataclass(frozen=True)
class Interval(Support):
    """[low, high] with the uniform distribution."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise DensityError(f"got an interval from {self.low} to {self.high}, expected finite ends, low < high")

    def contains(self, x: Tensor) -> Tensor:
        return (x >= self.low) & (x <= self.high)

    def unit(self, x: Tensor) -> Unit:
        width = self.high - self.low
        return Unit(((x - self.low) / width).clamp(0.0, 1.0), ((self.high - x) / width).clamp(0.0, 1.0))

    def point(self, u: Unit) -> Tensor:
        width = self.high - self.low
        x = torch.where(u.below <= u.above, self.low + width * u.below, self.high - width * u.above)
        return x.clamp(self.low, self.high)

    def log_slope(self, x: Tensor) -> Tensor:
        return torch.full_like(x, -math.log(self.high - self.low))


@dataclass(frozen=True)
class HalfLine(Support):
    """[start, ∞) with the exponential distribution of mean ``scale``."""

    start: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check_scale(self.start, self.scale)

    def contains(self, x: Tensor) -> Tensor:
        return (x >= self.start) & torch.isfinite(x)

    def unit(self, x: Tensor) -> Unit:
        t = ((x - self.start) / self.scale).clamp_min(0.0)
        return Unit(-torch.expm1(-t), torch.exp(-t))

    def point(self, u: Unit) -> Tensor:
        above = u.above.clamp_min(_smallest(u))
        t = torch.where(u.below <= 0.5, -torch.log1p(-u.below.clamp_max(0.5)), -torch.log(above))
        return self.start + self.scale * t

    def log_slope(self, x: Tensor) -> Tensor:
        return (self.start - x) / self.scale - math.log(self.scale)


@dataclass(frozen=True)
class RealLine(Support):
    """ℝ with the logistic distribution around ``centre``."""

    centre: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        _check_scale(self.centre, self.scale)

    def contains(self, x: Tensor) -> Tensor:
        return torch.isfinite(x)

    def unit(self, x: Tensor) -> Unit:
        y = (x - self.centre) / self.scale
        return Unit(torch.sigmoid(y), torch.sigmoid(-y))

    def point(self, u: Unit) -> Tensor:
        below, above = (each.clamp_min(_smallest(u)) for each in u)
        return self.centre + self.scale * (torch.log(below) - torch.log(above))

    def log_slope(self, x: Tensor) -> Tensor:
        y = (x - self.centre) / self.scale
        return logsigmoid(y) + logsigmoid(-y) - math.log(self.scale)


def _smallest(u: Unit) -> float:
    """The smallest positive number, far below the smallest one with all its digits."""
    info = torch.finfo(u.below.dtype)
    return info.tiny * info.eps


def _check_scale(centre: float, scale: float) -> None:
    if not (math.isfinite(centre) and math.isfinite(scale) and scale > 0):
        raise DensityError(f"got a support at {centre} of scale {scale}, expected finite numbers, the scale above 0")
