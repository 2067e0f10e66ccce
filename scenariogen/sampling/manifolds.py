"""Reparametrisations: smooth maps from ℝᵏ onto sets of hard constraints, with their exact change of volume.

A map x = f(y) turns a density of y into one of x that has no mass anywhere else (see :mod:`.constrained`):

    log p(x) = log p_base(y) − log|f'(y)|,

with |f'| the Jacobian determinant, or √det(JᵀJ) where x has more coordinates than y (J = ∂x/∂y). Each map says which
measure its density refers to. Here are the sets with flat pieces: the box, ordered values, the simplex; spheres and
chains of fixed distances stand in :mod:`.chains`, positions on a network in :mod:`.segments`.

Draws are kept strictly inside open sets: a number that rounding would put on the border is moved to the next number
inside. Bounds may differ from row to row (a leading axis ``batch``), for sets that depend on a context.
"""

import math
from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling.contract import LEBESGUE


class Manifold(nn.Module, ABC):
    """A set with a bijection from ℝᵏ, up to a part of measure zero.

    ``latent_dim``  k, the numbers that the map takes
    ``shape``       of one point: (dim,) or (point, dim)
    ``measure``     what a density on it refers to, in words
    """

    latent_dim: int
    shape: tuple[int, ...]
    measure: str

    @abstractmethod
    def forward(self, y: Float[Tensor, "batch latent"]) -> tuple[Float[Tensor, "batch *dim"], Float[Tensor, " batch"]]:
        """x = f(y), and log|f'(y)|."""

    @abstractmethod
    def inverse(self, x: Float[Tensor, "batch *dim"]) -> Float[Tensor, "batch latent"]:
        """y = f⁻¹(x), for points of the set."""

    @abstractmethod
    def contains(self, x: Float[Tensor, "batch *dim"]) -> Bool[Tensor, " batch"]:
        """Which rows lie in the set: inequalities strictly, equalities within :func:`tolerance`; False for nan."""

    def check_latent(self, y: Tensor) -> None:
        """``DensityError`` unless ``y`` has shape (batch, latent_dim)."""
        if y.dim() != 2 or y.shape[1] != self.latent_dim:
            raise DensityError(
                f"{type(self).__name__} takes numbers of shape (batch, {self.latent_dim}), got {tuple(y.shape)}: "
                f"the base density must have {self.latent_dim} coordinates"
            )


def tolerance(dtype: torch.dtype) -> float:
    """The relative error up to which an equality counts as met: the square root of the machine's epsilon."""
    return math.sqrt(torch.finfo(dtype).eps)


class Box(Manifold):
    """A product of open intervals, bounded, half-bounded or the whole line; Lebesgue measure.

    With σ the logistic function, w = upper − lower and each coordinate by itself:

        bounded      x = lower + w σ(y)    log|f'| = log w + log σ(y) + log σ(−y)
        half-lines   x = lower + exp(y),  x = upper − exp(y)    log|f'| = y
        whole line   x = y

    ``lower`` and ``upper`` have shape (dim,) or (batch, dim), or shapes that broadcast to one, ±inf where there is no
    bound. ``DensityError`` lists every coordinate where they are nan or not lower < upper; in a draw or density, where
    no number of its precision lies between them.
    """

    measure = LEBESGUE

    def __init__(self, lower: Float[Tensor, "*batch dim"], upper: Float[Tensor, "*rows column"]) -> None:
        super().__init__()
        problems = Problems("a box that is none")
        try:
            lower, upper = torch.broadcast_tensors(lower, upper)
        except RuntimeError:
            problems.add(f"got bounds of shapes {tuple(lower.shape)} and {tuple(upper.shape)}, expected one shape")
            problems.raise_as(DensityError)
        if lower.dim() not in (1, 2):
            problems.add(f"got bounds of shape {tuple(lower.shape)}, expected (dim,) or (batch, dim)")
            problems.raise_as(DensityError)
        wrong = ~(lower < upper) | (lower == torch.inf) | (upper == -torch.inf)
        for at in wrong.nonzero()[:20].tolist():
            low, high = float(lower[tuple(at)]), float(upper[tuple(at)])
            problems.add(f"coordinate {at[-1]}: got lower {low:g} and upper {high:g}, expected lower < upper")
        problems.raise_as(DensityError)
        self.latent_dim, self.shape = lower.shape[-1], (lower.shape[-1],)
        self.lower: Tensor
        self.upper: Tensor
        self.register_buffer("lower", lower.clone())
        self.register_buffer("upper", upper.clone())

    def _bounds(self, like: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Lower and upper as given, and with finite stand-ins where there is no bound."""
        lower, upper = self.lower.to(like), self.upper.to(like)
        _check_room(lower, upper, numbers=1)
        low, high = torch.isfinite(lower), torch.isfinite(upper)
        return (
            lower,
            upper,
            torch.where(low, lower, upper.where(high, 0.0) - 1),
            upper.where(high, lower.where(low, 0.0) + 1),
        )

    def forward(self, y: Float[Tensor, "batch dim"]) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, " batch"]]:
        self.check_latent(y)
        lower, upper, a, b = self._bounds(y)
        low, high = torch.isfinite(lower), torch.isfinite(upper)
        width = b - a
        # From the nearer end, so that small distances to either bound keep their digits.
        x = torch.where(y < 0, a + width * torch.sigmoid(y), b - width * torch.sigmoid(-y))
        log_slope = width.log() + logsigmoid(y) + logsigmoid(-y)
        grown = torch.exp(y.where(low ^ high, 0.0))  # 1 in the columns that do not use it: no infinite gradients
        x = torch.where(low & high, x, torch.where(low, a + grown, torch.where(high, b - grown, y)))
        log_slope = torch.where(low & high, log_slope, y.where(low ^ high, 0.0))
        x = torch.maximum(x, _above(lower)).minimum(_below(upper))
        return x, log_slope.sum(-1)

    def inverse(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        lower, upper, a, b = self._bounds(x)
        low, high = torch.isfinite(lower), torch.isfinite(upper)
        above = torch.log((x - a).where(low, 1.0))
        below = torch.log((b - x).where(high, 1.0))
        return torch.where(low & high, above - below, torch.where(low, above, torch.where(high, below, x)))

    def contains(self, x: Float[Tensor, "batch dim"]) -> Bool[Tensor, " batch"]:
        return ((x > self.lower.to(x)) & (x < self.upper.to(x)) & torch.isfinite(x)).all(-1)


class Ordered(Manifold):
    """Values x₁ < x₂ < … < x_k, optionally all inside an interval; Lebesgue measure on the k values.

        no bounds       x₁ = y₁, xᵢ = xᵢ₋₁ + exp(yᵢ)          log|f'| = Σᵢ≥₂ yᵢ
        one bound       all gaps from the bound on are exp(yᵢ)  log|f'| = Σᵢ yᵢ
        both bounds     the k + 1 gaps are a :class:`Simplex` of total upper − lower

    ``lower`` and ``upper`` are numbers, or tensors of shape () or (batch,), −inf and inf where there is none.
    ``DensityError`` where lower < upper does not hold, or ``count`` is below 1; in a draw or density, where fewer than
    ``count`` numbers of its precision lie between them.
    """

    measure = LEBESGUE

    def __init__(self, count: int, *, lower: float | Tensor = -math.inf, upper: float | Tensor = math.inf) -> None:
        super().__init__()
        low, high = (torch.as_tensor(each, dtype=torch.float64) for each in (lower, upper))
        problems = Problems("ordered values that cannot be")
        if count < 1:
            problems.add(f"got {count} values, expected at least 1")
        if not (low < high).all() or (low == torch.inf).any() or (high == -torch.inf).any():
            problems.add(f"got lower {lower} and upper {upper}, expected lower < upper")
        if len({*torch.isfinite(low).flatten().tolist()}) > 1 or len({*torch.isfinite(high).flatten().tolist()}) > 1:
            problems.add("some rows have a bound and some have none, expected one kind for all")
        problems.raise_as(DensityError)
        self.latent_dim, self.shape = count, (count,)
        self.bounded_below = bool(torch.isfinite(low).all())
        self.bounded_above = bool(torch.isfinite(high).all())
        self.lower: Tensor
        self.upper: Tensor
        self.register_buffer("lower", low.clone())
        self.register_buffer("upper", high.clone())

    def forward(self, y: Float[Tensor, "batch dim"]) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, " batch"]]:
        self.check_latent(y)
        low, high = self.lower.to(y)[..., None], self.upper.to(y)[..., None]
        _check_room(low, high, numbers=self.latent_dim)
        if self.bounded_below and self.bounded_above:
            log_shares = torch.log_softmax(_with_zero(y), -1)
            x = low + (high - low) * log_shares.exp().cumsum(-1)[:, :-1]
            log_slope = log_shares.sum(-1) + self.latent_dim * (high - low).log()[..., 0]
        elif self.bounded_below:
            x, log_slope = low + y.exp().cumsum(-1), y.sum(-1)
        elif self.bounded_above:
            x, log_slope = high - y.exp().flip(-1).cumsum(-1).flip(-1), y.sum(-1)
        else:
            x, log_slope = torch.cat([y[:, :1], y[:, 1:].exp()], -1).cumsum(-1), y[:, 1:].sum(-1)
        return _strictly_between(x, low, high), log_slope

    def inverse(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        low, high = (each.to(x)[..., None].expand(len(x), 1) for each in (self.lower, self.upper))
        if self.bounded_below and self.bounded_above:
            log_gaps = torch.cat([low, x, high], -1).diff(dim=-1).log()
            return log_gaps[:, :-1] - log_gaps[:, -1:]
        if self.bounded_below:
            return torch.cat([low, x], -1).diff(dim=-1).log()
        if self.bounded_above:
            return torch.cat([x, high], -1).diff(dim=-1).log()
        return torch.cat([x[:, :1], x.diff(dim=-1).log()], -1)

    def contains(self, x: Float[Tensor, "batch dim"]) -> Bool[Tensor, " batch"]:
        inside = (x[:, 0] > self.lower.to(x)) & (x[:, -1] < self.upper.to(x)) & torch.isfinite(x).all(-1)
        return inside & (x.diff(dim=-1) > 0).all(-1)


class Simplex(Manifold):
    """Numbers x₁ … x_n that sum to ``total``, each above its minimum mᵢ, such as the gaps between vehicles on a lane.

    With k = n − 1, L the total and F = L − Σᵢ mᵢ the length that is free (the additive log-ratio map; Aitchison, *The
    statistical analysis of compositional data*, 1986):

        s = softmax(y₁, …, y_k, 0),  xᵢ = mᵢ + F sᵢ,  log|f'| = k log F + Σᵢ log sᵢ.

    The density refers to Lebesgue measure on the first k coordinates; with respect to the surface measure of the
    simplex in ℝⁿ its logarithm is lower by the constant ½ log n.

    ``minimum`` has shape (n,), ``total`` is a number or a tensor of shape () or (batch,). ``DensityError`` where
    n < 2, a minimum is not finite, or nothing is free; in a draw or density, where nothing is in its precision.
    """

    measure = "Lebesgue on all coordinates but the last"

    def __init__(self, minimum: Float[Tensor, " dim"], *, total: float | Tensor) -> None:
        super().__init__()
        sum_of_all = torch.as_tensor(total, dtype=torch.float64)
        free = sum_of_all - minimum.to(torch.float64).sum()
        problems = Problems("a simplex that is none")
        if len(minimum) < 2:
            problems.add(f"got {len(minimum)} coordinates, expected at least 2")
        if not torch.isfinite(minimum).all():
            problems.add(f"{int((~torch.isfinite(minimum)).sum())} minimums are nan or infinite")
        elif not (torch.isfinite(free) & (free > 0)).all():
            problems.add(f"got a total of {total} and minimums that sum to {float(minimum.sum()):g}: nothing is free")
        problems.raise_as(DensityError)
        self.latent_dim, self.shape = len(minimum) - 1, (len(minimum),)
        self.minimum: Tensor
        self.total: Tensor
        self.register_buffer("minimum", minimum.clone())
        self.register_buffer("total", sum_of_all.clone())

    def forward(self, y: Float[Tensor, "batch latent"]) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, " batch"]]:
        self.check_latent(y)
        minimum, free = self._parts(y)
        log_shares = torch.log_softmax(_with_zero(y), -1)
        x = torch.maximum(minimum + free[..., None] * log_shares.exp(), _above(minimum))
        return x, log_shares.sum(-1) + self.latent_dim * free.log()

    def _parts(self, like: Tensor) -> tuple[Tensor, Tensor]:
        minimum, total = self.minimum.to(like), self.total.to(like)
        free = total - minimum.sum()
        # Each number keeps a digit of its own only where the free length exceeds the spacing of numbers like the total.
        if not (free > len(minimum) * torch.finfo(like.dtype).eps * (total.abs() + minimum.abs().sum())).all():
            raise DensityError(
                f"nothing is free in {like.dtype} beside minimums that sum to {float(minimum.sum()):g}: take double "
                "precision, or move the origin"
            )
        return minimum, free

    def inverse(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch latent"]:
        log_shares = (x - self.minimum.to(x)).log()
        return log_shares[:, :-1] - log_shares[:, -1:]

    def contains(self, x: Float[Tensor, "batch dim"]) -> Bool[Tensor, " batch"]:
        total = self.total.to(x)
        sums = (x.sum(-1) - total).abs() <= tolerance(x.dtype) * total.abs().maximum(x.abs().sum(-1))
        return sums & (x > self.minimum.to(x)).all(-1) & torch.isfinite(x).all(-1)


def _with_zero(y: Tensor) -> Tensor:
    return torch.cat([y, torch.zeros_like(y[:, :1])], -1)


def _check_room(lower: Tensor, upper: Tensor, *, numbers: int) -> None:
    """``DensityError`` where fewer than ``numbers`` numbers of the draws' precision lie between the bounds."""
    last = lower
    for _ in range(numbers):
        last = _above(last)
    if (narrow := ~(last < upper)).any():
        at = tuple(narrow.nonzero()[0].tolist())
        raise DensityError(
            f"fewer than {numbers} numbers of {lower.dtype} lie between lower {float(lower[at]):.12g} and upper "
            f"{float(upper[at]):.12g}: take double precision, or move the origin"
        )


def _above(bound: Tensor) -> Tensor:
    """The next number above."""
    return torch.nextafter(bound.detach(), torch.full_like(bound, torch.inf))


def _below(bound: Tensor) -> Tensor:
    """The next number below."""
    return torch.nextafter(bound.detach(), torch.full_like(bound, -torch.inf))


def _strictly_between(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """``x`` with values that rounding made equal moved to the next numbers, up from the left, then down from the right.

    A gap below the spacing of the numbers around it is lost in the sum; the order must not be.
    """
    columns, floor = [], low
    for column in x.split(1, -1):
        columns.append(torch.maximum(column, _above(floor)))
        floor = columns[-1]
    ceiling = high
    for at in reversed(range(len(columns))):
        columns[at] = torch.minimum(columns[at], _below(ceiling))
        ceiling = columns[at]
    return torch.cat(columns, -1)
