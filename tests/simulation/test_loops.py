"""Loops of a control room: against SUMO's own account, the lag, errors and outages."""

import math
import xml.etree.ElementTree as ET

import pytest

from scenariogen.errors import PolicyError, SimulationError
from scenariogen.simulation.contract import DetectorOptions, Loop, LoopReading, RunRequest
from scenariogen.simulation.dummy import DummySimulator
from scenariogen.simulation.outages import FallibleDetectors
from scenariogen.simulation.sumo import SumoSimulator
from tests.simulation.small import PLAIN, line, small_project, window

FLOW = PLAIN + '<flow id="f" type="plain" begin="0" end="300" period="4" from="ab" to="cd"/>'
OWN = '<inductionLoop id="own" lane="bc_0" pos="100" period="30" file="own.xml"/>'
LOOPS = (Loop(lane="bc_0", position_m=100.0), Loop(lane="cd_0", position_m=-50.0))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return small_project(tmp_path_factory.mktemp("loops"), FLOW, net=line(), additional=OWN)


def readings(project, folder, *, backend="libsumo", seed=1, lane="bc_0", options=None):
    """Every reading that reached the control room, with the second at which it was first seen."""
    asked = RunRequest(
        window=window(300.0), seed=seed, folder=folder, loops=LOOPS, detector_options=options or DetectorOptions()
    )
    found = {}
    with SumoSimulator(project, backend=backend).open(asked) as run:
        while run.time_s < 300:
            run.step()
            seen = run.control_room.detectors.reading(lane)
            if not math.isnan(seen.end_s):
                found.setdefault(seen.end_s, (run.time_s, seen))
    return found


@pytest.mark.sumo
@pytest.mark.parametrize("backend", ["libsumo", "traci"])
def test_loops_read_what_sumo_writes_ten_seconds_late(project, tmp_path, backend):
    found = readings(project, tmp_path / "run", backend=backend)
    (written,) = (tmp_path / "run").rglob("own.xml")
    theirs = {float(each.get("end")): each for each in ET.parse(written).getroot()}
    assert list(found) == [30.0 * number for number in range(1, 10)]
    for end_s, (seen_s, reading) in found.items():
        assert seen_s == end_s + 10
        assert reading.flow_veh_h == float(theirs[end_s].get("flow"))
        assert reading.occupancy == pytest.approx(float(theirs[end_s].get("occupancy")) / 100, abs=1e-4)
        if math.isnan(reading.speed_mps):
            assert float(theirs[end_s].get("speed")) < 0
        else:
            assert reading.speed_mps == pytest.approx(float(theirs[end_s].get("speed")), abs=0.01)
    assert found[180.0][1].flow_veh_h == pytest.approx(900, rel=0.15)


@pytest.mark.sumo
def test_lag_and_interval_are_options(project, tmp_path):
    found = readings(project, tmp_path / "run", options=DetectorOptions(lag_s=0.0, interval_s=60.0))
    assert list(found) == [60.0, 120.0, 180.0, 240.0]
    assert {seen_s - end_s for end_s, (seen_s, _) in found.items()} == {1.0}  # the step in which SUMO closes it


@pytest.mark.sumo
def test_errors_follow_from_the_seed_alone(project, tmp_path):
    noisy = DetectorOptions(error=0.1)
    exact = readings(project, tmp_path / "exact")
    first, again = (readings(project, tmp_path / name, options=noisy) for name in ("one", "two"))
    assert repr(first) == repr(again)  # nan is not itself
    ratios = [first[end_s][1].flow_veh_h / exact[end_s][1].flow_veh_h for end_s in exact if end_s > 60]
    assert len(set(ratios)) > 4 and all(0.5 < ratio < 1.5 for ratio in ratios)
    assert readings(project, tmp_path / "other", options=noisy, seed=2)[120.0] != first[120.0]


@pytest.mark.sumo
def test_detectors_out_of_order_all_run_long_have_no_data(project, tmp_path):
    asked = RunRequest(
        window=window(300.0), seed=1, folder=tmp_path, loops=LOOPS, detector_lanes=("ab_0",),
        detector_options=DetectorOptions(outage_share=1.0),
    )  # fmt: skip
    with SumoSimulator(project).open(asked) as run:
        bank = run.control_room.detectors
        while run.time_s < 100:
            run.step()
        assert not any(bank.has_data(lane) for lane in ("ab_0", "bc_0", "cd_0"))
        assert math.isnan(bank.flow_veh_h("bc_0")) and math.isnan(bank.occupancy("bc_0")) and bank.count("ab_0") == 0


@pytest.mark.sumo
def test_lanes_without_a_loop_are_refused(project, tmp_path):
    with SumoSimulator(project).open(
        RunRequest(window=window(300.0), seed=1, folder=tmp_path / "a", loops=LOOPS)
    ) as run:
        for read in ("flow_veh_h", "occupancy", "speed_mps"):
            with pytest.raises(PolicyError, match="'ab_0' has no loop; 2 lanes have one"):
                getattr(run.control_room.detectors, read)("ab_0")
    away = RunRequest(window=window(300.0), seed=1, folder=tmp_path / "b", loops=(Loop(lane="zz_0", position_m=1.0),))
    with pytest.raises(SimulationError, match="zz_0"):
        SumoSimulator(project).open(away)
    with pytest.raises(SimulationError, match="no loops"):
        DummySimulator().open(away)


def test_a_loop_that_is_stuck_repeats_itself_and_one_without_data_reads_nan():
    class Bank(FallibleDetectors):
        def __init__(self):
            self.lanes, self.loops, self.length_m, self.lag_s, self.interval_s = (), ("x",), 60.0, 0.0, 30.0
            self.flow = 0.0

        def reading(self, lane):
            self.flow += 120.0
            return LoopReading(self.flow, 0.1, 20.0, 30.0)

    bank = FallibleDetectors(Bank())
    assert bank.flow_veh_h("x") == 120 and bank.fail("stuck", ["x", "y"], last_value=True) == ["x"]
    assert [bank.flow_veh_h("x") for _ in range(3)] == [240.0] * 3 and bank.has_data("x")
    bank.fail("dead", ["x"], last_value=False)
    assert math.isnan(bank.flow_veh_h("x")) and not bank.has_data("x")
    bank.repair("dead")
    bank.repair("stuck")
    assert bank.flow_veh_h("x") > 240


def test_options_list_every_problem():
    with pytest.raises(PolicyError) as caught:
        DetectorOptions(lag_s=-1.0, interval_s=0.0, error=float("nan"), outage_share=2.0)
    assert all(name in str(caught.value) for name in ("lag_s", "interval_s", "error", "outage_share"))
