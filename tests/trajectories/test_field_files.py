"""Fields and diagrams as files: whole or not at all, with what they were made from."""

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest

from scenariogen.errors import DataError
from scenariogen.trajectories.field_files import METADATA_KEY, write_fields
from scenariogen.trajectories.fields import edie_fields
from tests.trajectories.handmade import LENGTH_M, LIMIT_MPS, Traffic, every, record, road


@pytest.fixture
def traffic(tmp_path):
    made = Traffic(end_s=1800.0)
    made.file(0, every(6.0, until_s=1700.0))
    return record(tmp_path, made)


def test_the_file_holds_the_fields_and_says_how_they_were_made(traffic, tmp_path):
    out = tmp_path / "new" / "fields.parquet"
    summary, fitted = write_fields(traffic, road(), out, cell_s=120.0)
    pd.testing.assert_frame_equal(pd.read_parquet(out), edie_fields(traffic, road(), cell_s=120.0), check_dtype=False)
    note = json.loads(pq.read_schema(out).metadata[METADATA_KEY])
    assert note == {"cell_s": 120.0, "by_lane": False, "period_s": 2.0, "network": "road.net.xml"}
    assert fitted is None
    assert (summary.edges, summary.of_edges, summary.days) == (3, 3, 1)
    arrivals = len(every(6.0, until_s=1700.0))
    assert summary.vehicle_km == pytest.approx(arrivals * 3 * LENGTH_M / 1000, rel=0.02)
    assert 1000 * summary.vehicle_km / (3600 * summary.vehicle_h) == pytest.approx(LIMIT_MPS, rel=0.02)


@pytest.mark.parametrize("by_lane", [False, True])
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_diagrams_go_beside_them_whether_lanes_are_apart_or_not(traffic, tmp_path, by_lane: bool, suffix: str):
    out, diagrams = tmp_path / "fields.parquet", tmp_path / f"diagrams.{suffix}"
    _, fitted = write_fields(traffic, road(), out, by_lane=by_lane, diagrams=diagrams)
    assert fitted is not None and list(fitted["edge"]) == ["before", "here", "after"]
    assert ("lane" in pd.read_parquet(out)) == by_lane
    read = pd.read_csv(diagrams) if suffix == "csv" else pd.read_parquet(diagrams)
    pd.testing.assert_frame_equal(read, fitted, check_dtype=False)


@pytest.mark.parametrize(
    ("cell_s", "says"),
    [(0.0, "expected 1 s to a day"), (float("nan"), "expected 1 s to a day"), (600.0, "no edge has")],
)
def test_what_cannot_be_made_leaves_no_file(traffic, tmp_path, cell_s: float, says: str):
    out, diagrams = tmp_path / "fields.parquet", tmp_path / "diagrams.csv"
    with pytest.raises(DataError, match=says):
        write_fields(traffic, road(), out, cell_s=cell_s, diagrams=diagrams)
    assert not out.exists() and not diagrams.exists()


def test_edges_seen_in_part_are_named(tmp_path):
    made = Traffic(end_s=600.0, period_s=1.0)
    made.file(0, every(6.0, until_s=500.0))
    made.parts = [rows[rows["x"] > 700.0] for rows in made.parts]
    summary, _ = write_fields(record(tmp_path, made), road(), tmp_path / "fields.parquet")
    assert summary.part_edges == pytest.approx({"here": 300.0}, abs=LIMIT_MPS)
    assert summary.lines()[-1].startswith("1 edge was seen in part") and "here (" in summary.lines()[-1]


def test_of_edges_seen_whole_nothing_is_said(traffic, tmp_path):
    summary, _ = write_fields(traffic, road(), tmp_path / "fields.parquet")
    assert summary.part_edges == {} and len(summary.lines()) == 2
