"""Frequencies after the fact: what each scenario of a batch weighs under other incident frequencies.

With multipliers κ by kind, log p_κ(ω) − log p(ω) = Σ_k n_k log κ_k − Σ_k (κ_k − 1) Λ_k(c): counts and expected counts
are all that is needed, and both stand in the batch. Let Z_κ(c) be the probability (for a condition on one given
incident: the expected number) that the batch's condition holds given c. A scenario with incidents was drawn from

    q(c, ω) = p(c) Σ_j α_j p_κj(ω) / Z_κj(c),

one coin for the whole scenario, and the target at κ is p(c) p_κ(ω) / E_c[Z_κ(c)]. Given c the weight is at most
1/α_j · Z_κj(c) / E_c[Z_κj] at κ = κ_j, and at other κ what :meth:`FrequencyMixture.log_weight_bound` says.
Incident-free runs weigh P_κ(free | c) / P_κ(free).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch

from scenariogen.errors import FrequencyError, ModelError, Problems, ScenarioError
from scenariogen.incidents.records import KINDS
from scenariogen.model.condition import Conditions, ConditionTable
from scenariogen.sampling.frequency import FrequencyMixture, log_frequency_ratio
from scenariogen.sampling.quantifier import Quantifier
from scenariogen.scenarios.count_classes import CountClasses, count_classes
from scenariogen.scenarios.records import Density, Design, Scenario, ScenarioBatch


@dataclass(frozen=True)
class FrequencyWeights:
    """Weights of a batch at one frequency.

    ``is_free``           (batch,) bool: rows of the incident-free stratum
    ``log_w``             (batch,) natural log of target / proposal within the row's own stratum; their mean under the
                          proposal is 1 in each stratum
    ``weight_bound``      what no weight can exceed whatever the incidents, of incident-free rows and of the others; at
                          the conditions c that the batch holds and those its means are taken over
    ``probability_free``  probability of a day without incident; 0 under a condition
    ``controls``          (batch, control) functions of the demand scale with mean 0 under the target in the row's own
                          stratum: what averages may be corrected by, since their mean is known
    ``classes``           the runs with incidents by their number, whose probabilities are known; None under a condition
    ``log_given``         log of the probability of the condition (an expected number for ``given-one`` and for an exact
                          value, where it is per unit of capacity); 0 without one
    """

    is_free: np.ndarray
    log_w: np.ndarray
    weight_bound: tuple[float, float]
    probability_free: float
    controls: np.ndarray
    log_given: float
    classes: CountClasses | None = None


def mixture_of(design: Design) -> FrequencyMixture:
    """The mixture over frequencies that a batch was drawn from."""
    return FrequencyMixture(design.alphas, design.multipliers, Quantifier.parse(design.quantifier))


def multipliers_by_kind(frequency: float | Mapping[str, float]) -> np.ndarray:
    """Multipliers in the order of ``KINDS``; kinds that are not named keep 1."""
    if isinstance(frequency, Mapping):
        unknown = set(frequency) - {kind.value for kind in KINDS}
        if unknown:
            raise FrequencyError(f"kinds {sorted(unknown)} are unknown, expected {[kind.value for kind in KINDS]}")
        return np.array([float(frequency.get(kind.value, 1.0)) for kind in KINDS])
    return np.full(len(KINDS), float(frequency))


def frequency_weights(batch: ScenarioBatch, frequency: float | Mapping[str, float]) -> FrequencyWeights:
    """Weights of every scenario of ``batch`` at ``frequency`` (one multiplier, or one by kind).

    Raises ``FrequencyError`` outside the range that the batch was drawn for, ``ScenarioError`` for a batch that was
    written by hand and has no density.
    """
    design = batch.design
    drawn = batch.columns.density
    if design is None or drawn is None:
        raise ScenarioError("these scenarios were written by hand: they have no density, so no frequency applies")
    kappa = multipliers_by_kind(frequency)
    mixture = mixture_of(design)
    _check_range(kappa, mixture)
    counts, expected, inside = drawn.counts, drawn.expected, drawn.expected_given
    is_free: np.ndarray = drawn.component < 0
    log_w = np.empty(len(batch))
    weight = np.array([node.weight for node in design.nodes])
    node_expected = np.array([node.expected for node in design.nodes])
    node_inside = np.array([node.expected_given for node in design.nodes])
    log_given_node = np.asarray(mixture.log_normaliser(kappa, node_expected, node_inside))
    log_given = _log_mean(weight, log_given_node)
    log_target = log_frequency_ratio(kappa, counts, expected) - log_given
    log_w[~is_free] = (log_target - mixture.log_density(counts, expected=expected, inside=inside))[~is_free]
    log_free = _log_mean(weight, -node_expected @ kappa)
    log_w[is_free] = (-expected @ kappa - log_free)[is_free]
    node_scale = np.array([node.demand_scale for node in design.nodes])
    everywhere = np.concatenate([node_expected, expected]), np.concatenate([node_inside, inside])
    hit_bound = mixture.log_weight_bound(kappa, *everywhere) + mixture.log_normaliser(kappa, *everywhere) - log_given
    free_bound = -everywhere[0] @ kappa - log_free
    return FrequencyWeights(
        is_free=is_free,
        log_w=log_w,
        weight_bound=(max(1.0, float(np.exp(free_bound.max()))), max(1.0, float(np.exp(hit_bound.max())))),
        probability_free=float(np.exp(log_free)) if design.free_every else 0.0,
        controls=_demand_controls(
            batch,
            weight,
            node_scale,
            is_free=is_free,
            log_condition_free=-node_expected @ kappa,
            log_condition_hit=log_given_node,
        ),
        log_given=float(log_given) if design.given else 0.0,
        classes=count_classes(design, counts, kappa, _demand_functions(weight, node_scale), is_free=is_free),
    )


def condition_weights(
    batch: ScenarioBatch, frequency: float | Mapping[str, float], *, drawn: ConditionTable, target: ConditionTable
) -> np.ndarray:
    """Weights of every scenario at ``frequency`` had conditions the distribution ``target``, (batch,).

    ``drawn`` is the table of the model that the batch was drawn from. The natural log, within the row's own stratum as
    in :func:`frequency_weights`, whose weights they replace. Raises ``ModelError`` where the target has no such kind
    of day or the two tables have different patterns of demand, whose factors then mean different things; kinds of day
    that only ``target`` has cannot be weighed up from others, which is refused too.
    """
    _check_tables(drawn, target)
    own = frequency_weights(batch, frequency)
    conditions = {table: conditions_of(batch, table) for table in (drawn, target)}
    ratio = (target.log_prob_of(conditions[target]) - drawn.log_prob_of(conditions[drawn])).numpy()
    kappa, mixture = multipliers_by_kind(frequency), mixture_of(cast(Design, batch.design))
    one = next(scenario for scenario in batch.scenarios if scenario.density is not None)
    factor = one.condition.demand_scale * one.condition.day_multiplier
    expected, inside = (np.array(part) / factor for part in _expected(one))

    def log_strata(table: ConditionTable) -> tuple[float, float]:
        scale, day, weight = table.quadrature()
        rows = (scale * day)[:, None]
        hit = np.asarray(mixture.log_normaliser(kappa, rows * expected, rows * inside))
        return _log_mean(weight, -(rows * expected) @ kappa), _log_mean(weight, hit)

    free, hit = (a - b for a, b in zip(log_strata(drawn), log_strata(target), strict=True))
    return own.log_w + ratio + np.where(own.is_free, free, hit)


def conditions_of(batch: ScenarioBatch, table: ConditionTable) -> Conditions:
    """The conditions of a batch's scenarios as ``table`` numbers them. ``ModelError`` for a kind of day it lacks."""
    held = [scenario.condition for scenario in batch.scenarios]
    factors = torch.tensor([each.demand_factors for each in held], dtype=torch.float64).reshape(len(held), -1)
    rest = factors[:, :0]
    if table.demand is not None and table.demand.rests:
        scales = np.array([[dict(each.entry_scales)[entry] for entry in table.demand.entries] for each in held])
        rest = torch.as_tensor(np.log(scales / table.demand.entry_scales(factors.numpy())))
    return Conditions(
        kind=torch.tensor([table.kind_number(each.day_type, each.weather) for each in held]),
        scale=torch.tensor([each.demand_scale for each in held], dtype=torch.float64),
        day=torch.tensor([each.day_multiplier for each in held], dtype=torch.float64),
        factors=factors,
        rest=rest,
    )


def _check_tables(drawn: ConditionTable, target: ConditionTable) -> None:
    problems = Problems("one table of conditions cannot be weighed into the other")
    one, other = drawn.demand, target.demand
    if (one is None) != (other is None):
        problems.add("one has a pattern of demand, the other has one scale")
    elif one is not None and other is not None:
        if one.entries != other.entries or not np.array_equal(one.loadings, other.loadings):
            problems.add("their patterns of demand have different entries or loadings")
        if bool(one.rests) != bool(other.rests):
            problems.add("entries deviate on their own in only one of them")
    elif (drawn.demand_scale_sigma > 0) != (target.demand_scale_sigma > 0):
        problems.add("the demand scale is fixed in only one of them")
    if math.isinf(drawn.day_shape) != math.isinf(target.day_shape):
        problems.add("the day multiplier is fixed in only one of them")
    has = {(kind.day_type, kind.weather) for kind in drawn.kinds}
    for kind in target.kinds:
        if (kind.day_type, kind.weather) not in has:
            problems.add(f"days that are {kind.day_type} and {kind.weather} were never drawn")
    problems.raise_as(ModelError)


def _expected(scenario: Scenario) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Λ by kind, and of incidents inside the condition, of a scenario that was drawn."""
    density = cast(Density, scenario.density)
    return density.expected, density.expected_given


def _demand_controls(
    batch: ScenarioBatch,
    weight: np.ndarray,
    node_scale: np.ndarray,
    *,
    is_free: np.ndarray,
    log_condition_free: np.ndarray,
    log_condition_hit: np.ndarray,
) -> np.ndarray:
    """z and z² less their means under the target, z being the standardised log of the demand scale, (batch, 2).

    Inside a stratum c has the density p(c) P_κ(stratum | c) / P_κ(stratum), so the means are two sums over the nodes.
    No column where the demand scale is fixed.
    """
    at_nodes = _demand_functions(weight, node_scale)
    if not at_nodes.shape[1]:
        return np.zeros((len(batch), 0))
    z = np.log(batch.columns.demand_scale) / _spread(weight, node_scale)
    controls = np.stack([z, z**2], axis=1)
    for rows, log_condition_at in ((is_free, log_condition_free), (~is_free, log_condition_hit)):
        share = weight * np.exp(log_condition_at - log_condition_at.max())
        share /= share.sum()
        controls[rows] -= share @ at_nodes
    return controls


def _demand_functions(weight: np.ndarray, node_scale: np.ndarray) -> np.ndarray:
    """z and z² at the nodes, (node, 2); no column where the demand scale is fixed."""
    spread = _spread(weight, node_scale)
    if spread == 0:
        return np.zeros((len(weight), 0))
    z = np.log(node_scale) / spread
    return np.stack([z, z**2], axis=1)


def _spread(weight: np.ndarray, node_scale: np.ndarray) -> float:
    return float(np.sqrt(weight @ np.log(node_scale) ** 2))


def _log_mean(weight: np.ndarray, log_values: np.ndarray) -> float:
    return float(np.logaddexp.reduce(np.log(weight) + log_values))


def _check_range(kappa: np.ndarray, mixture: FrequencyMixture) -> None:
    if (kappa <= 0).any() or not np.isfinite(kappa).all():
        raise FrequencyError(f"the frequency multiplier is {_text(kappa)}, expected a positive number")
    if not mixture.covers(kappa):
        low, high = (_text(end(mixture.multipliers, axis=0)) for end in (np.min, np.max))
        raise FrequencyError(
            f"the frequency {_text(kappa)} lies outside the range {low} to {high} that this batch was drawn for, or "
            "has several kinds further up together than any of its proposals: sample again with --frequency "
            f"including it{'' if np.ptp(kappa) == 0 else ', and --by-kind'}"
        )


def _text(kappa: np.ndarray) -> str:
    if np.allclose(kappa, kappa[0]):
        return f"{kappa[0]:g}"
    return ", ".join(f"{kind.value}={value:g}" for kind, value in zip(KINDS, kappa, strict=True))
