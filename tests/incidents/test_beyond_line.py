"""A driver who waits at the end of a road for the next one to open tells of that one."""

import numpy as np
import pytest

from scenariogen.incidents.beyond_line import beyond_line
from scenariogen.incidents.detect_settings import DetectSettings
from tests.incidents.test_releases import END_S, SPAN_S, loaded, street
from tests.trajectories.handmade import LENGTH_M, Traffic, every, road

SETTINGS = DetectSettings()
ROW = {
    "edge": "here", "position_m": LENGTH_M - 2, "lanes": [0], "start_s": SPAN_S[0], "capacity_left": 0.0,
    "duration_s": SPAN_S[1] - SPAN_S[0],
}  # fmt: skip


def held_at(position_m: float) -> Traffic:
    return street(holds=[(LENGTH_M + position_m, *SPAN_S)])


def test_who_stands_at_the_line_waits_for_the_road_beyond(tmp_path):
    tracks = loaded(tmp_path / "day", held_at(LENGTH_M - 2), road(1))
    (row,) = beyond_line([ROW], tracks, road(1), SETTINGS)
    assert (row["edge"], row["position_m"], row["lanes"]) == ("after", SETTINGS.jam_spacing_m, [0])
    assert (row["start_s"], row["duration_s"]) == (ROW["start_s"], ROW["duration_s"])


def test_who_leaves_room_for_a_vehicle_stands_before_what_is_on_this_road(tmp_path):
    tracks = loaded(tmp_path / "day", held_at(LENGTH_M - 20), road(1))
    row = {**ROW, "position_m": LENGTH_M - 20}
    assert beyond_line([row], tracks, road(1), SETTINGS) == [row]
    assert beyond_line([{**ROW, "lanes": []}], tracks, road(1), SETTINGS) == [{**ROW, "lanes": []}]


def test_a_road_that_others_pass_is_not_closed(tmp_path):
    traffic = held_at(LENGTH_M - 2)
    traffic.file(1, every(10.0, until_s=END_S - 100))
    tracks = loaded(tmp_path / "day", traffic, road(2))
    assert beyond_line([ROW], tracks, road(2), SETTINGS) == [ROW]


def test_who_was_not_seen_to_drive_on_tells_of_no_road_beyond(tmp_path):
    traffic = Traffic(end_s=END_S)
    traffic.stand(0, 2 * LENGTH_M - 2, SPAN_S[0], END_S)
    tracks = loaded(tmp_path / "day", traffic, road(1))
    assert beyond_line([ROW], tracks, road(1), SETTINGS) == [ROW]


@pytest.mark.parametrize(("late_s", "count"), [(100.0, 1), (700.0, 2)])
def test_drivers_on_several_roads_who_wait_for_one_road_tell_it_once(tmp_path, late_s, count):
    tracks = loaded(tmp_path / "day", held_at(LENGTH_M - 2), road(1))
    later = {**ROW, "start_s": ROW["start_s"] + late_s, "duration_s": ROW["duration_s"] - late_s + 6}
    rows = beyond_line([later, ROW], tracks, road(1), SETTINGS)
    assert [row["edge"] for row in rows] == ["after"] * count
    if count == 1:
        assert rows[0]["start_s"] == ROW["start_s"] and rows[0]["duration_s"] == ROW["duration_s"] + 6
    assert np.isclose(later["duration_s"], ROW["duration_s"] - late_s + 6)  # what was given is as it was
