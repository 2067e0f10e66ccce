"""Answers against known truth, refusals each for its own reason, and runs that failed."""

import dataclasses
import json
import math

import numpy as np
import pytest

from scenariogen.errors import FrequencyError, ResultsError
from scenariogen.evaluation.answer import answer, answer_by_hand
from scenariogen.evaluation.estimate import read_estimates, write_estimates
from scenariogen.evaluation.outcomes import (
    LOCK_UP,
    MEAN,
    default_threshold,
    exceedance_name,
    outcomes,
    questions,
)
from scenariogen.evaluation.ranking import Curve, crossing_statement, log_grid
from scenariogen.simulation.contract import EndReason
from tests.evaluation.synthetic import (
    COST,
    counted_batch,
    delays,
    hand_batch,
    paper_weights,
    run,
    runs,
    true_mean,
)

FIELDS = [
    "policy", "versus", "frequency", "estimand", "value", "standard_error", "low", "high", "ess", "k_hat", "runs",
    "verdict",
]  # fmt: skip


def asked(batch, made, policies, *, replicas=1, threshold=None):
    by_policy = outcomes(made, batch, policies, replicas=replicas)
    return questions(by_policy, batch, threshold_veh_h=threshold)


def one(batch, made, policies=("a",), *, estimand=MEAN, versus=None, frequency=1.0, weights=None, **options):
    question = next(q for q in asked(batch, made, policies, **options) if q.estimand == estimand and q.versus == versus)
    return answer(question, weights or paper_weights(batch, frequency), frequency, lane_blocking_per_100_h=40.0)


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


def refused(found, pattern):
    import re

    assert found.value is found.low is found.high is None
    assert found.verdict.startswith("refused: ") and re.search(pattern, found.verdict), found.verdict


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


# -------------------------------------------------------------------------------------------- runs that failed


def with_failures(batch, table, rows, **changes):
    changes = {"end_reason": EndReason.POLICY_RAISED, "error": "x", "system_delay_veh_h": None} | changes
    return [
        run(s, "a", d, **(changes if row in rows else {}))
        for row, (s, (d,)) in enumerate(zip(batch.scenarios, table, strict=True))
    ]


def test_a_failed_run_widens_the_interval_and_is_counted():
    batch = counted_batch(600)
    table = delays(batch)
    whole, _ = one(batch, runs(batch, a=table))
    rows = [row for row, s in enumerate(batch.scenarios) if s.incidents][:3]
    found, detail = one(batch, with_failures(batch, table, rows))
    assert found.verdict == "ok" and found.runs == 597
    assert 0 < detail.trouble < 0.02 and detail.trouble_reasons == {"policy raised": 3}
    assert found.high - found.low > whole.high - whole.low
    worst = table.copy()
    worst[rows] = table[[bool(s.incidents) for s in batch.scenarios]].max()
    assert found.high == pytest.approx(one(batch, runs(batch, a=worst))[0].high)


def test_failed_runs_bound_a_probability_from_both_sides():
    batch = counted_batch(600)
    table = delays(batch)
    rows = [row for row, s in enumerate(batch.scenarios) if s.incidents][:6]
    found, _ = one(batch, with_failures(batch, table, rows), estimand=LOCK_UP)
    none, _ = one(batch, runs(batch, a=table), estimand=LOCK_UP)
    assert found.value == found.low == 0 and found.high > 1.2 * none.high


def test_many_failures_refuse_and_name_their_reasons():
    batch = counted_batch(300)
    rows = set(range(0, 300, 4))
    found, _ = one(batch, with_failures(batch, delays(batch), rows))
    refused(found, r"runs with \d\d% of the probability gave no valid result \(75 policy raised\): mend their cause")


def test_an_incident_that_did_not_happen_is_trouble_although_there_is_a_delay():
    batch = counted_batch(600)
    rows = [row for row, s in enumerate(batch.scenarios) if s.incidents][:4]
    made = with_failures(
        batch,
        delays(batch),
        rows,
        end_reason=EndReason.HORIZON,
        error="",
        incidents_realised=0,
        system_delay_veh_h=11.0,
    )
    found, detail = one(batch, made)
    assert found.runs == 600 and detail.trouble_reasons == {"incident not realised": 4} and detail.trouble > 0


def test_an_unfinished_batch_asks_for_the_same_command_again():
    batch = counted_batch(300)
    found, _ = one(batch, runs(batch, a=delays(batch))[:200])
    refused(found, r"100 not made yet\): run the same command again")


def test_a_failure_of_either_policy_takes_the_pair_out():
    batch = counted_batch(600)
    table = delays(batch)
    made = with_failures(batch, table, [5]) + [run(s, "b", d) for s, (d,) in zip(batch.scenarios, table, strict=True)]
    found, detail = one(batch, made, ("a", "b"), versus="a")
    assert found.runs == 599 and detail.trouble_reasons == {"policy raised": 1}


def test_runs_of_another_batch_or_policy_are_not_mixed_in():
    batch = counted_batch(12)
    stranger = dataclasses.replace(run(batch.scenarios[0], "a", 3.0), scenario=99)
    with pytest.raises(ResultsError, match="scenario 99, policy 'a'"):
        outcomes([stranger], batch, ["a"])
    with pytest.raises(ResultsError, match="policy 'b'"):
        outcomes([run(batch.scenarios[0], "b", 3.0)], batch, ["a"])


# ------------------------------------------------------------------------------------------ scenarios made by hand


def by_hand(batch, table, estimand=MEAN, **options):
    question = next(q for q in asked(batch, runs(batch, a=table), ["a"], **options) if q.estimand == estimand)
    return answer_by_hand(question)[0]


def test_scenarios_made_by_hand_have_no_frequency_and_the_seeds_error():
    generator = np.random.default_rng(2)
    table = np.array([[10.0], [50.0]]) + generator.standard_normal((2, 12))
    found = by_hand(hand_batch(2), table, replicas=12)
    assert found.frequency is None and found.k_hat is None and found.verdict == "ok"
    assert found.value == pytest.approx(table.mean())
    expected = math.sqrt(sum(0.25 * row.var(ddof=1) / 12 for row in table))
    assert found.standard_error == pytest.approx(expected)  # the gap between the scenarios is not noise
    assert found.low < found.value < found.high and found.ess == pytest.approx(24)


def test_one_run_of_one_scenario_gives_no_interval():
    found = by_hand(hand_batch(), np.array([[10.0]]))
    refused(found, r"1 simulator seed per scenario say.*evaluate with --seeds 10")


def test_a_probability_by_hand_covers_what_few_seeds_leave_open():
    found = by_hand(hand_batch(), np.arange(12.0)[None, :], estimand=LOCK_UP, replicas=12)
    assert (found.value, found.low) == (0, 0) and found.high == pytest.approx(1 - 0.025 ** (1 / 12))


# --------------------------------------------------------------------------------------- thresholds and files


def test_the_default_threshold_is_twice_the_calm_median_in_two_digits():
    batch = counted_batch(600)
    table = delays(batch)
    free = np.array([s.is_incident_free for s in batch.scenarios])
    expected = 2 * np.median(table[free])
    found = default_threshold(outcomes(runs(batch, a=table), batch, ["a"])["a"], batch)
    assert found == pytest.approx(expected, rel=0.03) and found == float(f"{found:.2g}")
    assert exceedance_name(150.0) == "P(delay>150 veh h)"


def test_without_any_delay_there_is_no_threshold_and_the_reasons_are_said():
    batch = counted_batch(12)
    made = with_failures(batch, delays(batch), range(12))
    with pytest.raises(ResultsError, match="no run of policy 'a' gave a delay: 12 policy raised"):
        asked(batch, made, ["a"])


def test_estimates_are_strict_json_with_the_twelve_fields(tmp_path):
    batch = counted_batch(300)
    table = delays(batch)
    weights = paper_weights(batch, 1.0)
    pairs = [answer(q, weights, 1.0) for q in asked(batch, runs(batch, a=table, b=table * 0.9), ["a", "b"])]
    pairs.append(one(batch, runs(batch, a=table), weights=FrequencyError("outside"), frequency=9.0))
    path = write_estimates(tmp_path, pairs)
    records = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert all(list(record) == FIELDS for record in records) and len(records) == 10
    assert [r["versus"] for r in records[:3]] == [None, None, "a"]
    assert read_estimates(tmp_path) == [found for found, _ in pairs]
    assert len(json.loads((tmp_path / "diagnostics.json").read_text())) == 10


def test_estimates_that_are_missing_or_broken_are_one_clear_message(tmp_path):
    with pytest.raises(ResultsError, match=r"estimates\.json does not exist: run scenariogen evaluate"):
        read_estimates(tmp_path)
    (tmp_path / "estimates.json").write_text('[{"policy": "a"}]')
    with pytest.raises(ResultsError, match="is not a list of estimates"):
        read_estimates(tmp_path)


# ------------------------------------------------------------------------------------------------------ ranking


def curve(batch, made, frequencies, *, policies=("a", "b")):
    question = next(q for q in asked(batch, made, policies) if q.estimand == MEAN and q.versus == "a")
    points = tuple(answer(question, paper_weights(batch, f), f)[0] for f in frequencies)
    return Curve(policy="b", versus="a", points=points)


def test_the_crossing_is_found_where_it_is():
    """b costs 20 % of a day more and a third less per incident: they meet at 0.2 · 10.1 / (1 · exp(0.18)) = 1.69."""
    batch = counted_batch(2400, seed=6)
    made = runs(batch, a=delays(batch, seed=9), b=delays(batch, seed=9, factor=1.2, cost=2.0))
    truth = 0.2 * 10 * math.exp(0.15**2 / 2) / (1.0 * math.exp(0.18))
    found = curve(batch, made, log_grid([0.5, 5.0], 9))
    assert len(found.crossings) == 1 and found.crossings[0] == pytest.approx(truth, rel=0.15)
    text = crossing_statement(found)
    assert "change places at" in text and "on both sides of it the difference is clear" in text


def test_no_crossing_is_said_with_how_sure_that_is():
    batch = counted_batch(600, seed=6)
    table = delays(batch, seed=9)
    better = curve(batch, runs(batch, a=table, b=0.8 * table), log_grid([0.5, 5.0], 4))
    assert better.crossings == () and set(better.sure_signs) == {-1}
    assert crossing_statement(better) == (
        "no change of places between 0.5 and 5 times the model's frequency: b has the smaller mean delay, "
        "and the band excludes zero everywhere"
    )
    same = curve(batch, runs(batch, a=table, b=table), [1.0])
    assert "give the same mean delay" in crossing_statement(same)
    few = counted_batch(30)
    assert "no estimate was given" in crossing_statement(
        curve(few, runs(few, a=delays(few), b=delays(few)), [1.0, 2.0])
    )


@pytest.mark.parametrize("frequency", [0.5, 1.7, 5.0])
def test_the_batchs_own_weights_are_those_worked_out_on_paper(frequency):
    from scenariogen.scenarios.reweight import frequency_weights

    batch = counted_batch(60)
    found, expected = frequency_weights(batch, frequency), paper_weights(batch, frequency)
    assert found.probability_free == pytest.approx(expected.probability_free)
    np.testing.assert_array_equal(found.is_free, expected.is_free)
    np.testing.assert_allclose(found.log_w, expected.log_w, atol=1e-9)
