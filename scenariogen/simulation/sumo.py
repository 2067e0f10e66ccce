"""SUMO behind the contract: libsumo in this process, or TraCI to a process of its own, with or without a window.

All calls are positional, since libsumo and TraCI name their arguments differently. libsumo holds one simulation
per process; opening a second is refused.
"""

import subprocess
from enum import StrEnum
from pathlib import Path
from typing import Any

from scenariogen.errors import ConnectionLostError, SimulationError
from scenariogen.simulation.contract import Counters, Departure, Run, RunRequest, Simulator
from scenariogen.simulation.controlroom import SumoControlRoom
from scenariogen.simulation.detectors import SumoDetectors
from scenariogen.simulation.fleet import Fleet
from scenariogen.simulation.launch import SUMO_ERRORS, close_libsumo, close_traci, start_libsumo, start_traci
from scenariogen.simulation.project import SumoProject
from scenariogen.simulation.staging import Staging, messages


class Backend(StrEnum):
    """How to speak to SUMO."""

    LIBSUMO = "libsumo"
    TRACI = "traci"
    TRACI_GUI = "traci-gui"


class SumoSimulator(Simulator):
    """Opens runs of a project.

    ``work_folder``      where prepared demand is kept for all runs (None: in each run's folder)
    ``project_outputs``  False: the outputs that the project itself asks for are not written
    """

    def __init__(
        self,
        project: SumoProject,
        *,
        backend: Backend | str = Backend.LIBSUMO,
        work_folder: Path | None = None,
        project_outputs: bool = True,
    ) -> None:
        self.project = project
        self.backend = Backend(backend)
        self.name = str(self.backend)
        self._staging = Staging(project, work_folder, project_outputs)

    def open(self, request: RunRequest) -> "SumoRun":
        """Start SUMO with the request's folder as its only place to write."""
        gui = self.backend is Backend.TRACI_GUI
        configuration = self._staging.write(request, gui=gui)
        if self.backend is Backend.LIBSUMO:
            connection, process = start_libsumo(configuration), None
        else:
            connection, process = start_traci(configuration, gui)
        run = SumoRun(self.project, request, connection, process)
        try:
            run.prepare()
        except Exception:
            run.close()
            raise
        return run


class SumoRun(Run):
    """One SUMO simulation in progress."""

    def __init__(
        self, project: SumoProject, request: RunRequest, connection: Any, process: subprocess.Popen | None
    ) -> None:
        self.project = project
        self.request = request
        self.step_length_s = project.step_length_s
        self.connection = connection
        self.by_socket = process is not None
        self._process = process
        self._steps = 0
        self._time_s = request.window.begin_s
        self._open = True

    def prepare(self) -> None:
        """Read what a run needs before its first step."""
        detectors = SumoDetectors(self, self.request.detector_lanes, options=self.request.detector_options)
        self.control_room = SumoControlRoom(self, detectors)
        self._after_step = self.control_room.after_step
        self._simulation = self.connection.simulation
        self._fleet = Fleet(
            self.connection,
            self.project.free_flow(),
            begin_s=self.request.window.begin_s,
            step_length_s=self.step_length_s,
            flying_start=self.project.demand.flying_start,
        )
        if self.by_socket:
            from traci.constants import VAR_ARRIVED_VEHICLES_IDS, VAR_DEPARTED_VEHICLES_IDS, VAR_LOADED_VEHICLES_IDS

            self._events = (VAR_LOADED_VEHICLES_IDS, VAR_ARRIVED_VEHICLES_IDS, VAR_DEPARTED_VEHICLES_IDS)
            self._simulation.subscribe(self._events)
        else:  # called every step: one frame less each
            self.loaded_ids = self._simulation.getLoadedIDList
            self.arrived_ids = self._simulation.getArrivedIDList
            self.departed_ids = self._simulation.getDepartedIDList

    @property
    def time_s(self) -> float:
        """Simulation second, counted here: SUMO's time has whole milliseconds, and asking over a socket costs."""
        return self._time_s

    def step(self) -> None:
        if not self._open:
            raise ConnectionLostError("the simulation is closed")
        try:
            self.connection.simulationStep()
        except Exception as error:
            if type(error).__name__ not in SUMO_ERRORS:
                raise  # a listener's own fault
            raise self._died(error) from error
        self._steps += 1
        self._time_s = round(self.request.window.begin_s + self._steps * self.step_length_s, 3)
        self._after_step(self._time_s)

    def _died(self, error: Exception) -> SimulationError:
        said = messages(self.request.folder)
        text = " ".join(str(error).split()) or type(error).__name__
        gone = "closed by SUMO" in text or "Not connected" in text
        if not said or not (gone or text in said):
            said.append(text)
        kind = ConnectionLostError if gone else SimulationError
        return kind(*said, title=f"SUMO died at second {self.time_s:g}")

    def running(self) -> int:
        return self.connection.vehicle.getIDCount()

    def waiting(self) -> int:
        return len(self._simulation.getPendingVehicles())

    def running_ids(self) -> tuple[str, ...]:
        return self.connection.vehicle.getIDList()

    def waiting_ids(self) -> tuple[str, ...]:
        return self._simulation.getPendingVehicles()

    def reached_destination(self, vehicle: str) -> bool:
        read = self.connection.vehicle
        try:
            return read.getRouteIndex(vehicle) >= len(read.getRoute(vehicle)) - 1
        except Exception as error:
            if type(error).__name__ not in SUMO_ERRORS:
                raise
            return False  # removed without a trace

    def departure(self, vehicle: str) -> Departure | None:
        try:
            return self._fleet.departure(vehicle, self.time_s)
        except Exception as error:
            if type(error).__name__ not in SUMO_ERRORS:
                raise
            return None

    def counters(self) -> Counters:
        def total(name: str) -> int:
            return int(float(self._simulation.getParameter("", f"stats.{name}")))

        running = total("vehicles.running")
        return Counters(
            running=running,
            waiting=total("vehicles.waiting"),
            left=total("vehicles.inserted") - running,
            loaded=total("vehicles.loaded"),
            teleports=total("teleports.total"),
            collisions=total("safety.collisions"),
            emergency_stops=total("safety.emergencyStops"),
            emergency_brakings=total("safety.emergencyBraking"),
        )

    def driven_m(self) -> dict[str, float]:
        read = self.connection.vehicle.getDistance
        return {vehicle: read(vehicle) for vehicle in self.running_ids()}

    def loaded_ids(self) -> tuple[str, ...]:
        if self.by_socket and self._steps:
            return self._simulation.getSubscriptionResults()[self._events[0]]
        return self._simulation.getLoadedIDList()

    def arrived_ids(self) -> tuple[str, ...]:
        if self.by_socket and self._steps:
            return self._simulation.getSubscriptionResults()[self._events[1]]
        return self._simulation.getArrivedIDList()

    def is_known(self, vehicle: str) -> bool:
        try:
            self.connection.vehicle.getDeparture(vehicle)
        except Exception as error:
            if type(error).__name__ not in SUMO_ERRORS:
                raise
            return False
        return True

    def departed_ids(self) -> tuple[str, ...]:
        if self.by_socket and self._steps:
            return self._simulation.getSubscriptionResults()[self._events[2]]
        return self._simulation.getDepartedIDList()

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        if self._process is None:
            close_libsumo(self.connection)
        else:
            close_traci(self.connection, self._process)
