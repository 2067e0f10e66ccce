"""Fundamental diagrams: free speed, capacity and wave speed of each edge, fitted to fields of flow and density.

The triangular diagram of Newell (1993), *A simplified theory of kinematic waves in highway traffic*: flow q and
density k per lane, free speed v, capacity c, wave speed w,

    q = v k  up to k = c / v,     q = c - w (k - c / v)  beyond it,

so that the jam density is c / v + c / w. It is fitted to the cells of an edge by least squares with a soft L1 loss,
since cells in which traffic changes lie below the diagram. Standard errors come from resampling the cells (the
bootstrap; Efron, 1979).

Where no queue stood, nothing was seen of the branch that ends at the capacity: what is given then is the highest flow
that was carried, a lower bound, and it says so. So it is where the fit ends far from the flows that were carried, below
or beyond them, or hardly knows where. On an edge that ends at a signal the diagram is that of the road and its signal
together: cells are joined to :data:`BLOCK_S`, several cycles, since vehicles that wait for green are no queue yet.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.randomness import child_seed

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.network import RoadNetwork

LEAST_CELLS = 10
LEAST_CONGESTED = 5
"""Fewer cells with a queue say too little about waves and capacity."""
QUEUED_SPEED_SHARE = 0.7
"""Slower than this share of the free speed, with more vehicles than usual at that flow, a cell holds a queue."""
LEAST_COVERAGE = 0.5
FREE_DENSITY_QUANTILE = 0.5
TOP_SHARE = 0.05
"""The highest flow carried is the mean of so many of the cells with most flow."""
BOUNDS = ((0.5, 1e-3, 1.0), (70.0, 1.0, 12.0))
"""Lowest and highest free speed (m/s), capacity (vehicles a second and lane) and wave speed (m/s)."""
BLOCK_S = 300.0
"""Seconds over which traffic before a signal is averaged: three cycles of 90 s and more."""
LEAST_BLOCKS = 3
MOST_APART = 1.2
"""Capacity over the highest flow carried, or the reverse: farther apart, the flows do not show the capacity. So it is
with its density, where no cell is as near."""
LEAST_QUEUE_SHARE = 0.5
"""Queues that all carry less than this share of it say nothing of the capacity: it was demand that ended before it."""
MOST_ERROR = 0.5
"""A standard error of more than this share of the capacity says that the cells do not tell it."""
USUAL_WAVE_MPS = 5.0
AT_BOUND = 0.01
"""A wave speed so near a bound, relatively, was not told by the data."""

Estimate = tuple[np.ndarray, np.ndarray]
"""Free speed, capacity and wave speed, and their standard errors."""

COLUMNS: tuple[str, ...] = (
    "edge", "lanes", "is_signalised", "cells", "congested_cells", "free_speed_mps", "free_speed_se",
    "capacity_veh_h", "capacity_se", "capacity_is_lower_bound", "wave_speed_mps", "wave_speed_se", "jam_density_veh_km",
)  # fmt: skip


def fundamental_diagrams(
    fields: "pd.DataFrame", network: "RoadNetwork", *, resamples: int = 100, seed: int = 0
) -> "pd.DataFrame":
    """One row per edge with at least :data:`LEAST_CELLS` usable cells, which at a signal span :data:`LEAST_BLOCKS`
    blocks, in the network's order.

    ``fields``     what :func:`scenariogen.trajectories.fields.edie_fields` gives, all lanes of an edge together
    ``resamples``  of the cells, for the standard errors

    Columns: ``edge``, ``lanes`` (driving), ``is_signalised``, ``cells`` (at a signal: blocks), ``congested_cells`` of
    them, ``free_speed_mps``, ``capacity_veh_h`` (all lanes) and ``wave_speed_mps`` with their standard errors ``_se``,
    ``capacity_is_lower_bound``, ``jam_density_veh_km`` (all lanes). Wave speed and jam density are not a number where
    the capacity is a lower bound, and where the queue's cells tell so little of waves that the fit ends at a bound of
    :data:`BOUNDS`. Raises ``ValueError`` for fields by lane and for fewer than 2 resamples.
    """
    import pandas as pd

    if "lane" in fields.columns:
        raise ValueError("the fields are by lane, expected those of whole edges (by_lane=False)")
    if resamples < 2:
        raise ValueError(f"resamples is {resamples}, expected at least 2")
    usable = fields.loc[(fields["coverage"] >= LEAST_COVERAGE) & (fields["time_spent_s"] > 0)]
    blocks = _Blocks.of(usable)
    rows = []
    for edge_id, cells in usable.groupby("edge", sort=False):
        edge = network.edges.get(str(edge_id))
        if edge is None or not edge.driving_lanes or len(cells) < LEAST_CELLS:
            continue
        lanes = len(edge.driving_lanes)
        values = np.column_stack([cells["density_veh_km"], cells["flow_veh_h"]]).astype(float)
        if edge.signalised:
            values = blocks.joined(cells["day"].to_numpy(), cells["cell_begin_s"].to_numpy(dtype=float), values)
            if len(values) < LEAST_BLOCKS:
                continue
        density, flow = values[:, 0] / 1000 / lanes, values[:, 1] / 3600 / lanes
        generator = np.random.default_rng(child_seed(seed, "diagram", str(edge_id)))
        rows.append((edge.id, lanes, edge.signalised, *_diagram(density, flow, lanes, resamples, generator)))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    order = np.array([network.edge_index[edge_id] for edge_id in table["edge"]], dtype=int)
    return table.iloc[np.argsort(order, kind="stable")].reset_index(drop=True)


def _diagram(
    density: np.ndarray, flow: np.ndarray, lanes: int, resamples: int, generator: np.random.Generator
) -> tuple[float | int | bool, ...]:
    """The columns after ``is_signalised``; density in vehicles per metre and lane, flow per second and lane."""
    free = free_speed(density, flow)
    queued = is_queued(density, flow, free)
    congested = int(queued.sum())
    picks = generator.integers(0, len(flow), size=(resamples, len(flow)))
    carried = _estimate(_carried, density, flow, picks)
    fitted = _estimate(_fit, density, flow, picks) if congested >= LEAST_CONGESTED else carried
    seen = congested >= LEAST_CONGESTED and _is_told(fitted, carried, density, flow[queued])
    (speed, capacity, wave), error = fitted if seen else carried
    if not BOUNDS[0][2] * (1 + AT_BOUND) < wave < BOUNDS[1][2] * (1 - AT_BOUND):
        wave = error[2] = np.nan
    jam = capacity / speed + capacity / wave
    return (
        len(flow),
        congested,
        float(speed),
        float(error[0]),
        float(capacity * 3600 * lanes),
        float(error[1] * 3600 * lanes),
        not seen,
        float(wave),
        float(error[2]),
        float(jam * 1000 * lanes),
    )


def _estimate(
    method: Callable[[np.ndarray, np.ndarray], np.ndarray], density: np.ndarray, flow: np.ndarray, picks: np.ndarray
) -> Estimate:
    """What a method gives for the cells, and its standard deviation over resamples of them."""
    again = np.array([method(density[pick], flow[pick]) for pick in picks])
    return method(density, flow), again.std(axis=0, ddof=1)


def _is_told(fitted: Estimate, carried: Estimate, density: np.ndarray, queue_flow: np.ndarray) -> bool:
    """Whether a cell lies near the density of the fitted capacity, flows near it were carried and none far above it,
    not all queues moved far below it, and its error is small enough."""
    (speed, capacity, _), (_, error, _) = fitted
    apart = np.abs(np.log(np.maximum(density, 1e-9) * speed / capacity)).min()
    highest = max(float(carried[0][1]), 1e-9)
    return bool(
        max(apart, abs(math.log(capacity / highest))) <= math.log(MOST_APART)
        and queue_flow.max() >= LEAST_QUEUE_SHARE * capacity
        and error <= MOST_ERROR * capacity
    )


@dataclass(frozen=True)
class _Blocks:
    """Time cells that follow one another, joined to ``block_s`` seconds.

    ``recorded``  of each day and block, how many of its cells any edge has; blocks with too few are missing
    """

    block_s: float
    recorded: dict[tuple[int, int], int]

    @classmethod
    def of(cls, fields: "pd.DataFrame") -> "_Blocks":
        begins_s = np.unique(fields["cell_begin_s"].to_numpy(dtype=float))
        cell_s = float(np.diff(begins_s).min()) if len(begins_s) > 1 else BLOCK_S
        count = max(1, math.ceil(BLOCK_S / cell_s - 1e-9))
        days, begins_s = fields["day"].to_numpy(dtype=int), fields["cell_begin_s"].to_numpy(dtype=float)
        cells = set(zip(days.tolist(), begins_s.tolist(), strict=True))
        recorded = Counter((day, _block(begin_s, count * cell_s)) for day, begin_s in cells)
        return cls(count * cell_s, {key: n for key, n in recorded.items() if n >= LEAST_COVERAGE * count})

    def joined(self, day: np.ndarray, begin_s: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Means (block, value) of one edge's ``values`` (cell, value); a recorded cell without a row was empty."""
        sums: dict[tuple[int, int], np.ndarray] = {}
        for row, key in enumerate(zip(day.tolist(), begin_s.tolist(), strict=True)):
            block = (int(key[0]), _block(key[1], self.block_s))
            sums[block] = sums.get(block, 0.0) + values[row]
        means = [total / self.recorded[block] for block, total in sums.items() if block in self.recorded]
        return np.array(means).reshape(-1, values.shape[1])


def _block(begin_s: float, block_s: float) -> int:
    return math.floor(begin_s / block_s + 1e-9)


def free_speed(density: np.ndarray, flow: np.ndarray) -> float:
    """Distance over time spent in the emptier half of the cells (m/s)."""
    empty = density <= np.quantile(density, FREE_DENSITY_QUANTILE)
    return float(flow[empty].sum() / density[empty].sum())


def is_queued(density: np.ndarray, flow: np.ndarray, free_mps: float) -> np.ndarray:
    """True for cells that are slow and hold more vehicles than their flow needs at free speed."""
    return (flow < QUEUED_SPEED_SHARE * free_mps * density) & (density > np.median(density))


def _carried(density: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Free speed and the highest flow that was carried; no wave speed."""
    top = np.sort(flow)[-max(1, round(TOP_SHARE * len(flow))) :]
    return np.array([free_speed(density, flow), top.mean(), np.nan])


def _fit(density: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Free speed, capacity per lane and wave speed."""
    from scipy.optimize import least_squares

    scale = max(float(np.quantile(flow, 0.95)) * 0.05, 1e-6)

    def residual(parameters: np.ndarray) -> np.ndarray:
        speed, capacity, wave = parameters
        model = np.minimum(speed * density, capacity - wave * (density - capacity / speed))
        return (np.maximum(model, 0.0) - flow) / scale

    low, high = (np.array(side) for side in BOUNDS)
    start = np.array([free_speed(density, flow), float(np.quantile(flow, 0.95)), USUAL_WAVE_MPS])
    start = np.clip(start, low * 1.001, high * 0.999)
    return least_squares(residual, start, bounds=(low, high), loss="soft_l1", x_scale=start).x
