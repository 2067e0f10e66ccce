"""Drivers who slow down beside something that lies on the opposite carriageway.

The same stretch of reduced speed as past an incident, with the speed that the capacity table has for no blocked lane;
nothing stands on the road. Stretches of incidents and of this effect may overlap: the slower one holds.
"""

from scenariogen.injection.effects.contract import ActiveEffect
from scenariogen.injection.passing_speed import limit_mps, looked_at
from scenariogen.injection.stretch import SpeedProfile
from scenariogen.scenarios.effects import Rubbernecking

WORTH_SLOWING_MPS = 0.05
"""A speed this close to the limit slows nobody."""


class ActiveRubbernecking(ActiveEffect):
    """Holds a stretch; vehicles get their speed factors back as they leave it, or at its end."""

    of = Rubbernecking
    asked: Rubbernecking

    def apply(self, now_s: float) -> str:
        scene, asked = self.scene, self.asked
        edge = scene.network.edges[asked.edge]
        speed, limit = scene.passing_speed_mps(looked_at(asked), edge), limit_mps(edge)
        if speed >= limit - WORTH_SLOWING_MPS:
            self.notes.append("that share is left without anybody slowing down")
            return ""
        profile = SpeedProfile(speed_mps=speed)
        scene.stretches.add(
            self.owner,
            anchor=f"{self.owner}.stretch",
            at=scene.lanes.point(edge.id, edge.driving_lanes[0], asked.position_m),
            lanes=scene.lanes.around(
                edge, asked.position_m, upstream_m=profile.reach_m(limit), downstream_m=profile.core_m[1]
            ),
            profile=profile,
            limit_mps=limit,
        )
        return ""

    def undo(self, *, early: bool) -> None:
        self.scene.stretches.remove(self.owner)
        super().undo(early=early)
