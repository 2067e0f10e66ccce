"""Conditional variational autoencoder: a latent-variable density whose log-density is bounded, not known.

A draw is z ~ p(z | c), x ~ p(x | z, c), so that p(x | c) = ∫ p(z | c) p(x | z, c) dz has no closed form. With an
encoder q(z | x, c) and K samples z₁ … z_K of it,

    L_K(x) = log (1/K) Σ_k p(z_k | c) p(x | z_k, c) / q(z_k | x, c),

whose expectation lies below log p(x | c), rises with K and tends to it. L₁ is the evidence lower bound (Kingma &
Welling, *Auto-encoding variational Bayes*, 2014; given a context: Sohn, Lee & Yan, *Learning structured output
representation using deep conditional generative models*, 2015), L_K the importance-weighted bound (Burda, Grosse &
Salakhutdinov, *Importance weighted autoencoders*, 2016).

Prior, encoder and decoder are conditional densities themselves, so any of them may be a flow, or respect a symmetry.
The decoder gets (z, c) and the encoder (x, c) in one row, the coordinates of a set of points one after the other.
"""

import math
from collections.abc import Callable
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor

from scenariogen.errors import DensityError, Problems
from scenariogen.randomness import uniform
from scenariogen.sampling.contract import (
    ConditionalDensity,
    Distribution,
    check_context,
    check_finite,
)
from scenariogen.sampling.normal import ConditionalNormal, StandardNormal
from scenariogen.sampling.training import Rows

ROWS_AT_ONCE = 16_384
"""Rows that go through the networks together while a bound is computed: memory does not grow with its samples."""


class CVAEDistribution(Distribution):
    """The density of a :class:`CVAE` given its context. Its ``log_prob`` is L_K with fixed noise, not log p."""

    log_prob_is_exact = False

    def __init__(self, model: "CVAE", context: Float[Tensor, "batch context"]) -> None:
        self.model, self.context = model, context
        self.prior = model.prior(context)
        self.noise_columns = self.prior.noise_columns + model.decoder_noise_columns

    def sample(self, noise: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch *dim"]:
        """x ~ p(x | z, c) with z ~ p(z | c): the first columns of the noise are the prior's."""
        z = self.prior.sample(noise[:, : self.prior.noise_columns])
        return self.model.decoder(_row(z, self.context)).sample(noise[:, self.prior.noise_columns :])

    def log_prob(self, x: Float[Tensor, "batch *dim"]) -> Float[Tensor, " batch"]:
        """L_K(x) with the K = ``samples`` noises of the model's seed, the same for every row.

        With its noise fixed it is a deterministic estimate of log p(x | c) that is too low in expectation over the
        seed; for one seed it may lie above at single rows.
        """
        model = self.model
        numbers = torch.arange(model.samples, device=x.device)
        noise = uniform(model.seed, numbers, model.encoder_noise_columns).to(device=x.device, dtype=x.dtype)
        noise = noise.clamp(torch.finfo(x.dtype).tiny, 1 - torch.finfo(x.dtype).eps / 2)
        return self.importance_bound(x, noise.reshape(1, -1).expand(len(x), -1), samples=model.samples)

    def elbo(self, x: Float[Tensor, "batch *dim"], noise: Float[Tensor, "batch columns"]) -> Float[Tensor, " batch"]:
        """L₁(x), one sample of the evidence lower bound per row; differentiable in the parameters.

        ``noise`` is uniform, of shape (batch, ``encoder_noise_columns``).
        """
        return self.importance_bound(x, noise, samples=1)

    def importance_bound(
        self, x: Float[Tensor, "batch *dim"], noise: Float[Tensor, "batch columns"], *, samples: int
    ) -> Float[Tensor, " batch"]:
        """L_K(x) with K = ``samples`` samples of the encoder per row; differentiable in the parameters.

        ``noise`` is uniform, of shape (batch, K · ``encoder_noise_columns``), one sample after the other.
        ``DensityError`` for draws or noise of another shape, and where a density involved gives nan.
        """
        model, columns = self.model, self.model.encoder_noise_columns
        if tuple(x.shape) != (len(self.context), *model.shape):
            expected = ", ".join(str(size) for size in (len(self.context), *model.shape))
            raise DensityError(f"got draws of shape {tuple(x.shape)}, expected ({expected})")
        check_finite(x, "the draws")
        if samples < 1 or noise.shape != (len(x), samples * columns):
            raise DensityError(
                f"got noise of shape {tuple(noise.shape)} for {samples} samples, expected at least 1 sample and "
                f"({len(x)}, samples · {columns})"
            )
        if len(x) == 0:
            return x.new_zeros(0)
        # Sample by sample, several together only while the rows are few.
        together = max(1, ROWS_AT_ONCE // len(x))
        each = noise.reshape(len(x), samples, columns)
        parts = [self._log_weights(x, each[:, start : start + together]) for start in range(0, samples, together)]
        return torch.logsumexp(torch.cat(parts, dim=1), dim=1) - math.log(samples)

    def _log_weights(
        self, x: Float[Tensor, "batch *dim"], noise: Float[Tensor, "batch option columns"]
    ) -> Float[Tensor, "batch option"]:
        """log p(z | c) p(x | z, c) / q(z | x, c) of each row's samples."""
        count, model = noise.shape[1], self.model
        x, context = x.repeat_interleave(count, dim=0), self.context.repeat_interleave(count, dim=0)
        z, log_q = model.encoder(_row(x, context)).sample_and_log_prob(noise.reshape(len(x), -1))
        log_joint = model.prior(context).log_prob(z) + model.decoder(_row(z, context)).log_prob(x)
        out = log_joint - cast(Tensor, log_q)
        if torch.isnan(out).any():
            raise DensityError(
                f"{int(torch.isnan(out).sum())} of {out.numel()} importance weights of a CVAE are nan: its prior, "
                "encoder and decoder must give finite numbers, or −inf outside their support"
            )
        return out.reshape(-1, count)


class CVAE(ConditionalDensity):
    """Conditional variational autoencoder of ``dim`` numbers with ``latent`` latent ones given ``context_width``.

    ``prior``    density of z (batch, latent) given c, default N(0, I)
    ``encoder``  density of z given (x, c), default :class:`ConditionalNormal`
    ``decoder``  density of x given (z, c), default :class:`ConditionalNormal` with a learned scale; sets of points
                 (batch, point, dim) come from a decoder that draws them, ``dim`` is then point · dim
    ``samples``  K of :meth:`CVAEDistribution.log_prob`, ``seed`` that of their noise; both belong to the density

    Noise that comes through the encoder must leave its draws differentiable for training (reparametrisation).
    Draws are with respect to the decoder's measure. ``DensityError`` with everything that does not fit: widths (each
    part is tried once on a row of zeros), a prior and an encoder of different measures, a part without a log-density,
    an encoder whose log-density is not exact.
    """

    def __init__(
        self,
        dim: int,
        latent: int,
        context_width: int = 0,
        *,
        prior: ConditionalDensity | None = None,
        encoder: ConditionalDensity | None = None,
        decoder: ConditionalDensity | None = None,
        samples: int = 64,
        seed: int = 0,
        hidden: int = 64,
        layers: int = 2,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.dim, self.latent, self.context_width = dim, latent, context_width
        self.samples, self.seed = samples, seed
        size = {"hidden": hidden, "layers": layers, "dtype": dtype}
        self.prior = prior or StandardNormal(latent, context_width, dtype=dtype)
        self.encoder = encoder or ConditionalNormal(latent, dim + context_width, **size)
        self.decoder = decoder or ConditionalNormal(dim, latent + context_width, shared_scale=True, **size)
        problems = Problems("a CVAE whose parts do not fit")
        if samples < 1:
            problems.add(f"samples is {samples}, expected at least 1")
        for name, part, width in (
            ("prior", self.prior, context_width),
            ("encoder", self.encoder, dim + context_width),
            ("decoder", self.decoder, latent + context_width),
        ):
            if part.context_width != width:
                problems.add(f"the {name} takes a context of {part.context_width} numbers, expected {width}")
        if self.prior.measure != self.encoder.measure:
            problems.add(
                f"the prior refers to “{self.prior.measure}” and the encoder to “{self.encoder.measure}”, expected one "
                "measure"
            )
        problems.raise_as(DensityError)
        self.measure = self.decoder.measure
        tried = [_try(part) for part in (self.prior, self.encoder, self.decoder)]
        for name, numbers, (shape, given) in zip(
            ("prior", "encoder", "decoder"), (latent, latent, dim), tried, strict=True
        ):
            if not given.has_log_prob:
                problems.add(f"the {name} {type(given).__name__} has no log-density, expected one: the bound needs it")
            elif name == "encoder" and not given.log_prob_is_exact:
                problems.add(f"the encoder {type(given).__name__} is not exact, expected an exact log-density")
            if math.prod(shape) != numbers or (name != "decoder" and len(shape) != 1):
                problems.add(
                    f"the {name} draws shape (batch, {', '.join(map(str, shape))}), expected {numbers} numbers"
                )
        problems.raise_as(DensityError)
        self.shape, self.decoder_noise_columns = tried[2][0], tried[2][1].noise_columns
        self.encoder_noise_columns = tried[1][1].noise_columns

    def forward(self, context: Float[Tensor, "batch context"]) -> CVAEDistribution:
        """The density for contexts of shape (batch, context)."""
        check_context(context, self.context_width)
        return CVAEDistribution(self, context)


def bound_loss(samples: int = 1) -> Callable[[CVAE, Rows], Tensor]:
    """−L_K with K = ``samples`` fresh samples per row: the loss that :func:`.training.fit` minimises for a CVAE.

    K = 1 is the evidence lower bound; a larger K lets the model use posteriors that the encoder cannot express.
    """

    def loss(model: CVAE, rows: Rows) -> Tensor:
        noise = rows.noise(samples * model.encoder_noise_columns)
        return -model(rows.context).importance_bound(rows.x, noise, samples=samples)

    return loss


def _row(first: Tensor, context: Tensor) -> Tensor:
    """The coordinates of ``first`` (batch, …) and the context in one row."""
    return torch.cat([first.flatten(1), context], dim=1)


def _try(part: ConditionalDensity) -> tuple[tuple[int, ...], Distribution]:
    """The shape of a draw, and the distribution it comes from, given one row of zeros."""
    numbers = next((each for each in (*part.parameters(), *part.buffers()) if each.is_floating_point()), None)
    like = torch.zeros(0, dtype=torch.float64) if numbers is None else numbers
    with torch.no_grad():
        distribution = part(like.new_zeros((1, part.context_width)))
        drawn = distribution.sample(like.new_full((1, distribution.noise_columns), 0.5))
    return tuple(drawn.shape[1:]), distribution
