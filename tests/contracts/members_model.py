"""Members: densities of whole records that the model is made of."""

import itertools

import torch
from torch import Tensor

from scenariogen.model.log_density import LogDensity
from scenariogen.sampling.contract import ConditionalDensity
from tests.contracts.members import Member, box, no_context, shaken

OPTIONS = (2, 3, 2, 2)
JITTER_S = 10.0


def log_density(dtype: torch.dtype) -> ConditionalDensity:
    return shaken(lambda: LogDensity(OPTIONS, jitter_s=JITTER_S, scale=2.0, bins=8, hidden=16, dtype=dtype), scale=0.2)


def rows_and_weights() -> tuple[Tensor, Tensor]:
    """Every choice, times a midpoint rule for y = log(t + 2 j), whose Jacobian is dt = exp(y) dy."""
    y, width = box((float(torch.log(torch.tensor(JITTER_S))),), (60.0,), nodes=4001)()
    duration_s, weight = torch.exp(y) - 2 * JITTER_S, width * torch.exp(y[:, 0])
    choices = torch.tensor(list(itertools.product(*map(range, OPTIONS))), dtype=torch.float64)
    rows = torch.cat([choices.repeat_interleave(len(y), 0), duration_s.repeat(len(choices), 1)], dim=1)
    return rows, weight.repeat(len(choices))


MEMBERS = [
    Member(
        name="density of an event log",
        make=lambda dtype, device: log_density(dtype).to(device),
        contexts=no_context,
        shape=(5,),
        quadrature=rows_and_weights,
        outside=torch.tensor([[0, 0, 0, 0, -JITTER_S - 1], [2, 0, 0, 0, 5], [0.5, 0, 0, 0, 5]], dtype=torch.float64),
    )
]
