"""Degrees and metres, and what lies near: against hand-made roads and a network of SUMO's."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenariogen.errors import ProjectError
from scenariogen.mapgeometry import LaneIndex, Projection, network_box
from scenariogen.network import read_network
from tests.support import resco
from tests.trajectories import handmade

UTM = "+proj=utm +zone=32 +ellps=WGS84 +datum=WGS84 +units=m +no_defs"


def projected():
    return replace(handmade.road(2), projection=UTM, offset=(-500_000.0, -5_500_000.0))


@given(st.floats(-20_000, 20_000), st.floats(-20_000, 20_000))
def test_there_and_back_is_the_same_place(x: float, y: float):
    projection = Projection(projected())
    again = projection.to_network(*projection.to_degrees(x, y))
    assert np.allclose(np.ravel(again), [x, y], atol=1e-4)


def test_the_central_meridian_is_where_utm_puts_it():
    # Zone 32 has its central meridian at 9 degrees east, with a false easting of 500 km.
    x, y = Projection(projected()).to_network(9.0, 0.0)
    assert x == pytest.approx(0.0, abs=1e-3) and y == pytest.approx(-5_500_000.0, abs=1e-3)


def test_degrees_agree_with_sumolib():
    import sumolib

    path = resco("cologne8").with_suffix(".net.xml")
    network = read_network(path)
    ours, theirs = Projection(network), sumolib.net.readNet(str(path))
    low_x, low_y, high_x, high_y = network_box(network)
    for x, y in ((low_x, low_y), (high_x, high_y), ((low_x + high_x) / 2, low_y)):
        assert np.allclose(np.ravel(ours.to_degrees(x, y)), theirs.convertXY2LonLat(x, y), atol=1e-8)


def test_no_projection_and_an_unknown_one_are_refused():
    with pytest.raises(ProjectError, match="no projection"):
        Projection(handmade.road())
    with pytest.raises(ProjectError, match="is unknown"):
        Projection(replace(handmade.road(), projection="+proj=nonsense"))


def test_points_fall_on_the_nearest_lane_of_the_nearest_edges():
    network = handmade.road(2)
    near = LaneIndex(network).near(np.array([250.0, 499.0, 250.0]), np.array([3.0, 0.4, 90.0]), reach_m=10.0, most=5)
    assert near.point.tolist() == [0, 1, 1]
    assert near.edge.tolist() == [0, 0, 1]
    assert np.allclose(near.places.distance_m, [0.2, 0.4, np.hypot(1.0, 0.4)])
    assert np.allclose(near.places.position_m, [250, 499, 0])
    assert LaneIndex(network).lanes[near.places.lane, 1].tolist() == [1, 0, 0]


def test_no_more_edges_than_asked_for():
    near = LaneIndex(handmade.road()).near(np.array([499.0]), np.array([0.0]), reach_m=10.0, most=1)
    assert near.edge.tolist() == [0]


def test_positions_are_stretched_to_the_lane_length():
    network = handmade.road()
    lane = replace(network.edges["here"].lanes[0], length_m=550.0)
    network = replace(network, edges={**network.edges, "here": replace(network.edges["here"], lanes=(lane,))})
    places = LaneIndex(network).place_on_edges(np.array([750.0]), np.array([0.0]), np.array([1]))
    assert places.position_m[0] == pytest.approx(275.0)


def test_lanes_that_cars_may_not_use_are_no_place():
    network = handmade.road(2)
    edge = network.edges["before"]
    lanes = (replace(edge.lanes[0], drives=False), edge.lanes[1])
    network = replace(network, edges={**network.edges, "before": replace(edge, lanes=lanes)})
    index = LaneIndex(network)
    assert index.lanes.tolist() == [[0, 1], [1, 0], [1, 1], [2, 0], [2, 1]]
    places = index.place_on_edges(np.array([10.0, 600.0]), np.array([0.0, 0.0]), np.array([0, 1]))
    assert index.lanes[places.lane].tolist() == [[0, 1], [1, 0]]


def test_the_direction_is_that_of_travel():
    index = LaneIndex(handmade.road())
    x, y = index.direction(np.array([0, 0, 0]), np.array([0.0, 250.0, 500.0]))
    assert np.allclose(x, 1.0) and np.allclose(y, 0.0)
