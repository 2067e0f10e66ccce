"""The shares of the whole-scenario mixture that a batch is drawn from."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from scenariogen.incidents.records import KINDS
from scenariogen.model.scenario_model import ScenarioModel
from scenariogen.randomness import child_seed, uniform
from scenariogen.sampling.frequency import best_shares, log_frequency_ratio
from scenariogen.sampling.quantifier import Mode, Quantifier
from scenariogen.scenarios.records import Design
from scenariogen.scenarios.reweight import mixture_of

PILOT = 4096
"""Counts of incidents drawn to choose the mixture's shares; nothing is simulated for them."""


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
    drawn = (inside + beside).numpy()[:, None]
    share_of_kind = (model.expected / model.expected.sum()).numpy()  # the multiplier is common to all kinds
    expected, expected_inside = (factor * model.expected).numpy(), (factor * expected_given).numpy()

    def densities(rows: np.ndarray) -> np.ndarray:
        """p_κ(counts | c) / Z_κ(c) over p_1(counts | c), shape (pilot, frequency)."""
        logs = [
            log_frequency_ratio(row, drawn * share_of_kind, expected)
            - mixture.log_normaliser(row, expected, expected_inside)
            for row in rows
        ]
        return np.exp(np.stack(logs, axis=1))

    asked = sorted({*design.frequencies, *(row[0] for row in design.multipliers)})  # and what lies between them
    targets = densities(np.array([(value,) * len(KINDS) for value in asked]))
    return replace(design, alphas=best_shares(densities(np.array(design.multipliers)), targets))


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
    inside, beside = (factors * expected_given).sum(-1), (factors * expected).sum(-1)
    if quantifier.mode is not Mode.GIVEN_ONE:
        beside = (beside - inside).clamp_min(0.0)
    return quantifier.draw_counts(noise[:, 3:5], inside, beside)
