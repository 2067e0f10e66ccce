"""Scenarios with their delays and weights at one frequency, resampled as whole scenarios."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scenariogen.evaluation.answer import Weights
from scenariogen.report.costs import level_of
from scenariogen.scenarios.records import ScenarioBatch

SEED = 4711
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Cases:
    """What is averaged, one row per scenario.

    ``terms``    what the values are the sum of: a policy's delays with sign 1 and, in a difference, the baseline's with
                 −1; each (batch, column), nan where not known
    ``weights``  None: scenarios made by hand, which count the same
    """

    batch: ScenarioBatch
    terms: Sequence[tuple[float, Array]] = field(repr=False)
    weights: Weights | None = field(repr=False)

    @cached_property
    def values(self) -> Array:
        """(batch, column) the sum of the terms."""
        return np.sum([sign * delays for sign, delays in self.terms], axis=0)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """(batch,) rows whose values are all known."""
        return np.asarray(np.isfinite(self.values).all(axis=1))

    @cached_property
    def is_free(self) -> NDArray[np.bool_]:
        """(batch,) rows without incident."""
        return np.array([scenario.is_incident_free for scenario in self.batch.scenarios])

    @cached_property
    def scales(self) -> Array:
        """(batch,) factors on the demand."""
        return np.array([scenario.condition.demand_scale for scenario in self.batch.scenarios])

    @property
    def has_levels(self) -> bool:
        """True where an incident-free run tells what there is without incidents."""
        return bool((self.known & self.is_free).any())

    def strata(self) -> list[tuple[float, NDArray[np.intp], Array, Array]]:
        """Probability, rows, weights and controls (row, control) of each stratum that has rows and a probability."""
        if self.weights is None:
            rows = np.flatnonzero(self.known)
            return [(1.0, rows, np.ones(len(rows)), np.zeros((len(rows), 0)))] if len(rows) else []
        found = []
        w, free = np.exp(self.weights.log_w), float(self.weights.probability_free)
        controls = np.asarray(self.weights.controls, dtype=np.float64)
        for probability, inside in ((free, self.is_free), (1 - free, ~self.is_free)):
            rows = np.flatnonzero(self.known & inside)
            if probability > 0 and len(rows):
                found.append((probability, rows, w[rows], controls[rows]))
        return found

    def resampled(self, replicates: int) -> Iterator[tuple[Array, Array]]:
        """The data, then ``replicates`` resamples of it, each stratum on its own.

        Each as (batch,) calibrated weights, which sum to 1, and (batch,) how often each scenario is in it.
        """
        strata = self.strata()
        generator = np.random.default_rng(SEED)
        for number in range(replicates + 1):
            weights, counts = np.zeros((2, len(self.batch)))
            for probability, rows, w, controls in strata:
                n = len(rows)
                drawn = np.bincount(generator.integers(n, size=n), minlength=n) if number else np.ones(n)
                counts[rows] = drawn
                weights[rows] = probability * calibrated(drawn * w, controls, draws=n)
            yield weights, counts

    def level(self, counts: Array) -> Array:
        """(batch, column) what each row would cost without incidents, by the free rows of one resample (batch,).

        Columns share the level of their sum as they share the mean of those rows, so that they add up to it.
        """
        rows = np.flatnonzero(self.known & self.is_free)
        if not len(rows):
            return np.zeros_like(self.values)
        often = counts[rows].astype(int)
        picked = np.repeat(rows, often) if often.any() else rows
        found = np.zeros_like(self.values)
        for sign, delays in self.terms:
            parts = delays[picked].mean(axis=0)
            share = parts / parts.sum() if parts.sum() else np.full(len(parts), 1 / len(parts))
            found += sign * level_of(self.scales[picked], delays[picked].sum(axis=1))(self.scales)[:, None] * share
        return found


def calibrated(w: Array, controls: Array, *, draws: int) -> Array:
    """(row,) weights that sum to 1 and give the controls (row, control) the mean 0 that they have under the target.

    The weights nearest to ``w / Σ w`` in the chi-square sense (Deville & Särndal, *Calibration estimators in survey
    sampling*, 1992): w (1 + λ · g), so that every mean is corrected by the controls as by a regression, and sums of
    parts stay sums. One control for every 10 ``draws`` is used at most; weights may come out slightly negative.
    """
    base = w / max(float(w.sum()), 1e-300)
    x = controls[:, : draws // 10]
    if not x.shape[1]:
        return base
    centred = x - base @ x
    gram = (base[:, None] * centred).T @ centred + 1e-9 * np.eye(x.shape[1])
    return base * (1 - centred @ np.linalg.solve(gram, base @ x))


def normalised(batch: ScenarioBatch, weights: Weights | None) -> Array:
    """(batch,) self-normalised weights of all scenarios, which sum to 1."""
    cases = Cases(batch=batch, terms=[(1.0, np.zeros((len(batch), 1)))], weights=weights)
    found = np.zeros(len(batch))
    for probability, rows, w, _ in cases.strata():
        found[rows] = probability * w / w.sum()
    return found
