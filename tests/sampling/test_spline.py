"""The one-dimensional spline: its CDF is the integral of its density, and draws follow it."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from zuko.transforms import MonotonicRQSTransform

from scenariogen.errors import DensityError
from scenariogen.randomness import uniform
from scenariogen.sampling.contract import exact_log_prob
from scenariogen.sampling.spline import ConditionalSpline, ConditionalUnitSpline, SplineDistribution, UnitSpline
from scenariogen.sampling.supports import HalfLine, Interval, RealLine, Support

SUPPORTS = [Interval(), Interval(-2.0, 5.0), HalfLine(3.0, 2.0), RealLine(-1.0, 0.7)]
RANGES = {
    "unit": (Interval(), 0.2, 0.6),
    "interval": (Interval(-2.0, 5.0), 4.9, math.inf),
    "half-line": (HalfLine(3.0, 2.0), 4.0, math.inf),
    "line": (RealLine(-1.0, 0.7), -math.inf, -3.0),
    "far tail": (RealLine(-1.0, 0.7), 18.0, math.inf),
    "narrow": (RealLine(-1.0, 0.7), 0.5, 0.5 + 1e-9),
    "last tail": (HalfLine(3.0, 2.0), 3.0 + 2 * 706.0, math.inf),  # 2.5e-307
}


def distribution(support: Support, rows: int, *, seed: int = 4, same: bool = False) -> SplineDistribution:
    """Splines of random parameters, one per row or the same in all."""
    generator = torch.Generator().manual_seed(seed)
    parameters = 2 * torch.randn(1 if same else rows, 23, generator=generator, dtype=torch.float64)
    return SplineDistribution(parameters.expand(rows, -1), 8, support)


def integral(support: Support, low: float, high: float, nodes: int = 64, pieces: int = 200) -> float:
    """The mass of [low, high] from the density alone: Gauss-Legendre on many pieces."""
    place, weight = (torch.tensor(each) for each in np.polynomial.legendre.leggauss(nodes))
    borders = torch.linspace(low, high, pieces + 1, dtype=torch.float64)
    half = (borders[1:] - borders[:-1])[:, None] / 2
    x = (borders[:-1, None] + half * (1 + place)).reshape(-1, 1)
    p = torch.exp(distribution(support, len(x), same=True).log_prob(x))
    return float((p.reshape(pieces, nodes) * weight * half).sum())


@pytest.fixture
def spline() -> UnitSpline:
    generator = torch.Generator().manual_seed(4)
    return UnitSpline(2 * torch.randn(3, 23, generator=generator, dtype=torch.float64), 8)


def test_density_integrates_to_one_and_its_integral_is_the_cdf(spline):
    x = torch.linspace(0, 1, 20_001, dtype=torch.float64)
    density = torch.exp(spline.log_prob(x[:, None].expand(-1, 3)))
    integral = torch.cumulative_trapezoid(density, x, dim=0)
    assert torch.allclose(integral[-1], torch.ones(3, dtype=torch.float64), atol=1e-5)
    assert torch.allclose(integral, spline.cdf(x[1:, None].expand(-1, 3)), atol=1e-5)


def test_log_density_is_the_logarithm_of_autograds_slope(spline):
    x = torch.rand(3, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    (slope,) = torch.autograd.grad(spline.cdf(x).sum(), x)
    assert torch.allclose(slope.log(), spline.log_prob(x), atol=1e-9)


def test_inverse_undoes_the_cdf(spline):
    p = torch.linspace(1e-6, 1 - 1e-6, 999, dtype=torch.float64)[:, None].expand(-1, 3)
    assert torch.allclose(spline.cdf(spline.icdf(p)), p, atol=1e-10)


def test_outside_the_interval_there_is_no_density(spline):
    assert torch.isneginf(spline.log_prob(torch.tensor([-0.1, 1.1, 2.0], dtype=torch.float64))).all()


def test_truncated_draws_follow_the_truncated_distribution(spline):
    low, high = (torch.tensor(end, dtype=torch.float64) for end in (0.2, 0.6))
    noise = uniform(1, torch.arange(4000), 3)
    drawn = spline.sample_between(noise, low, high)
    assert drawn.min() >= 0.2 and drawn.max() <= 0.6
    p_low, p_high = spline.cdf(low.expand(3)), spline.cdf(high.expand(3))
    place = ((spline.cdf(drawn) - p_low) / (p_high - p_low)).numpy()
    for column in range(3):
        assert stats.kstest(place[:, column], "uniform").pvalue > 1e-3


def test_starts_uniform_and_a_row_does_not_depend_on_the_size_of_the_request():
    torch.manual_seed(0)
    density = ConditionalUnitSpline(5)
    context = torch.randn(3000, 5, dtype=torch.float64)
    x = torch.rand(3000, dtype=torch.float64)
    assert torch.allclose(density(context).log_prob(x), torch.zeros(3000, dtype=torch.float64), atol=1e-12)
    torch.nn.init.normal_(density.network[-1].weight)
    whole, part = density.in_blocks(context), density.in_blocks(context[1500:1502])
    assert np.array_equal(whole.cdf(x)[1500:1502].detach(), part.cdf(x[1500:1502]).detach())


def test_the_spline_is_the_library_s_on_the_same_parameters():
    parameters = 2 * torch.randn(400, 23, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    reference = MonotonicRQSTransform(*parameters.split([8, 8, 7], dim=-1), bound=1.0, slope=1e-3)
    x = uniform(2, torch.arange(400), 1)[:, 0]
    y, log_slope = reference.call_and_ladj(2 * x - 1)
    ours = UnitSpline(parameters, 8)
    assert torch.allclose(ours.cdf(x), (y + 1) / 2, atol=1e-13)
    assert torch.allclose(ours.log_prob(x), log_slope, atol=1e-10)
    assert torch.allclose(ours.icdf(ours.cdf(x)), x, atol=1e-10)


@pytest.mark.parametrize("support", SUPPORTS, ids=str)
def test_on_any_support_the_cdf_is_the_integral_and_its_inverse_undoes_it(support: Support):
    p = torch.linspace(1e-5, 1 - 1e-5, 301, dtype=torch.float64)[:, None]
    same = distribution(support, 301, same=True)
    x = same.icdf(p)
    assert x.shape == (301, 1)
    assert torch.allclose(same.cdf(x), p, atol=1e-12)
    for low, high in ((10, 150), (150, 290)):
        assert integral(support, float(x[low]), float(x[high])) == pytest.approx(float(p[high] - p[low]), abs=1e-5)


@pytest.mark.parametrize(
    ("support", "low", "high", "end"),
    [
        (Interval(), 0.0, 1e-12, 1e-12),
        (Interval(-2.0, 5.0), -2.0, -2.0 + 1e-3, -2.0 + 1e-3),
        (HalfLine(3.0, 2.0), 55.0, math.inf, 130.0),
        (RealLine(-1.0, 0.7), 18.0, math.inf, 45.0),
        (RealLine(-1.0, 0.7), -math.inf, -20.0, -50.0),
        (RealLine(-1.0, 0.7), 0.5, 0.5 + 1e-9, 0.5 + 1e-9),
    ],
    ids=str,
)
def test_the_probability_of_a_tail_keeps_its_digits(support: Support, low: float, high: float, end: float):
    got = distribution(support, 1).log_probability(low, high)
    a, b = sorted((low if math.isfinite(low) else high, end))
    wanted = integral(support, a, b)
    assert wanted < 1e-3
    # An end near 0.5 is itself rounded to 1e-16, a ten-millionth of a range of 1e-9.
    assert float(got) == pytest.approx(math.log(wanted), abs=3e-7 if abs(low) == 0.5 else 1e-9)


def test_the_probabilities_of_parts_add_up_to_one():
    splines = distribution(RealLine(), 50)
    borders = [-math.inf, -30.0, -2.0, -0.3, 0.1, 0.100001, 4.0, 29.0, math.inf]
    parts = [splines.log_probability(low, high) for low, high in itertools.pairwise(borders)]
    assert torch.allclose(torch.logsumexp(torch.stack(parts), 0), torch.zeros(50, dtype=torch.float64), atol=1e-13)
    assert torch.allclose(
        splines.log_probability(-math.inf, math.inf), torch.zeros(50, dtype=torch.float64), atol=1e-13
    )


@pytest.mark.parametrize("name", RANGES)
def test_draws_under_a_range_follow_the_truncated_density(name: str):
    support, low, high = RANGES[name]
    rows = 4000
    given = distribution(support, rows, same=True).given(low, high)
    x = given.sample(uniform(1, torch.arange(rows), 1))
    assert x.shape == (rows, 1) and float(x.min()) >= low and float(x.max()) <= high
    whole = distribution(support, rows, same=True)
    place = torch.exp(whole.log_probability(low, x[:, 0]) - given.log_condition)
    assert stats.kstest(place.numpy(), "uniform").pvalue > 1e-3
    assert torch.allclose(given.log_prob(x), whole.log_prob(x) - given.log_condition)
    assert torch.isneginf(given.log_prob(torch.full((rows, 1), low - 1e-3, dtype=torch.float64))).all()


def test_a_truncated_density_integrates_to_one():
    given = distribution(Interval(-2.0, 5.0), 20_001, same=True).given(0.5, 2.5)
    x = torch.linspace(0.5, 2.5, 20_001, dtype=torch.float64)
    assert float(torch.trapezoid(torch.exp(given.log_prob(x[:, None])), x)) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(("dtype", "end"), [(torch.float64, 720.0), (torch.float32, 90.0)])
@pytest.mark.parametrize("support", [HalfLine(), RealLine()], ids=str)
def test_a_range_too_improbable_to_draw_from_is_refused(support: Support, dtype: torch.dtype, end: float):
    """All draws beyond 720 were 720: what lies above was held at the smallest normal number."""
    whole = ConditionalSpline(support=support, dtype=dtype)(torch.zeros(4, 0, dtype=dtype))
    with pytest.raises(DensityError, match=r"of probability (below|zero).* in 4 of 4 rows"):
        whole.given(end, math.inf)
    x = whole.given(end - 20.0, math.inf).sample(uniform(1, torch.arange(4), 1).to(dtype))[:, 0].detach()
    assert x.unique().numel() == 4 and (x > end - 20.0).all()


def test_ranges_may_differ_from_row_to_row():
    splines = distribution(HalfLine(), 3)
    low, high = torch.tensor([0.0, 1.0, 2.0]), torch.tensor([0.5, 1.5, math.inf])
    x = splines.given(low, high).sample(uniform(1, torch.arange(3), 1))[:, 0]
    assert (x >= low).all() and (x <= high).all()


def test_an_exact_value_leaves_a_point_and_carries_its_density():
    splines = distribution(Interval(), 3)
    given = splines.given_value(0.25)
    x = given.sample(uniform(1, torch.arange(3), 1))
    assert (x == 0.25).all() and (given.log_prob(x) == 0).all()
    assert torch.isneginf(given.log_prob(x + 1e-9)).all()
    assert torch.equal(given.log_condition, splines.log_prob(x))


def test_bad_ranges_say_what_is_wrong_with_them():
    splines = distribution(Interval(), 3)
    with pytest.raises(DensityError, match="3 rows whose lower end lies above the upper end, expected low ≤ high"):
        splines.given(0.6, 0.4)
    with pytest.raises(DensityError, match="range of probability zero in 3 of 3 rows, expected a positive"):
        splines.given(1.5, 2.0)
    with pytest.raises(DensityError, match="the value of probability zero in 3 of 3 rows"):
        splines.given_value(-0.1)
    with pytest.raises(DensityError) as found:
        splines.given(math.nan, torch.zeros(2))
    assert len(found.value.problems) == 2 and "nan" in str(found.value) and "shape (2,)" in str(found.value)
    for given in (splines, splines.given(0.1, 0.9), splines.given_value(0.25)):
        with pytest.raises(DensityError, match=r"points of shape \(3, 2\), expected \(batch, 1\)"):
            given.log_prob(torch.full((3, 2), 0.25, dtype=torch.float64))
    with pytest.raises(DensityError, match=r"from 2\.0 to 1\.0"):
        Interval(2.0, 1.0)
    with pytest.raises(DensityError, match=r"scale -1\.0"):
        RealLine(0.0, -1.0)
    with pytest.raises(DensityError, match="1 bins, expected at least 2"):
        ConditionalSpline(3, bins=1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("support", SUPPORTS, ids=str)
def test_the_density_is_at_first_that_of_the_support_s_base(support: Support, dtype: torch.dtype):
    given = ConditionalSpline(2, support=support, dtype=dtype)(torch.zeros(64, 2, dtype=dtype))
    u = uniform(1, torch.arange(64), 1).to(dtype)
    peers = {Interval: stats.uniform, HalfLine: stats.expon, RealLine: stats.logistic}
    places = {
        Interval: lambda s: (s.low, s.high - s.low),
        HalfLine: lambda s: (s.start, s.scale),
        RealLine: lambda s: (s.centre, s.scale),
    }
    peer = peers[type(support)](*places[type(support)](support))
    x = given.sample(u)
    assert x.dtype == dtype
    assert np.allclose(x.detach()[:, 0], peer.ppf(u[:, 0].double()), rtol=1e-5, atol=1e-5)
    assert np.allclose(exact_log_prob(given, x).detach(), peer.logpdf(x.detach()[:, 0].double()), atol=1e-4)


def test_maximum_likelihood_finds_a_density_that_depends_on_its_context():
    torch.manual_seed(0)
    noise = uniform(3, torch.arange(4000), 2)
    context = 2 * noise[:, :1] - 1
    x = context + 0.5 * torch.special.ndtri(noise[:, 1:])
    density = ConditionalSpline(1, support=RealLine(), hidden=16)
    optimiser = torch.optim.Adam(density.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        loss = -density(context[:2000]).log_prob(x[:2000]).mean()
        loss.backward()
        optimiser.step()
    fresh, given = x[2000:], context[2000:]
    truth = torch.distributions.Normal(given, 0.5).log_prob(fresh)[:, 0]
    with torch.no_grad():
        lost = truth - density(given).log_prob(fresh)
        median = density(given).icdf(torch.full((2000, 1), 0.5, dtype=torch.float64))
    # What the best density that ignores the context loses: log p(x | c) − log p(x), p(x) = (Φ(2x + 2) − Φ(2x − 2)) / 2.
    marginal = torch.log(0.5 * (torch.special.ndtr(2 * fresh + 2) - torch.special.ndtr(2 * fresh - 2)))[:, 0]
    ignoring = float((truth - marginal).mean())
    error = float(lost.std()) / math.sqrt(2000)
    assert -3 * error < float(lost.mean()) < 0.1 * ignoring + 3 * error
    # Pinsker: two distributions give an event probabilities that differ by √(divergence / 2) at most.
    for side in (given[:, 0] < 0, given[:, 0] > 0):
        own, n = lost[side], int(side.sum())
        divergence = float(own.mean()) + 3 * float(own.std()) / math.sqrt(n)
        below = float((fresh < median)[side].double().mean())
        assert abs(below - 0.5) < math.sqrt(divergence / 2) + 4 * 0.5 / math.sqrt(n)
