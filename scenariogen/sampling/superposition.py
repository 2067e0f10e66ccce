"""Independent Poisson processes laid over each other: one Poisson process, whose intensity is the sum."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scenariogen.errors import DensityError
from scenariogen.sampling.discrete import draw_category
from scenariogen.sampling.point_process import PointProcess, row_of
from scenariogen.sampling.points import Cells, Points, merge


@dataclass(frozen=True, eq=False)
class Superposition(PointProcess):
    """Independent processes on the same cells, kinds and marks, laid over each other: λ = Σ_j λ_j.

    A point's noise: which process it comes from, then what that one takes. ``DensityError`` where they do not fit.
    """

    parts: Sequence[PointProcess]

    def __post_init__(self) -> None:
        shapes = {(len(p.cells), p.cells.dim, p.kinds, p.width) for p in self.parts}
        if len(shapes) != 1:
            raise DensityError(f"got processes with (cells, dim, kinds, marks) {sorted(shapes)}, expected one of these")
        if len({p.batch for p in self.parts} - {1}) > 1:
            raise DensityError(f"got processes for {[p.batch for p in self.parts]} sets, expected one number of sets")

    @property
    def cells(self) -> Cells:
        return self.parts[0].cells

    @property
    def kinds(self) -> int:
        return self.parts[0].kinds

    @property
    def width(self) -> int:
        return self.parts[0].width

    @property
    def batch(self) -> int:
        return max(p.batch for p in self.parts)

    @property
    def noise_columns(self) -> int:
        return 1 + max(p.noise_columns for p in self.parts)

    @property
    def expected(self) -> Float[Tensor, "rows kind"]:
        return torch.stack([p.expected.expand(self.batch, -1) for p in self.parts]).sum(0)

    def log_rate(self, points: Points) -> Float[Tensor, " point"]:
        return torch.logsumexp(torch.stack([p.log_rate(points) for p in self.parts]), dim=0)

    def sample_points(self, noise: Float[Tensor, "point columns"], owner: Int[Tensor, " point"], batch: int) -> Points:
        totals = torch.stack([p.total.expand(self.batch) for p in self.parts], dim=-1)
        which = draw_category(noise[:, 0], totals[row_of(self.batch, owner)])
        drawn = []
        for index, part in enumerate(self.parts):
            rows = torch.nonzero(which == index).flatten()
            u = noise[rows, 1 : 1 + part.noise_columns]
            drawn.append((rows, part.sample_points(u, owner[rows], batch)))
        return merge(drawn)
