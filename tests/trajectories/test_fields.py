"""Edie's fields against closed forms."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scenariogen.trajectories.fields import edie_fields
from scenariogen.trajectories.fields_gaps import SparseSamplesWarning
from scenariogen.trajectories.records import open_trajectories
from tests.trajectories.handmade import LENGTH_M, LIMIT_MPS, Traffic, every, record, road, write


def steady(headway_s: float, *, lanes: int = 1, **options) -> Traffic:
    traffic = Traffic(end_s=600, **options)
    for lane in range(lanes):
        traffic.file(lane, every(headway_s, until_s=600))
    return traffic


@pytest.mark.parametrize("headway_s", [5.0, 10.0, 20.0])
@pytest.mark.parametrize("cell_s", [60.0, 100.0])
def test_steady_traffic_has_the_flow_density_and_speed_of_its_headway(tmp_path, headway_s, cell_s):
    fields = edie_fields(record(tmp_path, steady(headway_s)), road(), cell_s=cell_s)
    # From 200 s on the road is full as far as its end; the last cell may be cut off by the recording's end.
    full = fields[(fields["cell_begin_s"] >= 200) & (fields["coverage"] > 0.99)]
    assert set(full["edge"]) == {"before", "here", "after"}
    np.testing.assert_allclose(full["flow_veh_h"], 3600 / headway_s, rtol=0.02)
    np.testing.assert_allclose(full["speed_mps"], LIMIT_MPS, rtol=0.005)
    np.testing.assert_allclose(full["density_veh_km"], 1000 / (headway_s * LIMIT_MPS), rtol=0.02)


def test_flow_is_density_times_speed_in_every_cell(tmp_path):
    traffic = Traffic(end_s=600)
    traffic.file(0, every(3, until_s=500), holds=[(800.0, 200.0, 320.0)])
    fields = edie_fields(record(tmp_path, traffic), road())
    np.testing.assert_allclose(
        fields["flow_veh_h"], fields["density_veh_km"] * fields["speed_mps"] * 3.6, rtol=1e-9, atol=1e-9
    )


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.tuples(st.floats(60, 400), st.floats(8, 60), st.floats(60, 400)),
    period_s=st.sampled_from([1.0, 2.0, 4.0]),
    cell_s=st.sampled_from([7.0, 30.0, 60.0]),
)
def test_one_vehicle_covers_each_edge_once_however_it_is_sampled(tmp_path_factory, lengths, period_s, cell_s):
    """Also where an edge is so short that no sample falls on it."""
    traffic = Traffic(end_s=200, period_s=period_s, lengths_m=lengths)
    traffic.file(0, [10.0])
    recording = record(tmp_path_factory.mktemp("one"), traffic)
    fields = edie_fields(recording, road(lengths_m=lengths), cell_s=cell_s)
    sums = fields.groupby("edge")[["distance_m", "time_spent_s"]].sum()
    missed_m = LIMIT_MPS * period_s + 1e-3  # before the first and after the last sample, where the recording ends
    np.testing.assert_allclose(sums.loc["here", "distance_m"], lengths[1], rtol=1e-6)
    for name, length_m in (("before", lengths[0]), ("after", lengths[2])):
        assert sums.loc[name, "distance_m"] == pytest.approx(length_m, abs=missed_m)
    np.testing.assert_allclose(sums["distance_m"] / sums["time_spent_s"], LIMIT_MPS, rtol=0.02)


def test_standing_vehicle_spends_time_and_covers_no_distance(tmp_path):
    traffic = Traffic(end_s=300)
    traffic.stand(0, 700.0, 0.0, 300.0)
    fields = edie_fields(record(tmp_path, traffic), road())
    assert fields["distance_m"].sum() == 0
    assert fields["time_spent_s"].sum() == pytest.approx(300, abs=traffic.period_s)
    assert (fields["speed_mps"] == 0).all()
    full = fields[fields["coverage"] == 1]
    np.testing.assert_allclose(full["density_veh_km"], 1000 / LENGTH_M)


def test_by_lane_separates_lanes_and_adds_up(tmp_path):
    traffic = Traffic(end_s=400)
    traffic.file(0, every(5, until_s=300))
    traffic.file(1, every(15, until_s=300))
    recording = record(tmp_path, traffic)
    both = edie_fields(recording, road(2))
    lanes = edie_fields(recording, road(2), by_lane=True)
    added = lanes.groupby(["edge", "cell_begin_s"])["distance_m"].sum()
    np.testing.assert_allclose(added, both.set_index(["edge", "cell_begin_s"])["distance_m"])
    ratio = lanes.groupby("lane")["distance_m"].sum()
    assert ratio[0] / ratio[1] == pytest.approx(3, rel=0.05)


def test_days_are_kept_apart(tmp_path):
    fields = edie_fields(record(tmp_path, steady(10.0), steady(20.0)), road())
    by_day = fields[fields["cell_begin_s"].between(200, 500)].groupby("day")["flow_veh_h"].mean()
    np.testing.assert_allclose(by_day, [360, 180], rtol=0.02)


def test_cell_length_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="expected a positive"):
        edie_fields(record(tmp_path, steady(10.0)), road(), cell_s=0)


def test_fields_are_the_same_to_the_last_bit_on_any_number_of_threads(tmp_path):
    """Sums of floating-point numbers depended on which thread added first, and with them whole results."""
    rng = np.random.default_rng(5)
    times = np.arange(0, 600, 10.0)
    traffic = Traffic(end_s=600, period_s=10.0)
    for number in range(5000):  # enough for the engine to share the work among its threads
        speed = rng.uniform(0.5, 2.4)
        traffic.add_rows(
            pd.DataFrame({"time_s": times, "vehicle": f"v{number}", "lane": 0, "x": speed * times, "speed_mps": speed})
        )
    file = record(tmp_path, traffic).file
    pq.write_table(pq.read_table(file), file, row_group_size=10_000)
    found = [edie_fields(open_trajectories(tmp_path), road(), cell_s=5) for _ in range(4)]
    for other in found[1:]:
        pd.testing.assert_frame_equal(found[0], other, check_exact=True)


def test_vehicles_of_two_periods_in_one_file_are_warned_about(tmp_path, recwarn):
    """Half at 1 s, half at 5 s: gaps of five periods are taken for absences."""
    often, seldom = (steady(10.0, period_s=period_s) for period_s in (1.0, 5.0))
    edie_fields(record(tmp_path / "seldom", seldom), road())
    assert not [each for each in recwarn if each.category is SparseSamplesWarning]
    often.parts += [part.assign(vehicle="s" + part["vehicle"].astype(str)) for part in seldom.parts]
    with pytest.warns(SparseSamplesWarning, match="give a file for each"):
        edie_fields(record(tmp_path / "both", often), road())


def drive(*seen: tuple[float, float], speed_mps: float, vehicles: int = 1, apart_s: float = 0.0) -> Traffic:
    """Vehicles that are seen at given (second, metre from the start), all at one speed."""
    times, x = (np.array(values, dtype=float) for values in zip(*seen, strict=True))
    traffic = Traffic(end_s=1000.0)
    for number in range(vehicles):
        rows = {"time_s": times + number * apart_s, "vehicle": f"v{number}", "lane": 0, "x": x, "speed_mps": speed_mps}
        traffic.add_rows(pd.DataFrame(rows))
    return traffic


def test_who_overtakes_on_the_opposite_carriageway_drives_along_its_own_edge(tmp_path):
    """Going over counted as the rest of the one edge and the start of the other: kilometres nobody drove."""
    one_way = road()
    here = one_way.edges["here"]
    back = replace(here, id="back", opposite="here", successors=(), predecessors=(), turn_angles=())
    edges = {**one_way.edges, "here": replace(here, opposite="back"), "back": back}
    seconds = np.arange(0.0, 107.0)
    table = drive(*zip(seconds, LIMIT_MPS * seconds, strict=True), speed_mps=LIMIT_MPS).table()
    over = table["x_m"].between(LENGTH_M + 200, LENGTH_M + 350)
    assert over.sum() > 5
    table.loc[over, "position_m"] = LENGTH_M - table.loc[over, "position_m"]
    table.loc[over, "edge"] = "back"
    opened = open_trajectories(write(tmp_path, table))
    network = replace(one_way, edges=edges)
    fields = edie_fields(opened, network)
    sums = fields.groupby("edge")[["distance_m", "time_spent_s"]].sum()
    assert set(sums.index) == {"before", "here", "after"}
    assert sums.loc["here", "distance_m"] == pytest.approx(LENGTH_M, abs=1e-2)
    assert sums.loc["here", "time_spent_s"] == pytest.approx(LENGTH_M / LIMIT_MPS, abs=1e-2)
    lanes = edie_fields(opened, network, by_lane=True)
    assert set(lanes["edge"]) == set(sums.index) and lanes["distance_m"].sum() == pytest.approx(
        sums["distance_m"].sum()
    )


def test_what_a_vehicle_cannot_have_driven_in_the_time_does_not_count(tmp_path):
    """It is set from one edge onto the next, 700 m on in a second; it may have driven 84 m before and 84 m after."""
    seen = [*((t, LIMIT_MPS * t) for t in range(7)), *((t, 700.0 + LIMIT_MPS * t) for t in range(7, 14))]
    fields = edie_fields(record(tmp_path, drive(*seen, speed_mps=LIMIT_MPS)), road())
    assert fields["distance_m"].sum() == pytest.approx(12 * LIMIT_MPS, abs=LIMIT_MPS)


@pytest.mark.parametrize("length_m", [500.0, 900.0])
def test_a_long_edge_that_is_crossed_between_two_samples_counts_whole(tmp_path, length_m):
    """Ways of over 400 m were not looked for, whatever the speed and the time: flow fell off without a word."""
    lengths = (500.0, length_m, 500.0)
    traffic = drive((0, 480.0), (30, 520.0 + length_m), speed_mps=33.0, vehicles=30, apart_s=20.0)
    traffic.lengths_m = lengths
    fields = edie_fields(record(tmp_path, traffic), road(lengths_m=lengths))
    assert fields.loc[fields["edge"] == "here", "distance_m"].sum() == pytest.approx(30 * length_m)


def test_ways_that_are_not_found_are_warned_about(tmp_path):
    """From the last edge back to the first no road leads."""
    traffic = drive((0, 1400.0), (20, 100.0), speed_mps=LIMIT_MPS, vehicles=20, apart_s=10.0)
    with pytest.warns(SparseSamplesWarning, match="100% of the times .* no way leads there"):
        edie_fields(record(tmp_path, traffic), road())


def test_edges_before_the_first_and_after_the_last_sample_are_warned_about(tmp_path, recwarn):
    lengths = (300.0, 300.0, 900.0)
    traffic = drive((0, 310.0), (30, 730.0), (60, 1150.0), speed_mps=LIMIT_MPS, vehicles=20, apart_s=10.0)
    traffic.lengths_m = lengths
    opened = record(tmp_path, traffic)
    with pytest.warns(SparseSamplesWarning, match="about 16% of the way driven lies before the first"):
        edie_fields(opened, road(lengths_m=lengths))  # 200 of the 210 m before, of 3 times 420 m


def camera(traffic: Traffic, from_m: float, to_m: float) -> Traffic:
    """What a camera shows that looks at the road between two metres."""
    traffic.parts = [rows[rows["x"].between(from_m, to_m)] for rows in traffic.parts]
    return traffic


def test_flow_of_an_edge_seen_in_part_is_that_of_the_part(tmp_path):
    """All of its length counted as if it had been watched: flow and capacity came out as low as the part was short."""
    seen = camera(steady(5.5, period_s=0.5), 700.0, 1200.0)
    fields = edie_fields(record(tmp_path, seen), road())
    full = fields[(fields["cell_begin_s"] >= 120) & (fields["cell_begin_s"] < 540)]
    assert set(full["edge"]) == {"here", "after"}
    assert full.groupby("edge")["seen_m"].first().to_dict() == pytest.approx({"here": 300.0, "after": 200.0}, abs=7.0)
    means = full.groupby("edge")[["flow_veh_h", "density_veh_km"]].mean()
    np.testing.assert_allclose(means["flow_veh_h"], 3600 / 5.5, rtol=0.05)
    np.testing.assert_allclose(means["density_veh_km"], 1000 / (5.5 * LIMIT_MPS), rtol=0.05)


@pytest.mark.parametrize("start_mps", [0.0, LIMIT_MPS])
def test_vehicles_that_start_or_stop_in_the_middle_do_not_cut_an_edge_off(tmp_path, start_mps):
    """At rest they park; and where some pass over its start the edge was watched from there on."""
    traffic = Traffic(end_s=600)
    for number in range(30):
        seconds = np.arange(55.0)
        x = LENGTH_M + 250.0 + np.where(start_mps > 0, start_mps * seconds, 0.25 * seconds**2)
        rows = pd.DataFrame({"time_s": 15.0 * number + seconds, "vehicle": f"p{number}", "lane": 0, "x": x})
        traffic.add_rows(rows.assign(speed_mps=start_mps or 0.5 * seconds)[x < 1499.0])
    if start_mps:
        traffic.file(0, [30.0, 300.0])
    fields = edie_fields(record(tmp_path, traffic), road())
    assert (fields["seen_m"] == LENGTH_M).all()
