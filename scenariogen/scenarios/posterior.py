"""How unsure the rates are: a batch's weights under draws from the posterior of the rate multipliers.

Each kind g of incident on a class of road has a multiplier u_g ~ Gamma(a_g, b_g) on its published rate. The density of
record has u at its mean; v = u / E[u] ~ Gamma(a_g, a_g) is how far the truth may lie from it. With multipliers κ by
kind, n_g incidents of a scenario in group g and f(c) the condition's factor on all rates,

    log p_κv(ω | c) − log p_κ(ω | c) = Σ_g n_g log v_g − f(c) Σ_g κ_g (v_g − 1) Λ_g,

so the runs of one batch answer for every v, as they do for every κ. Each draw has a family of durations as well, of
those that the batch names (:mod:`scenariogen.model.duration_shapes`), whose log ratio is added.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.incidents.records import KINDS
from scenariogen.scenarios.records import Design, RateGroup, Scenario, ScenarioBatch

if TYPE_CHECKING:
    from scenariogen.model.incident_marks import IncidentRegion
    from scenariogen.model.scenario_model import ScenarioModel

FAR = 1.5
_SEED = 6_021
_CHUNK = 4_000_000
"""Largest number of weights held at once."""


def rate_groups(model: "ScenarioModel", region: "IncidentRegion") -> tuple[RateGroup, ...]:
    """The groups of a model in which incidents can happen, with how sure their rates are."""
    from scenariogen.model.features import CLASSES

    by_edge = model.intensity.sum(1)
    inside = by_edge * region.weights.sum(-1)
    groups = []
    for column, road_class in enumerate(CLASSES):
        members = model.graph.road_class == column
        for row, kind in enumerate(KINDS):
            expected = float(by_edge[members, row].sum())
            if expected > 0:
                groups.append(
                    RateGroup(
                        kind=kind.value,
                        road_class=road_class.value,
                        expected=expected,
                        expected_given=float(inside[members, row].sum()),
                        shape=float(model.posterior[0, row, column]),
                    )
                )
    return tuple(groups)


def road_classes(model: "ScenarioModel", scenarios: tuple[Scenario, ...]) -> tuple[tuple[str, str], ...]:
    """(edge, class of road) of every edge on which an incident of these scenarios lies."""
    from scenariogen.model.features import CLASSES

    edges = sorted({incident.edge for scenario in scenarios for incident in scenario.incidents})
    return tuple((edge, CLASSES[int(model.graph.road_class[model.network.edge_index[edge]])].value) for edge in edges)


@dataclass(frozen=True, kw_only=True, eq=False)
class PosteriorWeights:
    """Weights under posterior draws of the rates, at one frequency.

    ``multipliers``       (draw, group) v
    ``log_probability_free``  (draw,) log of the probability of a day without incident
    ``outside``           share of the draws that are beyond the frequencies the batch was drawn for, in some kind
    ``far_above``         (draw,) bool: some kind is more than :data:`FAR` times as frequent as in any of its proposals,
                          where weights have no bound
    ``counts``, ``factor``  (batch, group) incidents of each scenario, (batch,) f(c)
    ``pull``              (draw, group) κ_g (v_g − 1) Λ_g
    ``log_hit``           (draw,) log of the probability of the batch's condition (of an incident) over that at v = 1
    ``log_free``          (draw,) the same of a day without incident
    ``family``            (draw,) index of the family of durations, 0 as the model has it
    ``family_chances``    (family,) probabilities
    ``log_family``        (batch, family) log ratio of the family's density of a scenario's durations to the model's
    """

    multipliers: np.ndarray
    log_probability_free: np.ndarray
    outside: float
    far_above: np.ndarray = field(repr=False)
    counts: np.ndarray = field(repr=False)
    factor: np.ndarray = field(repr=False)
    pull: np.ndarray = field(repr=False)
    log_hit: np.ndarray = field(repr=False)
    log_free: np.ndarray = field(repr=False)
    family: np.ndarray = field(repr=False)
    family_chances: np.ndarray = field(repr=False)
    log_family: np.ndarray = field(repr=False)

    @property
    def draws(self) -> int:
        """How many draws there are."""
        return len(self.multipliers)

    def chunks(self) -> list[slice]:
        """Draws in portions that fit the memory."""
        size = max(1, _CHUNK // max(len(self.counts), 1))
        return [slice(begin, min(begin + size, self.draws)) for begin in range(0, self.draws, size)]

    def log_ratio(self, draws: slice, is_free: np.ndarray) -> np.ndarray:
        """(draw, batch) what is added to each row's log weight in its own stratum."""
        moved = np.log(self.multipliers[draws]) @ self.counts.T - np.outer(self.pull[draws].sum(axis=1), self.factor)
        moved += self.log_family.T[self.family[draws]]
        return moved - np.where(is_free, self.log_free[draws, None], self.log_hit[draws, None])


def posterior_weights(
    batch: ScenarioBatch, frequency: float | Mapping[str, float], *, draws: int = 1000
) -> PosteriorWeights | None:
    """Weights of a batch under ``draws`` posterior draws of its rates; None where it does not hold how sure they are.

    The draws depend on the batch's seed alone, so all frequencies and policies have the same.
    """
    from scenariogen.scenarios.reweight import multipliers_by_kind

    design = batch.design
    if design is None or not design.rates:
        return None
    kind = np.array([[k.value for k in KINDS].index(group.kind) for group in design.rates])
    kappa = multipliers_by_kind(frequency)
    shape = np.array([group.shape for group in design.rates])
    level = np.array([group.expected for group in design.rates])
    inside = np.array([group.expected_given for group in design.rates])
    generator = np.random.default_rng([_SEED, design.seed])
    v = np.maximum(generator.gamma(shape, 1 / shape, size=(draws, len(shape))), 1e-12)
    node_factor = np.array([sum(node.expected) for node in design.nodes]) / level.sum()
    weight = np.array([node.weight for node in design.nodes])
    free = _log_mean(weight, -np.outer((kappa[kind] * v) @ level, node_factor))
    hit = _log_hit(design, np.vstack([np.ones(len(shape)), v]) * kappa[kind], level, inside, node_factor, weight)
    by_kind = np.stack([v[:, kind == k] @ level[kind == k] for k in range(len(KINDS))], axis=1)
    base = np.array([level[kind == k].sum() for k in range(len(KINDS))])
    reached = kappa * np.divide(by_kind, base, out=np.ones_like(by_kind), where=base > 0)
    low, high = (end(design.multipliers, axis=0) for end in (np.min, np.max))
    drawn = [s.density for s in batch.scenarios if s.density is not None]
    expected = np.array([sum(each.expected) for each in drawn])
    chances = np.array([chance for _, chance in design.durations] or [1.0])
    log_family = np.zeros((len(drawn), len(chances)))
    if design.durations:
        log_family[:, 1:] = [each.log_durations for each in drawn]
    return PosteriorWeights(
        multipliers=v,
        log_probability_free=free,
        outside=float(((reached < low * (1 - 1e-9)) | (reached > high * (1 + 1e-9))).any(axis=1).mean()),
        far_above=(reached > FAR * high).any(axis=1),
        counts=_counts(batch, design),
        factor=expected / level.sum(),
        pull=kappa[kind] * (v - 1) * level,
        log_hit=hit[1:] - hit[0],
        log_free=free - _log_mean(weight, -np.outer([kappa[kind] @ level], node_factor))[0],
        family=generator.choice(len(chances), size=draws, p=chances),
        family_chances=chances,
        log_family=log_family,
    )


def _log_hit(
    design: Design,
    multipliers: np.ndarray,
    level: np.ndarray,
    inside: np.ndarray,
    node_factor: np.ndarray,
    weight: np.ndarray,
) -> np.ndarray:
    """(draw,) log of the probability of the batch's condition, averaged over c."""
    from scenariogen.sampling.quantifier import Quantifier  # it takes torch, which workers do without

    quantifier = Quantifier.parse(design.quantifier)
    in_a = np.outer(multipliers @ inside, node_factor)
    rest = np.outer(multipliers @ np.maximum(level - inside, 0.0), node_factor)
    found = np.asarray(quantifier.log_probability(in_a.ravel(), rest.ravel()))
    return _log_mean(weight, found.reshape(in_a.shape))


def _counts(batch: ScenarioBatch, design: Design) -> np.ndarray:
    """(batch, group) incidents of each scenario."""
    road_class = dict(design.road_classes)
    place = {(group.kind, group.road_class): number for number, group in enumerate(design.rates)}
    counts = np.zeros((len(batch), len(place)))
    for row, scenario in enumerate(batch.scenarios):
        for incident in scenario.incidents:
            counts[row, place[incident.kind.value, road_class[incident.edge]]] += 1
    return counts


def _log_mean(weight: np.ndarray, log_values: np.ndarray) -> np.ndarray:
    """(draw,) log of the mean over nodes of exp(``log_values``), (draw, node)."""
    return np.logaddexp.reduce(np.log(weight) + log_values, axis=1)
