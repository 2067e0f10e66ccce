"""How far to trust the numbers: each diagnostic with what it means."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from scenariogen.evaluation.answer import Estimate, EstimateDetail
from scenariogen.evaluation.gate import MAX_BLIND_SPOT, MIN_EFFECTIVE_RUNS
from scenariogen.evaluation.outcomes import MEAN
from scenariogen.evaluation.store import Results
from scenariogen.report.words import counted, listed, percent_text, times_text
from scenariogen.sampling.diagnostics import MIN_TAIL_VALUES, tail_size

GOOD, WATCH, BAD = "good", "watch", "bad"
EVEN = 0.5
"""Effective runs for each run with incidents, from which on their weights are called alike."""
_WIDENED = "Intervals are widened to what these runs could have been at best and at worst."


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One diagnostic. ``level`` is ``good``, ``watch`` or ``bad``."""

    title: str
    figure: str
    meaning: str
    level: str


def findings(results: Results, estimates: Sequence[Estimate], details: Sequence[EstimateDetail]) -> list[Finding]:
    """All diagnostics in the order of the page."""
    means = [
        (e, d) for e, d in zip(estimates, details, strict=True) if e.estimand == MEAN and d.probability_free is not None
    ]
    return [
        _runs(results),
        *([_effective(means), _pareto(results, means), _blind(means)] if means else [_seeds(results)]),
        _realised(results),
        _locked(results),
        *_odd(results),
    ]


def _runs(results: Results) -> Finding:
    made, expected = len(results.runs), len(results.runs) + results.missing
    failed = [run for run in results.runs if run.failed]
    meaning = (
        f"{counted(len(results.batch), 'scenario')}, {len(results.policies)} "
        f"{'policy' if len(results.policies) == 1 else 'policies'}"
        f", {counted(results.manifest.replicas, 'simulator seed')} each."
    )
    if failed:
        reasons = Counter(f"{run.end_reason} ({run.error.splitlines()[0]})" if run.error else str(run.end_reason)
                          for run in failed)  # fmt: skip
        meaning += f" {counted(len(failed), 'run')} failed: {reasons.most_common(1)[0][0]}."
        meaning += f" {_WIDENED}"
    if results.missing:
        meaning += f" {counted(results.missing, 'run')} not made yet: the same command goes on."
    level = (
        GOOD
        if not failed and not results.missing
        else BAD
        if len(failed) + results.missing > 0.05 * expected
        else WATCH
    )
    return Finding(title="Runs", figure=f"{made:,} of {expected:,}, {len(failed)} failed", meaning=meaning, level=level)


def _effective(means: Sequence[tuple[Estimate, EstimateDetail]]) -> Finding:
    worst, detail = min(means, key=lambda pair: pair[1].ess_incident or 0.0)
    size = detail.ess_incident or 0.0
    return Finding(
        title="Effective runs with incidents",
        figure=f"{size:.0f} at least",
        meaning=(
            "One batch answers every frequency by weighting its runs; this is how many equally weighted runs they are "
            f"worth where it is thinnest, at {times_text(worst.frequency or 0.0)}. "
            f"Below {MIN_EFFECTIVE_RUNS} the answer is refused."
        ),
        level=GOOD if size >= 2 * MIN_EFFECTIVE_RUNS else WATCH if size >= MIN_EFFECTIVE_RUNS else BAD,
    )


def _pareto(results: Results, means: Sequence[tuple[Estimate, EstimateDetail]]) -> Finding:
    title = "Do a few runs decide? (Pareto k̂)"
    known = [(e, d) for e, d in means if e.k_hat is not None and d.k_threshold is not None]
    if not known:
        return _no_tail(title, results, min(d.ess_incident or 0.0 for _, d in means))
    worst, detail = max(known, key=lambda pair: (pair[0].k_hat or 0.0) - (pair[1].k_threshold or 0.0))
    k_hat, limit = worst.k_hat or 0.0, detail.k_threshold or 0.0
    return Finding(
        title=title,
        figure=f"{k_hat:.2f}, limit {limit:.2f}".replace("-", "−"),
        meaning=(
            f"The largest over all policies and frequencies (at {times_text(worst.frequency or 0.0)}). "
            "The lower, the lighter the tail of weights and costs; above the limit the answer is refused."
        ),
        level=GOOD if k_hat <= 0.7 * limit else WATCH if k_hat <= limit else BAD,
    )


def _no_tail(title: str, results: Results, effective: float) -> Finding:
    """Where no shape was told: weights that are alike decide nothing, too few runs tell nothing."""
    hit = int((~results.batch.columns.is_incident_free).sum())
    runs = f"of {hit:,} with incidents {effective:.0f} count where they are thinnest"
    if tail_size(hit) >= MIN_TAIL_VALUES and effective >= EVEN * hit:
        meaning = f"The weights take too few different values to have a tail, and {runs}: no run outweighs the others."
        return Finding(title=title, figure="no tail", meaning=meaning, level=GOOD)
    meaning = f"No tail could be told from so few runs or different values; {runs}. Sample more scenarios to know."
    return Finding(title=title, figure="not enough to tell", meaning=meaning, level=WATCH)


def _blind(means: Sequence[tuple[Estimate, EstimateDetail]]) -> Finding:
    worst, detail = max(means, key=lambda pair: pair[1].blind_spot or 0.0)
    spot = detail.blind_spot or 0.0
    return Finding(
        title="Blind spot",
        figure=f"up to {percent_text(spot)} of days",
        meaning=(
            f"At {times_text(worst.frequency or 0.0)}, days with this probability may be unlike anything that was "
            f"tried, and nobody would have noticed (95 %). Above {MAX_BLIND_SPOT:.0%} the answer is refused."
        ),
        level=GOOD if spot <= MAX_BLIND_SPOT / 2 else WATCH if spot <= MAX_BLIND_SPOT else BAD,
    )


def _seeds(results: Results) -> Finding:
    replicas = results.manifest.replicas
    return Finding(
        title="Simulator seeds per scenario",
        figure=str(replicas),
        meaning=(
            "These scenarios were made by hand: an interval covers the simulator's own chance, from the spread "
            "between its seeds, and not how likely such scenarios are."
        ),
        level=GOOD if replicas >= 5 else WATCH,
    )


def _realised(results: Results) -> Finding:
    valid = [run for run in results.runs if not run.failed]
    due = sum(run.incidents_due for run in valid)
    missed = sum(run.incidents_due - run.incidents_realised for run in valid)
    meaning = "An incident counts as realised when it stood on the road where and when the scenario asks."
    why = Counter(
        each["reason"]
        for run in valid
        if run.not_realised
        for each in json.loads(run.incidents)
        if not each["realised"] and each["reason"]
    )
    if missed and why:
        meaning += f" Most often: {why.most_common(1)[0][0]}."
    if missed:
        meaning += f" Runs without one stay out of the values. {_WIDENED}"
    level = GOOD if not missed else WATCH if missed <= 0.05 * due else BAD
    return Finding(title="Incidents not realised", figure=f"{missed:,} of {due:,}", meaning=meaning, level=level)


def _locked(results: Results) -> Finding:
    by_policy = {p: sum(run.locked_up for run in results.runs if run.policy == p) for p in results.policies}
    total = sum(by_policy.values())
    meaning = (
        "Fewer than 1 % of the vehicles moved within 10 minutes. Such runs stay in, counted to the end of the window."
    )
    if total:
        meaning += f" {listed([f'{p}: {n}' for p, n in by_policy.items()])}."
    return Finding(
        title="Runs that locked up", figure=f"{total:,} of {len(results.runs):,}", meaning=meaning,
        level=WATCH if total else GOOD,
    )  # fmt: skip


def _odd(results: Results) -> list[Finding]:
    """Things that should not happen, shown only where they did."""
    found = []
    broken = [run.balance_broken for run in results.runs if run.balance_broken]
    if broken:
        found.append(
            Finding(
                title="Runs with vehicles not accounted for",
                figure=f"{len(broken):,} of {len(results.runs):,}",
                meaning=f"First: {broken[0]}. Such runs stay out of the values. {_WIDENED}",
                level=BAD if len(broken) > 0.05 * len(results.runs) else WATCH,
            )
        )
    discarded = sum(run.discarded or 0 for run in results.runs)
    if discarded:
        found.append(
            Finding(
                title="Vehicles taken off the road",
                figure=f"{discarded:,}",
                meaning="Removed before their destination; they count as waiting until the end of the window.",
                level=WATCH,
            )
        )
    collisions = sum(run.collisions for run in results.runs)
    if collisions:
        found.append(
            Finding(
                title="Collisions in the simulator",
                figure=f"{collisions:,}",
                meaning="Counted over all runs; SUMO warns and lets the vehicles drive on.",
                level=WATCH,
            )
        )
    return found
