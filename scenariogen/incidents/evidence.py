"""All that a model is fitted to, from files: incidents found in trajectories, a log's records, and exposure."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from scenariogen.accounts import account_path
from scenariogen.errors import DataError, Problems
from scenariogen.incidents.event_files import TIME_ZONE, event_account, read_events
from scenariogen.incidents.exposure import Exposure, exposure
from scenariogen.incidents.exposure_counts import exposure_from_counts
from scenariogen.incidents.record_settings import RecordSettings
from scenariogen.incidents.recorded import RecordedIncidents, use_records
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

    ``observed``  incidents of ``days`` recorded days at ``intensity``; both may be none
    ``clock_s``   clock time at SUMO's second 0
    """

    observed: pd.DataFrame
    days: int
    intensity: float
    records: RecordedIncidents | None
    exposure: Exposure
    clock_s: float


def read_evidence(files: EvidenceFiles, network: "RoadNetwork", window: StudyWindow) -> Evidence:
    """Read and check all of it. Raises ``DataError`` that lists every problem of the first file that has some."""
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
    if files.incidents is not None:
        observed = check_observed(read_incidents(files.incidents), network)
    opened = None if files.trajectories is None else open_trajectories(files.trajectories, network)
    if opened is not None and files.incidents is not None:
        days = len(opened.days)
        intensity = float(opened.header.get("intensity", 1.0)) if intensity is None else intensity
    intensity = 1.0 if intensity is None else intensity
    if not intensity > 0:
        raise DataError(f"the intensity is {intensity:g}, expected a positive factor (1 for data from the road)")
    records = None
    if files.records is not None:
        events = read_events(files.records).to_pandas()
        zone = _zone_of(files.records)
        records = use_records(events, network, window, files.settings, default_zone=zone, recorded_days=days)
    if files.counts is not None:
        traffic = exposure_from_counts(
            files.counts, network, window, mapping=files.counts_mapping, counted_only=files.counted_only
        )
    else:
        assert opened is not None
        traffic = exposure(opened, network, window)
    return Evidence(
        observed=observed, days=days, intensity=intensity, records=records, exposure=traffic, clock_s=clock_s
    )


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
