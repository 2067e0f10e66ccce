"""Drivers who look at something beside their road: what it leaves of capacity, and that it stays on their side."""

import numpy as np
import pytest

from scenariogen.errors import ScenarioError
from scenariogen.injection import inject
from scenariogen.injection.attach import Injection
from scenariogen.injection.rig import build_network
from scenariogen.network import read_network
from scenariogen.scenarios.effects import Rubbernecking
from scenariogen.scenarios.opposite import PUBLISHED_CAPACITY_LEFT, opposite_place
from tests.injection import roads

pytestmark = pytest.mark.sumo
BACKENDS = ("libsumo", "traci")


def looking(**others) -> Rubbernecking:
    return Rubbernecking(
        **{"start_s": 60.0, "duration_s": 100.0, "edge": "middle", "position_m": 300.0, "capacity_left": 0.5} | others
    )


@pytest.fixture
def divided(tmp_path):
    """Two carriageways of a motorway, 25 m apart, with traffic on both."""
    nodes = "".join(
        f'<node id="{n}" x="{x}" y="{y}"/>' for n, x, y in (("a", 0, 0), ("b", 1500, 0), ("c", 1500, 25), ("d", 0, 25))
    )
    edges = "".join(f'<edge id="{i}" from="{i[0]}" to="{i[1]}" numLanes="2" speed="30"/>' for i in ("ab", "cd"))
    demand = "".join(
        f'<route id="r{e}" edges="{e}"/><flow id="f{e}" route="r{e}" begin="0" end="900" vehsPerHour="2400" '
        'departLane="free" departSpeed="max"/>'
        for e in ("ab", "cd")
    )
    routes = tmp_path / "both.rou.xml"
    routes.write_text(f"<routes>{demand}</routes>", encoding="utf-8")
    return read_network(build_network(tmp_path, nodes, edges)), routes


@pytest.mark.parametrize("backend", BACKENDS)
def test_beside_an_incident_those_of_the_other_direction_slow_down_and_only_there(start, divided, backend):
    network, routes = divided
    crash = roads.incident(edge="ab", start_s=60, duration_s=100, lanes=(0,), position_m=700, capacity_left=0.35)
    there = opposite_place(network, "ab", 700)
    effect = looking(edge=there.edge, position_m=there.position_m, capacity_left=PUBLISHED_CAPACITY_LEFT)
    sumo = start(backend, network, routes)
    slowest = dict.fromkeys(("before", "during", "elsewhere", "after"), 99.0)
    with inject(sumo, roads.scenario(crash, effects=(effect,)), network=network) as injection:
        while sumo.simulation.getTime() < 230:
            sumo.simulationStep()
            now = sumo.simulation.getTime()
            for vehicle in sumo.edge.getLastStepVehicleIDs("cd"):
                apart_m = abs(sumo.vehicle.getLanePosition(vehicle) - there.position_m)
                if apart_m < 10:
                    span = "before" if now < 60 else "during" if 75 < now < 160 else "after" if now > 180 else ""
                elif apart_m > 400:
                    span = "elsewhere"
                else:
                    continue
                if span and not (span == "elsewhere" and sumo.vehicle.getLanePosition(vehicle) < there.position_m):
                    slowest[span] = min(slowest[span], sumo.vehicle.getSpeed(vehicle))
        left = [sumo.vehicle.getSpeedFactor(v) for v in sumo.edge.getLastStepVehicleIDs("cd")]
    assert slowest["during"] < 14 < 20 < min(slowest["before"], slowest["after"])
    assert slowest["elsewhere"] > 18
    assert min(left) > 0.7 and injection.own_vehicles == {"incident.0.0"}
    (report,) = injection.effects_report()
    assert (report.realised, report.start_s, report.end_s, report.reason) == (True, 60, 160, "")


@pytest.mark.parametrize("share", [PUBLISHED_CAPACITY_LEFT, 0.6])
def test_so_much_capacity_is_left_as_asked(start, road, tmp_path, share):
    network, routes = road(2), roads.flows(tmp_path, lanes=2, per_lane_veh_h=2700, end=2000)
    sumo = start("libsumo", network, routes, "--max-depart-delay", "20")
    effect = looking(start_s=780.0, duration_s=720.0, capacity_left=share)
    per_minute = np.zeros(25)
    with inject(sumo, roads.scenario(effects=(effect,)), network=network):
        while sumo.simulation.getTime() < 1500:
            sumo.simulationStep()
            minute = int((sumo.simulation.getTime() - 1) // 60)
            per_minute[minute] += sumo.simulation.getArrivedNumber()
    free, slowed = per_minute[3:13], per_minute[16:25]
    found = slowed.mean() / free.mean()
    error = found * np.hypot(
        free.std(ddof=1) / free.mean() / len(free) ** 0.5, slowed.std(ddof=1) / slowed.mean() / len(slowed) ** 0.5
    )
    assert abs(found - share) < 0.03 + 2 * error


def test_what_cannot_be_had_is_refused_with_the_range(start, road):
    sumo = start("libsumo", road(3))
    effects = (looking(capacity_left=0.1), looking(edge="midle"), looking(position_m=9e3, capacity_left=0.0))
    with pytest.raises(ScenarioError) as caught:
        inject(sumo, roads.scenario(effects=effects), network=road(3)).__enter__()
    text = str(caught.value)
    for part in (
        "effect 0 (rubbernecking): capacity_left 0.1 is out of reach with 0 of 3 motorway lanes blocked: between",
        "effect 1 (rubbernecking): edge 'midle' is not in",
        "effect 2 (rubbernecking): position_m is 9000",
        "effect 2 (rubbernecking): capacity_left is 0",
    ):
        assert part in text


@pytest.mark.parametrize("backend", BACKENDS)
def test_where_stretches_overlap_the_slower_one_holds_and_each_ends_by_itself(start, road, tmp_path, backend):
    network = road(2)
    sumo = start(backend, network, roads.flows(tmp_path, lanes=2, per_lane_veh_h=900))
    speeds = {0.5: 4.0, 0.9: 9.0}
    both = looking(duration_s=200.0, capacity_left=0.9), looking(start_s=100.0, duration_s=60.0, capacity_left=0.5)
    seen: dict[float, list[float]] = {}
    with Injection(
        sumo, roads.scenario(effects=both), network=network, passing_speed=lambda i, e: speeds[i.capacity_left]
    ):
        while sumo.simulation.getTime() < 300:
            sumo.simulationStep()
            seen[sumo.simulation.getTime()] = [
                sumo.vehicle.getSpeed(v)
                for v in sumo.edge.getLastStepVehicleIDs("middle")
                if 285 < sumo.vehicle.getLanePosition(v) < 302
            ]
    least = {
        name: min(speed for time, found in seen.items() if low < time < high for speed in found)
        for name, low, high in (("one", 75, 100), ("two", 120, 160), ("one again", 185, 255), ("none", 285, 300))
    }
    assert 6 < least["one"] < 9.5 and 1 < least["two"] < 4.5 and 6 < least["one again"] < 9.5 < 15 < least["none"]


def test_a_share_that_needs_nobody_to_slow_down_says_so(start, road, tmp_path):
    sumo = start("libsumo", road(2), roads.flows(tmp_path, lanes=2, per_lane_veh_h=600))
    with inject(sumo, roads.scenario(effects=(looking(capacity_left=1.0),)), network=road(2)) as injection:
        roads.run_until(sumo, 120)
        assert all(sumo.vehicle.getSpeedFactor(v) > 0.6 for v in sumo.vehicle.getIDList())
    assert "without anybody slowing down" in injection.effects_report()[0].reason
