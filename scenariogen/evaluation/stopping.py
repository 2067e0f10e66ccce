"""When to stop adding runs: a target for the intervals, as it is typed.

>>> parse_target("relative_half_width(mean)<=0.05")
Target(measure='relative_half_width', of='mean', most=0.05)
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from scenariogen.errors import Problems, ScenarioError
from scenariogen.evaluation.estimates import Estimate
from scenariogen.evaluation.outcomes import LOCK_UP, MEAN

MEASURES = ("half_width", "relative_half_width")
OF = ("mean", "difference", "exceedance", "lock_up")
_FORM = re.compile(r"\s*(\w+)\s*\(\s*(\w+)\s*\)\s*<=\s*([-+.\w]+)\s*")


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

    def asks(self, estimand: str, versus: str | None) -> bool:
        """Whether an estimand of a policy, or of its difference to ``versus``, has to be narrow."""
        if self.of == "difference":
            return estimand == MEAN and versus is not None
        if versus is not None:
            return False
        return {"mean": estimand == MEAN, "lock_up": estimand == LOCK_UP}.get(self.of, estimand.startswith("P(delay>"))

    def concerns(self, estimate: Estimate) -> bool:
        """Whether an estimate is one of those that have to be narrow."""
        return self.asks(estimate.estimand, estimate.versus)

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
        return max((self.width(each) for each in estimates if self.concerns(each)), default=math.inf)


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
