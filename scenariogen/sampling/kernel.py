"""Kernel density: a normal kernel on every record. The baseline that a learned density has to beat.

With records x_i, contexts c_i and one factor h,

    p(x | c) = Σ_i w_i(c) N(x; x_i, h² S),    w_i(c) ∝ N(c; c_i, h² S_c),

S the records' covariance or its diagonal (Scott, *Multivariate density estimation*, 1992; conditional form: Rosenblatt,
*Conditional probability density and regression estimators*, 1969). Without contexts all w_i are 1/n. h is Scott's
n^(−1/(d+4)), Silverman's (4/(d+2))^(1/(d+4)) times that (Silverman, *Density estimation*, 1986), d counting contexts
too, or the factor with the largest leave-one-out likelihood Σ_i log p_{−i}(x_i | c_i).

The log-density is exact. Sums run over chunks of records, so that memory does not grow with their number times the
number of points.
"""

import math
from enum import StrEnum
from numbers import Real

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling.contract import ConditionalDensity, Distribution, check_context, never_nan
from scenariogen.sampling.discrete import draw_category

CHUNK = 1024
"""Points, and records, that are compared at a time: 8 MiB of distances in double precision."""
LEFT_OUT = 1000
"""Records that are left out in turn, evenly spaced among all, where the bandwidth is chosen by likelihood."""
SMALLEST, LARGEST = 1e-3, 2.0
"""Factors tried, as multiples of Scott's."""


class Kernel(StrEnum):
    """Shape of the kernel: coordinates apart, or along the records' covariance."""

    PRODUCT = "product"
    FULL = "full"


class Bandwidth(StrEnum):
    """How the factor h is chosen."""

    SCOTT = "scott"
    SILVERMAN = "silverman"
    LEAVE_ONE_OUT = "leave-one-out"


class KernelDistribution(Distribution):
    """A kernel density given its context. The first column of noise chooses the record (with contexts: two columns),
    the others are the normal kernel's."""

    def __init__(self, density: "KernelDensity", context: Float[Tensor, "batch context"]) -> None:
        self.density, self.context = density, density.whiten_context(context)
        self.noise_columns = density.dim + (2 if density.context_width else 1)

    def sample(self, noise: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch dim"]:
        density = self.density
        record = self._record(noise)
        z = torch.special.ndtri(noise[:, -density.dim :])
        return density.records[record] + z @ density.root.T

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        if x.dim() != 2 or x.shape[1] != self.density.dim:
            raise DensityError(f"got points of shape {tuple(x.shape)}, expected (batch, {self.density.dim})")
        parts = zip(x.split(CHUNK), self.context.split(CHUNK), strict=True)
        return torch.cat([self._rows(part, context) for part, context in parts])

    def _rows(self, x: Tensor, context: Tensor) -> Tensor:
        density = self.density
        z = (x - density.middle) @ density.inverse_root.T
        joint, weight = [], []
        for i in range(0, len(density.records), CHUNK):
            log_w = -0.5 * _squares(context, density.context_points[i : i + CHUNK])
            joint.append(torch.logsumexp(log_w - 0.5 * _squares(z, density.points[i : i + CHUNK]), dim=-1))
            weight.append(torch.logsumexp(log_w, dim=-1))
        scale = density.root.diagonal().log().sum() + 0.5 * density.dim * math.log(2 * math.pi)
        out = torch.logsumexp(torch.stack(joint), 0) - torch.logsumexp(torch.stack(weight), 0) - scale
        return never_nan(out)  # points that are nan or infinite

    def _record(self, noise: Tensor) -> Int[Tensor, " batch"]:
        """The record that each draw is made around."""
        n = len(self.density.records)
        if not self.density.context_width:
            return (noise[:, 0].to(torch.float64) * n).to(torch.int64).clamp_max(n - 1)
        parts = zip(noise.split(CHUNK), self.context.split(CHUNK), strict=True)
        return torch.cat([self._record_given(u, context) for u, context in parts])

    def _record_given(self, noise: Tensor, context: Tensor) -> Tensor:
        """The record for each context: first a chunk of records, then one of the chunk."""
        points = self.density.context_points
        n, starts = len(points), range(0, len(points), CHUNK)
        nearest = torch.stack([_squares(context, points[i : i + CHUNK]).amin(-1) for i in starts]).amin(0)[:, None]
        mass = [torch.exp(-0.5 * (_squares(context, points[i : i + CHUNK]) - nearest)).sum(-1) for i in starts]
        first = draw_category(noise[:, 0], torch.stack(mass, dim=1)) * CHUNK
        record = first[:, None] + torch.arange(min(CHUNK, n), device=noise.device)
        # Each row has a chunk of its own here; records past the last have no weight.
        own = points[record.clamp_max(n - 1)]
        squares = sum(((context[:, j, None] - own[:, :, j]) ** 2 for j in range(points.shape[1])), -nearest)
        weight = torch.where(record < n, torch.exp(-0.5 * squares), 0.0)
        return first + draw_category(noise[:, 1], weight)


class KernelDensity(ConditionalDensity):
    """Kernel density of ``records`` (record, dim), given ``contexts`` (record, context) where there are any.

    ``kernel``     coordinates apart, or along the records' covariance; its name will do
    ``bandwidth``  a rule or its name, or the factor h itself

    Nothing is learned; ``factor`` is the h in use. ``DensityError`` that lists what is wrong: nan, columns that are
    constant or (with a full kernel) linearly dependent, too few distinct records, records that all occur more than once
    where the bandwidth is to be chosen by leaving one out.
    """

    records: Tensor
    points: Tensor
    middle: Tensor
    root: Tensor
    inverse_root: Tensor
    context_points: Tensor
    context_middle: Tensor
    context_inverse_root: Tensor

    def __init__(
        self,
        records: Float[Tensor, "record dim"],
        contexts: Float[Tensor, "row context"] | None = None,
        *,
        kernel: Kernel | str = Kernel.PRODUCT,
        bandwidth: Bandwidth | str | float | int = Bandwidth.SCOTT,
    ) -> None:
        super().__init__()
        kernel, bandwidth = _kernel(kernel), _bandwidth(bandwidth)
        given = records.new_zeros(len(records), 0) if contexts is None else contexts.to(records)
        _check(records, given, bandwidth)
        self.dim, self.context_width = records.shape[1], given.shape[1]
        middle, root = _spread(records, kernel, "the records")
        context_middle, context_root = _spread(given, kernel, "the contexts")
        points, context_points = _whiten(records, middle, root), _whiten(given, context_middle, context_root)
        self.factor = _factor(points, context_points, bandwidth)
        self.register_buffer("records", records.clone())
        self.register_buffer("points", points / self.factor)
        self.register_buffer("middle", middle)
        self.register_buffer("root", root * self.factor)
        self.register_buffer("inverse_root", _inverse(root) / self.factor)
        self.register_buffer("context_points", context_points / self.factor)
        self.register_buffer("context_middle", context_middle)
        self.register_buffer("context_inverse_root", _inverse(context_root) / self.factor)

    def forward(self, context: Float[Tensor, "batch context"]) -> KernelDistribution:
        """The density for contexts of shape (batch, context)."""
        check_context(context, self.context_width)
        return KernelDistribution(self, context)

    def whiten_context(self, context: Float[Tensor, "batch context"]) -> Float[Tensor, "batch context"]:
        """Contexts in units of their kernel."""
        return (context - self.context_middle) @ self.context_inverse_root.T


def _bandwidth(given: Bandwidth | str | float | int) -> Bandwidth | float:
    """A rule by its name, or a factor; ``DensityError`` that lists the choices."""
    if isinstance(given, Real):
        return float(given)
    try:
        return Bandwidth(given)
    except ValueError:
        raise DensityError(
            f"got the bandwidth {given!r}, expected a number or one of {[*map(str, Bandwidth)]}"
        ) from None


def _kernel(given: Kernel | str) -> Kernel:
    """A kernel by its name; ``DensityError`` that lists the choices."""
    try:
        return Kernel(given)
    except ValueError:
        raise DensityError(f"got the kernel {given!r}, expected one of {[*map(str, Kernel)]}") from None


def _check(records: Tensor, contexts: Tensor, bandwidth: Bandwidth | float) -> None:
    problems = Problems("a kernel density")
    if isinstance(bandwidth, float) and not (math.isfinite(bandwidth) and bandwidth > 0):
        problems.add(f"got a bandwidth factor of {bandwidth}, expected a positive number")
    if len(contexts) != len(records):
        problems.add(f"got {len(contexts)} rows of context for {len(records)} records, expected as many")
    for name, values in (("records", records), ("contexts", contexts)):
        if wrong := int((~torch.isfinite(values)).sum()):
            problems.add(f"the {name} hold {wrong} values that are nan or infinite, expected finite numbers")
        elif len(values) > 1:
            same = torch.nonzero((values == values[:1]).all(0))[:, 0].tolist()
            if same:
                problems.add(f"columns {same} of the {name} are constant, expected columns that vary: leave them out")
    width = records.shape[1] + contexts.shape[1]
    if not records.shape[1]:
        problems.add("got records of no column, expected at least 1")
    elif len(contexts) == len(records):
        distinct = len(torch.unique(torch.cat([records, contexts], dim=1), dim=0))
        if distinct < width + 1:
            problems.add(f"got {distinct} distinct records of {width} numbers, expected at least {width + 1}")
    problems.raise_as(DensityError)


def _spread(values: Tensor, kernel: Kernel, name: str) -> tuple[Tensor, Tensor]:
    """Mean, and the lower root of the covariance or of its diagonal."""
    middle = values.mean(0)
    centred = values - middle
    covariance = centred.T @ centred / (len(values) - 1)
    if kernel is Kernel.PRODUCT or not values.shape[1]:
        return middle, torch.diag(covariance.diagonal().sqrt())
    root, failed = torch.linalg.cholesky_ex(covariance)
    scale = covariance.diagonal().sqrt()
    if int(failed) or (root.diagonal() < 10 * torch.finfo(values.dtype).eps ** 0.5 * scale).any():
        raise DensityError(
            f"columns of {name} are linearly dependent, expected a covariance of full rank: leave out what others "
            "give, or use the product kernel"
        )
    return middle, root


def _inverse(root: Tensor) -> Tensor:
    eye = torch.eye(len(root), dtype=root.dtype, device=root.device)
    return torch.linalg.solve_triangular(root, eye, upper=False) if len(root) else eye


def _whiten(values: Tensor, middle: Tensor, root: Tensor) -> Tensor:
    return (values - middle) @ _inverse(root).T


def _squares(rows: Float[Tensor, "row dim"], points: Float[Tensor, "point dim"]) -> Float[Tensor, "row point"]:
    """Squared distances, from differences: expanding the square would cancel for points far from the mean."""
    out = rows.new_zeros(len(rows), len(points))
    for j in range(rows.shape[1]):
        out += (rows[:, j, None] - points[:, j]) ** 2
    return out


def _factor(points: Tensor, contexts: Tensor, bandwidth: Bandwidth | float) -> float:
    if isinstance(bandwidth, float):
        return bandwidth
    n, d = len(points), points.shape[1] + contexts.shape[1]
    scott = n ** (-1 / (d + 4))
    if bandwidth is Bandwidth.SCOTT:
        return scott
    if bandwidth is Bandwidth.SILVERMAN:
        return (4 / (d + 2)) ** (1 / (d + 4)) * scott
    coarse = torch.logspace(math.log10(SMALLEST), math.log10(LARGEST), 17, dtype=torch.float64) * scott
    scores = left_out_log_likelihood(points, contexts, coarse)
    best = int(scores.argmax())
    if best == 0:
        raise DensityError(
            f"the leave-one-out likelihood still grows at {SMALLEST} times Scott's bandwidth: the records repeat each "
            "other, expected records that are mostly distinct; use Scott's or Silverman's rule"
        )
    low, high = math.log10(coarse[best - 1]), math.log10(coarse[min(best + 1, len(coarse) - 1)])
    fine = torch.logspace(low, high, 17, dtype=torch.float64)
    return float(fine[int(left_out_log_likelihood(points, contexts, fine).argmax())])


def left_out_log_likelihood(
    points: Float[Tensor, "record dim"], contexts: Float[Tensor, "record context"], factors: Float[Tensor, " factor"]
) -> Float[Tensor, " factor"]:
    """Mean of log p_{−i}(x_i | c_i) for each factor h, up to a constant that does not depend on h.

    Points and contexts are in units of S and S_c. At most :data:`LEFT_OUT` records are left out in turn.
    """
    n = len(points)
    rows = torch.unique(torch.linspace(0, n - 1, min(n, LEFT_OUT), device=points.device).round().to(torch.int64))
    total = torch.zeros(len(factors), dtype=torch.float64)
    for part in rows.split(CHUNK):
        joint = torch.full((len(factors), len(part)), -torch.inf, dtype=points.dtype, device=points.device)
        weight = joint.clone() if contexts.shape[1] else torch.full_like(joint, math.log(n - 1))
        for i in range(0, n, CHUNK):
            own = part[:, None] == torch.arange(i, min(i + CHUNK, n), device=points.device)
            apart = _squares(contexts[part], contexts[i : i + CHUNK]).masked_fill(own, torch.inf)
            both = apart + _squares(points[part], points[i : i + CHUNK])
            for k, h in enumerate(factors.tolist()):
                joint[k] = torch.logaddexp(joint[k], torch.logsumexp(-0.5 * both / h**2, dim=-1))
                if contexts.shape[1]:
                    weight[k] = torch.logaddexp(weight[k], torch.logsumexp(-0.5 * apart / h**2, dim=-1))
        total += (joint - weight).sum(1).to(total)
    return total / len(rows) - points.shape[1] * factors.log()
