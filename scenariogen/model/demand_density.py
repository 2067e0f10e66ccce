"""Densities of the demand factors on a day, given what kind of day it is.

Where days are few: independent Student-t densities, the posterior predictive of a normal regression on day type and
weather, so that what few days cannot say makes them wide. They are cut at :data:`CUT` spreads, since e^x under a
Student-t has no mean. Where days are many, a conditional flow of the core. Both are exact with respect to Lebesgue
measure on the factors.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scenariogen.errors import ModelError
from scenariogen.model.gauss_rule import gauss_rule
from scenariogen.sampling.contract import ConditionalDensity
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.spline import ConditionalSpline
from scenariogen.sampling.supports import Interval

CUT = 5.0
"""Spreads from the middle at which a Student-t density of a factor ends."""
MOST_FACTORS = 4
_ALONG = 200
"""Nodes along a factor that a Student-t density is known at."""
_NODES = {1: 80, 2: 40, 3: 24, 4: 16}
"""Nodes of its Gauss rule that enter the product of so many factors."""
_FLOW_NODES = {1: 800, 2: 256}
"""Nodes along each of so many factors of a flow. Its density has kinks, so a rule over three of them would be off by
1e-3, too much for what weights are divided by: flows are for one and two factors."""
MOST_FLOW_FACTORS = max(_FLOW_NODES)
_LATENT_END = 6.5
"""Where quadrature over standard normal noise ends: 8e-11 of its mass lies beyond."""


class FactorDensity(ABC):
    """Density of the factors (batch, factor) given the number of the kind of day (batch,)."""

    factors: int
    kinds: int

    @abstractmethod
    def sample(self, noise: Tensor, kind: Tensor) -> Tensor:
        """Factors from uniform noise of shape (batch, factor)."""

    @abstractmethod
    def log_prob(self, x: Tensor, kind: Tensor) -> Tensor:
        """Natural log-density, shape (batch,)."""

    @abstractmethod
    def rule(self, kind: int) -> tuple[np.ndarray, np.ndarray]:
        """Nodes (node, factor) and weights (node,), whose sum is 1, for expectations on one kind of day."""

    @abstractmethod
    def plain(self) -> dict[str, Any]:
        """What stands in the model's JSON file."""

    def tensors(self) -> dict[str, Tensor]:
        """What stands beside it as tensors."""
        return {}


@dataclass(frozen=True, kw_only=True, eq=False)
class StudentFactors(FactorDensity):
    """Independent Student-t densities, cut.

    ``location``, ``spread``  by kind of day and factor, of shape (kind, factor)
    ``degrees``               degrees of freedom by factor; infinite: normal
    """

    location: np.ndarray
    spread: np.ndarray
    degrees: np.ndarray

    def __post_init__(self) -> None:
        for name in ("location", "spread", "degrees"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=float))
        if self.location.ndim != 2 or self.spread.shape != self.location.shape:
            raise ModelError(f"location is {self.location.shape}, spread {self.spread.shape}; expected (kind, factor)")
        if self.degrees.shape != self.location.shape[1:]:
            raise ModelError(f"degrees is {self.degrees.shape}, expected one number for each factor")
        if not ((self.spread > 0).all() and np.isfinite(self.location).all() and (self.degrees > 0).all()):
            raise ModelError("locations must be finite, spreads and degrees of freedom more than 0")

    @property
    def factors(self) -> int:  # type: ignore[override]
        return self.location.shape[1]

    @property
    def kinds(self) -> int:  # type: ignore[override]
        return self.location.shape[0]

    @cached_property
    def _outside(self) -> np.ndarray:
        """Mass below the lower cut, (factor,)."""
        return _student(self.degrees).cdf(-CUT)

    def sample(self, noise: Tensor, kind: Tensor) -> Tensor:
        u = self._outside + (1 - 2 * self._outside) * noise.cpu().numpy()
        standard = np.clip(_student(self.degrees).ppf(u), -CUT, CUT)
        kind_of = kind.cpu().numpy()
        found = self.location[kind_of] + self.spread[kind_of] * standard
        return torch.as_tensor(found, dtype=noise.dtype, device=noise.device)

    def log_prob(self, x: Tensor, kind: Tensor) -> Tensor:
        kind_of = kind.cpu().numpy()
        z = (x.cpu().numpy() - self.location[kind_of]) / self.spread[kind_of]
        logs = _student(self.degrees).logpdf(z) - np.log(self.spread[kind_of]) - np.log1p(-2 * self._outside)
        logs = np.where(np.abs(z) <= CUT * (1 + 1e-12), logs, -np.inf)
        return torch.as_tensor(logs.sum(-1), dtype=x.dtype, device=x.device)

    def rule(self, kind: int) -> tuple[np.ndarray, np.ndarray]:
        z, w = np.polynomial.legendre.leggauss(_ALONG)
        places, weights = [], []
        for factor in range(self.factors):
            mass = w * _student(self.degrees[factor]).pdf(CUT * z)
            x, mass = gauss_rule(CUT * z, mass / mass.sum(), _NODES[self.factors])
            places.append(self.location[kind, factor] + self.spread[kind, factor] * x)
            weights.append(mass)
        return _product(places, weights)

    def plain(self) -> dict[str, Any]:
        degrees = [None if np.isinf(value) else float(value) for value in self.degrees]
        return {
            "family": "student-t",
            "location": self.location.tolist(),
            "spread": self.spread.tolist(),
            "degrees": degrees,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class FlowFactors(FactorDensity):
    """A conditional flow of the factors; for one factor a conditional spline on an interval.

    ``module``    density of standardised factors given the features of a kind of day
    ``features``  of each kind of day, shape (kind, feature)
    ``centre``, ``scale``  of each factor, (factor,)
    """

    module: ConditionalDensity
    features: np.ndarray
    centre: np.ndarray
    scale: np.ndarray

    @property
    def factors(self) -> int:  # type: ignore[override]
        return len(self.centre)

    @property
    def kinds(self) -> int:  # type: ignore[override]
        return len(self.features)

    def _given(self, kind: Tensor):
        return self.module(torch.as_tensor(self.features, dtype=torch.float64)[kind])

    def sample(self, noise: Tensor, kind: Tensor) -> Tensor:
        with torch.no_grad():
            z = self._given(kind).sample(noise)
        return torch.as_tensor(self.centre) + torch.as_tensor(self.scale) * z

    def log_prob(self, x: Tensor, kind: Tensor) -> Tensor:
        z = (x - torch.as_tensor(self.centre)) / torch.as_tensor(self.scale)
        with torch.no_grad():
            return self._given(kind).log_prob(z) - float(np.log(self.scale).sum())

    def rule(self, kind: int) -> tuple[np.ndarray, np.ndarray]:
        z, w = np.polynomial.legendre.leggauss(_FLOW_NODES[self.factors])
        if self.factors == 1:
            noise, weights = _product([(z + 1) / 2], [w / 2])
        else:
            mass = w * np.exp(-0.5 * (_LATENT_END * z) ** 2)
            latent, weights = _product([_LATENT_END * z] * self.factors, [mass / mass.sum()] * self.factors)
            noise = torch.special.ndtr(torch.as_tensor(latent)).numpy()
        where = torch.full((len(noise),), kind, dtype=torch.int64)
        return self.sample(torch.as_tensor(noise), where).numpy(), weights

    def plain(self) -> dict[str, Any]:
        return {
            "family": "flow",
            "features": self.features.tolist(),
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
        }

    def tensors(self) -> dict[str, Tensor]:
        return dict(self.module.state_dict())


def flow_module(factors: int, features: int, *, seed: int = 0) -> ConditionalDensity:
    """The flow of so many standardised factors given so many features, before anything is learned.

    Small, since even many days are few rows. ``ModelError`` for more than :data:`MOST_FLOW_FACTORS` factors.
    """
    if not 1 <= factors <= MOST_FLOW_FACTORS:
        raise ModelError(f"a flow of {factors} demand factors is asked for, expected 1 to {MOST_FLOW_FACTORS}")
    if factors == 1:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return ConditionalSpline(features, support=Interval(-CUT, CUT), bins=8, hidden=16)
    return CouplingFlow(factors, features, transforms=4, bins=6, hidden=(24,), seed=seed)


def density_from_plain(plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> FactorDensity:
    """What :meth:`FactorDensity.plain` wrote. ``ModelError`` for a family that is not known."""
    if plain.get("family") == "student-t":
        degrees = [np.inf if value is None else value for value in plain["degrees"]]
        return StudentFactors(
            location=np.array(plain["location"], dtype=float).reshape(len(plain["location"]), len(degrees)),
            spread=np.array(plain["spread"], dtype=float).reshape(len(plain["spread"]), len(degrees)),
            degrees=np.array(degrees, dtype=float),
        )
    if plain.get("family") == "flow":
        features = np.array(plain["features"], dtype=float)
        module = flow_module(len(plain["centre"]), features.shape[1])
        module.load_state_dict(dict(tensors))
        centre, scale = (np.array(plain[name], dtype=float) for name in ("centre", "scale"))
        return FlowFactors(module=module, features=features, centre=centre, scale=scale)
    raise ModelError(f"the density of the demand factors is {plain.get('family')!r}, expected student-t or flow")


def _student(degrees) -> Any:
    from scipy import stats

    return stats.t(df=degrees)  # the normal distribution where there are infinitely many


def _product(places: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A product rule: (node, factor) and (node,)."""
    grid = np.stack([axis.ravel() for axis in np.meshgrid(*places, indexing="ij")], axis=1)
    total = np.ones(1)
    for each in weights:
        total = np.outer(total, each).ravel()
    return grid, total
