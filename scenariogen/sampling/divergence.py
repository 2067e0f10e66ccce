"""Jensen–Shannon divergence, in bits, of two samples or of two densities.

    JSD(P, Q) = ½ D(P‖M) + ½ D(Q‖M),  M = ½ (P + Q),  D(P‖M) = Σ p log₂(p/m)

lies between 0 (the same) and 1 (no overlap); its square root is a metric (Lin, *Divergence measures based on the
Shannon entropy*, 1991). From samples it is computed on cells, by column and by pair of columns: on cells that depend
on the reference alone, and beside what it would be between two halves of the reference, since counts alone make it
positive. For K cells and n and m rows of the same law it is about (K − 1)(1/n + 1/m) / (8 ln 2) on average.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scenariogen.errors import DensityError, Problems
from scenariogen.randomness import child_seed
from scenariogen.sampling.contract import BLOCK, ConditionalDensity, check_same_measure, draw, exact_log_prob
from scenariogen.sampling.samples import Measured, Sample, Table, check_share, null_of, tables, wrong_settings

Codes = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class JensenShannon:
    """Divergences of two samples, in bits.

    ``columns``    of each column
    ``pairs``      of each pair of columns, by their numbers; empty where they were not asked for
    ``mean``       of the columns
    ``pair_mean``  of the pairs, None without any
    """

    columns: tuple[Measured, ...]
    pairs: Mapping[tuple[int, int], Measured]
    mean: Measured
    pair_mean: Measured | None

    def __str__(self) -> str:
        return "\n".join(map(str, [self.mean, *self.columns, *([self.pair_mean] if self.pair_mean else [])]))


def jensen_shannon_of_laws(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """JSD of two discrete laws on the same cells, (cell,), in bits. ``DensityError`` where they are no laws."""
    problems = Problems("laws that cannot be compared")
    if p.shape != q.shape or p.ndim != 1:
        problems.add(f"got shapes {p.shape} and {q.shape}, expected (cell,) twice")
    for name, each in (("first", p), ("second", q)):
        if not np.isfinite(each).all() or (each < 0).any() or abs(each.sum() - 1) > 1e-9:
            problems.add(f"the {name} law must hold probabilities that sum to 1, got a sum of {each.sum():.10g}")
    problems.raise_as(DensityError)
    return _bits(p, q)


def _bits(p, q) -> float:
    m = 0.5 * (p + q)
    left, right = p > 0, q > 0
    total = (p[left] * np.log2(p[left] / m[left])).sum() + (q[right] * np.log2(q[right] / m[right])).sum()
    return float(min(max(0.5 * total, 0.0), 1.0))


def jensen_shannon(
    reference: Sample,
    sample: Sample,
    *,
    seed: int,
    bins: int = 20,
    pair_bins: int = 8,
    categorical: Collection[int] = (),
    edges: Mapping[int, Sequence[float]] | None = None,
    pairs: bool = True,
    repeats: int = 200,
    level: float = 0.95,
) -> JensenShannon:
    """JSD of ``sample`` against ``reference``, by column and by pair of columns.

    ``bins``         cells of a column: quantiles of the reference, equally likely; a value that by itself holds more
                     than 1/bins of the reference is a cell of its own
    ``pair_bins``    cells of each side of a pair
    ``categorical``  columns whose distinct values are the cells
    ``edges``        fixed edges of columns, instead of quantiles; values beyond fall in cells of their own
    ``repeats``      of the bootstrap and of the null

    ``value`` is that of the counts, biased upwards. The interval is for the divergence of the laws: the percentiles of
    the bootstrap (rows resampled) moved down by twice the bias that the resamples show, since they carry it twice. The
    null is that of split halves: the divergence between random halves of the reference, of min(half the reference, the
    sample) rows each; ``null.observed`` is the mean divergence between as many rows of the reference and of the sample,
    so that its p-value is conservative. ``DensityError`` lists what cannot be compared.
    """
    first, second = tables([("the reference", reference), ("the sample", sample)], at_least=20)
    given = edges or {}
    problems = Problems("settings of a divergence")
    least = [("bins", bins, 2), ("pair_bins", pair_bins, 2), ("repeats", repeats, 2)]
    problems.extend(wrong_settings(level=level, least=least))
    problems.extend(_wrong_cells(first.shape[1], categorical=categorical, edges=given))
    problems.raise_as(DensityError)
    fine = [_codes(first, second, at, bins=bins, categorical=categorical, edges=given) for at in range(first.shape[1])]
    names = [f"JSD of column {at} (bits)" for at in range(len(fine))]
    cells = [1 + int(max(a.max(), b.max())) for a, b in fine]
    coded, groups = list(fine), [list(combinations(range(first.shape[1]), 2)) if pairs else []]
    if groups[0]:
        rough = [
            _codes(first, second, at, bins=pair_bins, categorical=categorical, edges=given) for at in range(len(fine))
        ]
        for i, j in groups[0]:
            width = 1 + int(max(rough[j][0].max(), rough[j][1].max()))
            joint = [a * width + b for a, b in zip(rough[i], rough[j], strict=True)]
            _, shared = np.unique(np.concatenate(joint), return_inverse=True)
            coded.append((shared[: len(first)], shared[len(first) :]))
            cells.append(1 + int(shared.max()))
            names.append(f"JSD of columns {i} and {j} (bits)")

    def statistics(rows: Codes, others: Codes, *, halves: bool = False) -> NDArray[np.float64]:
        """The divergences of some rows of the reference and of the sample (or again of the reference)."""
        out = []
        for (a, b), count in zip(coded, cells, strict=True):
            p = np.bincount(a[rows], minlength=count) / len(rows)
            q = np.bincount((a if halves else b)[others], minlength=count) / len(others)
            out.append(_bits(p, q))
        width = len(fine)
        return np.array([*out, np.mean(out[:width]), np.mean(out[width:]) if out[width:] else 0.0])

    n, m = len(first), len(second)
    half = min(n // 2, m)
    rng = np.random.default_rng(child_seed(seed, "jensen-shannon"))
    value = statistics(np.arange(n), np.arange(m))
    resampled = np.array([statistics(rng.integers(n, size=n), rng.integers(m, size=m)) for _ in range(repeats)])
    null, matched = np.empty_like(resampled), np.empty_like(resampled)
    for repeat in range(repeats):
        order = rng.permutation(n)
        null[repeat] = statistics(order[:half], order[half : 2 * half], halves=True)
        matched[repeat] = statistics(order[:half], rng.permutation(m)[:half])
    tail = (1 - level) / 2
    low, high = np.clip(np.quantile(resampled, [tail, 1 - tail], axis=0) - 2 * (resampled.mean(0) - value), 0, 1)

    def measured(at: int, name: str, assumes: str) -> Measured:
        return Measured(
            name=name,
            value=float(value[at]),
            standard_error=float(resampled[:, at].std(ddof=1)),
            interval=(float(low[at]), float(high[at])),
            level=level,
            n_reference=n,
            n_sample=m,
            null=null_of(null[:, at], float(matched[:, at].mean()), method=f"split halves of {half} rows"),
            assumes=assumes,
        )

    def text(at: int, count: int, sides: str) -> str:
        bias = (count - 1) * (1 / n + 1 / m) / (8 * math.log(2))
        return (
            f"{count} cells ({sides}); counts alone give about {bias:.2g} bits at these sample sizes; rows "
            f"independent; bootstrap of {repeats} repeats, its bias taken off the interval"
        )

    sides = [_sides(at, bins=bins, categorical=categorical, edges=given) for at in range(len(fine))]
    both = [
        f"{_sides(i, bins=pair_bins, categorical=categorical, edges=given)} by "
        f"{_sides(j, bins=pair_bins, categorical=categorical, edges=given)}"
        for i, j in groups[0]
    ]
    each = [measured(at, name, text(at, cells[at], (sides + both)[at])) for at, name in enumerate(names)]
    of_columns = f"mean of {len(fine)} columns, each on its own cells"
    of_pairs = f"mean of {len(both)} pairs of columns, each on its own cells"
    return JensenShannon(
        columns=tuple(each[: len(fine)]),
        pairs=dict(zip(groups[0], each[len(fine) :], strict=True)),
        mean=measured(len(names), "mean JSD of the columns (bits)", of_columns),
        pair_mean=measured(len(names) + 1, "mean JSD of the pairs (bits)", of_pairs) if both else None,
    )


def _wrong_cells(width: int, *, categorical: Collection[int], edges: Mapping[int, Sequence[float]]) -> list[str]:
    found = []
    for column in sorted({*categorical, *edges}):
        if not 0 <= column < width:
            found.append(f"column {column} does not exist: the samples have {width}")
        if column in categorical and column in edges:
            found.append(f"column {column} is categorical and has edges, expected one of them")
    for column, given in edges.items():
        values = np.asarray(given, dtype=np.float64)
        if not len(values) or not np.isfinite(values).all() or (np.diff(values) <= 0).any():
            found.append(f"the edges of column {column} must be finite and increasing")
    return found


def _sides(at: int, *, bins: int, categorical: Collection[int], edges: Mapping[int, Sequence[float]]) -> str:
    if at in categorical:
        return "its distinct values"
    return f"{len(edges[at]) + 1} by given edges" if at in edges else f"{bins} quantiles of the reference"


def _codes(
    first: Table,
    second: Table,
    at: int,
    *,
    bins: int,
    categorical: Collection[int],
    edges: Mapping[int, Sequence[float]],
) -> tuple[Codes, Codes]:
    """The cell of each row, of both samples, by one column."""
    a, b = first[:, at], second[:, at]
    if at in categorical:
        _, codes = np.unique(np.concatenate([a, b]), return_inverse=True)
        return codes[: len(a)], codes[len(a) :]
    if at in edges:
        given = np.asarray(edges[at], dtype=np.float64)
        return np.digitize(a, given), np.digitize(b, given)
    values, counts = np.unique(a, return_counts=True)
    atoms = values[counts > len(a) / bins]
    rest = a[~np.isin(a, atoms)]
    inner = np.unique(np.quantile(rest, np.linspace(0, 1, bins + 1)[1:-1])) if len(rest) else np.empty(0)

    def code(x: NDArray[np.float64]) -> Codes:
        place = np.minimum(np.searchsorted(atoms, x), max(len(atoms) - 1, 0))
        is_atom = atoms[place] == x if len(atoms) else np.zeros(len(x), dtype=bool)
        return np.where(is_atom, len(inner) + 1 + place, np.digitize(x, inner)).astype(np.int64)

    return code(a), code(b)


def jensen_shannon_of_densities(
    p: ConditionalDensity,
    q: ConditionalDensity,
    *,
    seed: int,
    n: int | None = None,
    context: Tensor | None = None,
    level: float = 0.95,
) -> Measured:
    """JSD of two densities with respect to the same measure, by ``n`` draws of each, or one in each row of ``context``.

        JSD = 1 + ½ E_p[log₂ p/(p + q)] + ½ E_q[log₂ q/(p + q)]

    No cells: unbiased, with the standard error of the mean; with a context it is the mean over the contexts given.
    ``DensityError`` where a log-density is not exact, where the two refer to different measures, and for fewer than 2
    draws.
    """
    check_share("level", level)
    check_same_measure(p.measure, q.measure)
    rows = n if context is None else len(context)
    if rows is not None and rows < 2:
        raise DensityError(f"got {rows} draws of each density, expected at least 2")
    terms, drawn_rows = [], 0
    for name, (own, other) in (("first", (p, q)), ("second", (q, p))):
        drawn = draw(own, context, n=n, seed=child_seed(seed, name))
        drawn_rows = len(drawn)
        log_own = _log_prob(own, drawn.x, context)
        log_other = _log_prob(other, drawn.x, context)
        # log₂ of p/(p + q), without exponentials of large numbers.
        terms.append(-torch.nn.functional.softplus(log_other - log_own) / math.log(2))
    value = 1 + 0.5 * float(terms[0].mean()) + 0.5 * float(terms[1].mean())
    error = 0.5 * math.sqrt(sum(float(each.var()) for each in terms) / drawn_rows)
    reach = error * math.sqrt(2) * float(torch.special.erfinv(torch.tensor(level, dtype=torch.float64)))
    return Measured(
        name="JSD of two densities (bits)",
        value=value,
        standard_error=error,
        interval=(max(0.0, value - reach), min(1.0, value + reach)),
        level=level,
        n_reference=drawn_rows,
        n_sample=drawn_rows,
        assumes="no cells; both log-densities exact and with respect to the same measure; normal interval of a mean",
    )


def _log_prob(density: ConditionalDensity, x: Tensor, context: Tensor | None) -> Tensor:
    given = x.new_zeros((len(x), density.context_width)) if context is None else context.to(x)
    with torch.no_grad():
        parts = zip(x.split(BLOCK), given.split(BLOCK), strict=True)
        return torch.cat([exact_log_prob(density(some), rows) for rows, some in parts])
