"""Jensen–Shannon divergence and tail measures against closed forms, and their nulls against what chance gives."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from scenariogen.errors import DensityError
from scenariogen.randomness import normal, uniform
from scenariogen.sampling.chains import Sphere
from scenariogen.sampling.constrained import Constrained
from scenariogen.sampling.contract import ConditionalDensity, Distribution
from scenariogen.sampling.divergence import jensen_shannon, jensen_shannon_of_densities, jensen_shannon_of_laws
from scenariogen.sampling.normal import DiagonalNormal, isotropic
from scenariogen.sampling.tail_measures import tail_measures


def categories(probabilities: list[float], n: int, *, seed: int) -> np.ndarray:
    u = uniform(seed, torch.arange(n), 1)[:, 0].numpy()
    return np.searchsorted(np.cumsum(probabilities), u).astype(float)


def normals(n: int, columns: int = 1, *, seed: int, shift: float = 0.0, scale: float = 1.0) -> np.ndarray:
    return shift + scale * normal(seed, torch.arange(n), columns).numpy()


def jsd_of_normals(shift: float) -> float:
    """JSD of N(0, 1) and N(shift, 1) in bits, by quadrature."""

    def term(x: float) -> float:
        p, q = float(norm.pdf(x)), float(norm.pdf(x - shift))
        m = 0.5 * (p + q)
        return 0.5 * (p * math.log2(p / m) + q * math.log2(q / m)) if min(p, q) > 0 else 0.0

    return quad(term, -9, 9 + shift, limit=200)[0]


def test_the_divergence_of_two_laws_is_the_closed_form():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.5, 0.0, 0.5])
    assert jensen_shannon_of_laws(p, q) == pytest.approx(0.5)  # half of the mass is shared, the rest tells all
    assert jensen_shannon_of_laws(p, p) == 0.0
    assert jensen_shannon_of_laws(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0

    # With h the binary entropy: JSD of Bernoulli laws is h(mean) less the mean of h.
    def entropy(x: float) -> float:
        return -x * math.log2(x) - (1 - x) * math.log2(1 - x)

    assert jensen_shannon_of_laws(np.array([0.9, 0.1]), np.array([0.4, 0.6])) == pytest.approx(
        entropy(0.35) - 0.5 * (entropy(0.1) + entropy(0.6))
    )


@pytest.mark.parametrize(
    ("p", "q"), [([0.6, 0.3, 0.1], [0.3, 0.3, 0.4]), ([0.25] * 4, [0.22, 0.24, 0.26, 0.28])], ids=["far", "near"]
)
def test_samples_of_known_discrete_laws_give_their_divergence_within_the_interval(p, q):
    truth, n, covered = jensen_shannon_of_laws(np.array(p), np.array(q)), 100, 0
    for seed in range(n):
        got = jensen_shannon(
            categories(p, 800, seed=seed), categories(q, 800, seed=seed + 500), seed=seed, categorical=[0], repeats=100
        ).columns[0]
        covered += got.interval[0] <= truth <= got.interval[1]
        assert abs(got.value - truth) < 5 * got.standard_error + len(p) * 2 / 800
    assert covered >= n * 0.95 - 3 * math.sqrt(n * 0.95 * 0.05)


def test_the_divergence_grows_as_the_sample_shrinks_and_the_null_shows_it():
    """Identical normals: the more cells to a row, the larger; the split-half null has the same size."""
    found = {}
    for n in (200, 2000):
        got = jensen_shannon(normals(n, seed=1), normals(n, seed=2), seed=3, bins=20, repeats=100).columns[0]
        assert got.null is not None
        expected = 19 * (2 / (n // 2)) / (8 * math.log(2))  # the chi-squared approximation, at the null's own sizes
        assert got.null.mean == pytest.approx(expected, rel=0.15)
        assert got.null.observed == pytest.approx(got.null.mean, abs=3 * got.null.spread)
        assert got.null.p_value > 0.05 and "20 cells" in got.assumes
        found[n] = got.value
    assert found[200] > 3 * found[2000]


def test_the_split_half_null_is_not_rejected_more_often_than_it_says():
    rejected = 0
    for seed in range(100):
        got = jensen_shannon(normals(200, seed=seed), normals(200, seed=seed + 900), seed=seed, bins=8, repeats=60)
        null = got.columns[0].null
        assert null is not None
        rejected += null.p_value <= 0.05
    assert rejected <= 5 + 3 * math.sqrt(100 * 0.05 * 0.95)


def test_a_dependence_that_no_column_shows_is_seen_by_the_pair():
    x = normals(3000, 2, seed=1)
    y = normals(3000, 2, seed=2)
    y[:, 1] = 0.9 * y[:, 0] + math.sqrt(1 - 0.81) * y[:, 1]
    got = jensen_shannon(x, y, seed=1, repeats=50)
    assert got.mean.null is not None and got.pair_mean is not None and got.pair_mean.null is not None
    assert got.mean.null.observed < got.mean.null.upper * 1.5
    assert got.pair_mean.null.observed > 10 * got.pair_mean.null.upper
    assert set(got.pairs) == {(0, 1)} and "quantiles of the reference by" in got.pairs[0, 1].assumes
    assert "JSD of columns 0 and 1" in str(got.pairs[0, 1]) and str(got)


def test_a_value_that_holds_much_of_a_column_is_a_cell_of_its_own():
    """Half of the reference at 0 exactly, a third of the sample: no quantile bin may mix the atom with what is near."""
    x, y = np.abs(normals(4000, seed=1))[:, 0], np.abs(normals(4000, seed=2))[:, 0]
    x[: len(x) // 2], y[: len(y) // 3] = 0.0, 0.0
    got = jensen_shannon(x, y, seed=1, bins=10, repeats=30).columns[0]
    truth = jensen_shannon_of_laws(np.array([1 / 2, 1 / 2]), np.array([1 / 3, 2 / 3]))
    assert got.value == pytest.approx(truth, abs=5 * got.standard_error + 20 * 2 / 4000 / 5.5)
    fixed = jensen_shannon(x, y, seed=1, edges={0: [1e-12]}, repeats=30).columns[0]
    assert fixed.value == pytest.approx(truth, abs=4 * fixed.standard_error) and "2 cells" in fixed.assumes


def test_what_moves_from_a_value_to_its_neighbourhood_is_seen():
    """0 exactly holds 0.4 of the reference and 0.3 of the sample, its neighbourhood the rest of the lower half."""
    u = uniform(1, torch.arange(8000), 1)[:, 0].numpy()
    x, y = (np.where(part < 0.5, 0.01 * part, 1 + part) for part in (u[:4000], u[4000:]))
    x[u[:4000] < 0.4], y[u[4000:] < 0.3] = 0.0, 0.0
    least = jensen_shannon_of_laws(np.array([0.4, 0.6]), np.array([0.3, 0.7]))
    assert jensen_shannon(x, y, seed=1, bins=4, repeats=30).columns[0].value > 0.7 * least


def test_densities_give_the_divergence_by_quadrature():
    shifted = DiagonalNormal(torch.tensor([1.5], dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    got = jensen_shannon_of_densities(isotropic(1, 1.0), shifted, seed=1, n=20_000)
    assert got.value == pytest.approx(jsd_of_normals(1.5), abs=4 * got.standard_error)
    assert got.standard_error < 0.005 and got.interval[0] < got.value < got.interval[1]
    far = DiagonalNormal(torch.tensor([300.0], dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    assert jensen_shannon_of_densities(isotropic(1, 1.0), far, seed=1, n=100).value == pytest.approx(1.0)
    same = jensen_shannon_of_densities(isotropic(1, 1.0), isotropic(1, 1.0), seed=1, n=100)
    assert same.value == pytest.approx(0.0, abs=1e-12)


def test_a_density_that_is_not_exact_is_refused():
    class Bound(Distribution):
        log_prob_is_exact = False

        def sample(self, noise):
            return noise

        def log_prob(self, x):
            return torch.zeros(len(x), dtype=x.dtype)

    class Inexact(ConditionalDensity):
        def forward(self, context):
            return Bound()

    with pytest.raises(DensityError, match="not the exact log-density"):
        jensen_shannon_of_densities(isotropic(1, 1.0), Inexact(), seed=1, n=10)


def test_densities_of_different_measures_have_no_divergence():
    on_sphere = Constrained(isotropic(2, 1.0), Sphere(3))
    with pytest.raises(DensityError, match=r"different measures, “Lebesgue” and “surface measure of the unit sphere”"):
        jensen_shannon_of_densities(isotropic(3, 1.0), on_sphere, seed=1, n=10)
    same = jensen_shannon_of_densities(on_sphere, on_sphere, seed=1, n=10)
    assert same.value == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(DensityError, match="got 1 draws of each density, expected at least 2"):
        jensen_shannon_of_densities(on_sphere, on_sphere, seed=1, n=1)


def test_tail_quantiles_and_exceedances_cover_the_truth():
    """N(0, 1) against N(0.3, 1.2²), 200 times: 95 % of the intervals less 3 standard errors of their share."""
    hits = np.zeros(3)
    for seed in range(200):
        got = tail_measures(
            normals(2000, seed=seed), normals(3000, seed=seed + 7000, shift=0.3, scale=1.2), seed=seed, thresholds=[2.0]
        )
        truths = [0.3 + 0.2 * norm.ppf(0.95), 0.3 + 0.2 * norm.ppf(0.99), norm.sf(1.7 / 1.2) - norm.sf(2.0)]
        for at, (each, truth) in enumerate(zip((*got.quantiles, *got.exceedances), truths, strict=True)):
            hits[at] += each.difference.interval[0] <= truth <= each.difference.interval[1]
    least = 0.95 - 3 * math.sqrt(0.95 * 0.05 / 200)
    assert (hits / 200 >= least).all(), hits


def test_tail_standard_errors_are_the_asymptotic_ones():
    got = tail_measures(normals(20_000, seed=1), normals(20_000, seed=2), seed=1, thresholds=[1.0])
    expected = math.sqrt(2 * 0.05 * 0.95 / 20_000) / norm.pdf(norm.ppf(0.95))
    assert got.quantiles[0].difference.standard_error == pytest.approx(expected, rel=0.15)
    p = norm.sf(1.0)
    assert got.exceedances[0].difference.standard_error == pytest.approx(math.sqrt(2 * p * (1 - p) / 20_000), rel=0.03)
    assert "in the reference" in str(got)


def test_bad_samples_and_settings_list_every_fault():
    x = normals(100, 2, seed=1)
    bad = normals(10, 3, seed=1)
    bad[2, 1], bad[3, 2], bad[4, 2] = math.nan, math.inf, -math.inf
    with pytest.raises(DensityError) as error:
        jensen_shannon(x, bad, seed=1)
    assert len(error.value.problems) == 4
    assert "column 2: 2 of 10 values are nan or infinite" in str(error.value)
    assert "2 and 3 columns" in str(error.value) and "10 rows, expected at least 20" in str(error.value)
    with pytest.raises(DensityError) as error:
        jensen_shannon(x, x, seed=1, bins=1, repeats=1, categorical=[5], edges={0: [2.0, 1.0]})
    assert len(error.value.problems) == 4 and "repeats is 1, expected at least 2" in str(error.value)
    with pytest.raises(DensityError, match="second law must hold probabilities"):
        jensen_shannon_of_laws(np.array([0.5, 0.5]), np.array([0.5, 0.6]))
    with pytest.raises(DensityError, match="expected numbers"):
        jensen_shannon(np.array(["a"] * 30), x[:, 0], seed=1)
    with pytest.raises(DensityError, match=r"level is 1\.5"):
        jensen_shannon(x, x, seed=1, level=1.5)
    with pytest.raises(DensityError) as error:
        tail_measures(x[:, 0], x[:, 0], seed=1, probabilities=[0.99, 1.5], thresholds=[math.nan], repeats=0)
    assert len(error.value.problems) == 5 and "expected at least 1000 for the quantile at 0.99" in str(error.value)
    with pytest.raises(DensityError, match="2 columns, expected 1"):
        tail_measures(x, x, seed=1)
