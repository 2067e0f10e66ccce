"""The page's tables: estimates by question, what is refused and why, the worst scenarios with their commands."""

import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from scenariogen.errors import ResultsError
from scenariogen.evaluation.answer import Estimate, EstimateDetail
from scenariogen.evaluation.equipment import IncidentSource
from scenariogen.evaluation.estimate import estimate
from scenariogen.evaluation.outcomes import MEAN
from scenariogen.evaluation.store import DIAGNOSTICS, SCENARIOS, Results
from scenariogen.incidents.records import Incident
from scenariogen.report.attribution import weights_at
from scenariogen.report.cases import normalised
from scenariogen.report.costs import ScenarioCost
from scenariogen.report.words import (
    counted,
    estimand_title,
    frequency_text,
    hours_text,
    interval_text,
    is_probability,
    more_is_better,
    per_hours_text,
    percent_text,
    policy_text,
    reason,
    value_text,
)
from scenariogen.scenarios.records import Condition, Scenario

WORST = 6
"""Scenarios in the list of the worst."""
LINES = 5
"""Incidents told of each of them: those that take most capacity for longest."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One answer as it is shown.

    ``more``  further intervals, each with its name: for all differences together, and with the rates
    ``tone``  ``better`` or ``worse`` where a difference is told from zero, ``refused``
    """

    value: str = ""
    interval: str = ""
    more: tuple[tuple[str, str], ...] = ()
    tone: str = ""


@dataclass(frozen=True, kw_only=True)
class QuestionTable:
    """All answers to one question: a row per frequency, a column per policy and difference."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...] = field(repr=False)
    """Multiplier, lane-blocking incidents per 100 peak hours, cells."""
    remarks: tuple[str, ...] = ()
    """What must be said beside it, such as where values are lower bounds."""


def question_tables(results: Results, estimates: Sequence[Estimate]) -> list[QuestionTable]:
    """One table per estimand, in the order of the estimates."""
    design = results.batch.design
    rate = math.nan if design is None else design.lane_blocking_per_100_h
    several = len(results.policies) > 2
    tables = []
    for estimand in dict.fromkeys(each.estimand for each in estimates):
        here = [each for each in estimates if each.estimand == estimand]
        columns = {(each.policy, each.versus): _column(each) for each in here}
        rows = []
        for often in dict.fromkeys(frequency_text(each) for each in here):
            by_column = {(e.policy, e.versus): e for e in here if frequency_text(e) == often}
            frequency = next(iter(by_column.values())).frequency
            cells = tuple(
                _cell(by_column[column], several=several) if column in by_column else Cell() for column in columns
            )
            per_hours = "" if frequency is None or not math.isfinite(rate) else per_hours_text(frequency * rate)
            rows.append((often, per_hours, cells))
        tables.append(
            QuestionTable(
                title=estimand_title(estimand),
                columns=tuple(columns.values()),
                rows=tuple(rows),
                remarks=tuple(_remark(each) for each in here if each.remark and not each.is_refused),
            )
        )
    return tables


def _remark(found: Estimate) -> str:
    if found.versus is None:
        return f"{frequency_text(found)}, {found.policy}: {found.remark}."
    return f"{frequency_text(found)}, {policy_text(found)}: a difference {found.remark}; it need not be a bound itself."


def _column(found: Estimate) -> str:
    points = found.versus is not None and is_probability(found.estimand)
    return policy_text(found) + (", points" if points else "")


def _cell(found: Estimate, *, several: bool) -> Cell:
    if found.value is None or found.low is None or found.high is None:
        return Cell(value="refused", interval="", tone="refused")
    signed = found.versus is not None

    def span(low: float, high: float) -> str:
        if found.is_cut and not signed:
            return f"≥ {value_text(low, found.estimand)}"
        return interval_text(low, high, found.estimand, signed=signed)

    others = (("all", found.low_all, found.high_all), ("rates", found.low_total, found.high_total))
    value = value_text(found.value, found.estimand, signed=signed)
    return Cell(
        value=f"≥ {value}" if found.is_cut and not signed else value,
        interval=span(found.low, found.high),
        more=tuple((name, span(low, high)) for name, low, high in others if low is not None and high is not None),
        tone=_tone(found, several=several) if signed and not found.is_cut else "",
    )


def _tone(found: Estimate, *, several: bool) -> str:
    """``better`` or ``worse``; of several differences by the interval that holds for all of them together."""
    sign = found.sign(several=several)
    if not sign:
        return ""
    return "better" if (sign > 0) == more_is_better(found.estimand) else "worse"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What is not answered, and why. ``count`` answers share the reason."""

    question: str
    why: str
    count: int = 1


def refusals(results: Results, estimates: Sequence[Estimate]) -> tuple[list[Refusal], bool]:
    """Every refused estimate, equal reasons together; and whether they were asked for.

    Where nothing asked for is refused, the answer that the gate refuses one step outside the range stands there.
    """
    refused = [each for each in estimates if each.is_refused]
    if refused:
        return _grouped(refused), True
    design = results.batch.design
    if design is None or not design.frequencies:
        why = (
            "scenarios made by hand carry no probability, so nothing can be said about how often they come: "
            "draw scenarios from a model (scenariogen sample) to ask for a frequency"
        )
        return [Refusal(question="The same at any incident frequency", why=why)], False
    outside = beyond(design.frequencies)
    mean = [each for each in estimate(results, frequencies=[outside]) if each.estimand == MEAN and each.is_refused]
    return _grouped(mean[-1:]), False


def beyond(frequencies: Sequence[float]) -> float:
    """One step outside a range of multipliers: the last ratio again, or twice the only one.

    >>> beyond([0.5, 1.0, 2.0, 5.0]), beyond([1.0])
    (12.5, 2.0)
    """
    ascending = sorted(set(frequencies))
    ratio = ascending[-1] / ascending[-2] if len(ascending) > 1 else 2.0
    return ascending[-1] * ratio


def _grouped(refused: Sequence[Estimate]) -> list[Refusal]:
    by_reason: dict[str, list[Estimate]] = {}
    for each in refused:
        by_reason.setdefault(reason(each.verdict), []).append(each)
    return [Refusal(question=_question(found), why=why, count=len(found)) for why, found in by_reason.items()]


def _question(found: Sequence[Estimate]) -> str:
    first = found[0]
    title = estimand_title(first.estimand) if len({e.estimand for e in found}) == 1 else "Several questions"
    columns = list(dict.fromkeys(map(policy_text, found)))
    frequencies = list(dict.fromkeys(frequency_text(e) for e in found if not e.is_by_hand))
    where = f" at {', '.join(frequencies)}" if frequencies else ""
    return f"{title}: {', '.join(columns)}{where}"


@dataclass(frozen=True, kw_only=True)
class WorstRow:
    """One scenario with the command that shows it."""

    index: int
    incidents: tuple[str, ...]
    delays: tuple[tuple[str, str, str, bool], ...]
    """Policy, delay, what the incidents added to it (empty where that is not known), locked up."""
    command: str
    weight: str = ""
    """Its share of the weight of all scenarios at the frequency of the views."""


def worst_scenarios(
    results: Results, costs: Sequence[ScenarioCost], *, frequency: float | None = None, number: int = WORST
) -> list[WorstRow]:
    """The scenarios whose incidents added most under any policy, the worst first, with their weights at a frequency."""
    weights = normalised(results.batch, weights_at(results, frequency))
    rows = {scenario.index: row for row, scenario in enumerate(results.batch.scenarios)}
    return [
        WorstRow(
            index=cost.scenario.index,
            incidents=_told(cost.scenario),
            delays=tuple(
                (
                    policy,
                    hours_text(delay),
                    hours_text(cost.extra_veh_h[policy], signed=True) if policy in cost.extra_veh_h else "",
                    policy in cost.locked_up,
                )
                for policy, delay in cost.delay_veh_h.items()
            ),
            command=replay_command(results, cost),
            weight=percent_text(float(weights[rows[cost.scenario.index]])),
        )
        for cost in worst_first(costs)[:number]
    ]


def worst_first(costs: Sequence[ScenarioCost]) -> list[ScenarioCost]:
    """Scenarios with incidents, those whose incidents added most under any policy first; all where none has any."""
    hit = [cost for cost in costs if cost.scenario.incidents]
    return sorted(hit or costs, key=lambda cost: (-cost.worst_veh_h, cost.scenario.index))


def _told(scenario: Scenario) -> tuple[str, ...]:
    """The incidents in order of time; of many, those that take most capacity for longest."""
    incidents, condition = scenario.incidents, scenario.condition
    kept = sorted(incidents, key=lambda each: each.duration_s * (1 - each.capacity_left), reverse=True)[:LINES]
    lines = [incident_text(each, condition) for each in sorted(kept, key=lambda each: each.start_s)]
    left = len(incidents) - len(kept)
    return (*lines, f"and {counted(left, 'lesser one')}") if left else tuple(lines)


def incident_text(incident: Incident, condition: Condition) -> str:
    """An incident in one line, with the time of day."""
    lanes = ", ".join(map(str, incident.lanes))
    where = f"lane{'s' if len(incident.lanes) > 1 else ''} {lanes}" if incident.lanes else "the shoulder"
    start = condition.clock_at(60 * round(incident.start_s / 60))
    minutes = max(round(incident.duration_s / 60), 1)
    return (
        f"{incident.kind} on {incident.edge}, {where}, {start} for {minutes} min, "
        f"{incident.capacity_left:.0%} of capacity left"
    )


def replay_command(results: Results, cost: ScenarioCost) -> str:
    """What to type to watch a scenario in SUMO's window, under the policy with which it was worst, as it was run."""
    manifest = results.manifest
    policy = next(each for each in manifest.policies if each.name == cost.worst_policy)
    words = ["scenariogen", "run", "--sumocfg", manifest.sumocfg]
    words += ["--scenarios", str(results.folder.absolute() / SCENARIOS), "--index", str(cost.scenario.index)]
    words += ["--policy", policy.spec]
    if policy.reads_incidents:
        source = IncidentSource.DETECTED if manifest.usual_traffic else IncidentSource.REPORTED
        words += ["--incidents-known", str(source)]
    return shlex.join([*words, "--gui"])


@dataclass(frozen=True, kw_only=True)
class FullRow:
    """One record of ``estimates.json``: its fields, each with the exact value and the text shown."""

    fields: tuple[tuple[str, str, str], ...]
    """Name, JSON of the exact value, text."""


def full_rows(estimates: Sequence[Estimate]) -> list[FullRow]:
    """All fields of all estimates, in the order of the file."""
    return [
        FullRow(
            fields=tuple(
                (name, json.dumps(value), _field_text(name, value, each)) for name, value in asdict(each).items()
            )
        )
        for each in estimates
    ]


def _field_text(name: str, value: object, found: Estimate) -> str:
    if value is None:
        return "–"
    if not isinstance(value, float):
        return str(value)
    if name in ("value", "low", "high", "standard_error"):
        return f"{value:.5f}" if is_probability(found.estimand) else f"{value:,.2f}"
    return {"frequency": f"{value:.3g}", "ess": f"{value:,.0f}", "k_hat": f"{value:.2f}"}.get(name, f"{value:.4g}")


def read_details(results: Results, estimates: Sequence[Estimate]) -> list[EstimateDetail]:
    """What stands behind each estimate, in the same order, or a ``ResultsError``."""
    path = results.folder / DIAGNOSTICS
    try:
        details = [EstimateDetail(**record) for record in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        raise ResultsError(f"{path} does not exist: run the same evaluation again to write it") from None
    except (ValueError, TypeError) as error:
        raise ResultsError(f"{path} is not a list of diagnostics ({error}): run the evaluation again") from error
    same = [(e.policy, e.versus, e.frequency, e.frequencies, e.estimand) for e in estimates] == [
        (d.policy, d.versus, d.frequency, d.frequencies, d.estimand) for d in details
    ]
    if not same:
        raise ResultsError(
            f"{path} holds {counted(len(details), 'record')} that do not belong to the {len(estimates)} estimates "
            "beside it: run the same evaluation again"
        )
    return details
