"""A density on a manifold: a base density on ℝᵏ pushed through a reparametrisation.

    x = f(y), y ~ p_base(· | c),    log p(x | c) = log p_base(f⁻¹(x) | c) − log|f'(f⁻¹(x))|

with respect to the manifold's own measure. Every draw meets the constraint to rounding error, and the log-density is
exact where the base's is: nothing is rejected, penalised or projected.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from scenariogen.errors import DensityError
from scenariogen.sampling.contract import ConditionalDensity, Distribution
from scenariogen.sampling.manifolds import Manifold


class ConstrainedDistribution(Distribution):
    """The push-forward of ``base`` through ``manifold``; exact where the base is."""

    def __init__(self, base: Distribution, manifold: Manifold) -> None:
        self.base, self.manifold = base, manifold
        self.noise_columns = base.noise_columns
        self.log_prob_is_exact = base.log_prob_is_exact
        self.has_log_prob = base.has_log_prob

    def sample(self, noise: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch *dim"]:
        return self.manifold(self.base.sample(noise))[0]

    def log_prob(self, x: Float[Tensor, "batch *dim"]) -> Float[Tensor, " batch"]:
        """log p(x), −inf off the manifold; ``DensityError`` where points have another shape."""
        if tuple(x.shape[1:]) != self.manifold.shape:
            raise DensityError(
                f"got points of shape {tuple(x.shape[1:])}, expected {self.manifold.shape} on "
                f"{type(self.manifold).__name__}"
            )
        inside = self.manifold.contains(x)
        # Rows outside are evaluated at a point inside, so that neither values nor gradients become nan.
        origin = x.new_zeros((len(x), self.manifold.latent_dim))
        stand_in = self.manifold(origin)[0]
        wide = inside.reshape(-1, *[1] * (x.dim() - 1))
        y = self.manifold.inverse(torch.where(wide, x, stand_in))
        log_slope = self.manifold(y)[1]
        return torch.where(inside, self.base.log_prob(y) - log_slope, -torch.inf)

    def sample_and_log_prob(
        self, noise: Float[Tensor, "batch columns"]
    ) -> tuple[Float[Tensor, "batch *dim"], Float[Tensor, " batch"] | None]:
        y, log_prob = self.base.sample_and_log_prob(noise)
        x, log_slope = self.manifold(y)
        return x, None if log_prob is None else log_prob - log_slope


class Constrained(ConditionalDensity):
    """``base``, a density on ℝᵏ with or without context, on ``manifold``.

    ``manifold``  a :class:`.Manifold`, or a function of the context (batch, context) that gives one whose bounds differ
                  from row to row
    ``measure``   what the density refers to: by default the manifold's own, to be named where that is a function

    ``DensityError`` where a function's measure is not named; in the first draw or density where the base has another
    number of coordinates than the manifold takes.
    """

    def __init__(
        self,
        base: ConditionalDensity,
        manifold: Manifold | Callable[[Tensor], Manifold],
        *,
        measure: str | None = None,
    ) -> None:
        super().__init__()
        self.base, self.manifold = base, manifold
        if measure is None and not isinstance(manifold, Manifold):
            raise DensityError(
                "the manifold is a function of the context and no measure is named: expected the measure of what it "
                "gives, such as measure=Simplex.measure"
            )
        self.measure = manifold.measure if measure is None else measure
        self.context_width = base.context_width

    def forward(self, context: Float[Tensor, "batch context"]) -> ConstrainedDistribution:
        """The density for contexts of shape (batch, context)."""
        base = self.base(context)
        given = self.manifold if isinstance(self.manifold, Manifold) else self.manifold(context)
        return ConstrainedDistribution(base, given)
