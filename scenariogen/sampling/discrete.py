"""Discrete draws by inverse CDF: categorical tables, Poisson counts, zero-truncated Poisson counts."""

import torch
from torch import Tensor


def draw_category(noise: Tensor, weights: Tensor) -> Tensor:
    """Index of the category that each noise falls into.

    ``noise`` has shape (batch,), ``weights`` shape (category,) or (batch, category), non-negative with a positive
    sum per row (``ValueError`` otherwise). Categories of weight 0 are never drawn.
    """
    if not torch.isfinite(weights).all() or (weights < 0).any():
        raise ValueError("the weights of a categorical draw must be finite and at least 0")
    cumulative = weights.to(torch.float64).cumsum(-1)
    total = cumulative[..., -1:]
    if (total <= 0).any():
        raise ValueError("all weights of a categorical draw are 0: the condition has probability zero")
    if weights.dim() == 1:
        drawn = torch.searchsorted(cumulative, noise * total, right=True)
    else:
        drawn = torch.searchsorted(cumulative, (noise[:, None] * total), right=True).squeeze(-1)
    # Rounding can carry a noise near 1 past the last category that has weight.
    last = (weights > 0).to(torch.int64) * torch.arange(weights.shape[-1], device=weights.device)
    return torch.minimum(drawn, last.amax(-1))


def draw_poisson(noise: Tensor, mean: Tensor, *, at_least_one: bool = False) -> Tensor:
    """Poisson counts by inverse CDF; with ``at_least_one`` given that the count is not 0 (zero-truncated).

    ``noise`` and ``mean`` have shape (batch,); a truncated count needs a positive mean (``ValueError``).
    """
    if at_least_one and (mean <= 0).any():
        raise ValueError(
            "a count given at least one incident needs a positive mean: the condition has probability zero"
        )
    mean = mean.to(torch.float64)
    probability = mean * torch.exp(-mean) if at_least_one else torch.exp(-mean)
    target = noise * (-torch.expm1(-mean)) if at_least_one else noise
    count = torch.full_like(mean, 1.0 if at_least_one else 0.0)
    cumulative = probability.clone()
    for _ in range(10_000):
        unfinished = (cumulative < target) & (probability > 0)
        if not unfinished.any():
            break
        probability = torch.where(unfinished, probability * mean / (count + 1), probability)
        count = torch.where(unfinished, count + 1, count)
        cumulative = torch.where(unfinished, cumulative + probability, cumulative)
    return count.to(torch.int64)


def log1mexp(x: Tensor) -> Tensor:
    """log(1 − exp(−x)) for x ≥ 0, accurate at both ends (Mächler, 2012); −inf at 0."""
    small = x < 0.6931471805599453
    near = torch.log(-torch.expm1(-x))
    far = torch.log1p(-torch.exp(-torch.where(small, torch.ones_like(x), x)))
    return torch.where(small, near, far)
