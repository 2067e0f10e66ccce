"""Two samples in pairs: a test by swaps within them, and the interval of their difference."""

import math

import numpy as np

from scenariogen.randomness import child_seed

SWAPS = 999


def paired_energy_test(first: np.ndarray, second: np.ndarray, *, seed: int, swaps: int = SWAPS) -> tuple[float, float]:
    """Energy distance of two tables (pair, column) and the share of random swaps within pairs that reach it.

    The distance is that of :func:`scenariogen.sampling.two_sample.energy_distance`, in standard deviations of the
    pooled rows. The share is exact where the two rows of a pair are exchangeable and pairs are independent. Columns
    without any variation are left out; tables that are the same give a distance of 0 and a share of 1.
    """
    from scipy.spatial.distance import cdist

    from scenariogen.sampling.samples import null_of, standardised
    from scenariogen.sampling.two_sample import ROUNDING

    pooled = np.concatenate([first, second])
    varies = np.ptp(pooled, axis=0) > 0
    if not varies.any() or np.array_equal(first, second):
        return 0.0, 1.0
    count = len(first)
    (rows,) = standardised(pooled[:, varies])
    distances = np.asarray(cdist(rows, rows))
    swapped = np.random.default_rng(child_seed(seed, "swaps")).random((swaps, count)) < 0.5
    in_first = np.concatenate([~swapped, swapped], axis=1).astype(np.float64)
    in_first = np.concatenate([np.repeat([1.0, 0.0], count)[None], in_first])  # first of all as they are
    others = 1 - in_first
    within_first, within_second, across = (
        ((one @ distances) * two).sum(1) for one, two in ((in_first, in_first), (others, others), (in_first, others))
    )
    values = 2 * across / count**2 - (within_first + within_second) / (count * (count - 1))
    observed = float(values[0])
    room = ROUNDING * float(distances.max())
    return observed, null_of(values[1:], observed, method="swaps within pairs", room=room).p_value


def relative_difference(
    first: np.ndarray, second: np.ndarray, *, level: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """Mean of second minus first as a share of the mean of the first, with Student's interval by pairs."""
    from scipy import stats

    mean = float(first.mean())
    if mean == 0:
        return (math.inf, (-math.inf, math.inf)) if second.any() else (0.0, (0.0, 0.0))
    shares = (second - first) / mean
    reach = float(stats.t.ppf((1 + level) / 2, len(shares) - 1)) * float(shares.std(ddof=1)) / math.sqrt(len(shares))
    return float(shares.mean()), (float(shares.mean()) - reach, float(shares.mean()) + reach)
