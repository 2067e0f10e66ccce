"""What the page says of intervals beside the first one: for all differences together, and with the rates."""

from collections.abc import Sequence

from scenariogen.evaluation.estimates import Estimate, EstimateDetail, nearest, same_frequency
from scenariogen.evaluation.outcomes import MEAN
from scenariogen.evaluation.store import Results
from scenariogen.report.view_tables import TextTable
from scenariogen.report.views import Views
from scenariogen.report.words import frequency_text, percent_text, policy_text


def more_intervals(results: Results, estimates: Sequence[Estimate]) -> str:
    """What the further intervals in a cell are; empty where there are none."""
    said = ""
    if any(each.low_all is not None for each in estimates):
        said += f"All: what holds for all differences to {results.policies[0]} together. "
    if any(each.low_total is not None for each in estimates):
        said += "Rates: what also covers how unsure the incident rates are. "
    return said


def share_table(views: Views) -> TextTable | None:
    """Where the variance of mean delays and their differences comes from, at one frequency; None where not known."""
    known = [each for each in views.estimates if each.estimand == MEAN and each.shares]
    if not known:
        return None
    at = nearest(known, views.frequency or 1.0)
    here = same_frequency(known, at)
    sources = list(dict.fromkeys(source for each in here for source in each.shares or {}))
    return TextTable(
        title=f"Where the variance of mean delay at {frequency_text(at)} comes from",
        columns=("", *sources),
        rows=tuple((policy_text(each), tuple(_share(each, source) for source in sources)) for each in here),
    )


def _share(found: Estimate, source: str) -> tuple[str, str]:
    share = (found.shares or {}).get(source)
    return ("–" if share is None else percent_text(share), "")


def left_out_of_total(details: Sequence[EstimateDetail]) -> list[str]:
    """What the intervals with the rates do not cover, or why there are none."""
    reasons = dict.fromkeys(each.total_left_out for each in details if each.total_left_out)
    return [f"The interval with the rates: {each}." for each in reasons]
