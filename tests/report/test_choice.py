"""What is advised among several policies: all are compared with each other, by intervals that hold together."""

from dataclasses import replace

import numpy as np
import pytest

from scenariogen.evaluation import load_results, read_estimates
from scenariogen.evaluation.rivals import rival_estimates
from scenariogen.report import summary, verdict_sentence
from scenariogen.report.choice import elsewhere, reigns, standing
from scenariogen.report.paragraph import verdict_paragraph
from scenariogen.report.views import work_out
from tests.evaluation import synthetic
from tests.report.folders import drawn_batch, hand_batch, results_folder
from tests.report.test_verdict import one, plain


def told(policy, value, half, *, versus="a", frequency=1.0, alone=0.1, **changes):
    """A difference whose interval for all together has this half width, and its own a smaller one."""
    found = one(frequency, value, alone * half, policy=policy, versus=versus)
    return replace(found, low_all=value - half, high_all=value + half, **changes)


def advised(monkeypatch, pairs, rivals=()):
    """The verdict where the rivals' differences are these."""
    from types import SimpleNamespace

    policies = ("a", *(each.policy for each in pairs))
    results = SimpleNamespace(policies=policies, batch=synthetic.counted_batch(12))
    monkeypatch.setattr("scenariogen.report.verdict.rival_estimates", lambda *_: list(rivals))
    means = [one(1.0, 50.0, 2.0, policy=each, versus=None) for each in policies]
    return plain(verdict_sentence(results, [*means, *pairs], None))


def test_of_several_differences_the_interval_for_all_together_decides(monkeypatch):
    """Each policy's own interval excludes zero, as one of many equal policies' does by chance."""
    text = advised(monkeypatch, [told("b", -0.17, 0.22), told("c", 0.02, 0.2)])
    assert text.startswith("These runs cannot tell b and c from a: at the model's incident frequency")
    assert "the differences lie between −0.39 and +0.22 vehicle-hours per run" in text
    sure = advised(monkeypatch, [told("b", -6.0, 1.0), told("c", 0.02, 0.2)], [told("c", 6.0, 1.0, versus="b")])
    assert sure.startswith("Use b: ") and "(95 % interval for all policies together 5.00 to 7.00, 12 %)" in sure
    keep = advised(monkeypatch, [told("b", 6.0, 1.0), told("c", 7.0, 1.0)])
    assert keep.startswith("Keep a: ") and "b and c cost at least 6.00" in keep and "5.00 to 7.00" in keep


def test_policies_that_are_not_told_apart_are_named_together(monkeypatch):
    pairs = [told("b", -6.0, 1.0), told("c", -6.5, 1.0), told("d", -2.0, 3.0)]
    text = advised(monkeypatch, pairs, [told("c", -0.5, 1.0, versus="b"), told("d", 4.0, 1.0, versus="b")])
    assert text.startswith("Use c or b, which these runs do not tell apart: at the model's")
    assert "they save 6.50 vehicle-hours of delay per run against a (95 % interval" in text
    assert " and 6.00 (5.00 to 7.00, 12 %)." in text
    open_ = advised(monkeypatch, pairs, [told("c", -0.5, 1.0, versus="b"), told("d", 4.0, 5.0, versus="b")])
    assert "; d is told neither from c or b nor from a." in open_


def test_a_policy_that_is_worse_than_a_better_one_is_not_left():
    """b is better than a, and c than b: so c is better than a, though their own difference does not say so."""
    found = standing(
        "a", [told("b", -2.0, 1.0), told("c", -4.0, 5.0)], [told("c", -2.0, 1.0, versus="b")], several=True
    )
    assert found.left == ("c",) and found.better_than("a") == ("c",) and found.leader == "c"
    assert reigns([]) == [] and elsewhere([found], lambda each: each.leader == "a") == []


@pytest.fixture(scope="module")
def turning(tmp_path_factory):
    """b beats a where incidents are frequent, and c is a little better than a at every frequency."""
    batch = drawn_batch(300)
    noise = np.random.default_rng(0)
    a = synthetic.delays(batch)
    count = np.array([len(each.incidents) for each in batch.scenarios])[:, None]
    tables = {
        "a": a,
        "b": a + 2.6 - 3.2 * count * noise.lognormal(0, 0.1, a.shape),
        "c": a - 0.3 + noise.normal(0, 0.1, a.shape),
    }
    return results_folder(tmp_path_factory.mktemp("turning") / "r", batch, tables, frequencies=[0.5, 1.0, 5.0])


def test_where_the_ranking_turns_no_policy_is_advised_that_another_beats(turning):
    """Only the best policy at ×1 and the first were looked at: use a below, though c is better than a everywhere."""
    text = plain(summary(turning))
    assert text.startswith("Let the incident frequency decide: use c below about 0.9"), text
    assert ", and b above it; on both sides the order is beyond doubt, by 95 % bands" in text


def test_rivals_are_compared_by_intervals_that_hold_together(turning):
    results = load_results(turning)
    like = next(each for each in read_estimates(turning) if each.versus and each.frequency == 5.0)
    (found,) = rival_estimates(results, like)
    assert (found.policy, found.versus, found.frequency, found.level) == ("c", "b", 5.0, like.level)
    assert found.value is not None and found.low is not None and found.low > 0
    two = replace(results.manifest, policies=results.manifest.policies[:2])
    assert rival_estimates(replace(results, manifest=two), like) == []


def test_equal_policies_are_not_told_from_the_first(tmp_path):
    """Of five that are equal on average one was advised, by an interval that holds for it alone."""
    batch = drawn_batch(200, frequencies=(1.0,))
    base, noise = synthetic.delays(batch), np.random.default_rng(8)
    tables = {"a": base, **{f"p{k}": base + noise.normal(0, 1, base.shape) for k in range(5)}}
    folder = results_folder(tmp_path / "r", batch, tables, frequencies=[1.0])
    pairs = [e for e in read_estimates(folder) if e.versus and e.estimand == "mean_delay_veh_h"]
    assert any(e.sign(several=False) for e in pairs) and not any(e.sign(several=True) for e in pairs)
    assert summary(folder).startswith("These runs cannot tell p0, p1, p2, p3 and p4 from a: ")


def test_several_policies_on_scenarios_made_by_hand_have_intervals_that_hold_together(tmp_path):
    batch = hand_batch(3)
    tables = {
        name: synthetic.delays(batch, replicas=6, seed=k, factor=factor)
        for k, (name, factor) in enumerate({"a": 1.0, "b": 0.5, "c": 0.5}.items())
    }
    folder = results_folder(tmp_path / "r", batch, tables)
    for each in read_estimates(folder):
        if each.versus and each.estimand == "mean_delay_veh_h":
            assert None not in (each.low_all, each.high_all, each.low, each.high)
            assert each.low_all < each.low and each.high < each.high_all
    assert ", which these runs do not tell apart: over the 3 scenarios made by hand they save" in summary(folder)


def test_frequencies_by_kind_alone_are_told(tmp_path):
    """It said that nothing was estimated."""
    batch = drawn_batch(150)
    a = synthetic.delays(batch)
    folder = results_folder(tmp_path / "r", batch, {"a": a, "b": 0.8 * a}, frequencies=[{"crash": 4.0}, {"crash": 2.0}])
    text = plain(summary(folder))
    assert text.startswith("Use b: at crash ×2 of the model's incident frequencies by kind it saves ")
    assert "order" not in text
    paragraph = plain(verdict_paragraph(work_out(load_results(folder))))
    assert "vehicle-hours at crash ×2: " in paragraph and paragraph.count("under a (") == 1
    alone = results_folder(tmp_path / "s", batch, {"a": a}, frequencies=[{"crash": 2.0}])
    assert plain(summary(alone)).startswith("At crash ×2 of the model's incident frequencies by kind a leaves ")
