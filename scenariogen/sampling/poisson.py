"""Marked Poisson processes over cells: density, draws, thinning.

In cell b and kind k the number of points is Poisson with mean Λ_bk, independently; a point lies uniformly in its cell
and carries marks m ~ p(m | b, k). A set ω of points has the log-density

    log p(ω) = Σ_i [log Λ_{b_i k_i} − log |b_i| + log p(m_i | b_i, k_i)] − Σ_bk Λ_bk

with respect to the measure on unordered sets that :mod:`.points` states. The order of the points does not enter it, and
in a ratio of two densities the units of locations and marks cancel.

Means factor as Λ_bk = factor · κ_k · Λ⁰_bk: Λ⁰ is shared by all sets or has a leading batch axis, ``factor`` is one
number a set, κ one multiplier a set and kind. Keeping the points of a set A gives the process with means
Λ_bk P(A | b, k), independent of what is left (thinning); several processes laid over each other are one whose means add
up (superposition). (Kingman, *Poisson processes*, 1993; Daley & Vere-Jones, *An introduction to the theory of point
processes*, 2003.)
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling.contract import rounded
from scenariogen.sampling.discrete import draw_category
from scenariogen.sampling.point_process import PointProcess, row_of
from scenariogen.sampling.points import Cells, MarkDensity, Points
from scenariogen.sampling.regions import Region


@dataclass(frozen=True, eq=False)
class MarkedPoisson(PointProcess):
    """The process of this module's formula.

    ``means``        Λ⁰, (cell, kind) or (batch, cell, kind), finite and at least 0
    ``cells``        where each cell lies
    ``marks``        p(marks | cell, kind)
    ``factor``       (batch,) common to all kinds; None: 1
    ``multipliers``  κ, (batch, kind), or (1, kind) for all sets; None: 1

    A point's noise: kind, cell, location in the cell, marks. ``DensityError`` lists everything that does not fit.
    """

    means: Float[Tensor, "..."] = field(repr=False)
    cells: Cells = field(repr=False)
    marks: MarkDensity = field(repr=False)
    factor: Float[Tensor, "..."] | None = field(default=None, repr=False)
    multipliers: Float[Tensor, "..."] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        problems = Problems("this Poisson process")
        for name, values, axes, expected in (
            ("means have", self.means, (2, 3), "(cell, kind) or (batch, cell, kind)"),
            ("factor has", self.factor, (1,), "(batch,)"),
            ("multipliers have", self.multipliers, (2,), "(batch, kind)"),
        ):
            if values is not None and values.dim() not in axes:
                problems.add(f"{name} shape {tuple(values.shape)}, expected {expected}")
        problems.raise_as(DensityError)
        if self.means.shape[-2] != len(self.cells):
            problems.add(f"means are given for {self.means.shape[-2]} cells, expected {len(self.cells)}")
        if not (torch.isfinite(self.means) & (self.means >= 0)).all():
            problems.add("means must be finite and at least 0")
        for name, values in (("factor", self.factor), ("multipliers", self.multipliers)):
            if values is not None and not (torch.isfinite(values) & (values > 0)).all():
                problems.add(f"{name} must be finite and above 0")
        if self.multipliers is not None and self.multipliers.shape[-1] != self.kinds:
            problems.add(f"multipliers are given for {self.multipliers.shape[-1]} kinds, expected {self.kinds}")
        if len(sizes := self._sizes()) > 1:
            problems.add(f"means, factor and multipliers are for {sorted(sizes)} sets, expected one number of sets")
        problems.raise_as(DensityError)

    def __repr__(self) -> str:
        return f"MarkedPoisson({len(self.cells)} cells, {self.kinds} kinds, {self.batch} sets)"

    def _sizes(self) -> set[int]:
        given = [self.means] if self.means.dim() == 3 else []
        given += [each for each in (self.factor, self.multipliers) if each is not None]
        return {len(each) for each in given} - {1}

    @property
    def kinds(self) -> int:
        return self.means.shape[-1]

    @property
    def width(self) -> int:
        return self.marks.width

    @property
    def batch(self) -> int:
        return max(self._sizes(), default=1)

    @property
    def noise_columns(self) -> int:
        return 2 + self.cells.dim + self.marks.noise_columns

    @cached_property
    def by_kind(self) -> Float[Tensor, "*rows kind"]:
        """Λ⁰ summed over the cells."""
        return self.means.sum(-2)

    @property
    def expected(self) -> Float[Tensor, "rows kind"]:
        return self.scaled(self.by_kind)

    @property
    def total(self) -> Float[Tensor, " rows"]:
        weighted = self.by_kind if self.multipliers is None else self.by_kind * self.multipliers
        total = weighted.sum(-1).reshape(-1)
        return total if self.factor is None else self.factor * total

    def scaled(self, by_kind: Tensor) -> Tensor:
        out = by_kind if self.multipliers is None else by_kind * self.multipliers
        return out.reshape(-1, self.kinds) if self.factor is None else self.factor[:, None] * out

    def at(
        self, *, factor: Float[Tensor, " _"] | None = None, multipliers: Float[Tensor, "_ kind"] | None = None
    ) -> "MarkedPoisson":
        """The same process with this factor and these multipliers in place of its own."""
        return replace(self, factor=factor, multipliers=multipliers)

    def thinned(self, keep: Float[Tensor, "cell kind"]) -> "MarkedPoisson":
        """The process of the points that are left where each is kept with the probability of its cell and kind."""
        if not ((keep >= 0) & (keep <= 1)).all():
            raise DensityError("probabilities to keep a point must lie in 0 to 1")
        return replace(self, means=self.means * keep)

    def restricted(self, region: Region, *, inside: bool = True) -> "Restricted":
        """The process of the points in A, or with ``inside`` False of those outside; the two are independent."""
        return Restricted(self, region, inside)

    def log_rate(self, points: Points) -> Float[Tensor, " point"]:
        cell, kind = points.cell, points.kind
        at = (cell, kind) if self.means.dim() == 2 else (row_of(len(self.means), points.owner), cell, kind)
        out = torch.log(self.means[at]) - self.cells.log_volume(cell)
        for term in self.marks.log_terms(points.marks, cell, kind):
            out = out + term
        out = torch.where(self.cells.contain(points.location, cell), out, torch.full_like(out, -torch.inf))
        if self.factor is not None:
            out = out + torch.log(self.factor)[row_of(len(self.factor), points.owner)]
        if self.multipliers is not None:
            out = out + torch.log(self.multipliers)[row_of(len(self.multipliers), points.owner), kind]
        return out

    def sample_points(self, noise: Float[Tensor, "point columns"], owner: Int[Tensor, " point"], batch: int) -> Points:
        return self.sample_from(self.means, self.marks.sample, noise, owner, batch)

    def sample_from(
        self, means: Tensor, marks: Callable[..., Tensor], noise: Tensor, owner: Tensor, batch: int
    ) -> Points:
        """Points with other means and another sampler of marks, such as a part of the process has."""
        by_kind = means.sum(-2)
        if means.dim() == 3:
            by_kind = by_kind[row_of(len(means), owner)]
        if self.multipliers is not None:
            by_kind = by_kind * self.multipliers[row_of(len(self.multipliers), owner)]
        kind = draw_category(noise[:, 0], by_kind) if len(owner) else torch.zeros_like(owner)
        cell = torch.zeros_like(kind)
        # One inverse CDF per kind keeps the table small however many points are drawn.
        for index in range(self.kinds):
            rows = kind == index
            if rows.any():
                table = means[..., index]
                weights = table if means.dim() == 2 else table[row_of(len(means), owner[rows])]
                cell[rows] = draw_category(noise[rows, 1], weights)
        first_mark = 2 + self.cells.dim
        return Points(
            batch,
            owner,
            cell,
            kind,
            self.cells.place(noise[:, 2:first_mark], cell),
            marks(rounded(noise[:, first_mark:], self.means.dtype), cell, kind),
            torch.zeros_like(owner, dtype=torch.bool),
        )


@dataclass(frozen=True, eq=False)
class Restricted(PointProcess):
    """The part of a process that lies in a set A of points, or the part outside: itself a Poisson process.

    Its means are Λ_bk P(A | b, k), its marks are drawn given A, and its intensity is λ in A and 0 elsewhere.
    """

    base: MarkedPoisson
    region: Region = field(repr=False)
    inside: bool = True

    def __post_init__(self) -> None:
        if self.region.inside.shape != self.base.means.shape[-2:]:
            raise DensityError(
                f"the set has probabilities of shape {tuple(self.region.inside.shape)}, expected "
                f"{tuple(self.base.means.shape[-2:])}"
            )

    @property
    def cells(self) -> Cells:
        return self.base.cells

    @property
    def kinds(self) -> int:
        return self.base.kinds

    @property
    def width(self) -> int:
        return self.base.width

    @property
    def batch(self) -> int:
        return self.base.batch

    @property
    def noise_columns(self) -> int:
        return 2 + self.cells.dim + self.region.noise_columns

    @cached_property
    def means(self) -> Float[Tensor, "*rows cell kind"]:
        """Λ⁰ · P(A | b, k), or Λ⁰ · (1 − P(A | b, k))."""
        return self.base.means * (self.region.inside if self.inside else self.region.outside)

    @property
    def expected(self) -> Float[Tensor, "rows kind"]:
        return self.base.scaled(self.means.sum(-2))

    def log_rate(self, points: Points) -> Float[Tensor, " point"]:
        out = self.base.log_rate(points)
        belongs = self.region.contains(points) == self.inside
        return torch.where(belongs, out, torch.full_like(out, -torch.inf))

    def sample_points(self, noise: Float[Tensor, "point columns"], owner: Int[Tensor, " point"], batch: int) -> Points:
        marks = self.region.sample if self.inside else self.region.sample_outside
        drawn = self.base.sample_from(self.means, marks, noise, owner, batch)
        return replace(drawn, inside=torch.full_like(drawn.inside, self.inside))
