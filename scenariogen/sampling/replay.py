"""A prioritised replay buffer: draws that were paid for with an energy are used again, in proportion to their weight.

Entries carry log w = log p̃*(x) − log q(x) at the proposal q they were last weighed by. Rows come out with probability
∝ w, so that a plain average over them is an average under the target (Schaul, Quan, Antonoglou & Silver, *Prioritized
experience replay*, 2016; for samplers Midgley et al., *Flow annealed importance sampling bootstrap*, 2023). Priorities
are limited, which is fine for training and for nothing else: no weight of record comes from here.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from scenariogen.errors import DensityError


@dataclass(frozen=True, kw_only=True, eq=False)
class ReplayBuffer:
    """The latest ``capacity`` draws.

    ``x``      (entry, dim)
    ``log_w``  (entry,) log of target over proposal, up to a constant
    ``limit``  no priority exceeds this multiple of the mean one
    """

    capacity: int
    x: Float[Tensor, "entry dim"]
    log_w: Float[Tensor, " entry"]
    limit: float = 50.0

    def __len__(self) -> int:
        return len(self.x)

    def add(self, x: Float[Tensor, "batch dim"], log_w: Float[Tensor, " batch"]) -> "ReplayBuffer":
        """With more draws; the oldest go. Draws of weight 0 are not kept. ``DensityError`` for nan."""
        if torch.isnan(log_w).any() or torch.isposinf(log_w).any():
            raise DensityError("log weights for the replay buffer hold nan or +inf")
        kept = torch.isfinite(log_w)
        joined = torch.cat([self.x, x[kept]])[-self.capacity :]
        return replace(self, x=joined, log_w=torch.cat([self.log_w, log_w[kept]])[-self.capacity :])

    def pick(self, noise: Float[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """Entries drawn with probability ∝ min(w, limit · mean w). ``DensityError`` where no entry has a weight."""
        if not torch.isfinite(self.log_w).any():
            raise DensityError("the replay buffer is empty, or all its weights are 0: add draws first")
        share = torch.softmax(self.log_w.double(), 0).clamp_max(self.limit / len(self))
        total = share.cumsum(0)
        return torch.searchsorted(total, noise.double() * total[-1]).clamp_max(len(self) - 1)

    def reweigh(self, entries: Int[Tensor, " batch"], log_w: Float[Tensor, " batch"]) -> "ReplayBuffer":
        """With new log-weights for some entries; those that are nan or infinite are not picked any more."""
        changed = self.log_w.clone()
        changed[entries] = torch.where(torch.isfinite(log_w), log_w, -torch.inf)
        return replace(self, log_w=changed)


def empty(capacity: int, dim: int, *, like: Tensor) -> ReplayBuffer:
    """A buffer without entries, on the device and in the precision of ``like``."""
    return ReplayBuffer(capacity=capacity, x=like.new_zeros((0, dim)), log_w=like.new_zeros(0))
