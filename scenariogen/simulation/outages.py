"""Detectors that are out of order: a bank in front of the real one, so that whoever reads sees what has failed."""

from collections.abc import Hashable, Iterable

from scenariogen.simulation.contract import DetectorBank


class FallibleDetectors(DetectorBank):
    """Passes on what a bank counts, except for lanes that are out.

    Without data a lane counts 0 and ``has_data`` is False; with its last value over and over nobody can tell. Where
    outages of one lane overlap, having no data is the stricter one; otherwise the value of the first holds.
    """

    def __init__(self, bank: DetectorBank) -> None:
        self._bank = bank
        self._out: dict[str, dict[Hashable, int | None]] = {}
        self.lanes, self.length_m, self.lag_s = bank.lanes, bank.length_m, bank.lag_s

    def count(self, lane: str) -> int:
        counted = self._bank.count(lane)  # also where it is out: a lane without a detector is an error either way
        outages = self._out.get(lane)
        if not outages:
            return counted
        values = list(outages.values())
        return 0 if None in values else values[0] or 0

    def has_data(self, lane: str) -> bool:
        return None not in self._out.get(lane, {}).values()

    def fail(self, owner: Hashable, lanes: Iterable[str], *, last_value: bool) -> list[str]:
        """Put lanes out of order on behalf of ``owner``; those of them that have a detector."""
        known = set(self.lanes)
        failed = [lane for lane in lanes if lane in known]
        for lane in failed:
            self._out.setdefault(lane, {})[owner] = self.count(lane) if last_value else None
        return failed

    def repair(self, owner: Hashable) -> None:
        """The end of :meth:`fail`. Safe to call twice."""
        for lane in list(self._out):
            self._out[lane].pop(owner, None)
            if not self._out[lane]:
                del self._out[lane]
