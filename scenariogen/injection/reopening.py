"""Lanes that reopen one by one while an incident is cleared: in which order, when, and what is left meanwhile.

Times are even over the clearance phase, our assumption: with n lanes blocked the i-th opens after i / n of it, the last
one at its end.

Lanes open from the side that keeps those still blocked together and, where it can be, at an edge of the carriageway:
vehicles are moved to the side and not into the middle of moving traffic, which would pass them on both sides. Where
either side would do (all lanes blocked, or lanes open on both sides) those next to the kerb stay blocked longest, since
that is where vehicles are moved to.

While fewer lanes are blocked, as much capacity is left as is usual for that number of lanes (the published share within
what can be brought about, see :func:`scenariogen.scenarios.byhand.usual_capacity_left`), and never less than before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from scenariogen.incidents.records import Incident
from scenariogen.network import Edge
from scenariogen.scenarios.byhand import usual_capacity_left


@dataclass(frozen=True, kw_only=True)
class Reopening:
    """One lane opens.

    ``at_s``   simulation second
    ``after``  the incident from then on: the lanes still blocked, and the capacity left
    """

    at_s: float
    lane: int
    after: Incident


def opening_order(blocked: Sequence[int], driving: Sequence[int]) -> tuple[int, ...]:
    """Blocked lanes in the order in which they open; lanes are counted from the kerb, on either side of the road.

    >>> opening_order((0, 1), (0, 1, 2)), opening_order((1, 2), (0, 1, 2)), opening_order((0, 1, 2), (0, 1, 2))
    ((1, 0), (1, 2), (2, 1, 0))
    """
    lanes = sorted(blocked)
    only_at_far_edge = max(driving) in lanes and min(driving) not in lanes
    return tuple(lanes) if only_at_far_edge else tuple(reversed(lanes))


def reopenings(incident: Incident, edge: Edge) -> tuple[Reopening, ...]:
    """Each lane that opens before the end of the incident, in time; none where fewer than two lanes are blocked.

    The last lane is not among them: it opens when the incident ends.
    """
    order = opening_order(incident.lanes, edge.driving_lanes) if len(incident.lanes) > 1 else ()
    cleared_from_s = incident.end_s - incident.clearance_s
    found: list[Reopening] = []
    rest, share = incident.lanes, incident.capacity_left
    for count, lane in enumerate(order[:-1], start=1):
        rest = tuple(each for each in rest if each != lane)
        share = max(share, usual_capacity_left(edge, rest))
        after = replace(incident, lanes=rest, capacity_left=share)
        at_s = cleared_from_s + incident.clearance_s * count / len(order)
        found.append(Reopening(at_s=at_s, lane=lane, after=after))
    return tuple(found)
