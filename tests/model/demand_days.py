"""Days of flows by entry drawn from a factor model that is known."""

from dataclasses import dataclass

import numpy as np

from scenariogen.trajectories.entries import EntryFlows


@dataclass(frozen=True)
class KnownDays:
    """``factors`` (day, factor) and ``loadings`` (entry, factor) that ``flows`` were drawn from."""

    flows: EntryFlows
    factors: np.ndarray
    loadings: np.ndarray


def flows_of(counts: np.ndarray) -> EntryFlows:
    """Counts (day, entry) as a record of one cell, each entry its own edge."""
    days, entries = counts.shape
    names = tuple(f"entry{number}" for number in range(entries))
    ways = np.zeros((days, entries, entries))
    ways[:, np.arange(entries), np.arange(entries)] = counts
    return EntryFlows(
        days=tuple(range(days)),
        entries=names,
        cell_edges_s=np.array([0.0, 3600.0]),
        counts=counts[..., None].astype(float),
        edges=names,
        ways=ways,
    )


def known_days(
    days: int,
    *,
    entries: int = 15,
    common: float = 0.2,
    second: float = 0.0,
    psi: float = 0.0,
    effect: np.ndarray | None = None,
    seed: int = 0,
) -> KnownDays:
    """``common`` and ``second`` are the spreads that the two factors give log flows; ``psi`` the variance of each
    entry's own log deviation, ``effect`` (day,) what is added to the common factor."""
    random = np.random.default_rng(seed)
    base = 300 * np.exp(0.5 * random.standard_normal(entries))
    loadings = np.stack([np.ones(entries), second * random.standard_normal(entries)], axis=1)
    factors = np.stack([common * random.standard_normal(days), random.standard_normal(days)], axis=1)
    factors[:, 0] += 0 if effect is None else effect
    own = np.sqrt(psi) * random.standard_normal((days, entries))
    counts = random.poisson(base * np.exp(factors @ loadings.T + own))
    return KnownDays(flows_of(counts), factors, loadings)
