"""Batches, runs and weights with known answers, without any simulator.

One kind of incident counts. A scenario is a day: the number of incidents is Poisson with mean κ at multiplier κ,
drawn from an equal mixture of κ = 0.5, 1, 2, 5 with at least one incident; every sixth scenario is incident-free.
Delay is a lognormal day plus a lognormal cost per incident.
"""

import math
from dataclasses import dataclass

import numpy as np

from scenariogen.evaluation.records import RunResult
from scenariogen.incidents.records import KINDS, Incident, IncidentKind
from scenariogen.scenarios.records import ConditionNode, Density, Design, Scenario, ScenarioBatch
from scenariogen.simulation.contract import EndReason
from scenariogen.window import StudyWindow

WINDOW = StudyWindow(begin_s=0, count_from_s=300, incidents_until_s=1500, end_s=2100, demand_end_s=2000)
GRID = (0.5, 1.0, 2.0, 5.0)
DAY, COST, SPREAD = 10.0, 3.0, 0.6
KIND = (1.0,) + (0.0,) * (len(KINDS) - 1)


def incident(number=0):
    return Incident(edge="e", start_s=400.0 + number, position_m=50.0, kind=IncidentKind.CRASH, lanes=(0,),
                    capacity_left=0.4, detection_s=60.0, response_s=300.0, clearance_s=600.0)  # fmt: skip


def counted_batch(n, *, seed=0, free_every=6, frequencies=GRID, project_hash="p" * 64):
    """A drawn batch with densities, so that its weights at any multiplier are known in closed form."""
    generator = np.random.default_rng(seed)
    scenarios = []
    for index in range(n):
        free = index % free_every == 0
        component = -1 if free else int(generator.integers(len(GRID)))
        count = 0 if free else _at_least_one(generator, GRID[component])
        counts = (count,) + (0,) * (len(KINDS) - 1)
        log_q = 0.0 if free else _log_mixture(count)
        scenarios.append(
            Scenario(
                index=index,
                seed=1000 + index,
                incidents=tuple(incident(k) for k in range(count)),
                density=Density(
                    component=component,
                    log_model=_log_poisson(count, 1.0),
                    log_proposal=log_q,
                    counts=counts,
                    expected=KIND,
                    expected_given=KIND,
                    counts_given=counts,
                ),
            )
        )
    return ScenarioBatch(
        project_hash=project_hash,
        network_hash="n" * 64,
        network_name="paper",
        window=WINDOW,
        scenarios=tuple(scenarios),
        design=Design(
            multipliers=tuple((each,) * len(KINDS) for each in GRID),
            alphas=(0.25,) * 4,
            frequencies=frequencies,
            free_every=free_every,
            nodes=(ConditionNode(weight=1.0, demand_scale=1.0, expected=KIND, expected_given=KIND),),
            lane_blocking_per_100_h=40.0,
            seed=seed,
        ),
    )


def hand_batch(n=1):
    """Scenarios that somebody wrote down: no design, no frequencies."""
    scenarios = tuple(Scenario(index=i, seed=50 + i, incidents=(incident(i),)) for i in range(n))
    return ScenarioBatch(
        project_hash="p" * 64, network_hash="n" * 64, network_name="paper", window=WINDOW, scenarios=scenarios
    )


def _at_least_one(generator, mean):
    count = 0
    while count == 0:
        count = int(generator.poisson(mean))
    return count


def _log_poisson(count, mean):
    return count * math.log(mean) - mean - math.lgamma(count + 1)


def _log_truncated(count, mean):
    return _log_poisson(count, mean) - math.log(-math.expm1(-mean))


def _log_mixture(count):
    return float(np.logaddexp.reduce([math.log(0.25) + _log_truncated(count, mean) for mean in GRID]))


@dataclass(frozen=True)
class PaperWeights:
    is_free: np.ndarray
    log_w: np.ndarray
    probability_free: float
    controls: np.ndarray
    weight_bound: tuple[float, float]
    classes: None = None


def paper_weights(batch, frequency):
    """What ``frequency_weights`` has to give for :func:`counted_batch`, worked out here from the counts alone."""
    is_free = np.array([scenario.is_incident_free for scenario in batch.scenarios])
    log_w = np.array(
        [
            0.0 if not s.incidents else _log_truncated(len(s.incidents), frequency) - _log_mixture(len(s.incidents))
            for s in batch.scenarios
        ]
    )
    weight = np.exp([_log_truncated(n, frequency) - _log_mixture(n) for n in range(1, 400)])
    return PaperWeights(is_free, log_w, math.exp(-frequency), np.zeros((len(log_w), 0)), (1.0, float(weight.max())))


def delays(batch, *, seed=1, factor=1.0, cost=COST, replicas=1):
    """(batch, replicas) delays: a day shared by all policies of a scenario, times a factor, plus costs."""
    generator = np.random.default_rng(seed)
    found = np.empty((len(batch), replicas))
    for row, scenario in enumerate(batch.scenarios):
        for column in range(replicas):
            day = DAY * math.exp(0.15 * generator.standard_normal())
            costs = cost * np.exp(SPREAD * generator.standard_normal(len(scenario.incidents)))
            found[row, column] = factor * day + costs.sum()
    return found


def true_mean(frequency, *, factor=1.0, cost=COST):
    return factor * DAY * math.exp(0.15**2 / 2) + frequency * cost * math.exp(SPREAD**2 / 2)


def run(scenario, policy, delay, *, replica=0, **changes):
    """A finished run with that delay."""
    count = len(scenario.incidents)
    values = {
        "key": f"{scenario.index}-{policy}-{replica}",
        "scenario": scenario.index,
        "policy": policy,
        "replica": replica,
        "seed": scenario.seed,
        "end_reason": EndReason.HORIZON,
        "system_delay_veh_h": float(delay),
        "time_veh_h": float(delay) + 20.0,
        "free_flow_veh_h": 20.0,
        "incidents_asked": count,
        "incidents_due": count,
        "incidents_realised": count,
    }
    return RunResult(**(values | changes))


def runs(batch, **policies):
    """Runs of several policies from their (batch, replicas) delays."""
    return [
        run(scenario, policy, delay, replica=replica)
        for policy, table in policies.items()
        for scenario, row in zip(batch.scenarios, table, strict=True)
        for replica, delay in enumerate(row)
    ]
