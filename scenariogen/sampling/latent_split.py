"""A standard normal vector seen from a few directions: z = U y + ρ(v) ω.

U (dim, k) has orthonormal columns, y = Uᵀz, ρ = ‖z − U y‖ is the radius of the rest and ω its direction, uniform on the
unit sphere of the complement and independent of the others. ρ has a chi distribution with dim − k degrees of freedom,
and v = Φ⁻¹(F_χ(ρ)) is standard normal. So u = (y, v) is a standard normal vector of k + 1 numbers (of k numbers where
k = dim), and where a proposal changes the law of u alone, the ratio of the densities of z is that of the densities
of u, exactly, whatever U is.

A half-space needs k = 1, a shell k = 0, a system of limits in a plane k = 2, in any dimension. (Ideas: El Masri, Morio
& Simatos, *Improvement of the cross-entropy method in high dimension for failure probability estimation through a
one-dimensional projection without gradient estimation*, 2021; Papaioannou, Geyer & Straub, *Improved cross
entropy-based importance sampling with a flexible mixture model*, 2019.)
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_REACH, _STEPS = 20.0, 100
"""The table of ρ(v) covers |v| ≤ 20 with 100 knots to the unit; between them it is a cubic with the exact slopes, off
by less than 1e-10."""


@dataclass(frozen=True, eq=False)
class LatentSplit:
    """Coordinates u = (y, v) of a standard normal z. ``basis``: (dim, k), orthonormal columns, 0 ≤ k ≤ dim."""

    basis: Tensor

    @property
    def dim(self) -> int:
        return self.basis.shape[0]

    @property
    def width(self) -> int:
        """Numbers in u."""
        dim, k = self.basis.shape
        return k + (k < dim)

    def see(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch seen"]:
        """(y, ‖z‖), the coordinates that a surrogate sees."""
        return torch.cat([z @ self.basis, z.norm(dim=1, keepdim=True)], dim=1)

    def see_reduced(self, u: Float[Tensor, "batch width"]) -> Float[Tensor, "batch seen"]:
        """(y, ‖z‖) of the points with coordinates ``u``."""
        k = self.basis.shape[1]
        y = u[:, :k]
        square = (y**2).sum(1)
        if k < self.dim:
            square = square + complement_radius(u[:, k], self.dim - k) ** 2
        return torch.cat([y, square.sqrt()[:, None]], dim=1)

    def compose(self, u: Float[Tensor, "batch width"], gaussian: Float[Tensor, "batch dim"]) -> Tensor:
        """z (batch, dim) with coordinates ``u``; ω is the direction of the part of ``gaussian`` outside the basis."""
        k = self.basis.shape[1]
        z = u[:, :k] @ self.basis.T
        if k == self.dim:
            return z
        rest = gaussian - (gaussian @ self.basis) @ self.basis.T
        direction = rest / rest.norm(dim=1, keepdim=True)
        return z + complement_radius(u[:, k], self.dim - k)[:, None] * direction


def complement_radius(v: Float[Tensor, " batch"], degrees: int) -> Float[Tensor, " batch"]:
    """ρ(v): the number that a chi variable with ``degrees`` degrees of freedom exceeds with probability Φ(−v)."""
    knots, slopes = (torch.as_tensor(each, device=v.device, dtype=v.dtype) for each in _radius_table(degrees))
    place = (v.clamp(-_REACH, _REACH) + _REACH) * _STEPS
    left = place.floor().clamp(max=2 * _REACH * _STEPS - 1)
    t, index = place - left, left.long()
    f0, f1, g0, g1 = knots[index], knots[index + 1], slopes[index] / _STEPS, slopes[index + 1] / _STEPS
    return f0 + t * (g0 + t * (3 * (f1 - f0) - 2 * g0 - g1 + t * (2 * (f0 - f1) + g0 + g1)))


@lru_cache(maxsize=64)
def _radius_table(degrees: int) -> tuple[np.ndarray, np.ndarray]:
    """ρ and dρ/dv at the knots."""
    from scipy.special import gammainccinv, gammaincinv, gammaln, ndtr

    v = np.linspace(-_REACH, _REACH, int(2 * _REACH * _STEPS) + 1)
    half = degrees / 2
    square = 2 * np.where(v < 0, gammaincinv(half, ndtr(v)), gammainccinv(half, ndtr(-v)))
    rho = np.sqrt(square)
    log_chi = (1 - half) * np.log(2) - gammaln(half) + (degrees - 1) * np.log(np.maximum(rho, 1e-300)) - square / 2
    slope = np.exp(-0.5 * v**2 - 0.5 * np.log(2 * np.pi) - log_chi)
    return rho, slope
