"""Other frequencies from one mixture of sets: bounded weights, exact answers, and densities that sum to one."""

import itertools
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from scenariogen.errors import ConditionError, DensityError, FrequencyError
from scenariogen.sampling.conditioned import ConditionedPoisson
from scenariogen.sampling.frequency import (
    LARGEST_RATIO,
    SMALLEST_SHARE,
    FrequencyMixture,
    best_shares,
    frequency_grid,
    log_frequency_ratio,
)
from scenariogen.sampling.frequency_sets import FrequencySets
from scenariogen.sampling.quantifier import Quantifier
from scenariogen.sampling.regions import CellRegion
from tests.sampling.poisson_by_hand import BelowCut, TiltedMarks, flat, half, mass_by_number, tiny

ROWS = ((0.5, 0.5), (4.0, 4.0), (0.5, 1.0), (4.0, 1.0), (1.0, 0.5), (1.0, 4.0))
"""All kinds together at both ends of the range, and each kind alone."""
ALPHAS = (0.3, 0.3, 0.1, 0.1, 0.1, 0.1)
SETS = 30_000
NUMBERS = torch.arange(SETS)
CONDITIONS = ["truncated", "any", "all", "none", "count=2", "given-one"]


def mixture_of_sets(condition: str, scale: float = 3.0) -> FrequencySets:
    process = tiny(scale)
    if condition == "truncated":
        return FrequencySets(process, FrequencyMixture(ALPHAS, ROWS))
    return FrequencySets(process, FrequencyMixture(ALPHAS, ROWS, Quantifier.parse(condition)), half(process))


def at(sets: FrequencySets, kappa) -> ConditionedPoisson:
    """The target at κ, built directly."""
    process = sets.process.at(multipliers=torch.tensor([kappa], dtype=torch.float64))
    return ConditionedPoisson(process, sets.set_a, sets.mixture.quantifier)


def vector(kappa) -> torch.Tensor:
    return torch.tensor(kappa, dtype=torch.float64)


@pytest.fixture(scope="module")
def drawn():
    """Draws of every mixture, made once."""
    return {name: mixture_of_sets(name).draw(NUMBERS, seed=31) for name in CONDITIONS}


def test_the_ratio_of_two_frequencies_needs_counts_and_means_only():
    process = tiny()
    points = flat([[], [(0, 0, 1.0, 0.4), (1, 1, 3.0, 0.2), (1, 1, 3.5, 0.2)], [(1, 0, 2.5, 0.9)]])
    kappa = vector((2.0, 0.3))
    direct = process.at(multipliers=kappa[None]).log_prob(points) - process.log_prob(points)
    counts, expected = points.counts(2), process.expected.expand(3, -1)
    assert log_frequency_ratio(kappa, counts, expected).tolist() == pytest.approx(direct.tolist(), abs=1e-13)
    from_numpy = log_frequency_ratio(kappa.numpy(), counts.numpy(), expected.numpy())
    assert from_numpy == pytest.approx(direct.numpy(), abs=1e-13)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_weights_are_never_above_one_over_alpha_with_up_to_six_points(condition):
    """Every set of up to six points: a weight depends on how many of each kind lie in A and outside, nothing more."""
    sets = mixture_of_sets(condition)
    spots = [(0, 0, 1.0, 0.1), (0, 0, 1.0, 0.8), (1, 1, 3.0, 0.5), (1, 1, 3.0, 0.95)]
    rows = [
        [spots[i] for i in chosen] for n in range(7) for chosen in itertools.combinations_with_replacement(range(4), n)
    ]
    points = flat(rows)
    meets = torch.isfinite(sets.log_prob(points)).nonzero().flatten().tolist()
    points = flat([rows[index] for index in meets])
    assert len(meets) > 10 and max(len(rows[index]) for index in meets) == 6
    for alpha, row in zip(ALPHAS, ROWS, strict=True):
        log_w = sets.log_weight(points, vector(row))
        assert float(log_w.max()) <= -math.log(alpha) + 1e-12
        given = at(sets, row).log_prob(points)
        assert torch.allclose(log_w, given - sets.log_prob(points), atol=1e-11)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_the_density_of_the_mixture_sums_to_one(condition):
    sets = mixture_of_sets(condition, scale=0.1)
    mass = mass_by_number(sets.log_prob, cuts=((0.4,), (0.9,)), largest=3)
    parts = [mass_by_number(at(sets, row).log_prob, cuts=((0.4,), (0.9,)), largest=3) for row in ROWS]
    assert mass == pytest.approx(np.array(ALPHAS) @ np.array(parts), abs=1e-12)
    assert 0.99 < sum(mass) < 1 + 1e-12


@pytest.mark.parametrize("condition", CONDITIONS)
def test_weights_average_one_under_the_mixture(condition, drawn):
    sets, draws = mixture_of_sets(condition), drawn[condition]
    assert torch.isfinite(draws.log_prob).all()
    for kappa in (*ROWS, (1.0, 1.0), (0.7, 3.0)):
        w = torch.exp(sets.log_weight(draws.points, vector(kappa)))
        assert abs(float(w.mean()) - 1) < 3 * float(w.std()) / math.sqrt(SETS)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_reweighted_draws_agree_with_direct_ones_at_both_ends_for_each_kind(condition, drawn):
    sets, points = mixture_of_sets(condition), drawn[condition].points
    for row in ROWS:
        direct = at(sets, row).sample(NUMBERS[:12_000], seed=32)
        w = torch.exp(sets.log_weight(points, vector(row)))[:, None]
        wanted, found = statistics(direct), w * statistics(points)
        error = torch.sqrt(wanted.var(0) / len(wanted) + found.var(0) / SETS)
        assert (torch.abs(wanted.mean(0) - found.mean(0)) <= 4.5 * error + 1e-9).all()


def statistics(points) -> torch.Tensor:
    """By kind: the number of points, whether there is one, their places and marks."""
    counts = points.counts(2)
    sums = torch.zeros((points.batch, 2, 2), dtype=torch.float64)
    sums.index_put_((points.owner, points.kind), torch.cat([points.location, points.marks], 1), accumulate=True)
    return torch.cat([counts, (counts > 0).double(), (counts == 1).double(), sums.flatten(1)], dim=1)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_numpy_arrays_give_the_same_weights(condition, drawn):
    sets, points = mixture_of_sets(condition), drawn[condition].points
    given = at(sets, (1.0, 1.0))
    means = {"expected": sets.process, "inside": given.inside, "outside": given.outside}
    arrays = {name: each.expected.expand(SETS, -1).numpy() for name, each in means.items()}
    expected = sets.log_weight(points, vector(ROWS[1])).numpy()
    found = sets.mixture.log_weight(np.array(ROWS[1]), points.counts(2).numpy(), **arrays)
    assert isinstance(found, np.ndarray) and found == pytest.approx(expected, abs=1e-12)
    del arrays["outside"]  # then it is the difference of the other two
    found = sets.mixture.log_weight(np.array(ROWS[1]), points.counts(2).numpy(), **arrays)
    assert found == pytest.approx(expected, abs=1e-12)


def test_reweighted_counts_have_the_closed_form_at_both_ends(drawn):
    sets, points = mixture_of_sets("truncated"), drawn["truncated"].points
    assert (points.counts(2).sum(-1) >= 1).all()
    for row in ROWS:
        means = sets.process.expected[0] * vector(row)
        w = torch.exp(sets.log_weight(points, vector(row)))[:, None] * points.counts(2)
        closed = means / -math.expm1(-float(means.sum()))
        assert (torch.abs(w.mean(0) - closed) < 4.5 * w.std(0) / math.sqrt(SETS)).all()


def test_one_coin_decides_for_a_whole_set(drawn):
    """Under κ = (4, 4) both kinds are frequent together; with a coin a point the two numbers would be independent."""
    sets, draws = mixture_of_sets("truncated"), drawn["truncated"]
    seen = np.bincount(draws.component.numpy(), minlength=6) / SETS
    alphas = np.array(ALPHAS)
    assert (np.abs(seen - alphas) < 4.5 * np.sqrt(alphas * (1 - alphas) / SETS)).all()
    for component, row in enumerate(ROWS):
        own = draws.points.counts(2)[draws.component == component]
        means = sets.process.expected[0] * vector(row)
        closed = means / -math.expm1(-float(means.sum()))
        assert (torch.abs(own.mean(0) - closed) < 4.5 * own.std(0) / math.sqrt(len(own))).all()


def test_a_set_is_the_same_to_the_last_bit_in_a_request_of_any_size(drawn):
    few = mixture_of_sets("any").draw(torch.arange(50, 60), seed=31)
    assert torch.equal(few.log_prob, drawn["any"].log_prob[50:60])
    assert few.component is not None
    assert torch.equal(few.log_condition, drawn["any"].log_condition[50:60])
    assert torch.equal(few.component, drawn["any"].component[50:60])


@pytest.mark.parametrize("condition", CONDITIONS)
def test_single_precision_works(condition):
    exact, process = mixture_of_sets(condition), tiny(3.0, torch.float32)
    region = None if condition == "truncated" else half(process)
    sets = FrequencySets(process, exact.mixture, region)
    draws = sets.draw(torch.arange(200), seed=34)
    points = draws.points
    double = replace(points, location=points.location.double(), marks=points.marks.double())
    assert points.marks.dtype == draws.log_prob.dtype == torch.float32
    assert torch.allclose(draws.log_prob.double(), exact.log_prob(double), atol=1e-4)
    kappa = vector(ROWS[1])
    single = sets.log_weight(points, kappa.float())
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), exact.log_weight(double, kappa), atol=1e-4)


def test_a_factor_of_each_set_enters_density_and_weights():
    factor = torch.linspace(0.5, 2.0, 400, dtype=torch.float64)
    sets = FrequencySets(tiny(3.0).at(factor=factor), FrequencyMixture(ALPHAS, ROWS))
    draws = sets.draw(torch.arange(400), seed=33)
    for index in (0, 399):
        alone = FrequencySets(tiny(3.0 * float(factor[index])), sets.mixture)
        one = replace(draws.points[draws.points.owner == index], batch=1)
        one = replace(one, owner=torch.zeros_like(one.owner))
        assert float(alone.log_prob(one)[0]) == pytest.approx(float(draws.log_prob[index]), abs=1e-12)
    assert float(sets.log_weight(draws.points, vector(ROWS[1])).max()) <= -math.log(ALPHAS[1]) + 1e-12


def test_multipliers_outside_the_range_are_refused():
    sets = mixture_of_sets("truncated")
    points = flat([[(0, 0, 1.0, 0.4)]])
    for kappa in ((0.4, 1.0), (1.0, 4.1), (0.0, 1.0), (float("nan"), 1.0)):
        assert not sets.mixture.covers(vector(kappa)) and not sets.mixture.covers(np.array(kappa))
        with pytest.raises(FrequencyError, match="outside the range"):
            sets.log_weight(points, vector(kappa))
    assert sets.mixture.covers(vector((4.0, 0.5)))


def test_several_kinds_further_up_together_than_any_row_are_not_covered():
    # Inside the box of the rows, and log w grows without end along n = (k, k).
    mixture = FrequencyMixture((0.5, 0.5), ((1.0, 3.5), (3.5, 1.0)))
    assert not mixture.covers(np.array([3.5, 3.5]))
    assert mixture.covers(np.array([1.8, 1.8])) and mixture.covers(np.array([3.5, 1.0]))
    with pytest.raises(FrequencyError, match="or have several kinds further up together than any of its rows"):
        mixture.log_weight(np.array([3.5, 3.5]), np.ones((1, 2)), expected=np.ones((1, 2)), inside=np.ones((1, 2)))


@pytest.mark.parametrize("kappa", [(1.0, 3.5), (3.5, 1.0), (1.8, 1.8), (1.0, 1.0), (2.5, 1.2), (1.3, 2.0)])
@pytest.mark.parametrize("mean", [0.3, 5.0])
def test_no_weight_exceeds_its_bound_which_is_reached_nearly_at_the_rows(kappa, mean):
    mixture = FrequencyMixture((0.3, 0.7), ((1.0, 3.5), (3.5, 1.0)))
    counts = np.stack(np.meshgrid(np.arange(60.0), np.arange(60.0)), axis=-1).reshape(-1, 2)[1:]
    expected = np.full((len(counts), 2), mean)
    log_w = mixture.log_weight(np.array(kappa), counts, expected=expected, inside=expected)
    bound = mixture.log_weight_bound(np.array(kappa), expected[:1], expected[:1])[0]
    assert log_w.max() <= bound + 1e-7  # shares come from a linear programme, to about 1e-8
    if kappa in mixture.multipliers:
        assert bound == pytest.approx(-math.log(mixture.alphas[mixture.multipliers.index(kappa)]), abs=1e-7)


def test_bounds_hold_at_every_row_and_between_for_many_conditions():
    kappas = np.geomspace(1.0, 300.0, 6)
    mixture = FrequencyMixture((0.32, 0.05, 0.05, 0.05, 0.05, 0.48), tuple((each,) * 3 for each in kappas.tolist()))
    scale = np.geomspace(0.5, 2.0, 40)[:, None] * np.array([[1e-3, 2e-3, 3e-3]])
    counts = np.concatenate([np.eye(3) * n for n in range(1, 60)])
    for kappa in (*kappas, 2.0, 30.0, 60.0, 200.0):
        bound = mixture.log_weight_bound(np.full(3, kappa), scale, scale)
        assert np.isfinite(bound).all()
        for row, most in zip(scale, bound, strict=True):
            expected = np.tile(row, (len(counts), 1))
            log_w = mixture.log_weight(np.full(3, kappa), counts, expected=expected, inside=expected)
            assert log_w.max() <= most + 1e-6
            assert most < log_w.max() + 2.5  # not far above it


def test_a_condition_of_probability_zero_and_a_kind_that_never_comes():
    mixture = FrequencyMixture((1.0,), ((1.0,),))
    one, never = np.ones((1, 1)), np.zeros((1, 1))
    for found in (
        lambda: mixture.log_density(one, expected=one, inside=never),
        lambda: mixture.log_weight(np.ones(1), one, expected=one, inside=never),
        lambda: mixture.log_weight_bound(np.ones(1), one, never),
    ):
        with pytest.raises(ConditionError, match="has probability 0 in 1 of 1 rows"):
            found()
    for kind in (np.array, vector):
        ratio = log_frequency_ratio(kind([0.0, 1.0]), kind([[0.0, 2.0], [1.0, 0.0]]), kind([[1.0, 1.0]] * 2))
        assert [float(each) for each in ratio] == [1.0, -math.inf]
    with pytest.raises(FrequencyError, match=r"got multipliers of shape \(2,\), expected one for each of 1 kinds"):
        mixture.covers(np.ones(2))
    with pytest.raises(FrequencyError, match=r"got multipliers of shape \(2,\), expected one for each of 1 kinds"):
        mixture.log_weight(np.ones(2), np.ones((1, 2)), expected=np.ones((1, 2)), inside=np.ones((1, 2)))


def test_sets_without_a_weight_are_refused():
    with pytest.raises(DensityError, match="1 sets do not meet the condition any"):
        mixture_of_sets("truncated").log_weight(flat([[], [(0, 0, 1.0, 0.4)]]), vector((1.0, 1.0)))


def test_degenerate_mixtures_are_refused_with_all_their_faults():
    with pytest.raises(DensityError) as caught:
        FrequencyMixture((0.5, 0.6, 0.0), ((1.0, -1.0), (1.0, 1.0)))
    assert len(caught.value.problems) == 3
    for rows in (((1.0,), (1.0, 2.0)), ((1.0, float("inf")), (1.0, 1.0))):
        with pytest.raises(DensityError, match="multipliers"):
            FrequencyMixture((0.5, 0.5), rows)
    with pytest.raises(DensityError, match="at least 1"):
        FrequencyMixture((), ())
    with pytest.raises(DensityError, match="multipliers for 1 kinds, expected 2"):
        FrequencySets(tiny(), FrequencyMixture((1.0,), ((1.0,),)))
    with pytest.raises(ConditionError, match="probability zero"):
        FrequencySets(tiny(), FrequencyMixture(ALPHAS, ROWS), BelowCut(TiltedMarks(), (0.0, 0.0)))
    whole = CellRegion.everything(TiltedMarks(), tiny().means)
    with pytest.raises(ConditionError, match="probability zero"):
        FrequencySets(tiny(), FrequencyMixture(ALPHAS, ROWS, Quantifier.parse("none")), whole)


def test_a_grid_holds_both_ends_and_small_steps():
    grid = frequency_grid([2.0, 0.1, 30])
    assert grid[0] == pytest.approx(0.1) and grid[-1] == pytest.approx(30.0)
    assert max(b / a for a, b in pairwise(grid)) <= LARGEST_RATIO
    assert frequency_grid([2]) == (2.0,)
    for wrong in ([], [0.0], [-1.0, 2.0], [float("nan")], [1e-9, 1e9]):
        with pytest.raises(FrequencyError):
            frequency_grid(wrong)


def test_best_shares_raise_the_worst_effective_share():
    """Three Poisson counts: two means that are nearly the same stand in for one another, the third gets their share."""
    means = np.array([1.0, 1.05, 9.0])
    n = np.arange(60)
    log_factorial = np.array([math.lgamma(k + 1) for k in n])
    pmf = np.exp(n[:, None] * np.log(means) - means - log_factorial[:, None])
    pilot = np.random.default_rng(1).choice(n, 8000, p=pmf.mean(axis=1) / pmf.mean(axis=1).sum())
    shares = np.array(best_shares(pmf[pilot], pmf[pilot]))
    assert shares.sum() == pytest.approx(1.0) and shares.min() >= SMALLEST_SHARE - 1e-12
    worst = [1 / max((pmf**2 / (pmf @ alphas)[:, None]).sum(axis=0)) for alphas in (np.full(3, 1 / 3), shares)]
    assert worst[1] > 1.1 * worst[0]
    assert best_shares(pmf[pilot][:, :1], pmf[pilot][:, :1]) == (1.0,)
    with pytest.raises(DensityError, match="got 25 components, expected at most 20"):
        best_shares(np.ones((10, 25)), np.ones((10, 25)))
