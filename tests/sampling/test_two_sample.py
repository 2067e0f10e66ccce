"""Two-sample tests against closed forms for normal laws, and their levels where both samples are of one law."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from scenariogen.errors import DensityError
from scenariogen.randomness import child_seed, normal, uniform
from scenariogen.sampling.nearest_record import nearest_record
from scenariogen.sampling.samples import null_of
from scenariogen.sampling.two_sample import (
    area_under_curve,
    classifier_test,
    energy_distance,
    maximum_mean_discrepancy,
)


def normals(n: int, columns: int = 1, *, seed: int, name: str = "", shift: float = 0.0, scale: float = 1.0):
    return shift + scale * normal(child_seed(seed, name), torch.arange(n), columns).numpy()


def mean_distance(shift: float, variance: float) -> float:
    """E|D| for D ~ N(shift, variance)."""
    s = math.sqrt(variance)
    below = float(norm.cdf(-shift / s))
    return s * math.sqrt(2 / math.pi) * math.exp(-(shift**2) / (2 * variance)) + shift * (1 - 2 * below)


def unbiased_with_an_honest_error(values: list[float], errors: list[float], truth: float) -> None:
    spread = float(np.std(values, ddof=1))
    assert float(np.mean(values)) == pytest.approx(truth, abs=3.5 * spread / math.sqrt(len(values)))
    # The spread itself is known to 1/√(2 · repeats), the errors' mean much better.
    assert float(np.mean(errors)) == pytest.approx(spread, rel=3.5 / math.sqrt(2 * len(values)))


def test_the_energy_distance_of_two_normals_is_the_closed_form():
    truth = 2 * mean_distance(0.8, 1 + 1.5**2) - mean_distance(0, 2.0) - mean_distance(0, 2 * 1.5**2)
    got = [
        energy_distance(
            normals(120, seed=s, name="a"),
            normals(80, seed=s, name="b", shift=0.8, scale=1.5),
            seed=s,
            standardise=False,
            permutations=0,
        )
        for s in range(200)
    ]
    unbiased_with_an_honest_error([each.value for each in got], [each.standard_error for each in got], truth)
    assert got[0].null is None


def test_the_mean_discrepancy_of_two_normals_is_the_closed_form():
    """With D ~ N(δ, 2I) in d dimensions, E exp(−|D|²/2h²) = (1 + 2/h²)^(−d/2) exp(−|δ|²/(2(h² + 2)))."""
    h, d, shift = 1.3, 2, 0.7
    truth = 2 * (1 + 2 / h**2) ** (-d / 2) * (1 - math.exp(-d * shift**2 / (2 * (h**2 + 2))))
    got = [
        maximum_mean_discrepancy(
            normals(100, d, seed=s, name="a"),
            normals(140, d, seed=s, name="b", shift=shift),
            seed=s,
            bandwidth=h,
            standardise=False,
            permutations=0,
        )
        for s in range(200)
    ]
    unbiased_with_an_honest_error([each.value for each in got], [each.standard_error for each in got], truth)
    assert "bandwidth 1.3, given" in got[0].assumes


def test_the_median_heuristic_is_the_median_distance():
    x, y = normals(300, seed=1), normals(300, seed=2)
    got = maximum_mean_discrepancy(x, y, seed=1, standardise=False, permutations=0)
    # |X − X'| of standard normals is √2 |Z|, with median √2 · 0.6745 = 0.954.
    assert "the median distance of different rows" in got.assumes
    bandwidth = float(got.assumes.split("bandwidth ")[1].split(",")[0])
    assert bandwidth == pytest.approx(math.sqrt(2) * norm.ppf(0.75), abs=0.1)


@pytest.mark.parametrize("test", [energy_distance, maximum_mean_discrepancy])
def test_permutation_tests_reject_as_often_as_they_say_and_see_a_shift(test):
    n = 400
    rejected = sum(
        test(normals(30, 2, seed=s, name="a"), normals(20, 2, seed=s, name="b"), seed=s, permutations=79).null.p_value
        <= 0.05
        for s in range(n)
    )
    assert abs(rejected / n - 0.05) <= 3 * math.sqrt(0.05 * 0.95 / n)
    seen = test(normals(200, seed=1), normals(200, seed=2, shift=0.5), seed=3)
    assert seen.null.p_value == 1 / 201 and seen.value > seen.null.upper
    assert seen.interval[0] < seen.value < seen.interval[1]


@pytest.mark.parametrize("test", [energy_distance, maximum_mean_discrepancy])
def test_permutation_tests_keep_their_level_with_skewed_columns_and_few_rows(test):
    # Columns in units of the reference alone would make its rows known, and reject in 8 of 10.
    n, columns = 300, 20
    rejected = sum(
        test(
            np.exp(1.5 * normals(10, columns, seed=s, name="a")),
            np.exp(1.5 * normals(40, columns, seed=s, name="b")),
            seed=s,
            permutations=79,
        ).null.p_value
        <= 0.05
        for s in range(n)
    )
    assert abs(rejected / n - 0.05) <= 3.5 * math.sqrt(0.05 * 0.95 / n)


@pytest.mark.parametrize("test", [energy_distance, maximum_mean_discrepancy])
@pytest.mark.parametrize("n", [10, 12, 15])
def test_what_is_equal_but_for_rounding_counts_as_equal(test, n):
    # Equal counts of ones are the least that any permutation shows: all of them reach it.
    x = (np.arange(n) < n // 3).astype(float)
    assert test(x, x[::-1].copy(), seed=1, permutations=199).null.p_value == 1.0


def test_settings_that_would_give_nan_are_refused():
    x, y = normals(30, seed=1), normals(30, seed=2)
    with pytest.raises(DensityError, match="max_rows is 1, expected at least 10"):
        energy_distance(x, y, seed=1, max_rows=1)
    with pytest.raises(DensityError, match=r"(?s)level is 2.*permutations is -1, expected at least 0"):
        maximum_mean_discrepancy(x, y, seed=1, level=2.0, permutations=-1)
    with pytest.raises(DensityError, match="repeats is 1, expected at least 2"):
        nearest_record(x, y, normals(30, seed=3), seed=1, repeats=1)


def test_permuted_statistics_are_those_of_permuted_rows():
    """The null's mean is 0, since the statistic is unbiased, and its spread that of samples of one law."""
    x, y = normals(60, 2, seed=1), normals(40, 2, seed=2)
    null = energy_distance(x, y, seed=1, standardise=False, permutations=400).null
    assert null is not None
    assert abs(null.mean) <= 4 * null.spread / math.sqrt(400)
    fresh = [
        energy_distance(
            normals(60, 2, seed=s, name="a"),
            normals(40, 2, seed=s, name="b"),
            seed=s,
            standardise=False,
            permutations=0,
        ).value
        for s in range(300)
    ]
    assert null.spread == pytest.approx(float(np.std(fresh)), rel=0.35)


def test_large_samples_are_cut_at_random_and_it_says_so():
    got = energy_distance(normals(3000, seed=1), normals(50, seed=2), seed=1, max_rows=100, permutations=10)
    assert (got.n_reference, got.n_sample) == (100, 50) and "100 of 3000 rows of the reference" in got.assumes
    assert got == energy_distance(normals(3000, seed=1), normals(50, seed=2), seed=1, max_rows=100, permutations=10)


def linear(seed: int) -> LogisticRegression:
    return LogisticRegression()


def test_an_informative_classifier_has_the_area_of_shifted_normals():
    """Scores that rise with x separate N(0, 1) and N(δ, 1) with area Φ(δ/√2)."""
    truth = float(norm.cdf(1 / math.sqrt(2)))
    got = [
        classifier_test(
            normals(150, seed=s, name="a"), normals(200, seed=s, name="b", shift=1.0), seed=s, classifier=linear
        )
        for s in range(100)
    ]
    unbiased_with_an_honest_error([each.value for each in got], [each.standard_error for each in got], truth)
    assert "LogisticRegression, 5 folds" in got[0].assumes


def test_boosting_comes_near_the_best_area_and_not_above_it():
    truth = float(norm.cdf(1 / math.sqrt(2)))
    got = classifier_test(normals(1500, seed=1), normals(1500, seed=2, shift=1.0), seed=1, folds=3)
    assert truth - 0.03 < got.value < truth + 3 * got.standard_error
    assert got.null is not None and got.null.p_value < 1e-6
    assert got == classifier_test(normals(1500, seed=1), normals(1500, seed=2, shift=1.0), seed=1, folds=3)


def test_permutations_give_the_null_with_new_classifiers():
    got = classifier_test(
        normals(60, seed=1), normals(60, seed=2, shift=1.0), seed=1, folds=3, classifier=linear, permutations=30
    )
    assert got.null is not None and got.null.repeats == 30 and got.null.p_value == 1 / 31
    assert abs(got.null.mean - 0.5) < 4 * got.null.spread / math.sqrt(30)


def test_the_classifier_test_rejects_as_often_as_it_says():
    n = 200
    rejected, covered = 0, 0
    for s in range(n):
        got = classifier_test(
            normals(80, 2, seed=s, name="a"), normals(80, 2, seed=s, name="b"), seed=s, classifier=linear, folds=4
        )
        assert got.null is not None
        rejected += got.null.p_value <= 0.05
        covered += got.interval[0] <= 0.5 <= got.interval[1]
    assert abs(rejected / n - 0.05) <= 3 * math.sqrt(0.05 * 0.95 / n)
    assert abs(covered / n - 0.95) <= 3 * math.sqrt(0.05 * 0.95 / n)


def test_the_area_counts_pairs_and_ties_by_half():
    low, high = np.array([0.0, 1.0, 1.0, 3.0]), np.array([1.0, 2.0, 3.0])
    pairs = [1.0 if a < b else 0.5 if a == b else 0.0 for a in low for b in high]
    area, variance = area_under_curve(low, high)
    assert area == pytest.approx(float(np.mean(pairs)))
    wins = np.array(pairs).reshape(4, 3)
    assert variance == pytest.approx(np.var(wins.mean(1), ddof=1) / 4 + np.var(wins.mean(0), ddof=1) / 3)


def test_a_generator_that_memorises_is_found_and_one_that_has_learnt_the_law_is_not():
    training, held_out = normals(800, 3, seed=1, name="t"), normals(300, 3, seed=1, name="h")
    honest = nearest_record(training, normals(500, 3, seed=1, name="g"), held_out, seed=1, repeats=200)
    assert not honest.memorises and honest.copies == 0.0
    assert honest.ratio.interval[0] < 1 < honest.ratio.interval[1]
    copied = nearest_record(training, training[:500], held_out, seed=1, repeats=200)
    assert copied.memorises and copied.copies == 1.0 and copied.ratio.value == 0.0 and copied.nearer.value == 1.0
    jittered = training[:500] + 0.05 * normals(500, 3, seed=2)
    near = nearest_record(training, jittered, held_out, seed=1, repeats=200)
    assert near.memorises and near.copies == 0.0 and near.ratio.interval[1] < 0.5 and "nearer than" in str(near)


def test_a_few_copies_among_many_new_rows_are_found():
    training, held_out = normals(800, 3, seed=1, name="t"), normals(400, 3, seed=1, name="h")
    mixed = normals(1000, 3, seed=1, name="g")
    mixed[:40] = training[:40]
    got = nearest_record(training, mixed, held_out, seed=1, repeats=50)
    assert got.memorises and got.copies == pytest.approx(0.04) and got.near >= 0.04
    assert 0.9 < got.ratio.value < 1.1  # the median hardly sees it


def test_the_test_of_memorising_errs_as_rarely_as_it_says():
    n = 150
    wrong = sum(
        nearest_record(
            normals(60, 2, seed=s, name="t"),
            normals(80, 2, seed=s, name="g"),
            normals(70, 2, seed=s, name="h"),
            seed=s,
            repeats=2,
        ).memorises
        for s in range(n)
    )
    assert wrong / n <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / n)


def test_categories_are_one_apart_where_they_differ():
    kinds = np.floor(4 * uniform(1, torch.arange(400), 1).numpy()) * 1000
    values = normals(400, 1, seed=1)
    rows = np.concatenate([values, kinds], 1)
    moved = rows[200:300].copy()
    moved[:, 1] = (moved[:, 1] + 1000) % 4000
    # Only one training value: the nearest row of another kind is exactly 1 away, of the same kind 0.
    training = np.repeat([[0.0, 1000.0]], 30, axis=0)
    same = np.repeat([[0.0, 1000.0]], 30, axis=0)
    other = np.repeat([[0.0, 3000.0]], 30, axis=0)
    got = nearest_record(training, same, other, seed=1, categorical=[1], repeats=10)
    assert got.copies == 1.0 and got.held_out_copies == 0.0 and got.ratio.value == 0.0
    with pytest.raises(DensityError, match="equal a training row"):
        nearest_record(training, other, same, seed=1, categorical=[1], repeats=10)
    training = np.stack([np.repeat([-1.0, 1.0], 20), np.full(40, 1000.0)], 1)  # of spread 1
    along, across = np.repeat([[1.9, 1000.0]], 30, axis=0), np.repeat([[1.0, 3000.0]], 30, axis=0)
    got = nearest_record(training, along, across, seed=1, categorical=[1], repeats=10)
    assert got.ratio.value == pytest.approx(0.9)
    assert nearest_record(rows[:200], moved, rows[300:], seed=1, categorical=[1], repeats=10).copies == 0.0


def test_bad_samples_and_settings_list_every_fault():
    x, wide = normals(50, 2, seed=1), normals(5, 3, seed=1)
    wide[0, 0] = math.nan
    for test in (energy_distance, maximum_mean_discrepancy, classifier_test):
        with pytest.raises(DensityError) as error:
            test(x, wide, seed=1)
        assert len(error.value.problems) == 3
    with pytest.raises(DensityError) as error:
        nearest_record(x, wide, wide, seed=1)
    assert len(error.value.problems) == 5
    with pytest.raises(DensityError, match="categorical columns 7 do not exist: the samples have 2"):
        nearest_record(x, x, x, seed=1, categorical=[7])
    with pytest.raises(DensityError, match=r"bandwidth is -1\.0, expected a positive number"):
        maximum_mean_discrepancy(x, x, seed=1, bandwidth=-1.0)
    with pytest.raises(DensityError, match="all rows of both samples are the same"):
        maximum_mean_discrepancy(np.ones(20), np.ones(20), seed=1)
    with pytest.raises(DensityError, match="folds is 1"):
        classifier_test(x, x, seed=1, folds=1)
    for test in (energy_distance, maximum_mean_discrepancy):
        with pytest.raises(DensityError) as error:
            test(x, x, seed=1, permutations=-1, max_rows=1, level=0.0)
        assert len(error.value.problems) == 3 and "max_rows is 1, expected at least 10" in str(error.value)
        with pytest.raises(DensityError, match="got 1 repeats, expected at least 2"):
            test(x, x, seed=1, permutations=1)
    with pytest.raises(DensityError) as error:
        classifier_test(x, x, seed=1, folds=1, permutations=-1)
    assert len(error.value.problems) == 2
    for repeats in (0, 1):
        with pytest.raises(DensityError, match=f"repeats is {repeats}, expected at least 2"):
            nearest_record(x, x, x, seed=1, repeats=repeats)
    for values, observed in ((np.array([0.1, 0.2]), math.nan), (np.array([0.1, math.nan]), 0.1)):
        with pytest.raises(DensityError, match=r"the statistic is .* expected finite numbers"):
            null_of(values, observed, method="none")
    tensors = energy_distance(torch.as_tensor(x), torch.as_tensor(x), seed=1, permutations=0)
    assert tensors.value == pytest.approx(-tensors.value, abs=0.2)
