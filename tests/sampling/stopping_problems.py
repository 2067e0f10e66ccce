"""Runs added in stages until an interval is narrow enough, on problems with known answers; plain functions to measure.

Two strata as in an evaluation: days without incident, drawn from the target, and days with one, drawn from a mixture
that holds half of it. Values are skewed; the event lies far out, so that few runs show it.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import gamma, norm

from scenariogen.sampling.allocation import deal, deviation, neyman_shares, planned_runs, stage_starts, staged_strata
from scenariogen.sampling.importance import Stratum, WeightedEstimate, estimate_mean, estimate_probability
from scenariogen.sampling.looks import Looks, looks_until

P_FREE = 0.6
FIRST_SHARES = (0.25, 0.75)
SHAPE, FREE_SCALE, NOISE_SCALE = 2.0, 0.5, 0.3
THRESHOLD = 6.0
ESTIMANDS = ("mean", "exceedance")


def truth(estimand: str) -> float:
    """In closed form, or by quadrature over the normal's quantiles."""
    if estimand == "mean":
        return P_FREE * SHAPE * FREE_SCALE + (1 - P_FREE) * (math.exp(0.5) + SHAPE * NOISE_SCALE)
    z = norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    hit = float(gamma.sf(THRESHOLD - np.exp(z), SHAPE, scale=NOISE_SCALE).mean())
    return P_FREE * float(gamma.sf(THRESHOLD, SHAPE, scale=FREE_SCALE)) + (1 - P_FREE) * hit


def streams(generator: np.random.Generator, runs: int, estimand: str) -> list[Stratum]:
    """As many draws of each stratum as could ever be asked for."""
    own = generator.random(runs) < 0.5
    z = np.where(own, generator.normal(size=runs), generator.normal(1.0, 1.0, size=runs))
    hit = np.exp(z) + generator.gamma(SHAPE, NOISE_SCALE, runs)
    free = generator.gamma(SHAPE, FREE_SCALE, runs)
    if estimand == "exceedance":
        free, hit = (np.asarray(each > THRESHOLD, dtype=np.float64) for each in (free, hit))
    return [
        Stratum(probability=P_FREE, log_w=np.zeros(runs), values=free, weight_bound=1.0),
        Stratum(probability=1 - P_FREE, log_w=-np.log(0.5 + 0.5 * np.exp(z - 0.5)), values=hit, weight_bound=2.0),
    ]


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """Where a repeat stopped, and what it said there."""

    runs: int
    estimate: WeightedEstimate
    hit_share: float


def stop(seed: int, *, estimand: str, relative_half_width: float, looks: Looks, naive: bool = False) -> Stopped:
    """One repeat. ``naive``: with intervals that are meant for one look alone."""
    everything = streams(np.random.default_rng(seed), looks.runs[-1], estimand)
    starts, shares = stage_starts(looks), []
    seen: list[Stratum] = []
    found = None
    for look, level in enumerate(looks.levels):
        planned = planned_runs(looks, look)
        if look in starts:
            spread = (
                np.array([[deviation(each, is_probability=estimand == "exceedance") for each in seen]])
                if seen
                else None
            )
            probabilities = [each.probability for each in everything]
            shares.append(FIRST_SHARES if spread is None else tuple(neyman_shares(probabilities, spread)))
        dealt = [deal(part, runs) for part, runs in zip(shares, planned, strict=True)]
        counts = np.array([np.bincount(each, minlength=2) for each in dealt])
        seen = [_first(each, int(n)) for each, n in zip(everything, counts.sum(axis=0), strict=True)]
        estimate = {"mean": estimate_mean, "exceedance": estimate_probability}[estimand]
        found = estimate(staged_strata(seen, counts, planned), level=0.95 if naive else level)
        if max(found.high - found.value, found.value - found.low) <= relative_half_width * abs(found.value):
            break
    assert found is not None
    return Stopped(runs=looks.runs[look], estimate=found, hit_share=shares[-1][1])


def _shares(seen: list[Stratum], *, is_probability: bool) -> tuple[float, ...]:
    if not seen:
        return FIRST_SHARES
    spread = [deviation(each, is_probability=is_probability) for each in seen]
    return tuple(neyman_shares([each.probability for each in seen], np.array([spread])))


def _first(stratum: Stratum, n: int) -> Stratum:
    return Stratum(
        probability=stratum.probability,
        log_w=stratum.log_w[:n],
        values=stratum.values[:n],
        weight_bound=stratum.weight_bound,
    )


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Of ``repeats``: how often the interval at the stop covered, with how many runs on average, and the mean value."""

    repeats: int
    covered: float
    runs: float
    value: float
    error: float
    hit_share: float


def measure(
    estimand: str, target: float, *, repeats: int, budget: int, naive: bool = False, growth: float = 1.3, seed: int = 1
) -> Tally:
    """Coverage at the stopping time."""
    looks, true = looks_until(budget, growth=growth), truth(estimand)
    stops = [
        stop(seed * 1_000_000 + repeat, estimand=estimand, relative_half_width=target, looks=looks, naive=naive)
        for repeat in range(repeats)
    ]
    values = np.array([each.estimate.value for each in stops])
    return Tally(
        repeats=repeats,
        covered=float(np.mean([each.estimate.low <= true <= each.estimate.high for each in stops])),
        runs=float(np.mean([each.runs for each in stops])),
        value=float(values.mean()),
        error=float(values.std(ddof=1) / math.sqrt(repeats)),
        hit_share=float(np.mean([each.hit_share for each in stops])),
    )
