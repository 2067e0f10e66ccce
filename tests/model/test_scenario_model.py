"""The density of incidents: it integrates to one, ignores order and labels, and draws follow it."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from scenariogen.errors import ModelError
from scenariogen.incidents.records import KINDS
from scenariogen.model.features import road_graph
from scenariogen.model.given import parse_given
from scenariogen.model.marks import duration_to_unit
from scenariogen.model.rates import RateShape, group_normalised
from scenariogen.randomness import uniform
from tests.model.small import small_model, two_edges

ROWS = 20_000


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def drawn(model):
    weights = model.given_weights(parse_given("", model.network))
    kappa = torch.ones((ROWS, len(KINDS)), dtype=torch.float64)
    return model.draw(uniform(5, torch.arange(ROWS), 9), kappa, weights, None)


def test_one_incidents_intensity_integrates_to_the_expected_count(model, drawn):
    """E under the normalised intensity of 1/λ over a uniform reference is the reference's mass: checked by weights.

    Each incident drawn has density λ(x)/Λ. Draws from another density r (the same model with all splines uniform)
    must give E_r[λ/r] = Λ: a wrong Jacobian or normaliser in any mark breaks it.
    """
    flat = {name: torch.zeros_like(value) for name, value in model.marks.state_dict().items()}
    marks = type(model.marks)()
    marks.load_state_dict(flat)
    other = replace(model, marks=marks)
    weights = other.given_weights(parse_given("", model.network))
    kappa = torch.ones((ROWS, len(KINDS)), dtype=torch.float64)
    rows = other.draw(uniform(6, torch.arange(ROWS), 9), kappa, weights, None)
    ratio = torch.exp(model.log_intensity(rows) - other.log_intensity(rows)).numpy() * float(other.expected.sum())
    error = ratio.std() / ROWS**0.5
    assert ratio.std() > 0
    assert abs(ratio.mean() - float(model.expected.sum())) < 4.5 * error


def test_counts_and_marks_sum_to_one_over_all_numbers_of_incidents(model):
    """Σ_n (1/n!) ∫ = 1: the n-fold integral is Λⁿ e^(−Λ), Λ the integral of one incident's intensity (see above)."""
    expected = float(model.expected.sum())
    total = sum(np.exp(-expected + n * np.log(expected) - _log_factorial(n)) for n in range(60))
    assert total == pytest.approx(1.0, abs=1e-12)
    empty = model.log_prob((), scale=1.0, day=1.0)
    condition = float(model.condition.log_prob(torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)))
    assert empty == pytest.approx(condition - expected, abs=1e-12)


def _log_factorial(n: int) -> float:
    return float(np.sum(np.log(np.arange(1, n + 1))))


def test_order_changes_nothing(model, drawn):
    incidents = [model.incident(drawn, index) for index in range(4)]
    values = {model.log_prob(order, scale=1.1, day=1.0) for order in itertools.permutations(incidents)}
    assert max(values) - min(values) < 1e-9


def test_draws_lie_where_the_density_is_positive_and_fit_their_network(model, drawn):
    assert torch.isfinite(model.log_intensity(drawn)).all()
    for index in range(0, ROWS, 199):
        assert model.incident(drawn, index).problems(model.network) == []


def test_places_and_kinds_are_drawn_as_often_as_the_intensity_says(model, drawn):
    share = (model.intensity / model.intensity.sum()).numpy().ravel()
    cells, kinds = model.intensity.shape[1:]
    index = (drawn.edge * cells + drawn.cell) * kinds + drawn.kind
    seen = np.bincount(index.numpy(), minlength=len(share)) / ROWS
    error = np.sqrt(share * (1 - share) / ROWS)
    assert (np.abs(seen - share) < 4.5 * error + 1e-9).all()


def test_durations_and_capacity_follow_their_cdf(model, drawn):
    at = (drawn.edge, drawn.kind, drawn.option)
    v, _ = duration_to_unit(drawn.phases_s.sum(-1), model.options.log_minutes[drawn.edge, drawn.option])
    place = model.marks.spline(model.tables.duration[at]).cdf(v)
    assert stats.kstest(place.numpy(), "uniform").pvalue > 1e-3
    low, high = (bound[drawn.edge, drawn.option] for bound in (model.options.low, model.options.high))
    inside = (drawn.capacity_left > 0) & (drawn.capacity_left < 1)
    unit = ((drawn.capacity_left - low) / (high - low))[inside]
    parameters = model.tables.capacity[at][inside]
    place = model.marks.spline(parameters).cdf(unit)
    assert stats.kstest(place.numpy(), "uniform").pvalue > 1e-3


def test_capacity_stays_in_what_can_be_brought_about(model, drawn):
    low, high = (bound[drawn.edge, drawn.option] for bound in (model.options.low, model.options.high))
    atoms = (drawn.capacity_left == 0) | (drawn.capacity_left == 1)
    assert (atoms | ((drawn.capacity_left >= low - 1e-12) & (drawn.capacity_left <= high + 1e-12))).all()


@pytest.mark.parametrize(
    "text", ["capacity_left<=0.5", "capacity_left>=0.4", "kind==crash & lanes_blocked>=1", "edge==second"]
)
def test_probability_of_a_condition_is_the_share_of_draws_that_meet_it(model, drawn, text):
    given = parse_given(text, model.network)
    weights = model.given_weights(given)
    expected = float((model.intensity.sum(1) * weights.sum(-1)).sum() / model.intensity.sum())
    met = [_meets(model.incident(drawn, index), text) for index in range(5000)]
    assert abs(np.mean(met) - expected) < 4.5 * (expected * (1 - expected) / 5000) ** 0.5


def _meets(incident, text: str) -> bool:
    names = {
        "capacity_left": incident.capacity_left,
        "kind": incident.kind.value,
        "lanes_blocked": len(incident.lanes),
        "edge": incident.edge,
        "crash": "crash",
        "second": "second",
    }
    return bool(eval(text.replace("&", "and"), {"__builtins__": {}}, names))


def test_relabelling_edges_permutes_rates():
    network = two_edges()
    graph = road_graph(network)
    torch.manual_seed(0)
    shape = RateShape()
    for parameter in shape.parameters():  # the read-outs start at zero, which every order agrees with
        torch.nn.init.normal_(parameter)
    times = torch.randn(3, 5, dtype=torch.float64)
    exposure = torch.rand(2, 3, dtype=torch.float64)
    order = torch.tensor([1, 0])
    plain = group_normalised(shape(graph, times), exposure, graph.road_class)
    turned = group_normalised(shape(graph.relabelled(order), times), exposure[order], graph.road_class[order])
    assert torch.allclose(turned, plain[order], atol=1e-12)


def test_incidents_outside_the_support_are_all_named(model, drawn):
    incident = model.incident(drawn, 0)
    with pytest.raises(ModelError) as caught:
        model.rows([replace(incident, edge="nowhere"), replace(incident, start_s=1e6)])
    assert len(caught.value.problems) == 2
