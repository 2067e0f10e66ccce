"""A cheap stand-in for a score: kernel ridge regression in a few learnt directions and the radius.

    ŝ(z) = b·(1, x, x_r²) + Σ_j α_j κ(|x − x_j|/ℓ),   y = Uᵀz,   r = ‖z‖,

with x the coordinates (y, r) less their mean over their spread near the threshold, and κ the Matérn kernel of
smoothness 3/2 on a fixed number of centres, so that millions of evaluations cost nothing beside the score's own. Linear
and radial scores are met exactly; kinks, where two branches of a system meet, cost the rough kernel little. Length and
ridge are those with the least error on held-out fifths, each value weighted by how near it is to the threshold.
(Rasmussen & Williams, *Gaussian processes for machine learning*, 2006, chapters 2, 4 and 8.)

U starts from the :mod:`.active_subspace` and is then refined by Gauss–Newton steps on the residuals, as in Friedman &
Stuetzle, *Projection pursuit regression*, 1981; coordinates that matter little are shrunk in the kernel's distances.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from scenariogen.randomness import child_seed, uniform
from scenariogen.sampling.active_subspace import active_subspace
from scenariogen.sampling.latent_split import LatentSplit

FOLDS = 4
LENGTHS = (1.0, 3.0, 9.0)
"""Kernel lengths tried, in units of each coordinate's spread near the threshold."""
RIDGES = (1e-7, 1e-3)
CENTRES = 250
LEAST_RELEVANCE = 0.02
"""A coordinate that matters less than this share of the most important one is not shrunk further."""
LEAST_ERROR = 1e-3
"""The least error ever assumed, as a share of the mean |score − threshold|, each by its weight."""
WIDTHS = (0, 1, 2, 3, 5, 8, 12, 20, 30)
"""Numbers of directions tried: at first in this order until two in a row bring nothing, later those beside the last."""
WORTH_IT = 0.9
"""More directions are taken only where they reduce the error to less than this share."""
LEARN = 1500
"""Values, those nearest to the threshold, that directions and their number are learnt from."""
WIDEST = 1e6
"""Values may reach so many times their typical size before large ones are pressed together."""
SQUARABLE = 1e100
"""Values whose typical size lies between 1 over this and this can be squared and summed in any unit."""
REFINEMENTS = 2


@dataclass(frozen=True, eq=False)
class Surrogate:
    """ŝ − threshold as a function of u = (y, v), and its root mean squared ``error`` on held-out values."""

    split: LatentSplit
    mean: Tensor
    spread: Tensor
    centres: Tensor
    length: float
    ridge: float
    coefficients: Tensor
    error: float

    def margin(self, u: Float[Tensor, "batch width"]) -> Float[Tensor, " batch"]:
        """(ŝ − threshold)/error at coordinates ``u``, shape (batch,)."""
        return self(u) / self.error

    def __call__(self, u: Float[Tensor, "batch width"]) -> Float[Tensor, " batch"]:
        """ŝ − threshold at coordinates ``u``, shape (batch,)."""
        return self.at(self.split.see_reduced(u))

    def at(self, seen: Float[Tensor, "batch seen"]) -> Float[Tensor, " batch"]:
        """ŝ − threshold at (y, ‖z‖)."""
        return _features((seen - self.mean) / self.spread, self.centres, self.length) @ self.coefficients

    def slopes(self, seen: Float[Tensor, "batch seen"]) -> Float[Tensor, "batch seen"]:
        """∂ŝ/∂(y, ‖z‖) at (y, ‖z‖), each with the others held."""
        x = (seen - self.mean) / self.spread
        count = seen.shape[1]
        linear, square, kernel = self.coefficients[1:].split([count, 1, len(self.centres)])
        pull = torch.exp(-_distances(x, self.centres, self.length)) * kernel
        slopes = linear - 3 / self.length**2 * (pull.sum(1, keepdim=True) * x - pull @ self.centres)
        slopes = torch.cat([slopes[:, :-1], slopes[:, -1:] + 2 * square * x[:, -1:]], dim=1)
        return slopes / self.spread


@dataclass(frozen=True, eq=False)
class LearntSurrogate:
    """A surrogate, and the metric of the active subspace, for the next one to start from."""

    surrogate: Surrogate
    metric: Float[Tensor, "dim dim"]


def nearness(values: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Weights 1/(1 + (value/τ)²), τ the median |value|: how much a value says about where the score crosses 0.

    Where most values are 0, as with a score that has steps, τ is the mean |value|; no weight is below 1e-6.
    """
    return (1 / (1 + (values / _typical(values)) ** 2)).clamp_min(1e-6)


def _typical(values: Tensor) -> Tensor:
    """τ: the median |value|, or the mean where that is 0."""
    tau = values.abs().median()
    return torch.where(tau > 0, tau, values.abs().mean()).clamp_min(1e-300)


def pressed(values: Float[Tensor, " batch"]) -> tuple[Float[Tensor, " batch"], float]:
    """Values that can be squared and fitted by least squares, with their unit: as they are, in 1, where they can.

    Where some are beyond 10⁶ τ, as those of a score that grows exponentially, or τ is so large or small that squares
    leave the range of the numbers, asinh(value/τ) in τ: the same sign, and near the threshold the same slope.
    """
    tau, largest = float(_typical(values)), float(values.abs().max())
    if largest == 0 or (largest <= WIDEST * tau and 1 / SQUARABLE <= tau <= SQUARABLE):
        return values, 1.0
    most = SQUARABLE**3  # of what a division by the least τ may give
    return torch.asinh((values / tau).clamp(-most, most)), tau


def learn_surrogate(
    z: Float[Tensor, "batch dim"],
    values: Float[Tensor, " batch"],
    *,
    seed: int,
    before: LearntSurrogate | None = None,
) -> LearntSurrogate:
    """The surrogate of ``values`` (score − threshold), its directions learnt and their number chosen.

    ``before``  what was learnt from fewer values, to start from

    Values of too wide a range enter as :func:`pressed`.
    """
    weights = nearness(values)
    values, unit = pressed(values)
    near = weights.argsort(descending=True, stable=True)[:LEARN].sort().values
    own = (z[near], values[near], weights[near])
    subspace = active_subspace(*own, metric=before.metric if before else None, rounds=2 if before else 4)
    enough = LEAST_ERROR * float(own[2] @ own[1].abs() / own[2].sum())
    best = _refined(before.surrogate.split, *own, seed=seed) if before else None
    idle = 0
    for k in _widths(z.shape[1], best):
        if best is not None and (best.error <= enough or (before is None and idle == 2)):
            break
        found = _refined(LatentSplit(subspace.directions[:, :k]), *own, seed=seed)
        if best is None or found.error < WORTH_IT * best.error:
            best, idle = found, 0
        else:
            idle += 1
    assert best is not None
    if len(near) < len(z) and best.error > enough:
        relevance = relevances(best, z[near], weights[near])
        best = fit_surrogate(best.split, z, values, weights, seed=seed, relevance=relevance)
    if unit != 1:
        best = replace(best, coefficients=unit * best.coefficients, error=unit * best.error)
    return LearntSurrogate(best, subspace.metric)


def _widths(dim: int, last: Surrogate | None) -> list[int]:
    """Numbers of directions to try."""
    possible = [k for k in WIDTHS if k <= dim]
    if last is None:
        return possible
    place = possible.index(last.split.basis.shape[1])
    return possible[max(place - 1, 0) : place + 2]


def _refined(split: LatentSplit, z: Tensor, values: Tensor, weights: Tensor, *, seed: int) -> Surrogate:
    """A surrogate in the directions of ``split``, moved and stretched as long as that reduces the error."""
    best = fit_surrogate(split, z, values, weights, seed=seed)
    dim, k = split.basis.shape
    for _ in range(REFINEMENTS):
        moved = best.split
        if 0 < k < dim and 3 * k * dim <= len(z):
            moved = refine(best, z, values, weights)
        lengths = tuple(each for each in LENGTHS if each <= best.length)
        tried = fit_surrogate(
            moved, z, values, weights, seed=seed, lengths=lengths, ridges=(best.ridge,),
            relevance=relevances(best, z, weights),
        )  # fmt: skip
        if tried.error >= best.error:
            break
        best = tried
    return best


def relevances(
    surrogate: Surrogate, z: Float[Tensor, "batch dim"], weights: Float[Tensor, " batch"]
) -> Float[Tensor, " seen"]:
    """How much each coordinate of (y, ‖z‖) matters: root mean squared slope times spread, 1 for the largest."""
    seen = surrogate.split.see(z)
    share = weights / weights.sum()
    spread = (share @ (seen - share @ seen) ** 2).sqrt()
    size = (share @ surrogate.slopes(seen) ** 2).sqrt() * spread
    return (size / size.max().clamp_min(1e-300)).clamp_min(LEAST_RELEVANCE)


def refine(
    surrogate: Surrogate, z: Float[Tensor, "batch dim"], values: Float[Tensor, " batch"],
    weights: Float[Tensor, " batch"],
) -> LatentSplit:  # fmt: skip
    """Directions moved by one Gauss–Newton step: the D that least squares finds in values − ŝ ≈ ∂ŝ/∂y · Dᵀz."""
    basis = surrogate.split.basis
    dim, k = basis.shape
    seen = surrogate.split.see(z)
    rest = z - seen[:, :k] @ basis.T
    inputs = (surrogate.slopes(seen)[:, :k, None] * rest[:, None, :]).reshape(len(z), k * dim)
    inputs = inputs * weights.sqrt()[:, None]
    gram = inputs.T @ inputs
    guard = (1e-6 * gram.diagonal().mean() + 1e-12) * torch.eye(k * dim, dtype=z.dtype, device=z.device)
    step = torch.linalg.solve(gram + guard, inputs.T @ (weights.sqrt() * (values - surrogate.at(seen))))
    return LatentSplit(torch.linalg.qr(basis + step.reshape(k, dim).T)[0])


def fit_surrogate(
    split: LatentSplit,
    z: Float[Tensor, "batch dim"],
    values: Float[Tensor, " batch"],
    weights: Float[Tensor, " batch"],
    *,
    seed: int,
    lengths: Sequence[float] = LENGTHS,
    ridges: Sequence[float] = RIDGES,
    relevance: Float[Tensor, " seen"] | None = None,
) -> Surrogate:
    """The surrogate of ``values`` in the coordinates of ``split``.

    ``weights``    (batch,) positive, of squared errors
    ``relevance``  (seen,) factor on each coordinate in the kernel's distances; None: 1
    """
    seen = split.see(z)
    n, trend = len(z), seen.shape[1] + 2
    share = weights / weights.sum()
    mean = share @ seen
    spread = (share @ (seen - mean) ** 2).sqrt().clamp_min(1e-12)
    if relevance is not None:
        spread = spread / relevance
    x = (seen - mean) / spread
    # Centres by weighted draws without replacement (Efraimidis & Spirakis, 2006): mostly near the threshold.
    keys = uniform(child_seed(seed, "centres"), torch.arange(n, device=z.device), 1)[:, 0].to(z.dtype).log() / weights
    centres = x[keys.topk(min(CENTRES, n)).indices]
    root = weights.sqrt()
    best = None
    for length in lengths:
        features = _features(x, centres, length)
        rows = [(root[:, None] * features)[part::FOLDS] for part in range(FOLDS)]
        targets = [(root * values)[part::FOLDS] for part in range(FOLDS)]
        grams = [part.T @ part for part in rows]
        sides = [part.T @ target for part, target in zip(rows, targets, strict=True)]
        gram, side = torch.stack(grams).sum(0), torch.stack(sides).sum(0)
        size = gram.diagonal().sqrt().clamp_min(1e-300)
        for ridge in ridges:
            guard = ridge * size**2
            guard[:trend] = 0.0  # what is linear or radial is met exactly
            guarded = gram + torch.diag(guard)
            error = 0.0
            for part in range(FOLDS):
                out = _solve(guarded - grams[part], side - sides[part], size)
                error += float(((rows[part] @ out - targets[part]) ** 2).sum())
            error = math.sqrt(error / float(weights.sum()))
            if best is None or error < best[0]:
                best = (error, length, ridge, _solve(guarded, side, size))
    assert best is not None
    error, length, ridge, coefficients = best
    error = max(error, LEAST_ERROR * float(share @ values.abs()), 1e-300)
    return Surrogate(split, mean, spread, centres, length, ridge, coefficients, error)


def _distances(x: Tensor, centres: Tensor, length: float) -> Tensor:
    return torch.cdist(x, centres) * (math.sqrt(3) / length)


def _features(x: Tensor, centres: Tensor, length: float) -> Tensor:
    """(batch, trend + centre): 1, x, x_r² and the kernels."""
    distance = _distances(x, centres, length)
    radius = x[:, -1:]
    return torch.cat([torch.ones_like(radius), x, radius**2, torch.exp(-distance) * (1 + distance)], dim=1)


def _solve(gram: Tensor, side: Tensor, size: Tensor) -> Tensor:
    """Solution of ``gram`` · out = ``side``, scaled to a unit diagonal first."""
    scaled = gram / size / size[:, None] + 1e-12 * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    factor, failed = torch.linalg.cholesky_ex(scaled)
    if int(failed):
        return torch.linalg.lstsq(scaled, (side / size)[:, None], driver="gelsd").solution[:, 0] / size
    return torch.cholesky_solve((side / size)[:, None], factor)[:, 0] / size
