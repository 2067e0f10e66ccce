"""The right to refuse: when an estimate is not given, why, and what would mend it.

Every rule looks at what the estimate is made of, none at its value. The limits were set from measured coverage:
with 50 effective runs with incidents the studentised bootstrap covers 93 to 95 % for costs with a relative
standard deviation near 1; with 30, 90 to 94 %.
"""

import math
from collections.abc import Sequence

import numpy as np

from scenariogen.sampling.diagnostics import WeightDiagnostics
from scenariogen.sampling.importance import Stratum, WeightedEstimate, blind_spot

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


def refusal(
    free: Stratum,
    hit: Stratum,
    *,
    diagnostics: WeightDiagnostics,
    found: WeightedEstimate,
    trouble: float,
    reasons: dict[str, int],
) -> str:
    """Why an estimate from a drawn batch is refused, or an empty string.

    ``free``, ``hit``  the incident-free stratum and the one with incidents, as estimated from
    ``diagnostics``    of ``hit``
    ``trouble``        share of the probability whose runs failed, were not made or not realised
    """
    why = (
        _too_much_trouble(trouble, reasons)
        or _too_few(free, hit)
        or _weights_do_not_fit(free, hit)
        or _heavy_tail(diagnostics)
        or _unseen(free, hit)
        or _unbounded(found)
    )
    return f"refused: {why}" if why else ""


def refusal_by_hand(
    strata: Sequence[Stratum], *, found: WeightedEstimate, trouble: float, reasons: dict[str, int]
) -> str:
    """Why an estimate from scenarios made by hand is refused, or an empty string."""
    needed = MIN_SEEDS_SINGLE if len(strata) == 1 else MIN_SEEDS
    fewest = min(map(len, strata))
    why = _too_much_trouble(trouble, reasons)
    if not why and fewest < needed:
        why = (
            f"{fewest} simulator seed{'s' if fewest != 1 else ''} per scenario say too little about the spread, "
            f"{needed} are needed: evaluate with --seeds {needed}"
        )
    why = why or _unbounded(found)
    return f"refused: {why}" if why else ""


def _too_much_trouble(trouble: float, reasons: dict[str, int]) -> str:
    if trouble <= MAX_TROUBLE:
        return ""
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    mend = "run the same command again to finish them" if set(reasons) == {"not made yet"} else "mend their cause"
    return f"runs with {trouble:.0%} of the probability gave no valid result ({listed}): {mend}"


def _too_few(free: Stratum, hit: Stratum) -> str:
    if free.probability > 0 and not len(free):
        return (
            f"days without incident have probability {free.probability:.2g} and no valid run: sample with "
            "incident-free runs"
        )
    if hit.probability > 0 and hit.ess < MIN_EFFECTIVE_RUNS:
        more = math.ceil(len(hit) * (MIN_EFFECTIVE_RUNS / hit.ess - 1)) if hit.ess > 0 else MIN_EFFECTIVE_RUNS
        return (
            f"the {len(hit)} runs with incidents count as {hit.ess:.0f} at this frequency, {MIN_EFFECTIVE_RUNS} are "
            f"needed: sample about {more} more scenarios, or ask for this frequency when sampling"
        )
    if free.probability > RARE and len(free) < MIN_FREE_RUNS:
        return (
            f"{len(free)} incident-free runs stand for {free.probability:.0%} of the days, {MIN_FREE_RUNS} are needed: "
            f"sample about {_times_more(free, hit, MIN_FREE_RUNS)} more scenarios"
        )
    return ""


def _times_more(free: Stratum, hit: Stratum, needed: int) -> int:
    """Scenarios to add so that the incident-free ones among them reach a number."""
    return math.ceil((len(free) + len(hit)) * (needed / max(len(free), 1) - 1))


def _weights_do_not_fit(free: Stratum, hit: Stratum) -> str:
    for name, stratum in (("incident-free runs", free), ("runs with incidents", hit)):
        if stratum.probability > 0 and len(stratum) > 1 and stratum.weight_gap > MAX_WEIGHT_GAP:
            return (
                f"the weights of the {name} average {stratum.w.mean():.3g} where 1 is expected: the densities in the "
                "scenario file do not belong to its scenarios; sample again"
            )
    return ""


def _heavy_tail(diagnostics: WeightDiagnostics) -> str:
    if diagnostics.is_trustworthy:
        return ""
    of_weights = diagnostics.k_hat is not None and diagnostics.k_hat > diagnostics.threshold
    what = "the weights" if of_weights else "weight times value"
    return (
        f"Pareto k of {what} is {diagnostics.worst_k_hat:.2f}, above {diagnostics.threshold:.2f} for "
        f"{diagnostics.draws} runs, so a few runs decide: sample more scenarios for a range around it"
    )


def _unseen(free: Stratum, hit: Stratum) -> str:
    spot = blind_spot([free, hit])
    if spot <= MAX_BLIND_SPOT:
        return ""
    worst = max((free, hit), key=lambda s: s.probability / s.draws_from_target if s.probability > 0 else 0.0)
    needed = math.ceil(len(worst) * spot / MAX_BLIND_SPOT)
    name = "incident-free runs" if worst is free else "runs with incidents"
    return (
        f"days with a probability of up to {spot:.0%} may look like nothing that was tried: about {needed} {name} are "
        f"needed where there are {len(worst)}; sample more scenarios"
    )


def _unbounded(found: WeightedEstimate) -> str:
    if np.isfinite([found.value, found.low, found.high]).all():
        return ""
    return "too few different values were seen to bound the answer: sample more scenarios"
