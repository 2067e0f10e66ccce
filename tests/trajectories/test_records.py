"""Opening trajectories: what is read, and what is said about files that cannot be."""

import gzip
import json
import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scenariogen.errors import DataError
from scenariogen.trajectories import columns
from scenariogen.trajectories.checks_units import UnitsWarning
from scenariogen.trajectories.fields import edie_fields
from scenariogen.trajectories.records import Trajectories, open_trajectories
from scenariogen.trajectories.tracks import NOT_SEEN, load_day
from tests.trajectories.handmade import Traffic, every, record, road, write


def quiet(end_s: float = 200.0, headway_s: float = 8.0) -> Traffic:
    traffic = Traffic(end_s=end_s)
    traffic.file(0, every(headway_s, until_s=end_s - 20))
    return traffic


def problems_of(path, network=None) -> list[str]:
    with pytest.raises(DataError) as caught:
        open_trajectories(path, network)
    return list(caught.value.problems)


def only_problem(path, network=None) -> str:
    (problem,) = problems_of(path, network)
    return problem


def save(folder, table: pd.DataFrame, **arrow):
    path = folder / "some.parquet"
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path, **arrow)
    return path


def test_recording_says_what_it_is(tmp_path):
    opened = record(tmp_path / "history", quiet(), quiet(240.0))
    assert opened.days == (0, 1) and opened.period_s == 2
    assert (opened.begin_s, opened.end_s) == (0, 240)
    assert opened.rows == sum(span.rows for span in opened.spans)
    assert opened.recorded_h == pytest.approx(440 / 3600)
    assert repr(opened).startswith("Trajectories(history: 2 days, 00:00-00:04, ")


def test_folder_and_file_are_the_same_trajectories(tmp_path):
    folder = write(tmp_path / "h", quiet().table(), header=json.dumps({"network_hash": "0" * 64, "seed": 3}))
    both = open_trajectories(folder, road()), open_trajectories(folder / columns.TRAJECTORIES_FILE, road())
    assert both[0].spans == both[1].spans
    assert both[0].network_hash == "0" * 64 and both[1].network_hash == ""
    assert both[0].header["seed"] == 3


def test_record_survives_pickling(tmp_path):
    opened = record(tmp_path, quiet())
    assert pickle.loads(pickle.dumps(opened)) == opened


def test_query_sees_the_rows_and_tables_given_by_name(tmp_path):
    opened = record(tmp_path, quiet())
    wanted = pd.DataFrame({"edge": ["here"]})
    answer = opened.query("SELECT count(*) AS n FROM trajectories JOIN wanted USING (edge)", wanted=wanted)
    assert 0 < answer.loc[0, "n"] < opened.rows


def test_queries_draw_no_bar_on_standard_output(tmp_path):
    """DuckDB draws one for queries of over two seconds: 12 million rows broke ``detect --json``, small tests never."""
    opened = record(tmp_path, quiet())
    assert not opened.query("SELECT current_setting('enable_progress_bar') AS shown").loc[0, "shown"]


def test_day_is_loaded_sorted_by_vehicle_with_junctions_apart(tmp_path):
    table = quiet().table()
    inside = (table[columns.EDGE] == "here") & (table[columns.POSITION] < 60)
    table.loc[inside, columns.EDGE] = ":n1_0"
    tracks = load_day(open_trajectories(write(tmp_path, table)), road(), 0)
    assert len(tracks.vehicle) == len(table)
    assert tracks.internals == (":n1_0",)
    assert (np.diff(tracks.vehicle) >= 0).all()
    same = tracks.vehicle[1:] == tracks.vehicle[:-1]
    assert (np.diff(tracks.time_s)[same] > 0).all()
    assert (tracks.edge < 0).sum() == inside.sum()
    assert len(tracks.on_edge(0)) == (table[columns.EDGE] == "before").sum()
    assert tracks.leads_inside(0).tolist() == [-1]
    for edge, following in ((0, 1), (-1, 1), (1, 2), (2, NOT_SEEN)):
        rows = tracks.on_edge(edge)
        last_s = tracks.time_s[rows] >= tracks.end_s - 60.0  # who had not come further when the day ended
        assert set(tracks.next_edge[rows[~last_s]]) == {following}


@pytest.mark.parametrize("name", columns.REQUIRED)
def test_missing_column_is_named(tmp_path, name):
    path = save(tmp_path, quiet().table().drop(columns=[name, "x_m", "y_m"]))
    assert f"columns {name} are missing" in only_problem(path)


def test_coordinates_alone_can_be_opened_but_not_laid_on_edges(tmp_path):
    """A table without edges used to be refused at once; now what needs edges says what to do."""
    opened = open_trajectories(save(tmp_path, quiet().table().drop(columns=["edge", "lane", "position_m"])))
    assert opened.places == (columns.Place.PLANE,)
    with pytest.raises(DataError, match="by plane, but not by edge; put them on a network first: scenariogen match"):
        edie_fields(opened, road())


def test_coordinates_may_be_missing(tmp_path):
    path = save(tmp_path, quiet().table().drop(columns=["x_m", "y_m"]))
    assert isinstance(open_trajectories(path, road()), Trajectories)


def test_columns_of_the_wrong_kind_are_all_named(tmp_path):
    table = quiet().table().assign(speed_mps="fast", edge=3)
    problems = problems_of(save(tmp_path, table))
    assert problems == ["column speed_mps is varchar, expected a number", "column edge is bigint, expected text"]


@pytest.mark.parametrize(
    ("column", "factor", "said"),
    [
        ("speed_mps", 3.6, "speed_mps looks like km/h"),
        ("speed_mps", 1 / 0.44704, "speed_mps looks like miles per hour"),
        ("speed_mps", 1 / 0.3048, "speed_mps looks like feet per second"),
        ("position_m", 1 / 0.3048, "position_m looks like feet"),
    ],
)
def test_other_units_are_recognised(tmp_path, column, factor, said):
    table = quiet().table()
    table[column] *= factor
    assert said in only_problem(save(tmp_path, table))


def test_units_mixed_between_vehicles_are_found(tmp_path):
    table = quiet(400.0).table()
    some = table["vehicle"].isin(sorted(set(table["vehicle"]))[:12])
    table.loc[some, "speed_mps"] *= 3.6
    problem = only_problem(save(tmp_path, table))
    assert "units are mixed" in problem and "12 move 0.28 times as far" in problem


def stop_and_go(period_s: float) -> pd.DataFrame:
    """Each vehicle drives for 10 s at 14 m/s and then stands for 9 to 15 s, again and again."""
    traffic = Traffic(end_s=600.0)
    for number in range(120):
        first_s, cycle_s = 3.7 * number, 19.0 + number % 7
        times = np.arange(np.ceil(first_s / period_s) * period_s, 600.0, period_s)
        lap, phase_s = np.divmod(times - first_s, cycle_s)
        x = 140.0 * lap + 14.0 * np.minimum(phase_s, 10.0)
        rows = pd.DataFrame({"time_s": times, "vehicle": f"v{number}", "lane": 0, "x": x})
        traffic.add_rows(rows.assign(speed_mps=np.where(phase_s < 10.0, 14.0, 0.0))[x < 1499.0])
    return traffic.table()


@pytest.mark.parametrize("period_s", [15.0, 20.0, 30.0])
def test_samples_between_which_vehicles_stop_and_go_say_nothing_of_units(tmp_path, period_s):
    """The mean of two speeds was taken for the speed between them: metres and m/s were refused as mixed units."""
    path = save(tmp_path, stop_and_go(period_s))
    with pytest.warns(UnitsWarning, match=f"cannot be told from samples {period_s:g} s apart"):
        assert open_trajectories(path, road()).period_s == period_s


def test_vehicles_that_come_to_an_edge_again_are_no_mixture_of_units(tmp_path, recwarn):
    """Positions that went back between two samples counted as negative metres driven."""
    table = quiet(400.0).table()
    some = table["vehicle"].isin(sorted(set(table["vehicle"]))[:12])
    table.loc[some, "edge"] = "here"  # its start is reached three times, without a sample anywhere else
    assert open_trajectories(save(tmp_path, table), road()).rows == len(table)
    assert not [each for each in recwarn if each.category is UnitsWarning]


def test_rough_positions_are_no_mixture_of_units(tmp_path):
    """Twelve vehicles move between a half and two thirds as far as they should: no unit does that."""
    table = quiet(400.0).table()
    for number, vehicle in enumerate(sorted(set(table["vehicle"]))[:12]):
        table.loc[table["vehicle"] == vehicle, "position_m"] *= 0.52 + 0.012 * number
    with pytest.warns(UnitsWarning, match=r"12 move 0\.59 times as far .* no factor between units"):
        open_trajectories(save(tmp_path, table), road())


def test_a_file_with_many_vehicles_at_each_time_has_a_period(tmp_path):
    """The first 50,000 rows were one time step: no vehicle seemed to have two samples."""
    times = np.repeat([0.0, 10.0, 20.0], 60_000)
    vehicle = np.tile([f"v{number}" for number in range(60_000)], 3)
    rows = {"time_s": times, "vehicle": vehicle, "edge": "here", "lane": 0, "position_m": times, "speed_mps": 1.0}
    assert open_trajectories(save(tmp_path, pd.DataFrame(rows).assign(day=0))).period_s == 10


def test_times_that_go_back_are_found_across_row_groups(tmp_path):
    table = quiet().table()
    turned = pd.concat([table[table["time_s"] > 100], table[table["time_s"] <= 100]])
    path = save(tmp_path, turned, row_group_size=500)
    assert "time goes back from day 0, 200 s to day 0, 0 s" in only_problem(path)


def test_unusable_values_are_counted_each_kind_on_its_line(tmp_path):
    table = quiet().table()
    table.loc[3, "speed_mps"] = np.nan
    table.loc[4:6, "position_m"] = -30.0
    table.loc[7, "speed_mps"] = 400.0
    table.loc[8, "lane"] = -1
    problems = problems_of(save(tmp_path, table))
    assert [line.split(" rows ")[0] for line in problems[:4]] == ["3", "1", "1", "1"]


def test_what_conversion_has_marked_does_not_stand_in_the_way(tmp_path):
    """A vehicle seen once has no speed: three of 64,000 rows kept a matched recording from being opened."""
    table = quiet().table().assign(motion_flags=0)
    table.loc[3, "speed_mps"] = np.nan
    table.loc[7, ["speed_mps", "motion_flags"]] = 400.0, 1
    assert open_trajectories(save(tmp_path, table), road()).rows == len(table)


def test_doubled_rows_are_found(tmp_path):
    table = quiet().table()
    doubled = pd.concat([table, table.iloc[100:140]]).sort_values(["day", "time_s"], kind="stable")
    assert "40 rows or more repeat a vehicle at the same second" in only_problem(save(tmp_path, doubled))


def test_unknown_edges_lanes_and_positions_are_told_with_a_network(tmp_path):
    table = quiet().table()
    table["edge"] = table["edge"].replace({"after": "afterr"})
    table.loc[table["edge"] == "before", "lane"] = 2
    table.loc[table["edge"] == "here", "position_m"] += 30.0
    problems = problems_of(save(tmp_path, table), road())
    assert "1 of 3 edges are unknown" in problems[0] and "near it: after" in problems[0]
    assert "lane 2 is used on edge 'before', which has 1 lanes" in problems[1]
    assert "on edge 'here', which is 500.0 m long" in problems[2]


def test_recording_of_another_network_is_refused(tmp_path):
    folder = write(tmp_path, quiet().table(), header=json.dumps({"network_hash": "f" * 64}))
    assert "recorded on a network with hash ffffffffffff" in only_problem(folder, road())


def test_empty_table(tmp_path):
    path = tmp_path / "empty.parquet"
    pq.write_table(columns.schema().empty_table(), path)
    assert "no vehicle was recorded" in only_problem(path)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.parquet"
    path.touch()
    assert "is empty" in only_problem(path)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.999])
def test_truncated_parquet(tmp_path, share):
    path = save(tmp_path, quiet().table())
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "cut off or damaged" in only_problem(path)


def test_parquet_damaged_in_the_middle(tmp_path):
    """The footer is whole, the pages are not."""
    path = save(tmp_path, quiet().table(), compression="none", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[100:4000] = b"\xff" * 3900
    path.write_bytes(bytes(content))
    with pytest.raises(DataError):
        open_trajectories(path)


def test_folder_without_trajectories(tmp_path):
    (tmp_path / "notes.txt").touch()
    problem = only_problem(tmp_path)
    assert "has no trajectories.parquet; it holds notes.txt" in problem


def test_path_that_does_not_exist(tmp_path):
    assert "does not exist" in only_problem(tmp_path / "nowhere")


def test_broken_header(tmp_path):
    folder = write(tmp_path, quiet().table(), header="{half")
    assert "cannot be read as JSON" in only_problem(folder)
    (folder / columns.HEADER_FILE).write_text("[1]")
    assert "holds a list" in only_problem(folder)


def test_file_of_another_kind(tmp_path):
    path = tmp_path / "speeds.csv"
    path.write_text("a,b\n1,2\n")
    assert "none of the formats of trajectories known here" in only_problem(path)
    path.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert "none of the formats of trajectories known here" in only_problem(path)
    path.write_bytes(b"\x1f\x8b\x08not gzip at all")
    assert "is a gzip file that was cut off" in only_problem(path)
