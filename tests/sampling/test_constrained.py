"""Densities on manifolds: they integrate to one over the set, and are −inf beside it."""

import math

import pytest
import torch
from torch import nn

from scenariogen.errors import DensityError
from scenariogen.randomness import uniform
from scenariogen.sampling.chains import Chain, Sphere
from scenariogen.sampling.constrained import Constrained
from scenariogen.sampling.contract import ConditionalDensity, Distribution, draw, exact_log_prob
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.manifolds import Box, Manifold, Ordered, Simplex
from scenariogen.sampling.normal import isotropic
from scenariogen.sampling.projection import LinearSet, Projected
from scenariogen.sampling.segments import SegmentPositions
from tests.contracts import members_constraints

F64 = torch.float64
NO_CONTEXT = torch.zeros(1, 0, dtype=F64)


def tensor(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=F64)


def flow(dim: int = 2, context_width: int = 0) -> CouplingFlow:
    """A flow away from the identity."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = CouplingFlow(dim, context_width, hidden=(16, 16))
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(0.15 * torch.randn_like(parameter))
    return made


def density_at(density: ConditionalDensity, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return density(NO_CONTEXT.expand(len(x), 0)).log_prob(x).exp()


RULES = {
    "box": (members_constraints.box_rule, Box(tensor(2.0, -5.0), tensor(5.0, -1.0))),
    "ordered": (members_constraints.ordered_rule, Ordered(2, lower=-1.0, upper=2.0)),
    "simplex": (members_constraints.simplex_rule, Simplex(tensor(0.5, 1.0, 1.5), total=7.0)),
    "sphere": (members_constraints.sphere_rule, Sphere(3)),
    "chain": (members_constraints.chain_rule, Chain(tensor(1.5, 0.4), start=tensor(0.0, 0.0))),
}


@pytest.mark.parametrize("name", RULES)
def test_a_flow_on_a_manifold_integrates_to_one(name):
    rule, manifold = RULES[name]
    nodes, weights = rule()
    assert float((density_at(Constrained(flow(), manifold), nodes) * weights).sum()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("position", [None, 1], ids=["uniform positions", "positions by segment"])
def test_positions_on_segments_integrate_to_one_over_all_segments(position):
    lengths, features = tensor(30.0, 5.0, 120.0), tensor([0.0], [1.0], [2.0])
    base = None if position is None else _Shifted()
    density = SegmentPositions(
        lengths, weights=tensor(1.0, 0.0, 3.0), position=base, features=features if position else None
    )
    mass = []
    for number, length in enumerate(lengths.tolist()):
        cell = length / 4000
        at = cell * (torch.arange(4000, dtype=F64) + 0.5)
        x = torch.stack([torch.full_like(at, number), at], -1)
        mass.append(float(density_at(density, x).sum()) * cell)
    assert mass == pytest.approx([0.25, 0.0, 0.75], abs=1e-4)


class _Shifted(ConditionalDensity):
    """N(feature, 1), a density of one number that the segment's feature moves."""

    context_width = 1

    def forward(self, context):
        class Given(Distribution):
            def sample(self, noise):
                return context + torch.special.ndtri(noise)

            def log_prob(self, x):
                return torch.distributions.Normal(context[:, 0], 1.0).log_prob(x[:, 0])

        return Given()


CASES: dict[str, tuple[Manifold, float]] = {
    "box": (Box(tensor(0.0, -torch.inf, 1.0), tensor(1.0, torch.inf, torch.inf)), 1e-9),
    "ordered": (Ordered(3, lower=0.0, upper=3600.0), 1e-7),
    "simplex": (Simplex(tensor(2.0, 2.0, 2.0, 0.0), total=100.0), 1e-9),
    "sphere": (Sphere(4), 1e-9),
    "chain": (Chain(tensor(1.0, 2.0, 3.0)[:1], space=2), 1e-9),
}


@pytest.mark.parametrize("name", CASES)
def test_a_draws_density_is_the_density_of_the_draw_and_exact(name):
    manifold, close = CASES[name]
    density = Constrained(flow(3, 2), manifold)
    context = uniform(1, torch.arange(1500), 2)
    drawn = draw(density, context, seed=4)
    assert drawn.log_prob_is_exact and manifold.contains(drawn.x).all()
    again = exact_log_prob(density(context), drawn.x).detach()
    torch.testing.assert_close(again, drawn.log_prob, atol=close, rtol=0)
    few = draw(density, context[:17], seed=4)
    assert few.log_prob is not None and drawn.log_prob is not None
    assert torch.equal(few.x, drawn.x[:17]) and torch.equal(few.log_prob, drawn.log_prob[:17])


def test_points_beside_the_manifold_have_no_density_and_no_nan_in_their_gradient():
    density = Constrained(flow(), Simplex(tensor(0.0, 0.0, 0.0), total=1.0))
    x = tensor([0.2, 0.3, 0.5], [0.2, 0.3, 0.6], [-0.2, 0.7, 0.5], [math.nan, 0.5, 0.5], [0.0, 0.5, 0.5])
    log_prob = density(NO_CONTEXT.expand(5, 0)).log_prob(x)
    assert torch.isfinite(log_prob[0]) and (log_prob[1:] == -torch.inf).all()
    log_prob[0].backward()
    gradients = [parameter.grad for parameter in density.parameters() if parameter.grad is not None]
    assert gradients and all(torch.isfinite(each).all() for each in gradients)


def test_likelihood_training_sees_through_the_manifold():
    """Gaps from a Dirichlet law: the density that fits them is higher on them than the untrained one."""
    torch.manual_seed(0)
    gaps = 50 * torch.distributions.Dirichlet(tensor(8.0, 2.0, 1.0)).sample((512,))
    density = Constrained(flow(), Simplex(tensor(0.0, 0.0, 0.0), total=50.0))
    optimiser = torch.optim.Adam(density.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        loss = -density(NO_CONTEXT.expand(len(gaps), 0)).log_prob(gaps).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    entropy = -float(torch.distributions.Dirichlet(tensor(8.0, 2.0, 1.0)).log_prob(gaps / 50).mean()) + 2 * math.log(50)
    assert losses[-1] < losses[0] - 0.3 and losses[-1] > entropy - 0.1


def test_bounds_may_come_from_the_context():
    def simplex(context: torch.Tensor) -> Simplex:
        return Simplex(tensor(0.0, 0.0, 0.0), total=context[:, 0])

    density = Constrained(_OfWidth(isotropic(2, 1.0)), simplex, measure=Simplex.measure)
    assert density.measure == Simplex.measure == Constrained(flow(), simplex(torch.ones(1, 1).to(F64))).measure
    with pytest.raises(DensityError, match="no measure is named"):
        Constrained(_OfWidth(isotropic(2, 1.0)), simplex)
    lengths = 10 + 90 * uniform(2, torch.arange(200), 1)
    drawn = draw(density, lengths, seed=1)
    torch.testing.assert_close(drawn.x.sum(-1), lengths[:, 0], rtol=1e-14, atol=0)
    assert (density(lengths).log_prob(1.01 * drawn.x) == -torch.inf).all()


class _OfWidth(ConditionalDensity):
    """An unconditional density that accepts a context of one number."""

    context_width = 1

    def __init__(self, inner: ConditionalDensity) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, context):
        return self.inner(context[:, :0])


def test_segments_are_drawn_in_proportion_and_no_draw_lies_beside_the_network():
    lengths, weights = tensor(30.0, 5.0, 120.0), tensor(1.0, 2.0, 1.0)
    n = 20_000
    drawn = draw(SegmentPositions(lengths, weights=weights), n=n, seed=2).x
    share = torch.bincount(drawn[:, 0].long(), minlength=3) / n
    assert ((share - weights / 4).abs() < 4 * (weights / 4 * (1 - weights / 4) / n).sqrt()).all()
    assert (drawn[:, 1] > 0).all() and (drawn[:, 1] < lengths[drawn[:, 0].long()]).all()
    by_length = draw(SegmentPositions(lengths), n=10, seed=2)
    torch.testing.assert_close(by_length.log_prob, torch.full((10,), -math.log(155.0), dtype=F64))


def test_segments_may_depend_on_the_context_and_refuse_what_is_none():
    scores = nn.Linear(2, 3, dtype=F64)
    density = SegmentPositions(tensor(30.0, 5.0, 120.0), scores=scores, context_width=2)
    context = uniform(1, torch.arange(50), 2)
    drawn = draw(density, context, seed=3)
    expected = (
        scores(context).log_softmax(-1).gather(1, drawn.x[:, :1].long())[:, 0]
        - tensor(30.0, 5.0, 120.0)[drawn.x[:, 0].long()].log()
    )
    torch.testing.assert_close(drawn.log_prob, expected.detach())
    outside = tensor([3.0, 1.0], [-1.0, 1.0], [0.5, 1.0], [0.0, 31.0], [0.0, 0.0], [1.0, math.nan], [math.nan, 1.0])
    assert (density(context[:7]).log_prob(outside) == -torch.inf).all()
    with pytest.raises(DensityError) as error:
        SegmentPositions(tensor(1.0, -1.0), weights=tensor(0.0, 0.0), position=isotropic(1, 1.0), context_width=1)
    assert len(error.value.problems) == 3
    with pytest.raises(DensityError, match="scores gave shape"):
        SegmentPositions(tensor(1.0), scores=scores, context_width=2)(context)
    with pytest.raises(DensityError, match="every segment of a row"):
        SegmentPositions(tensor(1.0), scores=_Nothing(), context_width=2)(context)


class _Nothing(nn.Module):
    def forward(self, context):
        return torch.full((len(context), 1), -torch.inf, dtype=context.dtype)


def test_segments_need_as_many_weights_and_features():
    with pytest.raises(DensityError, match=r"(?s)got 3 weights for 5 segments.*got 2 features for 5 segments"):
        SegmentPositions(tensor(1, 2, 3, 4, 5), weights=tensor(1, 1, 1), features=tensor([1.0], [2.0]))


def test_a_base_that_is_not_exact_or_has_no_density_gives_none_that_is():
    line = LinearSet(A=torch.ones(1, 2, dtype=F64), b=torch.ones(1, dtype=F64))
    drawn = draw(
        Constrained(Projected(isotropic(2, 1.0), line), Simplex(torch.zeros(3, dtype=F64), total=1.0)), n=9, seed=1
    )
    assert drawn.log_prob is None and not drawn.log_prob_is_exact
    with pytest.raises(DensityError, match="cannot enter a weight"):
        given = Constrained(Projected(isotropic(2, 1.0), line), Sphere(3))(NO_CONTEXT)
        exact_log_prob(given, tensor([1.0, 0.0, 0.0]))


def test_a_base_or_a_point_of_another_width_is_refused():
    density = Constrained(flow(2), Sphere(4))
    with pytest.raises(DensityError, match="the base density must have 3 coordinates"):
        draw(density, n=3, seed=1)
    with pytest.raises(DensityError, match=r"got points of shape \(3,\), expected \(4,\) on Sphere"):
        density(NO_CONTEXT).log_prob(torch.zeros(1, 3, dtype=F64))
