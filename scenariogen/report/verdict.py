"""One sentence that a traffic engineer can act on, made from the estimates and nothing else."""

import math
from collections.abc import Sequence

from scenariogen.evaluation.answer import Estimate
from scenariogen.evaluation.outcomes import MEAN
from scenariogen.evaluation.ranking import Curve, Ranking
from scenariogen.evaluation.store import Results
from scenariogen.report.words import (
    given_text,
    hours_text,
    level_text,
    listed,
    per_hours_text,
    percent_text,
    reason,
    times_text,
)

MANY = 20.0
"""Beyond so many times the scenarios, asking for more is no advice."""


def verdict_sentence(results: Results, estimates: Sequence[Estimate], ranking: Ranking | None) -> str:
    """What the estimates of mean delay say to do, in one sentence.

    ``ranking`` is :func:`scenariogen.evaluation.ranking_by_frequency`'s, None for scenarios made by hand. The
    sentence is about the frequency nearest to ×1 at which the policies are compared, then about the whole range.
    """
    means = [each for each in estimates if each.estimand == MEAN and each.frequencies is None]
    if len(results.policies) == 1:
        return _capital(_given(results) + _alone(results, means))
    pairs = [each for each in means if each.versus is not None]
    answered = [each for each in pairs if each.value is not None]
    if not answered:
        return _nothing(results, pairs)
    frequency = _nearest_to_one(answered)
    here = [each for each in answered if each.frequency == frequency]
    better = [each for each in here if each.high is not None and each.high < 0]
    best = min(better or here, key=lambda each: each.value or 0.0)
    curve = next((c for c in ranking.differences if c.policy == best.policy), None) if ranking is not None else None
    turning = _turning(results, curve)
    if turning:
        return _capital(_given(results) + turning)
    refused = [each.policy for each in pairs if each.frequency == frequency and each.value is None]
    beside = f"; {listed(refused)} could not be compared" if refused else ""
    body = _comparison(results, means, best, here, beaten=not better)
    return _capital(_given(results) + body + _over_the_range(curve) + beside + ".")


def _comparison(
    results: Results, means: Sequence[Estimate], best: Estimate, here: Sequence[Estimate], *, beaten: bool
) -> str:
    """Who wins at one frequency, by how much and how surely."""
    low, high = _limits(best)
    first = results.policies[0]
    where = _where(results, best.frequency)
    base = next(
        (e.value for e in means if e.policy == first and e.versus is None and e.frequency == best.frequency), None
    )
    if not beaten:
        share = f", {percent_text((best.value or 0.0) / base)}".replace("−", "") if base else ""
        return (
            f"use {best.policy}: {where} it saves {hours_text(abs(best.value or 0.0))} vehicle-hours of delay per run "
            f"against {first} ({level_text(best.level)} interval {hours_text(-high)} to {hours_text(-low)}{share})"
        )
    if all(each.low is not None and each.low > 0 for each in here):
        others = listed([each.policy for each in here])
        return (
            f"keep {first}: {where} {others} {'costs' if len(here) == 1 else 'cost at least'} "
            f"{hours_text(best.value or 0.0)} vehicle-hours of delay more per run "
            f"({level_text(best.level)} interval {hours_text(low)} to {hours_text(high)})"
        )
    if low == high == 0:
        return f"{best.policy} and {first} gave the same delay in every run {where}"
    reach = max(abs(low), abs(high))
    share = f", at most {percent_text(reach / base)} of the delay" if base else ""
    span = f"{hours_text(low, signed=True)} and {hours_text(high, signed=True)} vehicle-hours per run"
    return (
        f"these runs cannot tell {best.policy} from {first}: {where} the difference lies between "
        f"{span}{share}; {_mend(best)}"
    )


def _mend(best: Estimate) -> str:
    """How many more scenarios would tell, if the value that was found is the true one."""
    low, high = _limits(best)
    size = abs(best.value or 0.0)
    factor = ((high - low) / 2 / size) ** 2 * 1.2 if size else math.inf
    if factor > MANY:
        return "choose by other criteria"
    return f"about {max(math.ceil(factor), 2)} times as many scenarios would tell"


def _over_the_range(curve: Curve | None) -> str:
    """What becomes of it at the other frequencies, where the ranking does not turn for certain."""
    if curve is None:
        return ""
    known = [point for point in curve.points if point.value is not None and point.frequency is not None]
    if len(known) < 2:
        return ""
    span = f"from {times_text(known[0].frequency or 0)} to {times_text(known[-1].frequency or 0)}"
    signs = [sign for sign, point in zip(curve.sure_signs, curve.points, strict=True) if point.value is not None]
    if curve.crossings:
        return f"; the ranking may turn near {listed([times_text(f) for f in curve.crossings])}, within the intervals"
    if all(signs):
        answered = "" if len(known) == len(curve.points) else " that is answered"
        return f", and the order holds at every frequency{answered} {span}"
    if any(signs):
        return f"; no change of order {span}, but not at every frequency there beyond doubt"
    return f", and so it stays {span}"


def _turning(results: Results, curve: Curve | None) -> str:
    """The advice where the ranking turns once and both sides are beyond doubt, otherwise empty."""
    if curve is None or len(curve.crossings) != 1:
        return ""
    signs = [sign for sign in curve.sure_signs if sign]
    if not signs or signs[0] == signs[-1]:
        return ""
    below, above = (curve.versus, curve.policy) if signs[0] > 0 else (curve.policy, curve.versus)
    return (
        f"let the incident frequency decide: use {below} below about {_spoken(results, curve.crossings[0])}, and "
        f"{above} above it; on both sides the {level_text(curve.points[0].level)} interval of the difference excludes "
        "zero."
    )


def _alone(results: Results, means: Sequence[Estimate]) -> str:
    """The sentence about a single policy."""
    answered = [each for each in means if each.value is not None]
    name = results.policies[0]
    if not answered:
        return f"no verdict: the mean delay of {name} is refused, because {_first_reason(means)}."
    frequency = _nearest_to_one(answered)
    here = next(each for each in answered if each.frequency == frequency)
    low, high = _limits(here)
    body = (
        f"{_where(results, frequency)} {name} leaves {hours_text(here.value or 0.0)} vehicle-hours of delay per run "
        f"({level_text(here.level)} interval {hours_text(low)} to {hours_text(high)})"
    )
    known = sorted((e for e in answered if e.frequency is not None), key=lambda e: e.frequency or 0.0)
    if len(known) > 1:
        ends = " and ".join(
            f"{hours_text(e.value or 0.0)} at {times_text(e.frequency or 0)}" for e in (known[0], known[-1])
        )
        body += f", {ends}"
    return body + "."


def _nothing(results: Results, pairs: Sequence[Estimate]) -> str:
    first, *others = results.policies
    return f"No verdict: {first} and {listed(others)} are not compared, because {_first_reason(pairs)}."


def _first_reason(refused: Sequence[Estimate]) -> str:
    """The reason nearest to ×1, as the gate gives it."""
    if not refused:
        return "nothing was estimated"
    frequency = _nearest_to_one(refused)
    why = reason(next(each for each in refused if each.frequency == frequency).verdict)
    return why.rstrip(".")


def _where(results: Results, frequency: float | None) -> str:
    if frequency is None:
        return f"over the {len(results.batch)} scenarios made by hand" if len(results.batch) > 1 else "in this scenario"
    return f"at {_spoken(results, frequency)}"


def _spoken(results: Results, frequency: float) -> str:
    design = results.batch.design
    rate = math.nan if design is None else design.lane_blocking_per_100_h * frequency
    spoken = (
        "the model's incident frequency" if frequency == 1 else f"{frequency:.3g} times the model's incident frequency"
    )
    return spoken + (
        f" ({per_hours_text(rate)} lane-blocking incidents per 100 peak hours)" if math.isfinite(rate) else ""
    )


def _given(results: Results) -> str:
    given = given_text(results.batch.design)
    return f"under the condition {given}, " if given else ""


def _nearest_to_one(estimates: Sequence[Estimate]) -> float | None:
    found = [each.frequency for each in estimates if each.frequency is not None]
    return min(found, key=lambda f: abs(math.log(f)) if f > 0 else math.inf) if found else None


def _limits(found: Estimate) -> tuple[float, float]:
    """The interval of an answered estimate."""
    return (found.low if found.low is not None else -math.inf, found.high if found.high is not None else math.inf)


def _capital(text: str) -> str:
    """With a capital at the start."""
    return text[:1].upper() + text[1:]
