"""CVAE and GAN of sets of points whose law rigid motions and permutations leave as it is.

The latent variables of n points are a set of centred normal points z and ``latent`` standard normal numbers of each
point, a law that does not change when the points are turned or renamed. A map x = scale · (z + v(z, ·)) that moves
along (:class:`.equivariant.EquivariantNetwork`) passes that on to x, whatever its parameters.

:func:`equivariant_cvae` has such a decoder, with normal noise of one width on the centre-of-mass-free subspace, and an
encoder that sees centred points: its mean moves along with x, its widths do not turn. Its bound is that of :mod:`.cvae`
and not exact.

:func:`equivariant_gan` has such a generator. Its discriminator is an average over group elements of a network f on sets
that knows no rotation,

    D(x) = Σ_F w_F(x) f(Fᵀ x) / Σ_F w_F(x),

over frames F that x brings along: one axis through a point (plane), or an axis through one point and a plane through
another (space), with weights |xᵢ|² and |xᵢ × xⱼ|² that vanish where a frame is not defined, so that D is smooth (Puny,
Atzmon, Ben-Hamu, Misra, Grover, Smith & Lipman, *Frame averaging for invariant and equivariant network design*, 2022;
Birrell, Katsoulakis, Rey-Bellet & Zhu, *Structure-preserving GANs*, 2022). Where mirror images must be alike each frame
counts once more with its last axis turned round.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scenariogen.errors import DensityError
from scenariogen.sampling.contract import ConditionalDensity, Distribution, check_context
from scenariogen.sampling.cvae import CVAE
from scenariogen.sampling.equivariant import EquivariantNetwork
from scenariogen.sampling.gan import GAN
from scenariogen.sampling.normal import IndependentNormal, StandardNormal
from scenariogen.sampling.rigid import (
    CENTRED,
    centred,
    centred_normal_log_prob,
    check_points,
    check_scale,
    check_shape,
    from_points,
    subspace_basis,
    to_points,
)
from scenariogen.sampling.sets import DeepSets

_LOG_SCALE_LIMIT = 7.0
_SMALL = 1e-6


def _bounded(raw: Tensor) -> Tensor:
    return _LOG_SCALE_LIMIT * torch.tanh(raw / _LOG_SCALE_LIMIT)


class PointMap(nn.Module):
    """x = scale · (z + v(z, ·)), centred: from latent numbers and a context in one row to points that move along.

    The row holds (points − 1)·dim coordinates of z on the centre-of-mass-free subspace, ``latent`` numbers of each
    point, and ``context_width`` numbers that all points see. Result (batch, points, dim).
    """

    basis: Tensor

    def __init__(
        self,
        points: int,
        dim: int,
        *,
        latent: int,
        context_width: int,
        scale: float,
        network: EquivariantNetwork,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.points, self.dim, self.latent, self.scale = points, dim, latent, scale
        self.width = latent_width(points, dim, latent) + context_width
        self.network = network
        self.register_buffer("basis", subspace_basis(points, dtype=dtype))

    def forward(self, row: Float[Tensor, "batch width"]) -> Float[Tensor, "batch point dim"]:
        if row.shape[1] != self.width:
            raise DensityError(f"got rows of {row.shape[1]} latent numbers and context, expected {self.width}")
        free = (self.points - 1) * self.dim
        z = to_points(row[:, :free], self.basis)
        own, shared = row[:, free : free + self.points * self.latent], row[:, free + self.points * self.latent :]
        features = _features(own.reshape(len(row), self.points, self.latent), shared)
        vectors, _ = self.network(z, features)
        return self.scale * centred(z + vectors[:, :, 0])


def latent_width(points: int, dim: int, latent: int) -> int:
    """How many latent numbers a set of points has: those of its centred points and ``latent`` of each point."""
    return (points - 1) * dim + points * latent


def _features(own: Tensor, shared: Tensor) -> Tensor | None:
    """The numbers beside each point: its own, then those that all points share; None where there are none."""
    features = torch.cat([own, shared[:, None].expand(-1, own.shape[1], -1)], dim=-1)
    return features if features.shape[-1] else None


class PointsAroundDistribution(Distribution):
    """Normal points of one width around ``mean``, on the centre-of-mass-free subspace."""

    def __init__(self, mean: Tensor, log_scale: Tensor, basis: Tensor) -> None:
        self.mean, self.log_scale, self.basis = mean, log_scale, basis
        self.noise_columns = basis.shape[1] * mean.shape[2]

    def sample(self, noise: Float[Tensor, "batch columns"]) -> Float[Tensor, "batch point dim"]:
        return self.mean + self.log_scale.exp() * to_points(torch.special.ndtri(noise), self.basis)

    def log_prob(self, x: Float[Tensor, "batch *dim"]) -> Float[Tensor, " batch"]:
        check_points(x, self.mean.shape[1], self.mean.shape[2])
        away = (centred(x) - self.mean) * torch.exp(-self.log_scale)
        return centred_normal_log_prob(away) - self.noise_columns * self.log_scale


class PointDecoder(ConditionalDensity):
    """p(x | z, c): points around what a :class:`PointMap` makes of z and c, with a learned width that is one number."""

    def __init__(self, mean: PointMap, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.mean, self.context_width, self.measure = mean, mean.width, CENTRED
        self.log_scale = nn.Parameter(torch.full((), math.log(mean.scale), dtype=dtype))

    def forward(self, context: Float[Tensor, "batch context"]) -> PointsAroundDistribution:
        check_context(context, self.context_width)
        return PointsAroundDistribution(self.mean(context), _bounded(self.log_scale), self.mean.basis)


class PointEncoder(ConditionalDensity):
    """q(z | x, c), normal: the mean moves along with the centred points, the widths do not turn.

    The context holds the points' coordinates one after the other, then the condition c.
    """

    basis: Tensor

    def __init__(
        self,
        points: int,
        dim: int,
        *,
        latent: int,
        context_width: int,
        scale: float,
        network: EquivariantNetwork,
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.points, self.dim, self.latent, self.scale = points, dim, latent, scale
        self.context_width = points * dim + context_width
        self.network = network
        self.register_buffer("basis", subspace_basis(points, dtype=dtype))

    def forward(self, context: Float[Tensor, "batch context"]) -> IndependentNormal:
        check_context(context, self.context_width)
        size = self.points * self.dim
        x = centred(context[:, :size].reshape(-1, self.points, self.dim)) / self.scale
        vectors, scalars = self.network(x, _features(x[..., :0], context[:, size:]))
        place = from_points(x + vectors[:, :, 0], self.basis)
        # One width for all centred points: another for each would turn into a correlation on the subspace.
        width = scalars[..., 0].mean(1, keepdim=True).expand_as(place)
        own, own_width = scalars[..., 1 : 1 + self.latent], scalars[..., 1 + self.latent :]
        mean = torch.cat([place, own.flatten(1)], dim=1)
        return IndependentNormal(mean, _bounded(torch.cat([width, own_width.flatten(1)], dim=1)))


class AveragedDiscriminator(nn.Module):
    """D(x, c) as above, (batch, 1), from the points' coordinates one after the other and the condition in one row.

    n frames in the plane, n(n − 1) in space, each seen by one network on sets. ``DensityError`` for a scale that is not
    positive, and for rows of another width or that are not finite.
    """

    def __init__(
        self,
        points: int,
        dim: int,
        context_width: int = 0,
        *,
        reflections: bool = False,
        scale: float = 1.0,
        hidden: int = 32,
        layers: int = 2,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        check_shape(points, dim)
        check_scale(scale)
        self.points, self.dim, self.context_width = points, dim, context_width
        self.reflections, self.scale = reflections, scale
        self.network = DeepSets(dim + context_width, 1, hidden=hidden, layers=layers, seed=seed, dtype=dtype)

    def forward(self, row: Float[Tensor, "batch width"]) -> Float[Tensor, "batch one"]:
        size = self.points * self.dim
        if row.shape[1] != size + self.context_width:
            raise DensityError(f"got rows of {row.shape[1]} numbers, expected {size + self.context_width}")
        x = centred(row[:, :size].reshape(-1, self.points, self.dim)) / self.scale
        seen, weight = self.framed(x)
        given = row[:, None, None, size:].expand(-1, seen.shape[1], self.points, -1)
        scores = self.network(torch.cat([seen, given], dim=-1).flatten(0, 1)).reshape(weight.shape)
        return (weight * scores).sum(1, keepdim=True) / (weight.sum(1, keepdim=True) + _SMALL)

    def framed(
        self, x: Float[Tensor, "batch point dim"]
    ) -> tuple[Float[Tensor, "batch frame point dim"], Float[Tensor, "batch frame"]]:
        """The points in each of their frames, and the frames' weights."""
        if self.dim == 2:
            axes = torch.stack([x, torch.stack([-x[..., 1], x[..., 0]], dim=-1)], dim=-1)
            weight = x.square().sum(-1)
            axes = axes / (weight + _SMALL).sqrt()[..., None, None]
        else:
            n = self.points
            i, j = (1 - torch.eye(n, device=x.device)).nonzero().unbind(1)
            first = _unit(x[:, i])
            third = torch.linalg.cross(first, x[:, j])
            weight = torch.linalg.cross(x[:, i], x[:, j]).square().sum(-1)
            third = _unit(third)
            axes = torch.stack([first, torch.linalg.cross(third, first), third], dim=-1)
        seen = x[:, None] @ axes
        if not self.reflections:
            return seen, weight
        image = torch.cat([seen[..., :-1], -seen[..., -1:]], dim=-1)
        return torch.cat([seen, image], dim=1), torch.cat([weight, weight], dim=1)


def _unit(vectors: Tensor) -> Tensor:
    """Of length 1 but for the shortest: smooth at zero."""
    return vectors / (vectors.square().sum(-1, keepdim=True) + _SMALL).sqrt()


def equivariant_cvae(
    points: int,
    dim: int,
    context_width: int = 0,
    *,
    latent: int = 1,
    reflections: bool = False,
    scale: float = 1.0,
    hidden: int = 32,
    rounds: int = 2,
    samples: int = 64,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> CVAE:
    """A CVAE of centred points, (batch, points, dim), whose law is that of the points turned or renamed.

    ``latent`` numbers of each point beside its latent position; ``reflections`` whether mirror images must be as
    likely; ``scale`` the data's standard deviation, roughly. Its ``log_prob`` is an importance-weighted bound, taken
    with fixed noise: it is invariant in law, not for one noise. ``DensityError`` as :class:`.rigid.CentredNormal`.
    """
    check_shape(points, dim)
    check_scale(scale)

    def network(scalars: int, features: int, purpose: int) -> EquivariantNetwork:
        return EquivariantNetwork(
            dim,
            1,
            scalars,
            features=features,
            reflections=reflections,
            hidden=hidden,
            rounds=rounds,
            seed=2 * seed + purpose,
            dtype=dtype,
        )

    size = {"latent": latent, "context_width": context_width, "scale": scale, "dtype": dtype}
    width = latent_width(points, dim, latent)
    return CVAE(
        points * dim,
        width,
        context_width,
        prior=StandardNormal(width, context_width, dtype=dtype),
        encoder=PointEncoder(points, dim, network=network(1 + 2 * latent, context_width, 0), **size),
        decoder=PointDecoder(PointMap(points, dim, network=network(0, latent + context_width, 1), **size), dtype=dtype),
        samples=samples,
        seed=seed,
        dtype=dtype,
    )


def equivariant_gan(
    points: int,
    dim: int,
    context_width: int = 0,
    *,
    latent: int = 1,
    reflections: bool = False,
    scale: float = 1.0,
    hidden: int = 32,
    rounds: int = 2,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> GAN:
    """A GAN of centred points, (batch, points, dim), whose law is that of the points turned or renamed. No density.

    Arguments and errors as for :func:`equivariant_cvae`.
    """
    check_shape(points, dim)
    check_scale(scale)
    network = EquivariantNetwork(
        dim,
        features=latent + context_width,
        reflections=reflections,
        hidden=hidden,
        rounds=rounds,
        seed=seed,
        dtype=dtype,
    )
    return GAN(
        points * dim,
        latent_width(points, dim, latent),
        context_width,
        generator=PointMap(
            points, dim, latent=latent, context_width=context_width, scale=scale, network=network, dtype=dtype
        ),
        discriminator=AveragedDiscriminator(
            points, dim, context_width, reflections=reflections, scale=scale, hidden=hidden, seed=seed, dtype=dtype
        ),
        dtype=dtype,
    )
