"""A Poisson process given what a quantifier says of the points in a set A: draws, density, probability, posterior.

    log p(ω | condition) = log p(ω) − log P(condition)        where ω meets it, −inf elsewhere

and for one given point log p(ω) + log N_A(ω) − log Λ_A, see :mod:`.quantifier`. Cells, kinds and marks of the points in
A come from their posterior Λ_bk P(A | b, k) / Λ_A, not from the prior. Draws carry log P, so that conditional and
unconditional averages connect.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scenariogen.errors import ConditionError
from scenariogen.randomness import child_seed, uniform
from scenariogen.sampling.contract import Noise
from scenariogen.sampling.point_process import PointProcess, check_batch
from scenariogen.sampling.points import COIN_FROM, COUNTS_FROM, Points, columns_from, merge, point_noise, slots
from scenariogen.sampling.poisson import MarkedPoisson, Restricted
from scenariogen.sampling.quantifier import Mode, Quantifier
from scenariogen.sampling.regions import Region


def draw_beside(
    inside: PointProcess,
    beside: PointProcess,
    counts: tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]],
    numbers: Int[Tensor, " batch"],
    *,
    seed: int,
    noise: Noise = uniform,
) -> Points:
    """Sets of so many points of one process, flagged ``inside``, followed by so many of another."""
    owner, slot = slots(counts[0] + counts[1])
    is_inside = slot < counts[0][owner]
    stride, parts = max(inside.noise_columns, beside.noise_columns), []
    for which, process in ((True, inside), (False, beside)):
        taken = torch.nonzero(is_inside == which).flatten()
        own = owner[taken]
        u = point_noise(
            noise, seed, numbers[own], slot[taken], process.noise_columns, first=COIN_FROM + 1, stride=stride
        )
        drawn = process.sample_points(u, own, len(numbers))
        parts.append((taken, replace(drawn, inside=torch.full_like(drawn.inside, which))))
    return merge(parts)


@dataclass(frozen=True, eq=False)
class SetDraws:
    """Sets with what weights need.

    ``log_prob``       (batch,) exact log-density of the sets under what drew them
    ``log_condition``  (batch,) log P of the condition that they meet, at the process's own multipliers; log Λ_A, an
                       expected number, for ``given-one``
    ``component``      (batch,) which row of a mixture drew each; None where there is none
    """

    points: Points
    log_prob: Float[Tensor, " batch"] = field(repr=False)
    log_condition: Float[Tensor, " batch"] = field(repr=False)
    component: Int[Tensor, " batch"] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return self.points.batch


@dataclass(frozen=True, eq=False)
class ConditionedPoisson:
    """A process given a set A and a quantifier; ``ConditionError`` where that has probability zero in any row."""

    process: MarkedPoisson
    region: Region = field(repr=False)
    quantifier: Quantifier = field(default_factory=Quantifier)

    def __post_init__(self) -> None:
        impossible = int(torch.isneginf(self.log_condition).sum())
        if impossible:
            raise ConditionError(
                f"the condition {self.quantifier} has probability zero in {impossible} of {len(self.log_condition)} "
                "rows: no cell and kind with a positive mean can meet it"
            )

    @cached_property
    def inside(self) -> Restricted:
        """The process of the points in A."""
        return self.process.restricted(self.region)

    @cached_property
    def outside(self) -> Restricted:
        """The process of the points outside A."""
        return self.process.restricted(self.region, inside=False)

    @cached_property
    def log_condition(self) -> Float[Tensor, " rows"]:
        """log P of the condition, shape (batch,); for ``given-one`` log Λ_A."""
        return cast(Tensor, self.quantifier.log_probability(self.inside.total, self.outside.total))

    @property
    def posterior(self) -> Float[Tensor, "rows cell kind"]:
        """Cell and kind of a point in A: Λ_bk P(A | b, k) / Λ_A, summing to 1 in each row."""
        means = self.inside.means.reshape(-1, *self.inside.means.shape[-2:])
        if self.process.multipliers is not None:
            means = means * self.process.multipliers[:, None, :]
        return means / means.sum((-2, -1), keepdim=True)

    def sample(self, numbers: Int[Tensor, " batch"], *, seed: int, noise: Noise = uniform) -> Points:
        """Sets with these numbers of their own, those drawn as one of A flagged ``inside``."""
        check_batch(self.process, len(numbers))
        u = columns_from(noise, child_seed(seed, "count"), numbers, 2, first=COUNTS_FROM)
        size = len(numbers)
        beside = self.process if self.quantifier.mode is Mode.GIVEN_ONE else self.outside
        counts = self.quantifier.draw_counts(u, self.inside.total.expand(size), beside.total.expand(size))
        return draw_beside(self.inside, beside, counts, numbers, seed=child_seed(seed, "point"), noise=noise)

    def draw(self, numbers: Int[Tensor, " batch"], *, seed: int, noise: Noise = uniform) -> SetDraws:
        """As :meth:`sample`, with the sets' log-densities and log P of the condition."""
        points = self.sample(numbers, seed=seed, noise=noise)
        return SetDraws(points, self.log_prob(points), self.log_condition.expand(len(numbers)))

    def log_prob(
        self, points: Points, *, log_context: Float[Tensor, " batch"] | None = None
    ) -> Float[Tensor, " batch"]:
        """The log-density of whole sets, shape (batch,)."""
        unconditional = self.process.log_prob(points, log_context=log_context)
        meets = self.quantifier.log_density_ratio(*counts_in_and_outside(points, self.region))
        return unconditional + meets.to(unconditional.dtype) - self.log_condition


def counts_in_and_outside(points: Points, region: Region) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """How many points of each set lie in A, and how many outside."""
    zero = torch.zeros(points.batch, dtype=torch.float64, device=points.owner.device)
    inside = region.contains(points).to(torch.float64)
    return zero.index_add(0, points.owner, inside), zero.index_add(0, points.owner, 1 - inside)
