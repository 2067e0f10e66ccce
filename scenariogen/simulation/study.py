"""The study window: a project's files decide it, without simulating, so that every command finds the same."""

import math

import numpy as np

from scenariogen.errors import ProjectError
from scenariogen.simulation.freeflow import VehicleType
from scenariogen.simulation.project import SumoProject
from scenariogen.units import clock_text, duration_text
from scenariogen.window import StudyWindow

HORIZON_S = 5400.0
"""Counting window: published mean durations are 34 to 68 min (HCM 7), so most incidents of its first half end in it."""
WARM_UP_LEAST_S = 300.0
WARM_UP_MOST_S = 1800.0
WARM_UP_ROUNDED_TO_S = 300.0
IDLE_BEGIN_S = 600.0
"""A first departure later than this after the project's begin moves the begin."""
SHORT_BY_S = 60.0
"""Demand that ends at most this long before the window does is not repeated."""


def warm_up_s(project: SumoProject) -> float:
    """95th percentile of the demand's free-flow travel times, rounded up to 5 min, between 5 and 30 min."""
    free_flow, kind = project.free_flow(), VehicleType(step_s=project.step_length_s)
    times = []
    for journey in project.demand.journeys:
        known = journey.is_route and free_flow.knows(journey.edges)
        edges = journey.edges if known else free_flow.path(journey.edges)
        if edges:
            times.append(free_flow.time_s(edges, kind))
    typical = float(np.percentile(times, 95)) if times else 0.0
    rounded = math.ceil(typical / WARM_UP_ROUNDED_TO_S) * WARM_UP_ROUNDED_TO_S
    return min(max(rounded, WARM_UP_LEAST_S), WARM_UP_MOST_S)


def study_window(
    project: SumoProject,
    *,
    horizon_s: float = HORIZON_S,
    start_span_s: float | None = None,
    begin_s: float | None = None,
) -> StudyWindow:
    """When the network is warm, when incidents may start and when counting ends.

    ``horizon_s`` seconds are counted after the warm-up; incidents start in the first ``start_span_s`` of them
    (half of the horizon where it is not given); ``begin_s`` picks another part of a long demand. Raises
    ``ProjectError`` where the arguments leave nothing to study.
    """
    start_span_s = horizon_s / 2 if start_span_s is None else start_span_s
    if not (0 < start_span_s <= horizon_s):
        raise ProjectError(
            f"the counting window is {horizon_s:g} s and incidents start in the first {start_span_s:g} s of it: "
            "expected a positive start span within the window"
        )
    demand, remarks = project.demand, []
    begin = _begin(project, begin_s, remarks)
    warm_up = warm_up_s(project)
    end = begin + warm_up + horizon_s
    copies, period, last = _copies(project, begin, end, remarks)
    _remark_end(project, end, remarks)
    if demand.out_of_order:
        remarks.append(
            f"{demand.out_of_order} vehicles are not sorted by departure in the route files and SUMO drops them"
        )
    if demand.calibrators:
        remarks.append(
            f"calibrators ({demand.calibrators}) add and remove vehicles as SUMO runs: what they cannot add for a "
            "queue is not counted as late, and what they remove counts until the end"
        )
    return StudyWindow(
        begin_s=begin,
        count_from_s=begin + warm_up,
        incidents_until_s=begin + warm_up + start_span_s,
        end_s=end,
        demand_end_s=last,
        demand_copies=copies,
        demand_period_s=period,
        remarks=tuple(remarks),
    )


def _begin(project: SumoProject, asked_s: float | None, remarks: list[str]) -> float:
    demand = project.demand
    if asked_s is not None:
        if not math.isfinite(demand.first_s(asked_s)):
            raise ProjectError(
                f"no vehicle departs at or after second {asked_s:g}; the demand departs from second "
                f"{demand.first_s():g} to {demand.last_s():g}: choose a begin within it"
            )
        return float(asked_s)
    begin = project.begin_s
    first = demand.first_s(begin)
    if not math.isfinite(first):
        if demand.triggered:
            return begin
        raise ProjectError(
            f"the project begins at second {begin:g}, after its last departure at {demand.last_s():g}: "
            "set another begin in its configuration, or pass one"
        )
    if first - begin > IDLE_BEGIN_S:
        moved = math.floor(first / 60) * 60.0
        remarks.append(
            f"the project begins at {clock_text(begin)} but its first vehicle departs at {clock_text(first)}: "
            f"simulated from {clock_text(moved)}"
        )
        return moved
    return begin


def _copies(project: SumoProject, begin: float, end: float, remarks: list[str]) -> tuple[int, float, float]:
    """How often the demand is played, at which period, and its own last departure."""
    demand = project.demand
    first, last = demand.first_s(begin), demand.last_s()
    if not math.isfinite(first) or last < first:
        return 1, 0.0, math.inf if demand.is_endless else end  # flows without an end, or triggered vehicles only
    if last < end - SHORT_BY_S:
        period = max(math.ceil((last - first) / 60) * 60.0, 60.0)
        copies = math.ceil((end - first) / period)
        remarks.append(
            f"the demand lasts {duration_text(max(last - first, 0.0))} and the study {duration_text(end - begin)}: it "
            f"is played {copies} times, every {duration_text(period)}, with new ids"
        )
        return copies, period, last
    total, used = demand.vehicles(begin), demand.vehicles(begin, end)
    if not demand.is_endless and used < 0.5 * total:
        remarks.append(
            f"the demand lasts until {clock_text(last)} and the study uses {clock_text(begin)}-{clock_text(end)} of "
            f"it ({used:,.0f} of {total:,.0f} vehicles; busiest from {clock_text(_busiest(project, end - begin))}): "
            "pass a begin to study another part"
        )
    return 1, 0.0, last


def _busiest(project: SumoProject, length_s: float) -> float:
    """Begin (whole quarter hours) of the stretch of that length with most departures."""
    first, last = project.demand.first_s(project.begin_s), project.demand.last_s()
    starts = np.arange(math.floor(first / 900) * 900.0, max(last - length_s, first) + 900, 900.0)
    return float(max(starts, key=lambda start: project.demand.vehicles(start, start + length_s)))


def _remark_end(project: SumoProject, end: float, remarks: list[str]) -> None:
    last = project.demand.last_s()
    if project.end_s is None:
        remarks.append(f"the project has no end: simulated until {clock_text(end)}")
    elif math.isfinite(last) and project.end_s > last + 2 * HORIZON_S:
        remarks.append(
            f"the project ends at second {project.end_s:,.0f}, {duration_text(project.end_s - last)} after its last "
            f"departure: simulated until {clock_text(end)} instead"
        )
    elif project.end_s != end:
        remarks.append(f"the project ends at {clock_text(project.end_s)}: simulated until {clock_text(end)} instead")
