"""One column of numbers to estimate something of: a policy's, or those of two policies on the same scenarios."""

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


class Measure(Enum):
    """What is estimated of the numbers."""

    MEAN = "mean"
    PROBABILITY = "probability"
    QUANTILE = "quantile"
    CVAR = "CVaR"


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What is estimated, of which numbers.

    ``values``    (batch, seeds) of a policy, nan where not known
    ``baseline``  (batch, seeds) of the policy that is subtracted, or None
    ``trouble``   (batch, seeds) bool: the run of either is in trouble
    ``measure``   of the values; for a probability they are 0 or 1
    ``at``        level of the quantile or CVaR
    ``given_incident``  of days with an incident only
    ``has_incident``    (batch,) bool; needed with ``given_incident``
    ``bounds``    (batch, seeds) bool: a value is a lower bound; None: none is
    """

    policy: str
    versus: str | None
    estimand: str
    values: NDArray[np.float64] = field(repr=False)
    baseline: NDArray[np.float64] | None = field(repr=False)
    trouble: NDArray[np.bool_] = field(repr=False)
    reasons: dict[str, int]
    measure: Measure = Measure.MEAN
    at: float = 0.95
    given_incident: bool = False
    has_incident: NDArray[np.bool_] | None = field(default=None, repr=False)
    bounds: NDArray[np.bool_] | None = field(default=None, repr=False)

    @property
    def is_probability(self) -> bool:
        """True where values are 0 or 1."""
        return self.measure is Measure.PROBABILITY

    @property
    def is_tail(self) -> bool:
        """True for a quantile and for CVaR."""
        return self.measure in (Measure.QUANTILE, Measure.CVAR)

    @cached_property
    def paired(self) -> NDArray[np.float64]:
        """(batch, seeds) values less the baseline's, nan where either is not known."""
        return self.values if self.baseline is None else self.values - self.baseline

    def less(self, other: "Question") -> "Question":
        """The difference of two policies' own questions about the same estimand."""
        return replace(
            self,
            versus=other.policy,
            baseline=other.values,
            trouble=self.trouble | other.trouble,
            reasons=dict(Counter(self.reasons) + Counter(other.reasons)),
            bounds=None if self.bounds is None or other.bounds is None else self.bounds | other.bounds,
        )

    @property
    def runs(self) -> int:
        """Runs that the answer is made of; pairs count once."""
        return int(np.isfinite(self.paired).sum())

    def completed(
        self, free_rows: NDArray[np.bool_], *, worst: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Values and baseline with every troubled run as good, or as bad, as it can be.

        For a probability the event never, or always, happens; otherwise the run is like the best, or the worst,
        untroubled one of its stratum (``free_rows``: (batch,) bool). In a difference of quantiles or CVaRs, which is
        not one of pairs, the values are at one end and the baseline's at the other.
        """
        values = self.values.copy()
        baseline = None if self.baseline is None else self.baseline.copy()
        for rows in (free_rows, ~free_rows):
            here = self.trouble & rows[:, None]
            if not here.any() or (self.given_incident and not np.isfinite(self.paired[rows]).any()):
                continue
            if self.is_probability:
                values[here] = float(worst)
                if baseline is not None:
                    baseline[here] = float(not worst)
                continue
            sound = rows[:, None] & ~self.trouble & np.isfinite(self.paired)
            if not sound.any():
                continue
            if self.is_tail and baseline is not None and self.baseline is not None:
                values[here] = _end(self.values[sound], worst)
                baseline[here] = _end(self.baseline[sound], not worst)
                continue
            values[here] = _end(self.paired[sound], worst)
            if baseline is not None:
                baseline[here] = 0.0
        return values, baseline


def _end(values: NDArray[np.float64], worst: bool) -> float:
    return float(values.max() if worst else values.min())
