"""``record``: many days of a project with incidents, and apart from them the truth.

Each day has a demand scale of its own (lognormal, 0.1), or scales of its entries where a pattern of demand is given,
and a simulator's seed of its own; teleporting is off. Days
are simulated in parallel processes and written in order, one after the other, so memory holds no more than the days
under way, and the tables are the same to the byte whatever the number of processes.
"""

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.errors import DataError, Problems, SimulationError
from scenariogen.injection.warned import warn_once
from scenariogen.randomness import child_seed
from scenariogen.recording.day import (
    PARQUET,
    DayTask,
    RecordedDay,
    Reference,
    ReferenceTask,
    Setting,
    measure_exposure,
    record_day,
)
from scenariogen.recording.folder import FORMAT, RATES_FILE, TRUTH_FILE, check_out, draft_of
from scenariogen.recording.summary import RecordingSummary
from scenariogen.recording.truth import TrueProcess
from scenariogen.recording.workers import Workers
from scenariogen.trajectories.columns import HEADER_FILE, TRAJECTORIES_FILE, schema

if TYPE_CHECKING:
    from scenariogen.model.demand_pattern import DemandPattern
    from scenariogen.simulation.project import SumoProject
    from scenariogen.window import StudyWindow

SCHEMA = 1
DEMAND_SPREAD = 0.1
"""Standard deviation of the logarithm of a day's demand scale; its median is 1."""
REFERENCE_RUNS = 2
"""Runs without incidents that exposure is averaged over."""
LANE_BLOCKING_PER_DAY = 1.0
"""What the intensity is chosen for where none is given."""
RUNS = "runs"


def record(
    project: "SumoProject",
    *,
    days: int,
    seed: int,
    out: Path,
    intensity: float | None = None,
    jobs: int = 1,
    period_s: float = 2.0,
    network_name: str = "",
    window: "StudyWindow | None" = None,
    demand: "DemandPattern | None" = None,
    progress: Callable[[int, int], None] | None = None,
) -> RecordingSummary:
    """Record ``days`` days into the folder ``out``, which appears when all is done.

    ``intensity``  multiplier on the true base rates, which are about the published ones; by default such that one
                   incident a day blocks a lane at demand scale 1
    ``period_s``   seconds between two samples of a vehicle, a multiple of the project's step
    ``window``     by default the project's own study window
    ``demand``     the pattern that each day's demand is drawn from, in the place of one lognormal scale
    ``progress``   called as ``progress(runs done, runs in all)``, the two runs that measure exposure included

    ``out`` then holds ``trajectories.parquet``, ``history.json``, ``truth.parquet`` and ``truth_rates.parquet``. A
    day whose simulation dies is left out and named in the summary and in ``history.json``. Raises ``DataError`` for
    settings that make no sense or a folder that is not a recording's, ``ProjectError`` and ``SimulationError`` where
    the project cannot be simulated. The project's own files are only read.
    """
    began = time.perf_counter()
    out = Path(out).absolute()
    _check(project, days=days, intensity=intensity, jobs=jobs, period_s=period_s, out=out)
    if window is None:
        from scenariogen.simulation.study import study_window

        window = study_window(project)
    tell = _counter(days + REFERENCE_RUNS, progress)
    with draft_of(out) as draft, Workers(min(jobs, max(days, REFERENCE_RUNS))) as workers:
        setting = Setting(
            sumocfg=project.sumocfg,
            project_hash=project.hash,
            window=window,
            seed=seed,
            period_s=period_s,
            runs=draft / RUNS,
        )
        setting.runs.mkdir()
        process = _true_process(project, setting, workers, tell)
        intensity = LANE_BLOCKING_PER_DAY / process.lane_blocking_per_day if intensity is None else float(intensity)
        scales, entry_scales = _demand(seed, days, demand)
        tasks = [
            DayTask(
                setting=setting,
                day=day,
                demand_scale=scale,
                entry_scales=entry_scales[day],
                incidents=process.draw(seed, day, intensity=intensity, demand_scale=scale),
            )
            for day, scale in enumerate(scales)
        ]
        recorded = _write_days(tasks, draft, workers, tell)
        _write_truth(recorded, process, draft)
        header = {
            "format": FORMAT,
            "schema": SCHEMA,
            "network_name": network_name or project.name,
            "network_hash": project.network().sha256,
            "project_hash": project.hash,
            "window": asdict(window),
            "days": days,
            "failed_days": {str(each.day): each.error for each in recorded if each.error},
            "locked_up_days": [each.day for each in recorded if each.locked_up],
            "period_s": period_s,
            "seed": seed,
            "intensity": intensity,
            "demand_scale": scales,
            **({} if demand is None else {"entry_scales": [dict(each) for each in entry_scales]}),
            "versions": {name: _version(name) for name in ("scenariogen", "libsumo")},
        }
        (draft / HEADER_FILE).write_text(json.dumps(header, indent=2) + "\n", encoding="utf-8")
        shutil.rmtree(setting.runs)  # prepared demand
    warn_once((f"day {each.day}", each.warnings) for each in recorded)
    rows = [row for each in recorded for row in each.truth]
    return RecordingSummary(
        folder=out,
        days=days,
        failed=tuple((each.day, each.error) for each in recorded if each.error),
        locked_up=tuple(header["locked_up_days"]),
        intensity=intensity,
        expected=process.incidents_per_day,
        expected_lane_blocking=process.lane_blocking_per_day,
        incidents=len(rows),
        lane_blocking=sum(bool(row["lanes"]) for row in rows),
        realised=sum(row["realised"] for row in rows),
        vehicle_rows=_rows(out / TRAJECTORIES_FILE),
        size_bytes=(out / TRAJECTORIES_FILE).stat().st_size,
        wall_s=time.perf_counter() - began,
    )


def _check(
    project: "SumoProject", *, days: int, intensity: float | None, jobs: int, period_s: float, out: Path
) -> None:
    problems = Problems("this recording cannot be made")
    if days < 1:
        problems.add(f"days is {days}, expected at least 1")
    if jobs < 1:
        problems.add(f"jobs is {jobs}, expected at least 1 process")
    if intensity is not None and not (math.isfinite(intensity) and intensity > 0):
        problems.add(f"intensity is {intensity:g}, expected a multiplier above 0, or none for one incident a day")
    step_s = project.step_length_s
    if not (math.isfinite(period_s) and period_s > 0):
        problems.add(f"period_s is {period_s:g}, expected seconds above 0, for example 2")
    elif round(period_s / step_s) < 1 or abs(period_s / step_s - round(period_s / step_s)) > 1e-6:
        problems.add(
            f"period_s is {period_s:g}, expected a multiple of the project's step of {step_s:g} s, for example "
            f"{max(1, math.ceil(period_s / step_s)) * step_s:g}"
        )
    in_the_way = check_out(out)
    if in_the_way:
        problems.add(in_the_way)
    problems.raise_as(DataError)


def _true_process(project: "SumoProject", setting: Setting, workers: Workers, tell: Callable[[], None]) -> TrueProcess:
    tasks = [ReferenceTask(setting=setting, number=number) for number in range(REFERENCE_RUNS)]
    found: list[Reference] = []
    for reference in workers.in_order(measure_exposure, tasks, when_lost=lambda _, why: Reference(error=why)):
        if reference.error:
            raise SimulationError(reference.error, title=f"{project.name} cannot be simulated without incidents")
        found.append(reference)
        tell()
    edges = sorted({edge for reference in found for edge in reference.vehicle_km})
    mean = {
        edge: np.mean([reference.vehicle_km.get(edge, _nothing(found, edge)) for reference in found], axis=0)
        for edge in edges
    }
    return TrueProcess.from_run(project.network(), setting.window, mean)


def _nothing(found: list[Reference], edge: str) -> np.ndarray:
    return np.zeros_like(next(each.vehicle_km[edge] for each in found if edge in each.vehicle_km))


def _write_days(tasks: list[DayTask], draft: Path, workers: Workers, tell: Callable[[], None]) -> list[RecordedDay]:
    """All days into one trajectory file, in order; each day's own file goes as soon as it is taken over."""
    import pyarrow.parquet as pq

    recorded: list[RecordedDay] = []
    with pq.ParquetWriter(draft / TRAJECTORIES_FILE, schema(), **PARQUET) as writer:
        for each in workers.in_order(record_day, tasks, when_lost=lambda task, why: _lost(task.day, why)):
            if each.file is not None:
                with pq.ParquetFile(each.file) as source:
                    for group in range(source.num_row_groups):
                        writer.write_table(source.read_row_group(group))
                each.file.unlink()
            recorded.append(each)
            tell()
    if all(each.error for each in recorded):
        raise SimulationError(
            *dict.fromkeys(each.error for each in recorded), title=f"none of the {len(tasks)} days could be simulated"
        )
    return recorded


def _lost(day: int, why: str) -> RecordedDay:
    return RecordedDay(day=day, error=why)


def _write_truth(recorded: list[RecordedDay], process: TrueProcess, draft: Path) -> None:
    import pyarrow.parquet as pq

    from scenariogen.recording.tables import rates_table, truth_table

    pq.write_table(truth_table([row for each in recorded for row in each.truth]), draft / TRUTH_FILE)
    pq.write_table(rates_table(process), draft / RATES_FILE)


def _demand(
    seed: int, days: int, demand: "DemandPattern | None"
) -> tuple[list[float], list[tuple[tuple[str, float], ...]]]:
    """The network's scale and the scales of the entries, the latter empty without a pattern, of each day."""
    if demand is None:
        return [_demand_scale(seed, day) for day in range(days)], [()] * days
    import torch

    from scenariogen.randomness import uniform

    noise = uniform(child_seed(seed, "demand"), torch.arange(days), demand.factors + demand.rests)
    factors = demand.density.sample(noise[:, : demand.factors], torch.zeros(days, dtype=torch.int64))
    rest = demand.draw_rest(noise[:, demand.factors :]).numpy()
    scales = demand.network_scale(factors.numpy()).round(6).tolist()
    by_entry = demand.entry_scales(factors.numpy(), rest).round(6).tolist()
    return scales, [tuple(zip(demand.entries, row, strict=True)) for row in by_entry]


def _demand_scale(seed: int, day: int) -> float:
    random = np.random.default_rng(child_seed(seed, "demand", day))
    return round(math.exp(DEMAND_SPREAD * random.standard_normal()), 6)


def _counter(total: int, progress: Callable[[int, int], None] | None) -> Callable[[], None]:
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    if progress is not None:
        progress(0, total)
    return tell


def _rows(file: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(file).num_rows)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
