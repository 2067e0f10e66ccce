"""Means and probabilities under a target from draws of a proposal, stratum by stratum.

Write A_s for the probability of stratum s under the target, w = target/proposal for the weight of a draw inside
its stratum (both densities normalised there, so that E_q[w] = 1), h for its value. Then

    E[h] = Σ_s A_s · E_q[w h | s].

Three forms of each stratum's mean are kept:

plain            (1/n) Σ w h                            unbiased, noisy where h has a large common level
of record        (1/n) Σ (w h − b (w − 1) − d · w g)    unbiased too: E_q[w − 1] = 0 and E_q[w g] = 0 for controls g
                                                        of known target mean 0; b and d, a ridge regression of w h
                                                        on both, are fitted on the other fifths of the draws
self-normalised  Σ w h / Σ w                            biased by O(1/n), the usual cross-check

(Owen, *Monte Carlo theory, methods and examples*, 2013, chapters 8 and 9.) The form of record is unbiased for a fixed
design, with proposals that were fixed before their draws were made; weights are never smoothed or clipped. Several
simulator seeds of one scenario are averaged first: the scenario is the independent unit, the cluster.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling.diagnostics import effective_sample_size
from scenariogen.sampling.intervals import bootstrap_t, difference_interval, largest_unseen, probability_interval

FOLDS = 5
RIDGE = 0.1
"""A control that varies less than this explains little and is hardly used: weights that are nearly equal, or nearly a
function of the other controls, would otherwise get coefficients that are noise."""
LARGEST_LOG_WEIGHT = 300.0
"""Squares of larger weights overflow."""
FROM_ONE = 1e-6
"""What the probabilities of all strata may exceed 1 by, as rounding."""
FAR_FROM_ONE = 0.5
"""Weights whose mean lies further from 1 miss part of the target: coefficients fitted to them are 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stratum:
    """Draws from one stratum.

    ``probability``  of the stratum under the target
    ``log_w``        (batch,) log of target over proposal inside the stratum
    ``values``       (batch,) what is averaged, one finite number per scenario
    ``controls``     (batch, control) functions of the draws whose mean under the target is 0 in the stratum; None: none
    ``weight_bound`` what no weight can exceed, wherever the target may draw: 1 for draws from the target itself, 1/α
                     where the proposal holds a share α of it; None: not known

    ``DensityError`` with all that is wrong, a weight above the bound included.
    """

    probability: float
    log_w: NDArray[np.float64] = field(repr=False)
    values: NDArray[np.float64] = field(repr=False)
    controls: NDArray[np.float64] | None = field(default=None, repr=False)
    weight_bound: float | None = None

    def __post_init__(self) -> None:
        for name in ("log_w", "values"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        problems = Problems("stratum")
        if self.log_w.shape != self.values.shape or self.log_w.ndim != 1:
            problems.add(f"log_w and values need one shape (batch,), got {self.log_w.shape}, {self.values.shape}")
        if self.controls is not None and (self.controls.ndim != 2 or len(self.controls) != len(self.log_w)):
            problems.add(f"controls need a shape ({len(self.log_w)}, control), got {self.controls.shape}")
        if not 0 <= self.probability <= 1:
            problems.add(f"the probability of a stratum is {self.probability}, expected 0 to 1")
        if np.isnan(self.log_w).any() or (self.log_w > LARGEST_LOG_WEIGHT).any():
            problems.add(f"log_w holds nan or numbers above {LARGEST_LOG_WEIGHT:g}; a weight must be a number")
        elif self.weight_bound is not None and not self.weight_bound >= 1 - 1e-9:
            problems.add(f"the bound of the weights is {self.weight_bound}, expected at least 1, their mean")
        elif self.weight_bound is not None and self.log_w.size:
            largest = math.exp(float(self.log_w.max()))
            if largest > self.weight_bound * (1 + 1e-6):
                problems.add(f"a weight of {largest:.6g} exceeds the bound of the weights, {self.weight_bound:.6g}")
        for name, numbers in (("values", self.values), ("controls", self.controls)):
            if numbers is not None and not np.isfinite(numbers).all():
                problems.add(f"{name} hold {int((~np.isfinite(numbers)).sum())} numbers that are nan or infinite")
        problems.raise_as(DensityError)

    def __len__(self) -> int:
        return self.log_w.size

    @cached_property
    def w(self) -> NDArray[np.float64]:
        """(batch,) the weights themselves."""
        return np.exp(self.log_w)

    @property
    def ess(self) -> float:
        """Effective sample size of the weights."""
        return effective_sample_size(self.log_w)

    @property
    def draws_from_target(self) -> float:
        """How many of the draws a rejection sampler would keep as draws from the target: n / max w.

        The maximum is ``weight_bound``, or, where that is not known, the largest weight that was seen.
        """
        if not len(self):
            return 0.0
        return len(self) / max(float(self.w.max()) if self.weight_bound is None else self.weight_bound, 1.0)

    def unseen(self, level: float = 0.95) -> float:
        """The largest probability, inside the stratum, of a region without a draw that is still allowed at ``level``.

        With bounded weights a region of probability ρ is met by each draw with probability ρ / bound at least. Without
        a bound nothing is known of the weights where no draw lies, but all weights average 1: what the seen ones
        leave to that, 1 − w̄ + z σ̂ / √n, may be unseen, and no less than if the largest weight had been seen.
        """
        by_number = largest_unseen([1.0], [self.draws_from_target], level=level)
        return by_number if self.weight_bound is not None else max(by_number, missing_mass([self], [1.0], level=level))

    @property
    def weight_gap(self) -> float:
        """How far the mean weight lies from 1, in standard errors. Densities that fit give a few at most."""
        if len(self) < 2:
            return 0.0
        error = self.w.std(ddof=1) / math.sqrt(len(self))
        gap = abs(float(self.w.mean()) - 1.0)
        return gap / error if error > 1e-12 else (0.0 if gap < 1e-9 else math.inf)

    def replace_values(self, values: ArrayLike) -> "Stratum":
        """The same draws, weights and controls with other values."""
        return replace(self, values=np.asarray(values, dtype=np.float64))

    def without_controls(self) -> "Stratum":
        """The same draws, corrected by their weights alone."""
        return replace(self, controls=None)

    def terms(self) -> NDArray[np.float64]:
        """(batch,) w h − b (w − 1) − d · w g: independent up to b's and d's noise, their mean is the stratum's."""
        return control_terms(self.w, self.values, self.controls)


@dataclass(frozen=True, kw_only=True)
class WeightedEstimate:
    """An estimate and how sure it is. ``low`` and ``high`` bound it at the level asked, ±inf where they cannot.

    ``plain`` and ``self_normalised`` are the other two forms; ``ess`` is Kish's over all strata together, ``ess_tail``
    that of the draws that show the event or lie in the tail (None for a mean). ``integrand``: one array (batch,) per
    stratum, what was averaged; strata of probability 0 are left out.
    """

    value: float
    standard_error: float
    low: float
    high: float
    plain: float
    self_normalised: float
    ess: float
    draws: int
    ess_tail: float | None = None
    integrand: tuple[NDArray[np.float64], ...] = field(default=(), repr=False, compare=False)


def cluster_means(values: ArrayLike) -> NDArray[np.float64]:
    """(batch,) mean over the simulator seeds of each scenario.

    ``values``: (batch, seeds), nan where a run is missing; a scenario without any run stays nan.
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.isfinite(values)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, values, 0.0).sum(axis=1) / np.maximum(count, 1), np.nan)


def control_terms(
    w: NDArray[np.float64], values: NDArray[np.float64], controls: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """w h − b (w − 1) − d · w g, with b and d fitted for each fifth of the draws on the other four.

    ``w``, ``values``: (batch,) or (batch, repeats), fitted column by column; ``controls``: (batch, control), g. Since
    the coefficients never see the draws that they are used on, the mean of the terms is unbiased. Below 10 draws, and
    where the four fifths miss part of the target (:data:`FAR_FROM_ONE`), they are 0, the plain form; with few draws
    only the first controls are used, one coefficient for every 5 draws.
    """
    products = w * values
    n = len(w)
    if n < 2 * FOLDS:
        return products
    weighted = [] if controls is None else [w * column.reshape(-1, *[1] * (w.ndim - 1)) for column in controls.T]
    known = np.stack([w - 1.0, *weighted][: n // 5])
    fold = np.arange(n) % FOLDS
    correction = np.zeros_like(products)
    for part in range(FOLDS):
        own, rest = fold == part, fold != part
        level = products[rest].sum(axis=0) / np.maximum(w[rest].sum(axis=0), 1e-300)  # b to begin with
        trusted = np.abs(w[rest].mean(axis=0) - 1.0) <= FAR_FROM_ONE
        residual = np.moveaxis(products[rest] - level * w[rest], 0, -1)
        x = np.moveaxis(known[:, rest], (0, 1), (-2, -1))  # (control, batch) or (repeats, control, batch)
        x = x - x.mean(axis=-1, keepdims=True)
        gram = x @ np.swapaxes(x, -1, -2) / rest.sum() + RIDGE**2 * np.eye(len(known))
        slope = np.linalg.solve(gram, x @ residual[..., None] / rest.sum())[..., 0]
        fitted = level * (w[own] - 1.0) + np.einsum("...k,kb...->b...", slope, known[:, own])
        correction[own] = np.where(trusted, fitted, 0.0)
    return products - correction


def checked(strata: Sequence[Stratum]) -> list[Stratum]:
    """The strata that count, those of probability above 0. ``DensityError`` where all together exceed 1."""
    total = math.fsum(s.probability for s in strata)
    if total > 1 + FROM_ONE:
        raise DensityError(
            f"the probabilities of {len(strata)} strata sum to {total:.6g}, expected at most 1: several batches of one "
            "stratum are one stratum, or each has its share of the probability"
        )
    return [s for s in strata if s.probability > 0]


def combined_ess(strata: Sequence[Stratum], where: Sequence[NDArray[np.bool_]] | None = None) -> float:
    """Kish's effective sample size of all draws, each with weight A_s w / n_s, or of those in a tail set."""
    logs = [
        s.log_w[slice(None) if where is None else where[i]] + math.log(s.probability / len(s))
        for i, s in enumerate(strata)
        if s.probability > 0 and len(s)
    ]
    return effective_sample_size(np.concatenate(logs)) if logs else 0.0


def estimate_mean(strata: Sequence[Stratum], *, level: float = 0.95) -> WeightedEstimate:
    """The mean of the values under the target, with a studentised bootstrap interval.

    Strata of probability 0 are left out. A stratum with fewer than 2 draws gives infinite limits and a nan
    standard error; one without draws makes the value nan as well.
    """
    strata = checked(strata)
    if any(len(s) < 2 for s in strata) or not strata:
        value = sum(s.probability * float(s.terms().mean()) for s in strata) if all(map(len, strata)) else math.nan
        return _finish(strata, value if strata else math.nan, math.nan, -math.inf, math.inf)
    terms = [s.terms()[:, None] for s in strata]
    scales = np.array([s.probability for s in strata])
    value = float(sum(a * t.mean() for a, t in zip(scales, terms, strict=True)))
    low, high = bootstrap_t(terms, scales, level=level)
    return _finish(strata, value, math.sqrt(_variance(scales, terms, ddof=1)), float(low[0]), float(high[0]))


def estimate_probability(strata: Sequence[Stratum], *, level: float = 0.95) -> WeightedEstimate:
    """The probability of an event under the target; values are 0 or 1, or their mean over simulator seeds.

    The interval keeps its width when the event was never seen. The value is confined to [0, 1], which costs it
    unbiasedness where that binds; ``plain`` is not confined. ``DensityError`` for values outside [0, 1].
    """
    _check_probabilities([s.values for s in strata])
    strata = [s.without_controls() for s in checked(strata)]
    if not strata or not all(map(len, strata)):
        return _finish(strata, math.nan, math.nan, 0.0, 1.0)
    terms = [s.terms()[:, None] for s in strata]
    scales = np.array([s.probability for s in strata])
    value = min(max(float(sum(a * t.mean() for a, t in zip(scales, terms, strict=True))), 0.0), 1.0)
    low, high = probability_interval(value, _variance(scales, terms, ddof=0), largest_step(strata), level=level)
    error = math.sqrt(_variance(scales, terms, ddof=1)) if min(map(len, strata)) > 1 else math.nan
    found = _finish(strata, value, error, low, high)
    return replace(found, ess_tail=combined_ess(strata, [s.values != 0 for s in strata]))


def estimate_probability_difference(
    strata: Sequence[Stratum], baseline: Sequence[NDArray[np.float64]], *, level: float = 0.95
) -> WeightedEstimate:
    """P(event) minus P(event under the baseline) on common scenarios.

    ``strata`` carry the values of the first, ``baseline`` one array (batch,) per stratum those of the second.
    The interval is built from the pairs that disagree, one way and the other. ``DensityError`` for values outside
    [0, 1], the baseline's included.
    """
    _check_probabilities([*(s.values for s in strata), *map(np.asarray, baseline)])
    pairs = [
        (s.without_controls(), np.asarray(b, dtype=np.float64))
        for s, b in zip(strata, baseline, strict=True)
        if s.probability > 0
    ]
    kept = [s.replace_values(s.values - b) for s, b in pairs]
    if not kept or not all(map(len, kept)):
        return _finish(kept, math.nan, math.nan, -1.0, 1.0)
    more = [s.replace_values(np.maximum(s.values, 0.0)) for s in kept]
    less = [s.replace_values(np.maximum(-s.values, 0.0)) for s in kept]
    sides = [estimate_probability(side, level=level) for side in (more, less)]
    a, b = ((e.value, e.low, e.high) for e in sides)
    low, high = difference_interval(a, b, _correlation(more, less))
    terms = [s.terms()[:, None] for s in kept]
    scales = np.array([s.probability for s in kept])
    error = math.sqrt(_variance(scales, terms, ddof=1)) if min(map(len, kept)) > 1 else math.nan
    found = _finish(kept, sides[0].value - sides[1].value, error, low, high)
    return replace(found, ess_tail=combined_ess(kept, [s.values != 0 for s in kept]))


def largest_step(strata: Sequence[Stratum]) -> float:
    """How much one more event could add to a probability: max over strata of A_s · max(w, 1) / n_s.

    With the bound of the weights where it is known. Otherwise with the largest weight seen: of an event without a draw
    whose weights would be larger, :func:`blind_spot` alone tells.
    """
    return max(s.probability / s.draws_from_target for s in strata if s.probability > 0)


def blind_spot(strata: Sequence[Stratum], *, level: float = 0.95) -> float:
    """The largest probability of a region never seen that the draws still allow (:meth:`Stratum.unseen`).

    About 3 A_s / n_s for draws from the target, times the bound of the weights otherwise, in the stratum where that is
    largest. A stratum without draws may be unseen as a whole.
    """
    return max((s.probability * s.unseen(level) for s in strata if s.probability > 0), default=0.0)


def missing_mass(strata: Sequence[Stratum], shares: Sequence[float], *, level: float = 0.95) -> float:
    """Upper limit of 1 − Σ share · w̄, the target's mass that no draw stands for, between 0 and 1.

    The strata are draws of one and the same target by proposals whose ``shares`` add up to 1. One-sided, at ``level``,
    by the normal approximation; 1 where a stratum has a single draw whose weight is not 1, or none.
    """
    from statistics import NormalDist

    mean, variance = 0.0, 0.0
    for stratum, share in zip(strata, shares, strict=True):
        n = len(stratum)
        if n < 2 and not (n == 1 and stratum.w[0] == 1.0):
            return 1.0
        mean += share * float(stratum.w.mean())
        variance += share**2 * float(stratum.w.var(ddof=1)) / n if n > 1 else 0.0
    return min(max(1.0 - mean + NormalDist().inv_cdf(level) * math.sqrt(variance), 0.0), 1.0)


def _check_probabilities(values: Sequence[NDArray[np.float64]]) -> None:
    every = np.concatenate([np.zeros(0), *values])
    wrong = int((~((every >= 0) & (every <= 1))).sum())
    if wrong:
        raise DensityError(
            f"{wrong} of {len(every)} values lie outside 0 to 1 (smallest {every.min():.6g}, largest {every.max():.6g})"
            ": a probability takes 0, 1, or their mean over seeds"
        )


def _variance(scales: NDArray[np.float64], terms: Sequence[NDArray[np.float64]], *, ddof: int) -> float:
    return float(sum(a**2 * t.var(ddof=ddof) / len(t) for a, t in zip(scales, terms, strict=True)))


def _correlation(more: Sequence[Stratum], less: Sequence[Stratum]) -> float:
    """Correlation of the two estimates; they come from disjoint events, so it is rarely above 0."""
    joint = sum(
        s.probability**2 * float(np.mean((x := s.terms()) * (y := t.terms())) - x.mean() * y.mean()) / len(s)
        for s, t in zip(more, less, strict=True)
    )
    scales = np.array([s.probability for s in more])
    spread = math.prod(_variance(scales, [s.terms() for s in side], ddof=0) for side in (more, less))
    return min(max(joint / math.sqrt(spread), -1.0), 1.0) if spread > 0 else 0.0


def _finish(strata: Sequence[Stratum], value: float, error: float, low: float, high: float) -> WeightedEstimate:
    known = bool(strata) and all(map(len, strata))
    weighed = known and all(s.w.sum() > 0 for s in strata)
    return WeightedEstimate(
        value=value,
        standard_error=error,
        low=low,
        high=high,
        plain=sum(s.probability * float(np.mean(s.w * s.values)) for s in strata) if known else math.nan,
        self_normalised=sum(s.probability * float(np.average(s.values, weights=s.w)) for s in strata)
        if weighed
        else math.nan,
        ess=combined_ess(strata),
        draws=sum(map(len, strata)),
        integrand=tuple(s.values for s in strata),
    )
