"""Failed signals obey nobody, and come back in the phase of an undisturbed clock."""

import re

import pytest

from scenariogen.injection import inject
from scenariogen.injection.attributes import least_permissive
from scenariogen.injection.timetables import read_timetable
from scenariogen.network import read_network
from scenariogen.scenarios.effects import SignalFailure
from tests.injection import roads

pytestmark = pytest.mark.sumo
BACKENDS = ("libsumo", "traci")
MODES = ("off", "flashing")
FAILED = SignalFailure(signal="c", start_s=50, duration_s=137)


def crossing_traffic(folder, rate: int = 300):
    ways = ("wc ce", "ec cw", "sc cn", "nc cs", "wc cn", "sc ce")
    lines = "".join(
        f'<route id="r{n}" edges="{way}"/><flow id="f{n}" route="r{n}" begin="0" end="400" vehsPerHour="{rate}" '
        'departLane="best"/>'
        for n, way in enumerate(ways)
    )
    path = folder / "crossing.rou.xml"
    path.write_text(f"<routes>{lines}</routes>", encoding="utf-8")
    return path


def light_of(sumo) -> tuple:
    light = sumo.trafficlight
    return (
        light.getProgram("c"),
        light.getPhase("c"),
        light.getNextSwitch("c"),
        light.getPhaseDuration("c"),
        light.getRedYellowGreenState("c"),
    )


def programmes(sumo) -> list:
    return [
        (logic.programID, logic.type, [(p.state, p.duration, p.minDur, p.maxDur, tuple(p.next), p.name)
                                       for p in logic.phases])
        for logic in sumo.trafficlight.getAllProgramLogics("c")
    ]  # fmt: skip


def trace(sumo, until: float) -> list[tuple]:
    found = []
    while sumo.simulation.getTime() < until:
        sumo.simulationStep()
        found.append(light_of(sumo))
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", MODES)
def test_a_fixed_time_signal_comes_back_as_if_nothing_had_been(start, signal_road, backend, mode):
    sumo = start(backend, signal_road)
    usual = [*trace(sumo, 400)]
    before = programmes(sumo)
    sumo.close()
    sumo = start(backend, signal_road)
    failed = SignalFailure(signal="c", start_s=50, duration_s=137, mode=mode)
    with inject(sumo, roads.scenario(effects=(failed,)), network=signal_road) as injection:
        disturbed = trace(sumo, 400)
    assert programmes(sumo) == before
    assert disturbed[:49] == usual[:49] and disturbed[186:] == usual[186:]
    for was, now in zip(usual[49:186], disturbed[49:186], strict=True):
        assert now[:4] == was[:4]  # programme, phase, next switch, duration
        assert set(now[4]) == ({"o"} if mode == "flashing" else {"o", "O"})
    (report,) = injection.effects_report()
    assert (report.start_s, report.end_s, dict(report.counts)) == (50, 187, {})


def test_a_dark_signal_leaves_the_right_of_way_to_the_main_road(start, signal_road):
    """Straight on along the main road nobody has to yield; it is what SUMO's own programme ``off`` shows."""
    sumo = start("libsumo", signal_road)
    sumo.trafficlight.setProgram("c", "off")
    own = sumo.trafficlight.getRedYellowGreenState("c")
    sumo.trafficlight.setProgram("c", "0")
    with inject(sumo, roads.scenario(effects=(FAILED,)), network=signal_road):
        trace(sumo, 60)
        state = sumo.trafficlight.getRedYellowGreenState("c")
        links = sumo.trafficlight.getControlledLinks("c")
    shown = {(group[0][0][:2], group[0][1][:2]): letter for group, letter in zip(links, state, strict=True)}
    assert shown["wc", "ce"] == shown["ec", "cw"] == "O"
    assert {shown[way] for way in shown if way[0] in ("sc", "nc")} == {"o"} and state == own


@pytest.mark.parametrize("mode", MODES)
def test_traffic_passes_a_failed_signal_without_colliding(start, signal_road, tmp_path, mode):
    sumo = start("libsumo", signal_road, crossing_traffic(tmp_path))
    failed = SignalFailure(signal="c", start_s=50, duration_s=400, mode=mode)
    arrived = collisions = 0
    with inject(sumo, roads.scenario(effects=(failed,)), network=signal_road):
        while sumo.simulation.getTime() < 450:
            sumo.simulationStep()
            arrived += sumo.simulation.getArrivedNumber()
            collisions += sumo.simulation.getCollidingVehiclesNumber()
    assert arrived > 100 and collisions == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_policy_that_sets_states_is_ignored_until_the_repair(start, signal_road, backend):
    """It writes after every step; without a look before the step its state would be what everybody drives by."""
    sumo = start(backend, signal_road)
    wish = "G" * len(sumo.trafficlight.getRedYellowGreenState("c"))
    with inject(sumo, roads.scenario(effects=(FAILED,)), network=signal_road) as injection:
        trace(sumo, 100)
        for _ in range(20):
            sumo.trafficlight.setRedYellowGreenState("c", wish)
            sumo.simulationStep()
            assert set(sumo.trafficlight.getRedYellowGreenState("c")) == {"o", "O"}
        last = wish.replace("G", "r")
        sumo.trafficlight.setRedYellowGreenState("c", last)
        trace(sumo, 186)
        assert set(sumo.trafficlight.getRedYellowGreenState("c")) == {"o", "O"}
        trace(sumo, 188)
        assert sumo.trafficlight.getRedYellowGreenState("c") == last
    (report,) = injection.effects_report()
    assert report.counts["overwritten_by_others"] == 21
    sumo.trafficlight.setProgram("c", "0")
    assert all("o" not in phase[0] and "O" not in phase[0] for phase in programmes(sumo)[0][2])


def test_with_the_step_function_kept_from_before_a_policy_is_undone_after_the_step(start, signal_road):
    sumo = start("libsumo", signal_road)
    step = sumo.simulationStep
    with inject(sumo, roads.scenario(effects=(FAILED,)), network=signal_road) as injection:
        for _ in range(60):
            step()
        sumo.trafficlight.setRedYellowGreenState("c", "G" * len(sumo.trafficlight.getRedYellowGreenState("c")))
        step()
        assert set(sumo.trafficlight.getRedYellowGreenState("c")) == {"o", "O"}
    assert injection.effects_report()[0].counts["overwritten_by_others"] == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_policy_that_sets_states_from_the_start_gets_its_last_one_back(start, signal_road, backend):
    sumo = start(backend, signal_road)
    length = len(sumo.trafficlight.getRedYellowGreenState("c"))
    with inject(sumo, roads.scenario(effects=(FAILED,)), network=signal_road):
        sumo.trafficlight.setRedYellowGreenState("c", "g" * length)
        before = [name for name, *_ in programmes(sumo)]
        trace(sumo, 120)
        assert set(sumo.trafficlight.getRedYellowGreenState("c")) == {"o", "O"}
        trace(sumo, 190)
        assert sumo.trafficlight.getRedYellowGreenState("c") == "g" * length
    assert [name for name, *_ in programmes(sumo)] == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_phases_set_by_a_policy_move_the_clock_beneath(start, signal_road, backend):
    lights = []
    for fails in (False, True):
        sumo = start(backend, signal_road)
        with inject(sumo, roads.scenario(effects=(FAILED,) if fails else ()), network=signal_road):
            trace(sumo, 100)
            sumo.trafficlight.setPhase("c", 2)
            sumo.trafficlight.setPhaseDuration("c", 77.0)
            shown = trace(sumo, 150)
            assert all(("O" in light[4]) == fails for light in shown)
            lights.append(trace(sumo, 300)[40:])
        sumo.close()
    assert lights[0] == lights[1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_policy_that_changes_programmes_gets_its_programme_after_the_repair(start, signal_road, backend):
    sumo = start(backend, signal_road)
    logic = sumo.trafficlight.getAllProgramLogics("c")[0]
    logic.programID = "night"
    sumo.trafficlight.setProgramLogic("c", logic)
    sumo.trafficlight.setProgram("c", "0")
    before = programmes(sumo)
    with inject(sumo, roads.scenario(effects=(FAILED,)), network=signal_road):
        trace(sumo, 100)
        sumo.trafficlight.setProgram("c", "night")
        assert all("O" in light[4] for light in trace(sumo, 180))
        trace(sumo, 190)
        assert sumo.trafficlight.getProgram("c") == "night"
    assert programmes(sumo) == before


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("first", MODES)
def test_two_failures_of_one_signal(start, signal_road, backend, first):
    sumo = start(backend, signal_road)
    before = programmes(sumo)
    second = MODES[1 - MODES.index(first)]
    pair = (
        SignalFailure(signal="c", start_s=10, duration_s=50, mode=first),
        SignalFailure(signal="c", start_s=30, duration_s=60, mode=second),
    )
    with inject(sumo, roads.scenario(effects=pair), network=signal_road):
        shown = [set(light[4]) for light in trace(sumo, 100)]
    letters = {"off": {"o", "O"}, "flashing": {"o"}}
    assert (shown[20], shown[45], shown[75]) == (letters[first], {"o"}, letters[second])
    assert not {"o", "O"} & shown[95] and programmes(sumo) == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_actuated_signal_is_restarted_where_its_logic_has_got_to(start, signal_road, tmp_path, backend):
    import re

    text = signal_road.path.read_text(encoding="utf-8")
    path = tmp_path / "actuated.net.xml"
    path.write_text(re.sub('type="static"', 'type="actuated"', text), encoding="utf-8")
    network = read_network(path)
    sumo = start(backend, network, crossing_traffic(tmp_path))
    before = programmes(sumo)
    assert before[0][1] != 0
    with inject(sumo, roads.scenario(effects=(FAILED,)), network=network):
        assert all(set(light[4]) == {"o", "O"} for light in trace(sumo, 185)[55:])
        after = trace(sumo, 400)
    assert [logic for logic in programmes(sumo) if logic[0] != "online"] == before
    assert all(light[0] == "0" for light in after[5:])
    assert len({light[1] for light in after[5:]}) >= 3  # it goes through its phases
    assert all(not {"o", "O"} & set(light[4]) for light in after[5:])


def test_of_several_states_the_strictest_letter_of_each_link_shows():
    assert least_permissive(["OoswO"]) == "OoswO"
    assert least_permissive(["OOOOO", "Ooswo", "ooooO"]) == "ooswo"


@pytest.mark.parametrize("mode", MODES)
def test_an_all_way_stop_beneath_a_signal_holds_when_it_is_dark(start, signal_road, tmp_path, mode):
    """netconvert writes ``w`` beside each connection of such a junction."""
    import re

    text = signal_road.path.read_text(encoding="utf-8")
    path = tmp_path / "stop.net.xml"
    path.write_text(re.sub(r'(tl="c" linkIndex="\d+" dir="\w" state=)"\w"', r'\1"w"', text), encoding="utf-8")
    network = read_network(path)
    sumo = start("libsumo", network, crossing_traffic(tmp_path))
    failed = SignalFailure(signal="c", start_s=50, duration_s=137, mode=mode)
    with inject(sumo, roads.scenario(effects=(failed,)), network=network):
        assert set(trace(sumo, 60)[-1][4]) == ({"w"} if mode == "off" else {"o"})


@pytest.fixture(scope="module")
def actuated(signal_road, tmp_path_factory):
    """The crossing with an actuated signal, and a timetable that puts another plan in force from 100 to 300 s."""
    folder = tmp_path_factory.mktemp("timetable")
    path = folder / "actuated.net.xml"
    text = signal_road.path.read_text(encoding="utf-8")
    path.write_text(text.replace('type="static"', 'type="actuated"'), encoding="utf-8")
    length = len(re.findall('state="([^"]*)"', text[text.index("<tlLogic") :])[0])
    plan = "".join(f'<phase duration="{20 + n}" state="{letter * length}"/>' for n, letter in enumerate("Gyr"))
    timetable = folder / "timetable.add.xml"
    timetable.write_text(
        f'<additional><tlLogic id="c" programID="peak" type="static" offset="0">{plan}</tlLogic>'
        '<WAUT id="w" refTime="20" startProg="0"><wautSwitch time="80" to="peak"/>'
        '<wautSwitch time="280" to="0"/></WAUT><wautJunction wautID="w" junctionID="c"/></additional>',
        encoding="utf-8",
    )
    return read_network(path), timetable


@pytest.mark.parametrize("backend", BACKENDS)
def test_after_the_repair_the_plan_holds_that_a_timetable_switched_to_meanwhile(start, actuated, backend):
    """SUMO's timetable passes over a signal that is set directly, and the plan from before once ran on instead."""
    network, timetable = actuated
    lights = []
    for fails in (False, True):
        sumo = start(backend, network, None, "-a", str(timetable))
        with inject(sumo, roads.scenario(effects=(FAILED,) if fails else ()), network=network) as injection:
            lights.append(trace(sumo, 320))
        sumo.close()
    plans = [[(light[0], light[4]) for light in each] for each in lights]
    assert plans[0][100][0] == "peak" and plans[1][190:299] == plans[0][190:299]
    assert plans[1][310][0] == plans[0][310][0] == "0"
    (report,) = injection.effects_report()
    assert "'peak' in force at 00:01:40" in report.reason


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_policy_sets_meanwhile_comes_before_the_timetable(start, actuated, backend):
    network, timetable = actuated
    sumo = start(backend, network, None, "-a", str(timetable))
    with inject(sumo, roads.scenario(effects=(FAILED,)), network=network):
        trace(sumo, 120)
        sumo.trafficlight.setProgram("c", "0")
        trace(sumo, 200)
        assert sumo.trafficlight.getProgram("c") == "0"


def test_a_timetable_with_a_period_is_followed_from_day_to_day(actuated, tmp_path):
    (tmp_path / "inner.add.xml").write_text(
        '<additional><WAUT id="w" refTime="0:00:30" startProg="0" period="200"><wautSwitch time="50" to="peak"/>'
        '<wautSwitch time="150" to="0"/></WAUT><wautJunction wautID="w" junctionID="c"/></additional>',
        encoding="utf-8",
    )
    outer = tmp_path / "outer.add.xml"
    outer.write_text('<additional><include href="inner.add.xml"/></additional>', encoding="utf-8")
    timetable = read_timetable([actuated[0].path, outer], "c")
    assert timetable.switched(0, 80) is None
    assert timetable.switched(0, 81) == (80, "peak")
    assert timetable.switched(0, 281) == (280, "peak")
    assert timetable.switched(300, 400) == (380, "0")
    assert timetable.switched(390, 400) is None
    assert read_timetable([actuated[0].path, outer], "other").switched(0, 1000) is None
