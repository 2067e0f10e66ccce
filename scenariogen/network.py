"""The road graph as every stage sees it: edges, lanes, connections, signals, in one frozen record."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path

from scenariogen.errors import ProjectError

MOTORWAY_SPEED_MPS = 19.0
"""Where the network carries no road types, edges of at least this limit, far from signals, count as motorway."""
SIGNAL_REACH_M = 500.0
"""How far downstream of a fast edge a signal makes it a street."""


class RoadClass(StrEnum):
    """What published rates and capacities distinguish."""

    MOTORWAY = "motorway"
    RAMP = "ramp"
    STREET = "street"


@dataclass(frozen=True, kw_only=True)
class Lane:
    """One lane. ``drives``: passenger cars may use it (not a bus lane, cycle lane or pavement)."""

    id: str
    index: int
    length_m: float
    speed_mps: float
    width_m: float
    drives: bool
    shape: tuple[tuple[float, float], ...] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Edge:
    """One directed edge. Neighbours are edge ids reachable by cars; ``opposite`` is the other direction.

    Lanes count from the kerb: in left-hand traffic lane 0 is the leftmost.
    """

    id: str
    from_junction: str
    to_junction: str
    length_m: float
    speed_mps: float
    road_class: RoadClass
    signalised: bool
    lanes: tuple[Lane, ...] = field(repr=False)
    successors: tuple[str, ...] = field(repr=False)
    predecessors: tuple[str, ...] = field(repr=False)
    turn_angles: tuple[float, ...] = field(repr=False)
    """Signed angle in radians to each successor, left positive."""
    opposite: str | None = None

    @property
    def driving_lanes(self) -> tuple[int, ...]:
        """Indices of the lanes that passenger cars may use, from the kerb."""
        return tuple(lane.index for lane in self.lanes if lane.drives)

    @property
    def shape(self) -> tuple[tuple[float, float], ...]:
        """Polyline of the middle lane, network coordinates in metres."""
        return self.lanes[len(self.lanes) // 2].shape


@dataclass(frozen=True, kw_only=True)
class RoadNetwork:
    """A SUMO network: its edges by id in file order, and the hash of its content.

    ``lane_links`` maps a lane id to the lane ids it leads to, and ``link_classes`` those two to SUMO's vehicle
    classes that may go that way (a pair that is missing: all). ``signals`` maps a traffic-light id to the lane ids
    it controls. ``projection`` is the proj string, empty where the network has none, and
    ``offset`` the shift (m) that was added to projected coordinates.
    """

    path: Path
    sha256: str
    edges: dict[str, Edge] = field(repr=False)
    lane_links: dict[str, tuple[str, ...]] = field(repr=False)
    signals: dict[str, tuple[str, ...]] = field(repr=False)
    link_classes: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict, repr=False)
    projection: str = ""
    offset: tuple[float, float] = (0.0, 0.0)
    left_hand: bool = False

    @cached_property
    def edge_ids(self) -> tuple[str, ...]:
        return tuple(self.edges)

    @cached_property
    def edge_index(self) -> dict[str, int]:
        """Position of each edge on the ``edge`` axis."""
        return {edge_id: index for index, edge_id in enumerate(self.edges)}

    @cached_property
    def drivable(self) -> tuple[str, ...]:
        """Edges with at least one lane for passenger cars: where an incident may stand."""
        return tuple(edge.id for edge in self.edges.values() if edge.driving_lanes)

    def edge(self, edge_id: str) -> Edge:
        """The edge, or an error that names its nearest spellings."""
        try:
            return self.edges[edge_id]
        except KeyError:
            raise ProjectError(f"{self.unknown_edge(edge_id)}") from None

    def unknown_edge(self, edge_id: str) -> str:
        """One line that says an edge is not there, with the nearest spellings."""
        import difflib

        near = difflib.get_close_matches(edge_id, self.edges, n=3, cutoff=0.6)
        hint = f"; near it: {', '.join(near)}" if near else f"; the network has {len(self.edges)} edges"
        return f"edge {edge_id!r} is not in {self.path.name}{hint}"

    def upstream(self, edge_id: str, distance_m: float) -> Iterator[tuple[str, float]]:
        """Edges that lead into the start of ``edge_id`` within a distance, with the metres left of it there."""
        seen = {edge_id}
        front = [(edge_id, distance_m)]
        while front:
            here, left = front.pop()
            for before in self.edges[here].predecessors:
                if before in seen:
                    continue
                seen.add(before)
                yield before, left
                rest = left - self.edges[before].length_m
                if rest > 0:
                    front.append((before, rest))

    def __repr__(self) -> str:
        length = sum(edge.length_m for edge in self.edges.values()) / 1000
        return f"RoadNetwork({self.path.name}: {len(self.edges)} edges, {length:.1f} km, {len(self.signals)} signals)"


def file_sha256(path: Path) -> str:
    """Hash of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_network(path: str | Path) -> RoadNetwork:
    """Read a ``.net.xml`` or ``.net.xml.gz``. Errors say what is wrong with the file.

    Internal edges, pavements, crossings and rails stay out of ``edges`` unless road vehicles use them.
    """
    import gzip
    from xml.sax import SAXException

    path = Path(path)
    if not path.is_file():
        raise ProjectError(f"the network file {path} does not exist")
    try:
        import sumolib

        net = sumolib.net.readNet(str(path), withInternal=False, withPrograms=False)
    except (SAXException, gzip.BadGzipFile, EOFError, KeyError, ValueError, AttributeError) as error:
        raise ProjectError(f"{path} cannot be read as a SUMO network: {error}") from error
    edges = {edge.getID(): edge for edge in net.getEdges(withInternal=False) if not edge.isSpecial()}
    if not edges:
        raise ProjectError(f"{path} holds no edge; expected the output of netconvert (<net> with <edge>)")
    between = {(e.getFromNode().getID(), e.getToNode().getID()): e.getID() for e in edges.values()}
    typed = any(e.getType().startswith("highway.") for e in edges.values())
    built = {edge_id: _edge(edge, between, typed) for edge_id, edge in edges.items()}
    if not typed:
        built = _mark_ramps(built)
    offset = net.getLocationOffset()
    projection = net._location.get("projParameter", "!")
    return RoadNetwork(
        path=path,
        sha256=file_sha256(path),
        edges=built,
        lane_links=_lane_links(edges),
        link_classes=_link_classes(edges),
        signals=_signals(net),
        projection="" if projection == "!" else projection,
        offset=(float(offset[0]), float(offset[1])),
        left_hand=_is_left_hand(path),
    )


def _edge(edge, between: dict, typed: bool) -> Edge:
    lanes = tuple(
        Lane(
            id=lane.getID(),
            index=lane.getIndex(),
            length_m=lane.getLength(),
            speed_mps=lane.getSpeed(),
            width_m=lane.getWidth(),
            drives=lane.allows("passenger"),
            shape=tuple((point[0], point[1]) for point in lane.getShape()),
        )
        for lane in edge.getLanes()
    )
    before, after = edge.getFromNode().getID(), edge.getToNode().getID()
    successors = [e for e, links in edge.getOutgoing().items() if any(map(_for_cars, links))]
    predecessors = [e for e, links in edge.getIncoming().items() if any(map(_for_cars, links))]
    return Edge(
        id=edge.getID(),
        from_junction=before,
        to_junction=after,
        length_m=edge.getLength(),
        speed_mps=edge.getSpeed(),
        road_class=_road_class(edge, typed),
        signalised=edge.getToNode().getType().startswith("traffic_light"),
        lanes=lanes,
        successors=tuple(e.getID() for e in successors if not e.isSpecial()),
        predecessors=tuple(e.getID() for e in predecessors if not e.isSpecial()),
        turn_angles=tuple(_turn_angle(edge, e) for e in successors if not e.isSpecial()),
        opposite=between.get((after, before)),
    )


def _road_class(edge, typed: bool) -> RoadClass:
    kind = edge.getType()
    if typed:
        if "motorway_link" in kind or "trunk_link" in kind:
            return RoadClass.RAMP
        return RoadClass.MOTORWAY if "motorway" in kind else RoadClass.STREET
    fast = edge.getSpeed() >= MOTORWAY_SPEED_MPS and sum(lane.allows("passenger") for lane in edge.getLanes()) >= 2
    return RoadClass.MOTORWAY if fast and not _signal_ahead(edge) else RoadClass.STREET


def _signal_ahead(edge) -> bool:
    front, seen = [(edge, SIGNAL_REACH_M)], {edge.getID()}
    if edge.getFromNode().getType().startswith("traffic_light"):
        return True
    while front:
        here, left = front.pop()
        if here.getToNode().getType().startswith("traffic_light"):
            return True
        for after in here.getOutgoing():
            if left > 0 and after.getID() not in seen:
                seen.add(after.getID())
                front.append((after, left - after.getLength()))
    return False


def _mark_ramps(edges: dict[str, Edge]) -> dict[str, Edge]:
    """Without types, short connections of at most two lanes that touch a motorway are its ramps."""
    from dataclasses import replace

    motorway = {e.id for e in edges.values() if e.road_class is RoadClass.MOTORWAY}

    def touches(edge: Edge) -> bool:
        return any(other in motorway for other in (*edge.successors, *edge.predecessors))

    return {
        e.id: replace(e, road_class=RoadClass.RAMP)
        if e.id not in motorway and len(e.driving_lanes) <= 2 and e.opposite is None and touches(e)
        else e
        for e in edges.values()
    }


def _turn_angle(edge, after) -> float:
    import math

    (ax, ay), (bx, by) = (point[:2] for point in edge.getShape()[-2:])
    (cx, cy), (dx, dy) = (point[:2] for point in after.getShape()[:2])
    turn = math.atan2(dy - cy, dx - cx) - math.atan2(by - ay, bx - ax)
    return math.remainder(turn, 2 * math.pi)


def _lane_links(edges) -> dict[str, tuple[str, ...]]:
    links = {}
    for edge in edges.values():
        for lane in edge.getLanes():
            links[lane.getID()] = tuple(c.getToLane().getID() for c in lane.getOutgoing())
    return links


def _link_classes(edges) -> dict[tuple[str, str], frozenset[str]]:
    from sumolib.net.lane import SUMO_VEHICLE_CLASSES

    kept: dict[frozenset[str], frozenset[str]] = {}  # the same few sets, over and over
    found: dict[tuple[str, str], frozenset[str]] = {}
    for edge in edges.values():
        for lane in edge.getLanes():
            for connection in lane.getOutgoing():
                pair = lane.getID(), connection.getToLane().getID()
                classes = _classes(connection) | found.get(pair, frozenset())
                if not classes.issuperset(SUMO_VEHICLE_CLASSES):
                    found[pair] = kept.setdefault(classes, classes)
    return found


def _classes(connection) -> frozenset[str]:
    """Vehicle classes for which a connection and both of its lanes are."""
    both = connection.getFromLane().getPermissions(), connection.getToLane().getPermissions()
    return frozenset(name for name in set(both[0]).intersection(both[1]) if connection.allows(name))


def _for_cars(connection) -> bool:
    lanes = connection.getFromLane(), connection.getToLane()
    return connection.allows("passenger") and all(lane.allows("passenger") for lane in lanes)


def _signals(net) -> dict[str, tuple[str, ...]]:
    return {
        light.getID(): tuple(dict.fromkeys(connection[0].getID() for connection in light.getConnections()))
        for light in net.getTrafficLights()
    }


def _is_left_hand(path: Path) -> bool:
    """The ``lefthand`` attribute of the root element, which sumolib does not keep."""
    import gzip

    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as stream:
        head = stream.read(65_536)
    root = re.search(rb"<net\s[^>]*>", head)  # not <netconvertConfiguration> in the comment before it
    return root is not None and b'lefthand="true"' in root[0]
