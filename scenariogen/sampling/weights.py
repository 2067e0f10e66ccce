"""Weights w = p/q of draws from their log-densities, in log space, and those over a mixture of proposals.

What comes out is taken as it is by everything that estimates (:mod:`.importance`, :mod:`.quantiles`, :mod:`.rounds`).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scenariogen.errors import DensityError, Problems

if TYPE_CHECKING:  # who only reads results need not wait for torch
    from torch import Tensor

    from scenariogen.sampling.contract import Distribution


def log_weights(target_log_prob: "ArrayLike | Tensor", proposal_log_prob: "ArrayLike | Tensor") -> NDArray[np.float64]:
    """log w = log p − log q of draws from q, shape (batch,), float64.

    Both log-densities have shape (batch,), are taken at the same draws and must be exact (:func:`exact_log_weights`
    asks the densities themselves). −∞ is a target that the draw lies outside of. ``DensityError`` for shapes that
    differ, nan, a target of +∞, a proposal of ±∞ (what it drew has a density), and where no draw has weight at all.

    >>> log_weights([-1.0, -2.0], [-1.5, -1.0]).tolist()
    [0.5, -1.0]
    """
    target, proposal = _numbers(target_log_prob), _numbers(proposal_log_prob)
    problems = Problems("weights")
    if target.ndim != 1 or target.shape != proposal.shape:
        problems.add(f"got log-densities of shapes {target.shape} and {proposal.shape}, expected one shape (batch,)")
    for name, wrong, expected in (
        ("target", np.isnan(target) | np.isposinf(target), "numbers or −inf"),
        ("proposal", ~np.isfinite(proposal), "finite numbers, since its draws have a density"),
    ):
        if wrong.any():
            problems.add(f"{int(wrong.sum())} log-densities of the {name} are nan or infinite, expected {expected}")
    if target.size and not problems and np.isneginf(target).all():
        problems.add(f"all {target.size} weights are 0: no draw of the proposal lies where the target has mass")
    problems.raise_as(DensityError)
    return target - proposal


def exact_log_weights(target: "Distribution", proposal: "Distribution", x: "Tensor") -> NDArray[np.float64]:
    """:func:`log_weights` of the draws ``x`` of ``proposal``, (batch,).

    ``DensityError`` where either is not exact, and where they refer to different measures.
    """
    from scenariogen.sampling.contract import check_same_measure, exact_log_prob

    check_same_measure(target.measure, proposal.measure)

    return log_weights(exact_log_prob(target, x), exact_log_prob(proposal, x))


def mixture_log_weights(
    target_log_prob: ArrayLike, proposals_log_prob: ArrayLike, draws: Sequence[int], *, fixed_beforehand: bool
) -> NDArray[np.float64]:
    """log w of the pooled draws of several proposals, each weighed as if drawn from their mixture, (batch,).

        w(x) = p(x) / Σ_t (n_t / n) q_t(x)

    ``proposals_log_prob``  (proposal, batch) log-density of every draw under every proposal, −∞ where it has none
    ``draws``               (proposal,) n_t, how many of the draws each proposal gave
    ``fixed_beforehand``    whether every proposal was fixed before any of the draws was made. Only then is a mean
                            with these weights unbiased; ``DensityError`` otherwise: proposals learnt from earlier
                            draws keep their own weights (:mod:`scenariogen.sampling.rounds`).

    The deterministic mixture, or balance heuristic: Veach & Guibas, *Optimally combining sampling techniques for Monte
    Carlo rendering*, 1995; Owen & Zhou, *Safe and effective importance sampling*, 2000.
    """
    if not fixed_beforehand:
        raise DensityError(
            "weights over the mixture of proposals that were learnt from earlier draws are not unbiased: estimate with "
            "scenariogen.sampling.rounds.rounds_estimate, which weighs each draw by its own round's proposal"
        )
    return log_weights(target_log_prob, mixture_log_prob(proposals_log_prob, draws))


def mixture_log_prob(proposals_log_prob: ArrayLike, draws: Sequence[int]) -> NDArray[np.float64]:
    """log Σ_t (n_t / n) q_t, (batch,), from log q_t, (proposal, batch), and n_t, (proposal,)."""
    logs, counts = _numbers(proposals_log_prob), np.asarray(draws, dtype=np.float64)
    problems = Problems("mixture of proposals")
    if logs.ndim != 2 or counts.shape != logs.shape[:1]:
        problems.add(f"got log-densities {logs.shape} for {counts.size} proposals, expected (proposal, batch)")
    if counts.size == 0 or (counts < 0).any() or counts.sum() == 0:
        problems.add(f"got {list(draws)} draws by proposal, expected at least one draw in all and none negative")
    elif counts.sum() != logs.shape[-1]:
        problems.add(f"got log-densities of {logs.shape[-1]} draws, but the proposals gave {counts.sum():.0f}")
    if np.isnan(logs).any():
        problems.add(f"{int(np.isnan(logs).sum())} log-densities of the proposals are nan")
    problems.raise_as(DensityError)
    with np.errstate(divide="ignore"):
        return np.logaddexp.reduce(logs + np.log(counts / counts.sum())[:, None], axis=0)


def _numbers(values: "ArrayLike | Tensor") -> NDArray[np.float64]:
    """As float64 array; tensors come from whatever device and graph they are on."""
    detach = getattr(values, "detach", None)
    return np.asarray(values if detach is None else detach().cpu(), dtype=np.float64)
