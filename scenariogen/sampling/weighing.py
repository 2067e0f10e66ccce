"""Importance weights from a flow to a Boltzmann density, without the partition function.

With x drawn from q and w = p(x) exp(−βU(x)) / q(x),

    E_q[w] = Z,    E_p*[h] = E_q[w h] / E_q[w],    −log(Z_A / Z_B) = −log(E_q[w 1_A] / E_q[w 1_B]),

the last the difference of the free energies of two basins A and B, in units of 1/β (Noé, Olsson, Köhler & Wu,
*Boltzmann generators*, 2019). The mean of w is unbiased for Z where q was fixed before the draws; ratios of means are
consistent, their error comes from the delta method (Owen, *Monte Carlo theory, methods and examples*, 2013, chapter 9).
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from scenariogen.errors import DensityError
from scenariogen.randomness import uniform
from scenariogen.sampling.contract import ConditionalDensity, Noise
from scenariogen.sampling.diagnostics import effective_sample_size
from scenariogen.sampling.targets import BoltzmannTarget


@dataclass(frozen=True)
class Average:
    """A weighted average and its standard error."""

    value: float
    standard_error: float

    def __repr__(self) -> str:
        return f"{self.value:.4g} ± {self.standard_error:.2g}"


@dataclass(frozen=True, kw_only=True, eq=False)
class WeighedDraws:
    """Draws of a flow with their log-weights towards a target: ``x`` (batch, dim), ``log_w`` (batch,), float64."""

    x: Float[Tensor, "batch dim"] = field(repr=False)
    log_w: Float[Tensor, " batch"] = field(repr=False)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def effective_size(self) -> float:
        """Kish's (Σ w)² / Σ w²."""
        return effective_sample_size(self.log_w.cpu().numpy())

    @property
    def log_z(self) -> Average:
        """log of the mean weight."""
        shares = self._shares()
        value = float(torch.logsumexp(self.log_w, 0)) - math.log(len(self))
        return Average(value, float(((len(self) * shares - 1) ** 2).mean().sqrt()) / math.sqrt(len(self)))

    def mean(self, values: Float[Tensor, " batch"]) -> Average:
        """E_p*[h] for the values h of the draws."""
        shares = self._shares()
        value = float(shares @ values.double())
        return Average(value, float((shares**2 @ (values.double() - value) ** 2).sqrt()))

    def free_energy_difference(self, in_a: Bool[Tensor, " batch"], in_b: Bool[Tensor, " batch"]) -> Average:
        """F_A − F_B = −log(Z_A / Z_B). ``DensityError`` where no draw lies in one of the basins."""
        shares = self._shares()
        a, b = float(shares[in_a].sum()), float(shares[in_b].sum())
        if a == 0 or b == 0:
            raise DensityError(f"no weight lies in basin {'A' if a == 0 else 'B'}: its free energy cannot be told")
        influence = shares * (in_a.double() / a - in_b.double() / b)
        return Average(-math.log(a / b), float((influence**2).sum().sqrt()))

    def _shares(self) -> Tensor:
        return torch.softmax(self.log_w, 0)


def weigh(
    flow: ConditionalDensity,
    target: BoltzmannTarget,
    *,
    seed: int,
    n: int,
    block: int = 8192,
    noise: Noise = uniform,
) -> WeighedDraws:
    """``n`` draws of ``flow``, whose distribution has a ``push``, and log p(x) − βU(x) − log q(x) of each.

    Raises ``DensityError`` for fewer than 1 draws, where the log-density of the flow or of the target's prior is not
    exact, where every weight is 0, and where one is nan or infinite.
    """
    if n < 1:
        raise DensityError(f"got {n} draws to weigh, expected at least 1")
    row = next(flow.parameters()).new_zeros((1, 0))
    for name, density in (("flow", flow), ("target's prior", target.prior)):
        if not density(row).log_prob_is_exact:
            raise DensityError(
                f"the log-density of the {name} ({type(density).__name__}) is not exact: weights need one that is; a "
                "flow that is solved in steps may take more of them (choose_steps)"
            )
    return rough_weights(flow, target, seed=seed, n=n, block=block, noise=noise)


def rough_weights(
    flow: ConditionalDensity,
    target: BoltzmannTarget,
    *,
    seed: int,
    n: int,
    block: int = 8192,
    noise: Noise = uniform,
) -> WeighedDraws:
    """:func:`weigh` with whatever log-densities are given: to compare flows in training, not to answer anything."""
    like = next(flow.parameters())
    places, logs = [], []
    for first in range(0, n, block):
        rows = torch.arange(first, min(first + block, n), device=like.device)
        with torch.no_grad():
            distribution: Any = flow(like.new_zeros((len(rows), 0)))
            u = noise(seed, rows, distribution.noise_columns).to(like.device)
            x, log_q = distribution.push(torch.special.ndtri(u).to(like.dtype))
            logs.append((target.log_prob(x) - log_q).double())
            places.append(x)
    log_w = torch.cat(logs)
    if torch.isnan(log_w).any() or torch.isposinf(log_w).any() or not torch.isfinite(log_w).any():
        finite = int(torch.isfinite(log_w).sum())
        raise DensityError(f"of {n} log-weights {finite} are finite, the others are nan, +inf or a weight of 0")
    return WeighedDraws(x=torch.cat(places), log_w=log_w)
