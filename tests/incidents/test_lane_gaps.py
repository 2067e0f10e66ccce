"""Lanes that go unused, and what is left over of queues."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scenariogen.errors import DataError
from scenariogen.incidents.detect_files import detect_file
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.lane_gaps import LaneGap, find_lane_gaps
from scenariogen.incidents.lane_shares import lane_chances, number_chances
from scenariogen.incidents.leftovers import is_aftermath, road_m, without_leftovers
from scenariogen.incidents.records import check_observed
from scenariogen.incidents.sparse_gaps import AT_SIGNAL, CLEARLY_UNUSED, IN_QUEUE, gap_rows, stretch_speeds
from scenariogen.trajectories.tracks import Tracks, load_day
from tests.trajectories.handmade import LENGTH_M, LIMIT_MPS, Traffic, record, road

SPOT_M = LENGTH_M + 250.0
SPAN_S = (600.0, 1500.0)
END_S = 2000.0
SLOW_MPS = 3.0


def day(folder, *, blocked: bool = False, emptied: bool = False, headway_s: float = 5.0) -> Tracks:
    """Two lanes; ``blocked``: for a while those on lane 0 change to lane 1 at the spot, and all are slow before it;
    ``emptied``: for as long nobody comes on lane 0 at all."""
    return load_day(record(folder, made(blocked=blocked, emptied=emptied, headway_s=headway_s)), road(2), 0)


def made(
    *,
    blocked: bool = False,
    emptied: bool = False,
    headway_s: float = 5.0,
    queue_until_s: float = 0.0,
    lengths_m: tuple[float, float, float] = (LENGTH_M,) * 3,
) -> Traffic:
    """The vehicles of such a day. ``queue_until_s``: until then a queue reaches 130 m past the blocked spot."""
    traffic = Traffic(end_s=END_S, lengths_m=lengths_m)
    for number, begin_s in enumerate(np.arange(0.0, END_S - 100, headway_s)):
        for lane in (0, 1):
            times = np.arange(np.ceil(begin_s / 2) * 2, END_S, 2.0)
            at_spot_s = begin_s + SPOT_M / LIMIT_MPS
            during = SPAN_S[0] <= at_spot_s < SPAN_S[1]
            if emptied and lane == 0 and during:
                continue
            x = (times - begin_s) * LIMIT_MPS
            speed = np.full(len(times), LIMIT_MPS)
            if blocked and during:  # 90 m before the spot at the lower speed
                near, slow_m = SPOT_M - 90.0, 220.0 if at_spot_s < queue_until_s else 90.0
                late = np.clip((x - near) / LIMIT_MPS, 0.0, slow_m / SLOW_MPS)
                faster = np.maximum(x - near - slow_m / SLOW_MPS * LIMIT_MPS, 0)
                x = np.where(x > near, near + late * SLOW_MPS + faster, x)
                speed = np.where((x > near) & (x < near + slow_m), SLOW_MPS, LIMIT_MPS)
            lanes = np.where((x > SPOT_M - 10) & during & blocked, 1, lane)
            keep = x < 3 * LENGTH_M
            rows = {"time_s": times, "vehicle": f"{number}_{lane}", "lane": lanes, "x": x, "speed_mps": speed}
            traffic.add_rows(pd.DataFrame(rows)[keep])
    return traffic


def test_lane_that_everybody_leaves_is_blocked_where_they_leave_it(tmp_path):
    usual = [day(tmp_path / "a"), day(tmp_path / "b", headway_s=5.5)]
    tracks = day(tmp_path / "c", blocked=True)
    gaps = find_lane_gaps(tracks, usual, road(2), DetectSettings())
    (row,) = gap_rows(gaps, tracks, usual, road(2), DetectSettings(), share=1.0)
    assert (row["edge"], row["lanes"], row["kind"]) == ("here", [0], "breakdown")
    assert row["position_m"] == pytest.approx(250, abs=25)
    assert row["start_s"] == pytest.approx(SPAN_S[0], abs=40)
    assert row["start_s"] + row["duration_s"] == pytest.approx(SPAN_S[1], abs=40)
    assert not row["capacity_left_is_lower_bound"] and not row["duration_is_censored"]


def test_lane_on_which_nobody_came_is_none(tmp_path):
    usual = [day(tmp_path / "a")]
    tracks = day(tmp_path / "c", emptied=True)
    gaps = find_lane_gaps(tracks, usual, road(2), DetectSettings())
    assert gap_rows(gaps, tracks, usual, road(2), DetectSettings(), share=1.0) == []


def test_a_lane_left_in_the_queue_of_something_else_is_blocked_where_that_queue_dissolves_first(tmp_path):
    """On average nobody is faster past the spot; in the second half of the time everybody is."""
    usual = [day(tmp_path / "a"), day(tmp_path / "b", headway_s=5.5)]
    tracks = load_day(record(tmp_path / "c", made(blocked=True, queue_until_s=1200.0)), road(2), 0)
    gaps = find_lane_gaps(tracks, usual, road(2), DetectSettings())
    (row,) = gap_rows(gaps, tracks, usual, road(2), DetectSettings(), share=1.0)
    assert (row["edge"], row["lanes"]) == ("here", [0])
    assert row["start_s"] == pytest.approx(SPAN_S[0], abs=40)
    weak = [replace(gap, expected=2 * IN_QUEUE - 1) for gap in gaps]
    assert gap_rows(weak, tracks, usual, road(2), DetectSettings(), share=1.0) == []


def test_a_lane_left_at_a_signal_is_blocked_where_too_many_are_missing_for_who_turns_which_way(tmp_path):
    lengths_m = (LENGTH_M, 290.0, LENGTH_M)  # the spot lies 40 m before the light
    network = road(2, signal=True, lengths_m=lengths_m)
    tracks, *usual = (
        load_day(record(tmp_path / name, made(lengths_m=lengths_m, **how)), network, 0)
        for name, how in (("c", {"blocked": True}), ("a", {}), ("b", {"headway_s": 5.5}))
    )
    gaps = find_lane_gaps(tracks, usual, network, DetectSettings())
    (row,) = gap_rows(gaps, tracks, usual, network, DetectSettings(), share=1.0)
    assert (row["edge"], row["lanes"]) == ("here", [0])
    few = [replace(gap, expected=AT_SIGNAL - 1) for gap in gaps]
    rows = gap_rows(few, tracks, usual, network, DetectSettings(), share=1.0)
    assert all(row["edge"] != "here" for row in rows)


@pytest.mark.parametrize(
    ("changes", "start_s", "lanes"),
    [
        ({}, 100.0, [0, 1]),
        ({"end_s": 250.0}, SPAN_S[0], [0]),  # in use meanwhile
        ({"lanes": (1,)}, SPAN_S[0], [0]),
        ({"lanes": (0, 1, 2)}, SPAN_S[0], [0]),  # nobody came at all
        ({"position_m": 340.0}, SPAN_S[0], [0]),
        ({"expected": IN_QUEUE - 1}, SPAN_S[0], [0]),
    ],
    ids=["same", "before", "other lane", "all lanes", "other place", "few"],
)
def test_a_blocked_lane_that_lay_unused_before_was_blocked_before(tmp_path, changes, start_s, lanes):
    network = road(3)
    usual = [day(tmp_path / "a"), day(tmp_path / "b", headway_s=5.5)]
    tracks = day(tmp_path / "c", blocked=True)
    gaps = find_lane_gaps(tracks, usual, network, DetectSettings())
    place = {"edge": network.edge_index["here"], "position_m": 270.0, "is_open": False, "is_first": False}
    earlier = LaneGap(**{**place, "lanes": (0, 1), "begin_s": 100.0, "end_s": 590.0, "expected": 60.0, **changes})
    (row,) = gap_rows([*gaps, earlier], tracks, usual, network, DetectSettings(), share=1.0)
    assert row["lanes"] == lanes and row["start_s"] == pytest.approx(start_s, abs=40)
    assert row["start_s"] + row["duration_s"] == pytest.approx(SPAN_S[1], abs=40)


def test_a_lane_that_some_cut_into_meanwhile_is_one_incident_to_its_end(tmp_path):
    network = road(3)
    usual = [day(tmp_path / "a"), day(tmp_path / "b", headway_s=5.5)]
    tracks = day(tmp_path / "c", blocked=True)
    (gap,) = [
        gap
        for gap in find_lane_gaps(tracks, usual, network, DetectSettings())
        if gap.edge == network.edge_index["here"] and abs(gap.position_m - 250.0) < 25.0
    ]
    parts = [replace(gap, end_s=1000.0), replace(gap, begin_s=1100.0, end_s=1250.0), replace(gap, begin_s=1400.0)]
    (row,) = gap_rows(parts, tracks, usual, network, DetectSettings(), share=1.0)
    assert (row["start_s"], row["start_s"] + row["duration_s"]) == (gap.begin_s, gap.end_s)


@pytest.mark.parametrize("moves", [True, False])
def test_a_lane_that_drivers_leave_and_take_again_in_a_moving_queue_is_blocked(tmp_path, moves):
    """Nobody is faster past the place. Between vehicles that stand there is also room that nobody uses."""
    network = road(3)
    usual = [day(tmp_path / "a"), day(tmp_path / "b", headway_s=5.5)]
    traffic = made(emptied=True)
    for number, begin_s in enumerate(np.arange(SPAN_S[0], SPAN_S[1], 10.0)):
        for part, x in enumerate(SPOT_M + np.array([-50.0, 8.0, 60.0])):
            times = np.arange(begin_s, begin_s + 40.0, 2.0)
            at = x + (times - begin_s if moves else np.zeros(len(times)))
            rows = {"time_s": times, "vehicle": f"q{number}_{part}", "lane": 0, "x": at, "speed_mps": float(moves)}
            traffic.add_rows(pd.DataFrame(rows))
    tracks = load_day(record(tmp_path / "c", traffic), network, 0)
    gap = LaneGap(
        edge=network.edge_index["here"], lanes=(0,), position_m=250.0, begin_s=SPAN_S[0], end_s=SPAN_S[1],
        is_open=False, expected=CLEARLY_UNUSED, is_first=False,
    )  # fmt: skip
    found = gap_rows([gap], tracks, usual, network, DetectSettings(), share=1.0)
    assert [row["lanes"] for row in found] == ([[0]] if moves else [])
    weak = replace(gap, expected=CLEARLY_UNUSED - 1)
    assert gap_rows([weak], tracks, usual, network, DetectSettings(), share=1.0) == []
    assert gap_rows([gap], tracks, usual, network, DetectSettings(), share=0.1) == []


def test_before_a_place_only_those_are_looked_at_who_come_there(tmp_path):
    """Whoever stands on the edge before may wait for another road."""
    traffic = Traffic(end_s=400.0)
    traffic.stand(0, LENGTH_M - 20.0, 0.0, 300.0)
    traffic.file(1, [100.0])
    tracks = load_day(record(tmp_path, traffic), road(2), 0)
    speeds = stretch_speeds(tracks, road(2), road(2).edge_index["here"], -60.0, 60.0, (0.0, 400.0))
    assert len(speeds) and speeds.min() > LIMIT_MPS / 2


def test_quiet_days_and_days_without_others_have_none(tmp_path):
    tracks, other = day(tmp_path / "a"), day(tmp_path / "b", headway_s=5.5)
    assert find_lane_gaps(tracks, [other], road(2), DetectSettings()) == []
    assert find_lane_gaps(day(tmp_path / "c", blocked=True), [], road(2), DetectSettings()) == []


def test_split_between_lanes_tells_which_is_blocked():
    edge = road(3).edges["here"]
    even = np.array([100.0, 100.0, 100.0])
    beforehand = {0: 0.25, 1: 0.25, 2: 0.25, 3: 0.25}
    for lane in range(3):
        seen = np.full(3, 30.0)
        seen[lane] = 0.0
        chances = lane_chances(edge, even, seen, beforehand)
        assert max(chances, key=lambda each: chances[each]) == (lane,)
    assert sum(chances.values()) == pytest.approx(1) == pytest.approx(sum(number_chances(chances).values()))
    assert lane_chances(edge, even, np.full(3, 30.0), beforehand)[(0,)] < 0.05


def row(edge: str, position_m: float, start_s: float, duration_s: float) -> dict:
    return {"edge": edge, "position_m": position_m, "start_s": start_s, "duration_s": duration_s}


def test_queue_behind_an_incident_and_what_dissolves_after_it_are_left_out():
    network = road(2)
    incident = row("after", 100.0, 1000.0, 1200.0)
    behind = row("here", 400.0, 1300.0, 700.0)
    dissolving = row("before", 300.0, 2250.0, 300.0)
    later = row("before", 300.0, 4000.0, 900.0)
    assert without_leftovers([behind, incident, dissolving, later], network) == [incident, later]
    assert without_leftovers([behind, incident], network, {0}) == [behind, incident]
    assert is_aftermath(row("before", 300.0, 2250.0, 1100.0), incident, network)  # no longer than the incident
    assert not is_aftermath(row("before", 300.0, 2250.0, 1300.0), incident, network)
    assert not is_aftermath(row("before", 300.0, 1500.0, 300.0), incident, network)
    earlier = row("here", 400.0, 500.0, 900.0)
    assert without_leftovers([earlier, incident], network) == [earlier, incident]


def test_way_along_the_road():
    network = road(1)
    here, beyond = row("here", 100.0, 0, 1), row("after", 50.0, 0, 1)
    assert road_m(network, here, beyond, 1e4) == LENGTH_M - 100 + 50
    assert road_m(network, beyond, here, 1e4) == float("inf")
    assert road_m(network, row("before", 0.0, 0, 1), beyond, 300.0) == float("inf")


@pytest.fixture(scope="module")
def days(tmp_path_factory):
    """Three days, on the last of which a lane is blocked by what was not recorded."""
    folder = tmp_path_factory.mktemp("days")
    return record(folder, made(), made(headway_s=5.5), made(blocked=True)).path


def test_a_file_without_blocking_vehicles_is_looked_at_by_its_traffic(days, tmp_path):
    network = road(2)
    found = detect_file(days, network, traffic_only=True)
    (row,) = check_observed(found, network).itertuples()
    assert (row.day, row.edge, row.lanes) == (2, "here", [0])
    found.to_parquet(tmp_path / "incidents.parquet")
    assert pd.read_parquet(tmp_path / "incidents.parquet")["lanes_blocked"][0][1] == 1.0
    assert detect_file(days, network).empty  # nothing that was recorded stands


def test_a_recording_may_say_which_share_it_holds(days):
    (days / "history.json").write_text('{"share": 1.5}')
    with pytest.raises(DataError, match=r"share is 1\.5"):
        detect_file(days, road(2))
    (days / "history.json").unlink()
    with pytest.raises(DataError, match="--history shows what is usual where vehicles are missing"):
        detect_file(days, road(2), history=[days])
