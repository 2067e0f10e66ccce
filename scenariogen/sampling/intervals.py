"""Intervals that hold up with skew, with atoms, and when the event was never seen.

A mean gets a studentised bootstrap interval (Hall, *Theoretical comparison of bootstrap confidence intervals*,
1988; Efron & Tibshirani, *An introduction to the bootstrap*, 1993, chapter 12), whose error leaves room on each side
for one more draw like the farthest one on that side: without it a mean of Pareto draws without third moment is
covered in 92 to 93 of 100 cases, with it in 93 to 94, and light tails do not notice. A probability gets Clopper and
Pearson's interval (*The use of confidence or fiducial limits*, 1934) carried over to weighted draws after Fay &
Feuer, *Confidence intervals for directly standardized rates*, 1997. A difference of two probabilities, or of two
quantiles, gets the MOVER interval of Zou & Donner, *Construction of confidence limits about effect measures*, 2008.

The resampling counts depend on the number of draws and on a fixed seed only, so the same data always give the
same interval.
"""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scenariogen.errors import DensityError

REPLICATES = 1999
BOOTSTRAP_SEED = 20_131
_ROUNDING = 1e-12
"""A standard error below this share of the answer is rounding."""
_CHUNK = 4_000_000
"""Largest number of resampling counts held at once."""
_SMALL = 400_000
"""Up to this number of counts they are kept for many strata, beyond it for few."""


def check_level(level: float) -> None:
    """``DensityError`` unless 0 < level < 1."""
    if not 0 < level < 1:
        raise DensityError(f"got the level {level:g}, expected a number between 0 and 1, such as 0.95")


def bootstrap_t(
    terms: Sequence[NDArray[np.float64]],
    scales: ArrayLike,
    *,
    level: float = 0.95,
    replicates: int = REPLICATES,
    seed: int = BOOTSTRAP_SEED,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Limits of Σ_s scale_s · mean(terms_s) by resampling each stratum on its own.

    With mean m, standard error e, studentised resamples t and the largest step of one draw above and below its
    stratum's mean, a⁺ and a⁻ (scale × distance / draws), the limits are

        m − t_0.975 · √(e² + a⁻²)    and    m − t_0.025 · √(e² + a⁺²).

    ``terms``: one array (batch, answers) per stratum, independent rows, at least 2 of them; ``scales``: (stratum,)
    or (stratum, answers). Returns two arrays (answers,). A limit is infinite where too few different values were
    drawn to bound that side: more than (1 − level)/2 of the resamples show no variation at all, or the values
    themselves show none beyond rounding.
    """
    answers = terms[0].shape[1]
    scales = np.broadcast_to(np.asarray(scales, dtype=np.float64).reshape(len(terms), -1), (len(terms), answers))
    shift = np.zeros((replicates, answers))
    variance = np.zeros((replicates, answers))
    centre, own, above, below = (np.zeros(answers) for _ in range(4))
    for number, (values, scale) in enumerate(zip(terms, scales, strict=True)):
        n = len(values)
        mean = values.mean(axis=0)
        centred = values - mean  # before squaring, so that a large common level costs no digits
        centre += scale * mean
        own += scale**2 * (centred**2).mean(axis=0) / (n - 1)
        above = np.maximum(above, scale * centred.max(axis=0) / n)
        below = np.maximum(below, -scale * centred.min(axis=0) / n)
        for rows, counts in resamples(n, replicates, seed + number):
            moved = counts @ centred / n
            shift[rows] += scale * moved
            variance[rows] += scale**2 * np.maximum(counts @ centred**2 / n - moved**2, 0.0) / (n - 1)
    return studentised_limits(centre, own, (shift, variance), steps=(below, above), level=level)


def studentised_limits(
    centre: NDArray[np.float64],
    variance: NDArray[np.float64],
    resampled: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    steps: tuple[NDArray[np.float64], NDArray[np.float64]],
    level: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Limits from resamples: ``resampled`` are their distances from ``centre`` and variances, (replicate, answer).

    ``centre``, ``variance``, ``steps``: (answer,), of the answer itself and of one draw below and above. A limit is
    infinite where resamples without any variation decide it.
    """
    check_level(level)
    shift, spread = resampled
    nothing = spread <= 1e-12 * variance
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(nothing, np.copysign(np.inf, shift), shift / np.sqrt(spread))
    tail = (1 - level) / 2
    # Order statistics, not interpolation: an infinite neighbour would make the limit a nan.
    upper_t = np.quantile(t, 1 - tail, axis=0, method="higher")
    lower_t = np.quantile(t, tail, axis=0, method="lower")
    below, above = (np.sqrt(variance + step**2) for step in steps)
    with np.errstate(invalid="ignore"):
        flat = np.sqrt(variance) <= _ROUNDING * np.abs(centre)  # equal values bound nothing
        low = np.where(flat, -np.inf, centre - upper_t * below)
        high = np.where(flat, np.inf, centre - lower_t * above)
    return low, high


def resamples(n: int, replicates: int, seed: int) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Counts of each draw in each resample, (replicate, draw), in chunks that fit the memory, with their rows."""
    size = max(1, _CHUNK // n)
    if replicates <= size:
        kept = _small_counts if n * replicates <= _SMALL else _large_counts
        yield slice(0, replicates), kept(n, replicates, seed)
        return
    for begin in range(0, replicates, size):
        end = min(begin + size, replicates)
        yield slice(begin, end), _draw_counts(n, end - begin, seed + 7919 * (1 + begin))


def _draw_counts(n: int, replicates: int, seed: int) -> NDArray[np.float64]:
    generator = np.random.default_rng([seed, n])
    picks = generator.integers(0, n, size=(replicates, n)) + n * np.arange(replicates)[:, None]
    return np.bincount(picks.ravel(), minlength=n * replicates).reshape(replicates, n).astype(np.float64)


_small_counts = lru_cache(maxsize=24)(_draw_counts)
_large_counts = lru_cache(maxsize=4)(_draw_counts)


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
    low, high = probability_limits(np.array([p]), np.array([variance]), largest_step, level=level)
    return float(low[0]), float(high[0])


def probability_limits(
    p: NDArray[np.float64], variance: NDArray[np.float64], largest_step: float, *, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """:func:`probability_interval` of many probabilities at once; all arrays have shape (answer,)."""
    check_level(level)
    return 1.0 - _upper(1.0 - p, variance, largest_step, level), _upper(p, variance, largest_step, level)


def _upper(p: NDArray[np.float64], variance: NDArray[np.float64], step: float, level: float) -> NDArray[np.float64]:
    from scipy.special import betaincinv

    left = np.maximum(1.0 - p, 1e-300)
    mean = (p + step) / (1.0 + step)
    events = (p + step) ** 2 / (variance / left + step**2)
    limit = betaincinv(events, events * np.maximum(1.0 - mean, 1e-300) / mean, 1 - (1 - level) / 2)
    return np.where(p >= 1.0, 1.0, limit)


def difference_interval(
    more: tuple[float, float, float],
    less: tuple[float, float, float],
    correlation: float = 0.0,
    *,
    bound: float = 1.0,
) -> tuple[float, float]:
    """MOVER limits for a − b from (value, low, high) of each, never beyond ± ``bound``.

    ``DensityError`` for a difference beyond the bound.

    For probabilities ``more`` is that of the first alone of a pair showing the event, ``less`` that of the second
    alone; ``correlation`` is that of the two estimates. The interval does not collapse when no pair disagreed.
    """
    (a, a_low, a_high), (b, b_low, b_high) = more, less
    if abs(a - b) > bound * (1 + 1e-9):
        raise DensityError(f"the difference {a - b:.6g} lies beyond its bound {bound:g}")
    down, up = (a - a_low, b_high - b), (a_high - a, b - b_low)

    def spread(x: float, y: float) -> float:
        return math.sqrt(max(x * x + y * y - 2 * correlation * x * y, 0.0))

    return max(-bound, a - b - spread(*down)), min(bound, a - b + spread(*up))


def largest_unseen(probabilities: ArrayLike, draws: ArrayLike, *, level: float = 0.95) -> float:
    """The largest probability of a region that none of the draws fell in, still allowed at ``level``.

    ``probabilities``: (stratum,) of the strata; ``draws``: (stratum,) number of draws from the target in each.
    Of all ways to spread a region over strata, the one inside a single stratum can be largest, since the
    chance of missing it is a product: max_s P_s · (1 − 0.05^(1/n_s)), about 3/n.

    >>> round(largest_unseen([1.0], [300]), 5)
    0.00994
    """
    check_level(level)
    pairs = zip(np.atleast_1d(probabilities), np.atleast_1d(draws), strict=True)
    return max(float(p) * (-math.expm1(math.log(1 - level) / n) if n > 0 else 1.0) for p, n in pairs)
