"""A density of points, written as a density of the coordinates of their centre-of-mass-free subspace.

x = B z is orthonormal (:mod:`.rigid`), so log-densities carry over as they are. Samplers that know nothing of points,
such as annealing and the Boltzmann generator, then work on rows of numbers.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from scenariogen.randomness import uniform
from scenariogen.sampling.contract import ConditionalDensity, Distribution, rounded
from scenariogen.sampling.equivariant_flow import EquivariantFlow, EquivariantFlowDistribution
from scenariogen.sampling.rigid import from_points, subspace_basis, to_points

FAR = 1e6
"""Beyond this, in units of the flow's scale, the density is 0 in any precision, and the solver's squares overflow."""


class CoordinatesDistribution(Distribution):
    """z = Bᵀ x with x from the points' distribution."""

    def __init__(self, points: EquivariantFlowDistribution, basis: Tensor) -> None:
        self.points, self.basis = points, basis
        self.noise_columns = points.noise_columns

    @property
    def log_prob_is_exact(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the points."""
        return self.points.log_prob_is_exact

    def sample(self, noise: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch dim"]:
        return from_points(self.points.sample(noise), self.basis)

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        far = x.abs().amax(-1) > FAR * self.points.flow.scale
        log_prob = self.points.log_prob(to_points(x.masked_fill(far[:, None], 0.0), self.basis))
        return torch.where(far, -torch.inf, log_prob)

    def sample_and_log_prob(
        self, noise: Float[Tensor, "batch columns"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, " batch"]]:
        return self.push(torch.special.ndtri(noise))

    def push(self, z: Float[Tensor, "batch dim"]) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, " batch"]]:
        """Coordinates that standard normal ``z`` is carried to and their log-density, both differentiable."""
        x, log_prob = self.points.push(z)
        return from_points(x, self.basis), log_prob


class InCoordinates(ConditionalDensity):
    """``flow``, a density of (points, dim), as one of (points − 1)·dim numbers."""

    basis: Tensor

    def __init__(self, flow: EquivariantFlow) -> None:
        super().__init__()
        self.flow, self.context_width = flow, flow.context_width
        self.dim = (flow.points - 1) * flow.dim
        self.register_buffer("basis", flow.basis.clone())

    def forward(self, context: Float[Tensor, "batch context"]) -> CoordinatesDistribution:
        """The density for contexts of shape (batch, context)."""
        return CoordinatesDistribution(self.flow(context), self.basis)


def matching_loss(density: InCoordinates, rows: Float[Tensor, "batch dim"], seed: int) -> Float[Tensor, " batch"]:
    """The flow-matching loss of rows of coordinates (:meth:`.equivariant_flow.EquivariantFlow.flow_matching_loss`):
    what a Boltzmann generator of points can begin with, since it needs no solver."""
    noise = uniform(seed, torch.arange(len(rows), device=rows.device), rows.shape[1] + 1)
    return density.flow.flow_matching_loss(to_points(rows, density.basis), rounded(noise, rows.dtype))


def energy_in_coordinates(energy: Callable[[Tensor], Tensor], points: int) -> Callable[[Tensor], Tensor]:
    """z ↦ energy(B z): (batch, (points − 1)·dim) → (batch,)."""
    basis = subspace_basis(points)
    return lambda z: energy(to_points(z, basis.to(z)))
