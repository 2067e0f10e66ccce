"""The right to refuse, in the words of runs and incidents: why an estimate is not given, and what would mend it.

What is wrong is decided by :mod:`scenariogen.sampling.gate` alone; here stand what a batch of runs needs and how its
faults are put. Runs that failed are this stage's own matter.
"""

from collections.abc import Callable, Sequence

import numpy as np

from scenariogen.evaluation.question import Question
from scenariogen.sampling.diagnostics import WeightDiagnostics, diagnose
from scenariogen.sampling.gate import Fault, Finding, Limits, Need, find_faults
from scenariogen.sampling.importance import Stratum, WeightedEstimate

MIN_EFFECTIVE_RUNS = 50
"""Effective runs with incidents."""
MIN_FREE_RUNS = 10
"""Incident-free runs, where days without incident are more than :data:`RARE`."""
RARE = 0.05
MAX_BLIND_SPOT = 0.2
MAX_TROUBLE = 0.05
"""Share of the probability whose runs failed or were not realised."""
MAX_WEIGHT_GAP = 5.0
"""Standard errors between the mean weight and 1."""
MIN_SEEDS = 5
MIN_SEEDS_SINGLE = 10
"""Simulator seeds per scenario where scenarios were made by hand: with several, and with a single one."""

DRAWN = Limits(effective=0.0, blind_spot=MAX_BLIND_SPOT, weight_gap=MAX_WEIGHT_GAP)
FREE, HIT = 0, 1
NAMES = ("incident-free runs", "runs with incidents")
"""The strata of a drawn batch, in this order."""
BY_HAND = Limits(effective=0.0, blind_spot=1.0, weight_gap=MAX_WEIGHT_GAP)
"""Scenarios made by hand stand for themselves alone: nothing is unseen, all weights are 1."""


def refusal(
    free: Stratum,
    hit: Stratum,
    *,
    diagnostics: WeightDiagnostics,
    found: WeightedEstimate,
    trouble: float,
    question: Question,
) -> str:
    """Why an estimate from a drawn batch is refused, or an empty string.

    ``free``, ``hit``  the incident-free stratum and the one with incidents, as estimated from
    ``diagnostics``    of ``hit``
    ``trouble``        share of the probability whose runs failed, were not made or not realised
    """
    free_draws = MIN_FREE_RUNS if free.probability > RARE else 0
    needs = (Need(draws=free_draws), Need(draws=0, effective=MIN_EFFECTIVE_RUNS))
    faults = find_faults((free, hit), found, diagnostics=diagnostics, limits=DRAWN, needs=needs)
    why = _too_much_trouble(trouble, question.reasons)
    if not why and faults:
        unbounded = faults[0].fault is Fault.UNBOUNDED
        why = _unbounded(found, question) if unbounded else _WORDS[faults[0].fault](faults[0], (free, hit))
    return f"refused: {why}" if why else ""


def refusal_by_hand(strata: Sequence[Stratum], *, found: WeightedEstimate, trouble: float, question: Question) -> str:
    """Why an estimate from scenarios made by hand is refused, or an empty string."""
    needed = MIN_SEEDS_SINGLE if len(strata) == 1 else MIN_SEEDS
    needs = [Need(draws=needed)] * len(strata)
    faults = find_faults(strata, found, diagnostics=diagnose([]), limits=BY_HAND, needs=needs)
    why = _too_much_trouble(trouble, question.reasons)
    if not why and any(each.fault in (Fault.EMPTY, Fault.FEW_DRAWS) for each in faults):
        fewest = min(map(len, strata))
        why = (
            f"{fewest} simulator seed{'s' if fewest != 1 else ''} per scenario say too little about the spread, "
            f"{needed} are needed: evaluate with --seeds {needed}"
        )
    elif not why and faults:
        why = _unbounded(found, question)
    return f"refused: {why}" if why else ""


def _too_much_trouble(trouble: float, reasons: dict[str, int]) -> str:
    if trouble <= MAX_TROUBLE:
        return ""
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    mend = "run the same command again to finish them" if set(reasons) == {"not made yet"} else "mend their cause"
    return f"runs with {trouble:.0%} of the probability gave no valid result ({listed}): {mend}"


def _empty(fault: Finding, strata: Sequence[Stratum]) -> str:
    if fault.stratum == HIT:
        return _few_effective(fault, strata)
    return f"days without incident have probability {fault.got:.2g} and no valid run: sample with incident-free runs"


def _few_effective(fault: Finding, strata: Sequence[Stratum]) -> str:
    more = fault.more or 0
    if fault.draws:  # runs with incidents are a fixed share of the scenarios
        more = -(-sum(map(len, strata)) * more // fault.draws)
    return (
        f"the {fault.draws} runs with incidents count as {strata[HIT].ess:.0f} at this frequency, "
        f"{MIN_EFFECTIVE_RUNS} are needed: sample about {more} more scenarios, or ask for this frequency when sampling"
    )


def _few_draws(fault: Finding, strata: Sequence[Stratum]) -> str:
    free, hit = strata
    # Incident-free runs are a fixed share of the scenarios.
    more = -(-(len(free) + len(hit)) * (fault.more or 0) // fault.draws)
    return (
        f"{fault.draws} incident-free runs stand for {free.probability:.0%} of the days, {fault.needed:.0f} are "
        f"needed: sample about {more} more scenarios"
    )


def _weights_off(fault: Finding, strata: Sequence[Stratum]) -> str:
    return (
        f"the weights of the {NAMES[fault.stratum or FREE]} average {fault.got:.3g} where 1 is expected: the densities "
        "in the scenario file do not belong to its scenarios; sample again"
    )


def _heavy_tail(fault: Finding, strata: Sequence[Stratum]) -> str:
    return (
        f"Pareto k of {'weight times value' if fault.of_values else 'the weights'} is {fault.got:.2f}, above "
        f"{fault.needed:.2f} for {fault.draws} runs, so a few runs decide: sample more scenarios for a range around it"
    )


def _unseen(fault: Finding, strata: Sequence[Stratum]) -> str:
    return (
        f"days with a probability of up to {fault.got:.0%} may look like nothing that was tried: about "
        f"{fault.draws + (fault.more or 0)} {NAMES[fault.stratum or FREE]} are needed where there are {fault.draws}; "
        "sample more scenarios"
    )


def _few_in_tail(fault: Finding, strata: Sequence[Stratum]) -> str:
    """More runs are needed where most of the tail's probability lies, which are a fixed share of the scenarios."""
    where = HIT if fault.stratum is None else fault.stratum
    more = -(-sum(map(len, strata)) * (fault.more or 0) // max(len(strata[where]), 1))
    return (
        f"{fault.got:.0f} effective runs lie at or beyond the quantile, {fault.needed:.0f} are needed, most of them "
        f"{NAMES[where]}: sample about {more} more scenarios, or ask for a quantile nearer to the middle (--tail)"
    )


def _unbounded(found: WeightedEstimate, question: Question) -> str:
    values = np.concatenate([np.zeros(0), *found.integrand])
    if question.versus is not None and not question.is_probability and values.size and not values.any():
        return (
            f"{question.policy} and {question.versus} gave the same in all {values.size} runs, as policies do that act "
            "alike: see first whether they act at all there (scenariogen run --policy), since more scenarios tell "
            "nothing of policies that do not"
        )
    if values.size and values.min() == values.max():
        said = f"all {values.size} runs gave the same, {values[0]:.4g}, which says nothing of other days"
        return f"{said}: sample more scenarios"
    return "too few different values were seen to bound the answer: sample more scenarios"


_WORDS: dict[Fault, Callable[[Finding, Sequence[Stratum]], str]] = {
    Fault.EMPTY: _empty,
    Fault.FEW_EFFECTIVE: _few_effective,
    Fault.FEW_DRAWS: _few_draws,
    Fault.WEIGHTS_OFF: _weights_off,
    Fault.HEAVY_TAIL: _heavy_tail,
    Fault.UNSEEN: _unseen,
    Fault.FEW_IN_TAIL: _few_in_tail,
}
