"""The Boltzmann generator on targets whose answers are known: modes, partition functions, free energies."""

import dataclasses
import math

import pytest
import torch

from scenariogen.errors import DensityError
from scenariogen.randomness import normal
from scenariogen.sampling.boltzmann import BoltzmannGenerator, BoltzmannSettings, Direction
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.normal import isotropic
from scenariogen.sampling.targets import Benchmark, BoltzmannTarget, gaussian_mixture, many_well, relative_to
from scenariogen.sampling.weighing import weigh

FOUR = gaussian_mixture(components=4, width=6.0, seed=1)


def target_of(benchmark: Benchmark, spread: float, *, beta: float = 1.0) -> BoltzmannTarget:
    prior = isotropic(benchmark.dim, spread)
    return BoltzmannTarget(prior=prior, energy=relative_to(prior, benchmark.energy), beta=beta)


def small_flow(dim: int = 2) -> CouplingFlow:
    return CouplingFlow(dim, transforms=4, bins=12, hidden=(32, 32), marginal_bins=12, seed=2)


def settings(direction: Direction, **changed) -> BoltzmannSettings:
    given = {
        "direction": direction, "updates": 150, "warm_up": 40, "batch": 256, "particles": 2000, "fresh": 1000,
        "updates_per_step": 25, "learning_rate": 3e-3, "averaging": 0.95,
    }  # fmt: skip
    return BoltzmannSettings(**given | changed)


@pytest.mark.parametrize("direction", [Direction.FORWARD, Direction.BOTH])
def test_all_modes_and_the_partition_function_are_found_from_energies_alone(direction):
    target = target_of(FOUR, 6.0)
    flow, _ = BoltzmannGenerator(target=target, flow=small_flow(), settings=settings(direction)).train(3)
    drawn = weigh(flow, target, seed=5, n=20_000)
    assert drawn.effective_size / len(drawn) > 0.5  # a normal with the right mean and covariance has 0.2
    assert abs(drawn.log_z.value - FOUR.log_z) < 3 * drawn.log_z.standard_error + 1e-9
    nearest = torch.cdist(drawn.x, FOUR.modes).argmin(1)
    for mode in range(4):
        share = drawn.mean((nearest == mode).double())
        exact = overlap_free_share(mode)
        assert abs(share.value - exact) < 4 * share.standard_error
    assert target.energies > target.gradients > 0


def overlap_free_share(mode: int) -> float:
    """Probability under the mixture that this centre is the nearest one, by quadrature."""
    side = torch.linspace(-14, 14, 1401, dtype=torch.float64)
    x = torch.cartesian_prod(side, side)
    mass = torch.exp(-FOUR.energy(x))
    return float(mass[torch.cdist(x, FOUR.modes).argmin(1) == mode].sum() / mass.sum())


def test_the_reverse_divergence_alone_fits_a_target_with_one_mode():
    def energy(x):
        return 0.5 * (x[:, 0] ** 2 + (x[:, 1] - 0.4 * x[:, 0] ** 2) ** 2)

    prior = isotropic(2, 2.0)
    target = BoltzmannTarget(prior=prior, energy=relative_to(prior, energy))
    flow, state = BoltzmannGenerator(
        target=target, flow=small_flow(), settings=settings(Direction.REVERSE, updates=250)
    ).train(1)
    drawn = weigh(flow, target, seed=2, n=20_000)
    assert len(state.buffer) == 0  # no draw of the target was used
    assert drawn.effective_size / len(drawn) > 0.8
    assert abs(drawn.log_z.value - math.log(2 * math.pi)) < 3 * drawn.log_z.standard_error
    square = drawn.mean(drawn.x[:, 1])  # E[x₁] = 0.4 E[x₀²]
    assert abs(square.value - 0.4) < 4 * square.standard_error


def test_the_free_energy_difference_of_two_basins():
    well = many_well(dim=2)
    target = target_of(well, 2.0)
    flow, _ = BoltzmannGenerator(target=target, flow=small_flow(), settings=settings(Direction.BOTH)).train(4)
    drawn = weigh(flow, target, seed=6, n=30_000)
    found = drawn.free_energy_difference(drawn.x[:, 0] > 0, drawn.x[:, 0] <= 0)
    a = torch.linspace(-5, 5, 100_001, dtype=torch.float64)
    density = torch.exp(-(a**4 - 6 * a**2 - 0.5 * a))
    exact = -math.log(float(density[a > 0].sum() / density[a <= 0].sum()))
    assert found.standard_error < 0.05
    assert abs(found.value - exact) < 3 * found.standard_error


def test_a_step_is_a_function_of_seed_and_state_and_changes_neither():
    flow = small_flow()
    before = {name: value.clone() for name, value in flow.state_dict().items()}
    generator = BoltzmannGenerator(target=target_of(FOUR, 6.0), flow=flow, settings=settings(Direction.BOTH))
    state = generator.start(1)
    kept = {name: value.clone() for name, value in state.parameters.items()}
    torch.manual_seed(0)
    first, info = generator.step(1, state)
    torch.rand(5)
    again, _ = generator.step(1, state)
    other, _ = generator.step(2, state)
    assert all(torch.equal(first.average[name], again.average[name]) for name in kept)
    assert not all(torch.equal(first.average[name], other.average[name]) for name in kept)
    assert all(torch.equal(state.parameters[name], kept[name]) for name in kept)
    assert all(torch.equal(flow.state_dict()[name], before[name]) for name in before)
    assert info.updates == 25 and info.energies > 0 and info.reverse is None  # still warming up


def test_the_best_parameters_are_the_ones_that_are_kept():
    generator = BoltzmannGenerator(target=target_of(FOUR, 6.0), flow=small_flow(), settings=settings(Direction.FORWARD))
    shares, state = [], generator.start(2)
    while state.updates < generator.settings.updates:
        state, info = generator.step(2, state)
        shares.append(info.share if info.updates > 40 else 0.0)
    assert state.best_share == max(shares)
    spoilt = dataclasses.replace(
        state, parameters={name: torch.zeros_like(value) + 1.0 for name, value in state.parameters.items()}, updates=0
    )
    worse, _ = generator.step(3, spoilt)
    assert all(torch.equal(worse.best[name], state.best[name]) for name in state.best)


def test_weights_are_the_energies_against_the_flow():
    target = target_of(FOUR, 6.0, beta=0.5)
    flow = small_flow()
    flow.standardise(3.0 * normal(1, torch.arange(200), 2))
    drawn = weigh(flow, target, seed=1, n=500, block=128)
    assert torch.equal(weigh(flow, target, seed=1, n=300).x[:128], drawn.x[:128])
    with torch.no_grad():
        log_q = flow(drawn.x[:, :0]).log_prob(drawn.x)
    prior = target.log_prior(drawn.x)
    expected = prior - 0.5 * (FOUR.energy(drawn.x) + prior) - log_q
    assert torch.allclose(drawn.log_w, expected, atol=1e-9)
    w = torch.exp(drawn.log_w)
    assert drawn.effective_size == pytest.approx(float(w.sum() ** 2 / (w**2).sum()))
    assert drawn.log_z.value == pytest.approx(math.log(float(w.mean())))
    assert drawn.mean(drawn.x[:, 0]).value == pytest.approx(float((w * drawn.x[:, 0]).sum() / w.sum()))


def test_errors_say_what_was_got_and_expected():
    prior = isotropic(2, 1.0)
    generator = BoltzmannGenerator(target=target_of(FOUR, 6.0), flow=small_flow())
    with pytest.raises(DensityError, match="averaging is 1"):
        BoltzmannSettings(averaging=1.0)
    with pytest.raises(DensityError, match="at least 1"):
        BoltzmannSettings(updates=0)
    nothing = BoltzmannTarget(prior=prior, energy=lambda x: torch.full_like(x[:, 0], torch.nan))
    with pytest.raises(DensityError, match="the energy gave nan for 10 of 10 rows"):
        weigh(small_flow(), nothing, seed=1, n=10)
    nowhere = BoltzmannTarget(prior=prior, energy=lambda x: torch.full_like(x[:, 0], torch.inf))
    with pytest.raises(DensityError, match="of 10 log-weights 0 are finite"):
        weigh(small_flow(), nowhere, seed=1, n=10)
    with pytest.raises(DensityError, match=r"gave shape \(10, 2\) for 10 rows"):
        weigh(small_flow(), BoltzmannTarget(prior=prior, energy=lambda x: x), seed=1, n=10)
    drawn = weigh(small_flow(), generator.target, seed=1, n=100)
    with pytest.raises(DensityError, match="no weight lies in basin B"):
        drawn.free_energy_difference(drawn.x[:, 0] > -1e9, drawn.x[:, 0] > 1e9)
