"""The corridor and the grid: read as intended, run without a word from SUMO, equal to a rebuild."""

import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from scenariogen.network import RoadClass, read_network
from sumo_networks.building import capacity_drop, corridor_demand, grid_layout, networks, own_demand, toolchain
from sumo_networks.building.demand import Demand, Stream, write_routes

ROOT = Path(__file__).resolve().parents[2]
MOST_BYTES = 1_500_000


@pytest.fixture(scope="module", params=sorted(networks.OWN))
def own(request):
    return networks.OWN[request.param]


@pytest.fixture(scope="module")
def corridor():
    return read_network(networks.OWN["corridor"].folder / "corridor.net.xml")


@pytest.fixture(scope="module")
def grid():
    return read_network(networks.OWN["grid"].folder / "grid.net.xml")


def test_corridor_has_the_road_classes_of_its_types(corridor):
    classes = {edge.id: edge.road_class for edge in corridor.edges.values()}
    assert {e for e, c in classes.items() if c is RoadClass.MOTORWAY} == set(corridor_demand.MOTORWAY)
    ramps = {"off_1", "off_2", "on1_a", "on1_b", "on2_a", "on2_b"}
    assert {e for e, c in classes.items() if c is RoadClass.RAMP} == ramps
    assert all(e.startswith(("arterial_", "town")) for e, c in classes.items() if c is RoadClass.STREET)


def test_corridor_is_eight_kilometres_of_three_lanes(corridor):
    motorway = [corridor.edges[edge] for edge in corridor_demand.MOTORWAY]
    x_m = [point[0] for edge in motorway for point in edge.shape]
    assert max(x_m) - min(x_m) == pytest.approx(8000, abs=1)
    lanes = [len(edge.driving_lanes) for edge in motorway]
    assert lanes == [3, 3, 4, 3, 3, 4, 3, 3, 4, 3, 3]  # four where a ramp leaves or joins


def test_corridor_meters_are_green_unless_controlled(corridor):
    assert set(corridor.signals) == {"a2", "a3", "a4", "meter1", "meter2"}
    assert corridor.signals["meter1"] == ("on1_a_0",)
    assert corridor.signals["meter2"] == ("on2_a_0",)
    states = {
        phase.attrib["state"]
        for logic in ET.parse(corridor.path).getroot().iter("tlLogic")
        if logic.attrib["id"].startswith("meter")
        for phase in logic
    }
    assert states == {"G"}


def test_an_acceleration_lane_ends_where_it_must_merge(corridor):
    for edge in ("mw_06", "mw_09"):
        assert corridor.lane_links[f"{edge}_0"] == ()
        assert all(corridor.lane_links[f"{edge}_{lane}"] for lane in (1, 2, 3))


@pytest.mark.parametrize("blocked", ["mw_04", "mw_05", "mw_07", "mw_08"])
def test_the_arterial_leads_round_an_incident(corridor, blocked):
    seen, front = {"mw_01"}, ["mw_01"]
    while front:
        for edge in corridor.edges[front.pop()].successors:
            if edge not in seen and edge != blocked:
                seen.add(edge)
                front.append(edge)
    assert "mw_11" in seen


def test_grid_streets_are_signalised(grid):
    assert len(grid.signals) == 16
    assert {edge.road_class for edge in grid.edges.values()} == {RoadClass.STREET}
    lanes = Counter(len(edge.driving_lanes) for edge in grid.edges.values())
    assert lanes == {3: 40, 2: 40}
    assert all(edge.signalised for edge in grid.edges.values() if edge.to_junction in grid.signals)


def test_grid_programmes_give_every_link_green_then_yellow_then_red():
    for column in grid_layout.COLUMNS:
        for row in grid_layout.ROWS:
            programme = grid_layout.phases(column, row)
            assert sum(duration_s for duration_s, _ in programme) == 90
            for link, states in enumerate(zip(*(state for _, state in programme), strict=True)):
                greens = [i for i, letter in enumerate(states) if letter == "G"]
                assert len(greens) == 1, (column, row, link)
                assert states[greens[0] + 1] == "y"
                assert Counter(states) == {"G": 1, "y": 1, "r": len(states) - 2}


def test_grid_never_lets_conflicting_movements_go_together():
    """Left turns share their phase with left turns of the same axis only: no movement waits for a gap."""
    for column, row in (("A", "1"), ("B", "2"), ("A", "2"), ("C", "4")):
        links = grid_layout.junction_links(column, row)
        for _, state in grid_layout.phases(column, row):
            moving = [link for link, letter in zip(links, state, strict=True) if letter in "Gy"]
            assert len({link.axis for link in moving}) <= 1
            assert len({link.turn == "left" for link in moving}) <= 1


def test_folders_are_small_and_say_nothing_of_the_machine(own):
    files = [path for path in own.folder.iterdir() if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_BYTES
    for path in files:
        text = path.read_text(encoding="utf-8")
        assert str(ROOT) not in text
        assert "generated on" not in text


def test_routes_follow_the_network(own):
    network = read_network(own.folder / f"{own.name}.net.xml")
    for stream in own.demand.streams:
        edges = stream.edges.split()
        assert all(b in network.edges[a].successors for a, b in pairwise(edges)), stream.name


def test_written_flows_carry_the_demand(tmp_path):
    demand = Demand(
        begin_s=3600,
        profile=(0.5, 1.0),
        streams=(Stream(name="a", edges="e f", vehicles_per_hour=800, truck_share=0.25),),
        vehicle_types="<vType id='car'/><vType id='truck'/>",
        about="a test",
    )
    write_routes(demand, tmp_path / "x.rou.xml")
    flows = [element.attrib for element in ET.parse(tmp_path / "x.rou.xml").getroot() if element.tag == "flow"]
    assert [(flow["type"], flow["begin"], flow["end"]) for flow in flows] == [
        ("car", "3600", "4500"),
        ("truck", "3600", "4500"),
        ("car", "4500", "5400"),
        ("truck", "4500", "5400"),
    ]
    expected = sum(
        float(flow["period"].removeprefix("exp(").removesuffix(")")) * (int(flow["end"]) - int(flow["begin"]))
        for flow in flows
    )
    assert demand.vehicles == pytest.approx(300)
    assert expected == pytest.approx(300, rel=1e-4)  # rates are written with six decimals


def _minutes(breakdown_min: int | None) -> tuple[list[float], list[float]]:
    """5,600 veh/h at 28 m/s; from the breakdown on 5,040 veh/h, 10 % less, at 14 m/s."""
    flows = [5600.0] * capacity_drop.MINUTES
    speeds = [28.0] * capacity_drop.MINUTES
    if breakdown_min is not None:
        flows[breakdown_min:] = [5040.0] * (capacity_drop.MINUTES - breakdown_min)
        speeds[breakdown_min:] = [14.0] * (capacity_drop.MINUTES - breakdown_min)
    return flows, speeds


def test_drop_is_read_off_flows_and_speeds():
    drop = capacity_drop.measure(*_minutes(60))
    assert drop is not None
    assert drop.breakdown_min == 60
    assert (drop.before_vph, drop.discharge_vph) == (5600, 5040)
    assert drop.share == pytest.approx(0.10)


def test_a_short_slowdown_is_no_breakdown():
    flows, speeds = _minutes(None)
    speeds[40:46] = [12.0] * 6
    assert capacity_drop.measure(flows, speeds) is None


@pytest.mark.parametrize(
    ("shares", "holds"),
    [
        ((0.09, 0.10, 0.11, 0.10), True),
        ((0.01, 0.02, 0.01, 0.02), False),  # no drop to speak of
        ((0.02, 0.10, 0.18, 0.10), False),  # ten per cent on average, but nobody knows it from four such runs
        ((0.20, 0.21, 0.20, 0.21), False),
    ],
)
def test_verdict_wants_the_whole_interval(shares, holds):
    drops = [
        capacity_drop.Drop(
            breakdown_min=60, before_vph=5000, discharge_vph=5000 * (1 - s), discharge_min=30, queue_speed_mps=14
        )
        for s in shares
    ]
    assert capacity_drop.judge(drops).holds is holds
    assert not capacity_drop.judge([*drops, None]).holds, "a run that does not break down counts against it"


def test_faults_of_a_load_are_all_named():
    load = own_demand.Load(
        vehicles=1000,
        left_over=5,
        most_running=300,
        most_waiting=40,
        before_end=330,
        collisions=1,
        teleports=0,
        delay_s=50.0,
    )
    assert len(load.faults) == 4


@pytest.mark.sumo
def test_committed_files_equal_a_rebuild(own):
    assert networks.outdated(own) == []


@pytest.mark.sumo
def test_a_change_in_the_sources_is_noticed(tmp_path):
    source = networks.OWN["corridor"].folder
    folder = Path(shutil.copytree(source, tmp_path / "corridor"))
    nodes = folder / "corridor.nod.xml"
    nodes.write_text(nodes.read_text(encoding="utf-8").replace('x="8000"', 'x="8100"'), encoding="utf-8")
    toolchain.build_net(folder, folder)
    assert not toolchain.same_substance(folder / "corridor.net.xml", source / "corridor.net.xml")


@pytest.mark.sumo
def test_a_broken_source_gives_netconverts_own_words(tmp_path):
    folder = Path(shutil.copytree(networks.OWN["corridor"].folder, tmp_path / "corridor"))
    edges = folder / "corridor.edg.xml"
    edges.write_text(edges.read_text(encoding="utf-8").replace('to="m1"', 'to="nowhere"'), encoding="utf-8")
    with pytest.raises(toolchain.BuildError, match="nowhere"):
        toolchain.build_net(folder, folder)


def test_readme_tells_the_demand_that_there_is(own):
    text = (own.folder / "README.md").read_text(encoding="utf-8")
    assert f"{own.demand.vehicles:,.0f} vehicles, {len(own.demand.streams)} routes" in " ".join(text.split())
    assert "@@" not in text  # a figure that was left open


def test_corridors_readme_tells_its_flows():
    text = " ".join((networks.OWN["corridor"].folder / "README.md").read_text(encoding="utf-8").split())
    streams = corridor_demand.DEMAND.streams

    def total(edge: str) -> str:
        return f"{sum(each.vehicles_per_hour for each in streams if edge in each.edges):,.0f}"

    assert f"{corridor_demand.THROUGH.vehicles_per_hour:,} through" in text
    assert f"{total('off_1')} leave" in text
    assert f"{total('on1_a')} enter at the first and {total('on2_a')} at the second" in text
    assert f"{total('mw_10')} pass downstream of it; {total('arterial')} use the arterial" in text


@pytest.mark.sumo
def test_sumo_runs_five_minutes_without_a_word(own, tmp_path):
    said = toolchain.call(
        "sumo",
        *("-c", str(own.sumocfg), "--end", str(own.demand.begin_s + 300)),
        *("--statistic-output", str(tmp_path / "statistic.xml"), "--no-step-log", "--duration-log.disable"),
        folder=tmp_path,
    )
    assert said == ""
    vehicles = ET.parse(tmp_path / "statistic.xml").getroot().find("vehicles")
    assert vehicles is not None
    assert int(vehicles.attrib["inserted"]) > 300


@pytest.mark.sumo
def test_script_says_that_files_are_up_to_date():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "build_networks"), "--check"],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "a rebuild changes nothing\n")


@pytest.mark.sumo
@pytest.mark.slow
def test_breakdown_lowers_the_corridors_discharge():
    net = networks.OWN["corridor"].folder / "corridor.net.xml"
    assert capacity_drop.judge([capacity_drop.simulate(net, seed) for seed in range(1, 9)]).holds


@pytest.mark.sumo
@pytest.mark.slow
def test_own_demand_is_carried(own):
    for scale in own.scales:
        assert own_demand.simulate(own.sumocfg, own.demand, seed=1, scale=scale).faults == []
