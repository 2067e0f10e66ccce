"""Every density that the contract tests run over.

A density is covered the day it is added: put a file ``members_<topic>.py`` beside this one, with a list ``MEMBERS`` of
:class:`Member`. :func:`all_members` imports every such file. The members of the core's simple densities stand in
``members_core.py``.

How a member shows that its density is one, in the order of preference:

``quadrature``      nodes and weights of a rule for its measure: Σ weight · p(node) = 1 (one or two numbers, atoms and
                    counts included: the weight of an atom is 1)
``importance``      True: on ℝᵈ (or a part of it) with Lebesgue measure, E_q[p/q] = 1 within 4 computed standard errors
                    for q a wide density around the member's own draws
``mass_shown_in``   the test file that shows it, where neither is possible (sets of points, densities on a subspace)
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from scenariogen.randomness import normal
from scenariogen.sampling.contract import BLOCK, ConditionalDensity

Make = Callable[[torch.dtype, torch.device], ConditionalDensity]
Contexts = Callable[[int], Tensor | None]
Quadrature = Callable[[], tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class Member:
    """A density with what the contract tests must know of it.

    ``name``           what the test is called
    ``make``           ``make(dtype, device)``: the density, always with the same parameters, away from its start (a
                       perceptron whose last layer is zero hides faults: see :func:`shaken`)
    ``contexts``       ``contexts(rows)``: float64 contexts (rows, context) on the CPU, or None where it has none; row i
                       must not depend on how many are asked for (:func:`normal_contexts` serves most)
    ``shape``          of one draw: (dim,) or (point, dim)
    ``exact``          whether its ``log_prob`` is the exact log-density
    ``has_log_prob``   False where it has none at all
    ``quadrature``     nodes (node, *shape) and weights (node,), float64, of a rule that gives 1 for every context
    ``quadrature_tolerance``  how far from 1 the rule may be
    ``importance``     whether the mass is checked by importance sampling instead
    ``mass_shown_in``  or the test file where it is shown
    ``outside``        points (point, *shape) outside its support, None where the support is everything
    ``tolerance``      between the log-density that comes with a draw and ``log_prob`` of that draw, float64
    ``block``          rows per block in the tests, fewer for a density that is slow to draw from
    """

    name: str
    make: Make
    contexts: Contexts
    shape: tuple[int, ...]
    exact: bool = True
    has_log_prob: bool = True
    quadrature: Quadrature | None = None
    quadrature_tolerance: float = 1e-3
    importance: bool = False
    mass_shown_in: str | None = None
    outside: Tensor | None = None
    tolerance: float = 1e-8
    block: int = BLOCK

    def __str__(self) -> str:
        return self.name


def no_context(rows: int) -> None:
    """The contexts of an unconditional density."""


def normal_contexts(width: int) -> Contexts:
    """Standard normal contexts of ``width`` numbers, the same row by row whatever the request."""
    return lambda rows: normal(2024, torch.arange(rows), width)


def shaken(build: Callable[[], ConditionalDensity], *, seed: int = 3, scale: float = 0.3) -> ConditionalDensity:
    """A density built from an explicit seed, its parameters moved by ``scale`` times standard normal numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = build()
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.add_(scale * torch.randn_like(parameter))
    return made


def box(lows: tuple[float, ...], highs: tuple[float, ...], *, nodes: int = 801) -> Quadrature:
    """The midpoint rule with ``nodes`` nodes a side on a box of one or two sides."""

    def rule() -> tuple[Tensor, Tensor]:
        middle = (torch.arange(nodes, dtype=torch.float64) + 0.5) / nodes
        sides = [low + (high - low) * middle for low, high in zip(lows, highs, strict=True)]
        grid = torch.cartesian_prod(*sides).reshape(-1, len(sides))
        cell = 1.0
        for low, high in zip(lows, highs, strict=True):
            cell *= (high - low) / nodes
        return grid, torch.full((len(grid),), cell, dtype=torch.float64)

    return rule


@cache
def all_members() -> tuple[Member, ...]:
    """The members of every ``members_<topic>.py`` of this folder, in the order of their files' names."""
    package = importlib.import_module(__package__ or "tests.contracts")
    topics = sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.name.startswith("members_"))
    found = [m for topic in topics for m in importlib.import_module(f"{package.__name__}.{topic}").MEMBERS]
    names = [m.name for m in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"members of the same name: {', '.join(twice)}")
    return tuple(found)
