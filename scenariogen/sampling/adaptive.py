"""The probability of a rare event from few evaluations of a score: explore, learn, freeze, draw, reweight.

Wanted is p = P(s(z) > t) for z standard normal in ℝᵈ, the latent of a flow, told values of s alone. The first round
evaluates the score on draws from widened priors, the next ones where a surrogate fitted to all values so far
expects the event (:mod:`.surrogate`, :mod:`.tail_smc`). Then the surrogate and a proposal q (:mod:`.tail_proposal`) are
frozen and one last batch is drawn from q. That batch alone, reweighted by φ/q, is the estimate
(:mod:`.tail_estimate`): given the training it is unbiased, whatever was learnt; what was learnt decides its error.

(Surrogate and importance sampling together: Dubourg, Sudret & Deheeger, *Metamodel-based importance sampling for
structural reliability analysis*, 2013.)
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from scenariogen.errors import DensityError, Problems
from scenariogen.randomness import child_seed, normal
from scenariogen.sampling.contract import check_context, in_blocks
from scenariogen.sampling.flow import CouplingFlow
from scenariogen.sampling.surrogate import LearntSurrogate, learn_surrogate
from scenariogen.sampling.tail_estimate import RareEventEstimate, TailBatch, estimate_tail
from scenariogen.sampling.tail_proposal import SHARES, fit_proposal
from scenariogen.sampling.tail_smc import tail_particles

Score: TypeAlias = Callable[[Tensor], Tensor]
"""z (batch, dim) → (batch,), finite; larger is rarer."""


@dataclass(frozen=True, kw_only=True)
class AdaptiveSettings:
    """How the evaluations are spent. The defaults suit 2 to 100 dimensions.

    ``budget``           evaluations in all; what training leaves is the last batch
    ``explore``          in the first round, and as many more for each dimension as ``explore_per_dim``
    ``rounds``           training rounds after the first, of ``round_size`` evaluations each
    ``tail_share``       of a round that goes where the surrogate expects the event; the rest explores
    ``widths``           standard deviations of the priors that exploration draws from, in turn
    ``particles``        of the annealing in a training round; the last has three times as many
    ``surrogate_draws``  that only the surrogate is evaluated on, for its own probability
    """

    budget: int = 10_000
    explore: int = 800
    explore_per_dim: int = 8
    rounds: int = 4
    round_size: int = 500
    tail_share: float = 0.8
    widths: tuple[float, ...] = (1.0, 1.5, 2.0, 2.5, 3.0)
    particles: int = 1000
    surrogate_draws: int = 100_000

    def training(self, dim: int) -> int:
        """Evaluations before the proposal is frozen."""
        return self.explore + self.explore_per_dim * dim + self.rounds * self.round_size

    def check(self, dim: int) -> None:
        """``DensityError`` that names every setting that cannot work in ``dim`` dimensions."""
        problems = Problems("settings of the adaptive sampler")
        if dim < 1:
            problems.add(f"got {dim} dimensions, expected at least 1")
        if self.explore < 50 or self.explore_per_dim < 0 or self.round_size < 10 or self.rounds < 1:
            problems.add("explore is below 50, explore_per_dim below 0, round_size below 10 or rounds below 1")
        if self.budget - self.training(dim) < 100:
            problems.add(
                f"a budget of {self.budget} leaves {self.budget - self.training(dim)} evaluations after "
                f"{self.training(dim)} of training, expected at least 100"
            )
        if not 0 <= self.tail_share <= 1:
            problems.add(f"tail_share is {self.tail_share}, expected 0 to 1")
        if not self.widths or min(self.widths) <= 0:
            problems.add(f"widths are {self.widths}, expected positive numbers")
        if self.particles < 100 or self.surrogate_draws < 1000:
            problems.add("particles are below 100 or surrogate_draws below 1000")
        problems.raise_as(DensityError)


@dataclass(frozen=True, eq=False)
class AdaptiveState:
    """Everything evaluated so far: ``z`` (batch, dim), ``values`` (batch,) score − threshold, the rounds done, what was
    learnt, and after the last round the batch that the estimate comes from."""

    z: Tensor
    values: Tensor
    round: int = 0
    learnt: LearntSurrogate | None = None
    batch: TailBatch | None = None

    @property
    def is_done(self) -> bool:
        return self.batch is not None


@dataclass(frozen=True, kw_only=True)
class RoundInfo:
    """One round: evaluations spent in it, how many were above the threshold, directions and error of the surrogate that
    chose them (None in the first)."""

    evaluations: int
    above: int
    directions: int | None = None
    surrogate_error: float | None = None


class AdaptiveTailSampler:
    """Pure steps towards P(score(z) > threshold): ``step(seed, state) -> (state, info)`` until ``state.is_done``.

    ``score``   z (batch, dim) → (batch,), finite; ``DensityError`` where it gives anything else
    ``device``, ``dtype``  of the z that the score gets; what is learnt is kept in double precision
    """

    def __init__(
        self,
        score: Score,
        threshold: float,
        *,
        dim: int,
        settings: AdaptiveSettings | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.settings = settings or AdaptiveSettings()
        self.settings.check(dim)
        if not abs(threshold) < float("inf"):
            raise DensityError(f"the threshold is {threshold}, expected a finite number")
        self.score, self.threshold, self.dim, self.dtype = score, float(threshold), dim, dtype
        self.like = torch.zeros((), dtype=torch.float64, device=device)

    def start(self) -> AdaptiveState:
        """The state before any evaluation."""
        return AdaptiveState(self.like.new_zeros((0, self.dim)), self.like.new_zeros(0))

    def step(self, seed: int, state: AdaptiveState) -> tuple[AdaptiveState, RoundInfo]:
        """Explore, train, or draw the last batch, whichever is next. ``DensityError`` once that is done."""
        if state.is_done:
            raise DensityError("the last batch is drawn: there is no further step")
        seed, settings = child_seed(seed, "round", state.round), self.settings
        if state.round == 0:
            z = self._explore(seed, settings.explore + settings.explore_per_dim * self.dim)
            return self._extended(state, z)
        learnt = learn_surrogate(state.z, state.values, seed=seed, before=state.learnt)
        state = replace(state, learnt=learnt)
        if state.round > settings.rounds:
            return self._last(seed, state, learnt)
        count = int(settings.tail_share * settings.round_size)
        u = self._particles(seed, learnt, 1, max(settings.particles, count))[:count]
        z = learnt.surrogate.split.compose(u, self._normal(child_seed(seed, "rest"), count))
        return self._extended(state, torch.cat([z, self._explore(seed, settings.round_size - count)]))

    def _extended(self, state: AdaptiveState, z: Tensor) -> tuple[AdaptiveState, RoundInfo]:
        """The state with the score evaluated at ``z``."""
        values = self._evaluate(z)
        known = state.learnt.surrogate if state.learnt else None
        info = RoundInfo(
            evaluations=len(z),
            above=int((values > 0).sum()),
            directions=known.split.basis.shape[1] if known else None,
            surrogate_error=known.error if known else None,
        )
        every_z, every_value = torch.cat([state.z, z]), torch.cat([state.values, values])
        return replace(state, z=every_z, values=every_value, round=state.round + 1), info

    def _last(self, seed: int, state: AdaptiveState, learnt: LearntSurrogate) -> tuple[AdaptiveState, RoundInfo]:
        """The batch from the frozen proposal."""
        surrogate, split = learnt.surrogate, learnt.surrogate.split
        proposal = fit_proposal(
            self._particles(seed, learnt, 3, 3 * self.settings.particles), seed=child_seed(seed, "fit")
        )
        rows = torch.arange(self.settings.budget - len(state.z), device=self.like.device)
        u = proposal.sample(child_seed(seed, "last"), rows)
        values = self._evaluate(split.compose(u, self._normal(child_seed(seed, "rest"), len(rows))))
        cheap = proposal.sample(
            child_seed(seed, "cheap"), torch.arange(self.settings.surrogate_draws, device=self.like.device)
        )
        expected = proposal.log_weight(cheap).exp() * (in_blocks(surrogate, cheap) > 0)
        batch = TailBatch(
            proposal.log_weight(u), values > 0, in_blocks(surrogate, u) > 0, expected, largest_w=1 / SHARES[-1]
        )
        info = RoundInfo(
            evaluations=len(rows), above=int(batch.above.sum()), directions=split.basis.shape[1],
            surrogate_error=surrogate.error,
        )  # fmt: skip
        return replace(state, round=state.round + 1, batch=batch), info

    def _particles(self, seed: int, learnt: LearntSurrogate, repeats: int, n: int) -> Tensor:
        surrogate = learnt.surrogate
        return tail_particles(
            surrogate.margin, width=surrogate.split.width, n=n, seed=child_seed(seed, "tail"), like=self.like,
            repeats=repeats,
        )  # fmt: skip

    def _explore(self, seed: int, n: int) -> Tensor:
        """Draws of widened priors in pairs z, −z, so that opposite sides are seen alike."""
        half = self._normal(child_seed(seed, "explore"), (n + 1) // 2)
        widths = self.like.new_tensor(self.settings.widths)
        half = half * widths[torch.arange(len(half), device=half.device) % len(widths)][:, None]
        return torch.cat([half, -half])[:n]

    def _normal(self, seed: int, n: int) -> Tensor:
        return normal(seed, torch.arange(n, device=self.like.device), self.dim)

    def _evaluate(self, z: Tensor) -> Float[Tensor, " batch"]:
        """score(z) − threshold, checked."""
        with torch.no_grad():
            values = self.score(z.to(self.dtype))
        if not isinstance(values, Tensor) or values.shape != (len(z),):
            got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise DensityError(f"the score gave {got} for {len(z)} draws, expected a tensor of shape ({len(z)},)")
        wrong = int((~torch.isfinite(values)).sum())
        if wrong:
            raise DensityError(f"the score is nan or infinite for {wrong} of {len(z)} draws, expected finite numbers")
        return values.to(self.like) - self.threshold


def estimate_rare_event(
    score: Score,
    threshold: float,
    *,
    dim: int,
    seed: int,
    settings: AdaptiveSettings | None = None,
    level: float = 0.95,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float64,
) -> RareEventEstimate:
    """P(score(z) > threshold) for z standard normal in ``dim`` dimensions. The same seed gives the same estimate.

    The score is evaluated ``settings.budget`` times. Where the last batch shows no event the value is nan, the verdict
    says so, and ``high`` is what the draws from the prior itself still allow.
    """
    sampler = AdaptiveTailSampler(score, threshold, dim=dim, settings=settings, device=device, dtype=dtype)
    state = sampler.start()
    while state.batch is None:
        state, _ = sampler.step(seed, state)
    return estimate_tail(state.batch, training_evaluations=len(state.z), level=level)


def flow_score(density: CouplingFlow, score: Score, *, context: Float[Tensor, " context"] | None = None) -> Score:
    """The score of a flow's draw as a function of its latent: z ↦ score(T⁻¹(z; context)).

    P(score(x) > t) for x from the flow is then P(flow_score(z) > t) for z standard normal in ``density.dim`` numbers.
    ``DensityError`` for a context of the wrong width.
    """
    row = torch.zeros(density.context_width, dtype=torch.float64) if context is None else context
    check_context(row[None], density.context_width)
    if context is None and density.context_width:
        raise DensityError(f"the flow needs a context of {density.context_width} numbers, got none")

    def of_latent(z: Tensor) -> Tensor:
        def push(block: Tensor) -> Tensor:
            return density(row.to(block).expand(len(block), -1)).push(block)[0]

        with torch.no_grad():
            return score(in_blocks(push, z))

    return of_latent
