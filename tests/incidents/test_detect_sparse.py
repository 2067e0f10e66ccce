"""Detection where the vehicles that block the road were not recorded, or only some vehicles were."""

import numpy as np
import pandas as pd
import pytest

from scenariogen.errors import DataError
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.from_fields_cells import cells_of_day, stacked
from scenariogen.incidents.sparse import detect_sparse, gap_along_m, merged
from scenariogen.incidents.sparse_join import joined
from scenariogen.incidents.sparse_share import estimate_share
from scenariogen.trajectories.fields import edie_fields
from scenariogen.trajectories.tracks import load_day
from tests.trajectories.handmade import LENGTH_M, Traffic, every, record, road

SPOT_M = LENGTH_M + 250.0
SPAN_S = (1000.0, 2200.0)
END_S = 3300.0


def quiet(headway_s: float = 4.0) -> Traffic:
    """Two lanes on which nothing happens."""
    traffic = Traffic(end_s=END_S)
    for lane in (0, 1):
        traffic.file(lane, every(headway_s, until_s=END_S - 100))
    return traffic


def blocked(speed_mps: float = 4.0) -> Traffic:
    """An unrecorded vehicle closes lane 0, and on lane 1 people pass slowly."""
    traffic = Traffic(end_s=END_S)
    traffic.file(0, every(4.0, until_s=END_S - 100), holds=[(SPOT_M, *SPAN_S)])
    traffic.file(1, every(4.0, until_s=END_S - 100), slow=[(SPOT_M - 10, SPOT_M + 10, speed_mps, *SPAN_S)])
    return traffic


def sampled(traffic: Traffic, share: float) -> Traffic:
    """Each vehicle with that probability."""
    rng = np.random.default_rng(8)
    part = Traffic(end_s=traffic.end_s)
    part.parts = [rows for rows in traffic.parts if rng.random() < share]
    return part


def test_blockage_is_found_without_the_vehicle_that_makes_it(tmp_path):
    history = record(tmp_path / "quiet", quiet())
    (row,) = detect_sparse(record(tmp_path / "day", blocked()), road(2), share=1.0, history=[history]).itertuples()
    assert (row.day, row.edge, row.lanes) == (0, "here", [0])
    assert row.start_s == pytest.approx(SPAN_S[0], abs=30)
    assert row.start_s + row.duration_s == pytest.approx(SPAN_S[1], abs=60)
    assert abs(row.position_m - 250) <= 2 * row.position_se_m
    assert row.days_compared == 1


def test_days_without_incidents_show_none(tmp_path):
    history = record(tmp_path / "quiet", quiet())
    assert detect_sparse(record(tmp_path / "day", quiet(4.2)), road(2), share=1.0, history=[history]).empty


def test_blockage_among_a_fifth_of_the_vehicles(tmp_path):
    history = record(tmp_path / "quiet", sampled(quiet(2.5), 0.2))
    traffic = Traffic(end_s=END_S)
    for lane in (0, 1):
        traffic.file(lane, every(2.5, until_s=END_S - 100), holds=[(SPOT_M, *SPAN_S)])
    day = record(tmp_path / "day", sampled(traffic, 0.2))
    (row,) = detect_sparse(day, road(2), share=0.2, history=[history]).itertuples()
    assert row.edge == "here" and row.start_s == pytest.approx(SPAN_S[0], abs=90)
    assert row.capacity_left < 0.1


@pytest.mark.parametrize("step", [1, 4, 10])
def test_share_is_told_from_queues_at_a_signal(tmp_path, step):
    red = [(2 * LENGTH_M - 1.0, cycle, cycle + 90.0) for cycle in range(0, 6000, 120)]
    traffic = Traffic(end_s=6000.0)
    traffic.file(0, every(6.0, until_s=5900), holds=red)
    traffic.file(1, every(6.5, until_s=5900), holds=red)
    network = road(2, signal=True)
    part = sampled(traffic, 1 / step)
    share = estimate_share([load_day(record(tmp_path, part), network, 0)], network, DetectSettings())
    assert abs(share.value - len(part.parts) / len(traffic.parts)) < max(3 * share.standard_error, 0.02 / step)


def test_share_cannot_be_told_on_a_road_without_signals(tmp_path):
    network = road(2)
    with pytest.raises(DataError, match=r"give the share, for example share=0\.1"):
        detect_sparse(record(tmp_path, quiet()), network)
    with pytest.raises(DataError, match=r"share is 1\.2, expected"):
        detect_sparse(record(tmp_path / "b", quiet()), network, share=1.2)


def test_cells_agree_with_edies_fields_and_scale_with_the_share(tmp_path):
    network = road(2)
    opened = record(tmp_path, quiet())
    tracks = load_day(opened, network, 0)
    cells = cells_of_day(tracks, network, stretch_m=float("inf"), cell_s=60.0)
    table = edie_fields(opened, network).set_index(["edge", "cell_begin_s"])
    here = table.loc["here"].loc[600.0:1800.0]
    slots = ((here.index.to_numpy() - cells.begin_s) / 60).astype(int)
    assert cells.flow_veh_h[0, 1, slots] == pytest.approx(here["flow_veh_h"].to_numpy(), rel=0.08)
    assert cells.vehicles[0, 1, slots] == pytest.approx(here["density_veh_km"].to_numpy() * LENGTH_M / 1000, rel=0.08)
    tenth = cells_of_day(tracks, network, stretch_m=float("inf"), cell_s=60.0, share=0.1)
    assert tenth.flow_veh_h[0, 1, slots] == pytest.approx(10 * cells.flow_veh_h[0, 1, slots])
    assert stacked([cells, cells]).vehicles.shape[0] == 2
    with pytest.raises(DataError, match="cut all of them alike"):
        stacked([cells, cells_of_day(tracks, network, stretch_m=50.0, cell_s=60.0)])


def test_distance_along_the_road():
    network = road()
    assert gap_along_m(network, "here", 10.0, "here", 40.0) == 30.0
    assert gap_along_m(network, "here", LENGTH_M - 10, "after", 5.0) == 15.0
    assert gap_along_m(network, "after", 5.0, "here", LENGTH_M - 10) == 15.0
    assert gap_along_m(network, "before", 0.0, "after", 0.0) == float("inf")


def test_distance_along_the_road_leads_over_short_edges():
    """Pieces of a junction lie between what a driver takes for one road."""
    assert gap_along_m(short := road(lengths_m=(200.0, 15.0, 200.0)), "before", 190.0, "after", 12.0) == 37.0
    assert gap_along_m(short, "after", 12.0, "before", 190.0) == 37.0
    assert gap_along_m(road(lengths_m=(200.0, 80.0, 200.0)), "before", 190.0, "after", 12.0) == float("inf")


def flow_row(start_s: float, duration_s: float, **changes) -> dict:
    """An incident as flow tells it, in the middle of ``here``."""
    row = {
        "day": 0, "edge": "here", "position_m": 250.0, "position_se_m": 20.0, "start_s": start_s,
        "duration_s": duration_s, "lanes": [0], "kind": "breakdown", "capacity_left": 0.4, "confidence": 0.8,
        "days_compared": 2, "lanes_blocked": {1: 1.0}, "phases": [],
    }  # fmt: skip
    return {**row, **changes}


@pytest.mark.parametrize(
    ("standing_s", "starts_s"),
    [(1060.0, [1000.0]), (1500.0, [1500.0]), (300.0, [1000.0, 300.0])],
    ids=["soon after", "in an older queue", "long before"],
)
def test_a_standing_driver_and_the_flow_are_one_incident_where_they_agree(standing_s, starts_s):
    standing = [flow_row(standing_s, 2400.0 - standing_s, position_m=240.0, lanes=[1])]
    found = merged([flow_row(1000.0, 1400.0)], standing, road(2))
    assert [row["start_s"] for row in found] == starts_s
    if len(found) == 1:
        assert (found[0]["lanes"], found[0]["position_m"], found[0]["capacity_left"]) == ([1], 240.0, 0.4)
        assert found[0]["start_s"] + found[0]["duration_s"] == pytest.approx(2400.0)


def test_a_driver_at_the_line_leaves_the_place_beyond_it_as_it_is():
    row = flow_row(1000.0, 1400.0, edge="after", position_m=15.0, lanes=[1])
    (found,) = merged([row], [flow_row(1060.0, 1300.0, position_m=LENGTH_M - 1.0)], road(2))
    assert (found["edge"], found["position_m"], found["lanes"]) == ("after", 15.0, [1])
    (found,) = merged([row], [flow_row(1060.0, 1300.0, edge="after", position_m=35.0)], road(2))
    assert (found["edge"], found["position_m"], found["lanes"]) == ("after", 35.0, [0])


@pytest.mark.parametrize(
    ("capacity_left", "gap_s", "start_s"), [(0.4, 1600.0, 1600.0), (0.0, 1600.0, 1000.0), (0.0, 1200.0, 1200.0)]
)
def test_the_unused_lane_tells_the_start_unless_a_closed_road_drained_late(capacity_left, gap_s, start_s):
    found = pd.DataFrame([flow_row(1000.0, 1400.0, capacity_left=capacity_left)])
    gap = flow_row(gap_s, 2400.0 - gap_s, expected=50.0, lanes=[0, 1], capacity_left=capacity_left)
    (row,) = joined(found, [gap], road(3), share=1.0).to_dict("records")
    assert row["start_s"] == start_s and row["lanes"] == [0, 1]


@pytest.mark.parametrize(("lanes", "is_kept"), [(1, False), (2, True)])
def test_a_closed_single_lane_needs_somebody_who_stands_before_it(lanes, is_kept):
    row = flow_row(1000.0, 1400.0, capacity_left=0.01)
    assert bool(merged([row], [], road(lanes))) == is_kept
    assert len(merged([row], [flow_row(1060.0, 1300.0)], road(lanes))) == 1
