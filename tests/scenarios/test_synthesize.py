"""Drawing scenarios: every quantifier against brute-force filtering, weights against direct draws."""

from dataclasses import replace

import numpy as np
import pytest

from scenariogen.errors import ConditionError, FrequencyError, ScenarioError
from scenariogen.incidents.records import KINDS
from scenariogen.model.given import parse_given
from scenariogen.sampling.diagnostics import effective_sample_size
from scenariogen.sampling.frequency import SMALLEST_SHARE
from scenariogen.scenarios.mixture import frequency_rows
from scenariogen.scenarios.reweight import frequency_weights
from scenariogen.scenarios.synthesize import synthesize
from tests.model.small import small_model

GIVEN = "capacity_left<=0.5"


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def days(model):
    """Whole days of the unconditional process at frequency 1: incident-free ones put back by their probability."""
    batch = synthesize(model, n=6000, frequencies=[1.0], seed=11)
    free = frequency_weights(batch, 1.0).probability_free
    with_incident = [s for s in batch.scenarios if s.incidents]
    return with_incident, free


def inside(incident) -> bool:
    return incident.capacity_left <= 0.5


def statistics(scenarios, weight=None) -> np.ndarray:
    """Per scenario: number of incidents, number in A, mean start, share on the street, lanes blocked."""
    rows = [
        (
            len(s.incidents),
            sum(map(inside, s.incidents)),
            np.mean([i.start_s for i in s.incidents]) / 1000,
            np.mean([i.edge == "second" for i in s.incidents]),
            np.mean([len(i.lanes) for i in s.incidents]),
            np.mean([i.kind == KINDS[0] for i in s.incidents]),
        )
        for s in scenarios
    ]
    return np.array(rows)


@pytest.mark.parametrize(
    ("quantifier", "keep"),
    [
        ("any", lambda s: any(map(inside, s.incidents))),
        ("all", lambda s: all(map(inside, s.incidents))),
        ("none", lambda s: not any(map(inside, s.incidents))),
        ("count=2", lambda s: sum(map(inside, s.incidents)) == 2),
    ],
)
def test_conditional_draws_are_what_filtering_leaves(model, days, quantifier, keep):
    filtered = [s for s in days[0] if keep(s)]
    batch = synthesize(model, n=1500, frequencies=[1.0], given=GIVEN, quantifier=quantifier, seed=12)
    assert all(map(keep, batch.scenarios))
    weights = np.exp(frequency_weights(batch, 1.0).log_w)
    drawn, wanted = statistics(batch.scenarios), statistics(filtered)
    mean = (weights[:, None] * drawn).mean(0)
    error = np.sqrt((weights[:, None] * drawn).var(0) / len(drawn) + wanted.var(0) / len(wanted))
    assert (np.abs(mean - wanted.mean(0)) < 4.5 * error + 1e-9).all()


def test_probability_of_the_condition_is_the_share_that_filtering_keeps(model, days):
    batch = synthesize(model, n=12, frequencies=[1.0], given=GIVEN, seed=12)
    probability = np.exp(frequency_weights(batch, 1.0).log_given)
    share = np.mean([any(map(inside, s.incidents)) for s in days[0]])
    seen = share * (1 - days[1])
    error = (share * (1 - share) / len(days[0])) ** 0.5
    assert abs(seen - probability) < 4.5 * error


@pytest.mark.parametrize("value", [0.35, 0.9])
def test_one_given_incident_leaves_the_others_untouched(model, value):
    """Also where the density in the value is higher than the expected number of all incidents, as at 0.9."""
    density = float(model.expected_in(model.region(parse_given(f"capacity_left=={value}", model.network))).sum())
    assert (density > float(model.expected.sum())) == (value == 0.9)
    batch = synthesize(model, n=3000, frequencies=[1.0], given=f"capacity_left=={value}", seed=13)
    values = [[i for i in s.incidents if i.capacity_left == value] for s in batch.scenarios]
    assert all(len(found) == 1 for found in values)
    weights = np.exp(frequency_weights(batch, 1.0).log_w)
    others = weights * np.array([len(s.incidents) - 1 for s in batch.scenarios])
    # With scale s, E over p(c | given) of the untouched count is Λ E[s²] / E[s]; the log-scale is normal(0, 0.1).
    expected = float(model.expected.sum()) * np.exp(1.5 * 0.1**2)
    assert abs(others.mean() - expected) < 4.5 * others.std() / len(others) ** 0.5


@pytest.mark.parametrize("frequency", [0.5, 1.0, 4.0])
def test_weights_have_mean_one_and_reweighted_counts_match_direct_draws(model, frequency):
    batch = synthesize(model, n=4000, frequencies=[0.5, 4.0], seed=14)
    weights = frequency_weights(batch, frequency)
    for stratum in (True, False):
        w = np.exp(weights.log_w[weights.is_free == stratum])
        assert abs(w.mean() - 1) < 4.5 * w.std() / len(w) ** 0.5 + 1e-12
    direct = synthesize(model, n=4000, frequencies=[frequency], seed=15)
    again = frequency_weights(direct, frequency)
    counted = [_weighted_counts(b, w) for b, w in ((batch, weights), (direct, again))]
    difference = counted[0][0] - counted[1][0]
    assert abs(difference) < 4.5 * np.hypot(counted[0][1], counted[1][1])


def _weighted_counts(batch, weights) -> tuple[float, float]:
    rows = ~weights.is_free
    counts = np.array([len(s.incidents) for s in batch.scenarios])[rows] * np.exp(weights.log_w[rows])
    return counts.mean(), counts.std() / rows.sum() ** 0.5


def test_weights_given_the_condition_stay_below_one_over_alpha(model):
    batch = synthesize(model, n=3000, frequencies=[0.5, 1, 4.0], seed=16)
    assert batch.design is not None
    for alpha, row in zip(batch.design.alphas, batch.design.multipliers, strict=True):
        weights = frequency_weights(batch, row[0])
        rows = ~weights.is_free
        kappa = np.array(row)
        expected = np.array([s.density.expected for s in batch.scenarios])[rows]
        nodes = batch.design.nodes
        overall = sum(n.weight * -np.expm1(-np.array(n.expected) @ kappa) for n in nodes)
        bound = -np.expm1(-expected @ kappa) / overall / alpha
        assert (np.exp(weights.log_w[rows]) <= bound * (1 + 1e-9)).all()


@pytest.mark.parametrize("given", ["", GIVEN])
@pytest.mark.parametrize("frequency", [0.5, 1.0, 4.0])
def test_demand_controls_have_mean_zero_under_the_target(model, frequency, given):
    batch = synthesize(model, n=6000, frequencies=[0.5, 4.0], given=given, seed=18)
    weights = frequency_weights(batch, frequency)
    assert weights.controls.shape == (6000, 2)
    for rows in (weights.is_free, ~weights.is_free):
        if rows.any():
            terms = np.exp(weights.log_w[rows])[:, None] * weights.controls[rows]
            assert (np.abs(terms.mean(axis=0)) < 4.5 * terms.std(axis=0) / rows.sum() ** 0.5).all()
    uncentred = weights.controls[~weights.is_free][:, 1] + 1
    assert abs(uncentred.mean()) > 0.5  # z² alone has mean about 1: a control that is not centred would show


def test_shares_of_the_mixture_raise_the_worst_effective_share_over_the_range(model):
    batch = synthesize(model, n=4000, frequencies=[0.02, 10.0], seed=19)
    design = batch.design
    assert design is not None
    assert sum(design.alphas) == pytest.approx(1) and min(design.alphas) >= SMALLEST_SHARE - 1e-12
    equal = replace(design, alphas=(1 / len(design.alphas),) * len(design.alphas))

    def worst(chosen) -> float:
        """Smallest 1 / E_κ[p_κ / q] of a mixture with these shares, from draws of the batch as it is."""
        drawn = replace(batch, design=chosen)
        shares = []
        for row in design.multipliers:
            own, other = frequency_weights(batch, row[0]), frequency_weights(drawn, row[0])
            rows = ~own.is_free
            shares.append(1 / np.exp(own.log_w[rows] + other.log_w[rows]).mean())
        return min(shares)

    assert worst(design) > 1.1 * worst(equal)
    rows = ~frequency_weights(batch, 10.0).is_free
    measured = effective_sample_size(frequency_weights(batch, 10.0).log_w[rows]) / rows.sum()
    assert measured > worst(equal)


def test_a_scenario_is_the_same_to_the_last_bit_in_any_request(model):
    long = synthesize(model, n=400, frequencies=[0.5, 5], seed=3)
    short = synthesize(model, n=1, frequencies=[0.5, 5], seed=3, first=17)
    assert short.scenarios[0] == long.scenarios[17]


def test_density_of_a_scenario_is_the_models(model):
    batch = synthesize(model, n=60, frequencies=[0.5, 5], seed=3)
    for scenario in batch.scenarios:
        direct = model.log_prob(scenario.incidents, scale=scenario.condition.demand_scale, day=1.0)
        assert scenario.density is not None
        assert scenario.density.log_model == pytest.approx(direct, abs=1e-8)


ONE_OFTEN = {"crash": 5.0, "breakdown": 0.5, "obstruction": 0.5}


def test_frequencies_by_kind_have_proposals_of_their_own_where_they_are_asked_for(model):
    common, batch = (synthesize(model, n=6000, frequencies=[0.5, 5.0], by_kind=own, seed=21) for own in (False, True))
    assert common.design is not None and batch.design is not None
    rows = set(batch.design.multipliers)
    assert set(common.design.multipliers) < rows
    assert {(5.0, 1.0, 1.0), (0.5, 1.0, 1.0), (1.0, 5.0, 1.0), (1.0, 1.0, 0.5)} <= rows
    assert sum(batch.design.alphas) == pytest.approx(1) and min(batch.design.alphas) >= SMALLEST_SHARE - 1e-12

    def effective(drawn, frequency) -> float:
        weights = frequency_weights(drawn, frequency)
        hits = ~weights.is_free
        return effective_sample_size(weights.log_w[hits]) / hits.sum()

    for frequency in (ONE_OFTEN, {"crash": 5.0}, {"breakdown": 5.0, "obstruction": 0.5}):
        assert effective(common, frequency) < 0.07 and effective(batch, frequency) > 0.17
    assert min(effective(batch, frequency) for frequency in (0.5, 1.0, 2.0, 5.0)) > 0.3


@pytest.mark.parametrize("frequency", [1.0, 5.0, ONE_OFTEN])
@pytest.mark.parametrize(
    ("given", "quantifier"), [("", "any"), (GIVEN, "any"), (GIVEN, "count=1"), (GIVEN, "given-one")]
)
def test_weights_of_frequencies_by_kind_have_mean_one_and_stay_below_their_bound(model, frequency, given, quantifier):
    batch = synthesize(model, n=6000, frequencies=[0.5, 5.0], by_kind=True, given=given, quantifier=quantifier, seed=22)
    weights = frequency_weights(batch, frequency)
    for rows, bound in zip((weights.is_free, ~weights.is_free), weights.weight_bound, strict=True):
        if rows.any():
            drawn = np.exp(weights.log_w[rows])
            assert abs(drawn.mean() - 1) < 4.5 * drawn.std() / rows.sum() ** 0.5
            assert drawn.max() <= bound * (1 + 1e-9)


def test_rows_by_kind_leave_out_kinds_that_never_happen_and_ends_that_are_there():
    rows = frequency_rows([1.0, 2.0], [0.3, 0.0, 0.1], by_kind=True)
    assert rows == ((1.0,) * 3, (2.0,) * 3, (2.0, 1.0, 1.0), (1.0, 1.0, 2.0))
    assert frequency_rows([1.0, 2.0], [0.3, 0.0, 0.1]) == rows[:2]
    assert frequency_rows([2.0, 4.0], [0.3, 0.0, 0.0], by_kind=True)[2:] == ((4.0, 2.0, 2.0),)
    with pytest.raises(FrequencyError, match="needs a range"):
        frequency_rows([2.0], [1.0, 1.0, 1.0], by_kind=True)
    with pytest.raises(FrequencyError, match="needs 24 proposals where each kind has its own ends, at most 20"):
        frequency_rows([1e-5, 1e4], [1.0, 1.0, 1.0], by_kind=True)


@pytest.mark.parametrize("frequencies", [[], [0.0], [-1.0, 2.0], [float("nan")], [1e-9, 1e9]])
def test_bad_frequencies_are_refused(model, frequencies):
    with pytest.raises(FrequencyError):
        synthesize(model, n=3, frequencies=frequencies)


def test_multipliers_outside_the_range_are_refused(model):
    batch = synthesize(model, n=12, frequencies=[0.5, 2.0])
    for outside in (0.4, 2.1, {"crash": 3.0}, 0.0):
        with pytest.raises(FrequencyError):
            frequency_weights(batch, outside)
    with pytest.raises(FrequencyError, match="unknown"):
        frequency_weights(batch, {"flood": 1.0})


def test_hand_made_scenarios_have_no_weights(model):
    batch = replace(synthesize(model, n=3), design=None)
    with pytest.raises(ScenarioError, match="by hand"):
        frequency_weights(batch, 1.0)


@pytest.mark.parametrize(
    "text",
    ["capacity_left<=-1", "capacity_left==1.5", "lanes_blocked==4", "kind==flood", "edge==nowhere", "foo==3",
     "capacity_left", "capacity_left>=0.6 & capacity_left<=0.5", "edge==second & lanes_blocked==2",
     "capacity_left==0.5 & capacity_left<=0.3", "capacity_left==0.2 & capacity_left==0.7", "capacity_left<=nan",
     "capacity_left==0 & capacity_left==1", "capacity_left<=0.3 & capacity_left==1", "lanes_blocked>=²",
     "kind==crash & kind==breakdown", "edge==first & edge==second", "kind==crash,flood",
     "capacity_left==0.5 & capacity_left<0.5", "capacity_left>0.5 & capacity_left==0.5"],
)  # fmt: skip
def test_impossible_conditions_are_refused(model, text):
    with pytest.raises(ConditionError):
        synthesize(model, n=3, given=text)


@pytest.mark.parametrize("text", ["capacity_left<=1", "lanes_blocked>=0"])
def test_a_condition_that_every_incident_meets_leaves_nothing_for_none(model, text):
    """It once ended in a ValueError from the depths of the sampler, which no user can read."""
    with pytest.raises(ConditionError, match="every incident meets it"):
        synthesize(model, n=3, given=text, quantifier="none")


@pytest.mark.parametrize("quantifier", ["all", "none", "count=2", "given-one"])
def test_a_quantifier_without_a_condition_is_refused(model, quantifier):
    """Drawn for two incidents, a batch would stand for days with one or more."""
    with pytest.raises(ConditionError, match="how many incidents meet a condition, and none is given"):
        synthesize(model, n=3, quantifier=quantifier)
    if quantifier != "none":
        assert len(synthesize(model, n=3, given="capacity_left<=1", quantifier=quantifier)) == 3


@pytest.mark.parametrize("quantifier", ["some", "count=0", "count=x", ""])
def test_unknown_quantifiers_are_refused(model, quantifier):
    with pytest.raises(ConditionError):
        synthesize(model, n=3, given=GIVEN, quantifier=quantifier)
