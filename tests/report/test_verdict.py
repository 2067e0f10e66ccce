"""The sentence on top: what it advises for each pattern of estimates, whatever the weights are."""

import doctest
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest

from scenariogen.evaluation.answer import Estimate
from scenariogen.evaluation.ranking import Curve, Ranking
from scenariogen.evaluation.simultaneous import Flips
from scenariogen.report import figures, html, roadmap, tables, verdict_sentence, words
from tests.evaluation.synthetic import counted_batch, hand_batch

FREQUENCIES = (0.5, 1.0, 2.0, 5.0)


def one(frequency, value, half, *, policy="b", versus="a", estimand="mean_delay_veh_h"):
    """An estimate, refused where there is no value."""
    known = value is not None
    return Estimate(
        policy=policy, versus=versus, frequency=frequency, estimand=estimand, value=value, standard_error=half / 2,
        low=value - half if known else None, high=value + half if known else None, ess=100.0, k_hat=0.1, runs=200,
        verdict="ok" if known else "refused: too few runs: sample more.",
    )  # fmt: skip


def said(values, half=1.0, *, batch=None, policies=("a", "b"), level=50.0, frequencies=FREQUENCIES):
    batch = counted_batch(12) if batch is None else batch
    results = SimpleNamespace(policies=policies, batch=batch)
    pairs = [one(f, v, half) for f, v in zip(frequencies, values, strict=True)]
    means = [one(f, level, 2.0, policy=p, versus=None) for f in frequencies for p in policies]
    if batch.design is None:
        return plain(verdict_sentence(results, [*means, *pairs], None))
    ranking = Ranking(
        frequencies=frequencies, lane_blocking_per_100_h=tuple(40 * f for f in frequencies), curves=(),
        differences=(Curve(policy="b", versus="a", points=tuple(pairs)),), flips=(band(frequencies, values, half),),
    )  # fmt: skip
    return plain(verdict_sentence(results, [*means, *pairs], ranking))


def band(frequencies, values, half, *, policy="b", versus="a"):
    """A simultaneous band; the verdict reads nothing of it but the limits."""
    limits = [tuple(None if v is None else v + shift for v in values) for shift in (-half, half)]
    return Flips(
        policy=policy, versus=versus, frequencies=frequencies, value=tuple(values), low=limits[0], high=limits[1],
        crossings=(), pieces=(), better=(), worse=(),
    )  # fmt: skip


def plain(text):
    """With ordinary spaces."""
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_the_other_policy_wins_everywhere():
    assert said([-5, -6, -7, -9]) == (
        "Use b: at the model's incident frequency (40 lane-blocking incidents per 100 peak hours) it saves 6.00 "
        "vehicle-hours of delay per run against a (95 % interval 5.00 to 7.00, 12 %), and the order holds at every "
        "frequency from ×0.5 to ×5."
    )


def test_the_first_policy_wins_everywhere():
    assert said([5, 6, 7, 9]).startswith("Keep a: at the model's incident frequency (40 lane-blocking")
    assert "b costs 6.00 vehicle-hours of delay more per run (95 % interval 5.00 to 7.00)" in said([5, 6, 7, 9])


def test_the_frequency_decides_where_both_sides_are_sure():
    assert said([5, 3, -3, -9]) == (
        "Let the incident frequency decide: use a below about 1.41 times the model's incident frequency (57 "
        "lane-blocking incidents per 100 peak hours), and b above it; on both sides the order is beyond doubt, by 95 % "
        "bands that hold at all frequencies at once."
    )
    assert said([-5, -3, 3, 9]).startswith("Let the incident frequency decide: use b below about 1.41 times")


def test_a_turn_within_the_intervals_is_not_sold_as_one():
    text = said([-5, -3, 0.5, 0.9])
    assert text.startswith("Use b: ") and "the ranking may turn near ×1.81, within the intervals." in text


def test_no_difference_says_how_much_it_can_be_and_what_would_tell():
    text = said([0.2, -0.5, -0.4, -0.3])
    assert text.startswith("These runs cannot tell b from a: ")
    assert "between −1.50 and +0.50 vehicle-hours per run, at most 3.0 % of the delay" in text
    assert "about 5 times as many scenarios would tell" in text  # (1 / 0.5)², and a fifth on top
    assert "choose by other criteria" in said([-0.01] * 4)
    assert "gave the same delay in every run" in said([0.0] * 4, half=0.0)


def test_what_is_sure_elsewhere_in_the_range_is_said():
    assert said([0.2, -0.5, -0.4, -9]).endswith("scenarios would tell; but at ×5 b is surely better.")
    assert said([0.2, -0.5, -4, -9]).endswith("; but from ×2 to ×5 b is surely better.")
    assert said([0.2, -0.5, -0.4, -0.3]).endswith(", and so it stays from ×0.5 to ×5.")


def test_partly_refused_and_wholly_refused():
    text = said([-5, None, -7, None])
    assert text.startswith("Use b: at 0.5 times the model's incident frequency (20 lane-blocking")
    assert "from ×0.5 to ×2" in text
    assert said([None] * 4) == "No verdict: a and b are not compared, because too few runs: sample more."


def test_scenarios_made_by_hand():
    text = said([-4.0], batch=hand_batch(3), frequencies=(None,))
    assert text == (
        "Use b: over the 3 scenarios made by hand it saves 4.00 vehicle-hours of delay per run against a (95 % "
        "interval 3.00 to 5.00, 8.0 %)."
    )


def test_a_condition_and_an_unknown_rate_are_said():
    batch = counted_batch(12)
    design = replace(batch.design, given="capacity_left<=0.5", lane_blocking_per_100_h=math.nan)
    text = said([-5, -6, -7, -9], batch=replace(batch, design=design))
    assert text.startswith("Under the condition capacity_left<=0.5 (any), use b: at the model's incident frequency it")


def test_one_policy_alone_refused():
    results = SimpleNamespace(policies=("a",), batch=counted_batch(12))
    refused = [one(f, None, 1.0, policy="a", versus=None) for f in FREQUENCIES]
    text = verdict_sentence(results, refused, None)
    assert text == "No verdict: the mean delay of a is refused, because too few runs: sample more."


def test_every_sentence_is_one_sentence():
    for values in ([-5, -6, -7, -9], [5, 6, 7, 9], [5, 3, -3, -9], [0.2, -0.5, -0.4, -0.3], [None] * 4):
        text = said(values)
        assert text.endswith(".") and ". " not in text and "\n" not in text and ".." not in text


@pytest.mark.parametrize("module", [words, tables, roadmap, html, figures], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings(module):
    assert doctest.testmod(module).failed == 0


def test_ticks_do_not_run_into_each_other():
    assert figures.thinned([0.5, 1, 2, 5]) == [0.5, 1, 2, 5]
    assert figures.thinned([1.0, 1.01, 1.02, 10.0]) == [1.02, 10.0]
    assert figures.thinned([1.0]) == [1.0]


def test_a_script_cannot_be_ended_from_inside():
    assert "<" not in html.script_json({"a</script>": ["<!--", "&"]})
