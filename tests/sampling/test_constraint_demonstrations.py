"""Why constraints are met by construction: a penalty of any finite strength violates them, rejection never succeeds.

The constraint: three gaps that sum to a lane of length 1, none negative. The data: gaps from a Dirichlet law.
"""

import math
from functools import cache

import pytest
import torch

from scenariogen.randomness import normal, uniform
from scenariogen.sampling.constrained import Constrained
from scenariogen.sampling.contract import ConditionalDensity, draw
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.manifolds import Simplex
from scenariogen.sampling.projection import LinearSet, Projected

F64 = torch.float64
STRENGTHS = [1.0, 1e2, 1e4, 1e6]
ROUNDING = 1e-14
STEPS = 80
ZERO = torch.zeros(3, dtype=F64)


def violation(x: torch.Tensor) -> torch.Tensor:
    """How far the gaps are from the lane's length, or below 0, whichever is more."""
    return torch.maximum((x.sum(-1) - 1).abs(), (-x).amax(-1))


def gaps(n: int, *, seed: int) -> torch.Tensor:
    """Dirichlet(4, 2, 2): shares of gamma variables of whole shape, sums of exponential ones."""
    exponentials = -uniform(seed, torch.arange(n), 8).log()
    parts = torch.stack([exponentials[:, :4].sum(-1), exponentials[:, 4:6].sum(-1), exponentials[:, 6:].sum(-1)], -1)
    return parts / parts.sum(-1, keepdim=True)


def flow(dim: int) -> CouplingFlow:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return CouplingFlow(dim, transforms=2, hidden=(16,))


def trained(density: ConditionalDensity, loss) -> ConditionalDensity:
    optimiser = torch.optim.Adam(density.parameters(), lr=5e-3)
    for step in range(STEPS):
        value = loss(density, step)
        optimiser.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(density.parameters(), 10.0)
        optimiser.step()
    return density


@cache
def penalised(strength: float) -> torch.Tensor:
    """Draws of a flow trained on D(data‖q) + strength · E_q[violation²]: the usual soft constraint."""
    data = gaps(512, seed=1)

    def loss(density, step: int) -> torch.Tensor:
        given = density(torch.zeros(128, 0, dtype=F64))
        x = given.sample(uniform(100 + step, torch.arange(128), 3))
        rows = data[torch.arange(128) + 128 * (step % 4)]
        return strength * (violation(x) ** 2).mean() - given.log_prob(rows).mean()

    return draw(trained(flow(3), loss), n=5000, seed=2).x


@cache
def constructed() -> torch.Tensor:
    """Draws of a flow on the simplex, trained on the same data."""
    data = gaps(512, seed=1)

    def loss(density, step: int) -> torch.Tensor:
        rows = data[torch.arange(128) + 128 * (step % 4)]
        return -density(torch.zeros(128, 0, dtype=F64)).log_prob(rows).mean()

    return draw(trained(Constrained(flow(2), Simplex(ZERO, total=1.0)), loss), n=5000, seed=2).x


@cache
def projected() -> torch.Tensor:
    """Draws of an untrained flow, projected."""
    set_ = LinearSet(A=torch.ones(1, 3, dtype=F64), b=torch.ones(1, dtype=F64), G=-torch.eye(3, dtype=F64), h=ZERO)
    return draw(Projected(flow(3), set_), n=5000, seed=2).x


def test_constructions_do_not_violate():
    assert float(violation(constructed()).max()) <= ROUNDING
    assert float(violation(projected()).max()) <= ROUNDING


def test_and_the_construction_has_learnt_the_data():
    truth = torch.tensor([0.5, 0.25, 0.25], dtype=F64)
    assert float((constructed().mean(0) - truth).abs().max()) < 0.05


@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_flow_trained_with_a_penalty_violates_in_every_draw(strength):
    broken = violation(penalised(strength))
    assert float((broken > ROUNDING).double().mean()) == 1.0
    assert float(broken.median()) > 1e6 * float(violation(constructed()).max())


@pytest.mark.parametrize("strength", [*STRENGTHS, 1e12])
def test_even_exact_draws_under_a_penalty_violate(strength):
    """p(x) ∝ N(x; 1/3, I) exp(−strength (Σx − 1)²): Σx − 1 is normal with variance 3 / (1 + 6 strength), never 0."""
    z = normal(1, torch.arange(5000), 3)
    spread = math.sqrt(3 / (1 + 6 * strength))
    sums = z.sum(-1)
    x = 1 / 3 + z + ((spread / math.sqrt(3) - 1) * sums / 3)[:, None]
    broken = (x.sum(-1) - 1).abs()
    # P(|Σx − 1| ≤ rounding) is about 0.8 · rounding / spread: below 1e-8 per draw at the greatest strength here.
    assert float((broken > ROUNDING).double().mean()) == 1.0
    standard_error = spread / math.sqrt(2 * 5000)
    assert float(((x.sum(-1) - 1) ** 2).mean().sqrt()) == pytest.approx(spread, abs=4 * standard_error)


def test_rejection_keeps_none_of_a_million_draws():
    """The probability of an equality is 0, also for a proposal centred on it."""
    kept = 0
    for part in range(10):
        x = 1 / 3 + 0.1 * normal(3, torch.arange(part * 100_000, (part + 1) * 100_000), 3)
        kept += int((violation(x) <= ROUNDING).sum())
    assert kept == 0
