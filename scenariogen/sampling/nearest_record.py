"""Distance to the nearest training record: does a generator give back what it was trained on?

For each generated row, and for each row that was held out of training, the distance to the nearest training row. A
generator that has learnt the law gives rows whose distances are distributed as those of held-out rows; one that
memorises gives rows that are nearer. Two one-sided tests of "not nearer", exact or asymptotic given the training rows:

    rank     P(generated nearer than held out), ½ where nothing differs; standard error by DeLong et al., 1988
    lowest   how many generated rows are nearer than the r-th nearest held-out row; negative hypergeometric

The second sees a few copies among many rows that are new. The p-value is the smaller of the two, doubled.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import nhypergeom, norm
from sklearn.neighbors import NearestNeighbors

from scenariogen.errors import DensityError
from scenariogen.randomness import child_seed
from scenariogen.sampling.samples import Measured, Sample, check_settings, tables
from scenariogen.sampling.two_sample import area_under_curve


@dataclass(frozen=True, kw_only=True)
class NearestRecord:
    """Distances of generated rows to the nearest training row, against those of held-out rows.

    ``ratio``         of the median distances, generated over held out: 1 where nothing differs, below 1 nearer
    ``nearer``        P(a generated row is nearer than a held-out one), ½ where nothing differs
    ``copies``        share of generated rows that equal a training row
    ``held_out_copies``  share of held-out rows that do, as where columns are discrete
    ``near``          share of generated rows nearer than the nearest hundredth of the held-out rows
    ``p_value``       of "not nearer than held-out rows", against nearer
    ``memorises``     whether the p-value is below ``1 − level``
    """

    ratio: Measured
    nearer: Measured
    copies: float
    held_out_copies: float
    near: float
    p_value: float
    memorises: bool

    def __str__(self) -> str:
        verdict = "nearer than held-out rows" if self.memorises else "not nearer than held-out rows"
        return f"{verdict} (p = {self.p_value:.3g})\n{self.ratio}\n{self.nearer}\ncopies {self.copies:.3%}"


def nearest_record(
    training: Sample,
    generated: Sample,
    held_out: Sample,
    *,
    seed: int,
    categorical: Collection[int] = (),
    repeats: int = 1000,
    level: float = 0.95,
) -> NearestRecord:
    """Compare the distances of ``generated`` and of ``held_out`` rows to their nearest rows of ``training``.

    Distances are Euclidean, columns in standard deviations of the training rows; two different values of a
    ``categorical`` column are 1 apart. ``repeats`` of the bootstrap of the ratio. Held-out rows must not have been
    trained on, and be independent of the training rows. ``DensityError`` lists what cannot be compared.
    """
    check_settings(level=level, least=[("repeats", repeats, 2)])
    train, new, held = tables(
        [("the training sample", training), ("the generated sample", generated), ("the held-out sample", held_out)],
        at_least=20,
    )
    width = train.shape[1]
    if wrong := sorted(set(categorical) - set(range(width))):
        raise DensityError(f"categorical columns {', '.join(map(str, wrong))} do not exist: the samples have {width}")
    placed = _placed([train, new, held], categorical)
    neighbours = NearestNeighbors(n_neighbors=1).fit(placed[0])
    mine, theirs = (neighbours.kneighbors(each)[0][:, 0] for each in placed[1:])
    # What rounding leaves of the distance of two equal rows.
    exact = 1e-12 * (1 + float(np.abs(placed[0]).max()))
    mine, theirs = np.where(mine <= exact, 0.0, mine), np.where(theirs <= exact, 0.0, theirs)

    area, variance = area_under_curve(mine, theirs)
    error = math.sqrt(variance)
    reach = float(norm.ppf((1 + level) / 2)) * error
    rank_p = float(norm.sf((area - 0.5) / error)) if error > 0 else float(area <= 0.5)
    near, lowest_p = _lowest(mine, theirs)
    p_value = min(1.0, 2 * min(rank_p, lowest_p))
    assumes = (
        f"Euclidean distances, columns in standard deviations of {len(train)} training rows"
        + (f", categorical columns {sorted(categorical)} count 1 where they differ" if categorical else "")
        + "; rows independent, held-out rows not trained on"
    )
    sizes = {"n_reference": len(held), "n_sample": len(new), "level": level}
    ratio, ratio_error, interval = _ratio(mine, theirs, seed=seed, repeats=repeats, level=level)
    return NearestRecord(
        ratio=Measured(
            name="ratio of median distances to the nearest training row",
            value=ratio,
            standard_error=ratio_error,
            interval=interval,
            assumes=f"{assumes}; percentile bootstrap of {repeats} repeats",
            **sizes,
        ),
        nearer=Measured(
            name="share of pairs in which the generated row is nearer",
            value=area,
            standard_error=error,
            interval=(max(0.0, area - reach), min(1.0, area + reach)),
            assumes=f"{assumes}; normal interval with DeLong's standard error",
            **sizes,
        ),
        copies=float((mine == 0).mean()),
        held_out_copies=float((theirs == 0).mean()),
        near=near,
        p_value=p_value,
        memorises=p_value < 1 - level,
    )


def _placed(samples: list[NDArray[np.float64]], categorical: Collection[int]) -> list[NDArray[np.float64]]:
    """The samples as points: numbers scaled, categories as indicators that put two different ones 1 apart."""
    train = samples[0]
    parts: list[list[NDArray[np.float64]]] = [[] for _ in samples]
    for column in range(train.shape[1]):
        if column in categorical:
            values = np.unique(np.concatenate([each[:, column] for each in samples]))
            for part, each in zip(parts, samples, strict=True):
                part.append((each[:, column, None] == values) / math.sqrt(2))
        else:
            spread = train[:, column].std()
            for part, each in zip(parts, samples, strict=True):
                part.append((each[:, column, None] - train[:, column].mean()) / (spread if spread > 0 else 1.0))
    return [np.concatenate(part, axis=1) for part in parts]


def _lowest(mine: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float]:
    """The share of generated rows nearer than the r-th held-out row, r a hundredth of them, and its p-value.

    Where both are alike, the number of generated rows before the r-th held-out one in their common order is negative
    hypergeometric: draws without replacement until r held-out rows have come. Ties count as not nearer.
    """
    r = max(1, len(theirs) // 100)
    before = int((mine < np.partition(theirs, r - 1)[r - 1]).sum())
    p_value = float(nhypergeom.sf(before - 1, len(mine) + len(theirs), len(mine), r)) if before else 1.0
    return before / len(mine), p_value


def _ratio(
    mine: NDArray[np.float64], theirs: NDArray[np.float64], *, seed: int, repeats: int, level: float
) -> tuple[float, float, tuple[float, float]]:
    """The ratio of the medians and its bootstrap."""

    def of(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        top, bottom = float(np.median(a)), float(np.median(b))
        return top / bottom if bottom > 0 else (1.0 if top == 0 else math.inf)

    rng = np.random.default_rng(child_seed(seed, "nearest record"))
    drawn = np.array([of(rng.choice(mine, len(mine)), rng.choice(theirs, len(theirs))) for _ in range(repeats)])
    drawn = drawn[np.isfinite(drawn)]
    value = of(mine, theirs)
    if len(drawn) < repeats or not math.isfinite(value):
        raise DensityError(
            "more than half of the held-out rows, or nearly so, equal a training row: distances say nothing about "
            "memorising here; leave out the discrete columns, or compare finer ones"
        )
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return value, float(drawn.std(ddof=1)), (float(low), float(high))
