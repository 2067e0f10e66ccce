"""The whole-scenario mixture that a batch is drawn from: its multipliers, its shares, and its counts of incidents."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from scenariogen.errors import FrequencyError, Problems
from scenariogen.incidents.records import KINDS
from scenariogen.model.given import Quantifier
from scenariogen.model.scenario_model import ScenarioModel
from scenariogen.randomness import child_seed, uniform
from scenariogen.sampling.discrete import draw_poisson
from scenariogen.scenarios.records import Design
from scenariogen.scenarios.reweight import log_condition, log_ratio

LARGEST_RATIO = 3.5
"""Neighbouring multipliers of the mixture differ at most by this factor, so that weights between them stay small."""
SMALLEST_SHARE = 0.05
PILOT = 4096
"""Counts of incidents drawn to choose the mixture's shares; nothing is simulated for them."""


def frequency_grid(frequencies: Sequence[float]) -> tuple[float, ...]:
    """Multipliers of the mixture: both ends of the range, and between them geometric steps of at most 3.5.

    >>> frequency_grid([1.0]), len(frequency_grid([0.5, 5.0]))
    ((1.0,), 3)
    """
    problems = Problems("frequencies")
    for value in frequencies:
        if not (np.isfinite(value) and value > 0):
            problems.add(f"got the multiplier {value}, expected a positive number")
    if not frequencies:
        problems.add("got none, expected at least one multiplier such as 1")
    problems.raise_as(FrequencyError)
    low, high = min(frequencies), max(frequencies)
    steps = int(np.ceil(np.log(high / low) / np.log(LARGEST_RATIO) - 1e-9))
    if steps + 1 > 1 / SMALLEST_SHARE:
        raise FrequencyError(
            f"the range {low:g} to {high:g} needs {steps + 1} proposals, at most {round(1 / SMALLEST_SHARE)} can have "
            "a share of 5 % each: draw two batches"
        )
    if steps == 0:
        return (float(low),)
    return tuple(float(value) for value in np.geomspace(low, high, steps + 1))


def mixture_shares(
    model: ScenarioModel, design: Design, mode: Quantifier, count: int, expected_given: Tensor
) -> tuple[float, ...]:
    """Shares α_j of the mixture under which the smallest effective share of draws over the range of frequencies is
    largest.

    The effective share at κ is 1 / E_κ[p_κ / q]. It depends on counts alone, so it is estimated from a pilot of counts
    with equal shares; E_κ[p_κ / q] is convex in α, and its largest value is minimised over α_j ≥ 0.05. Low multipliers
    mostly draw a single incident each and stand in for one another; the shares go where that is not so.
    """
    equal = np.array(design.alphas)
    if len(equal) == 1:
        return design.alphas
    noise = uniform(child_seed(design.seed, "pilot"), torch.arange(PILOT), 5)
    component = (torch.arange(PILOT) % len(equal)).to(torch.int64)
    kappa = torch.tensor(design.multipliers, dtype=torch.float64)[component]
    scale, day = model.condition.draw(noise[:, 1:3])
    factor = (scale * day)[:, None]
    expected, inside = (factor * model.expected).numpy(), (factor * expected_given).numpy()
    mean_in = (factor * kappa * expected_given).sum(-1)
    mean_out = ((factor * kappa * model.expected).sum(-1) - mean_in).clamp_min(0.0)
    counts_in, counts_out = draw_counts(noise[:, 3], noise[:, 4], mean_in, mean_out, mode, count)
    drawn = (counts_in + counts_out).numpy()[:, None]
    share_of_kind = (model.expected / model.expected.sum()).numpy()  # the multiplier is common to all kinds

    def densities(rows: np.ndarray) -> np.ndarray:
        """p_κ(counts | c) / Z_κ(c) over p_1(counts | c), shape (pilot, frequency)."""
        logs = [
            log_ratio(row, drawn * share_of_kind, expected) - log_condition(design, row, expected, inside)
            for row in rows
        ]
        return np.exp(np.stack(logs, axis=1))

    parts = densities(np.array(design.multipliers))
    asked = sorted({*design.frequencies, *(row[0] for row in design.multipliers)})  # and what lies between them
    targets = densities(np.array([(value,) * len(KINDS) for value in asked]))
    over_pilot = targets / (parts @ equal)[:, None]

    def costs(alphas: np.ndarray) -> np.ndarray:
        return (over_pilot * targets / (parts @ alphas)[:, None]).mean(axis=0)

    found = minimize(
        lambda x: x[-1],
        np.append(equal, np.log(costs(equal).max())),
        method="SLSQP",
        bounds=[(SMALLEST_SHARE, 1.0)] * len(equal) + [(0.0, None)],
        constraints=[
            {"type": "eq", "fun": lambda x: x[:-1].sum() - 1.0},
            {"type": "ineq", "fun": lambda x: x[-1] - np.log(costs(x[:-1]))},
        ],
    )
    alphas = np.maximum(found.x[:-1], SMALLEST_SHARE)
    alphas = SMALLEST_SHARE + (alphas - SMALLEST_SHARE) * (1 - SMALLEST_SHARE * len(equal)) / max(
        (alphas - SMALLEST_SHARE).sum(), 1e-12
    )
    if not np.isfinite(alphas).all() or costs(alphas).max() >= costs(equal).max():
        return design.alphas  # equal shares are as good
    return tuple(float(each) for each in alphas)


def draw_counts(
    noise_in: Tensor, noise_out: Tensor, inside_mean: Tensor, outside_mean: Tensor, mode: Quantifier, count: int
) -> tuple[Tensor, Tensor]:
    """How many incidents fall into A and outside, as the quantifier says, each of shape (batch,)."""
    zero = torch.zeros_like(noise_in, dtype=torch.int64)
    if mode is Quantifier.ANY:
        return draw_poisson(noise_in, inside_mean, at_least_one=True), draw_poisson(noise_out, outside_mean)
    if mode is Quantifier.ALL:
        return draw_poisson(noise_in, inside_mean, at_least_one=True), zero
    if mode is Quantifier.NONE:
        return zero, draw_poisson(noise_out, outside_mean, at_least_one=True)
    if mode is Quantifier.COUNT:
        return zero + count, draw_poisson(noise_out, outside_mean)
    # One given incident, and the untouched process beside it (inside A and outside).
    return zero + 1, draw_poisson(noise_out, inside_mean + outside_mean)
