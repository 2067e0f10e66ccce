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
from scenariogen.model.incident_marks import CAPACITY, OPTION, PHASES_S, incident_noise
from scenariogen.model.marks import duration_to_unit
from scenariogen.model.rates import RateShape, group_normalised
from scenariogen.randomness import normal, uniform
from tests.model.small import small_model, two_edges

ROWS = 20_000


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def drawn(model):
    return one_a_row(model.process, 5)


def one_a_row(process, seed):
    """``ROWS`` sets of one incident each."""
    noise = incident_noise(seed, torch.arange(ROWS), process.noise_columns)
    return process.sample_points(noise, torch.arange(ROWS), ROWS)


@pytest.mark.parametrize(("cell", "kind"), [(1, 0), (4, 0), (3, 2)])
def test_the_density_of_marks_integrates_to_one(model, cell, kind):
    """E_r[p/r] = 1 for a reference r made by hand: a wrong Jacobian or normaliser in any mark breaks it.

    r: options by their published shares, position uniform, the three phases lognormal and correlated. The capacity left
    is often narrow and has atoms: it is summed up by the midpoint rule instead.
    """
    marks, edge = model.incident_marks, cell // model.incident_marks.cells
    u, z = uniform(9, torch.arange(2 * ROWS), 3), normal(10, torch.arange(2 * ROWS), 3)
    shares = torch.softmax(model.options.log_prior[edge], dim=-1)
    option = torch.searchsorted(shares.cumsum(0), u[:, 0].contiguous())
    length = model.graph.lengths_m[edge]
    middle = torch.log(torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64) * 1800)
    logs = torch.distributions.MultivariateNormal(middle, 1.2**2 + 0.6**2 * torch.eye(3, dtype=torch.float64))
    phases = torch.exp(middle + z @ logs.scale_tril.T)
    log_r = torch.log(shares[option]) - torch.log(length)
    log_r = log_r + logs.log_prob(torch.log(phases)) - torch.log(phases).sum(-1)
    half = torch.full_like(u[:, :1], 0.5)
    rows = torch.cat([option.double()[:, None], u[:, 1:2] * length, half, phases], dim=1)
    index = torch.full_like(option, cell), torch.full_like(option, kind)
    terms = marks.log_terms(rows, *index)
    ratio = torch.exp(sum((*terms[:1], *terms[2:])) - log_r).numpy()
    assert ratio.std() / len(ratio) ** 0.5 < 0.03
    assert abs(ratio.mean() - 1) < 4.5 * ratio.std() / len(ratio) ** 0.5
    grid = torch.cat([torch.tensor([0.0, 1.0]).double(), (torch.arange(20_000).double() + 0.5) / 20_000])
    for each in torch.nonzero(model.options.allowed[edge]).flatten():
        at = tuple(torch.full_like(grid, i, dtype=torch.int64) for i in (cell, kind))
        rows = torch.cat([each.expand(len(grid), 1).double(), rows[:1, 1:2].expand(len(grid), 1), grid[:, None],
                          phases[:1].expand(len(grid), 3)], dim=1)  # fmt: skip
        density = torch.exp(marks.log_terms(rows, *at)[1])
        assert float(density[:2].sum() + density[2:].mean()) == pytest.approx(1.0, abs=2e-3)


def test_counts_and_marks_sum_to_one_over_all_numbers_of_incidents(model):
    """Σ_n (1/n!) ∫ = 1: the n-fold integral is Λⁿ e^(−Λ) where marks integrate to 1, as they do above."""
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
    assert len({model.log_prob(incidents[:n], scale=1.1, day=1.0) for n in range(5)}) == 5
    values = {model.log_prob(order, scale=1.1, day=1.0) for order in itertools.permutations(incidents)}
    assert max(values) - min(values) < 1e-9


def test_draws_lie_where_the_density_is_positive_and_fit_their_network(model, drawn):
    assert torch.isfinite(model.process.log_rate(drawn)).all()
    for index in range(0, ROWS, 199):
        assert model.incident(drawn, index).problems(model.network) == []


def test_places_and_kinds_are_drawn_as_often_as_the_intensity_says(model, drawn):
    share = (model.intensity / model.intensity.sum()).numpy().ravel()
    index = drawn.cell * len(KINDS) + drawn.kind
    seen = np.bincount(index.numpy(), minlength=len(share)) / ROWS
    error = np.sqrt(share * (1 - share) / ROWS)
    assert (np.abs(seen - share) < 4.5 * error + 1e-9).all()


def edge_and_option(model, points):
    return points.cell // model.incident_marks.cells, points.marks[:, OPTION].to(torch.int64)


def test_durations_and_capacity_follow_their_cdf(model, drawn):
    edge, option = edge_and_option(model, drawn)
    at = (edge, drawn.kind, option)
    v, _ = duration_to_unit(drawn.marks[:, PHASES_S].sum(-1), model.tables.minutes[edge, option])
    place = model.marks.spline(model.tables.duration[at]).cdf(v)
    assert stats.kstest(place.numpy(), "uniform").pvalue > 1e-3
    low, high = (bound[edge, option] for bound in (model.options.low, model.options.high))
    left = drawn.marks[:, CAPACITY]
    inside = (left > 0) & (left < 1)
    unit = ((left - low) / (high - low))[inside]
    parameters = model.tables.capacity[at][inside]
    place = model.marks.spline(parameters).cdf(unit)
    assert stats.kstest(place.numpy(), "uniform").pvalue > 1e-3


def test_capacity_stays_in_what_can_be_brought_about(model, drawn):
    edge, option = edge_and_option(model, drawn)
    low, high = (bound[edge, option] for bound in (model.options.low, model.options.high))
    left = drawn.marks[:, CAPACITY]
    atoms = (left == 0) | (left == 1)
    assert (atoms | ((left >= low - 1e-12) & (left <= high + 1e-12))).all()


@pytest.mark.parametrize(
    "text",
    ["capacity_left<=0.5", "capacity_left>=0.4", "capacity_left<1", "kind==crash & lanes_blocked>=1", "edge==second"],
)
def test_probability_of_a_condition_is_the_share_of_draws_that_meet_it(model, drawn, text):
    given = parse_given(text, model.network)
    region = model.region(given)
    expected = float(model.expected_in(region).sum() / model.intensity.sum())
    met = [_meets(model.incident(drawn, index), text) for index in range(5000)]
    assert region.contains(drawn)[:5000].tolist() == met
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


def test_an_incident_read_back_is_the_point_it_came_from(model, drawn):
    points = model.points([model.incident(drawn, index) for index in range(20)])
    assert torch.equal(points.cell, drawn.cell[:20]) and torch.equal(points.kind, drawn.kind[:20])
    assert torch.equal(points.location, drawn.location[:20]) and torch.equal(points.marks, drawn.marks[:20])


@pytest.mark.parametrize(
    "text", ["capacity_left<=0.5", "capacity_left>0.2 & kind==crash", "capacity_left<1", "capacity_left==1"]
)
def test_draws_in_a_set_and_outside_lie_there(model, text):
    region = model.region(parse_given(text, model.network))
    for inside in (True, False):
        points = one_a_row(model.process.restricted(region, inside=inside), 8)
        assert (region.contains(points) == inside).all()
        assert torch.isfinite(model.process.log_rate(points)).all()


def test_incidents_outside_the_support_are_all_named(model, drawn):
    incident = model.incident(drawn, 0)
    with pytest.raises(ModelError) as caught:
        model.points([replace(incident, edge="nowhere"), replace(incident, start_s=1e6)])
    assert len(caught.value.problems) == 2
