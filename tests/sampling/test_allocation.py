"""Where further runs go, and the estimate that is made of stages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenariogen.errors import DensityError
from scenariogen.sampling.allocation import (
    deal,
    deviation,
    neyman_shares,
    planned_runs,
    runs_needed,
    stage_starts,
    staged_strata,
)
from scenariogen.sampling.importance import Stratum, estimate_mean
from scenariogen.sampling.looks import looks_until


def stratum(values, probability=1.0) -> Stratum:
    return Stratum(probability=probability, log_w=np.zeros(len(values)), values=values, weight_bound=1.0)


def test_neyman_gives_the_least_variance_of_all_shares():
    probabilities, sigma = [0.7, 0.2, 0.1], np.array([1.0, 5.0, 20.0])
    best = neyman_shares(probabilities, sigma[None], floor=0.0)

    def variance(shares):
        return float((np.square(np.multiply(probabilities, sigma)) / shares).sum())

    assert best.sum() == pytest.approx(1.0)
    for other in np.random.default_rng(1).dirichlet(np.ones(3), size=200):
        assert variance(best) <= variance(other) + 1e-9


def test_the_floor_keeps_every_stratum_alive_and_the_worst_estimate_decides():
    shares = neyman_shares([0.5, 0.5, 0.0], np.array([[0.0, 1.0, 9.0], [0.1, 0.0, 9.0]]))
    assert shares == pytest.approx([0.125, 0.875, 0.0])


@given(
    shares=st.lists(st.floats(0, 1), min_size=1, max_size=5).filter(lambda s: sum(s) > 0.1), runs=st.integers(0, 200)
)
def test_every_beginning_of_a_stage_has_its_shares(shares, runs):
    shares = np.array(shares) / sum(shares)
    counts = np.cumsum(deal(shares, runs)[:, None] == np.arange(len(shares)), axis=0)
    expected = shares * np.arange(1, runs + 1)[:, None]
    assert (np.abs(counts - expected) < len(shares)).all()
    assert (deal(shares, runs)[: runs // 2] == deal(shares, runs // 2)).all()


def test_stages_cover_all_runs_and_are_fixed_beforehand():
    looks = looks_until(2000)
    for look, runs in enumerate(looks.runs):
        planned = planned_runs(looks, look)
        assert sum(planned) == runs and min(planned) > 0
        assert len(planned) == sum(start <= look for start in stage_starts(looks))


def test_the_estimate_of_record_is_the_stages_mean_by_planned_runs():
    first, second = np.array([1.0, 3.0, 5.0]), np.array([10.0, 20.0])
    made = stratum(np.concatenate([first, second]), probability=0.5)
    other = stratum(np.array([0.0, 0.0, 7.0, 9.0]), probability=0.5)
    strata = staged_strata([made, other], np.array([[3, 2], [2, 2]]), [30, 10])
    assert sum(each.probability for each in strata) == pytest.approx(1.0)
    expected = 0.75 * (0.5 * first.mean() + 0.5 * 0.0) + 0.25 * (0.5 * second.mean() + 0.5 * 8.0)
    assert estimate_mean(strata).plain == pytest.approx(expected)


def test_adaptive_shares_leave_the_estimate_of_record_unbiased_where_a_plain_mean_is_not():
    """The second stage goes where the first saw a spread; a stratum that looked quiet by chance keeps its few draws."""
    generator, record, plain = np.random.default_rng(3), [], []
    for _ in range(4000):
        skewed = generator.exponential(1.0, 14)
        quiet = skewed[:4].std() < 0.7  # then nothing more is drawn there
        n = 5 if quiet else 14
        record.append(0.5 * skewed[:4].mean() + 0.5 * skewed[4:n].mean())
        plain.append(skewed[:n].mean())
    error = np.std(record) / np.sqrt(len(record))
    assert abs(np.mean(record) - 1.0) < 4 * error
    assert abs(np.mean(plain) - 1.0) > 4 * np.std(plain) / np.sqrt(len(plain))


def test_an_event_that_was_not_seen_has_a_spread():
    never = stratum(np.zeros(98))
    assert deviation(never) == 0.0
    assert deviation(never, is_probability=True) == pytest.approx(0.1, abs=0.01)


def test_counts_that_do_not_add_up_are_refused():
    with pytest.raises(DensityError, match="counts"):
        staged_strata([stratum(np.ones(3))], np.array([[2]]), [2])


def test_runs_needed_goes_with_the_square_and_never_down():
    assert runs_needed(100, width=0.05, wanted=0.1) == 100
    assert runs_needed(100, width=float("inf"), wanted=0.1) == 100
