"""What an answer is made of: the record that is written to ``estimates.json``, and what stands behind it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

Interval = tuple[float, float]
LOWER_BOUND = "lower bound"
"""How remarks name values that runs cut off."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """One answer. ``value``, ``low`` and ``high`` are None where it is refused.

    ``policy``         whose
    ``versus``         None, or the policy that is subtracted
    ``frequency``      multiplier on the model's rates; None for scenarios made by hand, and for ``frequencies``
    ``estimand``       ``mean_delay_veh_h``, ``P(delay>… veh h)``, ``P(lock_up)`` and the others of
                       :mod:`scenariogen.evaluation.questions`
    ``standard_error`` of ``value``; None where it cannot be given
    ``low``, ``high``  interval at ``level``: what other scenarios and seeds would have given
    ``ess``            effective number of runs behind it, all strata together
    ``k_hat``          Pareto shape of the weights, or of weight times value, whichever is larger; None: the tail
                       has too few different values to tell
    ``runs``           runs it is made of
    ``verdict``        ``ok``, or ``refused:`` with the reason and what would mend it
    ``level``          of all the intervals
    ``low_all``, ``high_all``  interval that holds for all differences to the first policy together; None where there
                       is only one
    ``low_total``, ``high_total``  interval that covers the rates' uncertainty as well; None where it is not known
    ``shares``         of the variance behind the total interval, by source: ``scenarios`` (with the simulator's seeds
                       where they cannot be told apart), ``simulator``, ``rates``; they add up to 1
    ``frequencies``    multipliers by kind of incident, where there is not one for all
    ``remark``         what else must be said, such as that the answer is a lower bound
    """

    policy: str
    versus: str | None
    frequency: float | None
    estimand: str
    value: float | None
    standard_error: float | None
    low: float | None
    high: float | None
    ess: float
    k_hat: float | None
    runs: int
    verdict: str
    level: float = 0.95
    low_all: float | None = None
    high_all: float | None = None
    low_total: float | None = None
    high_total: float | None = None
    shares: dict[str, float] | None = field(default=None, hash=False)
    frequencies: dict[str, float] | None = field(default=None, hash=False)
    remark: str = ""

    @property
    def is_refused(self) -> bool:
        """True where no value is given."""
        return self.verdict != "ok"

    @property
    def is_by_hand(self) -> bool:
        """True where the scenarios have no frequency."""
        return self.frequency is None and self.frequencies is None

    @property
    def is_cut(self) -> bool:
        """True for a lower bound, and for a difference of lower bounds, which bounds nothing."""
        return LOWER_BOUND in self.remark

    def deciding(self, *, several: bool) -> Interval | None:
        """The interval by which a difference is told from zero: of ``several`` the one that holds for all together."""
        low, high = (self.low_all, self.high_all) if several else (self.low, self.high)
        return None if low is None or high is None else (low, high)

    def sign(self, *, several: bool) -> int:
        """−1 or 1 where a difference is told from zero, otherwise 0."""
        low, high = self.deciding(several=several) or (0.0, 0.0)
        return 1 if low > 0 else -1 if high < 0 else 0


@dataclass(frozen=True, kw_only=True)
class EstimateDetail:
    """What stands behind one :class:`Estimate`: the same first four fields, then what a sceptic asks for.

    ``probability_free``   P₀(κ)
    ``plain``, ``self_normalised``  the same answer in its other two forms
    ``ess_free``, ``ess_incident``  effective runs without and with incidents
    ``ess_tail``           effective runs that showed the event, or lie at or beyond the quantile
    ``k_hat_weights``, ``k_hat_values``, ``k_threshold``
    ``blind_spot``         the largest probability of a region never seen that the runs still allow at 95 %
    ``trouble``            share of the probability whose runs failed, were not made or not realised
    ``trouble_reasons``    how many runs, by reason
    ``lane_blocking_per_100_h``  incidents that block a lane in 100 hours of the start span at this frequency
    ``strata``             into how many strata the runs were divided
    ``total_draws``        posterior draws of the rates behind the total interval (0: none)
    ``total_outside``      share of them beyond the frequencies that the batch was drawn for, in some kind
    ``total_left_out``     what the total interval does not cover, or why there is none
    ``simulator_share``    of the sampling variance that comes from the simulator's seeds; None with one seed
    ``best_seeds``         seeds per scenario that make the next runs tell most; None with one seed
    """

    policy: str
    versus: str | None
    frequency: float | None
    estimand: str
    trouble: float
    trouble_reasons: dict[str, int]
    probability_free: float | None = None
    plain: float | None = None
    self_normalised: float | None = None
    ess_free: float | None = None
    ess_incident: float | None = None
    ess_tail: float | None = None
    k_hat_weights: float | None = None
    k_hat_values: float | None = None
    k_threshold: float | None = None
    blind_spot: float | None = None
    lane_blocking_per_100_h: float | None = None
    strata: int | None = None
    total_draws: int = 0
    total_outside: float | None = None
    total_left_out: str = ""
    simulator_share: float | None = None
    best_seeds: int | None = None
    frequencies: dict[str, float] | None = None


def nearest(estimates: Sequence[Estimate], multiplier: float = 1.0) -> Estimate:
    """The one at the common frequency nearest to a multiplier; where all have one for each kind, nearest to 1."""

    def distance(found: Estimate) -> tuple[bool, float]:
        if found.frequencies is not None:
            return True, sum(abs(math.log(each)) for each in found.frequencies.values())
        return False, abs(math.log((found.frequency or multiplier) / multiplier))

    return min(estimates, key=distance)


def same_frequency(estimates: Sequence[Estimate], like: Estimate) -> list[Estimate]:
    """Those at the frequency of one of them."""
    return [each for each in estimates if (each.frequency, each.frequencies) == (like.frequency, like.frequencies)]
