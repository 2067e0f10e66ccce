"""Exposure against closed forms."""

from datetime import date

import numpy as np
import pytest

from scenariogen.errors import DataError
from scenariogen.incidents.exposure import Exposure, exposure
from scenariogen.incidents.recorded_days import DayTypes
from scenariogen.window import StudyWindow
from tests.trajectories.handmade import LENGTH_M, Traffic, every, record, road


def window(count_from_s: float = 200.0, incidents_until_s: float = 500.0) -> StudyWindow:
    return StudyWindow(
        begin_s=0, count_from_s=count_from_s, incidents_until_s=incidents_until_s, end_s=600, demand_end_s=600
    )


def steady(headway_s: float) -> Traffic:
    traffic = Traffic(end_s=600)
    traffic.file(0, every(headway_s, until_s=600))
    return traffic


def test_steady_traffic_covers_flow_times_length(tmp_path):
    got = exposure(record(tmp_path, steady(10.0)), road(), window(), cell_s=100)
    assert got.edge_ids == ("before", "here", "after")
    assert got.cell_edges_s.tolist() == [200, 300, 400, 500]
    np.testing.assert_allclose(got.vehicle_km, 10 * LENGTH_M / 1000, rtol=0.02)
    assert np.isnan(got.standard_error).all() and got.days == (0,)
    assert got.total_km == pytest.approx(3 * 3 * 5, rel=0.02)


@pytest.mark.parametrize(("count_from_s", "until_s"), [(205.0, 490.0), (200.5, 333.25), (217.0, 219.0)])
def test_crooked_windows_keep_the_total(tmp_path, count_from_s, until_s):
    got = exposure(record(tmp_path, steady(10.0)), road(), window(count_from_s, until_s), cell_s=60)
    assert got.cell_edges_s[0] == count_from_s and got.cell_edges_s[-1] == until_s
    assert (got.cell_s > 0).all() and (got.cell_s <= 60 + 1e-9).all()
    # One second is the finest resolution of crooked borders.
    expected_km = (until_s - count_from_s) / 10 * 3 * LENGTH_M / 1000
    assert got.total_km == pytest.approx(expected_km, rel=0.03, abs=2 / 10 * 1.5)


def test_mean_and_standard_error_over_days(tmp_path):
    days = [steady(10.0), steady(20.0), steady(10.0)]
    got = exposure(record(tmp_path, *days), road(), window(), cell_s=300)
    per_day = np.array([15.0, 7.5, 15.0])  # km on one edge: 300 s / headway · 0.5 km
    np.testing.assert_allclose(got.vehicle_km, per_day.mean(), rtol=0.02)
    np.testing.assert_allclose(got.standard_error, per_day.std(ddof=1) / np.sqrt(3), rtol=0.05)
    np.testing.assert_allclose(got.day_totals_km, 3 * per_day, rtol=0.02)
    assert repr(got).endswith("vehicle-km a day on 3 edges, 1 cells, 3 days)")


def test_the_mean_day_is_of_the_first_day_type_and_other_days_are_worth_their_traffic(tmp_path):
    """Days 0 and 2 are a Friday and a Sunday, day 1 a Saturday; the Friday has 45 km on three edges."""
    recording = record(tmp_path, steady(10.0), steady(20.0), steady(30.0))
    friday = date(2024, 3, 1)
    both = DayTypes(wanted=("weekday", "weekend"), first_date=friday)
    got = exposure(recording, road(), window(), cell_s=300, day_types=both)
    assert got.total_km == pytest.approx(45, rel=0.02) and got.days == (0, 1, 2)
    assert got.days_worth == pytest.approx(1 + 1 / 2 + 1 / 3, rel=0.02)
    assert got.traffic["weekend"] == pytest.approx((1 / 2 + 1 / 3) / 2, rel=0.03) and got.traffic["weekday"] == 1
    alone = DayTypes(wanted=("weekend",), first_date=friday)
    got = exposure(recording, road(), window(), cell_s=300, day_types=alone)
    assert got.total_km == pytest.approx((22.5 + 15) / 2, rel=0.02) and got.days == (1, 2)
    assert got.days_worth == pytest.approx(2)
    with pytest.raises(DataError, match="none of the 1 recorded days is a weekend"):
        exposure(record(tmp_path / "one", steady(10.0)), road(), window(), day_types=alone)


def test_edges_and_days_without_traffic_count_as_zero(tmp_path):
    standing = Traffic(end_s=600)
    standing.stand(0, 700.0, 0.0, 600.0)
    got = exposure(record(tmp_path, standing, steady(10.0)), road(), window(), cell_s=300)
    np.testing.assert_allclose(got.vehicle_km, 7.5, rtol=0.02)
    assert got.day_totals_km[0] == 0


def test_cell_length_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="expected a positive"):
        exposure(record(tmp_path, steady(10.0)), road(), window(), cell_s=-1)


def test_shapes_are_checked():
    with pytest.raises(ValueError, match="expected \\(1, 2\\)"):
        Exposure(
            edge_ids=("a",),
            cell_edges_s=np.array([0.0, 1.0, 2.0]),
            vehicle_km=np.zeros((1, 3)),
            standard_error=np.zeros((1, 2)),
            days=(0,),
            day_totals_km=np.zeros(1),
        )
