"""Incidents from trajectories in which nobody stands out of order: the vehicles that block the road were not recorded,
or only a share of all vehicles was (probe data).

What is left to see is what traffic does: a queue that does not stand there on other days, less discharge past its
head, a free road beyond. Trajectories are laid into cells of road and time, and
:mod:`scenariogen.incidents.from_fields` looks for that. Where most vehicles were recorded, the first driver of a
standing queue is looked for as well, and where both see the same incident its lanes come from the standing driver.

With a share of 10 % a street with 300 vehicles an hour shows one vehicle in two minutes: a closure of ten minutes
is then five vehicles that did not come, which chance alone explains too often to report. What is reported there rests
on longer or busier incidents.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.errors import DataError
from scenariogen.incidents.detect import detect_incidents
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.from_fields import EXTRA_COLUMNS, detect_in_cells
from scenariogen.incidents.from_fields_cells import Cells, cells_of_day, stacked
from scenariogen.incidents.from_fields_lanes import track_lanes
from scenariogen.incidents.records import OBSERVED_COLUMNS, check_observed
from scenariogen.incidents.sparse_refine import FINE_M, refined
from scenariogen.incidents.sparse_share import estimate_share
from scenariogen.trajectories.records import Trajectories
from scenariogen.trajectories.tracks import load_day

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.network import RoadNetwork

FINEST_M, COARSEST_M = 50.0, 200.0
SEEN_M = 20.0
"""A stretch of this length over the share holds about as many vehicles as were seen, one lane of a moving queue."""
MOST_SEEN = 0.5
"""At a share of this or more, cells of half a minute hold enough, and the heads of standing queues are in the data."""
SAME_START_S = 400.0
SAME_PLACE_M = 120.0


def detect_sparse(
    trajectories: Trajectories,
    network: "RoadNetwork",
    *,
    share: float | None = None,
    history: Sequence[Trajectories] = (),
    settings: DetectSettings | None = None,
) -> "pd.DataFrame":
    """Incidents without their vehicles: the columns of ``OBSERVED_COLUMNS`` and of ``from_fields.EXTRA_COLUMNS``.

    ``share``    share of all vehicles that was recorded; ``None``: estimated from the queues at signals
    ``history``  other recordings of the same network, at the same share, that show what is usual

    Raises ``DataError`` for a share outside (0, 1], and where it is not given and cannot be told.
    """
    import pandas as pd

    settings = settings or DetectSettings()
    if share is None:
        loaded = (load_day(trajectories, network, day) for day in trajectories.days)
        share = estimate_share(loaded, network, settings).value
    if not 0 < share <= 1:
        raise DataError(f"share is {share:g}, expected the share of vehicles that was recorded, above 0 and at most 1")
    earlier = [part for one in history for part in cells_of(one, network, share=share)]
    own = cells_of(trajectories, network, share=share)
    cells = stacked([*earlier, *own])
    numbers = range(len(earlier), len(earlier) + len(own))
    found = detect_in_cells(cells, network, settings, days=numbers)
    earlier = [part for one in history for part in fine_cells_of(one, network, share=share)]
    fine = stacked([*earlier, *fine_cells_of(trajectories, network, share=share)])
    parts = [refined(rows, fine, int(day), network) for day, rows in found.groupby("day", sort=True)]  # type: ignore[arg-type]
    found = pd.concat(parts) if parts else found
    found["day"] = [trajectories.days[int(number) - len(earlier)] for number in found["day"]]
    found = told_by_lane(found, trajectories, network)
    if share < MOST_SEEN:
        return found
    standing = detect_incidents(trajectories, network, settings=settings)
    rows = merged(found.to_dict("records"), standing.to_dict("records"), network)
    table = pd.DataFrame(rows, columns=[*OBSERVED_COLUMNS, *EXTRA_COLUMNS])
    for name, kind in OBSERVED_COLUMNS.items():
        table[name] = table[name].astype(object if kind in ("str", "object") else kind)
    table = table.sort_values(by=["day", "start_s", "edge"], kind="stable").reset_index(drop=True)
    checked = check_observed(table, network)
    for name in EXTRA_COLUMNS:
        checked[name] = table[name]
    return checked


def told_by_lane(found: "pd.DataFrame", trajectories: Trajectories, network: "RoadNetwork") -> "pd.DataFrame":
    """The same incidents with the lanes that nobody was seen to pass on."""
    import pandas as pd

    if found.empty:
        return found
    parts = []
    for day, rows in found.groupby("day", sort=True):
        part = rows.copy()
        track_lanes(part, load_day(trajectories, network, int(day)), network)  # type: ignore[arg-type]
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def cells_of(trajectories: Trajectories, network: "RoadNetwork", *, share: float) -> list[Cells]:
    """The days of a recording as cells, one day in memory at a time."""
    stretch_m = float(np.clip(SEEN_M / share, FINEST_M, COARSEST_M))
    cell_s = 30.0 if share >= MOST_SEEN else 60.0
    return [
        cells_of_day(load_day(trajectories, network, day), network, stretch_m=stretch_m, cell_s=cell_s, share=share)
        for day in trajectories.days
    ]


def fine_cells_of(trajectories: Trajectories, network: "RoadNetwork", *, share: float) -> list[Cells]:
    """The same in cells that are fine in space."""
    cell_s = 30.0 if share >= MOST_SEEN else 60.0
    return [
        cells_of_day(load_day(trajectories, network, day), network, stretch_m=FINE_M, cell_s=cell_s, share=share)
        for day in trajectories.days
    ]


def merged(found: list[dict], standing: list[dict], network: "RoadNetwork") -> list[dict]:
    """Both lists as one. Where both hold an incident, lanes and place are those of the standing driver, the start is
    the earlier one (a driver comes to stand after the road was blocked), and the rest is from the flow."""
    rows, left = [], list(standing)
    for row in found:
        same = [other for other in left if _is_same(row, other, network)]
        if not same:
            rows.append(row)
            continue
        other = min(same, key=lambda other: abs(other["start_s"] - row["start_s"]))
        left = [item for item in left if item not in same]
        end_s = row["start_s"] + row["duration_s"]
        start_s = min(row["start_s"], other["start_s"])
        names = ("edge", "position_m", "kind", "lanes")
        rows.append(
            {
                **row,
                **{name: other[name] for name in names},
                "start_s": start_s,
                "duration_s": end_s - start_s,
                "confidence": max(row["confidence"], other["confidence"]),
                "position_se_m": STANDING_SE_M,
                "lanes_blocked": {len(other["lanes"]): 1.0},
            }
        )
    days = {row["day"]: row["days_compared"] for row in found}
    for other in left:
        extra = {"position_se_m": STANDING_SE_M, "lanes_blocked": {len(other["lanes"]): 1.0}, "phases": []}
        rows.append({**other, **extra, "days_compared": days.get(other["day"], 0)})
    return rows


STANDING_SE_M = 8.0
"""The first driver in a queue stands a vehicle's length or so behind what blocks the road."""


def _is_same(row: dict, other: dict, network: "RoadNetwork") -> bool:
    if row["day"] != other["day"] or abs(row["start_s"] - other["start_s"]) > SAME_START_S:
        return False
    gap_m = gap_along_m(network, row["edge"], row["position_m"], other["edge"], other["position_m"])
    return gap_m <= max(SAME_PLACE_M, 2 * row["position_se_m"])


def gap_along_m(network: "RoadNetwork", edge: str, position_m: float, other: str, other_m: float) -> float:
    """Metres of road between two places on one edge or on two that follow each other; infinite elsewhere."""
    if edge == other:
        return abs(position_m - other_m)
    here, there = network.edges[edge], network.edges[other]
    gaps = []
    if other in here.successors:
        gaps.append(here.length_m - position_m + other_m)
    if edge in there.successors:
        gaps.append(there.length_m - other_m + position_m)
    return min(gaps, default=float("inf"))
