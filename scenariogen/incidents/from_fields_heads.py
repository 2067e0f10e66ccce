"""Where unusual queues begin: the place with more vehicles than usual behind it and fewer than usual passing it.

An incident shows in fields as three things at once: a queue upstream that does not stand there on other days, less
discharge than usual, and a free road downstream. A red light or a recurrent bottleneck is usual; a queue that spills
back from elsewhere has a queue downstream; a queue that is there since more vehicles came than usual discharges as
many as ever.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.from_fields_cells import Cells
from scenariogen.incidents.from_fields_usual import Unusual

AHEAD_M = 60.0
"""A queue that begins within this distance downstream is what a cell's own queue comes from."""
MINOR_SHARE = 0.1
"""Exits that fewer take are not looked at."""
LEAST_CELL_M = 15.0
"""Two vehicles long: what is shorter is neither a head nor a queue of its own."""
BARE_SHARE = 0.1
"""Fewer vehicles than this share of those that would stand there bumper to bumper are no queue."""
NEAR_M = 180.0
"""Heads with no more road than this between them are those of one queue whatever stands there."""
QUEUE_REACH_M = 2_000.0
CLEAR_ENOUGH = 0.5
PAUSE_S = 180.0
"""A queue that is gone for less than this is the same one."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """One place at which an unusual queue began, between two time cells (first, and one past the last).

    ``passed_veh_h, usual_veh_h``  flow during that time, and what is usual at that time
    ``drop_errors``                the drop in standard errors
    ``into``                       the cell ahead, where queues stand in two or more roads that lead to it: then what
                                   they wait for stands at its start, and not at the end of each
    """

    cell: int
    first: int
    last: int
    passed_veh_h: float
    usual_veh_h: float
    drop_errors: float
    into: int | None = None


def find_heads(cells: Cells, unusual: Unusual, settings: DetectSettings) -> list[Head]:
    """Heads of unusual queues with less discharge than usual, each place and time once, in order of time."""
    heads = [
        head
        for cell in np.flatnonzero(unusual.queued.any(axis=1) & (cells.length_m >= LEAST_CELL_M))
        for head in _heads_at(cells, unusual, int(cell), settings)
    ]
    return sorted(_strongest(cells, heads, unusual), key=lambda head: (head.first, head.cell))


def ahead(cells: Cells, cell: int, weight: np.ndarray, reach_m: float = AHEAD_M) -> Iterator[int]:
    """Cells downstream within a distance that more than a few vehicles take."""
    front, seen = [(cell, 0.0)], {cell}
    while front:
        here, gone_m = front.pop()
        nexts = cells.after[here]
        total = sum(weight[other] for other in nexts)
        for other in nexts:
            if other in seen or other in cells.before[cell] or weight[other] < MINOR_SHARE * total:
                continue
            seen.add(other)
            yield other
            if gone_m + cells.length_m[other] < reach_m:
                front.append((other, gone_m + cells.length_m[other]))


def _heads_at(cells: Cells, unusual: Unusual, cell: int, settings: DetectSettings) -> Iterator[Head]:
    weight = unusual.most_veh_h + 1e-9
    downstream = [other for other in ahead(cells, cell, weight) if cells.length_m[other] >= LEAST_CELL_M]
    is_head = unusual.queued[cell] & (unusual.flow_veh_h[cell] < (1 - settings.least_drop) * unusual.usual_veh_h[cell])
    if downstream:
        is_head &= ~unusual.queued[downstream].any(axis=0) | _is_bare_ahead(cells, unusual, cell, settings)
    for first, last in runs(is_head, pause=round(PAUSE_S / cells.cell_s)):
        seconds = (last - first) * cells.cell_s
        if seconds < settings.least_field_s or _is_shut_in(cells, unusual, cell, first, last):
            continue
        passed = float(np.nanmean(unusual.flow_veh_h[cell, first:last]))
        usual = float(np.mean(unusual.usual_veh_h[cell, first:last]))
        expected = usual * seconds / 3600 * cells.share
        errors = (usual - passed) * seconds / 3600 * cells.share / np.sqrt(max(expected, 1.0))
        # Where a queue stands on other days as well, only the drop tells, so it has to be twice as clear.
        clear = 1.0 if unusual.congested[cell, first:last].mean() >= 0.5 else 2.0
        if passed <= (1 - clear * settings.least_drop) * usual and errors >= clear * settings.least_drop_errors:
            yield Head(
                cell=cell, first=first, last=last, passed_veh_h=passed, usual_veh_h=usual, drop_errors=float(errors)
            )


def _is_bare_ahead(cells: Cells, unusual: Unusual, cell: int, settings: DetectSettings) -> np.ndarray:
    """(S,) On every road that leaves a cell too few vehicles are left to be in a queue, whatever stands farther on."""
    nexts = list(cells.after[cell])
    if not nexts or cells.length_m[nexts].min() < LEAST_CELL_M:
        return np.zeros(unusual.queued.shape[1], dtype=bool)
    jam = cells.length_m[nexts] * cells.lanes[nexts] / settings.jam_spacing_m
    is_bare = (unusual.vehicles[nexts] < BARE_SHARE * jam[:, None]) & ~unusual.queued[nexts]
    return np.asarray(is_bare.all(axis=0))


def _is_shut_in(cells: Cells, unusual: Unusual, cell: int, first: int, last: int) -> bool:
    """The junction ahead is full: on some road that leaves it an unusual queue stood before, and stands for half the
    time.

    It is not asked how many turn that way, since those who wait for it stand in everybody's way.
    """
    before = max(0, first - round(PAUSE_S / cells.cell_s))
    return any(
        unusual.congested[other, before : first + 1].any() and unusual.congested[other, first:last].mean() >= 0.5
        for other in cells.leaving[cell]
    )


def runs(mask: np.ndarray, *, pause: int) -> Iterator[tuple[int, int]]:
    """Begin and end (one past) of the stretches where a mask is true, pauses of at most ``pause`` bridged.

    >>> list(runs(np.array([0, 1, 1, 0, 1, 0, 0, 0, 1], dtype=bool), pause=1))
    [(1, 5), (8, 9)]
    """
    true = np.flatnonzero(mask)
    if not len(true):
        return
    cuts = np.flatnonzero(np.diff(true) > pause + 1)
    for part in np.split(true, cuts + 1):
        yield int(part[0]), int(part[-1]) + 1


def _strongest(cells: Cells, heads: list[Head], unusual: Unusual) -> list[Head]:
    """One head for each queue: of those that stand in one queue, or beside each other before one road, the one that
    lies farthest downstream, unless its drop is far less clear."""
    kept: list[Head] = []
    weight = unusual.most_veh_h + 1e-9
    for head in sorted(heads, key=_clearness, reverse=True):
        is_new = True
        for number, other in enumerate(kept):
            overlap = min(head.last, other.last) - max(head.first, other.first)
            if overlap < 0.5 * min(head.last - head.first, other.last - other.first):
                continue
            if _is_full(unusual, head) and _is_full(unusual, other):
                common = set(cells.after[head.cell]) & set(cells.after[other.cell])
                if common and head.cell != other.cell:
                    into = other.into if other.into is not None else max(common, key=lambda cell: float(weight[cell]))
                    kept[number] = replace(other, into=into)
                    is_new = False
                    break
            if _in_one_queue(cells, unusual, head, other, weight):
                is_new = False
            elif _in_one_queue(cells, unusual, other, head, weight):
                is_new = False
                if _clearness(head) >= CLEAR_ENOUGH * _clearness(other):
                    kept[number] = head
            if not is_new:
                break
        if is_new:
            kept.append(head)
    return kept


def _clearness(head: Head) -> float:
    return head.drop_errors * (head.last - head.first)


def _in_one_queue(cells: Cells, unusual: Unusual, behind: Head, front: Head, weight: np.ndarray) -> bool:
    """From the one place to the other, farther downstream, the road is queued for most of the time of both."""
    first, last = max(behind.first, front.first), max(min(behind.last, front.last), max(behind.first, front.first) + 1)
    here, gone_m = behind.cell, 0.0
    queued_m = 0.0
    while here != front.cell:
        nexts = cells.after[here]
        if not nexts or gone_m > QUEUE_REACH_M:
            return False
        here = front.cell if front.cell in nexts else max(nexts, key=lambda cell: float(weight[cell]))
        if here != front.cell:
            gone_m += float(cells.length_m[here])
            queued_m += float(cells.length_m[here]) * float(unusual.queued[here, first:last].mean())
    return gone_m <= NEAR_M or queued_m >= 0.5 * gone_m


def _is_full(unusual: Unusual, head: Head) -> bool:
    """The queue reaches up to the end of the head's cell."""
    return bool(unusual.filled[head.cell, head.first : head.last].mean() >= 0.5)
