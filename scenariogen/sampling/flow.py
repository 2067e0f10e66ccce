"""Coupling spline flow: an exact density on ℝᵈ, as fast to draw from as to evaluate.

A draw is x = T⁻¹(z; c) with z standard normal; its density is

    log p(x | c) = log N(T(x; c); 0, I) + log |det ∂T/∂x|.

T is a chain of couplings: each moves one half of the coordinates by monotone rational-quadratic splines whose knots are
a function of the other half and of the context c, so that both directions are one pass through the network and the
determinant is a product (Durkan, Bekasov, Murray & Papamakarios, *Neural spline flows*, 2019; Dinh, Sohl-Dickstein &
Bengio, *Density estimation using Real NVP*, 2017). The splines are zuko's; outside ±5 they are the identity.

Two layers can stand between the chain and x: a shift and a scale of each coordinate, and a spline of each coordinate by
itself, whose knots are plain parameters. The second takes the shape of the marginals off the couplings, which then
only have to learn what depends on what.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from zuko.transforms import MonotonicRQSTransform

from scenariogen.errors import DensityError
from scenariogen.randomness import child_seed
from scenariogen.sampling.contract import ConditionalDensity, Distribution, check_context, check_finite, never_nan
from scenariogen.sampling.normal import standard_normal_log_prob


class FlowDistribution(Distribution):
    """The push-forward of a standard normal through the inverse of a :class:`CouplingFlow`'s transform."""

    def __init__(self, flow: "CouplingFlow", context: Tensor) -> None:
        self.flow, self.context = flow, context
        self.noise_columns = flow.dim

    def sample(self, noise: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        return self.push(torch.special.ndtri(noise))[0]

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        z, log_slope = self.pull(x)
        return never_nan(standard_normal_log_prob(z) + log_slope)

    def sample_and_log_prob(
        self, noise: Float[Tensor, "batch dim"]
    ) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, " batch"]]:
        return self.push(torch.special.ndtri(noise))

    def push(self, z: Float[Tensor, "batch dim"]) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, " batch"]]:
        """x = T⁻¹(z) and log p(x), both differentiable in the parameters."""
        log_prob = standard_normal_log_prob(z)
        for coupling in self.flow.chain[::-1]:
            z, log_slope = coupling.inverse(z, self.context)
            log_prob = log_prob + log_slope
        if self.flow.marginals is not None:
            z, log_slope = self.flow.marginals.inverse(z)
            log_prob = log_prob + log_slope
        return self.flow.centre + self.flow.scale * z, log_prob - self.flow.scale.log().sum()

    def pull(self, x: Float[Tensor, "batch dim"]) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, " batch"]]:
        """z = T(x) and log |det ∂T/∂x|."""
        z = (x - self.flow.centre) / self.flow.scale
        total = -self.flow.scale.log().sum()
        if self.flow.marginals is not None:
            z, log_slope = self.flow.marginals(z)
            total = total + log_slope
        for coupling in self.flow.chain:
            z, log_slope = coupling(z, self.context)
            total = total + log_slope
        return z, total.expand(len(x))

    def latent(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch dim"]:
        """z = T(x)."""
        return self.pull(x)[0]


class CouplingFlow(ConditionalDensity):
    """Coupling spline flow of ``dim`` ≥ 2 numbers given ``context_width`` numbers.

    ``transforms``     couplings, each moving one half of the coordinates given the other; neighbours swap halves
    ``bins``           of each spline
    ``hidden``         widths of the perceptron of each coupling
    ``marginal_bins``  of a spline of each coordinate by itself; 0: none
    ``seed``           of the initial parameters and of which coordinates go together

    ``DensityError`` where ``dim`` is below 2 (a single number has a spline of its own, :mod:`.spline`).
    """

    def __init__(
        self,
        dim: int,
        context_width: int = 0,
        *,
        transforms: int = 4,
        bins: int = 8,
        hidden: Sequence[int] = (64, 64),
        marginal_bins: int = 0,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if dim < 2:
            raise DensityError(f"a coupling flow needs at least 2 numbers, got {dim}: use ConditionalSpline for one")
        self.dim, self.context_width = dim, context_width
        self.centre: Tensor
        self.scale: Tensor
        self.register_buffer("centre", torch.zeros(dim, dtype=dtype))
        self.register_buffer("scale", torch.ones(dim, dtype=dtype))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(child_seed(seed, "coupling flow"))
            self.marginals = MarginalSplines(dim, marginal_bins, dtype) if marginal_bins else None
            couplings, order = [], torch.arange(dim)
            for number in range(transforms):
                # A pair of couplings moves every coordinate once; each pair splits the coordinates anew.
                if number % 2 == 0 and number:
                    order = torch.randperm(dim)
                halves = order[: dim // 2], order[dim // 2 :]
                moved, fixed = halves if number % 2 else halves[::-1]
                couplings.append(Coupling(moved, fixed, context_width, bins=bins, hidden=hidden, dtype=dtype))
        self.couplings = nn.ModuleList(couplings)

    def forward(self, context: Float[Tensor, "batch context"]) -> FlowDistribution:
        """The density for contexts of shape (batch, context)."""
        check_context(context, self.context_width)
        return FlowDistribution(self, context)

    @property
    def chain(self) -> list["Coupling"]:
        """The couplings from x to z."""
        return [each for each in self.couplings if isinstance(each, Coupling)]

    def standardise(self, x: Float[Tensor, "batch dim"]) -> None:
        """Set shift and scale so that ``x`` has mean 0 and standard deviation 1 in front of the splines, and start the
        marginal splines, where there are any, from its quantiles.

        ``DensityError`` for data of another width or of fewer than 2 rows, and where a coordinate does not vary or is
        not finite.
        """
        if x.dim() != 2 or len(x) < 2 or x.shape[1] != self.dim:
            raise DensityError(f"got data of shape {tuple(x.shape)}, expected at least 2 rows of {self.dim} numbers")
        check_finite(x, "the data")
        spread = x.std(0)
        if not (spread > 0).all():
            raise DensityError(f"coordinates {torch.nonzero(~(spread > 0)).flatten().tolist()} do not vary")
        with torch.no_grad():
            self.centre.copy_(x.mean(0))
            self.scale.copy_(spread)
        if self.marginals is not None:
            self.marginals.fit((x - self.centre) / self.scale)


class Coupling(nn.Module):
    """Moves the coordinates ``moved`` by splines whose knots depend on the coordinates ``fixed`` and the context."""

    def __init__(
        self,
        moved: Tensor,
        fixed: Tensor,
        context_width: int,
        *,
        bins: int,
        hidden: Sequence[int],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.bins = bins
        self.moved: Tensor
        self.fixed: Tensor
        self.back: Tensor
        self.register_buffer("moved", moved.sort().values)
        self.register_buffer("fixed", fixed.sort().values)
        self.register_buffer("back", torch.cat([self.moved, self.fixed]).argsort())
        widths = [len(fixed) + context_width, *hidden]
        layers: list[nn.Module] = []
        for width, following in pairwise(widths):
            layers += [nn.Linear(width, following, dtype=dtype), nn.ReLU()]
        last = nn.Linear(widths[-1], len(moved) * (3 * bins - 1), dtype=dtype)
        nn.init.zeros_(last.weight)  # the identity, so that training starts from the base density
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(*layers, last)

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """T(x) and log |det ∂T/∂x|, shapes (batch, dim) and (batch,)."""
        kept = x[:, self.fixed]
        moved, log_slope = self._spline(kept, context).call_and_ladj(x[:, self.moved])
        return self._join(moved, kept), log_slope.sum(-1)

    def inverse(self, z: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """x = T⁻¹(z) and log |det ∂T/∂x| there; the network is evaluated once."""
        kept = z[:, self.fixed]
        spline = self._spline(kept, context)
        moved: Tensor = spline.inv(z[:, self.moved])  # pyright: ignore[reportAssignmentType]
        return self._join(moved, kept), spline.call_and_ladj(moved)[1].sum(-1)

    def _spline(self, kept: Tensor, context: Tensor) -> MonotonicRQSTransform:
        knots = self.network(torch.cat([kept, context], -1)).unflatten(-1, (len(self.moved), 3 * self.bins - 1))
        widths, heights, slopes = knots.split([self.bins, self.bins, self.bins - 1], dim=-1)
        return MonotonicRQSTransform(widths, heights, slopes)

    def _join(self, moved: Tensor, kept: Tensor) -> Tensor:
        return torch.cat([moved, kept], -1)[:, self.back]


class MarginalSplines(nn.Module):
    """A spline of each coordinate by itself, whose knots are parameters."""

    def __init__(self, dim: int, bins: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.bins = bins
        self.knots = nn.Parameter(torch.zeros((dim, 3 * bins - 1), dtype=dtype))

    def fit(self, x: Tensor) -> None:
        """Start from the data's quantiles: knots where the empirical distribution function says, monotone cubic
        slopes between them (Fritsch & Carlson, *Monotone piecewise cubic interpolation*, 1980)."""
        reach, bins = 5.0, self.bins
        level = torch.linspace(0, 1, bins + 1, dtype=torch.float64, device=x.device)[1:-1]
        quantiles = torch.quantile(x.double(), level, dim=0).T.clamp(-reach + 1e-2, reach - 1e-2)
        targets = torch.special.ndtri(level).expand_as(quantiles)
        edge = torch.full_like(quantiles[:, :1], reach)
        widths = torch.cat([-edge, quantiles, edge], 1).diff(dim=1).clamp_min(1e-3)
        heights = torch.cat([-edge, targets, edge], 1).diff(dim=1)
        slope = heights / widths
        left, right = slope[:, :-1], slope[:, 1:]
        mean = 2 * left * right / (left + right)  # harmonic: between both neighbours, so that the spline stays monotone
        with torch.no_grad():
            parts = [
                _unsquash(widths.log(), 2.0),
                _unsquash(heights.log(), 2.0),
                _unsquash(mean.log(), 1.0, centred=False),
            ]
            self.knots.copy_(torch.cat(parts, 1))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """T(x) and log |det ∂T/∂x|."""
        spline = self._spline()
        inside, x0, x1, y0, y1, d0, d1 = self._bins_of(x, spline.horizontal, spline)
        return self._evaluate(x, inside, x0, x1, y0, y1, d0, d1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """x = T⁻¹(z) and log |det ∂T/∂x| there."""
        spline = self._spline()
        inside, *bins = self._bins_of(z, spline.vertical, spline)
        x0, x1, y0, y1, d0, d1 = bins
        rise, s = inside * (z - y0), (y1 - y0) / (x1 - x0)
        a = (y1 - y0) * (s - d0) + rise * (d0 + d1 - 2 * s)
        b = (y1 - y0) * d0 - rise * (d0 + d1 - 2 * s)
        share = 2 * s * rise / (b + (b**2 + 4 * a * s * rise).sqrt())
        x = torch.where(inside, x0 + share * (x1 - x0), z)
        return x, self._evaluate(x, inside, *bins)[1]

    def _spline(self) -> MonotonicRQSTransform:
        widths, heights, slopes = self.knots.split([self.bins, self.bins, self.bins - 1], dim=-1)
        return MonotonicRQSTransform(widths, heights, slopes)

    def _bins_of(self, values: Tensor, edges: Tensor, spline: MonotonicRQSTransform) -> list[Tensor]:
        """Whether each value lies inside, and the ends and slopes of its bin. One table look-up for all rows: zuko's
        splines, made for knots that differ from row to row, take most of a training step's time here."""
        table = torch.stack(
            [
                each
                for knots in (spline.horizontal, spline.vertical, spline.derivatives)
                for each in (knots[:, :-1], knots[:, 1:])
            ],
            dim=-1,
        )
        number = torch.searchsorted(edges.detach().contiguous(), values.detach().T.contiguous()).T - 1
        inside = (number >= 0) & (number < self.bins)
        first = torch.arange(len(edges), device=values.device) * self.bins
        rows = nn.functional.embedding(number.clamp(0, self.bins - 1) + first, table.flatten(0, 1))
        return [inside, *rows.unbind(-1)]

    @staticmethod
    def _evaluate(
        x: Tensor, inside: Tensor, x0: Tensor, x1: Tensor, y0: Tensor, y1: Tensor, d0: Tensor, d1: Tensor
    ) -> tuple[Tensor, Tensor]:
        share, s = inside * (x - x0) / (x1 - x0), (y1 - y0) / (x1 - x0)
        across = share * (1 - share)
        bottom = s + (d0 + d1 - 2 * s) * across
        z = torch.where(inside, y0 + (y1 - y0) * (s * share**2 + d0 * across) / bottom, x)
        slope = s**2 * (2 * s * across + d0 * (1 - share) ** 2 + d1 * share**2) / bottom**2
        return z, (inside * slope.log()).sum(-1)


def _unsquash(logs: Tensor, factor: float, *, centred: bool = True) -> Tensor:
    """Parameters for which zuko's spline has these log widths, heights (up to a constant) or slopes."""
    most = 0.95 * abs(math.log(1e-3)) / factor
    if centred:
        logs = logs - 0.5 * (logs.amin(-1, keepdim=True) + logs.amax(-1, keepdim=True))
    logs = logs.clamp(-most, most)
    return logs / (1 - (factor * logs / math.log(1e-3)).abs())
