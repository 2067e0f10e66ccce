"""One incident of a scenario from before its start to after its end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from scenariogen.incidents import capacity
from scenariogen.incidents.phases import IncidentPhase
from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.injection.blockade import Blockade
from scenariogen.injection.blockers import Blocker, Blockers
from scenariogen.injection.detours import Obstacle
from scenariogen.injection.lanes import LaneMap
from scenariogen.injection.notices import told_capacity_left
from scenariogen.injection.records import RealisedIncident
from scenariogen.injection.reopening import Reopening, reopenings
from scenariogen.injection.stretch import DOWNSTREAM_M, SlowStretches, SpeedProfile
from scenariogen.network import Edge, RoadNetwork
from scenariogen.scenarios.records import LanesReopen
from scenariogen.units import clock_text

STANDS_WITHIN_S = 2.0
"""An incident that does not stand this long after its time is given up and reported as not realised."""
_CHECK_EVERY_S = 10.0


class Phase(Enum):
    WAITING = "waiting for its time"
    STANDING = "standing"
    OVER = "over"


@dataclass(frozen=True, kw_only=True)
class Place:
    """What an incident needs to know of the simulation it happens in."""

    network: RoadNetwork
    lanes: LaneMap
    blockers: Blockers
    stretches: SlowStretches
    blocker_id: Callable[[int, int], str]
    passing_speed_mps: Callable[[Incident, Edge], float]
    step_s: float


def passing_speed_mps(incident: Incident, edge: Edge) -> float:
    """Speed past an incident at which the asked capacity is left, from the measured table; the limit at most."""
    return capacity.stretch_speed_mps(
        edge.road_class,
        len(edge.driving_lanes),
        len(incident.lanes),
        incident.capacity_left,
        _limit_mps(edge),
        inner=capacity.is_inner(edge.driving_lanes, incident.lanes),
    )


def _limit_mps(edge: Edge) -> float:
    return max(lane.speed_mps for lane in edge.lanes if lane.drives)


class Occurrence:
    """Puts an incident on the road at its time and takes it away at its end. Safe to end at any moment."""

    def __init__(
        self, number: int, incident: Incident, place: Place, *, lanes_reopen: LanesReopen = LanesReopen.AT_ONCE
    ) -> None:
        self.number = number
        self.incident = incident
        self.phase = Phase.WAITING
        self.detected_s: float | None = None
        self.responded_s: float | None = None
        self._now_is = incident  # with the lanes that are blocked now, and the capacity that is left now
        self._reopened: list[tuple[int, float]] = []
        self._obstacle: Obstacle | None = None
        self.next_phase_s = float("-inf")
        self._place = place
        self._edge: Edge = place.network.edges[incident.edge]
        self._openings: list[Reopening] = []
        if lanes_reopen is LanesReopen.ONE_BY_ONE and not self.is_passed_at_the_side:
            self._openings = list(reopenings(incident, self._edge))
        self._anchor: Blocker | None = None
        self._blockade = Blockade(
            number,
            incident,
            place.blockers,
            place.blocker_id,
            lanes=incident.lanes or self._edge.driving_lanes[:1],  # at the side: beside the lane next to the kerb
            parked=self.is_passed_at_the_side,
        )
        self._start_s: float | None = None
        self._end_s: float | None = None
        self._reason = ""
        self._speed_mps: float | None = None
        self._check_due_s = 0.0

    @property
    def due_s(self) -> float:
        """When :meth:`update` has something to do next; the start again while a place is being looked for, and while it
        stands every so often a look whether it still does."""
        if self.phase is Phase.OVER:
            return float("inf")
        if self.phase is Phase.WAITING:
            return self.incident.start_s
        return min(self.incident.end_s, self._check_due_s, self._blockade.closes_up_due_s)

    @property
    def is_passed_at_the_side(self) -> bool:
        """No lane is closed: the vehicle stands beside the carriageway and traffic squeezes past."""
        driving = set(self._edge.driving_lanes)
        return not self.incident.lanes or (driving <= set(self.incident.lanes) and self.incident.capacity_left > 0)

    @property
    def progress(self) -> IncidentPhase:
        """How far it is, as far as it ever stood."""
        if self._end_s is not None:
            return IncidentPhase.CLEAR
        if self._reopened:
            return IncidentPhase.REOPENING
        if self.responded_s is not None:
            return IncidentPhase.RESPONDED
        return IncidentPhase.UNDETECTED if self.detected_s is None else IncidentPhase.DETECTED

    @property
    def ended_s(self) -> float | None:
        """Simulation second at which the road was clear."""
        return self._end_s

    @property
    def lanes_now(self) -> tuple[int, ...]:
        """Lanes that are blocked now."""
        return self._now_is.lanes if self.phase is Phase.STANDING and not self.is_passed_at_the_side else ()

    @property
    def stands_at_m(self) -> float:
        """Where it stands or stood, metres from the start of the edge; as asked before it does."""
        return self.incident.position_m if self._start_s is None else self._blockade.position_m

    def obstacle(self) -> Obstacle:
        """What drivers meet and are told of, as it is since the last phase began."""
        if self._obstacle is None:
            self._obstacle = Obstacle(
                number=self.number,
                edge=self.incident.edge,
                detected_s=self.detected_s,
                blocked=len(self.incident.lanes),
                told_share=told_capacity_left(self._now_is, self._edge),
            )
        return self._obstacle

    def advance(self, now_s: float) -> None:
        """Go on to the phases whose time has come, which needs no call unless a lane opens."""
        if now_s < self.next_phase_s or self.phase is not Phase.STANDING:
            return
        detected_s = self.incident.start_s + self.incident.detection_s
        if self.detected_s is None and now_s >= detected_s - 1e-6:
            self.detected_s = now_s
            self._obstacle = None
        if self.responded_s is None and now_s >= detected_s + self.incident.response_s - 1e-6:
            self.responded_s = now_s
        while self._openings and now_s >= self._openings[0].at_s - 1e-6:
            self._open(self._openings.pop(0), now_s)
        ahead_s = [opening.at_s for opening in self._openings[:1]]
        ahead_s += [detected_s] if self.detected_s is None else []
        ahead_s += [detected_s + self.incident.response_s] if self.responded_s is None else []
        self.next_phase_s = min(ahead_s, default=float("inf")) - 1e-6

    def update(self, now_s: float) -> None:
        """Do what is due."""
        if self.phase is Phase.WAITING and now_s >= self.incident.start_s - 1e-6:
            self._begin(now_s)
        elif self.phase is Phase.STANDING:
            if now_s >= self.incident.end_s - 1e-6:
                self.advance(now_s)
                self.end(now_s, "")
                return
            if now_s >= self._check_due_s - 1e-6:
                self._check_due_s = now_s + _CHECK_EVERY_S
                if not self._blockade.stands():
                    before = f"before {clock_text(now_s)}"
                    self.end(now_s, f"its vehicles were moved, parked or removed by somebody else {before}")
                    return
            self._blockade.close_up(now_s)  # what is put now stands after the next step

    def end(self, now_s: float, reason: str, *, simulation_is_gone: bool = False) -> None:
        """Take it off the road, now, whatever phase it is in. ``reason`` is kept where it says something new."""
        if self.phase is Phase.OVER:
            return
        if self.phase is Phase.STANDING:
            self._end_s = now_s
        self._reason = reason
        self.phase = Phase.OVER
        if not simulation_is_gone:
            self._place.stretches.remove(self.number)
            self._blockade.remove()

    def report(
        self, *, rerouted_by: Mapping[str, int], returned: int = 0, recovered_s: float | None = None
    ) -> RealisedIncident:
        """What became of it so far. The arguments are what :class:`RealisedIncident` says of drivers."""
        stood = self._start_s is not None
        reasons = [text for text in (*(self._blockade.remarks() if stood else ()), self._reason) if text]
        return RealisedIncident(
            number=self.number,
            asked=self.incident,
            realised=stood,
            reason="; ".join(reasons) or ("" if stood else "its time has not come yet"),
            start_s=self._start_s,
            end_s=self._end_s,
            lanes=() if not stood or self.is_passed_at_the_side else self.incident.lanes,
            position_m=self._blockade.position_m if stood else None,
            stretch_speed_mps=self._speed_mps if stood else None,
            rerouted=sum(rerouted_by.values()),
            rerouted_by=rerouted_by,
            returned=returned,
            vehicles=self._blockade.vehicles if stood else (),
            detected_s=self.detected_s,
            responded_s=self.responded_s,
            reopened=tuple(self._reopened),
            recovered_s=recovered_s,
        )

    def _begin(self, now_s: float) -> None:
        deadline_s = self.incident.start_s + max(STANDS_WITHIN_S, self._place.step_s)
        if now_s > deadline_s + 1e-6:
            self.end(now_s, f"the simulation was stepped past its start and is at {clock_text(now_s)}")
            return
        is_last = now_s + self._place.step_s > deadline_s + 1e-6
        why = self._blockade.put(now_s, is_last=is_last)
        if not why:
            self._stand(now_s)
        elif is_last:
            self.end(now_s, why)

    def _stand(self, now_s: float) -> None:
        self.phase = Phase.STANDING
        self._start_s = now_s
        self._check_due_s = now_s + self._place.step_s
        if self.incident.kind is IncidentKind.CRASH and not self.is_passed_at_the_side:
            self._blockade.add_second_vehicle(now_s)
        self._anchor = self._blockade.front
        self._speed_mps = self._slow_traffic(self._anchor)

    def _open(self, opening: Reopening, now_s: float) -> None:
        """One lane opens; past those still blocked traffic may drive faster."""
        self._blockade.open(opening.lane)
        self._now_is = opening.after
        self._obstacle = None
        self._reopened.append((opening.lane, now_s))
        if self._anchor is not None:
            self._slow_traffic(self._anchor)

    def _slow_traffic(self, anchor: Blocker) -> float | None:
        """The reduced-speed stretch, where the vehicles alone leave more capacity than the scenario says; its speed."""
        incident, edge = self._now_is, self._edge
        if incident.capacity_left <= 0:
            return None
        limit_mps = _limit_mps(edge)
        speed_mps = self._place.passing_speed_mps(incident, edge)
        if speed_mps >= limit_mps - 0.05:
            self._place.stretches.remove(self.number)
            return None
        profile = SpeedProfile(speed_mps=speed_mps)
        at_m = anchor.position_m
        self._place.stretches.add(
            self.number,
            anchor=f"{anchor.id}.stretch",
            at=self._place.lanes.point(edge.id, anchor.lane, at_m),
            lanes=self._place.lanes.around(
                edge, at_m, upstream_m=profile.reach_m(limit_mps), downstream_m=DOWNSTREAM_M
            ),
            profile=profile,
            limit_mps=limit_mps,
        )
        return speed_mps
