"""A lower speed limit, with steps before it. SUMO's limits hold for whole lanes, and so do these."""

from scenariogen.injection.attributes import LANE_SPEED
from scenariogen.injection.effects.contract import ActiveEffect
from scenariogen.injection.effects.places import lanes_of
from scenariogen.scenarios.effects import SpeedLimit


class ActiveSpeedLimit(ActiveEffect):
    """Claims the speed of the lanes asked, and of those upstream within the distance of each warning."""

    of = SpeedLimit
    asked: SpeedLimit

    def apply(self, now_s: float) -> str:
        limits = dict.fromkeys(lanes_of(self.scene.network, self.asked.edges, self.asked.lanes), self.asked.limit_mps)
        for lane, limit_mps in (self._warned(set(limits)) | limits).items():
            self.scene.ledger.claim(self.owner, LANE_SPEED, lane, limit_mps)
        return ""

    def _warned(self, limited: set[str]) -> dict[str, float]:
        """Limit by lane of what lies upstream, internal lanes included; the lowest of the steps that reach a lane."""
        found: dict[str, float] = {}
        for distance_m, limit_mps in self.asked.warnings:
            for lane in limited:
                for before in self.scene.lanes.upstream(lane, 0.0, distance_m):
                    found[before] = min(limit_mps, found.get(before, limit_mps))
        return found
