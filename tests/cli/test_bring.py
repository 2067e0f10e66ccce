"""What a file is, and how it becomes ours, from the command line."""

import json
from pathlib import Path

import pandas as pd
import pytest

from scenariogen.accounts import FileAccount, account_path
from tests.cli.runner import scenariogen
from tests.support import ROOT

DATA = ROOT.parent / "shared" / "data" / "trajectories"
MAPPING = ("--map", "time=t:s", "--map", "vehicle=car", "--map", "x=east:ft", "--map", "y=north:ft")


@pytest.fixture
def table(tmp_path):
    """Two cars in feet, one row doubled, one without a time, one ragged, one with a word for a number."""
    path = tmp_path / "tracks.csv"
    rows = ["t,car,east,north"]
    rows += [f"{n / 10},{car},{10 * n},{100 * car}" for n in range(30) for car in (1, 2)]
    rows += ["0.5,1,50,100", ",1,0,0", "1,2,3", "0.6,9,here,4"]
    path.write_text("\n".join(rows) + "\n")
    return path


def test_inspect_says_what_a_table_is_and_what_is_left_out(table):
    result = scenariogen("inspect", table, *MAPPING)
    assert result.exit_code == 0
    said = result.stdout
    assert "tracks.csv: a table, read by a column mapping (csv)" in said
    assert "64 read, 60 kept" in said
    assert "vehicles     2" in said
    for why in ("1 dropped: repeat another row exactly", "1 dropped: without a time", "1 dropped: without a place"):
        assert why in said
    assert "speed_mps: 60 rows from positions" in said
    assert not list(table.parent.glob("*.parquet"))


def test_convert_writes_si_units_and_the_account_beside_them(table, tmp_path):
    out = tmp_path / "ours.parquet"
    result = scenariogen("convert", table, *MAPPING, "--out", out, "--json")
    rows = pd.read_parquet(out)
    assert rows.groupby("vehicle")["speed_mps"].median().to_numpy() == pytest.approx([30.48, 30.48], rel=1e-5)
    assert rows["speed_is_derived"].all()
    beside = FileAccount.from_json(json.loads(account_path(out).read_text()))
    assert beside == FileAccount.from_json(json.loads(result.stdout))
    assert (beside.rows, beside.kept, sum(beside.dropped.values())) == (64, 60, 4)


def test_our_own_table_is_inspected_as_well(table, tmp_path):
    out = tmp_path / "ours.parquet"
    scenariogen("convert", table, *MAPPING, "--out", out)
    said = scenariogen("inspect", out)
    assert said.exit_code == 0
    assert "60 kept" in said.stdout and "1 dropped: without a time" in said.stdout
    account_path(out).unlink()
    assert "trajectories in our columns (scenariogen)" in scenariogen("inspect", out).stdout
    again = scenariogen("convert", out, "--out", tmp_path / "again.parquet")
    assert again.exit_code == 1 and "nothing to convert" in again.stderr


def test_every_mistake_in_a_mapping_is_told_at_once(table):
    result = scenariogen("inspect", table, "--map", "time=tt:s", "--map", "speed=v:ft", "--map", "fast=v", "--map", "x")
    assert result.exit_code == 1
    for part in ("got the unit 'ft'", "the field 'fast' is unknown", "'x' is not FIELD=COLUMN"):
        assert part in result.stderr


def test_a_column_that_is_not_there_is_named_with_its_neighbour(table):
    result = scenariogen("convert", table, "--map", "time=t:s", "--map", "vehicle=cars", "--map", "x=east:m")
    assert result.exit_code == 1
    assert "vehicle is mapped to the column 'cars', which is not there; near it: car" in result.stderr
    assert "no place is mapped" in result.stderr


def test_a_failed_conversion_leaves_nothing_behind(table, tmp_path):
    out = tmp_path / "ours.parquet"
    table.write_text(table.read_text() + "0.5,1,999,999\n")
    result = scenariogen("convert", table, *MAPPING, "--out", out)
    assert result.exit_code == 1
    assert "put a vehicle at several places at once" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tracks.csv"]


def test_a_zone_tells_the_day_of_a_table_and_of_no_other_trajectories(tmp_path):
    path = tmp_path / "tracks.csv"
    rows = [f"2024-05-01T{hour:02}:00:0{second}Z,1,{second}" for hour in (1, 23) for second in range(5)]
    path.write_text("\n".join(["t,car,at", *rows]) + "\n")
    fields = ("--map", "time=t", "--map", "vehicle=car", "--map", "road_position=at:m")
    said = scenariogen("inspect", path, *fields, "--time-zone", "America/Denver").stdout
    assert "2024-04-30, 2024-05-01" in said and "midnight of its date (America/Denver)" in said
    path.write_text('<fcd-export><timestep time="0"/></fcd-export>')
    result = scenariogen("inspect", path, "--time-zone", "America/Denver")
    assert result.exit_code == 1 and "SUMO floating-car data has no zone" in result.stderr


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "rows", "vehicles"),
    [
        ("coifman_i80/i80_coifman_li_2017.csv.gz", 215_244, 2_283),
        ("coifman_i80/i80_coifman_ngsim_header_first120s.csv", 23_246, 282),
        ("ngsim_peachtree_raw/NGSIM_peachtree_subset_motive.csv", 5_000, 165),
        ("ngsim_us101_half_A/USA_US101-23_1_T-1.xml.gz", 5_304, 57),
    ],
)
def test_real_recordings_are_recognised(name, rows, vehicles):
    if not (DATA / name).is_file():
        pytest.skip("../shared/data is not here: real-data test skipped")
    account = json.loads(scenariogen("inspect", DATA / name, "--json").stdout)
    assert (account["rows"], account["kept"], account["subjects"]) == (rows, rows, vehicles)


@pytest.fixture
def records(tmp_path):
    """Three incidents: a crash and a closure with places, and one that ends before it starts."""
    path = tmp_path / "log.csv"
    path.write_text(
        "begin,finish,what,x,y,name,shut\n"
        "2025-03-01T07:00:00+01:00,2025-03-01T07:40:00+01:00,crash,7.1,50.7,A 1,no\n"
        "2025-03-01T09:00:00+01:00,2025-03-02T09:00:00+01:00,road closed,7.2,50.8,B 9,yes\n"
        "2025-03-01T09:00:00+01:00,2025-03-01T08:00:00+01:00,crash,7.2,50.8,B 9,no\n"
    )
    return path


FIELDS = ("start=begin", "end=finish", "kind=what", "lon=x", "lat=y", "road=name", "full_closure=shut")
EVENTS = tuple(word for field in FIELDS for word in ("--map", field))


def test_incident_records_are_told_from_trajectories_by_what_is_mapped(records, tmp_path):
    said = scenariogen("inspect", records, *EVENTS).stdout
    assert "3 read, 2 kept" in said and "incidents    2" in said and "negative duration" in said
    out = tmp_path / "events.parquet"
    assert scenariogen("convert", records, *EVENTS, "--out", out).exit_code == 0
    rows = pd.read_parquet(out)
    assert rows["kind"].tolist() == ["crash", "closure"]
    assert rows["duration_s"].tolist() == [2400.0, 86_400.0]
    assert "incidents    2" in scenariogen("inspect", out).stdout


def test_export_writes_what_a_format_can_hold_and_counts_the_rest(records, tmp_path):
    feed = tmp_path / "feed.geojson"
    result = scenariogen("export", records, *EVENTS, "--to", "wzdx", "--out", feed)
    assert result.exit_code == 0
    assert "1 written" in result.stdout and "1 left out" in result.stdout
    assert len(json.loads(feed.read_text())["features"]) == 1
    xml = tmp_path / "situations.xml"
    assert "2 written" in scenariogen("export", records, *EVENTS, "--out", xml).stdout
    back = json.loads(scenariogen("inspect", xml, "--json").stdout)
    assert back["format"] == "datex2" and back["subjects"] == 2
    table = tmp_path / "situations.parquet"
    assert "2 written" in scenariogen("export", records, *EVENTS, "--to", "geoparquet", "--out", table).stdout
    assert pd.read_parquet(table)["kind"].tolist() == ["crash", "closure"]


def test_trajectories_cannot_be_exported(table, tmp_path):
    result = scenariogen("export", table, *MAPPING, "--out", tmp_path / "x.xml")
    assert result.exit_code == 1
    assert "holds trajectories, expected incident records" in result.stderr
    assert not (tmp_path / "x.xml").exists()


@pytest.mark.sumo
def test_a_recording_in_degrees_is_put_on_a_network(tmp_path):
    """cologne8, five minutes, positions in degrees every 2 s: nearly all rows get the edge that SUMO drove on."""
    import subprocess

    from scenariogen.simulation.catalog import find_network
    from scenariogen.simulation.launch import sumo_home

    sumocfg = find_network("cologne8")
    common = [
        str(sumo_home() / "bin" / "sumo"),
        "-c",
        str(sumocfg),
        "--end",
        "25500",
        "--no-step-log",
        "--device.fcd.period",
        "2",
    ]
    for name, extra in (("fcd.csv", ["--fcd-output.geo"]), ("truth.parquet", [])):
        subprocess.run([*common, "--fcd-output", str(tmp_path / name), *extra], check=True, capture_output=True)
    columns = ("time=timestep_time:s", "vehicle=vehicle_id", "lon=vehicle_x", "lat=vehicle_y")
    mapping = [word for column in columns for word in ("--map", column)]
    out = tmp_path / "matched.parquet"
    result = scenariogen("match", tmp_path / "fcd.csv", *mapping, "--network", "cologne8", "--out", out, "--json")
    assert result.exit_code == 0
    found = pd.read_parquet(out)[["time_s", "vehicle", "edge"]]
    truth = pd.read_parquet(tmp_path / "truth.parquet").rename(
        columns={"timestep_time": "time_s", "vehicle_id": "vehicle", "vehicle_lane": "lane"}
    )
    both = found.merge(truth[["time_s", "vehicle", "lane"]], on=["time_s", "vehicle"])
    inside = both["lane"].str.startswith(":")
    same = both["edge"] == both["lane"].str.rpartition("_")[0]
    assert len(both) > 0.98 * len(truth)
    assert same[~inside].mean() > 0.97


def test_fields_and_diagrams_of_a_recording(tmp_path):
    """A platoon at 10 m/s every 8 s along one edge of cologne8: flow, speed, and a lower bound of the capacity."""
    from scenariogen.network import read_network
    from scenariogen.simulation.catalog import find_network
    from scenariogen.simulation.project import open_project

    network = read_network(open_project(find_network("cologne8")).net_file)
    edge = max(network.edges.values(), key=lambda each: each.length_m)
    rows = [
        {"day": 0, "time_s": 8.0 * car + step, "vehicle": str(car), "edge": edge.id, "lane": 0,
         "position_m": 10.0 * step, "speed_mps": 10.0}
        for car in range(120) for step in range(int(edge.length_m / 10))
    ]  # fmt: skip
    table = pd.DataFrame(rows).astype({"lane": "int16"})
    table.sort_values("time_s").to_parquet(tmp_path / "tracks.parquet", index=False)
    out, diagrams = tmp_path / "fields.parquet", tmp_path / "diagrams.csv"
    asked = ("fields", tmp_path / "tracks.parquet", "--network", "cologne8", "--out", out, "--diagrams", diagrams)
    said = scenariogen(*asked)
    assert said.exit_code == 0
    assert "36.0 km/h" in said.stdout and "capacities are lower bounds" in said.stdout
    whole = pd.read_parquet(out).query("200 < cell_begin_s < 700")
    assert whole["flow_veh_h"].to_numpy() == pytest.approx(450.0, rel=0.1)
    assert whole["flow_veh_h"].mean() == pytest.approx(450.0, rel=0.02)
    answer = json.loads(scenariogen(*asked, "--json").stdout)
    assert answer["edges"] == 1
    assert answer["diagrams"][0]["capacity_is_lower_bound"] is True
    assert pd.read_csv(diagrams)["edge"].tolist() == [edge.id]
    wrong = scenariogen("fields", tmp_path / "tracks.parquet", "--network", "cologne8", "--cell", "0s")
    assert wrong.exit_code == 1 and "expected 1 s to a day" in wrong.stderr


@pytest.fixture
def by_hand(tmp_path):
    """One incident on the corridor, as a scenario file."""
    path = tmp_path / "scenario.json"
    said = scenariogen(
        "incident", "--network", "corridor", "--edge", "mw_04", "--lanes", "0", "--at", "26000s", "--for", "20min",
        "--out", path,
    )  # fmt: skip
    assert said.exit_code == 0, said.output
    return path


@pytest.mark.sumo
def test_a_scenario_becomes_a_configuration_that_plain_sumo_takes(by_hand, tmp_path):
    import subprocess

    from scenariogen.simulation.launch import sumo_home

    ours = ("--to", "sumo", "--network", "corridor", "--out", tmp_path / "plain")
    result = scenariogen("export", by_hand, *ours, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["vehicles"] == ["incident.0.0"]
    assert any("whole" in text or "edge" in text for text in told["limits"])
    command = [sumo_home() / "bin" / "sumo", "-c", told["configuration"], "--end", "26010"]
    assert subprocess.run(command, capture_output=True, text=True).returncode == 0
    again = scenariogen("export", by_hand, *ours)
    assert again.exit_code == 1
    assert "not empty" in again.stderr


@pytest.mark.sumo
def test_the_command_that_plays_an_export_can_be_pasted_where_names_have_blanks(by_hand, tmp_path):
    import shlex

    made = scenariogen("export", by_hand, "--to", "sumo", "--network", "corridor", "--out", tmp_path / "my files")
    command = shlex.split(made.stdout.splitlines()[0].partition("run it: ")[2])
    assert command[:2] == ["sumo", "-c"] and len(command) == 3
    assert Path(command[2]).is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "sumo", "--publisher", "me", "--network", "corridor", "--out", "x"], "--publisher"),
        (["--to", "wzdx", "--network", "corridor", "--index", "1"], "--network, --index"),
        (["--to", "sumo", "--network", "corridor"], "--out FOLDER"),
        (["--to", "sumo", "--out", "x"], "exactly one of --network"),
        (["--to", "gtfs"], "expected datex2, wzdx, geoparquet or sumo"),
    ],
)
def test_what_is_for_records_and_what_for_scenarios_is_not_mixed(records, arguments, said):
    result = scenariogen("export", records, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_file_of_the_other_kind_is_called_so(records, by_hand, tmp_path):
    result = scenariogen("export", records, "--to", "sumo", "--network", "corridor", "--out", tmp_path / "plain")
    assert result.exit_code == 1
    assert "scenario file" in result.stderr
    result = scenariogen("export", by_hand, "--to", "wzdx", "--out", tmp_path / "feed.geojson")
    assert result.exit_code == 1
    assert "--to sumo" in result.stderr
    assert not (tmp_path / "plain").exists()
