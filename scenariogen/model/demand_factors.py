"""A low-rank model of daily counts: a few factors that all entries share, Poisson noise, and a rest of its own.

The count of entry j on day d is negative binomial with mean b_j s_jd, b_j the flow of a mean day and log s_jd =
Σ_k l_jk f_dk, and variance mean + ψ mean²: Poisson in the factors, with a relative spread √ψ that no factor carries.
The first factor is the common scale: all its loadings are 1. Loadings of the others are shrunk towards 0 by a normal
prior whose spread is learned, and orthogonal to the first under the shares of the flow; the factors have spread 1.

Fitted by expectation-maximisation on y = log((count + ½) / b_j), whose noise is 1 / mean + ψ to first order in
1 / mean (Rubin & Thayer, *EM algorithms for ML factor analysis*, 1982, with known heteroscedastic noise); what a day
scores is the exact negative binomial, integrated over the factors by importance sampling around that posterior.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.special import gammaln, logsumexp

from scenariogen.model.demand_density import FactorDensity
from scenariogen.randomness import child_seed, uniform

STEPS = 200
SETTLED = 1e-6
WIDE = 1.0
"""Prior spread of the common factor while the others are fitted: day types may lie far apart."""
SMALLEST_PSI = 1e-8
PSI_PRIOR_DAYS = 2.0
DRAWS = 2048
_WIDER = 1.3
"""Factor on the posterior's spread in the importance proposal of a day's score."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FactorFit:
    """Loadings and the factors of the days they were found from.

    ``base``      vehicles of a mean day by entry, (entry,)
    ``loadings``  (entry, factor)
    ``psi``       relative variance of an entry's day that no factor carries
    ``values``    factors by day, posterior means, (day, factor)
    ``errors``    their posterior variances, (day, factor)
    """

    base: np.ndarray = field(repr=False)
    loadings: np.ndarray = field(repr=False)
    psi: float
    values: np.ndarray = field(repr=False)
    errors: np.ndarray = field(repr=False)

    @property
    def shares(self) -> np.ndarray:
        """Share of each entry in the flow of a mean day."""
        return self.base / self.base.sum()


def fit_factors(counts: np.ndarray, base: np.ndarray, factors: int, *, psi: float | None = None) -> FactorFit:
    """Fit ``factors`` ≥ 1 factors to counts (day, entry), all entries having a positive ``base``.

    ``psi``  where it is known, such as 0 for counts that are Poisson given the factors
    """
    y = np.log((counts + 0.5) / base)
    days, entries = counts.shape
    spread = np.ones(factors)
    spread[0] = WIDE
    loadings = np.ones((entries, factors))
    known, psi_now = psi is not None, 0.01 if psi is None else psi
    shares = base / base.sum()
    start = _noise(counts, base, loadings[:, :1], np.zeros((days, 1)), psi_now)
    common = (y / start).sum(1) / (1 / start).sum(1)
    if factors > 1:
        rest = (y - common[:, None]) * np.sqrt(shares)
        _, size, axes = np.linalg.svd(rest, full_matrices=False)
        scale = size[: factors - 1] / np.sqrt(days)
        loadings[:, 1:] = _orthogonal((axes[: factors - 1] / np.sqrt(shares)).T * scale, shares)
    values = np.zeros((days, factors))
    values[:, 0] = common
    prior = np.full(factors - 1, 0.1**2)
    for _ in range(STEPS):
        noise = _noise(counts, base, loadings, values, psi_now)
        values, covariance = _posterior(y, loadings, noise, spread)
        before = loadings.copy()
        if factors > 1:
            loadings[:, 1:] = _ridge(y, values, covariance, noise, prior)
            prior = (loadings[:, 1:] ** 2).mean(0) + 1e-8
            loadings[:, 1:] = _orthogonal(loadings[:, 1:], shares)
        if not known:
            new_psi = _psi(y, base, loadings, values)
            psi_moved, psi_now = abs(new_psi - psi_now), new_psi
        else:
            psi_moved = 0.0
        if np.abs(loadings - before).max() < SETTLED and psi_moved < SETTLED:
            break
    noise = _noise(counts, base, loadings, values, psi_now)
    values, covariance = _posterior(y, loadings, noise, spread)
    errors = np.diagonal(covariance, axis1=1, axis2=2).copy()
    return FactorFit(base=base, loadings=loadings, psi=psi_now, values=values, errors=errors)


def day_values(fit: FactorFit, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Posterior mean (day, factor) and covariance of the factors of other days under a wide prior."""
    y = np.log((counts + 0.5) / fit.base)
    spread = np.ones(fit.loadings.shape[1])
    spread[0] = WIDE
    values = np.zeros((len(counts), fit.loadings.shape[1]))
    values[:, 0] = np.log(counts.sum(1) / fit.base.sum())
    covariance = np.zeros((len(counts), values.shape[1], values.shape[1]))
    for _ in range(5):
        noise = _noise(counts, fit.base, fit.loadings, values, fit.psi)
        values, covariance = _posterior(y, fit.loadings, noise, spread)
    return values, covariance


def log_scores(fit: FactorFit, density: FactorDensity, counts: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """log p(counts of a day | its kind) for each day, (day,): factors integrated out."""
    values, covariance = day_values(fit, counts)
    dim = values.shape[1]
    noise = uniform(child_seed(0, "demand scores"), torch.arange(DRAWS), dim)
    z = torch.special.ndtri(noise).numpy()
    out = np.empty(len(counts))
    for day in range(len(counts)):
        root = _WIDER * np.linalg.cholesky(covariance[day] + 1e-12 * np.eye(dim))
        draws = values[day] + z @ root.T
        log_q = -0.5 * (z**2).sum(1) - 0.5 * dim * np.log(2 * np.pi) - np.log(np.diag(root)).sum()
        kind = torch.full((DRAWS,), int(kinds[day]), dtype=torch.int64)
        log_p = density.log_prob(torch.as_tensor(draws), kind).numpy()
        mean = fit.base * np.exp(draws @ fit.loadings.T)
        out[day] = logsumexp(log_p - log_q + count_log_prob(counts[day], mean, fit.psi).sum(1)) - np.log(DRAWS)
    return out


def count_log_prob(counts: np.ndarray, mean: np.ndarray, psi: float) -> np.ndarray:
    """log of the negative binomial's probability; Poisson where ``psi`` is next to 0."""
    mean = np.maximum(mean, 1e-9)
    if psi <= SMALLEST_PSI:
        return counts * np.log(mean) - mean - gammaln(counts + 1)
    r = 1 / psi
    return (
        gammaln(counts + r)
        - gammaln(r)
        - gammaln(counts + 1)
        + counts * (np.log(mean) - np.log(mean + r))
        - r * np.log1p(mean / r)
    )


def _noise(counts, base, loadings, values, psi: float) -> np.ndarray:
    """Variance of y given the factors, (day, entry)."""
    return 1 / np.maximum(base * np.exp(np.clip(values @ loadings.T, -3, 3)), 1.0) + psi


def _posterior(y, loadings, noise, spread) -> tuple[np.ndarray, np.ndarray]:
    weighted = loadings[None] / noise[..., None]
    precision = np.einsum("dek,el->dkl", weighted, loadings) + np.diag(1 / spread**2)
    covariance = np.linalg.inv(precision)
    return np.einsum("dkl,del,de->dk", covariance, weighted, y), covariance


def _ridge(y, values, covariance, noise, prior) -> np.ndarray:
    """Loadings of all factors but the first, given the factors' posterior, (entry, factor − 1)."""
    second = values[:, 1:, None] * values[:, None, 1:] + covariance[:, 1:, 1:]
    left = np.einsum("dkl,de->ekl", second, 1 / noise) + np.diag(1 / prior)
    common = values[:, 1:] * values[:, :1] + covariance[:, 1:, 0]
    right = np.einsum("dk,de->ek", values[:, 1:], y / noise) - np.einsum("dk,de->ek", common, 1 / noise)
    return np.linalg.solve(left, right[..., None])[..., 0]


def _orthogonal(loadings: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Loadings without what they have in common with the first factor."""
    return loadings - shares @ loadings


def _psi(y, base, loadings, values) -> float:
    """What the squares of the residuals have beyond Poisson noise, with a prior of a few days at none."""
    fitted = values @ loadings.T
    poisson = 1 / np.maximum(base * np.exp(np.clip(fitted, -3, 3)), 1.0)
    used = loadings.shape[1] * (len(y) + y.shape[1])
    freedom = max(1 - used / y.size, 0.1)
    left = np.average((y - fitted) ** 2, weights=1 / poisson) / freedom - np.average(poisson, weights=1 / poisson)
    return float(max(left * len(y) / (len(y) + PSI_PRIOR_DAYS), 0.0))
