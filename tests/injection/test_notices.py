"""Drivers who are told of an incident: each source turns away only those who know."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenariogen.errors import ScenarioError
from scenariogen.incidents.records import IncidentKind
from scenariogen.injection import inject
from scenariogen.injection.connection import Link
from scenariogen.injection.detours import Detours, Obstacle
from scenariogen.injection.notices import ToldDrivers, expected_delay_s, sources, told_capacity_left
from scenariogen.network import read_network
from scenariogen.scenarios.drivers import RADIO_COMPLIANCE, SIGN_COMPLIANCE, Drivers
from tests.injection import fork, roads

BACKENDS = ("libsumo", "traci")
KNOWN_S = fork.BLOCKED_S + fork.DETECTION_S
CLEAR_S = fork.BLOCKED_S + fork.STANDS_S
SIGN: dict[str, Any] = {"sign_edges": ("signed",), "sign_delay_s": 20.0, "sign_compliance": 1.0}
RADIO: dict[str, Any] = {"radio_share": 1.0, "radio_delay_s": 20.0, "radio_compliance": 1.0}
NAVIGATION: dict[str, Any] = {"navigation_share": 1.0, "navigation_delay_s": 20.0, "navigation_compliance": 1.0}
EACH: dict[str, dict[str, Any]] = {"sign": SIGN, "radio": RADIO, "navigation": NAVIGATION}
sumo_only = pytest.mark.sumo


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return read_network(fork.fork(tmp_path_factory.mktemp("fork")))


@pytest.fixture
def run(start, network, tmp_path):
    def begin(scenario, backend="libsumo", *, on=network, **options):
        return fork.run(start(backend, on, fork.demand(tmp_path)), on, scenario, **options)

    return begin


def drawn(start, network, scenario) -> ToldDrivers:
    link = Link(start("libsumo", network))
    return ToldDrivers(link, network, scenario.drivers, scenario.seed, Detours(link, network))


@sumo_only
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_sign_turns_those_who_pass_it_while_it_speaks_and_nobody_else(run, backend):
    injection, seen = run(fork.told(**SIGN), backend)
    (report,) = injection.report()
    speaks = {
        vehicle
        for vehicle in seen.over("signed")
        if any(KNOWN_S + 20 <= at < CLEAR_S for at in seen.on[vehicle]["signed"])
    }
    assert len(speaks) > 5
    assert seen.turned() == speaks == seen.over("around")
    assert report.rerouted_by == {"sign": len(speaks)} and report.rerouted == len(speaks)
    late = {vehicle for vehicle in seen.over("plain") if seen.on[vehicle]["plain"][-1] > KNOWN_S + 60}
    assert late and not late & seen.turned()


@sumo_only
@pytest.mark.parametrize("source", ["radio", "navigation"])
def test_a_message_turns_those_who_hear_it_wherever_they_are(run, start, network, source):
    changed = {f"{source}_share": 0.5, f"{source}_compliance": 0.6}
    scenario = fork.told(**EACH[source] | changed, seed=5)
    injection, seen = run(scenario)
    told = drawn(start, network, scenario)
    (way,) = sources(scenario.drivers)
    willing = {v for v in seen.on if told.hears(way, v) and told.complies(way, v)}
    in_time = {v for v in seen.on if max(seen.on[v].get("in", [0])) > KNOWN_S + 40 and min(seen.on[v]["in"]) < CLEAR_S}
    assert seen.turned() <= willing
    assert len(in_time - willing) > 5 and len(seen.turned()) > 3
    early = {v for v in in_time & willing if min(seen.on[v]["in"]) < CLEAR_S - 20}
    assert early <= seen.turned()
    assert injection.report()[0].rerouted_by == {source: len(seen.turned())}


@sumo_only
@pytest.mark.parametrize("source", EACH)
def test_nobody_knows_before_the_detection_and_the_delay(run, source):
    scenario = fork.told(**{**EACH[source], f"{source}_delay_s": 45.0})
    injection, seen = run(scenario, until_s=KNOWN_S + 44)
    assert not seen.turned() and injection.report()[0].rerouted == 0
    assert injection.report()[0].detected_s == KNOWN_S
    _, seen = run(scenario, until_s=KNOWN_S + 75)
    first = min(at for vehicle in seen.turned() for edge in seen.on[vehicle].values() for at in edge if at > KNOWN_S)
    assert seen.turned() and first > KNOWN_S


@sumo_only
@pytest.mark.parametrize(
    "nobody",
    [
        {"sign_edges": ()},
        {"sign_compliance": 0.0},
        {"radio_share": 0.0, "sign_edges": ()},
        RADIO | {"radio_compliance": 0.0, "sign_edges": ()},
        NAVIGATION | {"navigation_share": 0.0, "sign_edges": ()},
    ],
)
def test_a_share_of_nobody_turns_nobody(run, nobody):
    injection, seen = run(fork.told(**SIGN | nobody))
    assert not seen.turned() and injection.report()[0].rerouted_by == {}


@sumo_only
def test_the_same_seed_turns_the_same_drivers_over_both_ways_of_speaking_to_sumo(run):
    half = SIGN | RADIO | {"sign_compliance": 0.5, "radio_share": 0.4}
    found = [
        run(fork.told(**half, seed=seed), backend)[1]
        for seed, backend in ((3, "libsumo"), (3, "traci"), (4, "libsumo"))
    ]
    assert found[0].turned() == found[1].turned() != found[2].turned()
    assert found[0].routes == found[1].routes


@sumo_only
def test_who_was_told_once_is_not_asked_again_at_the_next_sign(run):
    """Each driver's answer to signs is one answer, however many of them there are."""
    half = SIGN | {"sign_compliance": 0.5}
    one = run(fork.told(**half, seed=2))[1]
    two = run(fork.told(**half | {"sign_edges": ("signed", "in")}, seed=2))[1]
    passed = {v for v in one.over("signed") if min(one.on[v]["signed"]) > KNOWN_S + 20}
    assert len(passed) > 5 and one.turned() & passed
    assert two.turned() & passed == one.turned() & passed != passed


@sumo_only
@pytest.mark.parametrize(("share", "backend"), [(1.0, "libsumo"), (1.0, "traci"), (0.0, "libsumo")])
def test_some_go_back_when_they_hear_that_the_road_is_clear(run, share, backend):
    clear_s = fork.BLOCKED_S + 200.0
    scenario = fork.told(fork.closure(stands_s=200.0), **RADIO, return_share=share)
    injection, seen = run(scenario, backend, until_s=600)
    (report,) = injection.report()
    back = {v for v in seen.turned() if len(seen.routes[v]) == 3}
    assert report.returned == len(back) and bool(back) == bool(share)
    for vehicle in back:
        assert (
            seen.routes[vehicle][2][-3:] == ("in", "direct", "out")
            or seen.routes[vehicle][2] == seen.routes[vehicle][0]
        )
        assert vehicle not in seen.over("around")
        assert max(max(at) for edge, at in seen.on[vehicle].items() if edge == "direct") > clear_s
    assert seen.turned() - back <= seen.over("around"), "who had left the old route stays on the new one"


@sumo_only
def test_only_those_go_back_who_are_drawn_to(run, start, network):
    short = fork.closure(stands_s=200.0)
    everybody, some = (fork.told(short, **RADIO, return_share=share, seed=6) for share in (1.0, 0.5))
    could, did = ({v for v in seen.turned() if len(seen.routes[v]) == 3} for _, seen in map(run, (everybody, some)))
    told = drawn(start, network, some)
    assert did == {vehicle for vehicle in could if told.goes_back(vehicle)}
    assert 0 < len(did) < len(could)


@sumo_only
def test_nobody_is_sent_round_in_circles_by_two_incidents(run):
    """Both ways are closed one after the other: whoever turned away from the first is not sent back into it."""
    second = dataclasses.replace(fork.closure(edge="around"), start_s=180.0, position_m=100.0)
    _, seen = run(fork.told(fork.closure(), second, **RADIO | NAVIGATION, reroute_share=1.0, reroute_after_s=20.0))
    assert seen.turned()
    for vehicle, routes in seen.routes.items():
        assert len(routes) <= 3, "two changes at most"
        assert all(len(set(route)) == len(route) for route in routes)
        ways = ["direct" if "direct" in route else "around" for route in routes]
        assert len(set(ways)) == len(ways), f"{vehicle} was sent back while both were closed: {ways}"


@sumo_only
def test_buses_those_who_end_there_and_our_own_vehicles_are_left_alone(start, network, tmp_path):
    sumo = start("libsumo", network, fork.demand(tmp_path))
    sumo.route.add("line", ["signed", "in", "direct", "out"])
    sumo.route.add("home", ["signed", "in", "direct"])
    with inject(sumo, fork.told(**SIGN | RADIO), network=network) as injection:
        roads.run_until(sumo, KNOWN_S + 10)
        sumo.vehicle.add("bus", "line")
        sumo.vehicle.setStop("bus", "out", 100, 0, 20)
        sumo.vehicle.add("resident", "home")
        roads.run_until(sumo, KNOWN_S + 90)
        assert sumo.vehicle.getRoute("bus") == ("signed", "in", "direct", "out")
        assert sumo.vehicle.getRoute("resident") == ("signed", "in", "direct")
        assert {sumo.vehicle.getRoute(v) for v in injection.own_present} == {("direct",)}
        assert injection.report()[0].rerouted > 3


@sumo_only
@pytest.mark.parametrize(("around_mps", "turns"), [(0.6, True), (0.4, False)])
def test_a_way_round_is_taken_where_it_costs_less_than_what_is_expected_of_the_closure(
    run, tmp_path_factory, around_mps, turns
):
    """About 707 m at 0.6 and at 0.4 m/s, 1,180 and 1,770 s; a lane that is closed is expected to stay so for 1,540 s.
    In truth it is closed for 500 s, which nobody knows."""
    slow = read_network(fork.fork(tmp_path_factory.mktemp("slow"), around_mps=around_mps))
    injection, _ = run(fork.told(**SIGN), on=slow, until_s=400)
    assert (injection.report()[0].rerouted > 0) is turns


@sumo_only
@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_of_it_is_left_when_the_injection_is_left(start, network, tmp_path, backend):
    sumo = start(backend, network, fork.demand(tmp_path))
    with inject(sumo, fork.told(**SIGN | RADIO | NAVIGATION), network=network) as injection:
        roads.run_until(sumo, 300)
        assert injection.report()[0].rerouted > 3
    assert sumo.poi.getIDList() == () and not injection.own_present
    for vehicle in sumo.vehicle.getIDList():
        times = [sumo.vehicle.getAdaptedTraveltime(vehicle, 300, edge) for edge in network.edges]
        assert max(times) < 0, "none is written"
        assert sumo.vehicle.isRouteValid(vehicle)
    before = {vehicle: sumo.vehicle.getRoute(vehicle) for vehicle in sumo.vehicle.getIDList()}
    roads.run_until(sumo, 340)
    after = {vehicle: sumo.vehicle.getRoute(vehicle) for vehicle in sumo.vehicle.getIDList()}
    assert all(after[vehicle] == route for vehicle, route in before.items() if vehicle in after)
    assert all("direct" in route for vehicle, route in after.items() if vehicle not in before)


@sumo_only
def test_answers_do_not_depend_on_the_order_of_asking(start, network):
    names = [f"vehicle.{number}" for number in range(400)]
    scenario = fork.told(**{**RADIO, "radio_share": 0.3, "radio_compliance": 0.5})
    (radio,) = sources(scenario.drivers)
    asked = [drawn(start, network, scenario), drawn(start, network, scenario)]
    answers = [
        {name: (told.hears(radio, name), told.complies(radio, name)) for name in order}
        for told, order in zip(asked, (names, names[::-1]), strict=True)
    ]
    assert answers[0] == answers[1]
    for number, share in enumerate((0.3, 0.5)):
        count = sum(answer[number] for answer in answers[0].values())
        assert abs(count / 400 - share) < 4 * (share * (1 - share) / 400) ** 0.5
    both = sum(all(answer) for answer in answers[0].values()) / 400
    assert abs(both - 0.15) < 4 * (0.15 * 0.85 / 400) ** 0.5, "hearing and heeding are drawn apart"


@given(
    blocked=st.integers(0, 5),
    share=st.floats(0, 1),
    lasted_s=st.floats(0, 20_000),
    reach_s=st.floats(0, 5_000),
)
def test_the_delay_expected_shrinks_with_the_way_there_and_with_what_is_left(blocked, share, lasted_s, reach_s):
    def delay(told_share, reach):
        obstacle = Obstacle(number=0, edge="e", detected_s=0.0, blocked=blocked, told_share=told_share)
        return expected_delay_s(obstacle, now_s=lasted_s, reach_s=reach)

    assert 0 <= delay(share, reach_s) <= delay(share, 0.0) <= delay(0.0, 0.0)
    assert delay(0.0, 0.0) > 0, "it may stand for longer than anybody expected"
    assert delay(1.0, 0.0) == 0
    unknown = Obstacle(number=0, edge="e", blocked=blocked)
    assert expected_delay_s(unknown, now_s=lasted_s, reach_s=0.0) == 0


def test_what_is_told_is_a_closure_or_what_is_usual(road):
    street, motorway = road(1, roads.STREET_MPS).edges["middle"], road(3).edges["middle"]
    assert told_capacity_left(roads.incident(capacity_left=0.0), street) == 0.0
    assert told_capacity_left(roads.incident(capacity_left=0.0, lanes=(0, 1, 2)), motorway) == 0.0
    one, two = (
        told_capacity_left(roads.incident(capacity_left=0.3, lanes=lanes), motorway) for lanes in ((0,), (0, 1))
    )
    assert (one, two) == pytest.approx((0.49, 0.17), abs=0.02), "published, whatever the scenario has"
    aside = roads.incident(lanes=(), capacity_left=0.5)
    crash = dataclasses.replace(aside, kind=IncidentKind.CRASH)
    assert [told_capacity_left(each, motorway) for each in (aside, crash)] == [0.99, 0.83]
    assert [told_capacity_left(each, street) for each in (aside, crash)] == [0.95, 0.81]


def test_published_figures_are_defaults_and_shares_of_a_place_are_not():
    drivers = Drivers()
    assert (drivers.sign_compliance, drivers.radio_compliance) == (SIGN_COMPLIANCE, RADIO_COMPLIANCE) == (0.20, 0.17)
    assert not drivers.are_told and drivers.sign_edges == ()
    assert {drivers.radio_share, drivers.navigation_share, drivers.return_share} == {0.0}
    assert [dataclasses.replace(drivers, **EACH[name]).are_told for name in EACH] == [True, True, True]


@sumo_only
def test_every_fault_of_what_drivers_know_is_told_at_once(start, network, tmp_path):
    sumo = start("libsumo", network, fork.demand(tmp_path))
    wrong = fork.told(
        sign_edges=("signed", "nowhere", "signed"),
        sign_delay_s=-1.0,
        radio_share=1.2,
        navigation_compliance=-0.1,
        return_share=2.0,
        reroute_after_s=float("nan"),
    )
    with pytest.raises(ScenarioError) as caught:
        inject(sumo, wrong, network=network).__enter__()
    fields = ("sign_delay_s", "radio_share", "navigation_compliance", "return_share", "reroute_after_s")
    names = (*fields, "nowhere", "twice")
    told = "\n".join(caught.value.problems)
    assert [name for name in names if name not in told] == []
    assert len(caught.value.problems) == len(names)


@sumo_only
def test_a_sign_on_an_edge_that_is_passed_unseen_is_refused(start, tmp_path_factory):
    edges = '<edge id="short" from="a" to="b" numLanes="1" speed="30"/><edge id="long" from="b" to="c" speed="30"/>'
    nodes = '<node id="a" x="0" y="0"/><node id="b" x="25" y="0"/><node id="c" x="900" y="0"/>'
    folder = tmp_path_factory.mktemp("short")
    tiny = read_network(roads.build_network(folder, nodes, edges))
    scenario = dataclasses.replace(fork.told(sign_edges=("short",)), incidents=())
    with pytest.raises(ScenarioError, match="passed in less than 1 s"):
        inject(start("libsumo", tiny), scenario, network=tiny).__enter__()
