"""A small motorway, generated where it is used: three lanes, one on-ramp, with or without a signal of its own."""

import subprocess
import tempfile
from functools import cache
from pathlib import Path

from scenariogen.simulation.launch import sumo_home
from scenariogen.simulation.project import SumoProject
from tests.simulation.small import small_project

NODES = """<nodes>
  <node id="a" x="0" y="0"/><node id="b" x="1000" y="0"/><node id="c" x="1400" y="0"/><node id="d" x="2400" y="0"/>
  <node id="town" x="390" y="-200"/><node id="meter" x="{x:g}" y="{y:g}" type="{meter}"/>
</nodes>"""
EDGES = """<edges>
  <edge id="m1" from="a" to="b" numLanes="3" speed="30.56" type="highway.motorway"/>
  <edge id="m2" from="b" to="c" numLanes="4" speed="30.56" type="highway.motorway">
    <lane index="0" acceleration="1"/></edge>
  <edge id="m3" from="c" to="d" numLanes="3" speed="30.56" type="highway.motorway"/>
  <edge id="ramp" from="town" to="meter" numLanes="1" speed="16.67" type="highway.motorway_link"/>
  <edge id="slip" from="meter" to="b" numLanes="1" speed="22.22" type="highway.motorway_link"/>
</edges>"""
CONNECTIONS = """<connections>
  <connection from="m1" to="m2" fromLane="0" toLane="1"/><connection from="m1" to="m2" fromLane="1" toLane="2"/>
  <connection from="m1" to="m2" fromLane="2" toLane="3"/><connection from="slip" to="m2" fromLane="0" toLane="0"/>
  <connection from="m2" to="m3" fromLane="1" toLane="0"/><connection from="m2" to="m3" fromLane="2" toLane="1"/>
  <connection from="m2" to="m3" fromLane="3" toLane="2"/>
</connections>"""
CAR = '<vType id="car" carFollowModel="EIDM" accel="1.1" decel="2.0" tau="1.05"/>'
TRUCK = '<vType id="truck" vClass="truck" carFollowModel="EIDM" accel="0.4" decel="2.0" tau="1.5" maxSpeed="25"/>'
STEPS = '<time><begin value="0"/><end value="{end_s:g}"/><step-length value="0.5"/></time>'


@cache
def motorway(*, signal: bool, slip_m: float = 190.0) -> str:
    """The network file's text. With ``signal`` the ramp has a traffic light that is green throughout.

    ``slip_m`` is about the length between that place and the motorway.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "n.nod.xml").write_text(
            NODES.format(meter="traffic_light" if signal else "priority", x=1000 - slip_m, y=-min(45.0, slip_m / 4))
        )
        (folder / "n.edg.xml").write_text(EDGES)
        (folder / "n.con.xml").write_text(CONNECTIONS)
        command = [str(sumo_home() / "bin" / "netconvert"), "-n", "n.nod.xml", "-e", "n.edg.xml", "-x", "n.con.xml"]
        options = ["--no-turnarounds", "true", "--tls.green.time", "90", "-o", "n.net.xml"]
        subprocess.run([*command, *options], cwd=folder, check=True, capture_output=True)
        return (folder / "n.net.xml").read_text()


def flow(name: str, edges: str, veh_h: float, end_s: float, *, kind: str = "car", begin_s: float = 0.0) -> str:
    """Evenly spaced departures."""
    return (
        f'<flow id="{name}" type="{kind}" begin="{begin_s:g}" end="{end_s:g}" vehsPerHour="{veh_h:g}" '
        f'departLane="best" departSpeed="last"><route edges="{edges}"/></flow>'
    )


def motorway_project(
    folder: Path, *, signal: bool, through_veh_h: float, ramp_veh_h: float, end_s: float = 1200.0, slip_m: float = 190.0
) -> SumoProject:
    """A project with constant flows through and from the ramp."""
    routes = CAR + TRUCK
    if through_veh_h:
        routes += flow("through", "m1 m2 m3", through_veh_h, end_s)
    if ramp_veh_h:
        routes += flow("ramp", "ramp slip m2 m3", ramp_veh_h, end_s)
    return small_project(folder, routes, net=motorway(signal=signal, slip_m=slip_m), options=STEPS.format(end_s=end_s))
