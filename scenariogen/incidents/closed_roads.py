"""Closed roads, and those at which people only wait for another one to open."""

from typing import TYPE_CHECKING, Any

from scenariogen.incidents.leftovers import road_m

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork

CLOSED = 0.05
"""With less capacity left than this, no lane is open."""
WAIT_M = 350.0
"""Who waits so far behind a closed road when nearly all are seen waits for it."""
NEAR_M = 1_500.0
"""Who is held so far upstream of another place may wait for that."""
FREED_S, FREED_MPS = 120.0, 2.5
"""Then he drives on at most so long after the road there has opened, and the queue between ..."""
EARLIER_S = 30.0
"""... or so much before it: of two approaches, that of the other one may start first."""
SEVERAL = 3
"""Of so many held somebody drives on to where the queue ahead stood, if that is what held them."""
QUEUE_AHEAD_M = 200.0
"""Who stands so near behind a queue waits for it, wherever he goes: somebody before him does go there."""
LOCKED_M, LOCKED_S = 2_500.0, 600.0
"""A road so near that stays closed to the end, from so long after another one opened, is locked by queues of that."""


def without_dependents(rows: list[dict[str, Any]], network: "RoadNetwork") -> list[dict[str, Any]]:
    """Closed roads without those at which people only wait for another one to open: they open after it, and its queue
    stood on their way, shortly ahead, or across a junction where their own begins."""
    kept: list[dict[str, Any]] = []
    reached: list[set[str]] = []
    for row in sorted(rows, key=lambda row: (row["start_s"] + row["duration_s"], row["start_s"])):
        first = next(
            (
                number
                for number, other in enumerate(kept)
                if (depends(row, other, network) and _waits_for(row, reached[number], network))
                or _grew_from(row, other, reached[number], network)
            ),
            None,
        )
        if first is None:
            kept.append(row)
            reached.append({row["edge"], *row["queue"]})
        else:
            reached[first] |= row["queue"]
    return sorted(kept, key=lambda row: -row["held"])


def _waits_for(row: dict[str, Any], queue: set[str], network: "RoadNetwork") -> bool:
    """Some of those held drive on to where a queue stood, or it stood shortly ahead: of few held, that is not known."""
    if row["held"] < SEVERAL or row["ahead"] & queue:
        return True
    ends = ({"edge": name, "position_m": network.edges[name].length_m} for name in queue)
    return any(road_m(network, row, end, QUEUE_AHEAD_M) <= QUEUE_AHEAD_M for end in ends)


def _grew_from(row: dict[str, Any], other: dict[str, Any], queue: set[str], network: "RoadNetwork") -> bool:
    """The queue of a road closed before meets its own at a junction, and it opens soon after that one: a queue drives
    off in no more time than it grew in, and starts moving from the front to the back.

    A full junction holds up those who cross it as well, so it is not asked where they go.
    """
    here, there = _ends(row["queue"], network), _ends(queue - {other["edge"]}, network)
    # Beyond the place where it is closed, a road is empty.
    if not here & (there | {network.edges[other["edge"]].from_junction}):
        return False
    grew_s = row["start_s"] - other["start_s"]
    later_s = grew_s + row["duration_s"] - other["duration_s"]
    ahead_m = road_m(network, row, other, NEAR_M)
    starts_s = ahead_m / FREED_MPS if ahead_m <= NEAR_M else 0.0
    return grew_s > 0 and -EARLIER_S <= later_s <= FREED_S + grew_s + starts_s


def _ends(edges: set[str], network: "RoadNetwork") -> set[str]:
    """Junctions at both ends of some edges."""
    ends = (network.edges[name] for name in edges)
    return {junction for edge in ends for junction in (edge.from_junction, edge.to_junction)}


def depends(row: dict[str, Any], other: dict[str, Any], network: "RoadNetwork", *, near_m: float = NEAR_M) -> bool:
    """Whether a road so near behind another closed one opened as soon after it as its queue took to start."""
    end_s, other_end_s = (one["start_s"] + one["duration_s"] for one in (row, other))
    ahead_m = road_m(network, row, other, LOCKED_M)
    if row["duration_is_censored"] and other["start_s"] <= row["start_s"] <= other_end_s + LOCKED_S:
        return min(ahead_m, road_m(network, other, row, LOCKED_M)) <= LOCKED_M
    together_s = min(end_s, other_end_s) - max(row["start_s"], other["start_s"])
    frees = -EARLIER_S <= end_s - other_end_s <= FREED_S + ahead_m / FREED_MPS
    return ahead_m <= near_m and together_s > 0 and frees


def without_waiting(rows: list[dict[str, Any]], network: "RoadNetwork") -> list[dict[str, Any]]:
    """Rows without closed roads shortly behind another one of the day that opened after it."""
    closed = [row for row in rows if row["capacity_left"] < CLOSED]
    return [row for row in rows if not any(_waits_behind(row, other, network) for other in closed)]


def _waits_behind(row: dict[str, Any], other: dict[str, Any], network: "RoadNetwork") -> bool:
    if row["capacity_left"] >= CLOSED or row["day"] != other["day"]:
        return False
    opens_later = row["start_s"] + row["duration_s"] > other["start_s"] + other["duration_s"]
    return opens_later and depends(row, other, network, near_m=WAIT_M)
