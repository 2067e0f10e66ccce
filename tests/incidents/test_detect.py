"""Detection on hand-made traffic: each thing that is an incident, and each that only looks like one."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scenariogen.errors import DataError
from scenariogen.incidents.detect import DetectSettings, detect_incidents
from scenariogen.incidents.records import OBSERVED_COLUMNS
from scenariogen.trajectories.records import open_trajectories
from tests.trajectories.handmade import JAM_M, LIMIT_MPS, REACTION_S, Traffic, every, record, road, write

SPOT_M = 750.0
"""In the middle of ``here``, which begins at 500."""
BEGIN_S, END_S = 300.0, 900.0
FREE_VEH_S = LIMIT_MPS / (JAM_M + REACTION_S * LIMIT_MPS)


def discharge_share(speed_mps: float) -> float:
    """Newell's saturated flow at a speed over that at the limit."""
    return speed_mps / (JAM_M + REACTION_S * speed_mps) / FREE_VEH_S


def found_in(folder: Path, traffic: Traffic, network, **settings) -> pd.DataFrame:
    return detect_incidents(record(folder, traffic), network, settings=DetectSettings(**settings))


def squeezing(speed_mps: float, headway_s: float, end_s: float = 1200.0) -> Traffic:
    """A vehicle at the side of a single lane, and everybody slow from 10 m before it to 10 m past it."""
    traffic = Traffic(end_s=end_s)
    traffic.stand(0, SPOT_M, BEGIN_S, END_S)
    slow = [(SPOT_M - 10, SPOT_M + 10, speed_mps, BEGIN_S, END_S)]
    traffic.file(0, every(headway_s, until_s=end_s - 100), slow=slow)
    return traffic


def test_vehicle_that_closes_the_only_lane(tmp_path):
    traffic = Traffic(end_s=1200)
    traffic.stand(0, SPOT_M, BEGIN_S, END_S)
    traffic.file(0, every(5, until_s=1100), holds=[(SPOT_M - JAM_M, BEGIN_S, END_S)])
    found = found_in(tmp_path, traffic, road())
    assert list(found.columns) == [*OBSERVED_COLUMNS, "phases"]
    (row,) = found.itertuples()
    assert (row.edge, row.lanes, row.kind, row.day) == ("here", [0], "breakdown", 0)
    assert row.start_s == pytest.approx(BEGIN_S, abs=traffic.period_s)
    assert row.duration_s == pytest.approx(END_S - BEGIN_S, abs=2 * traffic.period_s)
    assert row.position_m == pytest.approx(SPOT_M - 500, abs=0.1)
    assert row.capacity_left == 0 and not row.capacity_left_is_lower_bound and not row.duration_is_censored
    assert row.confidence > 0.9


def test_two_vehicles_behind_each_other_are_a_crash_and_a_queued_driver_is_not(tmp_path):
    traffic = Traffic(end_s=1200)
    traffic.stand(0, SPOT_M, BEGIN_S, END_S)
    traffic.stand(0, SPOT_M - 6, BEGIN_S, END_S)
    traffic.file(0, every(5, until_s=1100), holds=[(SPOT_M - 6 - JAM_M, BEGIN_S, END_S)])
    (row,) = found_in(tmp_path / "crash", traffic, road()).itertuples()
    assert row.kind == "crash" and row.position_m == pytest.approx(SPOT_M - 500)

    alone = Traffic(end_s=1200)  # the first follower is 2 s behind, and stands as long as the broken-down vehicle
    alone.stand(0, SPOT_M, BEGIN_S, END_S)
    alone.file(0, every(2.1, until_s=700), holds=[(SPOT_M - JAM_M, BEGIN_S, END_S)])
    (row,) = found_in(tmp_path / "alone", alone, road()).itertuples()
    assert row.kind == "breakdown"


def test_slow_passing_that_costs_little_is_a_shoulder_incident(tmp_path):
    (row,) = found_in(tmp_path, squeezing(9.0, headway_s=5.0), road()).itertuples()
    assert row.lanes == []
    assert row.capacity_left_is_lower_bound


def test_parked_vehicle_that_nobody_slows_down_for_is_no_incident(tmp_path):
    assert found_in(tmp_path, squeezing(LIMIT_MPS, headway_s=5.0), road()).empty


def test_one_of_two_lanes_closed_with_a_queue(tmp_path):
    traffic = Traffic(end_s=1200)
    traffic.stand(0, SPOT_M, BEGIN_S, END_S)
    slow = [(SPOT_M - 10, SPOT_M + 10, 6.0, BEGIN_S, END_S)]
    traffic.file(0, every(5, until_s=1000), holds=[(SPOT_M - JAM_M, BEGIN_S, END_S)])
    traffic.file(1, every(2.1, until_s=1000), slow=slow)
    (row,) = found_in(tmp_path, traffic, road(2)).itertuples()
    assert row.lanes == [0] and not row.capacity_left_is_lower_bound
    assert row.capacity_left == pytest.approx(discharge_share(6.0) / 2, abs=0.05)


def test_adjacent_lanes_closed_together_are_one_incident(tmp_path):
    traffic = Traffic(end_s=1200)
    for lane, at_m in ((0, SPOT_M), (1, SPOT_M + 8)):
        traffic.stand(lane, at_m, BEGIN_S + 2 * lane, END_S)
        traffic.file(lane, every(8, until_s=1000), holds=[(at_m - JAM_M, BEGIN_S, END_S)])
    traffic.file(2, every(3, until_s=1100))
    (row,) = found_in(tmp_path, traffic, road(3)).itertuples()
    assert row.lanes == [0, 1] and row.kind == "crash"
    assert row.position_m == pytest.approx(SPOT_M + 4 - 500)


@pytest.mark.parametrize(("gone_s", "incidents"), [(END_S, 1), (END_S - 200.0, 2)])
def test_vehicles_far_apart_are_one_incident_where_they_also_went_together(tmp_path, gone_s, incidents):
    traffic = Traffic(end_s=1200)
    for lane, at_m, until_s in ((0, SPOT_M, END_S), (1, SPOT_M + 80.0, gone_s)):
        traffic.stand(lane, at_m, BEGIN_S, until_s)
        traffic.file(lane, every(8, until_s=1000), holds=[(at_m - JAM_M, BEGIN_S, until_s)])
    traffic.file(2, every(3, until_s=1100))
    assert len(found_in(tmp_path, traffic, road(3))) == incidents


def test_lanes_reopened_one_by_one_are_phases_lane_by_lane(tmp_path):
    traffic, half_s = Traffic(end_s=1200), (BEGIN_S + END_S) / 2
    for lane, until_s in ((0, END_S), (1, half_s)):
        traffic.stand(lane, SPOT_M, BEGIN_S, until_s)
        traffic.file(lane, every(5, until_s=1100), holds=[(SPOT_M - JAM_M, BEGIN_S, until_s)])
    traffic.file(2, every(5, until_s=1100))
    (row,) = found_in(tmp_path, traffic, road(3)).itertuples()
    assert row.lanes == [0, 1] and row.duration_s == pytest.approx(END_S - BEGIN_S, abs=4)
    first, second = row.phases
    assert (first["lanes"], second["lanes"]) == ([0, 1], [0])
    assert first["begin_s"] == row.start_s and second["end_s"] == row.start_s + row.duration_s
    assert first["end_s"] == second["begin_s"] == pytest.approx(half_s, abs=4)
    assert first["capacity_left"] < second["capacity_left"]


def test_vehicle_beside_a_lane_in_use_is_on_the_shoulder(tmp_path):
    traffic = Traffic(end_s=1200)
    traffic.stand(0, SPOT_M, BEGIN_S, END_S)
    slow = [(SPOT_M - 40, SPOT_M + 20, 7.0, BEGIN_S, END_S)]
    for lane in (0, 1):
        traffic.file(lane, every(5, until_s=1100), slow=slow)
    (row,) = found_in(tmp_path, traffic, road(2)).itertuples()
    assert row.lanes == []


def test_incident_that_outlasts_the_recording_is_censored(tmp_path):
    traffic = Traffic(end_s=900)
    traffic.stand(0, SPOT_M, BEGIN_S, 5000.0)
    traffic.file(0, every(6, until_s=900), holds=[(SPOT_M - JAM_M, BEGIN_S, 5000.0)])
    (row,) = found_in(tmp_path, traffic, road()).itertuples()
    assert row.duration_is_censored
    assert row.duration_s == pytest.approx(900 - BEGIN_S, abs=2 * traffic.period_s)


def test_incident_is_still_seen_while_a_red_light_ahead_fills_the_road(tmp_path):
    """The queue of the light reaches back past the spot in every cycle, which hides the blockage for a while."""
    traffic = Traffic(end_s=1500)
    red = [(1000.0, cycle, cycle + 50.0) for cycle in np.arange(0.0, 1500.0, 100.0)]
    at_m = 960.0
    traffic.stand(0, at_m, BEGIN_S, 1200.0)
    slow = [(at_m - 10, at_m + 10, 3.0, BEGIN_S, 1200.0)]
    traffic.file(0, every(6, until_s=1400), holds=red, slow=slow)
    found = found_in(tmp_path, traffic, road(signal=True))
    assert len(found) == 1
    assert found.loc[0, "position_m"] == pytest.approx(460)


def red_lights(red_s: float, cycle_s: float) -> Traffic:
    traffic = Traffic(end_s=1200)
    red = [(999.5, start, start + red_s) for start in np.arange(100.0, 1200.0, cycle_s)]
    traffic.file(0, every(5, until_s=1100), holds=red)
    return traffic


@pytest.mark.parametrize(("red_s", "cycle_s"), [(60, 90), (250, 300), (500, 600)])
def test_red_lights_are_no_incident(tmp_path, red_s, cycle_s):
    assert found_in(tmp_path, red_lights(red_s, cycle_s), road(signal=True)).empty


def test_queue_that_spills_back_is_no_incident(tmp_path):
    """A stop at the end of ``after`` for ten minutes: everybody stands, from there back through ``here``."""
    traffic = Traffic(end_s=1400)
    traffic.file(0, every(4, until_s=1000), holds=[(1499.0, 200.0, 800.0)])
    assert found_in(tmp_path, traffic, road()).query("edge == 'here' or edge == 'before'").empty


def test_gridlock_is_no_incident(tmp_path):
    """Two lanes, each waiting for the other before the light, until the end: nobody passes anybody."""
    traffic = Traffic(end_s=1500)
    for lane, at_m, since_s in ((0, 975.0, 300.0), (1, 980.0, 420.0)):
        traffic.file(lane, every(6, until_s=1400), holds=[(at_m, since_s, 1500.0)])
    assert found_in(tmp_path, traffic, road(2, signal=True)).empty


def test_gridlock_in_mid_block_is_no_incident(tmp_path):
    """Four minutes after one lane, the other comes to a stand as well 20 m behind; both wait until the end."""
    traffic = Traffic(end_s=1500)
    for lane, at_m, since_s in ((0, 750.0, 300.0), (1, 730.0, 540.0)):
        traffic.file(lane, every(6, until_s=1400), holds=[(at_m, since_s, 1500.0)])
    assert found_in(tmp_path, traffic, road(2)).empty


def test_blocked_lane_of_an_empty_road_is_not_gridlock(tmp_path):
    traffic = Traffic(end_s=1500)
    traffic.stand(0, SPOT_M, BEGIN_S, 1300.0)
    traffic.file(1, every(400, until_s=1400))
    (row,) = found_in(tmp_path, traffic, road(2)).itertuples()
    assert row.lanes == [0] and row.capacity_left_is_lower_bound


def test_driver_held_up_by_an_incident_beside_him_is_no_second_one(tmp_path):
    """He stands in the next lane, 15 m back, from a minute later until the road is free again, then drives on."""
    traffic = Traffic(end_s=1500)
    traffic.stand(0, SPOT_M, BEGIN_S, END_S)
    traffic.file(0, every(10, until_s=1400), holds=[(SPOT_M - JAM_M, BEGIN_S, END_S)])
    held = [(SPOT_M - 15.0, BEGIN_S + 60.0, END_S + 4.0)]
    traffic.file(1, every(10, until_s=1400), holds=held)
    traffic.file(2, every(5, until_s=1400))
    (row,) = found_in(tmp_path, traffic, road(3)).itertuples()
    assert row.lanes == [0] and row.start_s == pytest.approx(BEGIN_S, abs=2)


def test_driver_held_up_who_gets_away_before_the_road_is_free_is_no_second_one(tmp_path):
    """As before, but he finds a gap while the other lane is still closed."""
    traffic = Traffic(end_s=1500)
    traffic.stand(0, SPOT_M, BEGIN_S, END_S)
    traffic.file(0, every(10, until_s=1400), holds=[(SPOT_M - JAM_M, BEGIN_S, END_S)])
    traffic.file(1, every(10, until_s=1400), holds=[(SPOT_M - 40.0, BEGIN_S + 60.0, END_S - 200.0)])
    traffic.file(2, every(5, until_s=1400))
    (row,) = found_in(tmp_path, traffic, road(3)).itertuples()
    assert row.lanes == [0]


@pytest.mark.parametrize("before_end_m", [4.0, 20.0])
@pytest.mark.parametrize("signal", [True, False])
def test_lane_that_stands_still_before_a_signal_while_the_next_one_goes_on(tmp_path, before_end_m, signal):
    traffic = Traffic(end_s=1500)
    traffic.stand(0, 1000.0 - before_end_m, BEGIN_S, END_S)
    traffic.file(1, every(5, until_s=1400))
    (row,) = found_in(tmp_path, traffic, road(2, signal=signal)).itertuples()
    assert row.lanes == [0]


def test_closed_only_lane_is_not_told_from_waiting_at_the_line_itself(tmp_path):
    """Six minutes more than any cycle: a starved driver at a stop line looks the same."""

    def closed(before_end_m: float) -> Traffic:
        traffic = Traffic(end_s=1500)
        at_m = 1000.0 - before_end_m
        traffic.stand(0, at_m, BEGIN_S, END_S)
        traffic.file(0, every(8, until_s=1400), holds=[(at_m - JAM_M, BEGIN_S, END_S)])
        return traffic

    assert found_in(tmp_path / "line", closed(4.0), road(signal=True)).empty
    assert len(found_in(tmp_path / "before", closed(12.0), road(signal=True))) == 1


@pytest.mark.parametrize(("red_s", "is_found"), [(40.0, True), (180.0, False)])
def test_at_the_line_itself_standing_many_times_longer_than_anybody_else_tells(tmp_path, red_s, is_found):
    """Ten minutes at a light where others wait for 40 s, or for 3 min, before and after."""
    traffic = Traffic(end_s=2400)
    traffic.stand(0, 996.0, 800.0, 1400.0)
    red = [(995.0, start, start + red_s) for start in (*range(60, 600, 200), *range(1500, 2200, 200))]
    traffic.file(0, every(20, until_s=2300), holds=[*red, (996.0 - JAM_M, 800.0, 1400.0)])
    assert len(found_in(tmp_path, traffic, road(signal=True))) == is_found


def test_at_a_line_without_a_signal_only_what_never_drives_on_is_an_incident(tmp_path):
    """A starved driver who drives on after ten minutes waited; one who is gone was taken away."""
    network = road()
    joined = replace(network, edges={**network.edges, "side": replace(network.edges["here"], id="side")})
    gives_way = [(995.0, start, start + 20.0) for start in (*range(60, 600, 200), *range(1500, 2200, 200))]
    gone, starved = Traffic(end_s=2400), Traffic(end_s=2400)
    gone.stand(0, 996.0, 800.0, 1400.0)
    gone.file(0, every(20, until_s=2300), holds=[*gives_way, (996.0 - JAM_M, 800.0, 1400.0)])
    starved.file(0, every(20, until_s=2300), holds=[*gives_way, (995.0, 800.0, 1400.0)])
    assert len(found_in(tmp_path / "gone", gone, joined)) == 1
    assert found_in(tmp_path / "starved", starved, joined).empty


def test_a_queue_that_once_reached_the_spot_does_not_make_it_a_stop(tmp_path):
    """Ten minutes in mid-block; later a queue of three minutes reaches back beyond the spot."""
    traffic = Traffic(end_s=2600)
    traffic.stand(0, SPOT_M, BEGIN_S, END_S)
    holds = [(SPOT_M - JAM_M, BEGIN_S, END_S), (999.5, 1500.0, 1900.0)]
    traffic.file(0, every(6, until_s=2000), holds=holds)
    table = traffic.table()
    late = table.query("edge == 'here' and time_s > 1500 and speed_mps < 0.3")
    assert (late["position_m"].between(SPOT_M - 500 - 12, SPOT_M - 500 + 12)).any()  # the queue does reach it
    (row,) = found_in(tmp_path, traffic, road(signal=True)).itertuples()
    assert row.start_s == pytest.approx(BEGIN_S, abs=2)


def test_vehicle_beside_the_only_lane_at_a_line_is_told_by_those_who_pass(tmp_path):
    traffic = Traffic(end_s=1500)
    traffic.stand(0, 996.0, BEGIN_S, END_S)
    traffic.file(0, every(8, until_s=1400), slow=[(980.0, 1000.0, 3.0, BEGIN_S, END_S)])
    (row,) = found_in(tmp_path, traffic, road(signal=True)).itertuples()
    assert row.lanes == [0] and row.capacity_left > 0


def waits_then_changes(traffic: Traffic, *, stands_s: float, again_s: float = 0.0) -> None:
    """A vehicle stands 25 m before the end of ``here`` from 240 s on, perhaps again 10 m farther on, and leaves along
    lane 1."""
    off_s = 240 + stands_s
    gone_s = off_s + again_s + 5
    times = np.arange(200.0, gone_s + 9, traffic.period_s)
    x = np.interp(times, [200, 240, off_s, off_s + 5, gone_s, gone_s + 5], [500, 975, 975, 985, 985, 998])
    speed_mps = np.interp(times, [200, 239, 240, off_s, off_s + 1], [12, 12, 0, 0, 2.0])
    speed_mps[(times > off_s + 5) & (times <= gone_s)] = 0.0
    rows = {"time_s": times, "vehicle": "waits", "lane": (times > gone_s) * 1, "x": x, "speed_mps": speed_mps}
    traffic.add_rows(pd.DataFrame(rows))


def test_driver_who_waits_for_the_other_lane_is_no_incident(tmp_path):
    """Eight minutes 25 m before the light with a free road ahead, then on along the lane beside it."""
    traffic = Traffic(end_s=1200)
    traffic.file(1, every(5, until_s=1100))
    waits_then_changes(traffic, stands_s=480.0)
    assert found_in(tmp_path, traffic, road(2, signal=True)).empty


def test_nobody_waits_for_a_lane_that_is_free(tmp_path):
    """The same beside a lane with gaps of half a minute: it was out of order, and turns off where it then must."""
    traffic = Traffic(end_s=1200)
    traffic.file(1, every(30, until_s=1100))
    waits_then_changes(traffic, stands_s=480.0)
    (row,) = found_in(tmp_path, traffic, road(2, signal=True)).itertuples()
    assert row.lanes == [0] and row.duration_s == pytest.approx(480, abs=2 * traffic.period_s)


@pytest.mark.parametrize(("period_s", "again_s", "is_found"), [(0.5, 60.0, False), (4.0, 180.0, True)])
def test_a_lane_taken_long_afterwards_is_not_what_was_waited_for(tmp_path, period_s, again_s, is_found):
    """Two minutes are two minutes, however often positions are sampled."""
    traffic = Traffic(end_s=1200, period_s=period_s)
    traffic.file(1, every(5, until_s=1100))
    waits_then_changes(traffic, stands_s=480.0, again_s=again_s)
    assert len(found_in(tmp_path, traffic, road(2, signal=True))) == is_found


def test_regular_stops_are_no_incident(tmp_path):
    """Every twentieth vehicle stops for 160 s at the same place of a two-lane road, as a coach at its stop."""
    traffic = Traffic(end_s=1800)
    stops = dict.fromkeys(range(9), (SPOT_M, 160.0))
    traffic.file(0, every(190, until_s=1700), stops=stops)
    traffic.file(1, every(5, until_s=1700))
    assert found_in(tmp_path, traffic, road(2)).empty
    alone = Traffic(end_s=1800)
    alone.file(0, every(190, until_s=1700), stops={4: (SPOT_M, 160.0)})
    alone.file(1, every(5, until_s=1700))
    assert (
        len(found_in(tmp_path / "alone", alone, road(2), least_confidence=0.01)) == 1
    )  # the rule decides, not the length


def test_bottleneck_without_a_standing_vehicle_is_no_incident(tmp_path):
    traffic = Traffic(end_s=1200)
    traffic.file(0, every(2.2, until_s=1100), slow=[(700.0, 750.0, 2.5, 0.0, 1200.0)])
    assert found_in(tmp_path, traffic, road()).empty


def test_short_stop_is_no_incident(tmp_path):
    traffic = Traffic(end_s=900)
    traffic.file(0, every(10, until_s=800), stops={20: (SPOT_M, 120.0)})
    assert found_in(tmp_path, traffic, road()).empty


def test_what_stands_at_the_same_spot_on_most_days_belongs_there(tmp_path):
    def day(*stands: float) -> Traffic:
        traffic = Traffic(end_s=1000)
        for at_m in stands:
            traffic.stand(0, at_m, 200.0, 800.0)
        traffic.file(1, every(10, until_s=900))
        return traffic

    days = [day(SPOT_M), day(SPOT_M, 300.0), day(SPOT_M), day()]
    found = detect_incidents(record(tmp_path, *days), road(2))
    assert list(zip(found["day"], found["edge"], strict=True)) == [(1, "before")]


def test_names_do_not_matter_and_the_truth_beside_it_is_not_read(tmp_path):
    table = squeezing(3.0, headway_s=3.0).table()
    folder = write(tmp_path / "a", table)
    (folder / "truth.parquet").write_bytes(b"not a table at all")
    first = detect_incidents(open_trajectories(folder), road())
    names = {name: f"bus.{int(name[1:]) * 7919 % 100_003}" for name in sorted(set(table["vehicle"]), reverse=True)}
    renamed = table.assign(vehicle=table["vehicle"].map(names))
    second = detect_incidents(open_trajectories(write(tmp_path / "b", renamed)), road())
    assert len(first) == 1
    pd.testing.assert_frame_equal(first, second)


def test_days_are_judged_each_by_itself_and_reported_in_order(tmp_path):
    quiet = Traffic(end_s=600)
    quiet.file(0, every(10, until_s=500))
    seen: list[int] = []
    recording = record(tmp_path, quiet, squeezing(3.0, headway_s=4.0), quiet)
    found = detect_incidents(recording, road(), progress=seen.append)
    assert seen == [0, 1, 2]
    assert list(found["day"]) == [1]


def test_quiet_road_gives_an_empty_table_with_all_columns(tmp_path):
    traffic = Traffic(end_s=300)
    traffic.file(0, every(10, until_s=200))
    found = found_in(tmp_path, traffic, road())
    assert found.empty and list(found.columns) == [*OBSERVED_COLUMNS, "phases"]


def test_rare_samples_are_refused(tmp_path):
    traffic = Traffic(end_s=600, period_s=15.0)
    traffic.file(0, every(20, until_s=500))
    with pytest.raises(DataError, match="every 15 s; detection needs one every 10 s"):
        found_in(tmp_path, traffic, road())


def test_another_network_is_refused(tmp_path):
    traffic = Traffic(end_s=300)
    traffic.file(0, every(10, until_s=200))
    folder = write(tmp_path, traffic.table(), header='{"network_hash": "abc"}')
    with pytest.raises(DataError, match="recorded on a network with hash abc"):
        detect_incidents(open_trajectories(folder), road())
    (folder / "history.json").unlink()
    other = road()
    del other.edges["after"]
    with pytest.raises(DataError, match="1 edges are unknown, the first: edge 'after'"):
        detect_incidents(open_trajectories(folder), other)


def test_settings_that_cannot_be_are_refused_all_at_once():
    with pytest.raises(DataError) as caught:
        DetectSettings(standing_mps=-1.0, least_standing_s=900.0, stop_line_m=0.0)
    assert len(caught.value.problems) == 3
