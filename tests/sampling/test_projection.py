"""Projections onto linear sets: nearest by the optimality conditions, violations at rounding error, gradients."""

import numpy as np
import pytest
import torch
from scipy.optimize import nnls

from scenariogen.errors import DensityError
from scenariogen.randomness import normal, uniform
from scenariogen.sampling.contract import draw, exact_log_prob
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.normal import isotropic
from scenariogen.sampling.projection import LinearSet, Projected, box_rows

F64 = torch.float64


def tensor(*values) -> torch.Tensor:
    return torch.tensor(values, dtype=F64)


# A small network: edges 0 and 1 enter junction a; 2 leads from a to b, 3 from a to c, 4 from b to c; 5 leaves b, 6 c.
# Columns 7, 8, 9: vehicles stored at a, b and c. In = out + stored at each junction.
CONSERVATION = tensor(
    [1.0, 1.0, -1.0, -1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0],
    [0.0, 0.0, 1.0, 0.0, -1.0, -1.0, 0.0, 0.0, -1.0, 0.0],
    [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, -1.0, 0.0, 0.0, -1.0],
)
CAPACITY = tensor(900.0, 1800.0, 1200.0, 900.0, 600.0, 900.0, 1500.0, 40.0, 40.0, 40.0)


def junctions() -> LinearSet:
    G, h = box_rows(torch.zeros(10, dtype=F64), CAPACITY)
    return LinearSet(A=CONSERVATION, b=torch.zeros(3, dtype=F64), G=G, h=h)


def asked(rows: int, *, spread: float = 700.0) -> torch.Tensor:
    """Flows that conserve nothing, many beyond their capacity."""
    return CAPACITY / 2 + spread * normal(3, torch.arange(rows), 10)


def test_flows_at_junctions_are_conserved_within_capacities_to_rounding_error():
    network = junctions()
    for rows, spread in ((1000, 10.0), (10_000, 700.0), (1000, 1e6)):
        x = network(asked(rows, spread=spread))
        assert float(network.violation(x).max()) <= 1e-12
        size = float(CAPACITY.max())
        assert float((x @ CONSERVATION.T).abs().max()) <= 1e-12 * size
        assert float((-x).max()) <= 1e-12 * size and float((x - CAPACITY).max()) <= 1e-12 * size
        again = network(x[:1000])
        torch.testing.assert_close(again, x[:1000], atol=1e-9, rtol=0)


def test_the_projection_is_the_nearest_point_by_its_optimality_conditions():
    """x₀ − x lies in the cone of the normals of the equalities and of the inequalities that hold as equalities."""
    network = junctions()
    x0 = asked(200)
    x = network(x0)
    touched = 0
    for start, end in zip(x0.numpy(), x.numpy(), strict=True):
        active = network.G.numpy()[network.G.numpy() @ end >= network.h.numpy() - 1e-8]
        touched += len(active)
        normals = np.concatenate([CONSERVATION.numpy(), -CONSERVATION.numpy(), active])
        _, distance = nnls(normals.T, start - end)
        assert distance <= 1e-9 * np.linalg.norm(start - end)
    assert touched > 400  # capacities do bind here


def random_set(seed: int, *, dim: int = 6) -> tuple[LinearSet, torch.Tensor]:
    """A set with inequalities in general position, around a point that is inside; one equality given twice."""
    numbers = normal(seed, torch.arange(20), dim)
    inside = numbers[19]
    A, G = torch.cat([numbers[:2], 2 * numbers[:1]]), numbers[2:16]
    h = G @ inside + 0.3 * numbers[16:19].abs().flatten()[:14]
    return LinearSet(A=A, b=A @ inside, G=G, h=h), inside


@pytest.mark.parametrize("seed", range(8))
def test_sets_in_general_position_too(seed):
    set_, inside = random_set(seed)
    x0 = inside + 3 * normal(seed + 100, torch.arange(300), 6)
    x = set_(x0)
    assert float(set_.violation(x).max()) <= 1e-12
    for start, end in zip(x0[:40].numpy(), x[:40].numpy(), strict=True):
        active = set_.G.numpy()[set_.G.numpy() @ end >= set_.h.numpy() - 1e-9]
        normals = np.concatenate([set_.A.numpy(), -set_.A.numpy(), active])
        assert nnls(normals.T, start - end)[1] <= 1e-8 * max(1.0, np.linalg.norm(start - end))
    assert (torch.linalg.vector_norm(x - x0, dim=-1) <= torch.linalg.vector_norm(inside - x0, dim=-1) + 1e-12).all()


def test_known_projections():
    plane = LinearSet(A=tensor([1.0, 1.0, 1.0]), b=tensor(3.0))
    torch.testing.assert_close(plane(tensor([4.0, 1.0, 1.0])), tensor([3.0, 0.0, 0.0]))
    G, h = box_rows(tensor(0.0, 0.0, -torch.inf), tensor(1.0, torch.inf, 2.0))
    assert len(G) == 4
    torch.testing.assert_close(LinearSet(G=G, h=h)(tensor([3.0, -1.0, 5.0])), tensor([1.0, 0.0, 2.0]))
    simplex = LinearSet(A=tensor([1.0, 1.0, 1.0]), b=tensor(1.0), G=-torch.eye(3, dtype=F64), h=torch.zeros(3).to(F64))
    torch.testing.assert_close(simplex(tensor([2.0, 0.0, -5.0])), tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(simplex(tensor([0.6, 0.5, -5.0])), tensor([0.55, 0.45, 0.0]))


@pytest.mark.parametrize("seed", range(40))
def test_a_flow_as_large_as_the_capacity_of_its_link_is_allowed(seed):
    # in = out at two junctions, all of the inflow through links of just its capacity, in numbers that round
    q = 500.0 + 2500.0 * float(uniform(seed, torch.zeros(1, dtype=torch.int64), 1))
    A = tensor([1, 0, 0, 0], [1, -1, -1, 0], [0, 1, 0, -1])
    G, h = box_rows(torch.zeros(4).double(), torch.full((4,), q, dtype=F64))
    flows = LinearSet(A=A, b=tensor(q, 0, 0), G=G, h=h)
    x = flows(3 * q * normal(seed, torch.arange(20), 4))
    assert float(flows.violation(x).max()) < 1e-13 and float(x.min()) >= -1e-12 * q
    parts = 5
    G, h = box_rows(torch.zeros(parts).double(), q * (1 + torch.arange(parts)).double() / 3)
    full = LinearSet(A=torch.ones(1, parts).double(), b=h[parts:].sum()[None], G=G, h=h)
    torch.testing.assert_close(full(torch.zeros(1, parts).double())[0], h[parts:], rtol=1e-9, atol=0)
    with pytest.raises(DensityError, match="set is empty"):
        LinearSet(A=A, b=tensor(q * (1 + 1e-11), 0, 0), G=flows.G, h=flows.h)


def test_small_units_are_no_excuse():
    G, h = box_rows(tensor(0.0, 0.0), tensor(1e-12, 1e-12))
    box = LinearSet(G=G, h=h)
    x = box(1e-12 * tensor([1.05, -0.05], [0.5, 2.0]))
    torch.testing.assert_close(x, 1e-12 * tensor([1.0, 0.0], [0.5, 1.0]), rtol=0, atol=1e-25)
    network, x0 = junctions(), asked(50)
    for unit in (1e-9, 1e-3, 1e6):
        scaled = LinearSet(A=CONSERVATION, b=torch.zeros(3, dtype=F64), G=network.G, h=unit * network.h)
        torch.testing.assert_close(scaled(unit * x0) / unit, network(x0), rtol=0, atol=1e-9)


def test_equalities_that_leave_no_freedom():
    point = LinearSet(A=torch.eye(2).double(), b=torch.ones(2).double(), G=torch.eye(2).double(), h=tensor(5.0, 5.0))
    torch.testing.assert_close(point(normal(1, torch.arange(3), 2)), torch.ones(3, 2).double())
    with pytest.raises(DensityError, match="the set is empty"):
        LinearSet(A=torch.eye(2).double(), b=torch.ones(2).double(), G=torch.eye(2).double(), h=tensor(0.5, 5.0))


def test_gradients_are_those_of_finite_differences():
    network = junctions()
    x0 = asked(2).requires_grad_()
    b = tensor([1.0, -2.0, 3.0]).expand(2, 3).clone().requires_grad_()
    h = network.h.expand(2, -1).clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x, c, d: network(x, b=c, h=d), (x0, b, h), eps=1e-4, atol=1e-7)
    set_, inside = random_set(2)
    x0 = (inside + 2 * normal(7, torch.arange(8), 6)).requires_grad_()
    assert torch.autograd.gradcheck(set_, (x0,), eps=1e-7, atol=1e-6)


def test_rows_do_not_influence_each_other():
    network = junctions()
    x0 = asked(1024)
    together = network(x0)
    other = x0.clone()
    other[1:] = asked(1024, spread=5000.0)[1:].flip(0)
    assert torch.equal(network(other)[0], together[0])
    torch.testing.assert_close(network(x0[5:6])[0], together[5], atol=1e-9, rtol=0)


def test_single_precision_is_solved_in_double():
    network = junctions()
    x = network(asked(500).to(torch.float32))
    assert x.dtype == torch.float32 and float(network.violation(x).max()) < 1e-6


def test_bounds_may_differ_from_row_to_row():
    network = junctions()
    b = 100 * (uniform(1, torch.arange(300), 3) - 0.5)
    x = network(asked(300), b=b)
    torch.testing.assert_close(x @ CONSERVATION.T, b, atol=1e-9, rtol=0)
    with pytest.raises(DensityError, match=r"got b of shape \(2, 3\), expected \(3,\) or \(300, 3\)"):
        network(asked(300), b=b[:2])
    with pytest.raises(DensityError, match="got bounds c, expected b or h"):
        network(asked(3), c=b)


def test_a_projected_density_draws_on_the_set_and_has_no_density_to_be_weighed_by():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        base = CouplingFlow(10, 2, hidden=(16,))
    G, h = box_rows(torch.zeros(10, dtype=F64), CAPACITY / 1000)
    density = Projected(base, LinearSet(A=CONSERVATION, b=torch.zeros(3, dtype=F64), G=G, h=h))
    context = uniform(1, torch.arange(1100), 2)
    drawn = draw(density, context, seed=2)
    assert drawn.log_prob is None and not drawn.log_prob_is_exact
    assert float(density.projection.violation(drawn.x).max()) <= 1e-12
    assert torch.equal(draw(density, context[:9], seed=2).x, drawn.x[:9])
    given = density(context)
    with pytest.raises(DensityError, match="cannot enter a weight"):
        exact_log_prob(given, drawn.x)
    with pytest.raises(DensityError, match="has no log-density"):
        given.log_prob(drawn.x)


def test_gradients_reach_the_parameters_before_the_projection():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        density = Projected(CouplingFlow(3, hidden=(8,)), LinearSet(A=tensor([1.0, 1.0, 1.0]), b=tensor(1.0)))
    x = density(torch.zeros(64, 0, dtype=F64)).sample(uniform(1, torch.arange(64), 3))
    (x[:, 0] ** 2).mean().backward()
    assert max(float(p.grad.abs().max()) for p in density.parameters() if p.grad is not None) > 0


def test_bounds_may_come_from_the_context():
    density = Projected(
        isotropic(2, 1.0), LinearSet(A=tensor([1.0, 1.0]), b=tensor(0.0)), bounds=lambda c: {"b": c.new_ones(len(c), 1)}
    )
    torch.testing.assert_close(draw(density, n=50, seed=1).x.sum(-1), torch.ones(50, dtype=F64))


def test_empty_sets_and_bad_input_are_refused():
    eye = torch.eye(2, dtype=F64)
    with pytest.raises(DensityError, match=r"equalities contradict each other.*misses equality 0 by 0\.5"):
        LinearSet(A=tensor([1.0, 1.0], [1.0, 1.0]), b=tensor(1.0, 2.0))
    with pytest.raises(
        DensityError, match=r"set is empty.*inequality 0 cannot hold together with inequality 1 \(row 0\)"
    ):
        LinearSet(G=tensor([1.0, 0.0], [-1.0, 0.0]), h=tensor(1.0, -2.0))
    with pytest.raises(DensityError, match=r"set is empty.*together with the equalities"):
        LinearSet(A=tensor([1.0, 0.0]), b=tensor(3.0), G=eye[:1], h=tensor(2.0))
    with pytest.raises(DensityError, match=r"in 1 of 2 rows.*row 1"):
        LinearSet(A=tensor([1.0, 1.0]), b=tensor(1.0), G=-eye, h=tensor(0.0, 0.0))(
            torch.zeros(2, 2, dtype=F64), b=tensor([1.0], [-1.0])
        )
    with pytest.raises(DensityError) as error:
        LinearSet(A=tensor([1.0, torch.nan]), b=tensor(1.0, 2.0), G=torch.eye(3, dtype=F64), h=tensor(1.0, 2.0, 3.0))
    assert len(error.value.problems) == 3
    with pytest.raises(DensityError, match="got one of A and b"):
        LinearSet(A=tensor([1.0, 1.0]))
    with pytest.raises(DensityError, match="got no constraint"):
        LinearSet()
    with pytest.raises(DensityError, match=r"got points of shape \(1, 2\), expected \(batch, 10\)"):
        junctions()(torch.zeros(1, 2, dtype=F64))
    with pytest.raises(DensityError, match="the points to project holds 1 values"):
        junctions()(
            torch.full((1, 10), torch.nan, dtype=F64).nan_to_num(0.0).index_fill(1, torch.tensor([3]), torch.nan)
        )


def test_a_draw_is_the_same_to_the_last_bit_wherever_it_stands_in_a_block():
    G, h = box_rows(torch.zeros(10, dtype=F64), CAPACITY / 1000)
    density = Projected(isotropic(10, 1.0), LinearSet(A=CONSERVATION, b=torch.zeros(3, dtype=F64), G=G, h=h))
    everything = draw(density, n=1200, seed=3).x
    for first in (1, 3, 517):
        assert torch.equal(draw(density, n=600, seed=3, first=first).x, everything[first : first + 600])
