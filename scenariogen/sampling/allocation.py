"""Runs that are added in stages, where they buy most, without a word lost about what is unbiased.

A stage divides its runs among the strata in shares that depend on earlier stages only: Neyman's, with a floor. With
A_s the probability of a stratum, σ_s the standard deviation of a run's contribution in it, and n_s its runs, the error
of a stratified estimate is least for n_s ∝ A_s σ_s (Neyman, *On the two different aspects of the representative
method*, Journal of the Royal Statistical Society 97, 1934). σ_s is not known beforehand; the floor keeps a stratum
whose spread looked small by chance from being starved.

How many draws a stratum has then depends on what was seen, and so does a plain mean over all of them. The estimate of
record takes each stage by itself, which is unbiased given the stages before, and weighs stages by their planned number
of runs, which was fixed beforehand.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scenariogen.errors import DensityError
from scenariogen.sampling.importance import Stratum
from scenariogen.sampling.looks import Looks

FLOOR = 0.25
"""Share of a stage that is split evenly, whatever was seen."""
STAGE_GROWTH = 2.0
"""A new stage begins when there are this many times the runs that there were when the last one began."""


def neyman_shares(
    probabilities: Sequence[float], deviations: NDArray[np.float64], *, floor: float = FLOOR
) -> NDArray[np.float64]:
    """(stratum,) share of the next stage's runs.

    ``deviations``  (estimate, stratum) standard deviation of a run's contribution in units of the error that is
                    wanted, a row for each estimate that is to become narrow; the row with the largest error decides

    >>> neyman_shares([0.5, 0.5], np.array([[1.0, 3.0]]), floor=0.0).tolist()
    [0.25, 0.75]
    """
    weight = np.asarray(probabilities, dtype=np.float64)
    spread = np.atleast_2d(np.asarray(deviations, dtype=np.float64))
    if spread.shape[1] != len(weight) or not np.isfinite(spread).all() or (spread < 0).any() or (weight < 0).any():
        raise DensityError(
            f"got probabilities {weight.tolist()} and deviations of shape {spread.shape}, expected one finite number "
            "of at least 0 for each stratum"
        )
    if not 0 <= floor <= 1 or not (weight > 0).any():
        raise DensityError(
            f"got the floor {floor} and probabilities {weight.tolist()}, expected 0 to 1 and one above 0"
        )
    need = weight * spread
    row = need[int(np.argmax(need.sum(axis=1)))]
    even = (weight > 0) / (weight > 0).sum()
    best = row / row.sum() if row.sum() > 0 else even
    return floor * even + (1 - floor) * best


def deal(shares: Sequence[float] | NDArray[np.float64], runs: int) -> NDArray[np.int64]:
    """(run,) the stratum of each run of a stage, one after the other so that every beginning keeps the shares.

    >>> deal([0.5, 0.25, 0.25], 8).tolist()
    [0, 1, 2, 0, 0, 1, 2, 0]
    """
    share = [float(each) for each in shares]
    given = [0] * len(share)
    able = [stratum for stratum, each in enumerate(share) if each > 0]
    dealt = np.empty(runs, dtype=np.int64)
    for run in range(runs):
        chosen = max(able, key=lambda stratum: share[stratum] * (run + 1) - given[stratum])
        given[chosen] += 1
        dealt[run] = chosen
    return dealt


def stage_starts(looks: Looks, *, growth: float = STAGE_GROWTH) -> tuple[int, ...]:
    """Numbers of the looks whose new runs begin a stage; fixed with the looks, before anything is seen.

    >>> stage_starts(Looks(runs=(80, 104, 136, 177, 231, 301, 392)))
    (0, 4)
    """
    starts, before = [0], looks.runs[0]
    for look in range(1, len(looks.runs)):
        if looks.runs[look - 1] >= growth * before:
            starts.append(look)
            before = looks.runs[look - 1]
    return tuple(starts)


def planned_runs(looks: Looks, look: int, *, growth: float = STAGE_GROWTH) -> tuple[int, ...]:
    """Runs of each stage that has begun, up to a look.

    >>> planned_runs(Looks(runs=(80, 104, 136, 177, 231)), 4)
    (177, 54)
    """
    begins = [
        0 if start == 0 else looks.runs[start - 1] for start in stage_starts(looks, growth=growth) if start <= look
    ]
    ends = [*begins[1:], looks.runs[look]]
    return tuple(end - begin for begin, end in zip(begins, ends, strict=True))


def staged_strata(streams: Sequence[Stratum], counts: NDArray[np.int64], planned: Sequence[int]) -> list[Stratum]:
    """The strata of the estimate of record: those of each stage, with probability ω_t A_s.

    ``streams``  one stratum each, with its draws in the order in which they were made
    ``counts``   (stage, stratum) how many of them each stage made
    ``planned``  (stage,) its runs, which give ω_t; without those of a stage its stratum would be empty

    ``DensityError`` where counts do not add up to the draws.
    """
    counts = np.asarray(counts, dtype=np.int64)
    if counts.shape != (len(planned), len(streams)) or (counts.sum(axis=0) != [len(each) for each in streams]).any():
        raise DensityError(
            f"got counts of shape {counts.shape} for {len(planned)} stages and draws {[len(each) for each in streams]}"
        )
    share = np.asarray(planned, dtype=np.float64) / sum(planned)
    begins = np.vstack([np.zeros(len(streams), dtype=np.int64), counts.cumsum(axis=0)])
    return [
        _part(each, slice(int(begins[t, s]), int(begins[t + 1, s])), float(share[t]))
        for t in range(len(planned))
        for s, each in enumerate(streams)
    ]


def _part(stratum: Stratum, rows: slice, share: float) -> Stratum:
    controls = None if stratum.controls is None else stratum.controls[rows]
    return replace(
        stratum,
        probability=stratum.probability * share,
        log_w=stratum.log_w[rows],
        values=stratum.values[rows],
        controls=controls,
    )


def deviation(stratum: Stratum, *, is_probability: bool = False) -> float:
    """σ_s of a run's contribution, from a stratum's draws so far; 0 with fewer than two.

    ``is_probability``  values are 0 or 1: an event that was not seen has no spread of 0, so one draw that shows it and
                        one that does not, with weight 1, are added (Laplace's rule of succession)
    """
    terms = stratum.terms()
    if is_probability:
        terms = np.concatenate([terms, [0.0, 1.0]])
    return float(terms.std(ddof=1)) if len(terms) > 1 else 0.0


def runs_needed(runs: int, *, width: float, wanted: float) -> int:
    """About how many runs make an interval as narrow as wanted, its width going with 1/√n.

    >>> runs_needed(100, width=0.2, wanted=0.1)
    400
    """
    if not (width > 0 and wanted > 0 and math.isfinite(width)):
        return runs
    return math.ceil(runs * max(1.0, (width / wanted) ** 2))
