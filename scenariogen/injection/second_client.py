"""Incidents in a simulation that somebody else started and drives, in whatever language: as a second TraCI client.

SUMO lets several clients share a simulation where it was started with room for them (``--num-clients 2``). A step is
made when every client asked for it; so this one asks for steps, one after the other, until its last incident or effect
is over, and then leaves, and the others go on without it.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenariogen.errors import ConnectionLostError, SimulationError
from scenariogen.injection.attach import Injection
from scenariogen.injection.records import RealisedEffect, RealisedIncident
from scenariogen.scenarios.records import Scenario

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork

ORDER = 2
"""Clients act in the order of their numbers within a step; whoever drives the simulation is the first."""
RETRY_S = 0.5
ANSWER_S = 60.0
"""So long SUMO may take to accept a second client: it waits for the first one to come."""


def inject_by_port(
    port: int,
    scenario: Scenario | str | Path,
    *,
    host: str = "localhost",
    order: int = ORDER,
    index: int | None = None,
    network: "RoadNetwork | str | Path | None" = None,
    wait_s: float = 10.0,
    progress: Callable[[float], None] | None = None,
) -> tuple[RealisedIncident | RealisedEffect, ...]:
    """Join a simulation on a TraCI port, make a scenario happen in it, leave, and say what became of each incident and
    each effect, in that order.

    ``order``     our number among the clients; each has its own, and calls ``setOrder`` before its first step
    ``index``     which scenario of a file with several
    ``wait_s``    how long to look for the port
    ``progress``  called with the simulation second after every step

    Blocks until the last incident or effect is over or the simulation ends. Raises ``SimulationError`` where nobody
    listens at the port or there is no room for a second client, and ``ScenarioError`` for a scenario that cannot happen
    there.
    """
    connection = _connect(host, port, wait_s)
    try:
        _take_place(connection, order, host, port)
        with Injection(connection, scenario, index=index, network=network) as injection:
            due = (*injection.report(), *injection.effects_report())
            last_s = max((each.asked.end_s for each in due), default=float("-inf"))
            now_s = float(connection.simulation.getTime())
            while now_s < last_s:
                try:
                    connection.simulationStep()
                    now_s = float(connection.simulation.getTime())
                except Exception as error:
                    if isinstance(error, ConnectionLostError) or type(error).__name__ == "FatalTraCIError":
                        injection.finish("the simulation ended before its end")
                        break
                    raise
                if progress is not None:
                    progress(now_s)
        return (*injection.report(), *injection.effects_report())
    finally:
        if connection._socket is not None:
            connection.close(False)


def _connect(host: str, port: int, wait_s: float) -> Any:
    from traci.connection import Connection

    until = time.monotonic() + wait_s
    while True:
        try:
            return Connection(host, port, None, None, True, None)
        except OSError as error:
            if time.monotonic() >= until:
                raise SimulationError(
                    f"nobody lets a second client in at {host}:{port} ({error}). Start SUMO with --remote-port {port} "
                    "--num-clients 2; whoever drives it calls setOrder(1) once connected"
                ) from error
            time.sleep(RETRY_S)


def _take_place(connection: Any, order: int, host: str, port: int) -> None:
    """Our number among the clients. SUMO answers once all of them are there."""
    connection._socket.settimeout(ANSWER_S)
    try:
        connection.setOrder(order)
        clients = int(connection.simulation.getOption("num-clients"))
    except TimeoutError as error:
        raise SimulationError(
            f"SUMO at {host}:{port} did not answer within {ANSWER_S:g} s: it waits for its other clients to connect"
        ) from error
    if clients < 2:
        raise SimulationError(
            f"SUMO at {host}:{port} takes one client only, and whoever drives it could not connect any more: start it "
            "with --num-clients 2"
        )
    connection._socket.settimeout(None)
