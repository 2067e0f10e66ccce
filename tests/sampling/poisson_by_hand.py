"""A tiny process whose integrals are known: two cells, two kinds, marks with the density 1 + a (2m − 1) on [0, 1]."""

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from scenariogen.sampling.points import Cells, MarkDensity, Points
from scenariogen.sampling.poisson import MarkedPoisson
from scenariogen.sampling.regions import Region

TILT = torch.tensor([[0.8, -0.5], [0.3, 0.0]], dtype=torch.float64)
"""a by cell and kind."""
MEANS = torch.tensor([[0.12, 0.03], [0.05, 0.15]], dtype=torch.float64)
LOWER, UPPER = [[0.0], [2.0]], [[2.0], [5.0]]


class TiltedMarks(MarkDensity):
    """One mark m = unit · x with x of density 1 + a (2x − 1) on [0, 1]."""

    width = 1
    noise_columns = 1

    def __init__(self, tilt: Tensor = TILT, unit: float = 1.0) -> None:
        self.tilt, self.unit = tilt, unit

    def cdf(self, m: Tensor, a: Tensor) -> Tensor:
        x = (m / self.unit).clamp(0.0, 1.0)
        return x * (1 - a) + a * x**2

    def icdf(self, p: Tensor, a: Tensor) -> Tensor:
        return 2 * p / (1 - a + torch.sqrt((1 - a) ** 2 + 4 * a * p)) * self.unit

    def sample(self, noise, cell, kind):
        return self.icdf(noise[:, 0], self.tilt[cell, kind])[:, None]

    def log_terms(self, marks, cell, kind):
        x = marks[:, 0] / self.unit
        density = (1 + self.tilt[cell, kind] * (2 * x - 1)) / self.unit
        return (torch.where((x >= 0) & (x <= 1), torch.log(density), -torch.inf),)


class BelowCut(Region):
    """Points whose mark lies below a number of their kind's."""

    noise_columns = 1

    def __init__(self, marks: TiltedMarks, cut: tuple[float, ...]) -> None:
        self.marks, self.cut = marks, torch.tensor(cut, dtype=marks.tilt.dtype)
        self.inside = marks.cdf(self.cut.expand_as(marks.tilt), marks.tilt)
        self.outside = 1 - self.inside

    def _between(self, low: Tensor, high: Tensor, noise: Tensor, cell: Tensor, kind: Tensor) -> Tensor:
        p = low[cell, kind] + noise[:, 0] * (high - low)[cell, kind]
        return self.marks.icdf(p, self.marks.tilt[cell, kind])[:, None]

    def sample(self, noise, cell, kind):
        return self._between(torch.zeros_like(self.inside), self.inside, noise, cell, kind)

    def sample_outside(self, noise, cell, kind):
        return self._between(self.inside, torch.ones_like(self.inside), noise, cell, kind)

    def contains(self, points: Points) -> Tensor:
        return points.marks[:, 0] < self.cut[points.kind]


def tiny(scale: float = 1.0, dtype: torch.dtype = torch.float64) -> MarkedPoisson:
    """The process, 0.35 · ``scale`` points expected."""
    cells = Cells(torch.tensor(LOWER, dtype=dtype), torch.tensor(UPPER, dtype=dtype))
    return MarkedPoisson(scale * MEANS.to(dtype), cells, TiltedMarks(TILT.to(dtype)))


def half(process: MarkedPoisson) -> BelowCut:
    """A set that cuts through the marks of both kinds, of one of them near its end."""
    assert isinstance(process.marks, TiltedMarks)
    return BelowCut(process.marks, (0.4, 0.9))


def flat(rows: list[list[tuple[int, int, float, float]]]) -> Points:
    """Points from one list of (cell, kind, location, mark) for each set."""
    owner = [index for index, row in enumerate(rows) for _ in row]
    table = [point for row in rows for point in row]
    numbers = torch.tensor([point[2:] for point in table], dtype=torch.float64).reshape(-1, 2)
    index = torch.tensor([point[:2] for point in table], dtype=torch.int64).reshape(-1, 2)
    return Points(
        len(rows),
        torch.tensor(owner, dtype=torch.int64),
        index[:, 0],
        index[:, 1],
        numbers[:, :1],
        numbers[:, 1:],
        torch.zeros(len(table), dtype=torch.bool),
    )


def nodes(cuts: tuple[tuple[float, ...], ...]) -> tuple[list[tuple[int, int, float, float]], list[float]]:
    """Nodes and weights of a Gauss rule for one point: both cells and kinds, location, mark on both sides of its cut.

    Two nodes a side: exact for polynomials of degree 3 in location and mark.
    """
    x, w = np.polynomial.legendre.leggauss(2)
    places, weights = [], []
    for cell, kind in itertools.product(range(2), range(2)):
        low, high = LOWER[cell][0], UPPER[cell][0]
        ends = sorted({0.0, 1.0, *cuts[kind]})
        for i, (start, end) in itertools.product(range(2), itertools.pairwise(ends)):
            for j in range(2):
                at = low + (high - low) * (x[i] + 1) / 2
                mark = start + (end - start) * (x[j] + 1) / 2
                places.append((cell, kind, at, mark))
                weights.append(w[i] * w[j] * (high - low) * (end - start) / 4)
    return places, weights


def mass_by_number(log_prob, *, cuts: tuple[tuple[float, ...], ...] = ((), ()), largest: int) -> list[float]:
    """(1/n!) ∫ p over sets of n points, for n = 0 … ``largest``, by a product of Gauss rules; nothing is drawn."""
    places, weights = nodes(cuts)
    out = []
    for n in range(largest + 1):
        sets = list(itertools.product(range(len(places)), repeat=n))
        index = torch.tensor(sets, dtype=torch.int64).reshape(len(sets), n)
        one = flat([[place] for place in places])
        chosen = index.flatten()
        points = Points(
            len(sets),
            torch.arange(len(sets)).repeat_interleave(n),
            one.cell[chosen],
            one.kind[chosen],
            one.location[chosen],
            one.marks[chosen],
            one.inside[chosen],
        )
        weight = torch.tensor(weights, dtype=torch.float64)[index].prod(-1)
        out.append(float((weight * torch.exp(log_prob(points))).sum()) / math.factorial(n))
    return out
