"""Products of small matrices whose sums run in one order, whatever the batch and wherever a row stands in it.

Matrix-product kernels choose the order of their sums by shape, layout and alignment, so that the last bit of a row may
depend on its place in the batch. Here each sum is written out, term by term, and a row depends on itself alone.
"""

from jaxtyping import Float
from torch import Tensor


def rows_times(x: Float[Tensor, "batch a"], matrix: Float[Tensor, "a b"]) -> Float[Tensor, "batch b"]:
    """x @ matrix, one matrix for all rows."""
    out = x.new_zeros((len(x), matrix.shape[1]))
    for j in range(matrix.shape[0]):
        out = out + x[:, j, None] * matrix[j]
    return out


def times_rows(matrices: Float[Tensor, "batch a b"], x: Float[Tensor, "batch b"]) -> Float[Tensor, "batch a"]:
    """matrices @ x, a matrix for each row."""
    out = matrices.new_zeros(matrices.shape[:2])
    for j in range(matrices.shape[2]):
        out = out + matrices[:, :, j] * x[:, j, None]
    return out


def products(left: Float[Tensor, "batch a b"], right: Float[Tensor, "batch b c"]) -> Float[Tensor, "batch a c"]:
    """left @ right, row by row."""
    out = left.new_zeros((len(left), left.shape[1], right.shape[2]))
    for j in range(left.shape[2]):
        out = out + left[:, :, j, None] * right[:, j, None, :]
    return out


def squares(x: Float[Tensor, "batch a"]) -> Float[Tensor, " batch"]:
    """Σ x², row by row."""
    out = x.new_zeros(len(x))
    for j in range(x.shape[1]):
        out = out + x[:, j] ** 2
    return out
