"""The stages wired together: files in, files out. The only module that sees them all.

::

    project ─► history ─► incidents.parquet ─► model ─► scenarios.parquet ─► results ─► report.html
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from scenariogen.errors import DataError, Problems, ProjectError, ScenarioError, SimulationError
from scenariogen.written import written_whole

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.evaluation import Estimate, RunResult
    from scenariogen.incidents.evidence import EvidenceFiles
    from scenariogen.model.condition_files import ConditionFiles
    from scenariogen.model.scenario_model import ScenarioModel
    from scenariogen.report.views import Options, Views
    from scenariogen.scenarios.drivers import Drivers
    from scenariogen.scenarios.records import Scenario, ScenarioBatch
    from scenariogen.simulation.project import SumoProject
    from scenariogen.window import StudyWindow

Update = Callable[[int, int], None]
"""Called with what is done and what there is to do (0: not known)."""
Stage = AbstractContextManager[Update]
"""What shows the progress of one stage."""

DEMO_NOTE = "demo.json"
"""Marks a folder as a demo's, which the next demo may replace."""
DEMO_POLICIES = ("no_control", "max_pressure")
DEMO_FREQUENCIES = (1.0, 10.0, 100.0, 300.0)
"""From the network's own frequency, at which a lane is blocked once in hundreds of peak hours, to 0.7 an hour."""


@contextmanager
def _single_threaded() -> Iterator[None]:
    """torch on one thread: its tensors are small here, and sums are then the same on every machine size."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def detect_to_file(
    trajectories: Path,
    project: "SumoProject",
    *,
    out: Path,
    progress: Update,
    share: float | None = None,
    traffic_only: bool = False,
    history: Sequence[Path] = (),
) -> "pd.DataFrame":
    """Find incidents in trajectories, or in fields of flow and speed, and write the table."""
    from scenariogen.incidents.detect_files import detect_file

    table = detect_file(
        trajectories,
        project.network(),
        share=share,
        traffic_only=traffic_only,
        history=history,
        progress=progress,
    )
    with written_whole(out) as partial:
        table.to_parquet(partial, index=False)
    return table


def fit_to_folder(
    files: "EvidenceFiles",
    project: "SumoProject",
    *,
    out: Path,
    name: str,
    conditions: "ConditionFiles | None" = None,
    seed: int = 0,
    progress: Update | None = None,
) -> "ScenarioModel":
    """Fit a model to what files hold and write its folder. Errors say what does not suffice.

    ``conditions``  what kinds of day and the pattern of demand are learned from; None leaves them as declared
    """
    from scenariogen.incidents.evidence import read_evidence
    from scenariogen.injection.passing_speed import project_table
    from scenariogen.model.checkpoint import save_model
    from scenariogen.model.condition_files import ConditionFiles as Files
    from scenariogen.model.condition_files import read_condition, read_day_types
    from scenariogen.model.fit import fit_model
    from scenariogen.simulation.noted_project import note_project
    from scenariogen.simulation.scaling import scaling_account
    from scenariogen.simulation.study import study_window

    network, window = project.network(), study_window(project)
    conditions = conditions or Files()
    day_types, fault = None, None
    try:
        day_types, _ = read_day_types(conditions)
    except DataError as error:  # told after what is wrong with the records, whose list names the day type as well
        fault = error
    evidence = read_evidence(files, network, window, day_types=day_types)
    if fault is not None:
        raise fault
    with _single_threaded():
        learned = read_condition(conditions, network, window, clock_s=evidence.clock_s, seed=seed)
        model = fit_model(
            evidence.observed,
            evidence.exposure,
            network,
            window,
            days=evidence.days,
            days_worth=evidence.days_worth,
            left_out=evidence.left_out,
            intensity=evidence.intensity,
            records=evidence.records,
            seed=seed,
            network_name=name,
            condition=learned.table,
            capacity_table=project_table(project),
            progress=None if progress is None else lambda _, done, total: progress(done, total),
        )
    model.info["condition"] = str(learned).splitlines()
    if learned.table.demand is not None:
        model.info["condition"] += scaling_account(project, learned.table.demand.entries).words
    save_model(model, out)
    note_project(out, project, name)
    return model


def draw_to_file(
    model_folder: Path,
    project: "SumoProject",
    *,
    n: int,
    frequencies: Sequence[float],
    out: Path,
    by_kind: bool = False,
    given: str = "",
    quantifier: str = "any",
    drivers: "Drivers | None" = None,
    seed: int = 0,
    name: str = "",
) -> "ScenarioBatch":
    """Draw scenarios from a model and write them. ``drivers``: what they know of incidents, by default the usual;
    ``by_kind``: also for each kind's frequency alone."""
    from scenariogen.model.checkpoint import load_model
    from scenariogen.scenarios.drivers import USUAL_DRIVERS, driver_problems
    from scenariogen.scenarios.files import write_batch
    from scenariogen.scenarios.synthesize import synthesize
    from scenariogen.simulation.noted_project import check_noted

    check_noted(model_folder, project)
    drivers = drivers or USUAL_DRIVERS
    problems = Problems("no scenarios can be drawn for these drivers")
    for fault in driver_problems(drivers, project.network()):
        problems.add(fault)
    problems.raise_as(ScenarioError)
    with _single_threaded():
        batch = synthesize(
            load_model(model_folder, project.network()),
            n=n,
            frequencies=tuple(frequencies),
            by_kind=by_kind,
            given=given,
            quantifier=quantifier,
            drivers=drivers,
            seed=seed,
            project_hash=project.hash,
            network_name=name,
        )
    write_batch(batch, out)
    return batch


def run_one(
    project: "SumoProject",
    batch: "ScenarioBatch",
    scenario: "Scenario",
    *,
    policy: str,
    gui: bool = False,
    screenshot: Path | None = None,
    queue: Path | None = None,
    incidents_known: str = "detected",
) -> "RunResult":
    """Simulate one scenario under a policy, in a process of its own or, with ``gui``, in a window.

    ``incidents_known``  how the policy learns of incidents, as for :func:`scenariogen.evaluation.evaluate`
    ``screenshot``  a ``.png`` to write while an incident stands, which needs ``gui``; ``SimulationError`` where none is
    ``queue``       a ``.csv`` to write with the queue of each incident by minute, and an ``.svg``; without ``gui``
    """
    from scenariogen.evaluation.batch import run_tasks
    from scenariogen.evaluation.equipment import IncidentSource
    from scenariogen.evaluation.pending import Task
    from scenariogen.evaluation.policy import resolve_policy
    from scenariogen.evaluation.project_runner import ProjectRunner
    from scenariogen.evaluation.run_warnings import warn_of_runs
    from scenariogen.evaluation.usual_traffic import ensure_usual, read_usual

    batch.check(project.network())
    if batch.project_hash and batch.project_hash != project.hash:
        raise ProjectError(
            f"the scenarios were made for a project with hash {batch.project_hash[:12]}, {project.name} has "
            f"{project.hash[:12]}: name the project that they were made for"
        )
    reference = resolve_policy(policy)
    folder = Path(tempfile.mkdtemp(prefix="scenariogen-run-"))
    try:
        usual = None
        if reference.reads_incidents and IncidentSource(incidents_known) is IncidentSource.DETECTED:
            usual = folder / "usual.npz"
            ensure_usual(project, batch, usual, work_folder=folder)
        if queue is not None:
            from scenariogen.report.queues import run_with_queues

            return run_with_queues(
                project,
                scenario,
                policy,
                window=batch.window,
                folder=folder / "run",
                out=queue,
                usual=None if usual is None else read_usual(usual, project.network()),
            )
        if gui:
            return _replay(project, batch, scenario, policy, folder / "run", screenshot, usual)
        marks = folder / "marks"
        marks.mkdir()
        runner = ProjectRunner(
            sumocfg=project.sumocfg,
            project_hash=project.hash,
            window=batch.window,
            simulator="libsumo",
            work_folder=folder / "work",
            usual=usual,
        )
        (folder / "work").mkdir()
        task = Task(
            key="run", scenario=scenario, policy=reference, replica=0, seed=scenario.seed, folder=folder / "run"
        )
        found: list[RunResult] = []
        run_tasks([task], runner, jobs=1, marks=marks, record=found.append)
        warn_of_runs(found)
        return found[0]
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _replay(
    project: "SumoProject",
    batch: "ScenarioBatch",
    scenario: "Scenario",
    policy: str,
    folder: Path,
    screenshot: Path | None,
    usual: Path | None,
) -> "RunResult":
    """One run in a window, with what happens drawn."""
    from scenariogen.evaluation.run_one import run_scenario
    from scenariogen.evaluation.usual_traffic import read_usual
    from scenariogen.injection.replay import ReplaySimulator, require_display

    require_display(screenshot)
    simulator = ReplaySimulator(project, scenario, screenshot=screenshot)
    result = run_scenario(
        project,
        scenario,
        policy,
        window=batch.window,
        folder=folder,
        simulator=simulator,
        keep=False,
        usual=None if usual is None else read_usual(usual, project.network()),
    )
    if screenshot is not None and not result.failed and simulator.picture_of is None:
        reasons = [each["reason"] for each in json.loads(result.incidents) if not each["realised"]]
        why = "; ".join(reasons) or "the scenario has no incident that stands within the window"
        raise SimulationError(f"{screenshot} was not written: {why}")
    return result


def require_sound(project: "SumoProject", window: "StudyWindow", *, jobs: int, progress: Update | None = None) -> None:
    """Raise ``ProjectError`` where the project locks up without any incident."""
    from scenariogen.simulation.inspect import check_project

    check_project(project, window=window, seeds=2, jobs=jobs, progress=progress).require_sound()


def report_to_file(
    results: Path, out: Path, *, options: "Options | None" = None, costs: Sequence[Path] = ()
) -> "Views":
    """Write the report of a results folder; what it shows.

    ``costs``  tables of expected delay per edge and year to write as well, each a ``.csv`` or a ``.gpkg``
    """
    from scenariogen.evaluation import load_results
    from scenariogen.report.edge_costs import write_edge_costs
    from scenariogen.report.html import network_of, write_page
    from scenariogen.report.views import work_out

    views = work_out(load_results(results), options)
    network = network_of(views.results)
    for path in costs:
        write_edge_costs(views.per_year_or_why(), path, network)
    write_page(views, out, network)
    return views


@dataclass(frozen=True, kw_only=True, eq=False)
class Demo:
    """What :func:`run_demo` gives."""

    report: Path
    verdict: str
    estimates: tuple["Estimate", ...] = field(repr=False)


def run_demo(
    network: str, *, out: Path, days: int, count: int, jobs: int, seed: int, stage: Callable[[str], Stage]
) -> Demo:
    """The whole chain on a network of the catalogue, every product kept in ``out``."""
    from scenariogen.evaluation import evaluate
    from scenariogen.incidents.evidence import EvidenceFiles
    from scenariogen.recording import record
    from scenariogen.simulation.catalog import find_network
    from scenariogen.simulation.project import open_project

    _begin_demo(out, network=network, days=days, count=count, seed=seed)
    project = open_project(find_network(network))
    history, table, model = out / "history", out / "incidents.parquet", out / "model"
    with stage("record days") as update:
        record(project, days=days, seed=seed, jobs=jobs, out=history, network_name=network, progress=update)
    with stage("detect incidents") as update:
        detect_to_file(history, project, out=table, progress=update)
    with stage("fit the model") as update:
        files = EvidenceFiles(incidents=table, trajectories=history)
        fit_to_folder(files, project, out=model, name=network, seed=seed, progress=update)
    with stage("draw scenarios") as update:
        batch = draw_to_file(
            model, project, n=count, frequencies=DEMO_FREQUENCIES, out=out / "scenarios.parquet", seed=seed,
            name=network,
        )  # fmt: skip
        update(count, count)
    with stage("simulate and estimate") as update:
        done = evaluate(
            project, batch, DEMO_POLICIES, out=out / "results", frequencies=DEMO_FREQUENCIES, jobs=jobs,
            progress=lambda state: update(state.done, state.total),
        )  # fmt: skip
    page = (out / "report.html").resolve()
    with stage("write the report") as update:
        views = report_to_file(out / "results", page)
        update(1, 1)
    return Demo(report=page, verdict=views.verdict, estimates=done.estimates)


def _begin_demo(out: Path, **settings: object) -> None:
    """An empty folder with the demo's mark. A demo's own folder is replaced, anything else is left alone."""
    if out.exists() and not out.is_dir():
        raise DataError(f"{out} is a file: give --out another folder")
    if out.is_dir() and any(out.iterdir()):
        if not (out / DEMO_NOTE).is_file():
            raise DataError(f"{out} is not empty and no demo wrote it: give --out another folder")
        for entry in out.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    out.mkdir(parents=True, exist_ok=True)
    (out / DEMO_NOTE).write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
