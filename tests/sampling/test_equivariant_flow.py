"""The equivariant flow: divergence against autograd, density against symmetries, its mass, and the solver's order."""

import math

import pytest
import torch
from torch import Tensor

from scenariogen.errors import DensityError
from scenariogen.randomness import normal, uniform
from scenariogen.sampling.contract import draw
from scenariogen.sampling.equivariant_flow import EquivariantFlow
from scenariogen.sampling.rigid import centred, from_points, mirrored, random_motions, to_points
from scenariogen.sampling.training import Rows, fit, negative_log_likelihood

SHAPES = [(4, 2), (5, 3), (13, 3)]
NONE = torch.zeros(1, 0, dtype=torch.float64)
every_shape = pytest.mark.parametrize(("points", "dim"), SHAPES)
both = pytest.mark.parametrize("reflections", [False, True])


def flow(points: int, dim: int, *, size: float = 0.05, **options) -> EquivariantFlow:
    """A flow away from the identity."""
    made = EquivariantFlow(points, dim, hidden=16, kernels=8, **options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return made


def latents(points: int, dim: int, *, batch: int = 6, seed: int = 2) -> Tensor:
    return normal(seed, torch.arange(batch), (points - 1) * dim)


@every_shape
@both
def test_the_divergence_is_the_trace_of_autograds_jacobian_on_the_subspace(points: int, dim: int, reflections: bool):
    made = flow(points, dim, size=0.3, reflections=reflections, context_width=2)
    context = torch.tensor([[0.4, -1.0]], dtype=torch.float64)
    t = torch.tensor(0.3, dtype=torch.float64)

    def reduced(z: Tensor) -> Tensor:
        return from_points(made.field(to_points(z[None], made.basis), t, context)[0], made.basis)[0]

    for z in latents(points, dim, batch=2):
        jacobian = torch.autograd.functional.jacobian(reduced, z)
        velocity, divergence = made.field(to_points(z[None], made.basis), t, context)
        assert float(velocity.detach().mean(1).abs().max()) < 1e-13
        assert float(divergence.detach()) == pytest.approx(float(jacobian.trace()), rel=1e-11, abs=1e-11)
        assert abs(float(divergence.detach())) > 1e-2


@every_shape
@both
def test_moving_turning_and_relabelling_change_nothing(points: int, dim: int, reflections: bool):
    given = flow(points, dim, reflections=reflections)(NONE)
    x = to_points(latents(points, dim), given.flow.basis)
    motions = random_motions(3, len(x), points=points, dim=dim, reflections=reflections, shift=3.0)
    with torch.no_grad():
        torch.testing.assert_close(given.log_prob(motions(x)), given.log_prob(x), atol=1e-9, rtol=0)
        moved, plain = (given.push(from_points(each, given.flow.basis))[0] for each in (motions.turn(x), x))
    torch.testing.assert_close(moved, motions.turn(plain), atol=1e-9, rtol=0)
    assert float((plain - x).abs().max()) > 0.1  # the flow does something


@every_shape
def test_mirror_images_are_alike_only_where_reflections_are_on(points: int, dim: int):
    x = to_points(latents(points, dim), flow(points, dim).basis)
    with torch.no_grad():
        apart = flow(points, dim)(NONE)
        assert float((apart.log_prob(mirrored(x)) - apart.log_prob(x)).abs().max()) > 1e-2
        alike = flow(points, dim, reflections=True)(NONE)
        torch.testing.assert_close(alike.log_prob(mirrored(x)), alike.log_prob(x), atol=1e-10, rtol=0)


@pytest.mark.parametrize(("points", "dim"), [(4, 2), (13, 3)])
def test_the_solvers_error_is_below_1e_5_and_what_it_says(points: int, dim: int):
    made = flow(points, dim)
    given = made(NONE)
    with torch.no_grad():
        x, _ = given.push(latents(points, dim, batch=6))
        made.steps = 2
        before = made.solver_error(x).max()
        assert float(before) > 1e-5  # there is something to choose
        said = made.choose_steps(x)
        assert said < 1e-5 and made.steps > 2
        z = latents(points, dim, batch=6)
        x, log_prob = given.push(z)
        # There and back is the error of both ways.
        torch.testing.assert_close(given.log_prob(x), log_prob, atol=2e-5, rtol=0)
        torch.testing.assert_close(given.latent(x), z, atol=2e-5, rtol=0)
        coarse = given.log_prob(x)
        made.steps *= 4
        assert float((given.log_prob(x) - coarse).abs().max()) < 1e-5


def test_too_few_steps_are_not_exact_and_their_number_is_stored():
    made = flow(4, 2, steps=1)
    given = made(NONE)
    assert not given.log_prob_is_exact
    assert not draw(made, seed=1, n=3).log_prob_is_exact
    made.choose_steps(given.push(latents(4, 2))[0].detach())
    chosen = made.steps
    assert chosen > 1 and given.log_prob_is_exact
    other = flow(4, 2, steps=1)
    other.load_state_dict(made.state_dict())
    assert other.steps == chosen and other(NONE).log_prob_is_exact
    with torch.no_grad():  # a wilder field needs more of them
        for parameter in other.parameters():
            parameter.mul_(2.5)
    assert not other(NONE).log_prob_is_exact


def test_steps_are_chosen_where_few_of_them_diverge():
    made = flow(4, 2, steps=1, dtype=torch.float32)
    with torch.no_grad():
        made.field.leave.bias[1:].fill_(1e30)
    x = to_points(latents(4, 2).float(), made.basis)
    with torch.no_grad(), pytest.raises(DensityError, match="the solver diverged"):
        made(NONE.float()).log_prob(x)
    assert not made(NONE.float()).log_prob_is_exact
    with pytest.raises(DensityError, match="the solver's error is inf with 4 steps"):
        made.choose_steps(x, most=4)


def test_the_solver_is_of_fifth_order():
    made = flow(4, 2)
    x = to_points(latents(4, 2), made.basis)
    errors = []
    for steps in (16, 32):
        made.steps = steps
        errors.append(float(made.solver_error(x).mean()))
    assert math.log2(errors[0] / errors[1]) > 4.3


def test_log_density_is_the_base_density_less_autograds_log_determinant():
    made = flow(4, 2, steps=32, scale=0.7)
    given = made(NONE)
    z = latents(4, 2, batch=1)
    x, log_prob = (each.detach() for each in given.push(z))
    jacobian = torch.autograd.functional.jacobian(lambda each: from_points(given.push(each)[0], made.basis)[0], z)
    base = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum()
    expected = float(base - torch.linalg.slogdet(jacobian.reshape(6, 6))[1])
    assert float(log_prob) == pytest.approx(expected, abs=1e-6)
    assert float(given.log_prob(x).detach()) == pytest.approx(expected, abs=1e-6)


def test_the_density_of_three_points_in_the_plane_integrates_to_one():
    # E_q[p/q] over the subspace, q centred normal and wider; p/q is bounded, its standard error is computed.
    given = flow(3, 2, steps=8, size=0.03)(NONE)
    z = 1.4 * latents(3, 2, batch=8000, seed=8)
    with torch.no_grad():
        log_p = given.log_prob(to_points(z, given.flow.basis))
    ratio = (log_p - torch.distributions.Normal(0.0, 1.4).log_prob(z).sum(1)).exp()
    error = float(ratio.std()) / math.sqrt(len(ratio))
    assert error < 0.1 and float(ratio.mean()) == pytest.approx(1.0, abs=3 * error)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_draw_is_the_same_to_the_last_bit_in_a_request_of_any_size(dtype: torch.dtype):
    density = flow(4, 2, steps=3, dtype=dtype)
    everything = draw(density, n=150, seed=7, block=64)
    assert everything.x.shape == (150, 4, 2) and everything.x.dtype == dtype
    few = draw(density, n=17, seed=7, block=64)
    assert few.log_prob is not None and everything.log_prob is not None
    assert torch.equal(few.x, everything.x[:17]) and torch.equal(few.log_prob, everything.log_prob[:17])
    assert float(everything.x.mean(1).abs().max()) < (1e-6 if dtype == torch.float32 else 1e-14)


def test_both_ways_of_taking_gradients_agree(monkeypatch: pytest.MonkeyPatch):
    def gradients() -> list[Tensor]:
        made = flow(4, 2, steps=3)
        x, log_prob = made(NONE).push(latents(4, 2))
        (x.square().sum() + log_prob.sum()).backward()
        return [each.grad for each in made.parameters() if each.grad is not None]

    kept = gradients()
    monkeypatch.setattr("scenariogen.sampling.equivariant_flow.SAVED_BYTES", 0)
    for first, again in zip(kept, gradients(), strict=True):
        torch.testing.assert_close(first, again, atol=1e-12, rtol=1e-12)


def triangles(batch: int, *, seed: int = 11) -> Tensor:
    """Scalene triangles of one handedness with some noise, turned, moved and relabelled at random."""
    corners = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.5, 1.2]], dtype=torch.float64)
    noisy = corners + 0.1 * normal(seed, torch.arange(batch), 6).reshape(batch, 3, 2)
    return random_motions(seed, batch, points=3, dim=2)(noisy)


def test_training_without_the_solver_and_by_likelihood_learn_handed_triangles():
    data, held = triangles(1000), triangles(100, seed=12)

    def matching(module: EquivariantFlow, rows: Rows) -> Tensor:
        return module.flow_matching_loss(rows.x, rows.noise(5))

    def score(x: Tensor) -> float:
        with torch.no_grad():
            return float(made(NONE).log_prob(x).mean())

    made = EquivariantFlow(3, 2, hidden=16, layers=1, kernels=10, reach=4.0, steps=6, scale=0.7)
    start = score(held)
    fit(made, matching, data, seed=1, steps=150, batch=128, learning_rate=1e-2, held_out=0.0)
    matched = score(held)
    fit(made, negative_log_likelihood, data, seed=2, steps=30, batch=64, learning_rate=5e-3, held_out=0.0)
    made.choose_steps(held, tolerance=1e-3)
    assert matched > start + 0.5 and score(held) > matched + 0.1
    assert score(mirrored(held)) < score(held) - 0.1  # they are of the other handedness


def test_aligned_paths_are_easier_to_match():
    data, noise = triangles(200), uniform(3, torch.arange(200), 5)
    made = EquivariantFlow(3, 2, hidden=8, kernels=4)  # stands still: the loss is the square of the way
    apart, near = (made.flow_matching_loss(data, noise, align=align).mean() for align in (False, True))
    assert float(near.detach()) < 0.6 * float(apart.detach())


def test_the_context_moves_the_density_and_rows_keep_their_own():
    made = flow(4, 2, size=0.1, context_width=1, steps=4)
    context = torch.linspace(-2, 2, 6, dtype=torch.float64)[:, None]
    x = to_points(latents(4, 2), made.basis)
    with torch.no_grad():
        together = made(context).log_prob(x)
        alone = torch.cat([made(context[i : i + 1]).log_prob(x[i : i + 1]) for i in range(6)])
        other = made(-context).log_prob(x)
    torch.testing.assert_close(together, alone, atol=1e-11, rtol=0)
    assert float((together - other).abs().max()) > 1e-3


def test_bad_input_says_what_was_got_and_expected():
    with pytest.raises(DensityError, match=r"dimensions, expected 2 or 3"):
        EquivariantFlow(4, 4)
    with pytest.raises(DensityError, match=r"got 1 kernels(.|\n)*steps is 0(.|\n)*scale is -1"):
        EquivariantFlow(4, 2, kernels=1, steps=0, scale=-1.0)
    made = flow(4, 2)
    with pytest.raises(DensityError, match=r"context of shape \(1, 3\), expected \(batch, 0\)"):
        made(torch.zeros(1, 3, dtype=torch.float64))
    with pytest.raises(DensityError, match=r"shape \(2, 3, 2\), expected \(batch, 4, 2\)"):
        made(NONE).log_prob(torch.zeros(2, 3, 2, dtype=torch.float64))
    with pytest.raises(DensityError, match="values that are nan or infinite"):
        made(NONE).log_prob(torch.full((1, 4, 2), math.nan, dtype=torch.float64))
    with pytest.raises(DensityError, match=r"noise of shape \(2, 6\), expected \(2, 7\)"):
        made.flow_matching_loss(torch.zeros(2, 4, 2, dtype=torch.float64), uniform(1, torch.arange(2), 6))
    wild = flow(4, 2, size=30.0, steps=2)
    with pytest.raises(DensityError, match=r"the solver diverged|more steps, or use double"):
        wild.choose_steps(centred(normal(1, torch.arange(5), 8).reshape(5, 4, 2)), most=4)
