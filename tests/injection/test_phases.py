"""Phases of an incident: lanes that reopen one by one, the end of the queue, what a control room is told and when."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenariogen.evaluation import run_scenario
from scenariogen.evaluation.injecting import PaperInjection
from scenariogen.evaluation.policy_room import PolicyRoom
from scenariogen.incidents import capacity
from scenariogen.incidents.phases import IncidentPhase, expected_remaining_s
from scenariogen.injection.attach import Injection
from scenariogen.injection.plain_elements import plain_incidents
from scenariogen.injection.plain_limits import limits
from scenariogen.injection.reopening import opening_order, reopenings
from scenariogen.scenarios.byhand import usual_capacity_left
from scenariogen.scenarios.records import LanesReopen
from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.dummy import DummyRun, DummySimulator
from scenariogen.simulation.incidentboard import IncidentBoard
from tests.injection import roads
from tests.policies.room import crossing
from tests.simulation.small import PLAIN, small_project, window
from tests.simulation.small import cross as cross_net

BACKENDS = ("libsumo", "traci")
START_S, DETECTED_S, RESPONDED_S, CLEAR_S = 60.0, 90.0, 130.0, 250.0


def phased(*lanes: int, capacity_left: float, one_by_one: bool = True, **drivers):
    """Detection 30 s, response 40 s, clearance 120 s, on the middle of a road of three edges."""
    asked = dataclasses.replace(
        roads.incident(start_s=START_S, lanes=lanes, capacity_left=capacity_left, position_m=400),
        detection_s=DETECTED_S - START_S,
        response_s=RESPONDED_S - DETECTED_S,
        clearance_s=CLEAR_S - RESPONDED_S,
    )
    how = LanesReopen.ONE_BY_ONE if one_by_one else LanesReopen.AT_ONCE
    return dataclasses.replace(roads.scenario(asked, **drivers), lanes_reopen=how)


@given(lanes=st.integers(2, 6), data=st.data())
def test_lanes_still_blocked_stay_together_and_at_the_edge_where_they_were(lanes, data):
    first = data.draw(st.integers(0, lanes - 2))
    last = data.draw(st.integers(first + 1, lanes - 1))
    blocked, driving = tuple(range(first, last + 1)), tuple(range(lanes))
    order = opening_order(blocked, driving)
    assert sorted(order) == list(blocked)
    rest = set(blocked)
    for lane in order[:-1]:
        rest.discard(lane)
        assert max(rest) - min(rest) == len(rest) - 1, "no gap"
        assert capacity.is_inner(driving, tuple(rest)) == capacity.is_inner(driving, blocked)
    if first == 0:
        assert order[-1] == 0, "the lane next to the kerb opens last, where it is among them"


@pytest.mark.parametrize(("lanes", "blocked", "asked"), [(3, (0, 1), 0.17), (3, (0, 1), 0.2), (4, (1, 2, 3), 0.13)])
def test_what_is_left_meanwhile_is_what_the_table_has_for_so_many_lanes(road, lanes, blocked, asked):
    edge = road(lanes).edges["middle"]
    incident = phased(*blocked, capacity_left=asked).incidents[0]
    found = reopenings(incident, edge)
    kept = [blocked[k:] if 0 not in blocked else blocked[:-k] for k in range(1, len(blocked))]
    assert [opening.after.lanes for opening in found] == kept
    shares = [asked, *(opening.after.capacity_left for opening in found)]
    assert shares == sorted(shares)
    for opening in found:
        inner = capacity.is_inner(edge.driving_lanes, opening.after.lanes)
        low, high = capacity.reachable(edge.road_class, lanes, len(opening.after.lanes), inner=inner)
        assert low <= opening.after.capacity_left <= high
    published = capacity.published_capacity_left(lanes, 1)
    assert shares[-1] == pytest.approx(published, abs=0.02)
    times = [opening.at_s for opening in found]
    step_s = (CLEAR_S - RESPONDED_S) / len(blocked)
    assert times == pytest.approx([RESPONDED_S + step_s * k for k in range(1, len(blocked))])


def test_never_less_is_left_than_while_more_lanes_were_blocked(road):
    """Four of six lanes blocked may leave 0.27, and the table has 0.26 for three of them."""
    edge = road(6).edges["middle"]
    high = capacity.reachable(edge.road_class, 6, 4)[1]
    assert high > usual_capacity_left(edge, (0, 1, 2))
    first, *_, last = reopenings(phased(0, 1, 2, 3, capacity_left=high).incidents[0], edge)
    assert first.after.capacity_left == high < last.after.capacity_left


def test_nothing_reopens_by_itself_where_fewer_than_two_lanes_are_blocked(road):
    edge = road(3).edges["middle"]
    assert reopenings(phased(0, capacity_left=0.5).incidents[0], edge) == ()
    assert reopenings(phased(capacity_left=0.9).incidents[0], edge) == ()


@pytest.mark.sumo
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("blocked", "share"), [((0, 1), 0.2), ((0, 1, 2), 0.0)])
def test_lanes_open_in_order_and_everything_is_undone(start, road, tmp_path, backend, blocked, share):
    network = road(3)
    sumo = start(backend, network, roads.flows(tmp_path, lanes=3, per_lane_veh_h=500))
    lanes = [f"middle_{lane}" for lane in range(3)]
    before = [(sumo.lane.getAllowed(x), sumo.lane.getDisallowed(x), sumo.lane.getMaxSpeed(x)) for x in lanes]
    asked, stood, chosen = [], {}, {}

    def passing(incident, edge):
        asked.append((sumo.simulation.getTime(), incident.lanes, round(incident.capacity_left, 2)))
        return 8.0 + len(asked)

    with Injection(sumo, phased(*blocked, capacity_left=share), network=network, passing_speed=passing) as injection:
        while sumo.simulation.getTime() < CLEAR_S + 20:
            sumo.simulationStep()
            chosen |= {v: sumo.vehicle.getSpeedFactor(v) for v in sumo.simulation.getDepartedIDList()}
            stood[sumo.simulation.getTime()] = {sumo.vehicle.getLaneIndex(v) for v in injection.own_present}
        (report,) = injection.report()
    each_s = (CLEAR_S - RESPONDED_S) / len(blocked)
    opened = [(lane, RESPONDED_S + each_s * k) for k, lane in enumerate(blocked[:0:-1], start=1)]
    assert list(report.reopened) == opened and report.lanes == blocked
    assert (report.detected_s, report.responded_s, report.end_s) == (DETECTED_S, RESPONDED_S, CLEAR_S)
    rest = set(blocked)
    assert stood[RESPONDED_S] == rest
    for lane, at_s in opened:
        rest -= {lane}
        assert stood[at_s + 2] == rest
    assert stood[CLEAR_S + 2] == set()
    expected = [(at_s, tuple(sorted(set(blocked) - {x for x, s in opened if s <= at_s}))) for _, at_s in opened]
    assert [(at_s, left) for at_s, left, _ in asked if at_s > START_S + 5] == expected
    after = [(sumo.lane.getAllowed(x), sumo.lane.getDisallowed(x), sumo.lane.getMaxSpeed(x)) for x in lanes]
    assert after == before and sumo.poi.getIDList() == ()
    alive = set(sumo.vehicle.getIDList()) & set(chosen)
    assert len(alive) > 10
    assert {v: sumo.vehicle.getSpeedFactor(v) for v in alive} == {v: chosen[v] for v in alive}


@pytest.mark.sumo
@pytest.mark.parametrize("backend", BACKENDS)
def test_nobody_is_slowed_any_more_once_the_lanes_that_are_open_suffice(start, road, tmp_path, backend):
    network = road(3)
    sumo = start(backend, network, roads.flows(tmp_path, lanes=3, per_lane_veh_h=900))
    asked = phased(0, 1, capacity_left=0.2)
    chosen = {}

    def slowed() -> int:
        own = injection.own_vehicles
        return sum(sumo.vehicle.getSpeedFactor(v) < chosen[v] for v in sumo.vehicle.getIDList() if v not in own)

    def passing(incident, edge):
        return 6.0 if len(incident.lanes) == 2 else 100.0

    with Injection(sumo, asked, network=network, passing_speed=passing) as injection:
        for until_s, expected in ((185.0, True), (195.0, False)):
            while sumo.simulation.getTime() < until_s:
                sumo.simulationStep()
                chosen |= {v: sumo.vehicle.getSpeedFactor(v) for v in sumo.simulation.getDepartedIDList()}
            assert bool(slowed()) is expected
            assert len(injection.own_present) == 1 + expected
            assert bool(sumo.poi.getIDList()) is (expected and backend == "traci")


@pytest.mark.sumo
def test_more_gets_past_once_a_lane_is_open(start, road, tmp_path):
    network, passed = road(3), {}
    for one_by_one in (True, False):
        sumo = start("libsumo", network, roads.flows(tmp_path, lanes=3, per_lane_veh_h=1800))
        scenario = phased(0, 1, capacity_left=0.17, one_by_one=one_by_one)
        arrived = set()
        with Injection(sumo, scenario, network=network) as injection:
            roads.run_until(sumo, 195)
            before = set(sumo.edge.getLastStepVehicleIDs("after"))
            while sumo.simulation.getTime() < CLEAR_S - 1:
                sumo.simulationStep()
                arrived |= set(sumo.edge.getLastStepVehicleIDs("after")) - before
            assert bool(injection.report()[0].reopened) is one_by_one
        passed[one_by_one] = len(arrived)
    assert passed[True] > 1.5 * passed[False] > 0


@pytest.mark.sumo
def test_lanes_open_at_once_unless_the_scenario_says_otherwise(start, road, tmp_path):
    network = road(3)
    assert roads.scenario().lanes_reopen is LanesReopen.AT_ONCE
    sumo = start("libsumo", network, roads.flows(tmp_path, lanes=3, per_lane_veh_h=500))
    scenario = phased(0, 1, capacity_left=0.2, one_by_one=False)
    with Injection(sumo, scenario, network=network) as injection:
        roads.run_until(sumo, CLEAR_S - 1)
        assert len(injection.own_present) == 2
        roads.run_until(sumo, CLEAR_S + 1)
        assert injection.report()[0].reopened == () and injection.own_present == frozenset()


@pytest.mark.sumo
@pytest.mark.parametrize(("position_m", "backend"), [(400.0, "libsumo"), (400.0, "traci"), (40.0, "libsumo")])
def test_it_is_over_when_the_queue_behind_it_has_gone(start, diamond, tmp_path, position_m, backend):
    """At 40 m the queue stands on the edge before, too."""
    sumo = start(backend, diamond, roads.flows(tmp_path, lanes=2, per_lane_veh_h=250, edges="in direct out", end=900))
    asked = roads.incident(edge="direct", start_s=60, duration_s=240, position_m=position_m, capacity_left=0.0)
    standing = {}
    with Injection(sumo, roads.scenario(asked), network=diamond) as injection:
        while sumo.simulation.getTime() < 900:
            sumo.simulationStep()
            slow = [
                vehicle
                for edge in ("in", "direct")
                for vehicle in sumo.edge.getLastStepVehicleIDs(edge)
                if sumo.vehicle.getSpeed(vehicle) < 5 / 3.6 and vehicle not in injection.own_present
                if edge == "in" or sumo.vehicle.getLanePosition(vehicle) < position_m
            ]
            standing[sumo.simulation.getTime()] = len(slow)
        (report,) = injection.report()
    assert standing[300.0] > 20, "a queue stands when the road becomes clear"
    gone_s = max(at for at, count in standing.items() if count and at < report.recovered_s)
    assert report.end_s == 300.0
    assert 320 < gone_s < report.recovered_s <= gone_s + 11


@pytest.mark.sumo
def test_who_stands_past_the_spot_or_goes_elsewhere_is_not_of_the_queue(start, diamond, road, tmp_path):
    network = road(3)
    sumo = start("libsumo", network, roads.flows(tmp_path, lanes=3, per_lane_veh_h=300))
    asked = roads.incident(start_s=60, duration_s=120, lanes=(0,), position_m=200, capacity_left=0.6)
    with Injection(sumo, roads.scenario(asked), network=network, passing_speed=lambda i, e: 20.0) as injection:
        roads.run_until(sumo, 100)
        sumo.route.add("stays", ["middle"])
        sumo.route.add("before.stays", ["before"])
        for name, route, edge, at_m in (("past", "stays", "middle", 450), ("short", "before.stays", "before", 300)):
            sumo.vehicle.add(name, route, departPos=str(at_m - 100))
            sumo.vehicle.setStop(name, edge, at_m, 2, 1e6)
        roads.run_until(sumo, 240)
        assert sumo.vehicle.getSpeed("past") == sumo.vehicle.getSpeed("short") == 0
        assert injection.report()[0].recovered_s is not None


@pytest.mark.sumo
def test_it_is_not_over_where_the_run_ends_first(start, diamond, tmp_path):
    sumo = start("libsumo", diamond, roads.flows(tmp_path, lanes=2, per_lane_veh_h=250, edges="in direct out"))
    asked = roads.incident(edge="direct", start_s=60, duration_s=240, position_m=400, capacity_left=0.0)
    with Injection(sumo, roads.scenario(asked), network=diamond) as injection:
        roads.run_until(sumo, 310)
    (report,) = injection.report()
    assert report.end_s == 300.0 and report.recovered_s is None


@pytest.mark.sumo
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_control_room_knows_nothing_before_the_detection_and_never_the_true_end(start, road, tmp_path, backend):
    network, board, seen = road(3), IncidentBoard(), []
    sumo = start(backend, network, roads.flows(tmp_path, lanes=3, per_lane_veh_h=700))
    with Injection(sumo, phased(0, 1, capacity_left=0.2), network=network, board=board) as injection:
        while sumo.simulation.getTime() < 500:
            sumo.simulationStep()
            seen.append((sumo.simulation.getTime(), board.known))
        (report,) = injection.report()
    assert all(known == () for now_s, known in seen if now_s < DETECTED_S)
    told = [(now_s, known[0]) for now_s, known in seen if known]
    assert told[0][0] == DETECTED_S
    first = told[0][1]
    assert (first.edge, first.lanes, first.kind) == ("middle", (0, 1), "obstruction")
    assert first.since_s == DETECTED_S and first.position_m == report.position_m
    assert first.expected_end_s == DETECTED_S + expected_remaining_s(2, detected_s=DETECTED_S, now_s=DETECTED_S)
    begins = {known.phase: now_s for now_s, known in reversed(told)}
    assert begins == {
        IncidentPhase.DETECTED: DETECTED_S,
        IncidentPhase.RESPONDED: RESPONDED_S,
        IncidentPhase.REOPENING: 190.0,
        IncidentPhase.CLEAR: CLEAR_S,
    }
    assert {known.lanes for _, known in told} == {(0, 1), (0,), ()}
    assert report.recovered_s is not None
    assert all(known == () for now_s, known in seen if now_s >= report.recovered_s)
    assert told[-1][0] < report.recovered_s


@pytest.mark.sumo
def test_an_incident_that_is_gone_before_it_is_detected_is_never_known(start, road, tmp_path):
    network, board = road(3), IncidentBoard()
    sumo = start("libsumo", network, roads.flows(tmp_path, lanes=3, per_lane_veh_h=300))
    with Injection(sumo, phased(0, capacity_left=0.5), network=network, board=board) as injection:
        roads.run_until(sumo, START_S + 5)
        for vehicle in injection.own_present:
            sumo.vehicle.remove(vehicle)
        while sumo.simulation.getTime() < CLEAR_S:
            sumo.simulationStep()
            assert board.known == ()
        (report,) = injection.report()
    assert report.end_s is not None and report.end_s < DETECTED_S and report.detected_s is None


@pytest.mark.sumo
def test_the_board_is_empty_when_the_injection_is_left(start, road, tmp_path):
    network, board = road(3), IncidentBoard()
    sumo = start("libsumo", network, roads.flows(tmp_path, lanes=3, per_lane_veh_h=300))
    with Injection(sumo, phased(0, capacity_left=0.5), network=network, board=board):
        roads.run_until(sumo, DETECTED_S + 5)
        assert len(board.known) == 1
    assert board.known == ()


POLICY = """
import json
from scenariogen.simulation.contract import Policy

class Watches(Policy):
    name = "watches"
    needs_detectors = True
    def start(self, run):
        self.seen = []
    def step(self, run, time_s):
        self.seen += [(time_s, each.edge, each.phase, each.expected_end_s) for each in run.known_incidents]
    def finish(self, run):
        with open({path!r}, "w") as file:
            json.dump(self.seen, file)
"""


@pytest.mark.sumo
@pytest.mark.filterwarnings("ignore:shares of capacity")
def test_a_policy_sees_incidents_once_they_are_detected_and_the_result_has_their_phases(tmp_path):
    demand = PLAIN + '<flow id="sn" type="plain" begin="0" end="300" period="6" from="sm" to="mn"/>'
    (tmp_path / "project").mkdir()
    project = small_project(tmp_path / "project", demand, net=cross_net())
    path = tmp_path / "watches.py"
    path.write_text(POLICY.format(path=str(tmp_path / "seen.json")))
    edge = project.network().edges["sm"]
    asked = dataclasses.replace(
        roads.incident(
            edge="sm", start_s=60, lanes=edge.driving_lanes, capacity_left=0.0, position_m=edge.length_m / 2
        ),
        detection_s=40.0,
        response_s=30.0,
        clearance_s=30.0,
    )
    result = run_scenario(project, roads.scenario(asked), path, window=window(300.0), folder=tmp_path / "run")
    assert not result.error
    seen = json.loads((tmp_path / "seen.json").read_text())
    assert seen and min(now_s for now_s, *_ in seen) == 100.0
    assert {(edge, phase) for _, edge, phase, _ in seen} >= {("sm", "detected"), ("sm", "responders there")}
    (record,) = json.loads(result.incidents)
    phases = record["phases"]
    assert (phases["detected_s"], phases["responded_s"], phases["clear_s"]) == (100.0, 130.0, 160.0)
    assert len(phases["reopened"]) == 0 and phases["recovered_s"] > 160.0
    standing = [end_s for now_s, _, phase, end_s in seen if phase != "road clear"]
    assert min(standing) > 160.0, "what is expected is not the scenario's own end"


def test_rooms_that_nobody_tells_know_of_nothing_and_rooms_in_between_pass_it_on():
    room, _ = crossing()
    assert room.known_incidents == ()
    assert PolicyRoom(room, ("incidents",)).known_incidents == ()


def test_the_dummy_reports_nothing_to_policies_and_has_the_phases_that_are_past(tmp_path):
    asked = dataclasses.replace(
        roads.incident(edge="b", start_s=20, capacity_left=0.5), detection_s=30.0, response_s=40.0, clearance_s=50.0
    )
    request = RunRequest(window=window(200.0), seed=1, folder=tmp_path / "run")
    with DummySimulator().open(request) as run:
        assert isinstance(run, DummyRun)
        injection = PaperInjection(run, roads.scenario(asked))
        seen = []
        while run.time_s < 150:
            run.step()
            (report,) = injection.report()
            assert run.control_room.known_incidents == ()
            seen.append((report.detected_s, report.responded_s))
    assert list(dict.fromkeys(seen)) == [(None, None), (50.0, None), (50.0, 90.0)]


def test_what_is_expected_of_the_rest_follows_the_published_durations():
    medians_min = [expected_remaining_s(blocked, detected_s=0.0, now_s=0.0) / 60 for blocked in range(4)]
    assert medians_min == pytest.approx([24.9, 25.7, 41.5, 51.7], abs=0.05)
    by_the_tail = [expected_remaining_s(2, detected_s=0.0, now_s=60.0 * minute) for minute in (285, 290, 295, 300)]
    assert by_the_tail == pytest.approx([by_the_tail[0]] * 4, rel=0.05), "one formula goes over into the other"
    later = [expected_remaining_s(2, detected_s=0.0, now_s=60.0 * minute) for minute in (0, 10, 20, 40)]
    assert later == sorted(later, reverse=True)
    assert all(expected_remaining_s(1, detected_s=0.0, now_s=60.0 * minute) > 0 for minute in (60, 600, 6000))


def test_files_for_plain_sumo_say_that_nobody_is_told_and_that_lanes_open_at_once(road):
    network = road(3)
    scenario = phased(0, 1, capacity_left=0.2)
    found = plain_incidents(scenario.incidents, network, begin_s=0.0, step_s=1.0)
    plain = " ".join(limits(dataclasses.replace(scenario, lanes_reopen=LanesReopen.AT_ONCE), found, []))
    told = dataclasses.replace(scenario, drivers=dataclasses.replace(scenario.drivers, radio_share=0.5))
    said = " ".join(limits(told, found, []))
    for words in ("nobody is told", "open at its end"):
        assert words in said and words not in plain
