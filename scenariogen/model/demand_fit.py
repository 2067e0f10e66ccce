"""The pattern of demand from flows by entry and day: how many factors, which density; decided on held-out days.

With fewer than :data:`LEAST_DAYS` days nothing is learned and the declared table stays. From there on the declared
lognormal scale, one common factor, and more factors compete for the likelihood of days that they have not seen. A
further factor must gain more than two standard errors of its gain; a flow likewise, and only where days are many.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from scenariogen.errors import ModelError
from scenariogen.model.condition import ConditionTable, DayKind
from scenariogen.model.demand_density import (
    MOST_FACTORS,
    MOST_FLOW_FACTORS,
    FactorDensity,
    FlowFactors,
    StudentFactors,
    flow_module,
)
from scenariogen.model.demand_factors import FactorFit, fit_factors, log_scores
from scenariogen.model.demand_pattern import DemandPattern
from scenariogen.sampling.training import fit, negative_log_likelihood
from scenariogen.trajectories.entries import EntryFlows

LEAST_DAYS = 5
DAYS_PER_FACTOR = 5
FLOW_DAYS = 60
MOST_FOLDS = 20
GAIN_ERRORS = 2.0
"""Standard errors that a gain on held-out days must have to be taken."""
PRIOR_DAYS = 2.0
"""Days that the declared spread of 0.1 counts for beside the recorded ones (1 for further factors, by definition)."""
EFFECT_SPREADS = 2.0
"""Prior standard deviation of a day type's or weather's effect, in spreads of the factor."""
SMALLEST_BASE = 0.5
DECLARED = "declared"


@dataclass(frozen=True, kw_only=True)
class DemandFit:
    """What was learned. ``pattern`` is None where the declared table stays; ``words`` say what was decided and why."""

    pattern: DemandPattern | None
    words: tuple[str, ...]
    scores: dict[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join(self.words)


def fit_demand(
    flows: EntryFlows,
    kinds: Sequence[DayKind] = (DayKind(),),
    kind_of_day: Sequence[int] | np.ndarray | None = None,
    *,
    reference: str | None = None,
    seed: int = 0,
) -> DemandFit:
    """Learn the pattern of demand from recorded days.

    ``kinds``        kinds of day that the table of conditions will hold
    ``kind_of_day``  the number of its kind for each day of ``flows``; None: all are of the first
    ``reference``    day type whose mean day is scale 1: that which the project's demand was made for; None: all days

    Raises ``ModelError`` where days and kinds do not fit together.
    """
    flows = flows.pooled()
    days = len(flows.days)
    kind = np.zeros(days, dtype=int) if kind_of_day is None else np.asarray(kind_of_day, dtype=int)
    if kind.shape != (days,) or (days and not 0 <= kind.min() <= kind.max() < len(kinds)):
        raise ModelError(f"got kinds of day {kind.tolist()} for {days} days and {len(kinds)} kinds")
    if days < LEAST_DAYS:
        return DemandFit(
            pattern=None,
            words=(
                f"{days} recorded day{'s' * (days != 1)} cannot show how demand differs from day to day (at least "
                f"{LEAST_DAYS} are needed): the declared table stays",
            ),
        )
    data = _Data(flows.by_day, kind, features(kinds), _reference_days(kinds, kind, reference))
    chosen, words, totals = _choose(data)
    if chosen == 0:
        return DemandFit(pattern=None, words=tuple(words), scores=totals)
    learned, density = data.fit(np.arange(days), chosen)
    if days >= FLOW_DAYS and chosen <= MOST_FLOW_FACTORS:
        density, said = _perhaps_flow(density, learned, data, seed)
        words.append(said)
    else:
        words.append(
            f"the factors' density is Student's t: a flow is tried from {FLOW_DAYS} days on, for up to "
            f"{MOST_FLOW_FACTORS} factors"
        )
    spread = np.sqrt(learned.psi)
    words.append(f"beyond the factors an entry's flow has a relative spread of {spread:.1%} from day to day")
    account = {"days": days, "words": words, "held_out_log_score": totals}
    return DemandFit(pattern=_pattern(flows, learned, density, account), words=tuple(words), scores=totals)


@dataclass(frozen=True, eq=False)
class _Data:
    """Counts (day, entry), kind of each day (day,), features of the kinds (kind, feature), reference days (day,)."""

    counts: np.ndarray
    kind: np.ndarray
    features: np.ndarray
    is_reference: np.ndarray

    def fit(self, rows: np.ndarray, factors: int) -> tuple[FactorFit, StudentFactors]:
        """Factors and their density from some of the days."""
        counts = self.counts[rows]
        learned = fit_factors(counts, _mean_day(counts, self.is_reference[rows]), factors)
        return learned, student_factors(learned.values, learned.errors, self.features, self.kind[rows])


def mean_day(counts: np.ndarray, kinds: Sequence[DayKind], kind: np.ndarray, reference: str | None) -> np.ndarray:
    """Vehicles by entry on a mean day of the reference type, (entry,), from counts (day, entry)."""
    return _mean_day(counts, _reference_days(kinds, kind, reference))


def _mean_day(counts: np.ndarray, is_reference: np.ndarray) -> np.ndarray:
    own = counts[is_reference] if is_reference.any() else counts
    return np.maximum(own.mean(0), SMALLEST_BASE)


def refit(
    found: DemandFit,
    flows: EntryFlows,
    kinds: Sequence[DayKind],
    kind: np.ndarray,
    rows: np.ndarray,
    reference: str | None = None,
    seed: int = 0,
) -> DemandPattern:
    """What ``found`` would have been from some of the pooled days alone: as many factors, the same family."""
    if found.pattern is None:
        raise ModelError("nothing was learned, so there is nothing to learn again")
    data = _Data(flows.by_day, kind, features(kinds), _reference_days(kinds, kind, reference))
    learned, density = data.fit(rows, found.pattern.factors)
    if isinstance(found.pattern.density, FlowFactors):
        return _pattern(flows, learned, _flow(learned.values, data.features, kind[rows], seed))
    return _pattern(flows, learned, density)


def _pattern(
    flows: EntryFlows, learned: FactorFit, density: FactorDensity, account: Mapping[str, Any] | None = None
) -> DemandPattern:
    return DemandPattern(
        entries=flows.entries,
        shares=learned.shares,
        loadings=learned.loadings,
        density=density,
        rest_spread=float(np.sqrt(np.log1p(learned.psi))),
        account=account or {},
    )


def _reference_days(kinds: Sequence[DayKind], kind: np.ndarray, reference: str | None) -> np.ndarray:
    of_type = np.array([reference is None or kinds[number].day_type == reference for number in kind])
    return of_type if of_type.any() else np.ones(len(kind), dtype=bool)


def features(kinds: Sequence[DayKind]) -> np.ndarray:
    """One, then whether each other day type and weather applies, (kind, feature)."""
    names = sorted({kind.day_type for kind in kinds} - {"weekday"})
    weathers = sorted({kind.weather for kind in kinds} - {"dry"})
    rows = [
        [1.0, *(float(kind.day_type == name) for name in names), *(float(kind.weather == name) for name in weathers)]
        for kind in kinds
    ]
    return np.array(rows)


def student_factors(values: np.ndarray, errors: np.ndarray, of_kind: np.ndarray, kind: np.ndarray) -> StudentFactors:
    """Posterior predictive of a normal regression of each factor on its day's features.

    Coefficients are normal around 0 with variance (:data:`EFFECT_SPREADS` σ)², σ² is scaled inverse χ² with
    :data:`PRIOR_DAYS` degrees of freedom around 0.1² for the common factor and 1 for the others (Gelman et al.,
    *Bayesian data analysis*, 2013, 14.2). The factors' own errors count as noise that is not the days'.
    """
    x = of_kind[kind]
    precision = x.T @ x + np.eye(x.shape[1]) / EFFECT_SPREADS**2
    covariance = np.linalg.inv(precision)
    degrees = PRIOR_DAYS + len(values)
    location = np.empty((len(of_kind), values.shape[1]))
    spread = np.empty_like(location)
    for factor in range(values.shape[1]):
        prior = 0.1**2 if factor == 0 else 1.0
        middle = covariance @ (x.T @ values[:, factor])
        squares = ((values[:, factor] - x @ middle) ** 2).sum() + (middle**2).sum() / EFFECT_SPREADS**2
        # what the estimates' errors add is taken out, but never more than half
        squares = max(squares - errors[:, factor].sum(), squares / 2) if factor == 0 else squares
        variance = (PRIOR_DAYS * prior + squares) / degrees
        location[:, factor] = of_kind @ middle
        spread[:, factor] = np.sqrt(variance * (1 + np.einsum("ki,ij,kj->k", of_kind, covariance, of_kind)))
    return StudentFactors(location=location, spread=spread, degrees=np.full(values.shape[1], degrees))


def declared_factors(kinds: int) -> StudentFactors:
    """The declared table's lognormal scale as a density of one common factor."""
    sigma = ConditionTable().demand_scale_sigma
    return StudentFactors(location=np.zeros((kinds, 1)), spread=np.full((kinds, 1), sigma), degrees=np.array([np.inf]))


def folds_of(days: int) -> list[np.ndarray]:
    """Days held out together: one by one up to :data:`MOST_FOLDS`, else in as many interleaved groups."""
    return [np.arange(start, days, MOST_FOLDS) for start in range(min(days, MOST_FOLDS))]


def held_out_scores(data: _Data, factors: int) -> dict[str, np.ndarray]:
    """log p of each day's flows by entry given the other days, (day,), with so many factors; with one also under the
    declared scale."""
    days = len(data.counts)
    scores = {str(factors): np.empty(days)} | ({DECLARED: np.empty(days)} if factors == 1 else {})
    for held in folds_of(days):
        learned, density = data.fit(np.setdiff1d(np.arange(days), held), factors)
        scores[str(factors)][held] = log_scores(learned, density, data.counts[held], data.kind[held])
        if DECLARED in scores:  # as it is realised: entries have nothing of their own
            alike, scale = replace(learned, psi=0.0), declared_factors(len(data.features))
            scores[DECLARED][held] = log_scores(alike, scale, data.counts[held], data.kind[held])
    return scores


def _choose(data: _Data) -> tuple[int, list[str], dict[str, float]]:
    """The number of factors (0: the declared table), words, and sums of the held-out scores."""
    days, entries = data.counts.shape
    scores = held_out_scores(data, 1)
    chosen, words = 1, []
    for number in range(2, min(MOST_FACTORS, days // DAYS_PER_FACTOR, entries - 1) + 1):
        scores |= held_out_scores(data, number)
        more = scores[str(number)] - scores[str(chosen)]
        error = more.std(ddof=1) / np.sqrt(days)
        takes = more.mean() > GAIN_ERRORS * error
        words.append(
            f"{number} factors: {more.mean():+.2f} nats a day against {chosen}, standard error {error:.2f}: "
            + ("taken" if takes else "not taken")
        )
        if not takes:
            break
        chosen = number
    totals = {name: float(each.sum()) for name, each in scores.items()}
    gain = (scores[str(chosen)] - scores[DECLARED]).mean()
    many = "the common scale and entries' own deviations" if chosen == 1 else f"{chosen} factors"
    if gain <= 0:
        said = (
            f"on days held out, what {days} days say about {many} scores {-gain:.2f} nats a day below the declared "
            "lognormal: the declared table stays"
        )
        return 0, [said, *words], totals
    said = f"{many} from {days} days: {gain:.2f} nats a day above the declared table on days held out"
    return chosen, [said, *words], totals


def _perhaps_flow(student: StudentFactors, learned: FactorFit, data: _Data, seed: int) -> tuple[FactorDensity, str]:
    """A flow of the factors, where it is better than Student's t on days held out."""
    days = len(learned.values)
    gains = np.empty(days)
    for start in range(5):
        held = np.arange(start, days, 5)
        rows = np.setdiff1d(np.arange(days), held)
        x, kind = torch.as_tensor(learned.values[held]), torch.as_tensor(data.kind[held])
        t = student_factors(learned.values[rows], learned.errors[rows], data.features, data.kind[rows])
        flow = _flow(learned.values[rows], data.features, data.kind[rows], seed)
        gains[held] = (flow.log_prob(x, kind) - t.log_prob(x, kind)).numpy()
    error = gains.std(ddof=1) / np.sqrt(days)
    takes = bool(np.isfinite(gains).all() and gains.mean() > GAIN_ERRORS * error)
    said = (
        f"a conditional flow of the factors scores {gains.mean():+.2f} nats a day against Student's t, standard error "
        f"{error:.2f}: {'taken' if takes else 'not taken'}"
    )
    return (_flow(learned.values, data.features, data.kind, seed) if takes else student), said


def _flow(values: np.ndarray, of_kind: np.ndarray, kind: np.ndarray, seed: int) -> FlowFactors:
    centre, scale = values.mean(0), values.std(0)
    scale = np.maximum(scale, 1e-6) * (1 if values.shape[1] > 1 else 1.2)  # one factor lies within CUT of these
    module = flow_module(values.shape[1], of_kind.shape[1], seed=seed)
    x = torch.as_tensor((values - centre) / scale)
    fit(
        module,
        negative_log_likelihood,
        (x, torch.as_tensor(of_kind[kind])),
        seed=seed,
        steps=600,
        batch=64,
        held_out=0.2,
        check_every=20,
        patience=8,
    )
    return FlowFactors(module=module, features=of_kind, centre=centre, scale=scale)
