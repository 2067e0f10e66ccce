"""Queues that an incident leaves behind, or that stand behind it, are not incidents of their own."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork

BEHIND_M, AHEAD_M = 1_500.0, 500.0
"""A weaker finding so far upstream or downstream of another one at the same time is of the same queue."""
DISSOLVING_M = 2_500.0
BEFORE_END_S, AFTER_END_S = 300.0, 600.0
SHORT_S = 600.0
"""When the road is clear again the head of its queue moves upstream: findings about that time that are short, or last
no longer than the incident, are that; at half the capacity, a queue dissolves in the time in which it built up."""


def without_leftovers(
    rows: list[dict[str, Any]], network: "RoadNetwork", backed: set[int] | None = None
) -> list[dict[str, Any]]:
    """Rows of one day, strongest kept. ``backed``: numbers of those that something else than a queue tells."""
    order = sorted(range(len(rows)), key=lambda number: (number not in (backed or ()), -rows[number]["duration_s"]))
    kept: list[int] = []
    for number in order:
        is_backed = number in (backed or ())
        if is_backed or not any(_is_left_by(rows[number], rows[other], network) for other in kept):
            kept.append(number)
    return [rows[number] for number in sorted(kept)]


def _is_left_by(row: dict[str, Any], other: dict[str, Any], network: "RoadNetwork") -> bool:
    begin_s, end_s = row["start_s"], row["start_s"] + row["duration_s"]
    other_end_s = other["start_s"] + other["duration_s"]
    together_s = min(end_s, other_end_s) - max(begin_s, other["start_s"])
    if together_s >= 0.5 * row["duration_s"]:
        return (
            road_m(network, row, other, BEHIND_M) <= BEHIND_M or road_m(network, other, row, AHEAD_M) <= AHEAD_M
        ) and begin_s >= other["start_s"]
    return is_aftermath(row, other, network)


def is_aftermath(row: dict[str, Any], other: dict[str, Any], network: "RoadNetwork") -> bool:
    """A finding upstream of another from when that one ended, for as long as its queue may take to dissolve."""
    other_end_s = other["start_s"] + other["duration_s"]
    if (
        row["duration_s"] > max(SHORT_S, other["duration_s"])
        or not other_end_s - BEFORE_END_S <= row["start_s"] <= other_end_s + AFTER_END_S
    ):
        return False
    return road_m(network, row, other, DISSOLVING_M) <= DISSOLVING_M


def road_m(network: "RoadNetwork", behind: dict[str, Any], ahead: dict[str, Any], reach_m: float) -> float:
    """Metres from one place on to another in the direction of travel; infinite beyond ``reach_m``."""
    if behind["edge"] == ahead["edge"] and ahead["position_m"] >= behind["position_m"]:
        return ahead["position_m"] - behind["position_m"]
    front = {behind["edge"]: network.edges[behind["edge"]].length_m - behind["position_m"]}
    seen = dict(front)
    while front:
        edge = min(front, key=lambda name: front[name])
        gone_m = front.pop(edge)
        if gone_m > reach_m:
            break
        for name in network.edges[edge].successors:
            if name not in network.edges:
                continue
            if name == ahead["edge"]:
                return gone_m + ahead["position_m"]
            further_m = gone_m + network.edges[name].length_m
            if further_m < seen.get(name, float("inf")):
                seen[name] = front[name] = further_m
    return float("inf")
