"""The project's folder stays as it is, to the byte, whatever the project writes and however many runs there are."""

import gzip
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.project import open_project
from scenariogen.simulation.staging import Staging
from scenariogen.simulation.study import study_window
from scenariogen.simulation.sumo import SumoSimulator
from tests.simulation.small import PLAIN, fingerprint, small_project, vehicle, window, write_project
from tests.support import copy_project, shared_data

pytestmark = pytest.mark.sumo
WRITES = """
<e1Detector id="loop" lane="ab_0" pos="100" period="60" file="loops.xml"/>
<e2Detector id="area" lane="bc_0" pos="10" endPos="90" period="60" file="../outside.xml"/>
<instantInductionLoop id="now" lane="ab_0" pos="120" file="sub/instant.xml"/>
<entryExitDetector id="pair" period="60" file="loops.xml">
<detEntry lane="ab_0" pos="10"/><detExit lane="ab_0" pos="90"/></entryExitDetector>
<edgeData id="dump" file="{absolute}" period="60"/>
<laneData id="lanes" file="lanes.xml.gz" period="60"/>
<routeProbe id="probe" edge="ab" period="60" file="probe.xml"/>
<vTypeProbe id="types" type="plain" period="60" file="types.xml"/>
<calibrator id="cal" edge="cd" pos="0" output="calibrator.xml"><flow begin="0" end="9" vehsPerHour="0" type="plain"
 route="straight"/></calibrator>
"""
OUTPUTS = (
    '<output><tripinfo v="t.xml"/><summary-output value="deep/s.xml"/><output-prefix value="x_"/></output>'
    '<report><log value="log.txt"/><error-log value="errors.txt"/></report><time><save-state.period value="30"/></time>'
    '<device.ssm.probability value="1"/><save-configuration value="again.sumocfg"/>'
)


def writing_project(folder: Path) -> Path:
    """A project that writes in every way we know of."""
    writes = WRITES.format(absolute=folder / "absolute.xml")
    ssm = '<vType id="ssm" sigma="0"><param key="device.ssm.file" value="ssm.xml"/></vType>'
    routes = (
        ssm
        + '<vehicle id="s" type="ssm" depart="0"><route edges="ab bc"/></vehicle>'
        + vehicle("v", 1)
        + vehicle("w", 2)
    )
    path = write_project(
        folder,
        routes,
        additional=PLAIN + '<route id="straight" edges="ab bc cd"/><include href="inner.add.xml"/>',
        options=OUTPUTS,
    )
    (folder / "inner.add.xml.gz").write_bytes(gzip.compress(f"<additional>{writes}</additional>".encode()))
    text = (folder / "more.add.xml").read_text()
    (folder / "more.add.xml").write_text(text.replace("inner.add.xml", "inner.add.xml.gz"))
    return path


def simulate(sumocfg: Path, folder: Path, end_s: float, seed: int = 1, **simulator) -> None:
    """One run to ``end_s`` in this process."""
    request = RunRequest(window=window(end_s), seed=seed, folder=folder)
    with SumoSimulator(open_project(sumocfg), **simulator).open(request) as run:
        while run.time_s < end_s:
            run.step()


@pytest.mark.parametrize("backend", ["libsumo", "traci"])
def test_everything_that_a_project_writes_goes_to_the_run(tmp_path, backend, monkeypatch):
    elsewhere = tmp_path / "cwd"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    outer = tmp_path / "outer"
    path = writing_project(outer / "project")
    before = fingerprint(outer)
    simulate(path, tmp_path / "run", 130, backend=backend)
    assert fingerprint(outer) == before
    assert list(elsewhere.iterdir()) == []
    written = {each.name for each in (tmp_path / "run" / "project-output").iterdir()}
    expected = {"loops.xml", "outside.xml", "instant.xml", "absolute.xml", "lanes.xml.gz", "probe.xml", "types.xml"}
    assert expected | {"calibrator.xml", "ssm.xml", "t.xml", "s.xml", "log.txt"} <= written
    assert any(name.startswith("state_") for name in written)
    assert "<interval" in (tmp_path / "run" / "project-output" / "loops.xml").read_text()


def test_what_the_project_writes_can_be_left_out(tmp_path):
    path = writing_project(tmp_path / "project")
    before = fingerprint(tmp_path / "project")
    simulate(path, tmp_path / "run", 130, project_outputs=False)
    assert fingerprint(tmp_path / "project") == before
    assert not any((tmp_path / "run" / "project-output").glob("*"))


def test_two_destinations_of_one_name_stay_two_files(tmp_path):
    both = "".join(
        f'<e1Detector id="{i}" lane="ab_0" pos="{pos}" period="60" file="{i}/loops.xml"/>'
        for i, pos in (("a", 100), ("b", 400))
    )
    small_project(tmp_path / "project", PLAIN + vehicle("v", 0), additional=both)
    simulate(tmp_path / "project" / "small.sumocfg", tmp_path / "run", 130)
    files = sorted((tmp_path / "run" / "project-output").iterdir())
    assert len(files) == 2
    assert sum('id="a"' in file.read_text() for file in files) == 1


def test_a_signals_own_detectors_write_into_the_run(tmp_path):
    from tests.simulation.small import cross

    net = cross().replace("</tlLogic>", '<param key="file" value="actuation.xml"/></tlLogic>')
    net = net.replace('type="static"', 'type="actuated"')
    assert "actuation.xml" in net
    routes = PLAIN + '<flow id="f" type="plain" begin="0" end="90" period="5" from="in[0]#1" to="out"/>'
    path = write_project(tmp_path / "project", routes, net=net)
    before = fingerprint(tmp_path / "project")
    simulate(path, tmp_path / "run", 130)
    assert fingerprint(tmp_path / "project") == before


def test_inputs_named_inside_files_are_still_found(tmp_path):
    sign = (
        '<variableSpeedSign id="sign" lanes="bc_0" file="speeds.xml"/>'
        '<e1Detector id="d" lane="ab_0" pos="9" file="o.xml"/>'
    )
    path = write_project(tmp_path / "project", PLAIN + vehicle("v", 0), additional=sign)
    (tmp_path / "project" / "speeds.xml").write_text('<vss><step time="0" speed="5"/></vss>')
    project = open_project(path)
    request = RunRequest(window=window(200), seed=1, folder=tmp_path / "run")
    with SumoSimulator(project).open(request) as run:
        run.step()
        assert run.connection.lane.getMaxSpeed("bc_0") == 5


@pytest.mark.parametrize("name", ["with space", "per%20cent", "ümlaut & sons;", "comma, too"])
def test_projects_in_folders_with_odd_names(tmp_path, name):
    path = write_project(
        tmp_path / name, PLAIN + vehicle("v", 0), additional='<e1Detector id="d" lane="ab_0" pos="9" file="o.xml"/>'
    )
    before = fingerprint(tmp_path / name)
    simulate(path, tmp_path / "run", 130)
    assert fingerprint(tmp_path / name) == before


def test_runs_may_lie_in_folders_with_odd_names(tmp_path):
    path = writing_project(tmp_path / "project")
    folder = tmp_path / 'run "a" & 50%20 <b>'
    simulate(path, folder, 130)
    assert (folder / "project-output" / "loops.xml").is_file()


def test_many_processes_share_prepared_demand_and_leave_the_project_alone(tmp_path):
    path = writing_project(tmp_path / "project")
    before = fingerprint(tmp_path / "project")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        tasks = [pool.submit(_copied_run, path, tmp_path / f"run{i}", tmp_path / "work", i) for i in range(4)]
        arrived = [task.result() for task in tasks]
    assert arrived == [6] * 4
    assert fingerprint(tmp_path / "project") == before
    assert len(list((tmp_path / "work").iterdir())) == 1


def test_a_folder_that_stays_needs_none_that_goes(tmp_path):
    """Its run.sumocfg named copies of the demand in the folder of runs in use, which the evaluation removes."""
    path = write_project(tmp_path / "project", PLAIN + vehicle("v", 1))
    staging = Staging(open_project(path), tmp_path / "work", project_outputs=False)
    asked = RunRequest(window=window(400, copies=2, period_s=60), seed=1, folder=tmp_path / "kept", keep=True)
    assert str(tmp_path / "work") not in staging.write(asked).read_text()
    assert len(list((tmp_path / "kept").glob("demand-copies-*.rou.xml"))) == 1
    shared = staging.write(replace(asked, folder=tmp_path / "passing", keep=False))
    assert str(tmp_path / "work") in shared.read_text()


def _copied_run(sumocfg: Path, folder: Path, work_folder: Path, seed: int) -> int:
    request = RunRequest(window=window(400, copies=2, period_s=60), seed=seed, folder=folder)
    with SumoSimulator(open_project(sumocfg), work_folder=work_folder).open(request) as run:
        while run.time_s < 400:
            run.step()
        return run.counters().left


@pytest.mark.data
@pytest.mark.parametrize(
    ("parts", "wrote"),
    [
        (("bologna_acosta", "run.sumocfg"), {"e1_output.xml", "tripinfos.xml", "sumo_log.txt"}),
        (("chicago_roosevelt", "roosevelt.sumocfg"), {"detector_output.xml"}),
    ],
)
def test_real_projects_stay_byte_identical(tmp_path, parts, wrote):
    path = copy_project(shared_data("networks", *parts), tmp_path)
    before = fingerprint(path.parent)
    project = open_project(path)
    whole = study_window(project, horizon_s=120)
    with SumoSimulator(project).open(RunRequest(window=whole, seed=1, folder=tmp_path / "run")) as run:
        while run.time_s < 120:
            run.step()
    assert fingerprint(path.parent) == before
    assert {each.name for each in (tmp_path / "run" / "project-output").iterdir()} == wrote
