"""Draws from a standard normal given that a surrogate is probably above its threshold: annealed, then kept moving.

Target on ℝᵏ, with s̄ the surrogate less its threshold and σ its error:

    π(u) ∝ φ(u) Φ(s̄(u)/σ)^½.

Given u the event has probability Φ(s̄/σ), as far as the surrogate can tell, and the proposal with the least variance is
proportional to φ times the root of that. Sequential Monte Carlo goes from 1/σ = 0 to its end in steps that keep a given
share of effective particles; the moves are preconditioned Crank–Nicolson, which leave φ alone. (Del Moral, Doucet &
Jasra, *Sequential Monte Carlo samplers*, 2006; Papaioannou, Papadimitriou & Straub, *Sequential importance sampling for
structural reliability analysis*, 2016; Cotter, Roberts, Stuart & White, *MCMC methods for functions*, 2013.)
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from scenariogen.randomness import child_seed, normal, uniform

KEEP = 0.35
"""Effective share of the particles that a step of the annealing leaves."""
MOVES = 5
MAX_LEVELS = 60
ACCEPTANCE = 0.3


@dataclass(frozen=True, eq=False)
class Particles:
    """``u`` (batch, width), the surrogate's ``values`` (batch,) there, 1/σ reached, and the length of a move."""

    u: Float[Tensor, "batch width"]
    values: Float[Tensor, " batch"]
    sharpness: float
    stride: float


def tail_particles(
    surrogate: Callable[[Tensor], Tensor],
    *,
    width: int,
    n: int,
    seed: int,
    like: Tensor,
    repeats: int = 1,
) -> Float[Tensor, "particle width"]:
    """``n`` · ``repeats`` draws from π, nearly: the last ``repeats`` states of ``n`` particles.

    ``surrogate``  s̄/σ: (batch, width) → (batch,)
    ``like``       a tensor whose device and dtype the draws have
    """
    rows = torch.arange(n, device=like.device)
    u = normal(child_seed(seed, "start"), rows, width).to(like)
    state = Particles(u, surrogate(u), 0.0, 0.8)
    end = 1.0
    for level in range(MAX_LEVELS):
        state = _sharpen(state, end, child_seed(seed, "resample", level))
        for move in range(MOVES):
            state = _move(surrogate, state, child_seed(seed, "move", level, move))
        if state.sharpness >= end:
            break
    kept = []
    for repeat in range(repeats):
        for move in range(3):
            state = _move(surrogate, state, child_seed(seed, "last", repeat, move))
        kept.append(state.u)
    return torch.cat(kept)


def log_relevance(values: Float[Tensor, " batch"], sharpness: float) -> Float[Tensor, " batch"]:
    """½ log Φ(s̄/σ)."""
    return 0.5 * torch.special.log_ndtr(values * sharpness)


def _sharpen(state: Particles, end: float, seed: int) -> Particles:
    """The largest step in 1/σ that leaves enough effective particles, and systematic resampling."""
    before = log_relevance(state.values, state.sharpness)
    n = len(before)

    def weights(sharpness: float) -> Tensor:
        return torch.softmax(log_relevance(state.values, sharpness) - before, 0)

    def enough(sharpness: float) -> bool:
        return float(1 / (weights(sharpness) ** 2).sum()) >= KEEP * n

    sharpness = end
    if not enough(end):
        low, high = state.sharpness, end
        for _ in range(50):
            sharpness = 0.5 * (low + high)
            low, high = (sharpness, high) if enough(sharpness) else (low, sharpness)
        sharpness = low
    places = (torch.arange(n, device=before.device, dtype=before.dtype) + _one(seed, before)) / n
    chosen = torch.searchsorted(weights(sharpness).cumsum(0), places).clamp(max=n - 1)
    return replace(state, u=state.u[chosen], values=state.values[chosen], sharpness=sharpness)


def _one(seed: int, like: Tensor) -> Tensor:
    return uniform(seed, torch.zeros(1, dtype=torch.int64, device=like.device), 1)[0, 0].to(like)


def _move(surrogate: Callable[[Tensor], Tensor], state: Particles, seed: int) -> Particles:
    """One preconditioned Crank–Nicolson move of every particle; the stride follows the share accepted."""
    n, width = state.u.shape
    rows = torch.arange(n, device=state.u.device)
    chance = uniform(child_seed(seed, "chance"), rows, 2).to(state.u)
    # Strides from a third of the common one to all of it: narrow and wide branches both move.
    stride = (state.stride * 3.0 ** (-chance[:, :1])).clamp(max=1.0)
    noise = normal(child_seed(seed, "noise"), rows, width).to(state.u)
    u = (1 - stride**2).sqrt() * state.u + stride * noise
    values = surrogate(u)
    gain = log_relevance(values, state.sharpness) - log_relevance(state.values, state.sharpness)
    taken = chance[:, 1].log() < gain
    share = float(taken.to(torch.float64).mean())
    return Particles(
        torch.where(taken[:, None], u, state.u),
        torch.where(taken, values, state.values),
        state.sharpness,
        min(max(state.stride * 2.0 ** (2 * (share - ACCEPTANCE)), 0.02), 1.0),
    )
