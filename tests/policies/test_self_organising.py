"""Self-organising signals on paper: who waits is counted, platoons are kept together, nobody starves."""

import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenariogen.evaluation.policy import load_policy
from tests.policies.room import PaperRoom, PaperSignal, crossing, drive
from tests.policies.test_max_pressure import conflict_free, programmes, yellow_lengths


@pytest.fixture(scope="module")
def module():
    return sys.modules[type(load_policy("self_organising")).__module__]


def test_the_busier_approach_gets_the_longer_green():
    room, signal = crossing(inflow_vps={"N": 0.3, "E": 0.05})
    green, served, _ = drive(room, signal, load_policy("self_organising"), 3600)
    assert green["N"] > 1.3 * green["E"] > 0
    assert served["N"] == pytest.approx(0.3 * 3600, rel=0.05) and served["E"] == pytest.approx(0.05 * 3600, rel=0.1)


def test_one_vehicle_on_an_empty_crossing_waits_as_long_as_the_threshold_says(module):
    room, signal = crossing(inflow_vps={})
    room.queues["E"] = 1.0
    drive(room, signal, load_policy("self_organising"), int(module.THRESHOLD_VEH_S) + 1, saturation_vps=0.0)
    assert [when for when, state in signal.history if state == "yr"] == [module.THRESHOLD_VEH_S]


def test_more_vehicles_wait_less():
    room, signal = crossing(inflow_vps={})
    room.queues["E"] = 4.0
    drive(room, signal, load_policy("self_organising"), 30, saturation_vps=0.0)
    assert [when for when, state in signal.history if state == "yr"] == [15.0]


def test_the_tail_of_a_platoon_is_let_through_and_a_long_one_is_cut(module):
    changed = {}
    for passing in (module.PLATOON - 1, module.PLATOON):
        room, signal = crossing(inflow_vps={})
        room.queues.update(N=float(passing), E=6.0)
        drive(room, signal, load_policy("self_organising"), 40, saturation_vps=0.0)
        changed[passing] = any(state == "yr" for _, state in signal.history)
    assert changed == {module.PLATOON - 1: False, module.PLATOON: True}


def test_few_vehicles_that_keep_coming_do_not_defer_a_change_for_ever(module):
    room, signal = crossing(inflow_vps={})
    room.queues.update(N=1.0, E=6.0)
    drive(room, signal, load_policy("self_organising"), int(module.MAX_RED_S) + 5, saturation_vps=0.0)
    assert [when for when, state in signal.history if state == "yr"] == [module.MAX_RED_S]


def test_an_approach_that_nobody_watches_counts_as_one_vehicle(module):
    room, signal = crossing(inflow_vps={}, unwatched=("E", "e"))
    drive(room, signal, load_policy("self_organising"), int(module.THRESHOLD_VEH_S) + 10)
    assert [when for when, state in signal.history if state == "yr"] == [module.THRESHOLD_VEH_S]


@settings(max_examples=25, deadline=None)
@given(programmes, st.data())
def test_any_programme_at_all_is_run_safely(phases, data):
    n = len(phases[0][0])
    signal = PaperSignal("J", tuple(((f"in{i}", f"out{i}"),) for i in range(n)), tuple(phases))
    room = PaperRoom({"J": signal}, {f"in{i}": 0.0 for i in range(n)})
    room.blocked = set()
    room.inflow_vps = {f"in{i}": data.draw(st.sampled_from([0.0, 0.02, 0.3])) for i in range(n)}
    policy = load_policy("self_organising")
    green, *_ = drive(room, signal, policy, 900)
    history = [(0.0, phases[0][0]), *signal.history]
    assert policy.junctions or not signal.history, "a signal without a choice keeps its own programme"
    if not signal.history:
        return
    yellow_lengths(history)
    assert conflict_free(history, phases)
    for i in range(n):
        if room.inflow_vps[f"in{i}"] > 0 and any(state[i] in "Gg" for state, _ in phases):
            assert green[f"in{i}"] > 0, f"link {i} never got green"
