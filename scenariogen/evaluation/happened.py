"""What became of the incidents and effects of a run, as plain content for its result."""

from typing import Any


def incident_as_json(each: Any) -> dict[str, Any]:
    """One incident as asked and as it happened."""
    asked = each.asked
    return {
        "number": each.number,
        "kind": str(asked.kind),
        "edge": asked.edge,
        "realised": each.realised,
        "reason": each.reason,
        "asked": {
            "start_s": asked.start_s,
            "end_s": asked.end_s,
            "lanes": list(asked.lanes),
            "position_m": asked.position_m,
        },
        "happened": {
            "start_s": each.start_s,
            "end_s": each.end_s,
            "lanes": list(each.lanes),
            "position_m": each.position_m,
        },
        "phases": {
            "detected_s": each.detected_s,
            "responded_s": each.responded_s,
            "reopened": [list(opened) for opened in each.reopened],
            "clear_s": each.end_s,
            "recovered_s": each.recovered_s,
        },
        "rerouted": each.rerouted,
        "rerouted_by": dict(each.rerouted_by),
        "returned": each.returned,
    }


def effect_as_json(each: Any) -> dict[str, Any]:
    """One effect besides incidents as asked and as it happened."""
    return {
        "number": each.number,
        "asked": each.asked.to_plain(),
        "realised": each.realised,
        "reason": each.reason,
        "start_s": each.start_s,
        "end_s": each.end_s,
        "counts": dict(each.counts),
    }
