"""Closed roads that only the vehicles held at them tell."""

import numpy as np
import pytest
from scipy.special import gammainc

from scenariogen.incidents.closed_roads import without_dependents, without_waiting
from scenariogen.incidents.closure_place import DAYS_SHAPE, Front, chance_of, place_of
from scenariogen.incidents.closures import Way, _front, find_closures
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.sparse import detect_sparse
from scenariogen.incidents.standing import find_stands
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
    """Closed before it and opened with it, but of three held nobody drives on to where its queue stood."""
    row = closed_row("here", 1000.0, 2200.0, queue={"after"}, position_m=LENGTH_M - 10)
    elsewhere = closed_row("before", 950.0, 2250.0, ahead={"before"}, position_m=100.0)
    found = without_dependents([row, elsewhere], road(1))
    assert elsewhere in found
    assert elsewhere not in without_dependents([row, {**elsewhere, "held": 2}], road(1))
    assert elsewhere not in without_dependents([row, {**elsewhere, "position_m": LENGTH_M - 10}], road(1))


@pytest.mark.parametrize(
    ("start_s", "end_s", "is_kept"),
    [(1300.0, 2250.0, False), (1300.0, 2600.0, False), (1300.0, 3000.0, True), (950.0, 2250.0, True)],
    ids=["opens with it", "while it drives off", "far later", "closed before"],
)
def test_whose_junction_a_queue_fills_waits_for_it_wherever_he_goes(start_s, end_s, is_kept):
    """Of three held before the junction that the queue reaches, nobody drives on to where that stood."""
    row = closed_row("here", 1000.0, 2200.0, queue={"here"})
    crossing = closed_row("before", start_s, end_s, ahead=set(), position_m=0.0)
    assert (crossing in without_dependents([row, crossing], road(1))) == is_kept


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


@pytest.mark.parametrize(("since_s", "least_m", "most_m"), [(10.0, 0.0, 20.0), (200.0, 25.0, 70.0)])
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


@pytest.mark.parametrize(("seen", "unseen"), [(0.3, 2.7), (4.0, 36.0), (9.3, 84.0)])
def test_the_chance_of_a_queue_ahead_is_the_mean_over_days_that_differ(seen, unseen):
    """The formula of the module's docstring, integrated numerically over f."""
    times = np.linspace(1e-4, 20.0, 200_001)

    def integrated(ahead: float) -> float:
        density = DAYS_SHAPE**2 * times * np.exp(-DAYS_SHAPE * times)
        return float(
            np.trapezoid(density * np.exp(-times * seen) * gammainc(ahead + 1.0, times * unseen) / times, times)
        )

    for ahead in (1.0, 5.0, 20.0):
        ratio = chance_of(ahead, seen, unseen) / chance_of(0.0, seen, unseen)
        assert ratio == pytest.approx(integrated(ahead) / integrated(0.0), rel=1e-3)


@pytest.mark.parametrize("is_passed", [False, True])
def test_who_stands_where_others_passed_meanwhile_is_not_the_foremost_at_a_closed_road(tmp_path, is_passed):
    """One stands farther on as the road opens: before the same closed road, or only before a light."""
    network = road(2)
    traffic = one_in(10, street(holds=CLOSED))
    traffic.count = 1000
    if is_passed:
        traffic.file(1, every(40.0, until_s=END_S - 100))
    traffic.stand(1, 2 * LENGTH_M + 50, SPAN_S[1] - 150, SPAN_S[1] - 10)
    day = loaded(tmp_path / "day", traffic, network)
    stands = find_stands(day, SETTINGS)
    held = (stands.edge == network.edge_index["here"]) & (stands.duration_s > 600)
    head = int(np.argmax(np.where(held, stands.position_m, -1.0)))
    way = Way(edges=(1, 2), starts_m=(-float(stands.position_m[head]), LENGTH_M - float(stands.position_m[head])))
    front = _front(day, stands, head, way)
    assert (network.edge_ids[front.edge] == "after") == (not is_passed)
