"""Levels of rates: the Gamma posterior covers the truth, and days are weighed by what was seen of them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from scenariogen.incidents.records import KINDS
from scenariogen.model.features import CLASSES, road_graph
from scenariogen.model.levels import RECORDS, TRAJECTORIES, Seen, days_seen, learn_levels, over_by, traffic_of
from scenariogen.model.rates import base_rates, prior_shapes
from tests.model.logs import events, used
from tests.model.small import exposure_of, small_model, two_edges

REPEATS = 2000
DAYS = 6.0


def places(counts: np.ndarray, cells: np.ndarray, generator) -> torch.Tensor:
    """Edge, cell and kind of so many incidents, (edge, kind) counts."""
    rows = [
        (edge, int(generator.choice(cells)), kind)
        for edge in range(counts.shape[0])
        for kind in range(counts.shape[1])
        for _ in range(int(counts[edge, kind]))
    ]
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)


@pytest.mark.parametrize(("thinned", "covers"), [(True, True), (False, False)])
def test_intervals_cover_the_truth_when_what_was_not_seen_is_reckoned_with(thinned, covers):
    """u from its prior; of the incidents of one kind a half, of another a fifth, is too short for the log."""
    network = two_edges()
    graph, generator = road_graph(network), np.random.default_rng(1)
    kilometres = torch.tensor(exposure_of(network).vehicle_km)
    log_shape = torch.zeros((*kilometres.shape, len(KINDS)), dtype=torch.float64)
    chance = torch.tensor([1.0, 0.5, 0.8], dtype=torch.float64)
    weight = (DAYS * chance).expand(*log_shape.shape)
    at_one = (kilometres.sum(1)[:, None] * base_rates(graph) * DAYS * chance).numpy()
    shapes = prior_shapes().T[graph.road_class].numpy()
    inside = []
    for _ in range(REPEATS):
        truth = generator.gamma(shapes, 1 / shapes)
        where = places(generator.poisson(truth * at_one), np.arange(kilometres.shape[1]), generator)
        said = weight if thinned else torch.full_like(weight, DAYS)
        seen = [Seen(name=RECORDS, where=where, weight=said)]
        shape, rate = learn_levels(graph, kilometres, log_shape, seen).posterior[:, :, graph.road_class].numpy()
        low, high = (stats.gamma.ppf(p, shape, scale=1 / rate).T for p in (0.025, 0.975))
        inside.append((truth >= low) & (truth <= high))
    coverage = np.mean(inside, axis=0)
    if covers:
        assert (np.abs(coverage - 0.95) < 0.02).all()  # standard error 0.005
    else:
        assert (
            coverage[:, 1].max() < 0.93 and coverage[:, 1].min() < 0.8 and (np.abs(coverage[:, 0] - 0.95) < 0.02).all()
        )


def test_the_posterior_mean_weighs_sources_by_what_they_expected():
    network = two_edges()
    graph = road_graph(network)
    kilometres = torch.tensor(exposure_of(network).vehicle_km)
    shape = (*kilometres.shape, len(KINDS))
    log_shape = torch.zeros(shape, dtype=torch.float64)
    where = {TRAJECTORIES: [(0, 0, 0)] * 2, RECORDS: [(0, 1, 0)] * 30}
    seen = [
        Seen(name=name, where=torch.tensor(rows), weight=torch.full(shape, days, dtype=torch.float64))
        for (name, rows), days in zip(where.items(), (3.0, 20.0), strict=True)
    ]
    levels = learn_levels(graph, kilometres, log_shape, seen)
    column = int(graph.road_class[0])
    prior = float(prior_shapes()[0, column])
    expected = [float(levels.expected[name][0, column]) for name in where]
    assert expected[1] / expected[0] == pytest.approx(20 / 3)
    mean = float(levels.posterior[0, 0, column] / levels.posterior[1, 0, column])
    weights = np.array([prior, *expected])
    assert mean == pytest.approx(np.average([1.0, 2 / expected[0], 30 / expected[1]], weights=weights))
    assert float(levels.counts[RECORDS].sum()) == 30 and len(CLASSES) == levels.posterior.shape[2]


def test_days_seen_are_covered_days_times_the_chance_to_be_in_the_log():
    """Against drawn durations: a log of closed incidents of three days, of which the first is covered in part."""
    model, network = small_model(), two_edges()
    cells = model.cell_edges_s.numpy()
    rows = [{"start": "2024-01-02T00:20"}]
    at = {"since": "2024-01-01T00:25", "until": "2024-01-03T00:55"}
    plain = used(events(rows), network, **at)
    weight = days_seen(plain, model.marks, model.tables, cells)
    np.testing.assert_allclose(weight[0, :, 0], [2.0, 3.0, 3.0])  # cells of 15 min from 00:10
    log = used(events(rows), network, closed_only=True, least_duration_s=900.0, **at)
    weight = days_seen(log, model.marks, model.tables, cells)
    left_s = 3300 - (cells[0] + cells[1]) / 2
    longer = 1 - over_by(model.marks, model.tables, 900.0)
    last = over_by(model.marks, model.tables, float(left_s)) - (1 - longer)
    np.testing.assert_allclose(weight[:, 0], longer + last, rtol=1e-6)
    assert (weight[:, 2] < 2 * longer + 1e-6).all()  # 7.5 min were left on the last day, less than the least duration
    np.testing.assert_allclose(weight[:, 2], 2 * longer, rtol=1e-6)


def test_a_logs_weekends_count_with_the_traffic_that_they_have():
    """From Friday 5 January 2024 on: a weekday, two days of half its traffic, and a weekday."""
    model, network = small_model(), two_edges()
    log = used(events([{"start": "2024-01-05T00:20"}]), network, day_type="all", since="2024-01-05", until="2024-01-08")
    traffic = traffic_of(log, replace(exposure_of(network), traffic={"weekday": 1.0, "weekend": 0.5}))
    assert traffic.tolist() == [1.0, 0.5, 0.5, 1.0]
    weight = days_seen(log, model.marks, model.tables, model.cell_edges_s.numpy(), traffic=traffic)
    np.testing.assert_allclose(weight[0, :, 0], 3.0)
    assert traffic_of(log, exposure_of(network)).tolist() == [1.0] * 4  # counts do not tell one type from another
