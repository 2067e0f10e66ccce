"""What is read to fit a model: incidents and traffic must be of the same days."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from scenariogen.errors import DataError
from scenariogen.incidents.evidence import EvidenceFiles, read_evidence
from scenariogen.incidents.recorded_days import DayTypes
from scenariogen.window import StudyWindow
from tests.trajectories.handmade import Traffic, every, record, road

WINDOW = StudyWindow(begin_s=0, count_from_s=200.0, incidents_until_s=500.0, end_s=600, demand_end_s=600)


def steady(headway_s: float) -> Traffic:
    traffic = Traffic(end_s=600)
    traffic.file(0, every(headway_s, until_s=600))
    return traffic


def files(tmp_path, days: list[int]) -> EvidenceFiles:
    """Four recorded days from a Thursday, the last two of half the traffic, and an incident on each of ``days``."""
    recording = record(tmp_path, steady(10.0), steady(10.0), steady(20.0), steady(20.0))
    count = len(days)
    table = pd.DataFrame(
        {
            "day": days,
            "edge": "here",
            "start_s": 300.0 + np.arange(count),
            "position_m": 50.0,
            "kind": "crash",
            "lanes": [[0]] * count,
            "duration_s": 900.0,
            "duration_is_censored": False,
            "capacity_left": 0.5,
            "capacity_left_se": 0.1,
            "capacity_left_is_lower_bound": False,
            "confidence": 0.9,
        }
    )
    table.to_parquet(tmp_path / "incidents.parquet")
    return EvidenceFiles(incidents=tmp_path / "incidents.parquet", trajectories=recording.path)


def test_incidents_of_days_that_nobody_recorded_are_refused(tmp_path):
    for days in ([0, 20, 49], [-1, 0]):
        with pytest.raises(DataError, match="on days that the trajectories do not have"):
            read_evidence(files(tmp_path, days), road(), WINDOW)


def test_days_of_another_type_count_neither_with_their_traffic_nor_with_their_incidents(tmp_path):
    types = DayTypes(first_date=date(2024, 2, 29))
    found = read_evidence(files(tmp_path, [0, 1, 2, 3, 3]), road(), WINDOW, day_types=types)
    assert found.days == 2 and found.days_worth == pytest.approx(2)
    assert found.observed["day"].tolist() == [0, 1]
    assert found.left_out == {"on a recorded day that is no weekday": 3}
    assert found.exposure.total_km == pytest.approx(45, rel=0.02)


def test_weekends_count_with_the_traffic_that_they_have(tmp_path):
    types = DayTypes(wanted=("weekday", "weekend"), first_date=date(2024, 2, 29))
    found = read_evidence(files(tmp_path, [0, 2, 3]), road(), WINDOW, day_types=types)
    assert found.days == 4 and found.left_out == {} and found.observed["day"].tolist() == [0, 2, 3]
    assert found.days_worth == pytest.approx(3, rel=0.02)
    assert found.exposure.total_km == pytest.approx(45, rel=0.02)
