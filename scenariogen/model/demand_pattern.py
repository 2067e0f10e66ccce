"""The day-to-day pattern of demand: a handful of factors that all entries follow, each in its own way.

On a day with the factors f the demand at entry j is scaled by

    s_j = exp(Σ_k loading_jk · f_k),

the network's by the mean of the s_j weighted with each entry's share of the flow. At scale 1 an entry has the flow of
a mean day. Beyond the factors each entry may have a deviation of its own, lognormal with mean 1 and independent of all
others: it moves the vehicles of that entry, not the scale of the network, which follows the factors alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scenariogen.errors import ModelError, Problems
from scenariogen.model.demand_density import MOST_FACTORS, FactorDensity, density_from_plain
from scenariogen.model.gauss_rule import gauss_rule

GAUSS_NODES = 40


@dataclass(frozen=True, kw_only=True, eq=False)
class DemandPattern:
    """Factors, loadings and the density of the factors.

    ``entries``   edge ids; ``*`` stands for all others
    ``shares``    share of the flow of a mean day, (entry,), summing to 1
    ``loadings``  (entry, factor)
    ``density``   of the factors given the kind of day
    ``rest_spread``  standard deviation of the log of an entry's own deviation; 0: none
    ``account``   how it was found, in words and numbers
    """

    entries: tuple[str, ...]
    shares: np.ndarray = field(repr=False)
    loadings: np.ndarray = field(repr=False)
    density: FactorDensity = field(repr=False)
    rest_spread: float = 0.0
    account: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        problems = Problems("this pattern of demand cannot be")
        for name in ("shares", "loadings"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=float))
        if len(set(self.entries)) < len(self.entries):
            problems.add("some entries stand there twice")
        if self.shares.shape != (len(self.entries),):
            problems.add(f"shares is of shape {self.shares.shape}, expected ({len(self.entries)},)")
        elif (self.shares < 0).any() or abs(self.shares.sum() - 1) > 1e-6:
            problems.add(f"the shares of the flow sum to {self.shares.sum():g}, expected 1, none below 0")
        if self.loadings.shape != (len(self.entries), self.density.factors):
            problems.add(
                f"loadings is of shape {self.loadings.shape}, expected ({len(self.entries)}, {self.density.factors})"
            )
        elif not np.isfinite(self.loadings).all():
            problems.add("some loadings are not finite")
        if not 0 <= self.rest_spread < 2:
            problems.add(f"rest_spread is {self.rest_spread}, expected 0 to 2")
        if not 1 <= self.density.factors <= MOST_FACTORS:
            problems.add(f"there are {self.density.factors} factors, expected 1 to {MOST_FACTORS}")
        problems.raise_as(ModelError)

    @property
    def factors(self) -> int:
        return self.density.factors

    @property
    def rests(self) -> int:
        """How many deviations of its own a day has: one by entry, or none."""
        return len(self.entries) if self.rest_spread else 0

    def draw_rest(self, noise: Tensor) -> Tensor:
        """Logarithms of the entries' own deviations from uniform noise, both (batch, rests)."""
        return self.rest_spread * torch.special.ndtri(noise) - self.rest_spread**2 / 2

    def rest_log_prob(self, rest: Tensor) -> Tensor:
        """Their log-density with respect to Lebesgue measure on the logarithms, (batch,)."""
        z = (rest + self.rest_spread**2 / 2) / self.rest_spread
        return -0.5 * (z**2).sum(-1) - rest.shape[-1] * (math.log(self.rest_spread) + 0.5 * math.log(2 * math.pi))

    def entry_scales(self, factors: np.ndarray, rest: np.ndarray | None = None) -> np.ndarray:
        """Scale of each entry, (batch, entry), from factors (batch, factor) and own deviations (batch, entry)."""
        logs = np.asarray(factors, dtype=float) @ self.loadings.T
        return np.exp(logs if rest is None or not rest.shape[-1] else logs + rest)

    def network_scale(self, factors: np.ndarray) -> np.ndarray:
        """Flow-weighted mean of the entries' scales, (batch,)."""
        return self.entry_scales(factors) @ self.shares

    def scale_of(self, factors: Tensor) -> Tensor:
        """:meth:`network_scale` of a tensor."""
        found = self.network_scale(factors.cpu().numpy())
        return torch.as_tensor(found, dtype=factors.dtype, device=factors.device)

    def quadrature(self, kind_shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Network scales and weights of :data:`GAUSS_NODES` nodes for expectations over kinds of day and factors.

        Whatever is averaged depends on the factors through the network's scale alone, so the product rule over all
        factors is condensed to the Gauss rule of its distribution in log scale: exact for polynomials of degree 79.
        """
        if self._rules.get(kind_shares.tobytes()) is None:
            logs, weights = [], []
            for kind, share in enumerate(kind_shares):
                nodes, weight = self.density.rule(kind)
                logs.append(np.log(self.network_scale(nodes)))
                weights.append(share * weight)
            x, w = gauss_rule(np.concatenate(logs), np.concatenate(weights), GAUSS_NODES)
            self._rules[kind_shares.tobytes()] = (np.exp(x), w)
        return self._rules[kind_shares.tobytes()]

    @cached_property
    def _rules(self) -> dict[bytes, Any]:
        return {}

    def plain(self) -> dict[str, Any]:
        """What stands in the model's JSON file."""
        return {
            "entries": list(self.entries),
            "shares": self.shares.tolist(),
            "loadings": self.loadings.tolist(),
            "density": self.density.plain(),
            "rest_spread": self.rest_spread,
            "account": dict(self.account),
        }

    def __str__(self) -> str:
        return f"{self.factors} demand factor{'s' * (self.factors > 1)} over {len(self.entries)} entries"


def pattern_from_plain(plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> DemandPattern:
    """What :meth:`DemandPattern.plain` wrote."""
    density = density_from_plain(plain["density"], tensors)
    return DemandPattern(
        entries=tuple(plain["entries"]),
        shares=np.array(plain["shares"], dtype=float),
        loadings=np.array(plain["loadings"], dtype=float).reshape(len(plain["entries"]), density.factors),
        density=density,
        rest_spread=float(plain.get("rest_spread", 0.0)),
        account=plain.get("account", {}),
    )
