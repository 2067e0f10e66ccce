"""Projection onto a polyhedron {z: Cz ≤ d}, many points at once, by a dual active-set method.

The nearest point of the set to z₀ solves a strictly convex quadratic programme. The method (Goldfarb & Idnani, *A
numerically stable dual method for solving strictly convex quadratic programs*, 1983) starts at z₀, takes in the most
violated inequality, and drops those whose multiplier would become negative; it ends after finitely many steps with the
inequalities that hold as equalities, or with a proof that the set is empty. Here the quadratic form is |z − z₀|², and
each row of a batch keeps its own active set, as a mask: rows do not influence each other.

The point itself then follows from its active set W in one linear solve,

    z = z₀ − C_Wᵀ λ,  C_W C_Wᵀ λ = C_W z₀ − d_W,

without the rounding errors of the steps that led there; its derivatives with respect to z₀ and d are those of that
system (implicit differentiation of the optimality conditions).
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scenariogen.errors import DensityError
from scenariogen.sampling.fixed_order import rows_times, squares

VIOLATED = 1e-13
"""Relative size from which an inequality counts as violated, in double precision."""
DEPENDENT = 1e-12
"""Squared sine of the angle below which a normal counts as a combination of the active ones."""


def project(
    z: Float[Tensor, "batch dim"],
    C: Float[Tensor, "row dim"],
    d: Float[Tensor, "batch row"],
    *,
    size: Float[Tensor, "batch row"],
    given: str = "",
) -> Float[Tensor, "batch dim"]:
    """The nearest point to each row of ``z`` in {z: Cz ≤ d}, differentiable in ``z`` and ``d``.

    The rows of C have length 1, or are 0 where the inequality does not depend on z. ``size`` is that of the numbers
    that d was computed from, and with it of its rounding. ``DensityError`` names the inequalities that contradict each
    other where the set is empty, and what else was ``given``.
    """
    with torch.no_grad():
        active = active_set(z, C, d, size=size, given=given)
    # From far away z − z₀ is a difference of large numbers: once more from nearby, for the last digits.
    near = on_face(on_face(z, C, d, active=active), C, d, active=active)
    with torch.no_grad():
        last = on_face(near, C, d, active=active_set(near, C, d, size=size, given=given))
    return near + (last - near.detach())


def on_face(
    z: Float[Tensor, "batch dim"],
    C: Float[Tensor, "row dim"],
    d: Float[Tensor, "batch row"],
    *,
    active: Bool[Tensor, "batch row"],
) -> Float[Tensor, "batch dim"]:
    """The nearest point to ``z`` where the active inequalities hold as equalities."""
    gaps = torch.where(active, rows_times(z, C.T) - d, 0.0)
    multipliers = torch.linalg.solve(_gram(C @ C.T, active), gaps)
    return z - rows_times(multipliers, C)


def active_set(
    z: Float[Tensor, "batch dim"],
    C: Float[Tensor, "row dim"],
    d: Float[Tensor, "batch row"],
    *,
    size: Float[Tensor, "batch row"],
    given: str = "",
) -> Bool[Tensor, "batch row"]:
    """Which inequalities hold as equalities at the projection of each row of ``z``."""
    batch, count = d.shape
    rows = torch.arange(batch, device=z.device)
    gram = C @ C.T
    z = z.clone()
    multipliers = torch.zeros_like(d)
    active = torch.zeros_like(d, dtype=torch.bool)
    entering = torch.full((batch,), -1, device=z.device)  # the inequality being taken in; −1 between two of them
    pushed = z.new_zeros(batch)  # its multiplier so far
    done = torch.zeros_like(entering, dtype=torch.bool)
    for _ in range(20 * (count + 1)):
        excess = rows_times(z, C.T) - d
        allowed = VIOLATED * (size + squares(z).sqrt()[:, None])
        worst, at = (excess - allowed).masked_fill(active, -torch.inf).max(-1)
        idle = (entering < 0) & ~done
        done = done | (idle & (worst <= 0))
        if bool(done.all()):
            return active
        chosen = idle & ~done
        entering = torch.where(chosen, at, entering)
        pushed = torch.where(chosen, 0.0, pushed)
        p = entering.clamp_min(0)
        # How the active multipliers and z change as the entering multiplier grows.
        slope = torch.linalg.solve(_gram(gram, active), torch.where(active, gram[p], 0.0))
        direction = C[p] - rows_times(slope, C)
        sine = squares(direction)
        to_boundary = torch.where(sine > DEPENDENT, excess[rows, p] / sine.clamp_min(DEPENDENT), torch.inf)
        ratio = torch.where(active & (slope > DEPENDENT), multipliers / slope.clamp_min(DEPENDENT), torch.inf)
        to_drop, dropped = ratio.min(-1)
        step = torch.minimum(to_boundary, to_drop).clamp_min(0)
        _refuse_empty(step, done=done, entering=p, active=active, slope=slope, given=given)
        step = torch.where(done, 0.0, step)
        z = z - torch.where(sine > DEPENDENT, step, 0.0)[:, None] * direction
        multipliers = torch.where(active, (multipliers - step[:, None] * slope).clamp_min(0), 0.0)
        pushed = pushed + step
        full = ~done & (to_boundary <= to_drop)
        partial = ~done & ~full
        active[rows[full], p[full]] = True
        multipliers[rows[full], p[full]] = pushed[full]
        active[rows[partial], dropped[partial]] = False
        multipliers[rows[partial], dropped[partial]] = 0.0
        entering = torch.where(full, -1, entering)
    raise DensityError(
        f"{int((~done).sum())} of {batch} rows have no projection after {20 * (count + 1)} steps, the first is row "
        f"{int((~done).nonzero()[0])}: the inequalities are too nearly dependent for double precision"
    )


def _gram(gram: Tensor, active: Tensor) -> Tensor:
    """C_W C_Wᵀ of each row at full size, with the identity in the place of what is not active."""
    both = active[:, :, None] & active[:, None, :]
    return torch.where(both, gram, torch.eye(len(gram), dtype=gram.dtype, device=gram.device))


def _refuse_empty(step: Tensor, *, done: Tensor, entering: Tensor, active: Tensor, slope: Tensor, given: str) -> None:
    """A step without end proves that no point meets the entering inequality and the active ones together."""
    empty = ~done & torch.isinf(step)
    if not bool(empty.any()):
        return
    row = int(empty.nonzero()[0])
    against = (active[row] & (slope[row] < -DEPENDENT)).nonzero()[:, 0].tolist()
    others = [f"inequality {each}" for each in against] + ([given] if given else [])
    raise DensityError(
        f"the set is empty in {int(empty.sum())} of {len(step)} rows: inequality {int(entering[row])} cannot hold "
        f"{'together with ' if others else ''}{' and '.join(others)} (row {row})"
    )
