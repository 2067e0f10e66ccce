"""The opposite carriageway is found by where roads lie, whatever their ids are."""

from pathlib import Path

import pytest

from scenariogen.errors import ScenarioError
from scenariogen.injection.rig import build_network
from scenariogen.network import RoadNetwork, read_network
from scenariogen.scenarios.opposite import WITHIN_M, opposite_place
from tests.support import shared_data

pytestmark = pytest.mark.sumo


def network(folder: Path, nodes: str, edges: str, *options: str) -> RoadNetwork:
    """``nodes`` as ``name x y`` and ``edges`` as ``id from to lanes speed``, separated by semicolons."""
    node_lines = [line.split() for line in nodes.split(";")]
    edge_lines = [line.split() for line in edges.split(";")]
    return read_network(
        build_network(
            folder,
            "".join(f'<node id="{n}" x="{x}" y="{y}"/>' for n, x, y in node_lines),
            "".join(
                f'<edge id="{i}" from="{a}" to="{b}" numLanes="{lanes}" speed="{speed}"/>'
                for i, a, b, lanes, speed in edge_lines
            ),
            *options,
        )
    )


MOTORWAY_NODES = "a 0 0;b 1000 0;c 2000 0;p 2000 30;q 700 30;r 0 30;s 2000 -30;t 0 -30;u 0 12;v 2000 12"
MOTORWAY_EDGES = "east1 a b 3 30;east2 b c 3 30;west1 p q 2 30;west2 q r 2 30;below s t 2 30;frontage v u 1 10"


def test_on_a_motorway_it_is_the_edge_across_the_median_however_it_is_split(tmp_path):
    road = network(tmp_path, MOTORWAY_NODES, MOTORWAY_EDGES)
    for edge, position, expected, there in (("east1", 300, "west2", 400), ("east2", 300, "west1", 700)):
        found = opposite_place(road, edge, position)
        assert found.edge == expected
        assert found.position_m == pytest.approx(there, abs=15)  # what junctions cut off
        assert 20 < found.distance_m < 40
    assert opposite_place(road, "west2", 350).edge == "east1"


def test_what_lies_on_the_other_side_or_is_another_class_or_too_far_is_none(tmp_path):
    road = network(tmp_path, MOTORWAY_NODES, MOTORWAY_EDGES)
    with pytest.raises(ScenarioError, match=r"edge 'below' has no opposite carriageway: no motorway within .* left"):
        opposite_place(road, "below", 5)
    with pytest.raises(ScenarioError, match=r"edge 'frontage' has no opposite carriageway: no street within"):
        opposite_place(road, "frontage", 5)
    apart = f"a 0 0;b 1000 0;c 1000 {WITHIN_M + 20};d 0 {WITHIN_M + 20}"
    far = network(tmp_path, apart, "one a b 1 10;other c d 1 10")
    with pytest.raises(ScenarioError, match="'one' has no opposite carriageway"):
        opposite_place(far, "one", 500)
    with pytest.raises(ScenarioError, match="edge 'on' is not in"):
        opposite_place(far, "on", 500)


def test_an_id_with_a_minus_is_no_hint(tmp_path):
    road = network(tmp_path, "a 0 0;b 500 0;c 500 500", "x a b 1 10;-x b c 1 10;y b a 1 10")
    found = opposite_place(road, "x", 100)
    assert (found.edge, road.edges["x"].opposite) == ("y", "y")
    assert found.position_m == pytest.approx(400, abs=15)
    with pytest.raises(ScenarioError):
        opposite_place(road, "-x", 100)


def test_where_one_drives_on_the_left_it_is_on_the_right(tmp_path):
    nodes, edges = "a 0 0;b 1000 0;c 1000 20;d 0 20;e 1000 -20;f 0 -20", "x a b 2 30;above c d 2 30;below e f 2 30"
    assert opposite_place(network(tmp_path, nodes, edges), "x", 500).edge == "above"
    left = network(tmp_path, nodes, edges, "--lefthand", "true")
    assert left.left_hand and opposite_place(left, "x", 500).edge == "below"


def test_along_a_bend_it_is_the_point_beside(tmp_path):
    grid = "a 0 0;b 300 0;c 300 300"
    road = network(tmp_path, grid, "ab a b 1 10;bc b c 1 10;cb c b 1 10;ba b a 1 10")
    for edge in ("ab", "bc", "cb", "ba"):
        length = road.edges[edge].length_m
        for position in (0.0, 40.0, length / 2, length):
            found = opposite_place(road, edge, position)
            assert found.edge == edge[::-1] and found.distance_m < 6
            assert found.position_m == pytest.approx(length - position, abs=4)


@pytest.mark.data
def test_in_a_city_it_is_found_for_most_edges_and_mostly_both_ways():
    """Bologna: edges are numbers, and only 49 of 164 share their junctions with one of the other direction."""
    road = read_network(shared_data("networks", "bologna_acosta", "acosta_buslanes.net.xml"))

    def across(edge: str, position_m: float):
        try:
            return opposite_place(road, edge, position_m)
        except ScenarioError as error:
            assert "has no opposite carriageway" in str(error)

    found = {edge: across(edge, road.edges[edge].length_m / 2) for edge in road.drivable}
    places = {edge: place for edge, place in found.items() if place}
    assert places["85"].edge == "86" and len(places) > 90
    back = [(there := across(p.edge, p.position_m)) is not None and there.edge == e for e, p in places.items()]
    assert sum(back) > 0.7 * len(back), sum(back) / len(back)
