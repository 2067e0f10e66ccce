"""Quantiles and CVaR (expected shortfall) under the target, and their differences on common draws.

With the stratum probabilities A_s, the weights w of :mod:`scenariogen.sampling.importance` and the exceedance

    Ĝ(y) = Σ_s (A_s / n_s) Σ_i w_i 1{Y_i > y},

counted from above, where the weights of the rest of the draws play no part, and with τ = 1 − ``at``:

quantile   q̂ = the smallest y with Ĝ(y) ≤ τ
CVaR       q̂ + (1/τ) Σ_s (A_s / n_s) Σ_i w_i (Y_i − q̂)⁺, the mean of the worst share τ, atoms divided (Rockafellar &
           Uryasev, *Conditional value-at-risk for general loss distributions*, 2002)

The quantile's limits are where the limits of the exceedance cross τ (Woodruff, *Confidence intervals for medians and
other position measures*, 1952); those are Clopper and Pearson's with half the step of a further draw near the tail
(mid-P), since a quantile has no atoms of its own to be conservative about. CVaR has a studentised bootstrap in which
the quantile is found anew in every resample. A difference of quantiles has MOVER limits, which are wide where both go
together; one of CVaRs the bootstrap, with both on the same resample.

A scenario with several simulator seeds is one draw, which lies in the tail in part, and is resampled whole.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling.diagnostics import tail_size
from scenariogen.sampling.exceedance import Exceedance, cvar_limits, quantile_limits
from scenariogen.sampling.importance import Stratum, WeightedEstimate, checked, cluster_means, combined_ess
from scenariogen.sampling.intervals import difference_interval

Runs = Sequence[NDArray[np.float64]] | None
"""What was measured: one array (batch,) or (batch, seeds) per stratum, nan where a seed is missing; None: the strata's
own values."""


@dataclass(frozen=True, kw_only=True)
class TailEstimate(WeightedEstimate):
    """A quantile or CVaR, or a difference of them. ``at`` is the level of the quantile.

    ``plain`` is the value itself, ``self_normalised`` the same with weights divided by their mean in each stratum;
    ``ess_tail`` that of the draws at or beyond the quantile (of the policy that has fewer, for a difference).
    """

    at: float


def estimate_quantile(
    strata: Sequence[Stratum], runs: Runs = None, *, at: float = 0.95, level: float = 0.95
) -> TailEstimate:
    """The quantile at ``at`` of the values under the target, with limits at ``level``.

    The standard error is that of a normal with the interval's width. Limits are ±inf where too few draws lie beyond
    them. ``DensityError`` for values of the wrong shape, infinite ones, strata without draws, or ``at`` outside (0, 1).
    """
    kept, values = _checked(strata, runs, at)
    tail = Exceedance.of(kept, values)
    q = tail.quantile(1 - at)
    low, high = quantile_limits(tail, 1 - at, level=level)
    return TailEstimate(
        at=at,
        value=q,
        standard_error=_error(low, high, level),
        low=low,
        high=high,
        plain=q,
        self_normalised=Exceedance.of(_normalised(kept), values).quantile(1 - at),
        ess=combined_ess(kept),
        draws=sum(map(len, kept)),
        ess_tail=tail.ess(q),
        integrand=_over_seeds(values, lambda y: (y > q).astype(np.float64)),
    )


def estimate_cvar(
    strata: Sequence[Stratum], runs: Runs = None, *, at: float = 0.95, level: float = 0.95
) -> TailEstimate:
    """The mean of the worst share 1 − ``at`` of the values under the target; errors as :func:`estimate_quantile`."""
    kept, values = _checked(strata, runs, at)
    _, error, (low, high) = cvar_limits([Exceedance.of(kept, values)], 1 - at, level=level)
    return replace(_cvar(kept, values, at), standard_error=error, low=low, high=high)


def _cvar(kept: Sequence[Stratum], values: Sequence[NDArray[np.float64]], at: float) -> TailEstimate:
    """CVaR without its error and limits."""
    tail = Exceedance.of(kept, values)
    q = tail.quantile(1 - at)
    return TailEstimate(
        at=at,
        value=(found := tail.cvar(1 - at)),
        standard_error=math.nan,
        low=-math.inf,
        high=math.inf,
        plain=found,
        self_normalised=Exceedance.of(_normalised(kept), values).cvar(1 - at),
        ess=combined_ess(kept),
        draws=sum(map(len, kept)),
        ess_tail=tail.ess(q),
        integrand=_over_seeds(values, lambda y: np.maximum(y - _from_where(tail, q), 0.0)),
    )


def estimate_quantile_difference(
    strata: Sequence[Stratum],
    runs: Sequence[NDArray[np.float64]],
    baseline: Sequence[NDArray[np.float64]],
    *,
    at: float = 0.95,
    level: float = 0.95,
) -> TailEstimate:
    """The quantile of ``runs`` less that of ``baseline`` on the same draws and seeds.

    Seeds that either lacks are left out. The limits are conservative where both go together: measured coverage 98 of
    100 at a correlation of 0.95.
    """
    kept, pairs = _paired(strata, runs, baseline, at)
    first, second = (estimate_quantile(kept, side, at=at, level=level) for side in pairs)
    low, high = -math.inf, math.inf
    if all(math.isfinite(limit) for each in (first, second) for limit in (each.low, each.high)):
        together = _correlation(kept, first.integrand, second.integrand)
        a, b = ((each.value, each.low, each.high) for each in (first, second))
        low, high = difference_interval(a, b, together, bound=math.inf)
    return replace(_difference(first, second), standard_error=_error(low, high, level), low=low, high=high)


def estimate_cvar_difference(
    strata: Sequence[Stratum],
    runs: Sequence[NDArray[np.float64]],
    baseline: Sequence[NDArray[np.float64]],
    *,
    at: float = 0.95,
    level: float = 0.95,
) -> TailEstimate:
    """The CVaR of ``runs`` less that of ``baseline`` on the same draws and seeds, left out where either is missing."""
    kept, pairs = _paired(strata, runs, baseline, at)
    first, second = (_cvar(kept, side, at) for side in pairs)
    _, error, (low, high) = cvar_limits([Exceedance.of(kept, side) for side in pairs], 1 - at, level=level)
    return replace(_difference(first, second), standard_error=error, low=low, high=high)


def _from_where(tail: Exceedance, q: float) -> float:
    """From where the excess is looked at when its tail's shape is asked for.

    That is ``q``, or lower where fewer runs lie beyond it than a shape takes: a Pareto tail keeps its shape.
    """
    enough = 2 * tail_size(len(tail.stratum))
    return min(q, float(tail.values[min(enough, len(tail.values)) - 1]))


def _difference(first: TailEstimate, second: TailEstimate) -> TailEstimate:
    """``first`` less ``second``, with the first's limits."""
    return replace(
        first,
        value=first.value - second.value,
        plain=first.plain - second.plain,
        self_normalised=first.self_normalised - second.self_normalised,
        ess_tail=min(first.ess_tail or 0.0, second.ess_tail or 0.0),
        integrand=tuple(a - b for a, b in zip(first.integrand, second.integrand, strict=True)),
    )


def _correlation(
    strata: Sequence[Stratum], first: Sequence[NDArray[np.float64]], second: Sequence[NDArray[np.float64]]
) -> float:
    """Correlation of two exceedances, and so, to first order, of their quantiles."""
    moments = np.zeros(3)
    for s, a, b in zip(strata, first, second, strict=True):
        x, y = s.w * a, s.w * b
        pairs = ((x, x), (y, y), (x, y))
        moments += s.probability**2 / len(s) * np.array([(u * v).mean() - u.mean() * v.mean() for u, v in pairs])
    spread = math.sqrt(max(moments[0] * moments[1], 0.0))
    return min(max(float(moments[2]) / spread, -1.0), 1.0) if spread > 0 else 0.0


def _error(low: float, high: float, level: float) -> float:
    """Standard error of a normal whose interval at ``level`` is as wide; nan where that is not finite."""
    width = high - low
    return width / 2 / NormalDist().inv_cdf(0.5 + level / 2) if math.isfinite(width) else math.nan


def _checked(strata: Sequence[Stratum], runs: Runs, at: float) -> tuple[list[Stratum], list[NDArray[np.float64]]]:
    """The strata that count and their values as (batch, seeds)."""
    problems = Problems("quantile")
    if not 0 < at < 1:
        problems.add(f"got a quantile at {at}, expected a level between 0 and 1")
    given = [s.values for s in strata] if runs is None else list(runs)
    if len(given) != len(strata):
        problems.add(f"got values for {len(given)} strata, expected {len(strata)}")
    kept, values = [], []
    for number, (stratum, raw) in enumerate(zip(strata, given, strict=False)):
        each = np.asarray(raw, dtype=np.float64)
        each = each[:, None] if each.ndim == 1 else each
        if each.ndim != 2 or len(each) != len(stratum):
            problems.add(f"got values {each.shape} in stratum {number}, expected ({len(stratum)}, seeds)")
        elif np.isinf(each).any() or np.isnan(each).all(axis=1).any():
            problems.add(f"the values of stratum {number} are infinite, or hold a scenario without any value")
        if stratum.probability > 0 and len(stratum):
            kept.append(stratum)
            values.append(each)
    empty = [number for number, s in enumerate(strata) if s.probability > 0 and not len(s)]
    if empty or not kept:
        problems.add(f"strata without draws: {empty or 'all'}; expected draws wherever the target has mass")
    problems.raise_as(DensityError)
    return checked(kept), values


def _paired(
    strata: Sequence[Stratum],
    runs: Sequence[NDArray[np.float64]],
    baseline: Sequence[NDArray[np.float64]],
    at: float,
) -> tuple[list[Stratum], tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]]:
    kept, first = _checked(strata, runs, at)
    _, second = _checked(strata, baseline, at)
    shapes = [(a.shape, b.shape) for a, b in zip(first, second, strict=True) if a.shape != b.shape]
    if shapes:
        raise DensityError(f"got values of shape {shapes[0][0]} and a baseline of {shapes[0][1]}, expected pairs")
    known = [np.isfinite(a) & np.isfinite(b) for a, b in zip(first, second, strict=True)]
    if not all(each.any(axis=1).all() for each in known):
        raise DensityError("a scenario has no seed that both the values and the baseline know")
    return kept, (
        [np.where(k, a, np.nan) for k, a in zip(known, first, strict=True)],
        [np.where(k, b, np.nan) for k, b in zip(known, second, strict=True)],
    )


def _normalised(strata: Sequence[Stratum]) -> list[Stratum]:
    """The same strata with weights of mean 1; weights of 0 stay."""
    return [
        Stratum(
            probability=s.probability,
            log_w=s.log_w - (math.log(mean) if (mean := float(s.w.mean())) > 0 else 0.0),
            values=s.values,
        )
        for s in strata
    ]


def _over_seeds(
    values: Sequence[NDArray[np.float64]], function: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> tuple[NDArray[np.float64], ...]:
    """(batch,) per stratum: mean of ``function`` over the known seeds of each scenario."""
    return tuple(cluster_means(np.where(np.isfinite(each), function(each), np.nan)) for each in values)
