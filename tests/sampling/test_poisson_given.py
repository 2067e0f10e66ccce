"""Conditions on a Poisson process: every quantifier against brute-force filtering, and against quadrature."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from scenariogen.errors import ConditionError, DensityError
from scenariogen.randomness import uniform
from scenariogen.sampling.conditioned import ConditionedPoisson, draw_beside
from scenariogen.sampling.points import Points
from scenariogen.sampling.quantifier import Mode, Quantifier
from scenariogen.sampling.regions import CellRegion
from tests.sampling.poisson_by_hand import BelowCut, TiltedMarks, flat, half, mass_by_number, tiny

SETS, DRAWS, SCALE = 80_000, 12_000, 5.0
ALL = ["any", "all", "none", "count=1", "count=2", "given-one"]
KAPPA = torch.tensor([[1.5, 0.6]], dtype=torch.float64)


def process():
    """About 1.6 points, of which about half lie in A; the kinds have multipliers of their own."""
    return tiny(SCALE).at(multipliers=KAPPA)


@pytest.fixture(scope="module")
def unconditional():
    return process().sample(torch.arange(SETS), seed=21)


def numbers(points: Points, region) -> tuple[np.ndarray, np.ndarray]:
    inside = points.counts(2, region.contains(points)).sum(-1)
    return inside.numpy(), (points.counts(2).sum(-1) - inside).numpy()


def per_set(points: Points, region) -> np.ndarray:
    """Functions of a set: its numbers in A and outside, both again as indicators, places, kinds and marks in both."""
    inside, outside = numbers(points, region)
    in_a = region.contains(points)
    columns = [inside, outside, inside == 1, inside == 2, outside == 0, outside == 1, inside * outside]
    for side in (in_a, ~in_a):
        for value in (points.cell == 0, points.kind == 0, points.location[:, 0], points.marks[:, 0]):
            chosen = torch.where(side, value.double(), 0.0)
            columns.append(torch.zeros(points.batch).double().index_add(0, points.owner, chosen).numpy())
    return np.stack([np.asarray(column, dtype=float) for column in columns], axis=1)


@pytest.mark.parametrize("text", ALL)
def test_conditional_draws_are_what_filtering_leaves(text, unconditional):
    """For one given point filtering is weighing by the number in A: each of them may have been the given one."""
    quantifier, region = Quantifier.parse(text), half(process())
    given = ConditionedPoisson(process(), region, quantifier)
    points = given.sample(torch.arange(DRAWS), seed=22)
    inside, outside = numbers(unconditional, region)
    if quantifier.mode is Mode.GIVEN_ONE:
        weight = inside / float(given.inside.total)
    else:
        holds = {
            "any": inside >= 1, "all": (inside >= 1) & (outside == 0), "none": (inside == 0) & (outside >= 1)
        }.get(text, inside == quantifier.number)  # fmt: skip
        weight = holds / holds.mean()
    wanted, drawn = per_set(unconditional, region), per_set(points, region)
    terms = weight[:, None] * (wanted - (weight[:, None] * wanted).mean(0))
    error = np.sqrt(terms.var(0) / SETS + drawn.var(0) / DRAWS)
    assert (np.abs((weight[:, None] * wanted).mean(0) - drawn.mean(0)) <= 4.5 * error + 1e-9).all()
    assert torch.isfinite(given.log_prob(points)).all()
    belongs = region.contains(points)
    assert belongs[points.inside].all()
    if quantifier.mode is Mode.GIVEN_ONE:
        assert (points.counts(2, points.inside).sum(-1) == 1).all() and belongs[~points.inside].any()
    else:
        assert torch.equal(belongs, points.inside)


@pytest.mark.parametrize("text", ALL[:-1])
def test_the_probability_is_the_share_that_filtering_keeps(text, unconditional):
    quantifier, region = Quantifier.parse(text), half(process())
    probability = math.exp(float(ConditionedPoisson(process(), region, quantifier).log_condition[0]))
    inside, outside = (torch.from_numpy(each) for each in numbers(unconditional, region))
    share = float(quantifier.holds(inside, outside).double().mean())
    assert abs(share - probability) < 4.5 * math.sqrt(probability * (1 - probability) / SETS)


@pytest.mark.parametrize("text", ALL)
def test_conditional_densities_sum_to_one_over_all_numbers_of_points(text):
    """By quadrature; sets of more than four points are known to hold less than 1e-4 of the mass here."""
    base = tiny(0.5)
    given = ConditionedPoisson(base, half(base), Quantifier.parse(text))
    found = mass_by_number(given.log_prob, cuts=((0.4,), (0.9,)), largest=3)
    a, b = float(given.inside.total), float(given.outside.total)
    n = np.arange(4)
    pmf = {side: stats.poisson.pmf(n, mean) for side, mean in (("a", a), ("b", b))}
    joint = np.array([[pmf["a"][i] * pmf["b"][j] for j in n] for i in n])
    i, j = np.meshgrid(n, n, indexing="ij")
    if text == "given-one":
        mass = joint * i / a
    else:
        counts = torch.from_numpy(i.ravel()).double(), torch.from_numpy(j.ravel()).double()
        mass = joint * Quantifier.parse(text).holds(*counts).numpy().reshape(4, 4)
        mass = mass / math.exp(float(given.log_condition[0]))
    assert found == pytest.approx([mass[i + j == k].sum() for k in n], abs=1e-12)
    assert 0.99 < sum(found) < 1 + 1e-12 if text != "count=2" else 0.9 < sum(found) < 1 + 1e-12


def test_cells_and_kinds_come_from_their_posterior_not_from_the_prior():
    given = ConditionedPoisson(process(), half(process()))
    posterior = given.posterior
    assert posterior.shape == (1, 2, 2) and float(posterior.sum()) == pytest.approx(1.0)
    points = given.sample(torch.arange(SETS), seed=23)
    first = points[points.inside]
    seen = np.bincount((2 * first.cell + first.kind).numpy(), minlength=4)
    prior = (process().means * KAPPA).numpy().ravel()
    assert stats.chisquare(seen, posterior.numpy().ravel() * seen.sum()).pvalue > 1e-3
    assert stats.chisquare(seen, prior / prior.sum() * seen.sum()).pvalue < 1e-12


def test_a_set_is_the_same_to_the_last_bit_in_a_request_of_any_size():
    given = ConditionedPoisson(process(), half(process()), Quantifier.parse("given-one"))
    everything, few = given.sample(torch.arange(3000), seed=24), given.sample(torch.arange(100, 117), seed=24)
    own = everything[(everything.owner >= 100) & (everything.owner < 117)]
    for name in ("cell", "kind", "location", "marks", "inside"):
        assert torch.equal(getattr(few, name), getattr(own, name))
    draws = given.draw(torch.arange(100, 117), seed=24)
    assert len(draws) == 17 and torch.equal(draws.points.marks, few.marks)
    assert torch.equal(draws.log_prob, given.log_prob(everything)[100:117])
    assert draws.log_condition.tolist() == [float(given.log_condition[0])] * 17


def test_sets_that_do_not_meet_the_condition_have_no_density():
    rows = [[], [(0, 0, 1.0, 0.1)], [(0, 0, 1.0, 0.8)], [(0, 0, 1.0, 0.1), (0, 0, 1.0, 0.8)], [(0, 1, 1.0, 0.2)] * 2]
    meets = {
        "any": [0, 1, 0, 1, 1],
        "all": [0, 1, 0, 0, 1],
        "none": [0, 0, 1, 0, 0],
        "count=1": [0, 1, 0, 1, 0],
        "count=2": [0, 0, 0, 0, 1],
        "given-one": [0, 1, 0, 1, 1],
    }
    for text, expected in meets.items():
        given = ConditionedPoisson(process(), half(process()), Quantifier.parse(text))
        assert torch.isfinite(given.log_prob(flat(rows))).int().tolist() == expected


@pytest.mark.parametrize("mean", [1e-12, 0.3, 5.0, 1e4])
@pytest.mark.parametrize("outside", [0.0, 2.0])
def test_probabilities_are_sound_for_means_of_any_size(mean, outside):
    inside, rest = (torch.tensor([each], dtype=torch.float64) for each in (mean, outside))
    log_truncated = math.log(-math.expm1(-mean))
    expected = {
        "any": log_truncated,
        "all": log_truncated - outside,
        "count=3": 3 * math.log(mean) - mean - math.log(6),
        "given-one": math.log(mean),
    }
    for text, value in expected.items():
        quantifier = Quantifier.parse(text)
        assert float(quantifier.log_probability(inside, rest)[0]) == pytest.approx(value, rel=1e-12, abs=1e-15)
        from_numpy = quantifier.log_probability(inside.numpy(), rest.numpy())
        assert isinstance(from_numpy, np.ndarray) and float(from_numpy[0]) == pytest.approx(value, rel=1e-12, abs=1e-15)
    none = Quantifier(Mode.NONE).log_probability(rest, inside)
    assert float(none[0]) == pytest.approx(log_truncated - outside, rel=1e-12, abs=1e-15)


def test_drawn_counts_have_the_closed_forms():
    noise = uniform(25, torch.arange(SETS), 2)
    inside, outside = torch.full((2, SETS), 0.7, dtype=torch.float64)
    for text in ALL:
        quantifier = Quantifier.parse(text)
        in_a, beside = (each.numpy() for each in quantifier.draw_counts(noise, inside, 2 * outside))
        truncated = 0.7 / -math.expm1(-0.7), 1.4 / -math.expm1(-1.4)
        means = {
            "any": (truncated[0], 1.4), "all": (truncated[0], 0.0), "none": (0.0, truncated[1]),
            "given-one": (1.0, 1.4),
        }.get(text, (float(quantifier.number), 1.4))  # fmt: skip
        for counts, mean in zip((in_a, beside), means, strict=True):
            assert abs(counts.mean() - mean) <= 4.5 * counts.std() / math.sqrt(SETS) + 1e-12
        if in_a.std() > 0 and beside.std() > 0:
            assert abs(np.corrcoef(in_a, beside)[0, 1]) < 4.5 / math.sqrt(SETS)


@pytest.mark.parametrize("text", ["any", "all", "count=2", "given-one"])
def test_a_condition_that_no_point_can_meet_is_refused(text):
    never = BelowCut(TiltedMarks(), (0.0, 0.0))
    with pytest.raises(ConditionError, match="probability zero in 1 of 1 rows"):
        ConditionedPoisson(process(), never, Quantifier.parse(text))
    zero = torch.zeros(3).double()
    with pytest.raises(ConditionError, match="probability"):
        Quantifier.parse(text).draw_counts(uniform(1, torch.arange(3), 2), zero, zero)


def test_none_of_everything_is_refused_and_nothing_is_drawn_where_a_mean_is_zero():
    everything = CellRegion.everything(process().marks, process().means)
    with pytest.raises(ConditionError, match="probability zero"):
        ConditionedPoisson(process(), everything, Quantifier(Mode.NONE))
    given = ConditionedPoisson(process(), everything)
    points = given.sample(torch.arange(500), seed=26)
    assert points.inside.all() and (points.counts(2).sum(-1) >= 1).all()
    truncated = process().log_prob(points) - math.log(-math.expm1(-float(process().total)))
    assert torch.allclose(given.log_prob(points), truncated, atol=1e-12)
    empty = draw_beside(given.inside, given.outside, (torch.zeros(4).long(), torch.zeros(4).long()),
                        torch.arange(4), seed=1)  # fmt: skip
    assert len(empty) == 0 and empty.batch == 4
    assert torch.allclose(process().log_prob(empty), -process().total.expand(4))


@pytest.mark.parametrize("text", ALL)
def test_quantifiers_are_read_as_they_are_written(text):
    assert str(Quantifier.parse(text)) == text


@pytest.mark.parametrize(("mode", "number"), [(Mode.ANY, -3), (Mode.NONE, 2), (Mode.COUNT, 0), (Mode.COUNT, -1)])
def test_only_a_count_has_a_number(mode, number):
    with pytest.raises(ConditionError, match=f"got {mode.value} with the number {number}, expected"):
        Quantifier(mode, number)


@pytest.mark.parametrize("text", ["some", "count", "count=0", "count=x", "count=-1", "count=²", "", "ANY"])
def test_other_quantifiers_are_refused(text):
    with pytest.raises(ConditionError, match="quantifier"):
        Quantifier.parse(text)


def test_faulty_means_and_numbers_are_refused():
    with pytest.raises(ConditionError):
        Quantifier(Mode.ANY, 3)
    for wrong in (float("nan"), -1.0, float("inf")):
        with pytest.raises(DensityError, match="finite"):
            Quantifier().log_probability(torch.tensor([wrong]), torch.tensor([1.0]))
        with pytest.raises(DensityError, match="finite"):
            Quantifier().log_probability(np.array([1.0]), np.array([wrong]))
