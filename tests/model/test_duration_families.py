"""Families of durations recover the truth from what a log keeps of it; without reckoning with that they do not."""

import numpy as np
import pytest
from scipy import stats

from scenariogen.model.duration_families import FAMILIES, Durations, FamilyFit, fit_families, fit_family, log_likelihood

TRUTHS = {
    "lognormal": stats.lognorm(0.7, scale=40),
    "log-logistic": stats.fisk(2.2, scale=40),
    "Weibull": stats.weibull_min(1.4, scale=50),
    "gamma": stats.gamma(2.0, scale=22),
}
SHAPE_AND_SCALE = {"lognormal": (0.7, 40), "log-logistic": (2.2, 40), "Weibull": (1.4, 50), "gamma": (2.0, 22)}


def kept(law, *, seed: int, count: int = 4000) -> Durations:
    """A log without what is shorter than 15 min; part of it lists closed incidents, the rest loses sight of some."""
    generator = np.random.default_rng(seed)
    minutes = law.rvs(size=count, random_state=generator)
    longest = np.where(generator.random(count) < 0.4, generator.uniform(20, 90, count), np.inf)
    here = (minutes >= 15) & (minutes <= longest)
    minutes, longest = minutes[here], longest[here]
    last_seen = np.where(np.isinf(longest), generator.exponential(60, len(minutes)), np.inf)
    return Durations(
        minutes=np.minimum(minutes, last_seen),
        censored=last_seen < minutes,
        shortest=np.full(len(minutes), 15.0),
        longest=longest,
    )


def naive(durations: Durations) -> Durations:
    """What is left for someone who drops lower bounds and knows of no selection."""
    told = ~durations.censored
    count = int(told.sum())
    return Durations(minutes=durations.minutes[told], censored=np.zeros(count, dtype=bool), shortest=np.zeros(count),
                     longest=np.full(count, np.inf))  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_parameters_and_tail_are_recovered_within_their_errors_and_not_naively(name):
    shape, scale = SHAPE_AND_SCALE[name]
    durations = kept(TRUTHS[name], seed=3)
    found, wrong = fit_family(name, durations), fit_family(name, naive(durations))
    assert found.converged
    assert max(_errors_away(found, shape, scale)) < 4
    assert max(_errors_away(wrong, shape, scale)) > 6
    true_tail = TRUTHS[name].sf(120)
    assert abs(found.exceeds[1] - true_tail) < 0.25 * true_tail
    assert wrong.exceeds[1] < 0.75 * true_tail


def _errors_away(found: FamilyFit, shape: float, scale: float) -> tuple[float, float]:
    """Distances of shape and scale from the truth, in standard errors of their logarithms."""
    return (
        abs(np.log(found.shape / shape)) / found.log_shape_se,
        abs(np.log(found.scale_min / scale)) / found.log_scale_se,
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_the_family_that_is_true_has_the_best_criterion(name):
    durations = kept(TRUTHS[name], seed=4, count=8000)
    best = fit_families(durations)
    assert best[0].family == name or best[0].aic > next(each for each in best if each.family == name).aic - 6
    assert {each.family for each in best} == set(FAMILIES)
    assert best[-1].aic > best[0].aic + 20


def test_likelihood_against_integrals():
    """Given that a duration lies in the window the density integrates to one, and a bound is what is above it."""
    shortest, longest = 15.0, 80.0
    grid = np.linspace(shortest, longest, 261)
    for name, (shape, scale) in SHAPE_AND_SCALE.items():

        def density(minutes: float, *, is_bound: bool = False, law: tuple = (name, shape, scale)) -> float:
            durations = Durations(minutes=np.array([minutes]), censored=np.array([is_bound]),
                                  shortest=np.array([shortest]), longest=np.array([longest]))  # fmt: skip
            return float(np.exp(log_likelihood(*law, durations)))

        values = np.array([density(minutes) for minutes in grid])
        assert np.trapezoid(values, grid) == pytest.approx(1.0, abs=1e-3)
        above = grid >= 40
        assert density(40.0, is_bound=True) == pytest.approx(np.trapezoid(values[above], grid[above]), rel=0.01)


def test_few_durations_and_bounds_alone_give_no_family():
    few = kept(TRUTHS["lognormal"], seed=5, count=10)
    assert fit_families(few) == []
    bounds = Durations(minutes=np.full(50, 30.0), censored=np.ones(50, dtype=bool), shortest=np.zeros(50),
                       longest=np.full(50, np.inf))  # fmt: skip
    assert fit_families(bounds) == []
