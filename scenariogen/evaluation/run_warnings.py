"""What the runs of an evaluation warned of, told once."""

import json
from collections.abc import Iterable

from scenariogen.evaluation.records import RunResult


def warn_of_runs(runs: Iterable[RunResult]) -> None:
    """Give the most frequent warnings of runs, as :func:`scenariogen.injection.warned.warn_once` does."""
    from scenariogen.injection.warned import warn_once

    found = ((f"scenario {run.scenario}", json.loads(run.warnings)) for run in runs)
    warn_once(found, others="see their column warnings (scenariogen query)")
