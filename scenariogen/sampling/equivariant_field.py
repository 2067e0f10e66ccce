"""A velocity field of a set of points, equivariant by construction, with its divergence in closed form.

With r_ij = xᵢ − xⱼ and Gaussian kernels e_k of the distance,

    h_ik = Σⱼ e_k(|r_ij|),    R_ik = Σⱼ e_k(|r_ij|) r_ij,    vᵢ = Σ_m s_m(hᵢ, h̄, t) V_im,  less the mean over i,

with s a perceptron, h̄ the mean of h over the points and V_im the directions of point i: xᵢ itself, its R_ik, and, where
mirror images are to be told apart, R_ik turned by 90° (plane) or products A_i × B_i of mixtures of the R_ik (space).
Then

    div v = Σᵢ Σ_m [ s_m div V_im + Σ_k (∂s_m/∂h_k + (2/n) ∂s_m/∂h̄_k) ∇ᵢh_ik · V_im ],

since each pair counts twice in n h̄, with ∂s/∂h carried through the perceptron along ∇ᵢhᵢ, div R_ik in closed form, and
the divergence of the turned and of the crossed directions 0, since every R_ik is a gradient. All sums take O(n²).
Subtracting the mean costs no divergence, since nothing changes when all points move together. With s a function of time
alone this is the kernel dynamics of Köhler, Klein & Noé (*Equivariant flows: exact likelihood generative learning for
symmetric densities*, 2020).
"""

import math
from itertools import pairwise
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scenariogen.sampling.layers import Linear, filled, rounded_up

SOFTENING = 0.1
"""Kernels see √(|r|² + SOFTENING²), so that the field is smooth where two points meet."""

CROSS_PRODUCTS = 8


class KernelField(nn.Module):
    """The velocity of centred points and its divergence on the centre-of-mass-free subspace.

    ``kernels`` Gaussians of the distance from 0 to ``reach``, as wide as they are apart; a perceptron of ``layers``
    layers of ``hidden`` weighs the directions. Both widths are rounded up to multiples of four. Starts at v = 0.
    """

    centres: Tensor

    def __init__(
        self,
        points: int,
        dim: int,
        *,
        context_width: int,
        reflections: bool,
        hidden: int,
        layers: int,
        kernels: int,
        reach: float,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.points, self.dim, self.reflections = points, dim, reflections
        hidden, kernels = rounded_up(hidden), rounded_up(kernels)
        self.width = reach / (kernels - 1)
        # Sums over the other points are divided by what they would be for distances spread evenly up to reach.
        self.norm = reach / ((points - 1) * self.width * math.sqrt(2 * math.pi))
        self.register_buffer("centres", torch.linspace(0.0, reach, kernels, dtype=dtype))
        directions = 1 + kernels
        if not reflections and dim == 2:
            directions += kernels
        elif not reflections:
            self.left = Linear(kernels, CROSS_PRODUCTS, bias=False, dtype=dtype)
            self.right = Linear(kernels, CROSS_PRODUCTS, bias=False, dtype=dtype)
            directions += CROSS_PRODUCTS
        others = len(_time_features(torch.zeros((), dtype=dtype))) + context_width
        widths = [kernels] + layers * [hidden]
        self.hidden = nn.ModuleList(Linear(a, b, dtype=dtype) for a, b in pairwise(widths))
        self.pool = Linear(kernels, hidden, bias=False, dtype=dtype)
        self.moment = nn.ModuleList(Linear(others, hidden, bias=False, dtype=dtype) for _ in range(layers))
        self.leave = Linear(hidden, rounded_up(directions), zero=True, dtype=dtype)

    def forward(
        self, x: Float[Tensor, "batch point dim"], t: Float[Tensor, "*times"], context: Float[Tensor, "rows context"]
    ) -> tuple[Float[Tensor, "batch point dim"], Float[Tensor, " batch"]]:
        """v and div v at ``x`` (centred) and time ``t``, one for all or one per row."""
        n, dim = self.points, self.dim
        turned = x.transpose(1, 2)
        difference = x[..., None] - turned[:, None]  # (batch, point, dim, other point)
        square = difference.square().sum(2, keepdim=True)
        distance = (square + SOFTENING**2).sqrt()
        others = (1 - torch.eye(n, dtype=x.dtype, device=x.device))[:, None].expand_as(distance)
        # One product with the kernels gives every sum over the other points that is needed below.
        summands = torch.cat([others, difference, difference / distance, square / distance, square], dim=2)
        scaled = (distance.squeeze(2)[..., None] - self.centres) / (math.sqrt(2) * self.width)
        kernels = torch.addcmul(x.new_zeros(()), scaled, scaled, value=-1).exp()
        sums = self.norm * (summands @ kernels)  # (batch, point, summand, kernel)
        density, radial = sums[:, :, 0], sums[:, :, 1 : 1 + dim]
        slope = (self.centres * sums[:, :, 1 + dim : 1 + 2 * dim] - radial) / self.width**2  # ∇ᵢ h_ik
        spread = (self.centres * sums[:, :, -2] - sums[:, :, -1]) / self.width**2
        own = torch.full_like(density[..., :1], dim * (1 - 1 / n))
        divergences = torch.cat([own, dim * density + spread], dim=-1)

        moment = torch.cat([_time_features(t.to(x.dtype)).expand(len(x), -1), context.expand(len(x), -1)], dim=-1)
        state, inner = density, slope
        # Each pair counts twice in n h̄: its gradient with respect to xᵢ is 2/n of that of hᵢ.
        pooled, pooled_slope = self.pool(density.mean(1, keepdim=True)), (2 / n) * self.pool(slope)
        for layer, given in zip(self.hidden, self.moment, strict=True):
            state = torch.tanh(layer(state) + given(moment)[:, None] + pooled)
            # The perceptron's derivative along ∇ᵢh, layer by layer.
            inner = nn.functional.linear(inner, cast(Tensor, layer.weight)) + pooled_slope
            inner = inner * (1 - state.square())[:, :, None]
            pooled, pooled_slope = 0.0, 0.0
        weight = self.leave(state)
        # (batch, point, dim, direction), filled up with directions of length 0
        directions = filled(torch.cat([x[..., None], radial, *self._chiral(radial)], dim=3))
        velocity = (directions @ weight[..., None]).squeeze(-1)
        divergence = (weight[..., : divergences.shape[-1]] * divergences).sum((1, 2))
        divergence = divergence + (inner * (directions @ self.leave.weight)).sum((1, 2, 3))
        return velocity - velocity.mean(1, keepdim=True), divergence

    def _chiral(self, radial: Tensor) -> list[Tensor]:
        """Directions that a mirror image turns the other way; none where mirror images are to be alike."""
        if self.reflections:
            return []
        if self.dim == 2:
            return [torch.stack([-radial[:, :, 1], radial[:, :, 0]], dim=2)]
        return [torch.linalg.cross(self.left(radial), self.right(radial), dim=2)]


def _time_features(t: Tensor) -> Tensor:
    """(..., 5): time as a line and two waves."""
    angle = math.pi * t
    return torch.stack([t, angle.sin(), angle.cos(), (2 * angle).sin(), (2 * angle).cos()], dim=-1)
