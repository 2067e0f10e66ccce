"""Tests of dispersion and of clusters: right size under a Poisson process, power where it is none."""

import numpy as np
import pandas as pd
import pytest

from scenariogen.model.dispersion import daily_dispersion, knox
from tests.model.small import two_edges


def test_poisson_days_are_rejected_as_often_as_the_level_says():
    generator = np.random.default_rng(1)
    seen = np.array([1.0] * 30 + [0.25] * 5)
    found = [daily_dispersion(generator.poisson(0.8 * seen), seen, seed=n) for n in range(300)]
    rejected = np.mean([each.p_draws <= 0.05 for each in found])
    assert 0.015 < rejected < 0.095  # 0.05 with a standard error of 0.013
    assert abs(np.mean([each.index for each in found]) - 1) < 0.06


def test_overdispersed_days_are_found_and_their_multiplier_recovered():
    generator = np.random.default_rng(2)
    days = 2000
    multiplier = generator.gamma(2.0, 0.5, days)
    found = daily_dispersion(generator.poisson(3.0 * multiplier), np.ones(days), seed=0)
    assert found.p_draws == 0.001 and found.p_chi2 < 1e-6
    assert found.index == pytest.approx(1 + 3.0 / 2.0, rel=0.15)
    few = daily_dispersion(generator.poisson(0.4, 60), np.ones(60), seed=0)
    assert few.p_chi2 is None and few.p_draws is not None
    assert found.day_shape == pytest.approx(2.0, rel=0.2)


def test_days_without_incidents_count_and_unseen_days_do_not():
    counts = np.array([4, 0, 0, 0, 0, 0, 0, 0])
    assert daily_dispersion(counts, np.ones(8), seed=0).index == pytest.approx(counts.var(ddof=1) / counts.mean())
    alone = daily_dispersion(counts, np.array([1.0] + [0.0] * 7), seed=0)
    assert alone.days == 1 and alone.index is None
    assert daily_dispersion(np.zeros(5), np.ones(5), seed=0).index is None


def incidents(generator, *, days: int, pairs: int) -> pd.DataFrame:
    """Independent incidents, and so many that follow another by 10 min on the same road, 200 m away."""
    count = 120
    table = pd.DataFrame({"source": "records", "day": generator.integers(0, days, count),
                          "edge": generator.choice(["first", "second"], count),
                          "position_m": generator.uniform(0, 800, count),
                          "start_s": generator.uniform(600, 3300, count)})  # fmt: skip
    table.loc[table["edge"] == "second", "position_m"] *= 300 / 800
    more = table.iloc[:pairs].assign(start_s=lambda each: each["start_s"] + 600)
    return pd.concat([table, more], ignore_index=True)


def test_clusters_are_found_and_independent_incidents_are_not():
    generator, network = np.random.default_rng(3), two_edges()
    plain = [knox(incidents(generator, days=200, pairs=0), network, seed=n, near_m=150) for n in range(20)]
    assert sum(each.p < 0.05 for each in plain) <= 4
    together = knox(incidents(generator, days=2000, pairs=25), network, seed=0, near_m=150)
    assert together.p == 0.001 and together.seen >= 25 > 2 * together.expected


def test_a_busy_hour_on_a_busy_edge_is_no_cluster():
    """Place and time may both be uneven: only their going together counts."""
    generator, network = np.random.default_rng(4), two_edges()
    table = incidents(generator, days=60, pairs=0).assign(edge="first", position_m=400.0, start_s=1000.0)
    assert knox(table, network, seed=0).p > 0.05


@pytest.mark.parametrize(("before_m", "after_m", "near"), [(700.0, 50.0, 1), (100.0, 250.0, 0)])
def test_distance_is_along_the_road(before_m, after_m, near):
    table = pd.DataFrame({"source": "records", "day": [0, 0], "edge": ["first", "second"],
                          "position_m": [before_m, after_m], "start_s": [1000.0, 1500.0]})  # fmt: skip
    assert knox(table, two_edges(), seed=0, near_m=200).seen == near


def test_days_of_two_sources_are_different_days():
    table = pd.DataFrame({"source": ["records", "trajectories"], "day": [0, 0], "edge": "first", "position_m": 100.0,
                          "start_s": 1000.0})  # fmt: skip
    assert knox(table, two_edges(), seed=0).seen == 0
    assert knox(table.assign(source="records"), two_edges(), seed=0).seen == 1
    assert knox(table.iloc[:1], two_edges(), seed=0) is None
