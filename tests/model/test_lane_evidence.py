"""What a record says of the lanes, on edges of three lanes and of one."""

from dataclasses import replace

import pytest

from scenariogen.incidents.lane_words import some
from scenariogen.model.lane_evidence import lane_evidence
from scenariogen.model.options import NEVER, lane_options
from tests.model.logs import events
from tests.model.small import two_edges

START = "2024-01-01T00:20"
THREE = [(), (0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2)]


def possible(network=None, **said) -> list[tuple[int, ...]]:
    network = network or two_edges()
    options = lane_options(network)
    table = events([{"start": START, **said}])
    evidence = lane_evidence(table, network, options)[0]
    choices = options.lanes[network.edge_index[str(table["edge"][0])]]
    return [lanes for lanes, value in zip(choices, evidence.tolist(), strict=False) if value > NEVER]


@pytest.mark.parametrize(
    ("said", "lanes"),
    [
        ({}, THREE),
        ({"shoulder_only": True}, [()]),
        ({"full_closure": True}, [(0, 1, 2)]),
        ({"lanes_total": 3, "lanes_closed": [0, 1.0]}, [(0,), (1,), (2,)]),
        ({"lanes_closed": some()}, THREE[1:]),
        ({"lanes_total": 3, "lanes_closed": some(total=3)}, [(0,), (1,), (2,), (0, 1), (1, 2)]),
        ({"lanes_total": 4, "lanes_closed": [0, 0, 0, 1.0]}, [(0, 1), (1, 2)]),
        ({"lanes_total": 4, "lanes_closed": [0, 0, 0, 0, 1.0]}, [(0, 1, 2)]),
        ({"lanes_closed": [0, 1.0], "lanes_side": "right"}, [(0,)]),
        ({"lanes_closed": [0, 1.0], "lanes_side": "left"}, [(2,)]),
        ({"lanes_closed": [0, 1.0], "lanes_side": "centre"}, [(1,)]),
        ({"lanes_closed": [0, 0, 1.0], "lanes_side": "centre"}, [(0, 1), (1, 2)]),
        ({"edge": "second", "lanes_total": 2, "lanes_closed": [0, 1.0]}, [(0,)]),
        ({"edge": "second", "lanes_closed": some()}, [(0,)]),
        ({"edge": "second"}, [(), (0,)]),
    ],
)
def test_options_that_remain(said, lanes):
    assert possible(**said) == lanes


def test_sides_are_the_other_way_round_in_left_hand_traffic():
    network = replace(two_edges(), left_hand=True)
    assert possible(network, lanes_closed=[0, 1.0], lanes_side="left") == [(0,)]


def test_the_readers_rule_for_some_lanes_is_no_evidence_and_what_a_source_knows_is():
    network = two_edges()
    options = lane_options(network)
    table = events([{"start": START, "lanes_closed": some()}, {"start": START, "lanes_closed": (0.0, 0.2, 0.8)}])
    ruled, known = lane_evidence(table, network, options).exp().tolist()
    assert ruled[1] == pytest.approx(ruled[4]) == pytest.approx(1.0)
    assert known[4] / known[1] == pytest.approx(0.8 / 0.2 / 0.5)
