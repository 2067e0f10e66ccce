"""Results as arrays: one row per scenario, one column per simulator seed, for each policy."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from scenariogen.errors import ResultsError
from scenariogen.evaluation.question import Measure, Question
from scenariogen.evaluation.records import RunResult
from scenariogen.scenarios.records import ScenarioBatch

MEAN = "mean_delay_veh_h"
LOCK_UP = "P(lock_up)"
ARRIVED = "mean_arrived_veh"
RECOVERY = "mean_time_to_recover_s"
"""From the start of an incident until its queue is gone, mean over the incidents of a run, of days with an incident."""
EMITTED = {"co2_kg": "mean_co2_kg", "nox_kg": "mean_nox_kg", "pmx_kg": "mean_pmx_kg"}
"""Names by column of a run, of what vehicles emit until the run ends."""
SOMETIMES = (ARRIVED, RECOVERY, *EMITTED.values())
"""Asked for only where runs hold it."""


def exceedance_name(threshold_veh_h: float) -> str:
    """Name of the probability that the delay of a run exceeds a threshold.

    >>> exceedance_name(150.0)
    'P(delay>150 veh h)'
    """
    return f"P(delay>{threshold_veh_h:g} veh h)"


def quantile_name(at: float) -> str:
    """Name of a quantile of delay.

    >>> quantile_name(0.95), cvar_name(0.9)
    ('quantile_0.95_delay_veh_h', 'cvar_0.9_delay_veh_h')
    """
    return f"quantile_{at:g}_delay_veh_h"


def cvar_name(at: float) -> str:
    """Name of the mean delay of the worst share 1 − ``at`` of days."""
    return f"cvar_{at:g}_delay_veh_h"


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What one policy gave on a batch.

    ``delay_veh_h``  (batch, seeds) system delay, nan where a run is in trouble
    ``locked_up``    (batch, seeds) 1 where the network locked up, nan as above
    ``arrived``      (batch, seeds) vehicles that reached their destination, nan as above
    ``recovery_s``   (batch, seeds) mean over the incidents of a run from start until the queue is gone, nan: none
    ``recovery_cut`` (batch, seeds) bool: a queue stood when the run ended, ``recovery_s`` is a lower bound
    ``emitted``      (batch, seeds) by column of :data:`EMITTED`, nan or without the column where not measured
    ``trouble``      (batch, seeds) bool: :attr:`RunResult.trouble`, or the run was not made
    ``reasons``      how many runs are in trouble, by reason in words
    """

    policy: str
    delay_veh_h: NDArray[np.float64] = field(repr=False)
    locked_up: NDArray[np.float64] = field(repr=False)
    arrived: NDArray[np.float64] = field(repr=False)
    recovery_s: NDArray[np.float64] = field(repr=False)
    recovery_cut: NDArray[np.bool_] = field(repr=False)
    emitted: dict[str, NDArray[np.float64]] = field(default_factory=dict, repr=False)
    trouble: NDArray[np.bool_] = field(repr=False)
    reasons: dict[str, int]

    @property
    def runs(self) -> int:
        """Runs with a delay."""
        return int(np.isfinite(self.delay_veh_h).sum())

    def exceeds(self, threshold_veh_h: float) -> NDArray[np.float64]:
        """(batch, seeds) 1 where the delay lies above a threshold, nan where it is not known."""
        return np.where(np.isnan(self.delay_veh_h), np.nan, self.delay_veh_h > threshold_veh_h)


def outcomes(
    runs: Iterable[RunResult], batch: ScenarioBatch, policies: Iterable[str], *, replicas: int = 1
) -> dict[str, Outcome]:
    """Arrays by policy, in the order of ``policies`` and of the batch. Raises ``ResultsError`` for strangers."""
    position = {index: place for place, index in enumerate(batch.columns.index.tolist())}
    shape = (len(batch), replicas)
    names = tuple(policies)
    numbers = {name: {each: np.full(shape, np.nan) for each in NUMBERS} for name in names}
    emitted = {name: {each: np.full(shape, np.nan) for each in EMITTED} for name in names}
    cut = {name: np.zeros(shape, dtype=bool) for name in names}
    made = {name: np.zeros(shape, dtype=bool) for name in names}
    trouble = {name: np.zeros(shape, dtype=bool) for name in names}
    reasons: dict[str, Counter[str]] = {name: Counter() for name in names}
    for run in runs:
        if run.policy not in numbers or run.scenario not in position or run.replica >= replicas:
            raise ResultsError(
                f"a run of scenario {run.scenario}, policy {run.policy!r}, seed {run.replica} does not belong to this "
                f"batch of {len(batch)} scenarios with policies {', '.join(names)} and {replicas} seeds"
            )
        where = position[run.scenario], run.replica
        made[run.policy][where] = True
        if run.trouble:
            trouble[run.policy][where] = True
            reasons[run.policy][run.trouble] += 1
        else:
            recovery_s, cut[run.policy][where] = _recovery(run, batch.window.end_s)
            measured = (run.system_delay_veh_h, float(run.locked_up), run.arrived, recovery_s)
            for each, value in zip(NUMBERS, measured, strict=True):
                numbers[run.policy][each][where] = math.nan if value is None else value
            for each, values in emitted[run.policy].items():
                kg = getattr(run, each)
                values[where] = math.nan if kg is None else kg
    for name in names:
        absent = int((~made[name]).sum())
        if absent:
            reasons[name]["not made yet"] = absent
    return {
        name: Outcome(
            policy=name,
            **numbers[name],
            recovery_cut=cut[name],
            emitted=emitted[name],
            trouble=trouble[name] | ~made[name],
            reasons=dict(reasons[name]),
        )
        for name in names
    }


NUMBERS = ("delay_veh_h", "locked_up", "arrived", "recovery_s")
"""What is read off every run."""


def _recovery(run: RunResult, end_s: float) -> tuple[float, bool]:
    """Mean time to recover (s) of the incidents that stood, nan without one; whether one had not recovered."""
    stood = [each for each in json.loads(run.incidents) if each["realised"] and "phases" in each]
    gone = [(each["happened"]["start_s"], each["phases"]["recovered_s"]) for each in stood]
    if not gone:
        return math.nan, False
    cut = any(recovered_s is None for _, recovered_s in gone)
    return float(np.mean([(end_s if r is None else r) - start_s for start_s, r in gone])), cut


def default_threshold(first: Outcome, batch: ScenarioBatch) -> float:
    """Twice the median delay (veh h) of the first policy without incidents, to two significant digits.

    The incident-free runs decide nothing else about the upper tail of the others, so the threshold is as good as
    fixed beforehand. Without incident-free runs the median of all is taken. Raises ``ResultsError`` without runs.
    """
    free = batch.columns.is_incident_free
    delay = first.delay_veh_h[free] if np.isfinite(first.delay_veh_h[free]).any() else first.delay_veh_h
    if not np.isfinite(delay).any():
        raise ResultsError(
            f"no run of policy {first.policy!r} gave a delay: "
            + ", ".join(f"{count} {reason}" for reason, count in first.reasons.items())
        )
    return two_digits(2.0 * float(np.nanmedian(delay)))


def two_digits(value: float) -> float:
    """Rounded to two significant digits.

    >>> two_digits(153.2), two_digits(0.0347), two_digits(0.0)
    (150.0, 0.035, 0.0)
    """
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, 1 - math.floor(math.log10(abs(value))))


def questions(
    by_policy: dict[str, Outcome], batch: ScenarioBatch, *, threshold_veh_h: float | None = None, tail: float = 0.95
) -> list[Question]:
    """Everything that is estimated, for each policy and then for each difference to the first policy.

    Mean delay, exceedance, lock-up, quantile and CVaR of delay at ``tail`` (not for scenarios made by hand), and, where
    they were measured, vehicles that arrived, time to recover and emissions. The threshold is :func:`default_threshold`
    where it is None.
    """
    first = next(iter(by_policy.values()))
    threshold = default_threshold(first, batch) if threshold_veh_h is None else threshold_veh_h
    asked = [
        _Asked(MEAN, lambda outcome: outcome.delay_veh_h),
        _Asked(exceedance_name(threshold), lambda outcome: outcome.exceeds(threshold), Measure.PROBABILITY),
        _Asked(LOCK_UP, lambda outcome: outcome.locked_up, Measure.PROBABILITY),
        _Asked(quantile_name(tail), lambda outcome: outcome.delay_veh_h, Measure.QUANTILE),
        _Asked(cvar_name(tail), lambda outcome: outcome.delay_veh_h, Measure.CVAR),
        _Asked(ARRIVED, lambda outcome: outcome.arrived),
        _Asked(RECOVERY, lambda outcome: outcome.recovery_s),
        *(_Asked(name, partial(_emitted, column)) for column, name in EMITTED.items()),
    ]
    measured = [
        each
        for each in asked
        if each.estimand not in SOMETIMES or any(np.isfinite(each.read(o)).any() for o in by_policy.values())
    ]
    if batch.design is None:  # a few scenarios that somebody chose have no tail
        measured = [each for each in measured if each.measure not in (Measure.QUANTILE, Measure.CVAR)]
    with_incident = np.array([not scenario.is_incident_free for scenario in batch.scenarios])
    return [
        _question(each, outcome, versus, tail, with_incident)
        for each in measured
        for versus in (None, first)
        for outcome in by_policy.values()
        if outcome is not versus
    ]


def _emitted(column: str, outcome: Outcome) -> NDArray[np.float64]:
    return outcome.emitted.get(column, np.full(outcome.delay_veh_h.shape, np.nan))


@dataclass(frozen=True)
class _Asked:
    estimand: str
    read: Callable[[Outcome], NDArray[np.float64]]
    measure: Measure = Measure.MEAN


def _question(
    asked: _Asked, outcome: Outcome, versus: Outcome | None, tail: float, with_incident: NDArray[np.bool_]
) -> Question:
    reasons = Counter(outcome.reasons)
    bounds = outcome.recovery_cut if asked.estimand == RECOVERY else None
    if versus is not None:
        reasons.update(versus.reasons)
        bounds = None if bounds is None else bounds | versus.recovery_cut
    return Question(
        policy=outcome.policy,
        versus=None if versus is None else versus.policy,
        estimand=asked.estimand,
        values=asked.read(outcome),
        baseline=None if versus is None else asked.read(versus),
        trouble=outcome.trouble if versus is None else outcome.trouble | versus.trouble,
        reasons=dict(reasons),
        measure=asked.measure,
        at=tail,
        given_incident=asked.estimand == RECOVERY,
        has_incident=with_incident,
        bounds=bounds,
    )
