"""The code of ``scripts/check_reweighting``, and the direct runs that it compares with."""

import importlib.machinery
import importlib.util
import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from scenariogen.evaluation.estimate import answers_at
from scenariogen.scenarios.reweight import frequency_weights
from scenariogen.simulation.catalog import find_network
from scenariogen.simulation.project import open_project
from tests.support import ROOT

SCRIPTS = ROOT / "scripts"


def _script(name):
    loader = importlib.machinery.SourceFileLoader(name, str(SCRIPTS / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    sys.modules[name] = module
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def check():
    sys.path.insert(0, str(SCRIPTS))
    try:
        yield _script("check_reweighting")
    finally:
        sys.path.remove(str(SCRIPTS))
        sys.modules.pop("check_reweighting", None)


@pytest.fixture(scope="module")
def days(check):
    import coverage_days

    return coverage_days


def reference(check):
    return {at: check.Excess(value=4.0 * at, standard_error=0.05 * at, runs=4000) for at in check.TARGETS}


def answers(check, *, factor=1.0, seed=0, error=0.4):
    """Answers of twenty batches of both proposals, whose mean is ``factor`` times the reference."""
    generator = np.random.default_rng(seed)
    noise = generator.standard_normal(check.BATCHES)
    noise -= noise.mean()
    return {
        (proposal, at): [
            check.Answer(value=float(at * (4 * factor + error * z)), standard_error=error * at) for z in noise
        ]
        for proposal in ("tilted", "base")
        for at in check.TARGETS
    }


def test_answers_around_the_direct_runs_are_as_asked(check):
    found = reference(check)
    rows = check.rows_of(answers(check), found)
    assert check.faults(rows, found) == []
    none = [row for row in rows if row.proposal.startswith("none")]
    assert len(none) == 3 and all(row.within == 0 and not row.is_right for row in none)


def test_estimators_that_are_wrong_are_told(check):
    found = reference(check)
    high = check.faults(check.rows_of(answers(check, factor=1.1), found), found)
    off = [text.split(":")[0] for text in high if "from direct runs" in text]
    assert off == ["tilted at 0.25", "tilted at 1", "tilted at 2", "base at 0.25", "base at 1"]
    sure = answers(check, error=0.4)
    sure = {key: [replace(one, standard_error=0.01) for one in each] for key, each in sure.items()}  # too narrow
    assert any("of 20 within 2 standard errors" in text for text in check.faults(check.rows_of(sure, found), found))
    vague = {at: check.Excess(value=4.0 * at, standard_error=0.2 * at, runs=40) for at in check.TARGETS}
    assert sum("the reference at" in text for text in check.faults([], vague)) == 3


def test_an_estimator_without_any_excess_that_passes_is_told(check):
    found = {at: check.Excess(value=1e-3, standard_error=1e-5, runs=4000) for at in check.TARGETS}
    rows = [check.compare("none: no excess", 1.0, [check.Answer(value=1e-3, standard_error=1.0)] * 20, found[1.0])]
    assert check.faults(rows, found) == ["none: no excess at 1: an estimator without any excess passes"]


def test_a_refusal_is_a_miss(check):
    found = reference(check)
    few = answers(check)
    few["tilted", 1.0][17:] = [replace(each, is_refused=True) for each in few["tilted", 1.0][17:]]
    row = next(r for r in check.rows_of(few, found) if (r.proposal, r.intensity) == ("tilted", 1.0))
    assert row.refused == 3 and row.within <= 17 and row.gap == pytest.approx(0.0)  # the mean is of all
    assert any("tilted at 1" in text for text in check.faults([row], found))


def test_the_excess_is_what_incidents_add(check, days):
    """On synthetic days whose incidents cost a known mean, whatever the incident-free days cost."""
    import reweighting_case as case

    skewed, kappa = days.DAYS[0], 2.0
    found = []
    for seed in range(12):
        generator = np.random.default_rng(seed)
        batch = days.drawn(generator, 1e9)
        outcome = next(iter(days.run(skewed, batch, generator, (1.0,)).values()))
        weights = frequency_weights(batch, kappa)
        question = case.excess_question(outcome, batch, weights.probability_free)
        found.append(answers_at([question], batch, weights, kappa, total=False)[0][0])
    truth = kappa * days._cost_mean(skewed)
    errors = np.array([each.standard_error for each in found])
    values = np.array([each.value for each in found])
    assert abs(values.mean() - truth) < 4 * errors.mean() / len(found) ** 0.5
    assert values.std(ddof=1) == pytest.approx(errors.mean(), rel=0.6)


def test_the_stored_direct_runs_are_enough_and_of_this_network(check):
    said = json.loads(check.REFERENCE.read_text())
    found = {float(at): check.Excess(**each) for at, each in said["excess_veh_h"].items()}
    assert set(found) == set(check.TARGETS) and sum(each.runs for each in found.values()) >= 12_000
    assert all(each.standard_error <= check.LARGEST_ERROR * each.value for each in found.values())
    assert said["origin"]["project"] == open_project(find_network(said["origin"]["network"])).hash


def test_controls_take_the_chance_of_the_marks_out_of_a_direct_mean(check):
    import reweighting_case as case

    off, errors = [], []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        x, known = generator.exponential(1.0, (300, 2)), generator.exponential(1.0, (20_000, 2))
        y = 5 + x @ [2.0, 1.0] + 0.5 * generator.standard_normal(300)
        mean, error = case.adjusted_mean(y, x, known)
        off.append(mean - 8.0)
        errors.append(error)
        assert error < 0.4 * y.std(ddof=1) / len(y) ** 0.5
    assert abs(np.mean(off)) < 4 * np.mean(errors) / len(off) ** 0.5
    assert np.std(off, ddof=1) == pytest.approx(np.mean(errors), rel=0.3)
    with pytest.raises(ValueError, match="19 runs are too few for 2 controls"):
        case.adjusted_mean(np.ones(19), np.ones((19, 2)), np.ones((50, 2)))


def test_controls_are_sums_over_the_incidents_of_a_day(check):
    import reweighting_case as case

    def incident(edge, lanes, duration_s, left):
        return SimpleNamespace(edge=edge, lanes=lanes, duration_s=duration_s, capacity_left=left)

    first, second = case.APPROACHES[:2]
    alone, shoulder = incident(second, (0,), 1200.0, 0.5), incident(first, (), 600.0, 0.9)
    days = [SimpleNamespace(incidents=each) for each in ((alone,), (), (alone, shoulder), (alone,) * 5)]
    found = case.controls(SimpleNamespace(scenarios=days))
    assert found.shape == (3, 21)
    blocked = [1.0, 1.0, 2.0, 1.0, 2.0, 0.5]
    assert found[0].tolist() == [0.0] * 6 + blocked + [0.0] * 9
    assert found[1].tolist() == [1.0] + [0.0] * 5 + blocked + [0.0] * 6 + [1.0, 0.0, 0.0]
    assert found[2].tolist() == [0.0] * 6 + [5 * each for each in blocked] + [0.0] * 8 + [1.0]
