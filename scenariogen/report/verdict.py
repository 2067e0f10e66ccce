"""One sentence that a traffic engineer can act on, made from the estimates and nothing else."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from scenariogen.evaluation.estimates import Estimate, nearest, same_frequency
from scenariogen.evaluation.outcomes import MEAN
from scenariogen.evaluation.ranking import Ranking
from scenariogen.evaluation.rivals import rival_estimates
from scenariogen.evaluation.store import Results
from scenariogen.report.choice import Reign, Standing, elsewhere, reigns, standing, standings
from scenariogen.report.words import (
    frequency_text,
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
_PER_RUN = " vehicle-hours of delay per run against "


def verdict_sentence(results: Results, estimates: Sequence[Estimate], ranking: Ranking | None) -> str:
    """What the estimates of mean delay say to do, in one sentence.

    ``ranking`` is :func:`scenariogen.evaluation.ranking_by_frequency`'s, None for scenarios made by hand. The
    sentence is about the frequency nearest to ×1 at which the policies are compared, then about the whole range. Where
    no frequency common to all kinds of incident is answered, it is about one that has a multiplier for each kind.
    With three policies or more they are all compared with each other, by intervals that hold together.
    """
    means = [each for each in estimates if each.estimand == MEAN]
    several = len(results.policies) > 2
    pairs = [each for each in means if each.versus is not None]
    answered = [each for each in pairs if each.value is not None and each.deciding(several=several) is not None]
    if len(results.policies) == 1:
        return _capital(_given(results) + _alone(results, means))
    if not answered:
        return _nothing(results, pairs)
    at = nearest(answered)
    here = same_frequency(answered, at)
    base = next((e.value for e in same_frequency(means, at) if e.policy == results.policies[0] and not e.versus), None)
    field = (results.policies[0], *(each.policy for each in here))
    over = standings(ranking, field) if ranking is not None and at.frequencies is None else []
    turning = _turning(results, reigns(over), ranking)
    if turning:
        body = turning
    else:
        now = standing(field[0], here, rival_estimates(results, at), several=several)
        body = _comparison(results, _Compared(now, here, base, several)) + _over_the_range(now, over, ranking)
    refused = [each.policy for each in same_frequency(pairs, at) if each.policy not in field]
    beside = f"; {listed(refused)} could not be compared" if refused else ""
    return _capital(_given(results) + body + beside + ".")


@dataclass(frozen=True)
class _Compared:
    """All that is said about one frequency. ``base``: the first policy's mean, None where it is not known."""

    standing: Standing
    differences: Sequence[Estimate]
    base: float | None
    several: bool

    def of(self, policies: Sequence[str]) -> list[Estimate]:
        """Their differences to the first policy, in this order."""
        return [next(each for each in self.differences if each.policy == name) for name in policies]

    def limits(self, found: Estimate) -> tuple[float, float]:
        """The interval that decides."""
        return found.deciding(several=self.several) or (-math.inf, math.inf)

    def interval(self, found: Estimate) -> str:
        """What the interval is called."""
        return f"{level_text(found.level)} interval{' for all policies together' if self.several else ''}"


def _comparison(results: Results, compared: _Compared) -> str:
    """Who wins at one frequency, by how much and how surely."""
    first = results.policies[0]
    left = compared.standing.left
    if first not in left:
        return _use(results, compared)
    if left == (first,):
        return _keep(results, compared)
    return _undecided(results, compared, [name for name in left if name != first])


def _use(results: Results, compared: _Compared) -> str:
    """The policies that beat the first and that no other beats."""
    first = results.policies[0]
    best = compared.standing.better_than(first)
    savings = []
    for each in compared.of(best):
        low, high = compared.limits(each)
        share = f", {percent_text(abs(each.value or 0.0) / compared.base)}" if compared.base else ""
        unit, name = ("", "") if savings else (_PER_RUN + first, compared.interval(each) + " ")
        span = f"{name}{hours_text(-high)} to {hours_text(-low)}{share}"
        savings.append(f"{hours_text(abs(each.value or 0.0))}{unit} ({span})")
    where = _where(results, compared.differences[0])
    told = "" if len(best) == 1 else ", which these runs do not tell apart"
    open_ = [name for name in compared.standing.left if name not in best]
    beside = f"; {listed(open_)} {_is(open_)} told neither from {listed(best, 'or')} nor from {first}" if open_ else ""
    saves = "it saves" if len(best) == 1 else "they save"
    return f"use {listed(best, 'or')}{told}: {where} {saves} {listed(savings)}{beside}"


def _keep(results: Results, compared: _Compared) -> str:
    """Every other policy is surely worse than the first."""
    first = results.policies[0]
    best = min(compared.differences, key=lambda each: each.value or 0.0)
    low, high = compared.limits(best)
    others = listed([each.policy for each in compared.differences])
    return (
        f"keep {first}: {_where(results, best)} {others} {'cost at least' if compared.several else 'costs'} "
        f"{hours_text(best.value or 0.0)} vehicle-hours of delay more per run "
        f"({compared.interval(best)} {hours_text(low)} to {hours_text(high)})"
    )


def _undecided(results: Results, compared: _Compared, names: Sequence[str]) -> str:
    """The first policy and others are not told apart."""
    first = results.policies[0]
    found = compared.of(names)
    where = _where(results, found[0])
    limits = [compared.limits(each) for each in found]
    low, high = min(low for low, _ in limits), max(high for _, high in limits)
    worse = [each.policy for each in compared.differences if each.policy not in names]
    beside = f"; {listed(worse)} {_is(worse)} surely worse" if worse else ""
    if low == high == 0:
        return f"{listed([*names, first])} gave the same delay in every run {where}{beside}"
    share = f", at most {percent_text(max(abs(low), abs(high)) / compared.base)} of the delay" if compared.base else ""
    span = f"{hours_text(low, signed=True)} and {hours_text(high, signed=True)} vehicle-hours per run"
    differences = "the difference lies" if len(names) == 1 else "the differences lie"
    best = min(found, key=lambda each: each.value or 0.0)
    return (
        f"these runs cannot tell {listed(names)} from {first}: {where} {differences} between {span}{share}; "
        f"{_mend(best, compared.limits(best))}{beside}"
    )


def _mend(best: Estimate, limits: tuple[float, float]) -> str:
    """How many more scenarios would tell, if the value that was found is the true one."""
    low, high = limits
    size = abs(best.value or 0.0)
    factor = ((high - low) / 2 / size) ** 2 * 1.2 if size else math.inf
    if factor > MANY:
        return "choose by other criteria"
    return f"about {max(math.ceil(factor), 2)} times as many scenarios would tell"


def _over_the_range(now: Standing, over: Sequence[Standing], ranking: Ranking | None) -> str:
    """What becomes of it at the other frequencies, where the ranking does not turn for certain."""
    if len(over) < 2 or ranking is None:
        return ""
    first = next(iter(now.values))
    named = now.better_than(first) or now.left
    is_open = first in named and len(named) > 1
    others = elsewhere(over, lambda each: first not in each.left or each.left == (first,) if is_open
                       else not set(named) & set(each.left))  # fmt: skip
    if others:
        return "; but " + listed([_surely(part) for part in others])
    if is_open:
        return f", and so it stays {_span(over)}"
    if all(set(each.left) <= set(named) for each in over):
        answered = "" if len(over) == len(ranking.frequencies) else " that is answered"
        return f", and the order holds at every frequency{answered} {_span(over)}"
    turns = [one.until for one, other in pairwise(reigns(over)) if (one.leader in named) != (other.leader in named)]
    if turns:
        near = listed([times_text(each) for each in turns if each is not None])
        return f"; the ranking may turn near {near}, within the intervals"
    return f"; no change of order {_span(over)}, but not at every frequency there beyond doubt"


def _surely(part: Sequence[Standing]) -> str:
    """Who is surely better in a part of the range."""
    names = list(dict.fromkeys(name for each in part for name in each.left))
    return f"{_span(part)} {listed(names, 'or')} is surely better"


def _span(part: Sequence[Standing]) -> str:
    low, high = times_text(part[0].frequency or 0.0), times_text(part[-1].frequency or 0.0)
    return f"at {low}" if low == high else f"from {low} to {high}"


def _turning(results: Results, parts: Sequence[Reign], ranking: Ranking | None) -> str:
    """The advice where the ranking turns and what changes places is told apart on each side, otherwise empty."""
    if len(parts) < 2 or ranking is None:
        return ""
    sides = []
    for i, part in enumerate(parts):
        neighbours = {each.leader for each in (*parts[max(i - 1, 0) : i], *parts[i + 1 : i + 2])}
        names = part.sure_against(neighbours)
        if not names:
            return ""
        sides.append(listed(names, "or"))
    ends = [_spoken(results, part.until) for part in parts if part.until is not None]
    between = "".join(f", {side} from there to about {end}" for side, end in zip(sides[1:-1], ends[1:], strict=True))
    return (
        f"let the incident frequency decide: use {sides[0]} below about {ends[0]}{between}, and {sides[-1]} above it; "
        f"on {'both sides' if len(sides) == 2 else 'every side'} the order is beyond doubt, by "
        f"{level_text(ranking.flips[0].level)} bands that hold at all frequencies at once"
    )


def _alone(results: Results, means: Sequence[Estimate]) -> str:
    """The sentence about a single policy."""
    answered = [each for each in means if each.value is not None]
    name = results.policies[0]
    if not answered:
        return f"no verdict: the mean delay of {name} is refused, because {_first_reason(means)}."
    here = nearest(answered)
    low, high = here.deciding(several=False) or (-math.inf, math.inf)
    body = (
        f"{_where(results, here)} {name} leaves {hours_text(here.value or 0.0)} vehicle-hours of delay per run "
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
    return f"No verdict: {listed(results.policies)} are not compared, because {_first_reason(pairs)}."


def _first_reason(refused: Sequence[Estimate]) -> str:
    """The reason nearest to ×1, as the gate gives it."""
    if not refused:
        return "nothing was estimated"
    why = reason(nearest(refused).verdict)
    if why == "ok":
        return "no interval holds for all differences together: run the same evaluation again"
    return why.rstrip(".")


def _where(results: Results, found: Estimate) -> str:
    if found.frequencies is not None:
        return f"at {frequency_text(found)} of the model's incident frequencies by kind"
    if found.frequency is None:
        return f"over the {len(results.batch)} scenarios made by hand" if len(results.batch) > 1 else "in this scenario"
    return f"at {_spoken(results, found.frequency)}"


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


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


def _capital(text: str) -> str:
    """With a capital at the start."""
    return text[:1].upper() + text[1:]
