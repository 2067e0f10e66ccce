"""Detection from fields alone: an unusual queue with less discharge than usual, and everything that only looks so."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scenariogen.errors import DataError
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.from_fields import EXTRA_COLUMNS, detect_in_fields
from scenariogen.incidents.from_fields_heads import runs
from scenariogen.incidents.from_fields_measure import Measured, blocked_lanes
from scenariogen.incidents.from_fields_steps import levels, step_to
from scenariogen.incidents.records import OBSERVED_COLUMNS
from scenariogen.incidents.saturation import saturation_veh_h
from scenariogen.network import RoadNetwork
from scenariogen.trajectories.fields import edie_fields
from tests.trajectories.handmade import JAM_M, LENGTH_M, LIMIT_MPS, REACTION_S, Traffic, every, record, road

DAY_S = 5400
INCIDENT_S = (1800.0, 3600.0)
CAPACITY_VEH_H = 2 * saturation_veh_h(LIMIT_MPS, DetectSettings())


def field_rows(day: int, edge: str, flow_veh_h: np.ndarray, speed_mps: np.ndarray) -> pd.DataFrame:
    """Rows of one edge, a minute each."""
    return pd.DataFrame(
        {
            "day": day,
            "edge": edge,
            "cell_begin_s": 60.0 * np.arange(len(flow_veh_h)),
            "flow_veh_h": flow_veh_h,
            "density_veh_km": flow_veh_h / speed_mps / 3.6,
            "coverage": 1.0,
        }
    )


def scattered(level_veh_h: float, rng: np.random.Generator) -> np.ndarray:
    """Counts a minute around a level, as vehicles an hour."""
    return np.maximum(rng.poisson(level_veh_h / 60, DAY_S // 60) * 60.0, 60.0)


def days(count: int, *, flow_veh_h: float = 2400.0) -> dict[tuple[int, str], list[np.ndarray]]:
    """Flow and speed of days on which nothing happens, on two lanes."""
    rng = np.random.default_rng(5)
    free = np.full(DAY_S // 60, 0.9 * LIMIT_MPS)
    return {
        (day, edge): [scattered(flow_veh_h, rng), free.copy()]
        for day in range(count)
        for edge in ("before", "here", "after")
    }


def put(made: dict, day: int, edge: str, flow_veh_h: float, *, queued: bool, span_s=INCIDENT_S, seed: int = 1) -> None:
    """Another flow for a while; in a queue at the speed that belongs to it (Newell), else free."""
    part = slice(int(span_s[0] // 60), int(span_s[1] // 60))
    flow = scattered(flow_veh_h, np.random.default_rng(seed))[part]
    made[day, edge][0][part] = flow
    if queued:
        per_lane = np.minimum(flow / 2 / 3600, 0.4)
        made[day, edge][1][part] = per_lane * JAM_M / (1 - per_lane * REACTION_S)


def found_in(made: dict, network: RoadNetwork | None = None, **options) -> pd.DataFrame:
    table = pd.concat([field_rows(day, edge, *values) for (day, edge), values in made.items()])
    return detect_in_fields(table, network or road(2), **options)


def test_queue_with_less_discharge_than_on_other_days_is_an_incident():
    made = days(4)
    left_veh_h = 1200.0
    for edge, queued in (("before", True), ("here", True), ("after", False)):
        put(made, 2, edge, left_veh_h, queued=queued)
    found = found_in(made)
    assert list(found.columns) == [*OBSERVED_COLUMNS, *EXTRA_COLUMNS]
    (row,) = found.itertuples()
    assert (row.day, row.edge) == (2, "here")
    assert row.start_s == pytest.approx(INCIDENT_S[0], abs=60)
    assert row.start_s + row.duration_s == pytest.approx(INCIDENT_S[1], abs=90)
    truth = left_veh_h / CAPACITY_VEH_H
    assert row.capacity_left == pytest.approx(truth, abs=3 * row.capacity_left_se)
    assert 0 < row.capacity_left_se < 0.06
    assert not row.capacity_left_is_lower_bound and not row.duration_is_censored
    # Half of two lanes' flow is left: one lane is blocked rather than none or both.
    assert max(row.lanes_blocked, key=row.lanes_blocked.get) == 1 and sum(row.lanes_blocked.values()) == pytest.approx(
        1
    )
    assert row.days_compared == 3


def test_the_same_queue_on_most_days_is_a_bottleneck():
    made = days(4)
    for day in (0, 1, 2):
        for edge, queued in (("before", True), ("here", True), ("after", False)):
            put(made, day, edge, 1200.0, queued=queued, seed=day)
    assert found_in(made).empty


def test_queue_that_spills_back_is_laid_to_where_it_begins():
    made = days(3)
    for edge in ("before", "here", "after"):
        put(made, 1, edge, 900.0, queued=True)
    (row,) = found_in(made).itertuples()
    assert row.edge == "after"


def test_a_recurrent_queue_past_an_empty_stretch_does_not_explain_one_before_it():
    made = days(3)
    for day in range(3):
        put(made, day, "after", 900.0, queued=True, seed=day)
    put(made, 1, "before", 60.0, queued=True)
    put(made, 1, "here", 60.0, queued=False)
    (row,) = found_in(made, road(2, lengths_m=(LENGTH_M, 20.0, LENGTH_M))).itertuples()
    assert (row.day, row.edge) == (1, "before") and row.capacity_left < 0.1


def test_a_piece_of_a_junction_shorter_than_a_vehicle_has_no_queue_of_its_own():
    made = days(3)
    for edge in ("before", "here"):
        put(made, 1, edge, 900.0, queued=True)
    put(made, 1, "after", 900.0, queued=False)
    (row,) = found_in(made, road(2, lengths_m=(LENGTH_M, 3.0, LENGTH_M))).itertuples()
    assert (row.day, row.edge) == (1, "before")


def test_a_road_that_is_full_every_day_does_not_shut_the_junction_in():
    """Nobody from here turns into it."""
    network = road(2)
    lanes = tuple(replace(lane, id=f"side_{lane.index}") for lane in network.edges["after"].lanes)
    side = replace(network.edges["after"], id="side", to_junction="elsewhere", predecessors=(), lanes=lanes)
    links = {**network.lane_links, "side_0": (), "side_1": ()}
    network = replace(network, edges={**network.edges, "side": side}, lane_links=links)
    made = days(3)
    for day in range(3):
        made[day, "side"] = [values.copy() for values in made[day, "after"]]
        put(made, day, "side", 900.0, queued=True, span_s=(0.0, DAY_S), seed=day)
    for edge, queued in (("before", True), ("here", True), ("after", False)):
        put(made, 1, edge, 900.0, queued=queued)
    assert list(found_in(made, network)["edge"]) == ["here"]


def test_queue_of_more_demand_that_discharges_as_much_as_ever_is_none():
    made = days(3)
    for edge, queued in (("before", True), ("here", True), ("after", False)):
        put(made, 1, edge, 2500.0, queued=queued)
    assert found_in(made).empty


def test_less_traffic_without_a_queue_is_none():
    made = days(3)
    for edge in ("before", "here", "after"):
        put(made, 1, edge, 700.0, queued=False)
    assert found_in(made).empty


def test_lanes_reopened_one_by_one_are_phases():
    made = days(3)
    for edge, queued in (("before", True), ("here", True), ("after", False)):
        put(made, 1, edge, 300.0, queued=queued, span_s=(1800.0, 2700.0))
        put(made, 1, edge, 1300.0, queued=queued, span_s=(2700.0, 3600.0))
    (row,) = found_in(made).itertuples()
    assert len(row.phases) == 2
    first, second = row.phases
    assert second["begin_s"] == pytest.approx(2700, abs=60)
    assert first["capacity_left"] == pytest.approx(300 / CAPACITY_VEH_H, abs=0.05)
    assert second["capacity_left"] == pytest.approx(1300 / CAPACITY_VEH_H, abs=0.06)


def test_fields_of_a_tenth_of_the_vehicles_are_scaled_and_less_sure():
    whole, tenth = days(4), days(4)
    for made in (whole, tenth):
        for edge, queued in (("before", True), ("here", True), ("after", False)):
            put(made, 2, edge, 900.0, queued=queued)
    rng = np.random.default_rng(3)
    for values in tenth.values():
        values[0] = rng.binomial((values[0] / 60).astype(int), 0.1) * 60.0 + 1e-3
    (full,) = found_in(whole).itertuples()
    (part,) = found_in(tenth, share=0.1).itertuples()
    assert part.edge == full.edge
    assert part.capacity_left_se > 2 * full.capacity_left_se
    assert abs(part.capacity_left - 900 / CAPACITY_VEH_H) < 3 * part.capacity_left_se


def test_from_trajectories_to_fields_to_the_incident(tmp_path):
    """A closed lane of a road with one, seen through Edie's fields: no vehicle is looked at."""
    quiet, closed = Traffic(end_s=3000), Traffic(end_s=3000)
    quiet.file(0, every(5, until_s=2900))
    closed.file(0, every(5, until_s=2900), holds=[(LENGTH_M + 250.0, 1000.0, 2000.0)])
    network = road(1)
    found = detect_in_fields(edie_fields(record(tmp_path, quiet, closed), network), network)
    (row,) = found.itertuples()
    assert (row.day, row.edge, row.lanes) == (1, "here", [0])
    assert row.start_s == pytest.approx(1000, abs=60) and row.duration_s == pytest.approx(1000, abs=90)
    assert row.capacity_left < 0.03
    assert abs(row.position_m - 250) <= 2 * row.position_se_m


def test_everything_wrong_with_a_table_is_said_at_once():
    table = field_rows(0, "here", np.full(3, -5.0), np.full(3, 10.0)).assign(lane=7)
    with pytest.raises(DataError) as caught:
        detect_in_fields(pd.concat([table, table]), road(), share=1.5)
    for part in ("lane 7 of edge 'here', which has 1", "share is 1.5", "flow_veh_h", "3 rows repeat another one's day"):
        assert part in str(caught.value)
    with pytest.raises(DataError, match="nowhere"):
        detect_in_fields(field_rows(0, "nowhere", np.full(3, 5.0), np.full(3, 10.0)), road())
    with pytest.raises(DataError, match="neither density_veh_km nor speed_mps"):
        detect_in_fields(table.drop(columns=["density_veh_km", "lane"]), road())
    with pytest.raises(DataError, match="columns flow_veh_h are missing"):
        detect_in_fields(table.drop(columns=["flow_veh_h"]), road())


def lanes_of(made: dict, *, idle: int | None = None, day: int = 2) -> pd.DataFrame:
    """The same by lane, half on each; on the closed part of ``here`` and behind it, nobody on one of them."""
    parts = []
    for lane in (0, 1):
        for (number, edge), (flow, speed) in made.items():
            half = flow / 2
            if idle is not None and (number, edge) == (day, "here"):
                during = np.zeros(len(flow), dtype=bool)
                during[int(INCIDENT_S[0] // 60) : int(INCIDENT_S[1] // 60)] = True
                half = np.where(during, flow * (0.1 if lane == idle else 0.9), half)
            parts.append(field_rows(number, edge, half, speed).assign(lane=lane))
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("idle", [0, 1])
def test_fields_by_lane_tell_which_lane_is_blocked(idle: int):
    made = days(3)
    for edge, queued in (("before", True), ("here", True), ("after", False)):
        put(made, 2, edge, 1200.0, queued=queued)
    (row,) = detect_in_fields(lanes_of(made, idle=idle), road(2)).itertuples()
    assert (row.day, row.edge, row.lanes) == (2, "here", [idle])
    assert row.lanes_blocked[1] > 0.8


def test_speed_stands_in_for_density_and_day_and_coverage_may_be_left_out():
    made = days(3)
    for edge, queued in (("before", True), ("here", True), ("after", False)):
        put(made, 1, edge, 900.0, queued=queued)
    table = pd.concat([field_rows(day, edge, *values) for (day, edge), values in made.items()])
    speeds = table.assign(speed_mps=table["flow_veh_h"] / table["density_veh_km"] / 3.6)
    (row,) = detect_in_fields(speeds.drop(columns=["density_veh_km", "coverage"]), road(2)).itertuples()
    (same,) = detect_in_fields(table, road(2)).itertuples()
    assert (row.edge, row.start_s) == (same.edge, same.start_s)
    one = speeds[speeds["day"] == 0].drop(columns=["day", "density_veh_km", "coverage"])
    assert detect_in_fields(one, road(2)).empty


@pytest.mark.parametrize("at", [4.0, 4.3, 5.75, 9.0])
def test_step_is_found_within_its_cell(at):
    counts = np.clip(at - np.arange(12), 0, 1) * 20 + np.clip(np.arange(12) + 1 - at, 0, 1) * 4
    assert step_to(counts, before=np.full(12, 20.0), after=4.0) == pytest.approx(at, abs=0.02)


def test_one_level_is_not_cut_by_chance():
    rng = np.random.default_rng(0)
    cut = sum(len(levels(rng.poisson(12, 30), least=3)) > 1 for _ in range(200))
    assert cut / 200 < 0.15


def test_pauses_shorter_than_asked_are_bridged():
    mask = np.array([1, 0, 1, 0, 0, 1], dtype=bool)
    assert list(runs(mask, pause=1)) == [(0, 3), (5, 6)]
    assert list(runs(np.zeros(4, dtype=bool), pause=1)) == []


def test_number_of_blocked_lanes_follows_the_capacity_left():
    edge = road(2).edges["here"]
    base = {
        "cell": 0, "position_m": 0.0, "position_se_m": 1.0, "begin_s": 0.0, "end_s": 1.0, "is_censored": False,
        "capacity_left_se": 0.03, "drop_errors": 5.0, "phases": (),
    }  # fmt: skip
    closed = blocked_lanes(edge, Measured(**base, capacity_left=0.0, is_lower_bound=False))
    assert closed[2] > 0.9
    bound = blocked_lanes(edge, Measured(**base, capacity_left=0.7, is_lower_bound=True))
    assert bound[0] > 0.9 and bound[2] < 1e-6
