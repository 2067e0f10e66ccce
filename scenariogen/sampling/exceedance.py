"""Weighted draws counted from the largest value down: what quantiles and CVaR are read from.

The exceedance Ĝ(y) = Σ_s (A_s / n_s) Σ_i w_i 1{Y_i > y} of :mod:`scenariogen.sampling.quantiles`, its limits where they
cross a probability τ, and the studentised bootstrap of CVaR. A scenario with several seeds is one draw whose weight is
shared out among its seeds' runs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from scenariogen.sampling.diagnostics import effective_sample_size, log_abs
from scenariogen.sampling.importance import Stratum
from scenariogen.sampling.intervals import (
    BOOTSTRAP_SEED,
    REPLICATES,
    probability_limits,
    resamples,
    studentised_limits,
)

REACH = 3.0
"""Runs up to this multiple of τ from above take part in the bootstrap: no resample's quantile lies further down."""
FAR = 8.0
"""Standard errors from τ beyond which the limits of an exceedance need not be worked out."""
_CHUNK = 100_000
"""Numbers in a block of resamples: small enough for a processor's cache."""


def _with_room(tau: float) -> float:
    """τ with room for rounding: 1 − 0.9 is less than a tenth."""
    return tau * (1 + 1e-12)


@dataclass(frozen=True, eq=False)
class Exceedance:
    """All runs from the largest value down.

    ``values``    (run,) descending
    ``mass``      (run,) A_s w / (n_s · seeds of the scenario)
    ``scenario``  (run,) number of the scenario, counted through all strata
    ``stratum``   (scenario,) where it belongs
    ``sizes``     (stratum,) n_s
    """

    values: Float[np.ndarray, " run"]
    mass: Float[np.ndarray, " run"]
    scenario: Int[np.ndarray, " run"]
    stratum: Int[np.ndarray, " scenario"]
    sizes: Int[np.ndarray, " stratum"]

    @classmethod
    def of(cls, strata: Sequence[Stratum], values: Sequence[NDArray[np.float64]]) -> "Exceedance":
        """From strata with draws and their values, (batch, seeds) each, nan where a seed is missing."""
        sizes = np.array([len(s) for s in strata])
        shares = [
            (s.probability / len(s) * s.w / np.isfinite(v).sum(axis=1))[:, None] * np.ones(v.shape)
            for s, v in zip(strata, values, strict=True)
        ]
        numbers = np.split(np.arange(sizes.sum()), np.cumsum(sizes)[:-1])
        scenario = [each[:, None] + np.zeros(v.shape, int) for each, v in zip(numbers, values, strict=True)]
        y, mass, who = (np.concatenate([each.ravel() for each in part]) for part in (values, shares, scenario))
        known = np.flatnonzero(np.isfinite(y))
        order = known[np.argsort(-y[known], kind="stable")]
        return cls(y[order], mass[order], who[order], np.repeat(np.arange(len(sizes)), sizes), sizes)

    def quantile(self, tau: float) -> float:
        """The smallest value exceeded with probability at most ``tau``; nan where all runs together have no more."""
        place = int((np.cumsum(self.mass) <= _with_room(tau)).sum())
        return float(self.values[place]) if place < len(self.values) else math.nan

    def cvar(self, tau: float) -> float:
        """The mean of the worst share ``tau``; nan as :meth:`quantile`."""
        q = self.quantile(tau)
        return q + float((self.mass * np.maximum(self.values - q, 0.0)).sum()) / tau

    def scenario_sum(self, of_runs: NDArray[np.float64]) -> Float[np.ndarray, " scenario"]:
        """Σ over the runs of each scenario."""
        return np.bincount(self.scenario, weights=of_runs, minlength=len(self.stratum))

    def ess(self, q: float) -> float:
        """Kish's effective number of scenarios at or beyond ``q``."""
        return effective_sample_size(log_abs(self.scenario_sum(self.mass * (self.values >= q))))


def quantile_limits(runs: Exceedance, tau: float, *, level: float = 0.95) -> tuple[float, float]:
    """The smallest values at which the lower, and the upper, limit of the exceedance is no more than ``tau``.

    The limits are :func:`~scenariogen.sampling.intervals.probability_limits` with half the largest step of a draw down
    to twice ``tau`` (mid-P). ±inf where too few draws lie beyond them.
    """
    tau = _with_room(tau)
    value = np.append(np.unique(runs.values)[::-1], -math.inf)
    larger = np.searchsorted(-runs.values, -value, side="left")
    larger[-1] = len(runs.values)
    order = np.argsort(runs.scenario, kind="stable")
    start = np.searchsorted(runs.scenario[order], np.arange(len(runs.stratum)))
    rank = np.empty(len(order), dtype=np.int64)  # how many runs of the same scenario lie above
    rank[order] = np.arange(len(order)) - start[runs.scenario[order]]
    p, variance = np.zeros(len(value)), np.zeros(len(value))
    for number, size in enumerate(runs.sizes):
        own = np.where(runs.stratum[runs.scenario] == number, runs.mass, 0.0)
        total = np.append(0.0, np.cumsum(own))[larger]
        squares = np.append(0.0, np.cumsum(own**2 * (2 * rank + 1)))[larger]  # (k + 1)² − k² of the share
        p += total
        variance += np.maximum(squares - total**2 / size, 0.0)
    reach = int(np.searchsorted(np.cumsum(runs.mass), 2 * tau)) + 1
    step = float(runs.scenario_sum(runs.mass)[runs.scenario[:reach]].max()) / 2
    low = np.where(p > tau, 1.0, 0.0)
    high = low.copy()
    near = np.abs(p - tau) <= FAR * (np.sqrt(variance) + step)
    low[near], high[near] = probability_limits(np.minimum(p[near], 1.0), variance[near], step, level=level)
    crossed = int(np.argmax(high > tau)) if (high > tau).any() else len(value)
    return float(value[np.flatnonzero(low <= tau)[-1]]), math.inf if crossed == 0 else float(value[crossed - 1])


def cvar_limits(
    sides: Sequence[Exceedance], tau: float, *, level: float = 0.95
) -> tuple[float, float, tuple[float, float]]:
    """CVaR of the first of ``sides``, less that of the second where there is one: value, standard error, limits.

    Both hold the same scenarios in the same order. In each resample of scenarios the quantile is found anew; the
    variance is that of the scenarios' contributions to (1/τ) E (Y − q)⁺, for to first order CVaR does not depend on q.
    """
    value = math.fsum(sign * side.cvar(tau) for sign, side in zip((1, -1), sides, strict=False))
    first = sides[0]
    if not math.isfinite(value) or first.sizes.min() < 2:
        return value, math.nan, (-math.inf, math.inf)
    reach = [min(int(np.searchsorted(np.cumsum(s.mass), REACH * tau)) + 50, len(s.values)) for s in sides]
    who = np.unique(np.concatenate([s.scenario[:k] for s, k in zip(sides, reach, strict=True)]))
    parts = [_Part.of(side, k, who, sign) for sign, side, k in zip((1, -1), sides, reach, strict=False)]
    edges = np.searchsorted(first.stratum[who], np.arange(len(first.sizes) + 1))  # scenarios lie stratum by stratum
    groups = [(slice(edges[i], edges[i + 1]), int(size)) for i, size in enumerate(first.sizes)]
    _, own, terms = _resampled(np.ones((1, len(who))), parts, groups, tau)
    counts = np.zeros((REPLICATES, len(who)), dtype=np.uint16)
    begin = np.cumsum(first.sizes) - first.sizes
    for number, (columns, size) in enumerate(groups):
        for rows, drawn in resamples(size, REPLICATES, BOOTSTRAP_SEED + number):
            counts[rows, columns] = drawn[:, who[columns] - begin[number]]
    moved, spread = np.zeros(REPLICATES), np.zeros(REPLICATES)
    chunk = max(1, _CHUNK // len(who))
    for begin_row in range(0, REPLICATES, chunk):
        rows = slice(begin_row, begin_row + chunk)
        moved[rows], spread[rows], _ = _resampled(counts[rows].astype(np.float64), parts, groups, tau)
    steps = np.maximum(-terms.min(axis=1), 0.0) / tau, np.maximum(terms.max(axis=1), 0.0) / tau
    low, high = studentised_limits(
        np.array([value]), own, (moved[:, None] - value, spread[:, None]), steps=steps, level=level
    )
    return value, math.sqrt(own[0]), (float(low[0]), float(high[0]))


@dataclass(frozen=True, eq=False)
class _Part:
    """The upper runs of one side, and where each scenario's runs lie.

    ``column``  (run,) of the run's scenario among those resampled
    ``order``   (run,) runs by scenario; ``start`` (scenario,) the first of each; ``target`` (scenario,) its column
    """

    sign: int
    values: Float[np.ndarray, " run"]
    mass: Float[np.ndarray, " run"]
    column: Int[np.ndarray, " run"]
    order: Int[np.ndarray, " run"]
    start: Int[np.ndarray, " scenario"]
    target: Int[np.ndarray, " scenario"]

    @classmethod
    def of(cls, side: Exceedance, reach: int, who: NDArray[np.int64], sign: int) -> "_Part":
        column = np.searchsorted(who, side.scenario[:reach])
        order = np.argsort(column, kind="stable")
        target, start = np.unique(column[order], return_index=True)
        return cls(sign, side.values[:reach], side.mass[:reach], column, order, start, target)


def _resampled(
    counts: NDArray[np.float64], parts: Sequence[_Part], groups: Sequence[tuple[slice, int]], tau: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """CVaR (difference) and its variance, (replicate,), and the contributions, (replicate, scenario)."""
    replicates, scenarios = counts.shape
    terms, value = np.zeros((replicates, scenarios)), np.zeros(replicates)
    for part in parts:
        seen = np.cumsum(counts[:, part.column] * part.mass, axis=1)
        q = part.values[np.minimum((seen <= _with_room(tau)).sum(axis=1), len(part.values) - 1)]
        excess = part.values - q[:, None]
        np.maximum(excess, 0.0, out=excess)
        excess *= part.sign * part.mass
        excess = excess[:, part.order]
        if len(part.start) < len(part.order):
            excess = np.add.reduceat(excess, part.start, axis=1)
        if len(part.target) == scenarios:
            terms += excess
        else:
            terms[:, part.target] += excess
        value += part.sign * q
    weighed = counts * terms
    variance = np.zeros(replicates)
    for columns, size in groups:
        total = weighed[:, columns].sum(axis=1)
        squares = np.einsum("ij,ij->i", weighed[:, columns], terms[:, columns])
        variance += np.maximum(squares - total**2 / size, 0.0) * size / (size - 1)
    return value + weighed.sum(axis=1) / tau, variance / tau**2, terms
