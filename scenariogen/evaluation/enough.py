"""Whether a batch can carry answers, told before its runs are made: what scenarios weigh is known beforehand."""

import math
import warnings
from collections.abc import Iterable, Mapping

from scenariogen.errors import FrequencyError
from scenariogen.evaluation.answer import Frequency
from scenariogen.evaluation.estimate import weights_or_error
from scenariogen.evaluation.gate import MIN_EFFECTIVE_RUNS, MIN_FREE_RUNS, RARE
from scenariogen.sampling.diagnostics import effective_sample_size
from scenariogen.scenarios.records import ScenarioBatch

SPARE = 1.05
"""Scenarios that are advised beyond those that would just do."""


class FewScenariosWarning(UserWarning):
    """Estimates will be refused, whatever the runs give."""


def too_few(batch: ScenarioBatch, frequencies: Iterable[Frequency] | None = None) -> str:
    """At which frequencies every estimate will be refused for want of scenarios, and how many would do; or nothing.

    ``frequencies``  those that the batch was drawn for where it is None; what lies outside its range is left out
    """
    if batch.design is None:
        return ""
    short, lacks, effective, frees = [], 1.0, math.inf, math.inf
    for frequency in batch.design.frequencies if frequencies is None else frequencies:
        weights = weights_or_error(batch, frequency)
        if isinstance(weights, FrequencyError):
            continue
        counts, free = effective_sample_size(weights.log_w, ~weights.is_free), int(weights.is_free.sum())
        free = free if weights.probability_free > RARE else MIN_FREE_RUNS
        here = max(_lacking(counts, MIN_EFFECTIVE_RUNS), _lacking(free, MIN_FREE_RUNS))
        if here > 1:
            short.append(_named(frequency))
            lacks, effective, frees = max(lacks, here), min(effective, counts), min(frees, free)
    if not short:
        return ""
    why = []
    if effective < MIN_EFFECTIVE_RUNS:
        why.append(f"those with incidents count as {effective:.0f} where {MIN_EFFECTIVE_RUNS} are needed")
    if frees < MIN_FREE_RUNS:
        why.append(f"{frees} have no incident where {MIN_FREE_RUNS} should")
    mend = f"draw about {math.ceil(SPARE * lacks * len(batch))}" if math.isfinite(lacks) else "draw more"
    return (
        f"{len(batch)} scenarios are too few, every estimate at {', '.join(short)} will be refused: "
        f"{' and '.join(why)}; {mend}"
    )


def _lacking(there: float, needed: float) -> float:
    """By what factor a batch must grow."""
    return needed / there if there else math.inf


def warn_of_few(batch: ScenarioBatch, frequencies: Iterable[Frequency] | None = None) -> None:
    """Give :func:`too_few` as a warning."""
    text = too_few(batch, frequencies)
    if text:
        warnings.warn(text, FewScenariosWarning, stacklevel=3)


def _named(frequency: Frequency) -> str:
    if isinstance(frequency, Mapping):
        return ",".join(f"{kind}={value:g}" for kind, value in frequency.items())
    return f"x{frequency:g}"
