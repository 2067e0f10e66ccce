"""How far incidents depart from a Poisson process: day by day, and by coming in clusters.

**Daily counts.** X² = Σ_d (n_d − n p_d)² / (n p_d), p_d a day's share of what was seen; X² / (days − 1) is the index of
dispersion, variance / mean where days are alike, 1 for a Poisson process. Its p-value comes from χ² and, since counts
are often small, from multinomial draws given n (exact under the model, up to their number).

**Clusters in space and time.** Knox's test: pairs that are near in both, against the same places with the moments
permuted among them, which keeps where and when incidents are frequent (Knox and Bartlett, *The detection of space-time
interactions*, 1964). Near means at most so far along the road, in the direction of travel either way, on the same day.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2

from scenariogen.network import RoadNetwork

NEAR_M = 1000.0
NEAR_S = 1800.0
DRAWS = 999


@dataclass(frozen=True, kw_only=True)
class Dispersion:
    """Daily counts against a Poisson process.

    ``index``        variance / mean; None where there are fewer than two days or no incident
    ``p_draws``      probability of at least such a spread, from drawn counts
    ``p_chi2``       the same by the chi-square distribution; None where less than one incident a day is expected, since
                     it then calls one Poisson process in ten overdispersed at 5 %
    ``day_shape``    shape of a Gamma multiplier of the day that would explain it; None where counts spread no more
                     than by chance (index at most 1)
    """

    days: int
    incidents: int
    index: float | None = None
    p_draws: float | None = None
    p_chi2: float | None = None
    day_shape: float | None = None


def daily_dispersion(counts: np.ndarray, seen: np.ndarray, *, seed: int) -> Dispersion:
    """Test of daily counts. ``seen`` is what was seen of each day, in any unit; days of which nothing was do not count.

    Days with no incident count like any other.
    """
    counts, seen = counts[seen > 0], seen[seen > 0]
    total, days = int(counts.sum()), len(counts)
    if days < 2 or total == 0:
        return Dispersion(days=days, incidents=total)
    share = seen / seen.sum()
    statistic = _pearson(counts, total * share)
    drawn = np.random.default_rng(seed).multinomial(total, share, size=DRAWS)
    as_far = int((_pearson(drawn, total * share) >= statistic - 1e-9).sum())
    index, mean = statistic / (days - 1), total / days
    return Dispersion(
        days=days,
        incidents=total,
        index=float(index),
        p_draws=(as_far + 1) / (DRAWS + 1),
        p_chi2=float(chi2.sf(statistic, days - 1)) if (total * share).min() >= 1 else None,
        day_shape=float(mean / (index - 1)) if index > 1 else None,
    )


def _pearson(counts: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return ((counts - expected) ** 2 / expected).sum(-1)


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Knox's test: near pairs seen, expected under independence, and the probability of at least as many."""

    near_m: float
    near_s: float
    seen: int
    expected: float
    p: float


def knox(
    table: pd.DataFrame, network: RoadNetwork, *, seed: int, near_m: float = NEAR_M, near_s: float = NEAR_S
) -> Clusters | None:
    """Test for clusters among incidents; None where fewer than two are there.

    ``table``  columns source, day, edge, position_m (nan: the middle of the edge) and start_s. Moments are permuted
               within a source, and pairs are formed within a source.
    """
    if len(table) < 2:
        return None
    source = pd.factorize(table["source"])[0]
    first, second = _near_in_time(table, source, near_s)
    near = _Places(table, network, near_m).near
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(source == number) for number in range(source.max() + 1)]
    order, drawn = np.arange(len(table)), []
    for _ in range(DRAWS):  # places are permuted among the moments, which is the same
        for rows in members:
            order[rows] = generator.permutation(rows)
        drawn.append(int(near(order[first], order[second]).sum()))
    seen = int(near(first, second).sum())
    as_many = sum(number >= seen for number in drawn)
    return Clusters(
        near_m=near_m, near_s=near_s, seen=seen, expected=float(np.mean(drawn)), p=(as_many + 1) / (DRAWS + 1)
    )


def _near_in_time(table: pd.DataFrame, source: np.ndarray, near_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows of one source and day that start less than ``near_s`` apart, each pair once."""
    day, start = table["day"].to_numpy(dtype=int), table["start_s"].to_numpy(dtype=float)
    order = np.lexsort((start, day, source))
    pairs = []
    for step in range(1, len(order)):
        a, b = order[:-step], order[step:]
        keep = (source[a] == source[b]) & (day[a] == day[b]) & (start[b] - start[a] < near_s)
        if not keep.any():
            break
        pairs.append(np.stack([a[keep], b[keep]]))
    first, second = np.concatenate(pairs, axis=1) if pairs else np.zeros((2, 0), dtype=int)
    return first, second


class _Places:
    """Where incidents are, and which of them are near each other along the road."""

    def __init__(self, table: pd.DataFrame, network: RoadNetwork, near_m: float) -> None:
        names, self.edge = np.unique(table["edge"].astype(str), return_inverse=True)
        lengths = np.array([network.edges[name].length_m for name in names])
        said = table["position_m"].to_numpy(dtype=float)
        self.position = np.where(np.isnan(said), lengths[self.edge] / 2, np.minimum(said, lengths[self.edge]))
        self.near_m = near_m
        self.gap = _from_start_to_start(names, network, near_m + 2 * lengths.max())

    def near(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Whether rows ``a`` and ``b`` are at most ``near_m`` apart, one way or the other. Shape of ``a``."""
        here, there, ahead = self.edge[a], self.edge[b], self.position[b] - self.position[a]
        along, back = _ahead(self.gap[here, there] + ahead), _ahead(self.gap[there, here] - ahead)
        return np.where(here == there, np.abs(ahead), np.minimum(along, back)) <= self.near_m


def _ahead(distance: np.ndarray) -> np.ndarray:
    """Distances of what lies ahead; infinite where it does not."""
    return np.where(distance >= 0, distance, np.inf)


def _from_start_to_start(names: np.ndarray, network: RoadNetwork, limit_m: float) -> np.ndarray:
    """Metres from the start of one edge to the start of another along the road, (name, name); infinite if farther."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import dijkstra

    index = network.edge_index
    links = [
        (index[edge.id], index[after], max(edge.length_m, 1e-6))
        for edge in network.edges.values()
        for after in edge.successors
        if after in index
    ]
    sources, targets, metres = np.array(links).T if links else np.zeros((3, 0))
    size = len(index)
    graph = csr_matrix((metres, (sources.astype(int), targets.astype(int))), shape=(size, size))
    rows = [index[name] for name in names]
    return np.asarray(dijkstra(graph, indices=rows, limit=limit_m))[:, rows]
