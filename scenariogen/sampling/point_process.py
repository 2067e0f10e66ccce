"""What every Poisson process of points gives: expected counts, the density of a set, and sets drawn from noise.

A Poisson process with intensity λ and ΣΛ = ∫ λ has the log-density log p(ω) = Σ_i log λ(x_i) − ΣΛ of a set ω = {x_i},
in the measure on unordered sets that :mod:`.points` states. Draws are sets of varying size, so a process is no
``Distribution`` of the contract: its draws are :class:`~scenariogen.sampling.points.Points`. Noise is the contract's:
a set is a function of the seed and its own number.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scenariogen.errors import DensityError
from scenariogen.randomness import child_seed, uniform
from scenariogen.sampling.contract import Noise
from scenariogen.sampling.discrete import draw_poisson
from scenariogen.sampling.points import COUNTS_FROM, Cells, Points, check_points, columns_from, point_noise, slots


class PointProcess(ABC):
    """A Poisson process: how many points are expected, what density one has, how one is drawn.

    ``cells``, ``kinds``, ``width``  where points lie, how many kinds there are, how many marks a point carries
    ``batch``          sets that it has means for, 1 where any number of sets share them
    ``noise_columns``  uniform numbers that one point takes
    """

    cells: Cells
    kinds: int
    width: int
    batch: int
    noise_columns: int

    @property
    @abstractmethod
    def expected(self) -> Float[Tensor, "rows kind"]:
        """Λ by kind, shape (batch, kind)."""

    @property
    def total(self) -> Float[Tensor, " rows"]:
        """ΣΛ, shape (batch,)."""
        return self.expected.sum(-1)

    @abstractmethod
    def log_rate(self, points: Points) -> Float[Tensor, " point"]:
        """log λ of each point: the logarithm of its intensity, −inf where there is none."""

    @abstractmethod
    def sample_points(self, noise: Float[Tensor, "point columns"], owner: Int[Tensor, " point"], batch: int) -> Points:
        """One point of the normalised intensity for each row of noise, ``owner`` saying in which of ``batch`` sets.

        ``ConditionError`` where the mean of a point's set is 0.
        """

    def log_prob(
        self, points: Points, *, log_context: Float[Tensor, " batch"] | None = None
    ) -> Float[Tensor, " batch"]:
        """log p(ω) of each set, shape (batch,); with ``log_context`` added, the joint density with a context.

        ``DensityError`` where the points do not fit the process, or where the density is nan.
        """
        check_points(points, batch=self.batch, cells=self.cells, kinds=self.kinds, width=self.width)
        start = -self.total.expand(points.batch)
        if log_context is not None:
            start = log_context + start
        out = sum_by_owner(start, points.owner, self.log_rate(points))
        if torch.isnan(out).any():
            raise DensityError(f"the density of {int(torch.isnan(out).sum())} sets is nan: marks or means are faulty")
        return out

    def sample(
        self, numbers: Int[Tensor, " batch"], *, seed: int, noise: Noise = uniform, at_least_one: bool = False
    ) -> Points:
        """Sets with these numbers of their own; with ``at_least_one`` given that they are not empty.

        Set 17 is the same to the last bit in a request of any size. ``DensityError`` for a set of 2^20
        points or more, ``ConditionError`` for a set that must hold a point and cannot.
        """
        check_batch(self, len(numbers))
        u = columns_from(noise, child_seed(seed, "count"), numbers, 1, first=COUNTS_FROM)[:, 0]
        counts = draw_poisson(u, self.total.expand(len(numbers)), at_least_one=at_least_one)
        return self.sample_counts(counts, numbers, seed=seed, noise=noise)

    def sample_counts(
        self, counts: Int[Tensor, " batch"], numbers: Int[Tensor, " batch"], *, seed: int, noise: Noise = uniform
    ) -> Points:
        """Sets of the given sizes."""
        owner, slot = slots(counts)
        u = point_noise(
            noise, child_seed(seed, "point"), numbers[owner], slot, self.noise_columns, first=COUNTS_FROM + 1
        )
        return self.sample_points(u, owner, len(numbers))


def row_of(size: int, owner: Tensor) -> Tensor:
    """Which row of something with ``size`` rows belongs to each point: its set's, or the only one."""
    return owner if size > 1 else torch.zeros_like(owner)


def check_batch(process: PointProcess, size: int) -> None:
    """``DensityError`` where sets are asked for that the process has no means for."""
    if process.batch not in (1, size):
        raise DensityError(f"got a request for {size} sets, expected {process.batch}: the process has means for those")


def sum_by_owner(
    start: Float[Tensor, " batch"], owner: Int[Tensor, " point"], values: Float[Tensor, " point"]
) -> Float[Tensor, " batch"]:
    """``start`` plus the values of each set's points, added in their order."""
    if start.is_cuda:  # index_add adds in any order there, which is not the same to the last bit from run to run
        return start.clone().index_put_((owner,), values.to(start.dtype), accumulate=True)
    return start.index_add(0, owner, values.to(start.dtype))
