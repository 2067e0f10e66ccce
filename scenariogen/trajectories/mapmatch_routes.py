"""How far is it by road from one edge to another? Shortest ways over the edges, bounded, kept for the next question.

The distance counts from the end of one edge to the start of the other: the edges between, and a straight line across
each junction (the inside of a junction is not in :class:`~scenariogen.network.RoadNetwork`).
"""

import heapq
import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from scenariogen.network import RoadNetwork

SOURCES_AT_A_TIME = 64
LEAST_LIMIT_M = 256.0
MOST_LIMIT_M = 8192.0
"""Ways longer than this between two samples of a vehicle are not looked for: the track breaks there."""
MOST_KEPT = 20_000_000
"""Pairs that are remembered before the memory is cleared (about 240 MB)."""


@dataclass(frozen=True)
class RouteLengths:
    """Bounded shortest ways between the edges of a network, by number on its ``edge`` axis."""

    network: RoadNetwork = field(repr=False)
    _known: dict[int, tuple[float, np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)
    _paths: dict[tuple[int, int], tuple[int, ...] | None] = field(default_factory=dict, repr=False)

    @cached_property
    def lengths_m(self) -> np.ndarray:
        return np.array([edge.length_m for edge in self.network.edges.values()])

    @cached_property
    def steps(self) -> tuple[tuple[tuple[int, float], ...], ...]:
        """For each edge its successors, with metres from its end through the junction to the successor's start."""
        edges, index = list(self.network.edges.values()), self.network.edge_index
        return tuple(
            tuple(
                (index[after], math.dist(edge.shape[-1], self.network.edges[after].shape[0]))
                for after in edge.successors
            )
            for edge in edges
        )

    @cached_property
    def graph(self) -> Any:
        """Sparse matrix: metres from the end of an edge to the end of a successor."""
        from scipy.sparse import csr_matrix

        rows = [(here, after, gap) for here, steps in enumerate(self.steps) for after, gap in steps]
        here, after, gap = (np.array(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
        after = np.asarray(after, dtype=int)
        # A way of no length would vanish from a sparse matrix.
        weight = np.maximum(np.asarray(gap, float) + self.lengths_m[after], 1e-3)
        size = len(self.network.edges)
        return csr_matrix((weight, (here, after)), shape=(size, size))

    def table(self, sources: np.ndarray, limit_m: float) -> "RouteTable":
        """Distances from ``sources`` (edge numbers) to every edge within at least ``limit_m``, as far as
        :data:`MOST_LIMIT_M`."""
        wanted = min(max(LEAST_LIMIT_M, 2.0 ** math.ceil(math.log2(max(limit_m, 1.0)))), MOST_LIMIT_M)
        if sum(len(targets) for _, targets, _ in self._known.values()) > MOST_KEPT:
            self._known.clear()
        self._look_up([s for s in sources.tolist() if s not in self._known or self._known[s][0] < wanted], wanted)
        found = [(source, *self._known[source][1:]) for source in np.sort(sources).tolist()]
        size = len(self.network.edges)
        keys = [source * size + targets for source, targets, _ in found]
        return RouteTable(
            size=size,
            keys=np.concatenate(keys) if keys else np.empty(0, np.int64),
            metres=np.concatenate([metres for *_, metres in found]) if found else np.empty(0),
        )

    def _look_up(self, sources: list[int], limit_m: float) -> None:
        from scipy.sparse.csgraph import dijkstra

        for start in range(0, len(sources), SOURCES_AT_A_TIME):
            part = sources[start : start + SOURCES_AT_A_TIME]
            # The matrix counts to the end of the target, the answer to its start: look one edge further.
            reach = limit_m + float(self.lengths_m.max())
            metres = dijkstra(self.graph, indices=part, limit=reach) - self.lengths_m
            for row, source in enumerate(part):
                targets = np.flatnonzero(metres[row] <= limit_m)
                targets = targets[targets != source]
                self._known[source] = (limit_m, targets.astype(np.int64), np.maximum(metres[row, targets], 0.0))

    def path(self, start: int, end: int) -> tuple[int, ...] | None:
        """The edges of the shortest way, both ends included; None where there is none within
        :data:`MOST_LIMIT_M`."""
        if (start, end) not in self._paths:
            self._paths[start, end] = self._search(start, end)
        return self._paths[start, end]

    def _search(self, start: int, end: int) -> tuple[int, ...] | None:
        if start == end:
            return (start,)
        before: dict[int, int] = {}
        front, best = [(0.0, start, -1)], {start: 0.0}
        while front:
            metres, here, came_from = heapq.heappop(front)
            if here in before or metres > MOST_LIMIT_M:
                continue
            before[here] = came_from
            if here == end:
                way = [end]
                while before[way[-1]] >= 0:
                    way.append(before[way[-1]])
                return tuple(reversed(way))
            for after, gap in self.steps[here]:
                further = metres + gap + (self.lengths_m[after] if after != end else 0.0)
                if further < best.get(after, math.inf):
                    best[after] = further
                    heapq.heappush(front, (further, after, here))
        return None


@dataclass(frozen=True, kw_only=True)
class RouteTable:
    """Distances (m) of pairs of edges: ``keys`` ascending, each source times ``size`` plus target."""

    size: int
    keys: np.ndarray
    metres: np.ndarray

    def between(self, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        """Metres from the end of ``source`` to the start of ``target`` (arrays of one shape), infinite where there is
        no way within the limit, and from an edge to itself."""
        if not len(self.keys):
            return np.full(np.broadcast(source, target).shape, np.inf)
        wanted = source.astype(np.int64) * self.size + target
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, self.metres[place], np.inf)
