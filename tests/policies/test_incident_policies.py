"""Policies that act on known incidents: on paper, with a diamond of roads and signals on the way round."""

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest

from scenariogen.evaluation.policy import load_policy
from scenariogen.incidents.phases import IncidentPhase
from scenariogen.network import read_network
from scenariogen.simulation.contract import KnownIncident
from scenariogen.simulation.launch import sumo_home
from scenariogen.simulation.routeadvice import RouteAdvice
from tests.injection.roads import diamond
from tests.policies.room import PaperRoom, PaperSignal

PROGRAMME = (("Gr", 40.0), ("yr", 3.0), ("rG", 40.0), ("ry", 3.0), ("rr", 4.0))
CYCLE_S = 90.0
OUTER = {f"{column}{row}" for column in "ABCD" for row in range(4) if column in "AD" or row in (0, 3)}


class PaperAdvice(RouteAdvice):
    def __init__(self):
        self.given, self.log = {}, []

    @property
    def in_force(self):
        return self.given

    def avoid(self, edges, share, *, delay_s=0.0, upstream_m=0.0, at=()):
        number = len(self.log) + 1
        self.given[number] = (edges, share)
        self.log.append((edges, share, delay_s))
        return number

    def withdraw(self, number):
        self.given.pop(number, None)


class OwnProgramme(PaperSignal):
    """Runs its programme until it is set, and again after it is released."""

    def __init__(self, room, name, links):
        super().__init__(name, links, PROGRAMME)
        self.room, self.is_own = room, True

    @property
    def state(self):
        if not self.is_own:
            return self.shown
        left_s = self.room.clock_s % CYCLE_S
        for state, duration_s in PROGRAMME:
            if left_s < duration_s:
                return state
            left_s -= duration_s
        raise AssertionError

    def set_state(self, state):
        super().set_state(state)
        self.is_own = False

    def release(self):
        self.is_own = True


class IncidentRoom(PaperRoom):
    def __init__(self, network):
        super().__init__({}, {})
        self.network, self.advice, self.known = network, PaperAdvice(), ()
        # where the way round begins and ends; the other movement of each leads on to, or comes from, the blocked edge
        self.signals = {
            "fork": OwnProgramme(self, "fork", ((("in_0", "direct_0"),), (("in_1", "around_0"),))),
            "merge": OwnProgramme(self, "merge", ((("direct_0", "out_0"),), (("back_0", "out_1"),))),
            "elsewhere": OwnProgramme(self, "elsewhere", ((("x_0", "y_0"),), (("z_0", "y_0"),))),
        }

    @property
    def known_incidents(self):
        return self.known


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return read_network(diamond(tmp_path_factory.mktemp("diamond")))


def known(since_s=100.0, *, lanes=(0,), expected_end_s=1900.0):
    return KnownIncident(
        number=0, kind="crash", edge="direct", position_m=100.0, lanes=lanes, since_s=since_s,
        phase=IncidentPhase.DETECTED, expected_end_s=expected_end_s,
    )  # fmt: skip


def drive(policy, room, seconds, *, known_from=None, known_until=None):
    """States of all signals by second, while an incident is known between two seconds."""
    shown = {name: [] for name in room.signals}
    policy.start(room)
    for second in range(1, seconds + 1):
        room.clock_s = float(second)
        room.known = (known(),) if known_from is not None and known_from <= second < known_until else ()
        policy.step(room, room.clock_s)
        for name, signal in room.signals.items():
            shown[name].append(signal.state)
    policy.finish(room)
    return shown


def greens(states, symbol):
    return sum(state[symbol] == "G" for state in states)


def test_plans_give_green_to_the_way_round_hold_back_the_approach_and_go_again(network):
    room = IncidentRoom(network)
    shown = drive(load_policy("incident_plans"), room, 1200, known_from=200, known_until=700)
    during, before, after = (slice(300, 660), slice(0, 180), slice(840, 1200))
    fork = shown["fork"]
    assert greens(fork[during], 1) > 1.3 * greens(fork[during], 0), "more for the way round than towards the incident"
    assert greens(shown["merge"][during], 1) > 1.3 * greens(shown["merge"][during], 0)
    for states in (fork[before], fork[after], shown["merge"][after]):
        assert abs(greens(states, 0) - greens(states, 1)) <= 2
    assert fork[after] == [phase_of(second) for second in range(841, 1201)], "the own programme's clock went on"
    assert not room.signals["elsewhere"].history and shown["elsewhere"] == [phase_of(s) for s in range(1, 1201)]


def phase_of(second):
    left_s = second % CYCLE_S
    for state, duration_s in PROGRAMME:
        if left_s < duration_s:
            return state
        left_s -= duration_s
    raise AssertionError


def test_no_link_goes_from_green_to_red_without_yellow_nor_to_green_while_another_has_it(network):
    shown = drive(load_policy("incident_plans"), IncidentRoom(network), 900, known_from=130, known_until=500)
    for states in shown.values():
        for now, then in pairwise(states):
            assert now.count("G") <= 1
            # the own programme comes back by its clock, from a red that is long enough
            assert not any(a == "G" and b == "r" for a, b in zip(now, then, strict=True)), (now, then)


def test_a_plan_keeps_the_cycle_and_shows_no_green_below_the_least(network):
    module = __import__("sys").modules[type(load_policy("incident_plans")).__module__]
    plans = module.plans_for(IncidentRoom(network), ("direct",))
    assert set(plans) == {"fork", "merge"}
    for plan in plans.values():
        assert sum(duration_s for _, duration_s in plan) == pytest.approx(CYCLE_S)
        assert [state for state, _ in plan] == [state for state, _ in PROGRAMME]
        assert min(duration_s for state, duration_s in plan if "G" in state) >= module.SHORTEST_S
    assert module.plans_for(IncidentRoom(network), ("out",)) == {}, "there is no way round"


def test_finish_gives_signals_back(network):
    room = IncidentRoom(network)
    drive(load_policy("incident_plans"), room, 400, known_from=100, known_until=2000)
    assert room.signals["fork"].history and all(signal.is_own for signal in room.signals.values())


def test_nothing_is_done_before_an_incident_is_known(network):
    for name in ("incident_plans", "rerouting_advice"):
        room = IncidentRoom(network)
        drive(load_policy(name), room, 400)
        assert not room.advice.log and not any(signal.history for signal in room.signals.values())


def test_advice_holds_while_the_incident_is_known_and_is_renewed_with_less_delay(network):
    room = IncidentRoom(network)
    drive(load_policy("rerouting_advice"), room, 1200, known_from=200, known_until=900)
    assert [edges for edges, _, _ in room.advice.log] == ["direct"] * 3 and not room.advice.given
    delays_s = [delay_s for _, _, delay_s in room.advice.log]
    assert delays_s == [1700.0, 1400.0, 1100.0], "one lane of one: the whole of what is expected to remain"


def test_an_incident_that_is_about_to_end_or_takes_no_lane_of_many_is_told_with_less(network):
    policy, room = load_policy("rerouting_advice"), IncidentRoom(network)
    policy.start(room)
    room.known = (known(expected_end_s=150.0),)
    policy.step(room, 100.0)
    assert not room.advice.log
    on_the_shoulder = known(lanes=(), expected_end_s=1100.0)
    room.known = (on_the_shoulder,)
    policy.step(room, 100.0)
    assert not room.advice.log, "not worth a message"
    policy.start(room)
    room.known = (replace(on_the_shoulder, lanes_known=False),)
    policy.step(room, 100.0)
    assert room.advice.log[-1][2] == 500.0


@pytest.mark.sumo
def test_a_way_round_does_not_turn_round(tmp_path):
    """On a grid of two-way streets with turn-arounds, as netconvert makes them."""
    path = tmp_path / "grid.net.xml"
    command = [sumo_home() / "bin" / "netgenerate", "--grid", "--grid.number=4", "--default.lanenumber=2"]
    subprocess.run([*command, "--no-turnarounds=false", "-o", path], check=True, capture_output=True)
    grid = read_network(path)
    plans = sys.modules[type(load_policy("incident_plans")).__module__]
    inner = [edge for edge in grid.edges.values() if not {edge.from_junction, edge.to_junction} & OUTER]
    assert len(inner) == 8
    for edge in inner:
        way = plans.way_round(grid, edge.id, avoid=(edge.id,))
        assert len(way) > 1
        assert all(after != grid.edges[before].opposite and edge.id not in (before, after) for before, after in way)
