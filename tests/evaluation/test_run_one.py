"""One run: what it measures, and that whatever goes wrong ends in its result."""

import dataclasses
import json

import pytest

from scenariogen.errors import PolicyError
from scenariogen.evaluation.approaches import approach_lanes, detector_lanes
from scenariogen.evaluation.pending import Task
from scenariogen.evaluation.policy import resolve_policy
from scenariogen.evaluation.policy_room import PolicyRoom
from scenariogen.network import Edge, Lane, RoadClass, RoadNetwork
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.contract import EndReason
from tests.evaluation.paper_project import PaperRunner, paper_incident, paper_network, write_policy
from tests.policies.room import PaperRoom


def one(tmp_path, policy="calm", *, incidents=(), seed=5, keep=False):
    reference = resolve_policy(policy if policy == "no_control" else write_policy(tmp_path, policy))
    scenario = Scenario(index=7, seed=seed, incidents=incidents)
    task = Task(
        key="k", scenario=scenario, policy=reference, replica=0, seed=seed, folder=tmp_path / "run", keep=keep,
        made_with={"sumo_version": "1", "scenariogen_version": "2"},
    )  # fmt: skip
    return PaperRunner()(task)


def test_a_run_without_incident_is_measured(tmp_path):
    found = one(tmp_path)
    assert found.end_reason is EndReason.HORIZON and found.error == ""
    assert found.system_delay_veh_h == pytest.approx(found.time_veh_h - found.free_flow_veh_h)
    assert 0 < found.system_delay_veh_h < 5
    assert found.due == found.arrived + found.running_at_end + found.waiting_at_end + found.discarded
    assert found.incidents == "[]" and found.wall_s > 0
    assert (found.scenario, found.seed, found.sumo_version, found.scenariogen_version) == (7, 5, "1", "2")


def test_an_incident_costs_and_is_reported_as_it_happened(tmp_path):
    free, hit = one(tmp_path), one(tmp_path, incidents=(paper_incident(200.0),))
    assert hit.system_delay_veh_h > free.system_delay_veh_h + 1
    assert (hit.incidents_asked, hit.incidents_due, hit.incidents_realised) == (1, 1, 1)
    (record,) = json.loads(hit.incidents)
    assert record["asked"]["start_s"] == record["happened"]["start_s"] == 200.0
    assert record["edge"] == "b" and record["kind"] == "crash" and record["realised"]


def test_a_policy_makes_a_difference_and_the_same_run_gives_the_same_numbers(tmp_path):
    incidents = (paper_incident(200.0, edge="a"),)
    calm, green = one(tmp_path, incidents=incidents), one(tmp_path, "green", incidents=incidents)
    assert green.system_delay_veh_h < calm.system_delay_veh_h
    again = one(tmp_path, incidents=incidents)
    assert dataclasses.replace(again, cpu_s=0, wall_s=0) == dataclasses.replace(calm, cpu_s=0, wall_s=0)


def test_detectors_are_there_where_a_policy_asks_for_them(tmp_path):
    assert one(tmp_path, "watches").end_reason is EndReason.HORIZON


def test_the_runs_folder_is_removed_unless_it_is_to_be_kept(tmp_path):
    one(tmp_path)
    assert not (tmp_path / "run").exists()
    one(tmp_path, "raises")
    assert not (tmp_path / "run").exists()
    one(tmp_path, keep=True)
    assert (tmp_path / "run").is_dir()


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("raises", r"raises: KeyError: 'no such ramp' \(line 9: raise KeyError\('no such ramp'\)\)"),
        ("exits", r"exits: SystemExit: 5 \(line 9"),
        ("starts_badly", r"starts_badly: OSError: no plan \(line 8"),
        ("ends_badly", r"ends_badly: OSError: not saved \(line 11"),
        ("twice_badly", r"twice_badly: KeyError: 'first' \(line 8"),
        ("wrong_state", r"wrong_state: PolicyError: signal 'a' was given the state 'GGGG'.*line 8"),
    ],
)
def test_a_policy_that_raises_is_the_result_with_message_and_line(tmp_path, policy, said):
    import re

    found = one(tmp_path, policy)
    assert found.end_reason is EndReason.POLICY_RAISED and found.system_delay_veh_h is None
    assert re.search(said, found.error), found.error


def test_a_policy_file_that_vanished_is_the_runs_failure(tmp_path):
    reference = resolve_policy(write_policy(tmp_path, "calm"))
    (tmp_path / "calm.py").unlink()
    task = Task(
        key="k", scenario=Scenario(index=0, seed=1), policy=reference, replica=0, seed=1, folder=tmp_path / "run"
    )
    found = PaperRunner()(task)
    assert found.end_reason is EndReason.POLICY_RAISED and "cannot be read" in found.error
    with pytest.raises(PolicyError):
        reference.create()


def test_a_scenario_that_cannot_be_injected_says_so(tmp_path):
    found = one(tmp_path, incidents=(paper_incident(edge="nowhere"),))
    assert found.end_reason is EndReason.INJECTION_FAILED and "'nowhere' is not in the network" in found.error


# ------------------------------------------------------------------------------------------------- approaches


def stub_network():
    """x (100 m) and y (100 m) merge into m (20 m), which leads over the stub s (2 m) to a signal; z has its own."""

    def edge(name, length_m):
        lane = Lane(id=f"{name}_0", index=0, length_m=length_m, speed_mps=10.0, width_m=3.2, drives=True, shape=())
        return Edge(id=name, from_junction="", to_junction="", length_m=length_m, speed_mps=10.0,
                    road_class=RoadClass.STREET, signalised=False, lanes=(lane,), successors=(), predecessors=(),
                    turn_angles=())  # fmt: skip

    lengths = {"far": 100.0, "x": 100.0, "y": 100.0, "z": 30.0, "m": 20.0, "s": 2.0, "out": 100.0}
    links = {"far_0": ("x_0",), "x_0": ("m_0",), "y_0": ("m_0",), "z_0": ("m_0",), "m_0": ("s_0",), "s_0": ("out_0",)}
    return RoadNetwork(
        path=paper_network().path,
        sha256="",
        edges={name: edge(name, length) for name, length in lengths.items()},
        lane_links=links | {"out_0": ()},
        signals={"J": ("s_0",), "K": ("z_0",)},
    )


def test_a_stub_before_a_signal_is_watched_as_far_back_as_others():
    network = stub_network()
    approaches = approach_lanes(network)
    assert set(approaches["s_0"]) == {"s_0", "m_0", "x_0", "y_0"}, "not far_0, 122 m away, nor z_0, with its own signal"
    assert approaches["z_0"] == ("z_0",)
    assert set(detector_lanes(network, approaches)) == {"s_0", "m_0", "x_0", "y_0", "z_0", "out_0"}
    assert detector_lanes(network, {}) == ()


def test_the_count_of_a_stub_is_the_queue_behind_it():
    room = PaperRoom({}, {"s_0": 0.0, "m_0": 3.0, "x_0": 5.0, "y_0": 1.0, "z_0": 4.0, "out_0": 2.0})
    seen = PolicyRoom(room, ("detectors",), approach_lanes(stub_network()))
    assert seen.detectors.count("s_0") == 9 and seen.detectors.count("z_0") == 4 and seen.detectors.count("out_0") == 2
    assert seen.detectors.lanes == room.detectors.lanes and seen.time_s == 0.0
