"""Detectors that are out of order: a bank in front of the real one, so that whoever reads sees what has failed."""

from collections.abc import Hashable, Iterable

from scenariogen.simulation.contract import DetectorBank, LoopReading


class FallibleDetectors(DetectorBank):
    """Passes on what a bank counts, except for lanes that are out.

    Without data a lane counts 0, its loop reads nan and ``has_data`` is False; with its last value over and over nobody
    can tell. Where outages of one lane overlap, having no data is the stricter one; otherwise the value of the first
    holds. ``stations`` are lanes with loops of measuring stations, which fail with the lane and are read elsewhere.
    """

    def __init__(self, bank: DetectorBank, *, stations: Iterable[str] = ()) -> None:
        self._bank, self._stations = bank, tuple(stations)
        self._out: dict[str, dict[Hashable, tuple[int, LoopReading] | None]] = {}
        self.lanes, self.length_m, self.lag_s = bank.lanes, bank.length_m, bank.lag_s
        self.loops, self.interval_s = bank.loops, bank.interval_s

    @property
    def watched(self) -> tuple[str, ...]:
        """Lanes that have a detector of any kind."""
        return tuple(dict.fromkeys([*self.lanes, *self.loops, *self._stations]))

    def count(self, lane: str) -> int:
        counted = self._bank.count(lane)  # also where it is out: a lane without a detector is an error either way
        outages = self._out.get(lane)
        if not outages:
            return counted
        held = self._held(outages)
        return 0 if held is None else held[0]

    def reading(self, lane: str) -> LoopReading:
        read = self._bank.reading(lane)
        outages = self._out.get(lane)
        if not outages:
            return read
        held = self._held(outages)
        return LoopReading() if held is None else held[1]

    def _held(self, outages: dict[Hashable, tuple[int, LoopReading] | None]) -> tuple[int, LoopReading] | None:
        """What a lane that is out goes on to say: count and loop reading; None where it gives no data."""
        values = list(outages.values())
        return None if None in values else values[0]

    def _now(self, lane: str) -> tuple[int, LoopReading]:
        count = self.count(lane) if lane in self.lanes else 0
        return count, self.reading(lane) if lane in self.loops else LoopReading()

    def has_data(self, lane: str) -> bool:
        return None not in self._out.get(lane, {}).values()

    def repeats(self, lane: str) -> bool:
        """Whether a lane's detectors say their last value over and over; for the stations, which keep that value."""
        return lane in self._out and self.has_data(lane)

    def fail(self, owner: Hashable, lanes: Iterable[str], *, last_value: bool) -> list[str]:
        """Put lanes out of order on behalf of ``owner``; those of them that have a detector."""
        known = set(self.watched)
        failed = [lane for lane in lanes if lane in known]
        for lane in failed:
            self._out.setdefault(lane, {})[owner] = self._now(lane) if last_value else None
        return failed

    def repair(self, owner: Hashable) -> None:
        """The end of :meth:`fail`. Safe to call twice."""
        for lane in list(self._out):
            self._out[lane].pop(owner, None)
            if not self._out[lane]:
                del self._out[lane]
