"""Lane detectors that tell policies nothing, or their last value over and over.

It reaches policies that read ``run.detectors``, the control room's bank. Who asks SUMO's detectors directly still sees
them work: SUMO has no broken ones.
"""

from scenariogen.injection.effects.contract import ActiveEffect
from scenariogen.scenarios.effects import DetectorOutage, OutageMode


class ActiveDetectorOutage(ActiveEffect):
    """Writes nothing into SUMO; the bank keeps who has put what out of order."""

    of = DetectorOutage
    asked: DetectorOutage

    def apply(self, now_s: float) -> str:
        bank = self.scene.detectors
        if bank is None:
            return "nobody reads detectors here: the injection was given none, Injection(..., detectors=bank)"
        lanes = self.asked.lanes or bank.watched
        self._failed = bank.fail(self.owner, lanes, last_value=self.asked.mode == OutageMode.LAST_VALUE)
        if not self._failed:
            return f"none of the {len(lanes)} lanes has a detector; {len(bank.watched)} lanes have one"
        without = [lane for lane in lanes if lane not in set(bank.watched)]
        if without:
            self.notes.append(f"{len(without)} lanes have no detector, the first: {without[0]}")
        return ""

    def undo(self, *, early: bool) -> None:
        if self.scene.detectors is not None:
            self.scene.detectors.repair(self.owner)
        super().undo(early=early)

    def counts(self) -> dict[str, int]:
        return {"detectors": len(self._failed)}
