"""Lanes before and behind a point of the road, with distances that run across junctions."""

from functools import cached_property

from scenariogen.injection.connection import Link, Point
from scenariogen.network import Edge, RoadNetwork


class LaneMap:
    """Lane geometry asked of the running simulation once and kept, since internal lanes are not in the network."""

    def __init__(self, link: Link, network: RoadNetwork) -> None:
        self._link = link
        self._network = network
        self._lengths: dict[str, float] = {}
        self._links: dict[str, tuple[tuple[str, str, float], ...]] = {}

    @cached_property
    def _incoming(self) -> dict[str, list[str]]:
        incoming: dict[str, list[str]] = {}
        for lane, targets in self._network.lane_links.items():
            for target in targets:
                incoming.setdefault(target, []).append(lane)
        return incoming

    def length_m(self, lane: str) -> float:
        if lane not in self._lengths:
            self._lengths[lane] = float(self._link.lane.getLength(lane))
        return self._lengths[lane]

    def point(self, edge: str, lane: int, position_m: float) -> Point:
        """Network coordinates of a position on a lane."""
        x, y = self._link.simulation.convert2D(edge, position_m, lane)[:2]
        return float(x), float(y)

    def leads_to(self, lane: str) -> tuple[tuple[str, str, float], ...]:
        """(next lane, internal lane between or empty, its length) for each connection of a lane."""
        if lane not in self._links:
            links = self._link.lane.getLinks(lane)
            self._links[lane] = tuple((link[0], link[4], float(link[7]) if link[4] else 0.0) for link in links)
        return self._links[lane]

    def upstream(self, lane: str, start_m: float, reach_m: float) -> dict[str, float]:
        """Lanes that lead into ``lane``, each with the distance from its start to the point.

        ``start_m`` is the distance from the start of ``lane`` to the point; a vehicle x metres along a lane of the
        answer is ``answer[lane] - x`` metres before the point. Lanes that begin beyond ``reach_m`` are the last ones.
        """
        found: dict[str, float] = {}
        front = [(lane, start_m)]
        while front:
            here, start = front.pop()
            if start >= reach_m:
                continue
            for before in self._incoming.get(here, ()):
                for target, internal, length in self.leads_to(before):
                    if target != here:
                        continue
                    if internal:
                        found[internal] = min(found.get(internal, float("inf")), start + length)
                    whole = start + length + self.length_m(before)
                    if whole < found.get(before, float("inf")):
                        found[before] = whole
                        front.append((before, whole))
        found.pop(lane, None)
        return found

    def downstream(self, lane: str, start_m: float, reach_m: float) -> dict[str, float]:
        """Lanes that ``lane`` leads to, in the same form: their vehicles are at negative distances."""
        found: dict[str, float] = {}
        front = [(lane, start_m - self.length_m(lane))]
        while front:
            here, end = front.pop()
            if -end >= reach_m:
                continue
            for after, internal, length in self.leads_to(here):
                if internal:  # round a roundabout it comes again, farther away
                    found[internal] = max(found.get(internal, float("-inf")), end)
                if after and end - length > found.get(after, float("-inf")):
                    found[after] = end - length
                    front.append((after, end - length - self.length_m(after)))
        found.pop(lane, None)
        return found

    def around(self, edge: Edge, at_m: float, *, upstream_m: float, downstream_m: float) -> dict[str, float]:
        """The lanes for cars of an edge and what lies before and behind a point of it, in the form of ``upstream``."""
        own = [lane.id for lane in edge.lanes if lane.drives]
        found: dict[str, float] = {}
        for lane in own:
            found |= self.upstream(lane, at_m, upstream_m)
        for lane in own:
            found |= self.downstream(lane, at_m, downstream_m)
        return found | dict.fromkeys(own, at_m)  # last: round a roundabout the edge comes again, farther away
