"""Records of known places on hand-made and on simulated roads."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely

from scenariogen.errors import DataError, ProjectError
from scenariogen.incidents.locate import edge_names, locate, name_likeness
from scenariogen.mapgeometry import LaneIndex, Projection
from scenariogen.network import RoadNetwork, read_network
from tests.support import resco
from tests.trajectories.test_mapmatch import edge, two_way

UTM = "+proj=utm +zone=32 +ellps=WGS84 +datum=WGS84 +units=m +no_defs"
NAMES = {"east1": "Interstate 10", "east2": "Interstate 10", "west1": "Interstate 10", "west2": "Interstate 10"}


def network() -> RoadNetwork:
    """Two carriageways with degrees, and a street 30 m north of them that runs east as well."""
    made = two_way()
    street = edge("street", "s", "t", [(0, 34), (600, 34)])
    return replace(made, projection=UTM, offset=(-500_000.0, -5_500_000.0), edges={**made.edges, "street": street})


def record(x: float | None = None, y: float = 0.0, **other) -> dict:
    lon, lat = Projection(network()).to_degrees(x, y) if x is not None else (math.nan, math.nan)
    return {
        "lon_deg": float(lon), "lat_deg": float(lat), "geometry": None, "road": "", "direction": "",
        "milepost": math.nan, **other,
    }  # fmt: skip


def line(*points: tuple[float, float], **other) -> dict:
    lon, lat = Projection(network()).to_degrees([x for x, _ in points], [y for _, y in points])
    return record(geometry=shapely.to_wkb(shapely.LineString(np.c_[lon, lat])), **other)


ON_ROAD = 0.7
STREET = 0.7 * math.exp(-0.5 * ((32 - 1.6) / 20) ** 2)
"""Scores of a record at y = 2 that goes east and has no name: of the motorway under it, and of the street."""
EASTBOUND = ON_ROAD**2 / (ON_ROAD + STREET)


def located(*records: dict, **options):
    options.setdefault("names", {})
    return locate(pd.DataFrame(list(records)), network(), **options)


def test_the_direction_of_a_line_chooses_the_carriageway():
    rows, account = located(line((100, 2), (180, 2)), line((180, 2), (100, 2)))
    assert rows["edge"].tolist() == ["east1", "west2"]
    assert np.allclose(rows["position_m"], [140, 155], atol=0.1)
    assert rows["location_method"].tolist() == ["polyline"] * 2
    # The other carriageway scores nothing in either case; the street has a rival's score for the one to the east.
    assert np.allclose(rows["location_confidence"], [EASTBOUND, ON_ROAD], atol=0.003)
    assert account.facts["methods"] == "2 by polyline"


def test_a_point_needs_a_direction_to_be_trusted():
    rows, _ = located(record(100, 2, direction="E"), record(100, 2, direction="W"), record(100, 2))
    assert rows["edge"].tolist()[:2] == ["east1", "west2"]
    sure, _, unsure = rows["location_confidence"]
    assert sure == pytest.approx(EASTBOUND, abs=0.003)
    # Half for no direction, half again for the two carriageways that are equally near.
    assert unsure == pytest.approx(0.7 * 0.5 * 0.5, abs=0.003)


def test_a_compass_letter_allows_45_degrees_and_no_right_angle():
    rows, account = located(record(100, 0, direction="N"), record(100, 0, direction="E"))
    # A lane to the east is 90 degrees from north, 45 of them free: (1 + cos 45°) / 2 = 0.854 for both carriageways.
    assert rows["location_confidence"].iloc[0] < 0.854 * 0.7 * 0.55
    assert rows["location_confidence"].iloc[1] > 0.53
    assert account.dropped == {}


def test_the_name_of_the_road_decides_between_parallel_roads():
    names = {**NAMES, "street": "Main Street"}
    # 20 m from the street's lane, 14 m from the motorway's.
    rows, _ = located(
        record(300, 14, direction="E", road="Main St"), record(100, 20, direction="E", road="I-10 EB"), names=names
    )
    assert rows["edge"].tolist() == ["street", "east1"]
    plain, _ = located(record(100, 20, direction="E"), names=names)
    assert plain["edge"].tolist() == ["street"]


def test_a_line_against_its_letter_is_trusted_half():
    with_it, against = (located(line((100, 0), (180, 0), direction=way))[0] for way in ("E", "W"))
    assert against["edge"].tolist() == with_it["edge"].tolist() == ["east1"]
    ratio = against["location_confidence"].iloc[0] / with_it["location_confidence"].iloc[0]
    assert ratio == pytest.approx(0.5, abs=0.01)


def test_what_lies_elsewhere_is_dropped_with_the_reason():
    names = dict.fromkeys(NAMES, "I 10")
    rows, account = located(
        record(100, 5000), record(), record(100, -60, direction="E", road="Route 99"), record(50, 0), names=names
    )
    assert len(rows) == 1 and account.rows == 4 and account.kept == 1
    assert account.dropped == {
        "farther than 100 m from every edge": 1,
        "without coordinates": 1,
        "near edges that run another way or bear another name": 1,
    }


def test_mileposts_are_interpolated_along_the_way():
    posts = pd.DataFrame(
        [("I-10", "E", 1.0, "east1", 100.0), ("I-10", "E", 2.0, "east2", 205.0), ("I-10", "W", 2.0, "west1", 95.0),
         ("I-10", "W", 1.0, "west2", 195.0)],
        columns=["road", "direction", "milepost", "edge", "position_m"],
    )  # fmt: skip
    rows, account = located(
        *(record(road="Interstate 10", direction=way, milepost=at)
          for way, at in (("E", 1.0), ("E", 1.25), ("E", 1.75), ("W", 1.75))),
        record(road="I-10", milepost=1.0),
        record(road="I-10", direction="E", milepost=7.0),
        record(road="I-17", direction="E", milepost=1.0),
        record(road="I-10", direction="E"),
        mileposts=posts,
    )  # fmt: skip
    assert rows["edge"].tolist() == ["east1", "east1", "east2", "west1", "east1"]
    # 195 m of east1 and 205 m of east2 lie between the posts; westbound 200 m of west1 and 195 m of west2.
    assert np.allclose(rows["position_m"], [100, 200, 105, 95 + 395 / 4, 100])
    expected = [0.95, 0.95 / 1.2, 0.95 / 1.2, 0.95 / (1 + 395 / 2000), 0.475]
    assert np.allclose(rows["location_confidence"], expected)
    assert account.dropped == {
        "beyond the mileposts of the table": 1,
        "on a road or direction without mileposts in the table": 1,
        "without coordinates and without a milepost": 1,
    }


def test_every_problem_of_the_mileposts_is_listed():
    posts = pd.DataFrame(
        [("I-10", "E", 1.0, "eest1", 1.0), ("I-10", "E", "x", "east1", 900.0), ("I-10", "up", 1.0, "east1", 1.0)],
        columns=["road", "direction", "milepost", "edge", "position_m"],
    )
    with pytest.raises(DataError) as caught:
        located(record(50), mileposts=posts)
    assert len(caught.value.problems) == 4
    with pytest.raises(DataError, match="lacks edge"):
        located(record(50), mileposts=posts.drop(columns="edge"))


def test_a_network_without_projection_and_a_foreign_table_are_refused():
    with pytest.raises(ProjectError, match="no projection"):
        locate(pd.DataFrame([record(50)]), two_way(), names={})
    with pytest.raises(DataError, match="milepost"):
        locate(pd.DataFrame([record(50)]).drop(columns="milepost"), network(), names={})


@pytest.mark.parametrize(
    ("one", "other", "least", "most"),
    [
        ("Main St", "Main Street", 1, 1),
        ("N Main St", "Main Street", 1, 1),
        ("I-10 WB", "Interstate 10", 1, 1),
        ("I-10", "I-17", 0, 0),
        ("Foothill Blvd", "Foothill Boulevard", 1, 1),
        ("Huntington Drive", "Colorado Boulevard", 0, 0.6),
    ],
)
def test_names_are_compared_as_people_do(one: str, other: str, least: float, most: float):
    assert least <= name_likeness(one, other) <= most
    assert name_likeness(one, other) == name_likeness(other, one)


def test_names_are_read_from_the_network_file(tmp_path: Path):
    path = tmp_path / "net.net.xml"
    path.write_text('<net><edge id="east1" name=" Main Street "/><edge id="east2"/><edge id="x" name="other"/></net>')
    made = replace(network(), path=path)
    assert edge_names(made) == {"east1": "Main Street"}
    path.write_text("<net><edge")
    with pytest.raises(DataError, match="road names"):
        edge_names(made)


def test_records_on_a_real_network_are_found_again():
    """Lines of 60 m along lanes of cologne8, 5 m off: the edge and the place are known."""
    made = read_network(resco("cologne8").with_suffix(".net.xml"))
    index, projection = LaneIndex(made), Projection(made)
    rng = np.random.default_rng(3)
    long = np.flatnonzero(index.lengths_m > 80)
    lanes = rng.choice(long, 150)
    at = rng.uniform(35, index.lengths_m[lanes] - 35)
    lines, points = [], []
    for lane, middle in zip(lanes, at, strict=True):
        along = (middle + np.array([-30.0, 0.0, 30.0])) / index.stretch[lane]
        corners = shapely.get_coordinates(shapely.line_interpolate_point(index.lines[lane], along))
        corners += rng.normal(0, 5, 2)
        lon, lat = projection.to_degrees(corners[:, 0], corners[:, 1])
        lines.append(record(geometry=shapely.to_wkb(shapely.LineString(np.c_[lon, lat]))))
        points.append({**record(), "lon_deg": lon[1], "lat_deg": lat[1]})
    true = np.array(made.edge_ids)[index.lanes[lanes, 0]]
    by_line, account = locate(pd.DataFrame(lines), made)
    assert account.kept == 150
    right = by_line["edge"].to_numpy() == true
    assert right.mean() > 0.95
    off = np.abs(by_line["position_m"].to_numpy() - at)[right]
    assert np.quantile(off, 0.95) < 15
    by_point, _ = locate(pd.DataFrame(points), made)
    right_by_point = by_point["edge"].to_numpy() == true
    # Which of two directions a point without one means is a coin; trust says so.
    assert right_by_point.mean() < right.mean() - 0.1
    trust, less = (float(np.median(each["location_confidence"])) for each in (by_line, by_point))
    assert less < 0.6 * trust


def test_what_makes_places_unsure_is_told_with_the_way_on():
    """A log with coordinates alone was located without a word, and then not one record of it was used."""
    _, sure = located(line((180, 2), (100, 2)))
    assert sure.findings == ()
    _, account = located(record(100, 2), record(180, 2), line((180, 2), (100, 2)), file="log.csv")
    (told,) = account.findings
    assert told.rows == 2 and not told.is_problem
    assert told.text == (
        "have a place less sure than 0.5, and `fit` leaves them out unless --least-confidence says otherwise: "
        "2 have no direction (0.5 at most), 2 no road name, of their own or of the edge (times 0.7)"
    )
