"""Lanes and edges that nobody of some vehicle classes may enter.

An edge is closed at its entrances, the internal lanes that lead onto it: vehicles on it drive out, those that begin
there still do (SUMO drops departures onto an edge whose lanes are closed), and the others queue before it. A single
lane is closed itself, so that nobody changes onto it. Where SUMO builds no internal lanes the edge's own are closed.

Once nothing else carries a connection for a class, SUMO ends the whole simulation with "no valid route" when the next
vehicle that needs it enters, unless it was started with ``--ignore-route-errors``: such a closure is refused without.
"""

from collections.abc import Iterable

from scenariogen.injection.attributes import LANE_PERMISSIONS
from scenariogen.injection.connection import Link
from scenariogen.injection.effects.contract import ActiveEffect, Scene
from scenariogen.injection.effects.places import entrances, lanes_of
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.effects import VEHICLE_CLASSES, Closure
from scenariogen.simulation.options import is_true


class ActiveClosure(ActiveEffect):
    """Claims permissions; counts vehicles that were on a closed lane and have not left it."""

    of = Closure
    every_s = 5.0
    asked: Closure

    def apply(self, now_s: float) -> str:
        network = self.scene.network
        edges, single = closed_places(network, self.asked)
        internal, direct = entrances(network, self.scene.lanes, lanes_of(network, edges, single))
        denied = frozenset(self.asked.classes) or VEHICLE_CLASSES
        if direct:
            self.notes.append("the network has no internal lanes there, departures onto the closed edge are lost")
        for lane in dict.fromkeys([*internal, *direct, *single]):
            self.scene.ledger.claim(self.owner, LANE_PERMISSIONS, lane, denied)
        ask = self.scene.link.vehicle
        self._closed = lanes_of(network, edges, single)
        own = self.scene.own()
        there = self._vehicles() - own
        self._inside = {vehicle for vehicle in there if ask.getVehicleClass(vehicle) in denied}
        self._were_inside = len(self._inside)
        return ""

    def update(self, now_s: float) -> None:
        """Forget who has left."""
        if self._inside:
            self._inside &= self._vehicles()

    def undo(self, *, early: bool) -> None:
        self.update(0.0)
        super().undo(early=early)

    def _vehicles(self) -> set[str]:
        return {vehicle for lane in self._closed for vehicle in self.scene.link.lane.getLastStepVehicleIDs(lane)}

    def counts(self) -> dict[str, int]:
        return {"inside_when_closed": self._were_inside, "could_not_leave": len(self._inside)}


def claimed_lanes(scene: Scene, closure: Closure) -> list[str]:
    """Lanes of edges whose own permissions the closure claims, beside those of internal lanes."""
    edges, single = closed_places(scene.network, closure)
    _, direct = entrances(scene.network, scene.lanes, lanes_of(scene.network, edges, single))
    return list(dict.fromkeys([*direct, *single]))


def closed_places(network: RoadNetwork, closure: Closure) -> tuple[list[str], list[str]]:
    """Edges closed as a whole, also those whose lanes are all named one by one, and the single lanes of others."""
    named = set(closure.lanes)
    whole = [
        edge
        for edge in dict.fromkeys([*closure.edges, *(lane.rpartition("_")[0] for lane in closure.lanes)])
        if edge in closure.edges or all(lane.id in named for lane in network.edges[edge].lanes)
    ]
    return whole, [lane for lane in dict.fromkeys(closure.lanes) if lane.rpartition("_")[0] not in whole]


def cut_connections(closures: Iterable[Closure], network: RoadNetwork) -> dict[tuple[str, str], list[str]]:
    """(from edge, to edge) pairs between which the closures, all at once, leave no lane to some classes of vehicles.

    The classes are those that had one. Pedestrians have ways of their own and are not asked about.
    """
    out_of: dict[str, frozenset[str]] = {}  # lane -> classes that may not be on it
    into: dict[str, frozenset[str]] = {}
    for closure in closures:
        edges, single = closed_places(network, closure)
        denied = frozenset(closure.classes) or VEHICLE_CLASSES
        out_of |= {lane: out_of.get(lane, frozenset()) | denied for lane in single}
        into |= {lane: into.get(lane, frozenset()) | denied for lane in lanes_of(network, edges, single)}
    touched = {
        (before.rpartition("_")[0], after.rpartition("_")[0])
        for before, targets in network.lane_links.items()
        for after in targets
        if before in out_of or after in into
    }
    before_it: dict[tuple[str, str], frozenset[str]] = {}
    left: dict[tuple[str, str], frozenset[str]] = {}
    for before, targets in network.lane_links.items():
        for after in targets:
            pair = before.rpartition("_")[0], after.rpartition("_")[0]
            if pair not in touched:
                continue
            classes = network.link_classes.get((before, after), VEHICLE_CLASSES)
            shut = out_of.get(before, frozenset()) | into.get(after, frozenset())
            before_it[pair] = before_it.get(pair, frozenset()) | classes
            left[pair] = left.get(pair, frozenset()) | (classes - shut)
    cut = {pair: sorted(classes - left[pair] - {"pedestrian"}) for pair, classes in before_it.items()}
    return {pair: classes for pair, classes in cut.items() if classes}


def closure_problems(closures: Iterable[Closure], network: RoadNetwork, link: Link) -> list[str]:
    """Why these closures would end the running simulation, in words."""
    closures = tuple(closures)
    if not closures or is_true(link.option("ignore-route-errors")):
        return []
    cut = cut_connections(closures, network)
    if not cut:
        return []
    some = ", ".join(f"{before} -> {after} for {_named(classes)}" for (before, after), classes in list(cut.items())[:3])
    more = f" and {len(cut) - 3} more" if len(cut) > 3 else ""
    return [
        f"closures leave nothing open from {some}{more}, and SUMO would end the simulation at the next vehicle with "
        "such a route: start it with --ignore-route-errors, under which vehicles wait before the closure, or close it "
        "for other classes alone"
    ]


def _named(classes: list[str]) -> str:
    if "passenger" in classes and len(classes) > 3:
        return f"passenger and {len(classes) - 1} other classes"
    return ", ".join(classes[:3]) + (f" and {len(classes) - 3} other classes" if len(classes) > 3 else "")
