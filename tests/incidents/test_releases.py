"""Places at which nearly everybody is released: found at an incident, not at signals and not in waves."""

import numpy as np
import pytest

from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.release_scan import crossings, positive_spans, release_places, usual_share
from scenariogen.incidents.releases import SLOW, find_releases
from scenariogen.incidents.sparse_releases import STARTING_MPS2, release_row
from scenariogen.trajectories.tracks import load_day
from tests.trajectories.handmade import LENGTH_M, LIMIT_MPS, Traffic, every, record, road

SPOT_M = LENGTH_M + 250.0
SPAN_S = (1000.0, 2200.0)
END_S = 3300.0
SETTINGS = DetectSettings()


def street(headway_s: float = 10.0, **what) -> Traffic:
    """One lane with 360 vehicles an hour, and what happens on it."""
    traffic = Traffic(end_s=END_S)
    traffic.file(0, every(headway_s, until_s=END_S - 100), **what)
    return traffic


def squeezed(headway_s: float = 10.0) -> Traffic:
    return street(headway_s, slow=[(SPOT_M - 10, SPOT_M + 10, 2.0, *SPAN_S)])


def one_in(step: int, traffic: Traffic) -> Traffic:
    part = Traffic(end_s=traffic.end_s)
    part.parts = traffic.parts[::step]
    return part


def loaded(folder, traffic: Traffic, network):
    return load_day(record(folder, traffic), network, 0)


@pytest.mark.parametrize("step", [1, 10])
def test_who_squeezes_past_is_released_there(tmp_path, step):
    network = road(1)
    day = loaded(tmp_path / "day", one_in(step, squeezed()), network)
    usual = loaded(tmp_path / "usual", one_in(step, street(10.5)), network)
    (place,) = release_places(day, [usual], network, SETTINGS)
    assert network.edge_ids[place.edge] == "here" and place.usual < 0.1
    assert 250 <= place.position_m <= 290
    row = release_row(place, day, network, SETTINGS, share=1 / step)
    assert row is not None and row["edge"] == "here" and row["lanes"] == [0]
    assert row["position_m"] == pytest.approx(250, abs=25)
    headway_s = 10.0 * step
    assert row["start_s"] == pytest.approx(SPAN_S[0], abs=headway_s + 60)
    assert row["start_s"] + row["duration_s"] == pytest.approx(SPAN_S[1], abs=headway_s + 60)
    # All who came got through: 360 of 1,768 vehicles an hour, and nobody can say how many more could have.
    assert row["capacity_left"] == pytest.approx(0.204, abs=0.03)
    assert row["capacity_left_is_lower_bound"]


@pytest.mark.parametrize(("at_m", "is_one"), [(5.0, False), (100.0, True)])
def test_who_is_slow_where_vehicles_enter_the_network_is_held_up_by_that(tmp_path, at_m, is_one):
    network = road(1)
    day = loaded(tmp_path / "day", street(slow=[(0.0, at_m, 2.0, *SPAN_S)]), network)
    usual = loaded(tmp_path / "usual", street(10.5), network)
    (place,) = release_places(day, [usual], network, SETTINGS)
    assert network.edge_ids[place.edge] == "before"
    assert (release_row(place, day, network, SETTINGS, share=1.0) is not None) == is_one


def test_a_queue_tells_the_capacity_that_was_left(tmp_path):
    network = road(1)
    day = loaded(tmp_path / "day", squeezed(5.0), network)
    usual = loaded(tmp_path / "usual", street(5.2), network)
    (place,) = release_places(day, [usual], network, SETTINGS)
    row = release_row(place, day, network, SETTINGS, share=1.0)
    assert row is not None
    # At 2 m/s a lane discharges 2 / (7.5 + 1.5 · 2) vehicles a second.
    assert row["capacity_left"] == pytest.approx(2 / 10.5 / (LIMIT_MPS / (7.5 + 1.5 * LIMIT_MPS)), abs=0.03)
    assert not row["capacity_left_is_lower_bound"]


def test_what_happens_on_other_days_too_is_usual(tmp_path):
    network = road(1)
    day = loaded(tmp_path / "day", squeezed(), network)
    assert not release_places(day, [loaded(tmp_path / "usual", squeezed(11.0), network)], network, SETTINGS)
    assert not release_places(day, [], network, SETTINGS)


def test_a_signals_queue_is_none_even_where_more_come_than_usual(tmp_path):
    red = [(2 * LENGTH_M - 1.0, cycle, cycle + 55.0) for cycle in range(0, int(END_S), 90)]
    network = road(1, signal=True)
    day = loaded(tmp_path / "day", street(6.0, holds=red), network)
    assert len(find_releases(day, network).vehicle) > 100
    assert not release_places(day, [loaded(tmp_path / "usual", street(9.0, holds=red), network)], network, SETTINGS)


def test_a_wave_that_travels_upstream_is_none(tmp_path):
    network = road(1)
    holds = [(2.8 * LENGTH_M, begin, begin + 30.0) for begin in range(600, 2400, 300)]
    day = loaded(tmp_path / "day", street(3.0, holds=holds), network)
    releases = find_releases(day, network)
    assert np.ptp(releases.position_m) > 60 and len(releases.vehicle) > 60
    usual = loaded(tmp_path / "usual", street(3.1), network)
    assert not release_places(day, [usual], network, SETTINGS)


def test_release_lies_where_the_vehicle_gathers_speed(tmp_path):
    network = road(1)
    day = loaded(tmp_path, squeezed(), network)
    releases = find_releases(day, network)
    # These vehicles reach any speed at once; SUMO's and real ones take the way that is taken off.
    assert releases.position_m == pytest.approx(260.0, abs=2 * LIMIT_MPS)
    assert pytest.approx(14.2, abs=0.1) == (SLOW * LIMIT_MPS) ** 2 / (2 * STARTING_MPS2)


def test_crossings_agree_with_the_vehicles_that_were_made(tmp_path):
    network = road(1)
    day = loaded(tmp_path, street(), network)
    number = network.edge_index["here"]
    seen = crossings(day, find_releases(day, network), number, np.array([5.0, 250.0, 495.0]))
    begins = np.array([5.0, 250.0, 495.0]) + LENGTH_M
    for place, at_m in enumerate(begins):
        times, released = seen.at(place)
        assert not released.any()
        expected = np.array(every(10.0, until_s=END_S - 100)) + at_m / LIMIT_MPS
        assert times == pytest.approx(expected[expected < END_S], abs=1.0)


def test_usual_share_is_higher_at_the_time_of_a_recurrent_queue():
    times = np.arange(0.0, 10_000.0, 10.0)
    released = (times > 4000) & (times < 5000)
    share = usual_share([(times, released)], np.array([500.0, 4500.0]), 0.02)
    assert share[0] == pytest.approx(0.1, abs=0.01)
    # 100 of the 180 within a quarter of an hour.
    assert share[1] == pytest.approx(0.55, abs=0.02)


def test_spans_are_those_with_the_largest_sums():
    rng = np.random.default_rng(3)
    for _ in range(50):
        gain = rng.normal(-0.3, 1.0, 30)
        sums = {(low, high): gain[low:high].sum() for low in range(30) for high in range(low + 1, 31)}
        best = max(sums, key=lambda span: sums[span])
        found = positive_spans(gain, 2.0)
        assert (found[:1] == [best]) if sums[best] >= 2.0 else not found
