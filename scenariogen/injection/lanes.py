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
        self._links: dict[str, tuple[tuple[str, tuple[tuple[str, float], ...]], ...]] = {}

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

    def leads_to(self, lane: str) -> tuple[tuple[str, tuple[tuple[str, float], ...]], ...]:
        """For each connection of a lane the next lane, and the internal lanes on the way there with their lengths.

        There are two where vehicles wait in the middle of the junction, as on most turns against oncoming traffic.
        """
        if lane not in self._links:
            self._links[lane] = tuple((link[0], self._inside(link[4])) for link in self._link.lane.getLinks(lane))
        return self._links[lane]

    def _inside(self, lane: str) -> tuple[tuple[str, float], ...]:
        found: dict[str, float] = {}
        while lane and lane not in found:
            found[lane] = self.length_m(lane)
            lane = next((link[4] for link in self._link.lane.getLinks(lane)), "")
        return tuple(found.items())

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
                for target, inside in self.leads_to(before):
                    if target != here:
                        continue
                    begin = start
                    for internal, length in reversed(inside):
                        begin += length
                        found[internal] = min(found.get(internal, float("inf")), begin)
                    whole = begin + self.length_m(before)
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
            for after, inside in self.leads_to(here):
                start = end
                for internal, length in inside:  # round a roundabout it comes again, farther away
                    found[internal] = max(found.get(internal, float("-inf")), start)
                    start -= length
                if after and start > found.get(after, float("-inf")):
                    found[after] = start
                    front.append((after, start - self.length_m(after)))
        found.pop(lane, None)
        return found

    def around(self, edge: Edge, at_m: float, *, upstream_m: float, downstream_m: float) -> dict[str, float]:
        """The lanes for cars of an edge and what lies before and behind a point of it, in the form of ``upstream``."""
        own = [lane.id for lane in edge.lanes if lane.drives]
        found: dict[str, float] = {}
        for lane in own:
            for before, start_m in self.upstream(lane, at_m, upstream_m).items():
                found[before] = min(found.get(before, float("inf")), start_m)
        for lane in own:
            for after, start_m in self.downstream(lane, at_m, downstream_m).items():
                # round a roundabout it lies on both sides: the nearer one counts
                if after not in found or -start_m < found[after] - self.length_m(after):
                    found[after] = start_m
        return found | dict.fromkeys(own, at_m)  # and the edge itself comes again, farther away
