"""One question answered at one frequency: value, interval, diagnostics and the gate's verdict.

A day without incident is a stratum of its own, with known probability P₀(κ) at frequency multiplier κ:

    E_κ[h] = P₀(κ) · E_κ[h | no incident] + (1 − P₀(κ)) · E_κ[h | at least one].

The first mean comes from the incident-free runs, the second from the runs with incidents, weighted by the target's
density over the batch's. Both weights have mean 1 in their stratum. No run is made again when κ changes.

A run that failed does not drop out of sight. The value is that of the other runs; the interval is widened to where
it would lie if every troubled run were as good, or as bad, as the best or worst run of its stratum (for a
probability: if it never, or always, showed the event).

Scenarios made by hand have no frequency. Their answer is the mean over these very scenarios, each counting the
same; its error is that of the simulator's seeds alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from scenariogen.errors import FrequencyError
from scenariogen.evaluation.gate import refusal, refusal_by_hand
from scenariogen.evaluation.outcomes import Question
from scenariogen.sampling.diagnostics import diagnose
from scenariogen.sampling.importance import (
    Stratum,
    WeightedEstimate,
    blind_spot,
    cluster_means,
    estimate_mean,
    estimate_probability,
    estimate_probability_difference,
)


class Weights(Protocol):
    """What an answer needs of ``scenariogen.scenarios.reweight.FrequencyWeights``.

    ``is_free``           (batch,) bool, the incident-free runs
    ``log_w``             (batch,) log of target over proposal, each inside its own stratum
    ``probability_free``  of a day without incident at the target's frequency
    ``controls``          (batch, control) functions of the condition with target mean 0 in each row's stratum
    ``weight_bound``      what no weight can exceed, of incident-free runs and of the others
    """

    @property
    def is_free(self) -> NDArray[np.bool_]: ...

    @property
    def log_w(self) -> NDArray[np.float64]: ...

    @property
    def probability_free(self) -> float: ...

    @property
    def controls(self) -> NDArray[np.float64]: ...

    @property
    def weight_bound(self) -> tuple[float, float]: ...


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One answer. ``value``, ``low`` and ``high`` are None where it is refused.

    ``policy``         whose
    ``versus``         None, or the policy that is subtracted
    ``frequency``      multiplier on the model's rates; None for scenarios made by hand
    ``estimand``       ``mean_delay_veh_h``, ``P(delay>… veh h)`` or ``P(lock_up)``
    ``standard_error`` of ``value``; None where it cannot be given
    ``low``, ``high``  95 % interval
    ``ess``            effective number of runs behind it, all strata together
    ``k_hat``          Pareto shape of the weights, or of weight times value, whichever is larger; None: the tail
                       has too few different values to tell
    ``runs``           runs it is made of
    ``verdict``        ``ok``, or ``refused:`` with the reason and what would mend it
    """

    policy: str
    versus: str | None
    frequency: float | None
    estimand: str
    value: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    ess: float
    k_hat: float | None
    runs: int
    verdict: str

    @property
    def is_refused(self) -> bool:
        """True where no value is given."""
        return self.verdict != "ok"


@dataclass(frozen=True, kw_only=True)
class EstimateDetail:
    """What stands behind one :class:`Estimate`: the same first four fields, then what a sceptic asks for.

    ``probability_free``   P₀(κ)
    ``plain``, ``self_normalised``  the same answer in its other two forms
    ``ess_free``, ``ess_incident``  effective runs without and with incidents
    ``ess_tail``           effective runs that showed the event (probabilities only)
    ``k_hat_weights``, ``k_hat_values``, ``k_threshold``
    ``blind_spot``         the largest probability of a region never seen that the runs still allow at 95 %
    ``trouble``            share of the probability whose runs failed, were not made or not realised
    ``trouble_reasons``    how many runs, by reason
    ``lane_blocking_per_100_h``  incidents that block a lane in 100 hours of the start span at this frequency
    """

    policy: str
    versus: str | None
    frequency: float | None
    estimand: str
    trouble: float
    trouble_reasons: dict[str, int]
    probability_free: float | None = None
    plain: float | None = None
    self_normalised: float | None = None
    ess_free: float | None = None
    ess_incident: float | None = None
    ess_tail: float | None = None
    k_hat_weights: float | None = None
    k_hat_values: float | None = None
    k_threshold: float | None = None
    blind_spot: float | None = None
    lane_blocking_per_100_h: float | None = None


def answer(
    question: Question,
    weights: Weights | FrequencyError,
    frequency: float,
    *,
    lane_blocking_per_100_h: float = math.nan,
) -> tuple[Estimate, EstimateDetail]:
    """One estimate from a drawn batch. ``lane_blocking_per_100_h`` is that of frequency 1."""
    if isinstance(weights, FrequencyError):
        return _outside(question, frequency, weights)
    free_rows = np.asarray(weights.is_free, dtype=bool)
    values, baseline = question.values, question.baseline
    strata, lesser = _strata(weights, values, baseline)
    found = _estimate(question, strata, lesser)
    free, hit = strata
    everyone, _ = _strata(weights, np.zeros_like(values), None)
    share = question.trouble.mean(axis=1)
    trouble = sum(
        s.probability * float(np.average(share[rows], weights=s.w))
        for s, rows in zip(everyone, (free_rows, ~free_rows), strict=True)
        if s.probability > 0 and len(s)
    )
    seen = _contrasts(strata, lesser)
    diagnostics = diagnose(hit.log_w, seen[1])
    why = refusal(free, hit, diagnostics=diagnostics, found=found, trouble=trouble, reasons=question.reasons)
    low, high = found.low, found.high
    if not why and question.trouble.any():
        kinder, harsher = (_strata(weights, *question.completed(free_rows, worst=worst)) for worst in (False, True))
        low = min(low, _estimate(question, *kinder).low)
        high = max(high, _estimate(question, *harsher).high)
    detail = EstimateDetail(
        policy=question.policy,
        versus=question.versus,
        frequency=frequency,
        estimand=question.estimand,
        probability_free=free.probability,
        plain=_number(found.plain),
        self_normalised=_number(found.self_normalised),
        ess_free=free.ess,
        ess_incident=hit.ess,
        ess_tail=found.ess_tail,
        k_hat_weights=diagnostics.k_hat,
        k_hat_values=diagnostics.k_hat_values,
        k_threshold=_number(diagnostics.threshold),
        blind_spot=blind_spot(strata),
        trouble=trouble,
        trouble_reasons=question.reasons,
        lane_blocking_per_100_h=_number(lane_blocking_per_100_h * frequency),
    )
    return _record(question, frequency, found, (low, high), diagnostics.worst_k_hat, why), detail


def answer_by_hand(question: Question) -> tuple[Estimate, EstimateDetail]:
    """One estimate from scenarios made by hand: a stratum per scenario, its draws the simulator's seeds."""
    strata, lesser = _by_scenario(question.values, question.baseline)
    found = _estimate(question, strata, lesser)
    trouble = float(question.trouble.mean())
    why = refusal_by_hand(strata, found=found, trouble=trouble, reasons=question.reasons)
    low, high = found.low, found.high
    if not why and question.trouble.any():
        no_rows = np.zeros(len(question.values), dtype=bool)
        kinder, harsher = (_by_scenario(*question.completed(no_rows, worst=worst)) for worst in (False, True))
        low = min(low, _estimate(question, *kinder).low)
        high = max(high, _estimate(question, *harsher).high)
    detail = EstimateDetail(
        policy=question.policy,
        versus=question.versus,
        frequency=None,
        estimand=question.estimand,
        plain=_number(found.plain),
        self_normalised=_number(found.self_normalised),
        ess_tail=found.ess_tail,
        trouble=trouble,
        trouble_reasons=question.reasons,
    )
    return _record(question, None, found, (low, high), None, why), detail


Lesser = list[NDArray[np.float64]] | None


def _strata(
    weights: Weights, values: NDArray[np.float64], baseline: NDArray[np.float64] | None
) -> tuple[list[Stratum], Lesser]:
    """The incident-free stratum and the one with incidents, as far as values are known, and the baseline's values."""
    is_free = np.asarray(weights.is_free, dtype=bool)
    log_w = np.asarray(weights.log_w, dtype=np.float64)
    more, less = _paired_clusters(values, baseline)
    p_free = float(weights.probability_free)
    strata, lesser = [], []
    for probability, rows, bound in zip((p_free, 1.0 - p_free), (is_free, ~is_free), weights.weight_bound, strict=True):
        kept = rows & np.isfinite(more)
        controls = np.asarray(weights.controls, dtype=np.float64)[kept]
        # A weight above what its own densities allow: they are not those of the scenarios, which their mean tells.
        fits = not kept.any() or float(log_w[kept].max()) <= math.log(bound) + 1e-6
        strata.append(
            Stratum(
                probability=probability,
                log_w=log_w[kept],
                values=more[kept],
                controls=controls,
                weight_bound=bound if fits else None,
            )
        )
        lesser.append(less[kept])
    return strata, (None if baseline is None else lesser)


def _by_scenario(values: NDArray[np.float64], baseline: NDArray[np.float64] | None) -> tuple[list[Stratum], Lesser]:
    strata, lesser = [], []
    for row in range(len(values)):
        more = values[row]
        less = np.zeros_like(more) if baseline is None else baseline[row]
        known = np.isfinite(more) & np.isfinite(less)
        strata.append(Stratum(probability=1 / len(values), log_w=np.zeros(known.sum()), values=more[known]))
        lesser.append(less[known])
    return strata, (None if baseline is None else lesser)


def _paired_clusters(
    values: NDArray[np.float64], baseline: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(batch,) means over the seeds that both have; the baseline's are zero where there is none."""
    if baseline is None:
        return cluster_means(values), np.zeros(len(values))
    both = np.isfinite(values) & np.isfinite(baseline)
    return cluster_means(np.where(both, values, np.nan)), cluster_means(np.where(both, baseline, np.nan))


def _estimate(question: Question, strata: Sequence[Stratum], lesser: Lesser) -> WeightedEstimate:
    if question.is_probability:
        return estimate_probability(strata) if lesser is None else estimate_probability_difference(strata, lesser)
    return estimate_mean([s.replace_values(seen) for s, seen in zip(strata, _contrasts(strata, lesser), strict=True)])


def _contrasts(strata: Sequence[Stratum], lesser: Lesser) -> list[NDArray[np.float64]]:
    """(batch,) per stratum: the values, less the baseline's where there is one."""
    if lesser is None:
        return [s.values for s in strata]
    return [s.values - less for s, less in zip(strata, lesser, strict=True)]


def _record(
    question: Question,
    frequency: float | None,
    found: WeightedEstimate,
    limits: tuple[float, float],
    k_hat: float | None,
    why: str,
) -> Estimate:
    return Estimate(
        policy=question.policy,
        versus=question.versus,
        frequency=frequency,
        estimand=question.estimand,
        value=None if why else found.value,
        standard_error=_number(found.standard_error),
        low=None if why else limits[0],
        high=None if why else limits[1],
        ess=found.ess,
        k_hat=_number(k_hat),
        runs=question.runs,
        verdict=why or "ok",
    )


def _outside(question: Question, frequency: float, error: FrequencyError) -> tuple[Estimate, EstimateDetail]:
    """The record of a frequency that the batch was not drawn for."""
    refused = Estimate(
        policy=question.policy,
        versus=question.versus,
        frequency=frequency,
        estimand=question.estimand,
        value=None,
        standard_error=None,
        low=None,
        high=None,
        ess=0.0,
        k_hat=None,
        runs=question.runs,
        verdict="refused: " + " ".join(str(error).split()),
    )
    return refused, EstimateDetail(
        policy=question.policy,
        versus=question.versus,
        frequency=frequency,
        estimand=question.estimand,
        trouble=float(question.trouble.mean()),
        trouble_reasons=question.reasons,
    )


def _number(value: float | None) -> float | None:
    """The value, or None where JSON has no word for it."""
    return None if value is None or not math.isfinite(value) else float(value)
