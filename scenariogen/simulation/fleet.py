"""What the demand asked of each vehicle of a SUMO run, read when SUMO loads it and before anything happens to it."""

import math
from typing import Any

from scenariogen.simulation.contract import Departure
from scenariogen.simulation.freeflow import FreeFlow, Halt, VehicleType

_UNSET = -1e9
"""TraCI answers about −1.07e9 where something is not set."""


class Fleet:
    """Reads departures and free-flow times over TraCI or libsumo.

    ``flying_start``: vehicles enter at speed, as SUMO's default has it, rather than from standstill.
    """

    def __init__(
        self, connection: Any, free_flow: FreeFlow, *, begin_s: float, step_length_s: float, flying_start: bool
    ) -> None:
        self._vehicle = connection.vehicle
        self._vehicletype = connection.vehicletype
        self._free_flow = free_flow
        self._begin_s = begin_s
        self._step_length_s = step_length_s
        self._flying_start = flying_start
        self._types: dict[str, VehicleType] = {}
        self._classes: dict[str, str] = {}
        self._connected: dict[tuple[str, ...], bool] = {}
        self._ways: dict[tuple[str, ...], tuple[str, ...] | None] = {}

    def departure(self, vehicle: str, time_s: float) -> Departure:
        """Due time and free-flow time of a vehicle that is loaded at ``time_s``; nan where not yet known."""
        departed_s = self._vehicle.getDeparture(vehicle)
        delay_s = self._vehicle.getDepartDelay(vehicle)  # negative before it is due
        has_departed = departed_s > _UNSET
        due_s = self._on_grid(departed_s - max(delay_s, 0.0) if has_departed else time_s - delay_s)
        edges = self._edges(vehicle, has_departed)
        type_id = self._vehicle.getTypeID(vehicle)
        if edges is None:
            return Departure(due_s, math.nan, has_departed, self._class(type_id))
        kind = self._kind(type_id)
        factor = self._vehicle.getSpeedFactor(vehicle)
        halts = self._halts(vehicle)
        if not halts:
            time = self._free_flow.time_s(edges, kind, speed_factor=factor, flying_start=self._flying_start)
        else:
            time = self._free_flow.time_with_halts_s(
                edges, kind, halts=halts, due_s=due_s, speed_factor=factor, flying_start=self._flying_start
            )
        return Departure(due_s, time, has_departed, self._class(type_id))

    def _on_grid(self, due_s: float) -> float:
        """The first step at or after the departure asked for: SUMO can do no better."""
        steps = math.ceil((due_s - self._begin_s) / self._step_length_s - 1e-6)
        return self._begin_s + max(steps, 0) * self._step_length_s

    def _edges(self, vehicle: str, has_departed: bool) -> tuple[str, ...] | None:
        """The original route. A trip has only its ends until it departs, and then a route of that moment."""
        edges = tuple(self._vehicle.getRoute(vehicle))
        if has_departed and "!var#" in self._vehicle.getRouteID(vehicle):
            waypoints = [edges[0], *self._vehicle.getVia(vehicle), edges[-1]]
            return self._free_flow.path(waypoints) or edges
        connected = self._connected.get(edges)
        if connected is None:
            connected = self._connected[edges] = self._free_flow.knows(edges)
        if connected:
            return edges
        via = [*self._vehicle.getVia(vehicle), *(halt.edge for halt in self._halts(vehicle))]
        if not via and edges in self._ways:
            return self._ways[edges]
        way = self._free_flow.path([*edges[:1], *via, *edges[1:]]) or (edges if has_departed and edges else None)
        if not via:
            self._ways[edges] = way
        return way

    def _halts(self, vehicle: str) -> tuple[Halt, ...]:
        stops = self._vehicle.getStops(vehicle, 0)
        if not stops:
            return ()
        return tuple(
            Halt(
                edge=stop.lane.rpartition("_")[0],
                position_m=stop.endPos,
                duration_s=max(stop.duration, 0.0),
                until_s=stop.until if stop.until > _UNSET else -math.inf,
            )
            for stop in stops
        )

    def _class(self, type_id: str) -> str:
        if type_id not in self._classes:
            self._classes[type_id] = str(self._vehicletype.getVehicleClass(type_id))
        return self._classes[type_id]

    def _kind(self, type_id: str) -> VehicleType:
        if type_id not in self._types:
            read = self._vehicletype
            self._types[type_id] = VehicleType(
                max_speed_mps=read.getMaxSpeed(type_id),
                accel_mps2=max(read.getAccel(type_id), 0.1),
                decel_mps2=max(read.getDecel(type_id), 0.1),
                sigma=max(read.getImperfection(type_id), 0.0),  # −1 for models without
                step_s=self._step_length_s,
                length_m=read.getLength(type_id),
            )
        return self._types[type_id]
