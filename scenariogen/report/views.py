"""Everything that the report shows, worked out once: for the page, for people in words, and as JSON."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from scenariogen.errors import FrequencyError, ResultsError
from scenariogen.evaluation.answer import Estimate
from scenariogen.evaluation.estimate import read_estimates
from scenariogen.evaluation.outcomes import MEAN
from scenariogen.evaluation.ranking import Ranking, log_grid, ranking_by_frequency
from scenariogen.evaluation.store import Results, load_results
from scenariogen.report.attribution import Attribution, Split, attribution
from scenariogen.report.costs import ScenarioCost, scenario_costs
from scenariogen.report.edge_costs import HOURS_PER_YEAR, EdgeCost, edge_costs, why_no_costs
from scenariogen.report.people import ClassDelay, class_delays
from scenariogen.report.verdict import verdict_sentence
from scenariogen.report.words import listed, reason, times_text


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the views are to be about.

    ``frequency``       multiplier at which means are taken apart; None: of those estimated, the one nearest to 1
    ``hours_per_year``  what a year is worth of hours like the studied ones
    ``occupancy``       people by vehicle class, over the defaults
    ``split``           how incidents of one scenario share what they add
    """

    frequency: float | None = None
    hours_per_year: float = HOURS_PER_YEAR
    occupancy: Mapping[str, float] = field(default_factory=dict)
    split: Split = Split.BLOCKED

    def __post_init__(self) -> None:
        if not (math.isfinite(self.hours_per_year) and 0 < self.hours_per_year <= 8784):
            raise ResultsError(
                f"a year has {self.hours_per_year:g} hours like these, expected more than 0, at most 8784"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Views:
    """The decision views of one results folder.

    ``ranking``      curves over the frequency, None for scenarios made by hand
    ``frequency``    at which means are taken apart, None for scenarios made by hand
    ``carried``      what carries each policy's mean, by policy
    ``differences``  what carries each other policy's difference to the first, by policy
    ``per_year``     expected delay per edge and year; empty where scenarios do not say how often they come
    ``classes``      delay by cause and vehicle class; empty where runs do not tell classes
    ``left_out``     what is not taken apart, and why: the gate refuses the mean
    """

    results: Results
    estimates: Sequence[Estimate] = field(repr=False)
    ranking: Ranking | None = field(repr=False)
    costs: Sequence[ScenarioCost] = field(repr=False)
    options: Options
    frequency: float | None
    carried: Mapping[str, Attribution] = field(repr=False)
    differences: Mapping[str, Attribution] = field(repr=False)
    per_year: Sequence[EdgeCost] = field(repr=False)
    classes: Sequence[ClassDelay] = field(repr=False)
    left_out: Mapping[str, str]

    @property
    def verdict(self) -> str:
        """What to do, in one sentence."""
        return verdict_sentence(self.results, self.estimates, self.ranking)

    def per_year_or_why(self) -> Sequence[EdgeCost]:
        """Delay per edge and year, or a ``ResultsError`` with the reason why there is none."""
        if not self.per_year:
            left_out = left_out_text(self)
            why = f"there is no delay per edge to write; leave --costs out for the page alone. {left_out}".rstrip()
            raise ResultsError(why_no_costs(self.results) or why)
        return self.per_year

    @property
    def rate(self) -> float:
        """Lane-blocking incidents per 100 peak hours at multiplier 1; nan where not known."""
        design = self.results.batch.design
        return math.nan if design is None else design.lane_blocking_per_100_h


def work_out(results: Results | str, options: Options | None = None) -> Views:
    """All views of a results folder. Raises ``ResultsError``, and ``FrequencyError`` for one beyond its range."""
    results = results if isinstance(results, Results) else load_results(results)
    options = options or Options()
    if not results.runs:
        raise ResultsError(f"{results.folder} holds no finished run: run the evaluation that began it again")
    estimates = read_estimates(results.folder)
    at = _frequency(results, estimates, options.frequency)
    ranking = ranking_for(results, estimates, also=at)
    first, *others = results.policies
    left_out: dict[str, str] = {}
    carried: dict[str, Attribution] = {}
    differences: dict[str, Attribution] = {}
    for policy, versus, found in (
        *((p, None, carried) for p in results.policies),
        *((p, first, differences) for p in others),
    ):
        why = _refusal(estimates, ranking, policy, versus, at)
        parts = None if why else attribution(results, policy, versus, frequency=at, split=options.split)
        if parts is not None:
            found[policy] = parts
        else:
            left_out[policy if versus is None else f"{policy} − {versus}"] = why or "no scenario has a delay for both"
    is_priced = not why_no_costs(results)
    return Views(
        results=results,
        estimates=estimates,
        ranking=ranking,
        costs=scenario_costs(results),
        options=options,
        frequency=at,
        carried=carried,
        differences=differences,
        per_year=edge_costs(results, carried, hours_per_year=options.hours_per_year) if is_priced else [],
        classes=[
            each
            for policy in carried
            for each in class_delays(results, policy, frequency=at, occupancy=options.occupancy, split=options.split)
        ],
        left_out=left_out,
    )


def ranking_for(results: Results, estimates: Sequence[Estimate], *, also: float | None = None) -> Ranking | None:
    """The curves over the batch's range, through every frequency that was estimated, and ``also`` through another."""
    design = results.batch.design
    if design is None:
        return None
    low, high = min(design.frequencies), max(design.frequencies)
    asked = {e.frequency for e in estimates if e.frequency is not None and low <= e.frequency <= high}
    asked |= set() if also is None else {also}
    return ranking_by_frequency(results, frequencies=sorted({*log_grid(design.frequencies), *asked}))


def _frequency(results: Results, estimates: Sequence[Estimate], asked: float | None) -> float | None:
    design = results.batch.design
    if design is None:
        if asked is not None:
            raise FrequencyError("these scenarios were made by hand and have no frequency: leave out --at")
        return None
    low, high = min(design.frequencies), max(design.frequencies)
    if asked is not None:
        if not low <= asked <= high:
            raise FrequencyError(
                f"the frequency {times_text(asked)} lies outside the range {times_text(low)} to {times_text(high)} "
                "that this batch was drawn for: choose one inside, or sample again with --frequency including it"
            )
        return asked
    inside = [e.frequency for e in estimates if e.frequency is not None and low <= e.frequency <= high]
    answered = [e.frequency for e in estimates if e.frequency in inside and e.value is not None and e.estimand == MEAN]
    return min(answered or inside or design.frequencies, key=lambda f: (abs(math.log(f or 1.0)), f))


def _refusal(
    estimates: Sequence[Estimate], ranking: Ranking | None, policy: str, versus: str | None, at: float | None
) -> str:
    """Why the gate refuses the mean of a policy or a difference at a frequency, empty where it does not."""
    curves = () if ranking is None else (*ranking.curves, *ranking.differences)
    points = [p for curve in curves if (curve.policy, curve.versus) == (policy, versus) for p in curve.points]
    means = points or [e for e in estimates if e.estimand == MEAN and (e.policy, e.versus) == (policy, versus)]
    here = [e for e in means if e.frequency == at]
    if not here:
        return "it was not estimated"
    return reason(here[0].verdict) if here[0].is_refused else ""


def left_out_text(views: Views) -> str:
    """What is not taken apart, in a sentence; empty where all is."""
    if not views.left_out:
        return ""
    by_reason: dict[str, list[str]] = {}
    for what, why in views.left_out.items():
        by_reason.setdefault(why.rstrip("."), []).append(what)
    return " ".join(f"Not taken apart: {listed(names)}, because {why}." for why, names in by_reason.items())
