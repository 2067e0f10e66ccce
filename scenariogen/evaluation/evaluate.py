"""The whole evaluation: every scenario under every policy, resumable, then the estimates."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scenariogen.errors import Problems, ResultsError, ScenarioError
from scenariogen.evaluation.answer import Frequency
from scenariogen.evaluation.batch import Runner, Task, run_tasks
from scenariogen.evaluation.estimate import estimate_in_detail, weights_or_error, write_estimates
from scenariogen.evaluation.estimates import Estimate, EstimateDetail
from scenariogen.evaluation.manifest import Manifest
from scenariogen.evaluation.policy import resolve_policies
from scenariogen.evaluation.progress import Report, Tally
from scenariogen.evaluation.records import RunResult, batch_hash, digest, replica_seed, window_content
from scenariogen.evaluation.run_one import ProjectRunner
from scenariogen.evaluation.store import KEPT, WORK, Results, ResultsFolder, expected_keys, load_results
from scenariogen.scenarios.records import ScenarioBatch
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
    jobs: int = 1,
    replicas: int = 1,
    simulator: str = "libsumo",
    keep: Iterable[int] = (),
    progress: Report | None = None,
    runner: Runner | None = None,
) -> Evaluation:
    """Run what is missing in ``out`` and write ``runs.parquet``, ``estimates.json`` and ``diagnostics.json`` there.

    ``policies``    the first is the one that the others are compared with
    ``frequencies`` multipliers to answer for; by default those that the batch was drawn for
    ``tail``, ``level``, ``total``  see :func:`scenariogen.evaluation.estimate.estimate`
    ``jobs``        worker processes; the numbers do not depend on it
    ``replicas``    simulator seeds per scenario, the same for every policy
    ``simulator``   ``libsumo`` or ``traci``
    ``keep``        indices of scenarios whose run folders stay, under ``kept/``
    ``runner``      makes one run in a worker; by default :class:`~scenariogen.evaluation.run_one.ProjectRunner`

    Killed at any moment, the same call goes on where it was. Raises ``PolicyError``, ``ScenarioError``,
    ``FrequencyError`` or ``ResultsError`` before the first run where the request cannot be met.
    """
    references = resolve_policies(policies)
    asked = None if frequencies is None else tuple(frequencies)
    _check(project, batch, jobs=jobs, replicas=replicas, frequencies=asked)
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
    )
    folder = ResultsFolder(out)
    with folder.locked():
        folder.begin(manifest, batch)
        work = folder.path / WORK
        if runner is None:
            runner = ProjectRunner(
                sumocfg=project.sumocfg, project_hash=project.hash, window=batch.window, simulator=simulator,
                work_folder=work.absolute(),
            )  # fmt: skip
        try:
            made = _run_missing(folder, manifest, batch, runner, jobs=jobs, keep=frozenset(keep), progress=progress)
        finally:
            folder.clear_work()
        folder.compact()
        results = load_results(folder.path)
        detailed = estimate_in_detail(
            results, batch, asked, threshold_veh_h=threshold_veh_h, tail=tail, level=level, total=total
        )
        write_estimates(folder.path, detailed)
    return Evaluation(
        results=results,
        estimates=tuple(found for found, _ in detailed),
        details=tuple(detail for _, detail in detailed),
        made=made,
    )


def capacity_table_of(project: SumoProject) -> str:
    """Hash of the capacity table that injections into a project use; empty for the shipped default.

    A table that was measured here decides what incidents do, so runs made with another one are other runs.
    """
    from scenariogen.errors import ProjectError
    from scenariogen.incidents.capacity_tables import shipped_table
    from scenariogen.injection.calibration_cache import find_table
    from scenariogen.injection.vehicle_mix_reading import project_traffic

    try:
        table = find_table(project_traffic(project))
    except ProjectError:  # who drives is not known: injections say so, and use the default
        return ""
    return "" if table is None or table is shipped_table() else digest(dict(table.content))


def _run_missing(
    folder: ResultsFolder,
    manifest: Manifest,
    batch: ScenarioBatch,
    runner: Runner,
    *,
    jobs: int,
    keep: frozenset[int],
    progress: Report | None,
) -> int:
    """Make every run that the folder does not hold; the number of runs made."""
    known = folder.rows()
    before: list[RunResult] = []
    todo: dict[str, Task] = {}
    times: Counter[str] = Counter()
    for scenario, policy, replica, key in expected_keys(batch, manifest):
        if key in known:
            before.append(known[key])
            continue
        times[key] += 1
        kept = scenario.index in keep
        name = f"{scenario.index:05d}-{policy.name}-{replica}"
        todo.setdefault(
            key,
            Task(
                key=key,
                scenario=scenario,
                policy=policy,
                replica=replica,
                seed=replica_seed(scenario, replica),
                folder=(folder.path / (KEPT if kept else WORK) / name).absolute(),
                keep=kept,
                sumo_version=manifest.sumo_version,
                scenariogen_version=manifest.scenariogen_version,
            ),
        )
    tally = Tally(len(before) + sum(times.values()), before, progress)

    def record(run: RunResult) -> None:
        folder.append(run)
        tally.add(run, times[run.key])

    marks = folder.path / WORK / "marks"
    marks.mkdir()
    run_tasks(todo.values(), runner, jobs=jobs, marks=marks, record=record)
    return len(todo)


def _check(
    project: SumoProject,
    batch: ScenarioBatch,
    *,
    jobs: int,
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
    repeated = [index for index, count in Counter(s.index for s in batch.scenarios).items() if count > 1]
    if repeated:
        problems.add(f"indices {repeated[:5]} appear more than once; each scenario needs its own")
    for name, number in (("jobs", jobs), ("replicas", replicas)):
        if number < 1:
            problems.add(f"{name} is {number}, expected at least 1")
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


def installed(package: str) -> str:
    """Version of an installed package without importing it, ``unknown`` where it has none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
