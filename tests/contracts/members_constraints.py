"""Members: densities on boxes, ordered values, simplices, spheres, chains and segments; projected draws."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from scenariogen.sampling.chains import Chain, Sphere
from scenariogen.sampling.constrained import Constrained
from scenariogen.sampling.contract import ConditionalDensity
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.manifolds import Box, Manifold, Ordered, Simplex
from scenariogen.sampling.normal import isotropic
from scenariogen.sampling.projection import LinearSet, Projected
from scenariogen.sampling.segments import SegmentPositions
from tests.contracts.members import Make, Member, box, no_context, normal_contexts, shaken


def _tensor(*values) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _on(manifold: Callable[[], Manifold]) -> Make:
    """A coupling flow on a manifold whose bounds are double precision, moved to where it is asked for."""

    def make(dtype: torch.dtype, device: torch.device) -> ConditionalDensity:
        set_ = manifold()
        base = shaken(lambda: CouplingFlow(set_.latent_dim, 3, hidden=(16, 16)), scale=0.15)
        return Constrained(base, set_).to(device=device, dtype=dtype)

    return make


def square(nodes: int = 350) -> tuple[Tensor, Tensor]:
    """Nodes in the unit square and weights, dense at the sides, where a flow's tails end."""
    u = (torch.arange(nodes, dtype=torch.float64) + 0.5) / nodes
    side, weight = u**2 * (3 - 2 * u), 6 * u * (1 - u) / nodes
    return torch.cartesian_prod(side, side), torch.cartesian_prod(weight, weight).prod(-1)


def box_rule() -> tuple[Tensor, Tensor]:
    """On [2, 5] × [−5, −1]."""
    nodes, weights = square()
    return _tensor(2.0, -5.0) + nodes * _tensor(3.0, 4.0), weights * 12


def ordered_rule() -> tuple[Tensor, Tensor]:
    """On −1 < x₁ < x₂ < 2, as a square with one side drawn together."""
    nodes, weights = square()
    high = nodes[:, 0]
    return -1 + 3 * torch.stack([high * nodes[:, 1], high], -1), weights * high * 9


def simplex_rule() -> tuple[Tensor, Tensor]:
    """On the simplex of total 7 above (0.5, 1, 1.5), by its first two coordinates."""
    nodes, weights = square()
    together, share = nodes.T
    free = 4 * torch.stack([together * share, together * (1 - share), 1 - together], -1)
    return _tensor(0.5, 1.0, 1.5) + free, weights * together * 16


def sphere_rule() -> tuple[Tensor, Tensor]:
    """On the sphere in space, by height and angle."""
    nodes, weights = square()
    z, angle = 2 * nodes[:, 0] - 1, 2 * math.pi * nodes[:, 1]
    points = torch.stack([(1 - z**2).sqrt() * angle.cos(), (1 - z**2).sqrt() * angle.sin(), z], -1)
    return points, weights * 4 * math.pi


def chain_rule() -> tuple[Tensor, Tensor]:
    """On chains in the plane from the origin, by the angles of two links of 1.5 and 0.4."""
    nodes, weights = square()
    angles = 2 * math.pi * nodes + math.pi / 2  # the links' poles are where the rule is dense
    links = torch.stack([angles.cos(), angles.sin()], -1) * _tensor(1.5, 0.4)[:, None]
    points = torch.cat([torch.zeros(len(links), 1, 2, dtype=torch.float64), links], 1).cumsum(1)
    return points, weights * 4 * math.pi**2 * 1.5 * 0.4


def _projected(dtype: torch.dtype, device: torch.device) -> ConditionalDensity:
    """Normal numbers projected onto in = out + stored at one junction, none of them negative."""
    set_ = LinearSet(A=_tensor([1.0, -1.0, -1.0]), b=_tensor(0.0), G=-torch.eye(3).double(), h=_tensor(0.0, 0.0, 0.0))
    return Projected(isotropic(3, 1.0), set_).to(device=device, dtype=dtype)


LENGTHS = (30.0, 5.0, 120.0)


def segments_rule() -> tuple[Tensor, Tensor]:
    """On each segment by itself."""
    nodes, weights = [], []
    for number, length in enumerate(LENGTHS):
        at, weight = box((0.0,), (length,), nodes=500)()
        nodes.append(torch.cat([torch.full_like(at, number), at], -1))
        weights.append(weight)
    return torch.cat(nodes), torch.cat(weights)


MEMBERS = [
    Member(
        name="flow in a box",
        make=_on(lambda: Box(_tensor(2.0, -5.0), _tensor(5.0, -1.0))),
        contexts=normal_contexts(3),
        shape=(2,),
        quadrature=box_rule,
        outside=_tensor([2.0, -3.0], [6.0, -3.0], [3.0, 0.0]),
    ),
    Member(
        name="flow on ordered values",
        make=_on(lambda: Ordered(2, lower=-1.0, upper=2.0)),
        contexts=normal_contexts(3),
        shape=(2,),
        quadrature=ordered_rule,
        outside=_tensor([1.0, 0.0], [0.0, 0.0], [-2.0, 0.0], [0.0, 2.0]),
    ),
    Member(
        name="flow on a simplex",
        make=_on(lambda: Simplex(_tensor(0.5, 1.0, 1.5), total=7.0)),
        contexts=normal_contexts(3),
        shape=(3,),
        quadrature=simplex_rule,
        outside=_tensor([2.0, 2.0, 3.1], [0.4, 3.0, 3.6]),
    ),
    Member(
        name="flow on the sphere",
        make=_on(lambda: Sphere(3)),
        contexts=normal_contexts(3),
        shape=(3,),
        quadrature=sphere_rule,
        outside=_tensor([0.0, 0.0, 0.0], [1.0, 0.1, 0.0]),
    ),
    Member(
        name="flow on a chain",
        make=_on(lambda: Chain(_tensor(1.5, 0.4), start=_tensor(0.0, 0.0))),
        contexts=normal_contexts(3),
        shape=(3, 2),
        quadrature=chain_rule,
        outside=_tensor([[0.0, 0.0], [1.5, 0.0], [1.5, 0.5]], [[0.0, 0.1], [1.5, 0.1], [1.9, 0.1]]),
    ),
    Member(
        name="positions on segments",
        make=lambda dtype, device: shaken(
            lambda: SegmentPositions(
                torch.tensor(LENGTHS, dtype=dtype), scores=torch.nn.Linear(3, 3, dtype=dtype), context_width=3
            )
        ).to(device),
        contexts=normal_contexts(3),
        shape=(2,),
        quadrature=segments_rule,
        outside=_tensor([0.0, 31.0], [3.0, 1.0], [0.5, 1.0], [1.0, -1.0]),
    ),
    Member(
        name="projected normal",
        make=_projected,
        contexts=no_context,
        shape=(3,),
        exact=False,
        has_log_prob=False,
    ),
]
