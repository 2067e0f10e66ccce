"""Annealed sequential Monte Carlo: from draws of a prior to draws of a Boltzmann density, by energies and gradients.

A population starts at p and follows p_β(x) ∝ p(x) exp(−βU(x)) as β rises. Each step takes the largest rise that keeps
the weights exp(−ΔβU) useful, resamples by them, and moves every particle by Hamiltonian Monte Carlo, which leaves p_β
as it is (Del Moral, Doucet & Jasra, *Sequential Monte Carlo samplers*, 2006; Neal, *MCMC using Hamiltonian dynamics*,
2011). Modes keep the weights they have at the temperature where they part: no chain has to cross a barrier.

The rises, the step length and the scale of the momenta are taken from the population itself, so its estimate of log Z
is consistent but not unbiased. It is for training, and for references; weights of record come from a density.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from scenariogen.errors import DensityError, Problems
from scenariogen.randomness import child_seed, normal, uniform
from scenariogen.sampling.contract import draw
from scenariogen.sampling.targets import BoltzmannTarget

ACCEPTED = 0.75
"""Share of moves that the step length is steered to."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """Particles at one β.

    ``x``       (batch, dim) particles, equally weighted
    ``beta``    the inverse temperature that they stand at
    ``log_z``   estimate of log ∫ p exp(−βU)
    ``step_length``  of the leapfrog, in units of the population's spread
    ``number``  steps made
    """

    x: Float[Tensor, "batch dim"]
    beta: float = 0.0
    log_z: float = 0.0
    step_length: float = 0.3
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class AnnealingInfo:
    """One step: the rise of β, the share of distinct particles after resampling, and of moves accepted."""

    beta: float
    distinct: float
    accepted: float


@dataclass(frozen=True, kw_only=True)
class Annealing:
    """Settings. One :meth:`step` raises β once, as far as ``effective_share`` of the weights allows.

    ``effective_share``  above 0 and below 1
    ``moves``            Hamiltonian moves a step, of ``leapfrogs`` gradients each

    Particles of infinite energy (beyond a hard wall) have weight 0 at any β, and the rise of β is that of the others.
    ``DensityError`` that lists settings outside their range.
    """

    target: BoltzmannTarget
    effective_share: float = 0.8
    moves: int = 3
    leapfrogs: int = 5

    def __post_init__(self) -> None:
        problems = Problems("settings of annealing")
        if not 0 < self.effective_share < 1:
            problems.add(f"effective_share is {self.effective_share}, expected above 0 and below 1")
        for name in ("moves", "leapfrogs"):
            if getattr(self, name) < 1:
                problems.add(f"{name} is {getattr(self, name)}, expected at least 1")
        problems.raise_as(DensityError)

    def start(self, seed: int, particles: int, *, device: torch.device | str | None = None) -> Population:
        """Draws of the prior."""
        return Population(x=draw(self.target.prior, n=particles, seed=child_seed(seed, "start"), device=device).x)

    def step(self, seed: int, state: Population) -> tuple[Population, AnnealingInfo]:
        """Raise β, resample, move. At the target's β it only moves."""
        seed = child_seed(seed, "anneal", state.number)
        energy = self.target.energy_of(state.x)
        possible = torch.isfinite(energy)
        if not possible.any():
            raise DensityError(f"all {len(energy)} particles have infinite energy at β = {state.beta:.3g}")
        beta = self._next_beta(energy[possible], state.beta)
        log_w = torch.where(possible, -(beta - state.beta) * energy.where(possible, 0.0), -torch.inf)
        total = torch.logsumexp(log_w, 0)
        x = state.x
        distinct = 1.0
        if beta > state.beta or not possible.all():
            chosen = systematic(uniform(seed, torch.zeros(1), 1, device=x.device)[0, 0], log_w)
            x, distinct = x[chosen], len(torch.unique(chosen)) / len(x)
        shares = []
        length = state.step_length
        for number in range(self.moves):
            x, accepted = self.move(child_seed(seed, "move", number), x, beta, length)
            shares.append(accepted)
            length = min(max(length * 2.0 ** (accepted - ACCEPTED), 1e-4), 2.0)
        found = replace(
            state,
            x=x,
            beta=beta,
            log_z=state.log_z + float(total) - math.log(len(x)),
            step_length=length,
            number=state.number + 1,
        )
        return found, AnnealingInfo(beta=beta, distinct=distinct, accepted=sum(shares) / len(shares))

    def move(self, seed: int, x: Float[Tensor, "batch dim"], beta: float, length: float) -> tuple[Tensor, float]:
        """One Hamiltonian move of every particle at β, and the share accepted."""
        rows = torch.arange(len(x), device=x.device)
        spread = x.std(0).clamp_min(1e-6)
        step = length * spread
        momentum = normal(seed, rows, x.shape[1], device=x.device).to(x.dtype)
        log_p, slope = self._log_prob_and_slope(x, beta)
        before = log_p - 0.5 * (momentum**2).sum(-1)
        place, p = x, momentum + 0.5 * step * slope
        for number in range(self.leapfrogs):
            place = place + step * p
            log_q, slope = self._log_prob_and_slope(place, beta)
            p = p + (1.0 if number < self.leapfrogs - 1 else 0.5) * step * slope
        after = log_q - 0.5 * (p**2).sum(-1)
        u = uniform(child_seed(seed, "accept"), rows, 1, device=x.device)[:, 0].to(x.dtype)
        accepted = torch.log(u) < torch.nan_to_num(after - before, nan=-torch.inf)
        return torch.where(accepted[:, None], place, x), float(accepted.double().mean())

    def _log_prob_and_slope(self, x: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            log_p = self.target.log_prior(x) - beta * self.target.energy_of(x, overflows=True)
            (slope,) = torch.autograd.grad(log_p.sum(), x)
        return log_p.detach(), slope

    def _next_beta(self, energy: Tensor, beta: float) -> float:
        """The largest β at which the effective share of the weights is still the one asked for, by bisection."""

        def share(to: float) -> float:
            log_w = -(to - beta) * energy
            return float(torch.exp(2 * torch.logsumexp(log_w, 0) - torch.logsumexp(2 * log_w, 0)) / len(energy))

        low, high = beta, self.target.beta
        if share(high) >= self.effective_share:
            return high
        for _ in range(50):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if share(middle) >= self.effective_share else (low, middle)
        return low


def anneal(
    sampler: Annealing, seed: int, particles: int, *, extra_steps: int = 0, most_steps: int = 1000
) -> Population:
    """A population at the target's β, moved ``extra_steps`` times more. ``DensityError`` after ``most_steps``."""
    state = sampler.start(seed, particles)
    while state.number == 0 or state.beta < sampler.target.beta:  # at β = 0 one step, for hard walls
        if state.number >= most_steps:
            raise DensityError(f"annealing stands at β = {state.beta:.3g} after {most_steps} steps")
        state, _ = sampler.step(seed, state)
    for _ in range(extra_steps):
        state, _ = sampler.step(seed, state)
    return state


def systematic(offset: Tensor, log_w: Float[Tensor, " batch"]) -> Tensor:
    """Indices of a systematic resample: each row about n·w times (Carpenter, Clifford & Fearnhead, 1999)."""
    share = torch.softmax(log_w.double(), 0)
    places = (torch.arange(len(log_w), device=log_w.device) + offset.double()) / len(log_w)
    return torch.searchsorted(share.cumsum(0), places).clamp_max(len(log_w) - 1)
