"""Incident logs on a network's clock: what is used, what is left out, and why."""

import numpy as np
import pandas as pd
import pytest

from scenariogen.errors import DataError
from scenariogen.incidents.record_clock import RecordClock
from scenariogen.incidents.record_settings import RecordSettings
from scenariogen.incidents.recorded import use_records
from scenariogen.window import StudyWindow
from tests.model.logs import ZONE, events, used
from tests.model.small import WINDOW, two_edges
from tests.support import shared_data

IN_WINDOW = "2024-01-01T00:20"  # second 1200 of a window from 600 to 3300


def clock(**changes) -> RecordClock:
    plain = {
        "zone": ZONE, "clock_s": 0.0, "day_type": "all", "since": np.datetime64("2024-01-01T00:00", "us"),
        "until": np.datetime64("2024-01-15T00:00", "us"), "window": WINDOW,
    }  # fmt: skip
    return RecordClock(**{**plain, **changes})


@pytest.mark.parametrize(("day_type", "days"), [("weekday", 10), ("weekend", 4), ("all", 14)])
def test_days_of_two_weeks_are_told_apart(day_type, days):
    found = clock(day_type=day_type).days()
    assert len(found) == days
    assert found[0] == np.datetime64("2024-01-06" if day_type == "weekend" else "2024-01-01")


def test_every_reason_is_counted_once_and_the_rest_is_used():
    rows = [
        {"start": IN_WINDOW},
        {"start": IN_WINDOW, "kind": "planned_work"},
        {"start": IN_WINDOW, "is_planned": True},
        {"start": IN_WINDOW, "kind": "weather"},
        {"start": IN_WINDOW, "kind": "closure"},
        {"start": IN_WINDOW, "edge": None},
        {"start": IN_WINDOW, "edge": "nowhere"},
        {"start": IN_WINDOW, "location_confidence": 0.2},
        {"start": IN_WINDOW, "location_confidence": np.nan},
        {"start": "2024-01-01T12:00"},
        {"start": "2024-01-06T00:20"},
        {"start": "2025-01-01T00:20"},
        {"start": "2024-01-01T00:22"},
        {"start": "2024-01-02T00:20", "end_is": "observed", "duration_s": 60.0},
        {"start": "2024-01-03T00:20", "kind": "breakdown", "end_is": "observed", "duration_s": 1200.0},
        {"start": "2024-01-04T00:20", "end_is": "planned", "duration_s": 1200.0},
    ]
    found = used(events(rows), two_edges(), day_type="weekday", until="2024-01-12", least_duration_s=300.0,
                 repeat_s=300.0)  # fmt: skip
    assert found.left_out == {
        "planned work": 2,
        "weather": 1,
        "of other kinds": 1,
        "not located": 1,
        "on an edge where no car drives": 1,
        "placed with a confidence under 0.5": 2,
        "outside the window's clock span": 1,
        "of another day type": 1,
        "outside the span that the log covers": 1,
        "repeat one of that kind on that edge": 1,
        "shorter than the least duration": 1,
    }
    assert len(found.table) + sum(found.left_out.values()) == len(rows)
    assert found.table["kind"].tolist() == ["crash", "breakdown", "crash"]
    assert found.table["start_s"].tolist() == [1200.0] * 3 and found.table["day"].tolist() == [0, 2, 3]
    np.testing.assert_equal(found.table["duration_s"].to_numpy(), [np.nan, 1200.0, np.nan])  # planned: nothing is known
    assert any("up to 2 in 5" in remark for remark in found.remarks)
    assert ("crash", "crash", "crash", 12) in found.kinds and ("crash", "weather", "", 1) in found.kinds


def test_the_clock_is_that_of_the_zone_in_winter_and_summer():
    utc = pd.to_datetime(pd.Series(["2024-01-10T06:30", "2024-07-10T05:30"])).dt.tz_localize("UTC")
    table = events([{"start": IN_WINDOW}, {"start": IN_WINDOW}]).assign(start=utc)
    window = StudyWindow(begin_s=0, count_from_s=600, incidents_until_s=3300, end_s=6000, demand_end_s=6000)
    settings = RecordSettings(time_zone=ZONE, clock="07:00", since="2024-01-01", until="2024-12-31")
    found = use_records(table, two_edges(), window, settings)
    assert found.table["start_s"].tolist() == [1800.0, 1800.0]


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins():
    late = clock(clock_s=23 * 3600.0, day_type="weekday", window=StudyWindow(
        begin_s=0, count_from_s=1800, incidents_until_s=7200, end_s=9000, demand_end_s=9000))  # fmt: skip
    day, second = late.place(np.array(["2024-01-05T23:45", "2024-01-06T00:15", "2024-01-06T23:45"], "datetime64[us]"))
    assert day.astype(str).tolist() == ["2024-01-05", "2024-01-05", "2024-01-06"]
    assert second.tolist() == [2700.0, 4500.0, 2700.0]
    assert late.is_counted(day).tolist() == [True, True, False]


def test_partly_covered_days_count_in_part():
    edges = np.array([600.0, 1500.0, 2400.0, 3300.0])
    short = clock(since=np.datetime64("2024-01-01T00:30", "us"), until=np.datetime64("2024-01-03T00:35", "us"))
    days = short.days()
    assert days.astype(str).tolist() == ["2024-01-01", "2024-01-02", "2024-01-03"]
    np.testing.assert_allclose(short.coverage(days, edges), [[0, 2 / 3, 1], [1, 1, 1], [1, 2 / 3, 0]])
    left = short.left_s(days, edges)
    assert left[1, 0] == 86_400 + 2100 - 1050 and left[2, 0] == 1050 and left[2, 1] == 300


def test_days_that_the_trajectories_cover_count_there_alone():
    rows = [{"start": f"2024-01-0{day}T00:20"} for day in (1, 2, 3, 4)]
    settings = RecordSettings(time_zone=ZONE, since="2024-01-01", until="2024-01-05", recorded_from="2024-01-02")
    found = use_records(events(rows), two_edges(), WINDOW, settings, recorded_days=(0, 1))
    assert found.left_out == {"on a day that the trajectories cover": 2}
    assert found.days.astype(str).tolist() == ["2024-01-01", "2024-01-04", "2024-01-05"]
    assert found.table["day"].tolist() == [0, 1]
    undated = use_records(events(rows), two_edges(), WINDOW, RecordSettings(time_zone=ZONE), recorded_days=(0, 1))
    assert any("no dates" in remark for remark in undated.remarks)


def test_in_a_log_of_closed_incidents_an_open_one_contradicts():
    rows = [{"start": IN_WINDOW, "end_is": "last_update", "duration_s": 600.0}, {"start": "2024-01-02T00:20"}]
    found = used(events(rows), two_edges(), closed_only=True, until="2024-01-02T01:20")
    assert found.left_out == {"still open in a log of closed ones": 1}
    assert found.longest_s.tolist() == [3600.0]
    assert np.isinf(used(events(rows), two_edges(), until="2024-01-03").longest_s).all()


def test_everything_wrong_is_said_at_once():
    settings = RecordSettings(clock="7 am", since="yesterday", day_type="monday", closed_only=True, least_confidence=7)
    with pytest.raises(DataError) as caught:
        use_records(events([{"start": IN_WINDOW, "edge": None, "kind": "weather"}]), two_edges(), WINDOW, settings)
    said = "\n".join(caught.value.problems)
    for word in ("--time-zone", "--clock", "--records-from", "day type", "--records-until", "confidence", "match",
                 "none of the 1 records"):  # fmt: skip
        assert word in said
    assert len(caught.value.problems) == 8


def test_the_file_names_the_zone_unless_it_is_given():
    table = events([{"start": IN_WINDOW}, {"start": "2024-01-02T00:20"}])
    assert use_records(table, two_edges(), WINDOW, RecordSettings(), default_zone=ZONE).clock.zone == ZONE
    with pytest.raises(DataError, match="'Atlantis/Main' is unknown"):
        use_records(table, two_edges(), WINDOW, RecordSettings(time_zone="Atlantis/Main"), default_zone=ZONE)


def test_a_real_log_is_accounted_for_record_by_record(tmp_path):
    """No network here covers it, so its unplanned incidents are put on one edge: time, kinds and lanes are real."""
    from scenariogen.incidents.event_files import event_account, read_events
    from scenariogen.incidents.files import convert_file
    from scenariogen.model.lane_evidence import lane_evidence
    from scenariogen.model.options import NEVER, lane_options

    source = shared_data("incidents", "az511", "az511_incidents_to_2025-08-20.csv.gz")
    convert_file(source, out=tmp_path / "log.parquet", time_zone="America/Phoenix")
    zone = str(event_account(tmp_path / "log.parquet").facts["time zone"])
    table = read_events(tmp_path / "log.parquet").to_pandas().assign(edge="first", location_confidence=0.9)
    window = StudyWindow(begin_s=0, count_from_s=6 * 3600, incidents_until_s=22 * 3600, end_s=86400, demand_end_s=86400)
    network = two_edges()
    found = use_records(table, network, window, RecordSettings(day_type="all"), default_zone=zone)
    assert len(found.table) + sum(found.left_out.values()) == len(table) == 8648
    assert len(found.table) > 1000 and found.clock.zone == "America/Phoenix"
    assert sum(count for *_, count in found.kinds) == len(table)
    assert found.table["day"].is_monotonic_increasing and found.table["day"].max() < len(found.days)
    options = lane_options(network)
    possible = (lane_evidence(found.table, network, options) > NEVER).sum(1)
    assert (possible > 0).all() and (possible < options.allowed[0].sum()).any()


def test_a_log_without_an_incident_here_is_an_observation_where_its_span_is_known():
    planned = [{"start": IN_WINDOW, "kind": "planned_work", "is_planned": True}]
    span = {"time_zone": ZONE, "since": "2024-01-01", "until": "2024-01-12"}
    for rows in (events(planned).iloc[:0], events(planned)):  # nothing could be put on this network, or nothing counts
        found = use_records(rows, two_edges(), WINDOW, RecordSettings(**span))
        assert len(found.table) == 0 and len(found.days) == 10 and sum(found.left_out.values()) == len(rows)
    with pytest.raises(DataError, match="--records-from and --records-until"):
        use_records(events(planned), two_edges(), WINDOW, RecordSettings(time_zone=ZONE))
    with pytest.raises(DataError, match="put them on the network first"):
        use_records(events([{"start": IN_WINDOW, "edge": None}]), two_edges(), WINDOW, RecordSettings(**span))
