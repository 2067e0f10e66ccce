"""Linear layers whose rows do not depend on where they stand in the batch, and perceptrons made of them.

A matrix product over an odd number of inputs runs through rows at addresses that are not aligned alike, and libraries
round them differently: the last bit of a row then depends on its place. Inputs are therefore filled up with zeros to a
multiple of four, which keeps every row's address aligned in single and double precision. On CPUs this was found to be
enough; :mod:`.fixed_order` writes sums out where the matrices themselves belong to the rows.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

MULTIPLE = 4


def filled(x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch wider"]:
    """``x`` with zeros after its last numbers, up to a multiple of four, in one piece of memory."""
    missing = -x.shape[-1] % MULTIPLE
    return nn.functional.pad(x, (0, missing)) if missing else x.contiguous()


def rounded_up(width: int) -> int:
    """The next multiple of four."""
    return width + -width % MULTIPLE


class Linear(nn.Linear):
    """y = W x + b, with W as wide as the next multiple of four; the columns too many meet zeros only."""

    def __init__(
        self, inputs: int, outputs: int, *, bias: bool = True, zero: bool = False, dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__(rounded_up(inputs), outputs, bias=bias, dtype=dtype)
        if zero:
            for parameter in self.parameters():
                nn.init.zeros_(parameter)

    def forward(self, input: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        return super().forward(filled(input))


def perceptron(
    inputs: int,
    outputs: int,
    *,
    hidden: int = 32,
    layers: int = 2,
    zero: bool = True,
    dtype: torch.dtype = torch.float64,
) -> nn.Sequential:
    """``layers`` layers of ``hidden`` SiLU units and a linear one, which starts at zero where ``zero`` says so."""
    parts: list[nn.Module] = []
    width = inputs
    for _ in range(layers):
        parts += [Linear(width, hidden, dtype=dtype), nn.SiLU()]
        width = hidden
    return nn.Sequential(*parts, Linear(width, outputs, zero=zero, dtype=dtype))
