"""Detectors that are out: what a policy reads, and what evaluation makes of effects."""

import json

import pytest

from scenariogen.injection import inject
from scenariogen.scenarios.effects import Closure, DemandSurge, DetectorOutage, OutageMode
from scenariogen.scenarios.records import Scenario
from scenariogen.simulation.outages import FallibleDetectors
from tests.injection import roads
from tests.injection.test_effects_contract import Bank


def test_no_data_is_zero_and_known_the_last_value_stays_and_is_not():
    bank = FallibleDetectors(Bank())
    assert [bank.count("wc_0") for _ in range(3)] == [1, 2, 3] and bank.has_data("wc_0")
    assert bank.fail("stuck", ["wc_0", "elsewhere"], last_value=True) == ["wc_0"]
    assert {bank.count("wc_0") for _ in range(3)} == {4} and bank.has_data("wc_0")
    bank.fail("dead", ["wc_0"], last_value=False)
    assert bank.count("wc_0") == 0 and not bank.has_data("wc_0")
    bank.repair("dead")
    assert bank.count("wc_0") == 4 and bank.has_data("wc_0")
    bank.repair("stuck")
    bank.repair("stuck")
    assert bank.count("wc_0") > 4


@pytest.mark.sumo
def test_without_detectors_it_is_not_realised_and_says_why(start, road):
    sumo = start("libsumo", road(2))
    outage = DetectorOutage(start_s=5, duration_s=20)
    with inject(sumo, roads.scenario(effects=(outage,)), network=road(2)) as injection:
        roads.run_until(sumo, 10)
    (report,) = injection.effects_report()
    assert not report.realised and "detectors" in report.reason


POLICY = """
from scenariogen.simulation.contract import Policy

class Watches(Policy):
    name = "watches"
    needs_detectors = True

    def start(self, run):
        self.seen = []

    def step(self, run, time_s):
        lane = run.detectors.lanes[0]
        self.seen.append((time_s, run.detectors.count(lane), run.detectors.has_data(lane)))

    def finish(self, run):
        import json, pathlib
        pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(self.seen))
"""


@pytest.mark.sumo
@pytest.mark.parametrize("mode", list(OutageMode))
def test_in_a_run_the_policy_sees_it_and_the_result_tells_of_all_effects(tmp_path, mode):
    """The closure needs an option that the project lacks: the run sets it."""
    from scenariogen.evaluation.run_one import run_scenario
    from scenariogen.simulation.project import open_project
    from scenariogen.window import StudyWindow
    from tests.simulation.small import cross, write_project

    flows = "".join(
        f'<flow id="f{n}" begin="0" end="600" vehsPerHour="700" departLane="best"><route edges="{way}"/></flow>'
        for n, way in enumerate(("in[0]#1 out", "sm mn"))
    )
    project = open_project(write_project(tmp_path / "p", flows, net=cross()))
    policy = tmp_path / "watches.py"
    policy.write_text(POLICY, encoding="utf-8")
    effects = (
        DetectorOutage(start_s=100, duration_s=200, mode=mode),
        Closure(start_s=50, duration_s=100, edges=("mn",)),
        DemandSurge(start_s=50, duration_s=100, factor=1.5),
    )
    window = StudyWindow(begin_s=0, count_from_s=0, incidents_until_s=400, end_s=400, demand_end_s=400)
    result = run_scenario(
        project, Scenario(index=0, seed=3, effects=effects), policy, window=window, folder=tmp_path / "run"
    )
    assert result.error == "" and (result.effects_due, result.effects_realised) == (3, 3)
    assert result.balance_checks > 3 and result.balance_broken == ""
    outage, closure, surge = json.loads(result.effects)
    assert surge["counts"]["added"] > 3
    assert (outage["start_s"], outage["end_s"], outage["asked"]["mode"]) == (100, 300, str(mode))
    assert closure["asked"]["effect"] == "closure" and closure["counts"]["could_not_leave"] == 0
    seen = json.loads(policy.with_suffix(".json").read_text())
    during = [(count, known) for time_s, count, known in seen if 101 <= time_s < 300]
    if mode is OutageMode.NO_DATA:
        assert set(during) == {(0, False)}
    else:
        assert len({count for count, _ in during}) == 1 and all(known for _, known in during)
    assert len({count for time_s, count, _ in seen if time_s < 100}) > 1
    assert all(known for time_s, _, known in seen if not 100 <= time_s <= 300)


def test_the_dummy_refuses_what_it_cannot_do():
    from scenariogen.errors import ScenarioError
    from scenariogen.evaluation.injecting import PaperInjection

    with pytest.raises(ScenarioError, match="closure"):
        PaperInjection(None, Scenario(index=0, seed=1, effects=(Closure(start_s=1, duration_s=2, edges=("a",)),)))  # pyright: ignore[reportArgumentType]
