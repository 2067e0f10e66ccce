"""What the runs of an evaluation warned of, told once."""

import json
from collections.abc import Iterable

from scenariogen.evaluation.records import RunResult


def warn_of_runs(runs: Iterable[RunResult]) -> None:
    """Give the most frequent warnings of runs, as :func:`scenariogen.injection.warned.warn_once` does."""
    texts = [text for run in runs if run.warnings != "[]" for text in json.loads(run.warnings)]
    if texts:
        from scenariogen.injection.warned import warn_once

        warn_once(texts, others="see their column warnings (scenariogen query)")
