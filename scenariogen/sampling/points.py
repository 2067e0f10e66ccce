"""Sets of points: where they can lie, what they carry, and how a set of them is kept.

A draw of a point process is a *set* of points, of a size of its own. :class:`Points` keeps many sets in flat columns
with an owner a point. A point lies in a cell, at a location inside it, has a kind, and carries marks. Densities of sets
are taken with respect to

    Σ_n (1/n!) · (counting on cells and kinds × Lebesgue inside the cell × the marks' own measure)^n.

A point depends on the seed, its set's number and its own place in it, whatever else is drawn (:func:`point_noise`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scenariogen.errors import DensityError, Problems
from scenariogen.randomness import child_seed, uniform
from scenariogen.sampling.contract import (
    BLOCK,
    ConditionalDensity,
    Noise,
    check_finite,
    exact_log_prob,
    is_balanced,
    rounded,
)

SLOTS = 1 << 20
"""Room for points in the counter of the noise of one set."""
COUNTS_FROM, COIN_FROM = 0, 2
"""Columns of balanced noise that a set takes its counts, and the coin of a mixture, from; its points come behind."""
EVEN_COLUMNS = 256
"""Points of a set that would need further columns than that take independent noise: nothing is even in so many."""


@dataclass(frozen=True, eq=False)
class Points:
    """Sets of points, one row a point.

    ``batch``     how many sets
    ``owner``     (point,) which set a point belongs to, 0 to batch − 1
    ``cell``, ``kind``  (point,) indices
    ``location``  (point, dim) inside the cell, ``dim`` may be 0
    ``marks``     (point, mark)
    ``inside``    (point,) whether it was drawn as one of the set A of a condition
    """

    batch: int
    owner: Int[Tensor, " point"]
    cell: Int[Tensor, " point"]
    kind: Int[Tensor, " point"]
    location: Float[Tensor, "point dim"] = field(repr=False)
    marks: Float[Tensor, "point mark"] = field(repr=False)
    inside: Bool[Tensor, " point"] = field(repr=False)

    def __len__(self) -> int:
        return len(self.owner)

    def __repr__(self) -> str:
        return f"Points({self.batch} sets, {len(self)} points)"

    def __getitem__(self, rows: Tensor) -> "Points":
        """Some of the points, or all in another order; the sets stay as many."""
        return Points(
            self.batch,
            self.owner[rows],
            self.cell[rows],
            self.kind[rows],
            self.location[rows],
            self.marks[rows],
            self.inside[rows],
        )

    def counts(self, kinds: int, which: Bool[Tensor, " point"] | None = None) -> Float[Tensor, "batch kind"]:
        """How many points of each kind a set holds, or how many of those that ``which`` marks."""
        one = torch.ones_like(self.owner) if which is None else which.to(torch.int64)
        out = torch.zeros((self.batch, kinds), dtype=torch.int64, device=self.owner.device)
        out.index_put_((self.owner, self.kind), one, accumulate=True)
        return out.to(torch.float64)


def merge(parts: list[tuple[Tensor, Points]]) -> Points:
    """One record from several: each with the rows it takes up, which together are 0, 1, … without gaps."""
    total = sum(len(rows) for rows, _ in parts)
    order = torch.empty(total, dtype=torch.int64, device=parts[0][0].device)
    order[torch.cat([rows for rows, _ in parts])] = torch.arange(total, device=order.device)
    joined = {
        name: torch.cat([getattr(points, name) for _, points in parts])
        for name in ("owner", "cell", "kind", "location", "marks", "inside")
    }
    return Points(parts[0][1].batch, **joined)[order]


def slots(counts: Int[Tensor, " batch"]) -> tuple[Int[Tensor, " point"], Int[Tensor, " point"]]:
    """Owner and slot of every point of sets with these counts: the sets one after the other, slots 0, 1, …"""
    if len(counts) and int(counts.max()) >= SLOTS:
        raise DensityError(f"a set of {int(counts.max())} points is too large, expected fewer than {SLOTS}")
    device = counts.device
    owner = torch.repeat_interleave(torch.arange(len(counts), device=device), counts)
    slot = torch.arange(len(owner), device=device) - (counts.cumsum(0) - counts)[owner]
    return owner, slot


@dataclass(frozen=True, eq=False)
class Cells:
    """Boxes in which points lie uniformly: ``lower`` and ``upper`` corners, (cell, dim).

    With ``dim`` = 0 a cell has no inside, and its measure is 1. ``DensityError`` unless lower < upper, both finite.
    """

    lower: Float[Tensor, "cell dim"] = field(repr=False)
    upper: Float[Tensor, "cell dim"] = field(repr=False)

    def __post_init__(self) -> None:
        check_finite(self.lower, "the lower corners of the cells")
        check_finite(self.upper, "the upper corners of the cells")
        if not (self.lower < self.upper).all():
            flat = int((self.lower >= self.upper).any(-1).sum())
            raise DensityError(f"{flat} cells have no volume, expected lower < upper in every coordinate")

    def __len__(self) -> int:
        return len(self.lower)

    @property
    def dim(self) -> int:
        return self.lower.shape[1]

    def log_volume(self, cell: Int[Tensor, " point"]) -> Float[Tensor, " point"]:
        """log |b| of each point's cell."""
        return torch.log(self.upper[cell] - self.lower[cell]).sum(-1)

    def place(self, noise: Float[Tensor, "point dim"], cell: Int[Tensor, " point"]) -> Float[Tensor, "point dim"]:
        """Uniform locations."""
        lower, upper = self.lower[cell], self.upper[cell]
        return lower + rounded(noise, lower.dtype) * (upper - lower)

    def contain(self, location: Float[Tensor, "point dim"], cell: Int[Tensor, " point"]) -> Bool[Tensor, " point"]:
        """Whether each point lies in its cell."""
        return ((location >= self.lower[cell]) & (location <= self.upper[cell])).all(-1)


class MarkDensity(ABC):
    """p(marks | cell, kind).

    ``width``          numbers in the marks of one point
    ``noise_columns``  uniform numbers that the marks of one point take
    """

    width: int = 0
    noise_columns: int = 0

    @abstractmethod
    def sample(
        self, noise: Float[Tensor, "point columns"], cell: Int[Tensor, " point"], kind: Int[Tensor, " point"]
    ) -> Float[Tensor, "point mark"]:
        """Marks of each point, a pure function of the noise."""

    @abstractmethod
    def log_terms(
        self, marks: Float[Tensor, "point mark"], cell: Int[Tensor, " point"], kind: Int[Tensor, " point"]
    ) -> tuple[Tensor, ...]:
        """Terms that add up to log p(marks | cell, kind), each (point,): factors of a chain, Jacobians.

        −inf outside the support, never nan.
        """


class NoMarks(MarkDensity):
    """Points that carry nothing but their kind."""

    def sample(self, noise, cell, kind):
        return noise.new_zeros((len(cell), 0))

    def log_terms(self, marks, cell, kind):
        return ()


class DensityMarks(MarkDensity):
    """Marks from any exact conditional density.

    ``contexts``  (cell, kind, context) what it is conditioned on
    ``width``     how many numbers a draw of it has

    ``DensityError`` where draws have another width, or the density's ``log_prob`` is not exact.
    """

    def __init__(self, density: ConditionalDensity, contexts: Float[Tensor, "cell kind context"], width: int) -> None:
        self.density, self.contexts, self.width = density, contexts, width
        with torch.no_grad():
            given = density(contexts[:1, 0])
            drawn = given.sample(contexts.new_full((1, given.noise_columns), 0.5))
        self.noise_columns = given.noise_columns
        if tuple(drawn.shape) != (1, width):
            raise DensityError(f"got marks of shape {tuple(drawn.shape)} for one point, expected (1, {width})")
        if not (given.log_prob_is_exact and given.has_log_prob):
            raise DensityError(f"the density of marks {type(given).__name__} is not exact, so no set has an exact one")

    def sample(self, noise, cell, kind):
        given = self.contexts[cell, kind]
        with torch.no_grad():
            parts = self._in_blocks(lambda d, x: d.sample(x), given, rounded(noise, given.dtype))
        return torch.cat([given.new_zeros((0, self.width)), *parts])

    def log_terms(self, marks, cell, kind):
        given = self.contexts[cell, kind]
        return (torch.cat([given.new_zeros(0), *self._in_blocks(exact_log_prob, given, marks)]),)

    def _in_blocks(self, function, context: Tensor, rows: Tensor) -> list[Tensor]:
        """Padded blocks of one size: the marks of a point do not depend on how many others there are."""
        parts = []
        for start in range(0, len(rows), BLOCK):
            part, given = rows[start : start + BLOCK], context[start : start + BLOCK]
            missing = BLOCK - len(part)
            part = torch.cat([part, part[-1:].expand(missing, -1)])
            given = torch.cat([given, given[-1:].expand(missing, -1)])
            parts.append(function(self.density(given), part)[: BLOCK - missing])
        return parts


def columns_from(noise: Noise, seed: int, rows: Tensor, columns: int, *, first: int) -> Float[Tensor, "batch columns"]:
    """One part of the noise of draws that take it in several parts, each with a seed of its own.

    Balanced noise is taken from column ``first`` on: two seeds scramble the same digits of a row, so that the same
    column under two seeds goes together however many rows there are. Independent noise knows no such thing.
    """
    return noise(seed, rows, first + columns)[:, first:] if is_balanced(noise) else noise(seed, rows, columns)


def point_noise(
    noise: Noise,
    seed: int,
    numbers: Int[Tensor, " point"],
    slot: Int[Tensor, " point"],
    columns: int,
    *,
    first: int,
    stride: int | None = None,
) -> Float[Tensor, "point columns"]:
    """Noise of point number ``slot`` of set number ``numbers``, shape (point, columns).

    Independent noise has a row for every point, number · :data:`SLOTS` + slot. Balanced noise has a row for every set
    and columns for every slot, from ``first`` on and ``stride`` apart (None: ``columns``): sets are even in all their
    points together, up to :data:`EVEN_COLUMNS`.
    """
    if not is_balanced(noise):
        return noise(seed, numbers * SLOTS + slot, columns)
    order = torch.argsort(slot, stable=True)
    parts = numbers[order].split(torch.bincount(slot).tolist())
    out = torch.empty((len(slot), columns), dtype=torch.float64, device=slot.device)
    drawn = [out[:0]]
    for place, rows in enumerate(parts):
        own = first + place * (stride or columns)
        if own + columns <= EVEN_COLUMNS:
            drawn.append(columns_from(noise, seed, rows, columns, first=own))
        else:
            drawn.append(uniform(child_seed(seed, "slot", place), rows, columns))
    out[order] = torch.cat(drawn)
    return out


def check_points(points: Points, *, batch: int, cells: Cells, kinds: int, width: int) -> None:
    """``DensityError`` that lists everything by which ``points`` do not fit a process."""
    problems = Problems("these points do not fit the process")
    for name, values, limit in (
        ("owner", points.owner, points.batch),
        ("cell", points.cell, len(cells)),
        ("kind", points.kind, kinds),
    ):
        wrong = int(((values < 0) | (values >= limit)).sum())
        if wrong:
            problems.add(f"{name} lies outside 0 to {limit - 1} for {wrong} points")
    if batch not in (1, points.batch):
        problems.add(f"got {points.batch} sets, expected {batch}")
    for name, values, expected in (("location", points.location, cells.dim), ("marks", points.marks, width)):
        if values.shape[1] != expected:
            problems.add(f"{name} has {values.shape[1]} numbers a point, expected {expected}")
        wrong = int((~torch.isfinite(values)).sum())
        if wrong:
            problems.add(f"{name} holds {wrong} values that are nan or infinite")
    problems.raise_as(DensityError)
