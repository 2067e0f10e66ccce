"""An incident log as a fit can use it: what each record says and no more, and what was left out, by the reason.

Observed ends give durations, records that were still open give lower bounds, planned and unknown ends say nothing of a
duration. Lanes stay what the source said of them. Nothing is filled in.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scenariogen.errors import DataError, Problems
from scenariogen.incidents.events import EndIs
from scenariogen.incidents.record_clock import RecordClock, local_times, seconds_between
from scenariogen.incidents.record_reasons import MODEL_KINDS, UNSURE, reasons, words
from scenariogen.incidents.record_settings import RecordSettings, moment
from scenariogen.incidents.records import numbers
from scenariogen.window import StudyWindow

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork

LANE_COLUMNS = ("lanes_total", "lanes_closed", "lanes_side", "shoulder_only", "full_closure")


@dataclass(frozen=True, kw_only=True)
class RecordedIncidents:
    """The usable records of a log.

    ``table``     one row for each: ``day`` (index into ``days``), ``edge``, ``start_s`` (simulation second of the day),
                  ``position_m`` (nan: unknown), ``kind``, ``duration_s`` (nan: unknown), ``duration_is_censored`` (a
                  lower bound), and what was said of the lanes, as in :mod:`scenariogen.incidents.events`
    ``days``      the days that count (datetime64[D]), each covered at least in part
    ``end_s``     for each row, seconds from its start to the end of the log
    ``left_out``  how many records were left out, by the reason
    ``kinds``     the log's word, its kind, the model's kind (empty: left out) and how many records, most first
    ``remarks``   what was assumed, in words
    """

    table: pd.DataFrame
    clock: RecordClock
    settings: RecordSettings
    days: np.ndarray = field(repr=False)
    end_s: np.ndarray = field(repr=False)
    left_out: Mapping[str, int]
    kinds: tuple[tuple[str, str, str, int], ...] = field(repr=False)
    remarks: tuple[str, ...] = ()

    @property
    def longest_s(self) -> np.ndarray:
        """Longest duration with which each record could be in the log; infinite unless that lists closed ones only."""
        return self.end_s if self.settings.closed_only else np.full(len(self.table), np.inf)

    def __repr__(self) -> str:
        return f"RecordedIncidents({len(self.table)} of {len(self.days)} days, {sum(self.left_out.values())} left out)"


def use_records(
    events: pd.DataFrame,
    network: "RoadNetwork",
    window: StudyWindow,
    settings: RecordSettings,
    *,
    default_zone: str = "",
    recorded_days: Sequence[int] = (),
) -> RecordedIncidents:
    """The records of a located event table that a fit on this network can use.

    ``default_zone``   the zone that the file itself names, for settings that name none
    ``recorded_days``  numbers of the recorded days whose detected incidents are given beside it

    Raises ``DataError`` that lists every problem.
    """
    zone = settings.time_zone or default_zone
    problems = Problems("the incident records cannot be used")
    settings.check(problems, zone)
    if len(events) and not (words(events, "edge") != "").any():
        problems.add("no record has an edge: put them on the network first, scenariogen match FILE --network NAME")
    unplanned = np.isin(words(events, "kind"), list(MODEL_KINDS)) & ~np.asarray(events["is_planned"], dtype=bool)
    unplanned &= np.asarray(events["start"].notna())
    if not unplanned.any() and not (settings.since and settings.until):
        problems.add(
            f"none of the {len(events):,} records is an unplanned crash, breakdown or obstruction: that tells "
            "something only with the time that the log covers, --records-from and --records-until"
        )
    problems.raise_as(DataError)
    local = local_times(events["start"], zone)
    since, until = settings.span
    clock = RecordClock(
        zone=zone,
        clock_s=settings.clock_s,
        day_type=settings.day_type,
        since=since if since is not None else local[unplanned].min(),
        until=until if until is not None else local[unplanned].max(),
        window=window,
    )
    first = moment(settings.recorded_from)
    shared = np.array([], dtype="datetime64[D]")
    if first is not None:
        shared = first.astype("datetime64[D]") + np.array(recorded_days, dtype=int)
    why = reasons(events, network, clock, settings, local, shared)
    days = clock.days()
    days = days[~np.isin(days, shared)]
    table, end_s = _table(events, clock, local, days, np.flatnonzero(why == ""))
    left_out = dict(Counter(str(reason) for reason in why if reason))
    counted = int(unplanned.sum()) if since is None or until is None else 0
    remarks = _remarks(settings, clock, span_from=counted, undated=len(recorded_days) > 0 and first is None)
    unsure = left_out.get(UNSURE.format(settings.least_confidence), 0)
    if unsure:
        remarks += (
            f"{unsure} records that count were left out for their place alone: rates are too low by up to "
            f"{unsure} in {unsure + len(table)}; `match` says what made them unsure, --least-confidence takes them",
        )
    return RecordedIncidents(
        table=table,
        clock=clock,
        settings=settings,
        days=days,
        end_s=end_s,
        left_out=left_out,
        kinds=_kind_rows(events),
        remarks=remarks,
    )


def _table(events: pd.DataFrame, clock: RecordClock, local, days, rows) -> tuple[pd.DataFrame, np.ndarray]:
    """Usable rows by day and start, and the seconds from each start to the end of the log."""
    rows = rows[np.argsort(local[rows], kind="stable")]
    day, second = clock.place(local[rows])
    used = events.iloc[rows]
    end_is, duration = words(used, "end_is"), numbers(used, "duration_s")
    known = np.isin(end_is, [EndIs.OBSERVED, EndIs.LAST_UPDATE]) & (duration > 0)
    table = pd.DataFrame(
        {
            "day": np.searchsorted(days, day),
            "edge": words(used, "edge"),
            "start_s": second,
            "position_m": numbers(used, "position_m"),
            "kind": [MODEL_KINDS[name].value for name in words(used, "kind")],
            "duration_s": np.where(known, duration, np.nan),
            "duration_is_censored": end_is == EndIs.LAST_UPDATE,
            **{name: np.asarray(used[name], dtype=object) for name in LANE_COLUMNS},
        }
    )
    return table, seconds_between(clock.until, local[rows])


def _kind_rows(events: pd.DataFrame) -> tuple[tuple[str, str, str, int], ...]:
    counts = Counter(zip(words(events, "kind_text"), words(events, "kind"), strict=True))
    return tuple(
        (word, name, MODEL_KINDS[name].value if name in MODEL_KINDS else "", count)
        for (word, name), count in counts.most_common()
    )


def _remarks(settings: RecordSettings, clock: RecordClock, *, span_from: int, undated: bool) -> tuple[str, ...]:
    found = []
    if span_from:
        found.append(
            f"the log is taken to cover the time from its first to its last start, which makes rates too high by about "
            f"1 in {span_from:,}; --records-from and --records-until say what it covers"
        )
    if undated:
        found.append(
            "the trajectories have no dates, so none of their days is taken to be one of the records'; with "
            "--recorded-from DATE days that both cover count once, in the trajectories"
        )
    if settings.closed_only:
        until = str(clock.until.astype("datetime64[m]")).replace("T", " ")
        found.append(f"the log lists closed incidents only: expected counts are those of incidents over by {until}")
    if settings.least_duration_s:
        found.append(
            f"incidents under {settings.least_duration_s / 60:g} min are not in the log: expected counts and the "
            "likelihood of durations are those of longer ones"
        )
    return tuple(found)
