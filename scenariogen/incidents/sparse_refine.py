"""Where and when an incident that was found in coarse cells began, read off fine ones over all of its time.

A minute of a tenth of the vehicles shows hardly anybody within 25 m, but a quarter of an hour does: averaged over an
incident, vehicles are slow up to what blocks the road, and as fast as usual beyond. The place is where the pace steps
down, the start where the vehicles present before it and the flow past it step together (Hinkley, 1970, *Inference
about the change-point in a sequence of random variables*).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scenariogen.incidents.from_fields_cells import Cells

if TYPE_CHECKING:
    import pandas as pd

    from scenariogen.network import RoadNetwork

FINE_M = 25.0
UP_M, DOWN_M = 300.0, 450.0
"""The place may lie so far upstream or downstream of where coarse cells put it."""
QUEUE_M = 100.0
"""The queue is watched over this length behind the place, the flow over as much beyond it."""
LEAST_SLOWER = 1.5
"""A queue is slower than usual by at least this factor."""
SLOWEST_S_M = 20.0
FREE_MPS = 10.0
"""Where nobody drove on other days, such a speed is taken for free."""
SEARCH_S = 420.0
SETTLING_S = 60.0
PLACE_SE_M = 20.0
LEAST_LEVEL = 0.05
"""Vehicles per time cell: an empty road is not taken as one on which a single vehicle would be a miracle."""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Fine cells one behind the other along the way that most vehicles take. ``at``: number of the one asked for."""

    cells: np.ndarray
    at: int


def refined(found: "pd.DataFrame", cells: Cells, day_number: int, network: "RoadNetwork") -> "pd.DataFrame":
    """The incidents of one day with place and start from fine cells, in which ``day_number`` is that day."""
    import pandas as pd

    others = [number for number in range(len(cells.days)) if number != day_number]
    if found.empty or not others:
        return found
    weight = np.nan_to_num(np.nanmean(cells.flow_veh_h, axis=(0, 2))) + 1e-9
    rows = [_refined(row, cells, day_number, others, weight, network) for row in found.to_dict("records")]
    return pd.DataFrame(rows, columns=found.columns, index=found.index)


def _refined(
    row: dict[str, Any],
    cells: Cells,
    day_number: int,
    others: list[int],
    weight: np.ndarray,
    network: "RoadNetwork",
) -> dict[str, Any]:
    number = network.edge_index[row["edge"]]
    on_edge = np.flatnonzero(cells.edge == number)
    cell = int(on_edge[np.clip(np.searchsorted(cells.to_m[on_edge], row["position_m"]), 0, len(on_edge) - 1)])
    chain = _chain(cells, weight, cell)
    end_s = row["start_s"] + row["duration_s"]
    margin_s = min(SETTLING_S, row["duration_s"] / 4)
    first = int(np.clip((row["start_s"] + margin_s - cells.begin_s) // cells.cell_s, 0, cells.vehicles.shape[-1] - 1))
    last = int(np.clip((end_s - margin_s - cells.begin_s) // cells.cell_s, first + 1, cells.vehicles.shape[-1]))
    own = np.nan_to_num(cells.vehicles[day_number][chain.cells])
    pace = _pace(cells, np.array([day_number]), chain.cells, (first, last))
    usual = _pace(cells, np.array(others), chain.cells, (first, last))
    head = _head(pace, usual, own[:, first:last].mean(axis=1), cells.length_m[chain.cells], chain.at)
    if head is None:
        return row
    place = chain.cells[head]
    position_m = float(cells.to_m[place])
    start_s = _start_s(row, cells, day_number, others, chain, head, (first, last))
    return {
        **row,
        "edge": network.edge_ids[int(cells.edge[place])],
        "position_m": position_m,
        "position_se_m": PLACE_SE_M,
        "start_s": start_s,
        "duration_s": max(end_s - start_s, cells.cell_s),
    }


def _chain(cells: Cells, weight: np.ndarray, cell: int) -> Chain:
    """The cells before and after one, along the way that carries most."""
    behind = _walk(cells, cells.before, weight, cell, UP_M)
    return Chain(
        cells=np.array([*behind[::-1], cell, *_walk(cells, cells.after, weight, cell, DOWN_M)]), at=len(behind)
    )


def _walk(cells: Cells, nexts: tuple[tuple[int, ...], ...], weight: np.ndarray, cell: int, reach_m: float) -> list[int]:
    way: list[int] = []
    here, gone_m = cell, 0.0
    while nexts[here] and gone_m < reach_m:
        here = max(nexts[here], key=lambda other: float(weight[other]))
        if here == cell or here in way:
            break
        way.append(here)
        gone_m += float(cells.length_m[here])
    return way


def _pace(cells: Cells, days: np.ndarray, chain: np.ndarray, span: tuple[int, int]) -> np.ndarray:
    """Seconds a metre in each cell over a span of time cells; 0 where nobody was."""
    part = np.ix_(days, chain, np.arange(*span))
    present = np.nan_to_num(cells.vehicles[part]).sum(axis=(0, 2))
    driven = np.nan_to_num(cells.flow_veh_h[part]).sum(axis=(0, 2)) / 3600 * cells.length_m[chain]
    slowest = np.maximum(driven, present / SLOWEST_S_M)
    return np.divide(present, slowest, out=np.zeros_like(present), where=present > 0)


def _head(pace: np.ndarray, usual: np.ndarray, present: np.ndarray, length_m: np.ndarray, at: int) -> int | None:
    """Last cell of the queue in a chain: the pace steps there from that of the queue to the usual one.

    Paces are compared on a logarithmic scale, half way between the two, and no cell counts for more than one that is
    twice as far from the middle.
    """
    behind = np.arange(max(0, at - 8), at + 1)
    queue = float(np.average(pace[behind], weights=np.maximum(present[behind], 1e-9)))
    if queue <= 0:
        return None
    normal = np.where(usual > 0, usual, 1.0 / FREE_MPS)
    middle = np.sqrt(queue * normal)
    if not (queue > LEAST_SLOWER * np.median(normal)):
        return None
    with np.errstate(divide="ignore"):
        gain = np.where(pace > 0, np.clip(np.log(pace / middle), -1.0, 1.0), -1.0)
    return int(np.argmax(np.cumsum(gain * length_m)))


def _start_s(
    row: dict[str, Any],
    cells: Cells,
    day_number: int,
    others: list[int],
    chain: Chain,
    head: int,
    span: tuple[int, int],
) -> float:
    """Second at which the queue behind the place and the flow past it changed."""
    length_m = cells.length_m[chain.cells]
    behind = chain.cells[: head + 1][::-1][_within(length_m[: head + 1][::-1])]
    past = chain.cells[head + 1 :][_within(length_m[head + 1 :])]
    low = max(0, int((row["start_s"] - SEARCH_S - cells.begin_s) // cells.cell_s))
    middle = max(low + 2, (span[0] + span[1]) // 2)
    gain = np.zeros(middle - low)
    for part, values, scale in (
        (behind, cells.vehicles, cells.share),
        (past, cells.flow_veh_h, cells.share * cells.cell_s / 3600),
    ):
        if not len(part):
            continue
        known = np.isfinite(values[:, part])
        count = 1 if values is cells.vehicles else np.maximum(known.sum(axis=1), 1)
        series = np.where(known, values[:, part], 0.0).sum(axis=1) / count * scale
        during = max(float(series[day_number, span[0] : span[1]].mean()), LEAST_LEVEL)
        usual = np.median(series[others], axis=0)[low:middle]
        before = np.maximum(np.full(middle - low, float(usual.mean())), LEAST_LEVEL)
        counts = series[day_number, low:middle]
        gain += (counts * np.log(before) - before) - (counts * np.log(during) - during)
    step = int(np.argmax(np.r_[0.0, np.cumsum(gain)]))
    return float(cells.begin_s + (low + step) * cells.cell_s)


def _within(length_m: np.ndarray) -> np.ndarray:
    """Numbers of the first cells that make up the watched length."""
    return np.flatnonzero(np.r_[0.0, np.cumsum(length_m)[:-1]] < QUEUE_M) if len(length_m) else np.empty(0, dtype=int)
