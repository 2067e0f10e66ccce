"""Several answers at once: at which level each single interval holds so that all hold together.

A studentised bootstrap of all means on common resamples; the level is such that in 95 of 100 resamples every
studentised distance lies between its own quantiles (Beran, *Balanced simultaneous confidence sets*, 1988). Answers that
go together cost little; independent ones come near to Bonferroni's level, which is never exceeded.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scenariogen.sampling.intervals import BOOTSTRAP_SEED, REPLICATES, resamples


def bonferroni_level(answers: int, level: float = 0.95) -> float:
    """Level of each of so many intervals that hold together at ``level``, whatever their dependence.

    >>> bonferroni_level(1), round(bonferroni_level(5), 4)
    (0.95, 0.99)
    """
    return 1 - (1 - level) / max(answers, 1)


def resampled_together(
    centred: Sequence[NDArray[np.float64]],
    scales: Sequence[float | NDArray[np.float64]],
    *,
    known: Sequence[NDArray[np.bool_]] | None = None,
    replicates: int = REPLICATES,
    seed: int = BOOTSTRAP_SEED,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How far Σ_s scale_s · mean_s lies off in each resample, and its variance there, (replicate, answers) each.

    ``centred``  (batch, answers) per stratum: the terms less their mean over known draws, 0 where not known
    ``scales``   one number per stratum, or one for each answer
    ``known``    (batch,) per stratum; None: all. Resamples depend on the number of draws alone, so calls for other
                 answers on the same draws resample the same ones
    """
    shape = (replicates, centred[0].shape[1])
    shift, variance = np.zeros(shape), np.zeros(shape)
    for number, (terms, scale) in enumerate(zip(centred, scales, strict=True)):
        present = np.ones(len(terms), dtype=bool) if known is None else known[number]
        for rows, counts in resamples(len(terms), replicates, seed + number):
            size = np.maximum(counts @ present, 2.0)[:, None]
            moved = counts @ terms / size
            shift[rows] += scale * moved
            variance[rows] += scale**2 * np.maximum(counts @ terms**2 / size - moved**2, 0.0) / (size - 1)
    return shift, variance


def simultaneous_level(terms: Sequence[NDArray[np.float64]], scales: Sequence[float], *, level: float = 0.95) -> float:
    """Level at which single intervals of Σ_s scale_s · mean(terms_s) hold together at ``level``.

    ``terms``: one array (batch, answers) per stratum, of the same draws for all answers, at least 2 of them.
    """
    answers = terms[0].shape[1]
    if answers == 1:
        return level
    shift, variance = resampled_together([values - values.mean(axis=0) for values in terms], scales)
    moving = variance.max(axis=0) > 0
    if not moving.any():
        return bonferroni_level(answers, level)
    t = shift[:, moving] / np.sqrt(np.maximum(variance[:, moving], 1e-300))
    rank = (t.argsort(axis=0).argsort(axis=0) + 1) / (REPLICATES + 1)
    farthest = np.maximum(rank, 1 - rank).max(axis=1)
    found = 2 * float(np.quantile(farthest, level, method="higher")) - 1
    return min(max(found, level), bonferroni_level(answers, level))
