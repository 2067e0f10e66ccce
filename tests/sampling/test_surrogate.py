"""Directions and surrogates learnt from values alone, against scores whose directions are known."""

import math

import pytest
import torch

from scenariogen.randomness import normal
from scenariogen.sampling.active_subspace import active_subspace
from scenariogen.sampling.latent_split import LatentSplit
from scenariogen.sampling.surrogate import fit_surrogate, learn_surrogate, nearness, pressed, refine
from tests.sampling.rare_problems import curved_series, half_space, random_frame, shell, two_half_spaces

DIM = 20


def wide_draws(n: int = 1000, seed: int = 1, dim: int = DIM) -> torch.Tensor:
    """Draws in pairs z, −z with standard deviations from 1 to 3."""
    half = normal(seed, torch.arange(n // 2), dim) * torch.linspace(1, 3, n // 2, dtype=torch.float64)[:, None]
    return torch.cat([half, -half])


def sine(true: torch.Tensor, found: torch.Tensor) -> float:
    """Largest sine of an angle between the spans of two frames."""
    return float(torch.linalg.svdvals(true - found @ (found.T @ true)).amax())


def test_a_plane_is_found_among_twenty_directions():
    problem, z = curved_series(DIM, 5), wide_draws()
    values = problem.score(z)
    found = active_subspace(z, values, nearness(values))
    assert sine(random_frame(DIM, 2, 5), found.directions[:, :2]) < 0.1
    assert float(found.strength[2]) < 0.01 * float(found.strength[1])
    chance = sine(random_frame(DIM, 2, 5), random_frame(DIM, 2, 6))
    assert chance > 0.5  # what a plane in a direction of its own gives


def test_a_valley_that_no_linear_model_sees_is_found():
    problem, z = two_half_spaces(DIM, 5, share=0.5), wide_draws()
    values = problem.score(z)
    assert sine(random_frame(DIM, 1, 5), active_subspace(z, values, nearness(values)).directions[:, :1]) < 0.05


def test_a_score_of_the_radius_needs_no_direction():
    problem, z = shell(DIM), wide_draws()
    surrogate = learn_surrogate(z, problem.score(z) - problem.threshold, seed=1).surrogate
    assert surrogate.split.basis.shape == (DIM, 0)
    fresh = wide_draws(seed=2)
    error = surrogate.at(surrogate.split.see(fresh)) - (problem.score(fresh) - problem.threshold)
    assert float(error.abs().amax()) < 1e-3


def test_a_linear_score_is_met_exactly():
    problem, z = half_space(DIM, 5), wide_draws()
    surrogate = learn_surrogate(z, problem.score(z) - problem.threshold, seed=1).surrogate
    assert surrogate.split.basis.shape == (DIM, 1)
    assert sine(random_frame(DIM, 1, 5), surrogate.split.basis) < 1e-5
    fresh = wide_draws(seed=2)
    error = surrogate.at(surrogate.split.see(fresh)) - (problem.score(fresh) - problem.threshold)
    assert float(error.abs().amax()) < 1e-3


def test_the_error_reported_is_that_of_fresh_values():
    problem, z = two_half_spaces(DIM, 5), wide_draws()
    values = problem.score(z)
    surrogate = learn_surrogate(z, values, seed=1).surrogate
    fresh = wide_draws(4000, seed=2)
    weights = nearness(problem.score(fresh))
    gap = surrogate.at(surrogate.split.see(fresh)) - problem.score(fresh)
    actual = math.sqrt(float((weights * gap**2).sum() / weights.sum()))
    assert actual / 3 < surrogate.error < 3 * actual


def test_values_that_can_be_squared_are_fitted_as_they_are():
    values = half_space(DIM, 5).score(wide_draws())
    same, unit = pressed(values)
    assert same is values and unit == 1
    for factor in (1e-150, 1e150):
        small, unit = pressed(factor * values)
        assert unit == pytest.approx(factor * float(values.abs().median()))
        torch.testing.assert_close(torch.sinh(small) * unit, factor * values, rtol=1e-12, atol=0)
    wide = torch.tensor([-2.0, -1.0, 0.0, 1e-4, 1.0, 1e300], dtype=torch.float64)
    small, unit = pressed(wide)
    assert unit == 1.0 and torch.isfinite(small**2).all() and (small.diff() > 0).all()
    assert torch.equal(small.sign(), wide.sign()) and float(small[3]) == pytest.approx(1e-4, rel=1e-6)


def test_slopes_are_autograds():
    problem, z = curved_series(3, 5), wide_draws(dim=3)
    values = problem.score(z)
    surrogate = fit_surrogate(LatentSplit(random_frame(3, 2, 5)), z, values, nearness(values), seed=1)
    seen = surrogate.split.see(wide_draws(50, seed=2, dim=3)).requires_grad_()
    (exact,) = torch.autograd.grad(surrogate.at(seen).sum(), seen)
    torch.testing.assert_close(surrogate.slopes(seen.detach()), exact, rtol=1e-6, atol=1e-6)


def test_a_step_of_refinement_brings_directions_nearer():
    problem, z = two_half_spaces(DIM, 5), wide_draws()
    values, true = problem.score(z), random_frame(DIM, 1, 5)
    weights = nearness(values)
    bent = torch.linalg.qr(true + 0.05 * random_frame(DIM, 1, 9))[0]
    surrogate = fit_surrogate(LatentSplit(bent), z, values, weights, seed=1)
    before, after = sine(true, bent), sine(true, refine(surrogate, z, values, weights).basis)
    assert before > 0.04 and after < before / 3


@pytest.mark.parametrize("level", [0.0, -2.0])
def test_a_constant_score_gives_a_constant_surrogate(level):
    z = wide_draws(200)
    surrogate = learn_surrogate(z, torch.full((200,), level, dtype=torch.float64), seed=1).surrogate
    torch.testing.assert_close(surrogate.at(surrogate.split.see(z)), torch.full((200,), level, dtype=torch.float64))
    assert surrogate.error > 0


def test_a_score_in_steps_with_most_values_at_the_threshold_is_no_trouble():
    problem, z = half_space(DIM, 5), wide_draws(400)
    surrogate = learn_surrogate(z, torch.floor(problem.score(z) / 8).clamp_min(0.0), seed=1).surrogate
    assert torch.isfinite(surrogate.at(surrogate.split.see(z))).all() and surrogate.error > 0


def test_the_same_seed_gives_the_same_surrogate():
    problem, z = curved_series(DIM, 5), wide_draws(400)
    first, second = (learn_surrogate(z, problem.score(z), seed=4).surrogate for _ in range(2))
    assert torch.equal(first.coefficients, second.coefficients) and first.error == second.error
