"""Discrete draws by inverse CDF: categorical tables, Poisson counts, zero-truncated Poisson counts.

One uniform number a draw: a draw is a monotone function of its noise, and depends on nothing else.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scenariogen.errors import ConditionError, DensityError

SUMMED_UP_TO = 700.0
"""Largest mean whose probabilities are summed from 0 upwards; exp(−mean) leaves double precision soon after."""
LARGEST_MEAN = 1e9
_REACH = 40.0
"""Half the width, in standard deviations, of the bracket in which the quantile of a large mean is sought."""


def draw_category(noise: Float[Tensor, " batch"], weights: Float[Tensor, "*batch option"]) -> Int[Tensor, " batch"]:
    """Index of the category that each noise falls into.

    ``noise`` has shape (batch,), ``weights`` shape (category,) or (batch, category), finite and at least 0
    (``DensityError`` otherwise) with a positive sum per row (``ConditionError``). Categories of weight 0 are never
    drawn.
    """
    if not torch.isfinite(weights).all() or (weights < 0).any():
        raise DensityError("the weights of a categorical draw must be finite and at least 0")
    cumulative = weights.to(torch.float64).cumsum(-1)
    total = cumulative[..., -1:]
    if (total <= 0).any():
        raise ConditionError("all weights of a categorical draw are 0: the condition has probability zero")
    if weights.dim() == 1:
        drawn = torch.searchsorted(cumulative, noise * total, right=True)
    else:
        drawn = torch.searchsorted(cumulative, (noise[:, None] * total), right=True).squeeze(-1)
    # Rounding can carry a noise near 1 past the last category that has weight.
    last = (weights > 0).to(torch.int64) * torch.arange(weights.shape[-1], device=weights.device)
    return torch.minimum(drawn, last.amax(-1))


def draw_poisson(
    noise: Float[Tensor, " batch"], mean: Float[Tensor, " batch"], *, at_least_one: bool = False
) -> Int[Tensor, " batch"]:
    """Poisson counts by inverse CDF: the smallest n with P(N ≤ n) ≥ noise.

    With ``at_least_one`` given that the count is not 0 (zero-truncated): P(1 ≤ N ≤ n) ≥ noise · (1 − e^(−mean)).
    Means up to 700 are summed up from 0; beyond, P(N ≤ n) is the regularised incomplete gamma function Q(n + 1, mean),
    accurate to 1e-10, and n is found by bisection.

    ``DensityError`` for a mean that is nan, infinite, negative or above 1e9; ``ConditionError`` for a truncated count
    whose mean is 0.
    """
    mean = mean.to(torch.float64)
    if not (torch.isfinite(mean) & (mean >= 0) & (mean <= LARGEST_MEAN)).all():
        raise DensityError(f"the mean of a Poisson count must lie in 0 to {LARGEST_MEAN:g}, got {_worst(mean):g}")
    if at_least_one and (mean <= 0).any():
        raise ConditionError("a count given at least one point needs a positive mean: the condition has probability 0")
    is_large = mean > SUMMED_UP_TO
    count = _summed(noise, torch.where(is_large, torch.ones_like(mean), mean), at_least_one=at_least_one)
    if is_large.any():
        count[is_large] = _bisected(noise[is_large], mean[is_large])  # P(N = 0) < 1e-304: truncation changes nothing
    return count.to(torch.int64)


def _worst(mean: Tensor) -> float:
    wrong = ~(torch.isfinite(mean) & (mean >= 0) & (mean <= LARGEST_MEAN))
    return float(mean[wrong][0])


def _summed(noise: Tensor, mean: Tensor, *, at_least_one: bool) -> Tensor:
    probability = mean * torch.exp(-mean) if at_least_one else torch.exp(-mean)
    target = noise * (-torch.expm1(-mean)) if at_least_one else noise
    count = torch.full_like(mean, 1.0 if at_least_one else 0.0)
    cumulative = probability.clone()
    while True:
        # A term too small to change the sum ends it: a noise within rounding of 1 would otherwise run far into the tail
        unfinished = (cumulative < target) & (probability > cumulative * 2.0**-54)
        if not unfinished.any():
            return count
        probability = torch.where(unfinished, probability * mean / (count + 1), probability)
        count = torch.where(unfinished, count + 1, count)
        cumulative = torch.where(unfinished, cumulative + probability, cumulative)


def _bisected(noise: Tensor, mean: Tensor) -> Tensor:
    noise = noise.to(torch.float64)
    low = torch.floor(mean - _REACH * mean.sqrt()).clamp_min(-1.0)  # P(N ≤ low) < noise ≤ P(N ≤ high)
    high = torch.ceil(mean + _REACH * mean.sqrt())
    while bool((high - low > 1).any()):
        middle = torch.floor((low + high) / 2)
        reached = torch.special.gammaincc(middle + 1, mean) >= noise
        high, low = torch.where(reached, middle, high), torch.where(reached, low, middle)
    return high


def log1mexp(x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """log(1 − exp(−x)) for x ≥ 0, accurate at both ends (Mächler, 2012); −inf at 0."""
    small = x < 0.6931471805599453
    near = torch.log(-torch.expm1(-x))
    far = torch.log1p(-torch.exp(-torch.where(small, torch.ones_like(x), x)))
    return torch.where(small, near, far)
