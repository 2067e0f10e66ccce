"""Frequencies after the fact: sets of points under other multipliers of their means, from one mixture of a few.

With a multiplier κ_k for each kind, n_k points and means Λ_k by kind,

    log p_κ(ω) − log p(ω) = Σ_k n_k log κ_k − Σ_k (κ_k − 1) Λ_k,

so counts and means by kind are all that reweighting needs. From p alone E_p[w²] = exp(Λ (κ − 1)²), hopeless far out. So
sets are drawn from a mixture over a few rows of multipliers, one coin for the whole set,

    q(ω) = Σ_j α_j p_κj(ω) / Z_κj,        ω meets the condition,

where Z_κ is the probability of the condition (see :mod:`.quantifier`; zero truncation is the condition ``any`` of all
points). The weight of the target p_κ / Z_κ at κ = κ_j is at most 1/α_j (Hesterberg, *Weighted average importance
sampling and defensive mixture distributions*, 1995; Owen & Zhou, *Safe and effective importance sampling*, 2000). At
other κ it is bounded where log κ ≤ Σ_j λ_j log κ_j, kind by kind, for some shares λ: then

    log w ≤ (Σ_j λ_j κ_j − κ) · Λ + Σ_j λ_j log(λ_j Z_κj / α_j) − log Z_κ,

by the inequality of weighted means. :meth:`FrequencyMixture.log_weight_bound` takes the λ for which that is small.

Functions of counts and means take tensors or NumPy arrays and give back the same: weights of record are NumPy.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Float
from scipy import special
from torch import Tensor

from scenariogen.errors import ConditionError, DensityError, FrequencyError, Problems
from scenariogen.sampling.quantifier import Quantifier, Rows

LARGEST_RATIO = 3.5
"""Neighbouring multipliers of a grid differ at most by this factor, so that weights between them stay small."""
SMALLEST_SHARE = 0.05
"""The smallest share of a row in a mixture: no weight at its multipliers exceeds 20."""
ROUNDING = 1e-9

ByKind: TypeAlias = Float[Tensor, "batch kind"] | Float[np.ndarray, "batch kind"]
Multipliers: TypeAlias = Float[Tensor, " kind"] | Float[np.ndarray, " kind"]


def log_frequency_ratio(kappa: Multipliers, counts: ByKind, expected: ByKind) -> Rows:
    """log p_κ(ω) − log p(ω) from counts and means by kind, shape (batch,)."""
    xp: Any = torch if isinstance(kappa, Tensor) else np
    with np.errstate(divide="ignore", invalid="ignore"):
        known = xp.where(counts == 0, 0.0 * counts, counts * xp.log(kappa))  # a kind without points may have κ_k = 0
    return known.sum(-1) - expected @ (kappa - 1)


def frequency_grid(frequencies: Sequence[float | int]) -> tuple[float, ...]:
    """Multipliers of a mixture: both ends of the range, and between them geometric steps of at most 3.5.

    ``FrequencyError`` for a multiplier that is not positive, or a range that needs more than 20 of them.

    >>> frequency_grid([1.0]), len(frequency_grid([0.5, 5.0]))
    ((1.0,), 3)
    """
    problems = Problems("frequencies")
    for value in frequencies:
        if not (np.isfinite(value) and value > 0):
            problems.add(f"got the multiplier {value}, expected a positive number")
    if not frequencies:
        problems.add("got none, expected at least one multiplier such as 1")
    problems.raise_as(FrequencyError)
    low, high = min(frequencies), max(frequencies)
    steps = int(np.ceil(np.log(high / low) / np.log(LARGEST_RATIO) - 1e-9))
    if steps + 1 > 1 / SMALLEST_SHARE:
        raise FrequencyError(
            f"the range {low:g} to {high:g} needs {steps + 1} proposals, at most {round(1 / SMALLEST_SHARE)} can have "
            "a share of 5 % each: draw two batches"
        )
    if steps == 0:
        return (float(low),)
    return tuple(float(value) for value in np.geomspace(low, high, steps + 1))


@dataclass(frozen=True)
class FrequencyMixture:
    """The mixture q of this module's formula.

    ``alphas``       the shares, above 0, summing to 1
    ``multipliers``  one row of κ by kind for each share
    ``quantifier``   the condition that every set meets

    ``DensityError`` lists what makes it no mixture.
    """

    alphas: tuple[float | int, ...]
    multipliers: tuple[tuple[float | int, ...], ...]
    quantifier: Quantifier = field(default_factory=Quantifier)

    def __post_init__(self) -> None:
        problems = Problems("this mixture of frequencies")
        if len(self.alphas) != len(self.multipliers) or not self.alphas:
            problems.add(
                f"got {len(self.alphas)} shares for {len(self.multipliers)} rows, expected as many, at least 1"
            )
        if not (np.array(self.alphas) > 0).all() or abs(sum(self.alphas) - 1) > ROUNDING:
            problems.add(f"the shares are {self.alphas}, expected positive numbers that sum to 1")
        if len({len(row) for row in self.multipliers}) > 1:
            problems.add("the rows of multipliers are for different numbers of kinds")
        elif not all(np.isfinite(value) and value > 0 for row in self.multipliers for value in row):
            problems.add("multipliers must be finite and above 0")
        problems.raise_as(DensityError)

    def covers(self, kappa: Multipliers) -> bool:
        """Whether κ lies, kind by kind, in the range of the rows, and its weights are bounded.

        Several kinds at the upper ends of their ranges need a row in which they are so together. ``FrequencyError``
        for κ of another number of kinds.
        """
        kinds = len(self.multipliers[0])
        if tuple(kappa.shape) != (kinds,):
            raise FrequencyError(
                f"got multipliers of shape {tuple(kappa.shape)}, expected one for each of {kinds} kinds"
            )
        values = np.asarray(kappa.tolist())
        low, high = np.min(self.multipliers, axis=0), np.max(self.multipliers, axis=0)
        inside = (values >= low * (1 - ROUNDING)) & (values <= high * (1 + ROUNDING)) & (values > 0)
        return bool(inside.all()) and self._combination(values, np.zeros(len(self.alphas))) is not None

    def log_weight_bound(
        self, kappa: Multipliers, expected: ByKind, inside: ByKind, outside: ByKind | None = None
    ) -> Float[np.ndarray, " batch"]:
        """What log p_κ / Z_κ − log q cannot exceed for any set, given means by kind; errors as :meth:`log_weight`."""
        self._check(kappa)
        rows = [_like(row, expected) for row in self.multipliers]
        normalisers = np.stack([_numpy(self._possible(row, expected, inside, outside)) for row in rows], axis=1)
        means, values = _numpy(expected), np.asarray(kappa.tolist())
        alphas = np.array(self.alphas, dtype=np.float64)
        cost = means @ np.array(self.multipliers, dtype=np.float64).T + normalisers - np.log(alphas)
        # Any λ that there is gives a bound: the best for the mean row, and for the row whose bound that leaves largest.
        rest = means @ values + _numpy(self._possible(kappa, expected, inside, outside))
        bound = self._bound(values, cost.mean(axis=0), cost) - rest
        return np.minimum(bound, self._bound(values, cost[int(bound.argmax())], cost) - rest)

    def _bound(self, kappa: np.ndarray, aim: np.ndarray, cost: np.ndarray) -> np.ndarray:
        """Σ_j λ_j cost_j + Σ_j λ_j log λ_j, (batch,), with the λ that makes it least for the costs ``aim``."""
        from scipy.optimize import minimize

        def value(shares: np.ndarray) -> float:
            return float(aim @ shares + special.xlogy(shares, shares).sum())

        logs = np.log(np.array(self.multipliers, dtype=np.float64))
        shares = self._combination(kappa, aim)
        assert shares is not None  # who asks has checked
        found = minimize(
            value,
            shares,
            jac=lambda x: aim + 1 + np.log(np.maximum(x, 1e-300)),
            method="SLSQP",
            bounds=[(1e-12, 1.0)] * len(shares),
            constraints=[
                {"type": "eq", "fun": lambda x: x.sum() - 1.0},
                {"type": "ineq", "fun": lambda x: x @ logs - np.log(kappa)},
            ],
        ).x
        met = abs(found.sum() - 1) <= ROUNDING and (found @ logs >= np.log(kappa) - ROUNDING).all()
        if met and value(found) < value(shares):
            shares = found
        return cost @ shares + float(special.xlogy(shares, shares).sum())

    def _possible(self, kappa: Multipliers, expected: ByKind, inside: ByKind, outside: ByKind | None) -> Rows:
        found = self.log_normaliser(kappa, expected, inside, outside)
        never = int((_numpy(found) == -np.inf).sum())
        if never:
            raise ConditionError(f"the condition {self.quantifier} has probability 0 in {never} of {len(found)} rows")
        return found

    def _combination(self, kappa: np.ndarray, cost: np.ndarray) -> np.ndarray | None:
        """Shares λ of the rows with log κ ≤ Σ λ_j log κ_j of the least ``cost``; None where there are none."""
        from scipy.optimize import linprog

        logs = np.log(np.array(self.multipliers, dtype=np.float64))
        found = linprog(
            cost, A_ub=-logs.T, b_ub=ROUNDING - np.log(kappa), A_eq=np.ones((1, len(logs))), b_eq=[1.0], bounds=(0, 1)
        )
        if found.status != 0:
            return None
        shares = np.maximum(found.x, 0.0)  # the programme's own rounding
        return shares / shares.sum()

    def _check(self, kappa: Multipliers) -> None:
        if not self.covers(kappa):
            raise FrequencyError(
                f"the multipliers {kappa.tolist()} lie outside the range of this mixture, "
                f"{np.min(self.multipliers, axis=0).tolist()} to {np.max(self.multipliers, axis=0).tolist()}, or have "
                "several kinds further up together than any of its rows"
            )

    def log_normaliser(
        self, kappa: Multipliers, expected: ByKind, inside: ByKind, outside: ByKind | None = None
    ) -> Rows:
        """log Z_κ from means by kind: all, in A and outside (None: the difference), shape (batch,)."""
        in_a = inside @ kappa
        if outside is not None:
            return self.quantifier.log_probability(in_a, outside @ kappa)
        rest = expected @ kappa - in_a
        return self.quantifier.log_probability(in_a, rest.clip(min=0.0))

    def log_density(
        self,
        counts: ByKind,
        *,
        expected: ByKind,
        inside: ByKind,
        outside: ByKind | None = None,
        start: Rows | float = 0.0,
    ) -> Rows:
        """log q(ω) of sets that meet the condition, shape (batch,).

        ``start`` is log p(ω) at multipliers 1; 0 gives log q − log p. For ``given-one`` it lacks log N_A, which every
        target has too. ``ConditionError`` where the condition has probability 0.
        """
        parts = []
        for alpha, row in zip(self.alphas, self.multipliers, strict=True):
            kappa = _like(row, expected)
            ratio = log_frequency_ratio(kappa, counts, expected)
            parts.append(float(np.log(alpha)) + start + ratio - self._possible(kappa, expected, inside, outside))
        if isinstance(expected, Tensor):
            return torch.logsumexp(torch.stack(parts), dim=0)
        return np.logaddexp.reduce(parts, axis=0)

    def log_weight(
        self, kappa: Multipliers, counts: ByKind, *, expected: ByKind, inside: ByKind, outside: ByKind | None = None
    ) -> Rows:
        """log of p_κ(ω) / Z_κ over q(ω), shape (batch,): at most −log α_j at the multipliers of row j.

        ``FrequencyError`` outside of what the mixture covers (:meth:`covers`), ``ConditionError`` where the condition
        has probability 0.
        """
        self._check(kappa)
        target = log_frequency_ratio(kappa, counts, expected) - self._possible(kappa, expected, inside, outside)
        return target - self.log_density(counts, expected=expected, inside=inside, outside=outside)


def _numpy(values: Tensor | np.ndarray) -> np.ndarray:
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64)


def _like(row: Sequence[float | int], other: ByKind) -> Any:
    if isinstance(other, Tensor):
        return torch.tensor(row, dtype=other.dtype, device=other.device)
    return np.array(row, dtype=np.float64)


def best_shares(
    parts: Float[np.ndarray, "pilot component"], targets: Float[np.ndarray, "pilot target"]
) -> tuple[float, ...]:
    """Shares α_j ≥ 0.05 of a mixture under which the smallest effective share of draws over the targets is largest.

    The effective share at a target t is 1 / E_t[t / q]. ``parts`` and ``targets`` are densities over one and the same
    base at draws of the mixture with equal shares; E_t[t / q] is convex in α, and its largest value is minimised.
    Equal shares are given back where nothing better is found. ``DensityError`` for so many components that their
    shares cannot all be 0.05.
    """
    from scipy.optimize import minimize

    components = parts.shape[1]
    if components * SMALLEST_SHARE > 1:
        raise DensityError(
            f"got {components} components, expected at most {int(1 / SMALLEST_SHARE)}: each has a share of "
            f"{SMALLEST_SHARE:g} at least"
        )
    equal = np.full(components, 1 / components)
    over_pilot = targets / (parts @ equal)[:, None]

    def costs(alphas: np.ndarray) -> np.ndarray:
        return (over_pilot * targets / (parts @ alphas)[:, None]).mean(axis=0)

    found = minimize(
        lambda x: x[-1],
        np.append(equal, np.log(costs(equal).max())),
        method="SLSQP",
        bounds=[(SMALLEST_SHARE, 1.0)] * components + [(0.0, None)],
        constraints=[
            {"type": "eq", "fun": lambda x: x[:-1].sum() - 1.0},
            {"type": "ineq", "fun": lambda x: x[-1] - np.log(costs(x[:-1]))},
        ],
    )
    alphas = np.maximum(found.x[:-1], SMALLEST_SHARE)
    alphas = SMALLEST_SHARE + (alphas - SMALLEST_SHARE) * (1 - SMALLEST_SHARE * components) / max(
        (alphas - SMALLEST_SHARE).sum(), 1e-12
    )
    if not np.isfinite(alphas).all() or costs(alphas).max() >= costs(equal).max():
        return tuple(float(each) for each in equal)  # equal shares are as good
    return tuple(float(each) for each in alphas)
