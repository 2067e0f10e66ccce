"""Fundamental diagrams of traffic whose diagram is known: vehicles that obey Newell's rule."""

import numpy as np
import pandas as pd
import pytest

from scenariogen.trajectories.fields import edie_fields
from scenariogen.trajectories.fundamental import COLUMNS, fundamental_diagrams
from tests.trajectories.handmade import JAM_M, LENGTH_M, LIMIT_MPS, REACTION_S, Traffic, every, record, road

CAPACITY_VEH_H = 3600 * LIMIT_MPS / (JAM_M + REACTION_S * LIMIT_MPS)
WAVE_MPS = JAM_M / REACTION_S


def fields_of(points: list[tuple[float, float]], edge: str = "here", lanes: int = 1) -> pd.DataFrame:
    """Fields with given (density per km and lane, flow per hour and lane)."""
    density, flow = (np.array(values, dtype=float) * lanes for values in zip(*points, strict=True))
    return pd.DataFrame(
        {
            "day": 0, "edge": edge, "cell_begin_s": 60.0 * np.arange(len(flow)), "distance_m": flow / 120,
            "time_spent_s": density, "flow_veh_h": flow, "density_veh_km": density,
            "speed_mps": flow / np.maximum(density, 1e-9) / 3.6, "coverage": 1.0,
        }
    )  # fmt: skip


def triangle(density: np.ndarray) -> np.ndarray:
    """Flow per hour of Newell's vehicles at a density per km."""
    k = density / 1000
    return 3600 * np.minimum(LIMIT_MPS * k, WAVE_MPS * (1 / JAM_M - k))


def test_points_on_a_diagram_give_it_back():
    density = np.linspace(5, 110, 60)
    table = fundamental_diagrams(fields_of(list(zip(density, triangle(density), strict=True)), lanes=2), road(2))
    (row,) = table.to_dict("records")
    assert row["capacity_veh_h"] == pytest.approx(2 * CAPACITY_VEH_H, rel=1e-3)
    assert row["free_speed_mps"] == pytest.approx(LIMIT_MPS, rel=1e-3)
    assert row["wave_speed_mps"] == pytest.approx(WAVE_MPS, rel=1e-3)
    assert row["jam_density_veh_km"] == pytest.approx(2 * 1000 / JAM_M, rel=2e-3)
    assert not row["capacity_is_lower_bound"] and row["lanes"] == 2


def test_a_queue_of_newells_vehicles_shows_capacity_and_waves(tmp_path):
    """The road's end holds traffic back again and again at different speeds, so that both branches are seen."""
    traffic = Traffic(end_s=3600.0)
    slow = [(900.0, 1000.0, speed, t, t + 400.0) for t, speed in ((600.0, 4.0), (1400.0, 7.0), (2300.0, 2.0))]
    traffic.file(0, every(2.3, until_s=3500.0), slow=slow)
    fields = edie_fields(record(tmp_path, traffic), road(), cell_s=60.0)
    table = fundamental_diagrams(fields, road()).set_index("edge")
    row = table.loc["here"]
    assert not row["capacity_is_lower_bound"] and row["congested_cells"] >= 5
    for name, error, truth in (
        ("capacity_veh_h", "capacity_se", CAPACITY_VEH_H),
        ("wave_speed_mps", "wave_speed_se", WAVE_MPS),
    ):
        assert abs(row[name] - truth) < max(4 * row[error], 0.08 * truth), name


def test_free_flow_alone_gives_a_lower_bound(tmp_path):
    traffic = Traffic(end_s=1800.0)
    traffic.file(0, every(6.0, until_s=1700.0))
    fields = edie_fields(record(tmp_path, traffic), road(), cell_s=60.0)
    table = fundamental_diagrams(fields, road())
    assert table["capacity_is_lower_bound"].all() and table["wave_speed_mps"].isna().all()
    assert (table["capacity_veh_h"] < CAPACITY_VEH_H).all()
    assert table["capacity_veh_h"].to_numpy() == pytest.approx(600.0, rel=0.15)
    assert table["free_speed_mps"].to_numpy() == pytest.approx(LIMIT_MPS, rel=0.02)


def test_standard_errors_are_those_of_repeated_samples():
    """Noise of 3 % on the flows: estimates over 40 samples scatter as the first one's standard errors say."""
    generator = np.random.default_rng(1)
    found = []
    for repeat in range(40):
        density = generator.uniform(5, 110, 80)
        flow = triangle(density) * (1 + 0.03 * generator.standard_normal(80))
        points = list(zip(density, flow, strict=True))
        found.append(fundamental_diagrams(fields_of(points), road(), resamples=30, seed=repeat).iloc[0])
    table = pd.DataFrame(found)
    for name in ("capacity", "wave_speed"):
        values = table["capacity_veh_h" if name == "capacity" else "wave_speed_mps"]
        spread, said = values.std(ddof=1), table[f"{name}_se"].median()
        assert 0.6 < said / spread < 1.6  # the spread itself is known to 11 %
    assert abs(table["capacity_veh_h"].mean() / CAPACITY_VEH_H - 1) < 0.01


def test_few_cells_and_unknown_edges_have_no_row():
    density = np.linspace(5, 110, 8)
    points = list(zip(density, triangle(density), strict=True))
    assert fundamental_diagrams(fields_of(points), road()).empty
    assert fundamental_diagrams(fields_of(points * 3, edge="nowhere"), road()).empty
    assert list(fundamental_diagrams(fields_of(points * 3), road()).columns) == list(COLUMNS)


def test_fields_by_lane_are_refused():
    fields = fields_of([(5.0, 200.0)] * 20).assign(lane=0)
    with pytest.raises(ValueError, match="expected those of whole edges"):
        fundamental_diagrams(fields, road())
    with pytest.raises(ValueError, match="resamples is 1"):
        fundamental_diagrams(fields_of([(5.0, 200.0)] * 20), road(), resamples=1)


def test_queues_that_do_not_tell_of_waves_leave_the_wave_speed_open():
    """Beyond 25 vehicles a kilometre flows fall off more steeply than any wave would let them."""
    free = [(float(n), 3.6 * LIMIT_MPS * n) for n in range(1, 26)]
    queued = [(25.5 + n / 4, 1200.0 - 100 * n) for n in range(1, 9)]
    (row,) = fundamental_diagrams(fields_of([*free, *queued]), road()).to_dict("records")
    assert not row["capacity_is_lower_bound"]
    assert np.isnan(row["wave_speed_mps"]) and np.isnan(row["wave_speed_se"]) and np.isnan(row["jam_density_veh_km"])
    assert row["free_speed_mps"] == pytest.approx(14.0, rel=0.02)


def at_signal(fields: pd.DataFrame, network) -> pd.Series:
    return fundamental_diagrams(fields, network).set_index("edge").loc["here"]


def test_vehicles_that_wait_for_green_are_no_queue_yet(tmp_path):
    """Cells of a minute in which it was red looked like a queue: demand was given as measured capacity."""
    traffic, network = Traffic(end_s=2400.0), road(signal=True)
    red = [(2 * LENGTH_M - 1.0, start, start + 48.0) for start in np.arange(0.0, 2400.0, 90.0)]
    traffic.file(0, [*every(10.0, until_s=1200.0), *every(7.0, begin_s=1200.0, until_s=2300.0)], holds=red)
    row = at_signal(edie_fields(record(tmp_path, traffic), network), network)
    assert row["capacity_is_lower_bound"] and (row["cells"], row["congested_cells"]) == (8, 0)
    assert row["capacity_veh_h"] == pytest.approx(3600 / 7.0, rel=0.1)


def test_a_queue_that_outlasts_cycles_shows_the_capacity_of_road_and_signal():
    """Minutes of red and green scatter about means of five minutes that lie on a diagram of half the capacity."""
    density = np.r_[np.linspace(5, 17, 14), np.linspace(18, 45, 10)]
    scatter = np.array([0.4, 1.6, 0.9, 0.5, 1.6])
    flow = 0.5 * triangle(density * 2)
    cells = np.column_stack([np.outer(density, scatter[::-1]).ravel(), np.outer(flow, scatter).ravel()])
    network = road(signal=True)
    row = at_signal(fields_of([(k, q) for k, q in cells]), network)
    assert not row["capacity_is_lower_bound"] and row["cells"] == 24
    assert row["capacity_veh_h"] == pytest.approx(0.5 * CAPACITY_VEH_H, rel=0.05)


def test_a_capacity_far_from_all_flows_that_were_carried_is_a_lower_bound():
    """Free flow at a third of the capacity and a dense jam: nothing was seen near where their lines meet."""
    density = np.r_[np.linspace(2, 12, 30), np.linspace(118, 130, 20)]
    points = list(zip(density, triangle(density), strict=True))
    (row,) = fundamental_diagrams(fields_of(points), road()).to_dict("records")
    assert row["congested_cells"] >= 5 and row["capacity_is_lower_bound"] and np.isnan(row["wave_speed_mps"])
    assert row["capacity_veh_h"] == pytest.approx(triangle(np.array(12.0)), rel=0.05)
