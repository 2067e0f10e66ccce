"""p(c): the declared table of conditions. It stands in the model file, is editable, and is never learned silently.

    p(c) = P(day type, weather) · p(demand | day type, weather) · p(day multiplier)

with respect to counting measure on kinds of day and Lebesgue measure on the demand and the day multiplier. The demand
is one scale, lognormal with median 1, or the factors of a :class:`~scenariogen.model.demand_pattern.DemandPattern`:
then the demand scale is the flow-weighted mean of what the factors give each entry, and the density is that of the
factors and of the logarithms of the entries' own deviations.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scenariogen.errors import ModelError, Problems
from scenariogen.model.demand_pattern import DemandPattern, pattern_from_plain

DAY_TYPES = ("weekday", "weekend")
WEATHERS = ("dry", "rain", "snow", "fog", "ice")


@dataclass(frozen=True, kw_only=True)
class DayKind:
    """One kind of day and its share of all days."""

    day_type: str = "weekday"
    weather: str = "dry"
    share: float = 1.0


@dataclass(frozen=True, eq=False)
class Conditions:
    """A batch of conditions.

    ``kind``     (batch,) number of the kind of day in the table's ``kinds``
    ``scale``    (batch,) demand scale of the network
    ``day``      (batch,) day multiplier
    ``factors``  (batch, factor) demand factors; no column where the demand is one scale
    ``rest``     (batch, entry) log of each entry's own deviation; no column where there is none
    """

    kind: Tensor
    scale: Tensor
    day: Tensor
    factors: Tensor
    rest: Tensor


@dataclass(frozen=True, kw_only=True)
class ConditionTable:
    """The distribution of the condition.

    ``clock_s``            clock time at SUMO's second 0
    ``day_type``, ``weather``  the one value each that this table declares, where ``shares`` is empty
    ``demand_scale_sigma`` standard deviation of the log of the demand scale, whose median is 1 (0: always 1)
    ``day_shape``          shape a of the day multiplier's Gamma(a, a); infinite: always 1
    ``shares``             kinds of day and their shares, which sum to 1
    ``demand``             the pattern of demand that takes the place of ``demand_scale_sigma``; None without one
    """

    clock_s: float = 0.0
    day_type: str = "weekday"
    weather: str = "dry"
    demand_scale_sigma: float = 0.1
    day_shape: float = math.inf
    shares: tuple[DayKind, ...] = ()
    demand: DemandPattern | None = None

    def __post_init__(self) -> None:
        problems = Problems("this table of conditions cannot be")
        if not 0 <= self.demand_scale_sigma < 2:
            problems.add(f"demand_scale_sigma is {self.demand_scale_sigma}, expected 0 to 2")
        if not self.day_shape > 0:
            problems.add(f"day_shape is {self.day_shape}, expected a positive number or inf")
        for kind in self.kinds:
            if kind.day_type not in DAY_TYPES:
                problems.add(f"the day type is {kind.day_type!r}, expected one of {', '.join(DAY_TYPES)}")
            if kind.weather not in WEATHERS:
                problems.add(f"the weather is {kind.weather!r}, expected one of {', '.join(WEATHERS)}")
            if not kind.share > 0:
                problems.add(f"the share of {kind.day_type}, {kind.weather} is {kind.share}, expected more than 0")
        if len({(kind.day_type, kind.weather) for kind in self.kinds}) < len(self.kinds):
            problems.add("some kinds of day stand there twice")
        if abs(sum(kind.share for kind in self.kinds) - 1) > 1e-6:
            problems.add(f"the shares of the days sum to {sum(kind.share for kind in self.kinds):g}, expected 1")
        if self.demand is not None and self.demand.density.kinds != len(self.kinds):
            problems.add(
                f"the density of the demand factors is for {self.demand.density.kinds} kinds of day, there are "
                f"{len(self.kinds)} in shares"
            )
        problems.raise_as(ModelError)

    @cached_property
    def kinds(self) -> tuple[DayKind, ...]:
        """The kinds of day, in the order in which they are numbered."""
        return self.shares or (DayKind(day_type=self.day_type, weather=self.weather),)

    @cached_property
    def _kind_shares(self) -> np.ndarray:
        return np.array([kind.share for kind in self.kinds]) / sum(kind.share for kind in self.kinds)

    @property
    def noise_columns(self) -> int:
        """Uniform numbers that one draw takes: two where one kind of day and one scale are declared."""
        more = 0 if self.demand is None else self.demand.factors - 1 + self.demand.rests
        return 2 + (more + 1 if more or len(self.kinds) > 1 else 0)

    def draw(self, noise: Tensor) -> Conditions:
        """Conditions from uniform noise of shape (batch, noise_columns): scale, day, then kind and further factors."""
        kind = torch.zeros(len(noise), dtype=torch.int64, device=noise.device)
        if len(self.kinds) > 1:
            borders = torch.as_tensor(np.cumsum(self._kind_shares)[:-1], dtype=noise.dtype, device=noise.device)
            kind = torch.searchsorted(borders, noise[:, 2].contiguous(), right=True)
        if self.demand is None:
            factors = rest = noise[:, :0]
            scale = torch.exp(self.demand_scale_sigma * torch.special.ndtri(noise[:, 0]))
        else:
            wanted = [0, *range(3, 2 + self.demand.factors)]
            factors = self.demand.density.sample(noise[:, wanted], kind)
            scale = self.demand.scale_of(factors)
            rest = self.demand.draw_rest(noise[:, 2 + self.demand.factors :][:, : self.demand.rests])
        return Conditions(kind, scale, self._day(noise[:, 1]), factors, rest)

    def _day(self, noise: Tensor) -> Tensor:
        if math.isinf(self.day_shape):
            return torch.ones_like(noise)
        from scipy.special import gammaincinv

        quantile = gammaincinv(self.day_shape, noise.cpu().numpy()) / self.day_shape
        return torch.as_tensor(quantile, dtype=noise.dtype, device=noise.device)

    def log_prob(
        self,
        scale: Tensor,
        day: Tensor,
        *,
        kind: Tensor | None = None,
        factors: Tensor | None = None,
        rest: Tensor | None = None,
    ) -> Tensor:
        """Log-density of conditions; components that are fixed contribute 0.

        ``kind`` (batch,) is 0 where it is not given; ``factors`` (batch, factor) must be given where the table has a
        pattern of demand, and ``scale`` is then what follows from them; ``rest`` (batch, entry) where entries deviate.
        """
        number = torch.zeros(len(scale), dtype=torch.int64, device=scale.device) if kind is None else kind
        out = torch.as_tensor(np.log(self._kind_shares), dtype=scale.dtype, device=scale.device)[number]
        if self.demand is not None:
            if factors is None or factors.shape[-1] != self.demand.factors:
                raise ModelError(f"this table has {self.demand.factors} demand factors: give them with the scale")
            out = out + self.demand.density.log_prob(factors, number)
            if self.demand.rests:
                if rest is None or rest.shape[-1] != self.demand.rests:
                    raise ModelError(f"entries of this table deviate on their own: give {self.demand.rests} deviations")
                out = out + self.demand.rest_log_prob(rest)
        elif self.demand_scale_sigma > 0:
            z = torch.log(scale) / self.demand_scale_sigma
            out = out - 0.5 * z**2 - torch.log(scale * self.demand_scale_sigma) - 0.5 * math.log(2 * math.pi)
        if not math.isinf(self.day_shape):
            a = self.day_shape
            out = out + a * math.log(a) - math.lgamma(a) + (a - 1) * torch.log(day) - a * day
        return out

    def log_prob_of(self, conditions: Conditions) -> Tensor:
        """:meth:`log_prob` of a batch."""
        return self.log_prob(
            conditions.scale,
            conditions.day,
            kind=conditions.kind,
            factors=conditions.factors,
            rest=conditions.rest,
        )

    def kind_number(self, day_type: str, weather: str) -> int:
        """The number of a kind of day; ``ModelError`` where the table has none such."""
        for number, kind in enumerate(self.kinds):
            if (kind.day_type, kind.weather) == (day_type, weather):
                return number
        raise ModelError(f"the table of conditions has no day that is {day_type} and {weather}")

    def quadrature(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Demand scales, day multipliers and weights of nodes for expectations over p(c).

        Gauss-Hermite (40 nodes), or a Gauss rule of the pattern's network scale, and generalised Gauss-Laguerre (24
        nodes): for the smooth functions they are used for (probabilities that a Poisson count is 0 or not, powers of
        log demand) the error is at rounding; with a flow, whose density has kinks, about 1e-8 for one factor and 1e-5
        for two.
        """
        scales, days, weights = np.ones(1), np.ones(1), np.ones(1)
        if self.demand is not None:
            scales, weights = self.demand.quadrature(self._kind_shares)
        elif self.demand_scale_sigma > 0:
            x, w = np.polynomial.hermite_e.hermegauss(40)
            scales, weights = np.exp(self.demand_scale_sigma * x), w / w.sum()
        if not math.isinf(self.day_shape):
            x, w = _gamma_rule(24, self.day_shape)
            days = np.tile(x / self.day_shape, len(scales))
            scales = np.repeat(scales, len(x))
            weights = np.outer(weights, w).ravel()
        return scales, np.broadcast_to(days, scales.shape), weights

    def plain(self) -> dict[str, Any]:
        """What stands in the model's JSON file; what is not declared is left out."""
        found: dict[str, Any] = {
            "clock_s": self.clock_s,
            "day_type": self.day_type,
            "weather": self.weather,
            "demand_scale_sigma": self.demand_scale_sigma,
            "day_shape": None if math.isinf(self.day_shape) else self.day_shape,
        }
        if self.shares:
            found["shares"] = [asdict(kind) for kind in self.shares]
        if self.demand is not None:
            found["demand"] = self.demand.plain()
        return found

    def tensors(self) -> dict[str, Tensor]:
        """What of the table stands beside the JSON file as tensors."""
        return {} if self.demand is None else self.demand.density.tensors()


def table_from_plain(plain: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> ConditionTable:
    """What :meth:`ConditionTable.plain` wrote, perhaps edited by hand. ``ModelError`` says what is wrong with it."""
    known = {"clock_s", "day_type", "weather", "demand_scale_sigma", "day_shape", "shares", "demand"}
    unknown = sorted(plain.keys() - known)
    if unknown:
        raise ModelError(f"the table of conditions holds {', '.join(unknown)}, expected {', '.join(sorted(known))}")
    values = dict(plain)
    values["day_shape"] = math.inf if values.get("day_shape") is None else values["day_shape"]
    try:
        values["shares"] = tuple(DayKind(**each) for each in values.get("shares", ()))
        demand = values.get("demand")
        values["demand"] = None if demand is None else pattern_from_plain(demand, tensors)
        return ConditionTable(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the table of conditions cannot be read: {type(error).__name__}: {error}") from error


def _gamma_rule(nodes: int, shape: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and probabilities of the Gauss rule of a Gamma distribution of scale 1, at any shape: the eigenvalues of
    the Laguerre polynomials' Jacobi matrix (Golub and Welsch, 1969) need no Gamma function, which overflows at 172."""
    from scipy.linalg import eigh_tridiagonal

    k = np.arange(nodes, dtype=np.float64)
    places, vectors = eigh_tridiagonal(2 * k + shape, np.sqrt(k[1:] * (k[1:] + shape - 1)))
    chances = vectors[0] ** 2
    return places, chances / chances.sum()
