"""What an injection was asked for, read and held against the simulation that it is to happen in.

SUMO tells the path of its network as it was given, which may be relative to a folder that is not ours: another file of
the same name may lie here. So what was read is compared with the roads of the running simulation.
"""

from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path

from scenariogen.errors import ScenarioError, SimulationError
from scenariogen.injection.connection import Link
from scenariogen.network import RoadNetwork, read_network
from scenariogen.scenarios.records import Scenario

_EDGES_MEASURED = 50
"""Edges whose lanes are compared in length, besides those with incidents: each lane is a question over TraCI."""
_SAME_LENGTH_M = 0.02
"""Network files give lengths to the centimetre."""


def network_asked(asked: RoadNetwork | str | Path | None, link: Link) -> RoadNetwork:
    """The network given, or read from its file; by default from the file that the simulation was started with."""
    if isinstance(asked, RoadNetwork):
        return asked
    path = Path(asked or link.option("net-file"))
    if not path.is_file():
        raise SimulationError(
            f"the simulation's network file {path} is not here: name it, inject(..., network='path/to/net.xml')"
        )
    return read_network(path)


def scenario_asked(asked: Scenario | str | Path, network: RoadNetwork, index: int | None = None) -> Scenario:
    """The scenario given, or read from its file, which must have been made for this network.

    ``index``  which scenario of a file with several
    """
    if isinstance(asked, Scenario):
        return asked
    from scenariogen.scenarios.files import read_batch, scenario_of

    batch = read_batch(asked)
    if fault := batch.made_elsewhere(network):
        raise ScenarioError(
            f"{asked} was {fault}: make it anew for the network that is simulated, or name the file of that network "
            "where another one of its name lies here, inject(..., network='path/to/net.xml')"
        )
    return scenario_of(batch, asked, index)


def network_problems(network: RoadNetwork, link: Link, edges_of_incidents: Sequence[str]) -> list[str]:
    """In what the network differs from the one that runs, as far as edges and lengths of lanes tell."""
    remedy = "name the network file that is simulated, inject(..., network='path/to/net.xml')"
    absent = sorted(set(network.edges) - set(link.edge.getIDList()))
    if absent:
        few = ", ".join(map(repr, absent[:3]))
        return [f"{network.path} is not what is simulated, which lacks {len(absent)} of its edges ({few}): {remedy}"]
    every = max(len(network.edges) // _EDGES_MEASURED, 1)
    named = [edge for edge in edges_of_incidents if edge in network.edges]
    for edge in dict.fromkeys(chain(named, islice(network.edges, 0, None, every))):
        for lane in network.edges[edge].lanes:
            length_m, refusal = link.attempt(link.lane.getLength, lane.id)
            if refusal or abs(length_m - lane.length_m) > _SAME_LENGTH_M:
                there = "is not there" if refusal else f"is {length_m:.2f} m long there"
                here = f"lane {lane.id!r}, here {lane.length_m:.2f} m long"
                return [f"{network.path} is not what is simulated: {here}, {there}: {remedy}"]
    return []
