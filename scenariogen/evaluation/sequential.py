"""Runs that are added until the answer is as sure as wanted, or the budget is spent.

The numbers of scenarios at which one looks are fixed before the first run, and intervals are those of
:mod:`scenariogen.sampling.looks`: the one at which one stops covers as often as it says, however one came to stop. In
between scenarios go where they buy most (:mod:`scenariogen.sampling.allocation`): to days without incidents or with
some, in shares that follow from earlier stages alone. They are taken from a batch that was drawn beforehand, in its
order; it should hold more of each kind than will be needed, since a kind that is used up is filled up with the other.

The value at the stop is consistent, not unbiased: one stops where chance made it so.

::

    out/
      looks/00, 01, …  each look's new scenarios, a results folder of its own
      all/             every scenario and run so far: a results folder like any other
      stopping.json    what was seen at each look, and why it ended
"""

import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from scenariogen.errors import FrequencyError, ResultsError, ScenarioError
from scenariogen.evaluation.answer import Frequency
from scenariogen.evaluation.estimate import estimate_in_detail, weights_or_error, write_estimates
from scenariogen.evaluation.estimates import Estimate, EstimateDetail
from scenariogen.evaluation.evaluate import make_runs, write_quarantine
from scenariogen.evaluation.growth import GROWTH, Growth
from scenariogen.evaluation.manifest import GROWN
from scenariogen.evaluation.outcomes import default_threshold, outcomes, questions
from scenariogen.evaluation.records import batch_hash
from scenariogen.evaluation.results_folder import ResultsFolder
from scenariogen.evaluation.stage_plan import ScenarioStream, StagePlan
from scenariogen.evaluation.stopping import Target, check_target
from scenariogen.evaluation.store import USUAL, Results, write_atomically
from scenariogen.evaluation.strata import sample_of
from scenariogen.evaluation.usual_traffic import UsualDays
from scenariogen.sampling.allocation import deviation, neyman_shares, runs_needed
from scenariogen.sampling.importance import Stratum
from scenariogen.sampling.looks import looks_until
from scenariogen.scenarios.records import ScenarioBatch
from scenariogen.simulation.project import SumoProject

LOOKS, STOPPING = "looks", "stopping.json"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One look.

    ``scenarios``  made so far
    ``level``      of each interval at this look
    ``reached``    the widest interval that the target speaks of; None where one is refused
    ``shares``     of the stage's scenarios without and with incidents
    """

    look: int
    scenarios: int
    level: float
    reached: float | None
    shares: tuple[float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class SequentialEvaluation:
    """What :func:`evaluate_until` gives.

    ``is_met``  the target was reached, or there was none; otherwise the budget was spent
    ``advice``  what would have been enough, where it was not reached
    """

    results: Results
    estimates: tuple[Estimate, ...] = field(repr=False)
    details: tuple[EstimateDetail, ...] = field(repr=False)
    looks: tuple[Seen, ...]
    is_met: bool
    advice: str

    @property
    def folder(self) -> Path:
        """The results folder of all runs."""
        return self.results.folder


def evaluate_until(
    project: SumoProject,
    batch: ScenarioBatch,
    policies: Sequence[str | Path],
    *,
    target: Target | None,
    out: str | Path,
    budget: int | None = None,
    frequencies: Iterable[Frequency] | None = None,
    threshold_veh_h: float | None = None,
    tail: float = 0.95,
    level: float = 0.95,
    total: bool = True,
    first: int | None = None,
    on_look: Callable[[Seen], None] | None = None,
    **how: Any,
) -> SequentialEvaluation:
    """Add scenarios in stages until ``target`` is met or ``budget`` of them are used; resumable by the same call.

    ``batch``    scenarios of a model, which are used in their order
    ``target``   None: the whole budget is spent, where it makes the relative error of mean delays least
    ``budget``   the most that are used; by default all
    ``level``    of all intervals together, at whichever look one stops
    ``first``    scenarios before the first look
    ``how``      to run: the options of :func:`scenariogen.evaluation.evaluate.make_runs`

    ``threshold_veh_h, tail, total`` are those of :func:`scenariogen.evaluation.estimate.estimate`. Raises what
    :func:`~scenariogen.evaluation.evaluate.make_runs` raises, ``ScenarioError`` for a batch that cannot grow or a
    target that can never be met, and ``ResultsError`` for a folder that was begun for something else.
    """
    folder = Path(out)
    stream = ScenarioStream(batch)
    looks = looks_until(stream.affordable(budget), level=level, **({} if first is None else {"first": first}))
    asked = stream.frequencies if frequencies is None else tuple(frequencies)
    if target is not None:
        weights = [weights_or_error(batch, frequency) for frequency in asked]
        outside = [each for each in weights if isinstance(each, FrequencyError)]
        check_target(target, policies=len(policies), outside=outside)
    _begin(
        folder,
        {
            "target": None if target is None else str(target),
            "looks": list(looks.runs),
            "level": level,
            "frequencies": [_plain(f) for f in asked],
            "scenarios": batch_hash(batch),
        },
    )
    yardstick = target or Target("relative_half_width", "mean", 1.0)
    plan = StagePlan(looks, stream)
    parts: list[Results] = []
    seen: list[Seen] = []
    for look in range(len(looks.runs)):
        if plan.begins_stage(look):
            plan.divide(look, _shares(results, asked, yardstick, threshold_veh_h))
        part = plan.take(look)
        usual = UsualDays(batch=parts[0].batch if parts else part, path=(folder / USUAL).absolute())
        made, _ = make_runs(
            project, part, policies, out=folder / LOOKS / f"{look:02d}", frequencies=asked, usual_days=usual, **how
        )
        parts.append(made)
        results = _together(parts, folder, plan.growth(look, may_stop=target is not None))
        if threshold_veh_h is None:  # from the first look, and fixed from here on
            threshold_veh_h = _threshold(results)
        at_stop = partial(
            estimate_in_detail, results, None, asked, threshold_veh_h=threshold_veh_h, tail=tail, level=level
        )
        estimates = [found for found, _ in at_stop(total=False, only=yardstick.asks)]
        reached = yardstick.reached(estimates)
        seen.append(
            Seen(
                look=look, scenarios=looks.runs[look], level=results.level(level), shares=plan.shares,
                reached=reached if math.isfinite(reached) else None,
            )
        )  # fmt: skip
        if on_look is not None:
            on_look(seen[-1])
        if target is not None and reached <= target.most:
            break
    is_met = target is None or reached <= target.most
    advice = "" if target is None or is_met else _advice(seen[-1], target, estimates)
    detailed = at_stop(total=total)
    _keep(folder / GROWN, results, detailed)
    said = {"met": is_met, "advice": advice, "seen": [asdict(each) for each in seen]}
    write_atomically(folder / STOPPING, json.dumps(_request(folder) | said, indent=2, allow_nan=False) + "\n")
    return SequentialEvaluation(
        results=results, estimates=tuple(found for found, _ in detailed), details=tuple(d for _, d in detailed),
        looks=tuple(seen), is_met=is_met, advice=advice,
    )  # fmt: skip


def _shares(
    results: Results,
    frequencies: Sequence[Frequency],
    target: Target,
    threshold_veh_h: float | None,
) -> tuple[float, float]:
    """Of the next stage: Neyman's, for the interval of the target that has farthest to go."""
    by_policy = outcomes(results.runs, results.batch, results.policies, replicas=results.manifest.replicas)
    rows: list[list[float]] = []
    for frequency in frequencies:
        weights = weights_or_error(results.batch, frequency)
        if isinstance(weights, FrequencyError):
            continue
        for question in questions(by_policy, results.batch, threshold_veh_h=threshold_veh_h):
            if not target.asks(question):
                continue
            free, hit = sample_of(question, weights, divided=False).contrasts
            scale = target.most * (_size((free, hit)) if target.is_relative else 1.0)
            spread = (deviation(each, is_probability=question.is_probability) for each in (free, hit))
            rows.append([s.probability * each / scale for s, each in zip((free, hit), spread, strict=True)])
    if not rows:
        raise ScenarioError(f"the target {target} speaks of nothing that is estimated here")
    # Probabilities differ between frequencies, so they stand in the rows. Under a condition no day is free.
    any_free = any(scenario.is_incident_free for scenario in results.batch.scenarios)
    free, hit = neyman_shares((float(any_free), 1.0), np.array(rows))
    return float(free), float(hit)


def _size(strata: Sequence[Stratum]) -> float:
    """|value| of a plain estimate, 1 where it is 0."""
    return abs(sum(each.probability * float(each.terms().mean()) for each in strata if len(each))) or 1.0


def _threshold(results: Results) -> float:
    by_policy = outcomes(results.runs, results.batch, results.policies, replicas=results.manifest.replicas)
    return default_threshold(next(iter(by_policy.values())), results.batch)


def _together(parts: Sequence[Results], folder: Path, growth: Growth) -> Results:
    """All looks so far as one set of results, in the order of the scenarios' indices."""
    scenarios = sorted((s for part in parts for s in part.batch.scenarios), key=lambda s: s.index)
    runs = sorted((run for part in parts for run in part.runs), key=lambda run: run.scenario)
    batch = replace(parts[0].batch, scenarios=tuple(scenarios))
    manifest = replace(parts[0].manifest, batch_hash=batch_hash(batch))
    return Results(folder=folder / GROWN, manifest=manifest, batch=batch, runs=tuple(runs), growth=growth)


def _keep(path: Path, results: Results, detailed: Sequence[tuple[Estimate, EstimateDetail]]) -> None:
    """A results folder of all runs, like any other."""
    shutil.rmtree(path, ignore_errors=True)
    kept = ResultsFolder(path)
    with kept.locked():
        kept.begin(results.manifest, results.batch)
        for run in results.runs:
            kept.append(run)
        kept.clear_work()
        kept.compact()
        if results.growth is not None:
            write_atomically(path / GROWTH, results.growth.to_json())
        write_quarantine(results)
        write_estimates(path, detailed)


def _advice(last: Seen, target: Target, estimates: Sequence[Estimate]) -> str:
    """How many scenarios would have been enough."""
    if last.reached is None:
        refused = next((e.verdict for e in estimates if target.asks(e) and e.is_refused), "nothing was estimated")
        return f"after {last.scenarios} scenarios an estimate of the target is {refused}"
    more = runs_needed(last.scenarios, width=last.reached, wanted=target.most)
    return f"{last.scenarios} scenarios reach {last.reached:.3g} where {target.most:g} is wanted: about {more} would"


def _begin(folder: Path, request: dict[str, Any]) -> None:
    """Note what is asked for, or refuse a folder that was begun for something else: looks are fixed beforehand."""
    folder.mkdir(parents=True, exist_ok=True)
    before = _request(folder)
    strangers = [] if before else sorted(each.name for each in folder.iterdir())
    if strangers:
        raise ResultsError(
            f"{folder} is not empty and no such evaluation began it (it holds {', '.join(strangers[:4])}): choose "
            "a new folder"
        )
    if before and before != request:
        words = {"looks": "other numbers of scenarios to look at (--budget)", "scenarios": "other scenarios",
                 "frequencies": "other frequencies"}  # fmt: skip
        changed = [words.get(name, f"another {name}") for name in request if before.get(name) != request[name]]
        raise ResultsError(
            f"{folder} was begun with {' and '.join(changed)}; that is fixed before the first run: choose a new folder"
        )
    write_atomically(folder / STOPPING, json.dumps(request, indent=2) + "\n")


def _request(folder: Path) -> dict[str, Any]:
    path = folder / STOPPING
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: found[name] for name in ("target", "looks", "level", "frequencies", "scenarios")}
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{path} is damaged ({error}): choose a new folder") from error


def _plain(frequency: Frequency) -> float | dict[str, float]:
    return dict(frequency) if isinstance(frequency, Mapping) else float(frequency)
