"""Atoms and a spline: exact unconditionally, under ranges, tails and values, against brute-force filtering."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from scenariogen.errors import DensityError
from scenariogen.randomness import uniform
from scenariogen.sampling.atoms import AtomicDistribution, AtomicSpline, Closed
from scenariogen.sampling.supports import HalfLine, Interval, RealLine
from tests.contracts.members import shaken

ROWS = 40_000
ATOMS = (0.0, 0.3, 1.0)


def density(**options) -> AtomicSpline:
    made = shaken(lambda: AtomicSpline(ATOMS, 2, **options), scale=0.6)
    assert isinstance(made, AtomicSpline)
    return made


def given(rows: int = ROWS, **options) -> AtomicDistribution:
    with torch.no_grad():
        return density(**options)(torch.tensor([[0.4, -0.8]], dtype=torch.float64).expand(rows, -1))


def noise(rows: int = ROWS, seed: int = 1) -> Tensor:
    return uniform(seed, torch.arange(rows), 2)


def shares(x: Tensor) -> np.ndarray:
    """How often each atom, and none of them, was drawn."""
    atoms = [float((x == place).double().mean()) for place in ATOMS]
    return np.array([*atoms, 1 - sum(atoms)])


@pytest.mark.parametrize("support", [Interval(), Interval(-0.5, 2.0), HalfLine(0.2), RealLine()], ids=str)
def test_masses_and_density_add_up_to_one(support):
    atoms = torch.tensor(ATOMS, dtype=torch.float64)[:, None]
    p = torch.linspace(0.5e-4, 1 - 0.5e-4, 10_000, dtype=torch.float64)[:, None]
    whole = given(10_000, support=support)
    x = whole.spline.icdf(p)
    # ∫ p dx over u = F(x): p / f is the weight of the continuous part wherever x is not an atom.
    between = torch.exp(whole.log_prob(x) - whole.spline.log_prob(x)).mean()
    masses = torch.exp(given(3, support=support).log_prob(atoms)).sum()
    assert float(between + masses) == pytest.approx(1.0, abs=1e-9)


def test_draws_have_the_atoms_masses_and_the_splines_cdf_between():
    whole = given()
    x = whole.sample(noise())
    assert x.shape == (ROWS, 1)
    expected = torch.exp(whole.log_masses[0]).roll(-1).numpy()
    error = np.sqrt(expected * (1 - expected) / ROWS)
    assert (np.abs(shares(x) - expected) < 4 * error).all()
    between = x[~(x == whole.places).any(-1)]
    place = given(len(between)).spline.cdf(between)
    assert stats.kstest(place[:, 0].numpy(), "uniform").pvalue > 1e-3


def test_the_cdf_jumps_by_an_atoms_mass():
    whole = given(3)
    at = torch.tensor(ATOMS, dtype=torch.float64)[:, None]
    jump = whole.cdf(at) - whole.cdf(at - 1e-12)
    assert torch.allclose(jump[:, 0], torch.exp(whole.log_prob(at)), atol=1e-10)
    assert float(whole.cdf(torch.ones(3, 1, dtype=torch.float64))[0]) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("closed", Closed)
@pytest.mark.parametrize(("low", "high"), [(0.0, 0.3), (0.3, math.inf), (-math.inf, 0.6), (0.05, 1.0), (0.1, 0.2)])
def test_draws_under_a_range_are_those_that_filtering_would_leave(low: float, high: float, closed: Closed):
    whole = given()
    free = whole.sample(noise(seed=2))[:, 0]
    low_in, high_in = closed in (Closed.BOTH, Closed.LOW), closed in (Closed.BOTH, Closed.HIGH)
    keep = ((free >= low) if low_in else (free > low)) & ((free <= high) if high_in else (free < high))
    p = float(torch.exp(whole.log_probability(low, high, closed=closed)[0]))
    assert abs(float(keep.double().mean()) - p) < 4 * math.sqrt(p * (1 - p) / ROWS)

    conditional = whole.given(low, high, closed=closed)
    assert torch.equal(conditional.log_condition, whole.log_probability(low, high, closed=closed))
    x = conditional.sample(noise())
    filtered = free[keep]
    # Atoms: their shares among the filtered are binomial. Between: two samples of one continuous distribution.
    atoms = torch.exp(conditional.log_masses[0]).roll(-1).numpy()
    assert (np.abs(shares(x) - atoms) <= 4 * np.sqrt(atoms * (1 - atoms) / ROWS) + 1e-12).all()
    spread = np.sqrt(atoms * (1 - atoms) / len(filtered))
    assert (np.abs(shares(filtered) - atoms) <= 4 * spread + 1e-12).all()
    between = [each[~torch.isin(each, whole.places)].numpy() for each in (x[:, 0], filtered)]
    assert stats.ks_2samp(*between).pvalue > 1e-3
    # The conditional density is the unconditional one, renormalised, and nothing outside.
    assert torch.allclose(conditional.log_prob(x), whole.log_prob(x) - conditional.log_condition, atol=1e-12)
    rejected = given(int((~keep).sum())).given(low, high, closed=closed)
    assert torch.isneginf(rejected.log_prob(free[~keep][:, None])).all()


def test_a_range_that_holds_one_atom_alone_gives_that_atom():
    conditional = given(50).given(1.0, 1.0)
    x = conditional.sample(noise(50))
    assert (x == 1.0).all() and torch.allclose(conditional.log_prob(x), torch.zeros(50, dtype=torch.float64))
    assert torch.equal(conditional.log_condition, given(50).log_masses[:, 3])
    beyond = given(50, support=Interval(0.0, 0.9)).given(0.95, math.inf)
    assert (beyond.sample(noise(50)) == 1.0).all()


def test_rows_may_have_ranges_of_their_own():
    low, high = torch.tensor([0.0, 0.1, 1.0]).double(), torch.tensor([0.0, 0.2, 1.0]).double()
    conditional = given(3).given(low, high)
    x = conditional.sample(noise(3))[:, 0]
    assert float(x[0]) == 0.0 and 0.1 <= float(x[1]) <= 0.2 and float(x[2]) == 1.0
    assert torch.isfinite(conditional.log_prob(x[:, None])).all()


def test_an_exact_value_has_its_mass_or_its_density():
    whole = given(2)
    value = torch.tensor([0.3, 0.31], dtype=torch.float64)
    conditional = whole.given_value(value)
    assert torch.equal(conditional.sample(noise(2)[:, :1])[:, 0], value)
    mass, between = whole.log_masses[0, 2], whole.log_masses[0, 0] + whole.spline.log_prob(value[:, None])[1]
    assert torch.allclose(conditional.log_condition, torch.stack([mass, between]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_continuous_draw_that_rounds_onto_an_atom_is_not_taken_for_it(dtype: torch.dtype):
    whole = given(4).spline
    parameters = torch.zeros(4, 23, dtype=dtype)
    tiny, last = torch.finfo(dtype).tiny, 1 - torch.finfo(dtype).eps / 2
    spline = type(whole)(parameters, 8, Interval(5.0, 6.0))
    log_masses = torch.log(torch.tensor([[0.5, 0.25, 0.25]], dtype=dtype)).expand(4, -1)
    places = torch.tensor([5.0, 6.0], dtype=dtype)
    ends = torch.tensor([[0.2, tiny], [0.2, last], [0.6, 0.5], [0.9, 0.5]], dtype=dtype)
    distribution = AtomicDistribution(log_masses, places, spline)
    x = distribution.sample(ends)[:, 0]
    assert x[2:].tolist() == [5.0, 6.0]
    assert 5.0 < float(x[0]) < float(x[1]) < 6.0
    log_prob = distribution.log_prob(x[:, None])
    assert torch.allclose(torch.exp(log_prob), torch.tensor([0.5, 0.5, 0.25, 0.25], dtype=dtype), atol=1e-5)


@pytest.mark.parametrize("closed", Closed)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_are_not_rounded_onto_an_end_that_does_not_belong(dtype: torch.dtype, closed: Closed):
    """Three in a hundred draws in single precision had no density under what drew them."""
    high = 0.3 + (1e-6 if dtype == torch.float32 else 1e-15)
    whole = density(dtype=dtype)(torch.zeros(ROWS, 2, dtype=dtype))
    conditional = whole.given(0.3, high, closed=closed)
    with torch.no_grad():
        assert torch.isfinite(conditional.log_prob(conditional.sample(noise().to(dtype)))).all()
    one, following = 0.3, float(np.nextafter(np.float32(0.3), np.float32(1.0)))
    single = density(dtype=torch.float32)(torch.zeros(2, 2))
    with pytest.raises(DensityError, match="range of probability zero in 2 of 2 rows"):
        single.given(one, following, closed=Closed.NEITHER)  # there is no number between


def test_an_atom_beside_a_continuous_part_that_hardly_occurs_is_drawn_alone():
    made = AtomicSpline((800.0,), support=HalfLine())
    conditional = made(torch.zeros(50, 0, dtype=torch.float64)).given(720.0, math.inf)
    assert (conditional.sample(noise(50)) == 800.0).all()
    assert torch.allclose(conditional.log_condition, torch.full((50,), math.log(0.5), dtype=torch.float64))


def test_bad_requests_say_what_is_wrong():
    with pytest.raises(DensityError) as found:
        AtomicSpline([0.0, 0.0, math.nan], 2, bins=1)
    assert len(found.value.problems) == 3
    with pytest.raises(DensityError, match="no atom, expected at least 1"):
        AtomicSpline([], 2)
    with pytest.raises(DensityError, match="range of probability zero in 4 of 4 rows"):
        given(4).given(1.5, 2.0)
    with pytest.raises(DensityError, match="range of probability zero in 4 of 4 rows"):
        given(4).given(1.0, 2.0, closed=Closed.NEITHER)
    with pytest.raises(DensityError, match="the value of probability zero in 4 of 4 rows"):
        given(4).given_value(7.0)
    for conditional in (given(4), given(4).given(0.0, 0.5)):
        with pytest.raises(DensityError, match=r"points of shape \(4, 2\), expected \(batch, 1\)"):
            conditional.log_prob(torch.zeros(4, 2, dtype=torch.float64))
    with pytest.raises(DensityError, match="lower end lies above"):
        given(4).given(0.5, 0.2)


def test_maximum_likelihood_finds_the_masses():
    made = AtomicSpline((0.0, 1.0))
    u = uniform(3, torch.arange(1000), 2)
    x = torch.where(u[:, :1] < 0.2, 0.0, torch.where(u[:, :1] < 0.3, 1.0, u[:, 1:] ** 2))
    optimiser = torch.optim.Adam(made.parameters(), lr=0.1)
    for _ in range(80):
        optimiser.zero_grad()
        loss = -made(torch.zeros(1000, 0)).log_prob(x).mean()
        loss.backward()
        optimiser.step()
    masses = torch.exp(made(torch.zeros(1, 0)).log_masses[0]).detach()
    # The likelihood is largest where masses are the shares of the rows; what is left of the way there is small beside
    # the standard error of those.
    seen = np.array([float(((x != 0) & (x != 1)).double().mean()), *(float((x == a).double().mean()) for a in (0, 1))])
    true = np.array([0.7, 0.2, 0.1])
    error = np.sqrt(true * (1 - true) / 1000)
    assert (np.abs(masses.numpy() - seen) < 0.25 * error).all()
    assert (np.abs(masses.numpy() - true) < 4.25 * error).all()
