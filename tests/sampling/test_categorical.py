"""The categorical chain against enumeration, and its posteriors against filtering."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from scenariogen.errors import DensityError
from scenariogen.randomness import uniform
from scenariogen.sampling.categorical import CategoricalChain, ChainDistribution
from tests.contracts.members import normal_contexts, shaken

OPTIONS = (3, 2, 4)
ROWS = 30_000
OUTCOMES = list(itertools.product(*(range(n) for n in OPTIONS)))
ALL = torch.tensor(OUTCOMES, dtype=torch.float64)


def allowed_outcomes() -> Tensor:
    """A mask under which the first two choices narrow what is left for the third."""
    mask = torch.ones(OPTIONS, dtype=torch.bool)
    mask[0, :, 2:] = False
    mask[1, 1] = False
    mask[2, 0, 0] = False
    return mask


def upwards(context: Tensor, earlier: Tensor) -> Tensor:
    """The third choice is not below the first; with a context above 0 the first is not 0."""
    n = OPTIONS[earlier.shape[1]]
    options = torch.arange(n, device=context.device)
    if earlier.shape[1] == 0:
        return (options > 0) | (context[:, :1] <= 0)
    if earlier.shape[1] == 2:
        return options >= earlier[:, :1]
    return torch.ones(len(context), n, dtype=torch.bool, device=context.device)


def chain(mask=None, **options) -> CategoricalChain:
    made = shaken(lambda: CategoricalChain(OPTIONS, 2, mask=mask, **options), scale=0.25)
    assert isinstance(made, CategoricalChain)
    return made


def given(mask=None, rows: int = len(OUTCOMES), row: int = 0) -> ChainDistribution:
    context = normal_contexts(2)(row + 1)[row].expand(rows, -1)
    density = chain(mask)
    for parameter in density.parameters():
        parameter.requires_grad_(False)
    return density(context)


def frequencies(x: Tensor) -> np.ndarray:
    place = (x[:, 0] * OPTIONS[1] + x[:, 1]) * OPTIONS[2] + x[:, 2]
    return np.bincount(place.long().numpy(), minlength=len(OUTCOMES)) / len(x)


@pytest.mark.parametrize("mask", [None, allowed_outcomes(), upwards], ids=["all", "table", "function"])
def test_probabilities_are_a_product_of_factors_that_sums_to_one(mask):
    whole = given(mask)
    p = torch.exp(whole.log_prob(ALL))
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-12)
    assert torch.allclose(torch.exp(whole.log_table()[0]), p, atol=1e-14)
    assert torch.equal(whole.chain.outcomes(), ALL.long())
    x, log_prob = whole.sample_and_log_prob(uniform(1, torch.arange(len(OUTCOMES)), 3))
    assert torch.allclose(whole.log_prob(x), log_prob, atol=1e-12)


def test_a_later_choice_depends_on_the_earlier_ones():
    table = torch.exp(given().log_table()[0]).reshape(OPTIONS)
    independent = table.sum((1, 2))[:, None, None] * table.sum((0, 2))[None, :, None] * table.sum((0, 1))
    assert float((table - independent).abs().max()) > 0.01


@pytest.mark.parametrize("mask", [allowed_outcomes(), upwards], ids=["table", "function"])
def test_what_is_masked_has_probability_zero_and_is_never_drawn(mask):
    whole = given(mask, ROWS)
    x = whole.sample(uniform(1, torch.arange(ROWS), 3))
    table = allowed_outcomes() if isinstance(mask, Tensor) else (ALL[:, 2] >= ALL[:, 0]).reshape(OPTIONS)
    if not isinstance(mask, Tensor) and float(whole.context[0, 0]) > 0:
        table = table & (torch.arange(3) > 0)[:, None, None]
    assert torch.equal(torch.isfinite(given(mask).log_prob(ALL)).reshape(OPTIONS), table)
    assert (frequencies(x)[~table.flatten().numpy()] == 0).all()


def test_draws_follow_the_table():
    p = torch.exp(given(allowed_outcomes()).log_table()[0]).numpy()
    x = given(allowed_outcomes(), ROWS).sample(uniform(1, torch.arange(ROWS), 3))
    assert (np.abs(frequencies(x) - p) <= 4.5 * np.sqrt(p * (1 - p) / ROWS)).all()


def test_a_mask_may_leave_nothing_only_where_it_cannot_be_reached():
    def dead_end(context: Tensor, earlier: Tensor) -> Tensor:
        out = torch.ones(len(context), OPTIONS[earlier.shape[1]], dtype=torch.bool)
        if earlier.shape[1] == 0:
            out[:, 1] = False
        if earlier.shape[1] == 1:
            out[earlier[:, 0] == 1] = False  # after a first choice that is itself masked
        return out

    assert float(torch.exp(given(dead_end).log_table()[0]).sum()) == pytest.approx(1.0, abs=1e-12)
    assert float(torch.exp(given(dead_end).log_prob(ALL)).sum()) == pytest.approx(1.0, abs=1e-12)

    def stuck(context: Tensor, earlier: Tensor) -> Tensor:
        out = torch.ones(len(context), OPTIONS[earlier.shape[1]], dtype=torch.bool)
        return out if earlier.shape[1] == 0 else out & (earlier[:, :1] != 1)

    with pytest.raises(DensityError, match="choice 1 without an option in 8 of 24 rows, expected at least 1"):
        given(stuck).log_prob(ALL)
    with pytest.raises(DensityError, match="choice 1 without an option"):
        given(stuck, 500).sample(uniform(1, torch.arange(500), 3))


def sets() -> dict[str, Tensor]:
    last = torch.zeros(OPTIONS, dtype=torch.bool)
    last[:, :, 3] = True
    odd = ((ALL.sum(1) % 2) == 1).reshape(OPTIONS)
    one = torch.zeros(OPTIONS, dtype=torch.bool)
    one[2, 1, 1] = True
    return {"the last choice": last, "odd sums": odd, "one outcome": one}


@pytest.mark.parametrize("name", sets())
def test_given_a_set_of_outcomes_draws_are_those_that_filtering_would_leave(name: str):
    allowed = sets()[name]
    whole = given(allowed_outcomes(), ROWS)
    free = whole.sample(uniform(2, torch.arange(ROWS), 3))
    keep = allowed.flatten()[((free[:, 0] * 2 + free[:, 1]) * 4 + free[:, 2]).long()]
    conditional = whole.given(allowed)
    p_set = float(torch.exp(conditional.log_condition[0]))
    assert abs(float(keep.double().mean()) - p_set) < 4 * math.sqrt(p_set * (1 - p_set) / ROWS)
    table = torch.exp(given(allowed_outcomes()).log_table()[0])
    posterior = torch.where(allowed.flatten(), table, 0.0).numpy() / p_set
    x = conditional.sample(uniform(1, torch.arange(ROWS), 3))
    filtered = frequencies(free[keep])
    for got, n in ((frequencies(x), ROWS), (filtered, int(keep.sum()))):
        assert (np.abs(got - posterior) <= 4.5 * np.sqrt(posterior * (1 - posterior) / n) + 1e-12).all()
    own = given(allowed_outcomes()).given(allowed).log_prob(ALL)
    assert np.allclose(torch.exp(own).numpy(), posterior, atol=1e-14)
    # The first choice alone tells the posterior from the prior wherever they differ.
    prior = table.reshape(OPTIONS).sum((1, 2)).numpy()
    first = posterior.reshape(OPTIONS).sum((1, 2))
    assert np.abs(first - prior).max() > 0.02


def test_given_everything_a_draw_is_the_chains_own():
    noise = uniform(1, torch.arange(2000), 3)
    whole = given(allowed_outcomes(), 2000)
    assert torch.equal(whole.given(torch.ones(OPTIONS, dtype=torch.bool)).sample(noise), whole.sample(noise))


def test_rows_may_have_sets_of_their_own():
    allowed = torch.zeros(3, *OPTIONS, dtype=torch.bool)
    wanted = [(0, 1, 1), (1, 0, 3), (2, 1, 2)]
    for row, outcome in enumerate(wanted):
        allowed[(row, *outcome)] = True
    conditional = given(rows=3).given(allowed)
    assert conditional.sample(uniform(1, torch.arange(3), 3)).long().tolist() == [list(each) for each in wanted]
    assert torch.allclose(conditional.log_condition, given(rows=3).log_prob(torch.tensor(wanted).double()))


def test_what_is_no_outcome_has_no_probability():
    x = torch.tensor([[0, 0, 4], [-1, 0, 0], [0.5, 0, 0], [0, math.nan, 0], [0, math.inf, 0]], dtype=torch.float64)
    assert torch.isneginf(given(rows=5).log_prob(x)).all()
    assert torch.isneginf(given(rows=5).given(sets()["odd sums"]).log_prob(x)).all()


def test_bad_requests_say_what_is_wrong():
    with pytest.raises(DensityError, match=r"with \[3, 0\] options, expected at least 1 choice"):
        CategoricalChain([3, 0], 2)
    with pytest.raises(DensityError) as found:
        CategoricalChain(OPTIONS, 2, mask=torch.zeros(3, 2, dtype=torch.bool))
    assert len(found.value.problems) == 2 and "(3, 2), expected (3, 2, 4)" in str(found.value)
    with pytest.raises(DensityError, match="set of outcomes of probability zero in 24 of 24 rows"):
        given().given(torch.zeros(OPTIONS, dtype=torch.bool))
    with pytest.raises(DensityError, match=r"shape \(3, 2\) and torch.bool, expected bool of shape \(3, 2, 4\)"):
        given().given(torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(DensityError, match=r"outcomes of shape \(24, 2\), expected \(batch, 3\)"):
        given().log_prob(ALL[:, :2])
    with pytest.raises(DensityError, match="24 outcomes, expected at most 10"):
        chain(largest_table=10)(torch.zeros(1, 2, dtype=torch.float64)).given(torch.ones(OPTIONS, dtype=torch.bool))
    with pytest.raises(DensityError, match=r"mask for choice 0 of shape \(24, 7\)"):
        given(lambda context, earlier: torch.ones(len(context), 7, dtype=torch.bool)).log_prob(ALL)


def test_maximum_likelihood_finds_the_joint_frequencies():
    density = CategoricalChain((2, 3), mask=torch.tensor([[True, True, False], [True, True, True]]))
    truth = torch.tensor([[0.3, 0.1, 0.0], [0.05, 0.15, 0.4]], dtype=torch.float64)
    outcomes = density.outcomes().double()
    optimiser = torch.optim.LBFGS(density.parameters(), max_iter=60, line_search_fn="strong_wolfe")
    p = truth.flatten()

    def loss() -> Tensor:
        optimiser.zero_grad()
        log_p = density(torch.zeros(6, 0, dtype=torch.float64)).log_prob(outcomes)
        out = -(p[p > 0] * log_p[p > 0]).sum()
        out.backward()
        return out

    optimiser.step(loss)
    assert all(torch.isfinite(parameter.grad).all() for parameter in density.parameters() if parameter.grad is not None)
    fitted = torch.exp(density(torch.zeros(1, 0, dtype=torch.float64)).log_table()).detach().reshape(2, 3)
    assert np.allclose(fitted.numpy(), truth.numpy(), atol=2e-3)
