"""ALINEA on a simulated motorway that carries as much as it can: the occupancy after the merge stays near critical."""

import statistics
import sys

import pytest

from scenariogen.evaluation.policy import load_policy
from scenariogen.evaluation.policy_room import PolicyRoom, loops_for
from scenariogen.simulation.contract import RunRequest
from scenariogen.simulation.sumo import SumoSimulator
from sumo_networks.building.corridor_demand import VEHICLE_TYPES
from tests.simulation.motorway import STEPS, flow, motorway
from tests.simulation.small import small_project, window

END_S = 2700.0


def demand(through_veh_h: float, ramp_veh_h: float) -> str:
    """Rises for a quarter of an hour, then stays; one in ten vehicles on the motorway is a lorry."""
    routes = VEHICLE_TYPES
    for begin_s in range(0, int(END_S), 300):
        level = min(0.85 + 0.15 * begin_s / 900, 1.0)
        for name, edges, veh_h, kind in (
            ("cars", "m1 m2 m3", 0.9 * through_veh_h, "car"),
            ("lorries", "m1 m2 m3", 0.1 * through_veh_h, "truck"),
            ("ramp", "ramp slip m2 m3", ramp_veh_h, "car"),
        ):
            routes += flow(f"{name}{begin_s}", edges, veh_h * level, begin_s + 300.0, kind=kind, begin_s=begin_s)
    return routes


@pytest.mark.sumo
@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_occupancy_stays_within_fifteen_percent_while_the_ramp_can_store(tmp_path, seed):
    project = small_project(
        tmp_path / "p", demand(4900, 900), net=motorway(signal=True), options=STEPS.format(end_s=END_S)
    )
    policy = load_policy("alinea")
    critical = sys.modules[type(policy).__module__].CRITICAL_PERCENT
    request = RunRequest(
        window=window(END_S), seed=seed, folder=tmp_path / "run", loops=loops_for(policy, project.network())
    )
    held = []
    with SumoSimulator(project).open(request) as run, run.control_room as room:
        (meter,) = room.meters.values()
        handed = PolicyRoom(room, policy.reads)
        policy.start(handed)
        while run.time_s < END_S:
            run.step()
            policy.step(handed, run.time_s)
            if run.time_s % 30 == 0 and meter.rate_veh_h and meter.queue < 0.85 * meter.storage:
                held.append(100 * statistics.fmean(room.detectors.occupancy(lane) for lane in meter.merge_lanes))
        policy.finish(handed)
    assert len(held) > 40
    assert statistics.fmean(held) == pytest.approx(critical, rel=0.15)
