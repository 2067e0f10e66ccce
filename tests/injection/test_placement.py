"""Finding room for a standing vehicle: no SUMO needed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scenariogen.injection.placement import LENGTHS_M, OnLane, braking_distance_m, find_spot, find_spots, stand_abreast


def car(front_m: float, speed_mps: float = 0.0, length_m: float = 5.0) -> OnLane:
    return OnLane(
        id=f"car{front_m:g}",
        front_m=front_m,
        length_m=length_m,
        speed_mps=speed_mps,
        min_gap_m=2.5,
        decel_mps2=4.5,
        emergency_decel_mps2=9.0,
        reaction_s=1.0,
    )


def test_on_an_empty_lane_the_asked_spot_is_taken():
    spot = find_spot([], lane_length_m=300, asked_m=120, search_m=100, step_s=1)
    assert (spot.position_m, spot.length_m, spot.hard) == (120, 5.0, False)


def test_near_the_ends_of_a_lane_the_vehicle_stays_on_it():
    first = find_spot([], lane_length_m=300, asked_m=0, search_m=100, step_s=1)
    assert first.position_m - first.length_m >= 0
    assert find_spot([], lane_length_m=300, asked_m=300, search_m=100, step_s=1).position_m == 300
    short = find_spot([], lane_length_m=3, asked_m=2, search_m=100, step_s=1)
    assert 0 < short.position_m <= 3 and short.length_m == 2.0


def test_a_standing_queue_has_room_for_nothing_but_a_very_short_obstacle():
    queue = [car(10 + 7.501 * n) for n in range(30)]
    spot = find_spot(queue, lane_length_m=300, asked_m=120, search_m=100, step_s=1)
    assert spot.length_m == LENGTHS_M[-1]
    assert abs(spot.position_m - 120) < 7.6


def test_no_spot_under_a_vehicle_that_fills_the_lane():
    assert find_spot([car(300, length_m=300)], lane_length_m=300, asked_m=150, search_m=100, step_s=1) is None


def test_a_fast_vehicle_close_behind_moves_the_spot_ahead():
    spot = find_spot([car(100, speed_mps=30)], lane_length_m=1000, asked_m=142, search_m=40, step_s=1)
    assert spot.hard and spot.position_m - spot.length_m >= 100 + 2.5 + braking_distance_m(30, 9.0, 1.0)


def test_at_motorway_speed_a_spot_farther_away_spares_the_one_behind_but_not_in_a_street():
    fast = find_spot([car(100, speed_mps=30)], lane_length_m=1000, asked_m=142, search_m=100, step_s=1)
    assert not fast.hard and fast.position_m == 95  # behind it
    street = find_spot([car(100, speed_mps=13.9)], lane_length_m=1000, asked_m=118, search_m=100, step_s=1)
    assert not street.hard and street.position_m > 118
    slower = find_spot([car(100, speed_mps=10)], lane_length_m=1000, asked_m=109, search_m=100, step_s=1)
    assert not slower.hard and slower.position_m < 125


def test_whoever_follows_one_that_brakes_hard_can_stop_behind_it():
    """A second vehicle 31 m behind the first once ran into it: 9 m/s² is more than the distance kept allows for."""
    first, second = car(36.4, speed_mps=31.3), car(5.1, speed_mps=30.2)
    alone = find_spot([first], lane_length_m=500, asked_m=84, search_m=20, step_s=1)
    both = find_spot([second, first], lane_length_m=500, asked_m=84, search_m=20, step_s=1)
    assert alone.hard and both.hard and both.position_m > alone.position_m
    late_m = 30.2
    second_stops_m = 5.1 + late_m + braking_distance_m(30.2, 9.0, 1.0)
    assert both.position_m - both.length_m - 2.5 - first.length_m - 2.5 >= second_stops_m - 1e-9
    queue = [car(5 + 7.501 * n) for n in range(4)]  # nobody moves, so nobody is too close
    standing = find_spot(queue, lane_length_m=500, asked_m=35, search_m=20, step_s=1)
    assert standing.position_m - standing.length_m < 5 + 7.501 * 3 + 2.5 + 1e-2 or standing.position_m == 35


def test_several_lanes_have_their_spots_side_by_side_where_there_is_room():
    """A lane alone would take the asked spot; the other one has no room there."""
    free, queue = [], [car(200 + 7.501 * n) for n in range(10)]
    spots = find_spots([free, queue], lane_lengths_m=[500, 500], asked_m=220, search_m=100, step_s=1)
    assert {spot.length_m for spot in spots} == {5.0} and stand_abreast((s.position_m, s.length_m) for s in spots)
    full = [car(400, length_m=390)]
    first, second = find_spots([free, full], lane_lengths_m=[500, 500], asked_m=220, search_m=100, step_s=1)
    assert first.position_m == 220 and second is None


def test_abreast_are_vehicles_that_nobody_fits_between():
    assert stand_abreast([(100, 5), (104, 5), (97.5, 2)])
    assert not stand_abreast([(100, 5), (110, 5)])
    assert not stand_abreast([(100, 0.0005), (102.5, 0.0005)])
    assert stand_abreast([(100, 5)]) and stand_abreast([])


def test_braking_distance_is_the_sum_of_euler_steps():
    assert braking_distance_m(9.0, 4.5, 1.0) == pytest.approx(4.5)
    assert braking_distance_m(0.0, 4.5, 1.0) == 0
    # With ever shorter steps it becomes v² / (2 b).
    assert braking_distance_m(30.0, 4.5, 0.001) == pytest.approx(100.0, rel=1e-3)


vehicles = st.lists(st.tuples(st.floats(0, 500), st.floats(0, 35), st.sampled_from([4.0, 5.0, 12.0])), max_size=40)


@settings(deadline=None, max_examples=200)
@given(traffic=vehicles, asked=st.floats(0, 500), step_s=st.sampled_from([0.1, 0.5, 1.0]))
def test_a_spot_never_overlaps_and_lets_the_one_behind_brake(traffic, asked, step_s):
    lane = [car(front, speed, length) for front, speed, length in traffic]
    spot = find_spot(lane, lane_length_m=500, asked_m=asked, search_m=100, step_s=step_s)
    if spot is None:
        return
    assert spot.position_m - spot.length_m >= 0 and spot.position_m <= 500
    assert abs(spot.position_m - asked) <= 100
    behind = [v for v in lane if v.front_m < spot.position_m]
    ahead = [v for v in lane if v.front_m >= spot.position_m]
    assert all(v.back_m >= spot.position_m - 1e-3 for v in ahead)
    for vehicle in behind:
        gap = spot.position_m - spot.length_m - vehicle.front_m - vehicle.min_gap_m
        decel = vehicle.emergency_decel_mps2 if spot.hard else vehicle.decel_mps2
        wait = vehicle.speed_mps * max(0, vehicle.reaction_s - step_s)
        assert gap >= braking_distance_m(vehicle.speed_mps, decel, step_s) + wait - 1e-3
