"""Members of the Boltzmann generator: its prior, the flow with marginal splines, points in coordinates."""

import torch

from scenariogen.randomness import normal
from scenariogen.sampling.contract import ConditionalDensity
from scenariogen.sampling.coordinates import InCoordinates
from scenariogen.sampling.equivariant_flow import EquivariantFlow
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.normal import DiagonalNormal
from tests.contracts.members import Member, no_context, normal_contexts, shaken


def with_marginals(dtype: torch.dtype) -> ConditionalDensity:
    """A flow whose marginal splines and scale were taken from data."""
    flow = CouplingFlow(3, 1, transforms=2, hidden=(16,), marginal_bins=8, dtype=dtype)
    z = normal(4, torch.arange(400), 3)
    flow.standardise((z + 0.5 * z**3 + torch.tensor([1.0, -2.0, 0.0])).to(dtype))
    return flow


MEMBERS = [
    Member(
        name="diagonal normal",
        make=lambda dtype, device: DiagonalNormal(
            torch.tensor([1.0, -2.0], dtype=dtype), torch.tensor([0.5, 3.0], dtype=dtype)
        ).to(device),
        contexts=no_context,
        shape=(2,),
        importance=True,
    ),
    Member(
        name="flow with marginal splines",
        make=lambda dtype, device: shaken(lambda: with_marginals(dtype), scale=0.2).to(device),
        contexts=normal_contexts(1),
        shape=(3,),
        importance=True,
    ),
    Member(
        name="points in coordinates",
        make=lambda dtype, device: shaken(
            lambda: InCoordinates(EquivariantFlow(3, 2, hidden=8, kernels=6, steps=16, dtype=dtype)), scale=0.03
        ).to(device),
        contexts=no_context,
        shape=(4,),
        mass_shown_in="tests/sampling/test_coordinates.py",
        tolerance=1e-5,  # of the solver
        block=128,
    ),
]
