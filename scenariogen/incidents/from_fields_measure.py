"""What an incident did, read off the flow at the head of its queue: start, end, share of capacity left, and phases."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from scenariogen.incidents import capacity
from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.discharge import REFERENCE_ERROR
from scenariogen.incidents.from_fields_cells import Cells
from scenariogen.incidents.from_fields_heads import Head
from scenariogen.incidents.from_fields_place import place_of
from scenariogen.incidents.from_fields_steps import levels, step_to
from scenariogen.incidents.from_fields_usual import Unusual
from scenariogen.incidents.saturation import saturation_veh_h

if TYPE_CHECKING:
    from scenariogen.network import Edge

SEARCH_S = 300.0
"""The step of the flow is looked for so long before and after the queue's head was first and last seen: that is what
averaging over as long may shift it by."""
BUILDS_UP_S = 120.0
"""A queue may be there for so long before it makes the mean speed of its cell slow."""
SETTLING_S = 60.0
LEAST_PHASE_S = 180.0


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A span with one level of discharge: seconds of the day, and the share of capacity with its standard error."""

    begin_s: float
    end_s: float
    capacity_left: float
    capacity_left_se: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An incident as fields show it. Times in seconds of the day, positions in metres from the start of the edge."""

    cell: int
    position_m: float
    position_se_m: float
    begin_s: float
    end_s: float
    is_censored: bool
    capacity_left: float
    capacity_left_se: float
    is_lower_bound: bool
    drop_errors: float
    phases: tuple[Phase, ...] = field(repr=False)

    @property
    def duration_s(self) -> float:
        return self.end_s - self.begin_s


class Left(Protocol):
    """Share of capacity that was left, as it was measured."""

    @property
    def capacity_left(self) -> float: ...

    @property
    def capacity_left_se(self) -> float: ...

    @property
    def is_lower_bound(self) -> bool: ...


def measure(
    cells: Cells, unusual: Unusual, head: Head, day_number: int, limit_s: float, settings: DetectSettings
) -> Measured:
    """The figures of one incident. ``limit_s``: second at which the day's recording ended."""
    place = head.cell if head.into is None else head.into
    seen = cells.flow_veh_h[day_number, place] * cells.share * cells.cell_s / 3600
    begin, end = _span(cells, unusual, head, place, seen, day_number, settings)
    begin_s, end_s = cells.begin_s + begin * cells.cell_s, cells.begin_s + end * cells.cell_s
    is_censored = end_s >= limit_s - 1.5 * cells.cell_s
    end_s = min(end_s, limit_s)
    first = int(np.ceil(begin + SETTLING_S / cells.cell_s))
    last = max(first + 1, int(np.floor(end)))
    queued = unusual.queued[head.cell, first:last]
    counted = np.flatnonzero(queued) + first if queued.any() else np.arange(first, last)
    is_lower_bound = float(queued.sum()) * cells.cell_s < settings.least_queue_s
    where = place_of(cells, unusual, head, day_number, (first, last), counted, settings)
    seen = cells.flow_veh_h[day_number, where.cell] * cells.share * cells.cell_s / 3600
    share, error = _share(cells, where.cell, seen[counted], settings)
    return Measured(
        cell=where.cell,
        position_m=where.position_m,
        position_se_m=where.position_se_m,
        begin_s=begin_s,
        end_s=end_s,
        is_censored=is_censored,
        capacity_left=share,
        capacity_left_se=error,
        is_lower_bound=is_lower_bound,
        drop_errors=head.drop_errors,
        phases=_phases(cells, where.cell, seen, first, last, settings),
    )


def _slow_from(cells: Cells, head: Head, day_number: int, settings: DetectSettings) -> float:
    """First time cell of the queue: from there on to its middle traffic at its head is slow. Less flow before that is
    what another incident lets through, or chance."""
    vehicles = np.nan_to_num(cells.vehicles[day_number, head.cell])
    way_m = np.nan_to_num(cells.flow_veh_h[day_number, head.cell]) * cells.length_m[head.cell] / 3600
    is_fast = way_m > settings.slow_share * cells.limit_mps[head.cell] * np.maximum(vehicles, 1e-9)
    if cells.share < 1:  # the speed of one or two vehicles is not that of traffic
        return 0.0
    fast = np.flatnonzero(is_fast[: (head.first + head.last) // 2])
    return float(fast[-1] + 1) if len(fast) else 0.0


def _span(
    cells: Cells,
    unusual: Unusual,
    head: Head,
    place: int,
    seen: np.ndarray,
    day_number: int,
    settings: DetectSettings,
) -> tuple[float, float]:
    """First and last time cell, with fractions: where the flow goes down to what passed during the queue, and where it
    leaves it again."""
    quarter = (head.last - head.first) // 4
    core = seen[head.first + quarter : head.last - quarter]
    during = float(np.nanmean(core)) if np.isfinite(core).any() else 0.0
    usual = unusual.usual_veh_h[place] * cells.share * cells.cell_s / 3600
    reach, middle = round(SEARCH_S / cells.cell_s), (head.first + head.last) // 2
    low = max(0, head.first - reach)
    own = seen[low : max(low + 1, head.first - reach // 2)]
    before = np.maximum(usual[low:middle], float(np.nan_to_num(own).mean()))
    begin = low + step_to(seen[low:middle], before=before, after=during)
    begin = max(begin, min(_slow_from(cells, head, day_number, settings) - BUILDS_UP_S / cells.cell_s, head.first))
    high = min(len(seen), head.last + reach)
    high = middle + int(np.isfinite(seen[middle:high]).sum())
    later = np.maximum(usual[middle:high], 1.5 * during + 1.0)[::-1]
    end = high - step_to(seen[middle:high][::-1], before=later, after=during)
    return begin, max(end, begin + 1.0)


def _share(cells: Cells, cell: int, seen: np.ndarray, settings: DetectSettings) -> tuple[float, float]:
    """Share of the saturation discharge and its standard error, from vehicles seen in each time cell.

    The count's error is from the spread between cells, and never below that of one vehicle nor of a Poisson count of
    the vehicles that were sampled out of all.
    """
    reference = saturation_veh_h(float(cells.limit_mps[cell]), settings) * int(cells.lanes[cell])
    total, size = float(np.nansum(seen)), int(np.isfinite(seen).sum())
    hours = max(size, 1) * cells.cell_s / 3600
    flow = total / cells.share / hours
    spread = float(np.nanstd(seen, ddof=1)) * np.sqrt(size) if size > 1 else total
    # A queue's discharge is more regular than chance (a third of a Poisson count's error); which of it was seen is not.
    least = max(1.0, np.sqrt(total) * np.sqrt(1.0 - cells.share + cells.share / 9))
    error = max(spread, least) / cells.share / hours
    share = flow / reference
    return min(1.0, share), float(np.hypot(error / reference, share * REFERENCE_ERROR))


def _phases(
    cells: Cells, cell: int, seen: np.ndarray, first: int, last: int, settings: DetectSettings
) -> tuple[Phase, ...]:
    """Spans of constant discharge from start to end: where lanes are reopened one by one, it rises step by step."""
    parts = levels(seen[first:last], least=max(2, round(LEAST_PHASE_S / cells.cell_s)))
    found = []
    for low, high in parts:
        share, error = _share(cells, cell, seen[first + low : first + high], settings)
        found.append(
            Phase(
                begin_s=cells.begin_s + (first + low) * cells.cell_s,
                end_s=cells.begin_s + (first + high) * cells.cell_s,
                capacity_left=share,
                capacity_left_se=error,
            )
        )
    return tuple(found)


def blocked_lanes(edge: "Edge", measured: Left) -> dict[int, float]:
    """Probability of each number of blocked lanes, from the share of capacity that was left.

    A number of lanes leaves a share somewhere in the range that :func:`scenariogen.incidents.capacity.reachable`
    gives, each value in it as likely as another; numbers of lanes are equally likely beforehand.
    """
    from scipy.special import ndtr

    lanes = len(edge.driving_lanes)
    error = max(measured.capacity_left_se, 0.02)
    odds = {}
    for count in range(lanes + 1):
        if count == lanes == 1:
            low, high = 0.0, DetectSettings().squeezed_share
        elif count == lanes:
            low, high = 0.0, 0.0
        else:
            low, high = capacity.reachable(edge.road_class, lanes, count, inner=False)
        high = max(high, low + 0.02)
        if measured.is_lower_bound:  # at least so much was left
            odds[count] = float(1.0 - ndtr((measured.capacity_left - high) / error))
        else:
            inside = ndtr((high - measured.capacity_left) / error) - ndtr((low - measured.capacity_left) / error)
            odds[count] = float(inside / (high - low))
    total = sum(odds.values())
    if total <= 0:
        return {count: 1.0 / len(odds) for count in odds}
    return {count: value / total for count, value in odds.items()}
