"""Synthetic days with known answers, evaluated by the package's own code: what ``check_coverage`` counts.

A day holds a Poisson number of incidents (mean κ at multiplier κ). Its delay is a lognormal day plus a cost per
incident; a scenario is tried with two simulator seeds, which add noise of their own. The truth is that of two million
days drawn directly, whose own error is below a hundredth of the intervals' width.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import cast

import numpy as np

from scenariogen.evaluation.estimate import answers_at
from scenariogen.evaluation.estimating import estimate_sample
from scenariogen.evaluation.outcomes import MEAN, Outcome, cvar_name, exceedance_name, quantile_name, questions
from scenariogen.evaluation.strata import sample_of
from scenariogen.incidents.records import KINDS, Incident, IncidentKind
from scenariogen.scenarios.records import ConditionNode, Density, Design, RateGroup, Scenario, ScenarioBatch
from scenariogen.scenarios.reweight import frequency_weights
from scenariogen.window import StudyWindow

GRID = (0.5, 1.0, 2.0, 5.0)
FREQUENCY, AT, THRESHOLD, SCENARIOS, SEEDS = 2.0, 0.8, 20.0, 600, 2
TRUTH_DAYS = 2_000_000
WEIBULL_CHANCE = 0.5
_SPAN = (0.25, 5.0)
"""Durations that do not count together with all shorter or longer ones, over their median."""
PRIOR, LOG_DAYS = 6.0, 4.0
"""Shape of the rate's prior, and how many days of incidents a log holds, for the total interval."""

Costs = Callable[[np.random.Generator, int], np.ndarray]
ESTIMANDS = (
    "mean", "probability", "quantile", "CVaR", "difference", "stages", "all differences", "total", "total, families",
)  # fmt: skip
TOTALS = ("total", "total, families")
LIMITS = {"cheap": ("mean", "probability"), "2000": (0.93, 0.97), "500": (0.92, 0.98)}
ONE_SIDED = ("probability", "all differences", "quantile")
"""Atoms, conservative limits, or several at once by a bound: only the lower limit can be met."""


@dataclass(frozen=True, kw_only=True)
class Days:
    """``cost``  of incidents, (n,); ``seed_sd``  of the simulator's noise, a share of the day."""

    name: str
    cost: Costs
    seed_sd: float = 0.1


DAYS = (
    Days(name="skewed", cost=lambda g, n: 3 * np.exp(0.6 * g.standard_normal(n))),
    Days(name="heavy tail", cost=lambda g, n: 2 * np.exp(g.standard_exponential(n) / 3.5)),
    Days(name="atoms", cost=lambda g, n: 6.0 * (g.random(n) < 0.5)),
    Days(name="noisy simulator", cost=lambda g, n: 3 * np.exp(0.3 * g.standard_normal(n)), seed_sd=0.5),
)


@dataclass(frozen=True, kw_only=True)
class Counted:
    """Out of ``repeats``: covered, truth below or above the interval, refused."""

    days: str
    estimand: str
    repeats: int
    covered: int
    below: int
    above: int
    refused: int

    header = ("days", "estimand", "repeats", "covered", "covered of answered", "below", "above", "refused")

    @property
    def rate(self) -> float:
        """Covered, refusals being misses."""
        return self.covered / self.repeats

    @property
    def answered_rate(self) -> float:
        """Covered of those that were answered."""
        return self.covered / max(self.repeats - self.refused, 1)

    @property
    def within(self) -> bool:
        """Whether coverage lies in its limits, with four standard errors of fewer repeats around them."""
        low, high = LIMITS["2000" if self.estimand in LIMITS["cheap"] else "500"]
        room = 0.0 if self.repeats >= 500 else 4 * math.sqrt(0.05 * 0.95 / self.repeats) - 0.02
        return self.rate >= low - room and (self.estimand in ONE_SIDED or self.rate <= high + room)

    def plain(self) -> dict:
        return asdict(self) | {"rate": self.rate, "answered_rate": self.answered_rate, "within": self.within}

    def cells(self) -> tuple[str, ...]:
        counts = (self.below, self.above, self.refused)
        shares = f"{self.rate:.3f}", f"{self.answered_rate:.3f}"
        return (self.days, self.estimand, str(self.repeats), *shares, *map(str, counts))


def measure(days: Days, estimand: str, *, repeats: int, seed: int = 1) -> Counted:
    """Coverage of the 95 % interval with the gate in front of it."""
    covered = below = above = refused = 0
    for repeat in range(repeats):
        limits = once(days, estimand, np.random.default_rng([seed, repeat, DAYS.index(days)]))
        if limits is None:
            refused += 1
        elif all(low <= truth <= high for low, truth, high in limits):
            covered += 1
        elif any(truth < low for low, truth, _ in limits):
            below += 1
        else:
            above += 1
    return Counted(
        days=days.name, estimand=estimand, repeats=repeats, covered=covered, below=below, above=above, refused=refused
    )


def once(days: Days, estimand: str, generator: np.random.Generator) -> list[tuple[float, float, float]] | None:
    """(low, truth, high) of one evaluation, of each difference where several are asked; None where refused."""
    u, shape, rate = 1.0, 1e9, 1e9
    if estimand in TOTALS:
        u = float(generator.gamma(PRIOR, 1 / PRIOR))
        shape, rate = PRIOR + int(generator.poisson(u * LOG_DAYS)), PRIOR + LOG_DAYS
    batch, day_mean, cost_mean = drawn(generator, shape), _day_mean(days), _cost_mean(days)
    if estimand == "total, families":
        cost, (batch, effects) = days.cost, with_durations(batch, generator)
        days = replace(days, cost=lambda g, n: cost(g, n) * effects)
        cost_mean *= mean_effects()[int(generator.random() < WEIBULL_CHANCE)]
    factors = {"several": (1.0, 0.9, 0.95, 1.1), "pair": (1.0, 0.9)}.get(
        "several" if estimand == "all differences" else "pair" if estimand == "difference" else "", (1.0,)
    )
    outcomes = run(days, batch, generator, factors)
    name = {"probability": exceedance_name(THRESHOLD), "quantile": quantile_name(AT), "CVaR": cvar_name(AT)}.get(
        estimand, MEAN
    )
    asked = [q for q in questions(outcomes, batch, threshold_veh_h=THRESHOLD, tail=AT) if q.estimand == name]
    place = np.arange(SCENARIOS)
    stages = [(place < 300, 0.5), (place >= 300, 0.5)] if estimand == "stages" else None
    found = [
        each
        for each, _ in answers_at(
            asked, batch, frequency_weights(batch, FREQUENCY), FREQUENCY, stages=stages, total=estimand in TOTALS
        )
        if (each.versus is not None) == (len(factors) > 1)
    ]
    if any(each.is_refused for each in found):
        return None
    kappa = FREQUENCY * u * rate / shape
    if estimand in TOTALS:
        if found[0].low_total is None or found[0].high_total is None:
            return None
        return [(found[0].low_total, day_mean + kappa * cost_mean, found[0].high_total)]
    if len(factors) > 1:
        ends = [(e.low_all, e.high_all) if len(factors) > 2 else (e.low, e.high) for e in found]
        return [(low, (f - 1) * day_mean, high) for (low, high), f in zip(ends, factors[1:], strict=True)]
    return [(found[0].low, _truth(days)[estimand if estimand in ("probability", "quantile", "CVaR") else "mean"],
             found[0].high)]  # fmt: skip


def drawn(
    generator: np.random.Generator, shape: float, *, scenarios: int = SCENARIOS, grid: tuple[float, ...] = GRID
) -> ScenarioBatch:
    """A batch of scenarios with their densities: equal shares of the frequencies, every fourth without incident."""
    kind = (1.0,) + (0.0,) * (len(KINDS) - 1)
    made = []
    for index in range(scenarios):
        component = -1 if index % 4 == 3 else int(generator.integers(len(grid)))
        count = 0
        while component >= 0 and count == 0:
            count = int(generator.poisson(grid[component]))
        counts = (count,) + (0,) * (len(KINDS) - 1)
        made.append(
            Scenario(
                index=index,
                seed=index,
                incidents=(_INCIDENT,) * count,
                density=Density(
                    component=component, log_model=0.0, log_proposal=0.0, counts=counts, expected=kind,
                    expected_given=kind, counts_given=counts,
                ),
            )
        )  # fmt: skip
    group = RateGroup(kind=KINDS[0].value, road_class="street", expected=1.0, expected_given=1.0, shape=shape)
    design = Design(
        multipliers=tuple((each,) * len(KINDS) for each in grid),
        alphas=(1 / len(grid),) * len(grid),
        frequencies=grid,
        nodes=(ConditionNode(weight=1.0, demand_scale=1.0, expected=kind, expected_given=kind),),
        seed=int(generator.integers(2**31)),
        rates=(group,),
        road_classes=(("e", "street"),),
    )
    return ScenarioBatch(
        project_hash="p", network_hash="n", network_name="days", window=_WINDOW, scenarios=tuple(made),
        design=design,
    )  # fmt: skip


def with_durations(batch: ScenarioBatch, generator: np.random.Generator) -> tuple[ScenarioBatch, np.ndarray]:
    """The batch with durations that the model has lognormal and that may be Weibull with the same quartiles.

    Also the effect on the cost of each incident. Short and long durations count together, as in the package.
    """
    lognormal, weibull = _families()
    scenarios, effects = [], []
    for scenario in batch.scenarios:
        times = lognormal.rvs(size=len(scenario.incidents), random_state=generator)
        ratio = _log_mass(weibull, times) - _log_mass(lognormal, times)
        effects.append(_effect(times))
        density = replace(cast(Density, scenario.density), log_durations=(float(ratio.sum()),))
        scenarios.append(replace(scenario, density=density))
    design = replace(
        cast(Design, batch.design), durations=(("as fitted", 1 - WEIBULL_CHANCE), ("Weibull", WEIBULL_CHANCE))
    )
    return replace(batch, scenarios=tuple(scenarios), design=design), np.concatenate(effects)


@lru_cache(maxsize=1)
def mean_effects() -> tuple[float, float]:
    """Mean effect on the cost where durations are lognormal, and where they are Weibull."""
    u = (np.arange(TRUTH_DAYS) + 0.5) / TRUTH_DAYS
    lognormal, weibull = (float(_effect(family.ppf(u)).mean()) for family in _families())
    return lognormal, weibull


def _families():
    from scipy import stats

    lognormal = stats.lognorm(0.6)
    low, high = np.log(lognormal.ppf([0.25, 0.75]))
    scale = (high - low) / (math.log(-math.log(0.25)) - math.log(-math.log(0.75)))
    return lognormal, stats.weibull_min(1 / scale, scale=math.exp(low - scale * math.log(-math.log(0.75))))


def _log_mass(family, times: np.ndarray) -> np.ndarray:
    """Log density of durations, or log probability of all that are as short, or as long, as counts together."""
    low, high = _SPAN
    inside = family.logpdf(np.clip(times, low, high))
    return np.where(times <= low, family.logcdf(low), np.where(times >= high, family.logsf(high), inside))


def _effect(times: np.ndarray) -> np.ndarray:
    return np.clip(times, *_SPAN) ** 1.5


def run(
    days: Days, batch: ScenarioBatch, generator: np.random.Generator, factors: tuple[float, ...], seeds: int = SEEDS
) -> dict:
    """Outcomes by policy: the day, times the policy's factor, and the costs, which all policies share."""
    counts = np.array([len(s.incidents) for s in batch.scenarios])
    day, costs = _delay(days, counts, generator, seeds)
    calm = np.zeros(day.shape)
    return {
        f"policy {number}": Outcome(
            policy=f"policy {number}",
            delay_veh_h=factor * day + costs,
            locked_up=calm,
            arrived=calm + np.nan,
            recovery_s=calm + np.nan,
            recovery_cut=calm > 0,
            trouble=calm > 0,
            reasons={},
        )
        for number, factor in enumerate(factors)
    }


def _delay(days: Days, counts: np.ndarray, generator: np.random.Generator, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """(day, seed) of the day itself, whose noise differs by seed, and the costs of its incidents."""
    common = 10 * np.exp(0.15 * generator.standard_normal(len(counts)))[:, None]
    day = common * np.exp(days.seed_sd * generator.standard_normal((len(counts), seeds)))
    owner = np.repeat(np.arange(len(counts)), counts)
    costs = np.bincount(owner, weights=days.cost(generator, len(owner)), minlength=len(counts))[:, None]
    return day, costs + np.zeros_like(day)


@lru_cache(maxsize=8)
def _truth(days: Days) -> dict[str, float]:
    generator = np.random.default_rng(99)
    day, costs = _delay(days, generator.poisson(FREQUENCY, TRUTH_DAYS), generator, 1)
    delay = (day + costs).ravel()
    q = float(np.quantile(delay, AT))
    return {
        "mean": _mean(days, FREQUENCY),
        "probability": float((delay > THRESHOLD).mean()),
        "quantile": q,
        "CVaR": q + float(np.maximum(delay - q, 0).mean()) / (1 - AT),
    }


def _mean(days: Days, kappa: float) -> float:
    return _day_mean(days) + kappa * _cost_mean(days)


def _day_mean(days: Days) -> float:
    return 10 * math.exp(0.15**2 / 2 + days.seed_sd**2 / 2)


@lru_cache(maxsize=8)
def _cost_mean(days: Days) -> float:
    return float(days.cost(np.random.default_rng(98), TRUTH_DAYS).mean())


@dataclass(frozen=True, kw_only=True)
class TailRuns:
    """CVaR at a low frequency, from plain draws of days and from a batch with weights.

    ``plain_error``, ``error``  root mean squared, over the truth; that of the batch in front of the gate
    ``needed``   runs of a batch whose error is that of the plain draws, by the root of the number of runs
    ``plain_covered``  share of percentile bootstrap intervals of the plain draws that hold the truth
    ``covered``  share of the batches' intervals that do
    """

    plain_draws: int
    plain_error: float
    plain_covered: float
    runs: int
    error: float
    covered: float

    @property
    def needed(self) -> float:
        return self.runs * (self.error / self.plain_error) ** 2


def tail_runs(days: Days, *, kappa: float, at: float, plain_draws: int, runs: int, repeats: int) -> TailRuns:
    """How well ``plain_draws`` days of equal weight tell the CVaR, and how well ``runs`` scenarios of a batch do."""
    generator = np.random.default_rng(97)
    truth = _cvar(_days_at(days, kappa, TRUTH_DAYS, generator), at)
    plain = np.array([_plain_cvar(days, kappa, at, plain_draws, generator) for _ in range(10 * repeats)])
    batch = np.array([_cvar_of_batch(days, kappa, at, runs, np.random.default_rng([5, k])) for k in range(repeats)])
    return TailRuns(
        plain_draws=plain_draws,
        runs=runs,
        **{
            f"{name}{what}": value
            for name, found in (("plain_", plain), ("", batch))
            for what, value in (
                ("error", float(np.sqrt(((found[:, 0] / truth - 1) ** 2).mean()))),
                ("covered", float(((found[:, 1] <= truth) & (truth <= found[:, 2])).mean())),
            )
        },
    )


def _days_at(days: Days, kappa: float, number: int, generator: np.random.Generator) -> np.ndarray:
    day, costs = _delay(days, generator.poisson(kappa, number), generator, 1)
    return (day + costs).ravel()


def _cvar(delay: np.ndarray, at: float) -> float:
    q = float(np.quantile(delay, at))
    return q + float(np.maximum(delay - q, 0).mean()) / (1 - at)


def _plain_cvar(
    days: Days, kappa: float, at: float, draws: int, generator: np.random.Generator
) -> tuple[float, float, float]:
    """CVaR of plain draws with a percentile bootstrap at 95 percent."""
    delay = _days_at(days, kappa, draws, generator)
    again = [_cvar(generator.choice(delay, draws), at) for _ in range(200)]
    return _cvar(delay, at), float(np.quantile(again, 0.025)), float(np.quantile(again, 0.975))


def _cvar_of_batch(
    days: Days, kappa: float, at: float, runs: int, generator: np.random.Generator
) -> tuple[float, float, float]:
    """CVaR of a batch drawn for up to twice the frequency, with its interval, in front of the gate."""
    batch = drawn(generator, 1e9, scenarios=runs, grid=(kappa, 2 * kappa))
    asked = questions(run(days, batch, generator, (1.0,), seeds=1), batch, threshold_veh_h=THRESHOLD, tail=at)
    question = next(each for each in asked if each.estimand == cvar_name(at))
    found = estimate_sample(question, sample_of(question, frequency_weights(batch, kappa)))
    return found.value, found.low, found.high


_INCIDENT = Incident(
    edge="e", start_s=400.0, position_m=50.0, kind=IncidentKind(KINDS[0].value), lanes=(0,), capacity_left=0.4,
    detection_s=60.0, response_s=300.0, clearance_s=600.0,
)  # fmt: skip
_WINDOW = StudyWindow(begin_s=0, count_from_s=300, incidents_until_s=1500, end_s=2100, demand_end_s=2000)
