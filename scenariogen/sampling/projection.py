"""Deterministic, differentiable projections onto sets of hard constraints, and densities projected onto them.

A projection moves each point to the nearest one of the set, so that draws meet the constraints to rounding error:
conservation of vehicles at junctions (in = out + stored) with 0 ≤ flow ≤ capacity, for example. It is many-to-one:
mass gathers on faces, no density with respect to any one measure is left, and none is claimed. A projected density can
be drawn from, and is refused in weights. Where a reparametrisation exists (:mod:`.manifolds`), it keeps the density.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling import active_set
from scenariogen.sampling.contract import ConditionalDensity, Distribution, check_finite
from scenariogen.sampling.fixed_order import rows_times

CONSISTENT = 1e-9
"""Relative residual up to which equalities that depend on each other count as consistent."""


class Projection(nn.Module, ABC):
    """A map of ℝⁿ onto a set, the identity on the set. ``dim`` is n."""

    dim: int

    @abstractmethod
    def forward(self, x: Float[Tensor, "batch dim"], **bounds: Tensor) -> Float[Tensor, "batch dim"]:
        """The point of the set nearest to each row of ``x``."""

    @abstractmethod
    def violation(self, x: Float[Tensor, "batch dim"], **bounds: Tensor) -> Float[Tensor, " batch"]:
        """The largest relative violation of a constraint in each row, 0 inside."""

    def check_points(self, x: Tensor) -> None:
        """``DensityError`` unless ``x`` is finite and has shape (batch, dim)."""
        if x.dim() != 2 or x.shape[1] != self.dim:
            raise DensityError(f"got points of shape {tuple(x.shape)}, expected (batch, {self.dim})")
        check_finite(x, "the points to project")


class LinearSet(Projection):
    """{x ∈ ℝⁿ: Ax = b, Gx ≤ h}; either pair may be left out.

        argmin |x − x₀|²  subject to  Ax = b, Gx ≤ h

    The equalities are solved first: x = A⁺b + Zz with Z an orthonormal basis of the null space of A (equalities that
    depend on each other do no harm), then z by :mod:`.active_set`. All is computed in double precision. The result is
    piecewise linear in x₀, b and h; autograd gives its derivatives with respect to these three, the ones of the face
    that the point lies on. A and G are constants.

    ``A`` (equality, dim), ``b`` (equality,), ``G`` (inequality, dim), ``h`` (inequality,). In a call, ``b`` and ``h``
    may be given anew, also row by row, (batch, equality) and (batch, inequality).

    ``DensityError`` where shapes do not fit, values are not finite, or the set is empty.
    """

    def __init__(
        self,
        *,
        A: Float[Tensor, "equality dim"] | None = None,
        b: Float[Tensor, " right"] | None = None,
        G: Float[Tensor, "inequality columns"] | None = None,
        h: Float[Tensor, " limit"] | None = None,
    ) -> None:
        super().__init__()
        problems = Problems("a linear set that is none")
        for left, right, names in ((A, b, "A and b"), (G, h, "G and h")):
            if (left is None) != (right is None):
                problems.add(f"got one of {names}, expected both or none")
            elif left is not None and right is not None:
                if len(left) != len(right):
                    problems.add(f"{names} have {len(left)} and {len(right)} rows, expected as many")
                if wrong := int((~torch.isfinite(left)).sum() + (~torch.isfinite(right)).sum()):
                    problems.add(f"{names} hold {wrong} values that are nan or infinite")
        some = A if A is not None else G
        if some is None:
            problems.add("got no constraint")
        elif A is not None and G is not None and A.shape[1] != G.shape[1]:
            problems.add(f"A has {A.shape[1]} columns and G {G.shape[1]}, expected as many")
        problems.raise_as(DensityError)
        assert some is not None  # for the type checker: it was refused above
        self.dim = some.shape[1]
        for name, value, width in (("A", A, 2), ("b", b, 1), ("G", G, 2), ("h", h, 1)):
            empty = some.new_zeros((0, self.dim)[:width])
            self.register_buffer(name, empty if value is None else value.clone())
        self.A: Tensor
        self.b: Tensor
        self.G: Tensor
        self.h: Tensor
        with torch.no_grad():
            self(some.new_zeros(1, self.dim))  # an empty set is refused here, not at the first draw

    def _doubles(self, x: Tensor, bounds: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A, b, G, h in double precision where ``x`` is, b and h row by row."""
        unknown = sorted(set(bounds) - {"b", "h"})
        if unknown:
            raise DensityError(f"got bounds {', '.join(unknown)}, expected b or h")
        out = []
        for name in ("b", "h"):
            own = getattr(self, name)
            value = bounds.get(name, own)
            if value.shape not in (own.shape, (len(x), *own.shape)):
                raise DensityError(
                    f"got {name} of shape {tuple(value.shape)}, expected {tuple(own.shape)} or {(len(x), *own.shape)}"
                )
            check_finite(value, name)
            out.append(value.to(device=x.device, dtype=torch.float64).expand(len(x), -1))
        A, G = (each.to(device=x.device, dtype=torch.float64) for each in (self.A, self.G))
        return A, out[0], G, out[1]

    def forward(self, x: Float[Tensor, "batch dim"], **bounds: Tensor) -> Float[Tensor, "batch dim"]:
        self.check_points(x)
        A, b, G, h = self._doubles(x, bounds)
        inverse, Z = _pseudo_inverse(A)
        particular = rows_times(b, inverse.T)
        residual = (rows_times(particular, A.T) - b).abs()
        wrong = residual > CONSISTENT * (b.abs() + rows_times(particular.abs(), A.abs().T) + torch.finfo(b.dtype).tiny)
        if bool(wrong.any()):
            row, at = wrong.nonzero()[0].tolist()
            raise DensityError(
                f"the equalities contradict each other in {int(wrong.any(-1).sum())} of {len(x)} rows: the nearest to "
                f"all of them misses equality {at} by {float(residual[row, at].detach()):.3g} (row {row})"
            )
        z = rows_times(x.to(torch.float64), Z)
        if len(G):
            C = G @ Z
            size, length = torch.linalg.vector_norm(C, dim=-1), torch.linalg.vector_norm(G, dim=-1)
            fixed = size <= 1e-12 * length  # decided by the equalities alone
            scale = torch.where(fixed, length.where(length > 0, 1.0), size)
            C = torch.where(fixed[:, None], 0.0, C / scale[:, None])
            given = "the equalities" if len(A) else ""
            shift = rows_times(particular, G.T)
            with torch.no_grad():
                bound = (h.abs() + rows_times(particular.abs(), G.abs().T)) / scale
            z = active_set.project(z, C, (h - shift) / scale, size=bound, given=given)
        return (particular + rows_times(z, Z.T)).to(x.dtype)

    def violation(self, x: Float[Tensor, "batch dim"], **bounds: Tensor) -> Float[Tensor, " batch"]:
        """max over the constraints of |aᵢ·x − bᵢ| and of gᵢ·x − hᵢ, each relative to Σⱼ|aᵢⱼ| times the row's size.

        A row's size is the largest of |xⱼ|, |bᵢ|/Σⱼ|aᵢⱼ| and |hᵢ|/Σⱼ|gᵢⱼ|.
        """
        A, b, G, h = self._doubles(x, bounds)
        y, tiny = x.to(torch.float64), torch.finfo(torch.float64).tiny
        rows, limits = torch.cat([A, G]), torch.cat([b, h], -1)
        lengths = rows.abs().sum(-1).clamp_min(tiny)
        size = torch.cat([y.abs(), limits.abs() / lengths], -1).amax(-1, keepdim=True).clamp_min(tiny)
        excess = rows_times(y, rows.T) - limits
        excess = torch.cat([excess[:, : len(A)].abs(), excess[:, len(A) :]], -1)
        return (excess / (lengths * size)).amax(-1).clamp_min(0).to(x.dtype)


def _pseudo_inverse(A: Tensor) -> tuple[Tensor, Tensor]:
    """A⁺ and an orthonormal basis of the null space of A, by its singular values."""
    if not len(A):
        return A.T, torch.eye(A.shape[1], dtype=A.dtype, device=A.device)
    U, S, Vh = torch.linalg.svd(A)
    info = torch.finfo(A.dtype)
    rank = int((max(A.shape) * info.eps * S[:1].clamp_min(info.tiny) < S).sum())
    return (Vh[:rank].T / S[:rank]) @ U[:, :rank].T, Vh[rank:].T


def box_rows(
    lower: Float[Tensor, " dim"], upper: Float[Tensor, " dim"]
) -> tuple[Float[Tensor, "inequality dim"], Float[Tensor, " inequality"]]:
    """G and h of lower ≤ x ≤ upper, without rows for infinite bounds: the limits of capacities, for example."""
    eye = torch.eye(len(lower), dtype=lower.dtype, device=lower.device)
    low, high = torch.isfinite(lower), torch.isfinite(upper)
    return torch.cat([-eye[low], eye[high]]), torch.cat([-lower[low], upper[high]])


class ProjectedDistribution(Distribution):
    """Draws of ``base``, projected. There is no log-density."""

    log_prob_is_exact = False
    has_log_prob = False

    def __init__(self, base: Distribution, projection: Projection, bounds: Mapping[str, Tensor]) -> None:
        self.base, self.projection, self.bounds = base, projection, bounds
        self.noise_columns = base.noise_columns

    def sample(self, noise: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch dim"]:
        return self.projection(self.base.sample(noise), **self.bounds)

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        raise DensityError(
            "a projected density has no log-density: the projection maps many points onto one. Draw from it, or use a "
            "reparametrisation (scenariogen.sampling.manifolds) where weights are needed"
        )


class Projected(ConditionalDensity):
    """``base`` projected onto a set: draws meet the constraints to rounding error, and have no log-density.

    ``bounds``  a function of the context (batch, context) that gives the set's bounds row by row, such as
                ``{"b": …, "h": …}`` for :class:`LinearSet`; without it the set's own hold
    """

    def __init__(
        self,
        base: ConditionalDensity,
        projection: Projection,
        *,
        bounds: Callable[[Tensor], Mapping[str, Tensor]] | None = None,
    ) -> None:
        super().__init__()
        self.base, self.projection, self.bounds = base, projection, bounds
        self.context_width = base.context_width

    def forward(self, context: Float[Tensor, "batch context"]) -> ProjectedDistribution:
        """The distribution for contexts of shape (batch, context)."""
        base = self.base(context)
        return ProjectedDistribution(base, self.projection, {} if self.bounds is None else self.bounds(context))
