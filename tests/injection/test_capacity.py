"""The capacity table: what can be asked for, and that what is asked for comes about."""

import json
import math
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenariogen.errors import ScenarioError
from scenariogen.incidents import capacity
from scenariogen.incidents.capacity import (
    is_inner,
    isotonic,
    published_capacity_left,
    reachable,
    stretch_speed_mps,
    unreachable,
)
from scenariogen.incidents.capacity_tables import cross_sections, shipped_table
from scenariogen.injection import stretch
from scenariogen.injection.attach import Injection
from scenariogen.injection.calibration import SPEEDS_MPS, verify
from scenariogen.injection.rig import NOMINAL_LIMIT_MPS, Rig, summarise
from scenariogen.injection.vehicle_mix import DEFAULT_TRAFFIC, traffic_from_record
from scenariogen.network import RoadClass
from tests.injection import roads

LIMIT = NOMINAL_LIMIT_MPS
shipped_table()  # read before the first example, whose time is limited


@st.composite
def sections(draw, most=8):
    lanes = draw(st.integers(1, most))
    blocked = draw(st.integers(0, lanes))
    inner = draw(st.booleans()) if 1 <= blocked <= lanes - 2 else False
    return draw(st.sampled_from(list(RoadClass))), lanes, blocked, inner


@given(sections())
def test_the_range_is_a_range_and_its_ends_can_be_asked_for(section):
    road_class, lanes, blocked, inner = section
    low, high = reachable(road_class, lanes, blocked, inner=inner)
    assert 0 <= low <= high <= 1
    if blocked == lanes >= 2:
        assert (low, high) == (0, 0)
        return
    assert low < high
    limit = LIMIT[road_class]
    for share in (low, (low + high) / 2, high):
        speed = stretch_speed_mps(road_class, lanes, blocked, share, limit, inner=inner)
        assert SPEEDS_MPS[road_class][0] - 1e-6 <= speed <= limit
    assert stretch_speed_mps(road_class, lanes, blocked, high, limit, inner=inner) == pytest.approx(limit)


@given(sections(), st.floats(5, 40), st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_more_capacity_left_is_never_a_lower_speed(section, limit, parts):
    road_class, lanes, blocked, inner = section
    if blocked == lanes >= 2:
        return
    low, high = reachable(road_class, lanes, blocked, inner=inner)
    a, b = (low + part * (high - low) for part in sorted(parts))
    slow, fast = (stretch_speed_mps(road_class, lanes, blocked, share, limit, inner=inner) for share in (a, b))
    assert 0 < slow <= fast <= limit


@pytest.mark.parametrize("lanes", [2, 3, 4, 5])
def test_the_published_shares_of_a_motorway_can_be_brought_about(lanes):
    for blocked in range(lanes):
        published = published_capacity_left(lanes, blocked)
        if published is None:
            continue
        assert unreachable(RoadClass.MOTORWAY, lanes, blocked, published) is None, (lanes, blocked, published)


def test_the_published_table_is_complete_and_falls_with_every_lane():
    for lanes in capacity.PUBLISHED_LANES:
        shares = [published_capacity_left(lanes, blocked) for blocked in range(5)]
        present = [share for share in shares if share is not None]
        assert present == sorted(present, reverse=True) and len(present) >= 3
        assert published_capacity_left(lanes, 0, crash=False) > published_capacity_left(lanes, 0)
    assert published_capacity_left(9, 1) is None


def test_more_lanes_blocked_leave_less_and_lanes_on_both_sides_leave_less_than_on_one():
    for road_class in RoadClass:
        for lanes in range(2, 6):
            highs = [reachable(road_class, lanes, blocked)[1] for blocked in range(lanes + 1)]
            assert highs == sorted(highs, reverse=True) and highs[0] == 1
        for lanes in (3, 4, 5):
            assert reachable(road_class, lanes, 1, inner=True)[1] < reachable(road_class, lanes, 1)[1]


def test_what_is_out_of_reach_is_refused_with_the_range():
    low, high = reachable(RoadClass.MOTORWAY, 3, 1)
    with pytest.raises(ScenarioError, match=rf"between {low:.2f} and {high:.2f}"):
        stretch_speed_mps(RoadClass.MOTORWAY, 3, 1, high + 0.05, 30.0)
    with pytest.raises(ScenarioError, match="out of reach with 1 of 3 motorway lanes"):
        stretch_speed_mps(RoadClass.MOTORWAY, 3, 1, low - 0.05, 30.0)
    with pytest.raises(ScenarioError, match="4 of 3 lanes"):
        reachable(RoadClass.STREET, 3, 4)
    with pytest.raises(ScenarioError, match="both sides"):
        reachable(RoadClass.STREET, 3, 2, inner=True)
    assert unreachable(RoadClass.STREET, 1, 1, 0.0) is None  # a single lane can be closed altogether


def test_lanes_open_on_both_sides():
    assert is_inner((0, 1, 2), (1,)) and is_inner((1, 2, 3, 4), (2, 3))
    assert not is_inner((0, 1, 2), (0,)) and not is_inner((1, 2), (1,)) and not is_inner((0, 1), ())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_the_isotonic_fit_rises_and_keeps_the_mean(values):
    fitted = isotonic(np.array(values), np.ones(len(values)))
    assert np.all(np.diff(fitted) >= -1e-12)
    assert fitted.mean() == pytest.approx(np.mean(values), abs=1e-9)
    if np.all(np.diff(values) > 0):
        assert fitted.tolist() == pytest.approx(values)


def test_the_table_is_whole_and_was_measured_with_the_stretch_that_is_driven():
    table = json.loads(files("scenariogen.incidents").joinpath(capacity.TABLE_FILE).read_text())
    settings = table["settings"]
    assert stretch.stretch_settings().items() <= settings.items()
    assert traffic_from_record(table["traffic"]) == DEFAULT_TRAFFIC
    assert table["sumo_version"].startswith("1.28")
    found = {(row["road_class"], row["lanes"], row["blocked"], row["inner"]) for row in table["rows"]}
    assert found == {(str(c), *section) for c in RoadClass for section in cross_sections()}
    for row in table["rows"]:
        assert len(row["speeds_mps"]) == len(row["share"]) == len(row["standard_error"])
        assert max(row["standard_error"]) < 0.03
        # The raw measurement rises too, up to its own noise.
        drops = -np.diff(row["share"])
        noise = np.hypot(row["standard_error"][1:], row["standard_error"][:-1])
        assert np.all(drops <= 4 * noise + 0.01), row


@pytest.mark.sumo
@pytest.mark.slow
def test_what_is_asked_for_is_measured():
    """Within 0.03 or 10 % on a motorway of 2 to 4 lanes with 0 to 2 blocked, with seeds the table never saw."""
    checks = list(verify(seeds=(11, 12), points=3))
    assert len(checks) >= 30
    misses = [check for check in checks if not check.is_close]
    assert not misses, misses
    assert math.isfinite(sum(check.measured for check in checks))


@given(st.integers(1, 8), st.floats(8, 40), st.floats(0.99, 1.0))
def test_a_vehicle_at_the_roadside_that_takes_next_to_nothing_slows_nobody(lanes, limit, share):
    """At 105 km/h, between two measured limits, 0.997 of five lanes once slowed everybody to 19 m/s."""
    for road_class in RoadClass:
        assert stretch_speed_mps(road_class, lanes, 0, share, limit) == limit


@pytest.mark.sumo
@pytest.mark.parametrize("share", [0.98, 0.87])
def test_at_the_roadside_of_five_lanes_the_share_asked_is_left(share):
    limit = 29.06
    speed = stretch_speed_mps(RoadClass.MOTORWAY, 5, 0, share, limit)
    with Rig(5, limit) as rig:
        free = summarise([rig.free_discharge(seed=seed) for seed in (11, 12)])
        left = summarise([rig.discharge((), [speed], seed=11)[0]])
    assert abs(left.veh_h / free.veh_h - share) < 0.03


@pytest.mark.sumo
def test_beside_a_vehicle_at_the_roadside_nobody_drives_slower_than_on_the_other_lanes(start, road, tmp_path):
    network = road(5, 29.06)
    sumo = start("libsumo", network, roads.flows(tmp_path, lanes=5, per_lane_veh_h=1500))
    asked = roads.incident(start_s=60, duration_s=600, lanes=(), capacity_left=0.98, position_m=300)
    speeds = {lane: [] for lane in range(5)}
    with Injection(sumo, roads.scenario(asked), network=network) as injection:
        while sumo.simulation.getTime() < 400:
            sumo.simulationStep()
            for lane, found in speeds.items() if sumo.simulation.getTime() > 90 else ():
                found += [
                    sumo.vehicle.getSpeed(vehicle)
                    for vehicle in sumo.lane.getLastStepVehicleIDs(f"middle_{lane}")
                    if 280 < sumo.vehicle.getLanePosition(vehicle) < 310 and vehicle not in injection.own_vehicles
                ]
        (report,) = injection.report()
    means = [float(np.mean(found)) for found in speeds.values()]
    assert min(means) > 0.85 * max(means) and min(means) > 0.85 * report.stretch_speed_mps, means
