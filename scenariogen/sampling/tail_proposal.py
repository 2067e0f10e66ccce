"""A proposal for a tail: a Gaussian mixture in the reduced latent, made wide and defended.

    q(u) = 0.65 Σ_k π_k N(u; m_k, C_k) + 0.15 Σ_k π_k N(u; m_k, 4 C_k) + 0.1 N(u; 0, 4 I) + 0.1 φ(u)

The mixture is fitted by expectation–maximisation to draws from the surrogate's tail, its number of components chosen by
the log-likelihood of draws held out. The wide copy bounds the weights where the fit is too narrow; φ itself bounds all
of them by 10, and what is never proposed elsewhere can still be seen (Hesterberg, *Weighted average importance
sampling and defensive mixture distributions*, 1995; Owen & Zhou, *Safe and effective importance sampling*, 2000).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from scenariogen.randomness import child_seed, normal, uniform
from scenariogen.sampling.normal import standard_normal_log_prob

SHARES = (0.65, 0.15, 0.1, 0.1)
"""Of the fit, of its wide copy, of the wide prior, and of the prior itself."""
WIDEN = 2.0
"""Factor on the standard deviations of the wide copy and of the wide prior."""
COMPONENTS = (1, 2, 4, 8, 16)
EM_STEPS = 25


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """Σ_k π_k N(m_k, L_k L_kᵀ): ``log_share`` (component,), ``mean`` (component, width), ``factor`` L."""

    log_share: Tensor
    mean: Tensor
    factor: Tensor

    def log_terms(self, u: Float[Tensor, "batch width"], *, widen: float = 1.0) -> Float[Tensor, "batch component"]:
        """log π_k N(u; m_k, widen² C_k)."""
        gap = (u[None] - self.mean[:, None]).transpose(1, 2)
        white = torch.linalg.solve_triangular(self.factor, gap, upper=False) / widen
        log_size = self.factor.diagonal(dim1=1, dim2=2).log().sum(1) + u.shape[1] * math.log(widen)
        log_normal = -0.5 * (white**2).sum(1) - 0.5 * u.shape[1] * math.log(2 * math.pi) - log_size[:, None]
        return (self.log_share[:, None] + log_normal).T

    def log_prob(self, u: Float[Tensor, "batch width"], *, widen: float = 1.0) -> Float[Tensor, " batch"]:
        """log-density, shape (batch,)."""
        return self.log_terms(u, widen=widen).logsumexp(1)

    def push(
        self, coin: Float[Tensor, " batch"], gaussian: Float[Tensor, "batch width"], widen: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch width"]:
        """Draws: the component from a uniform ``coin``, the place from ``gaussian``, deviations times ``widen``."""
        cumulative = self.log_share.exp().cumsum(0)
        component = torch.searchsorted(cumulative / cumulative[-1], coin).clamp(max=len(cumulative) - 1)
        moved = (self.factor[component] @ gaussian[:, :, None])[:, :, 0]
        return self.mean[component] + widen[:, None] * moved


@dataclass(frozen=True, eq=False)
class TailProposal:
    """q above: draws with log φ/q. The shares are those of :data:`SHARES`, so no weight exceeds 1 / 0.1."""

    mixture: GaussianMixture

    def sample(self, seed: int, rows: Tensor) -> Float[Tensor, "batch width"]:
        """Draws number ``rows`` of a seed, in u."""
        width = self.mixture.mean.shape[1]
        like = self.mixture.mean
        coins = uniform(child_seed(seed, "coins"), rows, 2).to(like)
        gaussian = normal(child_seed(seed, "place"), rows, width).to(like)
        bounds = torch.tensor(SHARES, dtype=like.dtype, device=like.device).cumsum(0)[:-1]
        part = torch.searchsorted(bounds, coins[:, 0].contiguous(), right=True)
        widen = torch.where(part == 1, torch.full_like(coins[:, 0], WIDEN), torch.ones_like(coins[:, 0]))
        fitted = self.mixture.push(coins[:, 1].contiguous(), gaussian, widen)
        prior = torch.where(part == 2, WIDEN, 1.0).to(like)[:, None] * gaussian
        return torch.where((part < 2)[:, None], fitted, prior)

    def log_weight(self, u: Float[Tensor, "batch width"]) -> Float[Tensor, " batch"]:
        """log φ(u)/q(u), at most log 10."""
        log_prior = standard_normal_log_prob(u)
        log_wide = standard_normal_log_prob(u / WIDEN) - u.shape[1] * math.log(WIDEN)
        parts = torch.stack([self.mixture.log_prob(u), self.mixture.log_prob(u, widen=WIDEN), log_wide, log_prior])
        share = torch.tensor(SHARES, dtype=u.dtype, device=u.device).log()
        return log_prior - (share[:, None] + parts).logsumexp(0)


def fit_proposal(draws: Float[Tensor, "particle width"], *, seed: int) -> TailProposal:
    """The proposal whose mixture gives draws held out (a quarter) the largest log-likelihood."""
    order = uniform(child_seed(seed, "order"), torch.arange(len(draws), device=draws.device), 1)[:, 0].argsort()
    held, kept = draws[order[: len(draws) // 4]], draws[order[len(draws) // 4 :]]
    best = None
    for components in COMPONENTS:
        mixture = fit_mixture(kept, components, seed=child_seed(seed, "components", components))
        likelihood = float(mixture.log_prob(held).mean())
        if best is None or likelihood > best[0]:
            best = (likelihood, mixture)
    assert best is not None
    return TailProposal(best[1])


def fit_mixture(draws: Float[Tensor, "particle width"], components: int, *, seed: int) -> GaussianMixture:
    """Expectation–maximisation from centres spread by distance (k-means++: Arthur & Vassilvitskii, 2007).

    Covariances get a thousandth of the draws' own, so that a component on few points does not collapse.
    """
    n, width = draws.shape
    coins = uniform(seed, torch.arange(components, device=draws.device), 1)[:, 0].to(draws)
    centres = draws[int(float(coins[0]) * n)][None]
    for coin in coins[1:]:
        square = torch.cdist(draws, centres).amin(1) ** 2
        pick = torch.searchsorted(square.cumsum(0), coin * square.sum()).clamp(max=n - 1)
        centres = torch.cat([centres, draws[pick][None]])
    eye = torch.eye(width, dtype=draws.dtype, device=draws.device)
    spread = draws.var(0).mean()
    guard = 1e-3 * torch.diag(draws.var(0)) + 1e-8 * eye
    nearest = torch.cdist(draws, centres).argmin(1)
    share = torch.nn.functional.one_hot(nearest, components).to(draws)
    mixture = None
    for _ in range(EM_STEPS if components > 1 else 1):
        count = share.sum(0) + 1e-6
        mean = (share.T @ draws) / count[:, None]
        second = torch.einsum("nk,ni,nj->kij", share, draws, draws) / count[:, None, None]
        covariance = second - mean[:, :, None] * mean[:, None, :] + guard
        factor, failed = torch.linalg.cholesky_ex(covariance)
        factor = torch.where((failed > 0)[:, None, None], spread.sqrt() * eye, factor)
        mixture = GaussianMixture((count / count.sum()).log(), mean, factor)
        share = torch.softmax(mixture.log_terms(draws), 1)
    assert mixture is not None
    return mixture
