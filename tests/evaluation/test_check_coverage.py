"""The code of ``scripts/check_coverage``, few times."""

import sys

import numpy as np
import pytest

from tests.support import ROOT


@pytest.fixture(scope="module")
def days():
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import coverage_days

        yield coverage_days
    finally:
        sys.path.remove(str(ROOT / "scripts"))


@pytest.mark.parametrize("estimand", ["quantile", "CVaR", "all differences", "total", "total, families"])
def test_few_repeats_are_covered(days, estimand):
    found = days.measure(days.DAYS[0], estimand, repeats=12, seed=3)
    assert found.covered >= 8 and found.covered + found.below + found.above + found.refused == 12
    assert found.plain()["rate"] == found.rate and len(found.cells()) == len(found.header)


def test_durations_of_another_family_are_a_matter_of_weights(days):
    """Weights by the log ratios give the mean effect that the other family has, which is a different one."""
    batch, effects = days.with_durations(
        days.drawn(np.random.default_rng(1), 1e9, scenarios=8000), np.random.default_rng(2)
    )
    single = [n for n, s in enumerate(batch.scenarios) if len(s.incidents) == 1]
    first = np.cumsum([0, *(len(s.incidents) for s in batch.scenarios)])
    w = np.exp([batch.scenarios[n].density.log_durations[0] for n in single])
    lognormal, weibull = days.mean_effects()
    assert abs(w.mean() - 1) < 4 * w.std() / len(w) ** 0.5
    assert abs((w * effects[first[single]]).mean() - weibull) < 4 * (w * effects[first[single]]).std() / len(w) ** 0.5
    assert abs(lognormal / weibull - 1) > 0.03


def test_plain_draws_tell_the_far_tail_worse_than_as_many_weighted_runs(days):
    found = days.tail_runs(days.DAYS[0], kappa=0.1, at=0.99, plain_draws=240, runs=240, repeats=10)
    assert found.error < found.plain_error and found.needed < 240 and found.plain_covered < 0.85


def test_an_interval_that_misses_is_told(days):
    found = days.Counted(days="skewed", estimand="mean", repeats=2000, covered=1800, below=100, above=100, refused=0)
    assert not found.within
