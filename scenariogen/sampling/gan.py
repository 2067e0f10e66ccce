"""Conditional generative adversarial network: draws without a density.

A generator G makes x = G(z, c) out of standard normal z; a discriminator D tells such draws from data, and both learn
from each other (Goodfellow et al., *Generative adversarial nets*, 2014; given a context: Mirza & Osindero, *Conditional
generative adversarial nets*, 2014). The losses are the non-saturating ones, with a penalty on the discriminator's slope
at the data that makes training converge locally (R1; Mescheder, Geiger & Nowozin, *Which training methods for GANs do
actually converge?*, 2018), σ(t) = log(1 + eᵗ):

    L_D = E[σ(−D(x, c))] + E[σ(D(G(z, c), c))] + (γ/2) E‖∇ₓ D(x, c)‖²,     L_G = E[σ(−D(G(z, c), c))].

x = G(z, c) has no density that could be computed, and none at all where z has fewer numbers than x.

A training step is a pure function: parameters and the moments of Adam are state, losses are info. Draws come from an
exponential moving average of the generator's parameters (Yazıcı et al., *The unusual effectiveness of averaging in GAN
training*, 2019).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from scenariogen.errors import DensityError, Problems
from scenariogen.randomness import child_seed, normal, uniform
from scenariogen.sampling.contract import ConditionalDensity, Distribution, check_context, check_finite, mlp

Weights = dict[str, Tensor]


class GANDistribution(Distribution):
    """Draws of a generator given its context. There is no density."""

    log_prob_is_exact = False
    has_log_prob = False

    def __init__(self, model: "GAN", context: Float[Tensor, "batch context"]) -> None:
        self.model, self.context = model, context
        self.noise_columns = model.latent

    def sample(self, noise: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch *dim"]:
        """x = G(Φ⁻¹(noise), c)."""
        return self.model.generator(torch.cat([torch.special.ndtri(noise), self.context], dim=1))

    def log_prob(self, x: Float[Tensor, "batch *dim"]) -> Float[Tensor, " batch"]:
        """Raises ``DensityError``."""
        raise DensityError(
            "a GAN has no density, so there is no log_prob: where one is needed use an exact member (CouplingFlow, "
            "KernelDensity), or a CVAE where a bound will do"
        )


class GAN(ConditionalDensity):
    """Conditional GAN of ``dim`` numbers from ``latent`` normal ones given ``context_width`` numbers.

    ``generator``      maps (z, c) in one row, (batch, latent + context), to draws (batch, dim) or, of sets of points,
                       (batch, point, dim); a perceptron of ``layers`` layers of ``hidden`` by default
    ``discriminator``  maps (x, c) in one row, the points' coordinates one after the other, to (batch, 1), positive
                       for data. It must be smooth: its slope is penalised

    ``DensityError`` where one of them gives another shape, tried on a row of zeros.
    """

    def __init__(
        self,
        dim: int,
        latent: int,
        context_width: int = 0,
        *,
        generator: nn.Module | None = None,
        discriminator: nn.Module | None = None,
        hidden: int = 64,
        layers: int = 2,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.dim, self.latent, self.context_width = dim, latent, context_width
        size = {"hidden": hidden, "layers": layers, "dtype": dtype}
        self.generator = generator or _alive(mlp(latent + context_width, dim, **size))
        self.discriminator = discriminator or mlp(dim + context_width, 1, **size)
        problems = Problems("a GAN whose parts do not fit")
        like = next((each for each in self.parameters() if each.is_floating_point()), torch.zeros(0, dtype=dtype))
        with torch.no_grad():
            drawn = self.generator(like.new_zeros((1, latent + context_width)))
            score = self.discriminator(like.new_zeros((1, dim + context_width)))
        if drawn.dim() < 2 or drawn[0].numel() != dim:
            problems.add(f"the generator gave shape {tuple(drawn.shape)} for one row, expected {dim} numbers in it")
        if score.shape != (1, 1):
            problems.add(f"the discriminator gave shape {tuple(score.shape)} for one row, expected (1, 1)")
        problems.raise_as(DensityError)

    def forward(self, context: Float[Tensor, "batch context"]) -> GANDistribution:
        """Draws for contexts of shape (batch, context)."""
        check_context(context, self.context_width)
        return GANDistribution(self, context)


def _alive(network: nn.Module) -> nn.Module:
    """A perceptron whose last layer does not start at zero: a generator stuck at one point learns slowly from it."""
    nn.init.xavier_uniform_(cast(nn.Linear, list(network.modules())[-1]).weight)
    return network


@dataclass(frozen=True, eq=False)
class Adam:
    """Adam's running moments of each parameter (Kingma & Ba, *Adam: a method for stochastic optimization*, 2015)."""

    first: Weights
    second: Weights

    @classmethod
    def zero(cls, weights: Weights) -> "Adam":
        return cls(*({name: torch.zeros_like(each) for name, each in weights.items()} for _ in range(2)))


@dataclass(frozen=True, eq=False)
class GANState:
    """What the next step needs. ``average`` is the moving average of the generator's weights."""

    step: int
    generator: Weights
    discriminator: Weights
    average: Weights
    generator_moments: Adam
    discriminator_moments: Adam


@dataclass(frozen=True)
class GANInfo:
    """What a reader wants of a step: both losses (2 log 2 and log 2 where D can tell nothing) and the penalty."""

    step: int
    discriminator_loss: float
    generator_loss: float
    penalty: float


@dataclass(frozen=True, kw_only=True)
class GANSettings:
    """How a step is made.

    ``penalty``  γ of the R1 penalty
    ``decay``    of the moving average of the generator's weights
    ``betas``    of Adam's moments: the first is 0, since the loss changes with the opponent
    """

    batch: int = 256
    learning_rate: float = 2e-3
    penalty: float = 0.3
    decay: float = 0.995
    betas: tuple[float, float] = (0.0, 0.99)

    def __post_init__(self) -> None:
        problems = Problems("settings of a GAN's training")
        if self.batch < 1:
            problems.add(f"batch is {self.batch}, expected at least 1")
        for name in ("learning_rate", "penalty"):
            value = getattr(self, name)
            if not 0 <= value < float("inf"):
                problems.add(f"{name} is {value}, expected a finite number of at least 0")
        for name, value in (("decay", self.decay), *(("betas", beta) for beta in self.betas)):
            if not 0 <= value < 1:
                problems.add(f"{name} is {value}, expected at least 0 and below 1")
        problems.raise_as(DensityError)


def initial_state(model: GAN) -> GANState:
    """The state before the first step, with copies of the model's parameters."""
    generator, discriminator = (
        {name: each.detach().clone() for name, each in part.named_parameters() if each.requires_grad}
        for part in (model.generator, model.discriminator)
    )
    return GANState(0, generator, discriminator, generator, Adam.zero(generator), Adam.zero(discriminator))


def gan_step(
    model: GAN,
    state: GANState,
    data: tuple[Tensor, Float[Tensor, "row context"]],
    *,
    seed: int,
    settings: GANSettings | None = None,
) -> tuple[GANState, GANInfo]:
    """One step of the discriminator, then one of the generator. The same seed and state give the same result.

    ``data`` is x (row, …) and the context (row, context), of which each step takes a minibatch with replacement. The
    model only lends its networks; its parameters stay as they are. ``DensityError`` where a loss is not finite.
    """
    settings = settings or GANSettings()
    x, context = data
    rows = torch.arange(settings.batch, device=x.device)
    seed = child_seed(seed, "gan", state.step)

    def latent(purpose: str) -> Tensor:
        return normal(child_seed(seed, purpose), rows, model.latent).to(x.dtype)

    chosen = (uniform(child_seed(seed, "rows"), rows, 1)[:, 0] * len(x)).to(torch.int64)
    given = context[chosen]
    real = x[chosen].flatten(1).detach().requires_grad_()

    # The discriminator.
    weights = {name: each.detach().requires_grad_() for name, each in state.discriminator.items()}
    with torch.no_grad():
        fake = _generate(model, state.generator, latent("discriminator"), given)
    score = _score(model, weights, real, given)
    slope = torch.autograd.grad(score.sum(), real, create_graph=True)[0]
    penalty = 0.5 * settings.penalty * (slope**2).sum(1).mean()
    told = nn.functional.softplus(-score).mean() + nn.functional.softplus(_score(model, weights, fake, given)).mean()
    number = state.step + 1
    slopes = _gradients(told + penalty, weights, f"discriminator's loss of step {number}")
    discriminator, discriminator_moments = _adam(weights, slopes, state.discriminator_moments, number, settings)

    # The generator, against the discriminator as it is now.
    weights = {name: each.detach().requires_grad_() for name, each in state.generator.items()}
    fooled = _score(model, discriminator, _generate(model, weights, latent("generator"), given), given)
    missed = nn.functional.softplus(-fooled).mean()
    slopes = _gradients(missed, weights, f"generator's loss of step {number}")
    generator, generator_moments = _adam(weights, slopes, state.generator_moments, number, settings)
    decay = min(settings.decay, number / (number + 10))  # the first steps' weights are soon forgotten
    average = {name: decay * state.average[name] + (1 - decay) * each for name, each in generator.items()}
    info = GANInfo(number, float(told.detach()), float(missed.detach()), float(penalty.detach()))
    return GANState(number, generator, discriminator, average, generator_moments, discriminator_moments), info


@dataclass(frozen=True)
class GANTraining:
    """What :func:`fit_gan` did: an info every hundredth of the steps, and the state to go on from."""

    history: tuple[GANInfo, ...]
    state: GANState = field(repr=False, compare=False)
    seconds: float = field(compare=False)


def fit_gan(
    model: GAN,
    x: Float[Tensor, "row *dim"],
    context: Float[Tensor, "_ context"] | None = None,
    *,
    seed: int,
    steps: int = 2000,
    settings: GANSettings | None = None,
    state: GANState | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> GANTraining:
    """``steps`` steps from ``state`` (or from the model as it is); the model gets the averaged generator.

    Training in two parts gives what training at once does, where the second gets the first's state. ``DensityError``
    for data of other widths, that are not finite, or where a loss is not finite.
    """
    context = x.new_zeros((len(x), 0)) if context is None else context
    check_context(context, model.context_width)
    problems = Problems("data that a GAN cannot be trained on")
    if len(x) != len(context):
        problems.add(f"got {len(x)} rows and {len(context)} contexts, expected as many")
    if len(x) == 0 or x.dim() < 2 or x[0].numel() != model.dim:
        problems.add(f"got data of shape {tuple(x.shape)}, expected rows of {model.dim} numbers")
    if steps < 1:
        problems.add(f"steps is {steps}, expected at least 1")
    problems.raise_as(DensityError)
    check_finite(x, "the data")
    start, history = time.perf_counter(), []
    state = state or initial_state(model)
    for number in range(1, steps + 1):
        state, info = gan_step(model, state, (x, context), seed=seed, settings=settings)
        if number % max(1, steps // 100) == 0 or number == steps:
            history.append(info)
        if progress:
            progress(number, steps)
    with torch.no_grad():
        for part, weights in ((model.generator, state.average), (model.discriminator, state.discriminator)):
            for name, each in part.named_parameters():
                each.copy_(weights.get(name, each))
    return GANTraining(tuple(history), state, time.perf_counter() - start)


def _generate(model: GAN, weights: Weights, z: Tensor, context: Tensor) -> Tensor:
    return functional_call(model.generator, weights, (torch.cat([z, context], dim=1),)).flatten(1)


def _score(model: GAN, weights: Weights, x: Tensor, context: Tensor) -> Tensor:
    return functional_call(model.discriminator, weights, (torch.cat([x, context], dim=1),))[:, 0]


def _gradients(loss: Tensor, weights: Weights, name: str) -> Weights:
    # Parameters that the loss does not depend on stay as they are.
    found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True, materialize_grads=True)
    if not (torch.isfinite(loss) and all(torch.isfinite(each).all() for each in found)):
        raise DensityError(
            f"the {name} is {float(loss.detach())}, or has a gradient that is not finite: lower the learning rate"
        )
    return dict(zip(weights, found, strict=True))


def _adam(weights: Weights, slopes: Weights, moments: Adam, number: int, settings: GANSettings) -> tuple[Weights, Adam]:
    """One step of Adam with the usual corrections for moments that start at zero."""
    (b1, b2), moved = settings.betas, {}
    first = {name: b1 * moments.first[name] + (1 - b1) * each for name, each in slopes.items()}
    second = {name: b2 * moments.second[name] + (1 - b2) * each**2 for name, each in slopes.items()}
    for name, each in weights.items():
        size = (second[name] / (1 - b2**number)).sqrt() + 1e-8
        moved[name] = each.detach() - settings.learning_rate / (1 - b1**number) * first[name] / size
    return moved, Adam(first, second)
