"""Free-flow times against closed forms, and paths over the network file."""

import math
import pickle

import pytest

from scenariogen.simulation.freeflow import FreeFlow, Halt, VehicleType, profile_time_s
from tests.simulation.small import line

SMOOTH = VehicleType(accel_mps2=2.0, decel_mps2=4.0, sigma=0.0, length_m=5.0)
pytestmark = pytest.mark.sumo


@pytest.fixture(scope="module")
def road(tmp_path_factory) -> FreeFlow:
    path = tmp_path_factory.mktemp("road") / "road.net.xml"
    path.write_text(line())
    return FreeFlow(path)


def test_at_constant_speed_time_is_length_over_speed():
    assert profile_time_s([(300, 10), (200, 10)], SMOOTH) == pytest.approx(50)


def test_from_standstill_half_of_the_speed_over_the_acceleration_is_lost():
    # to reach v takes v / a seconds over v² / 2a metres, which at v would take v / 2a seconds
    assert profile_time_s([(500, 10)], SMOOTH, start_mps=0) == pytest.approx(50 + 10 / (2 * 2))
    assert profile_time_s([(500, 10)], SMOOTH, end_mps=0) == pytest.approx(50 + 10 / (2 * 4))


def test_a_slow_turn_costs_braking_and_accelerating_around_it():
    brake = (10 - 5) / 4 - (10**2 - 5**2) / (2 * 4) / 10
    gain = (10 - 5) / 2 - (10**2 - 5**2) / (2 * 2) / 10
    assert profile_time_s([(200, 10), (20, 5), (200, 10)], SMOOTH) == pytest.approx(20 + 4 + 20 + brake + gain)


def test_on_a_short_road_the_limit_is_never_reached():
    peak = math.sqrt(2 * 2 * 4 * 6 / (2 + 4))
    assert profile_time_s([(6, 50)], SMOOTH, start_mps=0, end_mps=0) == pytest.approx(peak / 2 + peak / 4)


def test_nothing_takes_no_time():
    assert profile_time_s([], SMOOTH) == 0
    assert profile_time_s([(0, 10)], SMOOTH) == 0


def test_a_straight_route(road):
    inner = sum(road.turns[pair].length_m for pair in (("ab", "bc"), ("bc", "cd")))
    length = sum(road.length_m[edge] for edge in ("ab", "bc", "cd")) + inner - 5
    assert length == pytest.approx(1495, abs=1)
    assert road.time_s(("ab", "bc", "cd"), SMOOTH) == pytest.approx(length / 13.89, rel=1e-3)


def test_faster_drivers_need_less_time_and_slow_vehicles_keep_their_own_speed(road):
    route = ("ab", "bc", "cd")
    base = road.time_s(route, SMOOTH)
    assert road.time_s(route, SMOOTH, speed_factor=1.25) == pytest.approx(base / 1.25)
    truck = VehicleType(max_speed_mps=10.0, sigma=0.0)
    assert road.time_s(route, truck, speed_factor=1.25) == pytest.approx(road.time_s(route, truck), rel=1e-3)
    assert road.time_s(route, truck, speed_factor=0.5) > 1.3 * road.time_s(route, truck)


def test_planned_halts_are_part_of_the_free_flow_time(road):
    route = ("ab", "bc", "cd")
    base = road.time_s(route, SMOOTH)
    stop = Halt(edge="bc", position_m=250.0, duration_s=20.0)
    lost = 13.89 / (2 * 2) + 13.89 / (2 * 4)
    alone = road.time_with_halts_s(route, SMOOTH, halts=(stop,), due_s=0.0)
    assert alone == pytest.approx(base + 20 + lost, abs=0.1)
    timed = Halt(edge="bc", position_m=250.0, duration_s=20.0, until_s=400.0)
    assert road.time_with_halts_s(route, SMOOTH, halts=(timed,), due_s=100.0) == pytest.approx(
        300 + (alone - 20 - (55 + 13.89 / 8)), abs=1.0
    )


def test_paths_take_the_fastest_way_and_pass_the_waypoints(road):
    assert road.path(("ab", "cd")) == ("ab", "bc", "cd")
    assert road.path(("ab", "ud", "cd")) == ("ab", "bu", "ud", "dc", "cd")
    assert road.path(("ab",)) == ("ab",)
    assert road.path(("cd", "ab")) is None
    assert road.path(("ab", "nowhere")) is None
    assert road.path(()) is None
    assert road.knows(("ab", "bc")) and not road.knows(("ab", "cd"))


def test_it_travels_between_processes(road):
    copy = pickle.loads(pickle.dumps(road))
    assert copy.path(("ab", "cd")) == ("ab", "bc", "cd")
    assert copy.time_s(("ab", "bc"), SMOOTH) == road.time_s(("ab", "bc"), SMOOTH)
