"""Which incidents carry a policy's delay, or the difference of two policies: by edge, kind and hour.

The mean over scenarios at one frequency is Σ_i W_i h_i, with h_i a scenario's delay (or difference of delays) and W_i
its weight: P(stratum) · w_i / Σ w, calibrated to the known mean of the demand scale (:func:`.cases.calibrated`). It
differs from the estimate of record, which is corrected fold by fold, by a part of its standard error, and is split
without remainder:

    Σ_i W_i h_i  =  Σ_free W_i h_i + Σ_hit W_i L(c_i)   what there would be without incidents
                  + Σ_hit W_i (h_i − L(c_i))            what incidents add,

L being the mean of incident-free runs at the same demand (:func:`scenariogen.report.costs.level_of`). Incidents of one
scenario share what they add together in proportion to the capacity-time that each blocks, (1 − capacity left) ×
duration within the study window, or evenly. That is a convention, not a finding: nobody knows which of two incidents
held a vehicle up. Without incident-free runs L is 0 and the whole delay is shared.

Intervals are percentiles over resamples of whole scenarios within their strata, L fitted anew in each; for a group
that few scenarios hold they are rough.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from scipy import sparse

from scenariogen.errors import FrequencyError
from scenariogen.evaluation.answer import Weights
from scenariogen.evaluation.estimate import weights_or_error
from scenariogen.evaluation.outcomes import outcomes
from scenariogen.evaluation.store import Results
from scenariogen.incidents.records import Incident
from scenariogen.report.cases import Array, Cases
from scenariogen.sampling.importance import cluster_means
from scenariogen.scenarios.records import Scenario
from scenariogen.window import StudyWindow

REPLICATES = 499
LEVEL = 0.95
NEAR_ZERO = 1e-9
"""A mean below this share of what it is the sum of is not divided by."""


class Split(StrEnum):
    """How incidents of one scenario share what they add."""

    BLOCKED = "blocked capacity-time"
    EVEN = "evenly"


GROUPINGS: Mapping[str, Callable[[Scenario, Incident], str]] = {
    "edge": lambda _, incident: incident.edge,
    "kind": lambda _, incident: str(incident.kind),
    "hour": lambda scenario, incident: hour_text(scenario.condition.clock_s + incident.start_s),
}
"""What incidents are grouped by."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one group carries. Vehicle-hours per run, of the mean over scenarios at the frequency.

    ``share``      of the whole mean; None where that is too near zero to be divided by
    ``share_of_added``  of what all incidents add; None as above, and for what there is without incidents
    ``incidents``, ``scenarios``  how many of them there are in the batch, unweighted
    ``expected``   incidents of the group in one run at the frequency
    """

    group: str
    value_veh_h: float
    low: float
    high: float
    share: float | None
    share_low: float | None
    share_high: float | None
    share_of_added: float | None = None
    incidents: int = 0
    scenarios: int = 0
    expected: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Attribution:
    """A mean in parts: ``without_incidents`` and ``added``, which the parts of each grouping add up to.

    ``frequency``   multiplier; None for scenarios made by hand, which count the same
    ``by``          parts by grouping (``edge``, ``kind``, ``hour``), the largest first
    ``has_levels``  False where no incident-free run tells what there is without incidents
    """

    policy: str
    versus: str | None
    frequency: float | None
    split: Split
    total_veh_h: float
    without_incidents: Part
    added: Part
    by: Mapping[str, tuple[Part, ...]] = field(repr=False)
    has_levels: bool = True

    @property
    def is_added_sure(self) -> bool:
        """True where the interval of what incidents add excludes zero, so that shares of it mean something."""
        return self.added.low > 0 or self.added.high < 0


def attribution(
    results: Results,
    policy: str,
    versus: str | None = None,
    *,
    frequency: float | None = None,
    split: Split = Split.BLOCKED,
    replicates: int = REPLICATES,
) -> Attribution | None:
    """What carries the mean delay of a policy, or its difference to another, at one frequency.

    ``frequency`` is ignored for scenarios made by hand. None where no scenario has a delay for both. Raises
    ``FrequencyError`` for a frequency that the batch was not drawn for.
    """
    by_policy = outcomes(results.runs, results.batch, results.policies, replicas=results.manifest.replicas)
    names = [policy] if versus is None else [policy, versus]
    terms = [(1.0 - 2.0 * i, cluster_means(by_policy[name].delay_veh_h)[:, None]) for i, name in enumerate(names)]
    asked = None if results.batch.design is None else frequency
    cases = Cases(batch=results.batch, terms=terms, weights=weights_at(results, asked))
    if not cases.known.any():
        return None
    sums = sums_by_group(cases, split, replicates=replicates)
    added = sums.groups["kind"].values.sum(axis=1)[:, 0]
    total = sums.without[:, 0] + added
    size = float(np.abs(sums.groups["kind"].values[0]).sum())
    safe = total if abs(total[0]) > NEAR_ZERO * (size + abs(float(sums.without[0, 0]))) else None
    of_added = float(added[0]) if abs(added[0]) > NEAR_ZERO * size else None
    rest = _part("without incidents", sums.without[:, 0], safe)
    return Attribution(
        policy=policy,
        versus=versus,
        frequency=asked,
        split=split,
        total_veh_h=float(total[0]),
        without_incidents=rest,
        added=_part("what incidents add", added, safe),
        by={name: group.parts(safe, of_added) for name, group in sums.groups.items()},
        has_levels=cases.has_levels,
    )


def weights_at(results: Results, frequency: float | None) -> Weights | None:
    """The batch's weights at a frequency, None for scenarios made by hand. Raises ``FrequencyError``."""
    if results.batch.design is None:
        return None
    found = weights_or_error(results.batch, 1.0 if frequency is None else frequency)
    if isinstance(found, FrequencyError):
        raise found
    return found


@dataclass(frozen=True, kw_only=True, eq=False)
class Group:
    """One grouping. ``values``: (replicate, group, column), the data's own first; ``expected``: (group,)."""

    names: tuple[str, ...]
    values: Array = field(repr=False)
    incidents: Sequence[int] = field(repr=False)
    scenarios: Sequence[int] = field(repr=False)
    expected: Array = field(repr=False)

    def parts(self, total: Array | None, added: float | None) -> tuple[Part, ...]:
        """The groups' first columns, the largest first, with shares of ``total`` (replicate,) and of ``added``."""
        found = [
            _part(
                name,
                self.values[:, i, 0],
                total,
                share_of_added=None if added is None else float(self.values[0, i, 0]) / added,
                incidents=self.incidents[i],
                scenarios=self.scenarios[i],
                expected=float(self.expected[i]),
            )
            for i, name in enumerate(self.names)
        ]
        return tuple(sorted(found, key=lambda part: (-abs(part.value_veh_h), part.group)))


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupSums:
    """Means in parts. ``without``: (replicate, column), what there is without incidents."""

    without: Array = field(repr=False)
    groups: Mapping[str, Group]


def sums_by_group(
    cases: Cases, split: Split, groupings: Sequence[str] = tuple(GROUPINGS), *, replicates: int = REPLICATES
) -> GroupSums:
    """The formula of this module for the data and its resamples."""
    values = np.where(cases.known[:, None], cases.values, 0.0)
    tables = {name: _shares(cases, name, split) for name in groupings}
    without = np.zeros((replicates + 1, values.shape[1]))
    sums = {name: np.zeros((replicates + 1, len(names), values.shape[1])) for name, (names, _, _) in tables.items()}
    own = np.zeros(len(cases.batch))
    for row, (weights, counts) in enumerate(cases.resampled(replicates)):
        own = weights if row == 0 else own
        level = cases.level(counts)
        usual = np.where(cases.is_free[:, None], values, level)
        without[row] = weights @ usual
        added = weights[:, None] * (values - usual)
        for name, (_, shares, _) in tables.items():
            sums[name][row] = shares.T @ added
    return GroupSums(
        without=without,
        groups={
            name: Group(
                names=names,
                values=sums[name],
                incidents=np.asarray(held.sum(axis=0)).ravel().astype(int).tolist(),
                scenarios=held.getnnz(axis=0).tolist(),
                expected=held.T @ own,
            )
            for name, (names, _, held) in tables.items()
        },
    )


def _shares(cases: Cases, grouping: str, split: Split) -> tuple[tuple[str, ...], sparse.csr_matrix, sparse.csr_matrix]:
    """Names of the groups, each scenario's shares (batch, group), which sum to 1, and its counts (batch, group)."""
    name_of = GROUPINGS[grouping]
    cells: list[tuple[int, str, float]] = []
    for row, scenario in enumerate(cases.batch.scenarios):
        parts = shares_of(scenario, cases.batch.window, split)
        cells += [(row, name_of(scenario, i), share) for i, share in zip(scenario.incidents, parts, strict=True)]
    names = tuple(sorted({name for _, name, _ in cells}))
    column = {name: i for i, name in enumerate(names)}
    rows, columns = [row for row, _, _ in cells], [column[name] for _, name, _ in cells]
    shape = len(cases.batch), len(names)
    shares = sparse.csr_matrix(([share for *_, share in cells], (rows, columns)), shape=shape)
    counts = sparse.csr_matrix((np.ones(len(cells)), (rows, columns)), shape=shape)
    return names, shares, counts


def shares_of(scenario: Scenario, window: StudyWindow, split: Split) -> list[float]:
    """The share of each incident in what the scenario's incidents add; they sum to 1."""
    if not scenario.incidents:
        return []
    sizes = [1.0] * len(scenario.incidents)
    if split is Split.BLOCKED:
        sizes = [(1 - i.capacity_left) * max(min(i.end_s, window.end_s) - i.start_s, 0.0) for i in scenario.incidents]
    whole = sum(sizes)
    return [size / whole for size in sizes] if whole > 0 else [1 / len(sizes)] * len(sizes)


def hour_text(clock_s: float) -> str:
    """The hour of a clock time.

    >>> hour_text(7 * 3600 + 59 * 60), hour_text(86_400 + 60)
    ('07–08 h', '00–01 h')
    """
    hour = int(clock_s // 3600) % 24
    return f"{hour:02d}–{hour + 1:02d} h"


def _part(name: str, values: Array, total: Array | None, **counts: float | None) -> Part:
    low, high = limits(values)
    share = share_low = share_high = None
    if total is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = values / total
        share, (share_low, share_high) = float(ratios[0]), limits(ratios[np.isfinite(ratios)])
    return Part(
        group=name,
        value_veh_h=float(values[0]),
        low=low,
        high=high,
        share=share,
        share_low=share_low,
        share_high=share_high,
        **counts,  # type: ignore[arg-type]
    )


def limits(values: Array) -> tuple[float, float]:
    """The percentile interval of a number and its resamples, the number first."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values[1:], [tail, 1 - tail]) if len(values) > 1 else (values[0], values[0])
    return float(low), float(high)
