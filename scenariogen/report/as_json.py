"""The report's views for programs: plain dictionaries of strict JSON, without rounding."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from scenariogen.evaluation.ranking import Curve, flip_statement
from scenariogen.evaluation.simultaneous import Flips
from scenariogen.incidents.records import Incident
from scenariogen.report.attribution import Attribution, weights_at
from scenariogen.report.cases import normalised
from scenariogen.report.paragraph import sentences
from scenariogen.report.tables import replay_command, worst_first
from scenariogen.report.views import Views

Plain = dict[str, Any]
WORST = 20
"""Scenarios in the list of the worst."""


def views_json(views: Views) -> Plain:
    """Everything; numbers that are not known are null."""
    said = sentences(views)
    return finite(
        {
            "verdict": said[0],
            "paragraph": " ".join(said),
            "project": views.results.manifest.project_name,
            "policies": list(views.results.policies),
            "frequency": views.frequency,
            "lane_blocking_per_100_h": views.rate,
            "estimates": [asdict(each) for each in views.estimates],
            "curves": [] if views.ranking is None else [
                _curve(each, views.rate) for each in (*views.ranking.curves, *views.ranking.differences)
            ],
            "flips": [] if views.ranking is None else [flips_json(each, views.rate) for each in views.ranking.flips],
            "carried": [_attribution(each) for each in (*views.carried.values(), *views.differences.values())],
            "worst": _worst(views),
            "per_edge_and_year": [asdict(each) for each in views.per_year],
            "by_cause_and_class": [asdict(e) | {"delay_person_h": e.delay_person_h} for e in views.classes],
            "left_out": dict(views.left_out),
        }
    )  # fmt: skip


def flips_json(flips: Flips, rate: float) -> Plain:
    """Where a ranking may flip, on both axes; ``rate`` is that of lane-blocking incidents at multiplier 1."""

    def spans(pieces: Sequence[tuple[float, float]]) -> list[Plain]:
        return [{"low": low, "high": high, "per_100_h": [low * rate, high * rate]} for low, high in pieces]

    return {
        "policy": flips.policy,
        "versus": flips.versus,
        "level": flips.level,
        "shape": flips.shape,
        "statement": flip_statement(flips, rate),
        "pieces": spans(flips.pieces),
        "reaches_low_end": flips.reaches_low,
        "reaches_high_end": flips.reaches_high,
        "better": spans(flips.better),
        "worse": spans(flips.worse),
        "crossings": [{"frequency": each, "per_100_h": each * rate} for each in flips.crossings],
        "refused_at": list(flips.refused),
        "band": [
            {"frequency": f, "per_100_h": f * rate, "value": value, "low": low, "high": high}
            for f, value, low, high in zip(flips.frequencies, flips.value, flips.low, flips.high, strict=True)
        ],
    }


def _curve(curve: Curve, rate: float) -> Plain:
    return {
        "policy": curve.policy,
        "versus": curve.versus,
        "points": [
            {"frequency": p.frequency, "per_100_h": (p.frequency or math.nan) * rate, "value": p.value, "low": p.low,
             "high": p.high, "verdict": p.verdict}
            for p in curve.points
        ],
    }  # fmt: skip


def _attribution(parts: Attribution) -> Plain:
    return asdict(parts) | {
        "split": f"what incidents of one scenario add together is shared by {parts.split}"
        if parts.split != "evenly"
        else "what incidents of one scenario add together is shared evenly"
    }


def _worst(views: Views) -> list[Plain]:
    weights = normalised(views.results.batch, weights_at(views.results, views.frequency))
    rows = {scenario.index: row for row, scenario in enumerate(views.results.batch.scenarios)}
    return [
        {
            "scenario": cost.scenario.index,
            "weight": float(weights[rows[cost.scenario.index]]),
            "delay_veh_h": dict(cost.delay_veh_h),
            "extra_veh_h": dict(cost.extra_veh_h),
            "locked_up": list(cost.locked_up),
            "incidents": [_incident(each) for each in cost.scenario.incidents],
            "command": replay_command(views.results, cost),
        }
        for cost in worst_first(views.costs)[:WORST]
    ]


def _incident(incident: Incident) -> Plain:
    return {
        "kind": str(incident.kind),
        "edge": incident.edge,
        "lanes": list(incident.lanes),
        "position_m": incident.position_m,
        "start_s": incident.start_s,
        "end_s": incident.end_s,
        "capacity_left": incident.capacity_left,
    }


def finite(value: Any) -> Any:
    """The same with None for every number that JSON has no word for.

    >>> finite({"a": [1.0, math.nan]})
    {'a': [1.0, None]}
    """
    if isinstance(value, dict):
        return {str(key): finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
