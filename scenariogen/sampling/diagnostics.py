"""How far a weighted sample can be trusted: effective sample size and the Pareto shape of its tail.

Everything takes log weights (float64) and stays in log space; weights are looked at, never changed.
"""

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scenariogen.errors import DensityError

MIN_TAIL_VALUES = 10
"""Fewer distinct values in the tail than this, and its shape cannot be told."""
LEAST_STRETCH = 4.0
"""A heavy tail is long: with shape 0.7 and 20 to 60 values, the largest exceeds the value below the tail by more than
this factor in 95 to 99 of 100 samples. A shape above 0.5 fitted to a shorter tail has seen a gap between clusters of
values (weights that depend on counts have such), not a tail."""


@dataclass(frozen=True, kw_only=True)
class WeightDiagnostics:
    """What a set of weights, and of weights times values, looks like.

    ``draws``        number of draws
    ``ess``          effective sample size of the weights
    ``ess_tail``     effective number of draws inside the tail set (None where no tail set is asked for)
    ``k_hat``        Pareto shape of the weights (None: not enough distinct values in the tail to tell)
    ``k_hat_values`` Pareto shape of |weight × value| (None as above)
    ``threshold``    the shape above which an estimate is not to be trusted with this many draws
    """

    draws: int
    ess: float
    ess_tail: float | None
    k_hat: float | None
    k_hat_values: float | None
    threshold: float

    @property
    def worst_k_hat(self) -> float | None:
        """The larger of the two shapes, or None where neither can be told."""
        known = [k for k in (self.k_hat, self.k_hat_values) if k is not None]
        return max(known) if known else None

    @property
    def is_trustworthy(self) -> bool:
        """False where a shape that can be told lies above the threshold."""
        worst = self.worst_k_hat
        return worst is None or worst <= self.threshold

    @property
    def words(self) -> str:
        """Both shapes in words."""
        return f"Pareto k of w {k_hat_words(self.k_hat)}, of |w h| {k_hat_words(self.k_hat_values)}"


def effective_sample_size(log_w: ArrayLike, where: ArrayLike | None = None) -> float:
    """Kish's (Σ w)² / Σ w² over all draws, or over the draws for which ``where`` is true.

    ``log_w``: (batch,); ``where``: (batch,) bool. 0 where no draw carries weight. ``DensityError`` for log weights
    that are nan or +inf. Kish, *Survey Sampling*, 1965.

    >>> effective_sample_size([0.0, 0.0, 0.0, 0.0])
    4.0
    >>> effective_sample_size([0.0, 0.0, 5.0], where=[True, True, False])
    2.0
    """
    log_w = np.asarray(log_w, dtype=np.float64)
    if where is not None:
        log_w = log_w[np.asarray(where, dtype=bool)]
    _check_weights(log_w)
    if not log_w.size or np.isneginf(top := log_w.max()):
        return 0.0
    w = np.exp(log_w - top)
    return float(w.sum() ** 2 / (w**2).sum())


def pareto_threshold(draws: int) -> float:
    """min(1 − 1/log10 S, 0.7): with S draws an estimate above this shape has no useful error rate.

    Vehtari, Simpson, Gelman, Yao & Gabry, *Pareto smoothed importance sampling*, 2024. Below 10 draws no
    shape is small enough: minus infinity.
    """
    return min(1.0 - 1.0 / math.log10(draws), 0.7) if draws >= 10 else -math.inf


def tail_size(draws: int) -> int:
    """min(S/5, 3√S), the number of draws that a tail's shape is fitted to.

    >>> tail_size(100), tail_size(10_000)
    (20, 300)
    """
    return int(3 * math.sqrt(draws)) if draws > 225 else draws // 5


def pareto_k_hat(log_values: ArrayLike) -> float | None:
    """Shape of a generalised Pareto distribution fitted to the upper tail of exp(``log_values``).

    ``log_values``: (batch,), −∞ for a zero. The tail holds min(S/5, 3√S) draws, as in Vehtari et al. 2024, whose
    fit (``arviz-stats``) shrinks towards 0.5 where the tail is short. None where the tail holds fewer than
    :data:`MIN_TAIL_VALUES` distinct values, is mostly tied with the value below it, or is too short for the shape that
    was fitted to it (:data:`LEAST_STRETCH`): not enough to tell.
    """
    log_values = np.asarray(log_values, dtype=np.float64)
    tail = tail_size(log_values.size)
    if tail < MIN_TAIL_VALUES or not np.isfinite(log_values.max()):
        return None
    ordered = np.sort(log_values)
    values, cutoff = ordered[-tail:], ordered[-tail - 1]
    # The fit scales by the lower quartile of the excess over the cutoff, which must not be zero.
    if np.unique(values).size < MIN_TAIL_VALUES or not values[int(tail / 4 + 0.5) - 1] > cutoff:
        return None
    from arviz_stats.base.array import array_stats

    with warnings.catch_warnings(), np.errstate(all="ignore"):  # the smoothed weights, unused, may overflow
        warnings.simplefilter("ignore")
        _, k_hat = array_stats.psislw(-log_values)  # it takes log ratios with the sign of a log likelihood
    if not np.isfinite(k_hat) or (k_hat > 0.5 and values[-1] - cutoff < math.log(LEAST_STRETCH)):
        return None
    return float(k_hat)


def k_hat_words(k_hat: float | None) -> str:
    """A Pareto shape for people.

    >>> k_hat_words(0.312), k_hat_words(None)
    ('0.31', 'not enough to tell')
    """
    return "not enough to tell" if k_hat is None else f"{k_hat:.2f}"


def log_abs(values: ArrayLike) -> NDArray[np.float64]:
    """log |value|, −∞ at zero, without a warning."""
    with np.errstate(divide="ignore"):
        return np.log(np.abs(np.asarray(values, dtype=np.float64)))


def diagnose(log_w: ArrayLike, values: ArrayLike | None = None, *, tail: ArrayLike | None = None) -> WeightDiagnostics:
    """All diagnostics of one weighted sample.

    ``log_w``: (batch,); ``values``: (batch,), what is averaged; ``tail``: (batch,) bool, the set whose
    effective size is asked for. ``DensityError`` for log weights that are nan or +inf, and values that are nan.
    """
    log_w = np.asarray(log_w, dtype=np.float64)
    _check_weights(log_w)
    if values is not None and np.isnan(np.asarray(values, dtype=np.float64)).any():
        raise DensityError("the values to diagnose hold nan")
    return WeightDiagnostics(
        draws=int(log_w.size),
        ess=effective_sample_size(log_w),
        ess_tail=None if tail is None else effective_sample_size(log_w, tail),
        k_hat=pareto_k_hat(log_w),
        k_hat_values=None if values is None else pareto_k_hat(log_w + log_abs(values)),
        threshold=pareto_threshold(log_w.size),
    )


def _check_weights(log_w: NDArray[np.float64]) -> None:
    wrong = int((np.isnan(log_w) | np.isposinf(log_w)).sum())
    if wrong:
        raise DensityError(f"{wrong} of {log_w.size} log weights are nan or +inf")
