"""One question answered at one frequency: value, interval, diagnostics and the gate's verdict.

A day without incident is a stratum of its own, with known probability P₀(κ) at frequency multiplier κ:

    E_κ[h] = P₀(κ) · E_κ[h | no incident] + (1 − P₀(κ)) · E_κ[h | at least one].

The first mean comes from the incident-free runs, the second from the runs with incidents, weighted by the target's
density over the batch's, and divided further by :mod:`scenariogen.evaluation.strata`. Weights have mean 1 in their
stratum. No run is made again when κ changes.

A run that failed, in which an incident did not happen or which lost vehicles says nothing of its scenario, and does not
drop out of sight. The value is that of the other runs; the interval is widened to where it would lie if every troubled
run were as good, or as bad, as the best or worst run of its stratum (for a probability: if it never, or always, showed
the event).

Scenarios made by hand have no frequency. Their answer is the mean over these very scenarios, each counting the
same; its error is that of the simulator's seeds alone.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scenariogen.errors import FrequencyError
from scenariogen.evaluation.estimates import LOWER_BOUND, Estimate, EstimateDetail
from scenariogen.evaluation.estimating import Found, estimate_sample
from scenariogen.evaluation.gate import refusal, refusal_by_hand
from scenariogen.evaluation.noise import noise_of
from scenariogen.evaluation.question import Question
from scenariogen.evaluation.strata import Sample, Stages, Weights, sample_by_scenario, sample_of
from scenariogen.sampling.diagnostics import WeightDiagnostics, diagnose
from scenariogen.sampling.importance import blind_spot

__all__ = ["Estimate", "EstimateDetail", "Stages", "Weights", "answer", "answer_by_hand"]

Frequency = float | Mapping[str, float]
"""One multiplier on all rates, or one per kind of incident."""

_TROUBLED_ALONE = (
    "refused: all runs that differ are in trouble (their reasons stand with the estimate), so nothing bounds it: mend "
    "those runs, or draw more scenarios"
)


def answer(
    question: Question,
    weights: Weights | FrequencyError,
    frequency: Frequency,
    *,
    lane_blocking_per_100_h: float = math.nan,
    level: float = 0.95,
    stages: Stages = None,
) -> tuple[Estimate, EstimateDetail]:
    """One estimate from a drawn batch, with an interval at ``level``.

    ``lane_blocking_per_100_h``  that of frequency 1
    ``stages``                   rows (batch,) bool and share of each stage of an evaluation that grew; shares are fixed
                                 beforehand and add up to 1. Rows of no stage are left out. None: all are one stage
    """
    who = _named(question, frequency)
    if isinstance(weights, FrequencyError):
        return _outside(question, who, level, weights)
    sample = sample_of(question, weights, stages=stages)
    pooled = sample_of(question, weights, stages=stages, divided=False)
    found = estimate_sample(question, sample, level=level)
    free, hit = pooled.strata
    integrand = _pooled(sample, pooled, found)
    trouble = _trouble(question, weights)
    diagnostics = diagnose(hit.log_w, integrand[1])
    kept = [h for h, s in zip(integrand, pooled.strata, strict=True) if s.probability > 0 and len(s)]
    seen = replace(found, integrand=tuple(kept))
    why = refusal(free, hit, diagnostics=diagnostics, found=seen, trouble=trouble, question=question)
    why = why or _empty_stage(question, sample)
    low, high = found.low, found.high
    if not why and question.trouble.any():
        ends = [sample_of(question, weights, stages=stages, completed=worst) for worst in (False, True)]
        low, high, why = _widened(question, found, ends, level=level)
    noise = None if question.is_tail else noise_of(sample, found.standard_error)
    detail = EstimateDetail(
        **who,
        probability_free=float(weights.probability_free),
        plain=_number(found.plain),
        self_normalised=_number(found.self_normalised),
        ess_free=free.ess,
        ess_incident=hit.ess,
        ess_tail=found.ess_tail,
        k_hat_weights=diagnostics.k_hat,
        k_hat_values=diagnostics.k_hat_values,
        k_threshold=_number(diagnostics.threshold),
        blind_spot=blind_spot(pooled.strata),
        trouble=trouble,
        trouble_reasons=question.reasons,
        strata=sum(1 for s in sample.strata if s.probability > 0),
        simulator_share=None if noise is None else _number(noise.share),
        best_seeds=None if noise is None else noise.best_seeds(),
        lane_blocking_per_100_h=_number(lane_blocking_per_100_h * (who["frequency"] or math.nan)),
    )
    shares = _weight_per_row(question, pooled)
    return _record(question, who, found, (low, high), diagnostics, why, level, _remark(question, shares)), detail


def answer_by_hand(question: Question, *, level: float = 0.95) -> tuple[Estimate, EstimateDetail]:
    """One estimate from scenarios made by hand: a stratum per scenario, its draws the simulator's seeds."""
    sample = sample_by_scenario(question)
    found = estimate_sample(question, sample, level=level)
    trouble = float(question.trouble.mean())
    why = refusal_by_hand(sample.strata, found=found, trouble=trouble, question=question)
    low, high = found.low, found.high
    if not why and question.trouble.any():
        completed = [sample_by_scenario(question, completed=worst) for worst in (False, True)]
        low, high, why = _widened(question, found, completed, level=level)
    who = _named(question, None)
    detail = EstimateDetail(
        **who,
        plain=_number(found.plain),
        self_normalised=_number(found.self_normalised),
        ess_tail=found.ess_tail,
        trouble=trouble,
        trouble_reasons=question.reasons,
    )
    remark = _remark(question, np.ones(len(question.values)))
    return _record(question, who, found, (low, high), None, why, level, remark), detail


def one_number(frequency: Frequency) -> float | None:
    """The multiplier where there is one for all kinds."""
    if not isinstance(frequency, Mapping):
        return float(frequency)
    return None


def _named(question: Question, frequency: Frequency | None) -> dict:
    return {
        "policy": question.policy,
        "versus": question.versus,
        "estimand": question.estimand,
        "frequency": None if frequency is None else one_number(frequency),
        "frequencies": {k: float(v) for k, v in frequency.items()} if isinstance(frequency, Mapping) else None,
    }


def _widened(question: Question, found: Found, ends: list[Sample], *, level: float) -> tuple[float, float, str]:
    """The interval from where it lies if all goes well with troubled runs to where it lies if nothing does, and why
    it is refused: where all other runs gave the same, nothing bounds it."""
    kinder, harsher = (estimate_sample(question, sample, level=level) for sample in ends)
    low, high = min(found.low, kinder.low), max(found.high, harsher.high)
    return low, high, "" if math.isfinite(low) and math.isfinite(high) else _TROUBLED_ALONE


def _pooled(sample: Sample, pooled: Sample, found: Found) -> list[NDArray[np.float64]]:
    """What was averaged, row by row, in the two strata without stages and classes."""
    everywhere = np.zeros(max((int(rows.max()) + 1 for rows in pooled.rows if rows.size), default=0))
    used = [rows for s, rows in zip(sample.strata, sample.rows, strict=True) if s.probability > 0]
    for rows, values in zip(used, found.integrand, strict=False):
        everywhere[rows] = values
    return [everywhere[rows] for rows in pooled.rows]


def _weight_per_row(question: Question, pooled: Sample) -> NDArray[np.float64]:
    """(batch,) how much each row counts."""
    out = np.zeros(len(question.values))
    for stratum, rows in zip(pooled.strata, pooled.rows, strict=True):
        if len(stratum):
            out[rows] = stratum.probability * stratum.w / len(stratum)
    return out


def _trouble(question: Question, weights: Weights) -> float:
    """Share of the probability whose runs are in trouble."""
    share = question.trouble.mean(axis=1)
    free = np.asarray(weights.is_free, dtype=bool)
    w = np.exp(np.asarray(weights.log_w, dtype=np.float64))
    p_free = 0.0 if question.given_incident else float(weights.probability_free)
    return sum(
        probability * float(np.average(share[rows], weights=w[rows]))
        for probability, rows in ((p_free, free), (1 - p_free, ~free))
        if probability > 0 and rows.any()
    )


def _empty_stage(question: Question, sample: Sample) -> str:
    if sample.is_whole:
        return ""
    return "refused: a stage of the evaluation has no valid run of one kind, with or without incidents: run it again"


def _remark(question: Question, weight: NDArray[np.float64]) -> str:
    """Says that values are lower bounds, and in what share of the days."""
    if question.bounds is None or not weight.sum() or not (cut := question.bounds & np.isfinite(question.paired)).any():
        return ""
    share = float(weight @ cut.mean(axis=1) / weight.sum())
    what = LOWER_BOUND if question.versus is None else f"of {LOWER_BOUND}s"
    return f"{what}: in {share:.0%} of the days a queue still stood when the run ended"


def _record(
    question: Question,
    who: dict,
    found: Found,
    limits: tuple[float, float],
    diagnostics: WeightDiagnostics | None,
    why: str,
    level: float,
    remark: str,
) -> Estimate:
    return Estimate(
        **who,
        value=None if why else found.value,
        standard_error=_number(found.standard_error),
        low=None if why else limits[0],
        high=None if why else limits[1],
        ess=found.ess,
        k_hat=None if diagnostics is None else _number(diagnostics.worst_k_hat),
        runs=question.runs,
        verdict=why or "ok",
        level=level,
        remark=remark,
    )


def _outside(question: Question, who: dict, level: float, error: FrequencyError) -> tuple[Estimate, EstimateDetail]:
    """The record of a frequency that the batch was not drawn for."""
    refused = Estimate(
        **who,
        value=None,
        standard_error=None,
        low=None,
        high=None,
        ess=0.0,
        k_hat=None,
        runs=question.runs,
        verdict="refused: " + " ".join(str(error).split()),
        level=level,
    )
    return refused, EstimateDetail(**who, trouble=float(question.trouble.mean()), trouble_reasons=question.reasons)


def _number(value: float | None) -> float | None:
    """The value, or None where JSON has no word for it."""
    return None if value is None or not math.isfinite(value) else float(value)
