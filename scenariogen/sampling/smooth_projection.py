"""Projection onto a smooth manifold {x: g(x) = 0}, with its gradient by the implicit function theorem.

The nearest point of the manifold satisfies, with J = ∂g/∂x and multipliers λ,

    x − x₀ + J(x)ᵀ λ = 0,    g(x) = 0.

First x₀ is moved onto the manifold by Gauss–Newton steps of least length, x ← x − Jᵀ(JJᵀ)⁻¹g. From there each step
is that of sequential quadratic programming (Nocedal & Wright, *Numerical optimization*, 2006, chapter 18), a Newton
step in the tangent space with the Hessian of the Lagrangian, H = I + Σᵢ λᵢ ∇²gᵢ, and the absolute values of its
eigenvalues there; it returns to the manifold, and is halved until the distance to x₀ falls. It ends at a point nearest
to x₀ among its neighbours; which one, where there are several, is a function of x₀ alone. The derivative ∂x/∂x₀ is the
upper left block of the inverse of

    [ H  Jᵀ ]
    [ J  0  ].
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import grad, hessian, jacrev, vmap

from scenariogen.errors import DensityError
from scenariogen.sampling.fixed_order import products, squares, times_rows
from scenariogen.sampling.projection import Projection

Constraint = Callable[[Tensor], Tensor]
"""g: one point (dim,) → (equality,), twice differentiable by torch.func; an ``nn.Module`` may be one."""

STATIONARY = 1e-8
"""Relative length of the tangential part of x − x₀ up to which a point counts as the nearest."""


@dataclass(frozen=True, eq=False)
class _Point:
    """A point on the manifold, with what the next step needs: all of shape (batch, …)."""

    x: Tensor
    jacobian: Tensor
    multipliers: Tensor
    tangent: Tensor
    """x − x₀ + Jᵀλ, the part of x − x₀ along the manifold."""


class SmoothSet(Projection):
    """{x ∈ ℝⁿ: g(x) = 0}.

    ``constraint``  g, of one point; its Jacobian must have full rank near the set (no equality given twice)
    ``dim``         n
    ``steps``       at most so many steps; double precision needs few unless x₀ is far away
    ``device``      where the constraint's own tensors are, for the first look at what it gives

    Everything is computed in double precision, row by row. First derivatives with respect to x₀ and to what the
    constraint closes over (the parameters of a module) are exact; second derivatives are not available.

    ``DensityError`` names the rows that found no nearest point: where the Jacobian loses rank, as in the centre of a
    sphere, or where there is no manifold nearby.
    """

    def __init__(
        self, constraint: Constraint, dim: int, *, steps: int = 100, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__()
        self.dim, self.steps = dim, steps
        self._constraint = constraint  # where it is a module, it moves with this one
        given = constraint(torch.zeros(dim, dtype=torch.float64, device=device))
        if given.dim() != 1 or not 1 <= len(given) <= dim:
            raise DensityError(
                f"the constraint gave shape {tuple(given.shape)} for a point of {dim} numbers, expected (equality,) "
                f"with 1 to {dim} equalities"
            )

    def forward(self, x: Float[Tensor, "batch dim"], **bounds: Tensor) -> Float[Tensor, "batch dim"]:
        if bounds:
            raise DensityError(f"got bounds {', '.join(sorted(bounds))}, expected none: a smooth set has no bounds")
        self.check_points(x)
        start = x.to(torch.float64)
        with torch.no_grad():
            found = self._nearest(start)
        if torch.is_grad_enabled():
            return (found.x + self._implicit(start, found)).to(x.dtype)
        return found.x.to(x.dtype)

    def violation(self, x: Float[Tensor, "batch dim"], **bounds: Tensor) -> Float[Tensor, " batch"]:
        """The distance to the manifold to first order, |Jᵀ(JJᵀ)⁻¹g|, relative to 1 + maxⱼ|xⱼ|."""
        with torch.no_grad():
            y = x.to(torch.float64)
            step = self._back(y)
            return (squares(step).sqrt() / (1 + y.abs().amax(-1))).to(x.dtype)

    def _back(self, x: Tensor) -> Tensor:
        """The shortest step to the manifold's linearisation."""
        jacobian = vmap(jacrev(self._constraint))(x)
        return -_lift(jacobian, vmap(self._constraint)(x))

    def _onto(self, x: Tensor) -> Tensor:
        """Gauss–Newton steps of least length, halved while |g| does not fall, until they are rounding errors."""
        size = squares(vmap(self._constraint)(x))
        done = torch.zeros_like(size, dtype=torch.bool)
        for _ in range(self.steps):
            step = self._back(x)
            length = squares(step).sqrt() / (1 + x.abs().amax(-1))
            done = done | ~(length > 1e-16)  # nan: lost
            pending, factor = ~done, torch.ones_like(size)
            for _ in range(30):
                if not bool(pending.any()):
                    break
                there = x + torch.where(pending, factor, 0.0)[:, None] * step
                size_there = squares(vmap(self._constraint)(there))
                better = pending & (size_there < size)
                x = torch.where(better[:, None], there, x)
                size = torch.where(better, size_there, size)
                # At rounding error |g| falls no further: no use in halving.
                pending = pending & ~better & (length > 1e-10)
                done = done | (~better & (length <= 1e-10))
                factor = factor / 2
            done = done | pending
            if bool(done.all()):
                break
        return x

    def _at(self, x: Tensor, start: Tensor) -> _Point:
        jacobian = vmap(jacrev(self._constraint))(x)
        away = x - start
        multipliers = -_solve(products(jacobian, jacobian.mT), times_rows(jacobian, away))
        return _Point(x, jacobian, multipliers, away + times_rows(jacobian.mT, multipliers))

    def _curvature(self, at: _Point) -> Tensor:
        """H = I + Σᵢ λᵢ ∇²gᵢ, (batch, dim, dim)."""
        second = vmap(hessian(lambda x, m: (m * self._constraint(x)).sum()))(at.x, at.multipliers)
        return second + torch.eye(self.dim, dtype=second.dtype, device=second.device)

    def _direction(self, at: _Point) -> Tensor:
        """The step along the manifold: Newton's, with the curvatures' absolute values, so that it leads downhill."""
        eye = torch.eye(self.dim, dtype=at.x.dtype, device=at.x.device)
        gram = products(at.jacobian, at.jacobian.mT)
        tangent = eye - products(at.jacobian.mT, torch.linalg.solve_ex(gram, at.jacobian)[0])
        reduced = products(products(tangent, self._curvature(at)), tangent)
        # Padded to a multiple of four, so that each matrix begins at a round address: where it stands in the batch then
        # makes no difference to its last bits.
        size = -self.dim % 4
        padded = torch.nn.functional.pad(0.5 * (reduced + reduced.mT), (0, size, 0, size))
        values, vectors = torch.linalg.eigh(padded)
        vectors = vectors[:, : self.dim]
        along = times_rows(vectors.mT, at.tangent)
        return -times_rows(vectors, along / values.abs().clamp_min(1e-3))

    def _nearest(self, start: Tensor) -> _Point:
        onto = self._onto(start)
        self._refuse(~(self.violation(onto) <= 1e-12), start)  # nan counts as wrong
        at = self._at(onto, start)
        stuck = torch.zeros_like(start[:, 0], dtype=torch.bool)
        for _ in range(self.steps):
            stuck = stuck | (_stationarity(at, start) <= 1e-15)
            if bool(stuck.all()):
                break
            direction = self._direction(at)
            pending, factor = ~stuck, torch.ones_like(start[:, 0])
            for _ in range(30):
                if not bool(pending.any()):
                    break
                there = self._at(self._onto(at.x + torch.where(pending, factor, 0.0)[:, None] * direction), start)
                accepted = pending & _better(
                    there, at, start, slope=factor * times_rows(direction[:, None], at.tangent)[:, 0]
                )
                at = _where(accepted, there, at)
                pending, factor = pending & ~accepted, factor / 2
                # So near the end that distances no longer differ, a step that gains nothing is the last.
                ended = pending & (_stationarity(at, start) <= 1e-10)
                stuck, pending = stuck | ended, pending & ~ended
            stuck = stuck | pending
        self._refuse(~(_stationarity(at, start) <= STATIONARY) | ~(self.violation(at.x) <= 1e-12), start)
        return at

    def _refuse(self, wrong: Tensor, start: Tensor) -> None:
        if bool(wrong.any()):
            row = int(wrong.nonzero()[0])
            raise DensityError(
                f"{int(wrong.sum())} of {len(start)} rows have no projection, the first is row {row}, "
                f"{start[row].tolist()}: the constraint's Jacobian loses rank there, or the set is empty or far away"
            )

    def _implicit(self, start: Tensor, at: _Point) -> Tensor:
        """Zero, with the derivative of the solution with respect to ``start`` and the constraint's parameters."""
        with torch.no_grad():
            matrix = _kkt(self._curvature(at), at.jacobian)
        pull = vmap(grad(lambda x, m: (m * self._constraint(x)).sum()))(at.x, at.multipliers)
        right = torch.cat([start - at.x - pull, -vmap(self._constraint)(at.x)], -1)
        step = _solve(matrix, right)[:, : self.dim]
        if wrong := int((~torch.isfinite(step).all(-1)).sum()):
            raise DensityError(
                f"{wrong} of {len(start)} rows have no derivative: they lie where two nearest points meet; project "
                "them without gradients"
            )
        return step - step.detach()


def _solve(matrix: Tensor, right: Tensor) -> Tensor:
    """The solution of each row's system; not finite where the matrix is singular, which the caller refuses."""
    return torch.linalg.solve_ex(matrix, right[..., None])[0][..., 0]


def _lift(jacobian: Tensor, values: Tensor) -> Tensor:
    """Jᵀ(JJᵀ)⁻¹ values, (batch, dim)."""
    return times_rows(jacobian.mT, _solve(products(jacobian, jacobian.mT), values))


def _kkt(curvature: Tensor, jacobian: Tensor) -> Tensor:
    corner = curvature.new_zeros((len(curvature), jacobian.shape[1], jacobian.shape[1]))
    upper = torch.cat([curvature, jacobian.mT], -1)
    return torch.cat([upper, torch.cat([jacobian, corner], -1)], -2)


def _stationarity(at: _Point, start: Tensor) -> Tensor:
    away = squares(at.x - start).sqrt()
    return squares(at.tangent).sqrt() / (1 + away)


def _better(there: _Point, at: _Point, start: Tensor, *, slope: Tensor) -> Tensor:
    """Nearer to the start by a part of what the slope promises, or, near the end, more nearly stationary."""
    gain = 0.5 * (squares(at.x - start) - squares(there.x - start))
    old, new = _stationarity(at, start), _stationarity(there, start)
    return (gain >= -1e-4 * slope) & (gain > 0) & (old > 1e-6) | (old <= 1e-6) & (new < 0.5 * old)


def _where(rows: Tensor, there: _Point, at: _Point) -> _Point:
    def pick(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(rows.reshape(-1, *[1] * (new.dim() - 1)), new, old)

    return _Point(
        pick(there.x, at.x),
        pick(there.jacobian, at.jacobian),
        pick(there.multipliers, at.multipliers),
        pick(there.tangent, at.tangent),
    )
