"""A model fitted to simulated logs finds the rates, lanes and durations that they were made with.

Each test has the careless reading beside it, which must miss: lower bounds dropped, the log's selection ignored,
silence taken for an open road.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from scenariogen.errors import ModelError
from scenariogen.incidents.priors import RATE_PER_KM
from scenariogen.incidents.recorded import RecordedIncidents
from scenariogen.model.features import CLASSES
from scenariogen.model.fit import FitSettings, fit_model
from scenariogen.model.levels import over_by
from scenariogen.model.scenario_model import ScenarioModel
from scenariogen.model.summary import summary_lines
from tests.model.logs import Truth, simulated, used
from tests.model.small import WINDOW, exposure_of, no_incidents, two_edges

SETTINGS = FitSettings(rate_steps=10, rate_check_every=10, folds=2, mark_steps=150, prior_draws=300)
TRUTH = Truth()
TAKEN_S = 4200.0
MINUTES = 60.0


def fitted(records: RecordedIncidents, *, kilometres: float = 4e4) -> ScenarioModel:
    network = two_edges()
    traffic = exposure_of(network, kilometres=kilometres)
    return fit_model(no_incidents(), traffic, network, WINDOW, days=0, records=records, seed=1, settings=SETTINGS)


def exceeds(model: ScenarioModel, minutes: float) -> float:
    weight = model.intensity.sum(1)
    return float(1 - (weight * over_by(model.marks, model.tables, 60 * minutes)).sum() / weight.sum())


def off(model: ScenarioModel, factor: float = TRUTH.factor) -> np.ndarray:
    """How far counts lie from what the truth expects of the days effectively seen, in Poisson standard deviations: of
    every group, and of all together."""
    groups = model.info["groups"]
    seen = np.array([group["incidents"]["records"] for group in groups])
    expected = factor * np.array([group["expected_at_published_rates"]["records"] for group in groups])
    every = np.append(seen - expected, (seen - expected).sum())
    return every / np.sqrt(np.append(expected, expected.sum()))


@pytest.fixture(scope="module")
def plain():
    """100 days, a third of the incidents lost sight of, and most records silent about lanes."""
    table = simulated(two_edges(), TRUTH, days=100, seed=5, lost_after_s=5400.0, silent_share=0.6)
    return table, used(table, two_edges(), until="2024-04-09")


@pytest.fixture(scope="module")
def plain_model(plain):
    return fitted(plain[1])


def test_rates_are_recovered(plain, plain_model):
    assert 300 < len(plain[1].table) == len(plain[0])
    assert (np.abs(off(plain_model)) < 4).all() and np.abs(off(plain_model, 1.0)).max() > 4
    group = plain_model.info["groups"][0]
    assert group["incidents"].keys() == {"records"} and group["expected_at_published_rates"]["records"] > 10


def test_lanes_are_recovered_from_the_records_that_tell_them(plain, plain_model):
    now, _ = lane_shares(plain_model)
    told = 0.4 * (plain[1].table["edge"] == "first").sum()
    error = np.sqrt(np.array(TRUTH.lanes) * (1 - np.array(TRUTH.lanes)) / told)
    assert (np.abs(now - TRUTH.lanes) < 4 * error + 0.03).all()  # the prior is worth some incidents here
    silent = plain[0].assign(shoulder_only=[lanes is None for lanes in plain[0]["lanes_closed"]])
    wrong, _ = lane_shares(fitted(used(silent, two_edges(), until="2024-04-09")))
    assert wrong[0] > TRUTH.lanes[0] + 4 * error[0]


def lane_shares(model: ScenarioModel) -> tuple[np.ndarray, np.ndarray]:
    """Shares of 0 to 3 blocked lanes on the edge of three, now and as published."""
    shares = torch.exp(model.tables.log_lanes[0])
    weight = model.intensity[0].sum(0)
    number = torch.tensor([len(lanes) for lanes in model.options.lanes[0]])
    now = torch.zeros(4, dtype=torch.float64).index_add(0, number, (weight[:, None] * shares).sum(0) / weight.sum())
    return now.numpy(), torch.exp(model.options.log_prior[0]).numpy()


def test_open_ends_are_lower_bounds(plain, plain_model):
    """The published mixture has P(T > 60 min) = 0.06, the truth 0.32."""
    table = plain[0]
    truth = 1 - stats.norm.cdf((np.log(60 * MINUTES) - TRUTH.log_median_s) / TRUTH.log_sd)
    assert abs(exceeds(plain_model, 60) - truth) < 4 * np.sqrt(truth * (1 - truth) / len(table)) + 0.03
    closed = table.loc[~table["duration_is_censored"]].reset_index(drop=True)
    assert exceeds(fitted(used(closed, two_edges(), until="2024-04-09")), 60) < truth - 0.08
    families = {each["family"]: each for each in plain_model.info["durations"]["families"]}
    assert list(families)[:3] == ["published", "model", "lognormal"]
    fit = families["lognormal"]
    assert abs(np.log(fit["scale_min"]) - np.log(45)) < 4 * fit["log_scale_se"]
    assert abs(np.log(fit["shape"] / TRUTH.log_sd)) < 4 * fit["log_shape_se"]
    # The spline bends to the data about as far as the family that made them.
    assert abs(families["model"]["log_likelihood"] - fit["log_likelihood"]) < 0.05 * len(table)


@pytest.mark.parametrize("minutes", [30, 60, 120, 240])
def test_without_incidents_durations_are_the_published_ones_tails_included(minutes):
    model = fit_model(
        no_incidents(), exposure_of(two_edges()), two_edges(), WINDOW, days=1, seed=1, settings=FitSettings()
    )
    families = {each["family"]: each for each in model.info["durations"]["families"]}
    assert families["model"]["median_min"] == pytest.approx(families["published"]["median_min"], rel=0.05)
    mean, spread = model.options.log_minutes.unbind(-1)
    shares = torch.exp(model.options.log_prior) * model.options.allowed
    weight = model.intensity.sum((1, 2))[:, None] * shares
    published = float((weight * torch.special.ndtr((mean - np.log(minutes)) / spread)).sum() / weight.sum())
    assert 0.5 < exceeds(model, minutes) / published < 1.5


@pytest.mark.parametrize("seed", [1, 2])
def test_a_heavier_tail_than_the_published_one_is_learned(seed):
    """The published lognormal has P(T > 120 min) = 0.0007, these days 0.07 and 0.12."""
    duration_s = stats.lognorm(0.9, scale=45 * MINUTES).rvs(300, random_state=np.random.default_rng(seed))
    seen, settings = found_on(two_edges(), duration_s), FitSettings(rate_steps=10, folds=2)
    model = fit_model(seen, exposure_of(two_edges()), two_edges(), WINDOW, days=100, seed=1, settings=settings)
    for minutes in (60, 120):
        share = float((duration_s > minutes * MINUTES).mean())
        assert abs(exceeds(model, minutes) - share) < 0.35 * share


def found_on(network, duration_s: np.ndarray) -> pd.DataFrame:
    """Detected crashes on one lane, one after the other on the edges of a network, of 100 days."""
    count = len(duration_s)
    return pd.DataFrame(
        {
            "day": np.arange(count) % 100,
            "edge": [network.edge_ids[number % len(network.edge_ids)] for number in range(count)],
            "start_s": WINDOW.count_from_s + np.arange(count) % WINDOW.start_span_s,
            "position_m": 50.0,
            "kind": "crash",
            "lanes": [[0]] * count,
            "duration_s": duration_s,
            "duration_is_censored": False,
            "capacity_left": 0.5,
            "capacity_left_se": 0.1,
            "capacity_left_is_lower_bound": False,
            "confidence": 0.9,
        }
    )


def test_a_log_of_closed_incidents_is_read_as_one():
    """Taken 15 to 60 min after the starts of its third and last day, it lacks most of that day's incidents."""
    network, kilometres = two_edges(), 2e6
    log = {"days": 3, "seed": 6, "kilometres": kilometres}
    table = simulated(network, TRUTH, taken_s=TAKEN_S, closed_only=True, **log)
    assert len(table) < 0.85 * len(simulated(network, TRUTH, **log))
    at = "2024-01-03T01:10"
    good = fitted(used(table, network, closed_only=True, until=at), kilometres=kilometres)
    wrong = fitted(used(table, network, until=at), kilometres=kilometres)
    assert np.abs(off(good)).max() < 4 < -off(wrong).min()


def test_durations_of_a_log_of_closed_incidents_are_not_those_of_the_road():
    """One day, of which 15 to 60 min were left: half an hour is well inside of what such a log can tell."""
    network, kilometres = two_edges(), 8e6  # some 240 records: a few weigh no more than the published durations
    table = simulated(network, TRUTH, days=1, seed=9, kilometres=kilometres, taken_s=TAKEN_S, closed_only=True)
    span = {"since": "2024-01-01", "until": "2024-01-01T01:10"}
    good = fitted(used(table, network, closed_only=True, **span), kilometres=kilometres)
    wrong = fitted(used(table, network, **span), kilometres=kilometres)
    truth = 1 - stats.norm.cdf((np.log(30 * MINUTES) - TRUTH.log_median_s) / TRUTH.log_sd)
    assert abs(exceeds(good, 30) - truth) < 0.5 * abs(exceeds(wrong, 30) - truth)


def test_short_incidents_that_are_not_in_the_log_are_reckoned_with():
    """What such a log tells is the rate and the durations of the longer ones; below, the published durations stay."""
    network, least_s = two_edges(), 1800.0
    table = simulated(network, TRUTH, days=150, seed=7, least_s=least_s)
    until = "2024-05-29"
    good = fitted(used(table, network, until=until, least_duration_s=least_s))
    wrong = fitted(used(table, network, until=until))
    truth = 1 - stats.norm.cdf((np.log(least_s) - TRUTH.log_median_s) / TRUTH.log_sd)
    for longer, close in ((TRUTH.factor * truth / exceeds(good, 30), True), (TRUTH.factor, False)):
        assert (np.abs(off(good if close else wrong, longer)) < 4).all() == close
    tail = 1 - stats.norm.cdf((np.log(90 * MINUTES) - TRUTH.log_median_s) / TRUTH.log_sd)
    assert abs(exceeds(good, 90) / exceeds(good, 30) - tail / truth) < 0.05
    assert 1 - exceeds(good, 30) > 1 - truth > 2 * (1 - exceeds(wrong, 30))


def test_both_sources_add_up_and_are_told_apart():
    """Trajectories of two days without an incident beside a log of one day with many."""
    network, traffic = two_edges(), exposure_of(two_edges())
    table = simulated(network, TRUTH, days=10, seed=8)
    log = used(table, network, until="2024-01-10")
    both = fit_model(no_incidents(), traffic, network, WINDOW, days=2, intensity=5.0, records=log, settings=SETTINGS)
    shares = both.info["moves"][0]["shares"]
    assert set(shares) == {"priors", "trajectories", "records"} and sum(shares.values()) == pytest.approx(1)
    assert shares["trajectories"] == pytest.approx(shares["records"], rel=1e-6)  # 2 days at 5 against 10 at 1
    alone = fit_model(no_incidents(), traffic, network, WINDOW, days=0, records=log, settings=SETTINGS)
    for now, before in zip(both.info["moves"], alone.info["moves"], strict=True):
        if "rate" in now["name"]:
            assert now["value"] < before["value"]
    kind = both.posterior[:, 0, CLASSES.index(next(iter(network.edges.values())).road_class)]
    group = both.info["groups"][0]
    assert float(kind[0]) == pytest.approx(8 + group["incidents"]["records"])
    per_day = traffic.vehicle_km[0].sum() * RATE_PER_KM[CLASSES[0]] / 4.9
    assert float(kind[1]) == pytest.approx(8 + 20 * per_day, rel=1e-6)


def test_sources_that_contradict_each_other_are_said_to():
    network, traffic = two_edges(), exposure_of(two_edges())
    log = used(simulated(network, TRUTH, days=10, seed=8), network, until="2024-01-10")
    for days, agrees in ((1, True), (10, False)):
        model = fit_model(no_incidents(), traffic, network, WINDOW, days=days, records=log, settings=SETTINGS)
        sources = model.info["sources"]
        assert sources["times_published"]["trajectories"] == 0
        assert sources["times_published"]["records"] == pytest.approx(TRUTH.factor, abs=1)
        assert (sources["agree_p"] > 0.01) == agrees
        assert any("contradict" in line for line in summary_lines(model)) != agrees


def test_the_same_data_and_seed_give_the_same_model(plain, plain_model):
    again = fitted(plain[1])
    assert torch.equal(again.posterior, plain_model.posterior)
    assert again.info["data_sha256"] == plain_model.info["data_sha256"]
    assert again.info["moves"] == plain_model.info["moves"]


def test_no_day_that_counts_is_an_error():
    table = simulated(two_edges(), replace(TRUTH, factor=10.0), days=2, seed=1)
    log = used(table, two_edges(), until="2024-01-02", day_type="weekend")
    with pytest.raises(ModelError, match="on no day of the type weekend"):
        fitted(log)
    with pytest.raises(ModelError, match="at least 1 recorded day, or records"):
        fit_model(no_incidents(), exposure_of(two_edges()), two_edges(), WINDOW, days=0, settings=SETTINGS)


def test_a_log_without_incidents_lowers_the_rates():
    empty = used(
        simulated(two_edges(), TRUTH, days=5, seed=3).iloc[:0], two_edges(), since="2024-01-01", until="2024-01-05"
    )
    model = fitted(empty, kilometres=2e6)
    assert model.info["incidents_used"] == 0
    shape, rate = model.posterior
    assert (shape / rate <= 1 + 1e-12).all() and float((shape / rate).min()) < 0.9
