"""Which part of an edge a recording shows, where a camera or a detector's range ends in its middle.

Flow and density belong to the road that was looked at. It begins in the middle of an edge where nobody comes from the
edges before it, on which nobody is seen at all, and many vehicles are first seen in motion, none of them before that
point; it ends likewise. Vehicles that start or stop in the middle of a road do not cut it off.
"""

from typing import TYPE_CHECKING

from scenariogen.trajectories.fields_steps import JUNCTION_S, STEPS, typed

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.network import RoadNetwork
    from scenariogen.trajectories.records import Trajectories

LEAST_VEHICLES = 20
"""So many must appear, or vanish, in motion."""
MOVING_MPS = 2.0
LEAST_UNSEEN_SHARE = 0.1
"""Of the edge; less at an end of it is left as it is, as is what a vehicle drives between two samples."""

_SEEN = f"""
    SELECT day, a AS edge, min(greatest(p0, 0)) AS low_m, max(p0) AS high_m,
           quantile_cont(v0, 0.95) * {{period_s}} AS step_m,
           count(*) FILTER (WHERE before <> a AND t0 - before_s <= {{gap_s}} + {JUNCTION_S}) AS came,
           count(*) FILTER (WHERE b <> a AND t1 - t0 <= {{gap_s}} + {JUNCTION_S}) AS went,
           count(*) FILTER (WHERE before IS NULL AND v0 >= {MOVING_MPS}) AS appeared,
           count(*) FILTER (WHERE b IS NULL AND v0 >= {MOVING_MPS}) AS vanished
    FROM ({STEPS}) GROUP BY day, a ORDER BY day, a
"""


def seen_in_part(trajectories: "Trajectories", network: "RoadNetwork", gap_s: float) -> "pd.DataFrame":
    """``day``, ``edge`` and ``seen_m``, the metres of it that were looked at, of edges that were not seen whole."""
    found = trajectories.query(_SEEN.format(period_s=trajectories.period_s, gap_s=gap_s, every=1))
    used = set(zip(found["day"], found["edge"], strict=True))
    rows = []
    for day, name, low_m, high_m, step_m, came, went, appeared, vanished in found.itertuples(index=False):
        edge = network.edges.get(name)
        if edge is None:
            continue
        least_m = max(LEAST_UNSEEN_SHARE * edge.length_m, step_m)
        before = any((day, other) in used for other in edge.predecessors)
        after = any((day, other) in used for other in edge.successors)
        begins = low_m > least_m and not came and not before and appeared >= LEAST_VEHICLES
        ends = edge.length_m - high_m > least_m and not went and not after and vanished >= LEAST_VEHICLES
        if begins or ends:
            rows.append((day, name, (high_m if ends else edge.length_m) - (low_m if begins else 0.0)))
    return typed(rows, day="int64", edge="str", seen_m="float64")
