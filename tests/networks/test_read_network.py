"""What is read from a network file: who may go where, and which roads are motorways."""

import pytest

from scenariogen.injection.rig import build_network
from scenariogen.network import RoadClass, read_network
from scenariogen.simulation.freeflow import FreeFlow

pytestmark = pytest.mark.sumo
NODES = "".join(f'<node id="{name}" x="{x}" y="{y}"/>' for name, x, y in (("a", 0, 0), ("b", 2000, 0), ("d", 4000, 0)))


def straight(folder, kind="", lanes=""):
    edges = "".join(
        f'<edge id="{start}{end}" from="{start}" to="{end}" numLanes="2" speed="22.3" {kind}>{lanes}</edge>'
        for start, end in ("ab", "bd")
    )
    return read_network(build_network(folder, NODES, edges))


@pytest.mark.parametrize(
    ("kind", "lanes", "expected"),
    [
        ("", "", RoadClass.MOTORWAY),
        ("", '<lane index="0" allow="bicycle"/><lane index="1" disallow="bicycle pedestrian"/>', RoadClass.STREET),
        ('type="highway.primary"', "", RoadClass.STREET),
        ('type="highway.motorway"', "", RoadClass.MOTORWAY),
    ],
)
def test_a_motorway_is_typed_so_or_untyped_fast_and_of_two_lanes_for_cars(tmp_path, kind, lanes, expected):
    assert {edge.road_class for edge in straight(tmp_path, kind, lanes).edges.values()} == {expected}


def test_neighbours_are_those_that_cars_may_reach(tmp_path):
    """A cycleway and a turn for buses alone lead nobody by car."""
    nodes = "".join(
        f'<node id="{name}" x="{x}" y="{y}"/>'
        for name, x, y in (("a", 0, 0), ("b", 200, 0), ("d", 400, 0), ("k", 200, 200), ("s", 200, -200), ("e", 400, -9))
    )
    edges = "".join(
        f'<edge id="{start}{end}" from="{start}" to="{end}" numLanes="1" speed="13.9" {more}/>'
        for start, end, more in (
            ("a", "b", ""), ("b", "d", ""), ("b", "k", 'allow="bicycle"'), ("b", "s", ""), ("d", "e", ""),
            ("e", "s", ""),
        )
    )  # fmt: skip
    connections = '<connection from="ab" to="bs" fromLane="0" toLane="0" allow="bus"/>' + "".join(
        f'<connection from="ab" to="{to}" fromLane="0" toLane="0"/>' for to in ("bd", "bk")
    )
    (tmp_path / "road.con.xml").write_text(f"<connections>{connections}</connections>", encoding="utf-8")
    path = build_network(tmp_path, nodes, edges, "-x", "road.con.xml")
    network = read_network(path)
    assert network.edges["ab"].successors == ("bd",) and len(network.edges["ab"].turn_angles) == 1
    assert network.edges["bk"].predecessors == ()
    assert network.edges["bs"].predecessors == () and network.edges["bd"].predecessors == ("ab",)
    assert network.link_classes["ab_0", "bk_0"] == {"bicycle"} and network.link_classes["ab_0", "bs_0"] == {"bus"}
    assert ("ab_0", "bd_0") not in network.link_classes, "all classes"
    assert not FreeFlow(path).turns["ab", "bs"].for_cars
    assert FreeFlow(path).path(["ab", "es"]) == ("ab", "bd", "de", "es")
