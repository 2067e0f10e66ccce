"""Training by gradient descent: one minimiser for everything that is fitted to rows of data.

The mean of a loss over the rows, (1/n) Σᵢ ℓ(θ; xᵢ), is minimised by Adam (Kingma & Ba, *Adam: a method for stochastic
optimization*, 2015) on minibatches, with a learning rate that falls along a cosine (Loshchilov & Hutter, *SGDR*, 2017)
and gradients clipped to a norm. With ℓ = −log p this is maximum likelihood. Some rows are held out; the weights that
come out are those of the check with the lowest loss on them, and training ends early where that loss stops falling.

Minibatches are cut from permutations that are a function of the seed, and a loss that needs noise gets a seed with its
rows: on one thread the same call gives the same weights to the last bit, and torch's global generator is not touched.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from scenariogen.errors import DensityError, Problems
from scenariogen.randomness import child_seed, uniform
from scenariogen.sampling.contract import BLOCK, ConditionalDensity, check_finite

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of the data, as a loss gets them.

    ``values``   one tensor (batch, …) for each tensor of the data
    ``numbers``  the rows' own numbers in the data, shape (batch,)
    ``seed``     of the noise that the loss may want: new in every step, the same in every check of the held-out rows
    """

    values: tuple[Tensor, ...]
    numbers: Int[Tensor, " batch"]
    seed: int

    @property
    def x(self) -> Tensor:
        """The first tensor."""
        return self.values[0]

    @property
    def context(self) -> Float[Tensor, "batch context"]:
        """The second tensor; of width 0 where there is none."""
        return self.values[1] if len(self.values) > 1 else self.x.new_zeros((len(self.x), 0))

    def noise(self, columns: int) -> Float[Tensor, "batch columns"]:
        """Uniform noise in (0, 1) that depends on the seed and on each row's own number alone."""
        u = uniform(self.seed, self.numbers, columns).to(device=self.x.device, dtype=self.x.dtype)
        return u.clamp(torch.finfo(u.dtype).tiny, 1 - torch.finfo(u.dtype).eps / 2)

    def __len__(self) -> int:
        return len(self.numbers)


class Ending(Enum):
    """Why training ended."""

    STEPS = "all steps were made"
    PATIENCE = "the loss on the held-out rows stopped falling"


@dataclass(frozen=True)
class Check:
    """One look at the training: the mean loss of the minibatches since the last one, None before the first step."""

    step: int
    loss: float | None
    held_out_loss: float | None
    learning_rate: float


@dataclass(frozen=True)
class Training:
    """What a training did. Two trainings are equal where all but the time they took is.

    ``history``    one :class:`Check` every ``check_every`` steps, the first before any step
    ``best_step``  the step whose weights the module has now
    ``best_loss``  the loss on the held-out rows there; None where none were held out
    """

    history: tuple[Check, ...]
    best_step: int
    best_loss: float | None
    steps: int
    ending: Ending
    seconds: float = field(compare=False)

    def __repr__(self) -> str:
        loss = "no rows held out" if self.best_loss is None else f"held-out loss {self.best_loss:.4g}"
        return f"Training(step {self.best_step} of {self.steps}, {loss}, {self.seconds:.1f} s, {self.ending.value})"


def negative_log_likelihood(module: ConditionalDensity, rows: Rows) -> Float[Tensor, " batch"]:
    """−log p(x | context) of each row: the loss of maximum likelihood."""
    return -module(rows.context).log_prob(rows.x)


def seeded(build: Callable[[], M], *, seed: int) -> M:
    """``build()`` with initial parameters from ``seed``; torch's global generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(child_seed(seed, "initial parameters"))
        return build()


def permutation(seed: int, count: int, *, device: torch.device | None = None) -> Int[Tensor, " row"]:
    """The numbers 0 … count − 1 in an order that is a function of the seed."""
    keys = uniform(child_seed(seed, "permutation"), torch.arange(count, device=device), 1)
    return torch.argsort(keys[:, 0], stable=True)


def fit(
    module: M,
    loss: Callable[[M, Rows], Tensor],
    data: Tensor | tuple[Tensor, ...],
    *,
    seed: int,
    steps: int = 2000,
    batch: int = 256,
    learning_rate: float = 2e-3,
    last_rate: float = 0.01,
    held_out: float = 0.1,
    check_every: int = 50,
    patience: int = 10,
    max_norm: float = 10.0,
    progress: Callable[[int, int], None] | None = None,
) -> Training:
    """Minimise the mean of ``loss(module, rows)``, shape (batch,), over the rows of ``data``; the module is changed.

    ``data``         one tensor (row, …) or several with as many rows, on the module's device
    ``last_rate``    the last learning rate as a share of the first, 0 to 1
    ``held_out``     share of the rows that is not trained on; 0 keeps the last weights and never ends early
    ``patience``     checks without a lower held-out loss before training ends
    ``max_norm``     gradients longer than this are scaled to it

    ``DensityError`` for data or settings that cannot be used, and for a loss or gradient that is not finite, with the
    step; the module then has the best weights found so far.
    """
    values = data if isinstance(data, tuple) else (data,)
    parameters = [each for each in module.parameters() if each.requires_grad]
    whole = {"steps": steps, "batch": batch, "check_every": check_every, "patience": patience}
    positive = {"learning_rate": learning_rate, "max_norm": max_norm}
    shares = {"held_out": (held_out, 0 <= held_out < 1), "last_rate": (last_rate, 0 <= last_rate <= 1)}
    _check_request(values, parameters, whole=whole, positive=positive, shares=shares)
    start, count, mode = time.perf_counter(), len(values[0]), module.training
    order = permutation(child_seed(seed, "held out"), count, device=values[0].device)
    kept = min(count - 1, max(1, round(held_out * count))) if held_out else 0
    test, train = order[:kept], order[kept:]
    batches = _minibatches(train, min(batch, len(train)), seed=child_seed(seed, "minibatches"))
    optimiser = torch.optim.Adam(parameters, lr=learning_rate)
    history: list[Check] = []
    losses: list[Tensor] = []
    best: tuple[float, int, dict[str, Tensor]] | None = None
    ending, step, rate = Ending.STEPS, 0, learning_rate

    def check() -> bool:
        """Look at the held-out rows; whether training should end."""
        nonlocal best
        mean = float(torch.stack(losses).mean()) if losses else None
        losses.clear()
        value = _held_out_loss(module, loss, values, test, seed=seed, step=step) if kept else None
        history.append(Check(step, mean, value, rate))
        if value is None:
            return False
        if best is None or value < best[0]:
            weights = {name: each.detach().clone() for name, each in module.state_dict().items()}
            best = (value, step, weights)
        return step - best[1] >= patience * check_every

    try:
        check()
        module.train()
        for step in range(1, steps + 1):
            rate = learning_rate * (last_rate + (1 - last_rate) * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps)))
            for group in optimiser.param_groups:
                group["lr"] = rate
            numbers = next(batches)
            rows = Rows(tuple(each[numbers] for each in values), numbers, child_seed(seed, "step", step))
            mean = _checked(loss(module, rows), rows, f"step {step}").mean()
            optimiser.zero_grad(set_to_none=True)
            mean.backward()
            norm = nn.utils.clip_grad_norm_(parameters, max_norm)
            if not torch.isfinite(norm):
                raise DensityError(f"the gradient of step {step} is {float(norm)}, expected finite numbers")
            optimiser.step()
            losses.append(mean.detach())
            if progress:
                progress(step, steps)
            if (step % check_every == 0 or step == steps) and check():
                ending = Ending.PATIENCE
                break
    finally:
        if best is not None:
            module.load_state_dict(best[2])
        module.train(mode)
    found = (None, step) if best is None else best[:2]
    return Training(tuple(history), found[1], found[0], step, ending, time.perf_counter() - start)


def _check_request(
    values: tuple[Tensor, ...],
    parameters: list[nn.Parameter],
    *,
    whole: dict[str, int],
    positive: dict[str, float],
    shares: dict[str, tuple[float, bool]],
) -> None:
    problems = Problems("a training that cannot start")
    if len({len(each) for each in values}) > 1:
        problems.add(f"the data's tensors have {[len(each) for each in values]} rows, expected as many in each")
    elif not values or len(values[0]) < 2:
        problems.add(f"the data has {len(values[0]) if values else 0} rows, expected at least 2")
    for number, each in enumerate(values):
        try:
            check_finite(each, f"tensor {number} of the data")
        except DensityError as error:
            problems.extend(error.problems)
    if not parameters:
        problems.add("the module has no parameters to train")
    for name, number in whole.items():
        if number < 1:
            problems.add(f"{name} is {number}, expected at least 1")
    for name, number in positive.items():
        if not (number > 0 and math.isfinite(number)):
            problems.add(f"{name} is {number}, expected a positive number")
    for name, (number, is_share) in shares.items():
        if not is_share:
            problems.add(f"{name} is {number}, expected a share of 0 to 1, and of held-out rows below 1")
    problems.raise_as(DensityError)


def _minibatches(numbers: Tensor, batch: int, *, seed: int) -> Iterator[Tensor]:
    """Batches of one size without end, a new permutation each time round; a rest too small for a batch is left out."""
    turn = 0
    while True:
        shuffled = numbers[permutation(child_seed(seed, turn), len(numbers), device=numbers.device)]
        yield from (shuffled[at : at + batch] for at in range(0, len(numbers) - batch + 1, batch))
        turn += 1


def _held_out_loss(module, loss, values: tuple[Tensor, ...], numbers: Tensor, *, seed: int, step: int) -> float:
    module.eval()
    total, noise_seed = 0.0, child_seed(seed, "held-out noise")
    with torch.no_grad():
        for part in numbers.split(BLOCK):
            rows = Rows(tuple(each[part] for each in values), part, noise_seed)
            total += float(_checked(loss(module, rows), rows, f"the held-out rows at step {step}").sum())
    module.train()
    return total / len(numbers)


def _checked(values: Tensor, rows: Rows, where: str) -> Tensor:
    if values.shape != (len(rows),):
        raise DensityError(
            f"the loss has shape {tuple(values.shape)}, expected one number for each of the {len(rows)} rows"
        )
    wrong = ~torch.isfinite(values)
    if wrong.any():
        first = int(torch.nonzero(wrong)[0])
        raise DensityError(
            f"the loss of {where} is nan or infinite in {int(wrong.sum())} of {len(rows)} rows, the first is row "
            f"{int(rows.numbers[first])} of the data ({float(values[first].detach())}), expected finite numbers: "
            "lower the learning rate, or look at that row"
        )
    return values
