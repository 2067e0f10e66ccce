"""SUMO's floating-car output in its three formats gives the same trajectories."""

import gzip

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scenariogen.errors import DataError
from scenariogen.trajectories import columns
from scenariogen.trajectories.readers import sumo_fcd
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


@pytest.mark.parametrize("column", ["vehicle_id", "vehicle_lane", "vehicle_pos", "vehicle_speed"])
def test_missing_column_is_named(tmp_path, ours, column):
    path = tmp_path / "fcd.parquet"
    pq.write_table(pa.Table.from_pandas(as_fcd(ours).drop(columns=column), preserve_index=False), path)
    with pytest.raises(DataError, match=f"lacks {column}"):
        open_trajectories(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<routes><vehicle/></routes>", "none of the formats of trajectories known here .* it is xml"),
        ('<fcd-export><timestep time="1">', "was cut off: it does not end with </fcd-export>"),
        ('<fcd-export><timestep time="1"><vehicle id="a"/></timestep></fcd-export>', "lacks 'lane'"),
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
