"""Demand counted from files, in every form in which SUMO takes it."""

import gzip
import math
import time

import pytest

from scenariogen.simulation.demand import read_demand
from scenariogen.simulation.project import open_project
from tests.support import resco, shared_data


def read(tmp_path, routes: str, additional: str = "", *, begin_s: float = 0.0):
    """Demand of a route file and an additional file; problems raise."""
    route_file, additional_file = tmp_path / "r.rou.xml", tmp_path / "a.add.xml"
    route_file.write_text(f"<routes>{routes}</routes>")
    additional_file.write_text(f"<additional>{additional}</additional>")
    problems: list[str] = []
    demand = read_demand([route_file], [additional_file], begin_s=begin_s, on_problem=problems.append)
    assert problems == []
    return demand


@pytest.mark.parametrize(
    ("flow", "count"),
    [
        ('begin="0" end="3600" vehsPerHour="120"', 120),
        ('begin="0" end="1800" perHour="120"', 60),
        ('begin="100" end="700" period="10"', 60),
        ('begin="0" end="600" period="exp(0.2)"', 120),
        ('begin="0" end="600" probability="0.1"', 60),
        ('begin="0" end="600" number="17"', 17),
        ('begin="0" number="30" period="20"', 30),
        ('begin="0:00:00" end="0:10:00" period="60"', 10),
    ],
)
def test_flows(tmp_path, flow, count):
    demand = read(tmp_path, f'<flow id="f" from="a" to="b" {flow}/>')
    assert demand.vehicles() == pytest.approx(count)


def test_flows_within_an_interval_have_its_span(tmp_path):
    flows = '<flow id="f" from="a" to="b" number="10"/><flow id="g" from="a" to="b" end="300" vehsPerHour="120"/>'
    trip = '<trip id="t" depart="900" from="a" to="b"/>'
    demand = read(tmp_path, f'<interval begin="100" end="700">{flows}</interval>{trip}')
    assert demand.vehicles() == pytest.approx(10 + 120 * 200 / 3600 + 1)
    assert (demand.first_s(), demand.last_s()) == (100, 900)


def test_part_of_a_flow_is_counted_by_its_rate(tmp_path):
    demand = read(tmp_path, '<flow id="f" from="a" to="b" begin="0" end="3600" vehsPerHour="360"/>')
    assert demand.vehicles(600, 1200) == pytest.approx(60)
    assert demand.first_s(1000) == 1000


def test_a_flow_without_end_is_endless_and_begins_with_the_simulation(tmp_path):
    demand = read(tmp_path, '<flow id="f" from="a" to="b" period="10"/>', begin_s=500)
    assert demand.is_endless
    assert demand.first_s() == 500
    assert math.isinf(demand.vehicles())
    assert demand.vehicles(500, 1500) == pytest.approx(100)


def test_vehicles_and_trips_in_route_and_additional_files_and_includes(tmp_path):
    (tmp_path / "inner.xml").write_text('<routes><trip id="t2" depart="70" from="a" to="b"/></routes>')
    demand = read(
        tmp_path,
        '<vehicle id="v" depart="10"><route edges="a b"/></vehicle><trip id="t" depart="0:01:00" from="a" to="b"/>'
        '<include href="inner.xml"/>',
        '<route id="r" edges="a b"/><vehicle id="w" depart="5" route="r"/><person id="p" depart="3"/>',
    )
    assert demand.vehicles() == 4
    assert (demand.first_s(), demand.last_s(), demand.persons) == (5, 70, 1)
    assert [journey.edges for journey in demand.journeys if journey.is_route] == [("a", "b"), ("a", "b")]


def test_included_files_that_include_each_other_are_refused(tmp_path):
    (tmp_path / "r.rou.xml").write_text('<routes><include href="r.rou.xml"/></routes>')
    problems: list[str] = []
    read_demand([tmp_path / "r.rou.xml"], [], begin_s=0, on_problem=problems.append)
    assert "include each other" in problems[0]


def test_entries_out_of_order_are_dropped_as_sumo_does(tmp_path):
    route = '<route edges="a b"/>'
    demand = read(
        tmp_path,
        f'<vehicle id="v" depart="50">{route}</vehicle><vehicle id="w" depart="20">{route}</vehicle>'
        f'<vehicle id="bus" depart="10" line="7">{route}</vehicle><flow id="f" begin="0" end="90" number="9"/>'
        f'<vehicle id="late_bus" depart="90" line="7">{route}</vehicle><vehicle id="x" depart="60">{route}</vehicle>',
        f'<vehicle id="y" depart="9">{route}</vehicle><vehicle id="z" depart="1">{route}</vehicle>',
    )
    assert demand.out_of_order == 3
    assert demand.vehicles() == 5


@pytest.mark.sumo
@pytest.mark.parametrize(
    "entries",
    [
        "{flow:100}{vehicle:50}",
        "{vehicle:50}{flow:20}",
        "{vehicle:50}{bus:20}",
        "{bus:100}{vehicle:50}",
        "{person:80}{vehicle:50}{vehicle:90}",
        "{flow:100}{flow:50}",
        "{vehicle:10}{bus:20}{flow:30}{vehicle:40}",
    ],
)
def test_sumo_plays_what_we_count(tmp_path, entries):
    from scenariogen.simulation.contract import RunRequest
    from scenariogen.simulation.sumo import SumoSimulator
    from tests.simulation.small import PLAIN, small_project, window

    class Entry:
        def __init__(self, text):
            self.text = text

        def __format__(self, time):
            return self.text.format(time=time, end=int(time) + 60, id=f"i{time}")

    project = small_project(
        tmp_path / "p",
        PLAIN
        + entries.format(
            vehicle=Entry('<vehicle id="{id}" type="plain" depart="{time}"><route edges="ab bc"/></vehicle>'),
            bus=Entry('<vehicle id="{id}" line="7" type="plain" depart="{time}"><route edges="ab bc"/></vehicle>'),
            flow=Entry('<flow id="{id}" type="plain" begin="{time}" end="{end}" period="20" from="ab" to="bc"/>'),
            person=Entry('<person id="{id}" depart="{time}"><walk edges="ab"/></person>'),
        ),
    )
    with SumoSimulator(project).open(RunRequest(window=window(300), seed=1, folder=tmp_path / "run")) as run:
        while run.time_s < 250:
            run.step()
        loaded = int(run.connection.simulation.getParameter("", "stats.vehicles.loaded"))
    assert project.demand.vehicles() == loaded


def test_vehicles_that_wait_for_passengers_have_no_departure(tmp_path):
    demand = read(tmp_path, '<vehicle id="taxi" depart="triggered"><route edges="a b"/></vehicle>')
    assert (demand.triggered, demand.vehicles(), demand.is_empty) == (1, 0, False)


def test_most_vehicles_decide_how_they_start(tmp_path):
    trips = "".join(
        f'<trip id="{i}" depart="{i}" from="a" to="b" departSpeed="{s}"/>' for i, s in enumerate("00m", start=1)
    )
    assert not read(tmp_path, trips.replace('"m"', '"max"')).flying_start
    assert read(tmp_path, trips.replace('"0"', '"max"').replace('"m"', '"max"')).flying_start
    assert read(tmp_path, '<trip id="t" depart="0" from="a" to="b"/>').flying_start


def test_a_sample_of_journeys_is_spread_over_the_file(tmp_path):
    trips = "".join(f'<trip id="{i}" depart="{i}" from="e{i}" to="b"/>' for i in range(9000))
    demand = read(tmp_path, trips)
    assert 1000 <= len(demand.journeys) <= 2001
    numbers = [int(journey.edges[0][1:]) for journey in demand.journeys]
    assert numbers[0] == 0
    assert numbers[-1] > 8900


def test_plain_and_gzipped_files_read_the_same(tmp_path):
    text = '<routes><trip id="t" depart="1" from="a" to="b"/></routes>'
    (tmp_path / "plain.gz").write_text(text)  # the name says nothing, the content does
    (tmp_path / "zipped.xml").write_bytes(gzip.compress(text.encode()))
    for name in ("plain.gz", "zipped.xml"):
        assert read_demand([tmp_path / name], [], begin_s=0, on_problem=pytest.fail).vehicles() == 1


@pytest.mark.data
def test_bologna_is_counted_in_well_under_two_seconds():
    path = shared_data("networks", "bologna_acosta", "run.sumocfg")
    began = time.process_time()
    demand = open_project(path).demand
    assert time.process_time() - began < 2
    assert demand.vehicles() == 8779
    assert demand.first_s() == 0
    assert demand.flying_start


@pytest.mark.data
@pytest.mark.parametrize(
    ("parts", "vehicles", "last_s"),
    [(("i210", "config_file.sumocfg"), 7444, 3599.8), (("chicago_roosevelt", "roosevelt.sumocfg"), 1091, 600)],
)
def test_other_real_demand(parts, vehicles, last_s):
    demand = open_project(shared_data("networks", *parts)).demand
    assert demand.vehicles() == pytest.approx(vehicles, abs=1)
    assert demand.last_s() == pytest.approx(last_s, abs=0.1)


def test_resco_demand():
    assert open_project(resco("cologne8")).demand.vehicles() == 2046
