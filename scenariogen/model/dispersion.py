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
    ``p_chi2``, ``p_draws``  probabilities of at least such a spread
    ``day_shape``    shape of a Gamma multiplier of the day that would explain it; None where counts spread no more
                     than by chance (index at most 1)
    """

    days: int
    incidents: int
    index: float | None = None
    p_chi2: float | None = None
    p_draws: float | None = None
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
        p_chi2=float(chi2.sf(statistic, days - 1)),
        p_draws=(as_far + 1) / (DRAWS + 1),
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
    first, second = _near_in_space(table, network, near_m)
    source = pd.factorize(table["source"])[0]
    together = source[first] == source[second]
    first, second = first[together], second[together]
    day, start = table["day"].to_numpy(dtype=int), table["start_s"].to_numpy(dtype=float)

    def near(order: np.ndarray) -> int:
        a, b = order[first], order[second]
        return int(((day[a] == day[b]) & (np.abs(start[a] - start[b]) < near_s)).sum())

    generator = np.random.default_rng(seed)
    rows = [np.flatnonzero(source == number) for number in range(source.max() + 1)]
    seen, drawn, order = near(np.arange(len(table))), [], np.arange(len(table))
    for _ in range(DRAWS):
        for members in rows:
            order[members] = generator.permutation(members)
        drawn.append(near(order))
    as_many = sum(number >= seen for number in drawn)
    return Clusters(
        near_m=near_m, near_s=near_s, seen=seen, expected=float(np.mean(drawn)), p=(as_many + 1) / (DRAWS + 1)
    )


def _near_in_space(table: pd.DataFrame, network: RoadNetwork, near_m: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows at most ``near_m`` apart along the road, each pair once."""
    names, edge = np.unique(table["edge"].astype(str), return_inverse=True)
    lengths = np.array([network.edges[name].length_m for name in names])
    said = table["position_m"].to_numpy(dtype=float)
    position = np.where(np.isnan(said), lengths[edge] / 2, np.minimum(said, lengths[edge]))
    gap = _from_start_to_start(names, network, near_m + 2 * lengths.max())
    pairs = []
    by_edge = [np.flatnonzero(edge == number) for number in range(len(names))]
    for here, there in zip(*np.nonzero(np.isfinite(gap) | np.isfinite(gap.T)), strict=True):
        if here > there:
            continue
        a, b = (each.ravel() for each in np.meshgrid(by_edge[here], by_edge[there], indexing="ij"))
        along = gap[here, there] + position[b] - position[a]
        back = gap[there, here] + position[a] - position[b]
        apart = np.abs(position[b] - position[a]) if here == there else np.minimum(_ahead(along), _ahead(back))
        keep = (apart <= near_m) & ((here != there) | (a < b))
        pairs.append(np.stack([a[keep], b[keep]]))
    first, second = np.concatenate(pairs, axis=1)
    return first, second


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
