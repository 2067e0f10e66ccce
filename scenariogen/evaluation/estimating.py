"""From the runs of a question by stratum to its estimate: which estimator, and what where there are no runs."""

import math
from collections.abc import Sequence
from typing import TypeAlias

from scenariogen.evaluation.question import Measure, Question
from scenariogen.evaluation.strata import Sample
from scenariogen.sampling.importance import (
    Stratum,
    WeightedEstimate,
    combined_ess,
    estimate_mean,
    estimate_probability,
    estimate_probability_difference,
)
from scenariogen.sampling.quantiles import (
    TailEstimate,
    estimate_cvar,
    estimate_cvar_difference,
    estimate_quantile,
    estimate_quantile_difference,
)

Found: TypeAlias = WeightedEstimate

_ALONE = {Measure.QUANTILE: estimate_quantile, Measure.CVAR: estimate_cvar}
_APART = {Measure.QUANTILE: estimate_quantile_difference, Measure.CVAR: estimate_cvar_difference}


def estimate_sample(question: Question, sample: Sample, *, level: float = 0.95) -> Found:
    """The estimate that a question asks for, with an interval at ``level``; nan and infinite limits without runs."""
    if question.is_tail:
        return _tail(question, sample, level)
    if question.is_probability:
        if sample.lesser is None:
            return estimate_probability(sample.strata, level=level)
        return estimate_probability_difference(sample.strata, sample.lesser, level=level)
    return estimate_mean(sample.contrasts, level=level)


def _tail(question: Question, sample: Sample, level: float) -> TailEstimate:
    if not sample.is_whole:
        return _nothing(sample.strata, question.at)
    if sample.less is None:
        return _ALONE[question.measure](sample.strata, sample.runs, at=question.at, level=level)
    return _APART[question.measure](sample.strata, sample.runs, sample.less, at=question.at, level=level)


def _nothing(strata: Sequence[Stratum], at: float) -> TailEstimate:
    """What is known where a stratum has no runs."""
    used = [s for s in strata if s.probability > 0]
    return TailEstimate(
        at=at,
        value=math.nan,
        standard_error=math.nan,
        low=-math.inf,
        high=math.inf,
        plain=math.nan,
        self_normalised=math.nan,
        ess=combined_ess(used),
        draws=sum(map(len, used)),
        ess_tail=0.0,
        integrand=tuple(s.values * 0.0 for s in used),
    )
