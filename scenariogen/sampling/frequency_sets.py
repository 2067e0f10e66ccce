"""Sets of points drawn from a mixture over frequencies: one coin for the whole set, so that weights stay bounded."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scenariogen.errors import DensityError
from scenariogen.randomness import child_seed, uniform
from scenariogen.sampling.conditioned import ConditionedPoisson, SetDraws, counts_in_and_outside
from scenariogen.sampling.contract import Noise
from scenariogen.sampling.discrete import draw_category
from scenariogen.sampling.frequency import FrequencyMixture
from scenariogen.sampling.points import COIN_FROM, Points, columns_from
from scenariogen.sampling.poisson import MarkedPoisson
from scenariogen.sampling.regions import CellRegion, Region


@dataclass(frozen=True, eq=False)
class FrequencySets:
    """q(ω) = Σ_j α_j p_κj(ω | condition), the mixture of :mod:`.frequency` as a density on sets.

    ``process``  at multipliers 1
    ``mixture``  its shares, rows of multipliers, and the quantifier of the condition
    ``region``   the set A of the condition; None: all points, so that ``any`` truncates at zero

    ``DensityError`` where they are for different numbers of kinds, ``ConditionError`` where a row has probability zero.
    """

    process: MarkedPoisson
    mixture: FrequencyMixture
    region: Region | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        kinds = len(self.mixture.multipliers[0])
        if kinds != self.process.kinds or self.process.multipliers is not None:
            raise DensityError(
                f"got multipliers for {kinds} kinds, expected {self.process.kinds} and a process without its own"
            )
        _ = self._given.log_condition  # raises where it is zero: multipliers are positive, so for all rows alike

    @cached_property
    def set_a(self) -> Region:
        """The set A."""
        return self.region or CellRegion.everything(self.process.marks, self.process.means)

    @cached_property
    def _given(self) -> ConditionedPoisson:
        return ConditionedPoisson(self.process, self.set_a, self.mixture.quantifier)

    def draw(self, numbers: Int[Tensor, " batch"], *, seed: int, noise: Noise = uniform) -> SetDraws:
        """Sets with these numbers of their own; each is a function of the seed and its number."""
        means = self.process.means
        alphas = torch.tensor(self.mixture.alphas, dtype=torch.float64, device=means.device)
        rows = torch.tensor(self.mixture.multipliers, dtype=means.dtype, device=means.device)
        coin = columns_from(noise, child_seed(seed, "component"), numbers, 1, first=COIN_FROM)[:, 0]
        component = draw_category(coin, alphas)
        drawn_from = self.process.at(factor=self.process.factor, multipliers=rows[component])
        points = ConditionedPoisson(drawn_from, self.set_a, self.mixture.quantifier).sample(
            numbers, seed=seed, noise=noise
        )
        return SetDraws(points, self.log_prob(points), self._given.log_condition.expand(len(numbers)), component)

    def log_prob(self, points: Points) -> Float[Tensor, " batch"]:
        """log q(ω), shape (batch,); −inf where ω does not meet the condition."""
        meets = self.mixture.quantifier.log_density_ratio(*counts_in_and_outside(points, self.set_a))
        log_p = self.process.log_prob(points)
        log_q = self.mixture.log_density(self._counts(points), **self._means(points.batch), start=log_p)
        return cast(Tensor, log_q) + meets.to(log_p.dtype)

    def log_weight(self, points: Points, kappa: Float[Tensor, " kind"]) -> Float[Tensor, " batch"]:
        """log of p_κ(ω | condition) over q(ω) for sets drawn from q; at most −log α_j at row j of the multipliers.

        ``FrequencyError`` outside of what the mixture covers (:meth:`.FrequencyMixture.covers`), ``DensityError`` for
        sets that do not meet the condition.
        """
        strangers = int((~self.mixture.quantifier.holds(*counts_in_and_outside(points, self.set_a))).sum())
        if strangers:
            raise DensityError(
                f"{strangers} sets do not meet the condition {self.mixture.quantifier}: they have no weight"
            )
        return cast(Tensor, self.mixture.log_weight(kappa, self._counts(points), **self._means(points.batch)))

    def _counts(self, points: Points) -> Tensor:
        return points.counts(self.process.kinds).to(self.process.means.dtype)

    def _means(self, batch: int) -> dict[str, Tensor]:
        processes = {"expected": self.process, "inside": self._given.inside, "outside": self._given.outside}
        return {name: each.expected.expand(batch, -1) for name, each in processes.items()}
