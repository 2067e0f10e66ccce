"""The density of an event log's rows: four choices in a row, then how long, given all of them.

    p(k₁, k₂, k₃, k₄, t) = p(k₁) p(k₂ | k₁) p(k₃ | k₁, k₂) p(k₄ | k₁, k₂, k₃) · f(y(t) | k₁ … k₄) y′(t),

k₁ the kind, k₂ the direction, k₃ the weekday, k₄ the hour and t the duration in seconds.

The choices are a categorical chain, f is a one-dimensional spline on a half-line whose parameters a perceptron gives
from the choices, and y(t) = log(t + 2 j) with j the jitter of the rows (:mod:`.log_rows`): logarithmic for durations
well above the jitter, nearly linear below it, where the log says no more than "short". t ≥ −j in seconds.

The log-density is that of the model itself, with respect to counting on the choices × Lebesgue measure in seconds. A
probability of duration given the choices, and draws under a range, are analytic (:mod:`scenariogen.sampling.spline`).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from scenariogen.errors import DensityError
from scenariogen.model.log_rows import CODES, DURATION_S, LogRows
from scenariogen.sampling.categorical import CategoricalChain, ChainDistribution
from scenariogen.sampling.contract import (
    COUNTING,
    LEBESGUE,
    ConditionalDensity,
    Distribution,
    check_context,
    product_measure,
)
from scenariogen.sampling.spline import ConditionalSpline, SplineDistribution
from scenariogen.sampling.supports import HalfLine

FREQUENCY_PRIOR = 0.5
"""Rows of every option of a choice that are added to the counts a fit starts from (Jeffreys' prior)."""
SMALLEST_SCALE = 0.05
"""Of the base density in log-seconds, where all durations are nearly alike."""


class LogDistribution(Distribution):
    """Rows of the log, (batch, 5); four columns of noise for the choices, one for the duration."""

    noise_columns = 5

    def __init__(self, density: "LogDensity", context: Float[Tensor, "batch 0"]) -> None:
        self.density = density
        self.choices: ChainDistribution = density.choices(context)

    def sample(self, noise: Float[Tensor, "batch 5"]) -> Float[Tensor, "batch 5"]:
        return self.sample_and_log_prob(noise)[0]

    def sample_and_log_prob(
        self, noise: Float[Tensor, "batch 5"]
    ) -> tuple[Float[Tensor, "batch 5"], Float[Tensor, " batch"]]:
        chosen, log_share = self.choices.sample_and_log_prob(noise[:, CODES])
        y = self.density.log_duration(chosen)
        place = y.icdf(noise[:, DURATION_S, None])
        duration_s = torch.exp(place) - self.density.shift_s
        x = torch.cat([chosen, duration_s.clamp_min(-self.density.jitter_s)], dim=1)
        return x, log_share + y.log_prob(place) - place[:, 0]

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        if x.dim() != 2 or x.shape[1] != DURATION_S + 1:
            raise DensityError(f"got rows of shape {tuple(x.shape)}, expected (batch, {DURATION_S + 1})")
        codes, possible = self.density.choices.indices(x[:, CODES])
        duration_s = x[:, DURATION_S]
        possible = possible & (duration_s >= -self.density.jitter_s) & torch.isfinite(duration_s)
        inside = torch.where(possible, duration_s, 0.0)
        place = torch.log(inside + self.density.shift_s)[:, None]
        kept = codes.to(x.dtype)
        # Rounding of the logarithm must not carry the shortest duration out of the support.
        start = self.density.log_start
        found = self.density.log_duration(kept).log_prob(place.clamp_min(start)) - place[:, 0]
        return torch.where(possible, self.choices.log_prob(kept) + found, -torch.inf)


class LogDensity(ConditionalDensity):
    """The density of rows with ``options`` kinds, directions, weekdays and hours, unconditional.

    ``options``   how many of each
    ``jitter_s``  half the width over which the rows' durations are spread
    ``scale``     mean of log(t + 2 j) − log(j) that the duration starts from before anything is learned
    ``bins``      of the duration's spline
    ``hidden``    width of the perceptrons

    ``DensityError`` where a number is out of range.
    """

    dim = 5

    def __init__(
        self,
        options: tuple[int, int, int, int],
        *,
        jitter_s: float,
        scale: float,
        bins: int = 24,
        hidden: int = 32,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if not (jitter_s > 0 and math.isfinite(jitter_s)):
            raise DensityError(f"got a jitter of {jitter_s} s, expected a positive number")
        self.context_width, self.jitter_s, self.shift_s = 0, float(jitter_s), 2.0 * jitter_s
        self.measure = product_measure([COUNTING, LEBESGUE], [len(options), 1])
        self.log_start = math.log(self.shift_s - self.jitter_s)
        self.options = tuple(options)
        self.choices = CategoricalChain(options, hidden=hidden, largest_table=math.prod(options), dtype=dtype)
        support = HalfLine(self.log_start, scale)
        self.duration = ConditionalSpline(sum(options), support=support, bins=bins, hidden=hidden, dtype=dtype)

    def forward(self, context: Float[Tensor, "batch 0"]) -> LogDistribution:
        """The density for contexts of shape (batch, 0)."""
        check_context(context, 0)
        return LogDistribution(self, context)

    def log_duration(self, codes: Float[Tensor, "batch 4"]) -> SplineDistribution:
        """The distribution of log(t + 2 j) given the choices (batch, 4); t and j in seconds."""
        chosen = codes.to(torch.int64)
        parts = [one_hot(chosen[:, at], count).to(codes.dtype) for at, count in enumerate(self.options)]
        return self.duration(torch.cat(parts, dim=1))

    def log_longer(self, codes: Float[Tensor, "batch 4"], duration_s: float) -> Float[Tensor, " batch"]:
        """log P(T ≥ ``duration_s`` | choices), (batch,), with all its digits also far in the tail."""
        low = math.log(max(duration_s, -self.jitter_s) + self.shift_s)
        return self.log_duration(codes).log_probability(low, math.inf)


def log_density_for(rows: LogRows, *, bins: int, hidden: int) -> LogDensity:
    """A density for such rows before anything is learned of how columns depend on each other.

    Each choice has its own frequencies, with :data:`FREQUENCY_PRIOR` of a row added to every option; durations are
    exponential in y.
    """
    y = torch.log(rows.duration_s + 2 * rows.jitter_s) - math.log(rows.jitter_s)
    scale = max(float(y.mean()), SMALLEST_SCALE)
    density = LogDensity(rows.options, jitter_s=rows.jitter_s, scale=scale, bins=bins, hidden=hidden)
    with torch.no_grad():
        for at, (head, count) in enumerate(zip(density.choices.heads, rows.options, strict=True)):
            shares = torch.bincount(rows.codes[:, at], minlength=count).to(torch.float64) + FREQUENCY_PRIOR
            list(head.parameters())[-1].copy_(torch.log(shares / shares.sum()))  # constants, or the last layer's
    return density
