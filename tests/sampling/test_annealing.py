"""Annealing, parallel tempering and the replay buffer against closed forms."""

import math

import pytest
import torch

from scenariogen.errors import DensityError
from scenariogen.randomness import uniform
from scenariogen.sampling.annealing import Annealing, anneal, systematic
from scenariogen.sampling.normal import isotropic
from scenariogen.sampling.replay import empty
from scenariogen.sampling.targets import (
    BoltzmannTarget,
    double_well_energy,
    gaussian_mixture,
    lennard_jones_energy,
    many_well,
    relative_to,
)
from scenariogen.sampling.tempering import Tempering


def quadratic(x):
    """β = 1 turns N(0, 2² I) into a normal with mean 1 and variance 1/(1/4 + 3)."""
    return 1.5 * ((x - 1.0) ** 2).sum(-1)


def test_annealing_reaches_a_normal_target_and_its_partition_function():
    target = BoltzmannTarget(prior=isotropic(3, 2.0), energy=quadratic)
    found = anneal(Annealing(target=target), 1, 4000, extra_steps=2)
    precision = 0.25 + 3.0
    mean, variance = 3.0 / precision, 1 / precision
    assert found.beta == 1.0
    error = math.sqrt(variance / 4000)
    assert (found.x.mean(0) - mean).abs().max() < 5 * error  # moves make resampled copies independent again
    assert (found.x.var(0) / variance - 1).abs().max() < 5 * math.sqrt(2 / 4000)
    exact = 3 * (0.5 * math.log(0.25 / precision) - 0.5 * (3.0 - 9.0 / precision))
    others = [anneal(Annealing(target=target), seed, 500).log_z for seed in range(2, 18)]
    error = float(torch.tensor(others).std()) * math.sqrt(500 / 4000)  # of a population of 4000
    assert found.log_z == pytest.approx(exact, abs=4 * error) and error < 0.05
    assert target.gradients > 0


def test_annealing_keeps_the_weights_of_modes_no_chain_could_change():
    mixture = gaussian_mixture(components=5, width=30.0, seed=3)
    prior = isotropic(2, 25.0)
    target = BoltzmannTarget(prior=prior, energy=relative_to(prior, mixture.energy))
    found = anneal(Annealing(target=target, effective_share=0.9), 2, 5000)
    counts = torch.cdist(found.x, mixture.modes).argmin(1).bincount(minlength=5) / 5000
    # Resampling correlates particles: twice the binomial error of the smallest stage (90 % of 5000 effective).
    assert (counts - 0.2).abs().max() < 4 * 2 * math.sqrt(0.2 * 0.8 / 4500)


def test_annealing_says_so_where_nothing_is_reached():
    with pytest.raises(DensityError, match="all 50 particles have infinite energy"):
        target = BoltzmannTarget(prior=isotropic(2, 1.0), energy=lambda x: x[:, 0] * 0 + math.inf)
        anneal(Annealing(target=target), 1, 50)
    with pytest.raises(DensityError, match="after 1 steps"):
        target = BoltzmannTarget(prior=isotropic(2, 2.0), energy=lambda x: 1e4 * (x**2).sum(-1))
        anneal(Annealing(target=target), 1, 50, most_steps=1)


def test_annealing_beside_a_hard_wall():
    # Half of the prior lies beyond the wall; what is left is a half normal of precision 2.
    def energy(x):
        return torch.where(x[:, 0] > 0, 0.5 * (x**2).sum(-1), torch.inf)

    def made(seed: int, particles: int):
        return anneal(Annealing(target=BoltzmannTarget(prior=isotropic(2, 1.0), energy=energy)), seed, particles)

    found = made(1, 4000)
    assert found.beta == 1.0 and (found.x[:, 0] > 0).all()
    error = float(torch.tensor([made(seed, 500).log_z for seed in range(2, 18)]).std()) * math.sqrt(500 / 4000)
    assert found.log_z == pytest.approx(math.log(0.25), abs=4 * error) and error < 0.05
    # At β = 0 nothing but the wall is left.
    wall = anneal(Annealing(target=BoltzmannTarget(prior=isotropic(2, 1.0), energy=energy, beta=0.0)), 1, 4000)
    assert (wall.x[:, 0] > 0).all()
    assert wall.log_z == pytest.approx(math.log(0.5), abs=4 / math.sqrt(4000))  # of a share of a half


def test_settings_of_annealing_that_are_none():
    target = BoltzmannTarget(prior=isotropic(2, 1.0), energy=quadratic)
    with pytest.raises(DensityError, match=r"(?s)effective_share is 1\.0.*moves is 0.*leapfrogs is -1"):
        Annealing(target=target, effective_share=1.0, moves=0, leapfrogs=-1)
    with pytest.raises(
        DensityError, match=r"(?s)the first β is 0\.9, expected the target's own, 1\.0.*got 0 leapfrogs"
    ):
        Tempering(target=target, betas=(0.9, 0.5), leapfrogs=0)


def test_systematic_resampling_takes_each_row_about_as_often_as_its_weight_says():
    # Each of n rows of share w comes either ⌊n w⌋ or ⌈n w⌉ times, or one more where the shares before it round so.
    w = torch.rand(50, generator=torch.Generator().manual_seed(3), dtype=torch.float64) ** 4
    w[7] = 0.0
    expected = 50 * w / w.sum()
    assert float(expected.max()) > 3
    for offset in (0.01, 0.5, 0.99):
        counts = systematic(torch.tensor(offset), w.log()).bincount(minlength=50)
        assert counts[7] == 0 and (counts - expected).abs().max() < 1


def test_tempering_samples_two_wells_that_a_single_chain_does_not_connect():
    def energy(x):
        return 8.0 * (x[:, 0] ** 2 - 1) ** 2 - 0.5 * x[:, 0]

    prior = isotropic(1, 1.0)
    target = BoltzmannTarget(prior=prior, energy=energy)
    sampler = Tempering(target=target, betas=(1.0, 0.5, 0.2, 0.05), adapting=60)
    state = sampler.start(torch.full((400, 1), -1.0, dtype=torch.float64))
    total, rounds = torch.zeros(400, dtype=torch.float64), 0
    for number in range(360):
        state, info = sampler.step(7, state)
        if number >= 160:
            total, rounds = total + (state.x[:, 0, 0] > 0), rounds + 1
    means = total / rounds
    error = float(means.std()) / math.sqrt(400)
    x = torch.linspace(-4, 4, 80_001, dtype=torch.float64)
    density = torch.exp(-0.5 * x**2 - energy(x[:, None]))
    exact = float(density[x > 0].sum() / density.sum())
    assert error < 0.03 and abs(float(means.mean()) - exact) < 3 * error
    assert 0.2 < info.swapped < 1 and 0.4 < info.moved < 1
    with pytest.raises(DensityError, match="at least 2 that fall"):
        Tempering(target=target, betas=(0.5, 1.0))


def test_the_buffer_gives_rows_in_proportion_to_their_weights_and_forgets_the_oldest():
    buffer = empty(4, 1, like=torch.zeros(1, dtype=torch.float64))
    with pytest.raises(DensityError, match="empty"):
        buffer.pick(torch.rand(3))
    rows = torch.arange(5.0, dtype=torch.float64)[:, None]
    log_w = torch.log(torch.tensor([9.0, 1.0, 2.0, 0.0, 5.0], dtype=torch.float64))
    held = buffer.add(rows, log_w)
    assert len(buffer) == 0 and held.x[:, 0].tolist() == [0.0, 1.0, 2.0, 4.0]  # weight 0 is not kept
    later = held.add(rows[:1] + 10, torch.zeros(1, dtype=torch.float64))
    assert later.x[:, 0].tolist() == [1.0, 2.0, 4.0, 10.0]
    picked = later.pick(uniform(1, torch.arange(90_000), 1)[:, 0]).bincount(minlength=4) / 90_000
    exact = torch.tensor([1.0, 2.0, 5.0, 1.0], dtype=torch.float64) / 9
    assert ((picked - exact).abs() < 4 * (exact * (1 - exact) / 90_000).sqrt()).all()
    changed = later.reweigh(torch.tensor([2]), torch.tensor([-torch.inf], dtype=torch.float64))
    assert 2 not in changed.pick(uniform(2, torch.arange(1000), 1)[:, 0])
    for none in (torch.nan, torch.inf):  # an infinite weight took the place of all others
        changed = later.reweigh(torch.tensor([2]), torch.tensor([none], dtype=torch.float64))
        assert changed.pick(uniform(2, torch.arange(1000), 1)[:, 0]).unique().tolist() == [0, 1, 3]
    with pytest.raises(DensityError, match="all its weights are 0"):
        later.reweigh(torch.arange(4), torch.full((4,), torch.nan, dtype=torch.float64)).pick(torch.rand(3))
    with pytest.raises(DensityError, match="nan"):
        held.add(rows[:1], torch.tensor([torch.nan], dtype=torch.float64))


def test_no_priority_exceeds_the_limit():
    buffer = empty(1000, 1, like=torch.zeros(1, dtype=torch.float64))
    log_w = torch.zeros(1000, dtype=torch.float64)
    log_w[3] = 20.0
    held = buffer.add(torch.zeros(1000, 1, dtype=torch.float64), log_w)
    share = float((held.pick(uniform(1, torch.arange(20_000), 1)[:, 0]) == 3).double().mean())
    # Clipped to 50 times the mean: 0.05 against all others' 999 e⁻²⁰ / (1 + 999 e⁻²⁰), which come to 2e-6.
    assert share > 0.99


def test_energies_are_what_they_say():
    x = torch.linspace(-9, 9, 60_001, dtype=torch.float64)
    well = many_well(dim=2)
    parts = torch.exp(-well.energy(torch.stack([x, 0 * x], 1))).sum() * (x[1] - x[0]) * math.sqrt(2 * math.pi)
    assert well.log_z == pytest.approx(math.log(float(parts)), abs=1e-6)
    assert many_well(dim=32).log_z == pytest.approx(16 * well.log_z)
    slope = torch.autograd.functional.jacobian(lambda m: well.energy(m).sum(), well.modes)
    assert slope.abs().max() < 2e-3  # the minima to four digits
    pair = torch.tensor([[[0.0, 0.0], [3.0, 4.0]]], dtype=torch.float64)
    assert float(double_well_energy(pair)) == pytest.approx(-4 * 1 + 0.9)
    apart = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]], dtype=torch.float64)
    assert float(lennard_jones_energy(apart)) == pytest.approx(-1.0 + 0.25)
    near = torch.tensor([[[0.0, 0, 0], [0.6, 0, 0]], [[0.0, 0, 0], [0.6 - 1e-6, 0, 0]]], dtype=torch.float64)
    first, second = lennard_jones_energy(near)
    assert float(second - first) == pytest.approx(1e-6 * 12 * (0.6**-13 - 0.6**-7), rel=1e-3)  # joined smoothly
    with pytest.raises(DensityError, match="even number"):
        many_well(dim=3)
