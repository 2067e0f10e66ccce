"""From vehicles that stand without a reason to places on the road: lanes, kind, and what traffic does there."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.passing import Passings, passings
from scenariogen.incidents.records import IncidentKind
from scenariogen.incidents.saturation import saturation_veh_h
from scenariogen.incidents.standing import Ends, Stands, covered_s, longest_wait_s, waited_for_lane
from scenariogen.network import Edge, RoadNetwork
from scenariogen.trajectories.tracks import Tracks

PAST_M = 1.0
"""Passings are counted so far past the front of the blockage."""
LEAST_THROUGH = 2
USED_SHARE = 0.25
"""A lane with fewer passings past the spot, or less than this share of a mean lane's, is blocked."""
MOVING_S = 120.0
"""Near the end of an edge with several lanes, a standing vehicle that nobody passes in most spans of this length
(more than a signal cycle) stands in gridlock."""
LEAST_WAITS = 3
MANY_TIMES = 4.0
"""At a stop line, so many others must have waited at other times, and so many times shorter than who stands there."""
LEAST_PASSINGS = 5
"""Fewer passings say nothing about how fast people pass."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Blockage:
    """One place that is obstructed for a while.

    ``edge``        number of the edge
    ``stands``      numbers of the stands of the vehicles that stand there, company behind them included
    ``lanes``       lanes that are blocked; empty where the vehicle stands at the roadside
    ``past``        passings of the whole day past the spot, on driving lanes, without those vehicles
    ``slowdown``    passing speed during the blockage over that of other times; not a number where unknown
    ``near_end``    at a place where drivers also wait for lights, gaps and lanes
    ``drives_on``   its vehicles were seen moving afterwards
    ``is_closed``   nobody passes on the lanes of the vehicles that stand there
    """

    edge: int
    position_m: float
    begin_s: float
    end_s: float
    is_censored: bool
    kind: IncidentKind
    lanes: tuple[int, ...]
    stands: tuple[int, ...]
    vehicles: frozenset[int]
    past: Passings = field(repr=False)
    slowdown: float
    near_end: bool
    drives_on: bool
    is_closed: bool

    @property
    def duration_s(self) -> float:
        return self.end_s - self.begin_s


def blockages(
    tracks: Tracks,
    network: RoadNetwork,
    stands: Stands,
    heads: np.ndarray,
    ends: Ends,
    settings: DetectSettings,
) -> list[Blockage]:
    """Incidents among the heads of standing queues.

    Left out are drivers who wait at a stop line (red light, yielding, a full exit), for another lane near the end of
    an edge (they drive on along another lane), on account of an incident close by, or in gridlock (nobody moves
    around them), and vehicles at the roadside that nobody slows down for (parked).
    """
    found = []
    for group in _groups(stands, heads, settings):
        edge = int(stands.edge[group[0]])
        near_end = any(ends.is_near(edge, float(stands.position_m[number]), settings) for number in group)
        if near_end:
            group = [number for number in group if not waited_for_lane(tracks, stands, number, ends, settings)]
        if not group:
            continue
        candidate = _blockage(tracks, network, stands, group, near_end, settings)
        at_line = ends.is_at_line(edge, float(stands.position_m[group].max()), settings)
        if at_line and _waits_at_line(network, candidate, stands, group, bool(ends.signal[edge]), settings):
            continue
        if not _is_gridlock(network, candidate, stands) and not _is_parked(candidate, settings):
            found.append(candidate)
    return [candidate for candidate in found if not _is_released(candidate, found, settings)]


def _groups(stands: Stands, heads: np.ndarray, settings: DetectSettings) -> Iterable[list[int]]:
    """Heads on one edge that began together and close to each other, on the same or on adjacent lanes."""
    left = list(heads)
    while left:
        group = [left.pop(0)]
        grown = True
        while grown:
            near = [other for other in left if any(_together(stands, one, other, settings) for one in group)]
            group += near
            left = [other for other in left if other not in near]
            grown = bool(near)
        yield [int(number) for number in group]


def _together(stands: Stands, one: int, other: int, settings: DetectSettings) -> bool:
    stay = not stands.drives_on[one] and not stands.drives_on[other]
    gone_together = stay and abs(stands.end_s[one] - stands.end_s[other]) <= settings.same_start_s
    within_m = settings.same_scene_m if gone_together else settings.same_place_m
    return (
        stands.edge[one] == stands.edge[other]
        and abs(int(stands.lane[one]) - int(stands.lane[other])) <= 1
        and abs(stands.begin_s[one] - stands.begin_s[other]) <= settings.same_start_s
        and abs(stands.position_m[one] - stands.position_m[other]) <= within_m
    )


def _blockage(
    tracks: Tracks, network: RoadNetwork, stands: Stands, group: list[int], near_end: bool, settings: DetectSettings
) -> Blockage:
    edge_number = int(stands.edge[group[0]])
    edge = network.edges[network.edge_ids[edge_number]]
    begin_s = float(stands.begin_s[group].min())
    end_s = float(stands.end_s[group].max())
    company = _company(stands, group, settings)
    members = frozenset(int(vehicle) for vehicle in stands.vehicle[[*group, *company]])
    span_s = (begin_s + tracks.period_s, end_s - 2 * tracks.period_s)
    past = _past(tracks, edge_number, edge, float(stands.position_m[group].max()), members)
    during = past.between(*span_s)
    slowdown = _slowdown(past, during, begin_s, end_s, edge.speed_mps)
    blocked = []
    for lane in sorted({int(lane) for lane in stands.lane[group]}):
        on_lane = [number for number in group if stands.lane[number] == lane]
        at_m = max(float(stands.position_m[number]) for number in on_lane)
        # Lanes may be reopened one by one: each is looked at for as long as something stands on it.
        until_s = min(span_s[1], float(stands.end_s[on_lane].max()) - 2 * tracks.period_s)
        if _is_closed(_past(tracks, edge_number, edge, at_m, members).between(span_s[0], until_s), lane, edge):
            blocked.append(lane)
    if blocked:  # a lane between two closed ones, with a vehicle standing in it, is closed as well
        blocked = [lane for lane in edge.driving_lanes if blocked[0] <= lane <= blocked[-1]]
    is_closed = bool(blocked)
    if len(edge.driving_lanes) == 1 and not blocked and _is_squeezed(during, edge, settings):
        blocked = list(edge.driving_lanes)
    if len(blocked) == len(edge.driving_lanes) >= 2 and len(during) >= LEAST_PASSINGS:
        # Vehicles that stand staggered leave a way around: past the last of them some lane is in use.
        outer = (blocked[0], blocked[-1])
        blocked.remove(max(outer, key=lambda lane: int((np.maximum(during.lane, during.lane_after) == lane).sum())))
    return Blockage(
        edge=edge_number,
        position_m=float(np.mean(stands.position_m[group])),
        begin_s=begin_s,
        end_s=end_s,
        is_censored=end_s >= tracks.end_s - 1.5 * tracks.period_s,
        kind=IncidentKind.CRASH if len(members) >= 2 else IncidentKind.BREAKDOWN,
        lanes=tuple(blocked),
        stands=(*group, *company),
        vehicles=members,
        past=past,
        slowdown=slowdown,
        near_end=near_end,
        drives_on=bool(stands.drives_on[group].all()),
        is_closed=is_closed,
    )


def _company(stands: Stands, group: list[int], settings: DetectSettings) -> list[int]:
    """Further vehicles of a crash: close behind a head, there from the beginning, and gone with it.

    A driver queued behind stops later or, in dense traffic, as soon, but drives on when the road is free.
    """
    part = stands.on_edge(int(stands.edge[group[0]]))
    numbers = np.arange(part.start, part.stop)
    company: set[int] = set()
    for head in group:
        behind_m = stands.position_m[head] - stands.position_m[part]
        same = (
            (stands.lane[part] == stands.lane[head])
            & (behind_m > 0)
            & (behind_m <= settings.behind_m)
            & (np.abs(stands.begin_s[part] - stands.begin_s[head]) <= settings.same_start_s)
            & (np.abs(stands.end_s[part] - stands.end_s[head]) <= settings.same_start_s)
            & ~stands.drives_on[part]
        )
        if not stands.drives_on[head]:
            company |= {int(number) for number in numbers[same]}
    return sorted(company - set(group))


def _slowdown(past: Passings, during: Passings, begin_s: float, end_s: float, limit_mps: float) -> float:
    """Median passing speed during the blockage over that at other times, or over the limit where nobody passed."""
    if len(during) < LEAST_PASSINGS:
        return float("nan")
    other = past.where((past.time_s < begin_s) | (past.time_s > end_s + (end_s - begin_s) / 2))
    usual_mps = float(np.median(other.speed_mps)) if len(other) >= LEAST_PASSINGS else limit_mps
    return float(np.median(during.speed_mps)) / max(usual_mps, 0.1)


def _past(tracks: Tracks, number: int, edge: Edge, at_m: float, members: frozenset[int]) -> Passings:
    """Everybody else who passes just beyond a standing vehicle on driving lanes."""
    past = passings(tracks, number, min(at_m + PAST_M, edge.length_m - 0.05))
    drives = np.isin(past.lane, edge.driving_lanes) | np.isin(past.lane_after, edge.driving_lanes)
    return past.where(drives & ~np.isin(past.vehicle, list(members)))


def _is_closed(during: Passings, lane: int, edge: Edge) -> bool:
    """Next to nobody drives past the vehicle along its lane: it stands in the lane, not at the roadside."""
    through = during.where((during.lane == during.lane_after) | (during.lane < 0) | (during.lane_after < 0))
    on_lane = int((np.maximum(through.lane, through.lane_after) == lane).sum())
    return on_lane < max(LEAST_THROUGH, USED_SHARE * len(through) / len(edge.driving_lanes))


def _is_squeezed(during: Passings, edge: Edge, settings: DetectSettings) -> bool:
    """People pass on the only lane so slowly that it counts as obstructed, not the shoulder."""
    passing_mps = float(np.median(during.speed_mps))
    share = saturation_veh_h(passing_mps, settings) / saturation_veh_h(edge.speed_mps, settings)
    return share < settings.squeezed_share


def _waits_at_line(
    network: RoadNetwork, candidate: Blockage, stands: Stands, group: list[int], signal: bool, settings: DetectSettings
) -> bool:
    """At a stop line, three things tell an incident from waiting, a free road ahead given: others pass on the same lane
    (it stands beside it); lanes next to it go on through many cycles of a signal; or it stood many times longer than
    anybody else ever waited there, and at a line without a signal was taken away rather than drove on."""
    if not candidate.is_closed:
        return False
    if candidate.duration_s < settings.least_standing_at_line_s:
        return True
    edge = network.edges[network.edge_ids[candidate.edge]]
    if signal and len(candidate.lanes) < len(edge.driving_lanes):
        return False
    head = max(group, key=lambda number: float(stands.position_m[number]))
    usual_s = longest_wait_s(stands, head, least=LEAST_WAITS)
    is_over = not candidate.is_censored and (signal or not candidate.drives_on)
    return not (is_over and candidate.duration_s >= MANY_TIMES * usual_s)


def _is_gridlock(network: RoadNetwork, candidate: Blockage, stands: Stands) -> bool:
    """Lanes beside a standing vehicle are open, but for most of the time nobody passes it though others wait to.

    Near the end of an edge it is not asked whether others wait: there, one may stand for the other.
    """
    edge = network.edges[network.edge_ids[candidate.edge]]
    held = {int(stands.lane[number]) for number in candidate.stands}
    if held >= set(edge.driving_lanes):
        return False
    spans = max(1, int(candidate.duration_s / MOVING_S))
    during = candidate.past.between(candidate.begin_s, candidate.end_s)
    moving = np.histogram(during.time_s, bins=spans, range=(candidate.begin_s, candidate.end_s))[0] > 0
    if moving.mean() >= 0.5:
        return False
    part = stands.on_edge(candidate.edge)
    wait = ~np.isin(stands.lane[part], list(held)) & np.isin(stands.lane[part], edge.driving_lanes)
    wait &= (stands.position_m[part] < candidate.position_m) & (stands.duration_s[part] >= MOVING_S)
    waited_s = covered_s(stands.begin_s[part][wait], stands.end_s[part][wait], candidate.begin_s, candidate.end_s)
    return candidate.near_end or waited_s > candidate.duration_s / 2


def _is_released(candidate: Blockage, others: list[Blockage], settings: DetectSettings) -> bool:
    """A driver who came to stand after somebody else did, close by, and drove on while that one still stood, along
    another lane, or as soon as it was gone."""
    return candidate.drives_on and any(
        other.edge == candidate.edge
        and other.begin_s < candidate.begin_s < other.end_s
        and abs(other.position_m - candidate.position_m) <= settings.same_place_m
        and candidate.end_s - other.end_s <= MOVING_S
        for other in others
    )


def _is_parked(candidate: Blockage, settings: DetectSettings) -> bool:
    """At the roadside, and people pass as fast as always: nothing that traffic would know of."""
    return not candidate.lanes and not candidate.slowdown < settings.slower_passing
