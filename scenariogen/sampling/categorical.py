"""Several choices in a row, each given the earlier ones: an autoregressive categorical chain with masks.

For choices k_1 … k_h with n_1 … n_h options,

    p(k | c) = Π_i p(k_i | c, k_1 … k_{i−1}),

each factor a softmax over what the mask allows, its logits from a small perceptron on the context and the one-hot
earlier choices. What is masked has probability exactly 0. Given a set of allowed outcomes the chain is summed over the
table of all outcomes, so conditional probabilities and draws are exact, from the posterior: an early choice is drawn
with what it leaves possible later, never by rejection.

A draw is a row of option numbers 0 … n_i − 1, one per choice, in the density's floating-point type; the density is with
respect to counting.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling.contract import COUNTING, ConditionalDensity, Distribution, check_context
from scenariogen.sampling.discrete import draw_category
from scenariogen.sampling.ranges import check_possible
from scenariogen.sampling.spline import head

LARGEST_TABLE = 4096
"""Outcomes that a condition is summed over, at most."""

Mask: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""``mask(context, earlier)``: which options the next choice has, bool (batch, option), given the context (batch,
context) and the choices made so far (batch, choice) as int64. A pure function, row by row."""


class ChainDistribution(Distribution):
    """The chain given its context; one column of noise per choice. Draws have shape (batch, choice)."""

    def __init__(self, chain: "CategoricalChain", context: Float[Tensor, "batch context"]) -> None:
        self.chain, self.context = chain, context
        self.noise_columns = len(chain.options)

    def sample(self, noise: Float[Tensor, "batch choice"]) -> Float[Tensor, "batch choice"]:
        return self.sample_and_log_prob(noise)[0]

    def sample_and_log_prob(
        self, noise: Float[Tensor, "batch choice"]
    ) -> tuple[Float[Tensor, "batch choice"], Float[Tensor, " batch"]]:
        chosen = torch.zeros((len(noise), 0), dtype=torch.int64, device=noise.device)
        total = self.context.new_zeros(len(noise))
        for i in range(noise.shape[1]):
            log_p = self.chain.log_shares(self.context, chosen)
            k = draw_category(noise[:, i], torch.exp(log_p.detach()))[:, None]
            total = total + log_p.gather(1, k)[:, 0]
            chosen = torch.cat([chosen, k], dim=1)
        return chosen.to(self.context.dtype), total

    def log_prob(self, x: Float[Tensor, "batch choice"]) -> Float[Tensor, " batch"]:
        k, possible = self.chain.indices(x)
        total = self.context.new_zeros(len(x))
        for i in range(x.shape[1]):
            # Beyond a choice of probability 0 nothing need be allowed.
            log_p = self.chain.log_shares(self.context, k[:, :i], needed=possible & torch.isfinite(total))
            total = total + log_p.gather(1, k[:, i : i + 1])[:, 0]
        return torch.where(possible, total, -torch.inf)

    def log_table(self) -> Float[Tensor, "batch outcome"]:
        """log p of every outcome, (batch, outcome), in the order of :meth:`CategoricalChain.outcomes`.

        ``DensityError`` where there are more than the chain's ``largest_table``.
        """
        batch, options = len(self.context), self.chain.options
        self.chain.check_table()
        table = self.context.new_zeros(batch, 1)
        for i, n in enumerate(options):
            earlier = _outcomes(options[:i], self.context.device)
            prefixes = len(earlier)
            context = self.context.repeat_interleave(prefixes, 0)
            log_p = self.chain.log_shares(context, earlier.repeat(batch, 1), needed=torch.isfinite(table).reshape(-1))
            table = (table[:, :, None] + log_p.reshape(batch, prefixes, n)).reshape(batch, -1)
        return table

    def log_probability(self, allowed: Bool[Tensor, "..."]) -> Float[Tensor, " batch"]:
        """log P(outcome allowed), (batch,), −inf where it is 0; ``allowed`` as in :meth:`given`."""
        return torch.logsumexp(self._given(allowed), dim=-1)

    def given(self, allowed: Bool[Tensor, "..."]) -> "TableDistribution":
        """The posterior given that the outcome is among the ``allowed``, exactly.

        ``allowed``: bool of shape (n_1, …, n_h), or (batch, n_1, …, n_h) for a set of each row's own. ``DensityError``
        where it has another shape or probability 0, or where the table of all outcomes is too large.
        """
        return TableDistribution(self.chain, self._given(allowed))

    def _given(self, allowed: Tensor) -> Tensor:
        options = self.chain.options
        if tuple(allowed.shape) not in (options, (len(self.context), *options)) or allowed.dtype != torch.bool:
            raise DensityError(
                f"got a set of outcomes of shape {tuple(allowed.shape)} and {allowed.dtype}, expected bool of shape "
                f"{options} or (batch, {', '.join(map(str, options))}), batch {len(self.context)}"
            )
        table = self.log_table()
        return torch.where(allowed.to(table.device).reshape(-1, table.shape[1]), table, -torch.inf)


class TableDistribution(Distribution):
    """A chain given a set of outcomes: a table over all of them, ``log_condition`` (batch,) the set's log-probability.

    Choices are drawn one after the other, each from its posterior, so that with everything allowed a draw is that of
    the chain itself.
    """

    def __init__(self, chain: "CategoricalChain", table: Float[Tensor, "batch outcome"]) -> None:
        self.chain, self.measure = chain, chain.measure
        self.noise_columns = len(chain.options)
        self.log_condition = torch.logsumexp(table, dim=-1)
        check_possible(self.log_condition, "a set of outcomes")
        self.log_table = table - self.log_condition[:, None]

    def sample(self, noise: Float[Tensor, "batch choice"]) -> Float[Tensor, "batch choice"]:
        rest, chosen = torch.exp(self.log_table.detach().to(torch.float64)), []
        for i, n in enumerate(self.chain.options):
            rest = rest.reshape(len(noise), n, -1)
            k = draw_category(noise[:, i], rest.sum(-1))
            rest = rest[torch.arange(len(noise), device=rest.device), k]
            chosen.append(k)
        return torch.stack(chosen, dim=1).to(self.log_table.dtype)

    def log_prob(self, x: Float[Tensor, "batch choice"]) -> Float[Tensor, " batch"]:
        k, possible = self.chain.indices(x)
        place = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        for i, n in enumerate(self.chain.options):
            place = place * n + k[:, i]
        return torch.where(possible, self.log_table.gather(1, place[:, None])[:, 0], -torch.inf)


class CategoricalChain(ConditionalDensity):
    """Choices with ``options`` options each, in this order, given ``context_width`` numbers.

    ``mask``  what is allowed: a bool tensor (n_1, …, n_h) of allowed outcomes, a function (:data:`Mask`), or None where
              everything is. Options that no allowed outcome starts with have probability exactly 0.
    ``largest_table``  outcomes that :meth:`ChainDistribution.given` may sum over

    At the start all allowed options of a choice weigh the same. ``DensityError`` that lists what is wrong; later, where
    the mask leaves a choice that can be reached without an option.
    """

    allowed: Tensor | None

    def __init__(
        self,
        options: Sequence[int],
        context_width: int = 0,
        *,
        mask: Bool[Tensor, "..."] | Mask | None = None,
        largest_table: int = LARGEST_TABLE,
        hidden: int = 32,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        problems = Problems("a categorical chain")
        if not options or min(options) < 1:
            problems.add(f"got choices with {list(options)} options, expected at least 1 choice and 1 option each")
        table = mask if isinstance(mask, Tensor) else None
        if table is not None and tuple(table.shape) != tuple(options):
            problems.add(f"got a mask of shape {tuple(table.shape)}, expected {tuple(options)}")
        if table is not None and not table.any():
            problems.add("got a mask that allows no outcome, expected at least 1")
        problems.raise_as(DensityError)
        self.options, self.context_width, self.dim = tuple(options), context_width, len(options)
        self.measure = COUNTING
        self.largest_table = largest_table
        self.mask: Mask | None = None if mask is None or isinstance(mask, Tensor) else mask
        self.register_buffer("allowed", table)
        self.heads = nn.ModuleList(
            head(context_width + sum(options[:i]), n, hidden=hidden, dtype=dtype) for i, n in enumerate(options)
        )

    def forward(self, context: Float[Tensor, "batch context"]) -> ChainDistribution:
        """The density for contexts of shape (batch, context)."""
        check_context(context, self.context_width)
        return ChainDistribution(self, context)

    def outcomes(self) -> Int[Tensor, "outcome choice"]:
        """All outcomes, (outcome, choice), the last choice counting fastest."""
        self.check_table()
        return _outcomes(self.options, next(self.parameters()).device)

    def log_shares(
        self,
        context: Float[Tensor, "batch context"],
        earlier: Int[Tensor, "batch choice"],
        *,
        needed: Bool[Tensor, " batch"] | None = None,
    ) -> Float[Tensor, "batch option"]:
        """log p(next choice | earlier, context), (batch, option), −inf where masked.

        ``DensityError`` where nothing is allowed, but for rows that are not ``needed``; those are −inf.
        """
        i = earlier.shape[1]
        parts = [one_hot(earlier[:, j], n).to(context.dtype) for j, n in enumerate(self.options[:i])]
        inputs = torch.cat([context, *parts], dim=1)
        logits = self.heads[i](inputs)
        mask = self._allowed(context, earlier)
        if mask is None:
            return torch.log_softmax(logits, dim=-1)
        some = mask.any(-1)
        stuck = int((~some if needed is None else ~some & needed).sum())
        if stuck:
            raise DensityError(
                f"the mask leaves choice {i} without an option in {stuck} of {len(mask)} rows, expected at least 1"
            )
        usable = torch.where(some[:, None], mask, True)
        log_p = torch.log_softmax(torch.where(usable, logits, -torch.inf), dim=-1)
        return torch.where(mask, log_p, -torch.inf)

    def indices(self, x: Float[Tensor, "batch choice"]) -> tuple[Int[Tensor, "batch choice"], Bool[Tensor, " batch"]]:
        """Option numbers (batch, choice), and whether each row is an outcome at all (batch,); 0 where it is not."""
        if x.dim() != 2 or x.shape[1] != len(self.options):
            raise DensityError(f"got outcomes of shape {tuple(x.shape)}, expected (batch, {len(self.options)})")
        counts = torch.tensor(self.options, device=x.device)
        valid = (x >= 0) & (x < counts) & (x == torch.floor(x))
        return torch.where(valid, x, 0.0).to(torch.int64), valid.all(-1)

    def check_table(self) -> None:
        """``DensityError`` where there are more outcomes than may be summed over."""
        if (size := math.prod(self.options)) > self.largest_table:
            raise DensityError(
                f"got {size} outcomes, expected at most {self.largest_table} where a condition sums over all: raise "
                "largest_table, or condition on fewer choices"
            )

    def _allowed(self, context: Tensor, earlier: Tensor) -> Tensor | None:
        """Which options the next choice has, (batch, option), or None where it has all."""
        i = earlier.shape[1]
        if self.mask is not None:
            mask = self.mask(context, earlier)
            if tuple(mask.shape) != (len(context), self.options[i]) or mask.dtype != torch.bool:
                raise DensityError(
                    f"got a mask for choice {i} of shape {tuple(mask.shape)} and {mask.dtype}, expected bool "
                    f"({len(context)}, {self.options[i]})"
                )
            return mask
        if self.allowed is None:
            return None
        reachable = self.allowed.reshape(*self.options[: i + 1], -1).any(-1)
        return reachable[tuple(earlier.T)] if i else reachable.expand(len(context), -1)


def _outcomes(options: Sequence[int], device: torch.device) -> Tensor:
    if not options:
        return torch.zeros((1, 0), dtype=torch.int64, device=device)
    return torch.cartesian_prod(*(torch.arange(n, device=device) for n in options)).reshape(-1, len(options))
