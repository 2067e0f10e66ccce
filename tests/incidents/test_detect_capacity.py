"""How much capacity detection finds left, and when that is a lower bound only."""

import pytest

from tests.incidents.test_detect import BEGIN_S, END_S, FREE_VEH_S, SPOT_M, discharge_share, found_in, squeezing
from tests.trajectories.handmade import Traffic, every, road


@pytest.mark.parametrize("speed_mps", [2.0, 3.0, 4.0])
def test_capacity_left_where_traffic_squeezes_past_a_queue_upstream(tmp_path, speed_mps):
    (row,) = found_in(tmp_path, squeezing(speed_mps, headway_s=2.3), road()).itertuples()
    assert row.lanes == [0] and not row.capacity_left_is_lower_bound
    asked = discharge_share(speed_mps)
    assert row.capacity_left == pytest.approx(asked, abs=0.05)
    assert abs(row.capacity_left - asked) < 3 * row.capacity_left_se


def test_without_a_queue_capacity_left_is_a_lower_bound(tmp_path):
    (row,) = found_in(tmp_path, squeezing(3.0, headway_s=12.0), road()).itertuples()
    assert row.capacity_left_is_lower_bound
    assert row.capacity_left == pytest.approx(1 / 12 / FREE_VEH_S, rel=0.15)
    assert row.capacity_left <= discharge_share(3.0)


def test_dense_traffic_at_speed_is_no_queue(tmp_path):
    """More than 0.7 of what the road carries, but less than passes the spot: all that came went by."""
    (row,) = found_in(tmp_path, squeezing(9.0, headway_s=2.6), road()).itertuples()
    assert 0.7 < row.capacity_left < discharge_share(9.0)
    assert row.capacity_left_is_lower_bound


def test_a_moving_queue_from_farther_on_says_nothing_of_the_spot(tmp_path):
    traffic = Traffic(end_s=1200)
    traffic.stand(0, SPOT_M, BEGIN_S, END_S)
    farther = (SPOT_M + 150, SPOT_M + 200, 3.0, BEGIN_S - 100, END_S)
    traffic.file(0, every(2.3, until_s=1100), slow=[(SPOT_M - 10, SPOT_M + 10, 9.0, BEGIN_S, END_S), farther])
    rows = found_in(tmp_path, traffic, road(), slower_passing=2.0)  # everybody passes slowly, whatever the spot does
    (row,) = rows.itertuples()
    assert row.capacity_left == pytest.approx(discharge_share(3.0), abs=0.06)
    assert row.capacity_left_is_lower_bound
