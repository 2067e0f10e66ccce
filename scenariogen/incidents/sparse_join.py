"""Incidents that flow told and those that unused lanes told, as one list in which each stands once."""

from typing import TYPE_CHECKING, Any

from scenariogen.incidents.closed_roads import CLOSED
from scenariogen.incidents.leftovers import without_leftovers
from scenariogen.incidents.sparse_gaps import ALL_SEEN, ALONE, same_queue_head
from scenariogen.incidents.sparse_places import gap_along_m

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.network import RoadNetwork

PLACE_SE_M = 12.0
"""Lanes are told apart every 20 m, and drivers leave a blocked lane a little before the place."""
LATE_S, LATE_CLOSED_S = 900.0, 300.0
"""So much later than the flow's, the start of an unused lane is not believed; less of a closed road, whose lanes lie
unused only when the last have left them."""
SAME_START_S = 400.0
SAME_M = 150.0
BACKED = "backed"
"""Column that tells whether something else than a queue tells an incident."""


def joined(
    found: "pd.DataFrame", gaps: list[dict[str, Any]], network: "RoadNetwork", *, share: float
) -> "pd.DataFrame":
    """``found`` by flow, with lanes, place and start of the unused lanes at the same place, and those that flow alone
    did not tell; with the column :data:`BACKED`. Where nearly all vehicles were seen, an incident on several lanes with
    none of them unused is none.
    """
    import pandas as pd

    rows: list[dict[str, Any]] = []
    backed: set[int] = set()
    left = list(gaps)
    days_compared = max((int(number) for number in found["days_compared"].to_numpy()), default=0)
    for row in sorted(found.to_dict("records"), key=lambda row: -row["duration_s"]):
        same = [gap for gap in left if _is_same(row, gap, network)]
        if same:
            best = max(same, key=lambda gap: gap["expected"])
            left = [gap for gap in left if gap is not best]
            backed.add(len(rows))
            rows.append(_as_one(row, best))
        elif share < ALL_SEEN or len(network.edges[row["edge"]].driving_lanes) == 1 or row["capacity_left"] < CLOSED:
            rows.append(row)
    for gap in left:
        if share >= ALL_SEEN or (gap["expected"] >= ALONE and gap["capacity_left"] > CLOSED):
            extra = {
                "position_se_m": PLACE_SE_M,
                "lanes_blocked": {len(gap["lanes"]): 1.0},
                "phases": [],
                "days_compared": days_compared,
            }
            backed.add(len(rows))
            rows.append({**gap, **extra})
    rows = [{**row, BACKED: number in backed} for number, row in enumerate(rows)]
    rows = without_leftovers(rows, network, backed)
    kept: list[dict[str, Any]] = []
    for row in rows:
        if not any(same_queue_head(row, other, network) for other in kept):
            kept.append(row)
    return pd.DataFrame(kept, columns=[*found.columns, BACKED])


def _is_same(row: dict[str, Any], gap: dict[str, Any], network: "RoadNetwork") -> bool:
    if same_queue_head(row, gap, network):
        return True
    if abs(row["start_s"] - gap["start_s"]) > SAME_START_S:
        return False
    return gap_along_m(network, row["edge"], row["position_m"], gap["edge"], gap["position_m"]) <= SAME_M


def _as_one(row: dict[str, Any], gap: dict[str, Any]) -> dict[str, Any]:
    """Capacity and end from the flow; lanes, place and start from the lane that went unused."""
    end_s = row["start_s"] + row["duration_s"]
    names = ("edge", "position_m", "kind", "lanes")
    late_s = LATE_CLOSED_S if row["capacity_left"] < CLOSED else LATE_S
    start_s = gap["start_s"] if gap["start_s"] - row["start_s"] < late_s else row["start_s"]
    return {
        **row,
        **{name: gap[name] for name in names},
        "start_s": start_s,
        "duration_s": max(end_s, gap["start_s"] + gap["duration_s"]) - start_s,
        "confidence": max(row["confidence"], gap["confidence"]),
        "position_se_m": PLACE_SE_M,
        "lanes_blocked": {len(gap["lanes"]): 1.0},
    }
