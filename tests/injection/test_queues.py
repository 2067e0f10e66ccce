"""Queues behind incidents by minute: known vehicles on a road, the table, and the picture."""

import csv
import re
from dataclasses import replace
from types import SimpleNamespace
from xml.dom import minidom

import pytest

from scenariogen.errors import SimulationError
from scenariogen.injection.connection import Link
from scenariogen.injection.queues import QueueLog, QueueMoment, QueueSimulator, read_queues, write_queues
from scenariogen.report.queues import queue_svg
from scenariogen.scenarios.records import Condition
from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.dummy import DummySimulator
from tests.cli.runner import scenariogen
from tests.cli.test_effect import one, project  # noqa: F401 - fixtures
from tests.cli.test_mistakes import refused
from tests.injection import roads
from tests.simulation.small import window


def run_at(sumo):
    return SimpleNamespace(time_s=sumo.simulation.getTime(), waiting=lambda: len(sumo.simulation.getPendingVehicles()))


@pytest.mark.sumo
def test_a_wall_of_standing_vehicles_is_counted_with_its_reach(start, road, tmp_path):
    """Both lanes are blocked for good: every vehicle that has entered and stands is in the queue, ours is not."""
    network = road(2)
    sumo = start("libsumo", network, roads.flows(tmp_path, lanes=2, per_lane_veh_h=900))
    roads.stand_still(sumo, edge="middle", lanes=2, position_m=400, name="incident.0")  # named as ours are
    asked = roads.incident(start_s=200, duration_s=100, lanes=(0, 1), position_m=400, capacity_left=0)
    log = QueueLog(Link(sumo), network, roads.scenario(asked))
    while sumo.simulation.getTime() < 420:
        sumo.simulationStep()
        log.look(run_at(sumo))
    assert [each.time_s for each in log.moments] == [1.0, 60.0, 120.0, 180.0, 240.0, 300.0, 360.0, 420.0]
    assert [each.phase for each in log.moments] == ["before"] * 4 + ["standing"] + ["over"] * 3
    last = log.moments[-1]
    ask = sumo.vehicle
    upstream = {"before", "middle"}
    standing = [
        v for v in ask.getIDList()
        if not v.startswith("incident") and ask.getRoadID(v) in upstream and ask.getSpeed(v) < 5 / 3.6
        and not (ask.getRoadID(v) == "middle" and ask.getLanePosition(v) > 400)
    ]  # fmt: skip
    assert last.standing_veh == len(standing) > 10
    starts_m = {"before": 0.0, "middle": network.edges["before"].length_m}
    farthest = min(starts_m[ask.getRoadID(v)] + ask.getLanePosition(v) for v in standing)
    assert last.reach_m == pytest.approx(starts_m["middle"] + 400 - farthest, abs=0.1)
    assert log.moments[0].standing_veh == 0


@pytest.mark.sumo
def test_who_does_not_go_past_the_spot_is_not_in_the_queue(start, diamond, tmp_path):
    edges = [e for e in diamond.edges.values() if len(e.successors) > 1]
    fork = edges[0]
    taken, other = fork.successors[:2]
    sumo = start("libsumo", diamond)
    for name, after in (("passes", taken), ("turns", other)):
        sumo.route.add(name, [fork.id, after])
        sumo.vehicle.add(f"{name}.0", name, departPos="10" if name == "passes" else "30")
        sumo.vehicle.setStop(f"{name}.0", fork.id, 60 if name == "passes" else 90, 0, 1e6)
    roads.run_until(sumo, 60)
    asked = roads.incident(start_s=0, edge=taken, position_m=5)
    log = QueueLog(Link(sumo), diamond, roads.scenario(asked))
    sumo.route.add("wall", [taken])
    sumo.vehicle.add("wall.0", "wall", departPos="0")
    sumo.vehicle.setStop("wall.0", taken, 2, 0, 1e6)
    roads.run_until(sumo, 70)
    log.look(run_at(sumo))
    assert log.moments[0].standing_veh == sum(sumo.vehicle.getSpeed(v) < 5 / 3.6 for v in ("passes.0", "wall.0"))


@pytest.mark.sumo
def test_run_writes_the_queue_and_its_picture_and_changes_nothing(project, one, tmp_path):  # noqa: F811
    import json

    out = tmp_path / "queue.csv"
    typed = ("run", "--sumocfg", project, "--scenarios", one, "--json")
    plain, with_queue = (json.loads(scenariogen(*typed, *more).stdout) for more in ((), ("--queue", out)))
    assert with_queue.pop("queue") == str(out) and plain.pop("queue") is None
    assert with_queue == plain
    moments = read_queues(out)
    assert moments and {each.edge for each in moments} == {"out"} and {"standing", "over"} <= {m.phase for m in moments}
    assert all(each.time_s % 60 == 0 for each in moments[1:])
    assert minidom.parse(str(out.with_suffix(".svg"))).getElementsByTagName("polyline")


def test_a_queue_that_cannot_be_written_is_refused(project, one, tmp_path):  # noqa: F811
    typed = ("run", "--sumocfg", project, "--scenarios", one)
    for more, said in (
        (("--queue", tmp_path / "q.txt"), "expected a file that ends in .csv"),
        (("--queue", tmp_path / "q.csv", "--gui"), "--queue is for a run without a window"),
    ):
        result = scenariogen(*typed, *more)
        assert result.exit_code == 2 and said in " ".join(result.output.replace("│", " ").split())
    empty = tmp_path / "empty.json"
    snow = ("--kind", "light_snow", "--from", "0s", "--for", "5min")
    assert scenariogen("effect", empty, "weather", *snow, "--sumocfg", project, "--new").exit_code == 0
    refused(
        "run", "--sumocfg", project, "--scenarios", empty, "--queue", tmp_path / "q.csv",
        says=("has no incident whose queue could be counted",),
    )  # fmt: skip


def test_the_dummy_has_no_queue_to_count(tmp_path, road):
    simulator = QueueSimulator(DummySimulator(), roads.scenario(roads.incident()), road(2), tmp_path / "q.csv")
    with pytest.raises(SimulationError, match="use SUMO"):
        simulator.open(RunRequest(window=window(600), seed=1, folder=tmp_path))


def moment(number, time_s, standing_veh, phase="standing"):
    return QueueMoment(
        time_s=time_s, clock="07:00", incident=number, kind="crash", edge="a<b", phase=phase,
        standing_veh=standing_veh, reach_m=7.5 * standing_veh, waiting_to_enter_veh=0,
    )  # fmt: skip


def test_the_table_comes_back_and_the_picture_is_xml(tmp_path):
    moments = [moment(n, 60.0 * t, n * t) for t in range(5) for n in (0, 1)]
    write_queues(moments, tmp_path / "q.csv")
    assert read_queues(tmp_path / "q.csv") == moments
    assert len(list(csv.reader((tmp_path / "q.csv").open(encoding="utf-8")))) == 11
    picture = minidom.parseString(queue_svg(moments, title="<b>"))
    lines = picture.getElementsByTagName("polyline")
    assert len(lines) == 2
    heights = [[float(p.split(",")[1]) for p in each.getAttribute("points").split()] for each in lines]
    assert len(set(heights[0])) == 1 and heights[1] == sorted(heights[1], reverse=True)
    assert "crash on a<b: at most 4 vehicles, 30 m" in "".join(
        t.firstChild.data for t in picture.getElementsByTagName("text") if t.firstChild
    )
    assert "<svg" in queue_svg([])


def test_queues_are_told_by_the_scenarios_clock():
    """The axis counted from SUMO's second 0 wherever that is on the clock; round times of day are marked."""
    moments = [moment(0, 60.0 * t, t) for t in range(11)]
    drawn = queue_svg(moments, condition=Condition(clock_s=7 * 3600.0 + 120.0))
    marks = re.findall(r">(\d\d:\d\d)<", drawn)
    assert marks == ["07:05", "07:10"]


def test_the_tables_clock_is_the_scenarios(road):
    asked = roads.incident(start_s=200, duration_s=100, position_m=400)
    scenario = replace(roads.scenario(asked), condition=Condition(clock_s=7 * 3600.0))
    nobody = SimpleNamespace(edge=SimpleNamespace(getLastStepVehicleIDs=lambda edge: ()), vehicle=None)
    log = QueueLog(nobody, road(2), scenario)
    log.look(SimpleNamespace(time_s=240.0, waiting=lambda: 0))
    assert [(each.time_s, each.clock) for each in log.moments] == [(240.0, "07:04")]
