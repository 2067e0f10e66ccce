"""Incidents from trajectories: what stands in the road without a reason, and what it does to traffic.

From movement and the network alone; nothing is read from the names or types of vehicles, and never the file of
true incidents beside a recording. Told apart are red lights and stop lines, queues that spill back, recurrent
bottlenecks, stops for passengers, parked vehicles, drivers who wait for another lane, gridlock, and the end of the
recording.

What trajectories cannot tell, and how it is answered here:

* *kind*: a stopped vehicle is a stopped vehicle. Two or more that came to stand together and left together are
  called a crash, one alone a breakdown; obstructions are never named, and a breakdown that blocks two lanes with two
  vehicles is called a crash.
* *the single lane that people squeeze past on*: obstructed or shoulder differ only in how slow people pass.
* *capacity left without a queue*: only a lower bound.
* *the last metres before a stop line* (``stop_line_m``): an incident there is told from waiting only where others
  pass on the same lane, where, at a signal, the lanes beside go on for many cycles, or where it lasts many times
  longer than anybody else ever waited there.
* *an incident at the roadside that nobody slows down for*: not seen.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scenariogen.errors import DataError
from scenariogen.incidents.blockages import Blockage, blockages
from scenariogen.incidents.detect_phases import lane_phases
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.discharge import CapacityLeft, capacity_left
from scenariogen.incidents.records import OBSERVED_COLUMNS, check_observed
from scenariogen.incidents.standing import SAME_SPOT_M, Ends, find_stands, heads_of_queues
from scenariogen.trajectories.records import Trajectories
from scenariogen.trajectories.tracks import load_day

if TYPE_CHECKING:
    from collections.abc import Callable

    from scenariogen.network import RoadNetwork

__all__ = ["DetectSettings", "detect_incidents"]

PHASES = "phases"
LONGEST_PERIOD_S = 10.0
"""Sampled more rarely, it cannot be seen who stood where."""
REGULAR_DAYS = 3
"""Something that stands at the same spot on so many days, and on most days, belongs there."""


def detect_incidents(
    trajectories: Trajectories,
    network: "RoadNetwork",
    *,
    settings: DetectSettings | None = None,
    progress: "Callable[[int], None] | None" = None,
) -> pd.DataFrame:
    """Incidents seen in trajectories: a table with the columns of ``OBSERVED_COLUMNS``, by day and start, and
    ``phases``: the spans during which the same lanes were blocked (:mod:`scenariogen.incidents.detect_phases`).

    ``settings``  thresholds, see :class:`DetectSettings`
    ``progress``  called with each day's number when it is done

    Days are taken one after the other, so memory does not grow with their number. Raises ``DataError`` where the
    samples lie too far apart, or where the trajectories were not made on this network.
    """
    settings = settings or DetectSettings()
    if trajectories.period_s > LONGEST_PERIOD_S:
        raise DataError(
            f"{trajectories.path} holds a sample every {trajectories.period_s:g} s; detection needs one every "
            f"{LONGEST_PERIOD_S:g} s or less (scenariogen record writes one every 2 s)"
        )
    if trajectories.network_hash and trajectories.network_hash != network.sha256:
        raise DataError(
            f"{trajectories.path} was recorded on a network with hash {trajectories.network_hash[:12]}, but "
            f"{network.path.name} has {network.sha256[:12]}: give the network of the recording"
        )
    rows = []
    for day in trajectories.days:
        rows += detect_day(trajectories, network, day, settings)
        if progress is not None:
            progress(day)
    table = pd.DataFrame(rows, columns=[*OBSERVED_COLUMNS, PHASES])
    for name, kind in OBSERVED_COLUMNS.items():
        table[name] = table[name].astype(object if kind in ("str", "object") else kind)
    likely = table["confidence"].to_numpy() >= settings.least_confidence
    table = table.loc[likely & ~_regular(table, len(trajectories.days))]
    table = table.sort_values(by=["day", "start_s", "edge"], kind="stable").reset_index(drop=True)
    return check_observed(table, network).assign(**{PHASES: table[PHASES]})


def detect_day(
    trajectories: Trajectories, network: "RoadNetwork", day: int, settings: DetectSettings
) -> list[dict[str, object]]:
    """The incidents of one day, as rows of the table."""
    tracks = load_day(trajectories, network, day)
    stands = find_stands(tracks, settings)
    ends = Ends.of(network)
    heads = heads_of_queues(tracks, network, stands, ends, settings)
    return [
        {
            **_row(day, network, blockage, capacity_left(tracks, network, blockage, settings), settings),
            PHASES: lane_phases(tracks, network, stands, blockage, settings),
        }
        for blockage in blockages(tracks, network, stands, heads, ends, settings)
    ]


def _row(
    day: int, network: "RoadNetwork", blockage: Blockage, capacity: CapacityLeft, settings: DetectSettings
) -> dict[str, object]:
    edge = network.edges[network.edge_ids[blockage.edge]]
    return {
        "day": day,
        "edge": edge.id,
        "start_s": blockage.begin_s,
        "position_m": min(blockage.position_m, edge.length_m),
        "kind": str(blockage.kind),
        "lanes": list(blockage.lanes),
        "duration_s": blockage.duration_s,
        "duration_is_censored": blockage.is_censored,
        "capacity_left": capacity.share,
        "capacity_left_se": capacity.standard_error,
        "capacity_left_is_lower_bound": capacity.is_lower_bound,
        "confidence": _confidence(blockage, capacity, settings),
    }


def _confidence(blockage: Blockage, capacity: CapacityLeft, settings: DetectSettings) -> float:
    """From 0 to 1, a score and not a frequency: how long it stood, where, and whether traffic reacted.

    The odds double with each ``least_standing_s`` that it stood longer, and fall by four at a place where drivers
    also wait for other reasons; a queue that it caused and vehicles that passed it on other lanes each double them.
    """
    odds = 2.0 ** min(4.0, blockage.duration_s / settings.least_standing_s)
    if blockage.near_end:
        odds /= 4.0
    if not capacity.is_lower_bound:
        odds *= 2.0
    if len(blockage.past.between(blockage.begin_s, blockage.end_s)):
        odds *= 2.0
    return float(odds / (1.0 + odds))


def _regular(table: pd.DataFrame, days: int) -> np.ndarray:
    """Rows about a spot where something stands on most days."""
    regular = np.zeros(len(table), dtype=bool)
    if days < REGULAR_DAYS:
        return regular
    for _, rows in table.reset_index(drop=True).groupby("edge"):
        position_m = rows["position_m"].to_numpy()
        for number, at_m in zip(rows.index, position_m, strict=True):
            near = np.abs(position_m - at_m) < SAME_SPOT_M
            seen = rows["day"].to_numpy()[near]
            regular[number] = len(np.unique(seen)) >= max(REGULAR_DAYS, days / 2)
    return regular
