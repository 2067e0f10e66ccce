"""Where and when an incident that was found in coarse cells began, read off fine ones over all of its time.

A minute of a tenth of the vehicles shows hardly anybody within 25 m, but a quarter of an hour does: averaged over an
incident, the vehicles above usual are many up to what blocks the road, and none beyond. The place is where that excess
steps down, the start where it and the flow past the place step together (Hinkley, 1970, *Inference about the
change-point in a sequence of random variables*).
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
EDGE_OF_QUEUE = 0.4
"""Cells with more than this share of the queue's own excess belong to it."""
LEAST_EXCESS = 0.008
"""Vehicles a metre and lane: with less, no queue stands (one at 20 m/s holds 0.027)."""
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
    usual = np.median(np.nan_to_num(cells.vehicles[others][:, chain.cells]), axis=0)
    room = (cells.length_m * cells.lanes)[chain.cells]
    excess = (own[:, first:last].mean(axis=1) - usual[:, first:last].mean(axis=1)) / room
    head, beyond = _head(excess, cells.length_m[chain.cells])
    if head is None:
        return row
    place = chain.cells[head]
    position_m = float(cells.to_m[place])
    if head + 1 < len(chain.cells) and cells.edge[chain.cells[head + 1]] == cells.edge[place]:
        position_m += beyond * float(cells.length_m[chain.cells[head + 1]])
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


def _head(excess: np.ndarray, length_m: np.ndarray) -> tuple[int | None, float]:
    """Last cell of the queue in a chain, and the share of the next one that it fills."""
    level = float(np.quantile(excess, 0.8))
    if level < LEAST_EXCESS:
        return None, 0.0
    gain = np.cumsum((excess - EDGE_OF_QUEUE * level) * length_m)
    head = int(np.argmax(gain))
    beyond = float(np.clip(excess[head + 1] / level, 0.0, 1.0)) if head + 1 < len(excess) else 0.0
    return head, beyond


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
        pooled = np.nansum if values is cells.vehicles else np.nanmean
        series = np.nan_to_num(pooled(values[:, part], axis=1)) * scale
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
