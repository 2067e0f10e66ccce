"""p(c): the declared table of conditions. It stands in the model file, is editable, and is never learned silently."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scenariogen.errors import ModelError


@dataclass(frozen=True, kw_only=True)
class ConditionTable:
    """The distribution of the condition.

    ``clock_s``            clock time at SUMO's second 0
    ``day_type``, ``weather``  the one value each that this table declares
    ``demand_scale_sigma`` standard deviation of the log of the demand scale, whose median is 1 (0: always 1)
    ``day_shape``          shape a of the day multiplier's Gamma(a, a); infinite: always 1
    """

    clock_s: float = 0.0
    day_type: str = "weekday"
    weather: str = "dry"
    demand_scale_sigma: float = 0.1
    day_shape: float = math.inf

    def __post_init__(self) -> None:
        if not 0 <= self.demand_scale_sigma < 2:
            raise ModelError(f"demand_scale_sigma is {self.demand_scale_sigma}, expected 0 to 2")
        if not self.day_shape > 0:
            raise ModelError(f"day_shape is {self.day_shape}, expected a positive number or inf")

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Demand scale and day multiplier from uniform noise of shape (batch, 2)."""
        scale = torch.exp(self.demand_scale_sigma * torch.special.ndtri(noise[:, 0]))
        if math.isinf(self.day_shape):
            return scale, torch.ones_like(scale)
        from scipy.special import gammaincinv

        quantile = gammaincinv(self.day_shape, noise[:, 1].cpu().numpy()) / self.day_shape
        return scale, torch.as_tensor(quantile, dtype=scale.dtype, device=scale.device)

    def log_prob(self, scale: Tensor, day: Tensor) -> Tensor:
        """Log-density of demand scale and day multiplier; components that are fixed contribute 0."""
        out = torch.zeros_like(scale)
        if self.demand_scale_sigma > 0:
            z = torch.log(scale) / self.demand_scale_sigma
            out = out - 0.5 * z**2 - torch.log(scale * self.demand_scale_sigma) - 0.5 * math.log(2 * math.pi)
        if not math.isinf(self.day_shape):
            a = self.day_shape
            out = out + a * math.log(a) - math.lgamma(a) + (a - 1) * torch.log(day) - a * day
        return out

    def quadrature(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Demand scales, day multipliers and weights of nodes for expectations over p(c).

        Gauss-Hermite (40 nodes) and generalised Gauss-Laguerre (24 nodes): for the smooth functions they are used
        for (probabilities that a Poisson count is 0 or not, powers of log demand) the error is at rounding.
        """
        scales, days, weights = np.ones(1), np.ones(1), np.ones(1)
        if self.demand_scale_sigma > 0:
            x, w = np.polynomial.hermite_e.hermegauss(40)
            scales, weights = np.exp(self.demand_scale_sigma * x), w / w.sum()
        if not math.isinf(self.day_shape):
            from scipy.special import roots_genlaguerre

            x, w = roots_genlaguerre(24, self.day_shape - 1)
            days = np.tile(x / self.day_shape, len(scales))
            scales = np.repeat(scales, len(x))
            weights = np.outer(weights, w / w.sum()).ravel()
        return scales, np.broadcast_to(days, scales.shape), weights
