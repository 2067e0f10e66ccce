"""A ramp meter where the network has no signal: a stop line at the ramp's end that only our meter knows of.

Every vehicle that comes onto the ramp is given a stop at the line (``vehicle.setStop``, on the lane, not beside the
road), drives up to it and waits as it would before a red light. When its time has come the stop is taken from it: one
that stands there goes on (``vehicle.resume``), one still on its way drives past the line without stopping. Nothing is
moved, removed or slowed down in another way, and no route changes. A vehicle whose next stop lies on the ramp itself (a
planned one, or that of a vehicle which stands for an incident) is left alone; one that could no longer brake passes and
is counted.
"""

from typing import TYPE_CHECKING

from scenariogen.network import RoadNetwork
from scenariogen.simulation.launch import SUMO_ERRORS
from scenariogen.simulation.meters import SumoMeter
from scenariogen.simulation.onramps import OnRamp

if TYPE_CHECKING:
    from scenariogen.simulation.sumo import SumoRun

LINE_M = 1.0
"""The stop line lies this far before the end of the ramp."""
STANDS_S = 1e6
"""A stop lasts until it is taken back."""
REACH_M = 250.0
"""Vehicles are given their stop this far before the line; where the last edge is shorter, on the edges before it."""


class StopLineMeter(SumoMeter):
    """Holds every vehicle at the end of the ramp's last edge until its time has come."""

    def __init__(self, run: "SumoRun", ramp: OnRamp, *, lag_s: float) -> None:
        super().__init__(run, ramp, lag_s=lag_s)
        self._vehicle = run.connection.vehicle
        read = run.project.network().edges[ramp.edge]
        self._line_m = {lane.id: max(lane.length_m - LINE_M, 0.1) for lane in read.lanes}
        self._lane_index = {lane.id: lane.index for lane in read.lanes}
        self._before = _lanes_before(run.project.network(), ramp)
        self._held: dict[str, str] = {}
        """Vehicles with a stop of ours, and the lane of the stop."""
        self._free: set[str] = set()
        """Vehicles on the ramp that may pass, or that are none of ours to hold."""

    def _work(self, time_s: float, lanes: list[list[str]], gone: set[str]) -> None:
        for vehicle in gone:
            self._free.discard(vehicle)
            if self._held.pop(vehicle, None) is not None:  # gone without leave, by somebody else's hand
                self._let_pass(time_s)
        for lane, waiting in zip(self._ramp.lanes, lanes, strict=True):
            for vehicle in waiting:
                if vehicle not in self._held and vehicle not in self._free:
                    self._meet(vehicle, lane, 0.0, time_s)
        for lane, (at, metres) in self._before.items():
            for vehicle in self._run.connection.lane.getLastStepVehicleIDs(lane):
                if vehicle not in self._held and vehicle not in self._free:
                    self._meet(vehicle, at, metres, time_s)
        order = sorted(
            (place, vehicle) for waiting in lanes for place, vehicle in enumerate(v for v in waiting if v in self._held)
        )
        for _, vehicle in order:
            if not self._may_pass(time_s):
                return
            self._release(vehicle)
            self._let_pass(time_s)

    def _meet(self, vehicle: str, lane: str, before_m: float, time_s: float) -> None:
        """A vehicle that is new on the ramp: hold it, unless it has a stop of its own there or cannot brake any more.

        ``lane`` is the lane of the stop, ``before_m`` the metres from the start of the vehicle's lane to the start of
        that one (0 where it is the same).
        """
        if any(each.lane.rpartition("_")[0] in self._ramp.storage for each in self._vehicle.getStops(vehicle, 1)):
            self._free.add(vehicle)
            return
        speed_mps, read = self._vehicle.getSpeed(vehicle), self._vehicle
        left_m = before_m + self._line_m[lane] - read.getLanePosition(vehicle)
        can_brake = speed_mps * self._run.step_length_s + speed_mps**2 / (2 * read.getDecel(vehicle)) < left_m
        stop = (vehicle, self._ramp.edge, self._line_m[lane], self._lane_index[lane], STANDS_S)
        if can_brake and self._done(self._vehicle.setStop, *stop):
            self._held[vehicle] = lane
        else:
            self._free.add(vehicle)
            self._let_pass(time_s)

    def _release(self, vehicle: str) -> None:
        """Take the stop back. Of a vehicle that is gone there is nothing to take back."""
        lane = self._held.pop(vehicle)
        self._free.add(vehicle)
        if self._done(self._vehicle.isStopped, vehicle) and self._vehicle.isStopped(vehicle):
            self._vehicle.resume(vehicle)
        else:  # a stop of no duration at the same place cancels the one that was planned there
            self._done(self._vehicle.setStop, vehicle, self._ramp.edge, self._line_m[lane], self._lane_index[lane], 0.0)

    def _open(self) -> None:
        for vehicle in list(self._held):
            self._release(vehicle)
        self._free.clear()

    def _done(self, call, *arguments) -> bool:
        """Whether SUMO did as asked; False where it refused this one call."""
        try:
            call(*arguments)
        except Exception as error:
            if type(error).__name__ not in SUMO_ERRORS or type(error).__name__ == "FatalTraCIError":
                raise
            return False
        return True


def _lanes_before(network: RoadNetwork, ramp: OnRamp) -> dict[str, tuple[str, float]]:
    """Lanes of the edges before a short last one: the lane of the stop, and metres from their start to its start."""
    metres, found = network.edges[ramp.edge].length_m, {}
    between = 0.0
    for name in ramp.storage[1:]:
        if metres >= REACH_M:
            break
        edge = network.edges[name]
        between += edge.length_m
        for place, index in enumerate(edge.driving_lanes):
            found[edge.lanes[index].id] = ramp.lanes[min(place, len(ramp.lanes) - 1)], between
        metres += edge.length_m
    return found
