"""How scripts/benchmark_detection looks at the days of one network: recorded once, seen four times."""

import json
import pickle
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from detection_cases import Case, draw_incidents
from detection_days import FIRST_BLOCKER, add_truth, simulate
from detection_scores import Scores, score

from scenariogen.incidents.detect import detect_incidents
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.from_fields import detect_in_cells
from scenariogen.incidents.from_fields_cells import Cells, cells_of_fields, stacked
from scenariogen.incidents.records import Incident
from scenariogen.incidents.sparse import Look, detect_traffic, look, with_standing
from scenariogen.network import RoadNetwork, read_network
from scenariogen.randomness import sumo_seed
from scenariogen.trajectories.fields import edie_fields
from scenariogen.trajectories.records import Trajectories, open_trajectories
from scenariogen.trajectories.tracks import load_day

VARIANTS = ("full", "unblocked", "tenth", "fields")
SHARE = {"full": 1.0, "unblocked": 1.0, "tenth": 0.1, "fields": 1.0}
MOST_BLOCKERS = 200
QUIET = "free"
"""How the recordings of days without incidents are called."""
FREE_COLUMNS = "SELECT vehicle, edge, time_s, position_m FROM trajectories"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One day as one variant sees it. ``standing``: incidents of the day by vehicles that stand, where it has all."""

    cells: Cells | None
    look: Look | None
    standing: pd.DataFrame | None
    recording: Path
    seconds: float

    @property
    def is_quiet(self) -> bool:
        """A day without incidents."""
        return self.recording.stem.startswith(QUIET)


def look_at_network(
    case: Case, folder: Path, pool: ProcessPoolExecutor, *, seed: int, free: int
) -> Iterator[dict[str, Scores]]:
    """Steps through the work on one network; the fourth gives the scores of every variant, those before nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    quiet = [folder / f"{QUIET}{number}_{seed}.parquet" for number in range(1 if case.locked else free)]
    jobs = [
        pool.submit(
            record_day, case, sumo_seed(1 + 10 * seed, case.name, *([number] if number else [])), file, [], None
        )
        for number, file in enumerate(quiet)
    ]
    yield {}
    jobs[0].result()
    network = read_network(case.net)
    driven = open_trajectories(quiet[0], network).query(FREE_COLUMNS)
    busy = [folder / f"day{day}_{seed}.parquet" for day in range(case.days)]
    for day, file in enumerate(busy):
        incidents = draw_incidents(case, network, driven, day, seed)
        jobs.append(pool.submit(record_day, case, sumo_seed(2 + 10 * seed, case.name, day), file, incidents, quiet[0]))
    yield {}
    files = [*quiet, *busy]
    truths = [job.result() for job in jobs]
    found = [pool.submit(find, case, files, number) for number in range(len(files))]
    yield {}
    scores = {variant: Scores() for variant in VARIANTS}
    for file, truth, job in zip(files, truths, found, strict=True):
        for variant, (table, seconds) in job.result().items():
            if file in quiet:
                day = Scores(free_hours=open_trajectories(file, network).recorded_h, false_alarms=len(table))
            else:
                day = score(variant, case.name, table, truth, network)
            day.seconds.append(seconds)
            scores[variant].add(day)
    yield scores


def record_day(case: Case, seed: int, file: Path, incidents: list[Incident], quiet: Path | None) -> list[dict]:
    """Simulate a day where its recording is not there yet, and look at it in every way; what is true of it."""
    noted = file.with_suffix(".json")
    if not noted.is_file():
        noted.write_text(json.dumps(simulate(case, seed, file, incidents)))
    truths = json.loads(noted.read_text())
    network = read_network(case.net)
    opened = open_trajectories(file, network)
    if quiet is not None:
        add_truth(case, network, opened, truths, open_trajectories(quiet, network).query(FREE_COLUMNS))
        for truth in truths:
            truth["day"] = file.stem
    for variant in VARIANTS:
        seen = see(kept(opened, variant), network, variant)
        file.with_suffix(f".{variant}").write_bytes(pickle.dumps(seen))
    return truths


def see(part: Trajectories, network: RoadNetwork, variant: str) -> Seen:
    """One day as a variant sees it."""
    began = time.perf_counter()
    standing = detect_incidents(part, network) if variant in ("full", "unblocked") else None
    cells = cells_of_fields(edie_fields(part, network), network) if variant == "fields" else None
    seen = look(part, network, 0, share=SHARE[variant]) if variant in ("unblocked", "tenth") else None
    return Seen(cells=cells, look=seen, standing=standing, recording=part.path, seconds=time.perf_counter() - began)


def kept(opened: Trajectories, variant: str) -> Trajectories:
    """The vehicles of a recording that a variant sees, as a recording of its own."""
    if variant in ("full", "fields"):
        return opened
    file = opened.path.with_name(f"{opened.path.stem}_{variant}.parquet")
    if not file.is_file():
        names = ", ".join(f"'{FIRST_BLOCKER + number}'" for number in range(MOST_BLOCKERS))
        choice = f"CAST(vehicle AS VARCHAR) NOT IN ({names})"
        if variant == "tenth":
            choice = "hash(CAST(vehicle AS VARCHAR)) % 10 = 0"
        opened.query(f"SELECT * FROM trajectories WHERE {choice} ORDER BY day, time_s").to_parquet(file)
    return open_trajectories(file)


def find(case: Case, files: list[Path], number: int) -> dict[str, tuple[pd.DataFrame, float]]:
    """The incidents of one day as every variant finds them, and the seconds that took; the other days are usual."""
    network = read_network(case.net)
    answers = {}
    for variant in VARIANTS:
        days: list[Seen] = [pickle.loads(file.with_suffix(f".{variant}").read_bytes()) for file in files]
        began = time.perf_counter()
        table = detect(days, number, network)
        answers[variant] = (table, time.perf_counter() - began + days[number].seconds)
    return answers


def detect(days: list[Seen], number: int, network: RoadNetwork) -> pd.DataFrame:
    """The incidents of one of several days; those without incidents tell what is usual."""
    own = days[number]
    usual = [day for other, day in enumerate(days) if other != number and day.is_quiet]
    if own.look is not None:
        looks = [day.look for day in usual if day.look is not None]
        tracks, *others = (load_day(open_trajectories(day.recording), network, 0) for day in (own, *usual))
        found = detect_traffic(own.look, looks, tracks, others, network, DetectSettings())
        return found if own.standing is None else with_standing(found, own.standing, tracks, network, DetectSettings())
    if own.cells is not None:
        cells = [day.cells for day in usual if day.cells is not None]
        return detect_in_cells(stacked([*cells, own.cells]), network, DetectSettings(), days=[len(cells)])
    return own.standing if own.standing is not None else pd.DataFrame()
