"""Small roads, demand and incidents for the tests of the injection."""

from pathlib import Path

from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.injection.rig import build_network
from scenariogen.network import RoadNetwork
from scenariogen.scenarios.byhand import one_incident
from scenariogen.scenarios.effects import Effect
from scenariogen.scenarios.files import write_batch
from scenariogen.scenarios.records import Drivers, Scenario
from scenariogen.window import StudyWindow

MOTORWAY_MPS = 110 / 3.6
STREET_MPS = 50 / 3.6
QUIET = ("--no-step-log", "--no-warnings", "--xml-validation", "never")
STABLE = ("--time-to-teleport", "-1", "--collision.action", "warn")

DIAMOND_NODES = "".join(
    f'<node id="{name}" x="{x}" y="{y}"/>'
    for name, x, y in (("a", 0, 0), ("b", 500, 0), ("c", 1000, 0), ("d", 750, 250), ("e", 1300, 0))
)
DIAMOND_EDGES = "".join(
    f'<edge id="{name}" from="{start}" to="{end}" numLanes="{lanes}" speed="13.89" priority="2"/>'
    for name, start, end, lanes in (
        ("in", "a", "b", 2),
        ("direct", "b", "c", 1),
        ("around", "b", "d", 1),
        ("back", "d", "c", 1),
        ("out", "c", "e", 2),
    )
)


def diamond(folder: Path) -> Path:
    """in → (direct | around → back) → out: a way round a blocked edge."""
    return build_network(folder, DIAMOND_NODES, DIAMOND_EDGES)


CROSS_NODES = "".join(
    f'<node id="{name}" x="{x}" y="{y}" type="{kind}"/>'
    for name, x, y, kind in (
        ("c", 0, 0, "traffic_light"),
        ("w", -400, 0, "priority"),
        ("e", 400, 0, "priority"),
        ("s", 0, -400, "priority"),
        ("n", 0, 400, "priority"),
    )
)
CROSS_EDGES = "".join(
    f'<edge id="{start}{end}" from="{start}" to="{end}" numLanes="2" speed="13.89" priority="{priority}"/>'
    for start, end, priority in (
        ("w", "c", 3), ("c", "e", 3), ("e", "c", 3), ("c", "w", 3),
        ("s", "c", 1), ("c", "n", 1), ("n", "c", 1), ("c", "s", 1),
    )
)  # fmt: skip


def crossing(folder: Path) -> Path:
    """Four arms of two lanes each way, a main road from west to east, a signal between them."""
    return build_network(folder, CROSS_NODES, CROSS_EDGES)


def flows(
    folder: Path, *, lanes: int, per_lane_veh_h: float, edges: str = "before middle after", end: int = 7200
) -> Path:
    """A route file with one flow a lane; more than 2,500 veh/h saturates the road."""
    where = 'departPos="last" departSpeed="max"' if per_lane_veh_h > 2500 else 'departPos="base" departSpeed="desired"'
    if per_lane_veh_h > 2500 or "middle" not in edges:
        lane_of = [f'departLane="{lane}"' for lane in range(lanes)]
    else:
        lane_of = ['departLane="free"'] * lanes
    lines = "".join(
        f'<flow id="f{n}" route="all" begin="0" end="{end}" vehsPerHour="{per_lane_veh_h}" {lane} {where}/>'
        for n, lane in enumerate(lane_of)
    )
    path = folder / f"demand_{lanes}_{per_lane_veh_h:g}.rou.xml"
    path.write_text(f'<routes><route id="all" edges="{edges}"/>{lines}</routes>', encoding="utf-8")
    return path


def incident(
    *,
    start_s: float = 100.0,
    duration_s: float = 60.0,
    lanes: tuple[int, ...] = (0,),
    edge: str = "middle",
    position_m: float = 250.0,
    capacity_left: float = 0.5,
    kind: IncidentKind = IncidentKind.OBSTRUCTION,
) -> Incident:
    return Incident(
        edge=edge,
        start_s=start_s,
        position_m=position_m,
        kind=kind,
        lanes=lanes,
        capacity_left=capacity_left,
        detection_s=duration_s,
        response_s=0.0,
        clearance_s=0.0,
    )


def scenario(
    *incidents: Incident,
    seed: int = 1,
    reroute_share: float = 0.0,
    reroute_after_s: float = 30.0,
    effects: tuple[Effect, ...] = (),
) -> Scenario:
    drivers = Drivers(reroute_share=reroute_share, reroute_after_s=reroute_after_s)
    return Scenario(index=0, seed=seed, incidents=incidents, drivers=drivers, effects=effects)


def scenario_file(path: Path, network: RoadNetwork, *, start_s: float, duration_s: float) -> Path:
    """A scenario file with one incident by hand on the middle edge, made for that network."""
    window = StudyWindow(begin_s=0, count_from_s=0, incidents_until_s=100, end_s=150, demand_end_s=150)
    batch = one_incident(network, window, edge="middle", start_s=start_s, duration_s=duration_s, lanes=(0,))
    return write_batch(batch, path)


def stand_still(connection, *, edge: str, lanes: int, position_m: float, name: str = "wall") -> None:
    """Somebody else's vehicles stop on all lanes, so that a queue stands behind them bumper to bumper."""
    connection.route.add(f"{name}.route", [edge])
    for lane in range(lanes):
        vehicle = f"{name}.{lane}"
        connection.vehicle.add(vehicle, f"{name}.route")
        connection.vehicle.moveTo(vehicle, f"{edge}_{lane}", position_m)
        connection.vehicle.setStop(vehicle, edge, position_m, lane, 1e6)


def run_until(connection, time_s: float) -> None:
    while connection.simulation.getTime() < time_s:
        connection.simulationStep()
