"""Scenario noise and simulator noise apart, and how many seeds per scenario the next runs should have.

With s² the variance between a scenario's m seeds, the part of an estimate's variance that comes from the simulator is
Σ_s A_s² / n_s² Σ_i w_i² s_i² / m_i; the rest comes from which scenarios were drawn. Where a scenario costs c₁ runs once
and each seed one run, a given cost buys the smallest variance with

    m = √(c₁ σ²_simulator / σ²_scenarios)

seeds per scenario (Cochran, *Sampling techniques*, 3rd edition, 1977, section 10.6). A scenario that costs nothing but
its runs is best tried with one seed, whatever the noise.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenariogen.evaluation.strata import Sample

MOST_SEEDS = 50


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Variance of an estimate by source.

    ``simulator``  of the estimate, from the simulator's seeds
    ``share``      the same as a share of the whole
    ``ratio``      σ²_simulator / σ²_scenarios of a single run; infinite where scenarios do not differ
    """

    simulator: float
    share: float
    ratio: float

    def best_seeds(self, scenario_cost: float = 0.0) -> int:
        """Seeds per scenario, where one costs ``scenario_cost`` runs before its first: 1 to :data:`MOST_SEEDS`."""
        if scenario_cost < 0 or not math.isfinite(scenario_cost):
            raise ValueError(f"a scenario costs {scenario_cost} runs, expected 0 or more")
        if scenario_cost == 0:
            return 1
        best = math.sqrt(scenario_cost * self.ratio)
        return int(min(max(round(min(best, MOST_SEEDS)), 1), MOST_SEEDS))


def noise_of(sample: Sample, standard_error: float) -> Noise | None:
    """Of a mean or probability; None where no scenario has two seeds."""
    simulator, own = 0.0, 0.0
    for number, stratum in enumerate(sample.strata):
        if stratum.probability <= 0 or not len(stratum):
            continue
        runs = sample.runs[number] if sample.less is None else sample.runs[number] - sample.less[number]
        inside, seeds = _within(runs)
        if inside is None:
            return None
        scale = stratum.probability**2 / len(stratum) ** 2
        simulator += scale * float((stratum.w**2 * inside / seeds).sum())
        own += scale * float((stratum.w**2 * inside).sum())
    if not math.isfinite(standard_error):
        return None
    simulator = min(simulator, standard_error**2)
    rest = standard_error**2 - simulator
    return Noise(
        simulator=simulator,
        share=simulator / standard_error**2 if standard_error > 0 else 0.0,
        ratio=own / rest if rest > 0 else math.inf,
    )


def _within(runs: NDArray[np.float64]) -> tuple[NDArray[np.float64] | None, NDArray[np.int64]]:
    """(batch,) variance between seeds, that of scenarios with one seed being the others' mean; (batch,) seeds."""
    seeds = np.isfinite(runs).sum(axis=1)
    several = seeds > 1
    if not several.any():
        return None, seeds
    variance = np.zeros(len(runs))
    variance[several] = np.nanvar(runs[several], axis=1, ddof=1)
    variance[~several] = variance[several].mean()
    return variance, np.maximum(seeds, 1)
