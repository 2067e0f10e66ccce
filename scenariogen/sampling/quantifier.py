"""How many points of a set lie in A: any, all, none, n of them, or one that is given; all of it without rejection.

Points in A and outside are independent Poisson processes with means Λ_A and Λ_B. With N_A and N_B their counts,

    any         N_A ≥ 1                log P = log(1 − e^(−Λ_A))                  N_A zero-truncated, N_B free
    all         N_A ≥ 1 and N_B = 0    log P = log(1 − e^(−Λ_A)) − Λ_B            N_A zero-truncated
    none        N_A = 0 and N_B ≥ 1    log P = log(1 − e^(−Λ_B)) − Λ_A            N_B zero-truncated
    count=n     N_A = n                log P = n log Λ_A − Λ_A − log n!            N_B free
    given-one   one point from λ/Λ_A in A, the untouched process (in A and outside) beside it

The empty set is a stratum of its own and meets none of them. ``given-one`` is no event: its set has the density
p(ω) N_A(ω) / Λ_A, and log Λ_A, the log of an expected number, stands where the others have the log of a probability;
where A is an exact value, Λ_A is a density in that value.

Functions of counts and means take tensors or NumPy arrays and give back the same: weights of record are NumPy.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from scenariogen.errors import ConditionError, DensityError
from scenariogen.sampling.discrete import draw_poisson

Rows: TypeAlias = Float[Tensor, " batch"] | Float[np.ndarray, " batch"]


class Mode(StrEnum):
    """How many of a set's points lie in A."""

    ANY = "any"
    ALL = "all"
    NONE = "none"
    COUNT = "count"
    GIVEN_ONE = "given-one"


@dataclass(frozen=True)
class Quantifier:
    """A mode, and for ``count`` its number (otherwise 0). ``str`` and :meth:`parse` are each other's inverse.

    >>> Quantifier.parse("count=2"), str(Quantifier(Mode.ANY))
    (Quantifier(mode=<Mode.COUNT: 'count'>, number=2), 'any')
    """

    mode: Mode = Mode.ANY
    number: int = 0

    def __post_init__(self) -> None:
        if self.number < 1 if self.mode is Mode.COUNT else self.number != 0:
            expected = "count=n with n ≥ 1" if self.mode is Mode.COUNT else "0: only count has a number"
            raise ConditionError(f"got {self.mode.value} with the number {self.number}, expected {expected}")

    @classmethod
    def parse(cls, text: str) -> "Quantifier":
        """Read ``any``, ``all``, ``none``, ``count=n`` or ``given-one``; ``ConditionError`` for anything else."""
        if text.startswith("count="):
            if not text[6:].isdecimal() or int(text[6:]) < 1:
                raise ConditionError(f"got the quantifier {text!r}, expected count=n with n at least 1")
            return cls(Mode.COUNT, int(text[6:]))
        if text not in {mode.value for mode in Mode} - {Mode.COUNT.value}:
            raise ConditionError(f"got the quantifier {text!r}, expected any, all, none, count=n or given-one")
        return cls(Mode(text))

    def __str__(self) -> str:
        return f"count={self.number}" if self.mode is Mode.COUNT else self.mode.value

    def log_probability(self, inside: Rows, outside: Rows) -> Rows:
        """log P of the table above from the means in A and outside, shape (batch,); −inf where it cannot be.

        ``DensityError`` for means that are nan, infinite or negative.
        """
        xp = torch if isinstance(inside, Tensor) else np
        _check_means(inside, outside)
        with np.errstate(divide="ignore"):
            return self._log_probability(xp, inside, outside)

    def _log_probability(self, xp: Any, inside: Any, outside: Any) -> Any:
        if self.mode is Mode.ANY:
            return xp.log(-xp.expm1(-inside))
        if self.mode is Mode.ALL:
            return xp.log(-xp.expm1(-inside)) - outside
        if self.mode is Mode.NONE:
            return xp.log(-xp.expm1(-outside)) - inside
        if self.mode is Mode.COUNT:
            from scipy.special import gammaln

            return self.number * xp.log(inside) - inside - float(gammaln(self.number + 1))
        return xp.log(inside)

    def draw_counts(
        self, noise: Float[Tensor, "batch 2"], inside: Float[Tensor, " batch"], beside: Float[Tensor, " batch"]
    ) -> tuple[Int[Tensor, " batch"], Int[Tensor, " batch"]]:
        """How many points are drawn in A, and how many beside them, each (batch,), from the means of both.

        Beside them means outside A, and for ``given-one`` anywhere: ``beside`` is then the mean of the whole process,
        which may be less than ``inside`` where A is an exact value. ``ConditionError`` where the probability is zero.
        """
        zero = torch.zeros(len(noise), dtype=torch.int64, device=noise.device)
        if self.mode is Mode.ANY:
            return draw_poisson(noise[:, 0], inside, at_least_one=True), draw_poisson(noise[:, 1], beside)
        if self.mode is Mode.ALL:
            return draw_poisson(noise[:, 0], inside, at_least_one=True), zero
        if self.mode is Mode.NONE:
            return zero, draw_poisson(noise[:, 1], beside, at_least_one=True)
        if not (inside > 0).all():
            raise ConditionError(f"{self} needs a positive mean in A: the condition has probability zero")
        if self.mode is Mode.COUNT:
            return zero + self.number, draw_poisson(noise[:, 1], beside)
        return zero + 1, draw_poisson(noise[:, 1], beside)

    def log_density_ratio(
        self, inside: Float[Tensor, " batch"], outside: Float[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """log of the conditional density over p(ω) / P, from how many points lie in A and outside.

        0 where the set meets the quantifier and −inf elsewhere; log N_A for ``given-one``.
        """
        if self.mode is Mode.GIVEN_ONE:
            return torch.log(inside)
        return torch.where(self.holds(inside, outside), 0.0, -torch.inf).to(inside.dtype)

    def holds(self, inside: Float[Tensor, " batch"], outside: Float[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
        """Whether sets with these counts in A and outside meet it."""
        if self.mode is Mode.ALL:
            return (inside >= 1) & (outside == 0)
        if self.mode is Mode.NONE:
            return (inside == 0) & (outside >= 1)
        if self.mode is Mode.COUNT:
            return inside == self.number
        return inside >= 1


def _check_means(*means: Any) -> None:
    for values in means:
        finite = torch.isfinite(values) if isinstance(values, Tensor) else np.isfinite(values)
        if not bool((finite & (values >= 0)).all()):
            raise DensityError("the means of a quantifier must be finite and at least 0")
