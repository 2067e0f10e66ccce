"""A fork with two ways in: one edge with a sign on it, one without; a way round a blocked edge."""

from pathlib import Path
from typing import Any

from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.injection import inject
from scenariogen.injection.rig import build_network
from scenariogen.scenarios.drivers import Drivers
from scenariogen.scenarios.records import LanesReopen, Scenario

BLOCKED_S, DETECTION_S, STANDS_S = 100.0, 80.0, 500.0
WEST, SOUTH = "signed in direct out", "plain in direct out"
NODES = "".join(
    f'<node id="{name}" x="{x}" y="{y}"/>'
    for name, x, y in (
        ("w", -800, 0), ("s", 0, -800), ("a", 0, 0), ("b", 500, 0), ("c", 1000, 0), ("d", 750, 250), ("e", 1300, 0),
    )
)  # fmt: skip


def fork(folder: Path, *, around_mps: float = 13.89) -> Path:
    """signed, plain → in → (direct | around → back) → out."""
    edges = (
        ("signed", "w", "a", 1, 13.89), ("plain", "s", "a", 1, 13.89), ("in", "a", "b", 2, 13.89),
        ("direct", "b", "c", 1, 13.89), ("around", "b", "d", 1, around_mps), ("back", "d", "c", 1, around_mps),
        ("out", "c", "e", 2, 13.89),
    )  # fmt: skip
    lines = "".join(
        f'<edge id="{name}" from="{start}" to="{end}" numLanes="{lanes}" speed="{speed}" priority="2"/>'
        for name, start, end, lanes, speed in edges
    )
    return build_network(folder, NODES, lines)


def demand(folder: Path, *, veh_h: float = 150.0, end: int = 500) -> Path:
    """One flow from the west, over the sign, and one from the south, both over the edge that will be blocked."""
    lines = "".join(
        f'<route id="{name}" edges="{edges}"/>'
        f'<flow id="{name}" route="{name}" begin="0" end="{end}" vehsPerHour="{veh_h}"/>'
        for name, edges in (("west", WEST), ("south", SOUTH))
    )
    path = folder / "fork.rou.xml"
    path.write_text(f"<routes>{lines}</routes>", encoding="utf-8")
    return path


def closure(*, edge: str = "direct", stands_s: float = STANDS_S, detection_s: float = DETECTION_S) -> Incident:
    return Incident(
        edge=edge,
        start_s=BLOCKED_S,
        position_m=150.0,
        kind=IncidentKind.OBSTRUCTION,
        lanes=(0,),
        capacity_left=0.0,
        detection_s=detection_s,
        response_s=(stands_s - detection_s) / 2,
        clearance_s=(stands_s - detection_s) / 2,
    )


def told(*incidents: Incident, seed: int = 1, **drivers: Any) -> Scenario:
    """Nobody looks for another way from the queue, so that only those who are told do."""
    options: dict[str, Any] = {"reroute_share": 0.0} | drivers
    asked = Drivers(**options)
    return Scenario(
        index=0, seed=seed, incidents=incidents or (closure(),), drivers=asked, lanes_reopen=LanesReopen.AT_ONCE
    )


class Seen:
    """What was seen of each vehicle during a run: seconds at which it was on an edge, and its routes in turn."""

    def __init__(self) -> None:
        self.on: dict[str, dict[str, list[float]]] = {}
        self.routes: dict[str, list[tuple[str, ...]]] = {}

    def look(self, sumo) -> None:
        now_s = sumo.simulation.getTime()
        for vehicle in sumo.vehicle.getIDList():
            route = tuple(sumo.vehicle.getRoute(vehicle))
            if self.routes.setdefault(vehicle, [route])[-1] != route:
                self.routes[vehicle].append(route)
            self.on.setdefault(vehicle, {}).setdefault(sumo.vehicle.getRoadID(vehicle), []).append(now_s)

    def over(self, edge: str) -> set[str]:
        """Who was ever on an edge."""
        return {vehicle for vehicle, edges in self.on.items() if edge in edges}

    def turned(self) -> set[str]:
        """Whose route was changed."""
        return {vehicle for vehicle, routes in self.routes.items() if len(routes) > 1}


def run(sumo, network, scenario, *, until_s: float = 900.0, each=lambda: None):
    """The injection, left at the end, and what was seen."""
    seen = Seen()
    with inject(sumo, scenario, network=network) as injection:
        while sumo.simulation.getTime() < until_s:
            sumo.simulationStep()
            seen.look(sumo)
            each()
    for name in injection.own_vehicles:
        seen.on.pop(name, None)
        seen.routes.pop(name, None)
    return injection, seen
