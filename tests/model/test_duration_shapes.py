"""Families of durations through the model's quartiles: densities that integrate to one, weights with mean one."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from scenariogen.model.duration_shapes import AS_FITTED, SHAPES, log_shape_ratio, shape_chances
from scenariogen.model.given import Given
from scenariogen.model.incident_marks import PHASES_S, incident_noise
from scenariogen.sampling.points import Points
from tests.model.small import small_model

END_S = 7200.0
POINTS = 40_000


@pytest.fixture(scope="module")
def drawn():
    """Many incidents of one kind on one edge at one second, with every lane option."""
    model = small_model()
    marks = model.region(Given()).marks
    cell, kind = torch.zeros(POINTS, dtype=torch.int64), torch.zeros(POINTS, dtype=torch.int64)
    noise = incident_noise(3, torch.arange(POINTS), marks.noise_columns)
    points = Points(
        POINTS, torch.arange(POINTS), cell, kind, torch.full((POINTS, 1), 3600.0, dtype=torch.float64),
        marks.sample(noise, cell, kind), torch.ones(POINTS, dtype=torch.bool),
    )  # fmt: skip
    return marks, points


def test_weights_have_mean_one_and_a_bound(drawn):
    ratio = torch.exp(log_shape_ratio(*drawn, end_s=END_S)).numpy()
    assert ratio.shape == (POINTS, len(SHAPES))
    error = ratio.std(axis=0) / math.sqrt(POINTS)
    assert (abs(ratio.mean(axis=0) - 1) < 4 * error + 1e-9).all()
    assert ratio.max() < 20


def test_quartiles_stay_and_tails_part(drawn):
    marks, points = drawn
    option = int(points.marks[0, 0])
    rows = torch.nonzero(points.marks[:, 0] == option).squeeze(1)
    seconds = points.marks[rows][:, PHASES_S].sum(-1).numpy()
    weight = torch.exp(log_shape_ratio(marks, points[rows], end_s=1e6)).numpy()
    order = np.argsort(seconds)
    share = np.cumsum(weight[order], axis=0) / weight.sum(axis=0)
    for quarter in (0.25, 0.75):
        at = [seconds[order][np.searchsorted(share[:, k], quarter)] for k in range(len(SHAPES))]
        assert at == pytest.approx([np.quantile(seconds, quarter)] * len(SHAPES), rel=0.05)
    long = seconds > np.quantile(seconds, 0.97)
    beyond = weight[long].sum(axis=0) / weight.sum(axis=0)
    assert beyond[1] > beyond[0] > beyond[2]  # log-logistic, lognormal, Weibull


def test_ratios_are_those_of_the_textbook_densities(drawn):
    marks, points = drawn
    found = log_shape_ratio(marks, points, end_s=1e6).numpy()
    seconds = points.marks[:, PHASES_S].sum(-1).numpy()
    same = points.marks[:, 0].numpy() == points.marks[0, 0].item()
    least, low, high, most = np.quantile(seconds[same], [0.05, 0.25, 0.75, 0.95])
    rows = np.flatnonzero(same & (seconds > least) & (seconds < most))[:200]
    middle, half = math.log(low * high) / 2, math.log(high / low) / 2
    shape = math.log(math.log(4) / math.log(4 / 3)) / (2 * half)
    laws = (
        stats.lognorm(half / 0.67448975, scale=math.exp(middle)),
        stats.fisk(math.log(3) / half, scale=math.exp(middle)),
        stats.weibull_min(shape, scale=low / math.log(4 / 3) ** (1 / shape)),
    )
    logs = np.stack([law.logpdf(seconds[rows]) for law in laws], axis=1)
    # Differences between families need no density of the model's; quartiles of draws are a few per cent off.
    assert np.diff(found[rows], axis=1) == pytest.approx(np.diff(logs, axis=1), abs=0.1)


def test_what_outlasts_the_run_counts_together(drawn):
    marks, points = drawn
    seconds = points.marks[:, PHASES_S].sum(-1).numpy()
    option = points.marks[:, 0].numpy()
    late = (seconds > 1200) & (option == option[0])
    ratio = log_shape_ratio(marks, points, end_s=3600.0 + 1200.0).numpy()[late]
    assert np.ptp(ratio, axis=0) == pytest.approx(0, abs=1e-9)


def test_chances_follow_the_durations_that_were_seen():
    none = dict(shape_chances({}))
    assert none == pytest.approx({AS_FITTED: 0.25} | dict.fromkeys(SHAPES, 0.25))
    rows = [{"family": name, "aic": aic} for name, aic in zip(SHAPES, (100.0, 110.0, 130.0), strict=True)]
    seen = dict(shape_chances({"durations": {"families": [{"family": "model", "aic": None}, *rows]}}))
    assert sum(seen.values()) == pytest.approx(1) and seen[AS_FITTED] == pytest.approx(0.25)
    assert seen["log-logistic"] / seen["lognormal"] == pytest.approx(math.exp(-5))
