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

from typing import TYPE_CHECKING

from scenariogen.trajectories.columns import Place
from scenariogen.trajectories.fields_gaps import warn_of_ends, warn_of_gaps, warn_of_lost
from scenariogen.trajectories.fields_seen import seen_in_part
from scenariogen.trajectories.fields_steps import BACKWARD_M, FOLLOWED, STEPS, edge_table, ways_between
from scenariogen.trajectories.motion import LONGEST_GAP_PERIODS
from scenariogen.trajectories.records import Trajectories

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.network import RoadNetwork

SLOWEST_MPS = 0.5
"""Speed below which the time to the end of an edge is not derived from the speed."""

_FIELDS = f"""
WITH steps AS ({STEPS}), followed AS ({FOLLOWED}), limits AS (
    SELECT day, min(time_s) AS begin_s, max(time_s) AS end_s FROM trajectories GROUP BY day
), within AS (  -- both samples on one edge
    SELECT day, a AS edge, lane_a AS lane, t0, t1, p1 - p0 AS distance_m
    FROM followed WHERE a = b AND p1 >= p0 - {BACKWARD_M} AND dt <= {{gap_s}}
), opposed AS (  -- on the opposite side of the edge that is driven along, before or after or both
    SELECT day, t0, t1, abs(p1_a - p0) AS distance_m, CASE WHEN p1_a >= p0 THEN a ELSE opposite END AS edge,
           CASE WHEN p1_a >= p0 THEN lane_a WHEN a = b THEN opposite_lane ELSE lane_b END AS lane
    FROM followed WHERE is_opposite
), crossing AS (  -- from one edge to another: time to the end of a, and from the start of b
    SELECT *, least(dt, d_a / greatest(v0, {SLOWEST_MPS})) AS time_a
    FROM followed WHERE a <> b AND NOT is_opposite AND d_a + d_b <= reach_m
), shared AS (
    SELECT *, least(dt - time_a, d_b / greatest(v1, {SLOWEST_MPS})) AS time_b FROM crossing
), pieces(day, edge, lane, t0, t1, distance_m) AS (
    SELECT day, edge, lane, t0, t1, greatest(distance_m, 0) FROM within
    UNION ALL SELECT day, edge, lane, t0, t1, distance_m FROM opposed
    UNION ALL SELECT day, a, lane_a, t0, t0 + time_a, d_a FROM shared
    UNION ALL SELECT day, b, lane_b, t1 - time_b, t1, d_b FROM shared
    UNION ALL  -- before the first and after the last sample half a period went unseen on average
    SELECT day, a, lane_a, t0 - seen_s, t0, v0 * seen_s
    FROM (SELECT *, CASE WHEN v0 > 0 THEN least({{half_s}}, p0 / v0) ELSE {{half_s}} END AS seen_s FROM steps)
         JOIN limits USING (day)
    WHERE before IS NULL AND t0 - {{half_s}} >= begin_s
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
    FROM (SELECT *, dt - time_a - time_b AS rest FROM shared WHERE is_way) s
         JOIN skipped k ON k.a = s.a AND k.b = s.b
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
    SELECT s.*, coalesce(p.seen_m, e.length_m) AS seen_m, cell * {{cell_s}} AS cell_begin_s,
           (least(l.end_s, (cell + 1) * {{cell_s}}) - greatest(l.begin_s, cell * {{cell_s}})) / {{cell_s}} AS coverage
    FROM sums s JOIN edges e USING (edge) JOIN limits l USING (day) LEFT JOIN parts p USING (day, edge)
)
SELECT day, edge{{lane}}, cell_begin_s, distance_m, time_spent_s,
       distance_m / (seen_m * {{cell_s}} * coverage) * 3600 AS flow_veh_h,
       time_spent_s / (seen_m * {{cell_s}} * coverage) * 1000 AS density_veh_km,
       CASE WHEN time_spent_s > 0 THEN distance_m / time_spent_s END AS speed_mps,
       coverage, seen_m
FROM covered WHERE coverage > 0 AND (time_spent_s > 0 OR distance_m > 0)
ORDER BY day, edge{{lane}}, cell_begin_s
"""


def edie_fields(
    trajectories: Trajectories, network: "RoadNetwork", *, cell_s: float = 60.0, by_lane: bool = False
) -> "pd.DataFrame":
    """Distance, time spent, flow, density and speed per (day, edge[, lane], time cell).

    Columns: ``day, edge, [lane,] cell_begin_s, distance_m, time_spent_s, flow_veh_h, density_veh_km, speed_mps,
    coverage, seen_m``. Cells begin at multiples of ``cell_s``; ``coverage`` is the share of the cell's time that the
    day's recording spans, and ``seen_m`` the metres of the edge that it shows, to which flow and density belong: less
    than its length where the recording begins or ends in its middle. A cell that no vehicle entered has no row: flow
    and density are 0 there, speed unknown. All vehicles count, standing ones included. With ``by_lane``, density is
    that of the lane, a change of lane counts from the next sample, and edges crossed whole between two samples are left
    out, since their lane is unknown.

    Warns (:class:`SparseSamplesWarning`) where many samples lie too far apart for anything to be said in between.
    """
    if not cell_s > 0:
        raise ValueError(f"cell_s is {cell_s}, expected a positive number of seconds")
    trajectories.require(Place.EDGE)
    edges = edge_table(network)
    gap_s = LONGEST_GAP_PERIODS * trajectories.period_s
    ways, skipped = ways_between(trajectories, network, edges, gap_s)
    warn_of_gaps(trajectories, gap_s)
    warn_of_lost(trajectories, edges, ways, gap_s)
    warn_of_ends(trajectories, edges)
    sql = _FIELDS.format(
        every=1,
        cell_s=float(cell_s),
        gap_s=gap_s,
        half_s=trajectories.period_s / 2,
        lane=", lane" if by_lane else "",
    )
    tables = {"edges": edges, "ways": ways, "skipped": skipped.head(0) if by_lane else skipped}
    return trajectories.query(sql, **tables, parts=seen_in_part(trajectories, network, gap_s))
