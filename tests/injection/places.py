"""Small networks of every kind of road, random incidents on them, and what is promised of each wherever it is put."""

import gzip
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from scenariogen.incidents.capacity import is_inner, reachable
from scenariogen.incidents.records import KINDS, Incident
from scenariogen.injection import inject
from scenariogen.injection.blockers import SEARCH_M
from scenariogen.injection.rig import build_network
from scenariogen.network import Edge, RoadNetwork, read_network
from scenariogen.scenarios.records import Drivers, Scenario
from tests.injection.undo_proof import snapshot

STREET, FAST = 13.89, 30.0


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A network to be built, the ways that traffic takes, and vehicles an hour on each of them.

    ``nodes``  ``name x y [type]`` and
    ``edges``  ``id from to lanes speed [lane:classes ...]``, both separated by semicolons
    ``wall``   edges on which somebody's vehicles stand at the end of all lanes, where the traffic is to be queued
    """

    nodes: str
    edges: str
    ways: tuple[str, ...]
    wall: tuple[str, ...]
    veh_h: float = 700.0
    options: tuple[str, ...] = ()

    def build(self, folder: Path, *options: str) -> RoadNetwork:
        folder.mkdir(parents=True, exist_ok=True)
        return read_network(
            build_network(
                folder,
                "".join(_node(*line.split()) for line in self.nodes.split(";")),
                "".join(_edge(*line.split()) for line in self.edges.split(";")),
                *self.options,
                *options,
            )
        )

    def routes(self, path: Path, factor: float, *, begin_s: float = 0.0, flow: str = "") -> Path:
        span = f'begin="{begin_s}" end="{begin_s + 3600}"'
        lines = [
            f'<route id="way{n}" edges="{way}"/><flow id="f{n}" route="way{n}" {span} '
            f'vehsPerHour="{self.veh_h * factor:.0f}" departLane="best" departSpeed="max" {flow}/>'
            for n, way in enumerate(self.ways)
        ]
        classes = {"truck": "truck", "bus": "bus", "bike": "bicycle"}
        types = "".join(f'<vType id="{name}" vClass="{kind}"/>' for name, kind in classes.items())
        types += '<vType id="patient" tau="2"/>'
        path.write_text(f"<routes>{types}{''.join(lines)}</routes>", encoding="utf-8")
        return path


def _node(name: str, x: str, y: str, kind: str = "priority") -> str:
    return f'<node id="{name}" x="{x}" y="{y}" type="{kind}"/>'


def _edge(name: str, start: str, end: str, lanes: str, speed: str, *special: str) -> str:
    lanes_for = [part.split(":") for part in special]
    inner = "".join(f'<lane index="{index}" allow="{kind}"/>' for index, kind in lanes_for)
    return f'<edge id="{name}" from="{start}" to="{end}" numLanes="{lanes}" speed="{speed}" priority="3">{inner}</edge>'


GROUNDS = {
    "edges of 1 to 10 m": Ground(
        nodes="a 0 0;b 300 0;c 301 0;d 304 0;e 309 0;f 319 0;g 326 0;h 500 0",
        edges=f"in a b 2 {STREET};m1 b c 2 {STREET};m3 c d 2 {STREET};m5 d e 2 {STREET};m10 e f 2 {STREET};"
        f"m7 f g 2 {STREET};out g h 2 {STREET}",
        ways=("in m1 m3 m5 m10 m7 out", "in m1 m3 m5 m10 m7 out"),
        wall=("out",),
    ),
    "around a signal": Ground(
        nodes="c 0 0 traffic_light;w -200 0;e 200 0;s 0 -200;n 0 200;x 230 0",
        edges=f"wc w c 2 {STREET};ce c e 2 {STREET};ec e c 2 {STREET};cw c w 2 {STREET};sc s c 1 {STREET};"
        f"cn c n 1 {STREET};nc n c 1 {STREET};cs c s 1 {STREET};ex e x 1 {STREET}",
        ways=("wc ce ex", "sc ce", "nc cs", "wc cn"),
        wall=("ce", "cn", "cs"),
        veh_h=400,
    ),
    "a ramp with a lane to accelerate": Ground(
        nodes="a 0 0;b 500 0;c 700 0;d 1200 0;r 300 -120;o 1000 -120",
        edges=f"main a b 2 {FAST};ramp r b 1 20;merge b c 3 {FAST};after c d 2 {FAST};off c o 1 20",
        ways=("main merge after", "ramp merge after", "main merge off"),
        wall=("after", "off"),
        veh_h=900,
    ),
    "where routes end": Ground(
        nodes="a 0 0;b 200 0;c 400 0;d 400 200",
        edges=f"ab a b 2 {STREET};bc b c 2 {STREET};cb c b 1 {STREET};cd c d 1 {STREET}",
        ways=("ab bc", "ab", "bc cd"),
        wall=("bc", "cd"),
    ),
    "one lane each way": Ground(
        nodes="a 0 0;b 150 0;c 300 60;d 450 60",
        edges=f"ab a b 1 {STREET};bc b c 1 {STREET};cd c d 1 {STREET};"
        f"dc d c 1 {STREET};cb c b 1 {STREET};ba b a 1 {STREET}",
        ways=("ab bc cd", "dc cb ba"),
        wall=("cd", "ba"),
        veh_h=500,
    ),
    "a roundabout": Ground(
        nodes="s 0 -20;e 20 0;n 0 20;w -20 0;S 0 -150;E 150 0;N 0 150;W -150 0",
        edges="se s e 1 8;en e n 1 8;nw n w 1 8;ws w s 1 8;Ss S s 1 13.89;sS s S 1 13.89;Ee E e 1 13.89;eE e E 1 13.89;"
        "Nn N n 1 13.89;nN n N 1 13.89;Ww W w 1 13.89;wW w W 1 13.89",
        ways=("Ss se en nN", "Ww ws se eE", "Nn nw ws sS", "Ee en nw wW"),
        wall=("nN", "eE", "sS", "wW"),
        veh_h=250,
        options=("--roundabouts.guess", "true"),
    ),
    "lanes for buses and bicycles": Ground(
        nodes="a 0 0;b 250 0;c 500 0",
        edges=f"ab a b 4 {STREET} 0:bicycle 1:bus;bc b c 3 {STREET} 0:bicycle 2:bus;cb c b 3 {STREET} 0:bicycle",
        ways=("ab bc", "ab bc"),
        wall=("bc",),
    ),
}
"""Where incidents are put."""
SETTLED_S = 10.0
"""Later than this after an incident began, or farther along its edge, others who touch each other did not do so on
account of how it was placed: in a motorway's queue SUMO's drivers now and then change lanes to less than the distance
that they keep (once in 348 incidents at a ramp, 19 s after a start, 0.4 m too close), which it calls a collision."""
TRAFFIC = ("free", "dense", "queued")


def draw_incidents(
    network: RoadNetwork, rng: random.Random, *, begin_s: float, count: int, every_s: float, lasts_s: float
) -> tuple[Incident, ...]:
    """``count`` incidents of all kinds that can happen, each ``every_s`` after the one before."""
    return tuple(
        draw_incident(network.edges[rng.choice(network.drivable)], rng, begin_s + n * every_s, lasts_s)
        for n in range(count)
    )


def draw_incident(edge: Edge, rng: random.Random, start_s: float, lasts_s: float) -> Incident:
    """On the shoulder, with some lanes blocked, or closed; near the ends of the edge as often as elsewhere."""
    driving = edge.driving_lanes
    blocked = rng.randint(0, len(driving))
    first = rng.randint(0, len(driving) - blocked)
    lanes = driving[first : first + blocked]
    if any(after - before > 1 for before, after in pairwise(lanes)):
        lanes = lanes[:1]
    low, high = reachable(edge.road_class, len(driving), len(lanes), inner=is_inner(driving, lanes))
    share = rng.uniform(low, high)
    if len(lanes) == len(driving) == 1 and rng.random() < 0.5:
        share = 0.0
    near_m = min(3.0, edge.length_m)
    position = rng.choice(
        (rng.uniform(0, edge.length_m), rng.uniform(0, near_m), edge.length_m - rng.uniform(0, near_m))
    )
    return Incident(
        edge=edge.id, start_s=start_s, position_m=position, kind=rng.choice(KINDS), lanes=lanes, capacity_left=share,
        detection_s=lasts_s, response_s=0.0, clearance_s=0.0,
    )  # fmt: skip


@dataclass(kw_only=True)
class Account:
    """What was seen of a run: faults in words, and how many incidents stood."""

    faults: list[str] = field(default_factory=list)
    asked: int = 0
    realised: int = 0
    reasons: list[str] = field(default_factory=list)


def stand_at_the_ends(sumo: Any, network: RoadNetwork, edges: tuple[str, ...]) -> None:
    """Somebody else's vehicles stop at the end of all lanes for cars of these edges."""
    for edge in edges:
        sumo.route.add(f"wall.{edge}", [edge])
        for lane in network.edges[edge].driving_lanes:
            vehicle, at_m = f"wall.{edge}.{lane}", network.edges[edge].lanes[lane].length_m - 1.0
            sumo.vehicle.add(vehicle, f"wall.{edge}")
            sumo.vehicle.moveTo(vehicle, f"{edge}_{lane}", at_m)
            sumo.vehicle.setStop(vehicle, edge, at_m, lane, 1e6)


def hold_to_it(sumo: Any, network: RoadNetwork, incidents: tuple[Incident, ...], *, until_s: float) -> Account:
    """Inject, step, and note every promise that was broken. What is left is for :func:`against_twin`."""
    account = Account(asked=len(incidents))
    scenario = Scenario(index=0, seed=1, incidents=incidents, drivers=Drivers(reroute_share=0.0))
    # The first look is at what runs already; whoever is there later came by itself or is ours.
    present = set(sumo.vehicle.getIDList())
    gone: set[str] = set()
    step_s = sumo.simulation.getDeltaT()
    with inject(sumo, scenario, network=network) as injection:
        while sumo.simulation.getTime() < until_s - 1e-6:
            sumo.simulationStep()
            now_s = sumo.simulation.getTime()
            own = injection.own_vehicles
            present |= set(sumo.simulation.getDepartedIDList())
            gone |= set(sumo.simulation.getArrivedIDList())
            there = set(sumo.vehicle.getIDList())
            lost = present - gone - there - own
            account.faults += [f"{now_s:g}: {vehicle} vanished" for vehicle in sorted(lost)]
            gone |= lost
            account.faults += [f"{now_s:g}: {v} teleports" for v in sumo.simulation.getStartingTeleportIDList()]
            just_begun = [incident for incident in incidents if 0 <= now_s - incident.start_s <= SETTLED_S]
            for hit in sumo.simulation.getCollisions():
                past = [hit.lane.rpartition("_")[0] == i.edge and hit.pos > i.position_m + SEARCH_M for i in just_begun]
                if all(past) and not own & {hit.collider, hit.victim}:
                    continue
                account.faults.append(f"{now_s:g}: {hit.collider} ran into {hit.victim} on {hit.lane} at {hit.pos:.1f}")
            standing = injection.own_present
            for vehicle in standing:
                edge = incidents[int(vehicle.split(".")[1])].edge
                if sumo.vehicle.getSpeed(vehicle) or sumo.vehicle.getRoadID(vehicle) != edge:
                    account.faults.append(f"{now_s:g}: {vehicle} does not stand on {edge}")
            stray = (own & there) - standing
            account.faults += [f"{now_s:g}: {vehicle} is still there" for vehicle in sorted(stray)]
    for report in injection.report():
        asked = report.asked
        if not report.realised:
            account.reasons.append(report.reason)
            if not report.reason or report.vehicles:
                account.faults.append(f"{report} without a reason or with vehicles")
            continue
        account.realised += 1
        late_s = report.start_s - asked.start_s
        if not -1e-6 <= late_s <= max(2.0, step_s) + 1e-6:
            account.faults.append(f"{report}: it stood {late_s:g} s late")
        if not -1e-6 <= report.end_s - asked.end_s < step_s + 1e-6:
            account.faults.append(f"{report}: it ended at {report.end_s:g} s, not {asked.end_s:g} s")
    if injection.own_present or injection.own_vehicles & set(sumo.vehicle.getIDList()):
        account.faults.append("vehicles of ours are left")
    return account


@dataclass(frozen=True, kw_only=True)
class Variant:
    """What differs from a plain run: options of ``sumo`` and ``netconvert``, the begin, attributes of the flows."""

    options: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    begin_s: float = 0.0
    flow: str = ""
    zipped: bool = False


def network_of(ground: Ground, variant: Variant, folder: Path) -> RoadNetwork:
    network = ground.build(folder, *variant.build)
    if not variant.zipped:
        return network
    path = network.path.with_name("road.net.xml.gz")
    path.write_bytes(gzip.compress(network.path.read_bytes()))
    return read_network(path)


@dataclass(frozen=True, kw_only=True)
class Drive:
    """How a network is simulated: in which second it begins, which options, and edges with a wall at their end."""

    begin_s: float = 0.0
    options: tuple[str, ...] = ()
    wall: tuple[str, ...] = ()
    backend: str = "libsumo"


def against_twin(
    start: Callable[..., Any],
    network: RoadNetwork,
    routes: Path,
    incidents: tuple[Incident, ...],
    drive: Drive,
    *,
    lasts_s: float,
) -> Account:
    """A run with the incidents, 100 s after its begin, compared with one of the same seed without.

    Faults that the other run has too are not ours.
    """
    runs, states = [], []
    for happens in (False, True):
        options = ("--begin", f"{drive.begin_s:g}", "--max-depart-delay", "30", *drive.options)
        sumo = start(drive.backend, network, routes, *options)
        stand_at_the_ends(sumo, network, drive.wall)
        while sumo.simulation.getTime() < drive.begin_s + 100 - 1e-6:
            sumo.simulationStep()
        until_s = drive.begin_s + 100 + lasts_s
        runs.append(hold_to_it(sumo, network, incidents if happens else (), until_s=until_s))
        states.append(snapshot(sumo))
        sumo.close()
    without, account = runs
    account.faults = [fault for fault in account.faults if fault not in without.faults]
    account.faults += [
        f"left behind: {what} {name}"
        for what, found in states[1].items()
        for name in found
        if found[name] != states[0][what].get(name)
    ]
    return account


def accounts(
    start: Callable[..., Any],
    folder: Path,
    ground: Ground,
    *,
    seeds: range,
    traffic: str,
    variant: Variant | None = None,
    backend: str = "libsumo",
) -> Iterator[Account]:
    """One run after another on a network, each with six incidents of its own."""
    variant = variant or Variant()
    network = network_of(ground, variant, folder)
    factor = {"free": 0.4, "dense": 1.3, "queued": 1.0}[traffic]
    routes = ground.routes(folder / "r.rou.xml", factor, begin_s=variant.begin_s, flow=variant.flow)
    for seed in seeds:
        rng = random.Random(f"{traffic} {seed}")
        incidents = draw_incidents(network, rng, begin_s=variant.begin_s + 102, count=6, every_s=12, lasts_s=20)
        wall = ground.wall if traffic == "queued" else ()
        options = (*variant.options, "--seed", str(seed))
        drive = Drive(begin_s=variant.begin_s, options=options, wall=wall, backend=backend)
        yield against_twin(start, network, routes, incidents, drive, lasts_s=100)
