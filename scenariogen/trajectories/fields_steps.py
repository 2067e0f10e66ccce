"""What vehicles did between two samples, as SQL for Edie's fields, and the ways between edges that they left unsampled.

A vehicle that leaves one edge and is next seen on another has covered the rest of the one, the start of the other and
what lies between, which is looked for on the shortest way of the network. Nobody is faster than speeds and limits
allow: a way that is too long for the time, and two places too far apart, are not taken to have been driven. Who
overtakes on the opposite carriageway is seen there going backwards, and drives along its own edge all the while.
"""

import math
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.trajectories.checks_units import AGREEING
from scenariogen.trajectories.mapmatch_routes import RouteLengths
from scenariogen.trajectories.motion import LEAST_COMPARED_MPS

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.network import RoadNetwork
    from scenariogen.trajectories.records import Trajectories

FASTEST_SHARE = 1.5
"""Times the highest of both speeds and both limits, a vehicle may have driven between two samples, and"""
REACH_SLACK_M = 50.0
"""so much farther, since positions are rough and lanes of an edge differ in length."""
JUNCTION_S = 300.0
"""Longest wait inside a junction, where samples belong to no edge."""
BACKWARD_M = 1.0
"""Positions may go back by so much on a vehicle that stands."""

STEPS = """
    SELECT day, edge AS a, lane AS lane_a, time_s AS t0, position_m AS p0, speed_mps AS v0,
           lead(edge) OVER w AS b, lead(lane) OVER w AS lane_b, lead(time_s) OVER w AS t1,
           lead(position_m) OVER w AS p1, lead(speed_mps) OVER w AS v1,
           lag(edge) OVER w AS before, lag(time_s) OVER w AS before_s
    FROM (SELECT day, vehicle, CAST(edge AS VARCHAR) AS edge, lane, time_s, position_m,
                 greatest(speed_mps, 0) AS speed_mps
          FROM trajectories WHERE edge NOT LIKE ':%' AND hash(vehicle) % {every} = 0)
    WINDOW w AS (PARTITION BY day, vehicle ORDER BY time_s)
"""
"""From each sample of a vehicle to its next."""

MOVES = f"""
    SELECT s.*, t1 - t0 AS dt, e.length_m AS length_a, f.length_m AS length_b, e.opposite, e.opposite_lane,
           greatest(e.length_m - p0, 0) AS d_a, p1 AS d_b, (v0 + v1) / 2 * (t1 - t0) AS promised_m,
           {FASTEST_SHARE} * greatest(v0, v1, e.speed_mps, f.speed_mps) * least(t1 - t0, {{gap_s}}) + {REACH_SLACK_M}
               AS reach_m
    FROM ({STEPS}) s JOIN edges e ON e.edge = s.a LEFT JOIN edges f ON f.edge = s.b
    WHERE t1 > t0 AND t1 - t0 <= {{gap_s}} + {JUNCTION_S}
"""
"""Those that may be followed, with the metres to the end of ``a``, from the start of ``b``, and within reach."""

_AGREES = f"""(least(v0, v1) > {LEAST_COMPARED_MPS}
               AND abs(p1_a - p0) BETWEEN {AGREEING[0]} * promised_m AND {AGREEING[1]} * promised_m)"""

FOLLOWED = f"""
    SELECT *, CASE
               WHEN dt > {{gap_s}} OR opposite IS NULL THEN false
               WHEN a = b THEN p1 < p0 - {BACKWARD_M} AND {_AGREES}
               WHEN b <> opposite OR abs(p1_a - p0) > reach_m THEN false
               WHEN is_way THEN {_AGREES} AND abs(abs(p1_a - p0) - promised_m) < abs(d_a + way_m + d_b - promised_m)
               ELSE true
           END AS is_opposite
    FROM (SELECT m.*, coalesce(d_a + way_m + d_b <= reach_m, false) AS is_way, way_m,
                 CASE WHEN a = b THEN p1 WHEN b = opposite THEN length_a * (1 - p1 / length_b) END AS p1_a
          FROM ({MOVES}) m LEFT JOIN ways USING (a, b))
"""
"""Whether a way from ``a`` to ``b`` is known that can have been driven, and whether the vehicle overtook on the
opposite carriageway: ``p1_a`` is where, along ``a``, it was seen next."""


def edge_table(network: "RoadNetwork") -> "pd.DataFrame":
    """What the queries ask of each edge: ``opposite_lane`` is the lane beside it on the opposite edge, ``leads_in`` and
    ``leads_on`` tell whether other edges lead there and whether it leads to others."""
    import pandas as pd

    edges = list(network.edges.values())
    lanes = [len(network.edges[edge.opposite].lanes) - 1 if edge.opposite else 0 for edge in edges]
    return pd.DataFrame(
        {
            "edge": pd.Series([edge.id for edge in edges], dtype="str"),
            "length_m": [edge.length_m for edge in edges],
            "speed_mps": [edge.speed_mps for edge in edges],
            "opposite": pd.Series([edge.opposite for edge in edges], dtype="object"),
            "opposite_lane": lanes,
            "leads_in": [bool(edge.predecessors) for edge in edges],
            "leads_on": [bool(edge.successors) for edge in edges],
        }
    )


def ways_between(
    trajectories: "Trajectories", network: "RoadNetwork", edges: "pd.DataFrame", gap_s: float
) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """How far it is from one edge to another that vehicles were next seen on, and what lies in between.

    The first table holds ``a``, ``b`` and ``way_m``, metres from the end of ``a`` to the start of ``b`` on the shortest
    way, 0 where one follows the other; a pair without a way that can have been driven is missing. The second holds the
    edges on the way, each with the share of it that lies before its start and before its end.
    """
    pairs = trajectories.query(
        f"SELECT a, b, max(reach_m - d_a - d_b) AS rest_m FROM ({MOVES.format(gap_s=gap_s, every=1)}) WHERE a <> b "
        "GROUP BY a, b HAVING rest_m >= 0 ORDER BY a, b",
        edges=edges,
    )
    touching, far = [], {}
    for a, b, rest_m in pairs.itertuples(index=False):
        if b in network.edges[a].successors:
            touching.append((a, b, 0.0))
        elif b in network.edges:
            far[a, b] = float(rest_m)
    found = _ways(network, far)
    lengths = [(a, b, way_m) for (a, b), (way_m, _) in found.items()]
    ways = typed([*touching, *lengths], a="str", b="str", way_m="float64")
    between = [(a, b, *share) for (a, b), (_, way) in found.items() for share in _shares(network, way)]
    kinds = {"a": "str", "b": "str", "edge": "str", "from_share": "float64", "to_share": "float64"}
    return ways, typed(between, **kinds, length_m="float64")


def typed(rows: list[tuple], **kinds: str) -> "pd.DataFrame":
    """A table whose columns have their types also where it is empty."""
    import pandas as pd

    return pd.DataFrame(rows, columns=list(kinds)).astype(kinds)


def _ways(
    network: "RoadNetwork", pairs: dict[tuple[str, str], float]
) -> dict[tuple[str, str], tuple[float, tuple[str, ...]]]:
    """Metres and edges between two edges on the shortest way, for pairs where it is no longer than is given (m)."""
    routes, index, names = RouteLengths(network), network.edge_index, network.edge_ids
    by_reach: dict[float, list[tuple[str, str]]] = {}  # one step of long duration does not make all searches long
    for pair, rest_m in pairs.items():
        by_reach.setdefault(2.0 ** math.ceil(math.log2(max(rest_m, 1.0))), []).append(pair)
    found = {}
    for reach_m, some in sorted(by_reach.items()):
        source, target = (np.array([index[edge] for edge in side]) for side in zip(*some, strict=True))
        metres = routes.table(np.unique(source), reach_m).between(source, target)
        for pair, start, end, way_m in zip(some, source.tolist(), target.tolist(), metres.tolist(), strict=True):
            way = routes.path(start, end) if way_m <= pairs[pair] else None
            if way is not None:
                found[pair] = (way_m, tuple(names[edge] for edge in way[1:-1]))
    return found


def _shares(network: "RoadNetwork", way: tuple[str, ...]) -> list[tuple[str, float, float, float]]:
    """Each edge of a way with the shares of the way before its start and before its end, and its length (m)."""
    ends_m = np.cumsum([network.edges[edge].length_m for edge in way])
    lengths_m = np.diff(ends_m, prepend=0.0)
    return [
        (edge, float((end_m - length_m) / ends_m[-1]), float(end_m / ends_m[-1]), network.edges[edge].length_m)
        for edge, end_m, length_m in zip(way, ends_m, lengths_m, strict=True)
    ]
