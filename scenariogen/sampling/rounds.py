"""Adaptive rounds: what is unbiased of them, and what is only consistent.

Round t draws n_t times from a proposal q_t that was learnt from the rounds before it. Two estimates of E_p[h] follow:

of record   Σ_t ω_t (1/n_t) Σ_i h(x_ti) p(x_ti) / q_t(x_ti),    ω_t ∝ √t fixed beforehand
            Each round is unbiased given the past, so their weighted mean is unbiased (Cappé, Guillin, Marin & Robert,
            *Population Monte Carlo*, 2004); later rounds, from better proposals, count more (Owen & Zhou, *The square
            root rule for adaptive importance sampling*, 2020).
pooled      (1/n) Σ_t Σ_i h(x_ti) p(x_ti) / Σ_s (n_s/n) q_s(x_ti)
            Quieter, but later proposals depend on earlier draws: a mode found late is weighed by proposals that exist
            only because it was found, and one not found is missing from both. Consistent, not unbiased.

Unbiased is not covered: until a mode is met, the interval of a mean knows nothing of it. That of a probability leaves
room for it, and the blind spot says how large it may be.

The rounds of record enter as strata with probability ω_t, so that means, quantiles, CVaR and the gate of
:mod:`scenariogen.sampling` serve them as they are.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling.gate import Assessed, Fault, Finding, Limits, Need, assess
from scenariogen.sampling.importance import Stratum, WeightedEstimate, estimate_mean, missing_mass
from scenariogen.sampling.intervals import check_level, largest_unseen
from scenariogen.sampling.weights import log_weights, mixture_log_prob

POOLED_LABEL = "consistent, not unbiased"


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """Draws of one round.

    ``log_target``     (batch,) log p at the draws
    ``log_proposals``  (round, batch) log q_s at the draws under the proposals of all rounds, in their order; −∞ where a
                       proposal has no density
    ``values``         (batch,) what is averaged
    ``weight_bound``   what no weight p / q_t of the round's own proposal can exceed, 1/α where that holds a share α of
                       the target; None: not known
    """

    log_target: NDArray[np.float64] = field(repr=False)
    log_proposals: NDArray[np.float64] = field(repr=False)
    values: NDArray[np.float64] = field(repr=False)
    weight_bound: float | None = None

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, kw_only=True)
class RoundsEstimate:
    """The estimate of record beside the pooled one.

    ``record``  past-only weights, unbiased, with diagnostics and verdict (which also knows of the gap)
    ``pooled``  all rounds weighed as one mixture, of which :data:`POOLED_LABEL` is to be said
    ``gap``     distance of the two in joint standard errors
    """

    record: Assessed
    pooled: WeightedEstimate
    gap: float

    def __repr__(self) -> str:
        return (
            f"{self.record!r}; pooled {self.pooled.value:.4g} ± {self.pooled.standard_error:.2g} ({POOLED_LABEL}), "
            f"{self.gap:.1f} joint standard errors away"
        )


def round_weights(rounds: int) -> NDArray[np.float64]:
    """ω_t = √t / Σ √s, (round,).

    >>> round_weights(2).round(3).tolist()
    [0.414, 0.586]
    """
    if rounds < 1:
        raise DensityError(f"got {rounds} rounds, expected at least 1")
    root = np.sqrt(np.arange(1, rounds + 1))
    return root / root.sum()


def record_strata(rounds: Sequence[Round]) -> list[Stratum]:
    """One stratum per round, with probability ω_t and past-only weights p/q_t: what the estimate of record is made of.

    ``DensityError`` for shapes that do not fit, a round without draws, or densities that cannot be weighed.
    """
    problems = Problems("adaptive rounds")
    for number, each in enumerate(rounds):
        shape = np.shape(each.log_proposals)
        if not len(each) or shape != (len(rounds), len(each)) or np.shape(each.log_target) != (len(each),):
            problems.add(
                f"round {number}: got {len(each)} values, log p {np.shape(each.log_target)} and log q {shape}, "
                f"expected (batch,), (batch,) and ({len(rounds)}, batch) with at least one draw"
            )
    problems.raise_as(DensityError)
    return [
        Stratum(
            probability=float(share),
            log_w=_own_weights(each, number),
            values=each.values,
            weight_bound=each.weight_bound,
        )
        for number, (share, each) in enumerate(zip(round_weights(len(rounds)), rounds, strict=True))
    ]


def _own_weights(each: Round, number: int) -> NDArray[np.float64]:
    if np.isneginf(each.log_target).all():  # a round that never met the target tells that its own mean is 0
        return np.full(len(each), -np.inf)
    return log_weights(each.log_target, each.log_proposals[number])


def pooled_stratum(rounds: Sequence[Round]) -> Stratum:
    """All rounds' draws as if from one mixture: consistent, not unbiased, and never of record."""
    logs = np.concatenate([each.log_proposals for each in rounds], axis=1)
    mixture = mixture_log_prob(logs, [len(each) for each in rounds])
    return Stratum(
        probability=1.0,
        log_w=log_weights(np.concatenate([each.log_target for each in rounds]), mixture),
        values=np.concatenate([each.values for each in rounds]),
    )


def rounds_blind_spot(strata: Sequence[Stratum], *, level: float = 0.95) -> float:
    """The largest probability of a region that no round met. Every round may meet it, so their draws add up.

    Strata and errors as :func:`record_strata`; with the bounds of the weights where every round has one, and
    otherwise with what their weights leave to 1, as :meth:`.importance.Stratum.unseen`.
    """
    by_number = largest_unseen([1.0], [sum(each.draws_from_target for each in strata)], level=level)
    if all(each.weight_bound is not None for each in strata):
        return by_number
    return max(by_number, missing_mass(strata, [each.probability for each in strata], level=level))


def rounds_estimate(
    rounds: Sequence[Round],
    *,
    estimate: Callable[[Sequence[Stratum]], WeightedEstimate] = estimate_mean,
    level: float = 0.95,
    limits: Limits = Limits(),
) -> RoundsEstimate:
    """The estimate of record from adaptive rounds, with the pooled one beside it.

    ``estimate`` is any of this package's estimates of strata. Where the two differ by more than their joint error at
    ``level`` the verdict refuses. ``DensityError`` as :func:`record_strata`.
    """
    check_level(level)
    strata, all_draws = record_strata(rounds), pooled_stratum(rounds)
    found, pooled = estimate(strata), estimate([all_draws])
    needs = [Need() for _ in strata]  # a round may be short; all together must not be
    record = assess(strata, found, limits=limits, needs=needs, unseen=rounds_blind_spot(strata))
    joint = math.hypot(found.standard_error, pooled.standard_error)
    distance = abs(found.value - pooled.value)
    gap = distance / joint if joint > 0 else (0.0 if distance == 0 else math.inf)  # without an error nothing agrees
    allowed = NormalDist().inv_cdf(0.5 + level / 2)
    if gap > allowed:
        apart = Finding(fault=Fault.ROUNDS_APART, stratum=None, got=gap, needed=allowed, draws=found.draws, more=None)
        record = replace(record, findings=(*record.findings, apart))
    return RoundsEstimate(record=record, pooled=pooled, gap=gap)
