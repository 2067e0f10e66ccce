"""Variable speed limits in a SUMO run: the highest speed on the lanes of an edge, and what composes with it.

While a scenario is injected, limits are read and written through what :meth:`SumoSpeedSigns.through` was given, the
injection's own account of lane speeds: what a sign shows is the value that effects come on top of, in the same moment.
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from scenariogen.errors import PolicyError
from scenariogen.network import RoadClass, RoadNetwork
from scenariogen.simulation.roadside import SignedEdge, SpeedSigns, checked_limit


class LaneSpeeds(Protocol):
    """How lane speeds (m/s) are read and written."""

    def usual(self, lane: str) -> float:
        """The lane's speed without a scenario's effects."""
        ...

    def write(self, lane: str, speed_mps: float) -> None:
        """Make it the lane's speed, effects on top of it."""
        ...


class DirectLaneSpeeds:
    """Straight from and to SUMO, while nothing is injected."""

    def __init__(self, connection: Any) -> None:
        self._lane = connection.lane

    def usual(self, lane: str) -> float:
        """The lane's speed (m/s)."""
        return self._lane.getMaxSpeed(lane)

    def write(self, lane: str, speed_mps: float) -> None:
        """Make it the lane's speed."""
        self._lane.setMaxSpeed(lane, speed_mps)


class SumoSpeedSigns(SpeedSigns):
    """Signs on all edges that cars may use. Junctions keep their own speeds."""

    def __init__(self, connection: Any, network: Callable[[], RoadNetwork]) -> None:
        self._lane = connection.lane
        self._network = network
        self._direct = DirectLaneSpeeds(connection)
        self._speeds: LaneSpeeds = self._direct
        self._shown: dict[str, float] = {}
        self._usual: dict[str, dict[str, float]] = {}
        self.edges = SignedEdges(network)

    def through(self, speeds: LaneSpeeds | None) -> None:
        """From now on lane speeds are read and written there; None: in SUMO itself."""
        self._speeds = speeds or self._direct

    @property
    def shown(self) -> Mapping[str, float]:
        return MappingProxyType(self._shown)

    def show(self, edge: str, limit_mps: float) -> None:
        limit_mps = checked_limit(edge, limit_mps)
        signed = self.edges[edge]
        if self._shown.get(edge) == limit_mps:
            return
        if edge not in self._usual:
            lanes = self._network().edges[signed.edge].lanes
            self._usual[edge] = {lane.id: self._speeds.usual(lane.id) for lane in lanes}
        self._shown[edge] = limit_mps
        for lane, usual_mps in self._usual[edge].items():
            self._speeds.write(lane, min(limit_mps, usual_mps))

    def clear(self, edge: str) -> None:
        if self._shown.pop(self.edges[edge].edge, None) is None:
            return
        for lane, usual_mps in self._usual.pop(edge).items():
            self._speeds.write(lane, usual_mps)

    def clear_all(self) -> None:
        """Every sign is off."""
        for edge in list(self._shown):
            self.clear(edge)

    def limit_mps(self, edge: str) -> float:
        network_edge = self._network().edges[self.edges[edge].edge]
        return self._lane.getMaxSpeed(network_edge.lanes[network_edge.driving_lanes[0]].id)


class SignedEdges(Mapping[str, SignedEdge]):
    """Edges with a sign, worked out where they are asked for. One that is not there is the policy's mistake."""

    def __init__(self, network: Callable[[], RoadNetwork]) -> None:
        self._network = network

    def __getitem__(self, key: str) -> SignedEdge:
        network = self._network()
        edge = network.edges.get(key)
        if edge is None or not edge.driving_lanes:
            raise PolicyError(f"{network.unknown_edge(key) if edge is None else f'edge {key!r} is not for cars'}")
        on_motorway = edge.road_class is RoadClass.MOTORWAY
        return SignedEdge(
            edge=key,
            length_m=edge.length_m,
            usual_mps=edge.speed_mps,
            on_motorway=on_motorway,
            loops=tuple(edge.lanes[index].id for index in edge.driving_lanes),
            upstream=tuple(
                before
                for before in edge.predecessors
                if (network.edges[before].road_class is RoadClass.MOTORWAY) == on_motorway
            ),
        )

    def __contains__(self, key: object) -> bool:
        edge = self._network().edges.get(str(key))
        return edge is not None and bool(edge.driving_lanes)

    def __iter__(self) -> Iterator[str]:
        return iter(self._network().drivable)

    def __len__(self) -> int:
        return len(self._network().drivable)
