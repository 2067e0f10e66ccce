"""Points written in the coordinates of their centre-of-mass-free subspace: the same density, row by row."""

import pytest
import torch

from scenariogen.errors import DensityError
from scenariogen.randomness import normal, uniform
from scenariogen.sampling.coordinates import InCoordinates, energy_in_coordinates, matching_loss
from scenariogen.sampling.equivariant_flow import EquivariantFlow
from scenariogen.sampling.rigid import from_points, to_points
from scenariogen.sampling.targets import double_well_energy
from tests.contracts.members import shaken

NOTHING = torch.zeros((40, 0), dtype=torch.float64)


def made() -> InCoordinates:
    return shaken(lambda: InCoordinates(EquivariantFlow(3, 2, hidden=8, kernels=6, steps=16)), scale=0.03)


def test_log_density_and_draws_are_those_of_the_points():
    density = made()
    u = uniform(1, torch.arange(40), 4)
    rows, log_prob = density(NOTHING).sample_and_log_prob(u)
    points, of_points = density.flow(NOTHING).sample_and_log_prob(u)
    assert torch.allclose(to_points(rows, density.basis), points, atol=1e-12)
    assert torch.allclose(log_prob, of_points, atol=1e-12)
    assert torch.allclose(rows.square().sum(1), points.square().sum((1, 2)))  # orthonormal: no volume is lost
    assert torch.allclose(density(NOTHING).log_prob(rows), density.flow(NOTHING).log_prob(points), atol=1e-12)


def test_the_density_integrates_to_one():
    """The density of two points depends on their distance alone: ∫ p = 2π ∫ r p(r) dr."""
    density = shaken(lambda: InCoordinates(EquivariantFlow(2, 2, hidden=8, kernels=6, steps=16)), scale=0.03)
    r = torch.linspace(0, 14, 4001, dtype=torch.float64)
    with torch.no_grad():
        p = density(NOTHING[:1].expand(len(r), 0)).log_prob(torch.stack([r, 0 * r], 1)).exp()
    assert float(torch.trapezoid(2 * torch.pi * r * p, r)) == pytest.approx(1.0, abs=1e-5)


def test_energies_and_the_matching_loss_are_those_of_the_points():
    density = made()
    rows = normal(3, torch.arange(40), 4)
    points = to_points(rows, density.basis)
    assert torch.allclose(energy_in_coordinates(double_well_energy, 3)(rows), double_well_energy(points))
    assert torch.allclose(from_points(points, density.basis), rows)
    loss = matching_loss(density, rows, 5)
    own = density.flow.flow_matching_loss(points, uniform(5, torch.arange(40), 5))
    assert torch.allclose(loss, own)


def test_where_the_density_is_zero_in_any_precision_it_says_so():
    density = made()
    far = torch.tensor([[1e9, 0.0, 0.0, 0.0], [0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
    log_prob = density(NOTHING[:2]).log_prob(far)
    assert log_prob[0] == -torch.inf and torch.isfinite(log_prob[1])
    with pytest.raises(DensityError, match="expected"):
        density(torch.zeros((2, 3), dtype=torch.float64))
