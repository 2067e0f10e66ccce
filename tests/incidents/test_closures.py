"""Closed roads that only the vehicles held at them tell."""

import pytest

from scenariogen.incidents.closures import find_closures
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.sparse import detect_sparse
from scenariogen.incidents.sparse_held import without_dependents
from scenariogen.trajectories.tracks import load_day
from tests.incidents.test_releases import END_S, SPAN_S, SPOT_M, loaded, one_in, street
from tests.trajectories.handmade import LENGTH_M, record, road

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
    assert not [one for one in found if one.end_s == pytest.approx(SPAN_S[1], abs=60)]


def test_a_long_stop_that_others_pass_closes_no_road(tmp_path):
    network = road(2)
    traffic = street()
    traffic.stand(1, SPOT_M, *SPAN_S)
    day = load_day(record(tmp_path / "day", traffic), network, 0)
    usual = load_day(record(tmp_path / "usual", street(10.5)), network, 0)
    assert not find_closures(day, [usual], network, SETTINGS, share=1.0)


def closed_row(edge: str, start_s: float, end_s: float, *, censored: bool = False) -> dict:
    return {
        "edge": edge, "position_m": LENGTH_M / 2, "start_s": start_s, "duration_s": end_s - start_s,
        "duration_is_censored": censored, "held": 3,
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
