"""Members: the flow, the spline, atoms, the categorical chain, the kernel density, mixtures and products."""

import itertools

import torch
from torch import Tensor, nn

from scenariogen.randomness import normal
from scenariogen.sampling.atoms import AtomicSpline
from scenariogen.sampling.categorical import CategoricalChain
from scenariogen.sampling.contract import ConditionalDensity, mlp
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.kernel import Kernel, KernelDensity
from scenariogen.sampling.mixture import DefensiveMixture, Mixture, Product
from scenariogen.sampling.spline import ConditionalSpline
from scenariogen.sampling.supports import HalfLine, Interval, RealLine, Support
from tests.contracts.members import Contexts, Member, Quadrature, box, no_context, normal_contexts, shaken

ATOMS = (0.0, 1.0)
CHOICES = (3, 2, 4)
OUTCOMES = torch.tensor(list(itertools.product(*(range(n) for n in CHOICES))), dtype=torch.float64)


def spline(support: Support, dtype: torch.dtype, *, seed: int = 3, width: int = 2) -> ConditionalDensity:
    return shaken(lambda: ConditionalSpline(width, support=support, dtype=dtype), seed=seed)


def atomic(atoms: tuple[float, ...], support: Support, dtype: torch.dtype) -> ConditionalDensity:
    return shaken(lambda: AtomicSpline(atoms, 2, support=support, dtype=dtype), seed=9)


def chain(dtype: torch.dtype) -> ConditionalDensity:
    """Not everything is allowed, and the first choice decides what the last one may be."""
    mask = OUTCOMES[:, 2] >= OUTCOMES[:, 0]
    return shaken(lambda: CategoricalChain(CHOICES, 2, mask=mask.reshape(CHOICES), dtype=dtype))


def records(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Bent records of two numbers, with a context each."""
    z = normal(8, torch.arange(600), 3).to(dtype)
    x = torch.stack([z[:, 0], 0.3 * z[:, 0] ** 2 + z[:, 0] + 0.5 * z[:, 1]], dim=1)
    return x, z[:, :1] * 0.5 + z[:, 2:]


def gated(dtype: torch.dtype) -> ConditionalDensity:
    """Two splines that overlap, mixed as the context says."""
    parts = [spline(RealLine(-1.0, 0.6), dtype), spline(RealLine(1.5, 1.0), dtype, seed=4)]

    def build() -> nn.Module:
        return mlp(2, 2, hidden=8, dtype=dtype)

    with torch.random.fork_rng():
        torch.manual_seed(6)
        gate = build()
        nn.init.normal_(gate[-1].weight)  # pyright: ignore
    return Mixture(parts, gate)


def with_atoms(rule: Quadrature, atoms: tuple[float, ...]) -> Quadrature:
    """A rule for Lebesgue measure plus counting on ``atoms``."""

    def both() -> tuple[Tensor, Tensor]:
        nodes, weights = rule()
        points = torch.tensor(atoms, dtype=torch.float64)[:, None]
        return torch.cat([nodes, points]), torch.cat([weights, torch.ones(len(atoms), dtype=torch.float64)])

    return both


def numbers(name: str, support: Support, quadrature: Quadrature, outside: list[float] | None) -> Member:
    return Member(
        name=name,
        make=lambda dtype, device: spline(support, dtype).to(device),
        contexts=normal_contexts(2),
        shape=(1,),
        quadrature=quadrature,
        outside=None if outside is None else torch.tensor(outside, dtype=torch.float64)[:, None],
    )


def kernel(name: str, shape: Kernel, *, contexts: bool) -> Member:
    def make(dtype: torch.dtype, device: torch.device) -> ConditionalDensity:
        x, c = records(dtype)
        return KernelDensity(x, c if contexts else None, kernel=shape).to(device)

    own: Contexts = normal_contexts(1) if contexts else no_context
    return Member(name=name, make=make, contexts=own, shape=(2,), quadrature=box((-6.0, -6.0), (6.0, 10.0), nodes=81))


MEMBERS = [
    Member(
        name="coupling flow",
        make=lambda dtype, device: shaken(lambda: CouplingFlow(2, 3, hidden=(16, 16), dtype=dtype)).to(device),
        contexts=normal_contexts(3),
        shape=(2,),
        quadrature=box((-7.0, -7.0), (7.0, 7.0), nodes=401),
        quadrature_tolerance=3e-3,
    ),
    Member(
        name="coupling flow without context",
        make=lambda dtype, device: shaken(lambda: CouplingFlow(4, hidden=(16,), dtype=dtype), scale=0.15).to(device),
        contexts=no_context,
        shape=(4,),
        importance=True,
    ),
    numbers("spline on an interval", Interval(-2.0, 3.0), box((-2.0,), (3.0,), nodes=20_001), [-2.001, 3.5]),
    numbers("spline on a half-line", HalfLine(1.0, 0.5), box((1.0,), (20.0,), nodes=40_001), [0.999, -5.0]),
    numbers("spline on the line", RealLine(0.5, 2.0), box((-60.0,), (60.0,), nodes=40_001), None),
    Member(
        name="spline with atoms",
        make=lambda dtype, device: atomic(ATOMS, Interval(), dtype).to(device),
        contexts=normal_contexts(2),
        shape=(1,),
        quadrature=with_atoms(box((0.0,), (1.0,), nodes=20_001), ATOMS),
        outside=torch.tensor([[-0.1], [1.0001]], dtype=torch.float64),
    ),
    Member(
        name="categorical chain",
        make=lambda dtype, device: chain(dtype).to(device),
        contexts=normal_contexts(2),
        shape=(3,),
        quadrature=lambda: (OUTCOMES, torch.ones(len(OUTCOMES), dtype=torch.float64)),
        quadrature_tolerance=1e-10,
        outside=torch.tensor([[1, 0, 0], [0, 2, 0], [-1, 0, 0], [0.5, 0, 0]], dtype=torch.float64),
    ),
    kernel("kernel density", Kernel.PRODUCT, contexts=False),
    kernel("kernel density given contexts", Kernel.FULL, contexts=True),
    Member(
        name="mixture with shares that depend on the context",
        make=lambda dtype, device: gated(dtype).to(device),
        contexts=normal_contexts(2),
        shape=(1,),
        quadrature=box((-40.0,), (40.0,), nodes=40_001),
    ),
    Member(
        name="defensive mixture",
        make=lambda dtype, device: DefensiveMixture(
            atomic((0.5,), Interval(), dtype),
            [atomic((0.5,), Interval(0.0, 2.0), dtype), atomic((0.5,), Interval(0.4, 1.5), dtype)],
            [0.25, 0.5, 0.25],
        ).to(device),
        contexts=normal_contexts(2),
        shape=(1,),
        # An even number of nodes: none of them is the atom.
        quadrature=with_atoms(box((0.0,), (2.0,), nodes=40_000), (0.5,)),
        outside=torch.tensor([[-0.1], [2.1]], dtype=torch.float64),
    ),
    Member(
        name="product",
        make=lambda dtype, device: Product([spline(Interval(), dtype), atomic((0.0,), Interval(), dtype)]).to(device),
        contexts=normal_contexts(2),
        shape=(2,),
        quadrature=lambda: _side_by_side(
            box((0.0,), (1.0,), nodes=301), with_atoms(box((0.0,), (1.0,), nodes=301), (0.0,))
        ),
        quadrature_tolerance=3e-3,
        outside=torch.tensor([[0.5, -0.1], [1.5, 0.0]], dtype=torch.float64),
    ),
]


def _side_by_side(first: Quadrature, second: Quadrature) -> tuple[Tensor, Tensor]:
    """The product of two rules."""
    (a, u), (b, v) = first(), second()
    nodes = torch.cat([a.repeat_interleave(len(b), 0), b.repeat(len(a), 1)], dim=1)
    return nodes, u.repeat_interleave(len(b)) * v.repeat(len(a))
