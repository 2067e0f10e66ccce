"""Where a road is closed, from the foremost vehicles that were seen standing before it and from who passes ahead.

On a road that nobody passes, though on other days some do, the queue ahead of the foremost vehicle seen holds ``N``
more, one every ``jam spacing`` and lane. They came after the road was closed, at some time since the last passing of
the place, and before the foremost one did. With ``k`` seen and ``m`` unseen vehicles usual between those two, and a
day that has ``f`` times what is usual, a Gamma variable of shape and rate ``a``, the chance of ``N`` and of none seen
is the mean over f of exp(−f k) P(more than N of f m Poisson arrivals) / f: as ∫ Poisson(N; f m t) dt from 0 to 1 is
that probability over f m. For a = 2 it is proportional to (m / (a + k + m))^(N + 1) / (a + k). A passing shortly
before says that the place is near; after a long time without one, each vehicle ahead is one more that was not seen,
a chance of 1 − share. Where several roads ahead are like that, the one that most take on other days is likelier.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scenariogen.incidents.detect_settings import DetectSettings
from scenariogen.incidents.passing import passings

if TYPE_CHECKING:
    from scenariogen.network import RoadNetwork
    from scenariogen.trajectories.tracks import Tracks

STEP_M = 10.0
PASSED = 0.1
"""A road that more than this share of the usual number of vehicles passes is not closed."""
LEAST_USUAL = 2.0
"""Fewer passings than this on other days, and nobody would be missed."""
LEAST_CHANCE = 0.02
"""What is less likely than this to lie so far ahead is not followed any further."""
MOST_UNSEEN = 50.0
"""Of so many vehicles ahead some are seen."""
DAYS_SHAPE = 2.0
"""Days and minutes differ: what is usual is off by a factor, a Gamma variable of this shape and rate."""
LEAST_BETWEEN_S = 15.0
"""Who came to stand within so much time of the last passing may have been held by something else first."""


@dataclass(frozen=True, kw_only=True)
class Front:
    """The foremost vehicle seen standing, since ``begin_s``; ``ahead``: edges on which it drove on."""

    edge: int
    position_m: float
    begin_s: float
    ahead: tuple[int, ...]
    stays: bool


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a road is closed. ``missing``: passings that are usual there during that time."""

    edge: int
    position_m: float
    position_se_m: float
    missing: float


def place_of(
    fronts: list[Front],
    span_s: tuple[float, float],
    tracks: "Tracks",
    usual: "list[Tracks]",
    network: "RoadNetwork",
    settings: DetectSettings,
    *,
    share: float,
) -> Place | None:
    """The likeliest edge and the middle of the places there; none where all roads ahead are passed.

    ``fronts``  foremost vehicles, side by side or on different roads to the same one
    ``span_s``  seconds during which nobody may pass
    """
    look = _Ahead(span_s, tracks, usual, network, settings, share)
    chances = [look.chances(front) for front in fronts]
    chances = [each for each in chances if each]
    if not chances:
        return None
    common = set.intersection(*(set(each) for each in chances)) or set(chances[0])
    weight = {place: float(np.prod([each.get(place, 1.0) for each in chances])) for place in common}
    edges = sorted({edge for edge, _ in weight})
    best = max(edges, key=lambda edge: sum(chance for place, chance in weight.items() if place[0] == edge))
    here = sorted((at_m, chance) for (edge, at_m), chance in weight.items() if edge == best)
    at_m, chance = np.array([item[0] for item in here]), np.array([item[1] for item in here])
    middle = int(np.searchsorted(np.cumsum(chance), chance.sum() / 2))
    position_m = float(at_m[min(middle, len(at_m) - 1)])
    spread_m = np.sqrt(np.average((at_m - np.average(at_m, weights=chance)) ** 2, weights=chance))
    return Place(
        edge=best,
        position_m=position_m,
        position_se_m=float(spread_m) + STEP_M / 2,
        missing=look.counted(best, position_m)[1],
    )


def chance_of(ahead: float, seen: float, unseen: float) -> float:
    """Chance, up to a factor, of so many unseen vehicles ahead and none seen, where ``seen`` and ``unseen`` are usual;
    for :data:`DAYS_SHAPE` = 2."""
    return (unseen / (DAYS_SHAPE + seen + unseen)) ** (ahead + 1.0) / (DAYS_SHAPE + seen)


class _Ahead:
    """The roads ahead, as far as nobody passes them during a span of time."""

    def __init__(
        self,
        span_s: tuple[float, float],
        tracks: "Tracks",
        usual: "list[Tracks]",
        network: "RoadNetwork",
        settings: DetectSettings,
        share: float,
    ) -> None:
        self.span_s, self.tracks, self.usual, self.network = span_s, tracks, usual, network
        self.spacing_m, self.share = settings.jam_spacing_m, share

    def counted(self, edge: int, position_m: float) -> tuple[int, float]:
        """Passings of a place, and what is usual."""
        passed = len(passings(self.tracks, edge, position_m).between(*self.span_s))
        return passed, float(
            np.mean([len(passings(day, edge, position_m).between(*self.span_s)) for day in self.usual])
        )

    def chances(self, front: Front) -> dict[tuple[int, float], float]:
        """Chance of every place ahead of a vehicle that nobody passes, all but their sum."""
        found: dict[tuple[int, float], float] = {}
        todo = [(front.edge, front.position_m, 0.0, 0.0, 1.0)]
        while todo:
            edge, from_m, gone_m, held, taken = todo.pop()
            here = self.network.edges[self.network.edge_ids[edge]]
            lanes = max(1, len(here.driving_lanes))
            count = max(1, round((here.length_m - from_m) / STEP_M))
            step_m = (here.length_m - from_m) / count
            chance = 1.0
            for number in range(count):
                position_m = round(float(from_m + (number + 0.5) * step_m), 1)
                there_m = gone_m + position_m - from_m
                unseen = held + (position_m - from_m) * lanes / self.spacing_m
                passed, expected = self.counted(edge, position_m)
                seen, came = self._came(front, edge, position_m, there_m, expected)
                chance = chance_of(unseen, seen, came)
                if passed <= PASSED * expected and expected >= LEAST_USUAL:
                    found[edge, position_m] = taken * chance * step_m
            if taken > LEAST_CHANCE and unseen < MOST_UNSEEN:
                rest_m = here.length_m - from_m
                further = (gone_m + rest_m, held + rest_m * lanes / self.spacing_m)
                todo += [(number, 0.0, *further, taken * part) for number, part in self._next(edge, front)]
        return found

    def _came(self, front: Front, edge: int, position_m: float, there_m: float, expected: float) -> tuple[float, float]:
        """Seen and unseen vehicles expected between the last passing of a place and the foremost one that was seen."""
        limit_mps = self.network.edges[self.network.edge_ids[edge]].speed_mps
        at_s = front.begin_s + there_m / limit_mps
        times = passings(self.tracks, edge, position_m).time_s
        before = times[times <= at_s]
        since_s = at_s - (float(before[-1]) if len(before) else self.tracks.begin_s)
        seen = max(expected, LEAST_USUAL) / (self.span_s[1] - self.span_s[0]) * max(since_s, LEAST_BETWEEN_S)
        return seen, seen * (1.0 - self.share) / self.share

    def _next(self, edge: int, front: Front) -> list[tuple[int, float]]:
        """The roads after an edge that nobody passes, with the share of each."""
        here = self.network.edges[self.network.edge_ids[edge]]
        open_to = {}
        for name in here.successors:
            number = self.network.edge_index.get(name)
            if number is None or name == here.opposite or number == front.edge:
                continue
            # Where trips end on a road, nobody may ever pass its end.
            length_m = self.network.edges[name].length_m
            for position_m in (length_m - 1.0, length_m / 2):
                passed, expected = self.counted(number, position_m)
                if passed <= PASSED * expected and expected >= LEAST_USUAL:
                    open_to[number] = expected
                    break
        on_way = [number for number in open_to if number in front.ahead]
        if on_way:
            open_to = {on_way[0]: 1.0}
        total = sum(open_to.values())
        return [(number, expected / total) for number, expected in open_to.items()]
