"""The blind spot: how large a region without a draw may be, with and without a bound of the weights."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from scenariogen.errors import DensityError
from scenariogen.sampling.importance import Stratum, blind_spot
from scenariogen.sampling.intervals import largest_unseen


def one(values, log_w=None, probability=1.0, weight_bound=None):
    values = np.asarray(values, dtype=float)
    log_w = np.zeros(len(values)) if log_w is None else np.asarray(log_w)
    return Stratum(probability=probability, log_w=log_w, values=values, weight_bound=weight_bound)


def test_blind_spot_is_three_over_n_for_draws_from_the_target():
    assert blind_spot([one(np.zeros(1000))]) == pytest.approx(3 / 1000, rel=0.01)


def test_blind_spot_lies_in_the_stratum_where_it_is_largest():
    strata = [one(np.zeros(30), probability=0.9), one(np.zeros(170), probability=0.1)]
    assert blind_spot(strata) == pytest.approx(0.9 * (1 - 0.05 ** (1 / 30)))
    assert largest_unseen([0.5, 0.5], [0, 100]) == 0.5


def test_without_a_bound_the_weights_say_what_they_leave_unseen():
    # 0.1 N(12, 1/2) is never met by N(0, 1.5), whose weights on the rest average 0.9.
    generator = np.random.default_rng(3)
    x = 1.5 * generator.standard_normal((400, 300))
    spots, largest = [], []
    for row in x:
        log_p = np.logaddexp(math.log(0.9) + norm.logpdf(row), math.log(0.1) + norm.logpdf(row, 12, 0.5))
        stratum = one(row**2, log_w=log_p - norm.logpdf(row, scale=1.5))
        spots.append(blind_spot([stratum]))
        largest.append(3 / stratum.draws_from_target)
    error = math.sqrt(0.05 * 0.95 / 400)
    assert np.mean(np.array(spots) >= 0.1) >= 0.95 - 3 * error
    assert max(largest) < 0.02  # what the largest weight seen would say


@pytest.mark.parametrize("declared", [True, False])
def test_a_region_that_a_defended_proposal_missed_is_inside_the_blind_spot(declared):
    # 0.02 N(30, 1): only the target's own share of the proposal, 0.05, meets it.
    generator, alpha, n = np.random.default_rng(4), 0.05, 1000
    missed, covered = 0, 0
    for _ in range(300):
        own = generator.random(n) < alpha
        far = own & (generator.random(n) < 0.02)
        z = generator.standard_normal(n)
        x = np.where(far, 30 + z, np.where(own, z, 0.5 + 1.2 * z))
        if far.any():
            continue
        log_p = np.logaddexp(math.log(0.98) + norm.logpdf(x), math.log(0.02) + norm.logpdf(x, 30))
        log_q = np.logaddexp(math.log(alpha) + log_p, math.log(1 - alpha) + norm.logpdf(x, 0.5, 1.2))
        stratum = one(x**2, log_w=log_p - log_q, weight_bound=1 / alpha if declared else None)
        missed += 1
        covered += blind_spot([stratum]) >= 0.02
    assert missed > 60  # (1 − 0.05 · 0.02)^1000 = 0.37 of 300
    assert covered >= (0.95 - 3 * math.sqrt(0.05 * 0.95 / missed)) * missed


def test_the_bound_of_the_weights_is_checked():
    with pytest.raises(DensityError, match="a weight of 3 exceeds the bound of the weights, 2"):
        one([1.0, 2.0], log_w=np.log([3.0, 0.5]), weight_bound=2.0)
    with pytest.raises(DensityError, match=r"the bound of the weights is 0\.5, expected at least 1"):
        one([1.0, 2.0], log_w=np.log([0.3, 0.5]), weight_bound=0.5)
    with pytest.raises(DensityError, match="numbers above 300"):
        one([1.0, 2.0], log_w=[301.0, 0.5])


def test_a_region_at_the_blind_spot_is_missed_once_in_twenty():
    generator = np.random.default_rng(26)
    spot = blind_spot([one(np.zeros(80))])
    missed = (generator.random((80, 20_000)) > spot).all(axis=0).mean()
    assert missed == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / 20_000))
