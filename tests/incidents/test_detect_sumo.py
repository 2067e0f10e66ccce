"""Detection on a road that SUMO simulates: from its floating-car output to incident records."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from scenariogen.incidents.detect import detect_incidents
from scenariogen.network import read_network
from scenariogen.trajectories.records import open_trajectories

pytestmark = pytest.mark.sumo

RUN = """
import sys
import libsumo

net, routes, out, blocked = sys.argv[1:]
libsumo.start(["sumo", "-n", net, "-r", routes, "--fcd-output", out, "--device.fcd.period", "2", "--no-step-log",
               "--no-warnings", "--time-to-teleport", "-1", "--seed", "5", "--collision.action", "warn"])
try:
    while libsumo.simulation.getTime() < 1500:
        if blocked and libsumo.simulation.getTime() == 300:
            libsumo.route.add("stop", ["here"])
            for lane in map(int, blocked.split(",")):
                name = str(1000 + lane)
                libsumo.vehicle.add(name, "stop", "DEFAULT_VEHTYPE", "now", "first", "base", "0")
                libsumo.vehicle.setLength(name, 2.0)
                libsumo.vehicle.moveTo(name, f"here_{lane}", 250.0)
                libsumo.vehicle.setStop(name, "here", 250.0, lane, 1e6)
        if blocked and libsumo.simulation.getTime() == 1100:
            for lane in map(int, blocked.split(",")):
                libsumo.vehicle.remove(str(1000 + lane))
        libsumo.simulationStep()
finally:
    libsumo.close()
"""


@pytest.fixture(scope="module")
def road_files(tmp_path_factory) -> tuple[Path, Path]:
    """Three lanes at 50 km/h that lead to a signal, with 2,400 vehicles an hour."""
    from sumo import SUMO_HOME

    folder = tmp_path_factory.mktemp("road")
    (folder / "n.nod.xml").write_text(
        '<nodes><node id="a" x="0" y="0"/><node id="b" x="500" y="0"/>'
        '<node id="c" x="1000" y="0" type="traffic_light"/><node id="d" x="1500" y="0"/>'
        '<node id="e" x="1000" y="300"/></nodes>'
    )
    (folder / "e.edg.xml").write_text(
        '<edges><edge id="before" from="a" to="b" numLanes="3" speed="13.9"/>'
        '<edge id="here" from="b" to="c" numLanes="3" speed="13.9"/>'
        '<edge id="after" from="c" to="d" numLanes="3" speed="13.9"/>'
        '<edge id="side" from="e" to="c" numLanes="1" speed="13.9"/></edges>'
    )
    (folder / "r.rou.xml").write_text(
        '<routes><route id="main" edges="before here after"/>'
        '<flow id="main" route="main" begin="0" end="1500" vehsPerHour="2400" departLane="free" departSpeed="max"/>'
        '<route id="side" edges="side after"/>'
        '<flow id="side" route="side" begin="0" end="1500" vehsPerHour="200"/></routes>'
    )
    netconvert = str(Path(SUMO_HOME) / "bin" / "netconvert")
    done = subprocess.run(
        [netconvert, "-n", "n.nod.xml", "-e", "e.edg.xml", "-o", "net.net.xml", "--no-warnings"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "net.net.xml", folder / "r.rou.xml"


def recorded(road_files, folder: Path, blocked: str):
    """A run in a process of its own, and what is detected in it."""
    net, routes = road_files
    out = folder / "fcd.parquet"
    arguments = [sys.executable, "-c", textwrap.dedent(RUN), str(net), str(routes), str(out), blocked]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    network = read_network(net)
    return detect_incidents(open_trajectories(out, network), network)


def test_red_lights_on_a_busy_approach_are_no_incident(road_files, tmp_path):
    assert recorded(road_files, tmp_path, "").empty


def test_two_blocked_lanes_before_a_signal_are_one_incident(road_files, tmp_path):
    (row,) = recorded(road_files, tmp_path, "0,1").itertuples()
    assert (row.edge, row.lanes, row.kind) == ("here", [0, 1], "crash")
    assert row.start_s == pytest.approx(301, abs=4)
    assert row.duration_s == pytest.approx(800, abs=6)
    assert row.position_m == pytest.approx(250, abs=2)
    # Two of three lanes blocked leave less than the open lane's third, since vehicles have to merge into it.
    assert not row.capacity_left_is_lower_bound
    assert 0.1 < row.capacity_left < 0.36


def test_full_closure_leaves_nothing(road_files, tmp_path):
    (row,) = recorded(road_files, tmp_path, "0,1,2").itertuples()
    assert row.lanes == [0, 1, 2] and row.capacity_left == 0 and not row.capacity_left_is_lower_bound
