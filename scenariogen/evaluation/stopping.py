"""When to stop adding runs: a target for the intervals, as it is typed.

>>> parse_target("relative_half_width(mean)<=0.05")
Target(measure='relative_half_width', of='mean', most=0.05)
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from scenariogen.errors import FrequencyError, Problems, ScenarioError
from scenariogen.evaluation.estimates import Estimate
from scenariogen.evaluation.outcomes import LOCK_UP, MEAN

MEASURES = ("half_width", "relative_half_width")
OF = ("mean", "difference", "exceedance", "lock_up")
_FORM = re.compile(r"\s*(\w+)\s*\(\s*(\w+)\s*\)\s*<=\s*([-+.\w]+)\s*")


class Asked(Protocol):
    """What a question and its estimate have in common. ``versus``: the policy that is subtracted."""

    @property
    def estimand(self) -> str: ...

    @property
    def versus(self) -> str | None: ...


@dataclass(frozen=True)
class Target:
    """How narrow intervals are to be.

    ``measure``  ``half_width`` in the estimand's unit, or ``relative_half_width``, as a share of the value
    ``of``       ``mean`` delay of each policy, ``difference`` of mean delays to the first policy, ``exceedance`` of the
                 threshold, ``lock_up``; all policies and frequencies have to meet it
    ``most``     the largest that is wanted
    """

    measure: str
    of: str
    most: float

    def __str__(self) -> str:
        return f"{self.measure}({self.of})<={self.most:g}"

    @property
    def is_relative(self) -> bool:
        """Whether widths are shares of the value."""
        return self.measure == "relative_half_width"

    def asks(self, of: Asked) -> bool:
        """Whether an estimate, or the question that it answers, is one of those that have to be narrow."""
        if self.of == "difference":
            return of.estimand == MEAN and of.versus is not None
        if of.versus is not None:
            return False
        if self.of == "exceedance":
            return of.estimand.startswith("P(delay>")
        return of.estimand == {"mean": MEAN, "lock_up": LOCK_UP}[self.of]

    def width(self, estimate: Estimate) -> float:
        """What the target speaks of, infinite where the estimate is refused."""
        if estimate.value is None or estimate.low is None or estimate.high is None:
            return math.inf
        half = max(estimate.high - estimate.value, estimate.value - estimate.low)
        if self.measure == "half_width":
            return half
        return half / abs(estimate.value) if estimate.value else math.inf

    def reached(self, estimates: Sequence[Estimate]) -> float:
        """The widest of the intervals that it speaks of, to be compared with ``most``."""
        return max((self.width(each) for each in estimates if self.asks(each)), default=math.inf)


def parse_target(text: str) -> Target:
    """A target from its text. ``ScenarioError`` says everything that is wrong with it."""
    problems = Problems(f"the target {text!r} is not understood")
    form = _FORM.fullmatch(text)
    if form is None:
        problems.add("expected MEASURE(ESTIMAND)<=NUMBER, for example relative_half_width(mean)<=0.05")
        problems.raise_as(ScenarioError)
        raise AssertionError
    measure, of, number = form.groups()
    if measure not in MEASURES:
        problems.add(f"{measure!r} is no measure, expected {' or '.join(MEASURES)}")
    if of not in OF:
        problems.add(f"{of!r} is no estimand, expected {', '.join(OF)}")
    try:
        most = float(number)
    except ValueError:
        most = math.nan
    if not (most > 0 and math.isfinite(most)):
        problems.add(f"{number!r} is no width, expected a number above 0")
    problems.raise_as(ScenarioError)
    return Target(measure, of, most)


def check_target(target: Target, *, policies: int, outside: Sequence[FrequencyError]) -> None:
    """Refuse, before the first run, what no number of runs can reach. Raises ``ScenarioError`` with every reason.

    ``policies``  how many are compared
    ``outside``   why frequencies that are asked for cannot be answered: all of them have to meet the target
    """
    problems = Problems(f"the target {target} can never be met")
    if target.of == "difference" and policies < 2:
        problems.add("it speaks of a difference and there is one policy: name another with --policy, or ask for mean")
    for error in outside:
        problems.add(f"every frequency has to meet it, and {error}")
    problems.raise_as(ScenarioError)
