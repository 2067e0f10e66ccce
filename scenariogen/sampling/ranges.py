"""Conditions on one number: the ends of a range, an exact value, and what is wrong with them."""

from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling.contract import Distribution

Bound: TypeAlias = float | int | Tensor
"""An end of a range: a number for all rows, or a tensor (batch,)."""


class PointMass(Distribution):
    """All probability at ``value`` (batch,): what is left of a density given an exact value.

    Its density is with respect to counting on that value. ``log_condition`` (batch,) is the logarithm of the density,
    or of the mass, that the value had before.
    """

    measure = "counting on the given value"

    def __init__(self, value: Float[Tensor, " batch"], log_condition: Float[Tensor, " batch"]) -> None:
        check_possible(log_condition, "the value")
        self.value, self.log_condition = value, log_condition

    def sample(self, noise: Float[Tensor, "batch 1"]) -> Float[Tensor, "batch 1"]:
        return self.value[:, None].expand(len(noise), 1).clone()

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        return torch.where(only_column(x) == self.value, torch.zeros_like(self.value), -torch.inf)


def only_column(x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
    """Points (batch, 1) as (batch,); ``DensityError`` where they have another shape."""
    if x.dim() != 2 or x.shape[1] != 1:
        raise DensityError(f"got points of shape {tuple(x.shape)}, expected (batch, 1)")
    return x[:, 0]


def row_values(value: Bound, like: Float[Tensor, " batch"], name: str) -> Float[Tensor, " batch"]:
    """``value`` for each row of ``like``; ``DensityError`` where it has another shape or is nan."""
    out = torch.as_tensor(value, dtype=like.dtype, device=like.device)
    if out.dim() and out.shape != like.shape:
        raise DensityError(f"got {name} of shape {tuple(out.shape)}, expected one number or {tuple(like.shape)}")
    if torch.isnan(out).any():
        raise DensityError(f"got {name} with {int(torch.isnan(out).sum())} nan, expected numbers")
    return out.expand(like.shape)


def ends(low: Bound, high: Bound, like: Float[Tensor, " batch"]) -> tuple[Tensor, Tensor]:
    """Both ends for each row of ``like``; ``DensityError`` that lists what is wrong with them."""
    found, problems = [], Problems("a range")
    for name, value in (("the lower end", low), ("the upper end", high)):
        try:
            found.append(row_values(value, like, name))
        except DensityError as error:
            problems.extend(error.problems)
    if len(found) == 2 and (wrong := int((found[0] > found[1]).sum())):
        problems.add(f"got {wrong} rows whose lower end lies above the upper end, expected low ≤ high")
    problems.raise_as(DensityError)
    return found[0], found[1]


def check_possible(log_condition: Float[Tensor, " batch"], name: str, *, least: float = 0.0) -> None:
    """``DensityError`` that counts the rows in which a condition has probability zero, or none that is a number, or one
    below ``least``."""
    wrong = int((~torch.isfinite(log_condition)).sum())
    if wrong:
        raise DensityError(
            f"got {name} of probability zero in {wrong} of {len(log_condition)} rows, expected a positive probability"
        )
    small = int((torch.exp(log_condition) < least).sum())
    if small:
        raise DensityError(
            f"got {name} of probability below {least:.2g} in {small} of {len(log_condition)} rows, expected at least "
            "that: smaller numbers have too few digits to draw with"
        )
