"""Counters of a simulation that somebody else drives."""

from dataclasses import replace

import pytest

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
        ({"running": 13, "expected": 20}, "inserted 12 is less than running"),
        ({"expected": 7}, "expected 7 is less than"),
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
    assert last.waiting_most > 0 and last.loaded > last.inserted > last.running > 0
    assert log.look(now_s).running == sumo.vehicle.getIDCount()
