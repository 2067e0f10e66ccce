"""Map matching against roads whose truth is known: by construction, and by simulation."""

import math
import subprocess
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from scenariogen.errors import DataError, ProjectError
from scenariogen.mapgeometry import LaneIndex, Projection
from scenariogen.network import Edge, Lane, RoadClass, RoadNetwork, read_network
from scenariogen.trajectories import mapmatch
from scenariogen.trajectories.mapmatch import match
from scenariogen.trajectories.mapmatch_chain import attach, chain_pieces
from scenariogen.trajectories.mapmatch_routes import RouteLengths
from scenariogen.trajectories.mapmatch_tracks import far_apart, match_tracks
from scenariogen.trajectories.mapmatch_viterbi import Points
from scenariogen.trajectories.records import open_trajectories
from tests.support import ROOT
from tests.trajectories import handmade

GRID = ROOT / "sumo_networks" / "grid" / "grid.net.xml"


def edge(name: str, start: str, end: str, shape, *, after=(), before=(), lanes: int = 1) -> Edge:
    length = sum(math.dist(a, b) for a, b in pairwise(shape))
    made = tuple(
        Lane(id=f"{name}_{i}", index=i, length_m=length, speed_mps=14.0, width_m=3.2, drives=True, shape=tuple(shape))
        for i in range(lanes)
    )
    return Edge(
        id=name, from_junction=start, to_junction=end, length_m=length, speed_mps=14.0, road_class=RoadClass.STREET,
        signalised=False, lanes=made, successors=tuple(after), predecessors=tuple(before),
        turn_angles=(0.0,) * len(after),
    )  # fmt: skip


def two_way() -> RoadNetwork:
    """Two carriageways 4 m apart, east on y=0 and west on y=4, each of two edges; a turn-around at the east end."""
    edges = [
        edge("east1", "a", "b", [(0, 0), (295, 0)], after=["east2"]),
        edge("east2", "b", "c", [(305, 0), (600, 0)], after=["west1"], before=["east1"]),
        edge("west1", "c", "b", [(600, 4), (305, 4)], after=["west2"], before=["east2"]),
        edge("west2", "b", "a", [(295, 4), (0, 4)], before=["west1"]),
    ]
    return RoadNetwork(
        path=Path("two_way.net.xml"), sha256="0" * 64, edges={e.id: e for e in edges}, lane_links={}, signals={}
    )


def fork() -> RoadNetwork:
    """A road that parts into one straight on and a ramp that runs beside it, 8 m away after 100 m."""
    edges = [
        edge("road", "a", "b", [(0, 0), (200, 0)], after=["on", "ramp"]),
        edge("on", "b", "c", [(200, 0), (600, 0)], before=["road"]),
        edge("ramp", "b", "d", [(200, 0), (300, -8), (600, -8)], before=["road"]),
    ]
    return RoadNetwork(
        path=Path("fork.net.xml"), sha256="0" * 64, edges={e.id: e for e in edges}, lane_links={}, signals={}
    )


def track(x, y, *, vehicle: str = "v", day: int = 0) -> pd.DataFrame:
    x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
    return pd.DataFrame(
        {
            "day": np.int32(day),
            "time_s": np.arange(len(x), dtype=float),
            "vehicle": vehicle,
            "speed_mps": np.full(len(x), 10.0, np.float32),
            "x_m": x,
            "y_m": y,
        }
    )


def write(folder: Path, *frames: pd.DataFrame) -> Path:
    path = folder / "source.parquet"
    pd.concat(frames).sort_values(["day", "time_s", "vehicle"]).to_parquet(path, index=False)
    return path


def matched(folder: Path, network: RoadNetwork, *frames: pd.DataFrame, **options):
    target = folder / "matched.parquet"
    quality, account = match(write(folder, *frames), target, network, **options)
    return pd.read_parquet(target), quality, account


def test_every_row_gets_edge_lane_and_position(tmp_path: Path):
    rows, quality, account = matched(tmp_path, two_way(), track(np.arange(0, 600, 10), 0.0))
    assert rows["edge"].tolist() == ["east1"] * 30 + [":b"] + ["east2"] * 29
    on = rows[~rows["edge"].str.startswith(":")]
    expected = np.where(on["edge"] == "east1", on["x_m"], on["x_m"] - 305)
    assert np.allclose(on["position_m"], expected, atol=1e-4)
    assert (quality.matched, quality.inside_junctions, quality.breaks, quality.share_connected) == (60, 1, 0, 1.0)
    assert account.rows == account.kept == 60


@pytest.mark.parametrize(("x", "wanted"), [(np.arange(100, 290, 10), "east1"), (np.arange(290, 100, -10), "west2")])
def test_the_direction_of_movement_tells_opposite_carriageways_apart(tmp_path: Path, x, wanted):
    # All rows lie nearer to the other carriageway.
    nearer_to_the_other = 2.5 if wanted == "east1" else 1.5
    rows, *_ = matched(tmp_path, two_way(), track(x, nearer_to_the_other), noise_m=3.0)
    assert set(rows["edge"]) == {wanted}


def test_a_parallel_ramp_is_told_by_the_whole_way_not_by_single_rows(tmp_path: Path):
    x = np.arange(0, 600, 12.0)
    y = np.interp(x, [0, 200, 300, 600], [0, 0, -8, -8])
    y[(x > 400) & (x < 430)] = -2.0  # three rows nearer to the road
    rows, quality, _ = matched(tmp_path, fork(), track(x, y), noise_m=3.0)
    late = rows[rows["x_m"] > 320]
    assert set(late["edge"]) == {"ramp"} and quality.breaks == 0


def test_standing_with_noise_does_not_break_a_way(tmp_path: Path):
    rng = np.random.default_rng(4)
    x = np.r_[np.arange(0, 150, 10.0), np.full(200, 150.0), np.arange(150, 590, 10.0)]
    frame = track(x + rng.normal(0, 5, len(x)), rng.normal(0, 5, len(x)))
    rows, quality, _ = matched(tmp_path, two_way(), frame, noise_m=5.0)
    assert quality.breaks == 0 and quality.vehicles == quality.connected == 1
    assert np.mean(rows["edge"].isin(["east1", "east2", ":b"])) > 0.99


def test_a_way_that_no_road_connects_is_a_break(tmp_path: Path):
    x = np.r_[np.arange(300, 100, -10.0), np.arange(100, 300, 10.0)]  # west, then east again where nobody can turn
    y = np.r_[np.full(20, 4.0), np.zeros(20)]
    _, quality, _ = matched(tmp_path, two_way(), track(x, y), track(np.arange(0, 200, 10), 0.0, vehicle="good"))
    assert (quality.vehicles, quality.connected, quality.breaks) == (2, 1, 1)


def test_rows_off_the_network_are_left_out_and_counted(tmp_path: Path):
    frame = track(np.arange(0, 500, 10.0), np.r_[np.zeros(40), np.full(10, 200.0)])
    rows, quality, account = matched(tmp_path, two_way(), frame)
    assert len(rows) == quality.matched == 40
    assert list(account.dropped.values()) == [10]
    assert "farther than" in next(iter(account.dropped))


def test_rows_without_coordinates_are_left_out(tmp_path: Path):
    frame = track(np.arange(0, 290, 10.0), 0.0)
    frame.loc[[0, 7, 28], "x_m"] = np.nan
    rows, quality, account = matched(tmp_path, two_way(), frame)
    assert account.dropped == {"without coordinates": 3} and len(rows) == 26 and set(rows["edge"]) == {"east1"}
    assert (quality.rows, quality.matched, quality.breaks) == (29, 26, 0)


def test_matching_in_many_groups_is_matching_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(0)
    frames = [
        track(np.arange(0, 590, 10.0) + rng.normal(0, 2, 59), rng.normal(0, 2, 59), vehicle=f"v{i}", day=i % 2)
        for i in range(9)
    ]
    whole, *_ = matched(tmp_path, two_way(), *frames, noise_m=2.0)
    monkeypatch.setattr(mapmatch, "GROUP_ROWS", 100)
    parts, quality, _ = matched(tmp_path, two_way(), *frames, noise_m=2.0)
    pd.testing.assert_frame_equal(whole, parts)
    assert quality.vehicles == 9
    assert list(parts.columns)[:6] == ["day", "time_s", "vehicle", "edge", "lane", "position_m"]
    assert parts[["day", "time_s"]].apply(tuple, axis=1).is_monotonic_increasing


def test_the_noise_is_estimated(tmp_path: Path):
    rng = np.random.default_rng(1)
    frames = [
        track(np.arange(0, 290, 5.0) + rng.normal(0, 4, 58), rng.normal(0, 4, 58), vehicle=f"v{i}") for i in range(40)
    ]
    network = two_way()
    alone = replace(network, edges={"east1": replace(network.edges["east1"], successors=())})
    _, quality, account = matched(tmp_path, alone, *frames)
    # 2,320 rows: the 90 % quantile of the folded normal is known to 2.4 % (one standard error).
    assert quality.noise_m == pytest.approx(4.0, rel=0.1) and quality.noise_is_estimated
    assert any("lanes are a guess" in finding.text for finding in account.findings)


def test_an_unknown_origin_is_refused_with_what_to_give(tmp_path: Path):
    network = replace(two_way(), offset=(-5000.0, -7000.0))
    far = track(np.arange(5000, 5500, 10.0), 7000.0)
    with pytest.raises(DataError, match="--origin -5000,-7000"):
        matched(tmp_path, network, far)
    assert not (tmp_path / "matched.parquet").exists()
    rows, *_ = matched(tmp_path, network, far, origin=(-5000.0, -7000.0))
    assert len(rows) == 50
    with pytest.raises(DataError, match="--origin X,Y"):
        matched(tmp_path, two_way(), far)


def test_rows_in_the_box_but_on_no_road_are_refused(tmp_path: Path):
    network = two_way()
    wide = edge("north", "n", "m", [(0, 900), (600, 900)])
    network = replace(network, edges={**network.edges, "north": wide})
    with pytest.raises(DataError, match="belong elsewhere"):
        matched(tmp_path, network, track(np.arange(0, 500, 10.0), 500.0))
    assert list(tmp_path.glob(".*partial")) == []


def test_a_table_without_coordinates_and_a_bad_noise_are_refused(tmp_path: Path):
    frame = track(np.arange(10.0), 0.0).drop(columns=["y_m"]).assign(road="R", road_m=1.0)
    with pytest.raises(DataError, match="--chain"):
        matched(tmp_path, two_way(), frame)
    with pytest.raises(DataError, match="above 0"):
        matched(tmp_path, two_way(), track(np.arange(10.0), 0.0), noise_m=0.0)


def test_degrees_need_a_projection(tmp_path: Path):
    frame = track(np.arange(10.0), 0.0).rename(columns={"x_m": "lon_deg", "y_m": "lat_deg"})
    with pytest.raises(ProjectError, match="no projection"):
        matched(tmp_path, two_way(), frame)


def test_degrees_and_plane_give_the_same_edges(tmp_path: Path):
    utm = "+proj=utm +zone=32 +ellps=WGS84 +datum=WGS84 +units=m +no_defs"
    network = replace(two_way(), projection=utm, offset=(-500_000.0, -5_500_000.0))
    plane = track(np.arange(0, 600, 10.0), 0.5)
    lon, lat = Projection(network).to_degrees(plane["x_m"], plane["y_m"])
    degrees = plane.drop(columns=["x_m", "y_m"]).assign(lon_deg=lon, lat_deg=lat)
    by_plane, *_ = matched(tmp_path, network, plane)
    by_degrees, _, account = matched(tmp_path, network, degrees)
    assert by_plane["edge"].tolist() == by_degrees["edge"].tolist()
    assert np.allclose(by_plane["position_m"], by_degrees["position_m"], atol=0.01)
    assert account.facts["coordinates"].startswith("WGS 84")


def test_far_apart_keeps_first_last_and_the_spacing():
    points = Points(track=np.r_[np.zeros(11, int), np.ones(2, int)], x_m=np.r_[np.arange(11.0), 0, 1], y_m=np.zeros(13))
    assert far_apart(points, 4.0).tolist() == [0, 4, 8, 10, 11, 12]


def test_route_lengths_are_those_of_the_road():
    network = two_way()
    routes = RouteLengths(network)
    table = routes.table(np.arange(4), 2000.0)
    got = table.between(np.array([0, 0, 0, 2]), np.array([1, 2, 0, 0]))
    # Junction b is 10 m wide, c 4 m; no way leads from an edge to itself, nor from the west back to the east.
    assert got.tolist() == [10.0, 10.0 + 295.0 + 4.0, np.inf, np.inf]
    assert routes.path(0, 3) == (0, 1, 2, 3) and routes.path(3, 0) is None


def test_tracks_of_very_different_lengths_are_matched_side_by_side():
    network = two_way()
    index, routes = LaneIndex(network), RouteLengths(network)
    x = [np.arange(0, 590, 10.0), np.array([5.0]), np.arange(590, 0, -30.0)]
    y = [np.zeros(59), np.zeros(1), np.full(20, 4.0)]
    number = np.repeat([0, 1, 2], [59, 1, 20])
    found = match_tracks(Points(track=number, x_m=np.concatenate(x), y_m=np.concatenate(y)), index, routes, sigma_m=2.0)
    ids = np.array(network.edge_ids)[found.edge]
    assert set(ids[number == 0]) == {"east1", "east2"}
    assert ids[number == 1].tolist() == ["east1"]
    assert set(ids[number == 2]) == {"west1", "west2"}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[pd.DataFrame, RoadNetwork]:
    """Five minutes on the grid, with the true edges."""
    import sumo  # type: ignore[import-not-found]

    folder = tmp_path_factory.mktemp("grid")
    sumocfg = GRID.with_suffix("").with_suffix(".sumocfg")
    begin = 57_600
    out = folder / "fcd.parquet"
    program = Path(sumo.SUMO_HOME) / "bin" / "sumo"
    subprocess.run(
        [program, "-c", sumocfg, "--begin", str(begin), "--end", str(begin + 300), "--fcd-output", out, "--no-step-log",
         "--no-warnings"],
        check=True, capture_output=True,
    )  # fmt: skip
    rows = pd.read_parquet(out).dropna(subset=["vehicle_id"])
    frame = pd.DataFrame(
        {
            "day": np.int32(0),
            "time_s": rows["timestep_time"],
            "vehicle": rows["vehicle_id"],
            "speed_mps": rows["vehicle_speed"].astype("float32"),
            "x_m": rows["vehicle_x"],
            "y_m": rows["vehicle_y"],
            "edge": rows["vehicle_lane"].str.rsplit("_", n=1).str[0],
            "lane": rows["vehicle_lane"].str.rsplit("_", n=1).str[1].astype("int16"),
            "position_m": rows["vehicle_pos"].astype("float32"),
        }
    )
    return frame, read_network(GRID)


# With 5 m of noise a row near a junction may fall on the edge before or after it.
@pytest.mark.parametrize(
    ("noise_m", "thinning_s", "least"), [(0.0, 1, 0.995), (0.0, 5, 0.99), (5.0, 1, 0.96), (5.0, 5, 0.95)]
)
def test_simulated_truth_is_found_again(tmp_path: Path, simulated, noise_m: float, thinning_s: int, least: float):
    truth, network = simulated
    truth = truth[truth["time_s"] % thinning_s == 0]
    rng = np.random.default_rng(7)
    seen = truth.drop(columns=["edge", "lane", "position_m"]).assign(
        x_m=truth["x_m"] + rng.normal(0, noise_m, len(truth)), y_m=truth["y_m"] + rng.normal(0, noise_m, len(truth))
    )
    rows, quality, _ = matched(tmp_path, network, seen)
    both = truth.merge(rows, on=["day", "vehicle", "time_s"], how="left", suffixes=("", "_found"))
    on_edge = both[~both["edge"].str.startswith(":")]
    right = on_edge["edge"] == on_edge["edge_found"]
    by_length = np.average(right, weights=on_edge["speed_mps"])
    assert by_length > least
    assert quality.share_matched == 1.0 and quality.share_connected > 0.98
    if noise_m == 0:
        good = on_edge[right]
        assert (good["lane"] == good["lane_found"]).mean() > 0.97  # changing lanes, a vehicle is between two
        assert np.abs(good["position_m"] - good["position_m_found"]).max() < 1.0
    open_trajectories(tmp_path / "matched.parquet", network)


def road_rows(road_m, lane, road: str = "R") -> pd.DataFrame:
    count = len(road_m)
    return pd.DataFrame(
        {
            "day": np.zeros(count, np.int32),
            "time_s": np.arange(count, dtype=float),
            "vehicle": "v",
            "speed_mps": np.full(count, 10.0, np.float32),
            "road": road,
            "road_m": np.asarray(road_m, float),
            "road_lane": np.asarray(lane, np.int16),
        }
    )


def attached(folder: Path, network: RoadNetwork, frame: pd.DataFrame, **options):
    source, target = folder / "road.parquet", folder / "on_edges.parquet"
    frame.to_parquet(source, index=False)
    account = attach(source, target, network, **options)
    return pd.read_parquet(target), account


def test_a_road_lies_on_its_chain(tmp_path: Path):
    rows, account = attached(
        tmp_path,
        handmade.road(3),
        road_rows([0, 399, 401, 900, 1399], [1, 1, 2, 3, 3]),
        chain=handmade.NAMES,
        offset_m=100,
    )
    assert rows["edge"].tolist() == ["before", "before", "here", "after", "after"]
    assert np.allclose(rows["position_m"], [100, 499, 1, 0, 499])
    assert rows["lane"].tolist() == [2, 2, 1, 0, 0]
    assert rows["road_lane"].tolist() == [1, 1, 2, 3, 3]
    assert (account.rows, account.kept, account.subjects) == (5, 5, 1)


def test_lanes_counted_from_the_right_and_lanes_by_name(tmp_path: Path):
    frame = road_rows([10, 20, 30], [0, 1, 2])
    rows, _ = attached(tmp_path, handmade.road(3), frame, chain=["before"], counted_from="right")
    assert rows["lane"].tolist() == [0, 1, 2]
    rows, account = attached(tmp_path, handmade.road(3), frame, chain=["before"], lanes={0: 2, 1: 0})
    assert rows["lane"].tolist() == [2, 0]
    assert account.dropped == {"on a lane that --lanes leaves out": 1}


def test_lanes_count_from_the_kerb_which_is_on_the_left_in_left_hand_traffic(tmp_path: Path):
    """SUMO's lane 0 is the one at the kerb, whichever side that is."""
    frame, network = road_rows([10, 20, 30], [1, 2, 3]), replace(handmade.road(3), left_hand=True)
    rows, account = attached(tmp_path, network, frame, chain=["before"], counted_from="left")
    assert rows["lane"].tolist() == [0, 1, 2]
    assert account.derived["lane"] == "source lanes 1, 2, 3 counted from the left, 1 is the first"
    rows, _ = attached(tmp_path, network, frame, chain=["before"], counted_from="right")
    assert rows["lane"].tolist() == [2, 1, 0]


def test_rows_between_two_edges_are_inside_the_junction(tmp_path: Path):
    rows, account = attached(tmp_path, two_way(), road_rows([294, 300, 306], [1, 1, 1]), chain=["east1", "east2"])
    assert rows["edge"].tolist() == ["east1", ":b", "east2"]
    assert rows["position_m"].tolist() == [294.0, 0.0, 1.0]
    assert account.facts["junctions"] == "1 rows inside junctions"


def test_every_problem_of_a_chain_is_listed(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        chain_pieces(handmade.road(), ["before", "after", "hree"])
    assert len(caught.value.problems) == 2
    assert "near it: here" in str(caught.value) and "before does not lead to after" in str(caught.value)
    with pytest.raises(DataError) as caught:
        attached(tmp_path, handmade.road(2), road_rows([0, 600], [1, 5]), chain=["before"], offset_m=-20)
    said = str(caught.value)
    assert len(caught.value.problems) == 2
    assert "must be longer by 100.0 m" in said and "source lane 5" in said
    assert not (tmp_path / "on_edges.parquet").exists()


def test_an_offset_that_would_fit_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"--offset between 0\.0 and 100\.0 would fit"):
        attached(tmp_path, handmade.road(), road_rows([0, 400], [1, 1]), chain=["before"], offset_m=300)


def test_one_of_several_roads_must_be_named(tmp_path: Path):
    frame = pd.concat([road_rows([0, 10], [1, 1], "R"), road_rows([0, 10], [1, 1], "S").assign(vehicle="w")])
    with pytest.raises(DataError, match="R, S"):
        attached(tmp_path, handmade.road(), frame, chain=["before"])
    rows, account = attached(tmp_path, handmade.road(), frame, chain=["before"], road="S")
    assert set(rows["vehicle"]) == {"w"} and account.dropped == {"on another road": 2}
    with pytest.raises(DataError, match="'T' is not in the table"):
        attached(tmp_path, handmade.road(), frame, chain=["before"], road="T")
    assert pq.read_schema(tmp_path / "on_edges.parquet").names[:6] == [
        "day",
        "time_s",
        "vehicle",
        "edge",
        "lane",
        "position_m",
    ]
