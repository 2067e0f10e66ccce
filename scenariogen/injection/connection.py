"""The one place that knows how libsumo and TraCI differ.

Their functions take the same arguments in the same places under different names, so everything here and in the
rest of the injection is called positionally. libsumo is the module itself; ``traci`` is a module that passes calls
on to a current connection, and the connection in force when we attach is the one that is used throughout.
"""

import sys
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any

from scenariogen.errors import SimulationError

GET_VEHICLE_VARIABLE = 0xA4
VAR_LANE_ID = 0x51
VAR_LANEPOSITION = 0x56
VAR_SPEED_FACTOR = 0x5E
REMOVE_VAPORIZED = 3
PARKED = 1
"""Flag of ``setStop``."""
STOPPED, STOPPED_PARKING = 1, 2
"""Bits of ``getStopState``."""
Point = tuple[float, float]


class Link:
    """One running simulation.

    ``handle``  the object whose ``simulationStep`` and ``close`` the simulation's owner calls
    ``direct``  calls are plain function calls (libsumo); otherwise each one crosses a socket
    """

    def __init__(self, connection: Any) -> None:
        self.handle, self.direct = _resolve(connection)
        self.vehicle = self.handle.vehicle
        self.lane = self.handle.lane
        self.edge = self.handle.edge
        self.route = self.handle.route
        self.vehicle_type = self.handle.vehicletype
        self.traffic_light = self.handle.trafficlight
        self.simulation = self.handle.simulation
        self.step_s = float(self.simulation.getDeltaT())
        self._watched: dict[str, float] = {}

    def time_s(self) -> float:
        """The simulation's own second."""
        return float(self.simulation.getTime())

    def simulation_domains(self) -> list[Any]:
        """The objects whose ``loadState`` may be called: the ``traci`` module has one beside the connection's."""
        module = sys.modules.get("traci")
        of_module = None if self.direct or module is None else module.simulation
        return [self.simulation, *([of_module] if getattr(of_module, "_connection", None) is self.handle else [])]

    def option(self, name: str) -> str:
        """One of the simulation's options as text."""
        return str(self.simulation.getOption(name))

    def is_open(self) -> bool:
        """False once the simulation was closed from this side."""
        return bool(self.handle.isLoaded()) if self.direct else getattr(self.handle, "_socket", True) is not None

    def is_lost(self, error: Exception) -> bool:
        """True where an error means that the simulation is gone, not that one call was wrong."""
        return type(error).__name__ == "FatalTraCIError" or isinstance(error, OSError) or not self.is_open()

    def refuses(self, error: Exception) -> bool:
        """True where the simulation lives on and answered that this one call cannot be done."""
        return type(error).__name__ == "TraCIException" and not self.is_lost(error)

    def attempt(self, call: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
        """The answer and an empty text, or None and what SUMO said. Lost connections are raised."""
        try:
            return call(*arguments), ""
        except Exception as error:
            if not self.refuses(error):
                raise
            return None, str(error)

    def all_in_turn(self, calls: Iterable[Callable[[], Any]]) -> None:
        """Every call, also past those that SUMO refuses; the first refusal is raised at the end."""
        first: Exception | None = None
        for call in calls:
            try:
                call()
            except Exception as error:
                if not self.refuses(error):
                    raise
                first = first or error
        if first is not None:
            raise first

    def watch(self, anchor: str, at: Point, radius_m: float) -> None:
        """From now on :meth:`near` knows the vehicles around a point. Costs nothing under libsumo.

        Over TraCI the point is a POI of that name for as long as it lasts: a subscription around one of our vehicles
        would make SUMO quit, should somebody remove the vehicle. Of several radii the largest holds.
        """
        if self.direct or radius_m <= self._watched.get(anchor, 0.0):
            return
        if anchor not in self._watched:
            self.handle.poi.add(anchor, at[0], at[1], (200, 30, 30, 255), "incident", 10)
        self._watched[anchor] = radius_m
        variables = [VAR_LANE_ID, VAR_LANEPOSITION, VAR_SPEED_FACTOR]
        self.handle.poi.subscribeContext(anchor, GET_VEHICLE_VARIABLE, radius_m, variables)

    def unwatch(self, anchor: str) -> None:
        """The end of :meth:`watch`."""
        radius_m = self._watched.pop(anchor, None)
        if radius_m is not None:
            self.attempt(self.handle.poi.unsubscribeContext, anchor, GET_VEHICLE_VARIABLE, radius_m)
            self.attempt(self.handle.poi.remove, anchor, 10)

    def near(self, anchor: str, lanes: Container[str]) -> Iterable[tuple[str, str, float, float]]:
        """Vehicles on ``lanes`` around a watched point: id, lane, metres from its start, speed factor. TraCI only: they
        come with the step, by one subscription per incident, where each question would cross the socket."""
        return [
            (vehicle, values[VAR_LANE_ID], values[VAR_LANEPOSITION], values[VAR_SPEED_FACTOR])
            for vehicle, values in self.handle.poi.getContextSubscriptionResults(anchor).items()
            if values[VAR_LANE_ID] in lanes
        ]

    def speed_factors(self, vehicles: Iterable[str]) -> Iterator[tuple[str, float]]:
        """Those of ``vehicles`` that are still in the simulation, each with its speed factor, with few calls."""
        read = self.vehicle.getSpeedFactor
        if self.direct:
            for vehicle in vehicles:
                factor, refused = self.attempt(read, vehicle)
                if not refused:
                    yield vehicle, factor
            return
        here = set(vehicles)
        nearby = {v for anchor in self._watched for v in self.handle.poi.getContextSubscriptionResults(anchor)}
        if not here <= nearby:
            here &= set(self.vehicle.getIDList())
        for vehicle in here:
            yield vehicle, read(vehicle)


def _resolve(connection: Any) -> tuple[Any, bool]:
    """The object to call and whether it is libsumo, or a ``SimulationError`` that says what to pass."""
    if callable(getattr(connection, "isLibsumo", None)):
        if connection.isLibsumo():
            if not connection.isLoaded():
                raise SimulationError("no simulation is loaded: call libsumo.start([...]) before inject(...)")
            return connection, True
        if callable(getattr(connection, "isLibtraci", None)) and connection.isLibtraci():
            return connection, False
        try:
            return connection.getConnection(connection.getLabel()), False
        except (connection.TraCIException, connection.FatalTraCIError) as error:
            raise SimulationError(
                f"traci has no open connection ({error}): call traci.start([...]) before inject(...)"
            ) from error
    if not hasattr(connection, "simulationStep") or not hasattr(connection, "vehicle"):
        raise SimulationError(
            f"inject was given {type(connection).__name__}, expected the libsumo module, the traci module, or what "
            "traci.getConnection(label) returns"
        )
    if getattr(connection, "_socket", True) is None:
        raise SimulationError("this traci connection is closed: start the simulation before inject(...)")
    return connection, False
