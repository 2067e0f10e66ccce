"""The runs of one question by stratum: without incident, by number of incidents, and by stage.

The incident-free runs and those with incidents are strata of known probability. The latter are divided further, after
the draw, by their number of incidents: given how many draws fell into a class they are independent draws of the
proposal in that class, so an estimate stays unbiased given those numbers (Holt & Smith, *Post stratification*, 1979).
Classes of fewer than :data:`FEWEST` draws are joined to their neighbour, which looks at numbers of draws alone.

An evaluation that grew in stages has the strata of each stage, with probability share · P_s: the shares are fixed
before anything was seen, so the weights of its parts depend on nothing that was found.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from scenariogen.errors import Problems, ResultsError
from scenariogen.evaluation.question import Question
from scenariogen.sampling.importance import Stratum, cluster_means

FEWEST = 20
"""Draws in a class of the number of incidents."""
FREE, HIT = 0, 1

Values: TypeAlias = NDArray[np.float64]
Stages: TypeAlias = Sequence[tuple[NDArray[np.bool_], float]] | None
"""(rows, share) of each stage of an evaluation, rows (batch,) bool; None: all rows are one stage."""

Part: TypeAlias = tuple[float, NDArray[np.bool_], float, int, Values | None]
"""Probability, rows, what is added to the log weights, which of the two strata, what is added to the controls."""


class Classes(Protocol):
    """Runs with incidents by their number.

    ``number``  (batch,) class of each row, from 0; −1 without incident
    ``size``    how many classes there are
    """

    @property
    def number(self) -> NDArray[np.int64]: ...

    @property
    def size(self) -> int: ...

    def joined(self, first: int, last: int) -> tuple[float, float, Values]:
        """Classes ``first`` to ``last`` as one.

        Their probability under the target given an incident, the log of the same under the proposal over it, and what
        to add to the controls, (control,), so that their target mean is 0 in the class.
        """
        ...


class Weights(Protocol):
    """What an answer needs of ``scenariogen.scenarios.reweight.FrequencyWeights``.

    ``is_free``           (batch,) bool, the incident-free runs
    ``log_w``             (batch,) log of target over proposal, each inside its own stratum
    ``probability_free``  of a day without incident at the target's frequency
    ``controls``          (batch, control) functions of the condition with target mean 0 in each row's stratum
    ``weight_bound``      what no weight can exceed, of incident-free runs and of the others
    ``classes``           the runs with incidents by number; None: not divided
    """

    @property
    def is_free(self) -> NDArray[np.bool_]: ...

    @property
    def log_w(self) -> Values: ...

    @property
    def probability_free(self) -> float: ...

    @property
    def controls(self) -> Values: ...

    @property
    def weight_bound(self) -> tuple[float, float]: ...

    @property
    def classes(self) -> Classes | None: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """The runs of a question by stratum.

    ``strata``  with the mean over seeds of the values
    ``rows``    one array (batch,) per stratum, of the batch's rows
    ``runs``    one array (batch, seeds) per stratum, nan where not known
    ``less``    the same of the policy that is subtracted; None where there is none
    """

    strata: list[Stratum]
    rows: list[NDArray[np.int64]] = field(repr=False)
    runs: list[Values] = field(repr=False)
    less: list[Values] | None = field(repr=False)

    @property
    def lesser(self) -> list[Values] | None:
        """(batch,) per stratum: the baseline's means over seeds."""
        return None if self.less is None else [cluster_means(each) for each in self.less]

    @property
    def contrasts(self) -> list[Stratum]:
        """The strata with the values less the baseline's, where there is one."""
        if self.lesser is None:
            return self.strata
        return [s.replace_values(s.values - less) for s, less in zip(self.strata, self.lesser, strict=True)]

    @property
    def is_whole(self) -> bool:
        """True where every stratum that has a probability has draws."""
        return any(s.probability > 0 for s in self.strata) and all(len(s) for s in self.strata if s.probability > 0)


def sample_of(
    question: Question, weights: Weights, *, stages: Stages = None, divided: bool = True, completed: bool | None = None
) -> Sample:
    """The runs of a drawn batch by stratum.

    ``divided``    by stage and number of incidents; False: two strata, without incidents and with
    ``completed``  None: as far as values are known; False, True: with troubled runs as good, as bad, as they can be
    """
    free = np.asarray(weights.is_free, dtype=bool)
    values, baseline = _values(question, free, completed)
    known = _known(values, baseline)
    given = question.given_incident
    parts = parts_of(weights, known, stages=stages, divided=divided, given_incident=given)
    means = cluster_means(values)
    strata = [stratum_of(weights, means, part) for part in parts]
    return _sample(strata, [np.flatnonzero(part[1]) for part in parts], values, baseline)


def parts_of(
    weights: Weights,
    rows: NDArray[np.bool_],
    *,
    stages: Stages = None,
    divided: bool = True,
    given_incident: bool = False,
) -> list[Part]:
    """How some rows (batch,) part into strata; the same at every frequency, but for their numbers."""
    free = np.asarray(weights.is_free, dtype=bool)
    probability = 0.0 if given_incident else float(weights.probability_free)
    parts: list[Part] = []
    for stage, share in _checked(stages, len(free)) if divided else [(np.ones(len(free), bool), 1.0)]:
        parts.append((share * probability, stage & free & rows, 0.0, FREE, None))
        classes = weights.classes if divided else None
        parts += _by_number(share * (1.0 - probability), stage & ~free & rows, classes)
    return parts


def sample_by_scenario(question: Question, *, completed: bool | None = None) -> Sample:
    """Scenarios made by hand: a stratum per scenario, its draws the simulator's seeds."""
    values, baseline = _values(question, np.zeros(len(question.values), dtype=bool), completed)
    known = np.isfinite(values) & (True if baseline is None else np.isfinite(baseline))
    used = np.arange(len(values))
    if question.given_incident and question.has_incident is not None:
        used = np.flatnonzero(question.has_incident)
    strata = [
        Stratum(probability=1 / len(used), log_w=np.zeros(known[row].sum()), values=values[row][known[row]])
        for row in used
    ]
    runs = [values[row][known[row]][:, None] for row in used]
    less = None if baseline is None else [baseline[row][known[row]][:, None] for row in used]
    return Sample(strata=strata, rows=[np.array([row]) for row in used], runs=runs, less=less)


def _values(question: Question, free: NDArray[np.bool_], completed: bool | None) -> tuple[Values, Values | None]:
    """Values and baseline, nan where either is not known."""
    if completed is None:
        values, baseline = question.values, question.baseline
    else:
        values, baseline = question.completed(free, worst=completed)
    if baseline is None:
        return values, None
    both = np.isfinite(values) & np.isfinite(baseline)
    return np.where(both, values, np.nan), np.where(both, baseline, np.nan)


def _known(values: Values, baseline: Values | None) -> NDArray[np.bool_]:
    return np.any(np.isfinite(values if baseline is None else values - baseline), axis=1)


def _sample(strata: list[Stratum], rows: list[NDArray[np.int64]], values: Values, baseline: Values | None) -> Sample:
    return Sample(
        strata=strata,
        rows=rows,
        runs=[values[each] for each in rows],
        less=None if baseline is None else [baseline[each] for each in rows],
    )


def _by_number(probability: float, rows: NDArray[np.bool_], classes: Classes | None) -> list[Part]:
    """The stratum with incidents by number of incidents, as far as there are draws enough."""
    if classes is None:
        return [(probability, rows, 0.0, HIT, None)]
    parts: list[Part] = []
    for first, last in _joined(np.bincount(classes.number[rows], minlength=classes.size)):
        share, log_ratio, shift = classes.joined(first, last)
        inside = rows & (classes.number >= first) & (classes.number <= last)
        # A class that holds all of the probability may exceed 1 by rounding.
        parts.append((min(probability * share, 1.0), inside, log_ratio, HIT, shift))
    return parts


def _joined(draws: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Neighbouring classes, joined from the largest number of incidents down until each has draws enough."""
    parts: list[tuple[int, int]] = []
    last, held = len(draws) - 1, 0
    for number in range(len(draws) - 1, -1, -1):
        held += int(draws[number])
        if held >= FEWEST:
            parts.append((number, last))
            last, held = number - 1, 0
    if last >= 0:  # what is left over goes to the smallest class that was formed
        upper = parts.pop()[1] if parts else last
        parts.append((0, upper))
    return parts[::-1]


def stratum_of(weights: Weights, means: Values, part: Part) -> Stratum:
    """The draws of a part, with the values of their rows out of ``means`` (batch,)."""
    probability, rows, log_ratio, base, shift = part
    log_w = np.asarray(weights.log_w, dtype=np.float64)[rows] + log_ratio
    controls = np.asarray(weights.controls, dtype=np.float64)[rows]
    bound = max(weights.weight_bound[base] * math.exp(log_ratio), 1.0)
    # A weight above what its own densities allow: they are not those of the scenarios, which their mean tells.
    fits = not rows.any() or float(log_w.max()) <= math.log(bound) + 1e-6
    return Stratum(
        probability=probability,
        log_w=log_w,
        values=means[rows],
        controls=controls if shift is None else controls + shift,
        weight_bound=bound if fits else None,
    )


def _checked(stages: Stages, batch: int) -> Sequence[tuple[NDArray[np.bool_], float]]:
    """The stages, or one of all rows. ``ResultsError`` where they do not part the batch."""
    if stages is None:
        return [(np.ones(batch, dtype=bool), 1.0)]
    problems = Problems("the stages of an evaluation")
    for number, (rows, share) in enumerate(stages):
        if np.shape(rows) != (batch,) or np.asarray(rows).dtype != np.bool_:
            problems.add(f"stage {number} has rows of shape {np.shape(rows)}, expected ({batch},) true or false")
        if not 0 < share <= 1:
            problems.add(f"stage {number} has a share of {share}, expected more than 0 and at most 1")
    if not problems and (np.sum([rows for rows, _ in stages], axis=0) > 1).any():
        problems.add("some rows belong to two stages, expected one at most")
    if abs(sum(share for _, share in stages) - 1) > 1e-9:
        problems.add(f"the shares add up to {sum(share for _, share in stages):g}, expected 1")
    problems.raise_as(ResultsError)
    return stages
