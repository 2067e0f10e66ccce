"""Real recordings without incidents: stop-and-go waves and slow lanes are none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scenariogen.incidents.detect import detect_incidents
from scenariogen.incidents.from_fields import detect_in_fields
from scenariogen.incidents.sparse import detect_sparse
from scenariogen.network import RoadClass, RoadNetwork
from scenariogen.trajectories import columns
from scenariogen.trajectories.fields import edie_fields
from scenariogen.trajectories.records import Trajectories, open_trajectories
from scenariogen.units import METRES_PER_FOOT
from tests.trajectories.handmade import road, write

pytestmark = pytest.mark.data

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "trajectories"


def motorway(lanes: int, length_m: float) -> RoadNetwork:
    """A straight motorway of three edges; the recording lies on the second, ``here``."""
    network = road(lanes, lengths_m=(500.0, length_m, 500.0))
    edges = {
        name: replace(
            edge,
            speed_mps=29.0,
            road_class=RoadClass.MOTORWAY,
            lanes=tuple(replace(lane, speed_mps=29.0) for lane in edge.lanes),
        )
        for name, edge in network.edges.items()
    }
    return replace(network, edges=edges)


def recording(folder: Path, *days: pd.DataFrame) -> Trajectories:
    """Tables with time_s, vehicle, lane, position_m and speed_mps on ``here`` as a recording."""
    tables = [
        day.assign(
            **{columns.DAY: 0, columns.EDGE: "here", columns.X: day["position_m"], columns.Y: 3.2 * day["lane"]}
        ).sort_values([columns.TIME, columns.VEHICLE], kind="stable")
        for day in days
    ]
    return open_trajectories(write(folder, *(table[list(columns.COLUMNS)] for table in tables)))


def test_stop_and_go_on_i80_is_no_incident(tmp_path):
    file = DATA / "coifman_i80" / "i80_coifman_li_2017.csv.gz"
    if not file.is_file():
        pytest.skip("../shared/data is not here: real-data test skipped")
    raw = pd.read_csv(file)
    raw = raw[raw["Lane_ID"].between(1, 6)]
    length_m = float(raw["Local_Y"].max() - raw["Local_Y"].min()) * METRES_PER_FOOT + 1.0
    rows = pd.DataFrame(
        {
            "time_s": raw["Frame_ID"] / 10,
            "vehicle": raw["Vehicle_ID"].astype(str),
            "lane": 6 - raw["Lane_ID"],  # the source counts from the left
            "position_m": (raw["Local_Y"] - raw["Local_Y"].min()) * METRES_PER_FOOT,
            "speed_mps": raw["v_Vel"] * METRES_PER_FOOT,
        }
    )
    assert (rows["speed_mps"] < 1).mean() > 0.01  # there are waves in which vehicles all but stand
    opened, network = recording(tmp_path, rows), motorway(6, length_m)
    assert detect_incidents(opened, network).empty
    assert detect_sparse(opened, network, share=1.0).empty
    for by_lane in (False, True):
        assert detect_in_fields(edie_fields(opened, network, cell_s=30.0, by_lane=by_lane), network).empty
    tenth = recording(tmp_path / "tenth", rows[rows["vehicle"].astype(int) % 10 == 0])
    assert detect_sparse(tenth, network, share=0.1).empty


def test_scenes_of_us101_show_no_incident(tmp_path):
    file = DATA / "ngsim_us101_half_A" / "us101_half_A.csv.gz"
    if not file.is_file():
        pytest.skip("../shared/data is not here: real-data test skipped")
    scenes = []
    for _, raw in pd.read_csv(file).groupby("scene"):
        # Along the mean heading; across it in lanes of 3.7 m.
        heading = float(raw["heading"].mean())
        along = raw["x"] * np.cos(heading) + raw["y"] * np.sin(heading)
        across = raw["y"] * np.cos(heading) - raw["x"] * np.sin(heading)
        scenes.append(
            pd.DataFrame(
                {
                    "time_s": raw["t"].round(1),
                    "vehicle": raw["vehicle_id"].astype(str),
                    "lane": ((across - across.min()) / 3.7).astype(int).clip(upper=5),
                    "position_m": along - along.min(),
                    "speed_mps": raw["speed"].abs(),
                }
            )
        )
    length_m = max(float(scene["position_m"].max()) for scene in scenes) + 1.0
    opened, network = recording(tmp_path, *scenes), motorway(6, length_m)
    assert len(opened.days) == 11
    assert detect_incidents(opened, network).empty
    assert detect_sparse(opened, network, share=1.0).empty
    assert detect_in_fields(edie_fields(opened, network, cell_s=5.0), network).empty
