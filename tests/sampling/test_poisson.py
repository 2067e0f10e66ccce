"""The marked Poisson process against quadrature, enumeration and closed forms; thinning and superposition."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from scenariogen.errors import DensityError
from scenariogen.randomness import normal
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.points import Cells, DensityMarks, NoMarks, Points
from scenariogen.sampling.poisson import MarkedPoisson
from scenariogen.sampling.regions import CellRegion
from scenariogen.sampling.superposition import Superposition
from tests.sampling.poisson_by_hand import (
    LOWER,
    MEANS,
    TILT,
    UPPER,
    TiltedMarks,
    flat,
    half,
    mass_by_number,
    tiny,
)

SETS = 40_000
NUMBERS = torch.arange(SETS)
SOME = [[(0, 0, 0.3, 0.2), (0, 0, 1.9, 0.7), (1, 1, 3.0, 0.5)], [], [(1, 0, 2.5, 0.9)], [(0, 1, 1.0, 0.1)] * 3]


def test_the_density_of_sets_sums_to_one_over_all_numbers_of_points():
    total = float(MEANS.sum())
    found = mass_by_number(tiny().log_prob, largest=4)
    assert found == pytest.approx([math.exp(-total) * total**n / math.factorial(n) for n in range(5)], rel=1e-12)
    assert sum(found) + float(stats.poisson.sf(4, total)) == pytest.approx(1.0, abs=1e-12)


def test_the_density_is_that_of_the_counts_in_each_cell_times_that_of_the_points_in_any_order():
    """Counts by cell and kind are Poisson, and a set of n points is n! times as dense as the same points in a row."""
    found = tiny().log_prob(flat(SOME))
    for row, points in enumerate(SOME):
        direct = 0.0
        for cell, kind in itertools.product(range(2), range(2)):
            here = [point for point in points if point[:2] == (cell, kind)]
            direct += stats.poisson.logpmf(len(here), float(MEANS[cell, kind])) + math.lgamma(len(here) + 1)
            for *_, mark in here:
                direct += math.log((1 + float(TILT[cell, kind]) * (2 * mark - 1)) / (UPPER[cell][0] - LOWER[cell][0]))
        assert float(found[row]) == pytest.approx(direct, abs=1e-12)


def test_order_of_points_and_sets_changes_nothing():
    process, points = tiny(), flat(SOME)
    found = process.log_prob(points)
    assert len(set(found.tolist())) == len(SOME)
    for order in itertools.islice(itertools.permutations(range(len(points))), 0, 5040, 251):
        assert torch.allclose(process.log_prob(points[torch.tensor(order)]), found, atol=1e-12, rtol=0)


def test_other_units_give_the_same_weights():
    """Locations and marks in minutes and in seconds: densities differ by 60² a point, ratios not at all."""
    other = torch.tensor([[0.3, 0.2], [0.01, 0.4]], dtype=torch.float64)
    logs = {}
    for unit in (1.0, 60.0):
        cells = Cells(unit * torch.tensor(LOWER).double(), unit * torch.tensor(UPPER).double())
        points = flat([[(c, k, unit * at, unit * m) for c, k, at, m in row] for row in SOME])
        p = MarkedPoisson(MEANS, cells, TiltedMarks(unit=unit))
        q = MarkedPoisson(other, cells, TiltedMarks(tilt=-TILT, unit=unit))
        logs[unit] = p.log_prob(points), q.log_prob(points)
    numbers = torch.tensor([len(row) for row in SOME], dtype=torch.float64)
    assert torch.allclose(logs[1.0][0] - logs[60.0][0], 2 * numbers * math.log(60.0), atol=1e-12)
    assert torch.allclose(logs[1.0][0] - logs[1.0][1], logs[60.0][0] - logs[60.0][1], atol=1e-12, rtol=0)


def test_points_outside_their_cell_or_the_marks_support_have_no_density():
    rows = [[(0, 0, 2.5, 0.5)], [(1, 0, 1.9, 0.5)], [(0, 0, 1.0, 1.5)], [(0, 0, 1.0, 0.5)]]
    assert torch.isneginf(tiny().log_prob(flat(rows))).tolist() == [True, True, True, False]
    nowhere = MarkedPoisson(torch.tensor([[0.0, 1.0], [1.0, 1.0]]).double(), tiny().cells, TiltedMarks())
    assert torch.isneginf(nowhere.log_prob(flat([[(0, 0, 1.0, 0.5)]]))).all()


def close(seen: np.ndarray, expected: np.ndarray, error: np.ndarray) -> bool:
    """Within 4.5 standard errors everywhere."""
    return bool((np.abs(seen - expected) <= 4.5 * error + 1e-12).all())


def same_law(one: np.ndarray, other: np.ndarray) -> bool:
    """Kolmogorov and Smirnov's test of two samples at 1e-3."""
    return stats.ks_2samp(one, other).pvalue > 1e-3  # pyright: ignore[reportAttributeAccessIssue]


def table(points: Points) -> np.ndarray:
    """Mean number of points a set by cell and kind."""
    return np.bincount((2 * points.cell + points.kind).numpy(), minlength=4).reshape(2, 2) / points.batch


def test_draws_have_the_counts_places_and_marks_of_the_process():
    process = tiny(5.0)
    points = process.sample(NUMBERS, seed=1)
    numbers = points.counts(2).sum(-1).numpy()
    values = np.arange(int(numbers.max()) + 1)
    expected = stats.poisson.pmf(values, 5 * float(MEANS.sum()))
    assert close(np.bincount(numbers.astype(int)) / SETS, expected, np.sqrt(expected * (1 - expected) / SETS))
    assert close(table(points), 5 * MEANS.numpy(), np.sqrt(5 * MEANS.numpy() / SETS))
    place = (points.location - process.cells.lower[points.cell]) / (process.cells.upper - process.cells.lower)[
        points.cell
    ]
    assert stats.kstest(place[:, 0].numpy(), "uniform").pvalue > 1e-3
    assert isinstance(process.marks, TiltedMarks)
    unit = process.marks.cdf(points.marks[:, 0], TILT[points.cell, points.kind])
    assert stats.kstest(unit.numpy(), "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(place[:, 0].numpy(), unit.numpy())[0, 1]) < 4.5 / len(points) ** 0.5


def test_factors_and_multipliers_scale_the_means_of_their_own_set():
    factor = torch.tensor([0.5, 2.0]).double().repeat(SETS // 2)
    kappa = torch.tensor([[1.0, 4.0], [3.0, 1.0]]).double().repeat(SETS // 2, 1)
    process = tiny().at(factor=factor, multipliers=kappa)
    points = process.sample(NUMBERS, seed=2)
    for row in range(2):
        own = points[points.owner % 2 == row]
        means = (MEANS * factor[row] * kappa[row]).numpy()
        assert close(2 * table(own), means, np.sqrt(2 * means / SETS))
        alone = MarkedPoisson(torch.from_numpy(means), process.cells, process.marks)
        assert torch.allclose(process.log_prob(points)[row::2], alone.log_prob(points)[row::2], atol=1e-12)
    batched = MarkedPoisson((MEANS * factor[:, None, None] * kappa[:, None]), process.cells, process.marks)
    assert torch.allclose(batched.log_prob(points), process.log_prob(points), atol=1e-12)
    again = batched.sample(NUMBERS, seed=2)
    assert torch.equal(again.cell, points.cell) and torch.equal(again.marks, points.marks)
    assert torch.allclose(process.expected, batched.expected) and torch.allclose(process.total, batched.total)


def flow_marks() -> DensityMarks:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        density = CouplingFlow(2, 3, hidden=(8, 8))
    return DensityMarks(density, normal(1, torch.arange(12), 1).reshape(2, 2, 3), 2)


def test_marks_from_a_conditional_density_carry_its_density():
    marks = flow_marks()
    process = MarkedPoisson(MEANS, tiny().cells, marks)
    points = process.at(multipliers=torch.full((1, 2), 4.0).double()).sample(torch.arange(300), seed=3)
    assert points.marks.shape == (len(points), 2)
    with torch.no_grad():
        given = marks.density(marks.contexts[points.cell, points.kind]).log_prob(points.marks)
    bare = MarkedPoisson(MEANS, process.cells, NoMarks())
    places = replace(points, marks=points.marks[:, :0])
    direct = bare.log_prob(places).index_add(0, points.owner, given)
    assert torch.allclose(process.log_prob(points), direct, atol=1e-9)


@pytest.mark.parametrize(
    "make", [tiny, lambda: MarkedPoisson(MEANS, tiny().cells, flow_marks())], ids=["tilted", "flow"]
)
def test_a_set_is_the_same_to_the_last_bit_in_a_request_of_any_size(make):
    process = make().at(multipliers=torch.full((1, 2), 10.0).double())
    everything = process.sample(torch.arange(2000), seed=4)
    few = process.sample(torch.arange(100, 117), seed=4)
    own = everything[(everything.owner >= 100) & (everything.owner < 117)]
    assert len(few) > 30 and torch.equal(few.owner + 100, own.owner)
    for name in ("cell", "kind", "location", "marks"):
        assert torch.equal(getattr(few, name), getattr(own, name))
    assert torch.equal(process.log_prob(few), process.log_prob(everything)[100:117])


def test_single_precision_works():
    process = tiny(5.0, torch.float32)
    points = process.sample(torch.arange(500), seed=5)
    exact = tiny(5.0)
    assert points.location.dtype == points.marks.dtype == process.log_prob(points).dtype == torch.float32
    same = replace(points, location=points.location.double(), marks=points.marks.double())
    inside = torch.isfinite(process.log_prob(points))
    assert inside.all()
    assert torch.allclose(process.log_prob(points).double(), exact.log_prob(same), atol=1e-4)


def test_truncated_at_zero_no_set_is_empty_and_the_counts_law_is_the_closed_form():
    points = tiny().sample(NUMBERS, seed=6, at_least_one=True)
    numbers = points.counts(2).sum(-1).numpy().astype(int)
    total = float(MEANS.sum())
    expected = stats.poisson.pmf(np.arange(numbers.max() + 1), total) / -math.expm1(-total)
    expected[0] = 0.0
    seen = np.bincount(numbers) / SETS
    assert seen[0] == 0 and close(seen, expected, np.sqrt(expected * (1 - expected) / SETS))


@pytest.mark.parametrize("mean", [1e-12, 1e4])
def test_means_of_any_size_are_sound(mean):
    process = tiny(mean / float(MEANS.sum()))
    points = process.sample(torch.arange(200), seed=7, at_least_one=True)
    numbers = points.counts(2).sum(-1)
    error = math.sqrt(mean / 200)
    assert abs(float(numbers.mean()) - max(mean, 1.0)) < 4.5 * error + 1e-9
    assert torch.isfinite(process.log_prob(points)).all()
    direct = float(numbers[0]) * math.log(mean) - mean  # places and marks apart
    rest = tiny(1 / float(MEANS.sum())).log_prob(points)[0] + 1
    assert float(process.log_prob(points)[0]) == pytest.approx(direct + float(rest), rel=1e-11)


def test_the_parts_inside_and_outside_a_set_are_independent_poisson_processes():
    process = tiny(5.0)
    region = half(process)
    points = process.sample(NUMBERS, seed=8)
    inside = region.contains(points)
    parts = [process.restricted(region, inside=side) for side in (True, False)]
    counts = [points.counts(2, inside == side).sum(-1).numpy() for side in (True, False)]
    for part, side, number in zip(parts, (True, False), counts, strict=True):
        means = part.means.numpy()
        assert close(table(points[inside == side]), means, np.sqrt(means / SETS))
        assert abs(number.var() / number.mean() - 1) < 4.5 * math.sqrt(2 / SETS)
        own = points[inside == side]
        drawn = part.sample(NUMBERS, seed=9)
        assert (region.contains(drawn) == side).all() and (drawn.inside == side).all()
        assert close(table(drawn), means, np.sqrt(means / SETS))
        assert same_law(drawn.marks[:, 0].numpy(), own.marks[:, 0].numpy())
    assert abs(np.corrcoef(np.stack(counts))[0, 1]) < 4.5 / math.sqrt(SETS)
    both = sum(part.log_prob(points[inside == side]) for part, side in zip(parts, (True, False), strict=True))
    assert torch.allclose(both, process.log_prob(points), atol=1e-11)  # pyright: ignore[reportArgumentType]
    wrong = parts[0].log_prob(points)
    assert torch.isneginf(wrong).tolist() == (counts[1] > 0).tolist()


def test_thinning_by_a_coin_multiplies_the_means():
    keep = torch.tensor([[0.2, 1.0], [0.0, 0.7]]).double()
    thinned = tiny(5.0).thinned(keep)
    assert torch.allclose(thinned.means, 5 * MEANS * keep)
    points = thinned.sample(NUMBERS, seed=10)
    assert not ((points.cell == 1) & (points.kind == 0)).any()
    with pytest.raises(DensityError, match="0 to 1"):
        tiny().thinned(keep + 0.5)


def test_processes_laid_over_each_other_add_their_intensities():
    one, other = tiny(5.0), MarkedPoisson(2 * MEANS.flip(0), tiny().cells, TiltedMarks(tilt=-TILT))
    whole = Superposition((one, other))
    points = whole.sample(NUMBERS, seed=11)
    means = (one.means + other.means).numpy()
    assert close(table(points), means, np.sqrt(means / SETS))
    apart = [part.sample(NUMBERS, seed=seed) for seed, part in ((12, one), (13, other))]
    for cell, kind in itertools.product(range(2), range(2)):
        marks = [p.marks[(p.cell == cell) & (p.kind == kind), 0].numpy() for p in (points, *apart)]
        assert same_law(marks[0], np.concatenate(marks[1:]))
    single = Superposition((tiny(2.0), tiny(3.0)))
    assert torch.allclose(single.log_prob(points), one.log_prob(points), atol=1e-11)
    region = half(one)
    parts = Superposition(tuple(one.restricted(region, inside=side) for side in (True, False)))
    assert torch.allclose(parts.log_prob(points), one.log_prob(points), atol=1e-11)
    cut = mass_by_number(
        Superposition((tiny(), other.thinned(torch.full((2, 2), 0.1, dtype=torch.float64)))).log_prob, largest=3
    )
    assert sum(cut) + float(stats.poisson.sf(3, 0.35 + 0.07)) == pytest.approx(1.0, abs=1e-12)


def test_a_set_that_takes_cells_whole_leaves_the_marks_alone():
    process = tiny()
    region = CellRegion(process.marks, torch.tensor([[True, False], [False, True]]))
    assert float(process.restricted(region).total) == pytest.approx(float(MEANS[0, 0] + MEANS[1, 1]))
    everything = process.restricted(CellRegion.everything(process.marks, process.means))
    assert torch.equal(everything.log_prob(flat(SOME)), process.log_prob(flat(SOME)))


def test_processes_that_are_none_are_refused_with_all_their_faults():
    cells, marks = tiny().cells, TiltedMarks()
    bad = torch.tensor([[0.1, float("nan")], [-1.0, 0.1], [0.1, 0.1]]).double()
    with pytest.raises(DensityError) as caught:
        MarkedPoisson(bad, cells, marks, factor=torch.zeros(3).double(), multipliers=torch.ones(2, 5).double())
    assert len(caught.value.problems) == 5
    ones = torch.ones(2, 2, dtype=torch.float64)
    with pytest.raises(DensityError) as caught:
        MarkedPoisson(ones[0], cells, marks, factor=ones, multipliers=ones[0])
    assert "means have shape (2,), expected (cell, kind) or (batch, cell, kind)" in str(caught.value)
    assert "factor has shape (2, 2), expected (batch,)" in str(caught.value)
    assert "multipliers have shape (2,), expected (batch, kind)" in str(caught.value)
    with pytest.raises(DensityError, match=r"marks of shape \(1, 2\) for one point, expected \(1, 3\)"):
        DensityMarks(flow_marks().density, flow_marks().contexts, 3)
    with pytest.raises(DensityError, match="1 cells have no volume"):
        Cells(torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [1.0]]))
    with pytest.raises(DensityError, match="nan or infinite"):
        Cells(torch.tensor([[0.0]]), torch.tensor([[float("inf")]]))
    with pytest.raises(DensityError, match=r"expected one of these"):
        Superposition((tiny(), MarkedPoisson(MEANS, cells, NoMarks())))
    with pytest.raises(DensityError, match="shape"):
        tiny().restricted(CellRegion(marks, torch.ones(3, 2, dtype=torch.bool)))


def test_points_that_do_not_fit_are_refused_with_all_their_faults():
    points = flat([[(0, 0, 1.0, 0.5), (7, 3, float("nan"), float("inf"))]])
    with pytest.raises(DensityError) as caught:
        tiny().log_prob(points)
    assert [problem.split()[0] for problem in caught.value.problems] == ["cell", "kind", "location", "marks"]
    two = tiny().at(factor=torch.ones(2).double())
    with pytest.raises(DensityError, match="got 1 sets, expected 2"):
        two.log_prob(flat([[]]))
    with pytest.raises(DensityError, match="got a request for 5 sets, expected 2"):
        two.sample(torch.arange(5), seed=1)
    with pytest.raises(DensityError, match=r"1e\+09"):
        tiny(1e12).sample(torch.arange(2), seed=1)


def test_marks_whose_density_is_not_exact_or_nan_are_refused():
    class Bound(CouplingFlow):
        def forward(self, context):
            given = super().forward(context)
            given.log_prob_is_exact = False
            return given

    with pytest.raises(DensityError, match="not exact"):
        DensityMarks(Bound(2, 3), torch.zeros(2, 2, 3).double(), 2)

    class Faulty(TiltedMarks):
        def log_terms(self, marks, cell, kind):
            return (marks[:, 0] * float("nan"),)

    with pytest.raises(DensityError, match="nan"):
        MarkedPoisson(MEANS, tiny().cells, Faulty()).log_prob(flat(SOME))
