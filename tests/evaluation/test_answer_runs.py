"""Runs that failed, scenarios made by hand, the files of answers, and where two policies change places."""

import dataclasses
import json
import math

import numpy as np
import pytest

from scenariogen.errors import FrequencyError, ResultsError
from scenariogen.evaluation.answer import answer, answer_by_hand
from scenariogen.evaluation.estimate import read_estimates, write_estimates
from scenariogen.evaluation.outcomes import LOCK_UP, MEAN, default_threshold, exceedance_name, outcomes
from scenariogen.evaluation.ranking import Curve, log_grid
from scenariogen.simulation.contract import EndReason
from tests.evaluation.asking import asked, one, refused
from tests.evaluation.synthetic import counted_batch, delays, hand_batch, paper_weights, run, runs

FIELDS = [
    "policy", "versus", "frequency", "estimand", "value", "standard_error", "low", "high", "ess", "k_hat", "runs",
    "verdict", "level", "low_all", "high_all", "low_total", "high_total", "shares", "frequencies", "remark",
]  # fmt: skip


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


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"incidents_realised": 0}, "incident not realised"),
        ({"balance_broken": "second 60: loaded 3 is not 4"}, "vehicles not accounted for"),
    ],
)
@pytest.mark.parametrize("delay", [11.0, 1e4])
def test_a_delay_that_is_not_the_scenarios_own_enters_nothing(changes, reason, delay):
    """Its delay is another scenario's, or other vehicles': it was counted as if it were a measurement, which drew the
    mean by as much as one liked while the interval was only widened around it."""
    batch = counted_batch(600)
    rows = [row for row, s in enumerate(batch.scenarios) if s.incidents][:4]
    shown = {"end_reason": EndReason.HORIZON, "error": "", "system_delay_veh_h": delay, "arrived": 5}
    made = with_failures(batch, delays(batch), rows, **shown, **changes)
    found, detail = one(batch, made)
    crashed, _ = one(batch, with_failures(batch, delays(batch), rows))
    assert found.runs == 596 and detail.trouble_reasons == {reason: 4} and detail.trouble > 0
    assert (found.value, found.low, found.high) == (crashed.value, crashed.low, crashed.high)
    outcome = outcomes(made, batch, ["a"])["a"]
    assert all(np.isnan(numbers[rows]).all() for numbers in (outcome.delay_veh_h, outcome.locked_up, outcome.arrived))
    assert np.isnan(outcome.recovery_s[rows]).all() and not outcome.recovery_cut[rows].any()
    assert all(np.isnan(kg[rows]).all() for kg in outcome.emitted.values())


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


def test_estimates_are_strict_json_with_the_documented_fields(tmp_path):
    batch = counted_batch(300)
    table = delays(batch)
    weights = paper_weights(batch, 1.0)
    pairs = [answer(q, weights, 1.0) for q in asked(batch, runs(batch, a=table, b=table * 0.9), ["a", "b"])]
    pairs.append(one(batch, runs(batch, a=table), weights=FrequencyError("outside"), frequency=9.0))
    path = write_estimates(tmp_path, pairs)
    records = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert all(list(record) == FIELDS for record in records) and len(records) == 16
    assert [r["versus"] for r in records[:3]] == [None, None, "a"]
    assert read_estimates(tmp_path) == [found for found, _ in pairs]
    assert len(json.loads((tmp_path / "diagnostics.json").read_text())) == 16


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


def test_a_curve_on_one_side_does_not_cross():
    batch = counted_batch(600, seed=6)
    table = delays(batch, seed=9)
    better = curve(batch, runs(batch, a=table, b=0.8 * table), log_grid([0.5, 5.0], 4))
    assert better.crossings == () and set(better.sure_signs) == {-1}
    same = curve(batch, runs(batch, a=table, b=table), [1.0])
    for point in same.points:
        refused(
            point, r"b and a gave the same in all 600 runs, as policies do that act alike: see first whether they act"
        )


@pytest.mark.parametrize("estimand", [LOCK_UP, MEAN])
def test_runs_that_all_gave_the_same_are_policies_that_act_alike_only_where_delays_are_compared(estimand):
    """Two policies under which nothing ever locks up differ all the same, and one policy alone is not compared."""
    batch = counted_batch(600, seed=6)
    table = delays(batch, seed=9)
    if estimand == LOCK_UP:
        found, _ = one(batch, runs(batch, a=table, b=0.8 * table), ("a", "b"), versus="a", estimand=LOCK_UP)
    else:
        found, _ = one(batch, runs(batch, a=np.full_like(table, 10.0)))
    assert "act" not in found.verdict


@pytest.mark.parametrize("frequency", [0.5, 1.7, 5.0])
def test_the_batchs_own_weights_are_those_worked_out_on_paper(frequency):
    from scenariogen.scenarios.reweight import frequency_weights

    batch = counted_batch(60)
    found, expected = frequency_weights(batch, frequency), paper_weights(batch, frequency)
    assert found.probability_free == pytest.approx(expected.probability_free)
    np.testing.assert_array_equal(found.is_free, expected.is_free)
    np.testing.assert_allclose(found.log_w, expected.log_w, atol=1e-9)
