"""Runs that are added until an interval is narrow enough, on scenarios of a model with a made-up response."""

import json
import math
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from scenariogen.errors import ResultsError, ScenarioError
from scenariogen.evaluation.estimate import estimate
from scenariogen.evaluation.pending import Task
from scenariogen.evaluation.records import RunResult
from scenariogen.evaluation.sequential import STOPPING, evaluate_until
from scenariogen.evaluation.stage_plan import ScenarioStream
from scenariogen.evaluation.stopping import parse_target
from scenariogen.evaluation.store import QUARANTINE, load_results
from scenariogen.scenarios.synthesize import synthesize
from scenariogen.simulation.contract import EndReason
from tests.evaluation.paper_project import PaperProject
from tests.evaluation.synthetic import hand_batch
from tests.model.small import small_model, two_edges

POLICIES = ("no_control", "max_pressure")


@cache
def model():
    return small_model()


@cache
def drawn(n: int = 800):
    return synthesize(model(), n=n, frequencies=(0.5, 2.0), seed=4, project_hash="p" * 64)


@dataclass(frozen=True)
class Project(PaperProject):
    def network(self):
        return two_edges()


@dataclass(frozen=True)
class Responds:
    """Delay is a lognormal day plus a lognormal cost for each incident; the second policy saves a tenth of it."""

    spread: float = 0.5

    def __call__(self, task: Task) -> RunResult:
        noise = np.random.default_rng(task.seed)
        cost = noise.lognormal(0.0, self.spread, len(task.scenario.incidents)).sum() * 4.0
        delay = (10.0 * noise.lognormal(0.0, self.spread) + cost) * (0.9 if task.policy.name == POLICIES[1] else 1.0)
        return RunResult(
            **task.identity(), end_reason=EndReason.HORIZON, system_delay_veh_h=float(delay), time_veh_h=float(delay),
            free_flow_veh_h=0.0, due=100, arrived=100, discarded=0, running_at_end=0, waiting_at_end=0,
            incidents_due=len(task.scenario.incidents), incidents_realised=len(task.scenario.incidents),
        )  # fmt: skip


def until(target: str, out, *, budget: int | None = 400, scenarios=None, **changes):
    options = {"first": 60, "jobs": 1, "simulator": "dummy", "runner": Responds(), "frequencies": (1.0,)} | changes
    return evaluate_until(
        Project(), scenarios or drawn(), POLICIES, target=parse_target(target), budget=budget, out=out, **options
    )  # fmt: skip


def test_it_stops_where_the_target_is_met_and_says_what_was_seen(tmp_path):
    done = until("relative_half_width(mean)<=0.25", tmp_path / "out")
    assert done.is_met and done.looks[-1].reached <= 0.25 and done.looks[-1].scenarios < 400
    assert all(each.reached is None or each.reached > 0.25 for each in done.looks[:-1])
    assert all(each.level > 0.95 for each in done.looks)
    record = json.loads((tmp_path / "out" / STOPPING).read_text())
    assert record["met"] and len(record["seen"]) == len(done.looks)
    kept = load_results(done.folder)
    assert len(kept.batch) == done.looks[-1].scenarios and kept.missing == 0
    assert estimate(kept, None, (1.0,), threshold_veh_h=threshold_of(done)) == list(done.estimates)
    own = [each for each in done.estimates if each.versus is None and each.estimand == "mean_delay_veh_h"]
    once = estimate(replace(kept, growth=None), None, (1.0,))
    plain = {e.policy: e for e in once if e.versus is None and e.estimand == own[0].estimand}
    for each in own:  # wider than an interval that is looked at once
        assert each.low < plain[each.policy].low and each.high > plain[each.policy].high


def threshold_of(done):
    """The delay whose exceedance was asked, from the estimand's name."""
    return next(float(e.estimand[8:].split()[0]) for e in done.estimates if e.estimand.startswith("P(delay>"))


def test_a_target_that_can_never_be_met_is_refused_before_the_first_run(tmp_path):
    """It was found out after the looks: with one policy from the second on, outside the range when all was spent."""
    with pytest.raises(ScenarioError, match=r"can never be met:\s+- it speaks of a difference and there is one policy"):
        evaluate_until(
            Project(), drawn(), POLICIES[:1], target=parse_target("half_width(difference)<=2"), out=tmp_path / "one",
            runner=Responds(), frequencies=(1.0,), simulator="dummy",
        )  # fmt: skip
    with pytest.raises(ScenarioError, match=r"every frequency has to meet it, and .*10"):
        until("relative_half_width(mean)<=0.5", tmp_path / "outside", frequencies=(1.0, 10.0))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_spent_budget_says_how_many_would_do(tmp_path):
    done = until("half_width(difference)<=0.0001", tmp_path / "out", budget=130)
    assert not done.is_met and done.looks[-1].scenarios == 130
    assert "about" in done.advice and "0.0001" in done.advice


def test_the_same_call_goes_on_and_gives_the_same_to_the_last_digit(tmp_path):
    def killed(look):
        if look.look == 1:
            raise KeyboardInterrupt

    whole = until("half_width(mean)<=0.001", tmp_path / "whole", budget=150)
    with pytest.raises(KeyboardInterrupt):
        until("half_width(mean)<=0.001", tmp_path / "cut", budget=150, on_look=killed)
    again = until("half_width(mean)<=0.001", tmp_path / "cut", budget=150)
    assert again.estimates == whole.estimates and again.looks == whole.looks


@dataclass(frozen=True)
class Dies(Responds):
    """The same, with one run that died."""

    def __call__(self, task: Task) -> RunResult:
        if task.scenario.index == 7 and task.policy.name == POLICIES[1]:
            return task.failed(EndReason.SIMULATOR_DIED, "it died")
        return super().__call__(task)


def test_quarantine_is_listed_beside_all_results(tmp_path):
    """The command names that file, which was not there."""
    done = until("half_width(mean)<=0.001", tmp_path, budget=60, runner=Dies())
    assert sum(run.is_quarantined for run in done.results.runs) == 1
    (listed,) = json.loads((done.folder / QUARANTINE).read_text())
    assert (listed["scenario"], listed["policy"], listed["error"]) == (7, POLICIES[1], "it died")


def test_looks_and_target_cannot_be_changed_afterwards(tmp_path):
    until("half_width(mean)<=0.001", tmp_path, budget=60)
    with pytest.raises(ResultsError, match="another target"):
        until("half_width(mean)<=5", tmp_path, budget=60)
    with pytest.raises(ResultsError, match="--budget"):
        until("half_width(mean)<=0.001", tmp_path, budget=80)
    with pytest.raises(ResultsError, match="its results are in"):
        load_results(tmp_path)


@pytest.mark.slow
def test_later_stages_go_where_the_spread_is(tmp_path):
    done = until("half_width(mean)<=0.001", tmp_path, budget=300, frequencies=(2.0,))
    first, last = done.looks[0].shares, done.looks[-1].shares
    assert first == pytest.approx((0.25, 0.75)) and sum(last) == pytest.approx(1.0)
    assert last[1] > 0.8  # at twice the frequency nearly every day has an incident


def test_a_finished_evaluation_answers_again_without_new_runs(tmp_path):
    once = until("half_width(mean)<=0.001", tmp_path, budget=60)
    again = until("half_width(mean)<=0.001", tmp_path, budget=60, runner=None)
    assert again.estimates == once.estimates


def test_a_stream_gives_each_scenario_once_and_in_order():
    stream = ScenarioStream(drawn(40))
    first, second = stream.take(2, 5), stream.take(3, 1)
    everything = drawn(40).scenarios
    free = [s.index for s in everything if s.density.component < 0]
    hit = [s.index for s in everything if s.density.component >= 0]
    assert [s.index for s in first.scenarios] == sorted(free[:2] + hit[:5])
    assert [s.index for s in second.scenarios] == sorted(free[2:5] + hit[5:6])
    assert all(s == everything[s.index] for s in (*first.scenarios, *second.scenarios))


def test_a_kind_that_is_used_up_is_filled_up_with_the_other():
    stream = ScenarioStream(drawn(40))
    assert [s.is_incident_free for s in stream.take(12, 10).scenarios].count(True) == 10
    assert len(stream.take(0, 18).scenarios) == 18


def test_enough_of_each_kind_is_left_for_later_stages():
    stream = ScenarioStream(drawn(400))  # 100 without incidents
    stream.take(20, 60)
    free, hit = stream.within((0.8, 0.2), stage=100, later=220)
    assert free == pytest.approx((80 - 0.125 * 220) / 100) and free + hit == pytest.approx(1.0)
    assert stream.within((0.2, 0.8), stage=100, later=220) == pytest.approx((0.2, 0.8))


def test_the_budget_is_spent_where_nearly_all_scenarios_have_to_be_used(tmp_path):
    done = until("half_width(mean)<=0.001", tmp_path, budget=None, scenarios=drawn(300), first=150)
    assert len(done.results.batch) == 300 and done.results.missing == 0
    assert all(e.value is not None for e in done.estimates if e.versus is None and e.estimand == "mean_delay_veh_h")


def test_a_budget_beyond_the_scenarios_is_refused(tmp_path):
    with pytest.raises(ScenarioError, match="801"):
        until("half_width(mean)<=0.001", tmp_path, budget=801)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(ResultsError, match="not empty"):
        until("half_width(mean)<=5", tmp_path, budget=60)
    assert (tmp_path / "all" / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_under_a_condition_all_scenarios_have_an_incident(tmp_path):
    given = synthesize(model(), n=60, frequencies=(0.5, 2.0), given="capacity_left<=0.6", seed=4, project_hash="p" * 64)
    done = evaluate_until(
        Project(), given, POLICIES[:1], target=parse_target("half_width(mean)<=0.001"), out=tmp_path,
        first=30, jobs=1, simulator="dummy", runner=Responds(), frequencies=(1.0,), threshold_veh_h=20.0,
    )  # fmt: skip
    assert {each.shares for each in done.looks} == {(0.0, 1.0)} and len(done.looks) > 3


def test_scenarios_by_hand_cannot_grow():
    with pytest.raises(ScenarioError, match="written by hand"):
        ScenarioStream(hand_batch(8))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("mean<=0.05", ("MEASURE(ESTIMAND)<=NUMBER",)),
        ("width(mean)<=0.05", ("half_width",)),
        ("half_width(median)<=-1", ("'median'", "'-1' is no width")),
        ("half_width(mean)<=nan", ("no width",)),
    ],
)
def test_a_target_that_is_not_understood_says_all_that_is_wrong(text, says):
    with pytest.raises(ScenarioError) as caught:
        parse_target(text)
    assert all(each in str(caught.value) for each in says)


def test_a_target_speaks_of_what_it_names(tmp_path):
    done = until("half_width(mean)<=1000", tmp_path, budget=60)
    mean, difference = parse_target("half_width(mean)<=1"), parse_target("half_width(difference)<=1")
    asked = [(e.policy, e.versus) for e in done.estimates if mean.asks(e)]
    assert asked == [("no_control", None), ("max_pressure", None)]
    assert [(e.policy, e.versus) for e in done.estimates if difference.asks(e)] == [("max_pressure", "no_control")]
    refused = replace(next(e for e in done.estimates if mean.asks(e)), value=None, low=None, high=None)
    assert mean.width(refused) == math.inf
