"""What the comparisons of two samples share: tables that are checked, and results that carry their reliability."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from scenariogen.errors import DensityError, Problems

Table: TypeAlias = NDArray[np.float64]
"""Rows of numbers, (row, column)."""
Sample: TypeAlias = Tensor | ArrayLike
"""What a comparison takes: a tensor or an array (row,) or (row, column)."""


@dataclass(frozen=True, kw_only=True)
class Null:
    """The distribution of a statistic where nothing differs, from repeats on data at hand.

    ``observed``          what to hold against it: the statistic at the null's own sample sizes
    ``mean``, ``spread``  of the repeats
    ``upper``             the value that a share of 0.95 of them stays below
    ``p_value``           the share that reaches what was observed, (1 + how many) / (1 + repeats)
    ``repeats``           how many
    ``method``            how they were made
    """

    observed: float
    mean: float
    spread: float
    upper: float
    p_value: float
    repeats: int
    method: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A number with its reliability.

    ``name``            what was measured, with its unit
    ``value``           the estimate
    ``standard_error``  of it
    ``interval``        that covers the truth with probability ``level``, under ``assumes``
    ``n_reference``     rows of the first sample that entered
    ``n_sample``        rows of the second
    ``null``            what the value would be if nothing differed, None where it was not asked for
    ``assumes``         what the numbers rest on: binning, bandwidth, scaling, sample size
    """

    name: str
    value: float
    standard_error: float
    interval: tuple[float, float]
    level: float
    n_reference: int
    n_sample: int
    null: Null | None = None
    assumes: str = ""

    def __str__(self) -> str:
        low, high = self.interval
        against, null = "", self.null
        if null is not None:
            against = f", {null.observed:.4g} against {null.mean:.4g} if nothing differs (p = {null.p_value:.3g})"
        return f"{self.name} {self.value:.4g} ± {self.standard_error:.2g} [{low:.4g}, {high:.4g}]{against}"


def null_of(repeats: NDArray[np.float64], observed: float, *, method: str, room: float = 0.0) -> Null:
    """The null of a statistic that is large where something differs.

    Values that differ by less than ``room`` are equal but for rounding. ``DensityError`` where one is not finite, and
    for fewer than 2 repeats.
    """
    if len(repeats) < 2:
        raise DensityError(f"got {len(repeats)} repeats, expected at least 2")
    if not (math.isfinite(observed) and np.isfinite(repeats).all()):
        wrong = int((~np.isfinite(repeats)).sum())
        raise DensityError(
            f"the statistic is {observed}, and nan or infinite in {wrong} of {len(repeats)} repeats of its null: "
            "expected finite numbers"
        )
    return Null(
        observed=observed,
        mean=float(repeats.mean()),
        spread=float(repeats.std(ddof=1)),
        upper=float(np.quantile(repeats, 0.95)),
        p_value=float((1 + (repeats >= observed - room).sum()) / (1 + len(repeats))),
        repeats=len(repeats),
        method=method,
    )


def tables(samples: Sequence[tuple[str, Sample]], *, at_least: int, columns: int | None = None) -> list[Table]:
    """The samples as float64 tables of one width.

    ``DensityError`` lists every fault: too few rows, nan or infinite numbers by column, other widths, other shapes.
    """
    problems, out = Problems("samples that cannot be compared"), []
    for name, each in samples:
        values = np.asarray(each.detach().cpu() if isinstance(each, Tensor) else each)
        if values.dtype.kind not in "fiub":
            problems.add(f"{name} holds {values.dtype}, expected numbers: encode categories as whole numbers")
            continue
        values = values.astype(np.float64)
        if values.ndim == 1:
            values = values[:, None]
        if values.ndim != 2 or not values.shape[1]:
            problems.add(f"{name} has shape {values.shape}, expected (row, column) or (row,)")
            continue
        out.append(values)
        if len(values) < at_least:
            problems.add(f"{name} has {len(values)} rows, expected at least {at_least}")
        for column, wrong in enumerate((~np.isfinite(values)).sum(0)):
            if wrong:
                problems.add(f"{name}, column {column}: {wrong} of {len(values)} values are nan or infinite")
    widths = sorted({values.shape[1] for values in out})
    if len(widths) > 1:
        problems.add(f"the samples have {' and '.join(map(str, widths))} columns, expected as many in each")
    elif columns is not None and widths and widths[0] != columns:
        problems.add(f"the samples have {widths[0]} columns, expected {columns}")
    problems.raise_as(DensityError)
    return out


def standardised(first: Table, *others: Table) -> list[Table]:
    """All in units of the first one's standard deviations, around its means; a column that is constant is centred."""
    mean, spread = first.mean(0), first.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    return [(each - mean) / spread for each in (first, *others)]


def wrong_settings(*, level: float, least: Sequence[tuple[str, int, int]]) -> list[str]:
    """What is wrong with a level outside (0, 1), and with each (name, value, least value) that is too small."""
    found = [] if 0 < level < 1 else [f"level is {level}, expected a number between 0 and 1"]
    return found + [f"{name} is {value}, expected at least {lowest}" for name, value, lowest in least if value < lowest]


def check_settings(*, level: float, least: Sequence[tuple[str, int, int]]) -> None:
    """``DensityError`` that lists all that :func:`wrong_settings` finds."""
    problems = Problems("settings of a comparison")
    problems.extend(wrong_settings(level=level, least=least))
    problems.raise_as(DensityError)


def check_share(name: str, value: float) -> None:
    """``DensityError`` unless 0 < value < 1."""
    if not 0 < value < 1:
        raise DensityError(f"{name} is {value}, expected a number between 0 and 1")
