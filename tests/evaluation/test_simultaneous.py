"""Where a ranking flips: bands that hold for a whole curve at once, and the sets they give."""

import doctest
import math

import numpy as np
import pytest

from scenariogen.errors import FrequencyError
from scenariogen.evaluation import frequency_spans
from scenariogen.evaluation.outcomes import MEAN, outcomes, questions
from scenariogen.evaluation.ranking import flip_statement, log_grid
from scenariogen.evaluation.simultaneous import flip_sets, simultaneous_bands
from scenariogen.sampling.importance import cluster_means
from tests.evaluation import synthetic
from tests.evaluation.synthetic import counted_batch, delays, paper_weights, true_mean

GRID = log_grid([0.5, 5.0], 9)
OTHER = {"factor": 1.3, "cost": 1.2}
"""A policy that costs more without incidents and less with each."""
TRUTH = np.array([true_mean(f, **OTHER) - true_mean(f) for f in GRID])
CROSSING = 0.3 * 10 * math.exp(0.15**2 / 2) / (1.8 * math.exp(0.18))


def difference(seed, n):
    batch = counted_batch(n, seed=seed)
    return batch, delays(batch, seed=10_000 + seed, **OTHER) - delays(batch, seed=10_000 + seed)


def flips_of(batch, made, *, grid=GRID, policies=("a", "b"), refused=None):
    asked = questions(outcomes(made, batch, policies), batch)
    pairs = [q for q in asked if q.estimand == MEAN and q.versus is not None]
    weights = [paper_weights(batch, f) for f in grid]
    return flip_sets(pairs, weights, grid, refused or [[False] * len(grid)] * len(pairs))


def coverage(repeats, n, replicates):
    """How often the whole true curve, and how often a single point of it, lies in the band."""
    whole, one, at = 0, 0, len(GRID) // 2
    for seed in range(repeats):
        batch, values = difference(seed, n)
        weights = [paper_weights(batch, f) for f in GRID]
        (band,) = simultaneous_bands([values[:, 0]], weights, replicates=replicates)
        inside = (band.low <= TRUTH) & (band.high >= TRUTH)
        whole, one = whole + inside.all(), one + inside[at]
    return whole / repeats, one / repeats


@pytest.mark.slow
def test_the_whole_true_curve_lies_in_the_band_as_often_as_is_claimed():
    """500 batches: 0.95 ± 3 standard errors of 0.0097; a pointwise band would hold the whole curve in fewer."""
    whole, one = coverage(500, 240, 999)
    assert 0.92 <= whole <= 0.985 and one >= whole


def test_the_band_holds_the_true_curve_in_most_batches():
    whole, _ = coverage(30, 180, 199)
    assert whole >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 30)


def test_a_band_for_several_curves_is_wider_than_for_one():
    batch, values = difference(1, 240)
    other = delays(batch, seed=5, cost=2.0)[:, 0] - delays(batch, seed=6)[:, 0]
    weights = [paper_weights(batch, f) for f in GRID]
    (alone,) = simultaneous_bands([values[:, 0]], weights)
    together, _ = simultaneous_bands([values[:, 0], other], weights)
    assert (together.high >= alone.high).all() and (together.low <= alone.low).all()
    assert (together.high - together.low > alone.high - alone.low).any()
    assert together.value == pytest.approx(alone.value)


def test_the_flip_is_bounded_on_both_sides_and_holds_the_truth():
    batch, _ = difference(3, 900)
    made = synthetic.runs(batch, a=delays(batch, seed=9), b=delays(batch, seed=9, **OTHER))
    (found,) = flips_of(batch, made)
    assert found.shape == "bounded" and len(found.pieces) == 1
    (low, high), (crossing,) = found.pieces[0], found.crossings
    assert low < CROSSING < high and low < crossing < high
    assert found.worse == ((0.5, low),) and found.better == ((high, 5.0),)
    text = flip_statement(found, 40.0)
    assert text.startswith("b and a change places somewhere from ×") and "lane-blocking incidents per 100" in text
    assert f"({low * 40:.3g} to {high * 40:.3g} lane-blocking" in text
    assert "beyond doubt b is better from" in text and "a is better from ×0.5" in text


def test_no_flip_an_unbounded_one_and_nothing_known_are_told_apart():
    batch = counted_batch(600, seed=6)
    table = delays(batch, seed=9)
    (never,) = flips_of(batch, synthetic.runs(batch, a=table, b=0.8 * table))
    assert never.is_empty and never.shape == "empty" and never.better == ((0.5, 5.0),)
    assert "does not flip from ×0.5 to ×5" in flip_statement(
        never
    ) and ": b has a smaller mean delay than a at" in flip_statement(never)

    (late,) = flips_of(batch, synthetic.runs(batch, a=table, b=delays(batch, seed=9, factor=1.3, cost=2.5)))
    assert late.shape == "unbounded" and late.reaches_high and not late.reaches_low
    assert "perhaps above the range" in flip_statement(late)

    noise = np.random.default_rng(1).normal(0, 3, table.shape)
    (unknown,) = flips_of(batch, synthetic.runs(batch, a=table, b=table + noise - noise.mean()))
    assert unknown.shape == "everywhere"
    assert "these runs do not tell" in flip_statement(unknown)


def test_what_the_gate_refuses_is_undecided_and_splits_the_set():
    batch = counted_batch(600, seed=6)
    table = delays(batch, seed=9)
    made = synthetic.runs(batch, a=table, b=0.8 * table)
    gone = [[i in (2, 6) for i in range(len(GRID))]]
    (found,) = flips_of(batch, made, refused=gone)
    assert found.shape == "bounded in 2 pieces" and found.refused == (GRID[2], GRID[6])
    assert all(low <= f <= high for f, (low, high) in zip(found.refused, found.pieces, strict=True))
    assert found.value[2] is None and found.low[2] is None
    assert "refused at 2 of 9" in flip_statement(found)
    (nothing,) = flips_of(batch, made, refused=[[True] * len(GRID)])
    assert "no estimate was given" in flip_statement(nothing)


def test_a_curve_that_is_refused_does_not_widen_the_others():
    """One policy that differs from the first in two scenarios alone, whose answers the gate refuses."""
    batch = counted_batch(240, seed=6)
    table = delays(batch, seed=9)
    hardly = table.copy()
    hardly[[3, 17]] += 1.0
    made = synthetic.runs(batch, a=table, b=hardly, c=0.8 * table)
    refused = [[True] * len(GRID), [False] * len(GRID)]
    _, found = flips_of(batch, made, policies=("a", "b", "c"), refused=refused)
    (alone,) = flips_of(batch, synthetic.runs(batch, a=table, c=0.8 * table), policies=("a", "c"))
    assert found.is_empty and found.low == pytest.approx(alone.low) and found.high == pytest.approx(alone.high)


def test_failed_runs_widen_the_band():
    batch = counted_batch(300, seed=6)
    made = synthetic.runs(batch, a=delays(batch, seed=9), b=delays(batch, seed=9, **OTHER))
    (whole,) = flips_of(batch, made)
    (holed,) = flips_of(batch, [run for run in made if run.scenario % 40 or run.policy == "a"])
    middle = len(GRID) // 2
    assert holed.high[middle] > whole.high[middle] and holed.low[middle] < whole.low[middle]


def test_multipliers_outside_the_batch_are_undecided():
    batch = counted_batch(300, seed=6)
    table = delays(batch, seed=9)
    asked = questions(outcomes(synthetic.runs(batch, a=table, b=0.8 * table), batch, ("a", "b")), batch)
    pairs = [q for q in asked if q.estimand == MEAN and q.versus is not None]
    weights = [paper_weights(batch, 1.0), FrequencyError("outside")]
    (found,) = flip_sets(pairs, weights, (1.0, 9.0), [[False, False]])
    assert found.refused == (9.0,) and found.reaches_high
    assert flip_sets([], weights, (1.0, 9.0), []) == []


def test_the_value_is_that_of_the_single_answers():
    from scenariogen.evaluation.answer import answer

    batch, _ = difference(2, 240)
    made = synthetic.runs(batch, a=delays(batch, seed=9), b=delays(batch, seed=9, **OTHER))
    asked = questions(outcomes(made, batch, ("a", "b")), batch)
    (question,) = [q for q in asked if q.estimand == MEAN and q.versus is not None]
    weights = paper_weights(batch, 2.0)
    (band,) = simultaneous_bands([cluster_means(question.paired)], [weights])
    assert band.value[0] == pytest.approx(answer(question, weights, 2.0)[0].value, rel=1e-12)


def test_doctests():
    assert doctest.testmod(frequency_spans, extraglobs={"np": np}).failed == 0
