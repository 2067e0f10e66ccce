"""What a conditional density is.

A density is a module; called with a context it gives a distribution that can draw and weigh. Noise comes in from
outside (see :mod:`scenariogen.randomness`), so that a draw is a function of its seed and number alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

BLOCK = 1024
"""Rows in which networks are evaluated. Blocks are padded to this size, so that a row's result does not depend on
how many others were asked for: matrix products of other shapes round differently."""


class Distribution(ABC):
    """A density given its context."""

    log_prob_is_exact: bool = True

    @abstractmethod
    def sample(self, noise: Tensor) -> Tensor:
        """Draws from uniform noise in (0, 1), one per row of the context."""

    @abstractmethod
    def log_prob(self, x: Tensor) -> Tensor:
        """Natural log-density of ``x``, one per row of the context; −inf outside the support."""


class ConditionalDensity(nn.Module, ABC):
    """A module that gives a :class:`Distribution` for a context of shape (batch, context)."""

    @abstractmethod
    def forward(self, context: Tensor) -> Distribution:
        """The distribution given ``context``."""


def in_blocks(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """``function(rows)``, evaluated in padded blocks of :data:`BLOCK` rows."""
    if len(rows) == 0:
        return function(rows.new_zeros((BLOCK, *rows.shape[1:])))[:0]
    parts = []
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        padding = rows.new_zeros((BLOCK - len(block), *rows.shape[1:]))
        parts.append(function(torch.cat([block, padding]))[: len(block)])
    return torch.cat(parts)


def mlp(
    inputs: int, outputs: int, *, hidden: int = 32, layers: int = 2, dtype: torch.dtype = torch.float64
) -> nn.Module:
    """A small perceptron whose last layer starts at zero, so that training starts from the base density."""
    parts: list[nn.Module] = []
    width = inputs
    for _ in range(layers):
        parts += [nn.Linear(width, hidden, dtype=dtype), nn.SiLU()]
        width = hidden
    last = nn.Linear(width, outputs, dtype=dtype)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*parts, last)
