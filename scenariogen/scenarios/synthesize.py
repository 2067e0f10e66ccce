"""Drawing scenarios from a model, for a range of frequencies and under a condition, with their weights."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from scenariogen.errors import ConditionError
from scenariogen.incidents.records import KINDS
from scenariogen.model.condition import Conditions
from scenariogen.model.duration_shapes import log_shape_ratio, shape_chances
from scenariogen.model.given import Given, parse_given
from scenariogen.model.incident_marks import IncidentRegion, incident_noise
from scenariogen.model.scenario_model import ScenarioModel
from scenariogen.randomness import child_seed, sumo_seed, uniform
from scenariogen.sampling.conditioned import draw_beside
from scenariogen.sampling.discrete import draw_category
from scenariogen.sampling.points import Points
from scenariogen.sampling.quantifier import Mode, Quantifier
from scenariogen.scenarios.mixture import (
    condition_noise,
    drawn_counts,
    frequency_rows,
    noise_columns,
    with_best_shares,
)
from scenariogen.scenarios.posterior import rate_groups, road_classes
from scenariogen.scenarios.records import (
    Condition,
    ConditionNode,
    Density,
    Design,
    Drivers,
    Scenario,
    ScenarioBatch,
)
from scenariogen.scenarios.reweight import mixture_of

FREE_EVERY = 4
SMALLEST_OUTSIDE = 1e-12
"""Expected incidents outside a condition, as a share of all, below which they are rounding."""


def synthesize(
    model: ScenarioModel,
    *,
    n: int,
    frequencies: Sequence[float] = (1.0,),
    by_kind: bool = False,
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
    ``by_kind`` draws also for both ends of the range for each kind of incident alone, so that frequencies by kind are
    answered as well as common ones, at some cost to the latter.
    With ``given`` every scenario meets it as ``quantifier`` says; see :mod:`scenariogen.model.given`.
    Raises ``ConditionError`` where the condition has probability zero, ``FrequencyError`` for a bad range.
    """
    if n < 1:
        raise ConditionError(f"got n = {n}, expected at least 1 scenario")
    rows = frequency_rows(frequencies, model.expected.tolist(), by_kind=by_kind)
    condition = parse_given(given, model.network)
    how_many = Quantifier.parse(quantifier)
    if how_many.mode is not Mode.ANY and not condition.text:
        raise ConditionError(
            f"the quantifier {quantifier!r} says how many incidents meet a condition, and none is given: add one, for "
            "example 'capacity_left<=1', which every incident meets"
        )
    if condition.value is not None:
        if how_many.mode not in (Mode.ANY, Mode.GIVEN_ONE):
            raise ConditionError(
                f"an exact capacity_left=={condition.value:g} has probability zero for {quantifier!r}: use any, which "
                "draws one incident at that value, or a range"
            )
        how_many = Quantifier(Mode.GIVEN_ONE)
    region = model.region(condition)
    expected_given = model.expected_in(region)
    _check_possible(model, condition, how_many, expected_given)
    conditioned = bool(condition.text)
    scales, days, node_weights = model.condition.quadrature()
    design = Design(
        multipliers=rows,
        alphas=(1 / len(rows),) * len(rows),
        frequencies=tuple(sorted(float(value) for value in frequencies)),
        given=condition.text,
        quantifier=str(how_many),
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
        rates=rate_groups(model, region),
        durations=shape_chances(model.info),
    )
    design = with_best_shares(model, design, expected_given)
    numbers = torch.arange(first, first + n)
    scenarios = _draw(model, design, region, expected_given, numbers, drivers or Drivers())
    return ScenarioBatch(
        project_hash=project_hash,
        network_hash=model.network.sha256,
        network_name=network_name or model.info.get("network_name", ""),
        window=model.window,
        scenarios=scenarios,
        design=replace(design, road_classes=road_classes(model, scenarios)),
        model_hash=model.info.get("model_hash", ""),
    )


def _check_possible(model: ScenarioModel, given: Given, quantifier: Quantifier, expected_given: Tensor) -> None:
    inside = float(expected_given.sum())
    if quantifier.mode is Mode.NONE:
        if float(model.expected.sum()) - inside <= SMALLEST_OUTSIDE * float(model.expected.sum()):
            raise ConditionError(
                f"the condition {given.text!r} with none has probability zero on {model.network.path.name}: every "
                "incident meets it, and a scenario without one is no scenario"
            )
        return
    if inside > 0:
        return
    low = float(model.options.low[model.options.allowed].min())
    raise ConditionError(
        f"the condition {given.text!r} has probability zero on {model.network.path.name}: no edge, kind and lanes can "
        f"meet it. Capacity left can be 0 (all lanes blocked) or, by lanes, from {low:.2f} to 1; edges here have "
        f"at most {int(model.graph.lanes.max())} driving lanes"
    )


def _draw(
    model: ScenarioModel,
    design: Design,
    region: IncidentRegion,
    expected_given: Tensor,
    numbers: Tensor,
    drivers: Drivers,
) -> tuple[Scenario, ...]:
    mixture, seed = mixture_of(design), design.seed
    noise = uniform(child_seed(seed, "scenario"), numbers, noise_columns(model))
    free = (
        (numbers % design.free_every == design.free_every - 1) if design.free_every else torch.zeros(len(numbers)) > 0
    )
    component = draw_category(noise[:, 0], torch.tensor(design.alphas, dtype=torch.float64))
    kappa = torch.tensor(design.multipliers, dtype=torch.float64)[component]
    conditions = model.condition.draw(condition_noise(noise))
    factor = (conditions.scale * conditions.day)[:, None]
    drawn = drawn_counts(mixture.quantifier, noise, factor * kappa, model.expected, expected_given)
    inside, beside = (torch.where(free, torch.zeros_like(c), c) for c in drawn)
    process = model.process.at(multipliers=kappa)
    untouched = mixture.quantifier.mode is Mode.GIVEN_ONE or not region.given.text
    points = draw_beside(
        process.restricted(region),
        process if untouched else process.restricted(region, inside=False),
        (inside, beside),
        numbers,
        seed=child_seed(seed, "incident"),
        noise=incident_noise,
    )
    log_free = model.condition.log_prob_of(conditions)
    log_model = model.process.at(factor=factor[:, 0]).log_prob(points, log_context=log_free).numpy()
    # Beside a given incident others may lie in A by chance; for weights only the given one is counted.
    counts, counts_given = points.counts(len(KINDS)), points.counts(len(KINDS), points.inside)
    expected = (factor * model.expected).numpy()
    expected_inside = (factor * expected_given).numpy()
    log_proposal = mixture.log_density(counts.numpy(), expected=expected, inside=expected_inside, start=log_model)
    return _records(
        model, numbers, free, component, _condition_records(model, conditions), points, drivers, seed,
        np.where(free.numpy(), log_free.numpy() - expected.sum(-1), log_model),
        np.where(free.numpy(), log_free.numpy(), log_proposal), counts, counts_given, expected, expected_inside,
        _log_durations(model, region, points),
    )  # fmt: skip


def _log_durations(model: ScenarioModel, region: IncidentRegion, points: Points) -> np.ndarray:
    """(batch, family) log ratio of each family of durations to the model's, of all incidents of a scenario."""
    of_each = log_shape_ratio(region.marks, points, end_s=model.window.end_s)
    total = torch.zeros((points.batch, of_each.shape[1]), dtype=torch.float64)
    return total.index_add_(0, points.owner, of_each.to(torch.float64)).numpy()


def _records(
    model, numbers, free, component, conditions, points, drivers, seed, log_model, log_proposal, counts,
    counts_given, expected, expected_inside, log_durations,
) -> tuple[Scenario, ...]:  # fmt: skip
    incidents: list[list] = [[] for _ in range(len(numbers))]
    for index, owner in enumerate(points.owner.tolist()):
        incidents[owner].append(model.incident(points, index))
    out = []
    for row, number in enumerate(numbers.tolist()):
        out.append(
            Scenario(
                index=number,
                seed=sumo_seed(seed, number),
                condition=conditions[row],
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
                    log_durations=tuple(log_durations[row].tolist()),
                ),
            )
        )
    return tuple(out)


def _condition_records(model: ScenarioModel, conditions: Conditions) -> list[Condition]:
    table = model.condition
    scales: list[tuple[tuple[str, float], ...]] = [()] * len(conditions.scale)
    if table.demand is not None:
        by_entry = table.demand.entry_scales(conditions.factors.numpy(), conditions.rest.numpy())
        scales = [tuple(zip(table.demand.entries, row, strict=True)) for row in by_entry.tolist()]
    return [
        Condition(
            clock_s=table.clock_s,
            day_type=table.kinds[kind].day_type,
            weather=table.kinds[kind].weather,
            demand_scale=scale,
            day_multiplier=day,
            demand_factors=tuple(factors),
            entry_scales=entries,
        )
        for kind, scale, day, factors, entries in zip(
            conditions.kind.tolist(),
            conditions.scale.tolist(),
            conditions.day.tolist(),
            conditions.factors.tolist(),
            scales,
            strict=True,
        )
    ]
