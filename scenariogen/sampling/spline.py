"""One-dimensional conditional densities with an analytic CDF.

On [0, 1] the CDF F is a monotone rational-quadratic spline through knots (x_k, y_k) with slopes d_k, 1 at both ends
(Gregory & Delbourgo, *Piecewise rational quadratic interpolation to monotonic data*, 1982; Durkan, Bekasov, Murray &
Papamakarios, *Neural spline flows*, 2019). With z ∈ [0, 1] the place in the bin, s its mean slope and
D(z) = s + (d₀ + d₁ − 2s) z (1 − z),

    F = y₀ + h (s z² + d₀ z (1 − z)) / D,     F′ = s² (d₁ z² + 2 s z (1 − z) + d₀ (1 − z)²) / D²,
    F(z₁) − F(z₀) = h s (z₁ − z₀) (d₀ z̄₀ z̄₁ + s (z₀ z̄₁ + z̄₀ z₁) + d₁ z₀ z₁) / (D(z₀) D(z₁)),   z̄ = 1 − z, h height.

Other supports are carried to [0, 1] by the CDF of a fixed base distribution (:mod:`.supports`): u = B(x),
p(x) = F′(u) B′(x).

F and its inverse are in closed form, so draws under a range or a tail are draws of F⁻¹ on [F(low), F(high)], never
rejection. Points are carried as u and as 1 − u, and the probability of a range is a sum of positive terms, one per bin,
so that a tail of 1e-12 has as many correct digits as the middle, at either end.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from scenariogen.errors import DensityError
from scenariogen.sampling.contract import ConditionalDensity, Distribution, check_context, in_blocks, mlp
from scenariogen.sampling.ranges import Bound, PointMass, check_possible, ends, only_column, row_values
from scenariogen.sampling.supports import Interval, Support, Unit

SLOPE = 1e-3
"""Knots' logits are squeezed so that no slope falls below this or rises above its inverse."""


class UnitSpline:
    """Densities on [0, 1], elementwise: ``parameters`` has shape (..., 3·bins − 1), points have shape (...)."""

    def __init__(self, parameters: Tensor, bins: int) -> None:
        widths, heights, slopes = parameters.split([bins, bins, bins - 1], dim=-1)
        limit = -math.log(SLOPE)
        self.widths = torch.softmax(widths / (1 + (2 * widths / limit).abs()), dim=-1)
        self.heights = torch.softmax(heights / (1 + (2 * heights / limit).abs()), dim=-1)
        self.slopes = torch.exp(pad(slopes / (1 + (slopes / limit).abs()), (1, 1)))
        self.left, self.right = _distances(self.widths)
        self.under, self.over = _distances(self.heights)

    def cdf(self, x: Tensor) -> Tensor:
        """P(X ≤ x), 0 below and 1 above the interval."""
        inside = x.clamp(0.0, 1.0)
        return self.unit_cdf(Unit(inside, 1 - inside)).below

    def icdf(self, p: Tensor) -> Tensor:
        """The quantile function, the inverse of :meth:`cdf`."""
        return self.unit_icdf(Unit(p, 1 - p)).below

    def sample(self, noise: Tensor) -> Tensor:
        """F⁻¹(noise)."""
        return self.icdf(noise)

    def sample_between(self, noise: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Draws given low ≤ X ≤ high, by the inverse CDF of the truncated density."""
        p_low, p_high = self.cdf(low), self.cdf(high)
        drawn = self.icdf(p_low + noise * (p_high - p_low))
        return torch.minimum(torch.maximum(drawn, low), high)

    def log_prob(self, x: Tensor) -> Tensor:
        """log F′(x); −inf outside [0, 1]."""
        inside = (x >= 0) & (x <= 1)
        place = torch.where(inside, x, 0.5)
        return torch.where(inside, self.log_slope(Unit(place, 1 - place)), -torch.inf)

    def unit_cdf(self, u: Unit) -> Unit:
        """F(u) and 1 − F(u), both to full relative precision."""
        width, height, under, over, d0, d1, z, rest = self._bin(u, self.widths, self.left, self.right)
        s = height / width
        D = s + (d0 + d1 - 2 * s) * z * rest
        first, last = (s * z**2 + d0 * z * rest) / D, (s * rest**2 + d1 * z * rest) / D
        return Unit((under + height * first).clamp(0.0, 1.0), (over + height * last).clamp(0.0, 1.0))

    def unit_icdf(self, p: Unit) -> Unit:
        """F⁻¹(p) and 1 − F⁻¹(p)."""
        height, width, left, right, d0, d1, t, rest = self._bin(p, self.heights, self.under, self.over)
        s = height / width
        e = d0 + d1 - 2 * s
        z, last = (
            2 * s * share / (d - share * e + torch.sqrt((d - share * e) ** 2 + 4 * s * share * (s - d + share * e)))
            for share, d in ((t, d0), (rest, d1))
        )
        return Unit((left + width * z).clamp(0.0, 1.0), (right + width * last).clamp(0.0, 1.0))

    def log_slope(self, u: Unit) -> Tensor:
        """log F′(u)."""
        width, height, _, _, d0, d1, z, rest = self._bin(u, self.widths, self.left, self.right)
        s = height / width
        D = s + (d0 + d1 - 2 * s) * z * rest
        return 2 * torch.log(s / D) + torch.log(d0 * rest**2 + 2 * s * z * rest + d1 * z**2)

    def log_between(self, low: Unit, high: Unit) -> Tensor:
        """log P(low ≤ U ≤ high) to full relative precision; −inf where it is 0."""
        w, left, right = self.widths, self.left, self.right
        z0, z1 = (((u.below[..., None] - left) / w).clamp(0.0, 1.0) for u in (low, high))
        rest0, rest1 = (((u.above[..., None] - right) / w).clamp(0.0, 1.0) for u in (low, high))
        # The part of the range inside each bin, measured from the nearer end of [0, 1].
        step_up = torch.minimum(high.below[..., None], left + w) - torch.maximum(low.below[..., None], left)
        step_down = torch.minimum(low.above[..., None], right + w) - torch.maximum(high.above[..., None], right)
        step = torch.where((high.below <= low.above)[..., None], step_up, step_down).clamp_min(0.0) / w
        s, d0, d1 = self.heights / w, self.slopes[..., :-1], self.slopes[..., 1:]
        e = d0 + d1 - 2 * s
        slope = d0 * rest0 * rest1 + s * (z0 * rest1 + rest0 * z1) + d1 * z0 * z1
        terms = self.heights * s * step * slope / ((s + e * z0 * rest0) * (s + e * z1 * rest1))
        return torch.log(terms.sum(-1))

    def _bin(self, u: Unit, sizes: Tensor, before: Tensor, after: Tensor) -> tuple[Tensor, ...]:
        """The bin that ``u`` falls into, bins having ``sizes`` along u's axis, and u's place in it from both ends.

        Returns the bin's size along u's axis and along the other, its distances from both ends of the other axis, the
        slopes at its ends, and u's place in it from below and from above.
        """
        by_width = sizes is self.widths
        k = (before[..., 1:] <= u.below[..., None]).sum(-1, keepdim=True)
        shape = k.shape[:-1]

        def pick(values: Tensor, at: Tensor = k) -> Tensor:
            return values.expand(*shape, values.shape[-1]).gather(-1, at).squeeze(-1)

        own = pick(sizes)
        other = pick(self.heights if by_width else self.widths)
        starts = (self.under, self.over) if by_width else (self.left, self.right)
        place = ((u.below - pick(before)) / own).clamp(0.0, 1.0)
        rest = ((u.above - pick(after)) / own).clamp(0.0, 1.0)
        return own, other, pick(starts[0]), pick(starts[1]), pick(self.slopes), pick(self.slopes, k + 1), place, rest


class ConditionalUnitSpline(nn.Module):
    """A :class:`UnitSpline` whose parameters a small perceptron gives; at the start it is uniform.

    A part for densities of several numbers, on shape (batch,). As a density of its own: :class:`ConditionalSpline`.
    """

    def __init__(self, context: int, *, bins: int = 8, hidden: int = 32) -> None:
        super().__init__()
        self.bins = bins
        self.network = mlp(context, 3 * bins - 1, hidden=hidden)

    def forward(self, context: Tensor) -> UnitSpline:
        """The density for contexts of shape (batch, context)."""
        return UnitSpline(self.network(context), self.bins)

    def in_blocks(self, context: Tensor) -> UnitSpline:
        """As :meth:`forward`, each row to the last bit the same in a request of any size."""
        return UnitSpline(in_blocks(self.network, context), self.bins)


class SplineDistribution(Distribution):
    """Densities of one number, one per row of ``parameters`` (batch, 3·bins − 1); draws have shape (batch, 1)."""

    def __init__(self, parameters: Float[Tensor, "batch parameter"], bins: int, support: Support) -> None:
        self.spline = UnitSpline(parameters, bins)
        self.support = support
        self.like = parameters[:, 0]

    def sample(self, noise: Float[Tensor, "batch 1"]) -> Float[Tensor, "batch 1"]:
        return self.icdf(noise)

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        x = only_column(x)
        inside = self.support.contains(x)
        place = torch.where(inside, x, self.support.point(Unit(*torch.full_like(x, 0.5).expand(2, -1))))
        out = self.spline.log_slope(self.support.unit(place)) + self.support.log_slope(place)
        return torch.where(inside, out, -torch.inf)

    def cdf(self, x: Float[Tensor, "batch 1"]) -> Float[Tensor, "batch 1"]:
        """P(X ≤ x), (batch, 1)."""
        return self.spline.unit_cdf(self.support.unit(x[:, 0])).below[:, None]

    def icdf(self, p: Float[Tensor, "batch 1"]) -> Float[Tensor, "batch 1"]:
        """The quantiles of ``p`` in (0, 1), (batch, 1)."""
        return self.support.point(self.spline.unit_icdf(Unit(p[:, 0], 1 - p[:, 0])))[:, None]

    def log_probability(self, low: Bound, high: Bound) -> Float[Tensor, " batch"]:
        """log P(low ≤ X ≤ high), (batch,), with full relative precision also in tails; −inf where it is 0.

        Ends may be infinite. ``DensityError`` where an end is nan or ``low`` lies above ``high``.
        """
        first, last = ends(low, high, self.like)
        return self.spline.log_between(self.support.unit(first), self.support.unit(last))

    def given(self, low: Bound, high: Bound) -> "TruncatedSpline":
        """The distribution given low ≤ X ≤ high.

        ``DensityError`` where that has probability 0, or one below the smallest normal number (2.2e-308, in single
        precision 1.2e-38).
        """
        return TruncatedSpline(self, *ends(low, high, self.like))

    def given_value(self, value: Bound) -> "PointMass":
        """The distribution given X = value; its ``log_condition`` is the density there. Error where that is 0."""
        at = row_values(value, self.like, "the value")
        return PointMass(at, self.log_prob(at[:, None]))


class TruncatedSpline(Distribution):
    """A :class:`SplineDistribution` given a range; ``log_condition`` (batch,) is the log-probability of the range.

    ``within``  first and last number that draws may be rounded to, where they are not the ends
    """

    def __init__(
        self, whole: SplineDistribution, low: Tensor, high: Tensor, *, within: tuple[Tensor, Tensor] | None = None
    ) -> None:
        self.whole, self.measure = whole, whole.measure
        self.low, self.high = within or (low, high)
        self._low, self._high = whole.support.unit(low), whole.support.unit(high)
        self.log_condition = whole.spline.log_between(self._low, self._high)
        check_possible(self.log_condition, "the range", least=torch.finfo(low.dtype).tiny)

    def sample(self, noise: Float[Tensor, "batch 1"]) -> Float[Tensor, "batch 1"]:
        v, mass = noise[:, 0], torch.exp(self.log_condition)
        spline = self.whole.spline
        p = Unit(
            spline.unit_cdf(self._low).below + v * mass,
            spline.unit_cdf(self._high).above + (1 - v) * mass,
        )
        x = self.whole.support.point(spline.unit_icdf(p))
        return torch.minimum(torch.maximum(x, self.low), self.high)[:, None]

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        place = only_column(x)
        inside = (place >= self.low) & (place <= self.high)
        return torch.where(inside, self.whole.log_prob(x) - self.log_condition, -torch.inf)


class ConditionalSpline(ConditionalDensity):
    """Density of one number given ``context_width`` numbers; at the start it is the base distribution of ``support``.

    ``support``  one of :mod:`.supports`, [0, 1] where none is named; its scale is fixed, the spline bends it
    ``bins``     of the spline, at least 2
    """

    def __init__(
        self,
        context_width: int = 0,
        *,
        support: Support | None = None,
        bins: int = 8,
        hidden: int = 32,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if bins < 2:
            raise DensityError(f"got a spline of {bins} bins, expected at least 2")
        self.dim, self.context_width, self.bins = 1, context_width, bins
        self.support: Support = Interval() if support is None else support
        self.network = head(context_width, 3 * bins - 1, hidden=hidden, dtype=dtype)

    def forward(self, context: Float[Tensor, "batch context"]) -> SplineDistribution:
        """The density for contexts of shape (batch, context)."""
        check_context(context, self.context_width)
        return SplineDistribution(self.network(context), self.bins, self.support)


class Constant(nn.Module):
    """The same ``outputs`` numbers for every row, learned: the head of an unconditional density. They start at 0."""

    def __init__(self, outputs: int, *, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.values = nn.Parameter(torch.zeros(outputs, dtype=dtype))

    def forward(self, context: Float[Tensor, "batch 0"]) -> Float[Tensor, "batch output"]:
        """(batch, output)."""
        return self.values.expand(len(context), -1)


def head(inputs: int, outputs: int, *, hidden: int = 32, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A perceptron from ``inputs`` numbers, or learned constants where there is none."""
    return mlp(inputs, outputs, hidden=hidden, dtype=dtype) if inputs else Constant(outputs, dtype=dtype)


def _distances(sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Of each bin: what lies before it and what lies after it, both exactly 0 at the ends."""
    before = pad(sizes.cumsum(-1)[..., :-1], (1, 0))
    after = pad(sizes.flip(-1).cumsum(-1)[..., :-1], (1, 0)).flip(-1)
    return before, after
