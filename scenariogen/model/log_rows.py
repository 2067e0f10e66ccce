"""Rows of an event log as numbers that a density can be fitted to: what happened, which way, when, how long it stood.

A row is (kind, direction, weekday, hour, duration in seconds), the first four as option numbers. Logs that are polled
or edited by hand repeat a few durations; each is therefore spread evenly over ± ``jitter_s`` (uniform dequantisation:
Uria, Murray & Larochelle, *RNADE: the real-valued neural autoregressive density-estimator*, 2013), and what is fitted
is the density of the spread durations. They reach down to −``jitter_s``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scenariogen.errors import DataError, Problems
from scenariogen.randomness import child_seed, uniform

WEEKDAYS, HOURS = 7, 24
KIND, DIRECTION, WEEKDAY, HOUR, DURATION_S = range(5)
"""Columns of a row."""
CODES = slice(KIND, DURATION_S)
"""The columns that hold option numbers."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LogRows:
    """Rows of an event log in the order of time.

    ``kinds``, ``directions``  the vocabularies
    ``codes``       option numbers (row, 4) of kind, direction, weekday (Monday 0) and hour (0 to 23)
    ``duration_s``  (row,), as recorded, at least 0
    ``jitter_s``    half the width over which a recorded duration is spread, above 0

    ``DataError`` lists everything that is wrong.
    """

    kinds: tuple[str, ...]
    directions: tuple[str, ...]
    codes: Int[Tensor, "row 4"]
    duration_s: Float[Tensor, " row"]
    jitter_s: float = 150.0

    def __post_init__(self) -> None:
        problems = Problems("rows of an event log")
        rows = len(self.duration_s)
        if not (self.jitter_s > 0 and math.isfinite(self.jitter_s)):
            problems.add(f"jitter_s is {self.jitter_s}, expected a positive number of seconds")
        for name, names in (("kinds", self.kinds), ("directions", self.directions)):
            if not names or len(set(names)) < len(names):
                problems.add(f"got the {name} {list(names)}, expected at least 1 name, each once")
        if tuple(self.codes.shape) != (rows, 4) or self.codes.dtype != torch.int64:
            problems.add(
                f"got codes of shape {tuple(self.codes.shape)} and {self.codes.dtype} for {rows} durations, expected "
                f"int64 of shape ({rows}, 4)"
            )
        else:
            named = zip(("kind", "direction", "weekday", "hour"), self.options, self.codes.T, strict=True)
            for name, count, column in named:
                if wrong := int(((column < 0) | (column >= count)).sum()):
                    problems.add(f"{wrong} rows have a {name} outside 0 to {count - 1}")
        if wrong := int((~(torch.isfinite(self.duration_s) & (self.duration_s >= 0))).sum()):
            problems.add(
                f"{wrong} rows have a duration that is negative, nan or infinite, expected seconds from 0 on: leave "
                "such rows out and say how many they were"
            )
        problems.raise_as(DataError)

    @property
    def options(self) -> tuple[int, int, int, int]:
        """How many options kind, direction, weekday and hour have."""
        return len(self.kinds), len(self.directions), WEEKDAYS, HOURS

    def __len__(self) -> int:
        return len(self.duration_s)

    def __repr__(self) -> str:
        return f"LogRows({len(self)} rows, {len(self.kinds)} kinds, {len(self.directions)} directions)"

    def part(self, start: int, stop: int) -> "LogRows":
        """Rows ``start`` to ``stop``, the last one not included."""
        return LogRows(
            kinds=self.kinds,
            directions=self.directions,
            codes=self.codes[start:stop],
            duration_s=self.duration_s[start:stop],
            jitter_s=self.jitter_s,
        )

    def spread(self, *, seed: int) -> Float[Tensor, "row 5"]:
        """The rows as points (row, 5), each duration spread over ± ``jitter_s`` by noise of the seed."""
        noise = uniform(child_seed(seed, "jitter"), torch.arange(len(self)), 1)[:, 0]
        spread = spread_durations(self.duration_s, noise, jitter_s=self.jitter_s)
        return torch.cat([self.codes.to(spread.dtype), spread[:, None]], dim=1)


def spread_durations(
    duration_s: Float[Tensor, " row"], noise: Float[Tensor, " row"], *, jitter_s: float
) -> Float[Tensor, " row"]:
    """Durations plus uniform noise of ± ``jitter_s``; ``noise`` lies in (0, 1)."""
    return duration_s + jitter_s * (2 * noise - 1)


def coded(values: Sequence[str], names: Sequence[str], *, column: str) -> Int[Tensor, " row"]:
    """Option numbers of ``values`` among ``names``; ``DataError`` that lists the values that are none of them."""
    place = {name: at for at, name in enumerate(names)}
    if unknown := sorted({value for value in values if value not in place}):
        raise DataError(
            f"{len(unknown)} values of {column} are not in its vocabulary {list(names)}: {unknown[:5]}; map them to "
            "one of these, or add a name"
        )
    return torch.tensor([place[value] for value in values], dtype=torch.int64)
