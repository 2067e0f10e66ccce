"""Boltzmann generator: a flow that learns p*(x) ∝ p(x) exp(−βU(x)) from energies and gradients alone.

Two divergences pull the flow q towards p*, each from another side:

    D(p*‖q) = E_p*[log p* − log q]   covers every mode that the draws of p* hold
    D(q‖p*) = E_q[log q − log p*]    has no noise left where q is right, and forgets modes

Draws of p* come from annealing in β (:mod:`.annealing`), and from the flow's own earlier draws in a prioritised replay
buffer (:mod:`.replay`); no draw of the target is given. Gradients of D(q‖p*) go through x by reparametrisation. What is
left wrong with q the weights w = p exp(−βU) / q take away, without the partition function: E_q[w] = Z, and averages
weighted by w are averages under p* (:func:`weigh`). The weights are never smoothed or clipped.

(Noé, Olsson, Köhler & Wu, *Boltzmann generators: sampling equilibrium states of many-body systems with deep learning*,
2019; Midgley, Stimper, Simm, Schölkopf & Hernández-Lobato, *Flow annealed importance sampling bootstrap*, 2023.)
"""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from scenariogen.errors import DensityError
from scenariogen.randomness import child_seed, normal, uniform
from scenariogen.sampling.annealing import Annealing, anneal
from scenariogen.sampling.contract import ConditionalDensity
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.replay import ReplayBuffer, empty
from scenariogen.sampling.targets import BoltzmannTarget
from scenariogen.sampling.weighing import rough_weights


class Direction(StrEnum):
    """Which divergence is made small."""

    FORWARD = "D(p*‖q)"
    REVERSE = "D(q‖p*)"
    BOTH = "D(p*‖q) + D(q‖p*)"


ForwardLoss = Callable[[Any, Tensor, int], Tensor]
"""loss(density, rows, seed): (batch,); its mean over draws of the target is smallest where density and target agree."""


def likelihood_loss(density: Any, rows: Tensor, seed: int) -> Tensor:
    """−log q of each row: D(p*‖q) up to a constant."""
    return -density(rows.new_zeros((len(rows), 0))).log_prob(rows)


@dataclass(frozen=True, kw_only=True)
class BoltzmannSettings:
    """How a generator is trained.

    ``direction``       the divergence; with both, their sum
    ``updates``         gradient steps in all; the learning rate falls to 0 along half a cosine
    ``warm_up``         how many of them, at the start, use D(p*‖q) alone (for both), or raise β (for D(q‖p*) alone)
    ``reverse_weight``  of D(q‖p*) in the sum
    ``batch``           rows of each gradient step, for each divergence
    ``learning_rate``   of the couplings; marginal splines take ``marginal_rate``
    ``averaging``       decay of the average over parameters that the generator ends with
    ``particles``       of the annealed population that the buffer starts from
    ``effective_share`` of its weights at each rise of β
    ``fresh``           draws of the flow, with averaged parameters, every ``updates_per_step`` updates: they enter the
                        buffer, and their effective share says which parameters were best
    ``capacity``        of the buffer; the population's own draws go when it is full
    """

    direction: Direction = Direction.BOTH
    updates: int = 3000
    warm_up: int = 300
    reverse_weight: float = 1.0
    batch: int = 512
    learning_rate: float = 1e-3
    marginal_rate: float = 5e-3
    averaging: float = 0.995
    gradient_limit: float = 10.0
    particles: int = 8000
    effective_share: float = 0.9
    fresh: int = 1000
    capacity: int = 50_000
    updates_per_step: int = 50

    def __post_init__(self) -> None:
        if not 0 <= self.averaging < 1:
            raise DensityError(f"averaging is {self.averaging}, expected at least 0 and below 1")
        if min(self.updates, self.batch, self.updates_per_step) < 1 or min(self.particles, self.fresh) < 2:
            raise DensityError("updates, batch, updates_per_step must be at least 1, particles and fresh at least 2")


@dataclass(frozen=True, kw_only=True, eq=False)
class BoltzmannState:
    """What the next step needs.

    ``parameters``, ``average``  of the flow, and the average over updates
    ``best``, ``best_share``     the average whose fresh draws had the largest effective share so far, and that share
    ``optimiser``                the moments of its gradients
    ``log_z``                    the population's estimate, which puts fresh weights and its own draws on one scale
    """

    parameters: dict[str, Tensor] = field(repr=False)
    average: dict[str, Tensor] = field(repr=False)
    best: dict[str, Tensor] = field(repr=False)
    optimiser: dict[str, Any] = field(repr=False)
    buffer: ReplayBuffer = field(repr=False)
    log_z: float
    best_share: float = 0.0
    updates: int = 0


@dataclass(frozen=True, kw_only=True)
class BoltzmannInfo:
    """One step: the losses' means, the effective share of fresh draws, the buffer's size, and energies and gradients
    used so far."""

    updates: int
    forward: float | None
    reverse: float | None
    share: float
    buffer: int
    energies: int
    gradients: int


@dataclass(frozen=True, kw_only=True)
class BoltzmannGenerator:
    """Trains ``flow`` towards ``target``. The flow itself is left as it is: :meth:`finish` gives the trained copy.

    ``flow`` needs a ``push`` on its distribution, that is a reparametrised draw (:class:`.flow.CouplingFlow`,
    :class:`.coordinates.InCoordinates`); ``forward_loss`` is what stands for D(p*‖q).
    """

    target: BoltzmannTarget
    flow: ConditionalDensity
    settings: BoltzmannSettings = field(default_factory=BoltzmannSettings)
    forward_loss: ForwardLoss = likelihood_loss

    def start(
        self, seed: int, *, buffer: ReplayBuffer | None = None, log_z: float = 0.0, keep_scale: bool = False
    ) -> BoltzmannState:
        """Anneal a population, fit the flow's scale to it and put it into the buffer.

        A ``buffer`` from an earlier training, with its ``log_z``, takes the population's place; ``keep_scale`` then
        leaves the flow's scale as it is.
        """
        flow, s = deepcopy(self.flow), self.settings
        like = next(flow.parameters())
        if s.direction is Direction.REVERSE:
            buffer = empty(s.capacity, _columns(flow), like=like)
        elif buffer is None:
            sampler = Annealing(target=self.target, effective_share=s.effective_share)
            population = anneal(sampler, child_seed(seed, "population"), s.particles, extra_steps=3)
            x, log_z = population.x.to(like), population.log_z
            buffer = empty(s.capacity, x.shape[1], like=like).add(x, torch.zeros_like(x[:, 0]))
        if len(buffer) and not keep_scale and isinstance(flow, CouplingFlow):
            flow.standardise(buffer.x)
        values = _values(flow)
        return BoltzmannState(
            parameters=values,
            average=values,
            best=values,
            optimiser=self._optimiser(flow).state_dict(),
            buffer=buffer,
            log_z=log_z,
        )

    def step(self, seed: int, state: BoltzmannState) -> tuple[BoltzmannState, BoltzmannInfo]:
        """``updates_per_step`` gradient steps, then fresh draws into the buffer."""
        s = self.settings
        flow = self._restore(state.parameters)
        optimiser = self._optimiser(flow)
        optimiser.load_state_dict(deepcopy(state.optimiser))
        average = {name: value.clone() for name, value in state.average.items()}
        losses: dict[str, list[float]] = {"forward": [], "reverse": []}
        last = min(state.updates + s.updates_per_step, s.updates)
        for number in range(state.updates, last):
            self._set_rate(optimiser, number)
            parts = self._losses(flow, state.buffer, child_seed(seed, "update", number), number)
            for name, part in parts.items():
                losses[name].append(float(part.detach()))
            weights = {"forward": 1.0, "reverse": s.reverse_weight}
            total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
            loss = float(total.detach())
            if not math.isfinite(loss):
                raise DensityError(f"the loss is {loss} at update {number}: take a smaller learning rate")
            optimiser.zero_grad()
            total.backward()
            nn.utils.clip_grad_norm_(flow.parameters(), s.gradient_limit)
            optimiser.step()
            decay = min(s.averaging, (1 + number) / (10 + number))
            for name, value in flow.state_dict().items():
                if value.is_floating_point():
                    average[name].lerp_(value, 1 - decay)
        averaged = self._restore(average)
        fresh = rough_weights(averaged, self.target, seed=child_seed(seed, "fresh", last), n=s.fresh)
        share = fresh.effective_size / len(fresh)
        buffer = state.buffer
        if s.direction is not Direction.REVERSE and last > s.warm_up:
            buffer = buffer.add(fresh.x, (fresh.log_w - state.log_z).clamp_max(math.log(buffer.limit)))
        better = share > state.best_share and last > s.warm_up
        found = BoltzmannState(
            parameters=_values(flow),
            average=average,
            best=average if better or not state.best_share else state.best,
            optimiser=optimiser.state_dict(),
            buffer=buffer,
            log_z=state.log_z,
            best_share=share if better else state.best_share,
            updates=last,
        )
        means = {name: sum(each) / len(each) if each else None for name, each in losses.items()}
        return found, BoltzmannInfo(
            updates=last,
            forward=means["forward"],
            reverse=means["reverse"],
            share=share,
            buffer=len(buffer),
            energies=self.target.energies,
            gradients=self.target.gradients,
        )

    def finish(self, state: BoltzmannState) -> ConditionalDensity:
        """The flow with the best of the averaged parameters."""
        return self._restore(state.best)

    def train(
        self, seed: int, *, progress: Callable[[BoltzmannInfo], None] | None = None
    ) -> tuple[ConditionalDensity, BoltzmannState]:
        """All steps; the trained flow and the last state."""
        state = self.start(seed)
        while state.updates < self.settings.updates:
            state, info = self.step(seed, state)
            if progress is not None:
                progress(info)
        return self.finish(state), state

    def _losses(self, flow: ConditionalDensity, buffer: ReplayBuffer, seed: int, number: int) -> dict[str, Tensor]:
        s = self.settings
        like = next(flow.parameters())
        rows = torch.arange(s.batch, device=like.device)
        parts = {}
        if s.direction is not Direction.REVERSE:
            entries = buffer.pick(uniform(child_seed(seed, "pick"), rows, 1)[:, 0])
            parts["forward"] = self.forward_loss(flow, buffer.x[entries], child_seed(seed, "loss")).mean()
        if s.direction is Direction.REVERSE or (s.direction is Direction.BOTH and number >= s.warm_up):
            z = normal(child_seed(seed, "draw"), rows, _columns(flow)).to(like.dtype)
            x, log_q = flow(z[:, :0]).push(z)
            target = self.target
            if s.direction is Direction.REVERSE and number < s.warm_up:
                target = replace(target, beta=target.beta * (number + 1) / s.warm_up)
            log_p = target.log_prob(x)
            reached = torch.isfinite(
                log_p
            )  # an infinite energy has no gradient; D(p*‖q) and the weights see such draws
            parts["reverse"] = (log_q - log_p)[reached].mean()
        return parts

    def _optimiser(self, flow: ConditionalDensity) -> torch.optim.Optimizer:
        s = self.settings
        marginal = [p for name, p in flow.named_parameters() if "marginals" in name]
        rest = [p for name, p in flow.named_parameters() if "marginals" not in name]
        groups = [{"params": rest, "lr": s.learning_rate}, {"params": marginal, "lr": s.marginal_rate}]
        return torch.optim.Adam([group for group in groups if group["params"]])

    def _set_rate(self, optimiser: torch.optim.Optimizer, number: int) -> None:
        factor = 0.5 * (1 + math.cos(math.pi * number / self.settings.updates))
        factor *= min(1.0, (number + 1) / 50)
        for group in optimiser.param_groups:
            group.setdefault("initial_lr", group["lr"])
            group["lr"] = factor * group["initial_lr"]

    def _restore(self, values: dict[str, Tensor]) -> ConditionalDensity:
        flow = deepcopy(self.flow)
        flow.load_state_dict(values)
        return flow


def _values(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _columns(flow: ConditionalDensity) -> int:
    """How many numbers a draw is made from, which for a flow is how many it has."""
    return flow(next(flow.parameters()).new_zeros((1, 0))).noise_columns
