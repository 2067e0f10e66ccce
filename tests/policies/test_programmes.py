"""Fixed, actuated and delay-based: SUMO's own logics over a signal's own phases, put in force at run time."""

import re
from contextlib import contextmanager

import pytest

from scenariogen import find_network, open_project
from scenariogen.errors import PolicyError
from scenariogen.evaluation.policy import load_policy
from scenariogen.simulation.contract import ProgrammeKind, RunRequest
from scenariogen.simulation.study import study_window
from scenariogen.simulation.sumo import SumoSimulator
from tests.injection import roads
from tests.policies.room import crossing

pytestmark = pytest.mark.sumo
SECONDS = 600


@pytest.fixture(scope="module")
def project():
    return open_project(find_network("cologne1"))


def crossing_project(folder, *, unused):
    """Four arms with a signal, whose programme has so many characters more than there are links."""
    folder.mkdir()
    net_file = roads.crossing(folder)
    text = net_file.read_text(encoding="utf-8")
    longer = re.sub(r'(<phase [^>]*state=")([^"]*)"', lambda found: f'{found[1]}{found[2]}{"r" * unused}"', text)
    net_file.write_text(longer, encoding="utf-8")
    flows = "".join(
        f'<flow id="{way}" from="{way[:2]}" to="{way[2:]}" begin="0" end="600" period="6"/>' for way in ("wcce", "sccn")
    )
    (folder / "r.rou.xml").write_text(f"<routes>{flows}</routes>", encoding="utf-8")
    (folder / "x.sumocfg").write_text(
        f'<configuration><input><net-file value="{net_file.name}"/><route-files value="r.rou.xml"/></input>'
        '<time><begin value="0"/><end value="900"/></time></configuration>',
        encoding="utf-8",
    )
    return open_project(folder / "x.sumocfg")


@contextmanager
def opened(project, folder, backend="libsumo", **options):
    request = RunRequest(window=study_window(project), seed=1, folder=folder, options=options)
    with SumoSimulator(project, backend=backend, project_outputs=False).open(request) as run:
        yield run


def lengths_of_phases(run, policy, seconds=SECONDS):
    """(state, seconds) of the only signal, in order; the last one is cut."""
    (signal,) = run.control_room.signals.values()
    shown = []
    policy.start(run.control_room)
    for _ in range(seconds):
        run.step()
        policy.step(run.control_room, run.time_s)
        if not shown or shown[-1][0] != signal.state:
            shown.append([signal.state, 0])
        shown[-1][1] += 1
    policy.finish(run.control_room)
    return [tuple(each) for each in shown]


def with_programme(project, folder, kind):
    """The additional file of the project's own phases as a programme of a kind, for SUMO to load."""
    with opened(project, folder / "read") as run:
        (signal,) = run.connection.trafficlight.getIDList()
        (logic,) = run.connection.trafficlight.getAllProgramLogics(signal)
        phases = "".join(
            f'<phase duration="{p.duration}" state="{p.state}" minDur="{p.minDur}" maxDur="{p.maxDur}"/>'
            for p in logic.getPhases()
        )
    path = folder / f"{kind}.add.xml"
    path.write_text(
        f'<additional><tlLogic id="{signal}" type="{kind}" programID="loaded" offset="0">{phases}</tlLogic>'
        "</additional>",
        encoding="utf-8",
    )
    return str(path)


@pytest.mark.parametrize("name", ["fixed_time", "actuated", "delay_based"])
def test_both_backends_run_the_same_phases(project, tmp_path, name):
    runs = []
    for backend in ("libsumo", "traci"):
        with opened(project, tmp_path / backend, backend) as run:
            runs.append(lengths_of_phases(run, load_policy(name)))
    assert runs[0] == runs[1]
    greens = {seconds for state, seconds in runs[0][1:-1] if "y" not in state}
    assert (len(greens) <= 2) == (name == "fixed_time"), "a fixed programme has 29 s and 6 s, the others adapt"


@pytest.mark.parametrize("name", ["actuated", "delay_based"])
def test_a_programme_made_at_run_time_reacts_to_traffic(project, tmp_path, name):
    """Greens last longer in the peak hour than with three vehicles in ten."""
    mean_s = []
    for scale in ("0.3", "1"):
        with opened(project, tmp_path / scale, scale=scale) as run:
            shown = lengths_of_phases(run, load_policy(name))[2:-1]
        greens = [seconds for state, seconds in shown if "y" not in state]
        assert min(greens) >= 5 and max(greens) <= 50
        mean_s.append(sum(greens) / len(greens))
    assert mean_s[1] > 1.5 * mean_s[0]


def test_one_made_at_run_time_decides_as_one_that_was_loaded(project, tmp_path):
    """Both are given the loaded one's first phase length, so that the same traffic meets them."""
    file = with_programme(project, tmp_path, "actuated")
    with opened(project, tmp_path / "loaded", **{"additional-files": file}) as run:
        light = run.connection.trafficlight
        (signal,) = light.getIDList()
        light.setPhaseDuration(signal, 29.0)
        loaded = lengths_of_phases(run, load_policy("no_control"))
    with opened(project, tmp_path / "made") as run:
        made = lengths_of_phases(run, load_policy("actuated"))
    assert made[:20] == loaded[:20]


def test_fixed_time_leaves_a_fixed_programme_alone(project, tmp_path):
    with opened(project, tmp_path) as run:
        policy = load_policy("fixed_time")
        policy.start(run.control_room)
        (signal,) = run.connection.trafficlight.getIDList()
        assert run.connection.trafficlight.getProgram(signal) == "0"


def test_fixed_time_freezes_an_actuated_programme_to_its_nominal_durations(project, tmp_path):
    file = with_programme(project, tmp_path, "actuated")
    with opened(project, tmp_path / "run", **{"additional-files": file}) as run:
        shown = lengths_of_phases(run, load_policy("fixed_time"))
        nominal = dict(next(iter(run.control_room.signals.values())).phases)
    assert len(shown) > 10
    assert all(seconds == nominal[state] for state, seconds in shown[:-1])


def test_a_programme_goes_on_from_the_phase_that_shows(project, tmp_path):
    with opened(project, tmp_path) as run:
        (signal,) = run.control_room.signals.values()
        states = [state for state, _ in signal.phases]
        signal.set_state(states[4])
        run.step()
        signal.run_programme(ProgrammeKind.STATIC)
        shown = []
        for _ in range(60):
            run.step()
            if not shown or shown[-1] != signal.state:
                shown.append(signal.state)
        assert shown[:3] == states[4:7]


def test_a_state_outside_the_programme_is_refused(project, tmp_path):
    with opened(project, tmp_path) as run:
        (signal,) = run.control_room.signals.values()
        signal.set_state("G" * len(signal.links))
        with pytest.raises(PolicyError, match="no phase of its programme"):
            signal.run_programme(ProgrammeKind.ACTUATED)


def test_from_all_red_a_programme_begins_and_one_that_ran_goes_on(project, tmp_path):
    """As a plan leaves a signal that another policy gave a programme to."""
    with opened(project, tmp_path) as run:
        (signal,) = run.control_room.signals.values()
        red = "r" * len(signal.links)
        assert red not in [state for state, _ in signal.phases]
        for kind in (ProgrammeKind.ACTUATED, ProgrammeKind.ACTUATED, ProgrammeKind.STATIC):
            signal.set_state(red)
            run.step()
            signal.run_programme(kind)
            run.step()
            assert signal.state != red and signal.state in [state for state, _ in signal.phases]


@pytest.mark.parametrize("name", ["max_pressure", "self_organising", "incident_plans"])
def test_states_longer_than_the_links_are_run(tmp_path, name):
    """SUMO runs programmes with characters after the last link's, as an edited junction leaves them."""
    project = crossing_project(tmp_path / "project", unused=1)
    with opened(project, tmp_path / "run") as run:
        (signal,) = run.control_room.signals.values()
        assert len(signal.links) == len(signal.state) and signal.links[-1] == ()
        assert len({state for state, _ in lengths_of_phases(run, load_policy(name), 200)}) > 1


@pytest.mark.parametrize("name", ["actuated", "delay_based", "fixed_time"])
def test_a_timetable_of_the_projects_own_is_followed(tmp_path, name):
    """A WAUT puts another plan in force: its phases are then run by the same logic."""
    project = crossing_project(tmp_path / "project", unused=0)
    with opened(project, tmp_path / "read") as run:
        (signal,) = run.connection.trafficlight.getIDList()
        (logic,) = run.connection.trafficlight.getAllProgramLogics(signal)
        # thrice as many phases as before: SUMO's own detectors must be those of the new ones
        backwards = logic.getPhases()[::-1] * 3
        phases = "".join(f'<phase duration="{2 * p.duration}" state="{p.state}"/>' for p in backwards)
    (tmp_path / "project" / "plans.add.xml").write_text(
        f'<additional><tlLogic id="{signal}" type="static" programID="peak" offset="0">{phases}</tlLogic>'
        f'<WAUT id="w" refTime="0" startProg="{logic.programID}"><wautSwitch time="100" to="peak"/></WAUT>'
        f'<wautJunction wautID="w" junctionID="{signal}"/></additional>',
        encoding="utf-8",
    )
    policy = load_policy(name)
    with opened(project, tmp_path / "run", **{"additional-files": str(tmp_path / "project" / "plans.add.xml")}) as run:
        before = run.control_room.signals[signal].phases
        lengths_of_phases(run, policy, 90)
        assert run.control_room.signals[signal].phases == before
        policy.start(run.control_room)
        for _ in range(200):
            run.step()
            policy.step(run.control_room, run.time_s)
        running = run.connection.trafficlight.getProgram(signal)
        assert running == ("peak" if name == "fixed_time" else f"scenariogen-{name}-peak")
        if name != "fixed_time":
            assert [state for state, _ in run.control_room.signals[signal].phases] == [s for s, _ in before][::-1] * 3


def test_a_timetable_that_switches_a_signal_off_is_no_fault(project, tmp_path):
    policy = load_policy("actuated")
    with opened(project, tmp_path) as run:
        (signal,) = run.control_room.signals
        policy.start(run.control_room)
        run.connection.trafficlight.setProgram(signal, "off")
        for _ in range(30):
            run.step()
            policy.step(run.control_room, run.time_s)
        assert run.connection.trafficlight.getProgram(signal) == "off"


@pytest.mark.parametrize("kind", list(ProgrammeKind))
def test_asking_again_every_step_changes_nothing(project, tmp_path, kind):
    """Also where a state of the programme's own was shown from outside before."""
    with opened(project, tmp_path) as run:
        (signal,) = run.control_room.signals.values()
        signal.set_state(signal.phases[0][0])
        run.step()
        shown = set()
        for _ in range(240):
            signal.run_programme(kind)
            run.step()
            shown.add(signal.state)
        assert len(shown) >= len({state for state, _ in signal.phases})


def test_a_signal_that_runs_no_programmes_says_so_and_is_left_alone():
    room, signal = crossing()
    with pytest.raises(PolicyError, match="cannot run a static programme"):
        signal.run_programme(ProgrammeKind.STATIC)
    for name in ("fixed_time", "actuated", "delay_based"):
        load_policy(name).start(room)
    assert signal.history == []


def test_a_failed_signal_comes_back_to_the_actuated_programme(project, tmp_path):
    from scenariogen.injection import inject
    from scenariogen.scenarios.effects import SignalFailure
    from scenariogen.scenarios.records import Scenario

    with opened(project, tmp_path) as run:
        (signal,) = run.control_room.signals.values()
        policy = load_policy("actuated")
        failure = SignalFailure(start_s=run.time_s + 100, duration_s=60, signal=signal.id, mode="flashing")
        scenario = Scenario(index=0, seed=1, effects=(failure,))
        with inject(run.connection, scenario, network=project.network()) as injection:
            shown = lengths_of_phases(run, policy, 400)
        assert injection.effects_report()[0].realised
        assert run.connection.trafficlight.getProgram(signal.id).startswith("scenariogen-actuated-")
        flashing = [seconds for state, seconds in shown if set(state) <= {"o"}]
        assert flashing and sum(flashing) in (59, 60, 61)
