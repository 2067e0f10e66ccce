"""Where a road is closed, from the foremost vehicles that were seen standing before it and from who passes ahead.

Of the vehicles in a standing queue, one every ``jam spacing`` and lane, each was seen with probability ``share``. So
the head of the queue lies ahead of the foremost one that was seen by a distance that is exponential, with a rate of
``share · lanes / jam spacing`` a metre, on a road that nobody passes though on other days some do. Where several roads
ahead are like that, the one that most take on other days is likelier.
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


@dataclass(frozen=True, kw_only=True)
class Front:
    """The foremost vehicle seen standing; ``ahead``: edges on which it drove on."""

    edge: int
    position_m: float
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
    look = _Ahead(span_s, tracks, usual, network, settings.jam_spacing_m / share)
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


class _Ahead:
    """The roads ahead, as far as nobody passes them during a span of time."""

    def __init__(self, span_s: tuple[float, float], tracks, usual, network: "RoadNetwork", spacing_m: float) -> None:
        self.span_s, self.tracks, self.usual, self.network = span_s, tracks, usual, network
        self.spacing_m = spacing_m
        """Metres of lane between two vehicles that were seen."""

    def counted(self, edge: int, position_m: float) -> tuple[int, float]:
        """Passings of a place, and what is usual."""
        passed = len(passings(self.tracks, edge, position_m).between(*self.span_s))
        return passed, float(
            np.mean([len(passings(day, edge, position_m).between(*self.span_s)) for day in self.usual])
        )

    def chances(self, front: Front) -> dict[tuple[int, float], float]:
        """Chance of every place ahead of a vehicle that nobody passes."""
        found: dict[tuple[int, float], float] = {}
        todo = [(front.edge, front.position_m, 1.0)]
        while todo:
            edge, from_m, chance = todo.pop()
            here = self.network.edges[self.network.edge_ids[edge]]
            scale_m = self.spacing_m / max(1, len(here.driving_lanes))
            count = max(1, round((here.length_m - from_m) / STEP_M))
            cuts = from_m + np.arange(count + 1) * (here.length_m - from_m) / count
            left = chance * np.exp(-(cuts - from_m) / scale_m)
            for low, high, part in zip(cuts[:-1], cuts[1:], -np.diff(left), strict=True):
                position_m = round(float(low + high) / 2, 1)
                passed, expected = self.counted(edge, position_m)
                if passed <= PASSED * expected and expected >= LEAST_USUAL:
                    found[edge, position_m] = float(part)
            if left[-1] > LEAST_CHANCE:
                todo += [(*item, float(left[-1]) * share) for item, share in self._next(edge, front)]
        return found

    def _next(self, edge: int, front: Front) -> list[tuple[tuple[int, float], float]]:
        """Starts of the roads after an edge that nobody passes, with the share of each."""
        here = self.network.edges[self.network.edge_ids[edge]]
        open_to = {}
        for name in here.successors:
            number = self.network.edge_index.get(name)
            if number is None or name == here.opposite or number == front.edge:
                continue
            passed, expected = self.counted(number, self.network.edges[name].length_m - 1.0)
            if passed <= PASSED * expected and expected >= LEAST_USUAL:
                open_to[number] = expected
        on_way = [number for number in open_to if number in front.ahead]
        if on_way:
            open_to = {on_way[0]: 1.0}
        total = sum(open_to.values())
        return [((number, 0.0), expected / total) for number, expected in open_to.items()]
