"""What single vehicles tell, beside other findings: since when, and what is only the queue of something else."""

import pytest

from scenariogen.incidents.lane_gaps import LaneGap
from scenariogen.incidents.sparse_gaps import since_unused
from scenariogen.incidents.sparse_held import LATE_S, _as_one, _is_of_queue
from scenariogen.incidents.sparse_join import BACKED
from tests.trajectories.handmade import LENGTH_M, road

ROAD = road(3)


def row(edge: str, start_s: float, end_s: float, **more) -> dict:
    return {
        "edge": edge, "position_m": LENGTH_M / 2, "start_s": start_s, "duration_s": end_s - start_s,
        "capacity_left": 0.3, "more": 0.8, **more,
    }  # fmt: skip


def gap(lane: int, begin_s: float, end_s: float, *, expected: float = 50.0, at_m: float = LENGTH_M / 2) -> LaneGap:
    return LaneGap(
        edge=ROAD.edge_index["here"], lanes=(lane,), position_m=at_m, begin_s=begin_s, end_s=end_s, is_open=False,
        expected=expected, is_first=False,
    )  # fmt: skip


RELEASE = row("here", 1700.0, 2200.0)


@pytest.mark.parametrize(
    ("gaps", "start_s"),
    [
        ([gap(0, 1000.0, 2200.0)], 1012.0),  # half of what passes between two who would have used the lane
        ([gap(0, 1000.0, 2200.0), gap(1, 1300.0, 2200.0)], 1309.0),  # both lanes at once
        ([gap(0, 1000.0, 2200.0), gap(0, 1500.0, 2100.0)], 1012.0),
        ([gap(0, 1000.0, 2200.0), gap(1, 1600.0, 2200.0, expected=20.0)], 1012.0),
        ([gap(0, 1000.0, 2200.0, expected=9.0)], 1700.0),
        ([gap(0, 1000.0, 2200.0, at_m=LENGTH_M / 2 + 60)], 1700.0),
        ([gap(0, 1000.0, 1900.0)], 1700.0),
        ([gap(0, 1800.0, 2200.0)], 1700.0),
        ([], 1700.0),
    ],
    ids=["lane", "two lanes", "twice", "weaker", "few", "farther", "opens sooner", "later", "none"],
)
def test_an_unused_lane_tells_since_when_a_place_of_release_was_blocked(gaps, start_s):
    found = since_unused(RELEASE, gaps, ROAD)
    assert found["start_s"] == pytest.approx(start_s)
    assert found["start_s"] + found["duration_s"] == pytest.approx(2200.0)


@pytest.mark.parametrize(
    ("other", "is_queue"),
    [
        (row("here", 1000.0, 2200.0, capacity_left=0.0), True),
        (row("here", 1000.0, 2200.0, capacity_left=0.3), False),
        (row("here", 1400.0, 2200.0, capacity_left=0.0), False),
        (row("before", 1000.0, 2200.0, capacity_left=0.0, position_m=0.0), False),
        (row("here", 500.0, 1100.0), True),
    ],
    ids=["closed ahead", "open ahead", "later", "behind", "dissolves"],
)
def test_a_place_of_release_in_the_queue_of_another_incident_is_none(other, is_queue):
    found = row("before", 1300.0, 1800.0)
    assert _is_of_queue(found, other, ROAD) == is_queue
    assert not _is_of_queue(found, found, ROAD)


@pytest.mark.parametrize(
    ("more", "starts_s", "is_queue"), [(1.5, 2100.0, True), (1.1, 2100.0, False), (1.5, 900.0, False)]
)
def test_past_an_incident_no_more_than_usual_drive_but_after_one_those_who_were_held(more, starts_s, is_queue):
    ended = row("after", 500.0, 1300.0)
    found = row("before", starts_s, starts_s + 1000.0, more=more)
    assert _is_of_queue(found, ended, ROAD) == is_queue
    held = {name: value for name, value in found.items() if name != "more"}  # a closed road
    assert not _is_of_queue(held, ended, ROAD)


@pytest.mark.parametrize(("is_backed", "start_s"), [(True, 1000.0), (False, 1000.0 + LATE_S + 100.0)])
def test_a_lane_that_lay_unused_tells_the_start_where_people_are_released_later(is_backed, start_s):
    """The queue of another incident may reach past the place, and nobody is released there as long as it does."""
    place = {"position_se_m": 12.0, "lanes": [0], "kind": "breakdown", "lanes_blocked": {1: 1.0}, BACKED: is_backed}
    told = row("here", 1000.0, 2400.0, **place)
    released = {**row("here", 1000.0 + LATE_S + 100.0, 2400.0), **place}
    found = _as_one(released, [told])
    assert (found["start_s"], found["start_s"] + found["duration_s"]) == (start_s, 2400.0)
