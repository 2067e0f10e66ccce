"""Adaptive rounds on an event with a mode that is found late: what pooling the rounds does to the estimate.

The target is a standard normal, the event lies beyond 3 on one side and beyond −2.88 on the other, where 60 % of its
probability is. The first proposal looks at the first side; only the target's own share of 0.2 ever meets the second, in
about one round of seventeen. Later proposals are normals around the events found so far, with their estimated shares.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from scenariogen.sampling.importance import Stratum, WeightedEstimate, estimate_mean
from scenariogen.sampling.rounds import Round, RoundsEstimate, rounds_estimate

Estimate = Callable[[Sequence[Stratum]], WeightedEstimate]
RIGHT, LEFT = 3.0, -2.88
TRUTH = float(norm.sf(RIGHT) + norm.cdf(LEFT))
ROUNDS, DRAWS = 8, 150
DEFENSIVE, SCALE = 0.2, 0.6


@dataclass(frozen=True)
class Proposal:
    """The target with share :data:`DEFENSIVE` and a narrow normal on each side, ``shares`` (2,), ``centres`` (2,)."""

    shares: tuple[float, float]
    centres: tuple[float, float]

    def draw(self, generator: np.random.Generator, n: int) -> np.ndarray:
        weights = np.array([DEFENSIVE, *((1 - DEFENSIVE) * np.array(self.shares))])
        which = generator.choice(3, size=n, p=weights)
        centre = np.array([0.0, *self.centres])[which]
        return centre + np.array([1.0, SCALE, SCALE])[which] * generator.standard_normal(n)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        parts = [math.log(DEFENSIVE) + norm.logpdf(x)]
        parts += [
            math.log((1 - DEFENSIVE) * share) + norm.logpdf(x, centre, SCALE)
            for share, centre in zip(self.shares, self.centres, strict=True)
            if share > 0
        ]
        return np.logaddexp.reduce(parts, axis=0)


def event(x: np.ndarray) -> np.ndarray:
    return ((x > RIGHT) | (x < LEFT)).astype(float)


def learn(draws: list[np.ndarray], proposals: list[Proposal]) -> Proposal:
    """Shares and centres from all events so far, each weighed by its own round's proposal."""
    x = np.concatenate(draws)
    log_q = np.concatenate([q.log_prob(each) for q, each in zip(proposals, draws, strict=True)])
    mass = np.exp(norm.logpdf(x) - log_q) * event(x)
    sides = [mass * (x > 0), mass * (x < 0)]
    if not mass.sum():
        return proposals[0]
    shares = np.array([each.sum() for each in sides]) / mass.sum()
    centres = [
        float((each * x).sum() / each.sum()) if each.sum() else side
        for each, side in zip(sides, (RIGHT, LEFT), strict=True)
    ]
    return Proposal((float(shares[0]), float(shares[1])), (centres[0], centres[1]))


def adapt(generator: np.random.Generator, estimate: Estimate = estimate_mean) -> RoundsEstimate:
    """Eight rounds and both estimates of the event's probability."""
    proposals, draws = [Proposal((1.0, 0.0), (RIGHT, LEFT))], []
    for number in range(ROUNDS):
        draws.append(proposals[number].draw(generator, DRAWS))
        if number < ROUNDS - 1:
            proposals.append(learn(draws, proposals))
    rounds = [
        Round(log_target=norm.logpdf(x), log_proposals=np.stack([q.log_prob(x) for q in proposals]), values=event(x))
        for x in draws
    ]
    return rounds_estimate(rounds, estimate=estimate)


@dataclass(frozen=True, kw_only=True)
class HiddenMode:
    """Relative bias with its standard error, relative RMSE and coverage of both estimates, and ``apart``, the share of
    runs in which the gap between the two refuses."""

    record_bias: float
    record_bias_error: float
    record_rmse: float
    record_coverage: float
    pooled_bias: float
    pooled_bias_error: float
    pooled_rmse: float
    pooled_coverage: float
    apart: float


def study(*, repeats: int, seed: int = 1, estimate: Estimate = estimate_mean) -> HiddenMode:
    found = [adapt(np.random.default_rng([seed, repeat]), estimate) for repeat in range(repeats)]
    record = np.array([each.record.estimate.value for each in found]) / TRUTH - 1
    pooled = np.array([each.pooled.value for each in found]) / TRUTH - 1
    covered = [[each.low <= TRUTH <= each.high for each in (one.record.estimate, one.pooled)] for one in found]
    record_coverage, pooled_coverage = np.mean(covered, axis=0)
    return HiddenMode(
        record_bias=float(record.mean()),
        record_bias_error=float(record.std() / math.sqrt(repeats)),
        record_coverage=float(record_coverage),
        record_rmse=float(math.sqrt((record**2).mean())),
        pooled_bias=float(pooled.mean()),
        pooled_bias_error=float(pooled.std() / math.sqrt(repeats)),
        pooled_rmse=float(math.sqrt((pooled**2).mean())),
        pooled_coverage=float(pooled_coverage),
        apart=float(np.mean([each.gap > 1.96 for each in found])),
    )
