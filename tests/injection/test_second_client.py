"""Incidents in a simulation that another process started and drives, by a port with room for a second client."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sumolib.miscutils import getFreeSocketPort

from scenariogen.errors import ScenarioError, SimulationError
from scenariogen.injection.second_client import inject_by_port
from scenariogen.simulation.launch import sumo_home
from tests.injection import roads

pytestmark = pytest.mark.sumo

OWNER = """
import sys
import traci

port, steps, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
connection = traci.connect(port)
connection.setOrder(1)
seen = []
for _ in range(steps):
    connection.simulationStep()
    seen.append(str(len(connection.vehicle.getIDList())))
connection.close()
with open(out, "w") as file:
    file.write(" ".join(seen))
"""


@contextmanager
def driven(
    folder: Path, network, *, clients: int = 2, steps: int = 150
) -> Iterator[tuple[int, Path, subprocess.Popen]]:
    """A simulation that another process drives: its port, the file with what that saw in each step, and itself."""
    port, out = getFreeSocketPort(), folder / "seen.txt"
    server = [sumo_home() / "bin" / "sumo", "-n", network.path, "--remote-port", port, "--num-clients", 2]
    simulator = subprocess.Popen(
        [*map(str, server), *roads.QUIET, *roads.STABLE, "--begin", "0"], stdout=subprocess.DEVNULL
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(OWNER), str(port), str(steps), str(out)],
        stdout=subprocess.DEVNULL,
    )
    try:
        yield port, out, simulator
        owner.wait(60)
    finally:
        for process in (owner, simulator):
            process.kill()
            process.wait()


def test_a_second_client_brings_incidents_and_leaves_the_first_one_driving(road, tmp_path):
    network = road(2)
    asked = roads.incident(start_s=20, duration_s=30, capacity_left=0.3)
    times = []
    with driven(tmp_path, network) as (port, out, _):
        (report,) = inject_by_port(port, roads.scenario(asked), network=network, progress=times.append)
    assert (report.realised, report.start_s, report.end_s, report.reason) == (True, 20, 50, "")
    assert times[-1] == 50
    seen = [int(word) for word in out.read_text().split()]
    assert len(seen) == 150  # the driver went on to its own end
    assert set(seen[25:45]) == {1} and set(seen[60:]) == {0}


def test_a_simulation_that_ends_first_is_a_clean_end(road, tmp_path):
    """Without its driver SUMO goes on for whoever is left; then it is ended from outside."""
    network = road(2)
    asked = roads.scenario(roads.incident(start_s=20, duration_s=5000, capacity_left=0.3))
    with driven(tmp_path, network, steps=60) as (port, _, simulator):

        def end(now_s: float) -> None:
            if now_s == 100:
                simulator.kill()
                simulator.wait()

        (report,) = inject_by_port(port, asked, network=network, progress=end)
    assert report.realised and report.reason == "the simulation ended before its end"
    assert report.end_s == pytest.approx(100, abs=2)


def test_no_room_for_a_second_client_is_said(road, tmp_path):
    network = road(2)
    asked = roads.scenario(roads.incident())
    with pytest.raises(SimulationError, match="--num-clients 2"):
        inject_by_port(getFreeSocketPort(), asked, network=network, wait_s=0.2)
    port = getFreeSocketPort()
    server = [sumo_home() / "bin" / "sumo", "-n", network.path, "--remote-port", port, "--end", 10]
    simulator = subprocess.Popen([*map(str, server), *roads.QUIET], stdout=subprocess.DEVNULL)
    try:
        with pytest.raises(SimulationError, match="takes one client only"):
            inject_by_port(port, asked, network=network)
    finally:
        simulator.kill()
        simulator.wait()


def test_a_scenario_that_cannot_happen_there_leaves_the_simulation_alone(road, tmp_path):
    network = road(2)
    with driven(tmp_path, network, steps=40) as (port, out, _), pytest.raises(ScenarioError, match="nowhere"):
        inject_by_port(port, roads.scenario(roads.incident(edge="nowhere")), network=network)
    assert len(out.read_text().split()) == 40


def test_from_the_command_line(road, tmp_path):
    from tests.cli.runner import scenariogen

    network = road(2)
    file = roads.scenario_file(tmp_path / "one.json", network, start_s=20, duration_s=30)
    with driven(tmp_path, network) as (port, _, _):
        result = scenariogen("attach", file, "--port", port)
    assert result.exit_code == 0, result.stderr
    assert "on middle at 250 m, lanes [0], from 00:00:20 for 30 s" in result.stdout


def test_a_file_that_was_made_for_another_network_is_refused_from_the_command_line(road, tmp_path):
    from tests.cli.runner import scenariogen

    file = roads.scenario_file(tmp_path / "one.json", road(3), start_s=20, duration_s=30)
    with driven(tmp_path, road(2), steps=40) as (port, _, _):
        result = scenariogen("attach", file, "--port", port, "--index", 0)
    assert result.exit_code == 1 and "one.json was made for a network with hash" in result.stderr
