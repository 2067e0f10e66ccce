"""The diagonal normal density: the prior of annealing, and the simplest member to measure others by."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from scenariogen.errors import DensityError
from scenariogen.sampling.contract import ConditionalDensity, Distribution, check_context, check_finite


class NormalDistribution(Distribution):
    """N(mean, diag(spread²)); both of shape (dim,)."""

    def __init__(self, mean: Float[Tensor, " dim"], spread: Float[Tensor, " dim"]) -> None:
        self.mean, self.spread = mean, spread
        self.noise_columns = len(mean)

    def sample(self, noise: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        return self.mean + self.spread * torch.special.ndtri(noise)

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        z = (x - self.mean) / self.spread
        out = -0.5 * (z**2).sum(-1) - self.spread.log().sum() - 0.5 * len(self.mean) * math.log(2 * math.pi)
        return torch.nan_to_num(out, nan=-torch.inf)


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
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", mean.clone())
        self.register_buffer("spread", spread.clone())

    def forward(self, context: Float[Tensor, "batch context"]) -> NormalDistribution:
        check_context(context, 0)
        return NormalDistribution(self.mean, self.spread)


def isotropic(
    dim: int, spread: float, *, dtype: torch.dtype = torch.float64, device: torch.device | str = "cpu"
) -> DiagonalNormal:
    """N(0, spread² I) of ``dim`` numbers."""
    mean = torch.zeros(dim, dtype=dtype, device=device)
    return DiagonalNormal(mean, torch.full_like(mean, spread))
