"""What runs warned of, told once: runs of one evaluation have the same warnings, by the hundred."""

import json
import warnings
from collections import Counter
from collections.abc import Iterable

from scenariogen.evaluation.records import RunResult

MOST = 3
"""Different warnings that are told; the others are counted."""


def warn_once(runs: Iterable[RunResult]) -> None:
    """Give the most frequent warnings of runs as :class:`~scenariogen.injection.InjectionWarning`, count the rest."""
    found: Counter[str] = Counter()
    for run in runs:
        if run.warnings != "[]":
            found.update(json.loads(run.warnings))
    if not found:
        return
    from scenariogen.injection.records import InjectionWarning

    for text, _ in found.most_common(MOST):
        warnings.warn(text, InjectionWarning, stacklevel=3)
    if len(found) > MOST:
        text = f"the runs have {len(found) - MOST} other warnings, see their column warnings (scenariogen query)"
        warnings.warn(text, InjectionWarning, stacklevel=3)
