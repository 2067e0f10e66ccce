"""Mixtures against their sum, and the bound on a defensive mixture's weights."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from scenariogen.errors import DensityError
from scenariogen.randomness import uniform
from scenariogen.sampling.atoms import AtomicSpline
from scenariogen.sampling.categorical import CategoricalChain
from scenariogen.sampling.contract import ConditionalDensity, Distribution, draw
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.kernel import KernelDensity
from scenariogen.sampling.mixture import DefensiveDistribution, DefensiveMixture, Mixture, Product
from scenariogen.sampling.normal import StandardNormal, isotropic
from scenariogen.sampling.spline import ConditionalSpline
from scenariogen.sampling.supports import Interval, RealLine
from tests.contracts.members import shaken

N = 8000
EMPTY = torch.zeros(N, 0, dtype=torch.float64)


def logistic(centre: float, scale: float = 1.0, context_width: int = 0) -> ConditionalSpline:
    return ConditionalSpline(context_width, support=RealLine(centre, scale))


def choices_and_numbers(choices: int, numbers: int) -> Product:
    return Product([CategoricalChain((2,) * choices), *(logistic(0.0) for _ in range(numbers))])


class Gate(nn.Module):
    """Logits (c, 0)."""

    def forward(self, context: Tensor) -> Tensor:
        return torch.stack([context[:, 0], torch.zeros_like(context[:, 0])], dim=1)


def test_the_density_is_the_weighted_sum_and_draws_follow_it():
    mixture = Mixture([logistic(-3.0, 0.5), logistic(2.0)], [0.25, 0.75])
    drawn = draw(mixture, n=N, seed=1)
    x = drawn.x[:, 0].numpy()
    parts = [stats.logistic(-3, 0.5), stats.logistic(2, 1)]
    assert drawn.log_prob is not None and drawn.log_prob_is_exact
    expected = np.log(0.25 * parts[0].pdf(x) + 0.75 * parts[1].pdf(x))
    assert np.allclose(drawn.log_prob.numpy(), expected, atol=1e-10)
    place = 0.25 * parts[0].cdf(x) + 0.75 * parts[1].cdf(x)
    assert stats.kstest(place, "uniform").pvalue > 1e-3


def test_shares_may_depend_on_the_context():
    mixture = Mixture([logistic(-9.0, 0.5, 1), logistic(9.0, 0.5, 1)], Gate())
    for c in (-1.0, 2.0):
        x = draw(mixture, torch.full((N, 1), c, dtype=torch.float64), seed=1).x
        share = 1 / (1 + math.exp(-c))
        assert abs(float((x < 0).double().mean()) - share) < 4 * math.sqrt(share * (1 - share) / N)


def test_components_may_need_different_amounts_of_noise():
    records = uniform(4, torch.arange(500), 1) + 5
    mixture = Mixture([KernelDensity(records), ConditionalSpline()], [0.3, 0.7])
    given = mixture(EMPTY)
    assert given.noise_columns == 3
    u = uniform(1, torch.arange(N), 3)
    x, chosen = given.sample(u), given.choose(u)
    assert torch.allclose(x[chosen == 1], u[chosen == 1, 1:2])
    assert torch.equal(x[chosen == 0], given.components[0].sample(u[:, 1:])[chosen == 0])
    assert abs(float((chosen == 0).double().mean()) - 0.3) < 4 * math.sqrt(0.3 * 0.7 / N)


def test_a_mixture_of_densities_in_single_precision_stays_in_it():
    records = uniform(4, torch.arange(500), 1).float()
    drawn = draw(Mixture([KernelDensity(records), KernelDensity(records + 1)], [0.3, 0.7]), n=50, seed=1)
    assert drawn.x.dtype == torch.float32 and drawn.log_prob is not None and drawn.log_prob.dtype == torch.float32


def test_densities_with_respect_to_different_measures_are_refused():
    atoms = AtomicSpline((0.0, 1.0))
    with pytest.raises(DensityError, match=r"respect to Lebesgue, Lebesgue \+ counting on \[0.0, 1.0\], expected one"):
        DefensiveMixture(ConditionalSpline(), [atoms], [0.5, 0.5])
    with pytest.raises(DensityError, match="expected one measure"):
        Mixture([atoms, AtomicSpline((0.0,))], [0.5, 0.5])
    with pytest.raises(DensityError, match="expected one measure"):
        Mixture([Product([atoms, logistic(0.0)]), Product([logistic(0.0), atoms])], [0.5, 0.5])
    with pytest.raises(DensityError, match="expected one measure"):
        Mixture([CategoricalChain((2, 2)), CouplingFlow(2)], [0.5, 0.5])
    # Two choices and a number, or a choice and two numbers: both were "counting × Lebesgue" of three.
    with pytest.raises(
        DensityError, match=r"counting\^1 × Lebesgue\^2, counting\^2 × Lebesgue\^1, expected one measure"
    ):
        Mixture([choices_and_numbers(2, 1), choices_and_numbers(1, 2)], [0.5, 0.5])
    whole, nested = choices_and_numbers(2, 2), Product([choices_and_numbers(2, 1), logistic(0.0)])
    assert Mixture([whole, nested], [0.5, 0.5]).measure == "counting^2 × Lebesgue^2"
    assert Product([CategoricalChain((2,)), CategoricalChain((3,))]).measure == CategoricalChain((2, 3)).measure
    mixed = Mixture([Product([logistic(0.0), logistic(1.0)]), CouplingFlow(2)], [0.5, 0.5])
    assert mixed.measure == "Lebesgue" and Mixture([atoms, atoms], [0.5, 0.5]).measure == atoms.measure


def test_normal_densities_say_how_wide_they_are():
    wide, context = isotropic(2, 1.0), torch.zeros(5, 0, dtype=torch.float64)
    product = Product([wide, StandardNormal(3)])
    x = torch.linspace(-1, 1, 25, dtype=torch.float64).reshape(5, 5)
    assert torch.allclose(product(context).log_prob(x), isotropic(5, 1.0)(context).log_prob(x), atol=1e-12)
    with pytest.raises(DensityError, match=r"draws have \[2, 3\] numbers"):
        DefensiveMixture(wide, [CouplingFlow(3)], [0.5, 0.5])
    with pytest.raises(DensityError, match=r"points of shape \(5, 1\), expected \(batch, 2\)"):
        wide(context).log_prob(x[:, :1])


def test_outside_every_support_there_is_no_density():
    mixture = Mixture([ConditionalSpline(), ConditionalSpline(support=Interval(2.0, 3.0))], [0.5, 0.5])
    x = torch.tensor([[0.5], [1.5], [2.5]], dtype=torch.float64)
    log_prob = mixture(EMPTY[:3]).log_prob(x)
    assert torch.isneginf(log_prob[1]) and log_prob[[0, 2]].tolist() == pytest.approx([math.log(0.5)] * 2)


class Silent(ConditionalDensity):
    """Uniform draws without a density, or with a bound."""

    def __init__(self, *, bound: bool) -> None:
        super().__init__()
        self.dim, self.bound = 1, bound

    def forward(self, context: Tensor) -> Distribution:
        outer = self

        class Given(Distribution):
            log_prob_is_exact = False
            has_log_prob = outer.bound

            def sample(self, noise: Tensor) -> Tensor:
                return noise

            def log_prob(self, x: Tensor) -> Tensor:
                if not outer.bound:
                    raise DensityError("none")
                return torch.zeros(len(x), dtype=x.dtype)

        return Given()


def test_a_mixture_is_as_exact_as_its_components():
    for bound in (False, True):
        for density in (
            Mixture([logistic(0.0), Silent(bound=bound)], [0.5, 0.5]),
            Product([logistic(0.0), Silent(bound=bound)]),
        ):
            given = density(EMPTY[:5])
            assert not given.log_prob_is_exact and given.has_log_prob == bound
            drawn = draw(density, n=5, seed=1)
            assert (drawn.log_prob is not None) == bound and not drawn.log_prob_is_exact
            if not bound:
                with pytest.raises(DensityError, match="no log-density, so the"):
                    given.log_prob(drawn.x)
    with pytest.raises(DensityError, match="not the exact log-density"):
        DefensiveMixture(logistic(0.0), [Silent(bound=True)], [0.5, 0.5])(EMPTY[:5]).log_weight(torch.zeros(5, 1))


def weights(mixture: DefensiveMixture, seed: int = 1, n: int = N) -> tuple[Tensor, Tensor, DefensiveDistribution]:
    x = draw(mixture, n=n, seed=seed).x
    with torch.no_grad():
        given = mixture(torch.zeros(n, 0, dtype=torch.float64))
        assert isinstance(given, DefensiveDistribution)
        return x, torch.exp(given.log_weight(x)), given


def six(shift: float, scale: float) -> Product:
    """Six independent parts, shifted more and more."""
    return Product([logistic(shift * (1 + 0.2 * i), scale) for i in range(6)])


@pytest.mark.parametrize("share", [0.05, 0.2, 0.6])
@pytest.mark.parametrize("parts", [1, 6])
def test_weights_never_exceed_one_over_the_targets_share(share: float, parts: int):
    def product(shift: float, scale: float) -> Product:
        return Product([logistic(shift * (1 + 0.2 * i), scale) for i in range(parts)])

    # Proposals that miss most of the target: without the target in the mixture, weights reach 1e8 and more.
    rest = (1 - share) / 2
    mixture = DefensiveMixture(product(0.0, 1.0), [product(4.0, 0.2), product(-6.0, 0.3)], [share, rest, rest])
    x, w, given = weights(mixture)
    assert float(w.max()) <= 1 / share * (1 + 1e-15)
    assert (given.log_weight(x) <= given.log_bound).all()
    assert float(w.max()) > 0.999 / share  # the bound is reached, not merely kept
    error = float(w.std()) / math.sqrt(N)
    assert abs(float(w.mean()) - 1) < 3 * error
    assert 0 < error < 0.05
    assert torch.allclose(w.log(), (given.components[0].log_prob(x) - given.log_prob(x)).detach(), atol=1e-9)


def test_the_coin_is_thrown_once_per_draw_and_not_per_part():
    share = 0.2
    mixture = DefensiveMixture(six(0.0, 1.0), [six(30.0, 0.4)], [share, 1 - share])
    x, _, _ = weights(mixture)
    far = (x > 15).double().mean(1)
    assert set(far.unique().tolist()) == {0.0, 1.0}
    assert abs(float((far == 0).double().mean()) - share) < 4 * math.sqrt(share * (1 - share) / N)
    # A coin for each part: weights are bounded by the sixth power only, and reach far beyond 1/α.
    pairs = zip(six(0.0, 1.0).parts, six(30.0, 0.4).parts, strict=True)
    each = [DefensiveMixture(a, [b], [share, 1 - share]) for a, b in pairs]  # pyright: ignore
    at = draw(six(0.0, 1.0), n=100, seed=1)
    assert at.log_prob is not None
    by_part = Product(each)(EMPTY[:100]).log_prob(at.x).detach()
    assert float((at.log_prob - by_part).max()) == pytest.approx(-6 * math.log(share), abs=1e-6)
    whole = mixture(EMPTY[:100])
    assert isinstance(whole, DefensiveDistribution)
    assert float(whole.log_weight(at.x).detach().max()) == pytest.approx(-math.log(share), abs=1e-12)


@pytest.mark.parametrize("h", ["mean", "tail"])
def test_weighted_means_are_those_of_the_target(h: str):
    mixture = DefensiveMixture(logistic(0.0), [logistic(8.0, 0.7)], [0.1, 0.9])
    x, w, _ = weights(mixture, seed=3)
    values, truth = (x[:, 0], 0.0) if h == "mean" else ((x[:, 0] > 7).double(), float(stats.logistic.sf(7)))
    terms = w * values
    assert abs(float(terms.mean()) - truth) < 3 * float(terms.std()) / math.sqrt(N)
    if h == "tail":  # 90 % of the draws fall near the event: its relative error is small
        assert float(terms.std()) / math.sqrt(N) < 0.02 * truth


def test_where_the_target_has_no_density_the_weight_is_zero():
    mixture = DefensiveMixture(ConditionalSpline(), [ConditionalSpline(support=Interval(0.5, 3.0))], [0.3, 0.7])
    x, w, _ = weights(mixture)
    assert (w[x[:, 0] > 1] == 0).all() and float((x > 1).double().mean()) > 0.4
    assert abs(float(w.mean()) - 1) < 3 * float(w.std()) / math.sqrt(N)


def test_a_flow_can_be_a_component():
    flows = [shaken(lambda: CouplingFlow(2, hidden=(8,)), seed=seed) for seed in (1, 2)]
    mixture = DefensiveMixture(flows[0], [flows[1]], [0.5, 0.5])
    _, w, _ = weights(mixture)
    assert float(w.max()) <= 2 and abs(float(w.mean()) - 1) < 3 * float(w.std()) / math.sqrt(N)


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ([0.5, -0.5], "none below 0"),
        ([0.0, 0.0], "sum 0, expected 1"),
        ([0.5, math.nan], "expected finite"),
        ([0.5, math.inf], "expected finite"),
        ([0.5, 0.6], r"sum 1\.1, expected 1"),
        ([1.0], "1 shares for 2 components"),
    ],
)
def test_degenerate_shares_are_refused(shares: list[float], says: str):
    with pytest.raises(DensityError, match=says):
        Mixture([logistic(0.0), logistic(1.0)], shares)
    with pytest.raises(DensityError, match=says):
        DefensiveMixture(logistic(0.0), [logistic(1.0)], shares)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(DensityError) as found:
        DefensiveMixture(logistic(0.0), [CouplingFlow(2, 3)], [0.01, 0.5, 0.5])
    text = str(found.value)
    assert len(found.value.problems) == 5
    for part in (
        "0.01 for the target, expected at least 0.05",
        "contexts have [0, 3]",
        "draws have [1, 2]",
        "3 shares",
        "1.01",
    ):
        assert part in text
    with pytest.raises(DensityError, match="no component"):
        Mixture([], [])
    with pytest.raises(DensityError, match="least share of 0"):
        DefensiveMixture(logistic(0.0), [logistic(1.0)], [0.5, 0.5], least=0.0)
    nameless = Silent(bound=True)
    nameless.dim = None  # pyright: ignore
    with pytest.raises(DensityError) as found:
        Product([logistic(0.0), logistic(0.0, context_width=2), nameless])
    assert "contexts" in str(found.value) and "part 2 (Silent) does not say how wide" in str(found.value)
    with pytest.raises(DensityError, match="no part"):
        Product([])


def test_faults_that_only_evaluation_shows_are_refused():
    class Bad(nn.Module):
        def __init__(self, value: float, width: int) -> None:
            super().__init__()
            self.value, self.width = value, width

        def forward(self, context: Tensor) -> Tensor:
            return torch.full((len(context), self.width), self.value, dtype=context.dtype)

    pair = [logistic(0.0, context_width=1), logistic(1.0, context_width=1)]
    context = torch.zeros(4, 1, dtype=torch.float64)
    with pytest.raises(DensityError, match="logits holds 8 values that are nan"):
        Mixture(pair, Bad(math.nan, 2))(context)
    with pytest.raises(DensityError, match=r"shape \(4, 3\), expected \(batch, 2\)"):
        Mixture(pair, Bad(0.0, 3))(context)
    wide = Silent(bound=True)
    wide.dim = None  # pyright: ignore
    mixture = Mixture([CouplingFlow(2), wide], [0.5, 0.5])
    given = mixture(EMPTY[:4])
    with pytest.raises(DensityError, match=r"draws have shapes \[\(1,\), \(2,\)\], expected one shape"):
        given.components[1].sample = lambda noise: noise[:, :1]
        given.sample(uniform(1, torch.arange(4), given.noise_columns))
    with pytest.raises(DensityError, match=r"shape \(4, 5\), expected \(batch, 6\)"):
        six(0.0, 1.0)(EMPTY[:4]).log_prob(torch.zeros(4, 5, dtype=torch.float64))
