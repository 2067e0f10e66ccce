"""Scrambled Sobol points: the sequence itself, its balance, and means whose error is measured over scrambles."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from scipy.stats.qmc import Sobol

from scenariogen.errors import DensityError
from scenariogen.randomness import uniform
from scenariogen.sampling import quasi
from scenariogen.sampling.conditioned import ConditionedPoisson
from scenariogen.sampling.contract import draw
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.frequency import FrequencyMixture
from scenariogen.sampling.frequency_sets import FrequencySets
from scenariogen.sampling.points import Cells, NoMarks
from scenariogen.sampling.poisson import MarkedPoisson
from scenariogen.sampling.quasi import rqmc_mean, sobol
from scenariogen.sampling.regions import CellRegion


def smooth(u):
    """A product over columns with mean 1: ∏_j (1 + (u_j − ½)/j + (u_j² − ⅓)/2j)."""
    j = torch.arange(1, u.shape[1] + 1)
    return (1 + (u - 0.5) / j + (u**2 - 1 / 3) / (2 * j)).prod(1)


def test_without_the_scramble_the_points_are_scipys_sequence(monkeypatch):
    def plain(seed, columns, digits):
        spare = quasi.DIGITS - quasi.ROW_DIGITS
        return quasi._directions(columns, digits) << spare, torch.zeros(columns, dtype=torch.int64)

    monkeypatch.setattr(quasi, "_scramble", plain)
    found = sobol(0, torch.arange(8192), 40) - 2.0**-53
    np.testing.assert_array_equal(found.numpy(), Sobol(40, scramble=False).random(8192))


@pytest.mark.parametrize("first", [0, 64, 4096, (1 << 20) - 64])
def test_every_cell_of_a_fine_division_holds_exactly_one_point(first):
    u = sobol(5, torch.arange(first, first + 64), 6)
    assert (u > 0).all() and (u < 1).all()
    for column in range(6):
        assert (u[:, column] * 64).floor().unique().numel() == 64
    cells = (u[:, 0] * 8).floor() * 8 + (u[:, 1] * 8).floor()  # the first two columns are a net of quality 0
    assert cells.unique().numel() == 64


def test_a_number_depends_on_its_seed_row_and_column_alone():
    whole = sobol(3, torch.arange(5000), 9)
    assert torch.equal(sobol(3, torch.tensor([4999, 17, 2048]), 4), whole[[4999, 17, 2048], :4])
    assert not torch.equal(sobol(4, torch.arange(10), 9), whole[:10])
    beyond = sobol(3, torch.tensor([17, (1 << 20) + 1]), 9)  # another table of direction numbers
    assert torch.equal(beyond[0], whole[17])


def test_points_of_many_scrambles_are_uniform_and_columns_do_not_go_together():
    u = torch.stack([sobol(seed, torch.tensor([0, 5]), 2) for seed in range(2000)])
    for row in range(2):
        for column in range(2):
            assert kstest(u[:, row, column].numpy(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(u[:, 0, 0], u[:, 0, 1])[0, 1]) < 4 / math.sqrt(2000)


def test_means_are_unbiased_over_scrambles():
    """Eight points on a function with a corner: a bias would show, the net is far from converged."""
    means = np.array([float(smooth(sobol(seed, torch.arange(8), 4).clamp_min(0.3)).mean()) for seed in range(1000)])
    u = uniform(1, torch.arange(2_000_000), 4).clamp_min(0.3)
    direct = smooth(u)
    tolerance = 4 * math.hypot(means.std() / math.sqrt(1000), float(direct.std()) / math.sqrt(2e6))
    assert means.mean() == pytest.approx(float(direct.mean()), abs=tolerance)


def test_a_smooth_mean_is_far_surer_than_with_independent_noise():
    n, repeats = 1024, 100
    even = np.array([float(smooth(sobol(seed, torch.arange(n), 5)).mean()) for seed in range(repeats)])
    plain = np.array([float(smooth(uniform(seed, torch.arange(n), 5)).mean()) for seed in range(repeats)])
    assert math.sqrt(np.mean((even - 1) ** 2)) < 0.05 * math.sqrt(np.mean((plain - 1) ** 2))


def test_the_error_is_that_of_a_mean_of_independent_scrambles():
    means = []

    def mean_of(scramble):
        means.append(float(sobol(scramble, torch.arange(16), 1).mean()))
        return means[-1]

    found = rqmc_mean(mean_of, seed=4, scrambles=10, level=0.9)
    assert len(set(means)) == 10
    assert found.value == pytest.approx(float(np.mean(means)))
    assert found.standard_error == pytest.approx(float(np.std(means, ddof=1)) / math.sqrt(10))
    assert found.high - found.value == pytest.approx(1.8331129 * found.standard_error)  # Student, 9 degrees, 0.95


def test_the_interval_over_scrambles_covers():
    """Student's interval over 8 scrambles of 64 points; four standard errors of 200 repeats."""
    hits = 0
    for repeat in range(200):
        found = rqmc_mean(lambda s: float(smooth(sobol(s, torch.arange(64), 3)).mean()), seed=repeat, scrambles=8)
        hits += found.low <= 1 <= found.high
        assert found.low < found.value < found.high and found.scrambles == 8
    assert hits / 200 == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 200))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_density_draws_with_it_the_same_in_a_request_of_any_size(dtype):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        density = CouplingFlow(3, hidden=(8,), dtype=dtype)
    everything = draw(density, n=1500, seed=2, noise=sobol)
    few = draw(density, n=20, first=1100, seed=2, noise=sobol)
    assert torch.equal(few.x, everything.x[1100:1120])
    found = rqmc_mean(lambda s: float(draw(density, n=1024, seed=s, noise=sobol).x[:, 0].mean()), seed=1)
    plain = draw(density, n=30_000, seed=3).x[:, 0].double()
    error = float(plain.std()) / math.sqrt(len(plain))
    assert found.value == pytest.approx(float(plain.mean()), abs=4 * error)
    assert found.standard_error < 0.1 * error * math.sqrt(30_000 / (16 * 1024))


def points_in_two_cells() -> MarkedPoisson:
    """Two points expected, half of each kind, on average at 1/2."""
    cells = Cells(torch.zeros(2, 1, dtype=torch.float64), torch.ones(2, 1, dtype=torch.float64))
    return MarkedPoisson(torch.full((2, 2), 0.5, dtype=torch.float64), cells, NoMarks())


@pytest.mark.parametrize("first", [0, 1024, 1 << 20])
def test_sets_of_points_are_even_over_the_sets_at_every_place(first):
    """The noise of a point was that of row number · 2²⁰ + place: all first points were of one kind, and set 1024 was
    refused. No test drew sets with Sobol's noise."""
    numbers = torch.arange(first, first + 512)
    for seed in range(4):
        points = points_in_two_cells().sample_counts(torch.full((512,), 3), numbers, seed=seed, noise=sobol)
        for place in range(3):
            own = points[torch.arange(place, len(points), 3)]
            assert int((own.kind == 0).sum()) == 256
            assert (own.location[:, 0] * 512).floor().unique().numel() == 512


def test_points_of_one_set_are_independent_of_each_other():
    points = [
        points_in_two_cells().sample_counts(torch.tensor([2]), torch.tensor([5]), seed=seed, noise=sobol)
        for seed in range(2000)
    ]
    places = torch.stack([each.location[:, 0] for each in points]).numpy()
    assert kstest(places[:, 1], "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(places.T)[0, 1]) < 4 / math.sqrt(2000)
    # |x₁ − x₀| modulo 1 has no favourite either: equal digits in both would show here.
    assert kstest(np.mod(places[:, 1] - places[:, 0], 1.0), "uniform").pvalue > 1e-3


def test_means_over_sets_of_points_are_surer_than_with_independent_noise():
    """Campbell: E Σ x = ∫ x λ(x) dx = 1."""
    process, sets, repeats = points_in_two_cells(), 256, 50

    def errors(noise) -> np.ndarray:
        drawn = [process.sample(torch.arange(sets), seed=seed, noise=noise) for seed in range(repeats)]
        return np.array([float(points.location.sum()) / sets - 1 for points in drawn])

    even, plain = errors(sobol), errors(uniform)
    assert abs(even.mean()) < 4 * even.std() / math.sqrt(repeats)
    assert math.sqrt(np.mean(even**2)) < 0.2 * math.sqrt(np.mean(plain**2))


def test_all_parts_of_a_set_are_even_together():
    """Counts, the mixture's coin and each point came from scrambles of the same columns, which go together digit by
    digit: a mean was off by as much for 16,384 sets as for 256. Tests looked at one part at a time."""
    process, sets, repeats = points_in_two_cells(), 1024, 12
    numbers, twice = torch.arange(sets), torch.full((2,), 2.0, dtype=torch.float64)
    first_kind = CellRegion(NoMarks(), torch.tensor([[True, False], [True, False]]))
    given = ConditionedPoisson(process, first_kind)
    proposal = FrequencySets(process, FrequencyMixture((0.5, 0.5), ((0.5, 0.5), (4.0, 4.0))))

    def means(seed: int, noise) -> tuple[float, float, float]:
        plain = process.sample(numbers, seed=seed, noise=noise).counts(2)
        met = given.draw(numbers, seed=seed, noise=noise).points
        drawn = proposal.draw(numbers, seed=seed, noise=noise).points
        w = proposal.log_weight(drawn, twice).exp()
        place = torch.zeros(sets, dtype=torch.float64).index_add(0, met.owner, met.location[:, 0])
        return float(plain.prod(1).mean()), float(place.mean()), float((w * drawn.counts(2)[:, 0]).mean())

    truth = np.array([1.0, 0.5 / -math.expm1(-1) + 0.5, 2 / -math.expm1(-4)])
    even, plain = (np.array([means(seed, noise) for seed in range(repeats)]) - truth for noise in (sobol, uniform))
    assert (np.abs(even.mean(0)) < 4 * even.std(0) / math.sqrt(repeats)).all()
    assert (np.sqrt((even**2).mean(0)) < 0.5 * np.sqrt((plain**2).mean(0))).all()


def test_sets_of_many_points_take_independent_noise_where_columns_end():
    cells = Cells(torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))
    process = MarkedPoisson(torch.full((1, 1), 200.0, dtype=torch.float64), cells, NoMarks())
    points = process.sample_counts(torch.full((64,), 200), torch.arange(64), seed=4, noise=sobol)
    assert kstest(points.location[:, 0].numpy(), "uniform").pvalue > 1e-3
    own = process.sample_counts(torch.full((4,), 200), torch.arange(10, 14), seed=4, noise=sobol)
    assert torch.equal(own.location, points.location[2000:2800])


def test_a_set_of_points_is_the_same_in_a_request_of_any_size():
    process = points_in_two_cells()
    everything = process.sample(torch.arange(900, 1200), seed=4, noise=sobol)
    few = process.sample(torch.arange(1020, 1030), seed=4, noise=sobol)
    own = everything[(everything.owner >= 120) & (everything.owner < 130)]
    assert len(few) > 10 and torch.equal(few.location, own.location) and torch.equal(few.kind, own.kind)
    empty = process.sample_counts(torch.zeros(3, dtype=torch.int64), torch.arange(3), seed=4, noise=sobol)
    assert len(empty) == 0 and empty.batch == 3


def test_what_cannot_be_asked_is_said():
    with pytest.raises(DensityError, match=r"got rows -1 to 3, expected 0 to 1073741823"):
        sobol(1, torch.tensor([-1, 3]), 2)
    with pytest.raises(DensityError, match=r"got 0 columns, expected 1 to 21201"):
        sobol(1, torch.tensor([0]), 0)
    with pytest.raises(DensityError, match="got 7 scrambles, expected at least 8"):
        rqmc_mean(lambda s: 0.0, seed=1, scrambles=7)
    with pytest.raises(DensityError, match="got the level 95, expected a number between 0 and 1"):
        rqmc_mean(lambda s: 0.0, seed=1, level=95.0)
    with pytest.raises(DensityError, match="the mean over scramble 0 is nan"):
        rqmc_mean(lambda s: math.nan, seed=1)
