"""Spans of a logarithmic axis on which a curve, or the limits of its band, lie on one side of zero."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Span = tuple[float, float]


def crossings(frequencies: Sequence[float], value: NDArray[np.float64]) -> tuple[float, ...]:
    """Multipliers at which a curve changes sign, straight over the logarithm between points; nan: not known.

    >>> [round(each, 3) for each in crossings([0.5, 1.0, 2.0, 4.0], np.array([-2.0, -1.0, 1.0, 3.0]))]
    [1.414]
    """
    known = [(f, v) for f, v in zip(frequencies, value, strict=True) if math.isfinite(v)]
    found = [_between(f, g, a, b) for (f, a), (g, b) in pairwise(known) if a * b < 0]
    return tuple(sorted([*found, *(f for f, v in known if v == 0)]))


def spans(
    frequencies: Sequence[float], inside: NDArray[np.bool_], low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[Span, ...]:
    """Maximal runs of a set of grid points, their ends moved to where ``low`` or ``high`` is zero between points.

    A jump from one sure side to the other between two neighbours, with no point of the set, is a piece as well: the
    set of undecided multipliers, whose ``low`` and ``high`` differ, then goes from one limit's zero to the other's.

    >>> flat = np.array([-3.0, -1.0, 1.0, 3.0])
    >>> [(piece,)] = [spans([1.0, 2.0, 4.0, 8.0], np.array([False, True, True, False]), flat - 1.5, flat + 1.5)]
    >>> [round(each, 3) for each in piece]
    [1.682, 4.757]
    """
    found: list[Span] = []
    begin: float | None = None
    for i, here in enumerate(inside):
        if here and begin is None:
            begin = frequencies[i] if i == 0 else _edge(frequencies, i - 1, low, high)
        if not here and begin is not None:
            found.append((begin, _edge(frequencies, i - 1, low, high)))
            begin = None
        if i and not here and not inside[i - 1] and low is not high and low[i] * low[i - 1] < 0:
            ends = sorted(_between(*frequencies[i - 1 : i + 1], *limit[i - 1 : i + 1]) for limit in (low, high))
            found.append((ends[0], ends[1]))
    if begin is not None:
        found.append((begin, frequencies[-1]))
    return tuple(found)


def _edge(frequencies: Sequence[float], i: int, low: NDArray[np.float64], high: NDArray[np.float64]) -> float:
    """Where one of the limits is zero between points ``i`` and ``i + 1``; where none is finite, the sure point."""
    for limit in (low, high):
        a, b = float(limit[i]), float(limit[i + 1])
        if a * b < 0 and math.isfinite(a) and math.isfinite(b):
            return _between(frequencies[i], frequencies[i + 1], a, b)
    return frequencies[i] if abs(low[i]) != math.inf and abs(high[i]) != math.inf else frequencies[i + 1]


def _between(f: float, g: float, a: float, b: float) -> float:
    """Zero of a straight line over the logarithm from (f, a) to (g, b) of different signs."""
    return math.exp(math.log(f) + (math.log(g) - math.log(f)) * a / (a - b))
