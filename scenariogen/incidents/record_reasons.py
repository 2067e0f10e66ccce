"""Why a record of a log is not used: every one that is left out has a reason, and the reasons are counted."""

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from scenariogen.incidents.events import EndIs, EventKind
from scenariogen.incidents.record_clock import RecordClock, seconds_between
from scenariogen.incidents.record_settings import RecordSettings
from scenariogen.incidents.records import IncidentKind, numbers

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork

MODEL_KINDS: dict[str, IncidentKind] = {
    EventKind.CRASH: IncidentKind.CRASH,
    EventKind.BREAKDOWN: IncidentKind.BREAKDOWN,
    EventKind.OBSTRUCTION: IncidentKind.OBSTRUCTION,
}
"""Kinds of a log that the model knows. Planned work, closures, weather and the rest are left out and counted."""
UNSURE = "placed with a confidence under {:g}"
"""Reason that is asked after place and time of day, so that its count is of incidents that belong to the rates."""


def reasons(
    events: pd.DataFrame,
    network: "RoadNetwork",
    clock: RecordClock,
    settings: RecordSettings,
    local: np.ndarray,
    shared: np.ndarray,
) -> np.ndarray:
    """Why each record is left out, the first reason that applies; empty where it is used. Shape (record,).

    ``local``   wall-clock starts
    ``shared``  days on which the trajectories count alone
    """
    day, second = clock.place(local)
    kind, end_is = words(events, "kind"), words(events, "end_is")
    edge, confidence = words(events, "edge"), numbers(events, "location_confidence")
    planned = np.asarray(events["is_planned"], dtype=bool) | (kind == EventKind.PLANNED_WORK)
    too_short = (end_is == EndIs.OBSERVED) & (numbers(events, "duration_s") < settings.least_duration_s)
    tests: dict[str, np.ndarray] = {
        "planned work": planned,
        "weather": kind == EventKind.WEATHER,
        "of other kinds": ~np.isin(kind, list(MODEL_KINDS)),
        "without a start": np.isnat(local),
        "not located": edge == "",
        "on an edge where no car drives": ~np.isin(edge, network.drivable),
        "outside the span that the log covers": ~((local >= clock.since) & (local < clock.until)),
        "outside the window's clock span": ~(second < clock.window.incidents_until_s),
        "of another day type": ~clock.is_counted(day),
        "on a day that the trajectories cover": np.isin(day, shared),
        UNSURE.format(settings.least_confidence): ~(confidence >= settings.least_confidence),
        "still open in a log of closed ones": (end_is == EndIs.LAST_UPDATE) & settings.closed_only,
        "shorter than the least duration": too_short,
    }
    found = np.full(len(events), "", dtype=object)
    for reason, hit in tests.items():
        found[hit & (found == "")] = reason
    repeats = _repeats(edge, kind, local, np.flatnonzero(found == ""), settings.repeat_s)
    found[repeats] = "repeat one of that kind on that edge"
    return found


def words(events: pd.DataFrame, name: str) -> np.ndarray:
    """A column as text, empty where nothing is said."""
    return np.asarray(events[name].fillna("").astype(str), dtype=object)


def _repeats(edge: np.ndarray, kind: np.ndarray, local: np.ndarray, rows: np.ndarray, within_s: float) -> list[int]:
    """Rows that start less than ``within_s`` seconds after a kept row of their edge and kind."""
    last: dict[tuple[str, str], Any] = {}
    found = []
    for row in rows[np.argsort(local[rows], kind="stable")]:
        key = str(edge[row]), str(kind[row])
        if key in last and seconds_between(local[row], last[key]) < within_s:
            found.append(int(row))
        else:
            last[key] = local[row]
    return found
