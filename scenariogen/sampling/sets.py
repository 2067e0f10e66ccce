"""Sets: functions of a set's members that do not depend on their order, and densities of sets.

A function of a set that does not depend on the order of its members is ρ(Σᵢ φ(xᵢ)), a map from members to members that
is reordered with them sees each xᵢ beside such a sum over all (Zaheer, Kottur, Ravanbakhsh, Poczos, Salakhutdinov &
Smola, *Deep sets*, 2017). Independent noise pushed through an invertible map of the second kind has a density that no
reordering changes, and every generator of that kind draws exchangeable sets.

:class:`SetFlow` is such a map: a chain of couplings that move one half of every member's numbers by monotone splines
whose knots are given by the other halves of *all* members,

    log p(x | c) = Σᵢ log N(zᵢ; 0, I) + log |det ∂z/∂x|,    p(x_π(1), …, x_π(n)) = p(x₁, …, xₙ),

with respect to Lebesgue measure of the ordered tuple; as a density of the unordered set it is n! times that.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from zuko.transforms import MonotonicRQSTransform

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling.contract import ConditionalDensity, Distribution, check_context, check_finite, never_nan
from scenariogen.sampling.layers import Linear, perceptron
from scenariogen.sampling.normal import standard_normal_log_prob
from scenariogen.sampling.training import seeded


class DeepSets(nn.Module):
    """ρ(Σᵢ φ(xᵢ) / n, log n): a score of sets of ``inputs`` numbers per member, of any size.

    The mean keeps large sets in the range of small ones; their size is given beside it. ``member`` φ and ``whole`` ρ
    are perceptrons with ``hidden`` units a layer. The last layer starts at zero.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        hidden: int = 32,
        layers: int = 2,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.inputs = inputs
        self.member, self.whole = seeded(
            lambda: nn.ModuleList(
                [
                    perceptron(inputs, hidden, hidden=hidden, layers=layers, zero=False, dtype=dtype),
                    perceptron(hidden + 1, outputs, hidden=hidden, layers=layers, dtype=dtype),
                ]
            ),
            seed=seed,
        )

    def forward(
        self, x: Float[Tensor, "batch point inputs"], present: Bool[Tensor, "batch point"] | None = None
    ) -> Float[Tensor, "batch outputs"]:
        """(batch, outputs). ``present`` marks the rows of ``x`` that are members, so that sets may differ in size.

        What stands in the other rows has no influence; an empty set has a mean of 0. ``DensityError`` for members of
        another width, or that are not finite.
        """
        if x.shape[-1] != self.inputs:
            raise DensityError(f"got members of {x.shape[-1]} numbers, expected {self.inputs}")
        if present is None:
            present = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        x = torch.where(present[..., None], x, torch.zeros_like(x))
        check_finite(x, "a set")
        size = present.sum(1, keepdim=True).to(x.dtype)
        total = (self.member(x) * present[..., None]).sum(1)
        return self.whole(torch.cat([total / size.clamp_min(1), torch.log1p(size)], dim=-1))


class SetLayers(nn.Module):
    """A map of members to ``outputs`` numbers each, reordered as they are: yᵢ = f(xᵢ, mean of all).

    ``layers`` rounds h ← h + W tanh(U h + V h̄), biases included, h̄ the mean over the members. The read-out starts at
    zero.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        hidden: int = 32,
        layers: int = 2,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        self.inputs = inputs

        def build() -> nn.ModuleList:
            rounds = [nn.ModuleList(Linear(hidden, hidden, dtype=dtype) for _ in range(layers)) for _ in range(3)]
            return nn.ModuleList(
                [Linear(inputs, hidden, dtype=dtype), *rounds, Linear(hidden, outputs, zero=True, dtype=dtype)]
            )

        self.enter, self.own, self.mean, self.update, self.leave = seeded(build, seed=seed)

    def forward(self, x: Float[Tensor, "batch point inputs"]) -> Float[Tensor, "batch point outputs"]:
        """(batch, point, outputs)."""
        if x.shape[-1] != self.inputs:
            raise DensityError(f"got members of {x.shape[-1]} numbers, expected {self.inputs}")
        state = torch.tanh(self.enter(x))
        for own, mean, update in zip(self.own, self.mean, self.update, strict=True):  # pyright: ignore[reportArgumentType]
            state = state + update(torch.tanh(own(state) + mean(state.mean(1, keepdim=True))))
        return self.leave(state)


Conditioner = Callable[[int, int], nn.Module]
"""``conditioner(inputs, outputs)`` makes a module from (batch, point, inputs) to (batch, point, outputs) that is
reordered with its points; its read-out should start at zero. It is called with torch's generator seeded."""


class SetFlowDistribution(Distribution):
    """The push-forward of independent normal members through the inverse of the couplings of ``flow``."""

    def __init__(self, flow: "SetFlow", context: Tensor) -> None:
        self.flow, self.context = flow, context
        self.noise_columns = flow.points * flow.dim

    def sample(self, noise: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch point dim"]:
        return self.push(torch.special.ndtri(noise))[0]

    def log_prob(self, x: Float[Tensor, "batch point dim"]) -> Float[Tensor, " batch"]:
        z, log_slope = self._call(x)
        return never_nan(standard_normal_log_prob(z) + log_slope)

    def sample_and_log_prob(
        self, noise: Float[Tensor, "batch columns"]
    ) -> tuple[Float[Tensor, "batch point dim"], Float[Tensor, " batch"]]:
        return self.push(torch.special.ndtri(noise))

    def push(
        self, z: Float[Tensor, "batch columns"]
    ) -> tuple[Float[Tensor, "batch point dim"], Float[Tensor, " batch"]]:
        """The set that standard normal ``z`` is carried to and its log-density, both differentiable."""
        x = z.reshape(len(z), self.flow.points, self.flow.dim)
        log_slope = x.new_zeros(len(x))
        for number in reversed(range(len(self.flow.conditioners))):
            still, moved = self.flow.halves(x, number)
            moved, change = self.flow.spline(number, still, self.context).inv.call_and_ladj(moved)
            x, log_slope = self.flow.whole(still, moved, number), log_slope + change.sum((1, 2))
        return x, standard_normal_log_prob(z) - log_slope

    def latent(self, x: Float[Tensor, "batch point dim"]) -> Float[Tensor, "batch columns"]:
        """The standard normal numbers that are carried to ``x``: the inverse of :meth:`push`."""
        return self._call(x)[0]

    def _call(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if x.shape[1:] != (self.flow.points, self.flow.dim):
            expected = f"(batch, {self.flow.points}, {self.flow.dim})"
            raise DensityError(f"got sets of shape {tuple(x.shape)}, expected {expected}")
        check_finite(x, "the sets")
        log_slope = x.new_zeros(len(x))
        for number in range(len(self.flow.conditioners)):
            still, moved = self.flow.halves(x, number)
            moved, change = self.flow.spline(number, still, self.context).call_and_ladj(moved)
            x, log_slope = self.flow.whole(still, moved, number), log_slope + change.sum((1, 2))
        return x.flatten(1), log_slope


class SetFlow(ConditionalDensity):
    """A density of ``points`` members of ``dim`` ≥ 2 numbers each that no reordering changes.

    Draws have shape (batch, points, dim).

    ``conditioner``  makes the networks that give the knots; :class:`SetLayers` by default, and message passing on a
                     graph in :func:`.message_passing.graph_flow`
    ``transforms``   couplings; neighbours swap the halves of the numbers
    ``bins``         of each spline; outside ±5 it is the identity

    ``DensityError`` for fewer than 1 member, fewer than 2 numbers each, or settings that are not positive.
    """

    def __init__(
        self,
        points: int,
        dim: int,
        context_width: int = 0,
        *,
        conditioner: Conditioner | None = None,
        transforms: int = 4,
        bins: int = 8,
        hidden: int = 32,
        layers: int = 2,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        problems = Problems("a flow of sets")
        if dim < 2:
            problems.add(f"got members of {dim} numbers, expected at least 2: one half moves given the other")
        for name, value, least in (("points", points, 1), ("transforms", transforms, 2), ("bins", bins, 2)):
            if value < least:
                problems.add(f"{name} is {value}, expected at least {least}")
        problems.raise_as(DensityError)
        self.points, self.dim, self.context_width, self.bins = points, dim, context_width, bins

        def default(inputs: int, outputs: int) -> nn.Module:
            own = int(torch.randint(2**31, ()).item())
            return SetLayers(inputs, outputs, hidden=hidden, layers=layers, seed=own, dtype=dtype)

        make = conditioner or default
        sizes = [len(self._still(number)) for number in range(transforms)]
        self.conditioners = seeded(
            lambda: nn.ModuleList(make(size + context_width, (dim - size) * (3 * bins - 1)) for size in sizes),
            seed=seed,
        )

    def forward(self, context: Float[Tensor, "batch context"]) -> SetFlowDistribution:
        """The density for contexts of shape (batch, context)."""
        check_context(context, self.context_width)
        return SetFlowDistribution(self, context if self.context_width else context.new_zeros((1, 0)))

    def _still(self, number: int) -> list[int]:
        """The numbers of a member that coupling ``number`` leaves where they are: one half, then the other, each pair
        of couplings starting one number further on than the last, so that no two numbers always move together."""
        shift = number // 2 if self.dim > 2 else 0
        size = self.dim // 2
        first = {(shift + i) % self.dim for i in range(size)}
        return [i for i in range(self.dim) if (i in first) == (number % 2 == 0)]

    def halves(self, x: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """What stands still and what moves in coupling ``number``."""
        still = self._still(number)
        return x[..., still], x[..., [i for i in range(self.dim) if i not in still]]

    def whole(self, still: Tensor, moved: Tensor, number: int) -> Tensor:
        """The inverse of :meth:`halves`."""
        place = self._still(number)
        order = [*place, *(i for i in range(self.dim) if i not in place)]
        return torch.cat([still, moved], dim=-1)[..., [order.index(i) for i in range(self.dim)]]

    def spline(self, number: int, still: Tensor, context: Tensor) -> Any:
        """The splines of coupling ``number``, one for each number that moves."""
        given = context[:, None].expand(len(still), self.points, -1)
        knots = self.conditioners[number](torch.cat([still, given], dim=-1))
        knots = knots.unflatten(-1, (self.dim - still.shape[-1], 3 * self.bins - 1))
        return MonotonicRQSTransform(*knots.split([self.bins, self.bins, self.bins - 1], dim=-1))
