"""Durations under several families side by side: they agree in the middle and part in the tail.

Maximum likelihood for the lognormal, the log-logistic, the Weibull and the gamma distribution, of durations of which
some are lower bounds (right-censored) and which got into the data only between a and b (truncated). A value t has
log f(t) − log[F(b) − F(a)], a lower bound t log[F(b) − F(t)] − log[F(b) − F(a)]. Akaike's criterion compares them
(Akaike, *A new look at the statistical model identification*, 1974); the four have two parameters each.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import stats
from scipy.optimize import minimize

FAMILIES = {
    "lognormal": stats.lognorm,
    "log-logistic": stats.fisk,
    "Weibull": stats.weibull_min,
    "gamma": stats.gamma,
}
"""Each with a shape and a scale (minutes)."""
TAIL_MINUTES = (60.0, 120.0, 240.0)
LEAST_DURATIONS = 10
"""Fewer durations than this, or fewer than half as many that are no bounds, give no family."""
LOG_LIMITS = ((-4.0, 4.0), (-4.0, 12.0))
"""Between which log shape and log scale are sought; a fit at a limit did not converge."""


@dataclass(frozen=True, kw_only=True)
class Durations:
    """Durations in minutes; arrays of shape (duration,).

    ``minutes``   values, or lower bounds where ``censored``
    ``shortest``, ``longest``  between which they could get into the data at all; 0 and infinity where nothing is cut
    """

    minutes: np.ndarray
    censored: np.ndarray
    shortest: np.ndarray
    longest: np.ndarray

    def __len__(self) -> int:
        return len(self.minutes)

    @cached_property
    def selections(self) -> tuple[np.ndarray, np.ndarray]:
        """The different (shortest, longest), of shape (2, n), and how many durations have each."""
        return np.unique(np.stack([self.shortest, self.longest]), axis=1, return_counts=True)

    @property
    def are_enough(self) -> bool:
        """Whether families can be told from them."""
        return len(self) >= LEAST_DURATIONS and int((~self.censored).sum()) >= LEAST_DURATIONS // 2


@dataclass(frozen=True, kw_only=True)
class FamilyFit:
    """One family: parameters with standard errors of their logarithms, likelihood and tail.

    ``exceeds``  P(T > 60), P(T > 120) and P(T > 240 minutes)
    """

    family: str
    shape: float
    scale_min: float
    log_shape_se: float
    log_scale_se: float
    log_likelihood: float
    aic: float
    median_min: float
    q95_min: float
    exceeds: tuple[float, ...]
    converged: bool


def fit_families(durations: Durations) -> list[FamilyFit]:
    """All families, the best by Akaike's criterion first; none where there are too few durations."""
    if not durations.are_enough:
        return []
    return sorted((fit_family(name, durations) for name in FAMILIES), key=lambda each: each.aic)


def fit_family(name: str, durations: Durations) -> FamilyFit:
    """Maximum likelihood of one family."""
    start = _start(name, durations)

    def loss(parameters: np.ndarray) -> float:
        return -log_likelihood(name, float(np.exp(parameters[0])), float(np.exp(parameters[1])), durations)

    found = minimize(loss, start, method="Nelder-Mead", bounds=LOG_LIMITS, options={"xatol": 1e-6, "fatol": 1e-8})
    at_limit = any(min(abs(x - low), abs(x - high)) < 1e-3 for x, (low, high) in zip(found.x, LOG_LIMITS, strict=True))
    errors = _standard_errors(loss, found.x)
    shape, scale = (float(value) for value in np.exp(found.x))
    law = FAMILIES[name](shape, scale=scale)
    return FamilyFit(
        family=name,
        shape=shape,
        scale_min=scale,
        log_shape_se=errors[0],
        log_scale_se=errors[1],
        log_likelihood=-float(found.fun),
        aic=4 + 2 * float(found.fun),
        median_min=float(law.median()),
        q95_min=float(law.ppf(0.95)),
        exceeds=tuple(float(law.sf(minutes)) for minutes in TAIL_MINUTES),
        converged=bool(found.success) and not at_limit,
    )


def log_likelihood(name: str, shape: float, scale_min: float, durations: Durations) -> float:
    """Of all durations together, in minutes; −1e12 where it is 0."""
    law = FAMILIES[name](shape, scale=scale_min)
    bound, least = durations.censored, np.maximum(durations.minutes, durations.shortest)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = law.logpdf(np.maximum(durations.minutes[~bound], 1e-9)).sum()
        total += _log_between(law, least[bound], durations.longest[bound]).sum()
        total = float(total - (durations.selections[1] * _log_between(law, *durations.selections[0])).sum())
    return total if np.isfinite(total) else -1e12


def _log_between(law, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """log[F(high) − F(low)] from whichever tail is the smaller."""
    return np.log(np.where(law.cdf(low) < 0.5, law.cdf(high) - law.cdf(low), law.sf(low) - law.sf(high)))


def _start(name: str, durations: Durations) -> tuple[float, float]:
    """Log shape and log scale from the median and the spread of the logarithms."""
    logs = np.log(np.maximum(durations.minutes[~durations.censored], 1e-3))
    middle, spread = float(np.median(logs)), max(float(logs.std()), 0.1)
    log_shape = {
        "lognormal": np.log(spread),
        "log-logistic": np.log(1.8 / spread),
        "Weibull": np.log(1.2 / spread),
        "gamma": -2 * np.log(spread),
    }[name]
    log_scale = middle - log_shape if name == "gamma" else middle
    bounded = (
        np.clip(value, low + 0.1, high - 0.1)
        for value, (low, high) in zip((log_shape, log_scale), LOG_LIMITS, strict=True)
    )
    first, second = bounded
    return float(first), float(second)


def _standard_errors(loss, at: np.ndarray, step: float = 1e-3) -> tuple[float, float]:
    """Square roots of the diagonal of the inverse Hessian, by central differences; nan where it is not positive."""
    hessian = np.empty((2, 2))
    steps = np.eye(2) * step
    for i in range(2):
        for j in range(2):
            corners = [loss(at + a * steps[i] + b * steps[j]) * a * b for a in (1, -1) for b in (1, -1)]
            hessian[i, j] = sum(corners) / (4 * step**2)
    try:
        variance = np.diag(np.linalg.inv(hessian))
    except np.linalg.LinAlgError:
        return float("nan"), float("nan")
    first, second = (float(value**0.5) if value > 0 else float("nan") for value in variance)
    return first, second
