"""Members with a symmetry: densities and generators of sets of points and of what the nodes of a graph carry."""

import torch

from scenariogen.randomness import normal
from scenariogen.sampling.contract import ConditionalDensity
from scenariogen.sampling.equivariant_flow import EquivariantFlow
from scenariogen.sampling.message_passing import Graph, graph_flow
from scenariogen.sampling.rigid import CentredNormal
from scenariogen.sampling.sets import SetFlow
from scenariogen.sampling.symmetric_generators import equivariant_cvae, equivariant_gan
from tests.contracts.members import Member, no_context, normal_contexts, shaken


def on_a_chain(dtype: torch.dtype) -> ConditionalDensity:
    """Two numbers at each of four nodes in a row."""
    graph = Graph(4, torch.tensor([0, 1, 2]), torch.tensor([1, 2, 3]), normal(1, torch.arange(3), 1))
    return graph_flow(graph, normal(2, torch.arange(4), 1), 2, hidden=8, transforms=2, bins=6, dtype=dtype)


def part_of_cvae(name: str, dtype: torch.dtype) -> ConditionalDensity:
    """The encoder or the decoder by itself, of three points in the plane with one latent number each."""
    whole = shaken(lambda: equivariant_cvae(3, 2, 1, latent=1, hidden=8, rounds=1, dtype=dtype), scale=0.1)
    return getattr(whole, name)


MEMBERS = [
    Member(
        name="centred normal",
        make=lambda dtype, device: CentredNormal(4, 3, scale=0.7, dtype=dtype).to(device),
        contexts=no_context,
        shape=(4, 3),
        mass_shown_in="tests/sampling/test_rigid.py",
    ),
    Member(
        name="equivariant flow in the plane",
        make=lambda dtype, device: shaken(
            lambda: EquivariantFlow(4, 2, context_width=1, hidden=8, kernels=6, steps=16, dtype=dtype), scale=0.03
        ).to(device),
        contexts=normal_contexts(1),
        shape=(4, 2),
        mass_shown_in="tests/sampling/test_equivariant_flow.py",
        tolerance=1e-5,  # of the solver
        block=128,
    ),
    Member(
        name="equivariant flow in space",
        make=lambda dtype, device: shaken(
            lambda: EquivariantFlow(5, 3, hidden=8, kernels=6, steps=16, reflections=True, dtype=dtype), scale=0.03
        ).to(device),
        contexts=no_context,
        shape=(5, 3),
        mass_shown_in="tests/sampling/test_equivariant_flow.py",
        tolerance=1e-5,
        block=128,
    ),
    Member(
        name="flow of sets",
        make=lambda dtype, device: shaken(
            lambda: SetFlow(3, 2, 2, hidden=8, transforms=2, bins=6, dtype=dtype), scale=0.15
        ).to(device),
        contexts=normal_contexts(2),
        shape=(3, 2),
        importance=True,
    ),
    Member(
        name="flow on a graph",
        make=lambda dtype, device: shaken(lambda: on_a_chain(dtype), scale=0.15).to(device),
        contexts=no_context,
        shape=(4, 2),
        importance=True,
    ),
    Member(
        name="encoder of points",
        make=lambda dtype, device: part_of_cvae("encoder", dtype).to(device),
        contexts=normal_contexts(3 * 2 + 1),
        shape=(2 * 2 + 3,),
        importance=True,
        block=128,
    ),
    Member(
        name="decoder of points",
        make=lambda dtype, device: part_of_cvae("decoder", dtype).to(device),
        contexts=normal_contexts(2 * 2 + 3 + 1),
        shape=(3, 2),
        mass_shown_in="tests/sampling/test_symmetric_generators.py",
        block=128,
    ),
    Member(
        name="equivariant CVAE",
        make=lambda dtype, device: shaken(
            lambda: equivariant_cvae(3, 2, 1, hidden=8, rounds=1, samples=4, dtype=dtype), scale=0.1
        ).to(device),
        contexts=normal_contexts(1),
        shape=(3, 2),
        exact=False,
        block=128,
    ),
    Member(
        name="equivariant GAN",
        make=lambda dtype, device: shaken(
            lambda: equivariant_gan(3, 2, 1, hidden=8, rounds=1, dtype=dtype), scale=0.1
        ).to(device),
        contexts=normal_contexts(1),
        shape=(3, 2),
        exact=False,
        has_log_prob=False,
        block=128,
    ),
]
