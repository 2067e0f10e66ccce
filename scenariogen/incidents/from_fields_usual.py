"""What is usual in each cell, and where and when more vehicles stand than usual.

Usual is what other days show at the same time of day, give or take ``SLACK_S``: the median over them of the most that
each of them shows. A queue that stands there on most days is thereby usual, however long it is. With a single
recorded day, usual is that day's own middle, and recurrent queues cannot be told from others.
"""

from dataclasses import dataclass, field

import numpy as np

from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.from_fields_cells import Cells

WINDOW_S = 300.0
"""Vehicles and flow are averaged over so long: at least two cycles of any signal in use."""
SLACK_S = 300.0
"""Queues come so much earlier or later from one day to the next."""
FILLED_SHARE = 0.5
"""So many of the vehicles that would stand there bumper to bumper are a queue: twice the density at capacity."""
HALVED = 0.5
"""Slower than this share of the usual speed, a part of the cell stands."""
LEAST_SEEN = 3.0
"""Fewer vehicles seen than this, one that stops makes a mean speed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Unusual:
    """One day against the others; ``C`` cells, ``S`` time cells.

    ``vehicles``    (C, S) averaged over ``WINDOW_S``
    ``flow_veh_h``  (C, S) the same
    ``excess``      (C, S) vehicles above usual
    ``usual_veh_h`` (C, S) usual flow
    ``most_veh_h``  (C,) the most that other days (or other times) ever discharged over ``WINDOW_S``
    ``congested``   (C, S) clearly more vehicles than usual, and slow
    ``filled``      (C, S) so many slow vehicles that a queue fills more than half the cell, usual or not
    ``queued``      (C, S) congested or filled
    ``other_days``  number of days compared with
    """

    vehicles: np.ndarray = field(repr=False)
    flow_veh_h: np.ndarray = field(repr=False)
    excess: np.ndarray = field(repr=False)
    usual_veh_h: np.ndarray = field(repr=False)
    most_veh_h: np.ndarray = field(repr=False)
    congested: np.ndarray = field(repr=False)
    queued: np.ndarray = field(repr=False)
    filled: np.ndarray = field(repr=False)
    other_days: int


def averaged(values: np.ndarray, width: int) -> np.ndarray:
    """Centred moving average along the last axis, over what is known; not a number where nothing is."""
    if width <= 1:
        return values
    known = np.isfinite(values)
    sums = np.cumsum(np.where(known, values, 0.0), axis=-1)
    counts = np.cumsum(known, axis=-1)
    size = values.shape[-1]
    high = np.minimum(np.arange(size) + width // 2, size - 1)
    low = np.arange(size) - (width - 1) // 2 - 1

    def span(total: np.ndarray) -> np.ndarray:
        return total[..., high] - np.where(low >= 0, total[..., np.maximum(low, 0)], 0)

    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(span(counts) > 0, span(sums) / span(counts), np.nan)


def _most_nearby(values: np.ndarray, reach: int) -> np.ndarray:
    """Largest value within so many time cells on either side."""
    padded = np.pad(np.nan_to_num(values, nan=0.0), [(0, 0)] * (values.ndim - 1) + [(reach, reach)], mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=-1)
    return windows.max(axis=-1)


def compare(cells: Cells, day_number: int, settings: DetectSettings) -> Unusual:
    """One day against the other recorded days."""
    width = max(1, round(WINDOW_S / cells.cell_s))
    vehicles, flow = averaged(cells.vehicles, width), averaged(cells.flow_veh_h, width)
    own_vehicles, own_flow = vehicles[day_number], flow[day_number]
    others = [number for number in range(len(cells.days)) if number != day_number]
    if others:
        slack = round(SLACK_S / cells.cell_s)
        usual = _middle(_most_nearby(vehicles[others], slack), lower=True)
        usual_veh_h = _middle(np.where(np.isfinite(flow[others]), flow[others], own_flow), lower=False)
        most_veh_h = _middle(np.nan_to_num(flow[others]).max(axis=-1), lower=False)
        usual_mps = _middle(-_most_nearby(-_speed(cells, vehicles[others], flow[others]), slack), lower=False)
    else:
        usual = np.broadcast_to(np.nanmedian(own_vehicles, axis=-1, keepdims=True), own_vehicles.shape)
        usual_veh_h = np.broadcast_to(np.nanmedian(own_flow, axis=-1, keepdims=True), own_flow.shape)
        most_veh_h = np.nan_to_num(own_flow).max(axis=-1)
        own_mps = _speed(cells, own_vehicles, own_flow)
        usual_mps = np.broadcast_to(np.median(own_mps, axis=-1, keepdims=True), own_mps.shape)
    excess = own_vehicles - usual
    jam = (cells.length_m * cells.lanes / settings.jam_spacing_m)[:, None]
    # Of n vehicles each is seen with probability p: the estimate k / p has the standard error sqrt(n (1 − p) / p); the
    # number present varies by about sqrt(n) from day to day itself.
    noise = np.sqrt(np.maximum(usual, 1.0) / cells.share)
    least = np.maximum(settings.unusual_share * jam, settings.unusual_errors * noise)
    speed_mps = _speed(cells, own_vehicles, own_flow)
    slow = speed_mps < settings.slow_share * cells.limit_mps[:, None]
    halved = (speed_mps < HALVED * usual_mps) & (own_vehicles * cells.share > LEAST_SEEN)
    congested = slow & ((excess > least) | halved)
    filled = slow & (own_vehicles > FILLED_SHARE * jam)
    return Unusual(
        vehicles=own_vehicles,
        flow_veh_h=own_flow,
        excess=np.nan_to_num(excess),
        usual_veh_h=np.nan_to_num(usual_veh_h),
        most_veh_h=most_veh_h,
        congested=congested,
        queued=congested | filled,
        filled=filled,
        other_days=len(others),
    )


def _speed(cells: Cells, vehicles: np.ndarray, flow_veh_h: np.ndarray) -> np.ndarray:
    """Mean speed (m/s); the limit where nobody was."""
    vehicles, flow = np.nan_to_num(vehicles), np.nan_to_num(flow_veh_h)
    speed = flow * cells.length_m[:, None] / np.maximum(vehicles, 1e-9) / 3600
    return np.where(vehicles > 0, speed, cells.limit_mps[:, None])


def _middle(values: np.ndarray, *, lower: bool) -> np.ndarray:
    """Median over days (first axis); of an even number the lower or the upper of the two in the middle, so that half
    the days do not make a thing usual."""
    rank = (len(values) - 1) // 2 if lower else len(values) // 2
    return np.partition(values, rank, axis=0)[rank]
