"""The kernel density against brute force and against the usual implementation."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.neighbors import KernelDensity as Peer
from torch import Tensor

from scenariogen.errors import DensityError
from scenariogen.randomness import normal, uniform
from scenariogen.sampling import kernel as module
from scenariogen.sampling.contract import draw
from scenariogen.sampling.kernel import Bandwidth, Kernel, KernelDensity

N = 1500


def records(n: int = N, *, seed: int = 1) -> Tensor:
    """Two correlated numbers, one of them skew."""
    z = normal(seed, torch.arange(n), 2)
    return torch.stack([torch.exp(0.5 * z[:, 0]), 3 * z[:, 0] + 0.5 * z[:, 1] + 100], dim=1)


def two_humps(n: int = N, *, seed: int = 2) -> tuple[Tensor, Tensor]:
    """x around +2 or −2 as its context is positive or negative."""
    u = uniform(seed, torch.arange(n), 2)
    context = 2 * u[:, :1] - 1
    return 2 * torch.sign(context) + 0.3 * torch.special.ndtri(u[:, 1:]), context


def nothing(rows: int) -> Tensor:
    return torch.zeros(rows, 0, dtype=torch.float64)


@pytest.mark.parametrize(("bandwidth", "peer"), [(Bandwidth.SCOTT, "scott"), (Bandwidth.SILVERMAN, "silverman")])
def test_with_a_full_kernel_it_is_the_usual_one(bandwidth: Bandwidth, peer: str):
    data, x = records(), records(300, seed=9)
    ours = KernelDensity(data, kernel=Kernel.FULL, bandwidth=bandwidth)(nothing(300)).log_prob(x)
    assert np.allclose(ours.numpy(), stats.gaussian_kde(data.T.numpy(), peer).logpdf(x.T.numpy()), atol=1e-9)


def test_with_a_product_kernel_it_is_the_usual_one_on_scaled_columns():
    data, x = records(), records(300, seed=9)
    density = KernelDensity(data, bandwidth=0.2)
    scale = data.std(0)
    peer = Peer(bandwidth=0.2, rtol=1e-12).fit((data / scale).numpy()).score_samples((x / scale).numpy())
    assert np.allclose(density(nothing(300)).log_prob(x).numpy(), peer - float(scale.log().sum()), atol=1e-8)


def test_given_a_context_the_density_is_the_joint_over_the_contexts():
    data, context = two_humps(500)
    joint = KernelDensity(torch.cat([data, context], dim=1), bandwidth=0.3)
    alone = KernelDensity(context, bandwidth=0.3)
    x, c = two_humps(200, seed=5)
    ours = KernelDensity(data, context, bandwidth=0.3)(c).log_prob(x)
    expected = joint(nothing(200)).log_prob(torch.cat([x, c], dim=1)) - alone(nothing(200)).log_prob(c)
    assert torch.allclose(ours, expected, atol=1e-10)


@pytest.mark.parametrize("n", [700, 1500])
def test_draws_given_a_context_follow_its_density(n: int):
    data, contexts = two_humps(n)
    order = data[:, 0].argsort()  # so that which record is chosen shows in the draw
    density = KernelDensity(data[order], contexts[order], bandwidth=0.3)
    rows = 3000
    for c in (-0.6, 0.05):
        context = torch.full((rows, 1), c, dtype=torch.float64)
        x = draw(density, context, seed=4).x[:, 0]
        w = torch.exp(-0.5 * (density.whiten_context(context[:1]) - density.context_points).square().sum(1))
        place = torch.special.ndtr((x[:, None] - density.records[:, 0]) / density.root[0, 0]) @ (w / w.sum())
        assert stats.kstest(place.numpy(), "uniform").pvalue > 1e-3


def test_draws_of_a_full_kernel_have_its_covariance():
    data, rows = records(), 20_000
    density = KernelDensity(data, kernel=Kernel.FULL, bandwidth=1.5)
    x = draw(density, n=rows, seed=4).x
    scaled = (x - data.mean(0)) / data.std(0)
    products = torch.stack([scaled[:, 0] ** 2, scaled[:, 0] * scaled[:, 1], scaled[:, 1] ** 2], dim=1)
    correlation = float(torch.corrcoef(data.T)[0, 1])
    expected = (1 + 1.5**2) * torch.tensor([1.0, correlation, 1.0], dtype=torch.float64)
    assert correlation > 0.8
    assert ((products.mean(0) - expected).abs() < 4 * products.std(0) / math.sqrt(rows)).all()


def test_a_context_far_from_all_records_uses_the_nearest():
    given = KernelDensity(*two_humps())(torch.tensor([[-1e4], [1e4]], dtype=torch.float64))
    x = given.sample(uniform(1, torch.arange(2), given.noise_columns))
    assert float(x[0]) < 0 < float(x[1]) and torch.isfinite(given.log_prob(x)).all()


def brute_force_left_out(data: np.ndarray, h: float) -> float:
    scaled = data / data.std(0, ddof=1)
    total = 0.0
    for i in range(len(data)):
        rest = np.delete(scaled, i, axis=0)
        total += math.log(np.mean(np.exp(-0.5 * ((scaled[i] - rest) ** 2).sum(1) / h**2)) / h ** data.shape[1])
    return total / len(data)


def test_leaving_one_out_finds_the_factor_that_brute_force_finds():
    data = two_humps(300)[0]
    chosen = KernelDensity(data, bandwidth=Bandwidth.LEAVE_ONE_OUT).factor
    tried = np.geomspace(0.02, 1.0, 120)
    scores = [brute_force_left_out(data.numpy(), h) for h in tried]
    best = tried[int(np.argmax(scores))]
    assert chosen == pytest.approx(best, rel=0.1)
    assert brute_force_left_out(data.numpy(), chosen) > max(scores) - 1e-3
    scott = KernelDensity(data)
    fresh = two_humps(2000, seed=8)[0]
    gain = KernelDensity(data, bandwidth=chosen)(nothing(2000)).log_prob(fresh) - scott(nothing(2000)).log_prob(fresh)
    assert float(gain.mean()) > 4 * float(gain.std()) / math.sqrt(2000)


def test_leaving_one_out_with_contexts_scores_the_conditional_density():
    data, context = two_humps(250)
    points, contexts = data / data.std(0), context / context.std(0)
    factors = torch.tensor([0.1, 0.3, 0.9], dtype=torch.float64)
    got = module.left_out_log_likelihood(points, contexts, factors)
    for k, h in enumerate(factors.tolist()):
        total = 0.0
        for i in range(250):
            keep = torch.arange(250) != i
            w = torch.exp(-0.5 * ((contexts[keep] - contexts[i]) / h).square().sum(1))
            kernel = torch.exp(-0.5 * ((points[keep] - points[i]) / h).square().sum(1)) / h
            total += math.log(float((w * kernel).sum() / w.sum()))
        assert float(got[k]) == pytest.approx(total / 250, abs=1e-9)


def test_no_more_than_a_chunk_of_distances_is_held_at_once(monkeypatch):
    held = []

    def counted(rows: Tensor, points: Tensor) -> Tensor:
        held.append(len(rows) * len(points))
        return plain(rows, points)

    plain = module._squares
    monkeypatch.setattr(module, "_squares", counted)
    monkeypatch.setattr(module, "CHUNK", 256)
    monkeypatch.setattr(module, "LEFT_OUT", 100)
    data, context = two_humps(2000)
    density = KernelDensity(data, context, bandwidth=Bandwidth.LEAVE_ONE_OUT)
    given = density(context)
    given.log_prob(data)
    draw(density, context, seed=1)
    assert max(held) <= module.CHUNK**2 and len(held) > 200


def test_a_point_that_is_not_a_number_has_no_density():
    x = torch.tensor([[math.nan, 0.0], [math.inf, 0.0]], dtype=torch.float64)
    assert torch.isneginf(KernelDensity(records())(nothing(2)).log_prob(x)).all()


def test_kernel_and_bandwidth_may_be_named():
    """Another word was taken for the full kernel, and for leaving one out; so was the factor 1, a whole number."""
    data, context = records(60), nothing(60)
    for kernel, bandwidth in itertools.product(Kernel, Bandwidth):
        by_name = KernelDensity(data, kernel=kernel.value, bandwidth=bandwidth.value)(context)
        by_choice = KernelDensity(data, kernel=kernel, bandwidth=bandwidth)(context)
        assert torch.equal(by_name.log_prob(data), by_choice.log_prob(data))
    assert KernelDensity(data, bandwidth=1).factor == 1.0
    with pytest.raises(DensityError, match=r"bandwidth 'nonsense', expected a number or .*scott.*leave-one-out"):
        KernelDensity(data, bandwidth="nonsense")
    with pytest.raises(DensityError, match=r"kernel 'garbage', expected .*product.*full"):
        KernelDensity(data, kernel="garbage")


def test_bad_records_say_all_that_is_wrong():
    data = records(50)
    with pytest.raises(DensityError) as found:
        KernelDensity(
            torch.cat([data, torch.ones(50, 1, dtype=torch.float64)], dim=1),
            torch.full((50, 1), math.nan, dtype=torch.float64),
            bandwidth=-1.0,
        )
    text = str(found.value)
    assert len(found.value.problems) == 3
    assert "columns [2] of the records are constant" in text and "50 values that are nan" in text and "-1.0" in text
    with pytest.raises(DensityError, match="2 distinct records of 2 numbers, expected at least 3"):
        KernelDensity(data[:2].repeat(20, 1))
    with pytest.raises(DensityError, match="40 rows of context for 50 records"):
        KernelDensity(data, nothing(40))
    with pytest.raises(DensityError, match="linearly dependent"):
        KernelDensity(torch.cat([data, data.sum(1, keepdim=True)], dim=1), kernel=Kernel.FULL)
    with pytest.raises(DensityError, match="no column"):
        KernelDensity(nothing(5))
    with pytest.raises(DensityError, match="the records repeat each other"):
        KernelDensity(data.repeat(2, 1), bandwidth=Bandwidth.LEAVE_ONE_OUT)
    with pytest.raises(DensityError, match=r"points of shape \(3, 1\), expected \(batch, 2\)"):
        KernelDensity(data)(nothing(3)).log_prob(torch.zeros(3, 1, dtype=torch.float64))
