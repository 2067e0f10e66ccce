"""Problems with known answers, and plain functions that measure coverage on them.

Each problem draws strata from a numpy generator; its true mean, exceedance, quantile and CVaR are in closed form or,
for counts, summed to rounding error.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, poisson

from scenariogen.sampling.gate import Assessed, assess
from scenariogen.sampling.importance import Stratum, estimate_mean, estimate_probability
from scenariogen.sampling.quantiles import estimate_cvar, estimate_quantile

AT = 0.95
ESTIMANDS = ("mean", "exceedance", "quantile", "cvar")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """``truth`` by estimand; ``atoms`` names those whose answers have atoms, where only a lower bound can be met."""

    name: str
    draw: Callable[[np.random.Generator], list[Stratum]]
    threshold: float
    truth: dict[str, float]
    atoms: tuple[str, ...] = ("exceedance",)


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Out of ``repeats``: covered, missed because the truth lies below or above, refused (which is a miss too)."""

    repeats: int
    covered: int
    below: int
    above: int
    refused: int
    mean: float

    @property
    def rate(self) -> float:
        return self.covered / self.repeats


def answer(problem: Problem, estimand: str, strata: list[Stratum]) -> Assessed:
    if estimand == "mean":
        found = estimate_mean(strata)
    elif estimand == "exceedance":
        strata = [s.replace_values(s.values > problem.threshold) for s in strata]
        found = estimate_probability(strata)
    else:
        found = {"quantile": estimate_quantile, "cvar": estimate_cvar}[estimand](strata, at=AT)
    return assess(strata, found)


def measure(problem: Problem, estimand: str, *, repeats: int, seed: int = 1) -> Coverage:
    """Coverage of the 95 % interval with the gate in front of it."""
    truth = problem.truth[estimand]
    covered = below = above = refused = 0
    values = []
    for repeat in range(repeats):
        found = answer(problem, estimand, problem.draw(np.random.default_rng([seed, repeat])))
        values.append(found.estimate.value)
        if found.is_refused:
            refused += 1
        elif truth < found.estimate.low:
            below += 1
        elif truth > found.estimate.high:
            above += 1
        else:
            covered += 1
    return Coverage(
        repeats=repeats, covered=covered, below=below, above=above, refused=refused, mean=float(np.mean(values))
    )


def tolerance(repeats: int, rate: float = 0.95) -> float:
    """Four standard errors of a coverage measured over ``repeats``."""
    return 4 * math.sqrt(rate * (1 - rate) / repeats)


# ------------------------------------------------------------------------------------------------ the problems


def _lognormal_truth(threshold: float, tau: float, scale: float = 1.0) -> dict[str, float]:
    z = float(norm.ppf(1 - tau / scale))
    return {
        "mean": scale * math.exp(0.5),
        "exceedance": scale * float(norm.sf(math.log(threshold))),
        "quantile": math.exp(z),
        "cvar": scale * math.exp(0.5) * float(norm.cdf(1 - z)) / tau,
    }


def _one(log_w, values) -> list[Stratum]:
    return [Stratum(probability=1.0, log_w=log_w, values=values)]


def _skew(generator: np.random.Generator) -> list[Stratum]:
    """1,500 draws of a lognormal from the target itself."""
    return _one(np.zeros(1500), np.exp(generator.standard_normal(1500)))


def _tilted(generator: np.random.Generator) -> list[Stratum]:
    """A lognormal from 400 draws of a defensive mixture: 0.2 of the target, 0.8 shifted by 1.5 standard deviations."""
    x = generator.standard_normal(400) + 1.5 * (generator.random(400) < 0.8)
    return _one(-np.log(0.2 + 0.8 * np.exp(1.5 * x - 1.125)), np.exp(x))


def _inflated(generator: np.random.Generator) -> list[Stratum]:
    """Zero with probability 0.8, a stratum by itself; otherwise lognormal, from the tilted proposal."""
    return [
        Stratum(probability=0.8, log_w=np.zeros(40), values=np.zeros(40)),
        Stratum(probability=0.2, log_w=(hit := _tilted(generator)[0]).log_w, values=hit.values),
    ]


def _unsplit(generator: np.random.Generator) -> list[Stratum]:
    """The same, zeros and all from the target in one stratum: 1,500 draws, 300 of them not zero."""
    values = np.exp(generator.standard_normal(1500)) * (generator.random(1500) < 0.2)
    return _one(np.zeros(1500), values)


def _heavy(generator: np.random.Generator) -> list[Stratum]:
    """Pareto with exponent 3 (no third moment), 500 draws: 0.3 of the target, 0.7 of a Pareto with exponent 1.5."""
    wide = generator.random(500) < 0.7
    e = generator.standard_exponential(500) / np.where(wide, 1.5, 3.0)
    return _one(-np.log(0.3 + 0.7 * 0.5 * np.exp(1.5 * e)), np.exp(e))


def _heavy_plain(generator: np.random.Generator) -> list[Stratum]:
    """The same from the target itself: 2,000 draws."""
    return _one(np.zeros(2000), np.exp(generator.standard_exponential(2000) / 3.0))


GRID = np.array([0.5, 1.0, 2.0, 5.0])
RATE = 2.0


def _counts(generator: np.random.Generator) -> list[Stratum]:
    """Integer marks: Poisson counts of mean 2 with 0 a stratum of its own, the others from a mixture of four means."""
    u = generator.random(600)
    drawn = GRID[generator.integers(0, 4, 600)]
    count = poisson.ppf(np.exp(-drawn) - u * np.expm1(-drawn), drawn)
    logs = [math.log(0.25) + count * math.log(rate) - math.log(math.expm1(rate)) for rate in GRID]
    log_w = count * math.log(RATE) - math.log(math.expm1(RATE)) - np.logaddexp.reduce(logs, axis=0)
    free = math.exp(-RATE)
    return [
        Stratum(probability=free, log_w=np.zeros(40), values=np.zeros(40)),
        Stratum(probability=1 - free, log_w=log_w, values=count),
    ]


def _count_truth(threshold: float, tau: float) -> dict[str, float]:
    k = np.arange(200)
    p = poisson.pmf(k, RATE)
    q = float(poisson.ppf(1 - tau, RATE))
    cvar = q + float((p * np.maximum(k - q, 0)).sum()) / tau
    return {"mean": RATE, "exceedance": float(poisson.sf(threshold, RATE)), "quantile": q, "cvar": cvar}


def _pareto_truth(threshold: float, tau: float) -> dict[str, float]:
    q = tau ** (-1 / 3)
    return {"mean": 1.5, "exceedance": threshold**-3, "quantile": q, "cvar": 1.5 * q}


TAU = 1 - AT
PROBLEMS = {
    each.name: each
    for each in (
        Problem(name="skew", draw=_skew, threshold=5.0, truth=_lognormal_truth(5.0, TAU)),
        Problem(name="tilted", draw=_tilted, threshold=5.0, truth=_lognormal_truth(5.0, TAU)),
        Problem(name="inflated", draw=_inflated, threshold=3.0, truth=_lognormal_truth(3.0, TAU, 0.2)),
        Problem(name="unsplit", draw=_unsplit, threshold=3.0, truth=_lognormal_truth(3.0, TAU, 0.2)),
        Problem(name="heavy", draw=_heavy, threshold=2.5, truth=_pareto_truth(2.5, TAU)),
        Problem(name="heavy plain", draw=_heavy_plain, threshold=2.5, truth=_pareto_truth(2.5, TAU)),
        Problem(
            name="counts",
            draw=_counts,
            threshold=4.0,
            truth=_count_truth(4.0, TAU),
            atoms=("exceedance", "quantile", "cvar"),
        ),
    )
}
