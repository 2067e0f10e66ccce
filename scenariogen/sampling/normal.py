"""Normal densities with independent coordinates: priors, encoders and decoders, and the simplest member of all."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scenariogen.errors import DensityError
from scenariogen.sampling.contract import ConditionalDensity, Distribution, check_context, check_finite, mlp

_LOG_SCALE_LIMIT = 7.0


def standard_normal_log_prob(z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
    """log N(z; 0, I) of each row, shape (batch,)."""
    return -0.5 * (z**2).sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)


class IndependentNormal(Distribution):
    """N(mean, diag(exp(log_scale)²)), both of shape (batch, dim)."""

    def __init__(self, mean: Float[Tensor, "batch dim"], log_scale: Float[Tensor, "batch dim"]) -> None:
        self.mean, self.log_scale = mean, log_scale
        self.noise_columns = mean.shape[1]

    def sample(self, noise: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        return self.mean + torch.exp(self.log_scale) * torch.special.ndtri(noise)

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        if x.shape[1:] != self.mean.shape[1:]:
            raise DensityError(f"got points of shape {tuple(x.shape)}, expected (batch, {self.mean.shape[1]})")
        z = (x - self.mean) * torch.exp(-self.log_scale)
        # nan in a point is outside; nan in the parameters stays nan, for who asks to find it
        out = standard_normal_log_prob(z) - self.log_scale.sum(-1)
        return torch.where(torch.isnan(x).any(-1), -torch.inf, out)

    def sample_and_log_prob(
        self, noise: Float[Tensor, "batch dim"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, " batch"]]:
        z = torch.special.ndtri(noise)
        scale = torch.exp(self.log_scale)
        return self.mean + scale * z, standard_normal_log_prob(z) - self.log_scale.sum(-1)


class ConditionalNormal(ConditionalDensity):
    """N(μ(c), diag(σ(c)²)) of ``dim`` numbers: the usual encoder and decoder.

    ``network``       maps (batch, context) to (batch, 2·dim): mean, then logarithm of the scale; with ``shared_scale``
                      to (batch, dim). A perceptron of ``layers`` layers of ``hidden`` by default
    ``shared_scale``  whether σ is one learned vector that does not depend on the context

    The logarithm of the scale is held within ±7 by a hyperbolic tangent, so that equal rows in the data cannot drive
    a likelihood to infinity.
    """

    def __init__(
        self,
        dim: int,
        context_width: int = 0,
        *,
        network: nn.Module | None = None,
        shared_scale: bool = False,
        hidden: int = 64,
        layers: int = 2,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.dim, self.context_width = dim, context_width
        outputs = dim if shared_scale else 2 * dim
        self.network = network or mlp(context_width, outputs, hidden=hidden, layers=layers, dtype=dtype)
        self.log_scale = nn.Parameter(torch.zeros(dim, dtype=dtype)) if shared_scale else None

    def forward(self, context: Float[Tensor, "batch context"]) -> IndependentNormal:
        check_context(context, self.context_width)
        out = self.network(context)
        expected = (len(context), self.dim if self.log_scale is not None else 2 * self.dim)
        if out.shape != expected:
            raise DensityError(f"the network of a ConditionalNormal gave shape {tuple(out.shape)}, expected {expected}")
        mean, raw = out[:, : self.dim], out[:, self.dim :] if self.log_scale is None else self.log_scale
        bounded = _LOG_SCALE_LIMIT * torch.tanh(raw / _LOG_SCALE_LIMIT)
        return IndependentNormal(mean, bounded.expand_as(mean))


class StandardNormal(ConditionalDensity):
    """N(0, I) of ``dim`` numbers whatever the context: the usual prior of the latent variables."""

    def __init__(self, dim: int, context_width: int = 0, *, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.dim, self.context_width = dim, context_width
        self.zero: Tensor
        self.register_buffer("zero", torch.zeros(dim, dtype=dtype))

    def forward(self, context: Float[Tensor, "batch context"]) -> IndependentNormal:
        check_context(context, self.context_width)
        zero = self.zero.expand(len(context), -1)
        return IndependentNormal(zero, zero)


class DiagonalNormal(ConditionalDensity):
    """A normal density with independent coordinates, without context.

    ``DensityError`` where mean and spread differ in shape, are not finite, or a spread is not positive.
    """

    def __init__(self, mean: Float[Tensor, " dim"], spread: Float[Tensor, " dim"]) -> None:
        super().__init__()
        if mean.shape != spread.shape:
            raise DensityError(f"got mean and spread of shapes {tuple(mean.shape)} and {tuple(spread.shape)}")
        check_finite(mean, "the mean")
        check_finite(spread, "the spread")
        if (spread <= 0).any():
            raise DensityError(f"the spread holds {int((spread <= 0).sum())} values that are not positive")
        self.dim = len(mean)
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", mean.clone())
        self.register_buffer("spread", spread.clone())

    def forward(self, context: Float[Tensor, "batch context"]) -> IndependentNormal:
        check_context(context, 0)
        rows = (len(context), len(self.mean))
        return IndependentNormal(self.mean.expand(rows), self.spread.log().expand(rows))


def isotropic(
    dim: int, spread: float, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> DiagonalNormal:
    """N(0, spread² I) of ``dim`` numbers."""
    mean = torch.zeros(dim, dtype=dtype, device=device)
    return DiagonalNormal(mean, torch.full_like(mean, spread))
