"""Coupling spline flow: an exact density on ℝᵈ, as fast to draw from as to evaluate.

A draw is x = T⁻¹(z; c) with z standard normal; its density is

    log p(x | c) = log N(T(x; c); 0, I) + log |det ∂T/∂x|.

T is a chain of couplings: each moves one half of the coordinates by monotone rational-quadratic splines whose knots are
a function of the other half and of the context c, so that both directions are one pass and the determinant is a
product (Durkan, Bekasov, Murray & Papamakarios, *Neural spline flows*, 2019; Dinh, Sohl-Dickstein & Bengio, *Density
estimation using Real NVP*, 2017). The transforms are zuko's; outside ±5 they are the identity.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from zuko.flows import NSF

from scenariogen.errors import DensityError
from scenariogen.sampling.contract import ConditionalDensity, Distribution, check_context


class FlowDistribution(Distribution):
    """The push-forward of a standard normal through the inverse of ``transform``."""

    def __init__(self, transform: Any, dim: int) -> None:
        self.transform = transform
        self.noise_columns = dim

    def sample(self, noise: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        return self.transform.inv(torch.special.ndtri(noise))

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        z, log_slope = self.transform.call_and_ladj(x)
        return torch.nan_to_num(standard_normal_log_prob(z) + log_slope, nan=-torch.inf)

    def sample_and_log_prob(
        self, noise: Float[Tensor, "batch dim"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, " batch"]]:
        return self.push(torch.special.ndtri(noise))

    def push(self, z: Float[Tensor, "batch dim"]) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, " batch"]]:
        """x = T⁻¹(z) and log p(x), both differentiable in the parameters."""
        x, log_slope = self.transform.inv.call_and_ladj(z)
        return x, standard_normal_log_prob(z) - log_slope

    def latent(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """z = T(x)."""
        return self.transform(x)


class CouplingFlow(ConditionalDensity):
    """Coupling spline flow of ``dim`` ≥ 2 numbers given ``context_width`` numbers.

    ``transforms``  couplings, each moving one half of the coordinates given the other; neighbours swap halves
    ``bins``        of each spline
    ``hidden``      widths of the perceptron of each coupling

    ``DensityError`` where ``dim`` is below 2 (a single number has a spline of its own, :mod:`.spline`).
    """

    def __init__(
        self,
        dim: int,
        context_width: int = 0,
        *,
        transforms: int = 4,
        bins: int = 8,
        hidden: Sequence[int] = (64, 64),
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if dim < 2:
            raise DensityError(
                f"a coupling flow needs at least 2 numbers, got {dim}: use ConditionalUnitSpline for one"
            )
        self.dim, self.context_width = dim, context_width
        # A transform with two passes moves one half given the other, then the other given the first: two couplings.
        self.flow = NSF(
            dim,
            context_width,
            bins=bins,
            transforms=max(1, transforms // 2),
            passes=2,
            randperm=True,
            hidden_features=list(hidden),
        ).to(dtype)

    def forward(self, context: Float[Tensor, "batch context"]) -> FlowDistribution:
        """The density for contexts of shape (batch, context)."""
        check_context(context, self.context_width)
        given = self.flow(context if self.context_width else None)
        return FlowDistribution(given.transform, self.dim)


def standard_normal_log_prob(z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
    """log N(z; 0, I) of each row, shape (batch,)."""
    return -0.5 * (z**2).sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)
