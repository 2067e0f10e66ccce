"""What surrounds a control room during a run: how it learns of incidents, and how its advice reaches drivers."""

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from scenariogen.evaluation.live_detection import LiveDetection
from scenariogen.simulation.contract import Policy, Run

if TYPE_CHECKING:
    from scenariogen.evaluation.usual_traffic import UsualTraffic
    from scenariogen.network import RoadNetwork


class IncidentSource(StrEnum):
    """How policies learn of incidents.

    ``DETECTED``  by our own detector on what measuring stations say during the run, late, and not always rightly
    ``REPORTED``  when the scenario's detection is over, as by telephone: each one, and where it really stands
    """

    DETECTED = "detected"
    REPORTED = "reported"


def reads_incidents(policy: Policy) -> bool:
    """Whether a policy asks what incidents are known."""
    return "incidents" in policy.reads


class Equipment:
    """Of one run of SUMO; the dummy has none. ``update`` after every step.

    ``usual``  what is usual at the stations; None: incidents are not looked for
    """

    def __init__(self, run: Run, network: "RoadNetwork", injection: Any, *, usual: "UsualTraffic | None") -> None:
        from scenariogen.simulation.controlroom import SumoControlRoom

        self._run = run
        self._detection: LiveDetection | None = None
        self._advice: Any = None
        room = run.control_room
        if not isinstance(room, SumoControlRoom):
            return
        from scenariogen.injection.advice import DriverAdvice
        from scenariogen.injection.connection import Link

        if usual is not None:
            self._detection = LiveDetection(run, network, usual, room.incident_board)
        self._advice = DriverAdvice(
            Link(run.connection),
            network,
            injection.detours,
            seed=run.request.seed,
            own=lambda: injection.own_vehicles,
        )
        room.advice = self._advice
        room.network = network

    def update(self) -> None:
        """Take in the last step."""
        if self._detection is not None:
            self._detection.update()
        if self._advice is not None:
            self._advice.update(self._run.time_s)

    def results(self) -> dict[str, Any]:
        """Fields of a :class:`~scenariogen.evaluation.records.RunResult`."""
        found = [] if self._detection is None else self._detection.found
        return {
            "found_incidents": json.dumps([each.to_plain() for each in found], allow_nan=False),
            "turned_by_advice": 0 if self._advice is None else self._advice.turned,
        }
