"""Where on its road the head of a queue lies, from how many vehicles are present there and how many pass.

Vehicles above those that free traffic of the same flow would leave on a stretch stand in the queue; how far they reach
follows from how densely it stands. That is read off the road behind where the queue fills it (else Newell's spacing is
taken). Past the head, drivers need some seconds more than at the limit to gather speed. Where vehicles stand above
what is usual at that flow on the next road as well, the head lies there: what blocks a road near its start fills the
one before, and leaves little of the queue on its own.
"""

from dataclasses import dataclass

import numpy as np

from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.from_fields_cells import Cells
from scenariogen.incidents.from_fields_heads import Head
from scenariogen.incidents.from_fields_usual import Unusual

STARTING_MPS2 = 1.4
"""Drivers gather speed so fast past the head."""
FILLED = 0.9
"""A queue that takes this share of a cell may come from farther ahead."""
MOST_BEHIND = 4
"""So many cells behind the head are asked how densely the queue stands."""
LEAST_STANDING = 2.0
"""So many vehicles more than usual stand all the time: what blocks the road, and the first one before it."""
LEAST_STANDING_SHARE = 0.25
"""And so many of all that are present: past a head lorries gather speed slowly and leave a few more as well."""
STEPS = 200
MARGIN = 1.1
"""Free traffic leaves up to so many times the vehicles that its flow and its usual pace let expect."""
LEAST_ERROR_M = 10.0
MOST_WIDER = 1.25
"""The spacing that is read off differs from the setting by this factor at most: mixes of cars and lorries do."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The cell in which a head lies, metres from the start of its edge, and their standard error."""

    cell: int
    position_m: float
    position_se_m: float


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """One day's cells during a span of time cells, beside the other days.

    ``vehicles, flow``              (C,) vehicles present and vehicles a second
    ``usual_vehicles, usual_flow``  (C,) the same on other days; ``None`` without any
    """

    vehicles: np.ndarray
    flow: np.ndarray
    usual_vehicles: np.ndarray | None
    usual_flow: np.ndarray | None


@dataclass(frozen=True, kw_only=True)
class Queue:
    """One lane of a queue: vehicles a second, their speed, and metres for each."""

    flow: float
    speed_mps: float
    spacing_m: float


def traffic_of(cells: Cells, day_number: int, times: np.ndarray) -> Traffic:
    """What was present and passed in every cell during some time cells, on one day and on the others."""

    def means(days: list[int]) -> list[np.ndarray]:
        parts = (values[days][:, :, times] for values in (cells.vehicles, cells.flow_veh_h))
        return [np.nan_to_num(part).mean(axis=(0, 2)) for part in parts]

    vehicles, flow = means([day_number])
    others = [number for number in range(len(cells.days)) if number != day_number]
    usual = means(others) if others else None
    return Traffic(
        vehicles=vehicles,
        flow=flow / 3600,
        usual_vehicles=usual[0] if usual else None,
        usual_flow=usual[1] / 3600 if usual else None,
    )


def place_of(
    cells: Cells,
    unusual: Unusual,
    head: Head,
    day_number: int,
    span: tuple[int, int],
    times: np.ndarray,
    settings: DetectSettings,
) -> Place:
    """Where the head of a queue lies that stood during a span of time cells: first, and one past the last.

    ``times``  (t,) the time cells of the span in which it was seen to stand
    """
    traffic = traffic_of(cells, day_number, _reaching_back(cells, unusual, head, times, settings))
    wider = _wider(cells, unusual, head, span, settings)
    cell, seen = head.cell if head.into is None else head.into, {head.cell}
    while True:
        seen.add(cell)
        queue = _queue(cells, traffic, cell, wider, settings)
        standing = {other: _standing(cells, traffic, other, queue) for other in cells.after[cell] if other not in seen}
        onward = max(standing, key=lambda other: standing[other], default=cell)
        least = max(LEAST_STANDING / cells.share, LEAST_STANDING_SHARE * float(traffic.vehicles[onward]))
        if standing.get(onward, 0.0) < least:
            break
        cell = onward
    queue_m, length_m = _queue_m(cells, traffic, cell, wider, settings), float(cells.length_m[cell])
    # A queue that does not reach back to the start of its cell lies anywhere in it.
    error_m = length_m / np.sqrt(12) if queue_m < FILLED * length_m else max(LEAST_ERROR_M, 0.1 * length_m)
    return Place(cell=cell, position_m=float(cells.from_m[cell]) + queue_m, position_se_m=float(error_m))


def _reaching_back(
    cells: Cells, unusual: Unusual, head: Head, times: np.ndarray, settings: DetectSettings
) -> np.ndarray:
    """The time cells in which the queue stood on a road behind as well, so that it filled its own from the start; all
    where these are few. While it grows it tells less of how far ahead it begins."""
    reaches = unusual.queued[list(cells.before[head.cell])][:, times].any(axis=0)
    back = times[reaches]
    return back if len(back) * cells.cell_s >= settings.least_queue_s else times


def _standing(cells: Cells, traffic: Traffic, cell: int, queue: Queue) -> float:
    """Vehicles above those that traffic of the same flow leaves in a cell, usually or gathering speed on it."""
    length_m, flow = float(cells.length_m[cell]), float(traffic.flow[cell])
    taken_s = float(_starting_s(np.array([length_m]), queue.speed_mps, float(cells.limit_mps[cell]))[0])
    if traffic.usual_vehicles is not None and traffic.usual_flow is not None and traffic.usual_flow[cell] > 0:
        taken_s = max(taken_s, float(traffic.usual_vehicles[cell]) / float(traffic.usual_flow[cell]))
    return float(traffic.vehicles[cell]) - MARGIN * flow * taken_s


def _queue_m(cells: Cells, traffic: Traffic, cell: int, wider: float, settings: DetectSettings) -> float:
    """How far the queue reaches into a cell: as far as leaves the vehicles that are there, in it and past its head."""
    length_m, lanes = float(cells.length_m[cell]), float(cells.lanes[cell])
    queue = _queue(cells, traffic, cell, wider, settings)
    reach_m = np.linspace(0.0, length_m, STEPS)
    past = _starting_s(length_m - reach_m, queue.speed_mps, float(cells.limit_mps[cell])) * queue.flow
    return float(np.interp(float(traffic.vehicles[cell]) / lanes, reach_m / queue.spacing_m + past, reach_m))


def _queue(cells: Cells, traffic: Traffic, cell: int, wider: float, settings: DetectSettings) -> Queue:
    """The queue that discharges what passes a cell, by Newell's spacing."""
    limit = float(cells.limit_mps[cell])
    jam_m, reaction_s = wider * settings.jam_spacing_m, wider * settings.reaction_s
    flow = min(float(traffic.flow[cell]) / float(cells.lanes[cell]), limit / (jam_m + reaction_s * limit))
    speed = flow * jam_m / (1.0 - flow * reaction_s)
    return Queue(flow=flow, speed_mps=speed, spacing_m=jam_m + reaction_s * speed)


def _starting_s(way_m: np.ndarray, speed_mps: float, limit_mps: float) -> np.ndarray:
    """Seconds for a way that begins at the speed of a queue and is driven ever faster, up to the limit."""
    gathered_m = (limit_mps**2 - speed_mps**2) / (2 * STARTING_MPS2)
    starting_m = np.minimum(way_m, gathered_m)
    starting_s = (np.sqrt(speed_mps**2 + 2 * STARTING_MPS2 * starting_m) - speed_mps) / STARTING_MPS2
    return starting_s + (way_m - starting_m) / limit_mps


def _wider(cells: Cells, unusual: Unusual, head: Head, span: tuple[int, int], settings: DetectSettings) -> float:
    """How much more road each vehicle of the queue takes than Newell's rule gives it.

    From the cells behind while they were queued from end to end, that is, while one before them was as well; the
    densest one tells, since lanes that part or end are not used alike.
    """
    cell, weight = head.cell, unusual.most_veh_h + 1e-9
    found = []
    for _ in range(MOST_BEHIND):
        if not cells.before[cell]:
            break
        cell = max(cells.before[cell], key=lambda other: float(weight[other]))
        behind = unusual.queued[list(cells.before[cell]), span[0] : span[1]].any(axis=0)
        full = np.flatnonzero(unusual.queued[cell, span[0] : span[1]] & behind) + span[0]
        if len(full) * cells.cell_s < settings.least_queue_s:
            continue
        lane_m = float(cells.length_m[cell] * cells.lanes[cell]) / unusual.vehicles[cell, full]
        flow = unusual.flow_veh_h[cell, full] / 3600 / float(cells.lanes[cell])
        found.append(float(np.median(lane_m / (settings.jam_spacing_m + settings.reaction_s * flow * lane_m))))
    return float(np.clip(min(found, default=1.0), 1 / MOST_WIDER, MOST_WIDER))
