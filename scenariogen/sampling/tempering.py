"""Parallel tempering: the reference for targets whose averages nobody knows in closed form.

Chains at rising temperatures, from β down to where barriers are low, move by Hamiltonian Monte Carlo; neighbours swap
places with probability min(1, exp((βᵢ − βⱼ)(Uᵢ − Uⱼ))), which leaves the product of all p_βᵢ as it is (Geyer, *Markov
chain Monte Carlo maximum likelihood*, 1991). Many independent ladders run side by side: their means are independent, so
the standard error is theirs and needs no autocorrelation time.
"""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from scenariogen.errors import DensityError, Problems
from scenariogen.randomness import child_seed, normal, uniform
from scenariogen.sampling.annealing import ACCEPTED
from scenariogen.sampling.targets import BoltzmannTarget


@dataclass(frozen=True, kw_only=True, eq=False)
class Ladders:
    """``x`` (ladder, rung, dim); ``step_length`` (rung,) of the leapfrog; ``number`` of steps made."""

    x: Float[Tensor, "ladder rung dim"]
    step_length: Float[Tensor, " rung"]
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class TemperingInfo:
    """Shares of moves and of swaps accepted, the mean over rungs."""

    moved: float
    swapped: float


@dataclass(frozen=True, kw_only=True)
class Tempering:
    """Settings. ``betas`` start with the target's own and fall; adaptation of step lengths ends after ``adapting``
    steps, which are not to be averaged over."""

    target: BoltzmannTarget
    betas: tuple[float, ...]
    leapfrogs: int = 8
    adapting: int = 100

    def __post_init__(self) -> None:
        problems = Problems("settings of parallel tempering")
        if len(self.betas) < 2 or any(a <= b for a, b in zip(self.betas, self.betas[1:], strict=False)):
            problems.add(f"got the inverse temperatures {self.betas}, expected at least 2 that fall")
        if self.betas and not math.isclose(self.betas[0], self.target.beta, rel_tol=1e-12):
            problems.add(f"the first β is {self.betas[0]}, expected the target's own, {self.target.beta}")
        if self.leapfrogs < 1 or self.adapting < 0:
            problems.add(
                f"got {self.leapfrogs} leapfrogs and {self.adapting} steps of adaptation, expected at least 1 and 0"
            )
        problems.raise_as(DensityError)

    def start(self, x: Float[Tensor, "ladder dim"]) -> Ladders:
        """Every rung of a ladder starts at the same place."""
        rungs = len(self.betas)
        return Ladders(x=x[:, None].expand(-1, rungs, -1).clone(), step_length=torch.full((rungs,), 0.05).to(x))

    def step(self, seed: int, state: Ladders) -> tuple[Ladders, TemperingInfo]:
        """One Hamiltonian move of every chain, then one round of swaps between even or odd neighbours."""
        seed = child_seed(seed, "temper", state.number)
        x = state.x
        ladders, rungs, dim = x.shape
        betas = x.new_tensor(self.betas)
        rows = torch.arange(ladders * rungs, device=x.device)
        step = state.step_length.repeat(ladders)[:, None]
        place = x.flatten(0, 1)
        beta = betas.repeat(ladders)
        momentum = normal(child_seed(seed, "momentum"), rows, dim).to(x)
        log_p, energy, slope = self._evaluate(place, beta)
        start, before = place, log_p - 0.5 * (momentum**2).sum(-1)
        first = energy
        momentum = momentum + 0.5 * step * slope
        for number in range(self.leapfrogs):
            place = place + step * momentum
            log_p, energy, slope = self._evaluate(place, beta)
            momentum = momentum + (1.0 if number < self.leapfrogs - 1 else 0.5) * step * slope
        after = log_p - 0.5 * (momentum**2).sum(-1)
        u = uniform(child_seed(seed, "accept"), rows, 1)[:, 0].to(x)
        accepted = torch.log(u) < torch.nan_to_num(after - before, nan=-torch.inf)
        moved = torch.where(accepted[:, None], place, start).view(ladders, rungs, dim)
        energy = torch.where(accepted, energy, first).view(ladders, rungs)
        share = accepted.view(ladders, rungs).to(x.dtype).mean(0)
        moved, swapped = self._swap(child_seed(seed, "swap"), moved, energy, betas, state.number % 2)
        length = state.step_length
        if state.number < self.adapting:
            length = (length * 2.0 ** (share - ACCEPTED)).clamp(1e-4, 2.0)
        found = replace(state, x=moved, step_length=length, number=state.number + 1)
        return found, TemperingInfo(moved=float(share.mean()), swapped=swapped)

    def _swap(self, seed: int, x: Tensor, energy: Tensor, betas: Tensor, first: int) -> tuple[Tensor, float]:
        ladders, rungs, _ = x.shape
        order = torch.arange(rungs, device=x.device).expand(ladders, -1).clone()
        low = torch.arange(first, rungs - 1, 2, device=x.device)
        if not len(low):
            return x, 0.0
        u = uniform(seed, torch.arange(ladders, device=x.device), len(low)).to(x)
        gain = (betas[low] - betas[low + 1]) * (energy[:, low] - energy[:, low + 1])
        accepted = torch.log(u) < gain
        order[:, low] += accepted.long()
        order[:, low + 1] -= accepted.long()
        return x.gather(1, order[..., None].expand_as(x)), float(accepted.double().mean())

    def _evaluate(self, x: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            energy = self.target.energy_of(x, overflows=True)
            log_p = self.target.log_prior(x) - beta * energy
            (slope,) = torch.autograd.grad(log_p.sum(), x)
        return log_p.detach(), energy.detach(), slope
