"""Mixtures, products, and the defensive mixture whose weights are bounded.

A mixture with shares α_j(c) has p(x | c) = Σ_j α_j p_j(x | c): one number of noise chooses the component, and the
density is summed over all of them, whichever was chosen.

The defensive mixture (Hesterberg, *Weighted average importance sampling and defensive mixture distributions*, 1995;
Owen & Zhou, *Safe and effective importance sampling*, 2000) has the target p among its components with a share α ≥ a
stated minimum. Then q = α p + … ≥ α p, so that the weight p/q never exceeds 1/α. This holds for the draw as a whole:
one coin per draw, also where it has many parts. A coin for each of k parts would bound the weight by α^(−k) only.

Densities can be added or divided only where they are with respect to one measure. A density whose measure is not
Lebesgue's says so in an attribute ``measure``, a name; components of different measures are refused. Parts side by side
have the product of their measures, which names how many numbers each is on.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from scenariogen.errors import DensityError, Problems
from scenariogen.sampling.contract import (
    ConditionalDensity,
    Distribution,
    check_context,
    check_finite,
    exact_log_prob,
    product_measure,
)
from scenariogen.sampling.discrete import draw_category

LEAST_SHARE = 0.05
"""Smallest share of the target in a defensive mixture, unless another is stated: no weight exceeds 20."""


class MixtureDistribution(Distribution):
    """Components with ``log_shares`` (batch, component).

    The first column of noise chooses the component, the components share the others.
    """

    def __init__(self, components: Sequence[Distribution], log_shares: Float[Tensor, "batch component"]) -> None:
        self.components, self.log_shares = tuple(components), log_shares
        self.noise_columns = 1 + max(each.noise_columns for each in components)
        self.has_log_prob = all(each.has_log_prob for each in components)
        self.log_prob_is_exact = self.has_log_prob and all(each.log_prob_is_exact for each in components)

    def choose(self, noise: Float[Tensor, "batch columns"]) -> Int[Tensor, " batch"]:
        """The component that each draw comes from."""
        return draw_category(noise[:, 0], torch.exp(self.log_shares.detach()))

    def sample(self, noise: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch *dim"]:
        chosen = self.choose(noise)
        drawn = [each.sample(noise[:, 1 : 1 + each.noise_columns]) for each in self.components]
        if len(shapes := {tuple(x.shape[1:]) for x in drawn}) > 1:
            raise DensityError(f"got components whose draws have shapes {sorted(shapes)}, expected one shape")
        x = drawn[0]
        for j, other in enumerate(drawn[1:], start=1):
            x = torch.where((chosen == j).reshape(-1, *[1] * (x.dim() - 1)), other, x)
        return x

    def log_prob(self, x: Float[Tensor, "batch *dim"]) -> Float[Tensor, " batch"]:
        if not self.has_log_prob:
            raise DensityError("a component of the mixture has no log-density, so the mixture has none")
        return torch.logsumexp(self.log_shares + self.component_log_probs(x), dim=-1)

    def component_log_probs(self, x: Float[Tensor, "batch *dim"]) -> Float[Tensor, "batch component"]:
        """log p_j(x) of every component, (batch, component)."""
        return torch.stack([each.log_prob(x) for each in self.components], dim=-1)


class Mixture(ConditionalDensity):
    """Mixture of ``components`` that take the same context and give draws of the same shape.

    ``shares``  one number per component, at least 0, with sum 1; or a module that gives their logits (batch, component)
                from the context

    Exact where all components are. ``DensityError`` that lists what is wrong with the components (other widths, other
    measures) and with the shares.
    """

    log_fixed: Tensor

    def __init__(self, components: Sequence[ConditionalDensity], shares: Sequence[float] | nn.Module) -> None:
        super().__init__()
        problems = Problems("a mixture")
        problems.extend(_wrong_components(components))
        if not isinstance(shares, nn.Module):
            problems.extend(_wrong_shares(shares, len(components)))
        problems.raise_as(DensityError)
        self.context_width = components[0].context_width
        self.dim, self.measure = getattr(components[0], "dim", None), components[0].measure
        self.components = nn.ModuleList(components)
        self.gate = shares if isinstance(shares, nn.Module) else None
        self.register_buffer("log_fixed", None if isinstance(shares, nn.Module) else _logs(shares, components[0]))

    def forward(self, context: Float[Tensor, "batch context"]) -> MixtureDistribution:
        """The density for contexts of shape (batch, context)."""
        return MixtureDistribution(*self._given(context))

    def _given(self, context: Tensor) -> tuple[list[Distribution], Tensor]:
        check_context(context, self.context_width)
        return [each(context) for each in self.components], self.log_shares(context)

    def log_shares(self, context: Float[Tensor, "batch context"]) -> Float[Tensor, "batch component"]:
        """log α_j(c), (batch, component). ``DensityError`` where the gate gives nan or another shape."""
        if self.gate is None:
            return self.log_fixed.to(context.dtype).expand(len(context), -1)
        logits = self.gate(context)
        if tuple(logits.shape) != (len(context), len(self.components)):
            raise DensityError(
                f"got shares of shape {tuple(logits.shape)}, expected (batch, {len(self.components)}), one logit each"
            )
        check_finite(logits, "the shares' logits")
        return torch.log_softmax(logits, dim=-1)


class DefensiveDistribution(MixtureDistribution):
    """A mixture whose first component is the target of the weights."""

    def log_weight(self, x: Float[Tensor, "batch *dim"]) -> Float[Tensor, " batch"]:
        """log p(x)/q(x), (batch,), never above −log α, not even by rounding; −inf where the target has no density.

        ``DensityError`` where the target or a proposal is not exact.
        """
        target, *proposals = (exact_log_prob(each, x) for each in self.components)
        possible = torch.isfinite(target)
        base = torch.where(possible, target, 0.0)
        ratios = torch.stack([torch.zeros_like(base), *(each - base for each in proposals)], dim=-1)
        # The target's own term bounds the sum from below.
        return torch.where(possible, -torch.logsumexp(self.log_shares + ratios, dim=-1), -torch.inf)

    @property
    def log_bound(self) -> Float[Tensor, " batch"]:
        """−log α, (batch,): what no log-weight exceeds."""
        return -self.log_shares[:, 0]


class DefensiveMixture(Mixture):
    """q = α₀ p + Σ α_j p_j with the ``target`` p in it, so that weights p/q are at most 1/α₀.

    ``shares``  α₀ of the target first, then one per proposal; sum 1
    ``least``   what the target's share must not fall below

    One coin is thrown per whole draw. Where a draw consists of independent parts, give their :class:`Product` as target
    and as proposals; a mixture inside each part would not be bounded by 1/α₀. ``DensityError`` that lists what is
    wrong.
    """

    def __init__(
        self,
        target: ConditionalDensity,
        proposals: Sequence[ConditionalDensity],
        shares: Sequence[float],
        *,
        least: float = LEAST_SHARE,
    ) -> None:
        problems = Problems("a defensive mixture")
        if not 0 < least <= 1:
            problems.add(f"got a least share of {least}, expected above 0 and at most 1")
        elif len(shares) and not shares[0] >= least:
            problems.add(
                f"got a share of {shares[0]} for the target, expected at least {least}: weights may reach 1/share"
            )
        components = [target, *proposals]
        problems.extend(_wrong_components(components))
        problems.extend(_wrong_shares(shares, len(components)))
        problems.raise_as(DensityError)
        super().__init__(components, shares)

    def forward(self, context: Float[Tensor, "batch context"]) -> DefensiveDistribution:
        """The density for contexts of shape (batch, context)."""
        return DefensiveDistribution(*self._given(context))


class ProductDistribution(Distribution):
    """Independent parts side by side, each with its own columns of noise."""

    def __init__(self, parts: Sequence[Distribution], widths: Sequence[int]) -> None:
        self.parts, self.widths = tuple(parts), tuple(widths)
        self.columns = [each.noise_columns for each in parts]
        self.noise_columns = sum(self.columns)
        self.has_log_prob = all(each.has_log_prob for each in parts)
        self.log_prob_is_exact = self.has_log_prob and all(each.log_prob_is_exact for each in parts)

    def sample(self, noise: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch dim"]:
        pieces = noise.split(self.columns, dim=1)
        return torch.cat([part.sample(u) for part, u in zip(self.parts, pieces, strict=True)], dim=1)

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        if x.shape[1] != sum(self.widths):
            raise DensityError(f"got points of shape {tuple(x.shape)}, expected (batch, {sum(self.widths)})")
        if not self.has_log_prob:
            raise DensityError("a part of the product has no log-density, so the product has none")
        pieces = x.split(self.widths, dim=1)
        return torch.stack([part.log_prob(each) for part, each in zip(self.parts, pieces, strict=True)]).sum(0)


class Product(ConditionalDensity):
    """Independent ``parts`` drawn together given the same context: p(x | c) = Π_i p_i(x_i | c), side by side.

    Parts must say how wide their draws are (``dim``). ``DensityError`` that lists what is wrong with them.
    """

    def __init__(self, parts: Sequence[ConditionalDensity]) -> None:
        super().__init__()
        problems = Problems("a product")
        if not parts:
            problems.add("got no part, expected at least 1")
        if len(contexts := {each.context_width for each in parts}) > 1:
            problems.add(f"got parts with contexts of {sorted(contexts)} numbers, expected one width")
        for i, each in enumerate(parts):
            if not isinstance(getattr(each, "dim", None), int):
                problems.add(f"part {i} ({type(each).__name__}) does not say how wide its draws are, expected a dim")
        problems.raise_as(DensityError)
        self.parts = nn.ModuleList(parts)
        self.widths = [int(each.dim) for each in parts]  # pyright: ignore[reportArgumentType]
        self.dim, self.context_width = sum(self.widths), parts[0].context_width
        self.measure = product_measure([each.measure for each in parts], self.widths)

    def forward(self, context: Float[Tensor, "batch context"]) -> ProductDistribution:
        """The density for contexts of shape (batch, context)."""
        check_context(context, self.context_width)
        return ProductDistribution([each(context) for each in self.parts], self.widths)


def _logs(shares: Sequence[float], like: nn.Module) -> Tensor:
    """Logarithms of the shares, of the type and on the device of a component's numbers."""
    own = [each for each in (*like.parameters(), *like.buffers()) if each.is_floating_point()]
    dtype, device = (own[0].dtype, own[0].device) if own else (torch.float64, torch.device("cpu"))
    return torch.log(torch.tensor(list(shares), dtype=torch.float64)).to(dtype=dtype, device=device)


def _wrong_components(components: Sequence[ConditionalDensity]) -> list[str]:
    found = [] if components else ["got no component, expected at least 1"]
    for name, what in (("context_width", "contexts"), ("dim", "draws")):
        widths = {width for each in components if (width := getattr(each, name, None)) is not None}
        if len(widths) > 1:
            found.append(f"got components whose {what} have {sorted(widths)} numbers, expected one width")
    if len(measures := {each.measure for each in components}) > 1:
        found.append(f"got densities with respect to {', '.join(sorted(measures))}, expected one measure")
    return found


def _wrong_shares(shares: Sequence[float], components: int) -> list[str]:
    found = []
    if len(shares) != components:
        found.append(f"got {len(shares)} shares for {components} components, expected one each")
    if any(not math.isfinite(each) for each in shares):
        found.append(f"got shares {list(shares)}, expected finite numbers")
    elif any(each < 0 for each in shares):
        found.append(f"got shares {list(shares)}, expected none below 0")
    elif abs(sum(shares) - 1) > 1e-9:
        found.append(f"got shares with sum {sum(shares):g}, expected 1")
    return found
