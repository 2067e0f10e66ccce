"""What was found beside what was true: matches, figures, and which of them fall short."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from scenariogen.incidents.sparse_places import gap_along_m
from scenariogen.network import RoadNetwork

SAME_START_S = 300.0
SAME_PLACE_M = 100.0
SAME_TIME = 0.5
"""Of the time that an incident or its finding lasts, both do for this share at least: intersection over union."""
TARGETS = {
    "precision": 0.9,
    "recall": 0.9,
    "start_error_s": 60.0,
    "capacity_error": 0.10,
    "false_alarms_per_h": 1.0,
}
WITHIN = 1.96
"""Standard errors to either side that hold 95 % of what is normally distributed."""


@dataclass(kw_only=True)
class Scores:
    """What is known of each true incident and each detection."""

    truths: list[dict] = field(default_factory=list)
    detections: list[dict] = field(default_factory=list)
    free_hours: float = 0.0
    false_alarms: int = 0
    seconds: list[float] = field(default_factory=list)

    def add(self, other: "Scores") -> None:
        """Takes in what is known of other days."""
        for name in ("truths", "detections", "seconds"):
            getattr(self, name).extend(getattr(other, name))
        self.free_hours += other.free_hours
        self.false_alarms += other.false_alarms


def match(truths: list[dict], found: pd.DataFrame, network: RoadNetwork, *, across: bool = False) -> dict[int, int]:
    """True incident -> detection that starts when it does, nearest starts first; ``across``: also where an edge ends in
    between."""
    pairs = sorted(
        (abs(row.start_s - truth["start_s"]), number, row.Index)
        for number, truth, row in _near(truths, found, network)
        if (across or row.edge == truth["edge"]) and abs(row.start_s - truth["start_s"]) <= SAME_START_S
    )
    return _each_once(pairs)


def match_by_overlap(truths: list[dict], found: pd.DataFrame, network: RoadNetwork) -> dict[int, int]:
    """True incident -> detection as near along the road that shares most of its time, largest share first."""
    pairs = []
    for number, truth, row in _near(truths, found, network):
        end_s = row.start_s + row.duration_s
        both_s = min(end_s, truth["end_s"]) - max(row.start_s, truth["start_s"])
        either_s = max(end_s, truth["end_s"]) - min(row.start_s, truth["start_s"])
        if both_s >= SAME_TIME * either_s:
            pairs.append((-both_s / either_s, number, row.Index))
    return _each_once(sorted(pairs))


def _near(truths: list[dict], found: pd.DataFrame, network: RoadNetwork) -> Iterator[tuple[int, dict, Any]]:
    for number, truth in enumerate(truths):
        if not truth["realised"]:
            continue
        for row in found.itertuples():
            place = (network, row.edge, row.position_m, truth["edge"], truth["position_m"])
            if gap_along_m(*place) <= SAME_PLACE_M:
                yield number, truth, row


def _each_once(pairs: list[tuple[float, int, int]]) -> dict[int, int]:
    matched: dict[int, int] = {}
    for _, truth, detection in pairs:
        if truth not in matched and detection not in matched.values():
            matched[truth] = detection
    return matched


def score(variant: str, name: str, found: pd.DataFrame, truths: list[dict], network: RoadNetwork) -> Scores:
    """The detections of a day with incidents beside the truth."""
    scores = Scores()
    matched = match(truths, found, network)
    others = {"near": match(truths, found, network, across=True), "overlaps": match_by_overlap(truths, found, network)}
    for number, truth in enumerate(truths):
        row = found.loc[matched[number]].to_dict() if number in matched else None
        seen = {
            name: number in pairs and bool(len(found.loc[pairs[number], "lanes"])) for name, pairs in others.items()
        }
        scores.truths.append({**truth, "found": row, **seen})
    for row in found.itertuples():
        is_true = row.Index in matched.values()
        # Only who saw the vehicles can say that no lane is blocked; elsewhere every detection claims a blocked lane.
        claims = bool(row.lanes) or variant != "full"
        seen = {name: getattr(row, name) for name in ("edge", "position_m", "start_s", "duration_s", "capacity_left")}
        seen |= {name: row.Index in pairs.values() for name, pairs in others.items()}
        scores.detections.append({"network": name, "true": is_true, "claims": claims, **seen})
    return scores


def _share(part: list, whole: list) -> float:
    return len(part) / len(whole) if whole else float("nan")


def _middle(values: list[float]) -> float:
    return float(np.median(values)) if values else float("nan")


def summary(scores: Scores) -> dict:
    """The figures of one network, or of all."""
    real = [truth for truth in scores.truths if truth["realised"]]
    blocking = [truth for truth in real if truth["lanes"]]
    shoulder = [truth for truth in real if not truth["lanes"]]
    decisive = [truth for truth in real if truth["decisive"]]
    unqueued = [truth for truth in blocking if not np.isfinite(truth["capacity_counted"])]
    hits = [truth for truth in real if truth["found"]]
    uncensored = [truth for truth in hits if not truth["found"]["duration_is_censored"] and not truth["censored"]]
    claims = [d for d in scores.detections if d["claims"]]
    return {
        "incidents": len(real),
        "decisive": len(decisive),
        "precision": _share([d for d in claims if d["true"]], claims),
        "recall": _share([t for t in decisive if t["found"] and t["found"]["lanes"]], decisive),
        "precision_across_edges": _share([d for d in claims if d["near"]], claims),
        "recall_across_edges": _share([t for t in decisive if t["near"]], decisive),
        "precision_by_overlap": _share([d for d in claims if d["overlaps"]], claims),
        "recall_by_overlap": _share([t for t in decisive if t["overlaps"]], decisive),
        "recall_blocking": _share([t for t in blocking if t["found"]], blocking),
        "recall_without_queue": _share([t for t in unqueued if t["found"]], unqueued),
        "recall_shoulder": _share([t for t in shoulder if t["found"]], shoulder),
        "lanes_right": _share([t for t in hits if t["found"]["lanes"] == t["lanes"]], hits),
        "lanes_number_right": _share([t for t in hits if len(t["found"]["lanes"]) == len(t["lanes"])], hits),
        "kind_right": _share([t for t in hits if t["found"]["kind"] == t["kind"]], hits),
        "crash_or_not_right": _share(
            [t for t in hits if (t["found"]["kind"] == "crash") == (t["kind"] == "crash")], hits
        ),
        "start_error_s": _middle([abs(t["found"]["start_s"] - t["start_s"]) for t in hits]),
        "duration_error_s": _middle([abs(t["found"]["duration_s"] - (t["end_s"] - t["start_s"])) for t in uncensored]),
        **_capacity(hits),
        "free_hours": scores.free_hours,
        "false_alarms": scores.false_alarms,
        "false_alarms_per_h": scores.false_alarms / scores.free_hours if scores.free_hours else float("nan"),
        "detect_s_per_day": _middle(scores.seconds),
    }


def _capacity(hits: list[dict]) -> dict[str, float]:
    """How far the share of capacity left lies from what was counted, where a queue stood, and from what was asked."""
    exact = [t for t in hits if not t["found"]["capacity_left_is_lower_bound"] and np.isfinite(t["capacity_counted"])]
    exact = [truth for truth in exact if truth["lanes"]]
    errors = [abs(truth["found"]["capacity_left"] - truth["capacity_counted"]) for truth in exact]
    standard = [truth["found"]["capacity_left_se"] for truth in exact]
    bounds = [t for t in hits if t["found"]["capacity_left_is_lower_bound"] and np.isfinite(t["capacity_counted"])]
    return {
        "capacity_compared": len(exact),
        "capacity_error": _middle(errors),
        "capacity_error_worst": max(errors, default=float("nan")),
        "capacity_error_to_asked": _middle([abs(t["found"]["capacity_left"] - t["capacity_asked"]) for t in exact]),
        "capacity_se": _middle(standard),
        "capacity_coverage": _share(
            [error for error, one in zip(errors, standard, strict=True) if error <= WITHIN * one], errors
        ),
        "capacity_bounds_hold": _share(
            [
                t
                for t in bounds
                if t["found"]["capacity_left"] <= t["capacity_counted"] + WITHIN * t["found"]["capacity_left_se"]
            ],
            bounds,
        ),
    }


def shortfalls(total: dict) -> list[str]:
    """Targets that were missed, in words."""
    missed = []
    for name, target in TARGETS.items():
        value, at_least = total[name], name in ("precision", "recall")
        if not (value >= target if at_least else value <= target):
            missed.append(f"{name} is {value:.3g}, expected {'at least' if at_least else 'at most'} {target:g}")
    return missed


def incident_lines(scores: Scores) -> list[str]:
    """Every incident with what was found of it, and every false alarm."""
    lines = []
    for truth in scores.truths:
        row = truth["found"]
        if not truth["realised"]:
            lines.append(f"{truth['network']:14} day {truth['day']} {truth['edge']:24} not realised")
            continue
        seen = (
            f"start {row['start_s'] - truth['start_s']:+.0f} s, lanes {row['lanes']} {row['kind']} capacity "
            f"{row['capacity_left']:.2f}{' or more' if row['capacity_left_is_lower_bound'] else ''}"
            if row
            else "not found"
        )
        lines.append(
            f"{truth['network']:14} day {truth['day']} {truth['edge']:24} at {truth['position_m']:.0f} m "
            f"from {truth['start_s']:.0f} to {truth['end_s']:.0f} s lanes {truth['lanes']} {truth['kind']:11} "
            f"{'decisive' if truth['decisive'] else '':8} capacity asked {truth['capacity_asked']:.2f} "
            f"counted {truth['capacity_counted']:.2f} -> {seen}"
        )
    for row in scores.detections:
        if not row["true"]:
            lines.append(
                f"{row['network']:14} {row['edge']:24} at {row['position_m']:.0f} m from {row['start_s']:.0f} s for "
                f"{row['duration_s']:.0f} s capacity {row['capacity_left']:.2f} is a false alarm"
            )
    return lines
