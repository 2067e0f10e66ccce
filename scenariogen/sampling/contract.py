"""What a conditional density is, and how draws are made from one.

A density is a module; called with a context it gives a distribution that can draw and weigh. Noise comes in from
outside (see :mod:`scenariogen.randomness`), so that a draw is a function of its seed and its own number alone, and
networks are evaluated in padded blocks of a fixed size, so that it is the same to the last bit in a request of any
size.

A sampler that iterates is a pure step: ``step(seed, state) -> (state, info)``. What the next step needs is state, what
a reader wants is info; both are frozen records. Samplers get a score function and know nothing of what it scores.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scenariogen.errors import DensityError
from scenariogen.randomness import uniform

BLOCK = 1024
"""Rows in which networks are evaluated. Blocks are padded to this size, so that a row's result does not depend on
how many others were asked for: matrix products of other shapes round differently."""

LEBESGUE = "Lebesgue"
COUNTING = "counting"

Noise: TypeAlias = Callable[[int, Tensor, int], Tensor]
"""Base noise: ``noise(seed, rows, columns)`` gives uniform numbers in (0, 1), float64, of shape (rows, columns), a
pure function of its arguments. :func:`scenariogen.randomness.uniform` is independent from row to row;
:func:`scenariogen.sampling.quasi.sobol` fills the cube evenly, and is marked as :func:`balanced`."""

_BALANCED = "rows_are_balanced"

State = TypeVar("State")
Info = TypeVar("Info", covariant=True)


class Distribution(ABC):
    """A density given its context: one distribution per row of the context.

    ``log_prob_is_exact``  whether :meth:`log_prob` is the log-density itself; where it is a bound or an estimate,
                           weights refuse it (:func:`exact_log_prob`)
    ``has_log_prob``       False where there is nothing of the kind: :meth:`log_prob` raises ``DensityError``, and
                           draws come without one
    ``noise_columns``      how many uniform numbers one draw takes
    ``measure``            that of the density it comes from; empty where nobody said
    """

    measure: str = ""
    log_prob_is_exact: bool = True
    has_log_prob: bool = True
    noise_columns: int = 1

    @abstractmethod
    def sample(self, noise: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch *dim"]:
        """Draws, one per row, from uniform noise in (0, 1) of shape (batch, noise_columns).

        A pure function of the noise. Draws have shape (batch, dim), of sets of points (batch, point, dim).
        """

    @abstractmethod
    def log_prob(self, x: Float[Tensor, "batch *dim"]) -> Float[Tensor, " batch"]:
        """Natural log-density of ``x``, shape (batch,); −inf outside the support, never nan."""

    def sample_and_log_prob(
        self, noise: Float[Tensor, "batch columns"]
    ) -> tuple[Float[Tensor, "batch *dim"], Float[Tensor, " batch"] | None]:
        """Draws with their log-density (None where there is none); densities that get both in one pass override it."""
        x = self.sample(noise)
        return x, self.log_prob(x) if self.has_log_prob else None


class ConditionalDensity(nn.Module, ABC):
    """A module that gives a :class:`Distribution` for a context of shape (batch, context).

    ``context_width``  numbers in a row of context, 0 where the density is unconditional
    ``measure``        the name of the measure that the density is with respect to; densities of different measures
                       are not mixed or divided
    """

    context_width: int = 0
    measure: str = LEBESGUE

    @abstractmethod
    def forward(self, context: Float[Tensor, "batch context"]) -> Distribution:
        """The distribution given ``context``. ``DensityError`` where it has another width or holds nan."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """:meth:`forward`, whose distribution then knows its measure."""
        found = super().__call__(*args, **options)
        if isinstance(found, Distribution):
            found.measure = self.measure
        return found


class Sampler(Protocol[State, Info]):
    """An iterative sampler: pure, so that a chain can be stopped, stored and continued."""

    def step(self, seed: int, state: State) -> tuple[State, Info]:
        """One step. The same seed and state give the same result."""
        ...


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws with their log-density: ``x`` (batch, dim), ``log_prob`` (batch,), and whether that is exact.

    ``log_prob`` is None where the density has none.
    """

    x: Float[Tensor, "batch *dim"]
    log_prob: Float[Tensor, " batch"] | None
    log_prob_is_exact: bool

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        kind = "no" if self.log_prob is None else "exact" if self.log_prob_is_exact else "inexact"
        return f"Draws({len(self)} of shape {tuple(self.x.shape[1:])}, {kind} log-density)"


def draw(
    density: ConditionalDensity,
    context: Tensor | None = None,
    *,
    seed: int,
    n: int | None = None,
    first: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    block: int = BLOCK,
    noise: Noise = uniform,
) -> Draws:
    """Draws number ``first``, ``first + 1``, … of a seed, one per row of ``context``, or ``n`` without a context.

    Draw 17 is the same to the last bit in a request of any size on one device. ``device`` and ``dtype`` default to
    those of the density's parameters. ``noise`` is where the randomness comes from. Raises ``DensityError`` for a bad
    context, for none where the density takes one, and for another ``dtype`` than that of the density's parameters.
    """
    parts = list(
        draw_blocks(density, context, seed=seed, n=n, first=first, device=device, dtype=dtype, block=block, noise=noise)
    )
    logs = [part.log_prob for part in parts if part.log_prob is not None]
    return Draws(
        torch.cat([part.x for part in parts]),
        torch.cat(logs) if logs else None,
        all(part.log_prob_is_exact for part in parts),
    )


def draw_blocks(
    density: ConditionalDensity,
    context: Tensor | None = None,
    *,
    seed: int,
    n: int | None = None,
    first: int = 0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    block: int = BLOCK,
    noise: Noise = uniform,
) -> Iterator[Draws]:
    """As :func:`draw`, block by block: memory does not grow with the number drawn."""
    total = n if context is None else len(context)
    if total is None or (n is not None and n != total):
        raise DensityError(f"got n = {n} and {'no' if context is None else len(context)} rows of context: give one")
    if total < 1:
        raise DensityError(f"got a request for {total} draws, expected at least 1")
    check_given(context, density.context_width)  # the whole of it, before the first block is given out
    own_device, own_dtype = _home(density)
    if dtype and own_dtype and dtype != own_dtype:
        raise DensityError(
            f"got a request for {dtype} from a density in {own_dtype}, expected its own: move it first, "
            f"density.to({dtype})"
        )
    device, dtype = device or own_device, dtype or own_dtype or torch.float64
    # Blocks lie on multiples of their size, so that a row has the same place in its block in every request: matrix
    # products round some places of a block differently.
    for start in range(first - first % block, first + total, block):
        rows = torch.arange(start, start + block, device=device)
        part = torch.zeros((block, density.context_width), dtype=dtype, device=device)
        if context is not None:
            part = context[(rows - first).clamp(0, total - 1).to(context.device)].to(device=device, dtype=dtype)
        with torch.no_grad():
            distribution = density(part)
            u = rounded(noise(seed, rows, distribution.noise_columns).to(device), dtype)
            x, log_prob = distribution.sample_and_log_prob(u)
        own = slice(max(first - start, 0), min(first + total - start, block))
        yield Draws(x[own], None if log_prob is None else log_prob[own], distribution.log_prob_is_exact)


def balanced(noise: Noise) -> Noise:
    """Marks noise whose rows fill the cube evenly together, so that they are not independent of each other.

    What takes noise in several parts for one draw, such as a set of points, takes each from columns of its own then
    (:func:`scenariogen.sampling.points.columns_from`).
    """
    setattr(noise, _BALANCED, True)
    return noise


def is_balanced(noise: Noise) -> bool:
    """Whether the noise is marked as :func:`balanced`."""
    return getattr(noise, _BALANCED, False)


def rounded(noise: Float[Tensor, "batch columns"], dtype: torch.dtype) -> Float[Tensor, "batch columns"]:
    """Uniform noise in another precision, still inside (0, 1): single precision rounds numbers next to 1 up to it."""
    return noise.to(dtype).clamp(torch.finfo(dtype).tiny, 1 - torch.finfo(dtype).eps / 2)


def _home(module: nn.Module) -> tuple[torch.device, torch.dtype | None]:
    """Where a module's numbers live; a module without any is on the CPU and in no precision of its own."""
    for each in (*module.parameters(), *module.buffers()):
        if each.is_floating_point():
            return each.device, each.dtype
    return torch.device("cpu"), None


def exact_log_prob(distribution: Distribution, x: Float[Tensor, "batch *dim"]) -> Float[Tensor, " batch"]:
    """The log-density for a weight of record, shape (batch,).

    Raises ``DensityError`` where the distribution says that its ``log_prob`` is not exact, or where it gives nan.
    """
    if not (distribution.log_prob_is_exact and distribution.has_log_prob):
        raise DensityError(
            f"{type(distribution).__name__}.log_prob is not the exact log-density, so it cannot enter a weight: draw "
            "from an exact density, or use it as a score only"
        )
    out = distribution.log_prob(x)
    if torch.isnan(out).any():
        raise DensityError(f"{type(distribution).__name__}.log_prob gave nan for {int(torch.isnan(out).sum())} rows")
    return out


def never_nan(log_prob: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """A log-density whose nan, at points that are nan or infinite, are −inf."""
    return torch.where(torch.isnan(log_prob), -torch.inf, log_prob)


def product_measure(measures: Sequence[str], widths: Sequence[int]) -> str:
    """The name of the product of measures on so many numbers each.

    >>> product_measure(["counting", "Lebesgue", "Lebesgue"], [2, 1, 3])
    'counting^2 × Lebesgue^4'
    """
    found: list[tuple[str, int]] = []
    for measure, width in zip(measures, widths, strict=True):
        parts = [each.rsplit("^", 1) for each in measure.split(" × ")]
        is_product = all(len(each) == 2 and each[1].isdigit() for each in parts)
        for name, size in [(each[0], int(each[1])) for each in parts] if is_product else [(measure, width)]:
            if found and found[-1][0] == name and name in (LEBESGUE, COUNTING):  # products of themselves
                size += found.pop()[1]
            found.append((name, size))
    return found[0][0] if len(found) == 1 else " × ".join(f"{name}^{size}" for name, size in found)


def check_same_measure(first: str, second: str) -> None:
    """``DensityError`` where densities with respect to different measures would be divided or added."""
    if first and second and first != second:
        raise DensityError(
            f"got densities with respect to different measures, “{first}” and “{second}”: their ratio is no weight"
        )


def check_given(context: Tensor | None, width: int) -> None:
    """:func:`check_context`, where a density that takes none may also be given none."""
    if context is not None:
        check_context(context, width)
    elif width:
        raise DensityError(f"got no context, expected (batch, {width}): the density is one given {width} numbers")


def check_context(context: Tensor, width: int) -> None:
    """``DensityError`` unless ``context`` has shape (batch, width) and is finite."""
    if context.dim() != 2 or context.shape[1] != width:
        raise DensityError(f"got a context of shape {tuple(context.shape)}, expected (batch, {width})")
    check_finite(context, "the context")


def check_finite(values: Tensor, name: str) -> None:
    """``DensityError`` that names ``values`` and counts what is not finite in them."""
    wrong = int((~torch.isfinite(values)).sum())
    if wrong:
        raise DensityError(f"{name} holds {wrong} values that are nan or infinite, expected finite numbers")


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
