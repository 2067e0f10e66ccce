"""The parts of detection one by one: passings, standing, queues."""

import numpy as np
import pytest

from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.passing import passings
from scenariogen.incidents.saturation import claimed_m, saturation_veh_h, smoothed, stretch_rows
from scenariogen.incidents.standing import Ends, covered_s, find_stands, free_ahead_s, heads_of_queues
from scenariogen.trajectories.tracks import Tracks, load_day
from tests.trajectories.handmade import JAM_M, LIMIT_MPS, Traffic, every, record, road

SETTINGS = DetectSettings()


def tracks_of(folder, traffic: Traffic, lanes: int = 1, **options) -> Tracks:
    return load_day(record(folder, traffic), road(lanes, **options), 0)


@pytest.mark.parametrize("at_m", [0.5, 13.0, 250.0, 499.0])
def test_everybody_passes_once_at_the_right_second(tmp_path, at_m):
    """Also just behind and just before a border between edges, where one of the two samples lies elsewhere."""
    arrivals = every(7.5, until_s=400)
    traffic = Traffic(end_s=600)
    traffic.file(0, arrivals)
    tracks = tracks_of(tmp_path, traffic)
    past = passings(tracks, 1, at_m)
    np.testing.assert_allclose(past.time_s, np.array(arrivals) + (500 + at_m) / LIMIT_MPS, atol=1e-3)
    np.testing.assert_allclose(past.speed_mps, LIMIT_MPS, rtol=1e-4)
    assert (np.maximum(past.lane, past.lane_after) == 0).all()
    assert len(np.unique(past.vehicle)) == len(arrivals)
    span = past.between(past.time_s[2], past.time_s[5])
    assert len(span) == 4


def test_nobody_passes_where_nobody_was(tmp_path):
    traffic = Traffic(end_s=100)
    traffic.stand(0, 700.0, 0.0, 100.0)
    assert len(passings(tracks_of(tmp_path, traffic), 1, 100.0)) == 0


def test_stands_have_the_times_and_places_they_were_made_with(tmp_path):
    traffic = Traffic(end_s=300)
    traffic.file(0, [0.0], stops={0: (700.0, 60.0)})
    stands = find_stands(tracks_of(tmp_path, traffic), SETTINGS)
    assert len(stands) == 1
    assert stands.position_m[0] == pytest.approx(200, abs=0.1)
    assert stands.begin_s[0] == pytest.approx(700 / LIMIT_MPS, abs=traffic.period_s)
    assert stands.duration_s[0] == pytest.approx(60, abs=2 * traffic.period_s)
    assert stands.drives_on[0]


def test_a_gap_in_the_samples_does_not_join_two_stands(tmp_path):
    traffic = Traffic(end_s=300)
    traffic.stand(0, 700.0, 0.0, 60.0, name="same")
    traffic.stand(0, 700.0, 200.0, 260.0, name="same")
    stands = find_stands(tracks_of(tmp_path, traffic), SETTINGS)
    assert stands.duration_s.tolist() == pytest.approx([61, 61])


def test_free_road_ahead_is_what_nobody_stands_on(tmp_path):
    """One stands 20 m ahead for a third of the time, another in the next edge, within reach, for another third."""
    traffic = Traffic(end_s=400)
    traffic.stand(0, 985.0, 0.0, 300.0, name="a")
    traffic.stand(0, 995.0, 0.0, 100.0, name="b")
    traffic.stand(0, 1010.0, 150.0, 250.0, name="c")
    traffic.stand(0, 1020.0, 0.0, 300.0, name="beyond reach")
    tracks = tracks_of(tmp_path, traffic)
    stands = find_stands(tracks, SETTINGS)
    (number,) = np.flatnonzero(np.isclose(stands.position_m, 485) & (stands.edge == 1))
    assert free_ahead_s(tracks, road(), stands, int(number), SETTINGS) == pytest.approx(100, abs=4)


def test_a_stub_of_an_edge_does_not_end_the_look_ahead(tmp_path):
    """Edges of a few metres are usual in networks from maps; a queue across one is a queue."""
    lengths_m = (500.0, 5.0, 500.0)
    traffic = Traffic(end_s=400, lengths_m=lengths_m)
    traffic.stand(0, 495.0, 0.0, 300.0, name="a")
    traffic.stand(0, 510.0, 0.0, 200.0, name="past the stub")
    tracks = load_day(record(tmp_path, traffic), road(lengths_m=lengths_m), 0)
    stands = find_stands(tracks, SETTINGS)
    (number,) = np.flatnonzero(stands.edge == 0)
    free_s = free_ahead_s(tracks, road(lengths_m=lengths_m), stands, int(number), SETTINGS)
    assert free_s == pytest.approx(100, abs=4)


def test_only_the_head_of_a_queue_is_a_head(tmp_path):
    traffic = Traffic(end_s=700)
    traffic.stand(0, 750.0, 100.0, 600.0)
    traffic.file(0, every(6, until_s=500), holds=[(750 - JAM_M, 100.0, 600.0)])
    tracks = tracks_of(tmp_path, traffic)
    stands = find_stands(tracks, SETTINGS)
    (head,) = heads_of_queues(tracks, road(), stands, Ends.of(road()), SETTINGS)
    assert stands.position_m[head] == pytest.approx(250)
    assert (stands.duration_s > SETTINGS.least_standing_s).sum() > 10  # the queue stood as well


def test_ends_of_edges():
    ends = Ends.of(road(signal=True))
    assert ends.signal.tolist() == [False, True, False]
    assert ends.waits.tolist() == [False, True, False]
    assert ends.is_near(1, 470.0, SETTINGS) and not ends.is_near(1, 450.0, SETTINGS)
    assert ends.is_at_line(1, 496.0, SETTINGS) and not ends.is_at_line(1, 490.0, SETTINGS)
    assert not ends.is_near(0, 499.0, SETTINGS)


def test_a_queue_claims_the_whole_road_whether_it_stands_or_moves(tmp_path):
    """And traffic at half the saturated flow claims half of it."""
    traffic = Traffic(end_s=400)
    saturated_s = 3600 / saturation_veh_h(LIMIT_MPS, SETTINGS)
    traffic.file(0, every(saturated_s, until_s=400), holds=[(750.0, 150.0, 260.0)])
    traffic.file(1, every(2 * saturated_s, until_s=400))
    tracks = tracks_of(tmp_path, traffic, lanes=2)
    for lane, expected in ((0, 1.0), (1, 0.5)):
        rows = stretch_rows(tracks, 1, (lane,), 50.0, 240.0)
        claimed = claimed_m(tracks, rows, begin_s=100.0, end_s=390.0, settings=SETTINGS) / 190
        # Those that move claim 28.5 m each: two more or less of them may be on the stretch.
        assert np.abs(claimed - expected).max() < 2 * 28.5 / 190
        assert claimed.mean() == pytest.approx(expected, abs=0.08)  # arrivals are rounded to half seconds


def test_union_of_intervals():
    assert covered_s(np.array([]), np.array([]), 0.0, 10.0) == 0
    assert covered_s(np.array([2.0, 0.0]), np.array([4.0, 3.0]), 1.0, 10.0) == 3
    assert covered_s(np.array([20.0]), np.array([30.0]), 1.0, 10.0) == 0


def test_moving_average_keeps_a_constant():
    np.testing.assert_allclose(smoothed(np.full(9, 0.7), 4), 0.7)
    assert smoothed(np.array([]), 5).size == 0
    np.testing.assert_allclose(smoothed(np.array([0.0, 3.0, 0.0]), 3), [1.5, 1.0, 1.5])
