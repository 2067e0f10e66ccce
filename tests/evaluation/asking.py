"""How the tests of answers ask: one question put to a batch and its runs, and what a refusal looks like."""

import re

from scenariogen.evaluation.answer import answer
from scenariogen.evaluation.outcomes import MEAN, outcomes, questions
from tests.evaluation.synthetic import paper_weights


def asked(batch, made, policies, *, replicas=1, threshold=None, tail=0.95):
    by_policy = outcomes(made, batch, policies, replicas=replicas)
    return questions(by_policy, batch, threshold_veh_h=threshold, tail=tail)


def one(
    batch, made, policies=("a",), *, estimand=MEAN, versus=None, frequency=1.0, weights=None, stages=None, level=0.95,
    **options,
):  # fmt: skip
    question = next(q for q in asked(batch, made, policies, **options) if q.estimand == estimand and q.versus == versus)
    weights = weights or paper_weights(batch, frequency)
    return answer(question, weights, frequency, lane_blocking_per_100_h=40.0, level=level, stages=stages)


def refused(found, pattern):
    assert found.value is found.low is found.high is None
    assert found.verdict.startswith("refused: ") and re.search(pattern, found.verdict), found.verdict
