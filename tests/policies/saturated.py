"""A grid with more demand than fixed times can serve, as the paper on max pressure has it, made by ``netgenerate``."""

import random
import subprocess
from pathlib import Path

from sumo import SUMO_HOME

DEMAND_S = 1200
DEMAND_VEH_H = (900.0, 450.0)
"""From each end in the north and south, and in the east and west."""


def saturated_grid(folder: Path, *, demand_veh_h: tuple[float, float] = DEMAND_VEH_H, seed: int = 1) -> Path:
    """A two by two grid of signals with two lanes a road, queued from every end. Returns its ``.sumocfg``."""
    folder.mkdir(parents=True, exist_ok=True)
    binary = Path(SUMO_HOME) / "bin" / "netgenerate"
    command = [binary, "--grid", "--grid.number", "2", "--grid.length", "250", "--grid.attach-length", "250"]
    command += ["--default.lanenumber", "2", "--default-junction-type", "traffic_light", "--no-turnarounds", "true"]
    command += ["--tls.cycle.time", "90", "--output-file", folder / "grid.net.xml"]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    _write_demand(folder, demand_veh_h, random.Random(seed))
    configuration = folder / "grid.sumocfg"
    configuration.write_text(
        f"""<configuration>
  <net-file value="grid.net.xml"/><route-files value="grid.rou.xml"/>
  <begin value="0"/><end value="{DEMAND_S}"/><time-to-teleport value="-1"/>
</configuration>
""",
        encoding="utf-8",
    )
    return configuration


def _write_demand(folder: Path, demand_veh_h: tuple[float, float], draw: random.Random) -> None:
    """Vehicles from every end to the ends across and around, along shortest ways."""
    import sumolib

    net = sumolib.net.readNet(str(folder / "grid.net.xml"))
    starts = [edge for edge in net.getEdges() if not edge.getIncoming()]
    ends = [edge for edge in net.getEdges() if not edge.getOutgoing()]
    routes, lines = [], []
    for start in starts:
        for end in ends:
            way = net.getShortestPath(start, end)[0] if start.getFromNode() != end.getToNode() else None
            if way:
                routes.append((start.getID(), " ".join(edge.getID() for edge in way)))
    for number, (_, edges) in enumerate(routes):
        lines.append(f'<route id="r{number}" edges="{edges}"/>')
    departures = []
    for start in starts:
        own = [number for number, (edge, _) in enumerate(routes) if edge == start.getID()]
        (x, y), (to_x, to_y) = start.getFromNode().getCoord(), start.getToNode().getCoord()
        asked = demand_veh_h[0] if abs(to_y - y) > abs(to_x - x) else demand_veh_h[1]
        for _ in range(round(asked * DEMAND_S / 3600)):
            departures.append((draw.uniform(0, DEMAND_S), draw.choice(own)))
    for number, (depart_s, route) in enumerate(sorted(departures)):
        lines.append(f'<vehicle id="v{number}" depart="{depart_s:.1f}" route="r{route}" departLane="best"/>')
    (folder / "grid.rou.xml").write_text("<routes>\n" + "\n".join(lines) + "\n</routes>\n", encoding="utf-8")
