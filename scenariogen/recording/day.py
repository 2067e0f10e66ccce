"""One recorded day, in a worker process: simulate, inject, write its trajectories and its truth."""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scenariogen.errors import ProjectError, SimulationError
from scenariogen.incidents.records import Incident
from scenariogen.randomness import child_seed, sumo_seed
from scenariogen.trajectories import columns
from scenariogen.window import StudyWindow

if TYPE_CHECKING:
    import pyarrow as pa

    from scenariogen.simulation.project import SumoProject

FCD_FILE = "fcd.parquet"
ROW_GROUP_ROWS = 500_000
PARQUET: dict[str, Any] = {
    "compression": "zstd",
    "use_dictionary": [columns.DAY, columns.TIME, columns.VEHICLE, columns.EDGE, columns.LANE],
    "column_encoding": dict.fromkeys((columns.POSITION, columns.SPEED, columns.X, columns.Y), "BYTE_STREAM_SPLIT"),
}
"""How trajectories are written: numbers split by byte compress to two thirds of what they take otherwise."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all runs of one recording share. ``runs`` is the folder that they work in."""

    sumocfg: Path
    project_hash: str
    window: StudyWindow
    seed: int
    period_s: float
    runs: Path

    def project(self) -> "SumoProject":
        """The project, read once by each worker; ``ProjectError`` where it changed since the recording began."""
        if self not in _OPENED:
            from scenariogen.simulation.project import open_project

            project = open_project(self.sumocfg)
            if project.hash != self.project_hash:
                raise ProjectError(f"{self.sumocfg} changed while it was recorded: leave it alone, then record again")
            _OPENED.clear()  # one project per worker is enough
            _OPENED[self] = project
        return _OPENED[self]


_OPENED: dict[Setting, "SumoProject"] = {}


@dataclass(frozen=True, kw_only=True)
class ReferenceTask:
    """A run without incidents that measures exposure."""

    setting: Setting
    number: int


@dataclass(frozen=True, kw_only=True)
class DayTask:
    """A day to record."""

    setting: Setting
    day: int
    demand_scale: float
    entry_scales: tuple[tuple[str, float], ...] = ()
    incidents: tuple[Incident, ...] = field(default=(), repr=False)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Vehicle-kilometres by edge id and time cell, or in ``error`` why there are none."""

    vehicle_km: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class RecordedDay:
    """A day's trajectories in a file of its own and its rows of truth, or in ``error`` why there are none."""

    day: int
    file: Path | None = None
    truth: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)
    locked_up: bool = False
    warnings: tuple[str, ...] = ()
    error: str = ""


def measure_exposure(task: ReferenceTask) -> Reference:
    """One run without incidents at demand scale 1."""
    from scenariogen.simulation.traffic import edge_vehicle_km

    setting = task.setting
    folder = setting.runs / f"reference{task.number}"
    try:
        vehicle_km = edge_vehicle_km(
            setting.project(),
            setting.window,
            seed=sumo_seed(setting.seed, "reference", task.number),
            folder=folder,
            work_folder=setting.runs,
        )
    except SimulationError as error:
        return Reference(error=str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Reference(vehicle_km=vehicle_km)


def record_day(task: DayTask) -> RecordedDay:
    """Simulate a day and write ``day<N>.parquet``. A simulator that refuses or dies ends in ``error``."""
    folder = task.setting.runs / f"run{task.day}"
    try:
        return _record_day(task, folder)
    except SimulationError as error:
        return RecordedDay(day=task.day, error=str(error))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _record_day(task: DayTask, folder: Path) -> RecordedDay:
    import pyarrow.parquet as pq

    from scenariogen.injection import Injection
    from scenariogen.injection.warned import untold
    from scenariogen.recording.tables import truth_row
    from scenariogen.scenarios.records import Condition, Scenario
    from scenariogen.simulation.contract import RunRequest
    from scenariogen.simulation.health import HealthWatch
    from scenariogen.simulation.sumo import SumoSimulator
    from scenariogen.trajectories.readers.sumo_fcd import normalise_fcd

    setting, project = task.setting, task.setting.project()
    simulator = SumoSimulator(project, work_folder=setting.runs, project_outputs=False)
    request = RunRequest(
        window=setting.window,
        seed=sumo_seed(setting.seed, "day", task.day),
        folder=folder,
        demand_scale=task.demand_scale,
        entry_scales=dict(task.entry_scales),
        outputs={"fcd-output": FCD_FILE},
        options=_fcd_options(project.options, setting.period_s),
    )
    scenario = Scenario(
        index=task.day,
        seed=request.seed,
        condition=Condition(demand_scale=task.demand_scale, entry_scales=task.entry_scales),
        incidents=task.incidents,
    )
    last_s = setting.window.end_s - project.step_length_s * 1e-3
    with simulator.open(request) as run:
        watch = HealthWatch(run)
        with ExitStack() as stack:
            injection = Injection(run.connection, scenario, network=project.network(), sumocfg=str(project.sumocfg))
            with untold():
                stack.enter_context(injection)
            while run.time_s < last_s:
                run.step()
                watch.update()
        report = injection.report()
        locked_up = watch.locked_up_since_s is not None
    table, recorded_as = with_plain_ids(normalise_fcd(folder / FCD_FILE, task.day), setting.seed)
    file = setting.runs / f"day{task.day}.parquet"
    pq.write_table(table, file, row_group_size=ROW_GROUP_ROWS, **PARQUET)
    truth = tuple(truth_row(task.day, each, recorded_as) for each in report)
    return RecordedDay(day=task.day, file=file, truth=truth, locked_up=locked_up, warnings=injection.warnings)


def _fcd_options(theirs: Mapping[str, str], period_s: float) -> dict[str, str]:
    """Every vehicle, no person, every ``period_s``, whatever the project says of floating-car data (empty: unset)."""
    not_set = {name: "" for name in theirs if name.startswith(("fcd-output.", "device.fcd.", "person-device.fcd."))}
    every = {"device.fcd.period": f"{period_s:g}", "device.fcd.probability": "1", "person-device.fcd.probability": "0"}
    return not_set | every


def with_plain_ids(table: "pa.Table", seed: int) -> tuple["pa.Table", dict[str, str]]:
    """A day's table under new ids, numbers drawn without order, and the new id of each vehicle.

    The ids of a demand say which vehicles belong to it, so blocking vehicles would stand out under any id of their
    own; and SUMO writes the vehicles of a second in the order of their ids. So all are numbered anew, and rows are
    sorted by time and new id. Whoever wants to know looks into the truth.
    """
    import pyarrow as pa

    day = table[columns.DAY][0].as_py() if table.num_rows else 0
    words = table[columns.VEHICLE].combine_chunks()
    old = np.array(words.dictionary.to_pylist(), dtype=object)
    order = np.argsort(old.astype(str), kind="stable")
    numbers = np.empty(len(old), dtype=np.int32)
    numbers[order] = np.random.default_rng(child_seed(seed, "ids", day)).permutation(len(old))
    new = [f"veh{number:06d}" for number in range(len(old))]
    codes = numbers[words.indices.to_numpy(zero_copy_only=False)] if len(old) else np.zeros(0, dtype=np.int32)
    position = table.schema.get_field_index(columns.VEHICLE)
    vehicles = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(new, pa.string()))
    table = table.set_column(position, table.schema.field(position), vehicles)
    rows = np.lexsort((codes, table[columns.TIME].to_numpy()))
    return table.take(pa.array(rows)), {str(name): new[number] for name, number in zip(old, numbers, strict=True)}
