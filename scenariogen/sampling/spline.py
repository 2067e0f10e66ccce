"""One-dimensional conditional density on the unit interval with an analytic CDF.

The CDF is a monotone rational-quadratic spline (Durkan, Bekasov, Murray & Papamakarios, *Neural spline flows*, 2019;
the spline itself is zuko's), F(x) = (T(2x − 1) + 1) / 2 with T a bijection of [−1, 1]. Since F and its inverse are in
closed form, draws under a range are draws of F⁻¹ on [F(low), F(high)], never rejection, and the probability of a
range is a difference of two numbers.
"""

import torch
from torch import Tensor
from zuko.transforms import MonotonicRQSTransform

from scenariogen.sampling.contract import ConditionalDensity, Distribution, in_blocks, mlp


class UnitSpline(Distribution):
    """A density on [0, 1]; ``parameters`` has shape (..., 3·bins − 1)."""

    def __init__(self, parameters: Tensor, bins: int) -> None:
        widths, heights, derivatives = parameters.split([bins, bins, bins - 1], dim=-1)
        self._spline = MonotonicRQSTransform(widths, heights, derivatives, bound=1.0, slope=1e-3)

    def cdf(self, x: Tensor) -> Tensor:
        """P(X ≤ x), 0 below and 1 above the interval."""
        inside = x.clamp(0.0, 1.0)
        mapped: Tensor = self._spline(2 * inside - 1)  # pyright: ignore[reportAssignmentType]
        return ((mapped + 1) / 2).clamp(0.0, 1.0)

    def icdf(self, p: Tensor) -> Tensor:
        """The quantile function, the inverse of :meth:`cdf`."""
        mapped: Tensor = self._spline.inv(2 * p - 1)  # pyright: ignore[reportAssignmentType]
        return ((mapped + 1) / 2).clamp(0.0, 1.0)

    def sample(self, noise: Tensor) -> Tensor:
        return self.icdf(noise)

    def sample_between(self, noise: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Draws given low ≤ X ≤ high, by the inverse CDF of the truncated density."""
        p_low, p_high = self.cdf(low), self.cdf(high)
        drawn = self.icdf(p_low + noise * (p_high - p_low))
        return torch.minimum(torch.maximum(drawn, low), high)

    def log_prob(self, x: Tensor) -> Tensor:
        inside = (x >= 0) & (x <= 1)
        _, log_slope = self._spline.call_and_ladj(2 * x.clamp(0.0, 1.0) - 1)
        return torch.where(inside, log_slope, -torch.inf)


class ConditionalUnitSpline(ConditionalDensity):
    """A :class:`UnitSpline` whose parameters a small perceptron gives; at the start it is uniform."""

    def __init__(self, context: int, *, bins: int = 8, hidden: int = 32) -> None:
        super().__init__()
        self.bins = bins
        self.network = mlp(context, 3 * bins - 1, hidden=hidden)

    def forward(self, context: Tensor) -> UnitSpline:
        """The density for contexts of shape (batch, context)."""
        return UnitSpline(self.network(context), self.bins)

    def in_blocks(self, context: Tensor) -> UnitSpline:
        """As :meth:`forward`, each row to the last bit the same in a request of any size."""
        return UnitSpline(in_blocks(self.network, context), self.bins)
