"""The control room as one policy is handed it: the parts that it declared, with the detectors that it needs."""

from collections.abc import Collection, Mapping
from typing import Any

from scenariogen.errors import PolicyError
from scenariogen.evaluation.approaches import ApproachDetectors
from scenariogen.network import RoadClass, RoadNetwork
from scenariogen.simulation.contract import PARTS, ControlRoom, Loop, LoopSite, Policy
from scenariogen.simulation.onramps import on_ramps


def problems_of_declaration(policy: Policy) -> list[str]:
    """What is wrong with what a policy declares, one line each."""
    reads = policy.reads
    if isinstance(reads, str) or not isinstance(reads, Collection):
        return [f"reads is {reads!r}, expected a tuple of {', '.join(PARTS)}"]
    strangers = [part for part in reads if part not in PARTS]
    found = [f"reads names {strangers}, expected parts out of {', '.join(PARTS)}"] if strangers else []
    wants_detectors = policy.needs_detectors or policy.needs_loops or type(policy).loops is not Policy.loops
    if wants_detectors and "detectors" not in reads:
        found.append('it asks for detectors, and reads does not name "detectors"')
    return found


class PolicyRoom(ControlRoom):
    """Passes on the declared parts of a control room; any other one is a ``PolicyError`` that says what to declare.

    ``approaches``  lanes that lead to a signal and those just before them, whose counts are added up
    """

    def __init__(
        self, room: ControlRoom, reads: Collection[str], approaches: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        self._room, self._reads = room, frozenset(reads)
        self.step_length_s, self.network = room.step_length_s, room.network
        self._detectors = ApproachDetectors(room.detectors, approaches) if approaches else room.detectors

    @property
    def time_s(self) -> float:
        return self._room.time_s

    def _part(self, part: str) -> Any:
        if part not in self._reads:
            declared = tuple(name for name in PARTS if name in self._reads | {part})
            raise PolicyError(
                f"the policy uses run.{PARTS[part]} without declaring it; write in its class: reads = "
                f"{str(declared).replace(chr(39), chr(34))}"
            )
        return self._detectors if part == "detectors" else getattr(self._room, PARTS[part])


for _part, _attribute in PARTS.items():
    setattr(PolicyRoom, _attribute, property(lambda room, part=_part: room._part(part)))


def loops_for(policy: Policy, network: RoadNetwork) -> tuple[Loop, ...]:
    """The loops that a policy needs, at most one for each lane: its own, then those of merges, then of the motorway."""
    wanted = list(policy.loops(network))
    if LoopSite.MERGES in policy.needs_loops:
        wanted += [loop for ramp in on_ramps(network).values() for loop in ramp.loops]
    if LoopSite.MOTORWAY in policy.needs_loops:
        wanted += [
            Loop(lane=edge.lanes[index].id, position_m=edge.length_m / 2)
            for edge in network.edges.values()
            if edge.road_class is RoadClass.MOTORWAY
            for index in edge.driving_lanes
        ]
    first: dict[str, Loop] = {}
    for loop in wanted:
        first.setdefault(loop.lane, loop)
    return tuple(first.values())
