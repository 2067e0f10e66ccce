"""Drivers who are advised to take another way: those who are told and follow do, nobody else."""

import pytest

from scenariogen.errors import PolicyError
from scenariogen.injection.advice import DriverAdvice
from scenariogen.injection.connection import Link
from scenariogen.injection.detours import Detours
from scenariogen.network import read_network
from tests.injection import fork

pytestmark = pytest.mark.sumo
FROM_S, UNTIL_S, END_S = 150.0, 300.0, 520.0


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return read_network(fork.fork(tmp_path_factory.mktemp("fork")))


@pytest.fixture
def drive(start, network, tmp_path):
    """Runs with advice between two seconds; what was seen of each vehicle, and the advice."""

    def run(share, backend="libsumo", *, seed=3, edges="direct", again=False, **options):
        sumo = start(backend, network, fork.demand(tmp_path))
        link = Link(sumo)
        advice, seen = DriverAdvice(link, network, Detours(link, network), seed=seed), fork.Seen()
        number = None
        while (now_s := sumo.simulation.getTime()) < END_S:
            if now_s >= FROM_S and number is None:
                number = advice.avoid(edges, share, **options)
            if again and now_s == FROM_S + 60:
                advice.withdraw(number)
                number = advice.avoid(edges, share, **options)
            if now_s >= UNTIL_S:
                advice.withdraw(number)
            sumo.simulationStep()
            advice.update(sumo.simulation.getTime())
            seen.look(sumo)
        return seen, advice

    return run


def told(seen):
    """Vehicles that were on an edge before the fork while the advice held, with room to turn."""
    near = ("signed", "plain", "in")
    return {
        vehicle
        for vehicle, edges in seen.on.items()
        if any(FROM_S + 10 <= at < UNTIL_S - 10 for edge in near for at in edges.get(edge, []))
        and max(edges.get("in", [0])) > FROM_S + 40
    }


def turned(seen):
    """Who took the way round, which is nobody's from the beginning."""
    return {vehicle for vehicle, routes in seen.routes.items() if "around" in routes[-1]}


@pytest.mark.parametrize("backend", ["libsumo", "traci"])
def test_with_share_one_all_who_are_told_take_the_way_round_and_nobody_after_the_withdrawal(drive, backend):
    seen, advice = drive(1.0, backend)
    assert len(told(seen)) > 10
    assert told(seen) <= turned(seen)
    assert advice.turned == len(turned(seen))
    late = {vehicle for vehicle, edges in seen.on.items() if min(min(at) for at in edges.values()) > UNTIL_S}
    assert late and not late & turned(seen) and not advice.in_force


def test_with_share_zero_nobody_turns(drive):
    seen, advice = drive(0.0)
    assert len(told(seen)) > 10 and not turned(seen) and advice.turned == 0


def test_half_the_drivers_follow_and_giving_the_advice_again_finds_the_same_half(drive):
    once, again, other = drive(0.5)[0], drive(0.5, again=True)[0], drive(0.5, seed=4)[0]
    assert 0.2 * len(told(once)) < len(turned(once) & told(once)) < 0.8 * len(told(once))
    assert turned(once) & told(once) == turned(again) & told(again)
    assert turned(once) != turned(other)


def test_nobody_drives_over_an_edge_twice(drive):
    seen, _ = drive(1.0, again=True)
    assert all(len(set(route)) == len(route) for routes in seen.routes.values() for route in routes)
    assert all(len(routes) <= 2 for routes in seen.routes.values())


def test_a_way_round_that_costs_more_than_the_delay_is_not_taken(drive):
    assert not turned(drive(1.0, delay_s=1.0)[0])


def test_only_those_on_the_points_are_told(drive):
    seen, _ = drive(1.0, at=["signed"])
    assert turned(seen) and turned(seen) <= seen.over("signed")


def test_advice_that_cannot_be_given_lists_what_is_wrong(start, network, tmp_path):
    link = Link(start("libsumo", network, fork.demand(tmp_path)))
    advice = DriverAdvice(link, network, Detours(link, network), seed=1)
    with pytest.raises(PolicyError) as caught:
        advice.avoid(["dirrect"], 1.5, delay_s=-1.0)
    text = str(caught.value)
    assert "'dirrect' is not in" in text and "share is 1.5" in text and "delay_s is -1.0" in text
    with pytest.raises(PolicyError, match="no edge is named"):
        advice.avoid([], 0.5)
    advice.withdraw(99)
