"""Tails, time to recover, classes of the number of incidents, and multipliers by kind."""

import dataclasses
import json
import math

import numpy as np
import pytest
import typer

from scenariogen.cli.common import frequencies
from scenariogen.evaluation.estimate import answers_at
from scenariogen.evaluation.outcomes import ARRIVED, MEAN, RECOVERY, cvar_name, outcomes, quantile_name, questions
from scenariogen.evaluation.strata import sample_of
from scenariogen.scenarios.reweight import frequency_weights
from scenariogen.scenarios.synthesize import synthesize
from tests.evaluation.asking import asked, one, refused
from tests.evaluation.synthetic import WINDOW, counted_batch, delays, run, runs
from tests.evaluation.test_drawn import cost
from tests.model.small import small_model


def recovered(scenario, seconds):
    """A run whose incidents recover after so many seconds; None: not before its end."""
    incidents = [
        {"realised": True, "reason": "", "happened": {"start_s": 600.0},
         "phases": {"recovered_s": None if seconds is None else 600.0 + seconds}}
        for _ in scenario.incidents
    ]  # fmt: skip
    return run(scenario, "a", 10.0 + scenario.index % 7, arrived=100 + scenario.index % 5,
               incidents=json.dumps(incidents))  # fmt: skip


def test_quantile_and_cvar_are_those_of_many_direct_days():
    batch = counted_batch(2400, seed=8)
    made = runs(batch, a=delays(batch))
    generator = np.random.default_rng(1)
    count = generator.poisson(1.0, 200_000)
    owner = np.repeat(np.arange(count.size), count)
    costs = 3 * np.exp(0.6 * generator.standard_normal(owner.size))
    days = 10 * np.exp(0.15 * generator.standard_normal(count.size)) + np.bincount(owner, costs, count.size)
    q = np.quantile(days, 0.9)
    weights = frequency_weights(batch, 1.0)
    for name, truth in ((quantile_name(0.9), q), (cvar_name(0.9), days[days > q].mean())):
        found, detail = one(batch, made, estimand=name, tail=0.9, weights=weights)
        assert found.verdict == "ok" and found.value == pytest.approx(truth, abs=4 * found.standard_error)
        assert detail.ess_tail >= 50


def test_a_thin_tail_is_refused_and_says_how_many_more_of_which_kind():
    batch = counted_batch(300)
    found, detail = one(batch, runs(batch, a=delays(batch)), estimand=cvar_name(0.99), tail=0.99)
    refused(found, r"\d+ effective runs lie at or beyond the quantile, 50 are needed, most of them runs with "
                   r"incidents: sample about \d+ more scenarios, or ask for a quantile nearer")  # fmt: skip
    assert detail.ess_tail < 50


def test_time_to_recover_is_of_days_with_an_incident_and_says_where_it_is_a_lower_bound():
    batch = counted_batch(600)
    made = [recovered(s, None if s.index % 4 == 1 else 300.0 + s.index % 3) for s in batch.scenarios]
    found, detail = one(batch, made, estimand=RECOVERY, weights=frequency_weights(batch, 1.0))
    assert found.verdict == "ok" and found.remark.startswith("lower bound: in ")
    kept = [s for s in batch.scenarios if s.incidents]
    values = [WINDOW.end_s - 600.0 if s.index % 4 == 1 else 300.0 + s.index % 3 for s in kept]
    weights = frequency_weights(batch, 1.0)
    expected = np.average(values, weights=np.exp(weights.log_w[~weights.is_free]))
    assert found.value == pytest.approx(expected, abs=2 * found.standard_error)
    assert detail.ess_free == 0 and detail.trouble == 0
    arrived, _ = one(batch, made, estimand=ARRIVED, weights=weights)
    assert 100 < arrived.low < arrived.high < 104 and not arrived.remark


def test_what_was_not_measured_is_not_asked():
    batch = counted_batch(60)
    assert not {q.estimand for q in asked(batch, runs(batch, a=delays(batch)), ["a"])} & {ARRIVED, RECOVERY}


# ---------------------------------------------------------------------------------------- numbers of incidents


@pytest.mark.parametrize("frequency", [0.5, 2.0])
def test_weights_average_one_in_every_class_and_controls_zero(frequency):
    batch = synthesize(small_model(), n=3000, frequencies=[0.5, 2.0, 5.0], seed=5)
    (question, *_) = asked(batch, [run(s, "a", cost(s)) for s in batch.scenarios], ["a"])
    weights = frequency_weights(batch, frequency)
    sample = sample_of(question, weights)
    assert len(sample.strata) == 4 and sum(s.probability for s in sample.strata) == pytest.approx(1.0)
    for stratum in sample.strata:
        error = stratum.w.std() / math.sqrt(len(stratum))
        assert stratum.w.mean() == pytest.approx(1.0, abs=4 * error + 1e-9)
        for control in stratum.controls.T:
            product = stratum.w * control
            assert product.mean() == pytest.approx(0.0, abs=4 * product.std() / math.sqrt(len(stratum)))


def test_classes_make_a_mean_surer_and_leave_it_where_it_is():
    batch = counted_batch(600, seed=3)
    made = runs(batch, a=delays(batch))
    weights = frequency_weights(batch, 2.0)
    divided, _ = one(batch, made, frequency=2.0, weights=weights)
    whole, _ = one(batch, made, frequency=2.0, weights=dataclasses.replace(weights, classes=None))
    assert divided.standard_error < 0.9 * whole.standard_error
    assert divided.value == pytest.approx(whole.value, abs=3 * whole.standard_error)


def test_few_draws_are_joined_to_their_neighbours():
    batch = counted_batch(36)
    (question, *_) = asked(batch, runs(batch, a=delays(batch)), ["a"])
    sample = sample_of(question, frequency_weights(batch, 1.0))
    assert all(len(s) >= 20 for s in sample.strata[1:]) or len(sample.strata) == 2


# --------------------------------------------------------------------------------------------- kinds of incident


def test_multipliers_by_kind_after_the_fact():
    """Half as many crashes again, from a batch drawn for multipliers that all kinds have in common."""
    batch = synthesize(small_model(), n=1200, frequencies=[1.0, 2.0], seed=3)
    made = [run(s, "a", 10.0 + 5 * len(s.incidents)) for s in batch.scenarios]
    (question,) = [q for q in questions(outcomes(made, batch, ["a"]), batch) if q.estimand == MEAN]
    expected = dict(zip(("crash", "breakdown", "obstruction"), small_model().expected.tolist(), strict=False))
    asked_for = {"crash": 1.5, "breakdown": 1.0}
    ((found, detail),) = answers_at([question], batch, frequency_weights(batch, asked_for), asked_for)
    truth = 10 + 5 * (small_model().expected.sum().item() + 0.5 * expected["crash"])
    assert found.verdict == "ok" and found.value == pytest.approx(truth, abs=4 * found.standard_error)
    assert found.frequency is None and found.frequencies == asked_for == detail.frequencies and not found.is_by_hand


def test_frequencies_are_read_as_numbers_and_by_kind():
    assert frequencies("2,0.5", "--frequency") == (0.5, 2.0)
    assert frequencies("1;crash=2,breakdown=1", "--frequency") == (1.0, {"crash": 2.0, "breakdown": 1.0})
    for wrong in ("crash=", "crash=2,crash=3", "crash=-1", "crash=2,1"):
        with pytest.raises(typer.BadParameter, match="expected each kind once"):
            frequencies(wrong, "--frequency")
