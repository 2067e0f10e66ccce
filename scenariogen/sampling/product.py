"""Products of manifolds: several constraints side by side in one draw, such as a time in a window and gaps on a lane.

The change of volume of a product is the product of its parts', so that log-densities add. One base density on all the
latent numbers together lets the parts depend on each other.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from scenariogen.errors import DensityError
from scenariogen.sampling.contract import product_measure
from scenariogen.sampling.manifolds import Manifold


class Product(Manifold):
    """Points (x¹, x², …), xⁱ on the i-th of ``parts``, written one after the other; the product of their measures.

    ``DensityError`` without parts, and where the points of a part are not of shape (dim,).
    """

    def __init__(self, parts: Sequence[Manifold]) -> None:
        super().__init__()
        if not parts or any(len(each.shape) != 1 for each in parts):
            raise DensityError(
                f"got parts of shapes {[each.shape for each in parts]}, expected at least one part, and (dim,) for each"
            )
        self.parts = nn.ModuleList(parts)
        self.latent_dims = [each.latent_dim for each in parts]
        self.dims = [each.shape[0] for each in parts]
        self.latent_dim, self.shape = sum(self.latent_dims), (sum(self.dims),)
        self.measure = product_measure([each.measure for each in parts], self.dims)

    def forward(self, y: Float[Tensor, "batch latent"]) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, " batch"]]:
        self.check_latent(y)
        found = [part(each) for part, each in zip(self.parts, y.split(self.latent_dims, -1), strict=True)]
        log_slope = found[0][1]
        for _, each in found[1:]:
            log_slope = log_slope + each
        return torch.cat([x for x, _ in found], -1), log_slope

    def inverse(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch latent"]:
        parts = [self.part(at).inverse(each) for at, each in enumerate(x.split(self.dims, -1))]
        return torch.cat(parts, -1)

    def contains(self, x: Float[Tensor, "batch dim"]) -> Bool[Tensor, " batch"]:
        inside = torch.ones_like(x[:, 0], dtype=torch.bool)
        for at, each in enumerate(x.split(self.dims, -1)):
            inside = inside & self.part(at).contains(each)
        return inside

    def part(self, at: int) -> Manifold:
        """The manifold of part number ``at``."""
        found = self.parts[at]
        assert isinstance(found, Manifold)  # for the type checker: a ModuleList forgets
        return found
