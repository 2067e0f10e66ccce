"""A case with incidents on one signalised junction whose excess delay is found twice: by direct runs, and by weights.

On ``cologne1`` incidents block a lane of one of three approaches for about eight minutes; the model is fitted to a
made-up log of such. Intensities are expected incidents a run. The excess at intensity λ is E_λ[Y] − E[Y | none], Y the
system delay of 25 minutes (veh h). Demand has one scale, so a day without incident is the same at every λ.

Directly: days drawn at λ itself, those with incidents simulated, no weight anywhere. Their mean is corrected by how far
what the incidents are like lies from its known mean, which drawn days tell that cost no run (regression estimate:
Cochran, *Sampling techniques*, 1977, chapter 7). By weights: the package's own estimate of the mean of
Y · (1 − 1{none} / P_λ(none)), which is the excess.
"""

import math
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from scenariogen.evaluation import evaluate
from scenariogen.evaluation.estimate import answers_at
from scenariogen.evaluation.estimating import estimate_sample
from scenariogen.evaluation.outcomes import MEAN, Outcome, outcomes, questions
from scenariogen.evaluation.question import Question
from scenariogen.evaluation.store import Results
from scenariogen.evaluation.strata import sample_of
from scenariogen.incidents.exposure import Exposure
from scenariogen.incidents.records import KINDS
from scenariogen.injection.passing_speed import project_table
from scenariogen.model.condition import ConditionTable
from scenariogen.model.fit import FitSettings, fit_model
from scenariogen.model.scenario_model import ScenarioModel
from scenariogen.scenarios.count_classes import CountClasses, count_classes
from scenariogen.scenarios.records import ScenarioBatch
from scenariogen.scenarios.reweight import frequency_weights
from scenariogen.scenarios.synthesize import synthesize
from scenariogen.simulation.catalog import find_network
from scenariogen.simulation.launch import sumo_home
from scenariogen.simulation.project import SumoProject, open_project
from scenariogen.simulation.study import study_window
from scenariogen.window import StudyWindow

NETWORK = "cologne1"
APPROACHES = ("28198821#3", "32038051#0", "23429231#1")
HORIZON_S, START_SPAN_S, DURATION_S = 1500.0, 300.0, 500.0
BASE = 0.5
TARGETS = (0.25, 1.0, 2.0)
LOG_DAYS, LOG_INCIDENTS = 800, 400
MARK_DRAWS, MARK_SEED = 80_000, 9_001
"""Days drawn, not run, at each intensity for the known mean of the controls."""
POLICY = "no_control"


@dataclass(frozen=True)
class Case:
    """The project, the model, and how many incidents a run has at frequency 1."""

    project: SumoProject
    model: ScenarioModel

    @property
    def expected(self) -> float:
        return float(self.model.expected.sum())

    def batch(self, n: int, intensities: Sequence[float], *, seed: int) -> ScenarioBatch:
        """``n`` scenarios for a range of intensities; one of them is that intensity itself."""
        frequencies = [each / self.expected for each in intensities]
        return synthesize(
            self.model, n=n, frequencies=frequencies, seed=seed, project_hash=self.project.hash, network_name=NETWORK
        )

    def run(self, batch: ScenarioBatch, out: Path, *, jobs: int) -> Results:
        """All runs of a batch; goes on where it was."""
        return evaluate(self.project, batch, [POLICY], out=out, jobs=jobs, total=False).results


def make_case() -> Case:
    """Fit the model: half a minute. The same on every machine up to rounding."""
    project = open_project(find_network(NETWORK))
    window = study_window(project, horizon_s=HORIZON_S, start_span_s=START_SPAN_S)
    model = fit_model(
        made_up_log(project, window),
        exposure_of(project, window),
        project.network(),
        window,
        days=LOG_DAYS,
        seed=1,
        condition=ConditionTable(demand_scale_sigma=0.0),
        capacity_table=project_table(project),
        settings=FitSettings(rate_steps=20, folds=2, members=1, mark_steps=100, prior_draws=20),
    )
    return Case(project, model)


def made_up_log(project: SumoProject, window: StudyWindow) -> pd.DataFrame:
    """Incidents that block one lane of an approach."""
    generator, network = np.random.default_rng(3), project.network()
    rows = []
    for day in range(LOG_INCIDENTS):
        edge = network.edges[APPROACHES[generator.integers(len(APPROACHES))]]
        rows.append(
            {
                "day": day,
                "edge": edge.id,
                "start_s": float(generator.uniform(window.count_from_s, window.incidents_until_s)),
                "position_m": float(edge.length_m * generator.uniform(0.5, 0.95)),
                "kind": KINDS[day % len(KINDS)].value,
                "lanes": [int(generator.choice(edge.driving_lanes))],
                "duration_s": float(DURATION_S * np.exp(0.3 * generator.standard_normal())),
                "duration_is_censored": False,
                "capacity_left": float(generator.uniform(0.2, 0.4)),
                "capacity_left_se": 0.02,
                "capacity_left_is_lower_bound": False,
                "confidence": 1.0,
            }
        )
    return pd.DataFrame(rows)


def exposure_of(project: SumoProject, window: StudyWindow) -> Exposure:
    """Vehicle-kilometres of the approaches in one run of SUMO, none elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "edges.xml"
        subprocess.run(
            [str(sumo_home() / "bin" / "sumo"), "-c", str(project.sumocfg), "--edgedata-output", str(out),
             "--end", str(window.end_s), "--no-step-log"],
            check=True, capture_output=True,
        )  # fmt: skip
        driven = {each.get("id", ""): each for each in ET.parse(out).iter("edge")}
    share = START_SPAN_S / (window.end_s - window.begin_s)
    km = np.zeros((len(project.network().edge_ids), 1))
    for row, name in enumerate(project.network().edge_ids):
        if name in APPROACHES:
            edge = driven[name]
            km[row] = float(edge.get("sampledSeconds", 0)) * float(edge.get("speed", 0)) / 1000 * share
    return Exposure(
        edge_ids=project.network().edge_ids,
        cell_edges_s=np.array([window.count_from_s, window.incidents_until_s]),
        vehicle_km=km,
        standard_error=np.zeros_like(km),
        days=(0,),
        day_totals_km=np.array([km.sum()]),
    )


def delays(results: Results) -> np.ndarray:
    """(batch,) system delay of every run. ``ValueError`` where one failed: a reference has no gaps."""
    found = outcome_of(results)
    if found.trouble.any():
        raise ValueError(f"some runs are in trouble: {found.reasons}")
    return found.delay_veh_h[:, 0]


def outcome_of(results: Results) -> Outcome:
    return outcomes(results.runs, results.batch, [POLICY])[POLICY]


def direct_batch(case: Case, hits: int, frees: int, intensity: float, *, seed: int) -> ScenarioBatch:
    """``hits`` days with incidents as they are drawn at one intensity, and ``frees`` without."""
    drawn = case.batch(max(math.ceil(hits * 4 / 3), 4 * frees) + 4, [intensity], seed=seed)
    if drawn.design is None or len(drawn.design.alphas) != 1:
        raise ValueError("direct days come from one intensity, not from a mixture")
    with_some = [each for each in drawn.scenarios if each.incidents][:hits]
    without = [each for each in drawn.scenarios if not each.incidents][:frees]
    return replace(drawn, scenarios=tuple(sorted((*with_some, *without), key=lambda each: each.index)))


@dataclass(frozen=True, kw_only=True)
class Excess:
    """An excess (veh h) and its standard error; ``runs`` behind it."""

    value: float
    standard_error: float
    runs: int


def controls(batch: ScenarioBatch) -> np.ndarray:
    """(days, 21) what the days with incidents are like: sums over incidents by approach, and how many there are.

    An incident counts by itself, by blocking a lane, and by its duration (10 min) and lost capacity where it blocks.
    """
    rows = []
    for scenario in batch.scenarios:
        if not scenario.incidents:
            continue
        sums = np.zeros((len(APPROACHES), 6))
        for each in scenario.incidents:
            lasts, lost = each.duration_s / 600, 1 - each.capacity_left
            blocked = np.array([1, lasts, lasts * lost, lasts**2 * lost, min(lasts, 2.5) * lost**2]) * bool(each.lanes)
            sums[APPROACHES.index(each.edge)] += np.concatenate([[1], blocked])
        number = len(scenario.incidents)
        rows.append([*sums.ravel(), number == 2, number == 3, number > 3])
    return np.array(rows, dtype=float)


def adjusted_mean(y: np.ndarray, x: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """Mean of ``y`` (n,) at the mean of ``known`` (m, k) instead of that of ``x`` (n, k), and its standard error.

    ``known`` are independent draws of ``x`` whose own error is counted. ``ValueError`` for too few ``y``.
    """
    if len(y) < 10 * x.shape[1]:
        raise ValueError(f"{len(y)} runs are too few for {x.shape[1]} controls: take ten for each")
    centred = np.column_stack([np.ones(len(x)), x - known.mean(axis=0)])
    fitted = np.linalg.lstsq(centred, y, rcond=None)[0]
    rest = (y - centred @ fitted).var(ddof=centred.shape[1]) / len(y)
    return float(fitted[0]), math.sqrt(rest + (known @ fitted[1:]).var(ddof=1) / len(known))


def direct_excess(case: Case, runs: Mapping[float, Sequence[Results]]) -> dict[float, Excess]:
    """By intensity (1 - e^-λ) (mean of the days with incidents - mean of all days without): no weight, no proposal."""
    y = {at: np.concatenate([delays(each) for each in results]) for at, results in runs.items()}
    is_free = {
        at: np.concatenate([each.batch.columns.is_incident_free for each in results]) for at, results in runs.items()
    }
    free = np.concatenate([y[at][is_free[at]] for at in runs])
    found = {}
    for number, (at, results) in enumerate(runs.items()):
        known = controls(case.batch(MARK_DRAWS, [at], seed=MARK_SEED + number))
        x = np.concatenate([controls(each.batch) for each in results])
        mean, error = adjusted_mean(y[at][~is_free[at]], x, known)
        some = -math.expm1(-at)
        found[at] = Excess(
            value=some * (mean - float(free.mean())),
            standard_error=some * math.hypot(error, free.std(ddof=1) / math.sqrt(len(free))),
            runs=len(y[at]),
        )
    return found


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a batch gives for an excess (veh h), in front of the gate, and whether the gate refuses it."""

    value: float
    standard_error: float
    is_refused: bool = False


def weighted_excess(case: Case, results: Results, intensity: float) -> Answer:
    """The package's answer from a batch of any proposal that covers the intensity."""
    frequency = intensity / case.expected
    weights = frequency_weights(results.batch, frequency)
    asked = excess_question(outcome_of(results), results.batch, weights.probability_free)
    gated = answers_at([asked], results.batch, weights, frequency, total=False)[0][0]
    found = estimate_sample(asked, sample_of(asked, weights))
    return Answer(value=found.value, standard_error=found.standard_error, is_refused=gated.is_refused)


def excess_question(outcome: Outcome, batch: ScenarioBatch, probability_free: float) -> Question:
    """The mean of Y (1 - 1{none} / P(none))."""
    free = batch.columns.is_incident_free[:, None]
    values = outcome.delay_veh_h * (1 - free / probability_free)
    asked = questions({POLICY: replace(outcome, delay_veh_h=values)}, batch, threshold_veh_h=1.0)
    return next(each for each in asked if each.estimand == MEAN)


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainWeights:
    """Weights of a batch drawn at one intensity, at another: p_λ / p_λ₀, without a mixture and without a bound."""

    is_free: np.ndarray
    log_w: np.ndarray
    probability_free: float
    controls: np.ndarray
    weight_bound: tuple[float, float]
    classes: CountClasses | None


def plain_excess(case: Case, results: Results, intensity: float, base: float = BASE) -> Answer:
    """The estimate at an intensity from draws at the base intensity alone; the gate is not asked."""
    batch, design = results.batch, results.batch.design
    drawn = batch.columns.density
    if design is None or drawn is None or len(design.alphas) != 1:
        raise ValueError("these days were not drawn at one intensity")
    is_free, number = drawn.component < 0, drawn.counts.sum(axis=1)
    log_w = number * math.log(intensity / base) - (intensity - base)
    log_w += math.log(-math.expm1(-base)) - math.log(-math.expm1(-intensity))
    frequency = np.full(len(KINDS), intensity / case.expected)
    nothing = np.zeros((len(design.nodes), 0))
    weights = PlainWeights(
        is_free=is_free,
        log_w=np.where(is_free, 0.0, log_w),
        probability_free=math.exp(-intensity),
        controls=np.zeros((len(batch), 0)),
        weight_bound=(1.0, math.inf),
        classes=count_classes(design, drawn.counts, frequency, nothing, is_free=is_free),
    )
    asked = excess_question(outcome_of(results), batch, weights.probability_free)
    found = estimate_sample(asked, sample_of(asked, weights))
    return Answer(value=found.value, standard_error=found.standard_error)
