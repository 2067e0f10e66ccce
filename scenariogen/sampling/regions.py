"""Sets A of points, for conditioning and thinning: P(A | cell, kind) as a table, and marks given A or given not A.

A is a part of every (cell, kind), cut out by the marks: lanes, a range of a number, an atom. The location inside the
cell does not enter, so that it stays uniform.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scenariogen.errors import DensityError
from scenariogen.sampling.points import MarkDensity, Points


class Region(ABC):
    """A set A of points.

    ``inside``         (cell, kind) P(A | cell, kind)
    ``outside``        (cell, kind) 1 − P(A | cell, kind), of its own since it may be far below rounding beside 1
    ``noise_columns``  uniform numbers that the marks of one point take
    """

    inside: Float[Tensor, "cell kind"]
    outside: Float[Tensor, "cell kind"]
    noise_columns: int

    @abstractmethod
    def sample(
        self, noise: Float[Tensor, "point columns"], cell: Int[Tensor, " point"], kind: Int[Tensor, " point"]
    ) -> Float[Tensor, "point mark"]:
        """Marks given A; asked for only where ``inside`` is positive."""

    @abstractmethod
    def sample_outside(
        self, noise: Float[Tensor, "point columns"], cell: Int[Tensor, " point"], kind: Int[Tensor, " point"]
    ) -> Float[Tensor, "point mark"]:
        """Marks given that the point is not in A; asked for only where ``outside`` is positive."""

    @abstractmethod
    def contains(self, points: Points) -> Bool[Tensor, " point"]:
        """Whether each point lies in A."""


class CellRegion(Region):
    """A set that takes a (cell, kind) whole or not at all, so that the marks are untouched.

    ``DensityError`` where ``allowed`` is no table of (cell, kind).
    """

    def __init__(self, marks: MarkDensity, allowed: Bool[Tensor, "cell kind"], dtype: torch.dtype = torch.float64):
        if allowed.dim() != 2:
            raise DensityError(f"got a table of shape {tuple(allowed.shape)}, expected (cell, kind)")
        self.marks, self.allowed = marks, allowed
        self.noise_columns = marks.noise_columns
        self.inside, self.outside = allowed.to(dtype), (~allowed).to(dtype)

    @classmethod
    def everything(cls, marks: MarkDensity, means: Float[Tensor, "*rows cell kind"]) -> "CellRegion":
        """The set of all points, of a process with these means: given ``any`` of it, a set is not empty."""
        allowed = torch.ones(means.shape[-2:], dtype=torch.bool, device=means.device)
        return cls(marks, allowed, means.dtype)

    def sample(self, noise, cell, kind):
        return self.marks.sample(noise, cell, kind)

    def sample_outside(self, noise, cell, kind):
        return self.marks.sample(noise, cell, kind)

    def contains(self, points: Points) -> Bool[Tensor, " point"]:
        return self.allowed[points.cell, points.kind]
