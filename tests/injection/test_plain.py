"""A scenario for plain SUMO: what the files make happen, run by ``sumo`` alone, and what is refused."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from scenariogen.errors import ScenarioError
from scenariogen.incidents.records import Incident, IncidentKind
from scenariogen.injection import inject
from scenariogen.injection.plain import export_plain
from scenariogen.injection.plain_elements import plain_incidents, speed_signs, strictest
from scenariogen.scenarios.effects import (
    Closure,
    DemandSurge,
    Effect,
    FailureMode,
    Rubbernecking,
    SignalFailure,
    SpeedLimit,
    Weather,
)
from scenariogen.scenarios.records import Condition, Drivers, Scenario, ScenarioBatch
from scenariogen.simulation.launch import sumo_home
from scenariogen.simulation.project import SumoProject
from tests.injection import roads
from tests.simulation import small

SUMO = sumo_home() / "bin" / "sumo"
FLOW = '<flow id="f" type="plain" begin="0" end="600" period="6"><route edges="ab bc cd"/></flow>'


def batch_of(project: SumoProject, *incidents: Incident, scale: float = 1.0, **window) -> ScenarioBatch:
    scenario = Scenario(
        index=3, seed=11, condition=Condition(demand_scale=scale), incidents=incidents, drivers=Drivers()
    )
    return ScenarioBatch(
        project_hash=project.hash,
        network_hash=project.network().sha256,
        network_name="small",
        window=small.window(900.0, **window),
        scenarios=(scenario,),
    )


def closed(**changes) -> Incident:
    """The middle edge's only lane shut from second 100 to 160."""
    return roads.incident(**({"edge": "bc", "capacity_left": 0.0} | changes))


def export(project: SumoProject, folder: Path, *incidents: Incident, **others):
    batch = batch_of(project, *incidents, **others)
    return export_plain(project, batch, batch.scenarios[0], folder)


def run_alone(configuration: Path, *options: str) -> subprocess.CompletedProcess:
    """Plain ``sumo`` in a process of its own."""
    return subprocess.run([SUMO, "-c", configuration, *options], capture_output=True, text=True, check=True)


def positions(path: Path, prefix: str) -> dict[float, set[tuple[str, str, float]]]:
    """Second → (vehicle, lane, position) of the vehicles whose id begins so, from an FCD file."""
    return {
        float(step.get("time", "")): {
            (each.get("id", ""), each.get("lane", ""), float(each.get("pos", "")))
            for each in step
            if each.get("id", "").startswith(prefix)
        }
        for step in ElementTree.parse(path).getroot()
    }


@pytest.mark.sumo
@pytest.mark.parametrize("scale", [1.0, 1.7, 0.6])
def test_the_vehicle_stands_exactly_as_long_as_asked_once_whatever_the_demand_scale(tmp_path, scale):
    project = small.small_project(tmp_path / "city", small.PLAIN + FLOW)
    made = export(project, tmp_path / "out", closed(start_s=100.0, duration_s=60.0), scale=scale)
    run_alone(made.configuration, "--fcd-output", tmp_path / "fcd.xml")
    seen = positions(tmp_path / "fcd.xml", "incident.")
    present = sorted(second for second, found in seen.items() if found)
    assert present == [float(second) for second in range(100, 160)]
    assert set().union(*seen.values()) == {("incident.0.0", "bc_0", 250.0)}
    assert made.vehicles == ("incident.0.0",)


@pytest.mark.sumo
def test_nobody_passes_while_the_road_is_shut_and_all_arrive_afterwards(tmp_path):
    project = small.small_project(tmp_path / "city", small.PLAIN + FLOW)
    made = export(project, tmp_path / "out", closed(start_s=120.0, duration_s=200.0))
    run_alone(made.configuration, "--fcd-output", tmp_path / "fcd.xml", "--tripinfo-output", tmp_path / "trips.xml")
    seen = positions(tmp_path / "fcd.xml", "f.")
    past = {
        second: {vehicle for vehicle, lane, position in found if lane == "bc_0" and 260 < position < 400}
        for second, found in seen.items()
    }
    assert past[119.0]
    assert not any(past[float(second)] for second in range(140, 320))
    trips = ElementTree.parse(tmp_path / "trips.xml").getroot()
    assert sum(trip.get("id", "").startswith("f.") for trip in trips) == 100


@pytest.mark.sumo
def test_a_squeezed_street_is_slow_while_it_lasts_and_as_it_was_afterwards(tmp_path):
    project = small.small_project(tmp_path / "city", small.PLAIN + FLOW)
    squeezed = closed(start_s=100.4, duration_s=200.3, capacity_left=0.4)
    made = export(project, tmp_path / "out", squeezed)
    signs = ElementTree.parse(made.additional).getroot().findall("variableSpeedSign")
    assert [sign.get("lanes") for sign in signs] == ["bc_0"]
    steps = [(float(step.get("time", "")), float(step.get("speed", ""))) for step in signs[0]]
    assert [second for second, _ in steps] == [101.0, 301.0]  # a sign between two steps is never undone
    assert 1.0 < steps[0][1] < 13.0
    assert steps[1][1] == -1
    run_alone(made.configuration, "--fcd-output", tmp_path / "fcd.xml")
    fastest: dict[float, float] = {}
    for step in ElementTree.parse(tmp_path / "fcd.xml").getroot():
        for each in step:
            if each.get("lane") == "bc_0" and each.get("id", "").startswith("f."):
                second = float(step.get("time", ""))
                fastest[second] = max(fastest.get(second, 0.0), float(each.get("speed", "")))
    assert max(fastest[second] for second in fastest if 130 <= second < 300) <= steps[0][1] + 0.01
    assert max(fastest[second] for second in fastest if 320 <= second < 360) > 13.0
    assert max(fastest[second] for second in fastest if 60 <= second < 100) > 13.0


@pytest.mark.sumo
def test_a_vehicle_at_the_side_blocks_nobody(tmp_path):
    project = small.small_project(tmp_path / "city", small.PLAIN + FLOW)
    made = export(project, tmp_path / "out", closed(lanes=(), capacity_left=0.95, start_s=100, duration_s=300))
    assert made.additional.read_text().count('parking="true"') == 1
    run_alone(made.configuration, "--fcd-output", tmp_path / "fcd.xml")
    seen = positions(tmp_path / "fcd.xml", "f.")
    assert any(lane == "bc_0" and position > 260 for _, lane, position in seen[350.0])


@pytest.mark.sumo
def test_the_project_is_not_touched_and_both_may_be_moved_together(tmp_path):
    detector = '<inductionLoop id="d" lane="cd_0" pos="100" period="60" file="loops.xml"/>'
    options = '<output><summary-output value="summary.xml"/></output><time><begin value="0"/></time>'
    home = tmp_path / "home sweet & home"
    project = small.small_project(home / "city", small.PLAIN + FLOW, additional=detector, options=options)
    before = small.fingerprint(home / "city")
    made = export(project, home / "out", closed())
    assert str(tmp_path) not in "".join(path.read_text() for path in made.folder.rglob("*.xml"))
    assert str(tmp_path) not in made.configuration.read_text()
    moved = tmp_path / "elsewhere"
    shutil.move(home, moved)
    said = run_alone(moved / "out" / made.configuration.name)
    assert "Error" not in said.stderr
    assert small.fingerprint(moved / "city") == before
    written = {path.name for path in (moved / "out" / "project-output").iterdir()}
    assert written == {"loops.xml", "summary.xml"}
    assert not list(tmp_path.glob("*/.*"))


@pytest.mark.sumo
def test_the_projects_own_teleports_and_quiet_are_replaced_or_kept(tmp_path):
    options = '<processing><time-to-teleport value="120"/></processing><report><verbose value="true"/></report>'
    project = small.small_project(tmp_path / "city", small.PLAIN + FLOW, options=options)
    made = export(project, tmp_path / "out", closed(duration_s=500.0))
    said = run_alone(made.configuration)
    assert "Loading done" in said.stdout
    assert "teleport" not in said.stderr
    text = made.configuration.read_text()
    assert '<time-to-teleport value="-1"/>' in text
    assert '<collision.action value="warn"/>' in text
    assert "time-to-teleport: 120 -> -1" in text


@pytest.mark.sumo
def test_repeated_demand_and_odd_names_are_carried(tmp_path):
    project = small.small_project(
        tmp_path / "city", '<vehicle id="x" depart="5"><route edges="in[0]#1 out short"/></vehicle>', net=small.cross()
    )
    incident = roads.incident(edge="in[0]#1", lanes=(0,), position_m=100.0, capacity_left=0.4)
    made = export(project, tmp_path / "out", incident, copies=3, period_s=200.0)
    run_alone(made.configuration, "--tripinfo-output", tmp_path / "trips.xml")
    assert len(ElementTree.parse(tmp_path / "trips.xml").getroot()) == 4  # three and the blocking vehicle


def test_overlapping_limits_never_fight_over_a_lane(road):
    network = road(3)
    one = roads.incident(start_s=100, duration_s=200, lanes=(0,), capacity_left=0.5)
    two = roads.incident(start_s=200, duration_s=300, lanes=(), capacity_left=0.9)
    found = plain_incidents([one, two], network, begin_s=0.0, step_s=1.0)
    assert all(each.speed_mps for each in found)
    slow, fast = sorted(each.speed_mps or 0 for each in found)
    signs = speed_signs(found)
    assert [sign.lane for sign in signs] == ["middle_0", "middle_1", "middle_2"]
    assert signs[0].steps == ((100.0, slow), (300.0, fast), (500.0, None))


def test_the_strictest_claim_holds_at_any_moment():
    claims = [(0.0, 10.0, 5.0), (2.0, 4.0, 3.0), (3.0, 12.0, 6.0), (20.0, 30.0, 7.0)]
    steps = strictest(claims)
    for second in range(40):
        held = [value for at, value in steps if at <= second][-1]
        assert held == min((value for start, end, value in claims if start <= second < end), default=None)


@pytest.mark.sumo
def test_what_xml_cannot_say_stands_in_the_head(tmp_path):
    project = small.small_project(
        tmp_path / "city",
        small.PLAIN + FLOW,
        additional='<variableSpeedSign id="theirs" lanes="bc_0"><step time="50" speed="9"/></variableSpeedSign>',
    )
    made = export(
        project, tmp_path / "out", closed(capacity_left=0.4, position_m=2.0, start_s=100.5, kind=IncidentKind.CRASH)
    )
    text = made.additional.read_text()
    ElementTree.fromstring(text)
    said = " ".join(made.limits)
    for words in ("30% of the drivers", "m of its edge", "stands at 5.1 m", "sign of the project", "with a step"):
        assert words in said
    assert all(limit.replace("--", "- -") in text for limit in made.limits)


@pytest.mark.sumo
def test_everything_wrong_is_said_at_once_and_nothing_is_written(tmp_path):
    project = small.small_project(tmp_path / "city", small.PLAIN + FLOW)
    wrong = [closed(edge="nowhere"), closed(position_m=9000.0), closed(start_s=5000.0), closed(lanes=())]
    with pytest.raises(ScenarioError) as caught:
        export(project, tmp_path / "out", *wrong)
    assert len(caught.value.problems) == 4
    batch = batch_of(project, closed())
    with pytest.raises(ScenarioError, match="hash"):
        export_plain(project, replace(batch, project_hash="0" * 64), batch.scenarios[0], tmp_path / "out")
    with pytest.raises(ScenarioError, match="out of reach"):
        export(project, tmp_path / "out", closed(capacity_left=0.01))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with pytest.raises(ScenarioError, match="not empty"):
        export(project, tmp_path / "full", closed())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["city", "full"]
    assert (tmp_path / "full" / "mine.txt").read_text() == "keep"


@pytest.mark.sumo
def test_a_failure_half_way_leaves_nothing(tmp_path, monkeypatch):
    project = small.small_project(tmp_path / "city", small.PLAIN + FLOW)

    def fails(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("scenariogen.injection.plain._write_xml", fails)
    with pytest.raises(OSError, match="disk full"):
        export(project, tmp_path / "out", closed())
    assert [path.name for path in tmp_path.iterdir()] == ["city"]


def with_effects(project: SumoProject, *effects: Effect) -> ScenarioBatch:
    batch = batch_of(project)
    return replace(batch, scenarios=(replace(batch.scenarios[0], effects=effects),))


@pytest.mark.sumo
def test_a_failed_signal_shows_what_it_shows_live_and_comes_back_in_step(tmp_path):
    import libsumo

    flow = '<flow id="f" begin="0" end="600" period="6"><route edges="in[0]#1 out"/></flow>'
    project = small.small_project(tmp_path / "city", flow, net=small.cross())
    failures = (
        SignalFailure(signal="m", start_s=130.0, duration_s=75.0, mode=FailureMode.OFF),
        SignalFailure(signal="m", start_s=190.5, duration_s=60.0, mode=FailureMode.FLASHING),
    )
    batch = with_effects(project, *failures)
    made = export_plain(project, batch, batch.scenarios[0], tmp_path / "out")

    def shown(*arguments: str, scenario: Scenario | None = None) -> list[str]:
        libsumo.start(["sumo", *arguments, "--no-step-log"])
        try:
            with inject(libsumo, scenario or replace(batch.scenarios[0], effects=()), network=project.network()):
                states = []
                while libsumo.simulation.getTime() < 400:
                    libsumo.simulationStep()
                    states.append(libsumo.trafficlight.getRedYellowGreenState("m"))
                return states
        finally:
            libsumo.close()

    undisturbed = shown("-c", str(project.sumocfg))
    plain = shown("-c", str(made.configuration))
    live = shown("-c", str(project.sumocfg), scenario=replace(batch.scenarios[0], effects=failures[:1]))
    assert plain[:130] == undisturbed[:130]
    assert plain[251:] == undisturbed[251:]
    assert plain[140:185] == live[140:185] != undisturbed[140:185]
    assert set(plain[195:250]) == {"ooooo"}


@pytest.mark.sumo
def test_limits_of_effects_and_incidents_share_one_sign(tmp_path):
    project = small.small_project(tmp_path / "city", small.PLAIN + FLOW)
    limit = SpeedLimit(edges=("bc",), limit_mps=1.0, start_s=200.0, duration_s=100.0, warnings=((100.0, 8.0),))
    batch = batch_of(project, closed(start_s=100.0, duration_s=150.0, capacity_left=0.4))
    batch = replace(batch, scenarios=(replace(batch.scenarios[0], effects=(limit,)),))
    made = export_plain(project, batch, batch.scenarios[0], tmp_path / "out")
    signs = {
        sign.get("lanes"): [(float(step.get("time", "")), float(step.get("speed", ""))) for step in sign]
        for sign in ElementTree.parse(made.additional).getroot().findall("variableSpeedSign")
    }
    assert set(signs) == {"bc_0", "ab_0"}
    assert signs["ab_0"] == [(200.0, 8.0), (300.0, -1.0)]
    assert [second for second, _ in signs["bc_0"]] == [100.0, 200.0, 300.0]
    assert signs["bc_0"][1:] == [(200.0, 1.0), (300.0, -1.0)]
    run_alone(made.configuration)


@pytest.mark.sumo
def test_rubbernecking_is_a_sign_on_its_edge_and_says_what_that_is_not(tmp_path):
    project = small.small_project(tmp_path / "city", small.PLAIN + FLOW)
    looking = Rubbernecking(edge="bc", position_m=250.0, capacity_left=0.6, start_s=100.0, duration_s=200.0)
    batch = with_effects(project, looking, replace(looking, edge="cd", capacity_left=1.0))
    made = export_plain(project, batch, batch.scenarios[0], tmp_path / "out")
    (sign,) = ElementTree.parse(made.additional).getroot().findall("variableSpeedSign")
    assert sign.get("lanes") == "bc_0"
    steps = [(float(step.get("time", "")), float(step.get("speed", ""))) for step in sign]
    assert [second for second, _ in steps] == [100.0, 300.0] and 0 < steps[0][1] < 10 and steps[1][1] == -1
    assert made.limits[0].startswith("effect 0 (rubbernecking): everybody is slow on the whole of bc")
    run_alone(made.configuration)


@pytest.mark.sumo
def test_effects_that_files_cannot_have_are_named_and_no_lane_is_closed(tmp_path):
    project = small.small_project(tmp_path / "city", small.PLAIN + FLOW)
    effects = (
        Closure(edges=("bc",), start_s=100.0, duration_s=50.0),
        Weather(weather="rain", start_s=100.0, duration_s=50.0),
    )
    batch = with_effects(project, *effects)
    made = export_plain(project, batch, batch.scenarios[0], tmp_path / "out")
    assert [limit.partition(":")[0] for limit in made.limits] == ["effect 0 (closure)", "effect 1 (weather)"]
    assert "losing" not in made.additional.read_text()
    run_alone(made.configuration)


@pytest.mark.sumo
def test_a_surge_adds_the_vehicles_that_it_adds_live(tmp_path):
    import libsumo

    vehicles = "".join(small.vehicle(f"v{n}", 5.0 * n) for n in range(100))
    others = "".join(small.vehicle(f"w{n}", 5.0 * n + 2, edges="ud dc cd") for n in range(100))
    demand = sorted((vehicles + others).replace("</vehicle>", "</vehicle>\n").splitlines(), key=_depart_s)
    project = small.small_project(tmp_path / "city", small.PLAIN + "".join(demand))
    surge = DemandSurge(factor=1.6, entries=("ab",), start_s=100.0, duration_s=200.0)
    batch = with_effects(project, surge)
    made = export_plain(project, batch, batch.scenarios[0], tmp_path / "out")
    run_alone(made.configuration, "--tripinfo-output", tmp_path / "trips.xml")
    trips = ElementTree.parse(tmp_path / "trips.xml").getroot()
    assert len(trips) > 200
    ours = {trip.get("id", "") for trip in trips if trip.get("id", "").startswith("surge.")}
    libsumo.start(["sumo", "-c", str(project.sumocfg), "--no-step-log"])
    with inject(libsumo, batch.scenarios[0], network=project.network()):
        live = set()
        while libsumo.simulation.getTime() < 700:
            libsumo.simulationStep()
            live |= {vehicle for vehicle in libsumo.simulation.getDepartedIDList() if vehicle.startswith("surge.")}
    libsumo.close()
    assert len(ours) > 15
    assert {vehicle.split(".")[2][0] for vehicle in ours} == {"v"}
    # live, whoever departed in the step before is copied, which may tell at its two ends
    apart = [float(vehicle.split(".")[2][1:]) * 5 for vehicle in ours ^ live]
    assert all(min(abs(second - 100), abs(second - 300)) <= 10 for second in apart)


def _depart_s(line: str) -> float:
    return float(line.partition('depart="')[2].partition('"')[0])


@pytest.mark.sumo
def test_a_surge_of_flows_adds_its_share_of_their_rate(tmp_path):
    flows = (
        '<flow id="a" begin="0" end="600" period="12"><route edges="ab bc cd"/></flow>'
        '<flow id="b" begin="0" end="600" vehsPerHour="150"><route edges="ab bu ud dc cd"/></flow>'
        '<flow id="c" begin="0" end="600" number="30"><route edges="ud dc cd"/></flow>'
    )
    project = small.small_project(tmp_path / "city", flows)
    batch = with_effects(project, DemandSurge(factor=2.0, start_s=120.0, duration_s=240.0))
    made = export_plain(project, batch, batch.scenarios[0], tmp_path / "out")
    run_alone(made.configuration, "--tripinfo-output", tmp_path / "trips.xml")
    names = [trip.get("id", "") for trip in ElementTree.parse(tmp_path / "trips.xml").getroot()]
    counts = {flow: sum(name.startswith(f"surge.0.{flow}.") for name in names) for flow in "abc"}
    assert abs(counts["a"] - 20) <= 1
    assert abs(counts["b"] - 10) <= 1
    assert abs(counts["c"] - 12) <= 1
    assert sum(not name.startswith("surge.") for name in names) == 105
