"""What every density promises, over every member: see ``members.py`` for how to add one."""

import contextlib
import importlib
import inspect
import math
import pkgutil
import re
import sys
import types

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

import scenariogen.model
import scenariogen.sampling
from scenariogen.errors import DensityError
from scenariogen.randomness import uniform
from scenariogen.sampling.contract import ConditionalDensity, Distribution, Draws, draw, exact_log_prob
from tests.contracts.members import Member, all_members
from tests.support import ROOT

CPU = torch.device("cpu")
MEMBERS = all_members()
WITH_DENSITY = [m for m in MEMBERS if m.has_log_prob]
WITH_MASS = [m for m in WITH_DENSITY if m.exact and (m.quadrature or m.importance)]
DTYPES = [torch.float32, torch.float64]
DRAWS = 16_384
"""Draws of the statistical tests."""
WAVES = 8
"""Functions of a draw whose mean is compared."""

NOT_FOR_THE_PAGE = (
    "test_outside_the_support_the_log_density_is_minus_infinity",
    "test_what_is_not_exact_is_refused_in_weights",
    "test_what_has_no_density_says_so",
    "test_the_same_code_draws_on_cuda",
)
"""Tests of what the page's density is not."""

every = pytest.mark.parametrize("member", MEMBERS, ids=str)
every_with_density = pytest.mark.parametrize("member", WITH_DENSITY, ids=str)
every_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))


def drawn(member: Member, density: ConditionalDensity, rows: slice, **options) -> Draws:
    """Draws number ``rows.start`` to ``rows.stop``, each in its own context."""
    contexts = member.contexts(rows.stop)
    n = rows.stop - rows.start if contexts is None else None
    given = None if contexts is None else contexts[rows]
    return draw(density, given, n=n, first=rows.start, seed=7, block=member.block, **options)


def distribution(member: Member, rows: int, dtype: torch.dtype, *, same: int | None = None) -> Distribution:
    """The member's distribution in its first contexts, or ``rows`` times in context number ``same``."""
    contexts = member.contexts(rows if same is None else same + 1)
    if contexts is None:
        contexts = torch.zeros(rows, 0)
    elif same is not None:
        contexts = contexts[same].expand(rows, -1)
    return member.make(dtype, CPU)(contexts.to(dtype))


def noise(rows: int, columns: int, dtype: torch.dtype) -> Tensor:
    info = torch.finfo(dtype)
    return uniform(5, torch.arange(rows), columns).to(dtype).clamp(info.tiny, 1 - info.eps / 2)


def global_generators() -> tuple[list[int], list[int]]:
    """The states of torch's and numpy's."""
    return torch.get_rng_state().tolist(), list(np.random.get_state(legacy=True)[1])  # pyright: ignore


@every
@every_dtype
def test_a_draw_is_the_same_to_the_last_bit_in_a_request_of_any_size(member: Member, dtype: torch.dtype):
    density, end = member.make(dtype, CPU), 2 * member.block + 37
    everything = drawn(member, density, slice(0, end))
    assert everything.x.shape == (end, *member.shape) and everything.x.dtype == dtype
    assert torch.isfinite(everything.x).all()
    assert everything.log_prob_is_exact == (member.exact and member.has_log_prob)
    middle = member.block // 2 + member.block
    for rows in (slice(0, 17), slice(middle, middle + 90), slice(3, end)):
        part = drawn(member, density, rows)
        assert torch.equal(part.x, everything.x[rows])
        if member.has_log_prob:
            assert everything.log_prob is not None and part.log_prob is not None
            assert torch.equal(part.log_prob, everything.log_prob[rows])


@every
@every_dtype
def test_a_draw_is_a_pure_function_of_noise_and_leaves_global_generators_alone(member: Member, dtype: torch.dtype):
    before = global_generators()
    given = distribution(member, 64, dtype)
    u = noise(64, given.noise_columns, dtype)
    kept = u.clone()
    with torch.no_grad():
        first, second = given.sample(u), given.sample(u)
        again = distribution(member, 64, dtype).sample(u)
    assert first.shape == (64, *member.shape) and first.dtype == dtype
    assert torch.equal(first, second) and torch.equal(first, again) and torch.equal(u, kept)
    assert global_generators() == before


@every_with_density
@every_dtype
def test_the_log_density_of_own_draws_is_finite_and_the_one_they_came_with(member: Member, dtype: torch.dtype):
    given = distribution(member, 512, dtype)
    u = noise(512, given.noise_columns, dtype)
    with torch.no_grad():
        x, log_prob = given.sample_and_log_prob(u)
        later = given.log_prob(x)
        sampled = given.sample(u)
    assert log_prob is not None and log_prob.shape == later.shape == (512,) and later.dtype == dtype
    assert torch.isfinite(later).all()
    # Where single precision rounds a draw, its density moves with it: what may differ then is 1 in 100 draws.
    tolerance = member.tolerance if dtype == torch.float64 else 2e-2
    far = (log_prob - later).abs() > tolerance * (1 + later.abs())
    assert float(far.double().mean()) <= (0.0 if dtype == torch.float64 else 0.01)
    assert torch.allclose(x, sampled, rtol=1e-5 if dtype == torch.float32 else 1e-9, atol=1e-5)


@pytest.mark.parametrize("member", [m for m in WITH_DENSITY if m.outside is not None], ids=str)
@every_dtype
def test_outside_the_support_the_log_density_is_minus_infinity(member: Member, dtype: torch.dtype):
    assert member.outside is not None
    outside = member.outside.to(dtype)
    assert torch.isneginf(distribution(member, len(outside), dtype).log_prob(outside)).all()


@every_with_density
@every_dtype
def test_far_away_the_log_density_is_a_number_or_minus_infinity(member: Member, dtype: torch.dtype):
    # The outermost overflow when they are squared: −∞ there, and never the largest negative number in its place.
    far = torch.finfo(dtype).max ** 0.65
    given = distribution(member, 8, dtype)
    x = torch.tensor([-far, -1e15, -1e6, -3.7, 0.37, 1e6, 1e15, far], dtype=dtype)
    log_prob = given.log_prob(x.reshape(-1, *[1] * len(member.shape)).expand(8, *member.shape).contiguous())
    assert not torch.isnan(log_prob).any() and not torch.isposinf(log_prob).any()
    assert (torch.isneginf(log_prob) | (log_prob > 1e-3 * torch.finfo(dtype).min)).all()


@every_with_density
def test_what_is_no_point_has_no_density_or_is_refused(member: Member):
    given = distribution(member, 2, torch.float64)
    for value in (math.nan, math.inf, -math.inf):
        with contextlib.suppress(DensityError):
            assert torch.isneginf(given.log_prob(torch.full((2, *member.shape), value, dtype=torch.float64))).all()


def expectations(member: Member, row: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of the density in context ``row``: its mass and that mass's standard error, and by how much the means of
    cos(k·x + φ) under it differ from those over own draws, (wave,), with their covariance (wave, wave)."""
    x = drawn_in_one_context(member, row)
    flat = x.reshape(len(x), -1)
    scale = flat.std(0).clamp_min(1e-9)
    size = flat.shape[1]
    angles = uniform(11, torch.arange(WAVES), size + 1)
    frequencies = torch.special.ndtri(angles[:, :size]) / scale / math.sqrt(size)

    def waves(points: Tensor) -> Tensor:
        return torch.cos(points.reshape(len(points), -1) @ frequencies.T + 2 * math.pi * angles[:, size])

    own = waves(x)
    if member.quadrature is not None:
        nodes, weights = member.quadrature()
        p = weights * torch.exp(in_parts(member, nodes, row))
        covariance = torch.cov(own.T) / DRAWS + member.quadrature_tolerance**2 * torch.eye(WAVES)
        return p.sum(), p.new_zeros(()), p @ waves(nodes) - own.mean(0), covariance
    nodes, log_q = around(flat)
    w = torch.exp(in_parts(member, nodes.reshape(-1, *member.shape), row) - log_q)
    terms = w[:, None] * waves(nodes)
    covariance = (torch.cov(terms.T) + torch.cov(own.T)) / DRAWS
    return w.mean(), w.std() / math.sqrt(DRAWS), terms.mean(0) - own.mean(0), covariance


def drawn_in_one_context(member: Member, row: int) -> Tensor:
    contexts = member.contexts(row + 1)
    given = None if contexts is None else contexts[row].expand(DRAWS, -1)
    return draw(member.make(torch.float64, CPU), given, n=DRAWS, seed=3, block=member.block).x


def in_parts(member: Member, x: Tensor, row: int) -> Tensor:
    parts = []
    with torch.no_grad():
        for part in x.split(16_384):
            parts.append(exact_log_prob(distribution(member, len(part), torch.float64, same=row), part))
    return torch.cat(parts)


def around(x: Tensor, *, freedom: int = 5, centres: int = 4000, wide: float = 0.3) -> tuple[Tensor, Tensor]:
    """Draws, and their log-density, of a mixture of a multivariate t with the mean and 1.5 times the covariance of
    ``x`` and of a kernel density of ``x``."""
    dim, rows = x.shape[1], torch.arange(DRAWS)
    root = torch.linalg.cholesky(1.5 * torch.atleast_2d(torch.cov(x.T)))
    z = torch.special.ndtri(uniform(13, rows, dim + freedom))
    far = x.mean(0) + z[:, :dim] / torch.sqrt((z[:, dim:] ** 2).sum(1, keepdim=True) / freedom) @ root.T
    kernel = stats.gaussian_kde(x[:centres].T.numpy(), "silverman")
    u = uniform(17, rows, 2)
    near = x[(u[:, 0] * centres).long()] + z[:, :dim] @ torch.as_tensor(np.linalg.cholesky(kernel.covariance)).T
    drawn = torch.where(u[:, 1:] < wide, far, near)
    student = stats.multivariate_t(x.mean(0).numpy(), (root @ root.T).numpy(), df=freedom)
    logs = np.log(wide) + student.logpdf(drawn.numpy()), np.log(1 - wide) + kernel.logpdf(drawn.T.numpy())
    return drawn, torch.as_tensor(np.logaddexp(*logs)).reshape(-1)


@pytest.mark.parametrize("member", WITH_MASS, ids=str)
def test_the_density_integrates_to_one_and_draws_follow_it(member: Member):
    for row in (0, 1) if member.contexts(1) is not None else (0,):
        mass, error, gap, covariance = expectations(member, row)
        assert float(error) < 0.05, "too few draws to tell"
        assert abs(float(mass) - 1) <= 4 * float(error) + member.quadrature_tolerance * (member.quadrature is not None)
        # χ² with as many degrees of freedom as waves; passed by chance once in 100,000 times.
        distance = float(gap @ torch.linalg.solve(covariance, gap))
        assert distance < float(stats.chi2.ppf(1 - 1e-5, WAVES))


def test_an_exact_density_says_how_its_mass_is_shown():
    silent = [
        m.name
        for m in WITH_DENSITY
        if m.exact and (bool(m.quadrature), m.importance, bool(m.mass_shown_in)).count(True) != 1
    ]
    assert silent == []


@every
def test_a_bad_context_says_what_was_got_and_expected(member: Member):
    density = member.make(torch.float64, CPU)
    width = density.context_width
    wrong = torch.zeros(4, width + 1, dtype=torch.float64)
    with pytest.raises(DensityError, match=rf"shape \(4, {width + 1}\), expected \(batch, {width}\)"):
        density(wrong)
    with pytest.raises(DensityError, match=r"expected \(batch"):
        draw(density, wrong, seed=1, block=member.block)
    if width:
        with pytest.raises(DensityError, match=rf"got no context, expected \(batch, {width}\)"):
            draw(density, n=4, seed=1, block=member.block)  # a context of zeros was taken in its place
        for bad in (math.nan, math.inf):
            context = member.contexts(4)
            assert context is not None
            context = context.clone()
            context[2, width - 1] = bad
            with pytest.raises(DensityError, match="nan or infinite, expected finite"):
                density(context)


@pytest.mark.parametrize("member", [m for m in MEMBERS if not (m.exact and m.has_log_prob)], ids=str)
def test_what_is_not_exact_is_refused_in_weights(member: Member):
    given = distribution(member, 8, torch.float64)
    with torch.no_grad():
        x = given.sample(noise(8, given.noise_columns, torch.float64))
    with pytest.raises(DensityError, match="not the exact log-density"):
        exact_log_prob(given, x)


@pytest.mark.parametrize("member", [m for m in MEMBERS if not m.has_log_prob], ids=str)
def test_what_has_no_density_says_so(member: Member):
    given = distribution(member, 8, torch.float64)
    u = noise(8, given.noise_columns, torch.float64)
    with torch.no_grad():
        x, log_prob = given.sample_and_log_prob(u)
    assert log_prob is None and not given.has_log_prob
    with pytest.raises(DensityError):
        given.log_prob(x)
    assert drawn(member, member.make(torch.float64, CPU), slice(0, 5)).log_prob is None


@every
def test_a_stored_state_gives_the_same_draws(member: Member):
    density, other = member.make(torch.float64, CPU), member.make(torch.float64, CPU)
    loose = [name for each in density.modules() for name, value in vars(each).items() if isinstance(value, Tensor)]
    assert loose == [], "tensors that are neither parameters nor buffers are not stored, nor moved to a device"
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1)
    missing = other.load_state_dict({name: each.clone() for name, each in density.state_dict().items()})
    assert not missing.missing_keys and not missing.unexpected_keys
    rows = slice(0, 32)
    assert torch.equal(drawn(member, other, rows).x, drawn(member, density, rows).x)


@every
def test_a_density_can_be_moved_to_another_precision(member: Member):
    rows = slice(0, 256)
    double = drawn(member, member.make(torch.float64, CPU), rows).x
    single = drawn(member, member.make(torch.float64, CPU).to(torch.float32), rows)
    assert single.x.dtype == torch.float32
    if member.has_log_prob:
        assert single.log_prob is not None and single.log_prob.dtype == torch.float32
    gap = (single.x.double() - double).abs().reshape(256, -1).amax(1)
    assert float(gap.median()) <= 1e-3 * (1 + float(double.abs().mean()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every
def test_the_same_code_draws_on_cuda(member: Member):
    device = torch.device("cuda")
    density, rows = member.make(torch.float64, device), slice(0, 256)
    there = drawn(member, density, rows)
    here = drawn(member, member.make(torch.float64, CPU), rows)
    assert there.x.device.type == "cuda"
    gap = (there.x.cpu() - here.x).abs().reshape(256, -1).amax(1)
    assert float(gap.median()) <= 1e-6 * (1 + float(here.x.abs().mean()))
    if there.log_prob is not None:
        assert there.log_prob.device.type == "cuda" and not torch.isnan(there.log_prob).any()
    assert torch.equal(there.x[100:], drawn(member, density, slice(100, 256)).x)


def test_every_density_is_a_member():
    defined = set()
    for package in (scenariogen.sampling, scenariogen.model):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for _, each in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                ours = each.__module__.startswith(f"{package.__name__}.")
                if ours and issubclass(each, ConditionalDensity) and not inspect.isabstract(each):
                    defined.add(each)
    covered = {type(m.make(torch.float64, CPU)) for m in MEMBERS}
    assert sorted(each.__qualname__ for each in defined - covered) == []


def test_the_density_of_the_page_keeps_the_contract(monkeypatch: pytest.MonkeyPatch):
    text = (ROOT / "docs" / "writing-a-density.md").read_text(encoding="utf-8")
    density, members = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    for name, code in (("scenariogen.sampling.laplace", density), ("tests.contracts.members_laplace", members)):
        module = types.ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(code, module.__dict__)
    (member,) = sys.modules["tests.contracts.members_laplace"].MEMBERS
    for name, test in list(globals().items()):
        wanted = set(inspect.signature(test).parameters) if name.startswith("test_") else set()
        if "member" in wanted and name not in NOT_FOR_THE_PAGE:
            for dtype in DTYPES if "dtype" in wanted else [None]:
                test(**{"member": member, "dtype": dtype} if dtype else {"member": member})
