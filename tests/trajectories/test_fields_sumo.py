"""Edie's fields of a simulation that is sampled every 2 s, against sums over steps of a fifth of a second."""

import subprocess

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scenariogen.network import read_network
from scenariogen.simulation.launch import sumo_home
from scenariogen.trajectories.fields import edie_fields
from scenariogen.trajectories.readers.sumo_fcd import normalise_fcd
from scenariogen.trajectories.records import open_trajectories

pytestmark = pytest.mark.sumo

STEP_S = 0.2
NODES = """<nodes>
  <node id="w" x="-300" y="0"/><node id="m" x="0" y="0" type="traffic_light"/><node id="k" x="16" y="0"/>
  <node id="e" x="316" y="0"/><node id="s" x="0" y="-300"/><node id="n" x="0" y="300"/><node id="t" x="16" y="-300"/>
</nodes>"""
EDGES = """<edges>
  <edge id="in" from="w" to="m" numLanes="2" speed="13.89"/>
  <edge id="short" from="m" to="k" numLanes="2" speed="13.89"/>
  <edge id="out" from="k" to="e" numLanes="2" speed="13.89"/>
  <edge id="sm" from="s" to="m" speed="13.89"/><edge id="mn" from="m" to="n" speed="13.89"/>
  <edge id="tk" from="t" to="k" speed="13.89"/>
</edges>"""
ROUTES = """<routes>
  <flow id="f" from="in" to="out" begin="0" end="900" vehsPerHour="900" departLane="best"/>
  <flow id="g" from="sm" to="mn" begin="0" end="900" vehsPerHour="200"/>
</routes>"""


def test_edges_crossed_between_samples_hold_none_of_the_time_inside_junctions(tmp_path):
    """The time on such an edge was several times too long, since it held the crossing of the junction as well."""
    for name, text in (("n.nod.xml", NODES), ("n.edg.xml", EDGES), ("r.rou.xml", ROUTES)):
        (tmp_path / name).write_text(text)
    build = [sumo_home() / "bin" / "netconvert", "-n", "n.nod.xml", "-e", "n.edg.xml", "-o", "n.net.xml"]
    subprocess.run([*map(str, build), "--junctions.corner-detail", "0"], cwd=tmp_path, check=True, capture_output=True)
    run = [sumo_home() / "bin" / "sumo", "-n", "n.net.xml", "-r", "r.rou.xml", "--step-length", STEP_S, "--end", 900]
    subprocess.run(
        [*map(str, run), "--fcd-output", "all.parquet", "--seed", "4"], cwd=tmp_path, check=True, capture_output=True
    )
    network = read_network(tmp_path / "n.net.xml")
    assert network.edges["short"].length_m < 5  # few samples fall on it
    every = normalise_fcd(tmp_path / "all.parquet", 0)
    seconds = every["time_s"].to_numpy()
    seldom = every.filter(pa.array(np.abs(seconds / 2 - np.rint(seconds / 2)) < STEP_S / 8))
    pq.write_table(seldom, tmp_path / "seldom.parquet")
    fields = edie_fields(open_trajectories(tmp_path / "seldom.parquet"), network)
    found = fields.groupby("edge")[["time_spent_s", "distance_m"]].sum()
    rows = pd.DataFrame({"edge": every["edge"].to_pylist(), "speed": every["speed_mps"].to_numpy()})
    truth = rows.groupby("edge")["speed"].agg(["size", "sum"]) * STEP_S
    for edge, within in (("in", 0.05), ("short", 0.15), ("out", 0.05)):  # on the short one, speeds are between samples
        assert found.loc[edge, "time_spent_s"] == pytest.approx(truth.loc[edge, "size"], rel=within), edge
        assert found.loc[edge, "distance_m"] == pytest.approx(truth.loc[edge, "sum"], rel=0.05), edge
