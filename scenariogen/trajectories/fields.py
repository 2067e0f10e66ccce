"""Flow, density and speed per edge and time cell, in Edie's generalised definitions.

Edie (1963), *Discussion of traffic stream measurements and definitions*: over a region of road length ``L`` and
duration ``T`` in which vehicles cover the distance ``d`` and spend the time ``t`` in all,

    flow = d / (L T),   density = t / (L T),   speed = d / t

A vehicle is taken to move evenly between two samples, and to have been there for half a sampling period before its
first and after its last one. Where it changes edges in between, the time is shared
by the distance to the end of the one and from the start of the other at the speeds of the two samples. Edges that were
crossed whole in between are found on the shortest way of the network; they were crossed at the mean of the two speeds,
and the rest of the time was spent inside junctions, which belong to no edge.
"""

import warnings
from collections import deque
from typing import TYPE_CHECKING

from scenariogen.trajectories.columns import Place
from scenariogen.trajectories.records import Trajectories

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.network import RoadNetwork

LONGEST_GAP_PERIODS = 3.0
"""Samples further apart than this many periods belong to two visits of the vehicle."""
SLOWEST_MPS = 0.5
"""Speed below which the time to the end of an edge is not derived from the speed."""
MOST_SKIPPED = 6
"""Edges that a vehicle may cross between two samples before its way counts as unknown."""
SKIP_REACH_M = 400.0
JUNCTION_S = 300.0
"""Longest wait inside a junction, where samples belong to no edge."""

MANY_GAPS = 0.05
LOOKED_AT_ROWS = 200_000


class SparseSamplesWarning(UserWarning):
    """Many samples of a vehicle lie farther apart than its motion can be followed."""


_STEPS = """
WITH samples AS (
    SELECT day, vehicle, CAST(edge AS VARCHAR) AS edge, lane, time_s, position_m, greatest(speed_mps, 0) AS speed_mps
    FROM trajectories WHERE edge NOT LIKE ':%'
), steps AS (
    SELECT day, edge AS a, lane AS lane_a, time_s AS t0, position_m AS p0, speed_mps AS v0,
           lead(edge) OVER w AS b, lead(lane) OVER w AS lane_b, lead(time_s) OVER w AS t1,
           lead(position_m) OVER w AS p1, lead(speed_mps) OVER w AS v1, lag(edge) OVER w IS NULL AS is_first
    FROM samples WINDOW w AS (PARTITION BY day, vehicle ORDER BY time_s)
)
SELECT * FROM steps
"""

_FIELDS = f"""
WITH steps AS ({{steps}}), limits AS (
    SELECT day, min(time_s) AS begin_s, max(time_s) AS end_s FROM trajectories GROUP BY day
), within AS (  -- both samples on one edge
    SELECT day, a AS edge, lane_a AS lane, t0, t1, p1 - p0 AS distance_m
    FROM steps WHERE a = b AND p1 >= p0 - 1 AND t1 > t0 AND t1 - t0 <= {{gap_s}}
), crossing AS (  -- from one edge to another: time to the end of a, and from the start of b
    SELECT s.*, greatest(length_a.length_m - p0, 0) AS d_a, p1 AS d_b,
           least(t1 - t0, greatest(length_a.length_m - p0, 0) / greatest(v0, {SLOWEST_MPS})) AS time_a
    FROM steps s JOIN edges length_a ON length_a.edge = s.a
    WHERE a <> b AND t1 > t0 AND t1 - t0 <= {{gap_s}} + {{junction_s}}
), shared AS (
    SELECT *, least(t1 - t0 - time_a, d_b / greatest(v1, {SLOWEST_MPS})) AS time_b FROM crossing
), pieces(day, edge, lane, t0, t1, distance_m) AS (
    SELECT day, edge, lane, t0, t1, greatest(distance_m, 0) FROM within
    UNION ALL SELECT day, a, lane_a, t0, t0 + time_a, d_a FROM shared
    UNION ALL SELECT day, b, lane_b, t1 - time_b, t1, d_b FROM shared
    UNION ALL  -- before the first and after the last sample half a period went unseen on average
    SELECT day, a, lane_a, t0 - seen_s, t0, v0 * seen_s
    FROM (SELECT *, CASE WHEN v0 > 0 THEN least({{half_s}}, p0 / v0) ELSE {{half_s}} END AS seen_s FROM steps)
         JOIN limits USING (day)
    WHERE is_first AND t0 - {{half_s}} >= begin_s
    UNION ALL
    SELECT day, a, lane_a, t0, t0 + seen_s, v0 * seen_s
    FROM (SELECT s.*, CASE WHEN v0 > 0 THEN least({{half_s}}, greatest(length_m - p0, 0) / v0) ELSE {{half_s}} END
                 AS seen_s
          FROM steps s JOIN edges ON edges.edge = s.a)
         JOIN limits USING (day)
    WHERE b IS NULL AND t0 + {{half_s}} <= end_s
    UNION ALL  -- edges crossed whole, one after the other, between leaving a and entering b
    SELECT day, k.edge, 0 AS lane, t0 + time_a + rest * k.from_share,
           t0 + time_a + rest * k.from_share + least(rest * (k.to_share - k.from_share),
                                                     k.length_m / greatest((v0 + v1) / 2, {SLOWEST_MPS})),
           k.length_m
    FROM (SELECT *, t1 - t0 - time_a - time_b AS rest FROM shared) s JOIN skipped k ON k.a = s.a AND k.b = s.b
), cut AS (  -- a piece spans at most a few cells: one row for each, distance shared by time
    SELECT day, edge, lane, cell, distance_m, t0, t1,
           greatest(least(t1, (cell + 1) * {{cell_s}}) - greatest(t0, cell * {{cell_s}}), 0) AS inside_s
    FROM (SELECT *, unnest(range(CAST(floor(t0 / {{cell_s}}) AS BIGINT), CAST(floor(t1 / {{cell_s}}) AS BIGINT) + 1))
                 AS cell FROM pieces)
), sums AS (
    SELECT day, edge{{lane}}, cell,
           -- in whole billionths: sums are then the same in whatever order several threads add
           sum(CAST(round(1e9 * CASE WHEN t1 > t0 THEN distance_m * inside_s / (t1 - t0)
                                WHEN cell = floor(t0 / {{cell_s}}) THEN distance_m ELSE 0 END) AS BIGINT))
               / 1e9 AS distance_m,
           sum(CAST(round(1e9 * inside_s) AS BIGINT)) / 1e9 AS time_spent_s
    FROM cut GROUP BY day, edge{{lane}}, cell
), covered AS (
    SELECT s.*, e.length_m, cell * {{cell_s}} AS cell_begin_s,
           (least(l.end_s, (cell + 1) * {{cell_s}}) - greatest(l.begin_s, cell * {{cell_s}})) / {{cell_s}} AS coverage
    FROM sums s JOIN edges e USING (edge) JOIN limits l USING (day)
)
SELECT day, edge{{lane}}, cell_begin_s, distance_m, time_spent_s,
       distance_m / (length_m * {{cell_s}} * coverage) * 3600 AS flow_veh_h,
       time_spent_s / (length_m * {{cell_s}} * coverage) * 1000 AS density_veh_km,
       CASE WHEN time_spent_s > 0 THEN distance_m / time_spent_s END AS speed_mps,
       coverage
FROM covered WHERE coverage > 0 AND (time_spent_s > 0 OR distance_m > 0)
ORDER BY day, edge{{lane}}, cell_begin_s
"""


def edie_fields(
    trajectories: Trajectories, network: "RoadNetwork", *, cell_s: float = 60.0, by_lane: bool = False
) -> "pd.DataFrame":
    """Distance, time spent, flow, density and speed per (day, edge[, lane], time cell).

    Columns: ``day, edge, [lane,] cell_begin_s, distance_m, time_spent_s, flow_veh_h, density_veh_km, speed_mps,
    coverage``. Cells begin at multiples of ``cell_s``; ``coverage`` is the share of the cell that the day's
    recording spans. A cell that no vehicle entered has no row: flow and density are 0 there, speed unknown. All
    vehicles count, standing ones included. With ``by_lane``, density is that of the lane, a change of lane counts
    from the next sample, and edges crossed whole between two samples are left out, since their lane is unknown.

    Warns (:class:`SparseSamplesWarning`) where many samples lie too far apart for anything to be said in between.
    """
    import pandas as pd

    if not cell_s > 0:
        raise ValueError(f"cell_s is {cell_s}, expected a positive number of seconds")
    trajectories.require(Place.EDGE)
    edges = pd.DataFrame({"edge": list(network.edges), "length_m": [edge.length_m for edge in network.edges.values()]})
    gap_s = LONGEST_GAP_PERIODS * trajectories.period_s
    _warn_of_gaps(trajectories, gap_s)
    skipped = _skipped_edges(trajectories, network) if not by_lane else _no_edges()
    sql = _FIELDS.format(
        steps=_STEPS,
        cell_s=float(cell_s),
        gap_s=gap_s,
        junction_s=JUNCTION_S,
        half_s=trajectories.period_s / 2,
        lane=", lane" if by_lane else "",
    )
    return trajectories.query(sql, edges=edges, skipped=skipped)


def _warn_of_gaps(trajectories: Trajectories, gap_s: float) -> None:
    rows = sum(span.rows for span in trajectories.spans)
    found = trajectories.query(
        f"SELECT avg(CAST(gap > {gap_s} AS DOUBLE)) AS share FROM (SELECT time_s - lag(time_s) OVER (PARTITION BY day, "
        "vehicle ORDER BY time_s) AS gap FROM (SELECT day, vehicle, time_s FROM trajectories WHERE hash(vehicle) % "
        f"{rows // LOOKED_AT_ROWS + 1} = 0)) WHERE gap IS NOT NULL"
    )
    share = float(found["share"].iloc[0] or 0.0)
    if share > MANY_GAPS:
        text = (
            f"{share:.0%} of the samples come more than {gap_s:g} s after the one before, where "
            f"{trajectories.period_s:g} s is usual: what lies between is left out, so flow and density are too low. "
            "Where vehicles are sampled at different periods, give a file for each"
        )
        warnings.warn(text, SparseSamplesWarning, stacklevel=3)


def _no_edges() -> "pd.DataFrame":
    import pandas as pd

    kinds = {
        "a": "str",
        "b": "str",
        "edge": "str",
        "from_share": "float64",
        "to_share": "float64",
        "length_m": "float64",
    }
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in kinds.items()})


def _skipped_edges(trajectories: Trajectories, network: "RoadNetwork") -> "pd.DataFrame":
    """For each pair of edges that vehicles went between without a sample in between: what lies between."""
    import pandas as pd

    pairs = trajectories.query(f"SELECT DISTINCT a, b FROM ({_STEPS}) WHERE b <> a ORDER BY a, b")
    rows = []
    for a, b in pairs.itertuples(index=False):
        between = _way_between(network, a, b)
        total_m = sum(network.edges[edge].length_m for edge in between)
        done_m = 0.0
        for edge in between:
            length_m = network.edges[edge].length_m
            rows.append((a, b, edge, done_m / total_m, (done_m + length_m) / total_m, length_m))
            done_m += length_m
    table = pd.DataFrame(rows, columns=["a", "b", "edge", "from_share", "to_share", "length_m"])
    return table if rows else _no_edges()


def _way_between(network: "RoadNetwork", a: str, b: str) -> tuple[str, ...]:
    """Edges between two edges on the way with the fewest; none where they touch, or where it is too far."""
    if a not in network.edges or b not in network.edges:
        return ()
    front: deque[tuple[str, tuple[str, ...], float]] = deque([(a, (), 0.0)])
    seen = {a}
    while front:
        here, way, far_m = front.popleft()
        for after in network.edges[here].successors:
            if after == b:
                return way
            further_m = far_m + network.edges[after].length_m
            if after not in seen and len(way) < MOST_SKIPPED and further_m <= SKIP_REACH_M:
                seen.add(after)
                front.append((after, (*way, after), further_m))
    return ()
