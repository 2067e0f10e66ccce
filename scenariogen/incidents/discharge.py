"""What share of its capacity a road has left at a blockage: vehicles discharged past it while a queue feeds it.

Counted are passings of the spot in the time during which a queue stands upstream and no queue from downstream
reaches up to it; the reference is what the cross-section discharges undisturbed. Where no queue stood, the road
was never asked for more than came, and the answer is a lower bound.
"""

from dataclasses import dataclass

import numpy as np

from scenariogen.incidents.blockages import Blockage
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.saturation import (
    claimed_m,
    grid_size,
    mean_speed_mps,
    saturation_veh_h,
    smoothed,
    stretch_rows,
    vehicles_present,
)
from scenariogen.network import Edge, RoadNetwork
from scenariogen.trajectories.tracks import Tracks

UPSTREAM_FROM_M = 10.0
"""A queue is looked for from here, just behind the blockage, ..."""
UPSTREAM_TO_M = 130.0
"""... to here."""
LEAST_STRETCH_M = 30.0
"""Where less of the edge lies upstream, the ends of the edges before it are looked at as well, unless they end at a
signal: a queue there may wait for green."""
QUEUED_SPEED_SHARE = 0.5
"""Queues move at less than this share of the limit, unless they discharge nearly all that the road carries."""
LEAST_OWN_M = 8.0
"""Less road than this, a vehicle and its gap, shows no queue."""
BEYOND_FROM_M, BEYOND_TO_M = 30.0, 130.0
"""Drivers who leave a queue's head get faster over this stretch beyond it, ..."""
FASTER_BEYOND = 1.2
"""... by at least this factor: from 8 m/s, accelerating at 1 m/s2, to 13 m/s on average."""
DOWNSTREAM_M = 25.0
"""A vehicle that stands this close past the spot keeps others from passing it."""
SMOOTHING_S = 30.0
SETTLING_S = 30.0
"""The first vehicles behind a blockage that has just come about are not yet a queue."""
ENDING_PERIODS = 2
"""Samples before its end that are left out: the first of the queue may be past already."""
BLOCK_S = 60.0
"""Counts in blocks of queued time of this length give the standard error."""
REFERENCE_ERROR = 0.05
"""Relative standard error of the undisturbed discharge (our assumption, from its spread between networks)."""


@dataclass(frozen=True, kw_only=True)
class CapacityLeft:
    """A share with its standard error. ``queued_s``: time during which a queue fed the spot."""

    share: float
    standard_error: float
    is_lower_bound: bool
    queued_s: float


def capacity_left(tracks: Tracks, network: RoadNetwork, blockage: Blockage, settings: DetectSettings) -> CapacityLeft:
    """Share of the undisturbed discharge that still passes a blockage.

    It is 0 for a full closure alone: every lane is blocked, and nobody was seen to pass. Where a lane is open and
    nobody passed all the same, half a vehicle in the time observed stands for what was not seen.
    """
    edge = network.edges[network.edge_ids[blockage.edge]]
    reference_veh_h = len(edge.driving_lanes) * saturation_veh_h(edge.speed_mps, settings)
    begin_s = blockage.begin_s + SETTLING_S
    end_s = max(blockage.end_s - ENDING_PERIODS * tracks.period_s, begin_s + tracks.period_s)
    count = grid_size(tracks, begin_s, end_s)
    fed = queue_upstream(tracks, network, blockage, begin_s, end_s, settings)
    fed &= ~queue_downstream(tracks, network, blockage, begin_s, end_s)
    fed &= ~queue_goes_on(tracks, network, blockage, begin_s, end_s, settings)
    slot = np.floor((blockage.past.time_s - begin_s) / tracks.period_s).astype(int)
    passed = np.bincount(slot[(slot >= 0) & (slot < count)], minlength=count).astype(float)
    queued_s = float(fed.sum()) * tracks.period_s
    is_lower_bound = queued_s < settings.least_queue_s
    seen = passed if is_lower_bound else passed[fed]
    flow_veh_h, error_veh_h = _rate(seen, tracks.period_s)
    if set(blockage.lanes) < set(edge.driving_lanes) or passed.any():
        flow_veh_h = max(flow_veh_h, 0.5 / (len(seen) * tracks.period_s) * 3600)
    share = flow_veh_h / reference_veh_h
    error = float(np.hypot(error_veh_h / reference_veh_h, share * REFERENCE_ERROR))
    return CapacityLeft(share=min(1.0, share), standard_error=error, is_lower_bound=is_lower_bound, queued_s=queued_s)


def _rate(passed: np.ndarray, period_s: float) -> tuple[float, float]:
    """Vehicles an hour, and the standard error from the spread between blocks of time.

    It is never put below that of one vehicle more or less in the whole time, nor below a third of a Poisson count's:
    discharge from a queue is more regular than chance, but few blocks may be regular by chance.
    """
    seconds = len(passed) * period_s
    blocks = max(1, round(seconds / BLOCK_S))
    counts = np.array([part.sum() / (len(part) * period_s) for part in np.array_split(passed, blocks)])
    total = float(passed.sum())
    least = max(np.sqrt(total) / 3, 1.0) / seconds
    spread = float(counts.std(ddof=1)) / np.sqrt(blocks) if blocks > 1 else total / seconds / 2
    return total / seconds * 3600, max(spread, least) * 3600


def queue_upstream(
    tracks: Tracks, network: RoadNetwork, blockage: Blockage, begin_s: float, end_s: float, settings: DetectSettings
) -> np.ndarray:
    """For each sampled second, whether vehicles behind the blockage claim the road and move as slowly as a queue does.

    Traffic near capacity claims the road as well, but at speed: what passes is then what came, not what could.
    """
    edge = network.edges[network.edge_ids[blockage.edge]]
    back_m = min(blockage.position_m, edge.length_m)
    low_m, high_m = max(0.0, back_m - UPSTREAM_TO_M), max(0.0, back_m - UPSTREAM_FROM_M)
    length_m = high_m - low_m
    claims, present = (np.zeros(grid_size(tracks, begin_s, end_s)) for _ in range(2))
    if high_m > low_m:
        rows = _traffic(tracks, blockage, edge, low_m, high_m)
        claims, present = _occupied(tracks, edge, rows, begin_s, end_s, settings)
    if length_m < LEAST_STRETCH_M:
        behind = [
            _behind(tracks, network, before, begin_s, end_s, settings)
            for before in edge.predecessors
            if not network.edges[before].signalised
        ]
        if behind:
            more_m, more, others = max(behind, key=lambda part: float(part[1].sum()))
            claims, present, length_m = claims + more, present + others, length_m + more_m
    if length_m < LEAST_OWN_M:
        return np.zeros(len(claims), dtype=bool)
    width = round(SMOOTHING_S / tracks.period_s)
    claims, present = smoothed(claims, width), smoothed(present, width)
    is_slow = mean_speed_mps(claims, present, settings) < QUEUED_SPEED_SHARE * edge.speed_mps
    return (claims / length_m >= settings.queued_share) & is_slow


def queue_goes_on(
    tracks: Tracks, network: RoadNetwork, blockage: Blockage, begin_s: float, end_s: float, settings: DetectSettings
) -> np.ndarray:
    """For each sampled second, whether a moving queue passes the place without getting faster beyond it.

    Its head is then farther downstream, and what passes is what that lets through. At a stop line the road ends here.
    """
    edge = network.edges[network.edge_ids[blockage.edge]]
    none = np.zeros(grid_size(tracks, begin_s, end_s), dtype=bool)
    back_m = min(blockage.position_m, edge.length_m)
    low_m, high_m = back_m + BEYOND_FROM_M, back_m + BEYOND_TO_M
    if edge.signalised:
        high_m = min(high_m, edge.length_m)
    if high_m - low_m < LEAST_STRETCH_M:
        return none
    rows = [_traffic(tracks, blockage, edge, low_m, high_m)]
    if high_m > edge.length_m:
        for name in edge.successors:
            after = network.edges[name]
            span_m = (max(0.0, low_m - edge.length_m) - 1.0, min(high_m - edge.length_m, after.length_m))
            rows.append(stretch_rows(tracks, network.edge_index[name], after.driving_lanes, *span_m))
    behind = _traffic(tracks, blockage, edge, max(0.0, back_m - UPSTREAM_TO_M), max(0.0, back_m - UPSTREAM_FROM_M))
    width = round(SMOOTHING_S / tracks.period_s)
    states = [_occupied(tracks, edge, each, begin_s, end_s, settings) for each in (np.concatenate(rows), behind)]
    (claims, speed_mps), (_, before_mps) = (
        (smoothed(claims, width), mean_speed_mps(smoothed(claims, width), smoothed(present, width), settings))
        for claims, present in states
    )
    is_queue = (claims / (high_m - low_m) >= settings.queued_share) & (speed_mps < QUEUED_SPEED_SHARE * edge.speed_mps)
    return is_queue & (speed_mps < FASTER_BEYOND * before_mps)


def _behind(
    tracks: Tracks, network: RoadNetwork, before: str, begin_s: float, end_s: float, settings: DetectSettings
) -> tuple[float, np.ndarray, np.ndarray]:
    """Length of the end of an edge before, and the metres claimed and vehicles present per lane on it."""
    edge = network.edges[before]
    length_m = min(edge.length_m, UPSTREAM_TO_M / 2)
    rows = stretch_rows(
        tracks, network.edge_index[before], edge.driving_lanes, edge.length_m - length_m, edge.length_m + 1
    )
    return length_m, *_occupied(tracks, edge, rows, begin_s, end_s, settings)


def _occupied(
    tracks: Tracks, edge: Edge, rows: np.ndarray, begin_s: float, end_s: float, settings: DetectSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Metres claimed and vehicles present per lane, at each sampled second."""
    claims = claimed_m(tracks, rows, begin_s=begin_s, end_s=end_s, settings=settings)
    present = vehicles_present(tracks, rows, begin_s=begin_s, end_s=end_s)
    return claims / len(edge.driving_lanes), present / len(edge.driving_lanes)


def _traffic(tracks: Tracks, blockage: Blockage, edge: Edge, low_m: float, high_m: float) -> np.ndarray:
    rows = stretch_rows(tracks, blockage.edge, edge.driving_lanes, low_m, high_m)
    return rows[~np.isin(tracks.vehicle[rows], list(blockage.vehicles))]


def queue_downstream(
    tracks: Tracks, network: RoadNetwork, blockage: Blockage, begin_s: float, end_s: float
) -> np.ndarray:
    """For each sampled second, whether on most open lanes somebody stands just past the spot."""
    edge = network.edges[network.edge_ids[blockage.edge]]
    open_lanes = [lane for lane in edge.driving_lanes if lane not in blockage.lanes] or list(edge.driving_lanes)
    from_m, to_m = blockage.position_m + 1.0, blockage.position_m + DOWNSTREAM_M
    count = grid_size(tracks, begin_s, end_s)
    standing = np.zeros(count)
    for lane in open_lanes:
        rows = [_traffic_on(tracks, blockage, blockage.edge, lane, from_m, to_m)]
        if to_m > edge.length_m:
            for link in network.lane_links.get(f"{edge.id}_{lane}", ()):
                after, _, after_lane = link.rpartition("_")
                if after in network.edge_index:
                    number = network.edge_index[after]
                    rows.append(_traffic_on(tracks, blockage, number, int(after_lane), -1.0, to_m - edge.length_m))
        numbers = np.concatenate(rows)
        numbers = numbers[tracks.speed_mps[numbers] < 1.0]
        slot = np.floor((tracks.time_s[numbers] - begin_s) / tracks.period_s + 1e-6).astype(int)
        slot = slot[(slot >= 0) & (slot < count)]
        standing[np.unique(slot)] += 1
    return standing >= len(open_lanes) / 2


def _traffic_on(tracks: Tracks, blockage: Blockage, edge: int, lane: int, low_m: float, high_m: float) -> np.ndarray:
    rows = stretch_rows(tracks, edge, (lane,), low_m, high_m)
    return rows[~np.isin(tracks.vehicle[rows], list(blockage.vehicles))]
