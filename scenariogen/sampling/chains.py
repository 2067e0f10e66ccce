"""The unit sphere and chains of points at fixed distances, with the exact change of volume.

The sphere is covered by one chart, the stereographic projection from its last pole: it is conformal, so that its change
of volume is a power of one number, and it misses one point. The chain is a product of spheres, one for each link.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling.manifolds import Manifold, tolerance


class Sphere(Manifold):
    """The unit sphere {x ∈ ℝᵈ: |x| = 1}, d ≥ 2; surface measure.

    With k = d − 1, s = y / √k and q = |s|²:

        x = (2s, q − 1) / (q + 1),    log|f'| = k log(2 / (1 + q)) − k log √k.

    The scale √k puts |s| near 1, the equator, for a standard normal y, as the surface measure does in many dimensions.
    The pole (0, …, 0, 1) is left out.
    """

    measure = "surface measure of the unit sphere"

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 2:
            raise DensityError(f"got a sphere in {dim} dimensions, expected at least 2: in one it is two points")
        self.latent_dim, self.shape = dim - 1, (dim,)

    def forward(self, y: Float[Tensor, "batch latent"]) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, " batch"]]:
        self.check_latent(y)
        scale = math.sqrt(self.latent_dim)
        s = y / scale
        q = (s**2).sum(-1)
        x = torch.cat([2 * s, q[:, None] - 1], -1) / (1 + q)[:, None]
        # Exact in exact arithmetic already; the division takes the last rounding error out of the length.
        x = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x, self.latent_dim * (math.log(2 / scale) - torch.log1p(q))

    def inverse(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch latent"]:
        x = x / torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        flat, last = x[:, :-1], x[:, -1:]
        # 1 − last loses its digits near the pole; there it is |flat|² / (1 + last).
        near_pole = last > 0
        square = (flat**2).sum(-1, keepdim=True).where(near_pole, 1.0)
        factor = torch.where(near_pole, (1 + last) / square, 1 / (1 - last).where(~near_pole, 1.0))
        return math.sqrt(self.latent_dim) * flat * factor

    def contains(self, x: Float[Tensor, "batch dim"]) -> Bool[Tensor, " batch"]:
        on_sphere = (torch.linalg.vector_norm(x, dim=-1) - 1).abs() <= tolerance(x.dtype)
        pole = _at_pole(x)
        return on_sphere & ~pole


def _at_pole(x: Float[Tensor, "*batch dim"]) -> Bool[Tensor, "*batch"]:
    """Whether a point of the sphere is its last pole, or too near to it to be told from it: a square underflows."""
    return ((x[..., :-1] ** 2).sum(-1) < torch.finfo(x.dtype).tiny) & (x[..., -1] > 0)


class Chain(Manifold):
    """Points p₀, p₁, …, p_n of the plane or of space with |pᵢ − pᵢ₋₁| = ℓᵢ.

    The links (pᵢ − pᵢ₋₁)/ℓᵢ lie on unit spheres S^{D−1} (:class:`Sphere`), so that with k = D − 1

        log|f'| = Σᵢ (log|f'| of sphere i + k log ℓᵢ).

    The density refers to Lebesgue measure of p₀, where it is free, times the surface measures of the spheres of radius
    ℓᵢ around pᵢ₋₁. Draws have shape (batch, n + 1, D).

    ``lengths``  ℓ, shape (n,), positive
    ``space``    D, 2 or more
    ``start``    p₀, shape (D,), or None where it is free; it is part of the draw either way

    Far from the origin links are as long as rounding of their ends allows. ``DensityError`` lists lengths that are not
    positive, and a start of another shape.
    """

    def __init__(self, lengths: Float[Tensor, " link"], *, space: int = 2, start: Tensor | None = None) -> None:
        super().__init__()
        problems = Problems("a chain that is none")
        if not len(lengths):
            problems.add("got no lengths, expected at least one")
        if wrong := int((~(torch.isfinite(lengths) & (lengths > 0))).sum()):
            problems.add(f"{wrong} of {len(lengths)} lengths are not positive and finite")
        if space < 2:
            problems.add(f"got {space} dimensions, expected at least 2")
        if start is not None and (start.shape != (space,) or not torch.isfinite(start).all()):
            problems.add(f"got a start {start.tolist()}, expected {space} finite numbers")
        problems.raise_as(DensityError)
        self.space, self.free_start, links = space, start is None, len(lengths)
        self.sphere = Sphere(space)
        self.latent_dim = (space if self.free_start else 0) + links * (space - 1)
        self.shape = (links + 1, space)
        spheres = "the surface measures of the links' spheres"
        self.measure = f"Lebesgue of the first point times {spheres}" if self.free_start else spheres
        self.lengths: Tensor
        self.start: Tensor
        self.register_buffer("lengths", lengths.clone())
        self.register_buffer("start", lengths.new_zeros(space) if start is None else start.to(lengths))

    def forward(
        self, y: Float[Tensor, "batch latent"]
    ) -> tuple[Float[Tensor, "batch point dim"], Float[Tensor, " batch"]]:
        self.check_latent(y)
        lengths, batch = self.lengths.to(y), len(y)
        first = self.start.to(y).expand(batch, -1)
        if self.free_start:
            first, y = y[:, : self.space], y[:, self.space :]
        directions, log_slope = self.sphere(y.reshape(-1, self.space - 1))
        links = directions.reshape(batch, -1, self.space) * lengths[:, None]
        x = torch.cat([first[:, None], links], 1).cumsum(1)
        return x, log_slope.reshape(batch, -1).sum(-1) + (self.space - 1) * lengths.log().sum()

    def inverse(self, x: Float[Tensor, "batch point dim"]) -> Float[Tensor, "batch latent"]:
        y = self.sphere.inverse(x.diff(dim=1).reshape(-1, self.space)).reshape(len(x), -1)
        return torch.cat([x[:, 0], y], -1) if self.free_start else y

    def contains(self, x: Float[Tensor, "batch point dim"]) -> Bool[Tensor, " batch"]:
        lengths, near = self.lengths.to(x), tolerance(x.dtype)
        links = x.diff(dim=1) / lengths[:, None]
        size = x.abs().amax((1, 2))
        error = (torch.linalg.vector_norm(links, dim=-1) - 1).abs()
        # Far from the origin the ends of a link are rounded to what their coordinates can hold.
        rounding = 4 * torch.finfo(x.dtype).eps * size[:, None] / lengths
        inside = (error <= near + rounding).all(-1) & torch.isfinite(size)
        inside = inside & ~_at_pole(links).any(-1)
        if not self.free_start:
            inside = inside & ((x[:, 0] - self.start.to(x)).abs().amax(-1) <= near * (1 + size))
        return inside
