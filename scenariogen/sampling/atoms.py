"""A number that is often exactly one of a few values, and otherwise anywhere: atoms and a spline between them.

With masses w_0 for the continuous part and w_j for the atom at a_j, all given by the context,

    p(x) = w_j where x = a_j,    p(x) = w_0 f(x) elsewhere,

the density with respect to counting on the atoms plus Lebesgue measure. Since the spline's CDF is analytic, the
distribution given a range, a tail or an exact value is exact: closed or open ends decide whether an atom belongs to a
range, and an exact value has its mass where it is an atom, its density where it is not.
"""

import math
from collections.abc import Sequence
from enum import StrEnum

import torch
from jaxtyping import Float
from torch import Tensor

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling.contract import ConditionalDensity, Distribution, check_context
from scenariogen.sampling.discrete import draw_category
from scenariogen.sampling.ranges import Bound, PointMass, check_possible, ends, only_column, row_values
from scenariogen.sampling.spline import SplineDistribution, TruncatedSpline, head
from scenariogen.sampling.supports import Interval, Support


class Closed(StrEnum):
    """Which ends of a range belong to it."""

    BOTH = "both"
    LOW = "low"
    HIGH = "high"
    NEITHER = "neither"


class AtomicDistribution(Distribution):
    """Atoms at ``places`` (atom,) and a spline between: ``log_masses`` (batch, 1 + atom), the spline's part first.

    The first column of noise says which part a draw comes from, the second where in the continuous part.
    """

    noise_columns = 2

    def __init__(
        self,
        log_masses: Float[Tensor, "batch part"],
        places: Float[Tensor, " atom"],
        spline: SplineDistribution,
    ) -> None:
        self.log_masses, self.places, self.spline = log_masses, places, spline

    def sample(self, noise: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 1"]:
        return _draw(noise, self.log_masses, self.places, self.spline)

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        x = only_column(x)[:, None]
        masses = torch.where(x == self.places, self.log_masses[:, 1:], -torch.inf)
        between = self.log_masses[:, 0] + self.spline.log_prob(x)
        return torch.where((x == self.places).any(-1), masses.amax(-1), between)

    def cdf(self, x: Float[Tensor, "batch 1"]) -> Float[Tensor, "batch 1"]:
        """P(X ≤ x), (batch, 1); it jumps at the atoms."""
        masses = torch.exp(self.log_masses)
        atoms = torch.where(self.places <= x, masses[:, 1:], 0.0).sum(-1, keepdim=True)
        return masses[:, :1] * self.spline.cdf(x) + atoms

    def log_probability(self, low: Bound, high: Bound, *, closed: Closed = Closed.BOTH) -> Float[Tensor, " batch"]:
        """log P(X in the range), (batch,), −inf where it is 0; ends may be infinite."""
        return torch.logsumexp(self._parts(*ends(low, high, self.spline.like), closed), dim=-1)

    def given(self, low: Bound, high: Bound, *, closed: Closed = Closed.BOTH) -> "TruncatedAtomic":
        """The distribution given a range or a tail.

        ``DensityError`` where that has probability 0, or one below the smallest normal number (2.2e-308, in single
        precision 1.2e-38).
        """
        first, last = ends(low, high, self.spline.like)
        return TruncatedAtomic(self, first, last, self._parts(first, last, closed), closed)

    def given_value(self, value: Bound) -> PointMass:
        """The distribution given X = value; its ``log_condition`` is the atom's mass, or the density between atoms."""
        at = row_values(value, self.spline.like, "the value")
        return PointMass(at, self.log_prob(at[:, None]))

    def _parts(self, low: Tensor, high: Tensor, closed: Closed) -> Tensor:
        """Log-probability that X lies in the range and in each part, (batch, 1 + atom)."""
        inside = _in_range(self.places, low[:, None], high[:, None], closed)
        atoms = torch.where(inside, self.log_masses[:, 1:], -torch.inf)
        between = self.log_masses[:, 0] + self.spline.log_probability(low, high)
        return torch.cat([between[:, None], atoms], dim=-1)


class TruncatedAtomic(Distribution):
    """An :class:`AtomicDistribution` given a range; ``log_condition`` (batch,) is the range's log-probability."""

    noise_columns = 2

    def __init__(self, whole: AtomicDistribution, low: Tensor, high: Tensor, parts: Tensor, closed: Closed) -> None:
        self.whole, self.low, self.high, self.closed = whole, low, high, closed
        self.measure = whole.measure
        self.log_condition = torch.logsumexp(parts, dim=-1)
        least = torch.finfo(parts.dtype).tiny
        check_possible(self.log_condition, "the range", least=least)
        first = low if closed in (Closed.BOTH, Closed.LOW) else _next(low, math.inf)
        last = high if closed in (Closed.BOTH, Closed.HIGH) else _next(high, -math.inf)
        # A row whose range holds hardly more than atoms has no continuous part: any range will do, since none is drawn.
        empty = (torch.exp(whole.spline.log_probability(low, high)) < least) | (first > last)
        parts = torch.cat([torch.where(empty, -torch.inf, parts[:, 0])[:, None], parts[:, 1:]], dim=1)
        check_possible(torch.logsumexp(parts, dim=-1), "the range")
        self.log_masses = parts - self.log_condition[:, None]
        low, first = (torch.where(empty, -torch.inf, each) for each in (low, first))
        high, last = (torch.where(empty, torch.inf, each) for each in (high, last))
        self._between = TruncatedSpline(whole.spline, low, high, within=(first, last))

    def sample(self, noise: Float[Tensor, "batch 2"]) -> Float[Tensor, "batch 1"]:
        return _draw(noise, self.log_masses, self.whole.places, self._between)

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        inside = _in_range(only_column(x), self.low, self.high, self.closed)
        return torch.where(inside, self.whole.log_prob(x) - self.log_condition, -torch.inf)


class AtomicSpline(ConditionalDensity):
    """Density of one number with ``atoms``, given ``context_width`` numbers.

    ``atoms``    distinct places, inside the spline's support, at its ends or outside it
    ``support``  of the continuous part, [0, 1] where none is named
    ``bins``     of the spline, at least 2

    At the start all parts weigh the same and the continuous one is the base of its support. ``DensityError`` that
    lists what is wrong with the atoms.
    """

    places: Tensor

    def __init__(
        self,
        atoms: Sequence[float],
        context_width: int = 0,
        *,
        support: Support | None = None,
        bins: int = 8,
        hidden: int = 32,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        problems = Problems("atoms")
        if not atoms:
            problems.add("got no atom, expected at least 1: use ConditionalSpline for a density without")
        if wrong := [place for place in atoms if not math.isfinite(place)]:
            problems.add(f"got atoms at {wrong}, expected finite numbers")
        if len(set(atoms)) != len(atoms):
            problems.add(f"got atoms at {list(atoms)}, expected each once")
        if bins < 2:
            problems.add(f"got a spline of {bins} bins, expected at least 2")
        problems.raise_as(DensityError)
        self.dim, self.context_width, self.bins = 1, context_width, bins
        self.measure = f"Lebesgue + counting on {sorted(atoms)}"
        self.support: Support = Interval() if support is None else support
        self.network = head(context_width, 1 + len(atoms) + 3 * bins - 1, hidden=hidden, dtype=dtype)
        self.register_buffer("places", torch.tensor(list(atoms), dtype=dtype))

    def forward(self, context: Float[Tensor, "batch context"]) -> AtomicDistribution:
        """The density for contexts of shape (batch, context)."""
        check_context(context, self.context_width)
        logits, parameters = self.network(context).split([1 + len(self.places), 3 * self.bins - 1], dim=-1)
        spline = SplineDistribution(parameters, self.bins, self.support)
        return AtomicDistribution(torch.log_softmax(logits, dim=-1), self.places, spline)


def _draw(noise: Tensor, log_masses: Tensor, places: Tensor, between: SplineDistribution | TruncatedSpline) -> Tensor:
    part = draw_category(noise[:, 0], torch.exp(log_masses.detach()))
    continuous = _beside(between.sample(noise[:, 1:]), places, between)
    atom = places[(part - 1).clamp_min(0)][:, None]
    return torch.where(part[:, None] == 0, continuous, atom)


def _beside(x: Tensor, places: Tensor, between: SplineDistribution | TruncatedSpline) -> Tensor:
    """``x`` (batch, 1), moved to a neighbouring number where rounding put a continuous draw on an atom."""
    hit = (x == places).any(-1, keepdim=True)
    if not hit.any():
        return x
    up, down = _next(x, math.inf), _next(x, -math.inf)
    return torch.where(hit, torch.where(torch.isfinite(between.log_prob(up))[:, None], up, down), x)


def _next(x: Tensor, towards: float) -> Tensor:
    return torch.nextafter(x, torch.full_like(x, towards))


def _in_range(x: Tensor, low: Tensor, high: Tensor, closed: Closed) -> Tensor:
    above = x >= low if closed in (Closed.BOTH, Closed.LOW) else x > low
    below = x <= high if closed in (Closed.BOTH, Closed.HIGH) else x < high
    return above & below
