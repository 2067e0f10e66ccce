"""Incidents told by single vehicles, released at a place or held before a closed road, put into one list with those
that flow and unused lanes told."""

from typing import TYPE_CHECKING, Any

from scenariogen.incidents.closed_roads import CLOSED, depends, without_dependents
from scenariogen.incidents.closures import find_closures
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.from_fields_lanes import track_lanes
from scenariogen.incidents.lane_gaps import LaneGap
from scenariogen.incidents.leftovers import is_aftermath, road_m, without_leftovers
from scenariogen.incidents.release_scan import release_places
from scenariogen.incidents.sparse_gaps import ALL_SEEN, same_queue_head, since_unused
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
"""The start by flow alone, no lane unused, is not believed where it is so much before that by single vehicles."""
MOST_SHARE = 0.7
"""Where all other vehicles were recorded, the few that block a road were not."""
QUEUE_M, AFTER_S = 600.0, 300.0
"""So far behind a closed road people are released, while it is closed or shortly after, by turning off its queue."""
MORE = 1.2
"""Past an incident no more than the usual vehicles drive; this leaves room for chance."""


def with_held(
    found: "pd.DataFrame",
    gaps: list[LaneGap],
    tracks: "Tracks",
    usual: "list[Tracks]",
    network: "RoadNetwork",
    settings: DetectSettings,
    *,
    share: float,
) -> "pd.DataFrame":
    """``found`` with the places of those that single vehicles tell better, and with those that they alone tell.

    ``gaps``  lanes that went unused: in the queue of another incident, they tell when a lane was blocked
    """
    import pandas as pd

    # What blocks the road was not seen in any case.
    closed = find_closures(tracks, usual, network, settings, share=min(share, MOST_SHARE))
    placed = release_places(tracks, usual, network, settings)
    told = [closure_row(one, tracks, network, settings, share=share) for one in closed]
    told = [row for row in without_dependents(told, network) if not row["is_queue"]]
    released = [release_row(one, tracks, network, settings, share=share) for one in placed]
    released = [since_unused(row, gaps, network) for row in released if row is not None]
    if released:
        table = pd.DataFrame(released, columns=[*found.columns, "more"])
        track_lanes(table, tracks, network)
        told += table.to_dict("records")
    told = [{**row, "days_compared": len(usual)} for row in told]
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
    left = [row for row in left if share >= ALL_SEEN or _is_told(row, rows, network)]
    rows = [row for row in rows if not any(_is_of_queue(row, other, network) for other in (*rows, *left))]
    rows = [{**row, BACKED: True} for row in rows] + left
    rows = without_leftovers(rows, network, {number for number, row in enumerate(rows) if row[BACKED]})
    return pd.DataFrame(rows, columns=[name for name in found.columns if name != BACKED])


def _is_of_queue(row: dict[str, Any], other: dict[str, Any], network: "RoadNetwork") -> bool:
    """A finding by single vehicles that the queue of another incident explains: short, at the time when that dissolved;
    a place of release behind a closed road; or one that more vehicles than usual pass, those who were held and come
    late."""
    if row is other:
        return False
    if is_aftermath(row, other, network):
        return True
    if "more" not in row:
        return False
    begin_s, end_s = other["start_s"], other["start_s"] + other["duration_s"]
    is_behind = other["capacity_left"] < CLOSED and begin_s <= row["start_s"] <= end_s + AFTER_S
    comes_late = row["more"] > MORE and row["start_s"] >= end_s - AFTER_S
    return comes_late or (is_behind and road_m(network, row, other, QUEUE_M) <= QUEUE_M)


def _is_told(row: dict[str, Any], closed: list[dict[str, Any]], network: "RoadNetwork") -> bool:
    """Where few vehicles are seen, a road that flow calls closed has to show lanes unused, ahead of other closed
    ones."""
    if row["capacity_left"] >= CLOSED:
        return True
    return row[BACKED] and not any(depends(row, other, network) for other in closed if other["capacity_left"] < CLOSED)


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
    """What flow measured, at the place that is known better; from the time on that vehicles tell, where that is earlier
    or much later."""
    best = max(same, key=lambda other: other["duration_s"])
    # Flow cannot place a closed road behind those who are held before it.
    if best["position_se_m"] > row["position_se_m"] or (row["capacity_left"] < CLOSED and "held" in row):
        # A lane that went unused tells the lanes better than who passes on which.
        keeps_lanes = best[BACKED] and best["edge"] == row["edge"]
        names = PLACE if keeps_lanes else (*PLACE, *LANES)
        best = {**best, **{name: row[name] for name in names}}
    is_later = row["start_s"] > best["start_s"] + LATE_S and not best[BACKED]
    if row["start_s"] < best["start_s"] or is_later:
        end_s = max(row["start_s"] + row["duration_s"], best["start_s"] + best["duration_s"])
        best = {**best, "start_s": row["start_s"], "duration_s": end_s - row["start_s"]}
    return best
