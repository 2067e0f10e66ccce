"""Tails of two samples side by side: upper quantiles and the probabilities of exceeding thresholds.

A divergence of whole distributions hardly sees the tail. Here are the differences that matter there, sample less
reference, each with an interval:

    Q_p      of quantiles, bootstrap; an order statistic's resamples are drawn from their own law, without resampling
    P(> c)   of exceedance probabilities, from Wilson's intervals (Newcombe, *Interval estimation for the difference
             between independent proportions*, 1998)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from scenariogen.errors import DensityError, Problems
from scenariogen.randomness import child_seed
from scenariogen.sampling.samples import Measured, Sample, tables, wrong_settings

LEAST_ROWS = 10
"""Rows that each sample must have beyond a quantile."""


@dataclass(frozen=True, kw_only=True)
class TailDifference:
    """A tail measure of both samples and their difference.

    ``of``          the measure: a probability for a quantile, a threshold for an exceedance
    ``reference``, ``sample``   its values
    ``difference``  sample less reference
    """

    of: float
    reference: float
    sample: float
    difference: Measured

    def __str__(self) -> str:
        return f"{self.difference}: {self.reference:.4g} in the reference, {self.sample:.4g} in the sample"


@dataclass(frozen=True, kw_only=True)
class TailMeasures:
    """``quantiles`` and ``exceedances``, in the order asked for."""

    quantiles: tuple[TailDifference, ...]
    exceedances: tuple[TailDifference, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, (*self.quantiles, *self.exceedances)))


def tail_measures(
    reference: Sample,
    sample: Sample,
    *,
    seed: int,
    probabilities: Sequence[float] = (0.95, 0.99),
    thresholds: Sequence[float] = (),
    repeats: int = 2000,
    level: float = 0.95,
) -> TailMeasures:
    """Differences of the quantiles at ``probabilities`` and of the probabilities to exceed ``thresholds``.

    ``DensityError`` lists every quantile with fewer than 10 rows beyond it in either sample, and other faults.
    """
    first, second = (
        each[:, 0] for each in tables([("the reference", reference), ("the sample", sample)], at_least=20, columns=1)
    )
    problems = Problems("tail measures")
    problems.extend(wrong_settings(level=level, least=[("repeats", repeats, 2)]))
    for p in probabilities:
        if not 0 < p < 1:
            problems.add(f"got a quantile at {p}, expected a probability between 0 and 1")
            continue
        for name, each in (("the reference", first), ("the sample", second)):
            if len(each) * (1 - p) < LEAST_ROWS - 1e-9:
                problems.add(
                    f"{name} has {len(each)} rows, expected at least {math.ceil(LEAST_ROWS / (1 - p) - 1e-9)} for the "
                    f"quantile at {p:g}"
                )
    problems.extend(f"got a threshold of {c}, expected a finite number" for c in thresholds if not math.isfinite(c))
    problems.raise_as(DensityError)
    rng = np.random.default_rng(child_seed(seed, "tail measures"))
    quantiles = [
        _quantile(np.sort(first), np.sort(second), p, rng=rng, repeats=repeats, level=level) for p in probabilities
    ]
    exceedances = [_exceedance(first, second, c, level=level) for c in thresholds]
    return TailMeasures(quantiles=tuple(quantiles), exceedances=tuple(exceedances))


def _quantile(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    p: float,
    *,
    rng: np.random.Generator,
    repeats: int,
    level: float,
) -> TailDifference:
    values, resampled = [], []
    for ordered in (first, second):
        n = len(ordered)
        rank = min(n, max(1, math.ceil(n * p - 1e-9)))
        values.append(float(ordered[rank - 1]))
        # The rank-th smallest of n uniform numbers is beta distributed: the place it falls in is the resample's.
        places = np.ceil(n * rng.beta(rank, n - rank + 1, size=repeats)).astype(np.int64)
        resampled.append(ordered[np.clip(places, 1, n) - 1])
    differences = resampled[1] - resampled[0]
    tail = (1 - level) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return TailDifference(
        of=p,
        reference=values[0],
        sample=values[1],
        difference=Measured(
            name=f"difference of the quantiles at {p:g}",
            value=values[1] - values[0],
            standard_error=float(differences.std(ddof=1)),
            interval=(float(low), float(high)),
            level=level,
            n_reference=len(first),
            n_sample=len(second),
            assumes=f"order statistics, percentile bootstrap of {repeats} repeats, rows independent",
        ),
    )


def _exceedance(
    first: NDArray[np.float64], second: NDArray[np.float64], threshold: float, *, level: float
) -> TailDifference:
    z = float(norm.ppf((1 + level) / 2))
    a, b = float((first > threshold).mean()), float((second > threshold).mean())
    (low_a, high_a), (low_b, high_b) = _wilson(a, len(first), z), _wilson(b, len(second), z)
    return TailDifference(
        of=threshold,
        reference=a,
        sample=b,
        difference=Measured(
            name=f"difference of the probabilities to exceed {threshold:g}",
            value=b - a,
            standard_error=math.sqrt(a * (1 - a) / len(first) + b * (1 - b) / len(second)),
            interval=(
                b - a - math.sqrt((b - low_b) ** 2 + (high_a - a) ** 2),
                b - a + math.sqrt((high_b - b) ** 2 + (a - low_a) ** 2),
            ),
            level=level,
            n_reference=len(first),
            n_sample=len(second),
            assumes="counts of independent rows, Newcombe's interval",
        ),
    )


def _wilson(p: float, n: int, z: float) -> tuple[float, float]:
    """Wilson's score interval of a proportion."""
    centre, spread = p + z**2 / (2 * n), z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    return (centre - spread) / (1 + z**2 / n), (centre + spread) / (1 + z**2 / n)
