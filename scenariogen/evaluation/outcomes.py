"""Results as arrays: one row per scenario, one column per simulator seed, for each policy."""

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from scenariogen.errors import ResultsError
from scenariogen.evaluation.records import RunResult
from scenariogen.scenarios.records import ScenarioBatch
from scenariogen.simulation.contract import EndReason

MEAN = "mean_delay_veh_h"
LOCK_UP = "P(lock_up)"


def exceedance_name(threshold_veh_h: float) -> str:
    """Name of the probability that the delay of a run exceeds a threshold.

    >>> exceedance_name(150.0)
    'P(delay>150 veh h)'
    """
    return f"P(delay>{threshold_veh_h:g} veh h)"


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What one policy gave on a batch.

    ``delay_veh_h``  (batch, seeds) system delay, nan where a run failed or was not made
    ``locked_up``    (batch, seeds) 1 where the network locked up, nan as above
    ``trouble``      (batch, seeds) bool: the run failed, was not made, or an incident of it did not happen
    ``reasons``      how many runs are in trouble, by reason in words
    """

    policy: str
    delay_veh_h: NDArray[np.float64] = field(repr=False)
    locked_up: NDArray[np.float64] = field(repr=False)
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
    position = {scenario.index: place for place, scenario in enumerate(batch.scenarios)}
    shape = (len(batch), replicas)
    names = tuple(policies)
    delay = {name: np.full(shape, np.nan) for name in names}
    locked = {name: np.full(shape, np.nan) for name in names}
    made = {name: np.zeros(shape, dtype=bool) for name in names}
    trouble = {name: np.zeros(shape, dtype=bool) for name in names}
    reasons: dict[str, Counter[str]] = {name: Counter() for name in names}
    for run in runs:
        if run.policy not in delay or run.scenario not in position or run.replica >= replicas:
            raise ResultsError(
                f"a run of scenario {run.scenario}, policy {run.policy!r}, seed {run.replica} does not belong to this "
                f"batch of {len(batch)} scenarios with policies {', '.join(names)} and {replicas} seeds"
            )
        where = position[run.scenario], run.replica
        made[run.policy][where] = True
        if run.system_delay_veh_h is not None:
            delay[run.policy][where] = run.system_delay_veh_h
            locked[run.policy][where] = float(run.locked_up)
        if (reason := _trouble(run)) is not None:
            trouble[run.policy][where] = True
            reasons[run.policy][reason] += 1
    for name in names:
        absent = int((~made[name]).sum())
        if absent:
            reasons[name]["not made yet"] = absent
    return {
        name: Outcome(
            policy=name,
            delay_veh_h=delay[name],
            locked_up=locked[name],
            trouble=trouble[name] | ~made[name],
            reasons=dict(reasons[name]),
        )
        for name in names
    }


def _trouble(run: RunResult) -> str | None:
    if run.not_realised:
        return "incident not realised"
    if run.balance_broken:
        return "vehicles not accounted for"
    words = {
        EndReason.SIMULATOR_DIED: "simulator died",
        EndReason.POLICY_RAISED: "policy raised",
        EndReason.INJECTION_FAILED: "could not be injected",
    }
    return words.get(run.end_reason)


def default_threshold(first: Outcome, batch: ScenarioBatch) -> float:
    """Twice the median delay (veh h) of the first policy without incidents, to two significant digits.

    The incident-free runs decide nothing else about the upper tail of the others, so the threshold is as good as
    fixed beforehand. Without incident-free runs the median of all is taken. Raises ``ResultsError`` without runs.
    """
    free = np.array([scenario.is_incident_free for scenario in batch.scenarios])
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """One column of numbers to average.

    ``values``    (batch, seeds) of a policy, nan where not known
    ``baseline``  (batch, seeds) of the policy that is subtracted, or None
    ``trouble``   (batch, seeds) bool: the run of either is in trouble
    """

    policy: str
    versus: str | None
    estimand: str
    values: NDArray[np.float64] = field(repr=False)
    baseline: NDArray[np.float64] | None = field(repr=False)
    trouble: NDArray[np.bool_] = field(repr=False)
    reasons: dict[str, int]

    @property
    def is_probability(self) -> bool:
        """True where values are 0 or 1."""
        return self.estimand != MEAN

    @cached_property
    def paired(self) -> NDArray[np.float64]:
        """(batch, seeds) values less the baseline's, nan where either is not known."""
        return self.values if self.baseline is None else self.values - self.baseline

    @property
    def runs(self) -> int:
        """Runs that the answer is made of; pairs count once."""
        return int(np.isfinite(self.paired).sum())

    def completed(
        self, free_rows: NDArray[np.bool_], *, worst: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Values and baseline with every troubled run as good, or as bad, as it can be.

        For a probability the event never, or always, happens; for a mean the run is like the best, or the worst,
        untroubled one of its stratum (``free_rows``: (batch,) bool).
        """
        values = self.values.copy()
        baseline = None if self.baseline is None else self.baseline.copy()
        for rows in (free_rows, ~free_rows):
            here = self.trouble & rows[:, None]
            if not here.any():
                continue
            if self.is_probability:
                values[here] = float(worst)
                if baseline is not None:
                    baseline[here] = float(not worst)
                continue
            sound = self.paired[rows[:, None] & ~self.trouble & np.isfinite(self.paired)]
            if sound.size:
                values[here] = sound.max() if worst else sound.min()
                if baseline is not None:
                    baseline[here] = 0.0
        return values, baseline


def questions(
    by_policy: dict[str, Outcome], batch: ScenarioBatch, *, threshold_veh_h: float | None = None
) -> list[Question]:
    """Mean delay, exceedance and lock-up, for each policy and then for each difference to the first policy.

    The threshold is :func:`default_threshold` where it is None.
    """
    first = next(iter(by_policy.values()))
    threshold = default_threshold(first, batch) if threshold_veh_h is None else threshold_veh_h
    kinds: list[tuple[str, Callable[[Outcome], NDArray[np.float64]]]] = [
        (MEAN, lambda outcome: outcome.delay_veh_h),
        (exceedance_name(threshold), lambda outcome: outcome.exceeds(threshold)),
        (LOCK_UP, lambda outcome: outcome.locked_up),
    ]
    return [
        _question(estimand, read, outcome, versus)
        for estimand, read in kinds
        for versus in (None, first)
        for outcome in by_policy.values()
        if outcome is not versus
    ]


def _question(
    estimand: str, read: Callable[[Outcome], NDArray[np.float64]], outcome: Outcome, versus: Outcome | None
) -> Question:
    reasons = Counter(outcome.reasons)
    if versus is not None:
        reasons.update(versus.reasons)
    return Question(
        policy=outcome.policy,
        versus=None if versus is None else versus.policy,
        estimand=estimand,
        values=read(outcome),
        baseline=None if versus is None else read(versus),
        trouble=outcome.trouble if versus is None else outcome.trouble | versus.trouble,
        reasons=dict(reasons),
    )
