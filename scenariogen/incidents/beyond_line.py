"""Closed roads whose first driver waits at the line before them.

Who stands nearer to the end of an edge than a vehicle and its gap are long has nothing before him on it. Where he is
known not to wait for a light or for others, what holds him lies beyond the junction, on the road that he takes once it
is open. Drivers on several approaches may wait for one such road.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from scenariogen.incidents.closure_place import PASSED
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.passing import passings

if TYPE_CHECKING:
    from scenariogen.network import Edge, RoadNetwork
    from scenariogen.trajectories.tracks import Tracks

SAME_SPOT_M = 1.5
SAME_START_S = 400.0


def beyond_line(
    standing: list[dict[str, Any]], tracks: "Tracks", network: "RoadNetwork", settings: DetectSettings
) -> list[dict[str, Any]]:
    """Incidents of one day told by standing drivers, those before a closed road at its start, each road once.

    ``standing``  rows of :func:`scenariogen.incidents.detect.detect_incidents`, where what blocks the road is unseen
    """
    rows: list[dict[str, Any]] = []
    for row in sorted(standing, key=lambda row: row["start_s"]):
        road = _closed_road(row, tracks, network, settings)
        if road is None:
            rows.append(row)
            continue
        same = [one for one in rows if one["edge"] == road.id and row["start_s"] - one["start_s"] <= SAME_START_S]
        if same:
            end_s = max(one["start_s"] + one["duration_s"] for one in (row, same[0]))
            same[0]["duration_s"] = end_s - same[0]["start_s"]
            continue
        place = {"edge": road.id, "position_m": min(settings.jam_spacing_m, road.length_m)}
        rows.append({**row, **place, "lanes": list(road.driving_lanes)})
    return rows


def _closed_road(
    row: dict[str, Any], tracks: "Tracks", network: "RoadNetwork", settings: DetectSettings
) -> "Edge | None":
    """The road beyond the line for which a standing driver waits; none where he stands before it, or it is in use."""
    here = network.edges[row["edge"]]
    if not row["lanes"] or here.length_m - row["position_m"] >= settings.jam_spacing_m:
        return None
    span_s = (row["start_s"], row["start_s"] + row["duration_s"])
    number = _next_edge(network.edge_index[row["edge"]], row["position_m"], span_s, tracks)
    if number is None:
        return None
    road = network.edges[network.edge_ids[number]]
    past = passings(tracks, number, min(settings.jam_spacing_m, road.length_m / 2))
    during = len(past.between(*span_s))
    seconds = span_s[1] - span_s[0]
    usual_s = (len(past) - during) / max(tracks.end_s - tracks.begin_s - seconds, 1.0)
    return road if road.driving_lanes and during <= PASSED * usual_s * seconds else None


def _next_edge(edge: int, position_m: float, span_s: tuple[float, float], tracks: "Tracks") -> int | None:
    """Where the driver went who stood at a place longest; none where that was not recorded."""
    rows = tracks.on_edge(edge)
    near = (np.abs(tracks.position_m[rows] - position_m) <= SAME_SPOT_M) & (tracks.time_s[rows] >= span_s[0])
    rows = rows[near & (tracks.time_s[rows] <= span_s[1])]
    if not len(rows):
        return None
    vehicles, counts = np.unique(tracks.vehicle[rows], return_counts=True)
    row = int(rows[tracks.vehicle[rows] == vehicles[int(np.argmax(counts))]][-1]) + 1
    while row < len(tracks.edge) and tracks.follows[row]:
        if tracks.edge[row] >= 0 and tracks.edge[row] != edge:
            return int(tracks.edge[row])
        row += 1
    return None
