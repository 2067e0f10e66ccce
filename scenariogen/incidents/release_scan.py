"""Places at which nearly everybody is released for a while, and hardly anybody is on other days.

Whoever passes a place was released there or not. Usual is the share that was released on other days, about the same
time of the day. For every place the span of passings is sought that makes ``EVERYBODY`` likeliest against the usual
share: the maximum of a sum of log-likelihood ratios, one per passing (Page, 1954, *Continuous inspection schemes*;
Kulldorff, 1997, *A spatial scan statistic*). By Wald's inequality such a sum exceeds ``h`` by chance from a given
passing on with a probability of at most exp(−h); the threshold divides :data:`FALSE_ALARMS` a day by all passings.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.releases import Releases, find_releases

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork
    from scenariogen.trajectories.tracks import Tracks

STEP_M = 10.0
REACH_M = 25.0
"""Released so far from a place is released there."""
EVERYBODY = 0.9
"""Share of those who pass an incident that is released there; the rest was never as slow, or not as fast again."""
LEAST_RELEASED = 4
LEAST_SHARE, MOST_USUAL = 0.7, 0.2
"""Released are most of those who pass, and on other days few: where a queue stands now and then, its days differ."""
FALSE_ALARMS = 0.01
"""Findings by chance that are put up with in a day, all places taken together."""
LEAST_PASSED = 0.15
"""Where fewer than this share of the usual number pass, the road is closed, here or elsewhere, for nearly everybody."""
SLACK_S = 60.0
"""Somebody is released so long before or after passing the middle of the place."""
PRIOR = 10.0
"""What is usual anywhere weighs as much as so many passings."""
ABOUT_S = 900.0
NEARBY = 5.0
"""The usual share within so much time of a passing counts beside that of the whole day, which weighs as much as so
many passings."""


@dataclass(frozen=True, kw_only=True)
class ReleasePlace:
    """One place at which nearly everybody who passed was released.

    ``position_m``        middle of the points of release, a few metres past the end of the queue
    ``begin_s, end_s``    first and last passing of those released
    ``before_s, after_s`` last passing before and first one after them, or the begin and end of the recording
    ``expected``          passings in that time on other days
    ``llr``               log-likelihood ratio
    """

    edge: int
    position_m: float
    begin_s: float
    end_s: float
    before_s: float
    after_s: float
    passed: int
    released: int
    expected: float
    usual: float
    llr: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Crossings:
    """Passings of several places of one edge, in order of place and time."""

    place: np.ndarray
    time_s: np.ndarray
    vehicle: np.ndarray
    released: np.ndarray

    def at(self, place: int) -> tuple[np.ndarray, np.ndarray]:
        """Seconds of those who pass one place, and whether they were released there."""
        low, high = np.searchsorted(self.place, [place, place + 1])
        return self.time_s[low:high], self.released[low:high]


def release_places(
    tracks: "Tracks", usual: "list[Tracks]", network: "RoadNetwork", settings: DetectSettings
) -> list[ReleasePlace]:
    """Places and times of one day at which nearly everybody was released, against other days; strongest first, places
    that lie within ``REACH_M`` of each other once. None without another day."""
    if not usual:
        return []
    days = [(day, find_releases(day, network)) for day in (tracks, *usual)]
    found, edges = [], {}
    for edge in np.unique(days[0][1].edge):
        around = [_around(day[1], int(edge), network) for day in days]
        places_m = _candidates(around[0], network.edges[network.edge_ids[int(edge)]].length_m)
        if len(places_m):
            crossed = [crossings(day, near, int(edge), places_m) for (day, _), near in zip(days, around, strict=True)]
            edges[int(edge)] = (places_m, crossed, around[0])
    total = sum(len(item[1][0].place) for item in edges.values())
    seen = sum(len(day.place) for item in edges.values() for day in item[1][1:])
    anywhere = sum(int(day.released.sum()) for item in edges.values() for day in item[1][1:]) / max(seen, 1)
    least = np.log(max(total, 1) / FALSE_ALARMS)
    for edge, (places_m, (own, *others), around) in edges.items():
        here: list[ReleasePlace] = []
        for place in range(len(places_m)):
            here += _spans(own, others, place, edge, anywhere, least, around, float(places_m[place]), tracks)
        here = [one for one in here if one.end_s - one.begin_s >= settings.least_field_s]
        found += _each_once(here)
    return sorted(found, key=lambda one: -one.llr)


def _around(releases: Releases, edge: int, network: "RoadNetwork") -> Releases:
    """The releases on an edge and :data:`REACH_M` before and past it, with positions from its start: below 0 on the
    edges before."""
    here = network.edges[network.edge_ids[edge]]
    parts = [(releases.on_edge(edge), 0.0)]
    for name in here.predecessors:
        parts.append((releases.on_edge(network.edge_index[name]), -network.edges[name].length_m))
    for name in here.successors:
        parts.append((releases.on_edge(network.edge_index[name]), here.length_m))
    position_m = np.concatenate([releases.position_m[part] + shift_m for part, shift_m in parts])
    vehicle, time_s = (
        np.concatenate([array[part] for part, _ in parts]) for array in (releases.vehicle, releases.time_s)
    )
    near = (position_m >= -REACH_M) & (position_m <= here.length_m + REACH_M)
    return Releases(
        vehicle=vehicle[near],
        edge=np.full(int(near.sum()), edge),
        position_m=position_m[near],
        time_s=time_s[near],
    )


def _candidates(around: Releases, length_m: float) -> np.ndarray:
    """Places on an edge with enough releases around."""
    at_m = np.sort(around.position_m)
    places_m = np.arange(STEP_M / 2, max(length_m, STEP_M), STEP_M)
    count = np.searchsorted(at_m, places_m + REACH_M, side="right") - np.searchsorted(at_m, places_m - REACH_M)
    return np.minimum(places_m[count >= LEAST_RELEASED], length_m)


def crossings(tracks: "Tracks", around: Releases, edge: int, places_m: np.ndarray) -> Crossings:
    """Who passes each place of an edge, when, and whether released within :data:`REACH_M` of it."""
    rows = tracks.on_edge(edge)
    begin_m, end_m = tracks.position_m[rows].astype(float), np.full(len(rows), np.inf)
    begin_s, end_s = tracks.time_s[rows].astype(float), tracks.time_s[rows].astype(float) + tracks.period_s
    after = np.minimum(rows + 1, len(tracks.edge) - 1)
    joined = (after > rows) & tracks.follows[after]
    stays = joined & (tracks.edge[after] == edge)
    end_m[stays], end_s[stays] = tracks.position_m[after[stays]], tracks.time_s[after[stays]]
    end_m[~joined] = begin_m[~joined]  # seen no more: it passed nothing
    entered = tracks.follows[rows] & (tracks.edge[rows - 1] != edge)
    begin_m = np.r_[begin_m, np.zeros(int(entered.sum()))]
    end_m = np.r_[end_m, tracks.position_m[rows[entered]]]
    begin_s = np.r_[begin_s, tracks.time_s[rows[entered] - 1]]
    end_s = np.r_[end_s, tracks.time_s[rows[entered]]]
    rows = np.r_[rows, rows[entered]]
    first, last = np.searchsorted(places_m, begin_m, side="right"), np.searchsorted(places_m, end_m, side="right")
    many = np.maximum(last - first, 0)
    source = np.repeat(np.arange(len(rows)), many)
    place = np.repeat(first, many) + np.arange(len(source)) - np.repeat(np.cumsum(many) - many, many)
    way_m = np.where(np.isfinite(end_m), end_m - begin_m, tracks.speed_mps[rows] * tracks.period_s)[source]
    share = np.clip((places_m[place] - begin_m[source]) / np.maximum(way_m, 0.1), 0.0, 1.0)
    time_s = begin_s[source] + share * (end_s - begin_s)[source]
    vehicle = tracks.vehicle[rows[source]]
    near, which = np.nonzero(np.abs(places_m[:, None] - around.position_m[None, :]) <= REACH_M)
    keys = np.unique(near.astype(np.int64) * (1 << 32) + around.vehicle[which])
    released = np.isin(place.astype(np.int64) * (1 << 32) + vehicle, keys)
    order = np.lexsort((time_s, place))
    return Crossings(place=place[order], time_s=time_s[order], vehicle=vehicle[order], released=released[order])


def _spans(own, others, place, edge, anywhere, least, around, at_m, tracks) -> list[ReleasePlace]:
    """Spans of time in which nearly everybody was released at one place."""
    time_s, released = own.at(place)
    usual_days = [day.at(place) for day in others]
    usual = usual_share(usual_days, time_s, anywhere)
    gain = np.where(released, np.log(EVERYBODY / usual), np.log((1 - EVERYBODY) / (1 - usual)))
    found = []
    for low, high in positive_spans(gain, least):
        count = int(released[low:high].sum())
        if count < LEAST_RELEASED or count < LEAST_SHARE * (high - low) or usual[low:high].mean() > MOST_USUAL:
            continue
        begin_s, end_s = float(time_s[low]), float(time_s[high - 1])
        expected = np.mean([np.count_nonzero((times >= begin_s) & (times <= end_s)) for times, _ in usual_days])
        if high - low < LEAST_PASSED * expected:
            continue
        inside = np.abs(around.position_m - at_m) <= REACH_M
        inside &= (around.time_s >= begin_s - SLACK_S) & (around.time_s <= end_s + SLACK_S)
        found.append(
            ReleasePlace(
                edge=edge,
                position_m=float(np.median(around.position_m[inside])) if inside.any() else at_m,
                begin_s=begin_s,
                end_s=end_s,
                before_s=float(time_s[low - 1]) if low else tracks.begin_s,
                after_s=float(time_s[high]) if high < len(time_s) else tracks.end_s,
                passed=high - low,
                released=count,
                expected=float(expected),
                usual=float(usual[low:high].mean()),
                llr=float(gain[low:high].sum()),
            )
        )
    return found


def usual_share(days: list[tuple[np.ndarray, np.ndarray]], time_s: np.ndarray, anywhere: float) -> np.ndarray:
    """Share of those passing a place that is released there on other days, at given seconds of the day: that of the
    whole day or, where it is higher, that of the time about it."""
    times = np.concatenate([times for times, _ in days])
    order = np.argsort(times, kind="stable")
    times, released = times[order], np.concatenate([flags for _, flags in days])[order]
    pooled = (released.sum() + PRIOR * anywhere) / (len(times) + PRIOR)
    sums = np.r_[0, np.cumsum(released)]
    low, high = np.searchsorted(times, time_s - ABOUT_S), np.searchsorted(times, time_s + ABOUT_S)
    nearby = (sums[high] - sums[low] + NEARBY * pooled) / (high - low + NEARBY)
    return np.clip(np.maximum(pooled, nearby), 1e-4, 0.999)


def positive_spans(gain: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Begin and end (one past) of disjoint spans with the largest sums of at least ``least``, strongest first.

    >>> positive_spans(np.array([-1.0, 2.0, -0.5, 2.0, -4.0, 3.0]), 2.5)
    [(1, 4), (5, 6)]
    """
    found: list[tuple[int, int]] = []
    pending = [(0, len(gain))]
    while pending:
        first, last = pending.pop()
        if first >= last:
            continue
        total = np.r_[0.0, np.cumsum(gain[first:last])]
        rise = total - np.minimum.accumulate(total)
        end = int(np.argmax(rise))
        if rise[end] < least:
            continue
        begin = int(np.argmin(total[: end + 1]))
        found.append((first + begin, first + end))
        pending += [(first, first + begin), (first + end, last)]
    return sorted(found, key=lambda span: -float(gain[span[0] : span[1]].sum()))


def _each_once(found: list[ReleasePlace]) -> list[ReleasePlace]:
    """Of neighbouring places at overlapping times the strongest."""
    kept: list[ReleasePlace] = []
    for one in sorted(found, key=lambda one: -one.llr):
        if not any(
            abs(one.position_m - other.position_m) <= 2 * REACH_M
            and min(one.end_s, other.end_s) > max(one.begin_s, other.begin_s)
            for other in kept
        ):
            kept.append(one)
    return kept
