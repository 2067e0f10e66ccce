"""How the demand of days that were held out fares under what was learned without them.

Three predictions of each day's flows, of the network and of every edge, are scored by the log of the probability that
they gave to the counts: what :func:`~scenariogen.model.demand_fit.fit_demand` learns, the declared lognormal scale,
and the other days themselves, each with Poisson noise around it. Flows of edges follow from entries by the ways that
vehicles took on the other days. A 90 % interval should hold 90 % of the counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import gammaln, logsumexp

from scenariogen.model.condition import DayKind
from scenariogen.model.demand_fit import DECLARED, DemandFit, declared_factors, folds_of, mean_day, refit
from scenariogen.model.demand_pattern import DemandPattern
from scenariogen.randomness import child_seed, uniform
from scenariogen.trajectories.entries import EntryFlows

DRAWS = 2000
LEAST_ON_EDGE = 5.0
"""Vehicles of a mean day below which an edge is not looked at."""
LEVEL = 0.9
LEARNED, RESAMPLED = "learned", "days resampled"


@dataclass(frozen=True, kw_only=True)
class HeldOutScore:
    """One prediction at one level. ``log_score`` is the mean over days (nats; for edges also over edges), with its
    standard error over days; ``coverage`` the share of counts inside the 90 % interval; ``count`` how many."""

    log_score: float
    standard_error: float
    coverage: float
    count: int


@dataclass(frozen=True, kw_only=True)
class HeldOutCheck:
    """Scores by prediction for the ``network`` and for ``edges``."""

    days: int
    network: dict[str, HeldOutScore]
    edges: dict[str, HeldOutScore]

    @property
    def words(self) -> tuple[str, ...]:
        """Lines for people."""
        lines = [f"on {self.days} days held out (log score in nats, higher is better; share within the 90 % interval):"]
        for level, scores in (("network", self.network), ("edges", self.edges)):
            for name, score in scores.items():
                lines.append(
                    f"  {level}, {name}: {score.log_score:.2f} ± {score.standard_error:.2f}, {score.coverage:.0%} of "
                    f"{score.count}"
                )
        return tuple(lines)


def check_held_out(
    flows: EntryFlows,
    kinds: Sequence[DayKind],
    kind: Sequence[int] | np.ndarray,
    found: DemandFit,
    *,
    reference: str | None = None,
    seed: int = 0,
) -> HeldOutCheck:
    """Learn again without each day (or group of days), as many factors as ``found`` has, and predict it.

    How many factors there are was chosen with these days, which favours what was learned a little.
    """
    flows, kind = flows.pooled(), np.asarray(kind, dtype=int)
    days = len(flows.days)
    seen = np.flatnonzero(flows.by_edge.mean(0) >= LEAST_ON_EDGE)
    names = [DECLARED, RESAMPLED] if found.pattern is None else [LEARNED, DECLARED, RESAMPLED]
    logs = {name: np.empty((days, 1 + len(seen))) for name in names}
    inside = {name: np.empty((days, 1 + len(seen)), dtype=bool) for name in names}
    for held in folds_of(days):
        rows = np.setdiff1d(np.arange(days), held)
        past = flows.of_days(rows)
        pattern = None if found.pattern is None else refit(found, flows, kinds, kind, rows, reference, seed)
        to_edge = _ways(past)[:, seen]
        base = mean_day(past.by_day, kinds, kind[rows], reference)
        for day in held:
            truth = np.concatenate([[flows.by_day[day].sum()], flows.by_edge[day, seen]])
            for name in names:
                scales = _scales(name, pattern, past, base, kind[rows], int(kind[day]), day)
                flow = scales * base
                mean = np.concatenate([flow.sum(1, keepdims=True), flow @ to_edge], axis=1)
                logs[name][day], inside[name][day] = _score(truth, mean, day)
    return HeldOutCheck(
        days=days,
        network={name: _summary(logs[name][:, :1], inside[name][:, :1]) for name in names},
        edges={name: _summary(logs[name][:, 1:], inside[name][:, 1:]) for name in names} if len(seen) else {},
    )


def _ways(flows: EntryFlows) -> np.ndarray:
    """Share of each entry's vehicles that use each edge, (entry, edge)."""
    return flows.ways.sum(0) / np.maximum(flows.by_day.sum(0), 1.0)[:, None]


def _scales(
    name: str,
    pattern: DemandPattern | None,
    past: EntryFlows,
    base: np.ndarray,
    past_kind: np.ndarray,
    kind: int,
    day: int,
) -> np.ndarray:
    """Scales of the entries under one prediction, (draw, entry)."""
    if name == RESAMPLED:
        alike = past.by_day[past_kind == kind]
        return (alike if len(alike) >= 2 else past.by_day) / base
    density = declared_factors(kind + 1) if name == DECLARED or pattern is None else pattern.density
    rests = pattern.rests if name == LEARNED and pattern is not None else 0
    noise = uniform(child_seed(0, "held out", day), torch.arange(DRAWS), density.factors + rests)
    factors = density.sample(noise[:, : density.factors], torch.full((DRAWS,), kind)).numpy()
    if name == DECLARED or pattern is None:
        return np.exp(factors) * np.ones(len(base))
    return pattern.entry_scales(factors, pattern.draw_rest(noise[:, density.factors :]).numpy())


def _score(truth: np.ndarray, mean: np.ndarray, day: int) -> tuple[np.ndarray, np.ndarray]:
    """Log-probability of the counts (count,) under the mixture of Poisson means (draw, count), and whether they lie
    in its central interval."""
    mean = np.maximum(mean, 1e-3)
    logs = truth * np.log(mean) - mean - gammaln(truth + 1)
    random = np.random.default_rng(child_seed(1, "held out", int(day)))
    copies = -(-DRAWS // len(mean))
    drawn = random.poisson(np.tile(mean, (copies, 1)))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return logsumexp(logs, axis=0) - np.log(len(mean)), (low <= truth) & (truth <= high)


def _summary(logs: np.ndarray, inside: np.ndarray) -> HeldOutScore:
    by_day = logs.mean(1)
    return HeldOutScore(
        log_score=float(by_day.mean()),
        standard_error=float(by_day.std(ddof=1) / np.sqrt(len(by_day))),
        coverage=float(inside.mean()),
        count=int(inside.size),
    )
