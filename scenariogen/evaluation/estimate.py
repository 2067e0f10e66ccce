"""From a results folder to ``estimates.json``: each estimand, policy, difference and frequency, or a refusal."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from scenariogen.errors import FrequencyError, ResultsError
from scenariogen.evaluation.answer import Frequency, answer, answer_by_hand
from scenariogen.evaluation.estimates import Estimate, EstimateDetail
from scenariogen.evaluation.multiplicity import together
from scenariogen.evaluation.outcomes import outcomes, questions
from scenariogen.evaluation.question import Question
from scenariogen.evaluation.store import DIAGNOSTICS, ESTIMATES, Results, write_atomically
from scenariogen.evaluation.strata import Stages, Weights, sample_by_scenario, sample_of
from scenariogen.evaluation.total import spread_of, with_total
from scenariogen.scenarios.posterior import posterior_weights
from scenariogen.scenarios.records import ScenarioBatch


def estimate(
    results: Results,
    batch: ScenarioBatch | None = None,
    frequencies: Iterable[Frequency] | None = None,
    *,
    threshold_veh_h: float | None = None,
    tail: float = 0.95,
    level: float = 0.95,
    total: bool = True,
) -> list[Estimate]:
    """All estimates, in the order frequency, estimand, policies, differences to the first policy.

    ``batch``            the results' own where it is None
    ``frequencies``      those that the batch was asked for where it is None; one outside the batch's range gives
                         refused estimates
    ``threshold_veh_h``  of the exceedance; twice the first policy's median delay without incidents, rounded to two
                         digits, where it is None
    ``tail``             level of the quantile and CVaR of delay
    ``level``            of the intervals; of results that grew, with which they hold at whatever look they stopped
    ``total``            with the interval that covers the rates' uncertainty, where the batch says how sure they are
    """
    detailed = estimate_in_detail(
        results, batch, frequencies, threshold_veh_h=threshold_veh_h, tail=tail, level=level, total=total
    )
    return [found for found, _ in detailed]


def estimate_in_detail(
    results: Results,
    batch: ScenarioBatch | None = None,
    frequencies: Iterable[Frequency] | None = None,
    *,
    threshold_veh_h: float | None = None,
    tail: float = 0.95,
    level: float = 0.95,
    total: bool = True,
    only: Callable[[Question], bool] | None = None,
) -> list[tuple[Estimate, EstimateDetail]]:
    """Like :func:`estimate`, each with what stands behind it; ``only`` chooses questions, by default all."""
    batch = results.batch if batch is None else batch
    by_policy = outcomes(results.runs, batch, results.policies, replicas=results.manifest.replicas)
    asked = questions(by_policy, batch, threshold_veh_h=threshold_veh_h, tail=tail)
    asked = [question for question in asked if only is None or only(question)]
    level, stages = results.level(level), results.stages
    if batch.design is None:
        return answers_by_hand(asked, level=level)
    rate = batch.design.lane_blocking_per_100_h
    found = []
    for frequency in batch.design.frequencies if frequencies is None else frequencies:
        weights = weights_or_error(batch, frequency)
        found += answers_at(asked, batch, weights, frequency, rate=rate, level=level, stages=stages, total=total)
    return found


def answers_by_hand(asked: Sequence[Question], *, level: float = 0.95) -> list[tuple[Estimate, EstimateDetail]]:
    """All answers from scenarios made by hand, with the intervals that hold together."""
    pairs = [answer_by_hand(question, level=level) for question in asked]
    together_found = together(
        asked,
        [found for found, _ in pairs],
        sample=sample_by_scenario,
        again=lambda question, each: answer_by_hand(question, level=each)[0],
        level=level,
    )
    return [(found, detail) for found, (_, detail) in zip(together_found, pairs, strict=True)]


def answers_at(
    asked: Sequence[Question],
    batch: ScenarioBatch,
    weights: Weights | FrequencyError,
    frequency: Frequency,
    *,
    rate: float = math.nan,
    level: float = 0.95,
    stages: Stages = None,
    total: bool = True,
) -> list[tuple[Estimate, EstimateDetail]]:
    """All answers at one frequency, with the intervals that hold together and those that cover the rates.

    ``rate``  lane-blocking incidents per 100 hours at frequency 1; the others as in :func:`estimate`.
    """

    def at(question: Question, at_level: float) -> tuple[Estimate, EstimateDetail]:
        return answer(question, weights, frequency, lane_blocking_per_100_h=rate, level=at_level, stages=stages)

    pairs = [at(question, level) for question in asked]
    if isinstance(weights, FrequencyError):
        return pairs
    together_found = together(
        asked,
        [found for found, _ in pairs],
        sample=lambda question: sample_of(question, weights, stages=stages),
        again=lambda question, each: at(question, each)[0],
        level=level,
    )
    pairs = [(found, detail) for found, (_, detail) in zip(together_found, pairs, strict=True)]
    if not total:
        return pairs
    posterior = posterior_weights(batch, frequency)
    out = []
    for question, (found, detail) in zip(asked, pairs, strict=True):
        spread = None
        if posterior is not None and not found.is_refused:
            pooled = sample_of(question, weights, stages=stages, divided=False)
            spread = spread_of(question, pooled, posterior)
        out.append(with_total(found, detail, spread, posterior))
    return out


def weights_or_error(batch: ScenarioBatch, frequency: Frequency) -> Weights | FrequencyError:
    """The batch's weights at a frequency, or why there are none."""
    from scenariogen.scenarios.reweight import frequency_weights

    try:
        return frequency_weights(batch, frequency)
    except FrequencyError as error:
        return error


def write_estimates(folder: Path, detailed: Iterable[tuple[Estimate, EstimateDetail]]) -> Path:
    """Write ``estimates.json`` and ``diagnostics.json``, each whole or not at all; returns the first's path."""
    pairs = list(detailed)
    write_atomically(folder / DIAGNOSTICS, _strict_json([asdict(detail) for _, detail in pairs]))
    write_atomically(folder / ESTIMATES, _strict_json([asdict(found) for found, _ in pairs]))
    return folder / ESTIMATES


def read_estimates(folder: str | Path) -> list[Estimate]:
    """The estimates of a results folder, or a ``ResultsError``."""
    path = Path(folder) / ESTIMATES
    try:
        return [Estimate(**record) for record in json.loads(path.read_text(encoding="utf-8"))]
    except FileNotFoundError:
        raise ResultsError(f"{path} does not exist: run scenariogen evaluate with --out {folder}") from None
    except (ValueError, TypeError) as error:
        raise ResultsError(f"{path} is not a list of estimates ({error}): evaluate again") from error


def _strict_json(records: list[dict]) -> str:
    lines = ",\n".join("  " + json.dumps(record, allow_nan=False) for record in records)
    return f"[\n{lines}\n]\n" if records else "[]\n"
