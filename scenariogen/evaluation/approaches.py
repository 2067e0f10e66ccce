"""Detectors that reach far enough: an approach whose last lane is a stub is watched on the lanes before it too.

Networks drawn from maps often cut the last metres before a signal into a lane of their own, too short to hold a
vehicle. Its detector would stay empty for ever while a queue stands right behind it.
"""

from collections.abc import Mapping

from scenariogen.network import RoadNetwork
from scenariogen.simulation.contract import DetectorBank, LoopReading

REACH_M = 60.0
"""The lanes before an approach are added until it is at least this long."""


def detector_lanes(network: RoadNetwork, approaches: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Every lane that needs a detector so that those approaches of signals, and their exits, are watched."""
    exits = [after for lane in approaches for after in network.lane_links.get(lane, ())]
    known = {lane.id for edge in network.edges.values() for lane in edge.lanes}
    wanted = [lane for reach in approaches.values() for lane in reach]
    return tuple(lane for lane in dict.fromkeys([*approaches, *wanted, *exits]) if lane in known)


def approach_lanes(network: RoadNetwork) -> dict[str, tuple[str, ...]]:
    """For each lane that leads to a signal: the lane itself and those before it, up to :data:`REACH_M`.

    Lanes that lead to a signal of their own are not added: their vehicles wait for that one.
    """
    length_m = {lane.id: lane.length_m for edge in network.edges.values() for lane in edge.lanes}
    controlled = {lane for lanes in network.signals.values() for lane in lanes if lane in length_m}
    before: dict[str, list[str]] = {}
    for lane, links in network.lane_links.items():
        for after in links:
            before.setdefault(after, []).append(lane)
    found = {}
    for lane in sorted(controlled):
        reach, front = {lane: 0.0}, [(lane, length_m[lane])]
        while front:
            here, metres = front.pop()
            for other in before.get(here, ()) if metres < REACH_M else ():
                if other in length_m and other not in controlled and other not in reach:
                    reach[other] = metres
                    front.append((other, metres + length_m[other]))
        found[lane] = tuple(reach)
    return found


class ApproachDetectors(DetectorBank):
    """Counts of whole approaches: a lane's own detector plus those of the lanes just before a short one.

    Each of them covers the last metres of its own lane, so a short approach is seen at least as far as others.
    """

    def __init__(self, bank: DetectorBank, approaches: Mapping[str, tuple[str, ...]]) -> None:
        self._bank = bank
        self._reach = {lane: reach for lane, reach in approaches.items() if len(reach) > 1}
        self.lanes, self.length_m, self.lag_s = bank.lanes, bank.length_m, bank.lag_s
        self.loops, self.interval_s = bank.loops, bank.interval_s

    def count(self, lane: str) -> int:
        reach = self._reach.get(lane)
        return self._bank.count(lane) if reach is None else sum(map(self._bank.count, reach))

    def reading(self, lane: str) -> LoopReading:
        return self._bank.reading(lane)

    def has_data(self, lane: str) -> bool:
        return all(map(self._bank.has_data, self._reach.get(lane, (lane,))))
