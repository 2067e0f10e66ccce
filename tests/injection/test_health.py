"""Counters of a simulation that somebody else drives."""

from dataclasses import replace

import pytest

from scenariogen.injection import inject
from scenariogen.injection.connection import Link
from scenariogen.injection.health import AttachedHealth, HealthLog
from tests.injection import roads

GOOD = AttachedHealth(
    time_s=60, loaded=20, inserted=12, running=5, waiting=3, expected=12, teleports=0, collisions=0,
    emergency_stops=0, emergency_brakings=0, own_inserted=2, own_running=1,
)  # fmt: skip


def test_totals_that_agree_have_no_gap():
    assert GOOD.gaps() == GOOD.gaps(GOOD) == ()
    assert GOOD.left == 7


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"loaded": 14}, "loaded 14 is less than"),
        ({"running": 13}, "inserted 12 is less than running"),
        ({"discarded": 6}, "discarded 6 is not what loaded 20"),
        ({"discarded": -1}, "discarded -1 is not what loaded 20"),
        ({"own_running": 3}, "3 of 2 own vehicles"),
        ({"teleports": -1}, "teleports went back"),
        ({"running": 6}, "left went back from 7 to 6"),
    ],
)
def test_totals_that_do_not_agree_are_told(changes, said):
    assert any(said in text for text in replace(GOOD, **changes).gaps(GOOD))


@pytest.mark.sumo
@pytest.mark.parametrize("backend", ["libsumo", "traci"])
def test_looks_at_a_saturated_road_agree_with_sumo(start, road, tmp_path, backend):
    network = road(2)
    sumo = start(backend, network, roads.flows(tmp_path, lanes=2, per_lane_veh_h=3000))
    log = HealthLog(Link(sumo))
    for _ in range(400):
        sumo.simulationStep()
        now_s = sumo.simulation.getTime()
        if now_s >= log.due_s:
            log.look(now_s)
    last = log.last
    assert last.looks == 7 and last.broken == ""
    assert last.discarded == 0
    assert last.waiting_most > 0 and last.loaded > last.inserted > last.running > 0
    assert log.look(now_s).running == sumo.vehicle.getIDCount()


@pytest.mark.sumo
@pytest.mark.filterwarnings("ignore::scenariogen.injection.InjectionWarning")
@pytest.mark.parametrize("backend", ["libsumo", "traci"])
def test_vehicles_that_a_closure_keeps_out_until_they_are_dropped_are_counted(start, road, tmp_path, backend):
    """The drops of ``max-depart-delay`` stood nowhere: SUMO's totals do not have them."""
    network = road(2)
    routes = roads.flows(tmp_path, lanes=2, per_lane_veh_h=1800)
    sumo = start(backend, network, routes, "--max-depart-delay", "20")
    closed = roads.incident(start_s=30, duration_s=600, lanes=(0, 1), capacity_left=0.0, position_m=20)
    dropped: set[str] = set()
    with inject(sumo, roads.scenario(closed), network=network) as injection:
        waiting: set[str] = set()
        while sumo.simulation.getTime() < 480:
            sumo.simulationStep()
            here = set(sumo.vehicle.getLoadedIDList())
            dropped |= waiting - here
            waiting = set(sumo.simulation.getPendingVehicles())
    health = injection.health
    assert health.broken == "" and health.discarded == len(dropped) > 100
    assert health.loaded == health.inserted + health.waiting + health.discarded


@pytest.mark.sumo
def test_kept_vehicles_leave_open_how_many_were_discarded(start, road, tmp_path):
    sumo = start("libsumo", road(1), roads.flows(tmp_path, lanes=1, per_lane_veh_h=900), "--keep-after-arrival", "60")
    log = HealthLog(Link(sumo))
    roads.run_until(sumo, 120)
    seen = log.look(120)
    assert seen.discarded is None and seen.broken == "" and seen.left > 0


@pytest.mark.sumo
def test_idle_taxis_are_no_gap(start, road, tmp_path):
    """``getMinExpectedNumber`` leaves them out, and was taken for too small a number of vehicles."""
    routes = tmp_path / "taxis.rou.xml"
    routes.write_text(
        '<routes><vType id="taxi" vClass="taxi"><param key="has.taxi.device" value="true"/></vType>'
        '<flow id="t" type="taxi" begin="0" end="30" number="3"><route edges="before middle"/></flow></routes>'
    )
    sumo = start("libsumo", road(2), routes, "--device.taxi.dispatch-algorithm", "greedy")
    log = HealthLog(Link(sumo))
    roads.run_until(sumo, 300)
    seen = log.look(300)
    assert seen.running == 3 and seen.expected < 3 and seen.broken == ""
