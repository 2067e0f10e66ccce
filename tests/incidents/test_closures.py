"""Closed roads that only the vehicles held at them tell."""

import numpy as np
import pytest

from scenariogen.incidents.closed_roads import without_dependents, without_waiting
from scenariogen.incidents.closure_place import Front, place_of
from scenariogen.incidents.closures import find_closures
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.sparse import detect_sparse
from scenariogen.trajectories.tracks import load_day
from tests.incidents.test_releases import END_S, SPAN_S, SPOT_M, loaded, one_in, street
from tests.trajectories.handmade import LENGTH_M, LIMIT_MPS, Traffic, every, record, road

SETTINGS = DetectSettings()
CLOSED = [(SPOT_M, *SPAN_S)]


def test_who_is_held_tells_where_and_when_a_road_is_closed(tmp_path):
    network = road(1)
    day = loaded(tmp_path / "day", one_in(10, street(holds=CLOSED)), network)
    usual = loaded(tmp_path / "usual", one_in(10, street(10.5)), network)
    (closure,) = find_closures(day, [usual], network, SETTINGS, share=0.1)
    assert network.edge_ids[closure.edge] == "here"
    assert closure.position_m == pytest.approx(250.0, abs=2 * closure.position_se_m)
    assert closure.before_s <= SPAN_S[0] <= closure.begin_s + 100
    assert closure.end_s == pytest.approx(SPAN_S[1], abs=20)
    assert closure.missing == pytest.approx(12, abs=2)
    assert not closure.is_queue
    assert closure.queue == {network.edge_index["before"], network.edge_index["here"]}
    assert network.edge_index["after"] in closure.ahead
    assert not find_closures(usual, [usual], network, SETTINGS, share=0.1)


def test_a_closed_street_among_a_tenth_of_the_vehicles_is_one_incident(tmp_path):
    history = record(tmp_path / "usual", one_in(10, street(10.5)))
    day = record(tmp_path / "day", one_in(10, street(holds=CLOSED)))
    (row,) = detect_sparse(day, road(1), share=0.1, history=[history]).to_dict("records")
    assert (row["edge"], row["lanes"], row["capacity_left"]) == ("here", [0], 0.0)
    assert row["start_s"] == pytest.approx(SPAN_S[0], abs=100)


def test_who_only_moves_up_to_the_next_queue_was_not_held_by_what_lies_ahead(tmp_path):
    """In a city that has locked up, a queue moves on a few metres and stands again."""
    network = road(1)
    locked = [(SPOT_M, *SPAN_S), (SPOT_M + 40, SPAN_S[0], END_S)]
    day = loaded(tmp_path / "day", one_in(10, street(holds=locked)), network)
    usual = loaded(tmp_path / "usual", one_in(10, street(10.5)), network)
    found = find_closures(day, [usual], network, SETTINGS, share=0.1)
    assert all(one.is_queue for one in found if one.end_s == pytest.approx(SPAN_S[1], abs=60))


def test_a_long_stop_that_others_pass_closes_no_road(tmp_path):
    network = road(2)
    traffic = street()
    traffic.stand(1, SPOT_M, *SPAN_S)
    day = load_day(record(tmp_path / "day", traffic), network, 0)
    usual = load_day(record(tmp_path / "usual", street(10.5)), network, 0)
    found = find_closures(day, [usual], network, SETTINGS, share=0.7)
    assert found and all(one.is_queue for one in found)


def closed_row(edge: str, start_s: float, end_s: float, *, censored: bool = False, **more) -> dict:
    return {
        "edge": edge, "position_m": LENGTH_M / 2, "start_s": start_s, "duration_s": end_s - start_s,
        "duration_is_censored": censored, "held": 3, "queue": {edge}, "ahead": {"here"}, "day": 0,
        "capacity_left": 0.0, **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("other", "is_kept"),
    [
        (closed_row("before", 1300.0, 2250.0), False),
        (closed_row("before", 1300.0, 1700.0), True),
        (closed_row("before", 1300.0, 3200.0), True),
        (closed_row("before", 1300.0, 4000.0, censored=True), False),
        (closed_row("after", 1300.0, 2250.0), True),
    ],
    ids=["opens with it", "opens before", "opens far later", "locked", "ahead of it"],
)
def test_who_waits_for_another_road_to_open_has_none_of_his_own(other, is_kept):
    row = closed_row("here", 1000.0, 2200.0)
    found = without_dependents([row, other], road(1))
    assert (other in found) == is_kept and row in found


def test_who_drives_on_elsewhere_waits_for_nothing_there():
    """Opened with it and stood behind it, but of three held nobody drives on to where its queue stood."""
    row = closed_row("here", 1000.0, 2200.0, queue={"after"}, position_m=LENGTH_M - 10)
    elsewhere = closed_row("before", 1300.0, 2250.0, ahead={"before"}, position_m=100.0)
    found = without_dependents([row, elsewhere], road(1))
    assert elsewhere in found
    assert elsewhere not in without_dependents([row, {**elsewhere, "held": 2}], road(1))
    assert elsewhere not in without_dependents([row, {**elsewhere, "position_m": LENGTH_M - 10}], road(1))


def test_a_queue_behind_a_queue_waits_for_the_same_road():
    first = closed_row("after", 1000.0, 2200.0, queue={"after"})
    second = closed_row("here", 1200.0, 2250.0, queue={"here"}, ahead={"after"})
    third = closed_row("before", 1300.0, 2300.0, queue={"before"}, ahead={"here"}, position_m=100.0)
    assert without_dependents([third, second, first], road(1)) == [first]
    assert third in without_dependents([third, first], road(1))


def test_where_nearly_all_are_seen_only_what_waits_shortly_behind_is_left_out():
    first = closed_row("here", 1000.0, 2200.0, position_m=100.0)
    near = closed_row("before", 1300.0, 2250.0, position_m=LENGTH_M - 100)
    far = closed_row("before", 1300.0, 2250.0, position_m=50.0)
    sooner = closed_row("before", 1300.0, 2150.0, position_m=LENGTH_M - 100)
    passed = closed_row("before", 1300.0, 2250.0, position_m=LENGTH_M - 100, capacity_left=0.3)
    assert without_waiting([first, near, far, passed], road(1)) == [first, far, passed]
    assert without_waiting([first, sooner], road(1)) == [first, sooner]


@pytest.mark.parametrize(("since_s", "least_m", "most_m"), [(10.0, 0.0, 40.0), (200.0, 80.0, 400.0)])
def test_the_last_passing_tells_how_far_ahead_a_road_is_closed(tmp_path, since_s, least_m, most_m):
    """One vehicle in 50 s is seen, a tenth of them, until so long before one stands at 100 m from second 1000 on."""
    network = road(1)
    last_s = 1000.0 - since_s - (SPOT_M - 100.0) / LIMIT_MPS
    traffic, usual = Traffic(end_s=END_S), Traffic(end_s=END_S)
    traffic.file(0, np.arange(last_s, 0.0, -50.0)[::-1])
    usual.file(0, every(50.0, until_s=END_S - 100))
    day, other = (loaded(tmp_path / name, one, network) for name, one in (("day", traffic), ("usual", usual)))
    front = Front(edge=network.edge_index["here"], position_m=100.0, begin_s=1000.0, ahead=(), stays=False)
    place = place_of([front], (1030.0, 1800.0), day, [other], network, SETTINGS, share=0.1)
    assert place is not None and network.edge_ids[place.edge] == "here"
    assert least_m < place.position_m - 100.0 < most_m
