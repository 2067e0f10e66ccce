"""Batches that the model itself drew, answered at other frequencies, against batches drawn at those frequencies."""

import math

import numpy as np
import pytest

from scenariogen.evaluation.answer import answer
from scenariogen.evaluation.outcomes import MEAN, outcomes, questions
from scenariogen.scenarios.reweight import frequency_weights
from scenariogen.scenarios.synthesize import synthesize
from tests.evaluation.synthetic import run
from tests.model.small import small_model


def cost(scenario):
    """A delay that depends on everything a scenario holds: demand, number, place, duration and capacity."""
    lost = sum((1 - i.capacity_left) * i.duration_s / 600 * (2 if i.edge == "first" else 1) for i in scenario.incidents)
    return 10 * scenario.condition.demand_scale**2 * (1 + lost)


def mean_at(batch, frequency):
    made = [run(scenario, "a", cost(scenario)) for scenario in batch.scenarios]
    (question,) = [q for q in questions(outcomes(made, batch, ["a"]), batch) if q.estimand == MEAN]
    return answer(question, frequency_weights(batch, frequency), frequency)


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.mark.parametrize("given", ["", "capacity_left<=0.5"], ids=["any day", "given a loss of capacity"])
def test_one_drawn_batch_agrees_with_direct_draws_at_every_frequency(model, given):
    """The excess over the incident-free mean is what is compared, so that giving back that mean fails."""
    batch = synthesize(model, n=600, frequencies=[0.5, 5.0], given=given, seed=3)
    free = 10 * math.exp(2 * 0.1**2)  # demand scale is lognormal 0.1
    for frequency in (0.5, 1.3, 5.0):
        found, detail = mean_at(batch, frequency)
        direct, _ = mean_at(synthesize(model, n=2000, frequencies=[frequency], given=given, seed=4), frequency)
        assert found.verdict == direct.verdict == "ok"
        joint = math.hypot(found.standard_error, direct.standard_error)
        assert found.value == pytest.approx(direct.value, abs=4 * joint)
        assert found.value - free > 4 * joint
        assert (detail.probability_free == 0) == bool(given)


def test_weights_average_one_in_each_stratum(model):
    batch = synthesize(model, n=1200, frequencies=[0.5, 1.0, 2.0, 5.0], seed=5)
    for frequency in (0.5, 1.0, 3.0, 5.0):
        weights = frequency_weights(batch, frequency)
        for rows in (weights.is_free, ~weights.is_free):
            w = np.exp(weights.log_w[rows])
            assert w.mean() == pytest.approx(1.0, abs=4 * w.std() / math.sqrt(len(w)) + 1e-9)
