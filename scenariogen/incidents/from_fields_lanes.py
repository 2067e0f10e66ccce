"""Blocked lanes of an incident that was found by its flow: from fields by lane, or from the vehicles that pass it."""

from typing import TYPE_CHECKING, Any

import numpy as np

from scenariogen.incidents.lane_shares import lane_chances, number_chances
from scenariogen.incidents.passing import passings
from scenariogen.incidents.records import IncidentKind

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.network import Edge, RoadNetwork
    from scenariogen.trajectories.tracks import Tracks

SETTLING_S = 60.0
"""Left out at the start and the end of an incident, whose times are not known to the second."""
LEAST_COUNTED = 5.0
"""Fewer vehicles than this say nothing about lanes."""
STEP_M = 15.0
REACH_M = 60.0
"""Vehicles are counted past the place that was found and at others so far from it, where it may lie as well."""
SURE = 0.8
"""A place at which lanes are so sure to be blocked is the better one."""


def field_lanes(found: "pd.DataFrame", fields: "pd.DataFrame", network: "RoadNetwork") -> None:
    """Names the lanes of each row of ``found``, in place, from a table that is by lane."""
    rows = []
    for row in found.to_dict("records"):
        edge = network.edges[row["edge"]]
        here = fields.loc[(fields["day"] == row["day"]) & (fields["edge"] == edge.id), :]
        times = np.asarray(here["cell_begin_s"], dtype=float)
        cell_s = float(np.diff(np.unique(fields["cell_begin_s"])).min()) if len(times) > 1 else 60.0
        inside = _during(times + cell_s / 2, row)
        vehicles = np.asarray(here["flow_veh_h"], dtype=float) * cell_s / 3600
        rows.append(_named(row, edge, _by_lane(edge, here["lane"], vehicles, inside)))
    _put(found, rows)


def track_lanes(found: "pd.DataFrame", tracks: "Tracks", network: "RoadNetwork") -> None:
    """Names the lanes of each row of ``found``, in place, from vehicles that pass; the place is set to where they
    tell most."""
    rows = []
    for row in found.to_dict("records"):
        edge = network.edges[row["edge"]]
        best = row
        for at_m in _places(row, edge) if len(edge.driving_lanes) > 1 else ():
            past = passings(tracks, network.edge_index[edge.id], at_m)
            lane = np.where(past.lane_after >= 0, past.lane_after, past.lane)
            inside = _during(past.time_s, row)
            tried = _named(row, edge, _by_lane(edge, lane, np.ones(len(lane)), inside))
            gain = _sure(tried) - _sure(best)
            if at_m == row["position_m"] or (gain > 0.05 and _sure(tried) > SURE):
                best = tried if at_m == row["position_m"] else {**tried, "position_m": at_m}
        rows.append(best)
    _put(found, rows)


def _places(row: dict[str, Any], edge: "Edge") -> list[float]:
    reach_m = min(REACH_M, max(STEP_M, row["position_se_m"]))
    offsets = np.arange(-reach_m, reach_m + 1e-6, STEP_M)
    offsets = offsets[np.argsort(np.abs(offsets), kind="stable")]
    inside = [float(at) for at in row["position_m"] + offsets if 1.0 <= at <= edge.length_m - 1.0]
    return [row["position_m"], *(at for at in inside if at != row["position_m"])]


def _sure(row: dict[str, Any]) -> float:
    """Probability that some, but not all lanes are blocked: what a split between lanes can tell."""
    return float(row.get("lanes_chance", 0.0)) if row["lanes"] else 0.0


def _during(times_s: np.ndarray, row: dict[str, Any]) -> np.ndarray:
    begin_s, end_s = row["start_s"], row["start_s"] + row["duration_s"]
    margin_s = min(SETTLING_S, (end_s - begin_s) / 4)
    inside = (times_s > begin_s + margin_s) & (times_s < end_s - margin_s)
    outside = (times_s < begin_s - margin_s) | (times_s > end_s + margin_s)
    return np.where(inside, 1, np.where(outside, -1, 0))


def _by_lane(edge: "Edge", lane: Any, vehicles: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vehicles on each driving lane during the incident, and at other times of that day."""
    number = np.asarray(lane, dtype=int)
    seen = [float(vehicles[(number == index) & (inside == 1)].sum()) for index in edge.driving_lanes]
    usual = [float(vehicles[(number == index) & (inside == -1)].sum()) for index in edge.driving_lanes]
    return np.array(seen), np.array(usual)


def _named(row: dict[str, Any], edge: "Edge", counted: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
    seen, usual = counted
    if len(edge.driving_lanes) == 1 or seen.sum() < LEAST_COUNTED or usual.sum() < LEAST_COUNTED:
        return row
    chances = lane_chances(edge, usual, seen, row["lanes_blocked"])
    lanes = max(chances, key=lambda each: chances[each])
    return {
        **row,
        "lanes": list(lanes),
        "lanes_blocked": number_chances(chances),
        "lanes_chance": chances[lanes],
        "kind": str(IncidentKind.CRASH if len(lanes) >= 2 else IncidentKind.BREAKDOWN),
    }


def _put(found: "pd.DataFrame", rows: list[dict[str, Any]]) -> None:
    found["position_m"] = np.array([row["position_m"] for row in rows], dtype=float)
    for name in ("kind", "lanes", "lanes_blocked"):
        values = np.empty(len(rows), dtype=object)
        values[:] = [row[name] for row in rows]
        found[name] = values
