"""Two-sample tests without cells: energy distance, maximum mean discrepancy, a classifier.

The first two are one U-statistic with different kernels (Sejdinovic, Sriperumbudur, Gretton & Fukumizu, *Equivalence of
distance-based and RKHS-based statistics in hypothesis testing*, 2013): for rows x of the reference and y of the sample

    u = mean k(x, x') + mean k(y, y') − 2 mean k(x, y),   x ≠ x', y ≠ y',

unbiased for its population value, which is 0 only where both laws are the same:

    energy distance   k(x, y) = −|x − y|                      (Székely & Rizzo, *Energy statistics*, 2013)
    squared MMD       k(x, y) = exp(−|x − y|² / (2 h²))       (Gretton et al., *A kernel two-sample test*, 2012)

The null of both is that of permutations of the pooled rows, exact at any sample size: columns are scaled by the pooled
rows too, which no permutation changes. Rows must be independent.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import norm, rankdata

from scenariogen.errors import DensityError
from scenariogen.randomness import child_seed
from scenariogen.sampling.samples import (
    Measured,
    Null,
    Sample,
    Table,
    check_settings,
    null_of,
    standardised,
    tables,
)

MAX_ROWS = 2000
"""Rows of each sample that enter a test with a kernel, by default: it takes the square of their number in memory."""
LEAST_ROWS = 10
"""Rows that each sample must have in a test with a kernel."""
ROUNDING = 1e-12
"""Relative difference up to which two values of a statistic are the same: permutations of rows that are alike."""


def energy_distance(
    reference: Sample,
    sample: Sample,
    *,
    seed: int,
    standardise: bool = True,
    permutations: int = 200,
    max_rows: int = MAX_ROWS,
    level: float = 0.95,
) -> Measured:
    """Energy distance 2 E|X − Y| − E|X − X'| − E|Y − Y'|, its unbiased estimate.

    ``standardise``   columns in units of the pooled rows' standard deviations, so that no unit outweighs the others
    ``permutations``  of the null; 0 leaves it out
    ``max_rows``      of each sample, chosen at random where there are more; at least 10

    ``DensityError`` lists what cannot be compared, and settings that are too small.
    """
    _check_kernel_test(level=level, permutations=permutations, max_rows=max_rows)
    first, second, how = _prepared(reference, sample, seed=seed, standardise=standardise, max_rows=max_rows)
    pooled = np.concatenate([first, second])
    return _kernel_test(
        "energy distance" + (" (standard deviations)" if standardise else ""),
        np.asarray(-cdist(pooled, pooled), dtype=np.float64),
        len(first),
        seed=seed,
        permutations=permutations,
        level=level,
        assumes=how,
    )


def maximum_mean_discrepancy(
    reference: Sample,
    sample: Sample,
    *,
    seed: int,
    bandwidth: float | None = None,
    standardise: bool = True,
    permutations: int = 200,
    max_rows: int = MAX_ROWS,
    level: float = 0.95,
) -> Measured:
    """Squared maximum mean discrepancy with a Gaussian kernel, its unbiased estimate (which may be below 0).

    ``bandwidth``  h, by default the median distance between two different pooled rows (the median heuristic); the rest
                   as in :func:`energy_distance`
    """
    _check_kernel_test(level=level, permutations=permutations, max_rows=max_rows)
    if bandwidth is not None and not (bandwidth > 0 and math.isfinite(bandwidth)):
        raise DensityError(f"bandwidth is {bandwidth}, expected a positive number")
    first, second, how = _prepared(reference, sample, seed=seed, standardise=standardise, max_rows=max_rows)
    pooled = np.concatenate([first, second])
    squares = cdist(pooled, pooled, "sqeuclidean")
    chosen = "given"
    if bandwidth is None:
        distances = np.sqrt(squares[np.triu_indices(len(pooled), 1)])
        if not (distances > 0).any():
            raise DensityError("all rows of both samples are the same, so that distances give no bandwidth")
        bandwidth = float(np.median(distances[distances > 0]))
        chosen = "the median distance of different rows"
    return _kernel_test(
        "squared maximum mean discrepancy",
        np.exp(-squares / (2 * bandwidth**2)),
        len(first),
        seed=seed,
        permutations=permutations,
        level=level,
        assumes=f"Gaussian kernel, bandwidth {bandwidth:.4g}, {chosen}; {how}",
    )


def classifier_test(
    reference: Sample,
    sample: Sample,
    *,
    seed: int,
    folds: int = 5,
    classifier: Callable[[int], Any] | None = None,
    permutations: int = 0,
    level: float = 0.95,
) -> Measured:
    """How well a classifier tells the samples apart: the area under its ROC curve, cross-fitted; 0.5 where it cannot.

    ``classifier``    ``classifier(seed)`` gives a new one with ``fit`` and ``predict_proba``, by default scikit-learn's
                      histogram gradient boosting
    ``permutations``  of the pooled rows for the null, each with new classifiers: exact, and as many times as slow

    Each fold is scored by a classifier trained on the others, and the areas of the folds are averaged (Lopez-Paz &
    Oquab, *Revisiting classifier two-sample tests*, 2017). The standard error is DeLong's, given the classifiers
    (DeLong, DeLong & Clarke-Pearson, *Comparing the areas under two or more correlated receiver operating
    characteristic curves*, 1988). Interval and, without permutations, null use √2 times that: where nothing differs
    each pair of folds counts twice, once as training and test and once the other way round, which doubles the variance
    for a linear classifier. Far from 0.5 the interval is wider than it need be. The area is that of *this* classifier
    at this sample size: a better one, or more rows, may tell more.
    """
    check_settings(level=level, least=[("folds", folds, 2), ("permutations", permutations, 0)])
    first, second = tables([("the reference", reference), ("the sample", sample)], at_least=10 * folds)
    make = classifier or _boosting
    value, error = _cross_fitted(first, second, make=make, folds=folds, seed=seed)
    wide = math.sqrt(2) * error
    reach = float(norm.ppf((1 + level) / 2)) * wide
    if permutations:
        pooled, rng = np.concatenate([first, second]), np.random.default_rng(child_seed(seed, "permutations"))
        repeats = np.empty(permutations)
        for at in range(permutations):
            order = rng.permutation(len(pooled))
            halves = pooled[order[: len(first)]], pooled[order[len(first) :]]
            repeats[at] = _cross_fitted(*halves, make=make, folds=folds, seed=child_seed(seed, at))[0]
        method = f"{permutations} permutations of the pooled rows"
        null = null_of(repeats, value, method=method, room=ROUNDING)
    else:
        null = Null(
            observed=value,
            mean=0.5,
            spread=wide,
            upper=0.5 + float(norm.ppf(0.95)) * wide,
            p_value=float(norm.sf((value - 0.5) / wide)) if wide > 0 else float(value <= 0.5),
            repeats=0,
            method="normal, √2 times DeLong's standard error",
        )
    return Measured(
        name="area under the ROC curve of a classifier",
        value=value,
        standard_error=error,
        interval=(max(0.0, value - reach), min(1.0, value + reach)),
        level=level,
        n_reference=len(first),
        n_sample=len(second),
        null=null,
        assumes=f"{type(make(0)).__name__}, {folds} folds, rows independent; the area is this classifier's",
    )


def _cross_fitted(
    first: Table, second: Table, *, make: Callable[[int], Any], folds: int, seed: int
) -> tuple[float, float]:
    """The mean area of the folds and its standard error given the classifiers."""
    rng = np.random.default_rng(child_seed(seed, "classifier test"))
    fold_of = [rng.permutation(np.arange(len(each)) % folds) for each in (first, second)]
    areas, variances = [], []
    for fold in range(folds):
        train = [each[which != fold] for each, which in zip((first, second), fold_of, strict=True)]
        test = [each[which == fold] for each, which in zip((first, second), fold_of, strict=True)]
        model = make(child_seed(seed, "fold", fold) % 2**31)
        model.fit(np.concatenate(train), np.repeat([0, 1], [len(train[0]), len(train[1])]))
        scores = [np.asarray(model.predict_proba(each))[:, 1] for each in test]
        area, variance = area_under_curve(*scores)
        areas.append(area)
        variances.append(variance)
    return float(np.mean(areas)), math.sqrt(sum(variances)) / folds


def area_under_curve(low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[float, float]:
    """P(low < high) + ½ P(low = high) for scores of two groups, and DeLong's variance of it."""
    n, m = len(low), len(high)
    together = rankdata(np.concatenate([low, high]))
    below = (together[n:] - rankdata(high)) / n  # share of the low scores below each high one, ties half
    above = 1 - (together[:n] - rankdata(low)) / m
    variance = np.var(below, ddof=1) / m + np.var(above, ddof=1) / n
    return float(below.mean()), float(variance)


def _boosting(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier  # slow to import

    return HistGradientBoostingClassifier(
        max_iter=300,
        learning_rate=0.08,
        max_leaf_nodes=8,
        l2_regularization=1.0,
        early_stopping=True,  # pyright: ignore[reportArgumentType]
        validation_fraction=0.15,
        random_state=seed,
    )


def _check_kernel_test(*, level: float, permutations: int, max_rows: int) -> None:
    check_settings(level=level, least=[("permutations", permutations, 0), ("max_rows", max_rows, LEAST_ROWS)])


def _prepared(
    reference: Sample, sample: Sample, *, seed: int, standardise: bool, max_rows: int
) -> tuple[Table, Table, str]:
    """The samples as they enter a kernel, and in words what was done to them."""
    first, second = tables([("the reference", reference), ("the sample", sample)], at_least=LEAST_ROWS)
    if standardise:
        _, first, second = standardised(np.concatenate([first, second]), first, second)
    how = ["columns in standard deviations of the pooled rows" if standardise else "columns as given"]
    rng = np.random.default_rng(child_seed(seed, "rows"))
    out = []
    for name, each in (("reference", first), ("sample", second)):
        if len(each) > max_rows:
            how.append(f"{max_rows} of {len(each)} rows of the {name}")
            each = each[rng.permutation(len(each))[:max_rows]]
        out.append(each)
    return out[0], out[1], "; ".join([*how, "rows independent"])


def _kernel_test(
    name: str,
    kernel: NDArray[np.float64],
    n: int,
    *,
    seed: int,
    permutations: int,
    level: float,
    assumes: str,
) -> Measured:
    """The U-statistic of a pooled kernel matrix whose first ``n`` rows are the reference's."""
    total, m = len(kernel), len(kernel) - n
    diagonal = np.diag(kernel)
    # Half the influence of each row: its mean kernel with its own sample less that with the other one.
    within_first = (kernel[:n, :n].sum(1) - diagonal[:n]) / (n - 1)
    within_second = (kernel[n:, n:].sum(1) - diagonal[n:]) / (m - 1)
    across = kernel[:n, n:]
    influence = 2 * (within_first - across.mean(1)), 2 * (within_second - across.mean(0))
    error = math.sqrt(np.var(influence[0], ddof=1) / n + np.var(influence[1], ddof=1) / m)
    rng = np.random.default_rng(child_seed(seed, "permutations"))
    in_first = np.zeros((1 + permutations, total))
    in_first[0, :n] = 1.0  # the samples as they are, by the same sums as their permutations
    for row in in_first[1:]:
        row[rng.permutation(total)[:n]] = 1.0
    with_first = in_first @ kernel
    first = (with_first * in_first).sum(1)
    both = (with_first * (1 - in_first)).sum(1)
    second = kernel.sum() - first - 2 * both
    first, second = first - in_first @ diagonal, second - (1 - in_first) @ diagonal
    value, *repeats = first / (n * (n - 1)) + second / (m * (m - 1)) - 2 * both / (n * m)
    reach = float(norm.ppf((1 + level) / 2)) * error
    null = None
    if permutations:
        method, room = f"{permutations} permutations of the pooled rows", ROUNDING * float(np.abs(kernel).max())
        null = null_of(np.array(repeats), float(value), method=method, room=room)
    return Measured(
        name=name,
        value=float(value),
        standard_error=error,
        interval=(float(value) - reach, float(value) + reach),
        level=level,
        n_reference=n,
        n_sample=m,
        null=null,
        assumes=f"{assumes}; normal interval by influences, where the laws differ; near 0 the null is the guide",
    )
