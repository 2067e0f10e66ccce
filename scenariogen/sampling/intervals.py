"""Intervals that hold up with skew, with atoms, and when the event was never seen.

A mean gets a studentised bootstrap interval (Hall, *Theoretical comparison of bootstrap confidence intervals*,
1988; Efron & Tibshirani, *An introduction to the bootstrap*, 1993, chapter 12). A probability gets Clopper and
Pearson's interval (*The use of confidence or fiducial limits*, 1934) carried over to weighted draws after Fay &
Feuer, *Confidence intervals for directly standardized rates*, 1997. A difference of two probabilities gets the
MOVER interval of Zou & Donner, *Construction of confidence limits about effect measures*, 2008.

The resampling counts depend on the number of draws and on a fixed seed only, so the same data always give the
same interval.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

REPLICATES = 1999
BOOTSTRAP_SEED = 20_131
_CHUNK = 4_000_000
"""Largest number of resampling counts held at once."""


def bootstrap_t(
    terms: Sequence[NDArray[np.float64]],
    scales: ArrayLike,
    *,
    level: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = BOOTSTRAP_SEED,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Limits of Σ_s scale_s · mean(terms_s) by resampling each stratum on its own.

    ``terms``: one array (batch, answers) per stratum, independent rows, at least 2 of them; ``scales``: (stratum,)
    or (stratum, answers). Returns two arrays (answers,). A limit is infinite where too few different values were
    drawn to bound that side: more than (1 − level)/2 of the resamples show no variation at all.
    """
    answers = terms[0].shape[1]
    scales = np.broadcast_to(np.asarray(scales, dtype=np.float64).reshape(len(terms), -1), (len(terms), answers))
    shift = np.zeros((replicates, answers))
    variance = np.zeros((replicates, answers))
    centre, own = np.zeros(answers), np.zeros(answers)
    for number, (values, scale) in enumerate(zip(terms, scales, strict=True)):
        n = len(values)
        mean = values.mean(axis=0)
        centred = values - mean  # before squaring, so that a large common level costs no digits
        centre += scale * mean
        own += scale**2 * (centred**2).mean(axis=0) / (n - 1)
        for rows, counts in _resamples(n, replicates, seed + number):
            moved = counts @ centred / n
            shift[rows] += scale * moved
            variance[rows] += scale**2 * np.maximum(counts @ centred**2 / n - moved**2, 0.0) / (n - 1)
    nothing = variance <= 1e-12 * own
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(nothing, np.copysign(np.inf, shift), shift / np.sqrt(variance))
    error = np.sqrt(own)
    tail = (1 - level) / 2
    # Order statistics, not interpolation: an infinite neighbour would make the limit a nan.
    upper_t = np.quantile(t, 1 - tail, axis=0, method="higher")
    lower_t = np.quantile(t, tail, axis=0, method="lower")
    constant = error == 0
    with np.errstate(invalid="ignore"):
        low = np.where(constant, centre, centre - upper_t * error)
        high = np.where(constant, centre, centre - lower_t * error)
    return low, high


def _resamples(n: int, replicates: int, seed: int):
    """Counts of each draw in each resample, in chunks that fit the memory."""
    size = max(1, _CHUNK // n)
    if replicates <= size:
        yield slice(0, replicates), _counts(n, replicates, seed)
        return
    for begin in range(0, replicates, size):
        end = min(begin + size, replicates)
        yield slice(begin, end), _draw_counts(n, end - begin, seed + 7919 * (1 + begin))


@lru_cache(maxsize=4)
def _counts(n: int, replicates: int, seed: int) -> NDArray[np.float64]:
    return _draw_counts(n, replicates, seed)


def _draw_counts(n: int, replicates: int, seed: int) -> NDArray[np.float64]:
    generator = np.random.default_rng([seed, n])
    picks = generator.integers(0, n, size=(replicates, n)) + n * np.arange(replicates)[:, None]
    return np.bincount(picks.ravel(), minlength=n * replicates).reshape(replicates, n).astype(np.float64)


def probability_interval(p: float, variance: float, largest_step: float, *, level: float = 0.95) -> tuple[float, float]:
    """Clopper–Pearson limits for a probability estimated from weighted draws.

    ``p``             the estimate, between 0 and 1
    ``variance``      of the estimate, with divisor n (0 where no event, or nothing but events, was seen)
    ``largest_step``  how much one further event could add to ``p``: the largest weight divided by the draws

    The upper limit treats the next, unseen event as one that carries the largest weight: it is the quantile of a
    beta distribution with mean (p + step)/(1 + step) and the matching number of effective events
    (p + step)² / (variance/(1 − p) + step²). The lower limit is that of the complement. With equal weights
    (step = 1/n) both are Clopper and Pearson's, exactly; with no event seen the upper limit is 1 − 0.025^step.

    >>> low, high = probability_interval(0.1, 0.1 * 0.9 / 50, 1 / 50)
    >>> round(low, 4), round(high, 4)
    (0.0333, 0.2181)
    """
    return 1.0 - _upper(1.0 - p, variance, largest_step, level), _upper(p, variance, largest_step, level)


def _upper(p: float, variance: float, step: float, level: float) -> float:
    from scipy.stats import beta

    if p >= 1.0:
        return 1.0
    mean = (p + step) / (1.0 + step)
    events = (p + step) ** 2 / (variance / (1.0 - p) + step**2)
    return float(beta.ppf(1 - (1 - level) / 2, events, events * (1.0 - mean) / mean))


def difference_interval(
    more: tuple[float, float, float], less: tuple[float, float, float], correlation: float = 0.0
) -> tuple[float, float]:
    """MOVER limits for p₁₀ − p₀₁ from (value, low, high) of each.

    ``more`` is the probability that only the first of a pair shows the event, ``less`` that only the second
    does; ``correlation`` that of the two estimates. It does not collapse when no pair disagreed.
    """
    (a, a_low, a_high), (b, b_low, b_high) = more, less
    down, up = (a - a_low, b_high - b), (a_high - a, b - b_low)

    def spread(x: float, y: float) -> float:
        return math.sqrt(max(x * x + y * y - 2 * correlation * x * y, 0.0))

    return max(-1.0, a - b - spread(*down)), min(1.0, a - b + spread(*up))


def largest_unseen(probabilities: ArrayLike, draws: ArrayLike, *, level: float = 0.95) -> float:
    """The largest probability of a region that none of the draws fell in, still allowed at ``level``.

    ``probabilities``: (stratum,) of the strata; ``draws``: (stratum,) number of draws from the target in each.
    Of all ways to spread a region over strata, the one inside a single stratum can be largest, since the
    chance of missing it is a product: max_s P_s · (1 − 0.05^(1/n_s)), about 3/n.

    >>> round(largest_unseen([1.0], [300]), 5)
    0.00994
    """
    pairs = zip(np.atleast_1d(probabilities), np.atleast_1d(draws), strict=True)
    return max(float(p) * (-math.expm1(math.log(1 - level) / n) if n > 0 else 1.0) for p, n in pairs)
