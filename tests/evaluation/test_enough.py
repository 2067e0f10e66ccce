"""What is known before the runs: whether a batch can carry an answer."""

import dataclasses
import math
import re

import numpy as np
import pytest

from scenariogen.evaluation.enough import FewScenariosWarning, too_few, warn_of_few
from scenariogen.evaluation.estimate import answers_at
from scenariogen.evaluation.outcomes import MEAN, Outcome, questions
from scenariogen.sampling.diagnostics import effective_sample_size
from scenariogen.scenarios.reweight import frequency_weights
from tests.evaluation.synthetic import counted_batch, delays


def verdict(batch, frequency):
    """What the gate says of the mean, whatever the runs gave."""
    delay = delays(batch)
    calm = np.zeros(delay.shape)
    outcome = Outcome(
        policy="p", delay_veh_h=delay, locked_up=calm, arrived=calm + np.nan, recovery_s=calm + np.nan,
        recovery_cut=calm > 0, trouble=calm > 0, reasons={},
    )  # fmt: skip
    mean = [each for each in questions({"p": outcome}, batch, threshold_veh_h=1.0) if each.estimand == MEAN]
    return answers_at(mean, batch, frequency_weights(batch, frequency), frequency, total=False)[0][0].verdict


@pytest.mark.parametrize("n", [12, 40, 80, 120, 160, 400])
def test_what_is_told_beforehand_is_what_the_gate_says_afterwards(n):
    batch = counted_batch(n)
    for frequency in batch.design.frequencies:
        assert bool(too_few(batch, [frequency])) == ("are needed" in verdict(batch, frequency))


def test_a_refusal_counts_the_scenarios_without_incident():
    """45 with incidents of 60 would need as many more in proportion; where none has one, 50 with incidents."""
    few = counted_batch(60, free_every=4)
    said = verdict(few, 1.0)
    effective = effective_sample_size(frequency_weights(few, 1.0).log_w, ~few.columns.is_incident_free)
    more = int(re.search(r"about (\d+) more", said).group(1))
    assert "the 45 runs" in said and more == pytest.approx(60 * (50 / effective - 1), abs=2)
    assert "about 50 more" in verdict(counted_batch(20, free_every=1), 1.0)


def test_as_many_as_are_advised_do():
    few = counted_batch(40)
    text = too_few(few)
    advised = int(re.search(r"draw about (\d+)", text).group(1))
    assert "40 scenarios are too few" in text and "where 50 are needed" in text and advised > 40
    assert too_few(counted_batch(math.ceil(1.1 * advised))) == ""
    with pytest.warns(FewScenariosWarning, match="too few"):
        warn_of_few(few)


def test_a_frequency_outside_the_range_and_scenarios_made_by_hand_are_left_to_others():
    batch = counted_batch(12)
    assert too_few(batch, [1e6]) == ""
    assert too_few(dataclasses.replace(batch, design=None)) == ""
    assert "crash=1" in too_few(batch, [{"crash": 1.0}])
