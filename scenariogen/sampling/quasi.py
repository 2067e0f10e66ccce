"""Randomised quasi-Monte Carlo: noise that fills the cube evenly, with an error that can be measured.

Point i of Sobol's sequence has in column j the binary digits

    x_ij = shift_j ⊕ ⨁_{b : bit b of i ⊕ (i >> 1) is set} L_j v_jb,

v_jb Sobol's direction numbers (Joe & Kuo, *Constructing Sobol sequences with better two-dimensional projections*, 2008;
taken from scipy), L_j a random lower-triangular matrix of binary digits and shift_j random digits (Matoušek, *On the
L2-discrepancy for anchored boxes*, 1998). Every point is uniform in the cube, so that a mean over the points is
unbiased; the points together keep Sobol's balance, so that for smooth functions the error falls nearly as 1/n instead
of 1/√n. Points of one scramble are not independent: the error comes from independent scrambles (Owen, *Randomly
permuted (t,m,s)-nets and (t,s)-sequences*, 1995).

The balance holds for the points 0 … 2ᵐ − 1 and every later run of 2ᵐ that starts at a multiple of 2ᵐ.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scenariogen.errors import DensityError, Problems
from scenariogen.randomness import child_seed, uniform
from scenariogen.sampling.contract import balanced
from scenariogen.sampling.intervals import check_level

DIGITS = 52
"""Binary digits of a number; centred in its cell, so that 0 and 1 never occur."""
ROW_DIGITS = 30
"""Rows are numbered below 2³⁰: scipy's direction numbers have as many digits."""
MAX_COLUMNS = 21_201
"""Columns for which direction numbers are known."""
MIN_SCRAMBLES = 8
"""Fewer scrambles say too little about their spread."""


@balanced
def sobol(seed: int, rows: Int[Tensor, " batch"], columns: int) -> Float[Tensor, "batch columns"]:
    """Scrambled Sobol points number ``rows``, float64 in the open interval (0, 1), shape (batch, columns).

    A number depends on (seed, row, column) alone: more columns leave the earlier ones as they are, and rows may be
    asked for in any order. Another seed is an independent scramble of the same points, for a repeat of the whole: one
    draw's parts from two seeds are not even together (:func:`.points.columns_from`). Has the signature of
    :data:`scenariogen.sampling.contract.Noise`. ``DensityError`` for rows outside 0 … 2³⁰ − 1 or more than
    :data:`MAX_COLUMNS` columns.

    >>> sobol(1, torch.tensor([5]), 2).equal(sobol(1, torch.arange(8), 3)[5:6, :2])
    True
    """
    problems = Problems("Sobol points")
    if not 1 <= columns <= MAX_COLUMNS:
        problems.add(f"got {columns} columns, expected 1 to {MAX_COLUMNS}")
    least, most = (int(rows.min()), int(rows.max())) if len(rows) else (0, 0)
    if least < 0 or most >= 1 << ROW_DIGITS:
        problems.add(f"got rows {least} to {most}, expected 0 to {(1 << ROW_DIGITS) - 1}")
    problems.raise_as(DensityError)
    # Few different sizes, so that few are kept.
    digits = next(size for size in (12, 18, 24, ROW_DIGITS) if most < 1 << size)
    kept = min(max(8, 1 << (columns - 1).bit_length()), MAX_COLUMNS)
    directions, shift = (each[..., :columns].to(rows.device) for each in _scramble(seed, kept, digits))
    gray = rows ^ (rows >> 1)
    x = shift.expand(len(rows), columns)
    for digit in range(digits):
        x = x ^ (directions[digit] * ((gray >> digit) & 1)[:, None])
    return (x.to(torch.float64) + 0.5) * 2.0**-DIGITS


@lru_cache(maxsize=64)
def _scramble(seed: int, columns: int, digits: int) -> tuple[Tensor, Tensor]:
    """Scrambled direction numbers, int64 (digits, columns), and the shift, int64 (columns,)."""
    own = child_seed(seed, "sobol")
    # One row of random bits per column, so that a column's scramble does not depend on how many there are.
    bits = (uniform(own, torch.arange(columns), DIGITS * (ROW_DIGITS + 1)) < 0.5).to(torch.int64)
    bits = bits.reshape(columns, DIGITS, ROW_DIGITS + 1)
    shift, matrix = bits[:, :, 0], bits[:, :, 1:].tril(-1)
    matrix = matrix + torch.eye(DIGITS, ROW_DIGITS, dtype=torch.int64)
    plain = _digits(_directions(columns, digits))  # (digit, column, ROW_DIGITS)
    scrambled = torch.einsum("cij,bcj->bci", matrix, plain) % 2
    return _number(scrambled), _number(shift)


@lru_cache(maxsize=8)
def _directions(columns: int, digits: int) -> Tensor:
    """Sobol's direction numbers, int64 (digits, columns): points 2ᵇ − 1 and 2ᵇ of the sequence differ by number b."""
    from scipy.stats.qmc import Sobol

    engine = Sobol(columns, scramble=False, bits=ROW_DIGITS)
    found, before, position = [], engine.random(1), 1
    for digit in range(digits):
        first = (1 << digit) - 1
        if first >= position:
            engine.fast_forward(first - position)
            before, position = engine.random(1), first + 1
        after, position = engine.random(1), position + 1
        pair = [(torch.from_numpy(point[0]) * 2.0**ROW_DIGITS).to(torch.int64) for point in (before, after)]
        found.append(pair[0] ^ pair[1])
        before = after
    return torch.stack(found)


def _digits(numbers: Tensor) -> Tensor:
    """Binary digits of numbers below 2³⁰, the most significant first, in a last axis."""
    return (numbers[..., None] >> torch.arange(ROW_DIGITS - 1, -1, -1)) & 1


def _number(digits: Tensor) -> Tensor:
    """The number with these binary digits, the most significant first in the last axis."""
    return (digits << torch.arange(digits.shape[-1] - 1, -1, -1)).sum(-1)


@dataclass(frozen=True, kw_only=True)
class ScrambledMean:
    """A mean over independent scrambles, with its standard error and interval."""

    value: float
    standard_error: float
    low: float
    high: float
    scrambles: int


def rqmc_mean(mean_of: Callable[[int], float], *, seed: int, scrambles: int = 16, level: float = 0.95) -> ScrambledMean:
    """Mean of ``mean_of(scramble_seed)`` over independent scrambles, with Student's interval.

    ``mean_of`` gives the mean of its integrand over the points of one scramble, for example

        lambda s: float(f(draw(density, seed=s, n=4096, noise=sobol).x).mean())

    and may use weights p/q. Where it is unbiased over the scramble so is the mean. ``DensityError`` for fewer than
    :data:`MIN_SCRAMBLES` scrambles or a mean that is not finite.
    """
    from scipy.stats import t

    check_level(level)
    if scrambles < MIN_SCRAMBLES:
        raise DensityError(f"got {scrambles} scrambles, expected at least {MIN_SCRAMBLES} to tell their spread")
    means = [float(mean_of(child_seed(seed, "scramble", number))) for number in range(scrambles)]
    wrong = [number for number, mean in enumerate(means) if not math.isfinite(mean)]
    if wrong:
        raise DensityError(f"the mean over scramble {wrong[0]} is {means[wrong[0]]}, expected a finite number")
    value = math.fsum(means) / scrambles
    error = math.sqrt(math.fsum((mean - value) ** 2 for mean in means) / (scrambles - 1) / scrambles)
    reach = float(t.ppf(0.5 + level / 2, scrambles - 1)) * error
    return ScrambledMean(value=value, standard_error=error, low=value - reach, high=value + reach, scrambles=scrambles)
