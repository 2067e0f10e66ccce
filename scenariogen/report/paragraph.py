"""The verdict in a paragraph that a traffic engineer can act on, made from the numbers and nothing else."""

from collections.abc import Sequence

from scenariogen.evaluation.estimates import Estimate, nearest, same_frequency
from scenariogen.evaluation.outcomes import LOCK_UP, MEAN
from scenariogen.report.attribution import Attribution
from scenariogen.report.views import Views
from scenariogen.report.words import (
    counted,
    estimand_title,
    frequency_text,
    hours_text,
    interval_text,
    listed,
    percent_text,
    reason,
    times_text,
    value_text,
)

TAIL = ("P(delay>", "quantile_", "cvar_")
"""How the names of estimands of the tail begin."""


def verdict_paragraph(views: Views) -> str:
    """Which policy, by how much, where the ranking flips, the tail, what carries it, and what is refused."""
    return " ".join(sentences(views))


def sentences(views: Views) -> list[str]:
    """The paragraph, sentence by sentence."""
    said = [
        views.verdict,
        *(capital(f"{text}.") for text in (views.ranking.statements if views.ranking is not None else ())),
        *_tail(views),
        *(_carried(each) for each in _told(views)),
        _refused(views),
    ]
    return [each for each in said if each]


def capital(text: str) -> str:
    """With a capital, unless it begins with the name of a policy, which has an underscore."""
    first = text.split(" ", 1)[0]
    return text if "_" in first else text[:1].upper() + text[1:]


def _tail(views: Views) -> list[str]:
    """Bad days: the tail, and lock-ups where one was seen, at the estimated frequency that is next to the views'."""
    own = [e for e in views.estimates if e.versus is None]
    here = same_frequency(own, nearest(own, views.frequency or 1.0)) if own else []
    said = []
    for estimand in dict.fromkeys(e.estimand for e in here):
        found = [e for e in here if e.estimand == estimand]
        if estimand.startswith(TAIL) or (estimand == LOCK_UP and any(e.value for e in found)):
            said.append(_of_each(estimand, found))
    return said


def _of_each(estimand: str, found: Sequence[Estimate]) -> str:
    title = estimand_title(estimand)
    known = [e for e in found if e.value is not None and e.low is not None and e.high is not None]
    if not known:
        return f"{title}: refused."
    parts = [
        f"{value_text(e.value or 0.0, estimand)} under {e.policy} "
        f"({interval_text(e.low or 0.0, e.high or 0.0, estimand)})"
        for e in known
    ]
    refused = [e.policy for e in found if e.value is None]
    where = "" if known[0].is_by_hand else f" at {frequency_text(known[0])}"
    return f"{title}{where}: {listed(parts)}{f'; refused for {listed(refused)}' if refused else ''}."


def _told(views: Views) -> list[Attribution]:
    """Differences are told; where there is but one policy, its own mean."""
    return list(views.differences.values()) or (
        list(views.carried.values()) if len(views.results.policies) == 1 else []
    )


def _carried(parts: Attribution) -> str:
    """What carries a difference, or a mean."""
    if not parts.by["edge"]:
        return ""
    signed = parts.versus is not None
    who = parts.policy if parts.versus is None else f"{parts.policy} less {parts.versus}"
    added = hours_text(parts.added.value_veh_h, signed=signed)
    edge, kind = parts.by["edge"][0], parts.by["kind"][0]
    where = "" if parts.frequency is None else f" at {times_text(parts.frequency)}"
    usual = (
        f"{hours_text(parts.without_incidents.value_veh_h, signed=signed)} would be there without incidents, "
        f"{added} is what they add"
        if parts.has_levels
        else f"{added} is shared among them, since no incident-free run tells what there is without them"
    )
    if not parts.is_added_sure:
        span = f"{hours_text(parts.added.low, signed=signed)} to {hours_text(parts.added.high, signed=signed)}"
        return f"Of the vehicle-hours of {who}{where}, {usual}, which is not told from zero (95 % interval {span})."
    return (
        f"Of the vehicle-hours of {who}{where}, {usual}: most on {edge.group} "
        f"({hours_text(edge.value_veh_h, signed=signed)}, 95 % interval {hours_text(edge.low, signed=signed)} to "
        f"{hours_text(edge.high, signed=signed)}) and by kind {kind.group} "
        f"({hours_text(kind.value_veh_h, signed=signed)})."
    )


def _refused(views: Views) -> str:
    refused = [e for e in views.estimates if e.value is None]
    if not refused:
        return f"None of the {counted(len(views.estimates), 'answer')} asked for is refused."
    first = next((e for e in refused if e.estimand == MEAN), refused[0])
    share = percent_text(len(refused) / len(views.estimates))
    why = reason(first.verdict).rstrip(".")
    return f"Refused: {len(refused)} of {len(views.estimates)} answers ({share}), because {why}."
