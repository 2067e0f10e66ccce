"""Vehicle-kilometres from counts against closed forms, and what becomes of gaps."""

import gzip
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from scenariogen.errors import DataError
from scenariogen.incidents.exposure_counts import exposure_from_counts
from scenariogen.network import RoadClass
from scenariogen.window import StudyWindow
from tests.model.small import edge, two_edges

WINDOW = StudyWindow(begin_s=0, count_from_s=600, incidents_until_s=1800, end_s=3600, demand_end_s=3600)
CELLS = [600.0, 900.0, 1200.0, 1500.0, 1800.0]


def counts(tmp_path, rows, columns=("edge", "begin", "end", "count"), name="counts.csv"):
    path = tmp_path / name
    table = pd.DataFrame(rows, columns=list(columns))
    table.to_parquet(path) if name.endswith("parquet") else table.to_csv(path, index=False)
    return path


def streets():
    """Five streets of 1 to 5 km, the last of two lanes, and one motorway."""
    made = [edge(f"s{n}", 2 if n == 5 else 1, 1000.0 * n, RoadClass.STREET) for n in range(1, 6)]
    every = [*made, edge("m", 3, 2000.0, RoadClass.MOTORWAY)]
    return replace(two_edges(), edges={each.id: each for each in every})


@pytest.mark.parametrize("name", ["counts.csv", "counts.parquet"])
def test_a_count_times_the_length_spread_over_the_cells(tmp_path, name):
    rows = [("first", 0, 3600, 120), ("second", 600, 1200, 40), ("second", 1200, 1800, 20)]
    got = exposure_from_counts(counts(tmp_path, rows, name=name), two_edges(), WINDOW)
    assert got.source == "counts" and got.cell_edges_s.tolist() == CELLS and got.estimated == ()
    np.testing.assert_allclose(got.vehicle_km[0], 120 / 12 * 0.8)
    np.testing.assert_allclose(got.vehicle_km[1], [6.0, 6.0, 3.0, 3.0])
    assert got.total_km == pytest.approx(4 * 8 + 18) and got.total_error_km == 0 and got.remarks == ()


def test_columns_are_mapped_with_their_units_and_days_are_averaged(tmp_path):
    rows = [("first", 10, 30, 100, "mo"), ("second", 10, 30, 10, "mo"), ("first", 10, 30, 300, "tu"),
            ("second", 10, 30, 10, "tu")]  # fmt: skip
    file = counts(tmp_path, rows, ("link", "from", "to", "n", "date"))
    mapping = ("edge=link", "begin=from:min", "end=to:min", "count=n", "day=date")
    got = exposure_from_counts(file, two_edges(), WINDOW, mapping=mapping)
    np.testing.assert_allclose(got.vehicle_km[0], 200 / 4 * 0.8)
    np.testing.assert_allclose(got.day_totals_km, [100 * 0.8 + 3, 300 * 0.8 + 3])
    assert got.days == (0, 1)


@pytest.mark.parametrize("name", ["data.xml", "data.xml.gz"])
def test_edge_data_of_sumo(tmp_path, name):
    text = """<meandata><interval begin="0.00" end="1800.00" id="a">
    <edge id="first" sampledSeconds="900.00" speed="20.00" entered="30" left="30"/>
    <edge id=":node_0" sampledSeconds="9" speed="9"/><edge id="second" sampledSeconds="0.00"/></interval></meandata>"""
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    got = exposure_from_counts(path, two_edges(), WINDOW)
    np.testing.assert_allclose(got.vehicle_km[0], 900 * 20 / 1000 / 6)
    assert got.vehicle_km[1].sum() == 0 and got.estimated == ()  # seen, and empty: that is a count


def test_uncounted_edges_are_estimated_by_class_and_said_never_zero(tmp_path):
    """Streets carry 100 and 300 vehicles: weighted by lane-km 1 and 3, a mean of 250 for each lane."""
    rows = [("s1", 600, 1800, 100), ("s3", 600, 1800, 300), ("m", 600, 1800, 4000)]
    network = streets()
    got = exposure_from_counts(counts(tmp_path, rows), network, WINDOW)
    assert got.estimated == ("s2", "s4", "s5")
    for name, size_km in (("s2", 2), ("s4", 4), ("s5", 10)):
        np.testing.assert_allclose(got.vehicle_km[network.edge_index[name]], 250 * size_km / 4)
    assert got.vehicle_km[network.edge_index["m"]].sum() == pytest.approx(8000)
    spread = np.sqrt(2 * (0.25 * 150**2 + 0.75 * 50**2))
    np.testing.assert_allclose(got.standard_error[network.edge_index["s2"]], spread * 2 / 4)
    apart = (spread * np.array([2, 4, 10])) ** 2
    assert got.total_error_km == pytest.approx(np.sqrt(apart.sum() + (spread * 16) ** 2 / 2))
    assert got.estimated_share == pytest.approx(16 * 250 / (16 * 250 + 1000 + 8000))
    assert "3 street edges lack counts" in got.remarks[0]
    assert f"+/- {100 * spread / 250:.0f} %" in got.remarks[0]


def test_a_class_without_any_count_takes_all_that_is_counted_and_says_so(tmp_path):
    got = exposure_from_counts(counts(tmp_path, [("m", 600, 1800, 300)]), streets(), WINDOW)
    assert "no edge of its class has counts" in got.remarks[0]
    assert (got.vehicle_km > 0).all() and (got.standard_error[:5] >= got.vehicle_km[:5] - 1e-9).all()


def test_times_without_a_count_are_estimated_too_and_part_of_a_cell_stands_for_it(tmp_path):
    rows = [("s1", 600, 750, 10), ("s1", 900, 1800, 60)] + [(f"s{n}", 600, 1200, 40) for n in range(2, 6)]
    got = exposure_from_counts(counts(tmp_path, [*rows, ("m", 600, 1800, 4000)]), streets(), WINDOW)
    np.testing.assert_allclose(got.vehicle_km[0], 20.0)
    assert got.estimated == ("s2", "s3", "s4", "s5")
    np.testing.assert_allclose(got.vehicle_km[1, 2:], 40.0)  # as many vehicles as on s1, over 2 km


def test_gaps_may_be_refused(tmp_path):
    with pytest.raises(DataError, match="4 of 6 driving edges lack counts"):
        file = counts(tmp_path, [("s1", 600, 1800, 100), ("m", 600, 1800, 10)])
        exposure_from_counts(file, streets(), WINDOW, counted_only=True)


@pytest.mark.parametrize(
    ("rows", "columns", "says"),
    [
        ([("first", 0, 10, 1)], ("edge", "from", "to", "count"), ["begin is missing", "end is missing"]),
        ([("first", 600, 600, 1), ("nowhere", 0, 9, 1), ("second", 600, 900, -1), ("second", 900, 1000, "many")],
         ("edge", "begin", "end", "count"),
         ["nowhere", "do not end after", "negative number", "have no number"]),
        ([("first", 600, 1200, 1), ("first", 900, 1500, 1)], ("edge", "begin", "end", "count"), ["overlap"]),
        ([("first", 2000, 3000, 1)], ("edge", "begin", "end", "count"), ["no count on a driving edge between"]),
    ],
)  # fmt: skip
def test_everything_wrong_with_counts_is_said_at_once(tmp_path, rows, columns, says):
    with pytest.raises(DataError) as caught:
        exposure_from_counts(counts(tmp_path, rows, columns), two_edges(), WINDOW)
    assert len(caught.value.problems) == len(says)
    for word in says:
        assert word in caught.value.text()


def test_files_that_are_no_counts(tmp_path):
    (tmp_path / "broken.xml").write_text("<meandata><interval", encoding="utf-8")
    (tmp_path / "empty.xml").write_text("<meandata/>", encoding="utf-8")
    for name, says in (("broken.xml", "cannot be read"), ("empty.xml", "holds no edge"), ("none.csv", "do not exist")):
        with pytest.raises(DataError, match=says):
            exposure_from_counts(tmp_path / name, two_edges(), WINDOW)
