"""What each scenario cost under each policy, and how much of that the incidents added."""

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from scenariogen.evaluation.store import Results
from scenariogen.scenarios.records import Scenario


@dataclass(frozen=True, kw_only=True)
class ScenarioCost:
    """One scenario's delay by policy; a policy whose runs all failed is not there.

    ``delay_veh_h``  mean over the simulator's seeds
    ``extra_veh_h``  that, less the policy's median over incident-free runs; empty where there are none
    ``locked_up``    policies under which the network locked up, with any seed
    """

    scenario: Scenario = field(repr=False)
    delay_veh_h: Mapping[str, float]
    extra_veh_h: Mapping[str, float]
    locked_up: tuple[str, ...]

    @property
    def worst_veh_h(self) -> float:
        """The largest delay that any policy left."""
        return max(self.delay_veh_h.values(), default=-math.inf)


def incident_free_medians(results: Results) -> dict[str, float]:
    """Median delay (veh h) of each policy over runs without incident; policies without such runs are left out."""
    free = {scenario.index for scenario in results.batch.scenarios if scenario.is_incident_free}
    seen: dict[str, list[float]] = defaultdict(list)
    for run in results.runs:
        if run.scenario in free and run.system_delay_veh_h is not None:
            seen[run.policy].append(run.system_delay_veh_h)
    return {policy: statistics.median(seen[policy]) for policy in results.policies if seen[policy]}


def scenario_costs(results: Results) -> list[ScenarioCost]:
    """The cost of every scenario that has a valid run, in the batch's order."""
    medians = incident_free_medians(results)
    delays: dict[tuple[int, str], list[float]] = defaultdict(list)
    locked: dict[int, set[str]] = defaultdict(set)
    for run in results.runs:
        if run.system_delay_veh_h is not None:
            delays[run.scenario, run.policy].append(run.system_delay_veh_h)
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
                    extra_veh_h={p: value - medians[p] for p, value in delay.items() if p in medians},
                    locked_up=tuple(p for p in results.policies if p in locked[scenario.index]),
                )
            )
    return found
