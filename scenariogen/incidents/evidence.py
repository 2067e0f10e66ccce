"""All that a model is fitted to, from files: incidents found in trajectories, a log's records, and exposure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scenariogen.accounts import account_path
from scenariogen.errors import DataError, Problems
from scenariogen.incidents.event_files import TIME_ZONE, event_account, read_events
from scenariogen.incidents.exposure import Exposure, exposure
from scenariogen.incidents.exposure_counts import exposure_from_counts
from scenariogen.incidents.record_settings import RecordSettings
from scenariogen.incidents.recorded import RecordedIncidents, use_records
from scenariogen.incidents.recorded_days import DayTypes
from scenariogen.incidents.records import OBSERVED_COLUMNS, check_observed
from scenariogen.trajectories.records import open_trajectories
from scenariogen.window import StudyWindow

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork


@dataclass(frozen=True, kw_only=True)
class EvidenceFiles:
    """Which files there are; at least one of ``incidents`` and ``records``, and of ``trajectories`` and ``counts``.

    ``incidents``     table that detection wrote, or one of its columns; seen in ``trajectories``
    ``records``       located event table of a log, read as ``settings`` say
    ``counts``        traffic counts, columns by ``counts_mapping``; they go before trajectories as exposure
    ``counted_only``  refuse driving edges without counts
    ``intensity``     frequency multiplier of the trajectories; None: what the recording says of itself, otherwise 1
    """

    incidents: Path | None = None
    trajectories: Path | None = None
    records: Path | None = None
    settings: RecordSettings = field(default_factory=RecordSettings)
    counts: Path | None = None
    counts_mapping: tuple[str, ...] = ()
    counted_only: bool = False
    intensity: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What the files hold.

    ``observed``    incidents of ``days`` recorded days at ``intensity``, which are numbered from 0; both may be none
    ``days_worth``  the traffic of those days, in mean days of the exposure
    ``left_out``    detected incidents that do not count, by the reason
    ``clock_s``     clock time at SUMO's second 0
    """

    observed: pd.DataFrame
    days: int
    days_worth: float
    left_out: dict[str, int]
    intensity: float
    records: RecordedIncidents | None
    exposure: Exposure
    clock_s: float


def read_evidence(
    files: EvidenceFiles, network: "RoadNetwork", window: StudyWindow, *, day_types: DayTypes | None = None
) -> Evidence:
    """Read and check all of it. Raises ``DataError`` that lists every problem of the first file that has some.

    ``day_types``  of the recorded days; those of no wanted type count neither as days nor as traffic
    """
    day_types = day_types or DayTypes()
    problems = Problems("there is not enough to fit a model to")
    if files.incidents is None and files.records is None:
        problems.add("give incidents that were detected (--incidents), records of a log (--records), or both")
    if files.trajectories is None and files.counts is None:
        problems.add("give trajectories (--trajectories) or traffic counts (--counts): rates are per vehicle-kilometre")
    if files.incidents is not None and files.trajectories is None:
        problems.add("detected incidents need the --trajectories that they were seen in: how many days were looked at")
    try:
        clock_s = files.settings.clock_s
    except ValueError as error:
        clock_s = 0.0
        if files.records is None:  # else it is said with all that is wrong with the records
            problems.add(f"--clock: {error}")
    problems.raise_as(DataError)
    observed, days, intensity = pd.DataFrame({name: [] for name in OBSERVED_COLUMNS}), 0, files.intensity
    left_out: dict[str, int] = {}
    counted: tuple[int, ...] = ()
    if files.incidents is not None:
        observed = check_observed(read_incidents(files.incidents), network)
    opened = None if files.trajectories is None else open_trajectories(files.trajectories, network)
    if opened is not None and files.incidents is not None:
        counted = day_types.counted(opened.days)
        days = len(counted)
        observed, left_out = _of_days(observed, files.incidents, opened.days, counted, day_types)
        intensity = float(opened.header.get("intensity", 1.0)) if intensity is None else intensity
    intensity = 1.0 if intensity is None else intensity
    if not intensity > 0:
        raise DataError(f"the intensity is {intensity:g}, expected a positive factor (1 for data from the road)")
    records = None
    if files.records is not None:
        events = read_events(files.records).to_pandas()
        zone = _zone_of(files.records)
        records = use_records(events, network, window, files.settings, default_zone=zone, recorded_days=counted)
    if files.counts is not None:
        traffic = exposure_from_counts(
            files.counts, network, window, mapping=files.counts_mapping, counted_only=files.counted_only
        )
    else:
        assert opened is not None
        traffic = exposure(opened, network, window, day_types=day_types)
    return Evidence(
        observed=observed,
        days=days,
        days_worth=float(days) if files.counts is not None or traffic.days_worth is None else traffic.days_worth,
        left_out=left_out,
        intensity=intensity,
        records=records,
        exposure=traffic,
        clock_s=clock_s,
    )


def _of_days(
    observed: pd.DataFrame, file: Path, recorded: Sequence[int], counted: Sequence[int], day_types: DayTypes
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Incidents of the counted days, which are numbered from 0, and how many are of other days.

    Raises ``DataError`` where some are of days that nobody recorded: how much traffic they had is not known.
    """
    day = observed["day"].to_numpy(dtype=int)
    strange = sorted({int(number) for number in day} - set(recorded))
    if strange:
        raise DataError(
            f"{file} has {int(np.isin(day, strange).sum())} incidents on days that the trajectories do not have (the "
            f"first is day {strange[0]}; recorded are {len(recorded)} days, {min(recorded)} to {max(recorded)}): give "
            "the trajectories that they were seen in"
        )
    index = {number: row for row, number in enumerate(counted)}
    of_these = np.isin(day, list(counted))
    kept = observed.loc[of_these].assign(day=[index[int(number)] for number in day[of_these]])
    other = int((~of_these).sum())
    reason = f"on a recorded day that is no {' or '.join(day_types.wanted)}"
    return kept.reset_index(drop=True), {reason: other} if other else {}


def _zone_of(file: Path) -> str:
    """The time zone that the account beside a converted log names; empty where there is none."""
    return str(event_account(file).facts.get(TIME_ZONE, "")) if account_path(file).is_file() else ""


def read_incidents(path: Path) -> pd.DataFrame:
    """An incident table from Parquet or CSV, not yet checked. Raises ``DataError`` where it cannot be read."""
    if not path.is_file():
        raise DataError(f"the incident table {path} does not exist: make one with scenariogen detect")
    try:
        if path.suffix == ".csv":
            table = pd.read_csv(path)
            if "lanes" in table:
                table["lanes"] = [_lanes(text) for text in table["lanes"]]
            return table
        return pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise DataError(f"{path} cannot be read as an incident table ({error}): expected Parquet or CSV") from error


def _lanes(text: object) -> list[int]:
    """Lane indices written as ``0 1``, ``[0, 1]`` or nothing in a CSV cell."""
    if text != text or text is None:  # an empty cell is not a number
        return []
    return [int(float(part)) for part in str(text).strip("[]").replace(",", " ").split()]
