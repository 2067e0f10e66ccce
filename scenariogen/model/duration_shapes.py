"""Other families of durations through the same quartiles: they agree in the middle and part in the tails.

How long an incident lasts given edge, kind and lanes is a spline on a lognormal (:mod:`.marks`). What a lognormal, a
log-logistic and a Weibull distribution with the same quartiles would have made of it is told by the ratio of densities.
Below the 1st percentile, and beyond the end of the run, durations count together: an incident that outlasts the run is
as likely as the family has it, and when it would be detected is left as the model has it. So ratios have a bound.
"""

import math

import numpy as np
import torch
from torch import Tensor

from scenariogen.model.incident_marks import OPTION, PHASES_S, IncidentMarks
from scenariogen.model.marks import duration_to_unit, unit_to_duration
from scenariogen.sampling.points import Points

AS_FITTED = "as fitted"
SHAPES = ("lognormal", "log-logistic", "Weibull")
LOWEST = 0.01
"""Durations below this quantile count together."""
_QUARTILE_Z = 0.6744897501960817
_WEIBULL_LOW, _WEIBULL_HIGH = math.log(-math.log(0.75)), math.log(-math.log(0.25))


def shape_chances(info: dict) -> tuple[tuple[str, float], ...]:
    """(family, probability): a quarter for durations as fitted, the rest by Akaike weights of the durations seen.

    ``info``  of a model; where it saw too few durations for families, all are equally likely.
    """
    rows = {row["family"]: row["aic"] for row in info.get("durations", {}).get("families", ())}
    aic = np.array([rows.get(name) if rows.get(name) is not None else np.nan for name in SHAPES], dtype=float)
    chance = np.ones(len(SHAPES)) if np.isnan(aic).any() else np.exp(-0.5 * (aic - aic.min()))
    share = len(SHAPES) / (len(SHAPES) + 1) * chance / chance.sum()
    return ((AS_FITTED, 1 - float(share.sum())), *zip(SHAPES, share.tolist(), strict=True))


def log_shape_ratio(marks: IncidentMarks, points: Points, *, end_s: float) -> Tensor:
    """(point, family) log of each family's density of a duration over the model's; families as in :data:`SHAPES`.

    ``end_s``  second at which the run ends
    """
    start_s = points.location[:, 0]
    edge, option = points.cell // marks.cells, points.marks[:, OPTION].to(torch.int64)
    base = marks.tables.minutes[edge, option]
    spline = marks.heads.spline(marks.tables.duration[edge, points.kind, option])
    lower, upper, shortest = (
        torch.log(unit_to_duration(spline.icdf(torch.full_like(start_s, p)), base)) for p in (0.25, 0.75, LOWEST)
    )
    last = torch.log((end_s - start_s).clamp_min(1.0))
    log_s = torch.log(points.marks[:, PHASES_S].sum(-1))
    low, high = log_s <= shortest, log_s >= last
    at = torch.where(high, last, torch.where(low, shortest, log_s))
    v, log_slope = duration_to_unit(torch.exp(at), base)
    own_cdf = spline.cdf(v)
    own = _by_part(low, high, torch.log(own_cdf), torch.log1p(-own_cdf), spline.log_prob(v) + log_slope + at)
    return torch.stack(
        [_by_part(low, high, *each(at, lower, upper)) - own for each in (_normal, _logistic, _gumbel)], 1
    )


def _by_part(low: Tensor, high: Tensor, below: Tensor, above: Tensor, inside: Tensor) -> Tensor:
    """log P(T ≤ t), log P(T > t), or the log density in log T."""
    return torch.where(high, above, torch.where(low, below, inside))


def _normal(at: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(log F, log (1 − F), log density) of log T, normal with these quartiles."""
    scale = (upper - lower) / (2 * _QUARTILE_Z)
    z = (at - (lower + upper) / 2) / scale
    density = -0.5 * z**2 - 0.5 * math.log(2 * math.pi) - torch.log(scale)
    return torch.special.log_ndtr(z), torch.special.log_ndtr(-z), density


def _logistic(at: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same of a logistic distribution: T is log-logistic."""
    scale = (upper - lower) / (2 * math.log(3.0))
    z = (at - (lower + upper) / 2) / scale
    below, above = torch.nn.functional.logsigmoid(z), torch.nn.functional.logsigmoid(-z)
    return below, above, below + above - torch.log(scale)


def _gumbel(at: Tensor, lower: Tensor, upper: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same of a Gumbel distribution of minima: T is Weibull."""
    scale = (upper - lower) / (_WEIBULL_HIGH - _WEIBULL_LOW)
    z = (at - lower) / scale + _WEIBULL_LOW
    above = -torch.exp(z)
    return torch.log(-torch.expm1(above)), above, z + above - torch.log(scale)
