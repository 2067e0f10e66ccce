"""Lanes that reopen one by one: the spans of an incident during which the same lanes are blocked."""

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.incidents.blockages import Blockage
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.discharge import capacity_left
from scenariogen.incidents.standing import Stands
from scenariogen.trajectories.tracks import Tracks

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork

LEAST_S = 30.0
"""Vehicles that come or leave within this time of each other do so together."""


def lane_phases(
    tracks: Tracks, network: "RoadNetwork", stands: Stands, blockage: Blockage, settings: DetectSettings
) -> list[dict[str, object]]:
    """From start to end: ``begin_s, end_s, lanes, capacity_left, capacity_left_se, capacity_left_is_lower_bound``."""
    spans = {lane: _span(stands, blockage, lane) for lane in blockage.lanes}
    cuts = sorted({blockage.begin_s, blockage.end_s, *(time_s for span in spans.values() for time_s in span)})
    times = [cuts[0]]
    for time_s in cuts[1:-1]:
        if time_s - times[-1] >= LEAST_S and cuts[-1] - time_s >= LEAST_S:
            times.append(time_s)
    times.append(cuts[-1])
    found = []
    for begin_s, end_s in pairwise(times):
        middle_s = (begin_s + end_s) / 2
        lanes = tuple(lane for lane, (first_s, last_s) in spans.items() if first_s <= middle_s <= last_s)
        part = capacity_left(tracks, network, replace(blockage, begin_s=begin_s, end_s=end_s, lanes=lanes), settings)
        found.append(
            {
                "begin_s": begin_s,
                "end_s": end_s,
                "lanes": list(lanes),
                "capacity_left": part.share,
                "capacity_left_se": part.standard_error,
                "capacity_left_is_lower_bound": part.is_lower_bound,
            }
        )
    return found


def _span(stands: Stands, blockage: Blockage, lane: int) -> tuple[float, float]:
    """When a lane was blocked; a lane between two with vehicles, for as long as the incident lasts."""
    numbers = np.array(blockage.stands, dtype=int)
    numbers = numbers[stands.lane[numbers] == lane]
    if not len(numbers):
        return blockage.begin_s, blockage.end_s
    return float(stands.begin_s[numbers].min()), float(stands.end_s[numbers].max())
