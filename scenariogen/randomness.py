"""Counter-based noise: a number depends on (seed, scenario, column) and on nothing else.

Scenario 17 is the same to the last bit whether 18 or 100,000 are asked for, in any order and in any
number of processes, since no generator carries state from one draw to the next. The mixing function is the
finaliser of SplitMix64 (Steele, Lea & Flood, *Fast splittable pseudorandom number generators*, 2014),
applied to the three counters one after the other.
"""

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_MASK = (1 << 64) - 1


def _signed(value: int) -> int:
    """The 64-bit pattern of ``value`` as torch's signed integer."""
    value &= _MASK
    return value - (1 << 64) if value >= 1 << 63 else value


def _mix(x: "Tensor") -> "Tensor":
    x = (x ^ _shift_right(x, 30)) * _signed(_MIX_1)
    x = (x ^ _shift_right(x, 27)) * _signed(_MIX_2)
    return x ^ _shift_right(x, 31)


def _shift_right(x: "Tensor", bits: int) -> "Tensor":
    """Logical shift: torch shifts signed integers arithmetically, so the copied sign is masked off."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def child_seed(seed: int, *names: int | str) -> int:
    """A 63-bit seed for one purpose, from a parent seed and the purpose's names.

    >>> child_seed(1, "batch", 7) == child_seed(1, "batch", 7) != child_seed(1, "batch", 8)
    True
    """
    text = "\x1f".join([str(int(seed)), *(str(name) for name in names)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def sumo_seed(seed: int, *names: int | str) -> int:
    """A seed that SUMO accepts (31 bits), from a parent seed and the purpose's names."""
    return child_seed(seed, "sumo", *names) & 0x7FFFFFFF


def uniform(seed: int, rows: "Tensor", columns: int | range, *, device=None) -> "Tensor":
    """Uniform noise in the open interval (0, 1), float64, of shape ``(rows, columns)``.

    ``rows`` holds the rows' own numbers (int64, for example scenario indices); ``columns`` counts or names
    the columns. 52 random bits each, centred, so that 0 and 1 never occur (53 would round up to 1).
    """
    import torch

    names = range(columns) if isinstance(columns, int) else columns
    rows = rows.to(device=device, dtype=torch.int64)
    column = torch.tensor(list(names), dtype=torch.int64, device=rows.device)
    key = torch.full((), _signed(child_seed(seed, "uniform") * 2 + 1), dtype=torch.int64, device=rows.device)
    golden = _signed(_GOLDEN)
    x = _mix(key + (rows[:, None] + 1) * golden)
    x = _mix(x ^ ((column[None, :] + 1) * golden))
    return (_shift_right(x, 12).to(torch.float64) + 0.5) * 2.0**-52


def normal(seed: int, rows: "Tensor", columns: int | range, *, device=None) -> "Tensor":
    """Standard normal noise, float64, of shape ``(rows, columns)``: the inverse CDF of :func:`uniform`."""
    import torch

    return torch.special.ndtri(uniform(seed, rows, columns, device=device))
