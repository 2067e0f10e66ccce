"""Intervals that hold however one stops: repeated confidence intervals at looks that are fixed in advance.

Who adds runs until an interval is narrow enough stops, more often than not, where chance made it narrow; an interval
meant for a fixed number of runs then covers less than it says. Here the numbers of runs at which one looks are fixed
before the first, and the error α that all looks together may make is spent over them: with t the share of all runs,

    α(t) = α · ln(1 + (e − 1) t)

is spent up to t (Lan & DeMets, *Discrete sequential boundaries for clinical trials*, Biometrika 70, 1983), and each
look k has the level 1 − a_k for which a standard Brownian motion that stayed inside before leaves at k with the
probability due. The intervals at these levels cover together with probability 1 − α, so the one at which one stops
covers too, whatever the reason to stop (Jennison & Turnbull, *Interim analyses: the repeated confidence interval
approach*, Journal of the Royal Statistical Society B 51, 1989).

That holds as far as an interval at level 1 − a_k covers as often as it says, at the first look too: estimates are
sums of independent terms, and are taken to be normal together over looks.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from statistics import NormalDist
from typing import cast

import numpy as np
from numpy.typing import NDArray

from scenariogen.errors import DensityError

FIRST = 80
GROWTH = 1.3
"""Looks are this factor apart, so that about a quarter more runs than needed are made at worst."""
MOST_LOOKS = 50
_NODES = 128
_FARTHEST = 9.0


@dataclass(frozen=True, kw_only=True)
class Looks:
    """When one looks, and at which level.

    ``runs``   runs made in all at each look, ascending; the last is the budget
    ``level``  with which all intervals cover together
    """

    runs: tuple[int, ...]
    level: float = 0.95

    def __post_init__(self) -> None:
        steps = np.diff(np.array([0, *self.runs]))
        if not self.runs or (steps <= 0).any() or len(self.runs) > MOST_LOOKS:
            raise DensityError(f"got looks after {self.runs} runs, expected 1 to {MOST_LOOKS} ascending numbers")
        if not 0 < self.level < 1:
            raise DensityError(f"got the level {self.level}, expected between 0 and 1")

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """Level of the interval at each look."""
        return tuple(2 * NormalDist().cdf(bound) - 1 for bound in bounds(self.runs, level=self.level))


def looks_until(budget: int, *, first: int = FIRST, growth: float = GROWTH, level: float = 0.95) -> Looks:
    """Looks after ``first`` runs, then each ``growth`` times later, and when the budget is spent.

    >>> looks_until(200, first=80, growth=1.5).runs
    (80, 120, 200)
    """
    if budget < 1 or first < 1 or growth <= 1:
        raise DensityError(f"got a budget of {budget}, a first look at {first} and growth {growth}, expected more")
    runs = [min(first, budget)]
    while runs[-1] < budget:
        later = max(runs[-1] + 1, math.ceil(runs[-1] * growth))
        # A last look right behind another one costs level and tells nothing new.
        runs.append(budget if later * math.sqrt(growth) > budget else later)
    return Looks(runs=tuple(runs), level=level)


def spent(share: float, alpha: float) -> float:
    """Error that may be made up to a share of all runs."""
    return alpha * math.log1p((math.e - 1) * share)


def bounds(runs: tuple[int, ...], *, level: float = 0.95) -> tuple[float, ...]:
    """What the standardised error may reach at each look, in standard errors."""
    share = np.array(runs, dtype=np.float64) / runs[-1]
    alpha = 1 - level
    found = []
    nodes, density = np.zeros(1), np.ones(1)  # of the motion at the look before, where it never left; with the weights
    before, used = 0.0, 0.0
    for t in share:
        due = spent(float(t), alpha) - used
        root = math.sqrt(t - before)
        leaves = partial(_left, nodes=nodes, density=density, scale=math.sqrt(t), root=root)
        bound = _solved(leaves, due)
        used += leaves(bound)
        found.append(bound)
        nodes, density = _inside(nodes, density, edge=bound * math.sqrt(t), root=root)
        before = float(t)
    return tuple(found)


def _solved(leaves: Callable[[float], float], due: float) -> float:
    """The bound beyond which the motion leaves with probability ``due``."""
    from scipy.optimize import brentq  # late: whoever only makes runs does without scipy

    return cast(float, brentq(lambda bound: leaves(bound) - due, 1e-3, _FARTHEST, xtol=1e-10))


def _left(
    bound: float, *, nodes: NDArray[np.float64], density: NDArray[np.float64], scale: float, root: float
) -> float:
    """Probability that the motion, at ``nodes`` before, lies beyond ``bound * scale`` one look later."""
    from scipy.special import ndtr

    stays = ndtr((bound * scale - nodes) / root) - ndtr((-bound * scale - nodes) / root)
    return float(density @ (1 - stays))


def _inside(
    nodes: NDArray[np.float64], density: NDArray[np.float64], *, edge: float, root: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The motion one look later where it lies within ``edge``: Gauss-Legendre nodes, and its density times weights."""
    at, weight = np.polynomial.legendre.leggauss(_NODES)
    later = edge * at
    step = (later[:, None] - nodes) / root
    kernel = np.exp(-0.5 * step**2) / (root * math.sqrt(2 * math.pi))
    return later, (kernel @ density) * weight * edge
