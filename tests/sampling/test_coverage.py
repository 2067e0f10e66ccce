"""Measured coverage of mean, exceedance, quantile and CVaR, gate included: refusals are misses.

The fast versions repeat less, within four standard errors of 95 %; the slow ones hold 93 to 97 % over 2,000 repeats.
Where the answer has atoms only the lower bound can be met.
"""

import math

import numpy as np
import pytest

from scenariogen.sampling.gate import assess
from scenariogen.sampling.importance import Stratum, estimate_mean
from scenariogen.sampling.quantiles import estimate_cvar
from tests.sampling.coverage_problems import ESTIMANDS, PROBLEMS, measure, tolerance

EVERY = [(name, estimand) for name in PROBLEMS for estimand in ESTIMANDS]
FAST = {"mean": 60, "exceedance": 60, "quantile": 80, "cvar": 25}


@pytest.mark.parametrize("estimand", ESTIMANDS)
@pytest.mark.parametrize("name", ["tilted", "inflated", "heavy", "counts"])
def test_few_repeats_lie_within_the_binomials_errors(name, estimand):
    problem, repeats = PROBLEMS[name], FAST[estimand]
    found = measure(problem, estimand, repeats=repeats, seed=2)
    assert found.rate >= 0.95 - tolerance(repeats)
    assert estimand in problem.atoms or found.rate <= 0.95 + tolerance(repeats)
    assert found.refused <= 0.05 * repeats + 4 * math.sqrt(0.05 * 0.95 * repeats)
    assert found.covered + found.below + found.above + found.refused == repeats


@pytest.mark.slow
@pytest.mark.parametrize(("name", "estimand"), EVERY)
def test_two_thousand_repeats_are_covered_in_93_to_97_of_100(name, estimand):
    problem = PROBLEMS[name]
    found = measure(problem, estimand, repeats=2000)
    assert found.rate >= 0.93
    assert estimand in problem.atoms or found.rate <= 0.97
    assert found.refused <= 0.05 * 2000


def test_true_values_agree_with_many_direct_draws():
    """The problems' own truths, from estimates over many repeats."""
    for name in ("tilted", "counts", "heavy"):
        problem = PROBLEMS[name]
        generator = np.random.default_rng(8)
        w_h = np.array(
            [sum(s.probability * float((s.w * s.values).mean()) for s in problem.draw(generator)) for _ in range(400)]
        )
        assert w_h.mean() == pytest.approx(problem.truth["mean"], abs=4 * w_h.std() / 20)


def infinite_variance(generator, kind):
    """A weight, or a value, whose second moment does not exist: shapes of 0.9."""
    heavy = np.exp(0.9 * generator.standard_exponential(2000))
    if kind == "weights":
        return Stratum(probability=1.0, log_w=np.log(0.1 * heavy), values=generator.random(2000))
    return Stratum(probability=1.0, log_w=np.zeros(2000), values=heavy)


@pytest.mark.parametrize(
    ("kind", "estimate", "share"),
    [("weights", estimate_mean, 0.95), ("values", estimate_mean, 0.85), ("values", estimate_cvar, 0.85)],
)
def test_an_infinite_variance_is_refused_not_covered(kind, estimate, share):
    """Less four standard errors of 80 repeats.

    Weights are known to average 1, so that their missing tail shows twice. Of values only the fitted shape tells: with
    2,000 draws it exceeds the limit of 0.7 in 88 to 90 of 100.
    """
    refused = 0
    for repeat in range(80):
        stratum = infinite_variance(np.random.default_rng([5, repeat]), kind)
        refused += assess([stratum], estimate([stratum])).is_refused
    assert refused / 80 >= share - tolerance(80, share)
