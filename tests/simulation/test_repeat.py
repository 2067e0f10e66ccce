"""Demand played several times: what the copies hold, and that SUMO plays them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree.ElementTree import Element, parse

import pytest

from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.repeat import write_copies
from scenariogen.simulation.sumo import SumoSimulator
from tests.simulation.small import PLAIN, small_project, vehicle, window

pytestmark = pytest.mark.sumo


def copies(tmp_path: Path, routes: str, *, count: int = 3, period_s: float = 600.0, begin_s: float = 0.0, **others):
    """Elements of the written copies."""
    project = small_project(tmp_path / "project", routes, **others)
    whole = window(count * period_s, copies=count, period_s=period_s)
    if begin_s:
        whole = type(whole)(**{**whole.__dict__, "begin_s": begin_s, "count_from_s": begin_s})
    path = write_copies(project, whole, tmp_path / "work")
    assert path is not None
    assert path.stat().st_mode & 0o777 == path.parent.stat().st_mode & 0o666  # mkstemp's are private
    return list(parse(path).getroot())


def one(elements: list[Element], name: str) -> Element:
    return next(element for element in elements if element.get("id") == name)


def test_vehicles_and_trips_get_new_ids_and_times_and_come_sorted(tmp_path):
    routes = PLAIN + vehicle("v", 5) + '<trip id="t" depart="0:00:30" from="ab" to="cd" type="plain"/>'
    found = copies(tmp_path, routes, additional=vehicle("late", 20.25))
    assert [(each.tag, each.get("id"), each.get("depart")) for each in found] == [
        ("vehicle", "v~1", "605"),
        ("vehicle", "late~1", "620.25"),
        ("trip", "t~1", "630"),
        ("vehicle", "v~2", "1205"),
        ("vehicle", "late~2", "1220.25"),
        ("trip", "t~2", "1230"),
    ]
    assert one(found, "v~1").find("route").get("edges") == "ab bc cd"


def test_flows_are_shifted_and_cut_to_what_departs_after_the_begin(tmp_path):
    routes = (
        PLAIN + '<flow id="f" type="plain" begin="0" end="600" number="60" from="ab" to="cd"/>'
        '<flow id="g" type="plain" begin="400" end="600" period="10" from="ab" to="cd"/>'
        '<flow id="endless" type="plain" begin="0" period="10" from="ab" to="cd"/>'
        '<flow id="over" type="plain" begin="0" end="100" period="10" from="ab" to="cd"/>'
    )
    found = copies(tmp_path, routes, count=2, begin_s=300.0)
    assert {each.get("id") for each in found} == {"f~1", "g~1"}
    assert [one(found, "f~1").get(name) for name in ("begin", "end", "number")] == ["900", "1200", "30"]
    assert [one(found, "g~1").get(name) for name in ("begin", "end", "period")] == ["1000", "1200", "10"]


def test_stops_are_shifted_and_types_and_routes_are_not_repeated(tmp_path):
    stop = '<stop lane="bc_0" endPos="50" duration="5" until="90" arrival="80"/>'
    routes = (
        PLAIN
        + f'<route id="free" edges="ab bc cd"/><route id="timed" edges="ab bc cd">{stop}</route>'
        + vehicle("v", 5, inner=stop)
        + '<vehicle id="w" type="plain" depart="6" route="free"/>'
        + '<vehicle id="x" type="plain" depart="7" route="timed"/>'
    )
    found = copies(tmp_path, routes, count=2)
    assert [each.tag for each in found] == ["route", "vehicle", "vehicle", "vehicle"]
    assert one(found, "timed~1").find("stop").get("until") == "690"
    assert one(found, "x~1").get("route") == "timed~1"
    assert one(found, "w~1").get("route") == "free"
    moved = one(found, "v~1").find("stop")
    assert (moved.get("until"), moved.get("arrival"), moved.get("duration")) == ("690", "680", "5")


def test_persons_ride_in_the_copy_of_their_vehicle(tmp_path):
    routes = (
        PLAIN
        + '<vehicle id="cab" type="plain" depart="triggered"><route edges="ab bc cd"/></vehicle>'
        + '<person id="p" depart="40"><ride from="ab" to="cd" lines="cab line7"/></person>'
    )
    found = copies(tmp_path, routes, count=2)
    assert one(found, "cab~1").get("depart") == "triggered"
    assert one(found, "p~1").find("ride").get("lines") == "cab~1 line7"


def test_containers_are_carried_by_the_copy_of_their_vehicle(tmp_path):
    routes = (
        PLAIN
        + '<vehicle id="lorry" type="plain" depart="containerTriggered"><route edges="ab bc cd"/></vehicle>'
        + '<container id="c" depart="40"><transport from="ab" to="cd" lines="lorry"/></container>'
    )
    found = copies(tmp_path, routes, count=2)
    assert one(found, "c~1").find("transport").get("lines") == "lorry~1"


def test_what_sumo_drops_is_not_repeated(tmp_path):
    found = copies(tmp_path, PLAIN + vehicle("v", 50) + vehicle("unsorted", 20), count=2)
    assert [each.get("id") for each in found] == ["v~1"]
    early = copies(tmp_path / "b", PLAIN + vehicle("early", 50) + vehicle("v", 320), count=2, begin_s=300.0)
    assert [each.get("id") for each in early] == ["v~1"]


def test_one_play_needs_no_copies_and_the_project_stays_untouched(tmp_path):
    project = small_project(tmp_path / "project", PLAIN + vehicle("v", 0))
    assert write_copies(project, window(600), tmp_path / "work") is None
    assert not (tmp_path / "work").exists()


def test_many_at_once_write_one_file(tmp_path):
    project = small_project(tmp_path / "project", PLAIN + "".join(vehicle(f"v{i}", i) for i in range(200)))
    whole = window(1200, copies=2, period_s=600)
    with ThreadPoolExecutor(4) as pool:
        paths = set(pool.map(lambda _: write_copies(project, whole, tmp_path / "work"), range(8)))
    assert [path.name for path in (tmp_path / "work").iterdir()] == [path.name for path in paths]
    assert len(list(parse(paths.pop()).getroot())) == 200


def test_sumo_plays_every_copy(tmp_path):
    routes = vehicle("v", 5) + '<flow id="f" type="plain" begin="10" end="110" period="10" from="ab" to="cd"/>'
    project = small_project(tmp_path / "project", routes, additional=PLAIN + vehicle("early", 1))
    request = RunRequest(window=window(900, copies=3, period_s=300), seed=1, folder=tmp_path / "run")
    departed = []
    with SumoSimulator(project).open(request) as run:
        while run.time_s < 900:
            run.step()
            departed += run.connection.simulation.getDepartedIDList()
    assert len(departed) == len(set(departed)) == 3 * 12
    assert {"v", "v~1", "v~2", "early~2", "f~2.9"} <= set(departed)
