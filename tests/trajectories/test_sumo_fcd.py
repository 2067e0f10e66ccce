"""SUMO's floating-car output in its three formats gives the same trajectories."""

import gzip
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scenariogen.errors import DataError
from scenariogen.heads import read_head
from scenariogen.incidents.files import inspect_file
from scenariogen.trajectories import columns
from scenariogen.trajectories.readers import sumo_fcd
from scenariogen.trajectories.readers.fcd_persons import NO_LANE
from scenariogen.trajectories.records import open_trajectories
from tests.trajectories.handmade import Traffic, every, road


@pytest.fixture
def ours() -> pd.DataFrame:
    traffic = Traffic(end_s=200)
    traffic.file(0, every(9, until_s=150))
    return traffic.table()


def as_fcd(ours: pd.DataFrame) -> pd.DataFrame:
    """The same rows as SUMO names them, with its empty ``vehicle_edge`` and a row of a person."""
    table = pd.DataFrame(
        {
            "timestep_time": ours["time_s"],
            "vehicle_id": ours["vehicle"].astype(object),
            "vehicle_x": ours["x_m"],
            "vehicle_y": ours["y_m"],
            "vehicle_type": "car",
            "vehicle_speed": ours["speed_mps"],
            "vehicle_pos": ours["position_m"],
            "vehicle_lane": ours["edge"] + "_" + ours["lane"].astype(str),
            "vehicle_edge": None,
        }
    )
    person = table.iloc[[5]].assign(vehicle_id=None, vehicle_lane=None)
    return pd.concat([table.iloc[:5], person, table.iloc[5:]], ignore_index=True)


def as_parquet(ours, folder):
    path = folder / "fcd.parquet"
    pq.write_table(pa.Table.from_pandas(as_fcd(ours), preserve_index=False), path, row_group_size=300)
    return path


def as_csv(ours, folder):
    path = folder / "fcd.csv"
    as_fcd(ours).to_csv(path, sep=";", index=False)
    return path


def as_xml(ours, folder):
    lines = ['<?xml version="1.0"?>\n<!-- SUMO -->\n<fcd-export>']
    for time_s, rows in ours.groupby("time_s"):
        lines.append(f'<timestep time="{time_s:.2f}">')
        lines += [
            f'<vehicle id="{r.vehicle}" x="{r.x_m!r}" y="{r.y_m!r}" type="car" speed="{r.speed_mps!r}" '
            f'pos="{r.position_m!r}" lane="{r.edge}_{r.lane}"/>'
            for r in rows.itertuples()
        ]
        lines.append('<person id="p" x="0" y="0" speed="1" pos="2" edge="here"/></timestep>')
    path = folder / "fcd.xml"
    path.write_text("\n".join([*lines, "</fcd-export>"]))
    return path


FORMATS = {"parquet": as_parquet, "csv": as_csv, "xml": as_xml}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_rows(tmp_path, ours, name, zipped):
    path = FORMATS[name](ours, tmp_path)
    if zipped:
        if name == "parquet":
            pytest.skip("SUMO does not gzip Parquet")
        path = tmp_path / (path.name + ".gz")
        path.write_bytes(gzip.compress((tmp_path / path.stem).read_bytes()))
    opened = open_trajectories(path, road())
    assert opened.path == path and opened.period_s == 2
    rows = opened.query("SELECT * FROM trajectories ORDER BY time_s, vehicle")
    expected = ours.sort_values(["time_s", "vehicle"]).reset_index(drop=True)
    assert list(rows["vehicle"]) == list(expected["vehicle"])
    assert list(rows["edge"]) == list(expected["edge"])
    for column in ("time_s", "lane", "position_m", "speed_mps", "x_m", "y_m"):
        np.testing.assert_allclose(rows[column], expected[column], rtol=1e-6, atol=1e-5)


def test_normalised_table_has_our_schema_and_day(tmp_path, ours):
    table = sumo_fcd.normalise_fcd(as_parquet(ours, tmp_path), 4)
    assert table.schema.equals(columns.schema())
    assert table.num_rows == len(ours)
    assert table[columns.DAY].unique().to_pylist() == [4]
    edges = table[columns.EDGE].combine_chunks().to_pylist()
    assert edges == list(as_fcd(ours).dropna(subset="vehicle_id")["vehicle_lane"].str.rpartition("_")[0])


def with_persons(ours: pd.DataFrame) -> pd.DataFrame:
    table = as_fcd(ours)
    persons = table.iloc[::50].assign(vehicle_id="p1.0", vehicle_lane=None, vehicle_edge="here")
    return pd.concat([table, persons], ignore_index=True).sort_values("timestep_time", kind="stable")


def written(table: pd.DataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path)
    else:
        table.to_csv(path, sep=";", index=False)
    return path


@pytest.mark.parametrize("name", ["parquet", "csv"])
def test_persons_are_no_vehicles(tmp_path, ours, name):
    """SUMO 1.28 writes them into the columns of vehicles, with an edge and without a lane."""
    table = with_persons(ours)
    path = written(table, tmp_path / f"fcd.{name}")
    opened = open_trajectories(path, road())
    found = opened.query("SELECT DISTINCT vehicle FROM trajectories")["vehicle"]
    assert set(found) == set(ours["vehicle"]) and sum(span.rows for span in opened.spans) == len(ours)
    if name == "parquet":
        assert sumo_fcd.normalise_fcd(path, 0).num_rows == len(ours)


@pytest.mark.parametrize("name", ["parquet", "csv"])
@pytest.mark.parametrize("lacking", [[], ["vehicle_lane"], ["vehicle_lane", "vehicle_pos"]])
def test_persons_are_counted_among_what_was_read(tmp_path, ours, name, lacking):
    """Also where SUMO was asked for edges and not for lanes, of which vehicles have none."""
    table = with_persons(ours)
    account = inspect_file(written(table.drop(columns=lacking), tmp_path / f"fcd.{name}"))
    persons = int((table["vehicle_id"] == "p1.0").sum())
    assert (account.rows, account.kept, account.subjects) == (len(ours) + persons, len(ours), ours["vehicle"].nunique())
    assert account.dropped == {NO_LANE: persons}


@pytest.mark.parametrize("name", ["parquet", "csv", "xml"])
def test_vehicles_off_the_road_are_left_out(tmp_path, ours, name):
    """SUMO writes a lane without a name for who was moved beside the network; the whole file was refused for it."""
    table = as_fcd(ours).dropna(subset="vehicle_id").reset_index(drop=True)
    off = np.arange(len(table)) % 50 == 7
    if name == "xml":
        path = as_xml(ours, tmp_path)
        lines = iter(off)
        path.write_text(re.sub('lane="[^"]*"', lambda each: 'lane=""' if next(lines) else each[0], path.read_text()))
    else:
        path = written(table.assign(vehicle_lane=table["vehicle_lane"].mask(off, "")), tmp_path / f"fcd.{name}")
    account = inspect_file(path)
    assert account.kept == len(table) - off.sum() and account.dropped == {NO_LANE: off.sum()}
    opened = open_trajectories(path, road())
    assert sum(span.rows for span in opened.spans) == account.kept


@pytest.mark.parametrize("name", ["parquet", "csv", "xml"])
def test_mesoscopic_output_is_refused_as_such(tmp_path, ours, name):
    """Its vehicles have an edge and stand where a segment begins; their coordinates were taken for a track."""
    if name == "xml":
        path = as_xml(ours, tmp_path)
        path.write_text(re.sub('lane="([a-z]+)_0"', r'edge="\1"', path.read_text()))
    else:
        table = as_fcd(ours)
        nothing = pd.array([None] * len(table), dtype="string")
        path = written(table.assign(vehicle_lane=nothing, vehicle_edge="here"), tmp_path / f"fcd.{name}")
    for read in (open_trajectories, inspect_file):
        with pytest.raises(DataError, match=r"--mesosim.* where the segment of an edge begins"):
            read(path)


def test_days_are_appended_to_one_file(tmp_path, ours):
    target = tmp_path / columns.TRAJECTORIES_FILE
    with pq.ParquetWriter(target, columns.schema()) as writer:
        for day in range(3):
            writer.write_table(sumo_fcd.normalise_fcd(as_parquet(ours, tmp_path), day))
    opened = open_trajectories(tmp_path, road())
    assert [span.rows for span in opened.spans] == [len(ours)] * 3


def test_edge_names_may_hold_underscores_and_junctions(tmp_path, ours):
    table = as_fcd(ours).dropna(subset="vehicle_id")
    table["vehicle_lane"] = np.where(table["vehicle_pos"] < 250, ":n_1_0_0", "-a_b#1_2")
    path = tmp_path / "fcd.parquet"
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path)
    out = sumo_fcd.normalise_fcd(path, 0).to_pandas()
    assert set(zip(out["edge"], out["lane"], strict=True)) == {(":n_1_0", 0), ("-a_b#1", 2)}


def test_lane_ids_of_another_kind_are_refused(tmp_path, ours):
    table = as_fcd(ours).dropna(subset="vehicle_id").assign(vehicle_lane="left")
    path = tmp_path / "fcd.parquet"
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path)
    with pytest.raises(DataError, match=r"rows have no lane of at least 0 \(in SUMO's output: a lane id"):
        open_trajectories(path)


@pytest.mark.parametrize("lane", ["e_" + "9" * 40, "e_40000", "e_²", "e_-1", "e_", "_1"])
def test_lane_numbers_that_no_lane_has_are_one_message(tmp_path, ours, lane):
    path = as_xml(ours, tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace('lane="here_0"', f'lane="{lane}"', 1), encoding="utf-8")
    with pytest.raises(DataError, match=r"1 lane ids are not <edge>_<index>, the first is"):
        list(sumo_fcd.xml_chunks(read_head(path), 0, ()))


@pytest.mark.parametrize("column", ["vehicle_id", "vehicle_lane", "vehicle_pos"])
def test_missing_column_is_named(tmp_path, ours, column):
    path = tmp_path / "fcd.parquet"
    table = as_fcd(ours).drop(columns=[column, "vehicle_x"])  # with coordinates alone there would be a place
    pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path)
    with pytest.raises(DataError, match=f"lacks {column}"):
        open_trajectories(path)


@pytest.mark.parametrize("column", ["vehicle_id", "vehicle_lane", "vehicle_pos", "vehicle_speed"])
def test_a_recording_needs_every_column(tmp_path, ours, column):
    path = tmp_path / "fcd.parquet"
    pq.write_table(pa.Table.from_pandas(as_fcd(ours).drop(columns=column), preserve_index=False), path)
    with pytest.raises(DataError, match=f"lacks {column}"):
        sumo_fcd.normalise_fcd(path, 0)


def without(table: pd.DataFrame, folder, name: str, *dropped: str):
    """SUMO's rows of vehicles in one format, without some columns."""
    rows = table.dropna(subset="vehicle_id").drop(columns=["vehicle_edge", *dropped])
    path = folder / f"fcd.{name}"
    if name == "parquet":
        pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), path, row_group_size=300)
    elif name == "csv":
        rows.to_csv(path, sep=";", index=False)
    else:
        lines = ["<fcd-export>"]
        for time, part in rows.groupby("timestep_time", sort=False):
            lines.append(f'<timestep time="{time}">')
            for row in part.drop(columns="timestep_time").to_dict("records"):
                words = " ".join(f'{key.removeprefix("vehicle_")}="{value}"' for key, value in row.items())
                lines.append(f"<vehicle {words}/>")
            lines.append("</timestep>")
        path.write_text("\n".join([*lines, "</fcd-export>"]))
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_coordinates_alone_are_a_place_and_speeds_are_derived(tmp_path, ours, name):
    opened = open_trajectories(without(as_fcd(ours), tmp_path, name, "vehicle_lane", "vehicle_pos", "vehicle_speed"))
    assert opened.places == (columns.Place.PLANE,)
    rows = opened.query("SELECT * FROM trajectories ORDER BY time_s, vehicle")
    assert len(rows) == len(ours) and rows["speed_is_derived"].all()
    expected = ours.sort_values(["time_s", "vehicle"])["x_m"]
    np.testing.assert_allclose(rows["x_m"], expected, rtol=1e-6)


@pytest.mark.parametrize("has_speed", [True, False])
@pytest.mark.parametrize("name", FORMATS)
def test_degrees_are_told_from_metres_by_how_far_vehicles_move(tmp_path, ours, name, has_speed):
    degree_m = 111_195.0
    table = as_fcd(ours)
    lat = 48.0
    table["vehicle_x"] = 11.0 + table["vehicle_x"] / degree_m / np.cos(np.radians(lat))
    table["vehicle_y"] = lat + table["vehicle_y"] / degree_m
    path = without(table, tmp_path, name, *(() if has_speed else ("vehicle_speed",)))
    opened = open_trajectories(path)
    assert columns.Place.WGS84 in opened.places and columns.Place.PLANE not in opened.places
    rows = opened.query("SELECT * FROM trajectories ORDER BY time_s, vehicle")
    expected = table.dropna(subset="vehicle_id").sort_values(["timestep_time", "vehicle_id"])["vehicle_x"]
    np.testing.assert_allclose(rows["lon_deg"], expected, rtol=1e-12)


@pytest.mark.parametrize("name", FORMATS)
def test_a_small_network_in_metres_stays_in_metres(tmp_path, ours, name):
    table = as_fcd(ours).query("vehicle_x < 90 or vehicle_x.isna()", engine="python")
    table["vehicle_y"] = table["vehicle_x"] / 10
    table["vehicle_x"] = 0.0
    opened = open_trajectories(without(table, tmp_path, name))
    assert columns.Place.WGS84 not in opened.places and columns.Place.PLANE in opened.places


@pytest.mark.parametrize("name", FORMATS)
def test_clock_times_are_read_as_seconds(tmp_path, ours, name):
    table = as_fcd(ours)
    table["timestep_time"] = [
        f"1:{int(s // 3600):02d}:{int(s // 60 % 60):02d}:{s % 60:05.2f}" for s in table["timestep_time"]
    ]
    opened = open_trajectories(without(table, tmp_path, name))
    assert opened.begin_s == pytest.approx(86_400 + ours["time_s"].min())
    assert opened.end_s == pytest.approx(86_400 + ours["time_s"].max())
    assert opened.period_s == 2


def test_a_time_that_is_none_is_named(tmp_path, ours):
    table = as_fcd(ours).assign(timestep_time="noon:ish")
    with pytest.raises(DataError, match="cannot be read"):
        open_trajectories(without(table, tmp_path, "parquet"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<routes><vehicle/></routes>", "none of the formats of trajectories known here .* it is xml"),
        ('<fcd-export><timestep time="1">', "was cut off: it does not end with </fcd-export>"),
        ('<fcd-export><timestep time="1"><vehicle id="a"/></timestep></fcd-export>', "lacks vehicle_lane"),
        (
            '<fcd-export><timestep time="1"><vehicle id="a" lane="a_0" pos="1" speed="1"/>'
            '<vehicle id="b" pos="1" speed="1"/></timestep></fcd-export>',
            "lacks 'lane', which those before it have",
        ),
        ('<!DOCTYPE a [<!ENTITY b "c">]><fcd-export><timestep time="1"/></fcd-export>', "cannot be read"),
        (
            '<fcd-export><timestep time="1"><vehicle id="a" lane="a_0" pos="x" speed="1"/></timestep></fcd-export>',
            "cannot be read",
        ),
    ],
)
def test_broken_xml_is_one_message(tmp_path, content, said):
    path = tmp_path / "fcd.xml"
    path.write_text(content)
    with pytest.raises(DataError, match=said):
        open_trajectories(path)


def test_truncated_gzip(tmp_path, ours):
    whole = gzip.compress(as_xml(ours, tmp_path).read_bytes())
    path = tmp_path / "fcd.xml.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="is a gzip file that was cut off"):
        open_trajectories(path)


def test_csv_with_text_where_numbers_belong(tmp_path, ours):
    path = tmp_path / "fcd.csv"
    as_fcd(ours).assign(vehicle_pos="here").to_csv(path, sep=";", index=False)
    with pytest.raises(DataError, match="cannot be read as SUMO's CSV"):
        open_trajectories(path)


def test_nothing_is_left_behind_by_a_file_that_fails(tmp_path, ours, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    broken = tmp_path / "broken.xml"
    broken.write_text('<fcd-export><timestep time="1">')
    with pytest.raises(DataError):
        open_trajectories(broken)
    opened = open_trajectories(as_xml(ours, tmp_path))
    assert len(list(scratch.iterdir())) == 1
    del opened
    assert not list(scratch.iterdir())
