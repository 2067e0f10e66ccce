"""What one batch from a frozen proposal says about the probability of an event, with a surrogate as control variate.

With w = φ/q, the event s > t and its surrogate ŝ > t,

    p̂ = (1/n) Σ w_i (1{s(z_i) > t} − c 1{ŝ(z_i) > t}) + c P̂(ŝ > t),

where P̂(ŝ > t) comes from draws of q of its own, which cost no evaluation of s. c is fitted on the other fifths of the
batch, so it never sees the draws that it is used on, and p̂ is unbiased whatever ŝ and q are, as long as both were fixed
before. A surrogate that is of no use gets c near 0. (Owen, *Monte Carlo theory, methods and examples*, 2013, chapters
8 and 9.)
"""

import math
from dataclasses import dataclass, field
from enum import Enum

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scenariogen.errors import DensityError
from scenariogen.sampling.diagnostics import WeightDiagnostics, diagnose
from scenariogen.sampling.intervals import bootstrap_t, largest_unseen

FOLDS = 5
REPLICATES = 999
LEAST_TAIL = 50
"""Effective draws of the event below which its probability is not stated as an answer."""
_BLOCKS = 100
"""Means of blocks stand for the draws of the surrogate alone in the bootstrap."""


class Verdict(Enum):
    """Whether the estimate is an answer, and if not, why."""

    ANSWERED = "the event was seen often enough, with even weights"
    NEVER_SEEN = "no draw of the last batch showed the event: only an upper bound is known"
    FEW_SEEN = "too few effective draws of the event: more evaluations, or a better proposal, are needed"
    HEAVY_WEIGHTS = "a few draws carry most of the weight: the proposal misses a part of the event"


@dataclass(frozen=True, kw_only=True)
class RareEventEstimate:
    """The probability of an event and how sure it is.

    ``value``                 nan where the event was never seen; ``low`` and ``high`` bound it at ``level`` even then.
                              Unbiased, so that it may lie beyond 0 or 1 by its error, and the limit beside it with it
    ``standard_error``        that of the surrogate's own probability included
    ``plain``                 the mean of w · 1{s > t} alone, and its standard error
    ``coefficient``           c, the mean of the fifths'
    ``training_evaluations``  of the score, before the proposal was frozen; ``final_evaluations`` after
    ``disagreements``         draws of the last batch where score and surrogate say different things
    ``diagnostics``           of the weights; the tail set is the event
    ``blind_spot``            largest probability of a region that no draw fell in, still allowed at ``level``
    """

    value: float
    standard_error: float
    low: float
    high: float
    level: float
    plain: float
    plain_standard_error: float
    coefficient: float
    training_evaluations: int
    final_evaluations: int
    seen: int
    disagreements: int
    diagnostics: WeightDiagnostics = field(repr=False)
    blind_spot: float
    verdict: Verdict

    @property
    def evaluations(self) -> int:
        """All evaluations of the score."""
        return self.training_evaluations + self.final_evaluations


@dataclass(frozen=True, eq=False)
class TailBatch:
    """Draws of a frozen proposal.

    ``log_w``      (batch,) log φ/q
    ``above``      (batch,) whether the score is above the threshold
    ``expected``   (batch,) whether the surrogate is
    ``cheap``      (other,) w · 1{ŝ > t} of draws of q that only the surrogate was evaluated on
    ``largest_w``  bound on w
    """

    log_w: Float[Tensor, " batch"]
    above: Bool[Tensor, " batch"]
    expected: Bool[Tensor, " batch"]
    cheap: Float[Tensor, " other"]
    largest_w: float

    def __post_init__(self) -> None:
        if torch.isnan(self.log_w).any() or not torch.isfinite(self.log_w).any():
            raise DensityError(f"the {len(self.log_w)} log-weights hold nan, or nothing that is finite")
        if len(self.log_w) < 2 * FOLDS or len(self.cheap) < _BLOCKS:
            raise DensityError(
                f"got {len(self.log_w)} draws and {len(self.cheap)} of the surrogate alone, expected at least "
                f"{2 * FOLDS} and {_BLOCKS}"
            )


def estimate_tail(batch: TailBatch, *, training_evaluations: int = 0, level: float = 0.95) -> RareEventEstimate:
    """The probability of the event, by the formula above, with a studentised bootstrap interval."""
    w = batch.log_w.exp()
    event, expected = w * batch.above, w * batch.expected
    n, other = len(w), len(batch.cheap)
    coefficient = _coefficients(event, expected, other)
    terms = event - coefficient * expected
    c = float(coefficient.mean())
    value = float((terms + coefficient * batch.cheap.mean()).mean())
    error = math.sqrt(float(terms.var() / n + c**2 * batch.cheap.var() / other))
    blind = largest_unseen([1.0], [n / batch.largest_w], level=level)
    blocks = batch.cheap[: other - other % _BLOCKS].reshape(_BLOCKS, -1).mean(1)
    low, high = bootstrap_t(
        [each[:, None].detach().cpu().double().numpy() for each in (terms, blocks)], [1.0, c], level=level,
        replicates=REPLICATES,
    )  # fmt: skip
    seen = int(batch.above.sum())
    log_w, above = batch.log_w.detach().cpu().numpy(), batch.above.cpu().numpy()
    diagnostics = diagnose(log_w, above, tail=above)
    if seen == 0:
        value, error, limits = math.nan, math.nan, (0.0, blind)
    else:
        # A limit at 0 or 1 would leave out a value beyond it.
        limits = (
            float(low[0]) if value < 0 else max(float(low[0]), 0.0),
            float(high[0]) if value > 1 else min(float(high[0]), 1.0),
        )
    return RareEventEstimate(
        value=value,
        standard_error=error,
        low=limits[0],
        high=limits[1],
        level=level,
        plain=float(event.mean()),
        plain_standard_error=math.sqrt(float(event.var() / n)),
        coefficient=c,
        training_evaluations=training_evaluations,
        final_evaluations=n,
        seen=seen,
        disagreements=int((batch.above != batch.expected).sum()),
        diagnostics=diagnostics,
        blind_spot=blind,
        verdict=_verdict(seen, diagnostics),
    )


def _coefficients(event: Tensor, expected: Tensor, other: int) -> Tensor:
    """(batch,) c for each draw, from the other folds: it weighs what ŝ explains against the noise of P̂(ŝ > t).

    Between 0 and 1: where the other folds hold hardly any draw of ŝ > t, the ratio is noise of any size.
    """
    n = len(event)
    fold = torch.arange(n, device=event.device) % FOLDS
    out = torch.zeros_like(event)
    for part in range(FOLDS):
        rest = fold != part
        centred = expected[rest] - expected[rest].mean()
        variance = (centred**2).mean() * (1 + n / other)
        if float(variance) > 0:
            out[fold == part] = ((centred * event[rest]).mean() / variance).clamp(0.0, 1.0)
    return out


def _verdict(seen: int, diagnostics: WeightDiagnostics) -> Verdict:
    if seen == 0:
        return Verdict.NEVER_SEEN
    if diagnostics.ess_tail is None or diagnostics.ess_tail < LEAST_TAIL:
        return Verdict.FEW_SEEN
    if diagnostics.k_hat_values is not None and diagnostics.k_hat_values > diagnostics.threshold:
        return Verdict.HEAVY_WEIGHTS
    return Verdict.ANSWERED
