"""The rows of frequency multipliers by kind that a batch is drawn from, and their shares."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from scenariogen.errors import FrequencyError
from scenariogen.incidents.records import KINDS
from scenariogen.model.scenario_model import ScenarioModel
from scenariogen.randomness import child_seed, uniform
from scenariogen.sampling.frequency import SMALLEST_SHARE, best_shares, frequency_grid, log_frequency_ratio
from scenariogen.sampling.quantifier import Mode, Quantifier
from scenariogen.scenarios.records import Design
from scenariogen.scenarios.reweight import mixture_of

PILOT = 4096
"""Counts of incidents drawn to choose the mixture's shares; nothing is simulated for them."""


def frequency_rows(
    frequencies: Sequence[float], expected: Sequence[float], *, by_kind: bool = False
) -> tuple[tuple[float, ...], ...]:
    """Rows of multipliers: a grid over the range for all kinds together.

    ``expected``  incidents a day by kind; a kind without any has no rows of its own
    ``by_kind``   also both ends of the range for each kind alone, the others as near to 1 as the range allows

    Raises ``FrequencyError`` for a bad range, for one without two ends where each kind is asked for, and for so many
    rows that none could have its share.
    """
    grid = frequency_grid(frequencies)
    rows = [(value,) * len(KINDS) for value in grid]
    if not by_kind:
        return tuple(rows)
    low, high = grid[0], grid[-1]
    if low == high:
        raise FrequencyError(f"each kind's frequency alone needs a range, and the only one is {low:g}: name both ends")
    usual = min(max(1.0, low), high)
    ends = [(number, end) for number, many in enumerate(expected) if many > 0 for end in (low, high) if end != usual]
    rows += [tuple(end if other == number else usual for other in range(len(KINDS))) for number, end in ends]
    rows = list(dict.fromkeys(rows))
    if len(rows) * SMALLEST_SHARE > 1 + 1e-9:
        raise FrequencyError(
            f"the range {low:g} to {high:g} needs {len(rows)} proposals where each kind has its own ends, at most "
            f"{round(1 / SMALLEST_SHARE)} can have a share of 5 % each: draw two batches"
        )
    return tuple(rows)


def with_best_shares(model: ScenarioModel, design: Design, expected_given: Tensor) -> Design:
    """``design``, whose shares are equal, with those under which its worst effective share of draws is largest.

    The densities depend on counts alone, so they are known at a pilot of counts drawn with equal shares. Low
    multipliers mostly draw a single incident each and stand in for one another; the shares go where that is not so.
    """
    components = len(design.alphas)
    if components == 1:
        return design
    mixture = mixture_of(design)
    noise = uniform(child_seed(design.seed, "pilot"), torch.arange(PILOT), noise_columns(model))
    component = torch.arange(PILOT) % components
    kappa = torch.tensor(design.multipliers, dtype=torch.float64)[component]
    drawn_condition = model.condition.draw(condition_noise(noise))
    factor = (drawn_condition.scale * drawn_condition.day)[:, None]
    inside, beside = drawn_counts(mixture.quantifier, noise, factor * kappa, model.expected, expected_given)
    means_beside = _beside(mixture.quantifier, model.expected, expected_given)
    drawn = _dealt_out(inside, kappa * expected_given, child_seed(design.seed, "pilot", "inside"))
    drawn += _dealt_out(beside, kappa * means_beside, child_seed(design.seed, "pilot", "beside"))
    expected, expected_inside = (factor * model.expected).numpy(), (factor * expected_given).numpy()

    def densities(rows: np.ndarray) -> np.ndarray:
        """p_κ(counts | c) / Z_κ(c) over p_1(counts | c), shape (pilot, row)."""
        logs = [
            log_frequency_ratio(row, drawn, expected) - mixture.log_normaliser(row, expected, expected_inside)
            for row in rows
        ]
        return np.exp(np.stack(logs, axis=1))

    asked = {*((value,) * len(KINDS) for value in design.frequencies), *design.multipliers}  # and what lies between
    targets = densities(np.array(sorted(asked)))
    return replace(design, alphas=best_shares(densities(np.array(design.multipliers)), targets))


def _dealt_out(counts: Tensor, means: Tensor, seed: int) -> np.ndarray:
    """Counts (pilot,) dealt out to kinds, (pilot, kind), by means of that shape up to a factor of each row."""
    generator = np.random.default_rng(seed)
    total = means.sum(-1, keepdim=True)
    shares = torch.where(total > 0, means / total, torch.ones_like(means) / means.shape[-1])
    return generator.multinomial(counts.to(torch.int64).numpy(), shares.numpy()).astype(float)


def noise_columns(model: ScenarioModel) -> int:
    """Uniform numbers that one scenario takes before its incidents: component, condition, two counts, and what a
    condition of more than a scale and a day multiplier needs beyond."""
    return 3 + model.condition.noise_columns


def condition_noise(noise: Tensor) -> Tensor:
    """The condition's columns: those that any table needs are the second and third, the others stand at the end."""
    return torch.cat([noise[:, 1:3], noise[:, 5:]], dim=1)


def drawn_counts(
    quantifier: Quantifier, noise: Tensor, factors: Tensor, expected: Tensor, expected_given: Tensor
) -> tuple[Tensor, Tensor]:
    """How many incidents each scenario has in A and beside, (batch,), from its noise, factors (batch, kind) and
    expected counts by kind."""
    inside = (factors * expected_given).sum(-1)
    beside = (factors * _beside(quantifier, expected, expected_given)).sum(-1)
    return quantifier.draw_counts(noise[:, 3:5], inside, beside)


def _beside(quantifier: Quantifier, expected: Tensor, expected_given: Tensor) -> Tensor:
    """Expected counts by kind of incidents beside those in A: beside a given one, of all."""
    return expected if quantifier.mode is Mode.GIVEN_ONE else (expected - expected_given).clamp_min(0.0)
