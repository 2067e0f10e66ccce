"""Linear layers whose rows do not depend on their place in the batch."""

import pytest
import torch

from scenariogen.randomness import normal
from scenariogen.sampling.layers import Linear, filled, perceptron, rounded_up


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("inputs", [1, 5, 6, 9, 11])
def test_a_row_is_the_same_to_the_last_bit_wherever_it_stands(inputs: int, dtype: torch.dtype):
    x = normal(1, torch.arange(256), inputs).to(dtype)
    for outputs in (1, 3, 8):
        layer = Linear(inputs, outputs, dtype=dtype)
        for places in (1, 3, 37):
            assert torch.equal(layer(x.roll(places, 0)), layer(x).roll(places, 0))


def test_the_columns_too_many_do_nothing():
    x = normal(1, torch.arange(4), 5)
    layer = Linear(5, 3)
    assert layer.weight.shape == (3, 8) and rounded_up(8) == 8 and filled(x).shape == (4, 8)
    torch.testing.assert_close(layer(x), x @ layer.weight[:, :5].T + layer.bias, atol=1e-13, rtol=0)
    assert filled(x.repeat(1, 4)[:, :8]).is_contiguous()


def test_a_perceptron_starts_at_zero_where_it_is_told_to():
    x = normal(1, torch.arange(4), 5)
    assert float(perceptron(5, 2)(x).detach().abs().max()) == 0.0
    assert float(perceptron(5, 2, layers=0, zero=False)(x).detach().abs().min()) > 0.0
