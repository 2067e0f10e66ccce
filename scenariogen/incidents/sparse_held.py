"""Incidents told by single vehicles, released at a place or held before a closed road, put into one list with those
that flow and unused lanes told."""

from typing import TYPE_CHECKING, Any

from scenariogen.incidents.closures import find_closures
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.from_fields_lanes import track_lanes
from scenariogen.incidents.leftovers import is_aftermath, road_m, without_leftovers
from scenariogen.incidents.release_scan import release_places
from scenariogen.incidents.sparse_gaps import ALL_SEEN, same_queue_head
from scenariogen.incidents.sparse_join import BACKED
from scenariogen.incidents.sparse_places import gap_along_m
from scenariogen.incidents.sparse_releases import closure_row, release_row

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.network import RoadNetwork
    from scenariogen.trajectories.tracks import Tracks

SAME_START_S = 400.0
SAME_M = 120.0
PLACE, LANES = ("edge", "position_m", "position_se_m"), ("lanes", "kind", "lanes_blocked")
LATE_S = 300.0
"""The start by flow is not believed where it differs so much from that by single vehicles."""
CLOSED = 0.05
"""Where flow leaves less than this and few vehicles are seen, those held before the road have to be among them."""


def with_held(
    found: "pd.DataFrame",
    tracks: "Tracks",
    usual: "list[Tracks]",
    network: "RoadNetwork",
    settings: DetectSettings,
    *,
    share: float,
) -> "pd.DataFrame":
    """``found`` with the places of those that single vehicles tell better, and with those that they alone tell."""
    import pandas as pd

    days_compared = len(usual)
    # Where nearly all vehicles were seen, the first driver before a closed road is told by other means.
    closed = find_closures(tracks, usual, network, settings, share=share) if share < ALL_SEEN else []
    placed = release_places(tracks, usual, network, settings)
    told = [closure_row(one, tracks, network, settings, share=share) for one in closed]
    told = without_dependents(told, network)
    released = [release_row(one, tracks, network, settings, share=share) for one in placed]
    released = [row for row in released if row is not None]
    table = pd.DataFrame(released, columns=[*found.columns]) if released else found.iloc[:0]
    if released:
        table = table.assign(days_compared=days_compared)
        track_lanes(table, tracks, network)
    told = [{**row, "days_compared": days_compared} for row in told] + table.to_dict("records")
    rows: list[dict[str, Any]] = []
    left = found.to_dict("records")
    for row in told:
        again = [other for other in rows if _is_one(row, other, network)]
        if again:
            _extend(again[0], row)
            continue
        same = [other for other in left if _is_same(row, other, network)]
        left = [other for other in left if not any(other is one for one in same)]
        rows.append(_as_one(row, same) if same else row)
    rows = _without_aftermath(rows, network)
    rows = [{**row, BACKED: True} for row in rows]
    left = [row for row in left if share >= ALL_SEEN or row[BACKED] or row["capacity_left"] >= CLOSED]
    rows += left
    rows = without_leftovers(rows, network, {number for number, row in enumerate(rows) if row[BACKED]})
    return pd.DataFrame(rows, columns=[name for name in found.columns if name != BACKED])


def _without_aftermath(rows: list[dict[str, Any]], network: "RoadNetwork") -> list[dict[str, Any]]:
    """Without short findings at the time when the queue of another incident dissolved."""
    return [row for row in rows if not any(other is not row and is_aftermath(row, other, network) for other in rows)]


def _is_one(row: dict[str, Any], other: dict[str, Any], network: "RoadNetwork") -> bool:
    """The same place, from about the same time on."""
    close = abs(row["start_s"] - other["start_s"]) <= SAME_START_S
    return close and gap_along_m(network, row["edge"], row["position_m"], other["edge"], other["position_m"]) <= SAME_M


def _extend(row: dict[str, Any], other: dict[str, Any]) -> None:
    """Takes in the time of another finding of the same incident: people squeezed past before the road was closed."""
    end_s = max(one["start_s"] + one["duration_s"] for one in (row, other))
    row["start_s"] = min(row["start_s"], other["start_s"])
    row["duration_s"] = end_s - row["start_s"]


def _is_same(row: dict[str, Any], other: dict[str, Any], network: "RoadNetwork") -> bool:
    if same_queue_head(row, other, network):
        return True
    if abs(row["start_s"] - other["start_s"]) > SAME_START_S:
        return False
    return gap_along_m(network, row["edge"], row["position_m"], other["edge"], other["position_m"]) <= SAME_M


def _as_one(row: dict[str, Any], same: list[dict[str, Any]]) -> dict[str, Any]:
    """What flow measured, at the place that is known better; where the flow was less long before or only long after,
    from the time on that vehicles tell."""
    best = max(same, key=lambda other: other["duration_s"])
    if best["position_se_m"] > row["position_se_m"]:
        # A lane that went unused tells the lanes better than who passes on which.
        keeps_lanes = best[BACKED] and best["edge"] == row["edge"]
        names = PLACE if keeps_lanes else (*PLACE, *LANES)
        best = {**best, **{name: row[name] for name in names}}
    if abs(best["start_s"] - row["start_s"]) > LATE_S:
        end_s = max(row["start_s"] + row["duration_s"], best["start_s"] + best["duration_s"])
        best = {**best, "start_s": row["start_s"], "duration_s": end_s - row["start_s"]}
    return best


NEAR_M = 1_500.0
"""Who is held so far upstream of another place may wait for that."""
FREED_S, FREED_MPS = 120.0, 2.5
"""Then he drives on at most so long after the road there has opened, and the queue between ..."""
EARLIER_S = 30.0
LOCKED_M, LOCKED_S = 2_500.0, 600.0
"""A road so near that stays closed to the end, from so long after another one opened, is locked by queues of that."""


def without_dependents(rows: list[dict[str, Any]], network: "RoadNetwork") -> list[dict[str, Any]]:
    """Closed roads without those at which people only wait for another one to open: they open after it."""
    kept: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: (row["start_s"] + row["duration_s"], row["start_s"])):
        if not any(_depends(row, other, network) for other in kept):
            kept.append(row)
    return sorted(kept, key=lambda row: -row["held"])


def _depends(row: dict[str, Any], other: dict[str, Any], network: "RoadNetwork") -> bool:
    end_s, other_end_s = (one["start_s"] + one["duration_s"] for one in (row, other))
    ahead_m = road_m(network, row, other, LOCKED_M)
    if row["duration_is_censored"] and other["start_s"] <= row["start_s"] <= other_end_s + LOCKED_S:
        return min(ahead_m, road_m(network, other, row, LOCKED_M)) <= LOCKED_M
    together_s = min(end_s, other_end_s) - max(row["start_s"], other["start_s"])
    frees = -EARLIER_S <= end_s - other_end_s <= FREED_S + ahead_m / FREED_MPS
    return ahead_m <= NEAR_M and together_s > 0 and frees
