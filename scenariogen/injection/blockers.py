"""Stopped vehicles that block lanes: put on the road at once, kept there, taken away.

``vehicle.add`` followed in the same breath by ``vehicle.moveTo`` puts a vehicle on a lane immediately and without
SUMO's insertion checks, so the spot is chosen first (:mod:`scenariogen.injection.placement`). It then stands by
``setStop``, which other drivers see far ahead and which is exempt from teleporting; a speed of 0 would be neither.
Parameters are set on the vehicle, so that its private type goes when it goes; what is left behind is one entry in
SUMO's list of routes for each blocked edge, which no vehicle uses (and one vehicle type, where SUMO's default type
makes taxis).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from scenariogen.injection.connection import PARKED, REMOVE_VAPORIZED, STOPPED, STOPPED_PARKING, Link
from scenariogen.injection.lanes import LaneMap
from scenariogen.injection.placement import OnLane, Spot, find_spots
from scenariogen.injection.vehicle_mix_reading import DEFAULT_TYPE
from scenariogen.simulation.options import is_true, parse_time_s

SEARCH_M = 100.0
"""Farthest from the asked position that a blocker may stand."""
_REACH_M = 150.0
"""How far beyond the searched part vehicles are looked at: more than anybody's braking distance."""
_ENTRY_M = 100.0
"""Before this, SUMO may still insert somebody close behind a vehicle that began its way on the same edge."""
_FAILSAFE_S = 5.0
"""A stop lasts this much longer than asked, should nobody be there any more to end it."""
_IS_TAXI = "has.taxi.device"
_NO_TAXI = "blocked"
"""Our own vehicle type, where there has to be one."""
_COLOUR = (200, 30, 30, 255)
NO_EMISSIONS = "Zero/default"
"""Emission class of vehicles that stand for an incident, so that a run's emissions are those of its traffic."""


@dataclass(frozen=True, kw_only=True)
class Blocker:
    """One vehicle of ours on the road."""

    id: str
    edge: str
    lane: int
    position_m: float
    length_m: float
    parked: bool


class Blockers:
    """Puts and removes the vehicles of all incidents of one injection."""

    def __init__(self, link: Link, lanes: LaneMap) -> None:
        self._link = link
        self._lanes = lanes
        self._ever: frozenset[str] = frozenset()
        self._present: dict[str, Blocker] = {}
        self._routes: dict[str, str] = {}
        self._taxis_everywhere = float(link.option("device.taxi.probability")) > 0
        self._reach_over = any(parse_time_s(link.option(o)) > 0 for o in ("lateral-resolution", "lanechange.duration"))
        self._half_step_s = link.step_s / 2 if _is_ballistic(link) else 0.0

    @property
    def ever(self) -> frozenset[str]:
        """Ids of all vehicles that were put on the road."""
        return self._ever

    @property
    def present(self) -> frozenset[str]:
        """Ids of those on the road now."""
        return frozenset(self._present)

    def find(
        self, edge: str, lanes: Sequence[int], *, asked_m: float, search_m: float = SEARCH_M
    ) -> tuple[Spot | None, ...]:
        """A spot on each of several lanes, side by side if possible; None for a lane that has no room now."""
        names = [f"{edge}_{lane}" for lane in lanes]
        return find_spots(
            [self._traffic(name, asked_m) for name in names],
            lane_lengths_m=[self._lanes.length_m(name) for name in names],
            asked_m=asked_m,
            search_m=search_m,
            step_s=self._link.step_s,
        )

    def put(
        self, vehicle: str, spot: Spot, *, edge: str, lane: int, duration_s: float, parked: bool = False
    ) -> tuple[Blocker | None, str]:
        """Put a vehicle on a spot that was found in this very step, standing, or say why SUMO refuses it."""
        refusal = self._insert(vehicle, edge, lane, spot, duration_s, parked)
        if refusal:
            return None, f"SUMO refused a vehicle on lane {lane}: {refusal}"
        blocker = Blocker(
            id=vehicle, edge=edge, lane=lane, position_m=spot.position_m, length_m=spot.length_m, parked=parked
        )
        self._ever |= {vehicle}
        self._present[vehicle] = blocker
        return blocker, ""

    def stands(self, blocker: Blocker) -> bool:
        """Whether it is still at its stop, and on its lane unless it was parked beside it."""
        state, refusal = self._link.attempt(self._link.vehicle.getStopState, blocker.id)
        if refusal:
            self._present.pop(blocker.id, None)
            return False
        if not int(state) & STOPPED or bool(int(state) & STOPPED_PARKING) is not blocker.parked:
            return False
        return blocker.parked or self._link.vehicle.getLaneID(blocker.id) == f"{blocker.edge}_{blocker.lane}"

    def remove(self, blockers: Iterable[Blocker]) -> None:
        """Take vehicles off the road. Those that somebody else removed meanwhile are passed over."""
        for blocker in blockers:
            if self._present.pop(blocker.id, None) is not None:
                self._link.attempt(self._link.vehicle.remove, blocker.id, REMOVE_VAPORIZED)

    def take_back_loaded(self) -> None:
        """A saved state was loaded: ours are in it, also those that had gone since it was saved."""
        for vehicle in self._ever.intersection(self._link.vehicle.getIDList()):
            self._link.attempt(self._link.vehicle.remove, vehicle, REMOVE_VAPORIZED)
        self._present.clear()

    def forget(self) -> None:
        """The simulation is gone, and our vehicles with it."""
        self._present.clear()

    def _insert(self, vehicle: str, edge: str, lane: int, spot: Spot, duration_s: float, parked: bool) -> str:
        link, own = self._link, self._link.vehicle
        route, refusal = self._route(edge)
        if refusal:
            return refusal
        refusal = link.attempt(own.add, vehicle, route, self._type(), "now", "first", "base", "0")[1]
        if refusal:
            return refusal
        settings: list[tuple[Callable, tuple]] = [
            (own.setVehicleClass, (vehicle, "passenger")),
            (own.setLength, (vehicle, spot.length_m)),
            (own.setMinGap, (vehicle, 0.0)),
            (own.setColor, (vehicle, _COLOUR)),
            (own.setEmissionClass, (vehicle, NO_EMISSIONS)),
            (own.setLaneChangeMode, (vehicle, 0)),
            (own.setActionStepLength, (vehicle, link.step_s)),
            # Before any step: once SUMO has tried to insert the vehicle itself, moveTo crashes libsumo.
            (own.moveTo, (vehicle, f"{edge}_{lane}", spot.position_m)),
            (own.setStop, (vehicle, edge, spot.position_m, lane, duration_s + _FAILSAFE_S, PARKED if parked else 0)),
        ]
        for call, arguments in settings:
            refusal = link.attempt(call, *arguments)[1]
            if refusal:
                link.attempt(own.remove, vehicle, REMOVE_VAPORIZED)
                return refusal
        return ""

    def _type(self) -> str:
        """SUMO's default type, or a copy of it where that makes its vehicles taxis, which park as soon as they idle."""
        types = self._link.vehicle_type
        made_taxis = is_true(types.getParameter(DEFAULT_TYPE, _IS_TAXI)) or self._taxis_everywhere
        if not made_taxis:
            return DEFAULT_TYPE
        if _NO_TAXI not in types.getIDList():
            types.copy(DEFAULT_TYPE, _NO_TAXI)
            types.setParameter(_NO_TAXI, _IS_TAXI, "false")
        return _NO_TAXI

    def _route(self, edge: str) -> tuple[str, str]:
        """The id of a route that consists of one edge, added where nobody has done so in this simulation."""
        if edge not in self._routes:
            name = f"blocked.{edge}"
            if name not in set(self._link.route.getIDList()):
                refusal = self._link.attempt(self._link.route.add, name, [edge])[1]
                if refusal:
                    return "", refusal
            self._routes[edge] = name
        return self._routes[edge], ""

    def _traffic(self, lane: str, asked_m: float) -> list[OnLane]:
        """Vehicles on a lane, and those on the lanes around it that reach into it or may run into it."""
        low, high = asked_m - SEARCH_M - _REACH_M, asked_m + SEARCH_M + _REACH_M
        length = self._lanes.length_m(lane)
        offsets = [(lane, 0.0)]  # metres from the start of our lane to the start of that lane
        if low < 0:
            offsets += [(before, -start) for before, start in self._lanes.upstream(lane, 0.0, -low).items()]
        if high > length:  # round a roundabout a lane lies both before and behind
            offsets += [(after, -start) for after, start in self._lanes.downstream(lane, 0.0, high).items()]
        vehicles = [
            (vehicle, offset) for other, offset in offsets for vehicle in self._link.lane.getLastStepVehicleIDs(other)
        ]
        return [
            self._on_lane(vehicle, front, may_be_followed=front - offset < _ENTRY_M)
            for vehicle, offset in (*vehicles, *((vehicle, 0.0) for vehicle in self._beside(lane)))
            if low <= (front := offset + self._link.vehicle.getLanePosition(vehicle)) <= high
        ]

    def _beside(self, lane: str) -> list[str]:
        """Vehicles on the lanes next to it that reach over the line, where SUMO knows of such."""
        if not self._reach_over:
            return []
        ask, (edge, _, index) = self._link.vehicle, lane.rpartition("_")
        found = []
        for other in (int(index) - 1, int(index) + 1):
            if 0 <= other < int(self._link.edge.getLaneNumber(edge)):
                half_m = float(self._link.lane.getWidth(f"{edge}_{other}")) / 2
                found += [
                    vehicle
                    for vehicle in self._link.lane.getLastStepVehicleIDs(f"{edge}_{other}")
                    if abs(ask.getLateralLanePosition(vehicle)) + ask.getWidth(vehicle) / 2 > half_m
                ]
        return found

    def _on_lane(self, vehicle: str, front_m: float, *, may_be_followed: bool) -> OnLane:
        """SUMO inserts vehicles as if those ahead never braked harder than usual: whoever came just now must not."""
        ask = self._link.vehicle
        decel_mps2, emergency_mps2 = float(ask.getDecel(vehicle)), float(ask.getEmergencyDecel(vehicle))
        if may_be_followed and int(ask.getRouteIndex(vehicle)) == 0:
            emergency_mps2 = decel_mps2
        return OnLane(
            id=vehicle,
            front_m=front_m,
            length_m=float(ask.getLength(vehicle)),
            speed_mps=float(ask.getSpeed(vehicle)),
            min_gap_m=float(ask.getMinGap(vehicle)),
            decel_mps2=decel_mps2,
            emergency_decel_mps2=emergency_mps2,
            reaction_s=float(ask.getActionStepLength(vehicle)) + self._half_step_s,
            accel_mps2=float(ask.getAccel(vehicle)),
        )


def _is_ballistic(link: Link) -> bool:
    """Whether vehicles drive half a step's worth farther while they brake than by SUMO's default update.

    SUMO turns that update on by itself where drivers act less often than there are steps, without changing the option.
    """
    action_step_s = float(link.option("default.action-step-length"))
    return is_true(link.option("step-method.ballistic")) or (action_step_s > 0 and action_step_s != link.step_s)
