"""The whole evaluation: every scenario under every policy, resumable, then the estimates."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from scenariogen.errors import Problems, ResultsError, ScenarioError
from scenariogen.evaluation.answer import Frequency
from scenariogen.evaluation.batch import Runner, run_tasks
from scenariogen.evaluation.cluster import check_workers, connected, run_on_cluster
from scenariogen.evaluation.enough import warn_of_few
from scenariogen.evaluation.equipment import IncidentSource
from scenariogen.evaluation.estimate import estimate_in_detail, weights_or_error, write_estimates
from scenariogen.evaluation.estimates import Estimate, EstimateDetail
from scenariogen.evaluation.expected import ExpectedRuns, expected_runs
from scenariogen.evaluation.manifest import MANIFEST, Manifest, read_manifest
from scenariogen.evaluation.pending import TimeLimit
from scenariogen.evaluation.policy import resolve_policies
from scenariogen.evaluation.progress import Report, Tally
from scenariogen.evaluation.project_runner import ProjectRunner
from scenariogen.evaluation.records import RunResult, batch_hash, digest, window_content
from scenariogen.evaluation.results_folder import ResultsFolder
from scenariogen.evaluation.run_warnings import warn_of_runs
from scenariogen.evaluation.store import (
    QUARANTINE,
    SCENARIOS,
    USUAL,
    WORK,
    Results,
    load_results,
    results_of,
    told_where_full,
    write_atomically,
)
from scenariogen.evaluation.usual_traffic import UsualDays, ensure_usual, usual_recipe
from scenariogen.evaluation.versions import installed
from scenariogen.evaluation.wanted import HowToRun, Wanted
from scenariogen.scenarios.records import ScenarioBatch
from scenariogen.scenarios.stored import StoredScenarios
from scenariogen.simulation.project import SumoProject


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """What :func:`evaluate` gives: the runs and the answers. ``made`` runs were new, the others were there."""

    results: Results
    estimates: tuple[Estimate, ...] = field(repr=False)
    details: tuple[EstimateDetail, ...] = field(repr=False)
    made: int

    @property
    def folder(self) -> Path:
        """The results folder."""
        return self.results.folder


def evaluate(
    project: SumoProject,
    batch: ScenarioBatch,
    policies: Sequence[str | Path],
    *,
    out: str | Path,
    frequencies: Iterable[Frequency] | None = None,
    threshold_veh_h: float | None = None,
    tail: float = 0.95,
    level: float = 0.95,
    total: bool = True,
    **how: Any,
) -> Evaluation:
    """Run what is missing in ``out`` and write ``runs.parquet``, ``estimates.json`` and ``diagnostics.json`` there.

    ``policies``    the first is the one that the others are compared with
    ``frequencies`` multipliers to answer for; by default those that the batch was drawn for
    ``tail``, ``level``, ``total``  see :func:`scenariogen.evaluation.estimate.estimate`
    ``how``         to run: the options of :func:`make_runs`

    Killed at any moment, the same call goes on where it was. Raises what :func:`make_runs` raises.
    """
    asked = None if frequencies is None else tuple(frequencies)
    warn_of_few(batch, asked)
    results, made = make_runs(project, batch, policies, out=out, frequencies=asked, **how)
    detailed = estimate_in_detail(
        results, results.batch, asked, threshold_veh_h=threshold_veh_h, tail=tail, level=level, total=total
    )
    with ResultsFolder(out).locked():
        write_estimates(results.folder, detailed)
    return Evaluation(
        results=results,
        estimates=tuple(found for found, _ in detailed),
        details=tuple(detail for _, detail in detailed),
        made=made,
    )


def make_runs(
    project: SumoProject,
    batch: ScenarioBatch,
    policies: Sequence[str | Path],
    *,
    out: str | Path,
    frequencies: tuple[Frequency, ...] | None = None,
    jobs: int = 1,
    replicas: int = 1,
    simulator: str = "libsumo",
    incidents_known: IncidentSource | str = IncidentSource.DETECTED,
    keep: Iterable[int] = (),
    record: Iterable[int] = (),
    time_limit_s: float | None = None,
    retry_quarantined: bool = False,
    cluster: str = "",
    emissions: bool = False,
    usual_days: UsualDays | None = None,
    progress: Report | None = None,
    runner: Runner | None = None,
) -> tuple[Results, int]:
    """Run what is missing in ``out`` and write ``runs.parquet`` there: all results, and how many runs were new.

    ``frequencies`` that will be asked for, checked before the first run
    ``jobs``        worker processes; the numbers do not depend on it
    ``replicas``    simulator seeds per scenario, the same for every policy
    ``simulator``   ``libsumo`` or ``traci``
    ``incidents_known``  how policies learn of incidents: ``detected`` by our own detector during the run, or
                    ``reported`` by the scenario's own phases. For detection, runs without incidents are made first
    ``keep``        indices of scenarios whose run folders stay, under ``kept/``
    ``record``      the same, with the trajectories of all vehicles (``trajectories.parquet``); made again where a
                    run is there without them
    ``time_limit_s``  wall seconds that a run may take; by default see
                    :class:`~scenariogen.evaluation.pending.TimeLimit`
    ``retry_quarantined``  make those runs again that crashed or took too long, ``quarantine.json`` lists them
    ``cluster``     address of a ``dask.distributed`` scheduler that makes the runs, or ``local``; the same numbers
    ``emissions``   also measure what vehicles emit; runs that are there without it are made again, and a folder that
                    has it keeps it
    ``usual_days``  where the runs without incidents for detection are kept, shared by several evaluations; by default
                    in ``out``, of the batch's own conditions
    ``runner``      makes one run in a worker; by default
                    :class:`~scenariogen.evaluation.project_runner.ProjectRunner`

    With a batch of :func:`~scenariogen.scenarios.files.open_batch` scenarios and runs stay in their files. Raises
    ``PolicyError``, ``ScenarioError``, ``FrequencyError``, ``ResultsError`` or, about a cluster, ``SimulationError``
    before the first run where the request cannot be met, and ``ResultsError`` where the disk is full.
    """
    references = resolve_policies(policies)
    how = HowToRun(
        jobs=jobs,
        keep=frozenset(keep),
        record=frozenset(record),
        retry_quarantined=retry_quarantined,
        time_limit_s=time_limit_s,
        progress=progress,
    )
    _check(project, batch, how, replicas=replicas, frequencies=frequencies)
    detects = IncidentSource(incidents_known) is IncidentSource.DETECTED and runner is None
    detects = detects and any(reference.reads_incidents for reference in references)
    folder = ResultsFolder(out)
    emissions = emissions or ((folder.path / MANIFEST).exists() and read_manifest(folder.path).emissions)
    usual = usual_days or UsualDays(batch=batch, path=folder.path.absolute() / USUAL)
    manifest = Manifest(
        project_hash=project.hash,
        project_name=project.name,
        sumocfg=str(project.sumocfg),
        network_hash=project.network().sha256,
        batch_hash=batch_hash(batch),
        window=window_content(batch.window),
        policies=references,
        replicas=replicas,
        simulator=simulator,
        sumo_version=installed("libsumo" if simulator == "libsumo" else "eclipse-sumo"),
        scenariogen_version=installed("scenariogen"),
        capacity_table="" if simulator == "dummy" else capacity_table_of(project),
        usual_traffic=usual_recipe(project, usual.batch) if detects else "",
        emissions=emissions,
    )
    work = (folder.path / WORK).absolute()
    if runner is None:
        runner = ProjectRunner(
            sumocfg=project.sumocfg, project_hash=project.hash, window=batch.window, simulator=simulator,
            work_folder=work, usual=usual.path if detects else None,
        )  # fmt: skip
    with _on(cluster, how, runner, manifest) as how, folder.locked():
        folder.begin(manifest, batch)
        if isinstance(batch.scenarios, StoredScenarios):  # the folder's own, which nobody changes
            batch = replace(batch, scenarios=batch.scenarios.moved(folder.path / SCENARIOS))
        expected = expected_runs(batch, manifest)
        try:
            if detects:
                with told_where_full(folder.path):
                    ensure_usual(project, usual.batch, usual.path, work_folder=work, jobs=jobs)
            made = _run_missing(folder, manifest, batch, expected, runner, how)
        finally:
            folder.clear_work()
        folder.compact()
        results = results_of(folder.path, manifest, batch, expected)
        write_quarantine(results)
    warn_of_runs(results.runs)
    return results, made


@contextmanager
def _on(cluster: str, how: HowToRun, runner: Runner, manifest: Manifest) -> Iterator[HowToRun]:
    """How to run, with a client of the cluster where one is asked for, whose workers were found fit."""
    if not cluster:
        yield how
        return
    versions = {"scenariogen": manifest.scenariogen_version}
    if manifest.simulator != "dummy":
        versions["libsumo" if manifest.simulator == "libsumo" else "eclipse-sumo"] = manifest.sumo_version
    with connected(cluster, jobs=how.jobs) as client:
        check_workers(client, runner, manifest.policies, versions)
        yield replace(how, client=client)


def write_quarantine(results: Results) -> Path:
    """Write ``quarantine.json``: which runs crashed or took too long each time they were tried, and how."""
    listed = [
        {
            "scenario": run.scenario, "policy": run.policy, "replica": run.replica, "seed": run.seed,
            "reason": str(run.end_reason), "error": run.error, "attempts": run.attempts, "key": run.key,
        }
        for run in results.quarantined
    ]  # fmt: skip
    path = results.folder / QUARANTINE
    if listed:
        write_atomically(path, json.dumps(listed, indent=1) + "\n")
    else:
        path.unlink(missing_ok=True)
    return path


def capacity_table_of(project: SumoProject) -> str:
    """Hash of the capacity table that injections into a project use; empty for the shipped default.

    A table that was measured here decides what incidents do, so runs made with another one are other runs.
    """
    from scenariogen.injection.passing_speed import project_table

    table = project_table(project)
    return "" if table is None else digest(dict(table.content))


def _run_missing(
    folder: ResultsFolder,
    manifest: Manifest,
    batch: ScenarioBatch,
    expected: ExpectedRuns,
    runner: Runner,
    how: HowToRun,
) -> int:
    """Make every run that the folder does not hold; the number of runs made."""
    wanted = Wanted(folder, batch, expected, how)
    tally = Tally(len(expected), wanted.before, how.progress)

    def record(run: RunResult) -> None:
        folder.append(run)
        tally.add(run, wanted.times.get(run.key, 1))

    tasks, limit = wanted.tasks(manifest), TimeLimit(how.time_limit_s)
    for run in wanted.before:
        limit.add(run)
    if how.client is not None:
        run_on_cluster(tasks, runner, client=how.client, record=record, limit=limit)
    else:
        marks = folder.path / WORK / "marks"
        marks.mkdir()
        run_tasks(tasks, runner, jobs=how.jobs, marks=marks, record=record, limit=limit)
    return wanted.count


def _check(
    project: SumoProject,
    batch: ScenarioBatch,
    how: HowToRun,
    *,
    replicas: int,
    frequencies: tuple[Frequency, ...] | None,
) -> None:
    """Everything that would otherwise show after hours of simulation."""
    problems = Problems("the scenarios cannot be evaluated")
    if not len(batch):
        problems.add("the batch is empty: sample some scenarios first")
    if batch.project_hash and batch.project_hash != project.hash:
        problems.add(
            f"they were made for a project with hash {batch.project_hash[:12]}, {project.name} has "
            f"{project.hash[:12]}: sample again for this project"
        )
    indices, counts = np.unique(batch.columns.index, return_counts=True)
    if (counts > 1).any():
        problems.add(f"indices {indices[counts > 1][:5].tolist()} appear more than once; each scenario needs its own")
    for name, number in (("jobs", how.jobs), ("replicas", replicas)):
        if number < 1:
            problems.add(f"{name} is {number}, expected at least 1")
    if how.time_limit_s is not None and not how.time_limit_s > 0:
        problems.add(f"the time limit is {how.time_limit_s:g} s, expected more than 0")
    if absent := sorted((how.keep | how.record) - set(indices.tolist())):
        problems.add(f"scenarios {absent[:5]} are to be kept and are not in the batch: name some of its indices")
    if frequencies and batch.design is None:
        problems.add("scenarios made by hand have no frequency: leave --frequency out, or sample from a model")
    problems.raise_as(ScenarioError)
    batch.check(project.network())
    if batch.design is not None and frequencies:
        errors = [found for f in frequencies if isinstance(found := weights_or_error(batch, f), Exception)]
        if len(errors) == len(frequencies):
            raise errors[0]


def re_estimate(
    folder: str | Path,
    *,
    frequencies: Iterable[Frequency] | None = None,
    threshold_veh_h: float | None = None,
    tail: float = 0.95,
    level: float = 0.95,
) -> tuple[Estimate, ...]:
    """Answer other frequencies, another threshold or level, from runs that are there; rewrites ``estimates.json``."""
    results = load_results(folder)
    if not results.runs:
        raise ResultsError(f"{folder} holds no finished run: run the evaluation that began it again")
    detailed = estimate_in_detail(results, None, frequencies, threshold_veh_h=threshold_veh_h, tail=tail, level=level)
    write_estimates(results.folder, detailed)
    return tuple(found for found, _ in detailed)
