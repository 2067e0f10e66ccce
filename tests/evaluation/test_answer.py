"""Answers against known truth, and refusals each for its own reason."""

import dataclasses
import math

import numpy as np
import pytest

from scenariogen.errors import FrequencyError
from scenariogen.evaluation.answer import answer
from scenariogen.evaluation.outcomes import ARRIVED, LOCK_UP, exceedance_name
from scenariogen.evaluation.question import Question
from scenariogen.simulation.contract import EndReason
from tests.evaluation.asking import one, refused
from tests.evaluation.synthetic import COST, counted_batch, delays, paper_weights, run, runs, true_mean

# ------------------------------------------------------------------------------------------------- right answers


@pytest.mark.parametrize("frequency", [0.5, 1.0, 2.0, 5.0, 3.3])
def test_one_batch_answers_every_frequency(frequency):
    batch = counted_batch(2400, seed=3)
    found, detail = one(batch, runs(batch, a=delays(batch)), frequency=frequency)
    assert found.verdict == "ok"
    assert found.value == pytest.approx(true_mean(frequency), abs=4 * found.standard_error)
    assert found.standard_error < 0.06 * true_mean(frequency)
    assert found.low < found.value < found.high and found.runs == 2400
    assert detail.probability_free == pytest.approx(math.exp(-frequency))
    assert detail.plain == pytest.approx(found.value, rel=0.2)
    assert detail.self_normalised == pytest.approx(found.value, rel=0.05)
    assert detail.lane_blocking_per_100_h == pytest.approx(40 * frequency)


def test_the_incident_free_mean_alone_would_be_wrong():
    batch = counted_batch(2400, seed=3)
    table = delays(batch)
    free = table[[s.is_incident_free for s in batch.scenarios]].mean()
    found, _ = one(batch, runs(batch, a=table), frequency=2.0)
    assert free < found.low - 5 * found.standard_error


def test_a_paired_difference_is_surer_than_two_estimates_apart():
    """Common scenarios and seeds: what both policies suffer alike cancels."""
    batch = counted_batch(600, seed=4)
    first = delays(batch, seed=7)
    second = delays(batch, seed=7, factor=0.9)  # the same costs, the day a tenth shorter
    made = runs(batch, a=first, b=second)
    difference, _ = one(batch, made, ("a", "b"), versus="a")
    alone, _ = one(batch, made, ("a", "b"))
    assert difference.policy == "b" and difference.versus == "a"
    assert difference.value == pytest.approx(true_mean(1, factor=0.9) - true_mean(1), abs=4 * difference.standard_error)
    assert difference.standard_error < 0.2 * alone.standard_error
    assert difference.high < 0


def test_probabilities_are_estimated_with_events_and_without():
    batch = counted_batch(1200, seed=5)
    table = delays(batch)
    made = runs(batch, a=table)
    name = exceedance_name(20.0)
    found, detail = one(batch, made, estimand=name, threshold=20.0, frequency=2.0)
    generator = np.random.default_rng(1)
    count = generator.poisson(2.0, 400_000)
    direct = 10 * np.exp(0.15 * generator.standard_normal(count.size))
    for k in range(count.max()):
        direct += (count > k) * COST * np.exp(0.6 * generator.standard_normal(count.size))
    assert found.verdict == "ok"
    assert found.value == pytest.approx((direct > 20).mean(), abs=4 * found.standard_error)
    assert 0 < detail.ess_tail < found.ess
    never, detail = one(batch, made, estimand=LOCK_UP)
    assert never.value == never.low == 0 and 0 < never.high < 0.05 and detail.ess_tail == 0


def test_lock_ups_are_counted():
    batch = counted_batch(1200, seed=5)
    table = delays(batch)
    made = [
        run(s, "a", d, locked_up=len(s.incidents) >= 4, locked_up_at_s=900.0, end_reason=EndReason.LOCKED_UP)
        if len(s.incidents) >= 4
        else run(s, "a", d)
        for s, (d,) in zip(batch.scenarios, table, strict=True)
    ]
    found, _ = one(batch, made, estimand=LOCK_UP, frequency=2.0)
    truth = 1 - sum(math.exp(-2) * 2**k / math.factorial(k) for k in range(4))
    assert found.value == pytest.approx(truth, abs=4 * found.standard_error) and found.low > 0.05


def test_the_order_of_runs_changes_nothing():
    batch = counted_batch(300)
    made = runs(batch, a=delays(batch))
    assert one(batch, made)[0] == one(batch, made[::-1])[0]


def test_several_seeds_of_a_scenario_are_one_cluster():
    batch = counted_batch(300)
    table = delays(batch)
    single = one(batch, runs(batch, a=table))[0]
    copied = one(batch, runs(batch, a=np.repeat(table, 4, axis=1)), replicas=4)[0]
    assert copied.standard_error == pytest.approx(single.standard_error)
    assert (copied.low, copied.high) == pytest.approx((single.low, single.high))
    assert copied.runs == 4 * single.runs and copied.ess == single.ess


@pytest.mark.parametrize("frequency", [0.5, 2.0])
def test_intervals_cover_on_the_whole_path(frequency):
    """300 batches of 240 scenarios through outcomes, strata and gate; refusals count as misses.

    The lower bound leaves four standard errors of 300 repeats below 0.95: 0.90.
    """
    hits = 0
    for repeat in range(300):
        batch = counted_batch(240, seed=1000 + repeat)
        found, _ = one(batch, runs(batch, a=delays(batch, seed=5000 + repeat)), frequency=frequency)
        hits += found.value is not None and found.low <= true_mean(frequency) <= found.high
    assert hits / 300 >= 0.90


# ---------------------------------------------------------------------------------------------------- refusals


def test_too_few_runs_with_incidents_says_how_many_more():
    batch = counted_batch(48)
    found, _ = one(batch, runs(batch, a=delays(batch)))
    refused(found, r"the 40 runs with incidents count as \d+ at this frequency, 50 are needed: sample about \d+ more")


def test_no_incident_free_run_is_said():
    batch = counted_batch(300)
    kept = dataclasses.replace(batch, scenarios=tuple(s for s in batch.scenarios if s.incidents))
    refused(one(kept, runs(kept, a=delays(kept)))[0], r"days without incident have probability 0.37 and no valid run")


def test_few_incident_free_runs_are_not_enough_for_most_days():
    batch = counted_batch(300, free_every=60)
    refused(
        one(batch, runs(batch, a=delays(batch)), frequency=0.5)[0], r"5 incident-free runs stand for 61% of the days"
    )


def test_weights_that_do_not_belong_to_the_scenarios_are_refused():
    batch = counted_batch(600)
    weights = paper_weights(batch, 1.0)
    wrong = dataclasses.replace(weights, log_w=weights.log_w + np.where(weights.is_free, 0.0, 0.5))
    refused(one(batch, runs(batch, a=delays(batch)), weights=wrong)[0], r"average 1\.\d+ where 1 is expected")


def test_a_tail_that_a_few_runs_decide_is_refused():
    batch = counted_batch(600, seed=2)
    table = delays(batch)
    heavy = np.exp(1.3 * np.random.default_rng(0).standard_exponential(len(batch)))  # Pareto shape 1.3
    found, detail = one(batch, runs(batch, a=table + heavy[:, None]))
    refused(found, r"Pareto k of weight times value is [\d.]+, above 0\.6\d for \d+ runs")
    assert found.k_hat == detail.k_hat_values > detail.k_threshold


def test_a_large_blind_spot_is_refused():
    batch = counted_batch(360, free_every=30)
    found, detail = one(batch, runs(batch, a=delays(batch)), frequency=0.05, weights=paper_weights(batch, 0.5))
    assert detail.blind_spot == pytest.approx(math.exp(-0.5) * (1 - 0.05 ** (1 / 12)), rel=1e-6)
    assert found.verdict == "ok"
    sure = dataclasses.replace(paper_weights(batch, 0.5), probability_free=0.99)
    refused(
        one(batch, runs(batch, a=delays(batch)), weights=sure)[0], r"up to 22% may look like nothing that was tried"
    )


def test_a_frequency_outside_the_range_is_a_refused_record():
    batch = counted_batch(60)
    error = FrequencyError("the batch was drawn for 0.5 to 5, got 9: sample again with --frequency 9")
    found, detail = one(batch, runs(batch, a=delays(batch)), weights=error, frequency=9.0)
    refused(found, "drawn for 0.5 to 5, got 9")
    assert found.ess == 0 and detail.probability_free is None


def test_a_difference_that_troubled_runs_alone_make_is_refused():
    """Everybody arrives under both policies, but in a few runs whose incident did not stand: nothing bounds that."""
    batch = counted_batch(300, seed=3)
    same = np.full((300, 1), 1000.0)
    other, trouble = same.copy(), np.zeros((300, 1), dtype=bool)
    rows = [31, 62, 93, 124]
    other[rows] -= [[5.0], [9.0], [17.0], [30.0]]
    trouble[rows] = True
    question = Question(
        policy="b", versus="a", estimand=ARRIVED, values=other, baseline=same, trouble=trouble,
        reasons={"incident not realised": len(rows)},
    )  # fmt: skip
    found, _ = answer(question, paper_weights(batch, 1.0), 1.0)
    assert found.is_refused and found.value is None and "all runs that differ are in trouble" in found.verdict
