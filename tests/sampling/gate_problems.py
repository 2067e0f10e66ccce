"""Weighted samples whose true error and whose weights' true Pareto shape are known, and how the gate judges them.

A Pareto weight w = (1 − k) U^(−k) has shape k and mean 1. For a normal proposal of scale s < 1 against a standard
normal target the shape is 1 − s² (E[w^a] is finite for a < 1/(1 − s²)), whatever the dimension; for s ≥ 1 weights are
bounded.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from scenariogen.sampling.gate import Limits, assess
from scenariogen.sampling.importance import Stratum, estimate_mean, estimate_probability

LARGE = 0.5
"""A relative error above this is one that must be refused."""
HARMLESS = 0.5
"""Weights, and weights times values, of a smaller shape have a variance: they must be answered."""


@dataclass(frozen=True, kw_only=True)
class GateProblem:
    """``shape`` is the larger of the true shapes of w and w h; None where no sample of this size shows it."""

    name: str
    draw: Callable[[np.random.Generator], Stratum]
    truth: float
    shape: float | None
    is_probability: bool = False


@dataclass(frozen=True, kw_only=True)
class GateRecord:
    """Of ``runs`` how many were refused, how many had a large error, and how many of those were refused."""

    runs: int
    refused: int
    large: int
    large_refused: int


def judge(problem: GateProblem, *, runs: int, seed: int = 1) -> GateRecord:
    refused = large = large_refused = 0
    for run in range(runs):
        stratum = problem.draw(np.random.default_rng([seed, run]))
        estimate = estimate_probability if problem.is_probability else estimate_mean
        # A relative error is asked for, so a probability needs events.
        found = assess([stratum], estimate([stratum]), limits=Limits(events=10 if problem.is_probability else 0))
        wrong = abs(found.estimate.value / problem.truth - 1) > LARGE
        refused += found.is_refused
        large += wrong
        large_refused += wrong and found.is_refused
    return GateRecord(runs=runs, refused=refused, large=large, large_refused=large_refused)


def _pareto(n: int, k: float, c: float) -> GateProblem:
    """Pareto weights; the value is 1 where the weights are largest, in the share ``c`` of the draws."""

    def draw(generator: np.random.Generator) -> Stratum:
        u = 1 - generator.random(n)
        return Stratum(probability=1.0, log_w=math.log(1 - k) - k * np.log(u), values=(u < c).astype(float))

    return GateProblem(name=f"Pareto {k}, {n} draws, top {c:g}", draw=draw, truth=c ** (1 - k), shape=k)


def _scale(n: int, s: float, dim: int, *, tail: bool = False) -> GateProblem:
    """Normal of scale ``s`` in ``dim`` dimensions for a standard normal; the mean of x₁², or P(x₁ > 1.5)."""

    def draw(generator: np.random.Generator) -> Stratum:
        x = s * generator.standard_normal((n, dim))
        log_w = dim * math.log(s) + 0.5 * (1 / s**2 - 1) * (x**2).sum(1)
        return Stratum(probability=1.0, log_w=log_w, values=(x[:, 0] > 1.5).astype(float) if tail else x[:, 0] ** 2)

    what = "P(x > 1.5)" if tail else "E x²"
    return GateProblem(
        name=f"normal of scale {s} in {dim}-d, {n} draws, {what}",
        draw=draw,
        truth=float(norm.sf(1.5)) if tail else 1.0,
        shape=1 - s**2,
        is_probability=tail,
    )


def _shift(n: int, mu: float) -> GateProblem:
    """N(0, 1) for N(μ, 1), the mean of x. All moments exist, but at μ = 3 no sample shows it."""

    def draw(generator: np.random.Generator) -> Stratum:
        x = generator.standard_normal(n)
        return Stratum(probability=1.0, log_w=mu * x - mu**2 / 2, values=x)

    shape = 0.0 if mu <= 1 else None
    return GateProblem(name=f"normal shifted by {mu}, {n} draws", draw=draw, truth=mu, shape=shape)


def _missed(n: int) -> GateProblem:
    """Half the target's mass where the proposal never goes."""

    def draw(generator: np.random.Generator) -> Stratum:
        x = generator.standard_normal(n)
        log_w = np.logaddexp(math.log(0.3), math.log(0.7) - 0.5 * (x - 9) ** 2 + 0.5 * x**2)
        return Stratum(probability=1.0, log_w=log_w, values=np.where(x > 4.5, 5.0, 1.0))

    return GateProblem(name=f"mode missed, {n} draws", draw=draw, truth=0.3 + 0.7 * 5.0, shape=None)


SIZES = (500, 2000)
GATE_PROBLEMS = [
    *(_pareto(n, k, c) for n in SIZES for k in (0.1, 0.3, 0.45) for c in (0.2,)),
    *(_pareto(n, k, c) for n in SIZES for k in (0.7, 0.8, 0.9, 0.95) for c in (0.2, 0.02)),
    *(_scale(n, s, dim) for n in SIZES for s, dim in ((0.8, 1), (0.9, 3), (1.3, 2), (1.5, 1))),
    *(_scale(n, s, dim) for n in SIZES for s, dim in ((0.5, 1), (0.35, 1), (0.5, 3), (0.6, 5))),
    *(_scale(n, s, 1, tail=True) for n in SIZES for s in (0.9, 0.5, 0.35)),
    *(_shift(n, mu) for n in SIZES for mu in (0.7, 3.0, 4.0)),
    *(_missed(n) for n in SIZES),
]
