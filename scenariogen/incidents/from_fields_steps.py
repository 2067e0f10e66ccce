"""When a flow steps from one level to another: one step, or as many as the data bear out.

Counts in time cells are taken as Poisson around a level that is constant between steps; the place of a step is its
maximum-likelihood estimate (Hinkley, 1970, *Inference about the change-point in a sequence of random variables*), the
number of steps the one with the smallest Bayesian information criterion (Schwarz, 1978, *Estimating the dimension of
a model*).
"""

import numpy as np

LEAST_LEVEL = 0.2
"""Vehicles per time cell: a closed road is not taken as one on which a single vehicle would be a miracle."""


def _loglik(count: np.ndarray, exposure: np.ndarray) -> np.ndarray:
    """Largest Poisson log-likelihood of totals, up to terms that do not depend on where the steps are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 0, count * (np.log(count) - np.log(exposure)), 0.0)


def step_to(counts: np.ndarray, *, before: np.ndarray, after: float) -> float:
    """Where counts change from levels that are known to one level that is known, in cells from the start.

    ``before`` has one level per cell. The fraction tells how far into a cell the change lies.

    >>> step_to(np.array([10, 11, 9, 6, 2, 2, 3]), before=np.full(7, 10.0), after=2.0)
    3.5
    """
    counts = np.nan_to_num(np.asarray(counts, dtype=float))
    before, after = np.maximum(before, LEAST_LEVEL), max(float(after), LEAST_LEVEL)
    gain = (counts * np.log(before) - before) - (counts * np.log(after) - after)
    step = int(np.argmax(np.r_[0.0, np.cumsum(gain)]))
    if step == 0 or step == len(counts):
        return float(step)

    def left(cell: int) -> float:  # share of a cell that still belongs to the level before
        if before[cell] == after:
            return 0.0
        return float(np.clip((counts[cell] - after) / (before[cell] - after), 0.0, 1.0))

    return step - 1 + left(step - 1) + left(step)


def levels(counts: np.ndarray, *, least: int, most: int = 4) -> list[tuple[int, int]]:
    """First cell and one past the last of each stretch of constant level, at most ``most`` of at least ``least`` cells.

    >>> levels(np.array([2] * 10 + [20] * 10), least=3)
    [(0, 10), (10, 20)]
    """
    counts = np.nan_to_num(np.asarray(counts, dtype=float))
    size = len(counts)
    if size < 2 * least:
        return [(0, size)]
    total = np.r_[0.0, np.cumsum(counts)]
    # Vehicles that come in platoons scatter more than Poisson: the log-likelihood is divided by how much more.
    excess = max(1.0, float(np.mean(np.diff(counts) ** 2) / 2 / max(counts.mean(), 1e-9)))
    best = np.full((most + 1, size + 1), -np.inf)
    cut = np.zeros((most + 1, size + 1), dtype=int)
    best[0, 0] = 0.0
    for parts in range(1, most + 1):
        for end in range(parts * least, size + 1):
            begins = np.arange((parts - 1) * least, end - least + 1)
            value = best[parts - 1, begins] + _loglik(total[end] - total[begins], end - begins)
            choice = int(np.argmax(value))
            best[parts, end], cut[parts, end] = value[choice], int(begins[choice])
    scores = [-2 * best[parts, size] / excess + (2 * parts - 1) * np.log(size) for parts in range(1, most + 1)]
    parts, end = int(np.argmin(scores)) + 1, size
    found = []
    while parts:
        begin = int(cut[parts, end])
        found.append((begin, end))
        parts, end = parts - 1, begin
    return found[::-1]
