"""Differences of several policies to the first, with intervals that hold for all of them together."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from scenariogen.evaluation.estimates import Estimate
from scenariogen.evaluation.question import Measure, Question
from scenariogen.evaluation.strata import Sample
from scenariogen.sampling.simultaneous import bonferroni_level, simultaneous_level


def together(
    questions: Sequence[Question],
    found: Sequence[Estimate],
    *,
    sample: Callable[[Question], Sample],
    again: Callable[[Question, float], Estimate],
    level: float,
) -> list[Estimate]:
    """The estimates with ``low_all`` and ``high_all`` where a difference is one of several.

    ``sample``  the runs of a question by stratum; ``again``  its estimate at another level. Means have a common
    bootstrap where all differences are of the same runs; everything else Bonferroni's level.
    """
    out = list(found)
    for estimand in dict.fromkeys(q.estimand for q in questions):
        rows = [n for n, q in enumerate(questions) if q.estimand == estimand and q.versus is not None]
        if len(rows) < 2:
            continue
        each = _level([questions[n] for n in rows], [out[n] for n in rows], sample, level)
        for n in rows:
            if out[n].is_refused:
                continue
            wide = again(questions[n], each)
            if not wide.is_refused:
                out[n] = replace(out[n], low_all=wide.low, high_all=wide.high)
    return out


def _level(
    questions: Sequence[Question], found: Sequence[Estimate], sample: Callable[[Question], Sample], level: float
) -> float:
    if questions[0].measure is not Measure.MEAN or any(each.is_refused for each in found):
        return bonferroni_level(len(questions), level)
    samples = [sample(question) for question in questions]
    first = samples[0]
    same = all(
        len(each.rows) == len(first.rows)
        and all(map(np.array_equal, first.rows, each.rows))
        and [len(s) for s in each.strata] == [len(s) for s in first.strata]
        for each in samples[1:]
    )
    used = [n for n, s in enumerate(first.strata) if s.probability > 0]
    if not same or any(len(first.strata[n]) < 2 for n in used):
        return bonferroni_level(len(questions), level)
    contrasts = [each.contrasts for each in samples]
    terms = [np.stack([c[n].terms() for c in contrasts], axis=1) for n in used]
    return simultaneous_level(terms, [first.strata[n].probability for n in used], level=level)
