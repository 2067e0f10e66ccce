"""Flows by entry and day, against rows made by hand."""

import numpy as np
import pandas as pd
import pytest

from scenariogen.errors import DataError
from scenariogen.trajectories.entries import OTHERS, entry_flows, read_entry_counts
from scenariogen.trajectories.records import open_trajectories


def rows(day: int, vehicle: str, *way: tuple[str, float]) -> list[dict]:
    return [
        {
            "day": day,
            "time_s": time_s,
            "vehicle": vehicle,
            "edge": edge,
            "lane": 0,
            "position_m": 1.0,
            "speed_mps": 5.0,
            "x_m": 0.0,
            "y_m": 0.0,
        }
        for edge, time_s in way
    ]


@pytest.fixture
def recorded(tmp_path):
    """Two days: on each one vehicle that is there from the first second, then entries at a and b."""
    table = []
    for day in (0, 1):
        table += rows(day, "early", ("c", 0.0), ("c", 2.0), ("c", 100.0))
        table += rows(day, "first", ("a", 10.0), (":a_0", 12.0), ("c", 14.0))
        table += rows(day, "second", (":x_0", 20.0), ("b", 22.0), ("c", 60.0))
    table += rows(1, "third", ("a", 70.0), ("d", 80.0))
    frame = pd.DataFrame(table).sort_values(["day", "time_s"], ignore_index=True)
    frame = frame.astype({"day": "int32", "lane": "int16", "position_m": "float32", "speed_mps": "float32"})
    file = tmp_path / "trajectories.parquet"
    frame.to_parquet(file, index=False)
    return open_trajectories(file)


def test_vehicles_are_counted_where_and_when_they_are_first_seen(recorded):
    flows = entry_flows(recorded, cell_s=50.0)
    assert flows.entries == ("a", "b") and flows.days == (0, 1)
    assert flows.counts[:, :, 0].tolist() == [[1, 1], [1, 1]]
    assert flows.counts[:, :, 1].tolist() == [[0, 0], [1, 0]]
    assert flows.cell_edges_s.tolist() == [0, 50, 100]


def test_edges_used_belong_to_the_entry_of_their_vehicles(recorded):
    flows = entry_flows(recorded)
    used = dict(zip(flows.edges, flows.ways[1, 0], strict=True))
    assert used == {"a": 2, "b": 0, "c": 1, "d": 1}
    assert dict(zip(flows.edges, flows.by_edge[0], strict=True)) == {"a": 1, "b": 1, "c": 2, "d": 0}


def test_days_may_be_left_out_and_the_span_cut(recorded):
    assert entry_flows(recorded, without=[0]).days == (1,)
    assert entry_flows(recorded, from_s=15.0).by_day.tolist() == [[0, 1], [1, 1]]
    with pytest.raises(DataError, match="share the span"):
        entry_flows(recorded, from_s=500.0)


def test_small_entries_are_pooled_and_none_is_lost(recorded):
    flows = entry_flows(recorded)
    pooled = flows.pooled(least_per_day=1.5)
    assert pooled.entries == ("a", OTHERS)
    assert pooled.by_day.tolist() == [[1, 1], [2, 1]]
    assert np.array_equal(pooled.by_edge, flows.by_edge)
    assert flows.pooled(least_per_day=0.0).entries == ("a", "b")


def test_a_table_of_counts_is_read(tmp_path):
    path = tmp_path / "counts.csv"
    path.write_text("day,edge,time_s,vehicles\n0,a,0,5\n0,a,900,6\n1,a,0,7\n1,b,900,2\n")
    flows = read_entry_counts(path)
    assert flows.by_day.tolist() == [[11, 0], [7, 2]]
    assert np.array_equal(flows.by_edge, flows.by_day)


def test_every_fault_of_a_table_of_counts_is_listed(tmp_path):
    path = tmp_path / "counts.csv"
    path.write_text("day,edge,time_s,vehicles\n0,a,soon,5\n0.5,a,0,-6\n")
    with pytest.raises(DataError) as caught:
        read_entry_counts(path)
    for part in ("row 1: time_s", "fewer than 0", "whole numbers"):
        assert part in str(caught.value)
    path.write_text("day,edge\n0,a\n")
    with pytest.raises(DataError, match=r"time_s is missing"):
        read_entry_counts(path)
