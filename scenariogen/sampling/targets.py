"""Boltzmann targets p*(x) ∝ p(x) exp(−βU(x)), and the ones that samplers are compared on.

Each standard target knows its energy; what is known of it in closed form (log Z, modes) stands beside it, for whoever
checks a sampler. No sampler reads it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from scenariogen.errors import DensityError
from scenariogen.randomness import child_seed, uniform
from scenariogen.sampling.contract import ConditionalDensity

Energy = Callable[[Tensor], Tensor]
"""U(x): (batch, dim) → (batch,), differentiable."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BoltzmannTarget:
    """p*(x) ∝ p(x) exp(−βU(x)).

    ``prior``   p, a density without context that can be drawn from
    ``energy``  U
    ``beta``    inverse temperature β

    ``energies`` and ``gradients`` count the rows that U and ∇U were evaluated at.
    """

    prior: ConditionalDensity
    energy: Energy
    beta: float = 1.0
    _counts: dict[str, int] = field(default_factory=lambda: {"energies": 0, "gradients": 0}, repr=False)

    @property
    def energies(self) -> int:
        return self._counts["energies"]

    @property
    def gradients(self) -> int:
        return self._counts["gradients"]

    def log_prior(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        """log p(x)."""
        return self.prior(x.new_zeros((len(x), 0))).log_prob(x)

    def energy_of(self, x: Float[Tensor, "batch dim"], *, overflows: bool = False) -> Float[Tensor, " batch"]:
        """U(x), counted; also as a gradient where ``x`` asks for one. ``DensityError`` where U gives nan.

        With ``overflows`` nan counts as infinite energy: a trajectory that left the numbers' range is not accepted.
        """
        self._counts["energies"] += len(x)
        if x.requires_grad:
            self._counts["gradients"] += len(x)
        out = self.energy(x)
        if out.shape != x.shape[:1]:
            raise DensityError(f"the energy gave shape {tuple(out.shape)} for {len(x)} rows, expected ({len(x)},)")
        if overflows:
            return torch.nan_to_num(out, nan=torch.inf, posinf=torch.inf)
        if torch.isnan(out).any():
            raise DensityError(f"the energy gave nan for {int(torch.isnan(out).sum())} of {len(x)} rows")
        return out

    def log_prob(self, x: Float[Tensor, "batch dim"]) -> Float[Tensor, " batch"]:
        """log p(x) − βU(x): the target's log-density up to log Z."""
        return self.log_prior(x) - self.beta * self.energy_of(x)


def relative_to(prior: ConditionalDensity, energy: Energy) -> Energy:
    """U(x) = energy(x) + log p(x), so that p(x) exp(−U(x)) = exp(−energy(x)): annealing then starts from p."""
    return lambda x: energy(x) + prior(x.new_zeros((len(x), 0))).log_prob(x)


@dataclass(frozen=True, kw_only=True, eq=False)
class Benchmark:
    """A standard energy at β = 1 and what is known of exp(−energy).

    ``log_z``  log ∫ exp(−energy(x)) dx
    ``modes``  (mode, dim) where its modes lie, to the digits that matter for counting them
    """

    name: str
    dim: int
    energy: Energy = field(repr=False)
    log_z: float
    modes: Tensor = field(repr=False)


def gaussian_mixture(*, components: int = 40, width: float = 40.0, seed: int = 0) -> Benchmark:
    """Equal normal components in the plane with centres uniform on [−width, width]² and scale log(1 + e).

    The 40-component mixture of Midgley, Stimper, Simm, Schölkopf & Hernández-Lobato, *Flow annealed importance
    sampling bootstrap*, 2023, with centres of its own.
    """
    noise = uniform(child_seed(seed, "mixture centres"), torch.arange(components), 2)
    centres = width * (2 * noise - 1)
    scale = math.log1p(math.e)

    def energy(x: Tensor) -> Tensor:
        places = centres.to(x)
        squares = (x**2).sum(-1, keepdim=True) - 2 * x @ places.T + (places**2).sum(-1)
        return math.log(components) + math.log(2 * math.pi * scale**2) - torch.logsumexp(-squares / (2 * scale**2), -1)

    return Benchmark(name=f"{components}-mode mixture", dim=2, energy=energy, log_z=0.0, modes=centres)


def many_well(*, dim: int = 32) -> Benchmark:
    """dim/2 independent pairs with energy a⁴ − 6a² − a/2 + b²/2: 2^(dim/2) modes.

    Noé, Olsson, Köhler & Wu, *Boltzmann generators*, 2019, and Midgley et al., 2023. log Z by quadrature; ``modes``
    holds the two minima of a single well.
    """
    if dim < 2 or dim % 2:
        raise DensityError(f"got {dim} dimensions, expected an even number")

    def energy(x: Tensor) -> Tensor:
        a, b = x[:, 0::2], x[:, 1::2]
        return (a**4 - 6 * a**2 - 0.5 * a + 0.5 * b**2).sum(-1)

    a = torch.linspace(-6, 6, 200_001, dtype=torch.float64)
    one = torch.trapezoid(torch.exp(-(a**4 - 6 * a**2 - 0.5 * a)), a)
    log_z = (dim // 2) * (float(one.log()) + 0.5 * math.log(2 * math.pi))
    minima = torch.tensor([[-1.7108, 0.0], [1.7525, 0.0]], dtype=torch.float64)
    return Benchmark(name=f"{dim}-dimensional many-well", dim=dim, energy=energy, log_z=log_z, modes=minima)


def pair_distances(x: Float[Tensor, "batch point dim"]) -> Float[Tensor, "batch pair"]:
    """Distances of all pairs of points, each pair once."""
    first, second = torch.triu_indices(x.shape[1], x.shape[1], 1, device=x.device)
    return (x[:, first] - x[:, second]).norm(dim=-1)


def double_well_energy(x: Float[Tensor, "batch point dim"]) -> Float[Tensor, " batch"]:
    """Points whose pairs prefer one of two distances: Σ_pairs −4 (d − 4)² + 0.9 (d − 4)⁴.

    The four-particle system of Köhler, Klein & Noé, *Equivariant flows*, 2020, each pair counted once.
    """
    shift = pair_distances(x) - 4.0
    return (-4.0 * shift**2 + 0.9 * shift**4).sum(-1)


def lennard_jones_energy(x: Float[Tensor, "batch point dim"]) -> Float[Tensor, " batch"]:
    """Σ_pairs (d⁻¹² − 2 d⁻⁶) + ½ Σ |x − centre|², continued linearly below a distance of 0.6.

    The cluster of Köhler, Klein & Noé, 2020, each pair counted once; the spring on the centre holds it together. The
    continuation keeps energies finite where points meet; below 0.6 a pair has less than e⁻³⁰⁰ of the probability that
    it has at its best distance, so nothing that can be measured depends on it.
    """
    d = pair_distances(x)
    near = 0.6
    inverse = d.clamp_min(near) ** -6
    edge = near**-6
    slope = (-12 * edge**2 + 12 * edge) / near
    pairs = inverse**2 - 2 * inverse + slope * (d - near).clamp_max(0.0)
    return pairs.sum(-1) + 0.5 * (x - x.mean(1, keepdim=True)).square().sum((1, 2))
