"""Drawing scenarios from a model, for a range of frequencies and under a condition, with their weights."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from scenariogen.errors import ConditionError
from scenariogen.incidents.records import KINDS
from scenariogen.model.given import Given, Quantifier, parse_given, parse_quantifier
from scenariogen.model.scenario_model import NOISE_COLUMNS, IncidentRows, ScenarioModel
from scenariogen.randomness import child_seed, sumo_seed, uniform
from scenariogen.sampling.discrete import draw_category
from scenariogen.scenarios.mixture import draw_counts, frequency_grid, mixture_shares
from scenariogen.scenarios.records import (
    Condition,
    ConditionNode,
    Density,
    Design,
    Drivers,
    Scenario,
    ScenarioBatch,
)
from scenariogen.scenarios.reweight import log_condition, log_ratio

FREE_EVERY = 4
SLOTS = 1 << 20
"""Room for incidents in the counter of the noise of one scenario."""


def synthesize(
    model: ScenarioModel,
    *,
    n: int,
    frequencies: Sequence[float] = (1.0,),
    given: str = "",
    quantifier: str = "any",
    seed: int = 0,
    project_hash: str = "",
    network_name: str = "",
    drivers: Drivers | None = None,
    first: int = 0,
) -> ScenarioBatch:
    """``n`` scenarios with indices from ``first``, each a function of ``seed`` and its index alone.

    Without a condition one index in four is an incident-free run (that stratum's probability is known, not sampled).
    With ``given`` every scenario meets it as ``quantifier`` says; see :mod:`scenariogen.model.given`.
    Raises ``ConditionError`` where the condition has probability zero, ``FrequencyError`` for a bad range.
    """
    if n < 1:
        raise ConditionError(f"got n = {n}, expected at least 1 scenario")
    grid = frequency_grid(frequencies)
    condition = parse_given(given, model.network)
    mode, count = parse_quantifier(quantifier)
    if condition.value is not None:
        if mode not in (Quantifier.ANY, Quantifier.GIVEN_ONE):
            raise ConditionError(
                f"an exact capacity_left=={condition.value:g} has probability zero for {quantifier!r}: use any, which "
                "draws one incident at that value, or a range"
            )
        mode = Quantifier.GIVEN_ONE
    weights = model.given_weights(condition)
    expected_given = (model.intensity.sum(1) * weights.sum(-1)).sum(0)
    _check_possible(model, condition, mode, expected_given)
    conditioned = bool(condition.text)
    design_quantifier = f"count={count}" if mode is Quantifier.COUNT else mode.value
    scales, days, node_weights = model.condition.quadrature()
    design = Design(
        multipliers=tuple((value,) * len(KINDS) for value in grid),
        alphas=(1 / len(grid),) * len(grid),
        frequencies=tuple(sorted(float(value) for value in frequencies)),
        given=condition.text,
        quantifier=design_quantifier,
        free_every=0 if conditioned else FREE_EVERY,
        nodes=tuple(
            ConditionNode(
                weight=float(w),
                demand_scale=float(scale),
                expected=tuple((scale * day * model.expected).tolist()),
                expected_given=tuple((scale * day * expected_given).tolist()),
            )
            for scale, day, w in zip(scales, days, node_weights, strict=True)
        ),
        lane_blocking_per_100_h=model.lane_blocking / model.window.start_span_s * 3600 * 100,
        seed=seed,
    )
    design = replace(design, alphas=mixture_shares(model, design, mode, count, expected_given))
    numbers = torch.arange(first, first + n)
    scenarios = _draw(
        model, design, condition, mode, count, weights, expected_given, numbers, seed, drivers or Drivers()
    )
    return ScenarioBatch(
        project_hash=project_hash,
        network_hash=model.network.sha256,
        network_name=network_name or model.info.get("network_name", ""),
        window=model.window,
        scenarios=scenarios,
        design=design,
        model_hash=model.info.get("model_hash", ""),
    )


def _check_possible(model: ScenarioModel, given: Given, mode: Quantifier, expected_given: Tensor) -> None:
    if float(expected_given.sum()) > 0 or mode is Quantifier.NONE:
        return
    low = float(model.options.low[model.options.allowed].min())
    raise ConditionError(
        f"the condition {given.text!r} has probability zero on {model.network.path.name}: no edge, kind and lanes can "
        f"meet it. Capacity left can be 0 (all lanes blocked) or, by lanes, from {low:.2f} to 1; edges here have "
        f"at most {int(model.graph.lanes.max())} driving lanes"
    )


def _draw(model, design, given, mode, count, weights, expected_given, numbers, seed, drivers) -> tuple[Scenario, ...]:
    noise = uniform(child_seed(seed, "scenario"), numbers, 5)
    free = (
        (numbers % design.free_every == design.free_every - 1) if design.free_every else torch.zeros(len(numbers)) > 0
    )
    component = draw_category(noise[:, 0], torch.tensor(design.alphas, dtype=torch.float64))
    kappa = torch.tensor(design.multipliers, dtype=torch.float64)[component]
    scale, day = model.condition.draw(noise[:, 1:3])
    factor = (scale * day)[:, None]
    inside_mean = (factor * kappa * expected_given).sum(-1)
    outside_mean = ((factor * kappa * model.expected).sum(-1) - inside_mean).clamp_min(0.0)
    inside, outside = draw_counts(noise[:, 3], noise[:, 4], inside_mean, outside_mean, mode, count)
    inside, outside = (torch.where(free, torch.zeros_like(c), c) for c in (inside, outside))
    rows, owner, is_inside = _incidents(
        model, given, mode, weights, numbers, inside, outside, kappa, seed, whole=not given.text
    )
    log_lambda = model.log_intensity(rows) + torch.log(factor[owner, 0]) if len(rows) else torch.zeros(0)
    log_model = model.condition.log_prob(scale, day) - (factor[:, 0] * model.expected.sum())
    log_model = log_model.index_add(0, owner, log_lambda.to(torch.float64))
    counts = torch.zeros((len(numbers), len(KINDS)), dtype=torch.float64)
    counts.index_put_((owner, rows.kind), torch.ones(len(rows), dtype=torch.float64), accumulate=True)
    counts_given = torch.zeros_like(counts)
    counts_given.index_put_((owner, rows.kind), is_inside.to(torch.float64), accumulate=True)
    expected = (factor * model.expected).numpy()
    expected_inside = (factor * expected_given).numpy()
    log_proposal = _log_proposal(design, log_model.numpy(), counts.numpy(), expected=expected, inside=expected_inside)
    log_free = model.condition.log_prob(scale, day).numpy()
    return _records(
        model, numbers, free, component, scale, day, rows, owner, drivers, seed,
        np.where(free.numpy(), log_free - expected.sum(-1), log_model.numpy()),
        np.where(free.numpy(), log_free, log_proposal), counts, counts_given, expected, expected_inside,
    )  # fmt: skip


def _incidents(model, given, mode, weights, numbers, inside, outside, kappa, seed, *, whole: bool):
    """Rows of all incidents, slot by slot: those in A first. Returns rows, owners and whether each was drawn in A."""
    total = inside + outside
    owner = torch.repeat_interleave(torch.arange(len(numbers)), total)
    slot = torch.arange(int(total.sum())) - torch.repeat_interleave(total.cumsum(0) - total, total)
    is_inside = slot < inside[owner]
    noise = uniform(child_seed(seed, "incident"), numbers[owner] * SLOTS + slot, NOISE_COLUMNS)
    every = torch.exp(model.tables.log_lanes) * model.options.allowed[:, None, :]
    parts = []
    if is_inside.any():
        parts.append((is_inside, model.draw(noise[is_inside], kappa[owner[is_inside]], weights, given)))
    rest = ~is_inside
    if rest.any():
        if mode is Quantifier.GIVEN_ONE or whole:
            drawn = model.draw(noise[rest], kappa[owner[rest]], every, None)
        else:
            drawn = _draw_outside(model, given, weights, every, noise[rest], kappa[owner[rest]])
        parts.append((rest, drawn))
    rows = _merge(parts, len(owner))
    # Beside a given incident others may lie in A by chance; for weights only the given one is counted.
    return rows, owner, is_inside


def _draw_outside(model, given: Given, weights: Tensor, every: Tensor, noise: Tensor, kappa: Tensor) -> IncidentRows:
    """Incidents that are not in A: options weighed by p · (1 − P(A)), capacity left from the rest of its range."""
    rest = (every - weights).clamp_min(0.0)
    return model.draw(noise, kappa, rest, given, complement=True)


def _merge(parts: list[tuple[Tensor, IncidentRows]], total: int) -> IncidentRows:
    names = IncidentRows.__dataclass_fields__
    if not parts:
        index, real = torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.float64)
        return IncidentRows(index, index, index, index, real, real, real, torch.zeros((0, 3), dtype=torch.float64))
    merged = {}
    for name in names:
        sample = getattr(parts[0][1], name)
        out = sample.new_zeros((total, *sample.shape[1:]))
        for mask, rows in parts:
            out[mask] = getattr(rows, name)
        merged[name] = out
    return IncidentRows(**merged)


def _log_proposal(design: Design, log_model, counts, *, expected, inside) -> np.ndarray:
    """Whole-scenario mixture: log Σ_j α_j p(c) p_κj(ω) / Z_κj(c).

    For one given incident the target has the same factor for the number of incidents in A; it cancels in weights.
    """
    parts = [
        np.log(alpha)
        + log_model
        + log_ratio(np.array(row), counts, expected)
        - log_condition(design, np.array(row), expected, inside)
        for alpha, row in zip(design.alphas, design.multipliers, strict=True)
    ]
    return np.logaddexp.reduce(parts, axis=0)


def _records(
    model, numbers, free, component, scale, day, rows, owner, drivers, seed, log_model, log_proposal, counts,
    counts_given, expected, expected_inside,
) -> tuple[Scenario, ...]:  # fmt: skip
    incidents: list[list] = [[] for _ in range(len(numbers))]
    for index in range(len(owner)):
        incidents[int(owner[index])].append(model.incident(rows, index))
    table = model.condition
    out = []
    for row, number in enumerate(numbers.tolist()):
        out.append(
            Scenario(
                index=number,
                seed=sumo_seed(seed, number),
                condition=Condition(
                    clock_s=table.clock_s,
                    day_type=table.day_type,
                    weather=table.weather,
                    demand_scale=float(scale[row]),
                    day_multiplier=float(day[row]),
                ),
                incidents=tuple(sorted(incidents[row], key=lambda incident: incident.start_s)),
                drivers=drivers,
                density=Density(
                    component=-1 if bool(free[row]) else int(component[row]),
                    log_model=float(log_model[row]),
                    log_proposal=float(log_proposal[row]),
                    counts=tuple(int(v) for v in counts[row]),
                    expected=tuple(expected[row].tolist()),
                    expected_given=tuple(expected_inside[row].tolist()),
                    counts_given=tuple(int(v) for v in counts_given[row]),
                ),
            )
        )
    return tuple(out)
