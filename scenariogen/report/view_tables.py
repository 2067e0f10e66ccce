"""The views' tables as text: what carries the delay, delay by cause and class, delay per edge and year."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from scenariogen.report.attribution import Attribution, Part, Split
from scenariogen.report.edge_costs import EdgeCost
from scenariogen.report.people import ClassDelay
from scenariogen.report.views import Views
from scenariogen.report.words import counted, given_text, hours_text, percent_text, times_text

SHOWN = 8
"""Groups that are listed; the rest is put together, so that the column still adds up."""
GROUPING_TITLES = {"edge": "By edge", "kind": "By kind", "hour": "By hour of the start"}


@dataclass(frozen=True, kw_only=True)
class TextTable:
    """A table as it is shown: the first column names the row. A cell is its text and, smaller below it, another."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = field(repr=False)
    total: bool = False
    """True: the last row is the sum of those above."""


@dataclass(frozen=True, kw_only=True)
class CarriedSection:
    """What carries one mean or difference."""

    title: str
    lead: str
    tables: tuple[TextTable, ...]


def carried_sections(views: Views) -> list[CarriedSection]:
    """The differences first, then each policy's own mean."""
    return [_carried(each) for each in (*views.differences.values(), *views.carried.values())]


def how_shared(views: Views) -> str:
    """How incidents of one scenario share what they add, in a sentence."""
    split = next((each.split for each in (*views.carried.values(), *views.differences.values())), Split.BLOCKED)
    if split is Split.EVEN:
        return "Incidents of one scenario share what they add together evenly, which is a convention, not a finding."
    return (
        "Incidents of one scenario share what they add together in proportion to the capacity-time that each blocks "
        "(capacity lost × duration), which is a convention, not a finding."
    )


def _carried(parts: Attribution) -> CarriedSection:
    signed = parts.versus is not None
    name = parts.policy if parts.versus is None else f"{parts.policy} − {parts.versus}"
    where = "" if parts.frequency is None else f" at {times_text(parts.frequency)}"
    lead = f"{hours_text(parts.total_veh_h, signed=signed)} vehicle-hours per run{where}"
    if not parts.is_added_sure and parts.by["edge"]:
        lead += "; what incidents add is not told from zero, so that there are no shares of it"
    if not parts.has_levels:
        lead += "; there is no incident-free run to compare with, so that all of it is shared among incidents"
    return CarriedSection(
        title=name,
        lead=lead + ".",
        tables=tuple(_parts_table(title, name, parts, signed) for name, title in GROUPING_TITLES.items()),
    )


def _parts_table(title: str, grouping: str, parts: Attribution, signed: bool) -> TextTable:
    groups = parts.by[grouping]
    rows = [_row(each, signed, shares=parts.is_added_sure) for each in groups[:SHOWN]]
    rest = groups[SHOWN:]
    if rest:
        value = sum(each.value_veh_h for each in rest)
        share = sum(each.share_of_added or 0.0 for each in rest) if parts.is_added_sure else None
        held = counted(sum(each.incidents for each in rest), "incident")
        rows.append(
            (f"{counted(len(rest), grouping)} more", ((hours_text(value, signed=signed), ""), (_share(share), held)))
        )
    if parts.has_levels:
        rest_of = parts.without_incidents
        span = f"{hours_text(rest_of.low, signed=signed)} to {hours_text(rest_of.high, signed=signed)}"
        rows.append((rest_of.group, ((hours_text(rest_of.value_veh_h, signed=signed), span), ("", ""))))
    rows.append(("together", ((hours_text(parts.total_veh_h, signed=signed), ""), ("", ""))))
    return TextTable(title=title, columns=("", "veh h per run", "of what they add"), rows=tuple(rows), total=True)


def _row(part: Part, signed: bool, *, shares: bool) -> tuple[str, tuple[tuple[str, str], ...]]:
    span = f"{hours_text(part.low, signed=signed)} to {hours_text(part.high, signed=signed)}"
    held = f"{counted(part.incidents, 'incident')} in {part.scenarios:,}" if part.incidents else ""
    return part.group, (
        (hours_text(part.value_veh_h, signed=signed), span),
        (_share(part.share_of_added if shares else None), held),
    )


def _share(share: float | None) -> str:
    return "–" if share is None else percent_text(share)


def class_tables(views: Views) -> list[TextTable]:
    """One table per policy: causes in rows, vehicle classes in columns, vehicle-hours with person-hours below."""
    return [
        _class_table(policy, [each for each in views.classes if each.policy == policy])
        for policy in dict.fromkeys(each.policy for each in views.classes)
    ]


def _class_table(policy: str, found: Sequence[ClassDelay]) -> TextTable:
    classes = list(dict.fromkeys(each.vehicle_class for each in found))
    causes = list(dict.fromkeys(each.cause for each in found))
    people = {each.vehicle_class: each.occupancy for each in found}
    by_cell = {(each.cause, each.vehicle_class): each for each in found}

    def cells(chosen: Sequence[str]) -> tuple[tuple[str, str], ...]:
        row = [[by_cell[cause, name] for cause in chosen] for name in classes]
        row.append([each for column in row for each in column])
        return tuple(
            (
                hours_text(sum(e.delay_veh_h for e in cell)),
                f"{hours_text(sum(e.delay_person_h for e in cell))} person-h",
            )
            for cell in row
        )

    return TextTable(
        title=policy,
        columns=("cause", *(f"{name} (× {people[name]:g})" for name in classes), "all"),
        rows=(*((cause, cells([cause])) for cause in causes), ("together", cells(causes))),
        total=True,
    )


def year_lead(views: Views) -> str:
    """What the table of a year counts."""
    at = "" if views.frequency is None else times_text(views.frequency)
    has_levels = all(each.has_levels for each in views.carried.values())
    cost = "what they add there" if has_levels else "the delay that is shared among them"
    hours = f"{views.options.hours_per_year:g} hours a year like those studied"
    text = f"How often incidents come to an edge at {at} times {cost}, for {hours}."
    given = given_text(views.results.batch.design)
    if given and views.per_year:
        runs = views.per_year[0].runs_per_year
        text += f" Only runs that meet the condition {given} are counted: at {at} that is {runs:.3g} of them in a year."
    return f"{text} Edges on which no incident was drawn are not listed."


def year_table(views: Views) -> TextTable | None:
    """The costliest edges under the first policy's delay, with every policy beside it; None by hand."""
    if not views.per_year:
        return None
    policies = list(views.carried)
    by_edge: dict[str, dict[str, EdgeCost]] = {}
    for each in views.per_year:
        by_edge.setdefault(each.edge, {})[each.policy] = each
    order = sorted(by_edge, key=lambda edge: -max(c.delay_veh_h_per_year for c in by_edge[edge].values()))
    rows = []
    for edge in order[:SHOWN]:
        here = by_edge[edge]
        often = next(iter(here.values())).incidents_per_year
        cells = [
            (hours_text(here[p].delay_veh_h_per_year), f"{hours_text(here[p].low)} to {hours_text(here[p].high)}")
            if p in here else ("", "")
            for p in policies
        ]  # fmt: skip
        rows.append((edge, ((f"{often:,.3g}", ""), *cells)))
    return TextTable(
        title=f"The costliest of {counted(len(by_edge), 'edge')}, vehicle-hours a year",
        columns=("edge", "incidents a year", *policies),
        rows=tuple(rows),
    )
