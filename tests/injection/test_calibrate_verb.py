"""``scenariogen calibrate``: the table, the page, and a project measured once."""

import json

import pytest

from scenariogen.incidents.capacity import reachable
from scenariogen.incidents.capacity_tables import shipped_tables
from scenariogen.injection.calibration_cache import find_table, table_traffic
from scenariogen.injection.rig import build_road
from scenariogen.network import RoadClass
from scenariogen.report.capacity_page import capacity_figure
from tests.cli.runner import scenariogen


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_without_a_project_the_shipped_table_is_shown_and_drawn(tmp_path):
    out = tmp_path / "capacity.html"
    said = scenariogen("calibrate", "--out", out)
    assert said.exit_code == 0
    lines = said.stdout.splitlines()
    low, high = reachable(RoadClass.MOTORWAY, 3, 1)
    (row,) = [line for line in lines if line.split()[:4] == ["motorway", "110", "3", "1"] and "inner" not in line]
    assert f"{low:.2f} to {high:.2f}" in row
    assert any("left at a stop line" in line for line in lines)
    page = out.read_text()
    assert page.count("Plotly.newPlot(") == 15 and 'src="http' not in page
    assert not (tmp_path / "cache").exists()


def test_json_has_the_range_of_every_cross_section(tmp_path):
    said = json.loads(scenariogen("calibrate", "--json", "--out", tmp_path / "c.html").stdout)
    assert said["project"] is None and len(said["rows"]) == len(shipped_tables()[0].rows)
    for row in said["rows"]:
        low, high = row["reachable"]
        assert 0 < low < high <= 1 and len(row["share"]) == len(row["speeds_mps"])
    assert {line["before_m"] for line in said["stop_line"]} == {16, 66, 166}


@pytest.mark.parametrize("table", shipped_tables(), ids=lambda table: table.name)
def test_every_curve_is_a_figure_that_plotly_accepts(table):
    import plotly.graph_objects as go

    for road_class, lanes in {(row["road_class"], row["lanes"]) for row in table.rows}:
        figure = go.Figure(capacity_figure(table, road_class, lanes))
        rows = [row for row in table.rows if (row["road_class"], row["lanes"]) == (road_class, lanes)]
        assert len(figure.to_dict()["data"]) == 2 * len(rows)


@pytest.mark.parametrize("table", shipped_tables(), ids=lambda table: table.name)
def test_each_shipped_table_is_found_by_its_own_traffic(table):
    assert find_table(table_traffic(table)) is table


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--again",), "--again needs --network or --sumocfg"),
        (("--out", "capacity.png"), "ends in .html"),
        (("--sumocfg", "nowhere.sumocfg"), "does not exist"),
        (("--network", "cologne1", "--sumocfg", "a.sumocfg"), "exactly one"),
    ],
)
def test_mistakes_are_told(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = scenariogen("calibrate", *arguments)
    assert result.exit_code in (1, 2) and said in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.sumo
def test_a_project_of_other_traffic_is_measured_once(tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    build_road(folder, lanes=1, limit_mps=50 / 3.6)
    (folder / "d.rou.xml").write_text(
        '<routes><vType id="slow" tau="1.6"/><route id="all" edges="before middle after"/>'
        '<flow id="f" type="slow" route="all" begin="0" end="600" vehsPerHour="500"/></routes>'
    )
    (folder / "a.sumocfg").write_text(
        '<configuration><input><net-file value="road.net.xml"/><route-files value="d.rou.xml"/></input></configuration>'
    )
    before = {path: path.read_bytes() for path in folder.iterdir()}
    asked = ("calibrate", "--sumocfg", folder / "a.sumocfg", "--json", "--out", tmp_path / "c.html")
    first = json.loads(scenariogen(*asked).stdout)
    assert first["project"]["measured_now"] and first["project"]["differences"] == ["mean tau 1.6, not 1"]
    (row,) = first["rows"]
    assert (row["road_class"], row["lanes"], row["blocked"]) == ("street", 1, 0)
    assert 1000 < row["free_veh_h"] < 1500  # 1 / (1.6 s + 7.5 m / 13.9 m/s) is 1,680 an hour without dawdling
    second = json.loads(scenariogen(*asked).stdout)
    assert not second["project"]["measured_now"] and second["rows"] == first["rows"]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
