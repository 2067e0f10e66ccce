"""Opening projects in all of SUMO's spellings, and every way in which one can be broken."""

import gzip
import pickle
import shutil

import pytest

from scenariogen.errors import ProjectError
from scenariogen.simulation.overrides import overrides
from scenariogen.simulation.project import open_project
from scenariogen.simulation.study import study_window
from tests.simulation.small import PLAIN, line, small_project, vehicle, write_project
from tests.support import resco, shared_data

pytestmark = pytest.mark.sumo
ROUTES = PLAIN + vehicle("v", 0)


def problems_of(path) -> tuple[str, ...]:
    with pytest.raises(ProjectError) as caught:
        open_project(path)
    return caught.value.problems


def test_a_plain_project(tmp_path):
    project = small_project(tmp_path, ROUTES, options='<time><begin value="0:10:00"/><step-length value="0.5"/></time>')
    assert project.name == "small"
    assert (project.begin_s, project.end_s, project.step_length_s) == (600.0, None, 0.5)
    assert project.net_file == tmp_path / "road.net.xml"
    assert set(project.network().edges) == {"ab", "bc", "cd", "bu", "ud", "dc"}
    assert project.demand.vehicles() == 1


def test_short_names_other_attribute_and_any_section(tmp_path):
    write_project(tmp_path, ROUTES)
    odd = tmp_path / "odd.sumocfg"
    odd.write_text(
        '<c><whatever><n v="road.net.xml"/></whatever><r value=" demand.rou.xml "/><b v="5"/><x1><e v="70"/></x1>'
        '<srand value="7"/><tripinfo v="t.xml"/></c>'
    )
    project = open_project(odd)
    assert (project.begin_s, project.end_s) == (5.0, 70.0)
    assert project.options["seed"] == "7"
    assert project.options["tripinfo-output"] == "t.xml"


def test_gzipped_files_and_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("WHERE", "demand")
    write_project(tmp_path, ROUTES, zipped=True, additional="<poi id='p' x='0' y='0'/>")
    (tmp_path / "road.net.xml").unlink()
    (tmp_path / "road.net.xml.gz").write_bytes(gzip.compress(line().encode()))
    path = tmp_path / "z.sumocfg"
    path.write_text('<c><net value="road.net.xml.gz"/><routes value="${WHERE}.rou.xml.gz"/></c>')
    assert open_project(path).demand.vehicles() == 1


def test_hash_is_the_same_elsewhere_and_changes_with_any_input(tmp_path):
    write_project(tmp_path / "one", ROUTES, additional='<include href="deep.xml"/>')
    (tmp_path / "one" / "deep.xml").write_text("<additional/>")
    first = open_project(tmp_path / "one" / "small.sumocfg")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    again = open_project(tmp_path / "two" / "small.sumocfg")
    assert again.hash == first.hash
    for name in ("small.sumocfg", "road.net.xml", "demand.rou.xml", "more.add.xml", "deep.xml"):
        file = tmp_path / "two" / name
        before = file.read_text()
        file.write_text(before + "<!-- changed -->")
        assert open_project(tmp_path / "two" / "small.sumocfg").hash != first.hash, name
        file.write_text(before)


def test_a_project_can_be_sent_to_another_process(tmp_path):
    project = small_project(tmp_path, ROUTES)
    project.free_flow()
    copy = pickle.loads(pickle.dumps(project))
    assert copy.hash == project.hash
    assert copy.network().edge_ids == project.network().edge_ids


def test_all_problems_at_once(tmp_path):
    write_project(tmp_path, ROUTES, additional="<poi id='p' x='0' y='0'/>")
    (tmp_path / "demand.rou.xml").write_text("<routes><vehicle id='v'")
    (tmp_path / "more.add.xml").unlink()
    (tmp_path / "road.net.xml").write_text("<net><edge></net>")
    text = (tmp_path / "small.sumocfg").read_text()
    extra = '<begin value="soon"/><end value="1"/><e value="2"/><step-length value="-1"/>'
    (tmp_path / "small.sumocfg").write_text(text.replace("</configuration>", extra + "</configuration>"))
    found = "\n".join(problems_of(tmp_path / "small.sumocfg"))
    for expected in (
        "demand.rou.xml is not well-formed XML",
        "more.add.xml does not exist",
        "road.net.xml cannot be read as a SUMO network",
        "begin is 'soon', expected seconds",
        "option end is set twice",
        "step-length is -1",
    ):
        assert expected in found


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<configuration><input><net-file", "not well-formed"),
        ("", "not well-formed"),
        ("<net/>", "a network without demand"),
        ("<routes/>", "expected the .sumocfg that names it"),
        ("<configuration/>", "it names 0 networks"),
        ('<!DOCTYPE c [<!ENTITY a "b">]><c>&a;</c>', "entities"),
    ],
)
def test_what_is_no_configuration(tmp_path, content, said):
    path = tmp_path / "bad.sumocfg"
    path.write_text(content)
    with pytest.raises(ProjectError, match=said):
        open_project(path)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ProjectError, match="does not exist: give the path"):
        open_project(tmp_path / "none.sumocfg")
    write_project(tmp_path, ROUTES)
    with pytest.raises(ProjectError, match=r"is a folder.*it holds small\.sumocfg"):
        open_project(tmp_path)


def test_no_vehicles(tmp_path):
    write_project(tmp_path, PLAIN)
    assert "hold no vehicle, trip or flow" in problems_of(tmp_path / "small.sumocfg")[0]
    path = tmp_path / "none.sumocfg"
    path.write_text('<c><net-file value="road.net.xml"/></c>')
    assert "names no route-files" in problems_of(path)[0]


def test_demand_that_sumo_would_drop(tmp_path):
    write_project(tmp_path, PLAIN + '<person id="p" depart="80"><walk edges="ab"/></person>' + vehicle("v", 50))
    assert "must be sorted by departure time" in problems_of(tmp_path / "small.sumocfg")[0]


def test_a_broken_vehicle_and_a_missing_include(tmp_path):
    write_project(tmp_path, ROUTES + '<vehicle id="w" depart="later"/><flow id="f" begin="0" end="9"/>')
    found = "\n".join(problems_of(tmp_path / "small.sumocfg"))
    assert "vehicle 'w' has depart='later'" in found
    assert "flow 'f' says no number" in found
    write_project(tmp_path / "b", ROUTES, additional='<include href="nowhere.xml"/>')
    assert "nowhere.xml" in problems_of(tmp_path / "b" / "small.sumocfg")[0]


def test_damaged_gzip(tmp_path):
    write_project(tmp_path, ROUTES, zipped=True)
    file = tmp_path / "demand.rou.xml.gz"
    file.write_bytes(file.read_bytes()[:-12])
    assert "damaged gzip" in problems_of(tmp_path / "small.sumocfg")[0]


@pytest.mark.data
def test_a_real_network_file_alone():
    path = shared_data("networks", "nurnberg_no_demand", "network.net.xml")
    with pytest.raises(ProjectError, match=r"a network without demand.*write one that names this network"):
        open_project(path)


def test_overrides_say_what_and_why(tmp_path):
    project = small_project(
        tmp_path,
        ROUTES,
        options='<time-to-teleport value="120"/><collision.action value="warn"/><seed value="4"/>'
        '<fcd-output value="big.xml"/><max-depart-delay value="900"/><end value="200000"/><random value="true"/>',
    )
    found = {each.option: each for each in overrides(project)}
    assert (found["time-to-teleport"].theirs, found["time-to-teleport"].ours) == ("120", "-1")
    assert {"max-depart-delay", "random", "seed", "fcd-output", "end"} <= set(found)
    assert "collision.action" not in found
    assert "folder" in str(found["fcd-output"])
    defaults = {each.option: each.theirs for each in overrides(open_project(resco("cologne1")))}
    assert defaults["time-to-teleport"] == "300 (SUMO's default)"
    assert defaults["collision.action"] == "teleport (SUMO's default)"
    off = small_project(tmp_path / "off", ROUTES, options='<time-to-teleport value="0"/>')
    assert "time-to-teleport" not in {each.option for each in overrides(off)}


def test_a_saved_state_is_refused_by_its_name(tmp_path):
    """Runs began at second 0 all the same, among vehicles of second 600, and played the demand once more."""
    write_project(tmp_path, ROUTES, options='<load-state value="state.xml.gz"/>')
    (tmp_path / "state.xml.gz").write_bytes(gzip.compress(b"<snapshot/>"))
    (said,) = problems_of(tmp_path / "small.sumocfg")
    assert "load-state is 'state.xml.gz'" in said and "begin early enough" in said


CALIBRATOR = '<calibrator id="c" edge="bc" pos="0"><route id="r" edges="bc cd"/>{}</calibrator>'
CALIBRATED = CALIBRATOR.format('<flow begin="0" end="6000" route="r" vehsPerHour="900" speed="13" type="plain"/>')


def test_demand_of_calibrators_alone_is_refused_by_their_name(tmp_path):
    write_project(tmp_path, PLAIN, additional=CALIBRATED)
    (said,) = problems_of(tmp_path / "small.sumocfg")
    assert "that of its calibrators (1)" in said and "write it as flows of a route file" in said


def test_calibrators_beside_other_demand_are_remarked_on(tmp_path):
    by_speed = CALIBRATOR.format('<flow begin="0" end="6000" route="r" speed="13" type="plain"/>')
    remarks = study_window(small_project(tmp_path / "one", ROUTES, additional=CALIBRATED)).remarks
    assert any("calibrators (1) add and remove vehicles" in remark for remark in remarks)
    remarks = study_window(small_project(tmp_path / "two", ROUTES, additional=by_speed)).remarks
    assert not any("calibrators" in remark for remark in remarks)
