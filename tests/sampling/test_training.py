"""Training recovers a known density, is a function of its seed, keeps the best weights and names what went wrong."""

import math

import pytest
import torch
from torch import nn

from scenariogen.errors import DensityError
from scenariogen.randomness import child_seed, normal
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.training import Ending, Rows, fit, negative_log_likelihood, permutation, seeded

SPREAD = 0.3


def banana(seed: int, rows: int) -> torch.Tensor:
    """x₁ ~ N(0, 1), x₂ ~ N(x₁² / 2, 0.3²)."""
    z = normal(seed, torch.arange(rows), 2)
    return torch.stack([z[:, 0], 0.5 * z[:, 0] ** 2 + SPREAD * z[:, 1]], dim=1)


def banana_log_prob(x: torch.Tensor) -> torch.Tensor:
    bell = torch.distributions.Normal
    return bell(0.0, 1.0).log_prob(x[:, 0]) + bell(0.5 * x[:, 0] ** 2, SPREAD).log_prob(x[:, 1])


class Line(nn.Module):
    """y = a x + b with squared loss, whose minimum is least squares."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight[0] * x + self.weight[1]


def squared(line: Line, rows: Rows) -> torch.Tensor:
    return (line(rows.x) - rows.values[1]) ** 2


def points(rows: int, noise: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    z = normal(5, torch.arange(rows), 2)
    return z[:, 0], 1.5 * z[:, 0] - 0.7 + noise * z[:, 1]


def test_a_flow_recovers_the_likelihood_of_a_known_density():
    flow = seeded(lambda: CouplingFlow(2, hidden=(32, 32)), seed=1)
    training = fit(flow, negative_log_likelihood, banana(1, 4000), seed=2, steps=300, learning_rate=5e-3)
    fresh = banana(9, 20_000)
    with torch.no_grad():
        learned = flow(fresh[:, :0]).log_prob(fresh)
    lost = banana_log_prob(fresh) - learned  # its mean is D(p‖q)
    error = float(lost.std()) / math.sqrt(len(lost))
    # What a normal density with the right moments loses: its entropy, var(x₂) = 1/2 + 0.3², less the true one.
    entropy = math.log(2 * math.pi * math.e) + math.log(SPREAD)
    normal_loses = 0.5 * math.log(0.5 + SPREAD**2) - math.log(SPREAD)
    assert -3 * error < float(lost.mean()) < 0.05 * normal_loses + 3 * error
    standard_error = float(learned.std()) / math.sqrt(len(learned))
    assert float(-learned.mean()) == pytest.approx(entropy, abs=0.05 * normal_loses + 3 * standard_error)
    held_out_error = float(learned.std()) / math.sqrt(400)
    assert training.best_loss == pytest.approx(entropy, abs=0.05 * normal_loses + 3 * held_out_error)


def test_the_minimum_of_a_quadratic_loss_is_least_squares():
    x, y = points(400)
    line = Line()
    training = fit(line, squared, (x, y), seed=3, steps=600, batch=400, learning_rate=0.05, held_out=0.0)
    design = torch.stack([x, torch.ones_like(x)], dim=1)
    assert torch.allclose(line.weight.detach(), torch.linalg.lstsq(design, y).solution, atol=1e-4)
    assert training.ending is Ending.STEPS and training.best_loss is None and training.best_step == 600


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_seed_gives_the_same_weights_to_the_last_bit_and_leaves_torchs_generator(dtype):
    def trained(seed: int) -> tuple[CouplingFlow, object]:
        flow = seeded(lambda: CouplingFlow(2, hidden=(8,), transforms=2, dtype=dtype), seed=seed)
        return flow, fit(flow, negative_log_likelihood, banana(1, 300).to(dtype), seed=seed, steps=12, check_every=5)

    before = torch.random.get_rng_state()
    (one, first), (two, second), (three, _) = trained(7), trained(7), trained(8)
    assert torch.equal(before, torch.random.get_rng_state())
    weights = [torch.cat([p.detach().flatten() for p in each.parameters()]) for each in (one, two, three)]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])
    assert first == second
    assert weights[0].dtype == dtype


def test_initial_parameters_are_a_function_of_the_seed_alone():
    made = []
    for state, seed in ((1, 4), (2, 4), (2, 5)):
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(state)
            made.append(seeded(lambda: nn.Linear(3, 3), seed=seed).weight)
    assert torch.equal(made[0], made[1]) and not torch.equal(made[1], made[2])


def test_gradients_are_clipped_to_a_norm():
    line = Line()
    fit(line, lambda line, rows: 1e6 * squared(line, rows), points(40), seed=1, steps=1, max_norm=0.25)
    assert line.weight.grad is not None
    assert float(line.weight.grad.norm()) == pytest.approx(0.25, rel=1e-5)


def test_the_best_weights_on_held_out_rows_are_kept_and_training_ends_with_a_reason():
    x, y = points(60, noise=1.0)
    line = Line()
    training = fit(line, squared, (x, y), seed=3, steps=5000, batch=8, learning_rate=0.3, last_rate=1.0, patience=3)
    assert training.ending is Ending.PATIENCE and training.steps < 5000 and "stopped falling" in repr(training)
    losses = {check.step: check.held_out_loss or math.inf for check in training.history}
    assert training.best_loss == min(losses.values()) == losses[training.best_step]
    assert training.steps - training.best_step == 3 * 50
    held = permutation_of_held_out(60, seed=3)[:6]
    now = float(((line(x[held]) - y[held]) ** 2).mean().detach())
    assert now == pytest.approx(training.best_loss, rel=1e-12)


def permutation_of_held_out(rows: int, *, seed: int) -> torch.Tensor:
    return permutation(child_seed(seed, "held out"), rows)


def test_every_row_is_trained_on_once_a_turn_and_held_out_rows_never():
    seen: list[int] = []

    def watch(line: Line, rows: Rows) -> torch.Tensor:
        if torch.is_grad_enabled():
            seen.extend(rows.numbers.tolist())
        return squared(line, rows)

    fit(Line(), watch, points(100), seed=4, steps=18, batch=10, held_out=0.1)
    held = set(permutation_of_held_out(100, seed=4)[:10].tolist())
    assert sorted(seen[:90]) == sorted(seen[90:]) == sorted(set(range(100)) - held)
    assert seen[:90] != seen[90:]


def test_noise_of_a_row_is_new_in_each_step_and_the_same_in_each_check():
    training_noise, check_noise = [], []

    def watch(line: Line, rows: Rows) -> torch.Tensor:
        found = dict(zip(rows.numbers.tolist(), rows.noise(1)[:, 0].tolist(), strict=True))
        (training_noise if torch.is_grad_enabled() else check_noise).append(found)
        return squared(line, rows)

    fit(Line(), watch, points(20), seed=4, steps=4, batch=100, held_out=0.2, check_every=2)
    assert check_noise[0] == check_noise[1] == check_noise[2]
    values = [value for found in training_noise for value in found.values()]
    assert len(set(values)) == len(values) == 4 * 16


def test_a_loss_that_is_not_finite_says_which_step_and_row():
    def breaks(line: Line, rows: Rows) -> torch.Tensor:
        loss = squared(line, rows)
        return torch.where(rows.numbers == 18, torch.nan, loss) if torch.is_grad_enabled() else loss

    held = permutation_of_held_out(40, seed=1)[:4].tolist()
    assert 18 not in held
    line = Line()
    with pytest.raises(DensityError, match=r"loss of step \d+ is nan or infinite in 1 of 6 rows, .* row 18 "):
        fit(line, breaks, points(40), seed=1, batch=6)
    assert torch.isfinite(line.weight).all() and line.training

    def steep(line: Line, rows: Rows) -> torch.Tensor:
        return (line(rows.x) * 0).abs().sqrt()  # finite, but its slope at 0 is not

    with pytest.raises(DensityError, match="the gradient of step 1 is nan"):
        fit(Line(), steep, points(40), seed=1)


def test_bad_requests_are_listed_at_once():
    x, y = points(40)
    with pytest.raises(DensityError) as caught:
        fit(
            nn.Identity(),
            lambda module, rows: module(rows.x),
            (x, y[:-1]),
            seed=1,
            steps=0,
            batch=0,
            learning_rate=-1.0,
            held_out=1.0,
            last_rate=-50.0,
            check_every=0,
            max_norm=0.0,
        )
    for part in (
        "[40, 39] rows",
        "no parameters",
        "steps is 0",
        "batch is 0",
        "is -1.0",
        "held_out is 1.0",
        "last_rate is -50.0",
        "check_every is 0",
        "max_norm is 0",
    ):
        assert part in str(caught.value)
    with pytest.raises(DensityError, match="last_rate is nan"):
        fit(Line(), squared, (x, y), seed=1, last_rate=math.nan)
    with pytest.raises(DensityError, match="the data has 0 rows"):
        fit(Line(), squared, (), seed=1)
    y[3] = torch.nan
    with pytest.raises(DensityError, match="tensor 1 of the data holds 1 values"):
        fit(Line(), squared, (x, y), seed=1)
    with pytest.raises(DensityError, match=r"shape \(\), expected one number for each of the 4 rows"):
        fit(Line(), lambda line, rows: line(rows.x).sum(), x, seed=1)
