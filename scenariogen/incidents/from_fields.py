"""Incidents from fields alone: flow, density and speed per edge and time cell, no vehicle followed.

What loop detectors, floating-car services and :func:`scenariogen.trajectories.fields.edie_fields` give. An incident is
an unusual queue with less discharge than usual past its head and no queue beyond; what is usual comes from the other
days of the table, so more days make a better answer, and one day alone cannot tell a recurrent bottleneck.

What fields cannot tell, and how it is answered here:

* *which lanes*: unless the fields are by lane, only how many, from the capacity left, with probabilities
  (``lanes_blocked``). ``lanes`` then names the rightmost ones of the likeliest number.
* *where on the edge*: as far as the queue reaches from its start, by how densely it stands behind
  (:mod:`scenariogen.incidents.from_fields_place`). ``position_se_m`` says how far it may be off.
* *kind*: not seen. One or no lane is called a breakdown, more a crash.
* *an incident that takes less capacity than traffic leaves free*: not seen.
"""

from typing import TYPE_CHECKING

import numpy as np

from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.from_fields_cells import Cells, cells_of_fields
from scenariogen.incidents.from_fields_heads import find_heads
from scenariogen.incidents.from_fields_lanes import field_lanes
from scenariogen.incidents.from_fields_measure import Measured, blocked_lanes, measure
from scenariogen.incidents.from_fields_tables import checked_fields
from scenariogen.incidents.from_fields_usual import compare
from scenariogen.incidents.leftovers import without_leftovers
from scenariogen.incidents.records import OBSERVED_COLUMNS, IncidentKind, check_observed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from scenariogen.network import RoadNetwork

EXTRA_COLUMNS = ("position_se_m", "lanes_blocked", "phases", "days_compared")
"""Beside ``OBSERVED_COLUMNS``: standard error of the position (m); {number of blocked lanes: probability}; list of
{begin_s, end_s, capacity_left, capacity_left_se}; number of other days that told what is usual."""


def detect_in_fields(
    fields: "pd.DataFrame",
    network: "RoadNetwork",
    *,
    share: float = 1.0,
    days: "Sequence[int] | None" = None,
    settings: DetectSettings | None = None,
) -> "pd.DataFrame":
    """Incidents seen in fields of one or several days: the columns of ``OBSERVED_COLUMNS`` and ``EXTRA_COLUMNS``.

    ``fields``  table of :func:`scenariogen.trajectories.fields.edie_fields`, or one with the columns that
                :mod:`scenariogen.incidents.from_fields_tables` asks for; where it is by lane, lanes are told by it
    ``share``   share of all vehicles that the fields were made from; flow and density are divided by it
    ``days``    days to look at, by default all; the others only tell what is usual

    Raises ``DataError`` that lists everything that is wrong with the table.
    """
    table = checked_fields(fields, network, share=share)
    cells = cells_of_fields(table, network, share=share)
    found = detect_in_cells(cells, network, settings or DetectSettings(), days=days)
    if "lane" in table.columns:
        field_lanes(found, table, network)
    return found


def detect_in_cells(
    cells: Cells, network: "RoadNetwork", settings: DetectSettings, *, days: "Sequence[int] | None" = None
) -> "pd.DataFrame":
    """The same from cells of any size; ``days`` are those to look at, the others only tell what is usual."""
    import pandas as pd

    rows = []
    for number, day in enumerate(cells.days):
        if days is not None and day not in days:
            continue
        unusual = compare(cells, number, settings)
        known = np.flatnonzero(np.isfinite(cells.flow_veh_h[number]).any(axis=0))
        limit_s = cells.begin_s + (known[-1] + 1) * cells.cell_s if len(known) else cells.begin_s
        found = [
            measure(cells, unusual, head, number, limit_s, settings) for head in find_heads(cells, unusual, settings)
        ]
        own = [field_row(day, network, cells, each, unusual.other_days) for each in found]
        rows += without_leftovers(own, network)
    return as_table(pd.DataFrame(rows, columns=[*OBSERVED_COLUMNS, *EXTRA_COLUMNS]), network, settings)


def as_table(table: "pd.DataFrame", network: "RoadNetwork", settings: DetectSettings) -> "pd.DataFrame":
    """Checked, in order of day and start, without what is less likely an incident than not."""
    for name, kind in OBSERVED_COLUMNS.items():
        table[name] = table[name].astype(object if kind in ("str", "object") else kind)
    table = table.loc[table["confidence"].to_numpy() >= settings.least_confidence]
    table = table.sort_values(by=["day", "start_s", "edge"], kind="stable").reset_index(drop=True)
    checked = check_observed(table, network)
    for name in EXTRA_COLUMNS:
        checked[name] = table[name]
    return checked


def field_row(day: int, network: "RoadNetwork", cells: Cells, found: Measured, other_days: int) -> dict[str, object]:
    """One incident as a row of the table."""
    edge = network.edges[network.edge_ids[int(cells.edge[found.cell])]]
    chances = blocked_lanes(edge, found)
    count = max(chances, key=lambda number: chances[number])
    return {
        "day": day,
        "edge": edge.id,
        "start_s": found.begin_s,
        "position_m": min(found.position_m, edge.length_m),
        "kind": str(IncidentKind.CRASH if count >= 2 else IncidentKind.BREAKDOWN),
        "lanes": list(edge.driving_lanes[:count]),
        "duration_s": found.duration_s,
        "duration_is_censored": found.is_censored,
        "capacity_left": found.capacity_left,
        "capacity_left_se": found.capacity_left_se,
        "capacity_left_is_lower_bound": found.is_lower_bound,
        "confidence": _confidence(found, other_days),
        "position_se_m": found.position_se_m,
        "lanes_blocked": chances,
        "phases": [
            {
                "begin_s": phase.begin_s,
                "end_s": phase.end_s,
                "capacity_left": phase.capacity_left,
                "capacity_left_se": phase.capacity_left_se,
            }
            for phase in found.phases
        ],
        "days_compared": other_days,
    }


def _confidence(found: Measured, other_days: int) -> float:
    """From 0 to 1, a score and not a frequency: how clear the drop is, and whether other days were there to compare.

    The odds double with each standard error of the drop beyond the first, up to five times; with no other day to tell
    what is usual there they fall by two.
    """
    odds = 2.0 ** float(np.clip(found.drop_errors - 1.0, 0.0, 5.0))
    if not other_days:
        odds /= 2.0
    return float(odds / (1.0 + odds))
