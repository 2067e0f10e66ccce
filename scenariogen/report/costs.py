"""What each scenario cost under each policy, and how much of that the incidents added."""

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from scenariogen.evaluation.store import Results
from scenariogen.scenarios.records import Scenario

LEAST_RUNS_FOR_DEMAND = 8
Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ScenarioCost:
    """One scenario's delay by policy; a policy whose runs are all in trouble is not there.

    ``delay_veh_h``  mean over the simulator's seeds
    ``extra_veh_h``  that, less what the policy's incident-free runs cost at the same demand; empty where there are none
    ``locked_up``    policies under which the network locked up, with any seed
    """

    scenario: Scenario = field(repr=False)
    delay_veh_h: Mapping[str, float]
    extra_veh_h: Mapping[str, float]
    locked_up: tuple[str, ...]

    @property
    def worst_veh_h(self) -> float:
        """The most that its incidents added under any policy; where that is not known, the largest delay."""
        return max((self.extra_veh_h or self.delay_veh_h).values(), default=-math.inf)

    @property
    def worst_policy(self) -> str:
        """The policy under which that was."""
        costs = self.extra_veh_h or self.delay_veh_h
        return max(costs, key=lambda policy: costs[policy])


def incident_free_levels(results: Results) -> dict[str, Callable[[float], float]]:
    """Delay (veh h) of each policy without incidents as a function of the demand scale; policies without such runs
    are left out.

    A power of the demand, by least squares of the logarithms, from :data:`LEAST_RUNS_FOR_DEMAND` runs at different
    demands; the median otherwise.
    """
    free = {s.index: s.condition.demand_scale for s in results.batch.scenarios if s.is_incident_free}
    seen: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for run in results.runs:
        if run.scenario in free and (delay_veh_h := run.valid_delay_veh_h) is not None:
            seen[run.policy].append((free[run.scenario], delay_veh_h))
    fitted = {policy: level_of(*np.array(seen[policy]).T) for policy in results.policies if seen[policy]}
    return {policy: partial(_at, level) for policy, level in fitted.items()}


def _at(level: Callable[[Array], Array], scale: float) -> float:
    return float(level(np.array([scale]))[0])


def level_of(scales: Array, delays: Array) -> Callable[[Array], Array]:
    """The delay without incidents as a function of demand scales, from runs (run,); as :func:`incident_free_levels`."""
    if len(delays) < LEAST_RUNS_FOR_DEMAND or delays.min() <= 0 or np.ptp(scales) == 0:
        median = float(np.median(delays))
        return lambda asked: np.full(np.shape(asked), median)
    x, y = np.log(scales), np.log(delays)
    power = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    return lambda asked: np.exp(y.mean() + power * (np.log(asked) - x.mean()))


def scenario_costs(results: Results) -> list[ScenarioCost]:
    """The cost of every scenario that has a valid run, in the batch's order."""
    levels = incident_free_levels(results)
    delays: dict[tuple[int, str], list[float]] = defaultdict(list)
    locked: dict[int, set[str]] = defaultdict(set)
    for run in results.runs:
        if (delay_veh_h := run.valid_delay_veh_h) is not None:
            delays[run.scenario, run.policy].append(delay_veh_h)
            if run.locked_up:
                locked[run.scenario].add(run.policy)
    found = []
    for scenario in results.batch.scenarios:
        delay = {
            policy: statistics.fmean(delays[scenario.index, policy])
            for policy in results.policies
            if (scenario.index, policy) in delays
        }
        if delay:
            found.append(
                ScenarioCost(
                    scenario=scenario,
                    delay_veh_h=delay,
                    extra_veh_h={
                        p: value - levels[p](scenario.condition.demand_scale)
                        for p, value in delay.items()
                        if p in levels
                    },
                    locked_up=tuple(p for p in results.policies if p in locked[scenario.index]),
                )
            )
    return found
