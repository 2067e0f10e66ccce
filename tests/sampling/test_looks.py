"""Looks fixed in advance: their levels against simulated motion, and the whole scheme against known answers."""

import numpy as np
import pytest

from scenariogen.errors import DensityError
from scenariogen.sampling.looks import Looks, bounds, looks_until, spent
from tests.sampling.stopping_problems import measure


def test_a_motion_leaves_the_bounds_at_any_look_with_the_error_that_is_spent():
    runs = (50, 60, 100, 180, 400)
    limits = np.array(bounds(runs, level=0.9))
    steps = np.diff([0, *runs])
    motion = (np.random.default_rng(1).normal(size=(200_000, 5)) * np.sqrt(steps)).cumsum(axis=1) / np.sqrt(runs)
    left = (np.abs(motion) > limits).cumsum(axis=1) > 0
    due = [spent(n / runs[-1], 0.1) for n in runs]
    assert left.mean(axis=0) == pytest.approx(due, abs=4 * np.sqrt(0.1 * 0.9 / 200_000))
    assert due[-1] == pytest.approx(0.1)


def test_pococks_boundary_of_five_even_looks():
    """Lan and DeMets' spending of Pocock's type: published bounds 2.438, 2.427, 2.410, 2.397, 2.386."""
    assert bounds((1, 2, 3, 4, 5)) == pytest.approx((2.438, 2.427, 2.410, 2.397, 2.386), abs=5e-4)


def test_one_look_needs_no_correction():
    assert Looks(runs=(100,)).levels == pytest.approx((0.95,))


def test_looks_end_with_the_budget_and_not_right_before_it():
    for budget in (1, 79, 80, 81, 105, 2000):
        runs = looks_until(budget).runs
        assert runs[-1] == budget and all(np.diff(runs) > 0)
        assert len(runs) < 3 or runs[-1] / runs[-2] > 1.1


@pytest.mark.parametrize("runs", [(), (5, 5), (10, 3), tuple(range(1, 60))])
def test_looks_that_cannot_be_are_refused(runs):
    with pytest.raises(DensityError, match="ascending"):
        Looks(runs=runs)


def test_stopping_when_it_is_narrow_keeps_the_level():
    found = measure("mean", 0.2, repeats=40, budget=300)
    assert found.covered >= 0.95 - 4 * (0.05 * 0.95 / 40) ** 0.5
    assert found.runs < 300


@pytest.mark.slow
@pytest.mark.parametrize(("estimand", "target"), [("mean", 0.3), ("mean", 0.1), ("exceedance", 0.7)])
def test_a_thousand_stops_cover(estimand, target):
    found = measure(estimand, target, repeats=1000, budget=1200)
    assert found.covered >= 0.93 and found.runs < 1200
