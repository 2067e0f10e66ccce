"""Runs that are added until the answer is as sure as wanted, or the budget is spent.

The numbers of scenarios at which one looks are fixed before the first run, and intervals are those of
:mod:`scenariogen.sampling.looks`: the one at which one stops covers as often as it says, however one came to stop. In
between scenarios go where they buy most (:mod:`scenariogen.sampling.allocation`): to days without incidents or with
some, in shares that follow from earlier stages alone.

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
from pathlib import Path
from typing import Any

import numpy as np

from scenariogen.errors import FrequencyError, ResultsError, ScenarioError
from scenariogen.evaluation.answer import Frequency
from scenariogen.evaluation.estimate import estimate_in_detail, weights_or_error, write_estimates
from scenariogen.evaluation.estimates import Estimate, EstimateDetail
from scenariogen.evaluation.evaluate import evaluate
from scenariogen.evaluation.outcomes import default_threshold, outcomes, questions
from scenariogen.evaluation.records import batch_hash
from scenariogen.evaluation.results_folder import ResultsFolder
from scenariogen.evaluation.stopping import Target
from scenariogen.evaluation.store import Results, write_atomically
from scenariogen.evaluation.strata import sample_of
from scenariogen.sampling.allocation import deal, deviation, neyman_shares, planned_runs, runs_needed, stage_starts
from scenariogen.sampling.importance import Stratum
from scenariogen.sampling.looks import looks_until
from scenariogen.scenarios.records import ScenarioBatch
from scenariogen.simulation.project import SumoProject

LOOKS, ALL, STOPPING = "looks", "all", "stopping.json"
Draw = Callable[[int], ScenarioBatch]
"""The first so many scenarios of a model, each a function of its index alone."""


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
    """What :func:`evaluate_until` gives. ``is_met``: the target was reached; otherwise the budget was spent."""

    folder: Path
    estimates: tuple[Estimate, ...] = field(repr=False)
    looks: tuple[Seen, ...]
    is_met: bool
    advice: str


def evaluate_until(
    project: SumoProject,
    draw: Draw,
    policies: Sequence[str | Path],
    *,
    target: Target,
    budget: int,
    out: str | Path,
    frequencies: Iterable[Frequency] | None = None,
    threshold_veh_h: float | None = None,
    first: int | None = None,
    on_look: Callable[[Seen], None] | None = None,
    **options: Any,
) -> SequentialEvaluation:
    """Add scenarios in stages until ``target`` is met or ``budget`` scenarios are made; resumable by the same call.

    ``draw``     gives the first n scenarios of one stream, all from one design
    ``first``    scenarios before the first look
    ``options``  as of :func:`scenariogen.evaluation.evaluate.evaluate`: jobs, replicas, simulator, progress, …

    Raises what :func:`evaluate` raises, and ``ResultsError`` for a folder that was begun with another target or budget.
    """
    folder = Path(out)
    looks = looks_until(budget, **({} if first is None else {"first": first}))
    stream = Stream(draw)
    asked = stream.frequencies if frequencies is None else tuple(frequencies)
    _begin(folder, {"target": str(target), "looks": list(looks.runs), "frequencies": [_plain(f) for f in asked]})
    starts, stage_of = stage_starts(looks), {}
    shares, dealt = stream.first_shares, (0, 0)
    parts: list[Results] = []
    seen: list[Seen] = []
    for look, level in enumerate(looks.levels):
        planned = planned_runs(looks, look)
        if look in starts:
            dealt = (0, 0)
            if look:
                shares = _shares(results, asked, target, threshold_veh_h)
        now = _counts(shares, planned[-1])
        batch = stream.take(now[0] - dealt[0], now[1] - dealt[1])
        dealt = now
        stage_of |= {scenario.index: len(planned) - 1 for scenario in batch.scenarios}
        done = evaluate(
            project, batch, policies, out=folder / LOOKS / f"{look:02d}", frequencies=asked,
            threshold_veh_h=threshold_veh_h, **options,
        )  # fmt: skip
        parts.append(done.results)
        results = _together(parts, folder)
        if threshold_veh_h is None:  # from the first look, and fixed from here on
            threshold_veh_h = _threshold(results)
        detailed = estimate_in_detail(
            results, None, asked, threshold_veh_h=threshold_veh_h, level=level, total=False,
            stages=_stages(results.batch, stage_of, planned),
        )  # fmt: skip
        estimates = tuple(found for found, _ in detailed)
        reached = target.reached(estimates)
        known = reached if math.isfinite(reached) else None
        seen.append(Seen(look=look, scenarios=looks.runs[look], level=level, reached=known, shares=shares))
        if on_look is not None:
            on_look(seen[-1])
        if reached <= target.most:
            break
    is_met = reached <= target.most
    _keep(folder / ALL, results, detailed)
    advice = "" if is_met else _advice(seen[-1], target, estimates)
    said = {"met": is_met, "advice": advice, "looks": [asdict(each) for each in seen]}
    write_atomically(folder / STOPPING, json.dumps(_request(folder) | said, indent=2, allow_nan=False) + "\n")
    return SequentialEvaluation(
        folder=folder / ALL, estimates=estimates, looks=tuple(seen), is_met=is_met, advice=advice
    )


class Stream:
    """The scenarios of one model in their order: those without incidents, and those with some."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._batch = draw(1)
        if self._batch.design is None:
            raise ScenarioError("runs can be added to scenarios of a model only, not to some that were written by hand")
        self._every = self._batch.design.free_every
        self.frequencies = self._batch.design.frequencies
        self._taken = [0, 0]

    @property
    def first_shares(self) -> tuple[float, float]:
        """Of the first stage, without and with incidents: as in a batch of a fixed size."""
        free = 1 / self._every if self._every else 0.0
        return free, 1.0 - free

    def take(self, free: int, hit: int) -> ScenarioBatch:
        """The next scenarios of each kind."""
        wanted = {self._free(self._taken[0] + k) for k in range(free)}
        wanted |= {self._hit(self._taken[1] + k) for k in range(hit)}
        self._taken = [self._taken[0] + free, self._taken[1] + hit]
        if max(wanted) >= len(self._batch.scenarios):
            self._batch = self._draw(max(wanted) + 1)
        return replace(self._batch, scenarios=tuple(s for s in self._batch.scenarios if s.index in wanted))

    def _free(self, place: int) -> int:
        return self._every * (place + 1) - 1

    def _hit(self, place: int) -> int:
        return place + place // (self._every - 1) if self._every else place


def _counts(shares: tuple[float, float], runs: int) -> tuple[int, int]:
    """Scenarios of a stage without and with incidents."""
    free, hit = np.bincount(deal(shares, runs), minlength=2)
    return int(free), int(hit)


def _stages(batch: ScenarioBatch, stage_of: dict[int, int], planned: Sequence[int]):
    """(rows, ω) of each stage; ω follows from the looks alone."""
    stage = np.array([stage_of[scenario.index] for scenario in batch.scenarios])
    return [(stage == number, runs / sum(planned)) for number, runs in enumerate(planned)]


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
            if not target.asks(question.estimand, question.versus):
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


def _together(parts: Sequence[Results], folder: Path) -> Results:
    """All looks so far as one set of results, in the order of the scenarios' indices."""
    scenarios = sorted((s for part in parts for s in part.batch.scenarios), key=lambda s: s.index)
    runs = sorted((run for part in parts for run in part.runs), key=lambda run: run.scenario)
    batch = replace(parts[0].batch, scenarios=tuple(scenarios))
    manifest = replace(parts[0].manifest, batch_hash=batch_hash(batch))
    return Results(folder=folder / ALL, manifest=manifest, batch=batch, runs=tuple(runs))


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
        write_estimates(path, detailed)


def _advice(last: Seen, target: Target, estimates: Sequence[Estimate]) -> str:
    """How many scenarios would have been enough."""
    if last.reached is None:
        refused = next((e.verdict for e in estimates if target.concerns(e) and e.is_refused), "nothing was estimated")
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
        changed = [name for name in request if before.get(name) != request[name]]
        raise ResultsError(
            f"{folder} was begun with another {' and '.join(changed)}: looks and targets are fixed before the first "
            "run, so choose a new folder"
        )
    write_atomically(folder / STOPPING, json.dumps(request, indent=2) + "\n")


def _request(folder: Path) -> dict[str, Any]:
    path = folder / STOPPING
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {name: found[name] for name in ("target", "looks", "frequencies")}
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{path} is damaged ({error}): choose a new folder") from error


def _plain(frequency: Frequency) -> float | dict[str, float]:
    return dict(frequency) if isinstance(frequency, Mapping) else float(frequency)
