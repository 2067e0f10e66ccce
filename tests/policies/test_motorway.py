"""ALINEA, HERO and speed limits on paper: the law, its limits, the queue override, masters and slaves, steps."""

import math
import sys

import pytest

from scenariogen.evaluation.policy import load_policy
from tests.policies.motorway_room import MotorwayRoom, PaperMeter, chain


def started(name, room):
    policy = load_policy(name)
    policy.start(room)
    return policy, sys.modules[type(policy).__module__]


def metering(name="alinea", **meter):
    """A room whose only meter is on, at the rate at which vehicles arrive, with critical occupancy read."""
    room = MotorwayRoom(meters=[PaperMeter("r", **meter)])
    policy, module = started(name, room)
    room.read("r_merge", occupancy=module.CRITICAL_PERCENT / 100)
    room.drive(policy, 300)
    return room, policy, module, room.meters["r"]


@pytest.mark.parametrize("name", ["alinea", "hero"])
def test_the_rate_moves_by_the_gain_for_each_percent(name):
    room, policy, module, meter = metering(name)
    before = meter.rate
    assert before == pytest.approx(600, rel=0.1), "at critical occupancy the rate stays what arrived"
    room.read("r_merge", occupancy=(module.CRITICAL_PERCENT + 2) / 100)
    room.drive(policy, 60)
    assert meter.rate == pytest.approx(before - 140)
    room.read("r_merge", occupancy=(module.CRITICAL_PERCENT - 1) / 100)
    room.drive(policy, 60)
    assert meter.rate == pytest.approx(before - 70)


def test_it_is_off_in_free_traffic_comes_on_near_critical_and_goes_off_again():
    room = MotorwayRoom(meters=[PaperMeter("r")])
    policy, module = started("alinea", room)
    room.read("r_merge", occupancy=0.05)
    room.drive(policy, 300)
    assert set(room.meters["r"].history) == {None}
    room.read("r_merge", occupancy=module.CRITICAL_PERCENT / 100)
    room.drive(policy, 60)
    assert room.meters["r"].rate is not None
    room.read("r_merge", occupancy=0.05)
    room.drive(policy, 600)
    assert room.meters["r"].rate is None
    room.read("r_merge", occupancy=0.5)
    room.drive(policy, 60)
    policy.finish(room)
    assert room.meters["r"].rate is None


def test_rates_stay_within_their_limits():
    room, policy, module, meter = metering(storage=10_000)
    room.read("r_merge", occupancy=0.9)
    room.drive(policy, 600)
    assert meter.rate == module.R_MIN_VEH_H
    room.read("r_merge", occupancy=0.7 * module.CRITICAL_PERCENT / 100)
    room.drive(policy, 900)
    assert meter.rate == module.R_MAX_VEH_H


def test_the_queue_override_keeps_the_queue_on_the_ramp():
    room, policy, _, meter = metering(storage=40)
    longest = []
    room.read("r_merge", occupancy=0.4)
    room.drive(policy, 3600, lambda: longest.append(meter.queue))
    assert 0.7 * 40 < max(longest[-1800:]) <= 40, "full, and not fuller"
    assert meter.rate == pytest.approx(600, rel=0.1), "what arrives passes"


def test_without_data_the_rate_stays():
    room, policy, _, meter = metering()
    before = meter.rate
    room.read("r_merge", occupancy=math.nan)
    room.drive(policy, 300)
    assert meter.rate == before


def two_ramps():
    """A bottleneck at the ramp downstream, critical and filling up; free traffic at the one upstream."""
    up, down = PaperMeter("up"), PaperMeter("down", upstream=("up",), arriving_veh_h=800.0)
    room = MotorwayRoom(meters=[up, down])
    room.read("up_merge", occupancy=0.08)
    room.read("down_merge", occupancy=0.16)
    return room, up, down


def test_alinea_leaves_the_ramp_upstream_alone():
    room, up, down = two_ramps()
    policy, _ = started("alinea", room)
    room.drive(policy, 1800)
    assert set(up.history) == {None} and down.queue > 30


def test_hero_fills_the_ramp_upstream_as_well_and_lets_it_go():
    room, up, down = two_ramps()
    policy, module = started("hero", room)
    room.drive(policy, 1200)
    assert down.rate is not None and down.queue > module.MASTER_ON * down.storage
    assert policy.groups == {"down": ["up"]}
    assert up.queue > 10 and up.queue / up.storage == pytest.approx(down.queue / down.storage, abs=0.25)
    assert up.queue <= up.storage
    room.read("down_merge", occupancy=0.03)
    room.drive(policy, 1800)
    assert policy.groups == {} and up.rate is None and down.rate is None and up.queue < 5


def test_limits_lead_down_to_a_queue_in_steps_and_go_again():
    room = MotorwayRoom(edges=chain(7))
    policy, module = started("speed_limits", room)
    for i in range(7):
        for lane in room.speed_signs.edges[f"e{i}"].loops:
            room.read(lane, occupancy=0.08, speed_mps=30.0)
    room.drive(policy, 120)
    assert room.speed_signs.history == []
    for lane in room.speed_signs.edges["e6"].loops:
        room.read(lane, occupancy=0.4, speed_mps=5.0)
    room.drive(policy, 30)
    assert room.speed_signs.on == dict.fromkeys(["e6", "e5", "e4", "e3", "e2", "e1"], module.STEPS_MPS[2])
    room.drive(policy, 90)
    kmh = {edge: round(limit * 3.6) for edge, limit in room.speed_signs.on.items()}
    assert kmh == {"e6": 60, "e5": 60, "e4": 60, "e3": 80, "e2": 100, "e1": 100}
    for lane in room.speed_signs.edges["e6"].loops:
        room.read(lane, occupancy=0.2, speed_mps=16.0)
    room.drive(policy, 120)
    assert {edge: round(limit * 3.6) for edge, limit in room.speed_signs.on.items()} == kmh, "hysteresis"
    for lane in room.speed_signs.edges["e6"].loops:
        room.read(lane, occupancy=0.1, speed_mps=25.0)
    room.drive(policy, 120)
    assert room.speed_signs.on == {}
    assert "street" not in {edge for edge, _ in room.speed_signs.history}


def test_a_sign_changes_by_one_step_at_a_time():
    room = MotorwayRoom(edges=chain(3))
    policy, module = started("speed_limits", room)
    for lane in room.speed_signs.edges["e2"].loops:
        room.read(lane, occupancy=0.4, speed_mps=5.0)
    room.drive(policy, 200)
    steps = [limit for edge, limit in room.speed_signs.history if edge == "e2"]
    assert steps == list(module.STEPS_MPS[::-1])


def test_no_limit_above_the_usual_one_is_shown_and_finish_clears():
    room = MotorwayRoom(edges=chain(5, usual_mps=80 / 3.6))
    policy, _ = started("speed_limits", room)
    for lane in room.speed_signs.edges["e4"].loops:
        room.read(lane, occupancy=0.9, speed_mps=math.nan, flow_veh_h=0.0)
    room.drive(policy, 200)
    assert {round(limit * 3.6) for limit in room.speed_signs.on.values()} == {60}
    policy.finish(room)
    assert room.speed_signs.on == {}
