"""The ledger: the strictest value is in force, others' writing is kept, and the last release writes the base back."""

import random
from itertools import pairwise

import pytest

from scenariogen.injection.attributes import LANE_PERMISSIONS, LANE_SPEED, PROGRAMME_STATES, TYPE_TAU
from scenariogen.injection.connection import Link
from scenariogen.injection.values import Ledger
from tests.injection import roads

BACKENDS = ("libsumo", "traci")
pytestmark = pytest.mark.sumo
LANE = "middle_0"


@pytest.fixture(params=BACKENDS)
def sumo(request, start, road):
    return start(request.param, road(3))


@pytest.fixture
def ledger(sumo) -> Ledger:
    return Ledger(Link(sumo))


def test_the_strictest_is_in_force_and_the_last_release_writes_the_base_back(sumo, ledger):
    base = sumo.lane.getMaxSpeed(LANE)
    for owner, value in (("a", 20.0), ("b", 10.0), ("c", 99.0)):
        ledger.claim(owner, LANE_SPEED, LANE, value)
    assert sumo.lane.getMaxSpeed(LANE) == 10.0
    ledger.release("b")
    assert sumo.lane.getMaxSpeed(LANE) == 20.0
    ledger.release("a")
    assert sumo.lane.getMaxSpeed(LANE) == base and len(ledger) == 1
    ledger.release("c")
    ledger.release("c")
    assert sumo.lane.getMaxSpeed(LANE) == base and len(ledger) == 0


def test_what_somebody_else_writes_becomes_the_base(sumo, ledger):
    ledger.claim("a", LANE_SPEED, LANE, 20.0)
    sumo.lane.setMaxSpeed(LANE, 25.0)
    (found,) = ledger.refresh()
    assert (found.theirs, found.owners) == (25.0, ("a",))
    assert sumo.lane.getMaxSpeed(LANE) == 20.0
    assert ledger.refresh() == []
    sumo.lane.setMaxSpeed(LANE, 7.0)
    ledger.refresh()
    assert sumo.lane.getMaxSpeed(LANE) == 7.0
    ledger.release("a")
    assert sumo.lane.getMaxSpeed(LANE) == 7.0


def test_what_somebody_else_wrote_last_stays_when_nobody_looked_before_the_release(sumo, ledger):
    ledger.claim("a", LANE_SPEED, LANE, 20.0)
    sumo.lane.setMaxSpeed(LANE, 25.0)
    ledger.release("a")
    assert sumo.lane.getMaxSpeed(LANE) == 25.0


@pytest.mark.parametrize("lane", [LANE, ":n2_0_0"])
@pytest.mark.parametrize("first", [(), ("bus", "passenger"), ("all",)])
def test_permissions_come_back_as_the_list_that_was_read(sumo, ledger, lane, first):
    if first:
        sumo.lane.setAllowed(lane, list(first))
    else:
        sumo.lane.setDisallowed(lane, ["all"])
    before = sumo.lane.getAllowed(lane), sumo.lane.getDisallowed(lane)
    ledger.claim("a", LANE_PERMISSIONS, lane, frozenset({"passenger", "truck"}))
    ledger.claim("b", LANE_PERMISSIONS, lane, frozenset(before[0]))
    assert sumo.lane.getAllowed(lane) == ()
    ledger.release("b")
    assert tuple(sumo.lane.getAllowed(lane)) == tuple(c for c in before[0] if c not in ("passenger", "truck"))
    ledger.release("a")
    assert (sumo.lane.getAllowed(lane), sumo.lane.getDisallowed(lane)) == before


def test_a_private_type_may_go_with_its_vehicle(sumo, ledger):
    sumo.route.add("r", ["before"])
    sumo.vehicle.add("x", "r")
    sumo.vehicle.setTau("x", 1.5)
    ledger.claim("a", TYPE_TAU, "DEFAULT_VEHTYPE@x", 2.0)
    ledger.claim("a", TYPE_TAU, "DEFAULT_VEHTYPE", 2.0)
    assert sumo.vehicle.getTau("x") == 2.0
    sumo.vehicle.remove("x")
    sumo.simulationStep()
    ledger.refresh()
    assert len(ledger) == 1
    ledger.release("a")
    assert sumo.vehicletype.getTau("DEFAULT_VEHTYPE") == 1.0


def test_one_value_that_cannot_be_given_back_keeps_none_of_the_others_from_it(sumo, ledger, monkeypatch):
    before = {lane: sumo.lane.getMaxSpeed(lane) for lane in sumo.lane.getIDList()}
    for lane in before:
        ledger.claim("a", LANE_SPEED, lane, 5.0)
    write = LANE_SPEED.write

    def refusing(link, thing, value):
        write(link, f"{thing} is gone" if thing == LANE else thing, value)

    monkeypatch.setattr(LANE_SPEED, "write", refusing)
    with pytest.raises(Exception, match=f"{LANE} is gone"):
        ledger.release_all()
    monkeypatch.undo()
    assert {lane for lane in before if sumo.lane.getMaxSpeed(lane) != before[lane]} == {LANE}
    assert len(ledger) == 0


@pytest.mark.parametrize("seed", range(5))
def test_in_any_order_nothing_is_left(sumo, ledger, seed):
    rng = random.Random(seed)
    lanes = sumo.lane.getIDList()
    before = {lane: (sumo.lane.getMaxSpeed(lane), sumo.lane.getAllowed(lane)) for lane in lanes}
    owners = [f"effect {n}" for n in range(20)]
    for owner in owners:
        for lane in rng.sample(lanes, 5):
            if rng.random() < 0.5:
                ledger.claim(owner, LANE_SPEED, lane, rng.uniform(3, 40))
            else:
                denied = rng.sample(before[lane][1], rng.randint(1, 8))
                ledger.claim(owner, LANE_PERMISSIONS, lane, frozenset(denied))
    rng.shuffle(owners)
    for owner in owners[:10]:
        ledger.release(owner)
    assert {lane: (sumo.lane.getMaxSpeed(lane), sumo.lane.getAllowed(lane)) for lane in lanes} != before
    ledger.release_all()
    assert {lane: (sumo.lane.getMaxSpeed(lane), sumo.lane.getAllowed(lane)) for lane in lanes} == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_programme_that_shows_something_else_keeps_its_clock(start, signal_road, backend):
    sumo = start(backend, signal_road)
    ledger, light = Ledger(Link(sumo)), sumo.trafficlight
    (signal,) = light.getIDList()
    thing = signal, light.getProgram(signal)
    roads.run_until(sumo, 13)
    before, trace = described(light, signal), []
    ledger.claim("a", PROGRAMME_STATES, thing, "o" * len(light.getRedYellowGreenState(signal)))
    for _ in range(200):
        assert set(light.getRedYellowGreenState(signal)) == {"o"}
        sumo.simulationStep()
        trace.append((light.getPhase(signal), light.getNextSwitch(signal)))
    ledger.release("a")
    assert described(light, signal) == before
    sumo.close()
    undisturbed = start(backend, signal_road)
    roads.run_until(undisturbed, 13)
    light = undisturbed.trafficlight
    for expected in trace:
        undisturbed.simulationStep()
        assert (light.getPhase(signal), light.getNextSwitch(signal)) == expected
    assert any(a != b for a, b in pairwise(trace))


def described(light, signal: str) -> list:
    return [
        (logic.programID, logic.type, [(p.state, p.duration, p.minDur, p.maxDur, tuple(p.next), p.name)
                                       for p in logic.phases])
        for logic in light.getAllProgramLogics(signal)
    ]  # fmt: skip
