"""``scenariogen.inject``: one name for whatever is at hand, a running simulation or an environment that starts them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, overload

from scenariogen.injection import attach
from scenariogen.injection.environment import Environmental, EnvironmentInjection, Episodes, is_environment, sumo_of
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.records import Scenario


@overload
def inject(
    connection: Environmental,
    scenario: "Scenario | str | Path | Episodes",
    *,
    network: RoadNetwork | str | Path | None = None,
    blocker_id: Callable[[int, int], str] = attach.default_blocker_id,
    counts: bool = True,
    connection_of: Callable[[Any], Any] = sumo_of,
) -> EnvironmentInjection: ...


@overload
def inject(
    connection: Any,
    scenario: Scenario | str | Path,
    *,
    network: RoadNetwork | str | Path | None = None,
    blocker_id: Callable[[int, int], str] = attach.default_blocker_id,
    counts: bool = True,
) -> attach.Injection: ...


def inject(
    connection: Any,
    scenario: "Scenario | str | Path | Episodes",
    *,
    network: RoadNetwork | str | Path | None = None,
    blocker_id: Callable[[int, int], str] = attach.default_blocker_id,
    counts: bool = True,
    connection_of: Callable[[Any], Any] = sumo_of,
) -> Any:
    """Make a scenario happen in a running simulation, or in every one that an environment starts.

    ``connection``     the ``libsumo`` module, the ``traci`` module, a connection from ``traci.getConnection``, or an
                       environment with ``reset`` and ``step`` such as ``sumo_rl.SumoEnvironment``
    ``scenario``       a scenario, or the path of a scenario file (JSON); for an environment also a function from the
                       episode's number, from 0, to one
    ``network``        the network or its file; by default the one that the simulation was started with
    ``blocker_id``     names our vehicles: called with the incident's number and the vehicle's
    ``counts``         read SUMO's totals once a simulated minute, for ``health``
    ``connection_of``  gives an environment's connection

    A context manager. Entering it raises a ``ScenarioError`` that lists all that cannot happen here; leaving it, also
    by an exception, undoes all that still stands. ``report()`` of an :class:`Injection`, and ``reports`` of an
    :class:`EnvironmentInjection`, say what became of each incident; ``health`` holds SUMO's totals.
    """
    if is_environment(connection):
        return EnvironmentInjection(
            connection, scenario, connection_of=connection_of, network=network, blocker_id=blocker_id, counts=counts
        )
    return attach.inject(connection, scenario, network=network, blocker_id=blocker_id, counts=counts)  # type: ignore[arg-type]
