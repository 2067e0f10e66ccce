"""The total interval: sampling, how unsure the rates are, and which family durations have.

For each posterior draw v of the rates and of a family of durations the same runs give an answer θ(v)
(:mod:`scenariogen.scenarios.posterior`), by self-normalised weights in each stratum. With the sampling limits l and u
of the value θ̂ and the limits d_l ≤ d_u of θ(v) − θ(1) over the draws, the total limits are

    θ̂ − √((θ̂ − l)² + min(d_l, 0)²)    and    θ̂ + √((u − θ̂)² + max(d_u, 0)²),

which combines two independent sources without taking either for symmetric (Zou & Donner, *Construction of confidence
limits about effect measures*, 2008) and gives back the sampling interval where the rates are known. Sources' shares are
those of the variance; that of durations is the variance between families at the mean rates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scenariogen.evaluation.estimates import Estimate, EstimateDetail
from scenariogen.evaluation.question import Measure, Question
from scenariogen.evaluation.strata import Sample
from scenariogen.scenarios.posterior import PosteriorWeights

LEFT_OUT = (
    "where on a road incidents happen, what they leave of its capacity and what drivers do is as the model has it"
)
NO_FAMILIES = "; how long they last too, since the scenarios name no other family: sample again with this version"
UNKNOWN = "the scenarios do not say how sure the rates are: sample again with this version"
LEAST_EFFECTIVE = 10.0
"""Effective runs with incidents under a posterior draw. Fewer than for an answer of its own: what the runs' number adds
to the scatter of the draws makes the total interval wider, not narrower."""
MOST_THIN = 0.025
"""Share of the posterior draws under which there may be fewer."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What the rates' posterior does to one answer.

    ``offsets``  (draw,) θ(v) − θ(1)
    ``thin``     share of the draws that the runs do not carry: those with incidents count as fewer than
                 :data:`LEAST_EFFECTIVE`, or the frequency lies far above what the batch was drawn for
    ``durations``  variance of the answer between the families of durations, at the mean rates
    """

    offsets: NDArray[np.float64]
    thin: float
    durations: float = 0.0


def spread_of(question: Question, pooled: Sample, posterior: PosteriorWeights) -> Spread:
    """Answers under each posterior draw, from the two strata of ``pooled`` (without incidents, with)."""
    offsets, thin = np.empty(posterior.draws), posterior.far_above.copy()
    log_free = posterior.log_probability_free
    base_free = pooled.strata[0].probability
    for draws in posterior.chunks():
        free = np.exp(log_free[draws]) if base_free > 0 else np.zeros(draws.stop - draws.start)
        masses, thin_here = _masses(pooled, posterior, draws, free)
        offsets[draws] = _answers(question, pooled, masses)
        thin[draws] |= thin_here
    at_one = [s.probability * (s.w / s.w.sum() if len(s) else s.w)[None, :] for s in pooled.strata]
    here = _answers(question, pooled, at_one)[0]
    chances = posterior.family_chances
    by_family = _answers(question, pooled, [at_one[0].repeat(len(chances), 0), _families(pooled, posterior)])
    between = float(chances @ (by_family - chances @ by_family) ** 2)
    return Spread(offsets=offsets - here, thin=float(thin.mean()), durations=between)


def _families(pooled: Sample, posterior: PosteriorWeights) -> NDArray[np.float64]:
    """(family, batch) masses of the runs with incidents under each family of durations, at the mean rates."""
    stratum, rows = pooled.strata[1], pooled.rows[1]
    log_w = stratum.log_w + posterior.log_family.T[:, rows]
    w = np.exp(log_w - log_w.max(axis=1, keepdims=True)) if len(rows) else np.zeros_like(log_w)
    total = w.sum(axis=1, keepdims=True)
    return stratum.probability * np.divide(w, total, out=np.zeros_like(w), where=total > 0)


def with_total(
    found: Estimate, detail: EstimateDetail, spread: Spread | None, posterior: PosteriorWeights | None
) -> tuple[Estimate, EstimateDetail]:
    """The estimate with its total interval, or with the reason why it has none."""
    if posterior is None or spread is None:
        return found, replace(detail, total_left_out=UNKNOWN if posterior is None else "")
    detail = replace(detail, total_draws=posterior.draws, total_outside=posterior.outside)
    known = len(posterior.family_chances) > 1
    detail = replace(detail, total_left_out=LEFT_OUT if known else LEFT_OUT + NO_FAMILIES)
    if found.value is None or found.low is None or found.high is None:
        return found, detail
    if spread.thin > MOST_THIN or not np.isfinite(spread.offsets).all():
        why = (
            f"{spread.thin:.0%} of the posterior draws of the rates lie too far above the frequencies that were "
            f"sampled, or leave fewer than {LEAST_EFFECTIVE:.0f} effective runs with incidents: sample for a wider "
            "range of frequencies, or fit more records"
        )
        return found, replace(detail, total_left_out=why)
    tail = (1 - found.level) / 2
    down, up = np.quantile(spread.offsets, [tail, 1 - tail])
    low = found.value - float(np.hypot(found.value - found.low, min(down, 0.0)))
    high = found.value + float(np.hypot(found.high - found.value, max(up, 0.0)))
    if found.estimand.startswith("P("):
        low, high = max(low, 0.0 if found.versus is None else -1.0), min(high, 1.0)
    return replace(found, low_total=low, high_total=high, shares=_shares(found, detail, spread)), detail


def _shares(found: Estimate, detail: EstimateDetail, spread: Spread) -> dict[str, float] | None:
    """Of the variance, by source; they add up to 1."""
    sampling, model = (found.standard_error or 0.0) ** 2, float(spread.offsets.var())
    whole = sampling + model
    if not whole > 0:
        return None
    simulator = sampling * (detail.simulator_share or 0.0)
    durations = min(spread.durations, model)
    parts = {"scenarios": sampling - simulator, "simulator": simulator, "rates": model - durations}
    parts |= {"durations": durations}
    absent = {"simulator"} if not detail.simulator_share else set()
    absent |= {"durations"} if not spread.durations else set()
    return {name: value / whole for name, value in parts.items() if name not in absent}


def _masses(
    pooled: Sample, posterior: PosteriorWeights, draws: slice, free: NDArray[np.float64]
) -> tuple[list[NDArray[np.float64]], NDArray[np.bool_]]:
    """(draw, batch) per stratum, summing to the stratum's probability; (draw,) where the runs carry little."""
    masses, thin = [], np.zeros(draws.stop - draws.start, dtype=bool)
    rows_free = np.zeros(len(posterior.counts), dtype=bool)
    rows_free[pooled.rows[0]] = True
    ratio = posterior.log_ratio(draws, rows_free)
    for number, (stratum, rows) in enumerate(zip(pooled.strata, pooled.rows, strict=True)):
        log_w = stratum.log_w + ratio[:, rows]
        w = np.exp(log_w - log_w.max(axis=1, keepdims=True)) if len(rows) else np.zeros_like(log_w)
        total = w.sum(axis=1, keepdims=True)
        probability = free if number == 0 else 1.0 - free
        masses.append(probability[:, None] * np.divide(w, total, out=np.zeros_like(w), where=total > 0))
        if number == 1 and len(rows):
            thin = total[:, 0] ** 2 / (w**2).sum(axis=1) < LEAST_EFFECTIVE
    return masses, thin


def _answers(question: Question, pooled: Sample, masses: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(draw,) the answer under each draw's masses."""
    if question.is_tail:
        found = _tail(question, pooled.runs, masses)
        return found if pooled.less is None else found - _tail(question, pooled.less, masses)
    values = [s.values for s in pooled.contrasts]
    return np.asarray(sum(mass @ h for mass, h in zip(masses, values, strict=True)))


def _tail(
    question: Question, runs: Sequence[NDArray[np.float64]], masses: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """(draw,) quantile or CVaR; nan where a draw has no such mass."""
    tau = 1 - question.at
    seeds = [np.isfinite(each).sum(axis=1) for each in runs]
    owner = [np.repeat(np.arange(len(n)), n) for n in seeds]
    y = np.concatenate([each[np.isfinite(each)] for each in runs])
    mass = np.concatenate([(m / n)[:, who] for m, n, who in zip(masses, seeds, owner, strict=True)], axis=1)
    order = np.argsort(-y, kind="stable")
    y, mass = y[order], mass[:, order]
    place = (np.cumsum(mass, axis=1) <= tau * (1 + 1e-12)).sum(axis=1)
    q = np.where(place < len(y), y[np.minimum(place, len(y) - 1)], np.nan)
    if question.measure is Measure.QUANTILE:
        return q
    return q + (mass * np.maximum(y - q[:, None], 0.0)).sum(axis=1) / tau
