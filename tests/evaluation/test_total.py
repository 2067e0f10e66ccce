"""Intervals that cover the rates as well, several differences at once, and the simulator's noise apart."""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest

from scenariogen.errors import ScenarioError
from scenariogen.evaluation.estimate import answers_at
from scenariogen.evaluation.noise import Noise, noise_of
from scenariogen.evaluation.outcomes import MEAN, cvar_name, outcomes, questions
from scenariogen.evaluation.question import Question
from scenariogen.evaluation.strata import sample_of
from scenariogen.incidents.records import KINDS
from scenariogen.sampling.simultaneous import bonferroni_level, simultaneous_level
from scenariogen.scenarios.count_classes import CountClasses
from scenariogen.scenarios.files import read_batch, write_batch
from scenariogen.scenarios.posterior import posterior_weights
from scenariogen.scenarios.records import RateGroup
from scenariogen.scenarios.reweight import frequency_weights
from scenariogen.scenarios.synthesize import synthesize
from tests.evaluation.synthetic import counted_batch, delays, paper_weights, runs, true_mean
from tests.model.small import small_model


def unsure(batch, shape):
    """The batch with one group of incidents whose rate has a Gamma posterior of that shape."""
    group = RateGroup(kind=KINDS[0].value, road_class="street", expected=1.0, expected_given=1.0, shape=shape)
    return dataclasses.replace(
        batch, design=dataclasses.replace(batch.design, rates=(group,), road_classes=(("e", "street"),))
    )


def at(batch, made, policies=("a",), *, frequency=1.0, estimand=MEAN, replicas=1, tail=0.8, **options):
    by_policy = outcomes(made, batch, policies, replicas=replicas)
    asked = [q for q in questions(by_policy, batch, tail=tail) if q.estimand == estimand]
    weights = frequency_weights(batch, frequency)
    return answers_at(asked, batch, weights, frequency, **options)


# ----------------------------------------------------------------------------------------------- durations


def with_families(batch, ratio):
    """The batch with another family of durations, as likely as the model's, whose log ratio ``ratio(scenario)`` is."""
    scenarios = tuple(
        dataclasses.replace(s, density=dataclasses.replace(s.density, log_durations=(ratio(s),)))
        for s in batch.scenarios
    )
    design = dataclasses.replace(batch.design, durations=(("as fitted", 0.5), ("longer", 0.5)))
    return dataclasses.replace(batch, scenarios=scenarios, design=design)


def test_the_total_interval_covers_which_family_durations_have():
    batch = unsure(counted_batch(900, seed=3), 1e9)
    table = delays(batch)
    made = runs(batch, a=table)
    ((alone, _),) = at(batch, made)
    thrice = {s.index for s in batch.scenarios if s.incidents and s.index % 2}
    wider = with_families(batch, lambda s: math.log(3.0) if s.index in thrice else 0.0)
    ((found, detail),) = at(wider, made)
    w = paper_weights(batch, 1.0)
    hit = ~w.is_free
    mass = np.exp(w.log_w[hit])
    odd = np.array([s.index in thrice for s in batch.scenarios])[hit]
    means = [np.average(table[hit, 0], weights=mass * np.where(odd, by, 1.0)) for by in (1.0, 3.0)]
    between = 0.25 * ((1 - w.probability_free) * (means[1] - means[0])) ** 2
    assert found.shares["durations"] == pytest.approx(between / (between + found.standard_error**2), rel=0.05)
    assert found.value == alone.value and found.low == alone.low
    assert found.low_total <= alone.low_total + 1e-6 and found.high_total >= alone.high_total - 1e-6
    assert found.high_total - found.low_total > alone.high_total - alone.low_total
    assert "how long" not in detail.total_left_out


def test_a_family_under_which_few_runs_count_gives_no_total_interval():
    batch = unsure(counted_batch(300, seed=3), 1e9)
    first = next(s.index for s in batch.scenarios if s.incidents)
    ((found, detail),) = at(
        with_families(batch, lambda s: 9.0 if s.index == first else 0.0), runs(batch, a=delays(batch))
    )
    assert found.low_total is None and "effective runs with incidents" in detail.total_left_out


def test_drawn_scenarios_carry_families_and_files_keep_them(tmp_path):
    batch = synthesize(small_model(), n=60, seed=2, project_hash="p" * 64)
    assert [name for name, _ in batch.design.durations] == ["as fitted", "lognormal", "log-logistic", "Weibull"]
    hits = [s for s in batch.scenarios if s.incidents]
    assert all(len(s.density.log_durations) == 3 and any(s.density.log_durations) for s in hits)
    assert all(s.density.log_durations == (0.0, 0.0, 0.0) for s in batch.scenarios if not s.incidents)
    for suffix in (".json", ".parquet"):
        write_batch(batch, tmp_path / f"s{suffix}")
        assert read_batch(tmp_path / f"s{suffix}") == batch


def test_families_that_do_not_fit_the_scenarios_are_refused_all_at_once(tmp_path):
    batch = synthesize(small_model(), n=8, seed=2, project_hash="p" * 64)
    design = dataclasses.replace(batch.design, durations=(("as fitted", 0.5), ("longer", 0.7)))
    write_batch(dataclasses.replace(batch, design=design), tmp_path / "s.json")
    with pytest.raises(ScenarioError) as caught:
        read_batch(tmp_path / "s.json")
    assert "add up to 1.2" in str(caught.value) and "log_durations has 3 numbers, expected 1" in str(caught.value)


# --------------------------------------------------------------------------------------------------- the rates


@pytest.mark.parametrize("v", [0.4, 1.0, 2.5])
def test_weights_under_a_draw_of_the_rates_are_those_of_that_frequency(v):
    """With one group of incidents a multiplier of its rate is a frequency."""
    batch = unsure(counted_batch(300), 5.0)
    posterior = posterior_weights(batch, 1.0, draws=3)
    moved = dataclasses.replace(
        posterior,
        multipliers=np.full((1, 1), v),
        pull=np.full((1, 1), v - 1),
        log_hit=np.array([math.log(-math.expm1(-v) / -math.expm1(-1.0))]),
        log_free=np.array([1.0 - v]),
    )
    here, there = paper_weights(batch, 1.0), paper_weights(batch, v)
    ratio = moved.log_ratio(slice(0, 1), here.is_free)[0]
    np.testing.assert_allclose(here.log_w + ratio, there.log_w, atol=1e-9)


def test_posterior_probabilities_are_those_of_their_frequencies():
    batch = unsure(counted_batch(300), 5.0)
    found = posterior_weights(batch, 2.0, draws=200)
    v = found.multipliers[:, 0]
    np.testing.assert_allclose(found.log_probability_free, -2.0 * v)
    np.testing.assert_allclose(found.log_hit, np.log(-np.expm1(-2 * v)) - math.log(-math.expm1(-2)))
    assert found.outside == pytest.approx(((2 * v < 0.5) | (2 * v > 5)).mean())
    assert v.mean() == pytest.approx(1.0, abs=4 * math.sqrt(0.2 / 200))


def test_the_total_interval_is_the_samplings_where_rates_are_known_and_wider_where_not():
    batch = counted_batch(900, seed=3)
    made = runs(batch, a=delays(batch))
    ((known, detail),) = at(unsure(batch, 1e9), made)
    assert known.low_total == pytest.approx(known.low, abs=1e-3) and known.shares["rates"] < 1e-4
    ((found, _),) = at(unsure(batch, 8.0), made)
    assert found.low_total < found.low and found.high_total > found.high
    spread = (true_mean(2.0) - true_mean(1.0)) * math.sqrt(1 / 8)  # the mean is linear in the rate
    share = spread**2 / (spread**2 + found.standard_error**2)
    assert found.shares["rates"] == pytest.approx(share, rel=0.1) and sum(found.shares.values()) == pytest.approx(1)
    assert detail.total_draws == 1000 and "how long they last too" in detail.total_left_out


def test_without_rates_there_is_no_total_and_it_says_why():
    batch = counted_batch(300)
    ((found, detail),) = at(batch, runs(batch, a=delays(batch)))
    assert found.low_total is None and "sample again" in detail.total_left_out


def test_rates_too_unsure_for_the_runs_give_no_total():
    batch = unsure(counted_batch(120), 0.3)
    ((found, detail),) = at(batch, runs(batch, a=delays(batch)), frequency=3.0)
    assert found.verdict == "ok" and found.low_total is None
    assert "posterior draws of the rates" in detail.total_left_out and detail.total_outside > 0.2


def test_a_drawn_batch_says_how_sure_its_rates_are(tmp_path):
    batch = synthesize(small_model(), n=40, frequencies=[0.5, 2.0], seed=3)
    rates = batch.design.rates
    assert sum(r.expected for r in rates) == pytest.approx(sum(small_model().expected.tolist()))
    assert {r.road_class for r in rates} == {"motorway", "street"} and all(r.shape > 0 for r in rates)
    for name in ("a.json", "a.parquet"):
        assert read_batch(write_batch(batch, tmp_path / name)) == batch
    assert posterior_weights(batch, 1.0, draws=10).counts.sum() == sum(len(s.incidents) for s in batch.scenarios)


def covered_in_total(repeat, *, prior=6.0, exposure=4.0):
    """A log, a fit, a batch and an estimate: does the total interval hold the mean at the true rate?"""
    generator = np.random.default_rng([31, repeat])
    truth = generator.gamma(prior, 1 / prior)
    shape, rate = prior + generator.poisson(truth * exposure), prior + exposure
    batch = unsure(counted_batch(360, seed=repeat), shape)
    ((found, _),) = at(batch, runs(batch, a=delays(batch, seed=repeat + 1)))
    if found.low_total is None:
        return False
    # The batch's frequency 1 stands for the fitted rate, shape / rate of the published one.
    return found.low_total <= true_mean(truth * rate / shape) <= found.high_total


def test_the_total_interval_covers_over_log_fit_and_estimate():
    """100 repeats: four standard errors below 0.95 is 0.86."""
    assert np.mean([covered_in_total(repeat) for repeat in range(100)]) >= 0.86


# -------------------------------------------------------------------------------------------- several policies


def test_intervals_of_several_differences_are_wider_and_those_of_one_have_no_other():
    batch = counted_batch(600)
    table = delays(batch)
    noise = np.random.default_rng(1)
    others = {name: table * 0.95 + noise.normal(size=table.shape) for name in "bcd"}
    made = runs(batch, a=table, **others)
    for estimand in (MEAN, cvar_name(0.8)):
        found = [e for e, _ in at(batch, made, ("a", "b", "c", "d"), estimand=estimand)]
        assert all(e.low_all is None for e in found if e.versus is None)
        for each in (e for e in found if e.versus):
            assert each.low_all < each.low < each.high < each.high_all
    (_, _, (pair, _)) = at(batch, made[: 2 * len(made) // 4], ("a", "b"))
    assert pair.low_all is None


def test_a_policy_that_fails_on_all_busy_days_does_not_stop_the_others():
    """It has a stratum less than the others, so that the differences are not of the same runs."""
    number = np.repeat([-1, 0, 1, 2], [60, 120, 80, 22])  # class of incidents: none, one, two, more
    target, proposal = np.array([0.78, 0.2, 0.02]), np.array([120, 80, 22]) / 222
    weights = SimpleNamespace(
        is_free=number < 0, log_w=np.where(number < 0, 0.0, np.log((target / proposal)[number])), probability_free=0.5,
        controls=np.zeros((len(number), 0)), weight_bound=(1.0, 20.0),
        classes=CountClasses(number=number, target=target[None, :], proposal=proposal, at_nodes=np.zeros((1, 0))),
    )  # fmt: skip
    generator = np.random.default_rng(0)
    first = generator.gamma(5, 10, (len(number), 1))
    others = {name: first - less + generator.normal(0, 5, first.shape) for name, less in (("b", 5), ("c", 3))}
    others["b"][number == 2] = np.nan
    asked = [
        Question(
            policy=name, versus="a", estimand=MEAN, values=values, baseline=first, trouble=np.isnan(values),
            reasons={"policy raised": 22} if name == "b" else {},
        )
        for name, values in others.items()
    ]  # fmt: skip
    found = [each for each, _ in answers_at(asked, None, weights, 0.5, total=False)]
    assert all(not each.is_refused and each.low_all < each.low for each in found)


def test_the_simultaneous_level_lies_between_one_interval_and_bonferroni():
    generator = np.random.default_rng(4)
    x = generator.standard_exponential((300, 1))
    same = simultaneous_level([np.repeat(x, 4, axis=1)], [1.0])
    apart = simultaneous_level([generator.standard_normal((300, 4))], [1.0])
    assert same == pytest.approx(0.95, abs=0.003)
    assert 0.975 < apart <= bonferroni_level(4)


# ------------------------------------------------------------------------------------------------------- noise


def test_scenario_noise_and_simulator_noise_are_told_apart():
    batch = counted_batch(900, seed=5)
    generator = np.random.default_rng(2)
    day = delays(batch, seed=9)
    table = day + 4.0 * generator.standard_normal((len(batch), 3))
    ((found, detail),) = at(batch, runs(batch, a=table), replicas=3)
    weights = frequency_weights(batch, 1.0)
    expected = 0.0
    for rows, probability in ((weights.is_free, weights.probability_free), (~weights.is_free, 0.632)):
        w = np.exp(weights.log_w[rows])
        expected += probability**2 * (w**2).sum() / len(w) ** 2 * 16 / 3
    assert detail.simulator_share * found.standard_error**2 == pytest.approx(expected, rel=0.15)
    assert detail.best_seeds == 1
    ((_, alone),) = at(batch, runs(batch, a=day))
    assert alone.simulator_share is None and alone.best_seeds is None


def test_seeds_per_scenario_follow_cochrans_rule():
    noise = Noise(simulator=1.0, share=0.5, ratio=4.0)
    assert noise.best_seeds() == 1 and noise.best_seeds(1.0) == 2 and noise.best_seeds(9.0) == 6
    assert dataclasses.replace(noise, ratio=math.inf).best_seeds(1.0) == 50
    with pytest.raises(ValueError, match="costs -1 runs"):
        noise.best_seeds(-1)


def test_one_seed_says_nothing_of_the_simulators_noise():
    batch = counted_batch(120)
    (question, *_) = questions(outcomes(runs(batch, a=delays(batch)), batch, ["a"]), batch)
    assert noise_of(sample_of(question, frequency_weights(batch, 1.0)), 1.0) is None
