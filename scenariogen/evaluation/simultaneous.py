"""At which frequencies does the ranking flip? Confidence sets from bands that hold for the whole curve at once.

The difference of two policies' mean delays is estimated at every multiplier κ of a grid from the same runs,

    D(κ) = Σ_s A_s(κ) · mean of the terms of stratum s at κ            (:mod:`scenariogen.sampling.importance`).

A band D(κ) ± c⁻ e(κ), c⁺ e(κ) holds at all grid points and for all differences together: scenarios are resampled
within their strata, each resample keeps its scenarios for the whole curve, and c is the quantile of the largest
studentised deviation over the curve, upwards and downwards apart, (1 + level)/2 each (max-t; Romano & Wolf, *Exact and
approximate stepdown methods for multiple hypothesis testing*, 2005; a band for a curve by the same means: Montiel Olea
& Plagborg-Møller, *Simultaneous confidence bands*, 2019). As in a single interval (:mod:`.intervals`), the error
leaves room for one more draw like the farthest one.

Multipliers whose band holds zero form the set in which the ranking may flip: with the level's probability it holds
every multiplier of the grid at which the two are equal. It may be empty, in pieces, or reach an end of the range, and
then what lies beyond is not known. Between grid points the band is a straight line over log κ, which is no statement
of its own. Points that the gate refuses count as undecided.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scenariogen.errors import FrequencyError
from scenariogen.evaluation.frequency_spans import Span, crossings, spans
from scenariogen.evaluation.outcomes import Question
from scenariogen.evaluation.strata import Stages, Weights, parts_of, stratum_of
from scenariogen.sampling.importance import cluster_means
from scenariogen.sampling.intervals import BOOTSTRAP_SEED, REPLICATES
from scenariogen.sampling.simultaneous import resampled_together

LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Band:
    """A difference over the grid; ``low`` and ``high`` are infinite where the band says nothing."""

    value: NDArray[np.float64] = field(repr=False)
    low: NDArray[np.float64] = field(repr=False)
    high: NDArray[np.float64] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Flips:
    """Where two policies may change places, in multipliers of the model's frequency.

    ``frequencies``, ``value``, ``low``, ``high``  the difference (veh h, of ``policy`` less ``versus``) and its
                          simultaneous band, at each multiplier; None where it is refused or unbounded
    ``crossings``         where the estimate itself changes sign
    ``pieces``            spans in which the band holds zero
    ``better``, ``worse`` spans in which ``policy`` has surely the smaller, the larger mean delay
    ``refused``           multipliers of the grid at which the gate refuses the difference; they lie in ``pieces``
    ``level``             of the band, over all multipliers and all differences of one call together
    """

    policy: str
    versus: str
    frequencies: tuple[float, ...]
    value: tuple[float | None, ...] = field(repr=False)
    low: tuple[float | None, ...] = field(repr=False)
    high: tuple[float | None, ...] = field(repr=False)
    crossings: tuple[float, ...]
    pieces: tuple[Span, ...]
    better: tuple[Span, ...]
    worse: tuple[Span, ...]
    refused: tuple[float, ...] = ()
    level: float = LEVEL

    @property
    def is_empty(self) -> bool:
        """True where the ranking is beyond doubt at every multiplier."""
        return not self.pieces

    @property
    def reaches_low(self) -> bool:
        """True where the set reaches the lower end of the range, so that it may go on beyond."""
        return bool(self.pieces) and self.pieces[0][0] == self.frequencies[0]

    @property
    def reaches_high(self) -> bool:
        """True where the set reaches the upper end of the range."""
        return bool(self.pieces) and self.pieces[-1][1] == self.frequencies[-1]

    @property
    def shape(self) -> str:
        """``empty``, ``everywhere``, ``bounded`` or ``unbounded``; in more than one piece, ``… in 2 pieces``."""
        if self.is_empty:
            return "empty"
        if self.pieces == ((self.frequencies[0], self.frequencies[-1]),):
            return "everywhere"
        word = "unbounded" if self.reaches_low or self.reaches_high else "bounded"
        return word if len(self.pieces) == 1 else f"{word} in {len(self.pieces)} pieces"


def simultaneous_bands(
    columns: Sequence[NDArray[np.float64]],
    weights: Sequence[Weights],
    *,
    stages: Stages = None,
    level: float = LEVEL,
    left_out: Sequence[NDArray[np.bool_]] = (),
    replicates: int = REPLICATES,
    seed: int = BOOTSTRAP_SEED,
) -> list[Band]:
    """One band per column, all of which hold at once at every one of the weights with probability ``level``.

    ``columns``  (batch,) values of each curve, nan where not known
    ``weights``  one for each multiplier of the grid
    ``stages``   of an evaluation that grew, see :mod:`.strata`
    ``left_out`` for each column, the points of the grid at which its band need not hold, such as refused ones
    """
    found = [_resampled(values, weights, stages, replicates=replicates, seed=seed) for values in columns]
    alpha = (1 - level) / 2
    tops, bottoms = [], []
    for number, each in enumerate(found):
        usable = each.error > 0
        if left_out:
            usable &= ~left_out[number]
        varies = each.errors > _NO_VARIATION * each.error
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(varies, each.shifts / each.errors, np.copysign(np.inf, each.shifts))
        kept = np.where(usable, t, 0.0)
        tops.append(kept.max(axis=1))
        bottoms.append(kept.min(axis=1))
    upper = float(np.quantile(np.max(tops, axis=0), 1 - alpha, method="higher"))
    lower = float(np.quantile(np.min(bottoms, axis=0), alpha, method="lower"))
    bands = []
    for each in found:
        with np.errstate(invalid="ignore"):
            low = np.where(each.error > 0, each.value - upper * np.hypot(each.error, each.step_below), -np.inf)
            high = np.where(each.error > 0, each.value - lower * np.hypot(each.error, each.step_above), np.inf)
        bands.append(Band(value=each.value, low=low, high=high))
    return bands


_NO_VARIATION = 1e-6
"""A resample's error, as a share of the curve's own, at which it has none but rounding."""


@dataclass(frozen=True, kw_only=True)
class _Resampled:
    """A curve and its resamples: (grid,) and (replicate, grid)."""

    value: NDArray[np.float64]
    error: NDArray[np.float64]
    step_below: NDArray[np.float64]
    step_above: NDArray[np.float64]
    shifts: NDArray[np.float64]
    errors: NDArray[np.float64]


def _resampled(
    values: NDArray[np.float64], weights: Sequence[Weights], stages: Stages, *, replicates: int, seed: int
) -> _Resampled:
    """The curve of one column. All columns resample the same scenarios, since the counts depend on the rows alone."""
    grid = len(weights)
    value, variance, below, above = (np.zeros(grid) for _ in range(4))
    pieces: list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]] = []
    everything = np.ones(len(values), dtype=bool)
    is_known = np.isfinite(values)
    for parts in zip(*(parts_of(w, everything, stages=stages) for w in weights), strict=True):
        scale = np.array([part[0] for part in parts])
        if not (scale > 0).any():
            continue
        rows = parts[0][1]
        known = is_known[rows]
        n = int(known.sum())
        if n < 2:
            return _unknown(value, replicates)
        terms = np.zeros((len(known), grid))
        for column, (w, part) in enumerate(zip(weights, parts, strict=True)):
            terms[known, column] = stratum_of(w, values, (part[0], rows & is_known, *part[2:])).terms()
        mean = terms[known].mean(axis=0)
        centred = np.where(known[:, None], terms - mean, 0.0)
        value += scale * mean
        variance += scale**2 * (centred**2).sum(axis=0) / n / (n - 1)
        below = np.maximum(below, -scale * centred.min(axis=0) / n)
        above = np.maximum(above, scale * centred.max(axis=0) / n)
        pieces.append((centred, scale, known))
    centred, scales, known = zip(*pieces, strict=True)
    shifts, variances = resampled_together(centred, scales, known=known, replicates=replicates, seed=seed)
    return _Resampled(
        value=value,
        error=np.sqrt(variance),
        step_below=below,
        step_above=above,
        shifts=shifts,
        errors=np.sqrt(variances),
    )


def _unknown(value: NDArray[np.float64], replicates: int) -> _Resampled:
    nothing, nobody = np.zeros_like(value), np.zeros((replicates, len(value)))
    return _Resampled(
        value=np.full_like(value, np.nan), error=nothing, step_below=nothing, step_above=nothing,
        shifts=nobody, errors=nobody,
    )  # fmt: skip


def flip_sets(
    questions: Sequence[Question],
    weights: Sequence[Weights | FrequencyError],
    frequencies: Sequence[float],
    refused: Sequence[Sequence[bool]],
    *,
    stages: Stages = None,
    level: float = LEVEL,
) -> list[Flips]:
    """Where each difference may flip over an ascending grid of multipliers.

    ``questions``  differences of mean delay, each with a baseline
    ``stages``     of an evaluation that grew
    ``refused``    (question, frequency): the gate refuses the answer
    A troubled run widens the band to where it would lie if all such runs were as good, or as bad, as can be.
    """
    known = [not isinstance(w, FrequencyError) for w in weights]
    usable = [w for w in weights if not isinstance(w, FrequencyError)]
    if not questions or not usable:
        return []
    is_free = np.asarray(usable[0].is_free, dtype=bool)
    cases = [[cluster_means(question.paired) for question in questions]]
    if any(question.trouble.any() for question in questions):
        for worst in (False, True):
            cases.append([_completed(question, is_free, worst=worst) for question in questions])
    left_out = [np.array(each, dtype=bool)[known] for each in refused]
    bands = [simultaneous_bands(each, usable, stages=stages, level=level, left_out=left_out) for each in cases]
    found = []
    for number, question in enumerate(questions):
        low = np.full(len(weights), -np.inf)
        high = np.full(len(weights), np.inf)
        value = np.full(len(weights), np.nan)
        value[known] = bands[0][number].value
        low[known] = np.min([case[number].low for case in bands], axis=0)
        high[known] = np.max([case[number].high for case in bands], axis=0)
        out = np.array(refused[number]) | ~np.array(known) | ~np.isfinite(value)
        low[out], high[out], value[out] = -np.inf, np.inf, np.nan
        found.append(_flips(question, frequencies, value, low, high, out, level))
    return found


def _completed(question: Question, is_free: NDArray[np.bool_], *, worst: bool) -> NDArray[np.float64]:
    values, baseline = question.completed(is_free, worst=worst)
    return cluster_means(values if baseline is None else values - baseline)


def _flips(
    question: Question,
    frequencies: Sequence[float],
    value: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    out: NDArray[np.bool_],
    level: float,
) -> Flips:
    return Flips(
        policy=question.policy,
        versus=question.versus or "",
        frequencies=tuple(frequencies),
        value=_numbers(value),
        low=_numbers(low),
        high=_numbers(high),
        crossings=crossings(frequencies, value),
        pieces=spans(frequencies, (low <= 0) & (high >= 0), low, high),
        better=spans(frequencies, high < 0, high, high),
        worse=spans(frequencies, low > 0, low, low),
        refused=tuple(f for f, is_out in zip(frequencies, out, strict=True) if is_out),
        level=level,
    )


def _numbers(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(float(v) if math.isfinite(v) else None for v in values)
