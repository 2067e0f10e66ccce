"""Incidents from trajectories in which nobody stands out of order: the vehicles that block the road were not recorded,
or only a share of all vehicles was (probe data).

What is left to see is what traffic does, and four things tell it, each incident once in the end:

* *flow*: a queue that does not stand there on other days, less discharge past its head, a free road beyond.
  Trajectories are laid into cells of road and time, and :mod:`scenariogen.incidents.from_fields` looks for that;
* *unused lanes* (:mod:`scenariogen.incidents.lane_gaps`);
* *releases*: nearly everybody who passes a place was slow up to it and drives freely from there on, and hardly anybody
  does on other days (:mod:`scenariogen.incidents.release_scan`). A speed profile says more of a place than a count, so
  some five vehicles do, and an incident is seen that only slows people down;
* *held vehicles*: they stand far longer than anybody does there on other days, and nobody passes ahead of them
  (:mod:`scenariogen.incidents.closures`); where they only wait for another closed road, they tell of none
  (:mod:`scenariogen.incidents.closed_roads`). Where most vehicles were recorded, the first driver of a standing queue
  tells the place, and at the end of a road that of the next one (:mod:`scenariogen.incidents.beyond_line`).

With a share of 10 % a closed street is placed ahead of the foremost vehicle that was seen, by who passed last; where a
junction lies in between, the edge may be the one beside it. An incident that begins in the queue of another one, or on
a road that one has emptied, is told late or not at all. A street on which a few vehicles an hour were recorded shows
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.errors import DataError
from scenariogen.incidents.beyond_line import beyond_line
from scenariogen.incidents.closed_roads import CLOSED, without_waiting
from scenariogen.incidents.detect import detect_incidents
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.from_fields import EXTRA_COLUMNS, as_table, detect_in_cells
from scenariogen.incidents.from_fields_cells import Cells, cells_of_day, stacked
from scenariogen.incidents.from_fields_lanes import track_lanes
from scenariogen.incidents.lane_gaps import find_lane_gaps
from scenariogen.incidents.leftovers import road_m
from scenariogen.incidents.records import OBSERVED_COLUMNS
from scenariogen.incidents.sparse_gaps import gap_rows, same_queue_head
from scenariogen.incidents.sparse_held import with_held
from scenariogen.incidents.sparse_join import joined
from scenariogen.incidents.sparse_places import gap_along_m
from scenariogen.incidents.sparse_refine import FINE_M, refined
from scenariogen.incidents.sparse_share import estimate_share
from scenariogen.trajectories.records import Trajectories
from scenariogen.trajectories.tracks import load_day

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.network import RoadNetwork
    from scenariogen.trajectories.tracks import Tracks

FINEST_M, COARSEST_M = 50.0, 200.0
SEEN_M = 20.0
"""A stretch of this length over the share holds about as many vehicles as were seen, one lane of a moving queue."""
MOST_SEEN = 0.5
"""At a share of this or more, cells of half a minute hold enough, and the heads of standing queues are in the data."""
MOST_LOADED = 3
"""Vehicles of so many other days are held in memory, to tell how lanes are used."""
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
    others = [(one, day) for one in history for day in one.days]
    own = [(trajectories, day) for day in trajectories.days]
    days = [look(one, network, day, share=share) for one, day in (*others, *own)]
    standing = detect_incidents(trajectories, network, settings=settings) if share >= MOST_SEEN else None
    parts = []
    for number, (_, day) in enumerate(own, start=len(others)):
        usual = [other for other in range(len(days)) if other != number]
        nearest = [(*others, *own)[other] for other in usual[:MOST_LOADED]]
        tracks = load_day(trajectories, network, day)
        found = detect_traffic(
            days[number],
            [days[other] for other in usual],
            tracks,
            [load_day(one, network, other) for one, other in nearest],
            network,
            settings,
        )
        if standing is not None:
            found = with_standing(found, standing.loc[standing["day"] == day], tracks, network, settings)
        parts.append(found.assign(day=day))
    table = pd.concat(parts, ignore_index=True)
    if standing is not None:
        table = table.loc[:, [*OBSERVED_COLUMNS, *EXTRA_COLUMNS]]
    return as_table(table, network, settings)


@dataclass(frozen=True, kw_only=True)
class Look:
    """One day in coarse and in fine cells, at the share of vehicles that was seen."""

    coarse: Cells
    fine: Cells
    share: float


def look(trajectories: Trajectories, network: "RoadNetwork", day: int, *, share: float) -> Look:
    """One day in cells, as many vehicles in each coarse one as a finding needs."""
    tracks = load_day(trajectories, network, day)
    stretch_m = float(np.clip(SEEN_M / share, FINEST_M, COARSEST_M))
    cell_s = 30.0 if share >= MOST_SEEN else 60.0
    coarse, fine = (
        cells_of_day(tracks, network, stretch_m=size_m, cell_s=cell_s, share=share) for size_m in (stretch_m, FINE_M)
    )
    return Look(coarse=coarse, fine=fine, share=share)


def detect_traffic(
    day: Look,
    usual: Sequence[Look],
    tracks: "Tracks",
    usual_tracks: "list[Tracks]",
    network: "RoadNetwork",
    settings: DetectSettings,
) -> "pd.DataFrame":
    """Incidents of one day by what traffic did, against days that tell what is usual.

    Queues and discharge first; place, start and lanes from the vehicles themselves where some were followed; and lanes
    that went unused, which are seen even in the queue of another incident.
    """
    cells = stacked([*(other.coarse for other in usual), day.coarse])
    found = detect_in_cells(cells, network, settings, days=[len(usual)])
    found = refined(found, stacked([*(other.fine for other in usual), day.fine]), len(usual), network)
    track_lanes(found, tracks, network)
    gaps = find_lane_gaps(tracks, usual_tracks, network, settings)
    unused = gap_rows(gaps, tracks, usual_tracks, network, settings, share=day.share)
    table = joined(found.assign(day=tracks.day), unused, network, share=day.share)
    return with_held(table, gaps, tracks, usual_tracks, network, settings, share=day.share)


def with_standing(
    found: "pd.DataFrame",
    standing: "pd.DataFrame",
    tracks: "Tracks",
    network: "RoadNetwork",
    settings: DetectSettings,
) -> "pd.DataFrame":
    """What traffic told of one day and what its standing drivers tell, as one table.

    ``standing``  that day's rows of :func:`scenariogen.incidents.detect.detect_incidents`
    """
    import pandas as pd

    before = beyond_line(standing.to_dict("records"), tracks, network, settings)
    return pd.DataFrame(merged(found.to_dict("records"), before, network), columns=found.columns)


def merged(found: list[dict], standing: list[dict], network: "RoadNetwork") -> list[dict]:
    """Both lists as one. Where both hold an incident, lanes and place are those of the standing driver, the start is
    the earlier one (a driver comes to stand after the road was blocked) but in an older queue, and the rest is from
    the flow."""
    rows, left = [], list(standing)
    for row in found:
        same = [other for other in left if _is_same(row, other, network)]
        same = same or [other for other in left if _stops_later(row, other, network)]
        if not same:
            # On a single lane, somebody stands first before a closed road, with a free lane ahead, and is seen.
            if row["capacity_left"] >= CLOSED or len(network.edges[row["edge"]].driving_lanes) > 1:
                rows.append(row)
            continue
        other = min(same, key=lambda other: abs(other["start_s"] - row["start_s"]))
        left = [item for item in left if item not in same]
        end_s = row["start_s"] + row["duration_s"]
        later = _stops_later(row, other, network)
        start_s = other["start_s"] if later else min(row["start_s"], other["start_s"])
        rows.append(
            {
                **row,
                **({} if _stands_behind(other, row, network) else _place_of(other)),
                "start_s": start_s,
                "duration_s": max(end_s, other["start_s"] + other["duration_s"]) - start_s,
                "confidence": max(row["confidence"], other["confidence"]),
            }
        )
    days = {row["day"]: row["days_compared"] for row in found}
    for other in left:
        rows.append({**other, **_place_of(other), "days_compared": days.get(other["day"], 0)})
    return without_waiting(rows, network)


STANDING_SE_M = 8.0
"""The first driver in a queue stands a vehicle's length or so behind what blocks the road."""


def _place_of(standing: dict) -> dict:
    names = ("edge", "position_m", "kind", "lanes")
    return {
        **{name: standing[name] for name in names},
        "position_se_m": STANDING_SE_M,
        "lanes_blocked": {len(standing["lanes"]): 1.0},
    }


def _stands_behind(standing: dict, row: dict, network: "RoadNetwork") -> bool:
    """At the end of the edge before: the driver stands at the line, and what blocks the road lies past it."""
    return standing["edge"] != row["edge"] and road_m(network, standing, row, SAME_PLACE_M) <= SAME_PLACE_M


def _stops_later(row: dict, other: dict, network: "RoadNetwork") -> bool:
    """In a queue that was there long before, a driver comes to stand at the same place: that is when it was blocked."""
    later = row["day"] == other["day"] and other["start_s"] - row["start_s"] > SAME_START_S
    return later and same_queue_head(row, other, network)


def _is_same(row: dict, other: dict, network: "RoadNetwork") -> bool:
    if row["day"] != other["day"] or abs(row["start_s"] - other["start_s"]) > SAME_START_S:
        return False
    gap_m = gap_along_m(network, row["edge"], row["position_m"], other["edge"], other["position_m"])
    return gap_m <= max(SAME_PLACE_M, 2 * row["position_se_m"])
