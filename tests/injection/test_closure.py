"""Closed lanes and edges: nobody enters, nobody is deleted, and everybody goes on afterwards."""

import pytest

from scenariogen.errors import ScenarioError
from scenariogen.injection import inject
from scenariogen.injection.effects.rerouters import read_closings
from scenariogen.injection.records import InjectionWarning
from scenariogen.scenarios.effects import VEHICLE_CLASSES, Closure
from tests.injection import roads
from tests.injection.places import Ground

pytestmark = pytest.mark.sumo
BACKENDS = ("libsumo", "traci")
PERMISSIVE = ("--ignore-route-errors", "true")
BESIDE_BICYCLES = Ground(
    nodes="a 0 0;b 250 0;c 500 0",
    edges=";".join(f"{way} 2 13.89 0:bicycle 1:passenger" for way in ("ab a b", "bc b c")),
    ways=("ab bc",),
    wall=(),
)


def demand(folder, *ways: str, kind: str = "passenger", rate: int = 400, end: int = 300):
    lines = "".join(
        f'<route id="r{n}" edges="{way}"/><flow id="f{n}" type="t" route="r{n}" begin="0" end="{end}" '
        f'vehsPerHour="{rate}" departLane="free"/>'
        for n, way in enumerate(ways)
    )
    path = folder / "closure.rou.xml"
    path.write_text(f'<routes><vType id="t" vClass="{kind}"/>{lines}</routes>', encoding="utf-8")
    return path


def run(sumo, until: float) -> dict[str, int]:
    counted = {"loaded": 0, "departed": 0, "arrived": 0}
    while sumo.simulation.getTime() < until:
        sumo.simulationStep()
        counted["loaded"] += sumo.simulation.getLoadedNumber()
        counted["departed"] += sumo.simulation.getDepartedNumber()
        counted["arrived"] += sumo.simulation.getArrivedNumber()
    return counted


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("place", [{"edges": ("direct",)}, {"lanes": ("direct_0",)}])
def test_an_edge_is_closed_at_its_entrances(start, diamond, tmp_path, backend, place):
    """Who is to depart on it is not dropped, who is on it leaves, the others wait before it."""
    sumo = start(backend, diamond, demand(tmp_path, "in direct out", "direct out"), *PERMISSIVE)
    before = {lane: sumo.lane.getAllowed(lane) for lane in sumo.lane.getIDList()}
    closed = Closure(start_s=60, duration_s=250, **place)
    with inject(sumo, roads.scenario(effects=(closed,)), network=diamond) as injection:
        counted = run(sumo, 62)
        inside = set(sumo.edge.getLastStepVehicleIDs("direct"))
        assert inside
        counted = {name: n + counted[name] for name, n in run(sumo, 308).items()}
        assert counted["loaded"] == counted["departed"]
        assert sumo.edge.getLastStepVehicleNumber("in") > 20
        assert all(v.startswith("f1") for v in sumo.edge.getLastStepVehicleIDs("direct"))
        (report,) = injection.effects_report()
        assert report.realised and report.counts["could_not_leave"] == 0
        assert report.counts["inside_when_closed"] > 0
        counted = {name: n + counted[name] for name, n in run(sumo, 700).items()}
        assert counted["loaded"] == counted["departed"] == counted["arrived"] > 60
    (report,) = injection.effects_report()
    assert (report.start_s, report.end_s) == (60, 310)
    assert {lane: sumo.lane.getAllowed(lane) for lane in before} == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_closed_lane_empties_and_stays_empty(start, road, tmp_path, backend):
    sumo = start(backend, road(2), roads.flows(tmp_path, lanes=2, per_lane_veh_h=500))
    closed = Closure(start_s=60, duration_s=200, lanes=("middle_0",))
    with inject(sumo, roads.scenario(effects=(closed,)), network=road(2)) as injection:
        run(sumo, 120)
        seen = set()
        while sumo.simulation.getTime() < 255:
            sumo.simulationStep()
            seen |= set(sumo.lane.getLastStepVehicleIDs("middle_0"))
        assert not seen and sumo.lane.getLastStepVehicleNumber("middle_1")
        run(sumo, 400)
        assert sumo.lane.getLastStepVehicleNumber("middle_0")
    assert injection.effects_report()[0].counts["could_not_leave"] == 0


def test_vehicles_that_cannot_leave_a_closed_lane_are_counted(start, road, tmp_path):
    sumo = start("libsumo", road(2))
    roads.stand_still(sumo, edge="middle", lanes=1, position_m=200)
    sumo.simulationStep()
    closed = Closure(start_s=10, duration_s=100, lanes=("middle_0",))
    with inject(sumo, roads.scenario(effects=(closed,)), network=road(2)) as injection:
        run(sumo, 120)
    (report,) = injection.effects_report()
    assert report.counts == {"inside_when_closed": 1, "could_not_leave": 1}
    assert sumo.vehicle.getIDList() == ("wall.0",)


@pytest.mark.parametrize("kind", ["truck", "passenger"])
def test_only_the_named_classes_are_kept_out(start, diamond, tmp_path, kind):
    sumo = start("libsumo", diamond, demand(tmp_path, "in direct out", kind=kind), *PERMISSIVE)
    closed = Closure(start_s=5, duration_s=250, edges=("direct",), classes=("truck", "trailer"))
    with inject(sumo, roads.scenario(effects=(closed,)), network=diamond):
        counted = run(sumo, 200)
    assert (counted["arrived"] > 5) == (kind == "passenger")


def test_a_closure_that_would_end_the_simulation_is_refused(start, diamond, tmp_path):
    sumo = start("libsumo", diamond, demand(tmp_path, "in direct out"))
    for place in ({"edges": ("direct",)}, {"lanes": ("out_0",)}):
        closed = Closure(start_s=5, duration_s=250, **place)
        with pytest.raises(ScenarioError, match="--ignore-route-errors"):
            inject(sumo, roads.scenario(effects=(closed,)), network=diamond).__enter__()


def test_two_closures_that_together_cut_a_connection_are_refused(start, road):
    sumo = start("libsumo", road(2))
    pair = tuple(Closure(start_s=5, duration_s=250, lanes=(f"middle_{n}",)) for n in range(2))
    with pytest.raises(ScenarioError, match="before -> middle"):
        inject(sumo, roads.scenario(effects=pair), network=road(2)).__enter__()


def test_a_lane_for_others_beside_does_not_keep_a_connection_open(start, tmp_path):
    """Of a lane for cars and one for bicycles each is the only one for somebody."""
    network = BESIDE_BICYCLES.build(tmp_path)
    sumo = start("libsumo", network, BESIDE_BICYCLES.routes(tmp_path / "r.rou.xml", 1.0))
    closed = {lane: Closure(start_s=5, duration_s=60, lanes=(lane,)) for lane in ("bc_0", "bc_1")}
    for lane, kept_out in (("bc_1", "ab -> bc for passenger,"), ("bc_0", "ab -> bc for bicycle,")):
        with pytest.raises(ScenarioError, match=kept_out):
            inject(sumo, roads.scenario(effects=(closed[lane],)), network=network).__enter__()
    for_trucks = Closure(start_s=5, duration_s=60, lanes=("bc_0",), classes=("truck",))
    with inject(sumo, roads.scenario(effects=(for_trucks,)), network=network) as injection:  # trucks had no way there
        run(sumo, 80)
    assert injection.effects_report()[0].realised


@pytest.mark.parametrize("backend", BACKENDS)
def test_overlapping_closures_and_somebody_elses(start, road, backend):
    sumo = start(backend, road(3))
    lane = "middle_1"
    effects = (
        Closure(start_s=10, duration_s=50, lanes=(lane,), classes=("truck",)),
        Closure(start_s=20, duration_s=20, lanes=(lane,)),
    )
    with inject(sumo, roads.scenario(effects=effects), network=road(3)) as injection:
        run(sumo, 30)
        assert sumo.lane.getAllowed(lane) == ()
        sumo.lane.setAllowed(lane, ["bus", "truck"])
        run(sumo, 36)
        assert sumo.lane.getAllowed(lane) == ()
        run(sumo, 45)
        assert sumo.lane.getAllowed(lane) == ("bus",)
        run(sumo, 65)
        assert sumo.lane.getAllowed(lane) == ("bus", "truck")
    assert [report.counts["overwritten_by_others"] for report in injection.effects_report()] == [1, 1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_without_internal_lanes_the_edge_itself_is_closed_and_the_report_says_so(start, diamond, tmp_path, backend):
    options = (*PERMISSIVE, "--no-internal-links", "true")
    sumo = start(backend, diamond, demand(tmp_path, "in direct out"), *options)
    before = {lane: sumo.lane.getAllowed(lane) for lane in sumo.lane.getIDList()}
    closed = Closure(start_s=60, duration_s=200, edges=("direct",))
    with inject(sumo, roads.scenario(effects=(closed,)), network=diamond) as injection:
        run(sumo, 250)
        assert sumo.lane.getAllowed("direct_0") == () and sumo.edge.getLastStepVehicleNumber("direct") == 0
        assert sumo.edge.getLastStepVehicleNumber("in") > 10
        run(sumo, 270)
        assert {lane: sumo.lane.getAllowed(lane) for lane in before} == before
    (report,) = injection.effects_report()
    assert report.realised and "no internal lanes" in report.reason


def rerouter(folder):
    """Somebody else's roadworks on one lane from 100 to 200 s, in a file that an additional file includes."""
    (folder / "works.add.xml").write_text(
        '<additional><rerouter id="works" edges="before"><interval begin="100" end="200">'
        '<closingLaneReroute id="middle_0" allow="authority bus"/></interval></rerouter></additional>',
        encoding="utf-8",
    )
    path = folder / "outer.add.xml"
    path.write_text('<additional><include href="works.add.xml"/></additional>', encoding="utf-8")
    return path


def permissions(sumo, until: float) -> list[frozenset[str]]:
    """What the lane allows after each step."""
    found = []
    while sumo.simulation.getTime() < until:
        sumo.simulationStep()
        found.append(frozenset(sumo.lane.getAllowed("middle_0")))
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("classes", [(), ("truck",)])
@pytest.mark.parametrize(("begin_s", "end_s"), [(130, 160), (50, 150), (150, 250), (50, 250), (210, 230)])
def test_a_rerouter_that_closes_the_lane_too_ends_as_it_would_have(
    start, road, tmp_path, backend, classes, begin_s, end_s
):
    """Its closure is there for a time only; written back as the lane's own it once held for good."""
    works = rerouter(tmp_path)
    sumo = start(backend, road(2), None, "-a", str(works))
    usual = permissions(sumo, 260)
    sumo.close()
    assert usual[150] == {"authority", "bus"}
    sumo = start(backend, road(2), None, "-a", str(works))
    closed = Closure(start_s=begin_s, duration_s=end_s - begin_s, lanes=("middle_0",), classes=classes)
    roads.run_until(sumo, 40)
    with inject(sumo, roads.scenario(effects=(closed,)), network=road(2)) as injection:
        found = usual[:40] + permissions(sumo, 260)
    denied = frozenset(classes) or VEHICLE_CLASSES
    wanted = [allowed - (denied if begin_s <= n + 1 < end_s else frozenset()) for n, allowed in enumerate(usual)]
    assert found == wanted
    assert "overwritten_by_others" not in injection.effects_report()[0].counts


def test_within_a_rerouters_closure_the_network_says_what_a_lane_allows_for_good(start, road, tmp_path):
    sumo = start("libsumo", road(2), None, "-a", str(rerouter(tmp_path)))
    before = permissions(sumo, 120)[0]
    closed = Closure(start_s=130, duration_s=40, lanes=("middle_0",))
    with inject(sumo, roads.scenario(effects=(closed,)), network=road(2)):
        found = permissions(sumo, 220)
    assert not found[20] and found[60] == {"authority", "bus"} and found[-1] == before


def test_an_injection_that_ends_within_a_rerouters_closure_says_that_the_lane_is_open(start, road, tmp_path):
    sumo = start("libsumo", road(2), None, "-a", str(rerouter(tmp_path)))
    before = permissions(sumo, 1)[0]
    closed = Closure(start_s=50, duration_s=100, lanes=("middle_0",))
    with (
        pytest.warns(InjectionWarning, match="00:02:50, while a rerouter closes middle_0"),
        inject(sumo, roads.scenario(effects=(closed,)), network=road(2)),
    ):
        roads.run_until(sumo, 170)
    assert permissions(sumo, 260)[-1] == before


def test_closings_of_edges_and_lanes_are_read_as_sumo_takes_them(tmp_path):
    path = tmp_path / "r.add.xml"
    path.write_text(
        '<additional><rerouter id="r" edges="a"><interval begin="0:01:00" end="90"><closingLaneReroute id="e_0"/>'
        '<closingReroute id="e"/><closingReroute id="f" disallow="bus"/></interval></rerouter></additional>',
        encoding="utf-8",
    )
    found = read_closings([path], {"e_0", "e_1", "f_1", "g_0"})
    assert {lane: [(c.begin_s, c.end_s) for c in each] for lane, each in found.items()} == {
        "e_0": [(60, 90)],
        "f_1": [(60, 90)],
    }
    assert found["e_0"][0].denied == VEHICLE_CLASSES - {"authority"} and found["f_1"][0].denied == {"bus"}
